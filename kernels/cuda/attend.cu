/* SPDX-License-Identifier: MIT
 *
 * attend.cu - attention of every row to every row, for encoders: of each head two products and a softmax
 * between them, over as many rows at a time as GATHERED bytes of scores have room for.
 */
#include <math.h>

#include "gemm.h"

namespace mot_cuda
{

enum { THREADS = 256, LEAST_ROWS = 16 };

static int64_t rows_of(int64_t N)
{
    int64_t rows = GATHERED / (4 * (N > 0 ? N : 1));
    return at_most(N, rows > LEAST_ROWS ? rows : (int64_t)LEAST_ROWS);
}

static size_t scores_at()
{
    return (gemm_need() + 255) / 256 * 256;
}

size_t attend_need(const mot_limits *l)
{
    return l->attend > 0 ? scores_at() + (size_t)(rows_of(l->attend) * l->attend) * sizeof(float) : 0;
}

/* Block i: row i of n scores becomes exp(scale (s - max)) over their sum. */
static __global__ void soften(float *scores, int64_t n, float scale)
{
    float *space = (float *)shared_memory(), *s = scores + blockIdx.x * n;
    float max = -INFINITY, sum = 0;
    for (int64_t t = threadIdx.x; t < n; t += THREADS)
        max = fmaxf(max, s[t]);
    max = block_max(max, space);
    for (int64_t t = threadIdx.x; t < n; t += THREADS) {
        s[t] = expf(scale * (s[t] - max));
        sum += s[t];
    }
    float times = 1 / block_sum(sum, space);
    for (int64_t t = threadIdx.x; t < n; t += THREADS)
        s[t] *= times;
}

void attend(mot_device *d, float *o, const float *qkv, int64_t N, int64_t H, int64_t D, float scale)
{
    watched watch(d);
    int64_t rows = rows_of(N), width = 3 * H * D;
    char *work = workspace_of<char>(d, (int64_t)scores_at() + rows * N * (int64_t)sizeof(float));
    if (!work)
        return;
    float *scores = (float *)(work + scores_at());
    for (int64_t row = 0; row < N; row += rows)
        for (int64_t h = 0; h < H; h++) {
            int64_t n = at_most(rows, N - row);
            product p = {};
            p.m = n, p.n = N, p.k = D;
            p.a = qkv + row * width + h * D, p.lda = width;
            p.b = qkv + (H + h) * D, p.ldb = width, p.tb = true;
            p.c = scores, p.ldc = N;
            multiply(d, p, work);
            run(d, "attend, softmax", soften, dim3((unsigned)n), THREADS, 32 * sizeof(float), scores,
                N, scale);
            p.m = n, p.n = D, p.k = N;
            p.a = scores, p.lda = N;
            p.b = qkv + (2 * H + h) * D, p.ldb = width, p.tb = false;
            p.c = o + (row * H + h) * D, p.ldc = H * D;
            multiply(d, p, work);
        }
}

} // namespace mot_cuda
