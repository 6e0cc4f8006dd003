/* SPDX-License-Identifier: MIT
 *
 * tokenize_export.c - mot-tokenize --export: shards as files of tokens that llm.c reads.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenize.h"

struct exporting {
    const struct tokenize_options *o;
    struct mot_vocab v; /* of the first shard; the others must have the same */
    int64_t documents, tokens;
};

/* What ends the program before commit takes the temporary file along. */
static struct mot_tokens_writer *unfinished;

static void drop_unfinished(void)
{
    mot_tokens_abort(unfinished);
    unfinished = NULL;
}

/* The tokenizer is asked only where the vocabulary does not say what separates documents. */
static int32_t separator_of(const struct tokenize_options *o, const struct mot_vocab *v)
{
    const char *folder = o->tokenizer ? o->tokenizer : v->folder;
    if (o->separator >= 0 || v->bos >= 0 || v->eos >= 0 || !*folder)
        return o->separator;
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    int32_t id = t && strcmp(mot_tokenizer_vocab(t)->digest, v->digest) == 0 ? tokenize_separator(o, t) : -1;
    mot_tokenizer_close(t);
    return id;
}

static void begin(struct exporting *e, const struct mot_vocab *v)
{
    const struct tokenize_options *o = e->o;
    int32_t separator = separator_of(o, v);
    struct mot_tokens_options to = {.path = o->output, .size = o->shard_size, .has_separator = separator >= 0,
                                    .separator = separator,
                                    .wide = strcmp(o->export, "llmc-u32") == 0 ||
                                            (strcmp(o->export, "llmc") == 0 && v->size > 65536)};
    e->v = *v;
    unfinished = mot_tokens_create(v, &to);
    if (!unfinished)
        die_lib(NULL);
}

static void export_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct exporting *e = context;
    if (!unfinished)
        begin(e, v);
    if (mot_tokens_add(unfinished, d))
        die_lib("document %lld", (long long)e->documents);
    e->documents++;
    e->tokens += d->n;
}

void tokenize_export(const struct tokenize_options *o)
{
    struct exporting e = {.o = o};
    const struct mot_vocab *expect = tokenize_expected(o);
    atexit(drop_unfinished);
    for (int i = 0; i < o->n_inputs; i++) {
        struct mot_vocab v;
        tokenize_read_shard(o, o->input[i], unfinished ? &e.v : expect, export_document, &e, &v);
        if (!unfinished)
            begin(&e, &v);
    }
    struct mot_tokens_writer *w = unfinished;
    int64_t ambiguous = mot_tokens_ambiguous(w);
    unfinished = NULL;
    if (mot_tokens_commit(w))
        die_lib(NULL);
    if (ambiguous)
        warn("%s: %lld documents have the separator in them and will be taken for several", o->output, (long long)ambiguous);
    note("%s: %lld documents, %lld tokens with what stood around them", o->output, (long long)e.documents, (long long)e.tokens);
}
