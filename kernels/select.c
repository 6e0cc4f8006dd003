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
    const char *name, *needs;
    bool (*has)(void);
    const struct mot_kernels *f32;
};

extern const struct mot_kernels mot_cpu_f32_baseline;

static bool has_baseline(void)
{
    return true; /* or this would not run */
}

#ifdef __x86_64__
extern const struct mot_kernels mot_cpu_f32_avx2, mot_cpu_f32_avx512;

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

/* The best first. */
static const struct set sets[] = {
#ifdef __x86_64__
    {"avx512", "AVX-512 F, BW, DQ and VL", has_avx512, &mot_cpu_f32_avx512},
    {"avx2", "AVX2 and FMA", has_avx2, &mot_cpu_f32_avx2},
#endif
    {"baseline", "nothing more", has_baseline, &mot_cpu_f32_baseline},
};

enum { SETS = sizeof sets / sizeof sets[0] };

const char *mot_kernels_cpu_set(int i)
{
    return i < SETS ? sets[i].name : NULL;
}

const struct mot_kernels *mot_kernels_cpu(const char *set, char *err, size_t err_size)
{
    for (int i = 0; i < SETS; i++) {
        const struct set *s = &sets[i];
        if (set ? strcmp(set, s->name) != 0 : !s->has())
            continue;
        if (s->has())
            return s->f32;
        snprintf(err, err_size, "this processor lacks what instruction set \"%s\" needs: %s",
                 s->name, s->needs);
        return NULL;
    }
    size_t n = (size_t)snprintf(err, err_size, "no instruction set \"%s\" in this program, only",
                                set);
    for (int i = 0; i < SETS && n < err_size; i++)
        n += (size_t)snprintf(err + n, err_size - n, " %s", sets[i].name);
    return NULL;
}
