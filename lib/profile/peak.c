/* SPDX-License-Identifier: MIT
 *
 * peak.c - what GPUs do at most by their data sheets: dense matrix products of bf16 with sums in float, and float arithmetic.
 * What a product reaches is less; the measured ceiling tells.  A GPU that is not here has no peak: none is guessed.
 */
#include "profile.h"

static const struct {
    const char *part; /* of the name that the driver gives it; the first that fits counts */
    double bf16, f32; /* TFLOP/s */
} peaks[] = {
    {"B200", 2250, 75},
    {"H200", 989.4, 66.9},
    {"H100 NVL", 835, 60},
    {"H100 PCIe", 756, 51.2},
    {"H100", 989.4, 66.9},
    {"A100", 312, 19.5},
    {"A40", 149.7, 37.4},
    {"L40S", 362, 91.6},
    {"L4", 121, 30.3},
    {"RTX 4090", 165.2, 82.6},
    {"RTX 3090", 71, 35.6},
};

/* Words of the name, not a piece of one: an "L40" is no "L4".  What follows "RTX" names another card: a "4090 D". */
static bool names(const char *name, const char *part)
{
    size_t n = strlen(part);
    bool last = strncmp(part, "RTX", 3) == 0;
    for (const char *at = strstr(name, part); at; at = strstr(at + 1, part)) {
        bool begins = at == name || at[-1] == ' ', ends = !at[n] || (!last && strchr(" -", at[n]));
        if (begins && ends)
            return true;
    }
    return false;
}

double mot_gpu_peak(const char *name, const char *dtype)
{
    for (int i = 0; i < MOT_COUNT(peaks) && !strstr(name, " MIG "); i++) /* a slice of a GPU */
        if (names(name, peaks[i].part))
            return 1e12 * (dtype && strcmp(dtype, "bf16") == 0 ? peaks[i].bf16 : peaks[i].f32);
    return 0;
}
