/* SPDX-License-Identifier: MIT
 *
 * loader.c - shards become batches: documents drawn in a seeded order, packed, never padded.
 *
 * Shuffling holds a window of documents, not the data: the buffer is filled up to `shuffle` tokens, a document
 * is drawn from it at random, the next one read takes its place; shard files are taken in another order each pass.
 * What is drawn is a pure function of (files, seed, pass), so a position is three numbers, and seeking
 * is reading the pass again up to there.
 *
 * Packing: a batch has `batch` sequences of `seq` rows.  A document of n tokens gives n - 1 rows (its last token predicts
 * nothing); it goes on in the next sequence, as a piece of its own, where one ends.  A picture of vectors is one thing,
 * whose rows see each other: where it would not fit, the sequence ends before its <|boi|>, short of some rows.
 */
#include "held.h"

struct mot_loader {
    struct mot_loader_options o;
    struct mot_vocab vocab;
    char **path;
    int n_paths;
    int *order; /* of the files in this pass */

    struct mot_shard *shard;
    int next_path; /* into order */
    bool exhausted; /* this pass has no more to read */
    struct mot_held *buffer;
    int64_t n_held, capacity, tokens_held;
    uint64_t draws;
    bool stdin_used;

    struct mot_held current; /* the document being packed, owned */
    struct mot_position at;
    bool ended;
};

static void drop_buffer(struct mot_loader *l)
{
    for (int64_t i = 0; i < l->n_held; i++)
        mot_held_free(&l->buffer[i]);
    l->n_held = l->tokens_held = 0;
    mot_held_free(&l->current);
    mot_shard_close(l->shard);
    l->shard = NULL;
}

/* Begin a pass: files in the order that (seed, pass) gives. */
static void begin_pass(struct mot_loader *l, int64_t epoch)
{
    drop_buffer(l);
    l->at = (struct mot_position){.epoch = epoch};
    l->next_path = 0;
    l->exhausted = l->ended = false;
    l->draws = 0;
    uint64_t stream = mot_stream("loader files") + (uint64_t)epoch;
    for (int i = 0; i < l->n_paths; i++)
        l->order[i] = i;
    for (int i = l->n_paths - 1; i > 0 && l->o.shuffle > 0; i--) {
        int k = (int)mot_random_below(l->o.seed, stream, (uint64_t)i, (uint64_t)i + 1), t = l->order[i];
        l->order[i] = l->order[k];
        l->order[k] = t;
    }
}

/* The next document with at least one row, copied; out->id = NULL at the end of the pass. */
static int read_document(struct mot_loader *l, struct mot_held *out)
{
    *out = (struct mot_held){0};
    while (!l->exhausted) {
        if (!l->shard) {
            if (l->next_path == l->n_paths) {
                l->exhausted = true;
                break;
            }
            const char *path = l->path[l->order[l->next_path++]];
            if (strcmp(path, "-") == 0 && l->stdin_used)
                return mot_fail(MOT_EARG, "standard input: cannot be read a second time; give files to repeat or resume");
            l->stdin_used |= strcmp(path, "-") == 0;
            l->shard = mot_shard_open(path, &l->vocab, l->o.keep_going);
            if (!l->shard)
                return MOT_EFORMAT;
        }
        const struct mot_doc *d;
        int rc = mot_shard_next(l->shard, &d);
        if (rc)
            return rc;
        if (!d) {
            mot_shard_close(l->shard);
            l->shard = NULL;
            continue;
        }
        rc = mot_held_copy(out, &l->vocab, d);
        if (rc || out->rows > 0)
            return rc;
        mot_held_free(out);
    }
    return MOT_OK;
}

/* Draw the next document of the pass into l->current; current.id = NULL at the end of the pass. */
static int draw(struct mot_loader *l)
{
    mot_held_free(&l->current);
    while (!l->exhausted && (l->n_held == 0 || l->tokens_held < l->o.shuffle)) {
        struct mot_held h;
        int rc = read_document(l, &h);
        if (!rc && h.id)
            rc = mot_grow((void **)&l->buffer, l->n_held, &l->capacity, sizeof *l->buffer);
        if (rc)
            return rc;
        if (h.id) {
            l->buffer[l->n_held++] = h;
            l->tokens_held += h.n;
        }
    }
    if (l->n_held == 0)
        return MOT_OK;
    /* Without shuffling the buffer holds one document at a time, so the order is the file's. */
    uint64_t stream = mot_stream("loader documents") + (uint64_t)l->at.epoch;
    int64_t i = (int64_t)mot_random_below(l->o.seed, stream, l->draws++, (uint64_t)l->n_held);
    l->current = l->buffer[i];
    l->buffer[i] = l->buffer[--l->n_held];
    l->tokens_held -= l->current.n;
    l->at.documents++;
    l->at.offset = 0;
    return MOT_OK;
}

/* Make l->current a document with rows left, starting passes as needed; l->ended when there is no more. */
static int advance(struct mot_loader *l)
{
    while (!l->ended && (!l->current.id || l->at.offset >= l->current.rows)) {
        int rc = draw(l);
        if (rc)
            return rc;
        if (l->current.id)
            continue;
        if (l->at.documents == 0 && l->at.epoch == 0)
            return mot_fail(MOT_EFORMAT, "%s: no document with two tokens or more: nothing to train on", l->path[0]);
        if (l->o.repeat)
            begin_pass(l, l->at.epoch + 1);
        else
            l->ended = true;
    }
    return MOT_OK;
}

/* How many of the document's rows from its offset on come into `room` rows; 0: a picture wants more, but no more than there
 * are in a sequence. */
static int piece_rows(const struct mot_loader *l, int64_t room, int64_t *n)
{
    const struct mot_held *h = &l->current;
    int64_t begin = l->at.offset, end = begin + room < h->rows ? begin + room : h->rows;
    for (int64_t i = 0; i < h->n_pictures; i++) {
        const struct mot_picture *p = &h->picture[i];
        int64_t first = p->begin - (p->begin > begin && h->id[p->begin - 1] == l->vocab.boi);
        if (end <= first || end >= p->begin + p->n)
            continue;
        if (p->begin + p->n - first > l->o.seq)
            return mot_fail(MOT_EARG, "a picture of %d x %d tokens does not fit a sequence of %lld: give --seq %lld or more",
                            p->rows, p->columns, (long long)l->o.seq, (long long)(p->begin + p->n - first));
        end = first;
    }
    *n = end - begin;
    return MOT_OK;
}

/* The current document's next n rows, as a piece. */
static int add_piece(struct mot_loader *l, struct mot_batch *b, int64_t n)
{
    int rc = mot_held_add(&l->current, l->at.offset, n, b);
    l->at.offset += n;
    return rc;
}

int mot_loader_next(struct mot_loader *l, struct mot_batch *b)
{
    mot_batch_clear(b);
    for (int64_t s = 0; s < l->o.batch; s++) {
        for (int64_t room = l->o.seq; room > 0;) {
            int rc = advance(l);
            if (rc)
                return rc;
            if (l->ended)
                return MOT_OK;
            int64_t n = 0;
            rc = piece_rows(l, room, &n);
            if (!rc && n > 0)
                rc = add_piece(l, b, n);
            if (rc)
                return rc;
            room = n > 0 ? room - n : 0;
        }
    }
    return MOT_OK;
}

struct mot_position mot_loader_position(const struct mot_loader *l)
{
    return l->at;
}

int mot_loader_seek(struct mot_loader *l, struct mot_position p)
{
    begin_pass(l, p.epoch);
    while (l->at.documents < p.documents) {
        int rc = draw(l);
        if (rc)
            return rc;
        if (!l->current.id)
            return mot_fail(MOT_EARG, "%s: the data end before the position to resume from: not the run's shards",
                            l->path[0]);
    }
    if (p.offset > (l->current.id ? l->current.rows : 0))
        return mot_fail(MOT_EARG, "%s: the document to resume in is shorter: not the run's shards", l->path[0]);
    l->at.offset = p.offset;
    return MOT_OK;
}

struct mot_loader *mot_loader_open(const char *const *paths, int n, const struct mot_vocab *v,
                                   const struct mot_loader_options *o)
{
    struct mot_loader *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->o = *o;
    l->vocab = *v;
    l->path = mot_alloc((size_t)n, sizeof *l->path);
    l->order = mot_alloc((size_t)n, sizeof *l->order);
    bool good = l->path && l->order;
    for (int i = 0; good && i < n; i++) {
        l->path[i] = mot_strdup(paths[i]);
        good = l->path[i];
        l->n_paths = i + 1;
        /* A pipe is read once: its end is the end. */
        if (good && strcmp(paths[i], "-") == 0)
            l->o.repeat = false;
    }
    if (!good) {
        mot_loader_close(l);
        return NULL;
    }
    begin_pass(l, 0);
    return l;
}

void mot_loader_close(struct mot_loader *l)
{
    if (!l)
        return;
    drop_buffer(l);
    for (int i = 0; i < l->n_paths; i++)
        mot_free(l->path[i]);
    mot_free(l->path);
    mot_free(l->order);
    mot_free(l->buffer);
    mot_free(l);
}
