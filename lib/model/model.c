/* SPDX-License-Identifier: MIT
 *
 * model.c - a model's memory, its initial weights, and one run over a routed batch.
 *
 * Everything is carved from few blocks measured beforehand: layout(base = NULL) yields the size, layout(base)
 * the pointers, by the same code.  Printing that number before allocating is `mot-train --dry-run`.
 */
#include <math.h>

#include "model.h"

static void layout_batch(struct mot_routed *r, struct mot_carve *c, int64_t rows)
{
    TAKE(r->id, rows, 1), TAKE(r->target, rows, 1), TAKE(r->pos, rows, 1);
    TAKE(r->seq, rows, 1), TAKE(r->row, rows, 1), TAKE(r->weight, rows, 1), TAKE(r->segments, rows, 1);
}

static void layout_growing(struct mot_model *m, struct mot_carve *c)
{
    struct mot_routed *r = &m->batch;
    size_t act = m->k->activation;
    TAKE(r->piece_past, m->sequences, 1), TAKE(r->row_past, m->sequences, 1);
    TAKE_ACT(m->chosen, MOT_FEW, m->config.hidden_size), TAKE(m->logits, MOT_FEW, m->config.vocab_size);
}

static void layout_patches(struct mot_model *m, struct mot_carve *c)
{
    struct mot_routed *r = &m->batch;
    int64_t n = m->rows, width = m->config.latent_size[m->vectors], C = m->config.hidden_size;
    size_t act = m->k->activation;
    TAKE(r->until_all, n, 1), TAKE(r->picture, n, 1);
    TAKE(m->patch, n, width), TAKE(m->patch_target, n, width), TAKE(m->time, m->pictures, MOT_TIME_FEATURES);
    TAKE_ACT(m->patch_in, n, width), TAKE_ACT(m->patch_out, n, width), TAKE_ACT(m->time_in, m->pictures, MOT_TIME_FEATURES);
    TAKE_ACT(m->time_hidden, m->pictures, C), TAKE_ACT(m->time_act, m->pictures, C), TAKE_ACT(m->time_out, m->pictures, C);
    if (!m->train)
        return;
    TAKE_ACT(m->dpatch, n, width), TAKE_ACT(m->dtime_act, m->pictures, C), TAKE_ACT(m->dtime_out, m->pictures, C);
}

static void layout_host(struct mot_model *m, struct mot_carve *c)
{
    struct mot_routed *r = &m->batch;
    int64_t rows = m->rows;
    TAKE(r->host_id, rows, 1), TAKE(r->host_target, rows, 1), TAKE(r->host_pos, rows, 1);
    TAKE(r->host_seq, rows, 1), TAKE(r->host_row, rows, 1), TAKE(r->host_weight, rows, 1);
    TAKE(r->host_segments, rows, 1), TAKE(m->host_nll, rows, 1), TAKE(m->host_lse, rows, 1);
    TAKE(r->host_piece_past, m->sequences, 1), TAKE(r->host_row_past, m->sequences, 1);
    if (m->vectors < 0)
        return;
    int64_t width = m->config.latent_size[m->vectors];
    TAKE(r->host_until, rows, 1), TAKE(r->host_picture, rows, 1), TAKE(r->host_time, m->pictures, MOT_TIME_FEATURES);
    TAKE(r->host_patch, rows, width), TAKE(r->host_target_patch, rows, width);
    if (mot_has_unet(&m->config))
        mot_unet_layout_host(m, c);
}

/* One layer's activations. */
static void layout_layer(struct mot_model *m, struct mot_carve *c, struct mot_layer *a)
{
    const struct mot_config *g = &m->config;
    int64_t n = m->rows, width = g->hidden_size, hd = g->num_attention_heads * g->head_dim;
    int64_t kd = g->num_key_value_heads * g->head_dim;
    size_t act = m->k->activation;
    TAKE_ACT(a->x, n, width), TAKE(a->attn_rstd, n, 1), TAKE(a->ffn_rstd, n, 1);
    TAKE_ACT(a->q, n, hd), TAKE_ACT(a->k, n, kd), TAKE_ACT(a->v, n, kd), TAKE(a->lse, n, g->num_attention_heads);
    TAKE_ACT(a->o, n, hd), TAKE_ACT(a->gate_up, n, 2 * g->intermediate_size);
    bool light = m->recompute == MOT_RECOMPUTE_LIGHT, sides = !light || g->norm_post, mid = !light || !g->norm_post;
    a->attn_side = a->ffn_side = a->mid = m->normed;
    if (sides)
        TAKE_ACT(a->attn_side, n, width), TAKE_ACT(a->ffn_side, n, width);
    if (mid)
        TAKE_ACT(a->mid, n, width);
    a->qkv = m->dqkv; /* doubles as the forward's qkv where no layer needs its own */
    if (g->qk_norm && m->train)
        TAKE_ACT(a->qkv, n, hd + 2 * kd);
}

/* All layers share the first one's arrays when only scoring, and all but x with whole blocks made again. */
static void layout_layers(struct mot_model *m, struct mot_carve *c)
{
    size_t act = m->k->activation;
    layout_layer(m, c, &m->layer[0]);
    for (int64_t l = 1; l < m->config.num_hidden_layers; l++) {
        m->layer[l] = m->layer[0];
        if (m->train && m->recompute == MOT_RECOMPUTE_BLOCK)
            TAKE_ACT(m->layer[l].x, m->rows, m->config.hidden_size);
        else if (m->train)
            layout_layer(m, c, &m->layer[l]);
    }
}

static void layout(struct mot_model *m, struct mot_carve *c)
{
    const struct mot_config *g = &m->config;
    int64_t n = m->rows, width = g->hidden_size, ffn = g->intermediate_size;
    int64_t hd = g->num_attention_heads * g->head_dim, kd = g->num_key_value_heads * g->head_dim;
    size_t act = m->k->activation;
    layout_batch(&m->batch, c, n);
    if (m->sequences)
        layout_growing(m, c);
    if (m->vectors >= 0)
        layout_patches(m, c);
    if (mot_has_unet(&m->config))
        mot_unet_layout(m, c);
    TAKE(m->cos, m->seq, g->head_dim / 2), TAKE(m->sin, m->seq, g->head_dim / 2);
    TAKE_ACT(m->dqkv, n, hd + 2 * kd);
    if (m->recompute == MOT_RECOMPUTE_LIGHT)
        TAKE_ACT(m->normed, n, width);
    layout_layers(m, c);
    TAKE_ACT(m->final, n, width), TAKE_ACT(m->final_norm, n, width), TAKE(m->final_rstd, n, 1);
    TAKE(m->nll, n, 1), TAKE(m->lse, n, 1), TAKE_ACT(m->act, n, ffn);
    if (!m->train)
        return;
    TAKE_ACT(m->dx, n, width), TAKE_ACT(m->dside, n, width);
    TAKE_ACT(m->dgate_up, n, 2 * ffn), TAKE_ACT(m->dact, n, ffn);
    TAKE_ACT(m->dq, n, hd), TAKE_ACT(m->dk, n, kd), TAKE_ACT(m->dv, n, kd), TAKE_ACT(m->dO, n, hd);
}

/* Products that are not a layer's: of patches, and of the U-Net around them. */
enum { PATCH_PRODUCTS = 4 };
struct products {
    struct mot_product p[PATCH_PRODUCTS + MOT_UNET_PRODUCTS];
    int n;
};

static struct products products_of(const struct mot_model *m)
{
    const struct mot_config *c = &m->config;
    if (m->vectors < 0)
        return (struct products){.n = 0};
    int64_t C = c->hidden_size, patch = mot_patch_values(c);
    struct products all = {
        .p = {{m->rows, patch, C}, {m->rows, C, patch}, {m->pictures, MOT_TIME_FEATURES, C}, {m->pictures, C, C}},
        .n = PATCH_PRODUCTS,
    };
    if (mot_has_unet(&m->config))
        all.n += mot_unet_products(c, m->rows, m->pictures, all.p + all.n);
    return all;
}

static struct mot_limits limits_of(const struct mot_model *m, const struct products *p)
{
    const struct mot_config *c = &m->config;
    return (struct mot_limits){
        .N = m->rows, .segment = m->seq, .C = c->hidden_size, .H = c->num_attention_heads,
        .K = c->num_key_value_heads, .D = c->head_dim, .F = c->intermediate_size, .V = c->vocab_size,
        .product = p->p, .n_products = p->n, .norm_C = c->unet.channels,
        .G = c->n_modalities, .sequences = m->sequences, .past = m->sequences ? m->seq : 0, .train = m->train,
        .params = m->params, .values = m->table.values,
    };
}

/* Sizes of everything, with m's config, rows, seq and train set and layer allocated. */
static int measure(struct mot_model *m, struct mot_memory *out, size_t *host)
{
    struct mot_carve device = {0}, own = {0};
    layout(m, &device);
    layout_host(m, &own);
    size_t weights;
    if (device.overflow || own.overflow || !mot_mul((size_t)m->table.values, sizeof(mot_real), &weights))
        return mot_fail(MOT_ENOMEM, "batches of %lld rows of this model do not fit any memory", (long long)m->rows);
    struct products products = products_of(m);
    struct mot_limits limits = limits_of(m, &products);
    *out = (struct mot_memory){
        .weights = weights,
        .gradients = m->train ? weights : 0,
        .optimizer = m->train ? 2 * weights : 0,
        .activations = device.used + own.used,
        .workspace = m->k->workspace(m->d, &limits),
        .context = m->k->beside,
    };
    *host = own.used;
    return MOT_OK;
}

/* Frequency of pair j: theta^(-2j/D), stretched as rope_scaling says.  llama3 leaves wavelengths alone that are short
 * against the original context, divides long ones by factor, and blends between.
 *
 * Frequencies and angles are rounded to float where transformers rounds them: the models of others were trained on those
 * angles, and at position 2000 exact ones are 1e-4 away, which shows in the fourth digit of a token's nll. */
static double frequency(const struct mot_config *c, int64_t j)
{
    const struct mot_rope_scaling *r = &c->rope_scaling;
    float power = (float)pow(c->rope_theta, (double)((float)(2 * j) / (float)c->head_dim));
    double f = (double)(1 / power);
    switch (r->type) {
    case MOT_ROPE_DEFAULT: return f;
    case MOT_ROPE_LINEAR: return f / r->factor;
    case MOT_ROPE_LLAMA3: break;
    }
    double turns = (double)r->original * f / (2 * 3.14159265358979323846); /* over the original context */
    double keep = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    keep = keep < 0 ? 0 : keep > 1 ? 1 : keep;
    return keep * f + (1 - keep) * f / r->factor;
}

/* cos and sin of position p and pair j, as Hugging Face's RoPE. */
static int fill_rope(struct mot_model *m)
{
    int64_t half = m->config.head_dim / 2;
    mot_real *c = mot_alloc((size_t)(m->seq * half), sizeof *c), *s = mot_alloc((size_t)(m->seq * half), sizeof *s);
    if (c && s) {
        for (int64_t p = 0; p < m->seq; p++)
            for (int64_t j = 0; j < half; j++) {
                float angle = (float)p * (float)frequency(&m->config, j);
                c[p * half + j] = (mot_real)cos((double)angle);
                s[p * half + j] = (mot_real)sin((double)angle);
            }
        m->k->write(m->d, m->cos, c, (size_t)(m->seq * half) * sizeof *c);
        m->k->write(m->d, m->sin, s, (size_t)(m->seq * half) * sizeof *s);
    }
    int rc = c && s ? MOT_OK : MOT_ENOMEM;
    mot_free(c);
    mot_free(s);
    return rc;
}

/* Against a batch that is too large, by the options of the programs that make such a model. */
static const char *remedy(const struct mot_model *m)
{
    return m->train       ? "lower --batch or --seq, recompute more, or choose a smaller config"
           : m->sequences ? "lower --batch or --max-tokens"
                          : "lower --context, or --batch and --seq, or choose a smaller config";
}

static int allocate(struct mot_model *m)
{
    struct mot_memory need;
    size_t host;
    int rc = measure(m, &need, &host);
    if (rc)
        return rc;
    m->params = m->k->alloc(m->d, need.weights);
    m->grads = m->train ? m->k->alloc(m->d, need.gradients) : NULL;
    m->block = m->k->alloc(m->d, need.activations - host);
    m->batch.host_id = mot_alloc(host, 1); /* the first of the host arrays: owns their block */
    struct products products = products_of(m);
    struct mot_limits limits = limits_of(m, &products);
    bool taken = m->params && (!m->train || m->grads) && m->block && m->batch.host_id &&
                 m->k->reserve(m->d, &limits) == 0;
    if (!taken && *m->k->error(m->d))
        return mot_fail(MOT_EDEVICE, "%s: %s", m->k->name, m->k->error(m->d));
    if (!taken)
        return mot_fail(MOT_ENOMEM, "memory is short: this model takes %.1f MB (weights %.1f, activations %.1f); %s",
                        (double)mot_memory_total(&need) / 1e6, (double)need.weights / 1e6, (double)need.activations / 1e6,
                        remedy(m));
    m->k->zero(m->d, m->params, need.weights);
    if (m->train)
        m->k->zero(m->d, m->grads, need.gradients);
    struct mot_carve device = {.base = m->block}, own = {.base = (char *)m->batch.host_id};
    layout(m, &device);
    layout_host(m, &own);
    return fill_rope(m);
}

static int plan(struct mot_model *m, const struct mot_config *c, const struct mot_kernels *k, int threads, int64_t rows,
                int64_t seq, bool train, enum mot_recompute recompute)
{
    m->config = *c;
    m->k = k;
    m->rows = rows;
    m->seq = seq < rows || m->sequences ? seq : rows;
    m->train = train;
    m->recompute = train ? recompute : MOT_RECOMPUTE_NONE;
    m->vectors = mot_vectors_of(c);
    m->pictures = m->vectors < 0 ? 0 : rows / MOT_PICTURE_ROWS + 1;
    int64_t pixels = c->unet.patch * c->unet.patch;
    if (mot_has_unet(c) && rows > INT32_MAX / 9 / pixels)
        return mot_fail(MOT_ENOMEM, "batches of %lld rows, each a patch of %lld pixels, are more than the U-Net can take: %s",
                        (long long)rows, (long long)pixels, remedy(m));
    char err[256] = "";
    m->layer = mot_alloc((size_t)c->num_hidden_layers, sizeof *m->layer);
    if (!m->layer)
        return MOT_ENOMEM;
    m->d = k->open(threads, err, sizeof err);
    if (!m->d)
        return mot_fail(MOT_EDEVICE, "cannot start device %s: %s", k->name, err);
    return mot_table_build(&m->table, c);
}

static struct mot_model *new_model(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                   int threads, int64_t rows, int64_t seq, int64_t sequences, bool train,
                                   enum mot_recompute recompute)
{
    struct mot_model *m = mot_alloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->sequences = sequences;
    for (int i = 0; i < c->n_modalities; i++)
        m->first[i] = v->modality[i].first;
    m->first[c->n_modalities] = v->size;
    if (plan(m, c, k, threads, rows, seq, train, recompute) || allocate(m)) {
        mot_model_free(m);
        return NULL;
    }
    return m;
}

struct mot_model *mot_model_new(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                int threads, int64_t rows, int64_t seq, bool train)
{
    return new_model(c, v, k, threads, rows, seq, 0, train, MOT_RECOMPUTE_NONE);
}

struct mot_model *mot_model_new_training(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                         int threads, int64_t rows, int64_t seq, enum mot_recompute recompute)
{
    return new_model(c, v, k, threads, rows, seq, 0, true, recompute);
}

struct mot_model *mot_model_new_growing(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                        int threads, int64_t rows, int64_t context, int64_t sequences)
{
    return new_model(c, v, k, threads, rows, context, sequences, false, MOT_RECOMPUTE_NONE);
}

void mot_model_free(struct mot_model *m)
{
    if (!m)
        return;
    if (m->d) {
        m->k->free(m->d, m->params);
        m->k->free(m->d, m->grads);
        m->k->free(m->d, m->block);
        m->k->close(m->d);
    }
    mot_free(m->batch.host_id);
    mot_free(m->layer);
    mot_table_free(&m->table);
    mot_free(m);
}

int mot_model_plan(const struct mot_config *c, const struct mot_kernels *k, int64_t rows, int64_t seq, bool train,
                   enum mot_recompute recompute, int threads, struct mot_memory *out)
{
    struct mot_model m = {0};
    size_t host;
    int rc = plan(&m, c, k, threads, rows, seq, train, recompute);
    if (!rc)
        rc = measure(&m, out, &host);
    if (m.d)
        k->close(m.d);
    mot_free(m.layer);
    mot_table_free(&m.table);
    return rc;
}

float mot_initial(const struct mot_config *c, const struct mot_tensor *t, uint64_t seed, uint64_t stream, int64_t j)
{
    double range = c->initializer_range;
    switch (t->weight) {
    case MOT_W_Q_NORM: case MOT_W_K_NORM: case MOT_W_ATTN_NORM: case MOT_W_FFN_NORM: case MOT_W_FINAL_NORM:
    case MOT_W_RES_NORM_1: case MOT_W_RES_NORM_2: case MOT_W_NORM_OUT: return 1;
    /* What is told begins at 0, the best guess without knowing anything, as in DiT and BAGEL; a block begins as the identity. */
    case MOT_W_PATCH_OUT:
        if (!mot_has_unet(c))
            return 0;
        break;
    case MOT_W_CONV_OUT: case MOT_W_RES_CONV_2: return 0;
    case MOT_W_CONV_IN: case MOT_W_RES_CONV_1: case MOT_W_SKIP: range = 1 / sqrt((double)t->shape[1]); break;
    default: break;
    }
    return mot_is_matrix(t) ? (float)(range * mot_random_normal(seed, stream, (uint64_t)j)) : 0;
}

enum mot_head_norm mot_head_norm(const struct mot_config *c)
{
    return c->qk_norm == MOT_QK_LAYER ? MOT_HEAD_LAYER : MOT_HEAD_RMS;
}

mot_real mot_head_eps(const struct mot_config *c)
{
    return (mot_real)(c->qk_norm == MOT_QK_LAYER ? 1e-5 : c->rms_norm_eps);
}

int mot_model_init(struct mot_model *m, uint64_t seed)
{
    for (int64_t i = 0; i < m->table.n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        mot_real *w = mot_alloc((size_t)t->count, sizeof *w);
        if (!w)
            return MOT_ENOMEM;
        uint64_t stream = mot_stream(t->name);
#pragma omp parallel for
        for (int64_t j = 0; j < t->count; j++)
            w[j] = mot_initial(&m->config, t, seed, stream, j);
        m->k->write(m->d, m->params + t->offset, w, (size_t)t->count * sizeof *w);
        mot_free(w);
    }
    return MOT_OK;
}

/* Next-token losses of rows [row, row + rows). */
static void head_loss(struct mot_model *m, int64_t row, int64_t rows, bool backward)
{
    const struct mot_config *c = &m->config;
    int64_t C = c->hidden_size, at = mot_offset(&m->table, c->tie_word_embeddings ? MOT_W_EMBED : MOT_W_HEAD, 0, 0);
    /* The id that stands for a patch is never predicted: where it is the last one, the softmax is over the others. */
    int64_t ids = m->vectors == c->n_modalities - 1 ? m->first[m->vectors] : c->vocab_size;
    m->k->head_loss(m->d, m->nll + row, m->lse + row, backward ? mot_rows_of(m, m->dside, row, C) : NULL,
                    backward ? m->grads + at : NULL, mot_rows_of(m, m->final_norm, row, C), m->params + at,
                    m->batch.target + row, m->batch.weight + row, (mot_real)c->z_loss, rows, C, ids);
}

/* All that the calls of a run depend on and that changes from batch to batch.  The device was told of the segments; and
 * where it takes any mix begin tells it no more, unless there are patches, which are worked on by rows. */
struct run_key {
    int64_t n, n_pictures, n_patches, begin[MOT_MAX_MODALITIES + 1];
    int64_t backward, until;
};

static struct run_key key_of(const struct mot_model *m, bool backward)
{
    const struct mot_routed *r = &m->batch;
    struct run_key k = {.n = r->n, .n_pictures = r->n_pictures, .n_patches = r->n_patches, .backward = backward,
                        .until = r->until != NULL};
    if (!r->any_mix || r->n_pictures > 0)
        memcpy(k.begin, r->begin, (size_t)(m->config.n_modalities + 1) * sizeof *r->begin);
    return k;
}

static void run(struct mot_model *m, bool backward)
{
    int64_t n = m->batch.n, patches = m->batch.n_patches, before = patches ? m->batch.begin[m->vectors] : n;
    mot_forward_layers(m);
    head_loss(m, 0, before, backward);
    if (n > before + patches)
        head_loss(m, before + patches, n - before - patches, backward);
    mot_patches_out(m, true, backward);
    if (backward) {
        mot_patches_out_back(m);
        mot_backward_layers(m);
    }
}

void mot_model_start(struct mot_model *m, bool backward)
{
    int64_t n = m->batch.n;
    struct run_key key = key_of(m, backward);
    if (!m->k->repeat(m->d, &key, sizeof key))
        do
            run(m, backward);
        while (m->k->repeated(m->d));
    m->k->collect(m->d, m->host_nll, m->nll, (size_t)n * sizeof *m->nll);
    m->k->collect(m->d, m->host_lse, m->lse, (size_t)n * sizeof *m->lse);
}

int mot_model_wait(struct mot_model *m)
{
    if (m->k->sync(m->d))
        return mot_fail(MOT_EDEVICE, "%s: %s", m->k->name, m->k->error(m->d));
    return MOT_OK;
}

int mot_model_run(struct mot_model *m, bool backward)
{
    mot_model_start(m, backward);
    return mot_model_wait(m);
}
