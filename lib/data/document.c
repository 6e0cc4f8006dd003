/* SPDX-License-Identifier: MIT
 *
 * document.c - what a document is made of: a record's parts become ids between delimiters, ids are taken apart again, and
 * both forms are written as a line of JSON.
 *
 *   <|bos|>  text  <|boi|> picture <|eoi|>  <|bos_speech|> sound <|eos_speech|>  ...  <|eos|>
 *
 * The delimiters are text ids.  A text may contain the same ids (its author wrote "<|eos|>"), so only one id at each place
 * where a delimiter belongs counts as one; everything else is content and comes back as it went in.
 */
#include "../base/json.h"

/* ---- records to ids ---- */

static int put(struct mot_ids *out, int32_t id)
{
    return id < 0 ? MOT_OK : mot_ids_append(out, &id, 1); /* a vocabulary may lack a delimiter */
}

static int put_item(struct mot_tokenizer *t, const struct mot_item *item, struct mot_ids *out)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    if (item->kind == MOT_KIND_TEXT)
        return mot_encode_text(t, item->text.data, item->text.n, out);
    bool image = item->kind == MOT_KIND_IMAGE;
    int rc = put(out, image ? v->boi : v->bos_speech);
    int64_t before = out->n;
    if (!rc)
        rc = image ? mot_encode_image(t, &item->image, out) : mot_encode_speech(t, &item->speech, out);
    if (!rc && out->n == before)
        rc = mot_fail(MOT_EARG, "a %s too small for a single token", image ? "picture" : "sound");
    return rc ? rc : put(out, image ? v->eoi : v->eos_speech);
}

/* Texts are put in one pass and pictures and sounds in another, or all as they come. */
enum which { ALL, TEXTS, MEDIA };

static int put_items(struct mot_tokenizer *t, const struct mot_record *r, enum which which, struct mot_ids *out)
{
    for (int i = 0; i < r->n_items; i++) {
        bool text = r->item[i].kind == MOT_KIND_TEXT;
        if (which != ALL && text != (which == TEXTS))
            continue;
        int rc = put_item(t, &r->item[i], out);
        if (rc)
            return rc == MOT_ENOMEM ? rc : mot_fail(rc, "%s: %s", r->name, mot_error());
    }
    return MOT_OK;
}

static int put_body(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                    struct mot_ids *out)
{
    if (r->ordered || o->media_first < 0)
        return put_items(t, r, ALL, out);
    bool media_first = mot_random_uniform(o->seed, mot_stream("order"), (uint64_t)index) < o->media_first;
    int rc = put_items(t, r, media_first ? MEDIA : TEXTS, out);
    return rc ? rc : put_items(t, r, media_first ? TEXTS : MEDIA, out);
}

/* The ids around a document, and its body between them. */
static int put_document(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                        struct mot_ids *out)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    struct mot_ids before = {0}, after = {0};
    int rc = MOT_OK;
    if (o->add_special)
        rc = mot_special_around(t, &before, &after);
    else if (!o->raw)
        rc = put(&before, v->bos) ? MOT_ENOMEM : put(&after, v->eos);
    if (!rc)
        rc = mot_ids_append(out, before.id, before.n);
    if (!rc)
        rc = put_body(t, o, r, index, out);
    if (!rc)
        rc = mot_ids_append(out, after.id, after.n);
    mot_ids_free(&before);
    mot_ids_free(&after);
    return rc;
}

int mot_doc_encode(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                   struct mot_ids *out, int64_t *text_bytes)
{
    int64_t bytes = 0, n = out->n;
    bool media = false;
    for (int i = 0; i < r->n_items; i++) {
        bytes += (int64_t)r->item[i].text.n; /* 0 in items of another kind */
        media |= r->item[i].kind != MOT_KIND_TEXT;
    }
    if (bytes == 0 && !media)
        return mot_fail(MOT_EARG, "%s: empty: no text, picture or sound in it", r->name);
    int rc = put_document(t, o, r, index, out);
    if (rc)
        out->n = n;
    else
        *text_bytes = bytes;
    return rc;
}

/* ---- ids to parts ---- */

/* The ids that stand before and after a run of a modality; -1: none. */
static void delimiters(const struct mot_vocab *v, int modality, int32_t *before, int32_t *after)
{
    const char *name = v->modality[modality].name;
    bool image = strcmp(name, "image") == 0, speech = strcmp(name, "speech") == 0;
    *before = image ? v->boi : speech ? v->bos_speech : -1;
    *after = image ? v->eoi : speech ? v->eos_speech : -1;
}

struct mot_span mot_doc_part(const struct mot_vocab *v, const struct mot_doc *d, int i, bool raw)
{
    struct mot_span s = d->span[i];
    if (s.modality != 0)
        return s;
    int32_t first = raw ? -1 : v->bos, last = raw ? -1 : v->eos, unused;
    if (i > 0)
        delimiters(v, d->span[i - 1].modality, &unused, &first);
    if (i + 1 < d->n_spans)
        delimiters(v, d->span[i + 1].modality, &last, &unused);
    if (first >= 0 && s.n > 0 && d->id[s.begin] == first)
        s.begin++, s.n--;
    if (last >= 0 && s.n > 0 && d->id[s.begin + s.n - 1] == last)
        s.n--;
    return s;
}

/* ---- JSON ---- */

static int put_ids(struct mot_bytes *out, const int32_t *id, int64_t n)
{
    enum { PIECE = 1024, DIGITS = 11 };
    for (int64_t i = 0; i < n;) {
        char text[PIECE * (DIGITS + 1)];
        size_t used = 0;
        for (int64_t end = n - i < PIECE ? n : i + PIECE; i < end; i++) {
            char digit[DIGITS];
            int k = DIGITS;
            for (uint32_t x = (uint32_t)id[i]; k == DIGITS || x; x /= 10)
                digit[--k] = (char)('0' + x % 10);
            if (i)
                text[used++] = ',';
            memcpy(text + used, digit + k, (size_t)(DIGITS - k));
            used += (size_t)(DIGITS - k);
        }
        int rc = mot_bytes_append(out, text, used);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

int mot_doc_format(const struct mot_vocab *v, const struct mot_doc *d, struct mot_bytes *out)
{
    int rc = mot_bytes_format(out, "{\"segments\":[");
    for (int i = 0; !rc && i < d->n_spans; i++) {
        const struct mot_span *s = &d->span[i];
        rc = mot_bytes_format(out, "%s{\"modality\":\"%s\",\"ids\":[", i ? "," : "", v->modality[s->modality].name);
        if (!rc)
            rc = put_ids(out, d->id + s->begin, s->n);
        if (!rc)
            rc = mot_bytes_append(out, "]}", 2);
    }
    return rc ? rc : mot_bytes_format(out, "],\"bytes\":%lld}\n", (long long)d->text_bytes);
}

static int parse_segment(const struct mot_vocab *v, const char *name, const json_t *o, struct mot_ids *out)
{
    const char *modality = NULL;
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: a segment is not an object", name);
    int rc = mot_json_string(o, name, "modality", &modality);
    if (rc)
        return rc;
    int m = modality ? mot_vocab_find(v, modality) : -1;
    if (m < 0)
        return mot_fail(MOT_EFORMAT, "%s: modality \"%.40s\" is not in the vocabulary", name, modality ? modality : "");
    const json_t *ids = json_object_get(o, "ids");
    if (!json_is_array(ids))
        return mot_fail(MOT_EFORMAT, "%s: expected \"ids\": an array", name);
    int64_t first = v->modality[m].first, last = first + v->modality[m].n - 1;
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *x = json_array_get(ids, i);
        if (!json_is_integer(x) || json_integer_value(x) < first || json_integer_value(x) > last)
            return mot_fail(MOT_EFORMAT, "%s: id %zu of a segment: expected a whole number from %lld to %lld, those of %s",
                            name, i, (long long)first, (long long)last, modality);
        int32_t id = (int32_t)json_integer_value(x);
        rc = mot_ids_append(out, &id, 1);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

int mot_doc_parse(const struct mot_vocab *v, const char *name, const void *line, size_t n, struct mot_ids *out,
                  int64_t *text_bytes)
{
    json_t *o = mot_json_parse(name, line, n);
    if (!o)
        return MOT_EFORMAT;
    int64_t before = out->n, bytes = 0;
    const json_t *segments = json_object_get(o, "segments");
    int rc = json_is_array(segments) ? mot_json_int(o, name, "bytes", 0, INT64_MAX, &bytes)
                                     : mot_fail(MOT_EFORMAT, "%s: expected an object with \"segments\": an array", name);
    for (size_t i = 0; !rc && i < json_array_size(segments); i++)
        rc = parse_segment(v, name, json_array_get(segments, i), out);
    json_decref(o);
    if (rc)
        out->n = before;
    else
        *text_bytes = bytes;
    return rc;
}
