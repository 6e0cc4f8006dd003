/* SPDX-License-Identifier: MIT
 *
 * write.c - the target's tensors, streamed: what does not change is copied within the system, the rest passes through a
 * piece of memory of fixed size.  Nothing larger than a piece is ever held, whatever the tensors' sizes.
 */
#include <math.h>
#include <stdlib.h>

#include "convert.h"

/* Values a piece, which a processor's second cache should hold; bytes a copy between two looks at the progress. */
enum { PIECE = 1 << 15, COPY = 32 << 20 };

static int report(struct mot_converter *c, int64_t bytes)
{
    c->done += bytes;
    if (c->progress && !c->progress(c->context, c->done, c->bytes))
        return mot_fail(MOT_EIO, "%s: interrupted", c->o.to);
    return MOT_OK;
}

static int copy_bytes(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, size_t begin, size_t n)
{
    int rc = MOT_OK;
    for (size_t at = 0; !rc && at < n; at += COPY) {
        size_t piece = n - at < COPY ? n - at : COPY;
        rc = mot_st_writer_copy(w, j->file, j->from, begin + at, piece);
        if (!rc)
            rc = report(c, (int64_t)piece);
    }
    return rc;
}

/* Values to the file, in place. */
static int put(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *x, int64_t n)
{
    for (int64_t i = 0; i < n && j->decl.dtype == MOT_F16; i++)
        if (isfinite(x[i]) && isinf(mot_from_f16(mot_f16(x[i]))))
            return mot_fail(MOT_EARG, "%s: tensor \"%s\": %g is too large for F16; --dtype bf16 or f32 has room for it", c->o.from,
                            j->decl.name, (double)x[i]);
    int rc = mot_st_encode(j->decl.dtype, x, n, x);
    size_t bytes = (size_t)n * (size_t)mot_dtype_bits(j->decl.dtype) / 8;
    if (!rc)
        rc = mot_st_writer_data(w, x, bytes);
    return rc ? rc : report(c, (int64_t)bytes);
}

/* Values [first, first + n) of the source.  All pages up to there are let go now and then: one at a time the system would map
 * neighbours again. */
static int get(const struct mot_job *j, int64_t first, int64_t n, float *x)
{
    enum { HELD = 1 << 21 };
    int rc = mot_st_read_part(j->file, j->from, first, n, x);
    int64_t end = first + n;
    if (first / HELD != end / HELD || end == j->from->count)
        mot_map_release(&j->file->map, (size_t)(j->from->data - j->file->map.data),
                        (size_t)end * (size_t)mot_dtype_bits(j->from->dtype) / 8);
    return rc;
}

static int64_t width(const struct mot_job *j)
{
    return j->decl.rank == 1 ? 1 : j->decl.shape[1];
}

/* Rows [first, first + n) of the source, converted. */
static int put_rows(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *piece, int64_t first,
                    int64_t n)
{
    int rc = MOT_OK;
    int64_t end = (first + n) * width(j);
    for (int64_t at = first * width(j); !rc && at < end; at += PIECE) {
        int64_t m = end - at < PIECE ? end - at : PIECE;
        rc = get(j, at, m, piece);
        if (!rc)
            rc = put(c, w, j, piece, m);
    }
    return rc;
}

/* Within a head, halves have pair i at i and i + D/2, neighbours at 2i and 2i + 1. */
int64_t mot_turned_row(const struct mot_job *j, int64_t r, int64_t D)
{
    int64_t head = r / D * D, k = r % D;
    return head + (j->unpair ? k % (D / 2) * 2 + k / (D / 2) : k / 2 + k % 2 * (D / 2));
}

static int put_turned(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *piece)
{
    int rc = MOT_OK;
    for (int64_t r = 0; !rc && r < j->decl.shape[0]; r++)
        for (int64_t at = 0; !rc && at < width(j); at += PIECE) {
            int64_t n = width(j) - at < PIECE ? width(j) - at : PIECE;
            rc = get(j, mot_turned_row(j, r, c->to.config.head_dim) * width(j) + at, n, piece);
            if (!rc)
                rc = put(c, w, j, piece, n);
        }
    return rc;
}

/* ---- new rows of the vocabulary ---- */

struct moments { /* of each column over the source's rows */
    double *mean, *deviation;
};

static int measure(const struct mot_job *j, float *piece, struct moments *m)
{
    int64_t C = width(j), rows = j->from->shape[0], at_once = C < PIECE ? PIECE / C : 1;
    m->mean = mot_alloc((size_t)C, sizeof *m->mean);
    m->deviation = mot_alloc((size_t)C, sizeof *m->deviation);
    int rc = m->mean && m->deviation ? MOT_OK : MOT_ENOMEM;
    for (int64_t r = 0; !rc && r < rows; r += at_once) {
        int64_t n = rows - r < at_once ? rows - r : at_once;
        rc = get(j, r * C, n * C, piece);
        for (int64_t i = 0; !rc && i < n * C; i++) {
            double x = (double)piece[i];
            m->mean[i % C] += x;
            m->deviation[i % C] += x * x;
        }
    }
    for (int64_t k = 0; !rc && k < C; k++) {
        m->mean[k] /= (double)rows;
        double v = m->deviation[k] / (double)rows - m->mean[k] * m->mean[k];
        m->deviation[k] = v > 0 ? sqrt(v) : 0;
    }
    return rc;
}

/* The share of the old rows' deviation that is noise on a new row: enough to tell new rows apart, too little to matter. */
#define NOISE 0.02

/* Values of row r of the target; its random numbers depend on seed, name, row and column alone. */
static void make_row(const struct mot_converter *c, const struct mot_job *j, const struct moments *m, int64_t r, float *x)
{
    uint64_t stream = mot_stream(j->decl.name);
    int64_t C = width(j);
    for (int64_t k = 0; k < C; k++) {
        double z = c->o.new_rows == MOT_ROWS_ZERO ? 0 : mot_random_normal(c->o.seed, stream, (uint64_t)(r * C + k));
        x[k] = (float)(c->o.new_rows == MOT_ROWS_NORMAL ? c->to.config.initializer_range * z
                       : c->o.new_rows == MOT_ROWS_MEAN ? m->mean[k] + NOISE * m->deviation[k] * z
                                                        : 0);
    }
}

static int put_new_rows(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *piece, int64_t first,
                        int64_t n)
{
    struct moments m = {0};
    int rc = c->o.new_rows == MOT_ROWS_MEAN ? measure(j, piece, &m) : MOT_OK;
    for (int64_t r = first; !rc && r < first + n; r++) {
        make_row(c, j, &m, r, piece);
        rc = put(c, w, j, piece, width(j));
    }
    mot_free(m.mean);
    mot_free(m.deviation);
    return rc;
}

static int put_runs(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *piece)
{
    int rc = MOT_OK;
    int64_t row = 0;
    for (int i = 0; !rc && i < c->n_runs; row += c->run[i++].n) {
        const struct mot_run *r = &c->run[i];
        size_t bytes = (size_t)width(j) * (size_t)mot_dtype_bits(j->decl.dtype) / 8;
        if (r->from < 0)
            rc = put_new_rows(c, w, j, piece, row, r->n);
        else if (j->decl.dtype == j->from->dtype)
            rc = copy_bytes(c, w, j, (size_t)r->from * bytes, (size_t)r->n * bytes);
        else
            rc = put_rows(c, w, j, piece, r->from, r->n);
    }
    return rc;
}

/* ---- a tensor, a file, all files ---- */

static int put_made(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *piece)
{
    uint64_t stream = mot_stream(j->tensor->name);
    int rc = MOT_OK;
    for (int64_t at = 0; !rc && at < j->tensor->count; at += PIECE) {
        int64_t n = j->tensor->count - at < PIECE ? j->tensor->count - at : PIECE;
#pragma omp parallel for
        for (int64_t i = 0; i < n; i++)
            piece[i] = j->random ? mot_initial(&c->to.config, j->tensor, c->o.seed, stream, at + i) : 0;
        rc = put(c, w, j, piece, n);
    }
    return rc;
}

static int put_tensor(struct mot_converter *c, struct mot_st_writer *w, const struct mot_job *j, float *piece)
{
    if (!j->from)
        return put_made(c, w, j, piece);
    if (j->rows)
        return put_runs(c, w, j, piece);
    if (j->pair != j->unpair)
        return put_turned(c, w, j, piece);
    if (j->decl.dtype == j->from->dtype)
        return copy_bytes(c, w, j, 0, j->from->bytes);
    return put_rows(c, w, j, piece, 0, j->decl.shape[0]);
}

struct file { /* that is being written */
    struct mot_converter *c;
    const struct mot_job *job;
    float *piece;
};

static int put_job(void *file, struct mot_st_writer *w, int64_t k)
{
    const struct file *f = file;
    return put_tensor(f->c, w, &f->job[k], f->piece);
}

/* Where data begin in the file that the first tensor comes from, if towers are added to it.  All other files have headers as
 * short as can be: so the way there and back gives the same bytes, header and all. */
static size_t data_begin(const struct mot_converter *c, const struct mot_job *j)
{
    bool more = c->to.config.n_towers > c->from.config.n_towers;
    return more && j->from ? (size_t)(j->file->tensor[0].data - j->file->map.data) : MOT_ST_ANYWHERE;
}

static int write_file(struct mot_converter *c, const char *path, const struct mot_job *job, int64_t n, float *piece)
{
    static const char *const metadata[] = {"format", "pt"};
    struct file f = {c, job, piece};
    struct mot_st_decl *decl = mot_alloc((size_t)n, sizeof *decl);
    int rc = decl ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++)
        decl[i] = job[i].decl;
    if (!rc)
        rc = mot_st_write(path, decl, n, metadata, 1, data_begin(c, job), put_job, &f);
    mot_free(decl);
    return rc;
}

/* Beside a model of ours what travels along has a file of its own; elsewhere it lies among the model's tensors. */
static int64_t apart(const struct mot_converter *c)
{
    return c->to.family->label == MOT_LABEL_SUFFIX ? c->n_extra : 0;
}

/* How many of the jobs from the first on go into one file: as many as fit, one at least. */
static int64_t fit(const struct mot_converter *c, int64_t first)
{
    int64_t n = 0, bytes = 0, end = c->n_jobs - apart(c);
    while (first + n < end && (n == 0 || c->o.shard_size == 0 || bytes + c->job[first + n].bytes <= c->o.shard_size))
        bytes += c->job[first + n++].bytes;
    return n;
}

/* Weights in `files` files and the index that transformers expects. */
static int write_shards(struct mot_converter *c, const char *folder, int files, float *piece)
{
    json_t *map = json_object();
    json_t *j = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)c->bytes, "weight_map", map);
    int rc = j ? MOT_OK : mot_fail(MOT_ENOMEM, "%s: out of memory", folder);
    int64_t first = 0;
    for (int i = 0; !rc && i < files; i++) {
        char file[64];
        snprintf(file, sizeof file, "model-%05d-of-%05d.safetensors", i + 1, files);
        int64_t n = fit(c, first);
        for (int64_t k = first; k < first + n; k++)
            json_object_set_new(map, c->job[k].decl.name, json_string(file));
        char *path = mot_path(folder, file);
        rc = path ? write_file(c, path, c->job + first, n, piece) : MOT_ENOMEM;
        mot_free(path);
        first += n;
    }
    char *path = mot_path(folder, "model.safetensors.index.json");
    if (!rc)
        rc = path ? mot_json_save(path, j) : MOT_ENOMEM;
    json_decref(j);
    mot_free(path);
    return rc;
}

int mot_write_weights(struct mot_converter *c, const char *folder)
{
    int files = 0;
    int64_t model = c->n_jobs - apart(c);
    for (int64_t first = 0; first < model; first += fit(c, first))
        files++;
    /* Rows of new ids are made one at a time. */
    int64_t room = c->to.config.hidden_size > PIECE ? c->to.config.hidden_size : PIECE;
    float *piece = mot_alloc((size_t)room, sizeof *piece);
    char *path = mot_path(folder, c->to.family->weights), *extra = mot_path(folder, MOT_EXTRA_FILE);
    int rc = !piece || !path || !extra ? MOT_ENOMEM
             : files > 1               ? write_shards(c, folder, files, piece)
                                       : write_file(c, path, c->job, model, piece);
    if (!rc && apart(c))
        rc = write_file(c, extra, c->job + model, apart(c), piece);
    mot_free(piece);
    mot_free(path);
    mot_free(extra);
    return rc;
}
