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
    FEW_REGISTERS = 40,
    MANY_REGISTERS = 232,
};

/* What every kernel of these is given.  Maps lie first, for they are aligned to 128 bytes. */
struct sm90_call {
    tensor_map q, k, v, dO; /* in boxes of as many rows as the kernel's tiles have; dO (H,N,D), backward */
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

/* One thread brings a tile, of which b has been told. */
template <int PD, int ROWS>
DEVICE void copy_tile(bf16 *to, const tensor_map *map, barrier *b, int row, int head)
{
#pragma unroll
    for (int column = 0; column < PD; column += 64)
        copy_box(to + column * ROWS, map, b, column, row, head);
}

/* The ring's n-th, when its place is free. */
template <int PD, int ROWS>
DEVICE void bring(ring *r, int n, bf16 (*tiles)[ROWS * PD], const tensor_map *map, int row, int head)
{
    barrier_wait(&r->done[stage(n)], parity(n) ^ 1);
    barrier_expect(&r->there[stage(n)], (int)sizeof tiles[0]);
    copy_tile<PD, ROWS>(tiles[stage(n)], map, &r->there[stage(n)], row, head);
}

DEVICE void await(ring *r, int n)
{
    barrier_wait(&r->there[stage(n)], parity(n));
}

DEVICE void done_with(ring *r, int n)
{
    __syncwarp(); /* a lane that has still to await it would miss it */
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

/* -- turns ----------------------------------------------------------------------------------------- */

/* Barrier 1 lets worker 0 go on, barrier 2 worker 1; the other one arrives there when it has issued its products.
 * Both take as many turns; after the last of worker 1 nobody waits. */
DEVICE void take_turn(int worker)
{
    named_wait(1 + worker, WORKERS * GROUP);
}

DEVICE void give_turn(int worker, bool last)
{
    if (worker == 0 || !last)
        named_arrive(2 - worker, WORKERS * GROUP);
}

/* -- what rows see ---------------------------------------------------------------------------------- */

/* Of the tiles of N from `begin` on those that some of a worker's rows, from `mine` on, see: [low, high), none where
 * there are no rows.  Row r of `rows` sees [from[r], until[r]), and neither descends. */
struct range {
    int low, high;
};

template <int N>
DEVICE range range_of(const int32_t *from, const int32_t *until, int rows, int mine, int begin,
                      int tiles)
{
    if (mine >= rows)
        return range{tiles, tiles};
    int last = mine + 64 < rows ? mine + 63 : rows - 1;
    return range{uniform((from[mine] - begin) / N), uniform((until[last] - begin + N - 1) / N)};
}

/* What a lane knows of its rows: what each sees, and what all of its warp's do. */
struct sight {
    int from[2], until[2], all_from, all_until;
};

DEVICE sight sight_of(const int32_t *from, const int32_t *until, int rows, int own_first)
{
    sight x;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int r = own_first + own_row(i);
        x.from[i] = r < rows ? from[r] : rows;
        x.until[i] = r < rows ? until[r] : 0;
    }
    bool all = own_first + 16 <= rows;
    x.all_from = all ? from[own_first + 15] : rows;
    x.all_until = all ? until[own_first] : 0;
    return x;
}

/* Of a tile from t0 on the scores that a row does not see. */
template <int N> DEVICE void hide(float (&s)[N / 8][4], const sight &x, int t0)
{
    if (t0 + N <= x.all_until && t0 >= x.all_from)
        return;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = t0 + own_column(j, i);
            if (t >= x.until[i / 2] || t < x.from[i / 2])
                s[j][i] = -INFINITY;
        }
}

} // namespace mot_cuda

#endif
