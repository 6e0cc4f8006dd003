/* SPDX-License-Identifier: MIT
 *
 * attention_sm90.cu - attention in bf16 for compute capability 9.0, after FlashAttention-3 (Shah et al. 2024).
 *
 * A thread of the first warpgroup brings keys and values; each of the other two has 64 queries.  While a
 * tile's values are multiplied the next one's scores are made; and the two take turns at the tensor cores,
 * so that one's softmax runs beside the other's products.  Heads of 32 values or fewer, and such as are no
 * multiple of 8, stay with attention.cu: the first would be padded to 64 here and to 32 there, the others
 * cannot be copied in boxes.
 */
#include "warpgroup.h"

namespace mot_cuda
{

template <int PD, int N> struct forward_memory {
    bf16 q[SM90_ROWS * PD], k[STAGES][N * PD], v[STAGES][N * PD];
    barrier q_there;
    ring keys, values;
};

/* Keys come one tile ahead of values, as they are used. */
template <int PD, int N>
DEVICE void bring_all(const sm90_call &x, forward_memory<PD, N> *m, int first, int h, int e, int begin,
                      int tiles)
{
    barrier_expect(&m->q_there, (int)sizeof m->q);
    copy_tile<PD, SM90_ROWS>(m->q, &x.q, &m->q_there, first, h);
    for (int t = 0; t <= tiles; t++) {
        if (t < tiles)
            bring<PD, N>(&m->keys, t, m->k, &x.k, begin + t * N, e);
        if (t > 0)
            bring<PD, N>(&m->values, t - 1, m->v, &x.v, begin + (t - 1) * N, e);
    }
}

/* -- queries --------------------------------------------------------------------------------------- */

/* A tile of which none of the worker's queries sees anything. */
template <int PD, int N>
DEVICE void pass(forward_memory<PD, N> *m, int worker, int t, int tiles)
{
    take_turn(worker);
    give_turn(worker, t == tiles - 1);
    await(&m->keys, t);
    done_with(&m->keys, t);
    await(&m->values, t);
    done_with(&m->values, t);
}

/* The worker's 64 queries: o and lse of each. */
template <int PD, int N>
DEVICE void attend_all(const call<bf16> &c, forward_memory<PD, N> *m, int worker, int first, int h,
                       int begin, int tiles)
{
    int mine = first + 64 * worker, own_first = mine + 16 * (warp() % 4);
    auto [low, high] = range_of<N>(c.begin, c.until, c.N, mine, begin, tiles);
    sight see = sight_of(c.begin, c.until, c.N, own_first);
    float s[1][N / 8][4], o[1][PD / 8][4] = {}, kept[1][2], scale = c.scale * LOG2_E;
    uint32_t p[N / 16][4];
    softmax<1> x;
    x.max[0][0] = x.max[0][1] = -INFINITY;
    x.sum[0][0] = x.sum[0][1] = 0;
    if (worker == 1)
        named_arrive(1, WORKERS * GROUP); /* worker 0 begins */
    for (int t = 0; t < low; t++)
        pass(m, worker, t, tiles);
    if (low == tiles)
        return;
    barrier_wait(&m->q_there, 0);
    await(&m->keys, low);
    take_turn(worker);
    products_begin();
    products<PD, SM90_ROWS, N>(s[0], m->q, 64 * worker, m->k[stage(low)]);
    products_commit();
    give_turn(worker, low == tiles - 1);
    products_wait<0>();
    hold(s[0]);
    done_with(&m->keys, low);
    hide<N>(s[0], see, begin + low * N);
    advance<1, N>(x, s, kept, scale);
    pack<N>(p, s[0]);
    for (int t = low + 1; t < high; t++) {
        await(&m->keys, t);
        take_turn(worker);
        products_begin();
        products<PD, SM90_ROWS, N>(s[0], m->q, 64 * worker, m->k[stage(t)]);
        products_commit();
        await(&m->values, t - 1);
        products_begin();
        add_products<N, PD>(o[0], p, m->v[stage(t - 1)], 0);
        products_commit();
        give_turn(worker, t == tiles - 1);
        products_wait<1>();
        hold(s[0]);
        done_with(&m->keys, t);
        hide<N>(s[0], see, begin + t * N);
        advance<1, N>(x, s, kept, scale);
        products_wait<0>();
        hold(o[0]);
        done_with(&m->values, t - 1);
        rescale<1, PD>(o, kept);
        pack<N>(p, s[0]);
    }
    await(&m->values, high - 1);
    products_begin();
    add_products<N, PD>(o[0], p, m->v[stage(high - 1)], 0);
    products_commit();
    products_wait<0>();
    hold(o[0]);
    done_with(&m->values, high - 1);
    for (int t = high; t < tiles; t++)
        pass(m, worker, t, tiles);
    float sum[2] = {quad_sum(x.sum[0][0]), quad_sum(x.sum[0][1])};
    put<PD>(c.o, o[0], c.D, 0, 1 / sum[0], 1 / sum[1], [&](int i) {
        int at = own_first + own_row(i);
        return at < c.N ? ((int64_t)c.row[at] * c.H + h) * c.D : -1;
    });
#pragma unroll
    for (int i = 0; i < 2; i++)
        if (lane() % 4 == 0 && own_first + own_row(i) < c.N)
            c.lse[(int64_t)h * c.N + own_first + own_row(i)] = c.scale * x.max[0][i] + logf(sum[i]);
}

/* Block (x,h): queries [first, first + SM90_ROWS) of head h, the last ones first, for they see the most keys. */
template <int PD, int N>
static __global__ void __launch_bounds__(SM90_THREADS, 1) attention_sm90_kernel(GRID_CONSTANT sm90_call x)
{
#if MOT_HOPPER
    auto *m = aligned_memory<forward_memory<PD, N>>();
    const call<bf16> &c = x.c;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * SM90_ROWS, h = (int)blockIdx.y, e = h * c.K / c.H;
    int last = first + SM90_ROWS < c.N ? first + SM90_ROWS - 1 : c.N - 1;
    int begin = c.begin[first], tiles = (c.until[last] - begin + N - 1) / N;
    if (threadIdx.x == 0) {
        prefetch_map(&x.q), prefetch_map(&x.k), prefetch_map(&x.v);
        barrier_init(&m->q_there, 1);
        ring_init(&m->keys);
        ring_init(&m->values);
        barriers_ready();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        fewer_registers<FEW_REGISTERS>();
        if (threadIdx.x == 0)
            bring_all(x, m, first, h, e, begin, tiles);
    } else {
        more_registers<MANY_REGISTERS>();
        attend_all(c, m, uniform((int)threadIdx.x / GROUP) - 1, first, h, begin, tiles);
    }
#endif
}

/* -- operations ------------------------------------------------------------------------------------ */

template <int PD, int N> static bool forward(mot_device *d, const call<bf16> &c)
{
    sm90_call x;
    x.c = c;
    if (!describe(&x.q, c.q, c.D, c.N, c.H, SM90_ROWS) || !describe(&x.k, c.k, c.D, c.N, c.K, N) ||
        !describe(&x.v, c.v, c.D, c.N, c.K, N))
        return false;
    run(d, "attention", attention_sm90_kernel<PD, N>,
        dim3((unsigned)ceil_div(c.N, SM90_ROWS), (unsigned)c.H), SM90_THREADS,
        sizeof(forward_memory<PD, N>) + ALIGNMENT, x);
    return true;
}

static __global__ void tell(int *there)
{
    *there = MOT_HOPPER;
}

bool sm90_built(mot_device *d)
{
    int there = 0, *at = NULL;
    if (!check(d, cudaMalloc((void **)&at, sizeof *at), "memory"))
        return false;
    run(d, "what this program holds", tell, dim3(1), 1, 0, at);
    check(d, cudaMemcpyAsync(&there, at, sizeof there, cudaMemcpyDeviceToHost, d->stream), "read");
    wait(d, "what this program holds");
    check(d, cudaFree(at), "free");
    return there;
}

bool attention_sm90(mot_device *d, const call<bf16> &c)
{
    if (!sm90_takes(d, c.D) || !aligned<bf16>(c.D, c.q, c.k, c.v))
        return false;
    return c.D <= 64    ? forward<64, 128>(d, c)
           : c.D <= 128 ? forward<128, 128>(d, c)
                        : forward<256, 64>(d, c);
}

} // namespace mot_cuda
