/* SPDX-License-Identifier: MIT
 *
 * keys.c - config.json on its way through a conversion: keys that nobody knows are complained of, those of no meaning
 * travel along (lib/model/keys.c tells which is which).
 */
#include "convert.h"

/* Ours, which a plain Hugging Face folder does without. */
static const char *const ours[] = {
    "modalities", "towers", "tower_of", "norm_placement", "qk_norm", "z_loss", "loss_weights", "attention_out_bias",
};

int mot_check_keys(const json_t *config, const struct mot_convert_options *o, const char *name,
                   struct mot_sentences *complaints)
{
    const char *key;
    json_t *v;
    int rc = MOT_OK;
    json_object_foreach((json_t *)(uintptr_t)config, key, v)
        if (!rc && !mot_key_empty(v) && mot_key_kind(key) == MOT_KEY_UNKNOWN &&
            !mot_matches(o->allow_extra, o->n_allow_extra, key))
            rc = mot_say(complaints, "%s: config key \"%.100s\" is unknown: it may change the function; --allow-extra leaves "
                                     "it out",
                         name, key);
    return rc;
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
    mot_carry_keys(j, source);
    return j;
}
