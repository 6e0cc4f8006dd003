/* SPDX-License-Identifier: MIT
 *
 * patch.c - pictures whose tokens are vectors: what surrounds the products that take patches in and
 * out.  All are passes over memory, shared out by rows or, where rows are added up, by columns.
 */
#include <omp.h>

#include "cpu.h"

void mot_cpu_cast(struct mot_device *d, float *y, const float *x, int64_t row, int64_t rows, int64_t C)
{
    int workers = mot_cpu_workers(d, rows * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(rows, 1, part, workers);
        double begin = mot_cpu_begin(d);
        if (r.end > r.begin)
            memcpy(y + (row + r.begin) * C, x + (row + r.begin) * C,
                   (size_t)((r.end - r.begin) * C) * sizeof(float));
        mot_cpu_end(d, -1, begin);
    }
}

void mot_cpu_spread(struct mot_device *d, float *y, const float *e, const int32_t *of, int64_t row,
                    int64_t rows, int64_t C)
{
    int workers = mot_cpu_workers(d, rows * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(rows, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = row + r.begin; i < row + r.end; i++) {
            const float *from = e + of[i] * C;
            float *to = y + i * C;
#pragma omp simd
            for (int64_t c = 0; c < C; c++)
                to[c] += from[c];
        }
        mot_cpu_end(d, -1, begin);
    }
}

void mot_cpu_spread_back(struct mot_device *d, float *de, const float *dy, const int32_t *of,
                         int64_t row, int64_t rows, int64_t M, int64_t C)
{
    int workers = mot_cpu_workers(d, rows * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(C, 16, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t m = 0; m < M && r.end > r.begin; m++)
            memset(de + m * C + r.begin, 0, (size_t)(r.end - r.begin) * sizeof(float));
        for (int64_t i = row; i < row + rows; i++) {
            const float *from = dy + i * C;
            float *to = de + of[i] * C;
#pragma omp simd
            for (int64_t c = r.begin; c < r.end; c++)
                to[c] += from[c];
        }
        mot_cpu_end(d, -1, begin);
    }
}

void mot_cpu_unfold(struct mot_device *d, float *y, const float *x, const int32_t *near, int64_t N,
                    int64_t C)
{
    int workers = mot_cpu_workers(d, 9 * N * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(9 * N, 9, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = r.begin; i < r.end; i++)
            if (near[i] < 0)
                memset(y + i * C, 0, (size_t)C * sizeof(float));
            else
                memcpy(y + i * C, x + near[i] * C, (size_t)C * sizeof(float));
        mot_cpu_end(d, -1, begin);
    }
}

void mot_cpu_unfold_back(struct mot_device *d, float *dx, const float *dy, const int32_t *near,
                         int64_t N, int64_t C)
{
    int workers = mot_cpu_workers(d, 9 * N * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(N, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t j = r.begin; j < r.end; j++) {
            float *to = dx + j * C;
            memset(to, 0, (size_t)C * sizeof(float));
            for (int t = 0; t < 9; t++) {
                int32_t i = near[9 * j + 8 - t];
                if (i < 0)
                    continue;
                const float *from = dy + (9 * (int64_t)i + t) * C;
#pragma omp simd
                for (int64_t c = 0; c < C; c++)
                    to[c] += from[c];
            }
        }
        mot_cpu_end(d, -1, begin);
    }
}

/* One row; dx may be NULL. */
static float row_error(float *dx, const float *x, const float *target, float factor, int64_t C)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++) {
        float off = x[c] - target[c];
        sum += off * off;
    }
    if (dx)
#pragma omp simd
        for (int64_t c = 0; c < C; c++)
            dx[c] = factor * (x[c] - target[c]);
    return sum;
}

void mot_cpu_squared_error(struct mot_device *d, float *loss, float *dx, const float *x,
                           const float *target, const float *weight, int64_t row, int64_t rows,
                           int64_t C)
{
    int workers = mot_cpu_workers(d, 4 * rows * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(rows, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = row + r.begin; i < row + r.end; i++)
            loss[i] = row_error(dx ? dx + i * C : NULL, x + i * C, target + i * C,
                                dx ? 2 * weight[i] / (float)C : 0, C) /
                      (float)C;
        mot_cpu_end(d, -1, begin);
    }
}

void mot_cpu_silu(struct mot_device *d, float *y, const float *x, int64_t n)
{
    int workers = mot_cpu_workers(d, 4 * n);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(n, 16, part, workers);
        double begin = mot_cpu_begin(d);
#pragma omp simd
        for (int64_t i = r.begin; i < r.end; i++)
            y[i] = x[i] / (1 + mot_cpu_exp(-x[i]));
        mot_cpu_end(d, -1, begin);
    }
}

/* With a = 1 / (1 + exp(-x)): silu'(x) = a (1 + x (1 - a)). */
void mot_cpu_silu_back(struct mot_device *d, float *dx, const float *dy, const float *x, int64_t n)
{
    int workers = mot_cpu_workers(d, 8 * n);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(n, 16, part, workers);
        double begin = mot_cpu_begin(d);
#pragma omp simd
        for (int64_t i = r.begin; i < r.end; i++) {
            float a = 1 / (1 + mot_cpu_exp(-x[i]));
            dx[i] = dy[i] * (a * (1 + x[i] * (1 - a)));
        }
        mot_cpu_end(d, -1, begin);
    }
}
