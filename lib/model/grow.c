/* SPDX-License-Identifier: MIT
 *
 * grow.c - sequences that go on: their keys and values are remembered, and new tokens attend to them.
 *
 * A sequence that begins goes through the attention of training; tokens behind something remembered, one or several of a
 * sequence, are rows of attention_past, each with the past that it may see.
 */
#include "model.h"

int mot_past_new(struct mot_model *m, int64_t capacity, struct mot_past *p)
{
    const struct mot_config *c = &m->config;
    size_t bytes = (size_t)(2 * c->num_hidden_layers * c->num_key_value_heads * c->head_dim);
    *p = (struct mot_past){.capacity = capacity};
    if (mot_mul(bytes, (size_t)capacity, &bytes) && mot_mul(bytes, m->k->activation, &bytes))
        p->kv = m->k->alloc(m->d, bytes);
    return p->kv ? MOT_OK
                 : mot_fail(MOT_ENOMEM, "memory is short: remembering %lld tokens takes %.1f MB", (long long)capacity,
                            1e-6 * (double)bytes);
}

static int check(const struct mot_model *m, const struct mot_batch *b, const struct mot_past *past, bool behind)
{
    if (behind && (b->n > m->sequences || b->n_pieces > m->sequences))
        return mot_fail(MOT_EARG, "%lld tokens behind others where at most %lld were planned", (long long)b->n,
                        (long long)m->sequences);
    for (int64_t p = 0; p < b->n_pieces; p++)
        if (past[p].length + b->piece[p + 1] - b->piece[p] > past[p].capacity)
            return mot_fail(MOT_EARG, "a sequence grows beyond the %lld tokens that there is room for",
                            (long long)past[p].capacity);
    return MOT_OK;
}

int mot_model_grow(struct mot_model *m, const struct mot_batch *b, struct mot_past *past, const struct mot_seen *seen)
{
    struct mot_routed *r = &m->batch;
    bool behind = b->n_pieces > 1;
    for (int64_t p = 0; p < b->n_pieces; p++)
        behind |= past[p].length > 0;
    int rc = check(m, b, past, behind);
    if (!rc)
        rc = mot_model_route_behind(m, b, 0, seen, past);
    if (rc)
        return rc;
    for (int64_t p = 0; p < b->n_pieces; p++) {
        r->host_piece_past[p] = past[p];
        for (int64_t s = b->piece[p]; behind && s < b->piece[p + 1]; s++) {
            r->host_row_past[s] = past[p];
            r->host_row_past[s].length += (r->until ? r->host_until[s] - 1 : s) - b->piece[p];
        }
    }
    m->k->write(m->d, r->piece_past, r->host_piece_past, (size_t)b->n_pieces * sizeof *r->piece_past);
    if (behind)
        m->k->write(m->d, r->row_past, r->host_row_past, (size_t)b->n * sizeof *r->row_past);
    r->grows = true;
    r->behind = behind;
    mot_forward_layers(m);
    for (int64_t p = 0; p < b->n_pieces; p++)
        past[p].length += b->piece[p + 1] - b->piece[p];
    if (m->k->sync(m->d))
        return mot_fail(MOT_EDEVICE, "%s: %s", m->k->name, m->k->error(m->d));
    return MOT_OK;
}

int mot_model_logits(struct mot_model *m, const int64_t *position, int64_t n, mot_real *z)
{
    int64_t C = m->config.hidden_size, V = m->config.vocab_size;
    int64_t head = mot_offset(&m->table, m->config.tie_word_embeddings ? MOT_W_EMBED : MOT_W_HEAD, 0, 0);
    size_t row = (size_t)C * m->k->activation;
    char *to = (char *)m->chosen;
    const char *from = (const char *)m->final_norm;
    for (int64_t i = 0; i < n; i += MOT_FEW) {
        int64_t rows = n - i < MOT_FEW ? n - i : MOT_FEW;
        for (int64_t k = 0; k < rows; k++)
            m->k->copy(m->d, to + (size_t)k * row, from + (size_t)m->batch.host_row[position[i + k]] * row, row);
        m->k->logits(m->d, m->logits, m->chosen, m->params + head, rows, C, V);
        m->k->read(m->d, z + i * V, m->logits, (size_t)(rows * V) * sizeof *z);
    }
    if (m->k->sync(m->d))
        return mot_fail(MOT_EDEVICE, "%s: %s", m->k->name, m->k->error(m->d));
    return MOT_OK;
}
