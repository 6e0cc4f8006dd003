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

void mot_cpu_sumsq(struct mot_device *d, double *out, const float *x, int64_t n)
{
    double *sums = (double *)(void *)mot_cpu_shared(d, PIECES * sizeof(double));
    int workers = mot_cpu_workers(d, n);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range mine = mot_cpu_share(PIECES, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t piece = mine.begin; piece < mine.end; piece++) {
            struct mot_range r = mot_cpu_share(n, 16, (int)piece, PIECES);
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = r.begin; i < r.end; i++)
                sum += (double)x[i] * (double)x[i];
            sums[piece] = sum;
        }
        mot_cpu_end(d, -1, begin);
    }
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

/* Both corrections are drawn out of the loop:
 *   lr (m / c1) / (sqrt(v / c2) + eps) = (lr sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)) */
void mot_cpu_adamw(struct mot_device *d, float *w, float *m, float *v, float *grad, int64_t n,
                   const float *scale, float lr, float b1, float b2, float eps, float decay,
                   int64_t step)
{
    double c1 = 1 - pow((double)b1, (double)step), c2 = 1 - pow((double)b2, (double)step);
    float rate = (float)((double)lr * sqrt(c2) / c1), eps2 = (float)((double)eps * sqrt(c2));
    float keep = (float)(1 - (double)lr * (double)decay), s = scale[0];
    float a1 = 1 - b1, a2 = 1 - b2;
    int workers = mot_cpu_workers(d, 4 * n);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(n, 16, part, workers);
        double begin = mot_cpu_begin(d);
#pragma omp simd
        for (int64_t i = r.begin; i < r.end; i++) {
            float g = grad[i] * s;
            m[i] = b1 * m[i] + a1 * g;
            v[i] = b2 * v[i] + a2 * (g * g);
            w[i] = keep * w[i] - rate * m[i] / (sqrtf(v[i]) + eps2);
            grad[i] = 0;
        }
        mot_cpu_end(d, -1, begin);
    }
}
