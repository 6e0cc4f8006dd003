/* SPDX-License-Identifier: MIT
 *
 * hubert_net.c - reading a HuBERT or wav2vec 2.0 encoder: its settings, its tensors, its centres; and the file that keeps
 * them as a codec.
 *
 * File: the net's tensors under Hugging Face's names and "centroids" F32 (units, width); metadata "format" = "mot-hubert",
 * "version", "settings": JSON of the settings below, "merge_repeats".
 */
#include <math.h>
#include <stdlib.h>

#include "hubert_net.h"

enum { VERSION = 1, CONFIG_LIMIT = 1 << 24 };

/* ---- settings ---- */

static int read_strides(struct mot_hubert_settings *s, const char *name, const json_t *j)
{
    const json_t *list = json_object_get(j, "conv_stride");
    static const int usual[] = {5, 2, 2, 2, 2, 2, 2};
    for (int i = 0; i < MOT_COUNT(usual); i++)
        s->stride[i] = usual[i];
    s->n_strides = MOT_COUNT(usual);
    if (!list || json_is_null(list))
        return MOT_OK;
    size_t n = json_array_size(list);
    if (n < 1 || n > MOT_HUBERT_CONVS)
        return mot_fail(MOT_EFORMAT, "%s: \"conv_stride\": expected a list of 1 to %d", name, MOT_HUBERT_CONVS);
    s->n_strides = (int)n;
    for (size_t i = 0; i < n; i++) {
        s->stride[i] = json_integer_value(json_array_get(list, i));
        if (s->stride[i] < 1 || s->stride[i] > 1000)
            return mot_fail(MOT_EFORMAT, "%s: \"conv_stride\": expected numbers from 1 to 1000", name);
    }
    return MOT_OK;
}

/* A string setting that must be one of those that are understood. */
static int check_word(const char *name, const json_t *j, const char *key, const char *wanted)
{
    const char *word = wanted;
    int rc = mot_json_string(j, name, key, &word);
    return rc || strcmp(word, wanted) == 0 ? rc
         : mot_fail(MOT_EFORMAT, "%s: \"%s\" is \"%.40s\"; this program knows \"%s\" alone", name, key, word, wanted);
}

static int read_settings(struct mot_hubert_settings *s, const char *name, const json_t *j)
{
    bool batch_norm = false;
    *s = (struct mot_hubert_settings){.heads = 12, .groups = 16, .eps = 1e-5};
    int rc = json_is_object(j) ? read_strides(s, name, j) : mot_fail(MOT_EFORMAT, "%s: expected a JSON object", name);
    if (!rc)
        rc = mot_json_int(j, name, "num_attention_heads", 1, 10000, &s->heads);
    if (!rc)
        rc = mot_json_int(j, name, "num_conv_pos_embedding_groups", 1, 100000, &s->groups);
    if (!rc)
        rc = mot_json_bool(j, name, "do_stable_layer_norm", &s->stable);
    if (!rc)
        rc = mot_json_bool(j, name, "do_normalize", &s->normalize);
    if (!rc)
        rc = mot_json_real(j, name, "layer_norm_eps", 0, 1, &s->eps);
    if (!rc)
        rc = mot_json_int(j, name, "layer", -1, MOT_HUBERT_LAYERS, &s->layer);
    if (!rc)
        rc = check_word(name, j, "hidden_act", "gelu");
    if (!rc)
        rc = check_word(name, j, "feat_extract_activation", "gelu");
    if (!rc)
        rc = mot_json_bool(j, name, "conv_pos_batch_norm", &batch_norm);
    return !rc && batch_norm ? mot_fail(MOT_EFORMAT, "%s: \"conv_pos_batch_norm\" is not known here", name) : rc;
}

/* DIR/NAME of the file at path. */
static char *beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return slash ? mot_format("%.*s/%s", (int)(slash - path), path, name) : mot_strdup(name);
}

/* config.json and, if it is there, preprocessor_config.json, which knows whether waves are normalised: so they are if
 * it does not say. */
static int read_configs(struct mot_hubert_settings *s, const char *from, const char *config)
{
    char *path = config ? mot_strdup(config) : beside(from, "config.json");
    char *more = beside(path ? path : from, "preprocessor_config.json");
    json_t *j = path && more ? mot_json_load(path, CONFIG_LIMIT) : NULL, *k = NULL;
    int rc = j ? read_settings(s, path, j) : path && more ? MOT_EFORMAT : MOT_ENOMEM;
    s->normalize = true;
    if (!rc && mot_file_exists(more) && !(k = mot_json_load(more, CONFIG_LIMIT)))
        rc = MOT_EFORMAT;
    int64_t rate = MOT_RATE;
    if (!rc && k)
        rc = mot_json_bool(k, more, "do_normalize", &s->normalize);
    if (!rc && k)
        rc = mot_json_int(k, more, "sampling_rate", 1, 1000000, &rate);
    if (!rc && rate != MOT_RATE)
        rc = mot_fail(MOT_EFORMAT, "%s: sampling_rate %lld; this program knows %d", more, (long long)rate, MOT_RATE);
    json_decref(j);
    json_decref(k);
    mot_free(path);
    mot_free(more);
    return rc;
}

static char *settings_text(const struct mot_hubert_settings *s)
{
    json_t *strides = json_array();
    for (int i = 0; i < s->n_strides; i++)
        json_array_append_new(strides, json_integer(s->stride[i]));
    json_t *j = json_pack("{s:I, s:I, s:I, s:o, s:b, s:b, s:f}", "layer", (json_int_t)s->layer, "num_attention_heads",
                          (json_int_t)s->heads, "num_conv_pos_embedding_groups", (json_int_t)s->groups, "conv_stride", strides,
                          "do_stable_layer_norm", s->stable, "do_normalize", s->normalize, "layer_norm_eps", s->eps);
    char text[1024];
    size_t n = j ? json_dumpb(j, text, sizeof text, JSON_COMPACT) : 0;
    json_decref(j);
    return n > 0 && n <= sizeof text ? mot_strndup(text, n) : NULL;
}

/* ---- the net ---- */

static struct mot_hubert_affine take_norm(struct mot_net *n, const char *name, int64_t C)
{
    return (struct mot_hubert_affine){mot_net_take(n, 1, &C, "%s.weight", name), mot_net_take(n, 1, &C, "%s.bias", name)};
}

/* Linears that follow each other's outputs, as one: weights, then biases, in one array. */
static struct mot_hubert_affine take_linear(struct mot_net *n, const char *name, const char *const *part, int parts,
                                            int64_t I, int64_t O)
{
    float *all = mot_keep_floats(n->keep, (size_t)(parts * O), (size_t)(I + 1));
    struct mot_hubert_affine l = {all, all ? all + parts * O * I : NULL};
    for (int i = 0; i < parts; i++) {
        const float *w = mot_net_take(n, 2, (const int64_t[]){O, I}, "%s%s.weight", name, part[i]);
        const float *b = mot_net_take(n, 1, &O, "%s%s.bias", name, part[i]);
        if (all && w && b) {
            memcpy(all + i * O * I, w, (size_t)(O * I) * sizeof *w);
            memcpy(all + (parts * I + i) * O, b, (size_t)O * sizeof *b);
        }
    }
    n->out_of_memory |= !all;
    return l;
}

int64_t mot_hubert_least(const struct mot_hubert *h)
{
    int64_t n = 1;
    for (int i = h->n_convs - 1; i >= 0 && n <= MOT_HUBERT_PIECE; i--)
        n = (n - 1) * h->conv[i].shape.stride + h->conv[i].shape.kw;
    return n;
}

static void take_convs(struct mot_hubert *h, struct mot_net *n)
{
    int64_t C = 1;
    h->group_norm = !mot_net_find(n, "feature_extractor.conv_layers.1.layer_norm.weight");
    while (h->n_convs < MOT_HUBERT_CONVS && mot_net_find(n, "feature_extractor.conv_layers.%d.conv.weight", h->n_convs)) {
        int i = h->n_convs++;
        struct mot_hubert_conv *c = &h->conv[i];
        int64_t O = mot_net_size(n, 0, "feature_extractor.conv_layers.%d.conv.weight", i);
        c->shape = (struct mot_conv){.H = 1, .OH = 1, .C = C, .O = O, .kh = 1, .up = 1, .groups = 1, .stride = h->s.stride[i],
                                     .kw = mot_net_size(n, 2, "feature_extractor.conv_layers.%d.conv.weight", i)};
        c->w = mot_net_take_conv(n, &c->shape, 3, "feature_extractor.conv_layers.%d.conv.weight", i);
        if (mot_net_find(n, "feature_extractor.conv_layers.%d.conv.bias", i))
            c->b = mot_net_take(n, 1, &O, "feature_extractor.conv_layers.%d.conv.bias", i);
        char name[100];
        snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.layer_norm", i);
        if (i == 0 || !h->group_norm)
            c->norm = take_norm(n, name, O);
        C = O;
    }
    if (h->n_convs != h->s.n_strides)
        mot_net_complain(n, "it has %d convolutions, \"conv_stride\" %d numbers", h->n_convs, h->s.n_strides);
    else if (mot_hubert_least(h) > MOT_HUBERT_PIECE)
        mot_net_complain(n, "its convolutions see more than %d samples at once", MOT_HUBERT_PIECE);
}

/* The kernel is g v / |v|, where |v| is over all but the place in the kernel. */
static void take_position(struct mot_hubert *h, struct mot_net *n)
{
    static const char *const spelling[2][2] = {
        {"encoder.pos_conv_embed.conv.weight_v", "encoder.pos_conv_embed.conv.weight_g"},
        {"encoder.pos_conv_embed.conv.parametrizations.weight.original1",
         "encoder.pos_conv_embed.conv.parametrizations.weight.original0"}};
    const char *const *name = spelling[mot_net_find(n, "%s", spelling[1][0]) ? 1 : 0];
    int64_t K = mot_net_size(n, 2, "%s", name[0]), I = h->C / h->s.groups;
    if (h->C % h->s.groups != 0) {
        mot_net_complain(n, "%lld channels in %lld groups", (long long)h->C, (long long)h->s.groups);
        return;
    }
    h->position.shape = (struct mot_conv){.H = 1, .OH = 1, .C = h->C, .O = h->C, .kh = 1, .kw = K, .stride = 1, .left = K / 2,
                                          .up = 1, .groups = h->s.groups};
    float *w = mot_net_take_conv(n, &h->position.shape, 3, "%s", name[0]);
    const float *g = mot_net_take(n, 3, (const int64_t[]){1, 1, K}, "%s", name[1]);
    h->position.w = w;
    h->position.b = mot_net_take(n, 1, &h->C, "encoder.pos_conv_embed.conv.bias");
    /* w (groups, 1, K, I, O / groups) */
    int64_t inner = I * I;
    for (int64_t k = 0; w && g && k < K; k++) {
        double sum = 0;
        for (int64_t group = 0; group < h->s.groups; group++)
            for (int64_t i = 0; i < inner; i++)
                sum += (double)w[(group * K + k) * inner + i] * (double)w[(group * K + k) * inner + i];
        float scale = sum > 0 ? (float)((double)g[k] / sqrt(sum)) : 0;
        for (int64_t group = 0; group < h->s.groups; group++)
            for (int64_t i = 0; i < inner; i++)
                w[(group * K + k) * inner + i] *= scale;
    }
}

static void take_layer(struct mot_hubert *h, struct mot_net *n, int i)
{
    static const char *const qkv[] = {"q_proj", "k_proj", "v_proj"}, *const out[] = {"out_proj"};
    static const char *const up[] = {"intermediate_dense"}, *const down[] = {"output_dense"};
    struct mot_hubert_layer *l = &h->layer[i];
    char name[100];
    snprintf(name, sizeof name, "encoder.layers.%d.attention.", i);
    l->qkv = take_linear(n, name, qkv, 3, h->C, h->C);
    l->out = take_linear(n, name, out, 1, h->C, h->C);
    snprintf(name, sizeof name, "encoder.layers.%d.feed_forward.", i);
    l->up = take_linear(n, name, up, 1, h->C, h->F);
    l->down = take_linear(n, name, down, 1, h->F, h->C);
    snprintf(name, sizeof name, "encoder.layers.%d.layer_norm", i);
    l->norm = take_norm(n, name, h->C);
    snprintf(name, sizeof name, "encoder.layers.%d.final_layer_norm", i);
    l->last_norm = take_norm(n, name, h->C);
}

/* Everything up to the layer that is wanted; < 0: all.  What is wrong becomes the net's complaints. */
static void read_net(struct mot_hubert *h, struct mot_net *n)
{
    static const char *const projection[] = {"projection"};
    take_convs(h, n);
    int64_t last = h->n_convs ? h->conv[h->n_convs - 1].shape.O : 0;
    h->C = mot_net_size(n, 0, "feature_projection.projection.weight");
    h->F = mot_net_size(n, 0, "encoder.layers.0.feed_forward.intermediate_dense.weight");
    while (h->layers_in_file < MOT_HUBERT_LAYERS &&
           mot_net_find(n, "encoder.layers.%d.attention.q_proj.weight", h->layers_in_file))
        h->layers_in_file++;
    if (h->s.layer > h->layers_in_file)
        mot_net_complain(n, "layer %lld is wanted, it has %d", (long long)h->s.layer, h->layers_in_file);
    if (h->C % h->s.heads != 0)
        mot_net_complain(n, "%lld channels for %lld heads", (long long)h->C, (long long)h->s.heads);
    if (mot_net_find(n, "feature_projection.layer_norm.weight"))
        h->project_norm = take_norm(n, "feature_projection.layer_norm", last);
    h->project = take_linear(n, "feature_projection.", projection, 1, last, h->C);
    take_position(h, n);
    bool all = h->s.layer < 0 || h->s.layer > h->layers_in_file;
    h->n_layers = all ? h->layers_in_file : (int)h->s.layer;
    if (!h->s.stable || all) /* in a net with norms before each part it is the last thing of all */
        h->norm = take_norm(n, "encoder.layer_norm", h->C);
    for (int i = 0; i < h->n_layers; i++)
        take_layer(h, n, i);
}

static struct mot_hubert *new_hubert(void)
{
    const struct mot_kernels *cpu = mot_device_find("cpu", "f32");
    struct mot_hubert *h = cpu ? mot_alloc(1, sizeof *h) : NULL;
    if (h) {
        pthread_mutex_init(&h->lock, NULL);
        h->kernels = cpu;
    }
    return h;
}

static const char MARK[] = "feature_extractor.conv_layers.0.conv.weight";

struct mot_hubert *mot_hubert_open(const char *from, const char *config, int layer)
{
    struct mot_hubert *h = new_hubert();
    int rc = h ? read_configs(&h->s, from, config) : MOT_ENOMEM;
    if (!rc)
        rc = mot_net_open(&h->net, from, MARK, &h->keep);
    if (!rc) {
        h->s.layer = layer;
        read_net(h, &h->net);
        rc = mot_net_verdict(&h->net, "a HuBERT or wav2vec 2.0 encoder");
    }
    if (!rc)
        return h;
    mot_hubert_free(h);
    return NULL;
}

int mot_hubert_set_centres(struct mot_hubert *h, const float *centre, int units)
{
    float *kept = mot_keep_floats(&h->keep, (size_t)units, (size_t)h->C);
    if (!kept)
        return MOT_ENOMEM;
    memcpy(kept, centre, (size_t)units * (size_t)h->C * sizeof *kept);
    h->centre = kept;
    h->units = units;
    mot_codebook_free(&h->search);
    return mot_codebook_init(&h->search, kept, units, (int)h->C);
}

/* The tensor of centres among those of a file. */
static const struct mot_st_tensor *find_centres(const struct mot_st *s, int64_t C)
{
    const struct mot_st_tensor *found = NULL;
    for (int64_t i = 0; i < s->n; i++) {
        const struct mot_st_tensor *t = &s->tensor[i];
        if (t->rank != 2 || t->shape[1] != C)
            continue;
        if (found)
            return NULL;
        found = t;
    }
    return found;
}

int mot_hubert_read_centres(struct mot_hubert *h, const char *path)
{
    struct mot_st s = {0};
    int rc = mot_st_open(&s, path);
    const struct mot_st_tensor *t = rc ? NULL : find_centres(&s, h->C);
    if (!rc && (!t || t->shape[0] < 2 || t->shape[0] > 65536))
        rc = mot_fail(MOT_EFORMAT, "%s: expected one tensor of shape [units, %lld] with 2 to 65536 units: k-means' centres",
                      path, (long long)h->C);
    float *x = rc ? NULL : mot_alloc((size_t)t->count, sizeof *x);
    if (!rc)
        rc = x ? mot_st_read_f32(&s, t, x) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < t->count; i++)
        if (!isfinite(x[i]))
            rc = mot_fail(MOT_EFORMAT, "%s: centre %lld has a value that is NaN or infinite", path, (long long)(i / h->C));
    if (!rc)
        rc = mot_hubert_set_centres(h, x, (int)t->shape[0]);
    mot_free(x);
    mot_st_close(&s);
    return rc;
}

int mot_hubert_save(struct mot_hubert *h, bool merge_repeats, const char *path)
{
    char *settings = settings_text(&h->s);
    const char *const metadata[] = {"format", "mot-hubert", "version", "1", "settings", settings, "merge_repeats",
                                    merge_repeats ? "1" : "0"};
    const struct mot_st_decl centres = {"centroids", MOT_F32, 2, {h->units, h->C}};
    int rc = settings ? mot_net_save(&h->net, path, metadata, 4, &centres, h->centre) : MOT_ENOMEM;
    mot_free(settings);
    return rc;
}

static int load(struct mot_hubert *h, const char *path)
{
    int rc = mot_net_open(&h->net, path, MARK, &h->keep);
    const char *version = rc ? NULL : mot_net_metadata(&h->net, "version"),
               *text = rc ? NULL : mot_net_metadata(&h->net, "settings"),
               *merge = rc ? NULL : mot_net_metadata(&h->net, "merge_repeats");
    if (rc)
        return rc;
    if (!version || strcmp(version, "1") != 0)
        return mot_fail(version ? MOT_EVERSION : MOT_EFORMAT, "%s: version %s, this program reads %d", path,
                        version ? version : "not known", VERSION);
    json_t *j = text ? mot_json_parse(path, text, strlen(text)) : NULL;
    if (!text || !merge)
        rc = mot_fail(MOT_EFORMAT, "%s: metadata \"settings\" or \"merge_repeats\" is missing", path);
    else
        rc = j ? read_settings(&h->s, path, j) : MOT_EFORMAT;
    json_decref(j);
    if (rc)
        return rc;
    h->merge = strcmp(merge, "1") == 0;
    read_net(h, &h->net);
    h->units = (int)mot_net_size(&h->net, 0, "centroids");
    h->centre = mot_net_take(&h->net, 2, (const int64_t[]){-1, h->C}, "centroids");
    if (h->centre && (h->units < 2 || h->units > 65536))
        mot_net_complain(&h->net, "%d centres", h->units);
    rc = mot_net_verdict(&h->net, "a HuBERT codec");
    return rc ? rc : mot_codebook_init(&h->search, h->centre, h->units, (int)h->C);
}

struct mot_hubert *mot_hubert_load(const char *path)
{
    struct mot_hubert *h = new_hubert();
    if (h && load(h, path) == MOT_OK) {
        mot_net_close(&h->net);
        return h;
    }
    mot_hubert_free(h);
    return NULL;
}
