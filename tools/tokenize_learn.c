/* SPDX-License-Identifier: MIT
 *
 * tokenize_learn.c - mot-tokenize --learn: a tokenizer folder from data.
 */
#include <string.h>

#include "tokenize.h"

struct learning {
    struct tool_progress p;
    const char *what;
};

static void learn_progress(void *context, const char *what, double share)
{
    struct learning *l = context;
    if (!l->what || strcmp(l->what, what) != 0) {
        tool_progress_end(&l->p);
        l->p = tool_progress_start(what, "%", 0);
        l->what = what;
    }
    tool_progress_show(&l->p, 100 * share, 100, NULL);
}

static int learn_item(struct mot_learner *l, const struct mot_learn_options *o, const struct mot_item *item, int64_t *seen)
{
    bool wanted[] = {o->text > 0, o->image > 0, o->speech > 0, false};
    if (!wanted[item->kind])
        return MOT_OK;
    seen[item->kind]++;
    switch (item->kind) {
    case MOT_KIND_TEXT: return mot_learner_text(l, item->text.data, item->text.n);
    case MOT_KIND_IMAGE: return mot_learner_image(l, &item->image);
    default: return mot_learner_speech(l, &item->speech);
    }
}

/* Data may hold less than was asked for: no pair of tokens comes twice, or there are fewer patches than codes. */
static void tell_shortage(const struct tokenize_options *o)
{
    struct mot_vocab v;
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    const struct {
        const char *name;
        int32_t size;
    } asked[] = {{"text", o->learn.text}, {"image", o->learn.image}, {"speech", o->learn.speech}};
    for (int i = 0; i < 3; i++) {
        int m = mot_vocab_find(&v, asked[i].name);
        if (m >= 0 && v.modality[m].n < asked[i].size)
            warn("%s: %d ids, not %d: there is no more to learn in so little data", asked[i].name, (int)v.modality[m].n,
                 (int)asked[i].size);
    }
}

void tokenize_learn(struct tokenize_options *o)
{
    struct learning progress = {.p = tool_progress_start("reading", "MB", 0)};
    struct tokenize_skips skips = {0};
    int64_t seen[3] = {0};
    o->learn.progress = learn_progress;
    o->learn.context = &progress;
    struct mot_learner *l = mot_learner_new(&o->learn);
    if (!l)
        die_usage("%s", mot_error());
    struct mot_source *s = o->n_inputs ? tokenize_open_source(o, NULL, &skips) : NULL; /* none: nothing is learned from data */
    for (const struct mot_record *r; s && (r = tokenize_next_record(s));) {
        for (int i = 0; i < r->n_items; i++)
            if (learn_item(l, &o->learn, &r->item[i], seen))
                die_lib("%s", r->name);
        tokenize_show_progress(&progress.p, s);
    }
    mot_source_close(s);
    tool_progress_end(&progress.p);
    if (skips.n)
        warn("%lld records were skipped", (long long)skips.n);
    if (mot_learner_finish(l, o->tokenizer))
        die_lib(NULL);
    tool_progress_end(&progress.p);
    mot_learner_free(l);
    tell_shortage(o);
    note("%s: learned from %lld texts, %lld pictures, %lld sounds", o->tokenizer, (long long)seen[MOT_KIND_TEXT],
         (long long)seen[MOT_KIND_IMAGE], (long long)seen[MOT_KIND_SPEECH]);
}
