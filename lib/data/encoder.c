/* SPDX-License-Identifier: MIT
 *
 * encoder.c - a source's records to documents of ids, by all cores, in the source's order.
 *
 * The caller's thread reads: records as they are, nothing decoded, gathered to batches.  Workers decode, vary and encode a
 * batch each.  The caller gets the documents batch by batch in the order of reading.  What a record becomes depends on its
 * number alone, so the number of threads does not show.
 *
 * Memory is bounded: there are a few batches a worker, and reading waits while those under way hold too many bytes.  What is
 * decoded is not, and where memory is limited several large pictures at once may be too many: a record that finds no memory is
 * tried again while all other workers stand still.  So it is skipped or not, and is a failure or not, whatever the others do.
 */
#include <malloc.h>
#include <omp.h>
#include <pthread.h>
#include <sys/resource.h>

#include "source.h"

/* A batch is worth waking a thread for, and short enough to keep all busy to the end. */
enum { BATCH_RECORDS = 256, BATCH_BYTES = 1 << 16, BATCH_VALUES = 1 << 21, BATCHES_A_WORKER = 3 };
static const size_t under_way_limit = (size_t)1 << 26;

struct batch {
    int64_t record; /* number of the first */
    int n;
    struct mot_raw *raw[BATCH_RECORDS];
    uint32_t digest[BATCH_RECORDS];
    size_t bytes;
    enum { EMPTY, READY, BUSY, DONE } state;
    struct mot_ids ids;
    struct mot_latents latents;
    struct mot_encoded *result; /* their ids and latents are offsets until the batch is done */
    int64_t n_results, capacity;
    int status; /* not MOT_OK: no memory, as `failure` says */
    char *failure;
};

struct worker {
    struct mot_encoder *e;
    struct mot_tokenizer *t;
    struct mot_building record, varied;
    pthread_t thread;
    bool running;
};

struct mot_encoder {
    struct mot_encode_options o;
    struct mot_source *source;
    int batch_records;
    int64_t records; /* read */
    uint32_t digest;
    bool ended; /* the source has */
    int status; /* of reading */
    char *failure;
    struct worker *worker;
    int n_workers; /* 0: the caller encodes too, as worker[0] */
    struct batch *batch;
    int n_batches;
    int64_t head, work, tail; /* batches handed out, taken by workers, read; each modulo n_batches */
    int64_t at;               /* next result of the head */
    size_t under_way;
    pthread_rwlock_t alone; /* held for reading by all who encode, for writing by one who found no memory */
    pthread_mutex_t lock;
    pthread_cond_t wake_workers, wake_caller;
    bool stop;
};

/* ---- what a worker does ---- */

static void count_items(const struct mot_record *r, struct mot_encoded *d)
{
    for (int i = 0; i < r->n_items; i++) {
        const struct mot_item *item = &r->item[i];
        enum mot_kind kind = item->kind == MOT_KIND_IDS ? MOT_KIND_TEXT : item->kind;
        d->items[kind]++;
        d->bytes[kind] += item->bytes;
        if (item->kind == MOT_KIND_SPEECH)
            d->seconds += (double)item->speech.n / item->speech.rate;
    }
}

static int add_result(struct batch *b, const struct mot_encoded *d)
{
    int rc = mot_grow((void **)&b->result, b->n_results, &b->capacity, sizeof *b->result);
    if (!rc)
        b->result[b->n_results++] = *d;
    return rc;
}

/* One variation, to the batch's end. */
static int encode_variation(struct worker *w, struct batch *b, const struct mot_raw *raw, struct mot_encoded d)
{
    const struct mot_encode_options *o = &w->e->o;
    const struct mot_record *r = &w->record.r;
    if (d.variation > 0) {
        int rc = mot_augment(r, o->doc.seed, d.record, d.variation, &w->varied);
        if (rc)
            return rc;
        r = &w->varied.r;
    }
    d.id_at = b->ids.n;
    d.grid_at = b->latents.n_grids;
    d.value_at = b->latents.n;
    int rc = mot_doc_encode(w->t, &o->doc, r, d.record, &b->ids, &b->latents, &d.text_bytes);
    d.n = b->ids.n - d.id_at;
    d.latents.n_grids = b->latents.n_grids - d.grid_at;
    d.latents.n = b->latents.n - d.value_at;
    if (!rc && !mot_shard_fits(mot_tokenizer_vocab(w->t), b->ids.id + d.id_at, d.n, &d.latents))
        rc = mot_fail(MOT_EARG, "%s: a document of %lld tokens, a shard takes 1 GiB of them at most%s", raw->name,
                      (long long)d.n, mot_raw_advice(raw));
    if (rc == MOT_ENOMEM)
        mot_fail(rc, "%s: %s%s", raw->name, mot_error(), mot_raw_advice(raw));
    count_items(r, &d);
    return rc ? rc : add_result(b, &d);
}

static bool has_media(const struct mot_record *r)
{
    for (int i = 0; i < r->n_items; i++)
        if (r->item[i].kind == MOT_KIND_IMAGE || r->item[i].kind == MOT_KIND_SPEECH)
            return true;
    return false;
}

/* The documents of a record; one that fails leaves the sentence in their place. */
static int encode_record(struct worker *w, struct batch *b, int i)
{
    const struct mot_encode_options *o = &w->e->o;
    struct mot_encoded d = {.record = b->record + i, .digest = b->digest[i]};
    int64_t results = b->n_results, ids = b->ids.n, grids = b->latents.n_grids, values = b->latents.n;
    int rc = mot_raw_decode(b->raw[i], &w->record);
    if (!rc && o->split)
        d.validation = mot_split(b->raw[i], &w->record, o->by_caption, o->train, o->doc.seed);
    int variations = !rc && o->augment > 1 && has_media(&w->record.r) ? o->augment : 1;
    for (; !rc && d.variation < variations; d.variation++)
        rc = encode_variation(w, b, b->raw[i], d);
    mot_building_clear(&w->record);
    mot_building_clear(&w->varied);
    if (!rc)
        return rc;
    b->n_results = results;
    b->ids.n = ids;
    b->latents.n_grids = grids;
    b->latents.n = values;
    if (rc == MOT_ENOMEM)
        return rc;
    d.variation = 0;
    d.skipped = mot_strdup(mot_error());
    return d.skipped ? add_result(b, &d) : MOT_ENOMEM;
}

/* Once more, with all the memory that there is: the others wait between two records. */
static int encode_alone(struct worker *w, struct batch *b, int i)
{
    struct mot_encoder *e = w->e;
    pthread_rwlock_unlock(&e->alone);
    pthread_rwlock_wrlock(&e->alone);
    malloc_trim(0); /* what the others have freed is theirs until then */
    int rc = encode_record(w, b, i);
    pthread_rwlock_unlock(&e->alone);
    pthread_rwlock_rdlock(&e->alone);
    return rc;
}

static void encode_batch(struct worker *w, struct batch *b)
{
    b->status = MOT_OK;
    pthread_rwlock_rdlock(&w->e->alone);
    for (int i = 0; !b->status && i < b->n; i++) {
        if (i > 0) { /* whoever wants to be alone need not wait for the whole batch */
            pthread_rwlock_unlock(&w->e->alone);
            pthread_rwlock_rdlock(&w->e->alone);
        }
        b->status = encode_record(w, b, i);
        if (b->status && w->e->n_workers > 1)
            b->status = encode_alone(w, b, i);
        if (b->status)
            b->failure = mot_strdup(mot_error());
        mot_raw_free(b->raw[i]);
        b->raw[i] = NULL;
    }
    pthread_rwlock_unlock(&w->e->alone);
    for (int64_t i = 0; i < b->n_results; i++) {
        struct mot_encoded *d = &b->result[i];
        d->id = b->ids.id + d->id_at;
        d->latents.grid = b->latents.grid + d->grid_at;
        d->latents.value = b->latents.value + d->value_at;
    }
}

static void *work(void *context)
{
    struct worker *w = context;
    struct mot_encoder *e = w->e;
    omp_set_num_threads(1); /* the batches are what is done in parallel */
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->stop && e->work == e->tail)
            pthread_cond_wait(&e->wake_workers, &e->lock);
        if (e->stop)
            break;
        struct batch *b = &e->batch[e->work++ % e->n_batches];
        b->state = BUSY;
        pthread_mutex_unlock(&e->lock);
        encode_batch(w, b);
        pthread_mutex_lock(&e->lock);
        b->state = DONE;
        pthread_cond_signal(&e->wake_caller);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* ---- reading ---- */

/* What is read, record by record: a job that is resumed must find the same. */
static uint32_t digest_of(uint32_t crc, const struct mot_raw *r)
{
    unsigned char head[16];
    mot_put64(head, (uint64_t)r->n_parts);
    mot_put64(head + 8, (uint64_t)r->status);
    crc = mot_crc32(crc, head, sizeof head);
    for (int i = 0; i < r->n_parts; i++) {
        mot_put64(head, r->part[i].data.n);
        crc = mot_crc32(mot_crc32(crc, head, 8), r->part[i].data.data, r->part[i].data.n);
    }
    return crc;
}

static void read_batch(struct mot_encoder *e, struct batch *b)
{
    b->n = 0;
    b->bytes = 0;
    b->n_results = b->ids.n = b->latents.n = b->latents.n_grids = 0;
    while (!e->ended && b->n < e->batch_records && b->bytes < BATCH_BYTES) {
        struct mot_raw *r;
        e->status = mot_source_take(e->source, &r);
        e->ended = e->status || !r;
        if (e->status)
            e->failure = mot_strdup(mot_error());
        if (e->ended)
            break;
        if (e->o.digest)
            e->digest = digest_of(e->digest, r);
        if (e->records++ < e->o.first) {
            mot_raw_free(r);
            continue;
        }
        if (b->n == 0)
            b->record = e->records - 1;
        b->digest[b->n] = e->digest;
        b->bytes += r->bytes;
        b->raw[b->n++] = r;
    }
}

/* Read a batch and give it to the workers. */
static void fill(struct mot_encoder *e)
{
    struct batch *b = &e->batch[e->tail % e->n_batches];
    read_batch(e, b);
    if (b->n == 0)
        return;
    e->under_way += b->bytes;
    if (e->n_workers == 0) {
        encode_batch(&e->worker[0], b);
        b->state = DONE;
        e->tail++;
        return;
    }
    pthread_mutex_lock(&e->lock);
    b->state = READY;
    e->tail++;
    pthread_cond_signal(&e->wake_workers);
    pthread_mutex_unlock(&e->lock);
}

static bool is_done(struct mot_encoder *e, bool wait)
{
    struct batch *b = &e->batch[e->head % e->n_batches];
    pthread_mutex_lock(&e->lock);
    while (wait && b->state != DONE)
        pthread_cond_wait(&e->wake_caller, &e->lock);
    bool done = b->state == DONE;
    pthread_mutex_unlock(&e->lock);
    return done;
}

static void release(struct batch *b)
{
    for (int64_t i = 0; i < b->n_results; i++)
        mot_free(b->result[i].skipped);
    for (int i = 0; i < b->n; i++)
        mot_raw_free(b->raw[i]);
    b->n_results = b->n = 0;
    b->state = EMPTY;
    if (b->ids.capacity > 1 << 20) /* a giant should not stay */
        mot_ids_free(&b->ids);
    if (b->latents.capacity > 1 << 22)
        mot_latents_free(&b->latents);
}

int mot_encoder_next(struct mot_encoder *e, const struct mot_encoded **d)
{
    *d = NULL;
    for (;;) {
        bool room = !e->ended && e->tail - e->head < e->n_batches && (e->under_way < under_way_limit || e->tail == e->head);
        if (e->head < e->tail && is_done(e, !room)) {
            struct batch *b = &e->batch[e->head % e->n_batches];
            if (e->at < b->n_results) {
                *d = &b->result[e->at++];
                return MOT_OK;
            }
            if (b->status)
                return mot_fail(b->status, "%s", b->failure ? b->failure : "out of memory");
            e->under_way -= b->bytes;
            release(b);
            e->head++;
            e->at = 0;
        } else if (room) {
            fill(e);
        } else {
            return e->status ? mot_fail(e->status, "%s", e->failure ? e->failure : "out of memory") : MOT_OK;
        }
    }
}

/* ---- life ---- */

/* False: no memory for one more thread. */
static bool start_worker(struct mot_encoder *e, struct worker *w, struct mot_tokenizer *t)
{
    enum { STACK = 1 << 22 };
    pthread_attr_t how;
    w->e = e;
    w->t = mot_tokenizer_share(t);
    if (!w->t || pthread_attr_init(&how) != 0)
        return false;
    w->running = pthread_attr_setstacksize(&how, STACK) == 0 && pthread_create(&w->thread, &how, work, w) == 0;
    pthread_attr_destroy(&how);
    return w->running;
}

/* A thread has a stack, a tokenizer's cache, and what it decodes; where address space is limited (ulimit -v) there are no more
 * than fit it. */
static int threads_that_fit(int n)
{
    enum { A_THREAD = 1 << 26 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur / A_THREAD > (rlim_t)n)
        return n;
    int fit = (int)(limit.rlim_cur / A_THREAD) - 1;
    return fit > 1 ? fit : 1;
}

/* Where threads are short, fewer do it, or the caller alone. */
static int start_workers(struct mot_encoder *e, struct mot_tokenizer *t, int n)
{
    e->worker = mot_alloc((size_t)n, sizeof *e->worker);
    e->n_batches = n > 1 ? n * BATCHES_A_WORKER : 1;
    e->batch = mot_alloc((size_t)e->n_batches, sizeof *e->batch);
    if (!e->worker || !e->batch)
        return MOT_ENOMEM;
    while (n > 1 && e->n_workers < n && start_worker(e, &e->worker[e->n_workers], t))
        e->n_workers++;
    if (e->n_workers < n && n > 1) {
        struct worker *w = &e->worker[e->n_workers];
        mot_tokenizer_close(w->t);
        w->t = NULL;
    }
    if (e->n_workers == 0)
        e->worker[0] = (struct worker){.e = e, .t = t};
    return MOT_OK;
}

/* However small a picture's file is, it becomes as many vectors as any. */
static int batch_records(const struct mot_tokenizer *t)
{
    struct mot_grid g;
    int64_t n = mot_tokenizer_grid(t, &g) ? BATCH_VALUES / mot_grid_values(&g) : BATCH_RECORDS;
    return n < 1 ? 1 : n < BATCH_RECORDS ? (int)n : BATCH_RECORDS;
}

struct mot_encoder *mot_encoder_new(struct mot_tokenizer *t, struct mot_source *s, const struct mot_encode_options *o)
{
    struct mot_encoder *e = mot_alloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->o = *o;
    e->source = s;
    e->batch_records = batch_records(t);
    pthread_rwlockattr_t kind; /* who waits to be alone comes before those who would go on */
    pthread_rwlockattr_init(&kind);
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&e->alone, &kind);
    pthread_rwlockattr_destroy(&kind);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake_workers, NULL);
    pthread_cond_init(&e->wake_caller, NULL);
    if (start_workers(e, t, threads_that_fit(o->threads > 0 ? o->threads : omp_get_max_threads())) == MOT_OK)
        return e;
    mot_encoder_free(e);
    return NULL;
}

void mot_encoder_free(struct mot_encoder *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->wake_workers);
    pthread_mutex_unlock(&e->lock);
    for (int i = 0; i < e->n_workers; i++) {
        if (e->worker[i].running)
            pthread_join(e->worker[i].thread, NULL);
        mot_tokenizer_close(e->worker[i].t);
    }
    for (int i = 0; e->worker && i < (e->n_workers ? e->n_workers : 1); i++) {
        mot_building_free(&e->worker[i].record);
        mot_building_free(&e->worker[i].varied);
    }
    for (int i = 0; e->batch && i < e->n_batches; i++) {
        release(&e->batch[i]);
        mot_ids_free(&e->batch[i].ids);
        mot_latents_free(&e->batch[i].latents);
        mot_free(e->batch[i].failure);
        mot_free(e->batch[i].result);
    }
    mot_free(e->worker);
    mot_free(e->batch);
    mot_free(e->failure);
    pthread_rwlock_destroy(&e->alone);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->wake_workers);
    pthread_cond_destroy(&e->wake_caller);
    mot_free(e);
}
