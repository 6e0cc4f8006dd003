/* SPDX-License-Identifier: MIT
 *
 * cost.c - what a configuration costs by component and tower, from the shapes of its matrices alone.
 *
 * FLOPs are counted as 2 a multiply-add, over the matrices actually multiplied: projections by the tokens that
 * pass them, the head, and attention's two products over the pairs of query and key that the mask leaves.
 * Norms, activations, rotations, the embedding's look-up and recomputation in the backward pass count nothing.
 * The backward pass multiplies every matrix twice (for its input's gradient and its own), so it costs twice the
 * forward pass.  Every token passes one tower of each component, whatever their number: FLOPs a token are the dense
 * model's.
 */
#include <math.h>

#include "profile.h"

const char *const mot_cost_names[MOT_COSTS] = {
    "embed_tokens", "attn_norm", "attn_qkv", "qk_norm", "attention", "attn_o", "ffn_norm", "ffn", "final_norm", "lm_head",
    "patches",
};

/* Which entry a tensor's parameters count for. */
static enum mot_cost_part part_of(enum mot_weight w)
{
    switch (w) {
    case MOT_W_EMBED: return MOT_COST_EMBED;
    case MOT_W_Q: case MOT_W_K: case MOT_W_V: case MOT_W_Q_BIAS: case MOT_W_K_BIAS: case MOT_W_V_BIAS: return MOT_COST_QKV;
    case MOT_W_O: case MOT_W_O_BIAS: return MOT_COST_O;
    case MOT_W_GATE: case MOT_W_UP: case MOT_W_DOWN: return MOT_COST_FFN;
    case MOT_W_Q_NORM: case MOT_W_K_NORM: case MOT_W_Q_NORM_BIAS: case MOT_W_K_NORM_BIAS: return MOT_COST_QK_NORM;
    case MOT_W_ATTN_NORM: return MOT_COST_ATTN_NORM;
    case MOT_W_FFN_NORM: return MOT_COST_FFN_NORM;
    case MOT_W_FINAL_NORM: return MOT_COST_FINAL_NORM;
    case MOT_W_HEAD: return MOT_COST_HEAD;
    default: return MOT_COST_PATCHES;
    }
}

int mot_workload_settle(const struct mot_config *c, struct mot_workload *w)
{
    if (w->seq == 0)
        w->seq = c->max_position_embeddings < 4096 ? c->max_position_embeddings : 4096;
    if (w->batch == 0)
        w->batch = 8;
    if (w->document == 0 || w->document > w->seq)
        w->document = w->seq;
    if (w->batch < 1 || w->seq < 1 || w->document < 1)
        return mot_fail(MOT_EARG, "batch, seq and document must be at least 1");
    if (w->seq > c->max_position_embeddings)
        return mot_fail(MOT_EARG, "sequences of %lld tokens are longer than the config's max_position_embeddings, %lld",
                        (long long)w->seq, (long long)c->max_position_embeddings);
    if (w->batch > INT32_MAX / w->seq)
        return mot_fail(MOT_EARG, "a batch of %lld sequences of %lld tokens is more than 2^31 rows", (long long)w->batch,
                        (long long)w->seq);
    double sum = 0;
    for (int m = 0; m < c->n_modalities; m++) {
        if (!(w->mix[m] >= 0))
            return mot_fail(MOT_EARG, "a modality's share of the tokens cannot be %g", w->mix[m]);
        sum += w->mix[m];
    }
    for (int m = 0; m < c->n_modalities; m++)
        w->mix[m] = sum > 0 ? w->mix[m] / sum : 1.0 / c->n_modalities;
    return MOT_OK;
}

/* Pairs of query and key in one sequence: it is cut into documents, the last one being what is left. */
static double pairs_of(const struct mot_workload *w)
{
    double d = (double)w->document, rest = (double)(w->seq % w->document);
    return (double)(w->seq / w->document) * d * (d + 1) / 2 + rest * (rest + 1) / 2;
}

/* Forward FLOPs of one token, by component. */
static void count_flops(const struct mot_config *c, const struct mot_workload *w, struct mot_cost *cost)
{
    double layers = (double)c->num_hidden_layers, width = (double)c->hidden_size;
    double q = (double)(c->num_attention_heads * c->head_dim), kv = (double)(c->num_key_value_heads * c->head_dim);
    cost->forward[MOT_COST_QKV] = 2 * layers * width * (q + 2 * kv);
    cost->forward[MOT_COST_O] = 2 * layers * width * q;
    cost->forward[MOT_COST_FFN] = 2 * layers * width * 3 * (double)c->intermediate_size;
    /* Patches do not pass the head but their own projections; the embedding of a picture's level of noise, once a picture, is
     * left out here. */
    int vectors = mot_vectors_of(c);
    double patches = vectors < 0 ? 0 : w->mix[vectors];
    cost->forward[MOT_COST_HEAD] = 2 * width * (double)c->vocab_size * (1 - patches);
    if (vectors >= 0)
        cost->forward[MOT_COST_PATCHES] = mot_patch_flops(c) * patches;
    cost->forward[MOT_COST_ATTENTION] = 2 * 2 * layers * q * pairs_of(w) / (double)w->seq;
    cost->attention_full = 2 * 2 * layers * q * (double)w->seq;
    for (int i = 0; i < MOT_COSTS; i++)
        cost->forward_per_token += cost->forward[i];
    cost->train_per_token = 3 * cost->forward_per_token;
}

/* What a mixture of modalities spends in each tower's matrices; attention itself and the head belong to none. */
static void share_flops(const struct mot_config *c, const struct mot_workload *w, struct mot_cost *cost)
{
    static const struct {
        enum mot_component component;
        enum mot_cost_part part;
    } towered[] = {{MOT_ATTN_QKV, MOT_COST_QKV}, {MOT_ATTN_O, MOT_COST_O}, {MOT_FFN, MOT_COST_FFN}};
    cost->forward_shared = cost->forward[MOT_COST_ATTENTION] + cost->forward[MOT_COST_HEAD] +
                           cost->forward[MOT_COST_PATCHES];
    for (int i = 0; i < MOT_COUNT(towered); i++)
        for (int m = 0; m < c->n_modalities; m++)
            cost->forward_tower[c->tower_of[towered[i].component][m]] += w->mix[m] * cost->forward[towered[i].part];
}

static int count_params(const struct mot_config *c, struct mot_cost *cost)
{
    int rc = mot_config_size(c, &cost->size);
    struct mot_table t = {0};
    if (!rc)
        rc = mot_table_build(&t, c);
    for (int64_t i = 0; i < t.n && !rc; i++) {
        enum mot_cost_part part = part_of(t.tensor[i].weight);
        cost->params[part] += t.tensor[i].count;
        if (mot_tensor_serves(c, &t.tensor[i], 0))
            cost->params_active[part] += t.tensor[i].count;
    }
    mot_table_free(&t);
    return rc;
}

int mot_cost_of(const struct mot_config *c, struct mot_workload *w, struct mot_cost *cost)
{
    *cost = (struct mot_cost){0};
    int rc = mot_workload_settle(c, w);
    if (!rc)
        rc = count_params(c, cost);
    if (!rc) {
        count_flops(c, w, cost);
        share_flops(c, w, cost);
    }
    return rc;
}

/* ---- others' conventions ---- */

/* Each counts a training step as three forward passes.  T: the sequence's length, whatever its documents. */

/* "6 N + 6 L C T", N being all parameters a token uses: norms, biases and the input embedding too (llm.c's
 * gpt2_estimate_mfu).  A tied table counts once. */
static double llm_c(const struct mot_config *c, const struct mot_workload *w, const struct mot_cost *cost)
{
    return 6 * (double)cost->size.params_active +
           6 * (double)c->num_hidden_layers * (double)c->hidden_size * (double)w->seq;
}

/* "6 (N - N_embedding) + 12 L H D T": norms count, the input embedding does not unless it is the head too; attention over the
 * full square (torchtitan's get_dense_model_nparams_and_flops). */
static double torchtitan(const struct mot_config *c, const struct mot_workload *w, const struct mot_cost *cost)
{
    double n = (double)cost->size.params_active;
    if (!c->tie_word_embeddings)
        n -= (double)cost->params[MOT_COST_EMBED];
    return 6 * n + 12 * (double)c->num_hidden_layers * (double)(c->num_attention_heads * c->head_dim) * (double)w->seq;
}

/* Matrices alone, half of the square, the vocabulary rounded up to a multiple of 128 (Megatron-LM's
 * num_floating_point_operations with its default --make-vocab-size-divisible-by). */
static double megatron(const struct mot_config *c, const struct mot_workload *w, const struct mot_cost *cost)
{
    double half = 2 * (double)c->num_hidden_layers * (double)(c->num_attention_heads * c->head_dim) * (double)w->seq;
    double head = 2 * (double)c->hidden_size * (double)((c->vocab_size + 127) / 128 * 128);
    return 3 * (cost->forward[MOT_COST_QKV] + cost->forward[MOT_COST_O] + cost->forward[MOT_COST_FFN] + half + head);
}

static double exact(const struct mot_config *c, const struct mot_workload *w, const struct mot_cost *cost)
{
    (void)c, (void)w;
    return cost->train_per_token;
}

static const struct convention {
    struct mot_convention shown;
    double (*train_per_token)(const struct mot_config *c, const struct mot_workload *w, const struct mot_cost *cost);
} conventions[] = {
    {{"mot", "matrices by the tokens that pass them, head included; attention over the pairs of the mask"}, exact},
    {{"llm.c", "6 N + 6 L C T, N all active parameters"}, llm_c},
    {{"torchtitan", "6 (N - input embedding unless tied) + 12 L H D T, attention over the full square"}, torchtitan},
    {{"megatron", "matrices, vocabulary rounded up to 128; attention over half of the square"}, megatron},
};

const struct mot_convention *mot_flops_convention(int i)
{
    return i >= 0 && i < MOT_COUNT(conventions) ? &conventions[i].shown : NULL;
}

int mot_flops_by_convention(const char *name, const struct mot_config *c, const struct mot_workload *w,
                            const struct mot_cost *cost, double *train_per_token)
{
    for (int i = 0; i < MOT_COUNT(conventions); i++)
        if (strcmp(conventions[i].shown.name, name) == 0) {
            *train_per_token = conventions[i].train_per_token(c, w, cost);
            return MOT_OK;
        }
    return mot_fail(MOT_EARG, "there is no FLOPs convention \"%s\": mot, llm.c, torchtitan and megatron are known", name);
}

int mot_cost_memory(const struct mot_config *c, const struct mot_workload *w, const char *device, const char *dtype,
                    int threads, bool train, struct mot_memory *memory)
{
    const struct mot_kernels *k = mot_device_find(device, dtype);
    return k ? mot_model_plan(c, k, w->batch * w->seq, w->seq, train, w->recompute, threads, memory) : MOT_EDEVICE;
}
