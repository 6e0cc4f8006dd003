/* SPDX-License-Identifier: MIT
 *
 * image_vq.c - pictures by lapped vector quantisation of square patches.
 *
 * A picture is brought to a fixed square: shorter side resized, centre cropped.  It is then a sum
 * of stamps, one for each patch, that reach half a patch into their neighbours (lapped.c has the
 * method): no blocks are seen, and flat areas, edges and shading go on from patch to patch.  Values
 * are R, G, B less GREY: the error that is made small is the one PSNR measures, and where there is
 * no code the picture is grey.  What the stamps make goes through filters (smooth.c), which take away
 * most of the mottle that flat colours come back with.
 *
 * File: tensors "stamps" F32 (codes, window, window, 3), window = patch_size + 2 margin; "levels" F32
 * (7) and "filters" F32 (8, 3, 76), missing in version 1; metadata "format" = "mot-image-vq",
 * "version", "image_size", "patch_size", "margin".
 */
#include <math.h>
#include <stdlib.h>

#include "../base/safetensors.h"
#include "image_vq.h"
#include "lapped.h"
#include "smooth.h"

enum {
    VERSION = 2,
    SMOOTHED = 512, /* pictures that the filters are learned from, at most */
    SAMPLE_FLOATS = 16 << 20, /* learned from: 1365 pictures of 64 x 64, mirror images counted */
    MAX_SIDE = 4096,
    GREY = 128
};

struct mot_image_vq {
    int size, patch;
    struct mot_lapped q;
    bool smooths; /* version 1 does not */
    struct mot_smooth smooth;
};

struct mot_image_learner {
    int size, patch, codes;
    uint64_t seed;
    int64_t seen, capacity; /* pictures */
    unsigned char *sample;  /* (capacity, size, size, 3) */
};

/* ---- pictures and patches ---- */

int mot_image_square(const struct mot_image *im, int size, struct mot_image *out)
{
    *out = (struct mot_image){0};
    if (im->width < 1 || im->height < 1)
        return mot_fail(MOT_EARG, "a picture without pixels");
    int shorter = im->width < im->height ? im->width : im->height;
    int64_t width = ((int64_t)im->width * size + shorter / 2) / shorter;
    int64_t height = ((int64_t)im->height * size + shorter / 2) / shorter;
    /* A strip a thousand times longer than wide would be blown up for nothing: only its middle is
     * kept. */
    struct mot_image middle = *im, scaled = {0};
    if (width > 8 * (int64_t)size || height > 8 * (int64_t)size) {
        int side = 8 * shorter;
        middle.width = im->width < side ? im->width : side;
        middle.height = im->height < side ? im->height : side;
        size_t row = (size_t)middle.width * 3;
        middle.rgb = mot_alloc((size_t)middle.height, row);
        if (!middle.rgb)
            return MOT_ENOMEM;
        size_t x0 = (size_t)(im->width - middle.width) / 2,
               y0 = (size_t)(im->height - middle.height) / 2;
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
        memcpy(out->rgb + y * (size_t)size * 3, scaled.rgb + ((y + y0) * (size_t)width + x0) * 3,
               (size_t)size * 3);
    mot_image_free(&scaled);
    return out->rgb ? MOT_OK : MOT_ENOMEM;
}

static size_t bytes_of(int size)
{
    return (size_t)size * (size_t)size * 3;
}

static void to_floats(const unsigned char *rgb, int size, float *x)
{
    for (size_t i = 0; i < bytes_of(size); i++)
        x[i] = (float)(rgb[i] - GREY);
}

static unsigned char to_byte(float x)
{
    return (unsigned char)(x <= 0 ? 0 : x >= 255 ? 255 : (int)(x + 0.5f));
}

static int init_lapped(struct mot_lapped *q, int codes, int patch)
{
    return mot_lapped_init(q, codes, 3, (const int[]){patch, patch},
                           (const int[]){patch / 2, patch / 2});
}

/* ---- learning ---- */

static int check_sizes(int codes, int size, int patch)
{
    if (codes < 2 || codes > 65536)
        return mot_fail(MOT_EARG, "image codes: %d is not in 2..65536", codes);
    if (patch < 1 || patch > 64 || size < patch || size > MAX_SIDE || size % patch != 0)
        return mot_fail(MOT_EARG,
                        "pictures of %d in patches of %d: the size must be a multiple of the "
                        "patch, patches 1..64, sizes up to %d",
                        size, patch, MAX_SIDE);
    return MOT_OK;
}

struct mot_image_learner *mot_image_learner_new(int codes, int image_size, int patch_size,
                                                uint64_t seed)
{
    int size = image_size ? image_size : 64, patch = patch_size ? patch_size : 8;
    if (check_sizes(codes, size, patch))
        return NULL;
    struct mot_image_learner *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    *l = (struct mot_image_learner){
        size, patch, codes, seed, 0, SAMPLE_FLOATS / (int64_t)bytes_of(size), NULL};
    if (l->capacity < 2)
        l->capacity = 2;
    l->sample = mot_alloc((size_t)l->capacity, bytes_of(size));
    if (!l->sample) {
        mot_free(l);
        return NULL;
    }
    return l;
}

/* The picture and its mirror image are two of the stream that is sampled: patches have no
 * handedness. */
int mot_image_learner_add(struct mot_image_learner *l, const struct mot_image *im)
{
    int64_t at[2];
    for (int mirror = 0; mirror < 2; mirror++)
        at[mirror] = mot_sample_place(l->seed, mot_stream("pictures"), l->seen++, l->capacity);
    if (at[0] < 0 && at[1] < 0)
        return MOT_OK;
    struct mot_image square;
    int rc = mot_image_square(im, l->size, &square);
    if (rc)
        return rc;
    if (at[0] >= 0)
        memcpy(l->sample + (size_t)at[0] * bytes_of(l->size), square.rgb, bytes_of(l->size));
    unsigned char *to = l->sample + (size_t)(at[1] < 0 ? 0 : at[1]) * bytes_of(l->size);
    for (size_t y = 0; at[1] >= 0 && y < (size_t)l->size; y++)
        for (size_t x = 0; x < (size_t)l->size; x++, to += 3)
            memcpy(to, square.rgb + (y * (size_t)l->size + (size_t)l->size - 1 - x) * 3, 3);
    mot_image_free(&square);
    return MOT_OK;
}

static int write_file(const struct mot_image_learner *l, const char *path,
                      const struct mot_lapped *q, const struct mot_smooth *smooth)
{
    char size[16], patch[16], margin[16];
    snprintf(size, sizeof size, "%d", l->size);
    snprintf(patch, sizeof patch, "%d", l->patch);
    snprintf(margin, sizeof margin, "%d", q->margin_h);
    const char *const metadata[] = {"format",     "mot-image-vq", "version", "2",    "image_size",
                                    size,         "patch_size",   patch,     "margin", margin};
    const struct mot_st_decl decl[] = {
        {"filters", MOT_F32, 3, {MOT_SMOOTH_CLASSES, 3, MOT_SMOOTH_TAPS}},
        {"levels", MOT_F32, 1, {MOT_SMOOTH_CLASSES - 1}},
        {"stamps", MOT_F32, 4, {l->codes, q->window_h, q->window_w, 3}}};
    struct mot_st_writer *w = mot_st_writer_begin(path, decl, 3, metadata, 5, NULL);
    if (!w)
        return MOT_EIO;
    int rc = mot_st_writer_data(w, smooth->weight, sizeof smooth->weight);
    if (!rc)
        rc = mot_st_writer_data(w, smooth->level, sizeof smooth->level);
    if (!rc)
        rc = mot_st_writer_data(w, q->stamp, (size_t)l->codes * (size_t)q->dim * sizeof *q->stamp);
    if (!rc)
        return mot_st_writer_commit(w);
    mot_st_writer_abort(w);
    return rc;
}

/* A picture as its codes give it. */
static int there_and_back(const struct mot_lapped *q, const struct mot_field *f, float *out)
{
    struct mot_field back = {f->rows, f->cols, out};
    int32_t *code = mot_alloc((size_t)f->rows * (size_t)f->cols, sizeof *code);
    int rc = code ? mot_lapped_encode(q, f, code) : MOT_ENOMEM;
    if (!rc)
        mot_lapped_decode(q, code, &back);
    mot_free(code);
    return rc;
}

/* Filters for what the stamps leave undone, from pictures spread over the sample. */
static int learn_smooth(const struct mot_lapped *q, const struct mot_field *field, int64_t n, int size,
                        struct mot_smooth *smooth)
{
    int64_t step = (n + SMOOTHED - 1) / SMOOTHED, some = (n + step - 1) / step;
    int failed = 0;
    float *x = mot_alloc((size_t)some, bytes_of(size) * sizeof *x);
    float **decoded = mot_alloc((size_t)some, sizeof *decoded);
    float **original = mot_alloc((size_t)some, sizeof *original);
    int rc = x && decoded && original ? MOT_OK : MOT_ENOMEM;
    if (!rc) {
#pragma omp parallel for schedule(dynamic, 1) reduction(| : failed)
        for (int64_t i = 0; i < some; i++) {
            decoded[i] = x + (size_t)i * bytes_of(size);
            original[i] = field[i * step].x;
            failed |= there_and_back(q, &field[i * step], decoded[i]);
        }
        rc = failed ? MOT_ENOMEM : mot_smooth_learn(smooth, decoded, original, some, size);
    }
    mot_free(x);
    mot_free(decoded);
    mot_free(original);
    return rc;
}

int mot_image_learner_save(struct mot_image_learner *l, const char *path, mot_progress *progress,
                           void *context)
{
    if (l->seen == 0)
        return mot_fail(MOT_EARG, "%s: no picture to learn from", path);
    int64_t n = l->seen < l->capacity ? l->seen : l->capacity;
    int side = l->size / l->patch;
    struct mot_report report = {progress, context, "learning picture codes", 0, 1};
    struct mot_lapped q;
    struct mot_smooth *smooth = mot_alloc(1, sizeof *smooth);
    int rc = init_lapped(&q, l->codes, l->patch);
    if (rc) {
        mot_free(smooth);
        return rc;
    }
    float *x = mot_alloc((size_t)n, bytes_of(l->size) * sizeof *x);
    struct mot_field *field = mot_alloc((size_t)n, sizeof *field);
    rc = x && field && smooth ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        field[i] = (struct mot_field){side, side, x + (size_t)i * bytes_of(l->size)};
        to_floats(l->sample + (size_t)i * bytes_of(l->size), l->size, field[i].x);
    }
    if (!rc)
        rc = mot_lapped_learn(&q, field, n, l->seed, &report);
    if (!rc)
        rc = learn_smooth(&q, field, n, l->size, smooth);
    if (!rc)
        rc = write_file(l, path, &q, smooth);
    mot_free(smooth);
    mot_free(x);
    mot_free(field);
    mot_lapped_free(&q);
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
    if (!text || end == text || *end || x < 0 || x > 65536)
        return mot_fail(MOT_EFORMAT,
                        "%s: not a picture codec: metadata \"%s\" is missing or no number", s->path,
                        key);
    *out = (int)x;
    return MOT_OK;
}

static int read_smooth(struct mot_image_vq *c, const struct mot_st *s)
{
    const struct mot_st_tensor *level = mot_st_find(s, "levels"), *weight = mot_st_find(s, "filters");
    if (!level || level->rank != 1 || level->shape[0] != MOT_SMOOTH_CLASSES - 1 || !weight
        || weight->rank != 3 || weight->shape[0] != MOT_SMOOTH_CLASSES || weight->shape[1] != 3
        || weight->shape[2] != MOT_SMOOTH_TAPS)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"levels\" or \"filters\" is missing or misshapen",
                        s->path);
    c->smooths = true;
    int rc = mot_st_read_f32(s, level, c->smooth.level);
    if (!rc)
        rc = mot_st_read_f32(s, weight, c->smooth.weight);
    for (int64_t i = 0; !rc && i < weight->count; i++)
        if (!(fabsf(c->smooth.weight[i]) <= 1e6f))
            rc = mot_fail(MOT_ECORRUPT, "%s: tensor \"filters\" has values out of all range", s->path);
    return rc;
}

static int read_codec(struct mot_image_vq *c, const struct mot_st *s)
{
    const char *format = mot_st_metadata(s, "format");
    if (!format || strcmp(format, "mot-image-vq") != 0)
        return mot_fail(MOT_EFORMAT,
                        "%s: not a picture codec: metadata \"format\" is not \"mot-image-vq\"",
                        s->path);
    int version = 0, margin = 0, rc = setting(s, "version", &version);
    if (!rc && (version < 1 || version > VERSION))
        return mot_fail(MOT_EVERSION, "%s: version %d, this program reads 1 to %d", s->path, version,
                        VERSION);
    if (!rc)
        rc = setting(s, "image_size", &c->size);
    if (!rc)
        rc = setting(s, "patch_size", &c->patch);
    if (!rc)
        rc = setting(s, "margin", &margin);
    const struct mot_st_tensor *t = mot_st_find(s, "stamps");
    if (rc)
        return rc;
    int window = c->patch + 2 * margin;
    if (!t || t->rank != 4 || t->shape[0] > 65536
        || check_sizes((int)t->shape[0], c->size, c->patch) || margin > c->patch / 2
        || t->shape[1] != window || t->shape[2] != window || t->shape[3] != 3)
        return mot_fail(
            MOT_EFORMAT,
            "%s: tensor \"stamps\" is missing or does not fit image_size, patch_size and margin",
            s->path);
    rc = mot_lapped_init(&c->q, (int)t->shape[0], 3, (const int[]){c->patch, c->patch},
                         (const int[]){margin, margin});
    if (!rc)
        rc = mot_st_read_f32(s, t, c->q.stamp);
    for (int64_t i = 0; !rc && i < t->count; i++)
        if (!(fabsf(c->q.stamp[i]) <= 1e6f))
            rc = mot_fail(MOT_ECORRUPT, "%s: tensor \"stamps\" has values that are no pixels",
                          s->path);
    if (!rc && version > 1)
        rc = read_smooth(c, s);
    return rc ? rc : mot_lapped_ready(&c->q);
}

struct mot_image_vq *mot_image_vq_load(const char *path)
{
    struct mot_image_vq *c = mot_alloc(1, sizeof *c);
    struct mot_st s = {0};
    int rc = c ? mot_st_open(&s, path) : MOT_ENOMEM;
    if (!rc)
        rc = read_codec(c, &s);
    mot_st_close(&s);
    if (!rc)
        return c;
    mot_image_vq_free(c);
    return NULL;
}

void mot_image_vq_free(struct mot_image_vq *c)
{
    if (!c)
        return;
    mot_lapped_free(&c->q);
    mot_free(c);
}

int mot_image_vq_size(const struct mot_image_vq *c)
{
    return c->q.codes;
}

int mot_image_vq_side(const struct mot_image_vq *c)
{
    return c->size;
}

int mot_image_vq_tokens(const struct mot_image_vq *c)
{
    return (c->size / c->patch) * (c->size / c->patch);
}

/* ---- there and back ---- */

int mot_image_vq_encode(const struct mot_image_vq *c, const struct mot_image *square, int32_t *code)
{
    int side = c->size / c->patch;
    struct mot_field field = {side, side, mot_alloc(bytes_of(c->size), sizeof *field.x)};
    if (!field.x)
        return MOT_ENOMEM;
    to_floats(square->rgb, c->size, field.x);
    int rc = mot_lapped_encode(&c->q, &field, code);
    mot_free(field.x);
    return rc;
}

/* Grey where there is no code: filters would carry the picture into it. */
static void blank(const struct mot_image_vq *c, const int32_t *code, float *x)
{
    int side = c->size / c->patch;
    for (int y = 0; y < c->size; y++)
        for (int at = 0; at < side; at++)
            if (code[y / c->patch * side + at] < 0)
                memset(x + 3 * ((size_t)y * (size_t)c->size + (size_t)(at * c->patch)), 0,
                       3 * (size_t)c->patch * sizeof *x);
}

int mot_image_vq_decode(const struct mot_image_vq *c, const int32_t *code, struct mot_image *out)
{
    int side = c->size / c->patch, lacking = 0;
    struct mot_field field = {side, side, mot_alloc(bytes_of(c->size), sizeof *field.x)};
    float *smoothed = mot_alloc(bytes_of(c->size), sizeof *smoothed), *x = field.x;
    *out = (struct mot_image){c->size, c->size, mot_alloc(bytes_of(c->size), 1)};
    int rc = field.x && smoothed && out->rgb ? MOT_OK : MOT_ENOMEM;
    if (!rc)
        mot_lapped_decode(&c->q, code, &field);
    if (!rc && c->smooths) {
        rc = mot_smooth_apply(&c->smooth, field.x, c->size, smoothed);
        x = smoothed;
    }
    for (int i = 0; i < side * side; i++)
        lacking |= code[i] < 0;
    if (!rc && c->smooths && lacking)
        blank(c, code, smoothed);
    for (size_t i = 0; !rc && i < bytes_of(c->size); i++)
        out->rgb[i] = to_byte(x[i] + GREY);
    mot_free(field.x);
    mot_free(smoothed);
    if (rc)
        mot_image_free(out);
    return rc;
}
