/* SPDX-License-Identifier: MIT
 *
 * tokenize_encode.c - mot-tokenize making shards: of data, and of JSON Lines (--pack).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tokenize.h"

/* The shard being written: whatever ends the program before commit takes the temporary file along. */
static struct mot_shard_writer *unfinished;

static void drop_unfinished(void)
{
    mot_shard_abort(unfinished);
    unfinished = NULL;
}

static void begin_shard(const struct tokenize_options *o, const struct mot_vocab *v)
{
    const char *path = o->output ? o->output : "-";
    atexit(drop_unfinished);
    unfinished = mot_shard_create(path, v);
    if (!unfinished)
        die_lib(NULL);
    mot_shard_compress(unfinished, o->compress);
}

static void add_to_shard(const struct mot_ids *ids, int64_t text_bytes)
{
    if (mot_shard_add(unfinished, ids->id, ids->n, text_bytes))
        die_lib(NULL);
}

static void end_shard(void)
{
    struct mot_shard_writer *w = unfinished;
    unfinished = NULL;
    if (mot_shard_commit(w))
        die_lib(NULL);
}

struct tally {
    int64_t documents, text_bytes, tokens[MOT_MAX_MODALITIES];
};

static void count(struct tally *t, const struct mot_vocab *v, const struct mot_ids *ids, int64_t text_bytes)
{
    t->documents++;
    t->text_bytes += text_bytes;
    for (int64_t i = 0; i < ids->n; i++)
        t->tokens[mot_vocab_modality(v, ids->id[i])]++;
}

static void report(const struct tally *t, const struct mot_vocab *v, int64_t skipped)
{
    char text[MOT_MAX_MODALITIES * (MOT_NAME_BYTES + 24)] = "";
    int64_t tokens = 0;
    for (int m = 0; m < v->n_modalities; m++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s %lld", m ? ", " : "", v->modality[m].name, (long long)t->tokens[m]);
        tokens += t->tokens[m];
    }
    note("%lld documents, %lld tokens (%s), %lld bytes of text, %lld records skipped", (long long)t->documents,
         (long long)tokens, text, (long long)t->text_bytes, (long long)skipped);
}

void tokenize_encode(const struct tokenize_options *o)
{
    struct mot_tokenizer *t = mot_tokenizer_open(o->tokenizer);
    if (!t)
        die_lib(NULL);
    struct tokenize_skips skips = {0};
    struct mot_source *s = tokenize_open_source(o, &skips);
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    begin_shard(o, v);
    struct tool_progress p = tool_progress_start("tokenising", "MB", 0);
    struct tally tally = {0};
    struct mot_ids ids = {0};
    int64_t index = 0;
    for (const struct mot_record *r; (r = tokenize_next_record(s)); index++) {
        int64_t text_bytes = 0;
        ids.n = 0;
        int rc = mot_doc_encode(t, &o->doc, r, index, &ids, &text_bytes);
        if (rc && (o->strict || rc == MOT_ENOMEM))
            die_lib(NULL);
        if (rc) {
            tokenize_skip(&skips, mot_error());
        } else {
            add_to_shard(&ids, text_bytes);
            count(&tally, v, &ids, text_bytes);
        }
        tokenize_show_progress(&p, s);
    }
    tool_progress_end(&p);
    if (tally.documents == 0 && skips.n > 0)
        die("nothing to write: all %lld records were skipped", (long long)skips.n);
    end_shard();
    report(&tally, v, skips.n);
    if (skips.n && tool_quiet)
        warn("%lld records were skipped", (long long)skips.n);
    mot_ids_free(&ids);
    mot_source_close(s);
    mot_tokenizer_close(t);
}

/* ---- --pack ---- */

static void pack_lines(FILE *f, const char *name, const struct mot_vocab *v, struct tally *tally)
{
    char *line = NULL, where[4352];
    size_t capacity = 0;
    struct mot_ids ids = {0};
    int64_t number = 0;
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0;) {
        int64_t text_bytes = 0;
        number++;
        if (strspn(line, " \t\r\n") == (size_t)n)
            continue;
        snprintf(where, sizeof where, "%s:%lld", name, (long long)number);
        ids.n = 0;
        if (mot_doc_parse(v, where, line, (size_t)n, &ids, &text_bytes))
            die_lib(NULL);
        add_to_shard(&ids, text_bytes);
        count(tally, v, &ids, text_bytes);
    }
    if (ferror(f))
        die("%s: cannot read: %s", name, strerror(errno));
    mot_ids_free(&ids);
    free(line);
}

void tokenize_pack(const struct tokenize_options *o)
{
    struct mot_vocab v;
    struct tally tally = {0};
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    begin_shard(o, &v);
    for (int i = 0; i < o->n_inputs; i++) {
        bool is_stdin = strcmp(o->input[i], "-") == 0;
        FILE *f = is_stdin ? stdin : fopen(o->input[i], "r");
        if (!f)
            die("%s: cannot open: %s", o->input[i], strerror(errno));
        pack_lines(f, is_stdin ? "standard input" : o->input[i], &v, &tally);
        if (!is_stdin)
            fclose(f);
    }
    end_shard();
    report(&tally, &v, 0);
}
