/* SPDX-License-Identifier: MIT
 *
 * product_bf16.h - the packing and the core of product.h with operands rounded to bf16.
 *
 * Packing rounds to the nearest, ties to even; sums are made and kept in float.  The memory that
 * product.h passes about is in words of a float's size: a word holds two bf16 that follow each
 * other along k, the first in the low half, and VDPBF16PS adds both products to one sum.  An odd k
 * is filled up with a zero.  As the instructions do it, denormal numbers count as zeros.
 */
#ifndef MOT_PRODUCT_BF16_H
#define MOT_PRODUCT_BF16_H

#include <immintrin.h>

#include "cpu.h"
#include "tile.h"

enum {
    PRODUCT_ROWS = 96,
    PRODUCT_DEPTH = 768,                     /* 384 words */
    PRODUCT_STRIDE = PRODUCT_DEPTH / 2 + 16, /* in words */
    PANEL = 2 * TILE_VECTOR,
    STAGED = 512, /* of k: rows of B on their way to being turned */
};

/* Words that k values are, and where the k-th stands if k is even. */
static inline int64_t packed_depth(int64_t k)
{
    return (k + 1) / 2;
}

/* Floats of B (k,n) when packed: whole vectors of columns, filled up with zeros. */
static inline int64_t packed_floats(int64_t k, int64_t n)
{
    return packed_depth(k) * ((n + TILE_VECTOR - 1) / TILE_VECTOR * TILE_VECTOR);
}

/* -- packing ----------------------------------------------------------------------------------- */

/* The first n of a vector's lanes, from none to all. */
static inline __mmask16 lanes_first(int64_t n)
{
    return (__mmask16)(n >= TILE_VECTOR ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

/* n floats, or a vector of them if there are more, followed by zeros */
static inline __m512 load_first(const float *from, int64_t n)
{
    return n >= TILE_VECTOR ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(lanes_first(n), from);
}

/* One row along k: n floats into words, in whole vectors. */
static inline void round_row(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i += 2 * TILE_VECTOR) {
        __m512 low = load_first(from + i, n - i);
        __m512 high = _mm512_setzero_ps();
        if (n - i > TILE_VECTOR)
            high = load_first(from + i + TILE_VECTOR, n - i - TILE_VECTOR);
        _mm512_storeu_ps(to + i / 2, (__m512)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* Lane i is the word of low[i] and high[i]. */
static inline __m512 zip(__m512 low, __m512 high)
{
    const __m512i halves = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9,
                                            24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
                                            16, 0);
    return (__m512)_mm512_permutexvar_epi16(halves, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* Two rows, across k: n floats of each, `most` words; high NULL: zeros. */
static inline __attribute__((always_inline)) void zip_rows(float *to, const float *low,
                                                           const float *high, int64_t n,
                                                           int64_t most)
{
#pragma GCC unroll 2
    for (int64_t i = 0; i < most; i += TILE_VECTOR) {
        __m512 h = high ? load_first(high + i, n - i) : _mm512_setzero_ps();
        _mm512_mask_storeu_ps(to + i, lanes_first(most - i), zip(load_first(low + i, n - i), h));
    }
}

/* to[w][i] = words w of row i of `from`, m rows and k floats of each, at most TILE_VECTOR rows and
 * STAGED floats; zeros for other i.  A row at a time is read, which memory likes better than a
 * piece of every row in turn. */
static inline void pack_rounded(float *to, int64_t to_row, const float *from, int64_t from_row,
                                int64_t m, int64_t k)
{
    enum { ROW = STAGED / 2 + TILE_VECTOR };
    float stage[TILE_VECTOR * ROW];
    int64_t words = packed_depth(k);
    for (int64_t i = 0; i < m; i++)
        round_row(stage + i * ROW, from + i * from_row, k);
    for (int64_t w = 0; w < words; w += TILE_VECTOR)
        tile_turn(to + w * to_row, to_row, stage + w, ROW, m,
                  words - w < TILE_VECTOR ? words - w : TILE_VECTOR);
}

/* Panel `panel` of B, one of whose strides is 1.  The last may be of a single vector. */
static inline void pack_panel(float *to, struct tile_a b, int64_t k, int64_t n, int64_t panel)
{
    int64_t j = panel * PANEL, cols = n - j < PANEL ? n - j : PANEL;
    int64_t width = cols > TILE_VECTOR ? PANEL : TILE_VECTOR;
    const float *from = b.p + j * b.col;
    if (b.col == 1) {
        for (int64_t i = 0; i < k; i += 2, to += width)
            zip_rows(to, from + i * b.row, i + 1 < k ? from + (i + 1) * b.row : NULL, cols, width);
        return;
    }
    for (int64_t l = 0; l < width; l += TILE_VECTOR)
        for (int64_t i = 0; i < k; i += STAGED)
            pack_rounded(to + i / 2 * width + l, width, from + l * b.col + i, b.col,
                         cols - l < TILE_VECTOR ? cols - l : TILE_VECTOR,
                         k - i < STAGED ? k - i : STAGED);
}

/* `m` by `k` of A, filled up with zeros to whole tiles: rows PRODUCT_STRIDE apart where its rows
 * are contiguous, otherwise panels of TILE_ROWS columns. */
static inline void pack_block(float *to, struct tile_a a, int64_t m, int64_t k)
{
    int64_t whole = (m + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS, words = packed_depth(k);
    if (a.col == 1) {
        for (int64_t i = 0; i < whole; i++)
            if (i < m)
                round_row(to + i * PRODUCT_STRIDE, a.p + i * a.row, k);
            else
                memset(to + i * PRODUCT_STRIDE, 0, (size_t)words * sizeof(float));
        return;
    }
    for (int64_t w = 0; w < words; w++) {
        const float *low = a.p + 2 * w * a.col, *high = 2 * w + 1 < k ? low + a.col : NULL;
        for (int64_t i = 0; i < m; i += TILE_ROWS)
            zip_rows(to + i * words + w * TILE_ROWS, low + i, high ? high + i : NULL, m - i,
                     TILE_ROWS);
    }
}

/* -- the core ---------------------------------------------------------------------------------- */

/* `rows` by `vectors` of sums over n_words; m by n of them are written.  Inlined with rows, vectors
 * and a's strides constant, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void core_bf16(int rows, int vectors, int64_t n_words,
                                                            struct tile_a a, const float *b,
                                                            float *c, int64_t c_row, int64_t m,
                                                            int64_t n, bool add)
{
    __m512 sum[TILE_ROWS][2];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int64_t w = 0; w < n_words; w++, b += vectors * TILE_VECTOR) {
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            __m512bh a_i = (__m512bh)_mm512_set1_ps(a.p[i * a.row + w * a.col]);
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++)
                sum[i][j] = _mm512_dpbf16_ps(sum[i][j], a_i,
                                             (__m512bh)_mm512_loadu_ps(b + j * TILE_VECTOR));
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            if (i < m) {
                __mmask16 lanes = lanes_first(n - j * TILE_VECTOR);
                float *to = c + i * c_row + j * TILE_VECTOR;
                if (add)
                    sum[i][j] = _mm512_add_ps(sum[i][j], _mm512_maskz_loadu_ps(lanes, to));
                _mm512_mask_storeu_ps(to, lanes, sum[i][j]);
            }
}

/* A tile of C: rows by cols, the sum over n_words of A and B. */
static inline __attribute__((always_inline)) void product_core(int64_t rows, int64_t cols,
                                                               int64_t n_words, struct tile_a a,
                                                               const float *b, float *c,
                                                               int64_t c_row, bool add)
{
    for (int64_t i = 0; i < rows; i++) {
        __builtin_prefetch(c + i * c_row, 1);
        __builtin_prefetch(c + i * c_row + cols - 1, 1);
    }
    if (cols > TILE_VECTOR && 2 * rows > TILE_ROWS)
        core_bf16(TILE_ROWS, 2, n_words, a, b, c, c_row, rows, cols, add);
    else if (cols > TILE_VECTOR)
        core_bf16(TILE_ROWS / 2, 2, n_words, a, b, c, c_row, rows, cols, add);
    else if (2 * rows > TILE_ROWS)
        core_bf16(TILE_ROWS, 1, n_words, a, b, c, c_row, rows, cols, add);
    else
        core_bf16(TILE_ROWS / 2, 1, n_words, a, b, c, c_row, rows, cols, add);
}

#endif
