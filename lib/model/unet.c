/* SPDX-License-Identifier: MIT
 *
 * unet.c - the small U-Net around pictures of vectors (Transfusion, arXiv 2408.11039, section 3.1): blocks of convolutions
 * over a picture's pixels on their way into patches, and as many on the way out, which see what the former made.
 *
 *   down  x = conv(pixels);  x = block(x, time), n times;       patches of x go to the stream
 *   up    x = patches from the stream;  x = block(x + S skip, time), n times;   told = conv(silu(norm(x)))
 *   block y = x + conv(silu(norm(conv(silu(norm(x))) + T silu(time))))
 *
 * The i-th block up sees what the i-th last block down left (skip).  Convolutions are of 3 x 3 and leave zeros outside the
 * picture; norm is RMSNorm over a pixel's channels, as everywhere in the model, so that a pixel's value does not depend on
 * the picture's size.  The papers leave all this open; see mot(7).
 *
 * Pixels lie patch after patch, in each row by row, as the vectors have them: patches of U channels are rows of P P U values
 * without anything being moved.  A convolution is a product with the windows around its pixels.
 */
#include "model.h"

enum {
    TAPS = 9,
    TOGETHER = 4096, /* pixels whose windows are made at once, where a convolution only goes forward */
};

/* ---- memory ---- */

/* Values of a pixel. */
static int64_t depth(const struct mot_config *c)
{
    return c->latent_size[mot_vectors_of(c)] / (c->unet.patch * c->unet.patch);
}

void mot_unet_layout(struct mot_model *m, struct mot_carve *c)
{
    struct mot_unet_run *u = &m->unet;
    const struct mot_unet *g = &m->config.unet;
    int64_t n = m->rows * g->patch * g->patch, U = g->channels, in = depth(&m->config), C = m->config.hidden_size;
    size_t act = m->k->activation;
    TAKE(u->near, n, TAPS), TAKE(u->picture, n, 1);
    TAKE_ACT(u->windows, m->train || n < TOGETHER ? n : TOGETHER, TAPS * (U > in ? U : in));
    TAKE_ACT(u->act, n, U), TAKE_ACT(u->time_act, m->pictures, C);
    for (int64_t l = 0; l < 2 * g->blocks; l++) {
        struct mot_resnet *b = &u->block[l];
        if (l > 0 && !m->train) /* only what goes in and out is needed again */
            *b = u->block[0];
        else
            TAKE_ACT(b->norm_1, n, U), TAKE_ACT(b->mid, n, U), TAKE_ACT(b->norm_2, n, U), TAKE(b->rstd_1, n, 1),
                TAKE(b->rstd_2, n, 1), TAKE_ACT(b->time, m->pictures, U);
        b->x = l > 0 ? u->block[l - 1].y : NULL;
        if (l == 0 || l == g->blocks)
            TAKE_ACT(b->x, n, U);
        TAKE_ACT(b->y, n, U);
    }
    TAKE_ACT(u->norm, n, U), TAKE(u->rstd, n, 1);
    if (!m->train)
        return;
    TAKE_ACT(u->d, n, U), TAKE_ACT(u->dact, n, U), TAKE_ACT(u->dtime, m->pictures, U), TAKE_ACT(u->dtime_act, m->pictures, C);
    for (int64_t l = 0; l < g->blocks; l++)
        TAKE_ACT(u->dskip[l], n, U);
}

void mot_unet_layout_host(struct mot_model *m, struct mot_carve *c)
{
    int64_t n = m->rows * m->config.unet.patch * m->config.unet.patch;
    TAKE(m->unet.host_near, n, TAPS), TAKE(m->unet.host_picture, n, 1);
}

int mot_unet_products(const struct mot_config *c, int64_t rows, int64_t pictures, struct mot_product p[MOT_UNET_PRODUCTS])
{
    int64_t n = rows * c->unet.patch * c->unet.patch, U = c->unet.channels;
    p[0] = (struct mot_product){n, TAPS * depth(c), U};
    p[1] = (struct mot_product){n, TAPS * U, U};
    p[2] = (struct mot_product){n, U, U};
    p[3] = (struct mot_product){n, TAPS * U, depth(c)};
    p[4] = (struct mot_product){pictures, c->hidden_size, U};
    return MOT_UNET_PRODUCTS;
}

/* Multiply-adds of a patch, twice; what goes to the stream and comes from it is not counted here. */
double mot_unet_patch_flops(const struct mot_config *c)
{
    double U = (double)c->unet.channels, n = (double)c->unet.blocks, pixels = (double)(c->unet.patch * c->unet.patch);
    return 2 * pixels * (2 * TAPS * (double)depth(c) * U + n * (2 * 2 * TAPS + 1) * U * U);
}

double mot_unet_picture_flops(const struct mot_config *c)
{
    return 2 * 2 * (double)(c->unet.blocks * c->unet.channels * c->hidden_size);
}

/* ---- routing ---- */

/* A picture's pixels, the first of which is number `first`: which lie around which. */
static void fill_near(int32_t *near, int64_t first, const struct mot_picture *picture, int64_t patch)
{
    int64_t height = picture->rows * patch, width = picture->columns * patch;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t own = ((y / patch * picture->columns + x / patch) * patch + y % patch) * patch + x % patch;
            for (int t = 0; t < TAPS; t++) {
                int64_t i = y + t / 3 - 1, j = x + t % 3 - 1;
                int64_t at = ((i / patch * picture->columns + j / patch) * patch + i % patch) * patch + j % patch;
                near[own * TAPS + t] = i < 0 || j < 0 || i >= height || j >= width ? -1 : (int32_t)(first + at);
            }
        }
}

void mot_unet_route(struct mot_model *m, const struct mot_batch *b)
{
    struct mot_unet_run *u = &m->unet;
    int64_t patch = m->config.unet.patch;
    u->pixels = 0;
    for (int64_t k = 0; k < b->n_pictures; k++) {
        int64_t n = b->picture[k].n * patch * patch;
        fill_near(u->host_near + u->pixels * TAPS, u->pixels, &b->picture[k], patch);
        for (int64_t i = 0; i < n; i++)
            u->host_picture[u->pixels + i] = (int32_t)k;
        u->pixels += n;
    }
    m->k->write(m->d, u->near, u->host_near, (size_t)(u->pixels * TAPS) * sizeof *u->near);
    m->k->write(m->d, u->picture, u->host_picture, (size_t)u->pixels * sizeof *u->picture);
}

/* ---- the parts ---- */

static struct mot_group group(const struct mot_model *m, int64_t rows, enum mot_weight w, enum mot_weight b, int64_t l)
{
    return (struct mot_group){0, rows, mot_offset(&m->table, w, l, 0), mot_offset(&m->table, b, l, 0), 0, 0};
}

static void norm(struct mot_model *m, enum mot_weight w, int64_t l, mot_act *y, mot_real *rstd, const mot_act *x)
{
    struct mot_group g = group(m, m->unet.pixels, w, MOT_WEIGHTS, l);
    m->k->rmsnorm(m->d, y, rstd, x, NULL, m->params, &g, 1, m->config.unet.channels, (mot_real)m->config.rms_norm_eps);
}

static void norm_back(struct mot_model *m, enum mot_weight w, int64_t l, mot_act *dx, const mot_act *dy, const mot_act *x,
                      const mot_real *rstd, int add)
{
    struct mot_group g = group(m, m->unet.pixels, w, MOT_WEIGHTS, l);
    m->k->rmsnorm_back(m->d, dx, m->grads, dy, x, rstd, m->params, &g, 1, m->config.unet.channels, add);
}

static void conv(struct mot_model *m, enum mot_weight w, enum mot_weight b, int64_t l, mot_act *y, const mot_act *x, int64_t in,
                 int64_t out, int add)
{
    const struct mot_unet_run *u = &m->unet;
    for (int64_t at = 0; at < u->pixels; at += TOGETHER) {
        int64_t n = u->pixels - at < TOGETHER ? u->pixels - at : TOGETHER;
        struct mot_group g = group(m, n, w, b, l);
        m->k->unfold(m->d, u->windows, x, u->near + at * TAPS, n, in);
        m->k->linear(m->d, mot_rows_of(m, y, at, out), u->windows, m->params, &g, 1, TAPS * in, out, add);
    }
}

/* dx may be dy, or NULL where nobody wants it. */
static void conv_back(struct mot_model *m, enum mot_weight w, enum mot_weight b, int64_t l, mot_act *dx, const mot_act *dy,
                      const mot_act *x, int64_t in, int64_t out)
{
    struct mot_unet_run *u = &m->unet;
    struct mot_group g = group(m, u->pixels, w, b, l);
    m->k->unfold(m->d, u->windows, x, u->near, u->pixels, in);
    m->k->linear_back_w(m->d, m->grads, dy, u->windows, &g, 1, TAPS * in, out);
    if (!dx)
        return;
    m->k->linear_back_x(m->d, u->windows, dy, m->params, &g, 1, TAPS * in, out, 0);
    m->k->unfold_back(m->d, dx, u->windows, u->near, u->pixels, in);
}

static void block(struct mot_model *m, int64_t l)
{
    struct mot_unet_run *u = &m->unet;
    struct mot_resnet *a = &u->block[l];
    int64_t U = m->config.unet.channels, n = u->pixels * U;
    norm(m, MOT_W_RES_NORM_1, l, a->norm_1, a->rstd_1, a->x);
    m->k->silu(m->d, u->act, a->norm_1, n);
    conv(m, MOT_W_RES_CONV_1, MOT_W_RES_CONV_1_BIAS, l, a->mid, u->act, U, U, 0);
    struct mot_group time = group(m, m->batch.n_pictures, MOT_W_RES_TIME, MOT_W_RES_TIME_BIAS, l);
    m->k->linear(m->d, a->time, u->time_act, m->params, &time, 1, m->config.hidden_size, U, 0);
    m->k->spread(m->d, a->mid, a->time, u->picture, 0, u->pixels, U);
    norm(m, MOT_W_RES_NORM_2, l, a->norm_2, a->rstd_2, a->mid);
    m->k->silu(m->d, u->act, a->norm_2, n);
    m->k->copy(m->d, a->y, a->x, (size_t)n * m->k->activation);
    conv(m, MOT_W_RES_CONV_2, MOT_W_RES_CONV_2_BIAS, l, a->y, u->act, U, U, 1);
}

/* u->d, from the gradient of the block's y to that of its x. */
static void block_back(struct mot_model *m, int64_t l)
{
    struct mot_unet_run *u = &m->unet;
    const struct mot_resnet *a = &u->block[l];
    int64_t U = m->config.unet.channels, n = u->pixels * U, C = m->config.hidden_size;
    m->k->silu(m->d, u->act, a->norm_2, n);
    conv_back(m, MOT_W_RES_CONV_2, MOT_W_RES_CONV_2_BIAS, l, u->dact, u->d, u->act, U, U);
    m->k->silu_back(m->d, u->dact, u->dact, a->norm_2, n);
    norm_back(m, MOT_W_RES_NORM_2, l, u->dact, u->dact, a->mid, a->rstd_2, 0);
    struct mot_group time = group(m, m->batch.n_pictures, MOT_W_RES_TIME, MOT_W_RES_TIME_BIAS, l);
    m->k->spread_back(m->d, u->dtime, u->dact, u->picture, 0, u->pixels, m->batch.n_pictures, U);
    m->k->linear_back_w(m->d, m->grads, u->dtime, u->time_act, &time, 1, C, U);
    m->k->linear_back_x(m->d, u->dtime_act, u->dtime, m->params, &time, 1, C, U, 1);
    m->k->silu(m->d, u->act, a->norm_1, n);
    conv_back(m, MOT_W_RES_CONV_1, MOT_W_RES_CONV_1_BIAS, l, u->dact, u->dact, u->act, U, U);
    m->k->silu_back(m->d, u->dact, u->dact, a->norm_1, n);
    norm_back(m, MOT_W_RES_NORM_1, l, u->d, u->dact, a->x, a->rstd_1, 1);
}

/* ---- the ways ---- */

void mot_unet_down(struct mot_model *m, const mot_act *pixels, const mot_act *time)
{
    struct mot_unet_run *u = &m->unet;
    int64_t blocks = m->config.unet.blocks;
    m->k->silu(m->d, u->time_act, time, m->batch.n_pictures * m->config.hidden_size);
    conv(m, MOT_W_CONV_IN, MOT_W_CONV_IN_BIAS, 0, u->block[0].x, pixels, depth(&m->config), m->config.unet.channels, 0);
    for (int64_t l = 0; l < blocks; l++)
        block(m, l);
}

void mot_unet_up(struct mot_model *m, mot_act *told)
{
    struct mot_unet_run *u = &m->unet;
    int64_t blocks = m->config.unet.blocks, U = m->config.unet.channels;
    for (int64_t i = 0; i < blocks; i++) {
        struct mot_group skip = group(m, u->pixels, MOT_W_SKIP, MOT_WEIGHTS, i);
        m->k->linear(m->d, u->block[blocks + i].x, u->block[blocks - 1 - i].y, m->params, &skip, 1, U, U, 1);
        block(m, blocks + i);
    }
    norm(m, MOT_W_NORM_OUT, 0, u->norm, u->rstd, u->block[2 * blocks - 1].y);
    m->k->silu(m->d, u->act, u->norm, u->pixels * U);
    conv(m, MOT_W_CONV_OUT, MOT_W_CONV_OUT_BIAS, 0, told, u->act, U, depth(&m->config), 0);
}

void mot_unet_up_back(struct mot_model *m, const mot_act *dtold)
{
    struct mot_unet_run *u = &m->unet;
    int64_t blocks = m->config.unet.blocks, U = m->config.unet.channels, n = u->pixels * U;
    m->k->zero(m->d, u->dtime_act, (size_t)(m->batch.n_pictures * m->config.hidden_size) * m->k->activation);
    m->k->silu(m->d, u->act, u->norm, n);
    conv_back(m, MOT_W_CONV_OUT, MOT_W_CONV_OUT_BIAS, 0, u->dact, dtold, u->act, U, depth(&m->config));
    m->k->silu_back(m->d, u->dact, u->dact, u->norm, n);
    norm_back(m, MOT_W_NORM_OUT, 0, u->d, u->dact, u->block[2 * blocks - 1].y, u->rstd, 0);
    for (int64_t i = blocks - 1; i >= 0; i--) {
        struct mot_group skip = group(m, u->pixels, MOT_W_SKIP, MOT_WEIGHTS, i);
        block_back(m, blocks + i);
        m->k->linear_back_w(m->d, m->grads, u->d, u->block[blocks - 1 - i].y, &skip, 1, U, U);
        m->k->copy(m->d, u->dskip[i], u->d, (size_t)n * m->k->activation); /* goes on where the skip came from */
    }
}

void mot_unet_down_back(struct mot_model *m, mot_act *dtime, const mot_act *pixels, const mot_act *time)
{
    struct mot_unet_run *u = &m->unet;
    int64_t blocks = m->config.unet.blocks, U = m->config.unet.channels;
    for (int64_t l = blocks - 1; l >= 0; l--) {
        struct mot_group skip = group(m, u->pixels, MOT_W_SKIP, MOT_WEIGHTS, blocks - 1 - l);
        m->k->linear_back_x(m->d, u->d, u->dskip[blocks - 1 - l], m->params, &skip, 1, U, U, 1);
        block_back(m, l);
    }
    conv_back(m, MOT_W_CONV_IN, MOT_W_CONV_IN_BIAS, 0, NULL, u->d, pixels, depth(&m->config), U);
    m->k->silu_back(m->d, dtime, u->dtime_act, time, m->batch.n_pictures * m->config.hidden_size);
}
