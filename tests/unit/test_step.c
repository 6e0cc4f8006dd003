/* SPDX-License-Identifier: MIT
 *
 * test_step.c - what a training step takes: as much memory as was planned and not an allocation more.
 *
 * This program's own malloc and its relatives count and pass on to glibc's, for libraries and threads too.
 */
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/train/train.h"
#include "../test.h"

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__
enum { COUNTS = 1 };

extern void *__libc_malloc(size_t n), *__libc_calloc(size_t n, size_t each), *__libc_realloc(void *p, size_t n),
    *__libc_memalign(size_t alignment, size_t n);
static long allocations;

static void count(void)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    count();
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

void *memalign(size_t alignment, size_t n)
{
    count();
    return __libc_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    *p = memalign(alignment, n);
    return *p ? 0 : 12; /* ENOMEM */
}
#else
enum { COUNTS = 0 }; /* the sanitiser has its own malloc and more memory than was planned */
static long allocations;
#endif

/* Bytes of this process that are, or at most were, in memory. */
static double resident(const char *key)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            kb = strtod(line + strlen(key), NULL);
    if (f)
        fclose(f);
    return 1024 * kb;
}

/* ---- a trainee ---- */

enum { ROWS = 1024, SEQ = 256 };

struct trainee {
    struct mot_vocab v;
    struct mot_config c;
    struct mot_model *m;
    struct mot_optimizer optimizer;
    struct mot_train_options options;
    struct mot_batch batch;
    int64_t steps;
};

static void describe(struct trainee *t, int64_t width, int64_t layers, int64_t words)
{
    static const char *const names[] = {"text", "image", "speech"};
    *t = (struct trainee){
        .v = {.n_modalities = 3, .size = (int32_t)words},
        .options = {.lr = 1e-3, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1},
    };
    for (int k = 0; k < 3; k++) {
        strcpy(t->v.modality[k].name, names[k]);
        t->v.modality[k].first = (int32_t)(words * k / 3);
        t->v.modality[k].n = (int32_t)(words * (k + 1) / 3 - words * k / 3);
    }
    CHECK_INT(mot_config_load(&t->c, "nano"), MOT_OK);
    t->c.hidden_size = width;
    t->c.intermediate_size = 3 * width;
    t->c.num_hidden_layers = layers;
    t->c.num_attention_heads = t->c.num_key_value_heads = width / 16;
    t->c.head_dim = 16;
    CHECK_INT(mot_config_settle(&t->c, "test", &t->v, "mot"), MOT_OK);
}

static void begin(struct trainee *t, int threads)
{
    t->m = mot_model_new(&t->c, &t->v, mot_device_find("cpu", "f32"), threads, ROWS, SEQ, true);
    CHECK(t->m);
    CHECK_INT(mot_model_init(t->m, 1), MOT_OK);
    CHECK_INT(mot_optimizer_new(&t->optimizer, t->m, &t->options), MOT_OK);
}

/* One step over `rows` rows in pieces, none of the modality `absent`. */
static void step(struct trainee *t, int64_t rows, int absent)
{
    int32_t id[SEQ + 1];
    struct mot_step s;
    t->batch.n = t->batch.n_pieces = 0;
    for (int64_t left = rows; left > 0; left -= SEQ) {
        int64_t n = left < SEQ ? left : SEQ;
        for (int64_t i = 0; i <= n; i++) {
            int k = (int)mot_random_below(1, (uint64_t)left, (uint64_t)i, 3);
            k = k == absent ? (k + 1) % 3 : k;
            id[i] = t->v.modality[k].first + (int32_t)mot_random_below(2, (uint64_t)left, (uint64_t)i, 20);
        }
        CHECK_INT(mot_batch_add(&t->batch, id, n), MOT_OK);
    }
    CHECK_INT(mot_model_route(t->m, &t->batch, 1 / mot_batch_weight(t->m, &t->batch), NULL), MOT_OK);
    CHECK_INT(mot_model_run(t->m, true), MOT_OK);
    CHECK_INT(mot_optimizer_norms(&t->optimizer, &s), MOT_OK);
    CHECK(isfinite(s.grad_norm) && s.grad_norm > 0);
    mot_optimizer_step(&t->optimizer, &t->options, t->options.lr, ++t->steps);
}

static void end(struct trainee *t)
{
    mot_batch_free(&t->batch);
    mot_optimizer_free(&t->optimizer);
    mot_model_free(t->m);
}

/* ---- tests ---- */

/* First of all, for what a process once had in memory counts. */
static void test_peak(void)
{
    struct trainee t;
    struct mot_memory plan;
    double before = resident("VmRSS:");
    describe(&t, 256, 6, 6000);
    CHECK_INT(mot_model_plan(&t.c, mot_device_find("cpu", "f32"), ROWS, SEQ, true, MOT_RECOMPUTE_NONE, 2, &plan), MOT_OK);
    begin(&t, 2);
    step(&t, ROWS, -1);
    step(&t, ROWS, -1);
    double planned = (double)(plan.weights + plan.gradients + plan.optimizer + plan.activations + plan.workspace);
    double taken = resident("VmHWM:") - before;
    if (COUNTS)
        CHECK_NEAR(taken, planned, 0, 0.1);
    end(&t);
}

/* With two threads and more: libgomp allocates and frees a team of one for every parallel region of one thread. */
static void test_no_allocation(void)
{
    for (int threads = 2; threads <= 3; threads++) {
        struct trainee t;
        describe(&t, 48, 3, 600);
        begin(&t, threads);
        step(&t, ROWS, -1);
        step(&t, ROWS, -1);
        long before = allocations;
        step(&t, ROWS, -1);
        step(&t, 700, 0);
        step(&t, 700, 2);
        CHECK_INT(allocations, before);
        end(&t);
    }
    if (COUNTS)
        CHECK(allocations > 0); /* the counter counts */
}

int main(void)
{
    RUN(test_peak);
    RUN(test_no_allocation);
    return test_end();
}
