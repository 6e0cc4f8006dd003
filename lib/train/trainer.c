/* SPDX-License-Identifier: MIT
 *
 * trainer.c - a run: shards in, a model folder that grows better out.
 *
 * One step: draw `accumulate` batches; divide by the sum of loss weights of all their targets, so that
 * accumulation changes rounding alone; forward and backward; look at loss and gradient norm before any weight
 * moves; clip; AdamW.  The minimised loss is  sum_i w_i (nll_i + z_loss lse_i^2) / sum_i w_i, w_i being the
 * loss weight of target i's modality; pictures of vectors add their loss weight times the mean error of their patches.
 */
#include <errno.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "../token/token.h"
#include "train.h"

struct mot_trainer {
    struct mot_train_options o;
    char *run;
    int lock; /* of the run's folder */
    struct mot_config config;
    struct mot_vocab vocab;
    struct mot_model *m;
    struct mot_optimizer optimizer;
    struct mot_ahead ahead;
    struct mot_noise noise;
    struct mot_progress done;
    int64_t steps;
    json_t *options; /* of this run, for the checkpoint */
    struct mot_bytes notice; /* zero-terminated sentences not yet fetched */
    size_t notice_at;
};

/* ---- options as JSON: stored with a checkpoint, compared on resume ---- */

static json_t *options_json(const struct mot_train_options *o, int64_t steps)
{
    static const char *const schedule[] = {"cosine", "linear", "constant"};
    json_t *patterns = json_array();
    for (int i = 0; i < o->n_patterns; i++)
        json_array_append_new(patterns, json_pack("[s, f]", o->patterns[i].glob, o->patterns[i].value));
    json_t *shards = json_array();
    for (int i = 0; i < o->n_shards; i++)
        json_array_append_new(shards, json_string(o->shards[i]));
    json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:o, s:o}", "steps",
                          (json_int_t)steps, "batch", (json_int_t)o->batch, "seq", (json_int_t)o->seq, "accumulate",
                          (json_int_t)o->accumulate, "shuffle", (json_int_t)o->shuffle, "seed", (json_int_t)o->seed,
                          "lr", o->lr, "min_lr", o->min_lr, "weight_decay", o->weight_decay, "beta1", o->beta1,
                          "beta2", o->beta2, "eps", o->eps, "clip", o->clip, "schedule", schedule[o->schedule],
                          "patterns", patterns, "shards", shards);
    if (!j) {
        mot_fail(MOT_ENOMEM, "out of memory");
        return NULL;
    }
    json_object_set_new(j, "warmup", json_integer(o->warmup));
    if (o->noise_limit != MOT_NOISE_LIMIT || o->drop != MOT_DROP) { /* as usual: not worth a word, least where they mean nothing */
        json_object_set_new(j, "noise_limit", json_real(o->noise_limit));
        json_object_set_new(j, "drop", json_real(o->drop));
    }
    json_object_set_new(j, "dtype", json_string(o->dtype ? o->dtype : "f32"));
    return j;
}

static int notice(struct mot_trainer *t, const char *key, const json_t *was, const json_t *is)
{
    char *a = json_dumps(was, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    char *b = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    int rc = mot_bytes_format(&t->notice, "%s was %.200s in the saved run and is %.200s now", key, a ? a : "not set",
                              b ? b : "not set");
    if (!rc)
        rc = mot_bytes_append(&t->notice, "", 1);
    mot_free(a);
    mot_free(b);
    return rc;
}

static int compare_options(struct mot_trainer *t, json_t *saved)
{
    const char *key;
    json_t *v;
    int rc = MOT_OK;
    json_object_foreach(t->options, key, v)
    {
        json_t *was = json_object_get(saved, key);
        if (!rc && !json_equal(was, v))
            rc = notice(t, key, was, v);
    }
    return rc;
}

const char *mot_trainer_notice(struct mot_trainer *t)
{
    if (t->notice_at >= t->notice.n)
        return NULL;
    const char *s = (const char *)t->notice.data + t->notice_at;
    t->notice_at += strlen(s) + 1;
    return s;
}

/* ---- opening ---- */

static bool in_run(const char *run, const char *name)
{
    char *path = mot_path(run, name);
    bool there = path && mot_file_exists(path);
    mot_free(path);
    return there;
}

/* Where config and vocabulary come from: what was asked for, else the folder to start from, else the run itself. */
static const char *source_of(const char *asked, const struct mot_train_options *o)
{
    return asked ? asked : o->init && !o->resume ? o->init : o->resume ? o->run : NULL;
}

static int find_config(const struct mot_train_options *o, struct mot_config *c, struct mot_vocab *v)
{
    const char *config = source_of(o->config, o), *tokenizer = source_of(o->tokenizer, o);
    if (!config)
        return mot_fail(MOT_EARG, "no configuration: give -c PRESET or a config.json");
    if (!tokenizer)
        return mot_fail(MOT_EARG, "no tokenizer: give -t TOK, a folder made by mot-tokenize --learn");
    int rc = mot_vocab_load(v, tokenizer);
    if (!rc)
        rc = o->config ? mot_config_load(c, config) : mot_config_load_folder(c, config);
    if (!rc && o->objective)
        rc = mot_objective_find(&c->diffusion.objective, o->objective);
    if (!rc && o->unet)
        rc = mot_unet_find(&c->unet, o->unet);
    if (!rc)
        rc = mot_config_settle(c, config, v, o->arch);
    return rc;
}

static int check_options(const struct mot_train_options *o, const struct mot_config *c)
{
    if (o->batch < 1 || o->seq < 1 || o->accumulate < 1)
        return mot_fail(MOT_EARG, "batch, seq and accumulate must be at least 1");
    if (o->batch > INT32_MAX / o->seq)
        return mot_fail(MOT_EARG, "a batch of %lld sequences of %lld tokens is more than 2^31 rows", (long long)o->batch,
                        (long long)o->seq);
    if (o->seq > c->max_position_embeddings)
        return mot_fail(MOT_EARG, "--seq %lld is more than the config's max_position_embeddings, %lld", (long long)o->seq,
                        (long long)c->max_position_embeddings);
    if (mot_vectors_of(c) < 0 && (o->objective || (o->unet && strcmp(o->unet, "0") != 0)))
        return mot_fail(MOT_EARG, "%s is for pictures of vectors, and %s has none: mot-tokenize --learn --latent makes it have them",
                        o->objective ? "--objective" : "--unet", o->tokenizer ? o->tokenizer : "the vocabulary");
    return MOT_OK;
}

/* One pass over the shards: their rows in batches. */
static int count_steps(const struct mot_train_options *o, const struct mot_vocab *v, int64_t *steps)
{
    int64_t rows = 0;
    for (int i = 0; i < o->n_shards; i++) {
        struct mot_shard_counts n;
        if (strcmp(o->shards[i], "-") == 0)
            return mot_fail(MOT_EARG, "standard input has no known length: give --steps N");
        int rc = mot_shard_count(o->shards[i], v, &n);
        if (rc)
            return rc;
        rows += n.tokens - n.documents;
    }
    int64_t a_step = o->batch * o->seq * o->accumulate;
    *steps = rows / a_step > 0 ? rows / a_step : 1;
    return MOT_OK;
}

static int check_run_folder(const struct mot_train_options *o, bool asked_to_resume)
{
    if (!o->resume && asked_to_resume && in_run(o->run, "model.safetensors"))
        return mot_fail(MOT_EARG, "%s: has no training.safetensors to resume from, only weights: start from them with "
                                  "--init %s -o NEW", o->run, o->run);
    if (!o->resume && (mot_checkpoint_exists(o->run) || in_run(o->run, "model.safetensors")))
        return mot_fail(MOT_EARG, "%s: already holds a model: --resume goes on with it; or choose another folder", o->run);
    return MOT_OK;
}

static int copy_tokenizer(const char *from, const char *to)
{
    static const char *const files[] = {"tokenizer.json", "image.safetensors", "speech.safetensors", "vocab.json"};
    int rc = mot_copy_companions(from, to);
    for (int i = 0; i < MOT_COUNT(files) && !rc; i++)
        rc = mot_copy_if_there(from, to, files[i]);
    return rc;
}

static bool same_scaling(const struct mot_rope_scaling *a, const struct mot_rope_scaling *b)
{
    return a->type == b->type && a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
           a->high_freq_factor == b->high_freq_factor && a->original == b->original;
}

static bool same_diffusion(const struct mot_diffusion *a, const struct mot_diffusion *b)
{
    return a->objective == b->objective && a->steps == b->steps && a->shift == b->shift;
}

/* Whether tensors of the same names and shapes stand for the same function and the same loss. */
static bool same_meaning(const struct mot_config *a, const struct mot_config *b)
{
    bool same = a->norm_post == b->norm_post && a->qk_norm == b->qk_norm && a->rope_theta == b->rope_theta &&
                same_scaling(&a->rope_scaling, &b->rope_scaling) &&
                a->rms_norm_eps == b->rms_norm_eps && a->num_attention_heads == b->num_attention_heads &&
                a->z_loss == b->z_loss && a->n_modalities == b->n_modalities &&
                (mot_vectors_of(a) < 0 || same_diffusion(&a->diffusion, &b->diffusion));
    for (int m = 0; same && m < a->n_modalities; m++) {
        same = a->loss_weight[m] == b->loss_weight[m];
        for (int k = 0; same && k < MOT_COMPONENTS; k++)
            same = a->tower_of[k][m] == b->tower_of[k][m] || (k == MOT_QK_NORM && !a->qk_norm);
    }
    return same;
}

/* What begins and ends a document, for transformers, which knows it from no other file and would take Llama's ids. */
static int write_ends(const char *run, const struct mot_vocab *v)
{
    char *path = mot_path(run, "generation_config.json");
    int rc = path ? MOT_OK : MOT_ENOMEM;
    if (!rc && !mot_file_exists(path)) {
        json_t *j = json_object();
        if (v->bos >= 0)
            json_object_set_new(j, "bos_token_id", json_integer(v->bos));
        if (v->eos >= 0)
            json_object_set_new(j, "eos_token_id", json_integer(v->eos));
        rc = j ? mot_json_save(path, j) : MOT_ENOMEM;
        json_decref(j);
    }
    mot_free(path);
    return rc;
}

/* A resumed run must be the same model over the same vocabulary. */
static int check_same_run(const struct mot_trainer *t)
{
    struct mot_config c;
    struct mot_vocab v;
    int rc = mot_vocab_load(&v, t->run);
    if (!rc)
        rc = mot_config_load_folder(&c, t->run);
    if (!rc)
        rc = mot_config_settle(&c, t->run, &v, NULL);
    if (rc)
        return rc;
    if (strcmp(v.digest, t->vocab.digest) != 0)
        return mot_fail(MOT_EARG, "%s: the run has another vocabulary than %s", t->run, t->o.tokenizer);
    struct mot_table a = {0}, b = {0};
    rc = mot_table_build(&a, &c);
    if (!rc)
        rc = mot_table_build(&b, &t->config);
    bool same = !rc && a.n == b.n && same_meaning(&c, &t->config);
    for (int64_t i = 0; same && i < a.n; i++)
        same = strcmp(a.tensor[i].name, b.tensor[i].name) == 0 && a.tensor[i].count == b.tensor[i].count;
    if (!rc && !same)
        rc = mot_fail(MOT_EARG, "%s: the run has another configuration than %s", t->run,
                      t->o.config ? t->o.config : "--arch, --objective or --unet ask for");
    mot_table_free(&a);
    mot_table_free(&b);
    return rc;
}

/* Files half written by runs that were killed.  The folder is locked: nobody is writing them now. */
static void sweep(const char *run)
{
    static const char *const files[] = {"model.safetensors", "training.safetensors", "config.json", "log.jsonl"};
    for (int i = 0; i < MOT_COUNT(files); i++)
        mot_out_sweep(run, files[i]);
}

/* Weights that do not fit are most often those of the folder's own configuration, and another one was asked for. */
static int load_initial(struct mot_trainer *t)
{
    const struct mot_train_options *o = &t->o;
    int rc = mot_model_load(t->m, o->init);
    if (rc == MOT_EFORMAT && (o->config || o->tokenizer || o->arch || o->unet))
        return mot_fail(rc, "%s; where that is another configuration than %s has: mot-convert gives a folder towers, ids or a U-Net",
                        mot_error(), o->init);
    return rc;
}

static int start_fresh(struct mot_trainer *t)
{
    const struct mot_train_options *o = &t->o;
    int rc = o->init ? load_initial(t) : mot_model_init(t->m, o->seed);
    const char *tokenizer = source_of(o->tokenizer, o);
    if (!rc && strcmp(tokenizer, t->run) != 0)
        rc = copy_tokenizer(tokenizer, t->run);
    if (!rc)
        rc = write_ends(t->run, &t->vocab);
    if (!rc && o->init)
        rc = mot_copy_if_there(o->init, t->run, MOT_EXTRA_FILE);
    if (!rc)
        rc = mot_config_save(&t->config, t->run, o->init);
    if (!rc)
        rc = mot_log_cut(t->run, -1);
    return rc;
}

static int start_again(struct mot_trainer *t)
{
    json_t *saved = NULL;
    int rc = check_same_run(t);
    if (!rc)
        rc = mot_checkpoint_load(&t->optimizer, t->run, &t->done, &saved);
    if (!rc && t->o.steps < 0)
        t->steps = json_integer_value(json_object_get(saved, "steps"));
    if (!rc)
        t->options = options_json(&t->o, t->steps);
    if (!rc && !t->options)
        rc = MOT_ENOMEM;
    if (!rc && !json_object_get(saved, "dtype"))
        json_object_set_new(saved, "dtype", json_string("f32")); /* there was no other when it was saved */
    if (!rc)
        rc = compare_options(t, saved);
    if (!rc)
        rc = mot_log_cut(t->run, t->done.step);
    if (!rc)
        rc = mot_loader_seek(t->ahead.loader, t->done.position);
    json_decref(saved);
    return rc;
}

static int open_parts(struct mot_trainer *t, const struct mot_kernels *k)
{
    const struct mot_train_options *o = &t->o;
    t->m = mot_model_new_training(&t->config, &t->vocab, k, o->threads, o->batch * o->seq, o->seq, o->recompute);
    if (!t->m)
        return MOT_ENOMEM;
    int rc = mot_noise_new(&t->noise, &t->config);
    if (!rc)
        rc = mot_optimizer_new(&t->optimizer, t->m, o);
    return rc ? rc : mot_ahead_new(&t->ahead, o, &t->vocab);
}

struct mot_trainer *mot_trainer_open(const struct mot_train_options *options)
{
    struct mot_trainer *t = mot_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->o = *options;
    t->lock = -1;
    t->run = mot_strdup(options->run);
    const struct mot_kernels *k = mot_device_find(options->device, options->dtype);
    bool again = options->resume && mot_checkpoint_exists(options->run), there = t->run && mot_file_exists(t->run);
    int rc = t->run && k ? MOT_OK : MOT_EDEVICE;
    if (!rc && options->resume && !again) {
        t->o.resume = false;
        /* It may have been killed before its first save, with config and tokenizer already in place. */
        if (!t->o.config && in_run(t->run, "config.json"))
            t->o.config = t->run;
        if (!t->o.tokenizer && in_run(t->run, "tokenizer.json"))
            t->o.tokenizer = t->run;
        if (!t->o.config && !t->o.init)
            rc = mot_fail(MOT_EARG, "%s: holds no run to resume; give -c and -t to begin one", t->run);
        if (!rc)
            rc = mot_bytes_format(&t->notice, "%s: nothing saved yet to resume, starting at step 1", t->run);
        if (!rc)
            rc = mot_bytes_append(&t->notice, "", 1);
    }
    if (!rc)
        rc = check_run_folder(&t->o, options->resume);
    if (!rc)
        rc = find_config(&t->o, &t->config, &t->vocab);
    if (!rc)
        rc = check_options(&t->o, &t->config);
    t->steps = options->steps;
    if (!rc && t->steps < 0 && !again)
        rc = count_steps(&t->o, &t->vocab, &t->steps);
    if (!rc && t->steps > 0 && t->o.n_shards == 0)
        rc = mot_fail(MOT_EARG, "no shard to train on");
    if (!rc)
        rc = mot_make_folder(t->run);
    if (!rc)
        rc = mot_lock(t->run, &t->lock);
    if (!rc)
        sweep(t->run);
    if (!rc)
        rc = open_parts(t, k);
    if (!rc && !again) {
        t->options = options_json(&t->o, t->steps);
        rc = t->options ? start_fresh(t) : MOT_ENOMEM;
    } else if (!rc) {
        rc = start_again(t);
    }
    if (rc) {
        if (!there && t->run)
            rmdir(t->run); /* if nothing came into it */
        mot_trainer_close(t);
        return NULL;
    }
    return t;
}

void mot_trainer_close(struct mot_trainer *t)
{
    if (!t)
        return;
    mot_optimizer_free(&t->optimizer);
    mot_noise_free(&t->noise);
    mot_model_free(t->m);
    mot_ahead_free(&t->ahead);
    json_decref(t->options);
    mot_bytes_free(&t->notice);
    mot_unlock(t->lock);
    mot_free(t->run);
    mot_free(t);
}

int mot_trainer_plan(const struct mot_train_options *o, struct mot_config *c, struct mot_size *size,
                     struct mot_memory *memory, double *flops_a_step, double *recomputed)
{
    struct mot_vocab v;
    const struct mot_kernels *k = mot_device_find(o->device, o->dtype);
    int rc = k ? find_config(o, c, &v) : MOT_EDEVICE;
    if (!rc)
        rc = check_options(o, c);
    if (!rc)
        rc = mot_config_size(c, size);
    if (!rc)
        rc = mot_model_plan(c, k, o->batch * o->seq, o->seq, true, o->recompute, o->threads, memory);
    if (!rc) {
        int64_t n = o->batch * o->seq;
        /* Nothing of the data is known: equal shares of all modalities, as in mot_cost_of. */
        struct mot_rows r = {.n = n, .patches = mot_vectors_of(c) < 0 ? 0 : n / c->n_modalities,
                             .pairs = (double)n * (double)(o->seq + 1) / 2};
        *flops_a_step = 3 * (double)o->accumulate * mot_forward_flops(c, &r);
        *recomputed = (double)o->accumulate * mot_recompute_flops(c, &r, o->recompute);
    }
    return rc;
}

const struct mot_config *mot_trainer_config(const struct mot_trainer *t)
{
    return &t->config;
}

int64_t mot_trainer_steps(const struct mot_trainer *t)
{
    return t->steps;
}

int64_t mot_trainer_current(const struct mot_trainer *t)
{
    return t->done.step;
}

/* ---- a step ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Add one batch's losses and cost to the step's figures; s->loss is divided by the weights already. */
static void count(struct mot_trainer *t, const struct mot_batch *b, double sum[MOT_MAX_MODALITIES], struct mot_step *s)
{
    const struct mot_model *m = t->m;
    for (int64_t i = 0; i < b->n; i++) {
        int32_t id = m->batch.host_id[i], target = b->target[m->batch.host_seq[i]];
        bool patch = mot_model_modality(m, id) == m->vectors;
        if (!patch && !mot_predicts_id(m, id, target))
            continue;
        int k = patch ? m->vectors : mot_model_modality(m, target);
        double nll = (double)m->host_nll[i], lse = (double)m->host_lse[i], w = (double)m->batch.host_weight[i];
        sum[k] += nll;
        s->targets[k]++;
        s->loss += w * nll;
        if (!patch)
            s->z_loss += w * m->config.z_loss * lse * lse;
    }
    struct mot_rows rows = mot_batch_rows(b);
    t->done.tokens += b->n;
    t->done.flops += 3 * mot_forward_flops(&t->config, &rows);
}

/* What a step's batches add up to. */
struct whole {
    double weight; /* of losses */
    int64_t n, patches;
    int64_t last; /* batch that has rows; -1: none */
};

static struct whole whole_of(const struct mot_trainer *t)
{
    struct whole w = {.last = -1};
    for (int64_t a = 0; a < t->o.accumulate; a++) {
        const struct mot_batch *b = &t->ahead.batch[a];
        w.weight += mot_batch_weight(t->m, b);
        w.n += b->n;
        w.patches += mot_batch_rows(b).patches;
        w.last = b->n > 0 ? a : w.last;
    }
    return w;
}

/* Forward and backward over the a-th batch, to be waited for. */
static int start(struct mot_trainer *t, int64_t step, int64_t a, const struct whole *w)
{
    const struct mot_batch *b = &t->ahead.batch[a];
    int rc = mot_noise_training(&t->noise, b, t->o.noise_limit, t->o.seed, step, a);
    struct mot_seen seen = {t->noise.x, t->noise.target, t->noise.time,
                            w->patches ? t->config.loss_weight[t->noise.vectors] / (double)w->patches : 0};
    if (!rc)
        rc = mot_model_route(t->m, b, w->weight > 0 ? 1 / w->weight : 0, &seen);
    if (!rc)
        mot_model_start(t->m, true);
    return rc;
}

/* Losses and gradients of all batches, and their norms, which the device is waited for once a batch. */
static int forward_and_backward(struct mot_trainer *t, struct mot_step *s, bool *done)
{
    double sum[MOT_MAX_MODALITIES] = {0};
    int rc = mot_ahead_take(&t->ahead, s->step);
    if (rc)
        return rc;
    struct whole w = whole_of(t);
    *done = w.n == 0;
    for (int64_t a = 0; a <= w.last; a++) {
        if (t->ahead.batch[a].n == 0)
            continue;
        rc = start(t, s->step, a, &w);
        if (rc)
            return rc;
        if (a == w.last) {
            mot_optimizer_start_norms(&t->optimizer);
            if (s->step < t->steps)
                mot_ahead_load(&t->ahead, s->step + 1);
        }
        rc = mot_model_wait(t->m);
        if (rc)
            return rc;
        count(t, &t->ahead.batch[a], sum, s);
    }
    if (!*done)
        mot_optimizer_end_norms(&t->optimizer, s);
    for (int k = 0; k < t->config.n_modalities; k++)
        s->loss_modality[k] = s->targets[k] ? sum[k] / (double)s->targets[k] : (double)NAN;
    return MOT_OK;
}

int mot_trainer_step(struct mot_trainer *t, struct mot_step *s, bool *done)
{
    double began = seconds();
    *s = (struct mot_step){.step = t->done.step + 1};
    *done = t->done.step >= t->steps;
    if (*done)
        return MOT_OK;
    int rc = forward_and_backward(t, s, done);
    if (rc || *done)
        return rc;
    if (!isfinite(s->loss) || !isfinite(s->z_loss) || !isfinite(s->grad_norm))
        return mot_fail(MOT_EDEVICE,
                        "step %lld: loss %g, gradient norm %g: the run diverged; the last save is whole; "
                        "lower --lr, lengthen --warmup or set --clip",
                        (long long)s->step, s->loss, s->grad_norm);
    s->lr = mot_learning_rate(&t->o, t->steps, s->step);
    mot_optimizer_step(&t->optimizer, &t->o, s->lr, s->step);
    t->done.step = s->step;
    t->done.position = t->ahead.position;
    t->done.seconds += seconds() - began;
    s->tokens = t->done.tokens;
    s->flops = t->done.flops;
    s->seconds = t->done.seconds;
    return MOT_OK;
}

/* ---- validation, log, save ---- */

struct tally {
    const struct mot_model *m;
    const struct mot_vocab *vocab;
    struct mot_losses *l;
    double sum[MOT_MAX_MODALITIES];
};

static void add_document(void *context, const int32_t *id, const float *nll, int64_t n)
{
    struct tally *t = context;
    for (int64_t i = 0; i < n; i++) {
        if (!mot_has_loss(t->vocab, id, i))
            continue;
        int k = mot_model_modality(t->m, id[i]);
        t->sum[k] += (double)nll[i];
        t->l->targets[k]++;
        t->l->tokens++;
    }
}

int mot_trainer_validate(struct mot_trainer *t, struct mot_losses *l)
{
    *l = (struct mot_losses){0};
    struct tally tally = {.m = t->m, .vocab = &t->vocab, .l = l};
    struct mot_scorer *s = mot_scorer_with(t->m, &t->vocab, t->m->seq, 0);
    struct mot_shard *shard = s ? mot_shard_open(t->o.validation, &t->vocab, false) : NULL;
    int rc = shard ? MOT_OK : MOT_EFORMAT;
    const struct mot_doc *d = NULL;
    while (!rc && !(rc = mot_shard_next(shard, &d)) && d)
        rc = mot_scorer_add(s, d, add_document, &tally);
    if (!rc)
        rc = mot_scorer_flush(s);
    mot_shard_close(shard);
    mot_scorer_close(s);
    double all = 0;
    int64_t ids = 0;
    for (int k = 0; k < t->config.n_modalities; k++) {
        l->modality[k] = l->targets[k] ? tally.sum[k] / (double)l->targets[k] : (double)NAN;
        all += k == t->m->vectors ? 0 : tally.sum[k];
        ids += k == t->m->vectors ? 0 : l->targets[k];
    }
    /* As in training: the mean over ids, and the weighted mean over patches beside it. */
    int k = t->m->vectors;
    l->all = ids ? all / (double)ids : k >= 0 && l->targets[k] ? 0 : (double)NAN;
    if (k >= 0 && l->targets[k])
        l->all += t->config.loss_weight[k] * l->modality[k];
    return rc;
}

int mot_trainer_log(struct mot_trainer *t, const char *line)
{
    char *path = mot_path(t->run, "log.jsonl");
    FILE *f = path ? fopen(path, "a") : NULL;
    int rc = f ? MOT_OK : MOT_EIO;
    if (f) {
        bool good = fprintf(f, "%s\n", line) > 0;
        good &= fclose(f) == 0;
        rc = good ? MOT_OK : MOT_EIO;
    }
    if (rc)
        mot_fail(rc, "%s: cannot write: %s; the last save is whole, --resume goes on with it", path ? path : t->run,
                 strerror(errno));
    mot_free(path);
    return rc;
}

/* The state to resume from goes first: stopped between the two, weights alone would be a run that cannot go on, while a
 * state whose weights are one save behind writes them anew when it is resumed. */
int mot_trainer_save(struct mot_trainer *t)
{
    int rc = mot_checkpoint_save(&t->optimizer, t->run, &t->done, t->options);
    if (!rc)
        rc = mot_model_save(t->m, t->run);
    return rc;
}
