/* SPDX-License-Identifier: MIT
 *
 * generate.h - what the files of lib/generate share: which tokens may come next, and drawing one of them.
 */
#ifndef MOT_GENERATE_H
#define MOT_GENERATE_H

#include "../model/model.h"

/* ---- grammar.c: what may come next in a document ---- */

struct mot_ranges { /* ids [from, to), in order, without overlap */
    int n;
    struct {
        int32_t from, to;
    } range[24];
};
enum { MOT_STOPS = 16 };
/* What holds for all documents of a vocabulary. */
struct mot_grammar {
    const struct mot_vocab *vocab;
    int image, speech;    /* their modalities; -1: none, or without delimiters */
    int64_t image_tokens; /* of each picture; 0: not known, no picture can begin */
    int n_stops;
    int32_t stop[MOT_STOPS];    /* text that ends a document, as eos does */
    int32_t code_from, code_to; /* ids [from, to) among the text's that are none: Chameleon's picture codes */
};
struct mot_grammar mot_grammar_of(const struct mot_vocab *v, int64_t image_tokens);
/* stops.c: what the model in a folder has of stops and codes. */
int mot_grammar_stops(struct mot_grammar *g, const char *folder) MOT_CHECKED;
/* Where a document stands. */
struct mot_place {
    int modality;   /* of the segment; delimiters that begin one are in it */
    int64_t length; /* of its codes */
    bool ended;     /* eos, or what is like it, was seen */
};
/* Move on by a token.  MOT_EFORMAT: it cannot stand there. */
int mot_grammar_step(const struct mot_grammar *g, struct mot_place *p, int32_t id) MOT_CHECKED;
/* Ids that may come next where `left` more tokens fit: a picture or sound begins only if it can end. */
struct mot_ranges mot_grammar_next(const struct mot_grammar *g, const struct mot_place *p, int64_t left);
/* The same without ids that leave the segment (for a segment that is forced to begin). */
struct mot_ranges mot_grammar_inside(const struct mot_grammar *g, const struct mot_place *p, int64_t left);
/* Tokens that a picture or sound still takes to its end, at least; 0: none has begun. */
int64_t mot_grammar_rest(const struct mot_grammar *g, const struct mot_place *p);

/* ---- sampler.c ---- */

struct mot_sampler { /* room for one distribution */
    struct mot_candidate {
        float p; /* logit, then probability */
        int32_t id;
    } *candidate;
};
int mot_sampler_new(struct mot_sampler *s, int64_t vocab_size) MOT_CHECKED;
void mot_sampler_free(struct mot_sampler *s);
/* One of the allowed ids: by temperature, then top_k, top_p and min_p, and u in [0, 1).  Temperature 0: the largest logit, the
 * lowest id of several. */
int32_t mot_sample(struct mot_sampler *s, const mot_real *logits, const struct mot_ranges *allowed,
                   const struct mot_sampling *how, double u);

/* ---- painter.c: pictures of vectors ---- */

struct mot_painter {
    struct mot_painting how;
    struct mot_grid grid;
    struct mot_levels levels;
    struct mot_batch batch;
    float *x, *between, *told, *alone; /* a picture's values: as it is at a step, half-way, and what the model told */
    uint16_t *value;                   /* the finished picture */
    int32_t *id;                       /* one more than a picture's tokens, all alike */
};
int mot_painter_new(struct mot_painter *p, const struct mot_model *m, const struct mot_grid *grid, const struct mot_painting *how)
    MOT_CHECKED;
void mot_painter_free(struct mot_painter *p);
/* Paint a picture behind `whole`, which then has it in its past, guided away from what comes behind `alone` (NULL: not guided);
 * p->value is the picture.  What is drawn is seed's stream, and a few streams after it. */
int mot_paint(struct mot_painter *p, struct mot_model *m, struct mot_past *whole, const struct mot_past *alone, uint64_t seed,
              uint64_t stream) MOT_CHECKED;

#endif
