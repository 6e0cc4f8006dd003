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

#endif
