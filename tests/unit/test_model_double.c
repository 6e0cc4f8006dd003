/* SPDX-License-Identifier: MIT
 *
 * test_model_double.c - the whole model's gradient against central differences, in double.
 *
 * A 2-layer net over 3 modalities, in every variant that changes the network: norm placement, QK-norm,
 * grouped queries, biases, tied embeddings, z-loss, loss weights, and every component with towers of its
 * own and without; and with pictures of vectors.  The objective is what a training step minimises; a sample of each tensor's weights
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

static bool is_patch(const struct mot_model *m, int64_t i)
{
    return mot_model_modality(m, m->batch.host_id[i]) == m->vectors;
}

static double objective(struct mot_model *m, bool backward)
{
    CHECK_INT(mot_model_run(m, backward), MOT_OK);
    double sum = 0;
    for (int64_t i = 0; i < m->batch.n; i++)
        sum += (double)m->batch.host_weight[i] *
               ((double)m->host_nll[i] + (is_patch(m, i) ? 0 : m->config.z_loss) * (double)m->host_lse[i] * (double)m->host_lse[i]);
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

/* Backward over the routed batch against the differences of `objective`. */
static void compare(const char *what, struct mot_model *m)
{
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
}

static struct mot_model *model_of(const char *what, struct mot_config c, const struct mot_vocab *v)
{
    int rc = mot_config_settle(&c, what, v, NULL);
    CHECK_INT(rc, MOT_OK);
    if (rc)
        fprintf(stderr, "%s\n", mot_error());
    struct mot_model *m = mot_model_new(&c, v, &mot_kernels_ref, 1, 21, 12, true);
    CHECK(m);
    if (m) {
        CHECK_INT(mot_model_init(m, 1), MOT_OK);
        scatter(m);
    }
    return m;
}

static void check_gradient(const char *what, struct mot_config c, int without)
{
    struct mot_vocab v = vocab();
    struct mot_model *m = model_of(what, c, &v);
    if (!m)
        return;
    struct mot_batch b = {0};
    fill(&b, &v, without);
    CHECK_INT(mot_model_route(m, &b, 1 / mot_batch_weight(m, &b), NULL), MOT_OK);
    compare(what, m);
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

/* -- pictures of vectors ----------------------------------------------------------------------- */

enum { WIDTH = 4, PATCHES = 10 };

/* Text, then pictures of vectors and speech in either order. */
static struct mot_vocab vector_vocab(bool last)
{
    struct mot_vocab v = {.n_modalities = 3, .size = 21, .boi = 1, .eoi = 2};
    const int image = last ? 2 : 1, speech = last ? 1 : 2;
    snprintf(v.modality[0].name, MOT_NAME_BYTES, "text");
    snprintf(v.modality[image].name, MOT_NAME_BYTES, "image");
    snprintf(v.modality[speech].name, MOT_NAME_BYTES, "speech");
    v.modality[0].n = 13, v.modality[image].n = 1, v.modality[speech].n = 7;
    v.modality[image].width = WIDTH;
    v.modality[1].first = 13;
    v.modality[2].first = 13 + v.modality[1].n;
    return v;
}

/* Three pieces: words around two pictures, words alone, and a picture of one patch at the end. */
static void fill_pictures(struct mot_batch *b, const struct mot_vocab *v)
{
    int32_t p = v->modality[v->modality[1].width ? 1 : 2].first, s = v->modality[v->modality[1].width ? 2 : 1].first;
    const int32_t first[] = {5, 1, p, p, p, p, p, p, 2, s + 3, 1, p, 2}, second[] = {4, s, 9, 6, 12}, third[] = {1, p, p, p, p};
    const struct mot_picture picture[] = {{2, 6, 2, 3, 0, false}, {11, 1, 1, 1, 0, false}, {17, 3, 1, 3, 0, true}};
    CHECK_INT(mot_batch_add(b, first, 12), MOT_OK);
    CHECK_INT(mot_batch_add(b, second, 4), MOT_OK);
    CHECK_INT(mot_batch_add(b, third, 4), MOT_OK);
    const uint16_t values[6 * WIDTH] = {0};
    for (int k = 0; k < 3; k++)
        CHECK_INT(mot_batch_add_picture(b, &picture[k], values, picture[k].n * WIDTH), MOT_OK);
}

static const double picture_time[3] = {3, 250, 900};

/* What begins at 0, where most gradients are 0. */
static void fill_zeros(struct mot_model *m)
{
    for (int64_t i = 0; i < m->table.n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        bool zero = t->weight == MOT_W_PATCH_OUT || t->weight == MOT_W_CONV_OUT || t->weight == MOT_W_RES_CONV_2;
        for (int64_t j = 0; zero && j < t->count; j++)
            m->params[t->offset + j] = (mot_real)(0.4 * mot_random_normal(2, 2 + (uint64_t)i, (uint64_t)j));
    }
}

static void check_vectors(const char *what, struct mot_config c, bool last)
{
    struct mot_vocab v = vector_vocab(last);
    struct mot_model *m = model_of(what, c, &v);
    if (!m)
        return;
    struct mot_batch b = {0};
    fill_pictures(&b, &v);
    float x[PATCHES * WIDTH], target[PATCHES * WIDTH];
    for (int i = 0; i < PATCHES * WIDTH; i++) {
        x[i] = (float)mot_random_normal(1, 1, (uint64_t)i);
        target[i] = (float)mot_random_normal(1, 2, (uint64_t)i);
    }
    fill_zeros(m);
    struct mot_seen seen = {x, target, picture_time, 5.0 / PATCHES};
    CHECK_INT(mot_model_route(m, &b, 1 / mot_batch_weight(m, &b), &seen), MOT_OK);
    compare(what, m);
    mot_batch_free(&b);
    mot_model_free(m);
}

static void test_vectors(void)
{
    for (int last = 0; last < 2; last++) {
        struct mot_config c = config();
        check_vectors("vectors", c, last);
        c.norm_post = true;
        c.z_loss = 0.05;
        check_vectors("vectors, post, z-loss", c, last);
        c.tie_word_embeddings = true;
        c.n_towers = 1;
        strcpy(c.tower[0], "text");
        check_vectors("vectors, dense, tied embeddings", c, last);
        c = config();
        c.unet = (struct mot_unet){.channels = 3, .blocks = 2, .patch = 2};
        check_vectors("vectors, U-Net", c, last);
        c.unet = (struct mot_unet){.channels = 2, .blocks = 1, .patch = 1};
        check_vectors("vectors, U-Net of single pixels", c, last);
    }
}

/* More pixels than are taken at once: those of one patch. */
static void test_many_pixels(void)
{
    enum { SIDE = 72 };
    static float x[SIDE * SIDE], target[SIDE * SIDE];
    static const uint16_t values[SIDE * SIDE];
    struct mot_vocab v = {.n_modalities = 2, .size = 6, .boi = 1, .eoi = 2};
    snprintf(v.modality[0].name, MOT_NAME_BYTES, "text");
    snprintf(v.modality[1].name, MOT_NAME_BYTES, "image");
    v.modality[0].n = v.modality[1].first = 5;
    v.modality[1].n = 1, v.modality[1].width = SIDE * SIDE, v.modality[1].patch = SIDE;
    struct mot_config c = config();
    c.unet = (struct mot_unet){.channels = 2, .blocks = 1};
    struct mot_model *m = model_of("many pixels", c, &v);
    struct mot_batch b = {0};
    if (!m)
        return;
    for (int i = 0; i < SIDE * SIDE; i++) {
        x[i] = (float)mot_random_normal(1, 1, (uint64_t)i);
        target[i] = (float)mot_random_normal(1, 2, (uint64_t)i);
    }
    const int32_t id[] = {3, 1, 5, 2};
    const struct mot_picture picture = {.begin = 2, .n = 1, .rows = 1, .columns = 1};
    CHECK_INT(mot_batch_add(&b, id, 3), MOT_OK);
    CHECK_INT(mot_batch_add_picture(&b, &picture, values, SIDE * SIDE), MOT_OK);
    fill_zeros(m);
    struct mot_seen seen = {x, target, (double[]){500}, 1};
    CHECK_INT(mot_model_route(m, &b, 1 / mot_batch_weight(m, &b), &seen), MOT_OK);
    compare("many pixels", m);
    mot_batch_free(&b);
    mot_model_free(m);
}

/* Losses of all rows, in the batch's order, after patch `patch` was moved (-1: none). */
static void losses(struct mot_model *m, const struct mot_batch *b, int patch, double *loss)
{
    float x[PATCHES * WIDTH], target[PATCHES * WIDTH] = {0};
    for (int i = 0; i < PATCHES * WIDTH; i++)
        x[i] = (float)mot_random_normal(1, 1, (uint64_t)i) + (i / WIDTH == patch ? 1 : 0);
    struct mot_seen seen = {x, target, picture_time, 1};
    CHECK_INT(mot_model_route(m, b, 1, &seen), MOT_OK);
    CHECK_INT(mot_model_run(m, false), MOT_OK);
    for (int64_t s = 0; s < b->n; s++)
        loss[s] = (double)m->host_nll[m->batch.host_row[s]];
}

/* A picture's patches see each other, what comes behind them sees them, what comes before and other pieces do not. */
static void test_sight(void)
{
    static const int64_t row_of[PATCHES] = {2, 3, 4, 5, 6, 7, 11, 17, 18, 19};
    struct mot_vocab v = vector_vocab(true);
    struct mot_config c = config();
    c.loss_weight[2] = 1;
    struct mot_model *m = model_of("sight", c, &v);
    struct mot_batch b = {0};
    if (!m)
        return;
    fill_zeros(m);
    fill_pictures(&b, &v);
    double before[21], after[21];
    losses(m, &b, -1, before);
    for (int p = 0; p < PATCHES; p++) {
        losses(m, &b, p, after);
        int64_t begin = row_of[p] < 11 ? 2 : row_of[p] < 12 ? 11 : 17, end = begin < 12 ? 12 : 20;
        for (int64_t s = 0; s < b.n; s++) {
            bool sees = s >= begin && s < end, tells = s != 1 && s != 10 && s != 16; /* not before a patch */
            if (tells)
                CHECK((before[s] != after[s]) == sees);
        }
    }
    mot_batch_free(&b);
    mot_model_free(m);
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
    RUN(test_vectors);
    RUN(test_many_pixels);
    RUN(test_sight);
    return test_end();
}
