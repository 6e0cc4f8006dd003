/* SPDX-License-Identifier: MIT
 *
 * embed.cu - look-up of embeddings, and its gradient.
 *
 * The gradient adds rows in order of the batch where an id repeats.  Every row counts how many come
 * before it in the order of (id, row), which is its place in a list where equal ids lie together;
 * then each id's rows are added by the threads that own its columns.  Counting takes N^2 comparisons
 * of numbers in shared memory: 0.1 ms for 16384 rows by the chip's rate, little against the step.
 */
#include "cuda.h"

namespace mot_cuda
{

enum { THREADS = 256, AHEAD = 8 };

size_t embed_need(const mot_limits *l)
{
    return l->train ? (size_t)l->N * sizeof(int32_t) : 0;
}

template <class A, int W>
static __global__ void embed_kernel(A *y, const A *table, const int32_t *id, int64_t n, int64_t C)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n)
        return;
    int64_t row = i / C;
    float x[W];
    load<W>(x, table + id[row] * C + (i - row * C));
    store<W>(y + i, x);
}

template <class A>
void embed(mot_device *d, float *y, const float *table, const int32_t *id, int64_t N, int64_t C,
           int64_t)
{
    watched w(d);
    const A *from = weights<A>(d, table);
    if (!from)
        return;
    bool fast = aligned<A>(C, y, from);
    run(d, "embed", fast ? embed_kernel<A, wide<A>> : embed_kernel<A, 1>,
        dim3((unsigned)ceil_div(N * C, THREADS * (fast ? wide<A> : 1))), THREADS, 0, (A *)y, from,
        id, N * C, C);
}

/* order[place] = row */
static __global__ void sort_rows(int32_t *order, const int32_t *id, int64_t N)
{
    int32_t *tile = (int32_t *)shared_memory();
    int64_t row = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    int32_t mine = row < N ? id[row] : 0;
    int place = 0;
    for (int64_t from = 0; from < N; from += THREADS) {
        int count = (int)at_most(N - from, THREADS);
        if ((int)threadIdx.x < count)
            tile[threadIdx.x] = id[from + threadIdx.x];
        __syncthreads();
        for (int j = 0; j < count; j++)
            place += tile[j] < mine || (tile[j] == mine && from + j < row);
        __syncthreads();
    }
    if (row < N)
        order[place] = (int32_t)row;
}

/* The threads of y have W columns each, and all rows of the id that begins at place x of the list;
 * where none begins there, nothing to do.  AHEAD rows are read before they are added: some ids stand in half of
 * a batch, and one block has all of them. */
template <class A, int W>
static __global__ void add_rows(float *dtable, const A *dy, const int32_t *id, const int32_t *order,
                                int64_t N, int64_t C)
{
    int64_t c = ((int64_t)blockIdx.y * THREADS + threadIdx.x) * W, place = blockIdx.x;
    int32_t mine = id[order[place]];
    if (c >= C || (place > 0 && id[order[place - 1]] == mine))
        return;
    float sum[W];
    load_weights<W>(sum, dtable + mine * C + c);
    for (bool more = true; more; place += AHEAD) {
        float x[AHEAD][W] = {};
        bool same[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            int64_t row = place + a < N ? order[place + a] : -1;
            same[a] = row >= 0 && id[row] == mine;
            if (same[a])
                load<W>(x[a], dy + row * C + c);
        }
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
            for (int j = 0; j < W && same[a]; j++)
                sum[j] += x[a][j];
        more = same[AHEAD - 1];
    }
    for (int j = 0; j < W; j++)
        dtable[mine * C + c + j] = sum[j];
}

template <class A>
void embed_back(mot_device *d, float *dtable, const float *dy, const int32_t *id, int64_t N,
                int64_t C, int64_t)
{
    watched w(d);
    int32_t *order = workspace_of<int32_t>(d, N);
    if (!order || N == 0)
        return;
    bool fast = aligned<A>(C, dy);
    run(d, "embed_back, order", sort_rows, dim3((unsigned)ceil_div(N, THREADS)), THREADS,
        THREADS * sizeof(int32_t), order, id, N);
    run(d, "embed_back", fast ? add_rows<A, wide<A>> : add_rows<A, 1>,
        dim3((unsigned)N, (unsigned)ceil_div(C, THREADS * (fast ? wide<A> : 1))), THREADS, 0,
        dtable, (const A *)dy, id, order, N, C);
}

template void embed<float>(mot_device *, float *, const float *, const int32_t *, int64_t, int64_t,
                           int64_t);
template void embed<bf16>(mot_device *, float *, const float *, const int32_t *, int64_t, int64_t,
                          int64_t);
template void embed_back<float>(mot_device *, float *, const float *, const int32_t *, int64_t,
                                int64_t, int64_t);
template void embed_back<bf16>(mot_device *, float *, const float *, const int32_t *, int64_t,
                               int64_t, int64_t);

} // namespace mot_cuda
