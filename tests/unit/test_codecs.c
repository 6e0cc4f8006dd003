/* SPDX-License-Identifier: MIT
 *
 * test_codecs.c - pictures and sounds through the embedded codecs.
 *
 * Search and stamps are compared with loops that follow the definitions; pictures and sounds are
 * made here, so that it is known what has to come back.
 */
#include <stdlib.h>
#include <unistd.h>

#include <omp.h>

#include "lib/base/safetensors.h"
#include "lib/token/codec.h"
#include "lib/token/dsp.h"
#include "lib/token/lapped.h"
#include "lib/token/smooth.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX", image_file[64], speech_file[64], other[64];

static float noise(int64_t i)
{
    return (float)mot_random_normal(5, 6, (uint64_t)i);
}

/* -- k-means -- */

static void test_search(void)
{
    enum { CODES = 37, DIM = 13, N = 50 };
    float code[CODES * DIM], x[N * DIM];
    for (int i = 0; i < CODES * DIM; i++)
        code[i] = noise(i);
    for (int i = 0; i < N * DIM; i++)
        x[i] = noise(1000 + i);
    memcpy(code + 21 * DIM, code + 9 * DIM,
           DIM * sizeof *code); /* equal codes: the lower number wins */
    memcpy(x, code + 9 * DIM, DIM * sizeof *code);
    struct mot_codebook b;
    int32_t best[N];
    CHECK_INT(mot_codebook_init(&b, code, CODES, DIM), MOT_OK);
    mot_codebook_search(&b, x, N, NULL, best);
    CHECK_INT(best[0], 9);
    for (int i = 0; i < N; i++) {
        int nearest = -1;
        double least = INFINITY;
        for (int k = 0; k < CODES; k++) {
            double sum = 0;
            for (int d = 0; d < DIM; d++)
                sum += pow((double)x[i * DIM + d] - (double)code[k * DIM + d], 2);
            if (sum < least)
                least = sum, nearest = k;
        }
        CHECK_INT(best[i], nearest);
    }
    mot_codebook_free(&b);
}

/* Points around corners far apart, seven to a corner: as many centres as corners must find them
 * all. */
static void test_kmeans_finds_clusters(void)
{
    enum { K = 24, EACH = 7, DIM = 5, N = K * EACH };
    float x[N * DIM], centre[K * DIM];
    int32_t best[N], label[K];
    for (int i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++)
            x[i * DIM + d] = 100.0f * (float)(i % K >> d & 1) + .01f * noise(i * DIM + d);
    CHECK_INT(mot_kmeans(x, N, DIM, K, 20, 1, NULL, centre, best), MOT_OK);
    for (int i = 0; i < K; i++)
        label[i] = best[i];
    for (int i = 0; i < N; i++)
        CHECK_INT(best[i], label[i % K]);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < i; j++)
            CHECK(label[i] != label[j]);
    for (int i = 0; i < K; i++)
        for (int d = 0; d < DIM; d++) {
            double mean = 0;
            for (int j = i; j < N; j += K)
                mean += (double)x[j * DIM + d] / EACH;
            CHECK_NEAR(centre[label[i] * DIM + d], mean, 1e-5, 1e-5);
        }
}

static void test_kmeans_few_points(void)
{
    float x[6] = {3, 1, 3, 1, 3, 2}, centre[10];
    int32_t best[6];
    CHECK_INT(mot_kmeans(x, 6, 1, 10, 5, 1, NULL, centre, best), MOT_OK);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(centre[best[i]], x[i], 0, 0);
    CHECK_INT(best[0], best[2]);
    for (int k = 0; k < 10; k++)
        CHECK(isfinite(centre[k]));
}

/* Every thing of a stream must have the same chance to be in the sample. */
static void test_sample(void)
{
    enum { STREAM = 40, CAPACITY = 10, TRIALS = 4000 };
    int in[STREAM] = {0};
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        int kept[CAPACITY];
        for (int i = 0; i < STREAM; i++) {
            int64_t at = mot_sample_place(seed, 1, i, CAPACITY);
            CHECK(at >= -1 && at < CAPACITY);
            if (at >= 0)
                kept[at] = i;
        }
        for (int i = 0; i < CAPACITY; i++)
            in[kept[i]]++;
    }
    /* 1000 expected, standard deviation 27 */
    for (int i = 0; i < STREAM; i++)
        CHECK_NEAR(in[i], TRIALS * CAPACITY / STREAM, 150, 0);
}

/* -- stamps -- */

enum { PH = 4, PW = 6, MH = 2, MW = 3, CHANNELS = 2, CODES = 20 };

static void make_stamps(struct mot_lapped *q)
{
    CHECK_INT(mot_lapped_init(q, CODES, CHANNELS, (const int[]){PH, PW}, (const int[]){MH, MW}),
              MOT_OK);
    for (int i = 0; i < CODES * q->dim; i++)
        q->stamp[i] = noise(i);
    CHECK_INT(mot_lapped_ready(q), MOT_OK);
}

/* What a field's point is, from the definition: all stamps that reach it over all tapers that do.
 */
static double point(const struct mot_lapped *q, const struct mot_field *f, const int32_t *code,
                    int y, int x, int c, double *tapers)
{
    double sum = 0, weight = 0;
    for (int row = 0; row < f->rows; row++)
        for (int col = 0; col < f->cols; col++) {
            int wy = y - (row * PH - MH), wx = x - (col * PW - MW),
                at = (wy * (PW + 2 * MW) + wx) * CHANNELS + c;
            if (wy < 0 || wy >= PH + 2 * MH || wx < 0 || wx >= PW + 2 * MW)
                continue;
            sum += (double)q->stamp[code[row * f->cols + col] * q->dim + at];
            weight += (double)q->taper[at];
        }
    if (tapers)
        *tapers = weight;
    return sum / weight;
}

static void test_stamps_add_up(void)
{
    struct mot_lapped q;
    make_stamps(&q);
    float x[3 * PH * 4 * PW * CHANNELS];
    struct mot_field f = {3, 4, x};
    int32_t code[12] = {0, 5, 5, 19, 2, 3, 11, 7, 8, 9, 10, 11};
    mot_lapped_decode(&q, code, &f);
    for (int i = 0; i < 3 * PH * 4 * PW * CHANNELS; i++)
        CHECK_NEAR(x[i],
                   point(&q, &f, code, i / (4 * PW * CHANNELS), i / CHANNELS % (4 * PW),
                         i % CHANNELS, NULL),
                   1e-5, 1e-5);
    mot_lapped_free(&q);
}

/* Everywhere but at the edges; and so a field of tapered ones is 1, at the edges too. */
static void test_tapers_add_up_to_one(void)
{
    struct mot_lapped q;
    make_stamps(&q);
    memcpy(q.stamp, q.taper, (size_t)q.dim * sizeof *q.stamp);
    float x[3 * PH * 4 * PW * CHANNELS];
    struct mot_field f = {3, 4, x};
    const int32_t code[12] = {0};
    mot_lapped_decode(&q, code, &f);
    for (int y = 0; y < 3 * PH; y++)
        for (int i = 0; i < 4 * PW; i++) {
            double tapers;
            point(&q, &f, code, y, i, 0, &tapers);
            if (y >= MH && y < 3 * PH - MH && i >= MW && i < 4 * PW - MW)
                CHECK_NEAR(tapers, 1, 1e-6, 0);
            CHECK_NEAR(x[(y * 4 * PW + i) * CHANNELS], 1, 1e-6, 0);
        }
    mot_lapped_free(&q);
}

static double field_error(const struct mot_lapped *q, const struct mot_field *f,
                          const int32_t *code)
{
    double sum = 0;
    int line = f->cols * PW * CHANNELS;
    for (int i = 0; i < f->rows * PH * line; i++)
        sum += pow((double)f->x[i]
                       - point(q, f, code, i / line, i % line / CHANNELS, i % CHANNELS, NULL),
                   2);
    return sum;
}

/* A field of one patch, where the edges cut the stamp off on all sides: the best code is known by
 * trying all. */
static void test_one_patch_is_best(void)
{
    struct mot_lapped q;
    make_stamps(&q);
    for (int k = 0; k < q.dim; k++)
        q.stamp[7 * q.dim + k] *=
            30; /* a stamp that is large outside the patch too must not be punished for that */
    for (int y = 0; y < PH; y++)
        for (int k = 0; k < PW * CHANNELS; k++)
            q.stamp[7 * q.dim + ((y + MH) * (PW + 2 * MW) + MW) * CHANNELS + k] /= 30;
    CHECK_INT(mot_lapped_ready(&q), MOT_OK);
    for (int trial = 0; trial < 40; trial++) {
        float x[PH * PW * CHANNELS];
        struct mot_field f = {1, 1, x};
        for (int i = 0; i < PH * PW * CHANNELS; i++)
            x[i] = noise(100000 + trial * 1000 + i);
        int32_t found, best = 0;
        CHECK_INT(mot_lapped_encode(&q, &f, &found), MOT_OK);
        for (int32_t k = 0; k < CODES; k++)
            if (field_error(&q, &f, &k) < field_error(&q, &f, &best))
                best = k;
        CHECK_INT(found, best);
    }
    mot_lapped_free(&q);
}

/* Choosing together may not be worse than each code's nearest tapered window alone; here it finds
 * what was put in. */
static void test_stamps_come_back(void)
{
    struct mot_lapped q;
    make_stamps(&q);
    enum { ROWS = 6, COLS = 12 };
    static float x[ROWS * PH * COLS * PW * CHANNELS];
    struct mot_field f = {ROWS, COLS, x};
    int32_t code[ROWS * COLS], back[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++)
        code[i] = (int32_t)mot_random_below(1, 2, (uint64_t)i, CODES);
    mot_lapped_decode(&q, code, &f);
    CHECK_INT(mot_lapped_encode(&q, &f, back), MOT_OK);
    int same = 0;
    for (int i = 0; i < ROWS * COLS; i++)
        same += code[i] == back[i];
    CHECK(same >= ROWS * COLS * 9 / 10);
    mot_lapped_free(&q);
}

/* -- pictures -- */

/* A disc of one colour on a ground that shades from one colour to another. */
static struct mot_image make_picture(int width, int height, uint64_t n)
{
    struct mot_image im = {width, height, malloc((size_t)width * (size_t)height * 3)};
    double r[12];
    for (uint64_t i = 0; i < 12; i++)
        r[i] = mot_random_uniform(9, n, i);
    double cx = width * (.3 + .4 * r[0]), cy = height * (.3 + .4 * r[1]),
           radius = fmin(width, height) * (.15 + .2 * r[2]);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double inside = radius + .5 - hypot(x - cx, y - cy);
            inside = fmin(fmax(inside, 0), 1);
            for (int c = 0; c < 3; c++) {
                double ground = r[3 + c] + (r[6 + c] - r[3 + c]) * x / width;
                im.rgb[(y * width + x) * 3 + c] =
                    (unsigned char)(255 * (inside * r[9 + c] + (1 - inside) * ground));
            }
        }
    return im;
}

static int learn_pictures(const char *path)
{
    struct mot_image_learner *l = mot_image_learner_new(128, 32, 0, 3);
    int rc = l ? MOT_OK : MOT_ENOMEM;
    for (uint64_t i = 0; !rc && i < 60; i++) {
        struct mot_image im = make_picture(40 + (int)i % 7, 37, i);
        rc = mot_image_learner_add(l, &im);
        mot_image_free(&im);
    }
    if (!rc)
        rc = mot_image_learner_save(l, path, NULL, NULL);
    mot_image_learner_free(l);
    return rc;
}

static bool same_files(const char *a, const char *b)
{
    struct mot_bytes x = {0}, y = {0};
    bool same = mot_read_file(a, 1 << 28, &x) == 0 && mot_read_file(b, 1 << 28, &y) == 0
             && x.n == y.n && x.n > 0 && memcmp(x.data, y.data, x.n) == 0;
    mot_bytes_free(&x);
    mot_bytes_free(&y);
    return same;
}

static void test_pictures_learn_alike_on_any_threads(void)
{
    omp_set_num_threads(1);
    CHECK_INT(learn_pictures(image_file), MOT_OK);
    omp_set_num_threads(3);
    CHECK_INT(learn_pictures(other), MOT_OK);
    CHECK(same_files(image_file, other));
}

static void test_pictures_come_back(void)
{
    struct mot_image_codec *c = mot_image_codec_load(image_file);
    CHECK(c != NULL);
    if (!c)
        return;
    CHECK_INT(mot_image_codec_size(c), 128);
    CHECK_INT(mot_image_codec_tokens(c), 16);
    double sum = 0;
    for (uint64_t i = 0; i < 12; i++) { /* of sizes and contents never seen */
        struct mot_image im = make_picture(70 + (int)i, 61 + 5 * (int)i, 1000 + i), square, back;
        struct mot_ids ids = {0}, again = {0};
        CHECK_INT(mot_image_codec_encode(c, &im, &ids), MOT_OK);
        CHECK_INT(mot_image_codec_encode(c, &im, &again), MOT_OK);
        CHECK_INT(ids.n, 16);
        CHECK(again.n == ids.n && memcmp(again.id, ids.id, 16 * sizeof *ids.id) == 0);
        CHECK_INT(mot_image_codec_prepare(c, &im, &square), MOT_OK);
        CHECK_INT(mot_image_codec_decode(c, ids.id, ids.n, &back), MOT_OK);
        CHECK(back.width == 32 && back.height == 32);
        sum += mot_image_psnr(&square, &back) / 12;
        mot_ids_free(&ids);
        mot_ids_free(&again);
        mot_image_free(&im);
        mot_image_free(&square);
        mot_image_free(&back);
    }
    CHECK(sum > 18); /* 18.9 when this was written; a picture of its mean colour has 14 */
    mot_image_codec_free(c);
}

static void test_odd_pictures(void)
{
    struct mot_image_codec *c = mot_image_codec_load(image_file);
    CHECK(c != NULL);
    if (!c)
        return;
    static const int sizes[][2] = {{1, 1}, {1, 500}, {3000, 2}, {32, 32}, {33, 31}};
    for (int i = 0; i < MOT_COUNT(sizes); i++) {
        struct mot_image im = make_picture(sizes[i][0], sizes[i][1], 7), square;
        struct mot_ids ids = {0};
        CHECK_INT(mot_image_codec_encode(c, &im, &ids), MOT_OK);
        CHECK_INT(ids.n, 16);
        CHECK_INT(mot_image_codec_prepare(c, &im, &square), MOT_OK);
        CHECK(square.width == 32 && square.height == 32);
        if (im.width == 32 && im.height == 32)
            CHECK(memcmp(square.rgb, im.rgb, 32 * 32 * 3) == 0);
        mot_image_free(&square);
        mot_image_free(&im);
        mot_ids_free(&ids);
    }
    struct mot_image none = {0}, out;
    struct mot_ids ids = {0};
    CHECK_INT(mot_image_codec_encode(c, &none, &ids), MOT_EARG);
    CHECK_INT(ids.n, 0);
    /* Part of a picture, none of it, too much of it, foreign codes. */
    CHECK_INT(mot_image_codec_decode(c, NULL, 0, &out), MOT_OK);
    for (int i = 0; i < 32 * 32 * 3; i++)
        CHECK_INT(out.rgb[i], 128);
    mot_image_free(&out);
    int32_t code[17] = {1, 2, 3, 4, 5};
    CHECK_INT(mot_image_codec_decode(c, code, 5, &out), MOT_OK);
    CHECK_INT(out.rgb[32 * 32 * 3 - 1], 128);
    mot_image_free(&out);
    CHECK_INT(mot_image_codec_decode(c, code, 17, &out), MOT_EARG);
    code[3] = 128;
    CHECK_INT(mot_image_codec_decode(c, code, 16, &out), MOT_EARG);
    code[3] = -1;
    CHECK_INT(mot_image_codec_decode(c, code, 16, &out), MOT_EARG);
    CHECK(out.rgb == NULL);
    mot_image_codec_free(c);
}

static void test_picture_learner_refuses(void)
{
    CHECK(mot_image_learner_new(1, 64, 8, 0) == NULL);
    CHECK(mot_image_learner_new(1 << 20, 64, 8, 0) == NULL);
    CHECK(mot_image_learner_new(64, 60, 8, 0) == NULL);
    CHECK(mot_image_learner_new(64, -64, -8, 0) == NULL);
    CHECK(mot_image_learner_new(64, 1 << 20, 8, 0) == NULL);
    struct mot_image_learner *l = mot_image_learner_new(64, 0, 0, 0);
    CHECK_INT(mot_image_learner_save(l, other, NULL, NULL), MOT_EARG);
    mot_image_learner_free(l);
}

/* Fewer different patches than codes. */
static void test_one_white_picture(void)
{
    struct mot_image_learner *l = mot_image_learner_new(300, 16, 4, 1);
    struct mot_image white = {16, 16, malloc(16 * 16 * 3)}, back;
    memset(white.rgb, 255, 16 * 16 * 3);
    CHECK_INT(mot_image_learner_add(l, &white), MOT_OK);
    CHECK_INT(mot_image_learner_save(l, other, NULL, NULL), MOT_OK);
    struct mot_image_codec *c = mot_image_codec_load(other);
    struct mot_ids ids = {0};
    CHECK(c != NULL);
    if (c) {
        CHECK_INT(mot_image_codec_encode(c, &white, &ids), MOT_OK);
        CHECK_INT(mot_image_codec_decode(c, ids.id, ids.n, &back), MOT_OK);
        CHECK(mot_image_psnr(&white, &back) > 40);
        mot_image_free(&back);
    }
    mot_image_codec_free(c);
    mot_ids_free(&ids);
    mot_image_free(&white);
    mot_image_learner_free(l);
}

/* -- sounds -- */

enum { TONES = 5 };
static const double tone_hertz[TONES] = {300, 610, 1250, 2300, 3500};

/* Tones of a fifth of a second with pauses; the spoken word of somebody with five vowels. */
static struct mot_audio make_sound(int rate, double seconds, uint64_t n)
{
    struct mot_audio a = {rate, (int64_t)(rate * seconds), NULL};
    a.sample = malloc(((size_t)a.n + 1) * sizeof *a.sample);
    for (int64_t i = 0; i < a.n; i++) {
        double t = (double)i / rate, in = fmod(t, .25);
        int tone = (int)mot_random_below(3, n, (uint64_t)(t / .25), TONES);
        double loud = in < .2 ? sin(M_PI * in / .2) : 0;
        a.sample[i] = (float)(.2 * loud * sin(2 * M_PI * tone_hertz[tone] * t)) + 1e-4f * noise(i);
    }
    return a;
}

static int learn_sounds(const char *path, bool merge)
{
    struct mot_speech_learner *l = mot_speech_learner_new(48, merge, 3);
    int rc = l ? MOT_OK : MOT_ENOMEM;
    for (uint64_t i = 0; !rc && i < 12; i++) {
        struct mot_audio a = make_sound(16000, 3.1 + .1 * (double)i, i);
        rc = mot_speech_learner_add(l, &a);
        mot_audio_free(&a);
    }
    if (!rc)
        rc = mot_speech_learner_save(l, path, NULL, NULL);
    mot_speech_learner_free(l);
    return rc;
}

static void test_sounds_learn_alike_on_any_threads(void)
{
    omp_set_num_threads(3);
    CHECK_INT(learn_sounds(speech_file, false), MOT_OK);
    omp_set_num_threads(1);
    CHECK_INT(learn_sounds(other, false), MOT_OK);
    CHECK(same_files(speech_file, other));
}

/* Power of x at a frequency, by its definition. */
static double power_at(const float *x, int64_t n, double hertz)
{
    double re = 0, im = 0;
    for (int64_t i = 0; i < n; i++) {
        re += (double)x[i] * cos(2 * M_PI * hertz * (double)i / 16000);
        im += (double)x[i] * sin(2 * M_PI * hertz * (double)i / 16000);
    }
    return re * re + im * im;
}

/* Every tone must come back as itself, at its time. */
static void check_tones(const struct mot_audio *d, uint64_t n)
{
    for (int k = 0; (k + 1) * 4000 <= d->n; k++) {
        double power[TONES] = {0};
        int loudest = 0;
        for (int t = 0; t < TONES; t++) {
            for (double h = .96; h < 1.045; h += .01) /* a band is so wide */
                power[t] += power_at(d->sample + k * 4000 + 800, 1600, tone_hertz[t] * h);
            loudest = power[t] > power[loudest] ? t : loudest;
        }
        CHECK_INT(loudest, mot_random_below(3, n, (uint64_t)k, TONES));
    }
}

static void test_sounds_come_back(void)
{
    struct mot_speech_codec *c = mot_speech_codec_load(speech_file);
    CHECK(c != NULL);
    if (!c)
        return;
    CHECK_INT(mot_speech_codec_size(c), 48);
    CHECK_INT(mot_speech_codec_rate(c), 16000);
    struct mot_audio a = make_sound(16000, 3.01, 77), d, e;
    struct mot_ids ids = {0}, quiet = {0};
    double db;
    CHECK_INT(mot_speech_codec_encode(c, &a, &ids), MOT_OK);
    CHECK_INT(ids.n, 76); /* 40 ms begun */
    CHECK_INT(mot_speech_codec_decode(c, ids.id, ids.n, &d), MOT_OK);
    CHECK_INT(d.n, 76 * 640);
    CHECK_INT(mot_speech_codec_decode(c, ids.id, ids.n, &e), MOT_OK);
    CHECK(memcmp(d.sample, e.sample, (size_t)d.n * sizeof *d.sample) == 0);
    check_tones(&d, 77);
    for (int64_t i = 0; i < d.n; i++)
        CHECK(fabsf(d.sample[i]) <= 1);
    CHECK_INT(mot_speech_distance(&a, &d, &db), MOT_OK);
    CHECK(db > 0 && db < 8);
    CHECK_INT(mot_speech_distance(&a, &a, &db), MOT_OK);
    CHECK_NEAR(db, 0, 1e-6, 0);
    /* Recorded at a tenth of the level: the same units. */
    for (int64_t i = 0; i < a.n; i++)
        a.sample[i] *= .1f;
    CHECK_INT(mot_speech_codec_encode(c, &a, &quiet), MOT_OK);
    int64_t same = 0;
    for (int64_t i = 0; i < ids.n && quiet.n == ids.n; i++)
        same += ids.id[i] == quiet.id[i];
    CHECK(same >= 74);
    mot_ids_free(&ids);
    mot_ids_free(&quiet);
    mot_audio_free(&a);
    mot_audio_free(&d);
    mot_audio_free(&e);
    mot_speech_codec_free(c);
}

static void test_odd_sounds(void)
{
    struct mot_speech_codec *c = mot_speech_codec_load(speech_file);
    CHECK(c != NULL);
    if (!c)
        return;
    static const struct {
        int rate;
        int64_t n, units;
    } cases[] = {{16000, 0, 0},  {16000, 1, 1},    {16000, 640, 1},    {16000, 641, 2},
                 {8000, 320, 1}, {8000, 8000, 25}, {44100, 44100, 25}, {192000, 19200, 3}};
    for (int k = 0; k < MOT_COUNT(cases); k++)
        for (int silent = 0; silent < 2; silent++) {
            struct mot_audio a = make_sound(cases[k].rate, 1.5, 3), d;
            a.n = cases[k].n;
            for (int64_t i = 0; i < a.n; i++)
                a.sample[i] = silent ? 0 : i % 5 == 0 ? NAN : i % 7 == 0 ? INFINITY : a.sample[i];
            struct mot_ids ids = {0};
            CHECK_INT(mot_speech_codec_encode(c, &a, &ids), MOT_OK);
            CHECK_INT(ids.n, cases[k].units);
            CHECK_INT(mot_speech_codec_decode(c, ids.id, ids.n, &d), MOT_OK);
            CHECK_INT(d.n, 640 * cases[k].units);
            for (int64_t i = 0; i < d.n; i++)
                CHECK(isfinite(d.sample[i]));
            mot_audio_free(&a);
            mot_audio_free(&d);
            mot_ids_free(&ids);
        }
    int32_t code[3] = {1, 48, 2};
    struct mot_audio d;
    CHECK_INT(mot_speech_codec_decode(c, code, 3, &d), MOT_EARG);
    code[1] = -1;
    CHECK_INT(mot_speech_codec_decode(c, code, 3, &d), MOT_EARG);
    mot_speech_codec_free(c);
    CHECK(mot_speech_learner_new(1, false, 0) == NULL);
    CHECK(mot_speech_learner_new(65537, false, 0) == NULL);
    struct mot_speech_learner *l = mot_speech_learner_new(48, false, 0);
    CHECK_INT(mot_speech_learner_save(l, other, NULL, NULL), MOT_EARG);
    mot_speech_learner_free(l);
}

static void test_merged_repeats(void)
{
    CHECK_INT(learn_sounds(other, true), MOT_OK);
    struct mot_speech_codec *c = mot_speech_codec_load(other);
    CHECK(c != NULL);
    if (!c)
        return;
    struct mot_audio a = make_sound(16000, 6, 78), d;
    struct mot_ids ids = {0};
    CHECK_INT(mot_speech_codec_encode(c, &a, &ids), MOT_OK);
    CHECK(ids.n > 20 && ids.n < 150);
    for (int64_t i = 1; i < ids.n; i++)
        CHECK(ids.id[i] != ids.id[i - 1]);
    CHECK_INT(mot_speech_codec_decode(c, ids.id, ids.n, &d), MOT_OK);
    CHECK_NEAR(d.n, a.n, 0, .15); /* as long as before, nearly */
    mot_audio_free(&a);
    mot_audio_free(&d);
    mot_ids_free(&ids);
    mot_speech_codec_free(c);
}

/* Without codes in between: noise whose colour changes, through bands and back. */
static void test_mel_inversion(void)
{
    enum { FRAMES = 150, BANDS = 64 };
    struct mot_audio a = {MOT_RATE, FRAMES * MOT_HOP, malloc(FRAMES * MOT_HOP * sizeof(float))},
                     b = a;
    float *mel = malloc(FRAMES * BANDS * sizeof *mel), last = 0;
    b.sample = malloc(FRAMES * MOT_HOP * sizeof(float));
    for (int i = 0; i < a.n; i++)
        a.sample[i] = last = .1f * noise(i) + .9f * sinf((float)i / 5000) * last;
    CHECK_INT(mot_mel(a.sample, a.n, FRAMES, BANDS, mel), MOT_OK);
    CHECK_INT(mot_mel_invert(mel, FRAMES, BANDS, b.sample), MOT_OK);
    double db;
    CHECK_INT(mot_speech_distance(&a, &b, &db), MOT_OK);
    CHECK(db < 3);
    free(mel);
    mot_audio_free(&a);
    mot_audio_free(&b);
}

static void test_psnr(void)
{
    unsigned char x[12] = {0}, y[12] = {0};
    struct mot_image a = {2, 2, x}, b = {2, 2, y}, c = {4, 1, y};
    CHECK(isinf(mot_image_psnr(&a, &b)));
    CHECK(isnan(mot_image_psnr(&a, &c)));
    y[5] = 255;
    CHECK_NEAR(mot_image_psnr(&a, &b), 10 * log10(12), 1e-9, 0);
}

/* -- files -- */

static int load_image(const char *path)
{
    struct mot_image_codec *c = mot_image_codec_load(path);
    struct mot_image out;
    if (c && mot_image_codec_decode(c, (const int32_t[]){0}, 1, &out) == MOT_OK)
        mot_image_free(&out);
    mot_image_codec_free(c);
    return c != NULL;
}

static int load_speech(const char *path)
{
    struct mot_speech_codec *c = mot_speech_codec_load(path);
    struct mot_audio out;
    if (c && mot_speech_codec_decode(c, (const int32_t[]){0}, 1, &out) == MOT_OK)
        mot_audio_free(&out);
    mot_speech_codec_free(c);
    return c != NULL;
}

/* The file with `from` replaced by `to`, as long, loads or does not. */
static int load_changed(const char *path, const char *from, const char *to,
                        int (*load)(const char *))
{
    struct mot_bytes b = {0};
    if (mot_read_file(path, 1 << 28, &b))
        return -1;
    unsigned char *at = memmem(b.data, b.n, from, strlen(from));
    CHECK(at != NULL && strlen(from) == strlen(to));
    if (at)
        memcpy(at, to, strlen(to));
    int rc = mot_write_file(other, b.data, b.n) ? -1 : load(other);
    mot_bytes_free(&b);
    return rc;
}

static void test_damaged_files(void)
{
    CHECK_INT(load_image(image_file), 1);
    CHECK_INT(load_speech(speech_file), 1);
    CHECK_INT(load_image(speech_file), 0);
    CHECK(strstr(mot_error(), "not a picture codec"));
    CHECK_INT(load_speech(image_file), 0);
    CHECK(strstr(mot_error(), "not a speech codec"));
    CHECK_INT(load_image("/nonexistent/x"), 0);
    static const char *const image[][2] = {{"\"version\":\"2\"", "\"version\":\"9\""},
                                           {"\"patch_size\":\"8\"", "\"patch_size\":\"4\""},
                                           {"\"patch_size\":\"8\"", "\"patch_size\":\"0\""},
                                           {"\"patch_size\":\"8\"", "\"patch_size\":\"x\""},
                                           {"\"image_size\":\"32\"", "\"image_size\":\"33\""},
                                           {"\"image_size\":\"32\"", "\"image_size\":\"-8\""},
                                           {"\"margin\":\"4\"", "\"margin\":\"3\""},
                                           {"\"margin\":\"4\"", "\"margim\":\"4\""},
                                           {"\"stamps\"", "\"stamqs\""},
                                           {"\"levels\"", "\"lavels\""},
                                           {"\"filters\"", "\"filtres\""},
                                           {"[8,3,76]", "[3,8,76]"},
                                           {"mot-image-vq", "mot-image-vr"},
                                           {"[128,16,16,3]", "[128,16,3,16]"},
                                           {"[128,16,16,3]", "[128,768,1,1]"},
                                           {"[128,16,16,3]", "[16,128,16,3]"}};
    for (int i = 0; i < MOT_COUNT(image); i++)
        CHECK_INT(load_changed(image_file, image[i][0], image[i][1], load_image), 0);
    CHECK_INT(load_changed(image_file, "\"version\":\"2\"", "\"version\":\"1\"", load_image), 1);
    static const char *const speech[][2] = {{"\"version\":\"1\"", "\"version\":\"9\""},
                                            {"\"bands\":\"64\"", "\"bands\":\"32\""},
                                            {"\"hop\":\"160\"", "\"hop\":\"161\""},
                                            {"\"rate\":\"16000\"", "\"rate\":\"     \""},
                                            {"\"merge_repeats\":\"0\"", "\"merge_repeats\":\"1\""},
                                            {"\"stamps\"", "\"stamqs\""},
                                            {"[48,8,64]", "[64,8,48]"},
                                            {"mot-speech-units", "mot-speech-unitz"}};
    for (int i = 0; i < MOT_COUNT(speech); i++)
        CHECK_INT(load_changed(speech_file, speech[i][0], speech[i][1], load_speech), 0);
}

/* ---- structural similarity ---- */

static void test_ssim(void)
{
    enum { SIDE = 20 };
    static unsigned char p[SIDE * SIDE * 3], q[SIDE * SIDE * 3], r[SIDE * SIDE * 3];
    struct mot_image a = {SIDE, SIDE, p}, b = {SIDE, SIDE, q}, c = {SIDE, SIDE, r}, thin = {SIDE, 3, q};
    memset(p, 100, sizeof p);
    memset(q, 120, sizeof q);
    CHECK_NEAR(mot_image_ssim(&a, &a), 1, 1e-12, 0);
    CHECK_NEAR(mot_image_ssim(&a, &b), (24000 + 6.5025) / (24400 + 6.5025), 1e-9, 0); /* no variance: means alone */
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        p[i] = (unsigned char)(i / 3 % 2 ? 200 : 50);
        r[i] = (unsigned char)(250 - p[i]);
    }
    CHECK(mot_image_ssim(&a, &c) < -0.9); /* stripes, and the same the other way round */
    CHECK_NEAR(mot_image_ssim(&thin, &thin), 1, 1e-12, 0);
    CHECK(isnan(mot_image_ssim(&a, &thin)));
}

/* ---- filters over decoded pictures ---- */

enum { SMOOTH_SIDE = 24, SMOOTH_FLOATS = SMOOTH_SIDE * SMOOTH_SIDE * 3, SMOOTH_PICTURES = 40 };

/* A flat colour with an edge in it, and the same with mottle. */
static void draw_mottled(float *clean, float *mottled, int k)
{
    for (int i = 0; i < SMOOTH_FLOATS; i++) {
        uint64_t index = (uint64_t)(k * SMOOTH_FLOATS + i);
        bool right = i / 3 % SMOOTH_SIDE > 8 + k % 7;
        clean[i] = (float)((k * 37 + i % 3 * 50) % 200 - 100 + (right ? 55 : 0));
        mottled[i] = clean[i] + (float)(20 * mot_random_normal(1, mot_stream("mottle"), index));
    }
}

static double squares(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < SMOOTH_FLOATS; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sum;
}

static void test_smooth(void)
{
    static float clean[SMOOTH_PICTURES + 1][SMOOTH_FLOATS], mottled[SMOOTH_PICTURES + 1][SMOOTH_FLOATS], out[SMOOTH_FLOATS];
    static struct mot_smooth s, twin;
    float *from[SMOOTH_PICTURES], *to[SMOOTH_PICTURES];
    for (int k = 0; k <= SMOOTH_PICTURES; k++)
        draw_mottled(clean[k], mottled[k], k);
    for (int k = 0; k < SMOOTH_PICTURES; k++)
        from[k] = mottled[k], to[k] = clean[k];
    omp_set_num_threads(1);
    CHECK_INT(mot_smooth_learn(&twin, from, to, SMOOTH_PICTURES, SMOOTH_SIDE), 0);
    omp_set_num_threads(3);
    CHECK_INT(mot_smooth_learn(&s, from, to, SMOOTH_PICTURES, SMOOTH_SIDE), 0);
    CHECK(memcmp(&s, &twin, sizeof s) == 0);
    /* A picture not learned from: most of the mottle goes, the edge stays. */
    CHECK_INT(mot_smooth_apply(&s, mottled[SMOOTH_PICTURES], SMOOTH_SIDE, out), 0);
    CHECK(squares(out, clean[SMOOTH_PICTURES]) < 0.35 * squares(mottled[SMOOTH_PICTURES], clean[SMOOTH_PICTURES]));
    /* Where nothing is missing nothing is changed. */
    CHECK_INT(mot_smooth_learn(&s, to, to, SMOOTH_PICTURES, SMOOTH_SIDE), 0);
    CHECK_INT(mot_smooth_apply(&s, mottled[0], SMOOTH_SIDE, out), 0);
    CHECK(squares(out, mottled[0]) == 0);
    /* From a single pixel nothing can be learned that does harm. */
    CHECK_INT(mot_smooth_learn(&s, from, to, 1, 1), 0);
    CHECK_INT(mot_smooth_apply(&s, mottled[0], 1, out), 0);
    CHECK(isfinite(out[0]) && isfinite(out[1]) && isfinite(out[2]));
}

/* Cut off anywhere a file does not load; a flipped bit may give another codec but no crash; NaN is
 * no pixel. */
static void cut_and_flip(const char *path, int (*load)(const char *))
{
    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(path, 1 << 28, &b), MOT_OK);
    for (size_t n = 0; n < b.n; n += n < 600 ? 13 : b.n / 7) {
        CHECK_INT(mot_write_file(other, b.data, n), MOT_OK);
        CHECK_INT(load(other), 0);
    }
    for (size_t i = 0; i < 600; i += 3) {
        b.data[i] ^= (unsigned char)(1 << i % 8);
        CHECK_INT(mot_write_file(other, b.data, b.n), MOT_OK);
        (void)load(other);
        b.data[i] ^= (unsigned char)(1 << i % 8);
    }
    memset(b.data + b.n - 4, 0xff, 4);
    CHECK_INT(mot_write_file(other, b.data, b.n), MOT_OK);
    CHECK_INT(load(other), 0);
    CHECK(strstr(mot_error(), "values"));
    mot_bytes_free(&b);
}

static void test_cut_and_flipped_files(void)
{
    cut_and_flip(image_file, load_image);
    cut_and_flip(speech_file, load_speech);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(image_file, sizeof image_file, "%s/image.safetensors", folder);
    snprintf(speech_file, sizeof speech_file, "%s/speech.safetensors", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    RUN(test_search);
    RUN(test_kmeans_finds_clusters);
    RUN(test_kmeans_few_points);
    RUN(test_sample);
    RUN(test_stamps_add_up);
    RUN(test_tapers_add_up_to_one);
    RUN(test_one_patch_is_best);
    RUN(test_stamps_come_back);
    RUN(test_pictures_learn_alike_on_any_threads);
    RUN(test_pictures_come_back);
    RUN(test_odd_pictures);
    RUN(test_picture_learner_refuses);
    RUN(test_one_white_picture);
    RUN(test_sounds_learn_alike_on_any_threads);
    RUN(test_sounds_come_back);
    RUN(test_odd_sounds);
    RUN(test_merged_repeats);
    RUN(test_mel_inversion);
    RUN(test_psnr);
    RUN(test_ssim);
    RUN(test_smooth);
    RUN(test_damaged_files);
    RUN(test_cut_and_flipped_files);
    unlink(image_file);
    unlink(speech_file);
    unlink(other);
    rmdir(folder);
    return test_end();
}
