/* SPDX-License-Identifier: MIT
 *
 * mot-generate: prompts continued by a model, text, pictures and speech in one stream.  See mot-generate(1).
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mot.h"
#include "tool.h"

enum {
    OPT_TEMPERATURE = OPT_LONG, OPT_TOP_K, OPT_TOP_P, OPT_MIN_P, OPT_GUIDANCE, OPT_N, OPT_MAX_TOKENS, OPT_BATCH, OPT_FORCE,
    OPT_IMAGE_TOKENS, OPT_SAMPLER, OPT_STEPS, OPT_CLIP, OPT_STREAM, OPT_SEED, OPT_DEVICE, OPT_DTYPE, OPT_KEEP_GOING
};

struct opts {
    struct mot_generate_options generate;
    const char *folder, *prompts, *output; /* prompts NULL: one that is empty */
    const char *temperature, *top_k, *top_p, *min_p; /* X, or MODALITY=X,... */
    bool stream, keep_going;
};

static void usage(FILE *f)
{
    fputs("usage: mot-generate [options] FOLDER [PROMPTS.mot|-]\n"
          "continue each document of a shard with the model in FOLDER; without PROMPTS, a document from its beginning\n"
          "  -o, --output OUT        shard of complete documents to write (standard output)\n"
          "      --stream            text to standard output as it comes instead\n"
          "      --max-tokens N      new tokens a document, at most (256)\n"
          "      --n N               documents for each prompt (1)\n"
          "      --force KIND        begin with a segment of text, image or speech\n"
          " drawing tokens; X for all modalities, or text=X,image=X,...:\n"
          "      --temperature X     0: always the most probable token (1)\n"
          "      --top-k X           only among the X most probable; 0: all (0)\n"
          "      --top-p X           only among the most probable that make up a share of X (1)\n"
          "      --min-p X           only among those X times as probable as the first (0)\n"
          "      --guidance X        of pictures: how much what came before them counts (1)\n"
          "      --seed N            (0)\n"
          " making pictures of vectors from noise:\n"
          "      --sampler S         ddim or ancestral for a model trained for ddpm, euler or midpoint for flow (the first)\n"
          "      --steps N           levels of noise on the way (50)\n"
          "      --clip X            no values beyond X; 0: any (as FOLDER's codec has them)\n"
          " running:\n"
          "      --batch N           documents at a time (8)\n"
          "      --image-tokens N    of a picture, where FOLDER has no codec that says so\n"
          "      --device D          cpu or cuda (cpu)\n"
          "      --dtype T           operands of matrix products: f32 or bf16 (f32)\n"
          "      --keep-going        use the whole documents of a damaged shard\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

static enum mot_sample sampler(const char *s)
{
    static const char *const names[] = {"ancestral", "ddim", "euler", "midpoint"};
    for (int i = 0; i < 4; i++)
        if (strcmp(s, names[i]) == 0)
            return (enum mot_sample)(MOT_SAMPLE_ANCESTRAL + i);
    die_usage("--sampler %s: expected ddim, ancestral, euler or midpoint", s);
}

static const char *kind(const char *s)
{
    if (strcmp(s, "text") != 0 && strcmp(s, "image") != 0 && strcmp(s, "speech") != 0)
        die_usage("--force %s: expected text, image or speech", s);
    return s;
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"output", required_argument, NULL, 'o'},
        {"stream", no_argument, NULL, OPT_STREAM},
        {"max-tokens", required_argument, NULL, OPT_MAX_TOKENS},
        {"n", required_argument, NULL, OPT_N},
        {"force", required_argument, NULL, OPT_FORCE},
        {"temperature", required_argument, NULL, OPT_TEMPERATURE},
        {"top-k", required_argument, NULL, OPT_TOP_K},
        {"top-p", required_argument, NULL, OPT_TOP_P},
        {"min-p", required_argument, NULL, OPT_MIN_P},
        {"guidance", required_argument, NULL, OPT_GUIDANCE},
        {"sampler", required_argument, NULL, OPT_SAMPLER},
        {"steps", required_argument, NULL, OPT_STEPS},
        {"clip", required_argument, NULL, OPT_CLIP},
        {"seed", required_argument, NULL, OPT_SEED},
        {"batch", required_argument, NULL, OPT_BATCH},
        {"image-tokens", required_argument, NULL, OPT_IMAGE_TOKENS},
        {"device", required_argument, NULL, OPT_DEVICE},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    struct opts o = {.generate = {.max_tokens = 256, .batch = 8, .samples = 1, .guidance = 1,
                                .painting = {.steps = 50, .clip = -1}}};
    struct mot_generate_options *g = &o.generate;
    for (int c; (c = getopt_long(argc, argv, "o:" TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case 'o': o.output = optarg; break;
        case OPT_STREAM: o.stream = true; break;
        case OPT_MAX_TOKENS: g->max_tokens = opt_int("--max-tokens", optarg, 1, 1 << 30); break;
        case OPT_N: g->samples = (int)opt_int("--n", optarg, 1, 1 << 20); break;
        case OPT_FORCE: g->force = kind(optarg); break;
        case OPT_TEMPERATURE: o.temperature = optarg; break;
        case OPT_TOP_K: o.top_k = optarg; break;
        case OPT_TOP_P: o.top_p = optarg; break;
        case OPT_MIN_P: o.min_p = optarg; break;
        case OPT_GUIDANCE: g->guidance = opt_real("--guidance", optarg, 0, 1000); break;
        case OPT_SAMPLER: g->painting.sampler = sampler(optarg); break;
        case OPT_STEPS: g->painting.steps = (int)opt_int("--steps", optarg, 1, 100000); break;
        case OPT_CLIP: g->painting.clip = opt_real("--clip", optarg, 0, 1e6); break;
        case OPT_SEED: g->seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
        case OPT_BATCH: g->batch = (int)opt_int("--batch", optarg, 1, 1024); break;
        case OPT_IMAGE_TOKENS: g->image_tokens = opt_int("--image-tokens", optarg, 1, 1 << 24); break;
        case OPT_DEVICE: g->device = optarg; break;
        case OPT_DTYPE: g->dtype = optarg; break;
        case OPT_KEEP_GOING: o.keep_going = true; break;
        case OPT_THREADS: g->threads = (int)opt_int("--threads", optarg, 0, 4096); break;
        default: tool_option(c, usage);
        }
    if (optind == argc)
        die_usage("no model folder given");
    if (argc - optind > 2)
        die_usage("\"%s\": one shard of prompts at a time (cat joins shards)", argv[optind + 2]);
    o.folder = argv[optind];
    o.prompts = argv[optind + 1];
    if (o.stream && o.output && strcmp(o.output, "-") == 0)
        die_usage("--stream and -o - would both write to standard output");
    if (!o.stream && !o.output)
        o.output = "-";
    if (o.stream)
        g->batch = 1;
    return o;
}

/* ---- sampling, by modality ---- */

static void set_one(struct mot_sampling *s, const char *option, const char *value)
{
    if (strcmp(option, "--temperature") == 0)
        s->temperature = opt_real(option, value, 0, 1000);
    else if (strcmp(option, "--top-k") == 0)
        s->top_k = opt_int(option, value, 0, INT32_MAX);
    else if (strcmp(option, "--top-p") == 0)
        s->top_p = opt_real(option, value, 0, 1);
    else
        s->min_p = opt_real(option, value, 0, 1);
}

/* "X" for all, or "image=X,text=X". */
static void set_sampling(struct mot_generator *g, const char *option, const char *list)
{
    const struct mot_vocab *v = mot_generator_vocab(g);
    if (list && !strchr(list, '='))
        for (int m = 0; m < v->n_modalities; m++)
            set_one(mot_generator_sampling(g, v->modality[m].name), option, list);
    if (!list || !strchr(list, '='))
        return;
    for (const char *at = list; *at;) {
        char name[MOT_NAME_BYTES], value[64];
        int used = 0;
        if (sscanf(at, "%31[^=,]=%63[^,]%n", name, value, &used) != 2)
            die_usage("%s %s: expected X, or MODALITY=X,...", option, list);
        struct mot_sampling *s = mot_generator_sampling(g, name);
        if (!s)
            die_usage("%s: the model has no modality \"%s\"", option, name);
        set_one(s, option, value);
        at += used + (at[used] == ',');
    }
}

/* ---- output ---- */

struct output {
    const struct opts *o;
    const struct mot_vocab *vocab;
    struct mot_tokenizer *tokenizer; /* NULL: there is none */
    struct mot_shard_writer *shard;
    struct mot_bytes text;
    bool begun;      /* the document that is being streamed has a token */
    int64_t seen;    /* its ids that were looked at */
    int64_t segment; /* the first id of its last text ... */
    size_t printed;  /* ... of which so many bytes are out */
    int64_t documents;
    struct tool_progress p;
};

static size_t text_of(struct output *t, const int32_t *id, int64_t n)
{
    t->text.n = 0;
    if (t->tokenizer && mot_decode_text(t->tokenizer, id, n, true, &t->text))
        die_lib(NULL);
    return t->text.n;
}

/* Bytes of the text that a document's text ids stand for. */
static int64_t count_text(struct output *t, const int32_t *id, int64_t n)
{
    int64_t bytes = 0;
    for (int64_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && mot_vocab_modality(t->vocab, id[k]) == 0; k++)
            ;
        bytes += k > i ? (int64_t)text_of(t, id + i, k - i) : 0;
        k += k == i;
    }
    return bytes;
}

/* Bytes at the end of a text that may be the beginning of a character whose rest is in the next token. */
static size_t incomplete(const unsigned char *s, size_t n)
{
    size_t back = 0;
    while (back < 3 && back < n && (s[n - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back == n || s[n - 1 - back] < 0xC0)
        return 0;
    size_t whole = s[n - 1 - back] >= 0xF0 ? 4 : s[n - 1 - back] >= 0xE0 ? 3 : 2;
    return back + 1 < whole ? back + 1 : 0;
}

/* What is new of the streamed text that ends before `end`; whole: nothing can follow that would make its last character whole. */
static void show(struct output *t, const int32_t *id, int64_t end, bool whole)
{
    size_t length = end > t->segment ? text_of(t, id + t->segment, end - t->segment) : 0;
    length -= whole ? 0 : incomplete(t->text.data, length);
    if (length > t->printed) {
        fwrite(t->text.data + t->printed, 1, length - t->printed, stdout);
        t->printed = length;
    }
}

static void done(void *context, int64_t document, int sample, const int32_t *id, int64_t n, const struct mot_latents *pictures,
                 int64_t prompt)
{
    struct output *t = context;
    (void)document, (void)sample, (void)prompt;
    if (t->shard && mot_shard_add_latents(t->shard, id, n, pictures, count_text(t, id, n)))
        die_lib(NULL);
    if (t->o->stream) {
        show(t, id, n, true);
        putchar('\n');
    }
    t->begun = false;
    tool_progress_show(&t->p, (double)++t->documents, 0, NULL);
}

/* The text among the newest tokens; a text may go on that began in the prompt. */
static void streamed(void *context, int64_t document, int sample, const int32_t *id, int64_t n,
                     const struct mot_latents *pictures, int64_t prompt)
{
    struct output *t = context;
    (void)document, (void)sample, (void)pictures;
    if (!t->begun) {
        t->begun = true;
        t->seen = t->segment = prompt;
        while (t->segment > 0 && mot_vocab_modality(t->vocab, id[t->segment - 1]) == 0)
            t->segment--;
        t->printed = text_of(t, id + t->segment, prompt - t->segment);
    }
    for (; t->seen < n; t->seen++)
        if (mot_vocab_modality(t->vocab, id[t->seen]) != 0) {
            show(t, id, t->seen, true);
            t->segment = t->seen + 1;
            t->printed = 0;
        }
    show(t, id, n, false);
    if (fflush(stdout) != 0)
        exit(tool_finish());
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What cannot be gone on from, by the file that it is in. */
static noreturn void stopped(const char *prompts)
{
    if (prompts)
        die_lib("%s", prompts);
    die_lib(NULL);
}

static void run(struct mot_generator *g, struct mot_shard *prompts, const struct opts *o)
{
    const char *name = o->prompts && strcmp(o->prompts, "-") == 0 ? "standard input" : o->prompts;
    const struct mot_doc *d = NULL;
    int rc = MOT_OK;
    if (!prompts && mot_generator_add(g, &(struct mot_doc){0}))
        stopped(NULL);
    int64_t documents = !prompts;
    for (; prompts && !(rc = mot_shard_next(prompts, &d)) && d; documents++)
        if (mot_generator_add(g, d) || (o->stream && mot_generator_flush(g)))
            stopped(name);
    if (rc)
        die_lib(NULL);
    if (mot_generator_flush(g))
        stopped(name);
    if (prompts && mot_shard_damage(prompts))
        warn("%s", mot_shard_damage(prompts));
    if (documents == 0)
        die("%s: no documents in it to go on from; without it one is made from its beginning", name);
}

int main(int argc, char **argv)
{
    tool_start("mot-generate", argv);
    struct opts o = parse(argc, argv);
    if (o.output && !o.stream)
        tool_refuse_terminal(o.output, "give -o OUT.mot, or --stream for the text alone");
    tool_remove_on_signal();
    atexit(mot_out_remove_all);
    struct output t = {.o = &o, .p = tool_progress_start("generating", "documents", 0)};
    o.generate.context = &t;
    o.generate.done = done;
    o.generate.token = o.stream ? streamed : NULL;
    struct mot_shard *prompts = o.prompts ? mot_shard_open(o.prompts, NULL, o.keep_going) : NULL;
    if (o.prompts && !prompts)
        die_lib(NULL);
    struct mot_generator *g = mot_generator_open(o.folder, prompts ? mot_shard_vocab(prompts) : NULL, &o.generate);
    if (!g)
        die_lib(NULL);
    t.vocab = mot_generator_vocab(g);
    set_sampling(g, "--temperature", o.temperature);
    set_sampling(g, "--top-k", o.top_k);
    set_sampling(g, "--top-p", o.top_p);
    set_sampling(g, "--min-p", o.min_p);
    t.tokenizer = mot_tokenizer_open(o.folder);
    if (!t.tokenizer && o.stream)
        die_lib(NULL);
    if (!t.tokenizer)
        warn("the text's bytes are not counted: %s", mot_error());
    if (o.output && !(t.shard = mot_shard_create(o.output, t.vocab)))
        die_lib(NULL);
    double begun = now();
    run(g, prompts, &o);
    double seconds = now() - begun;
    tool_progress_end(&t.p);
    if (t.shard && mot_shard_commit(t.shard))
        die_lib(NULL);
    note("%lld documents, %lld new tokens, %.1f tokens/s", (long long)t.documents, (long long)mot_generator_tokens(g),
         (double)mot_generator_tokens(g) / seconds);
    mot_generator_close(g);
    mot_shard_close(prompts);
    mot_tokenizer_close(t.tokenizer);
    mot_bytes_free(&t.text);
    return tool_finish();
}
