/* SPDX-License-Identifier: MIT
 *
 * cpu.h - what the files of the cpu backend share: the device, how its workspace is divided, how
 * work is split over threads, and the exponential.
 *
 * Threads: one OpenMP pool; every operation is one parallel region (or a few barriers inside one).
 * A tile of an output is written by one thread alone and sums over rows are made per thread in a
 * fixed split and added up in order of threads, so results never depend on timing.
 * Workspace: one block, `shared` by all threads and then a `scratch` for each.  Every operation
 * that needs some tells how much in a function of the limits beside it; cpu.c takes the largest.
 */
#ifndef MOT_CPU_H
#define MOT_CPU_H

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "../kernels.h"
#include "names.h"

struct mot_device {
    int threads;
    char *block; /* the workspace: shared, then threads times scratch */
    size_t shared_bytes, scratch_bytes;
    struct mot_watch *watch; /* NULL: nobody looks */
};

/* Sizes of the workspace, in bytes. */
struct mot_cpu_need {
    size_t shared, scratch; /* scratch: of each thread */
};

struct mot_cpu_need mot_cpu_norm_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_linear_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_rope_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_attention_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_past_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_conv_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_groupnorm_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_attend_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_head_need(int threads, const struct mot_limits *l);
struct mot_cpu_need mot_cpu_optim_need(int threads, const struct mot_limits *l);

static inline float *mot_cpu_shared(const struct mot_device *d, size_t bytes)
{
    assert(bytes <= d->shared_bytes && "reserve() comes first, with limits that are large enough");
    (void)bytes;
    return (float *)(void *)d->block;
}

static inline float *mot_cpu_scratch(const struct mot_device *d, int thread, size_t bytes)
{
    assert(bytes <= d->scratch_bytes && "reserve() comes first, with limits that are large enough");
    (void)bytes;
    return (float *)(void *)(d->block + d->shared_bytes + (size_t)thread * d->scratch_bytes);
}

/* How many threads some work is worth: all, or one, for waking them costs about as much as 10^4
 * simple operations.  Nothing between: libgomp ends the threads that a smaller team leaves over. */
static inline int mot_cpu_workers(const struct mot_device *d, int64_t operations)
{
    return operations < 32768 ? 1 : d->threads;
}

struct mot_range {
    int64_t begin, end;
};

/* The `part`th of `parts` nearly equal shares of [0, n), beginning at multiples of `step`. */
static inline struct mot_range mot_cpu_share(int64_t n, int64_t step, int part, int parts)
{
    int64_t steps = (n + step - 1) / step;
    struct mot_range r = {steps * part / parts * step, steps * (part + 1) / parts * step};
    r.begin = r.begin < n ? r.begin : n;
    r.end = r.end < n ? r.end : n;
    return r;
}

/* For profilers: the beginning of a piece of work of the calling thread, and its end. */
void mot_cpu_note(struct mot_device *d, int32_t group, double begin); /* (cpu.c) */

static inline double mot_cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline double mot_cpu_begin(const struct mot_device *d)
{
    return d->watch ? mot_cpu_now() : 0;
}

static inline void mot_cpu_end(struct mot_device *d, int group, double begin)
{
    if (d->watch)
        mot_cpu_note(d, group, begin);
}

static inline int64_t mot_cpu_rows(const struct mot_group *g, int G)
{
    int64_t rows = 0;
    for (int k = 0; k < G; k++)
        rows += g[k].rows;
    return rows;
}

/* The part of a group's rows that lies in [r.begin, r.end) when the rows of all groups are counted
 * through; *seen counts the rows of the groups before and goes on.  Gives rows of the batch. */
static inline struct mot_range mot_cpu_part(const struct mot_group *g, struct mot_range r,
                                            int64_t *seen)
{
    int64_t from = r.begin - *seen, to = r.end - *seen;
    *seen += g->rows;
    from = from < 0 ? 0 : from < g->rows ? from : g->rows;
    to = to < from ? from : to < g->rows ? to : g->rows;
    return (struct mot_range){g->row + from, g->row + to};
}

/* exp(x), in a form that gcc vectorises, to 2e-7 or, far from 0, 1e-8 |x|.  Below -87.7 it is 0,
 * above 88 it stays at exp(88); NaN stays NaN, so that a diverging run shows.
 * x log2(e) = n + r with |r| <= 1/2: 1.5 2^23 added and taken away rounds to n, whose bits then
 * stand at the low end; 2^r is the minimax polynomial of degree 5 with its first coefficient held
 * at 1 (relative error 9e-8); 2^n is made of its exponent bits, none for n = -127. */
static inline float mot_cpu_exp(float x)
{
    const float log2e = 1.44269504f, magic = 12582912.0f;
    x = x < -88.0f ? -88.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float t = x * log2e + magic, n = t - magic, r = x * log2e - n;
    float p = 0.00132647273f;
    p = p * r + 0.00967151299f;
    p = p * r + 0.0555073358f;
    p = p * r + 0.240222424f;
    p = p * r + 0.693147004f;
    p = p * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits + 127) << 23; /* the magic number's own bits leave at the top */
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* The table of operations. (cpu.c) */
extern const struct mot_kernels mot_cpu_table;

void mot_cpu_embed(struct mot_device *d, float *y, const float *table, const int32_t *id, int64_t N,
                   int64_t C, int64_t V);
void mot_cpu_embed_back(struct mot_device *d, float *dtable, const float *dy, const int32_t *id,
                        int64_t N, int64_t C, int64_t V);
void mot_cpu_rmsnorm(struct mot_device *d, float *y, float *rstd, const float *x, const float *res,
                     const float *params, const struct mot_group *g, int G, int64_t C, float eps);
void mot_cpu_rmsnorm_back(struct mot_device *d, float *dx, float *grads, const float *dy,
                          const float *x, const float *rstd, const float *params,
                          const struct mot_group *g, int G, int64_t C, int add);
void mot_cpu_linear(struct mot_device *d, float *y, const float *x, const float *params,
                    const struct mot_group *g, int G, int64_t I, int64_t O, int add);
void mot_cpu_linear_back_x(struct mot_device *d, float *dx, const float *dy, const float *params,
                           const struct mot_group *g, int G, int64_t I, int64_t O, int add);
void mot_cpu_linear_back_w(struct mot_device *d, float *grads, const float *dy, const float *x,
                           const struct mot_group *g, int G, int64_t I, int64_t O);
void mot_cpu_rope(struct mot_device *d, float *q, float *k, float *v, const float *qkv,
                  const float *params, const struct mot_group *g, int G, const int32_t *seq,
                  const int32_t *pos, const float *cos, const float *sin, int64_t N, int64_t H,
                  int64_t K, int64_t D, enum mot_head_norm norm, float eps);
void mot_cpu_rope_back(struct mot_device *d, float *dqkv, float *grads, const float *dq,
                       const float *dk, const float *dv, const float *qkv, const float *params,
                       const struct mot_group *g, int G, const int32_t *seq, const int32_t *pos,
                       const float *cos, const float *sin, int64_t N, int64_t H, int64_t K,
                       int64_t D, enum mot_head_norm norm, float eps);
void mot_cpu_attention(struct mot_device *d, float *o, float *lse, const float *q, const float *k,
                       const float *v, const int32_t *row, const int32_t *until,
                       const struct mot_segment *segments, int64_t n_segments, int64_t N, int64_t H,
                       int64_t K, int64_t D, float scale);
void mot_cpu_attention_back(struct mot_device *d, float *dq, float *dk, float *dv, const float *dO,
                            const float *o, const float *lse, const float *q, const float *k,
                            const float *v, const int32_t *row, const int32_t *until,
                            const struct mot_segment *segments, int64_t n_segments, int64_t N,
                            int64_t H, int64_t K, int64_t D, float scale);
void mot_cpu_logits(struct mot_device *d, float *z, const float *x, const float *w, int64_t N,
                    int64_t C, int64_t V);
void mot_cpu_remember(struct mot_device *d, const struct mot_past *past, int64_t layer,
                      const float *k, const float *v, const struct mot_segment *segments,
                      int64_t n_segments, int64_t N, int64_t K, int64_t D);
void mot_cpu_attention_past(struct mot_device *d, float *o, const float *q,
                            const struct mot_past *past, int64_t layer, const int32_t *row,
                            int64_t N, int64_t H, int64_t K, int64_t D, float scale);
void mot_cpu_conv2d(struct mot_device *d, float *y, const float *x, const float *w, const float *b,
                    const struct mot_conv *conv, int add);
void mot_cpu_groupnorm(struct mot_device *d, float *y, const float *x, const float *w,
                       const float *b, int64_t N, int64_t C, int64_t groups, float eps,
                       enum mot_nonlinearity act);
void mot_cpu_layernorm(struct mot_device *d, float *y, const float *x, const float *w,
                       const float *b, int64_t N, int64_t C, float eps, enum mot_nonlinearity act);
void mot_cpu_activate(struct mot_device *d, float *y, const float *x, int64_t n,
                      enum mot_nonlinearity act, int add);
void mot_cpu_attend(struct mot_device *d, float *o, const float *qkv, int64_t N, int64_t H,
                    int64_t D, float scale);
void mot_cpu_cast(struct mot_device *d, float *y, const float *x, int64_t row, int64_t rows, int64_t C);
void mot_cpu_spread(struct mot_device *d, float *y, const float *e, const int32_t *of, int64_t row,
                    int64_t rows, int64_t C);
void mot_cpu_spread_back(struct mot_device *d, float *de, const float *dy, const int32_t *of,
                         int64_t row, int64_t rows, int64_t M, int64_t C);
void mot_cpu_unfold(struct mot_device *d, float *y, const float *x, const int32_t *near, int64_t N,
                    int64_t C);
void mot_cpu_unfold_back(struct mot_device *d, float *dx, const float *dy, const int32_t *near,
                         int64_t N, int64_t C);
void mot_cpu_squared_error(struct mot_device *d, float *loss, float *dx, const float *x,
                           const float *target, const float *weight, int64_t row, int64_t rows,
                           int64_t C);
void mot_cpu_silu(struct mot_device *d, float *y, const float *x, int64_t n);
void mot_cpu_silu_back(struct mot_device *d, float *dx, const float *dy, const float *x, int64_t n);
void mot_cpu_swiglu(struct mot_device *d, float *h, const float *gu, int64_t N, int64_t F);
void mot_cpu_swiglu_back(struct mot_device *d, float *dgu, const float *dh, const float *gu,
                         int64_t N, int64_t F);
void mot_cpu_head_loss(struct mot_device *d, float *nll, float *lse, float *dx, float *dw,
                       const float *x, const float *w, const int32_t *target, const float *weight,
                       float zloss, int64_t N, int64_t C, int64_t V);
void mot_cpu_sumsq(struct mot_device *d, double *out, const float *x, int64_t n);
void mot_cpu_clip(struct mot_device *d, float *scale, const double *sums, int n, float max_norm);
void mot_cpu_adamw(struct mot_device *d, float *w, float *m, float *v, float *grad, int64_t n,
                   const float *scale, float lr, float b1, float b2, float eps, float decay,
                   int64_t step);

#endif
