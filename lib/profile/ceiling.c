/* SPDX-License-Identifier: MIT
 *
 * ceiling.c - what this machine can do at best: the rate of large matrix products and of moving memory, measured with the
 * backend's own operations.  The two together are the roofline (Williams et al. 2009) that profiles are held against.
 */
#include <math.h>

#include "probe.h"

enum {
    REPEATS = 7,
    WIDTH = 2048, /* of the largest square: 16 MB each for x, y and w */
};

/* The shortest of some runs of y = x w^T, all of `width` squared. */
static double time_gemm(const struct mot_kernels *k, struct mot_device *d, mot_act *x, mot_real *w, mot_act *y,
                        int64_t width)
{
    struct mot_group g = {0, width, 0, -1};
    double best = INFINITY;
    for (int i = 0; i <= REPEATS; i++) {
        double from = mot_probe_now();
        k->linear(d, y, x, w, &g, 1, width, width, 0);
        if (k->sync(d))
            return INFINITY;
        double seconds = mot_probe_now() - from;
        best = i > 0 && seconds < best ? seconds : best; /* the first one warms up */
    }
    return best;
}

/* The best rate of squares that grow until one takes long enough to tell, on a slow machine before WIDTH. */
static double measure_gemm(const struct mot_kernels *k, struct mot_device *d, mot_act *x, mot_real *w, mot_act *y)
{
    double best = 0, seconds = 0;
    for (int64_t width = 256; width <= WIDTH && seconds < 0.05; width *= 2) {
        seconds = time_gemm(k, d, x, w, y, width);
        double rate = 2 * (double)width * (double)width * (double)width / seconds;
        best = rate > best ? rate : best;
    }
    return best;
}

static double measure_bandwidth(const struct mot_kernels *k, struct mot_device *d, void *to, const void *what, size_t bytes)
{
    double best = 0;
    for (int i = 0; i <= REPEATS; i++) {
        double from = mot_probe_now();
        k->copy(d, to, what, bytes);
        if (k->sync(d))
            return 0;
        double rate = 2 * (double)bytes / (mot_probe_now() - from);
        best = i > 0 && rate > best ? rate : best;
    }
    return best;
}

int mot_ceiling_measure(const char *device, const char *dtype, int threads, struct mot_ceiling *c)
{
    const size_t bytes = 128u << 20; /* beyond any cache */
    const struct mot_kernels *k = mot_device_find(device, dtype);
    char err[256] = "";
    if (!k)
        return MOT_EDEVICE;
    struct mot_device *d = k->open(threads, err, sizeof err);
    if (!d)
        return mot_fail(MOT_EDEVICE, "cannot start device %s: %s", k->name, err);
    struct mot_limits limits = {.N = WIDTH, .segment = 1, .C = WIDTH, .H = 1, .K = 1, .D = 2, .F = WIDTH, .V = WIDTH, .G = 1};
    char *a = k->alloc(d, bytes), *b = k->alloc(d, bytes);
    mot_real *w = (mot_real *)(void *)a;
    limits.params = w;
    limits.values = WIDTH * WIDTH;
    int rc = a && b && k->reserve(d, &limits) == 0 ? MOT_OK : mot_fail(MOT_ENOMEM, "memory is short for measuring the machine");
    if (!rc) {
        mot_act *x = w + WIDTH * WIDTH, *y = x + WIDTH * WIDTH; /* of at most a mot_real a value */
        k->zero(d, a, bytes);
        k->zero(d, b, bytes);
        c->bandwidth = measure_bandwidth(k, d, b, a, bytes);
        c->gemm = measure_gemm(k, d, x, w, y);
        if (k->sync(d) || c->gemm <= 0 || c->bandwidth <= 0)
            rc = mot_fail(MOT_EDEVICE, "%s: %s", k->name, k->error(d));
    }
    k->free(d, a);
    k->free(d, b);
    k->close(d);
    return rc;
}
