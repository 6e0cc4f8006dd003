/* SPDX-License-Identifier: MIT
 *
 * test_golden.c - the model against values from PyTorch in double precision: nll, log-sum-exp, loss and the
 * gradient of every tensor, for the folders in tests/golden/, whose form make_golden.py there tells.
 *
 * Each folder is loaded as mot-eval and mot-train load it and runs on the reference kernels, and on the cpu
 * kernels with one thread and with two.
 */
#include "../../lib/model/model.h"
#include "../test.h"

struct golden {
    struct mot_config config;
    struct mot_vocab vocab;
    struct mot_st values;
    struct mot_batch batch;
    const struct mot_st_tensor *latent, *aim, *time; /* where there is a picture of vectors, else NULL */
    float x[72], target[72];
    int tensors; /* beside the gradients */
};

static const struct mot_st_tensor *find(const struct golden *g, const char *name, enum mot_dtype type)
{
    const struct mot_st_tensor *t = mot_st_find(&g->values, name);
    if (!t || t->dtype != type)
        fprintf(stderr, "%s: no %s of type %s\n", g->values.path, name, mot_dtype_name(type));
    CHECK(t && t->dtype == type);
    return t && t->dtype == type ? t : NULL;
}

static double number(const struct mot_st_tensor *t, int64_t i)
{
    double x;
    memcpy(&x, t->data + (size_t)i * sizeof x, sizeof x);
    return x;
}

/* The one picture of vectors, if there is any. */
static bool read_picture(struct golden *g)
{
    static const uint16_t none[MOT_COUNT(g->x)];
    int64_t at[3];
    if (!mot_st_find(&g->values, "at_picture"))
        return true;
    const struct mot_st_tensor *where = find(g, "at_picture", MOT_I64);
    g->latent = find(g, "latent", MOT_F32), g->aim = find(g, "aim", MOT_F32), g->time = find(g, "time", MOT_F64);
    if (!where || where->count != 3 || !g->latent || !g->aim || !g->time || g->latent->count > MOT_COUNT(none))
        return false;
    memcpy(at, where->data, sizeof at);
    memcpy(g->x, g->latent->data, g->latent->bytes);
    memcpy(g->target, g->aim->data, g->aim->bytes);
    g->tensors += 4;
    struct mot_picture p = {.begin = at[0], .n = at[1] * at[2], .rows = (int32_t)at[1], .columns = (int32_t)at[2]};
    return !mot_batch_add_picture(&g->batch, &p, none, g->latent->count);
}

static bool read_batch(struct golden *g)
{
    const struct mot_st_tensor *id = find(g, "id", MOT_I32), *target = find(g, "target", MOT_I32);
    const struct mot_st_tensor *piece = find(g, "piece", MOT_I64);
    if (!id || !target || !piece)
        return false;
    for (int64_t p = 0; p + 1 < piece->count; p++) {
        int64_t end[2];
        int32_t ids[64];
        memcpy(end, piece->data + (size_t)p * sizeof *end, sizeof end);
        int64_t n = end[1] - end[0];
        if (n < 1 || n > MOT_COUNT(ids) - 1 || end[1] > id->count)
            return false;
        memcpy(ids, id->data + (size_t)end[0] * sizeof *ids, (size_t)n * sizeof *ids);
        memcpy(ids + n, target->data + (size_t)(end[1] - 1) * sizeof *ids, sizeof *ids);
        if (mot_batch_add(&g->batch, ids, n))
            return false;
    }
    g->tensors = 6;
    return g->batch.n == id->count && !memcmp(g->batch.target, target->data, target->bytes) && read_picture(g);
}

static bool golden_open(struct golden *g, const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    *g = (struct golden){0};
    bool ok = !mot_vocab_load(&g->vocab, folder) && !mot_config_load(&g->config, folder) &&
              !mot_config_settle(&g->config, folder, &g->vocab, NULL) && !mot_st_open(&g->values, path);
    if (!ok)
        fprintf(stderr, "%s\n", mot_error());
    return ok && read_batch(g);
}

static void golden_close(struct golden *g)
{
    mot_st_close(&g->values);
    mot_batch_free(&g->batch);
}

/* Rows come out sorted by modality: row i is row host_seq[i] of the batch. */
static void compare_rows(const struct golden *g, const struct mot_model *m)
{
    const struct mot_st_tensor *nll = find(g, "nll", MOT_F64), *lse = find(g, "lse", MOT_F64);
    const struct mot_st_tensor *loss = find(g, "loss", MOT_F64);
    if (!nll || !lse || !loss)
        return;
    double sum = 0, weights = 0, patches = 0;
    for (int64_t i = 0; i < g->batch.n; i++) {
        int64_t row = m->batch.host_seq[i];
        double a = (double)m->host_nll[i], z = (double)m->host_lse[i];
        bool patch = mot_model_modality(m, g->batch.id[row]) == m->vectors;
        if (patch)
            patches += a / (double)g->batch.picture[0].n;
        if (patch || mot_predicts_id(m, g->batch.id[row], g->batch.target[row]))
            CHECK_NEAR(a, number(nll, row), 1e-5, 0);
        if (patch || !mot_predicts_id(m, g->batch.id[row], g->batch.target[row]))
            continue;
        CHECK_NEAR(z, number(lse, row), 1e-5, 0);
        double w = g->config.loss_weight[mot_vocab_modality(&g->vocab, g->batch.target[row])];
        sum += w * (a + g->config.z_loss * z * z);
        weights += w;
    }
    double beside = g->latent ? g->config.loss_weight[m->vectors] * patches : 0;
    CHECK_NEAR(sum / weights + beside, number(loss, 0), 1e-5, 0);
    CHECK_NEAR(mot_batch_weight(m, &g->batch), weights, 0, 1e-6);
}

/* Within 1e-4 of the tensor's largest gradient; a tensor without any must have none. */
static void compare_gradient(const struct golden *g, const struct mot_tensor *t, const float *found)
{
    char name[256];
    snprintf(name, sizeof name, "grad.%s", t->name);
    const struct mot_st_tensor *s = find(g, name, MOT_F32);
    CHECK(s && s->count == t->count);
    if (!s || s->count != t->count)
        return;
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < t->count; i++) {
        float x;
        memcpy(&x, s->data + (size_t)i * sizeof x, sizeof x);
        largest = fmax(largest, fabs((double)x));
        double difference = fabs((double)x - (double)found[i]);
        if (!(difference <= worst))
            worst = difference;
    }
    if (!(worst <= 1e-4 * largest))
        fprintf(stderr, "%s: %s is off by %g, the largest being %g\n", g->values.path, name, worst, largest);
    CHECK(worst <= 1e-4 * largest);
}

static void compare(const struct golden *g, const char *folder, const struct mot_kernels *k, int threads)
{
    struct mot_model *m = mot_model_new(&g->config, &g->vocab, k, threads, g->batch.n, g->batch.n, true);
    double time = g->latent ? number(g->time, 0) : 0;
    double weight = g->latent ? g->config.loss_weight[mot_vectors_of(&g->config)] / (double)g->batch.picture[0].n : 0;
    struct mot_seen seen = {g->x, g->target, &time, weight};
    bool ok = m && !mot_model_load(m, folder) &&
              !mot_model_route(m, &g->batch, 1 / mot_batch_weight(m, &g->batch), g->latent ? &seen : NULL) &&
              !mot_model_run(m, true);
    if (!ok)
        fprintf(stderr, "%s: %s\n", folder, mot_error());
    CHECK(ok);
    if (ok) {
        compare_rows(g, m);
        CHECK_INT(g->values.n, m->table.n + g->tensors); /* a gradient for each, and nothing left over */
        for (int64_t i = 0; i < m->table.n; i++)
            compare_gradient(g, &m->table.tensor[i], m->grads + m->table.tensor[i].offset);
    }
    mot_model_free(m);
}

static void check_folder(const char *folder)
{
    struct golden g;
    bool ok = golden_open(&g, folder);
    CHECK(ok);
    if (ok) {
        compare(&g, folder, &mot_kernels_ref, 1);
        char err[200];
        for (int i = 0; mot_kernels_cpu_set(NULL, i); i++) {
            const struct mot_kernels *k = mot_kernels_cpu(mot_kernels_cpu_set(NULL, i), NULL, err, sizeof err);
            for (int threads = 1; k && threads <= 2; threads++)
                compare(&g, folder, k, threads);
        }
    }
    golden_close(&g);
}

/* One tower for two modalities: a Llama. */
static void test_golden_dense(void)
{
    check_folder("tests/golden/dense");
}

/* Algorithm 1 of the paper, three towers. */
static void test_golden_post(void)
{
    check_folder("tests/golden/post");
}

/* QK-norm, grouped queries of a size that is not hidden / heads, biases, loss weights. */
static void test_golden_heads(void)
{
    check_folder("tests/golden/heads");
}

/* Four modalities, each component with another map to two towers; tied embeddings, z-loss. */
static void test_golden_shared(void)
{
    check_folder("tests/golden/shared");
}

/* Everything at once, with biases on q, k and v alone and a modality of weight 0. */
static void test_golden_all(void)
{
    check_folder("tests/golden/all");
}

/* A picture of vectors among words and sounds. */
static void test_golden_vectors(void)
{
    check_folder("tests/golden/vectors");
}

/* The same through a U-Net, whose convolutions are PyTorch's there. */
static void test_golden_unet(void)
{
    check_folder("tests/golden/unet");
}

int main(void)
{
    RUN(test_golden_dense);
    RUN(test_golden_post);
    RUN(test_golden_heads);
    RUN(test_golden_shared);
    RUN(test_golden_all);
    RUN(test_golden_vectors);
    RUN(test_golden_unet);
    return test_end();
}
