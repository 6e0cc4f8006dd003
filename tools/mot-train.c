/* SPDX-License-Identifier: MIT
 *
 * mot-train: train a dense or Mixture-of-Transformers model on shards.  See mot-train(1).
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mot.h"
#include "tool.h"

enum {
    OPT_ARCH = OPT_LONG, OPT_STEPS, OPT_BATCH, OPT_SEQ, OPT_LR, OPT_MIN_LR, OPT_WARMUP, OPT_SCHEDULE, OPT_DECAY,
    OPT_CLIP, OPT_BETA1, OPT_BETA2, OPT_EPS, OPT_ACCUMULATE, OPT_SHUFFLE, OPT_VAL, OPT_VAL_EVERY, OPT_SAVE_EVERY,
    OPT_OBJECTIVE, OPT_UNET, OPT_NOISE_LIMIT, OPT_DROP, OPT_INIT, OPT_FREEZE, OPT_LR_SCALE, OPT_DEVICE,
    OPT_DTYPE, OPT_RESUME, OPT_RECOMPUTE, OPT_DRY_RUN, OPT_PRESETS, OPT_SEED,
};

enum { MAX_PATTERNS = 256 };

struct opts {
    struct mot_train_options train;
    struct mot_pattern pattern[MAX_PATTERNS];
    long long val_every, save_every;
    bool dry_run, min_lr_given;
};

static void usage(FILE *f)
{
    fputs("usage: mot-train -c CONFIG -t TOK -o RUN [options] SHARD...|-\n"
          "       mot-train --resume -o RUN [options] SHARD...|-\n"
          "       mot-train --presets\n"
          "train a dense or Mixture-of-Transformers model; one JSON object a step on stdout and in RUN/log.jsonl\n"
          "  -c, --config CONFIG     preset, config.json or model folder\n"
          "  -t, --tokenizer TOK     tokenizer folder; its files travel into RUN\n"
          "  -o, --output RUN        folder to write: a model folder at every save\n"
          "      --arch A            dense (one tower) or mot (a tower a modality); default: as CONFIG says\n"
          "      --steps N           steps to do in all; default: one pass over the shards; 0: write RUN and stop\n"
          "      --batch N           sequences a batch (8)\n"
          "      --seq N             tokens a sequence (256)\n"
          "      --accumulate N      batches a step (1)\n"
          "      --lr X              peak learning rate (0.001)\n"
          "      --min-lr X          learning rate at the end (a tenth of --lr)\n"
          "      --warmup N          steps of linear warm-up (0)\n"
          "      --schedule S        cosine, linear or constant (cosine)\n"
          "      --weight-decay X    of matrices (0.1)\n"
          "      --clip X            largest global gradient norm; 0: no clipping (1)\n"
          "      --beta1 X --beta2 X --eps X    of AdamW (0.9, 0.95, 1e-8)\n"
          "      --shuffle N         tokens in the shuffling buffer; 0: the shards' order (16M)\n"
          "      --val SHARD         validate on this shard ...\n"
          "      --val-every N       ... every N steps and at the end (100)\n"
          "      --save-every N      save every N steps and at the end (1000); 0: at the end only\n"
          "      --objective O       of pictures of vectors: ddpm or flow (as CONFIG says; ddpm)\n"
          "      --unet N[,BLOCKS]   put a U-Net of N channels around such pictures; 0: none (as the preset)\n"
          "      --noise-limit X     most noise, of 1, in pictures before their captions (0.5)\n"
          "      --drop X            share of pictures that are shown without what comes before, for guidance (0.1)\n"
          "      --init FOLDER       start from a model folder's weights\n"
          "      --freeze GLOB       do not train tensors with such names (again and again)\n"
          "      --lr-scale GLOB=X   multiply their learning rate by X\n"
          "      --resume            go on with RUN, bit for bit\n"
          "      --recompute L       keep less for the backward pass: none, light (norms) or block (none)\n"
          "      --dry-run           print parameters, memory and FLOPs, and stop\n"
          "      --presets           list the presets and stop\n"
          "      --device D          cpu, or cuda: an NVIDIA GPU (cpu)\n"
          "      --dtype T           operands of matrix products: f32, or bf16 where the device multiplies it (f32)\n"
          "      --seed N            of weights and data order (0)\n" TOOL_HELP_THREADS TOOL_HELP,
          f);
}

static enum mot_schedule schedule(const char *s)
{
    static const char *const names[] = {"cosine", "linear", "constant"};
    for (int i = 0; i < 3; i++)
        if (strcmp(s, names[i]) == 0)
            return (enum mot_schedule)i;
    die_usage("--schedule %s: expected cosine, linear or constant", s);
}

static const char *objective(const char *s)
{
    if (strcmp(s, "ddpm") != 0 && strcmp(s, "flow") != 0)
        die_usage("--objective %s: expected ddpm or flow", s);
    return s;
}

static const char *arch(const char *s)
{
    if (strcmp(s, "dense") != 0 && strcmp(s, "mot") != 0)
        die_usage("--arch %s: expected dense or mot", s);
    return s;
}

static void add_pattern(struct opts *o, const char *glob, double value)
{
    if (o->train.n_patterns == MAX_PATTERNS)
        die_usage("more than %d --freeze and --lr-scale patterns", MAX_PATTERNS);
    o->pattern[o->train.n_patterns++] = (struct mot_pattern){glob, value};
}

static void scale_pattern(struct opts *o, char *arg)
{
    char *equals = strrchr(arg, '=');
    if (!equals)
        die_usage("--lr-scale %s: expected GLOB=X", arg);
    *equals = 0;
    add_pattern(o, arg, opt_real("--lr-scale", equals + 1, 0, 1e6));
}

/* Name, shape, and parameters of the dense model and of the MoT with a tower a modality; last what the paper's tables
 * print: the dense model without its norms. */
static void list_presets(void)
{
    puts("name\tlayers\thidden\theads\tffn\tmodalities\tparams_dense\tparams_mot\tmatrices_dense");
    for (const char *const *name = mot_preset_names(); *name; name++) {
        struct mot_config dense, mot;
        struct mot_size sd, sm;
        if (mot_config_load(&dense, *name) || mot_config_load(&mot, *name) ||
            mot_config_settle(&dense, *name, NULL, "dense") || mot_config_settle(&mot, *name, NULL, "mot") ||
            mot_config_size(&dense, &sd) || mot_config_size(&mot, &sm))
            die_lib(NULL);
        printf("%s\t%lld\t%lld\t%lld\t%lld\t", *name, (long long)dense.num_hidden_layers,
               (long long)dense.hidden_size, (long long)dense.num_attention_heads, (long long)dense.intermediate_size);
        for (int m = 0; m < mot.n_modalities; m++)
            printf("%s%s", m ? "," : "", mot.modality[m]);
        printf("\t%lld\t%lld\t%lld\n", (long long)sd.params_total, (long long)sm.params_total,
               (long long)sd.params_matrices);
    }
}

static const struct option longopts[] = {
    {"config", required_argument, NULL, 'c'},
    {"tokenizer", required_argument, NULL, 't'},
    {"output", required_argument, NULL, 'o'},
    {"arch", required_argument, NULL, OPT_ARCH},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"seq", required_argument, NULL, OPT_SEQ},
    {"lr", required_argument, NULL, OPT_LR},
    {"min-lr", required_argument, NULL, OPT_MIN_LR},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"schedule", required_argument, NULL, OPT_SCHEDULE},
    {"weight-decay", required_argument, NULL, OPT_DECAY},
    {"clip", required_argument, NULL, OPT_CLIP},
    {"beta1", required_argument, NULL, OPT_BETA1},
    {"beta2", required_argument, NULL, OPT_BETA2},
    {"eps", required_argument, NULL, OPT_EPS},
    {"accumulate", required_argument, NULL, OPT_ACCUMULATE},
    {"shuffle", required_argument, NULL, OPT_SHUFFLE},
    {"val", required_argument, NULL, OPT_VAL},
    {"val-every", required_argument, NULL, OPT_VAL_EVERY},
    {"save-every", required_argument, NULL, OPT_SAVE_EVERY},
    {"objective", required_argument, NULL, OPT_OBJECTIVE},
    {"unet", required_argument, NULL, OPT_UNET},
    {"noise-limit", required_argument, NULL, OPT_NOISE_LIMIT},
    {"drop", required_argument, NULL, OPT_DROP},
    {"init", required_argument, NULL, OPT_INIT},
    {"freeze", required_argument, NULL, OPT_FREEZE},
    {"lr-scale", required_argument, NULL, OPT_LR_SCALE},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"dtype", required_argument, NULL, OPT_DTYPE},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"recompute", required_argument, NULL, OPT_RECOMPUTE},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"presets", no_argument, NULL, OPT_PRESETS},
    {"seed", required_argument, NULL, OPT_SEED},
    TOOL_THREADS_OPTION,
    TOOL_OPTIONS,
    {NULL, 0, NULL, 0},
};

static struct opts parse(int argc, char **argv)
{
    struct opts o = {
        .train = {.steps = -1, .batch = 8, .seq = 256, .accumulate = 1, .shuffle = 16 << 20, .lr = 1e-3,
                  .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1,
                  .noise_limit = MOT_NOISE_LIMIT, .drop = MOT_DROP, .device = "cpu",
                  .dtype = "f32"},
        .val_every = 100,
        .save_every = 1000,
    };
    struct mot_train_options *t = &o.train;
    for (int c; (c = getopt_long(argc, argv, "c:t:o:" TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case 'c': t->config = optarg; break;
        case 't': t->tokenizer = optarg; break;
        case 'o': t->run = optarg; break;
        case OPT_ARCH: t->arch = arch(optarg); break;
        case OPT_STEPS: t->steps = opt_int("--steps", optarg, 0, INT64_MAX / 2); break;
        case OPT_BATCH: t->batch = opt_int("--batch", optarg, 1, 1 << 24); break;
        case OPT_SEQ: t->seq = opt_int("--seq", optarg, 1, 1 << 24); break;
        case OPT_LR: t->lr = opt_real("--lr", optarg, 0, 1e6); break;
        case OPT_MIN_LR: t->min_lr = opt_real("--min-lr", optarg, 0, 1e6), o.min_lr_given = true; break;
        case OPT_WARMUP: t->warmup = opt_int("--warmup", optarg, 0, INT64_MAX / 2); break;
        case OPT_SCHEDULE: t->schedule = schedule(optarg); break;
        case OPT_DECAY: t->weight_decay = opt_real("--weight-decay", optarg, 0, 1e6); break;
        case OPT_CLIP: t->clip = opt_real("--clip", optarg, 0, 1e30); break;
        case OPT_BETA1: t->beta1 = opt_real("--beta1", optarg, 0, 0.9999999); break;
        case OPT_BETA2: t->beta2 = opt_real("--beta2", optarg, 0, 0.9999999); break;
        case OPT_EPS: t->eps = opt_real("--eps", optarg, 0, 1); break;
        case OPT_ACCUMULATE: t->accumulate = opt_int("--accumulate", optarg, 1, 1 << 20); break;
        case OPT_SHUFFLE: t->shuffle = opt_size("--shuffle", optarg, 0, INT64_MAX / 8); break;
        case OPT_VAL: t->validation = optarg; break;
        case OPT_VAL_EVERY: o.val_every = opt_int("--val-every", optarg, 1, INT64_MAX / 2); break;
        case OPT_SAVE_EVERY: o.save_every = opt_int("--save-every", optarg, 0, INT64_MAX / 2); break;
        case OPT_OBJECTIVE: t->objective = objective(optarg); break;
        case OPT_UNET: t->unet = optarg; break;
        case OPT_NOISE_LIMIT: t->noise_limit = opt_real("--noise-limit", optarg, 0, 1); break;
        case OPT_DROP: t->drop = opt_real("--drop", optarg, 0, 1); break;
        case OPT_INIT: t->init = optarg; break;
        case OPT_FREEZE: add_pattern(&o, optarg, 0); break;
        case OPT_LR_SCALE: scale_pattern(&o, optarg); break;
        case OPT_DEVICE: t->device = optarg; break;
        case OPT_DTYPE: t->dtype = optarg; break;
        case OPT_RESUME: t->resume = true; break;
        case OPT_RECOMPUTE:
            if (mot_recompute_find(optarg, &t->recompute))
                die_usage("--recompute %s", mot_error());
            break;
        case OPT_DRY_RUN: o.dry_run = true; break;
        case OPT_PRESETS: list_presets(); exit(tool_finish());
        case OPT_SEED: t->seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
        case OPT_THREADS: t->threads = (int)opt_int("--threads", optarg, 0, 4096); break;
        default: tool_option(c, usage);
        }
    t->shards = (const char *const *)argv + optind;
    t->n_shards = argc - optind;
    t->patterns = o.pattern;
    if (!o.min_lr_given)
        t->min_lr = t->lr / 10;
    if (!t->run && !o.dry_run)
        die_usage("no folder to write: give -o RUN");
    if (t->n_shards == 0 && t->steps != 0 && !o.dry_run)
        die_usage("no shard given (- is standard input)");
    return o;
}

/* ---- reports ---- */

static void number(FILE *f, const char *key, double x)
{
    if (isfinite(x))
        fprintf(f, ",\"%s\":%.9g", key, x);
    else
        fprintf(f, ",\"%s\":null", key);
}

static void named(FILE *f, const char *stem, const char *name, double x)
{
    char key[2 * MOT_NAME_BYTES];
    snprintf(key, sizeof key, "%s_%s", stem, name);
    number(f, key, x);
}

/* One step as a JSON object, in a string that the caller frees. */
static char *step_line(const struct mot_config *c, const struct mot_step *s, const struct mot_losses *val)
{
    char *line = NULL;
    size_t n;
    FILE *f = open_memstream(&line, &n);
    if (!f)
        die("out of memory");
    fprintf(f, "{\"step\":%lld,\"tokens\":%lld,\"flops\":%.17g,\"seconds\":%.6f,\"lr\":%.9g", (long long)s->step,
            (long long)s->tokens, s->flops, s->seconds, s->lr);
    number(f, "grad_norm", s->grad_norm);
    number(f, "loss", s->loss);
    if (c->z_loss > 0)
        number(f, "z_loss", s->z_loss);
    for (int m = 0; m < c->n_modalities; m++)
        named(f, "loss", c->modality[m], s->loss_modality[m]);
    for (int t = 0; t < c->n_towers; t++)
        named(f, "grad_norm", c->tower[t], s->grad_norm_tower[t]);
    number(f, "grad_norm_shared", s->grad_norm_shared);
    if (val) {
        number(f, "val_loss", val->all);
        for (int m = 0; m < c->n_modalities; m++)
            named(f, "val_loss", c->modality[m], val->modality[m]);
    }
    fputc('}', f);
    if (fclose(f) != 0)
        die("out of memory");
    return line;
}

static void dry_run(const struct opts *o)
{
    struct mot_config c;
    struct mot_size size;
    struct mot_memory m;
    double flops, recomputed;
    if (mot_trainer_plan(&o->train, &c, &size, &m, &flops, &recomputed))
        die_lib(NULL);
    printf("params_total\t%lld\nparams_active\t%lld\nparams_embedding\t%lld\n", (long long)size.params_total,
           (long long)size.params_active, (long long)size.params_embedding);
    for (int t = 0; t < c.n_towers; t++)
        printf("params_tower_%s\t%lld\n", c.tower[t], (long long)size.params_tower[t]);
    printf("bytes_weights\t%zu\nbytes_gradients\t%zu\nbytes_optimizer\t%zu\nbytes_activations\t%zu\n"
           "bytes_workspace\t%zu\nbytes_context\t%zu\nbytes_total\t%zu\n",
           m.weights, m.gradients, m.optimizer, m.activations, m.workspace, m.context, mot_memory_total(&m));
    printf("tokens_per_step\t%lld\nflops_per_step\t%.17g\nflops_recomputed_per_step\t%.17g\n",
           (long long)(o->train.batch * o->train.seq * o->train.accumulate), flops, recomputed);
}

/* ---- the work ---- */

static void save(struct mot_trainer *t)
{
    if (mot_trainer_save(t))
        die_lib(NULL);
}

/* Stop at the next step's end, saved; then die of the signal, as a shell expects. */
static void stop_interrupted(struct mot_trainer *t, const struct opts *o)
{
    save(t);
    warn("interrupted at step %lld, saved; --resume -o %s goes on", (long long)mot_trainer_current(t), o->train.run);
    mot_trainer_close(t);
    fflush(stdout);
    raise(tool_interrupted()); /* the second time it kills */
}

/* No step could be made: what was done since the last save is saved, unless it is what failed. */
static noreturn void stop_failed(struct mot_trainer *t, int rc, int64_t saved)
{
    bool data = rc == MOT_EIO || rc == MOT_EFORMAT || rc == MOT_ECORRUPT || rc == MOT_EVERSION;
    char reason[2048];
    snprintf(reason, sizeof reason, "%s", mot_error());
    if (!data || mot_trainer_current(t) <= saved)
        die("%s", reason);
    save(t);
    die("%s; step %lld is saved", reason, (long long)mot_trainer_current(t));
}

static void report(struct mot_trainer *t, const struct mot_step *s, const struct mot_losses *val)
{
    char *line = step_line(mot_trainer_config(t), s, val);
    if (mot_trainer_log(t, line))
        die_lib(NULL);
    if (puts(line) == EOF || fflush(stdout) != 0) {
        int reason = errno;
        save(t);
        die("standard output: cannot write: %s; step %lld is saved", strerror(reason), (long long)s->step);
    }
    free(line);
}

static void train(const struct opts *o)
{
    struct mot_trainer *t = mot_trainer_open(&o->train);
    if (!t)
        die_lib(NULL);
    for (const char *n; (n = mot_trainer_notice(t));)
        warn("%s", n);
    int64_t steps = mot_trainer_steps(t), begun = mot_trainer_current(t), saved = -1;
    struct tool_progress p = tool_progress_start("training", "steps", (double)begun);
    for (bool done = begun >= steps; !done;) {
        struct mot_step s;
        struct mot_losses val;
        int rc = mot_trainer_step(t, &s, &done);
        if (rc) {
            tool_progress_end(&p);
            stop_failed(t, rc, saved > begun ? saved : begun);
        }
        if (done) {
            warn("the data ended after %lld of %lld steps", (long long)mot_trainer_current(t), (long long)steps);
            break;
        }
        bool last = s.step == steps;
        bool validate = o->train.validation && (last || s.step % o->val_every == 0);
        if (validate && mot_trainer_validate(t, &val))
            die_lib(NULL);
        report(t, &s, validate ? &val : NULL);
        if (last || (o->save_every && s.step % o->save_every == 0)) {
            save(t);
            saved = s.step;
        }
        tool_progress_show(&p, (double)s.step, (double)steps, "loss %.4f", s.loss);
        if (tool_interrupted())
            stop_interrupted(t, o);
        done = last;
    }
    tool_progress_end(&p);
    if (saved != mot_trainer_current(t))
        save(t);
    mot_trainer_close(t);
}

int main(int argc, char **argv)
{
    tool_start("mot-train", argv);
    struct opts o = parse(argc, argv);
    o.train.patterns = o.pattern; /* the copy's own */
    if (o.dry_run) {
        dry_run(&o);
    } else {
        tool_catch_interrupt();
        train(&o);
    }
    return tool_finish();
}
