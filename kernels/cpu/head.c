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

#include "product.h"

enum {
    CHUNK = PRODUCT_COLS, /* words of the vocabulary in a tile */
    ROWS = PRODUCT_ROWS,  /* rows of a tile, forward alone: with CHUNK, 192 KB of logits a thread */
    MOST_ROWS = PRODUCT_DEPTH, /* of a block whose logits are kept */
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

/* What is shared, in floats: words as columns; then for gradients the logits of a block, words as
 * rows, and the block's x; or else the maxima and sums of forward(). */
static size_t words_floats(int64_t C, int64_t V)
{
    return (size_t)packed_floats(C, V);
}

static size_t back_floats(int64_t N, int64_t C, int64_t V)
{
    int64_t rows = block_rows(N, V);
    return words_floats(C, V) + (size_t)(rows * V + packed_floats(V, C) + packed_floats(rows, C));
}

static size_t forward_floats(int threads, int64_t N, int64_t C, int64_t V)
{
    return words_floats(C, V) + 2 * ((size_t)N + 2 * ROWS * (size_t)threads);
}

struct mot_cpu_need mot_cpu_head_need(int threads, const struct mot_limits *l)
{
    size_t back = l->train ? back_floats(l->N, l->C, l->V) : 0;
    size_t forward = forward_floats(threads, l->N, l->C, l->V);
    return (struct mot_cpu_need){
        .shared = (back > forward ? back : forward) * sizeof(float),
        .scratch = (PRODUCT_SCRATCH + ROWS * CHUNK) * sizeof(float),
    };
}

/* All panels of B (k,n), shared out to the threads of the region that calls. */
static void pack_together(struct mot_device *d, float *packed, struct tile_a b, int64_t k,
                          int64_t n)
{
#pragma omp for schedule(static) nowait
    for (int64_t p = 0; p < panels_of(n); p++) {
        double begin = mot_cpu_begin(d);
        pack_panel(packed + p * PANEL * packed_depth(k), b, k, n, p);
        mot_cpu_end(d, -1, begin);
    }
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
static void slice_forward(const struct mot_device *d, float *z, float *max, float *sum, float *nll,
                          const float *x, const float *words, const int32_t *target, int64_t rows,
                          struct mot_range slice, int64_t C)
{
    for (int64_t i = 0; i < rows; i++) {
        max[i] = -FLT_MAX;
        sum[i] = 0;
    }
    for (int64_t j = slice.begin; j < slice.end; j += CHUNK) {
        int64_t n = slice.end - j < CHUNK ? slice.end - j : CHUNK;
        struct product_part part = {{0, rows}, {0, n}};
        product(d, z, n, (struct tile_a){x, C, 1}, words + packed_floats(C, j), part, C, false);
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
    float *words = mot_cpu_shared(d, forward_floats(workers, N, C, V) * sizeof(float));
    float *max = words + words_floats(C, V), *sum = max + slices * N;
#pragma omp parallel num_threads(workers)
    {
        size_t bytes = (PRODUCT_SCRATCH + ROWS * CHUNK) * sizeof(float);
        float *z = mot_cpu_scratch(d, omp_get_thread_num(), bytes) + PRODUCT_SCRATCH;
        pack_together(d, words, (struct tile_a){w, 1, C}, C, V);
#pragma omp barrier
#pragma omp for collapse(2) schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t s = 0; s < slices; s++) {
                int64_t i = b * ROWS, at = s * N + i;
                double begin = mot_cpu_begin(d);
                slice_forward(d, z, max + at, sum + at, nll + i, x + i * C, words, target + i,
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

/* C (m,n) (+)= A (m,k) B (k,n), its parts taken by the threads of the region that calls as they
 * come. */
static void each_part(struct mot_device *d, float *c, int64_t c_row, struct tile_a a,
                      const float *packed, int64_t m, int64_t n, int64_t k, bool add)
{
    struct product_cut cut = product_cut(m, n, omp_get_num_threads(), 1, 1);
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t p = 0; p < cut.n_rows * cut.n_cols; p++) {
        double begin = mot_cpu_begin(d);
        struct product_part part = product_part(&cut, p);
        product(d, c, c_row, a, packed + part.cols.begin * packed_depth(k), part, k, add);
        mot_cpu_end(d, -1, begin);
    }
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
    int64_t step = block_rows(N, V);
    float *words = mot_cpu_shared(d, back_floats(N, C, V) * sizeof(float));
    float *rows_of_words = words + words_floats(C, V), *z = rows_of_words + packed_floats(V, C);
    float *packed_x = z + step * V;
    int workers = mot_cpu_workers(d, N * C * V / 8);
#pragma omp parallel num_threads(workers)
    {
        pack_together(d, words, (struct tile_a){w, 1, C}, C, V);
        pack_together(d, rows_of_words, (struct tile_a){w, C, 1}, V, C);
        for (int64_t i = 0; i < N; i += step) {
            int64_t rows = N - i < step ? N - i : step;
            struct tile_a x_i = {x + i * C, C, 1};
            pack_together(d, packed_x, x_i, rows, C);
#pragma omp barrier
            each_part(d, z, V, x_i, words, rows, V, C, false);
#pragma omp barrier
#pragma omp for schedule(static)
            for (int part = 0; part < workers; part++) {
                struct mot_range mine = mot_cpu_share(rows, 1, part, workers);
                double begin = mot_cpu_begin(d);
                for (int64_t r = mine.begin; r < mine.end; r++)
                    row_back(z + r * V, &nll[i + r], &lse[i + r], target[i + r], weight[i + r],
                             zloss, V);
                mot_cpu_end(d, -1, begin);
            }
            each_part(d, dx + i * C, C, (struct tile_a){z, V, 1}, rows_of_words, rows, C, V, false);
            each_part(d, dw, C, (struct tile_a){z, 1, V}, packed_x, V, C, rows, true);
#pragma omp barrier
        }
    }
}
