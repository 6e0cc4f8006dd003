/* SPDX-License-Identifier: MIT
 *
 * painter.c - a picture of vectors, from noise alone to a clean one, as part of a sequence.
 *
 * At each level of noise the model tells about all patches at once, which see all that came before and each other; what it
 * remembers of them is written over at the next level.  The clean picture goes through the model once more, so that it is what
 * follows that sees it.  With guidance the model also tells what it would without all that came before (Ho & Salimans 2022).
 */
#include <math.h>

#include "generate.h"

int mot_painter_new(struct mot_painter *p, const struct mot_model *m, const struct mot_grid *grid, const struct mot_painting *how)
{
    *p = (struct mot_painter){.how = *how, .grid = *grid};
    size_t n = (size_t)mot_grid_values(grid), tokens = (size_t)mot_grid_tokens(grid);
    int rc = mot_levels_new(&p->levels, &m->config.diffusion);
    p->x = mot_alloc(n, sizeof *p->x);
    p->between = mot_alloc(n, sizeof *p->between);
    p->told = mot_alloc(n, sizeof *p->told);
    p->alone = mot_alloc(n, sizeof *p->alone);
    p->value = mot_alloc(n, sizeof *p->value);
    p->id = mot_alloc(tokens + 1, sizeof *p->id);
    for (size_t i = 0; p->id && i <= tokens; i++)
        p->id[i] = m->first[m->vectors];
    return rc ? rc : p->x && p->between && p->told && p->alone && p->value && p->id ? MOT_OK : MOT_ENOMEM;
}

void mot_painter_free(struct mot_painter *p)
{
    mot_levels_free(&p->levels);
    mot_batch_free(&p->batch);
    mot_free(p->x);
    mot_free(p->between);
    mot_free(p->told);
    mot_free(p->alone);
    mot_free(p->value);
    mot_free(p->id);
    *p = (struct mot_painter){0};
}

/* The picture behind a lane, at some level; the lane's own past moves on if `past` is its. */
static int run(struct mot_painter *p, struct mot_model *m, struct mot_past *past, const float *x, double time)
{
    struct mot_batch *b = &p->batch;
    struct mot_picture picture = {.n = mot_grid_tokens(&p->grid), .rows = p->grid.rows, .columns = p->grid.columns};
    struct mot_seen seen = {.x = x, .time = &time};
    mot_batch_clear(b);
    int rc = mot_batch_add(b, p->id, picture.n);
    if (!rc)
        rc = mot_batch_add_picture(b, &picture, p->value, mot_grid_values(&p->grid)); /* what it looks like is in x */
    return rc ? rc : mot_model_grow(m, b, past, &seen);
}

/* What the model tells about x at a level: p->told. */
static int tell(struct mot_painter *p, struct mot_model *m, const struct mot_past *whole, const struct mot_past *alone,
                const float *x, struct mot_level level)
{
    struct mot_past past = *whole;
    int rc = run(p, m, &past, x, level.time);
    if (!rc)
        rc = mot_model_told(m, p->told);
    if (rc || !alone)
        return rc;
    past = *alone;
    rc = run(p, m, &past, x, level.time);
    if (!rc)
        rc = mot_model_told(m, p->alone);
    for (int64_t i = 0; !rc && i < mot_grid_values(&p->grid); i++)
        p->told[i] = p->alone[i] + (float)p->how.guidance * (p->told[i] - p->alone[i]);
    return rc;
}

int mot_paint(struct mot_painter *p, struct mot_model *m, struct mot_past *whole, const struct mot_past *alone, uint64_t seed,
              uint64_t stream)
{
    int64_t n = mot_grid_values(&p->grid);
    enum mot_way way = p->how.sampler == MOT_SAMPLE_ANCESTRAL ? MOT_ANCESTRAL : MOT_STRAIGHT;
    for (int64_t i = 0; i < n; i++)
        p->x[i] = (float)mot_random_normal(seed, stream, (uint64_t)i);
    int rc = MOT_OK;
    for (int i = 0; !rc && i < p->how.steps; i++) {
        struct mot_level a = mot_level_step(&p->levels, i, p->how.steps), b = mot_level_step(&p->levels, i + 1, p->how.steps);
        rc = tell(p, m, whole, alone, p->x, a);
        if (!rc && p->how.sampler == MOT_SAMPLE_MIDPOINT) {
            struct mot_level mid = mot_level_at(&p->levels, (a.t + b.t) / 2);
            memcpy(p->between, p->x, (size_t)n * sizeof *p->x);
            mot_denoise(&p->levels, way, a, mid, p->how.clip, p->told, n, seed, 0, p->between);
            rc = tell(p, m, whole, alone, p->between, mid);
        }
        if (!rc)
            mot_denoise(&p->levels, way, a, b, p->how.clip, p->told, n, seed, stream + 1 + (uint64_t)i, p->x);
    }
    int64_t beyond = 0;
    for (int64_t i = 0; i < n; i++) {
        p->value[i] = mot_f16(p->x[i]);
        p->x[i] = mot_from_f16(p->value[i]);
        beyond += !isfinite(p->x[i]);
    }
    if (!rc && beyond)
        rc = mot_fail(MOT_EARG, "%lld of its picture's %lld values grew beyond all bounds: --clip X bounds them, less --guidance may, "
                                "or the model's weights are damaged", (long long)beyond, (long long)n);
    return rc ? rc : run(p, m, whole, p->x, 0);
}
