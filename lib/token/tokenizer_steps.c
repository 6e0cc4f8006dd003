/* SPDX-License-Identifier: MIT
 *
 * tokenizer_steps.c - what a text passes on its way to the model and what ids pass on their way back, read from
 * tokenizer.json: normalizers, pre-tokenizers, decoders.  Each becomes steps of text.c, normalize.c and decode.c.
 */
#include "tokenizer_json.h"

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char space_letter[] = "\xe2\x96\x81"; /* U+2581 */

const char *mot_part_type(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "(no type)";
}

int mot_part_unknown(const struct mot_text *t, const char *what, const char *type)
{
    return mot_fail(MOT_EFORMAT, "%s: %s \"%.60s\" is not one this program knows", t->name, what,
                    type);
}

int mot_part_missing(const struct mot_text *t, const json_t *part, const char *key)
{
    return mot_fail(MOT_EFORMAT, "%s: %s lacks \"%s\" or has the wrong kind of it", t->name,
                    mot_part_type(part), key);
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
        return mot_part_missing(t, part, key);
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
        return mot_fail(MOT_EFORMAT, "%s: %s: \"%s\" is not one character", t->name, mot_part_type(part),
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
    return mot_part_missing(t, part, "pattern");
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
        return mot_part_unknown(t, "Metaspace prepend_scheme", scheme);
    return MOT_OK;
}

int mot_part_sequence(struct mot_text *t, const json_t *part, const char *key, int depth, mot_read_part *read)
{
    const json_t *list = json_object_get(part, key);
    if (!json_is_array(list))
        return mot_part_missing(t, part, key);
    if (depth > 8)
        return mot_fail(MOT_EFORMAT, "%s: sequences nested more than 8 deep", t->name);
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < json_array_size(list); i++)
        rc = read(t, json_array_get(list, i), depth + 1);
    return rc;
}

/* ---- normalizer ---- */

static int strip_mark(int32_t c, int32_t out[3])
{
    out[0] = c;
    return !mot_is_mark(c);
}

/* Google's old cleaning: controls go, spaces of many kinds become one kind. */
static int clean(int32_t c, int32_t out[3])
{
    bool gone = (c >= 1 && c <= 8) || c == 11 || (c >= 14 && c <= 31) || c == 0x7f || c == 0x8f || c == 0x9f;
    bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                 c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
    out[0] = space ? ' ' : c;
    return !gone;
}

/* BERT's: controls go, any space is one kind of space. */
static int bert_clean(int32_t c, int32_t out[3])
{
    out[0] = mot_is_space(c) ? ' ' : c;
    return c == '\t' || c == '\n' || c == '\r' || !(mot_is_control(c) || c == 0xfffd);
}

/* Spaces around characters of the blocks of Chinese. */
static int bert_chinese(int32_t c, int32_t out[3])
{
    bool chinese = (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
                   (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
                   (c >= 0x2f800 && c <= 0x2fa1f);
    out[0] = chinese ? ' ' : c;
    out[1] = c;
    out[2] = ' ';
    return chinese ? 3 : 1;
}

static int bert_accents(int32_t c, int32_t out[3])
{
    out[0] = c;
    return !mot_is_nonspacing(c);
}

static const struct {
    char type[16];
    mot_map *map;
} maps[] = {{"Lowercase", mot_lower}, {"StripAccents", strip_mark}, {"Nmt", clean}};

static int add_map(struct mot_text *t, mot_map *map)
{
    struct mot_text_step *step = new_step(t, t->normal, &t->n_normal, MOT_STEP_MAP);
    if (step)
        step->map = map;
    return step ? MOT_OK : MOT_EFORMAT;
}

/* Accents are stripped where "strip_accents" says so, and where it says nothing if "lowercase" does. */
static int read_bert(struct mot_text *t, const json_t *part)
{
    bool clean_text = true, chinese = true, lower = true, accents = true;
    int rc = mot_json_bool(part, t->name, "clean_text", &clean_text);
    if (!rc)
        rc = mot_json_bool(part, t->name, "handle_chinese_chars", &chinese);
    if (!rc)
        rc = mot_json_bool(part, t->name, "lowercase", &lower);
    accents = lower;
    if (!rc)
        rc = mot_json_bool(part, t->name, "strip_accents", &accents);
    if (!rc && clean_text)
        rc = add_map(t, bert_clean);
    if (!rc && chinese)
        rc = add_map(t, bert_chinese);
    struct mot_text_step *form = rc || !accents ? NULL : new_step(t, t->normal, &t->n_normal, MOT_STEP_FORM);
    if (form)
        form->form = MOT_NFD;
    if (!rc && accents)
        rc = form ? add_map(t, bert_accents) : MOT_EFORMAT;
    return rc || !lower ? rc : add_map(t, mot_lower);
}

int mot_read_normalizer(struct mot_text *t, const json_t *part, int depth)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC",
                                        "NFKD"}; /* order of enum mot_normal_form */
    const char *type = mot_part_type(part);
    if (!part || json_is_null(part))
        return MOT_OK;
    if (strcmp(type, "Sequence") == 0)
        return mot_part_sequence(t, part, "normalizers", depth, mot_read_normalizer);
    if (strcmp(type, "BertNormalizer") == 0)
        return read_bert(t, part);
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
    return mot_part_unknown(t, "normalizer", type);
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

static int read_behavior(const struct mot_text *t, const json_t *part, const char *fallback,
                         enum mot_behavior *behavior)
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
    return mot_part_unknown(t, "behavior", name ? name : "(none)");
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

int mot_read_splitter(struct mot_text *t, const json_t *part, int depth)
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
    const char *type = mot_part_type(part);
    if (!part || json_is_null(part))
        return MOT_OK;
    if (strcmp(type, "Sequence") == 0)
        return mot_part_sequence(t, part, "pretokenizers", depth, mot_read_splitter);
    for (int i = 0; i < MOT_COUNT(known); i++)
        if (strcmp(type, known[i].type) == 0)
            return known[i].read(t, part);
    return mot_part_unknown(t, "pre-tokenizer", type);
}

void mot_settle_letters(struct mot_text *t, bool byte_fallback)
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

int mot_read_decoder(struct mot_text *t, const json_t *part, int depth)
{
    const char *type = mot_part_type(part);
    if (!part || json_is_null(part)) {
        t->joined = depth == 0;
        return MOT_OK;
    }
    if (strcmp(type, "Sequence") == 0)
        return mot_part_sequence(t, part, "decoders", depth, mot_read_decoder);
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
    return mot_part_unknown(t, "decoder", type);
}
