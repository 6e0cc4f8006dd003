/* SPDX-License-Identifier: MIT
 *
 * test_diffusion.c - levels of noise and the steps of samplers.
 *
 * Numbers of DDPM and DDIM are those of diffusers' schedulers with their tables in double precision
 * (squaredcos_cap_v2, no clipping, timesteps spaced "trailing").
 */
#include "../../lib/model/model.h"
#include "../test.h"

static const struct mot_diffusion ddpm = {MOT_DDPM, 1000, 1}, flow = {MOT_FLOW, 1000, 1};

static struct mot_levels levels_of(const struct mot_diffusion *d)
{
    struct mot_levels l;
    CHECK_INT(mot_levels_new(&l, d), MOT_OK);
    return l;
}

static struct mot_level timestep(const struct mot_levels *l, int64_t i)
{
    return mot_level_at(l, ((double)i + 0.5) / 1000);
}

static void test_schedule(void)
{
    static const struct { int64_t i; double kept; } table[] = {
        {0, 0.999958715775178}, {1, 0.9999125759273678}, {250, 0.8458879864968832}, {500, 0.49228517244880304},
        {998, 2.4287669070348544e-06}, {999, 2.4287669070348567e-09}};
    struct mot_levels l = levels_of(&ddpm);
    for (int k = 0; k < MOT_COUNT(table); k++) {
        struct mot_level a = timestep(&l, table[k].i);
        CHECK_NEAR(a.signal * a.signal, table[k].kept, 0, 1e-12);
        CHECK_NEAR(a.signal * a.signal + a.noise * a.noise, 1, 1e-15, 0);
        CHECK_NEAR(a.time, (double)table[k].i, 1e-12, 0);
    }
    CHECK_NEAR(mot_level_at(&l, 1).time, 999, 0, 0);
    mot_levels_free(&l);
    l = levels_of(&flow);
    struct mot_level a = mot_level_at(&l, 0.25);
    CHECK(a.signal == 0.75 && a.noise == 0.25 && a.time == 250);
    mot_levels_free(&l);
}

/* Steps of a sampler: all timesteps where there are as many, else evenly spaced from the last one on. */
static void test_steps(void)
{
    struct mot_levels l = levels_of(&ddpm);
    for (int64_t i = 0; i < 1000; i++)
        CHECK_NEAR(mot_level_step(&l, i, 1000).time, (double)(999 - i), 1e-9, 0);
    CHECK_NEAR(mot_level_step(&l, 0, 50).time, 999, 1e-9, 0);
    CHECK_NEAR(mot_level_step(&l, 1, 50).time, 979, 1e-9, 0);
    CHECK_NEAR(mot_level_step(&l, 49, 50).time, 19, 1e-9, 0);
    CHECK(mot_level_step(&l, 50, 50).signal == 1 && mot_level_step(&l, 50, 50).noise == 0);
    mot_levels_free(&l);
    struct mot_diffusion shifted = {MOT_FLOW, 1000, 3};
    l = levels_of(&shifted);
    CHECK_NEAR(mot_level_step(&l, 0, 4).t, 1, 1e-15, 0);
    CHECK_NEAR(mot_level_step(&l, 2, 4).t, 3 * 0.5 / (1 + 2 * 0.5), 1e-15, 0);
    mot_levels_free(&l);
}

static void step(const struct mot_levels *l, enum mot_way way, struct mot_level a, struct mot_level b, double expected[2])
{
    const float told[2] = {-0.7f, 0.4f};
    float x[2] = {0.3f, -1.2f};
    mot_denoise(l, way, a, b, 0, told, 2, 5, 6, x);
    for (int j = 0; j < 2; j++)
        CHECK_NEAR(x[j], expected[j], 1e-7, 2e-7);
}

static void test_samplers(void)
{
    struct mot_levels l = levels_of(&ddpm);
    step(&l, MOT_STRAIGHT, timestep(&l, 999), timestep(&l, 979), (double[]){631.6537424300044, -1011.3656387264878});
    step(&l, MOT_STRAIGHT, timestep(&l, 499), timestep(&l, 479), (double[]){0.34036501248155876, -1.2550201761021194});
    step(&l, MOT_STRAIGHT, timestep(&l, 19), mot_level_clean(), (double[]){0.3295503630332401, -1.2177858225928742});
    double noise[2] = {mot_random_normal(5, 6, 0), mot_random_normal(5, 6, 1)};
    step(&l, MOT_ANCESTRAL, timestep(&l, 250), timestep(&l, 249),
         (double[]){0.30256744938492686 + 0.036297967962295 * noise[0], -1.2021503664506552 + 0.036297967962295 * noise[1]});
    step(&l, MOT_ANCESTRAL, timestep(&l, 998), timestep(&l, 997),
         (double[]){1.6499984217422972 + 0.8660218982129844 * noise[0], -2.999996600364742 + 0.8660218982129844 * noise[1]});
    step(&l, MOT_ANCESTRAL, timestep(&l, 0), mot_level_clean(), (double[]){0.30450398176527294, -1.2025949364103508});
    mot_levels_free(&l);
    l = levels_of(&flow); /* Euler: x + (t_b - t_a) v */
    step(&l, MOT_STRAIGHT, mot_level_at(&l, 0.5), mot_level_at(&l, 0.3), (double[]){0.3 - 0.2 * -0.7, -1.2 - 0.2 * 0.4});
    mot_levels_free(&l);
}

/* Whoever is told the truth about a picture finds it in one step; clipping changes nothing that lies within. */
static void test_truth(void)
{
    enum { N = 100 };
    uint16_t picture[N];
    for (int j = 0; j < N; j++)
        picture[j] = mot_f16((float)(j - 50) / 50);
    const struct mot_diffusion *each[2] = {&ddpm, &flow};
    for (int k = 0; k < 2; k++)
        for (int clip = 0; clip < 2; clip++) {
            struct mot_levels l = levels_of(each[k]);
            float x[N], target[N];
            mot_noised(&l, mot_level_at(&l, 0.6), picture, N, 1, 2, x, target);
            mot_denoise(&l, MOT_STRAIGHT, mot_level_at(&l, 0.6), mot_level_clean(), clip, target, N, 0, 0, x);
            for (int j = 0; j < N; j++)
                CHECK_NEAR(x[j], mot_from_f16(picture[j]), 2e-6, 0);
            mot_levels_free(&l);
        }
}

/* Far-off estimates are brought back into the range, and the rest of x is then taken for noise. */
static void test_clip(void)
{
    struct mot_levels l = levels_of(&ddpm);
    const float told[1] = {3};
    float x[1] = {-4};
    struct mot_level a = timestep(&l, 700), b = timestep(&l, 600);
    mot_denoise(&l, MOT_STRAIGHT, a, b, 1, told, 1, 0, 0, x);
    CHECK_NEAR(x[0], b.signal * -1 + b.noise * (-4 + a.signal) / a.noise, 1e-6, 1e-6);
    mot_levels_free(&l);
}

/* What training draws: uniform timesteps for DDPM, the logistic of a normal for flow; below the limit. */
static void test_draws(void)
{
    enum { N = 20000 };
    struct mot_levels l = levels_of(&ddpm);
    double mean = 0, most = 0;
    for (uint64_t i = 0; i < N; i++) {
        double time = mot_level_draw(&l, 0.5, 3, 4, i).time;
        mean += time / N;
        most = fmax(most, time);
    }
    CHECK_NEAR(mean, 249.5, 4, 0);
    CHECK(most < 500 && most > 490);
    mot_levels_free(&l);
    struct mot_diffusion shifted = {MOT_FLOW, 1000, 3};
    l = levels_of(&shifted);
    int64_t below = 0;
    for (uint64_t i = 0; i < N; i++)
        below += mot_level_draw(&l, 1, 3, 4, i).t < 0.75; /* 0.75 = 3 u / (1 + 2 u) at u = 1/2, the median */
    CHECK_NEAR((double)below / N, 0.5, 0.015, 0);
    mot_levels_free(&l);
}

static void test_time_features(void)
{
    float f[MOT_TIME_FEATURES];
    mot_time_features(250, f);
    CHECK_NEAR(f[0], cos(250.0), 1e-6, 0);
    CHECK_NEAR(f[128], sin(250.0), 1e-6, 0);
    CHECK_NEAR(f[64], cos(250 / 100.0), 1e-6, 0); /* 10000^(-64/128) */
    CHECK_NEAR(f[255], sin(250 * pow(10000, -127.0 / 128)), 1e-6, 0);
}

int main(void)
{
    RUN(test_schedule);
    RUN(test_steps);
    RUN(test_samplers);
    RUN(test_truth);
    RUN(test_clip);
    RUN(test_draws);
    RUN(test_time_features);
    return test_end();
}
