/* SPDX-License-Identifier: MIT
 *
 * linear.c - matrix products over groups of rows, each group with its own weight.
 *
 * A product is cut into tiles: blocks of rows of one group, and blocks of columns too where rows
 * are few.  The tiles of all groups stand in one list and one parallel region works it off, each
 * tile a call of a BLAS that keeps to its thread.  So a batch split over many weights costs what a
 * dense one does, small groups fill the gaps that large ones leave, and there is one pool of
 * threads. A sum is never split between tiles, so it does not matter which thread takes which.
 */
#include <limits.h>
#include <omp.h>

#include "cpu.h"

#include <cblas.h>
#undef I /* <complex.h>, which cblas.h includes, makes it a macro */

/* A matrix of the list, `rows` by `cols`, cut into n_rows by n_cols tiles. */
struct cut {
    int64_t rows, cols, n_rows, n_cols;
};

struct tile {
    struct mot_range rows, cols;
};

/* Cut into about `tiles` tiles, along the longer side as far as that goes: every tile packs both
 * its operands anew, so long ones pack least.  Below some 96 rows or columns packing shows. */
static struct cut cut_of(int64_t rows, int64_t cols, int64_t tiles)
{
    struct cut c = {rows, cols, 0, 0};
    if (rows == 0 || cols == 0)
        return c;
    int64_t most_rows = (rows + 95) / 96, most_cols = (cols + 95) / 96;
    if (rows >= cols) {
        c.n_rows = most_rows < tiles ? most_rows : tiles;
        c.n_cols = most_cols * c.n_rows < tiles ? most_cols : (tiles + c.n_rows - 1) / c.n_rows;
    } else {
        c.n_cols = most_cols < tiles ? most_cols : tiles;
        c.n_rows = most_rows * c.n_cols < tiles ? most_rows : (tiles + c.n_cols - 1) / c.n_cols;
    }
    return c;
}

/* Tiles wanted of a matrix that is `part` of the `whole` work: two a thread in all.  More would
 * spread better over uneven cores, but packing then costs as much. */
static int64_t tiles_of(int threads, int64_t part, int64_t whole)
{
    return threads == 1 || whole == 0 ? 1 : (2 * threads * part + whole - 1) / whole;
}

/* The n-th tile of a cut, in steps of 16: a whole number of vectors and of BLAS's own blocks. */
static struct tile tile_of(const struct cut *c, int64_t n)
{
    return (struct tile){
        mot_cpu_share(c->rows, 16, (int)(n / c->n_cols), (int)c->n_rows),
        mot_cpu_share(c->cols, 16, (int)(n % c->n_cols), (int)c->n_cols),
    };
}

void mot_cpu_gemm(int tA, int tB, int64_t m, int64_t n, int64_t k, const float *A, int64_t lda,
                  const float *B, int64_t ldb, float *C, int64_t ldc, int add)
{
    if (m == 0 || n == 0)
        return;
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    assert(lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    cblas_sgemm(CblasRowMajor, tA ? CblasTrans : CblasNoTrans, tB ? CblasTrans : CblasNoTrans,
                (int)m, (int)n, (int)k, 1.0f, A, (int)lda, B, (int)ldb, add ? 1.0f : 0.0f, C,
                (int)ldc);
}

/* -- y = x w^T and dx = dy w: rows are tokens -------------------------------------------------- */

/* Put the bias into a tile, so that the product adds to it. */
static void put_bias(float *y, const float *b, struct tile t, int64_t O, int add)
{
    for (int64_t i = t.rows.begin; i < t.rows.end; i++)
        for (int64_t o = t.cols.begin; o < t.cols.end; o++)
            y[i * O + o] = b[o] + (add ? y[i * O + o] : 0);
}

void mot_cpu_linear(struct mot_device *d, float *y, const float *x, const float *params,
                    const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    int64_t N = mot_cpu_rows(g, G);
    int workers = mot_cpu_workers(d, N * I * O / 8);
#pragma omp parallel num_threads(workers)
    for (int k = 0; k < G; k++) {
        const float *w = params + g[k].w, *x_k = x + g[k].row * I;
        float *y_k = y + g[k].row * O;
        struct cut c = cut_of(g[k].rows, O, tiles_of(workers, g[k].rows, N));
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t n = 0; n < c.n_rows * c.n_cols; n++) {
            struct tile t = tile_of(&c, n);
            double begin = mot_cpu_begin(d);
            if (g[k].b >= 0)
                put_bias(y_k, params + g[k].b, t, O, add);
            mot_cpu_gemm(0, 1, t.rows.end - t.rows.begin, t.cols.end - t.cols.begin, I,
                         x_k + t.rows.begin * I, I, w + t.cols.begin * I, I,
                         y_k + t.rows.begin * O + t.cols.begin, O, add || g[k].b >= 0);
            mot_cpu_end(d, k, begin);
        }
    }
}

void mot_cpu_linear_back_x(struct mot_device *d, float *dx, const float *dy, const float *params,
                           const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    int64_t N = mot_cpu_rows(g, G);
    int workers = mot_cpu_workers(d, N * I * O / 8);
#pragma omp parallel num_threads(workers)
    for (int k = 0; k < G; k++) {
        const float *w = params + g[k].w, *dy_k = dy + g[k].row * O;
        float *dx_k = dx + g[k].row * I;
        struct cut c = cut_of(g[k].rows, I, tiles_of(workers, g[k].rows, N));
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t n = 0; n < c.n_rows * c.n_cols; n++) {
            struct tile t = tile_of(&c, n);
            double begin = mot_cpu_begin(d);
            mot_cpu_gemm(0, 0, t.rows.end - t.rows.begin, t.cols.end - t.cols.begin, O,
                         dy_k + t.rows.begin * O, O, w + t.cols.begin, I,
                         dx_k + t.rows.begin * I + t.cols.begin, I, add);
            mot_cpu_end(d, k, begin);
        }
    }
}

/* -- dw += dy^T x: rows are those of the weight, and tokens are summed ------------------------- */

/* Whether an earlier group names the same weight (or bias): it then stands for both, and the sums
 * of all its namesakes are made in order by the thread that has the tile. */
static int named_before(const struct mot_group *g, int k, int bias)
{
    for (int j = 0; j < k; j++)
        if (bias ? g[j].b == g[k].b : g[j].w == g[k].w)
            return 1;
    return 0;
}

static int64_t rows_named(const struct mot_group *g, int G, int64_t w)
{
    int64_t rows = 0;
    for (int k = 0; k < G; k++)
        rows += g[k].w == w ? g[k].rows : 0;
    return rows;
}

/* db[o] += sum_i dy[i,o] for the columns of one share */
static void sum_rows(float *db, const float *dy, const struct mot_group *g, struct mot_range cols,
                     int64_t O)
{
    for (int64_t i = g->row; i < g->row + g->rows; i++) {
        const float *dy_i = dy + i * O;
#pragma omp simd
        for (int64_t o = cols.begin; o < cols.end; o++)
            db[o] += dy_i[o];
    }
}

static void weight_tile(float *dw, const float *dy, const float *x, const struct mot_group *g,
                        int G, int64_t w, struct tile t, int64_t I, int64_t O)
{
    for (int k = 0; k < G; k++)
        if (g[k].w == w && g[k].rows > 0)
            mot_cpu_gemm(1, 0, t.rows.end - t.rows.begin, t.cols.end - t.cols.begin, g[k].rows,
                         dy + g[k].row * O + t.rows.begin, O, x + g[k].row * I + t.cols.begin, I,
                         dw + t.rows.begin * I + t.cols.begin, I, 1);
}

void mot_cpu_linear_back_w(struct mot_device *d, float *grads, const float *dy, const float *x,
                           const struct mot_group *g, int G, int64_t I, int64_t O)
{
    int64_t N = mot_cpu_rows(g, G);
    int workers = mot_cpu_workers(d, N * I * O / 8);
#pragma omp parallel num_threads(workers)
    for (int k = 0; k < G; k++) {
        int64_t rows = rows_named(g, G, g[k].w);
        if (rows > 0 && !named_before(g, k, 0)) {
            struct cut c = cut_of(O, I, tiles_of(workers, rows, N));
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t n = 0; n < c.n_rows * c.n_cols; n++) {
                double begin = mot_cpu_begin(d);
                weight_tile(grads + g[k].w, dy, x, g, G, g[k].w, tile_of(&c, n), I, O);
                mot_cpu_end(d, k, begin);
            }
        }
        if (g[k].b >= 0 && !named_before(g, k, 1)) {
#pragma omp for schedule(static) nowait
            for (int part = 0; part < workers; part++) {
                double begin = mot_cpu_begin(d);
                for (int j = k; j < G; j++)
                    if (g[j].b == g[k].b)
                        sum_rows(grads + g[k].b, dy, &g[j], mot_cpu_share(O, 16, part, workers), O);
                mot_cpu_end(d, k, begin);
            }
        }
    }
}
