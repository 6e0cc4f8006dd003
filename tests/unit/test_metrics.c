/* SPDX-License-Identifier: MIT
 *
 * test_metrics.c - documents rearranged for conditional losses, and intervals by bootstrap against what is known of them.
 */
#include <stdlib.h>

#include "lib/base/base.h"
#include "tests/test.h"

/* ---- one modality given all else ---- */

/* Text 0..9 with bos 0, eos 1, boi 2, eoi 3, bos_speech 4, eos_speech 5; image 10..13, speech 14..16. */
static struct mot_vocab vocabulary(bool vectors)
{
    struct mot_vocab v = {.n_modalities = 3,
                          .modality = {{"text", 0, 10, 0}, {"image", 10, 4, 0}, {"speech", 14, 3, 0}},
                          .size = 17, .bos = 0, .eos = 1, .boi = 2, .eoi = 3, .bos_speech = 4, .eos_speech = 5,
                          .digest = "0123456789abcdef"};
    if (vectors)
        v.modality[1].width = 2;
    return v;
}

static struct mot_doc document(const struct mot_vocab *v, int32_t *id, int64_t n, struct mot_span *span)
{
    struct mot_doc d = {.n = n, .id = id, .span = span, .text_bytes = 7};
    for (int64_t i = 0; i < n; i++) {
        int m = mot_vocab_modality(v, id[i]);
        if (i == 0 || m != mot_vocab_modality(v, id[i - 1]))
            span[d.n_spans++] = (struct mot_span){m, i, 0, 0, 0};
        span[d.n_spans - 1].n++;
    }
    return d;
}

/* The ids of the rearranged document, a bar before and after what is to be scored. */
static const char *conditioned(int modality, int32_t *id, int64_t n)
{
    static char out[512];
    struct mot_vocab v = vocabulary(false);
    struct mot_span span[64];
    struct mot_doc d = document(&v, id, n, span);
    struct mot_conditional c = {0};
    CHECK_INT(mot_doc_condition(&v, &d, modality, &c), 0);
    out[0] = 0;
    for (int64_t i = 0; i <= c.doc.n; i++) {
        if (c.doc.n && (i == c.begin || i == c.end))
            strcat(out, "|");
        if (i < c.doc.n)
            snprintf(out + strlen(out), sizeof out - strlen(out), " %d ", (int)c.doc.id[i]);
    }
    int64_t covered = 0;
    for (int i = 0; i < c.doc.n_spans; i++) {
        CHECK_INT(c.doc.span[i].begin, covered);
        for (int64_t k = 0; k < c.doc.span[i].n; k++)
            CHECK_INT(mot_vocab_modality(&v, c.doc.id[covered + k]), c.doc.span[i].modality);
        covered += c.doc.span[i].n;
    }
    CHECK_INT(covered, c.doc.n);
    CHECK_INT(c.doc.text_bytes, 7);
    mot_conditional_free(&c);
    return out;
}

#define CONDITIONED(modality, expected, ...)                                                      \
    do {                                                                                          \
        int32_t id_[] = {__VA_ARGS__};                                                            \
        CHECK_STR(conditioned(modality, id_, (int64_t)(sizeof id_ / sizeof *id_)), expected);     \
    } while (0)

static void test_condition(void)
{
    CONDITIONED(1, " 0  6  7 | 2  10  11  3 | 1 ", 0, 6, 7, 2, 10, 11, 3, 1);
    CONDITIONED(0, " 0  2  10  11  3 | 6  7 | 1 ", 0, 6, 7, 2, 10, 11, 3, 1);
    CONDITIONED(0, " 0  2  10  3 | 6 | 1 ", 0, 2, 10, 3, 6, 1); /* as it was */
    /* Interleaved: the others keep their order, texts are joined. */
    CONDITIONED(1, " 0  6  7  4  14  5 | 2  10  3  2  11  3 | 1 ", 0, 2, 10, 3, 6, 2, 11, 3, 7, 4, 14, 5, 1);
    CONDITIONED(2, " 0  2  10  3  6  2  11  3  7 | 4  14  5 | 1 ", 0, 2, 10, 3, 6, 2, 11, 3, 4, 14, 5, 7, 1);
    CONDITIONED(0, " 0  2  10  3  2  11  3 | 6  7 | 1 ", 0, 2, 10, 3, 6, 2, 11, 3, 7, 1);
    /* Without bos, eos or delimiters, as they may be. */
    CONDITIONED(1, " 6 | 10 |", 10, 6);
    CONDITIONED(0, " 10 | 6 |", 6, 10);
    CONDITIONED(1, " 6 | 2  10 | 1 ", 2, 10, 6, 1);
    CONDITIONED(2, " 10 | 14 |", 14, 10);
    /* Not both: text alone, a picture alone, a modality that is not there. */
    CONDITIONED(0, "", 0, 6, 7, 1);
    CONDITIONED(1, "", 0, 2, 10, 3, 1);
    CONDITIONED(0, "", 0, 2, 10, 3, 1);
    CONDITIONED(2, "", 0, 6, 2, 10, 3, 1);
    CONDITIONED(0, "", 0);
    /* Words that look like delimiters are words. */
    CONDITIONED(1, " 0  3  3 | 2  10  3 | 1 ", 0, 2, 10, 3, 3, 3, 1);
}

/* Pictures of vectors take their grids and values with them. */
static void test_condition_vectors(void)
{
    struct mot_vocab v = vocabulary(true);
    int32_t id[] = {0, 2, 10, 10, 10, 10, 3, 6, 2, 10, 10, 3, 4, 14, 5, 1};
    uint16_t value[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    struct mot_span span[16];
    struct mot_doc d = document(&v, id, MOT_COUNT(id), span);
    d.n_latent = MOT_COUNT(value), d.latent = value;
    span[1].rows = span[1].columns = 2;
    span[3].rows = 1, span[3].columns = 2;
    struct mot_conditional c = {0};
    CHECK_INT(mot_doc_condition(&v, &d, 0, &c), 0);
    CHECK_INT(c.doc.n, 16);
    CHECK_INT(c.doc.n_spans, 7);
    CHECK_INT(c.doc.span[1].rows, 2);
    CHECK_INT(c.doc.span[3].columns, 2);
    CHECK_INT(c.doc.n_latent, 12);
    CHECK(memcmp(c.doc.latent, value, sizeof value) == 0);
    CHECK_INT(c.doc.id[c.begin], 6);
    CHECK_INT(c.end - c.begin, 1);
    CHECK_INT(mot_doc_condition(&v, &d, 2, &c), 0); /* into the same place again */
    CHECK_INT(c.doc.n, 16);
    CHECK_INT(c.doc.id[c.begin + 1], 14);
    CHECK_INT(c.doc.n_latent, 12);
    CHECK_INT(mot_doc_condition(&v, &d, 1, &c), 0);
    CHECK_INT(c.doc.id[c.begin], 2);
    CHECK_INT(c.doc.span[c.doc.n_spans - 2].columns, 2);
    CHECK(memcmp(c.doc.latent, value, sizeof value) == 0);
    mot_conditional_free(&c);
}

/* ---- intervals ---- */

static double mean_of(const void *context, const int64_t *pick, int64_t n)
{
    const double *x = context;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[pick[i]] / (double)n;
    return sum;
}

/* Of a mean: 1.96 standard errors, and in 95 of 100 samples the true mean is inside. */
static void test_bootstrap_mean(void)
{
    enum { N = 200, SAMPLES = 200 };
    int inside = 0;
    for (uint64_t s = 0; s < SAMPLES; s++) {
        double x[N], mean = 0, variance = 0;
        for (uint64_t i = 0; i < N; i++)
            mean += (x[i] = 3 + mot_random_normal(s, 1, i)) / N;
        for (int i = 0; i < N; i++)
            variance += (x[i] - mean) * (x[i] - mean) / N;
        struct mot_bootstrap b = {.n = N, .figure = mean_of, .context = x, .resamples = 500, .confidence = 0.95, .seed = s};
        struct mot_interval i;
        CHECK_INT(mot_bootstrap(&b, mean, &i), 0);
        CHECK_NEAR(i.hi - i.lo, 2 * 1.96 * sqrt(variance / N), 0, 0.25);
        inside += i.lo < 3 && 3 < i.hi;
    }
    CHECK(inside >= SAMPLES * 0.90 && inside <= SAMPLES * 0.99);
}

/* The largest of a sample can only shrink when it is drawn anew, and the difference of two samples keeps them apart. */
static double difference_of(const void *context, const int64_t *pick, int64_t n)
{
    const double *x = context;
    double a = 0, b = 0;
    for (int64_t i = 0; i < n; i++) {
        CHECK((pick[i] < 3) == (i < 3));
        a += i < 3 ? x[pick[i]] / 3 : 0;
        b += i < 3 ? 0 : x[pick[i]] / (double)(n - 3);
    }
    return b - a;
}

static void test_bootstrap_samples(void)
{
    double x[] = {1, 1, 1, 5, 5, 5, 5, 5};
    struct mot_bootstrap b = {.n = 8, .first = 3, .figure = difference_of, .context = x, .resamples = 50, .confidence = 0.9,
                              .threads = 1};
    struct mot_interval i, again;
    CHECK_INT(mot_bootstrap(&b, 4, &i), 0);
    CHECK_NEAR(i.lo, 4, 1e-12, 0);
    CHECK_NEAR(i.hi, 4, 1e-12, 0);
    x[7] = 9;
    CHECK_INT(mot_bootstrap(&b, 4.8, &i), 0);
    CHECK(i.lo < 4.8 && i.hi > 4.8);
    b.threads = 2;
    CHECK_INT(mot_bootstrap(&b, 4.8, &again), 0);
    CHECK(i.lo == again.lo && i.hi == again.hi);
    b.seed = 1;
    CHECK_INT(mot_bootstrap(&b, 4.8, &again), 0);
    CHECK(i.lo != again.lo || i.hi != again.hi);
    b.first = 1; /* a sample of one, and no sample at all */
    CHECK_INT(mot_bootstrap(&b, 4.8, &i), 0);
    CHECK(isnan(i.lo) && isnan(i.hi));
    b.first = b.n = 0;
    CHECK_INT(mot_bootstrap(&b, 4.8, &i), 0);
    CHECK(isnan(i.lo) && isnan(i.hi));
}

int main(void)
{
    RUN(test_condition);
    RUN(test_condition_vectors);
    RUN(test_bootstrap_mean);
    RUN(test_bootstrap_samples);
    return test_end();
}
