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

/* Values that the norms of q's or of k's heads have. */
static int64_t norm_values(enum mot_head_norm norm, int64_t heads, int64_t D)
{
    return norm == MOT_HEAD_RMS ? D : 2 * heads * D;
}

/* A thread sums the gradients of norms by itself; which kind they are is not known yet. */
struct mot_cpu_need mot_cpu_rope_need(int threads, const struct mot_limits *l)
{
    int64_t sums = threads * (int64_t)l->G * norm_values(MOT_HEAD_LAYER, l->H + l->K, l->D);
    return (struct mot_cpu_need){.shared = l->train ? (size_t)sums * sizeof(float) : 0};
}

static float rstd_of(const float *x, int64_t D, float eps)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += x[j] * x[j];
    return 1 / sqrtf(sum / (float)D + eps);
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int64_t D, float eps)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += x[j];
    float mean = sum / (float)D;
#pragma omp simd
    for (int64_t j = 0; j < D; j++)
        y[j] = x[j] - mean;
    float r = rstd_of(y, D, eps);
#pragma omp simd
    for (int64_t j = 0; j < D; j++)
        y[j] = w[j] * (y[j] * r) + b[j];
}

/* y = R norm(x), one head's D values; w NULL: no norm.  y may be x without one. */
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

/* The same for head h of heads with norms of kind norm at w. */
static void turn_head(float *y, const float *x, const float *w, enum mot_head_norm norm, int64_t h,
                      int64_t heads, const float *cos, const float *sin, int64_t D, float eps)
{
    if (!w || norm == MOT_HEAD_RMS) {
        turn(y, x, w, cos, sin, D, eps);
    } else {
        layer_norm(y, x, w + h * D, w + (heads + h) * D, D, eps);
        turn(y, y, NULL, cos, sin, D, eps);
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

/* With n = (x - mean) r:  dx = r (w t - mean(w t) - n mean(w t n)). */
static void layer_back(float *dx, float *dw, float *db, const float *x, const float *w, int64_t D,
                       float eps)
{
    float sum = 0, square = 0, moved = 0, s = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += x[j];
    float mean = sum / (float)D;
#pragma omp simd reduction(+ : square, moved, s)
    for (int64_t j = 0; j < D; j++) {
        float c = x[j] - mean, t = dx[j] * w[j];
        square += c * c;
        moved += t;
        s += t * c;
    }
    float r = 1 / sqrtf(square / (float)D + eps);
    moved /= (float)D;
    s *= r * r / (float)D;
#pragma omp simd
    for (int64_t j = 0; j < D; j++) {
        float t = dx[j], c = x[j] - mean;
        dw[j] += t * (c * r);
        db[j] += t;
        dx[j] = r * (w[j] * t - moved - c * s);
    }
}

/* dx of head h from dy; the sums of its norm's gradients lie at dw as the norm does at w. */
static void head_back(float *dx, float *dw, const float *dy, const float *x, const float *w,
                      enum mot_head_norm norm, int64_t h, int64_t heads, const float *cos,
                      const float *sin, int64_t D, float eps)
{
    turn_back(dx, dy, cos, sin, D);
    if (w && norm == MOT_HEAD_RMS)
        norm_back(dx, dw, x, w, D, eps);
    else if (w)
        layer_back(dx, dw + h * D, dw + (heads + h) * D, x, w + h * D, D, eps);
}

void mot_cpu_rope(struct mot_device *d, float *q, float *k, float *v, const float *qkv,
                  const float *params, const struct mot_group *g, int G, const int32_t *seq,
                  const int32_t *pos, const float *cos, const float *sin, int64_t N, int64_t H,
                  int64_t K, int64_t D, enum mot_head_norm norm, float eps)
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
                    turn_head(q + (h * N + seq[i]) * D, x, wq, norm, h, H, c, s, D, eps);
                for (int64_t e = 0; e < K; e++, x += D)
                    turn_head(k + (e * N + seq[i]) * D, x, wk, norm, e, K, c, s, D, eps);
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
                       int64_t D, enum mot_head_norm norm, float eps)
{
    int64_t rows = mot_cpu_rows(g, G), width = (H + 2 * K) * D;
    int64_t of_q = norm_values(norm, H, D), of_k = norm_values(norm, K, D), values = of_q + of_k;
    int workers = mot_cpu_workers(d, 2 * rows * width);
    float *sums = mot_cpu_shared(d, (size_t)(workers * G * values) * sizeof(float));
    memset(sums, 0, (size_t)(workers * G * values) * sizeof(float)); /* (workers,G,values) */

#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range mine = mot_cpu_share(rows, 1, part, workers);
        int64_t seen = 0;
        for (int n = 0; n < G; n++) {
            struct mot_range r = mot_cpu_part(&g[n], mine, &seen);
            const float *wq = g[n].w >= 0 ? params + g[n].w : NULL;
            const float *wk = g[n].w >= 0 ? params + g[n].b : NULL;
            float *dwq = sums + (part * G + n) * values, *dwk = dwq + of_q;
            double begin = mot_cpu_begin(d);
            for (int64_t i = r.begin; i < r.end; i++) {
                int64_t at = i * width;
                const float *c = cos + pos[i] * (D / 2), *s = sin + pos[i] * (D / 2);
                const float *x = wq ? qkv + at : NULL;
                for (int64_t h = 0; h < H; h++, at += D)
                    head_back(dqkv + at, dwq, dq + (h * N + seq[i]) * D, x ? x + h * D : NULL, wq,
                              norm, h, H, c, s, D, eps);
                for (int64_t e = 0; e < K; e++, at += D)
                    head_back(dqkv + at, dwk, dk + (e * N + seq[i]) * D,
                              x ? x + (H + e) * D : NULL, wk, norm, e, K, c, s, D, eps);
                for (int64_t e = 0; e < K; e++, at += D)
                    memcpy(dqkv + at, dv + (e * N + seq[i]) * D, (size_t)D * sizeof(float));
            }
            mot_cpu_end(d, n, begin);
        }
    }

    for (int n = 0; n < G; n++)
        for (int64_t j = 0; g[n].w >= 0 && j < values; j++) {
            float sum = 0;
            for (int part = 0; part < workers; part++)
                sum += sums[(part * G + n) * values + j];
            grads[j < of_q ? g[n].w + j : g[n].b + j - of_q] += sum;
        }
}
