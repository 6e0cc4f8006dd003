/* SPDX-License-Identifier: MIT
 *
 * test_model_double.c - the whole model's gradient against central differences, in double.
 *
 * A 2-layer net over 3 modalities, in every variant that changes the network: norm placement, QK-norm,
 * grouped queries, biases, tied embeddings, z-loss, loss weights, and every component with towers of its
 * own and without.  The objective is what a training step minimises; a sample of each tensor's weights
 * is moved by +-h.  Model and reference kernels are compiled with mot_real = double for this.
 */
#include "../../lib/model/model.h"
#include "../test.h"

static struct mot_vocab vocab(void)
{
    struct mot_vocab v = {.n_modalities = 3, .size = 31};
    static const struct { const char *name; int32_t first, n; } part[3] = {{"text", 0, 13}, {"image", 13, 11}, {"speech", 24, 7}};
    for (int m = 0; m < 3; m++) {
        snprintf(v.modality[m].name, MOT_NAME_BYTES, "%s", part[m].name);
        v.modality[m].first = part[m].first;
        v.modality[m].n = part[m].n;
    }
    return v;
}

static struct mot_config config(void)
{
    struct mot_config c = {
        .hidden_size = 8, .intermediate_size = 10, .num_hidden_layers = 2, .num_attention_heads = 4,
        .num_key_value_heads = 4, .head_dim = 4, .max_position_embeddings = 64, .rope_theta = 100,
        .rms_norm_eps = 1e-5, .initializer_range = 0.4,
    };
    for (int m = 0; m < MOT_MAX_MODALITIES; m++)
        c.loss_weight[m] = 1;
    return c;
}

/* 4 documents of 1 to 9 rows, all modalities mixed; `without` is a modality that does not occur (-1: all do). */
static void fill(struct mot_batch *b, const struct mot_vocab *v, int without)
{
    b->n = b->n_pieces = 0;
    static const int64_t length[] = {9, 1, 6, 3};
    uint64_t k = 0;
    for (int p = 0; p < 4; p++) {
        int32_t id[16];
        for (int64_t i = 0; i <= length[p]; i++) {
            int m = (int)mot_random_below(3, 5, k++, 3);
            if (m == without)
                m = (m + 1) % 3;
            id[i] = v->modality[m].first + (int32_t)mot_random_below(3, 6, k++, (uint64_t)v->modality[m].n);
        }
        CHECK_INT(mot_batch_add(b, id, length[p]), MOT_OK);
    }
}

static double objective(struct mot_model *m, bool backward)
{
    CHECK_INT(mot_model_run(m, backward), MOT_OK);
    double sum = 0;
    for (int64_t i = 0; i < m->batch.n; i++)
        sum += (double)m->batch.host_weight[i] *
               ((double)m->host_nll[i] + m->config.z_loss * (double)m->host_lse[i] * (double)m->host_lse[i]);
    return sum;
}

/* Make every weight count: norms around 1, biases around 0, both random. */
static void scatter(struct mot_model *m)
{
    for (int64_t i = 0; i < m->table.n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        for (int64_t j = 0; j < t->count && !mot_is_matrix(t); j++)
            m->params[t->offset + j] += (mot_real)(0.3 * mot_random_normal(9, (uint64_t)i, (uint64_t)j));
    }
}

static void check_gradient(const char *what, struct mot_config c, int without)
{
    struct mot_vocab v = vocab();
    int rc = mot_config_settle(&c, what, &v, NULL);
    CHECK_INT(rc, MOT_OK);
    if (rc)
        fprintf(stderr, "%s\n", mot_error());
    struct mot_model *m = mot_model_new(&c, &v, &mot_kernels_ref, 1, 19, 9, true);
    CHECK(m);
    if (!m)
        return;
    CHECK_INT(mot_model_init(m, 1), MOT_OK);
    scatter(m);
    struct mot_batch b = {0};
    fill(&b, &v, without);
    CHECK_INT(mot_model_route(m, &b, 1 / mot_batch_weight(m, &b), NULL), MOT_OK);
    objective(m, true);
    int bad = 0;
    for (int64_t i = 0; i < m->table.n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        for (int64_t k = 0; k < 5; k++) {
            int64_t j = t->offset + (int64_t)mot_random_below(4, (uint64_t)i, (uint64_t)k, (uint64_t)t->count);
            mot_real keep = m->params[j], h = (mot_real)1e-5;
            m->params[j] = keep + h;
            double up = objective(m, false);
            m->params[j] = keep - h;
            double down = objective(m, false);
            m->params[j] = keep;
            double expected = (up - down) / (2 * (double)h), found = (double)m->grads[j];
            if (!(fabs(found - expected) <= 1e-8 + 2e-6 * fabs(expected)) && bad++ < 3)
                fprintf(stderr, "%s: %s[%lld]: gradient %.12g, difference %.12g\n", what, t->name,
                        (long long)(j - t->offset), found, expected);
        }
    }
    CHECK_INT(bad, 0);
    mot_batch_free(&b);
    mot_model_free(m);
}

static void test_placements(void)
{
    struct mot_config c = config();
    check_gradient("pre", c, -1);
    c.norm_post = true;
    check_gradient("post", c, -1);
}

static void test_qk_norm(void)
{
    struct mot_config c = config();
    c.qk_norm = true;
    check_gradient("qk-norm", c, -1);
    c.norm_post = true;
    check_gradient("qk-norm, post", c, -1);
    c.qk_norm = MOT_QK_LAYER;
    check_gradient("qk-norm by LayerNorm, post", c, -1);
    c.norm_post = false;
    c.num_key_value_heads = 2;
    check_gradient("qk-norm by LayerNorm, 2 kv heads", c, -1);
}

static void test_grouped_queries(void)
{
    struct mot_config c = config();
    c.num_key_value_heads = 2;
    check_gradient("2 kv heads", c, -1);
    c.num_key_value_heads = 1;
    c.qk_norm = true;
    c.head_dim = 6;
    check_gradient("1 kv head, head_dim 6", c, -1);
}

static void test_biases(void)
{
    struct mot_config c = config();
    c.attention_bias = true;
    check_gradient("qkv bias", c, -1);
    c.attention_out_bias = true;
    c.norm_post = true;
    check_gradient("all biases, post", c, -1);
}

static void test_embeddings(void)
{
    struct mot_config c = config();
    c.tie_word_embeddings = true;
    check_gradient("tied embeddings", c, -1);
}

static void test_losses(void)
{
    struct mot_config c = config();
    c.z_loss = 0.05;
    c.loss_weight[1] = 0.25;
    c.loss_weight[2] = 3;
    check_gradient("z-loss and loss weights", c, -1);
}

static void test_absent_modality(void)
{
    for (int m = 0; m < 3; m++)
        check_gradient("a modality is absent", config(), m);
}

/* Each component alone tied, each alone untied, and maps where two modalities share a tower. */
static void test_towers(void)
{
    static const int maps[][3] = {{0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {1, 1, 0}, {2, 1, 0}};
    for (int k = 0; k < MOT_COMPONENTS; k++)
        for (int i = 0; i < MOT_COUNT(maps); i++) {
            struct mot_config c = config();
            c.qk_norm = true;
            memcpy(c.tower_of[k], maps[i], sizeof maps[i]);
            c.tower_of_given[k] = true;
            check_gradient(mot_component_names[k], c, -1);
            for (int other = 0; other < MOT_COMPONENTS; other++) {
                if (other != k)
                    memset(c.tower_of[other], 0, sizeof c.tower_of[other]);
                c.tower_of_given[other] = true;
            }
            check_gradient(mot_component_names[k], c, -1);
        }
}

static void test_dense(void)
{
    struct mot_config c = config();
    c.n_towers = 1;
    strcpy(c.tower[0], "text");
    check_gradient("dense", c, -1);
}

int main(void)
{
    RUN(test_dense);
    RUN(test_placements);
    RUN(test_qk_norm);
    RUN(test_grouped_queries);
    RUN(test_biases);
    RUN(test_embeddings);
    RUN(test_losses);
    RUN(test_absent_modality);
    RUN(test_towers);
    return test_end();
}
