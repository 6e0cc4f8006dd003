/* SPDX-License-Identifier: MIT
 *
 * split.c - which records are for training and which for validation: drawn by a hash of the record's key and the seed, so that
 * equal keys go to one side, whatever else the data hold and in whatever order.
 *
 * The key is the caption, so normalised that captions which differ in case, punctuation, white space or the form of their
 * characters are one; or the file: the first one that a line of JSON names, a file's path below the folder that was named, a
 * member's key in its tar.  What has neither (a line of text) is its own key.
 */
#include <utf8proc.h>

#include "source.h"

/* A caption's hash, made piece by piece. */
struct caption {
    uint64_t hash;
    bool begun, gap; /* there was a letter; what came since is none */
};

static void add_character(struct caption *c, utf8proc_int32_t x)
{
    utf8proc_category_t k = utf8proc_category(x);
    bool mark = k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
    if (!mark && !(k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO)) {
        c->gap = true;
        return;
    }
    if (c->begun && c->gap)
        c->hash = mot_hash(c->hash, " ", 1);
    c->hash = mot_hash(c->hash, &x, sizeof x);
    c->begun = true;
    c->gap = false;
}

/* Compatible characters are equal, and capitals are small; bytes that are no UTF-8 stand for themselves. */
static void add_words(struct caption *c, const unsigned char *p, size_t n)
{
    enum { LONGEST = 32, MOST = 1 << 20 }; /* of a character's decomposition; of a text, the beginning will do */
    n = n < MOST ? n : MOST;
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t x, out[LONGEST];
        int boundary = 0;
        utf8proc_ssize_t used = utf8proc_iterate(p + i, (utf8proc_ssize_t)(n - i), &x), k = 0;
        if (used > 0)
            k = utf8proc_decompose_char(x, out, LONGEST, UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE,
                                        &boundary);
        if (used <= 0)
            c->hash = mot_hash(c->hash, p + i, 1);
        for (utf8proc_ssize_t a = 0; a < k && a < LONGEST; a++)
            add_character(c, out[a]);
        i += used > 0 ? (size_t)used : 1;
    }
    c->gap = true;
}

/* Texts, or where there is none what sounds say; false: no word in it. */
static bool caption_hash(const struct mot_building *b, uint64_t *hash)
{
    struct caption c = {.hash = MOT_HASH_START};
    for (int sounds = 0; sounds < 2 && !c.begun; sounds++)
        for (int i = 0; i < b->r.n_items; i++) {
            const struct mot_item *item = &b->r.item[i];
            if (item->kind == (sounds ? MOT_KIND_SPEECH : MOT_KIND_TEXT))
                add_words(&c, item->text.data, item->text.n);
        }
    *hash = c.hash;
    return c.begun;
}

static uint64_t file_hash(const struct mot_raw *raw, const struct mot_building *b)
{
    const char *key = b->key ? b->key : raw->key;
    if (key)
        return mot_hash(MOT_HASH_START, key, strlen(key));
    uint64_t h = MOT_HASH_START;
    for (int i = 0; i < raw->n_parts; i++)
        h = mot_hash(h, raw->part[i].data.data, raw->part[i].data.n);
    return h;
}

bool mot_split(const struct mot_raw *raw, const struct mot_building *b, bool by_caption, double train, uint64_t seed)
{
    uint64_t hash;
    if (!by_caption || !caption_hash(b, &hash))
        hash = file_hash(raw, b);
    return mot_random_uniform(seed, mot_stream("split"), hash) >= train;
}
