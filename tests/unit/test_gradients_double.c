/* SPDX-License-Identifier: MIT
 *
 * test_gradients_double.c - every gradient of the reference kernels against central differences.
 *
 * Compiled with mot_real = double.  A case is a function f from one array of doubles, all inputs of
 * an operation one after the other, to one array of outputs; the objective is sum_k r_k f_k with
 * random r. Its gradient by the operation's _back must match (f(x + h) - f(x - h)) / 2h for every
 * input. Gradients that are added to are made onto random numbers, which are taken off again.
 * Values of a few operations are checked against their formulas in another form as well.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "../../kernels/kernels.h"
#include "../test.h"

static const struct mot_kernels *const b = &mot_kernels_ref;
static struct mot_device *d;

static uint64_t state;

static double uniform(void) /* in [-1, 1), splitmix64 (Steele et al. 2014) */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

static double *numbers(int64_t n)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x)
        abort();
    for (int64_t i = 0; i < n; i++)
        x[i] = uniform();
    return x;
}

/* The outputs of a case from its inputs, and the gradient of its objective, added onto dx or
 * overwriting it as the operation does. */
typedef void forward(double *y, const double *x);
typedef void backward(double *dx, const double *dy, const double *x);

/* `added` tells of each input whether its gradient is added to: 'a', or overwritten: 'o'. */
static void check(const char *what, forward *f, backward *back, int64_t n_x, int64_t n_y,
                  const char *added, const int64_t *sizes)
{
    double *x = numbers(n_x), *dy = numbers(n_y), *dx = numbers(n_x), *before = numbers(n_x);
    double *y = numbers(n_y);
    memcpy(dx, before, (size_t)n_x * sizeof *dx);
    int64_t end = 0;
    for (int k = 0; added[k]; k++) {
        for (int64_t i = end; i < end + sizes[k]; i++)
            if (added[k] == 'o') {
                dx[i] = NAN;
                before[i] = 0;
            }
        end += sizes[k];
    }
    CHECK_INT(end, n_x);
    back(dx, dy, x);
    int64_t bad = 0;
    for (int64_t i = 0; i < n_x; i++) {
        /* Five points: the error is of order h^4, and h^4 = 10^-12 leaves rounding of 10^-13 / h.
         * */
        const double h = 1e-3, old = x[i];
        double slope = 0;
        static const double at[] = {-2, -1, 1, 2}, weight[] = {1, -8, 8, -1};
        for (int k = 0; k < 4; k++) {
            x[i] = old + at[k] * h;
            f(y, x);
            for (int64_t j = 0; j < n_y; j++)
                slope += weight[k] * dy[j] * y[j] / (12 * h);
        }
        x[i] = old;
        double found = dx[i] - before[i];
        if (!(fabs(found - slope) <= 1e-8 + 1e-7 * fabs(slope)) && bad++ == 0)
            fprintf(stderr, "%s: input %lld: %.12g, by differences %.12g\n", what, (long long)i,
                    found, slope);
    }
    CHECK_INT(bad, 0);
    free(x), free(dy), free(dx), free(before), free(y);
}

/* Sizes of the case under test; small, odd, and different from each other. */
static const struct mot_limits limits = {
    .N = 13, .segment = 13, .C = 17, .H = 6, .K = 6, .D = 16, .F = 9, .V = 19, .G = 5, .train = 1};

/* -- embedding --------------------------------------------------------------------------------- */

static const int32_t id[7] = {3, 0, 3, 4, 1, 3, 0};

static void embed(double *y, const double *x)
{
    b->embed(d, y, x, id, 7, 3, 5);
}

static void embed_back(double *dx, const double *dy, const double *x)
{
    (void)x;
    b->embed_back(d, dx, dy, id, 7, 3, 5);
}

static void test_embed(void)
{
    check("embed", embed, embed_back, 15, 21, "a", (int64_t[]){15});
}

/* -- norms: five groups, one empty, two that share a weight ------------------------------------ */

enum { NN = 9, NC = 5 };
static const struct mot_group norm_groups[5] = {
    {0, 2, 0, -1, 0, 0}, {2, 0, 5, -1, 0, 0}, {2, 3, 10, -1, 0, 0}, {5, 1, 5, -1, 0, 0}, {6, 3, 0, -1, 0, 0},
};
static double norm_rstd[NN];
static int norm_add;

/* Inputs: x (NN,NC), residual (NN,NC), weights (3,NC). */
static void rmsnorm(double *y, const double *x)
{
    b->rmsnorm(d, y, norm_rstd, x, x + NN * NC, x + 2 * NN * NC, norm_groups, 5, NC, 1e-3);
}

static void rmsnorm_back(double *dx, const double *dy, const double *x)
{
    double y[NN * NC];
    rmsnorm(y, x);
    const double *w = x + 2 * NN * NC;
    b->rmsnorm_back(d, dx, dx + 2 * NN * NC, dy, x, norm_rstd, w, norm_groups, 5, NC, norm_add);
    for (int i = 0; i < NN * NC; i++) /* the residual's is dy itself, as the contract says */
        dx[NN * NC + i] = dy[i];
}

/* dx made in place of dy. */
static void rmsnorm_back_onto(double *dx, const double *dy, const double *x)
{
    double y[NN * NC];
    rmsnorm(y, x);
    memcpy(dx, dy, NN * NC * sizeof *dx);
    b->rmsnorm_back(d, dx, dx + 2 * NN * NC, dx, x, norm_rstd, x + 2 * NN * NC, norm_groups, 5, NC,
                    0);
    for (int i = 0; i < NN * NC; i++)
        dx[NN * NC + i] = dy[i];
}

static void test_rmsnorm(void)
{
    const int64_t sizes[] = {NN * NC, NN * NC, 3 * NC};
    int64_t n = 2 * NN * NC + 3 * NC;
    norm_add = 0;
    check("rmsnorm", rmsnorm, rmsnorm_back, n, NN * NC, "ooa", sizes);
    norm_add = 1;
    check("rmsnorm, added", rmsnorm, rmsnorm_back, n, NN * NC, "aoa", sizes);
    check("rmsnorm, in place", rmsnorm, rmsnorm_back_onto, n, NN * NC, "ooa", sizes);
}

/* -- linear ------------------------------------------------------------------------------------ */

enum { LN = 9, LI = 4, LO = 3, LW = LI * LO + LO };
static const struct mot_group linear_groups[5] = {
    {0, 2, 0, LI *LO, 0, 0},       {2, 0, LW, LW + LI *LO, 0, 0}, {2, 3, 2 * LW, -1, 0, 0},
    {5, 1, LW, LW + LI *LO, 0, 0}, {6, 3, 0, LI *LO, 0, 0},
};
static int linear_add;

/* Inputs: x (LN,LI), three weights with their biases (the third's is not used). */
static void linear(double *y, const double *x)
{
    for (int i = 0; i < LN * LO; i++)
        y[i] = linear_add ? 0.5 : NAN;
    b->linear(d, y, x, x + LN * LI, linear_groups, 5, LI, LO, linear_add);
}

static void linear_back(double *dx, const double *dy, const double *x)
{
    b->linear_back_x(d, dx, dy, x + LN * LI, linear_groups, 5, LI, LO, linear_add);
    b->linear_back_w(d, dx + LN * LI, dy, x, linear_groups, 5, LI, LO);
}

static void test_linear(void)
{
    for (linear_add = 0; linear_add < 2; linear_add++)
        check("linear", linear, linear_back, LN * LI + 3 * LW, LN * LO, linear_add ? "aa" : "oa",
              (int64_t[]){LN * LI, 3 * LW});
}

/* -- rope: some groups with norms, two sharing them -------------------------------------------- */

enum { RN = 7, RH = 4, RK = 2, RD = 6, RP = 5, RX = RN * (RH + 2 * RK) * RD };
static const struct mot_group rope_groups[5] = {
    {0, 2, 0, RD, 0, 0}, {2, 0, 2 * RD, 3 * RD, 0, 0}, {2, 2, -1, -1, 0, 0}, {4, 1, 2 * RD, 3 * RD, 0, 0}, {5, 2, 0, RD, 0, 0},
};
static struct mot_group layer_groups[5]; /* the same with LayerNorms, (2H + 2K) D values each */
static const int32_t rope_seq[RN] = {4, 0, 6, 1, 5, 3, 2}, rope_pos[RN] = {0, 1, 4, 2, 2, 0, 3};
static double rope_cos[RP * RD / 2], rope_sin[RP * RD / 2];

static void rope(double *y, const double *x)
{
    b->rope(d, y, y + RH * RN * RD, y + (RH + RK) * RN * RD, x, x + RX, rope_groups, 5, rope_seq,
            rope_pos, rope_cos, rope_sin, RN, RH, RK, RD, MOT_HEAD_RMS, 1e-3);
}

static void rope_back(double *dx, const double *dy, const double *x)
{
    b->rope_back(d, dx, dx + RX, dy, dy + RH * RN * RD, dy + (RH + RK) * RN * RD, x, x + RX,
                 rope_groups, 5, rope_seq, rope_pos, rope_cos, rope_sin, RN, RH, RK, RD, MOT_HEAD_RMS,
                 1e-3);
}

static void layer_rope(double *y, const double *x)
{
    b->rope(d, y, y + RH * RN * RD, y + (RH + RK) * RN * RD, x, x + RX, layer_groups, 5, rope_seq,
            rope_pos, rope_cos, rope_sin, RN, RH, RK, RD, MOT_HEAD_LAYER, 1e-3);
}

static void layer_rope_back(double *dx, const double *dy, const double *x)
{
    b->rope_back(d, dx, dx + RX, dy, dy + RH * RN * RD, dy + (RH + RK) * RN * RD, x, x + RX,
                 layer_groups, 5, rope_seq, rope_pos, rope_cos, rope_sin, RN, RH, RK, RD,
                 MOT_HEAD_LAYER, 1e-3);
}

static void test_rope(void)
{
    for (int p = 0; p < RP; p++)
        for (int j = 0; j < RD / 2; j++) {
            rope_cos[p * RD / 2 + j] = cos(p * pow(10, -j));
            rope_sin[p * RD / 2 + j] = sin(p * pow(10, -j));
        }
    check("rope", rope, rope_back, RX + 4 * RD, RX, "oa", (int64_t[]){RX, 4 * RD});
    enum { NORM = 2 * (RH + RK) * RD };
    for (int k = 0; k < 5; k++) {
        layer_groups[k] = rope_groups[k];
        if (rope_groups[k].w >= 0) {
            layer_groups[k].w = rope_groups[k].w / (2 * RD) * NORM;
            layer_groups[k].b = layer_groups[k].w + 2 * RH * RD;
        }
    }
    check("rope with LayerNorm", layer_rope, layer_rope_back, RX + 2 * NORM, RX, "oa",
          (int64_t[]){RX, 2 * NORM});
}

/* A turn keeps lengths, and q k depends on the distance of the positions alone: the point of RoPE.
 * */
static void test_rope_distance(void)
{
    const struct mot_group g = {0, 4, -1, -1, 0, 0};
    const int32_t seq[4] = {0, 1, 2, 3}, pos[4] = {0, 2, 3, 5};
    double cosines[6 * 2], sines[6 * 2], x[4 * 3 * 4], q[16], k[16], v[16];
    for (int p = 0; p < 6; p++)
        for (int j = 0; j < 2; j++) {
            cosines[p * 2 + j] = cos(p * pow(10, -j));
            sines[p * 2 + j] = sin(p * pow(10, -j));
        }
    for (int i = 0; i < 12; i++) /* the same q, k, v in every row */
        x[i] = x[12 + i] = x[24 + i] = x[36 + i] = uniform();
    b->rope(d, q, k, v, x, NULL, &g, 1, seq, pos, cosines, sines, 4, 1, 1, 4,
            MOT_HEAD_RMS, 0);
    double first = 0, second = 0, length = 0, turned = 0;
    for (int j = 0; j < 4; j++) {
        first += q[4 + j] * k[j];       /* positions 2 and 0 */
        second += q[12 + j] * k[8 + j]; /* positions 5 and 3 */
        length += x[j] * x[j];
        turned += q[12 + j] * q[12 + j];
    }
    CHECK_NEAR(first, second, 1e-14, 1e-13);
    CHECK_NEAR(turned, length, 0, 1e-13);
}

/* -- attention: several segments, grouped queries ---------------------------------------------- */

enum { AN = 9, AH = 6, AK = 2, AD = 4, AQ = AH * AN * AD, AE = AK * AN * AD };
static const int32_t attention_row[AN] = {5, 0, 8, 2, 1, 7, 3, 6, 4};
static const struct mot_segment attention_segments[4] = {{0, 4}, {4, 1}, {5, 0}, {5, 4}};
static const int32_t causal[AN] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, pictures[AN] = {1, 3, 3, 4, 5, 8, 8, 8, 9};
static const int32_t *attention_until;
static double attention_o[AQ], attention_lse[AH * AN];

static void attention(double *y, const double *x)
{
    b->attention(d, y, attention_lse, x, x + AQ, x + AQ + AE, attention_row, attention_until, attention_segments, 4,
                 AN, AH, AK, AD, 0.7);
}

static void attention_back(double *dx, const double *dy, const double *x)
{
    attention(attention_o, x);
    b->attention_back(d, dx, dx + AQ, dx + AQ + AE, dy, attention_o, attention_lse, x, x + AQ,
                      x + AQ + AE, attention_row, attention_until, attention_segments, 4, AN, AH, AK, AD, 0.7);
}

static void test_attention(void)
{
    const int32_t *until[3] = {NULL, causal, pictures};
    for (int i = 0; i < 3; i++) {
        attention_until = until[i];
        check("attention", attention, attention_back, AQ + 2 * AE, AQ, "ooo", (int64_t[]){AQ, AE, AE});
    }
}

/* The first token of a segment sees itself alone; equal keys share evenly; lse is log sum exp. */
static void test_attention_values(void)
{
    double q[6] = {1, 2, 3, 4, 5, 6}, k[6] = {0}, v[6] = {1, 10, 2, 20, 6, 60}, o[6], lse[3];
    const int32_t row[3] = {2, 0, 1};
    const struct mot_segment segments[2] = {{0, 1}, {1, 2}};
    b->attention(d, o, lse, q, k, v, row, NULL, segments, 2, 3, 1, 1, 2, 1);
    static const double expected[6] = {2, 20, 4, 40, 1, 10};
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(o[i], expected[i], 0, 1e-14);
    CHECK_NEAR(lse[0], 0, 1e-14, 0);
    CHECK_NEAR(lse[2], log(2), 0, 1e-14);
}

/* -- pictures of vectors: rows 2 to 4 of six, in two pictures ------------------------------------ */

static const int32_t picture_of[6] = {0, 0, 1, 0, 1, 1};

static void spread(double *y, const double *x)
{
    memset(y, 0, 18 * sizeof *y);
    b->spread(d, y, x, picture_of, 2, 3, 3);
}

static void spread_back(double *dx, const double *dy, const double *x)
{
    (void)x;
    b->spread_back(d, dx, dy, picture_of, 2, 3, 2, 3);
}

/* Two rows of three pixels, and two channels. */
static const int32_t *near_of(void)
{
    static int32_t near[6 * 9];
    for (int i = 0; i < 6; i++)
        for (int t = 0; t < 9; t++) {
            int y = i / 3 + t / 3 - 1, x = i % 3 + t % 3 - 1;
            near[9 * i + t] = y < 0 || x < 0 || y > 1 || x > 2 ? -1 : 3 * y + x;
        }
    return near;
}

static void unfold(double *y, const double *x)
{
    b->unfold(d, y, x, near_of(), 6, 2);
}

static void unfold_back(double *dx, const double *dy, const double *x)
{
    (void)x;
    b->unfold_back(d, dx, dy, near_of(), 6, 2);
}

static const double error_target[8] = {1, -1, .5, 2, 0, 3, -2, .25}, error_weight[4] = {2, .5, -1, 3};

static void squared_error(double *y, const double *x)
{
    double loss[4];
    b->squared_error(d, loss, NULL, x, error_target, error_weight, 1, 2, 2);
    y[0] = error_weight[1] * loss[1] + error_weight[2] * loss[2];
}

static void squared_error_back(double *dx, const double *dy, const double *x)
{
    double loss[4];
    memset(dx, 0, 8 * sizeof *dx);
    b->squared_error(d, loss, dx, x, error_target, error_weight, 1, 2, 2);
    for (int i = 0; i < 8; i++)
        dx[i] *= dy[0];
}

static void silu(double *y, const double *x)
{
    b->silu(d, y, x, 9);
}

static void silu_back(double *dx, const double *dy, const double *x)
{
    b->silu_back(d, dx, dy, x, 9);
}

static void test_patches(void)
{
    check("spread", spread, spread_back, 6, 18, "o", (int64_t[]){6});
    check("unfold", unfold, unfold_back, 12, 108, "o", (int64_t[]){12});
    check("squared_error", squared_error, squared_error_back, 8, 1, "o", (int64_t[]){8});
    check("silu", silu, silu_back, 9, 9, "o", (int64_t[]){9});
    double one = 1, y;
    b->silu(d, &y, &one, 1);
    CHECK_NEAR(y, 1 / (1 + exp(-1.0)), 1e-15, 1e-15);
}

/* -- swiglu ------------------------------------------------------------------------------------ */

static void swiglu(double *y, const double *x)
{
    b->swiglu(d, y, x, 5, 7);
}

static void swiglu_back(double *dx, const double *dy, const double *x)
{
    b->swiglu_back(d, dx, dy, x, 5, 7);
}

static void swiglu_back_onto(double *dx, const double *dy, const double *x)
{
    memcpy(dx, x, 70 * sizeof *dx);
    b->swiglu_back(d, dx, dy, dx, 5, 7);
}

static void test_swiglu(void)
{
    check("swiglu", swiglu, swiglu_back, 70, 35, "o", (int64_t[]){70});
    check("swiglu, in place", swiglu, swiglu_back_onto, 70, 35, "o", (int64_t[]){70});
    double gu[2] = {2, 3}, h;
    b->swiglu(d, &h, gu, 1, 1);
    CHECK_NEAR(h, 6 / (1 + exp(-2)), 0, 1e-15);
}

/* -- head: the objective is the contract's own, so dy is not used ------------------------------ */

enum { HN = 6, HC = 4, HV = 9 };
static const int32_t head_target[HN] = {3, 8, 0, 3, 5, 1};
static const double head_weight[HN] = {1, 0.25, 0, -0.5, 2, 0.125};
static double head_zloss;

static void head(double *y, const double *x)
{
    double nll[HN], lse[HN];
    b->head_loss(d, nll, lse, NULL, NULL, x, x + HN * HC, head_target, NULL, 0, HN, HC, HV);
    y[0] = 0;
    for (int i = 0; i < HN; i++)
        y[0] += head_weight[i] * (nll[i] + head_zloss * lse[i] * lse[i]);
}

static void head_back(double *dx, const double *dy, const double *x)
{
    double nll[HN], lse[HN], weight[HN];
    for (int i = 0; i < HN; i++)
        weight[i] = head_weight[i] * dy[0];
    b->head_loss(d, nll, lse, dx, dx + HN * HC, x, x + HN * HC, head_target, weight, head_zloss, HN,
                 HC, HV);
}

static void test_head_loss(void)
{
    for (int k = 0; k < 2; k++) {
        head_zloss = k * 0.1;
        check("head_loss", head, head_back, HN * HC + HV * HC, 1, "oa",
              (int64_t[]){HN * HC, HV * HC});
    }
    /* Equal logits: every word costs log V. */
    double x[2] = {0, 0}, w[HV * 2] = {1, 2, 3}, nll, lse;
    const int32_t target = 4;
    b->head_loss(d, &nll, &lse, NULL, NULL, x, w, &target, NULL, 0, 1, 2, HV);
    CHECK_NEAR(nll, log(HV), 0, 1e-14);
    CHECK_NEAR(lse, log(HV), 0, 1e-14);
}

/* -- optimizer --------------------------------------------------------------------------------- */

/* The first step moves every weight by lr against the sign of its gradient, whatever its size, and
 * the decay comes beside it; then the recurrence as the paper writes it. */
static void test_adamw(void)
{
    double w[2] = {1, -2}, m[2] = {0}, v[2] = {0}, grad[2] = {1e-3, -50}, scale = 0.5;
    b->adamw(d, w, m, v, grad, 2, &scale, 0.1, 0.9, 0.999, 0, 0.01, 1);
    CHECK_NEAR(w[0], 1 - 0.1 * 0.01 * 1 - 0.1, 0, 1e-12);
    CHECK_NEAR(w[1], -2 + 0.1 * 0.01 * 2 + 0.1, 0, 1e-12);
    CHECK(grad[0] == 0 && grad[1] == 0);

    double weight = 0.3, m_1 = 0, v_1 = 0, g = 0;
    double expected = weight, first = 0, second = 0;
    scale = 1;
    for (int step = 1; step <= 20; step++) {
        double gradient = sin(step);
        g = gradient;
        b->adamw(d, &weight, &m_1, &v_1, &g, 1, &scale, 1e-2, 0.9, 0.95, 1e-8, 0.1, step);
        first = 0.9 * first + 0.1 * gradient;
        second = 0.95 * second + 0.05 * gradient * gradient;
        double unbiased = first / (1 - pow(0.9, step)), size = sqrt(second / (1 - pow(0.95, step)));
        expected -= 1e-2 * (unbiased / (size + 1e-8) + 0.1 * expected);
        CHECK_NEAR(weight, expected, 0, 1e-13);
    }
}

static void test_clip(void)
{
    double x[3] = {3, 0, -4}, sums[2], scale;
    b->sumsq(d, &sums[0], x, 3);
    b->sumsq(d, &sums[1], x, 0);
    CHECK_NEAR(sums[0], 25, 0, 0);
    CHECK_NEAR(sums[1], 0, 0, 0);
    b->clip(d, &scale, sums, 2, 1);
    CHECK_NEAR(scale, 1 / (5 + 1e-6), 0, 1e-15);
    b->clip(d, &scale, sums, 2, 10);
    CHECK_NEAR(scale, 1, 0, 0);
    b->clip(d, &scale, sums, 2, 0);
    CHECK_NEAR(scale, 1, 0, 0);
}

int main(void)
{
    char err[100];
    d = b->open(1, err, sizeof err);
    if (!d || b->reserve(d, &limits) != 0)
        return 1;
    RUN(test_embed);
    RUN(test_rmsnorm);
    RUN(test_linear);
    RUN(test_rope);
    RUN(test_rope_distance);
    RUN(test_attention);
    RUN(test_attention_values);
    RUN(test_patches);
    RUN(test_swiglu);
    RUN(test_head_loss);
    RUN(test_adamw);
    RUN(test_clip);
    b->close(d);
    return test_end();
}
