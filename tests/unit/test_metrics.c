/* SPDX-License-Identifier: MIT
 *
 * test_metrics.c - documents rearranged for conditional losses, intervals by bootstrap against what is known of them,
 * captions' words and figures against pycocoevalcap 1.2 and sacrebleu 2.6, Frechet distances against formulas and scipy's sqrtm,
 * InceptionV3 against what its PyTorch twin gave (tests/golden/inception.py).  With --write FILE: that net as a file, for
 * tests/cli/metrics.sh.
 */
#include <stdlib.h>

#include "lib/eval/eval.h"
#include "tests/test.h"
#include "tests/nets.h"

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

/* ---- captions ---- */

static const char *words_of(const char *text, bool plain)
{
    static char out[512];
    struct mot_bytes b = {0};
    int64_t words = -1, ends = 0;
    CHECK_INT(mot_words(text, strlen(text), plain, &b, &words), 0);
    for (size_t i = 0; i < b.n; i++) {
        ends += b.data[i] == 0;
        out[i] = (char)(b.data[i] ? b.data[i] : i + 1 < b.n ? ' ' : 0);
    }
    out[b.n] = 0;
    CHECK_INT(words, ends);
    mot_bytes_free(&b);
    return out;
}

/* As Stanford's PTBTokenizer 3.4.1 and pycocoevalcap's list of punctuation leave them, but for the last two. */
static void test_words(void)
{
    static const char *const table[][2] = {
        {"A man's black-and-white dog isn't there.", "a man 's black-and-white dog is n't there"},
        {"I can't; I won't, they'll \"never\" go (soon) ... and it costs $3.50!",
         "i ca n't i wo n't they 'll never go -lrb- soon -rrb- and it costs $ 3.50"},
        {"The U.S. flag, 3,000 people & 50% off -- it's John's.", "the u.s. flag 3,000 people & 50 % off it 's john 's"},
        {"two dogs' bowls and/or 'quoted' words: a 10:30 clock; #1 @home e-mail",
         "two dogs bowls and/or quoted words a 10:30 clock # 1 @home e-mail"},
        {"Dr. Smith's 1/2 caf\xc3\xa9 na\xc3\xafve \xe2\x80\x9cquotes\xe2\x80\x9d it\xe2\x80\x99s \xe2\x80\x93 dash",
         "dr. smith 's 1/2 caf\xc3\xa9 na\xc3\xafve quotes it 's dash"},
        {"I'm gonna wanna cannot O'Brien it..", "i 'm gon na wan na can not o'brien it"},
        {"a [bracket] {curly} a*b a+b=c x_y $.25", "a -lsb- bracket -rsb- -lcb- curly -rcb- a * b a + b = c x_y $ .25"},
        {"ends with U.S.", "ends with u.s."},
        {"Mr. and Mrs. Jones, Inc. went etc. today.", "mr. and mrs. jones inc. went etc. today"},
        {"The letter E.", "the letter e"},
        {"  \t ", ""},
        {"...", ""},
        {"\xc3\x89" "T\xc3\x89 \xff", "\xc3\xa9t\xc3\xa9 \xef\xbf\xbd"},
        {"rock'n'roll '90s", "rock'n'roll 90s"},
    };
    for (int i = 0; i < MOT_COUNT(table); i++)
        CHECK_STR(words_of(table[i][0], false), table[i][1]);
    CHECK_STR(words_of(" A dog's \xc2\xa0 life.\t(x) ", true), "A dog's life. (x)");
}

static char folder[] = "/tmp/mot-test-XXXXXX", candidates[64], references[64];

static void write_file(const char *path, const char *text)
{
    CHECK_INT(mot_write_file(path, text, strlen(text)), 0);
}

static const char caption_lines[] =
    "1\ta dog runs on the grass\n2\ttwo men are riding brown horses on a beach\n3\ta plate of food with rice and beans\n4\tcat\n"
    "5\ta red bus is parked at the side of the road the bus is red\n6\ta man is playing a guitar\n";
static const char reference_lines[] =
    "{\"id\":1,\"text\":\"a brown dog runs across the grass\"}\n{\"id\":\"2\",\"text\":\"two men ride horses along the beach\"}\n"
    "{\"image_id\":1,\"caption\":\"the dog is running on green grass\"}\r\n\n3\ta plate with rice and beans\n"
    "2\ttwo men are riding brown horses on a beach\n3\tthere is food on the plate\n3\trice\n1\ta dog on a lawn\n"
    "4\ta cat is sitting on a sofa\n4\ta cat\n5\ta red bus is parked by the road\n5\tthe bus is red\n"
    "6\ta woman is playing the violin\n7\tunused\n";

static struct mot_captions *open_captions(const char *of, const char *against)
{
    const char *paths[] = {references};
    write_file(candidates, of);
    write_file(references, against);
    return mot_captions_open(candidates, paths, 1, false);
}

static void test_captions(void)
{
    static const double expected[] = {0.7333333333333334, 0.6576310762719721, 0.5626063002689756, 0.4977989130171676,
                                      2.4196151774662185};
    static const double cider[] = {2.006916416033724, 5.9415333107502715, 2.224054297710828, 1.6660613481282298,
                                   1.3414990939424212, 1.3376265982318354};
    struct mot_captions *c = open_captions(caption_lines, reference_lines);
    CHECK(c);
    if (!c)
        return;
    CHECK_INT(mot_captions_count(c), 6);
    CHECK_INT(mot_captions_unused(c), 1);
    for (int m = 0; m < MOT_CAPTION_METRICS; m++)
        CHECK_NEAR(mot_captions_figure(c, (enum mot_caption_metric)m, NULL, 0), expected[m], 0, 1e-12);
    for (int64_t i = 0; i < 6; i++)
        CHECK_NEAR(mot_captions_figure(c, MOT_CIDER, &i, 1), cider[i], 0, 1e-12);
    const int64_t exact[] = {1, 1}, others[] = {0, 1, 2, 4, 5};
    CHECK_NEAR(mot_captions_figure(c, MOT_BLEU_4, exact, 2), 1, 1e-15, 0);
    CHECK_NEAR(mot_captions_figure(c, MOT_BLEU_4, others, 5), 0.4967671998801027, 0, 1e-12); /* NLTK's */
    mot_captions_close(c);
}

/* Figures at the ends: nothing shared, empty texts, a single caption. */
static void test_captions_ends(void)
{
    struct mot_captions *c = open_captions("a\t\nb\tx y z\n", "a\tone two\nb\tp q r\na\t.\n");
    CHECK(c);
    for (int m = 0; c && m < MOT_CAPTION_METRICS; m++)
        CHECK_NEAR(mot_captions_figure(c, (enum mot_caption_metric)m, NULL, 0), 0, 0, 0);
    mot_captions_close(c);
    c = open_captions("a\tone two three four five\n", "a\tone two three four five\n");
    CHECK(c);
    if (c)
        CHECK_NEAR(mot_captions_figure(c, MOT_BLEU_4, NULL, 0), 1, 1e-15, 0);
    if (c)
        CHECK(isnan(mot_captions_figure(c, MOT_CIDER, NULL, 0)));
    mot_captions_close(c);
}

static void test_captions_refused(void)
{
    static const char *const table[][3] = {
        {"", "a\tb\n", "no captions in it"},
        {"a\tb\n", "\n\n", "no captions in it"},
        {"a\tb\n", "b\tb\n", ":1: a has no reference"},
        {"a\tb\nb\tc\na\td\n", "a\tb\nb\tc\n", ":3: a second caption of a"},
        {"a b\n", "a\tb\n", ":1: expected an id, a tab and a text"},
        {"\tb\n", "a\tb\n", ":1: an empty id"},
        {"{\"id\":\"a\"}\n", "a\tb\n", ":1: expected {\"id\""},
        {"{\"id\":1.5,\"text\":\"b\"}\n", "a\tb\n", ":1: expected {\"id\""},
        {"{\"id\":\"a\",\"text\":[\"b\"]}\n", "a\tb\n", ":1: expected {\"id\""},
        {"{\"id\":\"a\",\"text\":\"b\"\n", "a\tb\n", ":1"},
    };
    for (int i = 0; i < MOT_COUNT(table); i++) {
        struct mot_captions *c = open_captions(table[i][0], table[i][1]);
        CHECK(!c);
        if (!strstr(mot_error(), table[i][2]))
            CHECK_STR(mot_error(), table[i][2]);
        mot_captions_close(c);
    }
}

/* ---- sets of pictures ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Second differences have eigenvalues 2 - 2 cos(pi k / (n + 1)); turned by reflections they keep them. */
static void test_eigenvalues(void)
{
    enum { LARGEST = 150 };
    static double a[LARGEST * LARGEST], d[LARGEST], v[LARGEST], w[LARGEST];
    static const int sizes[] = {1, 2, 3, 4, 17, LARGEST};
    for (int s = 0; s < MOT_COUNT(sizes); s++) {
        int n = sizes[s];
        for (int i = 0; i < n * n; i++)
            a[i] = i / n == i % n ? 2 : abs(i / n - i % n) == 1 ? -1 : 0;
        for (uint64_t turn = 0; turn < 3; turn++) { /* a - v w^T - w v^T, w = 2 a v / v.v - 2 (v.a v / (v.v)^2) v */
            double square = 0, product = 0;
            for (int i = 0; i < n; i++) {
                v[i] = mot_random_normal(turn, 1, (uint64_t)i);
                square += v[i] * v[i];
            }
            for (int i = 0; i < n; i++) {
                w[i] = 0;
                for (int j = 0; j < n; j++)
                    w[i] += a[i * n + j] * v[j] * 2 / square;
                product += v[i] * w[i] / square;
            }
            for (int i = 0; i < n * n; i++)
                a[i] -= v[i / n] * w[i % n] + w[i / n] * v[i % n] - 2 * product * v[i / n] * v[i % n];
        }
        CHECK_INT(mot_eigenvalues(a, n, d), 0);
        qsort(d, (size_t)n, sizeof *d, ascending);
        for (int k = 0; k < n; k++)
            CHECK_NEAR(d[k], 2 - 2 * cos(acos(-1) * (k + 1) / (n + 1)), 1e-13, 0);
    }
    memset(a, 0, sizeof a);
    CHECK_INT(mot_eigenvalues(a, 5, d), 0);
    for (int k = 0; k < 5; k++)
        CHECK_NEAR(d[k], 0, 0, 0);
}

/* The factor of a matrix of rank 7 has 7 rows and gives it back. */
static void test_cholesky(void)
{
    enum { N = 23, RANK = 7 };
    double x[RANK * N], s[N * N] = {0}, l[N * N], left[N], again[N * N] = {0};
    for (int i = 0; i < RANK * N; i++)
        x[i] = mot_random_normal(2, 1, (uint64_t)i);
    mot_add_product(x, N, x, N, RANK, s);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < RANK; k++)
                sum += x[k * N + i] * x[k * N + j];
            CHECK_NEAR(s[i * N + j], sum, 1e-12, 0);
        }
    CHECK_INT(mot_cholesky(s, N, left, l), RANK);
    mot_add_product(l, N, l, N, RANK, again);
    for (int i = 0; i < N * N; i++)
        CHECK_NEAR(again[i], s[i], 1e-12, 0);
    memset(s, 0, sizeof s);
    CHECK_INT(mot_cholesky(s, N, left, l), 0);
}

static void test_frechet(void)
{
    static float a[] = {1, 2, 0, 3, -1, 1, 0, 0, 5, 2, 2, 2, 4, 1, -3}, b[] = {0, 1, 1, 5, 5, 2, -2, 3, 7, 1, -4, 0};
    static const int64_t pick[] = {0, 0, 1, 2, 4, 8, 6, 6, 5};
    struct mot_gallery x = {.n = 5, .d = 3, .feature = a}, y = {.n = 4, .d = 3, .feature = b};
    double f;
    CHECK_INT(mot_frechet(&x, &y, NULL, &f), 0);
    CHECK_NEAR(f, 16.470270604591594, 0, 1e-12);
    CHECK_INT(mot_frechet(&y, &x, NULL, &f), 0);
    CHECK_NEAR(f, 16.470270604591594, 0, 1e-12);
    CHECK_INT(mot_frechet(&x, &y, pick, &f), 0);
    CHECK_NEAR(f, 28.74914863241245, 0, 1e-6); /* of rank 2: roots of what is 0 but for rounding are in scipy's */
    CHECK_INT(mot_frechet(&x, &x, NULL, &f), 0);
    CHECK_NEAR(f, 0, 1e-12, 0);
    y.n = 1;
    CHECK(mot_frechet(&x, &y, NULL, &f) != 0);
    CHECK(isnan(f));
    y.n = 4, y.d = 2;
    CHECK(mot_frechet(&x, &y, NULL, &f) != 0);
}

/* b = 3 a + 2: S_b = 9 S_a, so the distance is |2 m + 2|^2 + (3 - 1)^2 tr S_a, whatever the rank. */
static void test_frechet_scaled(void)
{
    enum { N = 30, D = 50 };
    static float a[N * D], b[N * D];
    double mean[D] = {0}, expected = 0, f;
    for (int i = 0; i < N * D; i++) {
        a[i] = (float)(int)(8 * mot_random_normal(3, 1, (uint64_t)i));
        b[i] = 3 * a[i] + 2;
        mean[i % D] += (double)a[i] / N;
    }
    for (int i = 0; i < N * D; i++)
        expected += 4 * ((double)a[i] - mean[i % D]) * ((double)a[i] - mean[i % D]) / (N - 1);
    for (int k = 0; k < D; k++)
        expected += (2 * mean[k] + 2) * (2 * mean[k] + 2);
    CHECK_INT(mot_frechet(&(struct mot_gallery){.n = N, .d = D, .feature = a}, &(struct mot_gallery){.n = N, .d = D, .feature = b},
                          NULL, &f), 0);
    CHECK_NEAR(f, expected, 0, 1e-9);
}

/* ---- InceptionV3, a sixteenth as wide ---- */

static void batch_norms(struct mot_st_decl *d, float *x)
{
    size_t n = strlen(d->name);
    if (strcmp(d->name + n - 11, "running_var") == 0 || strcmp(d->name + n - 9, "bn.weight") == 0)
        for (int64_t i = 0; i < d->shape[0]; i++)
            x[i] = 1 + 2 * x[i];
}

static void below_zero(struct mot_st_decl *d, float *x)
{
    batch_norms(d, x);
    if (strcmp(d->name, "Mixed_7a.branch3x3_2.bn.running_var") == 0)
        x[1] = -1;
    if (strcmp(d->name, "Mixed_5b.branch1x1.bn.bias") == 0)
        x[0] = NAN;
}

static bool write_inception(const char *path, spoiler *spoil)
{
    static struct tensors t;
    if (!read_names(&t, "tests/golden/inception/tensors.txt"))
        return false;
    write_net(&t, path, spoil);
    return true;
}

/* The twin's picture, 30 x 40. */
static void draw(unsigned char *p)
{
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 30; x++, p += 3) {
            bool inside = x >= 10 && x < 20 && y >= 10 && y < 20;
            p[0] = (unsigned char)(inside ? 200 : x * 255 / 40);
            p[1] = (unsigned char)(inside ? 30 : y * 255 / 40);
            p[2] = (unsigned char)(inside ? 60 : (x + y) * 255 / 80);
        }
}

static void test_inception(void)
{
    unsigned char rgb[40 * 30 * 3];
    const struct mot_image im = {30, 40, rgb};
    float feature[128];
    FILE *golden = fopen("tests/golden/inception/golden.txt", "r");
    draw(rgb);
    CHECK(golden);
    struct mot_inception *v = write_inception(candidates, batch_norms) ? mot_inception_open(candidates, 1) : NULL;
    CHECK(v && mot_inception_width(v) == MOT_COUNT(feature));
    if (v && mot_inception_width(v) == MOT_COUNT(feature))
        CHECK_INT(mot_inception_look(v, &im, feature), 0);
    double expected;
    int n = 0;
    for (; v && golden && n < MOT_COUNT(feature) && fscanf(golden, "%lf", &expected) == 1; n++)
        CHECK_NEAR(feature[n], expected, 1e-6, 1e-5);
    CHECK_INT(n, MOT_COUNT(feature));
    if (golden)
        fclose(golden);
    mot_inception_close(v);
    CHECK(write_inception(candidates, below_zero));
    v = mot_inception_open(candidates, 1);
    CHECK(!v);
    CHECK(strstr(mot_error(), "Mixed_7a.branch3x3_2.bn.running_var has a value below 0"));
    CHECK(strstr(mot_error(), "Mixed_5b.branch1x1.bn.bias: 1 of its values are NaN"));
    mot_inception_close(v);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return !write_inception(argv[2], batch_norms);
    if (!mkdtemp(folder))
        return 1;
    snprintf(candidates, sizeof candidates, "%s/candidates", folder);
    snprintf(references, sizeof references, "%s/references", folder);
    RUN(test_condition);
    RUN(test_condition_vectors);
    RUN(test_bootstrap_mean);
    RUN(test_bootstrap_samples);
    RUN(test_words);
    RUN(test_captions);
    RUN(test_captions_ends);
    RUN(test_captions_refused);
    RUN(test_eigenvalues);
    RUN(test_cholesky);
    RUN(test_frechet);
    RUN(test_frechet_scaled);
    RUN(test_inception);
    remove(candidates);
    remove(references);
    remove(folder);
    return test_end();
}
