/* SPDX-License-Identifier: MIT
 *
 * mot-eval: loss, perplexity and bits per byte of a model folder on shards.  See mot-eval(1).
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mot.h"
#include "tool.h"

enum { OPT_JSON = OPT_LONG, OPT_PER_TOKEN, OPT_CONTEXT, OPT_STRIDE, OPT_DEVICE, OPT_DTYPE, OPT_KEEP_GOING };

struct opts {
    bool json, per_token, keep_going;
    int64_t context, stride;
    const char *device, *dtype;
    int threads;
};

static void usage(FILE *f)
{
    fputs("usage: mot-eval [options] FOLDER SHARD...|-\n"
          "loss by modality of a model folder on shards, as TSV: shard, modality, tokens, nll, ppl, bits_per_byte\n"
          "      --json          the same as JSON Lines\n"
          "      --per-token     {\"doc\":n,\"ids\":[..],\"nll\":[null,..]} a document instead\n"
          "      --context N     longest window of tokens (the model's max_position_embeddings)\n"
          "      --stride N      new tokens a window, where a document is longer than the context (half of it)\n"
          "      --device D      cpu, or cuda: an NVIDIA GPU (cpu)\n"
          "      --dtype T       operands of matrix products: f32, or bf16 where the device multiplies it (f32)\n"
          "      --keep-going    use the whole documents of a damaged shard\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"json", no_argument, NULL, OPT_JSON},
        {"per-token", no_argument, NULL, OPT_PER_TOKEN},
        {"context", required_argument, NULL, OPT_CONTEXT},
        {"stride", required_argument, NULL, OPT_STRIDE},
        {"device", required_argument, NULL, OPT_DEVICE},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    struct opts o = {0};
    for (int c; (c = getopt_long(argc, argv, TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case OPT_JSON: o.json = true; break;
        case OPT_PER_TOKEN: o.per_token = true; break;
        case OPT_CONTEXT: o.context = opt_int("--context", optarg, 1, 1 << 24); break;
        case OPT_STRIDE: o.stride = opt_int("--stride", optarg, 1, 1 << 24); break;
        case OPT_DEVICE: o.device = optarg; break;
        case OPT_DTYPE: o.dtype = optarg; break;
        case OPT_KEEP_GOING: o.keep_going = true; break;
        case OPT_THREADS: o.threads = (int)opt_int("--threads", optarg, 0, 4096); break;
        default: tool_option(c, usage);
        }
    if (o.context && o.stride > o.context)
        die_usage("--stride %lld is more than --context %lld", (long long)o.stride, (long long)o.context);
    if (optind == argc)
        die_usage("no model folder given");
    if (optind + 1 == argc)
        die_usage("no shard given (- is standard input)");
    return o;
}

/* What one shard adds up to. */
struct tally {
    const struct opts *o;
    const struct mot_vocab *vocab;
    int64_t document, tokens[MOT_MAX_MODALITIES], text_bytes;
    double nll[MOT_MAX_MODALITIES];
};

static bool has_vectors(const struct mot_vocab *v)
{
    for (int m = 0; m < v->n_modalities; m++)
        if (v->modality[m].width > 0)
            return true;
    return false;
}

static void print_tokens(const struct tally *t, const int32_t *id, const float *nll, int64_t n)
{
    printf("{\"doc\":%lld,\"ids\":[", (long long)t->document);
    for (int64_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", (int)id[i]);
    fputs("],\"nll\":[", stdout);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0)
            fputc(',', stdout);
        if (isfinite(nll[i]))
            printf("%.9g", (double)nll[i]);
        else
            fputs("null", stdout);
    }
    puts("]}");
}

static void scored(void *context, const int32_t *id, const float *nll, int64_t n)
{
    struct tally *t = context;
    if (t->o->per_token)
        print_tokens(t, id, nll, n);
    for (int64_t i = 0; i < n; i++) {
        if (!mot_has_loss(t->vocab, id, i))
            continue;
        int m = mot_vocab_modality(t->vocab, id[i]);
        t->nll[m] += (double)nll[i];
        t->tokens[m]++;
    }
    t->document++;
}

/* A figure in its column; NaN: the row has none. */
static void print_figure(const struct opts *o, const char *name, double x, int digits)
{
    if (!o->json && isnan(x))
        fputs("\t-", stdout);
    else if (!o->json)
        printf(digits == 6 ? "\t%.6f" : "\t%.6g", x);
    else if (isnan(x))
        printf(",\"%s\":null", name);
    else
        printf(",\"%s\":%.9g", name, x);
}

/* bytes: of the text, for bits per byte; 0: the row has none. mse: the mean loss is a squared error, of patches. */
static void print_row(const struct tally *t, const char *path, const char *modality, int64_t tokens, double sum, int64_t bytes,
                      bool mse)
{
    const struct opts *o = t->o;
    double mean = sum / (double)tokens, nll = mse ? (double)NAN : mean;
    if (o->json) {
        fputs("{\"shard\":", stdout);
        tool_json_string(stdout, path);
        printf(",\"modality\":\"%s\",\"tokens\":%lld", modality, (long long)tokens);
    } else {
        tool_tsv_string(stdout, path);
        printf("\t%s\t%lld", modality, (long long)tokens);
    }
    print_figure(o, "nll", nll, 6);
    print_figure(o, "ppl", exp(nll), 0);
    print_figure(o, "bits_per_byte", bytes ? sum / log(2) / (double)bytes : (double)NAN, 6);
    if (has_vectors(t->vocab))
        print_figure(o, "mse", mse ? mean : (double)NAN, 6);
    puts(o->json ? "}" : "");
}

static void print_tally(const struct tally *t, const char *path)
{
    int64_t tokens = 0;
    double sum = 0;
    bool any = false;
    for (int m = 0; m < t->vocab->n_modalities; m++) {
        if (t->tokens[m] == 0)
            continue;
        bool mse = t->vocab->modality[m].width > 0;
        print_row(t, path, t->vocab->modality[m].name, t->tokens[m], t->nll[m], m == 0 ? t->text_bytes : 0, mse);
        any = true;
        tokens += mse ? 0 : t->tokens[m];
        sum += mse ? 0 : t->nll[m];
    }
    if (tokens) /* all that are ids: errors of patches are another measure */
        print_row(t, path, "all", tokens, sum, 0, false);
    else if (!any)
        fail("%s: no document with two tokens or more: nothing to score", path);
}

static void add_tally(struct tally *total, const struct tally *t)
{
    total->o = t->o;
    total->vocab = t->vocab;
    total->text_bytes += t->text_bytes;
    for (int m = 0; m < t->vocab->n_modalities; m++) {
        total->tokens[m] += t->tokens[m];
        total->nll[m] += t->nll[m];
    }
}

/* Score one shard with *s, which the first shard opens (its vocabulary serves a folder that has none). */
static void eval(struct mot_scorer **s, const char *folder, const char *path, const struct opts *o, struct tally *total)
{
    struct mot_shard *shard = mot_shard_open(path, *s ? mot_scorer_vocab(*s) : NULL, o->keep_going);
    if (!shard) {
        fail_lib(NULL);
        return;
    }
    if (!*s)
        *s = mot_scorer_open(folder, mot_shard_vocab(shard), o->context, o->stride, o->device, o->dtype,
                                o->threads);
    if (!*s)
        die_lib(NULL);
    struct tally t = {.o = o, .vocab = mot_scorer_vocab(*s)};
    if (!total->vocab && !o->per_token && !o->json)
        printf("shard\tmodality\ttokens\tnll\tppl\tbits_per_byte%s\n", has_vectors(t.vocab) ? "\tmse" : "");
    struct tool_progress p = tool_progress_start(path, "documents", 0);
    const struct mot_doc *d = NULL;
    int rc;
    while (!(rc = mot_shard_next(shard, &d)) && d) {
        t.text_bytes += d->text_bytes;
        if (mot_scorer_add(*s, d, scored, &t))
            die_lib(NULL);
        tool_progress_show(&p, (double)t.document, 0, NULL);
    }
    if (!rc && mot_scorer_flush(*s))
        die_lib(NULL);
    tool_progress_end(&p);
    if (rc)
        die_lib(NULL); /* a partial figure must not pass for a whole one */
    if (mot_shard_damage(shard))
        warn("%s", mot_shard_damage(shard));
    mot_shard_close(shard);
    if (!o->per_token)
        print_tally(&t, path);
    add_tally(total, &t);
}

int main(int argc, char **argv)
{
    tool_start("mot-eval", argv);
    struct opts o = parse(argc, argv);
    struct mot_scorer *s = NULL;
    struct tally total = {0};
    int shards = argc - optind - 1;
    for (int i = 0; i < shards; i++)
        eval(&s, argv[optind], argv[optind + 1 + i], &o, &total);
    if (shards > 1 && total.vocab && !o.per_token)
        print_tally(&total, "total");
    mot_scorer_close(s);
    return tool_finish();
}
