/* SPDX-License-Identifier: MIT
 *
 * numbered.h - names of output files that are numbered (numbered.c).
 */
#ifndef MOT_NUMBERED_H
#define MOT_NUMBERED_H

#include "../base/base.h"

struct mot_numbered {
    char *before, *after; /* the name around the number */
    int digits;           /* of it at least; 0: there is no number */
    char *name;           /* as asked for last */
};
/* numbered false: the path alone.  suffix (".mot") stays behind the number. */
int mot_numbered_init(struct mot_numbered *a, const char *path, const char *suffix, bool numbered, bool twin) MOT_CHECKED;
/* Owned by a until the next call; NULL: no memory. */
const char *mot_numbered_name(struct mot_numbered *a, int64_t number);
void mot_numbered_free(struct mot_numbered *a);

#endif
