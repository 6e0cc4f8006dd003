/* SPDX-License-Identifier: MIT
 *
 * held.c - a document kept: its ids, and its pictures of vectors, as rows that are added to batches piece by piece.
 */
#include "held.h"

static bool is_vector(const struct mot_vocab *v, int32_t id)
{
    return v->modality[mot_vocab_modality(v, id)].width > 0;
}

static int copy_pictures(struct mot_held *h, const struct mot_vocab *v, const struct mot_doc *d)
{
    h->picture = mot_alloc((size_t)d->n_spans, sizeof *h->picture);
    h->latent = mot_alloc((size_t)d->n_latent, sizeof *h->latent);
    if (!h->picture || !h->latent)
        return MOT_ENOMEM;
    memcpy(h->latent, d->latent, (size_t)d->n_latent * sizeof *d->latent);
    h->n_latent = d->n_latent;
    int64_t value = 0;
    for (int i = 0; i < d->n_spans; i++) {
        const struct mot_span *s = &d->span[i];
        if (!s->rows)
            continue;
        h->picture[h->n_pictures++] = (struct mot_picture){.begin = s->begin, .n = s->n, .rows = s->rows, .columns = s->columns,
                                                           .latent = value, .leads = mot_doc_leads(v, d, i)};
        value += s->n * v->modality[s->modality].width;
    }
    return MOT_OK;
}

int mot_held_copy(struct mot_held *h, const struct mot_vocab *v, const struct mot_doc *d)
{
    *h = (struct mot_held){.n = d->n, .id = mot_alloc((size_t)d->n + 1, sizeof *h->id)};
    if (!h->id)
        return MOT_ENOMEM;
    if (d->n > 0) {
        int32_t last = d->id[d->n - 1];
        memcpy(h->id, d->id, (size_t)d->n * sizeof *h->id);
        h->id[d->n] = last; /* the target of a last token that has a row */
        h->rows = d->n - !is_vector(v, last);
    }
    int rc = d->n_latent ? copy_pictures(h, v, d) : MOT_OK;
    if (rc)
        mot_held_free(h);
    return rc;
}

void mot_held_free(struct mot_held *h)
{
    mot_free(h->id);
    mot_free(h->picture);
    mot_free(h->latent);
    *h = (struct mot_held){0};
}

int mot_held_add(const struct mot_held *h, int64_t from, int64_t n, struct mot_batch *b)
{
    int64_t row = b->n - from;
    int rc = mot_batch_add(b, h->id + from, n);
    for (int64_t i = 0; !rc && i < h->n_pictures; i++) {
        struct mot_picture p = h->picture[i];
        int64_t end = i + 1 < h->n_pictures ? h->picture[i + 1].latent : h->n_latent;
        if (p.begin < from || p.begin >= from + n)
            continue;
        p.begin += row;
        rc = mot_batch_add_picture(b, &p, h->latent + p.latent, end - p.latent);
    }
    return rc;
}
