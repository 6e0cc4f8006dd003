/* SPDX-License-Identifier: MIT
 *
 * check.c - what is in a file or folder of tensors, and whether all of it is whole: the format's rules (the reader checks
 * them), every value finite, and of a folder with a config.json the names and shapes too.
 */
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "convert.h"

/* Weights of a folder, or one file by its name. */
static int open_path(struct mot_weights *w, const char *path, bool *folder)
{
    struct stat st;
    *folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (*folder)
        return mot_weights_open(w, path);
    *w = (struct mot_weights){.file = mot_alloc(1, sizeof *w->file)};
    int rc = w->file ? mot_st_open(w->file, path) : MOT_ENOMEM;
    w->n = !rc;
    if (rc)
        mot_weights_close(w);
    return rc;
}

/* ---- listing ---- */

struct known { /* a tensor of the model, as the file names it */
    char *name;
    const char *tower;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

/* The model's tensors by name; *n = 0 where the folder is no model. */
static int find_towers(const struct mot_side *s, struct known **known, int64_t *n)
{
    *n = 0;
    if (!(*known = mot_alloc((size_t)s->table.n, sizeof **known)))
        return MOT_ENOMEM;
    for (int64_t i = 0; i < s->table.n; i++) {
        const struct mot_tensor *t = &s->table.tensor[i];
        if (!mot_family_row(s->family, t).theirs)
            continue;
        struct known *k = &(*known)[*n];
        if (!(k->name = mot_family_name(s->family, &s->config, t)))
            return MOT_ENOMEM;
        k->tower = t->tower < 0 ? NULL : s->config.tower[t->tower];
        ++*n;
    }
    qsort(*known, (size_t)*n, sizeof **known, by_name);
    return MOT_OK;
}

static const char *tower_of(const struct known *known, int64_t n, const char *name)
{
    const struct known key = {.name = (char *)(uintptr_t)name},
                       *found = n ? bsearch(&key, known, (size_t)n, sizeof key, by_name) : NULL;
    return found ? found->tower : NULL;
}

int mot_list_tensors(const char *path, mot_tensor_sink *sink, void *context)
{
    struct mot_weights w;
    struct mot_side side = {0};
    bool folder;
    int rc = open_path(&w, path, &folder);
    if (rc)
        return rc;
    /* A folder that is no model has no towers; its tensors can be listed all the same. */
    bool model = folder && mot_side_open(&side, path, &w, NULL, NULL) == MOT_OK;
    struct known *known = NULL;
    int64_t n_known = 0;
    if (model)
        rc = find_towers(&side, &known, &n_known);
    for (int i = 0; !rc && i < w.n; i++)
        for (int64_t k = 0; k < w.file[i].n; k++) {
            const struct mot_st_tensor *t = &w.file[i].tensor[k];
            struct mot_tensor_info info = {.file = w.file[i].path, .name = t->name, .dtype = mot_dtype_name(t->dtype),
                                           .tower = tower_of(known, n_known, t->name), .rank = t->rank,
                                           .offset = (size_t)(t->data - w.file[i].map.data), .bytes = t->bytes};
            memcpy(info.shape, t->shape, sizeof info.shape);
            sink(context, &info);
        }
    for (int64_t i = 0; i < n_known; i++)
        mot_free(known[i].name);
    mot_free(known);
    mot_side_close(&side);
    mot_weights_close(&w);
    return rc;
}

/* ---- checking ---- */

struct check {
    mot_sentence_sink *sink;
    mot_convert_progress *progress;
    void *context;
    int64_t done, total;
    struct mot_check *out;
};

static void wrong(struct check *c, const char *sentence)
{
    c->out->wrong++;
    c->sink(c->context, sentence);
}

static int check_values(struct check *c, const struct mot_st *s, const struct mot_st_tensor *t, float *x, int64_t room)
{
    int64_t bad = 0;
    bool reals = t->dtype == MOT_F32 || t->dtype == MOT_F16 || t->dtype == MOT_BF16 || t->dtype == MOT_F64;
    int rc = MOT_OK;
    for (int64_t at = 0; !rc && at < t->count; at += room) {
        int64_t n = t->count - at < room ? t->count - at : room;
        size_t bits = (size_t)mot_dtype_bits(t->dtype), begin = (size_t)(t->data - s->map.data) + (size_t)at * bits / 8;
        if (reals)
            rc = mot_st_read_part(s, t, at, n, x);
        for (int64_t i = 0; reals && !rc && i < n; i++)
            bad += !isfinite(x[i]);
        mot_map_release(&s->map, begin, (size_t)n * bits / 8);
        c->done += (int64_t)((size_t)n * bits / 8);
        if (!rc && c->progress && !c->progress(c->context, c->done, c->total))
            rc = mot_fail(MOT_EIO, "%s: interrupted", s->path);
    }
    char *sentence = bad ? mot_format("%s: tensor \"%s\": %lld of %lld values are not finite", s->path, t->name, (long long)bad,
                                      (long long)t->count)
                         : NULL;
    if (sentence)
        wrong(c, sentence);
    mot_free(sentence);
    c->out->tensors++;
    c->out->values += t->count;
    return rc;
}

static int check_model(struct check *c, const char *folder)
{
    char *config = mot_path(folder, "config.json");
    int rc = config ? MOT_OK : MOT_ENOMEM;
    if (!rc && mot_file_exists(config)) {
        struct mot_convert_options o = {.from = folder};
        struct mot_converter *m = mot_converter_open(&o);
        if (!m)
            wrong(c, mot_error());
        for (const char *s; m && (s = mot_converter_complaint(m));)
            wrong(c, s);
        mot_converter_close(m);
    }
    mot_free(config);
    return rc;
}

int mot_check_tensors(const char *path, mot_sentence_sink *sink, mot_convert_progress *progress, void *context,
                      struct mot_check *out)
{
    enum { ROOM = 1 << 20 };
    *out = (struct mot_check){0};
    struct check c = {.sink = sink, .progress = progress, .context = context, .out = out};
    struct mot_weights w;
    bool folder;
    int rc = open_path(&w, path, &folder);
    if (rc)
        return rc;
    out->files = w.n;
    for (int i = 0; i < w.n; i++)
        c.total += (int64_t)w.file[i].map.n;
    float *x = mot_alloc(ROOM, sizeof *x);
    rc = x ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; i < w.n; i++)
        for (int64_t k = 0; !rc && k < w.file[i].n; k++)
            rc = check_values(&c, &w.file[i], &w.file[i].tensor[k], x, ROOM);
    mot_free(x);
    mot_weights_close(&w);
    return !rc && folder ? check_model(&c, path) : rc;
}
