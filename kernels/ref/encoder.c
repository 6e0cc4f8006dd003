/* SPDX-License-Identifier: MIT
 *
 * encoder.c - the reference for the operations of picture and sound encoders, as ref.c has the rest.
 */
#include <math.h>

#include "ref.h"

static double act_of(double x, enum mot_nonlinearity act)
{
    switch (act) {
    case MOT_ACT_SILU:
        return x / (1 + exp(-x));
    case MOT_ACT_GELU:
        return x * (1 + erf(x / sqrt(2))) / 2;
    default:
        return x;
    }
}

/* The value of channel c at row i and column j of the enlarged input; 0 outside. */
static double pixel(const mot_real *x, const struct mot_conv *v, int64_t i, int64_t j, int64_t c)
{
    if (i < 0 || j < 0 || i >= v->H * v->up || j >= v->W * v->up)
        return 0;
    return (double)x[(i / v->up * v->W + j / v->up) * v->C + c];
}

static double conv_sum(const mot_real *x, const mot_real *w, const struct mot_conv *v, int64_t oy,
                       int64_t ox, int64_t o)
{
    int64_t I = v->C / v->groups, O = v->O / v->groups, g = o / O;
    double sum = 0;
    for (int64_t ky = 0; ky < v->kh; ky++)
        for (int64_t kx = 0; kx < v->kw; kx++)
            for (int64_t c = 0; c < I; c++)
                sum += pixel(x, v, oy * v->stride + ky - v->top, ox * v->stride + kx - v->left,
                             g * I + c) *
                       (double)w[(((g * v->kh + ky) * v->kw + kx) * I + c) * O + o % O];
    return sum;
}

void mot_ref_conv2d(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                    const mot_real *b, const struct mot_conv *v, int add)
{
    (void)d;
    for (int64_t oy = 0; oy < v->OH; oy++)
        for (int64_t ox = 0; ox < v->OW; ox++)
            for (int64_t o = 0; o < v->O; o++) {
                mot_real *to = y + (oy * v->OW + ox) * v->O + o;
                double sum = conv_sum(x, w, v, oy, ox, o) + (b ? (double)b[o] : 0);
                *to = (mot_real)(sum + (add ? (double)*to : 0));
            }
}

/* One group: channels [c0, c0 + width) of N rows that are C apart. */
static void norm_group(mot_real *y, const mot_real *x, const mot_real *w, const mot_real *b,
                       int64_t N, int64_t C, int64_t c0, int64_t width, mot_real eps,
                       enum mot_nonlinearity act)
{
    double mean = 0, var = 0, n = (double)(N * width);
    for (int64_t i = 0; i < N; i++)
        for (int64_t c = c0; c < c0 + width; c++)
            mean += (double)x[i * C + c] / n;
    for (int64_t i = 0; i < N; i++)
        for (int64_t c = c0; c < c0 + width; c++)
            var += ((double)x[i * C + c] - mean) * ((double)x[i * C + c] - mean) / n;
    for (int64_t i = 0; i < N; i++)
        for (int64_t c = c0; c < c0 + width; c++) {
            double normed = ((double)x[i * C + c] - mean) / sqrt(var + (double)eps);
            y[i * C + c] = (mot_real)act_of((double)w[c] * normed + (double)b[c], act);
        }
}

void mot_ref_groupnorm(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                       const mot_real *b, int64_t N, int64_t C, int64_t groups, mot_real eps,
                       enum mot_nonlinearity act)
{
    (void)d;
    for (int64_t g = 0; g < groups; g++)
        norm_group(y, x, w, b, N, C, g * (C / groups), C / groups, eps, act);
}

void mot_ref_layernorm(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                       const mot_real *b, int64_t N, int64_t C, mot_real eps, enum mot_nonlinearity act)
{
    (void)d;
    for (int64_t i = 0; i < N; i++)
        norm_group(y + i * C, x + i * C, w, b, 1, C, 0, C, eps, act);
}

void mot_ref_activate(struct mot_device *d, mot_real *y, const mot_real *x, int64_t n,
                      enum mot_nonlinearity act, int add)
{
    (void)d;
    for (int64_t i = 0; i < n; i++)
        y[i] = (mot_real)(act_of((double)x[i], act) + (add ? (double)y[i] : 0));
}

static double score(const mot_real *q, const mot_real *k, int64_t D, mot_real scale)
{
    double sum = 0;
    for (int64_t j = 0; j < D; j++)
        sum += (double)q[j] * (double)k[j];
    return sum * (double)scale;
}

void mot_ref_attend(struct mot_device *d, mot_real *o, const mot_real *qkv, int64_t N, int64_t H,
                    int64_t D, mot_real scale)
{
    (void)d;
    int64_t row = 3 * H * D;
    for (int64_t h = 0; h < H; h++)
        for (int64_t i = 0; i < N; i++) {
            const mot_real *q = qkv + i * row + h * D, *k = qkv + (H + h) * D, *v = k + H * D;
            double max = -INFINITY, sum = 0;
            for (int64_t t = 0; t < N; t++)
                max = fmax(max, score(q, k + t * row, D, scale));
            for (int64_t t = 0; t < N; t++)
                sum += exp(score(q, k + t * row, D, scale) - max);
            for (int64_t j = 0; j < D; j++) {
                double mean = 0;
                for (int64_t t = 0; t < N; t++)
                    mean += exp(score(q, k + t * row, D, scale) - max) / sum *
                            (double)v[t * row + j];
                o[(i * H + h) * D + j] = (mot_real)mean;
            }
        }
}
