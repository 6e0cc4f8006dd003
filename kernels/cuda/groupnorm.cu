/* SPDX-License-Identifier: MIT
 *
 * groupnorm.cu - norms with mean and bias, and activations, of encoders of pictures and sounds.
 *
 * A group norm sums over all rows: each part of the rows leaves its sums of columns, which are added in
 * order; once for the mean and once for what lies around it.
 */
#include <math.h>

#include "cuda.h"

namespace mot_cuda
{

enum { THREADS = 256, COLUMNS = 32, LANES = 8, WARPS = 4 };

static int64_t parts_of(const mot_device *d, int64_t N)
{
    return at_most(ceil_div(N, LANES), 4 * d->units);
}

/* Sums (parts,C), then mean and 1 / deviation of each group, of which there are at most C. */
size_t groupnorm_need(const mot_device *d, const mot_limits *l)
{
    return (size_t)(parts_of(d, l->norm_rows) * l->norm_width) * sizeof(double) +
           (size_t)(2 * l->norm_width) * sizeof(float);
}

DEVICE float act_of(float x, mot_nonlinearity act)
{
    if (act == MOT_ACT_SILU)
        return x / (1 + expf(-x));
    if (act == MOT_ACT_GELU)
        return 0.5f * x * (1 + erff(x * 0.70710678f));
    return x;
}

/* -- group norm ---------------------------------------------------------------------------------- */

/* Block (x,p): sums of COLUMNS columns of x, or, with a mean, of (x - mean)^2, over the p-th part of the rows. */
static __global__ void column_sums(double *sums, const float *x, const float *mean, int64_t N,
                                   int64_t C, int64_t width)
{
    double *space = (double *)shared_memory(), sum = 0; /* (LANES, COLUMNS) */
    int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x;
    int64_t begin = N * blockIdx.y / gridDim.y, end = N * (blockIdx.y + 1) / gridDim.y;
    float middle = mean && c < C ? mean[c / width] : 0;
    for (int64_t row = begin + threadIdx.y; row < end && c < C; row += LANES) {
        float off = x[row * C + c] - middle;
        sum += mean ? (double)off * (double)off : (double)off;
    }
    space[threadIdx.y * COLUMNS + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C)
        return;
    for (int lane = 1; lane < LANES; lane++)
        sum += space[lane * COLUMNS + threadIdx.x];
    sums[blockIdx.y * C + c] = sum;
}

/* Block g: the mean of the values whose sums these are, or, around a mean, 1 / their deviation. */
static __global__ void group_sums(float *out, const double *sums, int64_t parts, int64_t N,
                                  int64_t C, int64_t width, float eps, bool around)
{
    double *space = (double *)shared_memory(), sum = 0;
    int64_t first = blockIdx.x * width;
    for (int64_t i = threadIdx.x; i < parts * width; i += THREADS)
        sum += sums[i / width * C + first + i % width];
    sum = block_sum(sum, space) / (double)(N * width);
    if (threadIdx.x == 0)
        out[blockIdx.x] = (float)(around ? 1 / sqrt(sum + (double)eps) : sum);
}

static __global__ void group_rows(float *y, const float *x, const float *w, const float *b,
                                  const float *mean, const float *rstd, int64_t n, int64_t C,
                                  int64_t width, mot_nonlinearity act)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    int64_t c = i % C, g = c / width;
    y[i] = act_of(w[c] * ((x[i] - mean[g]) * rstd[g]) + b[c], act);
}

void groupnorm(mot_device *d, float *y, const float *x, const float *w, const float *b, int64_t N,
               int64_t C, int64_t groups, float eps, mot_nonlinearity act)
{
    watched watch(d);
    int64_t parts = parts_of(d, N), width = C / groups;
    double *sums = workspace_of<double>(d, parts * C + groups);
    if (!sums || N == 0)
        return;
    float *mean = (float *)(sums + parts * C), *rstd = mean + groups;
    dim3 blocks((unsigned)ceil_div(C, COLUMNS), (unsigned)parts), lanes(COLUMNS, LANES);
    for (int around = 0; around < 2; around++) {
        run(d, "groupnorm, columns", column_sums, blocks, lanes, COLUMNS * LANES * sizeof(double),
            sums, x, around ? mean : NULL, N, C, width);
        run(d, "groupnorm, groups", group_sums, dim3((unsigned)groups), THREADS,
            32 * sizeof(double), around ? rstd : mean, sums, parts, N, C, width, eps, around);
    }
    run(d, "groupnorm", group_rows, dim3((unsigned)ceil_div(N * C, THREADS)), THREADS, 0, y, x, w, b,
        mean, rstd, N * C, C, width, act);
}

/* -- the others ---------------------------------------------------------------------------------- */

/* A warp has a row. */
static __global__ void layer_rows(float *y, const float *x, const float *w, const float *b,
                                  int64_t N, int64_t C, float eps, mot_nonlinearity act)
{
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    int lane = (int)threadIdx.x % 32;
    if (row >= N)
        return;
    const float *from = x + row * C;
    float sum = 0, square = 0;
    for (int64_t c = lane; c < C; c += 32)
        sum += from[c];
    float mean = warp_sum(sum) / (float)C;
    for (int64_t c = lane; c < C; c += 32)
        square += (from[c] - mean) * (from[c] - mean);
    float r = 1 / sqrtf(warp_sum(square) / (float)C + eps);
    for (int64_t c = lane; c < C; c += 32)
        y[row * C + c] = act_of(w[c] * ((from[c] - mean) * r) + b[c], act);
}

void layernorm(mot_device *d, float *y, const float *x, const float *w, const float *b, int64_t N,
               int64_t C, float eps, mot_nonlinearity act)
{
    watched watch(d);
    run(d, "layernorm", layer_rows, dim3((unsigned)ceil_div(N, WARPS)), 32 * WARPS, 0, y, x, w, b, N,
        C, eps, act);
}

static __global__ void activate_kernel(float *y, const float *x, int64_t n, mot_nonlinearity act,
                                       bool add)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        y[i] = act_of(x[i], act) + (add ? y[i] : 0);
}

void activate(mot_device *d, float *y, const float *x, int64_t n, mot_nonlinearity act, int add)
{
    watched watch(d);
    run(d, "activate", activate_kernel, dim3((unsigned)ceil_div(n, THREADS)), THREADS, 0, y, x, n,
        act, add);
}

} // namespace mot_cuda
