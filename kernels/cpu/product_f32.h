/* SPDX-License-Identifier: MIT
 *
 * product_f32.h - the packing and the core of product.h in float.
 */
#ifndef MOT_PRODUCT_F32_H
#define MOT_PRODUCT_F32_H

#include "cpu.h"
#include "tile.h"

enum {
    PRODUCT_ROWS = 96, /* a multiple of every TILE_ROWS */
    PRODUCT_DEPTH = 384,
    PRODUCT_STRIDE = PRODUCT_DEPTH + 16, /* of A's rows, packed: not a power of 2, for the cache */
    PANEL = 2 * TILE_VECTOR,
};

/* -- packing ----------------------------------------------------------------------------------- */

/* Rows of B, packed, that k values are. */
static inline int64_t packed_depth(int64_t k)
{
    return k;
}

/* Floats of B (k,n) when packed: whole vectors of columns, filled up with zeros. */
static inline int64_t packed_floats(int64_t k, int64_t n)
{
    return k * ((n + TILE_VECTOR - 1) / TILE_VECTOR * TILE_VECTOR);
}

/* n of at most `most` floats; inlined with `most` constant: a whole run is a few vectors. */
static inline __attribute__((always_inline)) void copy_run(float *to, const float *from, int64_t n,
                                                           int64_t most)
{
    if (n == most)
        memcpy(to, from, (size_t)most * sizeof(float));
    else
        for (int64_t i = 0; i < most; i++)
            to[i] = i < n ? from[i] : 0;
}

/* Panel `panel` of B, one of whose strides is 1.  The last may be of a single vector. */
static inline void pack_panel(float *to, struct tile_a b, int64_t k, int64_t n, int64_t panel)
{
    int64_t j = panel * PANEL, cols = n - j < PANEL ? n - j : PANEL;
    int64_t width = cols > TILE_VECTOR ? PANEL : TILE_VECTOR;
    const float *from = b.p + j * b.col;
    if (b.col == 1) {
        for (int64_t i = 0; i < k; i++)
            if (width == PANEL)
                copy_run(to + i * PANEL, from + i * b.row, cols, PANEL);
            else
                copy_run(to + i * TILE_VECTOR, from + i * b.row, cols, TILE_VECTOR);
        return;
    }
    for (int64_t l = 0; l < width; l += TILE_VECTOR)
        for (int64_t i = 0; i < k; i += TILE_VECTOR)
            tile_turn(to + i * width + l, width, from + l * b.col + i, b.col,
                        cols - l < TILE_VECTOR ? cols - l : TILE_VECTOR,
                        k - i < TILE_VECTOR ? k - i : TILE_VECTOR);
}

/* `m` by `k` of A, filled up with zeros to whole tiles: rows PRODUCT_STRIDE apart where its rows
 * are contiguous, otherwise panels of TILE_ROWS columns. */
static inline void pack_block(float *to, struct tile_a a, int64_t m, int64_t k)
{
    int64_t whole = (m + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    if (a.col == 1) {
        for (int64_t i = 0; i < whole; i++)
            if (i < m)
                memcpy(to + i * PRODUCT_STRIDE, a.p + i * a.row, (size_t)k * sizeof(float));
            else
                memset(to + i * PRODUCT_STRIDE, 0, (size_t)k * sizeof(float));
        return;
    }
    for (int64_t l = 0; l < k; l++)
        for (int64_t i = 0; i < m; i += TILE_ROWS)
            copy_run(to + i * k + l * TILE_ROWS, a.p + i + l * a.col,
                     m - i < TILE_ROWS ? m - i : TILE_ROWS, TILE_ROWS);
}

/* -- the core ---------------------------------------------------------------------------------- */

/* A tile of C in registers; by way of a copy at the edges of C, where it is not whole. */
static inline __attribute__((always_inline)) void product_core(int64_t rows, int64_t cols,
                                                               int64_t k, struct tile_a a,
                                                               const float *b, float *c,
                                                               int64_t c_row, bool add)
{
    float edge[TILE_ROWS * PANEL];
    bool whole = rows == TILE_ROWS && (cols == PANEL || cols == TILE_VECTOR);
    float *to = whole ? c : edge;
    int64_t to_row = whole ? c_row : PANEL;
    for (int64_t i = 0; i < rows; i++) {
        __builtin_prefetch(c + i * c_row, 1);
        __builtin_prefetch(c + i * c_row + cols - 1, 1);
    }
    if (cols > TILE_VECTOR && 2 * rows > TILE_ROWS)
        tile_core(TILE_ROWS, 2, k, a, b, PANEL, to, to_row, whole && add);
    else if (cols > TILE_VECTOR)
        tile_core(TILE_ROWS / 2, 2, k, a, b, PANEL, to, to_row, false);
    else if (2 * rows > TILE_ROWS)
        tile_core(TILE_ROWS, 1, k, a, b, TILE_VECTOR, to, to_row, whole && add);
    else
        tile_core(TILE_ROWS / 2, 1, k, a, b, TILE_VECTOR, to, to_row, false);
    if (!whole)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                c[i * c_row + j] = edge[i * PANEL + j] + (add ? c[i * c_row + j] : 0);
}

/* -- few rows ---------------------------------------------------------------------------------- */

enum { THIN_ROWS = TILE_VECTOR / 2, THIN_AHEAD = 128 };

/* One vector of columns of c (rows,n) = a w^T: m rows of w (n,k), turned in registers and used at once, so that
 * w is read once and nothing is written but c.  Sums are made in the order of product(). */
static inline __attribute__((always_inline)) void thin_columns(float *c, int64_t c_row,
                                                               const float *a, int rows,
                                                               const float *w, int64_t m,
                                                               int64_t k, bool add)
{
    tile_vector total[THIN_ROWS];
    int blocks = k > 0 ? (int)((k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH) : 1;
    for (int i = 0; i < rows; i++) {
        total[i] = (tile_vector){0};
        if (add)
            memcpy(&total[i], c + i * c_row, (size_t)m * sizeof(float));
    }
    for (int block = 0; block < blocks; block++) {
        struct mot_range r = mot_cpu_share(k, 16, block, blocks);
        tile_vector sum[THIN_ROWS], v[TILE_VECTOR];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
            sum[i] = (tile_vector){0};
        int64_t l = r.begin;
        for (; l + TILE_VECTOR <= r.end && m == TILE_VECTOR; l += TILE_VECTOR) {
            /* behind the ends of these rows the next ones begin, a vector of rows further on */
            const float *ahead = w + l + THIN_AHEAD + (l + THIN_AHEAD < k ? 0 : (TILE_VECTOR - 1) * k);
#pragma GCC unroll 16
            for (int j = 0; j < TILE_VECTOR; j++)
                __builtin_prefetch(ahead + j * k);
            tile_load_turned(v, w + l, k, TILE_VECTOR, TILE_VECTOR);
#pragma GCC unroll 16
            for (int j = 0; j < TILE_VECTOR; j++)
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++)
                    sum[i] += a[i * k + l + j] * v[j];
        }
        for (; l < r.end; l += TILE_VECTOR) {
            int64_t n = r.end - l < TILE_VECTOR ? r.end - l : TILE_VECTOR;
            tile_load_turned(v, w + l, k, m, n);
            for (int j = 0; j < n; j++)
                for (int i = 0; i < rows; i++)
                    sum[i] += a[i * k + l + j] * v[j];
        }
        for (int i = 0; i < rows; i++)
            if (block > 0 || add)
                total[i] += sum[i];
            else
                total[i] = sum[i];
    }
    for (int i = 0; i < rows; i++)
        memcpy(c + i * c_row, &total[i], (size_t)m * sizeof(float));
}

/* Columns of panel `panel` of c (rows,n) (+)= a (rows,k) w^T, w (n,k). */
static inline void thin_panel(const struct mot_device *d, float *c, int64_t n, const float *a,
                              int64_t rows, const float *w, int64_t k, int64_t panel, bool add)
{
    (void)d;
    int64_t end = n < (panel + 1) * PANEL ? n : (panel + 1) * PANEL;
    for (int64_t j = panel * PANEL; j < end; j += TILE_VECTOR) {
        int64_t m = end - j < TILE_VECTOR ? end - j : TILE_VECTOR, i = 0;
        for (; i + THIN_ROWS <= rows; i += THIN_ROWS)
            thin_columns(c + i * n + j, n, a + i * k, THIN_ROWS, w + j * k, m, k, add);
        if (i + 4 <= rows && THIN_ROWS > 4) {
            thin_columns(c + i * n + j, n, a + i * k, 4, w + j * k, m, k, add);
            i += 4;
        }
        if (i + 2 <= rows && THIN_ROWS > 2) {
            thin_columns(c + i * n + j, n, a + i * k, 2, w + j * k, m, k, add);
            i += 2;
        }
        for (; i < rows; i++)
            thin_columns(c + i * n + j, n, a + i * k, 1, w + j * k, m, k, add);
    }
}

#endif
