/* SPDX-License-Identifier: MIT
 *
 * test_kernels.c - the cpu and the cuda kernels against the reference ones, operation by operation: what works on rows, the
 * optimizer, and memory.  Attention and products have tests of their own; kernel_case.h says how they compare.
 */
#include "kernel_case.h"

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
    for (int k = 0; k < 3; k++)
        for (int threads = 1; threads < 3; threads++) {
            float *found[MOST_OUTPUTS];
            struct inputs in = {.N = 1, .F = 2};
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
    RUN(test_rope);
    RUN(test_patches);
    RUN(test_unfold);
    RUN(test_swiglu);
    RUN(test_optimizer);
    RUN(test_clip);
    RUN(test_not_finite);
}

/* With a word, only the backends whose names contain it. */
int main(int argc, char **argv)
{
    RUN(test_selection);
    test_backends(argc > 1 ? argv[1] : "", test_all);
    return test_end();
}
