/* SPDX-License-Identifier: MIT
 *
 * score.c - the loss of every token of a document given those before it.
 *
 * Documents are packed into batches as in training and never see each other.  One longer than the context is
 * scored in windows: the first scores all its targets; each next one moves on by `stride` targets and scores
 * those, with the rest of the window before them as context.  So every target has at least context - stride
 * tokens before it, or all there are.  A picture of vectors is never parted, so windows around one end sooner.
 *
 * With such pictures a window is run several times: first all are clean, for the tokens that are ids; then once for each
 * level of noise, for the patches.
 */
#include <math.h>

#include "train.h"

struct document {
    struct mot_held held;
    float *nll;
    int64_t missing; /* windows still to be run */
    mot_scored *done;
    void *context;
};
struct window { /* rows of the batch that are one window of a document */
    int64_t document; /* index into pending */
    int64_t first;    /* the window's first row is that of this token */
    int64_t skip, n;  /* rows, and how many of the first are context only */
    int level;        /* of noise; 0: none */
};

struct mot_scorer {
    struct mot_model *m;
    bool owned;
    struct mot_vocab vocab;
    int64_t context, stride;
    int levels;
    struct mot_noise noise;
    struct mot_batch batch;
    int64_t level_capacity;
    double *level; /* of each picture of the batch */
    int64_t n_pending, pending_capacity, n_windows, window_capacity;
    struct document *pending;
    struct window *window;
};

enum { LEVELS = 5 };

struct mot_scorer *mot_scorer_with(struct mot_model *m, const struct mot_vocab *v, int64_t context, int64_t stride)
{
    struct mot_scorer *s = mot_alloc(1, sizeof *s);
    if (!s || mot_noise_new(&s->noise, &m->config)) {
        mot_free(s);
        return NULL;
    }
    s->m = m;
    s->vocab = *v;
    s->levels = LEVELS;
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
    struct mot_scorer *s = m && !mot_model_load(m, folder) ? mot_scorer_with(m, &vocab, context, stride) : NULL;
    if (!s) {
        mot_model_free(m);
        return NULL;
    }
    s->owned = true;
    return s;
}

void mot_scorer_levels(struct mot_scorer *s, int levels)
{
    s->levels = levels;
}

const struct mot_vocab *mot_scorer_vocab(const struct mot_scorer *s)
{
    return &s->vocab;
}

static void drop(struct document *d)
{
    mot_held_free(&d->held);
    mot_free(d->nll);
}

/* Hand out documents that are whole, in order, and forget them. */
static void deliver(struct mot_scorer *s)
{
    int64_t n = 0;
    while (n < s->n_pending && s->pending[n].missing == 0) {
        struct document *d = &s->pending[n++];
        d->done(d->context, d->held.id, d->nll, d->held.n);
        drop(d);
    }
    if (n > 0)
        memmove(s->pending, s->pending + n, (size_t)(s->n_pending - n) * sizeof *s->pending);
    s->n_pending -= n;
}

static bool is_patch(const struct mot_scorer *s, int32_t id)
{
    return s->m->vectors >= 0 && mot_model_modality(s->m, id) == s->m->vectors;
}

/* The losses of one window of a batch that was run; at: the window's first row of the batch. */
static void take(const struct mot_scorer *s, const struct window *w, int64_t at)
{
    struct document *d = &s->pending[w->document];
    const int32_t *id = d->held.id;
    for (int64_t i = w->skip; i < w->n; i++) {
        int64_t token = w->first + i;
        float loss = (float)s->m->host_nll[s->m->batch.host_row[at + i]];
        if (is_patch(s, id[token])) {
            if (w->level > 0)
                d->nll[token] += loss / (float)s->levels;
        } else if (w->level == 0 && token + 1 < d->held.n && !is_patch(s, id[token + 1])) {
            d->nll[token + 1] = loss;
        }
    }
    d->missing--;
}

static int run(struct mot_scorer *s)
{
    if (s->batch.n > 0) {
        int rc = mot_noise_scoring(&s->noise, &s->batch, s->level);
        struct mot_seen seen = {s->noise.x, s->noise.target, s->noise.time, 0};
        if (!rc)
            rc = mot_model_route(s->m, &s->batch, 0, &seen);
        if (!rc)
            rc = mot_model_run(s->m, false);
        if (rc)
            return rc;
    }
    for (int64_t w = 0; w < s->n_windows; w++)
        take(s, &s->window[w], s->batch.piece[w]);
    mot_batch_clear(&s->batch);
    s->n_windows = 0;
    deliver(s);
    return MOT_OK;
}

/* Queue rows of the last pending document. */
static int add_window(struct mot_scorer *s, struct window w)
{
    int rc = MOT_OK;
    if (s->batch.n + w.n > s->m->rows)
        rc = run(s);
    w.document = s->n_pending - 1;
    int64_t pictures = s->batch.n_pictures;
    if (!rc)
        rc = mot_grow((void **)&s->window, s->n_windows, &s->window_capacity, sizeof *s->window);
    if (!rc)
        rc = mot_held_add(&s->pending[w.document].held, w.first, w.n, &s->batch);
    for (; !rc && pictures < s->batch.n_pictures; pictures++)
        if (!(rc = mot_grow((void **)&s->level, pictures, &s->level_capacity, sizeof *s->level)))
            s->level[pictures] = w.level ? (w.level - 0.5) / s->levels : 0;
    if (!rc)
        s->window[s->n_windows++] = w;
    return rc;
}

/* The picture that would be parted by a cut before a row; NULL: none. */
static const struct mot_picture *parted(const struct mot_held *d, int64_t row)
{
    for (int64_t k = 0; k < d->n_pictures; k++)
        if (d->picture[k].begin < row && row < d->picture[k].begin + d->picture[k].n)
            return &d->picture[k];
    return NULL;
}

static bool has_patches(const struct mot_held *d, int64_t begin, int64_t end)
{
    for (int64_t k = 0; k < d->n_pictures; k++)
        if (d->picture[k].begin >= begin && d->picture[k].begin < end)
            return true;
    return false;
}

/* The window after `scored` rows of a document. */
static int next_window(const struct mot_scorer *s, const struct mot_held *d, int64_t scored, struct window *w)
{
    int64_t end = scored + (scored == 0 ? s->context : s->stride);
    end = end < d->rows ? end : d->rows;
    const struct mot_picture *p = parted(d, end);
    if (p)
        end = p->begin > scored ? p->begin : p->begin + p->n;
    if (end - scored > s->context)
        return mot_fail(MOT_EARG, "a picture of %d x %d tokens does not fit a context of %lld, the longest window", p->rows, p->columns,
                        (long long)s->context);
    int64_t first = end > s->context ? end - s->context : 0;
    p = parted(d, first);
    if (p)
        first = p->begin + p->n;
    *w = (struct window){.first = first, .skip = scored - first, .n = end - first};
    return MOT_OK;
}

/* Nothing is known yet: ids have no loss, patches none so far. */
static int begin_losses(const struct mot_scorer *s, struct document *d)
{
    d->nll = mot_alloc((size_t)d->held.n, sizeof *d->nll);
    for (int64_t i = 0; d->nll && i < d->held.n; i++)
        d->nll[i] = is_patch(s, d->held.id[i]) ? 0 : NAN;
    return d->nll ? MOT_OK : MOT_ENOMEM;
}

int mot_scorer_add(struct mot_scorer *s, const struct mot_doc *d, mot_scored *done, void *context)
{
    int rc = mot_grow((void **)&s->pending, s->n_pending, &s->pending_capacity, sizeof *s->pending);
    if (rc)
        return rc;
    int64_t at = s->n_pending++;
    s->pending[at] = (struct document){.done = done, .context = context};
    rc = mot_held_copy(&s->pending[at].held, &s->vocab, d);
    if (!rc)
        rc = begin_losses(s, &s->pending[at]);
    s->pending[at].missing = 1; /* what is being queued is not whole, however often a batch runs meanwhile */
    for (int64_t scored = 0; !rc && scored < s->pending[s->n_pending - 1].held.rows;) {
        struct window w = {0};
        const struct mot_held *last = &s->pending[s->n_pending - 1].held;
        rc = next_window(s, last, scored, &w);
        scored = w.first + w.n;
        int levels = !rc && has_patches(last, w.first + w.skip, scored) ? s->levels : 0;
        for (w.level = 0; !rc && w.level <= levels; w.level++) {
            s->pending[s->n_pending - 1].missing++;
            rc = add_window(s, w);
        }
    }
    s->pending[s->n_pending - 1].missing--;
    if (!rc && s->n_windows == 0)
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
    for (int64_t i = 0; i < s->n_pending; i++)
        drop(&s->pending[i]);
    mot_batch_free(&s->batch);
    mot_noise_free(&s->noise);
    mot_free(s->level);
    mot_free(s->pending);
    mot_free(s->window);
    if (s->owned)
        mot_model_free(s->m);
    mot_free(s);
}
