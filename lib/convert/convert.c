/* SPDX-License-Identifier: MIT
 *
 * convert.c - a conversion from beginning to end: open, check, plan; then write a folder beside its place and move it there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "convert.h"

/* The folder that a path is in, a new string. */
static char *parent_of(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    return n ? mot_strndup(path, n) : mot_strdup(".");
}

/* Weights, and some for the tokenizer and headers. */
static int check_space(const struct mot_converter *c)
{
    char *parent = parent_of(c->o.to);
    struct statvfs fs;
    if (!parent)
        return MOT_ENOMEM;
    int rc = MOT_OK;
    if (statvfs(parent, &fs) != 0)
        rc = mot_fail(MOT_EIO, "%s: cannot create: %s: %s", c->o.to, parent, strerror(errno));
    double room = rc ? 0 : (double)fs.f_bavail * (double)fs.f_frsize, need = (double)c->bytes + 64e6;
    if (!rc && room < need)
        rc = mot_fail(MOT_EIO, "%s: takes %.1f GB, the disk has %.1f GB free", c->o.to, need / 1e9, room / 1e9);
    mot_free(parent);
    return rc;
}

static int check_target(const struct mot_convert_options *o)
{
    static const char *const dtypes[] = {"f32", "f16", "bf16"};
    bool good = !o->dtype;
    for (int i = 0; i < MOT_COUNT(dtypes) && !good; i++)
        good = strcmp(o->dtype, dtypes[i]) == 0;
    if (!good)
        return mot_fail(MOT_EARG, "--dtype %s: expected f32, f16 or bf16", o->dtype);
    struct stat st;
    if (o->to && !*o->to)
        return mot_fail(MOT_EARG, "the folder to write needs a name");
    if (o->to && lstat(o->to, &st) == 0)
        return mot_fail(MOT_EARG, "%s: exists already; choose another name", o->to);
    return MOT_OK;
}

/* Many of a MoT's conversions end in training the new towers alone: say how. */
static int say_what_to_train(struct mot_converter *c)
{
    int rc = MOT_OK;
    struct mot_bytes b = {0};
    for (int m = 1; !rc && m < c->to.config.n_modalities; m++) {
        int tower = 0;
        for (int k = 0; k < MOT_COMPONENTS && c->fresh[m]; k++)
            tower = c->to.config.tower_of[k][m] > tower ? c->to.config.tower_of[k][m] : tower;
        if (tower > 0)
            rc = mot_bytes_format(&b, " --lr-scale '*_%s.*=1'", c->to.config.tower[tower]);
        if (!rc && tower > 0)
            rc = mot_bytes_format(&b, " --lr-scale '*:%s=1'", c->to.config.modality[m]);
    }
    if (!rc && b.n)
        rc = mot_say(&c->notices, "to train the new towers and rows alone: mot-train --init %s -o RUN --freeze '*'%s SHARD...", c->o.to,
                     (const char *)b.data);
    mot_bytes_free(&b);
    return rc;
}

static int open_all(struct mot_converter *c)
{
    int rc = mot_weights_open(&c->weights, c->o.from);
    if (!rc)
        rc = mot_side_open(&c->from, c->o.from, &c->weights, c->o.from_form, c->o.config);
    if (!rc)
        rc = mot_check_keys(c->from.json, &c->o, c->o.from, &c->complaints);
    if (!rc)
        rc = mot_target_make(c);
    if (!rc)
        rc = mot_plan_jobs(c);
    if (!rc && c->o.to)
        rc = check_space(c);
    if (!rc && (c->from.family->label == MOT_LABEL_NAME || c->to.family->label == MOT_LABEL_NAME))
        rc = mot_say(&c->notices, "KempnerForge's MoT counts the positions of each modality from 0, this one those of a document: "
                                  "the functions are the same for text alone");
    if (!rc && strcmp(c->to.family->name, "mot") == 0)
        rc = say_what_to_train(c);
    return rc;
}

struct mot_converter *mot_converter_open(const struct mot_convert_options *o)
{
    struct mot_converter *c = mot_alloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->o = *o;
    if (check_target(o) == MOT_OK && open_all(c) == MOT_OK)
        return c;
    mot_converter_close(c);
    return NULL;
}

const char *mot_converter_complaint(struct mot_converter *c)
{
    return mot_next_sentence(&c->complaints);
}

const char *mot_converter_notice(struct mot_converter *c)
{
    return mot_next_sentence(&c->notices);
}

/* The folder holds files alone, all of them ours. */
static void remove_folder(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = e->d_name[0] == '.' ? NULL : mot_path(folder, e->d_name);
        if (path)
            unlink(path);
        mot_free(path);
    }
    if (d)
        closedir(d);
    rmdir(folder);
}

static void sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
}

/* What killed conversions to the same place left: folders OUT.tmp-PID that nobody holds. */
static void sweep(const char *out, size_t n)
{
    char *parent = parent_of(out);
    const char *name = out;
    for (size_t i = 0; i < n; i++)
        if (out[i] == '/')
            name = out + i + 1;
    n -= (size_t)(name - out);
    DIR *d = parent ? opendir(parent) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        bool ours = strncmp(e->d_name, name, n) == 0 && strncmp(e->d_name + n, ".tmp-", 5) == 0 &&
                    strspn(e->d_name + n + 5, "0123456789") == strlen(e->d_name + n + 5);
        char *path = ours ? mot_path(parent, e->d_name) : NULL;
        int lock = -1;
        if (path && mot_lock(path, &lock) == MOT_OK)
            remove_folder(path);
        mot_unlock(lock);
        mot_free(path);
    }
    if (d)
        closedir(d);
    mot_free(parent);
}

static int write_config(struct mot_converter *c, const char *folder)
{
    json_t *j = mot_target_config(&c->to, c->from.json, c->job[0].decl.dtype);
    char *path = mot_path(folder, c->to.family->config);
    int rc = j && path ? mot_json_save(path, j) : MOT_ENOMEM;
    json_decref(j);
    mot_free(path);
    return rc;
}

static int fill(struct mot_converter *c, const char *folder)
{
    int rc = write_config(c, folder);
    if (!rc)
        rc = mot_write_tokenizer(c, folder);
    if (!rc)
        rc = mot_write_weights(c, folder);
    return rc;
}

static int move_in_place(const struct mot_converter *c, const char *tmp)
{
    sync_folder(tmp);
    struct stat st;
    if (lstat(c->o.to, &st) == 0 || rename(tmp, c->o.to) != 0)
        return mot_fail(MOT_EIO, "%s: cannot put in place: %s", c->o.to, lstat(c->o.to, &st) == 0 ? "it exists by now" : strerror(errno));
    char *parent = parent_of(c->o.to);
    if (parent)
        sync_folder(parent);
    mot_free(parent);
    return MOT_OK;
}

int mot_converter_run(struct mot_converter *c, mot_convert_progress *progress, void *context)
{
    if (c->complaints.n)
        return mot_fail(MOT_EFORMAT, "%s: %lld things stand against converting it", c->o.from, (long long)c->complaints.n);
    c->progress = progress;
    c->context = context;
    size_t n = strlen(c->o.to);
    while (n > 1 && c->o.to[n - 1] == '/')
        n--;
    char *tmp = mot_format("%.*s.tmp-%ld", (int)n, c->o.to, (long)getpid());
    if (!tmp)
        return MOT_ENOMEM;
    sweep(c->o.to, n);
    int lock = -1, rc = MOT_OK;
    if (mkdir(tmp, 0777) != 0)
        rc = mot_fail(MOT_EIO, "%s: cannot make folder: %s", tmp, strerror(errno));
    if (!rc) {
        rc = mot_lock(tmp, &lock);
        if (!rc)
            rc = fill(c, tmp);
        if (!rc)
            rc = move_in_place(c, tmp);
        if (rc)
            remove_folder(tmp);
    }
    mot_unlock(lock);
    mot_free(tmp);
    return rc;
}

void mot_converter_close(struct mot_converter *c)
{
    if (!c)
        return;
    for (int64_t i = 0; i < c->n_jobs; i++)
        mot_free((char *)(uintptr_t)c->job[i].decl.name);
    mot_free(c->job);
    mot_side_close(&c->from);
    mot_side_close(&c->to);
    mot_weights_close(&c->weights);
    mot_st_close(&c->extra);
    mot_bytes_free(&c->complaints.text);
    mot_bytes_free(&c->notices.text);
    mot_free(c);
}
