/* SPDX-License-Identifier: MIT
 *
 * kernels.h - THE CONTRACT between the model and everything numeric.
 *
 * A backend is one `struct mot_kernels`: memory, then the operations of the model, each with its
 * `_back`.  kernels/cpu/NAME.c and kernels/cuda/NAME.cu implement the same names; kernels/ref/ is the
 * plain oracle that the tests compare them with.  kernels/cpu/ is compiled once for each set of
 * instructions, and there is a backend of each.  Nothing here knows of lib/: no config, no tensors by
 * name, no files.
 *
 * Shapes, used in every comment below (all row-major, no padding between rows):
 *   N rows of the batch (tokens)   C hidden width      H query heads     K key/value heads, K divides H
 *   D head size (even)             F FFN width         V vocabulary      G row groups
 *
 * Two orders of the N tokens.  The residual stream and everything computed row by row live in SORTED
 * order: tokens of modality 0 first, then 1, ...; so each tower owns contiguous rows.  Only attention
 * needs SEQUENCE order, the order of the text.  `seq[i]` is the sequence index of sorted row i, `row[s]`
 * its inverse.  `rope` moves rows from sorted to sequence order, `attention` moves them back; there is
 * no other gather or scatter.
 *
 * Weights are named by their offset in one parameter block, so that the same groups serve the block
 * of weights (forward) and the block of gradients (backward).
 *
 * All pointers are memory of the backend's device (for "cpu": of the host) unless a comment says host.
 * Arrays handed in never overlap unless the comment allows it.  N, G and group sizes may be 0.
 * An operation that writes gradients of weights ADDS to them; other outputs are overwritten unless
 * there is an `add` argument (0: overwrite, 1: add to what is there).
 * Results do not depend on timing: same inputs, same thread count, same bits.
 */
#ifndef MOT_KERNELS_H
#define MOT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The type of activations and weights.  The library is built with float; the test suite builds the model
 * and kernels/ref once more with double, to check every gradient against finite differences. */
#ifdef MOT_REAL_IS_DOUBLE
typedef double mot_real;
#else
typedef float mot_real;
#endif

/* An activation: whatever has a row a token and is no id, statistic, loss or weight of a loss.
 * Only a backend knows what lies behind the pointer: values of `activation` bytes (struct
 * mot_kernels), which everyone else takes and copies whole.  Weights, gradients, moments, rstd, lse,
 * nll, cos and sin are mot_real in every backend. */
typedef mot_real mot_act;

struct mot_device; /* a backend's state: threads or stream, workspace, sticky error */

/* A run of sorted rows that share weights. */
struct mot_group {
    int64_t row, rows; /* rows [row, row + rows) */
    int64_t w;         /* offset of the weight in the parameter block */
    int64_t b;         /* offset of the bias (in `rope`: of the k norm), or -1 */
    int from, to;      /* from < to: these are rows [begin[from], begin[to]) of the batch (struct mot_mix) */
};

/* Most numbers of begin in a batch but one. */
enum { MOT_MOST_PARTS = 16 };

/* What a batch of N rows consists of.  Arrays but begin are the device's, as attention is given them. */
struct mot_mix {
    int64_t N;
    const int64_t *begin; /* (n + 1), host: rows [begin[i], begin[i + 1]) are of part i; from 0 to N */
    int n;
    const struct mot_segment *segments;
    int64_t n_segments;
    const int32_t *until; /* or NULL */
};

/* What is kept of one sequence that grows: kv (layers, 2, K, capacity, D), keys and then values of each
 * layer; positions [0, length) are there. */
struct mot_past {
    mot_act *kv;
    int64_t capacity, length;
};

enum { MOT_FEW = 16 };

/* The norm of a query's or key's head before RoPE. */
enum mot_head_norm {
    MOT_HEAD_RMS,  /* RMSNorm over D; one weight (D) for all heads: Qwen3 */
    MOT_HEAD_LAYER /* LayerNorm over D; weights (heads,D), then biases (heads,D): Chameleon */
};

/* A piece of a document: `length` consecutive sequence positions that see each other causally and see
 * nothing else.  The pieces of a batch follow each other and cover [0, N) exactly. */
struct mot_segment {
    int64_t begin, length;
};

/* What follows a norm, value by value. */
enum mot_nonlinearity {
    MOT_ACT_NONE,
    MOT_ACT_SILU, /* x / (1 + exp(-x)) */
    MOT_ACT_GELU  /* x (1 + erf(x / sqrt 2)) / 2 */
};

/* A convolution over a picture (or, with H = kh = 1, over a sequence), whose values stand as (rows, columns,
 * channels).  The input may be taken enlarged: each pixel `up` times in both directions. */
struct mot_conv {
    int64_t H, W, C;        /* the input */
    int64_t OH, OW, O;      /* the output */
    int64_t kh, kw, stride; /* of both directions */
    int64_t top, left;      /* zeros before the input; behind it there are as many as are asked for */
    int64_t up;             /* 1: as it is */
    int64_t groups;         /* divides C and O: output channels of a group see input channels of that group */
};

/* A product of matrices: y (rows,out) = x (rows,in) w^T. */
struct mot_product {
    int64_t rows, in, out;
};

/* A piece of an operation as the worker saw it that did it: a thread of the CPU, a stream of a GPU. */
struct mot_work {
    int32_t worker;
    int32_t group;     /* index in the operation's groups; -1: the piece belongs to no group */
    double begin, end; /* seconds of the system's monotonic clock */
};

/* Where a device writes its work while it is watched.  Where the backend is `late` the times of pieces are there after
 * the next read() or sync(). */
struct mot_watch {
    struct mot_work *work;
    int64_t capacity;
    int64_t n; /* pieces seen; those beyond the capacity are counted and not kept */
};

/* The largest sizes that any call will have; what the workspace is measured for. */
struct mot_limits {
    int64_t N;       /* rows of a batch */
    int64_t segment; /* longest piece of a document */
    int64_t C, H, K, D, F, V;
    const struct mot_product *product; /* (n_products) those of linear that are not a layer's */
    int n_products;
    int64_t norm_C;          /* widest row of rmsnorm, where it is more than C */
    int G;           /* groups in one call */
    int64_t sequences, past; /* rows of attention_past, and the longest past; 0: it is not called */
    const struct mot_conv *conv; /* (n_conv) every convolution that will be called */
    int n_conv;
    int64_t norm_rows, norm_width; /* N and C of groupnorm; 0: it is not called */
    int64_t attend;                /* N of attend, with H heads of D; 0: it is not called */
    int train;       /* 0: forward only */
    /* The block of weights, which a backend may keep a copy of in another type: it follows what
     * write(), copy(), zero() and adamw() do to it.  All weights of linear, head_loss and embed lie in
     * it where activations are not mot_real. */
    const mot_real *params;
    int64_t values; /* in the block */
};

/* Which GPU a device is; 0: not known. */
struct mot_about {
    char name[128];             /* empty: none */
    double memory;              /* bytes */
    double clock, memory_clock; /* Hz, now */
};

struct mot_kernels {
    const char *name;
    size_t activation; /* bytes of a mot_act: sizeof(mot_real), or 2 for bfloat16 */
    int late;          /* operations may still be under way when their call returns */
    size_t beside;     /* bytes that a device takes beside what it is asked for, about: a GPU's context and code */

    /* -- the device ------------------------------------------------------------------------------- */

    /* Start with `threads` worker threads (0: one a core this process may use; ignored on a GPU).
     * NULL on failure, with the reason in err. */
    struct mot_device *(*open)(int threads, char *err, size_t err_size);
    void (*close)(struct mot_device *d); /* NULL is fine */
    int (*threads)(const struct mot_device *d);

    /* Bytes of workspace that reserve() will take for these limits; takes nothing and needs no params. */
    size_t (*workspace)(const struct mot_device *d, const struct mot_limits *limits);
    /* Take the workspace, once, before the first operation.  0, or -1: memory is short, or error()
     * tells what these limits ask for that the backend cannot do. */
    int (*reserve)(struct mot_device *d, const struct mot_limits *limits);

    void *(*alloc)(struct mot_device *d, size_t bytes); /* aligned to 64; NULL when memory is short */
    void (*free)(struct mot_device *d, void *p);        /* NULL is fine */
    void (*write)(struct mot_device *d, void *to, const void *host, size_t bytes);
    void (*read)(struct mot_device *d, void *host, const void *from, size_t bytes); /* waits */
    /* The same without waiting: host has it after the next read() or sync(), and is the device's until then. */
    void (*collect)(struct mot_device *d, void *host, const void *from, size_t bytes);
    void (*copy)(struct mot_device *d, void *to, const void *from, size_t bytes);
    void (*zero)(struct mot_device *d, void *to, size_t bytes);

    /* Wait for all work.  0, or -1 after a device fault; error() then tells which.  Faults stick. */
    int (*sync)(struct mot_device *d);
    const char *(*error)(const struct mot_device *d);

    /* -- work that repeats -------------------------------------------------------------------------- */

    /* What follows works on this batch, up to the next one.  1: what is repeated reads begin and the segments when it
     * runs, so that it is the same work for all batches of N rows; 0: for those of equal begin. */
    int (*batch)(struct mot_device *d, const struct mot_mix *mix);
    /* What follows, up to repeated(), is nothing but operations and copies on the device, the same ones on the same
     * arrays as every time that this key of n bytes (at most 256) came.  1: they are done again already; 0: do them.
     * repeated() then tells whether they have to be done once more, because trying to keep them failed. */
    int (*repeat)(struct mot_device *d, const void *key, size_t n);
    int (*repeated)(struct mot_device *d);

    /* -- for profilers ---------------------------------------------------------------------------- */

    /* From now on add every piece of work to w; NULL: no more. Unwatched, a piece costs one branch. */
    void (*watch)(struct mot_device *d, struct mot_watch *w);
    void (*about)(struct mot_device *d, struct mot_about *a);
    /* Say that what follows belongs to a layer's forward or backward pass (-1: to no layer).  Backends need not
     * care; a profiler that puts itself between the model and a backend learns where it is. */
    void (*mark)(struct mot_device *d, int64_t layer, int backward);

    /* -- embedding -------------------------------------------------------------------------------- */

    /* y[i] = table[id[i]].  y (N,C), table (V,C), id (N) in [0,V).  Exact. */
    void (*embed)(struct mot_device *d, mot_act *y, const mot_real *table, const int32_t *id,
                  int64_t N, int64_t C, int64_t V);
    /* dtable[id[i]] += dy[i], an id may repeat.  Rows are added in order of i. */
    void (*embed_back)(struct mot_device *d, mot_real *dtable, const mot_act *dy, const int32_t *id,
                       int64_t N, int64_t C, int64_t V);

    /* -- norms ------------------------------------------------------------------------------------ */

    /* RMSNorm with the weight of each row's group, added to a residual if there is one:
     *   rstd[i] = 1 / sqrt(mean_c x[i,c]^2 + eps);  y[i,c] = res[i,c] + w[c] x[i,c] rstd[i]
     * x, y, res (N,C); rstd (N) output; w = params + group.w, (C).  res may be NULL (0) or equal to y;
     * y may equal x only where the caller needs no backward.  1e-5 rel. */
    void (*rmsnorm)(struct mot_device *d, mot_act *y, mot_real *rstd, const mot_act *x,
                    const mot_act *res, const mot_real *params, const struct mot_group *g, int G,
                    int64_t C, mot_real eps);
    /* With n[c] = x[i,c] rstd[i] and s = mean_c(dy[c] w[c] n[c]):
     *   dx[i,c] (+)= rstd[i] (w[c] dy[c] - n[c] s);   dw[c] += sum_i dy[i,c] n[i,c]
     * dw = grads + group.w.  dx may equal dy when add = 0.  (The residual's gradient is dy itself.) */
    void (*rmsnorm_back)(struct mot_device *d, mot_act *dx, mot_real *grads, const mot_act *dy,
                         const mot_act *x, const mot_real *rstd, const mot_real *params,
                         const struct mot_group *g, int G, int64_t C, int add);

    /* -- grouped linear --------------------------------------------------------------------------- */

    /* y[i,o] (+)= sum_c x[i,c] w[o,c] + b[o], rows of one group with one (O,I) weight.
     * x (N,I), y (N,O); w = params + group.w; b = params + group.b if group.b >= 0.  1e-5 rel.
     * Where the limits have sequences, a row's result does not depend on the other rows. */
    void (*linear)(struct mot_device *d, mot_act *y, const mot_act *x, const mot_real *params,
                   const struct mot_group *g, int G, int64_t I, int64_t O, int add);
    /* dx[i,c] (+)= sum_o dy[i,o] w[o,c] */
    void (*linear_back_x)(struct mot_device *d, mot_act *dx, const mot_act *dy, const mot_real *params,
                          const struct mot_group *g, int G, int64_t I, int64_t O, int add);
    /* dw[o,c] += sum_i dy[i,o] x[i,c];  db[o] += sum_i dy[i,o].  Two groups may name the same weight. */
    void (*linear_back_w)(struct mot_device *d, mot_real *grads, const mot_act *dy, const mot_act *x,
                          const struct mot_group *g, int G, int64_t I, int64_t O);

    /* -- heads: QK-norm, RoPE, and from sorted to sequence order ------------------------------------ */

    /* For every sorted row i with s = seq[i], p = pos[i], the packed row qkv[i] = [q (H,D) | k (K,D) | v (K,D)]:
     *   q[h,s] = R(p) norm(qkv q part of head h);  k likewise;  v[h,s] = the v part as it is
     * qkv (N,(H+2K)D); q (H,N,D), k and v (K,N,D): one head's positions lie together.
     * norm is of the given kind, its weights at params + group.w for q and params + group.b for k; no norm
     * where group.w < 0.  R rotates pairs (j, j + D/2) as Hugging Face's rotate_half does:
     *   y[j] = x[j] cos[p,j] - x[j+D/2] sin[p,j];   y[j+D/2] = x[j+D/2] cos[p,j] + x[j] sin[p,j]
     * cos, sin (P, D/2) with 0 <= pos[i] < P.  1e-5 rel. */
    void (*rope)(struct mot_device *d, mot_act *q, mot_act *k, mot_act *v, const mot_act *qkv,
                 const mot_real *params, const struct mot_group *g, int G, const int32_t *seq,
                 const int32_t *pos, const mot_real *cos, const mot_real *sin, int64_t N, int64_t H,
                 int64_t K, int64_t D, enum mot_head_norm norm, mot_real eps);
    /* dqkv overwritten; norm weights' gradients added.  qkv (the input of rope) is read only where a
     * group has norms and may be NULL otherwise. */
    void (*rope_back)(struct mot_device *d, mot_act *dqkv, mot_real *grads, const mot_act *dq,
                      const mot_act *dk, const mot_act *dv, const mot_act *qkv,
                      const mot_real *params, const struct mot_group *g, int G, const int32_t *seq,
                      const int32_t *pos, const mot_real *cos, const mot_real *sin, int64_t N,
                      int64_t H, int64_t K, int64_t D, enum mot_head_norm norm, mot_real eps);

    /* -- attention, from sequence to sorted order ---------------------------------------------------- */

    /* Grouped-query attention inside each segment.  With e = h K / H (integer division):
     *   o[row[s], h] = sum_{t in segment of s, t < until[s]} softmax_t(scale q[h,s] . k[e,t]) v[e,t]
     *   lse[h,s] = log sum_t exp(scale q[h,s] . k[e,t])
     * until (N): s < until[s] <= end of its segment, never descending within a segment: what sees a picture's last
     * patch from its first.  NULL: until[s] = s + 1, which is causal.
     * scale > 0; q (H,N,D), k, v (K,N,D); o (N,H D) in sorted order; lse (H,N).  Memory is linear in the segment's
     * length.  1e-5 rel. */
    void (*attention)(struct mot_device *d, mot_act *o, mot_real *lse, const mot_act *q,
                      const mot_act *k, const mot_act *v, const int32_t *row, const int32_t *until,
                      const struct mot_segment *segments, int64_t n_segments, int64_t N, int64_t H,
                      int64_t K, int64_t D, mot_real scale);
    /* dq (H,N,D), dk, dv (K,N,D) overwritten; dO, o (N,H D) sorted.  P is recomputed from lse. */
    void (*attention_back)(struct mot_device *d, mot_act *dq, mot_act *dk, mot_act *dv,
                           const mot_act *dO, const mot_act *o, const mot_real *lse,
                           const mot_act *q, const mot_act *k, const mot_act *v,
                           const int32_t *row, const int32_t *until,
                           const struct mot_segment *segments, int64_t n_segments, int64_t N,
                           int64_t H, int64_t K, int64_t D, mot_real scale);

    /* -- attention to the past, for sequences that grow ----------------------------------------------- */

    /* Write k and v (K,N,D) of a layer behind the past of each segment's sequence: of segment n, position i of
     * it to position past[n].length + i, which is below past[n].capacity.  past (n_segments). */
    void (*remember)(struct mot_device *d, const struct mot_past *past, int64_t layer,
                     const mot_act *k, const mot_act *v, const struct mot_segment *segments,
                     int64_t n_segments, int64_t N, int64_t K, int64_t D);
    /* Each row is one token of a sequence of its own, at position past[s].length, whose k and v are remembered:
     *   o[row[s], h] = sum_{t <= past[s].length} softmax_t(scale q[h,s] . k_s[e,t]) v_s[e,t]
     * q (H,N,D), o (N,H D) as in attention; k_s, v_s from past[s] at `layer`; past (N).  Depends on nothing but the
     * row's own sequence.  1e-5 rel. */
    void (*attention_past)(struct mot_device *d, mot_act *o, const mot_act *q,
                           const struct mot_past *past, int64_t layer, const int32_t *row,
                           int64_t N, int64_t H, int64_t K, int64_t D, mot_real scale);
    /* z[i,j] = x[i] . w[j] for at most MOT_FEW rows: what head_loss makes and does not hand out.
     * x (N,C), w (V,C), z (N,V).  A row's result depends on nothing but the row.  1e-5 rel. */
    void (*logits)(struct mot_device *d, mot_real *z, const mot_act *x, const mot_real *w, int64_t N,
                   int64_t C, int64_t V);

    /* -- encoders of pictures and sounds, forward only --------------------------------------------------- */

    /* y[oy,ox,o] (+)= b[o] + sum_{ky,kx,c} X[oy stride + ky - top, ox stride + kx - left, c] w[g,ky,kx,c,o]
     * where X[i,j] = x[i / up, j / up] (integer division) inside (H up, W up) and 0 outside; o and c are those
     * of group g.  x (H,W,C), y (OH,OW,O), w (groups,kh,kw,C/groups,O/groups), b (O) or NULL.  1e-5 rel. */
    void (*conv2d)(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                   const mot_real *b, const struct mot_conv *conv, int add);
    /* Norm over all rows and the C / groups channels of a group (Wu & He 2018):
     *   y[i,c] = act(w[c] (x[i,c] - mean_g) / sqrt(var_g + eps) + b[c])
     * x, y (N,C), y may be x; w, b (C).  1e-5 rel. */
    void (*groupnorm)(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                      const mot_real *b, int64_t N, int64_t C, int64_t groups, mot_real eps,
                      enum mot_nonlinearity act);
    /* The same over the C channels of each row: LayerNorm. */
    void (*layernorm)(struct mot_device *d, mot_real *y, const mot_real *x, const mot_real *w,
                      const mot_real *b, int64_t N, int64_t C, mot_real eps, enum mot_nonlinearity act);
    /* y[i] (+)= act(x[i]), n values; y may be x.  1e-6 of max(1, |x|). */
    void (*activate)(struct mot_device *d, mot_real *y, const mot_real *x, int64_t n,
                     enum mot_nonlinearity act, int add);
    /* Attention of every row to every row:  o[i,h] = sum_t softmax_t(scale q[i,h] . k[t,h]) v[t,h]
     * qkv (N, 3 H D): a row is q (H,D), k (H,D), v (H,D); o (N, H D).  1e-5 rel. */
    void (*attend)(struct mot_device *d, mot_real *o, const mot_real *qkv, int64_t N, int64_t H,
                   int64_t D, mot_real scale);

    /* -- pictures whose tokens are vectors -------------------------------------------------------------- */

    /* All on rows [row, row + rows) of arrays that have N.  y[i,c] = x[i,c] as an activation.  x, y (N,C). */
    void (*cast)(struct mot_device *d, mot_act *y, const mot_real *x, int64_t row, int64_t rows, int64_t C);
    /* The way back: y[i,c] = x[i,c] as a number. */
    void (*uncast)(struct mot_device *d, mot_real *y, const mot_act *x, int64_t row, int64_t rows, int64_t C);
    /* y[i,c] += e[of[i],c].  y (N,C), e (M,C), of (N) in [0,M). */
    void (*spread)(struct mot_device *d, mot_act *y, const mot_act *e, const int32_t *of, int64_t row,
                   int64_t rows, int64_t C);
    /* de[m,c] = sum of dy[i,c] over the rows with of[i] = m, in order of i. */
    void (*spread_back)(struct mot_device *d, mot_act *de, const mot_act *dy, const int32_t *of, int64_t row,
                        int64_t rows, int64_t M, int64_t C);
    /* Every row with the eight around it, as a convolution of 3 x 3 sees them:  y[i,t,c] = x[near[i,t],c], 0 where near is
     * -1.  x (N,C), y (N,9,C), near (N,9), which turns round:  near[i,t] = j  exactly where  near[j,8-t] = i.  Exact. */
    void (*unfold)(struct mot_device *d, mot_act *y, const mot_act *x, const int32_t *near, int64_t N, int64_t C);
    /* dx[j,c] = sum_t dy[near[j,8-t],t,c], in order of t. */
    void (*unfold_back)(struct mot_device *d, mot_act *dx, const mot_act *dy, const int32_t *near, int64_t N, int64_t C);
    /* loss[i] = mean_c (x[i,c] - target[i,c])^2;  dx[i,c] = 2 weight[i] (x[i,c] - target[i,c]) / C unless dx is NULL.
     * x, dx, target (N,C), loss, weight (N).  1e-5 rel. */
    void (*squared_error)(struct mot_device *d, mot_real *loss, mot_act *dx, const mot_act *x,
                          const mot_real *target, const mot_real *weight, int64_t row, int64_t rows, int64_t C);
    /* y[i] = x[i] / (1 + exp(-x[i])), n values.  1e-5 rel. */
    void (*silu)(struct mot_device *d, mot_act *y, const mot_act *x, int64_t n);
    void (*silu_back)(struct mot_device *d, mot_act *dx, const mot_act *dy, const mot_act *x, int64_t n); /* dx may be dy */

    /* -- feed-forward ----------------------------------------------------------------------------- */

    /* h[i,f] = silu(gu[i,f]) gu[i,F+f], silu(x) = x / (1 + exp(-x)).  gu (N,2F), h (N,F).  1e-5 rel. */
    void (*swiglu)(struct mot_device *d, mot_act *h, const mot_act *gu, int64_t N, int64_t F);
    /* dgu overwritten; may equal gu. */
    void (*swiglu_back)(struct mot_device *d, mot_act *dgu, const mot_act *dh, const mot_act *gu,
                        int64_t N, int64_t F);

    /* -- head and loss, fused ------------------------------------------------------------------------ */

    /* Next-token cross-entropy without ever holding (N,V) logits:
     *   z[j] = x[i] . w[j];  lse[i] = log sum_j exp z[j];  nll[i] = lse[i] - z[target[i]]
     * x (N,C), w (V,C), target (N) in [0,V), nll and lse (N).
     * When dx is not NULL, also the gradient of  sum_i weight[i] (nll[i] + zloss lse[i]^2):
     *   dz[j] = weight[i] ((1 + 2 zloss lse[i]) softmax_j - [j = target[i]])
     *   dx[i] = sum_j dz[j] w[j] (overwritten);   dw[j] += sum_i dz[j] x[i]
     * weight (N) is read only then.  1e-5 rel. */
    void (*head_loss)(struct mot_device *d, mot_real *nll, mot_real *lse, mot_act *dx, mot_real *dw,
                      const mot_act *x, const mot_real *w, const int32_t *target,
                      const mot_real *weight, mot_real zloss, int64_t N, int64_t C, int64_t V);

    /* -- optimizer ----------------------------------------------------------------------------------- */

    /* out[0] = sum_i x[i]^2, in double. */
    void (*sumsq)(struct mot_device *d, double *out, const mot_real *x, int64_t n);
    /* scale[0] = min(1, max_norm / (sqrt(sum of the n sums) + 1e-6)); 1 when max_norm <= 0. */
    void (*clip)(struct mot_device *d, mot_real *scale, const double *sums, int n, mot_real max_norm);
    /* AdamW with decoupled decay (Loshchilov & Hutter 2019), step >= 1 counted from the first:
     *   g = grad scale[0];  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
     *   w = w - lr decay w - lr (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)
     * w, m, v updated in place; grad is zeroed. */
    void (*adamw)(struct mot_device *d, mot_real *w, mot_real *m, mot_real *v, mot_real *grad, int64_t n,
                  const mot_real *scale, mot_real lr, mot_real b1, mot_real b2, mot_real eps,
                  mot_real decay, int64_t step);
};

/* The backend for NVIDIA GPUs.  In "f32" all is float; in "bf16" activations, and the operands of
 * products, are bfloat16 while sums, statistics and the weights that are trained stay float.  NULL,
 * with the reason in err: not built into this program, no driver, no GPU, or one that is too old.
 * (kernels/cuda/cuda.cu, or none.c where it is not built) */
const struct mot_kernels *mot_kernels_cuda(const char *dtype, char *err, size_t err_size);

/* The cpu backend that multiplies matrices in `dtype`, "f32" or "bf16" (NULL: "f32"), for a set of
 * instructions (NULL: the best that this processor has).  NULL, with the reason in err, when the program
 * has no such backend or the processor lacks what it needs.  Sets round differently.  In bf16 the operands
 * of products are rounded while they are packed; memory, sums and all else stay float.
 * (kernels/select.c) */
const struct mot_kernels *mot_kernels_cpu(const char *set, const char *dtype, char *err, size_t err_size);
/* The name of the i-th set in this program that computes in dtype, the best first; NULL beyond the last. */
const char *mot_kernels_cpu_set(const char *dtype, int i);

extern const struct mot_kernels mot_kernels_ref; /* kernels/ref/ref.c: tests only, not in libmot.a */

#ifdef __cplusplus
}
#endif
#endif
