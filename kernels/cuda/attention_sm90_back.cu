/* SPDX-License-Identifier: MIT
 *
 * attention_sm90_back.cu - attention_sm90.cu's backward: one kernel for dq and one for dk and dv, as
 * attention.cu's, so that every sum has one owner and one order.
 *
 * Each of the two warpgroups that multiply has 64 rows, queries in the first kernel and keys in the second; the
 * other side passes by in tiles.  Scores and their gradients are the products of tiles as they came; what follows
 * from them is left in registers as the left operand of the next products, which are under way while the
 * next tile's scores are made.
 */
#include "warpgroup.h"

namespace mot_cuda
{

/* p = exp(scale s - lse), where `of` gives each element's lse log2(e). */
template <int N, class Of>
DEVICE void probabilities(float (&s)[N / 8][4], float scale, Of of)
{
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[j][i] = fast_exp2(s[j][i] * scale - of(j, i));
}

/* ds = p (dp - mean), in the place of dp. */
template <int N, class Of>
DEVICE void differences(float (&dp)[N / 8][4], const float (&p)[N / 8][4], Of of)
{
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            dp[j][i] = p[j][i] * (dp[j][i] - of(j, i));
}

/* -- dq ---------------------------------------------------------------------------------------------- */

template <int PD, int N> struct queries_memory {
    bf16 q[SM90_ROWS * PD], dO[SM90_ROWS * PD], k[STAGES][N * PD], v[STAGES][N * PD];
    barrier rows_there;
    ring keys, values;
};

template <int PD, int N>
DEVICE void bring_keys(const sm90_call &x, queries_memory<PD, N> *m, int first, int h, int e, int begin,
                       int tiles)
{
    barrier_expect(&m->rows_there, (int)(sizeof m->q + sizeof m->dO));
    copy_tile<PD, SM90_ROWS>(m->q, &x.q, &m->rows_there, first, h);
    copy_tile<PD, SM90_ROWS>(m->dO, &x.dO, &m->rows_there, first, h);
    for (int t = 0; t < tiles; t++) {
        bring<PD, N>(&m->keys, t, m->k, &x.k, begin + t * N, e);
        bring<PD, N>(&m->values, t, m->v, &x.v, begin + t * N, e);
    }
}

template <int PD, int N> DEVICE void pass_keys(queries_memory<PD, N> *m, int from, int to)
{
    for (int t = from; t < to; t++) {
        await(&m->keys, t);
        done_with(&m->keys, t);
        await(&m->values, t);
        done_with(&m->values, t);
    }
}

/* The worker's 64 queries: dq of each. */
template <int PD, int N>
DEVICE void sum_over_keys(const call<bf16> &c, queries_memory<PD, N> *m, int worker, int first, int h,
                          int begin, int tiles)
{
    int mine = first + 64 * worker, own_first = mine + 16 * (warp() % 4);
    auto [low, high] = range_of<N>(c.begin, c.until, c.N, mine, begin, tiles);
    sight see = sight_of(c.begin, c.until, c.N, own_first);
    float s[N / 8][4], dp[N / 8][4], dq[PD / 8][4] = {}, scale = c.scale * LOG2_E, lse[2], mean[2];
    uint32_t ds[N / 16][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int at = own_first + own_row(i);
        lse[i] = at < c.N ? c.lse[(int64_t)h * c.N + at] * LOG2_E : 0;
        mean[i] = at < c.N ? c.mean[(int64_t)h * c.N + at] : 0;
    }
    pass_keys(m, 0, low);
    if (low == tiles)
        return;
    barrier_wait(&m->rows_there, 0);
    hold(dq); /* it is zero before the first product begins, not between them */
    for (int t = low; t < high; t++) {
        await(&m->keys, t);
        products_begin();
        products<PD, SM90_ROWS, N>(s, m->q, 64 * worker, m->k[stage(t)]);
        products_commit();
        await(&m->values, t);
        products_begin();
        products<PD, SM90_ROWS, N>(dp, m->dO, 64 * worker, m->v[stage(t)]);
        products_commit();
        products_wait<1>(); /* the last tile's part of dq, too */
        hold(s);
        if (t > low)
            done_with(&m->keys, t - 1);
        hide<N>(s, see, begin + t * N);
        probabilities<N>(s, scale, [&](int, int i) { return lse[i / 2]; });
        products_wait<0>();
        hold(dp);
        done_with(&m->values, t);
        differences<N>(dp, s, [&](int, int i) { return mean[i / 2]; });
        pack<N>(ds, dp);
        products_begin();
        add_products<N, PD>(dq, ds, m->k[stage(t)], 0);
        products_commit();
    }
    products_wait<0>();
    hold(dq);
    done_with(&m->keys, high - 1);
    pass_keys(m, high, tiles);
    put<PD>(c.dq + (int64_t)h * c.N * c.D, dq, c.D, 0, c.scale, c.scale, [&](int i) {
        int at = own_first + own_row(i);
        return at < c.N ? (int64_t)at * c.D : -1;
    });
}

/* Block (x,h): dq of queries [first, first + SM90_ROWS) of head h. */
template <int PD, int N>
static __global__ void __launch_bounds__(SM90_THREADS, 1) queries_sm90(GRID_CONSTANT sm90_call x)
{
#if MOT_HOPPER
    auto *m = aligned_memory<queries_memory<PD, N>>();
    const call<bf16> &c = x.c;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * SM90_ROWS, h = (int)blockIdx.y, e = h * c.K / c.H;
    int last = first + SM90_ROWS < c.N ? first + SM90_ROWS - 1 : c.N - 1;
    int begin = c.begin[first], tiles = (c.until[last] - begin + N - 1) / N;
    if (threadIdx.x == 0) {
        prefetch_map(&x.q), prefetch_map(&x.k), prefetch_map(&x.v), prefetch_map(&x.dO);
        barrier_init(&m->rows_there, 1);
        ring_init(&m->keys);
        ring_init(&m->values);
        barriers_ready();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        fewer_registers<FEW_REGISTERS>();
        if (threadIdx.x == 0)
            bring_keys(x, m, first, h, e, begin, tiles);
    } else {
        more_registers<MANY_REGISTERS>();
        sum_over_keys(c, m, uniform((int)threadIdx.x / GROUP) - 1, first, h, begin, tiles);
    }
#endif
}

/* -- dk and dv --------------------------------------------------------------------------------------- */

/* What is known of each query of a tile: lse log2(e), and mean. */
template <int N> struct known {
    float lse[N], mean[N];
};

template <int PD, int N> struct keys_memory {
    bf16 k[SM90_ROWS * PD], v[SM90_ROWS * PD], q[STAGES][N * PD], dO[STAGES][N * PD];
    known<N> known_of[STAGES];
    barrier rows_there;
    ring queries, outputs;
    barrier known_there[STAGES]; /* given back with the tile of queries */
};

/* The heads that share a key head, and of each the tiles of queries that see one of the block's keys. */
struct passing {
    int head, since, tiles, share;
};

template <int PD, int N>
DEVICE void bring_queries(const sm90_call &x, keys_memory<PD, N> *m, int first, int e, const passing &p)
{
    barrier_expect(&m->rows_there, (int)(sizeof m->k + sizeof m->v));
    copy_tile<PD, SM90_ROWS>(m->k, &x.k, &m->rows_there, first, e);
    copy_tile<PD, SM90_ROWS>(m->v, &x.v, &m->rows_there, first, e);
    for (int h = 0, n = 0; h < p.share; h++)
        for (int t = 0; t < p.tiles; t++, n++) {
            bring<PD, N>(&m->queries, n, m->q, &x.q, p.since + t * N, p.head + h);
            bring<PD, N>(&m->outputs, n, m->dO, &x.dO, p.since + t * N, p.head + h);
        }
}

/* A warp brings what is known of the queries. */
template <int PD, int N>
DEVICE void bring_known(const call<bf16> &c, keys_memory<PD, N> *m, const passing &p)
{
    for (int h = 0, n = 0; h < p.share; h++)
        for (int t = 0; t < p.tiles; t++, n++) {
            const int64_t of = (int64_t)(p.head + h) * c.N;
            known<N> *to = &m->known_of[stage(n)];
            barrier_wait(&m->queries.done[stage(n)], parity(n) ^ 1);
            for (int i = lane(), s = p.since + t * N + i; i < N; i += 32, s += 32) {
                to->lse[i] = s < c.N ? c.lse[of + s] * LOG2_E : 0;
                to->mean[i] = s < c.N ? c.mean[of + s] : 0;
            }
            barrier_arrive(&m->known_there[stage(n)]);
        }
}

template <int PD, int N> DEVICE void pass_queries(keys_memory<PD, N> *m, int from, int to)
{
    for (int n = from; n < to; n++) {
        barrier_wait(&m->known_there[stage(n)], parity(n));
        await(&m->queries, n);
        done_with(&m->queries, n);
        await(&m->outputs, n);
        done_with(&m->outputs, n);
    }
}

/* The worker's 64 keys: columns [column, column + OUT) of dk and dv of each. */
template <int PD, int N, int OUT>
DEVICE void sum_over_queries(const call<bf16> &c, keys_memory<PD, N> *m, int worker, int first, int e,
                             int column, const passing &pass)
{
    int mine = first + 64 * worker, own_first = mine + 16 * (warp() % 4);
    auto [low, high] = range_of<N>(c.since, c.end, c.N, mine, pass.since, pass.tiles);
    sight see = sight_of(c.since, c.end, c.N, own_first);
    float s[N / 8][4], dp[N / 8][4], dk[OUT / 8][4] = {}, dv[OUT / 8][4] = {},
                                     scale = c.scale * LOG2_E;
    uint32_t p[N / 16][4], ds[N / 16][4];
    if (low == pass.tiles) {
        pass_queries(m, 0, pass.tiles * pass.share);
        return;
    }
    barrier_wait(&m->rows_there, 0);
    for (int n0 = 0; n0 < pass.tiles * pass.share; n0 += pass.tiles) {
        pass_queries(m, n0, n0 + low);
        for (int t = low; t < high; t++) {
            int n = n0 + t;
            const known<N> *of = &m->known_of[stage(n)];
            await(&m->queries, n);
            products_begin();
            products<PD, SM90_ROWS, N>(s, m->k, 64 * worker, m->q[stage(n)]); /* rows are keys */
            products_commit();
            await(&m->outputs, n);
            products_begin();
            products<PD, SM90_ROWS, N>(dp, m->v, 64 * worker, m->dO[stage(n)]);
            products_commit();
            products_wait<1>();
            hold(s);
            barrier_wait(&m->known_there[stage(n)], parity(n));
            hide<N>(s, see, pass.since + t * N);
            probabilities<N>(s, scale, [&](int j, int i) { return of->lse[own_column(j, i)]; });
            pack<N>(p, s);
            products_begin();
            add_products<N, OUT>(dv, p, m->dO[stage(n)], column);
            products_commit();
            products_wait<1>(); /* all but dv's */
            hold(dp);
            differences<N>(dp, s, [&](int j, int i) { return of->mean[own_column(j, i)]; });
            pack<N>(ds, dp);
            products_begin();
            add_products<N, OUT>(dk, ds, m->q[stage(n)], column);
            products_commit();
            products_wait<1>(); /* dv's */
            done_with(&m->outputs, n);
            products_wait<0>();
            hold(dv);
            hold(dk);
            done_with(&m->queries, n);
        }
        pass_queries(m, n0 + high, n0 + pass.tiles);
    }
    auto place = [&](int i) {
        int t = own_first + own_row(i);
        return t < c.N ? ((int64_t)e * c.N + t) * c.D : -1;
    };
    put<OUT>(c.dk, dk, c.D, column, c.scale, c.scale, place);
    put<OUT>(c.dv, dv, c.D, column, 1, 1, place);
}

/* Block (x,e,z): columns [OUT z, OUT z + OUT) of dk and dv of keys [first, first + SM90_ROWS) of key head e.  It goes
 * through the heads that share e, and the queries of each that see one of the keys. */
template <int PD, int N, int OUT>
static __global__ void __launch_bounds__(SM90_THREADS, 1) keys_sm90(GRID_CONSTANT sm90_call x)
{
#if MOT_HOPPER
    auto *m = aligned_memory<keys_memory<PD, N>>();
    const call<bf16> &c = x.c;
    int first = (int)blockIdx.x * SM90_ROWS, e = (int)blockIdx.y, column = (int)blockIdx.z * OUT;
    int last = first + SM90_ROWS < c.N ? first + SM90_ROWS - 1 : c.N - 1;
    passing p = {e * (c.H / c.K), c.since[first], 0, c.H / c.K};
    p.tiles = (c.end[last] - p.since + N - 1) / N;
    if (threadIdx.x == 0) {
        prefetch_map(&x.q), prefetch_map(&x.k), prefetch_map(&x.v), prefetch_map(&x.dO);
        barrier_init(&m->rows_there, 1);
        ring_init(&m->queries);
        ring_init(&m->outputs);
        for (int s = 0; s < STAGES; s++)
            barrier_init(&m->known_there[s], 32);
        barriers_ready();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        fewer_registers<FEW_REGISTERS>();
        if (threadIdx.x == 0)
            bring_queries(x, m, first, e, p);
        else if (warp() == 1)
            bring_known(c, m, p);
    } else {
        more_registers<MANY_REGISTERS>();
        sum_over_queries<PD, N, OUT>(c, m, uniform((int)threadIdx.x / GROUP) - 1, first, e, column, p);
    }
#endif
}

/* -- operations ------------------------------------------------------------------------------------ */

/* Maps of rows that a block keeps and of tiles that pass by. */
static bool describe_all(sm90_call *x, const call<bf16> &c, int queries, int keys)
{
    x->c = c;
    return describe(&x->q, c.q, c.D, c.N, c.H, queries) && describe(&x->dO, c.ordered, c.D, c.N, c.H, queries) &&
           describe(&x->k, c.k, c.D, c.N, c.K, keys) && describe(&x->v, c.v, c.D, c.N, c.K, keys);
}

/* PAIR: keys of a tile for dq; N: queries of a tile for dk and dv, of which a block makes OUT columns. */
template <int PD, int PAIR, int N, int OUT> static bool backward(mot_device *d, const call<bf16> &c)
{
    sm90_call queries, keys;
    if (!describe_all(&queries, c, SM90_ROWS, PAIR) || !describe_all(&keys, c, N, SM90_ROWS))
        return false;
    unsigned blocks = (unsigned)ceil_div(c.N, SM90_ROWS);
    run(d, "attention_back, queries", queries_sm90<PD, PAIR>, dim3(blocks, (unsigned)c.H), SM90_THREADS,
        sizeof(queries_memory<PD, PAIR>) + ALIGNMENT, queries);
    run(d, "attention_back, keys", keys_sm90<PD, N, OUT>, dim3(blocks, (unsigned)c.K, PD / OUT),
        SM90_THREADS, sizeof(keys_memory<PD, N>) + ALIGNMENT, keys);
    return true;
}

bool attention_back_sm90(mot_device *d, const call<bf16> &c)
{
    if (!c.ordered || !aligned<bf16>(c.D, c.q, c.k, c.v))
        return false;
    return c.D <= 64    ? backward<64, 128, 64, 64>(d, c)
           : c.D <= 128 ? backward<128, 96, 64, 128>(d, c)
                        : backward<256, 32, 32, 128>(d, c);
}

} // namespace mot_cuda
