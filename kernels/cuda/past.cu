/* SPDX-License-Identifier: MIT
 *
 * past.cu - sequences that grow by a token at a time: what is kept of them, and attention to it.
 *
 * Each token reads all keys and values of its own past once, so memory is what limits it.  A past is
 * cut into parts of a length that the limits settle; a block has one part for one query head, and the
 * parts of a head are put together in order.  Other sequences do not change a result.
 */
#include <math.h>

#include "cuda.h"

namespace mot_cuda
{

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    MOST = 8, /* values of a vector a lane: heads of 256 */
    LEAST_PART = 256,
    MOST_PARTS = 32, /* of a past: as many blocks are launched, however short it is */
    COPIED_AT_ONCE = 64,
};

static int64_t part_of(int64_t past)
{
    int64_t part = ceil_div(ceil_div(past, MOST_PARTS), WARPS) * WARPS;
    return part > LEAST_PART ? part : (int64_t)LEAST_PART;
}

/* Partial results (N,H,parts,D+2). */
size_t past_need(const mot_limits *l)
{
    int64_t parts = ceil_div(l->past, part_of(l->past));
    return (size_t)(l->sequences * l->H * parts * (l->D + 2)) * sizeof(float);
}

/* A head's keys at a layer; its values are K heads further on. */
template <class A> DEVICE A *head_of(const mot_past &p, int64_t layer, int64_t e, int64_t K, int64_t D)
{
    return (A *)p.kv + (2 * layer * K + e) * p.capacity * D;
}

/* Block (n,e,z): positions z, z + gridDim.z, ... of segment n, keys and values of head e. */
template <class A>
static __global__ void remember_kernel(const mot_past *past, int64_t layer, const A *k, const A *v,
                                       const mot_segment *segments, int64_t N, int64_t K, int64_t D)
{
    mot_segment s = segments[blockIdx.x];
    mot_past p = past[blockIdx.x];
    int64_t e = blockIdx.y;
    A *keys = head_of<A>(p, layer, e, K, D) + p.length * D, *values = keys + K * p.capacity * D;
    for (int64_t i = blockIdx.z; i < s.length; i += gridDim.z)
        for (int64_t j = threadIdx.x; j < D; j += THREADS) {
            keys[i * D + j] = k[(e * N + s.begin + i) * D + j];
            values[i * D + j] = v[(e * N + s.begin + i) * D + j];
        }
}

template <class A>
void remember(mot_device *d, const mot_past *past, int64_t layer, const float *k, const float *v,
              const mot_segment *segments, int64_t n_segments, int64_t N, int64_t K, int64_t D)
{
    watched w(d);
    run(d, "remember", remember_kernel<A>,
        dim3((unsigned)n_segments, (unsigned)K, (unsigned)at_most(N, COPIED_AT_ONCE)), THREADS, 0,
        past, layer, (const A *)k, (const A *)v, segments, N, K, D);
}

/* A softmax that is under way, its D values spread over a warp. */
struct running {
    float max, sum, o[MOST];
};

/* Block (c,h,s): part c of what row s sees, for head h: [max, sum, weighted values (D)] to sums (N,H,parts,D+2).
 * A warp has every WARPS-th position; what the warps found is added in their order. */
template <class A>
static __global__ void part_kernel(float *sums, const A *q, const mot_past *past, int64_t layer,
                                   int64_t part, int64_t N, int H, int K, int D, float scale)
{
    int h = (int)blockIdx.y, e = h * K / H, lane = (int)threadIdx.x % 32,
        warp = (int)threadIdx.x / 32;
    int64_t s = blockIdx.z, begin = blockIdx.x * part, step = D + 2;
    mot_past p = past[s];
    int64_t end = at_most(begin + part, p.length + 1);
    if (begin >= end)
        return;
    const A *keys = head_of<A>(p, layer, e, K, D), *values = keys + K * p.capacity * D;
    running r = {-INFINITY, 0, {}};
    float mine[MOST] = {};
    for (int i = 0; i < MOST; i++)
        if (lane + 32 * i < D)
            mine[i] = scale * to_float(q[(h * N + s) * D + lane + 32 * i]);
    for (int64_t t = begin + warp; t < end; t += WARPS) {
        float z = 0;
        for (int i = 0; i < MOST; i++)
            if (lane + 32 * i < D)
                z += mine[i] * to_float(keys[t * D + lane + 32 * i]);
        z = warp_sum(z);
        float max = fmaxf(r.max, z), kept = r.max == -INFINITY ? 0 : expf(r.max - max),
              weight = expf(z - max);
        r.max = max;
        r.sum = r.sum * kept + weight;
        for (int i = 0; i < MOST; i++)
            if (lane + 32 * i < D)
                r.o[i] = r.o[i] * kept + weight * to_float(values[t * D + lane + 32 * i]);
    }
    float *space = (float *)shared_memory(); /* (WARPS,D+2) */
    for (int i = 0; i < MOST; i++)
        if (lane + 32 * i < D)
            space[warp * step + 2 + lane + 32 * i] = r.o[i];
    if (lane == 0)
        space[warp * step] = r.max, space[warp * step + 1] = r.sum;
    __syncthreads();
    float max = space[0], *to = sums + ((s * H + h) * gridDim.x + blockIdx.x) * step;
    for (int w = 1; w < WARPS; w++)
        max = fmaxf(max, space[w * step]);
    for (int64_t j = threadIdx.x; j <= D; j += THREADS) { /* the sum, then the values */
        float all = 0;
        for (int w = 0; w < WARPS; w++)
            all += expf(space[w * step] - max) * space[w * step + 1 + j];
        to[1 + j] = all;
    }
    if (threadIdx.x == 0)
        to[0] = max;
}

/* Block (h,s): one head's parts, in order. */
template <class A>
static __global__ void join_kernel(A *o, const float *sums, const mot_past *past,
                                   const int32_t *row, int64_t part, int64_t parts, int H, int D)
{
    int64_t h = blockIdx.x, s = blockIdx.y, step = D + 2, n = past[s].length / part + 1;
    const float *of = sums + (s * H + h) * parts * step;
    float max = of[0], sum = 0;
    for (int64_t c = 1; c < n; c++)
        max = fmaxf(max, of[c * step]);
    for (int64_t c = 0; c < n; c++)
        sum += expf(of[c * step] - max) * of[c * step + 1];
    for (int64_t j = threadIdx.x; j < D; j += 32) {
        float all = 0;
        for (int64_t c = 0; c < n; c++)
            all += expf(of[c * step] - max) * of[c * step + 2 + j];
        o[(row[s] * (int64_t)H + h) * D + j] = from_float<A>(all / sum);
    }
}

template <class A>
void attention_past(mot_device *d, float *o, const float *q, const mot_past *past, int64_t layer,
                    const int32_t *row, int64_t N, int64_t H, int64_t K, int64_t D, float scale)
{
    watched w(d);
    int64_t part = part_of(d->past), parts = ceil_div(d->past, part);
    float *sums = workspace_of<float>(d, N * H * parts * (D + 2));
    if (!sums)
        return;
    run(d, "attention_past", part_kernel<A>, dim3((unsigned)parts, (unsigned)H, (unsigned)N),
        THREADS, (size_t)(WARPS * (D + 2)) * sizeof(float), sums, (const A *)q, past, layer, part, N,
        (int)H, (int)K, (int)D, scale);
    run(d, "attention_past, parts", join_kernel<A>, dim3((unsigned)H, (unsigned)N), 32, 0, (A *)o,
        (const float *)sums, past, row, part, parts, (int)H, (int)D);
}

#define PAST(A)                                                                                      \
    template void remember<A>(mot_device *, const mot_past *, int64_t, const float *, const float *, \
                              const mot_segment *, int64_t, int64_t, int64_t, int64_t);              \
    template void attention_past<A>(mot_device *, float *, const float *, const mot_past *, int64_t, \
                                    const int32_t *, int64_t, int64_t, int64_t, int64_t, float);
PAST(float)
PAST(bf16)

} // namespace mot_cuda
