/* SPDX-License-Identifier: MIT
 *
 * vqgan_net.c - reading a VQGAN from its tensors: names and shapes tell how many levels, blocks and attentions there are.
 */
#include "vqgan_net.h"

enum { MAX_BLOCKS = 16, DEFAULT_SIDE = 512 };

/* ---- reading the net: each function adds steps to a program ---- */

struct builder {
    struct mot_net *net;
    struct mot_vqgan_program *p;
    int64_t side, C; /* the picture after the steps so far */
};

static struct mot_vqgan_step *add_step(struct builder *b, enum mot_vqgan_step_kind kind)
{
    if (b->p->n == MOT_VQGAN_STEPS) {
        mot_net_complain(b->net, "it has more than %d layers", MOT_VQGAN_STEPS);
        b->p->n = 0;
    }
    struct mot_vqgan_step *s = &b->p->step[b->p->n++];
    *s = (struct mot_vqgan_step){.kind = kind, .rows = b->side * b->side, .C = b->C};
    return s;
}

static struct mot_vqgan_norm read_norm(struct builder *b, const char *name, int64_t C)
{
    if (C % MOT_VQGAN_NORM_GROUPS != 0)
        mot_net_complain(b->net, "%s: %lld channels are no multiple of %d", name, (long long)C, MOT_VQGAN_NORM_GROUPS);
    return (struct mot_vqgan_norm){mot_net_take(b->net, 1, &C, "%s.weight", name),
                                   mot_net_take(b->net, 1, &C, "%s.bias", name)};
}

/* A convolution that keeps the picture's size. */
static struct mot_vqgan_conv read_conv(struct builder *b, const char *name, int64_t C, int64_t O, int kernel)
{
    struct mot_vqgan_conv c = {.shape = {.H = b->side, .W = b->side, .C = C, .OH = b->side, .OW = b->side, .O = O, .kh = kernel,
                               .kw = kernel, .stride = 1, .top = kernel / 2, .left = kernel / 2, .up = 1, .groups = 1}};
    c.w = mot_net_take_conv(b->net, &c.shape, 4, "%s.weight", name);
    c.b = mot_net_take(b->net, 1, &O, "%s.bias", name);
    return c;
}

static void add_conv(struct builder *b, const char *name, int64_t O, int kernel)
{
    add_step(b, STEP_CONV)->conv[0] = read_conv(b, name, b->C, O, kernel);
    b->C = O;
}

/* A quarter of the pixels; the zeros stand on the right and below only. */
static void add_downsample(struct builder *b, const char *name)
{
    struct mot_vqgan_step *s = add_step(b, STEP_CONV);
    s->conv[0] = read_conv(b, name, b->C, b->C, 3);
    struct mot_conv *v = &s->conv[0].shape;
    v->stride = 2, v->top = v->left = 0;
    b->side /= 2;
    v->OH = v->OW = b->side;
}

static void add_upsample(struct builder *b, const char *name)
{
    struct mot_vqgan_step *s = add_step(b, STEP_CONV);
    s->conv[0] = read_conv(b, name, b->C, b->C, 3);
    struct mot_conv *v = &s->conv[0].shape;
    v->up = 2;
    b->side *= 2;
    v->OH = v->OW = b->side;
}

static void add_block(struct builder *b, const char *name)
{
    char part[5][100];
    static const char *const parts[] = {"norm1", "conv1", "norm2", "conv2", "nin_shortcut"};
    for (int i = 0; i < 5; i++)
        snprintf(part[i], sizeof part[i], "%s.%s", name, parts[i]);
    int64_t O = mot_net_size(b->net, 0, "%s.weight", part[1]);
    struct mot_vqgan_step *s = add_step(b, STEP_BLOCK);
    O = O ? O : b->C;
    s->norm[0] = read_norm(b, part[0], b->C);
    s->conv[0] = read_conv(b, part[1], b->C, O, 3);
    s->norm[1] = read_norm(b, part[2], O);
    s->conv[1] = read_conv(b, part[3], O, O, 3);
    if (O != b->C)
        s->conv[2] = read_conv(b, part[4], b->C, O, 1);
    b->C = O;
}

/* q, k and v become one convolution. */
static void add_attention(struct builder *b, const char *name)
{
    static const char *const parts[] = {"q", "k", "v"};
    int64_t C = b->C;
    struct mot_vqgan_step *s = add_step(b, STEP_ATTENTION);
    float *w = mot_keep_floats(b->net->keep, (size_t)C, 3 * (size_t)C);
    float *bias = mot_keep_floats(b->net->keep, (size_t)C, 3);
    char part[100];
    snprintf(part, sizeof part, "%s.norm", name);
    s->norm[0] = read_norm(b, part, C);
    for (int i = 0; i < 3; i++) {
        snprintf(part, sizeof part, "%s.%s", name, parts[i]);
        struct mot_vqgan_conv one = read_conv(b, part, C, C, 1);
        for (int64_t c = 0; one.w && one.b && w && bias && c < C; c++) {
            memcpy(w + c * 3 * C + i * C, one.w + c * C, (size_t)C * sizeof *w);
            bias[i * C + c] = one.b[c];
        }
        s->conv[0].shape = one.shape;
    }
    b->net->out_of_memory |= !w || !bias;
    s->conv[0].shape.O = 3 * C;
    s->conv[0].w = w, s->conv[0].b = bias;
    snprintf(part, sizeof part, "%s.proj_out", name);
    s->conv[1] = read_conv(b, part, C, C, 1);
}

/* norm_out and conv_out, behind all else. */
static void add_out(struct builder *b, const char *half, int64_t O)
{
    char name[100];
    snprintf(name, sizeof name, "%s.norm_out", half);
    add_step(b, STEP_NORM)->norm[0] = read_norm(b, name, b->C);
    snprintf(name, sizeof name, "%s.conv_out", half);
    add_conv(b, name, O, 3);
}

/* The blocks of a level, each with its attention where it has one. */
static void add_level(struct builder *b, const char *half, const char *way, int level, int blocks)
{
    char name[100];
    for (int j = 0; j < blocks; j++) {
        snprintf(name, sizeof name, "%s.%s.%d.block.%d", half, way, level, j);
        add_block(b, name);
        snprintf(name, sizeof name, "%s.%s.%d.attn.%d", half, way, level, j);
        if (mot_net_find(b->net, "%s.q.weight", name))
            add_attention(b, name);
    }
}

static void add_middle(struct builder *b, const char *half)
{
    char name[100];
    snprintf(name, sizeof name, "%s.mid.block_1", half);
    add_block(b, name);
    snprintf(name, sizeof name, "%s.mid.attn_1", half);
    if (mot_net_find(b->net, "%s.q.weight", name))
        add_attention(b, name);
    snprintf(name, sizeof name, "%s.mid.block_2", half);
    add_block(b, name);
}

/* How many of HALF.WAY.0, 1, ... have a block, and how many blocks the first has. */
static int count_levels(const struct mot_net *n, const char *half, const char *way)
{
    int levels = 0;
    while (levels < MOT_VQGAN_LEVELS && mot_net_find(n, "%s.%s.%d.block.0.conv1.weight", half, way, levels))
        levels++;
    return levels;
}

static int count_blocks(const struct mot_net *n, const char *half, const char *way)
{
    int blocks = 0;
    while (blocks < MAX_BLOCKS && mot_net_find(n, "%s.%s.0.block.%d.conv1.weight", half, way, blocks))
        blocks++;
    return blocks;
}

static void add_encoder(struct builder *b, int levels, int64_t z)
{
    char name[100];
    int blocks = count_blocks(b->net, "encoder", "down");
    add_conv(b, "encoder.conv_in", mot_net_size(b->net, 0, "encoder.conv_in.weight"), 3);
    for (int i = 0; i < levels; i++) {
        add_level(b, "encoder", "down", i, blocks);
        snprintf(name, sizeof name, "encoder.down.%d.downsample.conv", i);
        if (i < levels - 1)
            add_downsample(b, name);
    }
    add_middle(b, "encoder");
    add_out(b, "encoder", z);
}

static void add_decoder(struct builder *b, int levels)
{
    char name[100];
    int blocks = count_blocks(b->net, "decoder", "up");
    add_conv(b, "decoder.conv_in", mot_net_size(b->net, 0, "decoder.conv_in.weight"), 3);
    add_middle(b, "decoder");
    for (int i = levels - 1; i >= 0; i--) {
        add_level(b, "decoder", "up", i, blocks);
        snprintf(name, sizeof name, "decoder.up.%d.upsample.conv", i);
        if (i > 0)
            add_upsample(b, name);
    }
    add_out(b, "decoder", 3);
}

static void read_decoder(struct mot_vqgan *v, struct mot_net *n, int levels)
{
    int ups = count_levels(n, "decoder", "up");
    if (ups != levels)
        mot_net_complain(n, "the encoder has %d levels, the decoder %d", levels, ups);
    struct builder b = {n, &v->decoder, v->latent, v->dim};
    add_conv(&b, "post_quant_conv", mot_net_size(n, 1, "decoder.conv_in.weight"), 1);
    add_decoder(&b, ups);
}

void mot_vqgan_read_net(struct mot_vqgan *v, struct mot_net *n, int side)
{
    static const char *const parts[] = {"encoder.", "decoder.", "quant_conv."};
    int levels = count_levels(n, "encoder", "down");
    int64_t z = mot_net_size(n, 0, "encoder.conv_out.weight"), any[2] = {-1, -1};
    v->side = side;
    v->latent = side >> (levels > 0 ? levels - 1 : 0);
    if (levels == 0)
        mot_net_complain(n, "encoder.down.0.block.0.conv1.weight is missing");
    else if (v->latent < 1 || (int64_t)v->latent << (levels - 1) != side)
        mot_net_complain(n, "pictures of %d pixels cannot be halved %d times", side, levels - 1);
    v->codebook = mot_net_take(n, 2, any, "quantize.embedding.weight");
    v->codes = (int)mot_net_size(n, 0, "quantize.embedding.weight");
    v->dim = (int)mot_net_size(n, 1, "quantize.embedding.weight");
    if (v->codebook && (v->codes < 2 || v->codes > 1 << 24 || v->dim < 1 || v->dim > 1 << 16))
        mot_net_complain(n, "quantize.embedding.weight: a codebook of %d x %d", v->codes, v->dim);
    struct builder b = {n, &v->encoder, side, 3};
    add_encoder(&b, levels, z);
    add_conv(&b, "quant_conv", v->dim, 1);
    v->has_decoder = mot_net_find(n, "decoder.conv_in.weight") || mot_net_find(n, "decoder.conv_out.weight");
    if (v->has_decoder)
        read_decoder(v, n, levels);
    /* What was not asked for would have been, were the tensors there that tell of it. */
    mot_net_complain_unused(n, parts, MOT_COUNT(parts));
}

/* ---- import ---- */

/* What the tensors say and the configuration denies. */
static void check_value(struct mot_net *n, const char *key, int64_t says, int64_t is)
{
    if (says >= 0 && says != is)
        mot_net_complain(n, "the configuration says %s = %lld, its tensors %lld", key, (long long)says, (long long)is);
}

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
    int levels = count_levels(n, "encoder", "down");
    int64_t ch = mot_net_size(n, 0, "encoder.conv_in.weight"), z = mot_net_size(n, 0, "encoder.conv_out.weight");
    check_value(n, "ch", c->ch, ch);
    check_value(n, "in_channels", c->in_channels, 3);
    check_value(n, "out_ch", c->out_ch, 3);
    check_value(n, "num_res_blocks", c->num_res_blocks, count_blocks(n, "encoder", "down"));
    check_value(n, "z_channels", c->z_channels, c->double_z > 0 ? z / 2 : z);
    check_value(n, "embed_dim", c->embed_dim, v->dim);
    check_value(n, "n_embed", c->n_embed, v->codes);
    check_value(n, "levels of ch_mult", c->n_ch_mult, levels);
    for (int i = 0; i < levels && i < c->n_ch_mult; i++) {
        char key[40];
        snprintf(key, sizeof key, "ch_mult[%d] x ch", i);
        check_value(n, key, c->ch_mult[i] * ch, mot_net_size(n, 0, "encoder.down.%d.block.0.conv1.weight", i));
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
    if (!rc && size > MOT_VQGAN_MAX_SIDE)
        rc = mot_fail(MOT_EARG, "%s: pictures of %lld pixels; up to %d", from, (long long)size, MOT_VQGAN_MAX_SIDE);
    if (!rc)
        rc = mot_net_open(&n, from, "encoder.conv_in.weight", &v.keep);
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
    mot_keep_free(&v.keep);
    return rc;
}
