/* SPDX-License-Identifier: MIT
 *
 * tokenize_pack.c - mot-tokenize --pack: a shard from the JSON Lines of --dump.
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

static void pack_lines(FILE *f, const char *name, const struct mot_vocab *v, struct mot_mark *mark)
{
    char *line = NULL, where[4352];
    size_t capacity = 0;
    struct mot_ids ids = {0};
    struct mot_latents latents = {0};
    int64_t number = 0;
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0;) {
        int64_t text_bytes = 0;
        number++;
        if (strspn(line, " \t\r\n") == (size_t)n)
            continue;
        snprintf(where, sizeof where, "%s:%lld", name, (long long)number);
        ids.n = latents.n = latents.n_grids = 0;
        if (mot_doc_parse(v, where, line, (size_t)n, &ids, &latents, &text_bytes) ||
            mot_shard_add_latents(unfinished, ids.id, ids.n, &latents, text_bytes))
            die_lib(NULL);
        mark->documents++;
        mot_mark_count(mark, v, &(struct mot_encoded){.id = ids.id, .n = ids.n, .text_bytes = text_bytes});
    }
    if (ferror(f))
        die("%s: cannot read: %s", name, strerror(errno));
    mot_ids_free(&ids);
    mot_latents_free(&latents);
    free(line);
}

void tokenize_pack(const struct tokenize_options *o)
{
    struct mot_vocab v;
    struct mot_mark mark = {0};
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    atexit(drop_unfinished);
    unfinished = mot_shard_create(o->output ? o->output : "-", &v);
    if (!unfinished)
        die_lib(NULL);
    mot_shard_compress(unfinished, o->compress);
    for (int i = 0; i < o->n_inputs; i++) {
        bool is_stdin = strcmp(o->input[i], "-") == 0;
        FILE *f = is_stdin ? stdin : fopen(o->input[i], "r");
        if (!f)
            die("%s: cannot open: %s", o->input[i], strerror(errno));
        pack_lines(f, tokenize_spoken(o->input[i]), &v, &mark);
        if (!is_stdin)
            fclose(f);
    }
    struct mot_shard_writer *w = unfinished;
    unfinished = NULL;
    if (mot_shard_commit(w))
        die_lib(NULL);
    tokenize_report(NULL, &mark, &v, 0);
}
