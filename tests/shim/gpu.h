/* SPDX-License-Identifier: MIT
 *
 * gpu.h - the host's twin of kernels/cuda/gpu/gpu.h: the same names, the same meaning.
 */
#ifndef MOT_GPU_H
#define MOT_GPU_H

#include <cuda_runtime.h>

#define DEVICE static inline

/* Small, so that small tests go round more than once. */
enum { LOGITS_HELD = 256 << 10, GATHERED = 32 << 10, STAGING = 4 << 10 };

unsigned char *shared_memory();

/* -- launches ------------------------------------------------------------------------------------ */

/* Call body(context) in every thread of the grid. */
void shim_launch(dim3 grid, dim3 block, size_t shared, void (*body)(void *), void *context);

template <class F> static void shim_call(void *f)
{
    (*(F *)f)();
}

/* What a stream is given is done at once, or kept for a graph while one is captured. */
bool shim_capturing();
void shim_keep(void (*f)(void *), const void *context, size_t bytes);

template <class F> static void shim_enqueue(F f)
{
    if (shim_capturing())
        shim_keep(shim_call<F>, &f, sizeof f); /* values and pointers: it can be copied so */
    else
        f();
}

template <class... P, class... A>
static cudaError_t launch(cudaStream_t, void (*f)(P...), dim3 grid, dim3 block, size_t shared, A... a)
{
    auto body = [=]() mutable { f(P(a)...); };
    shim_enqueue([=]() mutable { shim_launch(grid, block, shared, shim_call<decltype(body)>, &body); });
    return cudaSuccess;
}

/* -- a warp's exchanges -------------------------------------------------------------------------- */

/* Every lane gives `bytes`, at most 32; afterwards all of the warp's lie at what is returned, 32 bytes apart,
 * until the next exchange. */
const unsigned char *shim_exchange(const void *mine, size_t bytes);
int shim_lane();

template <class T> DEVICE T shuffle_xor(T x, int lane)
{
    T r;
    memcpy(&r, shim_exchange(&x, sizeof x) + 32 * (shim_lane() ^ lane), sizeof r);
    return r;
}

/* -- asynchronous copies to shared memory -------------------------------------------------------- */

/* Nothing arrives before it is waited for. */
void copy_async(void *to, const void *from, bool there);
void copy_commit();
void shim_copy_wait(int n);
template <int n> DEVICE void copy_wait()
{
    shim_copy_wait(n);
}

/* -- matrices of bf16 on tensor cores ------------------------------------------------------------ */

void load_matrix(uint32_t (&r)[4], const void *row);
void load_transposed(uint32_t (&r)[4], const void *row);
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

/* -- numbers ------------------------------------------------------------------------------------- */

uint32_t pack_bf16(float low, float high);

DEVICE float bits_to_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

DEVICE float fast_exp2(float x)
{
    return exp2f(x);
}

#endif
