/* SPDX-License-Identifier: MIT
 *
 * warpgroup.h - what attention's kernels for compute capability 9.0 share: a block's parts, tiles in shared
 * memory, the products of a warpgroup over them.
 *
 * One warpgroup brings tiles, two multiply; a warpgroup has 64 rows of its own, 16 a warp.  Tiles go
 * through a ring of STAGES places, each with a barrier for "it is there" and one for "all have done with it".
 * A tile has PD columns, a multiple of 64, in boxes of 64; what an array lacks of them arrives as zeros.
 */
#ifndef MOT_CUDA_WARPGROUP_H
#define MOT_CUDA_WARPGROUP_H

#include <hopper.h>

#include "fragment.h"

namespace mot_cuda
{

enum {
    GROUP = 128,             /* threads of a warpgroup */
    WORKERS = 2,             /* warpgroups that multiply, behind the one that brings tiles */
    SM90_THREADS = (1 + WORKERS) * GROUP,
    SM90_ROWS = 64 * WORKERS, /* of a block */
    STAGES = 2,
    /* Of each thread: 65536 over 384 threads is 168 at the start, and what one group gives up the others get. */
    FEW_REGISTERS = 24,
    MANY_REGISTERS = 240,
};

/* What every kernel of these is given.  Maps lie first, for they are aligned to 128 bytes. */
struct sm90_call {
    tensor_map q, k, v; /* in boxes that the kernel's tiles have as many rows of */
    call<bf16> c;
};

/* A block's shared memory, aligned to what boxes need; the launch asks for ALIGNMENT bytes more. */
enum { ALIGNMENT = 1024 };

template <class T> DEVICE T *aligned_memory()
{
    unsigned char *p = shared_memory();
    return (T *)(p + (0u - shared_address(p)) % ALIGNMENT);
}

/* -- a ring of tiles ------------------------------------------------------------------------------- */

struct ring {
    barrier there[STAGES], done[STAGES];
};

DEVICE void ring_init(ring *r)
{
#pragma unroll
    for (int s = 0; s < STAGES; s++) {
        barrier_init(&r->there[s], 1);
        barrier_init(&r->done[s], WORKERS * GROUP / 32); /* a lane of each warp says so */
    }
}

DEVICE int stage(int n)
{
    return n % STAGES;
}

DEVICE int parity(int n)
{
    return n / STAGES % 2;
}

/* One thread brings tile n, when its place is free. */
template <int PD, int ROWS>
DEVICE void bring(ring *r, int n, bf16 (*tiles)[ROWS * PD], const tensor_map *map, int row, int head)
{
    bf16 *to = tiles[stage(n)];
    barrier_wait(&r->done[stage(n)], parity(n) ^ 1);
    barrier_expect(&r->there[stage(n)], ROWS * PD * (int)sizeof(bf16));
#pragma unroll
    for (int column = 0; column < PD; column += 64)
        copy_box(to + column * ROWS, map, &r->there[stage(n)], column, row, head);
}

DEVICE void await(ring *r, int n)
{
    barrier_wait(&r->there[stage(n)], parity(n));
}

DEVICE void done_with(ring *r, int n)
{
    if (lane() == 0)
        barrier_arrive(&r->done[stage(n)]);
}

/* -- products -------------------------------------------------------------------------------------- */

/* s (64,N) = rows [row, row + 64) of x's ROWS times all N rows of y, both of PD columns. */
template <int PD, int ROWS, int N>
DEVICE void products(float (&s)[N / 8][4], const bf16 *x, int row, const bf16 *y)
{
    uint64_t a = matrix_at(x + 64 * row, 16), b = matrix_at(y, 16);
#pragma unroll
    for (int k = 0; k < PD; k += 16) {
        uint64_t left = matrix_after(a, k / 64 * ROWS * 128 + k % 64 * 2),
                 right = matrix_after(b, k / 64 * N * 128 + k % 64 * 2);
        if (k == 0)
            multiply<false>(s, left, right);
        else
            multiply<true>(s, left, right);
    }
}

/* o (64,OUT) += p (64,N) times columns [column, column + OUT) of y's N rows. */
template <int N, int OUT>
DEVICE void add_products(float (&o)[OUT / 8][4], const uint32_t (&p)[N / 16][4], const bf16 *y,
                         int column)
{
    uint64_t b = matrix_at(y + column * N, N * 128);
#pragma unroll
    for (int k = 0; k < N / 16; k++)
        multiply_rows(o, p[k], matrix_after(b, k * 16 * 128));
}

/* The left operand of add_products from a product. */
template <int N> DEVICE void pack(uint32_t (&p)[N / 16][4], const float (&s)[N / 8][4])
{
#pragma unroll
    for (int k = 0; k < N / 16; k++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            p[k][i] = pack_bf16(s[2 * k + i / 2][i % 2 * 2], s[2 * k + i / 2][i % 2 * 2 + 1]);
}

} // namespace mot_cuda

#endif
