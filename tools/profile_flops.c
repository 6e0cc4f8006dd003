/* SPDX-License-Identifier: MIT
 *
 * mot-profile flops: parameters, FLOPs and memory of a configuration, from its shapes alone.
 */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mot.h"
#include "profile.h"
#include "table.h"
#include "tool.h"
#include "tree.h"

enum { OPT_FORMAT = PROFILE_LONG, OPT_CONVENTION, OPT_FORWARD, OPT_DEVICE, OPT_DTYPE };

struct opts {
    struct profile_model model;
    struct mot_workload work;
    const char *mix, *convention, *device, *dtype;
    bool forward_only;
    int threads;
    enum table_format format;
};

/* All that is shown. */
struct facts {
    const struct opts *o;
    struct mot_config c;
    struct mot_cost cost;
    struct mot_memory memory;
    double forward, train; /* FLOPs of a token by the convention asked for */
    double tokens;         /* of a step */
};

static void usage(FILE *f)
{
    fputs("usage: mot-profile flops -c CONFIG [options]\n"
          "parameters, FLOPs and memory of a configuration, without weights and without running it\n" PROFILE_HELP_MODEL
          PROFILE_HELP_WORK
          "      --convention C      count as mot, llm.c, torchtitan or megatron does (mot)\n"
          "      --forward           memory of scoring alone, without training\n"
          "      --device D          for the memory: cpu or cuda (cpu)\n"
          "      --dtype T           for the memory: f32 or bf16 (f32)\n"
          "      --format F          " TABLE_FORMATS " (table)\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        PROFILE_OPTIONS_MODEL,
        PROFILE_OPTIONS_WORK,
        {"convention", required_argument, NULL, OPT_CONVENTION},
        {"forward", no_argument, NULL, OPT_FORWARD},
        {"device", required_argument, NULL, OPT_DEVICE},
        {"dtype", required_argument, NULL, OPT_DTYPE},
        {"format", required_argument, NULL, OPT_FORMAT},
        TOOL_THREADS_OPTION,
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    struct opts o = {.convention = "mot"};
    for (int c; (c = getopt_long(argc, argv, "c:t:" TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case OPT_CONVENTION: o.convention = optarg; break;
        case OPT_FORWARD: o.forward_only = true; break;
        case OPT_DEVICE: o.device = optarg; break;
        case OPT_DTYPE: o.dtype = optarg; break;
        case OPT_FORMAT: o.format = table_format(optarg); break;
        case OPT_THREADS: o.threads = (int)opt_int("--threads", optarg, 0, 4096); break;
        default:
            if (!profile_option(c, &o.model, &o.work, &o.mix))
                tool_option(c, usage);
        }
    profile_operand(argc, argv, &o.model);
    return o;
}

static struct facts find(struct opts *o)
{
    struct facts x = {.o = o};
    struct mot_vocab ignored;
    profile_config(&o->model, &x.c, &ignored);
    profile_mix(o->mix, &x.c, &o->work);
    if (mot_cost_of(&x.c, &o->work, &x.cost) ||
        mot_flops_by_convention(o->convention, &x.c, &o->work, &x.cost, &x.train) ||
        mot_cost_memory(&x.c, &o->work, o->device, o->dtype, o->threads, !o->forward_only, &x.memory))
        die_lib(NULL);
    x.forward = x.train / 3;
    x.tokens = (double)(o->work.batch * o->work.seq);
    return x;
}

/* ---- for programs ---- */

static void tree_memory(struct tree *t, const struct mot_memory *m)
{
    tree_open(t, "memory");
    tree_number(t, "weights", (double)m->weights);
    tree_number(t, "gradients", (double)m->gradients);
    tree_number(t, "optimizer", (double)m->optimizer);
    tree_number(t, "activations", (double)m->activations);
    tree_number(t, "workspace", (double)m->workspace);
    tree_number(t, "context", (double)m->context);
    tree_number(t, "total", (double)mot_memory_total(m));
    tree_close(t);
}

static void tree_flops(struct tree *t, double forward_per_token, double tokens)
{
    tree_number(t, "forward_flops_per_token", forward_per_token);
    tree_number(t, "backward_flops_per_token", 2 * forward_per_token);
    tree_number(t, "train_flops_per_step", 3 * forward_per_token * tokens);
}

static void print_tree(const struct facts *x, bool json)
{
    const struct mot_cost *cost = &x->cost;
    struct tree t = tree_begin(stdout, json);
    tree_word(&t, "config", x->o->model.config);
    tree_word(&t, "convention", x->o->convention);
    tree_number(&t, "vocab_size", (double)x->c.vocab_size);
    tree_number(&t, "batch", (double)x->o->work.batch);
    tree_number(&t, "seq", (double)x->o->work.seq);
    tree_number(&t, "document", (double)x->o->work.document);
    tree_number(&t, "params_total", (double)cost->size.params_total);
    tree_number(&t, "params_active", (double)cost->size.params_active);
    tree_number(&t, "params_embedding", (double)cost->size.params_embedding);
    tree_number(&t, "params_matrices", (double)cost->size.params_matrices);
    tree_number(&t, "forward_flops_per_token", x->forward);
    tree_number(&t, "train_flops_per_token", x->train);
    tree_number(&t, "attention_flops_per_token", cost->forward[MOT_COST_ATTENTION]);
    tree_number(&t, "attention_flops_per_token_full_square", cost->attention_full);
    tree_number(&t, "tokens_per_step", x->tokens);
    tree_number(&t, "forward_flops_per_step", x->forward * x->tokens);
    tree_number(&t, "train_flops_per_step", x->train * x->tokens);
    tree_open(&t, "modalities");
    for (int m = 0; m < x->c.n_modalities; m++)
        tree_number(&t, x->c.modality[m], x->o->work.mix[m]);
    tree_close(&t);
    tree_open(&t, "towers");
    for (int i = 0; i < x->c.n_towers; i++) {
        tree_open(&t, x->c.tower[i]);
        tree_number(&t, "params", (double)cost->size.params_tower[i]);
        tree_flops(&t, cost->forward_tower[i], x->tokens);
        tree_close(&t);
    }
    tree_close(&t);
    tree_open(&t, "shared");
    tree_number(&t, "params", (double)cost->size.params_embedding);
    tree_flops(&t, cost->forward_shared, x->tokens);
    tree_close(&t);
    tree_open(&t, "components");
    for (int i = 0; i < MOT_COSTS; i++) {
        tree_open(&t, mot_cost_names[i]);
        tree_number(&t, "params", (double)cost->params[i]);
        tree_number(&t, "params_active", (double)cost->params_active[i]);
        tree_flops(&t, cost->forward[i], x->tokens);
        tree_close(&t);
    }
    tree_close(&t);
    tree_open(&t, "conventions");
    const struct mot_convention *k;
    for (int i = 0; (k = mot_flops_convention(i)); i++) {
        double train;
        if (mot_flops_by_convention(k->name, &x->c, &x->o->work, cost, &train))
            die_lib(NULL);
        tree_number(&t, k->name, train);
    }
    tree_close(&t);
    tree_memory(&t, &x->memory);
    tree_end(&t);
}

/* ---- for people ---- */

static void table_components(const struct facts *x)
{
    static const char *const columns[] = {"component", "params", "active", "forward/token", "backward/token",
                                          "train/step", "share", NULL};
    struct table t = table_new(columns);
    const struct mot_cost *cost = &x->cost;
    double params = 0, active = 0;
    for (int i = 0; i <= MOT_COSTS; i++) {
        double forward = i < MOT_COSTS ? cost->forward[i] : cost->forward_per_token;
        if (i < MOT_COSTS && cost->params[i] == 0 && forward == 0)
            continue;
        params += i < MOT_COSTS ? (double)cost->params[i] : 0;
        active += i < MOT_COSTS ? (double)cost->params_active[i] : 0;
        table_word(&t, i < MOT_COSTS ? mot_cost_names[i] : "all");
        table_amount(&t, i < MOT_COSTS ? (double)cost->params[i] : params);
        table_amount(&t, i < MOT_COSTS ? (double)cost->params_active[i] : active);
        table_amount(&t, forward);
        table_amount(&t, 2 * forward);
        table_amount(&t, 3 * forward * x->tokens);
        table_number(&t, forward / cost->forward_per_token, "%.1f %%", 100 * forward / cost->forward_per_token);
    }
    table_print(stdout, &t, x->o->format);
    table_free(&t);
}

static void table_towers(const struct facts *x)
{
    static const char *const columns[] = {"tower", "params", "train/token", "train/step", "share", NULL};
    struct table t = table_new(columns);
    const struct mot_cost *cost = &x->cost;
    for (int i = 0; i <= x->c.n_towers; i++) {
        bool shared = i == x->c.n_towers;
        double forward = shared ? cost->forward_shared : cost->forward_tower[i];
        table_word(&t, shared ? "(attention, embedding and head)" : x->c.tower[i]);
        table_amount(&t, (double)(shared ? cost->size.params_embedding : cost->size.params_tower[i]));
        table_amount(&t, 3 * forward);
        table_amount(&t, 3 * forward * x->tokens);
        table_number(&t, forward / cost->forward_per_token, "%.1f %%", 100 * forward / cost->forward_per_token);
    }
    table_print(stdout, &t, x->o->format);
    table_free(&t);
}

static void table_conventions(const struct facts *x)
{
    static const char *const columns[] = {"convention", "train/token", "train/step", "of exact", "formula", NULL};
    struct table t = table_new(columns);
    const struct mot_convention *k;
    for (int i = 0; (k = mot_flops_convention(i)); i++) {
        double train, exact = x->cost.train_per_token;
        if (mot_flops_by_convention(k->name, &x->c, &x->o->work, &x->cost, &train))
            die_lib(NULL);
        char name[48];
        snprintf(name, sizeof name, "%s%s", k->name, strcmp(k->name, x->o->convention) == 0 ? " *" : "");
        table_word(&t, name);
        table_amount(&t, train);
        table_amount(&t, train * x->tokens);
        table_number(&t, train / exact, "%.3f", train / exact);
        table_word(&t, k->formula);
    }
    table_print(stdout, &t, x->o->format);
    table_free(&t);
}

static void table_memory(const struct facts *x)
{
    static const char *const columns[] = {"memory", "bytes", "share", NULL};
    const struct mot_memory *m = &x->memory;
    const struct {
        const char *name;
        size_t bytes;
    } rows[] = {{"weights", m->weights}, {"gradients", m->gradients}, {"optimizer", m->optimizer},
                {"activations", m->activations}, {"workspace", m->workspace}, {"context", m->context}};
    struct table t = table_new(columns);
    double all = (double)mot_memory_total(m);
    enum { ROWS = sizeof rows / sizeof rows[0] };
    for (int i = 0; i <= ROWS; i++) {
        double bytes = i < ROWS ? (double)rows[i].bytes : all;
        table_word(&t, i < ROWS ? rows[i].name : "all");
        table_amount(&t, bytes);
        table_number(&t, bytes / all, "%.1f %%", 100 * bytes / all);
    }
    table_print(stdout, &t, x->o->format);
    table_free(&t);
}

static void print_tables(const struct facts *x)
{
    const struct mot_config *c = &x->c;
    const struct mot_workload *w = &x->o->work;
    printf("%s: %lld layers, hidden %lld, %lld heads of %lld (%lld for keys and values), FFN %lld, vocabulary %lld\n",
           x->o->model.config, (long long)c->num_hidden_layers, (long long)c->hidden_size, (long long)c->num_attention_heads,
           (long long)c->head_dim, (long long)c->num_key_value_heads, (long long)c->intermediate_size,
           (long long)c->vocab_size);
    printf("a step: %lld sequences of %lld tokens, documents of %lld; mix", (long long)w->batch, (long long)w->seq,
           (long long)w->document);
    for (int m = 0; m < c->n_modalities; m++)
        printf("%s %s %.3g", m ? "," : "", c->modality[m], w->mix[m]);
    printf("\n\n");
    table_components(x);
    printf("\nattention is counted over the pairs of query and key that the mask leaves; over the full square it would be\n"
           "%.0f FLOPs a token in the forward pass instead of %.0f\n\n",
           x->cost.attention_full, x->cost.forward[MOT_COST_ATTENTION]);
    table_towers(x);
    putchar('\n');
    table_conventions(x);
    printf("* counted so: %.0f FLOPs a token forward, %.0f in training, %.6g a step\n\n", x->forward, x->train,
           x->train * x->tokens);
    table_memory(x);
}

int profile_flops(int argc, char **argv)
{
    struct opts o = parse(argc, argv);
    struct facts x = find(&o);
    if (o.format == TABLE_JSON || o.format == TABLE_JSONL)
        print_tree(&x, true);
    else if (o.format == TABLE_TSV)
        print_tree(&x, false);
    else
        print_tables(&x);
    return tool_finish();
}
