/* SPDX-License-Identifier: MIT
 *
 * mot-convert: checkpoints between Hugging Face's, ours and other forms; a dense model to a Mixture-of-Transformers and
 * back; lists, checks and compares them.  See mot-convert(1).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mot.h"
#include "tool.h"

enum {
    OPT_TO = OPT_LONG, OPT_FROM, OPT_MODALITIES, OPT_ADD_VOCAB, OPT_DROP_VOCAB, OPT_NEW_ROWS, OPT_COPY, OPT_INIT,
    OPT_UNTIE, OPT_UNET, OPT_TOWER, OPT_DTYPE, OPT_SHARD_SIZE, OPT_ALLOW_EXTRA, OPT_KEEP_EXTRA, OPT_DRY_RUN,
    OPT_SEED, OPT_LIST, OPT_CHECK, OPT_VERIFY, OPT_TOKENS,
};

enum { MAX_EXTRA = 256 };

struct opts {
    struct mot_convert_options convert;
    const char *allow[MAX_EXTRA], *keep[MAX_EXTRA];
    int job; /* 0: convert; else OPT_LIST, OPT_CHECK or OPT_VERIFY */
    bool dry_run;
    int64_t tokens;
    int threads;
};

static void usage(FILE *f)
{
    fputs("usage: mot-convert [--to FORM] [options] IN OUT\n"
          "       mot-convert --list | --check FOLDER|FILE...\n"
          "       mot-convert --verify A B\n"
          "checkpoint folders from one form to another, streamed; whatever stands against it is said before anything is written\n"
          "      --to FORM           mot, hf, bagel, kempner or official; default: the form IN has\n"
          "      --from FORM         what IN is; default: told by its tensors' names\n"
          "  -c, --config FILE       IN's config.json, where it lacks one\n"
          " to a Mixture-of-Transformers:\n"
          "      --modalities LIST   text,image,...; default: those with ids\n"
          "      --add-vocab LIST    new ids, as image=1024,speech=500, and delimiters\n"
          "      --drop-vocab LIST   leave out the ids of these modalities\n"
          "  -t, --tokenizer TOK     take codecs, and how many ids they need, from this tokenizer folder\n"
          "      --new-rows HOW      embedding and head of new ids: mean (of the old, with a little noise), zero or normal\n"
          "      --copy MODALITY     whose tower new towers are copies of (text)\n"
          "      --init random[=LIST] new towers, or those in LIST, are random instead\n"
          "      --unet N[,BLOCKS]   a new U-Net of N channels around pictures of vectors; 0: none (as it is)\n"
          "      --untie LIST        what gets towers: ffn, attn, norm or components of mot-model(5) (all)\n"
          " from one:\n"
          "      --tower MODALITY    with --to hf: whose tower to take (text)\n"
          " the files:\n"
          "      --dtype T           f32, f16 or bf16; default: as it is\n"
          "      --shard-size SIZE   split weights into files of at most so many bytes (K, M, G)\n"
          "      --allow-extra GLOB  tensors and config keys that may be left out (again and again)\n"
          "      --keep-extra GLOB   tensors that are no part of the model and travel along as they are\n"
          "      --dry-run           check everything, say what would be written, and stop\n"
          "      --seed N            of new rows, random towers and --verify's ids (0)\n"
          " instead:\n"
          "      --list              TSV: name, dtype, shape, offset, bytes, tower, file\n"
          "      --check             read every byte, test every rule\n"
          "      --verify            largest difference of two models: logits and nll of random ids, what is told of a picture\n"
          "      --tokens N          ... so many (64)\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

static enum mot_new_rows new_rows(const char *s)
{
    static const char *const names[] = {"mean", "zero", "normal"};
    for (int i = 0; i < 3; i++)
        if (strcmp(s, names[i]) == 0)
            return (enum mot_new_rows)i;
    die_usage("--new-rows %s: expected mean, zero or normal", s);
}

static const char *random_towers(const char *s)
{
    if (strncmp(s, "random", 6) != 0 || (s[6] && (s[6] != '=' || !s[7])))
        die_usage("--init %s: expected random or random=LIST", s);
    return s[6] ? s + 7 : "all";
}

static void add_pattern(const char **list, int *n, const char *glob)
{
    if (*n == MAX_EXTRA)
        die_usage("more than %d --allow-extra or --keep-extra patterns", MAX_EXTRA);
    list[(*n)++] = glob;
}

static void set_job(struct opts *o, int job)
{
    if (o->job && o->job != job)
        die_usage("--list, --check and --verify are different things");
    o->job = job;
}

static void check_arguments(const struct opts *o, int n)
{
    if (o->job == 0 && n != 2)
        die_usage("expected two folders: IN and OUT");
    if (o->job == OPT_VERIFY && n != 2)
        die_usage("--verify expects two folders");
    if (n == 0)
        die_usage("no folder or file given");
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"to", required_argument, NULL, OPT_TO},
        {"from", required_argument, NULL, OPT_FROM},
        {"config", required_argument, NULL, 'c'},
        {"tokenizer", required_argument, NULL, 't'},
        {"modalities", required_argument, NULL, OPT_MODALITIES},
        {"add-vocab", required_argument, NULL, OPT_ADD_VOCAB},
        {"drop-vocab", required_argument, NULL, OPT_DROP_VOCAB},
        {"new-rows", required_argument, NULL, OPT_NEW_ROWS},
        {"copy", required_argument, NULL, OPT_COPY},
        {"init", required_argument, NULL, OPT_INIT},
        {"untie", required_argument, NULL, OPT_UNTIE},
        {"unet", required_argument, NULL, OPT_UNET},
        {"tower", required_argument, NULL, OPT_TOWER},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"shard-size", required_argument, NULL, OPT_SHARD_SIZE},
        {"allow-extra", required_argument, NULL, OPT_ALLOW_EXTRA},
        {"keep-extra", required_argument, NULL, OPT_KEEP_EXTRA},
        {"dry-run", no_argument, NULL, OPT_DRY_RUN},
        {"seed", required_argument, NULL, OPT_SEED},
        {"list", no_argument, NULL, OPT_LIST},
        {"check", no_argument, NULL, OPT_CHECK},
        {"verify", no_argument, NULL, OPT_VERIFY},
        {"tokens", required_argument, NULL, OPT_TOKENS},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    struct opts o = {.tokens = 64};
    struct mot_convert_options *c = &o.convert;
    for (int k; (k = getopt_long(argc, argv, "c:t:" TOOL_SHORT, longopts, NULL)) != -1;)
        switch (k) {
        case OPT_TO: c->form = optarg; break;
        case OPT_FROM: c->from_form = optarg; break;
        case 'c': c->config = optarg; break;
        case 't': c->tokenizer = optarg; break;
        case OPT_MODALITIES: c->modalities = optarg; break;
        case OPT_ADD_VOCAB: c->add_vocab = optarg; break;
        case OPT_DROP_VOCAB: c->drop_vocab = optarg; break;
        case OPT_NEW_ROWS: c->new_rows = new_rows(optarg); break;
        case OPT_COPY: c->copy = optarg; break;
        case OPT_INIT: c->random = random_towers(optarg); break;
        case OPT_UNTIE: c->untie = optarg; break;
        case OPT_UNET: c->unet = optarg; break;
        case OPT_TOWER: c->tower = optarg; break;
        case OPT_DTYPE: c->dtype = optarg; break;
        case OPT_SHARD_SIZE: c->shard_size = opt_size("--shard-size", optarg, 1, INT64_MAX / 2); break;
        case OPT_ALLOW_EXTRA: add_pattern(o.allow, &c->n_allow_extra, optarg); break;
        case OPT_KEEP_EXTRA: add_pattern(o.keep, &c->n_keep_extra, optarg); break;
        case OPT_DRY_RUN: o.dry_run = true; break;
        case OPT_SEED: c->seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
        case OPT_LIST:
        case OPT_CHECK:
        case OPT_VERIFY: set_job(&o, k); break;
        case OPT_TOKENS: o.tokens = opt_int("--tokens", optarg, 1, 1 << 20); break;
        case OPT_THREADS: o.threads = (int)opt_int("--threads", optarg, 0, 4096); break;
        default: tool_option(k, usage);
        }
    check_arguments(&o, argc - optind);
    c->from = argv[optind];
    c->to = argc - optind > 1 ? argv[optind + 1] : NULL;
    return o;
}

/* ---- list, check, verify ---- */

static void list_tensor(void *context, const struct mot_tensor_info *t)
{
    (void)context;
    tool_tsv_string(stdout, t->name);
    printf("\t%s\t", t->dtype);
    for (int i = 0; i < t->rank; i++)
        printf("%s%lld", i ? "x" : "", (long long)t->shape[i]);
    printf("%s\t%zu\t%zu\t%s\t", t->rank ? "" : "-", t->offset, t->bytes, t->tower ? t->tower : "-");
    tool_tsv_string(stdout, t->file);
    putchar('\n');
}

static void list(char **path, int n)
{
    puts("name\tdtype\tshape\toffset\tbytes\ttower\tfile");
    for (int i = 0; i < n; i++)
        if (mot_list_tensors(path[i], list_tensor, NULL))
            fail_lib(NULL);
}

static bool show(void *context, int64_t done, int64_t total)
{
    tool_progress_show(context, (double)done / 1e6, (double)total / 1e6, NULL);
    return !tool_interrupted();
}

static void complain(void *context, const char *sentence)
{
    (void)context;
    fail("%s", sentence);
}

static void check(char **path, int n)
{
    for (int i = 0; i < n; i++) {
        struct tool_progress p = tool_progress_start(path[i], "MB", 0);
        struct mot_check c;
        int rc = mot_check_tensors(path[i], complain, show, &p, &c);
        tool_progress_end(&p);
        if (rc)
            fail_lib(NULL);
        else if (c.wrong == 0)
            note("%s: %lld tensors, %lld values in %lld file%s: all good", path[i], (long long)c.tensors, (long long)c.values,
                 (long long)c.files, c.files == 1 ? "" : "s");
    }
}

static void verify(const struct opts *o)
{
    struct mot_difference d;
    if (mot_compare_models(o->convert.from, o->convert.to, o->tokens, o->convert.seed, o->threads, &d))
        die_lib(NULL);
    printf("tokens\t%lld\nids\t%lld\nmax_logit\t%.9g\nmax_delta_logit\t%.9g\nmax_delta_nll\t%.9g\n", (long long)d.tokens,
           (long long)d.ids, d.largest, d.logit, d.nll);
    if (d.patches > 0)
        printf("patches\t%lld\nmax_told\t%.9g\nmax_delta_told\t%.9g\n", (long long)d.patches, d.largest_told, d.told);
}

/* ---- conversion ---- */

static void convert(const struct opts *o)
{
    struct mot_converter *c = mot_converter_open(&o->convert);
    if (!c)
        die_lib(NULL);
    bool good = true;
    for (const char *s; (s = mot_converter_complaint(c)); good = false)
        fail("%s", s);
    for (const char *s; good && (s = mot_converter_notice(c));)
        note("%s", s);
    if (good && !o->dry_run) {
        struct tool_progress p = tool_progress_start(o->convert.to, "MB", 0);
        tool_catch_interrupt();
        int rc = mot_converter_run(c, show, &p);
        tool_progress_end(&p);
        if (rc)
            fail_lib(NULL);
        if (rc && tool_interrupted())
            raise(tool_interrupted()); /* the second time it kills, as a shell expects; all is cleaned up */
    }
    mot_converter_close(c);
}

int main(int argc, char **argv)
{
    tool_start("mot-convert", argv);
    struct opts o = parse(argc, argv);
    o.convert.allow_extra = o.allow; /* the copy's own */
    o.convert.keep_extra = o.keep;
    switch (o.job) {
    case OPT_LIST: list(argv + optind, argc - optind); break;
    case OPT_CHECK: check(argv + optind, argc - optind); break;
    case OPT_VERIFY: verify(&o); break;
    default: convert(&o);
    }
    return tool_finish();
}
