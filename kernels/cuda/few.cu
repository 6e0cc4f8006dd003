/* SPDX-License-Identifier: MIT
 *
 * few.cu - products of which a row depends on nothing but itself, for sequences that grow: a library
 * chooses by the number of rows how it adds up, and a sequence would then depend on those beside it.
 * In bf16 linear layers have grouped.cu for that; here are those in float, and the logits of a few rows.
 *
 * A warp has one output column and ROWS rows: weights pass once for those, which is what costs the
 * time when sequences grow by a token.  Its lanes add every 32nd piece of the sum, and then each other's.
 */
#include "cuda.h"

namespace mot_cuda
{

enum { WARPS = 4, ROWS = 8 };

/* Block (x,y): WARPS columns, the y-th ROWS rows.  T: what comes out. */
template <class A, class T, int W>
static __global__ void rows_kernel(T *y, const A *x, const A *w, const A *bias, int64_t N, int64_t I,
                                   int64_t O, bool add)
{
    int64_t o = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, first = (int64_t)blockIdx.y * ROWS;
    int lane = (int)threadIdx.x % 32;
    if (o >= O)
        return;
    const A *from[ROWS]; /* the last row again where there are fewer: one way of adding for all */
    float sum[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        from[r] = x + at_most(first + r, N - 1) * I;
    for (int64_t c = lane * W; c < I; c += 32 * W) {
        float v[W], u[W];
        load<W>(v, w + o * I + c);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            load<W>(u, from[r] + c);
#pragma unroll
            for (int j = 0; j < W; j++)
                sum[r] += u[j] * v[j];
        }
    }
    float before = bias ? to_float(bias[o]) : 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float all = warp_sum(sum[r]) + before;
        int64_t at = (first + r) * O + o;
        if (lane == 0 && first + r < N)
            y[at] = from_float<T>(all + (add ? to_float(y[at]) : 0));
    }
}

template <class A, class T>
static void rows_of(mot_device *d, T *y, const A *x, const A *w, const A *bias, int64_t N, int64_t I,
                    int64_t O, bool add)
{
    if (!w)
        return;
    bool fast = aligned<A>(I, x, w);
    run(d, "product of a few rows", fast ? rows_kernel<A, T, wide<A>> : rows_kernel<A, T, 1>,
        dim3((unsigned)ceil_div(O, WARPS), (unsigned)ceil_div(N, ROWS)), 32 * WARPS, 0, y, x, w, bias,
        N, I, O, add);
}

void linear_by_row(mot_device *d, float *y, const float *x, const float *params, const mot_group *g,
                   int G, int64_t I, int64_t O, int add)
{
    for (int k = 0; k < G; k++)
        rows_of<float, float>(d, y + g[k].row * O, x + g[k].row * I, params + g[k].w,
                              g[k].b >= 0 ? params + g[k].b : NULL, g[k].rows, I, O, add);
}

template <class A>
void logits(mot_device *d, float *z, const float *x, const float *w, int64_t N, int64_t C, int64_t V)
{
    watched watch(d);
    rows_of<A, float>(d, z, (const A *)x, weights<A>(d, w), NULL, N, C, V, false);
}

template void logits<float>(mot_device *, float *, const float *, const float *, int64_t, int64_t, int64_t);
template void logits<bf16>(mot_device *, float *, const float *, const float *, int64_t, int64_t, int64_t);

} // namespace mot_cuda
