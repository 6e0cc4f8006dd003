/* SPDX-License-Identifier: MIT
 *
 * mot-eval: losses of a model folder on shards; metrics of captions and pictures.  See mot-eval(1).
 */
#include <getopt.h>
#include <string.h>

#include "eval.h"

enum {
    OPT_JSON = OPT_LONG, OPT_PER_TOKEN, OPT_CONDITIONAL, OPT_CAPTIONS, OPT_WORDS, OPT_FRECHET, OPT_FEATURES, OPT_CLIP,
    OPT_CI, OPT_SEED, OPT_CONTEXT, OPT_STRIDE, OPT_DEVICE, OPT_DTYPE, OPT_KEEP_GOING
};

static void usage(FILE *f)
{
    fputs("usage: mot-eval [options] FOLDER SHARD...|-\n"
          "       mot-eval --captions [options] CANDIDATES REFERENCES...\n"
          "       mot-eval --frechet [options] [-t TOK] PICTURES PICTURES\n"
          "       mot-eval --clip NET [options] [-t TOK] PICTURES...\n"
          "loss by modality of a model folder on shards, as TSV: shard, modality, tokens, nll, ppl, bits_per_byte\n"
          "      --json          the same as JSON Lines\n"
          "      --per-token     {\"doc\":n,\"ids\":[..],\"nll\":[null,..]} a document instead\n"
          "      --conditional M of modality M alone (text, image, speech), given all else in its document\n"
          "      --captions      BLEU and CIDEr of captions against references, as TSV: metric, items, value; both are files of\n"
          "                      lines {\"id\":..,\"text\":..} or ID<tab>TEXT\n"
          "      --words         their texts are words with spaces between them already\n"
          "      --frechet       Frechet distance of two sets of pictures; each is a folder or tar of them, or a shard (- is\n"
          "                      standard input)\n"
          "      --features F    instead of its codec's patches: inception:FILE, InceptionV3 of that .safetensors file, for FID\n"
          "      --clip NET      CLIP score of pictures and the texts beside them; NET: a CLIPModel's folder or .safetensors file\n"
          "  -t, --tokenizer TOK whose patches pictures are compared in, and which decodes shards (the first shard's)\n"
          "      --ci SHARE      confidence intervals beside the figures, as 0.95, by bootstrap over documents, captions or pictures\n"
          "      --seed N        of the bootstrap (0)\n"
          "      --context N     longest window of tokens (the model's max_position_embeddings)\n"
          "      --stride N      new tokens a window, where a document is longer than the context (half of it)\n"
          "      --device D      cpu, or cuda: an NVIDIA GPU (cpu)\n"
          "      --dtype T       operands of matrix products: f32, or bf16 where the device multiplies it (f32)\n"
          "      --keep-going    use the whole documents of a damaged shard\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

/* Options that do not go together, and inputs that are missing. */
static void check_captions(const struct eval_options *o)
{
    if (o->n_inputs == 0)
        die_usage("no captions given (- is standard input)");
    if (o->n_inputs == 1)
        die_usage("no references given");
}

static void check_frechet(const struct eval_options *o)
{
    if (o->n_inputs != 2)
        die_usage("%d sets of pictures given: --frechet is between two", o->n_inputs);
    if (strcmp(o->input[0], "-") == 0 && strcmp(o->input[1], "-") == 0)
        die_usage("standard input can be but one of the sets");
}

static void check_clip(const struct eval_options *o)
{
    if (o->n_inputs == 0)
        die_usage("no pictures given (- is a shard on standard input)");
}

/* What goes with one thing to do alone. */
static void check_mode(const struct eval_options *o)
{
    if (o->mode != EVAL_LOSSES && (o->per_token || o->conditional || o->context || o->stride || o->dtype))
        die_usage("options about tokens go with a model's losses alone");
    if (o->mode != EVAL_CAPTIONS && o->words)
        die_usage("--words goes with --captions");
    if (o->mode != EVAL_FRECHET && o->inception)
        die_usage("--features goes with --frechet");
    if (o->mode != EVAL_FRECHET && o->mode != EVAL_CLIP && o->tokenizer)
        die_usage("-t goes with --frechet and --clip");
}

static void check_losses(const struct eval_options *o)
{
    if (o->context && o->stride > o->context)
        die_usage("--stride %lld is more than --context %lld", (long long)o->stride, (long long)o->context);
    if (o->per_token && o->confidence > 0)
        die_usage("--ci is of the figures of whole shards, and --per-token tells none");
    if (o->n_inputs == 0)
        die_usage("no model folder given");
    if (o->n_inputs == 1)
        die_usage("no shard given (- is standard input)");
}

static void set_mode(struct eval_options *o, enum eval_mode mode)
{
    if (o->mode != EVAL_LOSSES && o->mode != mode)
        die_usage("one of --captions, --frechet and --clip at a time");
    o->mode = mode;
}

static double confidence(const char *s)
{
    double x = opt_real("--ci", s, 0, 1);
    if (x <= 0 || x >= 1)
        die_usage("--ci %s: expected a share between 0 and 1, as 0.95", s);
    return x;
}

/* The file of weights that they are of, NULL: of patches. */
static const char *features(const char *s)
{
    static const char net[] = "inception:";
    if (strcmp(s, "patches") == 0)
        return NULL;
    if (strncmp(s, net, sizeof net - 1) != 0 || !s[sizeof net - 1])
        die_usage("--features %s: expected patches or inception:FILE", s);
    return s + sizeof net - 1;
}

static struct eval_options parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"json", no_argument, NULL, OPT_JSON},
        {"per-token", no_argument, NULL, OPT_PER_TOKEN},
        {"conditional", required_argument, NULL, OPT_CONDITIONAL},
        {"captions", no_argument, NULL, OPT_CAPTIONS},
        {"words", no_argument, NULL, OPT_WORDS},
        {"frechet", no_argument, NULL, OPT_FRECHET},
        {"features", required_argument, NULL, OPT_FEATURES},
        {"clip", required_argument, NULL, OPT_CLIP},
        {"tokenizer", required_argument, NULL, 't'},
        {"ci", required_argument, NULL, OPT_CI},
        {"seed", required_argument, NULL, OPT_SEED},
        {"context", required_argument, NULL, OPT_CONTEXT},
        {"stride", required_argument, NULL, OPT_STRIDE},
        {"device", required_argument, NULL, OPT_DEVICE},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    static void (*const check[])(const struct eval_options *) = {check_losses, check_captions, check_frechet, check_clip};
    struct eval_options o = {0};
    for (int c; (c = getopt_long(argc, argv, TOOL_SHORT "t:", longopts, NULL)) != -1;)
        switch (c) {
        case OPT_JSON: o.json = true; break;
        case OPT_PER_TOKEN: o.per_token = true; break;
        case OPT_CONDITIONAL: o.conditional = optarg; break;
        case OPT_CAPTIONS: set_mode(&o, EVAL_CAPTIONS); break;
        case OPT_WORDS: o.words = true; break;
        case OPT_FRECHET: set_mode(&o, EVAL_FRECHET); break;
        case OPT_FEATURES: o.inception = features(optarg); break;
        case OPT_CLIP: set_mode(&o, EVAL_CLIP), o.clip = optarg; break;
        case 't': o.tokenizer = optarg; break;
        case OPT_CI: o.confidence = confidence(optarg); break;
        case OPT_SEED: o.seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
        case OPT_CONTEXT: o.context = opt_int("--context", optarg, 1, 1 << 24); break;
        case OPT_STRIDE: o.stride = opt_int("--stride", optarg, 1, 1 << 24); break;
        case OPT_DEVICE: o.device = optarg; break;
        case OPT_DTYPE: o.dtype = optarg; break;
        case OPT_KEEP_GOING: o.keep_going = true; break;
        case OPT_THREADS: o.threads = (int)opt_int("--threads", optarg, 0, 4096); break;
        default: tool_option(c, usage);
        }
    o.input = (const char *const *)argv + optind;
    o.n_inputs = argc - optind;
    check_mode(&o);
    check[o.mode](&o);
    return o;
}

int main(int argc, char **argv)
{
    tool_start("mot-eval", argv);
    static void (*const run[])(const struct eval_options *) = {eval_losses, eval_captions, eval_frechet, eval_clip};
    struct eval_options o = parse(argc, argv);
    run[o.mode](&o);
    return tool_finish();
}
