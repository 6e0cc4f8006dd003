/* SPDX-License-Identifier: MIT
 *
 * diffusion.c - levels of noise: how a picture looks at one, what is to be told about it, and the ways back.
 *
 * At every level x = signal x0 + noise e, with e of mean 0 and variance 1.
 *   DDPM (Ho et al. 2020): signal^2 = a(i), noise^2 = 1 - a(i) at timestep i of `steps`; the model tells e.
 *     a(i) = prod_{j <= i} (1 - b(j)), b(j) = min(1 - f(j + 1) / f(j), 0.999), f(j) = cos^2((j / steps + .008) / 1.008 pi / 2)
 *     (the cosine schedule of Nichol & Dhariwal 2021).
 *   Flow (Liu et al. 2022): signal = 1 - t, noise = t; the model tells the velocity e - x0.
 * What the model told is at once an estimate of x0 and one of e, which is all that any sampler uses.
 */
#include <math.h>

#include "model.h"

static const double pi = 3.14159265358979323846;

static double f(const struct mot_diffusion *d, int64_t j)
{
    double c = cos(((double)j / (double)d->steps + 0.008) / 1.008 * pi / 2);
    return c * c;
}

int mot_levels_new(struct mot_levels *l, const struct mot_diffusion *d)
{
    *l = (struct mot_levels){.d = *d};
    if (d->objective != MOT_DDPM)
        return MOT_OK;
    l->kept = mot_alloc((size_t)d->steps, sizeof *l->kept);
    if (!l->kept)
        return MOT_ENOMEM;
    double a = 1;
    for (int64_t i = 0; i < d->steps; i++)
        l->kept[i] = a *= 1 - fmin(1 - f(d, i + 1) / f(d, i), 0.999);
    return MOT_OK;
}

void mot_levels_free(struct mot_levels *l)
{
    mot_free(l->kept);
    *l = (struct mot_levels){0};
}

struct mot_level mot_level_clean(void)
{
    return (struct mot_level){.signal = 1};
}

/* The level at t of [0, 1]; DDPM's are its timesteps, of which the last is at 1. */
struct mot_level mot_level_at(const struct mot_levels *l, double t)
{
    if (l->d.objective == MOT_FLOW)
        return (struct mot_level){.t = t, .time = 1000 * t, .signal = 1 - t, .noise = t};
    int64_t i = (int64_t)floor(t * (double)l->d.steps);
    i = i < 0 ? 0 : i < l->d.steps ? i : l->d.steps - 1;
    return (struct mot_level){.t = t,
                              .time = 1000 * (double)i / (double)l->d.steps,
                              .signal = sqrt(l->kept[i]),
                              .noise = sqrt(1 - l->kept[i])};
}

/* A level as training draws it, below `limit` of the way to noise. */
struct mot_level mot_level_draw(const struct mot_levels *l, double limit, uint64_t seed, uint64_t stream, uint64_t index)
{
    if (l->d.objective == MOT_DDPM)
        return mot_level_at(l, limit * mot_random_uniform(seed, stream, index));
    double u = 1 / (1 + exp(-mot_random_normal(seed, stream, index))), s = l->d.shift;
    return mot_level_at(l, limit * (s * u / (1 + (s - 1) * u)));
}

/* Levels of a sampler: the i-th of n, from pure noise (0) on; behind the last the picture is clean. */
struct mot_level mot_level_step(const struct mot_levels *l, int64_t i, int64_t n)
{
    if (i >= n)
        return mot_level_clean();
    double u = (double)(n - i) / (double)n, s = l->d.shift;
    if (l->d.objective == MOT_FLOW)
        return mot_level_at(l, s * u / (1 + (s - 1) * u));
    /* evenly spaced timesteps, the last one of each share, so that n = steps visits them all */
    int64_t step = ((n - i) * l->d.steps + n - 1) / n - 1;
    return mot_level_at(l, ((double)step + 0.5) / (double)l->d.steps);
}

void mot_noised(const struct mot_levels *l, struct mot_level level, const uint16_t *picture, int64_t n, uint64_t seed,
                uint64_t stream, float *x, float *target)
{
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < n; j++) {
        double x0 = (double)mot_from_f16(picture[j]), e = mot_random_normal(seed, stream, (uint64_t)j);
        x[j] = (float)(level.signal * x0 + level.noise * e);
        target[j] = (float)(l->d.objective == MOT_DDPM ? e : e - x0);
    }
}

/* x0 and e, from what the model told at (x, level). */
static void estimate(const struct mot_levels *l, struct mot_level a, double x, double told, double clip, double *x0, double *e)
{
    bool ddpm = l->d.objective == MOT_DDPM;
    *e = ddpm ? told : x + a.signal * told;
    *x0 = ddpm ? (x - a.noise * told) / a.signal : x - a.noise * told;
    if (clip > 0 && fabs(*x0) > clip) { /* no picture goes so far; then the rest of x must be noise */
        *x0 = *x0 < 0 ? -clip : clip;
        *e = (x - a.signal * *x0) / a.noise;
    }
}

void mot_denoise(const struct mot_levels *l, enum mot_way way, struct mot_level a, struct mot_level b, double clip,
                 const float *told, int64_t n, uint64_t seed, uint64_t stream, float *x)
{
    double ratio = a.signal * a.signal / (b.signal * b.signal), va = a.noise * a.noise, vb = b.noise * b.noise;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < n; j++) {
        double x0, e, was = (double)x[j];
        estimate(l, a, was, (double)told[j], clip, &x0, &e);
        if (way == MOT_ANCESTRAL) { /* DDPM's posterior of x at b, given x0 and x at a */
            double mean = b.signal * (1 - ratio) / va * x0 + sqrt(ratio) * vb / va * was;
            double spread = sqrt((1 - ratio) * vb / va);
            x[j] = (float)(mean + (spread > 0 ? spread * mot_random_normal(seed, stream, (uint64_t)j) : 0));
        } else { /* along the straight way: DDIM's step for DDPM, Euler's for flow */
            x[j] = (float)(b.signal * x0 + b.noise * e);
        }
    }
}

void mot_time_features(double time, float *out)
{
    int half = MOT_TIME_FEATURES / 2;
    for (int k = 0; k < half; k++) {
        double angle = time * exp(-log(10000.0) * k / half);
        out[k] = (float)cos(angle);
        out[half + k] = (float)sin(angle);
    }
}
