/* SPDX-License-Identifier: MIT
 *
 * speech_vq.c - sounds as units of 40 ms: lapped vector quantisation of mel spectrograms.
 *
 * A unit stands for FRAMES frames of 10 ms, so that decoding has the time detail of consonants and
 * not one spectrum a unit; its stamp (lapped.c) reaches MARGIN frames into the units before and
 * after, so that vowels glide instead of stepping. Values are logarithms of power over the clip's
 * own level, 0 for all that is RANGE or more below it: so units do not depend on how loud the
 * recording was.  What is lost is just that: all sounds come back equally loud. Decoding adds up
 * the stamps and finds phases for the spectrogram (dsp.c).
 *
 * File: tensor "stamps" F32 (units, FRAMES + 2 MARGIN, bands); with merged repeats also "duration"
 * F32 (units), the mean length of a run; metadata "format" = "mot-speech-units", "version", "rate",
 * "hop", "frames", "margin", "bands", "merge_repeats".
 */
#include <math.h>
#include <stdlib.h>

#include "../base/safetensors.h"
#include "dsp.h"
#include "lapped.h"
#include "speech_vq.h"

enum {
    VERSION = 1,
    FRAMES = 4,
    MARGIN = 2,
    BANDS = 64,
    PIECE = 64,   /* units; clips are sampled in pieces of at most so many, */
    PIECES = 1024 /* and so many pieces learned from: 44 minutes */
};
static const float RANGE = 13.8f;    /* 60 dB in natural logarithms of power */
static const float LOUDNESS = 0.08f; /* root mean square of what decode gives */

struct mot_speech_vq {
    struct mot_lapped q;
    float *duration; /* (units), NULL: repeats stand for themselves */
};

struct mot_speech_vq_learner {
    int units;
    bool merge;
    uint64_t seed;
    int64_t seen;                   /* pieces */
    struct mot_field piece[PIECES]; /* 1 row */
};

/* ---- features: (units, FRAMES, BANDS) of a sound ---- */

/* The level of a clip: the mean power of its frames within 30 dB of the loudest, so that pauses do
 * not count.  1e-5, a noise 70 dB below full scale, keeps what is as good as silent silent. */
static double clip_level(const float *mel, int64_t frames)
{
    double loudest = 0, sum = 0;
    int64_t count = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t f = 0; f < frames; f++) {
            double power = 0;
            for (int b = 0; b < BANDS; b++)
                power += (double)mel[f * BANDS + b] / BANDS;
            if (pass == 0)
                loudest = fmax(loudest, power);
            else if (power > loudest * 1e-3)
                sum += power, count++;
        }
    return (count ? sum / (double)count : 0) + 1e-5;
}

static int features(const struct mot_audio *a, struct mot_field *f)
{
    struct mot_audio x;
    *f = (struct mot_field){.rows = 1};
    int rc = mot_sound_prepare(a, &x);
    if (rc)
        return rc;
    int64_t units = (x.n + FRAMES * MOT_HOP - 1) / (FRAMES * MOT_HOP),
            cells = units * FRAMES * BANDS;
    f->cols = (int)units;
    f->x = mot_alloc((size_t)cells, sizeof *f->x);
    if (units > INT32_MAX / 2)
        rc = mot_fail(MOT_EARG, "a sound of %lld seconds is too long", (long long)(x.n / MOT_RATE));
    else
        rc = f->x ? mot_mel(x.sample, x.n, units * FRAMES, BANDS, f->x) : MOT_ENOMEM;
    mot_audio_free(&x);
    if (rc) {
        mot_free(f->x);
        return rc;
    }
    float level = (float)clip_level(f->x, units * FRAMES);
    for (int64_t i = 0; i < cells; i++)
        f->x[i] = fmaxf(logf(f->x[i] / level + 1e-20f) + RANGE, 0);
    return MOT_OK;
}

static int init_lapped(struct mot_lapped *q, int units)
{
    return mot_lapped_init(q, units, BANDS, (const int[]){1, FRAMES}, (const int[]){0, MARGIN});
}

/* ---- learning ---- */

struct mot_speech_vq_learner *mot_speech_vq_learner_new(int units, bool merge_repeats, uint64_t seed)
{
    if (units < 2 || units > 65536) {
        mot_fail(MOT_EARG, "speech units: %d is not in 2..65536", units);
        return NULL;
    }
    struct mot_speech_vq_learner *l = mot_alloc(1, sizeof *l);
    if (l)
        *l = (struct mot_speech_vq_learner){.units = units, .merge = merge_repeats, .seed = seed};
    return l;
}

int mot_speech_vq_learner_add(struct mot_speech_vq_learner *l, const struct mot_audio *a)
{
    struct mot_field f;
    int rc = features(a, &f);
    if (rc)
        return rc;
    for (int begin = 0; !rc && begin < f.cols; begin += PIECE) {
        int64_t at = mot_sample_place(l->seed, mot_stream("speech pieces"), l->seen, PIECES);
        struct mot_field piece = {.rows = 1,
                                  .cols = f.cols - begin < PIECE ? f.cols - begin : PIECE};
        size_t unit = FRAMES * BANDS, n = (size_t)piece.cols * unit;
        piece.x = at < 0 ? NULL : mot_alloc(n, sizeof *piece.x);
        if (at >= 0 && !piece.x) {
            rc = MOT_ENOMEM;
            break;
        }
        if (at >= 0) {
            memcpy(piece.x, f.x + (size_t)begin * unit, n * sizeof *piece.x);
            mot_free(l->piece[at].x);
            l->piece[at] = piece;
        }
        l->seen++;
    }
    mot_free(f.x);
    return rc;
}

/* Mean length of the runs of each unit. */
static int durations(const struct mot_speech_vq_learner *l, const struct mot_lapped *q, int64_t n,
                     float *duration)
{
    int32_t code[PIECE];
    int64_t *runs = mot_alloc((size_t)l->units, sizeof *runs);
    int rc = runs ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        rc = mot_lapped_encode(q, &l->piece[i], code);
        for (int u = 0; !rc && u < l->piece[i].cols; u++) {
            duration[code[u]] += 1;
            runs[code[u]] += u == 0 || code[u - 1] != code[u];
        }
    }
    for (int u = 0; !rc && u < l->units; u++)
        duration[u] = runs[u] ? duration[u] / (float)runs[u] : 1;
    mot_free(runs);
    return rc;
}

/* The settings that the code has fixed, as the file's metadata hold them. */
static const struct {
    const char *key;
    int value;
} FIXED[] = {
    {"rate", MOT_RATE}, {"hop", MOT_HOP}, {"frames", FRAMES}, {"margin", MARGIN}, {"bands", BANDS}};

static int write_file(const struct mot_speech_vq_learner *l, const char *path,
                      const struct mot_lapped *q, const float *duration)
{
    enum { N = MOT_COUNT(FIXED) };
    char text[N][16];
    const char *metadata[2 * (N + 3)] = {"format",  "mot-speech-units",
                                         "version", "1",
                                         "merge_repeats", l->merge ? "1" : "0"};
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "%d", FIXED[i].value);
        metadata[6 + 2 * i] = FIXED[i].key;
        metadata[7 + 2 * i] = text[i];
    }
    const struct mot_st_decl decl[2] = {{"duration", MOT_F32, 1, {l->units}},
                                        {"stamps", MOT_F32, 3, {l->units, q->window_w, BANDS}}};
    struct mot_st_writer *w = mot_st_writer_begin(path, l->merge ? decl : decl + 1,
                                                  l->merge ? 2 : 1, metadata, N + 3, NULL);
    if (!w)
        return MOT_EIO;
    int rc =
        l->merge ? mot_st_writer_data(w, duration, (size_t)l->units * sizeof *duration) : MOT_OK;
    if (!rc)
        rc = mot_st_writer_data(w, q->stamp, (size_t)l->units * (size_t)q->dim * sizeof *q->stamp);
    if (!rc)
        return mot_st_writer_commit(w);
    mot_st_writer_abort(w);
    return rc;
}

int mot_speech_vq_learner_save(struct mot_speech_vq_learner *l, const char *path, mot_progress *progress,
                            void *context)
{
    if (l->seen == 0)
        return mot_fail(MOT_EARG, "%s: no sound to learn from", path);
    int64_t n = l->seen < PIECES ? l->seen : PIECES;
    struct mot_report report = {progress, context, "learning speech units", 0, 1};
    struct mot_lapped q;
    int rc = init_lapped(&q, l->units);
    if (rc)
        return rc;
    float *duration = mot_alloc((size_t)l->units, sizeof *duration);
    rc = duration ? mot_lapped_learn(&q, l->piece, n, l->seed, &report) : MOT_ENOMEM;
    if (!rc && l->merge)
        rc = durations(l, &q, n, duration);
    if (!rc)
        rc = write_file(l, path, &q, duration);
    mot_free(duration);
    mot_lapped_free(&q);
    return rc;
}

void mot_speech_vq_learner_free(struct mot_speech_vq_learner *l)
{
    if (!l)
        return;
    for (int i = 0; i < PIECES; i++)
        mot_free(l->piece[i].x);
    mot_free(l);
}

/* ---- loading ---- */

static int setting(const struct mot_st *s, const char *key, int *out)
{
    const char *text = mot_st_metadata(s, key);
    char *end;
    long x = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || x < 0 || x > 1000000)
        return mot_fail(MOT_EFORMAT,
                        "%s: not a speech codec: metadata \"%s\" is missing or no number", s->path,
                        key);
    *out = (int)x;
    return MOT_OK;
}

static int check_settings(const struct mot_st *s, bool *merge)
{
    const char *format = mot_st_metadata(s, "format");
    if (!format || strcmp(format, "mot-speech-units") != 0)
        return mot_fail(MOT_EFORMAT,
                        "%s: not a speech codec: metadata \"format\" is not \"mot-speech-units\"",
                        s->path);
    int x = 0, rc = setting(s, "version", &x);
    if (!rc && x != VERSION)
        return mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", s->path, x, VERSION);
    for (int i = 0; !rc && i < MOT_COUNT(FIXED); i++) {
        rc = setting(s, FIXED[i].key, &x);
        if (!rc && x != FIXED[i].value)
            rc = mot_fail(MOT_EVERSION, "%s: metadata \"%s\" is %d, this program reads %d", s->path,
                          FIXED[i].key, x, FIXED[i].value);
    }
    if (!rc)
        rc = setting(s, "merge_repeats", &x);
    *merge = x != 0;
    return rc;
}

static int read_floats(const struct mot_st *s, const struct mot_st_tensor *t, float *out)
{
    int rc = mot_st_read_f32(s, t, out);
    for (int64_t i = 0; !rc && i < t->count; i++)
        if (!(fabsf(out[i]) <= 1e4f))
            rc = mot_fail(MOT_ECORRUPT, "%s: tensor \"%s\" has values out of all range", s->path,
                          t->name);
    return rc;
}

static int read_codec(struct mot_speech_vq *c, const struct mot_st *s)
{
    bool merge = false;
    int rc = check_settings(s, &merge);
    if (rc)
        return rc;
    const struct mot_st_tensor *t = mot_st_find(s, "stamps"), *d = mot_st_find(s, "duration");
    if (!t || t->rank != 3 || t->shape[0] < 2 || t->shape[0] > 65536
        || t->shape[1] != FRAMES + 2 * MARGIN || t->shape[2] != BANDS)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"stamps\" is missing or misshapen", s->path);
    if (merge && (!d || d->rank != 1 || d->shape[0] != t->shape[0]))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"duration\" is missing or misshapen", s->path);
    rc = init_lapped(&c->q, (int)t->shape[0]);
    if (!rc)
        rc = read_floats(s, t, c->q.stamp);
    if (!rc && merge) {
        c->duration = mot_alloc((size_t)d->count, sizeof *c->duration);
        rc = c->duration ? read_floats(s, d, c->duration) : MOT_ENOMEM;
    }
    return rc ? rc : mot_lapped_ready(&c->q);
}

struct mot_speech_vq *mot_speech_vq_load(const char *path)
{
    struct mot_speech_vq *c = mot_alloc(1, sizeof *c);
    struct mot_st s = {0};
    int rc = c ? mot_st_open(&s, path) : MOT_ENOMEM;
    if (!rc)
        rc = read_codec(c, &s);
    mot_st_close(&s);
    if (!rc)
        return c;
    mot_speech_vq_free(c);
    return NULL;
}

void mot_speech_vq_free(struct mot_speech_vq *c)
{
    if (!c)
        return;
    mot_lapped_free(&c->q);
    mot_free(c->duration);
    mot_free(c);
}

int mot_speech_vq_size(const struct mot_speech_vq *c)
{
    return c->q.codes;
}

int mot_speech_vq_rate(const struct mot_speech_vq *c)
{
    (void)c;
    return MOT_RATE;
}

/* ---- there and back ---- */

int mot_speech_vq_encode(const struct mot_speech_vq *c, const struct mot_audio *a,
                            struct mot_ids *out)
{
    struct mot_field f;
    int rc = features(a, &f);
    if (rc)
        return rc;
    int32_t *code = mot_alloc((size_t)f.cols, sizeof *code);
    rc = code ? MOT_OK : MOT_ENOMEM;
    if (!rc && f.cols)
        rc = mot_lapped_encode(&c->q, &f, code);
    int64_t n = 0;
    for (int u = 0; !rc && u < f.cols; u++)
        if (!c->duration || n == 0 || code[u] != code[n - 1])
            code[n++] = code[u];
    if (!rc)
        rc = mot_ids_append(out, code, n);
    mot_free(code);
    mot_free(f.x);
    return rc;
}

/* Bring the sound to a fixed loudness, lower where it would clip. */
static void set_level(float *x, int64_t n)
{
    double power = 0;
    float peak = 0;
    for (int64_t i = 0; i < n; i++) {
        power += (double)x[i] * (double)x[i];
        peak = fmaxf(peak, fabsf(x[i]));
    }
    float gain = LOUDNESS / (sqrtf((float)(power / (double)(n ? n : 1))) + 1e-9f);
    if (peak * gain > 0.95f)
        gain = 0.95f / peak;
    for (int64_t i = 0; i < n; i++)
        x[i] *= gain;
}

/* Each unit as often as its run is long in the mean.  What rounding took or gave is made up for by
 * the next unit: the whole has the right length.  long_code NULL: only count. */
static int64_t lengthen(const struct mot_speech_vq *c, const int32_t *code, int64_t n,
                        int32_t *long_code)
{
    const float longest = 50; /* 2 s */
    int64_t units = 0;
    float owed = 0;
    for (int64_t i = 0; i < n; i++) {
        owed += c->duration ? fminf(fmaxf(c->duration[code[i]], 1), longest) : 1;
        int64_t times = lroundf(owed) > 1 ? lroundf(owed) : 1;
        owed -= (float)times;
        for (int64_t k = 0; long_code && k < times; k++)
            long_code[units + k] = code[i];
        units += times;
    }
    return units;
}

int mot_speech_vq_decode(const struct mot_speech_vq *c, const int32_t *code, int64_t n,
                            struct mot_audio *out)
{
    enum { MAX_UNITS = 1 << 22 }; /* 46 hours */
    *out = (struct mot_audio){.rate = MOT_RATE};
    for (int64_t i = 0; i < n; i++)
        if (code[i] < 0 || code[i] >= c->q.codes)
            return mot_fail(MOT_EARG, "speech unit %d, this codec has 0..%d", code[i],
                            c->q.codes - 1);
    int64_t units = lengthen(c, code, n, NULL), frames = units * FRAMES;
    if (units > MAX_UNITS)
        return mot_fail(MOT_EARG, "a sound of %lld units is too long to decode at once",
                        (long long)units);
    struct mot_field f = {
        .rows = 1, .cols = (int)units, .x = mot_alloc((size_t)frames, BANDS * sizeof *f.x)};
    int32_t *long_code = mot_alloc((size_t)units, sizeof *long_code);
    out->sample = mot_alloc((size_t)frames, MOT_HOP * sizeof *out->sample);
    out->n = frames * MOT_HOP;
    int rc = f.x && long_code && out->sample ? MOT_OK : MOT_ENOMEM;
    if (!rc) {
        lengthen(c, code, n, long_code);
        mot_lapped_decode(&c->q, long_code, &f);
        /* The logarithm back to power, which is none at all where it is 0: the bottom of the range
         * is silence. */
        for (int64_t i = 0; i < frames * BANDS; i++)
            f.x[i] = fmaxf(expf(fminf(f.x[i], RANGE + 10)) - 1, 0);
        rc = mot_mel_invert(f.x, frames, BANDS, out->sample);
    }
    if (!rc)
        set_level(out->sample, out->n);
    else
        mot_audio_free(out);
    mot_free(f.x);
    mot_free(long_code);
    return rc;
}
