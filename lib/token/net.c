/* SPDX-License-Identifier: MIT
 *
 * net.c - reading the weights of a foreign net.  (net.h)
 */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "net.h"

enum { NAME_BYTES = 256, TOLD = 40, INDEX_LIMIT = 1 << 26, MAX_FILES = 1000 };

/* ---- kept arrays ---- */

float *mot_keep_floats(struct mot_keep *k, size_t a, size_t b)
{
    size_t n;
    if (!mot_mul(a, b, &n)) {
        mot_fail(MOT_ENOMEM, "a tensor too large for memory");
        return NULL;
    }
    float *x = mot_alloc(n, sizeof *x);
    if (!x || mot_grow((void **)&k->kept, k->n, &k->capacity, sizeof *k->kept)) {
        mot_free(x);
        return NULL;
    }
    k->kept[k->n++] = (struct mot_kept){.p = x, .n = n};
    return x;
}

void mot_keep_free(struct mot_keep *k)
{
    for (int64_t i = 0; i < k->n; i++) {
        if (k->home)
            k->kernels->free(k->home, k->kept[i].there);
        mot_free(k->kept[i].p);
    }
    if (k->home)
        k->kernels->close(k->home);
    mot_free(k->kept);
    *k = (struct mot_keep){0};
}

int mot_keep_send(struct mot_keep *k, const struct mot_kernels *kernels)
{
    char err[256] = "";
    k->kernels = kernels;
    k->home = kernels->open(1, err, sizeof err);
    if (!k->home)
        return mot_fail(MOT_EDEVICE, "cannot start device %s: %s", kernels->name, err);
    for (int64_t i = 0; i < k->n; i++) {
        struct mot_kept *a = &k->kept[i];
        a->there = kernels->alloc(k->home, a->n * sizeof *a->p);
        if (!a->there)
            return mot_fail(MOT_ENOMEM, "%s: memory is short for a net's weights", kernels->name);
        kernels->write(k->home, a->there, a->p, a->n * sizeof *a->p);
    }
    return mot_net_wait(kernels, k->home);
}

void mot_keep_move(const struct mot_keep *k, const float **w)
{
    for (int64_t i = 0; *w && i < k->n; i++) {
        const struct mot_kept *a = &k->kept[i];
        if (*w >= a->p && *w < a->p + a->n) {
            *w = a->there + (*w - a->p);
            return;
        }
    }
}

/* ---- opening ---- */

static int add_file(struct mot_net *n, const char *path)
{
    struct mot_st *file = mot_realloc(n->file, (size_t)n->n_files + 1, sizeof *file);
    if (!file)
        return MOT_ENOMEM;
    n->file = file;
    int rc = mot_st_open(&file[n->n_files], path);
    n->n_files += !rc;
    return rc;
}

/* The files that an index names, each once, in the order of their names' first mention. */
static int add_index(struct mot_net *n, const char *path)
{
    json_t *j = mot_json_load(path, INDEX_LIMIT);
    if (!j)
        return MOT_EFORMAT;
    json_t *map = json_object_get(j, "weight_map"), *seen = json_object(), *file;
    const char *slash = strrchr(path, '/'), *tensor;
    int rc = json_is_object(map) && json_object_size(map) > 0 ? MOT_OK
             : mot_fail(MOT_EFORMAT, "%s: expected \"weight_map\": an object", path);
    json_object_foreach(map, tensor, file) {
        const char *name = json_string_value(file);
        if (!rc && (!name || strchr(name, '/') || n->n_files == MAX_FILES))
            rc = mot_fail(MOT_EFORMAT, "%s: tensor \"%.80s\": expected the name of a file beside the index", path, tensor);
        if (rc || json_object_get(seen, name))
            continue;
        char *beside = slash ? mot_format("%.*s/%s", (int)(slash - path), path, name) : mot_strdup(name);
        json_object_set_new(seen, name, json_true());
        rc = beside ? add_file(n, beside) : MOT_ENOMEM;
        mot_free(beside);
    }
    json_decref(seen);
    json_decref(j);
    return rc;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int find_prefix(struct mot_net *n, const char *mark)
{
    const char *found = NULL;
    for (int f = 0; f < n->n_files; f++)
        for (int64_t i = 0; i < n->file[f].n; i++) {
            const char *name = n->file[f].tensor[i].name;
            if (!ends_with(name, mark))
                continue;
            if (found)
                return mot_fail(MOT_EFORMAT, "%s: two nets in it: \"%s\" and \"%s\"; keep the tensors of one", n->path, found,
                                name);
            found = name;
        }
    if (!found)
        return mot_fail(MOT_EFORMAT, "%s: no tensor \"%s\", with or without a prefix", n->path, mark);
    n->prefix = mot_strndup(found, strlen(found) - strlen(mark));
    return n->prefix ? MOT_OK : MOT_ENOMEM;
}

int mot_net_open(struct mot_net *n, const char *path, const char *mark, struct mot_keep *keep)
{
    *n = (struct mot_net){.keep = keep, .path = mot_strdup(path)};
    int rc = !n->path ? MOT_ENOMEM : ends_with(path, ".index.json") ? add_index(n, path) : add_file(n, path);
    return rc ? rc : find_prefix(n, mark);
}

void mot_net_close(struct mot_net *n)
{
    for (int f = 0; f < n->n_files; f++)
        mot_st_close(&n->file[f]);
    mot_free(n->file);
    mot_free(n->path);
    mot_free(n->prefix);
    mot_free((void *)n->used);
    mot_free(n->used_of);
    mot_bytes_free(&n->complaint);
    *n = (struct mot_net){0};
}

const char *mot_net_metadata(const struct mot_net *n, const char *key)
{
    return mot_st_metadata(&n->file[0], key);
}

/* ---- tensors ---- */

/* The tensor of that full name, and the file it is in. */
static const struct mot_st_tensor *locate(const struct mot_net *n, const char *name, int *file)
{
    const struct mot_st_tensor *t = NULL;
    for (int f = 0; f < n->n_files && !t; f++) {
        *file = f;
        t = mot_st_find(&n->file[f], name);
    }
    return t;
}

static void name_of(const struct mot_net *n, char *name, const char *format, va_list args)
{
    int at = snprintf(name, NAME_BYTES, "%s", n->prefix);
    if (at < NAME_BYTES)
        vsnprintf(name + at, (size_t)(NAME_BYTES - at), format, args);
    if (at < NAME_BYTES && n->rename)
        n->rename(n, name + at, (size_t)(NAME_BYTES - at));
}

const struct mot_st_tensor *mot_net_find(const struct mot_net *n, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    int file;
    va_start(args, format);
    name_of(n, name, format, args);
    va_end(args);
    return locate(n, name, &file);
}

int64_t mot_net_size(const struct mot_net *n, int dimension, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    int file;
    va_start(args, format);
    name_of(n, name, format, args);
    va_end(args);
    const struct mot_st_tensor *t = locate(n, name, &file);
    return t && dimension < t->rank ? t->shape[dimension] : 0;
}

void mot_net_complain(struct mot_net *n, const char *format, ...)
{
    char text[NAME_BYTES + 200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int told = n->n_missing + n->n_other++;
    if (told < TOLD)
        n->out_of_memory |= mot_bytes_format(&n->complaint, "%s%s", told ? "; " : "", text) != MOT_OK;
}

static void complain_missing(struct mot_net *n, const char *name)
{
    int told = n->n_missing++ + n->n_other;
    if (told < TOLD)
        n->out_of_memory |= mot_bytes_format(&n->complaint, "%s%s is missing", told ? "; " : "", name) != MOT_OK;
}

static void shape_text(char *out, size_t size, int rank, const int64_t *shape)
{
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, shape[i] < 0 ? "%sany" : "%s%lld", i ? "," : "", (long long)shape[i]);
    if (at < size)
        snprintf(out + at, size - at, "]");
}

static bool fits(const struct mot_st_tensor *t, int rank, const int64_t *shape)
{
    bool same = t->rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = shape[i] < 0 || t->shape[i] == shape[i];
    return same;
}

static bool remember(struct mot_net *n, const struct mot_st_tensor *t, int file)
{
    if (mot_grow((void **)&n->used, n->n_used, &n->used_capacity, sizeof *n->used) ||
        mot_grow((void **)&n->used_of, n->n_used, &n->of_capacity, sizeof *n->used_of))
        return false;
    n->used[n->n_used] = t;
    n->used_of[n->n_used++] = file;
    return true;
}

static float *take(struct mot_net *n, int rank, const int64_t *shape, const char *name)
{
    int file;
    const struct mot_st_tensor *t = locate(n, name, &file);
    if (!t) {
        complain_missing(n, name);
        return NULL;
    }
    if (!fits(t, rank, shape)) {
        char is[100], wanted[100];
        shape_text(is, sizeof is, t->rank, t->shape);
        shape_text(wanted, sizeof wanted, rank, shape);
        mot_net_complain(n, "%s is %s, expected %s", name, is, wanted);
        return NULL;
    }
    float *x = mot_keep_floats(n->keep, (size_t)t->count, 1);
    if (!x || !remember(n, t, file)) {
        n->out_of_memory = true;
        return NULL;
    }
    if (mot_st_read_f32(&n->file[file], t, x)) {
        mot_net_complain(n, "%s is of dtype %s, expected F32, F16, BF16 or F64", name, mot_dtype_name(t->dtype));
        return NULL;
    }
    int64_t bad = 0;
    for (int64_t i = 0; i < t->count; i++)
        bad += !isfinite(x[i]);
    if (bad > 0) {
        mot_net_complain(n, "%s: %lld of its values are NaN or infinite", name, (long long)bad);
        return NULL;
    }
    return x;
}

float *mot_net_take(struct mot_net *n, int rank, const int64_t *shape, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    name_of(n, name, format, args);
    va_end(args);
    return take(n, rank, shape, name);
}

static float *turn_conv(struct mot_net *n, const struct mot_conv *v, const float *x)
{
    int64_t I = v->C / v->groups, O = v->O / v->groups, taps = v->kh * v->kw;
    float *y = mot_keep_floats(n->keep, (size_t)(v->O * I), (size_t)taps);
    if (!y) {
        n->out_of_memory = true;
        return NULL;
    }
    for (int64_t o = 0; o < v->O; o++)
        for (int64_t c = 0; c < I; c++)
            for (int64_t t = 0; t < taps; t++)
                y[(((o / O) * taps + t) * I + c) * O + o % O] = *x++;
    return y;
}

float *mot_net_take_conv(struct mot_net *n, const struct mot_conv *v, int rank, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    name_of(n, name, format, args);
    va_end(args);
    const int64_t shape[4] = {v->O, v->C / v->groups, rank == 4 ? v->kh : v->kw, v->kw};
    float *x = take(n, rank, shape, name), *y = x ? turn_conv(n, v, x) : NULL;
    if (y) { /* x was kept last but one: it has served */
        n->keep->kept[n->keep->n - 2] = n->keep->kept[n->keep->n - 1];
        n->keep->n--;
        mot_free(x);
    }
    return y;
}

static bool was_taken(const struct mot_net *n, const struct mot_st_tensor *t)
{
    for (int64_t i = 0; i < n->n_used; i++)
        if (n->used[i] == t)
            return true;
    return false;
}

void mot_net_complain_unused(struct mot_net *n, const char *const *part, int n_parts)
{
    size_t cut = strlen(n->prefix);
    bool already = n->n_missing + n->n_other > 0; /* then it is no wonder */
    for (int f = 0; f < n->n_files && !already; f++)
        for (int64_t i = 0; i < n->file[f].n; i++) {
            const struct mot_st_tensor *t = &n->file[f].tensor[i];
            bool ours = false;
            for (int k = 0; k < n_parts && strncmp(t->name, n->prefix, cut) == 0; k++)
                ours |= strncmp(t->name + cut, part[k], strlen(part[k])) == 0;
            if (ours && !was_taken(n, t))
                mot_net_complain(n, "%s fits nowhere: what leads to it is missing", t->name);
        }
}

int mot_net_verdict(const struct mot_net *n, const char *what)
{
    int total = n->n_missing + n->n_other;
    if (n->out_of_memory)
        return mot_fail(MOT_ENOMEM, "%s: out of memory reading its tensors", n->path);
    if (total == 0)
        return MOT_OK;
    char more[40] = "";
    if (total > TOLD)
        snprintf(more, sizeof more, "; and %d more", total - TOLD);
    return mot_fail(MOT_EFORMAT, "%s: not %s that this program reads: %.*s%s", n->path, what, (int)n->complaint.n,
                    (const char *)n->complaint.data, more);
}

/* ---- writing ---- */

static int put_tensor(const struct mot_net *n, struct mot_st_writer *w, int64_t i, const struct mot_st_decl *extra,
                      const float *data)
{
    if (i < n->n_used)
        return mot_st_writer_copy(w, &n->file[n->used_of[i]], n->used[i], 0, n->used[i]->bytes);
    size_t bytes = sizeof *data;
    for (int k = 0; k < extra->rank; k++)
        bytes *= (size_t)extra->shape[k];
    return mot_st_writer_data(w, data, bytes);
}

int mot_net_save(const struct mot_net *n, const char *path, const char *const *metadata, int n_metadata,
                 const struct mot_st_decl *extra, const float *data)
{
    int64_t total = n->n_used + (extra != NULL);
    struct mot_st_decl *decl = mot_alloc((size_t)total, sizeof *decl);
    int64_t *order = mot_alloc((size_t)total, sizeof *order);
    size_t cut = strlen(n->prefix);
    for (int64_t i = 0; decl && i < n->n_used; i++) {
        const struct mot_st_tensor *t = n->used[i];
        decl[i] = (struct mot_st_decl){.name = t->name + cut, .dtype = t->dtype, .rank = t->rank};
        memcpy(decl[i].shape, t->shape, sizeof t->shape);
    }
    if (decl && extra)
        decl[n->n_used] = *extra;
    struct mot_st_writer *w = decl && order ? mot_st_writer_begin(path, decl, total, metadata, n_metadata, order) : NULL;
    int rc = w ? MOT_OK : MOT_EIO;
    for (int64_t i = 0; !rc && i < total; i++)
        rc = put_tensor(n, w, order[i], extra, data);
    if (w && rc)
        mot_st_writer_abort(w);
    mot_free(decl);
    mot_free(order);
    return w && !rc ? mot_st_writer_commit(w) : rc;
}

/* ---- devices ---- */

struct mot_device *mot_net_device(const struct mot_kernels *k, int threads, const struct mot_limits *l)
{
    char err[256] = "";
    struct mot_device *d = k->open(threads, err, sizeof err);
    if (!d) {
        mot_fail(MOT_EDEVICE, "cannot start device %s: %s", k->name, err);
        return NULL;
    }
    if (k->reserve(d, l) == 0)
        return d;
    if (*k->error(d))
        mot_fail(MOT_EDEVICE, "%s: %s", k->name, k->error(d));
    else
        mot_fail(MOT_ENOMEM, "%s: memory is short for a net's workspace, of which each thread has one", k->name);
    k->close(d);
    return NULL;
}

int mot_net_wait(const struct mot_kernels *k, struct mot_device *d)
{
    return k->sync(d) == 0 ? MOT_OK : mot_fail(MOT_EDEVICE, "%s: %s", k->name, k->error(d));
}
