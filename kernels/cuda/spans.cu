/* SPDX-License-Identifier: MIT
 *
 * spans.cu - what is made once before attention's kernels run: attention.h.
 */
#include "attention.h"

namespace mot_cuda
{

enum { THREADS = 128 };

/* Backward: mean, and dO in sequence order where that is asked for. */
static size_t ordered_at(int64_t H, int64_t N)
{
    return ((size_t)(H * N) * sizeof(float) + 255) / 256 * 256;
}

size_t attention_need(const mot_device *d, const mot_limits *l)
{
    size_t ordered = sm90_takes(d, l->D) ? (size_t)(l->H * l->N * l->D) * sizeof(bf16) : 0;
    return l->train ? ordered_at(l->H, l->N) + ordered : 0;
}

/* The first position from begin on that sees t: until does not descend, and t sees itself. */
DEVICE int32_t first_that_sees(const int32_t *until, int32_t begin, int32_t t)
{
    int32_t low = begin, high = t;
    while (low < high) {
        int32_t mid = low + (high - low) / 2;
        if (until[mid] > t)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static __global__ void span_kernel(int32_t *span, const mot_segment *segments, const int32_t *until,
                                   int64_t N)
{
    mot_segment s = segments[blockIdx.x];
    int32_t begin = (int32_t)s.begin, end = (int32_t)(s.begin + s.length);
    for (int32_t t = begin + (int32_t)threadIdx.x; t < end; t += THREADS) {
        span[t] = begin;
        span[N + t] = until ? until[t] : t + 1;
        span[2 * N + t] = until ? first_that_sees(until, begin, t) : t;
        span[3 * N + t] = end;
    }
}

/* Made anew when another batch has been written. */
const int32_t *spans(mot_device *d, const mot_segment *segments, int64_t n_segments,
                     const int32_t *until, int64_t N)
{
    if (d->span_of == segments && d->span_until == until && d->span_rows == N)
        return d->span;
    if (capturing(d)) /* it would be made of as many segments as there are now */
        fault(d, "work that repeats has segments of which batch() does not know");
    run(d, "segments", span_kernel, dim3((unsigned)n_segments), THREADS, 0, d->span, segments, until,
        N);
    d->span_of = segments;
    d->span_until = until;
    d->span_rows = N;
    d->span_segments = n_segments;
    return d->span;
}

template <class A>
bool begin_call(mot_device *d, call<A> *c, const float *q, const float *k, const float *v,
                const float *lse, const int32_t *row, const int32_t *until,
                const mot_segment *segments, int64_t n_segments, int64_t N, int64_t H, int64_t K,
                int64_t D, float scale)
{
    *c = {};
    c->q = (const A *)q, c->k = (const A *)k, c->v = (const A *)v;
    c->lse = (float *)lse;
    c->row = row;
    c->begin = spans(d, segments, n_segments, until, N);
    c->until = c->begin + N, c->since = c->until + N, c->end = c->since + N;
    c->N = (int)N, c->H = (int)H, c->K = (int)K, c->D = (int)D;
    c->scale = scale;
    return N > 0 && !*d->error;
}

/* A warp has one head of one row, W values a lane and turn. */
template <class A, int W>
static __global__ void mean_kernel(float *mean, A *ordered, const A *dO, const A *o,
                                   const int32_t *row, int N, int H, int D)
{
    int64_t item = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
    int lane = (int)threadIdx.x % 32;
    if (item >= (int64_t)N * H)
        return;
    int64_t s = item / H, h = item % H, at = (row[s] * (int64_t)H + h) * D;
    float sum = 0;
    for (int j = lane * W; j < D; j += 32 * W) {
        float x[W], y[W];
        load<W>(x, dO + at + j);
        load<W>(y, o + at + j);
        for (int i = 0; i < W; i++)
            sum += x[i] * y[i];
        if (ordered)
            store<W>(ordered + (h * N + s) * D + j, x);
    }
    sum = warp_sum(sum);
    if (lane == 0)
        mean[h * N + s] = sum;
}

template <class A>
bool begin_back(mot_device *d, call<A> *c, float *dq, float *dk, float *dv, const float *dO,
                const float *o)
{
    bool order = sizeof(A) == sizeof(bf16) && sm90_takes(d, c->D);
    size_t at = ordered_at(c->H, c->N), values = order ? (size_t)c->H * (size_t)c->N * (size_t)c->D : 0;
    char *work = workspace_of<char>(d, (int64_t)(at + values * sizeof(A)));
    if (!work)
        return false;
    float *mean = (float *)work;
    c->ordered = order ? (A *)(work + at) : NULL;
    c->dq = (A *)dq, c->dk = (A *)dk, c->dv = (A *)dv;
    c->dO = (const A *)dO;
    c->mean = mean;
    run(d, "attention_back, means",
        aligned<A>(c->D, dO, o) ? mean_kernel<A, wide<A>> : mean_kernel<A, 1>,
        dim3((unsigned)ceil_div((int64_t)c->N * c->H, THREADS / 32)), THREADS, 0, mean,
        c->ordered, (const A *)dO, (const A *)o, c->row, c->N, c->H, c->D);
    return !*d->error;
}

#define BEGIN(A)                                                                                   \
    template bool begin_call<A>(                                                                   \
        mot_device *, call<A> *, const float *, const float *, const float *, const float *,       \
        const int32_t *, const int32_t *, const mot_segment *, int64_t, int64_t, int64_t, int64_t, \
        int64_t, float);                                                                           \
    template bool begin_back<A>(mot_device *, call<A> *, float *, float *, float *, const float *, \
                                const float *);
BEGIN(float)
BEGIN(bf16)

} // namespace mot_cuda
