/* SPDX-License-Identifier: MIT
 *
 * ceiling.c - what this machine can do at best: the rate of large matrix products and of moving memory, measured with the
 * backend's own operations.  The two together are the roofline (Williams et al. 2009) that profiles are held against.
 */
#include <math.h>

#include "probe.h"

/* Squares of at most this width, and arrays to copy, that are beyond any cache and take a device long enough. */
struct sizes {
    int64_t width;
    size_t bytes;
};
static const struct sizes of_cpu = {2048, 128u << 20}, of_gpu = {8192, 1u << 30};

enum { REPEATS = 7 };

/* The shortest of some runs of y = x w^T, all of `width` squared. */
static double time_gemm(const struct mot_kernels *k, struct mot_device *d, mot_act *x, mot_real *w, mot_act *y,
                        int64_t width)
{
    struct mot_group g = {0, width, 0, -1, 0, 0};
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

/* The best rate of squares that grow until one takes long enough to tell, on a slow machine before the largest. */
static double measure_gemm(const struct mot_kernels *k, struct mot_device *d, mot_act *x, mot_real *w, mot_act *y,
                           int64_t most)
{
    double best = 0, seconds = 0;
    for (int64_t width = 256; width <= most && seconds < 0.05; width *= 2) {
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

/* w and x of random numbers, as products are of: a GPU multiplies zeros with less power, and so faster. */
static int fill(const struct mot_kernels *k, struct mot_device *d, mot_act *x, mot_real *w, int64_t width)
{
    float *row = mot_alloc((size_t)width, sizeof *row);
    int32_t *id = mot_alloc((size_t)width, sizeof *id), *there = k->alloc(d, (size_t)width * sizeof *there);
    int rc = row && id && there ? MOT_OK : mot_fail(MOT_ENOMEM, "memory is short for measuring the machine");
    for (int64_t i = 0; !rc && i < width; i++) {
        for (int64_t j = 0; j < width; j++)
            row[j] = (float)(int32_t)mot_random_below(0, (uint64_t)i, (uint64_t)j, 1 << 20) / (1 << 20) - 0.5f;
        k->write(d, w + i * width, row, (size_t)width * sizeof *row);
        id[i] = (int32_t)(width - 1 - i);
    }
    if (!rc) {
        k->write(d, there, id, (size_t)width * sizeof *id);
        k->embed(d, x, w, there, width, width, width);
        rc = k->sync(d) == 0 ? MOT_OK : mot_fail(MOT_EDEVICE, "%s: %s", k->name, k->error(d));
    }
    k->free(d, there);
    mot_free(id);
    mot_free(row);
    return rc;
}

static int measure(const struct mot_kernels *k, struct mot_device *d, char *a, char *b, mot_act *x, mot_act *y,
                   struct sizes size, struct mot_ceiling *c)
{
    mot_real *w = (mot_real *)(void *)a;
    struct mot_limits limits = {.N = size.width, .segment = 1, .C = size.width, .H = 1, .K = 1, .D = 2, .F = size.width,
                                .V = size.width, .G = 1, .params = w, .values = size.width * size.width};
    if (!a || !b || !x || !y || k->reserve(d, &limits) != 0)
        return mot_fail(MOT_ENOMEM, "memory is short for measuring the machine");
    k->zero(d, a, size.bytes);
    k->zero(d, b, size.bytes);
    c->bandwidth = measure_bandwidth(k, d, b, a, size.bytes);
    int rc = fill(k, d, x, w, size.width);
    if (rc)
        return rc;
    c->gemm = measure_gemm(k, d, x, w, y, size.width);
    return k->sync(d) || c->gemm <= 0 || c->bandwidth <= 0 ? mot_fail(MOT_EDEVICE, "%s: %s", k->name, k->error(d)) : MOT_OK;
}

int mot_ceiling_measure(const char *device, const char *dtype, int threads, struct mot_ceiling *c)
{
    const struct mot_kernels *k = mot_device_find(device, dtype);
    char err[256] = "";
    if (!k)
        return MOT_EDEVICE;
    struct mot_device *d = k->open(threads, err, sizeof err);
    if (!d)
        return mot_fail(MOT_EDEVICE, "cannot start device %s: %s", k->name, err);
    struct sizes size = k->late ? of_gpu : of_cpu;
    size_t square = (size_t)(size.width * size.width) * k->activation;
    char *a = k->alloc(d, size.bytes), *b = k->alloc(d, size.bytes);
    mot_act *x = k->alloc(d, square), *y = k->alloc(d, square);
    int rc = measure(k, d, a, b, x, y, size, c);
    void *const arrays[] = {a, b, x, y};
    for (int i = 0; i < MOT_COUNT(arrays); i++)
        k->free(d, arrays[i]);
    k->close(d);
    return rc;
}
