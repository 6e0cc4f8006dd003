/* SPDX-License-Identifier: MIT
 *
 * speech_codec.c - a folder's speech codec, whichever it is: the embedded one (speech_vq.c) or a HuBERT's units (hubert.c).
 * The file's metadata "format" tells.  Here too is how a HuBERT's units are learned: k-means of a sample of its features.
 */
#include "../base/safetensors.h"
#include "dsp.h"
#include "hubert.h"
#include "kmeans.h"
#include "speech_vq.h"

enum {
    SAMPLE_FLOATS = 1 << 26, /* features learned from: 87,000 rows of 768, 29 minutes */
    KMEANS_STEPS = 30
};

struct mot_speech_codec { /* one of the two */
    struct mot_speech_vq *vq;
    struct mot_hubert *hubert;
};

struct mot_speech_codec *mot_speech_codec_load(const char *path)
{
    struct mot_st s = {0};
    struct mot_speech_codec *c = mot_alloc(1, sizeof *c);
    if (!c || mot_st_open(&s, path)) {
        mot_free(c);
        return NULL;
    }
    const char *format = mot_st_metadata(&s, "format");
    bool hubert = format && strcmp(format, "mot-hubert") == 0;
    mot_st_close(&s);
    if (hubert)
        c->hubert = mot_hubert_load(path);
    else
        c->vq = mot_speech_vq_load(path);
    if (c->vq || c->hubert)
        return c;
    mot_free(c);
    return NULL;
}

void mot_speech_codec_free(struct mot_speech_codec *c)
{
    if (!c)
        return;
    mot_speech_vq_free(c->vq);
    mot_hubert_free(c->hubert);
    mot_free(c);
}

int mot_speech_codec_send(struct mot_speech_codec *c, const struct mot_kernels *k)
{
    return c->hubert ? mot_hubert_send(c->hubert, k) : MOT_OK;
}

int mot_speech_codec_size(const struct mot_speech_codec *c)
{
    return c->vq ? mot_speech_vq_size(c->vq) : mot_hubert_size(c->hubert);
}

int mot_speech_codec_rate(const struct mot_speech_codec *c)
{
    return c->vq ? mot_speech_vq_rate(c->vq) : MOT_RATE;
}

void mot_speech_codec_describe(const struct mot_speech_codec *c, char *text, size_t n)
{
    snprintf(text, n, "%s", c->vq ? "vq" : "hubert");
}

bool mot_speech_codec_decodes(const struct mot_speech_codec *c)
{
    return c->vq != NULL;
}

int mot_speech_codec_encode(const struct mot_speech_codec *c, const struct mot_audio *a, struct mot_ids *out)
{
    return c->vq ? mot_speech_vq_encode(c->vq, a, out) : mot_hubert_encode(c->hubert, a, out);
}

int mot_speech_codec_decode(const struct mot_speech_codec *c, const int32_t *code, int64_t n, struct mot_audio *out)
{
    if (c->vq)
        return mot_speech_vq_decode(c->vq, code, n, out);
    *out = (struct mot_audio){0};
    return mot_fail(MOT_EARG, "a HuBERT's units do not say how they sound: turning them to sound needs a vocoder trained for "
                    "them, which this program does not have");
}

/* ---- learning ---- */

struct mot_speech_learner { /* one of the two */
    struct mot_speech_vq_learner *vq;
    struct mot_hubert *hubert;
    int units;
    bool merge;
    uint64_t seed;
    int64_t seen, capacity, held; /* rows */
    float *sample;                /* (held, width) */
};

struct mot_speech_learner *mot_speech_learner_new(int units, bool merge_repeats, uint64_t seed)
{
    struct mot_speech_learner *l = mot_alloc(1, sizeof *l);
    if (l && (l->vq = mot_speech_vq_learner_new(units, merge_repeats, seed)))
        return l;
    mot_free(l);
    return NULL;
}

/* The sample grows as it fills: most data is less than it may hold. */
static int hold(struct mot_speech_learner *l, int64_t at, const float *row, int width)
{
    if (at >= l->held) {
        int64_t more = l->held ? 2 * l->held : 4096;
        more = more < l->capacity ? more : l->capacity;
        float *sample = mot_realloc(l->sample, (size_t)more, (size_t)width * sizeof *sample);
        if (!sample)
            return MOT_ENOMEM;
        l->sample = sample;
        l->held = more;
    }
    memcpy(l->sample + at * width, row, (size_t)width * sizeof *row);
    return MOT_OK;
}

int mot_speech_learner_add(struct mot_speech_learner *l, const struct mot_audio *a)
{
    float *x;
    int64_t n;
    if (l->vq)
        return mot_speech_vq_learner_add(l->vq, a);
    int width = mot_hubert_width(l->hubert), rc = mot_hubert_features(l->hubert, a, &x, &n);
    for (int64_t i = 0; !rc && i < n; i++) {
        int64_t at = mot_sample_place(l->seed, mot_stream("speech features"), l->seen++, l->capacity);
        if (at >= 0)
            rc = hold(l, at, x + i * width, width);
    }
    mot_free(x);
    return rc;
}

static int learn_centres(struct mot_speech_learner *l, const char *path, mot_progress *progress, void *context)
{
    struct mot_report report = {progress, context, "learning speech units", 0, 1};
    int64_t n = l->seen < l->capacity ? l->seen : l->capacity;
    int width = mot_hubert_width(l->hubert);
    if (n == 0)
        return mot_fail(MOT_EARG, "%s: no sound to learn from", path);
    float *centre = mot_alloc((size_t)l->units, (size_t)width * sizeof *centre);
    int32_t *best = mot_alloc((size_t)n, sizeof *best);
    int rc = centre && best ? MOT_OK : MOT_ENOMEM;
    if (!rc)
        rc = mot_kmeans(l->sample, n, width, l->units, KMEANS_STEPS, l->seed, &report, centre, best);
    if (!rc)
        rc = mot_hubert_set_centres(l->hubert, centre, l->units);
    mot_free(centre);
    mot_free(best);
    return rc;
}

int mot_speech_learner_save(struct mot_speech_learner *l, const char *path, mot_progress *progress, void *context)
{
    if (l->vq)
        return mot_speech_vq_learner_save(l->vq, path, progress, context);
    int rc = mot_hubert_size(l->hubert) ? MOT_OK : learn_centres(l, path, progress, context);
    return rc ? rc : mot_hubert_save(l->hubert, l->merge, path);
}

void mot_speech_learner_free(struct mot_speech_learner *l)
{
    if (!l)
        return;
    mot_speech_vq_learner_free(l->vq);
    mot_hubert_free(l->hubert);
    mot_free(l->sample);
    mot_free(l);
}

struct mot_speech_learner *mot_speech_learner_net(const char *net, const char *config, int layer, const char *centres,
                                                  int units, bool merge_repeats, uint64_t seed, const struct mot_kernels *k)
{
    if (!centres && (units < 2 || units > 65536)) {
        mot_fail(MOT_EARG, "speech units: %d is not in 2..65536", units);
        return NULL;
    }
    struct mot_speech_learner *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    *l = (struct mot_speech_learner){.units = units, .merge = merge_repeats, .seed = seed};
    l->hubert = mot_hubert_open(net, config, layer);
    if (l->hubert && (!k || mot_hubert_send(l->hubert, k) == MOT_OK) &&
        (!centres || mot_hubert_read_centres(l->hubert, centres) == MOT_OK)) {
        l->capacity = SAMPLE_FLOATS / mot_hubert_width(l->hubert);
        return l;
    }
    mot_speech_learner_free(l);
    return NULL;
}
