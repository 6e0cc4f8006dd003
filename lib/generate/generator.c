/* SPDX-License-Identifier: MIT
 *
 * generator.c - documents continued by a model, several at a time.
 *
 * A sequence has one lane, or two while classifier-free guidance makes a picture: the second has seen nothing but the picture
 * (Ho & Salimans 2022).  A lane is a row of ids and what the model remembers of them.  Each step brings every lane up to its
 * last id, those that lack one id all together in one batch whatever their modalities, and draws a next id for every sequence.
 * A lane that lacks more goes through alone, so that neither logits nor what is drawn from them depend on the company.
 */
#include <math.h>

#include "generate.h"

enum { PROMPT_ROWS = 512, /* of a prompt that go through the model at once ... */
       BEHIND_ROWS = 32 };/* ... and behind others */

struct lane {
    struct mot_past past; /* kv NULL: the lane is not used */
    struct mot_ids id;
    const mot_real *z; /* (V) logits after the last id */
};
struct sequence {
    bool busy;
    int64_t job, made; /* which job; new tokens */
    bool begun;        /* a forced segment has begun */
    struct mot_place place;
    struct lane lane[2];
};
struct job { /* a document to continue, and then what became of it */
    struct mot_ids id;
    int64_t prompt, document;
    int sample;
    struct mot_place place;
    bool done;
};
struct mot_generator {
    struct mot_generate_options o;
    struct mot_sampling sampling[MOT_MAX_MODALITIES];
    struct mot_model *m;
    struct mot_vocab vocab;
    struct mot_grammar grammar;
    struct mot_sampler sampler;
    int64_t context, documents, tokens;
    int64_t n_jobs, job_capacity, started; /* jobs in order; the first `started` are begun */
    struct job *job;
    struct sequence *sequence; /* (batch) */
    struct mot_batch batch;
    struct mot_past *past;  /* of the lanes that run together */
    struct lane **together; /* (2 batch) */
    mot_real *z;            /* (2 batch, V): logits of a step, a row a lane */
    int64_t rows;           /* of z that this step has filled */
    int64_t *position;      /* (2 batch) */
};

/* ---- opening ---- */

/* How many tokens a picture has: as the codec makes them of any. */
static int64_t picture_tokens(const char *folder)
{
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    struct mot_image white = {8, 8, mot_alloc(8 * 8, 3)};
    struct mot_ids ids = {0};
    int rc = t && white.rgb ? mot_encode_image(t, &white, &ids) : MOT_EFORMAT;
    int64_t n = rc ? 0 : ids.n;
    mot_ids_free(&ids);
    mot_image_free(&white);
    mot_tokenizer_close(t);
    return n;
}

static int load_model(struct mot_generator *g, const char *folder)
{
    struct mot_config c;
    const struct mot_kernels *k = mot_device_find(g->o.device, g->o.dtype);
    if (!k)
        return MOT_EDEVICE;
    int rc = mot_config_load_folder(&c, folder);
    if (!rc)
        rc = mot_config_settle(&c, folder, &g->vocab, NULL);
    if (rc)
        return rc;
    g->context = c.max_position_embeddings;
    int64_t together = 2 * g->o.batch > BEHIND_ROWS ? 2 * g->o.batch : BEHIND_ROWS;
    int64_t rows = together > PROMPT_ROWS ? together : PROMPT_ROWS;
    g->m = mot_model_new_growing(&c, &g->vocab, k, g->o.threads, rows, g->context, together);
    return g->m ? mot_model_load(g->m, folder) : MOT_ENOMEM;
}

static int prepare(struct mot_generator *g, const char *folder, const struct mot_vocab *expect)
{
    int rc = mot_vocab_load(&g->vocab, folder);
    if (!rc && expect && strcmp(expect->digest, g->vocab.digest) != 0)
        rc = mot_fail(MOT_EARG, "%s: its vocabulary (%s) is not the prompts' (%s): tokenise with -t %s", folder, g->vocab.digest,
                      expect->digest, folder);
    if (!rc)
        rc = load_model(g, folder);
    if (rc)
        return rc;
    int64_t V = g->m->config.vocab_size, lanes = 2 * g->o.batch;
    bool pictures = mot_vocab_find(&g->vocab, "image") >= 0;
    int64_t each = g->o.image_tokens ? g->o.image_tokens : pictures ? picture_tokens(folder) : 0;
    g->grammar = mot_grammar_of(&g->vocab, each);
    for (int m = 0; m < MOT_MAX_MODALITIES; m++)
        g->sampling[m] = (struct mot_sampling){.temperature = 1, .top_p = 1};
    g->sequence = mot_alloc((size_t)g->o.batch, sizeof *g->sequence);
    g->past = mot_alloc((size_t)lanes, sizeof *g->past);
    g->together = mot_alloc((size_t)lanes, sizeof *g->together);
    g->z = mot_alloc((size_t)(lanes * V), sizeof *g->z);
    g->position = mot_alloc((size_t)lanes, sizeof *g->position);
    bool all = g->sequence && g->past && g->together && g->z && g->position;
    return all ? mot_sampler_new(&g->sampler, V) : MOT_ENOMEM;
}

static int check_force(const struct mot_generator *g)
{
    const char *kind = g->o.force;
    if (!kind || strcmp(kind, "text") == 0)
        return MOT_OK;
    bool image = strcmp(kind, "image") == 0;
    if (!image && strcmp(kind, "speech") != 0)
        return mot_fail(MOT_EARG, "--force %s: expected text, image or speech", kind);
    if ((image ? g->grammar.image : g->grammar.speech) < 0)
        return mot_fail(MOT_EARG, "--force %s: the model's vocabulary has none, or no delimiters for it", kind);
    if (image && !g->grammar.image_tokens)
        return mot_fail(MOT_EARG, "--force image: the folder has no codec that says how many tokens a picture has: give "
                                  "--image-tokens");
    return MOT_OK;
}

struct mot_generator *mot_generator_open(const char *folder, const struct mot_vocab *expect,
                                         const struct mot_generate_options *o)
{
    struct mot_generator *g = mot_alloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->o = *o;
    if (!prepare(g, folder, expect) && !check_force(g))
        return g;
    mot_generator_close(g);
    return NULL;
}

struct mot_sampling *mot_generator_sampling(struct mot_generator *g, const char *modality)
{
    int m = mot_vocab_find(&g->vocab, modality);
    return m < 0 ? NULL : &g->sampling[m];
}

const struct mot_vocab *mot_generator_vocab(const struct mot_generator *g)
{
    return &g->vocab;
}

int64_t mot_generator_tokens(const struct mot_generator *g)
{
    return g->tokens;
}

/* ---- lanes ---- */

/* There is always one more id behind the last, for mot_batch_add. */
static int append(struct mot_ids *a, const int32_t *id, int64_t n)
{
    int32_t none = 0;
    int rc = mot_ids_append(a, id, n);
    if (!rc)
        rc = mot_ids_append(a, &none, 1);
    a->n -= !rc;
    return rc;
}

static void lane_free(struct mot_generator *g, struct lane *l)
{
    g->m->k->free(g->m->d, l->past.kv);
    l->past = (struct mot_past){0};
    l->id.n = 0;
}

static int run_pieces(struct mot_generator *g, struct mot_past *past)
{
    int rc = mot_model_grow(g->m, &g->batch, past, NULL);
    g->batch.n = g->batch.n_pieces = 0;
    return rc;
}

/* Logits of n rows of the batch that ran last. */
static int fetch(struct mot_generator *g, struct lane *const *lane, int64_t n)
{
    int64_t V = g->m->config.vocab_size;
    mot_real *z = g->z + g->rows * V;
    int rc = mot_model_logits(g->m, g->position, n, z);
    for (int64_t i = 0; i < n; i++)
        lane[i]->z = z + i * V;
    g->rows += n;
    return rc;
}

/* A lane that lacks more than one id, by itself. */
static int catch_up(struct mot_generator *g, struct lane *l)
{
    int rc = MOT_OK;
    while (!rc && l->past.length < l->id.n) {
        int64_t most = l->past.length == 0 ? PROMPT_ROWS : BEHIND_ROWS, left = l->id.n - l->past.length;
        g->position[0] = (left < most ? left : most) - 1;
        rc = mot_batch_add(&g->batch, l->id.id + l->past.length, g->position[0] + 1);
        if (!rc)
            rc = run_pieces(g, &l->past);
    }
    return rc ? rc : fetch(g, &l, 1);
}

/* The lanes that lack one id each, all together. */
static int run_together(struct mot_generator *g, int64_t n)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < n; i++) {
        struct lane *l = g->together[i];
        g->past[i] = l->past;
        g->position[i] = i;
        rc = mot_batch_add(&g->batch, l->id.id + l->past.length, 1);
    }
    if (!rc)
        rc = run_pieces(g, g->past);
    for (int64_t i = 0; !rc && i < n; i++)
        g->together[i]->past.length = g->past[i].length;
    return rc ? rc : fetch(g, g->together, n);
}

/* All lanes up to their last id. */
static int run_lanes(struct mot_generator *g)
{
    int rc = MOT_OK;
    int64_t n = 0;
    g->rows = 0;
    for (int64_t i = 0; !rc && i < 2 * g->o.batch; i++) {
        struct lane *l = &g->sequence[i / 2].lane[i % 2];
        if (!l->past.kv)
            continue;
        if (l->past.length > 0 && l->id.n - l->past.length == 1)
            g->together[n++] = l;
        else
            rc = catch_up(g, l);
    }
    return rc || n == 0 ? rc : run_together(g, n);
}

/* ---- sequences ---- */

static int64_t left_of(const struct mot_generator *g, const struct sequence *s)
{
    int64_t asked = g->o.max_tokens - s->made, fits = g->context - s->lane[0].id.n;
    return asked < fits ? asked : fits;
}

static int begin(struct mot_generator *g, struct sequence *s, int64_t job)
{
    struct job *j = &g->job[job];
    int64_t capacity = j->id.n + g->o.max_tokens;
    s->busy = true;
    s->job = job;
    s->made = 0;
    s->begun = false;
    s->place = j->place;
    int rc = mot_past_new(g->m, capacity < g->context ? capacity : g->context, &s->lane[0].past);
    if (!rc)
        rc = append(&s->lane[0].id, j->id.id, j->id.n);
    return rc;
}

/* The lane of a picture that is being made without what came before it. */
static int guide(struct mot_generator *g, struct sequence *s)
{
    bool inside = s->place.modality > 0 && s->place.modality == g->grammar.image;
    struct lane *l = &s->lane[1], *whole = &s->lane[0];
    if (!inside && l->past.kv)
        lane_free(g, l);
    if (!inside || l->past.kv || g->o.guidance == 1)
        return MOT_OK;
    int64_t begun = whole->id.n - s->place.length - 1; /* at boi */
    int rc = mot_past_new(g->m, g->grammar.image_tokens + 3, &l->past);
    if (!rc && g->vocab.bos >= 0)
        rc = append(&l->id, &g->vocab.bos, 1);
    return rc ? rc : append(&l->id, whole->id.id + begun, whole->id.n - begun);
}

static void add_guidance(struct mot_generator *g, struct sequence *s)
{
    if (!s->lane[1].past.kv)
        return;
    mot_real *z = g->z + (s->lane[0].z - g->z);
    const mot_real *alone = s->lane[1].z;
    for (int64_t i = 0; i < g->m->config.vocab_size; i++)
        z[i] = alone[i] + (mot_real)g->o.guidance * (z[i] - alone[i]);
}

/* A forced picture or sound begins with its delimiter; forced text with a token that is none. */
static struct mot_ranges allowed(const struct mot_generator *g, struct sequence *s)
{
    const char *kind = s->begun ? NULL : g->o.force;
    s->begun = true;
    if (!kind || s->place.modality > 0)
        return mot_grammar_next(&g->grammar, &s->place, left_of(g, s));
    if (strcmp(kind, "text") == 0)
        return mot_grammar_inside(&g->grammar, &s->place, left_of(g, s));
    int32_t id = strcmp(kind, "image") == 0 ? g->vocab.boi : g->vocab.bos_speech;
    return (struct mot_ranges){1, {{id, id + 1}}};
}

static int check_logits(const struct mot_generator *g, const struct sequence *s, const struct mot_ranges *r)
{
    for (int i = 0; i < r->n; i++)
        for (int32_t id = r->range[i].from; id < r->range[i].to; id++)
            if (!isfinite(s->lane[0].z[id]))
                return mot_fail(MOT_EFORMAT, "document %lld: the model's logits are not finite: its weights are damaged",
                                (long long)g->job[s->job].document);
    return MOT_OK;
}

static void finish(struct mot_generator *g, struct sequence *s)
{
    struct job *j = &g->job[s->job];
    struct mot_ids t = j->id;
    j->id = s->lane[0].id;
    s->lane[0].id = t;
    j->done = true;
    s->busy = false;
    lane_free(g, &s->lane[0]);
    lane_free(g, &s->lane[1]);
}

/* The next token of a sequence. */
static int draw(struct mot_generator *g, struct sequence *s)
{
    struct job *j = &g->job[s->job];
    struct mot_ranges r = allowed(g, s);
    add_guidance(g, s);
    int rc = check_logits(g, s, &r);
    if (rc)
        return rc;
    uint64_t stream = mot_stream("generate") + (uint64_t)(j->document * g->o.samples + j->sample);
    double u = mot_random_uniform(g->o.seed, stream, (uint64_t)s->lane[0].id.n);
    int32_t id = mot_sample(&g->sampler, s->lane[0].z, &r, &g->sampling[s->place.modality], u);
    for (int i = 0; !rc && i < 2; i++)
        if (s->lane[i].past.kv)
            rc = append(&s->lane[i].id, &id, 1);
    s->made++;
    g->tokens++;
    if (!rc)
        rc = mot_grammar_step(&g->grammar, &s->place, id);
    if (!rc)
        rc = guide(g, s);
    if (!rc && g->o.token)
        g->o.token(g->o.context, j->document, j->sample, s->lane[0].id.id, s->lane[0].id.n, j->prompt);
    if (!rc && (s->place.ended || left_of(g, s) == 0))
        finish(g, s);
    return rc;
}

/* Finished documents, in order. */
static void deliver(struct mot_generator *g)
{
    int64_t n = 0;
    for (; n < g->started && g->job[n].done; n++) {
        struct job *j = &g->job[n];
        g->o.done(g->o.context, j->document, j->sample, j->id.id, j->id.n, j->prompt);
        mot_ids_free(&j->id);
    }
    if (n == 0)
        return;
    memmove(g->job, g->job + n, (size_t)(g->n_jobs - n) * sizeof *g->job);
    g->n_jobs -= n;
    g->started -= n;
    for (int i = 0; i < g->o.batch; i++)
        g->sequence[i].job -= n;
}

/* A token for every sequence; free places are filled first. */
static int step(struct mot_generator *g)
{
    int rc = MOT_OK;
    for (int i = 0; !rc && i < g->o.batch && g->started < g->n_jobs; i++)
        if (!g->sequence[i].busy) {
            rc = begin(g, &g->sequence[i], g->started++);
            if (!rc)
                rc = guide(g, &g->sequence[i]);
        }
    if (!rc)
        rc = run_lanes(g);
    for (int i = 0; !rc && i < g->o.batch; i++)
        if (g->sequence[i].busy)
            rc = draw(g, &g->sequence[i]);
    deliver(g);
    return rc;
}

/* ---- prompts ---- */

static int check_room(const struct mot_generator *g, const struct job *j)
{
    int64_t room = g->context - j->id.n, left = g->o.max_tokens < room ? g->o.max_tokens : room;
    int64_t need = 1;
    bool image = g->o.force && strcmp(g->o.force, "image") == 0;
    if (j->place.modality > 0 && j->place.modality == g->grammar.image)
        need = g->grammar.image_tokens - j->place.length + 1;
    else if (image)
        need = g->grammar.image_tokens + 2;
    else if (g->o.force && strcmp(g->o.force, "speech") == 0)
        need = 3;
    if (j->place.modality > 0 && j->place.modality == g->grammar.image && !g->grammar.image_tokens)
        return mot_fail(MOT_EARG, "document %lld ends within a picture, and the folder has no codec that says how many tokens one "
                                  "has: give --image-tokens", (long long)j->document);
    if (room < need)
        return mot_fail(MOT_EARG, "document %lld: a prompt of %lld tokens leaves room for %lld in the model's context of %lld; "
                                  "%lld are needed", (long long)j->document, (long long)j->id.n, (long long)(room > 0 ? room : 0),
                        (long long)g->context, (long long)need);
    if (left < need)
        return mot_fail(MOT_EARG, "document %lld: --max-tokens %lld is less than the %lld that a whole segment takes",
                        (long long)j->document, (long long)g->o.max_tokens, (long long)need);
    return MOT_OK;
}

/* The ids to go on from: without the end of the document, or its beginning alone. */
static int prepare_prompt(struct mot_generator *g, struct job *j, const int32_t *id, int64_t n)
{
    const struct mot_vocab *v = &g->vocab;
    if (n > 0 && v->eos >= 0 && id[n - 1] == v->eos && (n > 1 || v->eos != v->bos))
        n--;
    int rc = append(&j->id, id, n);
    if (!rc && n == 0 && v->bos >= 0)
        rc = append(&j->id, &v->bos, 1);
    if (!rc && j->id.n == 0)
        rc = mot_fail(MOT_EARG, "document %lld is empty, and the vocabulary has no token that begins one: there is nothing to go "
                                "on from", (long long)j->document);
    for (int64_t i = 0; !rc && i < j->id.n; i++) {
        j->place.ended = false; /* several documents in one: the last goes on */
        rc = mot_grammar_step(&g->grammar, &j->place, j->id.id[i]);
        if (rc)
            rc = mot_fail(rc, "document %lld, token %lld: %s", (long long)j->document, (long long)i, mot_error());
    }
    j->place.ended = false;
    j->prompt = j->id.n;
    return rc ? rc : check_room(g, j);
}

int mot_generator_add(struct mot_generator *g, const int32_t *id, int64_t n)
{
    int64_t document = g->documents++;
    int rc = MOT_OK;
    for (int k = 0; !rc && k < g->o.samples; k++) {
        rc = mot_grow((void **)&g->job, g->n_jobs, &g->job_capacity, sizeof *g->job);
        if (rc)
            return rc;
        struct job *j = &g->job[g->n_jobs++];
        *j = (struct job){.document = document, .sample = k};
        rc = prepare_prompt(g, j, id, n);
    }
    while (!rc && g->n_jobs - g->started >= g->o.batch)
        rc = step(g);
    return rc;
}

int mot_generator_flush(struct mot_generator *g)
{
    int rc = MOT_OK;
    while (!rc && g->n_jobs > 0)
        rc = step(g);
    return rc;
}

void mot_generator_close(struct mot_generator *g)
{
    if (!g)
        return;
    for (int64_t i = 0; g->sequence && i < 2 * g->o.batch; i++) {
        struct lane *l = &g->sequence[i / 2].lane[i % 2];
        if (g->m)
            lane_free(g, l);
        mot_ids_free(&l->id);
    }
    for (int64_t i = 0; i < g->n_jobs; i++)
        mot_ids_free(&g->job[i].id);
    mot_free(g->job);
    mot_free(g->sequence);
    mot_free(g->past);
    mot_free(g->together);
    mot_free(g->z);
    mot_free(g->position);
    mot_sampler_free(&g->sampler);
    mot_batch_free(&g->batch);
    mot_model_free(g->m);
    mot_free(g);
}
