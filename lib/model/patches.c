/* SPDX-License-Identifier: MIT
 *
 * patches.c - the way of pictures of vectors into the residual stream and out of it again (Transfusion, arXiv 2408.11039).
 *
 *   in    x = Win patch + bin + time;   time = W2 silu(W1 features + b1) + b2, features those of the picture's level of noise
 *   out   told = Wout final_norm(x) + bout, whose mean squared distance to what was to be told is the row's loss
 * With a U-Net (unet.c) patch is what its way down made of the picture and of time, which is not added then; and told is what
 * its way up makes of Wout final_norm(x) + bout.
 *
 * Patches are the rows of one modality, so in sorted order they lie together, picture after picture: what a batch holds of
 * them is copied as it lies.
 */
#include "model.h"

static struct mot_group group(const struct mot_model *m, int64_t row, int64_t rows, enum mot_weight w, enum mot_weight b)
{
    return (struct mot_group){row, rows, mot_offset(&m->table, w, 0, 0), mot_offset(&m->table, b, 0, 0), 0, 0};
}

/* Rows of patches, in arrays that begin with them. */
static struct mot_group of_patches(const struct mot_model *m, enum mot_weight w, enum mot_weight b)
{
    return group(m, 0, m->batch.n_patches, w, b);
}

/* The batch's patches in activations (N,width). */
static mot_act *patches_of(const struct mot_model *m, mot_act *a, int64_t width)
{
    return mot_rows_of(m, a, m->batch.begin[m->vectors], width);
}

/* The batch's vectors in (N,W). */
static mot_act *vectors_of(const struct mot_model *m, mot_act *a)
{
    return patches_of(m, a, m->config.latent_size[m->vectors]);
}

/* The groups of the way in: the two products of the level's embedding, for each picture, and that of the patches; and what the
 * last one multiplies. */
struct way_in {
    struct mot_group first, second, patches;
    mot_act *in;
};

static struct way_in way_in(const struct mot_model *m)
{
    int64_t n = m->batch.n_pictures;
    return (struct way_in){group(m, 0, n, MOT_W_TIME_1, MOT_W_TIME_1_BIAS), group(m, 0, n, MOT_W_TIME_2, MOT_W_TIME_2_BIAS),
                           of_patches(m, MOT_W_PATCH_IN, MOT_W_PATCH_IN_BIAS),
                           mot_has_unet(&m->config) ? m->unet.block[m->config.unet.blocks - 1].y : vectors_of(m, m->patch_in)};
}

static int check(const struct mot_model *m, const struct mot_batch *b, const struct mot_seen *p)
{
    int64_t rows = 0, width = m->vectors < 0 ? 0 : m->config.latent_size[m->vectors];
    for (int64_t k = 0; k < b->n_pictures; k++) {
        const struct mot_picture *q = &b->picture[k];
        rows += q->n;
        if (q->n < 1 || q->rows < 1 || q->columns < 1 || (int64_t)q->rows * q->columns != q->n)
            return mot_fail(MOT_EARG, "a picture of %lld patches in %d rows of %d", (long long)q->n, q->rows, q->columns);
    }
    if (b->n_pictures == 0)
        return MOT_OK;
    if (m->vectors < 0 || rows * width != b->n_latent || !p)
        return mot_fail(MOT_EARG, "a batch with %lld values of pictures' vectors, where the model has %lld a patch",
                        (long long)b->n_latent, (long long)width);
    if (b->n_pictures > m->pictures)
        return mot_fail(MOT_EARG, "a batch with %lld pictures of vectors where at most %lld were planned: each must take "
                                  "%d tokens with its delimiters on average",
                        (long long)b->n_pictures, (long long)m->pictures, MOT_PICTURE_ROWS);
    return MOT_OK;
}

/* Which keys the patches see, and to which picture sorted rows belong. */
static void fill(struct mot_model *m, const struct mot_batch *b, const struct mot_seen *p)
{
    struct mot_routed *r = &m->batch;
    for (int64_t s = 0; s < b->n; s++)
        r->host_until[s] = (int32_t)s + 1;
    for (int64_t k = 0; k < b->n_pictures; k++) {
        const struct mot_picture *picture = &b->picture[k];
        for (int64_t s = picture->begin; s < picture->begin + picture->n; s++) {
            r->host_until[s] = (int32_t)(picture->begin + picture->n);
            r->host_picture[r->host_row[s]] = (int32_t)k;
            r->host_weight[r->host_row[s]] = (mot_real)p->weight;
        }
        float features[MOT_TIME_FEATURES];
        mot_time_features(p->time[k], features);
        for (int j = 0; j < MOT_TIME_FEATURES; j++)
            r->host_time[k * MOT_TIME_FEATURES + j] = (mot_real)features[j];
    }
}

/* n numbers to the device; host is room for them where a number is no float. */
static void send(struct mot_model *m, mot_real *to, const float *from, int64_t n, mot_real *host)
{
    for (int64_t i = 0; i < n; i++)
        host[i] = (mot_real)from[i];
    m->k->write(m->d, to, host, (size_t)n * sizeof *to);
}

int mot_patches_route(struct mot_model *m, const struct mot_batch *b, const struct mot_seen *p)
{
    struct mot_routed *r = &m->batch;
    int rc = check(m, b, p);
    r->n_pictures = rc ? 0 : b->n_pictures;
    r->n_patches = 0;
    r->until = NULL;
    if (rc || r->n_pictures == 0)
        return rc;
    int k = m->vectors;
    int64_t width = m->config.latent_size[k], row = r->begin[k];
    r->n_patches = r->begin[k + 1] - row;
    if (r->n_patches * width != b->n_latent)
        return mot_fail(MOT_EARG, "a batch with %lld patches outside its pictures",
                        (long long)(r->n_patches - b->n_latent / width));
    fill(m, b, p);
    r->until = r->until_all;
    size_t n = (size_t)b->n;
    m->k->write(m->d, r->until_all, r->host_until, n * sizeof *r->until_all);
    m->k->write(m->d, r->picture + row, r->host_picture + row, (size_t)r->n_patches * sizeof *r->picture);
    m->k->write(m->d, m->time, r->host_time, (size_t)(b->n_pictures * MOT_TIME_FEATURES) * sizeof *m->time);
    send(m, m->patch + row * width, p->x, b->n_latent, r->host_patch);
    if (mot_has_unet(&m->config))
        mot_unet_route(m, b);
    if (p->target)
        send(m, m->patch_target + row * width, p->target, b->n_latent, r->host_target_patch);
    return MOT_OK;
}

/* Rows of patches of the stream that enters the first layer. */
void mot_patches_in(struct mot_model *m)
{
    const struct mot_routed *r = &m->batch;
    const struct mot_kernels *k = m->k;
    int64_t C = m->config.hidden_size, n = r->n_pictures;
    if (n == 0)
        return;
    int64_t width = m->config.latent_size[m->vectors], row = r->begin[m->vectors];
    struct way_in g = way_in(m);
    k->cast(m->d, m->time_in, m->time, 0, n, MOT_TIME_FEATURES);
    k->linear(m->d, m->time_hidden, m->time_in, m->params, &g.first, 1, MOT_TIME_FEATURES, C, 0);
    k->silu(m->d, m->time_act, m->time_hidden, n * C);
    k->linear(m->d, m->time_out, m->time_act, m->params, &g.second, 1, C, C, 0);
    k->cast(m->d, m->patch_in, m->patch, row, r->n_patches, width);
    if (mot_has_unet(&m->config))
        mot_unet_down(m, vectors_of(m, m->patch_in), m->time_out);
    k->linear(m->d, patches_of(m, mot_residual(m, 0), C), g.in, m->params, &g.patches, 1, mot_patch_values(&m->config), C, 0);
    if (!mot_has_unet(&m->config))
        k->spread(m->d, mot_residual(m, 0), m->time_out, r->picture, row, r->n_patches, C);
}

/* What the model tells about the patches, and with loss how far it is off; with dtold also that error's gradient. */
void mot_patches_out(struct mot_model *m, bool loss, bool backward)
{
    const struct mot_routed *r = &m->batch;
    if (r->n_pictures == 0)
        return;
    int64_t width = m->config.latent_size[m->vectors], C = m->config.hidden_size;
    struct mot_group g = of_patches(m, MOT_W_PATCH_OUT, MOT_W_PATCH_OUT_BIAS);
    mot_act *out = mot_has_unet(&m->config) ? m->unet.block[m->config.unet.blocks].x : vectors_of(m, m->patch_out);
    m->k->linear(m->d, out, patches_of(m, m->final_norm, C), m->params, &g, 1, C, mot_patch_values(&m->config), 0);
    if (mot_has_unet(&m->config))
        mot_unet_up(m, vectors_of(m, m->patch_out));
    if (loss)
        m->k->squared_error(m->d, m->nll, backward ? m->dpatch : NULL, m->patch_out, m->patch_target, r->weight,
                            r->begin[m->vectors], r->n_patches, width);
}

/* From dpatch to m->dside, as head_loss leaves it there for the other rows. */
void mot_patches_out_back(struct mot_model *m)
{
    if (m->batch.n_pictures == 0)
        return;
    int64_t C = m->config.hidden_size, values = mot_patch_values(&m->config);
    struct mot_group g = of_patches(m, MOT_W_PATCH_OUT, MOT_W_PATCH_OUT_BIAS);
    const mot_act *dout = vectors_of(m, m->dpatch);
    if (mot_has_unet(&m->config)) {
        mot_unet_up_back(m, dout);
        dout = m->unet.d;
    }
    m->k->linear_back_w(m->d, m->grads, dout, patches_of(m, m->final_norm, C), &g, 1, C, values);
    m->k->linear_back_x(m->d, patches_of(m, m->dside, C), dout, m->params, &g, 1, C, values, 0);
}

/* From m->dx; its rows of patches are zero afterwards, so that they do not reach the embedding. */
void mot_patches_in_back(struct mot_model *m)
{
    const struct mot_routed *r = &m->batch;
    const struct mot_kernels *k = m->k;
    int64_t C = m->config.hidden_size, n = r->n_pictures;
    if (n == 0)
        return;
    int64_t values = mot_patch_values(&m->config), row = r->begin[m->vectors];
    struct way_in g = way_in(m);
    mot_act *dpatches = patches_of(m, m->dx, C);
    k->linear_back_w(m->d, m->grads, dpatches, g.in, &g.patches, 1, values, C);
    if (mot_has_unet(&m->config)) {
        k->linear_back_x(m->d, m->unet.d, dpatches, m->params, &g.patches, 1, values, C, 0);
        mot_unet_down_back(m, m->dtime_out, vectors_of(m, m->patch_in), m->time_out);
    } else {
        k->spread_back(m->d, m->dtime_out, m->dx, r->picture, row, r->n_patches, n, C);
    }
    k->linear_back_w(m->d, m->grads, m->dtime_out, m->time_act, &g.second, 1, C, C);
    k->linear_back_x(m->d, m->dtime_act, m->dtime_out, m->params, &g.second, 1, C, C, 0);
    k->silu_back(m->d, m->dtime_act, m->dtime_act, m->time_hidden, n * C);
    k->linear_back_w(m->d, m->grads, m->dtime_act, m->time_in, &g.first, 1, MOT_TIME_FEATURES, C);
    k->zero(m->d, dpatches, (size_t)(r->n_patches * C) * k->activation);
}

int mot_model_told(struct mot_model *m, float *told)
{
    const struct mot_routed *r = &m->batch;
    int64_t width = m->config.latent_size[m->vectors], row = r->begin[m->vectors], n = r->n_patches * width;
    mot_patches_out(m, false, false);
    m->k->uncast(m->d, m->patch, m->patch_out, row, r->n_patches, width); /* what was in has been taken in */
    m->k->read(m->d, r->host_patch, m->patch + row * width, (size_t)n * sizeof *m->patch);
    if (m->k->sync(m->d))
        return mot_fail(MOT_EDEVICE, "%s: %s", m->k->name, m->k->error(m->d));
    for (int64_t i = 0; i < n; i++)
        told[i] = (float)r->host_patch[i];
    return MOT_OK;
}
