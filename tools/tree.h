/* SPDX-License-Identifier: MIT
 *
 * tree.h - named values in named groups, written as one JSON object or as lines of TSV, a dotted name and a value each.
 * One walk over the values serves both.
 */
#ifndef MOT_TREE_H
#define MOT_TREE_H

#include <stdbool.h>
#include <stdio.h>

struct tree {
    FILE *f;
    bool json, comma;
    char path[256]; /* of the open group, for TSV */
};

struct tree tree_begin(FILE *f, bool json);
void tree_open(struct tree *t, const char *name); /* a group */
void tree_close(struct tree *t);
void tree_number(struct tree *t, const char *name, double x); /* not finite: null, in TSV "-" */
void tree_word(struct tree *t, const char *name, const char *s);
void tree_end(struct tree *t);

#endif
