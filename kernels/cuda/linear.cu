/* SPDX-License-Identifier: MIT
 *
 * linear.cu - grouped linear layers: one product of the library's a group, and its bias with it; or one of
 * grouped.cu for all groups.  The gradient of a bias is a sum of columns, made here.
 */
#include "gemm.h"
#include "grouped.h"

namespace mot_cuda
{

enum { THREADS = 128 };

static int64_t parts_of(const mot_device *d, int G)
{
    return 1 + 2 * d->units / (G > 0 ? G : 1);
}

/* Parts of all groups, if they are at most G. */
static int64_t most_parts(const mot_device *d, int G)
{
    return G + 2 * d->units;
}

size_t linear_need(const mot_device *d, const mot_limits *l)
{
    int64_t width = l->C > l->F ? l->C : l->F, heads = (l->H + 2 * l->K) * l->D;
    width = width > heads ? width : heads;
    for (int i = 0; i < l->n_products; i++)
        width = width > l->product[i].out ? width : l->product[i].out;
    int G = l->G < MOST_GROUPS ? l->G : (int)MOST_GROUPS;
    size_t sums = (size_t)(most_parts(d, G) * width) * sizeof(float);
    return l->train && sums > gemm_need() ? sums : gemm_need();
}

template <class A> static product product_of(int64_t m, int64_t n, int64_t k)
{
    product p = {};
    p.m = m, p.n = n, p.k = k;
    p.half = p.c_half = sizeof(A) == 2;
    return p;
}

template <class A>
void linear(mot_device *d, float *y, const float *x, const float *params, const mot_group *g, int G,
            int64_t I, int64_t O, int add)
{
    watched watch(d);
    if (sizeof(A) == 2 && grouped_suits(d, g, G)) {
        grouped_linear(d, y, x, params, g, G, I, O, add);
        return;
    }
    if (d->past > 0) {
        linear_by_row(d, y, x, params, g, G, I, O, add);
        return;
    }
    void *work = workspace(d, gemm_need());
    for (int k = 0; k < G && work; k++) {
        if (g[k].rows == 0)
            continue;
        product p = product_of<A>(g[k].rows, O, I);
        p.a = (const A *)x + g[k].row * I, p.lda = I;
        p.b = weights<A>(d, params + g[k].w), p.ldb = I, p.tb = true;
        p.c = (A *)y + g[k].row * O, p.ldc = O;
        p.bias = g[k].b >= 0 ? weights<A>(d, params + g[k].b) : NULL;
        p.add = add;
        multiply(d, p, work);
    }
}

template <class A>
void linear_back_x(mot_device *d, float *dx, const float *dy, const float *params,
                   const mot_group *g, int G, int64_t I, int64_t O, int add)
{
    watched watch(d);
    if (sizeof(A) == 2 && grouped_suits(d, g, G)) {
        grouped_back_x(d, dx, dy, params, g, G, I, O, add);
        return;
    }
    void *work = workspace(d, gemm_need());
    for (int k = 0; k < G && work; k++) {
        if (g[k].rows == 0)
            continue;
        product p = product_of<A>(g[k].rows, I, O);
        p.a = (const A *)dy + g[k].row * O, p.lda = O;
        p.b = weights<A>(d, params + g[k].w), p.ldb = I;
        p.c = (A *)dx + g[k].row * I, p.ldc = I;
        p.add = add;
        multiply(d, p, work);
    }
}

/* -- the gradient of biases ----------------------------------------------------------------------- */

/* Block (x,p,k): W columns a thread, the p-th part of group k's rows; sums (p,k,O). */
template <class A, int W>
static __global__ void sum_columns(float *sums, const A *dy, groups g, int64_t O)
{
    row_range mine = own_rows(g, (int)blockIdx.z);
    int64_t c = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    int64_t begin = mine.n * blockIdx.y / gridDim.y, end = mine.n * (blockIdx.y + 1) / gridDim.y;
    if (c >= O)
        return;
    float sum[W] = {}, x[W];
    for (int64_t row = mine.first + begin; row < mine.first + end; row++) {
        load<W>(x, dy + row * O + c);
        for (int j = 0; j < W; j++)
            sum[j] += x[j];
    }
    for (int j = 0; j < W; j++)
        sums[((int64_t)blockIdx.y * g.n + blockIdx.z) * O + c + j] = sum[j];
}

template <class A>
static void biases_back(mot_device *d, float *grads, const A *dy, const mot_group *g, int G,
                        int64_t O)
{
    bool fast = aligned<A>(O, dy);
    groups some;
    for (int at = 0; next_groups(d, &some, g, G, &at);) {
        int64_t parts = at_most(some.most, parts_of(d, some.n));
        float *sums = workspace_of<float>(d, parts * some.n * O);
        for (int k = 0; k < some.n; k++)
            some.g[k].w = some.g[k].b; /* where the sums go */
        if (!sums || parts == 0)
            continue;
        run(d, "linear_back_w, biases", fast ? sum_columns<A, wide<A>> : sum_columns<A, 1>,
            dim3((unsigned)ceil_div(O, THREADS * (fast ? wide<A> : 1)), (unsigned)parts,
                 (unsigned)some.n),
            THREADS, 0, sums, dy, some, O);
        add_parts(d, grads, sums, some, parts, O);
    }
}

/* The weights', a product of the library's each. */
template <class A>
static void weights_back(mot_device *d, float *grads, const A *dy, const A *x, const mot_group *g, int G,
                         int64_t I, int64_t O)
{
    void *work = workspace(d, gemm_need());
    for (int k = 0; k < G && work; k++) {
        if (g[k].rows == 0)
            continue;
        product p = product_of<A>(O, I, g[k].rows);
        p.a = dy + g[k].row * O, p.lda = O, p.ta = true;
        p.b = x + g[k].row * I, p.ldb = I;
        p.c = grads + g[k].w, p.ldc = I, p.c_half = false;
        p.add = true;
        multiply(d, p, work);
    }
}

template <class A>
void linear_back_w(mot_device *d, float *grads, const float *dy, const float *x, const mot_group *g,
                   int G, int64_t I, int64_t O)
{
    watched watch(d);
    if (sizeof(A) == 2 && grouped_suits(d, g, G))
        grouped_back_w(d, grads, dy, x, g, G, I, O);
    else
        weights_back<A>(d, grads, (const A *)dy, (const A *)x, g, G, I, O);
    bool any_bias = false;
    for (int k = 0; k < G; k++)
        any_bias = any_bias || g[k].b >= 0;
    if (any_bias)
        biases_back<A>(d, grads, (const A *)dy, g, G, O);
}

template void linear<float>(mot_device *, float *, const float *, const float *, const mot_group *,
                            int, int64_t, int64_t, int);
template void linear<bf16>(mot_device *, float *, const float *, const float *, const mot_group *,
                           int, int64_t, int64_t, int);
template void linear_back_x<float>(mot_device *, float *, const float *, const float *,
                                   const mot_group *, int, int64_t, int64_t, int);
template void linear_back_x<bf16>(mot_device *, float *, const float *, const float *,
                                  const mot_group *, int, int64_t, int64_t, int);
template void linear_back_w<float>(mot_device *, float *, const float *, const float *,
                                   const mot_group *, int, int64_t, int64_t);
template void linear_back_w<bf16>(mot_device *, float *, const float *, const float *,
                                  const mot_group *, int, int64_t, int64_t);

} // namespace mot_cuda
