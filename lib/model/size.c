/* SPDX-License-Identifier: MIT
 *
 * size.c - what a config costs, before anything is allocated: parameters and floating-point operations.
 */
#include "model.h"

/* A token of modality m uses, of each component, the tower of m; embedding and head are everybody's. */
bool mot_tensor_serves(const struct mot_config *c, const struct mot_tensor *t, int m)
{
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
        if (w->tower < 0)
            s->params_embedding += w->count;
        else
            s->params_tower[w->tower] += w->count;
        /* Every modality's share is the same by construction; the first one's is taken. */
        if (mot_tensor_serves(c, w, 0))
            s->params_active += w->count;
    }
    mot_table_free(&t);
    return MOT_OK;
}

double mot_forward_flops(const struct mot_config *c, int64_t rows, double pairs)
{
    double width = (double)c->hidden_size, layers = (double)c->num_hidden_layers;
    double hd = (double)(c->num_attention_heads * c->head_dim), kd = (double)(c->num_key_value_heads * c->head_dim);
    double matrices = layers * width * (hd + 2 * kd + hd + 3 * (double)c->intermediate_size) +
                      width * (double)c->vocab_size;
    /* Scores and their weighted sum of values: two products of head_dim multiply-adds a head and pair. */
    return 2 * matrices * (double)rows + layers * 2 * 2 * pairs * hd;
}
