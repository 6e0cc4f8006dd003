/* SPDX-License-Identifier: MIT
 *
 * swiglu.c - the gated activation of the feed-forward network (Shazeer 2020) and its gradient.
 * The exponential is an inline polynomial, so both are one vectorised pass over memory.
 */
#include <omp.h>

#include "cpu.h"

void mot_cpu_swiglu(struct mot_device *d, float *h, const float *gu, int64_t N, int64_t F)
{
    int workers = mot_cpu_workers(d, 4 * N * F);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range rows = mot_cpu_share(N, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = rows.begin; i < rows.end; i++) {
            const float *gate = gu + i * 2 * F, *up = gate + F;
            float *h_i = h + i * F;
#pragma omp simd
            for (int64_t f = 0; f < F; f++)
                h_i[f] = gate[f] / (1 + mot_cpu_exp(-gate[f])) * up[f];
        }
        mot_cpu_end(d, -1, begin);
    }
}

/* With a = 1 / (1 + exp(-x)): silu(x) = x a and silu'(x) = a (1 + x (1 - a)).  dgu may be gu
 * itself, so both of a pair are read before either is written. */
void mot_cpu_swiglu_back(struct mot_device *d, float *dgu, const float *dh, const float *gu,
                         int64_t N, int64_t F)
{
    int workers = mot_cpu_workers(d, 8 * N * F);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range rows = mot_cpu_share(N, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = rows.begin; i < rows.end; i++) {
            const float *gate = gu + i * 2 * F, *up = gate + F, *dh_i = dh + i * F;
            float *dgate = dgu + i * 2 * F, *dup = dgate + F;
#pragma omp simd
            for (int64_t f = 0; f < F; f++) {
                float x = gate[f], u = up[f], dy = dh_i[f];
                float a = 1 / (1 + mot_cpu_exp(-x));
                dgate[f] = dy * u * (a * (1 + x * (1 - a)));
                dup[f] = dy * (x * a);
            }
        }
        mot_cpu_end(d, -1, begin);
    }
}
