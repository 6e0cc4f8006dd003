/* SPDX-License-Identifier: MIT
 *
 * optimizer.c - gradient norms, clipping and AdamW (Loshchilov & Hutter 2019) over the tensor table.
 *
 * Tensors that are treated alike and lie together are one stretch: one call each.  A frozen stretch has factor
 * 0: its gradients count in no norm and are thrown away.  A tower without tokens in a batch has gradients of
 * zero; its moments still fade and its weights still decay, as in PyTorch with gradients set to zero.
 *
 * The rows that embedding and head have for one modality can be treated apart: they are named TENSOR:MODALITY.  So are the
 * tensors that take one modality's vectors in and out.
 */
#include <fnmatch.h>
#include <math.h>

#include "train.h"

/* The last pattern that matches a tensor's name, or that of its rows (NULL: it has none apart), holds. */
static double factor_of(const char *name, const char *rows, const struct mot_train_options *o, bool *used)
{
    double f = 1;
    for (int i = 0; i < o->n_patterns; i++)
        if (fnmatch(o->patterns[i].glob, name, 0) == 0 || (rows && fnmatch(o->patterns[i].glob, rows, 0) == 0)) {
            f = o->patterns[i].value;
            used[i] = true;
        }
    return f;
}

/* A piece of a tensor: lengthens the last stretch, or begins another. */
static void add_piece(struct mot_optimizer *o, const struct mot_tensor *w, int64_t offset, int64_t count, double factor)
{
    struct mot_stretch *s = o->n ? &o->stretch[o->n - 1] : NULL;
    if (!s || s->tower != w->tower || s->decays != mot_is_matrix(w) || s->factor != factor) {
        s = &o->stretch[o->n++];
        *s = (struct mot_stretch){offset, 0, w->tower, mot_is_matrix(w), factor};
    }
    s->count = offset + count - s->offset;
}

/* Embedding or head: rows of a modality after the other. */
static int add_rows(struct mot_optimizer *o, const struct mot_tensor *w, const struct mot_train_options *options, bool *used)
{
    const struct mot_model *m = o->m;
    for (int k = 0; k < m->config.n_modalities; k++) {
        char *rows = mot_format("%s:%s", w->name, m->config.modality[k]);
        if (!rows)
            return MOT_ENOMEM;
        int64_t width = w->shape[1], begin = m->first[k] * width, end = m->first[k + 1] * width;
        add_piece(o, w, w->offset + begin, end - begin, factor_of(w->name, rows, options, used));
        mot_free(rows);
    }
    return MOT_OK;
}

static int add_own(struct mot_optimizer *o, const struct mot_tensor *w, const struct mot_train_options *options, bool *used)
{
    char *name = mot_format("%s:%s", w->name, o->m->config.modality[o->m->vectors]);
    if (!name)
        return MOT_ENOMEM;
    add_piece(o, w, w->offset, w->count, factor_of(w->name, name, options, used));
    mot_free(name);
    return MOT_OK;
}

static int find_stretches(struct mot_optimizer *o, const struct mot_train_options *options)
{
    const struct mot_table *t = &o->m->table;
    bool *used = mot_alloc((size_t)options->n_patterns, sizeof *used);
    o->stretch = mot_alloc((size_t)t->n + 2 * MOT_MAX_MODALITIES, sizeof *o->stretch);
    if (!used || !o->stretch) {
        mot_free(used);
        return MOT_ENOMEM;
    }
    int rc = MOT_OK;
    for (int64_t i = 0; i < t->n && !rc; i++) {
        const struct mot_tensor *w = &t->tensor[i];
        if (w->weight == MOT_W_EMBED || w->weight == MOT_W_HEAD)
            rc = add_rows(o, w, options, used);
        else if (w->weight >= MOT_W_PATCH_IN)
            rc = add_own(o, w, options, used);
        else
            add_piece(o, w, w->offset, w->count, factor_of(w->name, NULL, options, used));
    }
    for (int i = 0; i < options->n_patterns && !rc; i++)
        if (!used[i])
            rc = mot_fail(MOT_EARG, "pattern \"%s\" matches no tensor (mot-model(5) has the names)",
                          options->patterns[i].glob);
    mot_free(used);
    return rc;
}

int mot_optimizer_new(struct mot_optimizer *o, struct mot_model *m, const struct mot_train_options *options)
{
    *o = (struct mot_optimizer){.m = m};
    int rc = find_stretches(o, options);
    if (rc)
        return rc;
    size_t bytes = (size_t)m->table.values * sizeof(mot_real), n = (size_t)o->n;
    o->exp_avg = m->k->alloc(m->d, bytes);
    o->exp_avg_sq = m->k->alloc(m->d, bytes);
    o->sums = m->k->alloc(m->d, n * sizeof *o->sums);
    o->scale = m->k->alloc(m->d, sizeof *o->scale);
    o->host_sums = mot_alloc(n, sizeof *o->host_sums);
    if (!o->exp_avg || !o->exp_avg_sq || !o->sums || !o->scale || !o->host_sums)
        return mot_fail(MOT_ENOMEM, "memory is short: the optimizer takes %.1f MB", 2e-6 * (double)bytes);
    m->k->zero(m->d, o->exp_avg, bytes);
    m->k->zero(m->d, o->exp_avg_sq, bytes);
    return MOT_OK;
}

void mot_optimizer_free(struct mot_optimizer *o)
{
    if (o->m) {
        o->m->k->free(o->m->d, o->exp_avg);
        o->m->k->free(o->m->d, o->exp_avg_sq);
        o->m->k->free(o->m->d, o->sums);
        o->m->k->free(o->m->d, o->scale);
    }
    mot_free(o->host_sums);
    mot_free(o->stretch);
    *o = (struct mot_optimizer){0};
}

void mot_optimizer_start_norms(struct mot_optimizer *o)
{
    struct mot_model *m = o->m;
    for (int i = 0; i < o->n; i++) {
        if (o->stretch[i].factor != 0)
            m->k->sumsq(m->d, o->sums + i, m->grads + o->stretch[i].offset, o->stretch[i].count);
        else
            m->k->zero(m->d, o->sums + i, sizeof *o->sums);
    }
    m->k->collect(m->d, o->host_sums, o->sums, (size_t)o->n * sizeof *o->sums);
}

void mot_optimizer_end_norms(const struct mot_optimizer *o, struct mot_step *s)
{
    const struct mot_model *m = o->m;
    double all = 0, shared = 0, tower[MOT_MAX_MODALITIES] = {0};
    for (int i = 0; i < o->n; i++) {
        all += o->host_sums[i];
        *(o->stretch[i].tower < 0 ? &shared : &tower[o->stretch[i].tower]) += o->host_sums[i];
    }
    s->grad_norm = sqrt(all);
    s->grad_norm_shared = sqrt(shared);
    for (int t = 0; t < m->config.n_towers; t++)
        s->grad_norm_tower[t] = sqrt(tower[t]);
}

int mot_optimizer_norms(struct mot_optimizer *o, struct mot_step *s)
{
    mot_optimizer_start_norms(o);
    int rc = mot_model_wait(o->m);
    if (!rc)
        mot_optimizer_end_norms(o, s);
    return rc;
}

void mot_optimizer_step(struct mot_optimizer *o, const struct mot_train_options *options, double lr, int64_t step)
{
    struct mot_model *m = o->m;
    m->k->clip(m->d, o->scale, o->sums, o->n, (mot_real)options->clip);
    for (int i = 0; i < o->n; i++) {
        const struct mot_stretch *s = &o->stretch[i];
        if (s->factor == 0)
            m->k->zero(m->d, m->grads + s->offset, (size_t)s->count * sizeof *m->grads);
        else
            m->k->adamw(m->d, m->params + s->offset, o->exp_avg + s->offset, o->exp_avg_sq + s->offset,
                        m->grads + s->offset, s->count, o->scale, (mot_real)(lr * s->factor),
                        (mot_real)options->beta1, (mot_real)options->beta2, (mot_real)options->eps,
                        (mot_real)(s->decays ? options->weight_decay : 0), step);
    }
}
