/* SPDX-License-Identifier: MIT
 *
 * eye.c - pictures as a few numbers each: what a net sees (inception.c), or statistics of a codec's patches, which need no net.
 *
 * These: a picture becomes the codec's square and is cut into the codec's patches of P x P pixels.  Of each patch and channel (red,
 * green, blue, 0 to 255) the lowest coefficients of the two-dimensional cosine transform are taken, those of u + v <= 2 (u, v < P),
 *
 *   c_uv = a_u a_v / P^2  sum_{y,x} p(y, x) cos(pi u (2 y + 1) / 2 P) cos(pi v (2 x + 1) / 2 P),    a_0 = 1, a_k = sqrt 2
 *
 * so that c_00 is the mean and others tell slopes and curves on the same scale.  The picture's features are the mean and then the
 * standard deviation of each over its patches: colours, contrasts and textures, whichever patch they are in.
 */
#include <math.h>

#include "../token/token.h"
#include "eval.h"

enum { LOWEST = 3, CHANNELS = 3 };

struct mot_eye {
    struct mot_inception *net; /* NULL: patches */
    struct mot_tokenizer *t;
    int patch, n; /* coefficients of a channel */
    struct {
        int u, v;
    } at[LOWEST * (LOWEST + 1) / 2];
    double *wave; /* (LOWEST, patch) */
};

static int begin_patches(struct mot_eye *e, struct mot_tokenizer *t)
{
    e->t = t;
    e->patch = mot_tokenizer_patch(t);
    e->wave = e->patch ? mot_alloc(LOWEST * (size_t)e->patch, sizeof *e->wave) : NULL;
    if (!e->wave)
        return e->patch ? MOT_ENOMEM : MOT_EARG;
    for (int u = 0; u < LOWEST; u++)
        for (int x = 0; x < e->patch; x++)
            e->wave[u * e->patch + x] = (u ? sqrt(2) : 1) * cos(acos(-1) * u * (2 * x + 1) / (2 * e->patch)) / e->patch;
    for (int u = 0; u < LOWEST && u < e->patch; u++)
        for (int v = 0; u + v < LOWEST && v < e->patch; v++)
            e->at[e->n].u = u, e->at[e->n++].v = v;
    return MOT_OK;
}

struct mot_eye *mot_eye_open(struct mot_tokenizer *t, const char *inception, int threads)
{
    struct mot_eye *e = mot_alloc(1, sizeof *e);
    if (e && (inception ? !(e->net = mot_inception_open(inception, threads)) : begin_patches(e, t))) {
        mot_eye_close(e);
        return NULL;
    }
    return e;
}

void mot_eye_close(struct mot_eye *e)
{
    if (!e)
        return;
    mot_inception_close(e->net);
    mot_free(e->wave);
    mot_free(e);
}

/* The coefficients of one patch, whose first pixel is at p; row: bytes of a line. */
static void transform(const struct mot_eye *e, const unsigned char *p, size_t row, double *c)
{
    for (int i = 0; i < CHANNELS * e->n; i++) {
        const double *down = e->wave + e->at[i / CHANNELS].u * e->patch, *along = e->wave + e->at[i / CHANNELS].v * e->patch;
        c[i] = 0;
        for (int y = 0; y < e->patch; y++) {
            double sum = 0;
            for (int x = 0; x < e->patch; x++)
                sum += along[x] * p[(size_t)y * row + (size_t)(CHANNELS * x + i % CHANNELS)];
            c[i] += down[y] * sum;
        }
    }
}

static void look(const struct mot_eye *e, const struct mot_image *square, float *feature)
{
    enum { MOST = CHANNELS * LOWEST * (LOWEST + 1) / 2 };
    double c[MOST], mean[MOST] = {0}, spread[MOST] = {0}; /* spread: sums of squares about the mean, Welford's way */
    int n = CHANNELS * e->n, patches = 0;
    size_t row = CHANNELS * (size_t)square->width;
    for (int y = 0; y + e->patch <= square->height; y += e->patch)
        for (int x = 0; x + e->patch <= square->width; x += e->patch) {
            transform(e, square->rgb + (size_t)y * row + CHANNELS * (size_t)x, row, c);
            patches++;
            for (int i = 0; i < n; i++) {
                double off = c[i] - mean[i];
                mean[i] += off / patches;
                spread[i] += off * (c[i] - mean[i]);
            }
        }
    for (int i = 0; i < n; i++) {
        feature[i] = (float)mean[i];
        feature[n + i] = (float)sqrt(spread[i] / patches);
    }
}

int mot_gallery_add(struct mot_gallery *g, struct mot_eye *e, const struct mot_image *im)
{
    struct mot_image square = {0};
    g->d = e->net ? mot_inception_width(e->net) : 2 * CHANNELS * e->n;
    int rc = mot_grow((void **)&g->feature, g->n, &g->capacity, (size_t)g->d * sizeof *g->feature);
    if (!rc && e->net) {
        rc = mot_inception_look(e->net, im, g->feature + g->n * g->d);
    } else if (!rc) {
        rc = mot_tokenizer_prepare_image(e->t, im, &square);
        if (!rc)
            look(e, &square, g->feature + g->n * g->d);
    }
    g->n += !rc;
    mot_image_free(&square);
    return rc;
}

void mot_gallery_free(struct mot_gallery *g)
{
    mot_free(g->feature);
    *g = (struct mot_gallery){0};
}
