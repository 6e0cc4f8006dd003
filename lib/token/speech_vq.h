/* SPDX-License-Identifier: MIT
 *
 * speech_vq.h - the embedded speech codec behind codec.h's functions of the same names.
 */
#ifndef MOT_SPEECH_VQ_H
#define MOT_SPEECH_VQ_H

#include "codec.h"

struct mot_speech_vq;
struct mot_speech_vq *mot_speech_vq_load(const char *path) MOT_CHECKED;
void mot_speech_vq_free(struct mot_speech_vq *c);
int mot_speech_vq_size(const struct mot_speech_vq *c);
int mot_speech_vq_rate(const struct mot_speech_vq *c);
int mot_speech_vq_encode(const struct mot_speech_vq *c, const struct mot_audio *a, struct mot_ids *out) MOT_CHECKED;
int mot_speech_vq_decode(const struct mot_speech_vq *c, const int32_t *code, int64_t n, struct mot_audio *out) MOT_CHECKED;

struct mot_speech_vq_learner;
struct mot_speech_vq_learner *mot_speech_vq_learner_new(int units, bool merge_repeats, uint64_t seed) MOT_CHECKED;
int mot_speech_vq_learner_add(struct mot_speech_vq_learner *l, const struct mot_audio *a) MOT_CHECKED;
int mot_speech_vq_learner_save(struct mot_speech_vq_learner *l, const char *path, mot_progress *progress,
                               void *context) MOT_CHECKED;
void mot_speech_vq_learner_free(struct mot_speech_vq_learner *l);

#endif
