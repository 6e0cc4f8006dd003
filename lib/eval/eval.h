/* SPDX-License-Identifier: MIT
 *
 * eval.h - what the files of lib/eval share.
 */
#ifndef MOT_EVAL_H
#define MOT_EVAL_H

#include "../base/base.h"

/* ---- words.c: captions to words ---- */

/* Append the words of a text, each ended by a zero byte, and count them: as the captions of COCO are cut, or, with plain, at
 * white space alone. */
int mot_words(const void *text, size_t n, bool plain, struct mot_bytes *out, int64_t *words) MOT_CHECKED;

/* ---- grams.c: runs of words ---- */

enum { MOT_GRAM = 4 }; /* the longest run */
struct mot_gram {
    int32_t word[MOT_GRAM]; /* -1 behind the last */
};
struct mot_counted {
    int32_t gram; /* index into mot_grams' */
    int32_t count;
};
struct mot_sentence {
    const int32_t *word;
    int64_t n;
    const struct mot_counted *counted; /* in ascending order of grams */
    int64_t n_counted;
};
/* All runs of one to MOT_GRAM words in a set of sentences, each once; fills in what they count. */
struct mot_grams {
    struct mot_gram *gram; /* in ascending order */
    int64_t n;
    struct mot_counted *counted;
};
int mot_grams_make(struct mot_grams *g, struct mot_sentence *s, int64_t n) MOT_CHECKED;
void mot_grams_free(struct mot_grams *g);
int mot_gram_length(const struct mot_gram *g);

/* ---- symmetric.c: matrices of double, row by row ---- */

/* c (p,q) += a^T b; a (n,p), b (n,q). */
void mot_add_product(const double *a, int64_t p, const double *b, int64_t q, int64_t n, double *c);
/* The rank r of s (n,n), which is positive semidefinite up to rounding, and r rows of l (n,n) so that s = l^T l; left: room for n. */
int64_t mot_cholesky(const double *s, int64_t n, double *left, double *l);
/* The eigenvalues, in no order, of a symmetric a (n,n), whose lower half is looked at and lost. */
int mot_eigenvalues(double *a, int64_t n, double *d) MOT_CHECKED;

/* ---- inception.c: InceptionV3 ---- */

struct mot_inception;
struct mot_inception *mot_inception_open(const char *path, int threads) MOT_CHECKED;
void mot_inception_close(struct mot_inception *v);
int mot_inception_width(const struct mot_inception *v); /* features of a picture */
int mot_inception_look(struct mot_inception *v, const struct mot_image *im, float *feature) MOT_CHECKED;

#endif
