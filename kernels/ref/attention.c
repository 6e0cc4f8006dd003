/* SPDX-License-Identifier: MIT
 *
 * attention.c - attention within a batch and to a past, by the formulas in kernels.h, in double precision.
 */
#include <math.h>

#include "ref.h"

/* The first key that query s does not see any more. */
static int64_t seen(const int32_t *until, int64_t s)
{
    return until ? until[s] : s + 1;
}

void mot_ref_attention(struct mot_device *d, mot_real *o, mot_real *lse, const mot_real *q,
                       const mot_real *k, const mot_real *v, const int32_t *row,
                       const int32_t *until, const struct mot_segment *segments,
                       int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D,
                       mot_real scale)
{
    for (int64_t h = 0; h < H; h++) {
        int64_t e = h * K / H;
        for (int64_t n = 0; n < n_segments; n++) {
            int64_t begin = segments[n].begin, end = begin + segments[n].length;
            for (int64_t s = begin; s < end; s++) {
                const mot_real *q_s = q + (h * N + s) * D;
                const mot_real *k_e = k + e * N * D, *v_e = v + e * N * D;
                double *sum = mot_ref_scratch(d, D), max = -INFINITY, z = 0;
                for (int64_t t = begin; t < seen(until, s); t++)
                    max = fmax(max, (double)scale * mot_ref_dot(q_s, k_e + t * D, D));
                for (int64_t t = begin; t < seen(until, s); t++) {
                    double p = exp((double)scale * mot_ref_dot(q_s, k_e + t * D, D) - max);
                    z += p;
                    for (int64_t j = 0; j < D; j++)
                        sum[j] += p * (double)v_e[t * D + j];
                }
                for (int64_t j = 0; j < D; j++)
                    o[(row[s] * H + h) * D + j] = (mot_real)(sum[j] / z);
                lse[h * N + s] = (mot_real)(max + log(z));
            }
        }
    }
}

void mot_ref_remember(struct mot_device *d, const struct mot_past *past, int64_t layer,
                      const mot_real *k, const mot_real *v, const struct mot_segment *segments,
                      int64_t n_segments, int64_t N, int64_t K, int64_t D)
{
    (void)d;
    for (int64_t n = 0; n < n_segments; n++)
        for (int64_t e = 0; e < K; e++)
            for (int64_t i = 0; i < segments[n].length; i++)
                for (int64_t j = 0; j < D; j++) {
                    int64_t from = (e * N + segments[n].begin + i) * D + j;
                    int64_t to = (past[n].length + i) * D + j;
                    int64_t head = past[n].capacity * D;
                    past[n].kv[(2 * layer * K + e) * head + to] = k[from];
                    past[n].kv[(2 * layer * K + K + e) * head + to] = v[from];
                }
}

void mot_ref_attention_past(struct mot_device *d, mot_real *o, const mot_real *q,
                            const struct mot_past *past, int64_t layer, const int32_t *row,
                            int64_t N, int64_t H, int64_t K, int64_t D, mot_real scale)
{
    for (int64_t h = 0; h < H; h++)
        for (int64_t s = 0; s < N; s++) {
            const mot_real *q_s = q + (h * N + s) * D;
            int64_t head = past[s].capacity * D, e = h * K / H;
            const mot_real *k_e = past[s].kv + (2 * layer * K + e) * head, *v_e = k_e + K * head;
            double *sum = mot_ref_scratch(d, D), max = -INFINITY, z = 0;
            for (int64_t t = 0; t <= past[s].length; t++)
                max = fmax(max, (double)scale * mot_ref_dot(q_s, k_e + t * D, D));
            for (int64_t t = 0; t <= past[s].length; t++) {
                double p = exp((double)scale * mot_ref_dot(q_s, k_e + t * D, D) - max);
                z += p;
                for (int64_t j = 0; j < D; j++)
                    sum[j] += p * (double)v_e[t * D + j];
            }
            for (int64_t j = 0; j < D; j++)
                o[(row[s] * H + h) * D + j] = (mot_real)(sum[j] / z);
        }
}

/* With P[s,t] = exp(scale q_s k_t - lse_s) and o_s = sum_t P[s,t] v_t:
 *   dv_t = sum_s P[s,t] dO_s;   dP[s,t] = dO_s v_t;
 *   dS[s,t] = P[s,t] (dP[s,t] - sum_u P[s,u] dP[s,u]), and this sum is dO_s o_s;
 *   dq_s = scale sum_t dS[s,t] k_t;   dk_t = scale sum_s dS[s,t] q_s. */
void mot_ref_attention_back(struct mot_device *d, mot_real *dq, mot_real *dk, mot_real *dv,
                            const mot_real *dO, const mot_real *o, const mot_real *lse,
                            const mot_real *q, const mot_real *k, const mot_real *v,
                            const int32_t *row, const int32_t *until,
                            const struct mot_segment *segments, int64_t n_segments, int64_t N,
                            int64_t H, int64_t K, int64_t D, mot_real scale)
{
    for (int64_t n = 0; n < n_segments; n++) {
        int64_t begin = segments[n].begin, end = begin + segments[n].length;

        for (int64_t h = 0; h < H; h++) /* each query looks back */
            for (int64_t s = begin; s < end; s++) {
                const mot_real *q_s = q + (h * N + s) * D;
                const mot_real *dO_s = dO + (row[s] * H + h) * D, *o_s = o + (row[s] * H + h) * D;
                double *sum = mot_ref_scratch(d, D), mean = mot_ref_dot(dO_s, o_s, D);
                for (int64_t t = begin; t < seen(until, s); t++) {
                    const mot_real *k_t = k + (h * K / H * N + t) * D,
                                   *v_t = v + (h * K / H * N + t) * D;
                    double p = exp((double)scale * mot_ref_dot(q_s, k_t, D) - (double)lse[h * N + s]);
                    double ds = p * (mot_ref_dot(dO_s, v_t, D) - mean);
                    for (int64_t j = 0; j < D; j++)
                        sum[j] += (double)scale * ds * (double)k_t[j];
                }
                for (int64_t j = 0; j < D; j++)
                    dq[(h * N + s) * D + j] = (mot_real)sum[j];
            }

        for (int64_t e = 0; e < K; e++) /* each key looks ahead, over all heads that share it */
            for (int64_t t = begin; t < end; t++) {
                const mot_real *k_t = k + (e * N + t) * D, *v_t = v + (e * N + t) * D;
                double *sum_k = mot_ref_scratch(d, 2 * D), *sum_v = sum_k + D;
                for (int64_t h = e * (H / K); h < (e + 1) * (H / K); h++)
                    for (int64_t s = begin; s < end; s++) {
                        if (t >= seen(until, s))
                            continue;
                        const mot_real *q_s = q + (h * N + s) * D;
                        const mot_real *dO_s = dO + (row[s] * H + h) * D;
                        double mean = mot_ref_dot(dO_s, o + (row[s] * H + h) * D, D);
                        double p = exp((double)scale * mot_ref_dot(q_s, k_t, D) - (double)lse[h * N + s]);
                        double ds = p * (mot_ref_dot(dO_s, v_t, D) - mean);
                        for (int64_t j = 0; j < D; j++) {
                            sum_k[j] += (double)scale * ds * (double)q_s[j];
                            sum_v[j] += p * (double)dO_s[j];
                        }
                    }
                for (int64_t j = 0; j < D; j++) {
                    dk[(e * N + t) * D + j] = (mot_real)sum_k[j];
                    dv[(e * N + t) * D + j] = (mot_real)sum_v[j];
                }
            }
    }
}
