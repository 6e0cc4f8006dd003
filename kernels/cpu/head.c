/* SPDX-License-Identifier: MIT
 *
 * head.c - the vocabulary's logits, their cross-entropy and its gradient, fused: logits exist for a
 * block of rows at a time and never as (N,V).
 *
 * Forward alone goes through the vocabulary in chunks that stay in a thread's second cache, with a
 * running maximum and sum for each row.  With gradients the softmax needs the whole row's sum
 * before the two products that follow, so the logits of a block of rows are kept (HELD bytes, or
 * LEAST_ROWS rows if that is more) and turned into their own gradient in place: three products in
 * all, none made twice.
 */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>

#include "cpu.h"

enum {
    CHUNK = 512,     /* words of the vocabulary in a tile */
    ROWS = 96,       /* rows of a tile, forward alone: with CHUNK, 192 KB of logits a thread */
    MOST_ROWS = 512, /* of a block whose logits are kept */
    LEAST_ROWS = 32,
    HELD = 64 << 20,
};

/* Rows of a block whose logits are kept, for gradients. */
static int64_t block_rows(int64_t N, int64_t V)
{
    int64_t rows = HELD / ((int64_t)sizeof(float) * (V > 0 ? V : 1));
    rows = rows < LEAST_ROWS ? LEAST_ROWS : rows < MOST_ROWS ? rows : MOST_ROWS;
    return rows < N ? rows : N;
}

struct mot_cpu_need mot_cpu_head_need(int threads, const struct mot_limits *l)
{
    size_t held = l->train ? (size_t)block_rows(l->N, l->V) * (size_t)l->V : 0;
    size_t parts = 2 * ((size_t)l->N + 2 * ROWS * (size_t)threads); /* see forward() */
    return (struct mot_cpu_need){
        .shared = (held > parts ? held : parts) * sizeof(float),
        .scratch = ROWS * CHUNK * sizeof(float),
    };
}

/* -- forward alone ----------------------------------------------------------------------------- */

/* More logits of a row: its running maximum and the sum of exp(z - max). */
static void soften(const float *z, int64_t n, float *max, float *sum)
{
    float most = *max, part = 0;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < n; j++)
        most = z[j] > most ? z[j] : most;
#pragma omp simd reduction(+ : part)
    for (int64_t j = 0; j < n; j++)
        part += mot_cpu_exp(z[j] - most);
    *sum = *sum * mot_cpu_exp(*max - most) + part;
    *max = most;
}

/* `rows` rows against the words of one slice.  nll takes the target's logit if it is among them. */
static void slice_forward(float *z, float *max, float *sum, float *nll, const float *x,
                          const float *w, const int32_t *target, int64_t rows,
                          struct mot_range words, int64_t C)
{
    for (int64_t i = 0; i < rows; i++) {
        max[i] = -FLT_MAX;
        sum[i] = 0;
    }
    for (int64_t j = words.begin; j < words.end; j += CHUNK) {
        int64_t n = words.end - j < CHUNK ? words.end - j : CHUNK;
        mot_cpu_gemm(0, 1, rows, n, C, x, C, w + j * C, C, z, n, 0);
        for (int64_t i = 0; i < rows; i++) {
            soften(z + i * n, n, &max[i], &sum[i]);
            if (target[i] >= j && target[i] < j + n)
                nll[i] = z[i * n + target[i] - j];
        }
    }
}

/* Blocks of rows by slices of the vocabulary: one slice where there are blocks enough for all
 * threads, otherwise so many that there are two tiles a thread.  The slices' maxima and sums,
 * (slices,N) each, are put together at the end in their order. */
static void forward(struct mot_device *d, float *nll, float *lse, const float *x, const float *w,
                    const int32_t *target, int64_t N, int64_t C, int64_t V)
{
    int workers = mot_cpu_workers(d, N * C * V / 8);
    int64_t blocks = (N + ROWS - 1) / ROWS, chunks = (V + CHUNK - 1) / CHUNK;
    int64_t slices = blocks >= 2 * workers ? 1 : (2 * workers + blocks - 1) / blocks;
    slices = workers == 1 ? 1 : slices < chunks ? slices : chunks;
    float *max = mot_cpu_shared(d, (size_t)(2 * slices * N) * sizeof(float)),
          *sum = max + slices * N;
#pragma omp parallel num_threads(workers)
    {
        float *z = mot_cpu_scratch(d, omp_get_thread_num(), ROWS * CHUNK * sizeof(float));
#pragma omp for collapse(2) schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t s = 0; s < slices; s++) {
                int64_t i = b * ROWS, at = s * N + i;
                double begin = mot_cpu_begin(d);
                slice_forward(z, max + at, sum + at, nll + i, x + i * C, w, target + i,
                              N - i < ROWS ? N - i : ROWS,
                              mot_cpu_share(V, CHUNK, (int)s, (int)slices), C);
                mot_cpu_end(d, -1, begin);
            }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < N; i++) {
            float most = -FLT_MAX, all = 0;
            for (int64_t s = 0; s < slices; s++)
                most = max[s * N + i] > most ? max[s * N + i] : most;
            for (int64_t s = 0; s < slices; s++)
                all += sum[s * N + i] * mot_cpu_exp(max[s * N + i] - most);
            lse[i] = most + logf(all);
            nll[i] = lse[i] - nll[i];
        }
    }
}

/* -- with gradients ---------------------------------------------------------------------------- */

/* z = exp(z - most) for some words; their sum. */
static float exp_sum(float *z, int64_t n, float most)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        z[j] = mot_cpu_exp(z[j] - most);
        sum += z[j];
    }
    return sum;
}

/* One row of logits into nll, lse, and in place the gradient of its loss.  The sum is one of
 * chunks, in double: a float alone would lose digits over 10^5 words. */
static void row_back(float *z, float *nll, float *lse, int32_t target, float weight, float zloss,
                     int64_t V)
{
    float most = -FLT_MAX, logit = z[target];
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < V; j++)
        most = z[j] > most ? z[j] : most;
    double sum = 0;
    for (int64_t j = 0; j < V; j += CHUNK)
        sum += (double)exp_sum(z + j, V - j < CHUNK ? V - j : CHUNK, most);
    *lse = (float)((double)most + log(sum));
    *nll = *lse - logit;
    float factor = (float)((double)(weight * (1 + 2 * zloss * *lse)) / sum);
#pragma omp simd
    for (int64_t j = 0; j < V; j++)
        z[j] *= factor;
    z[target] -= weight;
}

void mot_cpu_head_loss(struct mot_device *d, float *nll, float *lse, float *dx, float *dw,
                       const float *x, const float *w, const int32_t *target, const float *weight,
                       float zloss, int64_t N, int64_t C, int64_t V)
{
    if (!dx || N == 0) {
        if (N > 0)
            forward(d, nll, lse, x, w, target, N, C, V);
        return;
    }
    int64_t step = block_rows(N, V), chunks = (V + CHUNK - 1) / CHUNK;
    float *z = mot_cpu_shared(d, (size_t)(step * V) * sizeof(float)); /* (step,V) */
    int workers = mot_cpu_workers(d, N * C * V / 8);
#pragma omp parallel num_threads(workers)
    for (int64_t i = 0; i < N; i += step) {
        int64_t rows = N - i < step ? N - i : step;
        const float *x_i = x + i * C;
#pragma omp for schedule(dynamic, 1)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t j = c * CHUNK, n = V - j < CHUNK ? V - j : CHUNK;
            double begin = mot_cpu_begin(d);
            mot_cpu_gemm(0, 1, rows, n, C, x_i, C, w + j * C, C, z + j, V, 0);
            mot_cpu_end(d, -1, begin);
        }
#pragma omp for schedule(static)
        for (int part = 0; part < workers; part++) {
            struct mot_range mine = mot_cpu_share(rows, 1, part, workers);
            double begin = mot_cpu_begin(d);
            for (int64_t r = mine.begin; r < mine.end; r++)
                row_back(z + r * V, &nll[i + r], &lse[i + r], target[i + r], weight[i + r], zloss,
                         V);
            mot_cpu_end(d, -1, begin);
        }

        /* dx is cut along its longer side, so that less is packed twice. */
        bool by_rows = rows >= C;
        int parts = (int)((by_rows ? rows : C) / 32 + 1);
        parts = workers == 1 ? 1 : parts < 2 * workers ? parts : 2 * workers;
#pragma omp for schedule(dynamic, 1) nowait
        for (int part = 0; part < parts; part++) {
            struct mot_range r = {0, rows}, c = {0, C};
            double begin = mot_cpu_begin(d);
            *(by_rows ? &r : &c) = mot_cpu_share(by_rows ? rows : C, 16, part, parts);
            if (r.begin < r.end && c.begin < c.end)
                mot_cpu_gemm(0, 0, r.end - r.begin, c.end - c.begin, V, z + r.begin * V, V,
                             w + c.begin, C, dx + (i + r.begin) * C + c.begin, C, 0);
            mot_cpu_end(d, -1, begin);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t j = c * CHUNK, n = V - j < CHUNK ? V - j : CHUNK;
            double begin = mot_cpu_begin(d);
            mot_cpu_gemm(1, 0, n, C, rows, z + j, V, x_i, C, dw + j * C, C, 1);
            mot_cpu_end(d, -1, begin);
        }
    }
}
