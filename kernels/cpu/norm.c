/* SPDX-License-Identifier: MIT
 *
 * norm.c - RMSNorm (Zhang & Sennrich 2019) over rows, each group of rows with its own weight.
 *
 * All groups' rows are counted through and shared out in one parallel region.  The gradient of the
 * weights is a sum over rows: each thread sums its own rows, one row of C floats for each group,
 * and the threads' sums are then added in order of threads.
 */
#include <math.h>
#include <omp.h>

#include "cpu.h"

struct mot_cpu_need mot_cpu_norm_need(int threads, const struct mot_limits *l)
{
    int64_t C = l->norm_C > l->C ? l->norm_C : l->C;
    size_t sums = (size_t)threads * (size_t)l->G * (size_t)C * sizeof(float);
    return (struct mot_cpu_need){.shared = l->train ? sums : 0};
}

static float norm_row(float *y, const float *x, const float *res, const float *w, int64_t C,
                      float eps)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++)
        sum += x[c] * x[c];
    float r = 1 / sqrtf(sum / (float)C + eps);
    if (res) {
#pragma omp simd
        for (int64_t c = 0; c < C; c++)
            y[c] = res[c] + w[c] * (x[c] * r);
    } else {
#pragma omp simd
        for (int64_t c = 0; c < C; c++)
            y[c] = w[c] * (x[c] * r);
    }
    return r;
}

void mot_cpu_rmsnorm(struct mot_device *d, float *y, float *rstd, const float *x, const float *res,
                     const float *params, const struct mot_group *g, int G, int64_t C, float eps)
{
    int64_t N = mot_cpu_rows(g, G);
    int workers = mot_cpu_workers(d, 2 * N * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range mine = mot_cpu_share(N, 1, part, workers);
        int64_t seen = 0;
        for (int k = 0; k < G; k++) {
            struct mot_range r = mot_cpu_part(&g[k], mine, &seen);
            double begin = mot_cpu_begin(d);
            for (int64_t i = r.begin; i < r.end; i++)
                rstd[i] = norm_row(y + i * C, x + i * C, res ? res + i * C : NULL, params + g[k].w,
                                   C, eps);
            mot_cpu_end(d, k, begin);
        }
    }
}

static void norm_row_back(float *dx, float *dw, const float *dy, const float *x, const float *w,
                          float r, int64_t C, int add)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t c = 0; c < C; c++)
        s += dy[c] * w[c] * x[c];
    s *= r * r / (float)C; /* n s of the contract is x times this */
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        float dy_c = dy[c], old = add ? dx[c] : 0;
        dw[c] += dy_c * (x[c] * r);
        dx[c] = old + r * (w[c] * dy_c - x[c] * s);
    }
}

void mot_cpu_rmsnorm_back(struct mot_device *d, float *dx, float *grads, const float *dy,
                          const float *x, const float *rstd, const float *params,
                          const struct mot_group *g, int G, int64_t C, int add)
{
    int64_t N = mot_cpu_rows(g, G);
    int workers = mot_cpu_workers(d, 4 * N * C);
    float *sums = mot_cpu_shared(d, (size_t)(workers * G * C) * sizeof(float)); /* (workers,G,C) */
#pragma omp parallel num_threads(workers)
    {
#pragma omp for schedule(static)
        for (int part = 0; part < workers; part++) {
            struct mot_range mine = mot_cpu_share(N, 1, part, workers);
            int64_t seen = 0;
            float *dw = sums + part * G * C;
            memset(dw, 0, (size_t)(G * C) * sizeof(float));
            for (int k = 0; k < G; k++, dw += C) {
                struct mot_range r = mot_cpu_part(&g[k], mine, &seen);
                double begin = mot_cpu_begin(d);
                for (int64_t i = r.begin; i < r.end; i++)
                    norm_row_back(dx + i * C, dw, dy + i * C, x + i * C, params + g[k].w, rstd[i],
                                  C, add);
                mot_cpu_end(d, k, begin);
            }
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < C; c++)
            for (int k = 0; k < G; k++) {
                float sum = 0;
                for (int part = 0; part < workers; part++)
                    sum += sums[(part * G + k) * C + c];
                grads[g[k].w + c] += sum;
            }
    }
}
