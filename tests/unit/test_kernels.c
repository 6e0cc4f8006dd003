/* SPDX-License-Identifier: MIT
 *
 * test_kernels.c - the cpu and the cuda kernels against the reference ones, operation by operation.
 *
 * All of it for every dtype and set of instructions that the program has and the processor too, and
 * for the cuda kernels as tests/shim runs them, or a GPU (tests/gpu.sh).
 * Where operands are rounded to bf16, inputs are numbers that this does not change, so that results
 * must be as good as in float; test_rounding then compares other inputs with their own roundings,
 * bit by bit, and what the head itself makes and rounds has a tolerance of its own.  Every case
 * runs once on "ref" and, for 1, 2, 3 and 8 threads, twice on "cpu", or twice on "cuda", with
 * inputs and outputs in memory of the device: results must agree within the
 * operation's tolerance, the two runs to the bit, and nothing outside the outputs may change.
 * Outputs that are overwritten begin as NaN, those that are added to as random numbers.  The
 * reference itself is checked in test_gradients_double.c.
 */
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

static uint64_t next(void) /* splitmix64 (Steele et al. 2014) */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int64_t below(int64_t n)
{
    return (int64_t)(next() % (uint64_t)n);
}

static float uniform(void) /* in [-1, 1) */
{
    return (float)((double)(next() >> 11) * 0x1p-52 - 1);
}

/* To the nearest of the floats whose low half is 0, ties to even; denormal numbers to 0. */
static float rounded(float x)
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

static void *take(size_t bytes)
{
    void *p = malloc(bytes + 64);
    if (!p || n_owned == 64)
        abort();
    owned[n_owned++] = (struct owned){p, bytes, false};
    return p;
}

static void free_all(void)
{
    while (n_owned > 0)
        free(owned[--n_owned].p);
}

static float *numbers(int64_t n, float scale)
{
    float *x = take((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = bf16 ? rounded(scale * uniform()) : scale * uniform();
    return x;
}

static float *activations(int64_t n, float scale)
{
    float *x = numbers(n, scale);
    owned[n_owned - 1].activation = true;
    return x;
}

/* What was computed from rounded numbers, as good as them. */
static void round_again(float *x, int64_t n)
{
    for (int64_t i = 0; i < n && bf16; i++)
        x[i] = rounded(x[i]);
}

static int32_t *ids(int64_t n, int64_t limit)
{
    int32_t *x = take((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (int32_t)below(limit);
    return x;
}

/* A random order of the batch and its inverse. */
static void permutation(int64_t n, int32_t **seq, int32_t **row)
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

static struct mot_limits limits_of(const struct inputs *in, bool train)
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
static uint16_t *narrowed(const float *x, size_t n)
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

static void send(const struct mot_kernels *b, struct mot_device *d, void *to, const void *x,
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

static void receive(const struct mot_kernels *b, struct mot_device *d, float *x, const void *from,
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

static void *place(const struct mot_kernels *b, struct mot_device *d, struct copies *c, size_t bytes)
{
    void *p = b->alloc(d, bytes);
    if (!p || c->n == 64)
        abort();
    return c->p[c->n++] = p;
}

static size_t bytes_of(const void *x, bool *activation)
{
    for (int i = 0; i < n_owned; i++)
        if (owned[i].p == x) {
            *activation = owned[i].activation;
            return owned[i].bytes;
        }
    abort();
}

/* Points *at to a copy of what it points to. */
static void move(const struct mot_kernels *b, struct mot_device *d, struct copies *c, void *at)
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

static void move_all(const struct mot_kernels *b, struct mot_device *d, struct copies *c,
                     struct inputs *in)
{
    void *const arrays[] = {&in->x,   &in->y,   &in->z,   &in->q,  &in->k,   &in->v,   &in->dq,
                            &in->dk,  &in->dv,  &in->o,   &in->lse, &in->cos, &in->sin, &in->id,
                            &in->seq, &in->row, &in->pos, &in->until, &in->segments};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        move(b, d, c, arrays[i]);
}

static struct mot_device *begin(const struct mot_kernels *b, int threads)
{
    char err[200] = "";
    struct mot_device *d = b->open(threads, err, sizeof err);
    if (!d)
        abort();
    return d;
}

/* A device with the case's weights, and workspace for it. */
static struct mot_device *device(const struct mot_kernels *b, int threads, struct inputs *in,
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

static void run_once(const struct mot_kernels *b, int threads, const struct inputs *in,
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

static double root_mean_square(const float *x, const float *less, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double y = (double)x[i] - (less ? (double)less[i] : 0);
        sum += y * y;
    }
    return sqrt(sum / (double)(n > 0 ? n : 1));
}

/* Runs the operation everywhere and compares; frees the inputs. */
static void compare(const char *what, const struct inputs *in, operation *op, double absolute,
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

static void output(struct inputs *in, int64_t n, bool added)
{
    in->sizes[in->n_outputs] = n;
    in->in_out[in->n_outputs++] = added ? numbers(n, 1) : NULL;
}

static void output_act(struct inputs *in, int64_t n, bool added)
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
static int64_t deal(struct inputs *in, int layout, int64_t w_size, int64_t b_size)
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

static void cut(struct inputs *in, int how)
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

/* -- embedding --------------------------------------------------------------------------------- */

static void op_embed(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                     float **out)
{
    b->embed(d, out[0], in->w, in->id, in->N, in->C, in->V);
    b->embed_back(d, out[1], in->y, in->id, in->N, in->C, in->V);
}

static void test_embed(void)
{
    static const int64_t shapes[][3] = {
        {0, 4, 5}, {1, 1, 1}, {7, 3, 2}, {100, 17, 11}, {999, 64, 300}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        state = k;
        struct inputs in = {.N = shapes[k][0], .C = shapes[k][1], .V = shapes[k][2]};
        in.w = numbers(in.V * in.C, 1);
        in.y = activations(in.N * in.C, 1);
        in.id = ids(in.N, in.V);
        output_act(&in, in.N * in.C, false);
        output(&in, in.V * in.C, true);
        compare("embed", &in, op_embed, 0, 0);
    }
}

/* -- norms ------------------------------------------------------------------------------------- */

static void op_rmsnorm(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                       float **out)
{
    b->rmsnorm(d, out[0], out[1], in->x, in->y, in->params, in->g, in->G, in->C, in->eps);
}

static void op_rmsnorm_in_place(const struct mot_kernels *b, struct mot_device *d,
                                const struct inputs *in, float **out)
{
    b->rmsnorm(d, out[0], out[1], out[0], NULL, in->params, in->g, in->G, in->C, in->eps);
}

static void op_rmsnorm_onto(const struct mot_kernels *b, struct mot_device *d,
                            const struct inputs *in, float **out)
{
    b->rmsnorm(d, out[0], out[1], in->x, out[0], in->params, in->g, in->G, in->C, in->eps);
}

static void op_rmsnorm_back(const struct mot_kernels *b, struct mot_device *d,
                            const struct inputs *in, float **out)
{
    b->rmsnorm_back(d, out[0], out[1], in->y, in->x, in->z, in->params, in->g, in->G, in->C,
                    in->add);
}

static void op_rmsnorm_back_in_place(const struct mot_kernels *b, struct mot_device *d,
                                     const struct inputs *in, float **out)
{
    b->rmsnorm_back(d, out[0], out[1], out[0], in->x, in->z, in->params, in->g, in->G, in->C, 0);
}

/* The inputs of one norm case; x spans many sizes from row to row. */
static struct inputs norm_inputs(int64_t N, int64_t C, int layout, int64_t *n_params)
{
    struct inputs in = {.N = N, .C = C, .eps = 1e-5f};
    *n_params = deal(&in, layout, C, 0);
    in.x = activations(N * C, 1);
    for (int64_t i = 0; i < N; i++)
        for (int64_t c = 0; c < C; c++)
            in.x[i * C + c] *= powf(10, (float)(i % 5) - 2);
    round_again(in.x, N * C);
    in.y = activations(N * C, 1);
    in.z = numbers(N, 1);
    for (int64_t i = 0; i < N; i++) { /* the true 1 / rms, so that gradients are of natural size */
        double sum = 0;
        for (int64_t c = 0; c < C; c++)
            sum += (double)in.x[i * C + c] * (double)in.x[i * C + c];
        in.z[i] = (float)(1 / sqrt(sum / (double)C + 1e-5));
    }
    return in;
}

static void test_rmsnorm(void)
{
    static const int64_t shapes[][2] = {{0, 8},   {1, 1},     {1, 64},   {5, 7},
                                        {97, 33}, {301, 256}, {64, 1023}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++)
        for (int layout = 0; layout < LAYOUTS; layout++) {
            int64_t N = shapes[k][0], C = shapes[k][1], n;
            state = 10 * k + (size_t)layout;
            struct inputs in = norm_inputs(N, C, layout, &n);
            output_act(&in, N * C, false);
            output(&in, N, false);
            compare("rmsnorm", &in, op_rmsnorm, 2e-6, 5e-6);
            in = norm_inputs(N, C, layout, &n);
            in.y = NULL;
            output_act(&in, N * C, false);
            output(&in, N, false);
            compare("rmsnorm, no residual", &in, op_rmsnorm, 2e-6, 5e-6);
            in = norm_inputs(N, C, layout, &n);
            output_act(&in, N * C, true);
            output(&in, N, false);
            compare("rmsnorm, in place", &in, op_rmsnorm_in_place, 2e-6, 5e-6);
            in = norm_inputs(N, C, layout, &n);
            output_act(&in, N * C, true);
            output(&in, N, false);
            compare("rmsnorm, onto the residual", &in, op_rmsnorm_onto, 2e-6, 5e-6);
        }
}

static void test_rmsnorm_back(void)
{
    static const int64_t shapes[][2] = {{0, 8},   {1, 1},     {1, 64},   {5, 7},
                                        {97, 33}, {301, 256}, {64, 1023}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++)
        for (int layout = 0; layout < LAYOUTS; layout++)
            for (int add = 0; add < 3; add++) {
                int64_t N = shapes[k][0], C = shapes[k][1], n;
                state = 10 * k + (size_t)layout;
                struct inputs in = norm_inputs(N, C, layout, &n);
                in.add = add;
                output_act(&in, N * C, add > 0);
                output(&in, n, true);
                /* dx is about 1 / rms(x), up to 200 here: the absolute part is for what cancels. */
                compare("rmsnorm_back", &in, add == 2 ? op_rmsnorm_back_in_place : op_rmsnorm_back,
                        3e-5, 1e-5);
            }
}

/* -- linear ------------------------------------------------------------------------------------ */

static void op_linear(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                      float **out)
{
    b->linear(d, out[0], in->x, in->params, in->g, in->G, in->I, in->O, in->add);
}

static void op_linear_back_x(const struct mot_kernels *b, struct mot_device *d,
                             const struct inputs *in, float **out)
{
    b->linear_back_x(d, out[0], in->y, in->params, in->g, in->G, in->I, in->O, in->add);
}

static void op_linear_back_w(const struct mot_kernels *b, struct mot_device *d,
                             const struct inputs *in, float **out)
{
    b->linear_back_w(d, out[0], in->y, in->x, in->g, in->G, in->I, in->O);
}

static const int64_t linear_shapes[][3] = {
    {0, 8, 8},     {1, 1, 1},     {1, 300, 401},  {2, 5, 3},    {13, 31, 17},
    {67, 64, 193}, {389, 48, 96}, {200, 130, 67}, {1000, 3, 2}, {31, 256, 7},
    {37, 1601, 18}, {37, 17, 1601},
};

static struct inputs linear_inputs(size_t k, int layout, bool bias, int64_t *n_params)
{
    struct inputs in = {
        .N = linear_shapes[k][0], .I = linear_shapes[k][1], .O = linear_shapes[k][2]};
    state = 100 * k + (size_t)layout;
    *n_params = deal(&in, layout, in.I * in.O, bias ? in.O : 0);
    in.x = activations(in.N * in.I, 1);
    in.y = activations(in.N * in.O, 1);
    return in;
}

/* What a sum of n products of numbers in [-1, 1) may be off by. */
static double sum_error(int64_t n)
{
    return fmax(1e-5, 2.5e-8 * (double)n);
}

static void check_linear(int layouts)
{
    for (size_t k = 0; k < sizeof linear_shapes / sizeof linear_shapes[0]; k++)
        for (int layout = LAYOUTS - layouts; layout < LAYOUTS; layout++)
            for (int variant = 0; variant < 8; variant++) {
                int64_t n;
                struct inputs in = linear_inputs(k, layout, variant & 1, &n);
                in.add = variant / 2 % 2;
                if (variant >= 4) /* what a model that generates calls, and tests of GPUs take long for */
                    in.sequences = in.P = in.H = in.K = 1, in.D = 2;
                if (variant >= 4 && gpu && in.N * in.O > 1000) {
                    free_all();
                    continue;
                }
                output_act(&in, in.N * in.O, in.add);
                compare("linear", &in, op_linear, sum_error(in.I), 5e-6);
            }
}

static void check_linear_back(int layouts)
{
    for (size_t k = 0; k < sizeof linear_shapes / sizeof linear_shapes[0]; k++)
        for (int layout = LAYOUTS - layouts; layout < LAYOUTS; layout++)
            for (int variant = 0; variant < 2; variant++) {
                int64_t n;
                struct inputs in = linear_inputs(k, layout, true, &n);
                in.add = variant;
                output_act(&in, in.N * in.I, in.add);
                compare("linear_back_x", &in, op_linear_back_x, sum_error(in.O), 5e-6);
                in = linear_inputs(k, layout, variant, &n);
                output(&in, n, true);
                compare("linear_back_w", &in, op_linear_back_w, 3e-5, 5e-6);
            }
}

static void test_linear(void)
{
    check_linear(LAYOUTS);
}

static void test_linear_back(void)
{
    check_linear_back(LAYOUTS);
}

/* On a GPU products of few rows are one launch for all groups, of many the library's: here any are, then none. */
static void test_linear_either_way(void)
{
    static const char *const rows[] = {"1000000", "0"};
    for (int i = 0; i < 2; i++) {
        CHECK_INT(setenv("MOT_CUDA_GROUPED", rows[i], 1), 0);
        check_linear(LAYOUTS - SHARED);
        check_linear_back(LAYOUTS - SHARED);
    }
    CHECK_INT(unsetenv("MOT_CUDA_GROUPED"), 0);
}

/* Results of any inputs, the bits of which are those of the same inputs rounded beforehand. */
static void test_rounding(void)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0, -0.0f,
                                0x1p-126f, 0x1.fep-127f, -0x1p-149f, 0x1.01p0f, 0x1.03p0f,
                                0x1.010002p0f, 0x1.00fffep0f, -0x1.01p-20f, 0x1.ff7p100f};
    enum { ODD = sizeof odd / sizeof odd[0] };
    for (size_t k = 0; k < sizeof linear_shapes / sizeof linear_shapes[0]; k++)
        for (int special = 0; special < 2; special++)
            for (int operation_no = 0; operation_no < 3; operation_no++) {
                static operation *const operations[] = {op_linear, op_linear_back_x,
                                                        op_linear_back_w};
                float *found[2][MOST_OUTPUTS];
                struct inputs in;
                for (int again = 0; again < 2; again++) {
                    int64_t n;
                    bf16 = again;
                    in = linear_inputs(k, THREE, false, &n);
                    float *const operands[] = {in.x, in.y, in.params};
                    const int64_t sizes[] = {in.N * in.I, in.N * in.O, n};
                    for (int o = 0; o < 3; o++)
                        for (int64_t i = below(ODD); special && i < sizes[o]; i += 97)
                            operands[o][i] = again ? rounded(odd[i % ODD]) : odd[i % ODD];
                    in.n_outputs = 1;
                    in.sizes[0] = operation_no == 2 ? n : in.N * (operation_no ? in.I : in.O);
                    in.in_out[0] = operation_no == 2 ? numbers(n, 0) : NULL;
                    run_once(cpu, 2, &in, operations[operation_no], found[again]);
                }
                int64_t bad = 0, nans = 0;
                for (int64_t i = GUARD; i < GUARD + in.sizes[0]; i++) {
                    float a = found[0][0][i], b = found[1][0][i];
                    bad += isnan(a) ? !isnan(b) : memcmp(&a, &b, sizeof a) != 0;
                    nans += isnan(a);
                }
                CHECK_INT(bad, 0);
                CHECK(special || nans == 0);
                free_all();
            }
}

/* -- rope -------------------------------------------------------------------------------------- */

static void op_rope(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                    float **out)
{
    b->rope(d, out[0], out[1], out[2], in->x, in->params, in->g, in->G, in->seq, in->pos, in->cos,
            in->sin, in->N, in->H, in->K, in->D, in->norm, in->eps);
}

static void op_rope_back(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                         float **out)
{
    b->rope_back(d, out[0], out[1], in->dq, in->dk, in->dv, in->x, in->params, in->g, in->G,
                 in->seq, in->pos, in->cos, in->sin, in->N, in->H, in->K, in->D, in->norm, in->eps);
}

enum { ALL_NORMS, SOME_NORMS, NO_NORMS, NORM_KINDS };

static struct inputs rope_inputs(const int64_t *shape, int layout, int norms,
                                 enum mot_head_norm norm, int64_t *n_params)
{
    struct inputs in = {.N = shape[0], .H = shape[1], .K = shape[2], .D = shape[3], .P = 50,
                        .norm = norm, .eps = 1e-6f};
    state = (uint64_t)(shape[0] * 100 + layout * 10 + norms);
    int64_t of_q = norm == MOT_HEAD_RMS ? in.D : 2 * in.H * in.D;
    int64_t of_k = norm == MOT_HEAD_RMS ? in.D : 2 * in.K * in.D;
    *n_params = deal(&in, layout, of_q, of_k);
    for (int k = 0; k < in.G; k++)
        if (norms == NO_NORMS || (norms == SOME_NORMS && k % 2 == 0))
            in.g[k].w = in.g[k].b = -1;
    in.x = activations(in.N * (in.H + 2 * in.K) * in.D, 1);
    in.dq = activations(in.H * in.N * in.D, 1);
    in.dk = activations(in.K * in.N * in.D, 1);
    in.dv = activations(in.K * in.N * in.D, 1);
    permutation(in.N, &in.seq, &in.row);
    in.pos = ids(in.N, in.P);
    in.cos = numbers(in.P * (in.D / 2), 1);
    in.sin = numbers(in.P * (in.D / 2), 1);
    return in;
}

static void check_rope(const int64_t *shape, int layout, int norms, enum mot_head_norm norm)
{
    int64_t n;
    struct inputs in = rope_inputs(shape, layout, norms, norm, &n);
    output_act(&in, in.H * in.N * in.D, false);
    output_act(&in, in.K * in.N * in.D, false);
    output_act(&in, in.K * in.N * in.D, false);
    compare("rope", &in, op_rope, 2e-6, 5e-6);
    in = rope_inputs(shape, layout, norms, norm, &n);
    if (norms == NO_NORMS)
        in.x = NULL;
    output_act(&in, in.N * (in.H + 2 * in.K) * in.D, false);
    output(&in, n, true);
    compare("rope_back", &in, op_rope_back, 2e-5, 1e-5);
}

static void test_rope(void)
{
    static const int64_t shapes[][4] = {{0, 2, 2, 8},   {1, 1, 1, 2},    {5, 3, 1, 6},
                                        {67, 4, 2, 10}, {130, 8, 8, 32}, {33, 6, 3, 64},
                                        {9, 2, 1, 256}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++)
        for (int layout = 0; layout < LAYOUTS; layout++)
            for (int norms = 0; norms < NORM_KINDS; norms++) {
                check_rope(shapes[k], layout, norms, MOT_HEAD_RMS);
                check_rope(shapes[k], layout, norms, MOT_HEAD_LAYER);
            }
}

/* -- attention --------------------------------------------------------------------------------- */

static void op_attention(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                         float **out)
{
    b->attention(d, out[0], out[1], in->q, in->k, in->v, in->row, in->until, in->segments,
                 in->n_segments, in->N, in->H, in->K, in->D, in->scale);
}

static void op_attention_back(const struct mot_kernels *b, struct mot_device *d,
                              const struct inputs *in, float **out)
{
    b->attention_back(d, out[0], out[1], out[2], in->dq, in->o, in->lse, in->q, in->k, in->v,
                      in->row, in->until, in->segments, in->n_segments, in->N, in->H, in->K, in->D,
                      in->scale);
}

/* Where each position stops to see: causal, or with pictures of at most `most` positions among it. */
static void see(struct inputs *in, int64_t most)
{
    in->until = take((size_t)(in->N + 1) * sizeof *in->until);
    for (int64_t n = 0; n < in->n_segments; n++) {
        int64_t end = in->segments[n].begin + in->segments[n].length;
        for (int64_t at = in->segments[n].begin; at < end;) {
            int64_t size = below(3) ? 1 : 1 + below(most), last = at + size < end ? at + size : end;
            for (; at < last; at++)
                in->until[at] = (int32_t)last;
        }
    }
}

/* shape: N H K D segments, and the longest picture or 0 */
static struct inputs attention_inputs(const int64_t *shape)
{
    struct inputs in = {.N = shape[0], .H = shape[1], .K = shape[2], .D = shape[3]};
    state = (uint64_t)(shape[0] * 1000 + shape[3] * 10 + shape[4]);
    in.scale = 2 / sqrtf((float)in.D);
    in.q = activations(in.H * in.N * in.D, 3);
    in.k = activations(in.K * in.N * in.D, 2);
    in.v = activations(in.K * in.N * in.D, 1);
    in.dq = activations(in.N * in.H * in.D, 1); /* dO */
    in.o = activations(in.N * in.H * in.D, 1);
    in.lse = numbers(in.H * in.N, 1);
    permutation(in.N, &in.seq, &in.row);
    cut(&in, (int)shape[4]);
    if (shape[5] > 0)
        see(&in, shape[5]);
    struct mot_limits l = limits_of(&in, true);
    struct mot_device *d = begin(ref, 1);
    CHECK_INT(ref->reserve(d, &l), 0);
    ref->attention(d, in.o, in.lse, in.q, in.k, in.v, in.row, in.until, in.segments,
                   in.n_segments, in.N, in.H, in.K, in.D, in.scale);
    ref->close(d);
    round_again(in.o, in.N * in.H * in.D);
    return in;
}

static void test_attention(void)
{
    static const int64_t shapes[][6] = {
        /* N H K D segments pictures */
        {0, 1, 1, 2, WHOLE},      {1, 1, 1, 2, WHOLE},     {2, 1, 1, 2, WHOLE},
        {31, 2, 1, 4, WHOLE},     {32, 3, 3, 16, WHOLE},   {33, 4, 2, 8, WHOLE},
        {127, 2, 2, 6, RANDOM},   {128, 2, 1, 32, WHOLE},  {129, 8, 1, 10, HALVES},
        {200, 4, 4, 48, RANDOM},  {211, 6, 3, 32, SHORT},  {97, 2, 2, 80, SHORT},
        {61, 2, 1, 100, RANDOM},  {40, 2, 1, 256, WHOLE},  {77, 2, 2, 64, DOTS},
        {150, 2, 1, 32, EMPTIES}, {257, 2, 2, 16, WHOLE},  {521, 2, 1, 32, WHOLE},
        {600, 3, 1, 20, RANDOM},  {530, 1, 1, 64, HALVES},   {1, 1, 1, 2, WHOLE, 4},
        {33, 2, 1, 8, WHOLE, 33}, {130, 4, 2, 16, HALVES, 9}, {200, 2, 2, 32, RANDOM, 64},
        {97, 2, 1, 80, SHORT, 40}, {521, 2, 1, 32, WHOLE, 300}, {300, 1, 1, 64, EMPTIES, 20},
        {400, 4, 2, 128, RANDOM}, {263, 3, 1, 96, SHORT, 30}, {300, 2, 1, 256, HALVES},
        {129, 2, 1, 40, DOTS},    {385, 1, 1, 128, WHOLE, 200}, {140, 1, 1, 192, SHORT},
    };
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct inputs in = attention_inputs(shapes[k]);
        output_act(&in, in.N * in.H * in.D, false);
        output(&in, in.H * in.N, false);
        compare("attention", &in, op_attention, 3e-6, 1e-5);
        in = attention_inputs(shapes[k]);
        output_act(&in, in.H * in.N * in.D, false);
        output_act(&in, in.K * in.N * in.D, false);
        output_act(&in, in.K * in.N * in.D, false);
        compare("attention_back", &in, op_attention_back, 5e-5, 1e-5);
    }
}

/* Scores so far apart that only one key counts, and maxima that rise from block to block. */
static void test_attention_extremes(void)
{
    for (int k = 0; k < 4; k++) {
        int rising = k % 2;
        const int64_t shape[6] = {300, 2, 1, k < 2 ? 32 : 64, WHOLE, 0};
        struct inputs in = attention_inputs(shape);
        for (int64_t i = 0; i < in.H * in.N * in.D; i++)
            in.q[i] = rising ? 1 : 40 * in.q[i];
        if (rising)
            for (int64_t t = 0; t < in.N; t++)
                for (int64_t j = 0; j < in.D; j++)
                    in.k[t * in.D + j] = (float)t / 10;
        round_again(in.q, in.H * in.N * in.D);
        round_again(in.k, in.K * in.N * in.D);
        output_act(&in, in.N * in.H * in.D, false);
        output(&in, in.H * in.N, false);
        /* Scores reach 10^3, so that their own rounding, 1e-4, moves the probabilities. */
        compare("attention, extremes", &in, op_attention, 5e-4, 1e-5);
    }
}

/* -- the past ---------------------------------------------------------------------------------- */

enum { PAST_LAYERS = 3, PAST_LAYER = 1 };

/* n sequences on a device, s with id[s] positions and room for P; kv: of all, one behind the other. */
static struct mot_past *pasts(const struct mot_kernels *b, struct mot_device *d, struct copies *c,
                              const struct inputs *in, float *kv, const int32_t *id, int64_t n)
{
    struct mot_past *there = place(b, d, c, (size_t)n * sizeof *there);
    size_t each = (size_t)(PAST_LAYERS * 2 * in->K * in->P * in->D) * b->activation;
    for (int64_t s = 0; s < n; s++) {
        void *at = (char *)kv + (size_t)s * each;
        struct mot_past one = {at, in->P, id[s]};
        b->write(d, &there[s], &one, sizeof one);
    }
    return there;
}

static void free_copies(const struct mot_kernels *b, struct mot_device *d, struct copies *c)
{
    while (c->n > 0)
        b->free(d, c->p[--c->n]);
}

static void op_remember(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                        float **out)
{
    struct copies c = {.n = 0};
    const struct mot_past *past = pasts(b, d, &c, in, out[0], in->host_id, in->n_segments);
    b->remember(d, past, PAST_LAYER, in->k, in->v, in->segments, in->n_segments, in->N, in->K, in->D);
    free_copies(b, d, &c);
}

static void op_attention_past(const struct mot_kernels *b, struct mot_device *d,
                              const struct inputs *in, float **out)
{
    struct copies c = {.n = 0};
    const struct mot_past *past = pasts(b, d, &c, in, in->y, in->host_id, in->N);
    b->attention_past(d, out[0], in->q, past, PAST_LAYER, in->row, in->N, in->H, in->K, in->D,
                      in->scale);
    free_copies(b, d, &c);
}

static void test_past(void)
{
    static const int64_t shapes[][5] = {
        /* N H K D longest */
        {1, 1, 1, 2, 1},   {3, 2, 1, 6, 5},     {5, 4, 2, 16, 256},  {2, 6, 3, 10, 257},
        {7, 8, 8, 64, 40}, {16, 3, 1, 32, 520}, {1, 2, 2, 128, 900}, {33, 2, 1, 8, 300},
        {2, 1, 1, 4, 8300},
    };
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct inputs in = {.N = shapes[k][0], .H = shapes[k][1], .K = shapes[k][2],
                            .D = shapes[k][3], .P = shapes[k][4], .sequences = shapes[k][0]};
        int64_t kv = PAST_LAYERS * 2 * in.K * in.P * in.D;
        state = k;
        in.scale = 1 / sqrtf((float)in.D);
        in.q = activations(in.H * in.N * in.D, 3);
        in.y = activations(in.N * kv, 2);
        in.host_id = ids(in.N, in.P);
        permutation(in.N, &in.seq, &in.row);
        output_act(&in, in.N * in.H * in.D, false);
        compare("attention_past", &in, op_attention_past, 3e-6, 1e-5);

        in = (struct inputs){.N = 61, .K = shapes[k][2], .D = shapes[k][3], .P = 70};
        in.k = activations(in.K * in.N * in.D, 1);
        in.v = activations(in.K * in.N * in.D, 1);
        cut(&in, k % 2 ? RANDOM : SHORT);
        in.host_id = ids(in.n_segments, in.P - in.N + 1); /* of each, as much as leaves room for the segment */
        output_act(&in, in.n_segments * PAST_LAYERS * 2 * in.K * in.P * in.D, true);
        compare("remember", &in, op_remember, 0, 0);
    }
}

static void op_logits(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                      float **out)
{
    b->logits(d, out[0], in->x, in->w, in->N, in->C, in->V);
}

static void test_logits(void)
{
    static const int64_t shapes[][3] = {{0, 4, 5}, {1, 1, 1}, {3, 7, 50}, {MOT_FEW, 64, 333}, {9, 520, 40}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct inputs in = {.N = shapes[k][0], .C = shapes[k][1], .V = shapes[k][2],
                            .sequences = 1, .P = 1, .H = 1, .K = 1, .D = 2};
        state = k;
        in.x = activations(in.N * in.C, 1);
        in.w = numbers(in.V * in.C, 1);
        output(&in, in.N * in.V, false);
        compare("logits", &in, op_logits, sum_error(in.C), 5e-6);
    }
}

/* A row's attention to its past is the same to the last bit whoever else is there, as is a product: all rows at once
 * (each: ROWS), or each by itself (1). */
enum { ALONE_ROWS = 23, ALONE_HEADS = 4, ALONE_D = 24, ALONE_O = 70 };

static void alone(int threads, int each, float *o, float *y, float *z)
{
    enum { K = 2, P = 600, I = 500, H = ALONE_HEADS, D = ALONE_D, O = ALONE_O, ROWS = ALONE_ROWS };
    struct inputs in = {.N = ROWS, .H = H, .K = K, .D = D, .P = P, .I = I, .O = O, .V = O, .sequences = ROWS, .G = 1};
    struct copies c = {.n = 0};
    state = 1;
    in.params = numbers(O * I + O, 1);
    in.x = activations(ROWS * I, 1);
    in.y = activations(ROWS * PAST_LAYERS * 2 * K * P * D, 1);
    in.q = activations(H * ROWS * D, 2);
    in.host_id = ids(ROWS, P);
    float *q = activations(H * ROWS * D, 0); /* (ROWS / each, H, each, D) */
    for (int s = 0; s < ROWS; s++)
        for (int h = 0; h < H; h++)
            memcpy(q + ((s / each * H + h) * each + s % each) * D, in.q + (s * H + h) * D, D * sizeof *q);
    in.q = q;
    in.row = ids(ROWS, 1);
    for (int s = 0; s < ROWS; s++)
        in.row[s] = s;
    struct mot_device *d = device(cpu, threads, &in, &c);
    move_all(cpu, d, &c, &in);
    const struct mot_past *past = pasts(cpu, d, &c, &in, in.y, in.host_id, ROWS);
    size_t act = cpu->activation;
    char *to_o = place(cpu, d, &c, ROWS * H * D * act), *to_y = place(cpu, d, &c, ROWS * O * act);
    float *to_z = place(cpu, d, &c, ROWS * O * sizeof *to_z);
    for (int s = 0; s < ROWS; s += each) {
        struct mot_group g = {0, each, 0, O * I, 0, 0};
        size_t at = (size_t)s * act;
        void *x = (char *)in.x + at * I, *head = (char *)in.q + at * H * D, *out = to_o + at * H * D, *sum = to_y + at * O;
        cpu->attention_past(d, out, head, past + s, PAST_LAYER, in.row, each, H, K, D, 1);
        cpu->linear(d, sum, x, in.params, &g, 1, I, O, 0);
        cpu->logits(d, to_z + s * O, x, in.params, each < MOT_FEW ? each : MOT_FEW, I, O);
    }
    CHECK_INT(cpu->sync(d), 0);
    receive(cpu, d, o, to_o, ROWS * H * D, true);
    receive(cpu, d, y, to_y, ROWS * O, true);
    receive(cpu, d, z, to_z, MOT_FEW * O, false);
    free_copies(cpu, d, &c);
    cpu->close(d);
    free_all();
}

static void test_alone(void)
{
    static float o[2][ALONE_ROWS * ALONE_HEADS * ALONE_D], y[2][ALONE_ROWS * ALONE_O], z[2][ALONE_ROWS * ALONE_O];
    alone(2, ALONE_ROWS, o[0], y[0], z[0]);
    alone(1, 1, o[1], y[1], z[1]);
    CHECK(memcmp(o[0], o[1], sizeof o[0]) == 0);
    CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0);
    CHECK(memcmp(z[0], z[1], MOT_FEW * ALONE_O * sizeof(float)) == 0);
}

/* Linear layers of a model that generates, each piece of `each` rows by itself. */
enum { COMPANY_ROWS = 300, COMPANY_I = 72, COMPANY_O = 200 };
static void in_pieces(int64_t each, float *y)
{
    enum { ROWS = COMPANY_ROWS, I = COMPANY_I, O = COMPANY_O };
    struct inputs in = {.N = ROWS, .I = I, .O = O, .H = 1, .K = 1, .D = 2, .P = 1, .sequences = 1, .G = 2};
    struct copies c = {.n = 0};
    state = 1;
    in.params = numbers(2 * O * I, 1);
    in.x = activations(ROWS * I, 1);
    struct mot_device *d = device(cpu, 1, &in, &c);
    move_all(cpu, d, &c, &in);
    char *to = place(cpu, d, &c, ROWS * O * cpu->activation);
    for (int64_t row = 0; row < ROWS; row += each) {
        int64_t n = each < ROWS - row ? each : ROWS - row, of_first = row < ROWS / 2 ? ROWS / 2 - row : 0;
        of_first = of_first < n ? of_first : n; /* half of all rows are of one tower */
        const struct mot_group g[] = {{0, of_first, 0, -1, 0, 0}, {of_first, n - of_first, O * I, -1, 0, 0}};
        cpu->linear(d, (void *)(to + (size_t)(row * O) * cpu->activation),
                    (void *)((char *)in.x + (size_t)(row * I) * cpu->activation), in.params, g, 2, I, O, 0);
    }
    CHECK_INT(cpu->sync(d), 0);
    receive(cpu, d, y, to, ROWS * O, true);
    free_copies(cpu, d, &c);
    cpu->close(d);
    free_all();
}

/* Neither which rows stand beside a row nor how many changes a bit of it. */
static void test_company(void)
{
    static const int64_t pieces[] = {1, 3, 16, 17, 70, 129};
    static float together[COMPANY_ROWS * COMPANY_O], apart[COMPANY_ROWS * COMPANY_O];
    in_pieces(COMPANY_ROWS, together);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        in_pieces(pieces[i], apart);
        CHECK(memcmp(together, apart, sizeof apart) == 0);
    }
}

/* -- pictures of vectors ----------------------------------------------------------------------- */

/* Rows [P, P + O) of N; the others stay as they were. */
static void op_patches(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                       float **out)
{
    b->cast(d, out[0], in->lse, in->P, in->O, in->C);
    b->uncast(d, out[3], in->x, 0, in->I, in->C);
    b->spread(d, out[1], in->x, in->id, in->P, in->O, in->C);
    b->spread_back(d, out[2], in->y, in->id, in->P, in->O, in->I, in->C);
}

static void op_squared_error(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                             float **out)
{
    b->squared_error(d, out[0], NULL, in->x, in->lse, in->w, in->P, in->O, in->C);
    b->squared_error(d, out[1], out[2], in->x, in->lse, in->w, in->P, in->O, in->C);
}

static void op_silu(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                    float **out)
{
    b->silu(d, out[0], in->x, in->N);
    b->silu_back(d, out[1], in->y, in->x, in->N);
    b->copy(d, out[2], in->y, (size_t)in->N * b->activation);
    b->silu_back(d, out[2], out[2], in->x, in->N);
}

static void op_unfold(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                      float **out)
{
    b->unfold(d, out[0], in->x, in->id, in->N, in->C);
    b->unfold_back(d, out[1], in->y, in->id, in->N, in->C);
}

/* Neighbours of two pictures, of H x W pixels and of one. */
static int32_t *near_of(int64_t H, int64_t W)
{
    int32_t *near = ids(9 * (H * W + 1), 1);
    for (int64_t i = 0; i < H * W; i++)
        for (int t = 0; t < 9; t++) {
            int64_t y = i / W + t / 3 - 1, x = i % W + t % 3 - 1;
            near[9 * i + t] = y < 0 || x < 0 || y >= H || x >= W ? -1 : (int32_t)(y * W + x);
        }
    for (int t = 0; t < 9; t++)
        near[9 * H * W + t] = t == 4 ? (int32_t)(H * W) : -1;
    return near;
}

static void test_unfold(void)
{
    static const int64_t shapes[][3] = {{0, 0, 3}, {1, 1, 1}, {1, 7, 5}, {4, 3, 8}, {9, 11, 64}, {5, 5, 203}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct inputs in = {.N = shapes[k][0] * shapes[k][1] + 1, .C = shapes[k][2]};
        state = k + 1;
        in.x = activations(in.N * in.C, 1);
        in.y = activations(9 * in.N * in.C, 1);
        in.id = near_of(shapes[k][0], shapes[k][1]);
        output_act(&in, 9 * in.N * in.C, false);
        output_act(&in, in.N * in.C, false);
        compare("unfold", &in, op_unfold, 1e-6, 2e-6);
    }
}

static void test_patches(void)
{
    static const int64_t shapes[][5] = {/* N C M row rows */
                                        {1, 1, 1, 0, 1},    {4, 3, 2, 1, 2},     {9, 8, 1, 9, 0},
                                        {70, 17, 5, 7, 63}, {300, 64, 9, 0, 300}, {513, 192, 3, 100, 400}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct inputs in = {.N = shapes[k][0], .C = shapes[k][1], .I = shapes[k][2], .P = shapes[k][3],
                            .O = shapes[k][4]};
        state = k + 1;
        in.lse = numbers(in.N * in.C, 1);
        in.x = activations(in.I * in.C, 1);
        in.y = activations(in.N * in.C, 1);
        in.id = ids(in.N, in.I);
        output_act(&in, in.N * in.C, true);
        output_act(&in, in.N * in.C, true);
        output_act(&in, in.I * in.C, false);
        output(&in, in.I * in.C, false);
        compare("patches", &in, op_patches, sum_error(in.N), 5e-6);
        in = (struct inputs){.N = shapes[k][0], .C = shapes[k][1], .P = shapes[k][3], .O = shapes[k][4]};
        in.lse = numbers(in.N * in.C, 1);
        in.x = activations(in.N * in.C, 1);
        in.w = numbers(in.N, 1);
        output(&in, in.N, true);
        output(&in, in.N, true);
        output_act(&in, in.N * in.C, true);
        compare("squared_error", &in, op_squared_error, 1e-6, 1e-5);
        in = (struct inputs){.N = in.N * in.C};
        in.x = activations(in.N, 5);
        in.y = activations(in.N, 1);
        for (int i = 0; i < 3; i++)
            output_act(&in, in.N, false);
        compare("silu", &in, op_silu, 1e-6, 1e-5);
    }
}

/* -- swiglu ------------------------------------------------------------------------------------ */

static void op_swiglu(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                      float **out)
{
    b->swiglu(d, out[0], in->x, in->N, in->F);
    b->swiglu_back(d, out[1], in->y, in->x, in->N, in->F);
    b->swiglu_back(d, out[2], in->y, out[2], in->N, in->F);
}

static void test_swiglu(void)
{
    static const int64_t shapes[][2] = {{0, 8}, {1, 1}, {3, 7}, {50, 64}, {211, 333}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++)
        for (int size = 0; size < 3; size++) {
            static const float sizes[] = {1, 10, 120};
            struct inputs in = {.N = shapes[k][0], .F = shapes[k][1]};
            state = k;
            in.x = activations(in.N * 2 * in.F, sizes[size]);
            in.y = activations(in.N * in.F, 1);
            output_act(&in, in.N * in.F, false);
            output_act(&in, in.N * 2 * in.F, false);
            output_act(&in, in.N * 2 * in.F, true);
            memcpy(in.in_out[2], in.x, (size_t)(in.N * 2 * in.F) * sizeof(float));
            compare("swiglu", &in, op_swiglu, 1e-6, 2e-6);
        }
}

/* -- head and loss ----------------------------------------------------------------------------- */

static void op_head(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                    float **out)
{
    b->head_loss(d, out[0], out[1], out[2], out[3], in->x, in->w, in->id, in->y, in->scale, in->N,
                 in->C, in->V);
}

static void op_head_forward(const struct mot_kernels *b, struct mot_device *d,
                            const struct inputs *in, float **out)
{
    b->head_loss(d, out[0], out[1], NULL, NULL, in->x, in->w, in->id, NULL, 0, in->N, in->C, in->V);
}

/* The gradient of a logit, at most 1, is rounded by 2^-9 before it meets x and w. */
#define ROUNDED_LOGITS 1e-2

static struct inputs head_inputs(const int64_t *shape, float size)
{
    struct inputs in = {.N = shape[0], .C = shape[1], .V = shape[2], .scale = 1e-2f};
    state = (uint64_t)(shape[0] + shape[1] + shape[2]);
    in.x = activations(in.N * in.C, size);
    in.w = numbers(in.V * in.C, 1);
    in.y = numbers(in.N, 1);
    for (int64_t i = 0; i < in.N; i++)
        in.y[i] = i % 5 == 1 ? 0 : in.y[i];
    in.id = ids(in.N, in.V);
    return in;
}

static void test_head_loss(void)
{
    static const int64_t shapes[][3] = {{0, 4, 9},     {1, 1, 1},      {1, 32, 1000},
                                        {5, 7, 3},     {97, 33, 513},  {200, 64, 511},
                                        {3, 16, 3000}, {530, 20, 700}, {64, 130, 1025}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++)
        for (int large = 0; large < 2; large++) {
            float size = large ? 20.0f / sqrtf((float)shapes[k][1]) : 1;
            double absolute = large ? 4e-5 : 1e-5;
            struct inputs in = head_inputs(shapes[k], size);
            output(&in, in.N, false);
            output(&in, in.N, false);
            output_act(&in, in.N * in.C, false);
            output(&in, in.V * in.C, true);
            compare("head_loss", &in, op_head,
                    bf16 ? ROUNDED_LOGITS * fmax(1, (double)size) : absolute, 1e-5);
            in = head_inputs(shapes[k], size);
            output(&in, in.N, false);
            output(&in, in.N, false);
            compare("head_loss, forward", &in, op_head_forward, absolute, 5e-6);
        }
}

/* A vocabulary so large that the logits of only a few rows are kept. */
static void test_head_loss_blocks(void)
{
    static const int64_t shape[3] = {35, 1, 600000};
    struct inputs in = head_inputs(shape, 1);
    output(&in, in.N, false);
    output(&in, in.N, false);
    output_act(&in, in.N * in.C, false);
    output(&in, in.V * in.C, true);
    compare("head_loss, blocks", &in, op_head, bf16 ? ROUNDED_LOGITS : 1e-5, 1e-5);
}

/* -- optimizer --------------------------------------------------------------------------------- */

static void op_adamw(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                     float **out)
{
    struct copies c = {.n = 0};
    float *scale = place(b, d, &c, sizeof *scale);
    double *sums = place(b, d, &c, 3 * sizeof *sums), pieces[3] = {1, 2, 0};
    b->write(d, scale, &in->scale, sizeof *scale);
    b->write(d, sums, pieces, sizeof pieces);
    b->adamw(d, out[0], out[1], out[2], out[3], in->N, scale, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f,
             in->P);
    b->sumsq(d, &sums[2], in->x, in->N);
    b->clip(d, &out[4 - 1][in->N], sums, 3, 1);
    b->sumsq(d, &sums[0], in->x, in->N / 2);
    b->read(d, pieces, sums, sizeof *sums);
    float sum = (float)pieces[0];
    b->write(d, &out[0][in->N], &sum, sizeof sum);
    while (c.n > 0)
        b->free(d, c.p[--c.n]);
}

static void test_optimizer(void)
{
    static const int64_t sizes[] = {0, 1, 15, 16, 17, 1000, 65537, 300001};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (int64_t step = 1; step < 1000; step *= 10) {
            struct inputs in = {.N = sizes[k],
                                .P = step,
                                .scale = step == 1 ? 1 : 0.3f,
                                .eps = step == 1 ? 1e-8f : 1e-2f};
            state = k;
            in.x = numbers(in.N, 1);
            for (int out = 0; out < 4; out++)
                output(&in, in.N + (out == 0 || out == 3), true);
            for (int64_t i = 0; i < in.N;
                 i++) /* v is a sum of squares; some never had a gradient */
                in.in_out[2][i] = i % 7 == 0 ? 0 : fabsf(in.in_out[2][i]);
            for (int64_t i = 0; i < in.N; i += 7)
                in.in_out[1][i] = in.in_out[3][i] = 0;
            compare("adamw", &in, op_adamw, 1e-6, 3e-6);
        }
}

static void op_clip(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                    float **out)
{
    struct copies c = {.n = 0};
    double *sums = place(b, d, &c, 2 * sizeof *sums);
    b->write(d, sums, (const double[]){9, 16}, 2 * sizeof *sums);
    b->clip(d, &out[0][0], sums, 2, 1);
    b->clip(d, &out[0][1], sums, 2, 6);
    b->clip(d, &out[0][2], sums, 2, 0);
    b->clip(d, &out[0][3], sums, (int)in->N, 1);
    b->free(d, sums);
}

static void test_clip(void)
{
    struct inputs in = {.N = 0};
    float *found[MOST_OUTPUTS];
    output(&in, 4, false);
    run_once(cpu, 1, &in, op_clip, found);
    CHECK_NEAR(found[0][GUARD], 0.2, 0, 1e-6);
    for (int i = 1; i < 4; i++)
        CHECK_NEAR(found[0][GUARD + i], 1, 0, 0);
    free_all();
}

/* -- the rest ---------------------------------------------------------------------------------- */

static void op_small(const struct mot_kernels *b, struct mot_device *d, const struct inputs *in,
                     float **out)
{
    struct copies c = {.n = 0};
    double *sum = place(b, d, &c, sizeof *sum), host;
    b->swiglu(d, out[0], in->x, 1, 2);
    b->sumsq(d, sum, in->z, 4);
    b->read(d, &host, sum, sizeof host);
    float seen = (float)host;
    b->write(d, out[1], &seen, sizeof seen);
    b->free(d, sum);
}

/* What is not finite must stay so: a training that diverges has to show. */
static void test_not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const int64_t a_shape[6] = {64, 1, 1, 16, WHOLE}, h_shape[3] = {3, 16, 600};
    for (int k = 0; k < 3; k++)
        for (int threads = 1; threads < 3; threads++) {
            float *found[MOST_OUTPUTS];
            struct inputs in = attention_inputs(a_shape);
            in.q[40 * in.D + 3] = bad[k];
            output_act(&in, in.N * in.D, false);
            output(&in, in.N, false);
            run_once(cpu, threads, &in, op_attention, found);
            for (int64_t s = 0; s < in.N; s++)
                CHECK(isfinite(found[0][GUARD + in.row[s] * in.D]) == (s != 40));
            free_all();

            for (int grad = 0; grad < 2; grad++) {
                in = head_inputs(h_shape, 1);
                in.x[16 + 5] = bad[k];
                output(&in, 3, false);
                output(&in, 3, false);
                output_act(&in, 3 * 16, false);
                output(&in, 600 * 16, true);
                run_once(cpu, threads, &in, grad ? op_head : op_head_forward, found);
                CHECK(isfinite(found[0][GUARD]) && !isfinite(found[0][GUARD + 1]) &&
                      isfinite(found[0][GUARD + 2]));
                free_all();
            }

            in = (struct inputs){.N = 1, .F = 2};
            in.x = activations(4, 1);
            in.z = numbers(4, 1);
            in.x[0] = NAN;
            in.z[2] = bad[k];
            output_act(&in, 2, false);
            output(&in, 1, false);
            run_once(cpu, threads, &in, op_small, found);
            CHECK(isnan(found[0][GUARD]) && isfinite(found[0][GUARD + 1]));
            CHECK(!isfinite(found[1][GUARD]));
            free_all();
        }
}

/* A real model's numbers: workspace holds a packed copy of the largest operand (of the head, two
 * with gradients) and little more; it must not grow with segment, nor with N times V. */
static void test_workspace(void)
{
    struct mot_limits l = {.N = 8192,
                           .segment = 1024,
                           .C = 4096,
                           .H = 32,
                           .K = 8,
                           .D = 128,
                           .F = 11008,
                           .V = 131072,
                           .G = 3};
    char err[100];
    struct mot_device *d = cpu->open(2, err, sizeof err);
    CHECK(d != NULL && cpu->threads(d) == 2);
    size_t forward = cpu->workspace(d, &l);
    size_t words = (size_t)(l.V * l.C) * sizeof(float);
    CHECK(forward > 0 && forward < words + ((size_t)16 << 20));
    l.train = 1;
    size_t train = cpu->workspace(d, &l);
    CHECK(train > forward && train < 2 * words + ((size_t)80 << 20));
    l.segment = 8192;
    CHECK(cpu->workspace(d, &l) == train);
    CHECK_INT(cpu->reserve(d, &l), 0);
    cpu->close(d);
    d = cpu->open(0, err, sizeof err);
    CHECK(d != NULL && cpu->threads(d) >= 1);
    cpu->close(d);
    cpu->close(NULL);
}

static void test_memory(void)
{
    const struct mot_kernels *backends[] = {ref, cpu};
    for (int k = 0; k < 2; k++) {
        const struct mot_kernels *b = backends[k];
        char err[100];
        struct mot_device *d = b->open(2, err, sizeof err);
        for (size_t bytes = 0; bytes < 1000000; bytes = bytes * 9 + 1) {
            unsigned char *x = b->alloc(d, bytes), *y = b->alloc(d, bytes), *host = take(bytes);
            CHECK(x && y && (uintptr_t)x % 64 == 0 && (uintptr_t)y % 64 == 0);
            for (size_t i = 0; i < bytes; i++)
                host[i] = (unsigned char)next();
            b->write(d, x, host, bytes);
            b->copy(d, y, x, bytes);
            b->zero(d, x, bytes);
            unsigned char *back = take(bytes);
            b->read(d, back, y, bytes);
            CHECK(bytes == 0 || memcmp(back, host, bytes) == 0);
            b->read(d, host, x, bytes);
            for (size_t i = 0; i < bytes; i++)
                if (host[i] != 0) {
                    CHECK(host[i] == 0);
                    break;
                }
            b->free(d, x);
            b->free(d, y);
        }
        CHECK(b->alloc(d, SIZE_MAX) == NULL);
        b->free(d, NULL);
        CHECK_INT(b->sync(d), 0);
        CHECK_STR(b->error(d), "");
        b->close(d);
        free_all();
    }
}

static void test_selection(void)
{
    char err[200] = "";
    int n = 0;
    while (mot_kernels_cpu_set(NULL, n))
        n++;
    CHECK(n >= 1 && mot_kernels_cpu(mot_kernels_cpu_set(NULL, n - 1), NULL, err, sizeof err));
    CHECK(mot_kernels_cpu_set(NULL, n + 1) == NULL);
    /* Without a name, the first that there is. */
    int first = 0;
    while (first < n && !mot_kernels_cpu(mot_kernels_cpu_set(NULL, first), NULL, err, sizeof err))
        first++;
    CHECK(mot_kernels_cpu(NULL, NULL, err, sizeof err) ==
          mot_kernels_cpu(mot_kernels_cpu_set(NULL, first), NULL, err, sizeof err));
    CHECK(!mot_kernels_cpu(NULL, "f64", err, sizeof err) && strstr(err, "f64"));
    CHECK(!mot_kernels_cpu("baseline", "bf16", err, sizeof err) && strstr(err, "bf16"));
    CHECK(!mot_kernels_cpu("avx1024", NULL, err, sizeof err));
    CHECK(strstr(err, "avx1024") && strstr(err, mot_kernels_cpu_set(NULL, n - 1)));
    char small[12];
    CHECK(!mot_kernels_cpu("avx1024", NULL, small, sizeof small) && strlen(small) == sizeof small - 1);
}

static void test_all(void)
{
    RUN(test_memory);
    if (!gpu)
        RUN(test_workspace);
    RUN(test_embed);
    RUN(test_rmsnorm);
    RUN(test_rmsnorm_back);
    RUN(test_linear);
    RUN(test_linear_back);
    if (bf16 && gpu)
        RUN(test_linear_either_way);
    if (bf16 && !gpu)
        RUN(test_rounding);
    RUN(test_rope);
    RUN(test_attention);
    RUN(test_attention_extremes);
    RUN(test_past);
    RUN(test_logits);
    RUN(test_alone);
    RUN(test_company);
    RUN(test_patches);
    RUN(test_unfold);
    RUN(test_swiglu);
    RUN(test_head_loss);
    if (!gpu) /* the shim holds so little that test_head_loss has blocks; there, this takes long */
        RUN(test_head_loss_blocks);
    RUN(test_optimizer);
    RUN(test_clip);
    RUN(test_not_finite);
}

static void test_backend(const char *name, const struct mot_kernels *k, const char *err)
{
    test_note = name;
    cpu = k;
    if (k)
        test_all();
    else
        printf("skip %s: %s\n", name, err);
}

/* With a word, only the backends whose names contain it. */
int main(int argc, char **argv)
{
    static const char *const dtypes[] = {"f32", "bf16"}, *const gpus[] = {"cuda-f32", "cuda-bf16"};
    const char *word = argc > 1 ? argv[1] : "";
    char err[200] = "";
    RUN(test_selection);
    for (int t = 0; t < 2; t++) {
        const char *name;
        bf16 = t == 1;
        for (int i = 0; (name = mot_kernels_cpu_set(dtypes[t], i)); i++)
            if (strstr(name, word))
                test_backend(name, mot_kernels_cpu(name, dtypes[t], err, sizeof err), err);
    }
    gpu = true;
    for (int t = 0; t < 2; t++) {
        bf16 = t == 1;
        if (strstr(gpus[t], word))
            test_backend(gpus[t], mot_kernels_cuda(dtypes[t], err, sizeof err), err);
    }
    /* What a GPU of compute capability 9.0 has two kernels for: the others too. */
    const struct mot_kernels *k = mot_kernels_cuda("bf16", err, sizeof err);
    if (k && strstr(gpus[1], word)) {
        setenv("MOT_CUDA", "sm_80", 1);
        test_note = "cuda-bf16, sm_80's kernels";
        cpu = k;
        RUN(test_attention);
        RUN(test_attention_extremes);
        unsetenv("MOT_CUDA");
    }
    return test_end();
}
