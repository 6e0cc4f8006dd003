/* SPDX-License-Identifier: MIT
 *
 * table.c - rows with named columns in five formats.
 */
#include "table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum table_format table_format(const char *name)
{
    static const char *const names[] = {"table", "tsv", "md", "json", "jsonl"};
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum table_format)i;
    die_usage("--format %s: expected " TABLE_FORMATS, name);
}

struct table table_new(const char *const *columns)
{
    struct table t = {.column = columns};
    while (columns[t.n_columns])
        t.n_columns++;
    return t;
}

static void add(struct table *t, struct table_cell c)
{
    if (t->n_cells == t->capacity) {
        t->capacity = 2 * t->capacity + 64;
        t->cell = realloc(t->cell, (size_t)t->capacity * sizeof *t->cell);
    }
    if (!t->cell || !c.shown)
        die("out of memory");
    t->cell[t->n_cells++] = c;
}

void table_word(struct table *t, const char *s)
{
    add(t, (struct table_cell){.shown = strdup(s)});
}

void table_number(struct table *t, double x, const char *format, ...)
{
    char shown[128] = "-";
    va_list ap;
    va_start(ap, format);
    if (!isnan(x))
        vsnprintf(shown, sizeof shown, format, ap);
    va_end(ap);
    add(t, (struct table_cell){.shown = strdup(shown), .number = x, .is_number = true});
}

void table_amount(struct table *t, double x)
{
    static const char powers[] = " kMGTPE";
    int power = 0;
    double shown = x;
    for (; fabs(shown) >= 999.5 && powers[power + 1]; power++)
        shown /= 1000;
    int digits = fabs(shown) < 9.995 ? 2 : fabs(shown) < 99.95 ? 1 : 0;
    if (power)
        table_number(t, x, "%.*f %c", digits, shown, powers[power]);
    else
        table_number(t, x, "%.4g", x);
}

void print_number(FILE *f, double x)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    if (isfinite(x) && fabs(x) < 1e15 && x == floor(x))
        snprintf(text, sizeof text, "%.0f", x);
    fputs(isfinite(x) ? text : "null", f);
}

static int width_of(const char *s)
{
    int n = 0; /* characters: what does not begin one is not counted */
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void pad(FILE *f, const char *s, int width, bool right)
{
    int gap = width > width_of(s) ? width - width_of(s) : 0;
    fprintf(f, "%*s%s", right ? gap : 0, "", s);
    if (!right)
        fprintf(f, "%*s", gap, "");
}

/* Words stand at the left of their column, numbers at the right. */
static void print_aligned(FILE *f, const struct table *t, bool markdown)
{
    const char *before = markdown ? "| " : "", *between = markdown ? " | " : "  ", *after = markdown ? " |" : "";
    int n = t->n_columns;
    int *width = calloc((size_t)n + 1, sizeof *width);
    bool *right = calloc((size_t)n + 1, sizeof *right);
    if (!width || !right)
        die("out of memory");
    for (int c = 0; c < n; c++)
        width[c] = width_of(t->column[c]);
    for (int64_t i = 0; i < t->n_cells; i++) {
        int w = width_of(t->cell[i].shown);
        width[i % n] = w > width[i % n] ? w : width[i % n];
        right[i % n] |= t->cell[i].is_number;
    }
    for (int64_t row = -1; row < t->n_cells / n; row++) {
        fputs(before, f);
        for (int c = 0; c < n; c++) {
            bool last = c == n - 1 && !right[c] && !markdown; /* no spaces at the end of a line */
            pad(f, row < 0 ? t->column[c] : t->cell[row * n + c].shown, last ? 0 : width[c], right[c]);
            fputs(c < n - 1 ? between : after, f);
        }
        fputc('\n', f);
        if (row < 0 && markdown)
            for (int c = 0; c < n; c++)
                fprintf(f, "|%s%s", right[c] ? "---:" : "---", c == n - 1 ? "|\n" : "");
    }
    free(width);
    free(right);
}

static void print_tsv(FILE *f, const struct table *t)
{
    int n = t->n_columns;
    for (int c = 0; c < n; c++)
        fprintf(f, "%s%c", t->column[c], c < n - 1 ? '\t' : '\n');
    for (int64_t i = 0; i < t->n_cells; i++) {
        const struct table_cell *x = &t->cell[i];
        if (x->is_number && isfinite(x->number))
            print_number(f, x->number);
        else if (x->is_number)
            fputc('-', f);
        else
            for (const char *s = x->shown; *s; s++) /* a tab or a line's end in a name would break the row */
                fputc(*s == '\t' || *s == '\n' || *s == '\r' ? ' ' : *s, f);
        fputc(i % n < n - 1 ? '\t' : '\n', f);
    }
}

static void print_objects(FILE *f, const struct table *t, const char *between)
{
    int n = t->n_columns;
    for (int64_t i = 0; i < t->n_cells; i++) {
        const struct table_cell *x = &t->cell[i];
        if (i % n == 0 && i > 0)
            fputs(between, f);
        fprintf(f, "%c\"%s\":", i % n == 0 ? '{' : ',', t->column[i % n]);
        if (x->is_number)
            print_number(f, x->number);
        else
            tool_json_string(f, x->shown);
        if (i % n == n - 1)
            fputc('}', f);
    }
}

void table_print(FILE *f, const struct table *t, enum table_format format)
{
    switch (format) {
    case TABLE_TEXT: print_aligned(f, t, false); return;
    case TABLE_MD: print_aligned(f, t, true); return;
    case TABLE_TSV: print_tsv(f, t); return;
    case TABLE_JSONL:
        print_objects(f, t, "\n");
        fputs(t->n_cells ? "\n" : "", f);
        return;
    case TABLE_JSON:
        fputc('[', f);
        print_objects(f, t, ",\n");
        fputc(']', f);
        return;
    }
}

void table_free(struct table *t)
{
    for (int64_t i = 0; i < t->n_cells; i++)
        free(t->cell[i].shown);
    free(t->cell);
    *t = (struct table){0};
}
