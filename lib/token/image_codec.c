/* SPDX-License-Identifier: MIT
 *
 * image_codec.c - a folder's picture codec, whichever it is: the embedded one (image_vq.c) or a VQGAN (vqgan.c), which
 * give codes, or the pixels themselves (patches.c) or a VAE (vae.c), which give vectors.  The file's metadata "format" tells.
 * Here is what they have in common: how pictures become the square that they see, and the checks of codes and grids.
 */
#include "../base/safetensors.h"
#include "image_vq.h"
#include "patches.h"
#include "vae.h"
#include "vqgan.h"

struct mot_image_codec { /* one of them */
    struct mot_image_vq *vq;
    struct mot_vqgan *vqgan;
    struct mot_pixels *pixels;
    struct mot_vae *vae;
};

struct mot_image_codec *mot_image_codec_load(const char *path)
{
    struct mot_st s = {0};
    struct mot_image_codec *c = mot_alloc(1, sizeof *c);
    if (!c || mot_st_open(&s, path)) {
        mot_free(c);
        return NULL;
    }
    const char *format = mot_st_metadata(&s, "format");
    if (format && strcmp(format, "mot-vqgan") == 0)
        c->vqgan = mot_vqgan_load(path);
    else if (format && strcmp(format, "mot-pixels") == 0)
        c->pixels = mot_pixels_load(path);
    else if (format && strcmp(format, "mot-vae") == 0)
        c->vae = mot_vae_load(path);
    else
        c->vq = mot_image_vq_load(path);
    mot_st_close(&s);
    if (c->vq || c->vqgan || c->pixels || c->vae)
        return c;
    mot_free(c);
    return NULL;
}

void mot_image_codec_free(struct mot_image_codec *c)
{
    if (!c)
        return;
    mot_image_vq_free(c->vq);
    mot_vqgan_free(c->vqgan);
    mot_pixels_free(c->pixels);
    mot_vae_free(c->vae);
    mot_free(c);
}

int mot_image_codec_send(struct mot_image_codec *c, const struct mot_kernels *k)
{
    return c->vqgan ? mot_vqgan_send(c->vqgan, k) : c->vae ? mot_vae_send(c->vae, k) : MOT_OK;
}

double mot_image_codec_range(const struct mot_image_codec *c)
{
    return c->pixels ? 1 : 0;
}

bool mot_image_codec_grid(const struct mot_image_codec *c, struct mot_grid *g)
{
    if (c->vae)
        mot_vae_grid(c->vae, g);
    if (!c->pixels)
        return c->vae;
    int patch = mot_pixels_patch(c->pixels), across = mot_pixels_side(c->pixels) / patch;
    *g = (struct mot_grid){across, across, 3 * patch * patch};
    return true;
}

int mot_image_codec_size(const struct mot_image_codec *c)
{
    return c->vq ? mot_image_vq_size(c->vq) : c->vqgan ? mot_vqgan_size(c->vqgan) : 1;
}

int mot_image_codec_tokens(const struct mot_image_codec *c)
{
    struct mot_grid g;
    return mot_image_codec_grid(c, &g) ? (int)mot_grid_tokens(&g)
           : c->vq                     ? mot_image_vq_tokens(c->vq)
                                       : mot_vqgan_tokens(c->vqgan);
}

int mot_image_codec_side(const struct mot_image_codec *c)
{
    return c->vq       ? mot_image_vq_side(c->vq)
           : c->vqgan  ? mot_vqgan_side(c->vqgan)
           : c->pixels ? mot_pixels_side(c->pixels)
                       : mot_vae_side(c->vae);
}

int mot_image_codec_patch(const struct mot_image_codec *c)
{
    int across = 1;
    while (across * across < mot_image_codec_tokens(c))
        across++;
    return mot_image_codec_side(c) / across;
}

int mot_image_codec_cut(const struct mot_image_codec *c)
{
    return c->pixels ? mot_pixels_patch(c->pixels) : c->vae ? mot_vae_patch(c->vae) : 0;
}

static const char *kind_of(const struct mot_image_codec *c)
{
    return c->vq ? "vq" : c->vqgan ? "vqgan" : c->pixels ? "pixels" : "vae";
}

void mot_image_codec_describe(const struct mot_image_codec *c, char *text, size_t n)
{
    snprintf(text, n, "%s image_size=%d patch_size=%d", kind_of(c), mot_image_codec_side(c), mot_image_codec_patch(c));
}

bool mot_image_codec_decodes(const struct mot_image_codec *c)
{
    return c->vqgan ? mot_vqgan_decodes(c->vqgan) : !c->vae || mot_vae_decodes(c->vae);
}

/* n * size / shorter, to the nearest, halves to even, by way of double: as Chameleon's Python does it. */
static int64_t scaled(int n, int shorter, int size)
{
    double x = (double)size / (double)shorter * (double)n;
    int64_t down = (int64_t)x;
    double rest = x - (double)down;
    return down + (rest > 0.5 || (rest == 0.5 && (down & 1)));
}

/* As Chameleon's: the shorter side resized by Lanczos' filter, the middle cut out. */
static int prepare_for_net(const struct mot_image *im, int size, struct mot_image *out)
{
    if (im->width < 1 || im->height < 1)
        return mot_fail(MOT_EARG, "a picture without pixels");
    int shorter = im->width < im->height ? im->width : im->height;
    int64_t width = scaled(im->width, shorter, size), height = scaled(im->height, shorter, size);
    struct mot_window w = {(width - size) / 2, (height - size) / 2, size, size};
    return mot_image_lanczos(im, width, height, &w, out);
}

int mot_image_codec_prepare(const struct mot_image_codec *c, const struct mot_image *im, struct mot_image *out)
{
    *out = (struct mot_image){0};
    int side = mot_image_codec_side(c);
    return c->vqgan || c->vae ? prepare_for_net(im, side, out) : mot_image_square(im, side, out);
}

static int not_codes(void)
{
    return mot_fail(MOT_EARG, "this codec's pictures are vectors, not codes");
}

int mot_image_codec_encode(const struct mot_image_codec *c, const struct mot_image *im, struct mot_ids *out)
{
    struct mot_image square;
    int rc = c->vq || c->vqgan ? mot_image_codec_prepare(c, im, &square) : not_codes();
    if (rc)
        return rc;
    int n = mot_image_codec_tokens(c);
    int32_t *code = mot_alloc((size_t)n, sizeof *code);
    rc = !code ? MOT_ENOMEM : c->vq ? mot_image_vq_encode(c->vq, &square, code) : mot_vqgan_encode(c->vqgan, &square, code);
    if (!rc)
        rc = mot_ids_append(out, code, n);
    mot_free(code);
    mot_image_free(&square);
    return rc;
}

int mot_image_codec_decode(const struct mot_image_codec *c, const int32_t *code, int64_t n, struct mot_image *out)
{
    *out = (struct mot_image){0};
    int tokens = mot_image_codec_tokens(c), size = mot_image_codec_size(c);
    if (!c->vq && !c->vqgan)
        return not_codes();
    if (n < 0 || n > tokens)
        return mot_fail(MOT_EARG, "a picture of %lld codes, this codec's have %d", (long long)n, tokens);
    for (int64_t i = 0; i < n; i++)
        if (code[i] < 0 || code[i] >= size)
            return mot_fail(MOT_EARG, "picture code %d, this codec has 0..%d", code[i], size - 1);
    int32_t *whole = mot_alloc((size_t)tokens, sizeof *whole);
    for (int64_t i = 0; whole && i < tokens; i++)
        whole[i] = i < n ? code[i] : -1;
    int rc = !whole ? MOT_ENOMEM : c->vq ? mot_image_vq_decode(c->vq, whole, out) : mot_vqgan_decode(c->vqgan, whole, out);
    mot_free(whole);
    return rc;
}

static int not_vectors(void)
{
    return mot_fail(MOT_EARG, "this codec's pictures are codes, not vectors");
}

int mot_image_codec_encode_latent(const struct mot_image_codec *c, const struct mot_image *im, struct mot_latents *out)
{
    struct mot_image square = {0};
    int rc = c->pixels || c->vae ? mot_image_codec_prepare(c, im, &square) : not_vectors();
    if (!rc)
        rc = c->pixels ? mot_pixels_encode(c->pixels, &square, out) : mot_vae_encode(c->vae, &square, out);
    mot_image_free(&square);
    return rc;
}

int mot_image_codec_decode_latent(const struct mot_image_codec *c, const struct mot_grid *g, const uint16_t *value,
                                  struct mot_image *out)
{
    struct mot_grid own;
    *out = (struct mot_image){0};
    if (!mot_image_codec_grid(c, &own))
        return not_vectors();
    if (!mot_grid_fits(g) || g->width != own.width || (c->vae && (g->rows != own.rows || g->columns != own.columns)))
        return mot_fail(MOT_EARG, "a picture of %d x %d vectors of %d values; this codec's have %d x %d of %d", g->rows,
                        g->columns, g->width, own.rows, own.columns, own.width);
    return c->pixels ? mot_pixels_decode(c->pixels, g, value, out) : mot_vae_decode(c->vae, value, out);
}
