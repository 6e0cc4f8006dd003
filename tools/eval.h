/* SPDX-License-Identifier: MIT
 *
 * eval.h - the parts of mot-eval, a file each, and what they share.
 */
#ifndef MOT_TOOL_EVAL_H
#define MOT_TOOL_EVAL_H

#include "mot.h"
#include "tool.h"

enum eval_mode { EVAL_LOSSES, EVAL_CAPTIONS, EVAL_FRECHET, EVAL_CLIP };

struct eval_options {
    enum eval_mode mode;
    bool json, per_token, keep_going, words;
    int64_t context, stride;
    const char *device, *dtype, *tokenizer;
    const char *clip;      /* a CLIPModel */
    const char *inception; /* a file of weights; NULL: patches */
    const char *conditional; /* a modality; NULL: losses of all */
    double confidence;       /* of intervals; 0: none */
    uint64_t seed;
    int threads;
    const char *const *input;
    int n_inputs;
};

/* What there is to do; each ends the program where it cannot go on. */
void eval_losses(const struct eval_options *o);
void eval_captions(const struct eval_options *o);
void eval_frechet(const struct eval_options *o);
void eval_clip(const struct eval_options *o);

/* ---- sets of pictures (eval_pictures.c) ---- */

/* A picture file, a folder or tar of such, or a shard. */
struct eval_pictures {
    const struct eval_options *o;
    const char *path;
    struct mot_shard *shard; /* NULL: files */
    struct mot_tokenizer *own, *decoder; /* own: opened for it */
    int64_t records, skipped;
    struct mot_bytes text;
};
void eval_pictures_open(struct eval_pictures *p, const struct eval_options *o, const char *path);
/* The tokenizer that decodes a shard's pictures, the given one if it can be that; of files: the given one. */
struct mot_tokenizer *eval_pictures_tokenizer(struct eval_pictures *p, struct mot_tokenizer *given);
/* All pictures in turn, each with the texts of its record or document, line by line; these are decoded where --clip asks. */
typedef void eval_picture(void *context, const struct mot_image *im, const struct mot_bytes *text);
void eval_pictures_read(struct eval_pictures *p, eval_picture *take, void *context);
void eval_pictures_close(struct eval_pictures *p);

/* ---- figures in their columns (eval_figures.c) ---- */

enum { EVAL_RESAMPLES = 1000, EVAL_RESAMPLES_OF_NETS = 100 }; /* these are thousands of features */
/* NaN: the row has none. digits: 6 behind the point, or 0: six in all. */
void eval_print(const struct eval_options *o, const char *name, double x, int digits);
/* The figure, and NAME_lo and NAME_hi where intervals are asked for. */
void eval_print_interval(const struct eval_options *o, const char *name, double x, struct mot_interval i);
/* A metric as a row of its own: metric, items, value. */
void eval_print_metric_head(const struct eval_options *o);
void eval_print_metric(const struct eval_options *o, const char *name, int64_t items, double x, struct mot_interval i);
/* Of n units; nothing where no intervals are asked for. */
struct mot_interval eval_interval(const struct eval_options *o, double value, mot_figure *figure, const void *context, int64_t n,
                                  int64_t first);

#endif
