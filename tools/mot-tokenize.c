/* SPDX-License-Identifier: MIT
 *
 * mot-tokenize: learn tokenizers from data, turn data into shards of token documents and shards back into files, and look
 * into shards.  See mot-tokenize(1).  This file reads the command line; tools/tokenize_NAME.c do the work.
 */
#include <getopt.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenize.h"

enum {
    OPT_LEARN = OPT_LONG, OPT_DECODE, OPT_DUMP, OPT_PACK, OPT_INFO, OPT_CHECK, OPT_RAW, OPT_ADD_SPECIAL, OPT_ORDER, OPT_SEED,
    OPT_STRICT, OPT_COMPRESS, OPT_KEEP_GOING, OPT_JSON, OPT_IMAGE_SIZE, OPT_PATCH_SIZE, OPT_MERGE_REPEATS, OPT_SHARD_SIZE,
    OPT_RESUME, OPT_REPORT, OPT_AUGMENT, OPT_SPLIT, OPT_SPLIT_KEY, OPT_INTERLEAVE, OPT_SWITCH, OPT_SEPARATOR, OPT_EXPORT,
    OPT_UTF8, OPT_SKIP_SPECIAL, OPT_IMAGE_CODEC, OPT_SPEECH_CODEC, OPT_QUALITY, OPT_LATENT, OPT_DEVICE
};

static void usage(FILE *f)
{
    fputs("usage: mot-tokenize --learn text=N|FOLDER[,image=N][,speech=N] -t TOK [options] INPUT...\n"
          "       mot-tokenize -t TOK [--raw|--add-special] [-o OUT.mot] [options] [INPUT...]\n"
          "       mot-tokenize --decode [-t TOK] [-o DIR] [--raw] [-f lines] [SHARD...]\n"
          "       mot-tokenize --dump|--info|--check [SHARD...]\n"
          "       mot-tokenize --export FORM -o OUT.bin [SHARD...]\n"
          "       mot-tokenize --pack -t TOK [-o OUT.mot] [FILE...]\n"
          "learn tokenizers, turn data into shards, and shards into data; no INPUT, or -, is standard input\n"
          "  -t, --tokenizer TOK     tokenizer folder\n"
          "  -o, --output OUT        shard or folder to write (standard output)\n"
          "  -f, --format FORMAT     of input without a known suffix: text, lines, jsonl, tar or tokens (text)\n"
          "      --learn SIZES       learn a tokenizer folder with that many ids of each kind\n"
          "      --decode            shards back to .txt, .png and .wav; without -o the text alone\n"
          "      --dump              shards to JSON Lines\n"
          "      --pack              JSON Lines of --dump to a shard\n"
          "      --export FORM       shards to llm.c's files: llmc, llmc-u16 or llmc-u32\n"
          "      --info              what shards hold, as TSV\n"
          "      --info --quality    how well TOK's codecs do on the data of INPUTs\n"
          "      --check             read whole shards and tell whether they are good\n"
          "making shards:\n"
          "      --raw               no <|bos|> and <|eos|> around documents\n"
          "      --add-special       what tokenizer.json puts around a text instead\n"
          "      --utf8              bytes that are not UTF-8 become U+FFFD, with --decode too\n"
          "      --order ORDER       image,text or text,image or speech,text ..., or random[=SHARE] (random=0.5)\n"
          "      --interleave SHARE  of records with an alignment, as speech and text in turn (1)\n"
          "      --switch P          ... which change at a span with this probability (0.2)\n"
          "      --augment N         N documents for each record with a picture or sound: itself and variations (1)\n"
          "      --split SHARE       that much to OUT.mot for training, the rest to OUT.val.mot\n"
          "      --split-key KEY     by file or by caption (file)\n"
          "      --seed N            of all that is drawn, and of learning (0)\n"
          "      --shard-size SIZE   numbered shards OUT-00000.mot of at most so many bytes; K, M, G\n"
          "      --resume            keep the whole shards that are there and go on behind them\n"
          "      --strict            stop at the first bad record instead of skipping it\n"
          "      --report FILE       write what was done as JSON\n"
          "      --separator ID      what begins documents in llm.c's files (as TOK says)\n"
          "      --compress          pack the shard with zlib\n"
          "learning:\n"
          "      --image-size N      pictures become squares of N pixels (64)\n"
          "      --patch-size N      a picture token is a square of N pixels (8)\n"
          "      --image-codec C     vqgan:FILE[,CONFIG]: pictures by that net of .safetensors\n"
          "      --latent C          pixels:P or vae:FILE[,CONFIG][,patch=N][,scale=X][,shift=X]: picture tokens are\n"
          "                          vectors, of P x P pixels each or by that net\n"
          "      --speech-codec C    hubert:FILE[,layer=N][,units=FILE][,config=FILE]: speech by that net\n"
          "      --merge-repeats     speech units that repeat become one\n"
          "reading shards:\n"
          "      --skip-special      --decode without the text of special tokens\n"
          "      --keep-going        use the whole documents of a damaged shard\n"
          "      --json              --info as JSON Lines\n"
          "      --device D          where codecs that are nets run: cpu or cuda (cpu)\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

/* ---- options ---- */

/* What is no number, but a path. */
static bool is_folder(const char *s)
{
    struct stat st;
    return strchr(s, '/') || (stat(s, &st) == 0 && S_ISDIR(st.st_mode));
}

/* "text=8192,image=1024"; text may be a folder with a tokenizer.json */
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
        if (k == 0 && is_folder(number) && !l->text_from)
            l->text_from = number;
        else
            *kinds[k].size = (int32_t)opt_int("--learn", number, 1, 1 << 24);
    }
    if (l->text && l->text_from)
        die_usage("--learn: text is given twice");
}

/* "vqgan:FILE[,CONFIG]" */
static void parse_image_codec(struct mot_learn_options *l, char *s)
{
    if (strncmp(s, "vqgan:", 6) != 0 || !s[6])
        die_usage("--image-codec %s: expected vqgan:FILE or vqgan:FILE,CONFIG", s);
    s += 6;
    l->image_net = strsep(&s, ",");
    l->image_config = s;
}

/* "FILE[,CONFIG][,patch=N][,scale=X][,shift=X]" */
static void parse_vae(struct mot_learn_options *l, char *s)
{
    l->vae = strsep(&s, ",");
    for (char *part; (part = strsep(&s, ","));)
        if (strncmp(part, "patch=", 6) == 0)
            l->vae_patch = (int)opt_int("--latent patch", part + 6, 1, 256);
        else if (strncmp(part, "scale=", 6) == 0)
            l->vae_scale = opt_real("--latent scale", part + 6, -1e6, 1e6);
        else if (strncmp(part, "shift=", 6) == 0)
            l->vae_shift = opt_real("--latent shift", part + 6, -1e6, 1e6);
        else if (!l->vae_config)
            l->vae_config = part;
        else
            die_usage("--latent %s: expected patch=N, scale=X or shift=X", part);
}

/* "pixels:P" or "vae:..." */
static void parse_latent(struct mot_learn_options *l, char *s)
{
    if (l->pixels || l->vae)
        die_usage("--latent is given twice");
    if (strncmp(s, "pixels:", 7) == 0)
        l->pixels = (int)opt_int("--latent pixels", s + 7, 1, 4096);
    else if (strncmp(s, "vae:", 4) == 0 && s[4] && s[4] != ',')
        parse_vae(l, s + 4);
    else
        die_usage("--latent %s: expected pixels:P or vae:FILE[,CONFIG][,patch=N][,scale=X][,shift=X]", s);
}

static const char *parse_format(const char *s)
{
    static const char *const known[] = {"text", "lines", "jsonl", "tar", "tokens"};
    for (int i = 0; i < 5; i++)
        if (strcmp(s, known[i]) == 0)
            return s;
    die_usage("-f %s: expected text, lines, jsonl, tar or tokens", s);
}

static const char *parse_export(const char *s)
{
    if (strcmp(s, "llmc") != 0 && strcmp(s, "llmc-u16") != 0 && strcmp(s, "llmc-u32") != 0)
        die_usage("--export %s: expected llmc, llmc-u16 or llmc-u32", s);
    return s;
}

static bool parse_split_key(const char *s)
{
    if (strcmp(s, "caption") != 0 && strcmp(s, "file") != 0)
        die_usage("--split-key %s: expected caption or file", s);
    return *s == 'c';
}

/* "hubert:FILE[,layer=N][,units=FILE][,config=FILE]" */
static void parse_speech_codec(struct mot_learn_options *l, char *s)
{
    if (strncmp(s, "hubert:", 7) != 0 || !s[7])
        die_usage("--speech-codec %s: expected hubert:FILE[,layer=N][,units=FILE][,config=FILE]", s);
    s += 7;
    l->speech_net = strsep(&s, ",");
    for (char *part; (part = strsep(&s, ","));)
        if (strncmp(part, "layer=", 6) == 0)
            l->speech_layer = (int)opt_int("--speech-codec layer", part + 6, 0, 1000);
        else if (strncmp(part, "units=", 6) == 0)
            l->speech_centres = part + 6;
        else if (strncmp(part, "config=", 7) == 0)
            l->speech_config = part + 7;
        else
            die_usage("--speech-codec %s: expected layer=N, units=FILE or config=FILE", part);
}

#define IN(mode) (1u << (mode))
static const struct {
    const char *option;
    int c;
    unsigned modes;
} meaning[] = {
    {"-o", 'o', IN(ENCODE) | IN(DECODE) | IN(PACK) | IN(EXPORT)},
    {"-f", 'f', IN(ENCODE) | IN(LEARN) | IN(DECODE) | IN(INFO)},
    {"--raw", OPT_RAW, IN(ENCODE) | IN(DECODE)},
    {"--add-special", OPT_ADD_SPECIAL, IN(ENCODE)},
    {"--utf8", OPT_UTF8, IN(ENCODE) | IN(DECODE)},
    {"--skip-special", OPT_SKIP_SPECIAL, IN(DECODE)},
    {"--order", OPT_ORDER, IN(ENCODE)},
    {"--seed", OPT_SEED, IN(ENCODE) | IN(LEARN)},
    {"--strict", OPT_STRICT, IN(ENCODE) | IN(LEARN) | IN(INFO)},
    {"--compress", OPT_COMPRESS, IN(ENCODE) | IN(PACK)},
    {"--shard-size", OPT_SHARD_SIZE, IN(ENCODE) | IN(EXPORT)},
    {"--resume", OPT_RESUME, IN(ENCODE)},
    {"--report", OPT_REPORT, IN(ENCODE)},
    {"--augment", OPT_AUGMENT, IN(ENCODE)},
    {"--split", OPT_SPLIT, IN(ENCODE)},
    {"--split-key", OPT_SPLIT_KEY, IN(ENCODE)},
    {"--interleave", OPT_INTERLEAVE, IN(ENCODE)},
    {"--switch", OPT_SWITCH, IN(ENCODE)},
    {"--separator", OPT_SEPARATOR, IN(ENCODE) | IN(EXPORT)},
    {"--keep-going", OPT_KEEP_GOING, IN(DECODE) | IN(DUMP) | IN(INFO) | IN(EXPORT)},
    {"--json", OPT_JSON, IN(INFO)},
    {"--quality", OPT_QUALITY, IN(INFO)},
    {"--image-size", OPT_IMAGE_SIZE, IN(LEARN)},
    {"--patch-size", OPT_PATCH_SIZE, IN(LEARN)},
    {"--image-codec", OPT_IMAGE_CODEC, IN(LEARN)},
    {"--latent", OPT_LATENT, IN(LEARN)},
    {"--speech-codec", OPT_SPEECH_CODEC, IN(LEARN)},
    {"--merge-repeats", OPT_MERGE_REPEATS, IN(LEARN)},
    {"--device", OPT_DEVICE, IN(ENCODE) | IN(LEARN) | IN(DECODE) | IN(INFO)},
};
enum { N_MEANINGS = sizeof meaning / sizeof meaning[0] };
static const char *const mode_names[] = {"making shards", "--learn", "--decode", "--dump", "--pack", "--info", "--check",
                                         "--export"};

/* What does not go together.  given: a bit for each row of `meaning`. */
static void check(const struct tokenize_options *o, unsigned given)
{
    for (int i = 0; i < N_MEANINGS; i++)
        if (given & 1u << i && !(meaning[i].modes & IN(o->mode)))
            die_usage("%s means nothing with %s", meaning[i].option, mode_names[o->mode]);
    if (!o->tokenizer && (o->mode == ENCODE || o->mode == LEARN || o->mode == PACK))
        die_usage("no tokenizer folder: give -t TOK");
    if (o->mode == EXPORT && (!o->output || strcmp(o->output, "-") == 0))
        die_usage("--export: the number of tokens goes to the begin of a file when it is known: give -o OUT.bin");
    bool piped = !o->output || strcmp(o->output, "-") == 0;
    if (piped && (o->shard_size || o->resume || o->encode.split))
        die_usage("%s: which files? Give -o OUT.mot", o->shard_size ? "--shard-size" : o->resume ? "--resume" : "--split");
    if (piped && o->report && strcmp(o->report, "-") == 0)
        die_usage("--report: standard output has the shard: give -o OUT.mot, or a file for the report");
    if (o->quality && !o->tokenizer)
        die_usage("--quality: of which codecs? Give -t TOK, once or more");
    if (!o->quality && o->mode == INFO && (o->format || o->strict))
        die_usage("%s means nothing with --info of shards", o->format ? "-f" : "--strict");
    if (o->encode.by_caption && !o->encode.split)
        die_usage("--split-key: of which split? Give --split SHARE");
    if (o->encode.doc.raw && o->encode.doc.add_special)
        die_usage("--raw and --add-special exclude each other");
    if (o->mode == DECODE && o->format && strcmp(o->format, "text") != 0 && strcmp(o->format, "lines") != 0)
        die_usage("-f %s: --decode writes text or lines", o->format);
    if (o->mode == ENCODE || o->mode == PACK)
        tool_refuse_terminal(o->output ? o->output : "-", "give -o OUT.mot, or pipe it");
}

static void set_mode(struct tokenize_options *o, enum tokenize_mode mode)
{
    if (o->mode != ENCODE && o->mode != mode)
        die_usage("%s and %s exclude each other", mode_names[o->mode], mode_names[mode]);
    o->mode = mode;
}

static void set(struct tokenize_options *o, int c)
{
    switch (c) {
    case 't':
        o->tokenizer = optarg;
        if (o->n_tokenizers == TOKENIZE_MOST_TOKENIZERS)
            die_usage("-t: up to %d tokenizer folders", TOKENIZE_MOST_TOKENIZERS);
        o->tokenizers[o->n_tokenizers++] = optarg;
        break;
    case 'o': o->output = optarg; break;
    case 'f': o->format = parse_format(optarg); break;
    case OPT_LEARN: set_mode(o, LEARN), parse_sizes(&o->learn, optarg); break;
    case OPT_DECODE: set_mode(o, DECODE); break;
    case OPT_DUMP: set_mode(o, DUMP); break;
    case OPT_PACK: set_mode(o, PACK); break;
    case OPT_EXPORT: set_mode(o, EXPORT), o->export = parse_export(optarg); break;
    case OPT_INFO: set_mode(o, INFO); break;
    case OPT_CHECK: set_mode(o, CHECK); break;
    case OPT_RAW: o->encode.doc.raw = true; break;
    case OPT_UTF8: o->encode.doc.utf8 = true; break;
    case OPT_SKIP_SPECIAL: o->skip_special = true; break;
    case OPT_ADD_SPECIAL: o->encode.doc.add_special = true; break;
    case OPT_ORDER:
        if (mot_doc_order(&o->encode.doc, optarg))
            die_usage("--order: %s", mot_error());
        break;
    case OPT_INTERLEAVE: o->encode.doc.interleave = opt_real("--interleave", optarg, 0, 1); break;
    case OPT_SWITCH: o->encode.doc.changes = opt_real("--switch", optarg, 0, 1); break;
    case OPT_AUGMENT: o->encode.augment = (int)opt_int("--augment", optarg, 1, 1000); break;
    case OPT_SPLIT: o->encode.split = true, o->encode.train = opt_real("--split", optarg, 0, 1); break;
    case OPT_SPLIT_KEY: o->encode.by_caption = parse_split_key(optarg); break;
    case OPT_SEED: o->encode.doc.seed = o->learn.seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
    case OPT_SHARD_SIZE: o->shard_size = opt_size("--shard-size", optarg, 1, INT64_MAX); break;
    case OPT_RESUME: o->resume = true; break;
    case OPT_REPORT: o->report = optarg; break;
    case OPT_SEPARATOR: o->separator = (int32_t)opt_int("--separator", optarg, 0, INT32_MAX); break;
    case OPT_STRICT: o->strict = true; break;
    case OPT_COMPRESS: o->compress = true; break;
    case OPT_KEEP_GOING: o->keep_going = true; break;
    case OPT_QUALITY: o->quality = true; break;
    case OPT_JSON: o->json = true; break;
    case OPT_IMAGE_SIZE: o->learn.image_size = (int)opt_int("--image-size", optarg, 1, 4096); break;
    case OPT_PATCH_SIZE: o->learn.patch_size = (int)opt_int("--patch-size", optarg, 1, 4096); break;
    case OPT_IMAGE_CODEC: parse_image_codec(&o->learn, optarg); break;
    case OPT_LATENT: parse_latent(&o->learn, optarg); break;
    case OPT_SPEECH_CODEC: parse_speech_codec(&o->learn, optarg); break;
    case OPT_MERGE_REPEATS: o->learn.merge_repeats = true; break;
    case OPT_DEVICE: o->device = o->learn.device = optarg; break;
    case OPT_THREADS: o->encode.threads = o->learn.threads = (int)opt_int("--threads", optarg, 0, 4096); break;
    default: tool_option(c, usage);
    }
}

static struct tokenize_options parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"tokenizer", required_argument, NULL, 't'},
        {"output", required_argument, NULL, 'o'},
        {"format", required_argument, NULL, 'f'},
        {"learn", required_argument, NULL, OPT_LEARN},
        {"decode", no_argument, NULL, OPT_DECODE},
        {"dump", no_argument, NULL, OPT_DUMP},
        {"pack", no_argument, NULL, OPT_PACK},
        {"export", required_argument, NULL, OPT_EXPORT},
        {"info", no_argument, NULL, OPT_INFO},
        {"check", no_argument, NULL, OPT_CHECK},
        {"raw", no_argument, NULL, OPT_RAW},
        {"utf8", no_argument, NULL, OPT_UTF8},
        {"skip-special", no_argument, NULL, OPT_SKIP_SPECIAL},
        {"add-special", no_argument, NULL, OPT_ADD_SPECIAL},
        {"order", required_argument, NULL, OPT_ORDER},
        {"seed", required_argument, NULL, OPT_SEED},
        {"strict", no_argument, NULL, OPT_STRICT},
        {"compress", no_argument, NULL, OPT_COMPRESS},
        {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
        {"quality", no_argument, NULL, OPT_QUALITY},
        {"json", no_argument, NULL, OPT_JSON},
        {"shard-size", required_argument, NULL, OPT_SHARD_SIZE},
        {"resume", no_argument, NULL, OPT_RESUME},
        {"report", required_argument, NULL, OPT_REPORT},
        {"augment", required_argument, NULL, OPT_AUGMENT},
        {"split", required_argument, NULL, OPT_SPLIT},
        {"split-key", required_argument, NULL, OPT_SPLIT_KEY},
        {"interleave", required_argument, NULL, OPT_INTERLEAVE},
        {"switch", required_argument, NULL, OPT_SWITCH},
        {"separator", required_argument, NULL, OPT_SEPARATOR},
        {"image-size", required_argument, NULL, OPT_IMAGE_SIZE},
        {"patch-size", required_argument, NULL, OPT_PATCH_SIZE},
        {"image-codec", required_argument, NULL, OPT_IMAGE_CODEC},
        {"latent", required_argument, NULL, OPT_LATENT},
        {"speech-codec", required_argument, NULL, OPT_SPEECH_CODEC},
        {"merge-repeats", no_argument, NULL, OPT_MERGE_REPEATS},
        {"device", required_argument, NULL, OPT_DEVICE},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    static const char *const standard_input[] = {"-"};
    struct tokenize_options o = {.mode = ENCODE, .separator = -1, .learn = {.speech_layer = -1, .vae_scale = NAN, .vae_shift = NAN},
                                 .encode.doc = {.media_first = 0.5, .interleave = 1, .changes = 0.2}};
    unsigned given = 0;
    for (int c; (c = getopt_long(argc, argv, "t:o:f:" TOOL_SHORT, longopts, NULL)) != -1;) {
        set(&o, c);
        for (int i = 0; i < N_MEANINGS; i++)
            given |= meaning[i].c == c ? 1u << i : 0;
    }
    check(&o, given);
    o.input = (const char *const *)argv + optind;
    o.n_inputs = argc - optind;
    bool reads = o.mode != LEARN || o.learn.text || o.learn.image || o.learn.speech;
    if (!reads && o.n_inputs > 0)
        die_usage("%s: nothing is learned from data here", o.input[0]);
    if (reads && o.n_inputs == 0) {
        if (isatty(STDIN_FILENO))
            die_usage("no input given (- is standard input)");
        o.input = standard_input;
        o.n_inputs = 1;
    }
    return o;
}

int main(int argc, char **argv)
{
    tool_start("mot-tokenize", argv);
    struct tokenize_options o = parse(argc, argv);
    tool_remove_on_signal();
    switch (o.mode) {
    case ENCODE: tokenize_encode(&o); break;
    case LEARN: tokenize_learn(&o); break;
    case DECODE: tokenize_decode(&o); break;
    case DUMP: tokenize_dump(&o); break;
    case PACK: tokenize_pack(&o); break;
    case EXPORT: tokenize_export(&o); break;
    case INFO: (o.quality ? tokenize_quality : tokenize_info)(&o); break;
    case CHECK: tokenize_check(&o); break;
    }
    return tool_finish();
}
