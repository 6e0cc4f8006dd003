/* SPDX-License-Identifier: MIT
 *
 * match.c - the paper's step matching: how much of dense's steps, FLOPs and seconds another run needs for dense's losses.
 *
 * Each loss that dense reaches for the first time, at t, is looked up in the other run: there it is reached for the first
 * time at t'.  First passage is meant of both alike, so that a lucky step counts the same on either side, and a loss that
 * rises again (over-fitting) asks nothing.  The slope of t' against t through the origin is the paper's figure.
 *
 * A loss of training is smoothed by the mean over the last share X of all steps so far, (t (1 - X), t].  A window that
 * grows with t makes a run that is dense stretched in time by r look, smoothed, like smoothed dense stretched by r, and so
 * gives the slope r.  Windows of fixed length do not: they lag by a constant, which pulls every ratio towards 1.
 */
#include <math.h>
#include <stdlib.h>

#include "profile.h"

/* ---- curves ---- */

/* Sums over a sliding window without subtraction, which would leave a trace of every value that was ever in it: the older
 * part of the window, [begin, split), by its suffix sums, the younger one by a running sum. */
static void smooth(const double *step, const double *loss, int64_t n, double share, double *suffix, double *mean)
{
    double young = 0;
    for (int64_t i = 0, begin = 0, split = 0; i < n; i++) {
        while (begin < i && step[begin] <= step[i] * (1 - share))
            begin++;
        young += loss[i];
        if (begin >= split) {
            split = i + 1;
            young = 0;
            for (int64_t j = i; j >= begin; j--)
                suffix[j] = loss[j] + (j < i ? suffix[j + 1] : 0);
        }
        mean[i] = (suffix[begin] + young) / (double)(i - begin + 1);
    }
}

int mot_curve_make(const struct mot_runlog *l, int modality, double share, struct mot_curve *c)
{
    const struct mot_series *s = &l->series[modality];
    *c = (struct mot_curve){.n = s->n};
    double *scratch = mot_alloc((size_t)s->n, sizeof *scratch);
    int rc = scratch && (c->loss = mot_alloc((size_t)s->n, sizeof *c->loss)) ? MOT_OK : MOT_ENOMEM;
    for (int m = 0; !rc && m < MOT_MEASURES; m++) {
        if (!l->spent[m])
            continue;
        if (!(c->spent[m] = mot_alloc((size_t)s->n, sizeof *c->spent[m])))
            rc = MOT_ENOMEM;
        for (int64_t i = 0; !rc && i < s->n; i++)
            c->spent[m][i] = l->spent[m][s->row[i]];
    }
    if (!rc)
        smooth(c->spent[MOT_STEPS], s->loss, s->n, share, scratch, c->loss);
    mot_free(scratch);
    if (rc)
        mot_curve_free(c);
    return rc;
}

void mot_curve_free(struct mot_curve *c)
{
    for (int m = 0; m < MOT_MEASURES; m++)
        mot_free(c->spent[m]);
    mot_free(c->loss);
    *c = (struct mot_curve){0};
}

/* ---- points ---- */

/* What was spent when the curve came down to `loss` between its points i - 1 and i, by straight lines. */
static double spent_at(const struct mot_curve *c, int m, int64_t i, double loss)
{
    const double *x = c->spent[m];
    if (!x)
        return NAN;
    if (i == 0)
        return x[0];
    double part = (c->loss[i - 1] - loss) / (c->loss[i - 1] - c->loss[i]);
    return x[i - 1] + part * (x[i] - x[i - 1]);
}

static int find_points(const struct mot_curve *dense, const struct mot_curve *other, struct mot_match *r)
{
    int64_t capacity = 0, j = 0;
    double lowest = INFINITY;
    for (int64_t i = 0; i < dense->n; i++) {
        if (!(dense->loss[i] < lowest) || !(dense->spent[MOT_STEPS][i] > 0))
            continue;
        lowest = dense->loss[i];
        while (j < other->n && other->loss[j] > lowest)
            j++;
        if (mot_grow((void **)&r->point, r->n, &capacity, sizeof *r->point))
            return MOT_ENOMEM;
        struct mot_match_point *p = &r->point[r->n++];
        p->loss = lowest;
        for (int m = 0; m < MOT_MEASURES; m++) {
            p->dense[m] = dense->spent[m] ? dense->spent[m][i] : NAN;
            p->other[m] = j < other->n ? spent_at(other, m, j, lowest) : NAN;
        }
        r->n_reached += j < other->n;
    }
    return MOT_OK;
}

static double lowest_of(const struct mot_curve *c)
{
    double x = NAN;
    for (int64_t i = 0; i < c->n; i++)
        x = c->loss[i] >= x ? x : c->loss[i];
    return x;
}

/* The share of dense's steps until it went below the other's lowest loss. */
static double reached_share(const struct mot_curve *dense, double other_lowest)
{
    int64_t i = 0;
    while (i < dense->n && dense->loss[i] >= other_lowest)
        i++;
    const double *step = dense->spent[MOT_STEPS];
    return i ? step[i - 1] / step[dense->n - 1] : 0;
}

/* ---- slopes ---- */

enum { RESAMPLES = 1000, BLOCKS = 10, FEWEST = 5 };

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1), below = floor(at);
    int i = (int)below;
    return i + 1 < n ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

/* Moving-block bootstrap (Kuensch 1989): neighbouring points share noise, so whole stretches are drawn, a tenth of the points
 * long, until there are n points again.  xy and xx are running sums, [n + 1], so that a stretch costs two look-ups.
 * Each measure sees the same stretches. */
static void bootstrap(const double *xy, const double *xx, int64_t n, double confidence, uint64_t seed,
                      struct mot_ratio *r)
{
    double slope[RESAMPLES];
    int64_t length = (n + BLOCKS - 1) / BLOCKS;
    uint64_t stream = mot_stream("step matching"), index = 0;
    for (int k = 0; k < RESAMPLES; k++) {
        double sum_xy = 0, sum_xx = 0;
        for (int64_t drawn = 0; drawn < n; drawn += length) {
            int64_t take = n - drawn < length ? n - drawn : length;
            int64_t i = (int64_t)mot_random_below(seed, stream, index++, (uint64_t)(n - take + 1));
            sum_xy += xy[i + take] - xy[i];
            sum_xx += xx[i + take] - xx[i];
        }
        slope[k] = sum_xy / sum_xx;
    }
    qsort(slope, RESAMPLES, sizeof *slope, ascending);
    r->lo = quantile(slope, RESAMPLES, (1 - confidence) / 2);
    r->hi = quantile(slope, RESAMPLES, (1 + confidence) / 2);
}

static int fit(const struct mot_match *r, int m, double confidence, uint64_t seed, struct mot_ratio *out)
{
    int64_t n = r->n_reached;
    *out = (struct mot_ratio){NAN, NAN, NAN};
    double *xy = mot_alloc((size_t)n + 1, sizeof *xy), *xx = mot_alloc((size_t)n + 1, sizeof *xx);
    for (int64_t i = 0; xy && xx && i < n; i++) { /* losses fall, so the reached points are the first */
        double x = r->point[i].dense[m], y = r->point[i].other[m];
        xy[i + 1] = xy[i] + x * y;
        xx[i + 1] = xx[i] + x * x;
    }
    int rc = xy && xx ? MOT_OK : MOT_ENOMEM;
    if (!rc && n > 0 && xx[n] > 0)
        out->slope = xy[n] / xx[n];
    if (!rc && n >= FEWEST && xx[n] > 0)
        bootstrap(xy, xx, n, confidence, seed, out);
    mot_free(xy);
    mot_free(xx);
    return rc;
}

int mot_match_curves(const struct mot_curve *dense, const struct mot_curve *other, double confidence, uint64_t seed,
                     struct mot_match *r)
{
    *r = (struct mot_match){.dense_loss = lowest_of(dense), .other_loss = lowest_of(other), .final = NAN};
    r->reached = reached_share(dense, r->other_loss);
    int rc = find_points(dense, other, r);
    for (int m = 0; !rc && m < MOT_MEASURES; m++)
        rc = fit(r, m, confidence, seed, &r->ratio[m]);
    const struct mot_match_point *last = r->n ? &r->point[r->n - 1] : NULL;
    if (!rc && last)
        r->final = last->other[MOT_STEPS] / last->dense[MOT_STEPS];
    if (rc)
        mot_match_free(r);
    return rc;
}

void mot_match_free(struct mot_match *r)
{
    mot_free(r->point);
    r->point = NULL;
    r->n = r->n_reached = 0;
}
