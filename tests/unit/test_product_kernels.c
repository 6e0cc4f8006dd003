/* SPDX-License-Identifier: MIT
 *
 * test_product_kernels.c - products of matrices, and the head with its loss, against the reference: kernel_case.h.
 * Other inputs than those of kernel_case.h, which rounding does not change, are compared with their own roundings
 * (test_rounding); what the head itself makes and rounds has a tolerance of its own.
 */
#include "kernel_case.h"

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

/* What is not finite must stay so: a training that diverges has to show. */
static void test_not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const int64_t shape[3] = {3, 16, 600};
    for (int k = 0; k < 3; k++)
        for (int threads = 1; threads < 3; threads++)
            for (int grad = 0; grad < 2; grad++) {
                float *found[MOST_OUTPUTS];
                struct inputs in = head_inputs(shape, 1);
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
}

static void test_all(void)
{
    RUN(test_linear);
    RUN(test_linear_back);
    if (bf16 && gpu)
        RUN(test_linear_either_way);
    if (bf16 && !gpu)
        RUN(test_rounding);
    RUN(test_logits);
    RUN(test_company);
    RUN(test_head_loss);
    if (!gpu) /* the shim holds so little that test_head_loss has blocks; there, this takes long */
        RUN(test_head_loss_blocks);
    RUN(test_not_finite);
}

/* With a word, only the backends whose names contain it. */
int main(int argc, char **argv)
{
    test_backends(argc > 1 ? argv[1] : "", test_all);
    return test_end();
}
