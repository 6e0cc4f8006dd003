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
    *c = (struct mot_curve){.n = s->n, .share = share};
    double *scratch = mot_alloc((size_t)s->n, sizeof *scratch);
    c->loss = mot_alloc((size_t)s->n, sizeof *c->loss);
    c->raw = mot_alloc((size_t)s->n, sizeof *c->raw);
    int rc = scratch && c->loss && c->raw ? MOT_OK : MOT_ENOMEM;
    for (int m = 0; !rc && m < MOT_MEASURES; m++) {
        if (!l->spent[m])
            continue;
        if (!(c->spent[m] = mot_alloc((size_t)s->n, sizeof *c->spent[m])))
            rc = MOT_ENOMEM;
        for (int64_t i = 0; !rc && i < s->n; i++)
            c->spent[m][i] = l->spent[m][s->row[i]];
    }
    if (!rc) {
        memcpy(c->raw, s->loss, (size_t)s->n * sizeof *c->raw);
        smooth(c->spent[MOT_STEPS], c->raw, c->n, share, scratch, c->loss);
    }
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
    mot_free(c->raw);
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

enum { RESAMPLES = 1000, BLOCKS = 200, FEWEST = 5 };

static void fit(const struct mot_match *r, int m, struct mot_ratio *out)
{
    double xy = 0, xx = 0;
    for (int64_t i = 0; i < r->n_reached; i++) { /* losses fall, so the reached points are the first */
        xy += r->point[i].dense[m] * r->point[i].other[m];
        xx += r->point[i].dense[m] * r->point[i].dense[m];
    }
    *out = (struct mot_ratio){xx > 0 ? xy / xx : NAN, NAN, NAN};
}

/* ---- intervals ----
 *
 * Steps matched at neighbouring losses err together, over a good part of the run: blocks of them, drawn as in a common
 * bootstrap, give intervals that are far too narrow.  What is independent is the noise of the losses themselves.  So both
 * curves get such noise anew, and all else follows from it, the smoothing and the first passages too: a wild bootstrap over
 * blocks of consecutive steps (Wu 1986, Shao 2010).  The noise of a block's mean is taken to be what it has against the line
 * between its neighbours; noise that lasts for some steps is in the means, noise that lasts for many blocks is not seen.
 * On artificial runs (tests/unit/test_profile_match.c) 95 % intervals hold the true ratio 92 to 98 times in 100.
 */
struct blocks {
    int n;
    double share;
    double spent[MOT_MEASURES][BLOCKS], loss[BLOCKS], noise[BLOCKS]; /* at the end of each block */
};

/* A curve of FEWEST points or more, so that there are as many blocks and the middle ones have two neighbours. */
static void cut_blocks(const struct mot_curve *c, struct blocks *b)
{
    int64_t length = (c->n + BLOCKS - 1) / BLOCKS;
    double mean[BLOCKS];
    *b = (struct blocks){.n = (int)(c->n / length), .share = c->share};
    for (int i = 0; i < b->n; i++) {
        int64_t end = c->n - (b->n - 1 - i) * length; /* the first points may be left over */
        double sum = 0;
        for (int64_t j = end - length; j < end; j++)
            sum += c->raw[j];
        mean[i] = sum / (double)length;
        b->loss[i] = c->loss[end - 1];
        for (int m = 0; m < MOT_MEASURES; m++)
            b->spent[m][i] = c->spent[m] ? c->spent[m][end - 1] : NAN;
    }
    for (int i = 0; i < b->n; i++) {
        int j = i == 0 ? 1 : i == b->n - 1 ? i - 1 : i;
        b->noise[i] = sqrt(2.0 / 3) * fabs(mean[j] - (mean[j - 1] + mean[j + 1]) / 2);
    }
}

static void draw(const struct blocks *b, uint64_t seed, uint64_t stream, uint64_t index, double *loss)
{
    double z[BLOCKS], suffix[BLOCKS];
    for (int i = 0; i < b->n; i++)
        z[i] = b->noise[i] * mot_random_normal(seed, stream, index + (uint64_t)i);
    smooth(b->spent[MOT_STEPS], z, b->n, b->share, suffix, loss);
    for (int i = 0; i < b->n; i++)
        loss[i] += b->loss[i];
}

/* The slopes between two curves given at the ends of blocks. */
static void block_slopes(const struct blocks *dense, const double *dense_loss, const struct blocks *other,
                         const double *other_loss, double slope[MOT_MEASURES])
{
    double xy[MOT_MEASURES] = {0}, xx[MOT_MEASURES] = {0}, lowest = INFINITY;
    for (int i = 0, j = 0; i < dense->n; i++) {
        if (!(dense_loss[i] < lowest))
            continue;
        lowest = dense_loss[i];
        while (j < other->n && other_loss[j] > lowest)
            j++;
        if (j == other->n)
            break;
        double part = j ? (other_loss[j - 1] - lowest) / (other_loss[j - 1] - other_loss[j]) : 1;
        for (int m = 0; m < MOT_MEASURES; m++) {
            double x = dense->spent[m][i], y = other->spent[m][j];
            if (j)
                y = other->spent[m][j - 1] + part * (y - other->spent[m][j - 1]);
            xy[m] += x * y;
            xx[m] += x * x;
        }
    }
    for (int m = 0; m < MOT_MEASURES; m++)
        slope[m] = xy[m] / xx[m];
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

/* Percentiles of drawn slopes, moved by what cutting into blocks changed; the slope itself is always inside. */
static void interval(double *drawn, int n, double blocks, double confidence, struct mot_ratio *r)
{
    if (isnan(r->slope) || isnan(blocks) || n < RESAMPLES / 2)
        return;
    qsort(drawn, (size_t)n, sizeof *drawn, ascending);
    double lo = quantile(drawn, n, (1 - confidence) / 2), hi = quantile(drawn, n, (1 + confidence) / 2);
    r->lo = fmin(r->slope, lo + r->slope - blocks);
    r->hi = fmax(r->slope, hi + r->slope - blocks);
}

static void bootstrap(const struct mot_curve *dense, const struct mot_curve *other, double confidence, uint64_t seed,
                      struct mot_ratio ratio[MOT_MEASURES])
{
    struct blocks d, o;
    double dense_loss[BLOCKS], other_loss[BLOCKS], plain[MOT_MEASURES], slope[MOT_MEASURES];
    double drawn[MOT_MEASURES][RESAMPLES];
    int n[MOT_MEASURES] = {0};
    if (dense->n < FEWEST || other->n < FEWEST)
        return;
    cut_blocks(dense, &d);
    cut_blocks(other, &o);
    uint64_t of_dense = mot_stream("noise of dense"), of_other = mot_stream("noise of the other");
    block_slopes(&d, d.loss, &o, o.loss, plain);
    for (uint64_t k = 0; k < RESAMPLES; k++) {
        draw(&d, seed, of_dense, k * BLOCKS, dense_loss);
        draw(&o, seed, of_other, k * BLOCKS, other_loss);
        block_slopes(&d, dense_loss, &o, other_loss, slope);
        for (int m = 0; m < MOT_MEASURES; m++)
            if (!isnan(slope[m]))
                drawn[m][n[m]++] = slope[m];
    }
    for (int m = 0; m < MOT_MEASURES; m++)
        interval(drawn[m], n[m], plain[m], confidence, &ratio[m]);
}

int mot_match_curves(const struct mot_curve *dense, const struct mot_curve *other, double confidence, uint64_t seed,
                     struct mot_match *r)
{
    *r = (struct mot_match){.dense_loss = lowest_of(dense), .other_loss = lowest_of(other), .final = NAN};
    r->reached = reached_share(dense, r->other_loss);
    int rc = find_points(dense, other, r);
    if (rc) {
        mot_match_free(r);
        return rc;
    }
    for (int m = 0; m < MOT_MEASURES; m++)
        fit(r, m, &r->ratio[m]);
    bootstrap(dense, other, confidence, seed, r->ratio);
    if (r->n)
        r->final = r->point[r->n - 1].other[MOT_STEPS] / r->point[r->n - 1].dense[MOT_STEPS];
    return MOT_OK;
}

void mot_match_free(struct mot_match *r)
{
    mot_free(r->point);
    r->point = NULL;
    r->n = r->n_reached = 0;
}
