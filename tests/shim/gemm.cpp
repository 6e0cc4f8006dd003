/* SPDX-License-Identifier: MIT
 *
 * gemm.cpp - matrix products as plainly as they can be written, in place of cuBLASLt's.
 */
#include "../../kernels/cuda/gemm.h"

struct mot_gemm {
    int unused;
};

namespace mot_cuda
{

mot_gemm *gemm_open(char *, size_t)
{
    return (mot_gemm *)calloc(1, sizeof(mot_gemm));
}

void gemm_close(mot_gemm *g)
{
    free(g);
}

size_t gemm_need()
{
    return 256;
}

static float at(const void *x, bool half, int64_t i)
{
    return half ? to_float(((const bf16 *)x)[i]) : ((const float *)x)[i];
}

/* An operand as floats, (rows,columns) without gaps. */
static float *operand(const void *x, bool half, bool transposed, int64_t ld, int64_t rows, int64_t columns)
{
    float *y = (float *)malloc((size_t)(rows * columns) * sizeof *y);
    if (!y)
        abort();
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            y[i * columns + j] = at(x, half, transposed ? j * ld + i : i * ld + j);
    return y;
}

static void finish(const product &p, int64_t row, const double *sum)
{
    for (int64_t j = 0; j < p.n; j++) {
        int64_t to = row * p.ldc + j;
        double x = sum[j] + (p.bias ? (double)at(p.bias, p.c_half, j) : 0);
        x += p.add ? (double)at(p.c, p.c_half, to) : 0;
        if (p.c_half)
            ((bf16 *)p.c)[to] = from_float<bf16>((float)x);
        else
            ((float *)p.c)[to] = (float)x;
    }
}

static void multiply_now(const product &p, void *work)
{
    memset(work, 0xff, gemm_need()); /* nothing of anyone's may lie there */
    float *a = operand(p.a, p.half, p.ta, p.lda, p.m, p.k), *b = operand(p.b, p.half, p.tb, p.ldb, p.k, p.n);
    double *sum = (double *)malloc((size_t)p.n * sizeof *sum);
    if (!sum)
        abort();
    for (int64_t i = 0; i < p.m; i++) {
        memset(sum, 0, (size_t)p.n * sizeof *sum);
        for (int64_t l = 0; l < p.k; l++)
            for (int64_t j = 0; j < p.n; j++)
                sum[j] += (double)a[i * p.k + l] * (double)b[l * p.n + j];
        finish(p, i, sum);
    }
    free(sum);
    free(b);
    free(a);
}

void multiply(mot_device *d, const product &p, void *work)
{
    if (p.m < 1 || p.n < 1 || p.k < 1 || !p.a || !p.b || !p.c)
        fault(d, "a product without a size or an operand");
    if (!*d->error)
        shim_enqueue([=]() { multiply_now(p, work); });
}

} // namespace mot_cuda
