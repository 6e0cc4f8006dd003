/* SPDX-License-Identifier: MIT
 *
 * attention.cu - attention in bf16 on tensor cores, after FlashAttention-2 (Dao 2023): scores exist for
 * a tile at a time, and backward they are made again from the logarithms of the sums.
 *
 * Four warps have a tile of rows each: queries in forward and dq, keys in dk and dv; the other side
 * passes through shared memory.  A warp's scores are left in the registers where the product that
 * follows wants its operand, so only inputs cross shared memory.  Heads are padded with zeros to
 * PD columns, and rows of shared memory by 16 bytes more, so that matrices load without conflicts.
 */
#include "fragment.h"

namespace mot_cuda
{

enum { WARPS = 4, THREADS = 32 * WARPS };

/* Values from one row of shared memory to the next. */
template <int PD> constexpr int pitch = PD + 8;

/* -- tiles in shared memory ---------------------------------------------------------------------- */

/* ROWS rows of D values from from + at(r), at(r) < 0: zeros; whole pieces arrive with the next batch. */
template <int PD, int ROWS, class At> DEVICE void fetch(bf16 *to, const bf16 *from, int D, At at)
{
    bool whole = D % 8 == 0;
    for (int i = (int)threadIdx.x; i < ROWS * (PD / 8); i += THREADS) {
        int r = i / (PD / 8), c = i % (PD / 8) * 8;
        int64_t row = at(r);
        bool there = row >= 0 && c < D;
        bf16 *place = to + r * pitch<PD> + c;
        if (whole) {
            copy_async(place, from + (there ? row + c : 0), there);
            continue;
        }
        for (int j = 0; j < 8; j++)
            place[j] = there && c + j < D ? from[row + c + j] : bf16{0};
    }
}

/* Rows [first, first + ROWS) of a head in (heads,N,D). */
template <int PD, int ROWS>
DEVICE void fetch_head(const call<bf16> &c, bf16 *to, const bf16 *from, int head, int first)
{
    fetch<PD, ROWS>(to, from + (int64_t)head * c.N * c.D, c.D,
                    [&](int r) { return first + r < c.N ? (int64_t)(first + r) * c.D : -1; });
}

/* The same rows of a head in (N,heads,D), sorted order. */
template <int PD, int ROWS>
DEVICE void fetch_sorted(const call<bf16> &c, bf16 *to, const bf16 *from, int head, int first)
{
    fetch<PD, ROWS>(to, from, c.D, [&](int r) {
        return first + r < c.N ? ((int64_t)c.row[first + r] * c.H + head) * c.D : -1;
    });
}

/* -- products of a warp -------------------------------------------------------------------------- */

/* The left operand: rows [row, row+16), columns [column, column+16) of a tile. */
template <int PD> DEVICE void load_left(uint32_t (&a)[4], const bf16 *tile, int row, int column)
{
    int l = lane();
    load_matrix(a, tile + (row + l / 8 % 2 * 8 + l % 8) * pitch<PD> + column + l / 16 * 8);
}

/* The right operand is the tile's transpose: its rows [row, row+16) are two blocks of 8 columns. */
template <int PD>
DEVICE void load_right_rows(uint32_t (&b)[4], const bf16 *tile, int row, int column)
{
    int l = lane();
    load_matrix(b, tile + (row + l / 16 * 8 + l % 8) * pitch<PD> + column + l / 8 % 2 * 8);
}

/* The right operand is the tile: rows [row, row+16) run along the sum, columns are two blocks of 8. */
template <int PD> DEVICE void load_right(uint32_t (&b)[4], const bf16 *tile, int row, int column)
{
    int l = lane();
    load_transposed(b, tile + (row + l / 8 % 2 * 8 + l % 8) * pitch<PD> + column + l / 16 * 8);
}

/* s (16 M, N) = rows [row, row + 16 M) of x times all rows of y, both of PD columns. */
template <int PD, int M, int N>
DEVICE void scores(float (&s)[M][N / 8][4], const bf16 *x, int row, const bf16 *y)
{
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][j][i] = 0;
#pragma unroll
    for (int k = 0; k < PD; k += 16) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++)
            load_left<PD>(a[m], x, row + 16 * m, k);
#pragma unroll
        for (int j = 0; j < N / 16; j++) {
            uint32_t b[4];
            load_right_rows<PD>(b, y, 16 * j, k);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_add(s[m][2 * j], a[m], b[0], b[1]);
                multiply_add(s[m][2 * j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* o (16 M, OUT) += s (16 M, N), rounded to bf16, times columns [column, column + OUT) of y's N rows. */
template <int PD, int M, int N, int OUT>
DEVICE void add_product(float (&o)[M][OUT / 8][4], const float (&s)[M][N / 8][4], const bf16 *y,
                        int column)
{
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] =
                    pack_bf16(s[m][2 * k + i / 2][i % 2 * 2], s[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int j = 0; j < OUT / 16; j++) {
            uint32_t b[4];
            load_right<PD>(b, y, 16 * k, column + 16 * j);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_add(o[m][2 * j], a[m], b[0], b[1]);
                multiply_add(o[m][2 * j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* -- forward ------------------------------------------------------------------------------------- */

/* Block (x,h): queries [first, first + 64 M) of head h, the last ones first, for they see the most keys. */
template <int PD, int M, int N>
static __global__ void __launch_bounds__(THREADS) attention_kernel(call<bf16> c)
{
    constexpr int ROWS = 16 * M * WARPS;
    bf16 *q = (bf16 *)shared_memory(), *k = q + ROWS * pitch<PD>, *v = k + N * pitch<PD>;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS, h = (int)blockIdx.y, e = h * c.K / c.H;
    int last = first + ROWS < c.N ? first + ROWS - 1 : c.N - 1;
    int begin = c.begin[first], end = c.until[last];
    int row = 16 * M * warp(); /* of the warp in the tile */
    float o[M][PD / 8][4] = {}, scale = c.scale * LOG2_E;
    softmax<M> x;
    int own_first = first + row, own_end = own_first + 16 * M < c.N ? own_first + 16 * M : c.N;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            x.max[m][i] = -INFINITY, x.sum[m][i] = 0;
    /* What some of the warp's rows see, and what all do; rows beyond N see nothing. */
    bool any = own_first < c.N, all = own_first + 16 * M <= c.N;
    int see_from = any ? c.begin[own_first] : c.N, see_until = any ? c.until[own_end - 1] : 0;
    int all_from = all ? c.begin[own_end - 1] : c.N, all_until = all ? c.until[own_first] : 0;
    fetch_head<PD, ROWS>(c, q, c.q, h, first);
    fetch_head<PD, N>(c, k, c.k, e, begin);
    copy_commit();
    for (int t0 = begin; t0 < end; t0 += N) {
        copy_wait<0>();
        __syncthreads(); /* keys are there, and nobody reads the last values any more */
        fetch_head<PD, N>(c, v, c.v, e, t0);
        copy_commit();
        bool sees = t0 < see_until && t0 + N > see_from;
        float s[M][N / 8][4];
        if (sees)
            scores<PD, M, N>(s, q, row, k);
        copy_wait<0>();
        __syncthreads(); /* values are there, and nobody reads these keys any more */
        if (t0 + N < end)
            fetch_head<PD, N>(c, k, c.k, e, t0 + N);
        copy_commit();
        if (!sees)
            continue;
        if (t0 + N > all_until || t0 < all_from) {
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int at = own_first + 16 * m + own_row(i / 2), from = at < c.N ? c.begin[at] : c.N,
                        until = at < c.N ? c.until[at] : 0;
#pragma unroll
                    for (int j = 0; j < N / 8; j++) {
                        int t = t0 + own_column(j, i);
                        if (t >= until || t < from)
                            s[m][j][i] = -INFINITY;
                    }
                }
        }
        float kept[M][2];
        advance<M, N>(x, s, kept, scale);
        rescale<M, PD>(o, kept);
        add_product<PD, M, N, PD>(o, s, v, 0);
    }
    copy_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++) {
        float sum[2] = {quad_sum(x.sum[m][0]), quad_sum(x.sum[m][1])};
        int s0 = own_first + 16 * m;
        put<PD>(c.o, o[m], c.D, 0, 1 / sum[0], 1 / sum[1], [&](int i) {
            int s = s0 + own_row(i);
            return s < c.N ? ((int64_t)c.row[s] * c.H + h) * c.D : -1;
        });
#pragma unroll
        for (int i = 0; i < 2; i++)
            if (lane() % 4 == 0 && s0 + own_row(i) < c.N)
                c.lse[(int64_t)h * c.N + s0 + own_row(i)] = c.scale * x.max[m][i] + logf(sum[i]);
    }
}

/* -- backward ------------------------------------------------------------------------------------ */

/* Block (x,h): dq of queries [first, first + 64) of head h. */
template <int PD, int N>
static __global__ void __launch_bounds__(THREADS) back_queries(call<bf16> c)
{
    constexpr int ROWS = 16 * WARPS, TILE = N * pitch<PD>;
    bf16 *q = (bf16 *)shared_memory(), *dO = q + ROWS * pitch<PD>, *k = dO + ROWS * pitch<PD>,
         *v = k + 2 * TILE;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS, h = (int)blockIdx.y, e = h * c.K / c.H;
    int last = first + ROWS < c.N ? first + ROWS - 1 : c.N - 1;
    int begin = c.begin[first], end = c.until[last];
    int own_first = first + 16 * warp(), from[2], until[2];
    float dq[1][PD / 8][4] = {}, scale = c.scale * LOG2_E, lse[2], mean[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int s = own_first + own_row(i);
        int64_t at = (int64_t)h * c.N + s;
        from[i] = s < c.N ? c.begin[s] : c.N;
        until[i] = s < c.N ? c.until[s] : 0;
        lse[i] = s < c.N ? c.lse[at] * LOG2_E : 0;
        mean[i] = s < c.N ? c.mean[at] : 0;
    }
    fetch_head<PD, ROWS>(c, q, c.q, h, first);
    fetch_sorted<PD, ROWS>(c, dO, c.dO, h, first);
    fetch_head<PD, N>(c, k, c.k, e, begin);
    fetch_head<PD, N>(c, v, c.v, e, begin);
    copy_commit();
    for (int t0 = begin, turn = 0; t0 < end; t0 += N, turn ^= 1) {
        if (t0 + N < end) {
            fetch_head<PD, N>(c, k + (turn ^ 1) * TILE, c.k, e, t0 + N);
            fetch_head<PD, N>(c, v + (turn ^ 1) * TILE, c.v, e, t0 + N);
        }
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float s[1][N / 8][4], dp[1][N / 8][4];
        scores<PD, 1, N>(s, q, 16 * warp(), k + turn * TILE);
        scores<PD, 1, N>(dp, dO, 16 * warp(), v + turn * TILE);
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int t = t0 + own_column(j, i);
                bool sees = t < until[i / 2] && t >= from[i / 2];
                float p = fast_exp2(s[0][j][i] * scale - lse[i / 2]);
                s[0][j][i] = sees ? p * (dp[0][j][i] - mean[i / 2]) : 0;
            }
        add_product<PD, 1, N, PD>(dq, s, k + turn * TILE, 0);
        __syncthreads(); /* the next but one tile comes where this one lies */
    }
    copy_wait<0>();
    put<PD>(c.dq + (int64_t)h * c.N * c.D, dq[0], c.D, 0, c.scale, c.scale, [&](int i) {
        int s = own_first + own_row(i);
        return s < c.N ? (int64_t)s * c.D : -1;
    });
}

/* A tile of queries of one head, and what there is of each. */
template <int PD, int N> struct queries {
    bf16 q[N * pitch<PD>], dO[N * pitch<PD>];
    float lse[N], mean[N];
};

template <int PD, int N>
DEVICE void fetch_queries(const call<bf16> &c, queries<PD, N> *to, int h, int first)
{
    fetch_head<PD, N>(c, to->q, c.q, h, first);
    fetch_sorted<PD, N>(c, to->dO, c.dO, h, first);
    for (int i = (int)threadIdx.x; i < N; i += THREADS) {
        int64_t at = (int64_t)h * c.N + first + i;
        to->lse[i] = first + i < c.N ? c.lse[at] * LOG2_E : 0;
        to->mean[i] = first + i < c.N ? c.mean[at] : 0;
    }
}

/* Block (x,e,z): columns [OUT z, OUT z + OUT) of dk and dv of keys [first, first + 64) of key head e.  It goes
 * through the heads that share e, and the queries of each that see one of the keys. */
template <int PD, int N, int OUT>
static __global__ void __launch_bounds__(THREADS) back_keys(call<bf16> c)
{
    constexpr int ROWS = 16 * WARPS;
    bf16 *k = (bf16 *)shared_memory(), *v = k + ROWS * pitch<PD>;
    queries<PD, N> *tile = (queries<PD, N> *)(v + ROWS * pitch<PD>);
    int first = (int)blockIdx.x * ROWS, e = (int)blockIdx.y, column = (int)blockIdx.z * OUT;
    int last = first + ROWS < c.N ? first + ROWS - 1 : c.N - 1, share = c.H / c.K;
    int since = c.since[first], tiles = (c.end[last] - since + N - 1) / N; /* of one head */
    int own_first = first + 16 * warp(), from[2], until[2];
    float dk[1][OUT / 8][4] = {}, dv[1][OUT / 8][4] = {}, scale = c.scale * LOG2_E;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int t = own_first + own_row(i);
        from[i] = t < c.N ? c.since[t] : c.N;
        until[i] = t < c.N ? c.end[t] : 0;
    }
    fetch_head<PD, ROWS>(c, k, c.k, e, first);
    fetch_head<PD, ROWS>(c, v, c.v, e, first);
    fetch_queries(c, tile, e * share, since);
    copy_commit();
    for (int n = 0; n < tiles * share; n++) {
        const queries<PD, N> *now = tile + n % 2;
        if (n + 1 < tiles * share)
            fetch_queries(c, tile + (n + 1) % 2, e * share + (n + 1) / tiles,
                          since + (n + 1) % tiles * N);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        int s0 = since + n % tiles * N;
        float p[1][N / 8][4], ds[1][N / 8][4]; /* transposed: rows are keys */
        scores<PD, 1, N>(p, k, 16 * warp(), now->q);
        scores<PD, 1, N>(ds, v, 16 * warp(), now->dO);
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int at = own_column(j, i), s = s0 + at;
                bool sees = s >= from[i / 2] && s < until[i / 2];
                p[0][j][i] = sees ? fast_exp2(p[0][j][i] * scale - now->lse[at]) : 0;
                ds[0][j][i] = sees ? p[0][j][i] * (ds[0][j][i] - now->mean[at]) : 0;
            }
        add_product<PD, 1, N, OUT>(dv, p, now->dO, column);
        add_product<PD, 1, N, OUT>(dk, ds, now->q, column);
        __syncthreads(); /* the next but one tile comes where this one lies */
    }
    copy_wait<0>();
    auto place = [&](int i) {
        int t = own_first + own_row(i);
        return t < c.N ? ((int64_t)e * c.N + t) * c.D : -1;
    };
    put<OUT>(c.dk, dk[0], c.D, column, c.scale, c.scale, place);
    put<OUT>(c.dv, dv[0], c.D, column, 1, 1, place);
}

/* -- operations ---------------------------------------------------------------------------------- */

/* Tiles of each kernel, and the shared memory that they take. */
template <int PD> struct forward_tiles {
    static constexpr int M = PD <= 128 ? 2 : 1, N = PD <= 128 ? 64 : 32, ROWS = 16 * M * WARPS;
    static constexpr size_t SHARED = (ROWS + 2 * N) * pitch<PD> * sizeof(bf16);
};
template <int PD> struct backward_tiles {
    static constexpr int ROWS = 16 * WARPS, N = PD <= 64 ? 64 : 32, OUT = PD < 128 ? PD : 128;
    static constexpr size_t QUERIES = (2 * ROWS + 4 * N) * pitch<PD> * sizeof(bf16),
                            KEYS = 2 * ROWS * pitch<PD> * sizeof(bf16) + 2 * sizeof(queries<PD, N>);
};

template <int PD> static size_t shared_of(bool train)
{
    size_t forward = forward_tiles<PD>::SHARED, queries = backward_tiles<PD>::QUERIES,
           keys = backward_tiles<PD>::KEYS, back = queries > keys ? queries : keys;
    return train && back > forward ? back : forward;
}

size_t attention_shared(int64_t D, bool train)
{
    return D <= 32    ? shared_of<32>(train)
           : D <= 64  ? shared_of<64>(train)
           : D <= 128 ? shared_of<128>(train)
                      : shared_of<256>(train);
}

template <int PD> static void forward(mot_device *d, const call<bf16> &c)
{
    using tiles = forward_tiles<PD>;
    run(d, "attention", attention_kernel<PD, tiles::M, tiles::N>,
        dim3((unsigned)ceil_div(c.N, tiles::ROWS), (unsigned)c.H), THREADS, tiles::SHARED, c);
}

template <int PD> static void backward(mot_device *d, const call<bf16> &c)
{
    using tiles = backward_tiles<PD>;
    constexpr int N = tiles::N, OUT = tiles::OUT;
    unsigned blocks = (unsigned)ceil_div(c.N, tiles::ROWS);
    run(d, "attention_back, queries", back_queries<PD, N>, dim3(blocks, (unsigned)c.H), THREADS,
        tiles::QUERIES, c);
    run(d, "attention_back, keys", back_keys<PD, N, OUT>, dim3(blocks, (unsigned)c.K, PD / OUT),
        THREADS, tiles::KEYS, c);
}

template <>
void attention<bf16>(mot_device *d, float *o, float *lse, const float *q, const float *k,
                     const float *v, const int32_t *row, const int32_t *until,
                     const mot_segment *segments, int64_t n_segments, int64_t N, int64_t H,
                     int64_t K, int64_t D, float scale)
{
    watched w(d);
    call<bf16> c;
    if (!begin_call(d, &c, q, k, v, lse, row, until, segments, n_segments, N, H, K, D, scale))
        return;
    c.o = (bf16 *)o;
    if (attention_sm90(d, c))
        return;
    auto *padded = D <= 32    ? forward<32>
                   : D <= 64  ? forward<64>
                   : D <= 128 ? forward<128>
                              : forward<256>;
    padded(d, c);
}

template <>
void attention_back<bf16>(mot_device *d, float *dq, float *dk, float *dv, const float *dO,
                          const float *o, const float *lse, const float *q, const float *k,
                          const float *v, const int32_t *row, const int32_t *until, const mot_segment *segments,
                          int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D,
                          float scale)
{
    watched w(d);
    call<bf16> c;
    if (!begin_call(d, &c, q, k, v, lse, row, until, segments, n_segments, N, H, K, D, scale) ||
        !begin_back(d, &c, dq, dk, dv, dO, o))
        return;
    if (attention_back_sm90(d, c))
        return;
    auto *padded = D <= 32    ? backward<32>
                   : D <= 64  ? backward<64>
                   : D <= 128 ? backward<128>
                              : backward<256>;
    padded(d, c);
}

} // namespace mot_cuda
