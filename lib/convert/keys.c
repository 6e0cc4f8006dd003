/* SPDX-License-Identifier: MIT
 *
 * keys.c - the keys of config.json: those a model is computed from (lib/model/config.c reads them), those that mean nothing
 * for what it computes and travel along, and all others, which must not be passed over in silence.
 */
#include "convert.h"

/* Read by config.c, or refused by it where they ask for something else. */
static const char *const computed[] = {
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "max_position_embeddings", "rope_theta", "rope_scaling", "rope_parameters",
    "partial_rotary_factor", "rms_norm_eps", "initializer_range", "tie_word_embeddings", "attention_bias",
    "attention_out_bias", "mlp_bias", "hidden_act", "torch_dtype", "dtype", "qk_norm", "norm_placement", "modalities",
    "towers", "tower_of", "z_loss", "loss_weights", "use_sliding_window", "sliding_window", "max_window_layers",
    "layer_types", "architectures", "transformers_version", "_name_or_path", "layer_module", "freeze_und",
};

/* Of no meaning for the function: how it is stored, run or trained, and what its tokens are called. */
static const char *const harmless[] = {
    "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "use_cache", "pretraining_tp",
    "attention_dropout", "hidden_dropout", "torchscript", "output_attentions", "output_hidden_states", "return_dict",
    "is_encoder_decoder", "is_decoder", "add_cross_attention", "chunk_size_feed_forward", "problem_type", "id2label",
    "label2id", "task_specific_params", "tokenizer_class", "prefix", "auto_map", "_attn_implementation",
    "_attn_implementation_autoset", "rope_interleaved", "is_llama_config",
};

/* Ours, which a plain Hugging Face folder does without. */
static const char *const ours[] = {
    "modalities", "towers", "tower_of", "norm_placement", "qk_norm", "z_loss", "loss_weights", "attention_out_bias",
};

static bool among(const char *key, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0)
            return true;
    return false;
}

/* A key whose value is null, false or empty asks for nothing. */
static bool empty(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

int mot_check_keys(const json_t *config, const struct mot_convert_options *o, const char *name,
                   struct mot_sentences *complaints)
{
    const char *key;
    json_t *v;
    int rc = MOT_OK;
    json_object_foreach((json_t *)(uintptr_t)config, key, v)
        if (!rc && !empty(v) && !among(key, computed, MOT_COUNT(computed)) && !among(key, harmless, MOT_COUNT(harmless)) &&
            !mot_matches(o->allow_extra, o->n_allow_extra, key))
            rc = mot_say(complaints, "%s: config key \"%.100s\" is unknown: it may change the function; --allow-extra leaves "
                                     "it out",
                         name, key);
    return rc;
}

static void carry_harmless(json_t *to, const json_t *source)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)source, key, v)
        if (among(key, harmless, MOT_COUNT(harmless)) && !json_object_get(to, key))
            json_object_set(to, key, v);
}

json_t *mot_target_config(const struct mot_side *to, const json_t *source, enum mot_dtype dtype)
{
    json_t *j = mot_config_json(&to->config);
    if (!j)
        return NULL;
    static const char *const names[MOT_DTYPES] = {[MOT_F16] = "float16", [MOT_BF16] = "bfloat16", [MOT_F32] = "float32"};
    if (names[dtype])
        json_object_set_new(j, "torch_dtype", json_string(names[dtype]));
    if (strcmp(to->family->name, "hf") == 0)
        for (int i = 0; i < MOT_COUNT(ours); i++)
            json_object_del(j, ours[i]);
    if (to->family->label == MOT_LABEL_MOE_GEN) {
        json_object_set_new(j, "model_type", json_string("qwen2"));
        json_object_set_new(j, "architectures", json_pack("[s]", "Qwen2ForCausalLM"));
        json_object_set_new(j, "layer_module",
                            json_string(to->config.n_towers > 1 ? "Qwen2MoTDecoderLayer" : "Qwen2DecoderLayer"));
    }
    carry_harmless(j, source);
    return j;
}
