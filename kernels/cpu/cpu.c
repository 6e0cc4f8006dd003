/* SPDX-License-Identifier: MIT
 *
 * cpu.c - the cpu backend's device, memory and table of operations.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu.h"

static struct mot_device *cpu_open(int threads, char *err, size_t err_size)
{
    struct mot_device *d = calloc(1, sizeof *d);
    if (!d) {
        if (err_size > 0)
            snprintf(err, err_size, "cpu: out of memory");
        return NULL;
    }
    d->threads = threads > 0 ? threads : omp_get_num_procs();
    omp_set_dynamic(0); /* the split of the work decides the rounding: it must be what was asked */
    return d;
}

static void cpu_close(struct mot_device *d)
{
    if (d)
        free(d->block);
    free(d);
}

static int cpu_threads(const struct mot_device *d)
{
    return d->threads;
}

/* -- workspace --------------------------------------------------------------------------------- */

static struct mot_cpu_need need_of(const struct mot_device *d, const struct mot_limits *l)
{
    const struct mot_cpu_need each[] = {
        mot_cpu_norm_need(d->threads, l), mot_cpu_linear_need(d->threads, l),
        mot_cpu_rope_need(d->threads, l), mot_cpu_attention_need(d->threads, l),
        mot_cpu_past_need(d->threads, l),
        mot_cpu_conv_need(d->threads, l), mot_cpu_groupnorm_need(d->threads, l),
        mot_cpu_attend_need(d->threads, l),
        mot_cpu_head_need(d->threads, l), mot_cpu_optim_need(d->threads, l),
    };
    struct mot_cpu_need need = {64, 64};
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        need.shared = each[i].shared > need.shared ? each[i].shared : need.shared;
        need.scratch = each[i].scratch > need.scratch ? each[i].scratch : need.scratch;
    }
    /* Whole pages, so that no two threads share a cache line and vectors lie aligned. */
    need.shared = (need.shared + 4095) / 4096 * 4096;
    need.scratch = (need.scratch + 4095) / 4096 * 4096;
    return need;
}

static size_t total(const struct mot_device *d, struct mot_cpu_need need)
{
    return need.shared + (size_t)d->threads * need.scratch;
}

static size_t cpu_workspace(const struct mot_device *d, const struct mot_limits *limits)
{
    return total(d, need_of(d, limits));
}

static int cpu_reserve(struct mot_device *d, const struct mot_limits *limits)
{
    struct mot_cpu_need need = need_of(d, limits);
    free(d->block);
    d->shared_bytes = d->scratch_bytes = 0;
    d->block = aligned_alloc(4096, total(d, need));
    if (!d->block)
        return -1;
    d->shared_bytes = need.shared;
    d->scratch_bytes = need.scratch;
    return 0;
}

/* -- memory ------------------------------------------------------------------------------------ */

static void *cpu_alloc(struct mot_device *d, size_t bytes)
{
    (void)d;
    if (bytes > SIZE_MAX - 128)
        return NULL;
    return aligned_alloc(64, (bytes / 64 + 1) * 64);
}

static void cpu_free(struct mot_device *d, void *p)
{
    (void)d;
    free(p);
}

/* Bytes r of `to`: from `from`, or zeros where that is NULL. */
static void fill(struct mot_device *d, void *to, const void *from, struct mot_range r)
{
    double begin = mot_cpu_begin(d);
    size_t n = (size_t)(r.end - r.begin);
    if (n > 0 && from)
        memcpy((char *)to + r.begin, (const char *)from + r.begin, n);
    else if (n > 0)
        memset((char *)to + r.begin, 0, n);
    mot_cpu_end(d, -1, begin);
}

/* Little is done without a parallel region, for which libgomp would allocate a team of one. */
static void fill_all(struct mot_device *d, void *to, const void *from, size_t bytes)
{
    int workers = mot_cpu_workers(d, (int64_t)(bytes / 8));
    if (workers == 1) {
        fill(d, to, from, (struct mot_range){0, (int64_t)bytes});
        return;
    }
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int part = 0; part < workers; part++)
        fill(d, to, from, mot_cpu_share((int64_t)bytes, 4096, part, workers));
}

static void cpu_copy(struct mot_device *d, void *to, const void *from, size_t bytes)
{
    if (bytes > 0)
        fill_all(d, to, from, bytes);
}

static void cpu_zero(struct mot_device *d, void *to, size_t bytes)
{
    fill_all(d, to, NULL, bytes);
}

/* Host memory and the device's are one: nothing is ever under way, nothing can go wrong. */
static int cpu_sync(struct mot_device *d)
{
    (void)d;
    return 0;
}

static const char *cpu_error(const struct mot_device *d)
{
    (void)d;
    return "";
}

/* Operations are told all of a batch. */
static int cpu_batch(struct mot_device *d, const struct mot_mix *mix)
{
    (void)d, (void)mix;
    return 0;
}

/* A list of calls costs nothing here. */
static int cpu_repeat(struct mot_device *d, const void *key, size_t n)
{
    (void)d, (void)key, (void)n;
    return 0;
}

static int cpu_repeated(struct mot_device *d)
{
    (void)d;
    return 0;
}

/* -- for profilers ----------------------------------------------------------------------------- */

static void cpu_watch(struct mot_device *d, struct mot_watch *w)
{
    d->watch = w;
}

void mot_cpu_note(struct mot_device *d, int32_t group, double begin)
{
    struct mot_watch *w = d->watch;
    int64_t at = __atomic_fetch_add(&w->n, 1, __ATOMIC_RELAXED);
    if (at < w->capacity)
        w->work[at] = (struct mot_work){omp_get_thread_num(), group, begin, mot_cpu_now()};
}

static void cpu_about(struct mot_device *d, struct mot_about *a)
{
    (void)d;
    *a = (struct mot_about){0};
}

static void cpu_mark(struct mot_device *d, int64_t layer, int backward)
{
    (void)d, (void)layer, (void)backward;
}

#define TEXT(x) #x
#define NAME_OF(set) "cpu-" TEXT(set)

const struct mot_kernels mot_cpu_table = {
    .name = NAME_OF(MOT_CPU_SET),
    .activation = sizeof(float),
    .open = cpu_open,
    .close = cpu_close,
    .threads = cpu_threads,
    .workspace = cpu_workspace,
    .reserve = cpu_reserve,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .write = cpu_copy,
    .read = cpu_copy,
    .collect = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .error = cpu_error,
    .batch = cpu_batch,
    .repeat = cpu_repeat,
    .repeated = cpu_repeated,
    .watch = cpu_watch,
    .about = cpu_about,
    .mark = cpu_mark,
    .embed = mot_cpu_embed,
    .embed_back = mot_cpu_embed_back,
    .rmsnorm = mot_cpu_rmsnorm,
    .rmsnorm_back = mot_cpu_rmsnorm_back,
    .linear = mot_cpu_linear,
    .linear_back_x = mot_cpu_linear_back_x,
    .linear_back_w = mot_cpu_linear_back_w,
    .rope = mot_cpu_rope,
    .rope_back = mot_cpu_rope_back,
    .attention = mot_cpu_attention,
    .attention_back = mot_cpu_attention_back,
    .remember = mot_cpu_remember,
    .attention_past = mot_cpu_attention_past,
    .logits = mot_cpu_logits,
    .conv2d = mot_cpu_conv2d,
    .groupnorm = mot_cpu_groupnorm,
    .layernorm = mot_cpu_layernorm,
    .activate = mot_cpu_activate,
    .attend = mot_cpu_attend,
    .cast = mot_cpu_cast,
    .uncast = mot_cpu_cast, /* activations are numbers here */
    .spread = mot_cpu_spread,
    .spread_back = mot_cpu_spread_back,
    .unfold = mot_cpu_unfold,
    .unfold_back = mot_cpu_unfold_back,
    .squared_error = mot_cpu_squared_error,
    .silu = mot_cpu_silu,
    .silu_back = mot_cpu_silu_back,
    .swiglu = mot_cpu_swiglu,
    .swiglu_back = mot_cpu_swiglu_back,
    .head_loss = mot_cpu_head_loss,
    .sumsq = mot_cpu_sumsq,
    .clip = mot_cpu_clip,
    .adamw = mot_cpu_adamw,
};
