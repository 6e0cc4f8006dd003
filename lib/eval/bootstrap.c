/* SPDX-License-Identifier: MIT
 *
 * bootstrap.c - confidence intervals of whatever can be computed from units (documents, captions, pictures): it is computed
 * again from as many units drawn with replacement, many times over, and the middle share of what comes out is the interval.
 *
 * Drawing with replacement may shift a figure for itself (sets of pictures in which some stand twice are farther apart than
 * the sets they were drawn from), so the interval is moved by what the mean of the drawn figures is off the figure itself.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "../base/base.h"

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

/* Units for the k-th figure; both samples keep their sizes. */
static void draw(const struct mot_bootstrap *b, uint64_t stream, int k, int64_t *pick)
{
    uint64_t index = (uint64_t)k * (uint64_t)b->n, first = (uint64_t)b->first, rest = (uint64_t)b->n - first;
    for (int64_t i = 0; i < b->first; i++)
        pick[i] = (int64_t)mot_random_below(b->seed, stream, index + (uint64_t)i, first);
    for (int64_t i = b->first; i < b->n; i++)
        pick[i] = (int64_t)(first + mot_random_below(b->seed, stream, index + (uint64_t)i, rest));
}

static int ask(const struct mot_bootstrap *b, double *drawn)
{
    uint64_t stream = mot_stream("bootstrap");
    int threads = b->threads > 0 ? b->threads : omp_get_max_threads(), failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int64_t *pick = mot_alloc((size_t)b->n, sizeof *pick);
        failed |= !pick;
#pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < b->resamples; k++) {
            if (!pick)
                continue;
            draw(b, stream, k, pick);
            drawn[k] = b->figure(b->context, pick, b->n);
        }
        mot_free(pick);
    }
    return failed ? mot_fail(MOT_ENOMEM, "no memory to draw %lld units", (long long)b->n) : MOT_OK;
}

/* The figures that are numbers, to the front; how many. */
static int numbers(double *drawn, int n)
{
    int kept = 0;
    for (int k = 0; k < n; k++)
        if (isfinite(drawn[k]))
            drawn[kept++] = drawn[k];
    return kept;
}

int mot_bootstrap(const struct mot_bootstrap *b, double value, struct mot_interval *out)
{
    *out = (struct mot_interval){NAN, NAN};
    bool lone = b->n - b->first < 2 || b->first == 1; /* a sample of one tells nothing of others */
    if (lone || !isfinite(value) || b->resamples < 1)
        return MOT_OK;
    double *drawn = mot_alloc((size_t)b->resamples, sizeof *drawn), mean = 0;
    int rc = drawn ? ask(b, drawn) : MOT_ENOMEM;
    int n = rc ? 0 : numbers(drawn, b->resamples);
    if (n > b->resamples / 2) { /* else there is hardly a figure to speak of */
        qsort(drawn, (size_t)n, sizeof *drawn, ascending);
        for (int k = 0; k < n; k++)
            mean += drawn[k] / n;
        out->lo = quantile(drawn, n, (1 - b->confidence) / 2) + value - mean;
        out->hi = quantile(drawn, n, (1 + b->confidence) / 2) + value - mean;
    }
    mot_free(drawn);
    return rc;
}
