/* SPDX-License-Identifier: MIT
 *
 * fragment.h - what attention's kernels on tensor cores do with the rows of a product that a warp has in
 * its registers.  mma.sync (attention.cu) and wgmma (attention_sm90.cu) leave 16 rows a warp in the same
 * places: PTX ISA, "Matrix Fragments for mma.m16n8k16" and "Register Fragments for wgmma.mma_async.m64nNk16".
 */
#ifndef MOT_CUDA_FRAGMENT_H
#define MOT_CUDA_FRAGMENT_H

#include "attention.h"

namespace mot_cuda
{

DEVICE int lane()
{
    return (int)threadIdx.x % 32;
}

DEVICE int warp()
{
    return (int)threadIdx.x / 32;
}

/* Of a 16-row block a lane has, in elements 2i and 2i+1 of each 8 columns, row lane/4 + 8i at these columns. */
DEVICE int own_row(int i)
{
    return lane() / 4 + 8 * i;
}

DEVICE int own_column(int j, int i)
{
    return 8 * j + lane() % 4 * 2 + i % 2;
}

/* Rows of a lane in a block of 16, times `times`, to rows at(i) of an array; at(i) < 0: none. */
template <int OUT, class At>
DEVICE void put(bf16 *to, const float (&o)[OUT / 8][4], int D, int column, float times0,
                float times1, At at)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int64_t row = at(i);
        float times = i ? times1 : times0;
#pragma unroll
        for (int j = 0; j < OUT / 8; j++) {
            int c = column + own_column(j, 0);
            if (row >= 0 && c < D) /* D is even, so both of the pair are there */
                *(uint32_t *)(to + row + c) = pack_bf16(times * o[j][2 * i], times * o[j][2 * i + 1]);
        }
    }
}

DEVICE float quad_sum(float x)
{
    x += shuffle_xor(x, 1);
    return x + shuffle_xor(x, 2);
}

DEVICE float quad_max(float x)
{
    x = fmaxf(x, shuffle_xor(x, 1));
    return fmaxf(x, shuffle_xor(x, 2));
}

/* -- softmax ------------------------------------------------------------------------------------- */

/* The softmax of a warp's rows so far. */
template <int M> struct softmax {
    float max[M][2], sum[M][2]; /* of a lane's rows; sum: the lane's own share */
};

/* Scores become probabilities relative to the maximum so far; kept: the part that stays of what was added up before. */
template <int M, int N>
DEVICE void advance(softmax<M> &x, float (&s)[M][N / 8][4], float (&kept)[M][2], float scale)
{
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float max = x.max[m][i];
#pragma unroll
            for (int j = 0; j < N / 8; j++)
                max = fmaxf(max, fmaxf(s[m][j][2 * i], s[m][j][2 * i + 1]));
            max = quad_max(max);
            float base = max == -INFINITY ? 0 : max * scale; /* a row that sees nothing yet */
            kept[m][i] = fast_exp2(x.max[m][i] * scale - base);
            float sum = x.sum[m][i] * kept[m][i];
            x.max[m][i] = max;
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
                s[m][j][2 * i] = fast_exp2(s[m][j][2 * i] * scale - base);
                s[m][j][2 * i + 1] = fast_exp2(s[m][j][2 * i + 1] * scale - base);
                sum += s[m][j][2 * i] + s[m][j][2 * i + 1];
            }
            x.sum[m][i] = sum;
        }
}

template <int M, int OUT>
DEVICE void rescale(float (&o)[M][OUT / 8][4], const float (&kept)[M][2])
{
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int j = 0; j < OUT / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                o[m][j][i] *= kept[m][i / 2];
}

} // namespace mot_cuda

#endif
