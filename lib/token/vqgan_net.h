/* SPDX-License-Identifier: MIT
 *
 * vqgan_net.h - the net of vqgan.h as it lies in memory: vqgan_net.c reads it, vqgan.c runs it.
 */
#ifndef MOT_VQGAN_NET_H
#define MOT_VQGAN_NET_H

#include "autonet.h"
#include "kmeans.h"
#include "vqgan.h"

struct mot_vqgan {
    struct mot_autonet net;
    int codes, dim;
    float *codebook; /* (codes, dim) */
    struct mot_codebook search;
};

/* Everything, for pictures of `side` pixels.  What is wrong becomes the net's complaints. */
void mot_vqgan_read_net(struct mot_vqgan *v, struct mot_net *n, int side);

#endif
