/* SPDX-License-Identifier: MIT
 *
 * patch.cu - pictures whose tokens are vectors: what surrounds the products that take patches in and
 * out.  All are passes over memory, a thread a value or, where a row's values are added, a warp a row.
 */
#include "cuda.h"

namespace mot_cuda
{

enum { THREADS = 256, WARPS = 4 };

static dim3 blocks(int64_t n)
{
    return dim3((unsigned)ceil_div(n, THREADS));
}

DEVICE int64_t own_value()
{
    return (int64_t)blockIdx.x * THREADS + threadIdx.x;
}

template <class A> static __global__ void cast_kernel(A *y, const float *x, int64_t n)
{
    int64_t i = own_value();
    if (i < n)
        y[i] = from_float<A>(x[i]);
}

template <class A>
void cast(mot_device *d, float *y, const float *x, int64_t row, int64_t rows, int64_t C)
{
    watched w(d);
    run(d, "cast", cast_kernel<A>, blocks(rows * C), THREADS, 0, (A *)y + row * C, x + row * C,
        rows * C);
}

template <class A> static __global__ void uncast_kernel(float *y, const A *x, int64_t n)
{
    int64_t i = own_value();
    if (i < n)
        y[i] = to_float(x[i]);
}

template <class A>
void uncast(mot_device *d, float *y, const float *x, int64_t row, int64_t rows, int64_t C)
{
    watched w(d);
    run(d, "uncast", uncast_kernel<A>, blocks(rows * C), THREADS, 0, y + row * C,
        (const A *)x + row * C, rows * C);
}

template <class A>
static __global__ void spread_kernel(A *y, const A *e, const int32_t *of, int64_t n, int64_t C)
{
    int64_t i = own_value(), row = i / C;
    if (i < n)
        y[i] = from_float<A>(to_float(y[i]) + to_float(e[of[row] * C + (i - row * C)]));
}

template <class A>
void spread(mot_device *d, float *y, const float *e, const int32_t *of, int64_t row, int64_t rows,
            int64_t C)
{
    watched w(d);
    run(d, "spread", spread_kernel<A>, blocks(rows * C), THREADS, 0, (A *)y + row * C, (const A *)e,
        of + row, rows * C, C);
}

/* Block (m,y): THREADS columns of what belongs to m, among all rows in their order. */
template <class A>
static __global__ void spread_back_kernel(A *de, const A *dy, const int32_t *of, int64_t rows,
                                          int64_t C)
{
    int64_t c = (int64_t)blockIdx.y * THREADS + threadIdx.x, m = blockIdx.x;
    float sum = 0;
    if (c >= C)
        return;
    for (int64_t i = 0; i < rows; i++)
        if (of[i] == m)
            sum += to_float(dy[i * C + c]);
    de[m * C + c] = from_float<A>(sum);
}

template <class A>
void spread_back(mot_device *d, float *de, const float *dy, const int32_t *of, int64_t row,
                 int64_t rows, int64_t M, int64_t C)
{
    watched w(d);
    run(d, "spread_back", spread_back_kernel<A>, dim3((unsigned)M, (unsigned)ceil_div(C, THREADS)),
        THREADS, 0, (A *)de, (const A *)dy + row * C, of + row, rows, C);
}

/* W values a thread, of one row of near. */
template <class A, int W>
static __global__ void unfold_kernel(A *y, const A *x, const int32_t *near, int64_t n, int64_t C)
{
    int64_t at = own_value() * W, i = at / C;
    if (at >= n)
        return;
    float v[W] = {};
    if (near[i] >= 0)
        load<W>(v, x + near[i] * C + (at - i * C));
    store<W>(y + at, v);
}

template <class A>
void unfold(mot_device *d, float *y, const float *x, const int32_t *near, int64_t N, int64_t C)
{
    watched w(d);
    bool fast = aligned<A>(C, y, x);
    run(d, "unfold", fast ? unfold_kernel<A, wide<A>> : unfold_kernel<A, 1>,
        blocks(9 * N * C / (fast ? wide<A> : 1)), THREADS, 0, (A *)y, (const A *)x, near, 9 * N * C,
        C);
}

template <class A, int W>
static __global__ void unfold_back_kernel(A *dx, const A *dy, const int32_t *near, int64_t n,
                                          int64_t C)
{
    int64_t at = own_value() * W, j = at / C;
    if (at >= n)
        return;
    float sum[W] = {}, v[W];
    for (int t = 0; t < 9; t++) {
        int64_t i = near[9 * j + 8 - t];
        if (i < 0)
            continue;
        load<W>(v, dy + (9 * i + t) * C + (at - j * C));
        for (int k = 0; k < W; k++)
            sum[k] += v[k];
    }
    store<W>(dx + at, sum);
}

template <class A>
void unfold_back(mot_device *d, float *dx, const float *dy, const int32_t *near, int64_t N, int64_t C)
{
    watched w(d);
    bool fast = aligned<A>(C, dx, dy);
    run(d, "unfold_back", fast ? unfold_back_kernel<A, wide<A>> : unfold_back_kernel<A, 1>,
        blocks(N * C / (fast ? wide<A> : 1)), THREADS, 0, (A *)dx, (const A *)dy, near, N * C, C);
}

/* A warp has a row. */
template <class A>
static __global__ void error_kernel(float *loss, A *dx, const A *x, const float *target,
                                    const float *weight, int64_t rows, int64_t C)
{
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    int lane = (int)threadIdx.x % 32;
    if (row >= rows)
        return;
    float sum = 0, times = dx ? 2 * weight[row] / (float)C : 0;
    for (int64_t at = row * C + lane; at < (row + 1) * C; at += 32) {
        float off = to_float(x[at]) - target[at];
        sum += off * off;
        if (dx)
            dx[at] = from_float<A>(times * off);
    }
    sum = warp_sum(sum);
    if (lane == 0)
        loss[row] = sum / (float)C;
}

template <class A>
void squared_error(mot_device *d, float *loss, float *dx, const float *x, const float *target,
                   const float *weight, int64_t row, int64_t rows, int64_t C)
{
    watched w(d);
    run(d, "squared_error", error_kernel<A>, dim3((unsigned)ceil_div(rows, WARPS)), 32 * WARPS, 0,
        loss + row, dx ? (A *)dx + row * C : NULL, (const A *)x + row * C, target + row * C,
        weight + row, rows, C);
}

template <class A> static __global__ void silu_kernel(A *y, const A *x, int64_t n)
{
    int64_t i = own_value();
    if (i >= n)
        return;
    float v = to_float(x[i]);
    y[i] = from_float<A>(v / (1 + expf(-v)));
}

template <class A> static __global__ void silu_back_kernel(A *dx, const A *dy, const A *x, int64_t n)
{
    int64_t i = own_value();
    if (i >= n)
        return;
    float v = to_float(x[i]), a = 1 / (1 + expf(-v));
    dx[i] = from_float<A>(to_float(dy[i]) * a * (1 + v * (1 - a)));
}

template <class A> void silu(mot_device *d, float *y, const float *x, int64_t n)
{
    watched w(d);
    run(d, "silu", silu_kernel<A>, blocks(n), THREADS, 0, (A *)y, (const A *)x, n);
}

template <class A> void silu_back(mot_device *d, float *dx, const float *dy, const float *x, int64_t n)
{
    watched w(d);
    run(d, "silu_back", silu_back_kernel<A>, blocks(n), THREADS, 0, (A *)dx, (const A *)dy,
        (const A *)x, n);
}

#define PATCH(A)                                                                                   \
    template void cast<A>(mot_device *, float *, const float *, int64_t, int64_t, int64_t);        \
    template void uncast<A>(mot_device *, float *, const float *, int64_t, int64_t, int64_t);      \
    template void spread<A>(mot_device *, float *, const float *, const int32_t *, int64_t,        \
                            int64_t, int64_t);                                                     \
    template void spread_back<A>(mot_device *, float *, const float *, const int32_t *, int64_t,   \
                                 int64_t, int64_t, int64_t);                                       \
    template void unfold<A>(mot_device *, float *, const float *, const int32_t *, int64_t,        \
                            int64_t);                                                              \
    template void unfold_back<A>(mot_device *, float *, const float *, const int32_t *, int64_t,   \
                                 int64_t);                                                         \
    template void squared_error<A>(mot_device *, float *, float *, const float *, const float *,   \
                                   const float *, int64_t, int64_t, int64_t);                      \
    template void silu<A>(mot_device *, float *, const float *, int64_t);                          \
    template void silu_back<A>(mot_device *, float *, const float *, const float *, int64_t);
PATCH(float)
PATCH(bf16)

} // namespace mot_cuda
