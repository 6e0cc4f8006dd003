/* SPDX-License-Identifier: MIT
 *
 * hubert.h - sounds as units by a HuBERT (Hsu et al. 2021) or wav2vec 2.0 encoder and k-means over one layer's features.
 */
#ifndef MOT_HUBERT_H
#define MOT_HUBERT_H

#include "codec.h"

struct mot_hubert;
/* The encoder in `from` (net.h), of Hugging Face's names; its config.json (and preprocessor_config.json) stand beside it,
 * or config names the first.  layer: whose output, 0 for what enters the first
 * (hidden_states[layer] in `transformers`); < 0: what the encoder gives, its last norm included (last_hidden_state). */
struct mot_hubert *mot_hubert_open(const char *from, const char *config, int layer) MOT_CHECKED;
/* From a file that mot_hubert_save wrote; it has centres. */
struct mot_hubert *mot_hubert_load(const char *path) MOT_CHECKED;
void mot_hubert_free(struct mot_hubert *h);
/* Run there from now on; at first it is the CPU.  Once, before the first sound. */
int mot_hubert_send(struct mot_hubert *h, const struct mot_kernels *k) MOT_CHECKED;
int mot_hubert_width(const struct mot_hubert *h); /* of a feature */
int mot_hubert_size(const struct mot_hubert *h);  /* how many units there are; 0: no centres yet */
/* The sound's features, a row each 20 ms, at the layer: *x (*n, width) is the caller's.  Any number of threads may call
 * these at once; each call uses as many OpenMP threads as its caller may. */
int mot_hubert_features(struct mot_hubert *h, const struct mot_audio *a, float **x, int64_t *n) MOT_CHECKED;
int mot_hubert_encode(struct mot_hubert *h, const struct mot_audio *a, struct mot_ids *out) MOT_CHECKED;
/* Centres (units, width) from a .safetensors file whose only tensor of that width they are. */
int mot_hubert_read_centres(struct mot_hubert *h, const char *path) MOT_CHECKED;
int mot_hubert_set_centres(struct mot_hubert *h, const float *centre, int units) MOT_CHECKED;
/* Write a codec: the net up to the layer, and the centres; h was opened, not loaded. */
int mot_hubert_save(struct mot_hubert *h, bool merge_repeats, const char *path) MOT_CHECKED;

#endif
