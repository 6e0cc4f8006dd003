/* SPDX-License-Identifier: MIT
 *
 * bpe.c - byte-pair encoding: the vocabulary's tables, and how a piece of text becomes ids.
 *
 * A piece starts as one symbol a byte (byte-level vocabularies) or a character (SentencePiece-like
 * ones), then the neighbouring pair with the lowest rank, leftmost first, is merged until no pair
 * is in the table.  Short pieces do this by scanning, long ones with a heap over a linked list, so
 * that a megabyte without a space takes n log n steps.  Most pieces are words seen before: a cache
 * of a fixed size maps them to ids at once.
 *
 * Byte-level strings in a file spell each byte as a letter (letters.c); inside the library they are
 * raw bytes.
 *
 * SentencePiece-like files have no pre-tokenizer: a whole document is one piece.  It may still be
 * cut before U+2581 (the space), where no token contains that character after the one before: no
 * merge could cross there.
 */
#include "token.h"

enum { SHORT = 48 }; /* symbols; up to here scanning beats the heap */
enum { SPACE_LETTER = 0x2581, CHARACTERS = 0x110000 };
enum { MAYBE_BITS = 4 }; /* a slot of the table of merges */

/* ---- tables ---- */

static uint64_t hash_bytes(const unsigned char *p, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, x;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&x, p, 8);
        h = (h ^ x) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    x = 0;
    memcpy(&x, p, n);
    h = (h ^ x) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

static int32_t find(const struct mot_bpe *b, const struct mot_bpe_index *index,
                    const struct mot_bpe_string *string, const unsigned char *p, size_t n)
{
    if (!index->slot)
        return -1;
    for (uint32_t i = (uint32_t)hash_bytes(p, n) & index->mask;; i = (i + 1) & index->mask) {
        uint32_t slot = index->slot[i];
        if (slot == 0)
            return -1;
        const struct mot_bpe_string *s = &string[slot - 1];
        if (s->n == n && memcmp(b->blob.data + s->begin, p, n) == 0)
            return (int32_t)(slot - 1);
    }
}

int32_t mot_bpe_find(const struct mot_bpe *b, const char *text, size_t n)
{
    return find(b, &b->by_text, b->text, (const unsigned char *)text, n);
}

static const unsigned char *string_of(const struct mot_bpe *b, const struct mot_bpe_string *string,
                                      int32_t id, size_t *n)
{
    if (id < 0 || id >= b->n || b->text[id].begin == UINT32_MAX)
        return NULL;
    *n = string[id].n;
    return b->blob.data + string[id].begin;
}

const unsigned char *mot_bpe_text(const struct mot_bpe *b, int32_t id, size_t *n)
{
    return string_of(b, b->text, id, n);
}

const unsigned char *mot_bpe_raw(const struct mot_bpe *b, int32_t id, size_t *n)
{
    return string_of(b, b->raw, id, n);
}

static inline uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static inline uint64_t hash_pair(uint64_t pair)
{
    return pair * 0x9e3779b97f4a7c15u;
}

static inline struct mot_bpe_merge *merge_slot(const struct mot_bpe *b, uint64_t pair)
{
    uint64_t i = hash_pair(pair) >> 20 & b->merge_mask;
    while (b->merge[i].pair != pair && b->merge[i].pair != UINT64_MAX)
        i = (i + 1) & b->merge_mask;
    return &b->merge[i];
}

/* ---- building ---- */

/* A power of two that leaves half of the slots empty. */
static uint64_t slots_for(uint64_t n)
{
    uint64_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

int mot_bpe_begin(struct mot_bpe *b, int32_t n, int64_t merges)
{
    uint64_t slots = slots_for((uint64_t)merges);
    b->n = n;
    b->unknown = -1;
    b->prefix = b->prefix ? b->prefix : "";
    b->suffix = b->suffix ? b->suffix : "";
    b->text = mot_alloc((size_t)n, sizeof *b->text);
    b->merge = mot_alloc(slots, sizeof *b->merge);
    b->maybe = mot_alloc(slots * MAYBE_BITS / 64, sizeof *b->maybe);
    if (!b->text || !b->merge || !b->maybe || mot_bytes_reserve(&b->blob, 1)) /* so that data is never NULL */
        return MOT_ENOMEM;
    for (b->maybe_shift = 64; slots * MAYBE_BITS > (uint64_t)1 << (64 - b->maybe_shift);)
        b->maybe_shift--;
    for (int32_t i = 0; i < n; i++)
        b->text[i].begin = UINT32_MAX;
    for (uint64_t i = 0; i < slots; i++)
        b->merge[i].pair = UINT64_MAX;
    b->merge_mask = slots - 1;
    for (int i = 0; i < 256; i++)
        b->byte[i] = -1;
    return MOT_OK;
}

int mot_bpe_token(struct mot_bpe *b, int32_t id, const char *text, size_t n)
{
    if (b->text[id].begin != UINT32_MAX)
        return mot_fail(MOT_EFORMAT, "id %d is given to two tokens", id);
    if (b->blob.n + n >= UINT32_MAX / 2)
        return mot_fail(MOT_EFORMAT, "the vocabulary's strings exceed 2 GiB");
    b->text[id] = (struct mot_bpe_string){(uint32_t)b->blob.n, (uint32_t)n};
    return mot_bytes_append(&b->blob, text, n);
}

static int index_strings(struct mot_bpe *b, struct mot_bpe_index *index,
                         const struct mot_bpe_string *string, const bool *skip)
{
    uint64_t slots = slots_for((uint64_t)b->n);
    index->slot = mot_alloc(slots, sizeof *index->slot);
    if (!index->slot)
        return MOT_ENOMEM;
    index->mask = (uint32_t)(slots - 1);
    for (int32_t id = 0; id < b->n; id++) {
        if (b->text[id].begin == UINT32_MAX || (skip && skip[id]))
            continue;
        const unsigned char *p = b->blob.data + string[id].begin;
        uint32_t i = (uint32_t)hash_bytes(p, string[id].n) & index->mask;
        while (index->slot[i])
            i = (i + 1) & index->mask;
        index->slot[i] = (uint32_t)id + 1;
    }
    return MOT_OK;
}

static int make_raw(struct mot_bpe *b)
{
    bool *skip = mot_alloc((size_t)b->n, sizeof *skip);
    b->raw = mot_alloc((size_t)b->n, sizeof *b->raw);
    int rc = skip && b->raw ? MOT_OK : MOT_ENOMEM;
    struct mot_bytes raw = {0};
    for (int32_t id = 0; !rc && id < b->n; id++) {
        if (b->text[id].begin == UINT32_MAX)
            continue;
        bool all;
        raw.n = 0;
        rc = mot_bytes_of_letters(b->blob.data + b->text[id].begin, b->text[id].n, &raw, &all);
        skip[id] = !all;
        b->raw[id] = (struct mot_bpe_string){(uint32_t)b->blob.n, (uint32_t)raw.n};
        if (!rc)
            rc = mot_bytes_append(&b->blob, raw.data, raw.n);
    }
    mot_bytes_free(&raw);
    if (!rc)
        rc = index_strings(b, &b->by_raw, b->raw, skip);
    mot_free(skip);
    return rc;
}

int mot_bpe_make_index(struct mot_bpe *b)
{
    int rc = index_strings(b, &b->by_text, b->text, NULL);
    if (!rc && b->bytes)
        return make_raw(b);
    b->raw = b->text;
    b->by_raw = b->by_text;
    return rc;
}

void mot_bpe_add_merge(struct mot_bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id)
{
    struct mot_bpe_merge *m = merge_slot(b, pair_of(left, right));
    uint64_t bit = hash_pair(pair_of(left, right)) >> b->maybe_shift;
    b->n_merges += m->pair == UINT64_MAX;
    b->maybe[bit / 64] |= (uint64_t)1 << bit % 64;
    *m = (struct mot_bpe_merge){pair_of(left, right), rank, id};
}

/* Does what has no symbol leave none?  Then those around it stand together, and may merge. */
static bool unknown_vanishes(const struct mot_bpe *b)
{
    bool bytes = b->byte_fallback;
    for (int i = 0; i < 256; i++)
        bytes = bytes && b->byte[i] >= 0;
    return b->unknown < 0 && !bytes;
}

/* Find out before which characters a text may be cut at U+2581; b->no_cut stays NULL where it may
 * not at all. */
static int find_cuts(struct mot_bpe *b)
{
    if (!b->character[SPACE_LETTER] || *b->prefix || *b->suffix)
        return MOT_OK;
    uint64_t *no_cut = mot_alloc(CHARACTERS / 64, sizeof *no_cut);
    if (!no_cut)
        return MOT_ENOMEM;
    bool *odd =
        mot_alloc((size_t)b->n, sizeof *odd); /* tokens whose symbol is not what their text says */
    if (!odd) {
        mot_free(no_cut);
        return MOT_ENOMEM;
    }
    for (int i = 0; i < 256; i++)
        if (b->byte[i] >= 0)
            odd[b->byte[i]] = true;
    if (b->unknown >= 0)
        odd[b->unknown] = true;
    bool vanishes = unknown_vanishes(b);
    for (int32_t c = 0; c < CHARACTERS && vanishes; c++)
        no_cut[c / 64] |= (uint64_t)!b->character[c] << c % 64;
    bool can = true;
    for (uint64_t i = 0; i <= b->merge_mask && can; i++) {
        const struct mot_bpe_merge *m = &b->merge[i];
        if (m->pair == UINT64_MAX)
            continue;
        can = !odd[m->pair >> 32] && !odd[m->pair & UINT32_MAX];
        const unsigned char *p = b->blob.data + b->text[m->id].begin, *end = p + b->text[m->id].n;
        for (int32_t before = -1; p < end;) {
            int size;
            int32_t c = mot_utf8_get(p, &size);
            if (c == SPACE_LETTER && before >= 0)
                no_cut[before / 64] |= (uint64_t)1 << before % 64;
            before = c;
            p += size;
        }
    }
    mot_free(odd);
    if (can)
        b->no_cut = no_cut;
    else
        mot_free(no_cut);
    return MOT_OK;
}

int mot_bpe_finish(struct mot_bpe *b)
{
    if (b->bytes) {
        for (int i = 0; i < 256; i++) {
            unsigned char byte = (unsigned char)i;
            b->byte[i] = find(b, &b->by_raw, b->raw, &byte, 1);
        }
        return MOT_OK;
    }
    for (int i = 0; i < 256 && b->byte_fallback; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", i);
        b->byte[i] = mot_bpe_find(b, text, 6);
    }
    b->character = mot_alloc(CHARACTERS, sizeof *b->character);
    if (!b->character)
        return MOT_ENOMEM;
    for (int32_t id = 0; id < b->n; id++) {
        size_t n;
        const unsigned char *p = mot_bpe_text(b, id, &n);
        if (!p || n == 0 || n > 4)
            continue;
        int size;
        int32_t c = mot_utf8_get(p, &size);
        if ((size_t)size == n)
            b->character[c] = (uint32_t)id + 1;
    }
    return find_cuts(b);
}

void mot_bpe_free(struct mot_bpe *b)
{
    if (b->raw != b->text) {
        mot_free(b->raw);
        mot_free(b->by_raw.slot);
    }
    mot_free(b->text);
    mot_free(b->by_text.slot);
    mot_free(b->merge);
    mot_free(b->maybe);
    mot_free(b->character);
    mot_free(b->no_cut);
    mot_bytes_free(&b->blob);
    *b = (struct mot_bpe){0};
}

/* ---- merging ---- */

/* No pair: larger than any rank. */
#define NO_RANK INT32_MAX

static inline int32_t rank_of(const struct mot_bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = pair_of(left, right), bit = hash_pair(pair) >> b->maybe_shift;
    if (!(b->maybe[bit / 64] >> bit % 64 & 1))
        return NO_RANK;
    const struct mot_bpe_merge *m = merge_slot(b, pair);
    return m->pair == UINT64_MAX ? NO_RANK : m->rank;
}

/* Merge n symbols in place by scanning for the lowest rank; returns how many are left. */
static int64_t merge_short(const struct mot_bpe *b, int32_t *symbol, int64_t n)
{
    int32_t rank[SHORT];
    for (int64_t i = 0; i + 1 < n; i++)
        rank[i] = rank_of(b, symbol[i], symbol[i + 1]);
    while (n > 1) {
        int64_t best = 0;
        for (int64_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == NO_RANK)
            break;
        symbol[best] = merge_slot(b, pair_of(symbol[best], symbol[best + 1]))->id;
        n--;
        memmove(symbol + best + 1, symbol + best + 2, (size_t)(n - best - 1) * sizeof *symbol);
        if (best + 1 < n) {
            memmove(rank + best + 1, rank + best + 2, (size_t)(n - best - 2) * sizeof *rank);
            rank[best] = rank_of(b, symbol[best], symbol[best + 1]);
        }
        if (best > 0)
            rank[best - 1] = rank_of(b, symbol[best - 1], symbol[best]);
    }
    return n;
}

/* The heap holds rank << 32 | place of the left symbol, lowest first. Entries whose pair has
 * changed since are recognised when they come up: the rank at that place is another. */
struct heap {
    uint64_t *entry;
    int64_t n;
};

static void heap_push(struct heap *h, uint64_t x)
{
    int64_t i = h->n++;
    while (i > 0 && h->entry[(i - 1) / 2] > x) {
        h->entry[i] = h->entry[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->entry[i] = x;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->entry[0], x = h->entry[--h->n];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < h->n; i = child) {
        child += child + 1 < h->n && h->entry[child + 1] < h->entry[child];
        if (h->entry[child] >= x)
            break;
        h->entry[i] = h->entry[child];
    }
    h->entry[i] = x;
    return top;
}

static void set_pair(const struct mot_bpe *b, struct mot_bpe_state *s, struct heap *h, int32_t at)
{
    int32_t next = s->next[at];
    s->rank[at] = next < 0 ? NO_RANK : rank_of(b, s->symbol[at], s->symbol[next]);
    if (s->rank[at] != NO_RANK)
        heap_push(h, (uint64_t)s->rank[at] << 32 | (uint32_t)at);
}

static int64_t merge_long(const struct mot_bpe *b, struct mot_bpe_state *s, int64_t n)
{
    struct heap h = {s->heap, 0};
    for (int64_t i = 0; i < n; i++) {
        s->before[i] = (int32_t)(i - 1);
        s->next[i] = i + 1 < n ? (int32_t)(i + 1) : -1;
    }
    for (int64_t i = 0; i < n; i++)
        set_pair(b, s, &h, (int32_t)i);
    /* Each merge takes one entry out and puts at most two in, and there are less than n merges: 3n
     * entries fit. */
    while (h.n > 0) {
        uint64_t top = heap_pop(&h);
        int32_t at = (int32_t)(top & UINT32_MAX);
        if (s->rank[at] != (int32_t)(top >> 32))
            continue;
        int32_t gone = s->next[at];
        s->symbol[at] = merge_slot(b, pair_of(s->symbol[at], s->symbol[gone]))->id;
        s->rank[gone] = NO_RANK;
        s->next[at] = s->next[gone];
        if (s->next[at] >= 0)
            s->before[s->next[at]] = at;
        set_pair(b, s, &h, at);
        if (s->before[at] >= 0)
            set_pair(b, s, &h, s->before[at]);
    }
    int64_t left = 0;
    for (int32_t i = 0; i >= 0; i = s->next[i])
        s->symbol[left++] = s->symbol[i];
    return left;
}

/* ---- a piece to ids ---- */

enum {
    CACHE_SLOTS = 1 << 16,
    CACHE_ENTRIES = CACHE_SLOTS / 4 * 3,
    CACHE_BYTES = 1 << 20,
    CACHE_IDS = 1 << 18,
    LONGEST_CACHED = 64, /* bytes */
};
struct mot_bpe_cached {
    uint64_t hash;
    uint32_t bytes, ids;
    uint16_t n, n_ids; /* n = 0: empty */
};

int mot_bpe_state_init(struct mot_bpe_state *s)
{
    s->cache = mot_alloc(CACHE_SLOTS, sizeof *s->cache);
    s->cache_bytes = mot_alloc(CACHE_BYTES, 1);
    s->cache_ids = mot_alloc(CACHE_IDS, sizeof *s->cache_ids);
    return s->cache && s->cache_bytes && s->cache_ids ? MOT_OK : MOT_ENOMEM;
}

void mot_bpe_state_free(struct mot_bpe_state *s)
{
    mot_free(s->symbol);
    mot_free(s->rank);
    mot_free(s->next);
    mot_free(s->before);
    mot_free(s->heap);
    mot_free(s->cache);
    mot_free(s->cache_bytes);
    mot_free(s->cache_ids);
    mot_bytes_free(&s->key);
    *s = (struct mot_bpe_state){0};
}

static int resize(int32_t **array, int64_t n)
{
    int32_t *p = mot_realloc(*array, (size_t)n, sizeof *p);
    if (!p)
        return MOT_ENOMEM;
    *array = p;
    return MOT_OK;
}

static int reserve(struct mot_bpe_state *s, size_t n)
{
    if (n <= (size_t)s->capacity)
        return MOT_OK;
    if (n > INT32_MAX / 4)
        return mot_fail(MOT_EARG,
                        "a piece of text of %zu bytes without a boundary; at most 512 MiB", n);
    int64_t more = (int64_t)n + (int64_t)n / 2;
    s->capacity = 0;
    uint64_t *heap = mot_realloc(s->heap, (size_t)more * 3, sizeof *heap);
    if (!heap)
        return MOT_ENOMEM;
    s->heap = heap;
    if (resize(&s->symbol, more) || resize(&s->rank, more) || resize(&s->next, more) ||
        resize(&s->before, more))
        return MOT_ENOMEM;
    s->capacity = more;
    return MOT_OK;
}

/* The symbols a piece starts with; returns how many. */
static int64_t start_symbols(const struct mot_bpe *b, int32_t *symbol, const unsigned char *p,
                             size_t n, bool valid)
{
    int64_t count = 0;
    bool pending = false; /* an unknown character, or a run of them, that has no symbol yet */
    for (size_t i = 0; i < n;) {
        int size = 1;
        int32_t id;
        if (b->bytes || !valid) {
            id = b->byte[p[i]];
        } else {
            id = (int32_t)b->character[mot_utf8_get(p + i, &size)] - 1;
            bool all = id < 0 && b->byte_fallback;
            for (int k = 0; k < size && all; k++)
                all = b->byte[p[i + (size_t)k]] >= 0;
            if (all) {
                for (int k = 0; k < size; k++)
                    symbol[count++] = b->byte[p[i + (size_t)k]];
                i += (size_t)size;
                continue;
            }
        }
        i += (size_t)size;
        if (id >= 0) {
            if (pending)
                symbol[count++] = b->unknown;
            pending = false;
            symbol[count++] = id;
        } else if (b->unknown >= 0) {
            if (pending && !b->fuse_unknown)
                symbol[count++] = b->unknown;
            pending = true;
        }
    }
    if (pending)
        symbol[count++] = b->unknown;
    return count;
}

/* The id of one character of a piece, with what its place in the piece adds; its text then stands in key. */
static int affixed_symbol(const struct mot_bpe *b, struct mot_bytes *key, const unsigned char *p, int size, bool first,
                          bool last, int32_t *id)
{
    key->n = 0;
    int rc = first ? MOT_OK : mot_bytes_append(key, b->prefix, strlen(b->prefix));
    if (!rc)
        rc = b->bytes ? mot_letters_of_bytes(p, 1, key) : mot_bytes_append(key, p, (size_t)size);
    if (!rc && last)
        rc = mot_bytes_append(key, b->suffix, strlen(b->suffix));
    *id = rc ? -1 : mot_bpe_find(b, (const char *)key->data, key->n);
    return rc;
}

/* start_symbols for a vocabulary with continuing_subword_prefix or end_of_word_suffix; a character's fallback then
 * spells the affixes too. */
static int start_affixed(const struct mot_bpe *b, struct mot_bpe_state *s, const unsigned char *p, size_t n,
                         int64_t *count)
{
    struct mot_bytes *key = &s->key;
    bool pending = false;
    int rc = MOT_OK, size = 1;
    *count = 0;
    for (size_t i = 0; !rc && i < n; i += (size_t)size) {
        int32_t id;
        if (!b->bytes)
            mot_utf8_get(p + i, &size);
        rc = affixed_symbol(b, key, p + i, size, i == 0, i + (size_t)size == n, &id);
        bool all = !rc && id < 0 && b->byte_fallback;
        for (size_t k = 0; all && k < key->n; k++)
            all = b->byte[key->data[k]] >= 0;
        if (!rc)
            rc = reserve(s, (size_t)*count + key->n + 2);
        if (rc)
            return rc;
        if (all) {
            for (size_t k = 0; k < key->n; k++)
                s->symbol[(*count)++] = b->byte[key->data[k]];
        } else if (id >= 0 || b->unknown >= 0) {
            if (pending && (id >= 0 || !b->fuse_unknown))
                s->symbol[(*count)++] = b->unknown;
            pending = id < 0;
            if (id >= 0)
                s->symbol[(*count)++] = id;
        }
    }
    if (pending)
        s->symbol[(*count)++] = b->unknown;
    return rc;
}

static int encode_whole(const struct mot_bpe *b, struct mot_bpe_state *s, const unsigned char *p,
                        size_t n, bool valid, struct mot_ids *out)
{
    int rc = reserve(s, n);
    if (rc)
        return rc;
    int64_t count;
    if (valid && (*b->prefix || *b->suffix))
        rc = start_affixed(b, s, p, n, &count);
    else
        count = start_symbols(b, s->symbol, p, n, valid);
    if (rc)
        return rc;
    count = count <= SHORT ? merge_short(b, s->symbol, count) : merge_long(b, s, count);
    return mot_ids_append(out, s->symbol, count);
}

static struct mot_bpe_cached *cache_slot(struct mot_bpe_state *s, uint64_t hash,
                                         const unsigned char *p, size_t n)
{
    for (uint32_t i = (uint32_t)hash % CACHE_SLOTS;; i = (i + 1) % CACHE_SLOTS) {
        struct mot_bpe_cached *c = &s->cache[i];
        if (c->n == 0 ||
            (c->hash == hash && c->n == n && memcmp(s->cache_bytes + c->bytes, p, n) == 0))
            return c;
    }
}

static void cache_store(struct mot_bpe_state *s, uint64_t hash, const unsigned char *p, size_t n,
                        const int32_t *id, int64_t n_ids)
{
    if (s->n_cached == CACHE_ENTRIES || s->n_cache_bytes + n > CACHE_BYTES ||
        s->n_cache_ids + n_ids > CACHE_IDS) {
        memset(s->cache, 0, CACHE_SLOTS * sizeof *s->cache);
        s->n_cached = s->n_cache_bytes = s->n_cache_ids = 0;
    }
    struct mot_bpe_cached *c = cache_slot(s, hash, p, n);
    *c = (struct mot_bpe_cached){hash, s->n_cache_bytes, s->n_cache_ids, (uint16_t)n,
                                 (uint16_t)n_ids};
    memcpy(s->cache_bytes + s->n_cache_bytes, p, n);
    memcpy(s->cache_ids + s->n_cache_ids, id, (size_t)n_ids * sizeof *id);
    s->n_cached++;
    s->n_cache_bytes += (uint32_t)n;
    s->n_cache_ids += (uint32_t)n_ids;
}

/* A piece that no shortcut but the cache may change. */
static int encode_cached(const struct mot_bpe *b, struct mot_bpe_state *s, const unsigned char *p,
                         size_t n, struct mot_ids *out)
{
    if (n > LONGEST_CACHED)
        return encode_whole(b, s, p, n, true, out);
    uint64_t hash = hash_bytes(p, n);
    const struct mot_bpe_cached *c = cache_slot(s, hash, p, n);
    if (c->n)
        return mot_ids_append(out, s->cache_ids + c->ids, c->n_ids);
    int64_t start = out->n;
    int32_t whole = b->ignore_merges ? find(b, &b->by_raw, b->raw, p, n) : -1;
    int rc = whole >= 0 ? mot_ids_append(out, &whole, 1) : encode_whole(b, s, p, n, true, out);
    if (!rc && out->n > start)
        cache_store(s, hash, p, n, out->id + start, out->n - start);
    return rc;
}

/* The next place after from where a SentencePiece-like text may be cut, or n. */
static size_t next_cut(const struct mot_bpe *b, const unsigned char *p, size_t n, size_t from)
{
    for (size_t i = from + 1; i < n; i++) {
        const unsigned char *q = memchr(p + i, 0xe2, n - i);
        if (!q)
            break;
        i = (size_t)(q - p);
        if (p[i + 1] != 0x96 || p[i + 2] != 0x81)
            continue;
        size_t start = i - 1;
        while ((p[start] & 0xc0) == 0x80)
            start--;
        int size;
        int32_t before = mot_utf8_get(p + start, &size);
        if (!(b->no_cut[before / 64] >> before % 64 & 1))
            return i;
    }
    return n;
}

int mot_bpe_encode(const struct mot_bpe *b, struct mot_bpe_state *s, const unsigned char *p,
                   size_t n, bool valid, struct mot_ids *out)
{
    if (n == 0)
        return MOT_OK;
    if (!valid)
        return encode_whole(b, s, p, n, false, out);
    if (!b->no_cut || b->ignore_merges) {
        if (n > LONGEST_CACHED && b->ignore_merges) {
            int32_t whole = find(b, &b->by_raw, b->raw, p, n);
            if (whole >= 0)
                return mot_ids_append(out, &whole, 1);
        }
        return encode_cached(b, s, p, n, out);
    }
    int rc = MOT_OK;
    for (size_t from = 0; !rc && from < n;) {
        size_t cut = next_cut(b, p, n, from);
        rc = encode_cached(b, s, p + from, cut - from, out);
        from = cut;
    }
    return rc;
}
