/* SPDX-License-Identifier: MIT
 *
 * conv.c - convolutions as products of matrices.
 *
 * A row of the left-hand matrix is what one output pixel sees, a column of the right-hand one what
 * one output channel makes of it.  The left one is never made whole: a thread gathers a block of it
 * when product.h would copy that block, so memory does not grow with the picture.
 */
#include <omp.h>

#include "product.h"

enum { CONV_SCRATCH = PRODUCT_SCRATCH + PRODUCT_ROWS * PRODUCT_DEPTH };

/* What one output pixel sees of one group. */
static int64_t depth_of(const struct mot_conv *v)
{
    return v->kh * v->kw * (v->C / v->groups);
}

struct mot_cpu_need mot_cpu_conv_need(int threads, const struct mot_limits *l)
{
    (void)threads;
    int64_t most = 0;
    for (int i = 0; i < l->n_conv; i++) {
        const struct mot_conv *v = &l->conv[i];
        int64_t n = v->groups * packed_floats(depth_of(v), v->O / v->groups);
        most = n > most ? n : most;
    }
    return (struct mot_cpu_need){.shared = (size_t)most * sizeof(float),
                                 .scratch = l->n_conv ? CONV_SCRATCH * sizeof(float) : 0};
}

/* The part of values [begin, begin + n) of a pixel's row that lies in r, from `from` (NULL: zeros);
 * `to` stands for r.begin. */
static inline void put(float *to, struct mot_range r, int64_t begin, int64_t n, const float *from)
{
    int64_t lo = begin > r.begin ? begin : r.begin, end = begin + n;
    int64_t hi = end < r.end ? end : r.end;
    if (lo < hi && from)
        memcpy(to + (lo - r.begin), from + (lo - begin), (size_t)(hi - lo) * sizeof(float));
    else if (lo < hi)
        memset(to + (lo - r.begin), 0, (size_t)(hi - lo) * sizeof(float));
}

static inline int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* Values r of what output pixel (oy, ox) sees of group g.  Taps that follow each other in a row of
 * the kernel do so in memory, unless there are groups or the input is enlarged; then they are copied
 * at once. */
static void gather(float *to, const float *x, const struct mot_conv *v, int64_t g, int64_t oy,
                   int64_t ox, struct mot_range r)
{
    int64_t I = v->C / v->groups, taps = v->groups == 1 && v->up == 1 ? v->kw : 1, run = taps * I;
    for (int64_t t = r.begin / run; t * run < r.end; t++) {
        int64_t iy = oy * v->stride - v->top + t * taps / v->kw;
        int64_t ix = ox * v->stride - v->left + t * taps % v->kw;
        bool inside = iy >= 0 && iy < v->H * v->up;
        int64_t lo = inside ? clamp(-ix, 0, taps) : taps;
        int64_t hi = inside ? clamp(v->W * v->up - ix, lo, taps) : taps;
        put(to, r, t * run, lo * I, NULL);
        if (lo < hi)
            put(to, r, t * run + lo * I, (hi - lo) * I,
                x + (iy / v->up * v->W + (ix + lo) / v->up) * v->C + g * I);
        put(to, r, t * run + hi * I, (taps - hi) * I, NULL);
    }
}

/* Rows and columns p of a group's product.  y, b and packed are the group's. */
static void conv_part(const struct mot_device *d, float *y, const float *x, const float *packed,
                      const float *b, const struct mot_conv *v, int64_t g, struct product_part p,
                      int add)
{
    float *block = mot_cpu_scratch(d, omp_get_thread_num(), CONV_SCRATCH * sizeof(float));
    float *rows = block + PRODUCT_SCRATCH;
    int64_t k = depth_of(v), m = p.rows.end - p.rows.begin;
    int blocks = (int)((k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH);
    for (int64_t i = p.rows.begin; b && i < p.rows.end; i++)
        for (int64_t o = p.cols.begin; o < p.cols.end; o++)
            y[i * v->O + o] = b[o] + (add ? y[i * v->O + o] : 0);
    for (int n = 0; n < blocks; n++) {
        struct mot_range r = mot_cpu_share(k, 16, n, blocks);
        for (int64_t i = 0; i < m; i++)
            gather(rows + i * PRODUCT_DEPTH, x, v, g, (p.rows.begin + i) / v->OW,
                   (p.rows.begin + i) % v->OW, r);
        pack_block(block, (struct tile_a){rows, PRODUCT_DEPTH, 1}, m, r.end - r.begin);
        product_block(y + p.rows.begin * v->O + p.cols.begin, v->O,
                      (struct tile_a){block, PRODUCT_STRIDE, 1}, TILE_ROWS * PRODUCT_STRIDE,
                      packed + p.cols.begin * packed_depth(k), m, p.cols.end - p.cols.begin, k, r,
                      add || b || n > 0);
    }
}

void mot_cpu_conv2d(struct mot_device *d, float *y, const float *x, const float *w, const float *b,
                    const struct mot_conv *v, int add)
{
    int64_t k = depth_of(v), O = v->O / v->groups, N = v->OH * v->OW;
    int64_t size = packed_floats(k, O), panels = panels_of(O);
    int workers = mot_cpu_workers(d, N * v->O * k / 8);
    float *packed = mot_cpu_shared(d, (size_t)(v->groups * size) * sizeof(float)); /* (groups,size) */
#pragma omp parallel num_threads(workers)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < v->groups * panels; i++) {
            int64_t g = i / panels, panel = i % panels;
            double begin = mot_cpu_begin(d);
            pack_panel(packed + g * size + panel * PANEL * packed_depth(k),
                       (struct tile_a){w + g * k * O, O, 1}, k, O, panel);
            mot_cpu_end(d, -1, begin);
        }
        for (int64_t g = 0; g < v->groups; g++) {
            struct product_cut cut = product_cut(N, O, workers, 1, v->groups);
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t i = 0; i < cut.n_rows * cut.n_cols; i++) {
                double begin = mot_cpu_begin(d);
                conv_part(d, y + g * O, x, packed + g * size, b ? b + g * O : NULL, v, g,
                          product_part(&cut, i), add);
                mot_cpu_end(d, -1, begin);
            }
        }
    }
}
