/* SPDX-License-Identifier: MIT
 *
 * vqgan_net.h - the net of vqgan.h as it lies in memory: vqgan_net.c reads it, vqgan.c runs it.
 */
#ifndef MOT_VQGAN_NET_H
#define MOT_VQGAN_NET_H

#include <pthread.h>

#include "kmeans.h"
#include "net.h"
#include "vqgan.h"

enum { MOT_VQGAN_NORM_GROUPS = 32, MOT_VQGAN_STEPS = 256, MOT_VQGAN_MAX_SIDE = 4096 };

struct mot_vqgan_norm {
    const float *w, *b;
};
struct mot_vqgan_conv {
    struct mot_conv shape;
    const float *w, *b;
};
enum mot_vqgan_step_kind {
    STEP_CONV,    /* x = conv[0](x) */
    STEP_NORM,    /* x = silu(norm[0](x)) */
    STEP_BLOCK,   /* x = shortcut(x) + conv[1](silu(norm[1](conv[0](silu(norm[0](x)))))) */
    STEP_ATTENTION /* x = x + conv[1](attention(conv[0](norm[0](x)))), conv[0] giving q, k and v */
};
struct mot_vqgan_step {
    enum mot_vqgan_step_kind kind;
    int64_t rows, C; /* of x before */
    struct mot_vqgan_norm norm[2];
    struct mot_vqgan_conv conv[3]; /* conv[2]: the shortcut, where channels change (w not NULL) */
};
struct mot_vqgan_program {
    int n;
    struct mot_vqgan_step step[MOT_VQGAN_STEPS];
};

struct mot_vqgan_runner { /* what one call at a time needs */
    struct mot_vqgan_runner *next;
    int threads;
    struct mot_device *d;
    float *buffer[3]; /* on the device */
    float *host;      /* what goes in and comes out */
};

struct mot_vqgan {
    int side, latent; /* pixels, codes of a line */
    int codes, dim;
    bool has_decoder;
    struct mot_keep keep;
    float *codebook; /* (codes, dim) */
    struct mot_codebook search;
    struct mot_vqgan_program encoder, decoder;
    const struct mot_kernels *kernels;
    size_t floats, ends; /* of each buffer; of the runners' host arrays */
    struct mot_limits limits;
    struct mot_conv *convs; /* limits.conv */
    pthread_mutex_t lock;
    struct mot_vqgan_runner *idle;
};

/* Everything, for pictures of `side` pixels.  What is wrong becomes the net's complaints. */
void mot_vqgan_read_net(struct mot_vqgan *v, struct mot_net *n, int side);

#endif
