/* SPDX-License-Identifier: MIT
 *
 * weights.c - a folder's tensors, in one file or in several with an index, as if they were in one.
 *
 * The index is untrusted text: a file's name is a plain name in the same folder, never a path; every tensor is where the
 * index says, no file holds one that the index does not name, and none is in two files.
 */
#include <errno.h>
#include <sys/stat.h>

#include "model.h"

enum { MAX_INDEX = 100 << 20, MAX_FILES = 10000 };

static bool plain_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < 256 && s[0] != '.' && !strpbrk(s, "/\\");
}

static struct mot_st *file_of(const struct mot_weights *w, const char *folder, const char *name)
{
    size_t skip = strlen(folder);
    for (int i = 0; i < w->n; i++) {
        const char *p = w->file[i].path + skip;
        if (strcmp(p + (*p == '/'), name) == 0)
            return &w->file[i];
    }
    return NULL;
}

static int open_file(struct mot_weights *w, const char *folder, const char *name)
{
    if (w->n == MAX_FILES)
        return mot_fail(MOT_EFORMAT, "%s: more than %d files of weights", folder, MAX_FILES);
    struct mot_st *file = mot_realloc(w->file, (size_t)w->n + 1, sizeof *file);
    char *path = file ? mot_path(folder, name) : NULL;
    if (file)
        w->file = file;
    int rc = path ? mot_st_open(&file[w->n], path) : MOT_ENOMEM;
    w->n += !rc;
    mot_free(path);
    return rc;
}

static int open_indexed(struct mot_weights *w, const char *folder, const char *index, const json_t *map)
{
    const char *tensor;
    json_t *v;
    if (!json_is_object(map) || json_object_size(map) == 0)
        return mot_fail(MOT_EFORMAT, "%s: expected \"weight_map\": an object", index);
    json_object_foreach((json_t *)(uintptr_t)map, tensor, v)
    {
        const char *name = json_string_value(v);
        if (!name || strlen(name) != json_string_length(v) || !plain_name(name))
            return mot_fail(MOT_EFORMAT, "%s: tensor \"%.200s\": \"%.200s\" is no plain file name", index, tensor,
                            name ? name : "");
        int rc = file_of(w, folder, name) ? MOT_OK : open_file(w, folder, name);
        if (rc)
            return rc;
        if (!mot_st_find(file_of(w, folder, name), tensor))
            return mot_fail(MOT_EFORMAT, "%s: tensor \"%.200s\" is not in %s, where the index has it", index, tensor, name);
    }
    for (int i = 0; i < w->n; i++)
        for (int64_t k = 0; k < w->file[i].n; k++) {
            const char *name = json_string_value(json_object_get(map, w->file[i].tensor[k].name));
            if (!name || file_of(w, folder, name) != &w->file[i])
                return mot_fail(MOT_EFORMAT, "%s: tensor \"%.200s\" of %s is %s", index, w->file[i].tensor[k].name,
                                w->file[i].path, name ? "in another file as well" : "not in the index");
        }
    return MOT_OK;
}

/* Why a folder has no weights that are read here. */
static int no_weights(const char *folder)
{
    static const char *const pickled[] = {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"};
    struct stat st;
    if (stat(folder, &st) != 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return mot_fail(MOT_EARG, "%s: a file, expected a folder with config.json and model.safetensors", folder);
    for (int i = 0; i < MOT_COUNT(pickled); i++) {
        char *path = mot_path(folder, pickled[i]);
        bool found = path && mot_file_exists(path);
        mot_free(path);
        if (found)
            return mot_fail(MOT_EFORMAT, "%s: its weights are pickled (%s), which is not read: let save_pretrained of transformers "
                                         "write them as safetensors",
                            folder, pickled[i]);
    }
    return mot_fail(MOT_EFORMAT, "%s: no weights: neither model.safetensors nor model.safetensors.index.json nor ema.safetensors",
                    folder);
}

int mot_weights_open(struct mot_weights *w, const char *folder)
{
    *w = (struct mot_weights){0};
    char *index = mot_path(folder, "model.safetensors.index.json"), *one = mot_path(folder, "model.safetensors"),
         *ema = mot_path(folder, "ema.safetensors");
    int rc = index && one && ema ? MOT_OK : MOT_ENOMEM;
    if (!rc && !mot_file_exists(one) && mot_file_exists(index)) {
        json_t *j = mot_json_load(index, MAX_INDEX);
        rc = j ? open_indexed(w, folder, index, json_object_get(j, "weight_map")) : MOT_EFORMAT;
        json_decref(j);
    } else if (!rc && !mot_file_exists(one) && !mot_file_exists(ema)) {
        rc = no_weights(folder);
    } else if (!rc) {
        rc = open_file(w, folder, mot_file_exists(one) ? "model.safetensors" : "ema.safetensors");
    }
    mot_free(index);
    mot_free(one);
    mot_free(ema);
    if (rc)
        mot_weights_close(w);
    return rc;
}

void mot_weights_close(struct mot_weights *w)
{
    for (int i = 0; i < w->n; i++)
        mot_st_close(&w->file[i]);
    mot_free(w->file);
    *w = (struct mot_weights){0};
}

const struct mot_st_tensor *mot_weights_find(const struct mot_weights *w, const char *name, const struct mot_st **file)
{
    for (int i = 0; i < w->n; i++) {
        const struct mot_st_tensor *t = mot_st_find(&w->file[i], name);
        if (t) {
            *file = &w->file[i];
            return t;
        }
    }
    return NULL;
}
