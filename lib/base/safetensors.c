/* SPDX-License-Identifier: MIT
 *
 * safetensors.c - read and write Hugging Face's tensor container.
 *
 * Reading checks everything before the first pointer is handed out, so that later code may trust
 * names, shapes and pointers blindly: whatever passes here lies wholly inside the mapping.  Two
 * rules are stricter than the reference reader's, both about files nobody writes: names occur once,
 * and no string holds a zero byte.  Two are looser, as its own: white space may stand before and
 * after the JSON text.
 *
 * Writing streams: the header is known from the declarations, data follow as they come.
 */
#include <math.h>
#include <stdlib.h>

#include "json.h"
#include "safetensors.h"

#define HEADER_LIMIT ((size_t)100 * 1000 * 1000)

/* In the format's order of alignment, which is also the order of writing (backwards). */
static const struct dtype {
    const char *name;
    int bits;
} dtypes[MOT_DTYPES] = {
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
};

const char *mot_dtype_name(enum mot_dtype t)
{
    return dtypes[t].name;
}

int mot_dtype_bits(enum mot_dtype t)
{
    return dtypes[t].bits;
}

/* Sizes of a tensor from its dtype and shape; false when they do not fit or are no whole bytes. */
static bool measure(enum mot_dtype dtype, int rank, const int64_t *shape, int64_t *count,
                    size_t *bytes)
{
    int64_t n = 1, bits;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n))
            return false;
    if (__builtin_mul_overflow(n, (int64_t)dtypes[dtype].bits, &bits) || bits % 8)
        return false;
    *count = n;
    *bytes = (size_t)(bits / 8);
    return true;
}

/* ---- reading ---- */

static int read_dtype(const struct mot_st *s, struct mot_st_tensor *t, const json_t *o)
{
    const char *name = json_string_value(json_object_get(o, "dtype"));
    if (!name)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": expected \"dtype\": a string", s->path,
                        t->name);
    for (int i = 0; i < MOT_DTYPES; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            t->dtype = (enum mot_dtype)i;
            return MOT_OK;
        }
    return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": dtype \"%.40s\" is unknown", s->path, t->name,
                    name);
}

static int read_shape(const struct mot_st *s, struct mot_st_tensor *t, const json_t *o)
{
    const json_t *shape = json_object_get(o, "shape");
    if (!json_is_array(shape))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": expected \"shape\": an array", s->path,
                        t->name);
    size_t rank = json_array_size(shape);
    if (rank > MOT_MAX_RANK)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": %zu dimensions, at most %d are supported",
                        s->path, t->name, rank, MOT_MAX_RANK);
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": dimension %zu is no count", s->path,
                            t->name, i);
        t->shape[i] = json_integer_value(d);
    }
    if (!measure(t->dtype, t->rank, t->shape, &t->count, &t->bytes))
        return mot_fail(MOT_ECORRUPT, "%s: tensor \"%s\": its shape gives no possible size",
                        s->path, t->name);
    return MOT_OK;
}

static int read_offsets(const struct mot_st *s, struct mot_st_tensor *t, const json_t *o)
{
    const json_t *offsets = json_object_get(o, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": expected \"data_offsets\": [begin, end]",
                        s->path, t->name);
    int64_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from)
        return mot_fail(MOT_ECORRUPT, "%s: tensor \"%s\": data_offsets [%lld, %lld] make no sense",
                        s->path, t->name, (long long)from, (long long)to);
    if ((uint64_t)(to - from) != t->bytes)
        return mot_fail(MOT_ECORRUPT,
                        "%s: tensor \"%s\": data_offsets span %lld bytes, its shape needs %zu",
                        s->path, t->name, (long long)(to - from), t->bytes);
    t->offset = (size_t)from;
    return MOT_OK;
}

static int read_tensor(struct mot_st *s, const char *name, const json_t *o)
{
    struct mot_st_tensor *t = &s->tensor[s->n];
    t->name = mot_strdup(name);
    if (!t->name)
        return MOT_ENOMEM;
    s->n++; /* from here close frees the name */
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\": expected an object", s->path, name);
    int rc = read_dtype(s, t, o);
    if (!rc)
        rc = read_shape(s, t, o);
    return rc ? rc : read_offsets(s, t, o);
}

static int read_metadata(struct mot_st *s, const json_t *o)
{
    if (json_is_null(o))
        return MOT_OK;
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: expected \"__metadata__\": an object", s->path);
    s->metadata = mot_alloc(2 * json_object_size(o), sizeof *s->metadata);
    if (!s->metadata)
        return MOT_ENOMEM;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)o, key, value) {
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
            return mot_fail(MOT_EFORMAT,
                            "%s: metadata \"%s\": expected a string without zero bytes", s->path,
                            key);
        char **pair = s->metadata + 2 * s->n_metadata++;
        pair[0] = mot_strdup(key);
        pair[1] = mot_strdup(json_string_value(value));
        if (!pair[0] || !pair[1])
            return MOT_ENOMEM;
    }
    return MOT_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct mot_st_tensor *s = a, *t = b;
    if (s->offset != t->offset)
        return s->offset < t->offset ? -1 : 1;
    if (s->bytes != t->bytes) /* an empty tensor stands before the one that shares its offset */
        return s->bytes < t->bytes ? -1 : 1;
    return strcmp(s->name, t->name);
}

/* The tensors must fill the data part: from 0 to its end, without hole or overlap. */
static int check_layout(struct mot_st *s, size_t data_begin)
{
    size_t end = 0, available = s->map.n - data_begin;
    qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, by_offset);
    for (int64_t i = 0; i < s->n; i++) {
        struct mot_st_tensor *t = &s->tensor[i];
        if (t->offset != end)
            return mot_fail(MOT_ECORRUPT,
                            "%s: tensor \"%s\" begins at %zu, expected %zu: a hole or an overlap",
                            s->path, t->name, t->offset, end);
        if (t->bytes > available - end)
            return mot_fail(
                MOT_ECORRUPT,
                "%s: truncated: tensor \"%s\" needs %zu bytes at %zu, the file ends at %zu",
                s->path, t->name, t->bytes, data_begin + t->offset, s->map.n);
        end += t->bytes;
        t->data = s->map.data + data_begin + t->offset;
    }
    if (end != available)
        return mot_fail(MOT_ECORRUPT, "%s: %zu bytes after the last tensor", s->path,
                        available - end);
    return MOT_OK;
}

/* qsort_r: what is sorted is indices, the names are beside them. */
static int by_name(const void *a, const void *b, void *tensors)
{
    const struct mot_st_tensor *t = tensors;
    return strcmp(t[*(const int64_t *)a].name, t[*(const int64_t *)b].name);
}

static int index_names(struct mot_st *s)
{
    s->by_name = mot_alloc((size_t)s->n, sizeof *s->by_name);
    if (!s->by_name)
        return MOT_ENOMEM;
    for (int64_t i = 0; i < s->n; i++)
        s->by_name[i] = i;
    qsort_r(s->by_name, (size_t)s->n, sizeof *s->by_name, by_name, s->tensor);
    return MOT_OK;
}

static int read_entries(struct mot_st *s, const json_t *header)
{
    if (!json_is_object(header))
        return mot_fail(MOT_EFORMAT, "%s: header: expected a JSON object", s->path);
    s->tensor = mot_alloc(json_object_size(header), sizeof *s->tensor);
    if (!s->tensor)
        return MOT_ENOMEM;
    const char *name;
    json_t *o;
    json_object_foreach ((json_t *)(uintptr_t)header, name, o) {
        int rc = strcmp(name, "__metadata__") == 0 ? read_metadata(s, o) : read_tensor(s, name, o);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

static int read_header(struct mot_st *s)
{
    if (s->map.n < 8)
        return mot_fail(MOT_EFORMAT, "%s: not a safetensors file: only %zu bytes", s->path,
                        s->map.n);
    uint64_t n = mot_get64(s->map.data);
    if (n > HEADER_LIMIT)
        return mot_fail(MOT_EFORMAT,
                        "%s: not a safetensors file: header of %llu bytes, at most %zu allowed",
                        s->path, (unsigned long long)n, HEADER_LIMIT);
    if (n > s->map.n - 8)
        return mot_fail(MOT_ECORRUPT, "%s: truncated: header of %llu bytes, the file has %zu",
                        s->path, (unsigned long long)n, s->map.n);
    char *name = mot_format("%s: header", s->path);
    if (!name)
        return MOT_ENOMEM;
    json_t *header = mot_json_parse(name, s->map.data + 8, (size_t)n);
    mot_free(name);
    if (!header)
        return MOT_EFORMAT;
    int rc = read_entries(s, header);
    json_decref(header);
    if (!rc)
        rc = check_layout(s, 8 + (size_t)n);
    return rc ? rc : index_names(s);
}

int mot_st_open(struct mot_st *s, const char *path)
{
    *s = (struct mot_st){0};
    s->path = mot_strdup(path);
    int rc = s->path ? mot_map_open(&s->map, path) : MOT_ENOMEM;
    if (!rc)
        rc = read_header(s);
    if (rc)
        mot_st_close(s);
    return rc;
}

void mot_st_close(struct mot_st *s)
{
    if (!s)
        return;
    for (int64_t i = 0; i < s->n; i++)
        mot_free(s->tensor[i].name);
    for (int64_t i = 0; i < 2 * s->n_metadata; i++)
        mot_free(s->metadata[i]);
    mot_free(s->tensor);
    mot_free(s->metadata);
    mot_free(s->by_name);
    mot_free(s->path);
    mot_map_close(&s->map);
    *s = (struct mot_st){0};
}

const struct mot_st_tensor *mot_st_find(const struct mot_st *s, const char *name)
{
    int64_t lo = 0, hi = s->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        const struct mot_st_tensor *t = &s->tensor[s->by_name[mid]];
        int c = strcmp(name, t->name);
        if (c == 0)
            return t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *mot_st_metadata(const struct mot_st *s, const char *key)
{
    for (int64_t i = 0; i < s->n_metadata; i++)
        if (strcmp(s->metadata[2 * i], key) == 0)
            return s->metadata[2 * i + 1];
    return NULL;
}

float mot_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff, u;
    if (exponent == 31) /* infinity, NaN */
        u = sign | 0x7f800000 | mantissa << 13;
    else if (exponent) /* another bias: 15 -> 127 */
        u = sign | (exponent + 112) << 23 | mantissa << 13;
    else { /* zero and subnormals: mantissa * 2^-24 is a normal float */
        float x = ldexpf((float)mantissa, -24);
        return sign ? -x : x;
    }
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

uint16_t mot_f16(float x)
{
    float a = fabsf(x), half;
    uint32_t u, sign, v;
    memcpy(&u, &x, sizeof u);
    sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) /* NaN */
        return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x1ff));
    if (a >= 65520) /* halfway between the largest half and what would be the next */
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x1p-14f) { /* subnormal: beside 0.5 the last bit counts 2^-24, and the addition rounds */
        half = a + 0.5f;
        memcpy(&v, &half, sizeof v);
        return (uint16_t)(sign | (v - 0x3f000000));
    }
    u += 0xfff + (u >> 13 & 1); /* a carry goes into the exponent, as it should */
    return (uint16_t)(sign | ((u >> 13) - (112 << 10)));
}

int mot_st_read_f32(const struct mot_st *s, const struct mot_st_tensor *t, float *out)
{
    return mot_st_read_part(s, t, 0, t->count, out);
}

int mot_st_read_part(const struct mot_st *s, const struct mot_st_tensor *t, int64_t first,
                     int64_t n, float *out)
{
    const unsigned char *p = t->data + first * dtypes[t->dtype].bits / 8;
    switch (t->dtype) {
    case MOT_F32:
        for (int64_t i = 0; i < n; i++) {
            uint32_t u = mot_get32(p + 4 * i);
            memcpy(out + i, &u, sizeof u);
        }
        return MOT_OK;
    case MOT_BF16:
        for (int64_t i = 0; i < n; i++)
            out[i] = mot_from_bf16((uint16_t)mot_get16(p + 2 * i));
        return MOT_OK;
    case MOT_F16:
        for (int64_t i = 0; i < n; i++)
            out[i] = mot_from_f16((uint16_t)mot_get16(p + 2 * i));
        return MOT_OK;
    case MOT_F64:
        for (int64_t i = 0; i < n; i++) {
            uint64_t u = mot_get64(p + 8 * i);
            double x;
            memcpy(&x, &u, sizeof x);
            out[i] = (float)x;
        }
        return MOT_OK;
    default:
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" is %s, expected F32, F16, BF16 or F64",
                        s->path, t->name, mot_dtype_name(t->dtype));
    }
}

int mot_st_encode(enum mot_dtype dtype, const float *x, int64_t n, void *out)
{
    unsigned char *p = out; /* in place: value i is read before byte 2 i is written over it */
    switch (dtype) {
    case MOT_F32:
        if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
            if (out != x && n > 0)
                memcpy(out, x, (size_t)n * sizeof *x);
            return MOT_OK;
        }
        for (int64_t i = 0; i < n; i++) {
            uint32_t u;
            memcpy(&u, x + i, sizeof u);
            mot_put32(p + 4 * i, u);
        }
        return MOT_OK;
    case MOT_BF16:
        for (int64_t i = 0; i < n; i++)
            mot_put16(p + 2 * i, mot_bf16(x[i]));
        return MOT_OK;
    case MOT_F16:
        for (int64_t i = 0; i < n; i++)
            mot_put16(p + 2 * i, mot_f16(x[i]));
        return MOT_OK;
    default:
        return mot_fail(MOT_EARG, "values cannot be written as %s", mot_dtype_name(dtype));
    }
}

/* ---- writing ---- */

struct mot_st_writer {
    char *path;
    struct mot_out *out;
    size_t expected, given; /* bytes of data */
};

/* The canonical order: larger alignment first, so that every tensor is aligned to its own size;
 * then by name. */
static int compare_decls(const void *a, const void *b)
{
    const struct mot_st_decl *s = *(const struct mot_st_decl *const *)a;
    const struct mot_st_decl *t = *(const struct mot_st_decl *const *)b;
    if (s->dtype != t->dtype)
        return s->dtype > t->dtype ? -1 : 1;
    return strcmp(s->name, t->name);
}

static int put_tensor(struct mot_st_writer *w, json_t *header, const struct mot_st_decl *d)
{
    int64_t count;
    size_t bytes, end;
    if (d->rank < 0 || d->rank > MOT_MAX_RANK ||
        !measure(d->dtype, d->rank, d->shape, &count, &bytes) || !mot_add(w->expected, bytes, &end))
        return mot_fail(MOT_EARG, "%s: tensor \"%s\": its shape gives no possible size", w->path,
                        d->name);
    if (json_object_get(header, d->name) || strcmp(d->name, "__metadata__") == 0)
        return mot_fail(MOT_EARG, "%s: tensor \"%s\": this name is already taken", w->path,
                        d->name);
    json_t *shape = json_array();
    for (int i = 0; i < d->rank; i++)
        json_array_append_new(shape, json_integer(d->shape[i]));
    json_t *o = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtypes[d->dtype].name, "shape", shape,
                          "data_offsets", (json_int_t)w->expected, (json_int_t)end);
    w->expected = end;
    if (!o || json_object_set_new(header, d->name, o) != 0)
        return mot_fail(MOT_EARG, "%s: tensor \"%.200s\": its name is no UTF-8 text", w->path,
                        d->name);
    return MOT_OK;
}

static int put_metadata(struct mot_st_writer *w, json_t *header, const char *const *metadata,
                        int64_t n)
{
    json_t *o = json_object();
    for (int64_t i = 0; i < n; i++)
        if (json_object_set_new(o, metadata[2 * i], json_string(metadata[2 * i + 1])) != 0) {
            json_decref(o);
            return mot_fail(MOT_EARG, "%s: metadata \"%.200s\" is no UTF-8 text", w->path,
                            metadata[2 * i]);
        }
    if (json_object_set_new(header, "__metadata__", o) != 0)
        return mot_fail(MOT_ENOMEM, "%s: out of memory writing the header", w->path);
    return MOT_OK;
}

/* Spaces fill up to a multiple of 8, and further to where data lie in their page as those do that begin at `like`. */
static size_t pad(size_t n, size_t like)
{
    n = (n + 7) / 8 * 8;
    return like % 8 ? n : n + (like - 8 - n) % MOT_COPY_PAGE;
}

static int write_header(struct mot_st_writer *w, const json_t *header, size_t like)
{
    char *text = json_dumps(header, JSON_COMPACT);
    if (!text)
        return mot_fail(MOT_ENOMEM, "%s: out of memory writing the header", w->path);
    size_t n = strlen(text), padded = pad(n, like);
    unsigned char size[8];
    mot_put64(size, padded);
    int rc = padded > HEADER_LIMIT
                 ? mot_fail(MOT_EARG, "%s: header of %zu bytes, at most %zu allowed", w->path,
                            padded, HEADER_LIMIT)
                 : mot_out_write(w->out, size, sizeof size);
    if (!rc)
        rc = mot_out_write(w->out, text, n);
    for (size_t at = n; !rc && at < padded; at++)
        rc = mot_out_write(w->out, " ", 1);
    free(text); /* jansson's, from libc */
    return rc;
}

static struct mot_st_writer *begin(const char *path, const struct mot_st_decl *decl, int64_t n,
                                   const char *const *metadata, int64_t n_metadata, size_t like,
                                   int64_t *order)
{
    int rc = MOT_ENOMEM;
    struct mot_st_writer *w = mot_alloc(1, sizeof *w);
    const struct mot_st_decl **sorted = mot_alloc((size_t)n, sizeof *sorted);
    json_t *header = json_object();
    if (!w || !sorted || !header || !(w->path = mot_strdup(path)))
        goto out;
    for (int64_t i = 0; i < n; i++)
        sorted[i] = decl + i;
    qsort(sorted, (size_t)n, sizeof *sorted, compare_decls);
    rc = n_metadata ? put_metadata(w, header, metadata, n_metadata) : MOT_OK;
    for (int64_t i = 0; !rc && i < n; i++) {
        int64_t k = sorted[i] - decl;
        if (order)
            order[i] = k;
        else if (k != i)
            rc = mot_fail(MOT_EARG, "%s: tensors are not declared in the order of the file", path);
        if (!rc)
            rc = put_tensor(w, header, sorted[i]);
    }
    if (!rc)
        rc = (w->out = mot_out_open(path)) ? write_header(w, header, like) : MOT_EIO;
out:
    json_decref(header);
    mot_free(sorted);
    if (rc) {
        mot_st_writer_abort(w);
        return NULL;
    }
    return w;
}

struct mot_st_writer *mot_st_writer_begin(const char *path, const struct mot_st_decl *decl,
                                          int64_t n, const char *const *metadata,
                                          int64_t n_metadata, int64_t *order)
{
    return begin(path, decl, n, metadata, n_metadata, MOT_ST_ANYWHERE, order);
}

int mot_st_writer_data(struct mot_st_writer *w, const void *data, size_t bytes)
{
    if (bytes > w->expected - w->given)
        return mot_fail(MOT_EARG, "%s: more data than the %zu bytes declared", w->path,
                        w->expected);
    w->given += bytes;
    return mot_out_write(w->out, data, bytes);
}

int mot_st_writer_copy(struct mot_st_writer *w, const struct mot_st *s,
                       const struct mot_st_tensor *t, size_t begin, size_t bytes)
{
    if (bytes > w->expected - w->given)
        return mot_fail(MOT_EARG, "%s: more data than the %zu bytes declared", w->path,
                        w->expected);
    w->given += bytes;
    return mot_out_copy(w->out, s->path, (size_t)(t->data - s->map.data) + begin, bytes);
}

int mot_st_writer_commit(struct mot_st_writer *w)
{
    if (w->given != w->expected) {
        int rc = mot_fail(MOT_EARG, "%s: %zu bytes of data given, %zu declared", w->path, w->given,
                          w->expected);
        mot_st_writer_abort(w);
        return rc;
    }
    struct mot_out *out = w->out;
    w->out = NULL;
    mot_st_writer_abort(w);
    return mot_out_commit(out);
}

void mot_st_writer_abort(struct mot_st_writer *w)
{
    if (!w)
        return;
    mot_out_abort(w->out);
    mot_free(w->path);
    mot_free(w);
}

int mot_st_write(const char *path, const struct mot_st_decl *decl, int64_t n, const char *const *metadata,
                 int64_t n_metadata, size_t like, mot_st_put *put, void *context)
{
    int64_t *order = mot_alloc((size_t)n, sizeof *order);
    if (!order)
        return MOT_ENOMEM;
    struct mot_st_writer *w = begin(path, decl, n, metadata, n_metadata, like, order);
    int rc = w ? MOT_OK : MOT_EIO;
    for (int64_t i = 0; !rc && i < n; i++)
        rc = put(context, w, order[i]);
    if (!rc)
        rc = mot_st_writer_commit(w);
    else
        mot_st_writer_abort(w);
    mot_free(order);
    return rc;
}
