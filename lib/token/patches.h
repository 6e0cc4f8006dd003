/* SPDX-License-Identifier: MIT
 *
 * patches.h - pictures whose tokens stand for vectors: squares cut from a field of values, and the codec whose field is the
 * picture's own pixels.
 */
#ifndef MOT_PATCHES_H
#define MOT_PATCHES_H

#include "codec.h"

/* Append field (rows, columns, channels) to out as a picture of `patch` x `patch` squares, row by row, each in the order of
 * row, column, channel.  patch divides rows and columns.  Values that binary16 cannot hold: MOT_EARG. */
int mot_patches_cut(const float *field, int rows, int columns, int channels, int patch, struct mot_latents *out) MOT_CHECKED;
/* The inverse: g's values to the field (g->rows * patch, g->columns * patch, channels). */
void mot_patches_join(const struct mot_grid *g, const uint16_t *value, int channels, int patch, float *field);

struct mot_pixels;
struct mot_pixels *mot_pixels_load(const char *path) MOT_CHECKED;
void mot_pixels_free(struct mot_pixels *p);
int mot_pixels_side(const struct mot_pixels *p);
int mot_pixels_patch(const struct mot_pixels *p);
/* square: of mot_pixels_side pixels. */
int mot_pixels_encode(const struct mot_pixels *p, const struct mot_image *square, struct mot_latents *out) MOT_CHECKED;
/* Any rows and columns. */
int mot_pixels_decode(const struct mot_pixels *p, const struct mot_grid *g, const uint16_t *value, struct mot_image *out)
    MOT_CHECKED;
/* Are there such patches? */
int mot_pixels_check(int image_size, int patch) MOT_CHECKED;
/* The file of such a codec. */
int mot_pixels_save(int image_size, int patch, const char *path) MOT_CHECKED;

#endif
