/* SPDX-License-Identifier: MIT
 *
 * lapped.h - lapped vector quantisation, the method of both codecs: a field (a picture, or a
 * spectrogram taken as a picture one row high) is cut into patches of one code each, and a code's
 * stamp reaches over the patch's edge into its neighbours. The decoded field is the sum of the
 * stamps.  Near the field's edges, where stamps of neighbours are missing, it is that sum over the
 * sum of the tapers.
 */
#ifndef MOT_LAPPED_H
#define MOT_LAPPED_H

#include "kmeans.h"

struct mot_lapped {
    int codes, channels;
    int patch_h, patch_w; /* a patch */
    int margin_h,
        margin_w; /* how far a stamp reaches beyond it on each side; at most half a patch */
    /* derived: */
    int window_h, window_w; /* patch + 2 margin */
    int dim;                /* window_h * window_w * channels */
    float *stamp;           /* (codes, window_h, window_w, channels) */
    float *taper; /* (dim) weights of a window; those of overlapping windows add up to 1 */
    float
        *gain; /* (16, dim) what a stamp is multiplied by, by which edges of the field it touches */
    float *norm; /* (16, codes) squared lengths of stamps after that */
    struct mot_codebook search;
};
/* x (rows * patch_h, cols * patch_w, channels); code (rows, cols). */
struct mot_field {
    int rows, cols;
    float *x;
};
/* Set the sizes and allocate; on failure nothing is held.  Then fill stamp and call ready, or
 * learn. */
int mot_lapped_init(struct mot_lapped *q, int codes, int channels, const int patch[2],
                    const int margin[2]) MOT_CHECKED;
int mot_lapped_ready(struct mot_lapped *q) MOT_CHECKED;
void mot_lapped_free(struct mot_lapped *q);
int mot_lapped_encode(const struct mot_lapped *q, const struct mot_field *f,
                      int32_t *code) MOT_CHECKED;
/* Overwrites f->x. A code of -1 stamps nothing. */
void mot_lapped_decode(const struct mot_lapped *q, const int32_t *code, struct mot_field *f);
/* Learn the stamps from n fields, at least one of them not empty. */
int mot_lapped_learn(struct mot_lapped *q, const struct mot_field *field, int64_t n, uint64_t seed,
                     const struct mot_report *r) MOT_CHECKED;

#endif
