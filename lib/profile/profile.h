/* SPDX-License-Identifier: MIT
 *
 * profile.h - what the files of lib/profile share.
 */
#ifndef MOT_PROFILE_H
#define MOT_PROFILE_H

#include "../train/train.h"

/* Check a workload against a settled config and fill in what is 0: seq (max_position_embeddings, at most 4096), batch (8),
 * document (seq), mix (equal shares).  The mix then sums to 1. (cost.c) */
int mot_workload_settle(const struct mot_config *c, struct mot_workload *w) MOT_CHECKED;

/* FLOP/s of a GPU by its data sheet, in products of dtype; 0: it is not in the table. (peak.c) */
double mot_gpu_peak(const char *name, const char *dtype);

/* ---- a log of a training, as read (runlog.c) ---- */

enum { MOT_MAX_SERIES = 64, MOT_MAX_NOTICES = 4 };

/* The losses of one modality: only where there is one. */
struct mot_series {
    char *name;
    int64_t n, row_capacity, loss_capacity;
    int64_t *row; /* of the log, ascending */
    double *loss;
};

struct mot_runlog {
    char *name;
    int64_t n;                   /* steps */
    double *spent[MOT_MEASURES]; /* (n) at the end of each step; MOT_STEPS ascends strictly; NULL: not known */
    int n_series, n_notices, told;
    struct mot_series series[MOT_MAX_SERIES]; /* "all", the loss over all tokens, is the last */
    char *notice[MOT_MAX_NOTICES];
};

#endif
