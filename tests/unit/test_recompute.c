/* SPDX-License-Identifier: MIT
 *
 * test_recompute.c - what training steps do not keep and make again: the same losses and gradients to the last bit on every
 * backend, less memory as planned, and the FLOPs that were told.
 */
#include <stdlib.h>

#include "../../lib/profile/probe.h"
#include "../test.h"

enum { ROWS = 90, SEQ = 40, WORDS = 90, LAYERS = 3, LEVELS = 3 };

static struct mot_vocab vocab(void)
{
    static const char *const names[] = {"text", "image", "speech"};
    struct mot_vocab v = {.n_modalities = 3, .size = WORDS};
    for (int k = 0; k < 3; k++) {
        strcpy(v.modality[k].name, names[k]);
        v.modality[k].first = WORDS / 3 * k;
        v.modality[k].n = WORDS / 3;
    }
    return v;
}

static void describe(struct mot_config *c, bool post, enum mot_qk_norm norm, const char *arch)
{
    struct mot_vocab v = vocab();
    CHECK_INT(mot_config_load(c, "nano"), MOT_OK);
    c->hidden_size = 32;
    c->intermediate_size = 48;
    c->num_hidden_layers = LAYERS;
    c->num_attention_heads = 4;
    c->num_key_value_heads = 2;
    c->head_dim = 8;
    c->norm_post = post;
    c->qk_norm = norm;
    c->attention_bias = post;
    CHECK_INT(mot_config_settle(c, "test", &v, arch), MOT_OK);
}

/* A batch of pieces of SEQ; returns the pairs of query and key. */
static double fill(struct mot_batch *b)
{
    double pairs = 0;
    int32_t id[SEQ + 1];
    for (int64_t left = ROWS, n; left > 0; left -= n) {
        n = left < SEQ ? left : SEQ;
        for (int64_t i = 0; i <= n; i++)
            id[i] = (int32_t)mot_random_below(5, (uint64_t)left, (uint64_t)i, WORDS);
        CHECK_INT(mot_batch_add(b, id, n), MOT_OK);
        pairs += (double)n * (double)(n + 1) / 2;
    }
    return pairs;
}

static struct mot_model *model(const struct mot_config *c, const struct mot_kernels *k, enum mot_recompute level)
{
    struct mot_vocab v = vocab();
    struct mot_model *m = mot_model_new_training(c, &v, k, 2, ROWS, SEQ, level);
    CHECK(m);
    CHECK_INT(mot_model_init(m, 3), MOT_OK);
    return m;
}

/* Gradients, then losses, of two steps added. */
static float *gradients(const struct mot_config *c, const struct mot_kernels *k, enum mot_recompute level, size_t *n)
{
    struct mot_model *m = model(c, k, level);
    struct mot_batch b = {0};
    fill(&b);
    *n = (size_t)m->table.values + ROWS;
    float *x = malloc(*n * sizeof *x);
    CHECK(x);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(mot_model_route(m, &b, 1.0 / ROWS, NULL), MOT_OK);
        CHECK_INT(mot_model_run(m, true), MOT_OK);
    }
    k->read(m->d, x, m->grads, (size_t)m->table.values * sizeof *x);
    memcpy(x + m->table.values, m->host_nll, ROWS * sizeof *x);
    mot_batch_free(&b);
    mot_model_free(m);
    return x;
}

static void check_bits(const struct mot_kernels *k)
{
    static const enum mot_qk_norm norms[] = {MOT_QK_NONE, MOT_QK_RMS, MOT_QK_LAYER};
    for (int variant = 0; variant < 6; variant++) {
        struct mot_config c;
        size_t n, same;
        describe(&c, variant % 2, norms[variant / 2], variant == 3 ? "dense" : "mot");
        float *all = gradients(&c, k, MOT_RECOMPUTE_NONE, &n);
        for (int level = 1; level < LEVELS; level++) {
            float *again = gradients(&c, k, (enum mot_recompute)level, &same);
            CHECK(same == n && memcmp(all, again, n * sizeof *all) == 0);
            free(again);
        }
        free(all);
    }
}

static void test_bits(void)
{
    static const char *const dtypes[] = {"f32", "bf16"};
    char err[256];
    check_bits(mot_device_find("cpu", "f32"));
    for (int t = 0; t < 2; t++) {
        const struct mot_kernels *k = mot_kernels_cuda(dtypes[t], err, sizeof err);
        if (k)
            check_bits(k);
    }
}

/* Planned bytes of activations, each level less than the one before by what it does not keep. */
static void test_memory(void)
{
    for (int post = 0; post < 2; post++) {
        struct mot_config c;
        struct mot_memory plan[LEVELS];
        describe(&c, post, MOT_QK_RMS, "mot");
        for (int level = 0; level < LEVELS; level++)
            CHECK_INT(mot_model_plan(&c, mot_device_find("cpu", "f32"), ROWS, SEQ, true, (enum mot_recompute)level, 1,
                                     &plan[level]), MOT_OK);
        size_t row = ROWS * sizeof(float), width = (size_t)c.hidden_size;
        size_t normed = (post ? 1 : 2) * width;
        size_t inner = 2 * (4 + 2 * 2) * 8 + 4 * 8 + 4 + 3 * width + 2 * 48 + 2; /* qkv before and after RoPE, o, lse, ... */
        CHECK_NEAR((double)(plan[0].activations - plan[1].activations), (double)(row * (LAYERS * normed - width)), 64 * 20, 0);
        CHECK_NEAR((double)(plan[0].activations - plan[2].activations), (double)(row * (LAYERS - 1) * inner), 64 * 40, 0);
        CHECK(plan[0].weights == plan[2].weights && plan[0].workspace == plan[2].workspace);
    }
}

/* What is told of a step's FLOPs is what its calls are counted as. */
static void test_flops(void)
{
    for (int variant = 0; variant < 2 * LEVELS; variant++) {
        struct mot_config c;
        struct mot_probe p;
        struct mot_batch b = {0};
        double found = 0;
        enum mot_recompute level = (enum mot_recompute)(variant / 2);
        describe(&c, variant % 2, MOT_QK_NONE, "mot");
        struct mot_model *m = model(&c, mot_device_find("cpu", "f32"), level);
        struct mot_rows rows = {.n = ROWS, .pairs = fill(&b)};
        CHECK_INT(mot_probe_attach(&p, m, 0), MOT_OK);
        p.recording = true;
        CHECK_INT(mot_model_route(m, &b, 1, NULL), MOT_OK);
        CHECK_INT(mot_model_run(m, true), MOT_OK);
        for (enum mot_op op = 0; op < MOT_OPS; op++)
            for (int64_t l = -1; l < LAYERS; l++)
                for (int t = -1; t < 3; t++)
                    found += mot_probe_cell(&p, op, MOT_AGAIN, l, t)->flops;
        double told = mot_recompute_flops(&c, &rows, level);
        CHECK_NEAR(found, told, 0, 1e-12);
        CHECK_NEAR(p.flops, 3 * mot_forward_flops(&c, &rows) + told, 0, 1e-12);
        CHECK((told > 0) == (level == MOT_RECOMPUTE_BLOCK));
        mot_probe_detach(&p);
        mot_batch_free(&b);
        mot_model_free(m);
    }
    enum mot_recompute level;
    CHECK(mot_recompute_find("light", &level) == MOT_OK && level == MOT_RECOMPUTE_LIGHT);
    CHECK_INT(mot_recompute_find("most", &level), MOT_EARG);
    CHECK(strstr(mot_error(), "most") && strstr(mot_error(), "block"));
}

int main(void)
{
    RUN(test_bits);
    RUN(test_memory);
    RUN(test_flops);
    return test_end();
}
