/* SPDX-License-Identifier: MIT
 *
 * model.h - the model as its own files and lib/train see it: THE tensor table, routing, forward and backward.
 *
 * A dense model is a MoT with one tower; there is no second path.  One block of memory holds all weights and
 * another of the same layout all gradients; a tensor is an offset into either.
 */
#ifndef MOT_MODEL_H
#define MOT_MODEL_H

#include "../base/device.h"
#include "../base/json.h"
#include "../base/safetensors.h"
#include "carve.h"

/* ---- presets.c ---- */
/* Fill c from a preset; its modalities are returned apart, for use without a tokenizer. False: no such preset. */
bool mot_preset_find(const char *name, struct mot_config *c, const char *const **modalities, int *n);

/* ---- config.c ---- */
/* config.json as an object, which the caller may change before it is written. New reference. */
json_t *mot_config_json(const struct mot_config *c) MOT_CHECKED;

/* ---- vectors.c: pictures whose tokens are vectors ---- */
enum { MOT_TIME_FEATURES = 256, MOT_MAX_VECTOR = 1 << 16, MOT_MAX_CHANNELS = 1 << 14, MOT_UNET_BLOCKS = 2 };
/* The modality whose tokens are vectors, or -1. */
int mot_vectors_of(const struct mot_config *c);
/* Once settled: then only where a modality has vectors. */
static inline bool mot_has_unet(const struct mot_config *c)
{
    return c->unet.channels > 0;
}
const char *mot_objective_name(enum mot_objective o);
int mot_objective_find(enum mot_objective *o, const char *name) MOT_CHECKED;
int mot_vectors_read(struct mot_config *c, const json_t *j, const char *name) MOT_CHECKED;
int mot_vectors_settle(struct mot_config *c, const char *name, const struct mot_vocab *v) MOT_CHECKED;
double mot_usual_weight(const struct mot_config *c, int modality); /* of a modality in the loss, where nothing is said */
/* What a U-Net needs to know from the vocabulary (may be NULL); none where no modality has vectors. */
int mot_unet_settle(struct mot_config *c, const char *name, const struct mot_vocab *v) MOT_CHECKED;
void mot_vectors_write(const struct mot_config *c, json_t *j);

/* Values of a patch as the stream's products have it: its vector's, or what the U-Net makes of it. */
int64_t mot_patch_values(const struct mot_config *c);
double mot_patch_flops(const struct mot_config *c); /* forward, of what takes a patch in and out (size.c) */

/* ---- diffusion.c: levels of noise ---- */
struct mot_level {
    double t;             /* 0: clean, 1: noise alone */
    double time;          /* what the model is told, of 1000 */
    double signal, noise; /* x = signal x0 + noise e */
};
struct mot_levels {
    struct mot_diffusion d;
    double *kept; /* (steps) DDPM: signal^2 */
};
int mot_levels_new(struct mot_levels *l, const struct mot_diffusion *d) MOT_CHECKED;
void mot_levels_free(struct mot_levels *l);
struct mot_level mot_level_clean(void);
struct mot_level mot_level_at(const struct mot_levels *l, double t);
/* As training draws it: the index-th number of a stream, below `limit` of the way to noise. */
struct mot_level mot_level_draw(const struct mot_levels *l, double limit, uint64_t seed, uint64_t stream, uint64_t index);
/* Of a sampler with n steps: i = 0 is noise alone, i = n the clean picture. */
struct mot_level mot_level_step(const struct mot_levels *l, int64_t i, int64_t n);
/* A picture of n values at a level, and what the model is to tell about it.  The noise is the stream's. */
void mot_noised(const struct mot_levels *l, struct mot_level level, const uint16_t *picture, int64_t n, uint64_t seed,
                uint64_t stream, float *x, float *target);
enum mot_way {
    MOT_ANCESTRAL, /* DDPM with its own noise at each step (Ho et al. 2020) */
    MOT_STRAIGHT   /* DDIM (Song et al. 2021); for flow it is Euler's method */
};
/* Take x (n) from level a to b, given what the model told at a.  clip > 0: pictures have no values beyond. */
void mot_denoise(const struct mot_levels *l, enum mot_way way, struct mot_level a, struct mot_level b, double clip,
                 const float *told, int64_t n, uint64_t seed, uint64_t stream, float *x);
/* cos and sin of time times MOT_TIME_FEATURES / 2 frequencies, from 1 down to 1/10000, as DiT and BAGEL have them. */
void mot_time_features(double time, float *out);

/* ---- keys.c ---- */
enum mot_key { MOT_KEY_UNKNOWN, MOT_KEY_COMPUTED, MOT_KEY_HARMLESS };
enum mot_key mot_key_kind(const char *key);
bool mot_key_empty(const json_t *v); /* null, false or empty: it asks for nothing */
/* The keys of a config.json that mean nothing for what a model computes, where `to` has no value of its own. */
void mot_carry_keys(json_t *to, const json_t *source);

/* ---- table.c: what tensors there are, in one place ---- */

enum mot_weight { /* the rows of the table; see rows[] in table.c for names and shapes */
    MOT_W_EMBED,
    MOT_W_Q, MOT_W_K, MOT_W_V, MOT_W_O, MOT_W_GATE, MOT_W_UP, MOT_W_DOWN,
    MOT_W_Q_BIAS, MOT_W_K_BIAS, MOT_W_V_BIAS, MOT_W_O_BIAS,
    MOT_W_Q_NORM, MOT_W_Q_NORM_BIAS, MOT_W_K_NORM, MOT_W_K_NORM_BIAS,
    MOT_W_ATTN_NORM, MOT_W_FFN_NORM,
    MOT_W_FINAL_NORM,
    MOT_W_HEAD,
    /* of pictures of vectors: the projections of patches, and the embedding of the level of noise */
    MOT_W_PATCH_IN, MOT_W_PATCH_IN_BIAS, MOT_W_PATCH_OUT, MOT_W_PATCH_OUT_BIAS,
    MOT_W_TIME_1, MOT_W_TIME_1_BIAS, MOT_W_TIME_2, MOT_W_TIME_2_BIAS,
    /* and the U-Net around them: unet.c */
    MOT_W_CONV_IN, MOT_W_CONV_IN_BIAS, MOT_W_NORM_OUT, MOT_W_CONV_OUT, MOT_W_CONV_OUT_BIAS,
    MOT_W_RES_NORM_1, MOT_W_RES_CONV_1, MOT_W_RES_CONV_1_BIAS, MOT_W_RES_TIME, MOT_W_RES_TIME_BIAS,
    MOT_W_RES_NORM_2, MOT_W_RES_CONV_2, MOT_W_RES_CONV_2_BIAS,
    MOT_W_SKIP,
    MOT_WEIGHTS
};

struct mot_tensor {
    char *name; /* Hugging Face's, with the tower's suffix */
    enum mot_weight weight;
    enum mot_component component; /* where tower is not -1 */
    int layer; /* or the U-Net's block; -1: in none */
    int tower; /* -1: shared by all (embedding, head) */
    int rank;
    int64_t shape[2];
    int64_t offset, count; /* in the block, in values */
};

struct mot_table {
    int64_t n;
    struct mot_tensor *tensor; /* in order of offset */
    int64_t values;            /* of the whole block, padding included */
    int64_t layers;            /* or blocks of the U-Net, if those are more */
    int64_t *at;               /* (layers, weight, tower) tensor index, -1: none; see mot_offset */
    int n_towers;
};
int mot_table_build(struct mot_table *t, const struct mot_config *c) MOT_CHECKED;
void mot_table_free(struct mot_table *t);
/* A weight; NULL where there is none.  layer and tower 0 for what has none. */
const struct mot_tensor *mot_table_find(const struct mot_table *t, enum mot_weight w, int64_t layer, int tower);
/* The offset of a weight; -1 where there is none.  layer and tower 0 for what has none. */
int64_t mot_offset(const struct mot_table *t, enum mot_weight w, int64_t layer, int tower);
/* Does a token of modality m use this tensor? (size.c) */
bool mot_tensor_serves(const struct mot_config *c, const struct mot_tensor *t, int m);
/* A weight's name with # for the layer's number and % for the tower's suffix, and such a pattern filled in (a new string). */
const char *mot_weight_pattern(enum mot_weight w);
char *mot_weight_name(const char *pattern, int64_t layer, const char *tower) MOT_CHECKED;
/* The j-th of a tensor's initial values: matrices normal with initializer_range, norms 1, biases 0.  Depends on seed, name
 * and j alone. (model.c) */
float mot_initial(const struct mot_config *c, const struct mot_tensor *t, uint64_t seed, uint64_t stream, int64_t j);
/* What multiplies a row, and what AdamW decays; the others are norms and biases. */
static inline bool mot_is_matrix(const struct mot_tensor *t)
{
    return t->weight <= MOT_W_DOWN || t->weight == MOT_W_HEAD || (t->weight >= MOT_W_PATCH_IN && t->rank == 2);
}
/* How the kernels norm heads, and with which eps: Chameleon's is fixed in its code. */
enum mot_head_norm mot_head_norm(const struct mot_config *c);
mot_real mot_head_eps(const struct mot_config *c);

/* Where tensors that are no part of a model of ours lie beside it (mot-convert --keep-extra). */
#define MOT_EXTRA_FILE "extra.safetensors"

/* Of config.json: Chameleon's has a line for each of 65536 ids (vocabulary_map). */
enum { MOT_CONFIG_LIMIT = 1 << 26 };
/* May the n bytes at s name a modality or tower? */
bool mot_is_name(const char *s, size_t n);

/* ---- weights.c: a folder's tensors, in one file or several ---- */

/* model.safetensors; else the files that model.safetensors.index.json names; else ema.safetensors (BAGEL's). */
struct mot_weights {
    int n; /* files */
    struct mot_st *file;
};
int mot_weights_open(struct mot_weights *w, const char *folder) MOT_CHECKED;
void mot_weights_close(struct mot_weights *w);
/* A tensor and the file it is in; NULL: none. */
const struct mot_st_tensor *mot_weights_find(const struct mot_weights *w, const char *name, const struct mot_st **file);

/* ---- route.c: from sequence order to sorted order ---- */

/* A batch as the kernels want it, in device memory; sizes for at most `rows` rows.  All but row, seq and segments
 * are in sorted order. */
struct mot_routed {
    int64_t rows, n, n_segments;
    int64_t begin[MOT_MAX_MODALITIES + 1]; /* sorted rows of modality m: [begin[m], begin[m + 1]) */
    int32_t *id, *target, *pos, *seq, *row;
    mot_real *weight;
    struct mot_segment *segments;
    /* Pictures of vectors: how many, and their rows; until is in sequence order, as attention wants it, NULL without any. */
    int64_t n_pictures, n_patches;
    int32_t *until, *until_all, *picture;
    /* For sequences that grow: the past of each piece, and of each row with all before it in its piece. */
    struct mot_past *piece_past, *row_past;
    bool grows, behind; /* what is run is remembered; and there is a past already */
    bool any_mix;       /* the device does the same work for all batches of n rows, however many of each modality */
    /* host twins of what the host needs again, and of what is being filled */
    int32_t *host_id, *host_target, *host_pos, *host_seq, *host_row;
    mot_real *host_weight;
    struct mot_segment *host_segments;
    struct mot_past *host_piece_past, *host_row_past;
    int32_t *host_until, *host_picture;
    mot_real *host_time, *host_patch, *host_target_patch;
};

/* ---- model.c, forward.c, backward.c ---- */

/* What a layer leaves for its backward.  (N, ...) in sorted order unless noted.  With recomputation some of it is shared
 * by all layers: MOT_RECOMPUTE_LIGHT, the outputs of norms but x; MOT_RECOMPUTE_BLOCK, all but x. */
struct mot_layer {
    mot_act *x;            /* (N,C) the residual stream that enters */
    mot_act *attn_side;    /* (N,C) pre: norm of x, the input of QKV.  post: output of o_proj, the norm's input */
    mot_real *attn_rstd;   /* (N) */
    mot_act *qkv;          /* (N,(H+2K)D) before norm and RoPE; kept apart only with qk_norm */
    mot_act *q, *k, *v;    /* (H,N,D), (K,N,D), (K,N,D) in sequence order */
    mot_real *lse;         /* (H,N) */
    mot_act *o;            /* (N,HD) */
    mot_act *mid;          /* (N,C) the stream between attention and FFN */
    mot_act *ffn_side;     /* (N,C) pre: norm of mid.  post: output of down_proj */
    mot_real *ffn_rstd;    /* (N) */
    mot_act *gate_up;      /* (N,2F) */
};

/* What the U-Net's blocks leave, and what they work in, at most M pictures with n pixels in all, of U channels (unet.c).
 * Input x of a block is the output y of the one before, but for the first on either way. */
struct mot_resnet {
    mot_act *x, *y, *norm_1, *mid, *norm_2; /* (n,U) */
    mot_real *rstd_1, *rstd_2;              /* (n) */
    mot_act *time;                          /* (M,U) */
};
struct mot_unet_run {
    int64_t pixels;                                 /* of the batch */
    int32_t *near, *picture;                        /* (n,9): as unfold wants it; (n): whose pixel it is */
    int32_t *host_near, *host_picture;
    struct mot_resnet block[2 * MOT_MAX_UNET];      /* down, then up */
    mot_act *windows;                               /* (n, 9 max(U, values of a pixel)); fewer rows where nothing goes back */
    mot_act *act, *norm;                            /* (n,U) */
    mot_real *rstd;                                 /* (n) */
    mot_act *time_act;                              /* (M,C) */
    mot_act *d, *dact, *dskip[MOT_MAX_UNET];        /* (n,U); d is handed from part to part */
    mot_act *dtime, *dtime_act;                     /* (M,U), (M,C) */
};

struct mot_model {
    struct mot_config config;
    struct mot_table table;
    int32_t first[MOT_MAX_MODALITIES + 1]; /* modality m has ids [first[m], first[m+1]) */
    const struct mot_kernels *k;
    struct mot_device *d;
    bool train;
    enum mot_recompute recompute;
    int64_t rows, seq; /* largest batch and piece; with sequences: and the longest sequence */
    int64_t sequences; /* rows that may attend to a past, 0: there are none (grow.c) */
    mot_real *params, *grads; /* grads NULL when only scoring */
    struct mot_routed batch;
    void *block; /* activations: everything below */
    struct mot_layer *layer;
    mot_act *final, *final_norm;               /* (N,C) */
    mot_real *final_rstd, *nll, *lse;          /* (N) */
    mot_act *chosen;                           /* (MOT_FEW,C), with sequences */
    mot_real *logits;                          /* (MOT_FEW,V), with sequences */
    mot_real *cos, *sin;                       /* (seq, D/2) */
    mot_act *act;                              /* (N,F) */
    mot_act *normed;                           /* (N,C) what MOT_RECOMPUTE_LIGHT does not keep of layers, NULL otherwise */
    mot_act *dx, *dside;                       /* (N,C) */
    mot_act *dgate_up, *dact;                  /* (N,2F), (N,F) */
    mot_act *dqkv, *dq, *dk, *dv, *dO;         /* as their namesakes */
    /* Where a modality has vectors, of width W; at most M pictures in a batch. */
    int vectors;                                         /* that modality, or -1 */
    int64_t pictures;                                    /* M */
    struct mot_unet_run unet;                            /* where config.unet.channels > 0 */
    mot_real *patch, *patch_target, *time;               /* (N,W), (N,W), (M,MOT_TIME_FEATURES) */
    mot_act *patch_in, *patch_out, *dpatch;              /* (N,W) */
    mot_act *time_in;                                    /* (M,MOT_TIME_FEATURES) */
    mot_act *time_hidden, *time_act, *time_out;          /* (M,C) */
    mot_act *dtime_act, *dtime_out;                      /* (M,C) */
    mot_real *host_nll, *host_lse;             /* (N), host */
};

/* A model on device `k`, for batches of at most `rows` rows and pieces of at most `seq`.  Weights are zero until
 * mot_model_init or mot_model_load.  first: see the field. */
struct mot_model *mot_model_new(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                int threads, int64_t rows, int64_t seq, bool train) MOT_CHECKED;
/* The same, for training steps that keep less and make it again. */
struct mot_model *mot_model_new_training(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                         int threads, int64_t rows, int64_t seq, enum mot_recompute recompute) MOT_CHECKED;
void mot_model_free(struct mot_model *m);
/* The same, only forward, for sequences of at most `context` tokens that grow (grow.c): a batch has at most `rows` rows, and
 * at most `sequences` of them behind something remembered. */
struct mot_model *mot_model_new_growing(const struct mot_config *c, const struct mot_vocab *v, const struct mot_kernels *k,
                                        int threads, int64_t rows, int64_t context, int64_t sequences) MOT_CHECKED;
/* What mot_model_new would take, without taking it. */
int mot_model_plan(const struct mot_config *c, const struct mot_kernels *k, int64_t rows, int64_t seq, bool train,
                   enum mot_recompute recompute, int threads, struct mot_memory *out) MOT_CHECKED;
/* Random weights: normal with initializer_range, norms 1, biases 0.  A tensor's numbers depend on seed and name only. */
int mot_model_init(struct mot_model *m, uint64_t seed) MOT_CHECKED;
/* Weights from a folder's file or files: every tensor there exactly once, nothing else (folder.c). */
int mot_model_load(struct mot_model *m, const char *folder) MOT_CHECKED;
int mot_model_save(const struct mot_model *m, const char *folder) MOT_CHECKED; /* model.safetensors alone */

/* How a batch's pictures of vectors are shown, and what is to be told about them. */
enum { MOT_PICTURE_ROWS = 3 }; /* of a picture with its delimiters, at least; of any one over a batch's average */
struct mot_seen {
    const float *x, *target; /* vectors, as the batch has them: at their levels of noise; target NULL: no loss */
    const double *time;      /* of each picture, of 1000 */
    double weight;           /* of each patch's loss */
};
/* Routing: fill m->batch from b and send it to the device. weight_scale multiplies the loss weight of each row whose target
 * is an id.  p may be NULL for batches without pictures of vectors. */
int mot_model_route(struct mot_model *m, const struct mot_batch *b, double weight_scale, const struct mot_seen *p) MOT_CHECKED;
/* The sum of loss weights of a batch's targets that are ids, which a mean is divided by. */
double mot_batch_weight(const struct mot_model *m, const struct mot_batch *b);
/* Row i of a batch predicts an id: neither is it a patch, nor does a patch follow. */
bool mot_predicts_id(const struct mot_model *m, int32_t id, int32_t target);
int mot_model_modality(const struct mot_model *m, int32_t id);

/* Forward over the routed batch; with `backward` also the backward pass: gradients are added to m->grads.  Then per row, in
 * SORTED order, m->host_nll and m->host_lse (target: m->batch.host_target); of a patch host_nll is its mean squared error. */
int mot_model_run(struct mot_model *m, bool backward) MOT_CHECKED;
/* The same in two halves: what is started may still be under way until it was waited for. */
void mot_model_start(struct mot_model *m, bool backward);
int mot_model_wait(struct mot_model *m) MOT_CHECKED;

/* Memory for a sequence of at most `capacity` tokens, on the model's device; freed with k->free(d, p->kv). */
int mot_past_new(struct mot_model *m, int64_t capacity, struct mot_past *p) MOT_CHECKED;
/* Forward over pieces that go on with sequences: piece i of b behind past[i], whose length moves on.  b's targets mean
 * nothing.  What comes out for a row depends on its own sequence alone, if b is one piece or all its pieces are single tokens
 * (pieces of other lengths may not be mixed). */
int mot_model_grow(struct mot_model *m, const struct mot_batch *b, struct mot_past *past, const struct mot_seen *p) MOT_CHECKED;
/* What the model told about the batch's patches, as the batch has their vectors; after mot_model_grow. */
int mot_model_told(struct mot_model *m, float *told) MOT_CHECKED;
/* Logits (n,V) after the batch's sequence positions `position` (n), to host memory. */
int mot_model_logits(struct mot_model *m, const int64_t *position, int64_t n, mot_real *z) MOT_CHECKED;

/* Internal to the model: the pieces of mot_model_run. */
int mot_model_route_behind(struct mot_model *m, const struct mot_batch *b, double weight_scale, const struct mot_seen *p,
                           const struct mot_past *past) MOT_CHECKED;
void mot_forward_layers(struct mot_model *m);
/* What layer l did not keep, in two parts: for the backward pass of its FFN, and then for that of its attention. */
void mot_again_for_feed_forward(struct mot_model *m, int64_t l);
void mot_again_for_attention(struct mot_model *m, int64_t l);
void mot_backward_layers(struct mot_model *m);
/* The groups of a component at a layer: offsets of weights w and b (MOT_WEIGHTS: none). Returns their count. */
int mot_groups(const struct mot_model *m, enum mot_component c, int64_t layer, enum mot_weight w, enum mot_weight b,
               struct mot_group g[MOT_MAX_MODALITIES]);
/* patches.c: routing of pictures of vectors, after that of rows, and their way in and out. */
int mot_patches_route(struct mot_model *m, const struct mot_batch *b, const struct mot_seen *p) MOT_CHECKED;
void mot_patches_in(struct mot_model *m);
void mot_patches_out(struct mot_model *m, bool loss, bool backward);
void mot_patches_out_back(struct mot_model *m);
void mot_patches_in_back(struct mot_model *m);
/* unet.c: pixels (n, values of a pixel) in, and told out again; time (M,C): each picture's level of noise.  Down to
 * block[blocks - 1].y, (patches, P P U); up from block[blocks].x of that shape. */
void mot_unet_layout(struct mot_model *m, struct mot_carve *c);
void mot_unet_layout_host(struct mot_model *m, struct mot_carve *c);
enum { MOT_UNET_PRODUCTS = 5 };
int mot_unet_products(const struct mot_config *c, int64_t rows, int64_t pictures, struct mot_product p[MOT_UNET_PRODUCTS]);
double mot_unet_patch_flops(const struct mot_config *c);   /* forward, of a patch */
double mot_unet_picture_flops(const struct mot_config *c); /* and of a picture beside its patches */
void mot_unet_route(struct mot_model *m, const struct mot_batch *b);
void mot_unet_down(struct mot_model *m, const mot_act *pixels, const mot_act *time);
void mot_unet_up(struct mot_model *m, mot_act *told);
/* Gradients of what came up from block[blocks].x, in m->unet.d; and from there, of what went down, to dtime. */
void mot_unet_up_back(struct mot_model *m, const mot_act *dtold);
void mot_unet_down_back(struct mot_model *m, mot_act *dtime, const mot_act *pixels, const mot_act *time);
/* Row `row` of activations (N,width), of which only the backend knows the type. */
static inline mot_act *mot_rows_of(const struct mot_model *m, mot_act *a, int64_t row, int64_t width)
{
    return (mot_act *)(void *)((char *)a + (size_t)(row * width) * m->k->activation);
}
/* The residual stream that enters layer l; l = num_hidden_layers: the last. */
mot_act *mot_residual(const struct mot_model *m, int64_t l);

#endif
