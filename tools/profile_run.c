/* SPDX-License-Identifier: MIT
 *
 * mot-profile run: measured steps of one or many configurations, operation by operation, against the machine's roofline.
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
    OPT_STEPS = PROFILE_LONG, OPT_WARMUP, OPT_REPEAT, OPT_BY, OPT_FORWARD, OPT_DEVICE, OPT_DTYPE, OPT_TRACE, OPT_CACHE,
    OPT_CEILING, OPT_PEAK, OPT_FORMAT, OPT_SEED,
};
enum { BY_OP = 1, BY_DIRECTION = 2, BY_LAYER = 4, BY_TOWER = 8 };
enum { MOST = 256 }; /* values in a list */

struct list {
    char *value[MOST];
    int n;
};

struct opts {
    struct list config, arch, dtype, batch, seq, document, threads;
    const char *tokenizer, *mix, *device, *trace;
    int64_t steps, warmup, repeat;
    int by;
    bool forward_only, cache, ceiling_given, peak_given;
    double peak;
    enum mot_recompute recompute;
    struct mot_ceiling ceiling;
    enum table_format format;
    uint64_t seed;
};

/* One cell of the product of all lists. */
struct combination {
    const char *config, *arch, *dtype;
    int64_t batch, seq, document;
    int threads;
};

/* Rows that --by does not tell apart, added up; seconds of a step, a sample a repetition. */
struct group {
    struct mot_profile_row row;
    double *sample;
};

struct result {
    struct combination c;
    struct mot_config config;
    struct mot_workload work;
    struct mot_ceiling ceiling;
    struct mot_gpu gpu;
    double memory, peak, flops, recomputed; /* memory: bytes planned; peak: bytes taken at most, NaN: not known */
    struct group step; /* all of a step */
    struct group *group;
    int64_t n;
};

static void usage(FILE *f)
{
    fputs("usage: mot-profile run -c CONFIG[,CONFIG...] [options]\n"
          "time training steps operation by operation, on made-up tokens, against what the machine can do;\n"
          "several values in -c, --arch, --dtype, --batch, --seq, --document, --threads: all combinations\n" PROFILE_HELP_MODEL
          PROFILE_HELP_WORK
          "      --steps N           steps to measure (5)\n"
          "      --warmup N          steps before, not measured (2)\n"
          "      --repeat N          measure so often; mean, median, standard deviation and every sample (1)\n"
          "      --by KEYS           rows by op,direction,layer,tower or some of them (op,direction)\n"
          "      --forward           scoring alone, no backward pass and no update\n"
          "      --trace FILE        write the measured steps as a timeline for chrome://tracing or Perfetto\n"
          "      --ceiling G,B       take G FLOP/s and B bytes/s for the machine's best instead of measuring\n"
          "      --peak-tflops X     the device's peak, where mot-profile does not know it or you know better\n"
          "      --cache             measure the machine's best once and remember it\n"
          "      --device D          cpu, or cuda: an NVIDIA GPU (cpu)\n"
          "      --dtype T           f32 or bf16 (f32)\n"
          "      --seed N            of weights and tokens (0)\n"
          "      --format F          " TABLE_FORMATS " (table)\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

/* ---- options ---- */

static void split(struct list *l, const char *option, char *s)
{
    for (char *next; s; s = next) {
        next = strchr(s, ',');
        if (next)
            *next++ = 0;
        if (!*s || l->n == MOST)
            die_usage("%s: expected 1 to %d values with commas between them", option, MOST);
        l->value[l->n++] = s;
    }
}

static void split_numbers(struct list *l, const char *option, char *s, int64_t lo)
{
    int before = l->n;
    split(l, option, s);
    for (int i = before; i < l->n; i++)
        opt_int(option, l->value[i], lo, 1 << 30);
}

static int by(char *s)
{
    static const char *const names[] = {"op", "direction", "layer", "tower"};
    struct list keys = {.n = 0};
    int all = 0;
    split(&keys, "--by", s);
    for (int i = 0; i < keys.n; i++) {
        int k = 0;
        while (k < 4 && strcmp(keys.value[i], names[k]) != 0)
            k++;
        if (k == 4)
            die_usage("--by %s: expected op, direction, layer or tower", keys.value[i]);
        all |= 1 << k;
    }
    return all;
}

static struct mot_ceiling ceiling(char *s)
{
    char *comma = strchr(s, ',');
    if (!comma)
        die_usage("--ceiling %s: expected two numbers with a comma, FLOP/s and bytes/s", s);
    *comma = 0;
    return (struct mot_ceiling){opt_real("--ceiling", s, 1, 1e18), opt_real("--ceiling", comma + 1, 1, 1e18)};
}

/* A list that was not given has one value, which means "not given" further down. */
static void one_at_least(struct list *l, char *value)
{
    if (l->n == 0)
        l->value[l->n++] = value;
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        PROFILE_OPTIONS_MODEL,
        PROFILE_OPTIONS_WORK,
        {"steps", required_argument, NULL, OPT_STEPS},
        {"warmup", required_argument, NULL, OPT_WARMUP},
        {"repeat", required_argument, NULL, OPT_REPEAT},
        {"by", required_argument, NULL, OPT_BY},
        {"forward", no_argument, NULL, OPT_FORWARD},
        {"device", required_argument, NULL, OPT_DEVICE},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"trace", required_argument, NULL, OPT_TRACE},
        {"cache", no_argument, NULL, OPT_CACHE},
        {"ceiling", required_argument, NULL, OPT_CEILING},
        {"peak-tflops", required_argument, NULL, OPT_PEAK},
        {"format", required_argument, NULL, OPT_FORMAT},
        {"seed", required_argument, NULL, OPT_SEED},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    static char none[] = "0";
    struct opts o = {.steps = 5, .warmup = 2, .repeat = 1, .by = BY_OP | BY_DIRECTION};
    for (int c; (c = getopt_long(argc, argv, "c:t:" TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case 'c': split(&o.config, "-c", optarg); break;
        case 't': o.tokenizer = optarg; break;
        case OPT_ARCH: split(&o.arch, "--arch", optarg); break;
        case OPT_BATCH: split_numbers(&o.batch, "--batch", optarg, 1); break;
        case OPT_SEQ: split_numbers(&o.seq, "--seq", optarg, 1); break;
        case OPT_DOCUMENT: split_numbers(&o.document, "--document", optarg, 1); break;
        case OPT_THREADS: split_numbers(&o.threads, "--threads", optarg, 0); break;
        case OPT_DTYPE: split(&o.dtype, "--dtype", optarg); break;
        case OPT_MIX: o.mix = optarg; break;
        case OPT_RECOMPUTE: o.recompute = profile_recompute(optarg); break;
        case OPT_STEPS: o.steps = opt_int("--steps", optarg, 1, 1 << 24); break;
        case OPT_WARMUP: o.warmup = opt_int("--warmup", optarg, 0, 1 << 24); break;
        case OPT_REPEAT: o.repeat = opt_int("--repeat", optarg, 1, 1 << 16); break;
        case OPT_BY: o.by = by(optarg); break;
        case OPT_FORWARD: o.forward_only = true; break;
        case OPT_DEVICE: o.device = optarg; break;
        case OPT_TRACE: o.trace = optarg; break;
        case OPT_CACHE: o.cache = true; break;
        case OPT_CEILING: o.ceiling = ceiling(optarg), o.ceiling_given = true; break;
        case OPT_PEAK: o.peak = 1e12 * opt_real("--peak-tflops", optarg, 1e-6, 1e9), o.peak_given = true; break;
        case OPT_FORMAT: o.format = table_format(optarg); break;
        case OPT_SEED: o.seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
        default: tool_option(c, usage);
        }
    for (; optind < argc; optind++)
        split(&o.config, "CONFIG", argv[optind]);
    if (o.config.n == 0)
        die_usage("no configuration: give -c PRESET, a config.json or a model folder");
    one_at_least(&o.arch, NULL);
    one_at_least(&o.dtype, NULL);
    one_at_least(&o.batch, none);
    one_at_least(&o.seq, none);
    one_at_least(&o.document, none);
    one_at_least(&o.threads, none);
    return o;
}

/* ---- one combination ---- */

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static double mean_of(const struct group *g, const struct opts *o)
{
    return sum_of(g->sample, o->repeat) / (double)o->repeat;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const struct group *g, const struct opts *o)
{
    size_t n = (size_t)o->repeat;
    double *sorted = malloc(n * sizeof *sorted), median;
    if (!sorted)
        die("out of memory");
    memcpy(sorted, g->sample, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    free(sorted);
    return median;
}

/* Of the samples; NaN of a single one. */
static double deviation_of(const struct group *g, const struct opts *o)
{
    double mean = mean_of(g, o), sum = 0;
    for (int64_t i = 0; i < o->repeat; i++)
        sum += (g->sample[i] - mean) * (g->sample[i] - mean);
    return o->repeat > 1 ? sqrt(sum / (double)(o->repeat - 1)) : (double)NAN;
}

static double *samples(const struct opts *o)
{
    double *s = calloc((size_t)o->repeat, sizeof *s);
    if (!s)
        die("out of memory");
    return s;
}

static bool belongs(const struct group *g, const struct mot_profile_row *r, int by_what)
{
    return (!(by_what & BY_OP) || strcmp(g->row.op, r->op) == 0) &&
           (!(by_what & BY_DIRECTION) || strcmp(g->row.direction, r->direction) == 0) &&
           (!(by_what & BY_LAYER) || g->row.layer == r->layer) && (!(by_what & BY_TOWER) || g->row.tower == r->tower);
}

static struct group *group_of(struct result *x, const struct mot_profile_row *r, const struct opts *o)
{
    for (int64_t i = 0; i < x->n; i++)
        if (belongs(&x->group[i], r, o->by))
            return &x->group[i];
    x->group = realloc(x->group, (size_t)(x->n + 1) * sizeof *x->group);
    if (!x->group)
        die("out of memory");
    struct group *g = &x->group[x->n++];
    *g = (struct group){.row = *r, .sample = samples(o)};
    g->row.calls = 0;
    g->row.seconds = g->row.busy = g->row.flops = g->row.bytes = 0;
    return g;
}

/* Sums of a group are of one step: divided by all steps measured. */
static void add(struct group *g, const struct mot_profile_row *r, int64_t repetition, const struct opts *o)
{
    double steps = (double)(o->steps * o->repeat);
    g->sample[repetition] += r->seconds / (double)o->steps;
    g->row.calls += r->calls;
    g->row.seconds += r->seconds / steps;
    g->row.busy += r->busy / steps;
    g->row.flops += r->flops / steps;
    g->row.bytes += r->bytes / steps;
}

static void collect(struct result *x, struct mot_profiler *p, int64_t repetition, const struct opts *o)
{
    const struct mot_profile_row *rows;
    int64_t n;
    if (mot_profiler_rows(p, &rows, &n))
        die_lib(NULL);
    for (int64_t i = 0; i < n; i++) {
        add(group_of(x, &rows[i], o), &rows[i], repetition, o);
        add(&x->step, &rows[i], repetition, o);
    }
}

static void measure(struct result *x, struct mot_profiler *p, const struct opts *o)
{
    double seconds;
    struct tool_progress bar = tool_progress_start(x->c.config, "steps", 0);
    int64_t done = 0, all = o->warmup + o->steps * o->repeat;
    for (int64_t i = 0; i < o->warmup; i++) {
        if (mot_profiler_step(p, false, &seconds))
            die_lib(NULL);
        tool_progress_show(&bar, (double)++done, (double)all, NULL);
    }
    for (int64_t r = 0; r < o->repeat; r++) {
        mot_profiler_reset(p);
        for (int64_t i = 0; i < o->steps; i++) {
            if (mot_profiler_step(p, true, &seconds))
                die_lib(NULL);
            tool_progress_show(&bar, (double)++done, (double)all, NULL);
        }
        collect(x, p, r, o);
    }
    tool_progress_end(&bar);
}

/* A line of /proc/self/status in bytes, "VmRSS:" or "VmHWM:"; NaN where there is none. */
static double process_bytes(const char *key)
{
    char line[256];
    double kilobytes = (double)NAN;
    size_t n = strlen(key);
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0)
            kilobytes = strtod(line + n, NULL);
    if (f)
        fclose(f);
    return 1024 * kilobytes;
}

/* Let VmHWM, the most memory that was ever in use, begin anew. */
static bool forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    bool good = f && fputs("5", f) >= 0;
    if (f)
        good &= fclose(f) == 0;
    return good;
}

static struct result run(const struct opts *o, const struct combination *c)
{
    struct result x = {.c = *c, .step.row = {.op = "(step)", .direction = "-", .layer = -1, .tower = -1}};
    struct profile_model model = {c->config, o->tokenizer, c->arch};
    struct mot_profiler_options po = {
        .work = {.batch = c->batch, .seq = c->seq, .document = c->document, .recompute = o->recompute},
        .device = o->device, .dtype = c->dtype,
        .threads = c->threads, .forward_only = o->forward_only, .trace = o->trace != NULL, .seed = o->seed,
    };
    struct mot_vocab v;
    bool known = profile_config(&model, &x.config, &v), fresh = forget_peak();
    double before = process_bytes("VmRSS:");
    profile_mix(o->mix, &x.config, &po.work);
    struct mot_profiler *p = mot_profiler_open(&x.config, known ? &v : NULL, &po);
    if (!p)
        die_lib("%s", c->config);
    x.step.sample = samples(o);
    x.c.threads = mot_profiler_threads(p);
    x.work = *mot_profiler_workload(p);
    x.flops = mot_profiler_flops(p);
    x.recomputed = mot_profiler_recomputed(p);
    const struct mot_memory *m = mot_profiler_memory(p);
    x.memory = (double)mot_memory_total(m);
    measure(&x, p, o);
    mot_profiler_gpu(p, &x.gpu);
    if (o->peak_given)
        x.gpu.peak = o->peak;
    x.peak = fresh && !x.gpu.name[0] ? process_bytes("VmHWM:") - before : (double)NAN; /* of the host's memory */
    if (o->trace && mot_profiler_trace(p, o->trace))
        die_lib(NULL);
    mot_profiler_close(p);
    return x;
}

static void result_free(struct result *x)
{
    for (int64_t i = 0; i < x->n; i++)
        free(x->group[i].sample);
    free(x->group);
    free(x->step.sample);
}

/* ---- reports ---- */

static const char *tower_of(const struct result *x, const struct mot_profile_row *r, const struct opts *o)
{
    return !(o->by & BY_TOWER) ? "all" : r->tower < 0 ? "-" : x->config.tower[r->tower];
}

/* How near the roofline: the larger of its shares in the two ceilings. */
static double roof(const struct result *x, const struct mot_profile_row *r)
{
    double gemm = r->flops / r->seconds / x->ceiling.gemm, moved = r->bytes / r->seconds / x->ceiling.bandwidth;
    return r->flops + r->bytes > 0 ? gemm > moved ? gemm : moved : (double)NAN;
}

static double ratio(double a, double b)
{
    return a > 0 && b > 0 ? a / b : (double)NAN;
}

static void table_row(struct table *t, const struct result *x, const struct group *g, const struct opts *o)
{
    const struct mot_profile_row *r = &g->row;
    double all = x->step.row.seconds, calls = (double)r->calls / (double)(o->steps * o->repeat);
    if (o->by & BY_OP)
        table_word(t, r->op);
    if (o->by & BY_DIRECTION)
        table_word(t, r->direction);
    if (o->by & BY_LAYER)
        table_number(t, r->layer < 0 ? (double)NAN : (double)r->layer, "%lld", (long long)r->layer);
    if (o->by & BY_TOWER)
        table_word(t, tower_of(x, r, o));
    table_number(t, calls, "%.4g", calls);
    table_number(t, r->seconds, "%.3f", 1e3 * r->seconds);
    table_number(t, r->seconds / all, "%.1f %%", 100 * r->seconds / all);
    table_number(t, ratio(r->flops, r->seconds), "%.1f", 1e-9 * r->flops / r->seconds);
    table_number(t, ratio(r->bytes, r->seconds), "%.1f", 1e-9 * r->bytes / r->seconds);
    table_number(t, ratio(r->flops, r->bytes), "%.1f", r->flops / r->bytes);
    table_number(t, roof(x, r), "%.0f %%", 100 * roof(x, r));
    table_number(t, ratio(r->busy, r->seconds * x->c.threads), "%.0f %%", 100 * r->busy / (r->seconds * x->c.threads));
}

static void print_operations(const struct result *x, const struct opts *o)
{
    const char *columns[16];
    int n = 0;
    static const char *const keys[] = {"op", "direction", "layer", "tower"};
    static const char *const values[] = {"calls", "ms", "time", "GFLOP/s", "GB/s", "FLOP/byte", "of roof", "busy", NULL};
    for (int i = 0; i < 4; i++)
        if (o->by >> i & 1)
            columns[n++] = keys[i];
    memcpy(columns + n, values, sizeof values);
    struct table t = table_new(columns);
    for (int64_t i = 0; i < x->n; i++)
        table_row(&t, x, &x->group[i], o);
    table_print(stdout, &t, o->format);
    table_free(&t);
}

static const char *arch_of(const struct result *x)
{
    return x->c.arch ? x->c.arch : x->config.n_towers > 1 ? "mot" : "dense";
}

static const char *dtype_of(const struct result *x)
{
    return x->c.dtype ? x->c.dtype : "f32";
}

static void summary_row(struct table *t, const struct result *x, const struct opts *o)
{
    double mean = mean_of(&x->step, o), tokens = (double)(x->work.batch * x->work.seq);
    table_word(t, x->c.config);
    table_word(t, arch_of(x));
    table_word(t, dtype_of(x));
    table_number(t, x->c.threads, "%d", x->c.threads);
    table_number(t, (double)x->work.batch, "%lld", (long long)x->work.batch);
    table_number(t, (double)x->work.seq, "%lld", (long long)x->work.seq);
    table_number(t, mean, "%.3f", 1e3 * mean);
    table_number(t, median_of(&x->step, o), "%.3f", 1e3 * median_of(&x->step, o));
    table_number(t, deviation_of(&x->step, o), "%.3f", 1e3 * deviation_of(&x->step, o));
    table_number(t, tokens / mean, "%.0f", tokens / mean);
    table_number(t, x->flops / mean, "%.1f", 1e-9 * x->flops / mean);
    table_number(t, x->flops / mean / x->ceiling.gemm, "%.1f %%", 100 * x->flops / mean / x->ceiling.gemm);
    double of_peak = x->gpu.peak > 0 ? x->flops / mean / x->gpu.peak : (double)NAN;
    table_number(t, of_peak, "%.1f %%", 100 * of_peak);
    table_number(t, x->memory, "%.1f", 1e-6 * x->memory);
    table_number(t, x->peak, "%.1f", 1e-6 * x->peak);
}

/* Which GPU it was, how fast it ran, and what its maker says of it. */
static void print_gpu(const struct mot_gpu *g)
{
    if (!g->name[0])
        return;
    printf("%s, %.1f GB", g->name, 1e-9 * g->memory);
    if (g->clock > 0)
        printf(", clocks now %.0f MHz, memory %.0f MHz", 1e-6 * g->clock, 1e-6 * g->memory_clock);
    if (g->peak > 0)
        printf("; its peak: %.1f TFLOP/s\n\n", 1e-12 * g->peak);
    else
        printf("; its peak is not known here: --peak-tflops gives it\n\n");
}

static void print_for_people(const struct result *x, int n, const struct opts *o)
{
    static const char *const columns[] = {"config", "arch", "dtype", "threads", "batch", "seq", "ms/step", "median", "stddev",
                                          "tokens/s", "GFLOP/s", "of GEMM", "of peak", "planned MB", "peak MB", NULL};
    struct table t = table_new(columns);
    for (int i = 0; i < n; i++) {
        printf("%s, %s, %s, %d threads: %lld x %lld tokens; this machine's best: %.1f GFLOP/s in matrix products, %.1f GB/s\n\n",
               x[i].c.config, arch_of(&x[i]), dtype_of(&x[i]), x[i].c.threads, (long long)x[i].work.batch,
               (long long)x[i].work.seq, 1e-9 * x[i].ceiling.gemm, 1e-9 * x[i].ceiling.bandwidth);
        print_gpu(&x[i].gpu);
        print_operations(&x[i], o);
        putchar('\n');
        summary_row(&t, &x[i], o);
    }
    table_print(stdout, &t, o->format);
    table_free(&t);
}

/* For programs every row stands by itself, the whole step's first. */
static void print_tsv(const struct result *results, int n, const struct opts *o)
{
    static const char *const columns[] = {"config", "arch", "dtype", "threads", "batch", "seq", "document", "op", "direction",
                                          "layer", "tower", "calls", "seconds", "median", "stddev", "busy", "flops", "bytes",
                                          "gemm_ceiling", "bandwidth_ceiling", "samples", NULL};
    struct table t = table_new(columns);
    for (int i = 0; i < n; i++)
        for (int64_t k = -1; k < results[i].n; k++) {
            const struct result *x = &results[i];
            const struct group *g = k < 0 ? &x->step : &x->group[k];
            const struct mot_profile_row *r = &g->row;
            table_word(&t, x->c.config);
            table_word(&t, arch_of(x));
            table_word(&t, dtype_of(x));
            table_number(&t, x->c.threads, "%d", x->c.threads);
            table_number(&t, (double)x->work.batch, " ");
            table_number(&t, (double)x->work.seq, " ");
            table_number(&t, (double)x->work.document, " ");
            table_word(&t, k < 0 || o->by & BY_OP ? r->op : "all");
            table_word(&t, k < 0 || o->by & BY_DIRECTION ? r->direction : "all");
            table_number(&t, o->by & BY_LAYER && r->layer >= 0 ? (double)r->layer : (double)NAN, " ");
            table_word(&t, k < 0 ? "all" : tower_of(x, r, o));
            table_number(&t, k < 0 ? 1 : (double)r->calls / (double)(o->steps * o->repeat), " ");
            table_number(&t, mean_of(g, o), " ");
            table_number(&t, median_of(g, o), " ");
            table_number(&t, deviation_of(g, o), " ");
            table_number(&t, r->busy, " ");
            table_number(&t, r->flops, " ");
            table_number(&t, r->bytes, " ");
            table_number(&t, x->ceiling.gemm, " ");
            table_number(&t, x->ceiling.bandwidth, " ");
            char *list = NULL;
            size_t size;
            FILE *f = open_memstream(&list, &size);
            if (!f)
                die("out of memory");
            for (int64_t s = 0; s < o->repeat; s++) {
                fputs(s ? "," : "", f);
                print_number(f, g->sample[s]);
            }
            if (fclose(f) != 0)
                die("out of memory");
            table_word(&t, list);
            free(list);
        }
    table_print(stdout, &t, TABLE_TSV);
    table_free(&t);
}

static void field(const char *key, double x)
{
    printf(",\"%s\":", key);
    print_number(stdout, x);
}

static void json_statistics(const struct group *g, const struct opts *o)
{
    field("seconds", mean_of(g, o));
    field("seconds_median", median_of(g, o));
    field("seconds_stddev", deviation_of(g, o));
    fputs(",\"samples\":[", stdout);
    for (int64_t i = 0; i < o->repeat; i++) {
        fputs(i ? "," : "", stdout);
        print_number(stdout, g->sample[i]);
    }
    putchar(']');
}

static void json_group(const struct result *x, const struct group *g, const struct opts *o)
{
    const struct mot_profile_row *r = &g->row;
    printf("{\"op\":\"%s\",\"direction\":\"%s\",\"layer\":", o->by & BY_OP ? r->op : "all",
           o->by & BY_DIRECTION ? r->direction : "all");
    print_number(stdout, o->by & BY_LAYER && r->layer >= 0 ? (double)r->layer : (double)NAN);
    printf(",\"tower\":\"%s\"", tower_of(x, r, o));
    field("calls", (double)r->calls / (double)(o->steps * o->repeat));
    json_statistics(g, o);
    field("busy", r->busy);
    field("flops", r->flops);
    field("bytes", r->bytes);
    field("flops_per_second", ratio(r->flops, r->seconds));
    field("bytes_per_second", ratio(r->bytes, r->seconds));
    field("intensity", ratio(r->flops, r->bytes));
    field("roofline_share", roof(x, r));
    putchar('}');
}

static void print_json(const struct result *x, const struct opts *o)
{
    double tokens = (double)(x->work.batch * x->work.seq), mean = mean_of(&x->step, o);
    fputs("{\"config\":", stdout);
    tool_json_string(stdout, x->c.config);
    printf(",\"version\":\"%s\",\"arch\":\"%s\",\"dtype\":\"%s\",\"device\":\"%s\"", MOT_VERSION, arch_of(x), dtype_of(x),
           o->device ? o->device : "cpu");
    field("threads", x->c.threads);
    field("batch", (double)x->work.batch);
    field("seq", (double)x->work.seq);
    field("document", (double)x->work.document);
    field("steps", (double)o->steps);
    field("gemm_ceiling", x->ceiling.gemm);
    field("bandwidth_ceiling", x->ceiling.bandwidth);
    fputs(",\"gpu\":", stdout);
    if (x->gpu.name[0])
        tool_json_string(stdout, x->gpu.name);
    else
        fputs("null", stdout);
    field("gpu_clock", x->gpu.clock > 0 ? x->gpu.clock : (double)NAN);
    field("gpu_memory_clock", x->gpu.memory_clock > 0 ? x->gpu.memory_clock : (double)NAN);
    field("peak", x->gpu.peak > 0 ? x->gpu.peak : (double)NAN);
    field("peak_share", x->gpu.peak > 0 ? x->flops / mean / x->gpu.peak : (double)NAN);
    field("planned_bytes", x->memory);
    field("peak_bytes", x->peak);
    json_statistics(&x->step, o);
    field("tokens_per_second", tokens / mean);
    field("flops", x->flops);
    field("flops_recomputed", x->recomputed);
    field("flops_counted", x->step.row.flops);
    field("flops_per_second", x->flops / mean);
    field("gemm_ceiling_share", x->flops / mean / x->ceiling.gemm);
    /* JSON Lines: all on one line. */
    const char *newline = o->format == TABLE_JSON ? "\n" : "";
    fputs(",\"operations\":[", stdout);
    for (int64_t i = 0; i < x->n; i++) {
        printf("%s%s", i ? "," : "", newline);
        json_group(x, &x->group[i], o);
    }
    fputs("]}", stdout);
}

static void print(const struct result *x, int n, const struct opts *o)
{
    if (o->format == TABLE_TSV) {
        print_tsv(x, n, o);
    } else if (o->format == TABLE_JSON || o->format == TABLE_JSONL) {
        bool array = o->format == TABLE_JSON;
        fputs(array ? "[" : "", stdout);
        for (int i = 0; i < n; i++) {
            print_json(&x[i], o);
            fputs(!array ? "\n" : i < n - 1 ? ",\n" : "]\n", stdout);
        }
    } else {
        print_for_people(x, n, o);
    }
}

/* ---- all of them ---- */

static int count(const struct opts *o)
{
    int64_t n = (int64_t)o->config.n * o->arch.n * o->dtype.n * o->batch.n * o->seq.n * o->document.n;
    if (n * o->threads.n > 4096)
        die_usage("that is %lld combinations, more than 4096", (long long)(n * o->threads.n));
    return (int)n * o->threads.n;
}

/* The i-th combination; the last list changes fastest. */
static struct combination combination_of(const struct opts *o, int i)
{
    const struct list *lists[] = {&o->config, &o->arch, &o->dtype, &o->batch, &o->seq, &o->document, &o->threads};
    char *value[7];
    for (int k = 6; k >= 0; k--) {
        value[k] = lists[k]->value[i % lists[k]->n];
        i /= lists[k]->n;
    }
    int64_t number[4];
    for (int k = 0; k < 4; k++)
        number[k] = strtoll(value[3 + k], NULL, 10); /* checked when it was split */
    return (struct combination){value[0], value[1], value[2], number[0], number[1], number[2], (int)number[3]};
}

/* Measured once for each dtype and number of threads; x holds the i results before this one. */
static struct mot_ceiling ceiling_for(const struct opts *o, const struct combination *c, const struct result *x, int i)
{
    if (o->ceiling_given)
        return o->ceiling;
    for (int k = 0; k < i; k++) {
        struct combination before = combination_of(o, k);
        if (before.threads == c->threads && before.dtype == c->dtype)
            return x[k].ceiling;
    }
    note("measuring what this machine can do");
    return profile_ceiling(o->device, c->dtype, c->threads, o->cache);
}

int profile_run(int argc, char **argv)
{
    struct opts o = parse(argc, argv);
    int n = count(&o);
    if (o.trace && n > 1)
        die_usage("--trace: a timeline is of one combination, these are %d", n);
    struct result *x = calloc((size_t)n, sizeof *x);
    if (!x)
        die("out of memory");
    for (int i = 0; i < n; i++) {
        struct combination c = combination_of(&o, i);
        struct mot_ceiling best = ceiling_for(&o, &c, x, i);
        x[i] = run(&o, &c);
        x[i].ceiling = best;
    }
    print(x, n, &o);
    for (int i = 0; i < n; i++)
        result_free(&x[i]);
    free(x);
    return tool_finish();
}
