/* SPDX-License-Identifier: MIT
 *
 * frechet.c - how far apart two sets of pictures are: the Frechet distance of Gaussians fitted to their features (Dowson &
 * Landau 1982; Heusel et al. 2017),
 *
 *   |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))
 *
 * with means m and covariances S (over n - 1), in double.  With a Cholesky factor S_a = L L^T the eigenvalues of S_a S_b are those
 * of L^T S_b L, which is symmetric; the trace of the root is the sum of their roots.
 */
#include <math.h>

#include "eval.h"

struct gaussian {
    double *mean, *covariance; /* (d), (d, d) */
};

static void free_gaussian(struct gaussian *g)
{
    mot_free(g->mean);
    mot_free(g->covariance);
}

/* Of the pictures picked: pick[i] - offset, or all. */
static int fit(const struct mot_gallery *s, const int64_t *pick, int64_t offset, struct gaussian *g)
{
    enum { ROWS = 64 };
    int64_t d = s->d;
    g->mean = mot_alloc((size_t)d, sizeof *g->mean);
    g->covariance = mot_alloc((size_t)d * (size_t)d, sizeof *g->covariance);
    double *rows = mot_alloc(ROWS * (size_t)d, sizeof *rows);
    if (!g->mean || !g->covariance || !rows) {
        mot_free(rows);
        return MOT_ENOMEM;
    }
    for (int64_t i = 0; i < s->n; i++) {
        const float *x = s->feature + (pick ? pick[i] - offset : i) * d;
        for (int64_t k = 0; k < d; k++)
            g->mean[k] += (double)x[k] / (double)s->n;
    }
    for (int64_t i = 0; i < s->n; i += ROWS) {
        int64_t n = s->n - i < ROWS ? s->n - i : ROWS;
        for (int64_t j = 0; j < n; j++) {
            const float *x = s->feature + (pick ? pick[i + j] - offset : i + j) * d;
            for (int64_t k = 0; k < d; k++)
                rows[j * d + k] = ((double)x[k] - g->mean[k]) / sqrt((double)(s->n - 1));
        }
        mot_add_product(rows, d, rows, d, n, g->covariance);
    }
    mot_free(rows);
    return MOT_OK;
}

/* The trace of the root of a b. */
static int trace_of_root(const double *a, const double *b, int64_t d, double *out)
{
    size_t square = (size_t)d * (size_t)d;
    double *l = mot_alloc(square, sizeof *l), *columns = mot_alloc(square, sizeof *columns), *product = mot_alloc(square, sizeof *product);
    double *m = mot_alloc(square, sizeof *m), *value = mot_alloc((size_t)d, sizeof *value);
    int rc = l && columns && product && m && value ? MOT_OK : MOT_ENOMEM;
    *out = 0;
    int64_t rank = rc ? 0 : mot_cholesky(a, d, value, l);
    for (int64_t r = 0; r < rank; r++) /* its rows are L's columns */
        for (int64_t i = 0; i < d; i++)
            columns[i * rank + r] = l[r * d + i];
    if (!rc)
        mot_add_product(b, d, columns, rank, d, product);
    if (!rc)
        mot_add_product(columns, rank, product, rank, d, m);
    if (!rc)
        rc = mot_eigenvalues(m, rank, value);
    for (int64_t i = 0; !rc && i < rank; i++)
        *out += value[i] > 0 ? sqrt(value[i]) : 0;
    mot_free(l);
    mot_free(columns);
    mot_free(product);
    mot_free(m);
    mot_free(value);
    return rc;
}

int mot_frechet(const struct mot_gallery *a, const struct mot_gallery *b, const int64_t *pick, double *out)
{
    struct gaussian p = {0}, q = {0};
    double sum = 0, root = 0;
    *out = NAN;
    if (a->n < 2 || b->n < 2)
        return mot_fail(MOT_EARG, "%lld and %lld pictures: a distance needs two or more of either", (long long)a->n, (long long)b->n);
    if (a->d != b->d)
        return mot_fail(MOT_EARG, "pictures of %d and of %d features cannot be compared", a->d, b->d);
    int rc = fit(a, pick, 0, &p);
    if (!rc)
        rc = fit(b, pick ? pick + a->n : NULL, a->n, &q);
    for (int64_t i = 0; !rc && i < a->d; i++)
        sum += (p.mean[i] - q.mean[i]) * (p.mean[i] - q.mean[i]) + p.covariance[i * a->d + i] + q.covariance[i * a->d + i];
    if (!rc) /* the factor is taken of the smaller set's, whose rank is lower */
        rc = a->n <= b->n ? trace_of_root(p.covariance, q.covariance, a->d, &root)
                          : trace_of_root(q.covariance, p.covariance, a->d, &root);
    if (!rc)
        *out = fmax(0, sum - 2 * root);
    free_gaussian(&p);
    free_gaussian(&q);
    return rc;
}
