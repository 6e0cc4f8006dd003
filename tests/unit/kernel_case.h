/* SPDX-License-Identifier: MIT
 *
 * kernel_case.h - one case of an operation: its inputs, and the backend that is tested against the reference.
 *
 * All of it for every dtype and set of instructions that the program has and the processor too, and
 * for the cuda kernels as tests/shim runs them, or a GPU (tests/gpu.sh).
 * Where operands are rounded to bf16, inputs are numbers that this does not change, so that results
 * must be as good as in float.  Every case
 * runs once on "ref" and, for 1, 2, 3 and 8 threads, twice on "cpu", or twice on "cuda", with
 * inputs and outputs in memory of the device: results must agree within the
 * operation's tolerance, the two runs to the bit, and nothing outside the outputs may change.
 * Outputs that are overwritten begin as NaN, those that are added to as random numbers.  The
 * reference itself is checked in test_gradients_double.c.
 */
#ifndef MOT_KERNEL_CASE_H
#define MOT_KERNEL_CASE_H

#include <float.h>
#include <stdbool.h>
#include <stdlib.h>

#include "../../kernels/kernels.h"
#include "../test.h"

static const struct mot_kernels *const ref = &mot_kernels_ref, *cpu; /* cpu: the one that is tested */
static bool bf16; /* it rounds the operands of products */
static bool gpu;  /* it is cuda */

/* -- random inputs ----------------------------------------------------------------------------- */

static uint64_t state;

static inline uint64_t next(void) /* splitmix64 (Steele et al. 2014) */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline int64_t below(int64_t n)
{
    return (int64_t)(next() % (uint64_t)n);
}

static inline float uniform(void) /* in [-1, 1) */
{
    return (float)((double)(next() >> 11) * 0x1p-52 - 1);
}

/* To the nearest of the floats whose low half is 0, ties to even; denormal numbers to 0. */
static inline float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x))
        return x;
    if (fabsf(x) < 0x1p-126f)
        return copysignf(0, x);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Everything a case allocates; freed at its end. */
static struct owned {
    void *p;
    size_t bytes;
    bool activation; /* floats here, mot_act on a device */
} owned[64];
static int n_owned;

static inline void *take(size_t bytes)
{
    void *p = malloc(bytes + 64);
    if (!p || n_owned == 64)
        abort();
    owned[n_owned++] = (struct owned){p, bytes, false};
    return p;
}

static inline void free_all(void)
{
    while (n_owned > 0)
        free(owned[--n_owned].p);
}

static inline float *numbers(int64_t n, float scale)
{
    float *x = take((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = bf16 ? rounded(scale * uniform()) : scale * uniform();
    return x;
}

static inline float *activations(int64_t n, float scale)
{
    float *x = numbers(n, scale);
    owned[n_owned - 1].activation = true;
    return x;
}

/* What was computed from rounded numbers, as good as them. */
static inline void round_again(float *x, int64_t n)
{
    for (int64_t i = 0; i < n && bf16; i++)
        x[i] = rounded(x[i]);
}

static inline int32_t *ids(int64_t n, int64_t limit)
{
    int32_t *x = take((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (int32_t)below(limit);
    return x;
}

/* A random order of the batch and its inverse. */
static inline void permutation(int64_t n, int32_t **seq, int32_t **row)
{
    *seq = take((size_t)n * sizeof **seq);
    *row = take((size_t)n * sizeof **row);
    for (int64_t i = 0; i < n; i++)
        (*seq)[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = below(i + 1);
        int32_t t = (*seq)[i];
        (*seq)[i] = (*seq)[j];
        (*seq)[j] = t;
    }
    for (int64_t i = 0; i < n; i++)
        (*row)[(*seq)[i]] = (int32_t)i;
}

/* -- a case ------------------------------------------------------------------------------------ */

enum { MOST_GROUPS = 7, MOST_OUTPUTS = 4, GUARD = 32 };

/* The inputs of any operation; each test fills in what its operation reads. */
struct inputs {
    int64_t N, C, I, O, H, K, D, F, V, P;
    int64_t sequences; /* in attention_past: N */
    int add, G;
    struct mot_group g[MOST_GROUPS];
    int64_t begin[MOST_GROUPS + 1];
    bool marked; /* it is a batch, of which the groups are the parts */
    float *params, *x, *y, *z, *w, *q, *k, *v, *dq, *dk, *dv, *o, *lse, *cos, *sin;
    float *in_out[MOST_OUTPUTS]; /* first contents of outputs that are added to, or NULL: NaN */
    int64_t sizes[MOST_OUTPUTS]; /* of the outputs */
    bool activation[MOST_OUTPUTS];
    int n_outputs;
    int32_t *id, *seq, *row, *pos, *until;
    int32_t *host_id; /* stays where it is */
    struct mot_segment *segments;
    int64_t n_segments;
    float scale, eps;
    enum mot_head_norm norm;
};

typedef void operation(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                       float **out);

static inline struct mot_limits limits_of(const struct inputs *in, bool train)
{
    struct mot_limits l = {.N = in->N,
                           .C = in->I > in->C ? in->I : in->C, /* linear's shapes are I and O */
                           .H = in->H,
                           .K = in->K,
                           .D = in->D,
                           .F = in->O > in->F ? in->O : in->F,
                           .V = in->V,
                           .G = in->G,
                           .sequences = in->sequences,
                           .past = in->P,
                           .train = train};
    for (int64_t n = 0; n < in->n_segments; n++)
        l.segment = l.segment > in->segments[n].length ? l.segment : in->segments[n].length;
    return l;
}

/* -- memory of a device ------------------------------------------------------------------------ */

/* Floats as activations of 2 bytes, and back. */
static inline uint16_t *narrowed(const float *x, size_t n)
{
    uint16_t *y = malloc(n * sizeof *y + 1);
    if (!y)
        abort();
    for (size_t i = 0; i < n; i++) {
        float r = rounded(x[i]);
        uint32_t bits;
        memcpy(&bits, &r, sizeof bits);
        y[i] = isnan(r) ? 0x7fff : (uint16_t)(bits >> 16);
    }
    return y;
}

static inline void send(const struct mot_kernels *b, struct mot_device *d, void *to, const void *x,
                 size_t bytes, bool activation)
{
    if (!activation || b->activation == sizeof(float)) {
        b->write(d, to, x, bytes);
        return;
    }
    uint16_t *y = narrowed(x, bytes / sizeof(float));
    b->write(d, to, y, bytes / 2);
    free(y);
}

static inline void receive(const struct mot_kernels *b, struct mot_device *d, float *x, const void *from,
                    size_t n, bool activation)
{
    if (!activation || b->activation == sizeof(float)) {
        b->read(d, x, from, n * sizeof *x);
        return;
    }
    uint16_t *y = malloc(n * sizeof *y + 1);
    if (!y)
        abort();
    b->read(d, y, from, n * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)y[i] << 16;
        memcpy(&x[i], &bits, sizeof bits);
    }
    free(y);
}

/* A device's copies of a case's arrays. */
struct copies {
    void *p[64];
    int n;
};

static inline void *place(const struct mot_kernels *b, struct mot_device *d, struct copies *c, size_t bytes)
{
    void *p = b->alloc(d, bytes);
    if (!p || c->n == 64)
        abort();
    return c->p[c->n++] = p;
}

static inline size_t bytes_of(const void *x, bool *activation)
{
    for (int i = 0; i < n_owned; i++)
        if (owned[i].p == x) {
            *activation = owned[i].activation;
            return owned[i].bytes;
        }
    abort();
}

/* Points *at to a copy of what it points to. */
static inline void move(const struct mot_kernels *b, struct mot_device *d, struct copies *c, void *at)
{
    void *x, *y;
    memcpy(&x, at, sizeof x);
    if (!x)
        return;
    bool activation;
    size_t bytes = bytes_of(x, &activation);
    y = place(b, d, c, bytes);
    send(b, d, y, x, bytes, activation);
    memcpy(at, &y, sizeof y);
}

static inline void move_all(const struct mot_kernels *b, struct mot_device *d, struct copies *c,
                     struct inputs *in)
{
    void *const arrays[] = {&in->x,   &in->y,   &in->z,   &in->q,  &in->k,   &in->v,   &in->dq,
                            &in->dk,  &in->dv,  &in->o,   &in->lse, &in->cos, &in->sin, &in->id,
                            &in->seq, &in->row, &in->pos, &in->until, &in->segments};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        move(b, d, c, arrays[i]);
}

static inline void free_copies(const struct mot_kernels *b, struct mot_device *d, struct copies *c)
{
    while (c->n > 0)
        b->free(d, c->p[--c->n]);
}

static inline struct mot_device *begin(const struct mot_kernels *b, int threads)
{
    char err[200] = "";
    struct mot_device *d = b->open(threads, err, sizeof err);
    if (!d)
        abort();
    return d;
}

/* A device with the case's weights, and workspace for it. */
static inline struct mot_device *device(const struct mot_kernels *b, int threads, struct inputs *in,
                                 struct copies *c)
{
    struct mot_device *d = begin(b, threads);
    struct mot_limits l = limits_of(in, true);
    float **weights = in->w ? &in->w : &in->params;
    bool none;
    if (*weights) {
        l.values = (int64_t)(bytes_of(*weights, &none) / sizeof(float));
        move(b, d, c, weights);
        l.params = *weights;
    }
    if (b->reserve(d, &l) != 0)
        abort();
    return d;
}

static inline void run_once(const struct mot_kernels *b, int threads, const struct inputs *in,
                     operation *op, float **all)
{
    struct copies c = {.n = 0};
    struct inputs there = *in;
    struct mot_device *d = device(b, threads, &there, &c);
    float *out[MOST_OUTPUTS] = {NULL};
    move_all(b, d, &c, &there);
    for (int k = 0; k < in->n_outputs; k++) {
        size_t n = (size_t)(in->sizes[k] + 2 * GUARD);
        size_t each = in->activation[k] ? b->activation : sizeof(float);
        all[k] = take(n * sizeof(float));
        for (size_t i = 0; i < n; i++)
            all[k][i] = NAN;
        if (in->in_out[k])
            memcpy(all[k] + GUARD, in->in_out[k], (size_t)in->sizes[k] * sizeof(float));
        char *at = place(b, d, &c, n * each);
        send(b, d, at, all[k], n * sizeof(float), in->activation[k]);
        out[k] = (float *)(void *)(at + GUARD * each);
    }
    struct mot_mix mix = {.N = in->N, .begin = in->begin, .n = in->G};
    for (int k = 0, own = in->marked && b->batch(d, &mix); own && k < in->G; k++)
        there.g[k].row = there.g[k].rows = -1000;
    op(b, d, &there, out);
    CHECK_INT(b->sync(d), 0);
    CHECK_STR(b->error(d), "");
    for (int k = 0; k < in->n_outputs; k++) {
        size_t each = in->activation[k] ? b->activation : sizeof(float);
        receive(b, d, all[k], (char *)(void *)out[k] - GUARD * each, (size_t)(in->sizes[k] + 2 * GUARD),
                in->activation[k]);
    }
    while (c.n > 0)
        b->free(d, c.p[--c.n]);
    b->close(d);
}

static bool guarded(const float *all, int64_t n)
{
    for (int i = 0; i < GUARD; i++)
        if (!isnan(all[i]) || !isnan(all[GUARD + n + i]))
            return false;
    return true;
}

/* Activations of 2 bytes may be off by a part of their value and of the output's root mean square; the error's own
 * root mean square by less. */
static const double narrow_relative = 1e-2, narrow_each = 3e-2, narrow_mean = 1e-2;

static inline double root_mean_square(const float *x, const float *less, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double y = (double)x[i] - (less ? (double)less[i] : 0);
        sum += y * y;
    }
    return sqrt(sum / (double)(n > 0 ? n : 1));
}

/* Runs the operation everywhere and compares; frees the inputs. */
static inline void compare(const char *what, const struct inputs *in, operation *op, double absolute,
                    double relative)
{
    float *expected[MOST_OUTPUTS];
    double size[MOST_OUTPUTS] = {0};
    bool narrow = cpu->activation == 2 && relative > 0; /* else exact */
    run_once(ref, 1, in, op, expected);
    for (int k = 0; k < in->n_outputs && narrow; k++)
        size[k] = root_mean_square(expected[k] + GUARD, NULL, in->sizes[k]);
    relative = narrow ? narrow_relative : relative;
    for (int threads = 1; threads <= (gpu ? 1 : 8); threads += threads < 3 ? 1 : 5) {
        float *found[MOST_OUTPUTS], *again[MOST_OUTPUTS];
        run_once(cpu, threads, in, op, found);
        run_once(cpu, threads, in, op, again);
        for (int k = 0; k < in->n_outputs; k++) {
            int64_t n = in->sizes[k], bad = 0, at = -1;
            for (int64_t i = 0; i < n; i++) {
                double f = (double)found[k][GUARD + i], e = (double)expected[k][GUARD + i];
                if (!(fabs(f - e) <= absolute + narrow_each * size[k] + relative * fabs(e)) && bad++ == 0)
                    at = i;
            }
            if (bad > 0)
                fprintf(
                    stderr,
                    "%s, %d threads, output %d: %lld of %lld differ, first %lld: %.9g, expected "
                    "%.9g (N %lld C %lld I %lld O %lld H %lld K %lld D %lld F %lld V %lld G %d)\n",
                    what, threads, k, (long long)bad, (long long)n, (long long)at,
                    (double)found[k][GUARD + at], (double)expected[k][GUARD + at], (long long)in->N,
                    (long long)in->C, (long long)in->I, (long long)in->O, (long long)in->H,
                    (long long)in->K, (long long)in->D, (long long)in->F, (long long)in->V, in->G);
            CHECK_INT(bad, 0);
            double off = root_mean_square(found[k] + GUARD, expected[k] + GUARD, n);
            CHECK(!narrow || off <= absolute + narrow_mean * size[k]);
            CHECK(memcmp(found[k] + GUARD, again[k] + GUARD, (size_t)n * sizeof(float)) == 0);
            CHECK(guarded(found[k], n) && guarded(again[k], n));
        }
    }
    free_all();
}

/* What a sum of n products of numbers in [-1, 1) may be off by. */
static inline double sum_error(int64_t n)
{
    return fmax(1e-5, 2.5e-8 * (double)n);
}

static inline void output(struct inputs *in, int64_t n, bool added)
{
    in->sizes[in->n_outputs] = n;
    in->in_out[in->n_outputs++] = added ? numbers(n, 1) : NULL;
}

static inline void output_act(struct inputs *in, int64_t n, bool added)
{
    in->activation[in->n_outputs] = true;
    output(in, n, added);
}

/* -- groups and segments ----------------------------------------------------------------------- */

enum { ONE, THREE, SHARED, SINGLES, LAYOUTS };

/* Deals N rows to groups: all to one; three with an empty one between; six of which two pairs name
 * the same weight; seven, most of one row.  `w_size` and `b_size` floats a weight and bias (0:
 * none), which stand in one block behind an odd gap.  Half of the cases are told as a batch too, and devices that
 * then read its rows for themselves are not told them again.  Returns the size of the block. */
static inline int64_t deal(struct inputs *in, int layout, int64_t w_size, int64_t b_size)
{
    static const int counts[LAYOUTS] = {1, 3, 6, 7};
    in->G = counts[layout];
    int64_t row = 0, at = 3;
    for (int k = 0; k < in->G; k++) {
        int64_t left = in->N - row, rows = left;
        if (k < in->G - 1) {
            rows = layout == SINGLES ? 1
                   : layout == THREE ? (k == 1 ? 0 : left / 3)
                                     : below(left + 1);
            rows = rows < left ? rows : left;
        }
        in->g[k] = (struct mot_group){row, rows, at, b_size > 0 ? at + w_size : -1, k, k + 1};
        in->begin[k] = row;
        row += rows;
        at += w_size + b_size + 1;
        if (layout == SHARED && k % 3 == 2) { /* 2 shares with 0, 5 with 3, and 5 with 2 no more */
            in->g[k].w = in->g[k - 2].w;
            in->g[k].b = in->g[k - 2].b;
        }
    }
    in->begin[in->G] = row;
    in->marked = next() % 2;
    in->params = numbers(at, 1);
    return at;
}

enum { WHOLE, HALVES, RANDOM, SHORT, DOTS, EMPTIES, CUTS };

static inline void cut(struct inputs *in, int how)
{
    in->segments = take((size_t)(2 * in->N + 2) * sizeof *in->segments);
    in->n_segments = 0;
    for (int64_t at = 0; at < in->N;) {
        int64_t left = in->N - at, n = left;
        n = how == HALVES ? (in->N + 1) / 2 : how == RANDOM ? 1 + below(in->N) : n;
        n = how == SHORT ? 5 + below(30) : how == DOTS ? 1 : n;
        if (how == EMPTIES) {
            in->segments[in->n_segments++] = (struct mot_segment){at, 0};
            n = 1 + below(40);
        }
        n = n < left ? n : left;
        in->segments[in->n_segments++] = (struct mot_segment){at, n};
        at += n;
    }
    if (how == EMPTIES)
        in->segments[in->n_segments++] = (struct mot_segment){in->N, 0};
}

/* -- backends ---------------------------------------------------------------------------------- */

static inline void test_backend(const char *name, const struct mot_kernels *k, const char *err, void (*all)(void))
{
    test_note = name;
    cpu = k;
    if (k)
        all();
    else
        printf("skip %s: %s\n", name, err);
}

/* The tests on every backend; with a word, only on those whose names contain it. */
static inline void test_backends(const char *word, void (*all)(void))
{
    static const char *const dtypes[] = {"f32", "bf16"}, *const gpus[] = {"cuda-f32", "cuda-bf16"};
    char err[200] = "";
    for (int t = 0; t < 2; t++) {
        const char *name;
        bf16 = t == 1;
        for (int i = 0; (name = mot_kernels_cpu_set(dtypes[t], i)); i++)
            if (strstr(name, word))
                test_backend(name, mot_kernels_cpu(name, dtypes[t], err, sizeof err), err, all);
    }
    gpu = true;
    for (int t = 0; t < 2; t++) {
        bf16 = t == 1;
        if (strstr(gpus[t], word))
            test_backend(gpus[t], mot_kernels_cuda(dtypes[t], err, sizeof err), err, all);
    }
}

#endif
