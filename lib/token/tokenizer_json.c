/* SPDX-License-Identifier: MIT
 *
 * tokenizer_json.c - Hugging Face's tokenizer.json, read.
 *
 * The file describes a machine: normalizer, pre-tokenizer, model, post-processor, decoder, each a
 * tree of typed parts.  We read the parts that byte-pair encodings use; any other part, and any
 * setting that would change ids and that we do not have, is an error that names it.  What does not
 * change ids (offsets) is passed over.
 */
#include "tokenizer_json.h"

enum { MAX_IDS = 1 << 24 };

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
            rc = mot_fail(MOT_EFORMAT, "%s: merge %zu: \"%.40s\" is shorter than continuing_subword_prefix", t->name, i,
                          right);
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
                "%s: merge %zu: \"%.*s\" + \"%.40s\": not all of this is in the vocabulary",
                t->name, i, n_left < 40 ? (int)n_left : 40, left, right);
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
        rc = mot_part_unknown(t, "model", type);
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
        return mot_part_unknown(t, "model setting", "dropout");
    t->prefix = mot_strdup(prefix ? prefix : "");
    t->suffix = mot_strdup(suffix ? suffix : "");
    if (!t->prefix || !t->suffix)
        return MOT_ENOMEM;
    b->prefix = t->prefix;
    b->suffix = t->suffix;
    mot_settle_letters(t, b->byte_fallback);
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
        return mot_part_missing(t, part, "single");
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
    const char *type = mot_part_type(part);
    if (!part || json_is_null(part) ||
        strcmp(type, "ByteLevel") == 0) /* that one only moves offsets */
        return MOT_OK;
    if (strcmp(type, "Sequence") == 0)
        return mot_part_sequence(t, part, "processors", depth, read_processor);
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, part);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_cls_sep(t, part);
    return mot_part_unknown(t, "post-processor", type);
}

/* ---- the file ---- */

/* Settings that a program left behind which cut texts or filled them up; nobody wants that of documents. */
static int asks_for(const struct mot_text *t, const char *setting)
{
    return mot_fail(MOT_EFORMAT, "%s: it asks for %s, which would cut texts or fill them up: write \"%s\":null in it if that is not meant",
                    t->name, setting, setting);
}

static int read_all(struct mot_text *t, const json_t *j)
{
    const json_t *padding = json_object_get(j, "padding"),
                 *truncation = json_object_get(j, "truncation");
    if (!json_is_object(json_object_get(j, "model")))
        return mot_fail(MOT_EFORMAT, "%s: not a tokenizer: expected an object with a \"model\"",
                        t->name);
    if (truncation && !json_is_null(truncation))
        return asks_for(t, "truncation");
    /* Padding to the longest of a batch leaves a single text alone. */
    const char *strategy = json_string_value(json_object_get(padding, "strategy"));
    if (padding && !json_is_null(padding) && !(strategy && strcmp(strategy, "BatchLongest") == 0))
        return asks_for(t, "padding");
    int rc = mot_read_normalizer(t, json_object_get(j, "normalizer"), 0);
    if (!rc)
        rc = mot_read_splitter(t, json_object_get(j, "pre_tokenizer"), 0);
    if (!rc)
        rc = mot_read_decoder(t, json_object_get(j, "decoder"), 0);
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
