/* SPDX-License-Identifier: MIT
 *
 * safetensors.h - the tensor container of Hugging Face folders: 8 bytes header length (little-endian), a JSON
 * header, then raw tensors.  The reader maps the file and checks every rule before it hands out a pointer:
 * header <= 100,000,000 bytes, valid JSON without duplicate names, shapes and dtypes without overflow, offsets
 * contiguous from 0 with neither hole nor overlap, the last end exactly at the end of the file.
 */
#ifndef MOT_SAFETENSORS_H
#define MOT_SAFETENSORS_H

#include "base.h"

enum { MOT_MAX_RANK = 8 };
enum mot_dtype { /* those of the format; bits a value in mot_dtype_bits */
    MOT_BOOL, MOT_F4, MOT_F6_E2M3, MOT_F6_E3M2, MOT_U8, MOT_I8, MOT_F8_E5M2, MOT_F8_E4M3, MOT_F8_E8M0,
    MOT_F8_E4M3FNUZ, MOT_F8_E5M2FNUZ, MOT_I16, MOT_U16, MOT_F16, MOT_BF16, MOT_I32, MOT_U32, MOT_F32,
    MOT_C64, MOT_F64, MOT_I64, MOT_U64, MOT_DTYPES
};
/* bfloat16 is the upper half of a float: rounding is to nearest, ties to even; NaN stays NaN, overflow gives infinity. */
static inline uint16_t mot_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
static inline float mot_from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
float mot_from_f16(uint16_t h); /* IEEE half, exact */
uint16_t mot_f16(float x);      /* to nearest, ties to even; too large: infinity */

const char *mot_dtype_name(enum mot_dtype t); /* "F32" */
int mot_dtype_bits(enum mot_dtype t);

struct mot_st_tensor {
    char *name;
    enum mot_dtype dtype;
    int rank;
    int64_t shape[MOT_MAX_RANK];
    int64_t count;  /* product of shape */
    size_t offset;  /* in the data part */
    size_t bytes;
    const unsigned char *data; /* in the mapping; not aligned: copy out */
};
struct mot_st {
    char *path;
    struct mot_map map;
    int64_t n;
    struct mot_st_tensor *tensor; /* in order of offset */
    int64_t n_metadata;
    char **metadata; /* key, value, key, value: 2 n_metadata strings */
    /* private: name index */
    int64_t *by_name;
};
int mot_st_open(struct mot_st *s, const char *path) MOT_CHECKED;
void mot_st_close(struct mot_st *s);
const struct mot_st_tensor *mot_st_find(const struct mot_st *s, const char *name); /* NULL: none */
const char *mot_st_metadata(const struct mot_st *s, const char *key);              /* NULL: none */
/* Copy a tensor out as float, converting F32, F16, BF16, F64; other dtypes are an error. */
int mot_st_read_f32(const struct mot_st *s, const struct mot_st_tensor *t, float *out) MOT_CHECKED;
/* The same of n values from the first-th on. */
int mot_st_read_part(const struct mot_st *s, const struct mot_st_tensor *t, int64_t first, int64_t n,
                     float *out) MOT_CHECKED;
/* n floats as bytes of F32, F16 or BF16 (other dtypes: MOT_EARG); out may be the floats' own memory. */
int mot_st_encode(enum mot_dtype dtype, const float *x, int64_t n, void *out) MOT_CHECKED;

/* Writing: declare all tensors, then give their data in the declared order, then commit (atomic).  Data goes to the
 * file in the writer's canonical order (dtype alignment descending, then name), so declare in that order or
 * let mot_st_writer_begin sort: `order[k]` then tells which declared tensor to give k-th. */
struct mot_st_decl {
    const char *name;
    enum mot_dtype dtype;
    int rank;
    int64_t shape[MOT_MAX_RANK];
};
struct mot_st_writer;
/* metadata: key, value, ... 2 n_metadata strings.  order (n) output, may be NULL when the caller sorted. */
struct mot_st_writer *mot_st_writer_begin(const char *path, const struct mot_st_decl *decl, int64_t n,
                                          const char *const *metadata, int64_t n_metadata, int64_t *order) MOT_CHECKED;
int mot_st_writer_data(struct mot_st_writer *w, const void *data, size_t bytes) MOT_CHECKED; /* raw, little-endian */
/* The same from another tensor's bytes [begin, begin + bytes), which need not pass through this program. */
int mot_st_writer_copy(struct mot_st_writer *w, const struct mot_st *s, const struct mot_st_tensor *t, size_t begin,
                       size_t bytes) MOT_CHECKED;
/* All of it at once: put(context, w, k) gives the data of decl[k], in whatever order the file has them.  like: where data
 * begin in the file that most are copied from: here they begin at the same place in a page, so that the system can copy
 * pages, or disks share them; or MOT_ST_ANYWHERE. */
#define MOT_ST_ANYWHERE ((size_t)-1)
typedef int mot_st_put(void *context, struct mot_st_writer *w, int64_t k);
int mot_st_write(const char *path, const struct mot_st_decl *decl, int64_t n, const char *const *metadata, int64_t n_metadata,
                 size_t like, mot_st_put *put, void *context) MOT_CHECKED;
int mot_st_writer_commit(struct mot_st_writer *w) MOT_CHECKED; /* frees w in either case; short data is an error */
void mot_st_writer_abort(struct mot_st_writer *w);

#endif
