/* SPDX-License-Identifier: MIT
 *
 * size.c - what a config costs, before anything is allocated: parameters and floating-point operations.
 */
#include "model.h"

/* A token of modality m uses, of each component, the tower of m; embedding and head are those of ids, what takes patches in
 * and out those of vectors. */
bool mot_tensor_serves(const struct mot_config *c, const struct mot_tensor *t, int m)
{
    if (t->weight >= MOT_W_PATCH_IN)
        return c->latent_size[m] > 0;
    return t->tower < 0 || c->tower_of[t->component][m] == t->tower;
}

int mot_config_size(const struct mot_config *c, struct mot_size *s)
{
    *s = (struct mot_size){0};
    struct mot_table t;
    int rc = mot_table_build(&t, c);
    if (rc)
        return rc;
    for (int64_t i = 0; i < t.n; i++) {
        const struct mot_tensor *w = &t.tensor[i];
        s->params_total += w->count;
        if (mot_is_matrix(w))
            s->params_matrices += w->count;
        if (w->weight == MOT_W_EMBED || w->weight == MOT_W_HEAD)
            s->params_embedding += w->count;
        else if (w->tower >= 0)
            s->params_tower[w->tower] += w->count;
        /* Every modality's share is the same by construction; the first one's is taken. */
        if (mot_tensor_serves(c, w, 0))
            s->params_active += w->count;
    }
    mot_table_free(&t);
    return MOT_OK;
}

double mot_forward_flops(const struct mot_config *c, const struct mot_rows *r)
{
    double width = (double)c->hidden_size, layers = (double)c->num_hidden_layers;
    double hd = (double)(c->num_attention_heads * c->head_dim), kd = (double)(c->num_key_value_heads * c->head_dim);
    double layer = width * (hd + 2 * kd + hd + 3 * (double)c->intermediate_size);
    int k = mot_vectors_of(c);
    double patch = k < 0 ? 0 : 2 * width * (double)c->latent_size[k];
    double matrices = layers * layer * (double)r->n + width * (double)c->vocab_size * (double)(r->n - r->patches) +
                      patch * (double)r->patches + width * (MOT_TIME_FEATURES + width) * (double)r->pictures;
    /* Scores and their weighted sum of values: two products of head_dim multiply-adds a head and pair. */
    return 2 * matrices + layers * 2 * 2 * r->pairs * hd;
}
