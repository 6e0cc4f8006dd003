/* SPDX-License-Identifier: MIT
 *
 * conv.cu - convolutions as products of matrices.
 *
 * A row of the left-hand matrix is what one output pixel sees, a column of the right-hand one what one
 * output channel makes of it.  Of the left one GATHERED bytes exist at a time; where a pixel sees
 * itself alone it is the input as it lies.
 */
#include "gemm.h"

namespace mot_cuda
{

enum { THREADS = 256, LEAST_ROWS = 16 };

/* What one output pixel sees of one group. */
static int64_t depth_of(const mot_conv &v)
{
    return v.kh * v.kw * (v.C / v.groups);
}

static int64_t rows_of(const mot_conv &v)
{
    int64_t rows = GATHERED / (4 * depth_of(v));
    return at_most(v.OH * v.OW, rows > LEAST_ROWS ? rows : (int64_t)LEAST_ROWS);
}

static size_t gathered_at()
{
    return (gemm_need() + 255) / 256 * 256;
}

size_t conv_need(const mot_limits *l)
{
    size_t most = 0;
    for (int i = 0; i < l->n_conv; i++) {
        size_t n = (size_t)(rows_of(l->conv[i]) * depth_of(l->conv[i])) * sizeof(float);
        most = n > most ? n : most;
    }
    return l->n_conv > 0 ? gathered_at() + most : 0;
}

/* Block (i,t): THREADS values of what output pixel first + i sees of group g. */
static __global__ void gather(float *to, const float *x, mot_conv v, int64_t g, int64_t first)
{
    int64_t I = v.C / v.groups, depth = v.kh * v.kw * I, pixel = first + blockIdx.x;
    int64_t at = (int64_t)blockIdx.y * THREADS + threadIdx.x;
    if (at >= depth)
        return;
    int64_t tap = at / I, c = at - tap * I;
    int64_t iy = pixel / v.OW * v.stride - v.top + tap / v.kw;
    int64_t ix = pixel % v.OW * v.stride - v.left + tap % v.kw;
    bool inside = iy >= 0 && iy < v.H * v.up && ix >= 0 && ix < v.W * v.up;
    to[blockIdx.x * depth + at] =
        inside ? x[(iy / v.up * v.W + ix / v.up) * v.C + g * I + c] : 0;
}

static bool sees_itself(const mot_conv &v)
{
    return v.kh == 1 && v.kw == 1 && v.stride == 1 && v.top == 0 && v.left == 0 && v.up == 1 &&
           v.OH == v.H && v.OW == v.W;
}

void conv2d(mot_device *d, float *y, const float *x, const float *w, const float *b,
            const mot_conv *conv, int add)
{
    watched watch(d);
    const mot_conv v = *conv;
    int64_t depth = depth_of(v), I = v.C / v.groups, O = v.O / v.groups, rows = rows_of(v);
    bool direct = sees_itself(v);
    char *work = workspace_of<char>(
        d, (int64_t)gathered_at() + (direct ? 0 : rows * depth * (int64_t)sizeof(float)));
    if (!work)
        return;
    float *gathered = (float *)(work + gathered_at());
    for (int64_t row = 0; row < v.OH * v.OW; row += rows)
        for (int64_t g = 0; g < v.groups; g++) {
            int64_t n = at_most(rows, v.OH * v.OW - row);
            if (!direct)
                run(d, "gather", gather,
                    dim3((unsigned)n, (unsigned)ceil_div(depth, THREADS)), THREADS, 0, gathered, x,
                    v, g, row);
            product p = {};
            p.m = n, p.n = O, p.k = depth;
            p.a = direct ? x + row * v.C + g * I : gathered, p.lda = direct ? v.C : depth;
            p.b = w + g * depth * O, p.ldb = O;
            p.c = y + row * v.O + g * O, p.ldc = v.O;
            p.bias = b ? b + g * O : NULL;
            p.add = add;
            multiply(d, p, work);
        }
}

} // namespace mot_cuda
