/* SPDX-License-Identifier: MIT
 *
 * adopt.c - the text tokenizer of another folder becomes that of a folder of ours: its tokenizer.json with the tokens
 * that delimit pictures and sounds behind all others, and the files beside it that speak of it.
 */
#include <limits.h>
#include <stdlib.h>

#include "token.h"

static bool same_folder(const char *a, const char *b)
{
    char x[PATH_MAX], y[PATH_MAX];
    return realpath(a, x) && realpath(b, y) && strcmp(x, y) == 0;
}

static int copy_beside(const char *from, const char *to, const char *name)
{
    struct mot_bytes text = {0};
    char *a = mot_path(from, name), *b = mot_path(to, name);
    int rc = a && b ? MOT_OK : MOT_ENOMEM;
    bool there = !rc && mot_file_exists(a);
    if (there)
        rc = mot_read_file(a, MOT_TOKENIZER_LIMIT, &text);
    if (!rc && there)
        rc = mot_write_file(b, text.data, text.n);
    mot_bytes_free(&text);
    mot_free(a);
    mot_free(b);
    return rc;
}

/* In place only where there is nothing of ours yet: ids of pictures would move, and another program's vocab.json be lost. */
int mot_adopt_check(const char *from, const char *to)
{
    if (!same_folder(from, to))
        return MOT_OK;
    char *path = mot_path(to, "vocab.json");
    int rc = !path ? MOT_ENOMEM : !mot_file_exists(path) ? MOT_OK
             : mot_fail(MOT_EARG, "%s: it is there already, and would be overwritten: give another -t", path);
    mot_free(path);
    return rc;
}

/* The delimiter's id: its own where the tokenizer has such a token, else *next, as a new token. */
static int add_delimiter(json_t *tokenizer, const char *text, int32_t *next, int32_t *id, bool *changed)
{
    *id = mot_vocab_id(tokenizer, text);
    if (*id >= 0)
        return MOT_OK;
    json_t *added = json_object_get(tokenizer, "added_tokens");
    if (!json_is_array(added)) {
        added = json_array();
        json_object_set_new(tokenizer, "added_tokens", added);
    }
    *changed = true;
    *id = (*next)++;
    if (json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)*id, "content", text,
                                               "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1)))
        return mot_fail(MOT_ENOMEM, "out of memory adding tokens to tokenizer.json");
    return MOT_OK;
}

static int write_json(const char *from, const char *to, const json_t *tokenizer, bool changed)
{
    char *path = mot_path(to, "tokenizer.json");
    int rc = !path ? MOT_ENOMEM : changed ? mot_json_save(path, tokenizer) : MOT_OK;
    mot_free(path);
    return !rc && !changed && !same_folder(from, to) ? copy_beside(from, to, "tokenizer.json") : rc;
}

int mot_adopt_text(const char *from, const char *to, const char *const *delimiter, int n, struct mot_vocab *v, int32_t *id)
{
    char *path = mot_path(from, "tokenizer.json");
    json_t *j = path ? mot_json_load(path, MOT_TOKENIZER_LIMIT) : NULL;
    struct mot_text *text = j ? mot_text_load(path, j) : NULL; /* that it can be used at all */
    int64_t largest = 0;
    int rc = j && text ? MOT_OK : MOT_EFORMAT;
    mot_text_free(text);
    if (!rc)
        rc = mot_vocab_foreign(v, from, j);
    if (!rc)
        rc = mot_vocab_largest(j, from, &largest);
    int32_t next = (int32_t)largest + 1;
    bool changed = false;
    for (int i = 0; !rc && i < n; i++)
        rc = add_delimiter(j, delimiter[i], &next, &id[i], &changed);
    if (!rc)
        rc = write_json(from, to, j, changed);
    static const char *const beside[] = {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"};
    for (int i = 0; !rc && i < MOT_COUNT(beside) && !same_folder(from, to); i++)
        rc = copy_beside(from, to, beside[i]);
    if (!rc && next > v->size)
        v->size = v->modality[0].n = next;
    json_decref(j);
    mot_free(path);
    return rc;
}
