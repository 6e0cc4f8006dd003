/* SPDX-License-Identifier: MIT
 *
 * mot-profile scale: a training on N devices, on paper: step time, tokens a second and memory from given rates.
 */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mot.h"
#include "profile.h"
#include "table.h"
#include "tool.h"

enum {
    OPT_FORMAT = PROFILE_LONG, OPT_DEVICES, OPT_GEMM, OPT_MEMORY, OPT_LINK, OPT_LATENCY, OPT_DEVICE_MEMORY, OPT_DTYPE,
    OPT_SHARD, OPT_OVERLAP
};
enum { MAX_COUNTS = 64 };

struct opts {
    struct profile_model model;
    struct mot_workload work;
    struct mot_cluster cluster;
    const char *mix, *gemm, *memory;
    double device_memory; /* 0: not given */
    int64_t devices[MAX_COUNTS];
    int n_counts;
    enum table_format format;
};

static void usage(FILE *f)
{
    fputs("usage: mot-profile scale -c CONFIG --devices N,... --gemm X --memory X --link X [options]\n"
          "a training on N devices that share its batch, on paper: time of a step, tokens a second, memory of a device\n"
          PROFILE_HELP_MODEL
          PROFILE_HELP_WORK
          "      --devices N,...     numbers of devices; --batch is that of each (1)\n"
          "      --gemm X            a device's FLOP/s in matrix products, such as 4e14, or: measure (this machine's)\n"
          "      --memory X          bytes/s of its memory, or: measure\n"
          "      --link X            bytes/s that it sends to others\n"
          "      --latency X         seconds a message (1e-5)\n"
          "      --overlap X         share of communication that can go on under the computation (0.8)\n"
          "      --shard S           none, optimizer, gradients or weights: each shards what stands before it too (optimizer)\n"
          "      --dtype T           f32, or bf16 with f32 master weights (bf16)\n"
          "      --device-memory X   bytes; says what fits\n"
          "      --format F          " TABLE_FORMATS " (table)\n" TOOL_HELP,
          f);
}

static int choice(const char *option, const char *s, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(s, names[i]) == 0)
            return i;
    die_usage("%s %s: there is no such choice", option, s);
}

static void counts(struct opts *o, const char *s)
{
    o->n_counts = 0;
    while (*s) {
        char one[24];
        size_t n = strcspn(s, ",");
        if (o->n_counts == MAX_COUNTS || n >= sizeof one)
            die_usage("--devices: at most %d whole numbers", MAX_COUNTS);
        memcpy(one, s, n);
        one[n] = 0;
        o->devices[o->n_counts++] = opt_int("--devices", one, 1, 1 << 30);
        s += n + (s[n] == ',');
    }
}

/* A rate, or this machine's. */
static void rates(struct opts *o)
{
    struct mot_ceiling here = {0};
    if (!o->gemm || !o->memory)
        die_usage("no %s given: a rate, or measure", o->gemm ? "--memory" : "--gemm");
    bool gemm = strcmp(o->gemm, "measure") == 0, memory = strcmp(o->memory, "measure") == 0;
    if (gemm || memory)
        here = profile_ceiling("cpu", "f32", 0, false);
    o->cluster.gemm = gemm ? here.gemm : opt_real("--gemm", o->gemm, 1, 1e24);
    o->cluster.memory = memory ? here.bandwidth : opt_real("--memory", o->memory, 1, 1e24);
}

static struct opts parse(int argc, char **argv)
{
    static const char *const shardings[] = {"none", "optimizer", "gradients", "weights"}, *const types[] = {"f32", "bf16"};
    static const struct option longopts[] = {
        PROFILE_OPTIONS_MODEL,
        PROFILE_OPTIONS_WORK,
        {"devices", required_argument, NULL, OPT_DEVICES},
        {"gemm", required_argument, NULL, OPT_GEMM},
        {"memory", required_argument, NULL, OPT_MEMORY},
        {"link", required_argument, NULL, OPT_LINK},
        {"latency", required_argument, NULL, OPT_LATENCY},
        {"overlap", required_argument, NULL, OPT_OVERLAP},
        {"shard", required_argument, NULL, OPT_SHARD},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"device-memory", required_argument, NULL, OPT_DEVICE_MEMORY},
        {"format", required_argument, NULL, OPT_FORMAT},
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    struct opts o = {.cluster = {.latency = 1e-5, .overlap = 0.8, .bf16 = true, .sharding = MOT_SHARD_OPTIMIZER},
                     .devices = {1}, .n_counts = 1};
    for (int c; (c = getopt_long(argc, argv, "c:t:" TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case OPT_DEVICES: counts(&o, optarg); break;
        case OPT_GEMM: o.gemm = optarg; break;
        case OPT_MEMORY: o.memory = optarg; break;
        case OPT_LINK: o.cluster.link = opt_real("--link", optarg, 1, 1e24); break;
        case OPT_LATENCY: o.cluster.latency = opt_real("--latency", optarg, 0, 1e6); break;
        case OPT_OVERLAP: o.cluster.overlap = opt_real("--overlap", optarg, 0, 1); break;
        case OPT_SHARD: o.cluster.sharding = (enum mot_sharding)choice("--shard", optarg, shardings, 4); break;
        case OPT_DTYPE: o.cluster.bf16 = choice("--dtype", optarg, types, 2) == 1; break;
        case OPT_DEVICE_MEMORY: o.device_memory = opt_real("--device-memory", optarg, 1, 1e24); break;
        case OPT_FORMAT: o.format = table_format(optarg); break;
        default:
            if (!profile_option(c, &o.model, &o.work, &o.mix))
                tool_option(c, usage);
        }
    profile_operand(argc, argv, &o.model);
    if (o.n_counts == 0)
        die_usage("--devices: no number given");
    rates(&o);
    return o;
}

/* ---- output ---- */

static void fits(struct table *t, const struct opts *o, const struct mot_forecast *f)
{
    table_word(t, o->device_memory == 0 ? "-" : f->memory <= o->device_memory ? "yes" : "no");
}

static void print_rows(const struct opts *o, const struct mot_forecast *f)
{
    static const char *const columns[] = {"devices", "step_seconds", "gemm_seconds", "passes_seconds", "communication_seconds",
                                          "hidden_seconds", "exposed_seconds", "bytes_sent", "tokens_per_second",
                                          "tokens_per_step", "mfu", "bytes_weights", "bytes_gradients", "bytes_optimizer",
                                          "bytes_activations", "bytes_workspace", "bytes_gathered", "bytes_total", "fits", NULL};
    struct table t = table_new(columns);
    for (int i = 0; i < o->n_counts; i++, f++) {
        double n = (double)o->devices[i];
        const double x[] = {n, f->step, f->gemm, f->passes, f->communication, f->hidden, f->communication - f->hidden, f->sent,
                            f->tokens_per_second, n * (double)(o->work.batch * o->work.seq), f->utilization, f->weights,
                            f->gradients, f->optimizer, f->activations, f->workspace, f->gathered, f->memory};
        for (size_t k = 0; k < sizeof x / sizeof *x; k++)
            table_number(&t, x[k], "%g", x[k]);
        fits(&t, o, f);
    }
    table_print(stdout, &t, o->format);
    if (o->format == TABLE_JSON)
        putchar('\n');
    table_free(&t);
}

static void table_ms(struct table *t, double seconds)
{
    table_number(t, seconds, "%.4g", 1000 * seconds);
}

static void table_time(const struct opts *o, const struct mot_forecast *f)
{
    static const char *const columns[] = {"devices", "tokens/step", "ms/step", "GEMM", "passes", "exposed", "hidden", "tokens/s",
                                          "MFU", NULL};
    struct table t = table_new(columns);
    for (int i = 0; i < o->n_counts; i++, f++) {
        table_number(&t, (double)o->devices[i], "%lld", (long long)o->devices[i]);
        table_amount(&t, (double)(o->devices[i] * o->work.batch * o->work.seq));
        table_ms(&t, f->step);
        table_ms(&t, f->gemm);
        table_ms(&t, f->passes);
        table_ms(&t, f->communication - f->hidden);
        table_ms(&t, f->hidden);
        table_amount(&t, f->tokens_per_second);
        table_number(&t, f->utilization, "%.1f %%", 100 * f->utilization);
    }
    table_print(stdout, &t, o->format);
    table_free(&t);
}

static void table_memory(const struct opts *o, const struct mot_forecast *f)
{
    static const char *const columns[] = {"devices", "weights", "gradients", "optimizer", "activations", "workspace", "gathered",
                                          "bytes/device", "fits", NULL};
    struct table t = table_new(columns);
    for (int i = 0; i < o->n_counts; i++, f++) {
        const double x[] = {f->weights, f->gradients, f->optimizer, f->activations, f->workspace, f->gathered, f->memory};
        table_number(&t, (double)o->devices[i], "%lld", (long long)o->devices[i]);
        for (size_t k = 0; k < sizeof x / sizeof *x; k++)
            table_amount(&t, x[k]);
        fits(&t, o, f);
    }
    table_print(stdout, &t, o->format);
    table_free(&t);
}

int profile_scale(int argc, char **argv)
{
    struct opts o = parse(argc, argv);
    struct mot_config c;
    struct mot_vocab ignored;
    struct mot_forecast f[MAX_COUNTS];
    profile_config(&o.model, &c, &ignored);
    profile_mix(o.mix, &c, &o.work);
    for (int i = 0; i < o.n_counts; i++) {
        o.cluster.devices = o.devices[i];
        if (o.cluster.devices > 1 && o.cluster.link == 0)
            die_usage("%lld devices need a --link", (long long)o.cluster.devices);
        if (mot_scale(&c, &o.work, &o.cluster, &f[i]))
            die_lib(NULL);
    }
    if (o.format != TABLE_TEXT && o.format != TABLE_MD) {
        print_rows(&o, f);
        return tool_finish();
    }
    printf("%s on paper: %.3g FLOP/s in matrix products and %.3g bytes/s of memory a device%s; a device's batch:\n"
           "%lld sequences of %lld tokens; the formulas: mot-profile(1)\n\n",
           o.model.config, o.cluster.gemm, o.cluster.memory, o.cluster.bf16 ? ", bf16" : ", f32", (long long)o.work.batch,
           (long long)o.work.seq);
    table_time(&o, f);
    putchar('\n');
    table_memory(&o, f);
    return tool_finish();
}
