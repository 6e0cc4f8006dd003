/* SPDX-License-Identifier: MIT
 *
 * grouped.cu - the products of all of an operation's groups in one launch, on tensor cores, in bf16.
 *
 * For batches whose groups would leave most of the chip idle if each had a product of the library's, and
 * for models whose sequences grow.  The rows of the groups may be read when the kernel runs: then as
 * many blocks are launched as any mix can need, and those that find no rows are done at once.
 *
 * Whatever its tile, an element is one sum along k, 16 at a time, from the first to the last: so a row
 * of a result depends on nothing but the row, neither on what stands beside it nor on how much does.
 * Tiles of both operands come by asynchronous copies, STAGES - 1 ahead of the one that is multiplied;
 * rows of shared memory are 16 bytes longer than they need to be, so that matrices load without conflicts.
 */
#include "grouped.h"

namespace mot_cuda
{

/* -- tiles --------------------------------------------------------------------------------------- */

/* A block's (M,N) of the result, K at a time of the sum; a warp has (WM,WN) of it. */
template <int M_, int N_, int K_, int WM_, int WN_, int STAGES_> struct tiling {
    static constexpr int M = M_, N = N_, K = K_, WM = WM_, WN = WN_, STAGES = STAGES_;
    static constexpr int ACROSS = N / WN, THREADS = 32 * (M / WM) * ACROSS;
};

using large = tiling<128, 128, 32, 64, 32, 3>;
using small = tiling<64, 64, 64, 32, 32, 3>; /* where large ones would be too few for the chip */
using few = tiling<16, 16, 64, 16, 16, 8>;   /* weights pass once for 16 rows: many blocks, and much under way */

/* R rows of an operand, K values of each along the sum, as they lie in memory: ALONG, a row's values are
 * neighbours; else the rows are. */
template <bool ALONG, int R, int K> struct piece {
    static constexpr int ROWS = ALONG ? R : K, COLUMNS = ALONG ? K : R, PITCH = COLUMNS + 8;
    static constexpr int VALUES = ROWS * PITCH;
};

/* What lies in shared memory: both operands of a step, STAGES times. */
template <class T, bool LEFT, bool RIGHT> struct stages {
    static constexpr int EACH = piece<LEFT, T::M, T::K>::VALUES + piece<RIGHT, T::N, T::K>::VALUES;
    static constexpr size_t SHARED = T::STAGES * EACH * sizeof(bf16);
};

/* A matrix in memory, rows ld values apart; from its first value on there are (rows,columns). */
struct matrix {
    const bf16 *at;
    int64_t ld, rows, columns;
};

/* The piece of m at (row,column); zeros where there is nothing.  whole: pieces of 8 columns are aligned. */
template <class P, int THREADS>
DEVICE void fetch(bf16 *to, const matrix &m, int64_t row, int64_t column, bool whole)
{
    const bf16 *from = m.at + row * m.ld + column;
    int64_t rows = m.rows - row, columns = m.columns - column;
    for (int i = (int)threadIdx.x; i < P::ROWS * (P::COLUMNS / 8); i += THREADS) {
        int r = i / (P::COLUMNS / 8), c = i % (P::COLUMNS / 8) * 8;
        bool there = r < rows && c < columns;
        bf16 *place = to + r * P::PITCH + c;
        if (whole) {
            copy_async(place, there ? from + r * m.ld + c : m.at, there);
            continue;
        }
        for (int j = 0; j < 8; j++)
            place[j] = there && c + j < columns ? from[r * m.ld + c + j] : bf16{0};
    }
}

/* The left operand of a product of a warp: rows [row, row + 16) and [k, k + 16) of the sum. */
template <bool ALONG, int PITCH> DEVICE void load_left(uint32_t (&a)[4], const bf16 *tile, int row, int k)
{
    int l = (int)threadIdx.x % 32, first = l / 8 % 2 * 8, second = l / 16 * 8;
    if (ALONG)
        load_matrix(a, tile + (row + first + l % 8) * PITCH + k + second);
    else
        load_transposed(a, tile + (k + second + l % 8) * PITCH + row + first);
}

/* The right one: two blocks of 8 columns, a[0] and a[1], a[2] and a[3]. */
template <bool ALONG, int PITCH>
DEVICE void load_right(uint32_t (&b)[4], const bf16 *tile, int column, int k)
{
    int l = (int)threadIdx.x % 32, first = l / 8 % 2 * 8, second = l / 16 * 8;
    if (ALONG)
        load_matrix(b, tile + (column + second + l % 8) * PITCH + k + first);
    else
        load_transposed(b, tile + (k + first + l % 8) * PITCH + column + second);
}

/* -- the sum ------------------------------------------------------------------------------------- */

/* What a warp has of a tile, and where: 16 rows, 8 columns a block of four values a lane (multiply_add). */
template <class T> struct sums {
    float of[T::WM / 16][T::WN / 8][4];
    int row, column;
};

template <class T> DEVICE void begin(sums<T> &s)
{
    int warp = (int)threadIdx.x / 32;
    s.row = warp / T::ACROSS * T::WM;
    s.column = warp % T::ACROSS * T::WN;
#pragma unroll
    for (int m = 0; m < T::WM / 16; m++)
#pragma unroll
        for (int n = 0; n < T::WN / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s.of[m][n][i] = 0;
}

/* Adds the product of two tiles; `left` values of the sum are there. */
template <class T, bool LEFT, bool RIGHT>
DEVICE void add_tiles(sums<T> &s, const bf16 *x, const bf16 *y, int64_t left)
{
#pragma unroll
    for (int k = 0; k < T::K; k += 16) {
        uint32_t a[T::WM / 16][4], b[T::WN / 16][4];
        if (k >= left)
            break;
#pragma unroll
        for (int m = 0; m < T::WM / 16; m++)
            load_left<LEFT, piece<LEFT, T::M, T::K>::PITCH>(a[m], x, s.row + 16 * m, k);
#pragma unroll
        for (int n = 0; n < T::WN / 16; n++)
            load_right<RIGHT, piece<RIGHT, T::N, T::K>::PITCH>(b[n], y, s.column + 16 * n, k);
#pragma unroll
        for (int m = 0; m < T::WM / 16; m++)
#pragma unroll
            for (int n = 0; n < T::WN / 16; n++) {
                multiply_add(s.of[m][2 * n], a[m], b[n][0], b[n][1]);
                multiply_add(s.of[m][2 * n + 1], a[m], b[n][2], b[n][3]);
            }
    }
}

/* s += x y over `depth` values of the sum, for the tile of the result at (row,column).  Where a matrix is not
 * ALONG its rows run along the sum. */
template <class T, bool LEFT, bool RIGHT>
DEVICE void add_product(sums<T> &s, const matrix &x, int64_t row, const matrix &y, int64_t column,
                        int64_t depth, bool whole)
{
    using left = piece<LEFT, T::M, T::K>;
    using right = piece<RIGHT, T::N, T::K>;
    constexpr int STAGE = stages<T, LEFT, RIGHT>::EACH;
    bf16 *space = (bf16 *)shared_memory();
    int64_t rows = LEFT ? x.rows : x.columns, columns = RIGHT ? y.rows : y.columns;
    bool busy = row + s.row < rows && column + s.column < columns;
    int steps = (int)((depth + T::K - 1) / T::K);
    auto bring = [&](int step) {
        bf16 *to = space + step % T::STAGES * STAGE;
        int64_t k = (int64_t)step * T::K;
        if (step < steps) {
            fetch<left, T::THREADS>(to, x, LEFT ? row : k, LEFT ? k : row, whole);
            fetch<right, T::THREADS>(to + left::VALUES, y, RIGHT ? column : k, RIGHT ? k : column, whole);
        }
        copy_commit();
    };
#pragma unroll 1
    for (int step = 0; step < T::STAGES - 1; step++)
        bring(step);
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        copy_wait<T::STAGES - 2>();
        __syncthreads(); /* this step's tiles are there, and nobody reads those of the last one any more */
        bring(step + T::STAGES - 1);
        const bf16 *tile = space + step % T::STAGES * STAGE;
        if (busy)
            add_tiles<T, LEFT, RIGHT>(s, tile, tile + left::VALUES, depth - (int64_t)step * T::K);
    }
    copy_wait<0>();
    __syncthreads(); /* another sum may follow */
}

/* f(row, column, value, value of the next column) for what a lane has. */
template <class T, class F> DEVICE void each_pair(const sums<T> &s, F f)
{
    int l = (int)threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < T::WM / 16; m++)
#pragma unroll
        for (int n = 0; n < T::WN / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                f(s.row + 16 * m + l / 4 + 8 * i, s.column + 8 * n + l % 4 * 2, s.of[m][n][2 * i],
                  s.of[m][n][2 * i + 1]);
}

/* -- rows times weights -------------------------------------------------------------------------- */

/* y (N,width) (+)= x (N,depth) times each group's weight, of which the bias is none where it is below 0. */
struct rows_job {
    groups g;
    bf16 *y;
    const bf16 *x, *weights;
    int64_t width, depth;
    int tiles; /* of rows, as many as there may be */
    bool add, bias, whole, pairs; /* pieces of 8 may be read at once; two neighbours may be written so */
};

/* Block: one tile.  Those of the same weights follow each other. */
template <class T, bool ALONG> static __global__ void __launch_bounds__(T::THREADS) rows_kernel(rows_job j)
{
    int64_t tile = blockIdx.x % (unsigned)j.tiles, column = (int64_t)(blockIdx.x / (unsigned)j.tiles) * T::N;
    int k = 0;
    for (; k < j.g.n; k++) {
        int64_t tiles = (own_rows(j.g, k).n + T::M - 1) / T::M;
        if (tile < tiles)
            break;
        tile -= tiles;
    }
    if (k == j.g.n)
        return;
    row_range r = own_rows(j.g, k);
    const mot_group &group = j.g.g[k];
    int64_t row = tile * T::M;
    matrix x = {j.x + r.first * j.depth, j.depth, r.n, j.depth},
           w = {j.weights + group.w, ALONG ? j.depth : j.width, ALONG ? j.width : j.depth,
                ALONG ? j.depth : j.width};
    sums<T> s;
    begin(s);
    add_product<T, true, ALONG>(s, x, row, w, column, j.depth, j.whole);
    each_pair(s, [&](int m, int n, float v0, float v1) {
        int64_t at = (r.first + row + m) * j.width + column + n;
        bool second = column + n + 1 < j.width;
        if (row + m >= r.n || column + n >= j.width)
            return;
        if (j.bias && group.b >= 0) {
            v0 += to_float(j.weights[group.b + column + n]);
            v1 += second ? to_float(j.weights[group.b + column + n + 1]) : 0;
        }
        if (j.add) {
            v0 += to_float(j.y[at]);
            v1 += second ? to_float(j.y[at + 1]) : 0;
        }
        if (j.pairs) {
            *(uint32_t *)(j.y + at) = pack_bf16(v0, v1);
            return;
        }
        j.y[at] = from_float<bf16>(v0);
        if (second)
            j.y[at + 1] = from_float<bf16>(v1);
    });
}

template <class T, bool ALONG> static void run_rows(mot_device *d, const char *what, rows_job j)
{
    j.tiles = (int)(j.g.rows / T::M) + j.g.n;
    run(d, what, rows_kernel<T, ALONG>, dim3((unsigned)(j.tiles * ceil_div(j.width, T::N))), T::THREADS,
        stages<T, true, ALONG>::SHARED, j);
}

/* Do a model's weights lie so that pieces of 8 are aligned? */
static bool all_aligned(const bf16 *weights, const groups &g)
{
    bool all = true;
    for (int k = 0; k < g.n; k++)
        all = all && (uintptr_t)(weights + g.g[k].w) % 16 == 0;
    return all;
}

template <bool ALONG>
static void rows_by_weights(mot_device *d, const char *what, float *y, const float *x, const float *params,
                            const mot_group *g, int G, int64_t width, int64_t depth, int add, bool bias)
{
    rows_job j = {};
    for (int k = 0; k < G; k++)
        if (!weights<bf16>(d, params + g[k].w))
            return;
    for (int at = 0; next_groups(d, &j.g, g, G, &at);) {
        if (j.g.rows == 0)
            continue;
        j.y = (bf16 *)y, j.x = (const bf16 *)x;
        j.weights = weights<bf16>(d, params + j.g.g[0].w) - j.g.g[0].w;
        j.width = width, j.depth = depth;
        j.add = add, j.bias = bias;
        j.whole = aligned<bf16>(depth, x) && aligned<bf16>(width) && all_aligned(j.weights, j.g);
        j.pairs = width % 2 == 0 && (uintptr_t)y % 4 == 0;
        if (j.g.rows <= MOT_FEW)
            run_rows<few, ALONG>(d, what, j);
        else if (ceil_div(j.g.rows, large::M) * ceil_div(width, large::N) < d->units)
            run_rows<small, ALONG>(d, what, j);
        else
            run_rows<large, ALONG>(d, what, j);
    }
}

void grouped_linear(mot_device *d, float *y, const float *x, const float *params, const mot_group *g, int G,
                    int64_t I, int64_t O, int add)
{
    rows_by_weights<true>(d, "linear, groups", y, x, params, g, G, O, I, add, true);
}

void grouped_back_x(mot_device *d, float *dx, const float *dy, const float *params, const mot_group *g, int G,
                    int64_t I, int64_t O, int add)
{
    rows_by_weights<false>(d, "linear_back_x, groups", dx, dy, params, g, G, I, O, add, false);
}

/* -- the gradient of weights --------------------------------------------------------------------- */

struct weights_job {
    groups g;
    float *grads;
    const bf16 *dy, *x;
    int64_t I, O;
    bool whole;
};

/* Block (t,k): a tile of the gradient (O,I) of group k's weight, over the rows of all groups that name it, unless
 * an earlier one does and so has them already. */
template <class T> static __global__ void __launch_bounds__(T::THREADS) weights_kernel(weights_job j)
{
    unsigned across = (unsigned)((j.I + T::N - 1) / T::N);
    int64_t row = (int64_t)(blockIdx.x / across) * T::M, column = (int64_t)(blockIdx.x % across) * T::N;
    int64_t at = j.g.g[blockIdx.y].w;
    bool any = false;
    sums<T> s;
    begin(s);
    for (int k = 0; k < j.g.n; k++) {
        row_range r = own_rows(j.g, k);
        if (j.g.g[k].w != at)
            continue;
        if (k < (int)blockIdx.y)
            return;
        if (r.n == 0)
            continue;
        matrix dy = {j.dy + r.first * j.O, j.O, r.n, j.O}, x = {j.x + r.first * j.I, j.I, r.n, j.I};
        add_product<T, false, false>(s, dy, row, x, column, r.n, j.whole);
        any = true;
    }
    float *to = j.grads + at;
    if (any)
        each_pair(s, [&](int m, int n, float v0, float v1) {
            if (row + m >= j.O)
                return;
            if (column + n < j.I)
                to[(row + m) * j.I + column + n] += v0;
            if (column + n + 1 < j.I)
                to[(row + m) * j.I + column + n + 1] += v1;
        });
}

template <class T> static void run_weights(mot_device *d, const weights_job &j)
{
    run(d, "linear_back_w, groups", weights_kernel<T>,
        dim3((unsigned)(ceil_div(j.O, T::M) * ceil_div(j.I, T::N)), (unsigned)j.g.n), T::THREADS,
        stages<T, false, false>::SHARED, j);
}

void grouped_back_w(mot_device *d, float *grads, const float *dy, const float *x, const mot_group *g, int G,
                    int64_t I, int64_t O)
{
    weights_job j = {};
    for (int at = 0; next_groups(d, &j.g, g, G, &at);) {
        if (j.g.rows == 0)
            continue;
        j.grads = grads, j.dy = (const bf16 *)dy, j.x = (const bf16 *)x;
        j.I = I, j.O = O;
        j.whole = aligned<bf16>(O, dy) && aligned<bf16>(I, x);
        if (ceil_div(O, large::M) * ceil_div(I, large::N) * j.g.n < d->units)
            run_weights<small>(d, j);
        else
            run_weights<large>(d, j);
    }
}

/* -- when ---------------------------------------------------------------------------------------- */

/* If all of a batch were one group and C columns wide, would tiles of the usual size keep half of the multiprocessors
 * busy?  Where not, a product of the library's for each group does still less, and the host, which launches them
 * one by one, takes longer than they do.  Beyond, the library's rate with all of the chip counts more. */
int64_t grouped_most(const mot_device *d, int64_t C)
{
    return (int64_t)d->units * large::M * large::N / (2 * (C > 0 ? C : 1));
}

bool grouped_suits(const mot_device *d, const mot_group *g, int G)
{
    int64_t rows = 0;
    for (int k = 0; k < G; k++)
        rows += g[k].rows;
    return d->past > 0 || marked(d, g, G) || rows <= d->grouped_rows;
}

} // namespace mot_cuda
