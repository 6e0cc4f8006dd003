/* SPDX-License-Identifier: MIT
 *
 * alignment.c - sounds whose words are known in time: "alignment" of a JSON object, the text of a run of spans, and at which
 * spans a document changes between speech and text (as SpiRit-LM does, arXiv 2402.05755).
 */
#include "../base/json.h"
#include "source.h"

static int bad_span(const char *name, size_t i, const char *what)
{
    return mot_fail(MOT_EFORMAT, "%s: alignment: span %zu: %s", name, i, what);
}

/* One span to the end of the item's; `before` is where the span in front of it begins. */
static int add_span(struct mot_item *item, const char *name, size_t i, const json_t *o, double before)
{
    double start = -1, end = -1, length = (double)item->speech.n / item->speech.rate;
    const json_t *text = json_object_get(o, "text");
    if (!json_is_string(text))
        return bad_span(name, i, "expected {\"start\":SECONDS,\"end\":SECONDS,\"text\":\"...\"}");
    int rc = mot_json_real(o, name, "start", 0, 1e9, &start);
    if (!rc)
        rc = mot_json_real(o, name, "end", 0, 1e9, &end);
    if (rc)
        return rc;
    if (start < 0 || end < start)
        return bad_span(name, i, "expected seconds, the start not after the end");
    if (start < before)
        return bad_span(name, i, "it begins before the one in front of it");
    if (start > length)
        return mot_fail(MOT_EFORMAT, "%s: alignment: span %zu: it begins after %g s, the sound has %g s", name, i, start,
                        length);
    rc = mot_grow((void **)&item->aligned, item->n_aligned, &item->aligned_capacity, sizeof *item->aligned);
    if (rc)
        return rc;
    item->aligned[item->n_aligned++] =
        (struct mot_aligned){start, end < length ? end : length, item->text.n, json_string_length(text)};
    return mot_bytes_append(&item->text, json_string_value(text), json_string_length(text));
}

int mot_alignment_read(struct mot_item *sound, const char *name, const json_t *spans)
{
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < json_array_size(spans); i++)
        rc = add_span(sound, name, i, json_array_get(spans, i), i ? sound->aligned[i - 1].start : 0);
    return rc;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Does any span bring its own white space at its begin or end? */
static bool brings_spaces(const struct mot_item *sound)
{
    for (int64_t i = 0; i < sound->n_aligned; i++) {
        const unsigned char *p = sound->text.data + sound->aligned[i].begin;
        size_t n = sound->aligned[i].n;
        if (n && (is_space(p[0]) || is_space(p[n - 1])))
            return true;
    }
    return false;
}

/* Spans are words, which want spaces between them, unless they bring white space of their own. */
int mot_item_words(const struct mot_item *sound, int64_t begin, int64_t end, struct mot_bytes *out)
{
    bool spaces = !brings_spaces(sound);
    int rc = MOT_OK;
    for (int64_t i = begin; !rc && i < end; i++) {
        if (spaces && i > begin)
            rc = mot_bytes_append(out, " ", 1);
        if (!rc)
            rc = mot_bytes_append(out, sound->text.data + sound->aligned[i].begin, sound->aligned[i].n);
    }
    return rc;
}

/* At each span the modality changes with probability `changes`; where chance changes it nowhere, at one span drawn at
 * random, so that what can be interleaved is. */
void mot_interleave(const struct mot_item *sound, double changes, uint64_t seed, uint64_t index, bool *change)
{
    uint64_t stream = mot_stream("interleave") + (index << 1), n = (uint64_t)sound->n_aligned;
    bool any = false;
    for (uint64_t i = 0; i < n; i++) {
        change[i] = mot_random_uniform(seed, stream, i) < (i ? changes : 0.5);
        any |= i && change[i];
    }
    if (!any && n > 1)
        change[1 + mot_random_below(seed, stream + 1, index, n - 1)] = true;
}
