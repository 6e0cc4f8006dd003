/* SPDX-License-Identifier: MIT
 *
 * grammar.c - which tokens may follow in a document: pictures are whole, sounds are closed, delimiters stand where they
 * belong.  What is not known to be wrong is allowed: a vocabulary without delimiters has text alone.
 */
#include "generate.h"

struct mot_grammar mot_grammar_of(const struct mot_vocab *v, int64_t image_tokens)
{
    struct mot_grammar g = {.vocab = v, .image = -1, .speech = -1, .image_tokens = image_tokens};
    if (v->boi >= 0 && v->eoi >= 0)
        g.image = mot_vocab_find(v, "image");
    if (v->bos_speech >= 0 && v->eos_speech >= 0)
        g.speech = mot_vocab_find(v, "speech");
    return g;
}

static int misplaced(const char *what)
{
    return mot_fail(MOT_EFORMAT, "%s", what);
}

static int step_image(const struct mot_grammar *g, struct mot_place *p, int32_t id)
{
    if (id == g->vocab->eoi) {
        if (g->image_tokens && p->length != g->image_tokens)
            return mot_fail(MOT_EFORMAT, "a picture of %lld tokens, where the codec makes %lld", (long long)p->length,
                            (long long)g->image_tokens);
        *p = (struct mot_place){0};
        return MOT_OK;
    }
    if (mot_vocab_modality(g->vocab, id) != g->image)
        return misplaced("a picture holds a token that is none of a picture");
    p->length++;
    return g->image_tokens && p->length > g->image_tokens ? misplaced("a picture has more tokens than the codec makes") : MOT_OK;
}

static int step_speech(const struct mot_grammar *g, struct mot_place *p, int32_t id)
{
    if (id == g->vocab->eos_speech)
        *p = (struct mot_place){0};
    else if (mot_vocab_modality(g->vocab, id) != g->speech)
        return misplaced("a sound holds a token that is none of a sound");
    else
        p->length++;
    return MOT_OK;
}

static bool ends(const struct mot_grammar *g, int32_t id)
{
    bool found = g->vocab->eos >= 0 && id == g->vocab->eos;
    for (int i = 0; i < g->n_stops; i++)
        found |= id == g->stop[i];
    return found;
}

/* What stands in a text without belonging there. */
static int check_text(const struct mot_grammar *g, int32_t id)
{
    const struct mot_vocab *v = g->vocab;
    int m = mot_vocab_modality(v, id);
    if ((g->image > 0 && m == g->image) || (g->speech > 0 && m == g->speech))
        return misplaced("a token of a picture or sound that nothing has begun");
    if ((g->image > 0 && id == v->eoi) || (g->speech > 0 && id == v->eos_speech))
        return misplaced("the end of a picture or sound that nothing has begun");
    return MOT_OK;
}

int mot_grammar_step(const struct mot_grammar *g, struct mot_place *p, int32_t id)
{
    const struct mot_vocab *v = g->vocab;
    if (p->modality != 0 && p->modality == g->image)
        return step_image(g, p, id);
    if (p->modality != 0 && p->modality == g->speech)
        return step_speech(g, p, id);
    int rc = check_text(g, id);
    if (rc)
        return rc;
    if (g->image > 0 && id == v->boi)
        *p = (struct mot_place){.modality = g->image};
    else if (g->speech > 0 && id == v->bos_speech)
        *p = (struct mot_place){.modality = g->speech};
    else if (ends(g, id))
        p->ended = true;
    else
        p->length++;
    return MOT_OK;
}

int64_t mot_grammar_rest(const struct mot_grammar *g, const struct mot_place *p)
{
    if (p->modality == 0)
        return 0;
    return p->modality == g->image ? g->image_tokens - p->length + 1 : p->length ? 1 : 2;
}

static void add(struct mot_ranges *r, int32_t from, int32_t to)
{
    if (from >= to)
        return;
    r->range[r->n].from = from;
    r->range[r->n++].to = to;
}

/* [from, to) without the n ids of `not`. */
static void add_without(struct mot_ranges *r, int32_t from, int32_t to, const int32_t *not, int n)
{
    while (from < to) {
        int32_t next = to;
        for (int i = 0; i < n; i++)
            if (not[i] >= from && not[i] < next)
                next = not[i];
        add(r, from, next);
        from = next + 1;
    }
}

static void add_modality(const struct mot_grammar *g, int m, struct mot_ranges *r)
{
    add(r, g->vocab->modality[m].first, g->vocab->modality[m].first + g->vocab->modality[m].n);
}

static struct mot_ranges next_text(const struct mot_grammar *g, int64_t left, bool inside)
{
    const struct mot_vocab *v = g->vocab;
    bool picture = !inside && g->image > 0 && g->image_tokens > 0 && left >= g->image_tokens + 2;
    bool sound = !inside && g->speech > 0 && left >= 3;
    struct mot_ranges r = {0};
    int32_t not[6 + MOT_STOPS];
    bool delimited = g->image > 0 || g->speech > 0;
    int n = 0;
    not[n++] = delimited && v->bos != v->eos ? v->bos : -1; /* where both are one token it ends a document */
    not[n++] = v->eoi;
    not[n++] = v->eos_speech;
    not[n++] = picture ? -1 : v->boi;
    not[n++] = sound ? -1 : v->bos_speech;
    not[n++] = inside ? v->eos : -1;
    for (int i = 0; inside && i < g->n_stops; i++)
        not[n++] = g->stop[i];
    int32_t end = v->modality[0].first + v->modality[0].n, cut = g->code_to > g->code_from ? g->code_from : end;
    add_without(&r, v->modality[0].first, cut, not, n);
    add_without(&r, cut < end ? g->code_to : end, end, not, n);
    return r;
}

static struct mot_ranges next(const struct mot_grammar *g, const struct mot_place *p, int64_t left, bool inside)
{
    const struct mot_vocab *v = g->vocab;
    struct mot_ranges r = {0};
    if (p->modality == 0)
        return next_text(g, left, inside);
    if (p->modality == g->image) {
        if (p->length < g->image_tokens)
            add_modality(g, g->image, &r);
        else
            add(&r, v->eoi, v->eoi + 1);
        return r;
    }
    bool may_end = p->length > 0 && !inside;
    if (may_end)
        add(&r, v->eos_speech, v->eos_speech + 1);
    if (!may_end || left > 1)
        add_modality(g, g->speech, &r);
    return r;
}

struct mot_ranges mot_grammar_next(const struct mot_grammar *g, const struct mot_place *p, int64_t left)
{
    return next(g, p, left, false);
}

struct mot_ranges mot_grammar_inside(const struct mot_grammar *g, const struct mot_place *p, int64_t left)
{
    return next(g, p, left, true);
}
