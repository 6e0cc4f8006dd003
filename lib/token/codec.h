/* SPDX-License-Identifier: MIT
 *
 * codec.h - the embedded codecs: pictures to codes and back, sounds to units and back, and how each
 * is learned from data.  A codec is one .safetensors file whose metadata holds all its settings;
 * loaded, it never changes, so any number of threads may use one.  A learner belongs to one thread;
 * while it learns it uses as many OpenMP threads as are allowed (omp_set_num_threads), with the
 * same result for any number.
 */
#ifndef MOT_CODEC_H
#define MOT_CODEC_H

#include "../../kernels/kernels.h"
#include "../base/base.h"

/* Told now and then while something is learned: what is being done and the share done, 0 to 1. */
typedef void mot_progress(void *context, const char *what, double share);

/* -- pictures (image_codec.c): squares, rows from the top, as codes (embedded: image_vq.c, a VQGAN: vqgan.c) or as vectors
 * (pixels: patches.c, a VAE: vae.c) -- */
struct mot_image_codec;
struct mot_image_codec *mot_image_codec_load(const char *path) MOT_CHECKED;
void mot_image_codec_free(struct mot_image_codec *c);
/* A net runs there from now on, before its first picture; others do not care. */
int mot_image_codec_send(struct mot_image_codec *c, const struct mot_kernels *k) MOT_CHECKED;
int mot_image_codec_size(const struct mot_image_codec *c);   /* how many codes there are; of vectors: 1 */
int mot_image_codec_tokens(const struct mot_image_codec *c); /* codes or vectors a picture */
double mot_image_codec_range(const struct mot_image_codec *c); /* of values of vectors; 0: not known */
bool mot_image_codec_grid(const struct mot_image_codec *c, struct mot_grid *g); /* of a picture's vectors; false: codes */
void mot_image_codec_describe(const struct mot_image_codec *c, char *text, size_t n);
bool mot_image_codec_decodes(const struct mot_image_codec *c);
int mot_image_codec_side(const struct mot_image_codec *c);   /* pictures are squares of so many pixels */
int mot_image_codec_patch(const struct mot_image_codec *c);  /* and tokens stand for squares of so many */
int mot_image_codec_cut(const struct mot_image_codec *c);    /* a vector is cut from so many pixels a side, of the net's; 0: codes */
/* The square that encode sees: shorter side resized to the codec's size, centre cropped; the resizing is the codec's own. */
int mot_image_codec_prepare(const struct mot_image_codec *c, const struct mot_image *im,
                            struct mot_image *out) MOT_CHECKED;
/* Appends mot_image_codec_tokens codes in [0, size).  This and the next are for codes, those after them for vectors. */
int mot_image_codec_encode(const struct mot_image_codec *c, const struct mot_image *im,
                           struct mot_ids *out) MOT_CHECKED;
/* Any n from 0 on: what a cut-short picture lacks is grey.  More than a picture's codes, or a code
 * out of range: MOT_EARG. */
int mot_image_codec_decode(const struct mot_image_codec *c, const int32_t *code, int64_t n,
                           struct mot_image *out) MOT_CHECKED;
/* Appends a picture. */
int mot_image_codec_encode_latent(const struct mot_image_codec *c, const struct mot_image *im,
                                  struct mot_latents *out) MOT_CHECKED;
/* Values are cut to those of pixels. */
int mot_image_codec_decode_latent(const struct mot_image_codec *c, const struct mot_grid *g, const uint16_t *value,
                                  struct mot_image *out) MOT_CHECKED;

struct mot_image_learner;
/* image_size 0: 64; patch_size 0: 8; codes 2 to 65536; image_size a multiple of patch_size. */
struct mot_image_learner *mot_image_learner_new(int codes, int image_size, int patch_size,
                                                uint64_t seed) MOT_CHECKED;
int mot_image_learner_add(struct mot_image_learner *l, const struct mot_image *im) MOT_CHECKED;
/* Learn and write the file (atomically); progress may be NULL.  No picture was added: MOT_EARG. */
int mot_image_learner_save(struct mot_image_learner *l, const char *path, mot_progress *progress,
                           void *context) MOT_CHECKED;
void mot_image_learner_free(struct mot_image_learner *l);

/* -- sounds (speech_codec.c; embedded: speech_vq.c, units of 40 ms; a HuBERT: hubert.c, of 20 ms) -- */
struct mot_speech_codec;
struct mot_speech_codec *mot_speech_codec_load(const char *path) MOT_CHECKED;
void mot_speech_codec_free(struct mot_speech_codec *c);
int mot_speech_codec_send(struct mot_speech_codec *c, const struct mot_kernels *k) MOT_CHECKED; /* as pictures' */
int mot_speech_codec_size(const struct mot_speech_codec *c); /* how many units there are */
void mot_speech_codec_describe(const struct mot_speech_codec *c, char *text, size_t n);
bool mot_speech_codec_decodes(const struct mot_speech_codec *c);
int mot_speech_codec_rate(const struct mot_speech_codec *c); /* of what decode gives, in Hz */
/* Appends one unit for each 40 ms begun, or as many as a HuBERT gives (fewer where the codec merges repeats); any rate,
 * level and length; no samples, no units. */
int mot_speech_codec_encode(const struct mot_speech_codec *c, const struct mot_audio *a,
                            struct mot_ids *out) MOT_CHECKED;
/* A HuBERT's units cannot be decoded: MOT_EARG. */
int mot_speech_codec_decode(const struct mot_speech_codec *c, const int32_t *code, int64_t n,
                            struct mot_audio *out) MOT_CHECKED;

struct mot_speech_learner;
/* units 2 to 65536. */
struct mot_speech_learner *mot_speech_learner_new(int units, bool merge_repeats,
                                                  uint64_t seed) MOT_CHECKED;
/* Units of a HuBERT (mot_hubert_open) instead, which runs on k (NULL: the CPU): by the centres in a file, and then nothing need be added, or, where it is
 * NULL, by those that are learned. */
struct mot_speech_learner *mot_speech_learner_net(const char *net, const char *config, int layer, const char *centres,
                                                  int units, bool merge_repeats, uint64_t seed,
                                                  const struct mot_kernels *k) MOT_CHECKED;
int mot_speech_learner_add(struct mot_speech_learner *l, const struct mot_audio *a) MOT_CHECKED;
int mot_speech_learner_save(struct mot_speech_learner *l, const char *path, mot_progress *progress,
                            void *context) MOT_CHECKED;
void mot_speech_learner_free(struct mot_speech_learner *l);

#endif
