/* SPDX-License-Identifier: MIT
 *
 * nets.h - foreign nets for tests, made of the names and shapes of their tensors alone: as the PyTorch twins in tests/golden
 * make them.  Included once.
 */
#ifndef MOT_TEST_NETS_H
#define MOT_TEST_NETS_H

#include <stdlib.h>

#include "lib/base/safetensors.h"
#include "test.h"

enum { MOST = 500 };
struct tensors {
    int n;
    char name[MOST][96];
    struct mot_st_decl decl[MOST];
};

/* Lines "name size size ..." */
static bool read_names(struct tensors *t, const char *path)
{
    char line[256];
    FILE *f = fopen(path, "r");
    t->n = 0;
    while (f && fgets(line, sizeof line, f) && t->n < MOST) {
        struct mot_st_decl *d = &t->decl[t->n];
        char *at = line + strcspn(line, " \n");
        *d = (struct mot_st_decl){.name = t->name[t->n], .dtype = MOT_F32};
        snprintf(t->name[t->n++], sizeof t->name[0], "%.*s", (int)(at - line), line);
        for (char *end; d->rank < MOT_MAX_RANK && (d->shape[d->rank] = strtoll(at, &end, 10), end != at); at = end)
            d->rank++;
    }
    CHECK(f && t->n > 0);
    if (f)
        fclose(f);
    return t->n > 0;
}

static float number(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u; /* splitmix64 (Steele et al. 2014) */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return ((float)((z ^ (z >> 31)) >> 48) - 32768) / 32768;
}

static void make_numbers(const struct mot_st_decl *d, float *x)
{
    int64_t n = 1, inputs = 1;
    for (int i = 0; i < d->rank; i++) {
        n *= d->shape[i];
        inputs *= i ? d->shape[i] : 1;
    }
    bool norm = strstr(d->name, "norm") && strcmp(d->name + strlen(d->name) - 6, "weight") == 0;
    float root = (float)sqrt((double)inputs);
    for (int64_t i = 0; i < n; i++) {
        float u = number(mot_hash(MOT_HASH_START, d->name, strlen(d->name)), (uint64_t)i);
        if (strstr(d->name, "embedding"))
            x[i] = u;
        else
            x[i] = d->rank > 1 ? u * 1.5f / root : norm ? 1 + u / 4 : u / 8;
    }
}

/* The net as a file; `spoil` is told of each tensor, by its name, and may change it. */
typedef void spoiler(struct mot_st_decl *d, float *x);
static void write_net(const struct tensors *t, const char *path, spoiler *spoil)
{
    struct mot_st_decl *decl = calloc((size_t)t->n, sizeof *decl);
    float **x = calloc((size_t)t->n, sizeof *x);
    int64_t order[MOST];
    for (int i = 0; i < t->n; i++) {
        size_t n = 1;
        decl[i] = t->decl[i];
        for (int k = 0; k < decl[i].rank; k++)
            n *= (size_t)decl[i].shape[k];
        x[i] = calloc(n, sizeof(float));
        make_numbers(&decl[i], x[i]);
        if (spoil)
            spoil(&decl[i], x[i]);
    }
    struct mot_st_writer *w = mot_st_writer_begin(path, decl, t->n, NULL, 0, order);
    CHECK(w != NULL);
    for (int i = 0; w && i < t->n; i++) {
        size_t n = sizeof(float);
        for (int k = 0; k < decl[order[i]].rank; k++)
            n *= (size_t)decl[order[i]].shape[k];
        CHECK_INT(mot_st_writer_data(w, x[order[i]], n), 0);
    }
    CHECK(w && mot_st_writer_commit(w) == 0);
    for (int i = 0; i < t->n; i++)
        free(x[i]);
    free(x);
    free(decl);
}

#endif
