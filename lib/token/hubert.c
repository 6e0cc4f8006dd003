/* SPDX-License-Identifier: MIT
 *
 * hubert.c - sounds as units of 20 ms by a HuBERT or wav2vec 2.0 encoder: convolutions over the wave, a transformer, and
 * the nearest of some centres to each row of a layer.
 *
 * The wave is brought to 16 kHz and, where the net's preprocessor says so, to mean 0 and variance 1.  Sounds of more than
 * 100 seconds are encoded in pieces of that length, so that memory stays bounded.
 */
#include <math.h>
#include <stdlib.h>

#include <omp.h>

#include "hubert_net.h"

static const float CONV_EPS = 1e-5f; /* of the norms among the convolutions */

static void free_arrays(const struct mot_hubert *h, struct mot_hubert_runner *r)
{
    float *const arrays[] = {r->x, r->a, r->b};
    for (int i = 0; r->d && i < MOT_COUNT(arrays); i++)
        h->kernels->free(r->d, arrays[i]);
    if (r->d)
        h->kernels->close(r->d);
    r->x = r->a = r->b = NULL;
    r->d = NULL;
}

static void free_runner(const struct mot_hubert *h, struct mot_hubert_runner *r)
{
    free_arrays(h, r);
    mot_free(r);
}

static void move(const struct mot_keep *k, struct mot_hubert_affine *a)
{
    mot_keep_move(k, &a->w);
    mot_keep_move(k, &a->b);
}

static void move_conv(const struct mot_keep *k, struct mot_hubert_conv *c)
{
    mot_keep_move(k, &c->w);
    mot_keep_move(k, &c->b);
    move(k, &c->norm);
}

int mot_hubert_send(struct mot_hubert *h, const struct mot_kernels *kernels)
{
    const struct mot_keep *k = &h->keep;
    int rc = mot_keep_send(&h->keep, kernels);
    if (rc)
        return rc;
    for (int i = 0; i < h->n_convs; i++)
        move_conv(k, &h->conv[i]);
    move_conv(k, &h->position);
    move(k, &h->project_norm), move(k, &h->project), move(k, &h->norm);
    for (int i = 0; i < h->n_layers; i++) {
        struct mot_hubert_layer *l = &h->layer[i];
        move(k, &l->qkv), move(k, &l->out), move(k, &l->norm);
        move(k, &l->up), move(k, &l->down), move(k, &l->last_norm);
    }
    h->kernels = kernels;
    return MOT_OK;
}

void mot_hubert_free(struct mot_hubert *h)
{
    if (!h)
        return;
    while (h->idle) {
        struct mot_hubert_runner *r = h->idle;
        h->idle = r->next;
        free_runner(h, r);
    }
    mot_net_close(&h->net);
    mot_keep_free(&h->keep);
    mot_codebook_free(&h->search);
    pthread_mutex_destroy(&h->lock);
    mot_free(h);
}

int mot_hubert_width(const struct mot_hubert *h)
{
    return (int)h->C;
}

int mot_hubert_size(const struct mot_hubert *h)
{
    return h->units;
}

/* ---- running ---- */

/* The convolutions for a wave of so many samples; returns the rows that come out, 0 if it is too short. */
static int64_t shapes(const struct mot_hubert *h, int64_t samples, struct mot_conv *shape)
{
    int64_t W = samples;
    for (int i = 0; i < h->n_convs; i++) {
        shape[i] = h->conv[i].shape;
        shape[i].W = W;
        W = W < shape[i].kw ? 0 : (W - shape[i].kw) / shape[i].stride + 1;
        shape[i].OW = W;
    }
    shape[h->n_convs] = h->position.shape;
    shape[h->n_convs].W = shape[h->n_convs].OW = W;
    return W;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Room in r for a wave of so many samples. */
static int make_room(struct mot_hubert *h, struct mot_hubert_runner *r, int64_t samples)
{
    struct mot_conv shape[MOT_HUBERT_CONVS + 1];
    if (r->d && r->samples >= samples)
        return MOT_OK;
    int64_t rows = shapes(h, samples, shape), x = samples, a = rows * greater(3 * h->C, h->F), widest = h->C;
    for (int i = 0; i < h->n_convs; i++) {
        int64_t floats = shape[i].OW * shape[i].O;
        x = greater(x, i % 2 ? floats : 0);
        a = greater(a, i % 2 ? 0 : floats);
        widest = greater(widest, shape[i].O);
    }
    x = greater(greater(x, a), rows * h->C); /* they change places */
    struct mot_limits l = {.N = rows, .segment = 1, .C = h->C, .H = h->s.heads, .K = h->s.heads, .D = h->C / h->s.heads,
                           .F = greater(h->F, widest), .V = 1, .G = 1, .conv = shape, .n_conv = h->n_convs + 1,
                           .norm_rows = shape[0].OW, .norm_width = widest, .attend = rows};
    free_arrays(h, r);
    r->samples = samples;
    r->d = mot_net_device(h->kernels, r->threads, &l);
    if (!r->d)
        return MOT_EDEVICE;
    r->x = h->kernels->alloc(r->d, (size_t)x * sizeof *r->x);
    r->a = h->kernels->alloc(r->d, (size_t)x * sizeof *r->a);
    r->b = h->kernels->alloc(r->d, (size_t)(rows * h->C) * sizeof *r->b);
    return r->x && r->a && r->b ? MOT_OK
                                : mot_fail(MOT_ENOMEM, "%s: memory is short for sounds, of which each thread has one",
                                           h->kernels->name);
}

static struct mot_hubert_runner *borrow(struct mot_hubert *h, int64_t samples)
{
    int threads = omp_get_max_threads();
    pthread_mutex_lock(&h->lock);
    struct mot_hubert_runner **at = &h->idle;
    while (*at && (*at)->threads != threads)
        at = &(*at)->next;
    struct mot_hubert_runner *r = *at;
    if (r)
        *at = r->next;
    else if ((r = mot_alloc(1, sizeof *r)))
        r->threads = threads;
    int rc = r ? make_room(h, r, samples) : MOT_ENOMEM;
    pthread_mutex_unlock(&h->lock);
    if (!rc)
        return r;
    if (r)
        free_runner(h, r);
    return NULL;
}

static void give_back(struct mot_hubert *h, struct mot_hubert_runner *r)
{
    pthread_mutex_lock(&h->lock);
    r->next = h->idle;
    h->idle = r;
    pthread_mutex_unlock(&h->lock);
}

static void swap(struct mot_hubert_runner *r)
{
    float *t = r->x;
    r->x = r->a;
    r->a = t;
}

/* r->x from the wave in it to (rows, C of the last convolution). */
static void run_convs(const struct mot_hubert *h, struct mot_hubert_runner *r, const struct mot_conv *shape)
{
    const struct mot_kernels *k = h->kernels;
    for (int i = 0; i < h->n_convs; i++) {
        const struct mot_hubert_conv *c = &h->conv[i];
        const struct mot_hubert_affine *n = &c->norm;
        int64_t rows = shape[i].OW, O = shape[i].O;
        k->conv2d(r->d, r->a, r->x, c->w, c->b, &shape[i], 0);
        swap(r);
        if (!n->w)
            k->activate(r->d, r->x, r->x, rows * O, MOT_ACT_GELU, 0);
        else if (h->group_norm)
            k->groupnorm(r->d, r->x, r->x, n->w, n->b, rows, O, O, CONV_EPS, MOT_ACT_GELU);
        else
            k->layernorm(r->d, r->x, r->x, n->w, n->b, rows, O, CONV_EPS, MOT_ACT_GELU);
    }
}

/* y (rows,O) (+)= x (rows,I) w^T + b */
static void linear(const struct mot_hubert *h, struct mot_hubert_runner *r, float *y, const float *x,
                   struct mot_hubert_affine l, int64_t rows, int64_t I, int64_t O, int add)
{
    const struct mot_group g = {0, rows, 0, l.b - l.w, 0, 0};
    h->kernels->linear(r->d, y, x, l.w, &g, 1, I, O, add);
}

static void norm(const struct mot_hubert *h, struct mot_hubert_runner *r, float *y, const float *x,
                 struct mot_hubert_affine n, int64_t rows, int64_t C)
{
    h->kernels->layernorm(r->d, y, x, n.w, n.b, rows, C, (float)h->s.eps, MOT_ACT_NONE);
}

static void run_layer(const struct mot_hubert *h, struct mot_hubert_runner *r, const struct mot_hubert_layer *l, int64_t rows)
{
    const struct mot_kernels *k = h->kernels;
    int64_t C = h->C, D = C / h->s.heads;
    if (h->s.stable)
        norm(h, r, r->b, r->x, l->norm, rows, C);
    linear(h, r, r->a, h->s.stable ? r->b : r->x, l->qkv, rows, C, 3 * C, 0);
    k->attend(r->d, r->b, r->a, rows, h->s.heads, D, 1 / sqrtf((float)D));
    linear(h, r, r->x, r->b, l->out, rows, C, C, 1);
    if (h->s.stable)
        norm(h, r, r->b, r->x, l->last_norm, rows, C);
    else
        norm(h, r, r->x, r->x, l->norm, rows, C);
    linear(h, r, r->a, h->s.stable ? r->b : r->x, l->up, rows, C, h->F, 0);
    k->activate(r->d, r->a, r->a, rows * h->F, MOT_ACT_GELU, 0);
    linear(h, r, r->x, r->a, l->down, rows, h->F, C, 1);
    if (!h->s.stable)
        norm(h, r, r->x, r->x, l->last_norm, rows, C);
}

/* The rows of n samples to out. */
static int run(struct mot_hubert *h, const float *wave, int64_t n, float *out)
{
    struct mot_conv shape[MOT_HUBERT_CONVS + 1];
    struct mot_hubert_runner *r = borrow(h, n);
    if (!r)
        return MOT_ENOMEM;
    int64_t rows = shapes(h, n, shape), last = shape[h->n_convs - 1].O;
    h->kernels->write(r->d, r->x, wave, (size_t)n * sizeof *wave);
    run_convs(h, r, shape);
    if (h->project_norm.w)
        norm(h, r, r->x, r->x, h->project_norm, rows, last);
    linear(h, r, r->a, r->x, h->project, rows, last, h->C, 0);
    swap(r);
    h->kernels->conv2d(r->d, r->a, r->x, h->position.w, h->position.b, &shape[h->n_convs], 0);
    h->kernels->activate(r->d, r->x, r->a, rows * h->C, MOT_ACT_GELU, 1);
    if (!h->s.stable)
        norm(h, r, r->x, r->x, h->norm, rows, h->C);
    for (int i = 0; i < h->n_layers; i++)
        run_layer(h, r, &h->layer[i], rows);
    if (h->s.stable && h->norm.w)
        norm(h, r, r->x, r->x, h->norm, rows, h->C);
    h->kernels->read(r->d, out, r->x, (size_t)(rows * h->C) * sizeof *out);
    int rc = mot_net_wait(h->kernels, r->d);
    give_back(h, r);
    return rc;
}

/* ---- sounds ---- */

/* Mean 0 and variance 1, as Wav2Vec2FeatureExtractor does it. */
static void normalize(float *x, int64_t n)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += ((double)x[i] - mean) * ((double)x[i] - mean);
    double scale = 1 / sqrt(square / (double)n + 1e-7);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(((double)x[i] - mean) * scale);
}

/* A piece too short for one row is filled up with silence, but only if it is the whole sound. */
static int prepare(const struct mot_hubert *h, const struct mot_audio *a, struct mot_audio *x)
{
    int rc = mot_sound_prepare(a, x);
    int64_t n = mot_hubert_least(h);
    if (!rc && x->n > 0 && h->s.normalize)
        normalize(x->sample, x->n);
    if (!rc && x->n > 0 && x->n < n) {
        float *longer = mot_realloc(x->sample, (size_t)n, sizeof *longer);
        if (!longer) {
            mot_audio_free(x);
            return MOT_ENOMEM;
        }
        memset(longer + x->n, 0, (size_t)(n - x->n) * sizeof *longer);
        x->sample = longer;
        x->n = n;
    }
    return rc;
}

int mot_hubert_features(struct mot_hubert *h, const struct mot_audio *a, float **x, int64_t *n)
{
    struct mot_audio wave;
    struct mot_conv shape[MOT_HUBERT_CONVS + 1];
    *x = NULL;
    *n = 0;
    int rc = prepare(h, a, &wave);
    if (rc)
        return rc;
    int64_t total = 0;
    for (int64_t at = 0; at < wave.n; at += MOT_HUBERT_PIECE)
        total += shapes(h, wave.n - at < MOT_HUBERT_PIECE ? wave.n - at : MOT_HUBERT_PIECE, shape);
    *x = mot_alloc((size_t)total, (size_t)h->C * sizeof **x);
    rc = *x ? MOT_OK : MOT_ENOMEM;
    for (int64_t at = 0; !rc && at < wave.n; at += MOT_HUBERT_PIECE) {
        int64_t length = wave.n - at < MOT_HUBERT_PIECE ? wave.n - at : MOT_HUBERT_PIECE, rows = shapes(h, length, shape);
        if (rows > 0)
            rc = run(h, wave.sample + at, length, *x + *n * h->C);
        *n += rows;
    }
    mot_audio_free(&wave);
    if (rc) {
        mot_free(*x);
        *x = NULL;
    }
    return rc;
}

int mot_hubert_encode(struct mot_hubert *h, const struct mot_audio *a, struct mot_ids *out)
{
    float *x;
    int64_t n, kept = 0;
    int rc = mot_hubert_features(h, a, &x, &n);
    int32_t *unit = rc ? NULL : mot_alloc((size_t)n, sizeof *unit);
    if (!rc && !unit)
        rc = MOT_ENOMEM;
    if (!rc) {
        mot_codebook_search(&h->search, x, n, NULL, unit);
        for (int64_t i = 0; i < n; i++)
            if (!h->merge || kept == 0 || unit[i] != unit[kept - 1])
                unit[kept++] = unit[i];
        rc = mot_ids_append(out, unit, kept);
    }
    mot_free(unit);
    mot_free(x);
    return rc;
}
