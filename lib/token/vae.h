/* SPDX-License-Identifier: MIT
 *
 * vae.h - pictures by a variational autoencoder (Kingma and Welling 2014) as latent diffusion uses them: the AutoencoderKL of
 * Stable Diffusion and FLUX.
 */
#ifndef MOT_VAE_H
#define MOT_VAE_H

#include "codec.h"
#include "net.h"

struct mot_vae;
/* From a file that mot_vae_import wrote. */
struct mot_vae *mot_vae_load(const char *path) MOT_CHECKED;
void mot_vae_free(struct mot_vae *v);
/* Run there from now on; at first it is the CPU.  Once, before the first picture. */
int mot_vae_send(struct mot_vae *v, const struct mot_kernels *k) MOT_CHECKED;
int mot_vae_side(const struct mot_vae *v); /* pictures are squares of so many pixels */
void mot_vae_grid(const struct mot_vae *v, struct mot_grid *g);
int mot_vae_patch(const struct mot_vae *v); /* latent pixels on a side of what a token stands for */
bool mot_vae_decodes(const struct mot_vae *v);
/* square: of mot_vae_side pixels.  Any number of threads may call these at once; each call uses as many OpenMP threads as
 * its caller may. */
int mot_vae_encode(struct mot_vae *v, const struct mot_image *square, struct mot_latents *out) MOT_CHECKED;
/* The latent picture before it is cut and rounded: z (rows, columns, channels), as many values as the grid has. */
int mot_vae_latent(struct mot_vae *v, const struct mot_image *square, float *z) MOT_CHECKED;
/* value: of mot_vae_grid's grid. */
int mot_vae_decode(struct mot_vae *v, const uint16_t *value, struct mot_image *out) MOT_CHECKED;

struct mot_vae_options {
    const char *config;  /* config.json; NULL: beside the net, if it is there and of such a net */
    int image_size;      /* 0: 256 */
    int patch;           /* a token's vector has so many latent pixels in a square; 0: 2 */
    double scale, shift; /* latents are (z - shift) * scale; NaN: as the configuration says, or as nets of so many channels have
                            them */
};
/* Check the net in `from` (net.h) against itself and against its configuration, and write it to `to`. */
int mot_vae_import(const char *from, const struct mot_vae_options *o, const char *to) MOT_CHECKED;

/* -- for vae.c alone (vae_names.c) -- */
/* Set the net's `rename`, where its tensors bear the names of diffusers. */
void mot_vae_naming(struct mot_net *n);

#endif
