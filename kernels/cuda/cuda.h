/* SPDX-License-Identifier: MIT
 *
 * cuda.h - what the files of the cuda backend share: the device, groups as kernels take them, and
 * access to arrays in 16-byte pieces.
 *
 * Every operation is a template over the type A of activations, float or bf16, and cuda.cu makes a
 * table of each.  An operation launches kernels on the device's one stream and returns: nothing
 * waits but read() and sync().  The first fault is kept in the device, and what is launched after it
 * does nothing that counts.  Sums over rows are made in two launches, of parts and then over the
 * parts in order, never by atomic additions of floats: the same bits each time.
 */
#ifndef MOT_CUDA_H
#define MOT_CUDA_H

#include <gpu.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "../kernels.h"
#include "ranges.h"

struct bf16 {
    uint16_t bits;
};

struct mot_gemm; /* gemm.h */

namespace mot_cuda
{
struct graphs;
struct timers;
}

enum { MOST_PARCELS = 16 };

struct mot_device {
    cudaStream_t stream;
    struct mot_gemm *gemm;
    struct mot_watch *watch;
    mot_cuda::timers *timers; /* timer.cu; NULL: nothing was watched yet */
    bool ranged, in_layer;    /* operations are ranges for a profiler; and the layer that is open is one */
    int units;       /* multiprocessors */
    int shared_most; /* bytes of shared memory that a block may ask for */
    bool hopper;     /* kernels for compute capability 9.0 may run */
    char error[256]; /* empty: no fault */
    char *workspace;
    size_t workspace_bytes;
    char *staging; /* pinned host memory for what write() sends */
    size_t staged;
    char *collected; /* the same for what collect() fetches, and where that is to go */
    size_t n_collected;
    int n_parcels;
    struct {
        void *host;
        size_t at, bytes;
    } parcel[MOST_PARCELS];
    const float *params; /* the block of weights, and its copy in bf16 or NULL */
    int64_t values;
    bf16 *shadow;
    mot_cuda::graphs *graphs; /* graph.cu; NULL: nothing was captured yet */
    int64_t past; /* the longest that attention_past meets, 0: no sequence grows */
    /* the batch: do operations read its marks when they run; those, on the device, and its rows */
    bool follows;
    int64_t *marks, mix_rows;
    int64_t grouped_rows; /* up to as many all products of a batch are those of grouped.cu */
    /* what attention asks of each position (attention.h), and what it was made of */
    int32_t *span;
    const void *span_of, *span_until;
    int64_t span_rows, span_segments;
};

namespace mot_cuda
{

/* -- faults ------------------------------------------------------------------------------------- */

/* Keep the first fault. False if there is one. */
bool check(mot_device *d, cudaError_t e, const char *what);
void fault(mot_device *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Wait for all work, and hand over what was collected and timed. */
void wait(mot_device *d, const char *what);

/* Launch on the device's stream, unless there is nothing to do. */
template <class... P, class... A>
static void run(mot_device *d, const char *what, void (*f)(P...), dim3 grid, dim3 block,
                size_t shared, A... a)
{
    if (grid.x > 0 && grid.y > 0 && grid.z > 0)
        check(d, launch(d->stream, f, grid, block, shared, a...), what);
}

/* -- for profilers ------------------------------------------------------------------------------ */

void about(mot_device *d, mot_about *a); /* about.cu */
bool timers_start(mot_device *d); /* timer.cu */
void timers_read(mot_device *d);
void timers_close(mot_device *d);
void timer_begin(mot_device *d);
void timer_end(mot_device *d);

/* While a device is watched the whole time of each operation is one piece of work, and for a profiler that
 * listens from outside a range with the operation's name: that of the function that has this. */
struct watched {
    mot_device *d;
    explicit watched(mot_device *device, const char *operation = __builtin_FUNCTION()) : d(device)
    {
        if (d->ranged)
            mot_range_push(operation);
        if (d->watch)
            timer_begin(d);
    }
    ~watched()
    {
        if (d->watch)
            timer_end(d);
        if (d->ranged)
            mot_range_pop();
    }
};

/* -- work that repeats (graph.cu) ---------------------------------------------------------------- */

bool capturing(const mot_device *d);
int repeat(mot_device *d, const void *key, size_t n);
int repeated(mot_device *d);
void graphs_close(mot_device *d);

/* -- workspace and weights ----------------------------------------------------------------------- */

/* Bytes of workspace that an operation takes; the device has room for the largest. */
size_t norm_need(const mot_device *d, const mot_limits *l);
size_t linear_need(const mot_device *d, const mot_limits *l);
size_t rope_need(const mot_device *d, const mot_limits *l);
size_t attention_need(const mot_device *d, const mot_limits *l);
/* Shared memory of a block of bf16's attention, which not every GPU has. */
size_t attention_shared(int64_t D, bool train);
/* Whether the program was built with kernels for compute capability 9.0: asks the GPU. */
bool sm90_built(mot_device *d);
size_t embed_need(const mot_limits *l);
size_t head_need(const mot_limits *l);
size_t past_need(const mot_limits *l);
size_t conv_need(const mot_limits *l);
size_t groupnorm_need(const mot_device *d, const mot_limits *l);
size_t attend_need(const mot_limits *l);
size_t optim_need();

/* The device's workspace as n values of T; a fault and NULL where it is too small. */
void *workspace(mot_device *d, size_t bytes);
template <class T> static T *workspace_of(mot_device *d, int64_t n)
{
    return (T *)workspace(d, (size_t)n * sizeof(T));
}

/* Weights as the type that products take: the float ones, or their copies in bf16. */
template <class A> const A *weights(mot_device *d, const float *w);
/* Renew the copy of what lies in [w, w + n) of the block of weights. */
void refresh(mot_device *d, const void *w, size_t bytes);

/* -- groups -------------------------------------------------------------------------------------- */

enum { MOST_GROUPS = 16 };

/* Some of an operation's groups, by value. */
struct groups {
    int n;
    mot_group g[MOST_GROUPS];
    const int64_t *marks; /* where groups have marks of the batch, what those are now; NULL: they have none */
    int64_t rows; /* of all of them, at most */
    int64_t most; /* of the largest, at most */
};

/* Do kernels read the rows of such a group from the device? */
static inline bool marked(const mot_device *d, const mot_group &g)
{
    return d->follows && g.from < g.to;
}

static inline bool marked(const mot_device *d, const mot_group *g, int G)
{
    bool any = false;
    for (int k = 0; k < G; k++)
        any = any || marked(d, g[k]);
    return any;
}

/* The groups from *at on, as many as fit; moves *at on.  False: there were none left. */
static inline bool next_groups(const mot_device *d, groups *to, const mot_group *g, int G, int *at)
{
    *to = groups{};
    for (; *at < G && to->n < MOST_GROUPS; ++*at) {
        bool read = marked(d, g[*at]);
        int64_t rows = read ? d->mix_rows : g[*at].rows;
        to->g[to->n++] = g[*at];
        to->rows += read && to->marks ? 0 : rows; /* those with marks have no more than the batch together */
        to->most = to->most > rows ? to->most : rows;
        to->marks = read ? d->marks : to->marks;
    }
    return to->n > 0;
}

/* Rows [first, first + n). */
struct row_range {
    int64_t first, n;
};

/* Those of group k. */
DEVICE row_range own_rows(const groups &g, int k)
{
    const mot_group &own = g.g[k];
    if (!g.marks || own.from >= own.to)
        return row_range{own.row, own.rows};
    return row_range{g.marks[own.from], g.marks[own.to] - g.marks[own.from]};
}

/* The group and the row of the i-th of all their rows; *row is -1 beyond the last. */
DEVICE int group_of(const groups &g, int64_t i, int64_t *row)
{
    for (int k = 0; k < g.n; k++) {
        row_range r = own_rows(g, k);
        if (i < r.n) {
            *row = r.first + i;
            return k;
        }
        i -= r.n;
    }
    *row = -1;
    return 0;
}

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline __host__ __device__ int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* -- numbers ------------------------------------------------------------------------------------- */

DEVICE float to_float(float x)
{
    return x;
}

DEVICE float to_float(bf16 x)
{
    return bits_to_float((uint32_t)x.bits << 16);
}

template <class A> DEVICE A from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x)
{
    return x;
}

template <> __device__ __forceinline__ bf16 from_float<bf16>(float x)
{
    return bf16{(uint16_t)pack_bf16(x, 0)};
}

/* -- W values at once ---------------------------------------------------------------------------- */

/* The width that moves 16 bytes. */
template <class A> constexpr int wide = (int)(16 / sizeof(A));

/* May arrays be accessed in such pieces: all of them aligned, rows of n values whole? */
template <class A> static bool aligned(int64_t n)
{
    return n % wide<A> == 0;
}

template <class A, class... P> static bool aligned(int64_t n, const void *p, P... more)
{
    return (uintptr_t)p % 16 == 0 && aligned<A>(n, more...);
}

template <int W> DEVICE void load(float (&x)[W], const float *p)
{
    if constexpr (W % 4 == 0) {
        for (int i = 0; i < W; i += 4) {
            float4 v = *(const float4 *)(p + i);
            x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
        }
    } else {
        for (int i = 0; i < W; i++)
            x[i] = p[i];
    }
}

template <int W> DEVICE void load(float (&x)[W], const bf16 *p)
{
    if constexpr (W == 8) {
        uint4 v = *(const uint4 *)p;
        const uint32_t u[4] = {v.x, v.y, v.z, v.w};
        for (int i = 0; i < 4; i++) {
            x[2 * i] = bits_to_float(u[i] << 16);
            x[2 * i + 1] = bits_to_float(u[i] & 0xffff0000u);
        }
    } else {
        for (int i = 0; i < W; i++)
            x[i] = to_float(p[i]);
    }
}

template <int W> DEVICE void store(float *p, const float (&x)[W])
{
    if constexpr (W % 4 == 0) {
        for (int i = 0; i < W; i += 4)
            *(float4 *)(p + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
    } else {
        for (int i = 0; i < W; i++)
            p[i] = x[i];
    }
}

template <int W> DEVICE void store(bf16 *p, const float (&x)[W])
{
    if constexpr (W == 8) {
        *(uint4 *)p = make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                 pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
    } else {
        for (int i = 0; i < W; i++)
            p[i] = from_float<bf16>(x[i]);
    }
}

/* W weights, which lie at any offset in their block. */
template <int W> DEVICE void load_weights(float (&x)[W], const float *p)
{
    if (W % 4 == 0 && (uintptr_t)p % 16 == 0) {
        load<W>(x, p);
        return;
    }
    for (int i = 0; i < W; i++)
        x[i] = p[i];
}

/* -- sums, the same in every lane or thread afterwards -------------------------------------------- */

/* Over each `lanes` neighbours of a warp, a power of two. */
DEVICE float warp_sum(float x, int lanes = 32)
{
    for (int step = lanes / 2; step > 0; step /= 2)
        x += shuffle_xor(x, step);
    return x;
}

/* Over a block of whole warps.  `space`: 32 values of shared memory, used by nothing else until
 * the next barrier but one. */
template <class T> DEVICE T block_sum(T x, T *space)
{
    for (int step = 16; step > 0; step /= 2)
        x += shuffle_xor(x, step);
    int warps = (int)blockDim.x / 32, warp = (int)threadIdx.x / 32;
    if (threadIdx.x % 32 == 0)
        space[warp] = x;
    __syncthreads();
    T sum = 0;
    for (int w = 0; w < warps; w++)
        sum += space[w];
    __syncthreads();
    return sum;
}

/* The same of the largest. */
DEVICE float block_max(float x, float *space)
{
    for (int step = 16; step > 0; step /= 2)
        x = fmaxf(x, shuffle_xor(x, step));
    if (threadIdx.x % 32 == 0)
        space[threadIdx.x / 32] = x;
    __syncthreads();
    for (int w = 0; w < (int)blockDim.x / 32; w++)
        x = fmaxf(x, space[w]);
    __syncthreads();
    return x;
}

/* What threads of different blocks summed: grads[g.w + c] += sum over p of sums[p,k,c], (parts,n,C), in
 * order of p and then of the n groups, two of which may name the same place; none where g.w < 0.
 * (sums.cu) */
void add_parts(mot_device *d, float *grads, const float *sums, const groups &g, int64_t parts,
               int64_t C);

/* -- the operations ------------------------------------------------------------------------------ */

template <class A>
void embed(mot_device *d, float *y, const float *table, const int32_t *id, int64_t N, int64_t C,
           int64_t V);
template <class A> void embed_back(mot_device *d, float *dtable, const float *dy, const int32_t *id,
                                   int64_t N, int64_t C, int64_t V);
template <class A>
void rmsnorm(mot_device *d, float *y, float *rstd, const float *x, const float *res,
             const float *params, const mot_group *g, int G, int64_t C, float eps);
template <class A>
void rmsnorm_back(mot_device *d, float *dx, float *grads, const float *dy, const float *x,
                  const float *rstd, const float *params, const mot_group *g, int G, int64_t C,
                  int add);
template <class A>
void linear(mot_device *d, float *y, const float *x, const float *params, const mot_group *g, int G,
            int64_t I, int64_t O, int add);
template <class A>
void linear_back_x(mot_device *d, float *dx, const float *dy, const float *params,
                   const mot_group *g, int G, int64_t I, int64_t O, int add);
template <class A>
void linear_back_w(mot_device *d, float *grads, const float *dy, const float *x, const mot_group *g,
                   int G, int64_t I, int64_t O);
template <class A>
void rope(mot_device *d, float *q, float *k, float *v, const float *qkv, const float *params,
          const mot_group *g, int G, const int32_t *seq, const int32_t *pos, const float *cos,
          const float *sin, int64_t N, int64_t H, int64_t K, int64_t D, mot_head_norm norm,
          float eps);
template <class A>
void rope_back(mot_device *d, float *dqkv, float *grads, const float *dq, const float *dk,
               const float *dv, const float *qkv, const float *params, const mot_group *g, int G,
               const int32_t *seq, const int32_t *pos, const float *cos, const float *sin,
               int64_t N, int64_t H, int64_t K, int64_t D, mot_head_norm norm, float eps);
template <class A>
void attention(mot_device *d, float *o, float *lse, const float *q, const float *k, const float *v,
               const int32_t *row, const int32_t *until, const mot_segment *segments,
               int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D, float scale);
template <class A>
void attention_back(mot_device *d, float *dq, float *dk, float *dv, const float *dO, const float *o,
                    const float *lse, const float *q, const float *k, const float *v,
                    const int32_t *row, const int32_t *until, const mot_segment *segments,
                    int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D, float scale);
template <class A>
void remember(mot_device *d, const mot_past *past, int64_t layer, const float *k, const float *v,
              const mot_segment *segments, int64_t n_segments, int64_t N, int64_t K, int64_t D);
template <class A>
void attention_past(mot_device *d, float *o, const float *q, const mot_past *past, int64_t layer,
                    const int32_t *row, int64_t N, int64_t H, int64_t K, int64_t D, float scale);
template <class A>
void logits(mot_device *d, float *z, const float *x, const float *w, int64_t N, int64_t C, int64_t V);
/* linear in float, each row by itself (few.cu) */
void linear_by_row(mot_device *d, float *y, const float *x, const float *params, const mot_group *g,
                   int G, int64_t I, int64_t O, int add);
void conv2d(mot_device *d, float *y, const float *x, const float *w, const float *b,
            const mot_conv *conv, int add);
void groupnorm(mot_device *d, float *y, const float *x, const float *w, const float *b, int64_t N,
               int64_t C, int64_t groups, float eps, mot_nonlinearity act);
void layernorm(mot_device *d, float *y, const float *x, const float *w, const float *b, int64_t N,
               int64_t C, float eps, mot_nonlinearity act);
void activate(mot_device *d, float *y, const float *x, int64_t n, mot_nonlinearity act, int add);
void attend(mot_device *d, float *o, const float *qkv, int64_t N, int64_t H, int64_t D, float scale);
template <class A>
void cast(mot_device *d, float *y, const float *x, int64_t row, int64_t rows, int64_t C);
template <class A>
void uncast(mot_device *d, float *y, const float *x, int64_t row, int64_t rows, int64_t C);
template <class A>
void spread(mot_device *d, float *y, const float *e, const int32_t *of, int64_t row, int64_t rows,
            int64_t C);
template <class A>
void spread_back(mot_device *d, float *de, const float *dy, const int32_t *of, int64_t row,
                 int64_t rows, int64_t M, int64_t C);
template <class A>
void unfold(mot_device *d, float *y, const float *x, const int32_t *near, int64_t N, int64_t C);
template <class A>
void unfold_back(mot_device *d, float *dx, const float *dy, const int32_t *near, int64_t N, int64_t C);
template <class A>
void squared_error(mot_device *d, float *loss, float *dx, const float *x, const float *target,
                   const float *weight, int64_t row, int64_t rows, int64_t C);
template <class A> void silu(mot_device *d, float *y, const float *x, int64_t n);
template <class A> void silu_back(mot_device *d, float *dx, const float *dy, const float *x, int64_t n);
template <class A> void swiglu(mot_device *d, float *h, const float *gu, int64_t N, int64_t F);
template <class A>
void swiglu_back(mot_device *d, float *dgu, const float *dh, const float *gu, int64_t N, int64_t F);
template <class A>
void head_loss(mot_device *d, float *nll, float *lse, float *dx, float *dw, const float *x,
               const float *w, const int32_t *target, const float *weight, float zloss, int64_t N,
               int64_t C, int64_t V);
void sumsq(mot_device *d, double *out, const float *x, int64_t n);
void clip(mot_device *d, float *scale, const double *sums, int n, float max_norm);
void adamw(mot_device *d, float *w, float *m, float *v, float *grad, int64_t n, const float *scale,
           float lr, float b1, float b2, float eps, float decay, int64_t step);

} // namespace mot_cuda

#endif
