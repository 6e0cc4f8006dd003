/* SPDX-License-Identifier: MIT
 *
 * added.c - added tokens: what the normalizers make of them, and the tries by which a text is searched for all of them
 * at once.
 */
#include "token.h"

static int trie_add(struct mot_trie *t, const unsigned char *p, size_t n, int32_t token)
{
    int32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t child = t->node[at].child;
        while (child >= 0 && t->node[child].byte != p[i])
            child = t->node[child].sibling;
        if (child < 0) {
            int rc = mot_grow((void **)&t->node, t->n, &t->capacity, sizeof *t->node);
            if (rc)
                return rc;
            child = (int32_t)t->n++;
            t->node[child] = (struct mot_trie_node){p[i], -1, t->node[at].child, -1};
            t->node[at].child = child;
        }
        at = child;
    }
    if (n)
        t->node[at].token = token;
    return MOT_OK;
}

static int trie_begin(struct mot_trie *t)
{
    int rc = mot_grow((void **)&t->node, 0, &t->capacity, sizeof *t->node);
    if (!rc)
        t->node[t->n++] = (struct mot_trie_node){0, -1, -1, -1};
    return rc;
}

static void trie_end(struct mot_trie *t)
{
    t->only = -1;
    int starts = 0;
    for (int32_t child = t->node[0].child; child >= 0; child = t->node[child].sibling) {
        t->starts[t->node[child].byte] = true;
        t->only = ++starts == 1 ? t->node[child].byte : -1;
    }
}

int32_t mot_trie_find(const struct mot_trie *t, const unsigned char *p, size_t n, size_t from,
                      size_t *begin, size_t *end)
{
    if (t->node[0].child < 0)
        return -1;
    for (size_t i = from; i < n; i++) {
        if (t->only >= 0) {
            const unsigned char *q = memchr(p + i, t->only, n - i);
            if (!q)
                return -1;
            i = (size_t)(q - p);
        } else if (!t->starts[p[i]]) {
            continue;
        }
        int32_t found = -1, at = 0;
        for (size_t k = i; k < n; k++) {
            at = t->node[at].child;
            while (at >= 0 && t->node[at].byte != p[k])
                at = t->node[at].sibling;
            if (at < 0)
                break;
            if (t->node[at].token >= 0)
                found = t->node[at].token, *end = k + 1;
        }
        if (found >= 0) {
            *begin = i;
            return found;
        }
    }
    return -1;
}

/* What the normalizers make of the added tokens that are looked for after them. */
static int normalize_added(struct mot_text *t)
{
    struct mot_text_state s = {0};
    int rc = mot_matcher_init(&s.matcher);
    for (int32_t i = 0; !rc && i < t->n_added; i++) {
        struct mot_added *a = &t->added[i];
        const unsigned char *p = (const unsigned char *)a->text;
        size_t n = a->n;
        bool first = true;
        if (!a->normalized)
            continue;
        rc = mot_text_normalize(t, &s, false, &p, &n, &first);
        if (!rc)
            rc = mot_bytes_append(&a->normal, p, n);
    }
    mot_text_state_free(&s);
    return rc;
}

int mot_text_prepare(struct mot_text *t)
{
    t->added_of = mot_alloc((size_t)t->n_ids, sizeof *t->added_of);
    if (!t->added_of)
        return MOT_ENOMEM;
    for (int32_t i = 0; i < t->n_ids; i++)
        t->added_of[i] = -1;
    for (int32_t i = 0; i < t->n_added; i++) {
        int32_t *of = &t->added_of[t->added[i].id];
        t->added[i].special = t->added[i].special || (*of >= 0 && t->added[*of].special);
        *of = i; /* of a token named twice the later one counts */
    }
    int rc = normalize_added(t);
    if (!rc)
        rc = trie_begin(&t->plain);
    if (!rc)
        rc = trie_begin(&t->normalized);
    for (int32_t i = 0; !rc && i < t->n_added; i++) {
        const struct mot_added *a = &t->added[i];
        if (t->added_of[a->id] != i)
            continue;
        rc = a->normalized ? trie_add(&t->normalized, a->normal.data, a->normal.n, i)
                           : trie_add(&t->plain, (const unsigned char *)a->text, a->n, i);
    }
    if (rc)
        return rc;
    trie_end(&t->plain);
    trie_end(&t->normalized);
    return MOT_OK;
}
