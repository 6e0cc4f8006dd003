/* SPDX-License-Identifier: MIT
 *
 * quality.c - how near a picture or a sound comes back: figures that do not depend on the codec.
 */
#include <math.h>

#include "dsp.h"

double mot_image_psnr(const struct mot_image *a, const struct mot_image *b)
{
    if (a->width != b->width || a->height != b->height || a->width < 1 || a->height < 1)
        return NAN;
    size_t n = (size_t)a->width * (size_t)a->height * 3;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - (double)b->rgb[i];
        sum += d * d;
    }
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : (double)INFINITY;
}

enum { BANDS = 80 };

/* Levels in dB over the clip's mean power, floored 60 dB below it; silence: all at the floor. */
static int levels(const struct mot_audio *a, int64_t frames, float *out)
{
    int rc = mot_mel(a->sample, a->n, frames, BANDS, out);
    double mean = 0;
    for (int64_t i = 0; i < frames * BANDS; i++)
        mean += (double)out[i];
    mean /= (double)(frames * BANDS);
    for (int64_t i = 0; i < frames * BANDS; i++)
        out[i] = mean > 0 ? fmaxf(10 * log10f((float)((double)out[i] / mean) + 1e-12f), -60) : -60;
    return rc;
}

int mot_speech_distance(const struct mot_audio *a, const struct mot_audio *b, double *db)
{
    struct mot_audio x = {0}, y = {0};
    int rc = mot_sound_prepare(a, &x);
    if (!rc)
        rc = mot_sound_prepare(b, &y);
    int64_t longer = x.n > y.n ? x.n : y.n, frames = (longer + MOT_HOP - 1) / MOT_HOP;
    float *p = mot_alloc((size_t)frames, BANDS * sizeof *p),
          *q = mot_alloc((size_t)frames, BANDS * sizeof *q);
    if (!rc && frames == 0)
        rc = mot_fail(MOT_EARG, "two empty sounds have no distance");
    if (!rc && (!p || !q))
        rc = MOT_ENOMEM;
    if (!rc)
        rc = levels(&x, frames, p);
    if (!rc)
        rc = levels(&y, frames, q);
    double sum = 0;
    for (int64_t f = 0; !rc && f < frames; f++) {
        double square = 0;
        for (int k = 0; k < BANDS; k++) {
            double d = (double)p[f * BANDS + k] - (double)q[f * BANDS + k];
            square += d * d;
        }
        sum += sqrt(square / BANDS);
    }
    *db = rc ? NAN : sum / (double)frames;
    mot_free(p);
    mot_free(q);
    mot_audio_free(&x);
    mot_audio_free(&y);
    return rc;
}

/* ---- structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004) ---- */

enum { WINDOW = 11 };
static const double SPREAD = 1.5;

/* Weights of a line of the window; windows are no larger than the picture. */
static int make_window(int width, int height, double *w)
{
    int n = width < height ? width : height;
    double sum = 0;
    n = n < WINDOW ? n : WINDOW;
    for (int i = 0; i < n; i++) {
        double x = i - (n - 1) / 2.0;
        w[i] = exp(-x * x / (2 * SPREAD * SPREAD));
        sum += w[i];
    }
    for (int i = 0; i < n; i++)
        w[i] /= sum;
    return n;
}

static double luma(const struct mot_image *im, int x, int y)
{
    const unsigned char *p = im->rgb + 3 * ((size_t)y * (size_t)im->width + (size_t)x);
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

static double window_similarity(const struct mot_image *a, const struct mot_image *b, int x0, int y0, const double *w, int n)
{
    const double c1 = 0.01 * 255 * 0.01 * 255, c2 = 0.03 * 255 * 0.03 * 255;
    double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            double p = luma(a, x0 + x, y0 + y), q = luma(b, x0 + x, y0 + y), weight = w[x] * w[y];
            ma += weight * p, mb += weight * q;
            aa += weight * p * p, bb += weight * q * q, ab += weight * p * q;
        }
    double va = fmax(aa - ma * ma, 0), vb = fmax(bb - mb * mb, 0), cov = ab - ma * mb;
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
}

double mot_image_ssim(const struct mot_image *a, const struct mot_image *b)
{
    double w[WINDOW], sum = 0;
    if (a->width != b->width || a->height != b->height || a->width < 1 || a->height < 1)
        return NAN;
    int n = make_window(a->width, a->height, w), across = a->width - n + 1, down = a->height - n + 1;
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            sum += window_similarity(a, b, x, y, w, n);
    return sum / ((double)across * down);
}
