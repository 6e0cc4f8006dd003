/* SPDX-License-Identifier: MIT
 *
 * eval_captions.c - BLEU and CIDEr of captions against reference texts.
 */
#include "eval.h"

struct metric {
    const struct mot_captions *captions;
    enum mot_caption_metric metric;
};

static double figure(const void *context, const int64_t *pick, int64_t n)
{
    const struct metric *m = context;
    return mot_captions_figure(m->captions, m->metric, pick, n);
}

void eval_captions(const struct eval_options *o)
{
    static const char *const names[MOT_CAPTION_METRICS] = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider"};
    struct mot_captions *c = mot_captions_open(o->input[0], o->input + 1, o->n_inputs - 1, o->words);
    if (!c)
        die_lib(NULL);
    int64_t n = mot_captions_count(c), unused = mot_captions_unused(c);
    if (unused)
        note("ids that have references and no caption, and do not count: %lld", (long long)unused);
    if (n == 1)
        note("CIDEr weighs words by how few pictures have them, and here is but one: none is told");
    eval_print_metric_head(o);
    for (int k = 0; k < MOT_CAPTION_METRICS; k++) {
        struct metric m = {c, (enum mot_caption_metric)k};
        double x = mot_captions_figure(c, m.metric, NULL, n);
        eval_print_metric(o, names[k], n, x, eval_interval(o, x, figure, &m, n, 0));
    }
    mot_captions_close(c);
}
