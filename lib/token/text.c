/* SPDX-License-Identifier: MIT
 *
 * text.c - from bytes to ids, as tokenizer.json describes the way:
 *
 *   bytes -> runs of valid UTF-8 | added tokens | normalizers | normalized added
 *   tokens | pre-tokenizers -> pieces -> BPE
 *
 * Nothing is kept as a list: each stage hands its pieces to the next one as it finds them, so that
 * memory does not grow with the text.  Bytes that are not UTF-8 go straight to the byte symbols of
 * the vocabulary; what `tokenizers` puts before a text is put before its first run alone, so that
 * decoding gives the bytes back.
 */
#include "token.h"

/* ---- matches ---- */

/* Walks the matches of a pattern; an empty match right after another one does not count. */
struct walk {
    const struct mot_regex *regex;
    struct mot_matcher *matcher;
    const unsigned char *p;
    size_t n, from, last;
};

/* *begin = SIZE_MAX at the end. */
static int next_match(struct walk *w, size_t *begin, size_t *end)
{
    while (w->from <= w->n) {
        int rc = mot_regex_find(w->regex, w->matcher, w->p, w->n, w->from, begin, end);
        if (rc || *begin == SIZE_MAX)
            return rc;
        if (*begin != *end || *end != w->last) {
            w->from = w->last = *end;
            return MOT_OK;
        }
        int size = 1;
        if (w->from < w->n)
            mot_utf8_get(w->p + w->from, &size);
        w->from += (size_t)size;
    }
    *begin = *end = SIZE_MAX;
    return MOT_OK;
}

int mot_text_replace(const struct mot_text_step *step, struct mot_matcher *m,
                     const unsigned char *p, size_t n, struct mot_bytes *out)
{
    struct walk w = {&step->regex, m, p, n, 0, SIZE_MAX};
    size_t done = 0;
    int rc = MOT_OK;
    while (!rc) {
        size_t begin, end;
        rc = next_match(&w, &begin, &end);
        if (rc || begin == SIZE_MAX)
            break;
        rc = mot_bytes_append(out, p + done, begin - done);
        if (!rc)
            rc = mot_bytes_append(out, step->with, step->with_n);
        done = end;
    }
    return rc ? rc : mot_bytes_append(out, p + done, n - done);
}

/* ---- pre-tokenizers ---- */

struct cutter {
    const struct mot_text_step *split;
    int n;
    struct mot_text_state *s;
    mot_piece_sink *sink;
    void *context;
};

static int cut(const struct cutter *c, int k, const unsigned char *p, size_t n, bool first);

static int add_piece(struct mot_pieces *a, size_t begin, size_t end, bool match)
{
    int rc = mot_grow((void **)&a->piece, a->n, &a->capacity, sizeof *a->piece);
    if (!rc)
        a->piece[a->n++] = (struct mot_piece){begin, end, match};
    return rc;
}

/* Matches and what lies between them, joined as the behavior says: a match to its neighbour, or
 * equals together. */
static void join_pieces(struct mot_pieces *a, enum mot_behavior behavior)
{
    int64_t n = 0;
    bool previous = false;
    if (behavior == MOT_WITH_NEXT) {
        int64_t to = a->n;
        for (int64_t i = a->n - 1; i >= 0; i--) {
            struct mot_piece x = a->piece[i];
            if (x.match && !previous && to < a->n)
                a->piece[to].begin = x.begin;
            else
                a->piece[--to] = x;
            previous = x.match;
        }
        memmove(a->piece, a->piece + to, (size_t)(a->n - to) * sizeof *a->piece);
        a->n -= to;
        return;
    }
    for (int64_t i = 0; i < a->n; i++) {
        struct mot_piece x = a->piece[i];
        bool join = behavior == MOT_CONTIGUOUS ? x.match == previous : x.match && !previous;
        if (join && n > 0)
            a->piece[n - 1].end = x.end;
        else
            a->piece[n++] = x;
        previous = x.match;
    }
    a->n = n;
}

static int cut_joined(const struct cutter *c, int k, struct walk *w, bool first)
{
    const struct mot_text_step *step = &c->split[k];
    struct mot_pieces *a = &c->s->pieces[k];
    size_t done = 0;
    int rc = MOT_OK;
    a->n = 0;
    while (!rc) {
        size_t begin, end;
        rc = next_match(w, &begin, &end);
        if (rc || begin == SIZE_MAX)
            break;
        if (done < begin)
            rc = add_piece(a, done, begin, step->invert);
        if (!rc)
            rc = add_piece(a, begin, end, !step->invert);
        done = end;
    }
    if (!rc && done < w->n)
        rc = add_piece(a, done, w->n, step->invert);
    if (!rc)
        join_pieces(a, step->behavior);
    for (int64_t i = 0; !rc && i < a->n; i++)
        rc = cut(c, k + 1, w->p + a->piece[i].begin, a->piece[i].end - a->piece[i].begin,
                 first && a->piece[i].begin == 0);
    return rc;
}

static int cut_split(const struct cutter *c, int k, const unsigned char *p, size_t n, bool first)
{
    const struct mot_text_step *step = &c->split[k];
    struct walk w = {&step->regex, &c->s->matcher, p, n, 0, SIZE_MAX};
    if (step->behavior != MOT_REMOVED && step->behavior != MOT_ISOLATED)
        return cut_joined(c, k, &w, first);
    bool keep_match = step->behavior == MOT_ISOLATED || step->invert;
    bool keep_rest = step->behavior == MOT_ISOLATED || !step->invert;
    size_t done = 0;
    for (;;) {
        size_t begin, end;
        int rc = next_match(&w, &begin, &end);
        if (rc)
            return rc;
        if (begin == SIZE_MAX)
            break;
        if (done < begin && keep_rest)
            rc = cut(c, k + 1, p + done, begin - done, first && done == 0);
        if (!rc && keep_match)
            rc = cut(c, k + 1, p + begin, end - begin, first && begin == 0);
        if (rc)
            return rc;
        done = end;
    }
    return keep_rest && done < n ? cut(c, k + 1, p + done, n - done, first && done == 0) : MOT_OK;
}

static int cut_metaspace(const struct cutter *c, int k, const unsigned char *p, size_t n,
                         bool first)
{
    const struct mot_text_step *step = &c->split[k];
    struct mot_bytes *b = &c->s->piece[k];
    b->n = 0;
    bool starts = p[0] == ' ' || (n >= step->with_n && memcmp(p, step->with, step->with_n) == 0);
    bool prepend = step->prepend == MOT_ALWAYS || (step->prepend == MOT_FIRST && first);
    int rc = prepend && !starts ? mot_bytes_append(b, step->with, step->with_n) : MOT_OK;
    for (size_t i = 0; !rc && i < n;) {
        const unsigned char *q = memchr(p + i, ' ', n - i);
        size_t end = q ? (size_t)(q - p) : n;
        rc = mot_bytes_append(b, p + i, end - i);
        if (!rc && q)
            rc = mot_bytes_append(b, step->with, step->with_n);
        i = end + 1;
    }
    return rc ? rc : cut(c, k + 1, b->data, b->n, first);
}

static int cut_letters(const struct cutter *c, int k, const unsigned char *p, size_t n, bool first)
{
    struct mot_bytes *b = &c->s->piece[k];
    b->n = 0;
    int rc = mot_letters_of_bytes(p, n, b);
    return rc ? rc : cut(c, k + 1, b->data, b->n, first);
}

static int cut(const struct cutter *c, int k, const unsigned char *p, size_t n, bool first)
{
    if (n == 0)
        return MOT_OK;
    if (k == c->n)
        return c->sink(c->context, p, n);
    if (c->split[k].kind == MOT_STEP_SPLIT)
        return cut_split(c, k, p, n, first);
    if (c->split[k].kind == MOT_STEP_METASPACE)
        return cut_metaspace(c, k, p, n, first);
    if (c->split[k].kind == MOT_STEP_LETTERS)
        return cut_letters(c, k, p, n, first);
    if (p[0] == ' ') /* MOT_STEP_SPACE */
        return cut(c, k + 1, p, n, first);
    struct mot_bytes *b = &c->s->piece[k];
    b->n = 0;
    int rc = mot_bytes_append(b, " ", 1);
    if (!rc)
        rc = mot_bytes_append(b, p, n);
    return rc ? rc : cut(c, k + 1, b->data, b->n, first);
}

int mot_text_pieces(const struct mot_text_step *split, int n_split, struct mot_text_state *s,
                    const unsigned char *p, size_t n, bool first, mot_piece_sink *sink,
                    void *context)
{
    struct cutter c = {split, n_split, s, sink, context};
    return cut(&c, 0, p, n, first);
}

/* ---- the whole way ---- */

struct run {
    const struct mot_text *t;
    struct mot_text_state *s;
    struct mot_ids *out;
    bool continued; /* text came before this run */
};

static int to_model(void *context, const unsigned char *p, size_t n)
{
    struct run *r = context;
    return mot_bpe_encode(&r->t->bpe, &r->s->bpe, p, n, true, r->out);
}

typedef int stage(struct run *r, const unsigned char *p, size_t n, bool first);

static bool word_before(const unsigned char *p, size_t at)
{
    if (at == 0)
        return false;
    size_t i = at - 1;
    while ((p[i] & 0xc0) == 0x80)
        i--;
    int size;
    return mot_is_word(mot_utf8_get(p + i, &size));
}

/* Append the ids of added tokens, and hand what lies between them to the next stage. */
static int extract(struct run *r, const struct mot_trie *trie, const unsigned char *p, size_t n,
                   bool first, stage *next)
{
    size_t done = 0, from = 0, begin, end;
    int size;
    for (int32_t k; (k = mot_trie_find(trie, p, n, from, &begin, &end)) >= 0;) {
        const struct mot_added *a = &r->t->added[k];
        from = end;
        if (a->single_word &&
            (word_before(p, begin) || (end < n && mot_is_word(mot_utf8_get(p + end, &size)))))
            continue;
        if (a->lstrip)
            while (begin > done) {
                size_t last = begin - 1;
                while ((p[last] & 0xc0) == 0x80)
                    last--;
                if (!mot_is_space(mot_utf8_get(p + last, &size)))
                    break;
                begin = last;
            }
        if (a->rstrip)
            while (end < n && mot_is_space(mot_utf8_get(p + end, &size)))
                end += (size_t)size;
        if (a->lstrip && begin < done) /* white space that a token before this one has taken */
            begin = done;
        int rc = done < begin ? next(r, p + done, begin - done, first && done == 0) : MOT_OK;
        if (!rc && begin < end)
            rc = mot_ids_append(r->out, &a->id, 1);
        if (rc)
            return rc;
        done = end;
    }
    return done < n ? next(r, p + done, n - done, first && done == 0) : MOT_OK;
}

static int pieces(struct run *r, const unsigned char *p, size_t n, bool first)
{
    return mot_text_pieces(r->t->split, r->t->n_split, r->s, p, n, first && !r->continued, to_model,
                           r);
}

static int normal(struct run *r, const unsigned char *p, size_t n, bool first)
{
    int rc = mot_text_normalize(r->t, r->s, r->continued && first, &p, &n, &first);
    return rc ? rc : extract(r, &r->t->normalized, p, n, first, pieces);
}

/* Bytes that are not UTF-8. */
static int encode_bytes(const struct mot_text *t, struct mot_text_state *s, const unsigned char *p, size_t n,
                        struct mot_ids *out)
{
    if (!t->letters)
        return mot_bpe_encode(&t->bpe, &s->bpe, p, n, false, out);
    s->normal[0].n = 0;
    int rc = mot_letters_of_bytes(p, n, &s->normal[0]);
    return rc ? rc : mot_bpe_encode(&t->bpe, &s->bpe, s->normal[0].data, s->normal[0].n, true, out);
}

int mot_text_encode(const struct mot_text *t, struct mot_text_state *s, const void *text, size_t n,
                    struct mot_ids *out)
{
    const unsigned char *p = text;
    struct run r = {t, s, out, false};
    int rc = MOT_OK;
    while (!rc && n > 0) {
        size_t valid = mot_utf8_valid(p, n);
        rc = extract(&r, &t->plain, p, valid, true, normal);
        size_t end = valid;
        while (end < n && mot_utf8_valid(p + end, n - end < 4 ? n - end : 4) == 0)
            end++;
        if (!rc)
            rc = encode_bytes(t, s, p + valid, end - valid, out);
        r.continued = true;
        p += end;
        n -= end;
    }
    return rc;
}

/* ---- memory ---- */

static void steps_free(struct mot_text_step *step, int n)
{
    for (int i = 0; i < n; i++) {
        mot_regex_free(&step[i].regex);
        mot_free(step[i].with);
    }
}

void mot_text_free(struct mot_text *t)
{
    if (!t)
        return;
    steps_free(t->normal, t->n_normal);
    steps_free(t->split, t->n_split);
    steps_free(t->decode, t->n_decode);
    for (int32_t i = 0; i < t->n_added; i++) {
        mot_free(t->added[i].text);
        mot_bytes_free(&t->added[i].normal);
    }
    mot_free(t->added);
    mot_free(t->added_of);
    mot_free(t->plain.node);
    mot_free(t->normalized.node);
    mot_ids_free(&t->before);
    mot_ids_free(&t->after);
    mot_bpe_free(&t->bpe);
    mot_free(t->prefix);
    mot_free(t->suffix);
    mot_free(t->name);
    mot_free(t);
}

int mot_text_state_init(struct mot_text_state *s)
{
    *s = (struct mot_text_state){0};
    int rc = mot_bpe_state_init(&s->bpe);
    return rc ? rc : mot_matcher_init(&s->matcher);
}

void mot_text_state_free(struct mot_text_state *s)
{
    mot_bpe_state_free(&s->bpe);
    mot_matcher_free(&s->matcher);
    for (int i = 0; i < 2; i++)
        mot_bytes_free(&s->normal[i]);
    for (int i = 0; i < MOT_MAX_STEPS; i++) {
        mot_bytes_free(&s->piece[i]);
        mot_free(s->pieces[i].piece);
    }
}
