/* SPDX-License-Identifier: MIT
 *
 * eval_losses.c - losses of a model folder on shards, by modality, or of one modality given all else in its document.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval.h"

/* What a document adds to the losses of a modality; the one after the last modality is all tokens that are ids. */
struct share {
    double sum;
    int64_t tokens;
};
/* The shares of all documents, n_modalities + 1 each, for intervals. */
struct shares {
    struct share *share;
    int64_t documents, capacity;
};

/* What one shard adds up to. */
struct tally {
    const struct eval_options *o;
    const struct mot_vocab *vocab;
    int only; /* the modality that counts; -1: all */
    int64_t documents, left_out, no_numbers, tokens[MOT_MAX_MODALITIES], text_bytes;
    double nll[MOT_MAX_MODALITIES];
    struct shares *shares; /* of all shards; this one's begin with document `first` */
    int64_t first;
};

/* A document on its way through the scorer: of its tokens [begin, end) count. */
struct sent {
    struct tally *tally;
    int64_t number, begin, end, text_bytes;
};

static bool has_vectors(const struct mot_vocab *v)
{
    for (int m = 0; m < v->n_modalities; m++)
        if (v->modality[m].width > 0)
            return true;
    return false;
}

static void *checked(void *p)
{
    if (!p)
        die("no memory for the losses of so many documents");
    return p;
}

static bool counts(const struct sent *s, const int32_t *id, int64_t i)
{
    const struct tally *t = s->tally;
    return i >= s->begin && i < s->end && mot_has_loss(t->vocab, id, i) &&
           (t->only < 0 || mot_vocab_modality(t->vocab, id[i]) == t->only);
}

static void print_tokens(const struct sent *s, const int32_t *id, const float *nll, int64_t n)
{
    printf("{\"doc\":%lld,\"ids\":[", (long long)s->number);
    for (int64_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", (int)id[i]);
    fputs("],\"nll\":[", stdout);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0)
            fputc(',', stdout);
        if (isfinite(nll[i]) && (s->tally->only < 0 || counts(s, id, i)))
            printf("%.9g", (double)nll[i]);
        else
            fputs("null", stdout);
    }
    puts("]}");
}

/* Room for one more document's shares. */
static struct share *new_shares(struct tally *t)
{
    struct shares *all = t->shares;
    size_t each = (size_t)t->vocab->n_modalities + 1;
    if (all->documents == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 1024;
        all->share = checked(realloc(all->share, (size_t)all->capacity * each * sizeof *all->share));
    }
    struct share *s = all->share + (size_t)all->documents++ * each;
    memset(s, 0, each * sizeof *s);
    return s;
}

static void add_share(struct share *s, float nll)
{
    s->sum += (double)nll;
    s->tokens++;
}

static void scored(void *context, const int32_t *id, const float *nll, int64_t n)
{
    struct sent *sent = context;
    struct tally *t = sent->tally;
    struct share *share = t->o->confidence > 0 ? new_shares(t) : NULL;
    if (t->o->per_token)
        print_tokens(sent, id, nll, n);
    for (int64_t i = 0; i < n; i++) {
        if (!counts(sent, id, i))
            continue;
        int m = mot_vocab_modality(t->vocab, id[i]);
        t->no_numbers += !isfinite(nll[i]);
        t->nll[m] += (double)nll[i];
        t->tokens[m]++;
        if (share)
            add_share(&share[m], nll[i]);
        if (share && t->vocab->modality[m].width == 0)
            add_share(&share[t->vocab->n_modalities], nll[i]);
    }
    t->text_bytes += sent->text_bytes;
    free(sent);
}

static double mean_loss(const void *context, const int64_t *pick, int64_t n)
{
    const struct share *s = context;
    double sum = 0, tokens = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += s[pick[i]].sum;
        tokens += (double)s[pick[i]].tokens;
    }
    return sum / tokens;
}

/* The interval of a mean loss, over the documents that have tokens of that kind. */
static struct mot_interval interval(const struct tally *t, int kind, double mean)
{
    size_t each = (size_t)t->vocab->n_modalities + 1;
    int64_t n = 0;
    if (t->o->confidence == 0)
        return (struct mot_interval){(double)NAN, (double)NAN};
    struct share *own = checked(calloc((size_t)(t->shares->documents - t->first) + 1, sizeof *own));
    for (int64_t d = t->first; d < t->shares->documents; d++)
        if (t->shares->share[(size_t)d * each + (size_t)kind].tokens)
            own[n++] = t->shares->share[(size_t)d * each + (size_t)kind];
    struct mot_interval i = eval_interval(t->o, mean, mean_loss, own, n, 0);
    free(own);
    return i;
}

static void print_head(const struct tally *t)
{
    bool ci = t->o->confidence > 0;
    printf("shard\tmodality\ttokens\tnll%s\tppl\tbits_per_byte", ci ? "\tnll_lo\tnll_hi" : "");
    puts(!has_vectors(t->vocab) ? "" : ci ? "\tmse\tmse_lo\tmse_hi" : "\tmse");
}

/* kind: a modality, or n_modalities: all that are ids.  bytes: of the text, for bits per byte; 0: the row has none. */
static void print_row(const struct tally *t, const char *path, int kind, int64_t tokens, double sum, int64_t bytes)
{
    const struct eval_options *o = t->o;
    bool all = kind == t->vocab->n_modalities, mse = !all && t->vocab->modality[kind].width > 0;
    const char *modality = all ? "all" : t->vocab->modality[kind].name;
    double mean = sum / (double)tokens, nll = mse ? (double)NAN : mean;
    const struct mot_interval none = {(double)NAN, (double)NAN}, i = interval(t, kind, mean);
    if (o->json) {
        fputs("{\"shard\":", stdout);
        tool_json_string(stdout, path);
        printf(",\"modality\":\"%s\",\"tokens\":%lld", modality, (long long)tokens);
    } else {
        tool_tsv_string(stdout, path);
        printf("\t%s\t%lld", modality, (long long)tokens);
    }
    eval_print_interval(o, "nll", nll, mse ? none : i);
    eval_print(o, "ppl", exp(nll), 0);
    eval_print(o, "bits_per_byte", bytes ? sum / log(2) / (double)bytes : (double)NAN, 6);
    if (has_vectors(t->vocab))
        eval_print_interval(o, "mse", mse ? mean : (double)NAN, mse ? i : none);
    puts(o->json ? "}" : "");
}

static void print_tally(const struct tally *t, const char *path)
{
    int64_t tokens = 0;
    double sum = 0;
    bool any = false;
    for (int m = 0; m < t->vocab->n_modalities; m++) {
        if (t->tokens[m] == 0)
            continue;
        bool mse = t->vocab->modality[m].width > 0;
        print_row(t, path, m, t->tokens[m], t->nll[m], m == 0 ? t->text_bytes : 0);
        any = true;
        tokens += mse ? 0 : t->tokens[m];
        sum += mse ? 0 : t->nll[m];
    }
    if (tokens && t->only < 0) /* all that are ids: errors of patches are another measure */
        print_row(t, path, t->vocab->n_modalities, tokens, sum, 0);
    else if (!any && t->only >= 0)
        fail("%s: no document with both %s and something else: nothing to score", path, t->o->conditional);
    else if (!any)
        fail("%s: no document with two tokens or more: nothing to score", path);
}

static void add_tally(struct tally *total, const struct tally *t)
{
    total->o = t->o;
    total->vocab = t->vocab;
    total->only = t->only;
    total->shares = t->shares;
    total->text_bytes += t->text_bytes;
    for (int m = 0; m < t->vocab->n_modalities; m++) {
        total->tokens[m] += t->tokens[m];
        total->nll[m] += t->nll[m];
    }
}

/* Hand a document to the scorer, as it is or rearranged. */
static void send(struct mot_scorer *s, const char *path, struct tally *t, const struct mot_doc *d, struct mot_conditional *c)
{
    struct sent sent = {.tally = t, .number = t->documents++, .end = d->n, .text_bytes = d->text_bytes};
    if (t->only >= 0) {
        if (mot_doc_condition(t->vocab, d, t->only, c))
            die_lib(NULL);
        if (c->doc.n == 0) {
            t->left_out++;
            return;
        }
        d = &c->doc;
        sent.begin = c->begin;
        sent.end = c->end;
    }
    struct sent *kept = checked(malloc(sizeof *kept));
    *kept = sent;
    if (mot_scorer_add(s, d, scored, kept))
        die_lib("%s: document %lld", path, (long long)sent.number);
}

static void score(struct mot_scorer *s, struct mot_shard *shard, const char *path, struct tally *t)
{
    struct tool_progress p = tool_progress_start(path, "documents", 0);
    struct mot_conditional c = {0};
    const struct mot_doc *d = NULL;
    int rc;
    while (!(rc = mot_shard_next(shard, &d)) && d) {
        send(s, path, t, d, &c);
        tool_progress_show(&p, (double)t->documents, 0, NULL);
    }
    if (!rc && mot_scorer_flush(s))
        die_lib(NULL);
    tool_progress_end(&p);
    if (rc)
        die_lib(NULL); /* a partial figure must not pass for a whole one */
    mot_conditional_free(&c);
}

/* The modality that --conditional names, -1 without it. */
static int modality_of(const struct eval_options *o, const struct mot_vocab *v)
{
    int m = o->conditional ? mot_vocab_find(v, o->conditional) : -1;
    if (o->conditional && m < 0)
        die("--conditional %s: the vocabulary of %s has no such modality", o->conditional, o->input[0]);
    return m;
}

/* Score one shard with *s, which the first shard opens (its vocabulary serves a folder that has none). */
static void eval(struct mot_scorer **s, const char *path, const struct eval_options *o, struct tally *total, struct shares *shares)
{
    struct mot_shard *shard = mot_shard_open(path, *s ? mot_scorer_vocab(*s) : NULL, o->keep_going);
    if (!shard) {
        fail_lib(NULL);
        return;
    }
    if (!*s)
        *s = mot_scorer_open(o->input[0], mot_shard_vocab(shard), o->context, o->stride, o->device, o->dtype, o->threads);
    if (!*s)
        die_lib(NULL);
    struct tally t = {.o = o, .vocab = mot_scorer_vocab(*s), .shares = shares, .first = shares->documents};
    t.only = modality_of(o, t.vocab);
    if (!total->vocab && !o->per_token && !o->json)
        print_head(&t);
    score(*s, shard, path, &t);
    if (mot_shard_damage(shard))
        warn("%s", mot_shard_damage(shard));
    mot_shard_close(shard);
    if (t.left_out && t.left_out < t.documents)
        note("%s: %lld of %lld documents have not both %s and something else, and do not count", path, (long long)t.left_out,
             (long long)t.documents, o->conditional);
    if (!o->per_token)
        print_tally(&t, path);
    if (t.no_numbers)
        fail("%s: %lld losses are infinite or no numbers: the weights in %s are damaged", path, (long long)t.no_numbers,
             o->input[0]);
    add_tally(total, &t);
}

void eval_losses(const struct eval_options *o)
{
    struct mot_scorer *s = NULL;
    struct shares shares = {0};
    struct tally total = {0};
    for (int i = 1; i < o->n_inputs; i++)
        eval(&s, o->input[i], o, &total, &shares);
    if (o->n_inputs > 2 && total.vocab && !o->per_token)
        print_tally(&total, "total");
    mot_scorer_close(s);
    free(shares.share);
}
