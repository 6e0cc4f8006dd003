/* SPDX-License-Identifier: MIT
 *
 * forward.c - the network as a list of kernel calls; backward.c is the same list reversed.
 *
 * One layer, with n = RMSNorm and every weight the token's own tower's (MoT, arXiv 2411.04996):
 *   pre   mid = x + Wo attn(Wqkv n(x));    out = mid + Wdown swiglu(Wgate_up n(mid))
 *   post  mid = x + n(Wo attn(Wqkv x));    out = mid + n(Wdown swiglu(Wgate_up mid))    (Algorithm 1)
 * Rows are in sorted order throughout; rope and attention go to sequence order and back (kernels.h).
 */
#include <math.h>

#include "model.h"

mot_act *mot_residual(const struct mot_model *m, int64_t l)
{
    return l < m->config.num_hidden_layers ? m->layer[l].x : m->final;
}

static void norm(struct mot_model *m, enum mot_component c, int64_t l, enum mot_weight w, mot_act *y, mot_real *rstd,
                 const mot_act *x, const mot_act *residual)
{
    struct mot_group g[MOT_MAX_MODALITIES];
    int n = mot_groups(m, c, l, w, MOT_WEIGHTS, g);
    m->k->rmsnorm(m->d, y, rstd, x, residual, m->params, g, n, m->config.hidden_size,
                  (mot_real)m->config.rms_norm_eps);
}

static void linear(struct mot_model *m, enum mot_component c, int64_t l, enum mot_weight w, enum mot_weight bias,
                   mot_act *y, const mot_act *x, int64_t in, int64_t out, int add)
{
    struct mot_group g[MOT_MAX_MODALITIES];
    int n = mot_groups(m, c, l, w, bias, g);
    m->k->linear(m->d, y, x, m->params, g, n, in, out, add);
}

/* y = residual + W x, where the projection is added in place. */
static void linear_onto(struct mot_model *m, enum mot_component c, int64_t l, enum mot_weight w, enum mot_weight bias,
                        mot_act *y, const mot_act *residual, const mot_act *x, int64_t in)
{
    int64_t width = m->config.hidden_size;
    m->k->copy(m->d, y, residual, (size_t)(m->batch.n * width) * m->k->activation);
    linear(m, c, l, w, bias, y, x, in, width, 1);
}

static void attention_norm(struct mot_model *m, int64_t l)
{
    struct mot_layer *a = &m->layer[l];
    norm(m, MOT_ATTN_NORM, l, MOT_W_ATTN_NORM, a->attn_side, a->attn_rstd, a->x, NULL);
}

static void attention_onto(struct mot_model *m, int64_t l)
{
    struct mot_layer *a = &m->layer[l];
    norm(m, MOT_ATTN_NORM, l, MOT_W_ATTN_NORM, a->mid, a->attn_rstd, a->attn_side, a->x);
}

static void feed_forward_norm(struct mot_model *m, int64_t l)
{
    struct mot_layer *a = &m->layer[l];
    norm(m, MOT_FFN_NORM, l, MOT_W_FFN_NORM, a->ffn_side, a->ffn_rstd, a->mid, NULL);
}

static void attention(struct mot_model *m, int64_t l)
{
    const struct mot_config *c = &m->config;
    struct mot_layer *a = &m->layer[l];
    const struct mot_routed *r = &m->batch;
    int64_t width = c->hidden_size, heads = c->num_attention_heads, kv = c->num_key_value_heads, dim = c->head_dim;
    const mot_act *in = a->x;
    if (!c->norm_post) {
        attention_norm(m, l);
        in = a->attn_side;
    }
    linear(m, MOT_ATTN_QKV, l, MOT_W_Q, MOT_W_Q_BIAS, a->qkv, in, width, (heads + 2 * kv) * dim, 0);
    struct mot_group g[MOT_MAX_MODALITIES];
    int n = mot_groups(m, MOT_QK_NORM, l, c->qk_norm ? MOT_W_Q_NORM : MOT_WEIGHTS, MOT_W_K_NORM, g);
    m->k->rope(m->d, a->q, a->k, a->v, a->qkv, m->params, g, n, r->seq, r->pos, m->cos, m->sin, r->n, heads, kv,
               dim, mot_head_norm(c), mot_head_eps(c));
    mot_real scale = (mot_real)(1 / sqrt((double)dim));
    if (r->grows)
        m->k->remember(m->d, r->piece_past, l, a->k, a->v, r->segments, r->n_segments, r->n, kv, dim);
    if (r->behind)
        m->k->attention_past(m->d, a->o, a->q, r->row_past, l, r->row, r->n, heads, kv, dim, scale);
    else
        m->k->attention(m->d, a->o, a->lse, a->q, a->k, a->v, r->row, r->until, r->segments, r->n_segments, r->n, heads, kv, dim,
                        scale);
    if (!c->norm_post) {
        linear_onto(m, MOT_ATTN_O, l, MOT_W_O, MOT_W_O_BIAS, a->mid, a->x, a->o, heads * dim);
    } else {
        linear(m, MOT_ATTN_O, l, MOT_W_O, MOT_W_O_BIAS, a->attn_side, a->o, heads * dim, width, 0);
        attention_onto(m, l);
    }
}

static void gate_up(struct mot_model *m, int64_t l)
{
    const struct mot_config *c = &m->config;
    struct mot_layer *a = &m->layer[l];
    const mot_act *in = a->mid;
    if (!c->norm_post) {
        feed_forward_norm(m, l);
        in = a->ffn_side;
    }
    linear(m, MOT_FFN, l, MOT_W_GATE, MOT_WEIGHTS, a->gate_up, in, c->hidden_size, 2 * c->intermediate_size, 0);
}

static void feed_forward(struct mot_model *m, int64_t l)
{
    const struct mot_config *c = &m->config;
    struct mot_layer *a = &m->layer[l];
    int64_t width = c->hidden_size, ffn = c->intermediate_size;
    mot_act *out = mot_residual(m, l + 1);
    gate_up(m, l);
    m->k->swiglu(m->d, m->act, a->gate_up, m->batch.n, ffn);
    if (!c->norm_post) {
        linear_onto(m, MOT_FFN, l, MOT_W_DOWN, MOT_WEIGHTS, out, a->mid, m->act, ffn);
    } else {
        linear(m, MOT_FFN, l, MOT_W_DOWN, MOT_WEIGHTS, a->ffn_side, m->act, ffn, width, 0);
        norm(m, MOT_FFN_NORM, l, MOT_W_FFN_NORM, out, a->ffn_rstd, a->ffn_side, a->mid);
    }
}

void mot_again_for_feed_forward(struct mot_model *m, int64_t l)
{
    bool post = m->config.norm_post, last = l == m->config.num_hidden_layers - 1;
    if (m->recompute == MOT_RECOMPUTE_LIGHT && post) {
        attention_onto(m, l);
    } else if (m->recompute == MOT_RECOMPUTE_LIGHT) {
        feed_forward_norm(m, l);
    } else if (m->recompute == MOT_RECOMPUTE_BLOCK && !last) { /* the last layer's arrays are as it left them */
        attention(m, l);
        if (post)
            feed_forward(m, l); /* its norm's input too; what leaves the layer is written again as it was */
        else
            gate_up(m, l);
    }
}

void mot_again_for_attention(struct mot_model *m, int64_t l)
{
    if (m->recompute == MOT_RECOMPUTE_LIGHT && !m->config.norm_post)
        attention_norm(m, l);
}

void mot_forward_layers(struct mot_model *m)
{
    const struct mot_config *c = &m->config;
    m->k->embed(m->d, mot_residual(m, 0), m->params + mot_offset(&m->table, MOT_W_EMBED, 0, 0), m->batch.id,
                m->batch.n, c->hidden_size, c->vocab_size);
    mot_patches_in(m);
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        m->k->mark(m->d, l, 0);
        attention(m, l);
        feed_forward(m, l);
    }
    m->k->mark(m->d, -1, 0);
    norm(m, MOT_FINAL_NORM, 0, MOT_W_FINAL_NORM, m->final_norm, m->final_rstd, m->final, NULL);
}
