/* SPDX-License-Identifier: MIT
 *
 * rope.cu - norm of heads, rotary positions (Su et al. 2021), and the way from sorted to sequence
 * order; backward the reverse.
 *
 * Some neighbouring lanes of a warp have one head of one row: each lane W values of the first half
 * and the W that they are turned with, or MOST such pieces.  Backward, they keep to one head and go
 * through a part of a group's rows, so that the gradients of norms add up in registers; parts are
 * then added in order.
 */
#include "cuda.h"

namespace mot_cuda
{

enum { THREADS = 128, MOST_HALF = 128 };

/* Pieces of a lane: 32 lanes have MOST_HALF values. */
template <int W> constexpr int MOST = W * 32 < MOST_HALF ? MOST_HALF / (W * 32) : 1;

/* Lanes of one head: a power of two. */
static int lanes_of(int64_t half, int W)
{
    int lanes = 1;
    while (lanes < 32 && lanes * W < half)
        lanes *= 2;
    return lanes;
}

static int64_t parts_of(const mot_device *d, int G)
{
    return 1 + d->units / (G > 0 ? G : 1);
}

/* Parts of all groups, if they are at most G. */
static int64_t most_parts(const mot_device *d, int G)
{
    return G + d->units;
}

size_t rope_need(const mot_device *d, const mot_limits *l)
{
    int G = l->G < MOST_GROUPS ? l->G : (int)MOST_GROUPS;
    int64_t sums = most_parts(d, G) * 2 * (l->H + l->K) * l->D;
    return l->train ? (size_t)sums * sizeof(float) : 0;
}

/* What both directions need to know. */
struct heads {
    const float *params, *cos, *sin;
    const int32_t *seq, *pos;
    int64_t N, H, K, D;
    mot_head_norm norm;
    float eps;
    int lanes;
};

/* A lane's values of a head: pieces of the first half and of the second. */
template <int W> struct values {
    float a[MOST<W>][W], b[MOST<W>][W];
};

/* The offset in the first half of a lane's m-th piece; not below D/2: none. */
template <int W> DEVICE int64_t piece(const heads &t, int m)
{
    return ((int64_t)(threadIdx.x % (unsigned)t.lanes) + (int64_t)m * t.lanes) * W;
}

/* Reads a head; zeros where a lane has none, and where from is NULL. */
template <class A, int W> DEVICE values<W> read(const heads &t, const A *from)
{
    values<W> x = {};
    for (int m = 0; m < MOST<W>; m++) {
        int64_t j = piece<W>(t, m);
        if (from && j < t.D / 2) {
            load<W>(x.a[m], from + j);
            load<W>(x.b[m], from + j + t.D / 2);
        }
    }
    return x;
}

template <class A, int W> DEVICE void write(const heads &t, A *to, const values<W> &x)
{
    for (int m = 0; m < MOST<W>; m++) {
        int64_t j = piece<W>(t, m);
        if (j < t.D / 2) {
            store<W>(to + j, x.a[m]);
            store<W>(to + j + t.D / 2, x.b[m]);
        }
    }
}

/* The sum over a head of f(m, j) for both halves. */
template <int W> DEVICE float head_sum(const heads &t, const values<W> &x, const values<W> &y)
{
    float sum = 0;
    for (int m = 0; m < MOST<W>; m++)
        for (int j = 0; j < W; j++)
            sum += x.a[m][j] * y.a[m][j] + x.b[m][j] * y.b[m][j];
    return warp_sum(sum, t.lanes);
}

template <int W> DEVICE float head_sum(const heads &t, const values<W> &x)
{
    float sum = 0;
    for (int m = 0; m < MOST<W>; m++)
        for (int j = 0; j < W; j++)
            sum += x.a[m][j] + x.b[m][j];
    return warp_sum(sum, t.lanes);
}

/* x becomes (x - mean) rstd, which is returned; the mean is 0 but in a LayerNorm. */
template <int W> DEVICE float normalise(const heads &t, values<W> &x)
{
    float D = (float)t.D;
    float mean = t.norm == MOT_HEAD_LAYER ? head_sum(t, x) / D : 0;
    for (int m = 0; m < MOST<W>; m++)
        for (int j = 0; j < W && piece<W>(t, m) < t.D / 2; j++)
            x.a[m][j] -= mean, x.b[m][j] -= mean;
    float r = 1 / sqrtf(head_sum(t, x, x) / D + t.eps);
    for (int m = 0; m < MOST<W>; m++)
        for (int j = 0; j < W; j++)
            x.a[m][j] *= r, x.b[m][j] *= r;
    return r;
}

/* Turns the pairs of a head by the angles of a position, forward (way 1) or back (-1). */
template <int W> DEVICE void turn(const heads &t, values<W> &x, int64_t pos, float way)
{
    for (int m = 0; m < MOST<W>; m++) {
        int64_t at = piece<W>(t, m);
        for (int j = 0; j < W && at < t.D / 2; j++) {
            float c = t.cos[pos * (t.D / 2) + at + j], s = way * t.sin[pos * (t.D / 2) + at + j];
            float a = x.a[m][j], b = x.b[m][j];
            x.a[m][j] = a * c - b * s;
            x.b[m][j] = b * c + a * s;
        }
    }
}

/* Where the norm of a head stands in the block of weights: its weight, and the bias of a LayerNorm. */
struct norm_at {
    int64_t w, b; /* -1: none */
};

DEVICE norm_at norm_of(const heads &t, const mot_group &g, int64_t head)
{
    bool query = head < t.H;
    int64_t at = query ? g.w : g.b, count = query ? t.H : t.K, mine = query ? head : head - t.H;
    if (g.w < 0 || head >= t.H + t.K)
        return norm_at{-1, -1};
    if (t.norm == MOT_HEAD_RMS)
        return norm_at{at, -1};
    return norm_at{at + mine * t.D, at + (count + mine) * t.D};
}

/* The place of a head in q, k or v: which of the three, and the offset. */
template <class A> DEVICE A *place_of(const heads &t, A *q, A *k, A *v, int64_t head, int64_t s)
{
    if (head < t.H)
        return q + (head * t.N + s) * t.D;
    if (head < t.H + t.K)
        return k + ((head - t.H) * t.N + s) * t.D;
    return v + ((head - t.H - t.K) * t.N + s) * t.D;
}

/* -- forward ------------------------------------------------------------------------------------- */

template <class A, int W>
static __global__ void rope_kernel(A *q, A *k, A *v, const A *qkv, groups g, heads t)
{
    int64_t item = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / t.lanes, all = t.H + 2 * t.K;
    int64_t head = item % all, row;
    int group = group_of(g, item / all, &row);
    bool real = row >= 0; /* lanes without a head still take part in the sums of their warp */
    values<W> x = read<A, W>(t, real ? qkv + (row * all + head) * t.D : NULL);
    norm_at n = real ? norm_of(t, g.g[group], head) : norm_at{-1, -1};
    values<W> scaled = x;
    normalise(t, scaled);
    values<W> w = read<float, W>(t, NULL), b = w;
    for (int m = 0; m < MOST<W> && n.w >= 0; m++) {
        int64_t j = piece<W>(t, m);
        if (j >= t.D / 2)
            continue;
        load_weights<W>(w.a[m], t.params + n.w + j);
        load_weights<W>(w.b[m], t.params + n.w + j + t.D / 2);
        if (n.b >= 0) {
            load_weights<W>(b.a[m], t.params + n.b + j);
            load_weights<W>(b.b[m], t.params + n.b + j + t.D / 2);
        }
    }
    for (int m = 0; m < MOST<W> && n.w >= 0; m++)
        for (int j = 0; j < W; j++) {
            x.a[m][j] = scaled.a[m][j] * w.a[m][j] + b.a[m][j];
            x.b[m][j] = scaled.b[m][j] * w.b[m][j] + b.b[m][j];
        }
    if (!real)
        return;
    if (head < t.H + t.K)
        turn(t, x, t.pos[row], 1);
    write<A, W>(t, place_of(t, q, k, v, head, t.seq[row]), x);
}

template <class A>
void rope(mot_device *d, float *q, float *k, float *v, const float *qkv, const float *params,
          const mot_group *g, int G, const int32_t *seq, const int32_t *pos, const float *cos,
          const float *sin, int64_t N, int64_t H, int64_t K, int64_t D, mot_head_norm norm,
          float eps)
{
    watched w(d);
    bool fast = aligned<A>(D / 2, q, k, v, qkv);
    heads t = {params, cos, sin, seq,  pos, N,
               H,      K,   D,   norm, eps, lanes_of(D / 2, fast ? wide<A> : 1)};
    groups some;
    for (int at = 0; next_groups(d, &some, g, G, &at);)
        run(d, "rope", fast ? rope_kernel<A, wide<A>> : rope_kernel<A, 1>,
            dim3((unsigned)ceil_div(some.rows * (H + 2 * K) * t.lanes, THREADS)), THREADS, 0,
            (A *)q, (A *)k, (A *)v, (const A *)qkv, some, t);
}

/* -- backward ------------------------------------------------------------------------------------ */

/* Where a head's sums of a part go: for a norm that all heads share the parts of all heads are parts
 * of one sum, (part,head), k, D; else part, k, (weights and biases, heads, D). */
DEVICE float *sums_of(const heads &t, float *sums, int64_t parts, int64_t part, int groups_n, int k,
                      int64_t head, int64_t *bias)
{
    bool query = head < t.H;
    int64_t count = query ? t.H : t.K, mine = query ? head : head - t.H;
    int64_t each = t.norm == MOT_HEAD_RMS ? 1 : 2; /* arrays of (heads,D) */
    float *to = query ? sums : sums + parts * groups_n * each * t.H * t.D;
    *bias = count * t.D;
    if (t.norm == MOT_HEAD_RMS)
        return to + ((part * count + mine) * groups_n + k) * t.D;
    return to + (part * groups_n + k) * 2 * count * t.D + mine * t.D;
}

/* Block (p,k,z): a part of group k's rows, and as many heads as there are bunches of lanes. */
template <class A, int W>
static __global__ void rope_back_kernel(A *dqkv, float *sums, const A *dq, const A *dk, const A *dv,
                                        const A *qkv, groups g, heads t)
{
    row_range mine = own_rows(g, (int)blockIdx.y);
    int64_t all = t.H + 2 * t.K;
    int64_t head = (int64_t)blockIdx.z * (THREADS / t.lanes) + threadIdx.x / (unsigned)t.lanes;
    int64_t begin = mine.n * blockIdx.x / gridDim.x, end = mine.n * (blockIdx.x + 1) / gridDim.x;
    bool real = head < all;
    norm_at n = real ? norm_of(t, g.g[blockIdx.y], head) : norm_at{-1, -1};
    values<W> w = read<float, W>(t, NULL), dw = w, db = w;
    for (int m = 0; m < MOST<W> && n.w >= 0; m++) {
        int64_t j = piece<W>(t, m);
        if (j < t.D / 2) {
            load_weights<W>(w.a[m], t.params + n.w + j);
            load_weights<W>(w.b[m], t.params + n.w + j + t.D / 2);
        }
    }
    for (int64_t row = mine.first + begin; row < mine.first + end; row++) {
        values<W> dy = read<A, W>(t, real ? place_of(t, dq, dk, dv, head, t.seq[row]) : NULL);
        if (head < t.H + t.K)
            turn(t, dy, t.pos[row], -1);
        values<W> x = read<A, W>(t, n.w >= 0 ? qkv + (row * all + head) * t.D : NULL), dn = dy;
        float r = normalise(t, x);
        for (int m = 0; m < MOST<W>; m++)
            for (int j = 0; j < W; j++) {
                dw.a[m][j] += dy.a[m][j] * x.a[m][j], dw.b[m][j] += dy.b[m][j] * x.b[m][j];
                db.a[m][j] += dy.a[m][j], db.b[m][j] += dy.b[m][j];
                dn.a[m][j] *= w.a[m][j], dn.b[m][j] *= w.b[m][j];
            }
        float s = head_sum(t, dn, x) / (float)t.D;
        float moved = t.norm == MOT_HEAD_LAYER ? head_sum(t, dn) / (float)t.D : 0;
        for (int m = 0; m < MOST<W> && n.w >= 0; m++)
            for (int j = 0; j < W; j++) {
                dy.a[m][j] = r * (dn.a[m][j] - x.a[m][j] * s - moved);
                dy.b[m][j] = r * (dn.b[m][j] - x.b[m][j] * s - moved);
            }
        if (real)
            write<A, W>(t, dqkv + (row * all + head) * t.D, dy);
    }
    if (n.w < 0)
        return;
    int64_t bias;
    float *to = sums_of(t, sums, gridDim.x, blockIdx.x, g.n, (int)blockIdx.y, head, &bias);
    write<float, W>(t, to, dw);
    if (n.b >= 0)
        write<float, W>(t, to + bias, db);
}

/* Adds up what rope_back_kernel left. */
static void add_norms(mot_device *d, float *grads, const float *sums, groups g, int64_t parts,
                      const heads &t)
{
    bool shared = t.norm == MOT_HEAD_RMS;
    const float *of_k = sums + parts * g.n * (shared ? 1 : 2) * t.H * t.D;
    add_parts(d, grads, sums, g, shared ? parts * t.H : parts, shared ? t.D : 2 * t.H * t.D);
    for (int k = 0; k < g.n; k++)
        g.g[k].w = g.g[k].w < 0 ? -1 : g.g[k].b;
    add_parts(d, grads, of_k, g, shared ? parts * t.K : parts, shared ? t.D : 2 * t.K * t.D);
}

template <class A>
void rope_back(mot_device *d, float *dqkv, float *grads, const float *dq, const float *dk,
               const float *dv, const float *qkv, const float *params, const mot_group *g, int G,
               const int32_t *seq, const int32_t *pos, const float *cos, const float *sin,
               int64_t N, int64_t H, int64_t K, int64_t D, mot_head_norm norm, float eps)
{
    watched w(d);
    bool fast = aligned<A>(D / 2, dqkv, dq, dk, dv, qkv);
    heads t = {params, cos, sin, seq,  pos, N,
               H,      K,   D,   norm, eps, lanes_of(D / 2, fast ? wide<A> : 1)};
    groups some;
    for (int at = 0; next_groups(d, &some, g, G, &at);) {
        int64_t parts = at_most(some.most, parts_of(d, some.n));
        float *sums = workspace_of<float>(d, parts * some.n * 2 * (H + K) * D);
        if (!sums || parts == 0)
            continue;
        run(d, "rope_back", fast ? rope_back_kernel<A, wide<A>> : rope_back_kernel<A, 1>,
            dim3((unsigned)parts, (unsigned)some.n,
                 (unsigned)ceil_div(H + 2 * K, THREADS / t.lanes)),
            THREADS, 0, (A *)dqkv, sums, (const A *)dq, (const A *)dk, (const A *)dv,
            (const A *)qkv, some, t);
        bool any = false;
        for (int k = 0; k < some.n; k++)
            any = any || some.g[k].w >= 0;
        if (any)
            add_norms(d, grads, sums, some, parts, t);
    }
}

#define ROPE(A)                                                                                    \
    template void rope<A>(mot_device *, float *, float *, float *, const float *, const float *,   \
                          const mot_group *, int, const int32_t *, const int32_t *, const float *, \
                          const float *, int64_t, int64_t, int64_t, int64_t, mot_head_norm,        \
                          float);                                                                  \
    template void rope_back<A>(                                                                    \
        mot_device *, float *, float *, const float *, const float *, const float *,               \
        const float *, const float *, const mot_group *, int, const int32_t *, const int32_t *,    \
        const float *, const float *, int64_t, int64_t, int64_t, int64_t, mot_head_norm, float);
ROPE(float)
ROPE(bf16)

} // namespace mot_cuda
