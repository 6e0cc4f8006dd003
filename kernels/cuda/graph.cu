/* SPDX-License-Identifier: MIT
 *
 * graph.cu - work that repeats as a CUDA graph: launched as one thing, which costs the host microseconds
 * where thousands of launches cost it milliseconds.
 *
 * A key that comes for the first time is worked off as ever, the second time it is captured, from then
 * on replayed: keys that never come again cost nothing, as those of large batches in which each modality
 * has another number of rows; in small ones kernels read those numbers when they run (struct groups).  What cannot be captured is worked off as ever, and no more is captured then;
 * nor is anything while operations are timed, or are ranges for a profiler, which is to see each.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

namespace mot_cuda
{

enum { KEPT = 8, MOST_KEY = 256 };

struct piece {
    unsigned char key[MOST_KEY];
    size_t n; /* 0: none */
    uint64_t used;
    cudaGraphExec_t graph; /* NULL: seen, and not captured yet */
};

struct graphs {
    piece kept[KEPT];
    uint64_t turn;
    piece *capturing;
    bool off;
};

void graphs_close(mot_device *d)
{
    for (int i = 0; d->graphs && i < KEPT; i++)
        if (d->graphs->kept[i].graph)
            cudaGraphExecDestroy(d->graphs->kept[i].graph);
    free(d->graphs);
}

/* The piece with this key, or NULL; then it takes the place of the one that was longest not used. */
static piece *find(graphs *g, const void *key, size_t n)
{
    piece *oldest = &g->kept[0];
    for (piece &p : g->kept) {
        if (p.n == n && memcmp(p.key, key, n) == 0) {
            p.used = ++g->turn;
            return &p;
        }
        if (p.used < oldest->used)
            oldest = &p;
    }
    if (oldest->graph)
        cudaGraphExecDestroy(oldest->graph);
    *oldest = {};
    memcpy(oldest->key, key, n);
    oldest->n = n;
    oldest->used = ++g->turn;
    return NULL;
}

bool capturing(const mot_device *d)
{
    return d->graphs && d->graphs->capturing;
}

int repeat(mot_device *d, const void *key, size_t n)
{
    if (!d->graphs)
        d->graphs = (graphs *)calloc(1, sizeof *d->graphs);
    graphs *g = d->graphs;
    if (!g || g->off || d->watch || d->ranged || *d->error || n > MOST_KEY)
        return 0;
    piece *p = find(g, key, n);
    if (!p)
        return 0;
    if (p->graph)
        return check(d, cudaGraphLaunch(p->graph, d->stream), "repeat a step") ? 1 : 0;
    if (cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess)
        g->capturing = p;
    else
        g->off = true, cudaGetLastError(); /* or the next launch would be blamed */
    return 0;
}

int repeated(mot_device *d)
{
    graphs *g = d->graphs;
    if (!g || !g->capturing)
        return 0;
    piece *p = g->capturing;
    cudaGraph_t graph = NULL;
    g->capturing = NULL;
    bool good = cudaStreamEndCapture(d->stream, &graph) == cudaSuccess && graph && !*d->error &&
                cudaGraphInstantiateWithFlags(&p->graph, graph, 0) == cudaSuccess &&
                cudaGraphLaunch(p->graph, d->stream) == cudaSuccess;
    if (graph)
        cudaGraphDestroy(graph);
    if (good)
        return 0;
    g->off = true;
    d->span_of = NULL;
    cudaGetLastError(); /* none of it was done: it is done once more, and says itself what is wrong */
    *d->error = 0;
    return 1;
}

} // namespace mot_cuda
