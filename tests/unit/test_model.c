/* SPDX-License-Identifier: MIT
 *
 * test_model.c - the model in float on the cpu backend against the reference backend, for one thread and several; the
 * tensor table against the paper's parameter counts; folders there and back.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/model/model.h"
#include "../test.h"

static struct mot_vocab vocab(void)
{
    struct mot_vocab v = {.n_modalities = 3, .size = 97, .digest = "0123456789abcdef"};
    static const struct {
        const char *name;
        int32_t first, n;
    } part[3] = {{"text", 0, 50}, {"image", 50, 31}, {"speech", 81, 16}};
    for (int m = 0; m < 3; m++) {
        snprintf(v.modality[m].name, MOT_NAME_BYTES, "%s", part[m].name);
        v.modality[m].first = part[m].first;
        v.modality[m].n = part[m].n;
    }
    return v;
}

static struct mot_config config(void)
{
    struct mot_config c;
    CHECK_INT(mot_config_load(&c, "micro"), MOT_OK);
    c.num_attention_heads = 4;
    c.num_key_value_heads = 2;
    c.head_dim = 12;
    c.qk_norm = c.attention_bias = c.attention_out_bias = true;
    c.initializer_range = 0.2;
    c.z_loss = 0.01;
    return c;
}

static void fill(struct mot_batch *b, const struct mot_vocab *v)
{
    static const int64_t length[] = {1, 37, 64, 5, 128, 2, 16};
    b->n = b->n_pieces = 0;
    for (int p = 0; p < MOT_COUNT(length); p++) {
        int32_t id[129];
        for (int64_t i = 0; i <= length[p]; i++)
            id[i] = (int32_t)mot_random_below(1, (uint64_t)p, (uint64_t)i, (uint64_t)v->size);
        CHECK_INT(mot_batch_add(b, id, length[p]), MOT_OK);
    }
}

struct result {
    int64_t n, values;
    float *nll, *grads;
};

static struct result run(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k, int threads)
{
    struct result r = {0};
    struct mot_batch b = {0};
    fill(&b, v);
    struct mot_model *m = mot_model_new(c, v, k, threads, 300, 128, true);
    CHECK(m);
    if (m && !mot_model_init(m, 7) && !mot_model_route(m, &b, 1.0 / (double)b.n, NULL) && !mot_model_run(m, true)) {
        r = (struct result){b.n, m->table.values, malloc((size_t)b.n * 4), malloc((size_t)m->table.values * 4)};
        memcpy(r.nll, m->host_nll, (size_t)b.n * 4);
        k->read(m->d, r.grads, m->grads, (size_t)m->table.values * 4);
    }
    CHECK(r.n == b.n);
    mot_model_free(m);
    mot_batch_free(&b);
    return r;
}

static void release(struct result *r)
{
    free(r->nll);
    free(r->grads);
}

static double largest(const float *x, int64_t n)
{
    double best = 0;
    for (int64_t i = 0; i < n; i++)
        best = fmax(best, fabs((double)x[i]));
    return best;
}

static const struct mot_kernels *cpu(void)
{
    char err[200];
    return mot_kernels_cpu(NULL, NULL, err, sizeof err);
}

static void same_as_reference(const struct mot_config *c)
{
    struct mot_vocab v = vocab();
    struct result ref = run(c, &v, &mot_kernels_ref, 1);
    for (int threads = 1; threads <= 3; threads++) {
        struct result a = run(c, &v, cpu(), threads), again = run(c, &v, cpu(), threads);
        double scale = largest(ref.grads, ref.values);
        int bad = 0;
        for (int64_t i = 0; i < ref.n; i++)
            bad += !(fabs((double)a.nll[i] - (double)ref.nll[i]) <= 2e-5);
        CHECK_INT(bad, 0);
        for (int64_t i = 0; i < ref.values; i++)
            bad += !(fabs((double)a.grads[i] - (double)ref.grads[i]) <= 2e-5 * scale);
        CHECK_INT(bad, 0);
        CHECK(memcmp(a.nll, again.nll, (size_t)a.n * 4) == 0);
        CHECK(memcmp(a.grads, again.grads, (size_t)a.values * 4) == 0);
        release(&a);
        release(&again);
    }
    release(&ref);
}

static void test_cpu_equals_reference(void)
{
    struct mot_vocab v = vocab();
    for (int variant = 0; variant < 4; variant++) {
        struct mot_config c = config();
        c.norm_post = variant & 1;
        CHECK_INT(mot_config_settle(&c, "test", &v, variant & 2 ? "dense" : "mot"), MOT_OK);
        same_as_reference(&c);
    }
}

/* Operands rounded to bf16 have 8 bits: gradients are off by a hundredth, in no direction. */
static void test_bf16_near_reference(void)
{
    struct mot_vocab v = vocab();
    struct mot_config c = config();
    char err[200];
    const struct mot_kernels *k = mot_kernels_cpu(NULL, "bf16", err, sizeof err);
    CHECK_INT(mot_config_settle(&c, "test", &v, "mot"), MOT_OK);
    struct result ref = run(&c, &v, &mot_kernels_ref, 1);
    for (int threads = 1; k && threads <= 3; threads++) {
        struct result a = run(&c, &v, k, threads), again = run(&c, &v, k, threads);
        double apart = 0, whole = 0, mean = 0;
        for (int64_t i = 0; i < ref.n; i++) {
            CHECK_NEAR(a.nll[i], ref.nll[i], 0.1, 0);
            mean += ((double)a.nll[i] - (double)ref.nll[i]) / (double)ref.n;
        }
        CHECK_NEAR(mean, 0, 3e-3, 0);
        for (int64_t i = 0; i < ref.values; i++) {
            double d = (double)a.grads[i] - (double)ref.grads[i];
            apart += d * d;
            whole += (double)ref.grads[i] * (double)ref.grads[i];
        }
        CHECK(apart > 0 && sqrt(apart / whole) < 2e-2);
        CHECK(memcmp(a.nll, again.nll, (size_t)a.n * 4) == 0);
        CHECK(memcmp(a.grads, again.grads, (size_t)a.values * 4) == 0);
        release(&a);
        release(&again);
    }
    if (!k)
        printf("skip bf16: %s\n", err);
    release(&ref);
}

/* Tables 1, 3 and 5 of the paper, in millions, norms not counted; MoT adds a tower's worth of all but the embedding and head. */
static void test_paper_sizes(void)
{
    static const struct {
        const char *name;
        double millions;
    } sizes[] = {
        {"chameleon-37m", 37.0},    {"chameleon-94m", 94.4},   {"chameleon-443m", 442.5},
        {"chameleon-880m", 880.8},  {"chameleon-1.5b", 1501.6}, {"chameleon-7b", 7012.9},
        {"chameleon-speech-443m", 442.5},
    };
    for (int i = 0; i < MOT_COUNT(sizes); i++) {
        struct mot_config dense, mot;
        struct mot_size d, m;
        CHECK_INT(mot_config_load(&dense, sizes[i].name) | mot_config_load(&mot, sizes[i].name), MOT_OK);
        CHECK_INT(mot_config_settle(&dense, sizes[i].name, NULL, "dense"), MOT_OK);
        CHECK_INT(mot_config_settle(&mot, sizes[i].name, NULL, NULL), MOT_OK);
        CHECK_INT(mot_config_size(&dense, &d) | mot_config_size(&mot, &m), MOT_OK);
        /* By hand: 2 V C + L (4 C C + 3 C F + 2 C) + C. */
        int64_t width = dense.hidden_size, ffn = dense.intermediate_size;
        int64_t by_hand = 2 * 65536 * width + dense.num_hidden_layers * (4 * width * width + 3 * width * ffn + 2 * width) + width;
        CHECK_INT(d.params_total, by_hand);
        CHECK_NEAR((double)d.params_matrices / 1e6, sizes[i].millions, 0.051, 0);
        CHECK_INT(m.params_active, d.params_total);
        CHECK_INT(m.params_total, d.params_total + (mot.n_towers - 1) * (d.params_total - d.params_embedding));
    }
}

static void test_initial_towers(void)
{
    struct mot_vocab v = vocab();
    struct mot_config dense = config(), mot = config();
    CHECK_INT(mot_config_settle(&dense, "test", &v, "dense") | mot_config_settle(&mot, "test", &v, "mot"), MOT_OK);
    struct mot_model *a = mot_model_new(&dense, &v, &mot_kernels_ref, 1, 8, 8, false);
    struct mot_model *b = mot_model_new(&mot, &v, &mot_kernels_ref, 1, 8, 8, false);
    CHECK(a && b);
    if (a && b) {
        CHECK_INT(mot_model_init(a, 3) | mot_model_init(b, 3), MOT_OK);
        int64_t n = 48 * 48;
        int64_t at = mot_offset(&a->table, MOT_W_Q, 1, 0), bt = mot_offset(&b->table, MOT_W_Q, 1, 0);
        int64_t image = mot_offset(&b->table, MOT_W_Q, 1, 1);
        CHECK(memcmp(a->params + at, b->params + bt, (size_t)n * sizeof *a->params) == 0);
        CHECK(memcmp(b->params + image, b->params + bt, (size_t)n * sizeof *a->params) != 0);
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)a->params[at + i] * (double)a->params[at + i];
        CHECK_NEAR(sqrt(sum / (double)n), 0.2, 0, 0.05);
    }
    mot_model_free(a);
    mot_model_free(b);
}

static void test_folder(void)
{
    char dir[] = "/tmp/mot-test-XXXXXX";
    CHECK(mkdtemp(dir));
    struct mot_vocab v = vocab();
    struct mot_config c = config(), again;
    c.tower_of_given[MOT_FFN] = c.tower_of_given[MOT_QK_NORM] = true;
    c.tower_of[MOT_FFN][2] = 1;
    c.loss_weight[1] = 0.5;
    CHECK_INT(mot_config_settle(&c, "test", &v, "mot"), MOT_OK);
    CHECK_INT(mot_config_save(&c, dir, NULL), MOT_OK);
    CHECK_INT(mot_config_load(&again, dir), MOT_OK);
    CHECK_INT(mot_config_settle(&again, dir, &v, NULL), MOT_OK);
    CHECK(memcmp(c.tower_of, again.tower_of, sizeof c.tower_of) == 0);
    CHECK(c.n_towers == again.n_towers && c.qk_norm == again.qk_norm && again.loss_weight[1] == 0.5);
    struct mot_model *a = mot_model_new(&c, &v, cpu(), 1, 8, 8, false);
    struct mot_model *b = mot_model_new(&again, &v, cpu(), 1, 8, 8, true);
    CHECK(a && b);
    if (a && b) {
        CHECK_INT(mot_model_init(a, 5), MOT_OK);
        CHECK_INT(mot_model_save(a, dir), MOT_OK);
        CHECK_INT(mot_model_load(b, dir), MOT_OK);
        CHECK_INT(a->table.values, b->table.values);
        CHECK(memcmp(a->params, b->params, (size_t)a->table.values * sizeof *a->params) == 0);
    }
    mot_model_free(b);
    /* Another config finds tensors missing or unknown, and names them. */
    c.tower_of[MOT_FFN][2] = 2;
    b = mot_model_new(&c, &v, cpu(), 1, 8, 8, false);
    CHECK(b && mot_model_load(b, dir) == MOT_EFORMAT);
    CHECK(strstr(mot_error(), "mlp_image"));
    mot_model_free(a);
    mot_model_free(b);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK_INT(system(command), 0);
}

/* What a config asks for and the model does not compute is refused by name. */
static void test_refusals(void)
{
    static const struct {
        const char *extra, *named;
    } bad[] = {
        {"\"hidden_act\":\"gelu\"", "hidden_act"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\"}", "yarn"},
        {"\"model_type\":\"gpt2\"", "gpt2"},
        {"\"mlp_bias\":true", "mlp_bias"},
        {"\"norm_placement\":\"both\"", "norm_placement"},
        {"\"num_key_value_heads\":3", "num_key_value_heads"},
        {"\"head_dim\":3", "head_dim"},
        {"\"modalities\":[\"text\",\"text\"]", "twice"},
        {"\"modalities\":[\"text\"],\"tower_of\":{\"ffn\":[7]}", "tower_of"},
        {"\"modalities\":[\"text\"],\"tower_of\":{\"fnn\":[0]}", "fnn"},
        {"\"hidden_size\":8", "JSON"},
        {"\"z_loss\":-1", "z_loss"},
    };
    char path[] = "/tmp/mot-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    for (int i = 0; i < MOT_COUNT(bad); i++) {
        char text[512];
        int n = snprintf(text, sizeof text,
                         "{\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":4,%s}",
                         bad[i].extra);
        CHECK_INT(mot_write_file(path, text, (size_t)n), MOT_OK);
        struct mot_config c;
        int rc = mot_config_load(&c, path);
        if (!rc)
            rc = mot_config_settle(&c, path, NULL, NULL);
        CHECK_INT(rc, MOT_EFORMAT);
        if (!strstr(mot_error(), bad[i].named))
            fprintf(stderr, "%s: said \"%s\"\n", bad[i].extra, mot_error());
        CHECK(strstr(mot_error(), bad[i].named));
    }
    unlink(path);
}

/* Frequencies of transformers 5.24 (ROPE_INIT_FUNCTIONS); pair 1 of llama3 is where both ends are blended. */
static void test_rope_scaling(void)
{
    static const struct {
        const char *key; /* as transformers 4 has it, as 5 has it */
        double frequency[8];
    } cases[] = {
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":32}",
         {1, 0.0958399773, 0.0125000002, 0.00395284733, 0.00124999997, 0.000395284733, 0.000125000006, 3.95284733e-05}},
        {"\"rope_theta\":99,\"rope_parameters\":{\"rope_theta\":10000,\"rope_type\":\"llama3\",\"factor\":8.0,"
         "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":32}",
         {1, 0.0958399773, 0.0125000002, 0.00395284733, 0.00124999997, 0.000395284733, 0.000125000006, 3.95284733e-05}},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}",
         {0.25, 0.079056941, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-05}},
    };
    char dir[] = "/tmp/mot-XXXXXX", path[64];
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/config.json", dir);
    for (int i = 0; i < MOT_COUNT(cases); i++) {
        char text[512];
        int n = snprintf(text, sizeof text,
                         "{\"hidden_size\":32,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
                         "\"vocab_size\":97,\"modalities\":[\"text\",\"image\",\"speech\"],%s}",
                         cases[i].key);
        CHECK_INT(mot_write_file(path, text, (size_t)n), MOT_OK);
        for (int again = 0; again < 2; again++) { /* the second time as written by us */
            struct mot_config c;
            struct mot_vocab v = vocab();
            CHECK_INT(mot_config_load(&c, dir), MOT_OK);
            CHECK_INT(mot_config_settle(&c, dir, &v, NULL), MOT_OK);
            struct mot_model *m = mot_model_new(&c, &v, &mot_kernels_ref, 1, 4, 4, false);
            CHECK(m);
            for (int j = 0; m && j < 8; j++)
                CHECK_NEAR(m->sin[3 * 8 + j], sin(3 * cases[i].frequency[j]), 1e-6, 1e-6);
            mot_model_free(m);
            CHECK_INT(mot_config_save(&c, dir, NULL), MOT_OK);
        }
    }
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    RUN(test_cpu_equals_reference);
    RUN(test_bf16_near_reference);
    RUN(test_paper_sizes);
    RUN(test_initial_towers);
    RUN(test_folder);
    RUN(test_refusals);
    RUN(test_rope_scaling);
    return test_end();
}
