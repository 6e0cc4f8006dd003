/* SPDX-License-Identifier: MIT
 *
 * ref.c - every operation of kernels.h as plainly as its formula can be written: one thread, no
 * blocks, no fused passes, all arithmetic in double over arrays of mot_real, each sum complete
 * before it is rounded.  It is the definition that kernels/cpu and kernels/cuda are tested against,
 * and, compiled with MOT_REAL_IS_DOUBLE, what the gradient tests compare with finite differences.
 * Sums are recomputed rather than stored, so the only workspace is a few rows of doubles.
 */
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

struct mot_device {
    double *scratch; /* rows of sums, see mot_ref_scratch() */
    size_t scratch_n;
};

/* -- the device ------------------------------------------------------------------------------- */

static struct mot_device *ref_open(int threads, char *err, size_t err_size)
{
    (void)threads;
    struct mot_device *d = calloc(1, sizeof *d);
    if (!d && err_size > 0)
        snprintf(err, err_size, "ref: out of memory");
    return d;
}

static void ref_close(struct mot_device *d)
{
    if (d)
        free(d->scratch);
    free(d);
}

static int ref_threads(const struct mot_device *d)
{
    (void)d;
    return 1;
}

/* The most doubles that any operation asks mot_ref_scratch() for. */
static size_t scratch_need(const struct mot_limits *l)
{
    int64_t n = l->norm_C > l->C ? l->norm_C : l->C;
    n = l->D > n ? l->D : n;
    return 2 * (size_t)n;
}

static size_t ref_workspace(const struct mot_device *d, const struct mot_limits *l)
{
    (void)d;
    return scratch_need(l) * sizeof(double);
}

static int ref_reserve(struct mot_device *d, const struct mot_limits *l)
{
    free(d->scratch);
    d->scratch_n = scratch_need(l);
    d->scratch = calloc(d->scratch_n + 1, sizeof(double));
    return d->scratch ? 0 : -1;
}

double *mot_ref_scratch(struct mot_device *d, int64_t n)
{
    assert(d->scratch && (size_t)n <= d->scratch_n &&
           "reserve() with limits that are large enough");
    memset(d->scratch, 0, (size_t)n * sizeof(double));
    return d->scratch;
}

static void *ref_alloc(struct mot_device *d, size_t bytes)
{
    (void)d;
    if (bytes > SIZE_MAX - 128)
        return NULL;
    return aligned_alloc(64, (bytes / 64 + 1) * 64);
}

static void ref_free(struct mot_device *d, void *p)
{
    (void)d;
    free(p);
}

static void ref_write(struct mot_device *d, void *to, const void *host, size_t bytes)
{
    (void)d;
    if (bytes > 0)
        memcpy(to, host, bytes);
}

static int ref_batch(struct mot_device *d, const struct mot_mix *mix)
{
    (void)d, (void)mix;
    return 0;
}

static int ref_repeat(struct mot_device *d, const void *key, size_t n)
{
    (void)d, (void)key, (void)n;
    return 0;
}

static void ref_about(struct mot_device *d, struct mot_about *a)
{
    (void)d;
    *a = (struct mot_about){0};
}

static int ref_repeated(struct mot_device *d)
{
    (void)d;
    return 0;
}

static void ref_read(struct mot_device *d, void *host, const void *from, size_t bytes)
{
    ref_write(d, host, from, bytes);
}

static void ref_zero(struct mot_device *d, void *to, size_t bytes)
{
    (void)d;
    if (bytes > 0)
        memset(to, 0, bytes);
}

static int ref_sync(struct mot_device *d)
{
    (void)d;
    return 0;
}

static const char *ref_error(const struct mot_device *d)
{
    (void)d;
    return "";
}

static void ref_watch(struct mot_device *d, struct mot_watch *w)
{
    (void)d, (void)w;
}

static void ref_mark(struct mot_device *d, int64_t layer, int backward)
{
    (void)d, (void)layer, (void)backward;
}

/* -- small helpers ---------------------------------------------------------------------------- */

double mot_ref_dot(const mot_real *a, const mot_real *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

/* y (+)= x, rounded once */
static void store(mot_real *y, double x, int add)
{
    *y = (mot_real)(add ? (double)*y + x : x);
}

/* -- embedding -------------------------------------------------------------------------------- */

static void ref_embed(struct mot_device *d, mot_real *y, const mot_real *table, const int32_t *id,
                      int64_t N, int64_t C, int64_t V)
{
    (void)d;
    for (int64_t i = 0; i < N; i++) {
        assert(id[i] >= 0 && id[i] < V);
        for (int64_t c = 0; c < C; c++)
            y[i * C + c] = table[id[i] * C + c];
    }
}

static void ref_embed_back(struct mot_device *d, mot_real *dtable, const mot_real *dy,
                           const int32_t *id, int64_t N, int64_t C, int64_t V)
{
    (void)d;
    for (int64_t i = 0; i < N; i++) {
        assert(id[i] >= 0 && id[i] < V);
        for (int64_t c = 0; c < C; c++)
            store(&dtable[id[i] * C + c], (double)dy[i * C + c], 1);
    }
}

/* -- norms ------------------------------------------------------------------------------------ */

static double rms_rstd(const mot_real *x, int64_t n, mot_real eps)
{
    return 1 / sqrt(mot_ref_dot(x, x, n) / (double)n + (double)eps);
}

static void ref_rmsnorm(struct mot_device *d, mot_real *y, mot_real *rstd, const mot_real *x,
                        const mot_real *res, const mot_real *params, const struct mot_group *g,
                        int G, int64_t C, mot_real eps)
{
    (void)d;
    for (int k = 0; k < G; k++) {
        const mot_real *w = params + g[k].w;
        for (int64_t i = g[k].row; i < g[k].row + g[k].rows; i++) {
            double r = rms_rstd(x + i * C, C, eps);
            for (int64_t c = 0; c < C; c++) {
                double old = res ? (double)res[i * C + c] : 0;
                y[i * C + c] = (mot_real)(old + (double)w[c] * (double)x[i * C + c] * r);
            }
            rstd[i] = (mot_real)r;
        }
    }
}

/* n = x r depends on x directly and through r = (mean x^2 + eps)^-1/2:
 *   dn_b / dx_c = r [b = c] - x_b r^3 x_c / C,  so with a = w dy (the gradient of n)
 *   dx_c = r a_c - r^3 x_c (sum_b a_b x_b) / C = r (a_c - n_c mean_b(a_b n_b)) */
static void ref_rmsnorm_back(struct mot_device *d, mot_real *dx, mot_real *grads,
                             const mot_real *dy, const mot_real *x, const mot_real *rstd,
                             const mot_real *params, const struct mot_group *g, int G, int64_t C,
                             int add)
{
    for (int k = 0; k < G; k++) {
        const mot_real *w = params + g[k].w;
        double *dw = mot_ref_scratch(d, C);
        for (int64_t i = g[k].row; i < g[k].row + g[k].rows; i++) {
            const mot_real *dy_i = dy + i * C, *x_i = x + i * C;
            double r = (double)rstd[i], s = 0;
            for (int64_t c = 0; c < C; c++) {
                double n = (double)x_i[c] * r;
                s += (double)dy_i[c] * (double)w[c] * n;
                dw[c] += (double)dy_i[c] * n;
            }
            s /= (double)C;
            for (int64_t c = 0; c < C; c++)
                store(&dx[i * C + c], r * ((double)w[c] * (double)dy_i[c] - (double)x_i[c] * r * s),
                      add);
        }
        for (int64_t c = 0; c < C; c++)
            store(&grads[g[k].w + c], dw[c], 1);
    }
}

/* -- grouped linear --------------------------------------------------------------------------- */

static void ref_linear(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *params,
                       const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    (void)d;
    for (int k = 0; k < G; k++)
        for (int64_t i = g[k].row; i < g[k].row + g[k].rows; i++)
            for (int64_t o = 0; o < O; o++) {
                double s = mot_ref_dot(x + i * I, params + g[k].w + o * I, I);
                if (g[k].b >= 0)
                    s += (double)params[g[k].b + o];
                store(&y[i * O + o], s, add);
            }
}

static void ref_linear_back_x(struct mot_device *d, mot_real *dx, const mot_real *dy,
                              const mot_real *params, const struct mot_group *g, int G, int64_t I,
                              int64_t O, int add)
{
    (void)d;
    for (int k = 0; k < G; k++)
        for (int64_t i = g[k].row; i < g[k].row + g[k].rows; i++)
            for (int64_t c = 0; c < I; c++) {
                double s = 0;
                for (int64_t o = 0; o < O; o++)
                    s += (double)dy[i * O + o] * (double)params[g[k].w + o * I + c];
                store(&dx[i * I + c], s, add);
            }
}

static void ref_linear_back_w(struct mot_device *d, mot_real *grads, const mot_real *dy,
                              const mot_real *x, const struct mot_group *g, int G, int64_t I,
                              int64_t O)
{
    (void)d;
    for (int k = 0; k < G; k++) {
        int64_t begin = g[k].row, end = g[k].row + g[k].rows;
        for (int64_t o = 0; o < O; o++) {
            for (int64_t c = 0; c < I; c++) {
                double s = 0;
                for (int64_t i = begin; i < end; i++)
                    s += (double)dy[i * O + o] * (double)x[i * I + c];
                store(&grads[g[k].w + o * I + c], s, 1);
            }
            if (g[k].b < 0)
                continue;
            double s = 0;
            for (int64_t i = begin; i < end; i++)
                s += (double)dy[i * O + o];
            store(&grads[g[k].b + o], s, 1);
        }
    }
}

/* -- heads ------------------------------------------------------------------------------------ */

/* A head's norm: its weight, and its bias in a LayerNorm; NULL where there is none. */
struct head_norm {
    const mot_real *w, *b;
};

static struct head_norm norm_of(const mot_real *at, enum mot_head_norm norm, int64_t head,
                                int64_t heads, int64_t D)
{
    if (!at || norm == MOT_HEAD_RMS)
        return (struct head_norm){at, NULL};
    return (struct head_norm){at + head * D, at + (heads + head) * D};
}

/* What is taken from x before it is scaled, and the scale. */
static double centre(const mot_real *x, struct head_norm n, int64_t D)
{
    double sum = 0;
    for (int64_t j = 0; j < D && n.b; j++)
        sum += (double)x[j];
    return sum / (double)D;
}

static double head_rstd(const mot_real *x, double mean, int64_t D, mot_real eps)
{
    double sum = 0;
    for (int64_t j = 0; j < D; j++)
        sum += ((double)x[j] - mean) * ((double)x[j] - mean);
    return 1 / sqrt(sum / (double)D + (double)eps);
}

/* y = R norm(x) for one head's D values.  cos, sin: the row of the position. */
static void rotate(mot_real *y, const mot_real *x, struct head_norm n, const mot_real *cos,
                   const mot_real *sin, int64_t D, mot_real eps)
{
    int64_t half = D / 2;
    double mean = n.w ? centre(x, n, D) : 0, r = n.w ? head_rstd(x, mean, D, eps) : 1;
    for (int64_t j = 0; j < half; j++) {
        double a = ((double)x[j] - mean) * r * (n.w ? (double)n.w[j] : 1);
        double b = ((double)x[j + half] - mean) * r * (n.w ? (double)n.w[j + half] : 1);
        a += n.b ? (double)n.b[j] : 0;
        b += n.b ? (double)n.b[j + half] : 0;
        y[j] = (mot_real)(a * (double)cos[j] - b * (double)sin[j]);
        y[j + half] = (mot_real)(b * (double)cos[j] + a * (double)sin[j]);
    }
}

/* The mirror: dx from dy, and the gradients of the norm += at dw and db.  R is orthogonal, so its
 * transpose turns the other way.  With n = (x - mean) r and t the gradient of the norm's output:
 *   dx = r (w t - n mean(w t n));  in a LayerNorm, whose mean moves too, less r mean(w t). */
static void rotate_back(struct mot_device *d, mot_real *dx, mot_real *dw, mot_real *db,
                        const mot_real *dy, const mot_real *x, struct head_norm norm,
                        const mot_real *cos, const mot_real *sin, int64_t D, mot_real eps)
{
    int64_t half = D / 2;
    double *t = mot_ref_scratch(d, D);
    for (int64_t j = 0; j < half; j++) {
        t[j] = (double)dy[j] * (double)cos[j] + (double)dy[j + half] * (double)sin[j];
        t[j + half] = (double)dy[j + half] * (double)cos[j] - (double)dy[j] * (double)sin[j];
    }
    if (norm.w) {
        double mean = centre(x, norm, D), r = head_rstd(x, mean, D, eps), s = 0, moved = 0;
        for (int64_t j = 0; j < D; j++) {
            s += t[j] * (double)norm.w[j] * ((double)x[j] - mean) * r / (double)D;
            moved += norm.b ? t[j] * (double)norm.w[j] / (double)D : 0;
        }
        for (int64_t j = 0; j < D; j++) {
            double n = ((double)x[j] - mean) * r;
            store(&dw[j], t[j] * n, 1);
            if (norm.b)
                store(&db[j], t[j], 1);
            t[j] = r * ((double)norm.w[j] * t[j] - n * s - moved);
        }
    }
    for (int64_t j = 0; j < D; j++)
        dx[j] = (mot_real)t[j];
}

static void ref_rope(struct mot_device *d, mot_real *q, mot_real *k, mot_real *v,
                     const mot_real *qkv, const mot_real *params, const struct mot_group *g, int G,
                     const int32_t *seq, const int32_t *pos, const mot_real *cos,
                     const mot_real *sin, int64_t N, int64_t H, int64_t K, int64_t D,
                     enum mot_head_norm norm, mot_real eps)
{
    (void)d;
    for (int n = 0; n < G; n++) {
        const mot_real *wq = g[n].w >= 0 ? params + g[n].w : NULL;
        const mot_real *wk = g[n].w >= 0 ? params + g[n].b : NULL;
        for (int64_t i = g[n].row; i < g[n].row + g[n].rows; i++) {
            const mot_real *x = qkv + i * (H + 2 * K) * D;
            const mot_real *c = cos + pos[i] * (D / 2), *s = sin + pos[i] * (D / 2);
            for (int64_t h = 0; h < H; h++)
                rotate(q + (h * N + seq[i]) * D, x + h * D, norm_of(wq, norm, h, H, D), c, s, D, eps);
            for (int64_t e = 0; e < K; e++)
                rotate(k + (e * N + seq[i]) * D, x + (H + e) * D, norm_of(wk, norm, e, K, D), c, s,
                       D, eps);
            for (int64_t e = 0; e < K; e++)
                for (int64_t j = 0; j < D; j++)
                    v[(e * N + seq[i]) * D + j] = x[(H + K + e) * D + j];
        }
    }
}

/* The gradients of one head's norm lie as the norm does; NULL where there is none. */
static void head_back(struct mot_device *d, mot_real *dx, mot_real *dnorm, const mot_real *dy,
                      const mot_real *x, const mot_real *at, enum mot_head_norm norm, int64_t head,
                      int64_t heads, const mot_real *cos, const mot_real *sin, int64_t D,
                      mot_real eps)
{
    struct head_norm n = norm_of(at, norm, head, heads, D);
    mot_real *dw = n.w ? dnorm + (n.w - at) : NULL, *db = n.b ? dnorm + (n.b - at) : NULL;
    rotate_back(d, dx, dw, db, dy, x, n, cos, sin, D, eps);
}

static void ref_rope_back(struct mot_device *d, mot_real *dqkv, mot_real *grads, const mot_real *dq,
                          const mot_real *dk, const mot_real *dv, const mot_real *qkv,
                          const mot_real *params, const struct mot_group *g, int G,
                          const int32_t *seq, const int32_t *pos, const mot_real *cos,
                          const mot_real *sin, int64_t N, int64_t H, int64_t K, int64_t D,
                          enum mot_head_norm norm, mot_real eps)
{
    for (int n = 0; n < G; n++) {
        bool any = g[n].w >= 0;
        const mot_real *wq = any ? params + g[n].w : NULL, *wk = any ? params + g[n].b : NULL;
        mot_real *dwq = any ? grads + g[n].w : NULL, *dwk = any ? grads + g[n].b : NULL;
        for (int64_t i = g[n].row; i < g[n].row + g[n].rows; i++) {
            int64_t at = i * (H + 2 * K) * D;
            const mot_real *c = cos + pos[i] * (D / 2), *s = sin + pos[i] * (D / 2);
            for (int64_t h = 0; h < H; h++, at += D)
                head_back(d, dqkv + at, dwq, dq + (h * N + seq[i]) * D, any ? qkv + at : NULL, wq,
                          norm, h, H, c, s, D, eps);
            for (int64_t e = 0; e < K; e++, at += D)
                head_back(d, dqkv + at, dwk, dk + (e * N + seq[i]) * D, any ? qkv + at : NULL, wk,
                          norm, e, K, c, s, D, eps);
            for (int64_t e = 0; e < K; e++, at += D)
                for (int64_t j = 0; j < D; j++)
                    dqkv[at + j] = dv[(e * N + seq[i]) * D + j];
        }
    }
}

static void ref_logits(struct mot_device *d, mot_real *z, const mot_act *x, const mot_real *w,
                       int64_t N, int64_t C, int64_t V)
{
    (void)d;
    for (int64_t i = 0; i < N; i++)
        for (int64_t j = 0; j < V; j++)
            z[i * V + j] = (mot_real)mot_ref_dot(x + i * C, w + j * C, C);
}

/* -- feed-forward ----------------------------------------------------------------------------- */

static void ref_swiglu(struct mot_device *d, mot_real *h, const mot_real *gu, int64_t N, int64_t F)
{
    (void)d;
    for (int64_t i = 0; i < N; i++)
        for (int64_t f = 0; f < F; f++) {
            double x = (double)gu[i * 2 * F + f], u = (double)gu[i * 2 * F + F + f];
            h[i * F + f] = (mot_real)(x / (1 + exp(-x)) * u);
        }
}

/* silu(x) = x a with a = 1 / (1 + exp(-x)) and a' = a (1 - a), so silu'(x) = a (1 + x (1 - a)) */
static void ref_swiglu_back(struct mot_device *d, mot_real *dgu, const mot_real *dh,
                            const mot_real *gu, int64_t N, int64_t F)
{
    (void)d;
    for (int64_t i = 0; i < N; i++)
        for (int64_t f = 0; f < F; f++) {
            double x = (double)gu[i * 2 * F + f], u = (double)gu[i * 2 * F + F + f];
            double a = 1 / (1 + exp(-x)), dy = (double)dh[i * F + f];
            dgu[i * 2 * F + f] = (mot_real)(dy * u * a * (1 + x * (1 - a)));
            dgu[i * 2 * F + F + f] = (mot_real)(dy * x * a);
        }
}

/* -- head and loss ---------------------------------------------------------------------------- */

static double log_sum_exp(const mot_real *x, const mot_real *w, int64_t C, int64_t V)
{
    double max = -INFINITY, z = 0;
    for (int64_t j = 0; j < V; j++)
        max = fmax(max, mot_ref_dot(x, w + j * C, C));
    for (int64_t j = 0; j < V; j++)
        z += exp(mot_ref_dot(x, w + j * C, C) - max);
    return max + log(z);
}

/* The loss of a row is (1) lse - z_target + zloss lse^2, and dlse / dz_j = softmax_j. */
static double dlogit(double z, double lse, double weight, double zloss, bool target)
{
    return weight * ((1 + 2 * zloss * lse) * exp(z - lse) - (target ? 1 : 0));
}

static void ref_head_loss(struct mot_device *d, mot_real *nll, mot_real *lse, mot_real *dx,
                          mot_real *dw, const mot_real *x, const mot_real *w, const int32_t *target,
                          const mot_real *weight, mot_real zloss, int64_t N, int64_t C, int64_t V)
{
    for (int64_t i = 0; i < N; i++) {
        assert(target[i] >= 0 && target[i] < V);
        double l = log_sum_exp(x + i * C, w, C, V);
        nll[i] = (mot_real)(l - mot_ref_dot(x + i * C, w + target[i] * C, C));
        lse[i] = (mot_real)l;
    }
    if (!dx)
        return;
    for (int64_t i = 0; i < N; i++) {
        double *sum = mot_ref_scratch(d, C);
        for (int64_t j = 0; j < V; j++) {
            double dz = dlogit(mot_ref_dot(x + i * C, w + j * C, C), (double)lse[i], (double)weight[i],
                               (double)zloss, j == target[i]);
            for (int64_t c = 0; c < C; c++)
                sum[c] += dz * (double)w[j * C + c];
        }
        for (int64_t c = 0; c < C; c++)
            dx[i * C + c] = (mot_real)sum[c];
    }
    for (int64_t j = 0; j < V; j++) {
        double *sum = mot_ref_scratch(d, C);
        for (int64_t i = 0; i < N; i++) {
            double dz = dlogit(mot_ref_dot(x + i * C, w + j * C, C), (double)lse[i], (double)weight[i],
                               (double)zloss, j == target[i]);
            for (int64_t c = 0; c < C; c++)
                sum[c] += dz * (double)x[i * C + c];
        }
        for (int64_t c = 0; c < C; c++)
            store(&dw[j * C + c], sum[c], 1);
    }
}

/* -- optimizer -------------------------------------------------------------------------------- */

static void ref_sumsq(struct mot_device *d, double *out, const mot_real *x, int64_t n)
{
    (void)d;
    out[0] = mot_ref_dot(x, x, n);
}

static void ref_clip(struct mot_device *d, mot_real *scale, const double *sums, int n,
                     mot_real max_norm)
{
    (void)d;
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += sums[i];
    double s = max_norm > 0 ? (double)max_norm / (sqrt(sum) + 1e-6) : 1;
    scale[0] = (mot_real)(s < 1 ? s : 1);
}

static void ref_adamw(struct mot_device *d, mot_real *w, mot_real *m, mot_real *v, mot_real *grad,
                      int64_t n, const mot_real *scale, mot_real lr, mot_real b1, mot_real b2,
                      mot_real eps, mot_real decay, int64_t step)
{
    (void)d;
    double correct1 = 1 - pow((double)b1, (double)step),
           correct2 = 1 - pow((double)b2, (double)step);
    for (int64_t i = 0; i < n; i++) {
        double g = (double)grad[i] * (double)scale[0];
        double m_i = (double)b1 * (double)m[i] + (1 - (double)b1) * g;
        double v_i = (double)b2 * (double)v[i] + (1 - (double)b2) * g * g;
        double move = m_i / correct1 / (sqrt(v_i / correct2) + (double)eps);
        w[i] = (mot_real)((double)w[i] - (double)lr * ((double)decay * (double)w[i] + move));
        m[i] = (mot_real)m_i;
        v[i] = (mot_real)v_i;
        grad[i] = 0;
    }
}

const struct mot_kernels mot_kernels_ref = {
    .name = "ref",
    .activation = sizeof(mot_real),
    .open = ref_open,
    .close = ref_close,
    .threads = ref_threads,
    .workspace = ref_workspace,
    .reserve = ref_reserve,
    .alloc = ref_alloc,
    .free = ref_free,
    .write = ref_write,
    .batch = ref_batch,
    .repeat = ref_repeat,
    .repeated = ref_repeated,
    .about = ref_about,
    .read = ref_read,
    .collect = ref_read,
    .copy = ref_write,
    .zero = ref_zero,
    .sync = ref_sync,
    .error = ref_error,
    .watch = ref_watch,
    .mark = ref_mark,
    .embed = ref_embed,
    .embed_back = ref_embed_back,
    .rmsnorm = ref_rmsnorm,
    .rmsnorm_back = ref_rmsnorm_back,
    .linear = ref_linear,
    .linear_back_x = ref_linear_back_x,
    .linear_back_w = ref_linear_back_w,
    .rope = ref_rope,
    .rope_back = ref_rope_back,
    .attention = mot_ref_attention,
    .attention_back = mot_ref_attention_back,
    .remember = mot_ref_remember,
    .attention_past = mot_ref_attention_past,
    .logits = ref_logits,
    .conv2d = mot_ref_conv2d,
    .groupnorm = mot_ref_groupnorm,
    .layernorm = mot_ref_layernorm,
    .activate = mot_ref_activate,
    .attend = mot_ref_attend,
    .cast = mot_ref_cast,
    .uncast = mot_ref_uncast,
    .spread = mot_ref_spread,
    .spread_back = mot_ref_spread_back,
    .unfold = mot_ref_unfold,
    .unfold_back = mot_ref_unfold_back,
    .squared_error = mot_ref_squared_error,
    .silu = mot_ref_silu,
    .silu_back = mot_ref_silu_back,
    .swiglu = ref_swiglu,
    .swiglu_back = ref_swiglu_back,
    .head_loss = ref_head_loss,
    .sumsq = ref_sumsq,
    .clip = ref_clip,
    .adamw = ref_adamw,
};
