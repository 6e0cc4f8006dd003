/* SPDX-License-Identifier: MIT
 *
 * test_train.c - loader, trainer and scorer on small made-up shards: packing and order, resuming bit for bit,
 * accumulation, freezing, divergence, windows.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/train/train.h"
#include "../test.h"

static char dir[] = "/tmp/mot-test-XXXXXX";

/* DIR/NAME, kept for the whole program. */
static const char *in(const char *name)
{
    static char path[256][80];
    static int n;
    for (int i = 0; i < n; i++)
        if (strcmp(path[i] + strlen(dir) + 1, name) == 0)
            return path[i];
    snprintf(path[n], sizeof path[n], "%s/%s", dir, name);
    return path[n++];
}

static struct mot_vocab vocab(void)
{
    struct mot_vocab v = {.n_modalities = 3, .size = 60, .bos = 0, .eos = 1, .boi = 2, .eoi = 3, .bos_speech = -1,
                          .eos_speech = -1, .digest = "0123456789abcdef"};
    static const struct {
        const char *name;
        int32_t first, n;
    } part[3] = {{"text", 0, 30}, {"image", 30, 20}, {"speech", 50, 10}};
    for (int m = 0; m < 3; m++) {
        snprintf(v.modality[m].name, MOT_NAME_BYTES, "%s", part[m].name);
        v.modality[m].first = part[m].first;
        v.modality[m].n = part[m].n;
    }
    return v;
}

/* A folder with vocab.json, and two shards: 40 documents of 2 to 60 tokens. */
static void make_data(void)
{
    CHECK(mkdtemp(dir));
    struct mot_vocab v = vocab();
    struct mot_bytes json = {0};
    CHECK_INT(mot_make_folder(in("tok")), MOT_OK);
    CHECK_INT(mot_vocab_save_json(&v, &json), MOT_OK);
    CHECK_INT(mot_write_file(in("tok/vocab.json"), json.data, json.n), MOT_OK);
    mot_bytes_free(&json);
    for (int s = 0; s < 2; s++) {
        struct mot_shard_writer *w = mot_shard_create(in(s ? "b.mot" : "a.mot"), &v);
        CHECK(w);
        for (int d = 0; d < 20 && w; d++) {
            int32_t id[60];
            int64_t n = 2 + (int64_t)mot_random_below(1, (uint64_t)s, (uint64_t)d, 59);
            for (int64_t i = 0; i < n; i++) /* runs of a modality, each id twice: something to learn */
                id[i] = (int32_t)((i / 2 * 7 + i / 10 * 30 + d) % v.size);
            CHECK_INT(mot_shard_add(w, id, n, n), MOT_OK);
        }
        CHECK_INT(w ? mot_shard_commit(w) : 1, MOT_OK);
    }
}

static struct mot_train_options options(const char *run)
{
    static const char *shards[2];
    shards[0] = in("a.mot");
    shards[1] = in("b.mot");
    return (struct mot_train_options){
        .config = "nano", .tokenizer = in("tok"), .run = in(run), .shards = shards, .n_shards = 2,
        .validation = shards[1], .steps = 12, .batch = 3, .seq = 32, .accumulate = 1, .shuffle = 500, .lr = 3e-3,
        .min_lr = 1e-4, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1, .threads = 2,
        .seed = 5,
    };
}

static struct mot_vocab loaded_vocab(void)
{
    struct mot_vocab v;
    CHECK_INT(mot_vocab_load(&v, in("tok")), MOT_OK);
    return v;
}

/* ---- loader ---- */

/* One pass gives each (input, target) pair of each document exactly once; batches are full. */
static void test_one_pass(void)
{
    struct mot_vocab v = loaded_vocab();
    int64_t seen[60][60] = {{0}}, rows = 0;
    const char *paths[2] = {in("a.mot"), in("b.mot")};
    for (int i = 0; i < 2; i++) {
        struct mot_shard *s = mot_shard_open(paths[i], &v, false);
        const struct mot_doc *d;
        while (s && !mot_shard_next(s, &d) && d)
            for (int64_t k = 0; k + 1 < d->n; k++, rows++)
                seen[d->id[k]][d->id[k + 1]]++;
        mot_shard_close(s);
    }
    for (int shuffle = 0; shuffle < 3; shuffle++) {
        struct mot_loader_options o = {.batch = 2, .seq = 16, .shuffle = shuffle * 300, .seed = 9};
        struct mot_loader *l = mot_loader_open(paths, 2, &v, &o);
        CHECK(l);
        int64_t left[60][60], n = 0;
        memcpy(left, seen, sizeof left);
        struct mot_batch b = {0};
        while (l && !mot_loader_next(l, &b) && b.n) {
            CHECK(b.n == 32 || n + b.n == rows);
            CHECK_INT(b.piece[b.n_pieces], b.n);
            for (int64_t p = 0; p < b.n_pieces; p++)
                CHECK(b.piece[p + 1] > b.piece[p] && b.piece[p + 1] - b.piece[p] <= 16);
            for (int64_t i = 0; i < b.n; i++)
                left[b.id[i]][b.target[i]]--;
            n += b.n;
        }
        CHECK_INT(n, rows);
        for (int i = 0; i < 3600; i++)
            CHECK_INT(left[i / 60][i % 60], 0);
        mot_batch_free(&b);
        mot_loader_close(l);
    }
}

static void test_order(void)
{
    struct mot_vocab v = loaded_vocab();
    const char *paths[2] = {in("a.mot"), in("b.mot")};
    struct mot_loader_options o = {.batch = 2, .seq = 16, .shuffle = 400, .seed = 9, .repeat = true};
    struct mot_loader *a = mot_loader_open(paths, 2, &v, &o), *b = mot_loader_open(paths, 2, &v, &o);
    o.seed = 10;
    struct mot_loader *other = mot_loader_open(paths, 2, &v, &o);
    struct mot_batch x = {0}, y = {0}, z = {0};
    struct mot_position middle = {0};
    int differs = 0;
    for (int i = 0; i < 120; i++) { /* several passes */
        CHECK_INT(mot_loader_next(a, &x) | mot_loader_next(b, &y) | mot_loader_next(other, &z), MOT_OK);
        CHECK(x.n == y.n && memcmp(x.id, y.id, (size_t)x.n * 4) == 0);
        differs += memcmp(x.id, z.id, (size_t)x.n * 4) != 0;
        if (i == 77)
            middle = mot_loader_position(a);
    }
    CHECK(differs > 100);
    CHECK(middle.epoch > 0);
    /* From a stored position the rest is the same. */
    struct mot_loader *c = mot_loader_open(paths, 2, &v, &(struct mot_loader_options){
        .batch = 2, .seq = 16, .shuffle = 400, .seed = 9, .repeat = true});
    CHECK_INT(mot_loader_seek(b, (struct mot_position){0}), MOT_OK);
    CHECK_INT(mot_loader_seek(c, middle), MOT_OK);
    for (int i = 0; i < 120; i++) {
        CHECK_INT(mot_loader_next(b, &y), MOT_OK);
        if (i > 77) {
            CHECK_INT(mot_loader_next(c, &x), MOT_OK);
            CHECK(x.n == y.n && memcmp(x.id, y.id, (size_t)x.n * 4) == 0);
        }
    }
    mot_batch_free(&x), mot_batch_free(&y), mot_batch_free(&z);
    mot_loader_close(a), mot_loader_close(b), mot_loader_close(c), mot_loader_close(other);
}

/* ---- trainer ---- */

/* Train to the end; the losses and norms of each step go to loss and norm where not NULL. */
static void finish(struct mot_train_options o, int64_t stop_at, double *loss, double *norm)
{
    struct mot_trainer *t = mot_trainer_open(&o);
    CHECK(t);
    if (!t) {
        fprintf(stderr, "%s\n", mot_error());
        return;
    }
    bool done = false;
    struct mot_step s;
    while (!done && mot_trainer_current(t) < stop_at) {
        int rc = mot_trainer_step(t, &s, &done);
        CHECK_INT(rc, MOT_OK);
        if (rc || done)
            break;
        if (loss)
            loss[s.step - 1] = s.loss, norm[s.step - 1] = s.grad_norm;
        char line[64];
        snprintf(line, sizeof line, "{\"step\":%d,\"loss\":%.17g}", (int)s.step, s.loss);
        CHECK_INT(mot_trainer_log(t, line), MOT_OK);
        if (s.step % 5 == 0)
            CHECK_INT(mot_trainer_save(t), MOT_OK);
    }
    if (stop_at >= mot_trainer_steps(t))
        CHECK_INT(mot_trainer_save(t), MOT_OK);
    mot_trainer_close(t);
}

static bool same_file(const char *a, const char *b)
{
    struct mot_bytes x = {0}, y = {0};
    bool same = !mot_read_file(a, 1 << 28, &x) && !mot_read_file(b, 1 << 28, &y) && x.n == y.n &&
                memcmp(x.data, y.data, x.n) == 0;
    mot_bytes_free(&x);
    mot_bytes_free(&y);
    return same;
}

/* A run that dies at step 8, with a save at 5, ends like one that does not; so does its log. */
static void test_resume(void)
{
    double loss[12], norm[12];
    finish(options("whole"), 12, loss, norm);
    CHECK(loss[11] < loss[0]);
    finish(options("halves"), 8, NULL, NULL);
    struct mot_train_options o = options("halves");
    o.resume = true;
    finish(o, 12, NULL, NULL);
    CHECK(same_file(in("whole/model.safetensors"), in("halves/model.safetensors")));
    CHECK(same_file(in("whole/log.jsonl"), in("halves/log.jsonl")));
    /* Config and vocabulary are the run's own where none is given. */
    o.config = o.tokenizer = NULL;
    finish(o, 12, NULL, NULL);
    CHECK(same_file(in("whole/model.safetensors"), in("halves/model.safetensors")));
    /* Without resume a run is not overwritten; another configuration is refused. */
    CHECK(!mot_trainer_open(&(struct mot_train_options){
        .config = "nano", .tokenizer = in("tok"), .run = in("whole"), .steps = 1, .batch = 1, .seq = 4, .accumulate = 1}));
    CHECK(strstr(mot_error(), "--resume"));
    o = options("halves");
    o.resume = true;
    o.config = "micro";
    CHECK(!mot_trainer_open(&o));
    CHECK(strstr(mot_error(), "configuration"));
}

/* 2 batches of 3 sequences are one batch of 6, to rounding. */
static void test_accumulation(void)
{
    double a[4], an[4], b[4], bn[4];
    struct mot_train_options o = options("accumulated");
    o.steps = 4;
    o.accumulate = 2;
    finish(o, 4, a, an);
    o = options("at-once");
    o.steps = 4;
    o.batch = 6;
    finish(o, 4, b, bn);
    for (int i = 0; i < 4; i++) {
        CHECK_NEAR(a[i], b[i], 0, 1e-4);
        CHECK_NEAR(an[i], bn[i], 0, 1e-3);
    }
}

static void test_threads(void)
{
    double a[12], an[12], b[12], bn[12];
    struct mot_train_options o = options("one-thread");
    o.threads = 1;
    finish(o, 12, a, an);
    o = options("two-threads");
    finish(o, 12, b, bn);
    for (int i = 0; i < 12; i++)
        CHECK_NEAR(a[i], b[i], 0, 1e-4);
    o = options("two-threads-again");
    finish(o, 12, a, an);
    CHECK(memcmp(a, b, sizeof a) == 0 && memcmp(an, bn, sizeof an) == 0);
}

static void test_freeze(void)
{
    struct mot_train_options o = options("start");
    o.steps = 0;
    finish(o, 0, NULL, NULL);
    struct mot_pattern pattern[] = {{"*", 0}, {"*_image*", 1}};
    o = options("frozen");
    o.init = in("start");
    o.patterns = pattern;
    o.n_patterns = 2;
    finish(o, 12, NULL, NULL);
    struct mot_st a = {0}, b = {0};
    CHECK_INT(mot_st_open(&a, in("start/model.safetensors")) | mot_st_open(&b, in("frozen/model.safetensors")), MOT_OK);
    CHECK_INT(a.n, b.n);
    for (int64_t i = 0; i < a.n && i < b.n; i++) {
        bool same = memcmp(a.tensor[i].data, b.tensor[i].data, a.tensor[i].bytes) == 0;
        if (same != !strstr(a.tensor[i].name, "_image"))
            fprintf(stderr, "%s: %s\n", a.tensor[i].name, same ? "not trained" : "trained");
        CHECK(same == !strstr(a.tensor[i].name, "_image"));
    }
    mot_st_close(&a);
    mot_st_close(&b);
    o = options("frozen-nothing");
    pattern[0].glob = "no.such.*";
    o.patterns = pattern;
    o.n_patterns = 1;
    CHECK(!mot_trainer_open(&o));
    CHECK(strstr(mot_error(), "no.such"));
}

/* A run that diverges stops before it spoils its weights. */
static void test_divergence(void)
{
    struct mot_train_options o = options("diverged");
    o.lr = 1e30;
    o.clip = 0;
    struct mot_trainer *t = mot_trainer_open(&o);
    CHECK(t);
    int rc = MOT_OK;
    bool done = false;
    struct mot_step s;
    for (int i = 0; t && !rc && i < 12; i++)
        rc = mot_trainer_step(t, &s, &done);
    CHECK_INT(rc, MOT_EDEVICE);
    CHECK(strstr(mot_error(), "diverged"));
    mot_trainer_close(t);
}

static void test_schedule(void)
{
    struct mot_train_options o = {.lr = 1, .min_lr = 0.1, .warmup = 4};
    CHECK_NEAR(mot_learning_rate(&o, 104, 1), 0.25, 1e-12, 0);
    CHECK_NEAR(mot_learning_rate(&o, 104, 4), 1, 1e-12, 0);
    CHECK_NEAR(mot_learning_rate(&o, 104, 5), 1, 1e-12, 0);
    CHECK_NEAR(mot_learning_rate(&o, 104, 55), 0.55, 1e-12, 0);
    CHECK_NEAR(mot_learning_rate(&o, 104, 105), 0.1, 1e-12, 0);
    o.schedule = MOT_LINEAR;
    CHECK_NEAR(mot_learning_rate(&o, 104, 30), 0.775, 1e-12, 0);
    o.schedule = MOT_CONSTANT;
    CHECK_NEAR(mot_learning_rate(&o, 104, 104), 1, 1e-12, 0);
    o.warmup = 0;
    o.schedule = MOT_COSINE;
    CHECK_NEAR(mot_learning_rate(&o, 1, 1), 1, 1e-12, 0);
}

/* ---- scorer ---- */

struct kept {
    float nll[512];
    int64_t n, documents;
};

static void keep(void *context, const int32_t *id, const float *nll, int64_t n)
{
    struct kept *k = context;
    (void)id;
    CHECK(isnan(nll[0]));
    memcpy(k->nll, nll, (size_t)n * sizeof *nll);
    k->n = n;
    k->documents++;
}

static struct kept score(int64_t context, int64_t stride, const int32_t *id, int64_t n)
{
    struct kept k = {0};
    struct mot_scorer *s = mot_scorer_open(in("whole"), NULL, context, stride, NULL, NULL, 2);
    CHECK(s);
    if (s) {
        CHECK_INT(mot_scorer_add(s, &(struct mot_doc){.id = (int32_t *)(uintptr_t)id, .n = n}, keep, &k), MOT_OK);
        CHECK_INT(mot_scorer_flush(s), MOT_OK);
    }
    mot_scorer_close(s);
    CHECK_INT(k.n, n);
    return k;
}

/* A window's targets have the losses that the window alone would give them. */
static void test_windows(void)
{
    int32_t id[100];
    for (int i = 0; i < 100; i++)
        id[i] = (int32_t)mot_random_below(2, 3, (uint64_t)i, 60);
    struct kept whole = score(0, 0, id, 100), window = score(20, 5, id, 100);
    for (int i = 1; i <= 20; i++) /* the first window is the document's beginning */
        CHECK_NEAR(window.nll[i], whole.nll[i], 1e-5, 0);
    for (int begin = 0; begin + 20 < 100; begin += 5) {
        struct kept alone = score(0, 0, id + begin, 21);
        for (int i = begin == 0 ? 1 : 16; i <= 20; i++)
            CHECK_NEAR(window.nll[begin + i], alone.nll[i], 1e-5, 0);
    }
    CHECK_INT(score(20, 5, id, 1).documents, 1);
    CHECK_INT(score(20, 5, id, 2).documents, 1);
}

/* What stands before or after a document changes nothing. */
static void test_isolation(void)
{
    int32_t id[300];
    for (int i = 0; i < 300; i++)
        id[i] = (int32_t)mot_random_below(2, 4, (uint64_t)i, 60);
    struct kept alone = score(0, 0, id + 100, 50), k = {0}, other = {0};
    struct mot_scorer *s = mot_scorer_open(in("whole"), NULL, 0, 0, NULL, NULL, 2);
    CHECK(s);
    if (s) {
        CHECK_INT(mot_scorer_add(s, &(struct mot_doc){.id = id, .n = 100}, keep, &other), MOT_OK);
        CHECK_INT(mot_scorer_add(s, &(struct mot_doc){.id = id + 100, .n = 50}, keep, &k), MOT_OK);
        CHECK_INT(mot_scorer_add(s, &(struct mot_doc){.id = id + 150, .n = 150}, keep, &other), MOT_OK);
        CHECK_INT(mot_scorer_flush(s), MOT_OK);
    }
    for (int i = 1; i < 50; i++)
        CHECK_NEAR(k.nll[i], alone.nll[i], 1e-5, 0);
    mot_scorer_close(s);
}

int main(void)
{
    make_data();
    RUN(test_one_pass);
    RUN(test_order);
    RUN(test_schedule);
    RUN(test_resume);
    RUN(test_accumulation);
    RUN(test_threads);
    RUN(test_freeze);
    RUN(test_divergence);
    RUN(test_windows);
    RUN(test_isolation);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK_INT(system(command), 0);
    return test_end();
}
