/* SPDX-License-Identifier: MIT
 *
 * decode.c - from ids back to bytes, through the decoders that tokenizer.json names.
 *
 * Byte-level vocabularies (one decoder, which turns letters into bytes) are appended token by
 * token.  Otherwise the tokens' strings are a list, and each decoder makes another list of it.
 * Strings are UTF-8: where bytes are not, U+FFFD stands, as in `tokenizers`; only what a byte-level
 * decoder makes at the very end is left as the bytes it was, which mot_utf8_lossy makes the same.
 */
#include "token.h"

/* A list of strings: pieces of one buffer. The two lists of a decoding are filled in turn. */
struct list {
    struct mot_bytes *bytes;
    struct mot_pieces *piece;
};

static int begin_string(struct list *l)
{
    struct mot_pieces *a = l->piece;
    int rc = mot_grow((void **)&a->piece, a->n, &a->capacity, sizeof *a->piece);
    if (!rc)
        a->piece[a->n++] = (struct mot_piece){l->bytes->n, l->bytes->n, false};
    return rc;
}

/* Add to the last string. */
static int extend(struct list *l, const unsigned char *p, size_t n)
{
    int rc = mot_bytes_append(l->bytes, p, n);
    l->piece->piece[l->piece->n - 1].end = l->bytes->n;
    return rc;
}

static int add_string(struct list *l, const unsigned char *p, size_t n)
{
    int rc = begin_string(l);
    return rc ? rc : extend(l, p, n);
}

static bool same_text(const struct mot_bytes *a, const char *text, size_t n)
{
    return a->n == n && memcmp(a->data, text, n) == 0;
}

/* Added tokens decode to what the normalizers made of them, and by that text they are special or not. */
static bool is_special(const struct mot_text *t, const struct mot_added *a)
{
    if (!a->normalized || same_text(&a->normal, a->text, a->n))
        return a->special;
    for (int32_t i = 0; i < t->n_added; i++)
        if (t->added[i].special && same_text(&a->normal, t->added[i].text, t->added[i].n))
            return true;
    return false;
}

static const unsigned char *text_of(const struct mot_text *t, int32_t id, bool skip_special,
                                    size_t *n)
{
    if (id < 0 || id >= t->n_ids)
        return NULL;
    if (t->added_of[id] < 0)
        return mot_bpe_text(&t->bpe, id, n);
    const struct mot_added *a = &t->added[t->added_of[id]];
    *n = a->normalized ? a->normal.n : a->n;
    if (skip_special && is_special(t, a))
        return NULL;
    return a->normalized ? a->normal.data : (const unsigned char *)a->text;
}

/* ---- the decoders ---- */

/* The byte of "<0xHH>", or -1. */
static int fallback_byte(const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char *d = p[i] ? strchr(digits, p[i]) : NULL;
        if (!d)
            return -1;
        int digit = (int)(d - digits);
        value = value * 16 + (digit < 16 ? digit : digit - 6);
    }
    return value;
}

/* A run of byte tokens: one string if it is UTF-8, else a U+FFFD a byte. */
static int end_run(struct list *to, size_t begin)
{
    size_t n = to->bytes->n - begin;
    if (n == 0)
        return MOT_OK;
    int rc = MOT_OK;
    if (mot_utf8_valid(to->bytes->data + begin, n) == n) {
        rc = begin_string(to);
        to->piece->piece[to->piece->n - 1].begin = begin;
        return rc;
    }
    to->bytes->n = begin;
    for (size_t i = 0; !rc && i < n; i++)
        rc = add_string(to, (const unsigned char *)"\xef\xbf\xbd", 3);
    return rc;
}

static int fallback(const struct list *from, struct list *to)
{
    size_t run = 0; /* where in to's bytes the run at hand begins */
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const struct mot_piece *s = &from->piece->piece[i];
        const unsigned char *p = from->bytes->data + s->begin;
        int byte = fallback_byte(p, s->end - s->begin);
        unsigned char c = (unsigned char)byte;
        if (byte >= 0) {
            rc = mot_bytes_append(to->bytes, &c, 1);
            continue;
        }
        rc = end_run(to, run);
        if (!rc)
            rc = add_string(to, p, s->end - s->begin);
        run = to->bytes->n;
    }
    return rc ? rc : end_run(to, run);
}

static int fuse(const struct list *from, struct list *to)
{
    int rc = begin_string(to);
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const struct mot_piece *s = &from->piece->piece[i];
        rc = extend(to, from->bytes->data + s->begin, s->end - s->begin);
    }
    return rc;
}

/* All tokens become the bytes that their letters stand for; last: they need not be UTF-8. */
static int letters(const struct list *from, struct list *to, bool last)
{
    struct mot_bytes raw = {0}, *out = last ? to->bytes : &raw;
    int rc = begin_string(to);
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const struct mot_piece *s = &from->piece->piece[i];
        const unsigned char *p = from->bytes->data + s->begin;
        size_t n = s->end - s->begin;
        bool all;
        rc = mot_bytes_of_letters(p, n, out, &all);
    }
    if (!rc && !last)
        rc = mot_utf8_lossy(raw.data, raw.n, to->bytes);
    mot_bytes_free(&raw);
    to->piece->piece[0].end = to->bytes->n;
    return rc;
}

/* Each suffix becomes a space, in the last string nothing. */
static int suffix(const struct mot_text_step *step, const struct list *from, struct list *to)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const unsigned char *p = from->bytes->data + from->piece->piece[i].begin;
        size_t n = from->piece->piece[i].end - from->piece->piece[i].begin;
        rc = begin_string(to);
        while (!rc && n > 0) {
            const unsigned char *q = step->with_n ? memmem(p, n, step->with, step->with_n) : NULL;
            size_t before = q ? (size_t)(q - p) : n, used = before + (q ? step->with_n : 0);
            rc = extend(to, p, before);
            if (!rc && q && i + 1 < from->piece->n)
                rc = extend(to, (const unsigned char *)" ", 1);
            p += used, n -= used;
        }
    }
    return rc;
}

static int trim(const struct mot_text_step *step, const struct list *from, struct list *to)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const unsigned char *p = from->bytes->data + from->piece->piece[i].begin;
        size_t n = from->piece->piece[i].end - from->piece->piece[i].begin, w = step->with_n;
        for (int64_t k = 0; k < step->left && n >= w && memcmp(p, step->with, w) == 0; k++)
            p += w, n -= w;
        for (int64_t k = 0; k < step->right && n >= w && memcmp(p + n - w, step->with, w) == 0; k++)
            n -= w;
        rc = add_string(to, p, n);
    }
    return rc;
}

/* Replacement letters become spaces; in the first string they vanish, unless none was put before
 * the text. */
static int metaspace(const struct mot_text_step *step, const struct list *from, struct list *to)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const unsigned char *p = from->bytes->data + from->piece->piece[i].begin;
        size_t n = from->piece->piece[i].end - from->piece->piece[i].begin;
        bool vanish = i == 0 && step->prepend != MOT_NEVER;
        rc = begin_string(to);
        while (!rc && n > 0) {
            const unsigned char *q = memmem(p, n, step->with, step->with_n);
            size_t before = q ? (size_t)(q - p) : n;
            rc = extend(to, p, before);
            if (!rc && q && !vanish)
                rc = extend(to, (const unsigned char *)" ", 1);
            size_t used = before + (q ? step->with_n : 0);
            p += used, n -= used;
        }
    }
    return rc;
}

static int replace(const struct mot_text_step *step, struct mot_matcher *m, const struct list *from,
                   struct list *to)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < from->piece->n; i++) {
        const unsigned char *p = from->bytes->data + from->piece->piece[i].begin;
        size_t n = from->piece->piece[i].end - from->piece->piece[i].begin;
        rc = begin_string(to);
        if (!rc && n > 0)
            rc = mot_text_replace(step, m, p, n, to->bytes);
        to->piece->piece[to->piece->n - 1].end = to->bytes->n;
    }
    return rc;
}

static int decode_step(const struct mot_text_step *step, bool last, struct mot_matcher *m,
                       const struct list *from, struct list *to)
{
    switch (step->kind) {
    case MOT_STEP_BYTES:
        return letters(from, to, last);
    case MOT_STEP_SUFFIX:
        return suffix(step, from, to);
    case MOT_STEP_FALLBACK:
        return fallback(from, to);
    case MOT_STEP_FUSE:
        return fuse(from, to);
    case MOT_STEP_TRIM:
        return trim(step, from, to);
    case MOT_STEP_METASPACE:
        return metaspace(step, from, to);
    default:
        return replace(step, m, from, to);
    }
}

static int decode_list(const struct mot_text *t, struct mot_text_state *s, const int32_t *id,
                       int64_t n, bool skip_special, struct mot_bytes *out)
{
    struct list list[2] = {{&s->normal[0], &s->pieces[0]}, {&s->normal[1], &s->pieces[1]}};
    int now = 0, rc = MOT_OK;
    for (int i = 0; !rc && i < 2; i++) {
        list[i].bytes->n = 0;
        list[i].piece->n = 0;
        rc = mot_bytes_reserve(list[i].bytes, 1); /* so that data is never NULL */
    }
    for (int64_t i = 0; !rc && i < n; i++) {
        size_t size;
        const unsigned char *p = text_of(t, id[i], skip_special, &size);
        if (p)
            rc = add_string(&list[0], p, size);
    }
    for (int k = 0; !rc && k < t->n_decode; k++, now = !now) {
        list[!now].bytes->n = 0;
        list[!now].piece->n = 0;
        rc = decode_step(&t->decode[k], k + 1 == t->n_decode, &s->matcher, &list[now], &list[!now]);
    }
    const struct mot_pieces *piece = list[now].piece;
    for (int64_t i = 0; !rc && i < piece->n; i++) {
        if (t->joined && i > 0)
            rc = mot_bytes_append(out, " ", 1);
        if (!rc)
            rc = mot_bytes_append(out, list[now].bytes->data + piece->piece[i].begin,
                                  piece->piece[i].end - piece->piece[i].begin);
    }
    return rc;
}

int mot_text_decode(const struct mot_text *t, struct mot_text_state *s, const int32_t *id,
                    int64_t n, bool skip_special, struct mot_bytes *out)
{
    if (!t->bpe.bytes || t->n_decode != 1 || t->decode[0].kind != MOT_STEP_BYTES)
        return decode_list(t, s, id, n, skip_special, out);
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < n; i++) {
        size_t size;
        bool all;
        const unsigned char *p = text_of(t, id[i], skip_special, &size);
        if (!p)
            continue;
        if (t->added_of[id[i]] >= 0) {
            rc = mot_bytes_of_letters(p, size, out, &all);
        } else {
            p = mot_bpe_raw(&t->bpe, id[i], &size);
            rc = mot_bytes_append(out, p, size);
        }
    }
    return rc;
}
