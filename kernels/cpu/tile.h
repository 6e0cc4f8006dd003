/* SPDX-License-Identifier: MIT
 *
 * tile.h - small products of matrices that lie in cache: C (m,n) (+)= A (m,k) B (k,n).
 *
 * For attention, whose products are too small for a BLAS: it would pack both operands for every
 * call. Here B's rows must be contiguous and A may lie in any two strides (so either of it or its
 * transpose is free); nothing is packed.  The core holds TILE_ROWS by two vectors of C in registers
 * and adds outer products to them.  gcc's and clang's vector types make that plain C for any
 * instruction set.
 */
#ifndef MOT_TILE_H
#define MOT_TILE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined __AVX512F__
enum { TILE_VECTOR = 16, TILE_ROWS = 12 }; /* 24 sums of 32 registers */
#elif defined __AVX__
enum { TILE_VECTOR = 8, TILE_ROWS = 6 }; /* 12 sums of 16 registers */
#else
enum { TILE_VECTOR = 4, TILE_ROWS = 4 };
#endif

/* Floats at any address: alignment is the caller's gain, not a condition. */
typedef float tile_vector
    __attribute__((vector_size(TILE_VECTOR * sizeof(float)), aligned(sizeof(float)), may_alias));

/* A matrix operand A: element (i,k) stands at p[i * row + k * col]. */
struct tile_a {
    const float *p;
    int64_t row, col;
};

/* `rows` by `vectors` of C.  Inlined with both constant, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tile_core(int rows, int vectors, int64_t n_k,
                                                            struct tile_a a, const float *b,
                                                            int64_t b_row, float *c, int64_t c_row,
                                                            bool add)
{
    tile_vector sum[TILE_ROWS][2] = {{{0}}};
    for (int64_t k = 0; k < n_k; k++, b += b_row) {
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++)
                sum[i][j] += a.p[i * a.row + k * a.col] *
                             *(const tile_vector *)(b + j * TILE_VECTOR);
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++) {
            tile_vector *to = (tile_vector *)(c + i * c_row + j * TILE_VECTOR);
            if (add)
                sum[i][j] += *to;
            *to = sum[i][j];
        }
}

/* All m rows of `vectors` vectors of columns. */
static inline __attribute__((always_inline)) void tile_columns(int64_t m, int vectors, int64_t n_k,
                                                               struct tile_a a, const float *b,
                                                               int64_t b_row, float *c,
                                                               int64_t c_row, bool add)
{
    int64_t i = 0;
    for (; i + TILE_ROWS <= m; i += TILE_ROWS, a.p += TILE_ROWS * a.row, c += TILE_ROWS * c_row)
        tile_core(TILE_ROWS, vectors, n_k, a, b, b_row, c, c_row, add);
    for (; i + 4 <= m; i += 4, a.p += 4 * a.row, c += 4 * c_row)
        tile_core(4, vectors, n_k, a, b, b_row, c, c_row, add);
    for (; i + 2 <= m; i += 2, a.p += 2 * a.row, c += 2 * c_row)
        tile_core(2, vectors, n_k, a, b, b_row, c, c_row, add);
    for (; i < m; i++, a.p += a.row, c += c_row)
        tile_core(1, vectors, n_k, a, b, b_row, c, c_row, add);
}

/* C (m,n) (+)= A (m,n_k) B (n_k,n); n need not be a multiple of anything, but is fast where it is
 * one of TILE_VECTOR. */
static inline __attribute__((always_inline)) void tile_product(int64_t m, int64_t n, int64_t n_k,
                                                               struct tile_a a, const float *b,
                                                               int64_t b_row, float *c,
                                                               int64_t c_row, bool add)
{
    int64_t j = 0;
    for (; j + 2 * TILE_VECTOR <= n; j += 2 * TILE_VECTOR)
        tile_columns(m, 2, n_k, a, b + j, b_row, c + j, c_row, add);
    for (; j + TILE_VECTOR <= n; j += TILE_VECTOR)
        tile_columns(m, 1, n_k, a, b + j, b_row, c + j, c_row, add);
    if (j == n)
        return;
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = j; l < n; l++) {
            float sum = add ? c[i * c_row + l] : 0;
            for (int64_t k = 0; k < n_k; k++)
                sum += a.p[i * a.row + k * a.col] * b[k * b_row + l];
            c[i * c_row + l] = sum;
        }
}

typedef int32_t tile_lanes __attribute__((vector_size(TILE_VECTOR * sizeof(int32_t))));

/* The shuffles of a turn, such as every instruction set has with vectors of this length: values or
 * pairs of values of a and b in turn, from the lower (0) or upper half of each four; and the even (0)
 * or odd fours of a, then of b. */
enum tile_mix { TILE_VALUES, TILE_PAIRS, TILE_FOURS };

static inline __attribute__((always_inline)) tile_vector tile_mixed(enum tile_mix what, int half,
                                                                    tile_vector a, tile_vector b)
{
    tile_lanes from;
#pragma GCC unroll 16
    for (int l = 0; l < TILE_VECTOR; l++) {
        int four = l / 4 * 4, p = l % 4, second = l >= TILE_VECTOR / 2;
        from[l] = what == TILE_VALUES  ? four + 2 * half + p / 2 + p % 2 * TILE_VECTOR
                  : what == TILE_PAIRS ? four + 2 * half + p % 2 + p / 2 * TILE_VECTOR
                                       : (four - second * (TILE_VECTOR / 2)) * 2 + 4 * half + p +
                                             second * TILE_VECTOR;
    }
    return __builtin_shuffle(a, b, from);
}

/* v[j] = column j of the m by n values at `from`, zeros below: squares of four by values and pairs,
 * then the fours change places.  Inlined with m and n constant where it is whole. */
static inline __attribute__((always_inline)) void tile_load_turned(tile_vector v[TILE_VECTOR],
                                                                   const float *from,
                                                                   int64_t from_row, int64_t m,
                                                                   int64_t n)
{
    enum { FOURS = TILE_VECTOR / 4 };
#pragma GCC unroll 16
    for (int i = 0; i < TILE_VECTOR; i++) {
        v[i] = (tile_vector){0};
        if (i < m && n == TILE_VECTOR)
            v[i] = *(const tile_vector *)(from + i * from_row);
        else if (i < m)
            memcpy(&v[i], from + i * from_row, (size_t)n * sizeof(float));
    }
#pragma GCC unroll 4
    for (int i = 0; i < TILE_VECTOR; i += 4) {
        tile_vector a = tile_mixed(TILE_VALUES, 0, v[i], v[i + 1]);
        tile_vector b = tile_mixed(TILE_VALUES, 1, v[i], v[i + 1]);
        tile_vector c = tile_mixed(TILE_VALUES, 0, v[i + 2], v[i + 3]);
        tile_vector d = tile_mixed(TILE_VALUES, 1, v[i + 2], v[i + 3]);
        v[i] = tile_mixed(TILE_PAIRS, 0, a, c);
        v[i + 1] = tile_mixed(TILE_PAIRS, 1, a, c);
        v[i + 2] = tile_mixed(TILE_PAIRS, 0, b, d);
        v[i + 3] = tile_mixed(TILE_PAIRS, 1, b, d);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        if (FOURS == 4) {
            tile_vector a = tile_mixed(TILE_FOURS, 0, v[j], v[4 % TILE_VECTOR + j]);
            tile_vector b = tile_mixed(TILE_FOURS, 1, v[j], v[4 % TILE_VECTOR + j]);
            tile_vector c = tile_mixed(TILE_FOURS, 0, v[8 % TILE_VECTOR + j], v[12 % TILE_VECTOR + j]);
            tile_vector d = tile_mixed(TILE_FOURS, 1, v[8 % TILE_VECTOR + j], v[12 % TILE_VECTOR + j]);
            v[j] = tile_mixed(TILE_FOURS, 0, a, c);
            v[4 % TILE_VECTOR + j] = tile_mixed(TILE_FOURS, 0, b, d);
            v[8 % TILE_VECTOR + j] = tile_mixed(TILE_FOURS, 1, a, c);
            v[12 % TILE_VECTOR + j] = tile_mixed(TILE_FOURS, 1, b, d);
        } else if (FOURS == 2) {
            tile_vector a = v[j], b = v[4 % TILE_VECTOR + j];
            v[j] = tile_mixed(TILE_FOURS, 0, a, b);
            v[4 % TILE_VECTOR + j] = tile_mixed(TILE_FOURS, 1, a, b);
        }
}

static inline __attribute__((always_inline)) void tile_turn_square(float *to, int64_t to_row,
                                                                   const float *from,
                                                                   int64_t from_row, int64_t m,
                                                                   int64_t n)
{
    tile_vector v[TILE_VECTOR];
    tile_load_turned(v, from, from_row, m, n);
#pragma GCC unroll 16
    for (int j = 0; j < TILE_VECTOR; j++)
        if (j < n)
            *(tile_vector *)(to + j * to_row) = v[j];
}

/* to[j][i] = from[i][j] for i < m and j < n, at most TILE_VECTOR each, and 0 for other i. */
static inline void tile_turn(float *to, int64_t to_row, const float *from, int64_t from_row,
                             int64_t m, int64_t n)
{
    if (m >= TILE_VECTOR && n >= TILE_VECTOR)
        tile_turn_square(to, to_row, from, from_row, TILE_VECTOR, TILE_VECTOR);
    else
        tile_turn_square(to, to_row, from, from_row, m, n);
}

#endif
