/* SPDX-License-Identifier: MIT
 *
 * condition.c - a document so arranged that one modality comes last, given all else: the others' parts in their order, then
 * its own, each between the delimiters that it had; bos and eos stay where they were.
 */
#include "../base/base.h"

/* A part with what stands around it; -1: nothing. */
struct part {
    struct mot_span span;
    int32_t before, after;
};

/* Texts have no delimiters of their own: what mot_doc_part takes off their ends belongs to their neighbours. */
static struct part part_of(const struct mot_vocab *v, const struct mot_doc *d, int i)
{
    struct part p = {mot_doc_part(v, d, i, false), -1, -1};
    if (p.span.modality == 0)
        return p;
    if (i > 0 && d->span[i - 1].modality == 0) {
        struct mot_span s = mot_doc_part(v, d, i - 1, false);
        if (s.begin + s.n < p.span.begin)
            p.before = d->id[p.span.begin - 1];
    }
    if (i + 1 < d->n_spans && d->span[i + 1].modality == 0) {
        int64_t next = d->span[i + 1].begin;
        if (mot_doc_part(v, d, i + 1, false).begin > next)
            p.after = d->id[next];
    }
    return p;
}

/* Does the document begin with its bos, and end with its eos? */
static bool begins(const struct mot_vocab *v, const struct mot_doc *d)
{
    return d->n > 0 && d->span[0].modality == 0 && mot_doc_part(v, d, 0, false).begin > 0;
}

static bool ends(const struct mot_vocab *v, const struct mot_doc *d)
{
    if (d->n == 0 || d->span[d->n_spans - 1].modality != 0)
        return false;
    struct mot_span s = mot_doc_part(v, d, d->n_spans - 1, false);
    return s.begin + s.n < d->n;
}

static bool has_both(const struct mot_vocab *v, const struct mot_doc *d, int modality)
{
    bool own = false, other = false;
    for (int i = 0; i < d->n_spans; i++) {
        struct mot_span s = mot_doc_part(v, d, i, false);
        own |= s.n > 0 && s.modality == modality;
        other |= s.n > 0 && s.modality != modality;
    }
    return own && other;
}

static int put(struct mot_ids *out, int32_t id)
{
    return id < 0 ? MOT_OK : mot_ids_append(out, &id, 1);
}

/* The parts of the modality, or those of all others. */
static int put_parts(const struct mot_vocab *v, const struct mot_doc *d, int modality, bool own, struct mot_conditional *out)
{
    int rc = MOT_OK;
    for (int i = 0; !rc && i < d->n_spans; i++) {
        struct part p = part_of(v, d, i);
        if ((p.span.modality == modality) != own)
            continue;
        struct mot_grid g = {p.span.rows, p.span.columns, v->modality[p.span.modality].width};
        rc = put(&out->ids, p.before);
        if (!rc)
            rc = mot_ids_append(&out->ids, d->id + p.span.begin, p.span.n);
        if (!rc && g.width)
            rc = mot_latents_append(&out->latents, &g, mot_doc_vectors(v, d, i));
        if (!rc)
            rc = put(&out->ids, p.after);
    }
    return rc;
}

/* Maximal runs of one modality; a picture of vectors is one by itself. */
static int find_spans(const struct mot_vocab *v, struct mot_conditional *out)
{
    const struct mot_grid *g = out->latents.grid;
    int64_t n = 0;
    for (int64_t i = 0, end; i < out->ids.n; i = end) {
        int m = mot_vocab_modality(v, out->ids.id[i]);
        int rc = mot_grow((void **)&out->span, n, &out->span_capacity, sizeof *out->span);
        if (rc)
            return rc;
        struct mot_span s = {.modality = m, .begin = i};
        if (v->modality[m].width) {
            s.rows = g->rows, s.columns = g->columns;
            end = i + mot_grid_tokens(g++);
        } else {
            for (end = i + 1; end < out->ids.n && mot_vocab_modality(v, out->ids.id[end]) == m; end++)
                ;
        }
        s.n = end - i;
        out->span[n++] = s;
    }
    out->doc.n_spans = (int)n;
    return MOT_OK;
}

int mot_doc_condition(const struct mot_vocab *v, const struct mot_doc *d, int modality, struct mot_conditional *out)
{
    out->ids.n = out->latents.n = out->latents.n_grids = 0;
    out->doc = (struct mot_doc){.text_bytes = d->text_bytes};
    if (!has_both(v, d, modality))
        return MOT_OK;
    int rc = begins(v, d) ? put(&out->ids, d->id[0]) : MOT_OK;
    if (!rc)
        rc = put_parts(v, d, modality, false, out);
    out->begin = out->ids.n;
    if (!rc)
        rc = put_parts(v, d, modality, true, out);
    out->end = out->ids.n;
    if (!rc && ends(v, d))
        rc = put(&out->ids, d->id[d->n - 1]);
    if (!rc)
        rc = find_spans(v, out);
    out->doc.n = out->ids.n;
    out->doc.id = out->ids.id;
    out->doc.span = out->span;
    out->doc.n_latent = out->latents.n;
    out->doc.latent = out->latents.value;
    return rc;
}

void mot_conditional_free(struct mot_conditional *c)
{
    mot_ids_free(&c->ids);
    mot_latents_free(&c->latents);
    mot_free(c->span);
    *c = (struct mot_conditional){0};
}
