/* SPDX-License-Identifier: MIT
 *
 * held.h - a document kept beyond the reader's next one, as rows of a batch.
 */
#ifndef MOT_HELD_H
#define MOT_HELD_H

#include "../base/base.h"

/* A document's last token has no row, as it predicts nothing, unless it stands for a vector. */
struct mot_held {
    int32_t *id; /* (n + 1): what a row has for its target stands behind it */
    int64_t n, rows;
    struct mot_picture *picture; /* in the document's rows; their values in `latent` */
    int64_t n_pictures, n_latent;
    uint16_t *latent;
};
int mot_held_copy(struct mot_held *h, const struct mot_vocab *v, const struct mot_doc *d) MOT_CHECKED;
void mot_held_free(struct mot_held *h);
/* Add rows [from, from + n) to a batch as a piece, with the pictures that begin there. */
int mot_held_add(const struct mot_held *h, int64_t from, int64_t n, struct mot_batch *b) MOT_CHECKED;

#endif
