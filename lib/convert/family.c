/* SPDX-License-Identifier: MIT
 *
 * family.c - how others name the weights of table.c: a table a family, a row a tensor.
 *
 *   hf        Hugging Face's Llama, Mistral, Qwen2, Qwen3: one tower, table.c's own names
 *   mot       the same with a suffix for each further tower, as mot-model(5) has it
 *   bagel     ByteDance-Seed/Bagel's language model: Hugging Face's names in language_model, the second tower _moe_gen
 *   kempner   KempnerInstitute/KempnerForge: a tower's name inside each name; the plain final norm is stored and not used
 *   official  facebookresearch/Mixture-of-Transformers: modules named as there, in the frame of Meta's Chameleon, towers
 *             by number, RoPE on neighbours, norms on the sub-layers' outputs
 */
#include "convert.h"

static const struct mot_name_row kempner[] = {
    {MOT_W_EMBED, "token_embedding.embedding.weight", false},
    {MOT_W_Q, "layers.#.attn.q_proj.%.weight", false},
    {MOT_W_K, "layers.#.attn.k_proj.%.weight", false},
    {MOT_W_V, "layers.#.attn.v_proj.%.weight", false},
    {MOT_W_O, "layers.#.attn.o_proj.%.weight", false},
    {MOT_W_Q_NORM, "layers.#.attn.q_norm.%.weight", false},
    {MOT_W_K_NORM, "layers.#.attn.k_norm.%.weight", false},
    {MOT_W_ATTN_NORM, "layers.#.attn_norm.%.weight", false},
    {MOT_W_FFN_NORM, "layers.#.mlp_norm.%.weight", false},
    {MOT_W_GATE, "layers.#.mlp.%.gate_proj.weight", false},
    {MOT_W_UP, "layers.#.mlp.%.up_proj.weight", false},
    {MOT_W_DOWN, "layers.#.mlp.%.down_proj.weight", false},
    {MOT_W_FINAL_NORM, "mot_norms.%.weight", false},
    {MOT_W_HEAD, "output_head.proj.weight", false},
};

static const struct mot_name_row official[] = {
    {MOT_W_EMBED, "tok_embeddings.weight", false},
    {MOT_W_Q, "layers.#.attention.local_experts_wq.%.weight", true},
    {MOT_W_K, "layers.#.attention.local_experts_wk.%.weight", true},
    {MOT_W_V, "layers.#.attention.local_experts_wv.%.weight", false},
    {MOT_W_O, "layers.#.attention.local_experts_wo.%.weight", false},
    {MOT_W_Q_NORM, "layers.#.attention.local_experts_q_normalization.%.weight", true},
    {MOT_W_K_NORM, "layers.#.attention.local_experts_k_normalization.%.weight", true},
    {MOT_W_ATTN_NORM, "layers.#.attention.local_experts_attention_norm.%.weight", false},
    {MOT_W_GATE, "layers.#.feed_forward.local_experts.%.w1.weight", false},
    {MOT_W_UP, "layers.#.feed_forward.local_experts.%.w3.weight", false},
    {MOT_W_DOWN, "layers.#.feed_forward.local_experts.%.w2.weight", false},
    {MOT_W_FFN_NORM, "layers.#.feed_forward.local_experts_ffn_norm.%.weight", false},
    {MOT_W_FINAL_NORM, "norm.weight", false},
    {MOT_W_HEAD, "output.weight", false},
};

static const char *refuses_nothing(const struct mot_config *c)
{
    (void)c;
    return NULL;
}

static const char *hf_refuses(const struct mot_config *c)
{
    json_t *j = mot_config_json(c);
    const char *type = j ? json_string_value(json_object_get(j, "model_type")) : NULL;
    const char *reason = NULL;
    if (!type)
        reason = "out of memory";
    else if (strcmp(type, "mot") == 0)
        reason = c->qk_norm == MOT_QK_LAYER ? "no family of transformers has these biases or head sizes with LayerNorms on heads"
                 : c->norm_post ? "norm_placement is \"post\", which no family of transformers has with these norms"
                              : "no family of transformers has these biases with or without QK-norm";
    json_decref(j);
    return reason;
}

static const char *bagel_refuses(const struct mot_config *c)
{
    return c->n_towers > 2          ? "it has two towers at most"
           : c->norm_post           ? "it has norms before attention and FFN, not after (norm_placement)"
           : c->attention_out_bias  ? "it has no bias on o_proj"
                                    : NULL;
}

static const char *kempner_refuses(const struct mot_config *c)
{
    return c->norm_post        ? "it has norms before attention and FFN, not after (norm_placement)"
           : c->attention_bias || c->attention_out_bias ? "it has no biases"
           : c->rope_scaling.type != MOT_ROPE_DEFAULT   ? "it has no rope_scaling"
                                                        : NULL;
}

static const char *official_refuses(const struct mot_config *c)
{
    return !c->norm_post       ? "it has norms after attention and FFN (norm_placement \"post\")"
           : c->attention_bias || c->attention_out_bias            ? "it has no biases"
           : c->num_key_value_heads != c->num_attention_heads      ? "it has as many key-value heads as heads"
           : c->rope_scaling.type != MOT_ROPE_DEFAULT              ? "it has no rope_scaling"
                                                                   : NULL;
}

#define WEIGHTS "model.safetensors"
static const struct mot_family families[] = {
    {"mot", "config.json", WEIGHTS, MOT_LABEL_SUFFIX, "", NULL, 0, NULL, refuses_nothing},
    {"hf", "config.json", WEIGHTS, MOT_LABEL_SUFFIX, "", NULL, 0, NULL, hf_refuses},
    {"bagel", "llm_config.json", "ema.safetensors", MOT_LABEL_MOE_GEN, "language_model.", NULL, 0, NULL,
     bagel_refuses},
    {"kempner", "config.json", WEIGHTS, MOT_LABEL_NAME, "", kempner, MOT_COUNT(kempner), "norm.weight",
     kempner_refuses},
    {"kempner", "config.json", WEIGHTS, MOT_LABEL_NAME, "transformer.", kempner, MOT_COUNT(kempner), "norm.weight",
     kempner_refuses},
    {"official", "config.json", WEIGHTS, MOT_LABEL_INDEX, "", official, MOT_COUNT(official), NULL,
     official_refuses},
};

/* Families of other functions, told by a tensor that all their files have. */
static const struct {
    const char *tensor, *reason;
} strangers[] = {
    {"wte.weight", "these are GPT-2's tensors: learned positions, LayerNorm with biases and a GELU FFN are another function"},
    {"transformer.wte.weight",
     "these are GPT-2's tensors: learned positions, LayerNorm with biases and a GELU FFN are another function"},
    {"encoder.conv_in.weight", "these are an image codec's tensors, not a language model's"},
    {"layers.0.attention.wq.weight", "these are Meta's own names for Llama or Chameleon: convert to Hugging Face's first"},
};

const struct mot_family *mot_family_find(const char *name)
{
    for (int i = 0; i < MOT_COUNT(families); i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    mot_fail(MOT_EARG, "\"%.40s\" is no form of checkpoints: mot, hf, bagel, kempner or official", name);
    return NULL;
}

struct mot_name_row mot_family_row(const struct mot_family *f, const struct mot_tensor *t)
{
    if (!f->row)
        return (struct mot_name_row){t->weight, mot_weight_pattern(t->weight), false};
    for (int i = 0; i < f->n_rows; i++)
        if (f->row[i].ours == t->weight && (t->tower <= 0 || strchr(f->row[i].theirs, '%')))
            return f->row[i];
    return (struct mot_name_row){t->weight, NULL, false};
}

char *mot_family_name(const struct mot_family *f, const struct mot_config *c, const struct mot_tensor *t)
{
    char label[MOT_NAME_BYTES + 16] = "";
    int tower = t->tower;
    switch (f->label) {
    case MOT_LABEL_SUFFIX:
        if (tower > 0)
            snprintf(label, sizeof label, "_%s", c->tower[tower]);
        break;
    case MOT_LABEL_MOE_GEN: strcpy(label, tower > 0 ? "_moe_gen" : ""); break;
    case MOT_LABEL_NAME: snprintf(label, sizeof label, "%s", tower < 0 ? "" : c->tower[tower]); break;
    case MOT_LABEL_INDEX: snprintf(label, sizeof label, "%d", tower); break;
    }
    char *name = mot_weight_name(mot_family_row(f, t).theirs, t->layer, label);
    char *whole = name ? mot_format("%s%s", f->prefix, name) : NULL;
    mot_free(name);
    return whole;
}

int mot_family_detect(const struct mot_family **f, const struct mot_weights *w, const char *folder)
{
    const struct mot_tensor embed = {.weight = MOT_W_EMBED, .layer = -1, .tower = -1};
    const struct mot_st *file;
    for (int i = 0; i < MOT_COUNT(families); i++) {
        char *name = mot_family_name(&families[i], NULL, &embed);
        if (!name)
            return MOT_ENOMEM;
        bool found = mot_weights_find(w, name, &file) != NULL;
        mot_free(name);
        if (found) {
            *f = &families[i];
            return MOT_OK;
        }
    }
    for (int i = 0; i < MOT_COUNT(strangers); i++)
        if (mot_weights_find(w, strangers[i].tensor, &file))
            return mot_fail(MOT_EFORMAT, "%s: %s", folder, strangers[i].reason);
    return mot_fail(MOT_EFORMAT, "%s: no family known here has tensors of these names (no model.embed_tokens.weight, "
                                 "tok_embeddings.weight, ...); mot-convert --list shows them",
                    folder);
}
