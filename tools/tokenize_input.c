/* SPDX-License-Identifier: MIT
 *
 * tokenize_input.c - sources, as mot-tokenize reads them: what is skipped is told, a failure ends the program.
 */
#include "tokenize.h"

void tokenize_skip(void *skips, const char *sentence)
{
    enum { TOLD = 10 };
    struct tokenize_skips *s = skips;
    if (++s->n <= TOLD || tool_verbose)
        note("skipped: %s", sentence);
    else if (s->n == TOLD + 1)
        note("more records are skipped; -v names each");
}

struct mot_source *tokenize_open_source(const struct tokenize_options *o, struct tokenize_skips *s)
{
    struct mot_source_options so = {.format = o->format, .strict = o->strict, .skipped = tokenize_skip, .context = s};
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
