/* SPDX-License-Identifier: MIT
 *
 * score.c - the loss of every token of a document given those before it.
 *
 * Documents are packed into batches as in training and never see each other.  One longer than the context is
 * scored in windows: the first scores all its targets; each next one moves on by `stride` targets and scores
 * those, with the rest of the window before them as context.  So every target has at least context - stride
 * tokens before it, or all there are.
 */
#include <math.h>

#include "train.h"

struct document {
    int32_t *id;
    float *nll;
    int64_t n, missing; /* targets still without a loss */
    mot_scored *done;
    void *context;
};
struct window { /* rows of the batch that are one window of a document */
    int64_t document; /* index into pending */
    int64_t first;    /* target index of the window's first row is first + 1 */
    int64_t skip, n;  /* rows, and how many of the first are context only */
};

struct mot_scorer {
    struct mot_model *m;
    bool owned;
    struct mot_vocab vocab;
    int64_t context, stride;
    struct mot_batch batch;
    int64_t n_pending, pending_capacity, n_windows, window_capacity;
    struct document *pending;
    struct window *window;
};

struct mot_scorer *mot_scorer_with(struct mot_model *m, int64_t context, int64_t stride)
{
    struct mot_scorer *s = mot_alloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->m = m;
    s->context = context;
    s->stride = stride > 0 ? stride : (context + 1) / 2;
    return s;
}

/* Rows in a batch: enough to keep the matrix kernels busy, whatever the context. */
enum { MIN_ROWS = 2048 };

/* The vocabulary of a folder, checked against v; v's where the folder brings none. */
static int vocabulary(struct mot_vocab *out, const char *folder, const struct mot_vocab *v)
{
    char *own = mot_path(folder, "vocab.json"), *json = mot_path(folder, "tokenizer.json");
    int rc = own && json ? MOT_OK : MOT_ENOMEM;
    bool has = !rc && (mot_file_exists(own) || mot_file_exists(json));
    mot_free(own);
    mot_free(json);
    if (rc)
        return rc;
    if (!has && !v)
        return mot_fail(MOT_EFORMAT, "%s: has neither vocab.json nor tokenizer.json", folder);
    if (!has) {
        *out = *v;
        return MOT_OK;
    }
    rc = mot_vocab_load(out, folder);
    if (!rc && v && strcmp(v->digest, out->digest) != 0)
        rc = mot_fail(MOT_EARG, "%s: its vocabulary (%s) is not the shards' (%s): tokenise with -t %s", folder,
                      out->digest, v->digest, folder);
    return rc;
}

struct mot_scorer *mot_scorer_open(const char *folder, const struct mot_vocab *v, int64_t context, int64_t stride,
                                   const char *device, const char *dtype, int threads)
{
    struct mot_config c;
    struct mot_vocab vocab;
    const struct mot_kernels *k = mot_device_find(device, dtype);
    if (!k || mot_config_load_folder(&c, folder) || vocabulary(&vocab, folder, v) ||
        mot_config_settle(&c, folder, &vocab, NULL))
        return NULL;
    if (context > c.max_position_embeddings) {
        mot_fail(MOT_EARG, "%s: a context of %lld is more than its max_position_embeddings, %lld", folder,
                 (long long)context, (long long)c.max_position_embeddings);
        return NULL;
    }
    if (context == 0)
        context = c.max_position_embeddings;
    if (stride > context) {
        mot_fail(MOT_EARG, "a stride of %lld is more than the context, %lld", (long long)stride, (long long)context);
        return NULL;
    }
    int64_t rows = context > MIN_ROWS ? context : MIN_ROWS;
    struct mot_model *m = mot_model_new(&c, &vocab, k, threads, rows, context, false);
    struct mot_scorer *s = m && !mot_model_load(m, folder) ? mot_scorer_with(m, context, stride) : NULL;
    if (!s) {
        mot_model_free(m);
        return NULL;
    }
    s->owned = true;
    s->vocab = vocab;
    return s;
}

const struct mot_vocab *mot_scorer_vocab(const struct mot_scorer *s)
{
    return &s->vocab;
}

/* Hand out documents that are whole, in order, and forget them. */
static void deliver(struct mot_scorer *s)
{
    int64_t n = 0;
    while (n < s->n_pending && s->pending[n].missing == 0) {
        struct document *d = &s->pending[n++];
        d->done(d->context, d->id, d->nll, d->n);
        mot_free(d->id);
        mot_free(d->nll);
    }
    memmove(s->pending, s->pending + n, (size_t)(s->n_pending - n) * sizeof *s->pending);
    s->n_pending -= n;
}

static int run(struct mot_scorer *s)
{
    if (s->batch.n > 0) {
        int rc = mot_model_route(s->m, &s->batch, 0);
        if (!rc)
            rc = mot_model_run(s->m, false);
        if (rc)
            return rc;
    }
    for (int64_t w = 0; w < s->n_windows; w++) {
        const struct window *x = &s->window[w];
        struct document *d = &s->pending[x->document];
        for (int64_t i = x->skip; i < x->n; i++)
            d->nll[x->first + 1 + i] = (float)s->m->host_nll[s->m->batch.host_row[s->batch.piece[w] + i]];
        d->missing -= x->n - x->skip;
    }
    s->batch.n = s->batch.n_pieces = s->n_windows = 0;
    deliver(s);
    return MOT_OK;
}

/* Queue rows [first, first + n) of the last pending document, the first `skip` for context only. */
static int add_window(struct mot_scorer *s, int64_t first, int64_t skip, int64_t n)
{
    int rc = MOT_OK;
    if (s->batch.n + n > s->m->rows)
        rc = run(s);
    if (!rc)
        rc = mot_grow((void **)&s->window, s->n_windows, &s->window_capacity, sizeof *s->window);
    if (!rc)
        rc = mot_batch_add(&s->batch, s->pending[s->n_pending - 1].id + first, n);
    if (!rc)
        s->window[s->n_windows++] = (struct window){s->n_pending - 1, first, skip, n};
    return rc;
}

int mot_scorer_add(struct mot_scorer *s, const int32_t *id, int64_t n, mot_scored *done, void *context)
{
    int rc = mot_grow((void **)&s->pending, s->n_pending, &s->pending_capacity, sizeof *s->pending);
    if (rc)
        return rc;
    struct document *d = &s->pending[s->n_pending];
    *d = (struct document){mot_alloc((size_t)n, sizeof *d->id), mot_alloc((size_t)n, sizeof *d->nll), n,
                           n > 0 ? n - 1 : 0, done, context};
    s->n_pending++;
    if (!d->id || !d->nll)
        return MOT_ENOMEM;
    if (n == 0) {
        if (s->n_windows == 0)
            deliver(s);
        return MOT_OK;
    }
    memcpy(d->id, id, (size_t)n * sizeof *id);
    d->nll[0] = NAN;
    int64_t rows = n - 1, scored = 0;
    while (!rc && scored < rows) {
        int64_t fresh = scored == 0 ? s->context : s->stride;
        if (fresh > rows - scored)
            fresh = rows - scored;
        int64_t skip = s->context - fresh;
        if (skip > scored)
            skip = scored;
        rc = add_window(s, scored - skip, skip, fresh + skip);
        scored += fresh;
    }
    if (!rc && rows == 0 && s->n_windows == 0)
        deliver(s);
    return rc;
}

int mot_scorer_flush(struct mot_scorer *s)
{
    return run(s);
}

void mot_scorer_close(struct mot_scorer *s)
{
    if (!s)
        return;
    for (int64_t i = 0; i < s->n_pending; i++) {
        mot_free(s->pending[i].id);
        mot_free(s->pending[i].nll);
    }
    mot_batch_free(&s->batch);
    mot_free(s->pending);
    mot_free(s->window);
    if (s->owned)
        mot_model_free(s->m);
    mot_free(s);
}
