/* SPDX-License-Identifier: MIT
 *
 * hubert_net.h - the encoder of hubert.h as it lies in memory: hubert_net.c reads it, hubert.c runs it.
 */
#ifndef MOT_HUBERT_NET_H
#define MOT_HUBERT_NET_H

#include <pthread.h>

#include "dsp.h"
#include "hubert.h"
#include "kmeans.h"
#include "net.h"

enum {
    MOT_HUBERT_PIECE = 100 * MOT_RATE, /* samples encoded at once */
    MOT_HUBERT_CONVS = 16,
    MOT_HUBERT_LAYERS = 200
};

/* What the tensors do not tell. */
struct mot_hubert_settings {
    int64_t layer; /* -1: all of them, and the norm behind them */
    int64_t heads, groups; /* groups: of the positions' convolution */
    int64_t stride[MOT_HUBERT_CONVS];
    int n_strides;
    bool stable, normalize; /* norms before each part, not after it; waves of mean 0 and variance 1 */
    double eps;
};

struct mot_hubert_affine { /* a norm's, or a linear's with the bias behind the weight */
    const float *w, *b;
};
struct mot_hubert_conv {
    struct mot_conv shape; /* but for the widths */
    const float *w, *b;    /* b may be NULL */
    struct mot_hubert_affine norm;    /* w NULL: none */
};
struct mot_hubert_layer {
    struct mot_hubert_affine qkv, out, norm, up, down, last_norm;
};

struct mot_hubert_runner { /* what one call at a time needs */
    struct mot_hubert_runner *next;
    int threads;
    int64_t samples; /* that there is room for */
    struct mot_device *d;
    float *x, *a, *b;
};

struct mot_hubert {
    struct mot_hubert_settings s;
    int n_convs, n_layers, layers_in_file;
    bool group_norm, merge; /* group_norm: the first convolution alone has a norm, over time */
    int64_t C, F;
    struct mot_hubert_conv conv[MOT_HUBERT_CONVS], position;
    struct mot_hubert_affine project_norm, project, norm;
    struct mot_hubert_layer layer[MOT_HUBERT_LAYERS];
    int units;
    float *centre;
    struct mot_codebook search;
    struct mot_keep keep;
    struct mot_net net; /* as long as it may be saved */
    const struct mot_kernels *kernels;
    pthread_mutex_t lock;
    struct mot_hubert_runner *idle;
};

/* The fewest samples that give a row; no more than MOT_HUBERT_PIECE in a net that was read without complaint. */
int64_t mot_hubert_least(const struct mot_hubert *h);

#endif
