/* SPDX-License-Identifier: MIT
 *
 * bpe_learn.c - byte-pair encoding learned from text (Sennrich et al. 2016), over bytes as GPT-2's.
 *
 * Texts are cut into words by a pattern and counted.  Then, again and again, the pair of
 * neighbouring symbols that occurs most often (the smaller pair of ids where two are equal) becomes
 * a new symbol.  A heap holds pairs with their counts and the words in which they stand; a count
 * that has become smaller since is put right when it comes up.  The order of events is that of
 * `tokenizers`' trainer, so the same words give the same merges.
 *
 * Memory is bounded: when there are too many different words the rare ones are forgotten, first
 * those seen once, then twice, and so on.  A pair seen once in all data is not merged: it would be
 * learned by heart, not learned.
 */
#include "token.h"

const char *const mot_split_pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

enum { MAX_WORDS = 1 << 21, MAX_WORD_BYTES = 128 }; /* at once; bytes a word on average */
/* Longer words are counted in pieces: no word of a language is that long, and each merge reads
 * whole words. */
enum { LONGEST_WORD = 512 };
enum { LEAST_COUNT = 2 };

struct word {
    uint64_t hash;
    int64_t count;
    uint32_t begin, n; /* in bytes */
};

struct mot_bpe_learner {
    struct mot_text_step split;
    struct mot_text_state state;
    struct word *word; /* open addressing by hash; n = 0: empty */
    uint64_t mask;
    int64_t n_words, max_words;
    struct mot_bytes bytes;
    int64_t forgotten; /* words seen this often or less have been dropped */
};

/* ---- counting words ---- */

static int new_table(struct mot_bpe_learner *l, uint64_t slots)
{
    struct word *word = mot_alloc(slots, sizeof *word);
    if (!word)
        return MOT_ENOMEM;
    struct word *old = l->word;
    uint64_t n_old = old ? l->mask + 1 : 0;
    l->word = word;
    l->mask = slots - 1;
    for (uint64_t i = 0; i < n_old; i++) {
        if (old[i].n == 0)
            continue;
        uint64_t at = old[i].hash & l->mask;
        while (word[at].n)
            at = (at + 1) & l->mask;
        word[at] = old[i];
    }
    mot_free(old);
    return MOT_OK;
}

static size_t max_bytes(const struct mot_bpe_learner *l)
{
    return (size_t)l->max_words * MAX_WORD_BYTES;
}

/* Drop the words seen least until half of the room is free. */
static int forget(struct mot_bpe_learner *l)
{
    while (l->n_words > l->max_words / 2 || l->bytes.n > max_bytes(l) / 2) {
        l->forgotten++;
        struct mot_bytes kept = {0};
        int64_t n = 0;
        for (uint64_t i = 0; i <= l->mask; i++) {
            struct word *w = &l->word[i];
            if (w->n && w->count <= l->forgotten)
                w->n = 0;
            if (!w->n)
                continue;
            uint32_t begin = (uint32_t)kept.n;
            int rc = mot_bytes_append(&kept, l->bytes.data + w->begin, w->n);
            if (rc) {
                mot_bytes_free(&kept);
                return rc;
            }
            w->begin = begin;
            n++;
        }
        mot_bytes_free(&l->bytes);
        l->bytes = kept;
        l->n_words = n;
    }
    return new_table(l, l->mask + 1); /* anew, for holes would cut chains of probes */
}

static int count_word(struct mot_bpe_learner *l, const unsigned char *p, size_t n)
{
    uint64_t hash = mot_hash(MOT_HASH_START, p, n), at;
    for (at = hash & l->mask; l->word[at].n; at = (at + 1) & l->mask) {
        struct word *w = &l->word[at];
        if (w->hash == hash && w->n == n && memcmp(l->bytes.data + w->begin, p, n) == 0) {
            w->count++;
            return MOT_OK;
        }
    }
    l->word[at] = (struct word){hash, 1, (uint32_t)l->bytes.n, (uint32_t)n};
    l->n_words++;
    int rc = mot_bytes_append(&l->bytes, p, n);
    if (rc)
        return rc;
    if (l->n_words > l->max_words || l->bytes.n > max_bytes(l))
        return forget(l);
    return (uint64_t)l->n_words * 2 > l->mask ? new_table(l, (l->mask + 1) * 2) : MOT_OK;
}

static int count_piece(void *context, const unsigned char *p, size_t n)
{
    struct mot_bpe_learner *l = context;
    int rc = MOT_OK;
    while (!rc && n > 0) {
        size_t take = n;
        if (n > LONGEST_WORD)
            for (take = LONGEST_WORD; (p[take] & 0xc0) == 0x80;)
                take--;
        rc = count_word(l, p, take);
        p += take;
        n -= take;
    }
    return rc;
}

struct mot_bpe_learner *mot_bpe_learner_new(int64_t max_words)
{
    struct mot_bpe_learner *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->max_words = max_words ? max_words : MAX_WORDS;
    l->split = (struct mot_text_step){.kind = MOT_STEP_SPLIT, .behavior = MOT_ISOLATED};
    if (mot_regex_compile(&l->split.regex, "the splitting pattern", mot_split_pattern,
                          strlen(mot_split_pattern)) ||
        mot_matcher_init(&l->state.matcher) || new_table(l, 1 << 12)) {
        mot_bpe_learner_free(l);
        return NULL;
    }
    return l;
}

int mot_bpe_learner_add(struct mot_bpe_learner *l, const void *text, size_t n)
{
    const unsigned char *p = text;
    int rc = MOT_OK;
    while (!rc && n > 0) {
        size_t valid = mot_utf8_valid(p, n),
               skip = valid < n; /* what is not UTF-8 teaches nothing */
        rc = mot_text_pieces(&l->split, 1, &l->state, p, valid, true, count_piece, l);
        p += valid + skip;
        n -= valid + skip;
    }
    return rc;
}

void mot_bpe_learner_free(struct mot_bpe_learner *l)
{
    if (!l)
        return;
    mot_regex_free(&l->split.regex);
    mot_text_state_free(&l->state);
    mot_free(l->word);
    mot_bytes_free(&l->bytes);
    mot_free(l);
}

/* ---- merging ---- */

struct pair {
    uint64_t key; /* left << 32 | right; UINT64_MAX: empty */
    int64_t count;
    int64_t round;        /* the round in which `entry` was begun */
    int32_t entry, merge; /* the pair's newest entry; its merge, -1: none yet */
};
/* A pair waiting in the heap with the words to look at. */
struct entry {
    uint64_t key;
    int64_t count;
    int32_t *at; /* word numbers, ascending */
    int64_t n, capacity;
};
struct merging {
    struct mot_bpe_merges *out;
    int64_t n_words;
    int64_t *count;  /* (n_words) */
    int64_t *begin;  /* (n_words + 1) where each word's symbols start */
    int32_t *length; /* (n_words) */
    int32_t *symbol;
    struct pair *pair; /* open addressing */
    uint64_t mask;
    int64_t n_pairs;
    struct entry *entry;
    int64_t n_entries, entry_capacity;
    int32_t *free_entry;
    int64_t n_free, free_capacity;
    int32_t *heap;
    int64_t n_heap, heap_capacity;
    int32_t *fresh; /* entries begun in this round, not yet in the heap */
    int64_t n_fresh, fresh_capacity;
    int64_t round;
};

static int grow_pairs(struct merging *m)
{
    uint64_t slots = m->pair ? (m->mask + 1) * 2 : 1 << 12, n_old = m->pair ? m->mask + 1 : 0;
    struct pair *old = m->pair, *pair = mot_alloc(slots, sizeof *pair);
    if (!pair)
        return MOT_ENOMEM;
    m->pair = pair;
    m->mask = slots - 1;
    for (uint64_t i = 0; i < slots; i++)
        pair[i].key = UINT64_MAX;
    for (uint64_t i = 0; i < n_old; i++) {
        if (old[i].key == UINT64_MAX)
            continue;
        uint64_t at = (old[i].key * 0x9e3779b97f4a7c15u) >> 20 & m->mask;
        while (pair[at].key != UINT64_MAX)
            at = (at + 1) & m->mask;
        pair[at] = old[i];
    }
    mot_free(old);
    return MOT_OK;
}

/* The record of a pair, made if there is none; NULL when memory is short. Valid until the next
 * call. */
static struct pair *find_pair(struct merging *m, int32_t left, int32_t right)
{
    if ((uint64_t)m->n_pairs * 2 >= m->mask && grow_pairs(m))
        return NULL;
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t at = (key * 0x9e3779b97f4a7c15u) >> 20 & m->mask;
    while (m->pair[at].key != key && m->pair[at].key != UINT64_MAX)
        at = (at + 1) & m->mask;
    struct pair *p = &m->pair[at];
    if (p->key == UINT64_MAX) {
        *p = (struct pair){key, 0, -1, -1, -1};
        m->n_pairs++;
    }
    return p;
}

/* Does entry a come before b? More often first, then the smaller pair, then the older entry. */
static bool before(const struct merging *m, int32_t a, int32_t b)
{
    const struct entry *x = &m->entry[a], *y = &m->entry[b];
    if (x->count != y->count)
        return x->count > y->count;
    return x->key != y->key ? x->key < y->key : a < b;
}

static int heap_push(struct merging *m, int32_t e)
{
    int rc = mot_grow((void **)&m->heap, m->n_heap, &m->heap_capacity, sizeof *m->heap);
    if (rc)
        return rc;
    int64_t i = m->n_heap++;
    for (; i > 0 && before(m, e, m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = e;
    return MOT_OK;
}

static int32_t heap_pop(struct merging *m)
{
    int32_t top = m->heap[0], e = m->heap[--m->n_heap];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < m->n_heap; i = child) {
        child += child + 1 < m->n_heap && before(m, m->heap[child + 1], m->heap[child]);
        if (!before(m, m->heap[child], e))
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = e;
    return top;
}

/* One more occurrence of a pair in a word: remember to look there. */
static int note_word(struct merging *m, struct pair *p, int32_t word)
{
    if (p->round != m->round) {
        int32_t e;
        int rc;
        if (m->n_free > 0) {
            e = m->free_entry[--m->n_free];
        } else {
            if ((rc = mot_grow((void **)&m->entry, m->n_entries, &m->entry_capacity,
                               sizeof *m->entry)))
                return rc;
            e = (int32_t)m->n_entries++;
        }
        m->entry[e] = (struct entry){.key = p->key};
        p->round = m->round;
        p->entry = e;
        if ((rc = mot_grow((void **)&m->fresh, m->n_fresh, &m->fresh_capacity, sizeof *m->fresh)))
            return rc;
        m->fresh[m->n_fresh++] = e;
    }
    struct entry *e = &m->entry[p->entry];
    if (e->n > 0 && e->at[e->n - 1] == word)
        return MOT_OK;
    int rc = mot_grow((void **)&e->at, e->n, &e->capacity, sizeof *e->at);
    if (!rc)
        e->at[e->n++] = word;
    return rc;
}

static int change(struct merging *m, int32_t left, int32_t right, int32_t word, int64_t by)
{
    struct pair *p = find_pair(m, left, right);
    if (!p)
        return MOT_ENOMEM;
    p->count += by;
    return by > 0 ? note_word(m, p, word) : MOT_OK;
}

/* Give the entries begun in this round their counts and put them into the heap. */
static int enter_fresh(struct merging *m)
{
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < m->n_fresh; i++) {
        struct entry *e = &m->entry[m->fresh[i]];
        e->count = find_pair(m, (int32_t)(e->key >> 32), (int32_t)(e->key & UINT32_MAX))->count;
        if (e->count > 0)
            rc = heap_push(m, m->fresh[i]);
        else
            mot_free(e->at), e->at = NULL;
    }
    m->n_fresh = 0;
    m->round++;
    return rc;
}

/* Replace left, right by id in one word. */
static int merge_word(struct merging *m, int32_t word, int32_t left, int32_t right, int32_t id)
{
    int32_t *s = m->symbol + m->begin[word];
    int32_t n = m->length[word], to = 0;
    int64_t count = m->count[word];
    int rc = MOT_OK;
    for (int32_t i = 0; !rc && i < n;) {
        if (s[i] != left || i + 1 == n || s[i + 1] != right) {
            s[to++] = s[i++];
            continue;
        }
        if (to > 0) {
            rc = change(m, s[to - 1], left, word, -count);
            if (!rc)
                rc = change(m, s[to - 1], id, word, count);
        }
        if (!rc && i + 2 < n) {
            rc = change(m, right, s[i + 2], word, -count);
            if (!rc)
                rc = change(m, id, s[i + 2], word, count);
        }
        s[to++] = id;
        i += 2;
    }
    m->length[word] = to;
    return rc;
}

static int free_entry(struct merging *m, int32_t e)
{
    mot_free(m->entry[e].at);
    m->entry[e].at = NULL;
    int rc = mot_grow((void **)&m->free_entry, m->n_free, &m->free_capacity, sizeof *m->free_entry);
    if (!rc)
        m->free_entry[m->n_free++] = e;
    return rc;
}

/* The id of two tokens' strings together: that of a token that reads the same, or a new one. */
static int joined_id(struct mot_bpe_merges *out, int32_t left, int32_t right, int32_t *id)
{
    const struct mot_bpe_string *a = &out->string[left], *b = &out->string[right];
    struct mot_bpe_string both = {(uint32_t)out->blob.n, a->n + b->n};
    int rc = mot_bytes_reserve(&out->blob, both.n);
    if (rc)
        return rc;
    memcpy(out->blob.data + both.begin, out->blob.data + a->begin, a->n);
    memcpy(out->blob.data + both.begin + a->n, out->blob.data + b->begin, b->n);
    uint64_t at = mot_hash(MOT_HASH_START, out->blob.data + both.begin, both.n) & out->mask;
    for (; out->slot[at]; at = (at + 1) & out->mask) {
        const struct mot_bpe_string *s = &out->string[out->slot[at] - 1];
        if (s->n == both.n &&
            memcmp(out->blob.data + s->begin, out->blob.data + both.begin, both.n) == 0) {
            *id = (int32_t)out->slot[at] - 1;
            return MOT_OK;
        }
    }
    *id = out->n++;
    out->slot[at] = (uint32_t)*id + 1;
    out->string[*id] = both;
    out->blob.n += both.n;
    return MOT_OK;
}

/* One merge: the entry that has come up, with its count right. */
static int merge_entry(struct merging *m, int32_t e)
{
    int32_t left = (int32_t)(m->entry[e].key >> 32),
            right = (int32_t)(m->entry[e].key & UINT32_MAX), id;
    struct mot_bpe_merges *out = m->out;
    int rc = joined_id(out, left, right, &id);
    if (!rc)
        rc =
            mot_grow((void **)&out->merge, out->n_merges, &out->merge_capacity, sizeof *out->merge);
    struct pair *p = rc ? NULL : find_pair(m, left, right);
    if (!p)
        return MOT_ENOMEM;
    /* A pair may come up again, when a token that reads the same was made of other parts: the later
     * rank counts. */
    if (p->merge >= 0)
        out->merge[p->merge].left = -1;
    p->merge = (int32_t)out->n_merges;
    out->merge[out->n_merges++] = (struct mot_learned_merge){left, right};
    int64_t n = m->entry[e].n;
    for (int64_t i = 0; !rc && i < n; i++)
        rc = merge_word(m, m->entry[e].at[i], left, right, id);
    if (!rc)
        rc = enter_fresh(m);
    return rc ? rc : free_entry(m, e);
}

static int merge_all(struct merging *m, int32_t size, mot_progress *progress, void *context)
{
    int32_t start = m->out->n;
    int rc = enter_fresh(m);
    for (int64_t i = 0; !rc && m->out->n < size && m->n_heap > 0;) {
        int32_t e = heap_pop(m);
        int64_t now =
            find_pair(m, (int32_t)(m->entry[e].key >> 32), (int32_t)(m->entry[e].key & UINT32_MAX))
                ->count;
        if (m->entry[e].count != now) {
            m->entry[e].count = now;
            rc = now > 0 ? heap_push(m, e) : free_entry(m, e);
            continue;
        }
        if (now < LEAST_COUNT)
            break;
        rc = merge_entry(m, e);
        if (progress && i++ % 256 == 0)
            progress(context, "learning text",
                     (double)(m->out->n - start) / (double)(size - start));
    }
    if (!rc && progress)
        progress(context, "learning text", 1);
    return rc;
}

/* The counted words as symbols, and their pairs. */
static int begin_words(struct merging *m, const struct mot_bpe_learner *l,
                       const int32_t byte_id[256])
{
    m->n_words = l->n_words;
    m->count = mot_alloc((size_t)l->n_words, sizeof *m->count);
    m->begin = mot_alloc((size_t)l->n_words + 1, sizeof *m->begin);
    m->length = mot_alloc((size_t)l->n_words, sizeof *m->length);
    m->symbol = mot_alloc(l->bytes.n, sizeof *m->symbol);
    if (!m->count || !m->begin || !m->length || !m->symbol || grow_pairs(m))
        return MOT_ENOMEM;
    int64_t k = 0;
    int rc = MOT_OK;
    for (uint64_t i = 0; !rc && i <= l->mask; i++) {
        const struct word *w = &l->word[i];
        if (!w->n)
            continue;
        int32_t *s = m->symbol + m->begin[k];
        m->count[k] = w->count;
        m->length[k] = (int32_t)w->n;
        m->begin[k + 1] = m->begin[k] + w->n;
        for (uint32_t b = 0; b < w->n; b++)
            s[b] = byte_id[l->bytes.data[w->begin + b]];
        for (uint32_t b = 0; !rc && b + 1 < w->n; b++)
            rc = change(m, s[b], s[b + 1], (int32_t)k, w->count);
        k++;
    }
    return rc;
}

/* Special tokens first, then the 256 bytes in the order of their letters, as `tokenizers` sorts its
 * alphabet. */
static int begin_tokens(struct mot_bpe_merges *out, const char *const *special, int n_special,
                        int32_t size, int32_t byte_id[256])
{
    uint64_t slots = 1024;
    while (slots < (uint64_t)size * 2)
        slots *= 2;
    out->slot = mot_alloc(slots, sizeof *out->slot);
    out->string = mot_alloc((size_t)size + 256 + (size_t)n_special, sizeof *out->string);
    out->mask = slots - 1;
    if (!out->slot || !out->string)
        return MOT_ENOMEM;
    int rc = MOT_OK;
    for (int i = 0; !rc && i < n_special; i++) {
        out->string[out->n++] =
            (struct mot_bpe_string){(uint32_t)out->blob.n, (uint32_t)strlen(special[i])};
        rc = mot_bytes_append(&out->blob, special[i], strlen(special[i]));
    }
    out->n_special = n_special;
    for (int32_t letter = 0; !rc && letter < 0x200; letter++) {
        int byte = mot_letter_byte(letter);
        if (byte < 0)
            continue;
        unsigned char c = (unsigned char)byte;
        byte_id[byte] = out->n;
        uint64_t at = mot_hash(MOT_HASH_START, &c, 1) & out->mask;
        while (out->slot[at])
            at = (at + 1) & out->mask;
        out->slot[at] = (uint32_t)out->n + 1;
        out->string[out->n++] = (struct mot_bpe_string){(uint32_t)out->blob.n, 1};
        rc = mot_bytes_append(&out->blob, &c, 1);
    }
    return rc;
}

int mot_bpe_learn(const struct mot_bpe_learner *l, const char *const *special, int n_special,
                  int32_t size, mot_progress *progress, void *context, struct mot_bpe_merges *out)
{
    struct merging m = {.out = out};
    int32_t byte_id[256];
    *out = (struct mot_bpe_merges){0};
    int rc = begin_tokens(out, special, n_special, size, byte_id);
    if (!rc)
        rc = begin_words(&m, l, byte_id);
    if (!rc)
        rc = merge_all(&m, size, progress, context);
    for (int64_t i = 0; i < m.n_entries; i++)
        mot_free(m.entry[i].at);
    mot_free(m.entry);
    mot_free(m.free_entry);
    mot_free(m.heap);
    mot_free(m.fresh);
    mot_free(m.pair);
    mot_free(m.count);
    mot_free(m.begin);
    mot_free(m.length);
    mot_free(m.symbol);
    return rc;
}

void mot_bpe_merges_free(struct mot_bpe_merges *m)
{
    mot_bytes_free(&m->blob);
    mot_free(m->string);
    mot_free(m->slot);
    mot_free(m->merge);
    *m = (struct mot_bpe_merges){0};
}
