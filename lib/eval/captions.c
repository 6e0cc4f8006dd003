/* SPDX-License-Identifier: MIT
 *
 * captions.c - captions against reference texts: BLEU (Papineni et al. 2002) and CIDEr-D (Vedantam et al. 2015).
 *
 * BLEU-n of a corpus: BP exp(mean of log p_1 .. log p_n); p_k = runs of k words that a candidate shares with its references, each
 * counted at most as often as any one reference has it, over all its runs of k words, both summed over all candidates;
 * BP = min(1, exp(1 - r / c)), c the candidates' words and r those of each one's reference that is closest in length, the
 * shorter of two.  Nothing is smoothed: one p_k of 0 makes it 0.
 *
 * CIDEr-D: the mean over candidates of 10 / 4 sum over n = 1 .. 4 of the mean over references of
 *     exp(-(l_c - l_r)^2 / (2 6^2)) sum min(g_c, g_r) g_r / (|g_c| |g_r|)
 * where g are counts of runs of n words times log(I / max(1, d)), d how many of the I pictures have the run in a reference, and
 * l how many runs of two words there are.
 */
#include <math.h>
#include <stdlib.h>

#include "../base/json.h"
#include "../data/source.h"
#include "eval.h"

/* A text as it was read. */
struct text {
    char *id;
    bool reference;
    int64_t first, n; /* words */
    int file;
    int64_t line;
};
/* A picture's: sentence[first] is the candidate, `references` follow; and what it adds to the figures. */
struct item {
    int64_t first, references;
    int64_t shared[MOT_GRAM], runs[MOT_GRAM], closest;
    double cider;
};
struct mot_captions {
    bool plain;
    const char *candidates;
    struct text *text;
    int64_t n_texts, text_capacity;
    struct mot_bytes words; /* of all texts, each with a zero behind it */
    int64_t n_words;
    int32_t *word; /* numbered */
    struct mot_sentence *sentence;
    struct mot_grams grams;
    struct item *item;
    int64_t n, unused;
};

/* ---- reading ---- */

/* The string of either key, or a whole number as one when `number` is not NULL; NULL: neither. */
static const char *string_of(const json_t *o, const char *key, const char *other, char *number, size_t room)
{
    const json_t *x = json_object_get(o, key);
    x = x ? x : json_object_get(o, other);
    if (x && json_is_integer(x) && number) {
        snprintf(number, room, "%lld", (long long)json_integer_value(x));
        return number;
    }
    return x ? json_string_value(x) : NULL;
}

static int add(struct mot_captions *c, const char *name, int file, int64_t line, const char *id, size_t id_n, const void *text,
               size_t n)
{
    int rc = mot_grow((void **)&c->text, c->n_texts, &c->text_capacity, sizeof *c->text);
    if (rc)
        return rc;
    if (id_n == 0 || memchr(id, 0, id_n))
        return mot_fail(MOT_EFORMAT, "%s:%lld: an empty id", name, (long long)line);
    struct text t = {.id = mot_strndup(id, id_n), .reference = file >= 0, .first = c->n_words, .file = file, .line = line};
    if (!t.id)
        return MOT_ENOMEM;
    c->text[c->n_texts++] = t;
    rc = mot_words(text, n, c->plain, &c->words, &c->text[c->n_texts - 1].n);
    c->n_words += c->text[c->n_texts - 1].n;
    return rc;
}

static int add_json(struct mot_captions *c, const char *name, int file, int64_t line, const unsigned char *p, size_t n)
{
    char at[512], number[32];
    snprintf(at, sizeof at, "%s:%lld", name, (long long)line);
    json_t *o = mot_json_parse(at, p, n);
    if (!o)
        return MOT_EFORMAT;
    const char *id = string_of(o, "id", "image_id", number, sizeof number), *text = string_of(o, "text", "caption", NULL, 0);
    int rc = id && text ? add(c, name, file, line, id, strlen(id), text, strlen(text))
                        : mot_fail(MOT_EFORMAT, "%s: expected {\"id\":\"..\",\"text\":\"..\"}", at);
    json_decref(o);
    return rc;
}

static int add_tsv(struct mot_captions *c, const char *name, int file, int64_t line, const unsigned char *p, size_t n)
{
    const unsigned char *tab = memchr(p, '\t', n);
    if (!tab)
        return mot_fail(MOT_EFORMAT, "%s:%lld: expected an id, a tab and a text, or a line of JSON", name, (long long)line);
    return add(c, name, file, line, (const char *)p, (size_t)(tab - p), tab + 1, n - (size_t)(tab - p) - 1);
}

static bool is_tsv(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".tsv") == 0;
}

/* file: -1: of candidates. */
static int read_file(struct mot_captions *c, const char *path, int file)
{
    struct mot_lines l = {.fd = -1};
    const unsigned char *line = NULL;
    size_t n = 0;
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    int64_t before = c->n_texts;
    int rc = mot_lines_open(&l, path);
    while (!rc && !(rc = mot_lines_next(&l, name, &line, &n)) && line) {
        if (n > MOT_RECORD_LIMIT)
            rc = mot_fail(MOT_EFORMAT, "%s:%lld: a line of %zu bytes", name, (long long)l.number, n);
        if (!rc && n && line[n - 1] == '\r')
            n--;
        if (!rc && n)
            rc = line[0] == '{' && !is_tsv(path) ? add_json(c, name, file, l.number, line, n)
                                                 : add_tsv(c, name, file, l.number, line, n);
    }
    if (!rc && c->n_texts == before)
        rc = mot_fail(MOT_EFORMAT, "%s: no captions in it", name);
    mot_lines_close(&l);
    mot_bytes_free(&l.buffer);
    return rc;
}

/* ---- words and items ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Equal words get equal numbers. */
static int number_words(struct mot_captions *c)
{
    const char **sorted = mot_alloc((size_t)c->n_words, sizeof *sorted);
    c->word = mot_alloc((size_t)c->n_words, sizeof *c->word);
    int64_t distinct = 0;
    if (c->n_words > INT32_MAX) {
        mot_free(sorted);
        return mot_fail(MOT_EARG, "%s: %lld words are more than can be counted", c->candidates, (long long)c->n_words);
    }
    if (!sorted || !c->word) {
        mot_free(sorted);
        return MOT_ENOMEM;
    }
    const char *p = (const char *)c->words.data;
    for (int64_t i = 0; i < c->n_words; i++, p += strlen(p) + 1)
        sorted[i] = p;
    qsort(sorted, (size_t)c->n_words, sizeof *sorted, by_text);
    for (int64_t i = 0; i < c->n_words; i++)
        if (distinct == 0 || strcmp(sorted[distinct - 1], sorted[i]) != 0)
            sorted[distinct++] = sorted[i];
    p = (const char *)c->words.data;
    for (int64_t i = 0; i < c->n_words; i++, p += strlen(p) + 1) {
        const char *const *at = bsearch(&p, sorted, (size_t)distinct, sizeof *sorted, by_text);
        c->word[i] = (int32_t)(at - (const char *const *)sorted);
    }
    mot_free(sorted);
    return MOT_OK;
}

/* By id, the candidate first, then as they were read. */
static int by_id(const void *a, const void *b)
{
    const struct text *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    if (!order)
        order = x->reference - y->reference;
    if (!order)
        order = (x->file > y->file) - (x->file < y->file);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Texts of one id, [begin, end). */
static int add_item(struct mot_captions *c, int64_t begin, int64_t end, int64_t *sentences)
{
    const struct text *t = c->text + begin;
    if (t->reference) {
        c->unused++;
        return MOT_OK;
    }
    if (end - begin > 1 && !t[1].reference)
        return mot_fail(MOT_EARG, "%s:%lld: a second caption of %s: one a picture is compared with the references", c->candidates,
                        (long long)t[1].line, t->id);
    if (end - begin == 1)
        return mot_fail(MOT_EARG, "%s:%lld: %s has no reference", c->candidates, (long long)t->line, t->id);
    c->item[c->n++] = (struct item){.first = *sentences, .references = end - begin - 1};
    for (int64_t i = begin; i < end; i++)
        c->sentence[(*sentences)++] = (struct mot_sentence){.word = c->word + c->text[i].first, .n = c->text[i].n};
    return MOT_OK;
}

static int make_items(struct mot_captions *c)
{
    int64_t sentences = 0;
    c->item = mot_alloc((size_t)c->n_texts, sizeof *c->item);
    c->sentence = mot_alloc((size_t)c->n_texts, sizeof *c->sentence);
    int rc = c->item && c->sentence ? MOT_OK : MOT_ENOMEM;
    qsort(c->text, (size_t)c->n_texts, sizeof *c->text, by_id);
    for (int64_t begin = 0, end; !rc && begin < c->n_texts; begin = end) {
        for (end = begin + 1; end < c->n_texts && strcmp(c->text[end].id, c->text[begin].id) == 0; end++)
            ;
        rc = add_item(c, begin, end, &sentences);
    }
    return rc ? rc : mot_grams_make(&c->grams, c->sentence, sentences);
}

/* ---- BLEU ---- */

static int64_t count_in(const struct mot_sentence *s, int32_t gram)
{
    int64_t lo = 0, hi = s->n_counted;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (s->counted[mid].gram < gram)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n_counted && s->counted[lo].gram == gram ? s->counted[lo].count : 0;
}

static void compare_runs(const struct mot_captions *c, struct item *x)
{
    const struct mot_sentence *candidate = &c->sentence[x->first], *reference = candidate + 1;
    for (int k = 0; k < MOT_GRAM; k++)
        x->runs[k] = candidate->n > k ? candidate->n - k : 0;
    for (int64_t i = 0; i < candidate->n_counted; i++) {
        int64_t most = 0;
        for (int64_t r = 0; r < x->references; r++) {
            int64_t n = count_in(&reference[r], candidate->counted[i].gram);
            most = n > most ? n : most;
        }
        int64_t own = candidate->counted[i].count;
        x->shared[mot_gram_length(&c->grams.gram[candidate->counted[i].gram]) - 1] += own < most ? own : most;
    }
    x->closest = reference[0].n;
    for (int64_t r = 1; r < x->references; r++) {
        int64_t off = llabs(reference[r].n - candidate->n), best = llabs(x->closest - candidate->n);
        if (off < best || (off == best && reference[r].n < x->closest))
            x->closest = reference[r].n;
    }
}

static double bleu(const struct mot_captions *c, int n, const int64_t *pick, int64_t items)
{
    double shared[MOT_GRAM] = {0}, runs[MOT_GRAM] = {0}, closest = 0, sum = 0;
    for (int64_t i = 0; i < items; i++) {
        const struct item *x = &c->item[pick ? pick[i] : i];
        for (int k = 0; k < n; k++) {
            shared[k] += (double)x->shared[k];
            runs[k] += (double)x->runs[k];
        }
        closest += (double)x->closest;
    }
    for (int k = 0; k < n; k++) {
        if (shared[k] <= 0)
            return 0;
        sum += log(shared[k] / runs[k]) / n;
    }
    return exp(sum + fmin(0, 1 - closest / runs[0]));
}

/* ---- CIDEr-D ---- */

/* log(I / max(1, d)) of every run. */
static int weigh(const struct mot_captions *c, double *weight)
{
    int64_t *last = mot_alloc((size_t)c->grams.n, sizeof *last); /* the picture that counted it last, from 1 on */
    if (!last)
        return MOT_ENOMEM;
    for (int64_t i = 0; i < c->n; i++) {
        const struct mot_sentence *reference = &c->sentence[c->item[i].first] + 1;
        for (int64_t r = 0; r < c->item[i].references; r++)
            for (int64_t k = 0; k < reference[r].n_counted; k++) {
                int32_t gram = reference[r].counted[k].gram;
                weight[gram] += last[gram] != i + 1;
                last[gram] = i + 1;
            }
    }
    for (int64_t k = 0; k < c->grams.n; k++)
        weight[k] = log((double)c->n / fmax(1, weight[k]));
    mot_free(last);
    return MOT_OK;
}

static void norms(const struct mot_captions *c, const struct mot_sentence *s, const double *weight, double norm[MOT_GRAM])
{
    for (int k = 0; k < MOT_GRAM; k++)
        norm[k] = 0;
    for (int64_t i = 0; i < s->n_counted; i++) {
        double g = s->counted[i].count * weight[s->counted[i].gram];
        norm[mot_gram_length(&c->grams.gram[s->counted[i].gram]) - 1] += g * g;
    }
    for (int k = 0; k < MOT_GRAM; k++)
        norm[k] = sqrt(norm[k]);
}

static double likeness(const struct mot_captions *c, const struct mot_sentence *a, const struct mot_sentence *b, const double *weight)
{
    const double sigma = 6;
    double norm_a[MOT_GRAM], norm_b[MOT_GRAM], product[MOT_GRAM] = {0}, sum = 0;
    norms(c, a, weight, norm_a);
    norms(c, b, weight, norm_b);
    for (int64_t i = 0; i < a->n_counted; i++) {
        int32_t gram = a->counted[i].gram;
        double own = a->counted[i].count * weight[gram], other = (double)count_in(b, gram) * weight[gram];
        product[mot_gram_length(&c->grams.gram[gram]) - 1] += fmin(own, other) * other;
    }
    for (int k = 0; k < MOT_GRAM; k++)
        if (norm_a[k] > 0 && norm_b[k] > 0)
            sum += product[k] / (norm_a[k] * norm_b[k]) / MOT_GRAM;
    double pairs_a = a->n > 1 ? (double)a->n - 1 : 0, pairs_b = b->n > 1 ? (double)b->n - 1 : 0;
    return sum * exp(-(pairs_a - pairs_b) * (pairs_a - pairs_b) / (2 * sigma * sigma));
}

static int find_cider(struct mot_captions *c)
{
    double *weight = mot_alloc((size_t)c->grams.n, sizeof *weight);
    int rc = weight ? weigh(c, weight) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < c->n; i++) {
        const struct mot_sentence *candidate = &c->sentence[c->item[i].first];
        for (int64_t r = 1; r <= c->item[i].references; r++)
            c->item[i].cider += 10 * likeness(c, candidate, candidate + r, weight) / (double)c->item[i].references;
    }
    mot_free(weight);
    return rc;
}

/* ---- all of it ---- */

struct mot_captions *mot_captions_open(const char *candidates, const char *const *references, int n, bool plain)
{
    struct mot_captions *c = mot_alloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->plain = plain;
    c->candidates = candidates;
    int rc = read_file(c, candidates, -1);
    for (int i = 0; !rc && i < n; i++)
        rc = read_file(c, references[i], i);
    if (!rc)
        rc = number_words(c);
    if (!rc)
        rc = make_items(c);
    for (int64_t i = 0; !rc && i < c->n; i++)
        compare_runs(c, &c->item[i]);
    if (!rc)
        rc = find_cider(c);
    if (rc) {
        mot_captions_close(c);
        return NULL;
    }
    return c;
}

int64_t mot_captions_count(const struct mot_captions *c)
{
    return c->n;
}

int64_t mot_captions_unused(const struct mot_captions *c)
{
    return c->unused;
}

double mot_captions_figure(const struct mot_captions *c, enum mot_caption_metric metric, const int64_t *pick, int64_t n)
{
    double sum = 0;
    n = pick ? n : c->n;
    if (metric != MOT_CIDER)
        return bleu(c, (int)metric - (int)MOT_BLEU_1 + 1, pick, n);
    for (int64_t i = 0; i < n; i++)
        sum += c->item[pick ? pick[i] : i].cider;
    return c->n > 1 ? sum / (double)n : (double)NAN;
}

void mot_captions_close(struct mot_captions *c)
{
    if (!c)
        return;
    for (int64_t i = 0; i < c->n_texts; i++)
        mot_free(c->text[i].id);
    mot_free(c->text);
    mot_bytes_free(&c->words);
    mot_free(c->word);
    mot_free(c->sentence);
    mot_grams_free(&c->grams);
    mot_free(c->item);
    mot_free(c);
}
