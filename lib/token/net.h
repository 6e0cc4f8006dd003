/* SPDX-License-Identifier: MIT
 *
 * net.h - the weights of a foreign net: found by name in .safetensors files, whatever prefix their
 * names bear, checked one by one, and what is wrong with them told in one sentence that names all
 * of it.
 */
#ifndef MOT_NET_H
#define MOT_NET_H

#include "../base/device.h"
#include "../base/json.h"
#include "../base/safetensors.h"

/* Arrays that live as long as the net, in host memory, and what of them was sent to a device that has other memory. */
struct mot_kept {
    float *p, *there;
    size_t n;
};
struct mot_keep {
    struct mot_kept *kept;
    int64_t n, capacity;
    const struct mot_kernels *kernels; /* of home */
    struct mot_device *home;           /* owns what was sent; NULL: nothing was */
};
float *mot_keep_floats(struct mot_keep *k, size_t a, size_t b) MOT_CHECKED; /* a * b zeros */
void mot_keep_free(struct mot_keep *k);
/* Send all to a device. */
int mot_keep_send(struct mot_keep *k, const struct mot_kernels *kernels) MOT_CHECKED;
/* *w, somewhere in an array that was sent, becomes its place there; NULL stays. */
void mot_keep_move(const struct mot_keep *k, const float **w);

struct mot_net {
    char *path, *prefix;
    struct mot_st *file;
    int n_files;
    struct mot_keep *keep;      /* where weights go */
    struct mot_bytes complaint; /* "missing a, b; ..." */
    int n_missing, n_other;     /* complaints */
    bool out_of_memory;
    /* Makes the file's name, behind the prefix, of the one asked for, in `room` bytes; NULL: they are the same. */
    void (*rename)(const struct mot_net *n, char *name, size_t room);
    int naming; /* the renamer's own */
    const struct mot_st_tensor **used; /* what was taken, and of which file */
    int *used_of;
    int64_t n_used, used_capacity, of_capacity;
};
/* path: a .safetensors file, or the .index.json beside several.  The prefix is what stands before
 * `mark` in the name of the one tensor that ends with it. */
int mot_net_open(struct mot_net *n, const char *path, const char *mark, struct mot_keep *keep) MOT_CHECKED;
void mot_net_close(struct mot_net *n);
/* The tensor of that name behind the prefix; NULL: none. */
const struct mot_st_tensor *mot_net_find(const struct mot_net *n, const char *format, ...) MOT_PRINTF(2, 3);
const char *mot_net_metadata(const struct mot_net *n, const char *key);
/* The dimension of a tensor, 0 where there is no such one. */
int64_t mot_net_size(const struct mot_net *n, int dimension, const char *format, ...) MOT_PRINTF(3, 4);
/* The tensor as floats, kept; NULL after a complaint if it is missing, has another shape, or holds
 * what is no number.  shape: `rank` sizes; -1 takes any. */
float *mot_net_take(struct mot_net *n, int rank, const int64_t *shape, const char *format, ...) MOT_PRINTF(4, 5);
/* The same, for a convolution's weight: (O, C / groups, kh, kw) becomes (groups, kh, kw, C / groups,
 * O / groups) as conv2d wants it; a `rank` of 3 has no kh,
 * one of 2 neither. */
float *mot_net_take_conv(struct mot_net *n, const struct mot_conv *v, int rank, const char *format, ...)
    MOT_PRINTF(4, 5);
/* Something else is wrong with the net. */
void mot_net_complain(struct mot_net *n, const char *format, ...) MOT_PRINTF(2, 3);
/* Complain of every tensor whose name behind the prefix begins with one of the parts and that was not taken. */
void mot_net_complain_unused(struct mot_net *n, const char *const *part, int n_parts);
/* MOT_OK, or one error of all complaints; what: "a VQGAN" */
int mot_net_verdict(const struct mot_net *n, const char *what) MOT_CHECKED;
/* Write what was taken, without the prefix, as a file of its own; and one tensor more of floats, if extra is not NULL. */
int mot_net_save(const struct mot_net *n, const char *path, const char *const *metadata, int n_metadata,
                 const struct mot_st_decl *extra, const float *data) MOT_CHECKED;

/* A device of a backend that computes in float, with its workspace; NULL after mot_fail. */
struct mot_device *mot_net_device(const struct mot_kernels *k, int threads, const struct mot_limits *l) MOT_CHECKED;
/* Wait for what runs there. */
int mot_net_wait(const struct mot_kernels *k, struct mot_device *d) MOT_CHECKED;

#endif
