/* SPDX-License-Identifier: MIT
 *
 * autonet.h - the nets of convolutions that make latent pictures of pictures and back, as VQGANs and variational autoencoders
 * have them: autonet_read.c reads one from its tensors, autonet.c runs it.
 *
 * A net is two lists of steps that take one array of pixels to the next.  Values lie as (rows, columns, channels)
 * everywhere.  It runs on the CPU, or on the device that it was sent to.
 */
#ifndef MOT_AUTONET_H
#define MOT_AUTONET_H

#include <pthread.h>

#include "net.h"

enum { MOT_AUTONET_GROUPS = 32, MOT_AUTONET_STEPS = 256, MOT_AUTONET_MAX_SIDE = 4096, MOT_AUTONET_LEVELS = 16 };

struct mot_autonet_norm {
    const float *w, *b;
};
struct mot_autonet_conv {
    struct mot_conv shape;
    const float *w, *b;
};
enum mot_autonet_step_kind {
    STEP_CONV,    /* x = conv[0](x) */
    STEP_NORM,    /* x = silu(norm[0](x)) */
    STEP_BLOCK,   /* x = shortcut(x) + conv[1](silu(norm[1](conv[0](silu(norm[0](x)))))) */
    STEP_ATTENTION /* x = x + conv[1](attention(conv[0](norm[0](x)))), conv[0] giving q, k and v */
};
struct mot_autonet_step {
    enum mot_autonet_step_kind kind;
    int64_t rows, C; /* of x before */
    struct mot_autonet_norm norm[2];
    struct mot_autonet_conv conv[3]; /* conv[2]: the shortcut, where channels change (w not NULL) */
};
struct mot_autonet_program {
    int n;
    size_t floats; /* that a buffer needs */
    struct mot_autonet_step step[MOT_AUTONET_STEPS];
};

struct mot_autonet_runner { /* what one call at a time needs */
    struct mot_autonet_runner *next;
    int threads;
    struct mot_device *d;
    size_t floats;    /* of each buffer */
    float *buffer[3]; /* on the device: what a step starts from, and two beside it */
    float *host;      /* what goes in and comes out */
};

struct mot_autonet {
    int side, latent; /* pixels and latent pixels of a line */
    bool has_decoder;
    struct mot_keep keep;
    struct mot_autonet_program encoder, decoder;
    const struct mot_kernels *kernels;
    size_t ends; /* floats of the runners' host arrays */
    struct mot_limits limits;
    struct mot_conv *convs; /* limits.conv */
    pthread_mutex_t lock;
    struct mot_autonet_runner *idle;
};

/* ---- running (autonet.c) ---- */

void mot_autonet_init(struct mot_autonet *a);
/* What the steps need, when all have been read. */
int mot_autonet_finish(struct mot_autonet *a) MOT_CHECKED;
void mot_autonet_free(struct mot_autonet *a); /* all but itself */
/* Run there from now on; at first it is the CPU.  Once, before the first run. */
int mot_autonet_send(struct mot_autonet *a, const struct mot_kernels *k) MOT_CHECKED;
/* A workspace for the program, given back after use.  Any number of threads may have one at once. */
struct mot_autonet_runner *mot_autonet_borrow(struct mot_autonet *a, const struct mot_autonet_program *p) MOT_CHECKED;
void mot_autonet_give_back(struct mot_autonet *a, struct mot_autonet_runner *r);
/* From the values of r->host that the program begins with to those that it ends with. */
int mot_autonet_run(const struct mot_autonet *a, struct mot_autonet_runner *r, const struct mot_autonet_program *p) MOT_CHECKED;
/* The encoder, from a picture of a->side pixels: x / 127.5 - 1; what comes out is in (*r)->host, of a workspace to be given
 * back; NULL if it failed. */
int mot_autonet_encode(struct mot_autonet *a, const struct mot_image *square, struct mot_autonet_runner **r) MOT_CHECKED;

/* ---- reading (autonet_read.c): names are taming-transformers', which net.h's `rename` turns into the file's ---- */

/* Each adds steps to a program; what is wrong becomes the net's complaints. */
struct mot_autonet_builder {
    struct mot_net *net;
    struct mot_autonet_program *p;
    int64_t side, C; /* the picture after the steps so far */
};
void mot_autonet_add_conv(struct mot_autonet_builder *b, const char *name, int64_t O, int kernel);
/* The whole encoder, to z channels; for pictures of `side` pixels, which are checked, and a->side and a->latent set. */
void mot_autonet_read_encoder(struct mot_autonet *a, struct mot_net *n, struct mot_autonet_builder *b, int side);
/* The whole decoder, whose first convolution takes b->C channels. */
void mot_autonet_read_decoder(struct mot_autonet *a, struct mot_net *n, struct mot_autonet_builder *b);
/* How many of HALF.WAY.0, 1, ... have a block, and how many blocks the first has. */
int mot_autonet_levels(const struct mot_net *n, const char *half, const char *way);
int mot_autonet_blocks(const struct mot_net *n, const char *half, const char *way);
/* Complain where the configuration's value (< 0: it has none) is not what the tensors say. */
void mot_autonet_check_value(struct mot_net *n, const char *key, int64_t says, int64_t is);
/* metadata of our own file: a whole number from 1 to `most` */
int mot_autonet_number(const struct mot_net *n, const char *key, long most, int *out) MOT_CHECKED;

#endif
