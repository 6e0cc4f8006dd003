/* SPDX-License-Identifier: MIT
 *
 * vqgan.c - pictures by a VQGAN: a convolutional encoder, the nearest vectors of a codebook, and a
 * decoder.
 *
 * What was read (vqgan_net.c) is a list of steps that take one array of pixels to the next; running a
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
#include <stdlib.h>

#include <omp.h>

#include "vqgan_net.h"

enum { VERSION = 1 };
static const float EPS = 1e-6f;

/* ---- sizes ---- */

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Make room in v's limits and buffers for what the steps of a program need. */
static void measure(struct mot_vqgan *v, const struct mot_vqgan_program *p)
{
    struct mot_limits *l = &v->limits;
    for (int i = 0; i < p->n; i++) {
        const struct mot_vqgan_step *s = &p->step[i];
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
    v->ends = (size_t)greater(3 * (int64_t)v->side * v->side, (int64_t)v->latent * v->latent * v->dim);
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
    v->kernels = mot_device_find("cpu", "f32");
    return v->kernels ? mot_codebook_init(&v->search, v->codebook, v->codes, v->dim) : MOT_EDEVICE;
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
        rc = number_of(n, "image_size", MOT_VQGAN_MAX_SIDE, &side);
    if (rc)
        return rc;
    mot_vqgan_read_net(v, n, side);
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

static void move_weights(const struct mot_keep *k, struct mot_vqgan_program *p)
{
    for (int i = 0; i < p->n; i++) {
        struct mot_vqgan_step *s = &p->step[i];
        for (int j = 0; j < 2; j++)
            mot_keep_move(k, &s->norm[j].w), mot_keep_move(k, &s->norm[j].b);
        for (int j = 0; j < 3; j++)
            mot_keep_move(k, &s->conv[j].w), mot_keep_move(k, &s->conv[j].b);
    }
}

int mot_vqgan_send(struct mot_vqgan *v, const struct mot_kernels *k)
{
    int rc = mot_keep_send(&v->keep, k);
    if (rc)
        return rc;
    move_weights(&v->keep, &v->encoder);
    move_weights(&v->keep, &v->decoder);
    v->kernels = k;
    return MOT_OK;
}

static void free_runner(const struct mot_vqgan *v, struct mot_vqgan_runner *r)
{
    for (int i = 0; r->d && i < 3; i++)
        v->kernels->free(r->d, r->buffer[i]);
    if (r->d)
        v->kernels->close(r->d);
    mot_free(r->host);
    mot_free(r);
}

void mot_vqgan_free(struct mot_vqgan *v)
{
    if (!v)
        return;
    while (v->idle) {
        struct mot_vqgan_runner *r = v->idle;
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
static struct mot_vqgan_runner *borrow(struct mot_vqgan *v)
{
    int threads = omp_get_max_threads();
    pthread_mutex_lock(&v->lock);
    struct mot_vqgan_runner **at = &v->idle;
    while (*at && (*at)->threads != threads)
        at = &(*at)->next;
    struct mot_vqgan_runner *r = *at;
    if (r)
        *at = r->next;
    else if ((r = mot_alloc(1, sizeof *r)))
        r->d = mot_net_device(v->kernels, threads, &v->limits);
    pthread_mutex_unlock(&v->lock);
    if (!r)
        return NULL;
    r->threads = threads;
    if (r->d && !r->host)
        r->host = mot_alloc(v->ends, sizeof *r->host);
    for (int i = 0; r->d && r->host && i < 3 && !r->buffer[i]; i++)
        if (!(r->buffer[i] = v->kernels->alloc(r->d, v->floats * sizeof(float))))
            mot_fail(MOT_ENOMEM, "%s: memory is short for pictures, of which each thread has one", v->kernels->name);
    if (r->d && r->buffer[2])
        return r;
    free_runner(v, r);
    return NULL;
}

static void give_back(struct mot_vqgan *v, struct mot_vqgan_runner *r)
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
static void run_step(const struct mot_kernels *k, struct mot_vqgan_runner *r, const struct mot_vqgan_step *s)
{
    float **x = &r->buffer[0], **a = &r->buffer[1], **b = &r->buffer[2];
    const struct mot_vqgan_conv *c = s->conv;
    const struct mot_vqgan_norm *n = s->norm;
    switch (s->kind) {
    case STEP_CONV:
        k->conv2d(r->d, *a, *x, c[0].w, c[0].b, &c[0].shape, 0);
        swap(x, a);
        break;
    case STEP_NORM:
        k->groupnorm(r->d, *x, *x, n[0].w, n[0].b, s->rows, s->C, MOT_VQGAN_NORM_GROUPS, EPS, MOT_ACT_SILU);
        break;
    case STEP_BLOCK:
        k->groupnorm(r->d, *a, *x, n[0].w, n[0].b, s->rows, s->C, MOT_VQGAN_NORM_GROUPS, EPS, MOT_ACT_SILU);
        k->conv2d(r->d, *b, *a, c[0].w, c[0].b, &c[0].shape, 0);
        k->groupnorm(r->d, *b, *b, n[1].w, n[1].b, s->rows, c[0].shape.O, MOT_VQGAN_NORM_GROUPS, EPS, MOT_ACT_SILU);
        if (c[2].w) {
            k->conv2d(r->d, *a, *x, c[2].w, c[2].b, &c[2].shape, 0);
            swap(x, a);
        }
        k->conv2d(r->d, *x, *b, c[1].w, c[1].b, &c[1].shape, 1);
        break;
    case STEP_ATTENTION:
        k->groupnorm(r->d, *a, *x, n[0].w, n[0].b, s->rows, s->C, MOT_VQGAN_NORM_GROUPS, EPS, MOT_ACT_NONE);
        k->conv2d(r->d, *b, *a, c[0].w, c[0].b, &c[0].shape, 0);
        k->attend(r->d, *a, *b, s->rows, 1, s->C, 1 / sqrtf((float)s->C));
        k->conv2d(r->d, *x, *a, c[1].w, c[1].b, &c[1].shape, 1);
        break;
    }
}

/* From the first n values of r->host to the first m. */
static int run(const struct mot_vqgan *v, struct mot_vqgan_runner *r, const struct mot_vqgan_program *p, int64_t n, int64_t m)
{
    const struct mot_kernels *k = v->kernels;
    k->write(r->d, r->buffer[0], r->host, (size_t)n * sizeof *r->host);
    for (int i = 0; i < p->n; i++)
        run_step(k, r, &p->step[i]);
    k->read(r->d, r->host, r->buffer[0], (size_t)m * sizeof *r->host);
    return mot_net_wait(k, r->d);
}

int mot_vqgan_encode(struct mot_vqgan *v, const struct mot_image *square, int32_t *code)
{
    if (square->width != v->side || square->height != v->side)
        return mot_fail(MOT_EARG, "a picture of %d x %d, expected %d x %d", square->width, square->height, v->side, v->side);
    struct mot_vqgan_runner *r = borrow(v);
    if (!r)
        return MOT_ENOMEM;
    int64_t tokens = mot_vqgan_tokens(v), values = 3 * (int64_t)v->side * v->side;
    for (int64_t i = 0; i < values; i++)
        r->host[i] = (float)square->rgb[i] / 127.5f - 1;
    int rc = run(v, r, &v->encoder, values, tokens * v->dim);
    if (!rc)
        mot_codebook_search(&v->search, r->host, tokens, NULL, code);
    give_back(v, r);
    return rc;
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
    struct mot_vqgan_runner *r = out->rgb ? borrow(v) : NULL;
    if (!r) {
        mot_image_free(out);
        return MOT_ENOMEM;
    }
    int64_t tokens = mot_vqgan_tokens(v), values = 3 * (int64_t)v->side * v->side;
    for (int64_t i = 0; i < tokens; i++) {
        float *z = r->host + i * v->dim;
        if (code[i] >= 0)
            memcpy(z, v->codebook + (int64_t)code[i] * v->dim, (size_t)v->dim * sizeof *z);
        else
            memset(z, 0, (size_t)v->dim * sizeof *z);
    }
    int rc = run(v, r, &v->decoder, tokens * v->dim, values);
    for (int64_t i = 0; !rc && i < values; i++)
        out->rgb[i] = (unsigned char)(fminf(fmaxf(r->host[i] + 1, 0), 2) / 2 * 255);
    give_back(v, r);
    if (rc)
        mot_image_free(out);
    else
        blank(v, code, out);
    return rc;
}
