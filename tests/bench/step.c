/* SPDX-License-Identifier: MIT
 *
 * step.c - bench-step: how close a whole training step comes to what the machine can do.
 *
 *   bin/bench-step [-n ROUNDS] [-t THREADS] [CONFIG...]     one line a configuration, architecture and mix
 *   bin/bench-step -s [-t THREADS] CONFIG                   on demand, for peer.py: reads a line "dense", "mot" or
 *                                                           "ceiling", does that once, answers with its seconds or,
 *                                                           of the ceiling, GFLOP/s
 *
 * A step is routing, forward, backward, gradient norm, clipping and AdamW over random tokens, modalities interleaved at
 * random. Its FLOPs are exact: three times those of a forward pass, over the matrices actually multiplied and the pairs of
 * tokens that see each other; recomputed scores and the optimizer count nothing.
 * The ceiling is the linked BLAS's own: a square SGEMM and the model's largest products, each with the BLAS's own
 * threads and as one call a thread on a share of the rows; the fastest of these.
 * Everything is measured in turn, round after round, and the shares and ratios are medians over the rounds of what stood in
 * the same round: a machine that others slow down slows both sides. Columns, separated by tabs:
 *
 *   config arch mix   what was trained; mix: share of the tokens by modality, in percent
 *   seconds           median of a step; tok/s and GF/s follow from it
 *   ceiling share     GFLOP/s of the BLAS, and the step's rate over it
 *   x-dense           time over the dense step's
 *   want met          what the project promises: least share, for mixes largest x-dense; "yes" if both hold
 */
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <time.h>

#include <cblas.h>
#undef I

#include "../../lib/train/train.h"

extern void openblas_set_num_threads(int n) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

enum { MOST_ROUNDS = 99, MOST_MODALITIES = 3 };

static const struct net {
    const char *name;
    int64_t width, ffn, layers, heads, vocab, seq, batch;
    double share, ratio; /* wanted: of the ceiling at least, of the dense step at most */
    int rounds;
} nets[] = {
    {"d48", 48, 128, 3, 3, 3600, 256, 16, 0.40, 1.06, 25},
    {"d256", 256, 704, 4, 8, 8192, 512, 4, 0.80, 1.03, 11},
    {"d512", 512, 1408, 8, 8, 8192, 512, 4, 0.85, 1.03, 5},
    {"d1024", 1024, 2816, 4, 16, 8192, 512, 4, 0.88, 1.03, 3},
};

static const struct mix {
    int modalities;
    int percent[MOST_MODALITIES];
} mixes[] = {{2, {50, 50}}, {2, {90, 10}}, {3, {34, 33, 33}}};

enum { MIXES = MOT_COUNT(mixes), SHAPES = 4, WAYS = 2 };

static void check(int status)
{
    if (status == MOT_OK)
        return;
    fprintf(stderr, "bench-step: %s\n", mot_error());
    exit(1);
}

static void *memory(size_t n, size_t each)
{
    void *p = mot_alloc(n, each);
    if (!p)
        check(MOT_ENOMEM);
    return p;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *x, int n)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static double median_ratio(const double *x, const double *y, int n)
{
    double ratio[MOST_ROUNDS];
    for (int i = 0; i < n; i++)
        ratio[i] = x[i] / y[i];
    return median(ratio, n);
}

/* ---- the ceiling ---- */

/* y (m,n) = x (m,k) w (n,k)^T */
struct product {
    int64_t m, n, k;
};

struct ceiling {
    struct product product[SHAPES];
    float *x, *w, *y;
    int threads;
};

static struct ceiling ceiling_new(const struct net *net, int threads)
{
    int64_t rows = net->batch * net->seq;
    struct ceiling c = {
        .product = {{2048, 2048, 2048}, {rows, 3 * net->width, net->width}, {rows, 2 * net->ffn, net->width},
                    {rows, net->vocab, net->width}},
        .threads = threads,
    };
    size_t x = 0, w = 0, y = 0;
    for (int i = 0; i < SHAPES; i++) {
        const struct product *p = &c.product[i];
        x = larger(x, (size_t)(p->m * p->k));
        w = larger(w, (size_t)(p->n * p->k));
        y = larger(y, (size_t)(p->m * p->n));
    }
    c.x = memory(x, sizeof *c.x), c.w = memory(w, sizeof *c.w), c.y = memory(y, sizeof *c.y);
    for (size_t i = 0; i < x; i++)
        c.x[i] = (float)(i % 251) / 251 - 0.5f;
    for (size_t i = 0; i < w; i++)
        c.w[i] = (float)(i % 241) / 241 - 0.5f;
    return c;
}

static void ceiling_free(struct ceiling *c)
{
    mot_free(c->x), mot_free(c->w), mot_free(c->y);
}

static void multiply(const struct ceiling *c, const struct product *p, int64_t begin, int64_t end)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(end - begin), (int)p->n, (int)p->k, 1.0f,
                c->x + begin * p->k, (int)p->k, c->w, (int)p->k, 0.0f, c->y + begin * p->n, (int)p->n);
}

/* GFLOP/s of one product, several times over where one is short. */
static double rate_of(const struct ceiling *c, const struct product *p, bool own_threads)
{
    double flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    int times = (int)(4e9 / flops) + 1;
    double begin = now();
    if (own_threads) {
        if (openblas_set_num_threads)
            openblas_set_num_threads(c->threads);
        for (int i = 0; i < times; i++)
            multiply(c, p, 0, p->m);
        if (openblas_set_num_threads)
            openblas_set_num_threads(1);
    } else {
#pragma omp parallel num_threads(c->threads)
        for (int i = 0, me = omp_get_thread_num(); i < times; i++)
            multiply(c, p, p->m * me / c->threads, p->m * (me + 1) / c->threads);
    }
    return 1e-9 * flops * times / (now() - begin);
}

/* ---- a contestant: a model and its tokens ---- */

struct contestant {
    const char *arch;
    const struct mix *mix;
    struct mot_model *m;
    struct mot_optimizer optimizer;
    struct mot_batch batch;
    struct mot_train_options options;
    int64_t steps;
    double flops, seconds[MOST_ROUNDS];
};

static struct mot_vocab vocab_of(const struct net *net, const struct mix *mix)
{
    static const char *const names[MOST_MODALITIES] = {"text", "image", "speech"};
    struct mot_vocab v = {.n_modalities = mix->modalities, .size = (int32_t)net->vocab};
    for (int k = 0; k < mix->modalities; k++) {
        int32_t first = (int32_t)(net->vocab * k / mix->modalities);
        strcpy(v.modality[k].name, names[k]);
        v.modality[k].first = first;
        v.modality[k].n = (int32_t)(net->vocab * (k + 1) / mix->modalities) - first;
    }
    return v;
}

/* The i-th token of sequence b: first its modality is drawn, then one of its ids. */
static int32_t token(const struct mot_vocab *v, const struct mix *mix, int64_t b, int64_t i)
{
    int percent = (int)mot_random_below(1, (uint64_t)b, (uint64_t)i, 100), k = 0;
    while (k + 1 < mix->modalities && percent >= mix->percent[k])
        percent -= mix->percent[k++];
    return v->modality[k].first + (int32_t)mot_random_below(2, (uint64_t)b, (uint64_t)i, (uint64_t)v->modality[k].n);
}

static void draw(struct mot_batch *batch, const struct net *net, const struct mot_vocab *v, const struct mix *mix)
{
    int32_t *id = memory((size_t)net->seq + 1, sizeof *id);
    for (int64_t b = 0; b < net->batch; b++) {
        for (int64_t i = 0; i <= net->seq; i++)
            id[i] = token(v, mix, b, i);
        check(mot_batch_add(batch, id, net->seq));
    }
    mot_free(id);
}

static struct mot_config config_of(const struct net *net, const struct mot_vocab *v, const char *arch)
{
    struct mot_config c;
    check(mot_config_load(&c, "nano"));
    c.hidden_size = net->width;
    c.intermediate_size = net->ffn;
    c.num_hidden_layers = net->layers;
    c.num_attention_heads = c.num_key_value_heads = net->heads;
    c.head_dim = net->width / net->heads;
    c.initializer_range = 0.02;
    check(mot_config_settle(&c, net->name, v, arch));
    return c;
}

static struct contestant contestant_new(const struct net *net, const char *arch, const struct mix *mix, int threads)
{
    struct contestant c = {
        .arch = arch, .mix = mix,
        .options = {.lr = 3e-4, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1},
    };
    struct mot_vocab v = vocab_of(net, mix);
    struct mot_config config = config_of(net, &v, arch);
    double seq = (double)net->seq;
    const struct mot_kernels *cpu = mot_device_find("cpu", "f32");
    check(cpu ? MOT_OK : MOT_EDEVICE);
    c.m = mot_model_new(&config, &v, cpu, threads, net->batch * net->seq, net->seq, true);
    check(c.m ? MOT_OK : MOT_ENOMEM);
    check(mot_model_init(c.m, 1));
    check(mot_optimizer_new(&c.optimizer, c.m, &c.options));
    draw(&c.batch, net, &v, mix);
    c.flops = 3 * mot_forward_flops(&config, &(struct mot_rows){.n = c.batch.n, .pairs = (double)net->batch * seq * (seq + 1) / 2});
    return c;
}

static void contestant_free(struct contestant *c)
{
    mot_batch_free(&c->batch);
    mot_optimizer_free(&c->optimizer);
    mot_model_free(c->m);
}

static double step(struct contestant *c)
{
    struct mot_step s;
    double begin = now();
    check(mot_model_route(c->m, &c->batch, 1 / mot_batch_weight(c->m, &c->batch), NULL));
    check(mot_model_run(c->m, true));
    check(mot_optimizer_norms(&c->optimizer, &s));
    mot_optimizer_step(&c->optimizer, &c->options, c->options.lr, ++c->steps);
    return now() - begin;
}

/* ---- one configuration, everything in turn ---- */

static void print(const struct net *net, const struct contestant *c, const struct contestant *dense,
                  const double *ceiling, int rounds)
{
    double rate[MOST_ROUNDS], seconds = median(c->seconds, rounds);
    for (int r = 0; r < rounds; r++)
        rate[r] = 1e-9 * c->flops / c->seconds[r];
    double share = median_ratio(rate, ceiling, rounds), slower = median_ratio(c->seconds, dense->seconds, rounds);
    char mix[64], want[64], times[16] = "-";
    int at = snprintf(mix, sizeof mix, "%d", c->mix->percent[0]);
    for (int k = 1; k < c->mix->modalities; k++)
        at += snprintf(mix + at, sizeof mix - (size_t)at, "/%d", c->mix->percent[k]);
    snprintf(want, sizeof want, ">=%.0f%%", 100 * net->share);
    if (c != dense) {
        snprintf(want, sizeof want, ">=%.0f%% <=%.2f", 100 * net->share, net->ratio);
        snprintf(times, sizeof times, "%.3f", slower);
    }
    bool met = share >= net->share && (c == dense || slower <= net->ratio);
    printf("%s\t%s\t%s\t%.4f\t%.0f\t%.1f\t%.1f\t%.1f%%\t%s\t%s\t%s\n", net->name, c->arch, mix, seconds,
           (double)c->batch.n / seconds, median(rate, rounds), median(ceiling, rounds), 100 * share, times, want,
           met ? "yes" : "no");
    fflush(stdout);
}

static void compete(const struct net *net, int rounds, int threads)
{
    static double rate[SHAPES * WAYS][MOST_ROUNDS];
    static struct contestant c[1 + MIXES]; /* dense, which does not care what is mixed; then a MoT for each mix */
    struct ceiling ceiling = ceiling_new(net, threads);
    c[0] = contestant_new(net, "dense", &mixes[0], threads);
    for (int i = 0; i < MIXES; i++)
        c[1 + i] = contestant_new(net, "mot", &mixes[i], threads);
    for (int r = -1; r < rounds; r++) { /* the first warms up */
        int at = r < 0 ? 0 : r;
        for (int i = 0; i < SHAPES * WAYS; i++)
            rate[i][at] = rate_of(&ceiling, &ceiling.product[i / WAYS], i % WAYS);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* OpenBLAS's threads spin before they sleep */
        for (int i = 0; i < 1 + MIXES; i++) { /* each in turn is the one that follows the BLAS */
            struct contestant *next = &c[(i + at) % (1 + MIXES)];
            next->seconds[at] = step(next);
        }
    }
    const double *best = rate[0];
    for (int i = 1; i < SHAPES * WAYS; i++)
        if (median(rate[i], rounds) > median(best, rounds))
            best = rate[i];
    for (int i = 0; i < 1 + MIXES; i++)
        print(net, &c[i], &c[0], best, rounds);
    for (int i = 0; i < 1 + MIXES; i++)
        contestant_free(&c[i]);
    ceiling_free(&ceiling);
}

/* ---- on demand ---- */

static void serve(const struct net *net, int threads)
{
    struct ceiling ceiling = ceiling_new(net, threads);
    struct contestant c[2] = {0}; /* dense, MoT; made when first asked for */
    char line[32];
    while (fgets(line, sizeof line, stdin)) {
        int mot = strcmp(line, "mot\n") == 0;
        double answer = 0;
        if (strcmp(line, "ceiling\n") == 0) {
            for (int i = 0; i < SHAPES * WAYS; i++)
                answer = fmax(answer, rate_of(&ceiling, &ceiling.product[i / WAYS], i % WAYS));
        } else {
            if (!c[mot].m)
                c[mot] = contestant_new(net, mot ? "mot" : "dense", &mixes[0], threads);
            answer = step(&c[mot]);
        }
        printf("%.6f\n", answer);
        fflush(stdout);
    }
    for (int i = 0; i < 2; i++)
        contestant_free(&c[i]);
    ceiling_free(&ceiling);
}

static bool asked_for(const struct net *net, char **names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], net->name) == 0)
            return true;
    return n == 0;
}

int main(int argc, char **argv)
{
    int rounds = 0, threads = omp_get_num_procs(), option;
    bool on_demand = false;
    while ((option = getopt(argc, argv, "n:t:s")) != -1) {
        if (option == 'n')
            rounds = (int)strtol(optarg, NULL, 10);
        else if (option == 't')
            threads = (int)strtol(optarg, NULL, 10);
        else if (option == 's')
            on_demand = true;
        else
            return 2;
    }
    rounds = rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS;
    if (!on_demand) {
        printf("# %d threads, BLAS: %s\n", threads, openblas_get_config ? openblas_get_config() : "not OpenBLAS");
        printf("config\tarch\tmix\tseconds\ttok/s\tGF/s\tceiling\tshare\tx-dense\twant\tmet\n");
    }
    for (int i = 0; i < MOT_COUNT(nets); i++) {
        const struct net *net = &nets[i];
        if (!asked_for(net, argv + optind, argc - optind))
            continue;
        if (on_demand)
            serve(net, threads);
        else
            compete(net, rounds > 0 ? rounds : net->rounds, threads);
    }
    return 0;
}
