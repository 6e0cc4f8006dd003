/* SPDX-License-Identifier: MIT
 *
 * autonet_read.c - reading the nets of autonet.h from their tensors: names and shapes tell how many levels, blocks and
 * attentions there are.
 */
#include <stdlib.h>

#include "autonet.h"

enum { MAX_BLOCKS = 16 };

static struct mot_autonet_step *add_step(struct mot_autonet_builder *b, enum mot_autonet_step_kind kind)
{
    if (b->p->n == MOT_AUTONET_STEPS) {
        mot_net_complain(b->net, "it has more than %d layers", MOT_AUTONET_STEPS);
        b->p->n = 0;
    }
    struct mot_autonet_step *s = &b->p->step[b->p->n++];
    *s = (struct mot_autonet_step){.kind = kind, .rows = b->side * b->side, .C = b->C};
    return s;
}

static struct mot_autonet_norm read_norm(struct mot_autonet_builder *b, const char *name, int64_t C)
{
    if (C % MOT_AUTONET_GROUPS != 0)
        mot_net_complain(b->net, "%s: %lld channels are no multiple of %d", name, (long long)C, MOT_AUTONET_GROUPS);
    return (struct mot_autonet_norm){mot_net_take(b->net, 1, &C, "%s.weight", name),
                                     mot_net_take(b->net, 1, &C, "%s.bias", name)};
}

/* A convolution that keeps the picture's size; one of single pixels may be written as a matrix. */
static struct mot_autonet_conv read_conv(struct mot_autonet_builder *b, const char *name, int64_t C, int64_t O, int kernel)
{
    struct mot_autonet_conv c = {.shape = {.H = b->side, .W = b->side, .C = C, .OH = b->side, .OW = b->side, .O = O, .kh = kernel,
                                 .kw = kernel, .stride = 1, .top = kernel / 2, .left = kernel / 2, .up = 1, .groups = 1}};
    const struct mot_st_tensor *t = mot_net_find(b->net, "%s.weight", name);
    c.w = mot_net_take_conv(b->net, &c.shape, kernel == 1 && t && t->rank == 2 ? 2 : 4, "%s.weight", name);
    c.b = mot_net_take(b->net, 1, &O, "%s.bias", name);
    return c;
}

void mot_autonet_add_conv(struct mot_autonet_builder *b, const char *name, int64_t O, int kernel)
{
    add_step(b, STEP_CONV)->conv[0] = read_conv(b, name, b->C, O, kernel);
    b->C = O;
}

/* A quarter of the pixels; the zeros stand on the right and below only. */
static void add_downsample(struct mot_autonet_builder *b, const char *name)
{
    struct mot_autonet_step *s = add_step(b, STEP_CONV);
    s->conv[0] = read_conv(b, name, b->C, b->C, 3);
    struct mot_conv *v = &s->conv[0].shape;
    v->stride = 2, v->top = v->left = 0;
    b->side /= 2;
    v->OH = v->OW = b->side;
}

static void add_upsample(struct mot_autonet_builder *b, const char *name)
{
    struct mot_autonet_step *s = add_step(b, STEP_CONV);
    s->conv[0] = read_conv(b, name, b->C, b->C, 3);
    struct mot_conv *v = &s->conv[0].shape;
    v->up = 2;
    b->side *= 2;
    v->OH = v->OW = b->side;
}

static void add_block(struct mot_autonet_builder *b, const char *name)
{
    char part[5][100];
    static const char *const parts[] = {"norm1", "conv1", "norm2", "conv2", "nin_shortcut"};
    for (int i = 0; i < 5; i++)
        snprintf(part[i], sizeof part[i], "%s.%s", name, parts[i]);
    int64_t O = mot_net_size(b->net, 0, "%s.weight", part[1]);
    struct mot_autonet_step *s = add_step(b, STEP_BLOCK);
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
static void add_attention(struct mot_autonet_builder *b, const char *name)
{
    static const char *const parts[] = {"q", "k", "v"};
    int64_t C = b->C;
    struct mot_autonet_step *s = add_step(b, STEP_ATTENTION);
    float *w = mot_keep_floats(b->net->keep, (size_t)C, 3 * (size_t)C);
    float *bias = mot_keep_floats(b->net->keep, (size_t)C, 3);
    char part[100];
    snprintf(part, sizeof part, "%s.norm", name);
    s->norm[0] = read_norm(b, part, C);
    for (int i = 0; i < 3; i++) {
        snprintf(part, sizeof part, "%s.%s", name, parts[i]);
        struct mot_autonet_conv one = read_conv(b, part, C, C, 1);
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
static void add_out(struct mot_autonet_builder *b, const char *half, int64_t O)
{
    char name[100];
    snprintf(name, sizeof name, "%s.norm_out", half);
    add_step(b, STEP_NORM)->norm[0] = read_norm(b, name, b->C);
    snprintf(name, sizeof name, "%s.conv_out", half);
    mot_autonet_add_conv(b, name, O, 3);
}

/* The blocks of a level, each with its attention where it has one. */
static void add_level(struct mot_autonet_builder *b, const char *half, const char *way, int level, int blocks)
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

static void add_middle(struct mot_autonet_builder *b, const char *half)
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
int mot_autonet_levels(const struct mot_net *n, const char *half, const char *way)
{
    int levels = 0;
    while (levels < MOT_AUTONET_LEVELS && mot_net_find(n, "%s.%s.%d.block.0.conv1.weight", half, way, levels))
        levels++;
    return levels;
}

int mot_autonet_blocks(const struct mot_net *n, const char *half, const char *way)
{
    int blocks = 0;
    while (blocks < MAX_BLOCKS && mot_net_find(n, "%s.%s.0.block.%d.conv1.weight", half, way, blocks))
        blocks++;
    return blocks;
}

static void add_encoder(struct mot_autonet_builder *b, int levels)
{
    char name[100];
    int blocks = mot_autonet_blocks(b->net, "encoder", "down");
    mot_autonet_add_conv(b, "encoder.conv_in", mot_net_size(b->net, 0, "encoder.conv_in.weight"), 3);
    for (int i = 0; i < levels; i++) {
        add_level(b, "encoder", "down", i, blocks);
        snprintf(name, sizeof name, "encoder.down.%d.downsample.conv", i);
        if (i < levels - 1)
            add_downsample(b, name);
    }
    add_middle(b, "encoder");
    add_out(b, "encoder", mot_net_size(b->net, 0, "encoder.conv_out.weight"));
}

static void add_decoder(struct mot_autonet_builder *b, int levels)
{
    char name[100];
    int blocks = mot_autonet_blocks(b->net, "decoder", "up");
    mot_autonet_add_conv(b, "decoder.conv_in", mot_net_size(b->net, 0, "decoder.conv_in.weight"), 3);
    add_middle(b, "decoder");
    for (int i = levels - 1; i >= 0; i--) {
        add_level(b, "decoder", "up", i, blocks);
        snprintf(name, sizeof name, "decoder.up.%d.upsample.conv", i);
        if (i > 0)
            add_upsample(b, name);
    }
    add_out(b, "decoder", 3);
}

void mot_autonet_read_encoder(struct mot_autonet *a, struct mot_net *n, struct mot_autonet_builder *b, int side)
{
    int levels = mot_autonet_levels(n, "encoder", "down");
    a->side = side;
    a->latent = side >> (levels > 0 ? levels - 1 : 0);
    if (levels == 0)
        mot_net_complain(n, "encoder.down.0.block.0.conv1.weight is missing");
    else if (a->latent < 1 || (int64_t)a->latent << (levels - 1) != side)
        mot_net_complain(n, "pictures of %d pixels cannot be halved %d times", side, levels - 1);
    *b = (struct mot_autonet_builder){n, &a->encoder, side, 3};
    add_encoder(b, levels);
}

void mot_autonet_read_decoder(struct mot_autonet *a, struct mot_net *n, struct mot_autonet_builder *b)
{
    int levels = mot_autonet_levels(n, "encoder", "down"), ups = mot_autonet_levels(n, "decoder", "up");
    if (ups != levels)
        mot_net_complain(n, "the encoder has %d levels, the decoder %d", levels, ups);
    a->has_decoder = true;
    add_decoder(b, ups);
}

/* ---- what else says how the net is ---- */

void mot_autonet_check_value(struct mot_net *n, const char *key, int64_t says, int64_t is)
{
    if (says >= 0 && says != is)
        mot_net_complain(n, "the configuration says %s = %lld, its tensors %lld", key, (long long)says, (long long)is);
}

int mot_autonet_number(const struct mot_net *n, const char *key, long most, int *out)
{
    const char *text = mot_net_metadata(n, key);
    char *end;
    long x = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || x < 1 || x > most)
        return mot_fail(MOT_EFORMAT, "%s: metadata \"%s\" is missing or no number from 1 to %ld", n->path, key, most);
    *out = (int)x;
    return MOT_OK;
}
