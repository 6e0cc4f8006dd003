/* SPDX-License-Identifier: MIT
 *
 * grouped.h - linear, linear_back_x and linear_back_w in bf16, each one launch for up to MOST_GROUPS groups.
 */
#ifndef MOT_CUDA_GROUPED_H
#define MOT_CUDA_GROUPED_H

#include "cuda.h"

namespace mot_cuda
{

/* Rows of a batch of a model of width C up to which all its products are made so. */
int64_t grouped_most(const mot_device *d, int64_t C);
/* Are those of these groups? */
bool grouped_suits(const mot_device *d, const mot_group *g, int G);

void grouped_linear(mot_device *d, float *y, const float *x, const float *params, const mot_group *g, int G,
                    int64_t I, int64_t O, int add);
void grouped_back_x(mot_device *d, float *dx, const float *dy, const float *params, const mot_group *g, int G,
                    int64_t I, int64_t O, int add);
/* Without the biases'. */
void grouped_back_w(mot_device *d, float *grads, const float *dy, const float *x, const mot_group *g, int G,
                    int64_t I, int64_t O);

} // namespace mot_cuda

#endif
