/* SPDX-License-Identifier: MIT
 *
 * The picture of mot-profile match: a row a modality, on the left the loss curves, on the right the steps matched and their
 * slopes, as the paper draws them.  gnuplot draws; script, picture and complaints travel through unnamed files, so that
 * nothing is left behind and the picture appears whole or not at all.
 */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "match.h"
#include "tool.h"

enum { WIDTH = 1100, ROW = 380, HEAD = 50, POINTS = 800, LABEL = 128 };

extern char **environ;

/* Colours that people with any colour vision tell apart (Okabe and Ito); dense is black. */
static const char *const colours[] = {"#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"};
enum { COLOURS = sizeof colours / sizeof colours[0] };

static bool ends_in(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && strcmp(s + n - k, suffix) == 0;
}

void plot_check(const char *path)
{
    if (!ends_in(path, ".svg") && !ends_in(path, ".png"))
        die_usage("--plot %s: expected a name that ends in .svg or .png", path);
}

/* ---- the script ---- */

/* A name for the legend, quoted for gnuplot: of RUN/log.jsonl the folder's, else the file's. */
static const char *label(const char *path, char out[LABEL])
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
    size_t n = strlen(copy);
    if (ends_in(copy, "/log.jsonl"))
        n -= strlen("/log.jsonl");
    else if (ends_in(copy, ".jsonl"))
        n -= strlen(".jsonl");
    while (n > 1 && copy[n - 1] == '/')
        n--;
    copy[n] = 0;
    const char *slash = strrchr(copy, '/');
    size_t k = 0;
    for (const char *s = slash && slash[1] ? slash + 1 : copy; *s && k + 2 < LABEL; s++) {
        if (*s == '\'')
            out[k++] = '\'';
        out[k++] = (unsigned char)*s < ' ' ? ' ' : *s;
    }
    out[k] = 0;
    return out;
}

/* At most POINTS of n, the last one among them. */
static int64_t stride(int64_t n)
{
    return (n + POINTS - 1) / POINTS;
}

static void data_curve(FILE *f, const struct mot_curve *c, const char *name, int modality)
{
    fprintf(f, "$%s_%d << EOD\n", name, modality);
    for (int64_t i = (c->n - 1) % stride(c->n); i < c->n; i += stride(c->n))
        fprintf(f, "%.9g %.9g\n", c->spent[MOT_STEPS][i], c->loss[i]);
    fputs("EOD\n", f);
}

static void data_points(FILE *f, const struct mot_match *m, int run, int modality)
{
    fprintf(f, "$match%d_%d << EOD\n", run, modality);
    for (int64_t i = m->n_reached ? (m->n_reached - 1) % stride(m->n_reached) : 0; i < m->n_reached; i += stride(m->n_reached))
        fprintf(f, "%.9g %.9g\n", m->point[i].dense[MOT_STEPS], m->point[i].other[MOT_STEPS]);
    fputs("EOD\n", f);
}

static void data(FILE *f, const struct matched *a)
{
    for (int m = 0; m < a->n_modalities; m++) {
        data_curve(f, &a->dense_curve[m], "dense", m);
        for (int r = 0; r < a->n_runs; r++) {
            char name[32];
            snprintf(name, sizeof name, "run%d", r);
            if (!a->run[r].present[m])
                continue;
            data_curve(f, &a->run[r].curve[m], name, m);
            data_points(f, &a->run[r].match[m], r, m);
        }
    }
}

/* The first losses are so high that nothing else could be seen: the axis begins with those after a tenth of dense's steps. */
static void loss_range(FILE *f, const struct matched *a, int m)
{
    const struct mot_curve *c = &a->dense_curve[m];
    double top = c->loss[0], lowest = INFINITY;
    for (int64_t i = 0; i < c->n; i++) {
        if (c->spent[MOT_STEPS][i] <= 0.1 * c->spent[MOT_STEPS][c->n - 1])
            top = c->loss[i];
        lowest = fmin(lowest, c->loss[i]);
    }
    for (int r = 0; r < a->n_runs; r++)
        if (a->run[r].present[m])
            lowest = fmin(lowest, a->run[r].match[m].other_loss);
    if (top > lowest)
        fprintf(f, "set yrange [%.9g:%.9g]\n", lowest - 0.05 * (top - lowest), top);
    else
        fputs("set yrange [*:*]\n", f);
}

static void plot_losses(FILE *f, const struct matched *a, int m)
{
    char name[LABEL];
    fprintf(f, "set title '%s: loss'\nset xlabel 'step'\nset ylabel '%s loss, nats a token'\nset key top right Right noreverse\n"
               "set xrange [0:*]\n",
            a->modality[m], a->validation ? "validation" : "training");
    loss_range(f, a, m);
    fprintf(f, "plot $dense_%d with lines lw 2 lc rgb 'black' title '%s'", m, label(a->dense, name));
    for (int r = 0; r < a->n_runs; r++)
        if (a->run[r].present[m])
            fprintf(f, ", $run%d_%d with lines lw 2 lc rgb '%s' title '%s'", r, m, colours[r % COLOURS],
                    label(a->run[r].log, name));
    fputc('\n', f);
}

static void plot_match(FILE *f, const struct matched *a, int run, int m)
{
    const struct mot_match *x = &a->run[run].match[m];
    const struct mot_ratio *s = &x->ratio[MOT_STEPS];
    const char *colour = colours[run % COLOURS];
    char name[LABEL], interval[64] = "";
    label(a->run[run].log, name);
    if (!isnan(s->lo))
        snprintf(interval, sizeof interval, " [%.2f, %.2f]", s->lo, s->hi);
    if (x->n_reached == 0) {
        fprintf(f, ", NaN with lines lw 2 lc rgb '%s' title '%s: no loss of dense reached'", colour, name);
        return;
    }
    fprintf(f, ", $match%d_%d with points pt 7 ps 0.35 lc rgb '%s' notitle", run, m, colour);
    fprintf(f, ", [0:%.9g] %.9g*x with lines lw 2 lc rgb '%s' title '%s: %.2f%s%s'",
            x->point[x->n_reached - 1].dense[MOT_STEPS], s->slope, colour, name, s->slope, interval,
            isnan(x->final) ? ", not reached" : "");
}

static void plot_steps(FILE *f, const struct matched *a, int m)
{
    const struct mot_curve *c = &a->dense_curve[m];
    double last = c->spent[MOT_STEPS][c->n - 1], top = last;
    for (int r = 0; r < a->n_runs; r++) {
        const struct mot_match *x = &a->run[r].match[m];
        if (a->run[r].present[m] && x->n_reached)
            top = fmax(top, x->point[x->n_reached - 1].other[MOT_STEPS]);
    }
    fprintf(f, "set title '%s: steps to the same loss, and slopes'\nset xlabel 'steps of dense'\nset ylabel 'steps of the other run'\n"
               "set key top left Left reverse\nset xrange [0:%.9g]\nset yrange [0:%.9g]\n",
            a->modality[m], last, 1.35 * top); /* the legend has the room above */
    fprintf(f, "plot x with lines dt 2 lc rgb 'gray50' title 'as many as dense: 1.00'");
    for (int r = 0; r < a->n_runs; r++)
        if (a->run[r].present[m])
            plot_match(f, a, r, m);
    fputc('\n', f);
}

static void script(FILE *f, const struct matched *a, const char *path)
{
    int height = HEAD + ROW * a->n_modalities;
    fprintf(f, ends_in(path, ".svg") ? "set terminal svg noenhanced size %d,%d font 'sans-serif,13' background 'white'\n"
                                     : "set terminal pngcairo noenhanced size %d,%d font 'DejaVu Sans,10'\n",
            WIDTH, height);
    data(f, a);
    fputs("set tics nomirror\nset border 3\nset grid lc rgb 'gray90' lt 1\nset key noopaque samplen 2 spacing 1.1\n", f);
    char name[LABEL];
    fprintf(f, "set multiplot layout %d,2 title 'steps to the %s losses of %s", a->n_modalities,
            a->validation ? "validation" : "training", label(a->dense, name));
    if (a->smooth > 0)
        fprintf(f, ", smoothed over the last %g %% of steps", 100 * a->smooth);
    fputs("'\n", f);
    for (int m = 0; m < a->n_modalities; m++) {
        plot_losses(f, a, m);
        plot_steps(f, a, m);
    }
    fputs("unset multiplot\n", f);
}

/* ---- gnuplot ---- */

static FILE *unnamed(void)
{
    FILE *f = tmpfile();
    if (!f)
        die("cannot make a temporary file: %s", strerror(errno));
    return f;
}

/* Run gnuplot with these as its three streams; its exit status. */
static int gnuplot(FILE *in, FILE *out, FILE *err)
{
    static char program[] = "gnuplot";
    char *argv[] = {program, NULL};
    posix_spawn_file_actions_t act;
    pid_t child;
    int status;
    if (posix_spawn_file_actions_init(&act) || posix_spawn_file_actions_adddup2(&act, fileno(in), STDIN_FILENO) ||
        posix_spawn_file_actions_adddup2(&act, fileno(out), STDOUT_FILENO) ||
        posix_spawn_file_actions_adddup2(&act, fileno(err), STDERR_FILENO))
        die("out of memory");
    int rc = posix_spawnp(&child, program, &act, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&act);
    if (rc == ENOENT)
        die("--plot: gnuplot is not installed: Debian has it as gnuplot-nox");
    if (rc)
        die("--plot: gnuplot does not start: %s", strerror(rc));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            die("--plot: lost gnuplot: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The first line of words that gnuplot left. */
static void complain(FILE *err, int status)
{
    char line[256] = "";
    rewind(err);
    while (fgets(line, sizeof line, err) && strspn(line, " ^\n") == strlen(line))
        ;
    line[strcspn(line, "\n")] = 0;
    die("--plot: gnuplot failed with status %d%s%s", status, *line ? ": " : "", line);
}

static void keep(FILE *picture, const char *path)
{
    char block[1 << 14];
    rewind(picture);
    struct mot_out *o = mot_out_open(path);
    if (!o)
        die_lib("--plot");
    tool_remove_on_signal();
    for (size_t n; (n = fread(block, 1, sizeof block, picture)) > 0;)
        if (mot_out_write(o, block, n))
            break; /* commit tells */
    if (mot_out_commit(o))
        die_lib("--plot");
}

void plot_matched(const struct matched *a, const char *path)
{
    FILE *in = unnamed(), *out = unnamed(), *err = unnamed();
    script(in, a, path);
    if (fflush(in) != 0 || ferror(in))
        die("cannot write a temporary file: %s", strerror(errno));
    rewind(in);
    int status = gnuplot(in, out, err);
    if (status != 0 || fseek(out, 0, SEEK_END) != 0 || ftell(out) <= 0)
        complain(err, status);
    keep(out, path);
    fclose(in);
    fclose(out);
    fclose(err);
}
