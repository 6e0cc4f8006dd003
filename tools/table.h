/* SPDX-License-Identifier: MIT
 *
 * table.h - rows with named columns, printed for people (aligned, or as Markdown) or for programs (TSV, JSON, JSON Lines).
 */
#ifndef MOT_TABLE_H
#define MOT_TABLE_H

#include <stdio.h>

#include "mot.h"

enum table_format { TABLE_TEXT, TABLE_TSV, TABLE_MD, TABLE_JSON, TABLE_JSONL };
#define TABLE_FORMATS "table, tsv, md, json or jsonl"
/* The format that --format names; any other word ends the program. */
enum table_format table_format(const char *name);

struct table_cell {
    char *shown;   /* for people; of a word, also for programs */
    double number; /* for programs */
    bool is_number;
};
struct table {
    const char *const *column; /* NULL-terminated names, borrowed */
    int n_columns;
    int64_t n_cells, capacity;
    struct table_cell *cell;
};

/* Cells are added row by row; a table ends the program when memory is short. */
struct table table_new(const char *const *columns);
void table_word(struct table *t, const char *s);
/* A number, and how people see it.  NaN: there is none ("-", null). */
void table_number(struct table *t, double x, const char *format, ...) MOT_PRINTF(3, 4);
/* A number shown with three digits and a power of thousand (12.3 G). */
void table_amount(struct table *t, double x);
/* JSON here is one array of objects; JSON Lines an object a line. */
void table_print(FILE *f, const struct table *t, enum table_format format);
void table_free(struct table *t);

/* A number for programs: shortest text that reads back as the same number; null where it is not finite. */
void print_number(FILE *f, double x);

#endif
