/* SPDX-License-Identifier: MIT
 *
 * table.c - THE tensor table: which tensors a config has, their names, shapes and places in the block.
 *
 * Initialisation, loading, saving, the optimizer, conversion and the sizes printed before anything is
 * allocated all walk this one table; nobody lists tensors twice.
 *
 * Order in the block: embedding, head, what takes patches in and out (by BAGEL's names, the U-Net by those of
 * diffusers); then a tower after the other, its matrices layer by layer, its vectors, its final norm.  So [Wq|Wk|Wv]
 * and [Wgate|Wup] are each one matrix, biases of q, k, v one vector, and what one tower decays is one stretch.  A stretch
 * that a kernel sees as one begins at a multiple of 16 values (a cache line); the gaps stay zero.
 */
#include "model.h"

enum place { SHARED, BLOCK, SKIP, MATRIX, VECTOR, LAST }; /* BLOCK: of the U-Net; SKIP: of half of them */
enum size { ONE, C, H, K, HD, KD, D, F, V, W, TIME, U, PIXEL, U_TAPS, PIXEL_TAPS }; /* dimensions by name; see size_of */
enum when { ALWAYS, QKV_BIAS, O_BIAS, QK_RMS, QK_LAYER, UNTIED, VECTORS, UNET };

/* A row a tensor.  In a name, # is where the layer's number goes and % the tower's suffix ("" or "_image"). */
static const struct row {
    enum mot_weight weight;
    const char *name;
    enum place place;
    enum mot_component component;
    enum size shape[2];
    enum when when;
    bool follows; /* lies right behind the row before: the kernels see both as one */
} rows[] = {
    {MOT_W_EMBED, "model.embed_tokens.weight", SHARED, 0, {V, C}, ALWAYS, false},
    {MOT_W_Q, "model.layers.#.self_attn.q_proj%.weight", MATRIX, MOT_ATTN_QKV, {HD, C}, ALWAYS, false},
    {MOT_W_K, "model.layers.#.self_attn.k_proj%.weight", MATRIX, MOT_ATTN_QKV, {KD, C}, ALWAYS, true},
    {MOT_W_V, "model.layers.#.self_attn.v_proj%.weight", MATRIX, MOT_ATTN_QKV, {KD, C}, ALWAYS, true},
    {MOT_W_O, "model.layers.#.self_attn.o_proj%.weight", MATRIX, MOT_ATTN_O, {C, HD}, ALWAYS, false},
    {MOT_W_GATE, "model.layers.#.mlp%.gate_proj.weight", MATRIX, MOT_FFN, {F, C}, ALWAYS, false},
    {MOT_W_UP, "model.layers.#.mlp%.up_proj.weight", MATRIX, MOT_FFN, {F, C}, ALWAYS, true},
    {MOT_W_DOWN, "model.layers.#.mlp%.down_proj.weight", MATRIX, MOT_FFN, {C, F}, ALWAYS, false},
    {MOT_W_Q_BIAS, "model.layers.#.self_attn.q_proj%.bias", VECTOR, MOT_ATTN_QKV, {HD, ONE}, QKV_BIAS, false},
    {MOT_W_K_BIAS, "model.layers.#.self_attn.k_proj%.bias", VECTOR, MOT_ATTN_QKV, {KD, ONE}, QKV_BIAS, true},
    {MOT_W_V_BIAS, "model.layers.#.self_attn.v_proj%.bias", VECTOR, MOT_ATTN_QKV, {KD, ONE}, QKV_BIAS, true},
    {MOT_W_O_BIAS, "model.layers.#.self_attn.o_proj%.bias", VECTOR, MOT_ATTN_O, {C, ONE}, O_BIAS, false},
    {MOT_W_Q_NORM, "model.layers.#.self_attn.q_norm%.weight", VECTOR, MOT_QK_NORM, {D, ONE}, QK_RMS, false},
    {MOT_W_K_NORM, "model.layers.#.self_attn.k_norm%.weight", VECTOR, MOT_QK_NORM, {D, ONE}, QK_RMS, false},
    {MOT_W_Q_NORM, "model.layers.#.self_attn.q_norm%.weight", VECTOR, MOT_QK_NORM, {H, D}, QK_LAYER, false},
    {MOT_W_Q_NORM_BIAS, "model.layers.#.self_attn.q_norm%.bias", VECTOR, MOT_QK_NORM, {H, D}, QK_LAYER, true},
    {MOT_W_K_NORM, "model.layers.#.self_attn.k_norm%.weight", VECTOR, MOT_QK_NORM, {K, D}, QK_LAYER, false},
    {MOT_W_K_NORM_BIAS, "model.layers.#.self_attn.k_norm%.bias", VECTOR, MOT_QK_NORM, {K, D}, QK_LAYER, true},
    {MOT_W_ATTN_NORM, "model.layers.#.input_layernorm%.weight", VECTOR, MOT_ATTN_NORM, {C, ONE}, ALWAYS, false},
    {MOT_W_FFN_NORM, "model.layers.#.post_attention_layernorm%.weight", VECTOR, MOT_FFN_NORM, {C, ONE}, ALWAYS, false},
    {MOT_W_FINAL_NORM, "model.norm%.weight", LAST, MOT_FINAL_NORM, {C, ONE}, ALWAYS, false},
    {MOT_W_HEAD, "lm_head.weight", SHARED, 0, {V, C}, UNTIED, false},
    {MOT_W_PATCH_IN, "vae2llm.weight", SHARED, 0, {C, W}, VECTORS, false},
    {MOT_W_PATCH_IN_BIAS, "vae2llm.bias", SHARED, 0, {C, ONE}, VECTORS, false},
    {MOT_W_PATCH_OUT, "llm2vae.weight", SHARED, 0, {W, C}, VECTORS, false},
    {MOT_W_PATCH_OUT_BIAS, "llm2vae.bias", SHARED, 0, {W, ONE}, VECTORS, false},
    {MOT_W_TIME_1, "time_embedder.mlp.0.weight", SHARED, 0, {C, TIME}, VECTORS, false},
    {MOT_W_TIME_1_BIAS, "time_embedder.mlp.0.bias", SHARED, 0, {C, ONE}, VECTORS, false},
    {MOT_W_TIME_2, "time_embedder.mlp.2.weight", SHARED, 0, {C, C}, VECTORS, false},
    {MOT_W_TIME_2_BIAS, "time_embedder.mlp.2.bias", SHARED, 0, {C, ONE}, VECTORS, false},
    {MOT_W_CONV_IN, "unet.conv_in.weight", SHARED, 0, {U, PIXEL_TAPS}, UNET, false},
    {MOT_W_CONV_IN_BIAS, "unet.conv_in.bias", SHARED, 0, {U, ONE}, UNET, false},
    {MOT_W_NORM_OUT, "unet.norm_out.weight", SHARED, 0, {U, ONE}, UNET, false},
    {MOT_W_CONV_OUT, "unet.conv_out.weight", SHARED, 0, {PIXEL, U_TAPS}, UNET, false},
    {MOT_W_CONV_OUT_BIAS, "unet.conv_out.bias", SHARED, 0, {PIXEL, ONE}, UNET, false},
    {MOT_W_RES_NORM_1, "unet.resnets.#.norm1.weight", BLOCK, 0, {U, ONE}, UNET, false},
    {MOT_W_RES_CONV_1, "unet.resnets.#.conv1.weight", BLOCK, 0, {U, U_TAPS}, UNET, false},
    {MOT_W_RES_CONV_1_BIAS, "unet.resnets.#.conv1.bias", BLOCK, 0, {U, ONE}, UNET, false},
    {MOT_W_RES_TIME, "unet.resnets.#.time_emb_proj.weight", BLOCK, 0, {U, C}, UNET, false},
    {MOT_W_RES_TIME_BIAS, "unet.resnets.#.time_emb_proj.bias", BLOCK, 0, {U, ONE}, UNET, false},
    {MOT_W_RES_NORM_2, "unet.resnets.#.norm2.weight", BLOCK, 0, {U, ONE}, UNET, false},
    {MOT_W_RES_CONV_2, "unet.resnets.#.conv2.weight", BLOCK, 0, {U, U_TAPS}, UNET, false},
    {MOT_W_RES_CONV_2_BIAS, "unet.resnets.#.conv2.bias", BLOCK, 0, {U, ONE}, UNET, false},
    {MOT_W_SKIP, "unet.skips.#.weight", SKIP, 0, {U, U}, UNET, false},
};

static int64_t size_of(const struct mot_config *c, enum size s)
{
    switch (s) {
    case ONE: return 1;
    case C: return c->hidden_size;
    case H: return c->num_attention_heads;
    case K: return c->num_key_value_heads;
    case HD: return c->num_attention_heads * c->head_dim;
    case KD: return c->num_key_value_heads * c->head_dim;
    case D: return c->head_dim;
    case F: return c->intermediate_size;
    case V: return c->vocab_size;
    case W: return mot_patch_values(c);
    case TIME: return MOT_TIME_FEATURES;
    case U: return c->unet.channels;
    case PIXEL: return c->latent_size[mot_vectors_of(c)] / (c->unet.patch * c->unet.patch);
    case U_TAPS: return 9 * size_of(c, U);
    case PIXEL_TAPS: return 9 * size_of(c, PIXEL);
    }
    return 0;
}

static bool wanted(const struct mot_config *c, enum when w)
{
    switch (w) {
    case ALWAYS: return true;
    case QKV_BIAS: return c->attention_bias;
    case O_BIAS: return c->attention_out_bias;
    case QK_RMS: return c->qk_norm == MOT_QK_RMS;
    case QK_LAYER: return c->qk_norm == MOT_QK_LAYER;
    case UNTIED: return !c->tie_word_embeddings;
    case VECTORS: return mot_vectors_of(c) >= 0;
    case UNET: return mot_has_unet(c);
    }
    return false;
}

static bool tower_used(const struct mot_config *c, enum mot_component k, int tower)
{
    for (int m = 0; m < c->n_modalities; m++)
        if (c->tower_of[k][m] == tower)
            return true;
    return false;
}

static int64_t index_of(const struct mot_table *t, enum mot_weight w, int64_t layer, int tower)
{
    return (layer * MOT_WEIGHTS + (int64_t)w) * t->n_towers + tower;
}

const char *mot_weight_pattern(enum mot_weight w)
{
    int i = 0;
    while (rows[i].weight != w)
        i++;
    return rows[i].name;
}

char *mot_weight_name(const char *pattern, int64_t layer, const char *tower)
{
    struct mot_bytes b = {0};
    int rc = MOT_OK;
    for (const char *p = pattern; !rc && *p;) {
        size_t n = strcspn(p, "#%");
        rc = n > 0       ? mot_bytes_append(&b, p, n)
             : *p == '#' ? mot_bytes_format(&b, "%lld", (long long)layer)
                         : mot_bytes_format(&b, "%s", tower);
        p += n > 0 ? n : 1;
    }
    char *name = rc ? NULL : mot_strndup(b.n ? (const char *)b.data : "", b.n);
    mot_bytes_free(&b);
    return name;
}

/* Sizes of one tensor fit easily (2^20 x 2^31); the sum over thousands of layers is checked. */
enum { MAX_VALUES_LOG2 = 55 };

static int add(struct mot_table *t, int64_t *capacity, const struct mot_config *c, const struct row *r,
               int64_t layer, int tower)
{
    int rc = mot_grow((void **)&t->tensor, t->n, capacity, sizeof *t->tensor);
    if (rc)
        return rc;
    bool shared = r->place < MATRIX, layered = r->place != SHARED && r->place != LAST;
    char suffix[MOT_NAME_BYTES + 1] = "";
    if (!shared && tower > 0)
        snprintf(suffix, sizeof suffix, "_%s", c->tower[tower]);
    int64_t count = size_of(c, r->shape[0]) * size_of(c, r->shape[1]);
    int64_t offset = r->follows ? t->values : (t->values + 15) / 16 * 16;
    if (count >> MAX_VALUES_LOG2 || offset >> MAX_VALUES_LOG2)
        return mot_fail(MOT_EFORMAT, "this configuration has more than 2^%d weights", MAX_VALUES_LOG2);
    t->tensor[t->n] = (struct mot_tensor){
        .name = mot_weight_name(r->name, layer, suffix),
        .weight = r->weight,
        .component = r->component,
        .layer = layered ? (int)layer : -1,
        .tower = shared ? -1 : tower,
        .rank = r->shape[1] == ONE ? 1 : 2,
        .shape = {size_of(c, r->shape[0]), size_of(c, r->shape[1])},
        .offset = offset,
        .count = count,
    };
    if (!t->tensor[t->n].name)
        return MOT_ENOMEM;
    t->at[index_of(t, r->weight, layer, tower)] = t->n;
    t->values = offset + count;
    t->n++;
    return MOT_OK;
}

static int add_all(struct mot_table *t, int64_t *capacity, const struct mot_config *c, enum place place, int64_t layer,
                   int tower)
{
    for (int i = 0; i < MOT_COUNT(rows); i++) {
        const struct row *r = &rows[i];
        if (r->place != place || !wanted(c, r->when) || (place >= MATRIX && !tower_used(c, r->component, tower)))
            continue;
        int rc = add(t, capacity, c, r, layer, tower);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

/* How many times each row of a place is there. */
static int64_t times(const struct mot_config *c, enum place place)
{
    int64_t blocks = mot_has_unet(c) ? c->unet.blocks : 0;
    switch (place) {
    case SHARED: case LAST: return 1;
    case BLOCK: return 2 * blocks;
    case SKIP: return blocks;
    case MATRIX: case VECTOR: break;
    }
    return c->num_hidden_layers;
}

int mot_table_build(struct mot_table *t, const struct mot_config *c)
{
    *t = (struct mot_table){.n_towers = c->n_towers};
    t->layers = times(c, MATRIX) > times(c, BLOCK) ? times(c, MATRIX) : times(c, BLOCK);
    int64_t cells = t->layers * MOT_WEIGHTS * c->n_towers, capacity = 0;
    t->at = mot_alloc((size_t)cells, sizeof *t->at);
    int rc = t->at ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < cells; i++)
        t->at[i] = -1;
    for (int place = SHARED; place < MATRIX && !rc; place++)
        for (int64_t l = 0; l < times(c, (enum place)place) && !rc; l++)
            rc = add_all(t, &capacity, c, (enum place)place, l, 0);
    for (int tower = 0; tower < c->n_towers && !rc; tower++)
        for (int place = MATRIX; place <= LAST && !rc; place++)
            for (int64_t l = 0; l < times(c, (enum place)place) && !rc; l++)
                rc = add_all(t, &capacity, c, (enum place)place, l, tower);
    t->values = (t->values + 15) / 16 * 16;
    if (rc)
        mot_table_free(t);
    return rc;
}

void mot_table_free(struct mot_table *t)
{
    for (int64_t i = 0; i < t->n; i++)
        mot_free(t->tensor[i].name);
    mot_free(t->tensor);
    mot_free(t->at);
    *t = (struct mot_table){0};
}

const struct mot_tensor *mot_table_find(const struct mot_table *t, enum mot_weight w, int64_t layer, int tower)
{
    int64_t i = w == MOT_WEIGHTS || layer >= t->layers ? -1 : t->at[index_of(t, w, layer, tower)];
    return i < 0 ? NULL : &t->tensor[i];
}

int64_t mot_offset(const struct mot_table *t, enum mot_weight w, int64_t layer, int tower)
{
    const struct mot_tensor *found = mot_table_find(t, w, layer, tower);
    return found ? found->offset : -1;
}
