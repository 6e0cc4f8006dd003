/* SPDX-License-Identifier: MIT
 *
 * tokenizer_files.c - what turns data into the model's ids travels with it: tokenizer.json and its companions as they are
 * (but for new delimiters), codecs, and a vocab.json that says whose ids are whose.
 */
#include "convert.h"

int mot_tokenizer_json(const char *folder, json_t **j)
{
    *j = NULL;
    char *path = mot_path(folder, "tokenizer.json");
    int rc = path ? MOT_OK : MOT_ENOMEM;
    if (!rc && mot_file_exists(path) && !(*j = mot_json_load(path, MOT_TOKENIZER_LIMIT)))
        rc = MOT_EFORMAT;
    mot_free(path);
    return rc;
}

static int add_delimiters(const struct mot_converter *c, json_t *tokenizer)
{
    json_t *added = json_object_get(tokenizer, "added_tokens");
    if (!json_is_array(added)) {
        added = json_array();
        json_object_set_new(tokenizer, "added_tokens", added);
    }
    for (int i = 0; i < c->n_delimiters; i++)
        if (json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)c->delimiter[i].id,
                                                   "content", c->delimiter[i].text, "single_word", 0, "lstrip", 0, "rstrip",
                                                   0, "normalized", 0, "special", 1)) != 0)
            return mot_fail(MOT_ENOMEM, "out of memory adding tokens to tokenizer.json");
    return MOT_OK;
}

static void remove_dropped(const struct mot_converter *c, json_t *tokenizer)
{
    json_t *added = json_object_get(tokenizer, "added_tokens");
    for (size_t i = json_array_size(added); i-- > 0;)
        if (json_integer_value(json_object_get(json_array_get(added, i), "id")) >= c->dropped_from)
            json_array_remove(added, i);
}

static int write_tokenizer_json(const struct mot_converter *c, const char *folder)
{
    json_t *j = NULL;
    if (c->n_delimiters == 0 && c->dropped_from == INT32_MAX)
        return mot_copy_if_there(c->o.from, folder, "tokenizer.json");
    int rc = mot_tokenizer_json(c->o.from, &j);
    char *path = mot_path(folder, "tokenizer.json");
    if (!rc && j)
        remove_dropped(c, j);
    if (!rc && j)
        rc = path ? add_delimiters(c, j) : MOT_ENOMEM;
    if (!rc && j)
        rc = mot_json_save(path, j);
    json_decref(j);
    mot_free(path);
    return rc;
}

static int write_vocab(const struct mot_converter *c, const char *folder)
{
    struct mot_vocab v = c->to.vocab;
    struct mot_bytes text = {0};
    char *path = mot_path(folder, "vocab.json");
    int rc = path ? mot_vocab_seal(&v, folder) : MOT_ENOMEM;
    if (!rc)
        rc = mot_vocab_save_json(&v, &text);
    if (!rc)
        rc = mot_bytes_append(&text, "\n", 1);
    if (!rc)
        rc = mot_write_file(path, text.data, text.n);
    mot_bytes_free(&text);
    mot_free(path);
    return rc;
}

int mot_write_tokenizer(struct mot_converter *c, const char *folder)
{
    int rc = write_tokenizer_json(c, folder);
    if (!rc)
        rc = mot_copy_companions(c->o.from, folder);
    bool ids = strcmp(c->to.family->name, "hf") != 0; /* there all ids are text, and the name may be another file's */
    for (int m = 1; !rc && ids && m < c->to.vocab.n_modalities; m++) {
        const char *name = c->to.vocab.modality[m].name;
        bool had = mot_vocab_find(&c->from.vocab, name) >= 0;
        char file[MOT_NAME_BYTES + 16];
        snprintf(file, sizeof file, "%s.safetensors", name);
        if (had || c->o.tokenizer)
            rc = mot_copy_if_there(had ? c->o.from : c->o.tokenizer, folder, file);
    }
    return !rc && ids ? write_vocab(c, folder) : rc;
}
