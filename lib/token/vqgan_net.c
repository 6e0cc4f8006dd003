/* SPDX-License-Identifier: MIT
 *
 * vqgan_net.c - reading a VQGAN from its tensors, and checking it against its configuration.
 */
#include "vqgan_net.h"

enum { DEFAULT_SIDE = 512 };

static void read_decoder(struct mot_vqgan *v, struct mot_net *n)
{
    struct mot_autonet_builder b = {n, &v->net.decoder, v->net.latent, v->dim};
    mot_autonet_add_conv(&b, "post_quant_conv", mot_net_size(n, 1, "decoder.conv_in.weight"), 1);
    mot_autonet_read_decoder(&v->net, n, &b);
}

void mot_vqgan_read_net(struct mot_vqgan *v, struct mot_net *n, int side)
{
    static const char *const parts[] = {"encoder.", "decoder.", "quant_conv."};
    int64_t any[2] = {-1, -1};
    struct mot_autonet_builder b;
    v->codebook = mot_net_take(n, 2, any, "quantize.embedding.weight");
    v->codes = (int)mot_net_size(n, 0, "quantize.embedding.weight");
    v->dim = (int)mot_net_size(n, 1, "quantize.embedding.weight");
    if (v->codebook && (v->codes < 2 || v->codes > 1 << 24 || v->dim < 1 || v->dim > 1 << 16))
        mot_net_complain(n, "quantize.embedding.weight: a codebook of %d x %d", v->codes, v->dim);
    mot_autonet_read_encoder(&v->net, n, &b, side);
    mot_autonet_add_conv(&b, "quant_conv", v->dim, 1);
    if (mot_net_find(n, "decoder.conv_in.weight") || mot_net_find(n, "decoder.conv_out.weight"))
        read_decoder(v, n);
    /* What was not asked for would have been, were the tensors there that tell of it. */
    mot_net_complain_unused(n, parts, MOT_COUNT(parts));
}

/* ---- import ---- */

/* What the tensors say and the configuration denies. */
static void check_attention(struct mot_net *n, const struct mot_vqgan_config *c, int level, int side)
{
    bool wanted = false, there = mot_net_find(n, "encoder.down.%d.attn.0.q.weight", level) != NULL;
    for (int i = 0; i < c->n_attn_resolutions; i++)
        wanted |= c->attn_resolutions[i] == side;
    if (wanted != there)
        mot_net_complain(n, "the configuration wants %s attention at resolution %d, its tensors have %s",
                         wanted ? "an" : "no", side, there ? "some" : "none");
}

static void check_config(struct mot_net *n, const struct mot_vqgan *v, const struct mot_vqgan_config *c)
{
    int levels = mot_autonet_levels(n, "encoder", "down");
    int64_t ch = mot_net_size(n, 0, "encoder.conv_in.weight"), z = mot_net_size(n, 0, "encoder.conv_out.weight");
    mot_autonet_check_value(n, "ch", c->ch, ch);
    mot_autonet_check_value(n, "in_channels", c->in_channels, 3);
    mot_autonet_check_value(n, "out_ch", c->out_ch, 3);
    mot_autonet_check_value(n, "num_res_blocks", c->num_res_blocks, mot_autonet_blocks(n, "encoder", "down"));
    mot_autonet_check_value(n, "z_channels", c->z_channels, c->double_z > 0 ? z / 2 : z);
    mot_autonet_check_value(n, "embed_dim", c->embed_dim, v->dim);
    mot_autonet_check_value(n, "n_embed", c->n_embed, v->codes);
    mot_autonet_check_value(n, "levels of ch_mult", c->n_ch_mult, levels);
    for (int i = 0; i < levels && i < c->n_ch_mult; i++) {
        char key[40];
        snprintf(key, sizeof key, "ch_mult[%d] x ch", i);
        mot_autonet_check_value(n, key, c->ch_mult[i] * ch, mot_net_size(n, 0, "encoder.down.%d.block.0.conv1.weight", i));
    }
    for (int i = 0; c->n_attn_resolutions >= 0 && c->resolution > 0 && i < levels; i++)
        check_attention(n, c, i, (int)(c->resolution >> i));
}

int mot_vqgan_import(const char *from, const char *config, int image_size, const char *to)
{
    struct mot_vqgan v = {0};
    struct mot_net n = {0};
    struct mot_vqgan_config c = {.resolution = -1};
    char side[24];
    int rc = config ? mot_vqgan_config_read(&c, config) : MOT_OK;
    int64_t size = image_size ? image_size : c.resolution > 0 ? c.resolution : DEFAULT_SIDE;
    if (!rc && size > MOT_AUTONET_MAX_SIDE)
        rc = mot_fail(MOT_EARG, "%s: pictures of %lld pixels; up to %d", from, (long long)size, MOT_AUTONET_MAX_SIDE);
    if (!rc)
        rc = mot_net_open(&n, from, "encoder.conv_in.weight", &v.net.keep);
    if (!rc) {
        mot_vqgan_read_net(&v, &n, (int)size);
        if (config)
            check_config(&n, &v, &c);
        rc = mot_net_verdict(&n, "a VQGAN");
    }
    snprintf(side, sizeof side, "%lld", (long long)size);
    const char *const metadata[] = {"format", "mot-vqgan", "version", "1", "image_size", side};
    if (!rc)
        rc = mot_net_save(&n, to, metadata, 3, NULL, NULL);
    mot_net_close(&n);
    mot_keep_free(&v.net.keep);
    return rc;
}
