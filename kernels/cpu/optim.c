/* SPDX-License-Identifier: MIT
 *
 * optim.c - norm of the gradients, its clipping, and AdamW (Loshchilov & Hutter 2019) in one pass.
 * All three move memory more than they compute, so each touches every array once.
 */
#include <math.h>
#include <omp.h>

#include "cpu.h"

/* Pieces of a fixed number, each summed by one thread and added in order: the same sum for every
 * number of threads.  4096 bytes of double: a page of the workspace. */
enum { PIECES = 512 };

struct mot_cpu_need mot_cpu_optim_need(int threads, const struct mot_limits *l)
{
    (void)threads, (void)l;
    return (struct mot_cpu_need){.shared = PIECES * sizeof(double)};
}

static void sum_pieces(struct mot_device *d, double *sums, const float *x, int64_t n,
                       struct mot_range pieces)
{
    double begin = mot_cpu_begin(d);
    for (int64_t piece = pieces.begin; piece < pieces.end; piece++) {
        struct mot_range r = mot_cpu_share(n, 16, (int)piece, PIECES);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = r.begin; i < r.end; i++)
            sum += (double)x[i] * (double)x[i];
        sums[piece] = sum;
    }
    mot_cpu_end(d, -1, begin);
}

/* Little is done without a parallel region, here and in adamw: norms are many and small. */
void mot_cpu_sumsq(struct mot_device *d, double *out, const float *x, int64_t n)
{
    double *sums = (double *)(void *)mot_cpu_shared(d, PIECES * sizeof(double));
    int workers = mot_cpu_workers(d, n);
    if (workers == 1)
        sum_pieces(d, sums, x, n, (struct mot_range){0, PIECES});
    else
#pragma omp parallel for num_threads(workers) schedule(static)
        for (int part = 0; part < workers; part++)
            sum_pieces(d, sums, x, n, mot_cpu_share(PIECES, 1, part, workers));
    out[0] = 0;
    for (int piece = 0; piece < PIECES; piece++)
        out[0] += sums[piece];
}

void mot_cpu_clip(struct mot_device *d, float *scale, const double *sums, int n, float max_norm)
{
    (void)d;
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += sums[i];
    double s = max_norm > 0 ? (double)max_norm / (sqrt(sum) + 1e-6) : 1;
    scale[0] = s < 1 ? (float)s : 1;
}

/* A step's constants.  Both corrections are drawn out of the loop:
 *   lr (m / c1) / (sqrt(v / c2) + eps) = (lr sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)) */
struct rates {
    float scale, rate, keep, b1, a1, b2, a2, eps;
};

static void update(struct mot_device *d, float *w, float *m, float *v, float *grad,
                   struct mot_range r, struct rates c)
{
    double begin = mot_cpu_begin(d);
#pragma omp simd
    for (int64_t i = r.begin; i < r.end; i++) {
        float g = grad[i] * c.scale;
        m[i] = c.b1 * m[i] + c.a1 * g;
        v[i] = c.b2 * v[i] + c.a2 * (g * g);
        w[i] = c.keep * w[i] - c.rate * m[i] / (sqrtf(v[i]) + c.eps);
        grad[i] = 0;
    }
    mot_cpu_end(d, -1, begin);
}

void mot_cpu_adamw(struct mot_device *d, float *w, float *m, float *v, float *grad, int64_t n,
                   const float *scale, float lr, float b1, float b2, float eps, float decay,
                   int64_t step)
{
    double c1 = 1 - pow((double)b1, (double)step), c2 = 1 - pow((double)b2, (double)step);
    struct rates c = {
        .scale = scale[0],
        .rate = (float)((double)lr * sqrt(c2) / c1),
        .keep = (float)(1 - (double)lr * (double)decay),
        .b1 = b1,
        .a1 = 1 - b1,
        .b2 = b2,
        .a2 = 1 - b2,
        .eps = (float)((double)eps * sqrt(c2)),
    };
    int workers = mot_cpu_workers(d, 4 * n);
    if (workers == 1)
        update(d, w, m, v, grad, (struct mot_range){0, n}, c);
    else
#pragma omp parallel for num_threads(workers) schedule(static)
        for (int part = 0; part < workers; part++)
            update(d, w, m, v, grad, mot_cpu_share(n, 16, part, workers), c);
}
