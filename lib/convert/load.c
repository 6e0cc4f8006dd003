/* SPDX-License-Identifier: MIT
 *
 * load.c - the target's tensors put into a model in memory instead of files: how two folders of whatever forms are compared
 * (verify.c).  Only for conversions that add nothing: there are no new rows and no random towers.
 */
#include "convert.h"

static int read_runs(const struct mot_converter *c, const struct mot_job *j, float *x)
{
    int64_t width = j->decl.shape[1], row = 0;
    int rc = MOT_OK;
    for (int i = 0; !rc && i < c->n_runs; row += c->run[i++].n)
        rc = mot_st_read_part(j->file, j->from, c->run[i].from * width, c->run[i].n * width, x + row * width);
    return rc;
}

static int read_turned(const struct mot_converter *c, const struct mot_job *j, float *x)
{
    int64_t width = j->decl.rank == 1 ? 1 : j->decl.shape[1];
    int rc = MOT_OK;
    for (int64_t r = 0; !rc && r < j->decl.shape[0]; r++)
        rc = mot_st_read_part(j->file, j->from, mot_turned_row(j, r, c->to.config.head_dim) * width, width, x + r * width);
    return rc;
}

int mot_converter_load(const struct mot_converter *c, struct mot_model *m)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < c->n_jobs; i++) {
        const struct mot_job *j = &c->job[i];
        if (!j->tensor || !j->from) /* no part of the model; or a bias that was not there, and a new model's is zero */
            continue;
        float *x = mot_alloc((size_t)j->tensor->count, sizeof *x);
        rc = !x                     ? MOT_ENOMEM
             : j->rows              ? read_runs(c, j, x)
             : j->pair != j->unpair ? read_turned(c, j, x)
                                    : mot_st_read_part(j->file, j->from, 0, j->tensor->count, x);
        if (!rc)
            m->k->write(m->d, m->params + j->tensor->offset, x, (size_t)j->tensor->count * sizeof *x);
        mot_map_release(&j->file->map, (size_t)(j->from->data - j->file->map.data), j->from->bytes);
        mot_free(x);
    }
    return rc;
}
