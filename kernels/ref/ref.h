/* SPDX-License-Identifier: MIT
 *
 * ref.h - the operations of the reference backend that stand in a file of their own.
 */
#ifndef MOT_REF_H
#define MOT_REF_H

#include "../kernels.h"

/* -- of them all (ref.c) -- */
double *mot_ref_scratch(struct mot_device *d, int64_t n); /* n zeros, until it is asked for again */
double mot_ref_dot(const mot_real *a, const mot_real *b, int64_t n);

/* -- attention (attention.c) -- */
void mot_ref_attention(struct mot_device *d, mot_real *o, mot_real *lse, const mot_real *q,
                       const mot_real *k, const mot_real *v, const int32_t *row,
                       const int32_t *until, const struct mot_segment *segments,
                       int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D,
                       mot_real scale);
void mot_ref_remember(struct mot_device *d, const struct mot_past *past, int64_t layer,
                      const mot_real *k, const mot_real *v, const struct mot_segment *segments,
                      int64_t n_segments, int64_t N, int64_t K, int64_t D);
void mot_ref_attention_past(struct mot_device *d, mot_real *o, const mot_real *q,
                            const struct mot_past *past, int64_t layer, const int32_t *row,
                            int64_t N, int64_t H, int64_t K, int64_t D, mot_real scale);
void mot_ref_attention_back(struct mot_device *d, mot_real *dq, mot_real *dk, mot_real *dv,
                            const mot_real *dO, const mot_real *o, const mot_real *lse,
                            const mot_real *q, const mot_real *k, const mot_real *v,
                            const int32_t *row, const int32_t *until,
                            const struct mot_segment *segments, int64_t n_segments, int64_t N,
                            int64_t H, int64_t K, int64_t D, mot_real scale);

/* -- encoders of pictures and sounds (encoder.c) -- */
void mot_ref_conv2d(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                    const mot_real *b, const struct mot_conv *conv, int add);
void mot_ref_groupnorm(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                       const mot_real *b, int64_t N, int64_t C, int64_t groups, mot_real eps,
                       enum mot_nonlinearity act);
void mot_ref_layernorm(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                       const mot_real *b, int64_t N, int64_t C, mot_real eps, enum mot_nonlinearity act);
void mot_ref_activate(struct mot_device *d, mot_real *y, const mot_real *x, int64_t n,
                      enum mot_nonlinearity act, int add);
void mot_ref_attend(struct mot_device *d, mot_real *o, const mot_real *qkv, int64_t N, int64_t H,
                    int64_t D, mot_real scale);

/* -- pictures whose tokens are vectors (patch.c) -- */
void mot_ref_cast(struct mot_device *d, mot_real *y, const mot_real *x, int64_t row, int64_t rows, int64_t C);
void mot_ref_uncast(struct mot_device *d, mot_real *y, const mot_real *x, int64_t row, int64_t rows, int64_t C);
void mot_ref_spread(struct mot_device *d, mot_real *y, const mot_real *e, const int32_t *of, int64_t row,
                    int64_t rows, int64_t C);
void mot_ref_spread_back(struct mot_device *d, mot_real *de, const mot_real *dy, const int32_t *of,
                         int64_t row, int64_t rows, int64_t M, int64_t C);
void mot_ref_squared_error(struct mot_device *d, mot_real *loss, mot_real *dx, const mot_real *x,
                           const mot_real *target, const mot_real *weight, int64_t row, int64_t rows,
                           int64_t C);
void mot_ref_silu(struct mot_device *d, mot_real *y, const mot_real *x, int64_t n);
void mot_ref_unfold(struct mot_device *d, mot_real *y, const mot_real *x, const int32_t *near, int64_t N, int64_t C);
void mot_ref_unfold_back(struct mot_device *d, mot_real *dx, const mot_real *dy, const int32_t *near, int64_t N, int64_t C);
void mot_ref_silu_back(struct mot_device *d, mot_real *dx, const mot_real *dy, const mot_real *x, int64_t n);

#endif
