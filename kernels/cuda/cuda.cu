/* SPDX-License-Identifier: MIT
 *
 * cuda.cu - the cuda backend's device, memory and tables of operations.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "gemm.h"
#include "grouped.h"

namespace mot_cuda
{

/* -- faults ------------------------------------------------------------------------------------- */

void fault(mot_device *d, const char *format, ...)
{
    if (*d->error)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(d->error, sizeof d->error, format, args);
    va_end(args);
}

bool check(mot_device *d, cudaError_t e, const char *what)
{
    if (e != cudaSuccess)
        fault(d, "%s: %s", what, cudaGetErrorString(e));
    return e == cudaSuccess;
}

/* -- for profilers ------------------------------------------------------------------------------ */

static void watch(mot_device *d, mot_watch *w)
{
    wait(d, "wait for what was not watched");
    d->watch = w && timers_start(d) ? w : NULL;
}

static void mark(mot_device *d, int64_t layer, int backward)
{
    char name[64];
    if (!d->ranged)
        return;
    if (d->in_layer)
        mot_range_pop();
    d->in_layer = layer >= 0;
    snprintf(name, sizeof name, "layer %lld, %s", (long long)layer, backward ? "backward" : "forward");
    if (d->in_layer)
        mot_range_push(name);
}

/* -- start and end ------------------------------------------------------------------------------ */

static void close(mot_device *d)
{
    if (!d)
        return;
    if (d->stream)
        cudaStreamSynchronize(d->stream);
    mark(d, -1, 0);
    graphs_close(d);
    timers_close(d);
    gemm_close(d->gemm);
    cudaFree(d->workspace);
    cudaFree(d->shadow);
    cudaFree(d->span);
    cudaFree(d->marks);
    cudaFreeHost(d->staging);
    cudaFreeHost(d->collected);
    if (d->stream)
        cudaStreamDestroy(d->stream);
    free(d);
}

/* Which attention: attention_sm90.cu's where it can run, or as MOT_CUDA says. */
static void choose(mot_device *d)
{
    const char *set = getenv("MOT_CUDA");
    bool older = set && strcmp(set, "sm_80") == 0, newer = set && strcmp(set, "sm_90") == 0;
    int major = 0;
    if (set && !older && !newer)
        fault(d, "MOT_CUDA: there are no kernels \"%s\", only sm_80 and sm_90", set);
    if (older || !check(d, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "GPU"))
        return;
    d->hopper = major == 9 && sm90_built(d);
    if (newer && major != 9)
        fault(d, "MOT_CUDA: sm_90's kernels run on compute capability 9.0 alone, this GPU has %d", major);
    else if (newer && !d->hopper)
        fault(d, "MOT_CUDA: this program was built without sm_90's kernels");
}

/* Up to how many rows products are grouped.cu's: as MOT_CUDA_GROUPED says, else reserve() settles it. */
static void choose_rows(mot_device *d)
{
    const char *set = getenv("MOT_CUDA_GROUPED");
    char *end = NULL;
    d->grouped_rows = set ? strtoll(set, &end, 10) : -1;
    if (set && (end == set || *end || d->grouped_rows < 0))
        fault(d, "MOT_CUDA_GROUPED: \"%s\" is no number of rows", set);
}

static mot_device *open(int, char *err, size_t err_size)
{
    mot_device *d = (mot_device *)calloc(1, sizeof *d);
    if (!d) {
        snprintf(err, err_size, "out of memory");
        return NULL;
    }
    if (check(d, cudaSetDevice(0), "cannot use the GPU") &&
        check(d, cudaDeviceGetAttribute(&d->units, cudaDevAttrMultiProcessorCount, 0), "GPU") &&
        check(d, cudaDeviceGetAttribute(&d->shared_most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0),
              "GPU") &&
        check(d, cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "stream") &&
        check(d, cudaMallocHost((void **)&d->staging, STAGING), "pinned host memory") &&
        check(d, cudaMallocHost((void **)&d->collected, STAGING), "pinned host memory"))
        d->gemm = gemm_open(d->error, sizeof d->error);
    d->ranged = mot_ranges_wanted();
    if (!*d->error)
        choose(d), choose_rows(d);
    if (*d->error) {
        snprintf(err, err_size, "%s", d->error);
        close(d);
        return NULL;
    }
    return d;
}

static int threads(const mot_device *)
{
    return 1;
}

/* -- workspace ----------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t shared_need(const mot_device *d, const mot_limits *l)
{
    size_t most = larger(norm_need(d, l), linear_need(d, l));
    most = larger(most, larger(rope_need(d, l), attention_need(d, l)));
    most = larger(most, larger(embed_need(l), optim_need()));
    most = larger(most, larger(past_need(l), conv_need(l)));
    most = larger(most, larger(groupnorm_need(d, l), attend_need(l)));
    return larger(most, head_need(l));
}

/* The weights' copy, and attention's spans: four ints for each row. */
template <class A> static size_t shadow_need(const mot_limits *l)
{
    return sizeof(A) == sizeof(float) ? 0 : (size_t)l->values * sizeof(A);
}

static size_t span_need(const mot_limits *l)
{
    return (size_t)(l->N > 0 ? l->N : 1) * 4 * sizeof(int32_t);
}

enum { MARKS = (MOT_MOST_PARTS + 1) * sizeof(int64_t) };

template <class A> static size_t workspace_need(const mot_device *d, const mot_limits *l)
{
    return shared_need(d, l) + shadow_need<A>(l) + span_need(l) + MARKS;
}

void *workspace(mot_device *d, size_t bytes)
{
    if (bytes <= d->workspace_bytes)
        return d->workspace;
    fault(d, "an operation is larger than the limits that reserve() was given");
    return NULL;
}

template <class A> static int reserve(mot_device *d, const mot_limits *l)
{
    enum { MOST_HEAD = 256 };
    if (l->D > MOST_HEAD && l->attend == 0) {
        fault(d, "heads of %lld values are more than the %d that the GPU's attention can take",
              (long long)l->D, MOST_HEAD);
        return -1;
    }
    size_t attention = sizeof(A) == 2 && l->attend == 0 ? attention_shared(l->D, l->train) : 0;
    if (attention > (size_t)d->shared_most) {
        fault(d, "heads of %lld values take %zu KB of shared memory a block in bf16, this GPU has %d: "
                 "train in f32, or on a GPU such as A100 or H100",
              (long long)l->D, attention >> 10, d->shared_most >> 10);
        return -1;
    }
    d->workspace_bytes = shared_need(d, l);
    size_t shadow = shadow_need<A>(l);
    bool good = cudaMalloc((void **)&d->workspace, d->workspace_bytes) == cudaSuccess &&
                cudaMalloc((void **)&d->span, span_need(l)) == cudaSuccess &&
                cudaMalloc((void **)&d->marks, MARKS) == cudaSuccess &&
                (shadow == 0 || cudaMalloc((void **)&d->shadow, shadow) == cudaSuccess);
    if (!good) {
        cudaGetLastError(); /* the runtime forgets it: the caller knows now */
        return -1;
    }
    d->params = l->params;
    d->values = l->values;
    d->past = l->sequences > 0 ? l->past : 0;
    if (d->grouped_rows < 0)
        d->grouped_rows = grouped_most(d, l->C);
    if (d->shadow)
        refresh(d, l->params, (size_t)l->values * sizeof(float));
    return *d->error ? -1 : 0;
}

/* -- the weights' copy --------------------------------------------------------------------------- */

template <> const float *weights<float>(mot_device *, const float *w)
{
    return w;
}

template <> const bf16 *weights<bf16>(mot_device *d, const float *w)
{
    if (d->shadow && w >= d->params && w < d->params + d->values)
        return d->shadow + (w - d->params);
    fault(d, "weights that are not in the block that reserve() was told of");
    return NULL;
}

enum { ROUND_THREADS = 256 };

template <int W> static __global__ void round_all(bf16 *to, const float *from, int64_t n)
{
    int64_t step = (int64_t)gridDim.x * ROUND_THREADS * W;
    for (int64_t i = ((int64_t)blockIdx.x * ROUND_THREADS + threadIdx.x) * W; i < n; i += step) {
        float x[W];
        load<W>(x, from + i);
        store<W>(to + i, x);
    }
}

void refresh(mot_device *d, const void *w, size_t bytes)
{
    const float *from = d->params, *end = d->params + d->values;
    const float *first = (const float *)w, *last = first + bytes / sizeof(float);
    from = first > from ? first : from;
    end = last < end ? last : end;
    if (!d->shadow || from >= end)
        return;
    bf16 *to = d->shadow + (from - d->params);
    int64_t n = end - from;
    bool fast = aligned<bf16>(n, from, to);
    int64_t blocks = at_most(ceil_div(n, ROUND_THREADS * (fast ? 8 : 1)), 16 * d->units);
    run(d, "round weights", fast ? round_all<8> : round_all<1>, dim3((unsigned)blocks),
        ROUND_THREADS, 0, to, from, n);
}

/* -- memory ------------------------------------------------------------------------------------- */

static void *alloc(mot_device *, size_t bytes)
{
    void *p = NULL;
    if (cudaMalloc(&p, bytes > 0 ? bytes : 1) == cudaSuccess)
        return p;
    cudaGetLastError(); /* the runtime forgets it: the caller knows now */
    return NULL;
}

static void release(mot_device *d, void *p)
{
    if (p)
        check(d, cudaFree(p), "free");
}

static bool overlap(const void *a, size_t n, const void *b, size_t m)
{
    return a && b && (uintptr_t)a < (uintptr_t)b + m && (uintptr_t)b < (uintptr_t)a + n;
}

/* What write(), copy() and zero() change is read anew where something was made of it. */
static void changed(mot_device *d, const void *to, size_t bytes)
{
    if (overlap(to, bytes, d->span_of, (size_t)d->span_segments * sizeof(mot_segment)) ||
        overlap(to, bytes, d->span_until, (size_t)d->span_rows * sizeof(int32_t)))
        d->span_of = NULL;
    refresh(d, to, bytes);
}

void wait(mot_device *d, const char *what)
{
    check(d, cudaStreamSynchronize(d->stream), what);
    for (int i = 0; i < d->n_parcels; i++)
        memcpy(d->parcel[i].host, d->collected + d->parcel[i].at, d->parcel[i].bytes);
    d->n_parcels = 0;
    d->n_collected = d->staged = 0;
    timers_read(d);
}

/* By way of pinned memory, so that neither the caller's memory nor the caller has to wait. */
static void send(mot_device *d, void *to, const void *host, size_t bytes)
{
    for (size_t done = 0; done < bytes && !*d->error;) {
        if (d->staged == STAGING)
            wait(d, "write");
        size_t n = bytes - done < STAGING - d->staged ? bytes - done : STAGING - d->staged;
        char *by = d->staging + d->staged;
        memcpy(by, (const char *)host + done, n);
        check(d, cudaMemcpyAsync((char *)to + done, by, n, cudaMemcpyHostToDevice, d->stream),
              "write");
        d->staged += n;
        done += n;
    }
}

static void write(mot_device *d, void *to, const void *host, size_t bytes)
{
    watched w(d);
    send(d, to, host, bytes);
    changed(d, to, bytes);
}

static void read(mot_device *d, void *host, const void *from, size_t bytes)
{
    {
        watched w(d);
        if (bytes > 0)
            check(d, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, d->stream), "read");
    }
    wait(d, "read");
}

/* What there is no room for is waited for. */
static void collect(mot_device *d, void *host, const void *from, size_t bytes)
{
    if (bytes > STAGING - d->n_collected || d->n_parcels == MOST_PARCELS) {
        read(d, host, from, bytes);
        return;
    }
    watched w(d);
    if (bytes > 0)
        check(d, cudaMemcpyAsync(d->collected + d->n_collected, from, bytes, cudaMemcpyDeviceToHost, d->stream),
              "collect");
    d->parcel[d->n_parcels++] = {host, d->n_collected, bytes};
    d->n_collected += bytes;
}

static void copy(mot_device *d, void *to, const void *from, size_t bytes)
{
    watched w(d);
    if (bytes > 0)
        check(d, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, d->stream), "copy");
    changed(d, to, bytes);
}

static void zero(mot_device *d, void *to, size_t bytes)
{
    watched w(d);
    if (bytes > 0)
        check(d, cudaMemsetAsync(to, 0, bytes, d->stream), "zero");
    changed(d, to, bytes);
}

/* Where all products are grouped.cu's nothing that is launched depends on how many rows a group has.  Spans are made
 * here, and so outside of what is repeated; sequences that grow repeat nothing, and often do not need them. */
template <class A> static int batch(mot_device *d, const mot_mix *mix)
{
    d->follows = sizeof(A) == 2 && d->past == 0 && mix->n <= MOT_MOST_PARTS && mix->N <= d->grouped_rows;
    d->mix_rows = mix->N;
    if (d->follows)
        send(d, d->marks, mix->begin, (size_t)(mix->n + 1) * sizeof *mix->begin);
    if (d->past == 0 && mix->n_segments > 0 && mix->N > 0)
        spans(d, mix->segments, mix->n_segments, mix->until, mix->N);
    return d->follows;
}

static int sync(mot_device *d)
{
    wait(d, "GPU");
    return *d->error ? -1 : 0;
}

static const char *error(const mot_device *d)
{
    return d->error;
}

/* -- tables -------------------------------------------------------------------------------------- */

/* The context, this program's kernels and those of cuBLASLt that are loaded; more or less by GPU and driver. */
static constexpr size_t BESIDE = 600u << 20;

template <class A> static constexpr mot_kernels table(const char *name)
{
    return mot_kernels{
        .name = name,
        .activation = sizeof(A),
        .late = 1,
        .beside = BESIDE,
        .open = open,
        .close = close,
        .threads = threads,
        .workspace = workspace_need<A>,
        .reserve = reserve<A>,
        .alloc = alloc,
        .free = release,
        .write = write,
        .read = read,
        .collect = collect,
        .copy = copy,
        .zero = zero,
        .sync = sync,
        .error = error,
        .batch = batch<A>,
        .repeat = repeat,
        .repeated = repeated,
        .watch = watch,
        .about = about,
        .mark = mark,
        .embed = embed<A>,
        .embed_back = embed_back<A>,
        .rmsnorm = rmsnorm<A>,
        .rmsnorm_back = rmsnorm_back<A>,
        .linear = linear<A>,
        .linear_back_x = linear_back_x<A>,
        .linear_back_w = linear_back_w<A>,
        .rope = rope<A>,
        .rope_back = rope_back<A>,
        .attention = attention<A>,
        .attention_back = attention_back<A>,
        .remember = remember<A>,
        .attention_past = attention_past<A>,
        .logits = logits<A>,
        .conv2d = conv2d,
        .groupnorm = groupnorm,
        .layernorm = layernorm,
        .activate = activate,
        .attend = attend,
        .cast = cast<A>,
        .uncast = uncast<A>,
        .spread = spread<A>,
        .spread_back = spread_back<A>,
        .unfold = unfold<A>,
        .unfold_back = unfold_back<A>,
        .squared_error = squared_error<A>,
        .silu = silu<A>,
        .silu_back = silu_back<A>,
        .swiglu = swiglu<A>,
        .swiglu_back = swiglu_back<A>,
        .head_loss = head_loss<A>,
        .sumsq = sumsq,
        .clip = clip,
        .adamw = adamw,
    };
}

static const mot_kernels table_f32 = table<float>("cuda-f32"),
                         table_bf16 = table<bf16>("cuda-bf16");

/* Why no GPU can be used; false: one can. */
static bool lacking(char *err, size_t err_size)
{
    int driver = 0, count = 0, major = 0, minor = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) {
        snprintf(err, err_size, "no NVIDIA driver is installed here");
        return true;
    }
    cudaError_t e = cudaGetDeviceCount(&count);
    if (e == cudaErrorInsufficientDriver)
        snprintf(err, err_size,
                 "the NVIDIA driver is too old: it is made for CUDA %d.%d, this program for %d.%d",
                 driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                 CUDART_VERSION % 1000 / 10);
    else if (e == cudaErrorNoDevice || (e == cudaSuccess && count == 0))
        snprintf(err, err_size, "there is no NVIDIA GPU here");
    else if (e != cudaSuccess)
        snprintf(err, err_size, "the GPU cannot be used: %s", cudaGetErrorString(e));
    if (e != cudaSuccess || count == 0)
        return true;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    if (major < 8)
        snprintf(err, err_size, "the GPU's compute capability is %d.%d; 8.0 or more is needed",
                 major, minor);
    return major < 8;
}

} // namespace mot_cuda

extern "C" const struct mot_kernels *mot_kernels_cuda(const char *dtype, char *err, size_t err_size)
{
    using namespace mot_cuda;
    bool f32 = !dtype || strcmp(dtype, "f32") == 0;
    if (!f32 && strcmp(dtype, "bf16") != 0) {
        snprintf(err, err_size, "no dtype \"%s\" on a GPU, only f32 and bf16", dtype);
        return NULL;
    }
    if (lacking(err, err_size))
        return NULL;
    return f32 ? &table_f32 : &table_bf16;
}
