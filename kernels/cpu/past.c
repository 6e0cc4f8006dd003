/* SPDX-License-Identifier: MIT
 *
 * past.c - sequences that grow by a token at a time: what is kept of them, and attention to it.
 *
 * Each token reads all keys and values of its own past once, so memory is what limits it.  A past is
 * cut into parts of a fixed length, which threads take as they come, all query heads of a key's head
 * together; then the parts of a head are put together in order.  Neither other sequences nor the
 * number of threads change a result.
 */
#include <math.h>
#include <omp.h>

#include "cpu.h"

enum { PART = 256 };

static int64_t parts_of(int64_t positions)
{
    return (positions + PART - 1) / PART;
}

/* Partial results (N,H,parts,D+2) shared; each thread the scores of a part, (H/K,PART). */
struct mot_cpu_need mot_cpu_past_need(int threads, const struct mot_limits *l)
{
    (void)threads;
    if (l->sequences == 0)
        return (struct mot_cpu_need){0};
    size_t sums = (size_t)(l->sequences * l->H * parts_of(l->past + 1) * (l->D + 2));
    return (struct mot_cpu_need){.shared = sums * sizeof(float),
                                 .scratch = (size_t)(l->H / l->K * PART) * sizeof(float)};
}

/* A head's keys at a layer; its values are K heads further on. */
static float *head_of(const struct mot_past *p, int64_t layer, int64_t e, int64_t K, int64_t D)
{
    return p->kv + (2 * layer * K + e) * p->capacity * D;
}

void mot_cpu_remember(struct mot_device *d, const struct mot_past *past, int64_t layer,
                      const float *k, const float *v, const struct mot_segment *segments,
                      int64_t n_segments, int64_t N, int64_t K, int64_t D)
{
    int workers = mot_cpu_workers(d, N * K * D);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int64_t i = 0; i < n_segments * K; i++) {
        const struct mot_segment *s = &segments[i / K];
        const struct mot_past *p = &past[i / K];
        int64_t e = i % K, from = (e * N + s->begin) * D, to = p->length * D;
        float *keys = head_of(p, layer, e, K, D), *values = keys + K * p->capacity * D;
        double begin = mot_cpu_begin(d);
        memcpy(keys + to, k + from, (size_t)(s->length * D) * sizeof(float));
        memcpy(values + to, v + from, (size_t)(s->length * D) * sizeof(float));
        mot_cpu_end(d, -1, begin);
    }
}

static float dot(const float *a, const float *b, int64_t D)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += a[j] * b[j];
    return sum;
}

/* Scores of `n` positions into exp(s - max) with their sum; returned are both. */
static void soften(float *s, int64_t n, float *max, float *sum)
{
    float most = s[0], all = 0;
    for (int64_t t = 1; t < n; t++)
        most = s[t] > most ? s[t] : most;
#pragma omp simd reduction(+ : all)
    for (int64_t t = 0; t < n; t++) {
        s[t] = mot_cpu_exp(s[t] - most);
        all += s[t];
    }
    *max = most;
    *sum = all;
}

/* Positions [begin, end) for all query heads of one key head: to[h] = [max, sum, weighted values (D)], `step`
 * apart.  q: its first query head's row, the next ones q_head apart. */
static void one_part(float *to, int64_t step, float *score, const float *q, int64_t q_head,
                     int64_t heads, const float *keys, const float *values, int64_t begin,
                     int64_t end, int64_t D, float scale)
{
    int64_t n = end - begin;
    for (int64_t t = 0; t < n; t++)
        for (int64_t h = 0; h < heads; h++)
            score[h * PART + t] = scale * dot(q + h * q_head, keys + (begin + t) * D, D);
    for (int64_t h = 0; h < heads; h++) {
        soften(score + h * PART, n, &to[h * step], &to[h * step + 1]);
        memset(to + h * step + 2, 0, (size_t)D * sizeof(float));
    }
    for (int64_t t = 0; t < n; t++) {
        const float *v = values + (begin + t) * D;
        for (int64_t h = 0; h < heads; h++) {
            float *o = to + h * step + 2, p = score[h * PART + t];
#pragma omp simd
            for (int64_t j = 0; j < D; j++)
                o[j] += p * v[j];
        }
    }
}

/* One head's parts, in order, into o. */
static void join(float *o, const float *part, int64_t n, int64_t D)
{
    float max = part[0], sum = 0;
    for (int64_t c = 1; c < n; c++)
        max = part[c * (D + 2)] > max ? part[c * (D + 2)] : max;
    memset(o, 0, (size_t)D * sizeof(float));
    for (int64_t c = 0; c < n; c++) {
        const float *p = part + c * (D + 2);
        float w = mot_cpu_exp(p[0] - max);
        sum += w * p[1];
#pragma omp simd
        for (int64_t j = 0; j < D; j++)
            o[j] += w * p[2 + j];
    }
#pragma omp simd
    for (int64_t j = 0; j < D; j++)
        o[j] /= sum;
}

void mot_cpu_attention_past(struct mot_device *d, float *o, const float *q,
                            const struct mot_past *past, int64_t layer, const int32_t *row,
                            int64_t N, int64_t H, int64_t K, int64_t D, float scale)
{
    int64_t longest = 0, all = 0, heads = H / K;
    for (int64_t s = 0; s < N; s++) {
        longest = past[s].length > longest ? past[s].length : longest;
        all += past[s].length + 1;
    }
    int64_t parts = parts_of(longest + 1), head = parts * (D + 2);
    int workers = mot_cpu_workers(d, all * H * D);
    float *sums = mot_cpu_shared(d, (size_t)(N * H * head) * sizeof(float)); /* (N,H,parts,D+2) */
#pragma omp parallel num_threads(workers)
    {
        float *score = mot_cpu_scratch(d, omp_get_thread_num(), (size_t)(heads * PART) * sizeof(float));
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < N * K * parts; i++) {
            int64_t s = i / (K * parts), e = i / parts % K, c = i % parts;
            int64_t from = c * PART, end = past[s].length + 1;
            if (from >= end)
                continue;
            double begin = mot_cpu_begin(d);
            const float *keys = head_of(&past[s], layer, e, K, D);
            one_part(sums + (s * H + e * heads) * head + c * (D + 2), head, score,
                     q + (e * heads * N + s) * D, N * D, heads, keys,
                     keys + K * past[s].capacity * D, from, from + PART < end ? from + PART : end, D,
                     scale);
            mot_cpu_end(d, -1, begin);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < N * H; i++)
            join(o + ((int64_t)row[i / H] * H + i % H) * D, sums + i * head,
                 parts_of(past[i / H].length + 1), D);
    }
}
