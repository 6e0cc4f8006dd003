/* SPDX-License-Identifier: MIT
 *
 * config.c - config.json: Hugging Face's keys for Llama-like decoders, and ours for towers.
 *
 * What a file asks for and this model does not compute is an error that names the key: a wrong
 * function must never run silently.  A config goes through three states: loaded (modalities, vocab_size and
 * towers may be missing), settled (everything known and checked), saved.  Format in mot-model(5).
 */
#include <sys/stat.h>

#include "model.h"

const char *const mot_component_names[MOT_COMPONENTS] = {
    "attn_qkv", "attn_o", "attn_norm", "qk_norm", "ffn", "ffn_norm", "final_norm",
};

/* 2^31 is beyond any model and keeps products of three sizes inside 64 bits with room to check. */
enum { MAX_WIDTH = 1 << 20, MAX_LAYERS = 1 << 14 };

static void defaults(struct mot_config *c)
{
    *c = (struct mot_config){
        .max_position_embeddings = 2048,
        .rope_theta = 10000,
        .rms_norm_eps = 1e-6,
        .initializer_range = 0.02,
        .diffusion = {.objective = MOT_DDPM, .steps = 1000, .shift = 1},
    };
    for (int m = 0; m < MOT_MAX_MODALITIES; m++)
        c->loss_weight[m] = 1;
}

bool mot_is_name(const char *s, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return n > 0 && n < MOT_NAME_BYTES && strspn(s, letters) >= n;
}

static int copy_name(char *out, const char *s, const char *name, const char *key)
{
    size_t n = strlen(s);
    if (!mot_is_name(s, n))
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": \"%.40s\" is not a name (1-%d letters, digits, _ or -)", name, key,
                        s, MOT_NAME_BYTES - 1);
    memcpy(out, s, n + 1);
    return MOT_OK;
}

static int read_names(const json_t *j, const char *name, const char *key, char out[][MOT_NAME_BYTES], int *n)
{
    const json_t *a = json_object_get(j, key);
    if (!a || json_is_null(a))
        return MOT_OK;
    size_t count = json_array_size(a);
    if (!json_is_array(a) || count == 0 || count > MOT_MAX_MODALITIES)
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": expected an array of 1 to %d names", name, key, MOT_MAX_MODALITIES);
    for (size_t i = 0; i < count; i++) {
        const char *s = json_string_value(json_array_get(a, i));
        if (!s)
            return mot_fail(MOT_EFORMAT, "%s: key \"%s\": expected names in quotes", name, key);
        int rc = copy_name(out[i], s, name, key);
        if (rc)
            return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(out[k], out[i]) == 0)
                return mot_fail(MOT_EFORMAT, "%s: key \"%s\": \"%s\" stands twice", name, key, s);
    }
    *n = (int)count;
    return MOT_OK;
}

static int read_tower_of(struct mot_config *c, const json_t *j, const char *name)
{
    const json_t *o = json_object_get(j, "tower_of");
    if (!o || json_is_null(o))
        return MOT_OK;
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"tower_of\": expected an object", name);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        int component = -1;
        for (int i = 0; i < MOT_COMPONENTS; i++)
            if (strcmp(key, mot_component_names[i]) == 0)
                component = i;
        if (component < 0)
            return mot_fail(MOT_EFORMAT, "%s: key \"tower_of\": no component is called \"%.40s\"", name, key);
        size_t n = json_array_size(v);
        if (!json_is_array(v) || n == 0 || n > MOT_MAX_MODALITIES || (c->n_modalities && n != (size_t)c->n_modalities))
            return mot_fail(MOT_EFORMAT, "%s: key \"tower_of.%s\": expected a tower's index for each modality", name,
                            key);
        for (size_t m = 0; m < n; m++) {
            const json_t *t = json_array_get(v, m);
            if (!json_is_integer(t) || json_integer_value(t) < 0 || json_integer_value(t) >= MOT_MAX_MODALITIES)
                return mot_fail(MOT_EFORMAT, "%s: key \"tower_of.%s\": expected a tower's index for each modality",
                                name, key);
            c->tower_of[component][m] = (int)json_integer_value(t);
        }
        c->tower_of_given[component] = true;
        if (!c->n_modalities)
            return mot_fail(MOT_EFORMAT, "%s: key \"tower_of\" needs \"modalities\" beside it", name);
    }
    return MOT_OK;
}

/* Weights in the order of modalities, or by name. */
static int read_loss_weights(struct mot_config *c, const json_t *j, const char *name)
{
    const json_t *o = json_object_get(j, "loss_weights");
    if (!o || json_is_null(o))
        return MOT_OK;
    if (!c->n_modalities)
        return mot_fail(MOT_EFORMAT, "%s: key \"loss_weights\" needs \"modalities\" beside it", name);
    bool array = json_is_array(o) && json_array_size(o) == (size_t)c->n_modalities;
    if (!array && !json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"loss_weights\": expected a number for each modality", name);
    size_t found = 0;
    for (int m = 0; m < c->n_modalities; m++) {
        const json_t *v = array ? json_array_get(o, (size_t)m) : json_object_get(o, c->modality[m]);
        if (!v)
            continue;
        double w = json_is_number(v) ? json_number_value(v) : -1;
        if (!(w >= 0 && w <= 1e6))
            return mot_fail(MOT_EFORMAT, "%s: key \"loss_weights\": expected numbers from 0 to 1e6", name);
        c->loss_weight[m] = w;
        found++;
    }
    if (!array && found != json_object_size(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"loss_weights\": names a modality that \"modalities\" does not", name);
    c->loss_weights_given = true;
    return MOT_OK;
}

/* What may stand in rope_scaling and rope_parameters; true: it must be there for type llama3. */
static const struct {
    const char *key;
    bool llama3;
} rope_keys[] = {
    {"type", false}, {"rope_type", false}, {"rope_theta", false}, {"partial_rotary_factor", false}, {"factor", true},
    {"low_freq_factor", true}, {"high_freq_factor", true}, {"original_max_position_embeddings", true},
};

static int check_rope_keys(const json_t *o, const char *name, const char *key, enum mot_rope type)
{
    size_t known = 0;
    for (int i = 0; i < MOT_COUNT(rope_keys); i++) {
        const json_t *v = json_object_get(o, rope_keys[i].key);
        known += v != NULL;
        bool needed = (type == MOT_ROPE_LLAMA3 && rope_keys[i].llama3) ||
                      (type == MOT_ROPE_LINEAR && strcmp(rope_keys[i].key, "factor") == 0);
        if (needed && !json_is_number(v))
            return mot_fail(MOT_EFORMAT, "%s: key \"%s\": RoPE of this type needs a number \"%s\"", name, key,
                            rope_keys[i].key);
    }
    const char *k;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, k, v)
    {
        bool good = json_is_null(v);
        for (int i = 0; i < MOT_COUNT(rope_keys) && !good; i++)
            good = strcmp(k, rope_keys[i].key) == 0;
        if (!good)
            return mot_fail(MOT_EFORMAT, "%s: key \"%s.%.40s\" is not supported", name, key, k);
    }
    return MOT_OK;
}

static int check_rotary_part(const json_t *o, const char *name)
{
    double part = 1;
    int rc = mot_json_real(o, name, "partial_rotary_factor", 0, 1, &part);
    return rc || part >= 1 ? rc : mot_fail(MOT_EFORMAT, "%s: key \"partial_rotary_factor\": RoPE on a part of each head (%g) is "
                                                        "not supported", name, part);
}

static int read_rope_object(struct mot_config *c, const json_t *o, const char *name, const char *key)
{
    static const char *const types[] = {"default", "linear", "llama3"};
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": expected an object", name, key);
    const char *type = "default";
    int rc = mot_json_string(o, name, "type", &type);
    if (!rc)
        rc = mot_json_string(o, name, "rope_type", &type);
    if (rc)
        return rc;
    int found = 0;
    while (found < MOT_COUNT(types) && strcmp(type, types[found]) != 0)
        found++;
    if (found == MOT_COUNT(types))
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": RoPE of type \"%.40s\" is not supported: default, linear or llama3",
                        name, key, type);
    struct mot_rope_scaling *r = &c->rope_scaling;
    r->type = (enum mot_rope)found;
    rc = check_rope_keys(o, name, key, r->type);
    if (!rc)
        rc = mot_json_real(o, name, "rope_theta", 1, 1e12, &c->rope_theta);
    if (!rc)
        rc = check_rotary_part(o, name);
    if (!rc && r->type != MOT_ROPE_DEFAULT)
        rc = mot_json_real(o, name, "factor", 1, 1e6, &r->factor);
    if (rc || r->type != MOT_ROPE_LLAMA3)
        return rc;
    rc = mot_json_real(o, name, "low_freq_factor", 1e-6, 1e6, &r->low_freq_factor);
    if (!rc)
        rc = mot_json_real(o, name, "high_freq_factor", 1e-6, 1e6, &r->high_freq_factor);
    if (!rc)
        rc = mot_json_int(o, name, "original_max_position_embeddings", 1, INT32_MAX, &r->original);
    if (!rc && r->high_freq_factor <= r->low_freq_factor)
        rc = mot_fail(MOT_EFORMAT, "%s: key \"%s\": high_freq_factor must be more than low_freq_factor", name, key);
    return rc;
}

/* Both spellings of RoPE's parameters: top-level keys, and transformers 5's "rope_parameters".  Of both together transformers
 * takes the old one, so they must not contradict each other. */
static int read_rope(struct mot_config *c, const json_t *j, const char *name)
{
    const json_t *old = json_object_get(j, "rope_scaling"), *new = json_object_get(j, "rope_parameters");
    int rc = mot_json_real(j, name, "rope_theta", 1, 1e12, &c->rope_theta);
    if (!rc)
        rc = check_rotary_part(j, name);
    bool both = old && !mot_key_empty(old) && new && !mot_key_empty(new);
    if (!rc && old && !mot_key_empty(old))
        rc = read_rope_object(c, old, name, "rope_scaling");
    if (rc || !new || json_is_null(new))
        return rc;
    const struct mot_rope_scaling before = c->rope_scaling, *after = &c->rope_scaling;
    double theta = c->rope_theta;
    rc = read_rope_object(c, new, name, "rope_parameters");
    bool same = before.type == after->type && before.factor == after->factor && before.original == after->original &&
                before.low_freq_factor == after->low_freq_factor && before.high_freq_factor == after->high_freq_factor &&
                theta == c->rope_theta;
    if (!rc && both && !same)
        rc = mot_fail(MOT_EFORMAT, "%s: keys \"rope_scaling\" and \"rope_parameters\" contradict each other; remove one", name);
    return rc;
}

/* The families read, with what a key means that their config.json leaves out (transformers' classes). */
static const struct family {
    const char *type;
    int64_t kv_heads, head_dim, max_positions; /* 0: as many as heads; hidden_size / heads; defaults()' */
    int64_t window;                            /* of sliding attention */
    double eps;
    enum mot_qk_norm qk_norm; /* always there; no key of its own says so */
} families[] = {
    {"llama", 0, 0, 2048, 0, 1e-6, MOT_QK_NONE},
    {"mistral", 8, 0, 131072, 4096, 1e-6, MOT_QK_NONE},
    {"qwen2", 32, 0, 32768, 4096, 1e-6, MOT_QK_NONE},
    {"qwen3", 32, 128, 32768, 4096, 1e-6, MOT_QK_RMS},
    {"chameleon", 32, 0, 4096, 0, 1e-5, MOT_QK_LAYER},
    {"mot", 0, 0, 2048, 0, 1e-6, MOT_QK_NONE},
};

/* Families that users ask for, and why not. */
static const struct {
    const char *type, *reason;
} refused[] = {
    {"gpt2", "it adds learned positions and has LayerNorm with biases and a GELU FFN; here are RoPE, RMSNorm and SwiGLU"},
    {"gemma", "its RMSNorm multiplies by 1 + w, its embeddings by sqrt(hidden_size), and its FFN is GeGLU"},
    {"mixtral", "its FFN is a mixture of experts"},
    {"qwen2_moe", "its FFN is a mixture of experts"},
    {"qwen3_moe", "its FFN is a mixture of experts"},
    {"phi3", "its q, k, v and its gate, up are packed in one matrix each"},
};

static int find_family(const struct family **f, const char *type, const char *name)
{
    *f = NULL;
    for (int i = 0; i < MOT_COUNT(families); i++)
        if (strcmp(type, families[i].type) == 0)
            *f = &families[i];
    if (*f)
        return MOT_OK;
    for (int i = 0; i < MOT_COUNT(refused); i++)
        if (strcmp(type, refused[i].type) == 0 || (strcmp(refused[i].type, "gemma") == 0 && strncmp(type, "gemma", 5) == 0))
            return mot_fail(MOT_EFORMAT, "%s: model_type \"%.40s\" is another function than this model's: %s", name, type,
                            refused[i].reason);
    return mot_fail(MOT_EFORMAT, "%s: model_type \"%.40s\" is not supported: llama, mistral, qwen2, qwen3, chameleon or mot", name, type);
}

/* Whether any layer's attention may have a window: transformers 5 spells each layer's kind, before that Qwen had one from layer
 * max_window_layers on; Mistral has it in all, and no key to turn it off. */
static int window_layers(const json_t *j, const char *name, const struct family *f, int64_t layers, bool *any)
{
    const json_t *types = json_object_get(j, "layer_types");
    bool asked = false;
    int64_t first = 28;
    int rc = mot_json_bool(j, name, "use_sliding_window", &asked);
    if (!rc)
        rc = mot_json_int(j, name, "max_window_layers", 0, INT32_MAX, &first);
    *any = strcmp(f->type, "mistral") == 0 || (asked && (!f->window || (first < layers && !types)));
    size_t i;
    json_t *v;
    if (asked)
        json_array_foreach(types, i, v)
            *any |= strcmp(json_string_value(v), "sliding_attention") == 0;
    return rc;
}

/* A window that is at least as long as any sequence cuts nothing off; any other would be another function. */
static int check_window(const json_t *j, const char *name, const struct family *f, const struct mot_config *c)
{
    bool any;
    int64_t window = f->window;
    const json_t *v = json_object_get(j, "sliding_window");
    int rc = window_layers(j, name, f, c->num_hidden_layers, &any);
    if (!rc)
        rc = mot_json_int(j, name, "sliding_window", 1, INT32_MAX, &window);
    if (rc || !any || (v && json_is_null(v)) || window == 0 || window >= c->max_position_embeddings)
        return rc;
    return mot_fail(MOT_EFORMAT, "%s: attention with a sliding window of %lld is not supported: for sequences up to that "
                                 "length it is plain attention, so set max_position_embeddings (%lld) to it",
                    name, (long long)window, (long long)c->max_position_embeddings);
}

/* transformers 5 spells each layer's kind of attention; the window's size is checked apart. */
static int check_layer_types(const json_t *j, const char *name)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(j, "layer_types"), i, v)
    {
        const char *type = json_string_value(v);
        if (!type || (strcmp(type, "full_attention") != 0 && strcmp(type, "sliding_attention") != 0))
            return mot_fail(MOT_EFORMAT, "%s: key \"layer_types\": layer %zu has \"%.40s\", only \"full_attention\" is supported",
                            name, i, type ? type : "no name");
    }
    return MOT_OK;
}

/* Keys that change what a model computes in ways this one does not. */
static int refuse_foreign(const json_t *j, const char *name, const struct family **f)
{
    const char *type = "llama", *act = "silu";
    bool mlp_bias = false;
    int rc = mot_json_string(j, name, "model_type", &type);
    if (!rc)
        rc = find_family(f, type, name);
    if (!rc)
        rc = mot_json_string(j, name, "hidden_act", &act);
    if (!rc)
        rc = mot_json_bool(j, name, "mlp_bias", &mlp_bias);
    if (rc)
        return rc;
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0) /* two names of one function */
        return mot_fail(MOT_EFORMAT, "%s: hidden_act \"%.40s\" is not supported, only \"silu\"", name, act);
    if (mlp_bias)
        return mot_fail(MOT_EFORMAT, "%s: mlp_bias is not supported", name);
    return check_layer_types(j, name);
}

/* "qk_norm": false, true (RMSNorm) or "layernorm". */
static int read_qk_norm(struct mot_config *c, const json_t *j, const char *name, const struct family *f)
{
    const json_t *v = json_object_get(j, "qk_norm");
    c->qk_norm = f->qk_norm;
    if (v && json_is_boolean(v))
        c->qk_norm = json_is_true(v) ? MOT_QK_RMS : MOT_QK_NONE;
    else if (v && json_is_string(v) && strcmp(json_string_value(v), "layernorm") == 0)
        c->qk_norm = MOT_QK_LAYER;
    else if (v && !json_is_null(v))
        return mot_fail(MOT_EFORMAT, "%s: key \"qk_norm\": expected false, true or \"layernorm\"", name);
    return MOT_OK;
}

static int read_norms(struct mot_config *c, const json_t *j, const char *name, const struct family *f)
{
    const char *placement = "pre", *dtype = "float32";
    bool swin = false; /* Chameleon's word for norms on the sub-layers' outputs */
    int rc = mot_json_bool(j, name, "swin_norm", &swin);
    if (!rc && swin)
        placement = "post";
    if (!rc)
        rc = mot_json_string(j, name, "norm_placement", &placement);
    if (!rc)
        rc = mot_json_string(j, name, "dtype", &dtype);
    if (!rc)
        rc = mot_json_string(j, name, "torch_dtype", &dtype);
    if (rc)
        return rc;
    c->norm_post = strcmp(placement, "post") == 0;
    if (!c->norm_post && strcmp(placement, "pre") != 0)
        return mot_fail(MOT_EFORMAT, "%s: key \"norm_placement\": expected \"pre\" or \"post\", found \"%.40s\"", name,
                        placement);
    c->bf16 = strcmp(dtype, "bfloat16") == 0;
    return read_qk_norm(c, j, name, f);
}

static int read_sizes(struct mot_config *c, const json_t *j, const char *name, const struct family *f)
{
    bool known = json_object_get(j, "model_type") != NULL; /* a config of ours need not say */
    if (known) {
        c->max_position_embeddings = f->max_positions;
        c->rms_norm_eps = f->eps;
        c->num_key_value_heads = json_object_get(j, "num_key_value_heads") ? 0 : f->kv_heads;
        c->head_dim = json_object_get(j, "head_dim") ? 0 : f->head_dim;
    }
    const struct {
        const char *key;
        int64_t *out, hi;
        bool required;
    } sizes[] = {
        {"hidden_size", &c->hidden_size, MAX_WIDTH, true},
        {"intermediate_size", &c->intermediate_size, MAX_WIDTH, true},
        {"num_hidden_layers", &c->num_hidden_layers, MAX_LAYERS, true},
        {"num_attention_heads", &c->num_attention_heads, MAX_WIDTH, true},
        {"num_key_value_heads", &c->num_key_value_heads, MAX_WIDTH, false},
        {"head_dim", &c->head_dim, MAX_WIDTH, false},
        {"vocab_size", &c->vocab_size, INT32_MAX, false},
        {"max_position_embeddings", &c->max_position_embeddings, INT32_MAX, false},
    };
    for (int i = 0; i < MOT_COUNT(sizes); i++) {
        int rc = mot_json_int(j, name, sizes[i].key, 1, sizes[i].hi, sizes[i].out);
        if (rc)
            return rc;
        if (sizes[i].required && *sizes[i].out == 0)
            return mot_fail(MOT_EFORMAT, "%s: key \"%s\" is missing", name, sizes[i].key);
    }
    if (!c->num_key_value_heads)
        c->num_key_value_heads = c->num_attention_heads;
    if (!c->head_dim)
        c->head_dim = c->hidden_size / c->num_attention_heads;
    return MOT_OK;
}

static int parse(struct mot_config *c, const json_t *j, const char *name)
{
    if (!json_is_object(j))
        return mot_fail(MOT_EFORMAT, "%s: expected a JSON object", name);
    const struct family *f = NULL;
    int rc = refuse_foreign(j, name, &f);
    if (!rc)
        rc = read_sizes(c, j, name, f);
    if (!rc)
        rc = check_window(j, name, f, c);
    bool qwen2 = !rc && strcmp(f->type, "qwen2") == 0;
    if (!rc)
        rc = read_rope(c, j, name);
    if (!rc)
        rc = read_norms(c, j, name, f);
    if (!rc)
        rc = mot_json_real(j, name, "rms_norm_eps", 0, 1, &c->rms_norm_eps);
    if (!rc)
        rc = mot_json_real(j, name, "initializer_range", 0, 100, &c->initializer_range);
    if (!rc)
        rc = mot_json_real(j, name, "z_loss", 0, 1000, &c->z_loss);
    if (!rc)
        rc = mot_json_bool(j, name, "tie_word_embeddings", &c->tie_word_embeddings);
    c->attention_bias = qwen2;
    if (!rc)
        rc = mot_json_bool(j, name, "attention_bias", &c->attention_bias);
    c->attention_out_bias = c->attention_bias && !qwen2;
    if (!rc)
        rc = mot_json_bool(j, name, "attention_out_bias", &c->attention_out_bias);
    if (!rc)
        rc = read_names(j, name, "modalities", c->modality, &c->n_modalities);
    if (!rc)
        rc = read_names(j, name, "towers", c->tower, &c->n_towers);
    if (!rc)
        rc = read_tower_of(c, j, name);
    if (!rc)
        rc = read_loss_weights(c, j, name);
    if (!rc)
        rc = mot_vectors_read(c, j, name);
    return rc;
}

static int load_file(struct mot_config *c, const char *path)
{
    defaults(c);
    json_t *j = mot_json_load(path, MOT_CONFIG_LIMIT);
    int rc = j ? parse(c, j, path) : MOT_EFORMAT;
    json_decref(j);
    return rc;
}

int mot_config_load_folder(struct mot_config *c, const char *folder)
{
    char *path = mot_path(folder, "config.json");
    int rc = path ? load_file(c, path) : MOT_ENOMEM;
    mot_free(path);
    return rc;
}

int mot_config_load(struct mot_config *c, const char *preset_or_path)
{
    defaults(c);
    const char *const *modalities;
    int n;
    if (mot_preset_find(preset_or_path, c, &modalities, &n))
        return MOT_OK; /* modalities come from the tokenizer; see mot_config_settle */
    struct stat st;
    if (stat(preset_or_path, &st) == 0 && S_ISDIR(st.st_mode))
        return mot_config_load_folder(c, preset_or_path);
    if (!mot_file_exists(preset_or_path) && !strchr(preset_or_path, '/') && !strchr(preset_or_path, '.'))
        return mot_fail(MOT_EARG, "%s: neither a file nor a preset (mot-train --presets lists them)", preset_or_path);
    return load_file(c, preset_or_path);
}

/* Modalities from the vocabulary, or what a missing key means. */
static int settle_vocab(struct mot_config *c, const char *name, const struct mot_vocab *v)
{
    if (!v) {
        const char *const *modalities = NULL;
        int n = 0;
        struct mot_config ignored = {0};
        if (!c->n_modalities && mot_preset_find(name, &ignored, &modalities, &n)) {
            for (int m = 0; m < n; m++)
                strcpy(c->modality[m], modalities[m]);
            c->n_modalities = n;
        }
        if (!c->n_modalities)
            strcpy(c->modality[0], "text"), c->n_modalities = 1;
        if (!c->vocab_size)
            c->vocab_size = mot_vectors_of(c) < 0 ? 65536 : 32000 + 1; /* and the id that stands for a patch */
        return MOT_OK;
    }
    if (!c->n_modalities) {
        for (int m = 0; m < v->n_modalities; m++)
            memcpy(c->modality[m], v->modality[m].name, MOT_NAME_BYTES);
        c->n_modalities = v->n_modalities;
    }
    bool same = c->n_modalities == v->n_modalities;
    for (int m = 0; same && m < v->n_modalities; m++)
        same = strcmp(c->modality[m], v->modality[m].name) == 0;
    if (!same)
        return mot_fail(MOT_EARG, "%s: its modalities are not those of the tokenizer", name);
    if (!c->vocab_size)
        c->vocab_size = v->size;
    if (c->vocab_size != v->size)
        return mot_fail(MOT_EARG, "%s: vocab_size %lld is not the tokenizer's %d", name, (long long)c->vocab_size,
                        (int)v->size);
    return MOT_OK;
}

static int settle_towers(struct mot_config *c, const char *name, const char *arch)
{
    bool dense = arch && strcmp(arch, "dense") == 0;
    if (arch && !dense && strcmp(arch, "mot") != 0)
        return mot_fail(MOT_EARG, "--arch %s: expected dense or mot", arch);
    if (dense) {
        memcpy(c->tower[0], c->modality[0], MOT_NAME_BYTES);
        c->n_towers = 1;
        memset(c->tower_of_given, 0, sizeof c->tower_of_given);
    } else if (arch || !c->n_towers) {
        /* tower_of counts the towers that the config names; where they are not one a modality, it goes with them. */
        if (c->n_towers && c->n_towers != c->n_modalities)
            memset(c->tower_of_given, 0, sizeof c->tower_of_given);
        memcpy(c->tower, c->modality, sizeof c->tower);
        c->n_towers = c->n_modalities;
    }
    for (int k = 0; k < MOT_COMPONENTS; k++) {
        if (!c->tower_of_given[k] && c->n_towers != 1 && c->n_towers != c->n_modalities)
            return mot_fail(MOT_EFORMAT, "%s: %d towers for %d modalities: key \"tower_of.%s\" must say which is whose",
                            name, c->n_towers, c->n_modalities, mot_component_names[k]);
        for (int m = 0; m < c->n_modalities; m++) {
            if (!c->tower_of_given[k])
                c->tower_of[k][m] = c->n_towers == 1 ? 0 : m;
            if (c->tower_of[k][m] >= c->n_towers)
                return mot_fail(MOT_EFORMAT, "%s: key \"tower_of.%s\": tower %d of %d (counted from 0)", name,
                                mot_component_names[k], c->tower_of[k][m], c->n_towers);
        }
    }
    return MOT_OK;
}

int mot_config_settle(struct mot_config *c, const char *name, const struct mot_vocab *v, const char *arch)
{
    int rc = settle_vocab(c, name, v);
    if (!rc)
        rc = settle_towers(c, name, arch);
    if (!rc)
        rc = mot_vectors_settle(c, name, v);
    if (rc)
        return rc;
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        return mot_fail(MOT_EFORMAT, "%s: num_key_value_heads %lld does not divide num_attention_heads %lld", name,
                        (long long)c->num_key_value_heads, (long long)c->num_attention_heads);
    if (c->head_dim < 2 || c->head_dim % 2 != 0)
        return mot_fail(MOT_EFORMAT, "%s: head_dim %lld: RoPE needs an even number", name, (long long)c->head_dim);
    return MOT_OK;
}

static json_t *names(const char (*name)[MOT_NAME_BYTES], int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_string(name[i]));
    return a;
}

/* "mot" where transformers has no class that computes the same, so that it refuses the folder. */
static const char *model_type(const struct mot_config *c)
{
    bool odd_bias = c->attention_bias != c->attention_out_bias;
    bool usual_heads = c->head_dim * c->num_attention_heads == c->hidden_size;
    if (mot_vectors_of(c) >= 0)
        return "mot";
    if (c->qk_norm == MOT_QK_LAYER)
        return odd_bias || !usual_heads ? "mot" : "chameleon";
    if (c->norm_post || (odd_bias && (c->qk_norm || !c->attention_bias)))
        return "mot";
    return c->qk_norm ? "qwen3" : odd_bias ? "qwen2" : "llama";
}

/* As Hugging Face spells it; null where frequencies are as theta gives them. */
static json_t *rope_json(const struct mot_rope_scaling *r)
{
    switch (r->type) {
    case MOT_ROPE_DEFAULT: break;
    case MOT_ROPE_LINEAR: return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", r->factor);
    case MOT_ROPE_LLAMA3:
        return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", r->factor, "low_freq_factor",
                         r->low_freq_factor, "high_freq_factor", r->high_freq_factor,
                         "original_max_position_embeddings", (json_int_t)r->original);
    }
    return json_null();
}

json_t *mot_config_json(const struct mot_config *c)
{
    const char *type = model_type(c);
    const char *class = strcmp(type, "llama") == 0   ? "LlamaForCausalLM"
                        : strcmp(type, "qwen2") == 0 ? "Qwen2ForCausalLM"
                        : strcmp(type, "qwen3") == 0 ? "Qwen3ForCausalLM"
                        : strcmp(type, "mot") == 0   ? "MotForCausalLM"
                                                     : "ChameleonForConditionalGeneration";
    json_t *tower_of = json_object(), *weights = json_array();
    for (int k = 0; k < MOT_COMPONENTS; k++) {
        json_t *a = json_array();
        for (int m = 0; m < c->n_modalities; m++)
            json_array_append_new(a, json_integer(c->tower_of[k][m]));
        json_object_set_new(tower_of, mot_component_names[k], a);
    }
    for (int m = 0; m < c->n_modalities; m++)
        json_array_append_new(weights, json_real(c->loss_weight[m]));
    json_t *j = json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:f, s:b, s:b, s:b, s:b, s:s, s:f, s:s,"
        " s:o, s:o, s:o, s:s, s:o, s:f, s:o}",
        "architectures", class, "model_type", type, "hidden_size", (json_int_t)c->hidden_size,
        "intermediate_size", (json_int_t)c->intermediate_size, "num_hidden_layers",
        (json_int_t)c->num_hidden_layers, "num_attention_heads", (json_int_t)c->num_attention_heads,
        "num_key_value_heads", (json_int_t)c->num_key_value_heads, "head_dim", (json_int_t)c->head_dim,
        "vocab_size", (json_int_t)c->vocab_size, "max_position_embeddings",
        (json_int_t)c->max_position_embeddings, "rope_theta", c->rope_theta, "rope_scaling",
        rope_json(&c->rope_scaling), "rms_norm_eps", c->rms_norm_eps, "tie_word_embeddings", c->tie_word_embeddings, "attention_bias", c->attention_bias,
        "attention_out_bias", c->attention_out_bias, "mlp_bias", 0, "hidden_act", "silu", "initializer_range",
        c->initializer_range, "torch_dtype", c->bf16 ? "bfloat16" : "float32", "modalities",
        names(c->modality, c->n_modalities), "towers", names(c->tower, c->n_towers), "tower_of", tower_of,
        "norm_placement", c->norm_post ? "post" : "pre", "qk_norm",
        c->qk_norm == MOT_QK_LAYER ? json_string("layernorm") : json_boolean(c->qk_norm == MOT_QK_RMS), "z_loss", c->z_loss,
        "loss_weights", weights);
    if (j)
        mot_vectors_write(c, j);
    else
        mot_fail(MOT_ENOMEM, "out of memory writing config.json");
    if (j && strcmp(type, "chameleon") == 0) {
        json_object_set_new(j, "swin_norm", json_boolean(c->norm_post));
        json_object_set_new(j, "vocabulary_map", json_object()); /* transformers does not load it without one */
    }
    return j;
}

int mot_config_save(const struct mot_config *c, const char *folder, const char *like)
{
    json_t *j = mot_config_json(c), *source = NULL;
    char *path = mot_path(folder, "config.json"), *old = like ? mot_path(like, "config.json") : NULL;
    int rc = j && path && (!like || old) ? MOT_OK : MOT_ENOMEM;
    if (!rc && old)
        rc = (source = mot_json_load(old, MOT_CONFIG_LIMIT)) ? MOT_OK : MOT_EFORMAT;
    if (!rc) {
        mot_carry_keys(j, source);
        rc = mot_json_save(path, j);
    }
    json_decref(j);
    json_decref(source);
    mot_free(old);
    mot_free(path);
    return rc;
}
