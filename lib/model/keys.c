/* SPDX-License-Identifier: MIT
 *
 * keys.c - what the keys of config.json mean: those a model is computed from (config.c reads them), those that mean nothing
 * for what it computes and travel along with a model, and all others, which must not be passed over in silence.
 */
#include "model.h"

/* Read by config.c, or refused by it where they ask for something else. */
static const char *const computed[] = {
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "max_position_embeddings", "rope_theta", "rope_scaling", "rope_parameters",
    "partial_rotary_factor", "rms_norm_eps", "initializer_range", "tie_word_embeddings", "attention_bias",
    "attention_out_bias", "mlp_bias", "swin_norm", "hidden_act", "torch_dtype", "dtype", "qk_norm", "norm_placement", "modalities",
    "towers", "tower_of", "z_loss", "loss_weights", "latent_sizes", "diffusion", "unet", "use_sliding_window",
    "sliding_window", "max_window_layers", "layer_types", "architectures", "transformers_version", "layer_module",
    "freeze_und",
};

/* Of no meaning for the function: how it is stored, run, sampled from or trained, and what its tokens are called. */
static const char *const harmless[] = {
    "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id", "use_cache",
    "pretraining_tp", "attention_dropout", "hidden_dropout", "torchscript", "output_attentions", "output_hidden_states",
    "output_scores", "return_dict", "return_dict_in_generate", "use_return_dict", "is_encoder_decoder", "is_decoder",
    "add_cross_attention", "cross_attention_hidden_size", "tie_encoder_decoder", "chunk_size_feed_forward", "problem_type",
    "id2label", "label2id", "num_labels", "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "auto_map",
    "pruned_heads", "gradient_checkpointing", "use_bfloat16", "tf_legacy_loss", "rope_interleaved", "is_llama_config",
    "model_parallel_size", "vq_config", "vocabulary_map", "image_token_id", "transformers.js_config", "unsloth_fixed",
    "unsloth_version", "max_sequence_length", "neftune_noise_alpha", "embd_pdrop", "attn_pdrop", "resid_pdrop",
    /* of generation, which old versions of transformers wrote here */
    "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
};

static bool among(const char *key, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0)
            return true;
    return false;
}

enum mot_key mot_key_kind(const char *key)
{
    if (among(key, computed, MOT_COUNT(computed)))
        return MOT_KEY_COMPUTED;
    /* An underscore begins what transformers keeps for itself: paths, hashes, the implementation it ran with. */
    return key[0] == '_' || among(key, harmless, MOT_COUNT(harmless)) ? MOT_KEY_HARMLESS : MOT_KEY_UNKNOWN;
}

bool mot_key_empty(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

void mot_carry_keys(json_t *to, const json_t *source)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)source, key, v)
    {
        const json_t *own = json_object_get(to, key);
        if (mot_key_kind(key) == MOT_KEY_HARMLESS && (!own || mot_key_empty(own)))
            json_object_set(to, key, v);
    }
}
