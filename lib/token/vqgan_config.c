/* SPDX-License-Identifier: MIT
 *
 * vqgan_config.c - what a VQGAN's configuration says: the `ddconfig` of taming-transformers' and Chameleon's .yaml, or
 * the `vq_config` of Hugging Face's config.json, whose keys have other names.
 *
 * Of YAML only what such files have is read: a line `key: number`, `key: [numbers]`, or `key:` with the numbers in lines
 * `- number` below it.  Keys are taken wherever they stand, as each means one thing in these files.
 */
#include <stdlib.h>

#include "../base/json.h"
#include "vqgan.h"

enum { LIMIT = 1 << 24 };

static const struct key {
    const char *yaml, *json;
    size_t value, list; /* offsets; list: that of its count too */
    bool is_list;
} keys[] = {
    {"ch", "base_channels", offsetof(struct mot_vqgan_config, ch), 0, false},
    {"out_ch", "out_channels", offsetof(struct mot_vqgan_config, out_ch), 0, false},
    {"num_res_blocks", "num_res_blocks", offsetof(struct mot_vqgan_config, num_res_blocks), 0, false},
    {"in_channels", "in_channels", offsetof(struct mot_vqgan_config, in_channels), 0, false},
    {"resolution", "resolution", offsetof(struct mot_vqgan_config, resolution), 0, false},
    {"z_channels", "latent_channels", offsetof(struct mot_vqgan_config, z_channels), 0, false},
    {"double_z", "double_latent", offsetof(struct mot_vqgan_config, double_z), 0, false},
    {"embed_dim", "embed_dim", offsetof(struct mot_vqgan_config, embed_dim), 0, false},
    {"n_embed", "num_embeddings", offsetof(struct mot_vqgan_config, n_embed), 0, false},
    {"ch_mult", "channel_multiplier", offsetof(struct mot_vqgan_config, n_ch_mult),
     offsetof(struct mot_vqgan_config, ch_mult), true},
    {"attn_resolutions", "attn_resolutions", offsetof(struct mot_vqgan_config, n_attn_resolutions),
     offsetof(struct mot_vqgan_config, attn_resolutions), true},
};

static int64_t *value_of(struct mot_vqgan_config *c, const struct key *k)
{
    return (int64_t *)(void *)((char *)c + k->value);
}

static int add(struct mot_vqgan_config *c, const struct key *k, const char *path, int64_t x)
{
    int *n = (int *)(void *)((char *)c + k->value);
    int64_t *list = (int64_t *)(void *)((char *)c + k->list);
    if (*n == MOT_VQGAN_LEVELS)
        return mot_fail(MOT_EFORMAT, "%s: \"%s\" has more than %d values", path, k->yaml, MOT_VQGAN_LEVELS);
    list[(*n)++] = x;
    return MOT_OK;
}

static void begin_list(struct mot_vqgan_config *c, const struct key *k)
{
    *(int *)(void *)((char *)c + k->value) = 0;
}

/* ---- YAML ---- */

static const struct key *key_at(const char *line, const char **rest)
{
    for (int i = 0; i < MOT_COUNT(keys); i++) {
        size_t n = strlen(keys[i].yaml);
        if (strncmp(line, keys[i].yaml, n) == 0 && line[n] == ':') {
            *rest = line + n + 1;
            return &keys[i];
        }
    }
    return NULL;
}

static bool number_at(const char **s, int64_t *x)
{
    char *end;
    *s += strspn(*s, " ,[-");
    *x = strtoll(*s, &end, 10);
    if (end == *s)
        return false;
    *s = end;
    return true;
}

static int read_scalar(struct mot_vqgan_config *c, const struct key *k, const char *path, const char *s)
{
    int64_t x = 0;
    s += strspn(s, " ");
    if (strncmp(s, "true", 4) == 0 || strncmp(s, "True", 4) == 0)
        x = 1;
    else if (strncmp(s, "false", 5) != 0 && strncmp(s, "False", 5) != 0 && !number_at(&s, &x))
        return mot_fail(MOT_EFORMAT, "%s: \"%s\": expected a number", path, k->yaml);
    *value_of(c, k) = x;
    return MOT_OK;
}

static int read_yaml(struct mot_vqgan_config *c, const char *path, char *text)
{
    const struct key *open = NULL; /* a list whose values stand in lines below */
    int rc = MOT_OK;
    for (char *line; !rc && (line = strsep(&text, "\n"));) {
        line += strspn(line, " ");
        const char *rest = line;
        int64_t x;
        if (open && *line == '-') {
            rc = number_at(&rest, &x) ? add(c, open, path, x)
                                      : mot_fail(MOT_EFORMAT, "%s: \"%s\": expected numbers", path, open->yaml);
            continue;
        }
        open = NULL;
        const struct key *k = key_at(line, &rest);
        if (!k)
            continue;
        if (!k->is_list) {
            rc = read_scalar(c, k, path, rest);
            continue;
        }
        begin_list(c, k);
        open = strchr(rest, '[') ? NULL : k;
        while (!rc && number_at(&rest, &x))
            rc = add(c, k, path, x);
    }
    return rc;
}

/* ---- JSON ---- */

static int read_json_key(struct mot_vqgan_config *c, const struct key *k, const char *path, const json_t *j)
{
    const json_t *x = json_object_get(j, k->json), *item;
    size_t i;
    int rc = MOT_OK;
    if (!x || json_is_null(x))
        return MOT_OK;
    if (k->is_list != json_is_array(x) || !(k->is_list || json_is_integer(x) || json_is_boolean(x)))
        return mot_fail(MOT_EFORMAT, "%s: \"%s\": expected %s", path, k->json, k->is_list ? "a list" : "a number");
    if (!k->is_list) {
        *value_of(c, k) = json_is_boolean(x) ? json_is_true(x) : json_integer_value(x);
        return MOT_OK;
    }
    begin_list(c, k);
    json_array_foreach((json_t *)(uintptr_t)x, i, item)
        if (!rc)
            rc = json_is_integer(item) ? add(c, k, path, json_integer_value(item))
                                       : mot_fail(MOT_EFORMAT, "%s: \"%s\": expected numbers", path, k->json);
    return rc;
}

static int read_json(struct mot_vqgan_config *c, const char *path, const void *text, size_t n)
{
    json_t *j = mot_json_parse(path, text, n);
    const json_t *inner = json_object_get(j, "vq_config");
    int rc = !j ? MOT_EFORMAT : json_is_object(j) ? MOT_OK : mot_fail(MOT_EFORMAT, "%s: expected a JSON object", path);
    for (int i = 0; !rc && i < MOT_COUNT(keys); i++)
        rc = read_json_key(c, &keys[i], path, json_is_object(inner) ? inner : j);
    json_decref(j);
    return rc;
}

int mot_vqgan_config_read(struct mot_vqgan_config *c, const char *path)
{
    struct mot_bytes text = {0};
    *c = (struct mot_vqgan_config){.n_ch_mult = -1, .n_attn_resolutions = -1};
    for (int i = 0; i < MOT_COUNT(keys); i++)
        if (!keys[i].is_list)
            *value_of(c, &keys[i]) = -1;
    int rc = mot_read_file(path, LIMIT, &text);
    if (!rc && text.n > 0) { /* a zero byte stands behind the text */
        char *s = (char *)text.data;
        rc = s[strspn(s, " \t\r\n")] == '{' ? read_json(c, path, text.data, text.n) : read_yaml(c, path, s);
    }
    mot_bytes_free(&text);
    return rc;
}
