/* SPDX-License-Identifier: MIT
 *
 * document.c - what a document is made of: a record's parts become ids between delimiters, and ids are taken apart again.
 *
 *   <|bos|>  text  <|boi|> picture <|eoi|>  <|bos_speech|> sound <|eos_speech|>  ...  <|eos|>
 *
 * The delimiters are text ids.  A text may contain the same ids (its author wrote "<|eos|>"), so only one id at each place
 * where a delimiter belongs counts as one; everything else is content and comes back as it went in.
 */
#include <stdlib.h>

#include "source.h"

/* ---- records to ids ---- */

static int put(struct mot_ids *out, int32_t id)
{
    return id < 0 ? MOT_OK : mot_ids_append(out, &id, 1); /* a vocabulary may lack a delimiter */
}

static int put_sound(struct mot_tokenizer *t, const struct mot_audio *a, struct mot_ids *out)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    int rc = put(out, v->bos_speech);
    int64_t before = out->n;
    if (!rc)
        rc = mot_encode_speech(t, a, out);
    if (!rc && out->n == before)
        rc = mot_fail(MOT_EARG, "a sound too small for a single token");
    return rc ? rc : put(out, v->eos_speech);
}

/* A token for each of the picture's vectors. */
static int put_vectors(struct mot_tokenizer *t, const struct mot_image *im, int32_t id, struct mot_ids *out,
                       struct mot_latents *latents)
{
    int rc = mot_encode_latent(t, im, latents);
    for (int64_t n = rc ? 0 : mot_grid_tokens(&latents->grid[latents->n_grids - 1]); !rc && n > 0; n--)
        rc = put(out, id);
    return rc;
}

static int put_picture(struct mot_tokenizer *t, const struct mot_image *im, struct mot_ids *out, struct mot_latents *latents)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    int m = mot_vocab_find(v, "image");
    int rc = put(out, v->boi);
    if (!rc && m >= 0 && v->modality[m].width)
        rc = put_vectors(t, im, v->modality[m].first, out, latents);
    else if (!rc)
        rc = mot_encode_image(t, im, out);
    return rc ? rc : put(out, v->eoi);
}

/* Ids as they are; what the file put around them goes where something of our own will be. */
static int put_ids_item(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_ids *ids, struct mot_ids *out)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    int64_t begin = 0, end = ids->n;
    for (int64_t i = 0; i < ids->n; i++)
        if (ids->id[i] < 0 || ids->id[i] >= v->size)
            return mot_fail(MOT_EARG, "id %d, the vocabulary has 0..%d", ids->id[i], v->size - 1);
        else if (v->modality[mot_vocab_modality(v, ids->id[i])].width)
            return mot_fail(MOT_EARG, "id %d stands for a picture's vector, and ids alone have none", ids->id[i]);
    if (!o->raw && begin < end && v->bos >= 0 && ids->id[begin] == v->bos)
        begin++;
    if (!o->raw && begin < end && v->eos >= 0 && ids->id[end - 1] == v->eos)
        end--;
    return mot_ids_append(out, ids->id + begin, end - begin);
}

static int put_text(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_bytes *text, struct mot_ids *out)
{
    if (!o->utf8)
        return mot_encode_text(t, text->data, text->n, out);
    struct mot_bytes whole = {0};
    int rc = mot_utf8_lossy(text->data, text->n, &whole);
    if (!rc)
        rc = mot_encode_text(t, whole.data, whole.n, out);
    mot_bytes_free(&whole);
    return rc;
}

/* ---- speech and text in turn ---- */

/* The sound of spans [begin, end): from the start of the first to the end of the last. */
static struct mot_audio sound_of(const struct mot_item *item, int64_t begin, int64_t end)
{
    int64_t first = (int64_t)(item->aligned[begin].start * item->speech.rate), last = first;
    for (int64_t i = begin; i < end; i++) {
        int64_t n = (int64_t)(item->aligned[i].end * item->speech.rate + 0.5);
        last = n > last ? n : last;
    }
    last = last < item->speech.n ? last : item->speech.n;
    first = first < last ? first : last;
    return (struct mot_audio){item->speech.rate, last - first, item->speech.sample + first};
}

/* A run of spans; one that lasts no time can only be text. */
static int put_run(struct mot_tokenizer *t, const struct mot_item *item, int64_t begin, int64_t end, bool speech,
                   struct mot_ids *out, int64_t *text_bytes)
{
    struct mot_audio sound = sound_of(item, begin, end);
    if (speech && sound.n > 0)
        return put_sound(t, &sound, out);
    struct mot_bytes text = {0};
    int rc = mot_item_words(item, begin, end, &text);
    if (!rc)
        rc = mot_encode_text(t, text.data, text.n, out);
    *text_bytes += (int64_t)text.n;
    mot_bytes_free(&text);
    return rc;
}

static int put_interleaved(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_item *item, int64_t index,
                           struct mot_ids *out, int64_t *text_bytes)
{
    bool *change = mot_alloc((size_t)item->n_aligned, sizeof *change), speech = false;
    int rc = change ? MOT_OK : MOT_ENOMEM;
    if (!rc)
        mot_interleave(item, o->changes, o->seed, (uint64_t)index, change);
    for (int64_t begin = 0, end; !rc && begin < item->n_aligned; begin = end) {
        speech ^= change[begin];
        for (end = begin + 1; end < item->n_aligned && !change[end]; end++)
            ;
        rc = put_run(t, item, begin, end, speech, out, text_bytes);
    }
    mot_free(change);
    return rc;
}

static bool is_interleaved(const struct mot_doc_options *o, const struct mot_record *r, int64_t index)
{
    bool aligned = false;
    for (int i = 0; i < r->n_items; i++)
        aligned |= r->item[i].n_aligned > 0;
    return aligned && mot_random_uniform(o->seed, mot_stream("interleaved"), (uint64_t)index) < o->interleave;
}

/* ---- parts in order ---- */

/* Where a record's document goes. */
struct sink {
    struct mot_ids *ids;
    struct mot_latents *latents;
    int64_t text_bytes;
};

static int put_item(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_item *item, bool interleaved,
                    int64_t index, struct sink *out)
{
    switch (item->kind) {
    case MOT_KIND_TEXT: out->text_bytes += (int64_t)item->text.n; return put_text(t, o, &item->text, out->ids);
    case MOT_KIND_IDS: return put_ids_item(t, o, &item->ids, out->ids);
    case MOT_KIND_IMAGE: return put_picture(t, &item->image, out->ids, out->latents);
    default: break;
    }
    if (interleaved && item->n_aligned)
        return put_interleaved(t, o, item, index, out->ids, &out->text_bytes);
    return put_sound(t, &item->speech, out->ids);
}

/* In which order the kinds of items go, of a record that does not say it. */
static void order_of(const struct mot_doc_options *o, int64_t index, enum mot_kind order[4])
{
    static const enum mot_kind text_first[] = {MOT_KIND_TEXT, MOT_KIND_IMAGE, MOT_KIND_SPEECH, MOT_KIND_IDS};
    static const enum mot_kind media_first[] = {MOT_KIND_IMAGE, MOT_KIND_SPEECH, MOT_KIND_TEXT, MOT_KIND_IDS};
    bool media = o->n_order == 0 && mot_random_uniform(o->seed, mot_stream("order"), (uint64_t)index) < o->media_first;
    int n = 0;
    for (; n < o->n_order; n++)
        order[n] = o->order[n];
    for (int i = 0; i < 4; i++) { /* what is not named comes last */
        enum mot_kind kind = media ? media_first[i] : text_first[i];
        bool there = false;
        for (int k = 0; k < n; k++)
            there |= order[k] == kind;
        if (!there)
            order[n++] = kind;
    }
}

static int put_body(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                    struct sink *out)
{
    bool given = r->ordered || (o->n_order == 0 && o->media_first < 0), interleaved = is_interleaved(o, r, index);
    enum mot_kind order[4];
    order_of(o, index, order);
    for (int pass = 0; pass < (given ? 1 : 4); pass++)
        for (int i = 0; i < r->n_items; i++) {
            const struct mot_item *item = &r->item[i];
            /* The text of a record is what its sound says; what is interleaved has it in it. */
            if ((!given && item->kind != order[pass]) || (interleaved && !r->ordered && item->kind == MOT_KIND_TEXT))
                continue;
            int rc = put_item(t, o, item, interleaved, index, out);
            if (rc)
                return rc == MOT_ENOMEM ? rc : mot_fail(rc, "%s: %s", r->name, mot_error());
        }
    return MOT_OK;
}

/* The ids around a document, and its body between them. */
static int put_document(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                        struct sink *out)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    struct mot_ids before = {0}, after = {0};
    int rc = MOT_OK;
    if (o->add_special)
        rc = mot_special_around(t, &before, &after);
    else if (!o->raw)
        rc = put(&before, v->bos) ? MOT_ENOMEM : put(&after, v->eos);
    if (!rc)
        rc = mot_ids_append(out->ids, before.id, before.n);
    if (!rc)
        rc = put_body(t, o, r, index, out);
    if (!rc)
        rc = mot_ids_append(out->ids, after.id, after.n);
    mot_ids_free(&before);
    mot_ids_free(&after);
    return rc;
}

/* Bytes of the text that ids stand for, special tokens apart. */
static int count_bytes(struct mot_tokenizer *t, const struct mot_ids *ids, int64_t *bytes)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    struct mot_bytes text = {0};
    int rc = MOT_OK;
    for (int64_t i = 0, end; !rc && i < ids->n; i = end) {
        int m = mot_vocab_modality(v, ids->id[i]);
        for (end = i + 1; end < ids->n && mot_vocab_modality(v, ids->id[end]) == m; end++)
            ;
        text.n = 0;
        if (m == 0)
            rc = mot_decode_text(t, ids->id + i, end - i, true, &text);
        *bytes += (int64_t)text.n;
    }
    mot_bytes_free(&text);
    return rc;
}

int mot_doc_encode(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                   struct mot_ids *out, struct mot_latents *latents, int64_t *text_bytes)
{
    int64_t n = out->n, values = latents->n, grids = latents->n_grids;
    struct sink sink = {out, latents, 0};
    bool empty = true;
    for (int i = 0; i < r->n_items; i++)
        empty &= r->item[i].kind == MOT_KIND_TEXT && r->item[i].text.n == 0;
    if (empty)
        return mot_fail(MOT_EARG, "%s: empty: no text, picture or sound in it", r->name);
    int rc = put_document(t, o, r, index, &sink);
    for (int i = 0; !rc && i < r->n_items; i++)
        if (r->item[i].kind == MOT_KIND_IDS)
            rc = count_bytes(t, &r->item[i].ids, &sink.text_bytes);
    if (rc)
        out->n = n, latents->n = values, latents->n_grids = grids;
    else
        *text_bytes = sink.text_bytes;
    return rc;
}

/* ---- the order, written out ---- */

static const char *const kind_names[] = {"text", "image", "speech"};

/* "image,text" to kinds. */
static int parse_kinds(struct mot_doc_options *o, const char *s)
{
    o->n_order = 0;
    for (const char *p = s; *p;) {
        size_t n = strcspn(p, ",");
        int kind = 0;
        while (kind < 3 && (strlen(kind_names[kind]) != n || memcmp(p, kind_names[kind], n) != 0))
            kind++;
        if (kind == 3 || (p[n] && !p[n + 1]))
            return mot_fail(MOT_EARG, "\"%s\": expected text, image and speech in the order wanted, with commas, or random[=SHARE]",
                            s);
        for (int i = 0; i < o->n_order; i++)
            if ((int)o->order[i] == kind)
                return mot_fail(MOT_EARG, "\"%s\": %s is there twice", s, kind_names[kind]);
        o->order[o->n_order++] = (enum mot_kind)kind;
        p += n + (p[n] != 0);
    }
    return o->n_order ? MOT_OK : mot_fail(MOT_EARG, "an empty order");
}

int mot_doc_order(struct mot_doc_options *o, const char *s)
{
    char *end;
    o->n_order = 0;
    o->media_first = 0.5;
    if (strcmp(s, "random") == 0)
        return MOT_OK;
    if (strncmp(s, "random=", 7) == 0) {
        o->media_first = strtod(s + 7, &end);
        if (end == s + 7 || *end || !(o->media_first >= 0 && o->media_first <= 1))
            return mot_fail(MOT_EARG, "\"%s\": expected a share from 0 to 1", s);
        return MOT_OK;
    }
    return parse_kinds(o, strcmp(s, "text-first") == 0 ? "text,image,speech"
                          : strcmp(s, "media-first") == 0 ? "image,speech,text"
                                                          : s);
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

const uint16_t *mot_doc_vectors(const struct mot_vocab *v, const struct mot_doc *d, int i)
{
    const uint16_t *value = d->latent;
    for (int k = 0; k < i; k++)
        value += d->span[k].rows ? d->span[k].n * v->modality[d->span[k].modality].width : 0;
    return value;
}

/* A text token that is none of the delimiters. */
static bool is_word(const struct mot_vocab *v, int32_t id)
{
    return id != v->bos && id != v->eos && id != v->boi && id != v->eoi && id != v->bos_speech && id != v->eos_speech;
}

bool mot_has_loss(const struct mot_vocab *v, const int32_t *id, int64_t i)
{
    return v->modality[mot_vocab_modality(v, id[i])].width > 0 ||
           (i > 0 && v->modality[mot_vocab_modality(v, id[i - 1])].width == 0);
}

bool mot_doc_leads(const struct mot_vocab *v, const struct mot_doc *d, int i)
{
    bool before = false, after = false;
    for (int k = 0; k < d->n_spans; k++) {
        const struct mot_span *s = &d->span[k];
        bool words = false;
        for (int64_t j = s->begin; s->modality == 0 && !words && j < s->begin + s->n; j++)
            words = is_word(v, d->id[j]);
        before |= words && k < i;
        after |= words && k > i;
    }
    return after && !before;
}
