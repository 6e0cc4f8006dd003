/* SPDX-License-Identifier: MIT
 *
 * select.c - which of the cpu backend's builds is used: that for the newest set of instructions
 * this processor has, or the one that is asked for by name.
 *
 * The Makefile gives each set the compiler flags that belong to it; a set's has() must ask for
 * every instruction that those flags allow.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kernels.h"

struct set {
    const char *name, *dtype, *needs;
    bool (*has)(void);
    const struct mot_kernels *table;
};

extern const struct mot_kernels mot_cpu_table_baseline;

static bool has_baseline(void)
{
    return true; /* or this would not run */
}

#ifdef __x86_64__
extern const struct mot_kernels mot_cpu_table_avx2, mot_cpu_table_avx512,
    mot_cpu_table_avx512bf16;

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

/* The best of a dtype first. */
static const struct set sets[] = {
#ifdef __x86_64__
    {"avx512bf16", "bf16", "AVX-512 F, BW, DQ, VL and BF16", has_avx512bf16,
     &mot_cpu_table_avx512bf16},
    {"avx512", "f32", "AVX-512 F, BW, DQ and VL", has_avx512, &mot_cpu_table_avx512},
    {"avx2", "f32", "AVX2 and FMA", has_avx2, &mot_cpu_table_avx2},
#endif
    {"baseline", "f32", "nothing more", has_baseline, &mot_cpu_table_baseline},
};

enum { SETS = sizeof sets / sizeof sets[0] };

static bool computes(const struct set *s, const char *dtype)
{
    return strcmp(s->dtype, dtype ? dtype : "f32") == 0;
}

const char *mot_kernels_cpu_set(const char *dtype, int i)
{
    for (int k = 0; k < SETS; k++)
        if (computes(&sets[k], dtype) && i-- == 0)
            return sets[k].name;
    return NULL;
}

/* That there is no such dtype, or no such set for it, and what there is. */
static void say_choice(const char *set, const char *dtype, char *err, size_t err_size)
{
    bool known = mot_kernels_cpu_set(dtype, 0) != NULL;
    size_t n = (size_t)(known ? snprintf(err, err_size, "no instruction set \"%s\" for dtype %s", set,
                                         dtype ? dtype : "f32")
                              : snprintf(err, err_size, "no dtype \"%s\"", dtype));
    const char *before = " in this program, only ", *last = "";
    for (int i = 0; i < SETS && n < err_size; i++) {
        const char *choice = known ? sets[i].name : sets[i].dtype;
        if ((known && !computes(&sets[i], dtype)) || strcmp(choice, last) == 0)
            continue;
        n += (size_t)snprintf(err + n, err_size - n, "%s%s", before, choice);
        before = ", ";
        last = choice;
    }
}

const struct mot_kernels *mot_kernels_cpu(const char *set, const char *dtype, char *err,
                                          size_t err_size)
{
    const struct set *lacking = NULL;
    for (int i = 0; i < SETS; i++) {
        const struct set *s = &sets[i];
        if (!computes(s, dtype) || (set && strcmp(set, s->name) != 0))
            continue;
        if (s->has())
            return s->table;
        lacking = s;
    }
    if (lacking)
        snprintf(err, err_size, "this processor lacks what %s \"%s\" needs: %s",
                 set ? "instruction set" : "dtype", set ? set : lacking->dtype, lacking->needs);
    else
        say_choice(set, dtype, err, err_size);
    return NULL;
}
