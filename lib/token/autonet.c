/* SPDX-License-Identifier: MIT
 *
 * autonet.c - running the nets of autonet.h: walking a list of steps.  Three arrays are all that a run needs: what a step
 * starts from, and two beside it.
 */
#include <math.h>
#include <stdlib.h>

#include <omp.h>

#include "autonet.h"

static const float EPS = 1e-6f;

/* ---- sizes ---- */

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What the steps of a program need: of the buffers, and of a's limits. */
static void measure(struct mot_autonet *a, struct mot_autonet_program *p)
{
    struct mot_limits *l = &a->limits;
    for (int i = 0; i < p->n; i++) {
        const struct mot_autonet_step *s = &p->step[i];
        int64_t floats = s->rows * s->C;
        for (int k = 0; k < 3; k++)
            if (s->conv[k].w) {
                const struct mot_conv *c = &s->conv[k].shape;
                a->convs[l->n_conv++] = *c;
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
        p->floats = (size_t)greater((int64_t)p->floats, floats);
    }
}

static int64_t values_in(const struct mot_autonet_program *p)
{
    return p->step[0].rows * p->step[0].C;
}

/* The last step is always a convolution. */
static int64_t values_out(const struct mot_autonet_program *p)
{
    const struct mot_conv *c = &p->step[p->n - 1].conv[0].shape;
    return c->OH * c->OW * c->O;
}

void mot_autonet_init(struct mot_autonet *a)
{
    pthread_mutex_init(&a->lock, NULL);
}

int mot_autonet_finish(struct mot_autonet *a)
{
    a->convs = mot_alloc(3 * (size_t)(a->encoder.n + a->decoder.n), sizeof *a->convs);
    if (!a->convs)
        return MOT_ENOMEM;
    a->limits = (struct mot_limits){.N = 1, .segment = 1, .C = 1, .H = 1, .K = 1, .D = 2, .F = 1, .V = 1, .G = 1,
                                    .conv = a->convs};
    const struct mot_autonet_program *const programs[] = {&a->encoder, &a->decoder};
    for (int i = 0; i < 2; i++)
        if (programs[i]->n)
            a->ends = (size_t)greater((int64_t)a->ends, greater(values_in(programs[i]), values_out(programs[i])));
    measure(a, &a->encoder);
    measure(a, &a->decoder);
    a->kernels = mot_device_find("cpu", "f32");
    return a->kernels ? MOT_OK : MOT_EDEVICE;
}

static void move_weights(const struct mot_keep *k, struct mot_autonet_program *p)
{
    for (int i = 0; i < p->n; i++) {
        struct mot_autonet_step *s = &p->step[i];
        for (int j = 0; j < 2; j++)
            mot_keep_move(k, &s->norm[j].w), mot_keep_move(k, &s->norm[j].b);
        for (int j = 0; j < 3; j++)
            mot_keep_move(k, &s->conv[j].w), mot_keep_move(k, &s->conv[j].b);
    }
}

int mot_autonet_send(struct mot_autonet *a, const struct mot_kernels *k)
{
    int rc = mot_keep_send(&a->keep, k);
    if (rc)
        return rc;
    move_weights(&a->keep, &a->encoder);
    move_weights(&a->keep, &a->decoder);
    a->kernels = k;
    return MOT_OK;
}

static void free_runner(const struct mot_autonet *a, struct mot_autonet_runner *r)
{
    for (int i = 0; r->d && i < 3; i++)
        a->kernels->free(r->d, r->buffer[i]);
    if (r->d)
        a->kernels->close(r->d);
    mot_free(r->host);
    mot_free(r);
}

void mot_autonet_free(struct mot_autonet *a)
{
    while (a->idle) {
        struct mot_autonet_runner *r = a->idle;
        a->idle = r->next;
        free_runner(a, r);
    }
    mot_keep_free(&a->keep);
    mot_free(a->convs);
    pthread_mutex_destroy(&a->lock);
}

/* ---- running ---- */

/* Buffers of so many floats. */
static bool enlarge(const struct mot_kernels *k, struct mot_autonet_runner *r, size_t floats)
{
    if (floats <= r->floats)
        return true;
    r->floats = 0;
    for (int i = 0; i < 3; i++) {
        k->free(r->d, r->buffer[i]);
        r->buffer[i] = k->alloc(r->d, floats * sizeof(float));
        if (!r->buffer[i]) {
            mot_fail(MOT_ENOMEM, "%s: memory is short for pictures, of which each thread has one", k->name);
            return false;
        }
    }
    r->floats = floats;
    return true;
}

/* Workspaces are kept for the next call: as many as there ever were callers at once. */
struct mot_autonet_runner *mot_autonet_borrow(struct mot_autonet *a, const struct mot_autonet_program *p)
{
    int threads = omp_get_max_threads();
    pthread_mutex_lock(&a->lock);
    struct mot_autonet_runner **at = &a->idle;
    while (*at && (*at)->threads != threads)
        at = &(*at)->next;
    struct mot_autonet_runner *r = *at;
    if (r)
        *at = r->next;
    else if ((r = mot_alloc(1, sizeof *r)))
        r->d = mot_net_device(a->kernels, threads, &a->limits);
    pthread_mutex_unlock(&a->lock);
    if (!r)
        return NULL;
    r->threads = threads;
    if (r->d && !r->host)
        r->host = mot_alloc(a->ends, sizeof *r->host);
    if (r->d && r->host && enlarge(a->kernels, r, p->floats))
        return r;
    free_runner(a, r);
    return NULL;
}

void mot_autonet_give_back(struct mot_autonet *a, struct mot_autonet_runner *r)
{
    pthread_mutex_lock(&a->lock);
    r->next = a->idle;
    a->idle = r;
    pthread_mutex_unlock(&a->lock);
}

static void swap(float **a, float **b)
{
    float *t = *a;
    *a = *b;
    *b = t;
}

/* A step from r->buffer[0] to r->buffer[0]. */
static void run_step(const struct mot_kernels *k, struct mot_autonet_runner *r, const struct mot_autonet_step *s)
{
    float **x = &r->buffer[0], **a = &r->buffer[1], **b = &r->buffer[2];
    const struct mot_autonet_conv *c = s->conv;
    const struct mot_autonet_norm *n = s->norm;
    switch (s->kind) {
    case STEP_CONV:
        k->conv2d(r->d, *a, *x, c[0].w, c[0].b, &c[0].shape, 0);
        swap(x, a);
        break;
    case STEP_NORM:
        k->groupnorm(r->d, *x, *x, n[0].w, n[0].b, s->rows, s->C, MOT_AUTONET_GROUPS, EPS, MOT_ACT_SILU);
        break;
    case STEP_BLOCK:
        k->groupnorm(r->d, *a, *x, n[0].w, n[0].b, s->rows, s->C, MOT_AUTONET_GROUPS, EPS, MOT_ACT_SILU);
        k->conv2d(r->d, *b, *a, c[0].w, c[0].b, &c[0].shape, 0);
        k->groupnorm(r->d, *b, *b, n[1].w, n[1].b, s->rows, c[0].shape.O, MOT_AUTONET_GROUPS, EPS, MOT_ACT_SILU);
        if (c[2].w) {
            k->conv2d(r->d, *a, *x, c[2].w, c[2].b, &c[2].shape, 0);
            swap(x, a);
        }
        k->conv2d(r->d, *x, *b, c[1].w, c[1].b, &c[1].shape, 1);
        break;
    case STEP_ATTENTION:
        k->groupnorm(r->d, *a, *x, n[0].w, n[0].b, s->rows, s->C, MOT_AUTONET_GROUPS, EPS, MOT_ACT_NONE);
        k->conv2d(r->d, *b, *a, c[0].w, c[0].b, &c[0].shape, 0);
        k->attend(r->d, *a, *b, s->rows, 1, s->C, 1 / sqrtf((float)s->C));
        k->conv2d(r->d, *x, *a, c[1].w, c[1].b, &c[1].shape, 1);
        break;
    }
}

int mot_autonet_run(const struct mot_autonet *a, struct mot_autonet_runner *r, const struct mot_autonet_program *p)
{
    const struct mot_kernels *k = a->kernels;
    k->write(r->d, r->buffer[0], r->host, (size_t)values_in(p) * sizeof *r->host);
    for (int i = 0; i < p->n; i++)
        run_step(k, r, &p->step[i]);
    k->read(r->d, r->host, r->buffer[0], (size_t)values_out(p) * sizeof *r->host);
    return mot_net_wait(k, r->d);
}

int mot_autonet_encode(struct mot_autonet *a, const struct mot_image *square, struct mot_autonet_runner **r)
{
    *r = NULL;
    if (square->width != a->side || square->height != a->side)
        return mot_fail(MOT_EARG, "a picture of %d x %d, expected %d x %d", square->width, square->height, a->side, a->side);
    struct mot_autonet_runner *mine = mot_autonet_borrow(a, &a->encoder);
    if (!mine)
        return MOT_ENOMEM;
    for (int64_t i = 0; i < 3 * (int64_t)a->side * a->side; i++)
        mine->host[i] = (float)square->rgb[i] / 127.5f - 1;
    int rc = mot_autonet_run(a, mine, &a->encoder);
    if (rc)
        mot_autonet_give_back(a, mine);
    else
        *r = mine;
    return rc;
}
