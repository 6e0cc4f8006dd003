/* SPDX-License-Identifier: MIT
 *
 * trace.c - a timeline in the Trace Event Format, which chrome://tracing and Perfetto open.
 *
 * Track 0 holds layers and, inside them, operations; a track a worker holds its pieces of work.  Times are
 * microseconds from the first operation on.
 */
#include <stdarg.h>

#include "probe.h"

struct writer {
    struct mot_out *out;
    double zero;
    int rc;
};

static void put(struct writer *w, const char *format, ...) MOT_PRINTF(2, 3);
static void put(struct writer *w, const char *format, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (!w->rc)
        w->rc = mot_out_write(w->out, line, (size_t)(n < (int)sizeof line ? n : (int)sizeof line - 1));
}

static void span(struct writer *w, int track, const char *name, const char *kind, double begin, double end)
{
    put(w, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"name\":\"%s\",\"cat\":\"%s\",\"ts\":%.3f,\"dur\":%.3f", track, name, kind,
        1e6 * (begin - w->zero), 1e6 * (end - begin));
}

static void track_name(struct writer *w, int track, const char *name)
{
    put(w, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}", track, name);
}

/* Neighbouring events of one layer and pass, as one span that holds them. */
static void put_layers(struct writer *w, const struct mot_probe *p)
{
    for (int64_t i = 0, k; i < p->n_events; i = k) {
        const struct mot_event *first = &p->event[i];
        bool backward = first->direction != MOT_FORWARD;
        for (k = i + 1; k < p->n_events && p->event[k].layer == first->layer &&
                        (p->event[k].direction != MOT_FORWARD) == backward;
             k++)
            ;
        char name[64];
        if (first->layer < 0)
            continue;
        snprintf(name, sizeof name, "layer %lld%s", (long long)first->layer, backward ? " backward" : "");
        span(w, 0, name, "layer", first->begin, p->event[k - 1].end);
        put(w, "}");
    }
}

static void put_work(struct writer *w, const struct mot_probe *p, const struct mot_event *e, int *most)
{
    int64_t end = e->work_end < p->watch.capacity ? e->work_end : p->watch.capacity;
    for (int64_t i = e->work; i < end; i++) {
        const struct mot_work *x = &p->watch.work[i];
        span(w, 1 + x->worker, mot_op_name(e->op), mot_direction_name(e->direction), x->begin, x->end);
        put(w, x->group >= 0 ? ",\"args\":{\"layer\":%lld,\"group\":%d}}" : ",\"args\":{\"layer\":%lld}}", (long long)e->layer,
            (int)x->group);
        *most = x->worker > *most ? x->worker : *most;
    }
}

static void put_events(struct writer *w, const struct mot_probe *p)
{
    int most = 0;
    put_layers(w, p);
    for (int64_t i = 0; i < p->n_events; i++) {
        const struct mot_event *e = &p->event[i];
        span(w, 0, mot_op_name(e->op), mot_direction_name(e->direction), e->begin, e->end);
        put(w, ",\"args\":{\"layer\":%lld,\"flops\":%.0f,\"gflops_per_second\":%.1f}}", (long long)e->layer, e->flops,
            e->end > e->begin ? e->flops / (e->end - e->begin) * 1e-9 : 0.0);
        put_work(w, p, e, &most);
    }
    track_name(w, 0, "model");
    for (int i = 0; i <= most; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker %d", i);
        track_name(w, 1 + i, name);
    }
}

int mot_trace_write(const struct mot_probe *p, const char *path)
{
    struct writer w = {.out = mot_out_open(path), .zero = p->n_events ? p->event[0].begin : 0};
    if (!w.out)
        return MOT_EIO;
    put(&w, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
            "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"mot %s\"}}", p->k->name);
    put_events(&w, p);
    put(&w, "\n],\"otherData\":{\"operations_lost\":%lld}}\n", (long long)p->events_lost);
    if (w.rc) {
        mot_out_abort(w.out);
        return w.rc;
    }
    return mot_out_commit(w.out);
}
