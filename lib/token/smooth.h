/* SPDX-License-Identifier: MIT
 *
 * smooth.h - what is done to a decoded picture at last: filters that make it more like the pictures
 * that were learned from, as video coders have them in their loop.
 */
#ifndef MOT_SMOOTH_H
#define MOT_SMOOTH_H

#include "kmeans.h"

enum {
    MOT_SMOOTH_CLASSES = 8,
    MOT_SMOOTH_REACH = 2, /* a filter sees 5 x 5 pixels */
    MOT_SMOOTH_TAPS = (2 * MOT_SMOOTH_REACH + 1) * (2 * MOT_SMOOTH_REACH + 1) * 3 + 1
};

/* A pixel's class is how many of the levels its neighbourhood's activity exceeds. */
struct mot_smooth {
    float level[MOT_SMOOTH_CLASSES - 1]; /* ascending */
    float weight[MOT_SMOOTH_CLASSES * 3 * MOT_SMOOTH_TAPS];
};

/* Learn from n decoded pictures (size, size, 3) and what they should have been, values about 0. */
int mot_smooth_learn(struct mot_smooth *s, float *const *decoded, float *const *original, int64_t n,
                     int size) MOT_CHECKED;
int mot_smooth_apply(const struct mot_smooth *s, const float *x, int size, float *out) MOT_CHECKED;

#endif
