/* SPDX-License-Identifier: MIT
 *
 * route.c - modality routing, once a batch: sort the rows by modality, stably, on the host.
 *
 * After this each tower's rows are contiguous and stay so through all layers; the only things that
 * still know the order of the text are seq and row, which rope and attention use.
 */
#include "model.h"

int mot_model_modality(const struct mot_model *m, int32_t id)
{
    int k = 0;
    while (k + 1 < m->config.n_modalities && id >= m->first[k + 1])
        k++;
    return k;
}

double mot_batch_weight(const struct mot_model *m, const struct mot_batch *b)
{
    double sum = 0;
    for (int64_t i = 0; i < b->n; i++)
        if (mot_predicts_id(m, b->id[i], b->target[i]))
            sum += m->config.loss_weight[mot_model_modality(m, b->target[i])];
    return sum;
}

bool mot_predicts_id(const struct mot_model *m, int32_t id, int32_t target)
{
    return m->vectors < 0 || (mot_model_modality(m, id) != m->vectors && mot_model_modality(m, target) != m->vectors);
}

static int check(const struct mot_model *m, const struct mot_batch *b)
{
    if (b->n > m->rows)
        return mot_fail(MOT_EARG, "a batch of %lld rows where at most %lld were planned", (long long)b->n,
                        (long long)m->rows);
    for (int64_t p = 0; p < b->n_pieces; p++)
        if (b->piece[p + 1] - b->piece[p] > m->seq)
            return mot_fail(MOT_EARG, "a piece of %lld tokens where at most %lld were planned",
                            (long long)(b->piece[p + 1] - b->piece[p]), (long long)m->seq);
    for (int64_t i = 0; i < b->n; i++)
        if (b->id[i] < 0 || b->id[i] >= m->config.vocab_size || b->target[i] < 0 ||
            b->target[i] >= m->config.vocab_size)
            return mot_fail(MOT_EARG, "token %d is outside the model's vocabulary of %lld", (int)b->id[i],
                            (long long)m->config.vocab_size);
    return MOT_OK;
}

int mot_model_route(struct mot_model *m, const struct mot_batch *b, double weight_scale, const struct mot_seen *p)
{
    return mot_model_route_behind(m, b, weight_scale, p, NULL);
}

/* past: of each piece, or NULL: all begin at position 0. */
int mot_model_route_behind(struct mot_model *m, const struct mot_batch *b, double weight_scale, const struct mot_seen *p,
                           const struct mot_past *past)
{
    int rc = check(m, b);
    if (rc)
        return rc;
    struct mot_routed *r = &m->batch;
    int64_t count[MOT_MAX_MODALITIES] = {0};
    for (int64_t i = 0; i < b->n; i++)
        count[mot_model_modality(m, b->id[i])]++;
    int64_t next[MOT_MAX_MODALITIES];
    r->begin[0] = 0;
    for (int k = 0; k < m->config.n_modalities; k++) {
        next[k] = r->begin[k];
        r->begin[k + 1] = r->begin[k] + count[k];
    }
    for (int64_t q = 0; q < b->n_pieces; q++) {
        r->host_segments[q] = (struct mot_segment){b->piece[q], b->piece[q + 1] - b->piece[q]};
        for (int64_t s = b->piece[q]; s < b->piece[q + 1]; s++) {
            int64_t i = next[mot_model_modality(m, b->id[s])]++;
            r->host_id[i] = b->id[s];
            /* The head reads targets of rows without a loss too, so they must be ids that it knows. */
            r->host_target[i] = mot_predicts_id(m, b->id[s], b->target[s]) ? b->target[s] : b->id[s];
            r->host_pos[i] = (int32_t)(s - b->piece[q] + (past ? past[q].length : 0));
            r->host_seq[i] = (int32_t)s;
            r->host_row[s] = (int32_t)i;
            double weight = m->config.loss_weight[mot_model_modality(m, b->target[s])];
            r->host_weight[i] = (mot_real)(mot_predicts_id(m, b->id[s], b->target[s]) ? weight_scale * weight : 0);
        }
    }
    r->grows = r->behind = false;
    r->n = b->n;
    r->n_segments = b->n_pieces;
    rc = mot_patches_route(m, b, p);
    if (rc)
        return rc;
    size_t n = (size_t)b->n;
    m->k->write(m->d, r->id, r->host_id, n * sizeof *r->id);
    m->k->write(m->d, r->target, r->host_target, n * sizeof *r->target);
    m->k->write(m->d, r->pos, r->host_pos, n * sizeof *r->pos);
    m->k->write(m->d, r->seq, r->host_seq, n * sizeof *r->seq);
    m->k->write(m->d, r->row, r->host_row, n * sizeof *r->row);
    m->k->write(m->d, r->weight, r->host_weight, n * sizeof *r->weight);
    m->k->write(m->d, r->segments, r->host_segments, (size_t)b->n_pieces * sizeof *r->segments);
    struct mot_mix mix = {b->n, r->begin, m->config.n_modalities, r->segments, b->n_pieces, r->until};
    r->any_mix = m->k->batch(m->d, &mix);
    return MOT_OK;
}

int mot_groups(const struct mot_model *m, enum mot_component c, int64_t layer, enum mot_weight w, enum mot_weight b,
               struct mot_group g[MOT_MAX_MODALITIES])
{
    int n = 0;
    for (int k = 0; k < m->config.n_modalities; k++) {
        int tower = m->config.tower_of[c][k];
        int64_t row = m->batch.begin[k], rows = m->batch.begin[k + 1] - row;
        int64_t offset = mot_offset(&m->table, w, layer, tower);
        if (rows == 0 && !m->batch.any_mix)
            continue;
        if (n > 0 && g[n - 1].w == offset && offset >= 0) /* neighbours that share a tower are one group */
            g[n - 1].rows += rows, g[n - 1].to = k + 1;
        else
            g[n++] = (struct mot_group){row, rows, offset, mot_offset(&m->table, b, layer, tower), k, k + 1};
    }
    return n;
}
