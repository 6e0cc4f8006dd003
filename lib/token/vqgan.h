/* SPDX-License-Identifier: MIT
 *
 * vqgan.h - pictures by a VQGAN (Esser, Rombach, Ommer 2021): the tokenizer of Chameleon, and taming-transformers' own.
 */
#ifndef MOT_VQGAN_H
#define MOT_VQGAN_H

#include "codec.h"

struct mot_vqgan;
/* From a file that mot_vqgan_import wrote. */
struct mot_vqgan *mot_vqgan_load(const char *path) MOT_CHECKED;
void mot_vqgan_free(struct mot_vqgan *v);
/* Run there from now on; at first it is the CPU.  Once, before the first picture. */
int mot_vqgan_send(struct mot_vqgan *v, const struct mot_kernels *k) MOT_CHECKED;
int mot_vqgan_size(const struct mot_vqgan *v);   /* of the codebook */
int mot_vqgan_side(const struct mot_vqgan *v);   /* pictures are squares of so many pixels */
int mot_vqgan_tokens(const struct mot_vqgan *v); /* codes a picture */
bool mot_vqgan_decodes(const struct mot_vqgan *v);
/* square: as mot_vqgan_side wants it.  Any number of threads may call these at once; each call uses as many OpenMP
 * threads as its caller may. */
int mot_vqgan_encode(struct mot_vqgan *v, const struct mot_image *square, int32_t *code) MOT_CHECKED;
/* code: one for each token, in range, or -1 where there is none and the picture becomes grey. */
int mot_vqgan_decode(struct mot_vqgan *v, const int32_t *code, struct mot_image *out) MOT_CHECKED;

/* Check the net in `from` (net.h) against itself and against `config` (.yaml or .json; NULL: none), and write it to `to`.
 * image_size 0: as the configuration says, or 512. */
int mot_vqgan_import(const char *from, const char *config, int image_size, const char *to) MOT_CHECKED;

/* -- for vqgan.c alone (vqgan_config.c): what a configuration says; -1 and n_ = -1: nothing -- */
enum { MOT_VQGAN_LEVELS = 16 };
struct mot_vqgan_config {
    int64_t ch, out_ch, num_res_blocks, in_channels, resolution, z_channels, double_z, embed_dim, n_embed;
    int64_t ch_mult[MOT_VQGAN_LEVELS], attn_resolutions[MOT_VQGAN_LEVELS];
    int n_ch_mult, n_attn_resolutions;
};
int mot_vqgan_config_read(struct mot_vqgan_config *c, const char *path) MOT_CHECKED;

#endif
