/* SPDX-License-Identifier: MIT
 *
 * mot-profile match: how much of dense's steps, FLOPs and seconds other runs need for dense's losses, from their logs.
 */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "match.h"
#include "mot.h"
#include "profile.h"
#include "table.h"
#include "tool.h"

enum { OPT_LOSS = PROFILE_LONG, OPT_SMOOTH, OPT_PLOT, OPT_FORMAT, OPT_CURVE, OPT_SEED, OPT_CONFIDENCE };

struct opts {
    const char *plot;
    bool validation, curve, smooth_given;
    double smooth, confidence;
    uint64_t seed;
    enum table_format format;
    const char *dense, *const *others;
    int n_others;
};

static void usage(FILE *f)
{
    fputs("usage: mot-profile match [options] DENSE.jsonl OTHER.jsonl...\n"
          "steps, FLOPs and seconds that other runs need for the losses of a dense run, as a share of its own, by modality;\n"
          "logs of mot-train, folders that hold one (log.jsonl), or - for one of them\n"
          "      --loss L            train or val (train)\n"
          "      --smooth X          mean of the training loss over the last share X of the steps so far (0.2)\n"
          "      --confidence P      of the intervals (0.95)\n"
          "      --seed N            of their bootstrap (0)\n"
          "      --curve             every matched step instead of the slopes\n"
          "      --plot F            draw curves and matched steps as F.svg or F.png, with gnuplot\n"
          "      --format F          " TABLE_FORMATS " (table)\n" TOOL_HELP,
          f);
}

static bool validation(const char *s)
{
    if (strcmp(s, "train") != 0 && strcmp(s, "val") != 0)
        die_usage("--loss %s: expected train or val", s);
    return strcmp(s, "val") == 0;
}

static struct opts parse(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"loss", required_argument, NULL, OPT_LOSS},
        {"smooth", required_argument, NULL, OPT_SMOOTH},
        {"confidence", required_argument, NULL, OPT_CONFIDENCE},
        {"seed", required_argument, NULL, OPT_SEED},
        {"curve", no_argument, NULL, OPT_CURVE},
        {"plot", required_argument, NULL, OPT_PLOT},
        {"format", required_argument, NULL, OPT_FORMAT},
        TOOL_OPTIONS,
        {NULL, 0, NULL, 0},
    };
    struct opts o = {.smooth = 0.2, .confidence = 0.95};
    for (int c; (c = getopt_long(argc, argv, TOOL_SHORT, longopts, NULL)) != -1;)
        switch (c) {
        case OPT_LOSS: o.validation = validation(optarg); break;
        case OPT_SMOOTH: o.smooth = opt_real("--smooth", optarg, 0, 0.999), o.smooth_given = true; break;
        case OPT_CONFIDENCE: o.confidence = opt_real("--confidence", optarg, 0.01, 0.999); break;
        case OPT_SEED: o.seed = (uint64_t)opt_int("--seed", optarg, 0, INT64_MAX); break;
        case OPT_CURVE: o.curve = true; break;
        case OPT_PLOT: o.plot = optarg; break;
        case OPT_FORMAT: o.format = table_format(optarg); break;
        default: tool_option(c, usage);
        }
    if (argc - optind < 2)
        die_usage(optind == argc ? "no log given" : "one log alone: give DENSE.jsonl OTHER.jsonl...");
    int from_stdin = 0;
    for (int i = optind; i < argc; i++)
        from_stdin += strcmp(argv[i], "-") == 0;
    if (from_stdin > 1)
        die_usage("standard input can be one log only");
    if (o.plot)
        plot_check(o.plot);
    if (o.validation && !o.smooth_given)
        o.smooth = 0; /* a mean over a whole shard is smooth enough */
    o.dense = argv[optind];
    o.others = (const char *const *)argv + optind + 1;
    o.n_others = argc - optind - 1;
    return o;
}

/* ---- the work ---- */

static struct mot_runlog *open_log(const char *path, const struct opts *o)
{
    struct mot_runlog *l = mot_runlog_open(path, o->validation);
    if (!l)
        die_lib(NULL);
    for (const char *s; (s = mot_runlog_notice(l));)
        warn("%s", s);
    return l;
}

static struct mot_curve curve(const struct mot_runlog *l, int modality, const struct opts *o)
{
    struct mot_curve c;
    if (mot_curve_make(l, modality, o->smooth, &c))
        die_lib(NULL);
    return c;
}

/* Everything about one other run. */
static void match_run(struct matched_run *run, const struct matched *a, const struct opts *o)
{
    struct mot_runlog *l = open_log(run->log, o);
    for (int i = 0; i < mot_runlog_modalities(l); i++)
        if (mot_runlog_find(a->dense_log, mot_runlog_modality(l, i)) < 0)
            warn("%s: has losses of %s, which %s has not: left out", run->log, mot_runlog_modality(l, i), a->dense);
    for (int m = 0; m < a->n_modalities; m++) {
        int i = mot_runlog_find(l, a->modality[m]);
        run->present[m] = i >= 0;
        if (i < 0) {
            warn("%s: no losses of %s, which %s has: left out", run->log, a->modality[m], a->dense);
            continue;
        }
        run->curve[m] = curve(l, i, o);
        if (mot_match_curves(&a->dense_curve[m], &run->curve[m], o->confidence, o->seed, &run->match[m]))
            die_lib(NULL);
    }
    mot_runlog_close(l);
}

static void *room(int n, size_t size)
{
    void *p = calloc((size_t)n + 1, size);
    if (!p)
        die("out of memory");
    return p;
}

static struct matched match(const struct opts *o)
{
    struct matched a = {.dense = o->dense, .validation = o->validation, .smooth = o->smooth, .n_runs = o->n_others};
    a.dense_log = open_log(o->dense, o);
    a.n_modalities = mot_runlog_modalities(a.dense_log);
    a.modality = room(a.n_modalities, sizeof *a.modality);
    a.dense_curve = room(a.n_modalities, sizeof *a.dense_curve);
    a.run = room(a.n_runs, sizeof *a.run);
    for (int m = 0; m < a.n_modalities; m++) {
        a.modality[m] = mot_runlog_modality(a.dense_log, m);
        a.dense_curve[m] = curve(a.dense_log, m, o);
    }
    for (int r = 0; r < a.n_runs; r++) {
        struct matched_run *run = &a.run[r];
        run->log = o->others[r];
        run->present = room(a.n_modalities, sizeof *run->present);
        run->curve = room(a.n_modalities, sizeof *run->curve);
        run->match = room(a.n_modalities, sizeof *run->match);
        match_run(run, &a, o);
    }
    return a;
}

static void release(struct matched *a)
{
    for (int r = 0; r < a->n_runs; r++) {
        for (int m = 0; m < a->n_modalities; m++) {
            mot_curve_free(&a->run[r].curve[m]);
            mot_match_free(&a->run[r].match[m]);
        }
        free(a->run[r].present);
        free(a->run[r].curve);
        free(a->run[r].match);
    }
    for (int m = 0; m < a->n_modalities; m++)
        mot_curve_free(&a->dense_curve[m]);
    free(a->run);
    free(a->dense_curve);
    free(a->modality);
    mot_runlog_close(a->dense_log);
}

/* ---- for programs ---- */

static const char *const measure[MOT_MEASURES] = {"steps", "flops", "seconds"};

static void key_number(const char *key, double x)
{
    printf(",\"%s\":", key);
    print_number(stdout, x);
}

static void json_match(const char *modality, const struct mot_match *m)
{
    tool_json_string(stdout, modality);
    fputs(":{\"steps\":", stdout);
    print_number(stdout, m->ratio[MOT_STEPS].slope);
    key_number("flops", m->ratio[MOT_FLOPS].slope);
    key_number("seconds", m->ratio[MOT_SECONDS].slope);
    for (int i = 0; i < MOT_MEASURES; i++) {
        const struct mot_ratio *r = &m->ratio[i];
        printf(",\"%s_ci\":", measure[i]);
        if (isnan(r->lo)) {
            fputs("null", stdout);
            continue;
        }
        putchar('[');
        print_number(stdout, r->lo);
        putchar(',');
        print_number(stdout, r->hi);
        putchar(']');
    }
    key_number("final", m->final);
    key_number("reached", m->reached);
    key_number("dense_loss", m->dense_loss);
    key_number("other_loss", m->other_loss);
    putchar('}');
}

static void print_json(const struct matched *a)
{
    fputs("{\"dense\":", stdout);
    tool_json_string(stdout, a->dense);
    printf(",\"loss\":\"%s\",\"runs\":[", a->validation ? "val" : "train");
    for (int r = 0; r < a->n_runs; r++) {
        fputs(r ? ",\n{\"log\":" : "{\"log\":", stdout);
        tool_json_string(stdout, a->run[r].log);
        fputs(",\"modalities\":{", stdout);
        for (int m = 0, shown = 0; m < a->n_modalities; m++)
            if (a->run[r].present[m]) {
                fputs(shown++ ? "," : "", stdout);
                json_match(a->modality[m], &a->run[r].match[m]);
            }
        fputs("}}", stdout);
    }
    puts("]}");
}

/* A row a run and modality, all figures as numbers. */
static void print_rows(const struct matched *a, enum table_format format)
{
    static const char *const columns[] = {"log", "modality", "steps", "steps_lo", "steps_hi", "flops", "flops_lo", "flops_hi",
                                          "seconds", "seconds_lo", "seconds_hi", "final", "reached", "dense_loss",
                                          "other_loss", NULL};
    struct table t = table_new(columns);
    for (int r = 0; r < a->n_runs; r++)
        for (int i = 0; i < a->n_modalities; i++) {
            const struct mot_match *m = &a->run[r].match[i];
            if (!a->run[r].present[i])
                continue;
            table_word(&t, a->run[r].log);
            table_word(&t, a->modality[i]);
            for (int k = 0; k < MOT_MEASURES; k++) {
                table_number(&t, m->ratio[k].slope, "%g", m->ratio[k].slope);
                table_number(&t, m->ratio[k].lo, "%g", m->ratio[k].lo);
                table_number(&t, m->ratio[k].hi, "%g", m->ratio[k].hi);
            }
            table_number(&t, m->final, "%g", m->final);
            table_number(&t, m->reached, "%g", m->reached);
            table_number(&t, m->dense_loss, "%g", m->dense_loss);
            table_number(&t, m->other_loss, "%g", m->other_loss);
        }
    table_print(stdout, &t, format);
    table_free(&t);
}

static void print_curve(const struct matched *a, enum table_format format)
{
    static const char *const columns[] = {"log", "modality", "dense_step", "loss", "other_step", "ratio", NULL};
    struct table t = table_new(columns);
    for (int r = 0; r < a->n_runs; r++)
        for (int i = 0; i < a->n_modalities; i++)
            for (int64_t k = 0; k < a->run[r].match[i].n; k++) {
                const struct mot_match_point *p = &a->run[r].match[i].point[k];
                double dense = p->dense[MOT_STEPS], other = p->other[MOT_STEPS];
                table_word(&t, a->run[r].log);
                table_word(&t, a->modality[i]);
                table_number(&t, dense, "%.0f", dense);
                table_number(&t, p->loss, "%.4f", p->loss);
                table_number(&t, other, "%.1f", other);
                table_number(&t, other / dense, "%.3f", other / dense);
            }
    table_print(stdout, &t, format);
    if (format == TABLE_JSON)
        putchar('\n');
    table_free(&t);
}

/* ---- for people ---- */

static void cell_ratio(struct table *t, const struct mot_match *m, int k)
{
    const struct mot_ratio *r = &m->ratio[k];
    const char *part = m->n_reached < m->n ? " *" : "";
    if (isnan(r->lo))
        table_number(t, r->slope, "%.2f%s", r->slope, part);
    else
        table_number(t, r->slope, "%.2f [%.2f, %.2f]%s", r->slope, r->lo, r->hi, part);
}

static void print_table(const struct matched *a, const struct opts *o)
{
    static const char *const columns[] = {"log", "modality", "steps", "FLOPs", "seconds", "at the end", "reached", "dense",
                                          "other", NULL};
    struct table t = table_new(columns);
    bool part = false;
    for (int r = 0; r < a->n_runs; r++)
        for (int i = 0; i < a->n_modalities; i++) {
            const struct mot_match *m = &a->run[r].match[i];
            if (!a->run[r].present[i])
                continue;
            part |= m->n_reached < m->n;
            table_word(&t, a->run[r].log);
            table_word(&t, a->modality[i]);
            for (int k = 0; k < MOT_MEASURES; k++)
                cell_ratio(&t, m, k);
            if (isnan(m->final))
                table_word(&t, "not reached");
            else
                table_number(&t, m->final, "%.2f", m->final);
            table_number(&t, m->reached, "%.0f %%", floor(100 * m->reached));
            table_number(&t, m->dense_loss, "%.4f", m->dense_loss);
            table_number(&t, m->other_loss, "%.4f", m->other_loss);
        }
    printf("what it takes to have the %s losses of %s, as a share of what they took there: below 1 is less\n",
           a->validation ? "validation" : "training", a->dense);
    printf("slope over its steps [%g %% interval]; at the end: steps to its lowest loss; reached: share of its steps whose\n"
           "losses were reached; lowest losses of both",
           100 * o->confidence);
    if (a->smooth > 0)
        printf(", as means over the last %g %% of steps", 100 * a->smooth);
    puts("\n");
    table_print(stdout, &t, o->format);
    if (part)
        puts("\n* not all losses were reached: the slope is that of the reached part only, and flatters");
    table_free(&t);
}

int profile_match(int argc, char **argv)
{
    struct opts o = parse(argc, argv);
    struct matched a = match(&o);
    if (o.plot)
        plot_matched(&a, o.plot);
    if (o.curve)
        print_curve(&a, o.format);
    else if (o.format == TABLE_JSON)
        print_json(&a);
    else if (o.format == TABLE_TSV || o.format == TABLE_JSONL)
        print_rows(&a, o.format);
    else
        print_table(&a, &o);
    release(&a);
    return tool_finish();
}
