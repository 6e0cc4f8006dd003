/* SPDX-License-Identifier: MIT
 *
 * carve.h - a cursor over a block that may not be there yet: sizes first, pointers later, by the same code.
 */
#ifndef MOT_CARVE_H
#define MOT_CARVE_H

#include "../base/base.h"

struct mot_carve {
    char *base; /* NULL: only `used` is wanted */
    size_t used;
    bool overflow;
};

static inline void *mot_carve(struct mot_carve *c, int64_t n, int64_t each, size_t size)
{
    size_t bytes = 0, end = 0;
    if (!mot_mul((size_t)n, (size_t)each, &bytes) || !mot_mul(bytes, size, &bytes) ||
        !mot_add(c->used, bytes + 63, &end)) {
        c->overflow = true;
        return NULL;
    }
    void *p = c->base ? c->base + c->used : NULL;
    c->used = end / 64 * 64;
    return p;
}

#define TAKE(p, n, each) ((p) = mot_carve(c, (n), (each), sizeof *(p)))
#define TAKE_ACT(p, n, each) ((p) = mot_carve(c, (n), (each), act)) /* activations have the size that the backend says */

#endif
