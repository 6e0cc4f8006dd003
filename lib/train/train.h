/* SPDX-License-Identifier: MIT
 *
 * train.h - what the files of lib/train share: the optimizer, the trainer's state, scoring with a model at hand.
 */
#ifndef MOT_TRAIN_H
#define MOT_TRAIN_H

#include "../data/held.h"
#include "../model/model.h"

/* ---- optimizer.c: AdamW over stretches of the table ---- */

/* Neighbouring tensors that one call of adamw can update. */
struct mot_stretch {
    int64_t offset, count;
    int tower; /* -1: shared */
    bool decays;
    double factor; /* of the learning rate; 0: frozen */
};
struct mot_optimizer {
    struct mot_model *m;
    mot_real *exp_avg, *exp_avg_sq; /* blocks like params */
    int n;
    struct mot_stretch *stretch;
    double *sums, *host_sums; /* (n), device and host */
    mot_real *scale;          /* (1) device */
};
int mot_optimizer_new(struct mot_optimizer *o, struct mot_model *m, const struct mot_train_options *options) MOT_CHECKED;
void mot_optimizer_free(struct mot_optimizer *o);
/* Gradient norms of what is trained, in all, by tower and of what is shared. */
int mot_optimizer_norms(struct mot_optimizer *o, struct mot_step *s) MOT_CHECKED;
/* The same in two halves, with mot_model_wait between them. */
void mot_optimizer_start_norms(struct mot_optimizer *o);
void mot_optimizer_end_norms(const struct mot_optimizer *o, struct mot_step *s);
/* Clip and update with the learning rate lr; gradients are zero afterwards.  After mot_optimizer_norms. */
void mot_optimizer_step(struct mot_optimizer *o, const struct mot_train_options *options, double lr, int64_t step);

/* ---- noise.c: pictures of vectors as the model is to see them ---- */
struct mot_noise {
    struct mot_levels levels;
    int vectors; /* the modality, -1: there is none, and nothing is ever to be shown */
    int64_t width, values, pictures; /* of a vector; room for */
    float *x, *target;               /* as a batch has its vectors */
    double *time;                    /* of each picture */
};
int mot_noise_new(struct mot_noise *s, const struct mot_config *c) MOT_CHECKED;
void mot_noise_free(struct mot_noise *s);
/* Levels and noise of a training step's part (its accumulated batches are counted); limit: for pictures before their captions. */
int mot_noise_training(struct mot_noise *s, const struct mot_batch *b, double limit, uint64_t seed, int64_t step, int64_t part)
    MOT_CHECKED;
/* Each picture at level[k] of [0, 1]; 0: clean. */
int mot_noise_scoring(struct mot_noise *s, const struct mot_batch *b, const double *level) MOT_CHECKED;
/* Let a share of the pictures, with what follows them, not see what comes before: pieces are cut before their <|boi|>. */
int mot_noise_drop(struct mot_batch *b, int32_t boi, double share, uint64_t seed, int64_t step, int64_t part) MOT_CHECKED;

/* ---- ahead.c ---- */
struct mot_ahead {
    int64_t n;               /* batches a step */
    struct mot_batch *batch; /* (n) of the step that was taken */
    struct mot_position position; /* behind them */
    struct mot_loader *loader; /* NULL without shards */
    int32_t boi;
    uint64_t seed;
    double drop;
    bool waits, there; /* no step is loaded ahead; one is, to `next`, or it failed */
    struct mot_batch *next;
    struct mot_position next_position;
    int next_rc;
    char *next_error;
};
int mot_ahead_new(struct mot_ahead *a, const struct mot_train_options *o, const struct mot_vocab *v) MOT_CHECKED;
void mot_ahead_free(struct mot_ahead *a);
/* Load a step's batches now, if they need not be waited for. */
void mot_ahead_load(struct mot_ahead *a, int64_t step);
/* A step's batches become a->batch. */
int mot_ahead_take(struct mot_ahead *a, int64_t step) MOT_CHECKED;

/* Learning rate of step 1..steps (schedule.c). */
double mot_learning_rate(const struct mot_train_options *o, int64_t steps, int64_t step);

/* ---- checkpoint.c ---- */
struct mot_progress { /* what a run has done; stored with the weights */
    int64_t step, tokens;
    double flops, seconds;
    struct mot_position position;
};
/* RUN/training.safetensors: float weights and both moments of every tensor, progress and options. */
int mot_checkpoint_save(const struct mot_optimizer *o, const char *run, const struct mot_progress *p, const json_t *options) MOT_CHECKED;
/* *options is a new reference to the options that the run was saved with. */
int mot_checkpoint_load(struct mot_optimizer *o, const char *run, struct mot_progress *p, json_t **options) MOT_CHECKED;
bool mot_checkpoint_exists(const char *run);
/* Keep the lines of RUN/log.jsonl up to a step. */
int mot_log_cut(const char *run, int64_t step) MOT_CHECKED;

/* ---- score.c ---- */
/* A scorer over a model that the caller keeps; context at most m->seq. */
struct mot_scorer *mot_scorer_with(struct mot_model *m, const struct mot_vocab *v, int64_t context, int64_t stride) MOT_CHECKED;

#endif
