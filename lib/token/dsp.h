/* SPDX-License-Identifier: MIT
 *
 * dsp.h - sounds as mel spectrograms and back, at 16 kHz in frames of 10 ms.
 */
#ifndef MOT_DSP_H
#define MOT_DSP_H

#include "../base/base.h"

enum {
    MOT_RATE = 16000,
    MOT_HOP = 160,    /* samples from frame to frame: 10 ms */
    MOT_WINDOW = 400, /* samples a frame looks at: 25 ms */
    MOT_FFT = 512,
    MOT_BINS = MOT_FFT / 2 + 1,
    MOT_MAX_BANDS = 128
};

/* Bring a sound to MOT_RATE, with NaN and infinities as silence; *out is the caller's. */
int mot_sound_prepare(const struct mot_audio *a, struct mot_audio *out) MOT_CHECKED;
/* Mean power a bin of `frames` frames in `bands` mel bands, out (frames, bands); frame f is centred
 * on sample f HOP + HOP / 2; outside [0, n) there is silence. */
int mot_mel(const float *x, int64_t n, int64_t frames, int bands, float *out) MOT_CHECKED;
/* Samples (frames * HOP) whose mel powers are about mel (frames, bands): phases by Griffin and Lim
 * (1984) with momentum (Perraudin, Balazs, Sondergaard 2013). The same input gives the same sound.
 */
int mot_mel_invert(const float *mel, int64_t frames, int bands, float *out) MOT_CHECKED;

#endif
