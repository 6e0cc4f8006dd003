/* SPDX-License-Identifier: MIT
 *
 * attend.c - attention of every row to every row, for encoders.
 *
 * Keys and values of all heads are packed once as right-hand operands (product.h).  Then a thread
 * takes some rows of a head: all their scores at once, softmax, and the mean of the values.
 */
#include <math.h>
#include <omp.h>

#include "product.h"

enum { ROWS = 48 }; /* a multiple of every TILE_ROWS, at most PRODUCT_ROWS */

struct mot_cpu_need mot_cpu_attend_need(int threads, const struct mot_limits *l)
{
    (void)threads;
    if (l->attend == 0)
        return (struct mot_cpu_need){0};
    int64_t packed = packed_floats(l->D, l->attend) + packed_floats(l->attend, l->D);
    return (struct mot_cpu_need){
        .shared = (size_t)(l->H * packed) * sizeof(float),
        .scratch = (size_t)(PRODUCT_SCRATCH + ROWS * (l->attend + 1)) * sizeof(float),
    };
}

/* c (rows,n) = a B, in parts as wide as product.h likes them. */
static void each_part(const struct mot_device *d, float *c, int64_t c_row, struct tile_a a,
                      const float *packed, int64_t rows, int64_t n, int64_t k)
{
    for (int64_t j = 0; j < n; j += PRODUCT_COLS) {
        struct product_part p = {{0, rows}, {j, n - j < PRODUCT_COLS ? n : j + PRODUCT_COLS}};
        product(d, c, c_row, a, packed + j * packed_depth(k), p, k, false);
    }
}

/* s = exp(scale (s - max)), whose sum is returned. */
static float soften(float *s, int64_t n, float scale)
{
    float max = -INFINITY, sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t t = 0; t < n; t++)
        max = s[t] > max ? s[t] : max;
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < n; t++) {
        s[t] = mot_cpu_exp(scale * (s[t] - max));
        sum += s[t];
    }
    return sum;
}

/* Rows of one head; q and o stand at the first of them. */
static void some_rows(const struct mot_device *d, float *o, const float *q, const float *keys,
                      const float *values, int64_t rows, int64_t N, int64_t H, int64_t D,
                      float scale)
{
    size_t need = (size_t)(PRODUCT_SCRATCH + ROWS * (N + 1)) * sizeof(float);
    float *s = mot_cpu_scratch(d, omp_get_thread_num(), need) + PRODUCT_SCRATCH;
    float *sum = s + ROWS * N;
    each_part(d, s, N, (struct tile_a){q, 3 * H * D, 1}, keys, rows, N, D);
    for (int64_t i = 0; i < rows; i++)
        sum[i] = soften(s + i * N, N, scale);
    each_part(d, o, H * D, (struct tile_a){s, N, 1}, values, rows, D, N);
    for (int64_t i = 0; i < rows; i++)
#pragma omp simd
        for (int64_t j = 0; j < D; j++)
            o[i * H * D + j] /= sum[i];
}

void mot_cpu_attend(struct mot_device *d, float *o, const float *qkv, int64_t N, int64_t H,
                    int64_t D, float scale)
{
    int64_t row = 3 * H * D, blocks = (N + ROWS - 1) / ROWS;
    int64_t n_keys = packed_floats(D, N), n_values = packed_floats(N, D);
    int workers = mot_cpu_workers(d, N * N * H * D / 4);
    float *keys = mot_cpu_shared(d, (size_t)(H * (n_keys + n_values)) * sizeof(float));
    float *values = keys + H * n_keys; /* (H,n_values) after (H,n_keys) */
#pragma omp parallel num_threads(workers)
    {
        for (int64_t h = 0; h < H; h++) {
            struct tile_a k = {qkv + (H + h) * D, 1, row}, v = {qkv + (2 * H + h) * D, row, 1};
#pragma omp for schedule(static) nowait
            for (int64_t p = 0; p < panels_of(N); p++)
                pack_panel(keys + h * n_keys + p * PANEL * packed_depth(D), k, D, N, p);
#pragma omp for schedule(static) nowait
            for (int64_t p = 0; p < panels_of(D); p++)
                pack_panel(values + h * n_values + p * PANEL * packed_depth(N), v, N, D, p);
        }
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
        for (int64_t n = 0; n < H * blocks; n++) {
            int64_t h = n / blocks, i = n % blocks * ROWS;
            double begin = mot_cpu_begin(d);
            some_rows(d, o + (i * H + h) * D, qkv + i * row + h * D, keys + h * n_keys,
                      values + h * n_values, N - i < ROWS ? N - i : ROWS, N, H, D, scale);
            mot_cpu_end(d, -1, begin);
        }
    }
}
