/* SPDX-License-Identifier: MIT
 *
 * norm.cu - RMSNorm (Zhang & Sennrich 2019) over rows, each group of rows with its own weight.
 *
 * Forward, a warp has a row and reads it twice, the second time from its cache.  Backward, a block has
 * some rows of one group, and each of its threads some columns, for which it sums the gradient of
 * the weight in shared memory; the blocks' sums are then added in order.
 */
#include "cuda.h"

namespace mot_cuda
{

enum {
    WARPS = 4,
    MOST_THREADS = 256,
    SPACE = 32,              /* values of block_sum */
    MOST_SHARED = 48 * 1024, /* beyond this, sums of columns lie in device memory */
};

/* Blocks that a group's rows are dealt to. */
static int64_t parts_of(const mot_device *d, int G)
{
    return 1 + 4 * d->units / (G > 0 ? G : 1);
}

/* Parts of all groups, if they are at most G. */
static int64_t most_parts(const mot_device *d, int G)
{
    return G + 4 * d->units;
}

size_t norm_need(const mot_device *d, const mot_limits *l)
{
    int G = l->G < MOST_GROUPS ? l->G : (int)MOST_GROUPS;
    int64_t C = l->norm_C > l->C ? l->norm_C : l->C;
    return l->train ? (size_t)(most_parts(d, G) * C) * sizeof(float) : 0;
}

/* -- forward ------------------------------------------------------------------------------------- */

template <class A, int W>
static __global__ void norm_rows(A *y, float *rstd, const A *x, const A *res, const float *params,
                                 groups g, int64_t C, float eps)
{
    int64_t row;
    int lane = (int)threadIdx.x % 32;
    int k = group_of(g, (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, &row);
    if (row < 0)
        return;
    const A *from = x + row * C;
    float sum = 0;
    for (int64_t c = lane * W; c < C; c += 32 * W) {
        float v[W];
        load<W>(v, from + c);
        for (int j = 0; j < W; j++)
            sum += v[j] * v[j];
    }
    float r = 1 / sqrtf(warp_sum(sum) / (float)C + eps);
    for (int64_t c = lane * W; c < C; c += 32 * W) {
        float v[W], w[W], old[W] = {};
        load<W>(v, from + c);
        load_weights<W>(w, params + g.g[k].w + c);
        if (res)
            load<W>(old, res + row * C + c);
        for (int j = 0; j < W; j++)
            v[j] = old[j] + w[j] * (v[j] * r);
        store<W>(y + row * C + c, v);
    }
    if (lane == 0)
        rstd[row] = r;
}

template <class A>
void rmsnorm(mot_device *d, float *y, float *rstd, const float *x, const float *res,
             const float *params, const mot_group *g, int G, int64_t C, float eps)
{
    watched w(d);
    bool fast = aligned<A>(C, y, x, res);
    groups some;
    for (int at = 0; next_groups(d, &some, g, G, &at);)
        run(d, "rmsnorm", fast ? norm_rows<A, wide<A>> : norm_rows<A, 1>,
            dim3((unsigned)ceil_div(some.rows, WARPS)), 32 * WARPS, 0, (A *)y, rstd, (const A *)x,
            (const A *)res, params, some, C, eps);
}

/* -- backward ------------------------------------------------------------------------------------ */

/* Block (p,k) has the p-th part of group k's rows, and leaves sums (p,k,C). */
template <class A, int W>
static __global__ void norm_rows_back(A *dx, float *sums, const A *dy, const A *x,
                                      const float *rstd, const float *params, groups g, int64_t C,
                                      int add, bool in_shared)
{
    float *space = (float *)shared_memory();
    row_range mine = own_rows(g, (int)blockIdx.y);
    float *left = sums + ((int64_t)blockIdx.x * g.n + blockIdx.y) * C;
    float *dw = in_shared ? space + SPACE : left;
    const float *weight = params + g.g[blockIdx.y].w;
    int64_t first = (int64_t)threadIdx.x * W, step = (int64_t)blockDim.x * W;
    int64_t begin = mine.n * blockIdx.x / gridDim.x, end = mine.n * (blockIdx.x + 1) / gridDim.x;
    for (int64_t c = first; c < C; c += step)
        for (int j = 0; j < W; j++)
            dw[c + j] = 0;
    for (int64_t row = mine.first + begin; row < mine.first + end; row++) {
        float r = rstd[row], s = 0;
        for (int64_t c = first; c < C; c += step) {
            float t[W], v[W], w[W];
            load<W>(t, dy + row * C + c);
            load<W>(v, x + row * C + c);
            load_weights<W>(w, weight + c);
            for (int j = 0; j < W; j++)
                s += t[j] * w[j] * v[j];
        }
        s = block_sum(s, space) * (r * r / (float)C); /* n s of the contract is x times this */
        for (int64_t c = first; c < C; c += step) {
            float t[W], v[W], w[W], old[W] = {};
            load<W>(t, dy + row * C + c);
            load<W>(v, x + row * C + c);
            load_weights<W>(w, weight + c);
            if (add)
                load<W>(old, dx + row * C + c);
            for (int j = 0; j < W; j++) {
                dw[c + j] += t[j] * (v[j] * r);
                v[j] = old[j] + r * (w[j] * t[j] - v[j] * s);
            }
            store<W>(dx + row * C + c, v);
        }
    }
    for (int64_t c = first; in_shared && c < C; c += step)
        for (int j = 0; j < W; j++)
            left[c + j] = dw[c + j];
}

template <class A>
void rmsnorm_back(mot_device *d, float *dx, float *grads, const float *dy, const float *x,
                  const float *rstd, const float *params, const mot_group *g, int G, int64_t C,
                  int add)
{
    watched w(d);
    bool fast = aligned<A>(C, dx, dy, x);
    int64_t pieces = ceil_div(C, fast ? wide<A> : 1);
    unsigned threads = (unsigned)at_most(ceil_div(pieces, 32) * 32, MOST_THREADS);
    size_t shared = (size_t)(SPACE + C) * sizeof(float);
    bool in_shared = shared <= MOST_SHARED;
    groups some;
    for (int at = 0; next_groups(d, &some, g, G, &at);) {
        int64_t parts = at_most(some.most, parts_of(d, some.n));
        float *sums = workspace_of<float>(d, parts * some.n * C);
        if (!sums || parts == 0)
            continue;
        run(d, "rmsnorm_back", fast ? norm_rows_back<A, wide<A>> : norm_rows_back<A, 1>,
            dim3((unsigned)parts, (unsigned)some.n), threads,
            in_shared ? shared : SPACE * sizeof(float), (A *)dx, sums, (const A *)dy, (const A *)x,
            rstd, params, some, C, add, in_shared);
        add_parts(d, grads, sums, some, parts, C);
    }
}

template void rmsnorm<float>(mot_device *, float *, float *, const float *, const float *,
                             const float *, const mot_group *, int, int64_t, float);
template void rmsnorm<bf16>(mot_device *, float *, float *, const float *, const float *,
                            const float *, const mot_group *, int, int64_t, float);
template void rmsnorm_back<float>(mot_device *, float *, float *, const float *, const float *,
                                  const float *, const float *, const mot_group *, int, int64_t,
                                  int);
template void rmsnorm_back<bf16>(mot_device *, float *, float *, const float *, const float *,
                                 const float *, const float *, const mot_group *, int, int64_t,
                                 int);

} // namespace mot_cuda
