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
