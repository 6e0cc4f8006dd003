/* SPDX-License-Identifier: MIT
 *
 * sums.cu - the second half of every sum over rows: parts, added in order.
 */
#include "cuda.h"

namespace mot_cuda
{

enum { COLUMNS = 32, LANES = 8 };

/* All groups in one thread, for two may share a weight. */
static __global__ void add_parts_kernel(float *grads, const float *sums, groups g, int64_t parts,
                                        int64_t C)
{
    float *space = (float *)shared_memory(); /* (LANES, COLUMNS) */
    int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x;
    for (int k = 0; k < g.n; k++) {
        float sum = 0;
        for (int64_t p = threadIdx.y; p < parts && c < C && g.g[k].w >= 0; p += LANES)
            sum += sums[(p * g.n + k) * C + c];
        space[threadIdx.y * COLUMNS + threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.y == 0 && c < C && g.g[k].w >= 0) {
            for (int lane = 1; lane < LANES; lane++)
                sum += space[lane * COLUMNS + threadIdx.x];
            grads[g.g[k].w + c] += sum;
        }
        __syncthreads();
    }
}

void add_parts(mot_device *d, float *grads, const float *sums, const groups &g, int64_t parts,
               int64_t C)
{
    run(d, "sum of parts", add_parts_kernel, dim3((unsigned)ceil_div(C, COLUMNS)),
        dim3(COLUMNS, LANES), COLUMNS * LANES * sizeof(float), grads, sums, g, parts, C);
}

} // namespace mot_cuda
