/* SPDX-License-Identifier: MIT
 *
 * test_cuda.c - whole training steps on the cuda backend, as tests/shim runs it or a GPU (tests/gpu.sh), against the
 * cpu backend in float: the same losses and weights in f32, to rounding in bf16; the same bits twice; the memory that
 * was planned; profiles; faults that stick.
 */
#include <stdlib.h>

#include "../../lib/profile/probe.h"
#include "../../lib/train/train.h"
#include "../test.h"

enum { ROWS = 120, SEQ = 50, STEPS = 5, WORDS = 90 };

struct trainee {
    struct mot_vocab v;
    struct mot_config c;
    struct mot_model *m;
    struct mot_optimizer optimizer;
    struct mot_train_options options;
    struct mot_batch batch;
    struct mot_noise noise;
    double loss[STEPS], norm[STEPS];
    bool same;  /* the same pieces each step */
    bool mixes; /* each step another mix of modalities */
    float *weights;
};

enum { PRE, POST, VECTORS, UNET, VARIANTS }; /* VECTORS: pictures are, and each piece that has room holds one; UNET: likewise */
enum { WIDTH = 12, PATCHES = 7 };

static void describe(struct trainee *t, int variant)
{
    static const char *const names[] = {"text", "image", "speech"};
    *t = (struct trainee){
        .v = {.n_modalities = 3, .size = WORDS},
        .options = {.lr = 2e-3, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1},
    };
    for (int k = 0; k < 3; k++) {
        strcpy(t->v.modality[k].name, names[k]);
        t->v.modality[k].first = WORDS * k / 3;
        t->v.modality[k].n = WORDS / 3;
    }
    if (variant >= VECTORS) {
        t->v.modality[1].n = 1;
        t->v.modality[1].patch = 2;
        t->v.modality[1].width = WIDTH;
        t->v.modality[2].first = t->v.modality[1].first + 1;
        t->v.size = t->v.modality[2].first + WORDS / 3;
    }
    CHECK_INT(mot_config_load(&t->c, "nano"), MOT_OK);
    t->c.hidden_size = 48;
    t->c.intermediate_size = 72;
    t->c.num_hidden_layers = 2;
    t->c.num_attention_heads = 4;
    t->c.num_key_value_heads = 2;
    t->c.head_dim = variant == PRE ? 40 : 16; /* 40: what compute capability 9.0 has attention of its own for */
    t->c.z_loss = 1e-3;
    t->c.norm_post = variant == POST;
    t->c.qk_norm = variant == POST ? MOT_QK_LAYER : MOT_QK_RMS;
    t->c.attention_bias = variant == PRE;
    t->c.tie_word_embeddings = variant == POST;
    t->c.unet.channels = variant == UNET ? 20 : 0;
    CHECK_INT(mot_config_settle(&t->c, "test", &t->v, "mot"), MOT_OK);
}

/* A picture somewhere within the piece of n rows that comes next. */
static void put_picture(struct trainee *t, int32_t *id, int64_t n)
{
    struct mot_picture p = {.n = PATCHES, .rows = 1, .columns = PATCHES};
    uint16_t value[PATCHES * WIDTH];
    int64_t at = 1 + (int64_t)mot_random_below(4, (uint64_t)n, 0, (uint64_t)(n - PATCHES));
    for (int j = 0; j < PATCHES * WIDTH; j++)
        value[j] = mot_f16((float)(j % 11) / 5 - 1);
    for (int j = 0; j < PATCHES; j++)
        id[at + j] = t->v.modality[1].first;
    p.begin = t->batch.n + at;
    CHECK_INT(mot_batch_add_picture(&t->batch, &p, value, PATCHES * WIDTH), MOT_OK);
}

/* Steps of one modality, of a single row of another, of nothing of one (by `absent`), and of what comes. */
static int mixed(int i, bool first, int k)
{
    return i == 1 ? 0 : i == 2 ? (first ? 1 : 2) : i == 4 ? 2 : k;
}

/* One step over `rows` rows in pieces, none of the modality `absent`. */
static void step(struct trainee *t, int i, int64_t rows, int absent)
{
    int32_t id[SEQ + 1];
    struct mot_step s = {0};
    mot_batch_clear(&t->batch);
    for (int64_t left = rows; left > 0;) {
        int64_t n = left < SEQ ? left : 1 + (int64_t)mot_random_below(3, (uint64_t)left, (uint64_t)(t->same ? 0 : i), SEQ);
        for (int64_t j = 0; j <= n; j++) {
            int k = (int)mot_random_below(1, (uint64_t)left, (uint64_t)j, 3);
            k = k == absent ? (k + 1) % 3 : k;
            k = t->mixes ? mixed(i, left == rows && j == 0, k) : k;
            k = k == t->m->vectors ? 0 : k;
            id[j] = t->v.modality[k].first + (int32_t)mot_random_below(2, (uint64_t)left, (uint64_t)j, 20);
        }
        if (t->m->vectors >= 0 && n >= PATCHES + 2 && absent < 0)
            put_picture(t, id, n);
        CHECK_INT(mot_batch_add(&t->batch, id, n), MOT_OK);
        left -= n;
    }
    CHECK_INT(mot_noise_training(&t->noise, &t->batch, 1, 1, i, 0), MOT_OK);
    struct mot_seen seen = {t->noise.x, t->noise.target, t->noise.time, 0.02};
    CHECK_INT(mot_model_route(t->m, &t->batch, 1 / mot_batch_weight(t->m, &t->batch), &seen), MOT_OK);
    mot_model_start(t->m, true);
    mot_optimizer_start_norms(&t->optimizer);
    CHECK_INT(mot_model_wait(t->m), MOT_OK);
    mot_optimizer_end_norms(&t->optimizer, &s);
    mot_optimizer_step(&t->optimizer, &t->options, t->options.lr, i + 1);
    for (int64_t j = 0; j < rows; j++)
        t->loss[i] += (double)t->m->host_nll[j] / (double)rows;
    t->norm[i] = s.grad_norm;
}

static void train(struct trainee *t, int variant, const struct mot_kernels *k)
{
    describe(t, variant);
    t->m = mot_model_new(&t->c, &t->v, k, 2, ROWS, SEQ, true);
    CHECK(t->m);
    CHECK_INT(mot_model_init(t->m, 1), MOT_OK);
    CHECK_INT(mot_noise_new(&t->noise, &t->c), MOT_OK);
    CHECK_INT(mot_optimizer_new(&t->optimizer, t->m, &t->options), MOT_OK);
    for (int i = 0; i < STEPS; i++)
        step(t, i, i == 3 ? 1 : ROWS - i, i == 2 ? 1 : -1);
    size_t bytes = (size_t)t->m->table.values * sizeof(float);
    t->weights = malloc(bytes);
    CHECK(t->weights);
    k->read(t->m->d, t->weights, t->m->params, bytes);
}

static void end(struct trainee *t)
{
    free(t->weights);
    mot_batch_free(&t->batch);
    mot_noise_free(&t->noise);
    mot_optimizer_free(&t->optimizer);
    mot_model_free(t->m);
}

/* Weights hardly differ in f32.  In bf16 Adam's first moves depend on little more than a gradient's sign, so it is their
 * losses that tell. */
static void compare(int variant, const char *dtype, double of_loss, double of_weights)
{
    struct trainee expected, found, again;
    const struct mot_kernels *k = mot_device_find("cuda", dtype);
    CHECK(k);
    train(&expected, variant, mot_device_find("cpu", "f32"));
    train(&found, variant, k);
    train(&again, variant, k);
    for (int i = 0; i < STEPS; i++) {
        CHECK_NEAR(found.loss[i], expected.loss[i], 0, of_loss);
        CHECK_NEAR(found.norm[i], expected.norm[i], 0, 10 * of_loss);
    }
    size_t values = (size_t)expected.m->table.values;
    double off = 0, size = 0;
    for (size_t i = 0; i < values; i++) {
        double more = (double)found.weights[i] - (double)expected.weights[i];
        off += more * more;
        size += (double)expected.weights[i] * (double)expected.weights[i];
    }
    CHECK(sqrt(off) <= of_weights * sqrt(size));
    CHECK(memcmp(found.weights, again.weights, values * sizeof(float)) == 0);
    end(&expected);
    end(&found);
    end(&again);
}

static void test_training_f32(void)
{
    for (int variant = 0; variant < VARIANTS; variant++)
        compare(variant, "f32", 1e-5, 1e-3);
}

static void test_training_bf16(void)
{
    for (int variant = 0; variant < VARIANTS; variant++)
        compare(variant, "bf16", 3e-3, 5e-2);
}

/* Steps that repeat: the same batch again and again but for the fourth, which is shorter; or, with mixes, as many rows, of
 * which each modality has another number, in other pieces. */
extern long shim_replays __attribute__((weak)), shim_refuse_graphs __attribute__((weak));
static void repeat(struct trainee *t, const struct mot_kernels *k, int variant, bool mixes, bool refuse)
{
    describe(t, variant);
    t->same = !mixes;
    t->mixes = mixes;
    t->m = mot_model_new(&t->c, &t->v, k, 2, ROWS, SEQ, true);
    CHECK_INT(mot_model_init(t->m, 1), MOT_OK);
    CHECK_INT(mot_optimizer_new(&t->optimizer, t->m, &t->options), MOT_OK);
    if (&shim_refuse_graphs)
        shim_refuse_graphs = refuse;
    for (int i = 0; i < STEPS; i++)
        step(t, i, !mixes && i == 3 ? 31 : ROWS, !mixes || i == 3 ? 1 : -1);
    t->weights = malloc((size_t)t->m->table.values * sizeof(float));
    k->read(t->m->d, t->weights, t->m->params, (size_t)t->m->table.values * sizeof(float));
}

static void check_same(const struct trainee *a, const struct trainee *b)
{
    CHECK(memcmp(a->weights, b->weights, (size_t)b->m->table.values * sizeof(float)) == 0);
    CHECK(memcmp(a->loss, b->loss, sizeof b->loss) == 0);
}

/* Replayed from the third time on, and after a capture that failed done plainly; the same bits. */
static void test_graphs(void)
{
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct trainee replayed, plain;
        const struct mot_kernels *k = mot_device_find("cuda", variant ? "f32" : "bf16");
        long before = &shim_replays ? shim_replays : 0;
        repeat(&replayed, k, variant, false, false);
        CHECK(!&shim_replays || shim_replays - before == 3); /* of 5 steps the 2nd, 3rd and 5th */
        repeat(&plain, k, variant, false, true);
        CHECK(!&shim_replays || shim_replays - before == 3);
        check_same(&replayed, &plain);
        end(&replayed);
        end(&plain);
    }
}

/* In bf16, where all products are one launch, what the first of the mixes left is replayed for all. */
static void test_mixes(void)
{
    for (int variant = PRE; variant <= POST; variant++) {
        struct trainee replayed, plain, expected;
        const struct mot_kernels *k = mot_device_find("cuda", "bf16");
        long before = &shim_replays ? shim_replays : 0;
        repeat(&replayed, k, variant, true, false);
        CHECK(!&shim_replays || shim_replays - before == STEPS - 1);
        repeat(&plain, k, variant, true, true);
        CHECK(!&shim_replays || shim_replays - before == STEPS - 1);
        check_same(&replayed, &plain);
        CHECK_INT(setenv("MOT_CUDA_GROUPED", "0", 1), 0); /* the library's products: no mix comes twice */
        repeat(&expected, k, variant, true, false);
        CHECK_INT(unsetenv("MOT_CUDA_GROUPED"), 0);
        CHECK(!&shim_replays || shim_replays - before == STEPS - 1);
        for (int i = 0; i < STEPS; i++) {
            CHECK_NEAR(replayed.loss[i], expected.loss[i], 0, 3e-3);
            CHECK_NEAR(replayed.norm[i], expected.norm[i], 0, 3e-2);
        }
        end(&replayed);
        end(&plain);
        end(&expected);
    }
}

/* The host waits for the device once a step, to read losses and norms back. */
extern long shim_waits __attribute__((weak)); /* the shim counts */
static void test_waits(void)
{
    struct trainee t;
    describe(&t, PRE);
    t.m = mot_model_new(&t.c, &t.v, mot_device_find("cuda", "bf16"), 1, ROWS, SEQ, true);
    CHECK_INT(mot_model_init(t.m, 1), MOT_OK);
    CHECK_INT(mot_optimizer_new(&t.optimizer, t.m, &t.options), MOT_OK);
    CHECK_INT(mot_model_wait(t.m), MOT_OK); /* what was sent of weights took room */
    for (int i = 0; i < 3; i++) {
        long before = &shim_waits ? shim_waits : 0;
        step(&t, i, ROWS - 10 * i, -1);
        CHECK_INT(&shim_waits ? shim_waits - before : 1, 1);
    }
    end(&t);
}

/* What is planned is what is taken: nothing of the device's memory beside it, neither at the start nor in a step. */
extern size_t shim_taken __attribute__((weak));
static void test_taken(void)
{
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct trainee t;
        struct mot_memory plan;
        const struct mot_kernels *k = mot_device_find("cuda", variant == POST ? "f32" : "bf16");
        describe(&t, variant);
        CHECK_INT(mot_model_plan(&t.c, k, ROWS, SEQ, true, MOT_RECOMPUTE_NONE, 1, &plan), MOT_OK);
        size_t before = &shim_taken ? shim_taken : 0;
        t.m = mot_model_new(&t.c, &t.v, k, 1, ROWS, SEQ, true);
        CHECK_INT(mot_model_init(t.m, 1), MOT_OK);
        CHECK_INT(mot_noise_new(&t.noise, &t.c), MOT_OK);
        CHECK_INT(mot_optimizer_new(&t.optimizer, t.m, &t.options), MOT_OK);
        for (int i = 0; i < 3; i++)
            step(&t, i, ROWS, -1);
        double taken = &shim_taken ? (double)(shim_taken - before) : (double)(mot_memory_total(&plan) - plan.context);
        CHECK_NEAR(taken, mot_memory_total(&plan) - plan.context, 0, 0.05);
        end(&t);
    }
}

/* What is planned for activations: half in bf16, and a copy of the weights is workspace. */
static void test_plan(void)
{
    struct trainee t;
    struct mot_memory f32, bf16;
    describe(&t, PRE);
    CHECK_INT(mot_model_plan(&t.c, mot_device_find("cuda", "f32"), ROWS, SEQ, true, MOT_RECOMPUTE_NONE, 1, &f32), MOT_OK);
    CHECK_INT(mot_model_plan(&t.c, mot_device_find("cuda", "bf16"), ROWS, SEQ, true, MOT_RECOMPUTE_NONE, 1, &bf16), MOT_OK);
    CHECK(f32.weights == bf16.weights && f32.optimizer == bf16.optimizer);
    CHECK_NEAR(bf16.activations, f32.activations, 0, 0.5);
    CHECK_NEAR(bf16.activations, f32.activations / 2, 0, 0.2);
    CHECK_INT(bf16.workspace - f32.workspace, f32.weights / 2);
}

extern int shim_shared_most __attribute__((weak)), shim_major __attribute__((weak));

/* Kernels that MOT_CUDA asks for, and the GPU or the program does not have; and what is no number of rows. */
static void test_choice(void)
{
    const struct mot_kernels *k = mot_device_find("cuda", "bf16");
    char err[200] = "";
    setenv("MOT_CUDA", "sm_75", 1);
    CHECK(!k->open(1, err, sizeof err));
    CHECK(strstr(err, "MOT_CUDA") && strstr(err, "sm_75") && strstr(err, "sm_80"));
    if (&shim_major) {
        setenv("MOT_CUDA", "sm_90", 1);
        shim_major = 10; /* its tensor cores have other instructions */
        CHECK(!k->open(1, err, sizeof err));
        CHECK(strstr(err, "9.0") && strstr(err, "10"));
        shim_major = 9;
    }
    setenv("MOT_CUDA", "sm_80", 1);
    struct mot_device *d = k->open(1, err, sizeof err);
    CHECK(d);
    k->close(d);
    unsetenv("MOT_CUDA");
    for (int i = 0; i < 3; i++) {
        setenv("MOT_CUDA_GROUPED", (const char *const[]){"", "many", "-5"}[i], 1);
        CHECK(!k->open(1, err, sizeof err));
        CHECK(strstr(err, "MOT_CUDA_GROUPED"));
    }
    unsetenv("MOT_CUDA_GROUPED");
}

/* A fault is kept, and what a head is too large for is said before anything runs. */
static void test_faults(void)
{
    struct trainee t;
    describe(&t, PRE);
    t.c.head_dim = 258;
    CHECK(!mot_model_new(&t.c, &t.v, mot_device_find("cuda", "bf16"), 1, ROWS, SEQ, true));
    CHECK(strstr(mot_error(), "258") && strstr(mot_error(), "256"));

    if (&shim_shared_most) {
        t.c.head_dim = 160;
        shim_shared_most = 99 << 10; /* as an RTX 4090's */
        CHECK(!mot_model_new(&t.c, &t.v, mot_device_find("cuda", "bf16"), 1, ROWS, SEQ, true));
        CHECK(strstr(mot_error(), "160") && strstr(mot_error(), "99"));
        struct mot_model *scores = mot_model_new(&t.c, &t.v, mot_device_find("cuda", "bf16"), 1, ROWS, SEQ, false);
        CHECK(scores);
        mot_model_free(scores);
        shim_shared_most = 227 << 10;
    }

    const struct mot_kernels *k = mot_device_find("cuda", "bf16");
    char err[200];
    struct mot_device *d = k->open(1, err, sizeof err);
    CHECK(d);
    struct mot_limits l = {.N = 8, .segment = 8, .C = 8, .H = 1, .K = 1, .D = 8, .F = 8, .V = 8, .G = 1, .train = 1};
    CHECK_INT(k->reserve(d, &l), 0);
    float *x = k->alloc(d, 1024);
    struct mot_group g = {0, 8, 0, -1, 0, 0};
    k->zero(d, x, 1024);
    CHECK_STR(k->error(d), "");
    k->linear(d, x, x, x, &g, 1, 8, 8, 0); /* weights that nobody told of */
    CHECK_INT(k->sync(d), -1);
    CHECK(strstr(k->error(d), "weights"));
    k->zero(d, x, 1024);
    CHECK_INT(k->sync(d), -1);
    k->free(d, x);
    k->close(d);
}

/* Logits of a few words less than was planned for may come in larger blocks. */
static void test_fewer_words(void)
{
    enum { N = 140, C = 8, V = 513 }; /* of which the shim holds 127 rows; 128 of 512 */
    const struct mot_kernels *k = mot_device_find("cuda", "f32");
    char err[200];
    struct mot_device *d = k->open(1, err, sizeof err);
    CHECK(d);
    struct mot_limits l = {.N = N, .segment = N, .C = C, .H = 1, .K = 1, .D = 8, .F = 8, .V = V, .G = 1};
    CHECK_INT(k->reserve(d, &l), 0);
    float *w = k->alloc(d, V * C * sizeof *w), *x = k->alloc(d, N * C * sizeof *x), *nll = k->alloc(d, 2 * N * sizeof *nll);
    float found[N];
    int32_t *target = k->alloc(d, N * sizeof *target);
    k->zero(d, w, V * C * sizeof *w);
    k->zero(d, x, N * C * sizeof *x);
    k->zero(d, target, N * sizeof *target);
    k->head_loss(d, nll, nll + N, NULL, NULL, x, w, target, NULL, 0, N, C, V - 1);
    k->read(d, found, nll, sizeof found);
    CHECK_INT(k->sync(d), 0);
    CHECK_NEAR((double)found[N - 1], log(V - 1), 0, 1e-5);
    float *const arrays[] = {w, x, nll, (float *)(void *)target};
    for (int i = 0; i < 4; i++)
        k->free(d, arrays[i]);
    k->close(d);
}

static void test_about(void)
{
    char err[200];
    const struct mot_kernels *k = mot_device_find("cuda", "f32");
    struct mot_device *d = k->open(1, err, sizeof err);
    struct mot_about a;
    CHECK(d);
    k->about(d, &a);
    CHECK(a.name[0] && a.memory > 1e9 && a.clock >= 0);
    k->close(d);
    /* Peaks by name: whole words, and nothing is guessed. */
    CHECK(mot_gpu_peak("NVIDIA H100 80GB HBM3", "bf16") == 989.4e12);
    CHECK(mot_gpu_peak("NVIDIA H100 PCIe", "bf16") == 756e12);
    CHECK(mot_gpu_peak("NVIDIA A100-SXM4-40GB", "f32") == 19.5e12);
    CHECK(mot_gpu_peak("NVIDIA L40S", "bf16") == 362e12 && mot_gpu_peak("NVIDIA L4", "bf16") == 121e12);
    CHECK(mot_gpu_peak("NVIDIA L40", "bf16") == 0 && mot_gpu_peak("Tesla T4", "f32") == 0);
    CHECK(mot_gpu_peak("NVIDIA GeForce RTX 4090", NULL) == 82.6e12);
    CHECK(mot_gpu_peak("NVIDIA GeForce RTX 4090 D", NULL) == 0 && mot_gpu_peak("NVIDIA A100-SXM4-40GB MIG 1g.5gb", NULL) == 0);
}

/* Each operation is timed, whole. */
static void test_profile(void)
{
    struct trainee t;
    struct mot_probe p;
    describe(&t, PRE);
    t.m = mot_model_new(&t.c, &t.v, mot_device_find("cuda", "bf16"), 1, ROWS, SEQ, true);
    CHECK_INT(mot_model_init(t.m, 1), MOT_OK);
    CHECK_INT(mot_optimizer_new(&t.optimizer, t.m, &t.options), MOT_OK);
    CHECK_INT(mot_probe_attach(&p, t.m, 0), MOT_OK);
    p.recording = true;
    step(&t, 0, ROWS, -1);
    const struct mot_cell *c = mot_probe_cell(&p, MOT_OP_ATTENTION, MOT_BACKWARD, 1, -1);
    CHECK(c->calls == 1 && c->seconds > 0 && c->busy > 0 && c->busy <= c->seconds);
    c = mot_probe_cell(&p, MOT_OP_GATE_UP, MOT_FORWARD, 0, 2);
    CHECK(c->calls == 1 && c->seconds > 0);
    mot_probe_detach(&p);
    end(&t);
}

/* A profiler from outside sees each layer and each operation by its name, also of a step that could be replayed. */
extern int shim_listens __attribute__((weak)), shim_ranges_open __attribute__((weak));
extern char shim_ranges[] __attribute__((weak));
static void test_ranges(void)
{
    struct trainee t;
    if (!&shim_listens)
        return;
    shim_listens = 1;
    describe(&t, PRE);
    t.same = true;
    t.m = mot_model_new(&t.c, &t.v, mot_device_find("cuda", "bf16"), 1, ROWS, SEQ, true);
    CHECK_INT(mot_model_init(t.m, 1), MOT_OK);
    CHECK_INT(mot_optimizer_new(&t.optimizer, t.m, &t.options), MOT_OK);
    for (int i = 0; i < 3; i++) {
        shim_ranges[0] = 0;
        step(&t, i, ROWS, -1);
    }
    CHECK_INT(shim_ranges_open, 0);
    const char *first = strstr(shim_ranges, "layer 0, forward\nrmsnorm<bf16>\nlinear<bf16>\nrope<bf16>\n");
    const char *last = strstr(shim_ranges, "layer 1, backward\nswiglu<bf16>\nlinear_back_w<bf16>\n");
    CHECK(first && last && first < last && strstr(last, "adamw\n"));
    end(&t);
    shim_listens = 0;
}

int main(void)
{
    if (!mot_device_find("cuda", "bf16")) {
        printf("skip test_cuda: %s\n", mot_error());
        return 0;
    }
    RUN(test_training_f32);
    RUN(test_training_bf16);
    RUN(test_graphs);
    RUN(test_mixes);
    RUN(test_waits);
    RUN(test_taken);
    RUN(test_plan);
    RUN(test_choice);
    RUN(test_faults);
    RUN(test_fewer_words);
    RUN(test_about);
    RUN(test_profile);
    RUN(test_ranges);
    return test_end();
}
