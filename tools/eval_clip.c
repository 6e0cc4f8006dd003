/* SPDX-License-Identifier: MIT
 *
 * eval_clip.c - how well pictures and the texts beside them go together, as a CLIP sees it.
 */
#include <math.h>
#include <stdlib.h>

#include "eval.h"

struct matching {
    const char *path;
    struct mot_clip *clip;
    float *picture, *text;
    double *cosine;
    int64_t n, capacity, alone; /* alone: pictures without a text */
};

static void match(void *context, const struct mot_image *im, const struct mot_bytes *text)
{
    struct matching *m = context;
    double sum = 0;
    if (text->n == 0) {
        m->alone++;
        return;
    }
    if (mot_clip_picture(m->clip, im, m->picture) || mot_clip_text(m->clip, text->data, text->n, m->text))
        die_lib("%s", m->path);
    for (int i = 0; i < mot_clip_width(m->clip); i++)
        sum += (double)m->picture[i] * (double)m->text[i];
    if (m->n == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 1024;
        m->cosine = realloc(m->cosine, (size_t)m->capacity * sizeof *m->cosine);
        if (!m->cosine)
            die("no memory for so many pictures");
    }
    m->cosine[m->n++] = sum;
}

static double mean_cosine(const void *context, const int64_t *pick, int64_t n)
{
    const struct matching *m = context;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += m->cosine[pick ? pick[i] : i];
    return sum / (double)n;
}

static double mean_score(const void *context, const int64_t *pick, int64_t n)
{
    const struct matching *m = context;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += 100 * fmax(0, m->cosine[pick ? pick[i] : i]);
    return sum / (double)n;
}

void eval_clip(const struct eval_options *o)
{
    struct matching m = {.clip = mot_clip_open(o->clip, o->threads)};
    struct mot_tokenizer *given = o->tokenizer ? mot_tokenizer_open(o->tokenizer) : NULL;
    if (!m.clip || (o->tokenizer && (!given || mot_tokenizer_device(given, o->device ? o->device : "cpu"))))
        die_lib(NULL);
    m.picture = calloc(2 * (size_t)mot_clip_width(m.clip), sizeof *m.picture);
    if (!m.picture)
        die("no memory for a vector");
    m.text = m.picture + mot_clip_width(m.clip);
    for (int i = 0; i < o->n_inputs; i++) {
        struct eval_pictures set;
        m.path = o->input[i];
        eval_pictures_open(&set, o, o->input[i]);
        eval_pictures_tokenizer(&set, given);
        eval_pictures_read(&set, match, &m);
        eval_pictures_close(&set);
    }
    if (m.alone)
        note("pictures without a text beside them, which do not count: %lld", (long long)m.alone);
    if (m.n == 0)
        die("%s: no picture with a text beside it", o->input[0]);
    double cosine = mean_cosine(&m, NULL, m.n), score = mean_score(&m, NULL, m.n);
    eval_print_metric_head(o);
    eval_print_metric(o, "clip_score", m.n, score, eval_interval(o, score, mean_score, &m, m.n, 0));
    eval_print_metric(o, "clip_cosine", m.n, cosine, eval_interval(o, cosine, mean_cosine, &m, m.n, 0));
    free(m.picture);
    free(m.cosine);
    mot_tokenizer_close(given);
    mot_clip_close(m.clip);
}
