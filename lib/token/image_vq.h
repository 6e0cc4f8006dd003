/* SPDX-License-Identifier: MIT
 *
 * image_vq.h - the embedded picture codec behind codec.h's functions of the same names.
 */
#ifndef MOT_IMAGE_VQ_H
#define MOT_IMAGE_VQ_H

#include "codec.h"

struct mot_image_vq;
struct mot_image_vq *mot_image_vq_load(const char *path) MOT_CHECKED;
void mot_image_vq_free(struct mot_image_vq *c);
int mot_image_vq_size(const struct mot_image_vq *c);
int mot_image_vq_tokens(const struct mot_image_vq *c);
int mot_image_vq_side(const struct mot_image_vq *c); /* pictures are squares of so many pixels */
/* The shorter side resized to `size`, the middle cut out. */
int mot_image_square(const struct mot_image *im, int size, struct mot_image *out) MOT_CHECKED;
/* square: as mot_image_square makes it. */
int mot_image_vq_encode(const struct mot_image_vq *c, const struct mot_image *square, int32_t *code) MOT_CHECKED;
/* code: one for each token, in range, or -1 where there is none and the picture becomes grey. */
int mot_image_vq_decode(const struct mot_image_vq *c, const int32_t *code, struct mot_image *out) MOT_CHECKED;

#endif
