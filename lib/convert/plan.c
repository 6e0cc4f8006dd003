/* SPDX-License-Identifier: MIT
 *
 * plan.c - for every tensor of the target, where its values come from; and everything that stands against it, found before
 * the first byte is written.
 */
#include <fnmatch.h>

#include "convert.h"

/* What is known of the source's tensors so far. */
struct used {
    bool **of;  /* [file][tensor]: it is used */
    bool *told; /* by place in the table: what is wrong with it has been said, for the first of the towers made of it */
};

static bool is_bias(enum mot_weight w)
{
    return w == MOT_W_Q_BIAS || w == MOT_W_K_BIAS || w == MOT_W_V_BIAS || w == MOT_W_O_BIAS;
}

/* The modality by which a tensor of the target gets its weights: the first that uses it. */
static int first_served(const struct mot_config *c, const struct mot_tensor *t)
{
    for (int m = 0; m < c->n_modalities; m++)
        if (mot_tensor_serves(c, t, m))
            return m;
    return 0;
}

/* What takes patches in and out was learned with the U-Net between, and begins anew with another one or with none, though shapes
 * may be the same.  Of levels of noise it is independent. */
static bool begins_anew(const struct mot_converter *c, enum mot_weight w)
{
    const struct mot_config *a = &c->from.config, *b = &c->to.config;
    if (w < MOT_W_PATCH_IN || (w >= MOT_W_TIME_1 && w <= MOT_W_TIME_2_BIAS) || mot_vectors_of(a) < 0)
        return false;
    return a->unet.channels != b->unet.channels || a->unet.blocks != b->unet.blocks || a->unet.patch != b->unet.patch ||
           a->latent_size[mot_vectors_of(a)] != b->latent_size[mot_vectors_of(b)];
}

/* The source's tensor for one of the target; NULL: it has none. */
static const struct mot_tensor *origin(const struct mot_converter *c, const struct mot_tensor *t)
{
    const struct mot_config *from = &c->from.config;
    enum mot_weight w = t->weight == MOT_W_HEAD && from->tie_word_embeddings ? MOT_W_EMBED : t->weight;
    int tower = t->tower < 0 ? 0 : from->tower_of[t->component][c->source[first_served(&c->to.config, t)]];
    return begins_anew(c, w) ? NULL : mot_table_find(&c->from.table, w, t->layer < 0 ? 0 : t->layer, tower);
}

/* A tensor of the source in its file, with all that may be wrong with it; *f = NULL then. */
static int find(struct mot_converter *c, const struct mot_tensor *t, struct used *used, struct mot_job *job)
{
    const struct mot_family *family = c->from.family;
    struct mot_name_row row = mot_family_row(family, t);
    if (!row.theirs)
        return mot_say(&c->complaints, "%s: the form %s has no \"%s\", which config.json asks for", c->o.from, family->name,
                       t->name);
    char *name = mot_family_name(family, &c->from.config, t);
    if (!name)
        return MOT_ENOMEM;
    int rc = MOT_OK;
    const struct mot_st_tensor *f = mot_weights_find(&c->weights, name, &job->file);
    bool good = f && f->rank == t->rank && f->shape[0] == t->shape[0] && (t->rank == 1 || f->shape[1] == t->shape[1]);
    bool readable = f && (f->dtype == MOT_F32 || f->dtype == MOT_F16 || f->dtype == MOT_BF16 || f->dtype == MOT_F64);
    bool *told = &used->told[t - c->from.table.tensor];
    if (*told)
        rc = MOT_OK;
    else if (!f)
        rc = mot_say(&c->complaints, "%s: tensor \"%s\" is missing", c->o.from, name);
    else if (!good)
        rc = mot_say(&c->complaints, "%s: tensor \"%s\" has %lld values in rank %d, config.json asks for %lld x %lld",
                     job->file->path, name, (long long)f->count, f->rank, (long long)t->shape[0], (long long)t->shape[1]);
    else if (!readable)
        rc = mot_say(&c->complaints, "%s: tensor \"%s\" is %s, expected F32, F16, BF16 or F64", job->file->path, name,
                     mot_dtype_name(f->dtype));
    if (f)
        used->of[job->file - c->weights.file][f - job->file->tensor] = true;
    job->from = good && readable ? f : NULL;
    *told |= !job->from;
    job->unpair = row.pairs;
    mot_free(name);
    return rc;
}

static enum mot_dtype wanted_dtype(const struct mot_convert_options *o, enum mot_dtype source)
{
    if (!o->dtype)
        return source;
    return strcmp(o->dtype, "f32") == 0 ? MOT_F32 : strcmp(o->dtype, "f16") == 0 ? MOT_F16 : MOT_BF16;
}

/* A tower is random if all whom it serves are. */
static bool random_tower(const struct mot_converter *c, const struct mot_tensor *t)
{
    bool all = t->tower >= 0;
    for (int m = 0; m < c->to.config.n_modalities; m++)
        if (mot_tensor_serves(&c->to.config, t, m) && !c->random[m])
            all = false;
    return all;
}

/* Do a tensor's values go as they are from file to file, if its type stays? */
static bool copied(const struct mot_converter *c, const struct mot_job *j)
{
    bool all = j->from && j->pair == j->unpair;
    for (int i = 0; j->rows && i < c->n_runs; i++)
        all &= c->run[i].from >= 0;
    return all;
}

static int add_job(struct mot_converter *c, const struct mot_tensor *t, const char *name, struct used *used)
{
    int rc = mot_grow((void **)&c->job, c->n_jobs, &c->capacity, sizeof *c->job);
    if (rc)
        return rc;
    struct mot_name_row row = mot_family_row(c->to.family, t);
    struct mot_job *j = &c->job[c->n_jobs];
    *j = (struct mot_job){.tensor = t, .rows = t->weight == MOT_W_EMBED || t->weight == MOT_W_HEAD, .pair = row.pairs};
    const struct mot_tensor *o = origin(c, t);
    if (!row.theirs)
        return mot_say(&c->complaints, "%s: the form %s has no place for \"%s\"", c->o.from, c->to.family->name, t->name);
    if (o)
        rc = find(c, o, used, j);
    else if (t->weight >= MOT_W_PATCH_IN) /* nobody has seen vectors before */
        j->random = true;
    else if (!is_bias(t->weight)) /* a bias that was not there is zero */
        rc = mot_say(&c->complaints, "%s: has nothing to make \"%s\" of", c->o.from, t->name);
    enum mot_dtype source = j->from ? j->from->dtype : MOT_F32;
    if (!o && c->n_jobs > 0)
        source = c->job[0].decl.dtype;
    if (random_tower(c, t))
        j->random = true, j->from = NULL;
    j->decl = (struct mot_st_decl){.name = name ? mot_strdup(name) : mot_family_name(c->to.family, &c->to.config, t),
                                   .dtype = wanted_dtype(&c->o, source),
                                   .rank = t->rank,
                                   .shape = {t->shape[0], t->shape[1]}};
    if (!j->decl.name)
        return MOT_ENOMEM;
    if (!rc && j->decl.dtype == MOT_F64 && !copied(c, j))
        rc = mot_say(&c->complaints, "%s: \"%s\" is F64, which can be copied, but not computed: give --dtype f32", c->o.from,
                     j->decl.name);
    c->n_jobs++;
    c->bytes += j->bytes = t->count * mot_dtype_bits(j->decl.dtype) / 8;
    return rc;
}

/* What no model computes with: tables that old checkpoints carry, the copy of a tied head, a family's spare norm; and, where
 * one tower is taken out of several, the others. */
static bool superfluous(const struct mot_converter *c, const char *name)
{
    const struct mot_side *s = &c->from;
    if (fnmatch("*.rotary_emb.inv_freq", name, 0) == 0 || strcmp(name, "rope.freqs") == 0)
        return true;
    struct mot_tensor head = {.weight = MOT_W_HEAD, .layer = -1, .tower = -1};
    char *tied = s->config.tie_word_embeddings ? mot_family_name(s->family, &s->config, &head) : NULL;
    bool found = tied && strcmp(name, tied) == 0;
    mot_free(tied);
    size_t prefix = strlen(s->family->prefix);
    return found || (s->family->spare_norm && strncmp(name, s->family->prefix, prefix) == 0 &&
                     strcmp(name + prefix, s->family->spare_norm) == 0);
}

/* A tied head that is stored once more must say the same as the embedding: else the config or the file is wrong. */
static int check_tied_head(struct mot_converter *c)
{
    const struct mot_side *s = &c->from;
    const struct mot_tensor head = {.weight = MOT_W_HEAD, .layer = -1, .tower = -1},
                            embed = {.weight = MOT_W_EMBED, .layer = -1, .tower = -1};
    char *names[2] = {mot_family_name(s->family, &s->config, &head), mot_family_name(s->family, &s->config, &embed)};
    const struct mot_st *file[2];
    const struct mot_st_tensor *t[2] = {NULL, NULL};
    int rc = names[0] && names[1] ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; i < 2 && !rc && s->config.tie_word_embeddings; i++)
        t[i] = mot_weights_find(&c->weights, names[i], &file[i]);
    bool same = !t[0] || !t[1] || t[0]->bytes == t[1]->bytes;
    for (size_t at = 0, n; same && t[0] && t[1] && at < t[0]->bytes; at += n) {
        enum { BLOCK = 1 << 22 };
        n = t[0]->bytes - at < BLOCK ? t[0]->bytes - at : BLOCK;
        same = memcmp(t[0]->data + at, t[1]->data + at, n) == 0;
        for (int i = 0; i < 2; i++)
            mot_map_release(&file[i]->map, (size_t)(t[i]->data - file[i]->map.data), at + n);
    }
    if (!same)
        rc = mot_say(&c->complaints, "%s: config.json says that the head is the embedding (tie_word_embeddings), but \"%s\" and "
                                     "\"%s\" differ",
                     c->o.from, names[0], names[1]);
    mot_free(names[0]);
    mot_free(names[1]);
    return rc;
}

static int mark_towers(struct mot_converter *c, struct used *used)
{
    for (int64_t i = 0; i < c->from.table.n; i++) {
        const struct mot_st *file;
        char *name = mot_family_row(c->from.family, &c->from.table.tensor[i]).theirs
                         ? mot_family_name(c->from.family, &c->from.config, &c->from.table.tensor[i])
                         : NULL;
        const struct mot_st_tensor *f = name ? mot_weights_find(&c->weights, name, &file) : NULL;
        if (f)
            used->of[file - c->weights.file][f - file->tensor] = true;
        mot_free(name);
    }
    return MOT_OK;
}

/* A tensor that is no part of the model and goes into the target as it is. */
static int add_extra(struct mot_converter *c, const struct mot_st *file, const struct mot_st_tensor *t)
{
    int rc = mot_grow((void **)&c->job, c->n_jobs, &c->capacity, sizeof *c->job);
    if (rc)
        return rc;
    struct mot_job *j = &c->job[c->n_jobs];
    *j = (struct mot_job){.file = file, .from = t, .bytes = (int64_t)t->bytes};
    j->decl = (struct mot_st_decl){.name = mot_strdup(t->name), .dtype = t->dtype, .rank = t->rank};
    memcpy(j->decl.shape, t->shape, sizeof t->shape);
    if (!j->decl.name)
        return MOT_ENOMEM;
    c->n_jobs++;
    c->n_extra++;
    c->bytes += j->bytes;
    return MOT_OK;
}

/* What an earlier conversion kept. A plain Hugging Face folder has no place for it. */
static int add_kept(struct mot_converter *c)
{
    char *path = mot_path(c->o.from, MOT_EXTRA_FILE);
    int rc = path ? MOT_OK : MOT_ENOMEM;
    if (!rc && mot_file_exists(path) && c->from.family->label == MOT_LABEL_SUFFIX) {
        rc = mot_st_open(&c->extra, path);
        bool none = strcmp(c->to.family->name, "hf") == 0;
        for (int64_t i = 0; !rc && !none && i < c->extra.n; i++)
            rc = add_extra(c, &c->extra, &c->extra.tensor[i]);
        if (!rc && none)
            rc = mot_say(&c->notices, "%s: these %lld tensors are left out", path, (long long)c->extra.n);
    }
    mot_free(path);
    return rc;
}

/* Models that others keep in the same files: they are spoken of as one thing, not tensor by tensor. */
static const struct {
    const char *glob, *what;
} companions[] = {
    {"model.vqmodel.*", "Chameleon's image tokenizer (a VQGAN)"},
    {"vit_model.*", "BAGEL's picture encoder (a SigLIP ViT)"},
    {"connector.*", "BAGEL's projection of picture features"},
    {"vit_pos_embed.*", "BAGEL's positions of picture patches"},
    {"vae2llm.*", "BAGEL's projection of latents into the model"},
    {"llm2vae.*", "BAGEL's projection of the model into latents"},
    {"latent_pos_embed.*", "BAGEL's positions of latents"},
    {"time_embedder.*", "BAGEL's embedding of diffusion times"},
};

static int companion_of(const char *name)
{
    for (int i = 0; i < MOT_COUNT(companions); i++)
        if (fnmatch(companions[i].glob, name, 0) == 0)
            return i;
    return -1;
}

static int complain_of_companions(struct mot_converter *c, const int64_t *seen)
{
    int rc = MOT_OK;
    for (int i = 0; !rc && i < MOT_COUNT(companions); i++)
        if (seen[i])
            rc = mot_say(&c->complaints, "%s: %lld tensors \"%s\" are %s, no part of the model; --allow-extra '%s' leaves them "
                                         "out, --keep-extra takes them along",
                         c->o.from, (long long)seen[i], companions[i].glob, companions[i].what, companions[i].glob);
    return rc;
}

static int complain_of_rest(struct mot_converter *c, const struct used *used)
{
    int64_t dropped = 0, seen[MOT_COUNT(companions)] = {0};
    int rc = MOT_OK;
    for (int i = 0; i < c->weights.n; i++)
        for (int64_t k = 0; !rc && k < c->weights.file[i].n; k++) {
            const char *name = c->weights.file[i].tensor[k].name;
            if (used->of[i][k] || superfluous(c, name) || c->o.only_model)
                continue;
            if (mot_matches(c->o.keep_extra, c->o.n_keep_extra, name))
                rc = add_extra(c, &c->weights.file[i], &c->weights.file[i].tensor[k]);
            else if (mot_matches(c->o.allow_extra, c->o.n_allow_extra, name))
                dropped++;
            else if (companion_of(name) >= 0)
                seen[companion_of(name)] += c->o.to != NULL; /* where nothing is written, nothing becomes of them */
            else
                rc = mot_say(&c->complaints, "%s: tensor \"%s\" is not part of the model; --allow-extra leaves it out, "
                                             "--keep-extra takes it along",
                             c->weights.file[i].path, name);
        }
    if (!rc)
        rc = complain_of_companions(c, seen);
    if (!rc && dropped)
        rc = mot_say(&c->notices, "%lld tensors are left out, as --allow-extra says", (long long)dropped);
    return rc;
}

static int plan(struct mot_converter *c, struct used *used)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < c->to.table.n; i++)
        rc = add_job(c, &c->to.table.tensor[i], NULL, used);
    const struct mot_tensor *norm = mot_table_find(&c->to.table, MOT_W_FINAL_NORM, 0, 0);
    if (!rc && c->to.family->spare_norm && norm)
        rc = add_job(c, norm, c->to.family->spare_norm, used);
    if (!rc)
        rc = check_tied_head(c);
    if (!rc)
        rc = mark_towers(c, used);
    if (!rc)
        rc = complain_of_rest(c, used);
    return rc ? rc : add_kept(c);
}

int mot_plan_jobs(struct mot_converter *c)
{
    struct used used = {mot_alloc((size_t)c->weights.n, sizeof *used.of), mot_alloc((size_t)c->from.table.n, sizeof *used.told)};
    int rc = used.of && used.told ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; !rc && i < c->weights.n; i++)
        if (!(used.of[i] = mot_alloc((size_t)c->weights.file[i].n, sizeof **used.of)))
            rc = MOT_ENOMEM;
    if (!rc)
        rc = plan(c, &used);
    for (int i = 0; used.of && i < c->weights.n; i++)
        mot_free(used.of[i]);
    mot_free(used.of);
    mot_free(used.told);
    return rc;
}
