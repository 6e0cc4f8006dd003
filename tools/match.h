/* SPDX-License-Identifier: MIT
 *
 * match.h - what mot-profile match found (profile_match.c) and draws (profile_plot.c).
 */
#ifndef MOT_TOOL_MATCH_H
#define MOT_TOOL_MATCH_H

#include "mot.h"

struct matched_run {
    const char *log;
    /* by modality of dense: */
    bool *present; /* the run has losses of it */
    struct mot_curve *curve;
    struct mot_match *match;
};

struct matched {
    const char *dense;
    bool validation;
    double smooth;
    struct mot_runlog *dense_log;
    int n_modalities, n_runs;
    const char **modality;
    struct mot_curve *dense_curve;
    struct matched_run *run;
};

/* End the program unless path ends in .svg or .png. */
void plot_check(const char *path);
/* Write the picture, whole or not at all; ends the program on failure. */
void plot_matched(const struct matched *a, const char *path);

#endif
