/* SPDX-License-Identifier: MIT
 *
 * mot-tokenize: learn tokenizers from data, turn data into shards of token documents and shards back into files, and look
 * into shards.  See mot-tokenize(1).
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mot.h"
#include "tool.h"

enum mode { ENCODE, LEARN, DECODE, DUMP, PACK, INFO, CHECK };

enum {
    OPT_LEARN = OPT_LONG, OPT_DECODE, OPT_DUMP, OPT_PACK, OPT_INFO, OPT_CHECK, OPT_RAW, OPT_ADD_SPECIAL, OPT_ORDER, OPT_SEED,
    OPT_STRICT, OPT_COMPRESS, OPT_KEEP_GOING, OPT_JSON, OPT_IMAGE_SIZE, OPT_PATCH_SIZE, OPT_MERGE_REPEATS
};

struct opts {
    enum mode mode;
    const char *tokenizer, *output, *format;
    bool strict, compress, keep_going, json;
    struct mot_doc_options doc;
    struct mot_learn_options learn;
    const char *const *input;
    int n_inputs;
};

static void usage(FILE *f)
{
    fputs("usage: mot-tokenize --learn text=N[,image=N][,speech=N] -t TOK [options] INPUT...\n"
          "       mot-tokenize -t TOK [--raw|--add-special] [-o OUT.mot] [options] [INPUT...]\n"
          "       mot-tokenize --decode [-t TOK] [-o DIR] [--raw] [-f lines] [SHARD...]\n"
          "       mot-tokenize --dump|--info|--check [SHARD...]\n"
          "       mot-tokenize --pack -t TOK [-o OUT.mot] [FILE...]\n"
          "learn tokenizers, turn data into shards, and shards into data; no INPUT, or -, is standard input\n"
          "  -t, --tokenizer TOK     tokenizer folder\n"
          "  -o, --output OUT        shard or folder to write (standard output)\n"
          "  -f, --format FORMAT     of input without a known suffix: text, lines, jsonl or tar (text)\n"
          "      --learn SIZES       learn a tokenizer folder with that many ids of each kind\n"
          "      --decode            shards back to .txt, .png and .wav; without -o the text alone\n"
          "      --dump              shards to JSON Lines\n"
          "      --pack              JSON Lines of --dump to a shard\n"
          "      --info              what shards hold, as TSV\n"
          "      --check             read whole shards and tell whether they are good\n"
          "making shards:\n"
          "      --raw               no <|bos|> and <|eos|> around documents\n"
          "      --add-special       what tokenizer.json puts around a text instead\n"
          "      --order ORDER       text-first, media-first or random[=SHARE] (random=0.5)\n"
          "      --seed N            of random orders and of learning (0)\n"
          "      --strict            stop at the first bad record instead of skipping it\n"
          "      --compress          pack the shard with zlib\n"
          "learning:\n"
          "      --image-size N      pictures become squares of N pixels (64)\n"
          "      --patch-size N      a picture token is a square of N pixels (8)\n"
          "      --merge-repeats     speech units that repeat become one\n"
          "reading shards:\n"
          "      --keep-going        use the whole documents of a damaged shard\n"
          "      --json              --info as JSON Lines\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

/* ---- options ---- */

/* "text=8192,image=1024" */
static void parse_sizes(struct mot_learn_options *l, char *s)
{
    struct {
        const char *name;
        int32_t *size;
    } kinds[] = {{"text", &l->text}, {"image", &l->image}, {"speech", &l->speech}};
    for (char *part; (part = strsep(&s, ","));) {
        char *number = strchr(part, '=');
        int k = 0;
        if (number)
            *number++ = 0;
        while (k < 3 && strcmp(part, kinds[k].name) != 0)
            k++;
        if (k == 3 || !number)
            die_usage("--learn %s: expected text=N, image=N or speech=N, separated by commas", part);
        if (*kinds[k].size)
            die_usage("--learn: %s is given twice", part);
        *kinds[k].size = (int32_t)opt_int("--learn", number, 1, 1 << 24);
    }
}

static double parse_order(const char *s)
{
    if (strcmp(s, "text-first") == 0)
        return 0;
    if (strcmp(s, "media-first") == 0)
        return 1;
    if (strcmp(s, "random") == 0)
        return 0.5;
    if (strncmp(s, "random=", 7) == 0)
        return opt_real("--order random", s + 7, 0, 1);
    die_usage("--order %s: expected text-first, media-first, random or random=SHARE", s);
}

static const char *parse_format(const char *s)
{
    static const char *const known[] = {"text", "lines", "jsonl", "tar"};
    for (int i = 0; i < 4; i++)
        if (strcmp(s, known[i]) == 0)
            return s;
    die_usage("-f %s: expected text, lines, jsonl or tar", s);
}

#define IN(mode) (1u << (mode))
static const struct {
    const char *option;
    int c;
    unsigned modes;
} meaning[] = {
    {"-o", 'o', IN(ENCODE) | IN(DECODE) | IN(PACK)},
    {"-f", 'f', IN(ENCODE) | IN(LEARN) | IN(DECODE)},
    {"--raw", OPT_RAW, IN(ENCODE) | IN(DECODE)},
    {"--add-special", OPT_ADD_SPECIAL, IN(ENCODE)},
    {"--order", OPT_ORDER, IN(ENCODE)},
    {"--seed", OPT_SEED, IN(ENCODE) | IN(LEARN)},
    {"--strict", OPT_STRICT, IN(ENCODE) | IN(LEARN)},
    {"--compress", OPT_COMPRESS, IN(ENCODE) | IN(PACK)},
    {"--keep-going", OPT_KEEP_GOING, IN(DECODE) | IN(DUMP) | IN(INFO)},
    {"--json", OPT_JSON, IN(INFO)},
    {"--image-size", OPT_IMAGE_SIZE, IN(LEARN)},
    {"--patch-size", OPT_PATCH_SIZE, IN(LEARN)},
    {"--merge-repeats", OPT_MERGE_REPEATS, IN(LEARN)},
};
enum { N_MEANINGS = sizeof meaning / sizeof meaning[0] };
static const char *const mode_names[] = {"making shards", "--learn", "--decode", "--dump", "--pack", "--info", "--check"};

/* What does not go together.  given: a bit for each row of `meaning`. */
static void check(const struct opts *o, unsigned given)
{
    for (int i = 0; i < N_MEANINGS; i++)
        if (given & 1u << i && !(meaning[i].modes & IN(o->mode)))
            die_usage("%s means nothing with %s", meaning[i].option, mode_names[o->mode]);
    if (!o->tokenizer && (o->mode == ENCODE || o->mode == LEARN || o->mode == PACK))
        die_usage("no tokenizer folder: give -t TOK");
    if (o->doc.raw && o->doc.add_special)
        die_usage("--raw and --add-special exclude each other");
    if (o->mode == DECODE && o->format && strcmp(o->format, "text") != 0 && strcmp(o->format, "lines") != 0)
        die_usage("-f %s: --decode writes text or lines", o->format);
    if (o->mode == ENCODE || o->mode == PACK)
        tool_refuse_terminal(o->output ? o->output : "-", "give -o OUT.mot, or pipe it");
}

static void set_mode(struct opts *o, enum mode mode)
{
    if (o->mode != ENCODE && o->mode != mode)
        die_usage("%s and %s exclude each other", mode_names[o->mode], mode_names[mode]);
    o->mode = mode;
}

static void set(struct opts *o, int c)
{
    switch (c) {
    case 't': o->tokenizer = optarg; break;
    case 'o': o->output = optarg; break;
    case 'f': o->format = parse_format(optarg); break;
    case OPT_LEARN: set_mode(o, LEARN), parse_sizes(&o->learn, optarg); break;
    case OPT_DECODE: set_mode(o, DECODE); break;
    case OPT_DUMP: set_mode(o, DUMP); break;
    case OPT_PACK: set_mode(o, PACK); break;
    case OPT_INFO: set_mode(o, INFO); break;
    case OPT_CHECK: set_mode(o, CHECK); break;
    case OPT_RAW: o->doc.raw = true; break;
    case OPT_ADD_SPECIAL: o->doc.add_special = true; break;
    case OPT_ORDER: o->doc.media_first = parse_order(optarg); break;
    case OPT_SEED: o->doc.seed = o->learn.seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
    case OPT_STRICT: o->strict = true; break;
    case OPT_COMPRESS: o->compress = true; break;
    case OPT_KEEP_GOING: o->keep_going = true; break;
    case OPT_JSON: o->json = true; break;
    case OPT_IMAGE_SIZE: o->learn.image_size = (int)opt_int("--image-size", optarg, 1, 4096); break;
    case OPT_PATCH_SIZE: o->learn.patch_size = (int)opt_int("--patch-size", optarg, 1, 4096); break;
    case OPT_MERGE_REPEATS: o->learn.merge_repeats = true; break;
    case OPT_THREADS: o->learn.threads = (int)opt_int("--threads", optarg, 0, 4096); break;
    default: tool_option(c, usage);
    }
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"tokenizer", required_argument, NULL, 't'},
        {"output", required_argument, NULL, 'o'},
        {"format", required_argument, NULL, 'f'},
        {"learn", required_argument, NULL, OPT_LEARN},
        {"decode", no_argument, NULL, OPT_DECODE},
        {"dump", no_argument, NULL, OPT_DUMP},
        {"pack", no_argument, NULL, OPT_PACK},
        {"info", no_argument, NULL, OPT_INFO},
        {"check", no_argument, NULL, OPT_CHECK},
        {"raw", no_argument, NULL, OPT_RAW},
        {"add-special", no_argument, NULL, OPT_ADD_SPECIAL},
        {"order", required_argument, NULL, OPT_ORDER},
        {"seed", required_argument, NULL, OPT_SEED},
        {"strict", no_argument, NULL, OPT_STRICT},
        {"compress", no_argument, NULL, OPT_COMPRESS},
        {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
        {"json", no_argument, NULL, OPT_JSON},
        {"image-size", required_argument, NULL, OPT_IMAGE_SIZE},
        {"patch-size", required_argument, NULL, OPT_PATCH_SIZE},
        {"merge-repeats", no_argument, NULL, OPT_MERGE_REPEATS},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    static const char *const standard_input[] = {"-"};
    struct opts o = {.mode = ENCODE, .doc.media_first = 0.5};
    unsigned given = 0;
    for (int c; (c = getopt_long(argc, argv, "t:o:f:" TOOL_SHORT, longopts, NULL)) != -1;) {
        set(&o, c);
        for (int i = 0; i < N_MEANINGS; i++)
            given |= meaning[i].c == c ? 1u << i : 0;
    }
    check(&o, given);
    o.input = (const char *const *)argv + optind;
    o.n_inputs = argc - optind;
    if (o.n_inputs == 0) {
        if (isatty(STDIN_FILENO))
            die_usage("no input given (- is standard input)");
        o.input = standard_input;
        o.n_inputs = 1;
    }
    return o;
}

/* ---- reading sources ---- */

struct skips {
    int64_t n;
};

/* A few are told one by one, so that a folder of another kind of files does not flood the terminal. */
static void skip(void *context, const char *sentence)
{
    enum { TOLD = 10 };
    struct skips *s = context;
    if (++s->n <= TOLD || tool_verbose)
        note("skipped: %s", sentence);
    else if (s->n == TOLD + 1)
        note("more records are skipped; -v names each");
}

static struct mot_source *open_source(const struct opts *o, struct skips *s)
{
    struct mot_source_options so = {.format = o->format, .strict = o->strict, .skipped = skip, .context = s};
    struct mot_source *source = mot_source_open(o->input, o->n_inputs, &so);
    if (!source)
        die_lib(NULL);
    return source;
}

static const struct mot_record *next_record(struct mot_source *s)
{
    const struct mot_record *r = NULL;
    if (mot_source_next(s, &r))
        die_lib(NULL);
    return r;
}

static void show_progress(struct tool_progress *p, const struct mot_source *s)
{
    int64_t done, total;
    mot_source_progress(s, &done, &total);
    tool_progress_show(p, 1e-6 * (double)done, 1e-6 * (double)total, NULL);
}

/* ---- --learn ---- */

struct learning {
    struct tool_progress p;
    const char *what;
};

static void learn_progress(void *context, const char *what, double share)
{
    struct learning *l = context;
    if (!l->what || strcmp(l->what, what) != 0) {
        tool_progress_end(&l->p);
        l->p = tool_progress_start(what, "%", 0);
        l->what = what;
    }
    tool_progress_show(&l->p, 100 * share, 100, NULL);
}

static int learn_item(struct mot_learner *l, const struct mot_learn_options *o, const struct mot_item *item, int64_t *seen)
{
    bool wanted[] = {o->text > 0, o->image > 0, o->speech > 0};
    if (!wanted[item->kind])
        return MOT_OK;
    seen[item->kind]++;
    switch (item->kind) {
    case MOT_KIND_TEXT: return mot_learner_text(l, item->text.data, item->text.n);
    case MOT_KIND_IMAGE: return mot_learner_image(l, &item->image);
    default: return mot_learner_speech(l, &item->speech);
    }
}

/* Data may hold less than was asked for: no pair of tokens comes twice, or there are fewer patches than codes. */
static void tell_shortage(const struct opts *o)
{
    struct mot_vocab v;
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    const struct {
        const char *name;
        int32_t size;
    } asked[] = {{"text", o->learn.text}, {"image", o->learn.image}, {"speech", o->learn.speech}};
    for (int i = 0; i < 3; i++) {
        int m = mot_vocab_find(&v, asked[i].name);
        if (m >= 0 && v.modality[m].n < asked[i].size)
            warn("%s: %d ids, not %d: there is no more to learn in so little data", asked[i].name, (int)v.modality[m].n,
                 (int)asked[i].size);
    }
}

static void learn(struct opts *o)
{
    struct learning progress = {.p = tool_progress_start("reading", "MB", 0)};
    struct skips skips = {0};
    int64_t seen[3] = {0};
    o->learn.progress = learn_progress;
    o->learn.context = &progress;
    struct mot_learner *l = mot_learner_new(&o->learn);
    if (!l)
        die_usage("%s", mot_error());
    struct mot_source *s = open_source(o, &skips);
    for (const struct mot_record *r; (r = next_record(s));) {
        for (int i = 0; i < r->n_items; i++)
            if (learn_item(l, &o->learn, &r->item[i], seen))
                die_lib("%s", r->name);
        show_progress(&progress.p, s);
    }
    mot_source_close(s);
    tool_progress_end(&progress.p);
    if (skips.n)
        warn("%lld records were skipped", (long long)skips.n);
    if (mot_learner_finish(l, o->tokenizer))
        die_lib(NULL);
    tool_progress_end(&progress.p);
    mot_learner_free(l);
    tell_shortage(o);
    note("%s: learned from %lld texts, %lld pictures, %lld sounds", o->tokenizer, (long long)seen[MOT_KIND_TEXT],
         (long long)seen[MOT_KIND_IMAGE], (long long)seen[MOT_KIND_SPEECH]);
}

/* ---- making shards ---- */

/* The shard being written: whatever ends the program before commit takes the temporary file along. */
static struct mot_shard_writer *unfinished;

static void drop_unfinished(void)
{
    mot_shard_abort(unfinished);
    unfinished = NULL;
}

static void begin_shard(const struct opts *o, const struct mot_vocab *v)
{
    const char *path = o->output ? o->output : "-";
    atexit(drop_unfinished);
    unfinished = mot_shard_create(path, v);
    if (!unfinished)
        die_lib(NULL);
    mot_shard_compress(unfinished, o->compress);
}

static void add_to_shard(const struct mot_ids *ids, int64_t text_bytes)
{
    if (mot_shard_add(unfinished, ids->id, ids->n, text_bytes))
        die_lib(NULL);
}

static void end_shard(void)
{
    struct mot_shard_writer *w = unfinished;
    unfinished = NULL;
    if (mot_shard_commit(w))
        die_lib(NULL);
}

struct tally {
    int64_t documents, text_bytes, tokens[MOT_MAX_MODALITIES];
};

static void count(struct tally *t, const struct mot_vocab *v, const struct mot_ids *ids, int64_t text_bytes)
{
    t->documents++;
    t->text_bytes += text_bytes;
    for (int64_t i = 0; i < ids->n; i++)
        t->tokens[mot_vocab_modality(v, ids->id[i])]++;
}

static void report(const struct tally *t, const struct mot_vocab *v, int64_t skipped)
{
    char text[MOT_MAX_MODALITIES * (MOT_NAME_BYTES + 24)] = "";
    int64_t tokens = 0;
    for (int m = 0; m < v->n_modalities; m++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s %lld", m ? ", " : "", v->modality[m].name, (long long)t->tokens[m]);
        tokens += t->tokens[m];
    }
    note("%lld documents, %lld tokens (%s), %lld bytes of text, %lld records skipped", (long long)t->documents,
         (long long)tokens, text, (long long)t->text_bytes, (long long)skipped);
}

static void encode(const struct opts *o)
{
    struct mot_tokenizer *t = mot_tokenizer_open(o->tokenizer);
    if (!t)
        die_lib(NULL);
    struct skips skips = {0};
    struct mot_source *s = open_source(o, &skips);
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    begin_shard(o, v);
    struct tool_progress p = tool_progress_start("tokenising", "MB", 0);
    struct tally tally = {0};
    struct mot_ids ids = {0};
    int64_t index = 0;
    for (const struct mot_record *r; (r = next_record(s)); index++) {
        int64_t text_bytes = 0;
        ids.n = 0;
        int rc = mot_doc_encode(t, &o->doc, r, index, &ids, &text_bytes);
        if (rc && (o->strict || rc == MOT_ENOMEM))
            die_lib(NULL);
        if (rc) {
            skip(&skips, mot_error());
        } else {
            add_to_shard(&ids, text_bytes);
            count(&tally, v, &ids, text_bytes);
        }
        show_progress(&p, s);
    }
    tool_progress_end(&p);
    if (tally.documents == 0 && skips.n > 0)
        die("nothing to write: all %lld records were skipped", (long long)skips.n);
    end_shard();
    report(&tally, v, skips.n);
    if (skips.n && tool_quiet)
        warn("%lld records were skipped", (long long)skips.n);
    mot_ids_free(&ids);
    mot_source_close(s);
    mot_tokenizer_close(t);
}

/* ---- --pack ---- */

static void pack_lines(FILE *f, const char *name, const struct mot_vocab *v, struct tally *tally)
{
    char *line = NULL, where[4352];
    size_t capacity = 0;
    struct mot_ids ids = {0};
    int64_t number = 0;
    for (ssize_t n; (n = getline(&line, &capacity, f)) > 0;) {
        int64_t text_bytes = 0;
        number++;
        if (strspn(line, " \t\r\n") == (size_t)n)
            continue;
        snprintf(where, sizeof where, "%s:%lld", name, (long long)number);
        ids.n = 0;
        if (mot_doc_parse(v, where, line, (size_t)n, &ids, &text_bytes))
            die_lib(NULL);
        add_to_shard(&ids, text_bytes);
        count(tally, v, &ids, text_bytes);
    }
    if (ferror(f))
        die("%s: cannot read: %s", name, strerror(errno));
    mot_ids_free(&ids);
    free(line);
}

static void pack(const struct opts *o)
{
    struct mot_vocab v;
    struct tally tally = {0};
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    begin_shard(o, &v);
    for (int i = 0; i < o->n_inputs; i++) {
        bool is_stdin = strcmp(o->input[i], "-") == 0;
        FILE *f = is_stdin ? stdin : fopen(o->input[i], "r");
        if (!f)
            die("%s: cannot open: %s", o->input[i], strerror(errno));
        pack_lines(f, is_stdin ? "standard input" : o->input[i], &v, &tally);
        if (!is_stdin)
            fclose(f);
    }
    end_shard();
    report(&tally, &v, 0);
}

/* ---- reading shards ---- */

typedef void handle_document(void *context, const struct mot_vocab *v, const struct mot_doc *d);

static void put(const void *data, size_t n)
{
    if (fwrite(data, 1, n, stdout) != n)
        die("standard output: cannot write: %s", strerror(errno));
}

static const char *spoken(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* The vocabulary that shards must have: that of -t, or any. */
static const struct mot_vocab *expected(const struct opts *o)
{
    static struct mot_vocab v;
    if (!o->tokenizer)
        return NULL;
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    return &v;
}

/* Hand over each document.  A shard that fails ends the program: what was written may not pass for the whole.  *v, unless
 * NULL, becomes its vocabulary. */
static bool read_shard(const struct opts *o, const char *path, const struct mot_vocab *expect, handle_document *handle,
                       void *context, struct mot_vocab *v)
{
    struct mot_shard *s = mot_shard_open(path, expect, o->keep_going);
    if (!s && o->keep_going) {
        fail_lib(NULL);
        return false;
    }
    if (!s)
        die_lib(NULL);
    if (v)
        *v = *mot_shard_vocab(s);
    const struct mot_doc *d = NULL;
    int rc;
    while (!(rc = mot_shard_next(s, &d)) && d)
        handle(context, mot_shard_vocab(s), d);
    if (rc)
        die_lib(NULL);
    if (mot_shard_damage(s))
        warn("%s", mot_shard_damage(s));
    mot_shard_close(s);
    return true;
}

static void dump_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct mot_bytes *line = context;
    line->n = 0;
    if (mot_doc_format(v, d, line))
        die_lib(NULL);
    put(line->data, line->n);
}

static void dump(const struct opts *o)
{
    struct mot_bytes line = {0};
    const struct mot_vocab *expect = expected(o);
    for (int i = 0; i < o->n_inputs; i++)
        read_shard(o, o->input[i], expect, dump_document, &line, NULL);
    mot_bytes_free(&line);
}

/* ---- --info, --check ---- */

struct info {
    struct mot_vocab v;
    int64_t documents, tokens, text_bytes, longest;
    struct {
        int64_t documents, segments, tokens;
    } modality[MOT_MAX_MODALITIES];
};

static void count_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct info *f = context;
    (void)v;
    bool has[MOT_MAX_MODALITIES] = {0};
    f->documents++;
    f->tokens += d->n;
    f->text_bytes += d->text_bytes;
    f->longest = d->n > f->longest ? d->n : f->longest;
    for (int i = 0; i < d->n_spans; i++) {
        int m = d->span[i].modality;
        f->modality[m].documents += !has[m];
        f->modality[m].segments++;
        f->modality[m].tokens += d->span[i].n;
        has[m] = true;
    }
}

static void info_json(const struct info *f, const char *path)
{
    fputs("{\"shard\":", stdout);
    tool_json_string(stdout, path);
    printf(",\"digest\":\"%s\",\"vocab_size\":%d,\"tokenizer\":", f->v.digest, (int)f->v.size);
    if (f->v.folder[0])
        tool_json_string(stdout, f->v.folder);
    else
        fputs("null", stdout);
    printf(",\"documents\":%lld,\"tokens\":%lld,\"bytes\":%lld,\"longest\":%lld,\"modalities\":[", (long long)f->documents,
           (long long)f->tokens, (long long)f->text_bytes, (long long)f->longest);
    for (int m = 0; m < f->v.n_modalities; m++)
        printf("%s{\"name\":\"%s\",\"first\":%d,\"size\":%d,\"documents\":%lld,\"segments\":%lld,\"tokens\":%lld}",
               m ? "," : "", f->v.modality[m].name, (int)f->v.modality[m].first, (int)f->v.modality[m].n,
               (long long)f->modality[m].documents, (long long)f->modality[m].segments, (long long)f->modality[m].tokens);
    puts("]}");
}

static void info_row(const char *path, const char *name, int64_t documents, int64_t segments, int64_t tokens, int64_t bytes)
{
    tool_tsv_string(stdout, path);
    printf("\t%s\t%lld\t%lld\t%lld\t", name, (long long)documents, (long long)segments, (long long)tokens);
    if (bytes)
        printf("%lld\t%.4f\n", (long long)bytes, (double)tokens / (double)bytes);
    else
        puts("-\t-");
}

static void info(const struct opts *o)
{
    const struct mot_vocab *expect = expected(o);
    if (!o->json)
        puts("shard\tmodality\tdocuments\tsegments\ttokens\tbytes\ttokens_per_byte");
    for (int i = 0; i < o->n_inputs; i++) {
        struct info f = {0};
        int64_t segments = 0;
        if (!read_shard(o, o->input[i], expect, count_document, &f, &f.v))
            continue;
        if (o->json) {
            info_json(&f, o->input[i]);
            continue;
        }
        for (int m = 0; m < f.v.n_modalities; m++) {
            info_row(o->input[i], f.v.modality[m].name, f.modality[m].documents, f.modality[m].segments,
                     f.modality[m].tokens, m == 0 ? f.text_bytes : 0);
            segments += f.modality[m].segments;
        }
        info_row(o->input[i], "all", f.documents, segments, f.tokens, 0);
    }
}

static void check_shards(const struct opts *o)
{
    const struct mot_vocab *expect = expected(o);
    for (int i = 0; i < o->n_inputs; i++) {
        struct mot_shard_counts c;
        if (mot_shard_count(o->input[i], expect, &c))
            fail_lib(NULL);
        else if (!tool_quiet)
            printf("%s: good: %lld documents, %lld tokens\n", spoken(o->input[i]), (long long)c.documents, (long long)c.tokens);
    }
}

/* ---- --decode ---- */

struct decoding {
    const struct opts *o;
    const char *path; /* of the shard */
    struct mot_tokenizer *t;
    int64_t document, passed_over; /* in all shards: documents seen, pictures and sounds not written */
    struct tool_progress p;
    struct mot_bytes text;
};

/* The tokenizer of a shard without -t is where its header says, if that is still the same one. */
static void find_tokenizer(struct decoding *c, const struct mot_vocab *v)
{
    if (c->t && strcmp(mot_tokenizer_vocab(c->t)->digest, v->digest) == 0)
        return;
    if (!v->folder[0])
        die("%s: its header does not say where its tokenizer is: give -t TOK", c->path);
    mot_tokenizer_close(c->t);
    c->t = mot_tokenizer_open(v->folder);
    if (!c->t)
        die_lib("%s: its tokenizer is not where it was, give -t TOK", c->path);
    if (strcmp(mot_tokenizer_vocab(c->t)->digest, v->digest) != 0)
        die("%s: made with %s, whose vocabulary was %s then and is %s now: give -t TOK", c->path, v->folder, v->digest,
            mot_tokenizer_vocab(c->t)->digest);
}

static int write_image(struct mot_tokenizer *t, const int32_t *id, int64_t n, const char *path)
{
    struct mot_image im = {0};
    int rc = mot_decode_image(t, id, n, &im);
    if (!rc)
        rc = mot_image_save_png(&im, path);
    mot_image_free(&im);
    return rc;
}

static int write_speech(struct mot_tokenizer *t, const int32_t *id, int64_t n, const char *path)
{
    struct mot_audio a = {0};
    int rc = mot_decode_speech(t, id, n, &a);
    if (!rc)
        rc = mot_audio_save_wav(&a, path);
    mot_audio_free(&a);
    return rc;
}

/* DIR/NNNNNN.SUFFIX, or DIR/NNNNNN.K.SUFFIX for the K-th of its kind in the document. */
static void write_part(struct decoding *c, const char *modality, int k, const int32_t *id, int64_t n)
{
    static const struct {
        const char *modality, *suffix;
    } kinds[] = {{"text", "txt"}, {"image", "png"}, {"speech", "wav"}};
    char path[4096], nth[16] = "";
    int i = 0;
    while (i < 3 && strcmp(kinds[i].modality, modality) != 0)
        i++;
    if (k > 1)
        snprintf(nth, sizeof nth, ".%d", k);
    int length = i < 3 ? snprintf(path, sizeof path, "%s/%06lld%s.%s", c->o->output, (long long)c->document, nth,
                                  kinds[i].suffix) : 0;
    if (length >= (int)sizeof path)
        die("%s: the name is too long", c->o->output);
    int rc;
    if (i == 0)
        rc = mot_write_file(path, c->text.data, c->text.n);
    else if (i == 1)
        rc = write_image(c->t, id, n, path);
    else if (i == 2)
        rc = write_speech(c->t, id, n, path);
    else
        rc = mot_fail(MOT_EARG, "nothing here decodes %s", modality);
    if (rc == MOT_EIO || rc == MOT_ENOMEM)
        die_lib(NULL);
    if (rc)
        fail_lib("document %lld", (long long)c->document);
}

static void put_text(const struct mot_bytes *text, bool *line_open)
{
    put(text->data, text->n);
    if (text->n)
        *line_open = text->data[text->n - 1] != '\n';
}

static void decode_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct decoding *c = context;
    int seen[MOT_MAX_MODALITIES] = {0};
    bool line_open = true;
    find_tokenizer(c, v);
    for (int i = 0; i < d->n_spans; i++) {
        struct mot_span s = mot_doc_part(v, d, i, c->o->doc.raw);
        if (s.n == 0)
            continue;
        c->text.n = 0;
        if (s.modality == 0 && mot_decode_text(c->t, d->id + s.begin, s.n, false, &c->text))
            die_lib("document %lld", (long long)c->document);
        if (c->o->output)
            write_part(c, v->modality[s.modality].name, ++seen[s.modality], d->id + s.begin, s.n);
        else if (s.modality == 0)
            put_text(&c->text, &line_open);
        else
            c->passed_over++;
    }
    if (!c->o->output && line_open && c->o->format && strcmp(c->o->format, "lines") == 0)
        put("\n", 1);
    c->document++;
    tool_progress_show(&c->p, (double)c->document, 0, NULL);
}

static void decode(const struct opts *o)
{
    struct decoding c = {.o = o, .p = tool_progress_start("decoding", "documents", 0)};
    const struct mot_vocab *expect = expected(o);
    if (o->tokenizer && !(c.t = mot_tokenizer_open(o->tokenizer)))
        die_lib(NULL);
    if (o->output && mot_make_folder(o->output))
        die_lib(NULL);
    for (int i = 0; i < o->n_inputs; i++) {
        c.path = spoken(o->input[i]);
        read_shard(o, o->input[i], expect, decode_document, &c, NULL);
    }
    tool_progress_end(&c.p);
    if (c.passed_over)
        note("%lld pictures and sounds were passed over; -o DIR writes them", (long long)c.passed_over);
    mot_bytes_free(&c.text);
    mot_tokenizer_close(c.t);
}

int main(int argc, char **argv)
{
    tool_start("mot-tokenize", argv);
    struct opts o = parse(argc, argv);
    tool_remove_on_signal();
    switch (o.mode) {
    case ENCODE: encode(&o); break;
    case LEARN: learn(&o); break;
    case DECODE: decode(&o); break;
    case DUMP: dump(&o); break;
    case PACK: pack(&o); break;
    case INFO: info(&o); break;
    case CHECK: check_shards(&o); break;
    }
    return tool_finish();
}
