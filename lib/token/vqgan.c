/* SPDX-License-Identifier: MIT
 *
 * vqgan.c - pictures by a VQGAN: a convolutional encoder, the nearest vectors of a codebook, and a
 * decoder.
 *
 * The net is read from its tensors: names and shapes tell how many levels, blocks and attentions
 * there are.  What was read is a list of steps that take one array of pixels to the next; running a
 * net is walking the list.  Values lie as (rows, columns, channels) everywhere.  Three arrays are
 * all that a run needs: what a step starts from, and two beside it.
 *
 * Pixels are x / 127.5 - 1, and back as Chameleon does it: cut to [-1, 1], then rounded down.
 * Of codes equally near the lowest is taken.
 *
 * File: the net's tensors under taming-transformers' names; metadata "format" = "mot-vqgan",
 * "version", "image_size".
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include <omp.h>

#include "kmeans.h"
#include "net.h"
#include "vqgan.h"

enum { VERSION = 1, NORM_GROUPS = 32, MAX_STEPS = 256, MAX_BLOCKS = 16, MAX_SIDE = 4096, DEFAULT_SIDE = 512 };
static const float EPS = 1e-6f;

/* ---- steps ---- */

struct norm {
    const float *w, *b;
};
struct conv {
    struct mot_conv shape;
    const float *w, *b;
};
enum step_kind {
    STEP_CONV,    /* x = conv[0](x) */
    STEP_NORM,    /* x = silu(norm[0](x)) */
    STEP_BLOCK,   /* x = shortcut(x) + conv[1](silu(norm[1](conv[0](silu(norm[0](x)))))) */
    STEP_ATTENTION /* x = x + conv[1](attention(conv[0](norm[0](x)))), conv[0] giving q, k and v */
};
struct step {
    enum step_kind kind;
    int64_t rows, C; /* of x before */
    struct norm norm[2];
    struct conv conv[3]; /* conv[2]: the shortcut, where channels change (w not NULL) */
};
struct program {
    int n;
    struct step step[MAX_STEPS];
};

struct runner { /* what one call at a time needs */
    struct runner *next;
    int threads;
    struct mot_device *d;
    float *buffer[3];
};

struct mot_vqgan {
    int side, latent; /* pixels, codes of a line */
    int codes, dim;
    bool has_decoder;
    struct mot_keep keep;
    float *codebook; /* (codes, dim) */
    struct mot_codebook search;
    struct program encoder, decoder;
    const struct mot_kernels *kernels;
    size_t floats; /* of each buffer */
    struct mot_limits limits;
    struct mot_conv *convs; /* limits.conv */
    pthread_mutex_t lock;
    struct runner *idle;
};

/* ---- reading the net: each function adds steps to a program ---- */

struct builder {
    struct mot_net *net;
    struct program *p;
    int64_t side, C; /* the picture after the steps so far */
};

static struct step *add_step(struct builder *b, enum step_kind kind)
{
    if (b->p->n == MAX_STEPS) {
        mot_net_complain(b->net, "it has more than %d layers", MAX_STEPS);
        b->p->n = 0;
    }
    struct step *s = &b->p->step[b->p->n++];
    *s = (struct step){.kind = kind, .rows = b->side * b->side, .C = b->C};
    return s;
}

static struct norm read_norm(struct builder *b, const char *name, int64_t C)
{
    if (C % NORM_GROUPS != 0)
        mot_net_complain(b->net, "%s: %lld channels are no multiple of %d", name, (long long)C, NORM_GROUPS);
    return (struct norm){mot_net_take(b->net, 1, &C, "%s.weight", name), mot_net_take(b->net, 1, &C, "%s.bias", name)};
}

/* A convolution that keeps the picture's size. */
static struct conv read_conv(struct builder *b, const char *name, int64_t C, int64_t O, int kernel)
{
    struct conv c = {.shape = {.H = b->side, .W = b->side, .C = C, .OH = b->side, .OW = b->side, .O = O, .kh = kernel,
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
    struct step *s = add_step(b, STEP_CONV);
    s->conv[0] = read_conv(b, name, b->C, b->C, 3);
    struct mot_conv *v = &s->conv[0].shape;
    v->stride = 2, v->top = v->left = 0;
    b->side /= 2;
    v->OH = v->OW = b->side;
}

static void add_upsample(struct builder *b, const char *name)
{
    struct step *s = add_step(b, STEP_CONV);
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
    struct step *s = add_step(b, STEP_BLOCK);
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
    struct step *s = add_step(b, STEP_ATTENTION);
    float *w = mot_keep_floats(b->net->keep, (size_t)C, 3 * (size_t)C);
    float *bias = mot_keep_floats(b->net->keep, (size_t)C, 3);
    char part[100];
    snprintf(part, sizeof part, "%s.norm", name);
    s->norm[0] = read_norm(b, part, C);
    for (int i = 0; i < 3; i++) {
        snprintf(part, sizeof part, "%s.%s", name, parts[i]);
        struct conv one = read_conv(b, part, C, C, 1);
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

/* Everything, for pictures of `side` pixels.  What is wrong becomes the net's complaints. */
static void read_net(struct mot_vqgan *v, struct mot_net *n, int side)
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
/* ---- sizes ---- */

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Make room in v's limits and buffers for what the steps of a program need. */
static void measure(struct mot_vqgan *v, const struct program *p)
{
    struct mot_limits *l = &v->limits;
    for (int i = 0; i < p->n; i++) {
        const struct step *s = &p->step[i];
        int64_t floats = s->rows * s->C;
        for (int k = 0; k < 3; k++)
            if (s->conv[k].w) {
                const struct mot_conv *c = &s->conv[k].shape;
                v->convs[l->n_conv++] = *c;
                floats = greater(floats, c->OH * c->OW * c->O);
            }
        if (s->kind != STEP_CONV) {
            l->norm_rows = greater(l->norm_rows, s->rows);
            l->norm_width = greater(l->norm_width, greater(s->C, s->conv[0].shape.O));
        }
        if (s->kind == STEP_ATTENTION) {
            l->attend = greater(l->attend, s->rows);
            l->D = greater(l->D, s->C);
        }
        v->floats = (size_t)greater((int64_t)v->floats, floats);
    }
}

static int finish_net(struct mot_vqgan *v)
{
    v->convs = mot_alloc(3 * (size_t)(v->encoder.n + v->decoder.n), sizeof *v->convs);
    if (!v->convs)
        return MOT_ENOMEM;
    v->limits = (struct mot_limits){.N = 1, .segment = 1, .C = 1, .H = 1, .K = 1, .D = 2, .F = 1, .V = 1, .G = 1,
                                    .conv = v->convs};
    measure(v, &v->encoder);
    measure(v, &v->decoder);
    return mot_codebook_init(&v->search, v->codebook, v->codes, v->dim);
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
    if (!rc && size > MAX_SIDE)
        rc = mot_fail(MOT_EARG, "%s: pictures of %lld pixels; up to %d", from, (long long)size, MAX_SIDE);
    if (!rc)
        rc = mot_net_open(&n, from, "encoder.conv_in.weight", &v.keep);
    if (!rc) {
        read_net(&v, &n, (int)size);
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

/* ---- loading ---- */

static int number_of(const struct mot_net *n, const char *key, long most, int *out)
{
    const char *text = mot_net_metadata(n, key);
    char *end;
    long x = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || x < 1 || x > most)
        return mot_fail(MOT_EFORMAT, "%s: metadata \"%s\" is missing or no number from 1 to %ld", n->path, key, most);
    *out = (int)x;
    return MOT_OK;
}

static int load(struct mot_vqgan *v, struct mot_net *n, const char *path)
{
    int version = 0, side = 0, rc = mot_net_open(n, path, "encoder.conv_in.weight", &v->keep);
    if (!rc)
        rc = number_of(n, "version", 1000, &version);
    if (!rc && version != VERSION)
        rc = mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", path, version, VERSION);
    if (!rc)
        rc = number_of(n, "image_size", MAX_SIDE, &side);
    if (rc)
        return rc;
    read_net(v, n, side);
    rc = mot_net_verdict(n, "a VQGAN");
    return rc ? rc : finish_net(v);
}

struct mot_vqgan *mot_vqgan_load(const char *path)
{
    struct mot_vqgan *v = mot_alloc(1, sizeof *v);
    struct mot_net n = {0};
    if (!v)
        return NULL;
    pthread_mutex_init(&v->lock, NULL);
    int rc = load(v, &n, path);
    mot_net_close(&n);
    if (!rc)
        return v;
    mot_vqgan_free(v);
    return NULL;
}

static void free_runner(const struct mot_vqgan *v, struct runner *r)
{
    for (int i = 0; i < 3; i++)
        mot_free(r->buffer[i]);
    if (r->d)
        v->kernels->close(r->d);
    mot_free(r);
}

void mot_vqgan_free(struct mot_vqgan *v)
{
    if (!v)
        return;
    while (v->idle) {
        struct runner *r = v->idle;
        v->idle = r->next;
        free_runner(v, r);
    }
    mot_keep_free(&v->keep);
    mot_codebook_free(&v->search);
    mot_free(v->convs);
    pthread_mutex_destroy(&v->lock);
    mot_free(v);
}

int mot_vqgan_size(const struct mot_vqgan *v)
{
    return v->codes;
}

int mot_vqgan_side(const struct mot_vqgan *v)
{
    return v->side;
}

int mot_vqgan_tokens(const struct mot_vqgan *v)
{
    return v->latent * v->latent;
}

bool mot_vqgan_decodes(const struct mot_vqgan *v)
{
    return v->has_decoder;
}

/* ---- running ---- */

/* Workspaces are kept for the next call: as many as there ever were callers at once. */
static struct runner *borrow(struct mot_vqgan *v)
{
    int threads = omp_get_max_threads();
    pthread_mutex_lock(&v->lock);
    struct runner **at = &v->idle;
    while (*at && (*at)->threads != threads)
        at = &(*at)->next;
    struct runner *r = *at;
    if (r)
        *at = r->next;
    else if ((r = mot_alloc(1, sizeof *r)))
        r->d = mot_net_device(&v->kernels, threads, &v->limits);
    pthread_mutex_unlock(&v->lock);
    if (!r)
        return NULL;
    r->threads = threads;
    for (int i = 0; r->d && i < 3 && !r->buffer[i]; i++)
        r->buffer[i] = mot_alloc(v->floats, sizeof(float));
    if (r->d && r->buffer[2])
        return r;
    free_runner(v, r);
    return NULL;
}

static void give_back(struct mot_vqgan *v, struct runner *r)
{
    pthread_mutex_lock(&v->lock);
    r->next = v->idle;
    v->idle = r;
    pthread_mutex_unlock(&v->lock);
}

static void swap(float **a, float **b)
{
    float *t = *a;
    *a = *b;
    *b = t;
}

/* A step from r->buffer[0] to r->buffer[0]. */
static void run_step(const struct mot_kernels *k, struct runner *r, const struct step *s)
{
    float **x = &r->buffer[0], **a = &r->buffer[1], **b = &r->buffer[2];
    const struct conv *c = s->conv;
    const struct norm *n = s->norm;
    switch (s->kind) {
    case STEP_CONV:
        k->conv2d(r->d, *a, *x, c[0].w, c[0].b, &c[0].shape, 0);
        swap(x, a);
        break;
    case STEP_NORM:
        k->groupnorm(r->d, *x, *x, n[0].w, n[0].b, s->rows, s->C, NORM_GROUPS, EPS, MOT_ACT_SILU);
        break;
    case STEP_BLOCK:
        k->groupnorm(r->d, *a, *x, n[0].w, n[0].b, s->rows, s->C, NORM_GROUPS, EPS, MOT_ACT_SILU);
        k->conv2d(r->d, *b, *a, c[0].w, c[0].b, &c[0].shape, 0);
        k->groupnorm(r->d, *b, *b, n[1].w, n[1].b, s->rows, c[0].shape.O, NORM_GROUPS, EPS, MOT_ACT_SILU);
        if (c[2].w) {
            k->conv2d(r->d, *a, *x, c[2].w, c[2].b, &c[2].shape, 0);
            swap(x, a);
        }
        k->conv2d(r->d, *x, *b, c[1].w, c[1].b, &c[1].shape, 1);
        break;
    case STEP_ATTENTION:
        k->groupnorm(r->d, *a, *x, n[0].w, n[0].b, s->rows, s->C, NORM_GROUPS, EPS, MOT_ACT_NONE);
        k->conv2d(r->d, *b, *a, c[0].w, c[0].b, &c[0].shape, 0);
        k->attend(r->d, *a, *b, s->rows, 1, s->C, 1 / sqrtf((float)s->C));
        k->conv2d(r->d, *x, *a, c[1].w, c[1].b, &c[1].shape, 1);
        break;
    }
}

static void run(const struct mot_vqgan *v, struct runner *r, const struct program *p)
{
    for (int i = 0; i < p->n; i++)
        run_step(v->kernels, r, &p->step[i]);
}

int mot_vqgan_encode(struct mot_vqgan *v, const struct mot_image *square, int32_t *code)
{
    if (square->width != v->side || square->height != v->side)
        return mot_fail(MOT_EARG, "a picture of %d x %d, expected %d x %d", square->width, square->height, v->side, v->side);
    struct runner *r = borrow(v);
    if (!r)
        return MOT_ENOMEM;
    for (int64_t i = 0; i < 3 * (int64_t)v->side * v->side; i++)
        r->buffer[0][i] = (float)square->rgb[i] / 127.5f - 1;
    run(v, r, &v->encoder);
    mot_codebook_search(&v->search, r->buffer[0], mot_vqgan_tokens(v), NULL, code);
    give_back(v, r);
    return MOT_OK;
}

/* Grey where no code was. */
static void blank(const struct mot_vqgan *v, const int32_t *code, struct mot_image *im)
{
    int patch = v->side / v->latent;
    for (int y = 0; y < v->side; y++)
        for (int x = 0; x < v->latent; x++)
            if (code[y / patch * v->latent + x] < 0)
                memset(im->rgb + 3 * ((size_t)y * (size_t)v->side + (size_t)(x * patch)), 128, 3 * (size_t)patch);
}

int mot_vqgan_decode(struct mot_vqgan *v, const int32_t *code, struct mot_image *out)
{
    if (!v->has_decoder)
        return mot_fail(MOT_EARG, "this VQGAN has no decoder (decoder.conv_in.weight and the like; Hugging Face's Chameleon "
                        "leaves it out): import the original file, vqgan.ckpt made .safetensors, to turn codes into pictures");
    *out = (struct mot_image){v->side, v->side, mot_alloc((size_t)v->side * (size_t)v->side, 3)};
    struct runner *r = out->rgb ? borrow(v) : NULL;
    if (!r) {
        mot_image_free(out);
        return MOT_ENOMEM;
    }
    for (int64_t i = 0; i < mot_vqgan_tokens(v); i++) {
        float *z = r->buffer[0] + i * v->dim;
        if (code[i] >= 0)
            memcpy(z, v->codebook + (int64_t)code[i] * v->dim, (size_t)v->dim * sizeof *z);
        else
            memset(z, 0, (size_t)v->dim * sizeof *z);
    }
    run(v, r, &v->decoder);
    for (int64_t i = 0; i < 3 * (int64_t)v->side * v->side; i++)
        out->rgb[i] = (unsigned char)(fminf(fmaxf(r->buffer[0][i] + 1, 0), 2) / 2 * 255);
    give_back(v, r);
    blank(v, code, out);
    return MOT_OK;
}
