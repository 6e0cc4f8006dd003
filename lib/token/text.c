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

/* ---- normalizers ---- */

static void strip(const struct mot_text_step *step, const unsigned char **p, size_t *n)
{
    int size;
    while (step->left && *n && mot_is_space(mot_utf8_get(*p, &size)))
        *p += size, *n -= (size_t)size;
    while (step->right && *n) {
        size_t last = *n - 1;
        while (((*p)[last] & 0xc0) == 0x80)
            last--;
        if (!mot_is_space(mot_utf8_get(*p + last, &size)))
            break;
        *n = last;
    }
}

static int map_characters(mot_map *map, const unsigned char *p, size_t n, struct mot_bytes *out)
{
    int rc = mot_bytes_reserve(out, n), size;
    for (size_t i = 0; !rc && i < n; i += (size_t)size) {
        int32_t to[2];
        unsigned char utf8[8];
        int count = map(mot_utf8_get(p + i, &size), to), length = 0;
        for (int k = 0; k < count; k++)
            length += mot_utf8_put(utf8 + length, to[k]);
        rc = mot_bytes_append(out, utf8, (size_t)length);
    }
    return rc;
}

/* Does a step take away what p starts with?  What is left then does not start where the text does. */
static int takes_start(const struct mot_text_step *step, struct mot_matcher *m, const unsigned char *p, size_t n, bool *takes)
{
    int size;
    int32_t to[2];
    size_t begin, end;
    *takes = false;
    if (n == 0)
        return MOT_OK;
    if (step->kind == MOT_STEP_STRIP)
        *takes = step->left && mot_is_space(mot_utf8_get(p, &size));
    else if (step->kind == MOT_STEP_MAP)
        *takes = step->map(mot_utf8_get(p, &size), to) == 0;
    if (step->kind != MOT_STEP_REPLACE || step->with_n)
        return MOT_OK;
    int rc = mot_regex_find(&step->regex, m, p, n, 0, &begin, &end);
    *takes = !rc && begin == 0 && end > 0;
    return rc;
}

static int normalize_step(const struct mot_text_step *step, struct mot_matcher *m, const unsigned char *p, size_t n,
                          struct mot_bytes *out)
{
    int rc = MOT_OK;
    switch (step->kind) {
    case MOT_STEP_FORM:
        return mot_normal_form(step->form, p, n, out);
    case MOT_STEP_REPLACE:
        return mot_text_replace(step, m, p, n, out);
    case MOT_STEP_MAP:
        return map_characters(step->map, p, n, out);
    case MOT_STEP_LETTERS:
        return mot_letters_of_bytes(p, n, out);
    default: /* MOT_STEP_PREPEND */
        rc = mot_bytes_append(out, step->with, step->with_n);
        return rc ? rc : mot_bytes_append(out, p, n);
    }
}

/* *p and *n become the normalized text, in one of the state's two buffers; continued: nothing is
 * put before; *first is cleared where the text's start is gone. */
static int normalize(const struct mot_text *t, struct mot_text_state *s, bool continued,
                     const unsigned char **p, size_t *n, bool *first)
{
    int side = 0;
    for (int k = 0; k < t->n_normal; k++) {
        const struct mot_text_step *step = &t->normal[k];
        bool takes;
        int rc = takes_start(step, &s->matcher, *p, *n, &takes);
        if (rc)
            return rc;
        *first = *first && !takes;
        if (step->kind == MOT_STEP_STRIP) {
            strip(step, p, n);
            continue;
        }
        if (step->kind == MOT_STEP_PREPEND && (continued || *n == 0))
            continue;
        struct mot_bytes *out = &s->normal[side];
        side = !side;
        out->n = 0;
        rc = normalize_step(step, &s->matcher, *p, *n, out);
        if (!rc)
            rc = mot_bytes_reserve(out, 1); /* so that data is never NULL */
        if (rc)
            return rc;
        *p = out->data;
        *n = out->n;
    }
    return MOT_OK;
}

/* ---- added tokens ---- */

static int trie_add(struct mot_trie *t, const unsigned char *p, size_t n, int32_t token)
{
    int32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t child = t->node[at].child;
        while (child >= 0 && t->node[child].byte != p[i])
            child = t->node[child].sibling;
        if (child < 0) {
            int rc = mot_grow((void **)&t->node, t->n, &t->capacity, sizeof *t->node);
            if (rc)
                return rc;
            child = (int32_t)t->n++;
            t->node[child] = (struct mot_trie_node){p[i], -1, t->node[at].child, -1};
            t->node[at].child = child;
        }
        at = child;
    }
    if (n)
        t->node[at].token = token;
    return MOT_OK;
}

static int trie_begin(struct mot_trie *t)
{
    int rc = mot_grow((void **)&t->node, 0, &t->capacity, sizeof *t->node);
    if (!rc)
        t->node[t->n++] = (struct mot_trie_node){0, -1, -1, -1};
    return rc;
}

static void trie_end(struct mot_trie *t)
{
    t->only = -1;
    int starts = 0;
    for (int32_t child = t->node[0].child; child >= 0; child = t->node[child].sibling) {
        t->starts[t->node[child].byte] = true;
        t->only = ++starts == 1 ? t->node[child].byte : -1;
    }
}

/* The leftmost, then longest token in p at or after from; -1: none. */
static int32_t trie_find(const struct mot_trie *t, const unsigned char *p, size_t n, size_t from,
                         size_t *begin, size_t *end)
{
    if (t->node[0].child < 0)
        return -1;
    for (size_t i = from; i < n; i++) {
        if (t->only >= 0) {
            const unsigned char *q = memchr(p + i, t->only, n - i);
            if (!q)
                return -1;
            i = (size_t)(q - p);
        } else if (!t->starts[p[i]]) {
            continue;
        }
        int32_t found = -1, at = 0;
        for (size_t k = i; k < n; k++) {
            at = t->node[at].child;
            while (at >= 0 && t->node[at].byte != p[k])
                at = t->node[at].sibling;
            if (at < 0)
                break;
            if (t->node[at].token >= 0)
                found = t->node[at].token, *end = k + 1;
        }
        if (found >= 0) {
            *begin = i;
            return found;
        }
    }
    return -1;
}

/* What the normalizers make of the added tokens that are looked for after them. */
static int normalize_added(struct mot_text *t)
{
    struct mot_text_state s = {0};
    int rc = mot_matcher_init(&s.matcher);
    for (int32_t i = 0; !rc && i < t->n_added; i++) {
        struct mot_added *a = &t->added[i];
        const unsigned char *p = (const unsigned char *)a->text;
        size_t n = a->n;
        bool first = true;
        if (!a->normalized)
            continue;
        rc = normalize(t, &s, false, &p, &n, &first);
        if (!rc)
            rc = mot_bytes_append(&a->normal, p, n);
    }
    mot_text_state_free(&s);
    return rc;
}

int mot_text_prepare(struct mot_text *t)
{
    t->added_of = mot_alloc((size_t)t->n_ids, sizeof *t->added_of);
    if (!t->added_of)
        return MOT_ENOMEM;
    for (int32_t i = 0; i < t->n_ids; i++)
        t->added_of[i] = -1;
    for (int32_t i = 0; i < t->n_added; i++) {
        int32_t *of = &t->added_of[t->added[i].id];
        t->added[i].special = t->added[i].special || (*of >= 0 && t->added[*of].special);
        *of = i; /* of a token named twice the later one counts */
    }
    int rc = normalize_added(t);
    if (!rc)
        rc = trie_begin(&t->plain);
    if (!rc)
        rc = trie_begin(&t->normalized);
    for (int32_t i = 0; !rc && i < t->n_added; i++) {
        const struct mot_added *a = &t->added[i];
        if (t->added_of[a->id] != i)
            continue;
        rc = a->normalized ? trie_add(&t->normalized, a->normal.data, a->normal.n, i)
                           : trie_add(&t->plain, (const unsigned char *)a->text, a->n, i);
    }
    if (rc)
        return rc;
    trie_end(&t->plain);
    trie_end(&t->normalized);
    return MOT_OK;
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
    for (int32_t k; (k = trie_find(trie, p, n, from, &begin, &end)) >= 0;) {
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
        int rc = done < begin ? next(r, p + done, begin - done, first && done == 0) : MOT_OK;
        if (!rc)
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
    int rc = normalize(r->t, r->s, r->continued && first, &p, &n, &first);
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
