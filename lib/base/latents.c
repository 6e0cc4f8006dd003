/* SPDX-License-Identifier: MIT
 *
 * latents.c - pictures whose tokens stand for vectors: their grids and values, one after the other.
 */
#include "base.h"

int64_t mot_grid_tokens(const struct mot_grid *g)
{
    return (int64_t)g->rows * g->columns;
}

int64_t mot_grid_values(const struct mot_grid *g)
{
    return mot_grid_tokens(g) * g->width;
}

/* All that can be held: tokens and values of a picture are checked against this before they are multiplied. */
bool mot_grid_fits(const struct mot_grid *g)
{
    const int64_t most = (int64_t)1 << 40;
    return g->rows > 0 && g->columns > 0 && g->width > 0 && g->width <= MOT_MAX_WIDTH && mot_grid_tokens(g) <= most / g->width;
}

int mot_latents_append(struct mot_latents *l, const struct mot_grid *g, const uint16_t *value)
{
    if (!mot_grid_fits(g))
        return mot_fail(MOT_EARG, "a picture of %d x %d vectors of %d values: there is no such", g->rows, g->columns, g->width);
    int rc = mot_grow((void **)&l->grid, l->n_grids, &l->grid_capacity, sizeof *l->grid);
    if (!rc)
        rc = mot_values_append(&l->value, &l->n, &l->capacity, value, mot_grid_values(g));
    if (!rc)
        l->grid[l->n_grids++] = *g;
    return rc;
}

int mot_values_append(uint16_t **a, int64_t *n, int64_t *capacity, const uint16_t *value, int64_t more)
{
    if (more > *capacity - *n) {
        int64_t larger = *capacity + *capacity / 2;
        if (larger < *n + more)
            larger = *n + more;
        uint16_t *p = mot_realloc(*a, (size_t)larger, sizeof *p);
        if (!p)
            return MOT_ENOMEM;
        *a = p;
        *capacity = larger;
    }
    if (more && value)
        memcpy(*a + *n, value, (size_t)more * sizeof *value);
    *n += more;
    return MOT_OK;
}

void mot_latents_free(struct mot_latents *l)
{
    mot_free(l->grid);
    mot_free(l->value);
    *l = (struct mot_latents){0};
}
