/* SPDX-License-Identifier: MIT
 *
 * sampler.c - one token from logits: temperature, the k most probable (Fan et al. 2018), the most probable that make up a
 * share p (Holtzman et al. 2020), those at least min_p times as probable as the first (Nguyen et al. 2025), in this order.
 */
#include <math.h>
#include <stdlib.h>

#include "generate.h"

int mot_sampler_new(struct mot_sampler *s, int64_t vocab_size)
{
    s->candidate = mot_alloc((size_t)vocab_size, sizeof *s->candidate);
    return s->candidate ? MOT_OK : MOT_ENOMEM;
}

void mot_sampler_free(struct mot_sampler *s)
{
    mot_free(s->candidate);
    s->candidate = NULL;
}

/* Does a stand before b: more probable, or the lower id of two that are as probable. */
static bool before(const struct mot_candidate *a, const struct mot_candidate *b)
{
    return a->p > b->p || (!(a->p < b->p) && a->id < b->id);
}

static int by_probability(const void *a, const void *b)
{
    return before(a, b) ? -1 : 1;
}

static void swap(struct mot_candidate *a, struct mot_candidate *b)
{
    struct mot_candidate t = *a;
    *a = *b;
    *b = t;
}

/* Bring the k first of n to the front, in any order (quickselect). */
static void select_first(struct mot_candidate *c, int64_t n, int64_t k)
{
    for (int64_t lo = 0, hi = n; hi - lo > 1 && k > lo && k < hi;) {
        struct mot_candidate pivot = c[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi - 1;
        while (i <= j) {
            while (before(&c[i], &pivot))
                i++;
            while (before(&pivot, &c[j]))
                j--;
            if (i <= j)
                swap(&c[i++], &c[j--]);
        }
        if (k <= j + 1)
            hi = j + 1;
        else
            lo = i;
    }
}

static int64_t gather(struct mot_candidate *c, const mot_real *z, const struct mot_ranges *allowed)
{
    int64_t n = 0;
    for (int r = 0; r < allowed->n; r++)
        for (int32_t id = allowed->range[r].from; id < allowed->range[r].to; id++)
            c[n++] = (struct mot_candidate){(float)z[id], id};
    return n;
}

static int64_t largest(const struct mot_candidate *c, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (before(&c[i], &c[best]))
            best = i;
    return best;
}

/* Logits into probabilities. */
static void soften(struct mot_candidate *c, int64_t n, double temperature)
{
    double max = (double)c[largest(c, n)].p, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        c[i].p = (float)exp(((double)c[i].p - max) / temperature);
        sum += (double)c[i].p;
    }
    for (int64_t i = 0; i < n; i++)
        c[i].p = (float)((double)c[i].p / sum);
}

/* The first ones, sorted, that make up a share `p` of all: usually few, so that few are sorted. */
static int64_t keep_share(struct mot_candidate *c, int64_t n, double p)
{
    for (int64_t some = 256;; some *= 16) {
        some = some < n ? some : n;
        select_first(c, n, some);
        qsort(c, (size_t)some, sizeof *c, by_probability);
        double sum = 0;
        for (int64_t i = 0; i < some; i++) {
            sum += (double)c[i].p;
            if (sum >= p)
                return i + 1;
        }
        if (some == n)
            return n;
    }
}

static int64_t keep_probable(struct mot_candidate *c, int64_t n, double share)
{
    double least = share * (double)c[largest(c, n)].p;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if ((double)c[i].p >= least)
            c[kept++] = c[i];
    return kept;
}

int32_t mot_sample(struct mot_sampler *s, const mot_real *logits, const struct mot_ranges *allowed,
                   const struct mot_sampling *how, double u)
{
    struct mot_candidate *c = s->candidate;
    int64_t n = gather(c, logits, allowed);
    if (how->temperature <= 0)
        return c[largest(c, n)].id;
    if (how->top_k > 0 && how->top_k < n) {
        select_first(c, n, how->top_k);
        n = how->top_k;
    }
    soften(c, n, how->temperature);
    if (how->top_p < 1)
        n = keep_share(c, n, how->top_p);
    if (how->min_p > 0)
        n = keep_probable(c, n, how->min_p);
    double sum = 0, seen = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)c[i].p;
    for (int64_t i = 0; i < n; i++) {
        seen += (double)c[i].p;
        if (u * sum < seen)
            return c[i].id;
    }
    return c[n - 1].id;
}
