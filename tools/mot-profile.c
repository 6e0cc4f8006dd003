/* SPDX-License-Identifier: MIT
 *
 * mot-profile: what a model costs and where the time goes.  See mot-profile(1).
 * This file only finds the sub-command; tools/profile_NAME.c does the work.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "mot.h"
#include "profile.h"
#include "tool.h"

static const struct command {
    const char *name, *title; /* title: how getopt's own messages name it */
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"flops", "mot-profile flops", profile_flops, "parameters, FLOPs and memory of a configuration, without running it"},
    {"run", "mot-profile run", profile_run, "measured time by operation, layer and tower, against the machine's roofline"},
    {"match", "mot-profile match", profile_match, "steps, FLOPs and seconds that runs need for the losses of a dense run"},
    {"scale", "mot-profile scale", profile_scale, "step time, memory and utilization on N devices, on paper"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *f)
{
    fputs("usage: mot-profile COMMAND [options] ...\n"
          "what a dense or Mixture-of-Transformers model costs; mot-profile COMMAND --help tells more\n",
          f);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(f, "  %-8s%s\n", commands[i].name, commands[i].what);
    fputs(TOOL_HELP, f);
}

/* ---- what sub-commands share ---- */

enum mot_recompute profile_recompute(const char *s)
{
    enum mot_recompute level;
    if (mot_recompute_find(s, &level))
        die_usage("--recompute %s", mot_error());
    return level;
}

bool profile_option(int c, struct profile_model *m, struct mot_workload *w, const char **mix)
{
    switch (c) {
    case 'c': m->config = optarg; return true;
    case 't': m->tokenizer = optarg; return true;
    case OPT_ARCH: m->arch = optarg; return true;
    case OPT_BATCH: w->batch = opt_int("--batch", optarg, 1, 1 << 30); return true;
    case OPT_SEQ: w->seq = opt_int("--seq", optarg, 1, 1 << 30); return true;
    case OPT_DOCUMENT: w->document = opt_int("--document", optarg, 1, 1 << 30); return true;
    case OPT_MIX: *mix = optarg; return true;
    case OPT_RECOMPUTE: w->recompute = profile_recompute(optarg); return true;
    default: return false;
    }
}

void profile_operand(int argc, char **argv, struct profile_model *m)
{
    if (optind < argc && !m->config)
        m->config = argv[optind++];
    if (!m->config)
        die_usage("no configuration: give -c PRESET, a config.json or a model folder");
    if (optind < argc)
        die_usage("%s: one configuration is enough", argv[optind]);
}

bool profile_config(const struct profile_model *m, struct mot_config *c, struct mot_vocab *v)
{
    if ((m->tokenizer && mot_vocab_load(v, m->tokenizer)) || mot_config_load(c, m->config) ||
        mot_config_settle(c, m->config, m->tokenizer ? v : NULL, m->arch))
        die_lib(NULL);
    return m->tokenizer != NULL;
}

static int modality_of(const struct mot_config *c, const char *name, size_t n)
{
    for (int m = 0; m < c->n_modalities; m++)
        if (strlen(c->modality[m]) == n && strncmp(c->modality[m], name, n) == 0)
            return m;
    die_usage("--mix: the configuration has no modality \"%.*s\"", (int)n, name);
}

void profile_mix(const char *s, const struct mot_config *c, struct mot_workload *w)
{
    while (s && *s) {
        size_t name = strcspn(s, "=,"), all = strcspn(s, ",");
        char share[32];
        if (s[name] != '=' || all - name - 1 >= sizeof share)
            die_usage("--mix %s: expected NAME=SHARE,NAME=SHARE...", s);
        memcpy(share, s + name + 1, all - name - 1);
        share[all - name - 1] = 0;
        w->mix[modality_of(c, s, name)] = opt_real("--mix", share, 0, 1e9);
        s += all + (s[all] == ',');
    }
}

/* ---- the program ---- */

int main(int argc, char **argv)
{
    tool_start("mot-profile", argv);
    for (int i = 0; i < COMMANDS && argc > 1; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            char title[64];
            snprintf(title, sizeof title, "%s", commands[i].title);
            argv[1] = title;
            return commands[i].run(argc - 1, argv + 1);
        }
    static const struct option longopts[] = {TOOL_OPTIONS, {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "+" TOOL_SHORT, longopts, NULL)) != -1;)
        tool_option(c, usage);
    if (optind < argc)
        die_usage("%s: no such command", argv[optind]);
    die_usage("no command given");
}
