/* SPDX-License-Identifier: MIT
 *
 * product.h - large products of matrices: C (m,n) (+)= A (m,k) B (k,n), a part of C on one thread.
 *
 * As in Goto & van de Geijn 2008: B is packed beforehand, by all threads together and once for a
 * whole operation, into panels of two vectors of columns.  Of A a thread packs a block of
 * PRODUCT_ROWS by PRODUCT_DEPTH; TILE_ROWS of it at a time stay in the first cache while
 * PRODUCT_COLS of B stream past from the second.  A's rows are copied as they lie, or its columns
 * if it is those that are contiguous, so packing it is never a transposition.  How numbers are
 * packed and multiplied is for product_f32.h and product_bf16.h to know.
 * The sum over k is made in the same order wherever C is cut.
 */
#ifndef MOT_PRODUCT_H
#define MOT_PRODUCT_H

#include <omp.h>
#include <stdbool.h>

#ifdef MOT_CPU_BF16
#include "product_bf16.h"
#else
#include "product_f32.h"
#endif

enum {
    PRODUCT_COLS = 512,                              /* of a part of C */
    PRODUCT_SCRATCH = PRODUCT_ROWS * PRODUCT_STRIDE, /* floats that a thread needs */
};

static inline int64_t panels_of(int64_t n)
{
    return (n + PANEL - 1) / PANEL;
}

/* One packed block of A against rows r of the packed panels of B (k,n). */
static inline __attribute__((always_inline)) void product_block(float *c, int64_t c_row,
                                                                struct tile_a a, int64_t a_step,
                                                                const float *b, int64_t m,
                                                                int64_t n, int64_t k,
                                                                struct mot_range r, bool add)
{
    for (int64_t i = 0; i < m; i += TILE_ROWS, a.p += a_step)
        for (int64_t j = 0; j < n; j += PANEL) {
            int64_t rows = m - i < TILE_ROWS ? m - i : TILE_ROWS;
            int64_t cols = n - j < PANEL ? n - j : PANEL;
            int64_t width = cols > TILE_VECTOR ? PANEL : TILE_VECTOR;
            product_core(rows, cols, packed_depth(r.end - r.begin), a,
                         b + j * packed_depth(k) + packed_depth(r.begin) * width,
                         c + i * c_row + j, c_row, add);
        }
}

/* -- a part of C ------------------------------------------------------------------------------- */

/* C, `rows` by `cols`, cut into n_rows by n_cols parts. */
struct product_cut {
    int64_t rows, cols, n_rows, n_cols;
};

struct product_part {
    struct mot_range rows, cols;
};

/* How C is cut when making it is `work` of `all` that the threads do: into parts as large as
 * the caches like them, or smaller, so that each thread has some four of all and as many as the
 * others. */
static inline struct product_cut product_cut(int64_t rows, int64_t cols, int threads, int64_t work,
                                             int64_t all)
{
    struct product_cut c = {rows, cols, 0, 0};
    if (rows == 0 || cols == 0)
        return c;
    int64_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    int64_t parts = threads > 1 ? (4 * threads * work + all - 1) / all : 1;
    c.n_cols = (cols + PRODUCT_COLS - 1) / PRODUCT_COLS;
    c.n_rows = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    if (c.n_rows * c.n_cols < parts)
        c.n_rows = (parts + c.n_cols - 1) / c.n_cols;
    c.n_rows = (c.n_rows + threads - 1) / threads * threads;
    c.n_rows = c.n_rows < tiles ? c.n_rows : tiles;
    return c;
}

/* The n-th part of a cut.  Neighbours have columns in common, which are then in the cache. */
static inline struct product_part product_part(const struct product_cut *c, int64_t n)
{
    return (struct product_part){
        mot_cpu_share(c->rows, TILE_ROWS, (int)(n % c->n_rows), (int)c->n_rows),
        mot_cpu_share(c->cols, PANEL, (int)(n / c->n_rows), (int)c->n_cols),
    };
}

/* A part of C (m,n) (+)= A (m,k) B (k,n): at most PRODUCT_ROWS rows, and columns that begin with a
 * panel.  One of A's strides is 1; `packed` is B from that panel on. */
static inline void product(const struct mot_device *d, float *c, int64_t c_row, struct tile_a a,
                           const float *packed, struct product_part p, int64_t k, bool add)
{
    float *scratch = mot_cpu_scratch(d, omp_get_thread_num(), PRODUCT_SCRATCH * sizeof(float));
    int64_t m = p.rows.end - p.rows.begin, n = p.cols.end - p.cols.begin;
    int blocks = k > 0 ? (int)((k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH) : 1;
    c += p.rows.begin * c_row + p.cols.begin;
    a.p += p.rows.begin * a.row;
    for (int block = 0; block < blocks; block++) {
        struct mot_range r = mot_cpu_share(k, 16, block, blocks);
        int64_t depth = r.end - r.begin;
        bool adds = add || block > 0;
        pack_block(scratch, (struct tile_a){a.p + r.begin * a.col, a.row, a.col}, m, depth);
        if (a.col == 1)
            product_block(c, c_row, (struct tile_a){scratch, PRODUCT_STRIDE, 1},
                          TILE_ROWS * PRODUCT_STRIDE, packed, m, n, k, r, adds);
        else
            product_block(c, c_row, (struct tile_a){scratch, 1, TILE_ROWS},
                          TILE_ROWS * packed_depth(depth), packed, m, n, k, r, adds);
    }
}

#ifdef MOT_CPU_BF16
/* -- few rows ---------------------------------------------------------------------------------- */

/* Columns of panel `panel` of c (rows,n) (+)= a (rows,k) w^T, w (n,k): packed into the thread's
 * cache and used at once. */
static inline void thin_panel(const struct mot_device *d, float *c, int64_t n, const float *a,
                              int64_t rows, const float *w, int64_t k, int64_t panel, bool add)
{
    size_t bytes = (size_t)(PRODUCT_SCRATCH + packed_floats(k, PANEL)) * sizeof(float);
    float *packed = mot_cpu_scratch(d, omp_get_thread_num(), bytes) + PRODUCT_SCRATCH;
    int64_t end = n < (panel + 1) * PANEL ? n : (panel + 1) * PANEL;
    pack_panel(packed, (struct tile_a){w, 1, k}, k, n, panel);
    product(d, c, n, (struct tile_a){a, k, 1}, packed,
            (struct product_part){{0, rows}, {panel * PANEL, end}}, k, add);
}
#endif

#endif
