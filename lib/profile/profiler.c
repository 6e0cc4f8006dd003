/* SPDX-License-Identifier: MIT
 *
 * profiler.c - whole steps of a model on made-up tokens, with every operation timed.
 *
 * What is run is what mot-train runs: route, forward, backward, gradient norms, clipping, AdamW.  Weights are random,
 * tokens drawn by the workload's mix, each by itself, so that modalities lie as mixed as they can.
 */
#include "probe.h"

struct mot_profiler {
    struct mot_profiler_options o;
    struct mot_train_options train; /* the optimizer's settings */
    struct mot_config config;
    struct mot_model *m;
    struct mot_optimizer optimizer;
    struct mot_probe probe;
    struct mot_batch batch;
    struct mot_memory memory;
    double flops, recomputed; /* of a step, by mot_forward_flops and mot_recompute_flops */
    int64_t steps, recorded;
    double recorded_seconds;
    struct mot_profile_row *row;
    int64_t n_rows;
};

/* Every modality gets ids: text what the others leave, an eighth of the vocabulary each. */
static void made_up_vocabulary(const struct mot_config *c, struct mot_vocab *v)
{
    int others = c->n_modalities - 1;
    int64_t each = c->vocab_size / (8 + others), first = c->vocab_size - others * each;
    *v = (struct mot_vocab){.n_modalities = c->n_modalities, .size = (int32_t)c->vocab_size};
    for (int m = 0; m < c->n_modalities; m++) {
        memcpy(v->modality[m].name, c->modality[m], MOT_NAME_BYTES);
        v->modality[m].first = (int32_t)(m ? first + (m - 1) * each : 0);
        v->modality[m].n = (int32_t)(m ? each : first);
    }
}

static int32_t draw(const struct mot_profiler *p, const struct mot_vocab *v, uint64_t index)
{
    double x = mot_random_uniform(p->o.seed, mot_stream("profiler modality"), index);
    int m = 0;
    for (double sum = p->o.work.mix[0]; m + 1 < v->n_modalities && x >= sum; sum += p->o.work.mix[m])
        m++;
    while (p->o.work.mix[m] == 0 && m > 0) /* rounding must not find a modality without a share */
        m--;
    uint64_t n = (uint64_t)v->modality[m].n;
    return v->modality[m].first + (int32_t)mot_random_below(p->o.seed, mot_stream("profiler id"), index, n);
}

static int make_batch(struct mot_profiler *p, const struct mot_vocab *v)
{
    const struct mot_workload *w = &p->o.work;
    for (int m = 0; m < v->n_modalities; m++)
        if (w->mix[m] > 0 && v->modality[m].n < 1)
            return mot_fail(MOT_EARG, "a vocabulary of %d has no ids for modality \"%s\"", (int)v->size, v->modality[m].name);
    int32_t *id = mot_alloc((size_t)w->document + 1, sizeof *id);
    int rc = id ? MOT_OK : MOT_ENOMEM;
    uint64_t index = 0;
    double pairs = 0;
    for (int64_t s = 0; s < w->batch && !rc; s++)
        for (int64_t left = w->seq; left > 0 && !rc;) {
            int64_t n = left < w->document ? left : w->document;
            for (int64_t i = 0; i <= n; i++)
                id[i] = draw(p, v, index++);
            rc = mot_batch_add(&p->batch, id, n);
            pairs += (double)n * (double)(n + 1) / 2;
            left -= n;
        }
    mot_free(id);
    struct mot_rows r = {.n = w->batch * w->seq, .pairs = pairs};
    p->flops = (p->o.forward_only ? 1 : 3) * mot_forward_flops(&p->config, &r);
    p->recomputed = p->o.forward_only ? 0 : mot_recompute_flops(&p->config, &r, w->recompute);
    return rc;
}

static int open_parts(struct mot_profiler *p, const struct mot_vocab *vocab)
{
    const struct mot_workload *w = &p->o.work;
    const struct mot_kernels *k = mot_device_find(p->o.device, p->o.dtype);
    struct mot_vocab made_up;
    if (!k)
        return MOT_EDEVICE;
    if (!vocab)
        made_up_vocabulary(&p->config, &made_up), vocab = &made_up;
    int rc = mot_model_plan(&p->config, k, w->batch * w->seq, w->seq, !p->o.forward_only, w->recompute, p->o.threads,
                            &p->memory);
    if (!rc)
        rc = make_batch(p, vocab);
    if (rc)
        return rc;
    p->m = p->o.forward_only
               ? mot_model_new(&p->config, vocab, k, p->o.threads, w->batch * w->seq, w->seq, false)
               : mot_model_new_training(&p->config, vocab, k, p->o.threads, w->batch * w->seq, w->seq, w->recompute);
    if (!p->m)
        return MOT_ENOMEM;
    rc = mot_model_init(p->m, p->o.seed);
    p->train = (struct mot_train_options){.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1};
    if (!rc && !p->o.forward_only)
        rc = mot_optimizer_new(&p->optimizer, p->m, &p->train);
    if (!rc)
        rc = mot_probe_attach(&p->probe, p->m, p->o.trace ? 1 << 18 : 0);
    return rc;
}

struct mot_profiler *mot_profiler_open(const struct mot_config *c, const struct mot_vocab *v,
                                       const struct mot_profiler_options *o)
{
    struct mot_profiler *p = mot_alloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->o = *o;
    p->config = *c;
    if (mot_workload_settle(c, &p->o.work) || open_parts(p, v)) {
        mot_profiler_close(p);
        return NULL;
    }
    return p;
}

void mot_profiler_close(struct mot_profiler *p)
{
    if (!p)
        return;
    mot_probe_detach(&p->probe);
    mot_optimizer_free(&p->optimizer);
    mot_model_free(p->m);
    mot_batch_free(&p->batch);
    mot_free(p->row);
    mot_free(p);
}

const struct mot_workload *mot_profiler_workload(const struct mot_profiler *p)
{
    return &p->o.work;
}

const struct mot_memory *mot_profiler_memory(const struct mot_profiler *p)
{
    return &p->memory;
}

int mot_profiler_threads(const struct mot_profiler *p)
{
    return p->probe.k->threads(p->probe.d);
}

double mot_profiler_flops(const struct mot_profiler *p)
{
    return p->flops;
}

double mot_profiler_recomputed(const struct mot_profiler *p)
{
    return p->recomputed;
}

int mot_profiler_step(struct mot_profiler *p, bool record, double *seconds)
{
    struct mot_step s = {0};
    p->probe.recording = record;
    double from = mot_probe_now();
    int rc = mot_model_route(p->m, &p->batch, 1 / mot_batch_weight(p->m, &p->batch), NULL);
    if (!rc)
        rc = mot_model_run(p->m, !p->o.forward_only);
    if (!rc && !p->o.forward_only)
        rc = mot_optimizer_norms(&p->optimizer, &s);
    if (!rc && !p->o.forward_only)
        mot_optimizer_step(&p->optimizer, &p->train, 1e-4, ++p->steps);
    if (!rc && p->m->k->sync(p->m->d))
        rc = mot_fail(MOT_EDEVICE, "%s: %s", p->m->k->name, p->m->k->error(p->m->d));
    *seconds = mot_probe_now() - from;
    p->probe.recording = false;
    if (record && !rc) {
        p->recorded++;
        p->recorded_seconds += *seconds;
    }
    return rc;
}

void mot_profiler_reset(struct mot_profiler *p)
{
    mot_probe_reset(&p->probe);
    p->recorded = 0;
    p->recorded_seconds = 0;
}

static int add_row(struct mot_profiler *p, int64_t *capacity, struct mot_profile_row r)
{
    int rc = mot_grow((void **)&p->row, p->n_rows, capacity, sizeof *p->row);
    if (!rc)
        p->row[p->n_rows++] = r;
    return rc;
}

int mot_profiler_rows(struct mot_profiler *p, const struct mot_profile_row **rows, int64_t *n)
{
    int64_t capacity = 0;
    int rc = MOT_OK;
    mot_free(p->row);
    p->row = NULL, p->n_rows = 0;
    for (enum mot_op op = 0; op < MOT_OPS; op++)
        for (enum mot_direction d = 0; d < MOT_DIRECTIONS; d++)
            for (int64_t l = -1; l < p->config.num_hidden_layers; l++)
                for (int t = -1; t < p->config.n_towers && !rc; t++) {
                    const struct mot_cell *c = mot_probe_cell(&p->probe, op, d, l, t);
                    if (c->calls)
                        rc = add_row(p, &capacity, (struct mot_profile_row){mot_op_name(op), mot_direction_name(d), l, t,
                                                                            c->calls, c->seconds, c->busy, c->flops, c->bytes});
                }
    /* What is not an operation: routing on the host, and the way from one operation to the next. */
    if (!rc && p->recorded)
        rc = add_row(p, &capacity, (struct mot_profile_row){.op = "(between)", .direction = "-", .layer = -1, .tower = -1,
                                                            .calls = p->recorded,
                                                            .seconds = p->recorded_seconds - p->probe.seconds});
    *rows = p->row;
    *n = p->n_rows;
    return rc;
}

int mot_profiler_trace(const struct mot_profiler *p, const char *path)
{
    return mot_trace_write(&p->probe, path);
}
