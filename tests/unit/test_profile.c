/* SPDX-License-Identifier: MIT
 *
 * Profiling: counted FLOPs are the analytic ones to the last digit, a probe changes no result, timelines are JSON that
 * holds together.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/profile/probe.h"
#include "../test.h"

static struct mot_config config(const char *text, const char *arch)
{
    struct mot_config c;
    char path[] = "/tmp/mot-test-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) != 0)
        exit(1);
    /* The name has no suffix, but a slash: it is a path. */
    if (mot_config_load(&c, path) || mot_config_settle(&c, path, NULL, arch)) {
        fprintf(stderr, "%s\n", mot_error());
        exit(1);
    }
    unlink(path);
    return c;
}

static const char plain[] =
    "{\"hidden_size\":24,\"intermediate_size\":20,\"num_hidden_layers\":3,\"num_attention_heads\":6,\"head_dim\":10,"
    "\"num_key_value_heads\":2,\"vocab_size\":151,\"modalities\":[\"text\",\"image\",\"speech\"]}";
static const char tied[] =
    "{\"hidden_size\":17,\"intermediate_size\":13,\"num_hidden_layers\":2,\"num_attention_heads\":3,\"head_dim\":4,"
    "\"vocab_size\":97,\"tie_word_embeddings\":true,\"qk_norm\":true,\"attention_bias\":true,\"norm_placement\":\"post\","
    "\"modalities\":[\"text\",\"image\"]}";

/* One recorded step of a workload: what the rows add up to. */
static void check_flops(const char *text, const char *arch, struct mot_workload w, bool forward_only)
{
    struct mot_config c = config(text, arch);
    struct mot_profiler_options o = {.work = w, .threads = 2, .forward_only = forward_only};
    struct mot_profiler *p = mot_profiler_open(&c, NULL, &o);
    CHECK(p != NULL);
    if (!p)
        return;
    double seconds, flops = 0, time = 0;
    CHECK_INT(mot_profiler_step(p, false, &seconds), MOT_OK);
    CHECK_INT(mot_profiler_step(p, true, &seconds), MOT_OK);
    const struct mot_profile_row *rows;
    int64_t n;
    CHECK_INT(mot_profiler_rows(p, &rows, &n), MOT_OK);
    for (int64_t i = 0; i < n; i++) {
        flops += rows[i].flops;
        time += rows[i].seconds;
        CHECK(rows[i].calls > 0 && rows[i].seconds >= 0 && rows[i].bytes >= 0);
    }
    CHECK(flops == mot_profiler_flops(p)); /* whole numbers: exactly */
    CHECK(fabs(time - seconds) < 1e-9);
    /* And that is cost.c's FLOPs of a token times the tokens. */
    struct mot_cost cost;
    CHECK_INT(mot_cost_of(&c, &w, &cost), MOT_OK);
    double tokens = (double)(w.batch * w.seq);
    CHECK(fabs(flops - tokens * (forward_only ? cost.forward_per_token : cost.train_per_token)) < 1e-6 * flops);
    mot_profiler_close(p);
}

static void test_flops_counted(void)
{
    static const char *const archs[] = {"dense", "mot"};
    for (int a = 0; a < 2; a++)
        for (int forward = 0; forward < 2; forward++) {
            check_flops(plain, archs[a], (struct mot_workload){.batch = 2, .seq = 19}, forward);
            check_flops(plain, archs[a], (struct mot_workload){.batch = 3, .seq = 16, .document = 5}, forward);
            check_flops(plain, archs[a], (struct mot_workload){.batch = 1, .seq = 1}, forward);
            check_flops(plain, archs[a], (struct mot_workload){.batch = 1, .seq = 64, .mix = {0.9, 0, 0.1}}, forward);
            check_flops(tied, archs[a], (struct mot_workload){.batch = 2, .seq = 33}, forward);
        }
}

/* Each tower's FLOPs are those of its rows. */
static void test_towers(void)
{
    struct mot_config c = config(plain, "mot");
    struct mot_profiler_options o = {.work = {.batch = 1, .seq = 40, .mix = {0, 1, 0}}, .threads = 1};
    struct mot_profiler *p = mot_profiler_open(&c, NULL, &o);
    CHECK(p != NULL);
    double seconds;
    CHECK_INT(mot_profiler_step(p, true, &seconds), MOT_OK);
    const struct mot_profile_row *rows;
    int64_t n, seen = 0;
    CHECK_INT(mot_profiler_rows(p, &rows, &n), MOT_OK);
    for (int64_t i = 0; i < n; i++) {
        bool matrix = strcmp(rows[i].op, "ffn_down") == 0;
        if (matrix) {
            CHECK_INT(rows[i].tower, 1);
            CHECK_INT((int64_t)rows[i].flops, 2 * 40 * 24 * 20);
            CHECK(rows[i].layer >= 0 && rows[i].layer < 3);
            seen++;
        }
        if (rows[i].flops > 0 && strcmp(rows[i].op, "attention") != 0 && strcmp(rows[i].op, "head") != 0)
            CHECK_INT(rows[i].tower, 1);
    }
    CHECK_INT(seen, 3 * 3); /* layers, and forward and two products back */
    mot_profiler_close(p);
}

static void test_probe_changes_nothing(void)
{
    struct mot_config c = config(plain, "mot");
    struct mot_vocab v = {.n_modalities = 3, .size = 151};
    static const int32_t first[] = {0, 100, 130, 151};
    for (int m = 0; m < 3; m++)
        v.modality[m].first = first[m], v.modality[m].n = first[m + 1] - first[m];
    struct mot_batch b = {0};
    int32_t id[41];
    for (int i = 0; i < 41; i++)
        id[i] = (i * 67) % 151;
    CHECK_INT(mot_batch_add(&b, id, 40), MOT_OK);
    float *grads[2] = {NULL, NULL};
    int64_t values = 0;
    for (int probed = 0; probed < 2; probed++) {
        struct mot_model *m = mot_model_new(&c, &v, mot_device_find(NULL, NULL), 2, 40, 40, true);
        struct mot_probe p = {0};
        CHECK(m && mot_model_init(m, 1) == MOT_OK);
        if (probed)
            CHECK_INT(mot_probe_attach(&p, m, 1000), MOT_OK);
        p.recording = true;
        CHECK_INT(mot_model_route(m, &b, 1.0 / 40, NULL), MOT_OK);
        CHECK_INT(mot_model_run(m, true), MOT_OK);
        mot_probe_detach(&p);
        values = m->table.values;
        grads[probed] = malloc((size_t)values * sizeof(float));
        memcpy(grads[probed], m->grads, (size_t)values * sizeof(float));
        mot_model_free(m);
    }
    CHECK(memcmp(grads[0], grads[1], (size_t)values * sizeof(float)) == 0);
    free(grads[0]);
    free(grads[1]);
    mot_batch_free(&b);
}

static void test_trace(void)
{
    char path[] = "/tmp/mot-test-trace-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    struct mot_config c = config(plain, "mot");
    struct mot_profiler_options o = {.work = {.batch = 2, .seq = 20}, .threads = 2, .trace = true};
    struct mot_profiler *p = mot_profiler_open(&c, NULL, &o);
    CHECK(p != NULL);
    double seconds;
    for (int i = 0; i < 2; i++)
        CHECK_INT(mot_profiler_step(p, true, &seconds), MOT_OK);
    CHECK_INT(mot_profiler_trace(p, path), MOT_OK);
    mot_profiler_close(p);

    json_t *j = json_load_file(path, 0, NULL), *events = json_object_get(j, "traceEvents"), *e;
    size_t i, layers = 0, ops = 0, work = 0, names = 0;
    json_array_foreach(events, i, e)
    {
        const char *ph = json_string_value(json_object_get(e, "ph")), *cat = json_string_value(json_object_get(e, "cat"));
        json_int_t tid = json_integer_value(json_object_get(e, "tid"));
        names += strcmp(ph, "M") == 0;
        if (strcmp(ph, "X") != 0)
            continue;
        CHECK(json_number_value(json_object_get(e, "ts")) >= 0 && json_number_value(json_object_get(e, "dur")) >= 0);
        layers += strcmp(cat, "layer") == 0;
        ops += strcmp(cat, "layer") != 0 && tid == 0;
        work += tid > 0;
    }
    CHECK_INT(layers, 2 * 2 * 3);
    CHECK(ops > 2 * 3 * 20 && work >= ops / 2);
    CHECK(names >= 3);
    CHECK_INT(json_integer_value(json_object_get(json_object_get(j, "otherData"), "operations_lost")), 0);
    json_decref(j);
    unlink(path);
}

static void test_ceiling(void)
{
    struct mot_ceiling c = {0};
    CHECK_INT(mot_ceiling_measure("cpu", "f32", 1, &c), MOT_OK);
    CHECK(c.gemm > 1e8 && c.gemm < 1e14);
    CHECK(c.bandwidth > 1e7 && c.bandwidth < 1e13);
    CHECK_INT(mot_ceiling_measure("abacus", "f32", 1, &c), MOT_EDEVICE);
}

int main(void)
{
    RUN(test_flops_counted);
    RUN(test_towers);
    RUN(test_probe_changes_nothing);
    RUN(test_trace);
    RUN(test_ceiling);
    return test_end();
}
