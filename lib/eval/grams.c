/* SPDX-License-Identifier: MIT
 *
 * grams.c - the runs of one to four words in a set of sentences, numbered, and how often each sentence has each of its own.
 */
#include <stdlib.h>

#include "eval.h"

static int by_words(const void *a, const void *b)
{
    const struct mot_gram *x = a, *y = b;
    for (int k = 0; k < MOT_GRAM; k++)
        if (x->word[k] != y->word[k])
            return x->word[k] < y->word[k] ? -1 : 1;
    return 0;
}

static int by_gram(const void *a, const void *b)
{
    const struct mot_counted *x = a, *y = b;
    return (x->gram > y->gram) - (x->gram < y->gram);
}

int mot_gram_length(const struct mot_gram *g)
{
    int n = 0;
    while (n < MOT_GRAM && g->word[n] >= 0)
        n++;
    return n;
}

/* Runs in a sentence of n words. */
static int64_t runs(int64_t n)
{
    int64_t sum = 0;
    for (int64_t k = 0; k < MOT_GRAM && k < n; k++)
        sum += n - k;
    return sum;
}

static struct mot_gram gram_at(const struct mot_sentence *s, int64_t i, int length)
{
    struct mot_gram g;
    for (int k = 0; k < MOT_GRAM; k++)
        g.word[k] = k < length ? s->word[i + k] : -1;
    return g;
}

static int64_t put_runs(const struct mot_sentence *s, struct mot_gram *out)
{
    int64_t n = 0;
    for (int length = 1; length <= MOT_GRAM; length++)
        for (int64_t i = 0; i + length <= s->n; i++)
            out[n++] = gram_at(s, i, length);
    return n;
}

/* What a sentence counts, into `out`. */
static int64_t count(const struct mot_grams *g, struct mot_sentence *s, struct mot_counted *out)
{
    int64_t n = 0, kept = 0;
    for (int length = 1; length <= MOT_GRAM; length++)
        for (int64_t i = 0; i + length <= s->n; i++) {
            struct mot_gram key = gram_at(s, i, length);
            const struct mot_gram *at = bsearch(&key, g->gram, (size_t)g->n, sizeof key, by_words);
            out[n++] = (struct mot_counted){(int32_t)(at - g->gram), 1};
        }
    qsort(out, (size_t)n, sizeof *out, by_gram);
    for (int64_t i = 0; i < n; i++)
        if (kept && out[kept - 1].gram == out[i].gram)
            out[kept - 1].count++;
        else
            out[kept++] = out[i];
    s->counted = out;
    s->n_counted = kept;
    return kept;
}

int mot_grams_make(struct mot_grams *g, struct mot_sentence *s, int64_t n)
{
    int64_t all = 0, at = 0;
    for (int64_t i = 0; i < n; i++)
        all += runs(s[i].n);
    *g = (struct mot_grams){0};
    if (all > INT32_MAX)
        return mot_fail(MOT_EARG, "%lld runs of words are more than can be counted", (long long)all);
    g->gram = mot_alloc((size_t)all, sizeof *g->gram);
    g->counted = mot_alloc((size_t)all, sizeof *g->counted);
    if (!g->gram || !g->counted)
        return MOT_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        at += put_runs(&s[i], g->gram + at);
    qsort(g->gram, (size_t)all, sizeof *g->gram, by_words);
    for (int64_t i = 0; i < all; i++)
        if (g->n == 0 || by_words(&g->gram[g->n - 1], &g->gram[i]) != 0)
            g->gram[g->n++] = g->gram[i];
    at = 0;
    for (int64_t i = 0; i < n; i++)
        at += count(g, &s[i], g->counted + at);
    return MOT_OK;
}

void mot_grams_free(struct mot_grams *g)
{
    mot_free(g->gram);
    mot_free(g->counted);
    *g = (struct mot_grams){0};
}
