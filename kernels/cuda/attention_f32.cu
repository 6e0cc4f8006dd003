/* SPDX-License-Identifier: MIT
 *
 * attention_f32.cu - attention in float, for parity with other backends and not for speed.
 *
 * A warp has one query (forward and dq) or one key (dk, dv).  It takes the others 32 at a time: each
 * lane makes one score, which all of them read then to add up the vectors, D/32 values a lane.
 */
#include "attention.h"

namespace mot_cuda
{

enum {
    WARPS = 4,
    SHARED = WARPS * 64 * sizeof(float),
    MOST = 8 /* values of a vector a lane: heads of 256 */
};

/* One vector of D values, held by a warp. */
struct held {
    float x[MOST];
};

DEVICE held zeros()
{
    return held{};
}

/* y += a x, x in memory */
DEVICE void add_times(held &y, float a, const float *x, int D)
{
    int lane = (int)threadIdx.x % 32;
    for (int i = 0; i < MOST; i++)
        if (lane + 32 * i < D)
            y.x[i] += a * x[lane + 32 * i];
}

DEVICE void put(float *to, const held &y, float times, int D)
{
    int lane = (int)threadIdx.x % 32;
    for (int i = 0; i < MOST; i++)
        if (lane + 32 * i < D)
            to[lane + 32 * i] = times * y.x[i];
}

DEVICE float dot(const float *a, const float *b, int D)
{
    float sum = 0;
    for (int j = 0; j < D; j++)
        sum += a[j] * b[j];
    return sum;
}

/* What the lanes of a warp found, two arrays of 32; the ones before are not read any more. */
DEVICE const float *gather(float a, float b)
{
    float *mine = (float *)shared_memory() + threadIdx.x / 32 * 64;
    __syncwarp();
    mine[threadIdx.x % 32] = a;
    mine[threadIdx.x % 32 + 32] = b;
    __syncwarp();
    return mine;
}

/* The place of vector t of head h in an array of (heads,N,D). */
DEVICE int64_t vector_at(const call<float> &c, int h, int t)
{
    return ((int64_t)h * c.N + t) * c.D;
}

DEVICE int64_t output_at(const call<float> &c, int h, int s)
{
    return ((int64_t)c.row[s] * c.H + h) * c.D;
}

static __global__ void forward(call<float> c)
{
    int s = (int)(blockIdx.x * WARPS + threadIdx.x / 32), h = (int)blockIdx.y,
        lane = (int)threadIdx.x % 32;
    if (s >= c.N)
        return;
    const float *q = c.q + vector_at(c, h, s), *k = c.k + vector_at(c, h * c.K / c.H, 0);
    const float *v = c.v + vector_at(c, h * c.K / c.H, 0);
    float max = -INFINITY, sum = 0;
    held o = zeros();
    int until = c.until[s];
    for (int from = c.begin[s]; from < until; from += 32) {
        int t = from + lane;
        float z = t < until ? c.scale * dot(q, k + (int64_t)t * c.D, c.D) : -INFINITY, most = z;
        for (int step = 16; step > 0; step /= 2)
            most = fmaxf(most, shuffle_xor(most, step));
        float now = fmaxf(max, most), old = max == -INFINITY ? 0 : expf(max - now);
        float p = t < until ? expf(z - now) : 0;
        max = now;
        sum = sum * old + warp_sum(p);
        for (int i = 0; i < MOST; i++)
            o.x[i] *= old;
        const float *all = gather(p, 0);
        for (int i = 0; i < 32 && from + i < until; i++)
            add_times(o, all[i], v + (int64_t)(from + i) * c.D, c.D);
    }
    put(c.o + output_at(c, h, s), o, 1 / sum, c.D);
    if (lane == 0)
        c.lse[(int64_t)h * c.N + s] = max + logf(sum);
}

/* The probability of a key and the gradient of its score. */
struct pair_of {
    float p, ds;
};

DEVICE pair_of score_back(const call<float> &c, int h, int s, const float *k, const float *v)
{
    int64_t at = (int64_t)h * c.N + s;
    float p = expf(c.scale * dot(c.q + vector_at(c, h, s), k, c.D) - c.lse[at]);
    return pair_of{p, p * (dot(c.dO + output_at(c, h, s), v, c.D) - c.mean[at])};
}

static __global__ void back_queries(call<float> c)
{
    int s = (int)(blockIdx.x * WARPS + threadIdx.x / 32), h = (int)blockIdx.y,
        lane = (int)threadIdx.x % 32;
    if (s >= c.N)
        return;
    const float *k = c.k + vector_at(c, h * c.K / c.H, 0),
                *v = c.v + vector_at(c, h * c.K / c.H, 0);
    held dq = zeros();
    int until = c.until[s];
    for (int from = c.begin[s]; from < until; from += 32) {
        int64_t t = from + lane;
        float ds = t < until ? score_back(c, h, s, k + t * c.D, v + t * c.D).ds : 0;
        const float *all = gather(ds, 0);
        for (int i = 0; i < 32 && from + i < until; i++)
            add_times(dq, all[i], k + (int64_t)(from + i) * c.D, c.D);
    }
    put(c.dq + vector_at(c, h, s), dq, c.scale, c.D);
}

static __global__ void back_keys(call<float> c)
{
    int t = (int)(blockIdx.x * WARPS + threadIdx.x / 32), e = (int)blockIdx.y,
        lane = (int)threadIdx.x % 32;
    if (t >= c.N)
        return;
    int64_t at = vector_at(c, e, t);
    int share = c.H / c.K, end = c.end[t];
    held dk = zeros(), dv = zeros();
    for (int h = e * share; h < (e + 1) * share; h++)
        for (int from = c.since[t]; from < end; from += 32) {
            pair_of mine = from + lane < end ? score_back(c, h, from + lane, c.k + at, c.v + at)
                                             : pair_of{0, 0};
            const float *all = gather(mine.p, mine.ds);
            for (int i = 0; i < 32 && from + i < end; i++) {
                add_times(dv, all[i], c.dO + output_at(c, h, from + i), c.D);
                add_times(dk, all[i + 32], c.q + vector_at(c, h, from + i), c.D);
            }
        }
    put(c.dk + at, dk, c.scale, c.D);
    put(c.dv + at, dv, 1, c.D);
}

template <>
void attention<float>(mot_device *d, float *o, float *lse, const float *q, const float *k,
                      const float *v, const int32_t *row, const int32_t *until,
                      const mot_segment *segments, int64_t n_segments, int64_t N, int64_t H,
                      int64_t K, int64_t D, float scale)
{
    watched w(d);
    call<float> c;
    if (!begin_call(d, &c, q, k, v, lse, row, until, segments, n_segments, N, H, K, D, scale))
        return;
    c.o = o;
    run(d, "attention", forward, dim3((unsigned)ceil_div(N, WARPS), (unsigned)H), 32 * WARPS,
        SHARED, c);
}

template <>
void attention_back<float>(mot_device *d, float *dq, float *dk, float *dv, const float *dO,
                           const float *o, const float *lse, const float *q, const float *k,
                           const float *v, const int32_t *row, const int32_t *until, const mot_segment *segments,
                           int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D,
                           float scale)
{
    watched w(d);
    call<float> c;
    if (!begin_call(d, &c, q, k, v, lse, row, until, segments, n_segments, N, H, K, D, scale) ||
        !begin_back(d, &c, dq, dk, dv, dO, o))
        return;
    unsigned blocks = (unsigned)ceil_div(N, WARPS);
    run(d, "attention_back, queries", back_queries, dim3(blocks, (unsigned)H), 32 * WARPS, SHARED,
        c);
    run(d, "attention_back, keys", back_keys, dim3(blocks, (unsigned)K), 32 * WARPS, SHARED, c);
}

} // namespace mot_cuda
