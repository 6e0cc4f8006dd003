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

enum { PROMPT_ROWS = 4096, /* of a prompt that go through the model at once, by the kernels of training ... */
       UNET_ROWS = 512,    /* ... where a U-Net has room for each's pixels ... */
       BEHIND_ROWS = 32 }; /* ... and behind others */

struct row { /* of tokens */
    struct mot_ids id;
    struct mot_latents picture; /* those of vectors, and ... */
    struct mot_ids picture_at;  /* ... where their tokens begin */
};
struct lane {
    struct mot_past past; /* kv NULL: the lane is not used */
    struct row row;
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
    struct row row;
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
    int force; /* the modality of the segment to begin with; -1: none in particular */
    struct mot_sampler sampler;
    struct mot_painter painter; /* where pictures are vectors and their codec is known */
    char no_codec[512]; /* why the folder has no codec of pictures */
    int64_t context, prompt_rows, documents, tokens;
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

/* How many tokens the codec's pictures have, and if they are vectors, their grid. */
static int picture_tokens(struct mot_generator *g, const char *folder, int64_t *tokens, struct mot_grid *grid)
{
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    struct mot_image white = {8, 8, mot_alloc(8 * 8, 3)};
    struct mot_ids ids = {0};
    int rc = t && white.rgb ? MOT_OK : MOT_EFORMAT;
    if (!rc && mot_tokenizer_grid(t, grid)) {
        *tokens = mot_grid_tokens(grid);
        if (g->o.painting.clip < 0)
            g->o.painting.clip = mot_tokenizer_range(t);
    } else if (!rc && !(rc = mot_encode_image(t, &white, &ids))) {
        *tokens = ids.n;
    }
    mot_ids_free(&ids);
    mot_image_free(&white);
    mot_tokenizer_close(t);
    return rc;
}

/* Without a codec a folder generates too, but pictures of codes only if somebody tells their size. */
static int find_pictures(struct mot_generator *g, const char *folder, struct mot_grid *grid)
{
    int64_t tokens = 0, asked = g->o.image_tokens;
    int image = mot_vocab_find(&g->vocab, "image");
    bool vectors = image >= 0 && g->vocab.modality[image].width > 0;
    if (image >= 0 && picture_tokens(g, folder, &tokens, grid)) {
        tokens = 0;
        snprintf(g->no_codec, sizeof g->no_codec, "%s", mot_error());
    }
    if (vectors && tokens == 0 && asked)
        *grid = (struct mot_grid){1, (int32_t)asked, g->vocab.modality[image].width};
    if (tokens && asked && asked != tokens)
        return mot_fail(MOT_EARG, "%s: its codec's pictures have %lld tokens, not %lld", folder, (long long)tokens,
                        (long long)asked);
    g->grammar = mot_grammar_of(&g->vocab, asked ? asked : tokens);
    return mot_grammar_stops(&g->grammar, folder);
}

static int prepare_painter(struct mot_generator *g, const struct mot_grid *grid)
{
    static const char *const names[] = {"", "ancestral", "ddim", "euler", "midpoint"};
    struct mot_painting how = g->o.painting;
    bool ddpm = g->m->config.diffusion.objective == MOT_DDPM;
    if (how.sampler == MOT_SAMPLE_USUAL)
        how.sampler = ddpm ? MOT_SAMPLE_DDIM : MOT_SAMPLE_EULER;
    if (ddpm != (how.sampler <= MOT_SAMPLE_DDIM))
        return mot_fail(MOT_EARG, "sampler %s: the model was trained for %s, whose samplers are %s", names[how.sampler],
                        ddpm ? "ddpm" : "flow", ddpm ? "ancestral and ddim" : "euler and midpoint");
    how.guidance = g->o.guidance;
    if (how.clip < 0)
        how.clip = 0;
    return mot_painter_new(&g->painter, g->m, grid, &how);
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
    if (mot_vectors_of(&c) >= 0 && together < g->grammar.image_tokens)
        together = g->grammar.image_tokens;
    g->prompt_rows = mot_has_unet(&c) ? UNET_ROWS : PROMPT_ROWS;
    int64_t prompt = g->context < g->prompt_rows ? g->context : g->prompt_rows, rows = together > prompt ? together : prompt;
    g->m = mot_model_new_growing(&c, &g->vocab, k, g->o.threads, rows, g->context, together);
    return g->m ? mot_model_load(g->m, folder) : MOT_ENOMEM;
}

static int prepare(struct mot_generator *g, const char *folder, const struct mot_vocab *expect)
{
    int rc = mot_vocab_load(&g->vocab, folder);
    if (!rc && expect && strcmp(expect->digest, g->vocab.digest) != 0)
        rc = mot_fail(MOT_EARG, "%s: its vocabulary (%s) is not the prompts' (%s): tokenise with -t %s", folder, g->vocab.digest,
                      expect->digest, folder);
    struct mot_grid grid = {0};
    if (!rc)
        rc = find_pictures(g, folder, &grid);
    if (!rc)
        rc = load_model(g, folder);
    if (!rc && grid.width)
        rc = prepare_painter(g, &grid);
    if (rc)
        return rc;
    int64_t V = g->m->config.vocab_size, lanes = 2 * g->o.batch;
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

static int find_force(struct mot_generator *g)
{
    const char *kind = g->o.force;
    g->force = kind ? 0 : -1;
    if (!kind || strcmp(kind, "text") == 0)
        return MOT_OK;
    bool image = strcmp(kind, "image") == 0;
    if (!image && strcmp(kind, "speech") != 0)
        return mot_fail(MOT_EARG, "--force %s: expected text, image or speech", kind);
    g->force = image ? g->grammar.image : g->grammar.speech;
    if (g->force < 0)
        return mot_fail(MOT_EARG, "--force %s: the model's vocabulary has none, or no delimiters for it", kind);
    if (image && !g->grammar.image_tokens)
        return mot_fail(MOT_EARG, "--force image: give --image-tokens, for no codec says how many tokens a picture has: %s",
                        g->no_codec);
    return MOT_OK;
}

struct mot_generator *mot_generator_open(const char *folder, const struct mot_vocab *expect,
                                         const struct mot_generate_options *o)
{
    struct mot_generator *g = mot_alloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->o = *o;
    if (!prepare(g, folder, expect) && !find_force(g))
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

static void row_free(struct row *r)
{
    mot_ids_free(&r->id);
    mot_ids_free(&r->picture_at);
    mot_latents_free(&r->picture);
}

/* A picture whose tokens begin at `at`. */
static int add_picture(struct row *r, int64_t at, const struct mot_grid *grid, const uint16_t *value)
{
    int32_t begin = (int32_t)at;
    int rc = mot_ids_append(&r->picture_at, &begin, 1);
    return rc ? rc : mot_latents_append(&r->picture, grid, value);
}

static int copy_pictures(struct row *to, const struct row *from)
{
    const uint16_t *value = from->picture.value;
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < from->picture.n_grids; value += mot_grid_values(&from->picture.grid[i++]))
        rc = add_picture(to, from->picture_at.id[i], &from->picture.grid[i], value);
    return rc;
}

static void lane_free(struct mot_generator *g, struct lane *l)
{
    g->m->k->free(g->m->d, l->past.kv);
    l->past = (struct mot_past){0};
    l->row.id.n = l->row.picture_at.n = l->row.picture.n_grids = l->row.picture.n = 0;
}

/* Pictures among the pieces are clean ones. */
static int run_pieces(struct mot_generator *g, struct mot_past *past)
{
    struct mot_batch *b = &g->batch;
    float *x = mot_alloc((size_t)b->n_latent, sizeof *x);
    double *time = mot_alloc((size_t)b->n_pictures, sizeof *time); /* all 0 */
    for (int64_t i = 0; x && i < b->n_latent; i++)
        x[i] = mot_from_f16(b->latent[i]);
    struct mot_seen seen = {.x = x, .time = time};
    int rc = x && time ? mot_model_grow(g->m, b, past, &seen) : MOT_ENOMEM;
    mot_free(x);
    mot_free(time);
    mot_batch_clear(b);
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

/* The end of what goes through the model next: pictures of vectors are not parted. */
static int64_t next_end(const struct mot_generator *g, const struct lane *l)
{
    int64_t begin = l->past.length, end = begin + (begin == 0 ? g->prompt_rows : BEHIND_ROWS);
    end = end < l->row.id.n ? end : l->row.id.n;
    for (int64_t i = 0; i < l->row.picture_at.n; i++) {
        int64_t first = l->row.picture_at.id[i], last = first + mot_grid_tokens(&l->row.picture.grid[i]);
        if (first < end && end < last)
            end = first > begin ? first : last;
    }
    return end;
}

/* The lane's ids up to end as a piece, with the pictures among them. */
static int add_piece(struct mot_generator *g, const struct lane *l, int64_t end)
{
    int64_t begin = l->past.length;
    const uint16_t *value = l->row.picture.value;
    int rc = mot_batch_add(&g->batch, l->row.id.id + begin, end - begin);
    for (int64_t i = 0; !rc && i < l->row.picture_at.n; value += mot_grid_values(&l->row.picture.grid[i++])) {
        const struct mot_grid *grid = &l->row.picture.grid[i];
        struct mot_picture p = {.begin = l->row.picture_at.id[i] - begin, .n = mot_grid_tokens(grid), .rows = grid->rows,
                                .columns = grid->columns};
        if (p.begin >= 0 && p.begin < end - begin)
            rc = mot_batch_add_picture(&g->batch, &p, value, mot_grid_values(grid));
    }
    return rc;
}

/* A lane that lacks more than one id, by itself. */
static int catch_up(struct mot_generator *g, struct lane *l)
{
    int rc = MOT_OK;
    while (!rc && l->past.length < l->row.id.n) {
        int64_t end = next_end(g, l);
        g->position[0] = end - l->past.length - 1;
        rc = add_piece(g, l, end);
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
        rc = mot_batch_add(&g->batch, l->row.id.id + l->past.length, 1);
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
        if (l->past.length > 0 && l->row.id.n - l->past.length == 1)
            g->together[n++] = l;
        else
            rc = catch_up(g, l);
    }
    return rc || n == 0 ? rc : run_together(g, n);
}

/* ---- sequences ---- */

static int64_t left_of(const struct mot_generator *g, const struct sequence *s)
{
    int64_t asked = g->o.max_tokens - s->made, fits = g->context - s->lane[0].row.id.n;
    return asked < fits ? asked : fits;
}

static int begin(struct mot_generator *g, struct sequence *s, int64_t job)
{
    struct job *j = &g->job[job];
    int64_t capacity = j->row.id.n + g->o.max_tokens;
    s->busy = true;
    s->job = job;
    s->made = 0;
    s->place = j->place;
    s->begun = g->force < 0 || (s->place.modality > 0 && s->place.modality == g->force);
    int rc = mot_past_new(g->m, capacity < g->context ? capacity : g->context, &s->lane[0].past);
    if (!rc)
        rc = append(&s->lane[0].row.id, j->row.id.id, j->row.id.n);
    return rc ? rc : copy_pictures(&s->lane[0].row, &j->row);
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
    int64_t begun = whole->row.id.n - s->place.length - 1; /* at boi */
    int rc = mot_past_new(g->m, g->grammar.image_tokens + 3, &l->past);
    /* A picture of codes follows what begins a document; one of vectors was trained with nothing before it. */
    if (!rc && g->vocab.bos >= 0 && g->m->vectors != g->grammar.image)
        rc = append(&l->row.id, &g->vocab.bos, 1);
    return rc ? rc : append(&l->row.id, whole->row.id.id + begun, whole->row.id.n - begun);
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

/* Tokens that the forced segment takes, at least. */
static int64_t forced(const struct mot_generator *g)
{
    if (g->force <= 0)
        return g->force + 1;
    return g->force == g->grammar.image ? g->grammar.image_tokens + 2 : 3;
}

/* A forced picture or sound begins with its delimiter, forced text with a token that is none; what the prompt began ends before,
 * in time for it. */
static struct mot_ranges allowed(const struct mot_generator *g, struct sequence *s)
{
    bool last = s->begun;
    if (last || s->place.modality > 0)
        return mot_grammar_next(&g->grammar, &s->place, left_of(g, s) - (last ? 0 : forced(g)));
    s->begun = true;
    if (g->force == 0)
        return mot_grammar_inside(&g->grammar, &s->place, left_of(g, s));
    int32_t id = g->force == g->grammar.image ? g->vocab.boi : g->vocab.bos_speech;
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
    struct row t = j->row;
    j->row = s->lane[0].row;
    s->lane[0].row = t;
    j->done = true;
    s->busy = false;
    lane_free(g, &s->lane[0]);
    lane_free(g, &s->lane[1]);
}

static uint64_t stream_of(const struct mot_generator *g, const struct sequence *s)
{
    const struct job *j = &g->job[s->job];
    return mot_stream("generate") + (uint64_t)(j->document * g->o.samples + j->sample);
}

static int add_token(struct mot_generator *g, struct sequence *s, int32_t id)
{
    int rc = MOT_OK;
    for (int i = 0; !rc && i < 2; i++)
        if (s->lane[i].past.kv)
            rc = append(&s->lane[i].row.id, &id, 1);
    s->made++;
    g->tokens++;
    return rc ? rc : mot_grammar_step(&g->grammar, &s->place, id);
}

/* A whole picture of vectors, and the delimiter behind it. */
static int paint(struct mot_generator *g, struct sequence *s)
{
    struct lane *whole = &s->lane[0], *alone = &s->lane[1];
    int64_t at = whole->row.id.n;
    uint64_t stream = mot_random_u64(g->o.seed, stream_of(g, s), (uint64_t)at);
    int rc = mot_paint(&g->painter, g->m, &whole->past, alone->past.kv ? &alone->past : NULL, g->o.seed, stream);
    if (rc)
        return mot_fail(rc, "document %lld: %s", (long long)g->job[s->job].document, mot_error());
    rc = add_picture(&whole->row, at, &g->painter.grid, g->painter.value);
    for (int64_t i = 0; !rc && i < mot_grid_tokens(&g->painter.grid); i++)
        rc = add_token(g, s, g->painter.id[0]);
    return rc ? rc : add_token(g, s, g->vocab.eoi);
}

static int draw_token(struct mot_generator *g, struct sequence *s)
{
    struct mot_ranges r = allowed(g, s);
    add_guidance(g, s);
    int rc = check_logits(g, s, &r);
    if (rc)
        return rc;
    double u = mot_random_uniform(g->o.seed, stream_of(g, s), (uint64_t)s->lane[0].row.id.n);
    return add_token(g, s, mot_sample(&g->sampler, s->lane[0].z, &r, &g->sampling[s->place.modality], u));
}

/* The next token of a sequence, or a picture of vectors. */
static int draw(struct mot_generator *g, struct sequence *s)
{
    const struct job *j = &g->job[s->job];
    bool picture = s->place.modality > 0 && s->place.modality == g->m->vectors && s->place.length == 0;
    int rc = picture ? paint(g, s) : draw_token(g, s);
    if (!rc)
        rc = guide(g, s);
    if (!rc && g->o.token)
        g->o.token(g->o.context, j->document, j->sample, s->lane[0].row.id.id, s->lane[0].row.id.n, &s->lane[0].row.picture,
                   j->prompt);
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
        g->o.done(g->o.context, j->document, j->sample, j->row.id.id, j->row.id.n, &j->row.picture, j->prompt);
        row_free(&j->row);
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
    int64_t room = g->context - j->row.id.n, left = g->o.max_tokens < room ? g->o.max_tokens : room;
    bool begun = j->place.modality > 0;
    int64_t need = mot_grammar_rest(&g->grammar, &j->place) + (begun && j->place.modality == g->force ? 0 : forced(g));
    need = need > 1 ? need : 1;
    if (begun && j->place.modality == g->grammar.image && !g->grammar.image_tokens)
        return mot_fail(MOT_EARG, "document %lld ends within a picture: give --image-tokens, for no codec says how many tokens one "
                                  "has: %s", (long long)j->document, g->no_codec);
    if (room < need)
        return mot_fail(MOT_EARG, "document %lld: a prompt of %lld tokens leaves room for %lld in the model's context of %lld; "
                                  "%lld are needed", (long long)j->document, (long long)j->row.id.n, (long long)(room > 0 ? room : 0),
                        (long long)g->context, (long long)need);
    if (left < need)
        return mot_fail(MOT_EARG, "document %lld: --max-tokens %lld is less than the %lld that whole segments take",
                        (long long)j->document, (long long)g->o.max_tokens, (long long)need);
    return MOT_OK;
}

/* The ids to go on from: without the end of the document, or its beginning alone; and its pictures of vectors. */
static int prepare_prompt(struct mot_generator *g, struct job *j, const struct mot_doc *d)
{
    const struct mot_vocab *v = &g->vocab;
    const int32_t *id = d->id;
    int64_t n = d->n;
    if (n > 0 && v->eos >= 0 && id[n - 1] == v->eos && (n > 1 || v->eos != v->bos))
        n--;
    int rc = append(&j->row.id, id, n);
    for (int i = 0; !rc && i < d->n_spans; i++)
        if (d->span[i].rows) {
            struct mot_grid grid = {d->span[i].rows, d->span[i].columns, v->modality[d->span[i].modality].width};
            rc = add_picture(&j->row, d->span[i].begin, &grid, mot_doc_vectors(v, d, i));
        }
    if (!rc && n == 0 && v->bos >= 0)
        rc = append(&j->row.id, &v->bos, 1);
    if (!rc && j->row.id.n == 0)
        rc = mot_fail(MOT_EARG, "document %lld is empty, and the vocabulary has no token that begins one: there is nothing to go "
                                "on from", (long long)j->document);
    for (int64_t i = 0; !rc && i < j->row.id.n; i++) {
        j->place.ended = false; /* several documents in one: the last goes on */
        rc = mot_grammar_step(&g->grammar, &j->place, j->row.id.id[i]);
        if (rc)
            rc = mot_fail(rc, "document %lld, token %lld: %s", (long long)j->document, (long long)i, mot_error());
    }
    j->place.ended = false;
    j->prompt = j->row.id.n;
    return rc ? rc : check_room(g, j);
}

int mot_generator_add(struct mot_generator *g, const struct mot_doc *d)
{
    int64_t document = g->documents++;
    int rc = MOT_OK;
    for (int k = 0; !rc && k < g->o.samples; k++) {
        rc = mot_grow((void **)&g->job, g->n_jobs, &g->job_capacity, sizeof *g->job);
        if (rc)
            return rc;
        struct job *j = &g->job[g->n_jobs++];
        *j = (struct job){.document = document, .sample = k};
        rc = prepare_prompt(g, j, d);
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
        row_free(&l->row);
    }
    for (int64_t i = 0; i < g->n_jobs; i++)
        row_free(&g->job[i].row);
    mot_free(g->job);
    mot_free(g->sequence);
    mot_free(g->past);
    mot_free(g->together);
    mot_free(g->z);
    mot_free(g->position);
    mot_sampler_free(&g->sampler);
    mot_painter_free(&g->painter);
    mot_batch_free(&g->batch);
    mot_model_free(g->m);
    mot_free(g);
}
