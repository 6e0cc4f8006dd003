/* SPDX-License-Identifier: MIT
 *
 * vocab.c - one id space for all modalities: what the ids mean, how that is written down, and the
 * digest by which shards, runs and folders know that they speak of the same ids.
 *
 * The JSON form is the same in a folder's vocab.json and in the header of a shard:
 *
 *   {"version":1,"modalities":[{"name":"text","first":0,"size":8192},...],
 *    "special":{"bos":0,"eos":1,"boi":2,"eoi":3},"digest":"0123456789abcdef","folder":"/data/tok"}
 *
 * Ranges stand in id order and touch; text comes first; special ids are text ids; a special token
 * that does not exist is left out.  A modality whose tokens stand for vectors has "width", the values of
 * one, behind "size", which is 1: {"name":"image","first":8192,"size":1,"width":64,"patch":2},
 * where "patch" is how many pixels such a vector has on a side.  A shard's header has "folder" too: where the tokenizer was, so
 * that decoding finds it; it is believed only if the digest agrees.  The digest is FNV-1a over
 * everything of this but itself, then over the bytes of tokenizer.json and of each codec's file, as
 * far as they are there: two folders whose ids decode differently differ in it.
 *
 * Many a foreign folder has a vocab.json too: tokens and their ids, which tokenizer.json says again.
 */
#include <limits.h>
#include <stdlib.h>

#include "token.h"

static const struct special {
    const char *key;
    size_t offset;
} specials[] = {
    {"bos", offsetof(struct mot_vocab, bos)},
    {"eos", offsetof(struct mot_vocab, eos)},
    {"boi", offsetof(struct mot_vocab, boi)},
    {"eoi", offsetof(struct mot_vocab, eoi)},
    {"bos_speech", offsetof(struct mot_vocab, bos_speech)},
    {"eos_speech", offsetof(struct mot_vocab, eos_speech)},
};

static int32_t *special_of(struct mot_vocab *v, int i)
{
    return (int32_t *)(void *)((char *)v + specials[i].offset);
}

static int32_t special_id(const struct mot_vocab *v, int i)
{
    return *(const int32_t *)(const void *)((const char *)v + specials[i].offset);
}

int mot_vocab_modality(const struct mot_vocab *v, int32_t id)
{
    int m = 0;
    while (m + 1 < v->n_modalities && id >= v->modality[m + 1].first)
        m++;
    return m;
}

int mot_vocab_find(const struct mot_vocab *v, const char *name)
{
    for (int m = 0; m < v->n_modalities; m++)
        if (strcmp(v->modality[m].name, name) == 0)
            return m;
    return -1;
}

/* ---- writing ---- */

static int put_meaning(const struct mot_vocab *v, struct mot_bytes *out)
{
    int rc = mot_bytes_format(out, "{\"version\":1,\"modalities\":[");
    for (int m = 0; !rc && m < v->n_modalities; m++) {
        rc = mot_bytes_format(out, "%s{\"name\":\"%s\",\"first\":%d,\"size\":%d", m ? "," : "",
                              v->modality[m].name, v->modality[m].first, v->modality[m].n);
        if (!rc && v->modality[m].width)
            rc = mot_bytes_format(out, ",\"width\":%d", v->modality[m].width);
        if (!rc && v->modality[m].patch)
            rc = mot_bytes_format(out, ",\"patch\":%d", v->modality[m].patch);
        if (!rc)
            rc = mot_bytes_append(out, "}", 1);
    }
    if (!rc)
        rc = mot_bytes_format(out, "],\"special\":{");
    const char *comma = "";
    for (int i = 0; !rc && i < MOT_COUNT(specials); i++) {
        if (special_id(v, i) < 0)
            continue;
        rc = mot_bytes_format(out, "%s\"%s\":%d", comma, specials[i].key, special_id(v, i));
        comma = ",";
    }
    return rc ? rc : mot_bytes_format(out, "}");
}

int mot_vocab_save_json(const struct mot_vocab *v, struct mot_bytes *out)
{
    int rc = put_meaning(v, out);
    if (!rc)
        rc = mot_bytes_format(out, ",\"digest\":\"%s\"", v->digest);
    json_t *folder = v->folder[0] ? json_string(v->folder)
                                  : NULL; /* NULL too if it is not UTF-8: then it is left out */
    char quoted[6 * sizeof v->folder + 3];
    size_t n = folder ? json_dumpb(folder, quoted, sizeof quoted, JSON_ENCODE_ANY) : 0;
    if (!rc && n > 0 && n <= sizeof quoted)
        rc = mot_bytes_format(out, ",\"folder\":%.*s", (int)n, quoted);
    json_decref(folder);
    return rc ? rc : mot_bytes_format(out, "}");
}

/* ---- reading ---- */

static bool legal_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < MOT_NAME_BYTES && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == n &&
           (s[0] < '0' || s[0] > '9');
}

static int read_modality(struct mot_vocab *v, const char *name, const json_t *o)
{
    int m = v->n_modalities;
    const char *label = NULL;
    int64_t first = -1, n = -1, width = 0, patch = 0;
    int rc = mot_json_string(o, name, "name", &label);
    if (!rc)
        rc = mot_json_int(o, name, "first", 0, INT32_MAX, &first);
    if (!rc)
        rc = mot_json_int(o, name, "size", 1, INT32_MAX, &n);
    if (!rc)
        rc = mot_json_int(o, name, "width", 1, MOT_MAX_WIDTH, &width);
    if (!rc)
        rc = mot_json_int(o, name, "patch", 1, MOT_MAX_WIDTH, &patch);
    if (rc)
        return rc;
    if (!label || first < 0 || n < 0)
        return mot_fail(MOT_EFORMAT, "%s: modality %d lacks \"name\", \"first\" or \"size\"", name,
                        m);
    if (!legal_name(label))
        return mot_fail(MOT_EFORMAT,
                        "%s: modality %d: \"%.40s\" is no name: a-z, 0-9 and _, %d at most", name,
                        m, label, MOT_NAME_BYTES - 1);
    if (mot_vocab_find(v, label) >= 0)
        return mot_fail(MOT_EFORMAT, "%s: modality \"%s\" is named twice", name, label);
    if (m == 0 && strcmp(label, "text") != 0)
        return mot_fail(MOT_EFORMAT, "%s: the first modality is \"%s\", expected \"text\"", name,
                        label);
    if (first != v->size)
        return mot_fail(MOT_EFORMAT, "%s: modality \"%s\" starts at id %lld, expected %d", name,
                        label, (long long)first, v->size);
    if (n > INT32_MAX - first)
        return mot_fail(MOT_EFORMAT, "%s: modality \"%s\": ids beyond 2^31", name, label);
    if (width && (m == 0 || n != 1))
        return mot_fail(MOT_EFORMAT, "%s: modality \"%s\" has \"width\": %lld: %s", name, label, (long long)width,
                        m == 0 ? "text has none" : "then its \"size\" is 1");
    if (patch && (!width || patch > MOT_MAX_WIDTH / patch || width % (patch * patch) != 0))
        return mot_fail(MOT_EFORMAT, "%s: modality \"%s\" has \"patch\": %lld: then its \"width\" is a multiple of its square", name,
                        label, (long long)patch);
    memcpy(v->modality[m].name, label, strlen(label) + 1);
    v->modality[m].first = (int32_t)first;
    v->modality[m].n = (int32_t)n;
    v->modality[m].width = (int32_t)width;
    v->modality[m].patch = (int32_t)patch;
    v->size = (int32_t)(first + n);
    v->n_modalities++;
    return MOT_OK;
}

static int read_modalities(struct mot_vocab *v, const char *name, const json_t *list)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > MOT_MAX_MODALITIES)
        return mot_fail(MOT_EFORMAT, "%s: expected \"modalities\": an array of 1 to %d", name,
                        MOT_MAX_MODALITIES);
    for (size_t i = 0; i < n; i++) {
        const json_t *o = json_array_get(list, i);
        if (!json_is_object(o))
            return mot_fail(MOT_EFORMAT, "%s: modality %zu is not an object", name, i);
        int rc = read_modality(v, name, o);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

static void clear(struct mot_vocab *v)
{
    *v = (struct mot_vocab){0};
    for (int i = 0; i < MOT_COUNT(specials); i++)
        *special_of(v, i) = -1;
}

static int read_vocab(struct mot_vocab *v, const char *name, const json_t *j)
{
    clear(v);
    if (!json_is_object(j))
        return mot_fail(MOT_EFORMAT, "%s: not a vocabulary: expected a JSON object", name);
    int64_t version = 0;
    int rc = mot_json_int(j, name, "version", 1, INT32_MAX, &version);
    if (rc)
        return rc;
    if (version != 1)
        return mot_fail(version ? MOT_EVERSION : MOT_EFORMAT,
                        "%s: vocabulary version %lld, this program reads 1", name,
                        (long long)version);
    rc = read_modalities(v, name, json_object_get(j, "modalities"));
    if (rc)
        return rc;
    const json_t *special = json_object_get(j, "special");
    if (special && !json_is_object(special))
        return mot_fail(MOT_EFORMAT, "%s: expected \"special\": an object", name);
    for (int i = 0; special && i < MOT_COUNT(specials); i++) {
        int64_t id = -1;
        rc = mot_json_int(special, name, specials[i].key, 0, v->modality[0].n - 1, &id);
        if (rc)
            return rc;
        *special_of(v, i) = (int32_t)id;
    }
    const char *digest = NULL;
    rc = mot_json_string(j, name, "digest", &digest);
    if (rc)
        return rc;
    if (!digest || strlen(digest) != 16 || strspn(digest, "0123456789abcdef") != 16)
        return mot_fail(MOT_EFORMAT, "%s: expected \"digest\": 16 hexadecimal digits", name);
    memcpy(v->digest, digest, 17);
    const char *folder = NULL;
    rc = mot_json_string(j, name, "folder", &folder);
    if (!rc && folder && strlen(folder) < sizeof v->folder)
        memcpy(v->folder, folder, strlen(folder) + 1);
    return rc;
}

int mot_vocab_parse_json(struct mot_vocab *v, const char *name, const void *text, size_t n)
{
    json_t *j = mot_json_parse(name, text, n);
    if (!j)
        return MOT_EFORMAT;
    int rc = read_vocab(v, name, j);
    json_decref(j);
    return rc;
}

/* ---- the digest ---- */

static int hash_file(uint64_t *h, const char *folder, const char *file)
{
    char *path = mot_path(folder, file);
    if (!path)
        return MOT_ENOMEM;
    struct mot_map map;
    bool there = mot_file_exists(path);
    int rc = there ? mot_map_open(&map, path) : MOT_OK;
    if (!rc && there) {
        unsigned char size[8];
        mot_put64(size, map.n);
        *h = mot_hash(*h, file, strlen(file) + 1);
        *h = mot_hash(*h, size, sizeof size);
        *h = mot_hash(*h, map.data, map.n);
        mot_map_close(&map);
    }
    mot_free(path);
    return rc;
}

int mot_vocab_seal(struct mot_vocab *v, const char *folder)
{
    struct mot_bytes meaning = {0};
    int rc = put_meaning(v, &meaning);
    uint64_t h = mot_hash(MOT_HASH_START, meaning.data, meaning.n);
    mot_bytes_free(&meaning);
    if (!rc)
        rc = hash_file(&h, folder, "tokenizer.json");
    for (int m = 1; !rc && m < v->n_modalities; m++) {
        char file[MOT_NAME_BYTES + 16];
        snprintf(file, sizeof file, "%s.safetensors", v->modality[m].name);
        rc = hash_file(&h, folder, file);
    }
    if (!rc)
        snprintf(v->digest, sizeof v->digest, "%016llx", (unsigned long long)h);
    return rc;
}

/* ---- a folder that is not ours: tokenizer.json, perhaps tokenizer_config.json and config.json
 * ---- */

/* Load folder/file if it is there; *j = NULL when it is not. */
static int load_optional(const char *folder, const char *file, json_t **j)
{
    *j = NULL;
    char *path = mot_path(folder, file);
    if (!path)
        return MOT_ENOMEM;
    int rc = MOT_OK;
    if (mot_file_exists(path)) {
        *j = mot_json_load(path, MOT_TOKENIZER_LIMIT);
        if (!*j)
            rc = MOT_EFORMAT;
        else if (!json_is_object(*j))
            rc = mot_fail(MOT_EFORMAT, "%s: expected a JSON object", path);
    }
    mot_free(path);
    return rc;
}

/* The id of a token by its text: added tokens first, as they may override. */
int32_t mot_vocab_id(const json_t *tokenizer, const char *text)
{
    size_t i;
    json_t *t;
    json_array_foreach(json_object_get(tokenizer, "added_tokens"), i, t) {
        const char *content = json_string_value(json_object_get(t, "content"));
        if (content && strcmp(content, text) == 0)
            return (int32_t)json_integer_value(json_object_get(t, "id"));
    }
    const json_t *id =
        json_object_get(json_object_get(json_object_get(tokenizer, "model"), "vocab"), text);
    return json_is_integer(id) ? (int32_t)json_integer_value(id) : -1;
}

/* "bos_token": "<s>" or {"content": "<s>", ...} */
static int32_t token_of_key(const json_t *config, const char *key, const json_t *tokenizer)
{
    const json_t *t = json_object_get(config, key);
    if (json_is_object(t))
        t = json_object_get(t, "content");
    const char *text = json_string_value(t);
    return text ? mot_vocab_id(tokenizer, text) : -1;
}

int mot_vocab_largest(const json_t *tokenizer, const char *folder, int64_t *largest)
{
    int64_t max = -1;
    const char *key;
    json_t *id;
    size_t i;
    json_object_foreach(json_object_get(json_object_get(tokenizer, "model"), "vocab"), key, id) {
        int64_t x = json_is_integer(id) ? json_integer_value(id) : -1;
        if (x < 0 || x >= INT32_MAX)
            return mot_fail(MOT_EFORMAT, "%s/tokenizer.json: token \"%.40s\": expected an id",
                            folder, key);
        max = x > max ? x : max;
    }
    json_array_foreach(json_object_get(tokenizer, "added_tokens"), i, id) {
        const json_t *t = json_object_get(id, "id");
        int64_t x = json_is_integer(t) ? json_integer_value(t) : -1;
        if (x < 0 || x >= INT32_MAX)
            return mot_fail(MOT_EFORMAT, "%s/tokenizer.json: added token %zu: expected an id",
                            folder, i);
        max = x > max ? x : max;
    }
    if (max < 0)
        return mot_fail(MOT_EFORMAT, "%s/tokenizer.json: no vocabulary in it", folder);
    *largest = max;
    return MOT_OK;
}

/* Embeddings are often padded beyond the tokenizer's ids: the model's config.json then knows the
 * size. */
static int64_t padded_size(const json_t *config, int64_t size)
{
    const json_t *nested = json_object_get(config, "text_config");
    const json_t *n = json_object_get(json_is_object(nested) ? nested : config, "vocab_size");
    int64_t x = json_is_integer(n) ? json_integer_value(n) : 0;
    return x > size && x < INT32_MAX ? x : size;
}

/* A name too long for v is left out: it only helps. */
static void remember_folder(struct mot_vocab *v, const char *folder)
{
    char path[PATH_MAX];
    v->folder[0] = 0;
    if (realpath(folder, path) && strlen(path) < sizeof v->folder)
        memcpy(v->folder, path, strlen(path) + 1);
}

int mot_vocab_foreign(struct mot_vocab *v, const char *folder, const json_t *tokenizer)
{
    clear(v);
    json_t *config = NULL, *model = NULL;
    int64_t largest = 0;
    int rc = mot_vocab_largest(tokenizer, folder, &largest);
    if (!rc)
        rc = load_optional(folder, "tokenizer_config.json", &config);
    if (!rc)
        rc = load_optional(folder, "config.json", &model);
    if (!rc) {
        v->n_modalities = 1;
        memcpy(v->modality[0].name, "text", 5);
        v->size = v->modality[0].n = (int32_t)padded_size(model, largest + 1);
        v->bos = token_of_key(config, "bos_token", tokenizer);
        v->eos = token_of_key(config, "eos_token", tokenizer);
        remember_folder(v, folder);
        rc = mot_vocab_seal(v, folder);
    }
    json_decref(config);
    json_decref(model);
    return rc;
}

/* Tokens and their ids, as GPT-2's and Qwen's folders have them. */
static bool only_integers(const json_t *j)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        if (!json_is_integer(v))
            return false;
    return json_object_size(j) > 0;
}

int mot_vocab_own(const char *folder, json_t **j)
{
    int rc = load_optional(folder, "vocab.json", j);
    if (!rc && *j && only_integers(*j)) {
        json_decref(*j);
        *j = NULL;
    }
    return rc;
}

int mot_vocab_read(struct mot_vocab *v, const char *folder, const json_t *own)
{
    char *path = mot_path(folder, "vocab.json");
    int rc = path ? read_vocab(v, path, own) : MOT_ENOMEM;
    if (!rc)
        remember_folder(v, folder);
    mot_free(path);
    return rc;
}

int mot_vocab_load(struct mot_vocab *v, const char *folder)
{
    json_t *own = NULL, *tokenizer = NULL;
    int rc = mot_vocab_own(folder, &own);
    if (!rc && own) {
        rc = mot_vocab_read(v, folder, own);
    } else if (!rc) {
        rc = load_optional(folder, "tokenizer.json", &tokenizer);
        if (!rc && !tokenizer)
            rc = mot_fail(MOT_EIO, "%s: neither vocab.json nor tokenizer.json is there: not a tokenizer folder", folder);
        if (!rc)
            rc = mot_vocab_foreign(v, folder, tokenizer);
    }
    json_decref(own);
    json_decref(tokenizer);
    return rc;
}

int mot_copy_companions(const char *from, const char *to)
{
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
                                        "tokenizer.model", "chat_template.jinja", "generation_config.json"};
    int rc = MOT_OK;
    for (int i = 0; !rc && i < MOT_COUNT(files); i++)
        rc = mot_copy_if_there(from, to, files[i]);
    return rc;
}
