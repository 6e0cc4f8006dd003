/* SPDX-License-Identifier: MIT
 *
 * symmetric.c - what a Frechet distance needs of linear algebra, in double: products of matrices, a Cholesky factor of a
 * covariance that may not have full rank, and the eigenvalues of a symmetric matrix (Householder's reduction to a tridiagonal
 * one, then QL with implicit shifts; Golub & Van Loan, 8.3).  Matrices lie row by row.
 */
#include <float.h>
#include <math.h>

#include "eval.h"

enum { TILE_I = 4, TILE_J = 8, BLOCK = 64 };

/* c (TILE_I, TILE_J) += a^T b over n rows. */
static void tile(const double *restrict a, int64_t p, const double *restrict b, int64_t q, int64_t n, double *restrict c)
{
    double sum[TILE_I][TILE_J] = {{0}};
    for (int64_t k = 0; k < n; k++)
        for (int i = 0; i < TILE_I; i++)
            for (int j = 0; j < TILE_J; j++)
                sum[i][j] += a[k * p + i] * b[k * q + j];
    for (int i = 0; i < TILE_I; i++)
        for (int j = 0; j < TILE_J; j++)
            c[i * q + j] += sum[i][j];
}

/* The same at the edges: a tile of h x w. */
static void edge(const double *a, int64_t p, const double *b, int64_t q, int64_t n, double *c, int64_t h, int64_t w)
{
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += a[k * p + i] * b[k * q + j];
            c[i * q + j] += sum;
        }
}

void mot_add_product(const double *a, int64_t p, const double *b, int64_t q, int64_t n, double *c)
{
#pragma omp parallel for schedule(dynamic, 4) if (p * q > BLOCK * BLOCK)
    for (int64_t i = 0; i < p; i += TILE_I)
        for (int64_t k = 0; k < n; k += BLOCK) {
            int64_t rows = n - k < BLOCK ? n - k : BLOCK;
            for (int64_t j = 0; j < q; j += TILE_J) {
                int64_t h = p - i < TILE_I ? p - i : TILE_I, w = q - j < TILE_J ? q - j : TILE_J;
                if (h == TILE_I && w == TILE_J)
                    tile(a + k * p + i, p, b + k * q + j, q, rows, c + i * q + j);
                else
                    edge(a + k * p + i, p, b + k * q + j, q, rows, c + i * q + j, h, w);
            }
        }
}

/* ---- Cholesky with pivots ---- */

int64_t mot_cholesky(const double *s, int64_t n, double *left, double *l)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, left[i] = s[i * n + i]);
    for (int64_t r = 0; r < n; r++) {
        int64_t at = 0;
        for (int64_t i = 1; i < n; i++)
            if (left[i] > left[at])
                at = i;
        if (!(left[at] > (double)n * DBL_EPSILON * most)) /* what is left is rounding */
            return r;
        double *restrict own = l + r * n, root = sqrt(left[at]);
        for (int64_t i = 0; i < n; i++)
            own[i] = s[at * n + i];
        for (int64_t k = 0; k < r; k++) {
            const double *restrict row = l + k * n, x = row[at];
            for (int64_t i = 0; i < n; i++)
                own[i] -= x * row[i];
        }
        for (int64_t i = 0; i < n; i++) {
            own[i] /= root;
            left[i] -= own[i] * own[i];
        }
        left[at] = 0;
    }
    return n;
}

/* ---- eigenvalues ---- */

/* Householder's reflection that takes x (n) to a multiple of the first unit vector: x becomes v, of which I - v v^T is the
 * reflection; the multiple is returned. */
static double reflect(double *x, int64_t n)
{
    double largest = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(x[i]));
    if (largest == 0)
        return 0;
    for (int64_t i = 0; i < n; i++)
        square += x[i] / largest * (x[i] / largest);
    double norm = largest * sqrt(square), to = x[0] > 0 ? -norm : norm;
    x[0] -= to;
    double scale = 1 / sqrt(fabs(to) * (fabs(to) + fabs(x[0] + to))); /* v.v = 2 */
    for (int64_t i = 0; i < n; i++)
        x[i] *= scale;
    return to;
}

/* a becomes (I - v v^T) a (I - v v^T) in the lower half of its last m rows and columns. */
static void apply(double *a, int64_t n, int64_t m, const double *restrict v, double *restrict w)
{
    double *last = a + (n - m) * n + (n - m), product = 0;
    for (int64_t i = 0; i < m; i++) {
        const double *restrict row = last + i * n;
        double sum = row[i] * v[i], own = v[i];
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < i; j++) {
            sum += row[j] * v[j];
            w[j] += row[j] * own;
        }
        w[i] = sum;
    }
    for (int64_t i = 0; i < m; i++)
        product += v[i] * w[i];
    for (int64_t i = 0; i < m; i++)
        w[i] -= product / 2 * v[i];
    for (int64_t i = 0; i < m; i++) {
        double *restrict row = last + i * n, x = v[i], y = w[i];
        for (int64_t j = 0; j <= i; j++)
            row[j] -= x * w[j] + y * v[j];
    }
}

/* d: the diagonal, e: e[i] is between i and i + 1.  v, w: room for n. */
static void tridiagonal(double *a, int64_t n, double *d, double *e, double *v, double *w)
{
    for (int64_t k = 0; k + 2 < n; k++) {
        int64_t m = n - k - 1;
        d[k] = a[k * n + k];
        for (int64_t i = 0; i < m; i++)
            v[i] = a[(k + 1 + i) * n + k];
        e[k] = reflect(v, m);
        apply(a, n, m, v, w);
    }
    for (int64_t k = n > 2 ? n - 2 : 0; k < n; k++) {
        d[k] = a[k * n + k];
        e[k] = k + 1 < n ? a[(k + 1) * n + k] : 0;
    }
}

/* One sweep of QL over rows [l, m], with Wilkinson's shift. */
static void sweep(double *d, double *e, int64_t l, int64_t m)
{
    double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    for (int64_t i = m - 1; i >= l; i--) {
        double f = s * e[i], b = c * e[i];
        e[i + 1] = r = hypot(f, g);
        if (r == 0) { /* it has split in between */
            d[i + 1] -= p;
            e[m] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
}

int mot_eigenvalues(double *a, int64_t n, double *d)
{
    enum { SWEEPS = 100 }; /* two are usual */
    double *room = mot_alloc(3 * (size_t)n, sizeof *room), *e = room;
    if (!room)
        return MOT_ENOMEM;
    tridiagonal(a, n, d, e, room + n, room + 2 * n);
    int rc = MOT_OK;
    for (int64_t l = 0; !rc && l < n; l++)
        for (int tries = 0;; tries++) {
            int64_t m = l;
            while (m + 1 < n && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])))
                m++;
            if (m == l)
                break;
            if (tries == SWEEPS) {
                rc = mot_fail(MOT_EARG, "the eigenvalues of a matrix of %lld rows do not converge", (long long)n);
                break;
            }
            sweep(d, e, l, m);
        }
    mot_free(room);
    return rc;
}
