/* SPDX-License-Identifier: MIT
 *
 * runlog.c - reading the JSON Lines that mot-train writes: steps, what they cost, losses by modality.
 *
 * Logs come from interrupted, resumed and still running trainings and from other programs, so: half a line at the end is
 * passed over; steps may come again or in any order, then the last value of a step counts, key by key; null (no tokens of
 * that modality in the step) and Python's NaN are no value.  What cannot be understood is an error that names the line.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/json.h"
#include "profile.h"

enum { BLOCK = 1 << 16, LINE_LIMIT = 1 << 20 };

static const char *const measure_key[MOT_MEASURES] = {"step", "flops", "seconds"};

/* ---- lines ---- */

struct reader {
    const char *name;
    int fd;
    struct mot_bytes b;
    size_t at; /* where the next line begins in b */
    int64_t line;
    bool end;
};

static int read_more(struct reader *r)
{
    if (r->at) {
        memmove(r->b.data, r->b.data + r->at, r->b.n - r->at);
        r->b.n -= r->at;
        r->at = 0;
    }
    if (r->b.n > LINE_LIMIT)
        return mot_fail(MOT_EFORMAT, "%s:%lld: a line of more than 1 MiB: this is no log of a training", r->name,
                        (long long)r->line);
    if (mot_bytes_reserve(&r->b, BLOCK))
        return MOT_ENOMEM;
    ssize_t n;
    while ((n = read(r->fd, r->b.data + r->b.n, BLOCK)) < 0 && errno == EINTR)
        ;
    if (n < 0)
        return mot_fail(MOT_EIO, "%s: cannot read: %s", r->name, strerror(errno));
    r->end = n == 0;
    r->b.n += (size_t)n;
    return MOT_OK;
}

/* The next line without its newline, NULL at the end; *whole = false where the file ends before the newline. */
static int next_line(struct reader *r, const char **text, size_t *n, bool *whole)
{
    size_t searched = 0; /* bytes of the line */
    const unsigned char *newline = NULL;
    r->line++;
    for (;;) {
        if (r->b.n > r->at + searched)
            newline = memchr(r->b.data + r->at + searched, '\n', r->b.n - r->at - searched);
        if (newline || r->end)
            break;
        searched = r->b.n - r->at;
        int rc = read_more(r);
        if (rc)
            return rc;
    }
    *whole = newline != NULL;
    *n = newline ? (size_t)(newline - r->b.data) - r->at : r->b.n - r->at;
    *text = *whole || *n ? (const char *)r->b.data + r->at : NULL;
    r->at += *n + *whole;
    return MOT_OK;
}

/* ---- one line ---- */

struct building {
    struct mot_runlog *log;
    const char *stem; /* "loss" or "val_loss" */
    int64_t capacity[MOT_MEASURES];
    bool unsorted; /* a step that is not larger than the one before it */
    int64_t back;  /* the first line whose step is smaller, 0: none */
};

/* A copy in which NaN, Infinity and -Infinity, which Python writes, are null. */
static int without_nan(const char *text, size_t n, struct mot_bytes *out)
{
    static const char *const word[] = {"-Infinity", "Infinity", "NaN"};
    bool string = false;
    int rc = MOT_OK;
    for (size_t i = 0; !rc && i < n;) {
        size_t skip = 0;
        for (int w = 0; !string && !skip && w < MOT_COUNT(word); w++)
            if (n - i >= strlen(word[w]) && memcmp(text + i, word[w], strlen(word[w])) == 0)
                skip = strlen(word[w]);
        if (text[i] == '"')
            string = !string;
        bool escape = string && text[i] == '\\' && i + 1 < n;
        rc = skip ? mot_bytes_append(out, "null", 4) : mot_bytes_append(out, text + i, escape ? 2 : 1);
        i += skip ? skip : escape ? 2 : 1;
    }
    return rc;
}

static json_t *parse(const char *place, const char *text, size_t n)
{
    json_t *j = mot_json_parse(place, text, n);
    struct mot_bytes b = {0};
    if (!j && !without_nan(text, n, &b) && b.n != n)
        j = mot_json_parse(place, b.data, b.n);
    mot_bytes_free(&b);
    return j;
}

/* The modality that a key tells the loss of; NULL: it is something else. */
static const char *modality_of(const char *key, const char *stem)
{
    size_t n = strlen(stem);
    if (strncmp(key, stem, n) != 0)
        return NULL;
    return key[n] == 0 ? "all" : key[n] == '_' && key[n + 1] ? key + n + 1 : NULL;
}

static int add_series(struct mot_runlog *l, const char *name)
{
    if (l->n_series == MOT_MAX_SERIES)
        return mot_fail(MOT_EFORMAT, "%s: losses of more than %d modalities", l->name, MOT_MAX_SERIES);
    char *copy = mot_strdup(name);
    if (!copy)
        return MOT_ENOMEM;
    l->series[l->n_series++] = (struct mot_series){.name = copy};
    return MOT_OK;
}

static int add_loss(struct mot_runlog *l, const char *modality, double loss)
{
    int i = mot_runlog_find(l, modality);
    int rc = i < 0 ? add_series(l, modality) : MOT_OK;
    struct mot_series *s = &l->series[i < 0 ? l->n_series - 1 : i];
    if (!rc)
        rc = mot_grow((void **)&s->row, s->n, &s->row_capacity, sizeof *s->row);
    if (!rc)
        rc = mot_grow((void **)&s->loss, s->n, &s->loss_capacity, sizeof *s->loss);
    if (rc)
        return rc;
    s->row[s->n] = l->n;
    s->loss[s->n++] = loss;
    return MOT_OK;
}

static int add_losses(struct building *b, json_t *j, const char *place)
{
    const char *key;
    json_t *v;
    json_object_foreach(j, key, v) {
        const char *modality = modality_of(key, b->stem);
        double loss = NAN;
        if (!modality)
            continue;
        int rc = mot_json_real(j, place, key, -INFINITY, INFINITY, &loss);
        if (!rc && isfinite(loss))
            rc = add_loss(b->log, modality, loss);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

static int add_row(struct building *b, json_t *j, const char *place, int64_t line)
{
    struct mot_runlog *l = b->log;
    if (!json_is_object(j) || !json_object_get(j, "step"))
        return mot_fail(MOT_EFORMAT, "%s: no \"step\": this is no log of mot-train", place);
    for (int m = 0; m < MOT_MEASURES; m++) {
        double x = NAN;
        int rc = mot_json_real(j, place, measure_key[m], 0, 0x1p1000, &x);
        if (!rc && m == MOT_STEPS && x != floor(x))
            rc = mot_fail(MOT_EFORMAT, "%s: \"step\" is no whole number", place);
        if (!rc)
            rc = mot_grow((void **)&l->spent[m], l->n, &b->capacity[m], sizeof *l->spent[m]);
        if (rc)
            return rc;
        l->spent[m][l->n] = x;
    }
    const double *step = l->spent[MOT_STEPS];
    if (l->n && step[l->n] <= step[l->n - 1]) {
        b->unsorted = true;
        if (!b->back && step[l->n] < step[l->n - 1])
            b->back = line;
    }
    int rc = add_losses(b, j, place);
    l->n += rc == MOT_OK;
    return rc;
}

static bool blank(const char *text, size_t n)
{
    while (n > 0 && strchr(" \t\r", text[n - 1]) && text[n - 1])
        n--;
    return n == 0;
}

static int tell(struct mot_runlog *l, char *sentence)
{
    if (!sentence)
        return MOT_ENOMEM;
    if (l->n_notices < MOT_MAX_NOTICES)
        l->notice[l->n_notices++] = sentence;
    else
        mot_free(sentence);
    return MOT_OK;
}

static int read_rows(struct building *b, struct reader *r)
{
    for (;;) {
        const char *text;
        size_t n;
        bool whole;
        int rc = next_line(r, &text, &n, &whole);
        if (rc || !text)
            return rc;
        if (blank(text, n))
            continue;
        char *place = mot_format("%s:%lld", r->name, (long long)r->line);
        json_t *j = place ? parse(place, text, n) : NULL;
        if (j)
            rc = add_row(b, j, place, r->line);
        else if (!whole && place) /* the run is still being written, or was killed */
            rc = tell(b->log, mot_format("%s: half a line, passed over", place));
        else
            rc = MOT_EFORMAT;
        json_decref(j);
        mot_free(place);
        if (rc)
            return rc;
    }
}

/* ---- order ---- */

struct ordered {
    double step;
    int64_t row;
};

static int by_step(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    return x->step != y->step ? (x->step > y->step) - (x->step < y->step) : (x->row > y->row) - (x->row < y->row);
}

/* place[row] = the row's index among n distinct steps in ascending order. */
static int64_t find_places(const struct mot_runlog *l, struct ordered *o, int64_t *place)
{
    for (int64_t i = 0; i < l->n; i++)
        o[i] = (struct ordered){l->spent[MOT_STEPS][i], i};
    qsort(o, (size_t)l->n, sizeof *o, by_step);
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++) {
        n += i == 0 || o[i].step > o[i - 1].step;
        place[o[i].row] = n - 1;
    }
    return n;
}

/* Each step once: of every value the last that was read.  x: room for l->n numbers. */
static void put_in_order(struct mot_runlog *l, const int64_t *place, int64_t n, double *x)
{
    for (int m = 0; m < MOT_MEASURES; m++) {
        for (int64_t i = 0; i < n; i++)
            x[i] = NAN;
        for (int64_t i = 0; i < l->n; i++)
            if (!isnan(l->spent[m][i]))
                x[place[i]] = l->spent[m][i];
        memcpy(l->spent[m], x, (size_t)n * sizeof *x);
    }
    for (int k = 0; k < l->n_series; k++) {
        struct mot_series *s = &l->series[k];
        for (int64_t i = 0; i < n; i++)
            x[i] = NAN;
        for (int64_t i = 0; i < s->n; i++)
            x[place[s->row[i]]] = s->loss[i];
        s->n = 0;
        for (int64_t i = 0; i < n; i++)
            if (!isnan(x[i])) {
                s->row[s->n] = i;
                s->loss[s->n++] = x[i];
            }
    }
    l->n = n;
}

static int sort(struct mot_runlog *l)
{
    struct ordered *o = mot_alloc((size_t)l->n, sizeof *o);
    int64_t *place = o ? mot_alloc((size_t)l->n, sizeof *place) : NULL;
    double *x = place ? mot_alloc((size_t)l->n, sizeof *x) : NULL;
    if (x)
        put_in_order(l, place, find_places(l, o, place), x);
    int rc = x ? MOT_OK : MOT_ENOMEM;
    mot_free(o);
    mot_free(place);
    mot_free(x);
    return rc;
}

/* What is not in every step, or goes back, is no running total: ratios of it would be wrong, so it is forgotten. */
static int check_totals(struct mot_runlog *l)
{
    for (int m = MOT_FLOPS; m < MOT_MEASURES; m++) {
        const double *x = l->spent[m];
        int64_t i = 0;
        while (i < l->n && !isnan(x[i]) && (i == 0 || x[i] >= x[i - 1]))
            i++;
        if (i == l->n)
            continue;
        int rc = tell(l, mot_format("%s: \"%s\" %s at step %.0f: not compared", l->name, measure_key[m],
                                    isnan(x[i]) ? "is missing" : "goes back", l->spent[MOT_STEPS][i]));
        mot_free(l->spent[m]);
        l->spent[m] = NULL;
        if (rc)
            return rc;
    }
    return MOT_OK;
}

static void put_all_last(struct mot_runlog *l)
{
    int i = mot_runlog_find(l, "all");
    if (i < 0)
        return;
    struct mot_series all = l->series[i];
    memmove(&l->series[i], &l->series[i + 1], (size_t)(l->n_series - 1 - i) * sizeof all);
    l->series[l->n_series - 1] = all;
}

/* ---- the whole ---- */

static int open_file(const char *path, struct mot_runlog *l, int *fd)
{
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode), is_stdin = strcmp(path, "-") == 0;
    l->name = is_stdin ? mot_strdup("standard input") : folder ? mot_path(path, "log.jsonl") : mot_strdup(path);
    if (!l->name)
        return MOT_ENOMEM;
    *fd = is_stdin ? STDIN_FILENO : open(l->name, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? mot_fail(MOT_EIO, "%s: cannot open: %s", l->name, strerror(errno)) : MOT_OK;
}

static int finish(struct building *b, bool validation)
{
    struct mot_runlog *l = b->log;
    if (l->n == 0)
        return mot_fail(MOT_EFORMAT, "%s: no step in it", l->name);
    if (l->n_series == 0)
        return mot_fail(MOT_EFORMAT, "%s: no %s in it%s", l->name, b->stem,
                        validation ? ": was it trained with --val?" : "");
    int rc = b->unsorted ? sort(l) : MOT_OK;
    if (!rc && b->back)
        rc = tell(l, mot_format("%s:%lld: a smaller step than before: of steps that come again the last values count",
                                l->name, (long long)b->back));
    if (!rc)
        rc = check_totals(l);
    put_all_last(l);
    return rc;
}

struct mot_runlog *mot_runlog_open(const char *path, bool validation)
{
    struct mot_runlog *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    struct building b = {.log = l, .stem = validation ? "val_loss" : "loss"};
    struct reader r = {.fd = -1};
    int rc = open_file(path, l, &r.fd);
    r.name = l->name;
    if (!rc)
        rc = read_rows(&b, &r);
    if (!rc)
        rc = finish(&b, validation);
    mot_bytes_free(&r.b);
    if (r.fd > STDIN_FILENO)
        close(r.fd);
    if (!rc)
        return l;
    mot_runlog_close(l);
    return NULL;
}

void mot_runlog_close(struct mot_runlog *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->n_series; i++) {
        mot_free(l->series[i].name);
        mot_free(l->series[i].row);
        mot_free(l->series[i].loss);
    }
    for (int m = 0; m < MOT_MEASURES; m++)
        mot_free(l->spent[m]);
    for (int i = 0; i < l->n_notices; i++)
        mot_free(l->notice[i]);
    mot_free(l->name);
    mot_free(l);
}

const char *mot_runlog_notice(struct mot_runlog *l)
{
    return l->told < l->n_notices ? l->notice[l->told++] : NULL;
}

int mot_runlog_modalities(const struct mot_runlog *l)
{
    return l->n_series;
}

const char *mot_runlog_modality(const struct mot_runlog *l, int i)
{
    return l->series[i].name;
}

int mot_runlog_find(const struct mot_runlog *l, const char *modality)
{
    for (int i = 0; i < l->n_series; i++)
        if (strcmp(l->series[i].name, modality) == 0)
            return i;
    return -1;
}
