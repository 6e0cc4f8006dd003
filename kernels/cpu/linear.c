/* SPDX-License-Identifier: MIT
 *
 * linear.c - matrix products over groups of rows, each group with its own weight.
 *
 * A product is cut into parts: blocks of rows of one group by columns.  The right-hand operands of
 * all groups are packed first, once for everybody (product.h); then the parts of all groups stand
 * in one list and the same parallel region works it off.  So a batch split over many weights costs
 * what a dense one does, and small groups fill the gaps that large ones leave.
 * A sum is never split between parts, so it does not matter which thread takes which.
 * A few rows do not repay packing: they are multiplied with w as it lies, which is then read once.
 * The sums are the same ones, so a row's result does not depend on how many rows there are.
 */
#include <omp.h>

#include "product.h"

struct mot_cpu_need mot_cpu_linear_need(int threads, const struct mot_limits *l)
{
    (void)threads;
    int64_t hd = l->H * l->D, kd = l->K * l->D;
    const struct mot_product layers[] = {
        {l->N, l->C, hd + 2 * kd}, {l->N, hd, l->C}, {l->N, l->C, 2 * l->F}, {l->N, l->F, l->C}};
    const int n_layers = (int)(sizeof layers / sizeof layers[0]);
    int64_t most = 0, deepest = l->C;
    for (int i = 0; i < n_layers + l->n_products; i++) {
        const struct mot_product *p = i < n_layers ? &layers[i] : &l->product[i - n_layers];
        int64_t in = p->in, out = p->out, G = i < n_layers ? l->G : 1;
        int64_t w = G * packed_floats(in, out), turned = G * packed_floats(out, in);
        int64_t x = packed_floats(p->rows, in);
        most = w > most ? w : most;
        most = l->train && turned > most ? turned : most;
        most = l->train && x > most ? x : most;
        deepest = in > deepest ? in : deepest;
        deepest = out > deepest ? out : deepest;
    }
    return (struct mot_cpu_need){.shared = (size_t)most * sizeof(float),
                                 .scratch = (size_t)(PRODUCT_SCRATCH + packed_floats(deepest, PANEL)) * sizeof(float)};
}

/* -- y = x w^T and dx = dy w: rows are tokens -------------------------------------------------- */

/* Put the bias into a part of y, so that the product adds to it. */
static void put_bias(float *y, const float *b, struct product_part p, int64_t O, int add)
{
    for (int64_t i = p.rows.begin; i < p.rows.end; i++)
        for (int64_t o = p.cols.begin; o < p.cols.end; o++)
            y[i * O + o] = b[o] + (add ? y[i * O + o] : 0);
}

/* Few rows, as when a sequence is continued token by token: y (N,O) (+)= x (N,I) w^T. */
static void few_rows(struct mot_device *d, float *y, const float *x, const float *params,
                     const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    int workers = mot_cpu_workers(d, mot_cpu_rows(g, G) * O * I / 8);
#pragma omp parallel num_threads(workers)
    for (int e = 0; e < G; e++) {
        float *y_e = y + g[e].row * O;
        bool biased = g[e].b >= 0;
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < (g[e].rows > 0 ? panels_of(O) : 0); i++) {
            double begin = mot_cpu_begin(d);
            struct product_part p = {{0, g[e].rows}, {i * PANEL, O < (i + 1) * PANEL ? O : (i + 1) * PANEL}};
            if (biased)
                put_bias(y_e, params + g[e].b, p, O, add);
            thin_panel(d, y_e, O, x + g[e].row * I, g[e].rows, params + g[e].w, I, i, add || biased);
            mot_cpu_end(d, e, begin);
        }
    }
}

/* c (N,n) (+)= a (N,k) B; B (k,n) of a group has element (i,j) at w[i * w_row + j * w_col]. */
static void grouped(struct mot_device *d, float *c, const float *a, const float *params,
                    const struct mot_group *g, int G, int64_t k, int64_t n, int64_t w_row,
                    int64_t w_col, int add, bool bias)
{
    int64_t N = mot_cpu_rows(g, G), size = packed_floats(k, n);
    int workers = mot_cpu_workers(d, N * n * k / 8);
    float *packed = mot_cpu_shared(d, (size_t)(G * size) * sizeof(float)); /* (G,size) */
#pragma omp parallel num_threads(workers)
    {
        for (int e = 0; e < G; e++) {
            struct tile_a w = {params + g[e].w, w_row, w_col};
#pragma omp for schedule(static) nowait
            for (int64_t i = 0; i < (g[e].rows > 0 ? panels_of(n) : 0); i++) {
                double begin = mot_cpu_begin(d);
                pack_panel(packed + e * size + i * PANEL * packed_depth(k), w, k, n, i);
                mot_cpu_end(d, e, begin);
            }
        }
#pragma omp barrier
        for (int e = 0; e < G; e++) {
            struct product_cut cut = product_cut(g[e].rows, n, workers, g[e].rows, N);
            struct tile_a a_e = {a + g[e].row * k, k, 1};
            float *c_e = c + g[e].row * n;
            bool biased = bias && g[e].b >= 0;
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t i = 0; i < cut.n_rows * cut.n_cols; i++) {
                struct product_part p = product_part(&cut, i);
                double begin = mot_cpu_begin(d);
                if (biased)
                    put_bias(c_e, params + g[e].b, p, n, add);
                product(d, c_e, n, a_e, packed + e * size + p.cols.begin * packed_depth(k), p, k,
                        add || biased);
                mot_cpu_end(d, e, begin);
            }
        }
    }
}

void mot_cpu_linear(struct mot_device *d, float *y, const float *x, const float *params,
                    const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    if (mot_cpu_rows(g, G) <= MOT_FEW) /* for more, packing w once costs less than reading it again for every few */
        few_rows(d, y, x, params, g, G, I, O, add);
    else
        grouped(d, y, x, params, g, G, I, O, 1, I, add, true);
}

void mot_cpu_logits(struct mot_device *d, float *z, const float *x, const float *w, int64_t N,
                    int64_t C, int64_t V)
{
    const struct mot_group g = {0, N, 0, -1, 0, 0};
    few_rows(d, z, x, w, &g, 1, C, V, 0);
}

void mot_cpu_linear_back_x(struct mot_device *d, float *dx, const float *dy, const float *params,
                           const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    grouped(d, dx, dy, params, g, G, O, I, I, 1, add, false);
}

/* -- dw += dy^T x: rows are those of the weight, and tokens are summed ------------------------- */

/* Whether an earlier group names the same weight (or bias): it then stands for both, and the sums
 * of all its namesakes are made in order by the thread that has the part. */
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

/* packed: x (rows,I) of each group, one behind the other. */
static void weight_part(struct mot_device *d, float *dw, const float *dy, const float *packed,
                        const struct mot_group *g, int G, int64_t w, struct product_part p,
                        int64_t I, int64_t O)
{
    for (int k = 0; k < G; k++) {
        if (g[k].w == w && g[k].rows > 0)
            product(d, dw, I, (struct tile_a){dy + g[k].row * O, 1, O},
                    packed + p.cols.begin * packed_depth(g[k].rows), p, g[k].rows, true);
        packed += packed_floats(g[k].rows, I);
    }
}

void mot_cpu_linear_back_w(struct mot_device *d, float *grads, const float *dy, const float *x,
                           const struct mot_group *g, int G, int64_t I, int64_t O)
{
    int64_t N = mot_cpu_rows(g, G);
    int workers = mot_cpu_workers(d, N * I * O / 8);
    float *packed = mot_cpu_shared(d, (size_t)packed_floats(N, I) * sizeof(float));
#pragma omp parallel num_threads(workers)
    {
        float *to = packed;
        for (int k = 0; k < G; k++) {
            struct tile_a x_k = {x + g[k].row * I, I, 1};
#pragma omp for schedule(static) nowait
            for (int64_t p = 0; p < panels_of(I); p++) {
                double begin = mot_cpu_begin(d);
                pack_panel(to + p * PANEL * packed_depth(g[k].rows), x_k, g[k].rows, I, p);
                mot_cpu_end(d, k, begin);
            }
            to += packed_floats(g[k].rows, I);
        }
#pragma omp barrier
        for (int k = 0; k < G; k++) {
            int64_t rows = rows_named(g, G, g[k].w);
            if (rows > 0 && !named_before(g, k, 0)) {
                struct product_cut cut = product_cut(O, I, workers, rows, N);
#pragma omp for schedule(dynamic, 1) nowait
                for (int64_t i = 0; i < cut.n_rows * cut.n_cols; i++) {
                    struct product_part p = product_part(&cut, i);
                    double begin = mot_cpu_begin(d);
                    weight_part(d, grads + g[k].w, dy, packed, g, G, g[k].w, p, I, O);
                    mot_cpu_end(d, k, begin);
                }
            }
            if (g[k].b >= 0 && !named_before(g, k, 1)) {
#pragma omp for schedule(static) nowait
                for (int part = 0; part < workers; part++) {
                    double begin = mot_cpu_begin(d);
                    for (int j = k; j < G; j++)
                        if (g[j].b == g[k].b)
                            sum_rows(grads + g[k].b, dy, &g[j],
                                     mot_cpu_share(O, 16, part, workers), O);
                    mot_cpu_end(d, k, begin);
                }
            }
        }
    }
}
