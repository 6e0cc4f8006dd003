/* SPDX-License-Identifier: MIT
 *
 * attention.c - grouped-query attention inside segments, forward and backward, in tiles.
 *
 * Queries go in strips of STRIP, keys in blocks of BLOCK; blocks behind the last key that a strip
 * sees are skipped.  Scores are held transposed, S[key][query]: the queries of a strip fill the lanes of the
 * vectors, so that maxima, sums and exponentials of softmax run down a column without any
 * horizontal step, K and V are read as they lie, and P is at once the left operand of the next
 * product.  All that is packed is the strip's own q (and dO), once.
 * Softmax is the online one (Milakov & Gimelshein 2018; Dao et al. 2022): a strip's output is
 * scaled down whenever a block brings a larger maximum.  Scratch is therefore one block a thread,
 * whatever the length, and it stays in the first cache.
 * Backward recomputes P from the log-sum-exp.
 */
#include <float.h>
#include <math.h>
#include <omp.h>

#include "cpu.h"
#include "tile.h"

enum {
    STRIP = 32,  /* queries: two vectors of AVX-512 */
    BLOCK = 128, /* keys: two blocks of scores are 32 KB */
    CHUNK = 256, /* queries of one head that a thread takes at a time */
};

/* What both directions are given. */
struct args {
    const float *q, *k, *v, *o, *dO, *lse;
    float *out, *out_lse, *dq, *dk, *dv;
    const int32_t *row, *until;
    const struct mot_segment *segments;
    int64_t n_segments, N, H, K, D;
    float scale;
};

/* A thread's scratch.  Arrays that are `..t` are transposed: [D][STRIP]. */
struct space {
    float *s, *p;             /* (BLOCK,STRIP) scores and what becomes of them */
    float *qt, *dOt, *dO, *o; /* the strip's queries, gradients and output */
    float *max, *sum, *mean;  /* (STRIP) */
};

static size_t space_floats(int64_t D)
{
    return (size_t)(2 * BLOCK * STRIP + 4 * D * STRIP + 3 * STRIP);
}

struct mot_cpu_need mot_cpu_attention_need(int threads, const struct mot_limits *l)
{
    (void)threads;
    return (struct mot_cpu_need){.scratch = space_floats(l->D) * sizeof(float)};
}

static struct space space_of(struct mot_device *d, int thread, int64_t D)
{
    float *p = mot_cpu_scratch(d, thread, space_floats(D) * sizeof(float));
    struct space w = {.s = p, .p = p + BLOCK * STRIP, .qt = p + 2 * BLOCK * STRIP};
    w.dOt = w.qt + D * STRIP;
    w.dO = w.dOt + D * STRIP;
    w.o = w.dO + D * STRIP;
    w.max = w.o + D * STRIP;
    w.sum = w.max + STRIP;
    w.mean = w.sum + STRIP;
    return w;
}

/* The segment that position s lies in. */
static int64_t segment_at(const struct args *a, int64_t s)
{
    int64_t low = 0, high = a->n_segments - 1;
    while (low < high) {
        int64_t mid = (low + high + 1) / 2;
        if (a->segments[mid].begin <= s)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* The first key that query s does not see any more. */
static int64_t seen(const struct args *a, int64_t s)
{
    return a->until ? a->until[s] : s + 1;
}

/* Put `value` where keys [t, t + n) are not seen by queries [s, s + m): a key by the first so many. */
static void hide(const struct args *a, float *x, float value, int64_t s, int64_t m, int64_t t, int64_t n)
{
    int64_t hidden = 0, first = seen(a, s) - t;
    for (int64_t j = first > 0 ? first : 0; j < n; j++) {
        while (hidden < m && seen(a, s + hidden) <= t + j)
            hidden++;
        for (int64_t i = 0; i < hidden; i++)
            x[j * STRIP + i] = value;
    }
}

/* to[j][i] = scale from[i][j] for i < m, else 0 */
static void transpose(float *to, const float *from, int64_t m, int64_t D, float scale)
{
    for (int64_t i = 0; i < STRIP; i += TILE_VECTOR)
        for (int64_t j = 0; j < D; j += TILE_VECTOR)
            tile_turn(to + j * STRIP + i, STRIP, from + i * D + j, D, m - i,
                      D - j < TILE_VECTOR ? D - j : TILE_VECTOR);
#pragma omp simd
    for (int64_t k = 0; k < D * STRIP; k++)
        to[k] *= scale;
}

/* s[t][i] = k_t . q_i for n keys */
static void scores(float *s, const float *k, const float *qt, int64_t n, int64_t D)
{
    tile_product(n, STRIP, D, (struct tile_a){k, D, 1}, qt, STRIP, s, STRIP, false);
}

/* to[i] (+)= sum_t s[t][i] from[t] for m queries and n keys */
static void gather(float *to, const float *s, const float *from, int64_t m, int64_t n, int64_t D,
                   bool add)
{
    tile_product(m, D, n, (struct tile_a){s, 1, STRIP}, from, D, to, D, add);
}

/* to[t] += sum_i s[t][i] from[i] for n keys and m queries */
static void scatter(float *to, const float *s, const float *from, int64_t m, int64_t n, int64_t D)
{
    tile_product(n, D, m, (struct tile_a){s, STRIP, 1}, from, D, to, D, true);
}

/* -- forward ----------------------------------------------------------------------------------- */

static void scale_row(float *to, const float *from, float factor, int64_t D)
{
#pragma omp simd
    for (int64_t j = 0; j < D; j++)
        to[j] = from[j] * factor;
}

/* One block of scores into exp(s - max), with the running max and sum of each query brought up to
 * date, and the strip's output with them. */
static void soften(struct space *w, int64_t n, int64_t D)
{
    float shrink[STRIP], *s = w->s, *max = w->max, *sum = w->sum;
    memcpy(shrink, max, sizeof shrink);
    for (int64_t t = 0; t < n; t++)
#pragma omp simd
        for (int i = 0; i < STRIP; i++)
            max[i] = s[t * STRIP + i] > max[i] ? s[t * STRIP + i] : max[i];
    bool grew = false;
    for (int i = 0; i < STRIP; i++) {
        grew |= shrink[i] != max[i];
        shrink[i] = mot_cpu_exp(shrink[i] - max[i]);
        sum[i] *= shrink[i];
    }
    for (int64_t t = 0; t < n; t++)
#pragma omp simd
        for (int i = 0; i < STRIP; i++) {
            float p = mot_cpu_exp(s[t * STRIP + i] - max[i]);
            s[t * STRIP + i] = p;
            sum[i] += p;
        }
    if (grew)
        for (int64_t i = 0; i < STRIP; i++)
            scale_row(w->o + i * D, w->o + i * D, shrink[i], D);
}

/* Queries [s, s + m) of head h, in the segment that begins at `begin`. */
static void strip_forward(const struct args *a, struct space *w, int64_t h, int64_t begin,
                          int64_t s, int64_t m)
{
    int64_t D = a->D, e = h * a->K / a->H;
    const float *k = a->k + e * a->N * D, *v = a->v + e * a->N * D;
    transpose(w->qt, a->q + (h * a->N + s) * D, m, D, a->scale);
    memset(w->o, 0, (size_t)(STRIP * D) * sizeof(float));
    for (int i = 0; i < STRIP; i++) {
        w->max[i] = -FLT_MAX;
        w->sum[i] = 0;
    }
    for (int64_t t = begin, end = seen(a, s + m - 1); t < end; t += BLOCK) {
        int64_t n = end - t < BLOCK ? end - t : BLOCK;
        scores(w->s, k + t * D, w->qt, n, D);
        hide(a, w->s, -FLT_MAX, s, m, t, n);
        soften(w, n, D);
        gather(w->o, w->s, v + t * D, m, n, D, true);
    }
    for (int64_t i = 0; i < m; i++) {
        scale_row(a->out + (a->row[s + i] * a->H + h) * D, w->o + i * D, 1 / w->sum[i], D);
        a->out_lse[h * a->N + s + i] = w->max[i] + logf(w->sum[i]);
    }
}

/* Queries [from, to) of one head, whatever segments they lie in. */
static void chunk_forward(const struct args *a, struct space *w, int64_t h, int64_t from,
                          int64_t to)
{
    for (int64_t n = segment_at(a, from); from < to; n++) {
        int64_t begin = a->segments[n].begin, end = begin + a->segments[n].length;
        end = end < to ? end : to;
        for (; from < end; from += STRIP)
            strip_forward(a, w, h, begin, from, end - from < STRIP ? end - from : STRIP);
        from = end;
    }
}

void mot_cpu_attention(struct mot_device *d, float *o, float *lse, const float *q, const float *k,
                       const float *v, const int32_t *row, const int32_t *until,
                       const struct mot_segment *segments, int64_t n_segments, int64_t N, int64_t H,
                       int64_t K, int64_t D, float scale)
{
    struct args a = {.q = q,
                     .k = k,
                     .v = v,
                     .out = o,
                     .out_lse = lse,
                     .row = row,
                     .until = until,
                     .segments = segments,
                     .n_segments = n_segments,
                     .N = N,
                     .H = H,
                     .K = K,
                     .D = D,
                     .scale = scale};
    int64_t n_chunks = (N + CHUNK - 1) / CHUNK;
    int workers = mot_cpu_workers(d, N * H * D * 8);
#pragma omp parallel num_threads(workers)
    {
        struct space w = space_of(d, omp_get_thread_num(), D);
#pragma omp for collapse(2) schedule(dynamic, 1)
        for (int64_t n = n_chunks - 1; n >= 0; n--) /* the last see most keys: first */
            for (int64_t h = 0; h < H; h++) {
                double begin = mot_cpu_begin(d);
                chunk_forward(&a, &w, h, n * CHUNK, (n + 1) * CHUNK < N ? (n + 1) * CHUNK : N);
                mot_cpu_end(d, -1, begin);
            }
    }
}

/* -- backward ---------------------------------------------------------------------------------- */

enum { DQ = 1, DKV = 2 }; /* which gradients a call makes */

/* With P = exp(s - lse) and dP = dO V^T in w->p: leaves P in s and dS = scale P (dP - mean) in p. */
static void soften_back(struct space *w, int64_t n, float scale)
{
    const float *lse = w->max, *mean = w->mean;
    for (int64_t t = 0; t < n; t++) {
        float *s = w->s + t * STRIP, *p = w->p + t * STRIP;
#pragma omp simd
        for (int i = 0; i < STRIP; i++) {
            float e = mot_cpu_exp(s[i] - lse[i]);
            s[i] = e;
            p[i] = scale * e * (p[i] - mean[i]);
        }
    }
}

/* to = dO, and the row's dO . o, the mean of dP under P. */
static float copy_row(float *to, const float *dO, const float *o, int64_t D)
{
    float mean = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t j = 0; j < D; j++) {
        to[j] = dO[j];
        mean += dO[j] * o[j];
    }
    return mean;
}

/* Queries [s, s + m) of head h against keys [first, last) of their segment.  dq is overwritten, dk
 * and dv are added to. */
static void strip_back(const struct args *a, struct space *w, int64_t h, int64_t s, int64_t m,
                       int64_t first, int64_t last, int what)
{
    int64_t D = a->D, kv = h * a->K / a->H * a->N * D;
    const float *q = a->q + (h * a->N + s) * D;
    for (int64_t i = 0; i < m; i++) {
        int64_t at = (a->row[s + i] * a->H + h) * D;
        w->mean[i] = copy_row(w->dO + i * D, a->dO + at, a->o + at, D);
        w->max[i] = a->lse[h * a->N + s + i];
    }
    for (int64_t i = m; i < STRIP; i++)
        w->mean[i] = w->max[i] = 0;
    transpose(w->qt, q, m, D, a->scale);
    transpose(w->dOt, w->dO, m, D, 1);
    for (int64_t t = first; t < last; t += BLOCK) {
        int64_t n = last - t < BLOCK ? last - t : BLOCK, at = kv + t * D;
        scores(w->s, a->k + at, w->qt, n, D);
        scores(w->p, a->v + at, w->dOt, n, D);
        soften_back(w, n, a->scale);
        hide(a, w->s, 0, s, m, t, n);
        hide(a, w->p, 0, s, m, t, n);
        if (what & DQ)
            gather(a->dq + (h * a->N + s) * D, w->p, a->k + at, m, n, D, t > first);
        if (what & DKV) {
            scatter(a->dk + at, w->p, q, m, n, D);
            scatter(a->dv + at, w->s, w->dO, m, n, D);
        }
    }
}

/* Queries of one segment against keys of it, for the heads [h, h_end). */
static void heads_back(const struct args *a, struct space *w, int64_t h, int64_t h_end,
                       struct mot_range queries, struct mot_range keys, int what)
{
    for (; h < h_end; h++)
        for (int64_t s = queries.begin; s < queries.end; s += STRIP) {
            int64_t m = queries.end - s < STRIP ? queries.end - s : STRIP, end = seen(a, s + m - 1);
            strip_back(a, w, h, s, m, keys.begin, keys.end < end ? keys.end : end, what);
        }
}

/* All of one segment for key/value head e and the query heads that share it. */
static void segment_back(const struct args *a, struct space *w, int64_t e,
                         const struct mot_segment *segment)
{
    struct mot_range all = {segment->begin, segment->begin + segment->length};
    size_t bytes = (size_t)(segment->length * a->D) * sizeof(float);
    if (bytes == 0)
        return;
    memset(a->dk + (e * a->N + all.begin) * a->D, 0, bytes);
    memset(a->dv + (e * a->N + all.begin) * a->D, 0, bytes);
    heads_back(a, w, e * (a->H / a->K), (e + 1) * (a->H / a->K), all, all, DQ | DKV);
}

/* dq of queries [from, to) of head h. */
static void queries_back(const struct args *a, struct space *w, int64_t h, int64_t from, int64_t to)
{
    for (int64_t n = segment_at(a, from); from < to; n++) {
        int64_t begin = a->segments[n].begin, end = begin + a->segments[n].length;
        struct mot_range queries = {from, end < to ? end : to}, keys = {begin, end};
        heads_back(a, w, h, h + 1, queries, keys, DQ);
        from = queries.end;
    }
}

/* dk and dv of keys [from, to) of key/value head e. */
static void keys_back(const struct args *a, struct space *w, int64_t e, int64_t from, int64_t to)
{
    size_t bytes = (size_t)((to - from) * a->D) * sizeof(float);
    memset(a->dk + (e * a->N + from) * a->D, 0, bytes);
    memset(a->dv + (e * a->N + from) * a->D, 0, bytes);
    for (int64_t n = segment_at(a, from); from < to; n++) {
        int64_t end = a->segments[n].begin + a->segments[n].length, first = from;
        while (first > a->segments[n].begin && seen(a, first - 1) > from)
            first--;
        struct mot_range queries = {first, end}, keys = {from, end < to ? end : to};
        heads_back(a, w, e * (a->H / a->K), (e + 1) * (a->H / a->K), queries, keys, DKV);
        from = keys.end;
    }
}

/* Whole segments give five products a tile, but there may be fewer of them than threads, or one
 * that the others wait for; dq and dk, dv apart cut as fine as wanted, but make scores twice: seven
 * products.  Tells whether the latter is quicker: rounds of the longest segment against 7/5 of an
 * even share. */
static bool is_uneven(const struct args *a, int workers)
{
    double longest = 0, all = 0;
    for (int64_t n = 0; n < a->n_segments; n++) {
        double cost = (double)a->segments[n].length * (double)a->segments[n].length;
        longest = cost > longest ? cost : longest;
        all += cost * (double)a->K;
    }
    return longest > 0 && ceil(all / longest / workers) * longest > 1.4 * all / workers;
}

void mot_cpu_attention_back(struct mot_device *d, float *dq, float *dk, float *dv, const float *dO,
                            const float *o, const float *lse, const float *q, const float *k,
                            const float *v, const int32_t *row, const int32_t *until,
                            const struct mot_segment *segments, int64_t n_segments, int64_t N,
                            int64_t H, int64_t K, int64_t D, float scale)
{
    struct args a = {.q = q,
                     .k = k,
                     .v = v,
                     .o = o,
                     .dO = dO,
                     .lse = lse,
                     .dq = dq,
                     .dk = dk,
                     .dv = dv,
                     .row = row,
                     .until = until,
                     .segments = segments,
                     .n_segments = n_segments,
                     .N = N,
                     .H = H,
                     .K = K,
                     .D = D,
                     .scale = scale};
    int64_t n_chunks = (N + CHUNK - 1) / CHUNK;
    int workers = mot_cpu_workers(d, N * H * D * 16);
    bool uneven = is_uneven(&a, workers);
#pragma omp parallel num_threads(workers)
    {
        struct space w = space_of(d, omp_get_thread_num(), D);
        if (!uneven) {
#pragma omp for collapse(2) schedule(dynamic, 1)
            for (int64_t n = 0; n < n_segments; n++)
                for (int64_t e = 0; e < K; e++) {
                    double begin = mot_cpu_begin(d);
                    segment_back(&a, &w, e, &segments[n]);
                    mot_cpu_end(d, -1, begin);
                }
        } else {
#pragma omp for collapse(2) schedule(dynamic, 1) nowait
            for (int64_t n = n_chunks - 1; n >= 0; n--)
                for (int64_t h = 0; h < H; h++) {
                    double begin = mot_cpu_begin(d);
                    queries_back(&a, &w, h, n * CHUNK, (n + 1) * CHUNK < N ? (n + 1) * CHUNK : N);
                    mot_cpu_end(d, -1, begin);
                }
#pragma omp for collapse(2) schedule(dynamic, 1)
            for (int64_t n = 0; n < n_chunks; n++)
                for (int64_t e = 0; e < K; e++) {
                    double begin = mot_cpu_begin(d);
                    keys_back(&a, &w, e, n * CHUNK, (n + 1) * CHUNK < N ? (n + 1) * CHUNK : N);
                    mot_cpu_end(d, -1, begin);
                }
        }
    }
}
