/* SPDX-License-Identifier: MIT
 *
 * kmeans.h - the nearest of many vectors, k-means clustering, and a fair sample of a stream.
 */
#ifndef MOT_KMEANS_H
#define MOT_KMEANS_H

#include "codec.h"

/* Vectors arranged for search: panels of 16 codes, coordinate by coordinate. */
struct mot_codebook {
    int codes, dim;
    float *panel; /* (panels, dim, 16), zeros after the last code */
    float *norm;  /* (codes) squared lengths */
};
int mot_codebook_init(struct mot_codebook *b, const float *code, int codes, int dim) MOT_CHECKED;
void mot_codebook_free(struct mot_codebook *b);
/* best[i] = the k that makes norm_i[k] - 2 x_i . code_k least, the lowest k when equal.  x (n,
 * dim).  norms[i] points to the norms for x_i; NULL: b->norm for all, so that best is the nearest
 * code.  Any number of threads may call it at once. */
void mot_codebook_search(const struct mot_codebook *b, const float *x, int64_t n,
                         const float *const *norms, int32_t *best);

/* Where and how to report: what is being done; this work goes from `from` to `to` of the whole. */
struct mot_report {
    mot_progress *progress; /* may be NULL */
    void *context;
    const char *what;
    double from, to;
};
void mot_report(const struct mot_report *r, double share);

/* k-means: centre (k, dim) from x (n, dim), n >= 1; best (n) gets each x's centre. */
int mot_kmeans(const float *x, int64_t n, int dim, int k, int iterations, uint64_t seed,
               const struct mot_report *r, float *centre, int32_t *best) MOT_CHECKED;

/* Counting sort: begin[k] .. begin[k+1] of order are the i with code[i] == k, ascending.  begin (k
 * + 1), order (n). */
void mot_sort_by_code(const int32_t *code, int64_t n, int k, int64_t *begin, int64_t *order);

/* Where in a fair sample of `capacity` the seen-th thing (from 0) of a stream goes; -1: nowhere.
 * (Vitter's algorithm R) */
int64_t mot_sample_place(uint64_t seed, uint64_t stream, int64_t seen, int64_t capacity);

#endif
