/* SPDX-License-Identifier: MIT
 *
 * base.h - what every part of the library stands on: errors, checked sizes, memory, random numbers,
 * byte order, files.  The only place that calls malloc.  Relies on libc and zlib (CRC-32).
 */
#ifndef MOT_BASE_H
#define MOT_BASE_H

#include <stdio.h>
#include <string.h>

#include "../mot.h"

#define MOT_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* -- sizes (memory.c): false on overflow, then *out is untouched -- */
static inline bool mot_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}
static inline bool mot_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* -- memory (memory.c): NULL after mot_fail(MOT_ENOMEM) -- */
void *mot_alloc(size_t n, size_t size) MOT_CHECKED; /* n * size zeroed bytes; never NULL for 0 */
void *mot_realloc(void *p, size_t n, size_t size) MOT_CHECKED; /* p stays valid on failure */
void mot_free(void *p);
char *mot_strdup(const char *s) MOT_CHECKED;
char *mot_strndup(const char *s, size_t n) MOT_CHECKED;
char *mot_format(const char *format, ...) MOT_PRINTF(1, 2) MOT_CHECKED; /* a new string */
int mot_bytes_reserve(struct mot_bytes *b, size_t more) MOT_CHECKED;

/* Make room for one more element in a growing array: `GROW(&a, n, &capacity)`. */
int mot_grow(void **array, int64_t n, int64_t *capacity, size_t size) MOT_CHECKED;

/* -- pictures of vectors (latents.c) -- */
bool mot_grid_fits(const struct mot_grid *g); /* sizes above 0, and their product can be computed */
/* Append `more` values to a growing array of *n; NULL: make room for them, and leave it to the caller to set them. */
int mot_values_append(uint16_t **a, int64_t *n, int64_t *capacity, const uint16_t *value, int64_t more) MOT_CHECKED;

/* -- random numbers (rng.c): Philox 4x32-10 (Salmon et al. 2011), counter-based: every number is a pure function of
 * (seed, stream, index), so runs repeat and resume without stored state. -- */
struct mot_u32x4 {
    uint32_t v[4];
};
struct mot_u32x4 mot_philox(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t mot_random_u64(uint64_t seed, uint64_t stream, uint64_t index);
/* Uniform in [0, n), n > 0; unbiased to 2^-64 n. */
uint64_t mot_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n);
double mot_random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0, 1), 53 bits */
double mot_random_normal(uint64_t seed, uint64_t stream, uint64_t index);  /* mean 0, variance 1 */
/* A stream number from a name, so that two uses never share numbers. */
uint64_t mot_stream(const char *name);

/* -- little-endian bytes -- */
static inline void mot_put16(unsigned char *p, uint32_t x)
{
    p[0] = (unsigned char)x, p[1] = (unsigned char)(x >> 8);
}
static inline void mot_put32(unsigned char *p, uint32_t x)
{
    mot_put16(p, x & 0xffff), mot_put16(p + 2, x >> 16);
}
static inline void mot_put64(unsigned char *p, uint64_t x)
{
    mot_put32(p, (uint32_t)x), mot_put32(p + 4, (uint32_t)(x >> 32));
}
static inline uint32_t mot_get16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}
static inline uint32_t mot_get32(const unsigned char *p)
{
    return mot_get16(p) | mot_get16(p + 2) << 16;
}
static inline uint64_t mot_get64(const unsigned char *p)
{
    return (uint64_t)mot_get32(p) | (uint64_t)mot_get32(p + 4) << 32;
}
uint32_t mot_crc32(uint32_t crc, const void *data, size_t n); /* zlib's; start with 0 */
/* FNV-1a, 64 bit: digests that tell files apart (no defence against malice). Start with MOT_HASH_START. */
#define MOT_HASH_START 0xcbf29ce484222325u
uint64_t mot_hash(uint64_t h, const void *data, size_t n);

/* -- files (file.c) -- */
/* Read a whole file ("-" is standard input); more than limit bytes is an error.  A zero byte is kept after the end (not
 * counted in b->n), so text may be used as a string. */
int mot_read_file(const char *path, size_t limit, struct mot_bytes *b) MOT_CHECKED;
/* Copy FROM/FILE to TO/FILE, if it is there. */
int mot_copy_if_there(const char *from, const char *to, const char *file) MOT_CHECKED;
/* Write bytes [begin, begin + n) of the file `from`; within the system where it can (copy_file_range(2)): where they lie
 * alike in their pages here and there. */
enum { MOT_COPY_PAGE = 4096 };
int mot_out_copy(struct mot_out *o, const char *from, size_t begin, size_t n) MOT_CHECKED;
/* A file mapped read-only.  Zero-initialised = nothing mapped. */
struct mot_map {
    const unsigned char *data;
    size_t n;
};
int mot_map_open(struct mot_map *m, const char *path) MOT_CHECKED;
void mot_map_close(struct mot_map *m);
/* Bytes [begin, begin + n) are not needed soon: they count no longer as this program's memory. */
void mot_map_release(const struct mot_map *m, size_t begin, size_t n);
/* Take a folder for this process alone, until mot_unlock or its end; *lock is what mot_unlock wants. Held by another: MOT_EIO. */
int mot_lock(const char *folder, int *lock) MOT_CHECKED;
void mot_unlock(int lock); /* -1 is fine */
/* Remove what killed writers of FOLDER/NAME left beside it; for who holds the folder's lock, as others may be writing. */
void mot_out_sweep(const char *folder, const char *name);
/* DIR/NAME in a new string. */
char *mot_path(const char *dir, const char *name) MOT_CHECKED;

#endif
