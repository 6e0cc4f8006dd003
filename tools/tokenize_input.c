/* SPDX-License-Identifier: MIT
 *
 * tokenize_input.c - sources, as mot-tokenize reads them: what is skipped is told, and counted by its reason; a failure ends the
 * program.
 */
#include <ctype.h>
#include <string.h>

#include "tokenize.h"

/* ---- what is skipped ---- */

/* Does a part of a sentence, up to ": ", say where and not what? */
static bool is_place(const char *s, size_t n)
{
    if (n == strlen("standard input") && memcmp(s, "standard input", n) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (strchr("./\\", s[i]) || isdigit((unsigned char)s[i]))
            return true;
    return false;
}

/* "a.tar: d/5.png: truncated PNG: 71 bytes and no end" has "truncated PNG: N bytes and no end" in common with others, and
 * "a.jsonl:7: column 3: not valid JSON: invalid token near 'x'" all before what it was near. */
static void reason_of(const char *sentence, char *out)
{
    const char *s = sentence, *colon;
    while ((colon = strstr(s, ": ")) && is_place(s, (size_t)(colon - s)))
        s = colon + 2;
    const char *near = strstr(s, " near '"), *end = near ? near : s + strlen(s);
    size_t n = 0;
    for (; s < end && n < TOKENIZE_REASON_BYTES - 1; s++) {
        bool digit = isdigit((unsigned char)*s), more = digit && n && out[n - 1] == 'N';
        if (!more)
            out[n++] = digit ? 'N' : *s;
    }
    out[n] = 0;
}

static void count_reason(struct tokenize_skips *s, const char *sentence)
{
    char text[TOKENIZE_REASON_BYTES];
    int i = 0;
    reason_of(sentence, text);
    while (i < s->n_reasons && strcmp(s->reason[i].text, text) != 0)
        i++;
    if (i == TOKENIZE_REASONS) { /* the last place is for all there is no place for */
        i--;
        snprintf(s->reason[i].text, sizeof s->reason[i].text, "other reasons");
    } else if (i == s->n_reasons) {
        memcpy(s->reason[s->n_reasons++].text, text, sizeof text);
    }
    s->reason[i].n++;
}

void tokenize_skip(void *skips, const char *sentence)
{
    enum { TOLD = 10 };
    struct tokenize_skips *s = skips;
    count_reason(s, sentence);
    if (++s->n <= TOLD || tool_verbose)
        note("skipped: %s", sentence);
    else if (s->n == TOLD + 1)
        note("more records are skipped; -v names each");
}

/* ---- sources ---- */

struct mot_tokenizer *tokenize_open(const struct tokenize_options *o, const char *folder)
{
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    if (t && mot_tokenizer_device(t, o->device) == MOT_OK)
        return t;
    mot_tokenizer_close(t);
    return NULL;
}

int32_t tokenize_separator(const struct tokenize_options *o, struct mot_tokenizer *t)
{
    static const char *const usual[] = {"<|endoftext|>", "<|begin_of_text|>", "</s>"};
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    int32_t id = o->separator;
    for (int i = 0; i < 3 && id < 0 && v->bos < 0 && v->eos < 0; i++) {
        struct mot_ids ids = {0};
        if (mot_encode_text(t, usual[i], strlen(usual[i]), &ids))
            die_lib(NULL);
        if (ids.n == 1)
            id = ids.id[0];
        mot_ids_free(&ids);
    }
    return id;
}

struct mot_source *tokenize_open_source(const struct tokenize_options *o, struct mot_tokenizer *t, struct tokenize_skips *s)
{
    struct mot_source_options so = {.format = o->format, .strict = o->strict, .skipped = tokenize_skip, .context = s};
    if (t) {
        so.vocab = mot_tokenizer_vocab(t);
        so.separator = tokenize_separator(o, t);
        so.has_separator = so.separator >= 0;
    }
    struct mot_source *source = mot_source_open(o->input, o->n_inputs, &so);
    if (!source)
        die_lib(NULL);
    return source;
}

const struct mot_record *tokenize_next_record(struct mot_source *s)
{
    const struct mot_record *r = NULL;
    if (mot_source_next(s, &r))
        die_lib(NULL);
    return r;
}

void tokenize_show_progress(struct tool_progress *p, const struct mot_source *s)
{
    int64_t done, total;
    mot_source_progress(s, &done, &total);
    tool_progress_show(p, 1e-6 * (double)done, 1e-6 * (double)total, NULL);
}
