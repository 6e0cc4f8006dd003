/* SPDX-License-Identifier: MIT
 *
 * gpu.h - what C++ has no words for: launches, shared memory, and the PTX instructions that the
 * kernels use, each in a function of its own.
 *
 * tests/shim/gpu.h defines the same names for the host, where the test suite runs the kernels: so
 * whatever is added here is added there, and kernels call nothing of the GPU's but what these two
 * files have, blockIdx and its like, __syncthreads and __syncwarp.  All shared memory is dynamic.
 */
#ifndef MOT_GPU_H
#define MOT_GPU_H

#include <cuda_runtime.h>
#include <stdint.h>

#define DEVICE static __device__ __forceinline__

/* Bytes of logits that the head holds at a time, of what convolutions gather and encoders' attention scores, and of pinned
 * memory for what is sent. */
enum { LOGITS_HELD = 512 << 20, GATHERED = 64 << 20, STAGING = 8 << 20 };

/* A block's shared memory: `shared` bytes of the launch. */
DEVICE unsigned char *shared_memory()
{
    extern __shared__ __align__(16) unsigned char mot_shared[];
    return mot_shared;
}

/* Run f(a...) in grid x block threads.  The fault, if there is one, is returned and not kept. */
template <class... P, class... A>
static cudaError_t launch(cudaStream_t stream, void (*f)(P...), dim3 grid, dim3 block,
                          size_t shared, A... a)
{
    if (shared > 48 * 1024) { /* more has to be asked for */
        cudaError_t e = cudaFuncSetAttribute(
            (const void *)f, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
        if (e != cudaSuccess)
            return e;
    }
    f<<<grid, block, shared, stream>>>(P(a)...);
    return cudaGetLastError();
}

/* -- a warp's exchanges -------------------------------------------------------------------------- */

template <class T> DEVICE T shuffle_xor(T x, int lane)
{
    return __shfl_xor_sync(0xffffffffu, x, lane);
}

/* -- asynchronous copies to shared memory -------------------------------------------------------- */

/* 16 bytes, both addresses aligned to 16; zeros where not `there`, and then `from` is not read. */
DEVICE void copy_async(void *to, const void *from, bool there)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

/* What was copied since the last one is a batch. */
DEVICE void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait for this thread's batches but the last n. */
template <int n> DEVICE void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

/* -- matrices of bf16 on tensor cores ------------------------------------------------------------ */

/* Four 8x8 matrices; lanes 8i to 8i+7 give the addresses of the rows of the i-th.  Lane l gets of
 * each the pair at row l/4, columns 2(l%4) and one more. */
DEVICE void load_matrix(uint32_t (&r)[4], const void *row)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* The same of the transposed matrices: the pair at column l/4, rows 2(l%4) and one more. */
DEVICE void load_transposed(uint32_t (&r)[4], const void *row)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* c (16x8, float) += a (16x16) b (16x8), bf16.  Of lane l, with g = l/4 and t = 2(l%4): c has the pairs
 * at rows g and g+8, columns t; a at (g,t), (g+8,t), (g,t+8), (g+8,t+8); b the pairs down the rows at
 * column g, rows t and t+8. */
DEVICE void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* -- numbers ------------------------------------------------------------------------------------- */

/* Two floats rounded to bf16, ties to even, the first in the low half. */
DEVICE uint32_t pack_bf16(float low, float high)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

DEVICE float bits_to_float(uint32_t bits)
{
    return __uint_as_float(bits);
}

DEVICE float fast_exp2(float x) /* 2 ulp; exact at -inf and NaN */
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
