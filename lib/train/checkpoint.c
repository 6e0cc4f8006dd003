/* SPDX-License-Identifier: MIT
 *
 * checkpoint.c - what a run needs to go on bit for bit, in one file: RUN/training.safetensors.
 *
 * It holds the float weights again, though model.safetensors has them: so one rename(2) moves the run from
 * one consistent state to the next, whatever moment it is killed at, and a bf16 model.safetensors loses nothing.
 * Tensors: NAME (weight), NAME.exp_avg, NAME.exp_avg_sq.  Metadata "training": JSON with progress and options.
 */
#include "train.h"

enum { KINDS = 3, STATE_VERSION = 1 };

static const char *const suffix[KINDS] = {"", ".exp_avg", ".exp_avg_sq"};

static mot_real *block(const struct mot_optimizer *o, int kind)
{
    return kind == 0 ? o->m->params : kind == 1 ? o->exp_avg : o->exp_avg_sq;
}

static char *state_path(const char *run)
{
    return mot_path(run, "training.safetensors");
}

bool mot_checkpoint_exists(const char *run)
{
    char *path = state_path(run);
    bool there = path && mot_file_exists(path);
    mot_free(path);
    return there;
}

static char *state_text(const struct mot_progress *p, const json_t *options)
{
    json_t *j = json_pack("{s:i, s:I, s:I, s:f, s:f, s:{s:I, s:I, s:I}, s:O}", "version", STATE_VERSION, "step",
                          (json_int_t)p->step, "tokens", (json_int_t)p->tokens, "flops", p->flops, "seconds",
                          p->seconds, "position", "epoch", (json_int_t)p->position.epoch, "documents",
                          (json_int_t)p->position.documents, "offset", (json_int_t)p->position.offset, "options",
                          options);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(j);
    if (!text)
        mot_fail(MOT_ENOMEM, "out of memory writing the training state");
    return text;
}

/* KINDS of each weight, one behind the other. */
static int write_tensor(void *optimizer, struct mot_st_writer *w, int64_t i)
{
    const struct mot_optimizer *o = optimizer;
    const struct mot_tensor *t = &o->m->table.tensor[i / KINDS];
    size_t bytes = (size_t)t->count * sizeof(float);
    float *v = mot_alloc(bytes, 1);
    if (!v)
        return MOT_ENOMEM;
    o->m->k->read(o->m->d, v, block(o, (int)(i % KINDS)) + t->offset, bytes);
    int rc = mot_st_writer_data(w, v, bytes);
    mot_free(v);
    return rc;
}

int mot_checkpoint_save(const struct mot_optimizer *o, const char *run, const struct mot_progress *p, const json_t *options)
{
    const struct mot_table *t = &o->m->table;
    int64_t n = t->n * KINDS;
    struct mot_st_decl *decl = mot_alloc((size_t)n, sizeof *decl);
    char *path = state_path(run), *text = state_text(p, options);
    int rc = decl && path && text ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        const struct mot_tensor *w = &t->tensor[i / KINDS];
        decl[i] = (struct mot_st_decl){mot_format("%s%s", w->name, suffix[i % KINDS]), MOT_F32, w->rank,
                                       {w->shape[0], w->shape[1]}};
        if (!decl[i].name)
            rc = MOT_ENOMEM;
    }
    const char *const metadata[] = {"training", text};
    if (!rc)
        rc = mot_st_write(path, decl, n, metadata, 1, MOT_ST_ANYWHERE, write_tensor, (void *)(uintptr_t)o);
    for (int64_t i = 0; decl && i < n; i++)
        mot_free((char *)(uintptr_t)decl[i].name);
    mot_free(decl);
    mot_free(path);
    mot_free(text);
    return rc;
}

static int parse_state(const char *path, const char *text, struct mot_progress *p, json_t **options)
{
    json_t *j = text ? mot_json_parse(path, text, strlen(text)) : NULL;
    if (!j)
        return mot_fail(MOT_EFORMAT, "%s: not a training state: no metadata \"training\"", path);
    int64_t version = 0;
    const json_t *at = json_object_get(j, "position");
    *options = json_incref(json_object_get(j, "options"));
    int rc = mot_json_int(j, path, "version", 0, 1 << 30, &version);
    if (!rc && version != STATE_VERSION)
        rc = mot_fail(MOT_EVERSION, "%s: version %lld, this program reads %d", path, (long long)version, STATE_VERSION);
    if (!rc)
        rc = mot_json_int(j, path, "step", 0, INT64_MAX, &p->step);
    if (!rc)
        rc = mot_json_int(j, path, "tokens", 0, INT64_MAX, &p->tokens);
    if (!rc)
        rc = mot_json_real(j, path, "flops", 0, 1e300, &p->flops);
    if (!rc)
        rc = mot_json_real(j, path, "seconds", 0, 1e300, &p->seconds);
    if (!rc && (!json_is_object(at) || !json_is_object(*options)))
        rc = mot_fail(MOT_EFORMAT, "%s: not a training state: position or options are missing", path);
    if (!rc)
        rc = mot_json_int(at, path, "epoch", 0, INT64_MAX, &p->position.epoch);
    if (!rc)
        rc = mot_json_int(at, path, "documents", 0, INT64_MAX, &p->position.documents);
    if (!rc)
        rc = mot_json_int(at, path, "offset", 0, INT64_MAX, &p->position.offset);
    json_decref(j);
    return rc;
}

static int read_tensor(const struct mot_optimizer *o, const struct mot_st *s, const struct mot_tensor *t, int kind)
{
    char name[192];
    snprintf(name, sizeof name, "%s%s", t->name, suffix[kind]);
    const struct mot_st_tensor *f = mot_st_find(s, name);
    if (!f || f->dtype != MOT_F32 || f->count != t->count)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" is missing or not %lld floats: not the state of this run", s->path,
                        name, (long long)t->count);
    o->m->k->write(o->m->d, block(o, kind) + t->offset, f->data, f->bytes);
    return MOT_OK;
}

int mot_checkpoint_load(struct mot_optimizer *o, const char *run, struct mot_progress *p, json_t **options)
{
    *options = NULL;
    char *path = state_path(run);
    struct mot_st s = {0};
    int rc = path ? mot_st_open(&s, path) : MOT_ENOMEM;
    if (!rc)
        rc = parse_state(path, mot_st_metadata(&s, "training"), p, options);
    for (int64_t i = 0; !rc && i < o->m->table.n; i++)
        for (int kind = 0; !rc && kind < KINDS; kind++)
            rc = read_tensor(o, &s, &o->m->table.tensor[i], kind);
    mot_st_close(&s);
    mot_free(path);
    return rc;
}

int mot_log_cut(const char *run, int64_t step)
{
    char *path = mot_path(run, "log.jsonl");
    struct mot_bytes b = {0};
    int rc = path ? MOT_OK : MOT_ENOMEM;
    size_t keep = 0;
    if (!rc && mot_file_exists(path))
        rc = mot_read_file(path, SIZE_MAX / 2, &b);
    /* A killed run may have left lines beyond the save, and half a line. */
    for (size_t i = 0; !rc && i < b.n;) {
        const unsigned char *end = memchr(b.data + i, '\n', b.n - i);
        if (!end)
            break;
        size_t n = (size_t)(end - (b.data + i)) + 1;
        json_t *j = json_loadb((const char *)b.data + i, n, 0, NULL);
        json_int_t line_step = json_integer_value(json_object_get(j, "step"));
        json_decref(j);
        if (!j || line_step > step)
            break;
        keep = i += n;
    }
    if (!rc && keep != b.n)
        rc = mot_write_file(path, b.data, keep);
    mot_bytes_free(&b);
    mot_free(path);
    return rc;
}
