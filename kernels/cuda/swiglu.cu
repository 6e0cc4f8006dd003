/* SPDX-License-Identifier: MIT
 *
 * swiglu.cu - the gated linear unit (Shazeer 2020) and its gradient, each in one pass over memory.
 */
#include "cuda.h"

namespace mot_cuda
{

enum { THREADS = 256 };

DEVICE float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* A thread's W values of f: index i counts through rows and pieces of F. */
template <class A, int W>
static __global__ void swiglu_kernel(A *h, const A *gu, int64_t n, int64_t F)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n)
        return;
    int64_t row = i / F, f = i - row * F;
    float x[W], u[W];
    load<W>(x, gu + row * 2 * F + f);
    load<W>(u, gu + row * 2 * F + F + f);
    for (int j = 0; j < W; j++)
        x[j] = x[j] * sigmoid(x[j]) * u[j];
    store<W>(h + i, x);
}

/* With a = sigmoid(x): d silu / dx = a (1 + x (1 - a)). */
template <class A, int W>
static __global__ void swiglu_back_kernel(A *dgu, const A *dh, const A *gu, int64_t n, int64_t F)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n)
        return;
    int64_t row = i / F, at = row * 2 * F + (i - row * F);
    float x[W], u[W], dy[W];
    load<W>(x, gu + at);
    load<W>(u, gu + at + F);
    load<W>(dy, dh + i);
    for (int j = 0; j < W; j++) {
        float a = sigmoid(x[j]), dx = dy[j] * u[j] * a * (1 + x[j] * (1 - a));
        u[j] = dy[j] * x[j] * a;
        x[j] = dx;
    }
    store<W>(dgu + at, x);
    store<W>(dgu + at + F, u);
}

template <class A> static dim3 blocks(int64_t n, bool fast)
{
    return dim3((unsigned)ceil_div(n, (int64_t)THREADS * (fast ? wide<A> : 1)));
}

template <class A> void swiglu(mot_device *d, float *h, const float *gu, int64_t N, int64_t F)
{
    watched w(d);
    bool fast = aligned<A>(F, h, gu);
    run(d, "swiglu", fast ? swiglu_kernel<A, wide<A>> : swiglu_kernel<A, 1>, blocks<A>(N * F, fast),
        THREADS, 0, (A *)h, (const A *)gu, N * F, F);
}

template <class A>
void swiglu_back(mot_device *d, float *dgu, const float *dh, const float *gu, int64_t N, int64_t F)
{
    watched w(d);
    bool fast = aligned<A>(F, dgu, dh, gu);
    run(d, "swiglu_back", fast ? swiglu_back_kernel<A, wide<A>> : swiglu_back_kernel<A, 1>,
        blocks<A>(N * F, fast), THREADS, 0, (A *)dgu, (const A *)dh, (const A *)gu, N * F, F);
}

template void swiglu<float>(mot_device *, float *, const float *, int64_t, int64_t);
template void swiglu<bf16>(mot_device *, float *, const float *, int64_t, int64_t);
template void swiglu_back<float>(mot_device *, float *, const float *, const float *, int64_t,
                                 int64_t);
template void swiglu_back<bf16>(mot_device *, float *, const float *, const float *, int64_t,
                                int64_t);

} // namespace mot_cuda
