/* SPDX-License-Identifier: MIT
 *
 * test_attention_kernels.c - attention, and that to a past, against the reference: kernel_case.h.
 */
#include "kernel_case.h"

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

/* What is not finite must stay so: a training that diverges has to show. */
static void test_not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const int64_t shape[6] = {64, 1, 1, 16, WHOLE};
    for (int k = 0; k < 3; k++)
        for (int threads = 1; threads < 3; threads++) {
            float *found[MOST_OUTPUTS];
            struct inputs in = attention_inputs(shape);
            in.q[40 * in.D + 3] = bad[k];
            output_act(&in, in.N * in.D, false);
            output(&in, in.N, false);
            run_once(cpu, threads, &in, op_attention, found);
            for (int64_t s = 0; s < in.N; s++)
                CHECK(isfinite(found[0][GUARD + in.row[s] * in.D]) == (s != 40));
            free_all();
        }
}

static void test_all(void)
{
    RUN(test_attention);
    RUN(test_attention_extremes);
    RUN(test_past);
    RUN(test_alone);
    RUN(test_not_finite);
}

/* With a word, only the backends whose names contain it. */
int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    test_backends(word, test_all);
    /* What a GPU of compute capability 9.0 has two kernels for: the others too. */
    char err[200] = "";
    const struct mot_kernels *k = mot_kernels_cuda("bf16", err, sizeof err);
    if (k && strstr("cuda-bf16", word)) {
        setenv("MOT_CUDA", "sm_80", 1);
        test_note = "cuda-bf16, sm_80's kernels";
        cpu = k;
        RUN(test_attention);
        RUN(test_attention_extremes);
        unsetenv("MOT_CUDA");
    }
    return test_end();
}
