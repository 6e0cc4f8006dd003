/* SPDX-License-Identifier: MIT
 *
 * folder.c - weights between the tensor table and a folder's file or files of tensors.
 *
 * Reading is strict: a tensor missing, unknown, or of another shape is an error that names it; a model
 * must never run with weights nobody gave it.
 */
#include "model.h"

static int load_tensor(struct mot_model *m, const struct mot_weights *from, const char *folder, const struct mot_tensor *t)
{
    const struct mot_st *s = NULL;
    const struct mot_st_tensor *f = mot_weights_find(from, t->name, &s);
    if (!f)
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" is missing, which config.json asks for",
                        from->n == 1 ? from->file->path : folder, t->name);
    if (f->rank != t->rank || f->shape[0] != t->shape[0] || (t->rank == 2 && f->shape[1] != t->shape[1]))
        return mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" has %lld values in rank %d, config.json asks for %lld x %lld",
                        s->path, t->name, (long long)f->count, f->rank, (long long)t->shape[0],
                        (long long)t->shape[1]);
    float *w = mot_alloc((size_t)t->count, sizeof *w);
    int rc = w ? mot_st_read_f32(s, f, w) : MOT_ENOMEM;
    if (!rc)
        m->k->write(m->d, m->params + t->offset, w, (size_t)t->count * sizeof *w);
    mot_map_release(&s->map, (size_t)(f->data - s->map.data), f->bytes);
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

int mot_model_load(struct mot_model *m, const char *folder)
{
    struct mot_weights from;
    int rc = mot_weights_open(&from, folder);
    for (int i = 0; !rc && i < from.n; i++)
        for (int64_t k = 0; !rc && k < from.file[i].n; k++)
            if (!known(m, from.file[i].tensor[k].name))
                rc = mot_fail(MOT_EFORMAT, "%s: tensor \"%s\" is not part of the model that config.json describes",
                              from.file[i].path, from.file[i].tensor[k].name);
    for (int64_t i = 0; !rc && i < m->table.n; i++)
        rc = load_tensor(m, &from, folder, &m->table.tensor[i]);
    mot_weights_close(&from);
    return rc;
}

static int save_tensor(void *model, struct mot_st_writer *w, int64_t k)
{
    const struct mot_model *m = model;
    const struct mot_tensor *t = &m->table.tensor[k];
    size_t bytes = (size_t)t->count * sizeof(float);
    float *v = mot_alloc(bytes, 1);
    if (!v)
        return MOT_ENOMEM;
    m->k->read(m->d, v, m->params + t->offset, bytes);
    enum mot_dtype dtype = m->config.bf16 ? MOT_BF16 : MOT_F32;
    int rc = mot_st_encode(dtype, v, t->count, v);
    if (!rc)
        rc = mot_st_writer_data(w, v, (size_t)t->count * (size_t)mot_dtype_bits(dtype) / 8);
    mot_free(v);
    return rc;
}

int mot_model_save(const struct mot_model *m, const char *folder)
{
    int64_t n = m->table.n;
    struct mot_st_decl *decl = mot_alloc((size_t)n, sizeof *decl);
    char *path = mot_path(folder, "model.safetensors");
    int rc = decl && path ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        const struct mot_tensor *t = &m->table.tensor[i];
        decl[i] = (struct mot_st_decl){t->name, m->config.bf16 ? MOT_BF16 : MOT_F32, t->rank, {t->shape[0], t->shape[1]}};
    }
    static const char *const metadata[] = {"format", "pt"}; /* transformers refuses files that do not say so */
    if (!rc)
        rc = mot_st_write(path, decl, n, metadata, 1, MOT_ST_ANYWHERE, save_tensor, (void *)(uintptr_t)m);
    mot_free(decl);
    mot_free(path);
    return rc;
}
