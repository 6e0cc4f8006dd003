/* SPDX-License-Identifier: MIT
 *
 * record.c - one record from its parts: the bytes of text, picture and sound files, or a line of
 * JSON that names them.
 */
#include <strings.h>

#include "../base/json.h"
#include "source.h"

/* Decoded pictures and sounds of one record: more is a mistake or an attack. */
static const size_t decoded_limit = (size_t)4 << 30;

enum mot_file mot_file_kind(const char *name)
{
    static const struct {
        const char *suffix;
        enum mot_file kind;
    } kinds[] = {
        {".txt", MOT_FILE_TEXT},    {".md", MOT_FILE_TEXT},      {".json", MOT_FILE_JSON},
        {".png", MOT_FILE_IMAGE},   {".jpg", MOT_FILE_IMAGE},    {".jpeg", MOT_FILE_IMAGE},
        {".wav", MOT_FILE_SOUND},   {".flac", MOT_FILE_SOUND},   {".ogg", MOT_FILE_SOUND},
        {".oga", MOT_FILE_SOUND},   {".opus", MOT_FILE_SOUND},   {".mp3", MOT_FILE_SOUND},
        {".jsonl", MOT_FILE_JSONL}, {".ndjson", MOT_FILE_JSONL}, {".tar", MOT_FILE_TAR},
        {".tar.gz", MOT_FILE_TAR},  {".tgz", MOT_FILE_TAR},      {".tar.zst", MOT_FILE_TAR},
        {".tar.xz", MOT_FILE_TAR},  {".tar.bz2", MOT_FILE_TAR},
    };
    size_t n = strlen(name);
    for (int i = 0; i < MOT_COUNT(kinds); i++) {
        size_t k = strlen(kinds[i].suffix);
        if (n > k && strcasecmp(name + n - k, kinds[i].suffix) == 0)
            return kinds[i].kind;
    }
    return MOT_FILE_UNKNOWN;
}

void mot_building_clear(struct mot_building *b)
{
    for (int i = 0; i < b->r.n_items; i++) {
        mot_bytes_free(&b->r.item[i].text);
        mot_image_free(&b->r.item[i].image);
        mot_audio_free(&b->r.item[i].speech);
    }
    mot_free(b->r.name);
    b->r.name = NULL;
    b->r.n_items = 0;
    b->r.ordered = false;
    b->bytes = 0;
}

void mot_building_free(struct mot_building *b)
{
    mot_building_clear(b);
    mot_free(b->r.item);
    *b = (struct mot_building){0};
}

/* Take over what the item holds, or free it. */
static int append(struct mot_building *b, struct mot_item *item, size_t bytes, const char *name)
{
    int rc = MOT_OK;
    if (bytes > decoded_limit - b->bytes)
        rc = mot_fail(MOT_EFORMAT, "%s: a record of more than %zu MB", name, decoded_limit >> 20);
    if (!rc)
        rc = mot_grow((void **)&b->r.item, b->r.n_items, &b->capacity, sizeof *b->r.item);
    if (rc) {
        mot_bytes_free(&item->text);
        mot_image_free(&item->image);
        mot_audio_free(&item->speech);
        return rc;
    }
    b->r.item[b->r.n_items++] = *item;
    b->bytes += bytes;
    return MOT_OK;
}

static int add_text(struct mot_building *b, const void *text, size_t n, const char *name)
{
    struct mot_item item = {.kind = MOT_KIND_TEXT};
    int rc = mot_bytes_append(&item.text, text, n);
    return rc ? rc : append(b, &item, n, name);
}

/* {"text": "..."} or {"caption": "..."}: what stands beside a picture in many tars.  An object with
 * neither is metadata. */
static int add_caption(struct mot_building *b, const void *text, size_t n, const char *name)
{
    json_t *j = mot_json_parse(name, text, n);
    if (!j)
        return MOT_EFORMAT;
    const json_t *s = json_object_get(j, "text");
    if (!s)
        s = json_object_get(j, "caption");
    int rc = MOT_OK;
    if (json_is_string(s))
        rc = add_text(b, json_string_value(s), json_string_length(s), name);
    json_decref(j);
    return rc;
}

int mot_building_add(struct mot_building *b, enum mot_file kind, const void *data, size_t n,
                     const char *name)
{
    struct mot_item item = {0};
    int rc;
    switch (kind) {
    case MOT_FILE_TEXT:
        return add_text(b, data, n, name);
    case MOT_FILE_JSON:
        return add_caption(b, data, n, name);
    case MOT_FILE_IMAGE:
        item.kind = MOT_KIND_IMAGE;
        rc = mot_image_load(&item.image, data, n, name);
        return rc ? rc
                  : append(b, &item, 3 * (size_t)item.image.width * (size_t)item.image.height,
                           name);
    case MOT_FILE_SOUND:
        item.kind = MOT_KIND_SPEECH;
        rc = mot_audio_load(&item.speech, data, n, name);
        return rc ? rc : append(b, &item, (size_t)item.speech.n * sizeof *item.speech.sample, name);
    default:
        return mot_fail(MOT_EARG, "%s: no text, picture or sound", name);
    }
}

int mot_building_add_file(struct mot_building *b, enum mot_file kind, const char *path)
{
    struct mot_bytes data = {0};
    int rc = mot_read_file(path, MOT_RECORD_LIMIT, &data);
    if (rc == MOT_EFORMAT && kind == MOT_FILE_TEXT)
        rc = mot_fail(rc, "%s: a text of more than %zu MB; -f lines takes each line as a record",
                      strcmp(path, "-") == 0 ? "standard input" : path, MOT_RECORD_LIMIT >> 20);
    if (!rc)
        rc = mot_building_add(b, kind, data.data, data.n, path);
    mot_bytes_free(&data);
    return rc;
}

/* ---- JSON Lines ---- */

static int add_path(struct mot_building *b, enum mot_file kind, const char *name,
                    const char *folder, const json_t *o, const char *key)
{
    const char *file = NULL;
    int rc = mot_json_string(o, name, key, &file);
    if (rc || !file)
        return rc;
    char *path = folder && file[0] != '/' ? mot_path(folder, file) : mot_strdup(file);
    if (!path)
        return MOT_ENOMEM;
    rc = mot_building_add_file(b, kind, path);
    mot_free(path);
    if (rc && rc != MOT_ENOMEM)
        rc = mot_fail(rc, "%s: %s", name, mot_error());
    return rc;
}

/* The keys text, image, speech of an object, those there are. */
static int add_keys(struct mot_building *b, const char *name, const char *folder, const json_t *o)
{
    int rc = MOT_OK, before = b->r.n_items;
    const json_t *text = json_object_get(o, "text");
    if (json_is_string(text))
        rc = add_text(b, json_string_value(text), json_string_length(text), name);
    else if (text && !json_is_null(text))
        rc = mot_fail(MOT_EFORMAT, "%s: key \"text\": expected a string", name);
    if (!rc)
        rc = add_path(b, MOT_FILE_IMAGE, name, folder, o, "image");
    if (!rc)
        rc = add_path(b, MOT_FILE_SOUND, name, folder, o, "speech");
    if (!rc && b->r.n_items == before)
        rc = mot_fail(MOT_EFORMAT,
                      "%s: expected a key \"text\", \"image\", \"speech\" or \"segments\"", name);
    return rc;
}

static int add_object(struct mot_building *b, const char *name, const char *folder, const json_t *o)
{
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: expected a JSON object", name);
    const json_t *segments = json_object_get(o, "segments");
    if (!segments)
        return add_keys(b, name, folder, o);
    b->r.ordered = true;
    if (!json_is_array(segments))
        return mot_fail(MOT_EFORMAT, "%s: key \"segments\": expected an array", name);
    if (json_array_size(segments) == 0)
        return mot_fail(MOT_EFORMAT, "%s: no segments in it", name);
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *s = json_array_get(segments, i);
        int rc = json_is_object(s)
                     ? add_keys(b, name, folder, s)
                     : mot_fail(MOT_EFORMAT, "%s: segment %zu: expected an object", name, i);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

int mot_building_add_json(struct mot_building *b, const char *name, const char *folder,
                          const void *text, size_t n)
{
    json_t *o = mot_json_parse(name, text, n);
    if (!o)
        return MOT_EFORMAT;
    int rc = add_object(b, name, folder, o);
    json_decref(o);
    return rc;
}

void mot_building_sort(struct mot_building *b)
{
    for (int i = 1; i < b->r.n_items; i++) { /* by insertion: stable, and records are short */
        struct mot_item item = b->r.item[i];
        int k = i;
        for (; k > 0 && b->r.item[k - 1].kind > item.kind; k--)
            b->r.item[k] = b->r.item[k - 1];
        b->r.item[k] = item;
    }
}
