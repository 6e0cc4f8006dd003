/* SPDX-License-Identifier: MIT
 *
 * timer.cu - how long operations take on the GPU, for profilers: an event before and one after each, which
 * are read when the stream has been waited for anyway.  So what is watched runs as it does unwatched.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "cuda.h"

namespace mot_cuda
{

enum { MOST = 4096 };

struct timer {
    cudaEvent_t begin, end;
    int64_t work; /* index in what the watcher keeps */
};

struct timers {
    timer of[MOST];
    int n, made;
    bool open; /* an operation has begun and not ended */
    cudaEvent_t base;
    double base_time; /* when base was recorded, on an idle stream */
};

static double now()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void timers_close(mot_device *d)
{
    timers *t = d->timers;
    for (int i = 0; t && i < t->made; i++) {
        cudaEventDestroy(t->of[i].begin);
        cudaEventDestroy(t->of[i].end);
    }
    if (t && t->base)
        cudaEventDestroy(t->base);
    free(t);
}

/* Times are told from here on: floats of milliseconds have no digits for more than a step. */
static void set_base(mot_device *d)
{
    check(d, cudaEventRecord(d->timers->base, d->stream), "event");
    d->timers->base_time = now();
}

bool timers_start(mot_device *d)
{
    if (!d->timers) {
        d->timers = (timers *)calloc(1, sizeof *d->timers);
        if (!d->timers || !check(d, cudaEventCreate(&d->timers->base), "event"))
            return false;
    }
    d->timers->n = 0;
    set_base(d);
    return true;
}

void timer_begin(mot_device *d)
{
    timers *t = d->timers;
    if (t->n == MOST)
        wait(d, "read events");
    timer *one = &t->of[t->n];
    if (t->n == t->made) {
        if (!check(d, cudaEventCreate(&one->begin), "event") ||
            !check(d, cudaEventCreate(&one->end), "event"))
            return;
        t->made++;
    }
    t->open = check(d, cudaEventRecord(one->begin, d->stream), "event");
}

void timer_end(mot_device *d)
{
    timers *t = d->timers;
    mot_watch *w = d->watch;
    if (!t->open || !w)
        return;
    timer *one = &t->of[t->n++];
    t->open = false;
    check(d, cudaEventRecord(one->end, d->stream), "event");
    one->work = w->n++;
    if (one->work < w->capacity)
        w->work[one->work] = mot_work{0, -1, NAN, NAN};
}

/* The stream is idle. */
void timers_read(mot_device *d)
{
    timers *t = d->timers;
    if (!t || !d->watch || t->open || *d->error)
        return;
    for (int i = 0; i < t->n; i++) {
        float begin = 0, end = 0;
        if (!check(d, cudaEventElapsedTime(&begin, t->base, t->of[i].begin), "event") ||
            !check(d, cudaEventElapsedTime(&end, t->base, t->of[i].end), "event"))
            break;
        if (t->of[i].work < d->watch->capacity)
            d->watch->work[t->of[i].work] = mot_work{0, -1, t->base_time + 1e-3 * (double)begin,
                                                     t->base_time + 1e-3 * (double)end};
    }
    t->n = 0;
    set_base(d);
}

} // namespace mot_cuda
