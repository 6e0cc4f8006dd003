/* SPDX-License-Identifier: MIT
 *
 * series.c - a job's output as numbered shards of limited size, and the way back into a job that was interrupted.
 *
 * Each shard appears whole or not at all, and its end frame's note says where in the input it ends and what was counted up to
 * there.  To resume is to find the whole shards from number 0 on and to go on behind the last one; nothing else is stored, and
 * what comes then is byte for byte what would have come.
 */
#include <stdlib.h>

#include "../base/json.h"
#include "numbered.h"

struct mot_series {
    struct mot_series_options o;
    struct mot_vocab vocab;
    char *job;
    struct mot_numbered names;
    int64_t number; /* of the open shard, or of the next one */
    struct mot_shard_writer *w;
    int64_t documents;    /* in the open shard */
    struct mot_mark mark; /* of what has been written */
    bool resumed, met;    /* the mark is of what was there; the input has been seen to be the same up to there */
};

/* ---- notes ---- */

static json_t *tally_json(const struct mot_mark *m, int n_modalities)
{
    json_t *a = json_array();
    for (int i = 0; i < n_modalities; i++)
        json_array_append_new(a, json_pack("{sI sI sI sI sf}", "documents", (json_int_t)m->tally[i].documents, "tokens",
                                           (json_int_t)m->tally[i].tokens, "items", (json_int_t)m->tally[i].items, "bytes",
                                           (json_int_t)m->tally[i].bytes, "seconds", m->tally[i].seconds));
    return a;
}

static int set_note(struct mot_series *s)
{
    const struct mot_mark *m = &s->mark;
    json_t *j = json_pack("{ss sI sI sI sI sI so}", "job", s->job, "record", (json_int_t)m->record, "variations",
                          (json_int_t)m->variations, "skipped", (json_int_t)m->skipped, "input", (json_int_t)m->digest,
                          "documents", (json_int_t)m->documents, "tally", tally_json(m, s->vocab.n_modalities));
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    int rc = text ? mot_shard_set_note(s->w, text) : mot_fail(MOT_ENOMEM, "out of memory ending a shard");
    free(text); /* jansson's, from its allocator: libc's */
    json_decref(j);
    return rc;
}

static int read_tally(struct mot_mark *m, const char *name, const json_t *a)
{
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < json_array_size(a) && i < MOT_MAX_MODALITIES; i++) {
        const json_t *o = json_array_get(a, i);
        rc = mot_json_int(o, name, "documents", 0, INT64_MAX, &m->tally[i].documents);
        if (!rc)
            rc = mot_json_int(o, name, "tokens", 0, INT64_MAX, &m->tally[i].tokens);
        if (!rc)
            rc = mot_json_int(o, name, "items", 0, INT64_MAX, &m->tally[i].items);
        if (!rc)
            rc = mot_json_int(o, name, "bytes", 0, INT64_MAX, &m->tally[i].bytes);
        if (!rc)
            rc = mot_json_real(o, name, "seconds", 0, 1e300, &m->tally[i].seconds);
    }
    return rc;
}

static int read_note(const struct mot_series *s, const char *name, const char *note, struct mot_mark *m)
{
    *m = (struct mot_mark){.record = -1};
    if (!*note)
        return mot_fail(MOT_EARG, "%s: not of a numbered output: move it away, or leave --resume out", name);
    json_t *j = mot_json_parse(name, note, strlen(note));
    const char *job = "";
    int64_t digest = 0;
    int rc = j ? mot_json_string(j, name, "job", &job) : MOT_EFORMAT;
    if (!rc && strcmp(job, s->job) != 0)
        rc = mot_fail(MOT_EARG, "%s: made with %s, now it is %s: use the same options, or remove what is there", name, job, s->job);
    if (!rc)
        rc = mot_json_int(j, name, "record", 0, INT64_MAX, &m->record);
    if (!rc)
        rc = mot_json_int(j, name, "variations", 0, INT64_MAX, &m->variations);
    if (!rc)
        rc = mot_json_int(j, name, "skipped", 0, INT64_MAX, &m->skipped);
    if (!rc)
        rc = mot_json_int(j, name, "documents", 0, INT64_MAX, &m->documents);
    if (!rc)
        rc = mot_json_int(j, name, "input", 0, UINT32_MAX, &digest);
    if (!rc)
        rc = read_tally(m, name, json_object_get(j, "tally"));
    m->digest = (uint32_t)digest;
    json_decref(j);
    return rc;
}

/* ---- what is there ---- */

/* Is the shard there, whole, and of this vocabulary?  Its note becomes the mark. */
static int look_at(struct mot_series *s, const char *name, bool *whole)
{
    *whole = false;
    if (!mot_file_exists(name))
        return MOT_OK;
    struct mot_shard *shard = mot_shard_open(name, &s->vocab, false);
    const struct mot_doc *d = NULL;
    int rc = shard ? MOT_OK : MOT_EFORMAT;
    while (!rc && !(rc = mot_shard_next(shard, &d)) && d)
        ;
    *whole = rc == MOT_OK;
    if (!shard || rc == MOT_ECORRUPT || rc == MOT_EIO)
        rc = MOT_OK; /* it will be made again */
    if (*whole)
        rc = read_note(s, name, mot_shard_note(shard), &s->mark);
    mot_shard_close(shard);
    return rc;
}

static int find_whole(struct mot_series *s)
{
    for (;;) {
        bool whole;
        const char *name = mot_numbered_name(&s->names, s->number);
        int rc = name ? look_at(s, name, &whole) : MOT_ENOMEM;
        if (rc || !whole)
            return rc;
        s->number++;
        s->resumed = true;
    }
}

struct mot_series *mot_series_open(const struct mot_vocab *v, const struct mot_series_options *o)
{
    struct mot_series *s = mot_alloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->o = *o;
    s->vocab = *v;
    s->mark.record = -1;
    s->job = mot_strdup(o->job);
    int rc = s->job ? mot_numbered_init(&s->names, o->path, ".mot", o->size > 0, o->twin) : MOT_ENOMEM;
    if (!rc && o->resume && o->size)
        rc = find_whole(s);
    s->o.path = s->o.job = NULL; /* borrowed until now */
    if (!rc)
        return s;
    mot_series_close(s);
    return NULL;
}

const char *mot_series_name(struct mot_series *s, int64_t number)
{
    return mot_numbered_name(&s->names, number);
}

const struct mot_mark *mot_series_mark(const struct mot_series *s)
{
    return &s->mark;
}

int64_t mot_series_shards(const struct mot_series *s)
{
    return s->number;
}

/* ---- writing ---- */

/* What a killed job left of this shard. */
static void sweep(const char *name)
{
    const char *slash = strrchr(name, '/');
    char *folder = slash ? mot_strndup(name, (size_t)(slash - name) + 1) : mot_strdup(".");
    if (folder)
        mot_out_sweep(folder, slash ? slash + 1 : name);
    mot_free(folder);
}

static int open_next(struct mot_series *s)
{
    const char *name = mot_numbered_name(&s->names, s->number);
    if (name && s->o.resume)
        sweep(name);
    s->w = name ? mot_shard_create(name, &s->vocab) : NULL;
    if (!s->w)
        return MOT_EIO;
    mot_shard_compress(s->w, s->o.compress);
    return MOT_OK;
}

static int end_shard(struct mot_series *s)
{
    struct mot_shard_writer *w = s->w;
    int rc = s->o.size ? set_note(s) : MOT_OK;
    s->w = NULL;
    if (rc) {
        mot_shard_abort(w);
        return rc;
    }
    s->number++;
    s->documents = 0;
    return mot_shard_commit(w);
}

int mot_series_begin(struct mot_series *s)
{
    return s->w || s->number ? MOT_OK : open_next(s);
}

/* A note is shorter than this. */
static int64_t note_room(const struct mot_series *s)
{
    return 256 + 160 * s->vocab.n_modalities + 2 * (int64_t)strlen(s->job);
}

static int other_input(struct mot_series *s)
{
    const char *name = mot_numbered_name(&s->names, s->number - 1);
    return mot_fail(MOT_EARG, "%s: the input is not the one it was made of: record %lld differs or is not there any more; "
                              "remove the shards, or leave --resume out",
                    name ? name : "", (long long)s->mark.record);
}

int mot_series_add(struct mot_series *s, const struct mot_encoded *d, int64_t skipped)
{
    struct mot_mark *m = &s->mark;
    if (d->record < m->record)
        return MOT_OK; /* it is there */
    if (s->resumed && !s->met && (d->record > m->record || d->digest != m->digest))
        return other_input(s);
    s->met = true;
    if (d->record == m->record && d->variation < m->variations)
        return MOT_OK;
    int rc = MOT_OK;
    if (s->w && s->o.size && s->documents && mot_shard_size_with(s->w, d->id, d->n, &d->latents) + note_room(s) > s->o.size)
        rc = end_shard(s);
    if (!rc && !s->w)
        rc = open_next(s);
    if (!rc)
        rc = mot_shard_add_latents(s->w, d->id, d->n, &d->latents, d->text_bytes);
    if (rc)
        return rc;
    s->documents++;
    m->record = d->record;
    m->variations = d->variation + 1;
    m->digest = d->digest;
    m->skipped = skipped;
    m->documents++;
    mot_mark_count(m, &s->vocab, d);
    return MOT_OK;
}

int mot_series_commit(struct mot_series *s)
{
    return s->resumed && !s->met ? other_input(s) : s->w ? end_shard(s) : MOT_OK;
}

void mot_series_close(struct mot_series *s)
{
    if (!s)
        return;
    mot_shard_abort(s->w);
    mot_numbered_free(&s->names);
    mot_free(s->job);
    mot_free(s);
}

/* ---- counting ---- */

void mot_mark_count(struct mot_mark *m, const struct mot_vocab *v, const struct mot_encoded *d)
{
    static const char *const kinds[MOT_KIND_IDS] = {"text", "image", "speech"};
    bool has[MOT_MAX_MODALITIES] = {0};
    for (int64_t i = 0, end; i < d->n; i = end) {
        int k = mot_vocab_modality(v, d->id[i]);
        int32_t first = v->modality[k].first, last = first + v->modality[k].n - 1;
        for (end = i + 1; end < d->n && d->id[end] >= first && d->id[end] <= last; end++)
            ;
        m->tally[k].tokens += end - i;
        has[k] = true;
    }
    for (int k = 0; k < v->n_modalities; k++)
        m->tally[k].documents += has[k];
    for (int i = 0; i < MOT_KIND_IDS; i++) {
        int k = mot_vocab_find(v, kinds[i]);
        if (k < 0)
            continue;
        m->tally[k].items += d->items[i];
        m->tally[k].bytes += i == MOT_KIND_TEXT ? d->text_bytes : d->bytes[i];
        m->tally[k].seconds += i == MOT_KIND_SPEECH ? d->seconds : 0;
    }
}
