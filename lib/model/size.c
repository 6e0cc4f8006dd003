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

size_t mot_memory_total(const struct mot_memory *m)
{
    return m->weights + m->gradients + m->optimizer + m->activations + m->workspace + m->context;
}

/* Of the layers alone. */
static double layer_flops(const struct mot_config *c, const struct mot_rows *r)
{
    double width = (double)c->hidden_size;
    double hd = (double)(c->num_attention_heads * c->head_dim), kd = (double)(c->num_key_value_heads * c->head_dim);
    double layer = width * (hd + 2 * kd + hd + 3 * (double)c->intermediate_size);
    /* Scores and their weighted sum of values: two products of head_dim multiply-adds a head and pair. */
    return (double)c->num_hidden_layers * (2 * layer * (double)r->n + 2 * 2 * r->pairs * hd);
}

double mot_patch_flops(const struct mot_config *c)
{
    double products = 2 * 2 * (double)c->hidden_size * (double)mot_patch_values(c);
    return products + (mot_has_unet(c) ? mot_unet_patch_flops(c) : 0);
}

/* The embedding of its level of noise. */
static double picture_flops(const struct mot_config *c)
{
    double width = (double)c->hidden_size;
    return 2 * width * (MOT_TIME_FEATURES + width) + (mot_has_unet(c) ? mot_unet_picture_flops(c) : 0);
}

double mot_forward_flops(const struct mot_config *c, const struct mot_rows *r)
{
    double width = (double)c->hidden_size;
    double pictures = r->patches ? mot_patch_flops(c) * (double)r->patches + picture_flops(c) * (double)r->pictures : 0;
    return layer_flops(c, r) + 2 * width * (double)c->vocab_size * (double)(r->n - r->patches) + pictures;
}

int mot_recompute_find(const char *name, enum mot_recompute *level)
{
    static const char *const names[] = {"none", "light", "block"};
    for (int i = 0; i < MOT_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *level = (enum mot_recompute)i;
            return MOT_OK;
        }
    return mot_fail(MOT_EARG, "\"%s\": expected none, light or block", name);
}

/* Before the residual stream a layer's last product is not made again, unless a norm follows it. */
double mot_recompute_flops(const struct mot_config *c, const struct mot_rows *r, enum mot_recompute level)
{
    double layers = (double)c->num_hidden_layers;
    if (level != MOT_RECOMPUTE_BLOCK)
        return 0;
    double last = c->norm_post ? 0 : 2 * (double)(c->hidden_size * c->intermediate_size) * (double)r->n;
    return (layers - 1) * (layer_flops(c, r) / layers - last);
}
