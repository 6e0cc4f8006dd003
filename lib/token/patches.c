/* SPDX-License-Identifier: MIT
 *
 * patches.c - patches of a field of values as vectors, and pictures by their own pixels: nothing is learned, and nothing but
 * the rounding to binary16 is lost, which is far finer than bytes.
 *
 * Pixels are x / 127.5 - 1.
 *
 * File: no tensors; metadata "format" = "mot-pixels", "version", "image_size", "patch_size".
 */
#include <math.h>
#include <stdlib.h>

#include "../base/safetensors.h"
#include "patches.h"

enum { VERSION = 1, MAX_SIDE = 4096 };

struct mot_pixels {
    int side, patch;
};

/* ---- patches ---- */

int mot_patches_cut(const float *field, int rows, int columns, int channels, int patch, struct mot_latents *out)
{
    const struct mot_grid g = {rows / patch, columns / patch, patch * patch * channels};
    size_t line = (size_t)patch * (size_t)channels, n = (size_t)mot_grid_values(&g), bad = 0;
    uint16_t *value = mot_alloc(n, sizeof *value), *to = value;
    if (!value)
        return MOT_ENOMEM;
    for (int r = 0; r < g.rows; r++)
        for (int c = 0; c < g.columns; c++)
            for (int y = 0; y < patch; y++) {
                const float *from = field + ((size_t)(r * patch + y) * (size_t)columns + (size_t)(c * patch)) * (size_t)channels;
                for (size_t i = 0; i < line; i++, to++) {
                    *to = mot_f16(from[i]);
                    bad += (*to & 0x7c00) == 0x7c00;
                }
            }
    int rc = bad ? mot_fail(MOT_EARG, "%zu of a picture's %zu values are too large for binary16", bad, n)
                 : mot_latents_append(out, &g, value);
    mot_free(value);
    return rc;
}

void mot_patches_join(const struct mot_grid *g, const uint16_t *value, int channels, int patch, float *field)
{
    size_t line = (size_t)patch * (size_t)channels, columns = (size_t)g->columns * (size_t)patch;
    for (int r = 0; r < g->rows; r++)
        for (int c = 0; c < g->columns; c++)
            for (int y = 0; y < patch; y++) {
                float *to = field + ((size_t)(r * patch + y) * columns + (size_t)(c * patch)) * (size_t)channels;
                for (size_t i = 0; i < line; i++)
                    to[i] = mot_from_f16(*value++);
            }
}

/* ---- pixels ---- */

static int number_of(const struct mot_st *s, const char *key, int most, int *out)
{
    const char *text = mot_st_metadata(s, key);
    char *end;
    long x = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || x < 1 || x > most)
        return mot_fail(MOT_EFORMAT, "%s: metadata \"%s\" is missing or no number from 1 to %d", s->path, key, most);
    *out = (int)x;
    return MOT_OK;
}

int mot_pixels_check(int image_size, int patch)
{
    if (image_size < 1 || image_size > MAX_SIDE || patch < 1 || image_size % patch != 0)
        return mot_fail(MOT_EARG, "pictures of %d pixels cannot be cut into patches of %d", image_size, patch);
    if (3 * patch * patch > MOT_MAX_WIDTH)
        return mot_fail(MOT_EARG, "a patch of %d x %d pixels has more than %d values", patch, patch, MOT_MAX_WIDTH);
    return MOT_OK;
}

struct mot_pixels *mot_pixels_load(const char *path)
{
    struct mot_pixels *p = mot_alloc(1, sizeof *p);
    struct mot_st s = {0};
    int version = 0, rc = p ? mot_st_open(&s, path) : MOT_ENOMEM;
    if (!rc)
        rc = number_of(&s, "version", 1000, &version);
    if (!rc && version != VERSION)
        rc = mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", path, version, VERSION);
    if (!rc)
        rc = number_of(&s, "image_size", MAX_SIDE, &p->side);
    if (!rc)
        rc = number_of(&s, "patch_size", MAX_SIDE, &p->patch);
    if (!rc && mot_pixels_check(p->side, p->patch))
        rc = mot_fail(MOT_EFORMAT, "%s: %s", path, mot_error());
    mot_st_close(&s);
    if (!rc)
        return p;
    mot_pixels_free(p);
    return NULL;
}

void mot_pixels_free(struct mot_pixels *p)
{
    mot_free(p);
}

int mot_pixels_side(const struct mot_pixels *p)
{
    return p->side;
}

int mot_pixels_patch(const struct mot_pixels *p)
{
    return p->patch;
}

int mot_pixels_encode(const struct mot_pixels *p, const struct mot_image *square, struct mot_latents *out)
{
    size_t n = 3 * (size_t)p->side * (size_t)p->side;
    float *field = mot_alloc(n, sizeof *field);
    if (!field)
        return MOT_ENOMEM;
    for (size_t i = 0; i < n; i++)
        field[i] = (float)square->rgb[i] / 127.5f - 1;
    int rc = mot_patches_cut(field, p->side, p->side, 3, p->patch, out);
    mot_free(field);
    return rc;
}

int mot_pixels_decode(const struct mot_pixels *p, const struct mot_grid *g, const uint16_t *value, struct mot_image *out)
{
    if (g->rows > MAX_SIDE / p->patch || g->columns > MAX_SIDE / p->patch)
        return mot_fail(MOT_EARG, "a picture of %d x %d patches is wider or higher than %d pixels", g->rows, g->columns, MAX_SIDE);
    *out = (struct mot_image){g->columns * p->patch, g->rows * p->patch, NULL};
    size_t n = (size_t)mot_grid_values(g);
    float *field = mot_alloc(n, sizeof *field);
    out->rgb = mot_alloc(n, 1);
    if (!field || !out->rgb) {
        mot_free(field);
        mot_image_free(out);
        return MOT_ENOMEM;
    }
    mot_patches_join(g, value, 3, p->patch, field);
    for (size_t i = 0; i < n; i++)
        out->rgb[i] = (unsigned char)(fminf(fmaxf(field[i], -1), 1) * 127.5f + 128);
    mot_free(field);
    return MOT_OK;
}

int mot_pixels_save(int image_size, int patch, const char *path)
{
    char size[16], side[16];
    snprintf(size, sizeof size, "%d", image_size);
    snprintf(side, sizeof side, "%d", patch);
    const char *const metadata[] = {"format", "mot-pixels", "version", "1", "image_size", size, "patch_size", side};
    struct mot_st_writer *w = mot_st_writer_begin(path, NULL, 0, metadata, 4, NULL);
    return w ? mot_st_writer_commit(w) : MOT_EIO;
}
