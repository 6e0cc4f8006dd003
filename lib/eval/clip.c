/* SPDX-License-Identifier: MIT
 *
 * clip.c - CLIP (Radford et al. 2021) under the names that transformers' CLIPModel gives its tensors: a picture, and a text, as
 * vectors of one space.
 *
 * Two transformers with norms before each part.  A picture's is of patches behind a class token, whose last state is the picture;
 * a text's is causal, and the state of its end token is the text.  Pictures become squares as CLIPProcessor makes them: the shorter
 * side resized by Pillow's BICUBIC, the middle cut out, each channel less its mean over its deviation.  Sizes are told by the
 * tensors; config.json tells the heads, the nonlinearity and the norms' epsilon.
 */
#include <math.h>
#include <omp.h>

#include "../token/net.h"
#include "eval.h"

enum { LAYERS = 64, LIMIT = 1 << 26 };

struct affine {
    const float *w, *b; /* a norm's; a linear's with the bias behind the weight */
};
struct layer {
    struct affine norm, qkv, out, second, up, down;
};
struct tower {
    const char *name;
    int64_t C, F, heads, rows, width; /* rows: the most there are; width: of the space */
    double eps;
    bool exact; /* GELU, else its quick form */
    int n;
    struct layer layer[LAYERS];
    struct affine last; /* the norm behind them */
    const float *position, *projection;
};
struct mot_clip {
    char *folder;
    struct mot_keep keep;
    struct tower text, vision;
    int64_t vocabulary, side;
    const float *token, *class; /* embeddings */
    struct mot_conv patches;
    const float *patch;
    struct affine first; /* the norm before the picture's layers */
    struct mot_tokenizer *t;
    const struct mot_kernels *kernels;
    struct mot_device *d;
    float *x, *a, *b;
};

/* ---- reading ---- */

static int configure(struct tower *t, const json_t *config, const char *name, const char *key, int64_t heads)
{
    const json_t *o = json_object_get(config, key);
    const char *act = "quick_gelu";
    t->heads = heads;
    t->eps = 1e-5;
    if (!o)
        return MOT_OK;
    if (mot_json_int(o, name, "num_attention_heads", 1, 1024, &t->heads) || mot_json_real(o, name, "layer_norm_eps", 0, 1, &t->eps) ||
        mot_json_string(o, name, "hidden_act", &act))
        return MOT_EFORMAT;
    t->exact = strcmp(act, "gelu") == 0;
    if (!t->exact && strcmp(act, "quick_gelu") != 0)
        return mot_fail(MOT_EFORMAT, "%s: \"hidden_act\" of %s is \"%s\", this program knows quick_gelu and gelu", name, key, act);
    return MOT_OK;
}

static int read_config(struct mot_clip *c)
{
    char *path = mot_path(c->folder, "config.json");
    json_t *config = path ? mot_json_load(path, LIMIT) : NULL;
    int rc = config ? configure(&c->text, config, path, "text_config", 8) : MOT_EFORMAT;
    if (!rc)
        rc = configure(&c->vision, config, path, "vision_config", 12);
    json_decref(config);
    mot_free(path);
    return rc;
}

static struct affine take_norm(struct mot_net *n, const char *name, int64_t C)
{
    return (struct affine){mot_net_take(n, 1, &C, "%s.weight", name), mot_net_take(n, 1, &C, "%s.bias", name)};
}

/* One linear of parts (O, I) over each other, with their biases behind them. */
static struct affine take_linear(struct mot_net *n, const char *before, const char *const *part, int parts, int64_t I, int64_t O)
{
    float *w = mot_keep_floats(n->keep, (size_t)(I + 1), (size_t)(O * parts));
    n->out_of_memory |= !w;
    for (int k = 0; w && k < parts; k++) {
        const float *weight = mot_net_take(n, 2, (const int64_t[]){O, I}, "%s%s.weight", before, part[k]);
        const float *bias = mot_net_take(n, 1, &O, "%s%s.bias", before, part[k]);
        if (weight && bias) {
            memcpy(w + k * O * I, weight, (size_t)(O * I) * sizeof *w);
            memcpy(w + parts * O * I + k * O, bias, (size_t)O * sizeof *w);
        }
    }
    return (struct affine){w, w ? w + parts * O * I : NULL};
}

static void take_layer(struct mot_net *n, struct tower *t, int i)
{
    static const char *const qkv[] = {"q_proj", "k_proj", "v_proj"}, *const out[] = {"out_proj"}, *const up[] = {"fc1"},
                             *const down[] = {"fc2"};
    char name[100];
    struct layer *l = &t->layer[i];
    snprintf(name, sizeof name, "%s.encoder.layers.%d.layer_norm1", t->name, i);
    l->norm = take_norm(n, name, t->C);
    snprintf(name, sizeof name, "%s.encoder.layers.%d.layer_norm2", t->name, i);
    l->second = take_norm(n, name, t->C);
    snprintf(name, sizeof name, "%s.encoder.layers.%d.self_attn.", t->name, i);
    l->qkv = take_linear(n, name, qkv, 3, t->C, t->C);
    l->out = take_linear(n, name, out, 1, t->C, t->C);
    snprintf(name, sizeof name, "%s.encoder.layers.%d.mlp.", t->name, i);
    l->up = take_linear(n, name, up, 1, t->C, t->F);
    l->down = take_linear(n, name, down, 1, t->F, t->C);
}

/* What both have; the last norm and the projection bear names of their own. */
static void take_tower(struct mot_net *n, struct tower *t, const char *name, const char *last, const char *projection)
{
    char text[100];
    t->name = name;
    t->rows = mot_net_size(n, 0, "%s.embeddings.position_embedding.weight", name);
    t->C = mot_net_size(n, 1, "%s.embeddings.position_embedding.weight", name);
    t->F = mot_net_size(n, 0, "%s.encoder.layers.0.mlp.fc1.weight", name);
    t->width = mot_net_size(n, 0, "%s.weight", projection);
    if (t->rows < 2 || t->C < 1 || t->F < 1 || t->width < 1 || t->rows > 1 << 20 || t->C > 1 << 16 || t->F > 1 << 18 || t->C % t->heads) {
        mot_net_complain(n, "%s: %lld positions of %lld channels, %lld heads, %lld channels within its layers and %lld behind them: "
                         "no such", name, (long long)t->rows, (long long)t->C, (long long)t->heads, (long long)t->F,
                         (long long)t->width);
        return;
    }
    t->position = mot_net_take(n, 2, (const int64_t[]){t->rows, t->C}, "%s.embeddings.position_embedding.weight", name);
    t->projection = mot_net_take(n, 2, (const int64_t[]){t->width, t->C}, "%s.weight", projection);
    while (t->n < LAYERS && mot_net_find(n, "%s.encoder.layers.%d.layer_norm1.weight", name, t->n))
        take_layer(n, t, t->n++);
    snprintf(text, sizeof text, "%s.%s", name, last);
    t->last = take_norm(n, text, t->C);
}

static void take_vision(struct mot_clip *c, struct mot_net *n)
{
    int64_t patch = mot_net_size(n, 2, "vision_model.embeddings.patch_embedding.weight"), across = 1;
    take_tower(n, &c->vision, "vision_model", "post_layernorm", "visual_projection");
    if (!c->vision.position)
        return;
    while (across * across < c->vision.rows - 1)
        across++;
    if (patch < 1 || patch > 1 << 10 || across * across != c->vision.rows - 1 || across > 1 << 10) {
        mot_net_complain(n, "%lld patches of %lld pixels make no square", (long long)c->vision.rows - 1, (long long)patch);
        return;
    }
    c->side = across * patch;
    c->patches = (struct mot_conv){.H = c->side, .W = c->side, .C = 3, .OH = across, .OW = across, .O = c->vision.C, .kh = patch,
                                   .kw = patch, .stride = patch, .up = 1, .groups = 1};
    c->patch = mot_net_take_conv(n, &c->patches, 4, "vision_model.embeddings.patch_embedding.weight");
    c->class = mot_net_take(n, 1, &c->vision.C, "vision_model.embeddings.class_embedding");
    c->first = take_norm(n, "vision_model.pre_layrnorm", c->vision.C); /* so it is spelt */
}

static void take_text(struct mot_clip *c, struct mot_net *n)
{
    take_tower(n, &c->text, "text_model", "final_layer_norm", "text_projection");
    c->vocabulary = mot_net_size(n, 0, "text_model.embeddings.token_embedding.weight");
    c->token = mot_net_take(n, 2, (const int64_t[]){-1, c->text.C}, "text_model.embeddings.token_embedding.weight");
    if (c->text.width != c->vision.width)
        mot_net_complain(n, "texts become %lld numbers and pictures %lld", (long long)c->text.width, (long long)c->vision.width);
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int make_room(struct mot_clip *c, int threads)
{
    const struct tower *t = &c->text, *v = &c->vision;
    int64_t rows = greater(t->rows, v->rows), C = greater(t->C, v->C), F = greater(greater(t->F, v->F), 3 * C);
    struct mot_limits l = {.N = rows, .segment = 1, .C = C, .H = greater(t->heads, v->heads), .K = greater(t->heads, v->heads),
                           .D = greater(t->C / t->heads, v->C / v->heads), .F = F, .V = 1, .G = 1, .conv = &c->patches, .n_conv = 1,
                           .norm_rows = rows, .norm_width = C, .attend = rows};
    c->kernels = mot_device_find("cpu", "f32");
    c->d = c->kernels ? mot_net_device(c->kernels, threads > 0 ? threads : omp_get_max_threads(), &l) : NULL;
    if (!c->d)
        return MOT_EDEVICE;
    c->x = mot_alloc((size_t)rows, (size_t)C * sizeof *c->x);
    c->a = mot_alloc((size_t)greater(rows * F, 3 * c->side * c->side), sizeof *c->a);
    c->b = mot_alloc((size_t)rows, (size_t)C * sizeof *c->b);
    return c->x && c->a && c->b ? MOT_OK : MOT_ENOMEM;
}

static int open_clip(struct mot_clip *c, const char *path, int threads)
{
    char *inside = mot_path(path, "config.json"), *index = mot_path(path, "model.safetensors.index.json"),
         *file = mot_path(path, "model.safetensors");
    static const char *const layers[] = {"text_model.encoder.", "vision_model.encoder."};
    const char *slash = strrchr(path, '/');
    bool folder = inside && mot_file_exists(inside), parted = index && mot_file_exists(index);
    struct mot_net n = {0};
    c->folder = folder ? mot_strdup(path) : slash ? mot_strndup(path, (size_t)(slash - path) + (slash == path)) : mot_strdup(".");
    int rc = inside && index && file && c->folder ? read_config(c) : MOT_ENOMEM;
    if (!rc)
        rc = mot_net_open(&n, !folder ? path : parted ? index : file, "text_model.embeddings.token_embedding.weight", &c->keep);
    if (!rc) {
        take_vision(c, &n);
        take_text(c, &n);
        mot_net_complain_unused(&n, layers, MOT_COUNT(layers));
        rc = mot_net_verdict(&n, "a CLIPModel");
    }
    mot_net_close(&n);
    mot_free(inside);
    mot_free(index);
    mot_free(file);
    if (!rc)
        rc = make_room(c, threads);
    if (!rc)
        c->t = mot_tokenizer_open(c->folder);
    return rc ? rc : c->t ? MOT_OK : MOT_EFORMAT;
}

struct mot_clip *mot_clip_open(const char *path, int threads)
{
    struct mot_clip *c = mot_alloc(1, sizeof *c);
    if (c && open_clip(c, path, threads)) {
        mot_clip_close(c);
        return NULL;
    }
    return c;
}

void mot_clip_close(struct mot_clip *c)
{
    if (!c)
        return;
    if (c->d)
        c->kernels->close(c->d);
    mot_tokenizer_close(c->t);
    mot_keep_free(&c->keep);
    mot_free(c->folder);
    mot_free(c->x);
    mot_free(c->a);
    mot_free(c->b);
    mot_free(c);
}

int mot_clip_width(const struct mot_clip *c)
{
    return (int)c->text.width;
}

/* ---- running ---- */

/* Attention of each row to those up to it; texts are short. */
static void attend_before(float *o, const float *qkv, int64_t N, int64_t H, int64_t D, float scale)
{
    int64_t C = H * D;
    for (int64_t h = 0; h < H; h++)
        for (int64_t i = 0; i < N; i++) {
            const float *q = qkv + i * 3 * C + h * D;
            float *out = o + i * C + h * D, most = -INFINITY, sum = 0;
            for (int64_t c = 0; c < D; c++)
                out[c] = 0;
            for (int pass = 0; pass < 2; pass++) /* the largest, for exp to stay small, then the sums */
                for (int64_t t = 0; t <= i; t++) {
                    const float *k = qkv + t * 3 * C + C + h * D, *v = k + C;
                    float z = 0;
                    for (int64_t c = 0; c < D; c++)
                        z += scale * q[c] * k[c];
                    if (pass == 0) {
                        most = fmaxf(most, z);
                        continue;
                    }
                    float e = expf(z - most);
                    sum += e;
                    for (int64_t c = 0; c < D; c++)
                        out[c] += e * v[c];
                }
            for (int64_t c = 0; c < D; c++)
                out[c] /= sum;
        }
}

static void linear(const struct mot_clip *c, float *y, const float *x, struct affine l, int64_t rows, int64_t I, int64_t O, int add)
{
    const struct mot_group g = {0, rows, 0, l.b - l.w, 0, 0};
    c->kernels->linear(c->d, y, x, l.w, &g, 1, I, O, add);
}

static void activate(const struct mot_clip *c, const struct tower *t, float *x, int64_t n)
{
    if (t->exact)
        c->kernels->activate(c->d, x, x, n, MOT_ACT_GELU, 0);
    for (int64_t i = 0; !t->exact && i < n; i++)
        x[i] = x[i] / (1 + expf(-1.702f * x[i]));
}

/* c->x through the layers. */
static void run(const struct mot_clip *c, const struct tower *t, int64_t rows, bool causal)
{
    const struct mot_kernels *k = c->kernels;
    int64_t C = t->C, D = C / t->heads;
    float scale = 1 / sqrtf((float)D), eps = (float)t->eps;
    for (int i = 0; i < t->n; i++) {
        const struct layer *l = &t->layer[i];
        k->layernorm(c->d, c->b, c->x, l->norm.w, l->norm.b, rows, C, eps, MOT_ACT_NONE);
        linear(c, c->a, c->b, l->qkv, rows, C, 3 * C, 0);
        if (causal)
            attend_before(c->b, c->a, rows, t->heads, D, scale);
        else
            k->attend(c->d, c->b, c->a, rows, t->heads, D, scale);
        linear(c, c->x, c->b, l->out, rows, C, C, 1);
        k->layernorm(c->d, c->b, c->x, l->second.w, l->second.b, rows, C, eps, MOT_ACT_NONE);
        linear(c, c->a, c->b, l->up, rows, C, t->F, 0);
        activate(c, t, c->a, rows * t->F);
        linear(c, c->x, c->a, l->down, rows, t->F, C, 1);
    }
}

/* A row of c->x as a vector of length 1 of the common space. */
static int project(const struct mot_clip *c, const struct tower *t, int64_t row, float *out)
{
    double square = 0;
    c->kernels->layernorm(c->d, c->b, c->x + row * t->C, t->last.w, t->last.b, 1, t->C, (float)t->eps, MOT_ACT_NONE);
    for (int64_t o = 0; o < t->width; o++) {
        double sum = 0;
        for (int64_t i = 0; i < t->C; i++)
            sum += (double)t->projection[o * t->C + i] * (double)c->b[i];
        out[o] = (float)sum;
        square += sum * sum;
    }
    if (!(square > 0) || !isfinite(square))
        return mot_fail(MOT_EFORMAT, "%s makes of it what has no direction: are these the weights of this net?", t->name);
    for (int64_t o = 0; o < t->width; o++)
        out[o] = (float)((double)out[o] / sqrt(square));
    return mot_net_wait(c->kernels, c->d);
}

static int prepare(const struct mot_clip *c, const struct mot_image *im, struct mot_image *out)
{
    int64_t side = c->side, shorter = im->width < im->height ? im->width : im->height;
    if (shorter < 1)
        return mot_fail(MOT_EARG, "a picture without pixels");
    int64_t width = side * im->width / shorter, height = side * im->height / shorter;
    struct mot_window w = {(width - side) / 2, (height - side) / 2, (int)side, (int)side};
    return mot_image_bicubic(im, width, height, &w, out);
}

int mot_clip_picture(struct mot_clip *c, const struct mot_image *im, float *out)
{
    static const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f}, deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    const struct tower *t = &c->vision;
    struct mot_image square = {0};
    int rc = prepare(c, im, &square);
    if (rc)
        return rc;
    for (int64_t i = 0; i < 3 * c->side * c->side; i++)
        c->a[i] = ((float)square.rgb[i] / 255 - mean[i % 3]) / deviation[i % 3];
    mot_image_free(&square);
    c->kernels->conv2d(c->d, c->x + t->C, c->a, c->patch, NULL, &c->patches, 0);
    memcpy(c->x, c->class, (size_t)t->C * sizeof *c->x);
    for (int64_t i = 0; i < t->rows * t->C; i++)
        c->x[i] += t->position[i];
    c->kernels->layernorm(c->d, c->x, c->x, c->first.w, c->first.b, t->rows, t->C, (float)t->eps, MOT_ACT_NONE);
    run(c, t, t->rows, false);
    return project(c, t, 0, out);
}

/* The text's ids between what tokenizer.json puts around it, cut to fit; *end: where its end token is. */
static int tokens(const struct mot_clip *c, const void *text, size_t n, struct mot_ids *ids, int64_t *end)
{
    struct mot_ids before = {0}, after = {0}, own = {0};
    int rc = mot_special_around(c->t, &before, &after);
    if (!rc)
        rc = mot_encode_text(c->t, text, n, &own);
    if (!rc && (after.n < 1 || before.n + after.n > c->text.rows))
        rc = mot_fail(MOT_EFORMAT, "%s/tokenizer.json: its post-processor puts no end token behind texts", c->folder);
    int64_t most = c->text.rows - before.n - after.n;
    if (!rc)
        rc = mot_ids_append(ids, before.id, before.n);
    if (!rc)
        rc = mot_ids_append(ids, own.id, own.n < most ? own.n : most);
    if (!rc)
        rc = mot_ids_append(ids, after.id, after.n);
    *end = 0;
    while (!rc && ids->id[*end] != after.id[after.n - 1]) /* the first: a text may have one in it */
        ++*end;
    for (int64_t i = 0; !rc && i < ids->n; i++)
        if (ids->id[i] < 0 || ids->id[i] >= c->vocabulary)
            rc = mot_fail(MOT_EFORMAT, "%s/tokenizer.json has id %d, the net embeds %lld", c->folder, ids->id[i], (long long)c->vocabulary);
    mot_ids_free(&before);
    mot_ids_free(&after);
    mot_ids_free(&own);
    return rc;
}

int mot_clip_text(struct mot_clip *c, const void *text, size_t n, float *out)
{
    const struct tower *t = &c->text;
    struct mot_ids ids = {0};
    int64_t end;
    int rc = tokens(c, text, n, &ids, &end);
    for (int64_t i = 0; !rc && i < ids.n * t->C; i++)
        c->x[i] = c->token[ids.id[i / t->C] * t->C + i % t->C] + t->position[i];
    if (!rc) {
        run(c, t, ids.n, true);
        rc = project(c, t, end, out);
    }
    mot_ids_free(&ids);
    return rc;
}
