/* SPDX-License-Identifier: MIT
 *
 * test_paint.c - a picture of vectors painted behind what a sequence remembers is the one that a model without memory makes,
 * which is shown the whole sequence at every step.
 */
#include <math.h>

#include "../../lib/generate/generate.h"
#include "../test.h"

enum { WIDTH = 12, TOKENS = 6, VALUES = TOKENS * WIDTH, WORDS = 20, PATCH = 20, BOI = 2, EOI = 3, CONTEXT = 40 };

/* Words, then the id that stands for a patch. */
static struct mot_vocab vocab(void)
{
    struct mot_vocab v = {.n_modalities = 2, .size = 21, .bos = 0, .eos = 1, .boi = BOI, .eoi = EOI, .bos_speech = -1, .eos_speech = -1};
    strcpy(v.modality[0].name, "text");
    strcpy(v.modality[1].name, "image");
    v.modality[0].n = WORDS;
    v.modality[1].first = PATCH, v.modality[1].n = 1, v.modality[1].width = WIDTH, v.modality[1].patch = 2;
    return v;
}

static struct mot_config config(const struct mot_vocab *v, enum mot_objective objective, int channels)
{
    struct mot_config c = {
        .hidden_size = 32, .intermediate_size = 48, .num_hidden_layers = 2, .num_attention_heads = 4, .num_key_value_heads = 2,
        .head_dim = 8, .max_position_embeddings = CONTEXT, .rope_theta = 10000, .rms_norm_eps = 1e-5, .initializer_range = 0.3,
        .diffusion = {objective, 100, 1}, .unet.channels = channels,
    };
    CHECK_INT(mot_config_settle(&c, "test", v, "mot"), MOT_OK);
    return c;
}

/* Random weights, and the same for what begins at 0 otherwise. */
static void fill(struct mot_model *m)
{
    CHECK_INT(mot_model_init(m, 3), MOT_OK);
    for (int64_t i = 0; i < m->table.n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        bool zero = t->weight == MOT_W_PATCH_OUT || t->weight == MOT_W_CONV_OUT || t->weight == MOT_W_RES_CONV_2;
        for (int64_t j = 0; zero && j < t->count; j++)
            m->params[t->offset + j] = (mot_real)(0.1 * mot_random_normal(2, 2, (uint64_t)j));
    }
}

static const int32_t prompt[] = {0, 7, 9, 11, BOI, PATCH}; /* and a target for the last */
static const uint16_t no_values[VALUES];

/* Ids before a picture, the picture, and those behind it. */
static void fill_batch(struct mot_batch *b, const int32_t *before, int64_t n, const int32_t *behind, int64_t m)
{
    int32_t id[CONTEXT + 1] = {0};
    struct mot_picture p = {.begin = n, .n = TOKENS, .rows = 2, .columns = 3};
    memcpy(id, before, (size_t)n * sizeof *id);
    for (int i = 0; i < TOKENS; i++)
        id[n + i] = PATCH;
    if (m)
        memcpy(id + n + TOKENS, behind, (size_t)m * sizeof *id);
    mot_batch_clear(b);
    CHECK_INT(mot_batch_add(b, id, n + TOKENS + m), MOT_OK);
    CHECK_INT(mot_batch_add_picture(b, &p, no_values, VALUES), MOT_OK);
}

/* What a model without memory tells. */
static void tell(struct mot_model *m, const int32_t *before, int64_t n, const float *x, double time, float *told)
{
    struct mot_batch b = {0};
    struct mot_seen seen = {.x = x, .target = x, .time = &time};
    fill_batch(&b, before, n, NULL, 0);
    CHECK_INT(mot_model_route(m, &b, 1, &seen), MOT_OK);
    CHECK_INT(mot_model_run(m, false), MOT_OK);
    CHECK_INT(mot_model_told(m, told), MOT_OK);
    mot_batch_free(&b);
}

/* The same picture by full passes: Euler's or DDIM's steps, midpoints by formula. */
static void paint_plainly(struct mot_model *m, const struct mot_painting *how, uint64_t seed, uint64_t stream, float *x)
{
    struct mot_levels l;
    CHECK_INT(mot_levels_new(&l, &m->config.diffusion), MOT_OK);
    for (int j = 0; j < VALUES; j++)
        x[j] = (float)mot_random_normal(seed, stream, (uint64_t)j);
    for (int i = 0; i < how->steps; i++) {
        struct mot_level a = mot_level_step(&l, i, how->steps), b = mot_level_step(&l, i + 1, how->steps);
        float told[VALUES], alone[VALUES], half[VALUES];
        bool midpoint = how->sampler == MOT_SAMPLE_MIDPOINT;
        memcpy(half, x, sizeof half);
        for (int pass = 0; pass <= midpoint; pass++) {
            struct mot_level at = pass ? mot_level_at(&l, (a.t + b.t) / 2) : a;
            tell(m, prompt, 5, half, at.time, told);
            tell(m, prompt + 4, 1, half, at.time, alone);
            for (int j = 0; j < VALUES; j++) {
                told[j] = alone[j] + (float)how->guidance * (told[j] - alone[j]);
                half[j] = x[j] + (float)((b.t - a.t) / 2) * told[j]; /* only for flow */
            }
        }
        mot_denoise(&l, how->sampler == MOT_SAMPLE_ANCESTRAL ? MOT_ANCESTRAL : MOT_STRAIGHT, a, b, how->clip, told, VALUES, seed,
                    stream + 1 + (uint64_t)i, x);
    }
    mot_levels_free(&l);
}

static void check_painting(enum mot_objective objective, struct mot_painting how, int channels)
{
    struct mot_vocab v = vocab();
    struct mot_config c = config(&v, objective, channels);
    const struct mot_kernels *k = mot_kernels_cpu(NULL, NULL, (char[200]){0}, 200);
    struct mot_model *m = mot_model_new_growing(&c, &v, k, 2, CONTEXT, CONTEXT, CONTEXT);
    struct mot_model *plain = mot_model_new(&c, &v, k, 2, CONTEXT, CONTEXT, false);
    struct mot_grid grid = {2, 3, WIDTH};
    struct mot_painter p;
    struct mot_past whole, alone;
    struct mot_batch b = {0};
    CHECK(m && plain);
    fill(m), fill(plain);
    CHECK_INT(mot_painter_new(&p, m, &grid, &how), MOT_OK);
    CHECK_INT(mot_past_new(m, CONTEXT, &whole), MOT_OK);
    CHECK_INT(mot_past_new(m, CONTEXT, &alone), MOT_OK);
    CHECK_INT(mot_batch_add(&b, prompt, 4), MOT_OK);
    CHECK_INT(mot_model_grow(m, &b, &whole, NULL), MOT_OK);
    for (int i = 0; i < 2; i++) {
        mot_batch_clear(&b);
        CHECK_INT(mot_batch_add(&b, prompt + 4, 1), MOT_OK);
        CHECK_INT(mot_model_grow(m, &b, i ? &alone : &whole, NULL), MOT_OK);
    }
    CHECK_INT(mot_paint(&p, m, &whole, how.guidance == 1 ? NULL : &alone, 7, 8), MOT_OK);
    float x[VALUES];
    paint_plainly(plain, &how, 7, 8, x);
    for (int j = 0; j < VALUES; j++)
        CHECK_NEAR(mot_from_f16(p.value[j]), x[j], 2e-3, 2e-3);
    /* What follows sees the clean picture. */
    CHECK_INT(whole.length, 5 + TOKENS);
    const int32_t behind[] = {EOI, 5, 6};
    mot_real z[2][21];
    mot_batch_clear(&b);
    CHECK_INT(mot_batch_add(&b, behind, 2), MOT_OK);
    CHECK_INT(mot_model_grow(m, &b, &whole, NULL), MOT_OK);
    CHECK_INT(mot_model_logits(m, (int64_t[]){1}, 1, z[0]), MOT_OK);
    struct mot_past fresh;
    CHECK_INT(mot_past_new(m, CONTEXT, &fresh), MOT_OK);
    fill_batch(&b, prompt, 5, behind, 2);
    struct mot_seen seen = {.x = p.x, .time = (double[]){0}};
    CHECK_INT(mot_model_grow(m, &b, &fresh, &seen), MOT_OK);
    CHECK_INT(mot_model_logits(m, (int64_t[]){5 + TOKENS + 1}, 1, z[1]), MOT_OK);
    for (int i = 0; i < 21; i++)
        CHECK_NEAR(z[0][i], z[1][i], 1e-4, 1e-4);
    k->free(m->d, whole.kv);
    k->free(m->d, alone.kv);
    k->free(m->d, fresh.kv);
    mot_batch_free(&b);
    mot_painter_free(&p);
    mot_model_free(m);
    mot_model_free(plain);
}

static void test_ddpm(void)
{
    check_painting(MOT_DDPM, (struct mot_painting){MOT_SAMPLE_DDIM, 8, 1, 1}, 0);
    check_painting(MOT_DDPM, (struct mot_painting){MOT_SAMPLE_DDIM, 8, 3, 1}, 0);
    check_painting(MOT_DDPM, (struct mot_painting){MOT_SAMPLE_ANCESTRAL, 12, 1, 1}, 0);
}

static void test_flow(void)
{
    check_painting(MOT_FLOW, (struct mot_painting){MOT_SAMPLE_EULER, 8, 1, 0}, 0);
    check_painting(MOT_FLOW, (struct mot_painting){MOT_SAMPLE_EULER, 8, 2, 0}, 0);
    check_painting(MOT_FLOW, (struct mot_painting){MOT_SAMPLE_MIDPOINT, 5, 1.5, 0}, 0);
}

static void test_unet(void)
{
    check_painting(MOT_DDPM, (struct mot_painting){MOT_SAMPLE_DDIM, 8, 2, 1}, 6);
    check_painting(MOT_FLOW, (struct mot_painting){MOT_SAMPLE_MIDPOINT, 5, 1, 0}, 4);
}

int main(void)
{
    RUN(test_ddpm);
    RUN(test_unet);
    RUN(test_flow);
    return test_end();
}
