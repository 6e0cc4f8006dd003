/* SPDX-License-Identifier: MIT
 *
 * memory.c - the library's only calls of malloc and its family, with checked sizes and one message.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "base.h"

static void *out_of_memory(size_t n, size_t size)
{
    mot_fail(MOT_ENOMEM, "out of memory asking for %zu x %zu bytes", n, size);
    return NULL;
}

void *mot_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    return p ? p : out_of_memory(n, size);
}

void *mot_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!mot_mul(n ? n : 1, size ? size : 1, &bytes))
        return out_of_memory(n, size);
    void *q = realloc(p, bytes);
    return q ? q : out_of_memory(n, size);
}

void mot_free(void *p)
{
    free(p);
}

char *mot_strndup(const char *s, size_t n)
{
    char *p = mot_alloc(n + 1, 1);
    if (p)
        memcpy(p, s, n);
    return p;
}

char *mot_strdup(const char *s)
{
    return mot_strndup(s, strlen(s));
}

char *mot_format(const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    char *p = n < 0 ? out_of_memory(1, 0) : mot_alloc((size_t)n + 1, 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}

int mot_grow(void **array, int64_t n, int64_t *capacity, size_t size)
{
    if (n < *capacity)
        return MOT_OK;
    int64_t more = *capacity < 8 ? 16 : *capacity / 2;
    if (more > INT64_MAX - *capacity)
        return mot_fail(MOT_ENOMEM, "out of memory: too many elements");
    void *p = mot_realloc(*array, (size_t)(*capacity + more), size);
    if (!p)
        return MOT_ENOMEM;
    *array = p;
    *capacity += more;
    return MOT_OK;
}

int mot_bytes_reserve(struct mot_bytes *b, size_t more)
{
    size_t need;
    if (!mot_add(b->n, more, &need))
        return mot_fail(MOT_ENOMEM, "out of memory: more than the address space");
    if (need <= b->capacity)
        return MOT_OK;
    size_t capacity = b->capacity + b->capacity / 2;
    if (capacity < need)
        capacity = need < 64 ? 64 : need;
    unsigned char *p = mot_realloc(b->data, capacity, 1);
    if (!p)
        return MOT_ENOMEM;
    b->data = p;
    b->capacity = capacity;
    return MOT_OK;
}

int mot_bytes_append(struct mot_bytes *b, const void *data, size_t n)
{
    int rc = mot_bytes_reserve(b, n);
    if (rc)
        return rc;
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
    return MOT_OK;
}

int mot_bytes_format(struct mot_bytes *b, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    int rc = n < 0 ? mot_fail(MOT_EARG, "cannot format text") : mot_bytes_reserve(b, (size_t)n + 1);
    if (!rc) {
        vsnprintf((char *)b->data + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return rc;
}

void mot_bytes_free(struct mot_bytes *b)
{
    mot_free(b->data);
    *b = (struct mot_bytes){0};
}

int mot_ids_append(struct mot_ids *a, const int32_t *id, int64_t n)
{
    if (n > a->capacity - a->n) {
        if (n > INT64_MAX / 4 - a->n)
            return mot_fail(MOT_ENOMEM, "out of memory: too many tokens");
        int64_t capacity = a->capacity + a->capacity / 2;
        if (capacity < a->n + n)
            capacity = a->n + n < 16 ? 16 : a->n + n;
        int32_t *p = mot_realloc(a->id, (size_t)capacity, sizeof *p);
        if (!p)
            return MOT_ENOMEM;
        a->id = p;
        a->capacity = capacity;
    }
    if (n)
        memcpy(a->id + a->n, id, (size_t)n * sizeof *id);
    a->n += n;
    return MOT_OK;
}

void mot_ids_free(struct mot_ids *a)
{
    mot_free(a->id);
    *a = (struct mot_ids){0};
}

void mot_image_free(struct mot_image *im)
{
    mot_free(im->rgb);
    *im = (struct mot_image){0};
}

void mot_audio_free(struct mot_audio *a)
{
    mot_free(a->sample);
    *a = (struct mot_audio){0};
}
