/* SPDX-License-Identifier: MIT
 *
 * vqgan.c - pictures by a VQGAN: a convolutional encoder, the nearest vectors of a codebook, and a
 * decoder; the nets are autonet.c's.
 *
 * Pixels are x / 127.5 - 1, and back as Chameleon does it: cut to [-1, 1], then rounded down.
 * Of codes equally near the lowest is taken.
 *
 * File: the net's tensors under taming-transformers' names; metadata "format" = "mot-vqgan",
 * "version", "image_size".
 */
#include <math.h>

#include "vqgan_net.h"

enum { VERSION = 1 };

/* ---- loading ---- */

static int load(struct mot_vqgan *v, struct mot_net *n, const char *path)
{
    int version = 0, side = 0, rc = mot_net_open(n, path, "encoder.conv_in.weight", &v->net.keep);
    if (!rc)
        rc = mot_autonet_number(n, "version", 1000, &version);
    if (!rc && version != VERSION)
        rc = mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", path, version, VERSION);
    if (!rc)
        rc = mot_autonet_number(n, "image_size", MOT_AUTONET_MAX_SIDE, &side);
    if (rc)
        return rc;
    mot_vqgan_read_net(v, n, side);
    rc = mot_net_verdict(n, "a VQGAN");
    if (!rc)
        rc = mot_autonet_finish(&v->net);
    return rc ? rc : mot_codebook_init(&v->search, v->codebook, v->codes, v->dim);
}

struct mot_vqgan *mot_vqgan_load(const char *path)
{
    struct mot_vqgan *v = mot_alloc(1, sizeof *v);
    struct mot_net n = {0};
    if (!v)
        return NULL;
    mot_autonet_init(&v->net);
    int rc = load(v, &n, path);
    mot_net_close(&n);
    if (!rc)
        return v;
    mot_vqgan_free(v);
    return NULL;
}

int mot_vqgan_send(struct mot_vqgan *v, const struct mot_kernels *k)
{
    return mot_autonet_send(&v->net, k);
}

void mot_vqgan_free(struct mot_vqgan *v)
{
    if (!v)
        return;
    mot_autonet_free(&v->net);
    mot_codebook_free(&v->search);
    mot_free(v);
}

int mot_vqgan_size(const struct mot_vqgan *v)
{
    return v->codes;
}

int mot_vqgan_side(const struct mot_vqgan *v)
{
    return v->net.side;
}

int mot_vqgan_tokens(const struct mot_vqgan *v)
{
    return v->net.latent * v->net.latent;
}

bool mot_vqgan_decodes(const struct mot_vqgan *v)
{
    return v->net.has_decoder;
}

/* ---- running ---- */

int mot_vqgan_encode(struct mot_vqgan *v, const struct mot_image *square, int32_t *code)
{
    struct mot_autonet_runner *r;
    int rc = mot_autonet_encode(&v->net, square, &r);
    if (rc)
        return rc;
    mot_codebook_search(&v->search, r->host, mot_vqgan_tokens(v), NULL, code);
    mot_autonet_give_back(&v->net, r);
    return MOT_OK;
}

/* Grey where no code was. */
static void blank(const struct mot_vqgan *v, const int32_t *code, struct mot_image *im)
{
    int patch = v->net.side / v->net.latent;
    for (int y = 0; y < v->net.side; y++)
        for (int x = 0; x < v->net.latent; x++)
            if (code[y / patch * v->net.latent + x] < 0)
                memset(im->rgb + 3 * ((size_t)y * (size_t)v->net.side + (size_t)(x * patch)), 128, 3 * (size_t)patch);
}

int mot_vqgan_decode(struct mot_vqgan *v, const int32_t *code, struct mot_image *out)
{
    if (!v->net.has_decoder)
        return mot_fail(MOT_EARG, "this VQGAN has no decoder (decoder.conv_in.weight and the like; Hugging Face's Chameleon "
                        "leaves it out): import the original file, vqgan.ckpt made .safetensors, to turn codes into pictures");
    *out = (struct mot_image){v->net.side, v->net.side, mot_alloc((size_t)v->net.side * (size_t)v->net.side, 3)};
    struct mot_autonet_runner *r = out->rgb ? mot_autonet_borrow(&v->net, &v->net.decoder) : NULL;
    if (!r) {
        mot_image_free(out);
        return MOT_ENOMEM;
    }
    for (int64_t i = 0; i < mot_vqgan_tokens(v); i++) {
        float *z = r->host + i * v->dim;
        if (code[i] >= 0)
            memcpy(z, v->codebook + (int64_t)code[i] * v->dim, (size_t)v->dim * sizeof *z);
        else
            memset(z, 0, (size_t)v->dim * sizeof *z);
    }
    int rc = mot_autonet_run(&v->net, r, &v->net.decoder);
    for (int64_t i = 0; !rc && i < 3 * (int64_t)v->net.side * v->net.side; i++)
        out->rgb[i] = (unsigned char)(fminf(fmaxf(r->host[i] + 1, 0), 2) / 2 * 255);
    mot_autonet_give_back(&v->net, r);
    if (rc)
        mot_image_free(out);
    else
        blank(v, code, out);
    return rc;
}
