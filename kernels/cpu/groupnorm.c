/* SPDX-License-Identifier: MIT
 *
 * groupnorm.c - norms with mean and bias, and activations, of encoders of pictures and sounds.
 *
 * Group norms sum over all rows: each chunk of rows has its own sums, and they are added in order of
 * chunks, so the number of threads does not show in a single bit.
 */
#include <math.h>
#include <omp.h>

#include "cpu.h"

enum { CHUNK = 128 }; /* rows: so few that sums in float over them are exact to 1e-6 */

static int64_t chunks_of(int64_t rows)
{
    return (rows + CHUNK - 1) / CHUNK;
}

struct mot_cpu_need mot_cpu_groupnorm_need(int threads, const struct mot_limits *l)
{
    (void)threads;
    size_t sums = (size_t)(chunks_of(l->norm_rows) * l->norm_width);
    return (struct mot_cpu_need){
        .shared = sums * sizeof(double) + 2 * (size_t)l->norm_width * sizeof(float),
        .scratch = (size_t)l->norm_width * sizeof(float),
    };
}

/* erf(x), to 4e-7, in a form that gcc vectorises: 1 - (a1 t + ... + a5 t^5) exp(-x^2) with
 * t = 1 / (1 + p |x|).  (Abramowitz & Stegun 1964, 7.1.26) */
static inline float erf_of(float x)
{
    float size = fabsf(x), t = 1 / (1 + 0.3275911f * size);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    return copysignf(1 - p * t * mot_cpu_exp(-size * size), x);
}

static inline __attribute__((always_inline)) float act_of(float x, enum mot_nonlinearity act)
{
    if (act == MOT_ACT_SILU)
        return x / (1 + mot_cpu_exp(-x));
    if (act == MOT_ACT_GELU)
        return 0.5f * x * (1 + erf_of(x * 0.707106781f));
    return x;
}

/* What a row is made to: act(scale[c] (x[c] - mean[c]) + b[c]); scale NULL: act(x[c]). */
struct affine {
    const float *mean, *scale, *b;
};

/* Inlined with act constant. */
static inline __attribute__((always_inline)) void finish_row(float *y, const float *x,
                                                             struct affine a, int64_t C,
                                                             enum mot_nonlinearity act)
{
    if (!a.scale) {
#pragma omp simd
        for (int64_t c = 0; c < C; c++)
            y[c] = act_of(x[c], act);
        return;
    }
#pragma omp simd
    for (int64_t c = 0; c < C; c++)
        y[c] = act_of((x[c] - a.mean[c]) * a.scale[c] + a.b[c], act);
}

static void finish(float *y, const float *x, struct affine a, int64_t C, enum mot_nonlinearity act)
{
    switch (act) {
    case MOT_ACT_SILU:
        finish_row(y, x, a, C, MOT_ACT_SILU);
        break;
    case MOT_ACT_GELU:
        finish_row(y, x, a, C, MOT_ACT_GELU);
        break;
    default:
        finish_row(y, x, a, C, MOT_ACT_NONE);
    }
}

/* sum[g] = sum over a chunk's rows and a group's channels of (x - mean)^power, power 1 or 2.  mean
 * (C); column (C) is the thread's. */
static void sum_chunk(double *sum, float *column, const float *x, const float *mean, int64_t rows,
                      int64_t C, int64_t groups, int power)
{
    memset(column, 0, (size_t)C * sizeof *column);
    for (int64_t i = 0; i < rows; i++, x += C) {
        if (power == 1) {
#pragma omp simd
            for (int64_t c = 0; c < C; c++)
                column[c] += x[c];
        } else {
#pragma omp simd
            for (int64_t c = 0; c < C; c++)
                column[c] += (x[c] - mean[c]) * (x[c] - mean[c]);
        }
    }
    for (int64_t c = 0, width = C / groups; c < C; c++)
        sum[c / width] = (c % width ? sum[c / width] : 0) + (double)column[c];
}

/* The mean of a group over the chunks' sums (chunks,groups). */
static double mean_of(const double *sum, int64_t chunks, int64_t groups, int64_t g, double n)
{
    double total = 0;
    for (int64_t k = 0; k < chunks; k++)
        total += sum[k * groups + g];
    return total / n;
}

void mot_cpu_groupnorm(struct mot_device *d, float *y, const float *x, const float *w,
                       const float *b, int64_t N, int64_t C, int64_t groups, float eps,
                       enum mot_nonlinearity act)
{
    int64_t chunks = chunks_of(N), width = C / groups;
    int workers = mot_cpu_workers(d, 8 * N * C);
    size_t bytes = (size_t)(chunks * groups) * sizeof(double);
    float *block = mot_cpu_shared(d, bytes + 2 * (size_t)C * sizeof(float));
    double *sum = (double *)(void *)block; /* (chunks,groups) */
    float *scale = (float *)(void *)((char *)block + bytes), *mean = scale + C;
    struct affine a = {mean, scale, b};
#pragma omp parallel num_threads(workers)
    {
        float *column =
            mot_cpu_scratch(d, omp_get_thread_num(), (size_t)C * sizeof(float));
        for (int power = 1; power <= 2; power++) {
#pragma omp for schedule(static)
            for (int64_t k = 0; k < chunks; k++) {
                double begin = mot_cpu_begin(d);
                int64_t rows = N - k * CHUNK < CHUNK ? N - k * CHUNK : CHUNK;
                sum_chunk(sum + k * groups, column, x + k * CHUNK * C, mean, rows, C, groups,
                          power);
                mot_cpu_end(d, -1, begin);
            }
#pragma omp for schedule(static)
            for (int64_t g = 0; g < groups; g++) {
                double of_group = mean_of(sum, chunks, groups, g, (double)(N * width));
                for (int64_t c = g * width; c < (g + 1) * width; c++)
                    if (power == 1)
                        mean[c] = (float)of_group;
                    else
                        scale[c] = (float)((double)w[c] / sqrt(of_group + (double)eps));
            }
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < N; i++)
            finish(y + i * C, x + i * C, a, C, act);
    }
}

static void layernorm_row(float *y, const float *x, const float *w, const float *b, int64_t C,
                          float eps, enum mot_nonlinearity act)
{
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++)
        sum += x[c];
    float mean = sum / (float)C;
#pragma omp simd reduction(+ : square)
    for (int64_t c = 0; c < C; c++)
        square += (x[c] - mean) * (x[c] - mean);
    float r = 1 / sqrtf(square / (float)C + eps);
#pragma omp simd
    for (int64_t c = 0; c < C; c++)
        y[c] = w[c] * ((x[c] - mean) * r) + b[c];
    if (act != MOT_ACT_NONE)
        finish(y, y, (struct affine){0}, C, act);
}

void mot_cpu_layernorm(struct mot_device *d, float *y, const float *x, const float *w,
                       const float *b, int64_t N, int64_t C, float eps, enum mot_nonlinearity act)
{
    int workers = mot_cpu_workers(d, 4 * N * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range rows = mot_cpu_share(N, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = rows.begin; i < rows.end; i++)
            layernorm_row(y + i * C, x + i * C, w, b, C, eps, act);
        mot_cpu_end(d, -1, begin);
    }
}

/* y += act(x), by way of a few values at a time */
static void add_activated(float *y, const float *x, int64_t n, enum mot_nonlinearity act)
{
    float some[256];
    for (int64_t i = 0; i < n; i += 256) {
        int64_t count = n - i < 256 ? n - i : 256;
        finish(some, x + i, (struct affine){0}, count, act);
#pragma omp simd
        for (int64_t j = 0; j < count; j++)
            y[i + j] += some[j];
    }
}

void mot_cpu_activate(struct mot_device *d, float *y, const float *x, int64_t n,
                      enum mot_nonlinearity act, int add)
{
    int workers = mot_cpu_workers(d, 4 * n);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(n, 16, part, workers);
        double begin = mot_cpu_begin(d);
        if (add)
            add_activated(y + r.begin, x + r.begin, r.end - r.begin, act);
        else
            finish(y + r.begin, x + r.begin, (struct affine){0}, r.end - r.begin, act);
        mot_cpu_end(d, -1, begin);
    }
}
