/* SPDX-License-Identifier: MIT
 *
 * image_codec.c - pictures by vector quantisation of square patches.
 *
 * A picture is brought to a fixed square: shorter side resized, centre cropped.  Each patch, in YCbCr with chroma at
 * CHROMA of its weight (the eye forgives colour errors more than errors of brightness), is replaced by the
 * nearest of a codebook learned by k-means.  Decoding puts the codes' patches side by side and softens what of an edge
 * between two patches is no steeper than inside them.
 *
 * File: tensor "codebook" F32 (codes, 3 patch^2), planes Y, Cb, Cr in weighted units of 0..255; metadata
 * "format" = "mot-image-vq", "version", "image_size", "patch_size".
 */
#include <math.h>
#include <stdlib.h>

#include "../base/safetensors.h"
#include "kmeans.h"

enum { VERSION = 1, SAMPLE_FLOATS = 32 << 20, ITERATIONS = 20, MAX_SIDE = 4096 };
#define CHROMA 0.6f

struct mot_image_codec {
    int size, patch, codes, dim;
    float *code; /* (codes, dim) */
    struct mot_codebook book;
};

struct mot_image_learner {
    int size, patch, codes, dim;
    uint64_t seed;
    int64_t seen, capacity; /* patches */
    float *sample;          /* (capacity, dim) */
};

/* ---- pictures and patches ---- */

static int prepare(const struct mot_image *im, int size, struct mot_image *out)
{
    *out = (struct mot_image){0};
    if (im->width < 1 || im->height < 1)
        return mot_fail(MOT_EARG, "a picture without pixels");
    int shorter = im->width < im->height ? im->width : im->height;
    int64_t width = ((int64_t)im->width * size + shorter / 2) / shorter;
    int64_t height = ((int64_t)im->height * size + shorter / 2) / shorter;
    /* A strip a thousand times longer than wide would be blown up for nothing: only its middle is kept. */
    struct mot_image middle = *im, scaled = {0};
    if (width > 8 * (int64_t)size || height > 8 * (int64_t)size) {
        int side = 8 * shorter;
        middle.width = im->width < side ? im->width : side;
        middle.height = im->height < side ? im->height : side;
        size_t row = (size_t)middle.width * 3;
        middle.rgb = mot_alloc((size_t)middle.height, row);
        if (!middle.rgb)
            return MOT_ENOMEM;
        size_t x0 = (size_t)(im->width - middle.width) / 2, y0 = (size_t)(im->height - middle.height) / 2;
        for (size_t y = 0; y < (size_t)middle.height; y++)
            memcpy(middle.rgb + y * row, im->rgb + ((y + y0) * (size_t)im->width + x0) * 3, row);
        width = middle.width > middle.height ? 8 * (int64_t)size : size;
        height = middle.width > middle.height ? size : 8 * (int64_t)size;
    }
    int rc = mot_image_resize(&middle, (int)width, (int)height, &scaled);
    if (middle.rgb != im->rgb)
        mot_image_free(&middle);
    if (rc)
        return rc;
    *out = (struct mot_image){size, size, mot_alloc((size_t)size * (size_t)size, 3)};
    size_t x0 = (size_t)(width - size) / 2, y0 = (size_t)(height - size) / 2;
    for (size_t y = 0; out->rgb && y < (size_t)size; y++)
        memcpy(out->rgb + y * (size_t)size * 3, scaled.rgb + ((y + y0) * (size_t)width + x0) * 3, (size_t)size * 3);
    mot_image_free(&scaled);
    return out->rgb ? MOT_OK : MOT_ENOMEM;
}

/* Full-range YCbCr (ITU-R BT.601, as JPEG uses), Cb and Cr around 0. */
static void take_patch(const struct mot_image *im, int x0, int y0, int patch, float *out)
{
    int n = patch * patch;
    for (int y = 0; y < patch; y++)
        for (int x = 0; x < patch; x++) {
            const unsigned char *p = im->rgb + ((size_t)(y0 + y) * (size_t)im->width + (size_t)(x0 + x)) * 3;
            float r = p[0], g = p[1], b = p[2], luma = 0.299f * r + 0.587f * g + 0.114f * b;
            int i = y * patch + x;
            out[i] = luma;
            out[n + i] = CHROMA * 0.564f * (b - luma);
            out[2 * n + i] = CHROMA * 0.713f * (r - luma);
        }
}

static unsigned char to_byte(float x)
{
    return (unsigned char)(x <= 0 ? 0 : x >= 255 ? 255 : (int)(x + 0.5f));
}

/* ---- learning ---- */

static int check_sizes(int codes, int size, int patch)
{
    if (codes < 2 || codes > 65536)
        return mot_fail(MOT_EARG, "image codes: %d is not in 2..65536", codes);
    if (patch < 1 || patch > 64 || size < patch || size > MAX_SIDE || size % patch != 0)
        return mot_fail(MOT_EARG, "pictures of %d in patches of %d: the size must be a multiple of the patch, patches 1..64, "
                                  "sizes up to %d", size, patch, MAX_SIDE);
    return MOT_OK;
}

struct mot_image_learner *mot_image_learner_new(int codes, int image_size, int patch_size, uint64_t seed)
{
    int size = image_size ? image_size : 64, patch = patch_size ? patch_size : 8;
    if (check_sizes(codes, size, patch))
        return NULL;
    struct mot_image_learner *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    int dim = 3 * patch * patch;
    *l = (struct mot_image_learner){size, patch, codes, dim, seed, 0, SAMPLE_FLOATS / dim, NULL};
    if (l->capacity < codes)
        l->capacity = codes;
    l->sample = mot_alloc((size_t)l->capacity, (size_t)dim * sizeof *l->sample);
    if (!l->sample) {
        mot_free(l);
        return NULL;
    }
    return l;
}

int mot_image_learner_add(struct mot_image_learner *l, const struct mot_image *im)
{
    struct mot_image square;
    int rc = prepare(im, l->size, &square);
    if (rc)
        return rc;
    for (int y = 0; y < l->size; y += l->patch)
        for (int x = 0; x < l->size; x += l->patch) {
            int64_t at = mot_sample_place(l->seed, mot_stream("image patches"), l->seen++, l->capacity);
            if (at >= 0)
                take_patch(&square, x, y, l->patch, l->sample + at * l->dim);
        }
    mot_image_free(&square);
    return MOT_OK;
}

static int write_file(const struct mot_image_learner *l, const char *path, const float *centre)
{
    char size[16], patch[16];
    snprintf(size, sizeof size, "%d", l->size);
    snprintf(patch, sizeof patch, "%d", l->patch);
    const char *const metadata[] = {"format", "mot-image-vq", "version", "1", "image_size", size, "patch_size", patch};
    const struct mot_st_decl decl = {"codebook", MOT_F32, 2, {l->codes, l->dim}};
    struct mot_st_writer *w = mot_st_writer_begin(path, &decl, 1, metadata, 4, NULL);
    if (!w)
        return MOT_EIO;
    int rc = mot_st_writer_data(w, centre, (size_t)l->codes * (size_t)l->dim * sizeof *centre);
    if (!rc)
        return mot_st_writer_commit(w);
    mot_st_writer_abort(w);
    return rc;
}

int mot_image_learner_save(struct mot_image_learner *l, const char *path, mot_progress *progress, void *context)
{
    if (l->seen == 0)
        return mot_fail(MOT_EARG, "%s: no picture to learn from", path);
    int64_t n = l->seen < l->capacity ? l->seen : l->capacity;
    float *centre = mot_alloc((size_t)l->codes * (size_t)l->dim, sizeof *centre);
    int32_t *best = mot_alloc((size_t)n, sizeof *best);
    struct mot_report report = {progress, context, "learning picture codes", 0, 1};
    int rc = centre && best ? mot_kmeans(l->sample, n, l->dim, l->codes, ITERATIONS, l->seed, &report, centre, best)
                            : MOT_ENOMEM;
    if (!rc)
        rc = write_file(l, path, centre);
    mot_free(centre);
    mot_free(best);
    return rc;
}

void mot_image_learner_free(struct mot_image_learner *l)
{
    if (!l)
        return;
    mot_free(l->sample);
    mot_free(l);
}

/* ---- loading ---- */

static int setting(const struct mot_st *s, const char *key, int *out)
{
    const char *text = mot_st_metadata(s, key);
    char *end;
    long x = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || x < 1 || x > 65536)
        return mot_fail(MOT_EFORMAT, "%s: not a picture codec: metadata \"%s\" is missing or no number", s->path, key);
    *out = (int)x;
    return MOT_OK;
}

static int read_codec(struct mot_image_codec *c, const struct mot_st *s)
{
    const char *format = mot_st_metadata(s, "format");
    if (!format || strcmp(format, "mot-image-vq") != 0)
        return mot_fail(MOT_EFORMAT, "%s: not a picture codec: metadata \"format\" is not \"mot-image-vq\"", s->path);
    int version = 0, rc = setting(s, "version", &version);
    if (!rc && version != VERSION)
        return mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", s->path, version, VERSION);
    if (!rc)
        rc = setting(s, "image_size", &c->size);
    if (!rc)
        rc = setting(s, "patch_size", &c->patch);
    const struct mot_st_tensor *t = mot_st_find(s, "codebook");
    if (rc)
        return rc;
    if (!t || t->rank != 2 || t->shape[0] > 65536 || check_sizes((int)t->shape[0], c->size, c->patch) ||
        t->shape[1] != 3 * c->patch * c->patch)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"codebook\" is missing or does not fit image_size and patch_size", s->path);
    c->codes = (int)t->shape[0];
    c->dim = (int)t->shape[1];
    c->code = mot_alloc((size_t)t->count, sizeof *c->code);
    rc = c->code ? mot_st_read_f32(s, t, c->code) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < t->count; i++)
        if (!isfinite(c->code[i]) || fabsf(c->code[i]) > 1e6f)
            rc = mot_fail(MOT_ECORRUPT, "%s: tensor \"codebook\" has values that are no pixels", s->path);
    return rc ? rc : mot_codebook_init(&c->book, c->code, c->codes, c->dim);
}

struct mot_image_codec *mot_image_codec_load(const char *path)
{
    struct mot_image_codec *c = mot_alloc(1, sizeof *c);
    struct mot_st s = {0};
    int rc = c ? mot_st_open(&s, path) : MOT_ENOMEM;
    if (!rc)
        rc = read_codec(c, &s);
    mot_st_close(&s);
    if (!rc)
        return c;
    mot_image_codec_free(c);
    return NULL;
}

void mot_image_codec_free(struct mot_image_codec *c)
{
    if (!c)
        return;
    mot_codebook_free(&c->book);
    mot_free(c->code);
    mot_free(c);
}

int mot_image_codec_size(const struct mot_image_codec *c)
{
    return c->codes;
}

int mot_image_codec_tokens(const struct mot_image_codec *c)
{
    return (c->size / c->patch) * (c->size / c->patch);
}

/* ---- there and back ---- */

int mot_image_codec_prepare(const struct mot_image_codec *c, const struct mot_image *im, struct mot_image *out)
{
    return prepare(im, c->size, out);
}

int mot_image_codec_encode(const struct mot_image_codec *c, const struct mot_image *im, struct mot_ids *out)
{
    struct mot_image square;
    int rc = prepare(im, c->size, &square);
    if (rc)
        return rc;
    int n = mot_image_codec_tokens(c), side = c->size / c->patch;
    float *x = mot_alloc((size_t)n, (size_t)c->dim * sizeof *x);
    int32_t *best = mot_alloc((size_t)n, sizeof *best);
    rc = x && best ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; !rc && i < n; i++)
        take_patch(&square, i % side * c->patch, i / side * c->patch, c->patch, x + (size_t)i * (size_t)c->dim);
    if (!rc) {
        mot_codebook_search(&c->book, x, n, NULL, best);
        rc = mot_ids_append(out, best, n);
    }
    mot_free(x);
    mot_free(best);
    mot_image_free(&square);
    return rc;
}

/* Across a patch's border, a step that the slopes on both sides do not explain is the codebook's, not the
 * picture's, as long as it is small: it is spread over the two pixels on each side. */
static void soften(float *p, int size, int patch, int along, int across)
{
    enum { SMALL = 24 };
    for (int line = 0; line < size; line++)
        for (int edge = patch; edge < size && patch >= 4; edge += patch) {
            float *q = p + line * along + edge * across;
            float step = q[0] - q[-across], inside = 0.5f * ((q[-across] - q[-2 * across]) + (q[across] - q[0]));
            float extra = step - inside;
            if (fabsf(extra) >= SMALL)
                continue;
            q[-2 * across] += 0.125f * extra, q[-across] += 0.375f * extra;
            q[0] -= 0.375f * extra, q[across] -= 0.125f * extra;
        }
}

int mot_image_codec_decode(const struct mot_image_codec *c, const int32_t *code, int64_t n, struct mot_image *out)
{
    *out = (struct mot_image){0};
    int tokens = mot_image_codec_tokens(c), side = c->size / c->patch, area = c->patch * c->patch;
    if (n < 0 || n > tokens)
        return mot_fail(MOT_EARG, "a picture of %lld codes, this codec's have %d", (long long)n, tokens);
    size_t pixels = (size_t)c->size * (size_t)c->size;
    float *plane = mot_alloc(3 * pixels, sizeof *plane); /* Y, Cb, Cr */
    *out = (struct mot_image){c->size, c->size, mot_alloc(pixels, 3)};
    int rc = plane && out->rgb ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; !rc && i < tokens; i++) {
        if (i < n && (code[i] < 0 || code[i] >= c->codes)) {
            rc = mot_fail(MOT_EARG, "picture code %d, this codec has 0..%d", code[i], c->codes - 1);
            break;
        }
        const float *patch = i < n ? c->code + (size_t)code[i] * (size_t)c->dim : NULL;
        for (int k = 0; k < 3 * area; k++) {
            int x = i % side * c->patch + k % area % c->patch, y = i / side * c->patch + k % area / c->patch;
            plane[(size_t)(k / area) * pixels + (size_t)y * (size_t)c->size + (size_t)x] = patch ? patch[k] : k < area ? 128 : 0;
        }
    }
    for (int k = 0; !rc && k < 3; k++) {
        soften(plane + (size_t)k * pixels, c->size, c->patch, c->size, 1);
        soften(plane + (size_t)k * pixels, c->size, c->patch, 1, c->size);
    }
    for (size_t i = 0; !rc && i < pixels; i++) {
        float y = plane[i], cb = plane[pixels + i] / CHROMA, cr = plane[2 * pixels + i] / CHROMA;
        float r = y + cr / 0.713f, b = y + cb / 0.564f;
        out->rgb[3 * i] = to_byte(r);
        out->rgb[3 * i + 1] = to_byte((y - 0.299f * r - 0.114f * b) / 0.587f);
        out->rgb[3 * i + 2] = to_byte(b);
    }
    mot_free(plane);
    if (rc)
        mot_image_free(out);
    return rc;
}
