/* SPDX-License-Identifier: MIT
 *
 * embed.c - rows of the embedding table by id, and their gradients back.
 */
#include <omp.h>

#include "cpu.h"

void mot_cpu_embed(struct mot_device *d, float *y, const float *table, const int32_t *id, int64_t N,
                   int64_t C, int64_t V)
{
    (void)V;
    int workers = mot_cpu_workers(d, N * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range rows = mot_cpu_share(N, 1, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = rows.begin; i < rows.end; i++) {
            assert(id[i] >= 0 && id[i] < V);
            memcpy(y + i * C, table + id[i] * C, (size_t)C * sizeof(float));
        }
        mot_cpu_end(d, -1, begin);
    }
}

/* Ids repeat, so rows cannot be shared out.  Each thread takes some columns of all rows instead, in
 * cache lines of 16 floats, and so adds in order of i whatever the number of threads. */
void mot_cpu_embed_back(struct mot_device *d, float *dtable, const float *dy, const int32_t *id,
                        int64_t N, int64_t C, int64_t V)
{
    (void)V;
    int workers = mot_cpu_workers(d, N * C);
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++) {
        struct mot_range r = mot_cpu_share(C, 16, part, workers);
        double begin = mot_cpu_begin(d);
        for (int64_t i = 0; i < N; i++) {
            assert(id[i] >= 0 && id[i] < V);
            float *to = dtable + id[i] * C;
            const float *from = dy + i * C;
#pragma omp simd
            for (int64_t c = r.begin; c < r.end; c++)
                to[c] += from[c];
        }
        mot_cpu_end(d, -1, begin);
    }
}
