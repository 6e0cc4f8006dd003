/* SPDX-License-Identifier: MIT
 *
 * probe.c - a backend that times another one: it puts itself between a model and its kernels.
 *
 * Each operation is passed on and its time, FLOPs and bytes are added up by operation, direction, layer and tower.
 * FLOPs are counted from the shapes of this very call, by cost.c's rules; bytes are what must move if every array is
 * read or written once.  The backend tells which worker spent how long on which group of rows (mot_watch), and by that
 * an operation's time is shared among towers.  Layers come from the model's marks, towers and names from the offsets
 * of the weights in the tensor table.  A model without a probe does not know of any of this.
 */
#include <math.h>
#include <time.h>

#include "probe.h"

static const char *const op_names[] = {
    [MOT_OP_EMBED] = "embed",         [MOT_OP_ATTN_NORM] = "attn_norm",     [MOT_OP_QKV] = "attn_qkv",
    [MOT_OP_ROPE] = "rope",           [MOT_OP_ATTENTION] = "attention",     [MOT_OP_O] = "attn_o",
    [MOT_OP_FFN_NORM] = "ffn_norm",   [MOT_OP_GATE_UP] = "ffn_gate_up",     [MOT_OP_SWIGLU] = "swiglu",
    [MOT_OP_DOWN] = "ffn_down",       [MOT_OP_FINAL_NORM] = "final_norm",   [MOT_OP_HEAD] = "head",
    [MOT_OP_PATCHES] = "patches",
    [MOT_OP_RESIDUAL] = "residual",   [MOT_OP_TRANSFER] = "transfer",       [MOT_OP_ZERO] = "zero",
    [MOT_OP_GRAD_NORM] = "grad_norm", [MOT_OP_CLIP] = "clip",               [MOT_OP_ADAMW] = "adamw",
};
_Static_assert(sizeof op_names / sizeof op_names[0] == MOT_OPS, "a name for every operation");
static const char *const direction_names[] = {"forward", "backward", "backward_x", "backward_w", "recompute", "update",
                                              "data"};
_Static_assert(sizeof direction_names / sizeof direction_names[0] == MOT_DIRECTIONS, "a name for every direction");

const char *mot_op_name(enum mot_op op)
{
    return op_names[op];
}

const char *mot_direction_name(enum mot_direction d)
{
    return direction_names[d];
}

double mot_probe_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The model sees a probe as its device. */
static struct mot_probe *probe_of(struct mot_device *d)
{
    return (struct mot_probe *)(void *)d;
}

static size_t cell_at(const struct mot_probe *p, enum mot_op op, enum mot_direction direction, int64_t layer, int tower)
{
    size_t layers = (size_t)p->m->config.num_hidden_layers + 1, towers = (size_t)p->m->config.n_towers + 1;
    return (((size_t)op * MOT_DIRECTIONS + (size_t)direction) * layers + (size_t)(layer + 1)) * towers + (size_t)(tower + 1);
}

static size_t cells(const struct mot_probe *p)
{
    return cell_at(p, MOT_OPS, 0, -1, -1);
}

/* ---- one operation ---- */

static double begin(struct mot_probe *p)
{
    p->first_work = p->watch.n < p->watch.capacity ? p->watch.n : p->watch.capacity;
    return mot_probe_now();
}

/* Seconds that workers spent on each part of an operation; their sum. */
static double add_work(const struct mot_probe *p, struct mot_done *o)
{
    double all = 0;
    int64_t end = o->work_end < p->watch.capacity ? o->work_end : p->watch.capacity;
    for (int64_t i = o->work; i < end; i++) {
        const struct mot_work *w = &p->watch.work[i];
        double seconds = w->end - w->begin;
        all += seconds;
        if (w->group >= 0 && w->group < o->n)
            o->part[w->group].seconds += seconds;
    }
    return all;
}

/* The share of part i in the operation's time: by what the workers said, else by cost. */
static double share_of(const struct mot_part *part, int n, int i)
{
    double seconds = 0, flops = 0, bytes = 0;
    for (int k = 0; k < n; k++) {
        seconds += part[k].seconds;
        flops += part[k].flops;
        bytes += part[k].bytes;
    }
    if (seconds > 0)
        return part[i].seconds / seconds;
    if (flops > 0)
        return part[i].flops / flops;
    return bytes > 0 ? part[i].bytes / bytes : 1.0 / n;
}

static void keep_event(struct mot_probe *p, const struct mot_done *o, double flops)
{
    if (p->n_events == p->event_capacity) {
        p->events_lost++;
        return;
    }
    p->event[p->n_events++] =
        (struct mot_event){o->op, o->direction, o->layer, o->begin, o->end, flops, o->work, o->work_end};
}

/* Count an operation whose times are known. */
static void count(struct mot_probe *p, struct mot_done *o)
{
    double flops = 0, busy = add_work(p, o);
    for (int i = 0; i < o->n; i++) {
        double share = share_of(o->part, o->n, i);
        struct mot_cell *c = &p->cell[cell_at(p, o->op, o->direction, o->layer, o->part[i].tower)];
        c->calls++;
        c->seconds += share * (o->end - o->begin);
        c->busy += share * busy;
        c->flops += o->part[i].flops;
        c->bytes += o->part[i].bytes;
        flops += o->part[i].flops;
    }
    p->seconds += o->end - o->begin;
    p->flops += flops;
    if (p->event_capacity)
        keep_event(p, o, flops);
}

/* The device was waited for: count what it did since; on a late one an operation's time is that of its work. */
static void settle(struct mot_probe *p)
{
    for (int i = 0; i < p->n_done; i++) {
        struct mot_done *o = &p->done[i];
        if (o->work_end <= o->work || o->work_end > p->watch.capacity)
            continue;
        o->begin = p->watch.work[o->work].begin;
        o->end = p->watch.work[o->work_end - 1].end;
        count(p, o);
    }
    p->n_done = 0;
    if (!p->event_capacity)
        p->watch.n = 0;
}

/* The operation that began at `from` is over, or under way on a late device: count it, now or when it is. */
static void end(struct mot_probe *p, double from, enum mot_op op, enum mot_direction direction, struct mot_part *part, int n)
{
    if (!p->recording) {
        p->watch.n = 0;
        return;
    }
    struct mot_done o = {.op = op, .direction = direction, .n = n, .begin = from, .end = mot_probe_now(),
                         .layer = direction == MOT_UPDATE || direction == MOT_DATA ? -1 : p->layer,
                         .work = p->first_work, .work_end = p->watch.n};
    memcpy(o.part, part, (size_t)n * sizeof *part);
    if (!p->k->late) {
        count(p, &o);
        if (!p->event_capacity)
            p->watch.n = 0;
        return;
    }
    p->done[p->n_done++] = o;
    if (p->n_done == MOT_MOST_DONE && p->k->sync(p->d) == 0)
        settle(p);
}

/* One part that belongs to no tower. */
static void end_whole(struct mot_probe *p, double from, enum mot_op op, enum mot_direction direction, double flops,
                      double bytes)
{
    struct mot_part part = {-1, flops, bytes, 0};
    end(p, from, op, direction, &part, 1);
}

/* Of an operation of the forward pass. */
static enum mot_direction pass(const struct mot_probe *p)
{
    return p->backward ? MOT_AGAIN : MOT_FORWARD;
}

/* ---- groups: which weight, which tower ---- */

static const struct mot_tensor *tensor_at(const struct mot_probe *p, int64_t offset)
{
    const struct mot_table *t = &p->m->table;
    int64_t low = 0, high = t->n - 1;
    while (low < high) {
        int64_t mid = (low + high + 1) / 2;
        if (t->tensor[mid].offset <= offset)
            low = mid;
        else
            high = mid - 1;
    }
    return offset >= 0 ? &t->tensor[low] : NULL;
}

static enum mot_op op_of(const struct mot_probe *p, const struct mot_group *g, int G)
{
    const struct mot_tensor *t = G > 0 ? tensor_at(p, g[0].w) : NULL;
    switch (t ? t->weight : MOT_WEIGHTS) {
    case MOT_W_Q: return MOT_OP_QKV;
    case MOT_W_O: return MOT_OP_O;
    case MOT_W_GATE: return MOT_OP_GATE_UP;
    case MOT_W_DOWN: return MOT_OP_DOWN;
    case MOT_W_ATTN_NORM: return MOT_OP_ATTN_NORM;
    case MOT_W_FFN_NORM: return MOT_OP_FFN_NORM;
    case MOT_W_FINAL_NORM: return MOT_OP_FINAL_NORM;
    default: return t && t->weight >= MOT_W_PATCH_IN ? MOT_OP_PATCHES : MOT_OP_ROPE;
    }
}

/* Parts of groups that cost `flops` and `bytes` a row, and `each` bytes a group for its weights. */
static int parts_of(const struct mot_probe *p, struct mot_part part[MOT_MAX_MODALITIES], const struct mot_group *g, int G,
                    double flops, double bytes, double each)
{
    for (int k = 0; k < G; k++) {
        const struct mot_tensor *t = tensor_at(p, g[k].w);
        part[k] = (struct mot_part){t ? t->tower : -1, flops * (double)g[k].rows, bytes * (double)g[k].rows + each, 0};
    }
    return G;
}

/* ---- the operations ---- */

static const double size = sizeof(mot_real);

/* Of an activation, and of a weight as products read it. */
static double act(const struct mot_probe *p)
{
    return (double)p->k->activation;
}

static void probe_write(struct mot_device *d, void *to, const void *host, size_t bytes)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->write(p->d, to, host, bytes);
    end_whole(p, from, MOT_OP_TRANSFER, MOT_DATA, 0, 2 * (double)bytes);
}

static void probe_read(struct mot_device *d, void *host, const void *from_device, size_t bytes)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->read(p->d, host, from_device, bytes);
    end_whole(p, from, MOT_OP_TRANSFER, MOT_DATA, 0, 2 * (double)bytes);
    settle(p);
}

static void probe_collect(struct mot_device *d, void *host, const void *from_device, size_t bytes)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->collect(p->d, host, from_device, bytes);
    end_whole(p, from, MOT_OP_TRANSFER, MOT_DATA, 0, 2 * (double)bytes);
}

static void probe_copy(struct mot_device *d, void *to, const void *what, size_t bytes)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->copy(p->d, to, what, bytes);
    end_whole(p, from, MOT_OP_RESIDUAL, pass(p), 0, 2 * (double)bytes);
}

static void probe_zero(struct mot_device *d, void *to, size_t bytes)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->zero(p->d, to, bytes);
    end_whole(p, from, MOT_OP_ZERO, MOT_UPDATE, 0, (double)bytes);
}

static int probe_sync(struct mot_device *d)
{
    struct mot_probe *p = probe_of(d);
    int rc = p->k->sync(p->d);
    if (rc == 0)
        settle(p);
    return rc;
}

static const char *probe_error(const struct mot_device *d)
{
    const struct mot_probe *p = (const struct mot_probe *)(const void *)d;
    return p->k->error(p->d);
}

static int probe_batch(struct mot_device *d, const struct mot_mix *mix)
{
    struct mot_probe *p = probe_of(d);
    return p->k->batch(p->d, mix);
}

/* Each operation is to be seen. */
static int probe_repeat(struct mot_device *d, const void *key, size_t n)
{
    (void)d, (void)key, (void)n;
    return 0;
}

static int probe_repeated(struct mot_device *d)
{
    (void)d;
    return 0;
}

static void probe_mark(struct mot_device *d, int64_t layer, int backward)
{
    struct mot_probe *p = probe_of(d);
    p->layer = layer;
    p->backward = backward;
    p->k->mark(p->d, layer, backward);
}

static void probe_embed(struct mot_device *d, mot_real *y, const mot_real *table, const int32_t *id, int64_t N, int64_t C,
                        int64_t V)
{
    struct mot_probe *p = probe_of(d);
    p->layer = -1, p->backward = 0; /* a pass begins */
    double from = begin(p);
    p->k->embed(p->d, y, table, id, N, C, V);
    end_whole(p, from, MOT_OP_EMBED, MOT_FORWARD, 0, 2 * act(p) * (double)(N * C));
}

static void probe_embed_back(struct mot_device *d, mot_real *dtable, const mot_real *dy, const int32_t *id, int64_t N,
                             int64_t C, int64_t V)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->embed_back(p->d, dtable, dy, id, N, C, V);
    end_whole(p, from, MOT_OP_EMBED, MOT_BACKWARD, 0, (act(p) + 2 * size) * (double)(N * C));
}

static void probe_rmsnorm(struct mot_device *d, mot_real *y, mot_real *rstd, const mot_real *x, const mot_real *res,
                          const mot_real *params, const struct mot_group *g, int G, int64_t C, mot_real eps)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->rmsnorm(p->d, y, rstd, x, res, params, g, G, C, eps);
    int n = parts_of(p, part, g, G, 0, act(p) * (double)((res ? 3 : 2) * C) + size, size * (double)C);
    end(p, from, op_of(p, g, G), pass(p), part, n);
}

static void probe_rmsnorm_back(struct mot_device *d, mot_real *dx, mot_real *grads, const mot_real *dy, const mot_real *x,
                               const mot_real *rstd, const mot_real *params, const struct mot_group *g, int G, int64_t C,
                               int add)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->rmsnorm_back(p->d, dx, grads, dy, x, rstd, params, g, G, C, add);
    int n = parts_of(p, part, g, G, 0, act(p) * (double)((add ? 4 : 3) * C) + size, 3 * size * (double)C);
    end(p, from, op_of(p, g, G), MOT_BACKWARD, part, n);
}

static void probe_linear(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *params,
                         const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->linear(p->d, y, x, params, g, G, I, O, add);
    int n = parts_of(p, part, g, G, 2 * (double)(I * O), act(p) * (double)(I + O * (add ? 2 : 1)),
                     act(p) * (double)(I * O));
    end(p, from, op_of(p, g, G), pass(p), part, n);
}

static void probe_linear_back_x(struct mot_device *d, mot_real *dx, const mot_real *dy, const mot_real *params,
                                const struct mot_group *g, int G, int64_t I, int64_t O, int add)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->linear_back_x(p->d, dx, dy, params, g, G, I, O, add);
    int n = parts_of(p, part, g, G, 2 * (double)(I * O), act(p) * (double)(O + I * (add ? 2 : 1)),
                     act(p) * (double)(I * O));
    end(p, from, op_of(p, g, G), MOT_BACKWARD_X, part, n);
}

static void probe_linear_back_w(struct mot_device *d, mot_real *grads, const mot_real *dy, const mot_real *x,
                                const struct mot_group *g, int G, int64_t I, int64_t O)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->linear_back_w(p->d, grads, dy, x, g, G, I, O);
    int n = parts_of(p, part, g, G, 2 * (double)(I * O), act(p) * (double)(I + O), 2 * size * (double)(I * O));
    end(p, from, op_of(p, g, G), MOT_BACKWARD_W, part, n);
}

static void probe_rope(struct mot_device *d, mot_real *q, mot_real *k, mot_real *v, const mot_real *qkv,
                       const mot_real *params, const struct mot_group *g, int G, const int32_t *seq, const int32_t *pos,
                       const mot_real *cos, const mot_real *sin, int64_t N, int64_t H, int64_t K, int64_t D,
                       enum mot_head_norm norm, mot_real eps)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->rope(p->d, q, k, v, qkv, params, g, G, seq, pos, cos, sin, N, H, K, D, norm, eps);
    int n = parts_of(p, part, g, G, 0, act(p) * (double)(2 * (H + 2 * K) * D) + size * (double)D, 0);
    end(p, from, MOT_OP_ROPE, pass(p), part, n);
}

static void probe_rope_back(struct mot_device *d, mot_real *dqkv, mot_real *grads, const mot_real *dq, const mot_real *dk,
                            const mot_real *dv, const mot_real *qkv, const mot_real *params, const struct mot_group *g,
                            int G, const int32_t *seq, const int32_t *pos, const mot_real *cos, const mot_real *sin,
                            int64_t N, int64_t H, int64_t K, int64_t D, enum mot_head_norm norm, mot_real eps)
{
    struct mot_probe *p = probe_of(d);
    struct mot_part part[MOT_MAX_MODALITIES];
    double from = begin(p);
    p->k->rope_back(p->d, dqkv, grads, dq, dk, dv, qkv, params, g, G, seq, pos, cos, sin, N, H, K, D, norm, eps);
    int n = parts_of(p, part, g, G, 0, act(p) * (double)((qkv ? 3 : 2) * (H + 2 * K) * D) + size * (double)D, 0);
    end(p, from, MOT_OP_ROPE, MOT_BACKWARD, part, n);
}

/* Pairs of query and key that the mask leaves; from the host's copy, for the device's may be out of reach. */
static double pairs_of(const struct mot_probe *p)
{
    double pairs = 0;
    for (int64_t i = 0; i < p->m->batch.n_segments; i++) {
        double n = (double)p->m->batch.host_segments[i].length;
        pairs += n * (n + 1) / 2;
    }
    for (int64_t s = 0; p->m->batch.until && s < p->m->batch.n; s++)
        pairs += (double)(p->m->batch.host_until[s] - s - 1);
    return pairs;
}

static void probe_attention(struct mot_device *d, mot_real *o, mot_real *lse, const mot_real *q, const mot_real *k,
                            const mot_real *v, const int32_t *row, const int32_t *until, const struct mot_segment *segments,
                            int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D, mot_real scale)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->attention(p->d, o, lse, q, k, v, row, until, segments, n_segments, N, H, K, D, scale);
    end_whole(p, from, MOT_OP_ATTENTION, pass(p), 2 * 2 * pairs_of(p) * (double)(H * D),
              act(p) * (double)(N * (2 * H * D + 2 * K * D)) + size * (double)(N * H));
}

static void probe_attention_back(struct mot_device *d, mot_real *dq, mot_real *dk, mot_real *dv, const mot_real *dO,
                                 const mot_real *o, const mot_real *lse, const mot_real *q, const mot_real *k,
                                 const mot_real *v, const int32_t *row, const int32_t *until,
                                 const struct mot_segment *segments, int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D, mot_real scale)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->attention_back(p->d, dq, dk, dv, dO, o, lse, q, k, v, row, until, segments, n_segments, N, H, K, D, scale);
    end_whole(p, from, MOT_OP_ATTENTION, MOT_BACKWARD, 2 * 2 * 2 * pairs_of(p) * (double)(H * D),
              act(p) * (double)(N * (4 * H * D + 4 * K * D)) + size * (double)(N * H));
}

static void probe_swiglu(struct mot_device *d, mot_real *h, const mot_real *gu, int64_t N, int64_t F)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->swiglu(p->d, h, gu, N, F);
    end_whole(p, from, MOT_OP_SWIGLU, pass(p), 0, 3 * act(p) * (double)(N * F));
}

static void probe_swiglu_back(struct mot_device *d, mot_real *dgu, const mot_real *dh, const mot_real *gu, int64_t N,
                              int64_t F)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->swiglu_back(p->d, dgu, dh, gu, N, F);
    end_whole(p, from, MOT_OP_SWIGLU, MOT_BACKWARD, 0, 5 * act(p) * (double)(N * F));
}

/* Forward and backward of the head are one operation: it is counted as backward where it makes gradients. */
static void probe_head_loss(struct mot_device *d, mot_real *nll, mot_real *lse, mot_real *dx, mot_real *dw,
                            const mot_real *x, const mot_real *w, const int32_t *target, const mot_real *weight,
                            mot_real zloss, int64_t N, int64_t C, int64_t V)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->head_loss(p->d, nll, lse, dx, dw, x, w, target, weight, zloss, N, C, V);
    end_whole(p, from, MOT_OP_HEAD, dx ? MOT_BACKWARD : MOT_FORWARD, (dx ? 3 : 1) * 2 * (double)N * (double)(C * V),
              dx ? 2 * act(p) * (double)(N * C) + (act(p) + 2 * size) * (double)(V * C) : act(p) * (double)(N * C + V * C));
}

/* What is neither product nor loss of patches moves `arrays` of rows by C activations. */
static void end_patches(struct mot_probe *p, double from, enum mot_direction direction, double arrays, int64_t rows, int64_t C)
{
    end_whole(p, from, MOT_OP_PATCHES, direction, 0, arrays * act(p) * (double)(rows * C));
}

static void probe_cast(struct mot_device *d, mot_act *y, const mot_real *x, int64_t row, int64_t rows, int64_t C)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->cast(p->d, y, x, row, rows, C);
    end_patches(p, from, MOT_FORWARD, 1 + size / act(p), rows, C);
}

static void probe_spread(struct mot_device *d, mot_act *y, const mot_act *e, const int32_t *of, int64_t row, int64_t rows,
                         int64_t C)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->spread(p->d, y, e, of, row, rows, C);
    end_patches(p, from, MOT_FORWARD, 2, rows, C);
}

static void probe_spread_back(struct mot_device *d, mot_act *de, const mot_act *dy, const int32_t *of, int64_t row,
                              int64_t rows, int64_t M, int64_t C)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->spread_back(p->d, de, dy, of, row, rows, M, C);
    end_patches(p, from, MOT_BACKWARD, 1, rows + M, C);
}

static void probe_unfold(struct mot_device *d, mot_act *y, const mot_act *x, const int32_t *near, int64_t N, int64_t C)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->unfold(p->d, y, x, near, N, C);
    end_patches(p, from, pass(p), 10, N, C);
}

static void probe_unfold_back(struct mot_device *d, mot_act *dx, const mot_act *dy, const int32_t *near, int64_t N, int64_t C)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->unfold_back(p->d, dx, dy, near, N, C);
    end_patches(p, from, MOT_BACKWARD, 10, N, C);
}

static void probe_squared_error(struct mot_device *d, mot_real *loss, mot_act *dx, const mot_act *x, const mot_real *target,
                                const mot_real *weight, int64_t row, int64_t rows, int64_t C)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->squared_error(p->d, loss, dx, x, target, weight, row, rows, C);
    end_patches(p, from, dx ? MOT_BACKWARD : MOT_FORWARD, (dx ? 2 : 1) + size / act(p), rows, C);
}

static void probe_silu(struct mot_device *d, mot_act *y, const mot_act *x, int64_t n)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->silu(p->d, y, x, n);
    end_patches(p, from, pass(p), 2, n, 1);
}

static void probe_silu_back(struct mot_device *d, mot_act *dx, const mot_act *dy, const mot_act *x, int64_t n)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->silu_back(p->d, dx, dy, x, n);
    end_patches(p, from, MOT_BACKWARD, 3, n, 1);
}

static void probe_sumsq(struct mot_device *d, double *out, const mot_real *x, int64_t n)
{
    struct mot_probe *p = probe_of(d);
    const struct mot_tensor *t = tensor_at(p, x - p->m->grads);
    double from = begin(p);
    p->k->sumsq(p->d, out, x, n);
    struct mot_part part = {t ? t->tower : -1, 0, size * (double)n, 0};
    end(p, from, MOT_OP_GRAD_NORM, MOT_UPDATE, &part, 1);
}

static void probe_clip(struct mot_device *d, mot_real *scale, const double *sums, int n, mot_real max_norm)
{
    struct mot_probe *p = probe_of(d);
    double from = begin(p);
    p->k->clip(p->d, scale, sums, n, max_norm);
    end_whole(p, from, MOT_OP_CLIP, MOT_UPDATE, 0, (double)n * sizeof *sums);
}

static void probe_adamw(struct mot_device *d, mot_real *w, mot_real *m, mot_real *v, mot_real *grad, int64_t n,
                        const mot_real *scale, mot_real lr, mot_real b1, mot_real b2, mot_real eps, mot_real decay,
                        int64_t step)
{
    struct mot_probe *p = probe_of(d);
    const struct mot_tensor *t = tensor_at(p, w - p->m->params);
    double from = begin(p);
    p->k->adamw(p->d, w, m, v, grad, n, scale, lr, b1, b2, eps, decay, step);
    struct mot_part part = {t ? t->tower : -1, 0, 8 * size * (double)n, 0}; /* four arrays read and written */
    end(p, from, MOT_OP_ADAMW, MOT_UPDATE, &part, 1);
}

/* ---- putting it in, taking it out ---- */

static struct mot_kernels probing(const struct mot_kernels *k)
{
    struct mot_kernels p = *k;
    p.write = probe_write, p.read = probe_read, p.collect = probe_collect, p.copy = probe_copy, p.zero = probe_zero;
    p.batch = probe_batch, p.repeat = probe_repeat, p.repeated = probe_repeated;
    p.sync = probe_sync, p.error = probe_error, p.mark = probe_mark;
    p.embed = probe_embed, p.embed_back = probe_embed_back;
    p.rmsnorm = probe_rmsnorm, p.rmsnorm_back = probe_rmsnorm_back;
    p.linear = probe_linear, p.linear_back_x = probe_linear_back_x, p.linear_back_w = probe_linear_back_w;
    p.rope = probe_rope, p.rope_back = probe_rope_back;
    p.attention = probe_attention, p.attention_back = probe_attention_back;
    p.swiglu = probe_swiglu, p.swiglu_back = probe_swiglu_back;
    p.head_loss = probe_head_loss;
    p.cast = probe_cast, p.spread = probe_spread, p.spread_back = probe_spread_back;
    p.unfold = probe_unfold, p.unfold_back = probe_unfold_back;
    p.squared_error = probe_squared_error, p.silu = probe_silu, p.silu_back = probe_silu_back;
    p.sumsq = probe_sumsq, p.clip = probe_clip, p.adamw = probe_adamw;
    return p;
}

int mot_probe_attach(struct mot_probe *p, struct mot_model *m, int64_t events)
{
    /* Pieces of work of one operation where no events are kept; else of all of them. */
    int64_t pieces = events ? 64 * events : 1 << 16;
    *p = (struct mot_probe){.kernels = probing(m->k), .k = m->k, .d = m->d, .m = m, .layer = -1};
    p->cell = mot_alloc(cells(p), sizeof *p->cell);
    p->watch.work = mot_alloc((size_t)pieces, sizeof *p->watch.work);
    p->event = mot_alloc((size_t)events, sizeof *p->event);
    p->done = mot_alloc(m->k->late ? MOT_MOST_DONE : 0, sizeof *p->done);
    if (!p->cell || !p->watch.work || !p->event || !p->done) {
        mot_free(p->done);
        mot_free(p->cell);
        mot_free(p->watch.work);
        mot_free(p->event);
        *p = (struct mot_probe){0};
        return MOT_ENOMEM;
    }
    p->watch.capacity = pieces;
    p->event_capacity = events;
    m->k = &p->kernels;
    m->d = (struct mot_device *)(void *)p;
    p->k->watch(p->d, &p->watch);
    return MOT_OK;
}

void mot_probe_detach(struct mot_probe *p)
{
    if (!p->m)
        return;
    p->k->watch(p->d, NULL);
    p->m->k = p->k;
    p->m->d = p->d;
    mot_free(p->cell);
    mot_free(p->watch.work);
    mot_free(p->event);
    mot_free(p->done);
    *p = (struct mot_probe){0};
}

/* Events are kept: a timeline is of everything that was recorded. */
void mot_probe_reset(struct mot_probe *p)
{
    memset(p->cell, 0, cells(p) * sizeof *p->cell);
    p->seconds = p->flops = 0;
}

const struct mot_cell *mot_probe_cell(const struct mot_probe *p, enum mot_op op, enum mot_direction direction, int64_t layer,
                                      int tower)
{
    return &p->cell[cell_at(p, op, direction, layer, tower)];
}
