/* SPDX-License-Identifier: MIT
 *
 * scale.c - a training on N devices, on paper: the time of a step and its parts, tokens a second, memory of a rank.
 *
 * N devices hold the same model and take a batch each (data parallelism); gradients are added up over all.  What they need
 * not hold twice is sharded as in ZeRO (Rajbhandari et al. 2020): the optimizer's state, gradients too, weights too.
 *
 *   gemm      = FLOPs of a device's batch (cost.c: three forward passes) / its rate in matrix products
 *   passes    = bytes that everything else reads and writes / its memory bandwidth, none of it under the products:
 *               a token, in values: layers (16 C + 4 (H + 2 K) D + 11 F) + 11 C
 *                 two norms 12 C and the residuals 4 C; rotation of q, k, v; SwiGLU forward, again, and backward; embedding
 *                 and last norm
 *               an updated parameter, in bytes: 36 in f32, 30 in bf16: the gradient's norm, and AdamW on weight, gradient,
 *                 two moments (f32), and a master copy of the weight (f32, with bf16)
 *   sent      = bytes over the link by one rank, ring algorithms, G and W being the bytes of all gradients and weights:
 *               nothing sharded     2 (N-1)/N G          all-reduce
 *               optimizer           (N-1)/N (G + W)      reduce-scatter of gradients, all-gather of the new weights
 *               gradients too       (N-1)/N (G + W)      the same, as gradients appear
 *               weights too         (N-1)/N (G + 2 W)    all-gather before the forward and again before the backward pass
 *   communication = sent / link + latency x (N-1) messages x collectives, one or two or three a layer as above, and
 *               embedding and head counting as one layer more
 *   hidden    = min(overlap x communication, gemm + passes without the update)
 *   step      = gemm + passes + communication - hidden
 *
 * All towers' gradients travel, whichever the tokens passed: a MoT sends more than its dense twin at equal FLOPs.
 * Bytes of a parameter: f32 4 weight, 4 gradient, 8 optimizer; bf16 2, 2, 12 (with the f32 master copy).
 * Activations are those of this library's kernels in f32 (mot_cost_memory), half of it in bf16.  Where weights are sharded,
 * two layers' (or the larger of embedding and head) are gathered at a time: `gathered`.
 */
#include "profile.h"

static bool positive(double x)
{
    return x > 0 && x < 1e300;
}

static int check(const struct mot_cluster *k)
{
    if (k->devices < 1)
        return mot_fail(MOT_EARG, "a training needs at least one device, not %lld", (long long)k->devices);
    if (!positive(k->gemm) || !positive(k->memory))
        return mot_fail(MOT_EARG, "the rates of matrix products and of memory must be positive numbers");
    if (k->devices > 1 && !positive(k->link))
        return mot_fail(MOT_EARG, "%lld devices need a link with a rate", (long long)k->devices);
    if (!(k->latency >= 0) || !(k->overlap >= 0 && k->overlap <= 1))
        return mot_fail(MOT_EARG, "a latency is at least 0, and an overlap from 0 to 1");
    return MOT_OK;
}

/* Values read and written for one token by all that is no matrix product. */
static double passed_values(const struct mot_config *c)
{
    double width = (double)c->hidden_size, ffn = (double)c->intermediate_size;
    double qkv = (double)((c->num_attention_heads + 2 * c->num_key_value_heads) * c->head_dim);
    return (double)c->num_hidden_layers * (16 * width + 4 * qkv + 11 * ffn) + 11 * width;
}

/* What of `bytes` one rank holds when it is sharded from `level` on. */
static double held(const struct mot_cluster *k, enum mot_sharding level, double bytes)
{
    return k->sharding >= level ? bytes / (double)k->devices : bytes;
}

static int find_memory(const struct mot_config *c, const struct mot_workload *w, const struct mot_cluster *k,
                       const struct mot_cost *cost, struct mot_forecast *f)
{
    struct mot_memory m;
    int rc = mot_cost_memory(c, w, NULL, NULL, 0, true, &m);
    if (rc)
        return rc;
    /* The plan is in f32: 4 bytes a value. */
    double values = (double)m.weights / 4, bytes = k->bf16 ? 2 : 4;
    f->weights = held(k, MOT_SHARD_WEIGHTS, bytes * values);
    f->gradients = held(k, MOT_SHARD_GRADIENTS, bytes * values);
    f->optimizer = held(k, MOT_SHARD_OPTIMIZER, (k->bf16 ? 12 : 8) * values);
    f->activations = (double)m.activations * bytes / 4;
    f->workspace = (double)m.workspace * bytes / 4;
    double layer = (double)(cost->size.params_total - cost->size.params_embedding) / (double)c->num_hidden_layers;
    double table = (double)(c->hidden_size * c->vocab_size);
    if (k->sharding >= MOT_SHARD_WEIGHTS && k->devices > 1)
        f->gathered = bytes * (2 * layer > table ? 2 * layer : table);
    f->memory = f->weights + f->gradients + f->optimizer + f->activations + f->workspace + f->gathered;
    return MOT_OK;
}

static void find_communication(const struct mot_config *c, const struct mot_cluster *k, const struct mot_cost *cost,
                               struct mot_forecast *f)
{
    /* How often all gradients and all weights go around the ring. */
    static const struct {
        double gradients, weights;
    } rounds[] = {[MOT_REPLICATED] = {2, 0}, [MOT_SHARD_OPTIMIZER] = {1, 1}, [MOT_SHARD_GRADIENTS] = {1, 1},
                  [MOT_SHARD_WEIGHTS] = {1, 2}};
    double n = (double)k->devices, times = rounds[k->sharding].gradients + rounds[k->sharding].weights;
    double bytes = (k->bf16 ? 2 : 4) * (double)cost->size.params_total;
    if (k->devices == 1)
        return;
    f->sent = (n - 1) / n * times * bytes;
    f->communication = f->sent / k->link + k->latency * (n - 1) * times * (double)(c->num_hidden_layers + 1);
}

int mot_scale(const struct mot_config *c, struct mot_workload *w, const struct mot_cluster *k, struct mot_forecast *f)
{
    *f = (struct mot_forecast){0};
    struct mot_cost cost;
    int rc = check(k);
    if (!rc)
        rc = mot_cost_of(c, w, &cost);
    if (!rc)
        rc = find_memory(c, w, k, &cost, f);
    if (rc)
        return rc;
    double tokens = (double)(w->batch * w->seq), flops = cost.train_per_token * tokens;
    double layers = (k->bf16 ? 2 : 4) * tokens * passed_values(c);
    double update = held(k, MOT_SHARD_OPTIMIZER, (k->bf16 ? 30 : 36) * (double)cost.size.params_total);
    f->gemm = flops / k->gemm;
    f->passes = (layers + update) / k->memory;
    find_communication(c, k, &cost, f);
    double room = f->gemm + layers / k->memory, wanted = k->overlap * f->communication;
    f->hidden = wanted < room ? wanted : room;
    f->step = f->gemm + f->passes + f->communication - f->hidden;
    f->tokens_per_second = tokens * (double)k->devices / f->step;
    f->utilization = flops / f->step / k->gemm;
    return MOT_OK;
}
