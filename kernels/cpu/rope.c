/* SPDX-License-Identifier: MIT
 *
 * rope.c - from packed rows of q, k and v in sorted order to one array a head in sequence order,
 * with QK-norm and rotary positions (Su et al. 2021) on the way; and back.
 * One pass over memory does all of it, so that routing by modality needs no gather of its own.
 */
#include <math.h>
#include <omp.h>
#include <stdbool.h>

#include "cpu.h"

struct mot_cpu_need mot_cpu_rope_need(int threads, const struct mot_limits *l)
{
    size_t sums = (size_t)threads * (size_t)l->G * 2 * (size_t)l->D * sizeof(float);
    return (struct mot_cpu_need){.shared = l->train ? sums : 0};
}

static float rstd_of(const float *x, int64_t D, float eps)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += x[j] * x[j];
    return 1 / sqrtf(sum / (float)D + eps);
}

/* y = R norm(x), one head's D values; w NULL: no norm. */
static void turn(float *y, const float *x, const float *w, const float *cos, const float *sin,
                 int64_t D, float eps)
{
    int64_t half = D / 2;
    if (w) {
        float r = rstd_of(x, D, eps);
#pragma omp simd
        for (int64_t j = 0; j < half; j++) {
            float a = w[j] * (x[j] * r), b = w[j + half] * (x[j + half] * r);
            y[j] = a * cos[j] - b * sin[j];
            y[j + half] = b * cos[j] + a * sin[j];
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < half; j++) {
            float a = x[j], b = x[j + half];
            y[j] = a * cos[j] - b * sin[j];
            y[j + half] = b * cos[j] + a * sin[j];
        }
    }
}

/* dx from dy: turned the other way, for the transpose of R is its inverse. */
static void turn_back(float *dx, const float *dy, const float *cos, const float *sin, int64_t D)
{
    int64_t half = D / 2;
#pragma omp simd
    for (int64_t j = 0; j < half; j++) {
        float a = dy[j], b = dy[j + half];
        dx[j] = a * cos[j] + b * sin[j];
        dx[j + half] = b * cos[j] - a * sin[j];
    }
}

/* Then through the norm, in place; as in norm.c.  dw is this thread's sum. */
static void norm_back(float *dx, float *dw, const float *x, const float *w, int64_t D, float eps)
{
    float r = rstd_of(x, D, eps), s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t j = 0; j < D; j++)
        s += dx[j] * w[j] * x[j];
    s *= r * r / (float)D;
#pragma omp simd
    for (int64_t j = 0; j < D; j++) {
        float t = dx[j];
        dw[j] += t * (x[j] * r);
        dx[j] = r * (w[j] * t - x[j] * s);
    }
}

void mot_cpu_rope(struct mot_device *d, float *q, float *k, float *v, const float *qkv,
                  const float *params, const struct mot_group *g, int G, const int32_t *seq,
                  const int32_t *pos, const float *cos, const float *sin, int64_t N, int64_t H,
                  int64_t K, int64_t D, float eps)
{
    int64_t rows = mot_cpu_rows(g, G), width = (H + 2 * K) * D;
    int workers = mot_cpu_workers(d, 2 * rows * width);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range mine = mot_cpu_share(rows, 1, part, workers);
        int64_t seen = 0;
        for (int n = 0; n < G; n++) {
            struct mot_range r = mot_cpu_part(&g[n], mine, &seen);
            const float *wq = g[n].w >= 0 ? params + g[n].w : NULL;
            const float *wk = g[n].w >= 0 ? params + g[n].b : NULL;
            double begin = mot_cpu_begin(d);
            for (int64_t i = r.begin; i < r.end; i++) {
                const float *x = qkv + i * width;
                const float *c = cos + pos[i] * (D / 2), *s = sin + pos[i] * (D / 2);
                for (int64_t h = 0; h < H; h++, x += D)
                    turn(q + (h * N + seq[i]) * D, x, wq, c, s, D, eps);
                for (int64_t e = 0; e < K; e++, x += D)
                    turn(k + (e * N + seq[i]) * D, x, wk, c, s, D, eps);
                for (int64_t e = 0; e < K; e++, x += D)
                    memcpy(v + (e * N + seq[i]) * D, x, (size_t)D * sizeof(float));
            }
            mot_cpu_end(d, n, begin);
        }
    }
}

void mot_cpu_rope_back(struct mot_device *d, float *dqkv, float *grads, const float *dq,
                       const float *dk, const float *dv, const float *qkv, const float *params,
                       const struct mot_group *g, int G, const int32_t *seq, const int32_t *pos,
                       const float *cos, const float *sin, int64_t N, int64_t H, int64_t K,
                       int64_t D, float eps)
{
    int64_t rows = mot_cpu_rows(g, G), width = (H + 2 * K) * D;
    int workers = mot_cpu_workers(d, 2 * rows * width);
    float *sums = mot_cpu_shared(d, (size_t)(workers * G * 2 * D) * sizeof(float));
    memset(sums, 0, (size_t)(workers * G * 2 * D) * sizeof(float)); /* (workers,G,2,D) */

#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range mine = mot_cpu_share(rows, 1, part, workers);
        int64_t seen = 0;
        for (int n = 0; n < G; n++) {
            struct mot_range r = mot_cpu_part(&g[n], mine, &seen);
            bool norm = g[n].w >= 0;
            float *dwq = sums + (part * G + n) * 2 * D, *dwk = dwq + D;
            double begin = mot_cpu_begin(d);
            for (int64_t i = r.begin; i < r.end; i++) {
                int64_t at = i * width;
                const float *c = cos + pos[i] * (D / 2), *s = sin + pos[i] * (D / 2);
                for (int64_t h = 0; h < H; h++, at += D) {
                    turn_back(dqkv + at, dq + (h * N + seq[i]) * D, c, s, D);
                    if (norm)
                        norm_back(dqkv + at, dwq, qkv + at, params + g[n].w, D, eps);
                }
                for (int64_t e = 0; e < K; e++, at += D) {
                    turn_back(dqkv + at, dk + (e * N + seq[i]) * D, c, s, D);
                    if (norm)
                        norm_back(dqkv + at, dwk, qkv + at, params + g[n].b, D, eps);
                }
                for (int64_t e = 0; e < K; e++, at += D)
                    memcpy(dqkv + at, dv + (e * N + seq[i]) * D, (size_t)D * sizeof(float));
            }
            mot_cpu_end(d, n, begin);
        }
    }

    for (int n = 0; n < G; n++) {
        if (g[n].w < 0)
            continue;
        for (int64_t j = 0; j < D; j++) {
            float wq = 0, wk = 0;
            for (int part = 0; part < workers; part++) {
                wq += sums[(part * G + n) * 2 * D + j];
                wk += sums[((part * G + n) * 2 + 1) * D + j];
            }
            grads[g[n].w + j] += wq;
            grads[g[n].b + j] += wk;
        }
    }
}
