/* SPDX-License-Identifier: MIT
 *
 * tokenizer_json.c - Hugging Face's tokenizer.json, read.
 *
 * The file describes a machine: normalizer, pre-tokenizer, model, post-processor, decoder, each a
 * tree of typed parts.  We read the parts that byte-pair encodings use; any other part, and any
 * setting that would change ids and that we do not have, is an error that names it.  What does not
 * change ids (offsets) is passed over.
 */
#include "token.h"

enum { MAX_IDS = 1 << 24 };

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char space_letter[] = "\xe2\x96\x81"; /* U+2581 */

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "(no type)";
}

static int unknown(const struct mot_text *t, const char *what, const char *type)
{
    return mot_fail(MOT_EFORMAT, "%s: %s \"%.60s\" is not one this program knows", t->name, what,
                    type);
}

static int missing(const struct mot_text *t, const json_t *part, const char *key)
{
    return mot_fail(MOT_EFORMAT, "%s: %s lacks \"%s\" or has the wrong kind of it", t->name,
                    type_of(part), key);
}

/* A new step at the end of one of the three lists; NULL after mot_fail. */
static struct mot_text_step *new_step(struct mot_text *t, struct mot_text_step *list, int *n,
                                      enum mot_text_step_kind kind)
{
    if (*n == MOT_MAX_STEPS) {
        mot_fail(MOT_EFORMAT, "%s: more than %d steps in a row", t->name, MOT_MAX_STEPS);
        return NULL;
    }
    list[*n] = (struct mot_text_step){.kind = kind};
    return &list[(*n)++];
}

static int read_with(const struct mot_text *t, const json_t *part, const char *key,
                     const char *fallback, struct mot_text_step *step)
{
    const json_t *v = json_object_get(part, key);
    if (!json_is_string(v) && !(fallback && (!v || json_is_null(v))))
        return missing(t, part, key);
    const char *s = v && json_is_string(v) ? json_string_value(v) : fallback;
    step->with_n = v && json_is_string(v) ? json_string_length(v) : strlen(fallback);
    step->with = mot_strndup(s, step->with_n);
    return step->with ? MOT_OK : MOT_ENOMEM;
}

/* "content" or "replacement" where exactly one character is wanted. */
static int read_character(const struct mot_text *t, const json_t *part, const char *key,
                          const char *fallback, struct mot_text_step *step)
{
    int rc = read_with(t, part, key, fallback, step);
    int size = 0;
    if (!rc && step->with_n)
        mot_utf8_get((const unsigned char *)step->with, &size);
    if (!rc && (step->with_n == 0 || (size_t)size != step->with_n))
        return mot_fail(MOT_EFORMAT, "%s: %s: \"%s\" is not one character", t->name, type_of(part),
                        key);
    return rc;
}

static int read_pattern(const struct mot_text *t, const json_t *part, struct mot_text_step *step)
{
    const json_t *pattern = json_object_get(part, "pattern"), *v;
    if ((v = json_object_get(pattern, "String")) && json_is_string(v))
        return mot_regex_literal(&step->regex, json_string_value(v), json_string_length(v));
    if ((v = json_object_get(pattern, "Regex")) && json_is_string(v))
        return mot_regex_compile(&step->regex, t->name, json_string_value(v),
                                 json_string_length(v));
    return missing(t, part, "pattern");
}

static int read_replace(const struct mot_text *t, const json_t *part, struct mot_text_step *step)
{
    int rc = read_pattern(t, part, step);
    return rc ? rc : read_with(t, part, "content", NULL, step);
}

/* "prepend_scheme", or the older "add_prefix_space". */
static int read_metaspace(const struct mot_text *t, const json_t *part, struct mot_text_step *step)
{
    const char *scheme = NULL;
    bool prefix = true;
    int rc = read_character(t, part, "replacement", space_letter, step);
    if (!rc)
        rc = mot_json_bool(part, t->name, "add_prefix_space", &prefix);
    if (!rc)
        rc = mot_json_string(part, t->name, "prepend_scheme", &scheme);
    if (rc)
        return rc;
    if (!scheme)
        scheme = prefix ? "always" : "never";
    if (strcmp(scheme, "always") == 0)
        step->prepend = MOT_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        step->prepend = MOT_FIRST;
    else if (strcmp(scheme, "never") == 0)
        step->prepend = MOT_NEVER;
    else
        return unknown(t, "Metaspace prepend_scheme", scheme);
    return MOT_OK;
}

typedef int read_part(struct mot_text *t, const json_t *part, int depth);

/* "type": "Sequence": each member of the array under key in turn. */
static int read_sequence(struct mot_text *t, const json_t *part, const char *key, int depth,
                         read_part *read)
{
    const json_t *list = json_object_get(part, key);
    if (!json_is_array(list))
        return missing(t, part, key);
    if (depth > 8)
        return mot_fail(MOT_EFORMAT, "%s: sequences nested more than 8 deep", t->name);
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < json_array_size(list); i++)
        rc = read(t, json_array_get(list, i), depth + 1);
    return rc;
}

/* ---- normalizer ---- */

static int strip_mark(int32_t c, int32_t out[2])
{
    out[0] = c;
    return !mot_is_mark(c);
}

/* Google's old cleaning: controls go, spaces of many kinds become one kind. */
static int clean(int32_t c, int32_t out[2])
{
    bool gone = (c >= 1 && c <= 8) || c == 11 || (c >= 14 && c <= 31) || c == 0x7f || c == 0x8f || c == 0x9f;
    bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 ||
                 c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
    out[0] = space ? ' ' : c;
    return !gone;
}

static const struct {
    char type[16];
    mot_map *map;
} maps[] = {{"Lowercase", mot_lower}, {"StripAccents", strip_mark}, {"Nmt", clean}};

static int read_normalizer(struct mot_text *t, const json_t *part, int depth)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC",
                                        "NFKD"}; /* order of enum mot_normal_form */
    const char *type = type_of(part);
    if (!part || json_is_null(part))
        return MOT_OK;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, part, "normalizers", depth, read_normalizer);
    struct mot_text_step *step = new_step(t, t->normal, &t->n_normal, MOT_STEP_FORM);
    if (!step)
        return MOT_EFORMAT;
    for (int i = 0; i < MOT_COUNT(forms); i++)
        if (strcmp(type, forms[i]) == 0) {
            step->form = (enum mot_normal_form)i;
            return MOT_OK;
        }
    for (int i = 0; i < MOT_COUNT(maps); i++)
        if (strcmp(type, maps[i].type) == 0) {
            step->kind = MOT_STEP_MAP;
            step->map = maps[i].map;
            return MOT_OK;
        }
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = MOT_STEP_LETTERS;
        t->letters = true;
        return MOT_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        step->kind = MOT_STEP_PREPEND;
        return read_with(t, part, "prepend", NULL, step);
    }
    if (strcmp(type, "Replace") == 0) {
        step->kind = MOT_STEP_REPLACE;
        return read_replace(t, part, step);
    }
    if (strcmp(type, "Strip") == 0) {
        bool left = true, right = true;
        step->kind = MOT_STEP_STRIP;
        int rc = mot_json_bool(part, t->name, "strip_left", &left);
        if (!rc)
            rc = mot_json_bool(part, t->name, "strip_right", &right);
        step->left = left;
        step->right = right;
        return rc;
    }
    return unknown(t, "normalizer", type);
}

/* ---- pre-tokenizer ---- */

static struct mot_text_step *split_step(struct mot_text *t, enum mot_text_step_kind kind)
{
    return new_step(t, t->split, &t->n_split, kind);
}

static int split_at(struct mot_text *t, const char *pattern, enum mot_behavior behavior)
{
    struct mot_text_step *step = split_step(t, MOT_STEP_SPLIT);
    if (!step)
        return MOT_EFORMAT;
    step->behavior = behavior;
    return mot_regex_compile(&step->regex, t->name, pattern, strlen(pattern));
}

static int read_byte_level(struct mot_text *t, const json_t *part)
{
    bool prefix = true, use_regex = true;
    int rc = mot_json_bool(part, t->name, "add_prefix_space", &prefix);
    if (!rc)
        rc = mot_json_bool(part, t->name, "use_regex", &use_regex);
    if (!rc && prefix && !split_step(t, MOT_STEP_SPACE))
        rc = MOT_EFORMAT;
    if (!rc && use_regex)
        rc = split_at(t, gpt2_pattern, MOT_ISOLATED);
    return rc || split_step(t, MOT_STEP_LETTERS) ? rc : MOT_EFORMAT;
}

/* Cut by a function. */
static int split_by(struct mot_text *t, mot_find *find, enum mot_behavior behavior, bool invert)
{
    struct mot_text_step *step = split_step(t, MOT_STEP_SPLIT);
    if (!step)
        return MOT_EFORMAT;
    mot_regex_hand(&step->regex, find);
    step->behavior = behavior;
    step->invert = invert;
    return MOT_OK;
}

static int read_behavior(const struct mot_text *t, const json_t *part, const char *fallback, enum mot_behavior *behavior)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"}; /* order of enum mot_behavior */
    const char *name = fallback;
    int rc = mot_json_string(part, t->name, "behavior", &name);
    if (rc)
        return rc;
    for (int i = 0; name && i < MOT_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *behavior = (enum mot_behavior)i;
            return MOT_OK;
        }
    return unknown(t, "behavior", name ? name : "(none)");
}

static int read_split(struct mot_text *t, const json_t *part)
{
    struct mot_text_step *step = split_step(t, MOT_STEP_SPLIT);
    if (!step)
        return MOT_EFORMAT;
    int rc = read_pattern(t, part, step);
    if (!rc)
        rc = mot_json_bool(part, t->name, "invert", &step->invert);
    return rc ? rc : read_behavior(t, part, NULL, &step->behavior);
}

static int read_digits(struct mot_text *t, const json_t *part)
{
    bool single = false;
    int rc = mot_json_bool(part, t->name, "individual_digits", &single);
    return rc ? rc : split_by(t, mot_find_numeric, single ? MOT_ISOLATED : MOT_CONTIGUOUS, false);
}

static int read_punctuation(struct mot_text *t, const json_t *part)
{
    enum mot_behavior behavior = MOT_ISOLATED;
    int rc = read_behavior(t, part, "Isolated", &behavior);
    return rc ? rc : split_by(t, mot_find_punctuation, behavior, false);
}

static int read_delimiter(struct mot_text *t, const json_t *part)
{
    struct mot_text_step character = {0}, *step = split_step(t, MOT_STEP_SPLIT);
    int rc = step ? read_character(t, part, "delimiter", NULL, &character) : MOT_EFORMAT;
    if (!rc)
        rc = mot_regex_literal(&step->regex, character.with, character.with_n);
    mot_free(character.with);
    return rc;
}

static int read_fixed_length(struct mot_text *t, const json_t *part)
{
    char pattern[32];
    int64_t length = 5;
    int rc = mot_json_int(part, t->name, "length", 1, 65535, &length);
    snprintf(pattern, sizeof pattern, "[\\s\\S]{1,%d}", (int)length);
    return rc ? rc : split_at(t, pattern, MOT_ISOLATED);
}

static int read_meta_split(struct mot_text *t, const json_t *part)
{
    struct mot_text_step *step = split_step(t, MOT_STEP_METASPACE);
    bool split = true;
    int rc = step ? read_metaspace(t, part, step) : MOT_EFORMAT;
    if (!rc)
        rc = mot_json_bool(part, t->name, "split", &split);
    if (rc || !split)
        return rc;
    struct mot_text_step *cut = split_step(t, MOT_STEP_SPLIT);
    if (!cut)
        return MOT_EFORMAT;
    cut->behavior = MOT_WITH_NEXT;
    return mot_regex_literal(&cut->regex, step->with, step->with_n);
}

static int read_whitespace(struct mot_text *t, const json_t *part)
{
    (void)part;
    return split_by(t, mot_find_word, MOT_REMOVED, true);
}

static int read_whitespace_split(struct mot_text *t, const json_t *part)
{
    (void)part;
    return split_by(t, mot_find_space, MOT_REMOVED, false);
}

static int read_bert_split(struct mot_text *t, const json_t *part)
{
    int rc = read_whitespace_split(t, part);
    return rc ? rc : split_by(t, mot_find_punctuation, MOT_ISOLATED, false);
}

static int read_splitter(struct mot_text *t, const json_t *part, int depth)
{
    static const struct {
        char type[20];
        int (*read)(struct mot_text *, const json_t *);
    } known[] = {
        {"ByteLevel", read_byte_level},        {"Split", read_split},
        {"Metaspace", read_meta_split},        {"Digits", read_digits},
        {"Punctuation", read_punctuation},     {"Whitespace", read_whitespace},
        {"BertPreTokenizer", read_bert_split}, {"WhitespaceSplit", read_whitespace_split},
        {"FixedLength", read_fixed_length},    {"CharDelimiterSplit", read_delimiter},
    };
    const char *type = type_of(part);
    if (!part || json_is_null(part))
        return MOT_OK;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, part, "pretokenizers", depth, read_splitter);
    for (int i = 0; i < MOT_COUNT(known); i++)
        if (strcmp(type, known[i].type) == 0)
            return known[i].read(t, part);
    return unknown(t, "pre-tokenizer", type);
}

/* ByteLevel as the one and last step is left to the model, which then reads bytes; before other steps
 * it makes letters for them to see. */
static void settle_letters(struct mot_text *t, bool byte_fallback)
{
    int letters = 0;
    for (int i = 0; i < t->n_split; i++)
        letters += t->split[i].kind == MOT_STEP_LETTERS;
    bool last = letters == 1 && t->split[t->n_split - 1].kind == MOT_STEP_LETTERS;
    t->bpe.bytes = last && !t->letters && !byte_fallback;
    t->letters = !t->bpe.bytes && (letters > 0 || t->letters);
    t->n_split -= t->bpe.bytes;
}

/* ---- decoder ---- */

static int read_trim(struct mot_text *t, const json_t *part, struct mot_text_step *step)
{
    int rc = read_character(t, part, "content", " ", step);
    if (!rc)
        rc = mot_json_int(part, t->name, "start", 0, INT32_MAX, &step->left);
    return rc ? rc : mot_json_int(part, t->name, "stop", 0, INT32_MAX, &step->right);
}

static int read_decoder(struct mot_text *t, const json_t *part, int depth)
{
    const char *type = type_of(part);
    if (!part || json_is_null(part)) {
        t->joined = depth == 0;
        return MOT_OK;
    }
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, part, "decoders", depth, read_decoder);
    struct mot_text_step *step = new_step(t, t->decode, &t->n_decode, MOT_STEP_BYTES);
    if (!step)
        return MOT_EFORMAT;
    if (strcmp(type, "ByteLevel") == 0)
        return MOT_OK;
    if (strcmp(type, "ByteFallback") == 0) {
        step->kind = MOT_STEP_FALLBACK;
        return MOT_OK;
    }
    if (strcmp(type, "Fuse") == 0) {
        step->kind = MOT_STEP_FUSE;
        return MOT_OK;
    }
    if (strcmp(type, "Strip") == 0) {
        step->kind = MOT_STEP_TRIM;
        return read_trim(t, part, step);
    }
    if (strcmp(type, "Metaspace") == 0) {
        step->kind = MOT_STEP_METASPACE;
        return read_metaspace(t, part, step);
    }
    if (strcmp(type, "Replace") == 0) {
        step->kind = MOT_STEP_REPLACE;
        return read_replace(t, part, step);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        step->kind = MOT_STEP_SUFFIX;
        return read_with(t, part, "suffix", NULL, step);
    }
    return unknown(t, "decoder", type);
}

/* ---- model ---- */

static int read_id(const struct mot_text *t, const json_t *v, const char *text, int32_t *id)
{
    int64_t x = json_is_integer(v) ? json_integer_value(v) : -1;
    if (x < 0 || x >= MAX_IDS)
        return mot_fail(MOT_EFORMAT, "%s: token \"%.40s\": expected an id below %d", t->name, text,
                        MAX_IDS);
    *id = (int32_t)x;
    return MOT_OK;
}

/* [left, right] or "left right". */
static int split_merge(const json_t *v, const char **left, size_t *n_left, const char **right,
                       size_t *n_right)
{
    const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
    if (json_array_size(v) == 2 && json_is_string(a) && json_is_string(b)) {
        *left = json_string_value(a), *n_left = json_string_length(a);
        *right = json_string_value(b), *n_right = json_string_length(b);
        return 0;
    }
    const char *s = json_string_value(v), *space = s ? memchr(s, ' ', json_string_length(v)) : NULL;
    if (!space)
        return -1;
    *left = s, *n_left = (size_t)(space - s);
    *right = space + 1, *n_right = json_string_length(v) - *n_left - 1;
    return memchr(*right, ' ', *n_right) ? -1 : 0;
}

static int read_merges(struct mot_text *t, const json_t *merges)
{
    struct mot_bytes both = {0};
    int rc = MOT_OK;
    int32_t rank = 0;
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)merges, i, v) {
        const char *left, *right;
        size_t n_left, n_right;
        if (json_is_string(v) && strncmp(json_string_value(v), "#version", 8) == 0)
            continue;
        if (split_merge(v, &left, &n_left, &right, &n_right)) {
            rc = mot_fail(MOT_EFORMAT, "%s: merge %zu is not two tokens", t->name, i);
            break;
        }
        size_t skip = strlen(t->bpe.prefix);
        both.n = 0;
        if (n_right < skip)
            rc = mot_fail(MOT_EFORMAT, "%s: merge %zu: \"%.40s\" is shorter than continuing_subword_prefix", t->name, i, right);
        if (!rc)
            rc = mot_bytes_append(&both, left, n_left);
        if (!rc)
            rc = mot_bytes_append(&both, right + skip, n_right - skip);
        if (rc)
            break;
        int32_t a = mot_bpe_find(&t->bpe, left, n_left), b = mot_bpe_find(&t->bpe, right, n_right);
        int32_t c = mot_bpe_find(&t->bpe, (const char *)both.data, both.n);
        if (a < 0 || b < 0 || c < 0) {
            rc = mot_fail(
                MOT_EFORMAT,
                "%s: merge %zu: \"%.40s\" + \"%.40s\": not all of this is in the vocabulary",
                t->name, i, left, right);
            break;
        }
        mot_bpe_add_merge(&t->bpe, a, b, rank++, c);
    }
    mot_bytes_free(&both);
    return rc;
}

static int read_vocabulary(struct mot_text *t, const json_t *vocab, const json_t *merges)
{
    const char *key;
    json_t *v;
    int32_t n = 0, id = 0;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, v) {
        int rc = read_id(t, v, key, &id);
        if (rc)
            return rc;
        n = id >= n ? id + 1 : n;
    }
    t->n_ids = n;
    int rc = mot_bpe_begin(&t->bpe, n, (int64_t)json_array_size(merges));
    json_object_foreach((json_t *)(uintptr_t)vocab, key, v) {
        if (!rc && (rc = mot_bpe_token(&t->bpe, (int32_t)json_integer_value(v), key, strlen(key))))
            mot_fail(rc, "%s: %s", t->name, mot_error());
    }
    return rc ? rc : mot_bpe_make_index(&t->bpe);
}

/* Then no text can have anything unknown. */
static bool knows_all_bytes(const struct mot_bpe *b)
{
    bool all = b->bytes;
    for (int i = 0; i < 256; i++)
        all = all && b->byte[i] >= 0;
    return all;
}

static int read_model(struct mot_text *t, const json_t *model)
{
    struct mot_bpe *b = &t->bpe;
    const json_t *vocab = json_object_get(model, "vocab"),
                 *merges = json_object_get(model, "merges");
    const char *type = NULL, *unk = NULL, *prefix = NULL, *suffix = NULL;
    double dropout = 0;
    int rc = mot_json_string(model, t->name, "type", &type);
    if (!rc && type && strcmp(type, "BPE") != 0)
        rc = unknown(t, "model", type);
    if (!rc && (!json_is_object(vocab) || !json_is_array(merges)))
        rc = mot_fail(MOT_EFORMAT,
                      "%s: the model has no \"vocab\" object and \"merges\" array of a BPE",
                      t->name);
    if (!rc)
        rc = mot_json_real(model, t->name, "dropout", 0, 1, &dropout);
    if (!rc)
        rc = mot_json_string(model, t->name, "unk_token", &unk);
    if (!rc)
        rc = mot_json_string(model, t->name, "continuing_subword_prefix", &prefix);
    if (!rc)
        rc = mot_json_string(model, t->name, "end_of_word_suffix", &suffix);
    if (!rc)
        rc = mot_json_bool(model, t->name, "fuse_unk", &b->fuse_unknown);
    if (!rc)
        rc = mot_json_bool(model, t->name, "byte_fallback", &b->byte_fallback);
    if (!rc)
        rc = mot_json_bool(model, t->name, "ignore_merges", &b->ignore_merges);
    if (rc)
        return rc;
    if (dropout > 0)
        return unknown(t, "model setting", "dropout");
    t->prefix = mot_strdup(prefix ? prefix : "");
    t->suffix = mot_strdup(suffix ? suffix : "");
    if (!t->prefix || !t->suffix)
        return MOT_ENOMEM;
    b->prefix = t->prefix;
    b->suffix = t->suffix;
    settle_letters(t, b->byte_fallback);
    rc = read_vocabulary(t, vocab, merges);
    if (!rc)
        rc = read_merges(t, merges);
    if (!rc && unk)
        b->unknown = mot_bpe_find(b, unk, strlen(unk));
    if (!rc)
        rc = mot_bpe_finish(b);
    if (!rc && unk && b->unknown < 0 && !knows_all_bytes(b))
        rc = mot_fail(MOT_EFORMAT, "%s: unk_token \"%.40s\" is not in the vocabulary", t->name, unk);
    return rc;
}

/* ---- added tokens ---- */

static int read_added(struct mot_text *t, const json_t *v, struct mot_added *a)
{
    const json_t *content = json_object_get(v, "content");
    if (!json_is_string(content) || json_string_length(content) == 0)
        return mot_fail(MOT_EFORMAT, "%s: an added token lacks \"content\"", t->name);
    a->n = json_string_length(content);
    a->text = mot_strndup(json_string_value(content), a->n);
    if (!a->text)
        return MOT_ENOMEM;
    int rc = read_id(t, json_object_get(v, "id"), a->text, &a->id);
    struct {
        const char *key;
        bool *out;
    } flags[] = {
        {"single_word", &a->single_word}, {"lstrip", &a->lstrip},   {"rstrip", &a->rstrip},
        {"normalized", &a->normalized},   {"special", &a->special},
    };
    for (int i = 0; !rc && i < MOT_COUNT(flags); i++)
        rc = mot_json_bool(v, t->name, flags[i].key, flags[i].out);
    return rc;
}

/* `tokenizers` counts ids of added tokens itself and passes over the file's: where the two differ
 * nobody can know which one a model was trained with. */
static int check_added(const struct mot_text *t, const struct mot_added *a, int32_t *next)
{
    int32_t id = mot_bpe_find(&t->bpe, a->text, a->n);
    for (const struct mot_added *before = t->added; id < 0 && a->id < *next && before < a; before++)
        if (before->n == a->n && memcmp(before->text, a->text, a->n) == 0)
            id = before->id; /* named twice */
    if (id < 0)
        id = (*next)++;
    if (a->id == id)
        return MOT_OK;
    return mot_fail(MOT_EFORMAT,
                    "%s: added token \"%.40s\" has id %d, by the order of the file it is %d",
                    t->name, a->text, a->id, id);
}

static int read_all_added(struct mot_text *t, const json_t *list)
{
    size_t n = json_array_size(list);
    if (list && !json_is_null(list) && !json_is_array(list))
        return mot_fail(MOT_EFORMAT, "%s: \"added_tokens\" is not an array", t->name);
    if (n >= MAX_IDS)
        return mot_fail(MOT_EFORMAT, "%s: too many added tokens", t->name);
    t->added = mot_alloc(n, sizeof *t->added);
    if (!t->added)
        return MOT_ENOMEM;
    int32_t next =
        0; /* the number of the model's tokens, then one more for each added one that it does not know */
    for (int32_t id = 0; id < t->bpe.n; id++)
        next += mot_bpe_text(&t->bpe, id, &(size_t){0}) != NULL;
    for (size_t i = 0; i < n; i++) {
        struct mot_added *a = &t->added[t->n_added++];
        int rc = read_added(t, json_array_get(list, i), a);
        if (!rc)
            rc = check_added(t, a, &next);
        if (rc)
            return rc;
        t->n_ids = a->id >= t->n_ids ? a->id + 1 : t->n_ids;
    }
    return MOT_OK;
}

/* ---- post-processor ---- */

static int token_ids(struct mot_text *t, const json_t *part, const char *name, struct mot_ids *out)
{
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(part, "special_tokens"), name), "ids");
    if (!json_is_array(ids))
        return mot_fail(MOT_EFORMAT, "%s: TemplateProcessing: \"%.40s\" has no ids", t->name, name);
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < json_array_size(ids); i++) {
        int32_t id;
        rc = read_id(t, json_array_get(ids, i), name, &id);
        if (!rc)
            rc = mot_ids_append(out, &id, 1);
    }
    return rc;
}

/* "single": special tokens before and after the text. Processors that come later in a sequence
 * stand further out. */
static int read_template(struct mot_text *t, const json_t *part)
{
    const json_t *single = json_object_get(part, "single");
    if (!json_is_array(single))
        return missing(t, part, "single");
    struct mot_ids before = {0};
    bool passed = false;
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (name)
            rc = token_ids(t, part, name, passed ? &t->after : &before);
        else if (json_object_get(item, "Sequence") && !passed)
            passed = true;
        else
            rc = mot_fail(MOT_EFORMAT,
                          "%s: TemplateProcessing: \"single\" is not tokens around one text",
                          t->name);
    }
    if (!rc && !passed)
        rc = mot_fail(MOT_EFORMAT, "%s: TemplateProcessing: \"single\" has no text in it", t->name);
    if (!rc)
        rc = mot_ids_append(&before, t->before.id, t->before.n);
    mot_ids_free(&t->before);
    t->before = before;
    return rc;
}

/* Roberta's and Bert's: "cls" before, "sep" after, each [token, id]. */
static int read_cls_sep(struct mot_text *t, const json_t *part)
{
    int32_t cls, sep;
    int rc = read_id(t, json_array_get(json_object_get(part, "cls"), 1), "cls", &cls);
    if (!rc)
        rc = read_id(t, json_array_get(json_object_get(part, "sep"), 1), "sep", &sep);
    struct mot_ids before = {0};
    if (!rc)
        rc = mot_ids_append(&before, &cls, 1);
    if (!rc)
        rc = mot_ids_append(&before, t->before.id, t->before.n);
    mot_ids_free(&t->before);
    t->before = before;
    return rc ? rc : mot_ids_append(&t->after, &sep, 1);
}

static int read_processor(struct mot_text *t, const json_t *part, int depth)
{
    const char *type = type_of(part);
    if (!part || json_is_null(part) ||
        strcmp(type, "ByteLevel") == 0) /* that one only moves offsets */
        return MOT_OK;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, part, "processors", depth, read_processor);
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, part);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_cls_sep(t, part);
    return unknown(t, "post-processor", type);
}

/* ---- the file ---- */

static int read_all(struct mot_text *t, const json_t *j)
{
    const json_t *padding = json_object_get(j, "padding"),
                 *truncation = json_object_get(j, "truncation");
    if (!json_is_object(json_object_get(j, "model")))
        return mot_fail(MOT_EFORMAT, "%s: not a tokenizer: expected an object with a \"model\"",
                        t->name);
    if (truncation && !json_is_null(truncation))
        return unknown(t, "setting", "truncation");
    /* Padding to the longest of a batch leaves a single text alone. */
    const char *strategy = json_string_value(json_object_get(padding, "strategy"));
    if (padding && !json_is_null(padding) && !(strategy && strcmp(strategy, "BatchLongest") == 0))
        return unknown(t, "setting", "padding");
    int rc = read_normalizer(t, json_object_get(j, "normalizer"), 0);
    if (!rc)
        rc = read_splitter(t, json_object_get(j, "pre_tokenizer"), 0);
    if (!rc)
        rc = read_decoder(t, json_object_get(j, "decoder"), 0);
    if (!rc)
        rc = read_model(t, json_object_get(j, "model"));
    if (!rc)
        rc = read_all_added(t, json_object_get(j, "added_tokens"));
    if (!rc)
        rc = read_processor(t, json_object_get(j, "post_processor"), 0);
    for (int64_t i = 0; !rc && i < t->before.n + t->after.n; i++) {
        int32_t id = i < t->before.n ? t->before.id[i] : t->after.id[i - t->before.n];
        if (id >= t->n_ids)
            rc = mot_fail(MOT_EFORMAT, "%s: the post-processor's id %d is not in the vocabulary",
                          t->name, id);
    }
    return rc ? rc : mot_text_prepare(t);
}

struct mot_text *mot_text_load(const char *name, const json_t *tokenizer)
{
    struct mot_text *t = mot_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->name = mot_strdup(name);
    if (t->name && read_all(t, tokenizer) == MOT_OK)
        return t;
    mot_text_free(t);
    return NULL;
}
