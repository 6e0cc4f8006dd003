/* SPDX-License-Identifier: MIT
 *
 * head.cu - the vocabulary's logits, their cross-entropy and its gradient.  The logits of a block of
 * rows exist at a time, LOGITS_HELD bytes or LEAST_ROWS rows if that is more, as floats; a kernel takes each
 * row's sum, and where a gradient is wanted writes it over the logits in the type that the two
 * products after it read.
 */
#include <math.h>

#include "gemm.h"

namespace mot_cuda
{

enum { THREADS = 256, LEAST_ROWS = 64, ROW_STEP = 128 };

static int64_t rows_of(int64_t N, int64_t V)
{
    int64_t rows = LOGITS_HELD / (4 * V);
    if (rows > ROW_STEP)
        rows = rows / ROW_STEP * ROW_STEP;
    if (rows < LEAST_ROWS)
        rows = LEAST_ROWS;
    return at_most(N, rows);
}

static size_t logits_at()
{
    return (gemm_need() + 255) / 256 * 256;
}

size_t head_need(const mot_limits *l)
{
    /* Enough for any smaller vocabulary too, whose rows may fill it better. */
    int64_t all = l->N * l->V, held = LOGITS_HELD / 4, least = at_most(l->N, LEAST_ROWS) * l->V;
    return logits_at() + (size_t)at_most(all, held > least ? held : least) * sizeof(float);
}

/* A running maximum and the sum of exp(z - max); NaN and infinities end up in the sum. */
struct running {
    float max, sum;
};

DEVICE running with(running r, float z)
{
    float max = fmaxf(r.max, z);
    float kept = r.max == -INFINITY ? 0 : expf(r.max - max);
    return running{max, r.sum * kept + expf(z - max)};
}

/* A row's logits are V floats; its gradient, V values of A, begins at the same place.  Values that are
 * written there stand no further than others that were read one round before. */
template <class A>
static __global__ void cross_entropy(float *logits, float *nll, float *lse, const int32_t *target,
                                     const float *weight, float zloss, int64_t V, bool grad)
{
    float *space = (float *)shared_memory();
    int64_t row = blockIdx.x;
    float *z = logits + row * V;
    running mine = {-INFINITY, 0};
    for (int64_t j = threadIdx.x; j < V; j += THREADS)
        mine = with(mine, z[j]);
    float max = block_max(mine.max, space);
    float kept = mine.max == -INFINITY ? 0 : expf(mine.max - max);
    float l = max + logf(block_sum(mine.sum * kept, space));
    int64_t word = target[row];
    if (threadIdx.x == 0) {
        nll[row] = l - z[word];
        lse[row] = l;
    }
    if (!grad)
        return;
    float w = weight[row], scale = w * (1 + 2 * zloss * l);
    for (int64_t from = 0; from < V; from += THREADS) {
        int64_t j = from + threadIdx.x;
        float dz = j < V ? scale * expf(z[j] - l) - (j == word ? w : 0) : 0;
        __syncthreads();
        if (j < V)
            ((A *)z)[j] = from_float<A>(dz);
    }
}

template <class A>
void head_loss(mot_device *d, float *nll, float *lse, float *dx, float *dw, const float *x,
               const float *w, const int32_t *target, const float *weight, float zloss, int64_t N,
               int64_t C, int64_t V)
{
    watched watch(d);
    int64_t rows = rows_of(N, V);
    char *work = workspace_of<char>(d, (int64_t)logits_at() + rows * V * (int64_t)sizeof(float));
    const A *words = weights<A>(d, w);
    if (!work || !words)
        return;
    float *logits = (float *)(work + logits_at());
    for (int64_t row = 0; row < N; row += rows) {
        int64_t n = at_most(rows, N - row);
        const A *x_n = (const A *)x + row * C;
        product p = {};
        p.half = sizeof(A) == 2;
        p.m = n, p.n = V, p.k = C;
        p.a = x_n, p.lda = C, p.b = words, p.ldb = C, p.tb = true, p.c = logits, p.ldc = V;
        multiply(d, p, work);
        run(d, "cross_entropy", cross_entropy<A>, dim3((unsigned)n), THREADS, 32 * sizeof(float),
            logits, nll + row, lse + row, target + row, dx ? weight + row : NULL, zloss, V,
            dx != NULL);
        if (!dx)
            continue;
        int64_t ld = V * (int64_t)(sizeof(float) / sizeof(A));
        p.m = n, p.n = C, p.k = V;
        p.a = logits, p.lda = ld, p.b = words, p.ldb = C, p.tb = false;
        p.c = (A *)dx + row * C, p.ldc = C, p.c_half = p.half;
        multiply(d, p, work);
        p.m = V, p.n = C, p.k = n;
        p.a = logits, p.lda = ld, p.ta = true, p.b = x_n, p.ldb = C;
        p.c = dw, p.ldc = C, p.c_half = false, p.add = true;
        multiply(d, p, work);
    }
}

template void head_loss<float>(mot_device *, float *, float *, float *, float *, const float *,
                               const float *, const int32_t *, const float *, float, int64_t,
                               int64_t, int64_t);
template void head_loss<bf16>(mot_device *, float *, float *, float *, float *, const float *,
                              const float *, const int32_t *, const float *, float, int64_t,
                              int64_t, int64_t);

} // namespace mot_cuda
