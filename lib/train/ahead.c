/* SPDX-License-Identifier: MIT
 *
 * ahead.c - the batches of a step, and those of the next one already while a device computes: the host has nothing else to
 * do then.  What goes wrong with the next step's data is told when it is its turn.
 */
#include "train.h"

static bool from_pipe(const struct mot_train_options *o)
{
    for (int i = 0; i < o->n_shards; i++)
        if (strcmp(o->shards[i], "-") == 0)
            return true;
    return false;
}

int mot_ahead_new(struct mot_ahead *a, const struct mot_train_options *o, const struct mot_vocab *v)
{
    *a = (struct mot_ahead){.n = o->accumulate, .boi = v->boi, .seed = o->seed, .drop = o->drop, .waits = from_pipe(o)};
    a->batch = mot_alloc((size_t)a->n, sizeof *a->batch);
    a->next = mot_alloc((size_t)a->n, sizeof *a->next);
    if (!a->batch || !a->next)
        return MOT_ENOMEM;
    struct mot_loader_options lo = {.batch = o->batch, .seq = o->seq, .shuffle = o->shuffle, .seed = o->seed, .repeat = true};
    if (o->n_shards > 0)
        a->loader = mot_loader_open(o->shards, o->n_shards, v, &lo);
    return a->loader || o->n_shards == 0 ? MOT_OK : MOT_EFORMAT;
}

void mot_ahead_free(struct mot_ahead *a)
{
    for (int64_t i = 0; i < a->n; i++) {
        if (a->batch)
            mot_batch_free(&a->batch[i]);
        if (a->next)
            mot_batch_free(&a->next[i]);
    }
    mot_free(a->batch);
    mot_free(a->next);
    mot_free(a->next_error);
    mot_loader_close(a->loader);
    *a = (struct mot_ahead){0};
}

/* The batches of a step to `next`. */
static int load(struct mot_ahead *a, int64_t step)
{
    int rc = MOT_OK;
    for (int64_t i = 0; i < a->n && !rc; i++) {
        rc = mot_loader_next(a->loader, &a->next[i]);
        if (!rc)
            rc = mot_noise_drop(&a->next[i], a->boi, a->drop, a->seed, step, i);
    }
    a->next_position = mot_loader_position(a->loader);
    return rc;
}

/* A pipe is not read before its turn: whoever writes into it may wait for this step's line. */
void mot_ahead_load(struct mot_ahead *a, int64_t step)
{
    if (a->waits || a->there)
        return;
    a->next_rc = load(a, step);
    a->there = true;
    mot_free(a->next_error);
    a->next_error = a->next_rc ? mot_strdup(mot_error()) : NULL;
}

int mot_ahead_take(struct mot_ahead *a, int64_t step)
{
    int rc = a->there ? a->next_rc : load(a, step);
    if (rc && a->there)
        mot_fail(rc, "%s", a->next_error ? a->next_error : "out of memory");
    a->there = false;
    if (rc)
        return rc;
    struct mot_batch *batch = a->batch;
    a->batch = a->next;
    a->next = batch;
    a->position = a->next_position;
    return MOT_OK;
}
