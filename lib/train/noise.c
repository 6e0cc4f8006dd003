/* SPDX-License-Identifier: MIT
 *
 * noise.c - a batch's pictures of vectors as the model is to see them: at levels of noise.
 *
 * In training each picture gets a level and noise of its own, which depend on the seed, the step and its place in the step
 * alone: a run that is resumed, or split otherwise over threads, sees the same.  In scoring both depend on the picture's own
 * values, so that any two models, and any two orders of a shard, are compared on the same.
 */
#include <zlib.h>

#include "train.h"

int mot_noise_new(struct mot_noise *s, const struct mot_config *c)
{
    *s = (struct mot_noise){.vectors = mot_vectors_of(c)};
    s->width = s->vectors < 0 ? 0 : c->latent_size[s->vectors];
    return s->vectors < 0 ? MOT_OK : mot_levels_new(&s->levels, &c->diffusion);
}

void mot_noise_free(struct mot_noise *s)
{
    mot_levels_free(&s->levels);
    mot_free(s->x);
    mot_free(s->target);
    mot_free(s->time);
    *s = (struct mot_noise){0};
}

/* Room for a batch's pictures; what is asked for grows, so a run settles soon. */
static int reserve(struct mot_noise *s, const struct mot_batch *b)
{
    if (b->n_latent > s->values) {
        mot_free(s->x);
        mot_free(s->target);
        s->x = mot_alloc((size_t)b->n_latent, sizeof *s->x);
        s->target = mot_alloc((size_t)b->n_latent, sizeof *s->target);
        s->values = s->x && s->target ? b->n_latent : 0;
    }
    if (b->n_pictures > s->pictures) {
        mot_free(s->time);
        s->time = mot_alloc((size_t)b->n_pictures, sizeof *s->time);
        s->pictures = s->time ? b->n_pictures : 0;
    }
    return s->values >= b->n_latent && s->pictures >= b->n_pictures ? MOT_OK : MOT_ENOMEM;
}

static void show(struct mot_noise *s, const struct mot_batch *b, int64_t k, struct mot_level level, uint64_t seed, uint64_t stream)
{
    const struct mot_picture *p = &b->picture[k];
    s->time[k] = level.time;
    mot_noised(&s->levels, level, b->latent + p->latent, p->n * s->width, seed, stream, s->x + p->latent, s->target + p->latent);
}

int mot_noise_training(struct mot_noise *s, const struct mot_batch *b, double limit, uint64_t seed, int64_t step, int64_t part)
{
    int rc = reserve(s, b);
    uint64_t levels = mot_stream("noise levels") + (uint64_t)step, streams = mot_stream("noise") + (uint64_t)step;
    for (int64_t k = 0; !rc && k < b->n_pictures; k++) {
        uint64_t index = ((uint64_t)part << 32) + (uint64_t)k;
        struct mot_level level = mot_level_draw(&s->levels, b->picture[k].leads ? limit : 1, seed, levels, index);
        show(s, b, k, level, seed, mot_random_u64(seed, streams, index));
    }
    return rc;
}

int mot_noise_scoring(struct mot_noise *s, const struct mot_batch *b, const double *level)
{
    int rc = reserve(s, b);
    for (int64_t k = 0; !rc && k < b->n_pictures; k++) {
        const unsigned char *values = (const unsigned char *)(b->latent + b->picture[k].latent);
        uInt bytes = (uInt)(b->picture[k].n * s->width * (int64_t)sizeof *b->latent);
        uint64_t stream = mot_random_u64(crc32(0, values, bytes), mot_stream("noise, scoring"), (uint64_t)(level[k] * 1e6));
        show(s, b, k, level[k] > 0 ? mot_level_at(&s->levels, level[k]) : mot_level_clean(), 0, stream);
    }
    return rc;
}

/* Cut the piece that the picture stands in before it, with the token that opens it. */
static int cut(struct mot_batch *b, const struct mot_picture *p, int32_t boi)
{
    int64_t q = 0;
    while (b->piece[q + 1] <= p->begin)
        q++;
    int64_t at = p->begin > b->piece[q] && b->id[p->begin - 1] == boi ? p->begin - 1 : p->begin;
    if (at == b->piece[q])
        return MOT_OK;
    int rc = mot_grow((void **)&b->piece, b->n_pieces + 1, &b->piece_capacity, sizeof *b->piece);
    if (rc)
        return rc;
    memmove(b->piece + q + 2, b->piece + q + 1, (size_t)(b->n_pieces - q) * sizeof *b->piece);
    b->piece[q + 1] = at;
    b->n_pieces++;
    return MOT_OK;
}

int mot_noise_drop(struct mot_batch *b, int32_t boi, double share, uint64_t seed, int64_t step, int64_t part)
{
    int rc = MOT_OK;
    uint64_t stream = mot_stream("noise, dropped") + (uint64_t)step;
    for (int64_t k = 0; !rc && share > 0 && k < b->n_pictures; k++)
        if (mot_random_uniform(seed, stream, ((uint64_t)part << 32) + (uint64_t)k) < share)
            rc = cut(b, &b->picture[k], boi);
    return rc;
}
