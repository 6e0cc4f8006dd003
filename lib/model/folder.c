/* SPDX-License-Identifier: MIT
 *
 * folder.c - weights between the tensor table and a folder's model.safetensors.
 *
 * Reading is strict: a tensor missing, unknown, or of another shape is an error that names it; a model
 * must never run with weights nobody gave it.
 */
#include "model.h"

static int load_tensor(struct mot_model *m, const struct mot_st *s, const struct mot_tensor *t)
{
    const struct mot_st_tensor *f = mot_st_find(s, t->name);
    if (!f)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" is missing, which config.json asks for", s->path, t->name);
    if (f->rank != t->rank || f->shape[0] != t->shape[0] || (t->rank == 2 && f->shape[1] != t->shape[1]))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" has %lld values in rank %d, config.json asks for %lld x %lld",
                        s->path, t->name, (long long)f->count, f->rank, (long long)t->shape[0],
                        (long long)t->shape[1]);
    float *w = mot_alloc((size_t)t->count, sizeof *w);
    int rc = w ? mot_st_read_f32(s, f, w) : MOT_ENOMEM;
    if (!rc)
        m->k->write(m->d, m->params + t->offset, w, (size_t)t->count * sizeof *w);
    mot_free(w);
    return rc;
}

static bool known(const struct mot_model *m, const char *name)
{
    for (int64_t i = 0; i < m->table.n; i++)
        if (strcmp(m->table.tensor[i].name, name) == 0)
            return true;
    /* A tied head may be stored once more: it says the same as the embedding. */
    return m->config.tie_word_embeddings && strcmp(name, "lm_head.weight") == 0;
}

static int open_weights(struct mot_st *s, const char *folder, const char *path)
{
    char *index = mot_path(folder, "model.safetensors.index.json");
    int rc = index ? MOT_OK : MOT_ENOMEM;
    if (!rc && !mot_file_exists(path) && mot_file_exists(index))
        rc = mot_fail(MOT_EFORMAT, "%s: the weights lie in several files, this program reads one, model.safetensors: save "
                                   "them with a larger max_shard_size", index);
    mot_free(index);
    return rc ? rc : mot_st_open(s, path);
}

int mot_model_load(struct mot_model *m, const char *folder)
{
    char *path = mot_path(folder, "model.safetensors");
    struct mot_st s = {0};
    int rc = path ? open_weights(&s, folder, path) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < s.n; i++)
        if (!known(m, s.tensor[i].name))
            rc = mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" is not part of the model that config.json describes", path,
                          s.tensor[i].name);
    for (int64_t i = 0; !rc && i < m->table.n; i++)
        rc = load_tensor(m, &s, &m->table.tensor[i]);
    mot_st_close(&s);
    mot_free(path);
    return rc;
}

static int save_tensor(const struct mot_model *m, struct mot_st_writer *w, const struct mot_tensor *t)
{
    size_t bytes = (size_t)t->count * sizeof(float);
    float *v = mot_alloc(bytes, 1);
    if (!v)
        return MOT_ENOMEM;
    m->k->read(m->d, v, m->params + t->offset, bytes);
    if (m->config.bf16) {
        /* In place: value j is read before byte 2j is written over it. */
        unsigned char *out = (unsigned char *)v;
        for (int64_t j = 0; j < t->count; j++)
            mot_put16(out + 2 * j, mot_bf16(v[j]));
        bytes /= 2;
    }
    int rc = mot_st_writer_data(w, v, bytes);
    mot_free(v);
    return rc;
}

int mot_model_save(const struct mot_model *m, const char *folder)
{
    int64_t n = m->table.n;
    struct mot_st_decl *decl = mot_alloc((size_t)n, sizeof *decl);
    int64_t *order = mot_alloc((size_t)n, sizeof *order);
    char *path = mot_path(folder, "model.safetensors");
    int rc = decl && order && path ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        decl[i] = (struct mot_st_decl){t->name, m->config.bf16 ? MOT_BF16 : MOT_F32, t->rank, {t->shape[0], t->shape[1]}};
    }
    static const char *const metadata[] = {"format", "pt"}; /* transformers refuses files that do not say so */
    struct mot_st_writer *w = rc ? NULL : mot_st_writer_begin(path, decl, n, metadata, 1, order);
    if (!rc && !w)
        rc = MOT_EIO;
    for (int64_t i = 0; !rc && i < n; i++)
        rc = save_tensor(m, w, &m->table.tensor[order[i]]);
    if (!rc)
        rc = mot_st_writer_commit(w);
    else
        mot_st_writer_abort(w);
    mot_free(decl);
    mot_free(order);
    mot_free(path);
    return rc;
}
