/* SPDX-License-Identifier: MIT
 *
 * record.c - one record from its parts: the bytes of text, picture and sound files, or a line of
 * JSON that names them.  Reading and decoding are two steps, so that one thread may read and others
 * decode.
 */
#include <strings.h>
#include <sys/stat.h>

#include "../base/json.h"
#include "source.h"

/* Decoded pictures and sounds of one record: more is a mistake or an attack. */
static const size_t decoded_limit = (size_t)4 << 30;

#define USE_LINES "; -f lines takes each line as a record"

enum mot_file mot_file_kind(const char *name)
{
    static const struct {
        const char *suffix;
        enum mot_file kind;
    } kinds[] = {
        {".txt", MOT_FILE_TEXT},    {".md", MOT_FILE_TEXT},      {".json", MOT_FILE_JSON},
        {".png", MOT_FILE_IMAGE},   {".jpg", MOT_FILE_IMAGE},    {".jpeg", MOT_FILE_IMAGE},
        {".webp", MOT_FILE_IMAGE},
        {".wav", MOT_FILE_SOUND},   {".flac", MOT_FILE_SOUND},   {".ogg", MOT_FILE_SOUND},
        {".oga", MOT_FILE_SOUND},   {".opus", MOT_FILE_SOUND},   {".mp3", MOT_FILE_SOUND},
        {".jsonl", MOT_FILE_JSONL}, {".ndjson", MOT_FILE_JSONL}, {".tar", MOT_FILE_TAR},
        {".tar.gz", MOT_FILE_TAR},  {".tgz", MOT_FILE_TAR},      {".tar.zst", MOT_FILE_TAR},
        {".tar.xz", MOT_FILE_TAR},  {".tar.bz2", MOT_FILE_TAR},  {".bin", MOT_FILE_TOKENS},
        {".idx", MOT_FILE_TOKENS},
    };
    size_t n = strlen(name);
    for (int i = 0; i < MOT_COUNT(kinds); i++) {
        size_t k = strlen(kinds[i].suffix);
        if (n > k && strcasecmp(name + n - k, kinds[i].suffix) == 0)
            return kinds[i].kind;
    }
    return MOT_FILE_UNKNOWN;
}

/* ---- as read ---- */

struct mot_raw *mot_raw_new(char *name, char *key)
{
    struct mot_raw *r = name ? mot_alloc(1, sizeof *r) : NULL;
    if (!r) {
        mot_free(name);
        mot_free(key);
        return NULL;
    }
    r->name = name;
    r->key = key;
    return r;
}

struct mot_raw *mot_raw_line(const char *input, int64_t number, enum mot_file kind, const void *line, size_t n)
{
    size_t name = strlen(input) + 24, size;
    struct mot_raw *r = mot_add(sizeof *r + name, n, &size) ? mot_alloc(1, size) : NULL;
    if (!r)
        return NULL;
    r->name = (char *)(r + 1);
    snprintf(r->name, name, "%s:%lld", input, (long long)number);
    r->only = (struct mot_part){kind, r->name, {(unsigned char *)r->name + name, n, 0}};
    memcpy(r->only.data.data, line, n);
    r->part = &r->only;
    r->n_parts = 1;
    r->bytes = n;
    return r;
}

int mot_raw_add(struct mot_raw *r, enum mot_file kind, char *name, struct mot_bytes *data)
{
    int rc = name ? mot_grow((void **)&r->part, r->n_parts, &r->capacity, sizeof *r->part) : MOT_ENOMEM;
    if (rc) {
        mot_free(name);
        mot_bytes_free(data);
        return rc;
    }
    r->part[r->n_parts++] = (struct mot_part){kind, name, *data};
    r->bytes += data->n;
    *data = (struct mot_bytes){0};
    return MOT_OK;
}

int mot_raw_add_file(struct mot_raw *r, enum mot_file kind, const char *path)
{
    struct mot_bytes data = {0};
    const char *spoken = strcmp(path, "-") == 0 ? "standard input" : path;
    int rc = mot_read_file(path, MOT_RECORD_LIMIT, &data);
    if (rc == MOT_EFORMAT && kind == MOT_FILE_TEXT)
        rc = mot_fail(rc, "%s: a text of more than %zu MB" USE_LINES, spoken, MOT_RECORD_LIMIT >> 20);
    else if (rc == MOT_ENOMEM)
        rc = mot_fail(rc, "%s: %s%s", spoken, mot_error(), kind == MOT_FILE_TEXT ? USE_LINES : "");
    if (!rc)
        return mot_raw_add(r, kind, mot_strdup(path), &data);
    mot_bytes_free(&data);
    return rc;
}

int mot_check_regular(const char *path)
{
    struct stat st;
    bool other = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    return other ? mot_fail(MOT_EFORMAT, "%s: not a file, but a folder, pipe or device", path) : MOT_OK;
}

int mot_raw_fail(struct mot_raw *r, int status)
{
    r->status = status;
    r->failure = mot_strdup(mot_error());
    return r->failure ? MOT_OK : MOT_ENOMEM;
}

const char *mot_raw_advice(const struct mot_raw *r)
{
    bool whole = r->n_parts == 1 && r->part != &r->only && r->part[0].kind == MOT_FILE_TEXT;
    bool file = whole && (strcmp(r->part[0].name, "-") == 0 || strcmp(r->part[0].name, r->name) == 0);
    return file ? USE_LINES : "";
}

void mot_raw_free(struct mot_raw *r)
{
    if (!r)
        return;
    bool line = r->part == &r->only;
    for (int i = 0; !line && i < r->n_parts; i++) {
        mot_free(r->part[i].name);
        mot_bytes_free(&r->part[i].data);
    }
    if (!line) {
        mot_free(r->part);
        mot_free(r->name);
    }
    mot_free(r->key);
    mot_free(r->folder);
    mot_free(r->failure);
    mot_free(r);
}

/* ---- decoded ---- */

void mot_item_free(struct mot_item *item)
{
    mot_bytes_free(&item->text);
    mot_image_free(&item->image);
    mot_audio_free(&item->speech);
    mot_ids_free(&item->ids);
    mot_free(item->aligned);
    item->aligned = NULL;
    item->n_aligned = 0;
}

void mot_building_clear(struct mot_building *b)
{
    for (int i = 0; i < b->r.n_items; i++)
        mot_item_free(&b->r.item[i]);
    mot_free(b->r.name);
    b->r.name = NULL;
    b->r.n_items = 0;
    b->r.ordered = false;
    b->bytes = 0;
    mot_free(b->key);
    b->key = NULL;
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
        mot_item_free(item);
        return rc;
    }
    b->r.item[b->r.n_items++] = *item;
    b->bytes += bytes;
    return MOT_OK;
}

static int add_text(struct mot_building *b, const void *text, size_t n, const char *name)
{
    struct mot_item item = {.kind = MOT_KIND_TEXT, .bytes = (int64_t)n};
    int rc = mot_bytes_append(&item.text, text, n);
    return rc ? rc : append(b, &item, n, name);
}

static int add_image(struct mot_building *b, const void *data, size_t n, const char *name)
{
    struct mot_item item = {.kind = MOT_KIND_IMAGE, .bytes = (int64_t)n};
    int rc = mot_image_load(&item.image, data, n, name);
    return rc ? rc : append(b, &item, 3 * (size_t)item.image.width * (size_t)item.image.height, name);
}

static int add_sound(struct mot_building *b, const void *data, size_t n, const char *name)
{
    struct mot_item item = {.kind = MOT_KIND_SPEECH, .bytes = (int64_t)n};
    int rc = mot_audio_load(&item.speech, data, n, name);
    return rc ? rc : append(b, &item, (size_t)item.speech.n * sizeof *item.speech.sample, name);
}

static int add_ids(struct mot_building *b, const void *data, size_t n, const char *name)
{
    struct mot_item item = {.kind = MOT_KIND_IDS, .bytes = (int64_t)n};
    int rc = mot_ids_append(&item.ids, data, (int64_t)(n / sizeof(int32_t)));
    return rc ? rc : append(b, &item, n, name);
}

static int add_part(struct mot_building *b, enum mot_file kind, const void *data, size_t n, const char *name)
{
    switch (kind) {
    case MOT_FILE_TEXT: return add_text(b, data, n, name);
    case MOT_FILE_IMAGE: return add_image(b, data, n, name);
    case MOT_FILE_SOUND: return add_sound(b, data, n, name);
    case MOT_FILE_IDS: return add_ids(b, data, n, name);
    default: return mot_fail(MOT_EARG, "%s: no text, picture or sound", name);
    }
}

static int add_file(struct mot_building *b, enum mot_file kind, const char *path)
{
    struct mot_bytes data = {0};
    int rc = mot_check_regular(path);
    if (!rc)
        rc = mot_read_file(path, MOT_RECORD_LIMIT, &data);
    if (!rc)
        rc = add_part(b, kind, data.data, data.n, path);
    mot_bytes_free(&data);
    return rc;
}

/* ---- alignments (alignment.c) ---- */

/* "alignment" of an object, if it has one, to the sound among the items from `from` on. */
static int add_alignment(struct mot_building *b, int from, const char *name, const json_t *o)
{
    const json_t *spans = json_object_get(o, "alignment");
    struct mot_item *sound = NULL;
    if (!spans || json_is_null(spans))
        return MOT_OK;
    if (!json_is_array(spans))
        return mot_fail(MOT_EFORMAT, "%s: key \"alignment\": expected an array", name);
    for (int i = from; i < b->r.n_items; i++) {
        if (b->r.item[i].kind != MOT_KIND_SPEECH)
            continue;
        if (sound)
            return mot_fail(MOT_EFORMAT, "%s: an alignment of which sound? There are several", name);
        sound = &b->r.item[i];
    }
    if (!sound)
        return mot_fail(MOT_EFORMAT, "%s: an alignment without a sound", name);
    return mot_alignment_read(sound, name, spans);
}

/* A sound's spans are its text where there is no other. */
static int add_aligned_text(struct mot_building *b, const char *name)
{
    struct mot_bytes text = {0};
    int rc = MOT_OK;
    for (int i = 0; i < b->r.n_items; i++)
        if (b->r.item[i].kind == MOT_KIND_TEXT)
            return MOT_OK;
    for (int i = 0, end = b->r.n_items; !rc && i < end; i++) {
        if (b->r.item[i].n_aligned == 0)
            continue;
        text.n = 0;
        rc = mot_item_words(&b->r.item[i], 0, b->r.item[i].n_aligned, &text);
        if (!rc)
            rc = add_text(b, text.data, text.n, name);
    }
    mot_bytes_free(&text);
    return rc;
}

/* ---- files that stand together ---- */

/* {"text": "..."} or {"caption": "..."}, what stands beside a picture in many tars, and {"alignment": [...]}, beside a sound.
 * An object with none of them is metadata. */
static int add_caption(struct mot_building *b, const struct mot_part *p, bool has_text)
{
    json_t *j = mot_json_parse(p->name, p->data.data, p->data.n);
    if (!j)
        return has_text ? MOT_OK : MOT_EFORMAT; /* what is not needed need not be good */
    const json_t *s = json_object_get(j, "text");
    if (!s)
        s = json_object_get(j, "caption");
    int rc = add_alignment(b, 0, p->name, j);
    if (!rc && !has_text && json_is_string(s))
        rc = add_text(b, json_string_value(s), json_string_length(s), p->name);
    json_decref(j);
    return rc;
}

/* JSON is a caption only where there is no text file, and looked into for an alignment only where there is a sound. */
static int add_parts(struct mot_building *b, const struct mot_raw *r)
{
    bool has_text = false, has_sound = false;
    int rc = MOT_OK;
    for (int i = 0; !rc && i < r->n_parts; i++) {
        const struct mot_part *p = &r->part[i];
        has_text |= p->kind == MOT_FILE_TEXT;
        has_sound |= p->kind == MOT_FILE_SOUND;
        if (p->kind != MOT_FILE_JSON)
            rc = add_part(b, p->kind, p->data.data, p->data.n, p->name);
    }
    for (int i = 0; !rc && i < r->n_parts; i++)
        if (r->part[i].kind == MOT_FILE_JSON && (!has_text || has_sound))
            rc = add_caption(b, &r->part[i], has_text);
    if (!rc && b->r.n_items == 0)
        rc = mot_fail(MOT_EFORMAT, "%s: no text in it: expected a key \"text\" or \"caption\"", r->name);
    if (!rc)
        rc = add_aligned_text(b, r->name);
    mot_building_sort(b);
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
    if (!path || (!b->key && !(b->key = mot_strdup(file)))) {
        mot_free(path);
        return MOT_ENOMEM;
    }
    rc = add_file(b, kind, path);
    mot_free(path);
    return rc ? mot_fail(rc, "%s: %s", name, mot_error()) : MOT_OK;
}

/* The keys text, image, speech of an object, those there are, and alignment. */
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
    return rc ? rc : add_alignment(b, before, name, o);
}

static int add_object(struct mot_building *b, const char *name, const char *folder, const json_t *o)
{
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: expected a JSON object", name);
    const json_t *segments = json_object_get(o, "segments");
    if (!segments) {
        int rc = add_keys(b, name, folder, o);
        return rc ? rc : add_aligned_text(b, name);
    }
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

static int add_json(struct mot_building *b, const struct mot_raw *r)
{
    const struct mot_part *p = &r->part[0];
    json_t *o = mot_json_parse(r->name, p->data.data, p->data.n);
    if (!o)
        return MOT_EFORMAT;
    int rc = add_object(b, r->name, r->folder, o);
    json_decref(o);
    return rc;
}

int mot_raw_decode(const struct mot_raw *r, struct mot_building *b)
{
    mot_building_clear(b);
    if (r->status)
        return mot_fail(r->status, "%s", r->failure);
    b->r.name = mot_strdup(r->name);
    if (!b->r.name)
        return MOT_ENOMEM;
    int rc = r->n_parts == 1 && r->part[0].kind == MOT_FILE_JSONL ? add_json(b, r) : add_parts(b, r);
    return rc == MOT_ENOMEM ? mot_fail(rc, "%s: %s%s", r->name, mot_error(), mot_raw_advice(r)) : rc;
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
