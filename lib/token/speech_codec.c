/* SPDX-License-Identifier: MIT
 *
 * speech_codec.c - sounds as units of 40 ms: k-means over short log-mel spectrograms.
 *
 * A unit stands for FRAMES frames of 10 ms, so that decoding has the time detail of consonants and not one
 * spectrum a unit.  Levels are relative to the clip's: its mean power is taken away before, so that a unit does not
 * depend on how loud the recording was; what is lost is how loud it was.  What is RANGE below that level counts as silence.
 * Decoding lays the units' spectrograms side by side and finds phases (dsp.c).
 *
 * File: tensor "codebook" F32 (units, FRAMES bands), natural logarithms of power over the clip's mean; with merged
 * repeats also "duration" F32 (units), mean length of a run; metadata "format" = "mot-speech-units", "version", "bands".
 */
#include <math.h>
#include <stdlib.h>

#include "../base/safetensors.h"
#include "dsp.h"
#include "kmeans.h"

enum { VERSION = 1, FRAMES = 4, BANDS = 64, SAMPLE_UNITS = 100000, ITERATIONS = 20 };
#define RANGE 13.8f /* 60 dB in natural logarithms of power */
#define LOUDNESS 0.08f /* root mean square of what decode gives */

struct mot_speech_codec {
    int units, bands, dim;
    float *code;     /* (units, dim) */
    float *duration; /* (units), NULL: repeats stand for themselves */
    struct mot_codebook book;
};

struct mot_speech_learner {
    int units;
    bool merge;
    uint64_t seed;
    int64_t seen;
    float *sample; /* (SAMPLE_UNITS, FRAMES BANDS) */
    float *clip;   /* the clips' vectors in order, while repeats are merged: for durations */
    int64_t clip_n, clip_capacity;
    int64_t *clip_end; /* ends of clips in it */
    int64_t clips, clips_capacity;
};

/* ---- features: (units, FRAMES bands) of a sound ---- */

static int features(const struct mot_audio *a, int bands, float **out, int64_t *units)
{
    struct mot_audio x;
    int rc = mot_sound_prepare(a, &x);
    if (rc)
        return rc;
    *units = (x.n + FRAMES * MOT_HOP - 1) / (FRAMES * MOT_HOP);
    int64_t frames = *units * FRAMES, cells = frames * bands;
    *out = mot_alloc((size_t)cells, sizeof **out);
    rc = *out ? mot_mel(x.sample, x.n, frames, bands, *out) : MOT_ENOMEM;
    mot_audio_free(&x);
    if (rc) {
        mot_free(*out);
        return rc;
    }
    double mean = 0;
    for (int64_t i = 0; i < cells; i++)
        mean += (double)(*out)[i];
    /* Silence from end to end has no level: 1e-10 keeps it at the bottom of the range. */
    mean = mean / (double)(cells ? cells : 1) + 1e-10;
    for (int64_t i = 0; i < cells; i++)
        (*out)[i] = fmaxf(logf((float)((double)(*out)[i] / mean) + 1e-20f), -RANGE);
    return MOT_OK;
}

/* ---- learning ---- */

struct mot_speech_learner *mot_speech_learner_new(int units, bool merge_repeats, uint64_t seed)
{
    if (units < 2 || units > 65536) {
        mot_fail(MOT_EARG, "speech units: %d is not in 2..65536", units);
        return NULL;
    }
    struct mot_speech_learner *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    *l = (struct mot_speech_learner){.units = units, .merge = merge_repeats, .seed = seed};
    l->sample = mot_alloc(SAMPLE_UNITS, FRAMES * BANDS * sizeof *l->sample);
    if (!l->sample) {
        mot_free(l);
        return NULL;
    }
    return l;
}

/* Whole clips are kept for measuring runs, until there are enough. */
static int keep_clip(struct mot_speech_learner *l, const float *x, int64_t units)
{
    enum { DIM = FRAMES * BANDS };
    if (l->clip_n + units > SAMPLE_UNITS)
        return MOT_OK;
    int rc = mot_grow((void **)&l->clip_end, l->clips, &l->clips_capacity, sizeof *l->clip_end);
    if (rc)
        return rc;
    if (l->clip_n + units > l->clip_capacity) {
        int64_t capacity = 2 * (l->clip_n + units);
        float *p = mot_realloc(l->clip, (size_t)capacity, DIM * sizeof *p);
        if (!p)
            return MOT_ENOMEM;
        l->clip = p;
        l->clip_capacity = capacity;
    }
    memcpy(l->clip + l->clip_n * DIM, x, (size_t)units * DIM * sizeof *x);
    l->clip_n += units;
    l->clip_end[l->clips++] = l->clip_n;
    return MOT_OK;
}

int mot_speech_learner_add(struct mot_speech_learner *l, const struct mot_audio *a)
{
    float *x;
    int64_t units;
    int rc = features(a, BANDS, &x, &units);
    if (rc)
        return rc;
    for (int64_t u = 0; u < units; u++) {
        int64_t at = mot_sample_place(l->seed, mot_stream("speech frames"), l->seen++, SAMPLE_UNITS);
        if (at >= 0)
            memcpy(l->sample + at * FRAMES * BANDS, x + u * FRAMES * BANDS, FRAMES * BANDS * sizeof *x);
    }
    if (l->merge)
        rc = keep_clip(l, x, units);
    mot_free(x);
    return rc;
}

/* Mean length of the runs of each unit in the kept clips. */
static int durations(const struct mot_speech_learner *l, const float *centre, float *duration)
{
    struct mot_codebook book;
    int32_t *best = mot_alloc((size_t)l->clip_n, sizeof *best);
    int64_t *runs = mot_alloc((size_t)l->units, sizeof *runs);
    int rc = best && runs ? mot_codebook_init(&book, centre, l->units, FRAMES * BANDS) : MOT_ENOMEM;
    if (!rc) {
        mot_codebook_search(&book, l->clip, l->clip_n, NULL, best);
        for (int64_t c = 0, begin = 0; c < l->clips; begin = l->clip_end[c++])
            for (int64_t i = begin; i < l->clip_end[c]; i++) {
                duration[best[i]] += 1;
                runs[best[i]] += i == begin || best[i - 1] != best[i];
            }
        for (int u = 0; u < l->units; u++)
            duration[u] = runs[u] ? duration[u] / (float)runs[u] : 1;
        mot_codebook_free(&book);
    }
    mot_free(best);
    mot_free(runs);
    return rc;
}

static int write_file(const struct mot_speech_learner *l, const char *path, const float *centre, const float *duration)
{
    char bands[16];
    snprintf(bands, sizeof bands, "%d", BANDS);
    const char *const metadata[] = {"format", "mot-speech-units", "version", "1", "bands", bands};
    const struct mot_st_decl decl[2] = {{"codebook", MOT_F32, 2, {l->units, FRAMES * BANDS}},
                                        {"duration", MOT_F32, 1, {l->units}}};
    struct mot_st_writer *w = mot_st_writer_begin(path, decl, l->merge ? 2 : 1, metadata, 3, NULL);
    if (!w)
        return MOT_EIO;
    int rc = mot_st_writer_data(w, centre, (size_t)l->units * FRAMES * BANDS * sizeof *centre);
    if (!rc && l->merge)
        rc = mot_st_writer_data(w, duration, (size_t)l->units * sizeof *duration);
    if (!rc)
        return mot_st_writer_commit(w);
    mot_st_writer_abort(w);
    return rc;
}

int mot_speech_learner_save(struct mot_speech_learner *l, const char *path, mot_progress *progress, void *context)
{
    if (l->seen == 0)
        return mot_fail(MOT_EARG, "%s: no sound to learn from", path);
    int64_t n = l->seen < SAMPLE_UNITS ? l->seen : SAMPLE_UNITS;
    float *centre = mot_alloc((size_t)l->units, FRAMES * BANDS * sizeof *centre);
    float *duration = mot_alloc((size_t)l->units, sizeof *duration);
    int32_t *best = mot_alloc((size_t)n, sizeof *best);
    struct mot_report report = {progress, context, "learning speech units", 0, 1};
    int rc = centre && duration && best ? mot_kmeans(l->sample, n, FRAMES * BANDS, l->units, ITERATIONS, l->seed, &report, centre, best)
                                        : MOT_ENOMEM;
    if (!rc && l->merge)
        rc = durations(l, centre, duration);
    if (!rc)
        rc = write_file(l, path, centre, duration);
    mot_free(centre);
    mot_free(duration);
    mot_free(best);
    return rc;
}

void mot_speech_learner_free(struct mot_speech_learner *l)
{
    if (!l)
        return;
    mot_free(l->sample);
    mot_free(l->clip);
    mot_free(l->clip_end);
    mot_free(l);
}

/* ---- loading ---- */

static int setting(const struct mot_st *s, const char *key, int hi, int *out)
{
    const char *text = mot_st_metadata(s, key);
    char *end;
    long x = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || x < 1 || x > hi)
        return mot_fail(MOT_EFORMAT, "%s: not a speech codec: metadata \"%s\" is missing or not in 1..%d", s->path, key, hi);
    *out = (int)x;
    return MOT_OK;
}

static int read_floats(const struct mot_st *s, const struct mot_st_tensor *t, float **out)
{
    *out = mot_alloc((size_t)t->count, sizeof **out);
    int rc = *out ? mot_st_read_f32(s, t, *out) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < t->count; i++)
        if (!isfinite((*out)[i]) || fabsf((*out)[i]) > 1000)
            rc = mot_fail(MOT_ECORRUPT, "%s: tensor \"%s\" has values out of all range", s->path, t->name);
    return rc;
}

static int read_codec(struct mot_speech_codec *c, const struct mot_st *s)
{
    const char *format = mot_st_metadata(s, "format");
    if (!format || strcmp(format, "mot-speech-units") != 0)
        return mot_fail(MOT_EFORMAT, "%s: not a speech codec: metadata \"format\" is not \"mot-speech-units\"", s->path);
    int version = 0, rc = setting(s, "version", INT32_MAX, &version);
    if (!rc && version != VERSION)
        return mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", s->path, version, VERSION);
    if (!rc)
        rc = setting(s, "bands", MOT_MAX_BANDS, &c->bands);
    if (rc)
        return rc;
    c->dim = FRAMES * c->bands;
    const struct mot_st_tensor *t = mot_st_find(s, "codebook"), *d = mot_st_find(s, "duration");
    if (!t || t->rank != 2 || t->shape[0] < 2 || t->shape[0] > 65536 || t->shape[1] != c->dim ||
        (d && (d->rank != 1 || d->shape[0] != t->shape[0])))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"codebook\" or \"duration\" is missing or misshapen", s->path);
    c->units = (int)t->shape[0];
    rc = read_floats(s, t, &c->code);
    if (!rc && d)
        rc = read_floats(s, d, &c->duration);
    return rc ? rc : mot_codebook_init(&c->book, c->code, c->units, c->dim);
}

struct mot_speech_codec *mot_speech_codec_load(const char *path)
{
    struct mot_speech_codec *c = mot_alloc(1, sizeof *c);
    struct mot_st s = {0};
    int rc = c ? mot_st_open(&s, path) : MOT_ENOMEM;
    if (!rc)
        rc = read_codec(c, &s);
    mot_st_close(&s);
    if (!rc)
        return c;
    mot_speech_codec_free(c);
    return NULL;
}

void mot_speech_codec_free(struct mot_speech_codec *c)
{
    if (!c)
        return;
    mot_codebook_free(&c->book);
    mot_free(c->code);
    mot_free(c->duration);
    mot_free(c);
}

int mot_speech_codec_size(const struct mot_speech_codec *c)
{
    return c->units;
}

int mot_speech_codec_rate(const struct mot_speech_codec *c)
{
    (void)c;
    return MOT_RATE;
}

/* ---- there and back ---- */

int mot_speech_codec_encode(const struct mot_speech_codec *c, const struct mot_audio *a, struct mot_ids *out)
{
    float *x;
    int64_t units;
    int rc = features(a, c->bands, &x, &units);
    if (rc)
        return rc;
    int32_t *best = mot_alloc((size_t)units, sizeof *best);
    rc = best ? MOT_OK : MOT_ENOMEM;
    if (!rc)
        mot_codebook_search(&c->book, x, units, NULL, best);
    for (int64_t u = 0; !rc && u < units; u++)
        if (!c->duration || u == 0 || best[u] != best[u - 1])
            rc = mot_ids_append(out, &best[u], 1);
    mot_free(best);
    mot_free(x);
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

int mot_speech_codec_decode(const struct mot_speech_codec *c, const int32_t *code, int64_t n, struct mot_audio *out)
{
    enum { MAX_UNITS = 1 << 22, MAX_REPEATS = 50 }; /* 46 hours; 2 s */
    *out = (struct mot_audio){.rate = MOT_RATE};
    int64_t units = 0;
    for (int64_t i = 0; i < n; i++) {
        if (code[i] < 0 || code[i] >= c->units)
            return mot_fail(MOT_EARG, "speech unit %d, this codec has 0..%d", code[i], c->units - 1);
        long repeats = c->duration ? lroundf(c->duration[code[i]]) : 1;
        units += repeats < 1 ? 1 : repeats > MAX_REPEATS ? MAX_REPEATS : repeats;
    }
    if (units > MAX_UNITS)
        return mot_fail(MOT_EARG, "a sound of %lld units is too long to decode at once", (long long)n);
    int64_t frames = units * FRAMES, at = 0;
    float *mel = mot_alloc((size_t)frames, (size_t)c->bands * sizeof *mel);
    out->sample = mot_alloc((size_t)frames, MOT_HOP * sizeof *out->sample);
    out->n = frames * MOT_HOP;
    int rc = mel && out->sample ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        long repeats = c->duration ? lroundf(c->duration[code[i]]) : 1;
        repeats = repeats < 1 ? 1 : repeats > MAX_REPEATS ? MAX_REPEATS : repeats;
        for (long r = 0; r < repeats; r++, at += c->dim)
            for (int k = 0; k < c->dim; k++) {
                float level = c->code[(int64_t)code[i] * c->dim + k];
                mel[at + k] = level <= -RANGE + 1 ? 0 : expf(fminf(level, 20)); /* the bottom of the range is silence */
            }
    }
    if (!rc)
        rc = mot_mel_invert(mel, frames, c->bands, out->sample);
    if (!rc)
        set_level(out->sample, out->n);
    else
        mot_audio_free(out);
    mot_free(mel);
    return rc;
}
