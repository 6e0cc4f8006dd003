/* SPDX-License-Identifier: MIT
 *
 * backward.c - forward.c's list reversed: m->dx holds the gradient of the residual stream and travels from
 * the last layer to the embedding.  Gradients of weights are added to m->grads.
 *
 * swiglu's output is recomputed rather than kept (one cheap pass against N*F values a layer); more, where m->recompute
 * says so, by forward.c.
 */
#include <math.h>

#include "model.h"

/* dx (+)= gradient through the norm whose input was x; dx = dy is allowed when not adding. */
static void norm_back(struct mot_model *m, enum mot_component c, int64_t l, enum mot_weight w, mot_act *dx,
                      const mot_act *dy, const mot_act *x, const mot_real *rstd, int add)
{
    struct mot_group g[MOT_MAX_MODALITIES];
    int n = mot_groups(m, c, l, w, MOT_WEIGHTS, g);
    m->k->rmsnorm_back(m->d, dx, m->grads, dy, x, rstd, m->params, g, n, m->config.hidden_size, add);
}

/* dx (+)= dy W and dW += dy^T x, db += sums of dy. */
static void linear_back(struct mot_model *m, enum mot_component c, int64_t l, enum mot_weight w, enum mot_weight bias,
                        mot_act *dx, const mot_act *dy, const mot_act *x, int64_t in, int64_t out, int add)
{
    struct mot_group g[MOT_MAX_MODALITIES];
    int n = mot_groups(m, c, l, w, bias, g);
    m->k->linear_back_w(m->d, m->grads, dy, x, g, n, in, out);
    m->k->linear_back_x(m->d, dx, dy, m->params, g, n, in, out, add);
}

static void feed_forward_back(struct mot_model *m, int64_t l)
{
    const struct mot_config *c = &m->config;
    struct mot_layer *a = &m->layer[l];
    int64_t width = c->hidden_size, ffn = c->intermediate_size;
    const mot_act *dout = m->dx;
    if (c->norm_post) {
        norm_back(m, MOT_FFN_NORM, l, MOT_W_FFN_NORM, m->dside, m->dx, a->ffn_side, a->ffn_rstd, 0);
        dout = m->dside;
    }
    m->k->swiglu(m->d, m->act, a->gate_up, m->batch.n, ffn);
    linear_back(m, MOT_FFN, l, MOT_W_DOWN, MOT_WEIGHTS, m->dact, dout, m->act, ffn, width, 0);
    m->k->swiglu_back(m->d, m->dgate_up, m->dact, a->gate_up, m->batch.n, ffn);
    if (c->norm_post) {
        linear_back(m, MOT_FFN, l, MOT_W_GATE, MOT_WEIGHTS, m->dx, m->dgate_up, a->mid, width, 2 * ffn, 1);
    } else {
        linear_back(m, MOT_FFN, l, MOT_W_GATE, MOT_WEIGHTS, m->dside, m->dgate_up, a->ffn_side, width, 2 * ffn, 0);
        norm_back(m, MOT_FFN_NORM, l, MOT_W_FFN_NORM, m->dx, m->dside, a->mid, a->ffn_rstd, 1);
    }
}

static void attention_back(struct mot_model *m, int64_t l)
{
    const struct mot_config *c = &m->config;
    struct mot_layer *a = &m->layer[l];
    const struct mot_routed *r = &m->batch;
    int64_t width = c->hidden_size, heads = c->num_attention_heads, kv = c->num_key_value_heads, dim = c->head_dim;
    const mot_act *dout = m->dx;
    if (c->norm_post) {
        norm_back(m, MOT_ATTN_NORM, l, MOT_W_ATTN_NORM, m->dside, m->dx, a->attn_side, a->attn_rstd, 0);
        dout = m->dside;
    }
    linear_back(m, MOT_ATTN_O, l, MOT_W_O, MOT_W_O_BIAS, m->dO, dout, a->o, heads * dim, width, 0);
    m->k->attention_back(m->d, m->dq, m->dk, m->dv, m->dO, a->o, a->lse, a->q, a->k, a->v, r->row, r->until,
                         r->segments, r->n_segments, r->n, heads, kv, dim, (mot_real)(1 / sqrt((double)dim)));
    struct mot_group g[MOT_MAX_MODALITIES];
    int n = mot_groups(m, MOT_QK_NORM, l, c->qk_norm ? MOT_W_Q_NORM : MOT_WEIGHTS, MOT_W_K_NORM, g);
    m->k->rope_back(m->d, m->dqkv, m->grads, m->dq, m->dk, m->dv, c->qk_norm ? a->qkv : NULL, m->params, g, n,
                    r->seq, r->pos, m->cos, m->sin, r->n, heads, kv, dim, mot_head_norm(c),
                    mot_head_eps(c));
    int64_t out = (heads + 2 * kv) * dim;
    if (c->norm_post) {
        linear_back(m, MOT_ATTN_QKV, l, MOT_W_Q, MOT_W_Q_BIAS, m->dx, m->dqkv, a->x, width, out, 1);
    } else {
        linear_back(m, MOT_ATTN_QKV, l, MOT_W_Q, MOT_W_Q_BIAS, m->dside, m->dqkv, a->attn_side, width, out, 0);
        norm_back(m, MOT_ATTN_NORM, l, MOT_W_ATTN_NORM, m->dx, m->dside, a->x, a->attn_rstd, 1);
    }
}

/* m->dside holds the gradient of the final norm's output, left there by head_loss and mot_patches_out_back. */
void mot_backward_layers(struct mot_model *m)
{
    const struct mot_config *c = &m->config;
    m->k->mark(m->d, -1, 1);
    norm_back(m, MOT_FINAL_NORM, 0, MOT_W_FINAL_NORM, m->dx, m->dside, m->final, m->final_rstd, 0);
    for (int64_t l = c->num_hidden_layers - 1; l >= 0; l--) {
        m->k->mark(m->d, l, 1);
        mot_again_for_feed_forward(m, l);
        feed_forward_back(m, l);
        mot_again_for_attention(m, l);
        attention_back(m, l);
    }
    m->k->mark(m->d, -1, 1);
    mot_patches_in_back(m);
    m->k->embed_back(m->d, m->grads + mot_offset(&m->table, MOT_W_EMBED, 0, 0), m->dx, m->batch.id, m->batch.n,
                     c->hidden_size, c->vocab_size);
}
