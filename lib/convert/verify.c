/* SPDX-License-Identifier: MIT
 *
 * verify.c - the proof of a conversion: two models on the same random ids, and how far their logits are apart.
 *
 * Logits are compared over the ids that both models have, modality by modality, so that rows added to a vocabulary do not
 * count.  The products of the last hidden state with the head's rows are made here, in double and always in the same order:
 * equal hidden states and rows give equal bits, whatever else is in the vocabulary.  One model is in memory at a time.
 *
 * Random ids say nothing about what takes pictures of vectors in and out.  Where both models have such pictures, of the same
 * size of vector, both are shown one of noise as well, and what they tell about it is compared.
 */
#include <math.h>

#include "convert.h"

/* Ids both have: [first[0], first[0] + n) of a are [first[1], first[1] + n) of b. */
struct shared {
    int n_ranges;
    struct {
        int64_t first[2], n;
    } range[MOT_MAX_MODALITIES];
    int64_t n, text;
    int64_t width;    /* of the vectors that both have, or 0 */
    int32_t patch[2]; /* the id that stands for one */
};

struct logits {
    int64_t rows, n;
    double *z;   /* (rows, n) */
    double *nll; /* (rows) of the next id, among the n */
    float *told; /* (rows, width) about a picture of as many patches */
};

/* A folder as a conversion to our form, which is not written but put into memory. */
static struct mot_converter *open_side(const char *folder)
{
    struct mot_convert_options o = {.from = folder, .only_model = true};
    struct mot_converter *c = mot_converter_open(&o);
    if (c && c->to.family->label != MOT_LABEL_SUFFIX) {
        mot_converter_close(c);
        o.form = "mot";
        c = mot_converter_open(&o);
    }
    const char *complaint = c ? mot_converter_complaint(c) : NULL;
    if (complaint) {
        (void)!mot_fail(MOT_EFORMAT, "%s", complaint);
        mot_converter_close(c);
        return NULL;
    }
    return c;
}

static int share(struct shared *s, struct mot_converter *const side[2])
{
    const struct mot_vocab *a = &side[0]->to.vocab, *b = &side[1]->to.vocab;
    for (int m = 0; m < a->n_modalities; m++) {
        int k = mot_vocab_find(b, a->modality[m].name);
        if (k < 0)
            continue;
        int64_t n = a->modality[m].n < b->modality[k].n ? a->modality[m].n : b->modality[k].n;
        s->range[s->n_ranges].first[0] = a->modality[m].first;
        s->range[s->n_ranges].first[1] = b->modality[k].first;
        s->range[s->n_ranges++].n = n;
        s->n += n;
        s->text = m == 0 ? n : s->text;
        if (a->modality[m].width > 0 && a->modality[m].width == b->modality[k].width) {
            s->width = a->modality[m].width;
            s->patch[0] = a->modality[m].first;
            s->patch[1] = b->modality[k].first;
        }
    }
    return s->n > 1 ? MOT_OK : mot_fail(MOT_EARG, "%s and %s have no ids in common", side[0]->o.from, side[1]->o.from);
}

/* The i-th shared id, as the model `which` has it. */
static int32_t id_of(const struct shared *s, int64_t i, int which)
{
    int r = 0;
    while (i >= s->range[r].n)
        i -= s->range[r++].n;
    return (int32_t)(s->range[r].first[which] + i);
}

static int64_t pick(const struct shared *s, uint64_t seed, int64_t i)
{
    return (int64_t)mot_random_below(seed, mot_stream("verify"), (uint64_t)i, (uint64_t)s->n);
}

/* z of all rows and shared ids from the hidden states (rows, C), sorted row of each position in `row`. */
static int project(struct mot_model *m, const struct shared *s, int which, uint64_t seed, struct logits *out)
{
    int64_t C = m->config.hidden_size, rows = out->rows;
    int64_t head = mot_offset(&m->table, m->config.tie_word_embeddings ? MOT_W_EMBED : MOT_W_HEAD, 0, 0);
    mot_real *x = mot_alloc((size_t)(rows * C), sizeof *x), *w = mot_alloc((size_t)C, sizeof *w);
    int rc = x && w ? MOT_OK : MOT_ENOMEM;
    if (!rc)
        m->k->read(m->d, x, m->final_norm, (size_t)(rows * C) * sizeof *x);
    for (int64_t i = 0; !rc && i < s->n; i++) {
        m->k->read(m->d, w, m->params + head + id_of(s, i, which) * C, (size_t)C * sizeof *w);
        for (int64_t r = 0; r < rows; r++) {
            const mot_real *h = x + m->batch.host_row[r] * C;
            double z = 0;
            for (int64_t k = 0; k < C; k++)
                z += (double)h[k] * (double)w[k];
            out->z[r * s->n + i] = z;
        }
    }
    for (int64_t r = 0; !rc && r < rows; r++) {
        const double *z = out->z + r * s->n;
        double max = z[0], sum = 0;
        for (int64_t i = 1; i < s->n; i++)
            max = z[i] > max ? z[i] : max;
        for (int64_t i = 0; i < s->n; i++)
            sum += exp(z[i] - max);
        out->nll[r] = max + log(sum) - z[pick(s, seed, r + 1)];
    }
    mot_free(x);
    mot_free(w);
    return rc;
}

static int run_ids(struct mot_model *m, const struct shared *s, int which, uint64_t seed, struct logits *out)
{
    int32_t *id = mot_alloc((size_t)out->rows + 1, sizeof *id);
    struct mot_batch b = {0};
    out->z = mot_alloc((size_t)(out->rows * s->n), sizeof *out->z);
    out->nll = mot_alloc((size_t)out->rows, sizeof *out->nll);
    int rc = out->z && out->nll && id ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i <= out->rows; i++)
        id[i] = id_of(s, pick(s, seed, i), which);
    if (!rc)
        rc = mot_batch_add(&b, id, out->rows);
    if (!rc)
        rc = mot_model_route(m, &b, 0, NULL);
    if (!rc)
        rc = mot_model_run(m, false);
    if (!rc)
        rc = project(m, s, which, seed, out);
    mot_batch_free(&b);
    mot_free(id);
    return rc;
}

/* A batch of one picture: two rows of patches where their number is even. */
static int one_picture(struct mot_batch *b, int32_t patch, int64_t n, int64_t width)
{
    int32_t *id = mot_alloc((size_t)n + 1, sizeof *id);
    uint16_t *clean = mot_alloc((size_t)(n * width), sizeof *clean); /* never shown: what is, is noise */
    int32_t rows = n % 2 == 0 ? 2 : 1;
    struct mot_picture p = {.n = n, .rows = rows, .columns = (int32_t)(n / rows)};
    int rc = id && clean ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++)
        id[i] = patch;
    if (!rc)
        rc = mot_batch_add(b, id, n);
    if (!rc)
        rc = mot_batch_add_picture(b, &p, clean, n * width);
    mot_free(id);
    mot_free(clean);
    return rc;
}

static int run_picture(struct mot_model *m, const struct shared *s, int which, uint64_t seed, struct logits *out)
{
    int64_t values = out->rows * s->width;
    float *x = mot_alloc((size_t)values, sizeof *x);
    struct mot_batch b = {0};
    out->told = mot_alloc((size_t)values, sizeof *out->told);
    int rc = x && out->told ? one_picture(&b, s->patch[which], out->rows, s->width) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < values; i++)
        x[i] = (float)mot_random_normal(seed, mot_stream("verify, picture"), (uint64_t)i);
    const double time = 500; /* halfway between the picture and noise */
    struct mot_seen seen = {.x = x, .target = x, .time = &time};
    if (!rc)
        rc = mot_model_route(m, &b, 0, &seen);
    if (!rc)
        rc = mot_model_run(m, false);
    if (!rc)
        rc = mot_model_told(m, out->told);
    mot_batch_free(&b);
    mot_free(x);
    return rc;
}

static int run(const struct mot_converter *side, const struct shared *s, int which, uint64_t seed, int threads, struct logits *out)
{
    char err[200];
    const struct mot_kernels *kernels = mot_kernels_cpu(NULL, NULL, err, sizeof err);
    if (!kernels)
        return mot_fail(MOT_EDEVICE, "%s", err);
    struct mot_model *m = mot_model_new(&side->to.config, &side->to.vocab, kernels, threads, out->rows, out->rows, false);
    int rc = m ? mot_converter_load(side, m) : MOT_ENOMEM;
    if (!rc)
        rc = run_ids(m, s, which, seed, out);
    if (!rc && s->width > 0)
        rc = run_picture(m, s, which, seed, out);
    mot_model_free(m);
    return rc;
}

static double larger(double a, double b)
{
    return isnan(b) || b > a ? b : a; /* a NaN must not get lost */
}

static void compare(const struct logits *a, const struct logits *b, const struct shared *s, struct mot_difference *d)
{
    for (int64_t i = 0; i < a->rows * s->n; i++) {
        d->logit = larger(d->logit, fabs(a->z[i] - b->z[i]));
        d->largest = larger(d->largest, fabs(a->z[i]));
    }
    for (int64_t r = 0; r < a->rows; r++)
        d->nll = larger(d->nll, fabs(a->nll[r] - b->nll[r]));
    for (int64_t i = 0; i < a->rows * s->width; i++) {
        d->told = larger(d->told, fabs((double)a->told[i] - (double)b->told[i]));
        d->largest_told = larger(d->largest_told, fabs((double)a->told[i]));
    }
}

int mot_compare_models(const char *a, const char *b, int64_t tokens, uint64_t seed, int threads, struct mot_difference *d)
{
    struct mot_converter *side[2] = {open_side(a), NULL};
    struct shared s = {0};
    struct logits z[2] = {{0}, {0}};
    int rc = side[0] && (side[1] = open_side(b)) ? share(&s, side) : MOT_EFORMAT;
    for (int i = 0; i < 2 && !rc; i++)
        if (side[i]->to.config.max_position_embeddings < tokens)
            tokens = side[i]->to.config.max_position_embeddings;
    for (int i = 0; i < 2 && !rc; i++) {
        z[i].rows = tokens;
        rc = run(side[i], &s, i, seed, threads, &z[i]);
    }
    *d = (struct mot_difference){.tokens = tokens, .ids = s.n, .text_ids = s.text, .patches = s.width > 0 ? tokens : 0};
    if (!rc)
        compare(&z[0], &z[1], &s, d);
    for (int i = 0; i < 2; i++) {
        mot_converter_close(side[i]);
        mot_free(z[i].z);
        mot_free(z[i].nll);
        mot_free(z[i].told);
    }
    return rc;
}
