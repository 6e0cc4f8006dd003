/* SPDX-License-Identifier: MIT
 *
 * tree.c - named values in named groups as JSON or TSV.
 */
#include "tree.h"

#include <math.h>
#include <string.h>

#include "table.h"
#include "tool.h"

struct tree tree_begin(FILE *f, bool json)
{
    if (json)
        fputc('{', f);
    return (struct tree){.f = f, .json = json};
}

static void name_of(struct tree *t, const char *name)
{
    if (!t->json) {
        fprintf(t->f, "%s%s\t", t->path, name);
        return;
    }
    fputs(t->comma ? "," : "", t->f);
    tool_json_string(t->f, name);
    fputc(':', t->f);
    t->comma = true;
}

void tree_open(struct tree *t, const char *name)
{
    if (t->json) {
        name_of(t, name);
        fputc('{', t->f);
        t->comma = false;
        return;
    }
    size_t n = strlen(t->path);
    snprintf(t->path + n, sizeof t->path - n, "%s.", name);
}

void tree_close(struct tree *t)
{
    if (t->json) {
        fputc('}', t->f);
        t->comma = true;
        return;
    }
    t->path[strlen(t->path) - 1] = 0;
    char *dot = strrchr(t->path, '.');
    *(dot ? dot + 1 : t->path) = 0;
}

void tree_number(struct tree *t, const char *name, double x)
{
    name_of(t, name);
    if (!t->json && !isfinite(x))
        fputc('-', t->f);
    else
        print_number(t->f, x);
    fputs(t->json ? "" : "\n", t->f);
}

void tree_word(struct tree *t, const char *name, const char *s)
{
    name_of(t, name);
    if (t->json)
        tool_json_string(t->f, s);
    else
        fprintf(t->f, "%s\n", s);
}

void tree_end(struct tree *t)
{
    fputs(t->json ? "}\n" : "", t->f);
}
