/* SPDX-License-Identifier: MIT
 *
 * test_encoder_kernels.c - the kernels of picture and sound encoders against the reference ones, for
 * every set of instructions and 1, 2 and 5 threads, which must agree to the bit, and on the cuda backend; nothing
 * outside the outputs may change.  Where operands are rounded to bf16, inputs are numbers that this does not change.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "../../kernels/kernels.h"
#include "../test.h"

static const struct mot_kernels *cpu;
static bool bf16;
static uint64_t state;

static float uniform(void) /* in [-1, 1), of 8 bits: exact in bf16 */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u; /* splitmix64 (Steele et al. 2014) */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (float)((int)(z >> 56) - 128) / 128;
}

/* Everything a case allocates; freed at its end. */
static struct {
    float *p;
    size_t bytes;
} owned[64];
static int n_owned;

static float *numbers(int64_t n, float scale)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x || n_owned == 64)
        abort();
    owned[n_owned].p = x;
    owned[n_owned++].bytes = (size_t)n * sizeof *x;
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * uniform();
    return x;
}

struct inputs {
    struct mot_conv conv;
    int64_t N, C, H, D, groups;
    float *x, *w, *b, eps, scale;
    float *first; /* what the output holds before; NULL: NaN */
    int64_t size; /* of the output */
    int add;
    enum mot_nonlinearity act;
};
typedef void operation(const struct mot_kernels *k, struct mot_device *d, const struct inputs *in, float *out);

enum { GUARD = 32 };

/* *at becomes a copy on the device, which is to be freed. */
static void *move(const struct mot_kernels *k, struct mot_device *d, float **at)
{
    int i = 0;
    if (!*at)
        return NULL;
    while (owned[i].p != *at)
        i++;
    float *there = k->alloc(d, owned[i].bytes);
    if (!there)
        abort();
    k->write(d, there, *at, owned[i].bytes);
    return *at = there;
}

static float *run_once(const struct mot_kernels *k, int threads, const struct inputs *in, operation *op)
{
    char err[200];
    struct mot_limits l = {.N = 1, .segment = 1, .C = 1, .H = in->H ? in->H : 1, .K = 1, .D = in->D ? in->D : 2,
                           .F = 1, .V = 1, .G = 1, .conv = &in->conv, .n_conv = in->conv.O > 0,
                           .norm_rows = in->N, .norm_width = in->C, .attend = in->H ? in->N : 0};
    struct mot_device *d = k->open(threads, err, sizeof err);
    if (!d || k->reserve(d, &l))
        abort();
    float *out = numbers(in->size + 2 * GUARD, 1);
    for (int64_t i = 0; i < in->size + 2 * GUARD; i++)
        out[i] = in->first && i >= GUARD && i < GUARD + in->size ? in->first[i - GUARD] : NAN;
    struct inputs there = *in;
    float *to = out;
    void *copies[] = {move(k, d, &there.x), move(k, d, &there.w), move(k, d, &there.b), move(k, d, &to)};
    op(k, d, &there, to + GUARD);
    k->read(d, out, to, (size_t)(in->size + 2 * GUARD) * sizeof *out);
    CHECK_INT(k->sync(d), 0);
    CHECK_STR(k->error(d), "");
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++)
        k->free(d, copies[i]);
    k->close(d);
    for (int i = 0; i < GUARD; i++)
        CHECK(isnan(out[i]) && isnan(out[GUARD + in->size + i]));
    return out + GUARD;
}

static void compare(const char *what, const struct inputs *in, operation *op, double absolute, double relative)
{
    static const int threads[] = {1, 2, 5}; /* a GPU has no use for them */
    float *expected = run_once(&mot_kernels_ref, 1, in, op), *one = NULL;
    for (int t = 0; t < 3; t++) {
        float *found = run_once(cpu, threads[t], in, op);
        int64_t bad = 0;
        for (int64_t i = 0; i < in->size; i++) {
            double f = (double)found[i], e = (double)expected[i];
            if (!(fabs(f - e) <= absolute + relative * fabs(e)) && bad++ == 0)
                fprintf(stderr, "%s, %d threads: value %lld is %.9g, expected %.9g\n", what, threads[t], (long long)i, f, e);
        }
        CHECK_INT(bad, 0);
        one = one ? one : found;
        CHECK(in->size == 0 || memcmp(one, found, (size_t)in->size * sizeof *found) == 0);
    }
    while (n_owned > 0)
        free(owned[--n_owned].p);
}

/* -- convolutions -- */

static void op_conv2d(const struct mot_kernels *k, struct mot_device *d, const struct inputs *in, float *out)
{
    k->conv2d(d, out, in->x, in->w, in->b, &in->conv, in->add);
}

static void test_conv2d(void)
{
    static const struct mot_conv cases[] = {
        /* H, W, C, OH, OW, O, kh, kw, stride, top, left, up, groups */
        {9, 7, 3, 9, 7, 20, 3, 3, 1, 1, 1, 1, 1},     /* 3x3, same size */
        {8, 10, 5, 4, 5, 9, 3, 3, 2, 0, 0, 1, 1},     /* Downsample: zeros only behind */
        {5, 4, 6, 10, 8, 7, 3, 3, 1, 1, 1, 2, 1},     /* after nearest enlargement */
        {6, 6, 48, 6, 6, 33, 1, 1, 1, 0, 0, 1, 1},    /* 1x1 */
        {1, 203, 1, 1, 39, 40, 1, 10, 5, 0, 0, 1, 1}, /* the first of a wave's */
        {1, 61, 40, 1, 30, 24, 1, 3, 2, 0, 0, 1, 1},
        {1, 37, 24, 1, 37, 24, 1, 16, 1, 0, 8, 1, 4}, /* of positions: groups, an even kernel */
        {4, 4, 8, 8, 8, 8, 3, 3, 1, 1, 1, 2, 2},      /* all at once */
        {20, 20, 130, 20, 20, 70, 3, 3, 1, 1, 1, 1, 1}, /* several blocks of depth and rows */
        {1, 1, 2, 1, 1, 3, 5, 5, 1, 2, 2, 1, 1},      /* a kernel larger than the input */
        {3, 3, 2, 0, 3, 3, 3, 3, 1, 1, 1, 1, 1},      /* no output */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int how = 0; how < 3; how++) {
            state = 10 * i + (size_t)how;
            struct inputs in = {.conv = cases[i], .add = how == 2, .size = cases[i].OH * cases[i].OW * cases[i].O};
            const struct mot_conv *v = &in.conv;
            in.x = numbers(v->H * v->W * v->C, 1);
            in.w = numbers(v->kh * v->kw * v->C / v->groups * v->O, 1);
            in.b = how == 0 ? NULL : numbers(v->O, 1);
            in.first = in.add ? numbers(in.size, 1) : NULL;
            compare("conv2d", &in, op_conv2d, 2e-5, 1e-5);
        }
}

/* -- norms, activations -- */

static void op_groupnorm(const struct mot_kernels *k, struct mot_device *d, const struct inputs *in, float *out)
{
    k->groupnorm(d, out, in->first ? out : in->x, in->w, in->b, in->N, in->C, in->groups, in->eps, in->act);
}

static void op_layernorm(const struct mot_kernels *k, struct mot_device *d, const struct inputs *in, float *out)
{
    k->layernorm(d, out, in->first ? out : in->x, in->w, in->b, in->N, in->C, in->eps, in->act);
}

static void op_activate(const struct mot_kernels *k, struct mot_device *d, const struct inputs *in, float *out)
{
    k->activate(d, out, in->first && !in->add ? out : in->x, in->size, in->act, in->add);
}

/* Columns far from 0, as a net's are: what a sum of squares less the square of the mean loses. */
static struct inputs norm_inputs(int64_t N, int64_t C, int64_t groups, int how)
{
    struct inputs in = {.N = N, .C = C, .groups = groups, .eps = 1e-6f, .act = (enum mot_nonlinearity)(how % 3), .size = N * C};
    in.x = numbers(N * C, 3);
    for (int64_t i = 0; i < N * C; i++)
        in.x[i] += (float)(i % C * groups / C % 3) * 20;
    in.w = numbers(C, 1);
    in.b = numbers(C, 1);
    in.first = how >= 3 ? in.x : NULL;
    return in;
}

static void test_groupnorm(void)
{
    static const int64_t shapes[][3] = {{0, 4, 2}, {1, 64, 32}, {5, 6, 3}, {127, 32, 32}, {1000, 64, 32}, {300, 40, 40}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int how = 0; how < 6; how++) {
            state = 10 * i + (size_t)how;
            struct inputs in = norm_inputs(shapes[i][0], shapes[i][1], shapes[i][2], how);
            compare("groupnorm", &in, op_groupnorm, 2e-5, 1e-5);
        }
}

static void test_layernorm(void)
{
    static const int64_t shapes[][2] = {{0, 4}, {3, 1}, {5, 7}, {97, 768}, {3, 1023}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int how = 0; how < 6; how++) {
            state = 10 * i + (size_t)how;
            struct inputs in = norm_inputs(shapes[i][0], shapes[i][1], 1, how);
            compare("layernorm", &in, op_layernorm, 1e-5, 1e-5);
        }
}

static void test_activate(void)
{
    for (int how = 0; how < 9; how++) {
        struct inputs in = {.size = 4001, .act = (enum mot_nonlinearity)(how % 3), .add = how / 6};
        in.x = numbers(in.size, 1);
        for (int64_t i = 0; i < in.size; i++)
            in.x[i] = (float)(i - 2000) / 100;
        in.first = how >= 6 ? numbers(in.size, 1) : how >= 3 ? in.x : NULL;
        compare("activate", &in, op_activate, 1e-6, 1e-6);
    }
}

/* -- attention -- */

static void op_attend(const struct mot_kernels *k, struct mot_device *d, const struct inputs *in, float *out)
{
    k->attend(d, out, in->x, in->N, in->H, in->D, in->scale);
}

static void test_attend(void)
{
    static const int64_t shapes[][3] = {{1, 1, 8}, {2, 3, 5}, {49, 2, 16}, {96, 1, 64}, {600, 2, 24}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        state = i;
        struct inputs in = {.N = shapes[i][0], .H = shapes[i][1], .D = shapes[i][2], .scale = 0.5f};
        in.size = in.N * in.H * in.D;
        in.x = numbers(3 * in.size, 1);
        /* The weights of the mean are rounded too in bf16. */
        compare("attend", &in, op_attend, bf16 ? 5e-3 : 5e-6, 1e-5);
    }
}

static void test_all(void)
{
    RUN(test_conv2d);
    RUN(test_groupnorm);
    RUN(test_layernorm);
    RUN(test_activate);
    RUN(test_attend);
}

int main(void)
{
    static const char *const dtypes[] = {"f32", "bf16"};
    for (int t = 0; t < 2; t++)
        for (int i = 0; (test_note = mot_kernels_cpu_set(dtypes[t], i)); i++) {
            char err[200];
            bf16 = t == 1;
            cpu = mot_kernels_cpu(test_note, dtypes[t], err, sizeof err);
            if (cpu)
                test_all();
            else
                printf("skip %s: %s\n", test_note, err);
        }
    for (int t = 0; t < 2; t++) { /* these are float in both */
        char err[200];
        bf16 = false;
        test_note = t ? "cuda-bf16" : "cuda-f32";
        cpu = mot_kernels_cuda(dtypes[t], err, sizeof err);
        if (cpu)
            test_all();
        else
            printf("skip %s: %s\n", test_note, err);
    }
    return test_end();
}
