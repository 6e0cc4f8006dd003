/* SPDX-License-Identifier: MIT
 *
 * test_profile_match.c - step matching on made-up trainings whose ratios are known, and planning against hand-made sums.
 */
#include <stdlib.h>

#include "../../lib/profile/profile.h"
#include "../test.h"

/* ---- made-up trainings ---- */

static double *numbers(int64_t n)
{
    double *x = malloc((size_t)n * sizeof *x);
    if (!x)
        exit(1);
    return x;
}

/* A power law with a floor, stretched in time by r, raised, and with noise. */
struct kind {
    int64_t steps;
    double r, raised, noise;
    uint64_t seed;
};

static double truth(const struct kind *k, double step)
{
    return 2.9 + k->raised + 3.5 * pow(step / k->r, -0.4);
}

/* A step costs 2 FLOPs and 3 seconds, both after a start of none. */
static struct mot_runlog *training(const struct kind *k)
{
    struct mot_runlog *l = calloc(1, sizeof *l);
    if (!l)
        exit(1);
    l->n = k->steps;
    l->n_series = 1;
    for (int m = 0; m < MOT_MEASURES; m++)
        l->spent[m] = numbers(k->steps);
    struct mot_series *s = &l->series[0];
    *s = (struct mot_series){.n = k->steps, .row = malloc((size_t)k->steps * sizeof *s->row), .loss = numbers(k->steps)};
    if (!s->row)
        exit(1);
    for (int64_t i = 0; i < k->steps; i++) {
        double step = (double)(i + 1);
        l->spent[MOT_STEPS][i] = step;
        l->spent[MOT_FLOPS][i] = 2 * step;
        l->spent[MOT_SECONDS][i] = 3 * step;
        s->row[i] = i;
        s->loss[i] = truth(k, step) + k->noise * mot_random_normal(k->seed, 1, (uint64_t)i);
    }
    return l;
}

static struct mot_curve curve(const struct kind *k, double share)
{
    struct mot_runlog *l = training(k);
    struct mot_curve c;
    CHECK_INT(mot_curve_make(l, 0, share, &c), MOT_OK);
    mot_runlog_close(l);
    return c;
}

static struct mot_match match(struct kind dense, struct kind other, double share, uint64_t seed)
{
    struct mot_curve d = curve(&dense, share), o = curve(&other, share);
    struct mot_match r;
    CHECK_INT(mot_match_curves(&d, &o, 0.95, seed, &r), MOT_OK);
    mot_curve_free(&d);
    mot_curve_free(&o);
    return r;
}

/* ---- step matching ---- */

static void test_known_ratios(void)
{
    static const double ratio[] = {0.25, 0.5, 0.8, 1, 1.25};
    for (int i = 0; i < 5; i++) {
        double r = ratio[i];
        struct kind dense = {2000, 1, 0, 0, 0}, other = {2600, r, 0, 0, 0};
        struct mot_match m = match(dense, other, 0.2, 0);
        for (int k = 0; k < MOT_MEASURES; k++) {
            CHECK_NEAR(m.ratio[k].slope, r, 0, 2e-3);
            CHECK(m.ratio[k].lo <= m.ratio[k].slope && m.ratio[k].slope <= m.ratio[k].hi);
        }
        CHECK_NEAR(m.final, r, 0, 2e-3);
        CHECK_NEAR(m.reached, 1, 0, 0);
        CHECK_INT(m.n_reached, m.n);
        mot_match_free(&m);
    }
}

/* A run takes as long as itself, to the last digit, noise or not. */
static void test_itself(void)
{
    struct kind k = {500, 1, 0, 0.1, 7};
    struct mot_match m = match(k, k, 0.2, 0);
    for (int i = 0; i < MOT_MEASURES; i++)
        CHECK_NEAR(m.ratio[i].slope, 1, 1e-12, 0);
    CHECK_NEAR(m.final, 1, 0, 0);
    CHECK_NEAR(m.dense_loss, m.other_loss, 0, 0);
    CHECK(m.ratio[0].lo < 0.99 && m.ratio[0].hi > 1.01); /* the noise is seen nevertheless */
    mot_match_free(&m);
}

/* Costs a step that differ show in FLOPs and seconds alone. */
static void test_other_costs(void)
{
    struct kind dense = {1000, 1, 0, 0, 0}, other = {1000, 0.5, 0, 0, 0};
    struct mot_curve d = curve(&dense, 0.2), o = curve(&other, 0.2);
    for (int64_t i = 0; i < o.n; i++) {
        o.spent[MOT_FLOPS][i] *= 1.5;
        o.spent[MOT_SECONDS][i] *= 4;
    }
    struct mot_match m;
    CHECK_INT(mot_match_curves(&d, &o, 0.95, 0, &m), MOT_OK);
    CHECK_NEAR(m.ratio[MOT_STEPS].slope, 0.5, 0, 2e-3);
    CHECK_NEAR(m.ratio[MOT_FLOPS].slope, 0.75, 0, 2e-3);
    CHECK_NEAR(m.ratio[MOT_SECONDS].slope, 2, 0, 2e-3);
    mot_match_free(&m);
    free(o.spent[MOT_SECONDS]);
    o.spent[MOT_SECONDS] = NULL; /* not logged */
    CHECK_INT(mot_match_curves(&d, &o, 0.95, 0, &m), MOT_OK);
    CHECK(isnan(m.ratio[MOT_SECONDS].slope) && isnan(m.ratio[MOT_SECONDS].lo));
    CHECK_NEAR(m.ratio[MOT_STEPS].slope, 0.5, 0, 2e-3);
    mot_match_free(&m);
    mot_curve_free(&d);
    mot_curve_free(&o);
}

/* 95 % intervals hold the truth nearly that often, and the slope has little bias. */
static void noisy(double r)
{
    enum { RUNS = 60 };
    int held = 0;
    double sum = 0;
    for (uint64_t i = 0; i < RUNS; i++) {
        struct kind dense = {3000, 1, 0, 0.1, 2 * i + 1}, other = {r > 1 ? 4000 : 3000, r, 0, 0.1, 2 * i + 2};
        struct mot_match m = match(dense, other, 0.2, i);
        held += m.ratio[0].lo <= r && r <= m.ratio[0].hi;
        sum += m.ratio[0].slope;
        mot_match_free(&m);
    }
    CHECK_NEAR(sum / RUNS, r, 0, 0.03);
    CHECK(held >= 52); /* of 60; a fair coverage of .95 gives less once in 100 */
}

static void test_noise(void)
{
    noisy(0.5);
    noisy(1);
    noisy(1.2);
}

static void test_same_seed_same_interval(void)
{
    struct kind dense = {400, 1, 0, 0.1, 1}, other = {400, 0.7, 0, 0.1, 2};
    struct mot_match a = match(dense, other, 0.2, 5), b = match(dense, other, 0.2, 5), c = match(dense, other, 0.2, 6);
    CHECK(a.ratio[0].lo == b.ratio[0].lo && a.ratio[0].hi == b.ratio[0].hi);
    CHECK(a.ratio[0].lo != c.ratio[0].lo);
    CHECK(a.ratio[0].slope == c.ratio[0].slope);
    mot_match_free(&a);
    mot_match_free(&b);
    mot_match_free(&c);
}

/* A run that is raised by h is at dense's early losses only. */
static void test_not_reached(void)
{
    struct kind dense = {2000, 1, 0, 0, 0}, other = {2000, 1, 0.1, 0, 0};
    struct mot_match m = match(dense, other, 0, 0);
    /* Other's lowest loss, 3.0 + 3.5 * 2000^-.4, is dense's at this step: */
    double step = pow(pow(2000, -0.4) + 0.1 / 3.5, -1 / 0.4);
    CHECK(isnan(m.final));
    CHECK_NEAR(m.reached, step / 2000, 1.0 / 2000, 0);
    CHECK(m.n_reached < m.n && isnan(m.point[m.n_reached].other[MOT_STEPS]));
    CHECK(m.ratio[0].slope > 1);
    CHECK_NEAR(m.other_loss - m.dense_loss, 0.1, 1e-12, 0);
    mot_match_free(&m);
    other.raised = 10;
    m = match(dense, other, 0, 0);
    CHECK_INT(m.n_reached, 0);
    CHECK_NEAR(m.reached, 0, 0, 0);
    CHECK(isnan(m.ratio[0].slope) && isnan(m.ratio[0].lo) && isnan(m.final));
    mot_match_free(&m);
}

/* Losses that rise again ask nothing; what dense had before is matched as ever. */
static void test_rising(void)
{
    struct kind k = {1000, 1, 0, 0, 0}, half = {1000, 0.5, 0, 0, 0};
    struct mot_curve d = curve(&k, 0), o = curve(&half, 0);
    for (int64_t i = 600; i < d.n; i++)
        d.loss[i] = d.raw[i] = d.loss[599] + 0.001 * (double)(i - 599);
    struct mot_match m;
    CHECK_INT(mot_match_curves(&d, &o, 0.95, 0, &m), MOT_OK);
    CHECK_INT(m.n, 600);
    CHECK_NEAR(m.point[599].dense[MOT_STEPS], 600, 0, 0);
    CHECK_NEAR(m.final, 0.5, 0, 2e-3);
    CHECK_NEAR(m.reached, 1, 0, 0);
    mot_match_free(&m);
    mot_curve_free(&d);
    mot_curve_free(&o);
}

static void test_few_points(void)
{
    struct kind one = {1, 1, 0, 0, 0}, many = {100, 0.5, 0, 0, 0};
    struct mot_match m = match(one, many, 0.2, 0);
    CHECK_INT(m.n, 1);
    CHECK_NEAR(m.ratio[0].slope, 1, 0, 0); /* its first step is lower already */
    CHECK(isnan(m.ratio[0].lo));
    mot_match_free(&m);
    for (int n = 2; n <= 4; n++) {
        struct kind few = {n, 1, 0, 0, 0};
        m = match(few, many, 0, 0);
        CHECK(!isnan(m.ratio[0].slope) && isnan(m.ratio[0].lo));
        mot_match_free(&m);
        m = match(many, few, 0, 0);
        CHECK(isnan(m.ratio[0].lo));
        mot_match_free(&m);
    }
}

static void test_million(void)
{
    struct kind dense = {1000000, 1, 0, 0.1, 1}, other = {1000000, 0.5, 0, 0.1, 2};
    struct mot_match m = match(dense, other, 0.2, 0);
    CHECK_NEAR(m.ratio[0].slope, 0.5, 0, 0.2);
    CHECK(m.ratio[0].lo < 0.5 && 0.5 < m.ratio[0].hi);
    mot_match_free(&m);
}

static void test_smoothing(void)
{
    struct kind k = {1000, 1, 0, 0.3, 3};
    struct mot_runlog *l = training(&k);
    l->series[0].loss[4] = 1e30; /* leaves no trace once it is out of the window */
    struct mot_curve c;
    CHECK_INT(mot_curve_make(l, 0, 0.2, &c), MOT_OK);
    for (int64_t i = 0; i < c.n; i++) {
        double sum = 0;
        int64_t n = 0;
        for (int64_t j = 0; j <= i; j++)
            if ((double)(j + 1) > (double)(i + 1) * (1 - 0.2) || j == i) {
                sum += l->series[0].loss[j];
                n++;
            }
        CHECK_NEAR(c.loss[i], sum / (double)n, 0, 1e-13);
    }
    CHECK(c.loss[3] < 100 && c.loss[4] > 1e29 && c.loss[900] < 100);
    mot_curve_free(&c);
    mot_runlog_close(l);
}

/* ---- planning ---- */

static struct mot_config small(void)
{
    struct mot_config c;
    CHECK_INT(mot_config_load(&c, "chameleon-37m"), MOT_OK);
    CHECK_INT(mot_config_settle(&c, "chameleon-37m", NULL, "dense"), MOT_OK);
    return c;
}

/* One device: products and passes alone; the memory is the plan's. */
static void test_one_device(void)
{
    struct mot_config c = small();
    struct mot_workload w = {.batch = 2, .seq = 100};
    struct mot_cluster k = {.devices = 1, .gemm = 1e12, .memory = 1e11, .overlap = 0.5};
    struct mot_forecast f;
    struct mot_memory m;
    struct mot_size size;
    CHECK_INT(mot_scale(&c, &w, &k, &f), MOT_OK);
    CHECK_INT(mot_cost_memory(&c, &w, NULL, NULL, 0, true, &m), MOT_OK);
    CHECK_INT(mot_config_size(&c, &size), MOT_OK);
    CHECK_NEAR(f.gemm, 3 * mot_forward_flops(&c, &(struct mot_rows){.n = 200, .pairs = 200 * 101 / 2.0}) / 1e12, 0, 1e-12);
    /* 4 layers, width 256, heads of the same width, FFN 768. */
    double values = 4 * (16 * 256 + 4 * 3 * 256 + 11 * 768) + 11 * 256;
    CHECK_NEAR(f.passes, (4 * 200 * values + 36.0 * (double)size.params_total) / 1e11, 0, 1e-12);
    CHECK_NEAR(f.step, f.gemm + f.passes, 0, 1e-12);
    CHECK_NEAR(f.communication, 0, 0, 0);
    CHECK_NEAR(f.memory, (double)(m.weights + m.gradients + m.optimizer + m.activations + m.workspace), 0, 1e-12);
    CHECK_NEAR(f.tokens_per_second, 200 / f.step, 0, 1e-12);
    CHECK_NEAR(f.utilization, f.gemm / f.step, 0, 1e-12);
}

static void test_sharding(void)
{
    struct mot_config c = small();
    struct mot_workload w = {.batch = 2, .seq = 100};
    struct mot_size size;
    CHECK_INT(mot_config_size(&c, &size), MOT_OK);
    double bytes = 2 * (double)size.params_total, rounds[] = {2, 2, 2, 3};
    struct mot_cluster k = {.devices = 1, .gemm = 1e12, .memory = 1e11, .link = 1e10, .latency = 1e-6, .bf16 = true};
    struct mot_forecast alone, f;
    CHECK_INT(mot_scale(&c, &w, &k, &alone), MOT_OK);
    k.devices = 8;
    for (int s = MOT_REPLICATED; s <= MOT_SHARD_WEIGHTS; s++) {
        k.sharding = (enum mot_sharding)s;
        CHECK_INT(mot_scale(&c, &w, &k, &f), MOT_OK);
        CHECK_NEAR(f.optimizer, alone.optimizer / (s >= MOT_SHARD_OPTIMIZER ? 8 : 1), 0, 1e-12);
        CHECK_NEAR(f.gradients, alone.gradients / (s >= MOT_SHARD_GRADIENTS ? 8 : 1), 0, 1e-12);
        CHECK_NEAR(f.weights, alone.weights / (s >= MOT_SHARD_WEIGHTS ? 8 : 1), 0, 1e-12);
        CHECK_NEAR(f.sent, 7.0 / 8 * rounds[s] * bytes, 0, 1e-12);
        CHECK_NEAR(f.communication, f.sent / 1e10 + 7e-6 * rounds[s] * 5, 0, 1e-12);
        CHECK_NEAR(f.step, f.gemm + f.passes + f.communication, 0, 1e-12);
    }
    k.overlap = 0.75;
    CHECK_INT(mot_scale(&c, &w, &k, &f), MOT_OK);
    double room = f.gemm + (f.passes - 30.0 * (double)size.params_total / 8 / 1e11);
    CHECK_NEAR(f.hidden, fmin(0.75 * f.communication, room), 0, 1e-9);
    k.link = 1e6; /* so slow that more would go on under the computation than there is of it */
    CHECK_INT(mot_scale(&c, &w, &k, &f), MOT_OK);
    CHECK_NEAR(f.hidden, room, 0, 1e-9);
    k.link = 0;
    CHECK_INT(mot_scale(&c, &w, &k, &f), MOT_EARG);
}

int main(void)
{
    RUN(test_known_ratios);
    RUN(test_itself);
    RUN(test_other_costs);
    RUN(test_noise);
    RUN(test_same_seed_same_interval);
    RUN(test_not_reached);
    RUN(test_rising);
    RUN(test_few_points);
    RUN(test_million);
    RUN(test_smoothing);
    RUN(test_one_device);
    RUN(test_sharding);
    return test_end();
}
