/* SPDX-License-Identifier: MIT
 *
 * profiler.c - whole steps of a model on made-up tokens, with every operation timed.
 *
 * What is run is what mot-train runs: route, forward, backward, gradient norms, clipping, AdamW.  Weights are random,
 * tokens drawn by the workload's mix, each by itself, so that modalities lie as mixed as they can.  Patches of pictures of
 * vectors stand together at the end of each document, as pictures of at most 256.
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
    struct mot_noise noise;
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
    int64_t each = c->vocab_size / (8 + others), end = c->vocab_size;
    *v = (struct mot_vocab){.n_modalities = c->n_modalities, .size = (int32_t)c->vocab_size};
    for (int m = c->n_modalities - 1; m >= 0; m--) {
        memcpy(v->modality[m].name, c->modality[m], MOT_NAME_BYTES);
        v->modality[m].width = (int32_t)c->latent_size[m];
        v->modality[m].n = (int32_t)(m == 0 ? end : c->latent_size[m] ? 1 : each);
        v->modality[m].first = (int32_t)(end -= v->modality[m].n);
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

/* Patches to the end of a document's n tokens, the others in their order before them; returned is where patches begin. */
static int64_t gather_patches(int32_t *id, int64_t n, int32_t patch)
{
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++)
        if (id[i] != patch)
            id[at++] = id[i];
    for (int64_t i = at; i < n; i++)
        id[i] = patch;
    return at;
}

static int add_pictures(struct mot_profiler *p, int64_t begin, int64_t width)
{
    enum { PATCHES = 256 };
    uint16_t *zeros = mot_alloc((size_t)(PATCHES * width), sizeof *zeros);
    int rc = zeros ? MOT_OK : MOT_ENOMEM;
    for (int64_t n; !rc && begin < p->batch.n; begin += n) {
        n = p->batch.n - begin < PATCHES ? p->batch.n - begin : PATCHES;
        struct mot_picture picture = {.begin = begin, .n = n, .rows = 1, .columns = (int32_t)n};
        rc = mot_batch_add_picture(&p->batch, &picture, zeros, n * width);
    }
    mot_free(zeros);
    return rc;
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
    int vectors = mot_vectors_of(&p->config);
    for (int64_t s = 0; s < w->batch && !rc; s++)
        for (int64_t left = w->seq; left > 0 && !rc;) {
            int64_t n = left < w->document ? left : w->document;
            for (int64_t i = 0; i <= n; i++)
                id[i] = draw(p, v, index++);
            int64_t first = p->batch.n + (vectors < 0 ? n : gather_patches(id, n, v->modality[vectors].first));
            rc = mot_batch_add(&p->batch, id, n);
            if (!rc && first < p->batch.n)
                rc = add_pictures(p, first, p->config.latent_size[vectors]);
            left -= n;
        }
    mot_free(id);
    struct mot_rows rows = mot_batch_rows(&p->batch);
    p->flops = (p->o.forward_only ? 1 : 3) * mot_forward_flops(&p->config, &rows);
    p->recomputed = p->o.forward_only ? 0 : mot_recompute_flops(&p->config, &rows, w->recompute);
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
    if (!rc)
        rc = mot_noise_new(&p->noise, &p->config);
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
    mot_noise_free(&p->noise);
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

void mot_profiler_gpu(struct mot_profiler *p, struct mot_gpu *g)
{
    struct mot_about a;
    p->probe.k->about(p->probe.d, &a);
    *g = (struct mot_gpu){.memory = a.memory, .clock = a.clock, .memory_clock = a.memory_clock,
                          .peak = a.name[0] ? mot_gpu_peak(a.name, p->o.dtype) : 0};
    snprintf(g->name, sizeof g->name, "%s", a.name);
}

int mot_profiler_step(struct mot_profiler *p, bool record, double *seconds)
{
    struct mot_step s = {0};
    p->probe.recording = record;
    double from = mot_probe_now();
    double weight = mot_batch_weight(p->m, &p->batch);
    int rc = mot_noise_training(&p->noise, &p->batch, 1, p->o.seed, p->steps, 0);
    struct mot_seen seen = {p->noise.x, p->noise.target, p->noise.time, 1.0 / (double)p->batch.n};
    if (!rc)
        rc = mot_model_route(p->m, &p->batch, weight > 0 ? 1 / weight : 0, &seen);
    if (!rc)
        mot_model_start(p->m, !p->o.forward_only);
    if (!rc && !p->o.forward_only)
        mot_optimizer_start_norms(&p->optimizer);
    if (!rc)
        rc = mot_model_wait(p->m);
    if (!rc && !p->o.forward_only)
        mot_optimizer_end_norms(&p->optimizer, &s);
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
