/* SPDX-License-Identifier: MIT
 *
 * batch.c - a batch in sequence order: ids, targets, where its pieces begin, and its pictures of vectors.
 *
 * It only grows; a batch that is refilled keeps its memory, so a step allocates nothing.
 */
#include "../base/base.h"

void mot_batch_free(struct mot_batch *b)
{
    mot_free(b->id);
    mot_free(b->target);
    mot_free(b->piece);
    mot_free(b->picture);
    mot_free(b->latent);
    *b = (struct mot_batch){0};
}

void mot_batch_clear(struct mot_batch *b)
{
    b->n = b->n_pieces = b->n_pictures = b->n_latent = 0;
}

int mot_batch_add_picture(struct mot_batch *b, const struct mot_picture *p, const uint16_t *value, int64_t n)
{
    int64_t at = b->n_latent;
    int rc = mot_grow((void **)&b->picture, b->n_pictures, &b->picture_capacity, sizeof *b->picture);
    if (!rc)
        rc = mot_values_append(&b->latent, &b->n_latent, &b->latent_capacity, value, n);
    if (rc)
        return rc;
    b->picture[b->n_pictures] = *p;
    b->picture[b->n_pictures++].latent = at;
    return MOT_OK;
}

int mot_batch_add(struct mot_batch *b, const int32_t *id, int64_t n)
{
    if (b->n + n > b->capacity) {
        int64_t capacity = b->capacity + b->capacity / 2;
        if (capacity < b->n + n)
            capacity = b->n + n;
        int32_t *p = mot_realloc(b->id, (size_t)capacity, sizeof *p);
        if (!p)
            return MOT_ENOMEM;
        b->id = p;
        p = mot_realloc(b->target, (size_t)capacity, sizeof *p);
        if (!p)
            return MOT_ENOMEM;
        b->target = p;
        b->capacity = capacity;
    }
    /* one more than pieces: the end of the last */
    int rc = mot_grow((void **)&b->piece, b->n_pieces + 1, &b->piece_capacity, sizeof *b->piece);
    if (rc)
        return rc;
    if (n) {
        memcpy(b->id + b->n, id, (size_t)n * sizeof *id);
        memcpy(b->target + b->n, id + 1, (size_t)n * sizeof *id);
    }
    b->piece[b->n_pieces++] = b->n;
    b->n += n;
    b->piece[b->n_pieces] = b->n;
    return MOT_OK;
}

struct mot_rows mot_batch_rows(const struct mot_batch *b)
{
    struct mot_rows r = {.n = b->n, .pictures = b->n_pictures};
    for (int64_t p = 0; p < b->n_pieces; p++) {
        double n = (double)(b->piece[p + 1] - b->piece[p]);
        r.pairs += n * (n + 1) / 2;
    }
    for (int64_t k = 0; k < b->n_pictures; k++) {
        double n = (double)b->picture[k].n;
        r.patches += b->picture[k].n;
        r.pairs += n * (n - 1) / 2;
    }
    return r;
}
