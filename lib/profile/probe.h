/* SPDX-License-Identifier: MIT
 *
 * probe.h - a backend that times another one; see probe.c.
 */
#ifndef MOT_PROBE_H
#define MOT_PROBE_H

#include "profile.h"

enum mot_op { /* in order of the forward pass, then of the rest of a step */
    MOT_OP_EMBED, MOT_OP_ATTN_NORM, MOT_OP_QKV, MOT_OP_ROPE, MOT_OP_ATTENTION, MOT_OP_O, MOT_OP_FFN_NORM,
    MOT_OP_GATE_UP, MOT_OP_SWIGLU, MOT_OP_DOWN, MOT_OP_FINAL_NORM, MOT_OP_HEAD, MOT_OP_PATCHES, MOT_OP_RESIDUAL, MOT_OP_TRANSFER,
    MOT_OP_ZERO, MOT_OP_GRAD_NORM, MOT_OP_CLIP, MOT_OP_ADAMW, MOT_OPS
};
enum mot_direction {
    MOT_FORWARD, MOT_BACKWARD, MOT_BACKWARD_X, MOT_BACKWARD_W,
    MOT_AGAIN, /* of the forward pass, in the backward pass */
    MOT_UPDATE, MOT_DATA, MOT_DIRECTIONS
};
const char *mot_op_name(enum mot_op op);
const char *mot_direction_name(enum mot_direction d);

/* What calls of one operation, direction, layer and tower add up to. */
struct mot_cell {
    int64_t calls;
    double seconds, busy; /* of the clock; of all workers together */
    double flops, bytes;
};

/* What one group of an operation costs; tower -1: none. */
struct mot_part {
    int tower;
    double flops, bytes, seconds;
};

/* One call, and its pieces of work, watch.work[work, work_end). */
struct mot_done {
    enum mot_op op;
    enum mot_direction direction;
    int64_t layer;
    double begin, end;
    int64_t work, work_end;
    int n;
    struct mot_part part[MOT_MAX_MODALITIES];
};
enum { MOT_MOST_DONE = 4096 };

/* One call, for a timeline; its pieces of work are watch.work[work, work_end). */
struct mot_event {
    enum mot_op op;
    enum mot_direction direction;
    int64_t layer;
    double begin, end, flops;
    int64_t work, work_end;
};

struct mot_probe {
    struct mot_kernels kernels;   /* what the model sees ... */
    const struct mot_kernels *k;  /* ... and what does the work */
    struct mot_device *d;
    struct mot_model *m;
    bool recording;
    int64_t layer; /* where the model is; -1: in no layer */
    int backward;
    int64_t first_work; /* of the operation under way */
    struct mot_watch watch;
    struct mot_done *done; /* (MOT_MOST_DONE) calls that a late device has not told the times of yet */
    int n_done;
    struct mot_cell *cell;
    double seconds, flops; /* of all recorded operations */
    struct mot_event *event;
    int64_t n_events, event_capacity, events_lost;
};

/* Put p between m and its kernels.  events: how many calls are kept for a timeline, 0: none. */
int mot_probe_attach(struct mot_probe *p, struct mot_model *m, int64_t events) MOT_CHECKED;
void mot_probe_detach(struct mot_probe *p);
void mot_probe_reset(struct mot_probe *p); /* sums to zero */
/* layer and tower -1: none. */
const struct mot_cell *mot_probe_cell(const struct mot_probe *p, enum mot_op op, enum mot_direction direction, int64_t layer,
                                      int tower);
double mot_probe_now(void); /* seconds of the monotonic clock */

/* The kept events as a timeline, atomically (trace.c). */
int mot_trace_write(const struct mot_probe *p, const char *path) MOT_CHECKED;

#endif
