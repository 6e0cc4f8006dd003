/* SPDX-License-Identifier: MIT
 *
 * normalize.c - the normalizers of tokenizer.json, one after the other over a text.
 */
#include "token.h"

static void strip(const struct mot_text_step *step, const unsigned char **p, size_t *n)
{
    int size;
    while (step->left && *n && mot_is_space(mot_utf8_get(*p, &size)))
        *p += size, *n -= (size_t)size;
    while (step->right && *n) {
        size_t last = *n - 1;
        while (((*p)[last] & 0xc0) == 0x80)
            last--;
        if (!mot_is_space(mot_utf8_get(*p + last, &size)))
            break;
        *n = last;
    }
}

static int map_characters(mot_map *map, const unsigned char *p, size_t n, struct mot_bytes *out)
{
    int rc = mot_bytes_reserve(out, n), size;
    for (size_t i = 0; !rc && i < n; i += (size_t)size) {
        int32_t to[3];
        unsigned char utf8[12];
        int count = map(mot_utf8_get(p + i, &size), to), length = 0;
        for (int k = 0; k < count; k++)
            length += mot_utf8_put(utf8 + length, to[k]);
        rc = mot_bytes_append(out, utf8, (size_t)length);
    }
    return rc;
}

/* Does a step take away what p starts with?  What is left then does not start where the text does. */
static int takes_start(const struct mot_text_step *step, struct mot_matcher *m, const unsigned char *p, size_t n,
                       bool *takes)
{
    int size;
    int32_t to[3];
    size_t begin, end;
    *takes = false;
    if (n == 0)
        return MOT_OK;
    if (step->kind == MOT_STEP_STRIP)
        *takes = step->left && mot_is_space(mot_utf8_get(p, &size));
    else if (step->kind == MOT_STEP_MAP)
        *takes = step->map(mot_utf8_get(p, &size), to) == 0;
    if (step->kind != MOT_STEP_REPLACE || step->with_n)
        return MOT_OK;
    int rc = mot_regex_find(&step->regex, m, p, n, 0, &begin, &end);
    *takes = !rc && begin == 0 && end > 0;
    return rc;
}

static int normalize_step(const struct mot_text_step *step, struct mot_matcher *m, const unsigned char *p, size_t n,
                          struct mot_bytes *out)
{
    int rc = MOT_OK;
    switch (step->kind) {
    case MOT_STEP_FORM:
        return mot_normal_form(step->form, p, n, out);
    case MOT_STEP_REPLACE:
        return mot_text_replace(step, m, p, n, out);
    case MOT_STEP_MAP:
        return map_characters(step->map, p, n, out);
    case MOT_STEP_LETTERS:
        return mot_letters_of_bytes(p, n, out);
    default: /* MOT_STEP_PREPEND */
        rc = mot_bytes_append(out, step->with, step->with_n);
        return rc ? rc : mot_bytes_append(out, p, n);
    }
}

int mot_text_normalize(const struct mot_text *t, struct mot_text_state *s, bool continued,
                       const unsigned char **p, size_t *n, bool *first)
{
    int side = 0;
    for (int k = 0; k < t->n_normal; k++) {
        const struct mot_text_step *step = &t->normal[k];
        bool takes;
        int rc = takes_start(step, &s->matcher, *p, *n, &takes);
        if (rc)
            return rc;
        *first = *first && !takes;
        if (step->kind == MOT_STEP_STRIP) {
            strip(step, p, n);
            continue;
        }
        if (step->kind == MOT_STEP_PREPEND && (continued || *n == 0))
            continue;
        struct mot_bytes *out = &s->normal[side];
        side = !side;
        out->n = 0;
        rc = normalize_step(step, &s->matcher, *p, *n, out);
        if (!rc)
            rc = mot_bytes_reserve(out, 1); /* so that data is never NULL */
        if (rc)
            return rc;
        *p = out->data;
        *n = out->n;
    }
    return MOT_OK;
}
