/* SPDX-License-Identifier: MIT
 *
 * tokenize_encode.c - mot-tokenize making shards of data.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenize.h"

/* What is being written, training and validation: whatever ends the program before commit takes the temporary files along. */
static struct mot_series *output[2];

static void drop_unfinished(void)
{
    for (int i = 0; i < 2; i++) {
        mot_series_close(output[i]);
        output[i] = NULL;
    }
}

/* What must be equal for a job to go on where it was interrupted: all that decides what the documents become. */
static void describe(const struct tokenize_options *o, char *text, size_t n)
{
    const struct mot_encode_options *e = &o->encode;
    int used = snprintf(text, n, "version 1, seed %llu, shards of %lld%s%s%s%s, ", (unsigned long long)e->doc.seed,
                        (long long)o->shard_size, o->compress ? ", compressed" : "", e->doc.raw ? ", raw" : "",
                        e->doc.add_special ? ", add-special" : "", e->doc.utf8 ? ", utf8" : "");
    if (e->doc.n_order == 0)
        used += snprintf(text + used, n - (size_t)used, "order random=%.9g", e->doc.media_first);
    for (int i = 0; i < e->doc.n_order; i++)
        used += snprintf(text + used, n - (size_t)used, "%s%d", i ? "," : "order ", (int)e->doc.order[i]);
    used += snprintf(text + used, n - (size_t)used, ", interleave %.9g switch %.9g, augment %d", e->doc.interleave,
                     e->doc.changes, e->augment);
    if (e->split)
        snprintf(text + used, n - (size_t)used, ", split %.9g by %s", e->train, e->by_caption ? "caption" : "file");
}

static void open_output(const struct tokenize_options *o, const struct mot_vocab *v)
{
    char job[512];
    describe(o, job, sizeof job);
    atexit(drop_unfinished);
    for (int i = 0; i < (o->encode.split ? 2 : 1); i++) {
        struct mot_series_options so = {.path = o->output ? o->output : "-", .size = o->shard_size, .twin = i == 1,
                                        .compress = o->compress, .resume = o->resume, .job = job};
        output[i] = mot_series_open(v, &so);
        if (!output[i])
            die_lib(NULL);
        if (mot_series_shards(output[i]))
            note("%s: %lld whole shards are kept", mot_series_name(output[i], 0), (long long)mot_series_shards(output[i]));
    }
}

/* A job without numbered shards is done or not begun. */
static bool is_done(const struct tokenize_options *o, const struct mot_vocab *v)
{
    struct mot_shard_counts c;
    for (int i = 0; i < 2 && output[i]; i++) {
        const char *name = mot_series_name(output[i], 0);
        if (!o->resume || o->shard_size || !mot_file_exists(name) || mot_shard_count(name, v, &c))
            return false;
        note("%s: whole: it is kept", name);
    }
    return true;
}

static void begin_output(void)
{
    for (int i = 0; i < 2 && output[i]; i++)
        if (mot_series_begin(output[i]))
            die_lib(NULL);
}

/* Where reading may begin: at the last record of the stream that is behind, whose later documents may be missing. */
static void continue_job(struct mot_encode_options *e, struct tokenize_skips *s)
{
    const struct mot_mark *behind = mot_series_mark(output[0]);
    if (output[1] && mot_series_mark(output[1])->record < behind->record)
        behind = mot_series_mark(output[1]);
    e->first = behind->record > 0 ? behind->record : 0;
    s->n = behind->skipped;
}

/* Shards of an earlier, longer job would pass for this one's. */
static void tell_leftovers(struct mot_series *s)
{
    const char *name = mot_series_name(s, mot_series_shards(s));
    if (mot_file_exists(name))
        warn("%s is not of this job: an earlier one wrote more shards", name);
}

static void finish(const struct tokenize_options *o, const struct mot_vocab *v, const struct tokenize_skips *s,
                   const struct mot_source *source)
{
    static const char *const label[] = {"training", "validation"};
    const struct mot_mark *mark[2] = {0};
    bool twin = output[1] != NULL;
    for (int i = 0; i < 1 + twin; i++) {
        if (mot_series_commit(output[i]))
            die_lib(NULL);
        if (o->shard_size)
            tell_leftovers(output[i]);
        mark[i] = mot_series_mark(output[i]);
        tokenize_report(twin ? label[i] : NULL, mark[i], v, s->n);
    }
    tokenize_report_skips(s, source);
    if (o->report)
        tokenize_report_json(o->report, mark[0], mark[1], v, s, source);
    if (s->n && tool_quiet)
        warn("%lld records were skipped", (long long)s->n);
}

/* All of the source to the output; how many documents there were. */
static int64_t encode_all(const struct tokenize_options *o, struct mot_tokenizer *t, struct mot_source *s,
                          struct tokenize_skips *skips)
{
    struct mot_encode_options encode = o->encode;
    continue_job(&encode, skips);
    encode.digest = o->shard_size > 0;
    struct mot_encoder *e = mot_encoder_new(t, s, &encode);
    if (!e)
        die_lib(NULL);
    struct tool_progress p = tool_progress_start("tokenising", "MB", 0);
    const struct mot_encoded *d = NULL;
    int64_t documents = 0;
    int rc;
    while (!(rc = mot_encoder_next(e, &d)) && d) {
        if (d->skipped && o->strict)
            die("%s", d->skipped);
        documents += !d->skipped;
        if (d->skipped)
            tokenize_skip(skips, d->skipped);
        else if (mot_series_add(output[d->validation], d, skips->n))
            die_lib(NULL);
        tokenize_show_progress(&p, s);
    }
    if (rc)
        die_lib(NULL);
    tool_progress_end(&p);
    mot_encoder_free(e);
    return documents;
}

void tokenize_encode(const struct tokenize_options *o)
{
    struct mot_tokenizer *t = tokenize_open(o, o->tokenizer);
    if (!t)
        die_lib(NULL);
    struct tokenize_skips skips = {0};
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    struct mot_source *s = tokenize_open_source(o, t, &skips);
    open_output(o, v);
    if (!is_done(o, v)) {
        begin_output();
        bool resumed = mot_series_mark(output[0])->documents || (output[1] && mot_series_mark(output[1])->documents);
        int64_t documents = encode_all(o, t, s, &skips);
        if (documents == 0 && skips.n > 0 && !resumed)
            die("nothing to write: all %lld records were skipped", (long long)skips.n);
        finish(o, v, &skips, s);
    }
    mot_source_close(s);
    mot_tokenizer_close(t);
}
