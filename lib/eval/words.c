/* SPDX-License-Identifier: MIT
 *
 * words.c - captions to words, as those of COCO are cut for BLEU and CIDEr: by the rules of the Penn Treebank as far as
 * captions need them, in small letters, without punctuation.
 *
 *   - typographic quotes and dashes are plain ones; everything becomes small
 *   - words end at white space and at " , ; : ! ? ... and quotes, which go; a comma, colon or period between digits stays
 *   - brackets are words of their own, named as the treebank does: -lrb- -rrb- -lsb- -rsb- -lcb- -rcb-
 *   - so are $ % & # * + = ~ ^ | \ and a / that stands alone
 *   - a hyphen, apostrophe, period or / inside a word stays there; at its ends it goes, but for the
 *     periods of initials, of mr. and the like, and before digits
 *   - 's 're 've 'll 'd 'm and n't are words of their own; cannot, gonna, gotta, wanna, gimme and lemme are two
 */
#include "../token/token.h"
#include "eval.h"

struct cutter {
    struct mot_bytes word; /* being built */
    struct mot_bytes *out;
    int64_t words;
    bool last; /* nothing follows it */
};

static bool is_digit(int32_t c)
{
    return c >= '0' && c <= '9';
}

static int put(struct cutter *c, const void *word, size_t n)
{
    if (n == 0)
        return MOT_OK;
    c->words++;
    int rc = mot_bytes_append(c->out, word, n);
    return rc ? rc : mot_bytes_append(c->out, "", 1);
}

static bool is(const unsigned char *word, size_t n, const char *text)
{
    return strlen(text) == n && memcmp(word, text, n) == 0;
}

static bool ends_with(const unsigned char *word, size_t n, const char *tail)
{
    size_t k = strlen(tail);
    return n > k && memcmp(word + n - k, tail, k) == 0;
}

/* Does the period at its end belong to the word? Initials, as a. and u.s., and the usual short forms. */
static bool keeps_period(const struct cutter *c, const unsigned char *word, size_t n)
{
    static const char *const shortened[] = {"mr.", "mrs.", "ms.", "dr.", "st.", "jr.", "sr.", "vs.", "inc.", "co.", "corp.",
                                            "ltd.", "etc.", "mt.", "ave.", "blvd.", "rd."};
    for (int i = 0; i < MOT_COUNT(shortened); i++)
        if (is(word, n, shortened[i]))
            return true;
    bool initials = n % 2 == 0 && (n > 2 || !c->last); /* "the letter a." ends with the text's period */
    for (size_t i = 0; initials && i < n; i++)
        initials = i % 2 ? word[i] == '.' : word[i] >= 'a' && word[i] <= 'z';
    return initials;
}

static size_t trim_end(const struct cutter *c, const unsigned char *word, size_t n)
{
    while (n > 0 && strchr("-'/.", word[n - 1]) && !(word[n - 1] == '.' && keeps_period(c, word, n)))
        n--;
    return n;
}

/* A word that is two by the treebank's rules: where the second begins; 0: it is one. */
static size_t two_words(const unsigned char *word, size_t n)
{
    static const struct {
        const char *word;
        size_t second;
    } table[] = {{"cannot", 3}, {"gonna", 3}, {"gotta", 3}, {"wanna", 3}, {"gimme", 3}, {"lemme", 3}};
    static const char *const tail[] = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"};
    for (int i = 0; i < MOT_COUNT(table); i++)
        if (is(word, n, table[i].word))
            return table[i].second;
    for (int i = 0; i < MOT_COUNT(tail); i++)
        if (ends_with(word, n, tail[i]))
            return n - strlen(tail[i]);
    return 0;
}

static int end_word(struct cutter *c)
{
    const unsigned char *p = c->word.data;
    size_t n = c->word.n;
    c->word.n = 0;
    if (n == 0)
        return MOT_OK;
    if (is(p, n, "/"))
        return put(c, p, n);
    for (; n > 0 && strchr("-'/.", p[0]) && !is(p, n, "'s") && !(p[0] == '.' && n > 1 && is_digit(p[1])); p++, n--)
        ;
    n = trim_end(c, p, n);
    size_t second = n > 0 ? two_words(p, n) : 0;
    int rc = put(c, p, second ? trim_end(c, p, second) : n);
    return !rc && second ? put(c, p + second, n - second) : rc;
}

/* Typographic forms of what ASCII has. */
static int32_t plain_form(int32_t c)
{
    switch (c) {
    case 0x2018: case 0x2019: case 0x201b: case 0x2032: return '\'';
    case 0x201c: case 0x201d: case 0x201e: case 0x2033: case 0xab: case 0xbb: case 0x2026: return '"'; /* these go */
    case 0x2010: case 0x2011: return '-';
    case 0x2012: case 0x2013: case 0x2014: case 0x2015: return '"';
    default: return c;
    }
}

static const char *bracket(int32_t c)
{
    switch (c) {
    case '(': return "-lrb-";
    case ')': return "-rrb-";
    case '[': return "-lsb-";
    case ']': return "-rsb-";
    case '{': return "-lcb-";
    case '}': return "-rcb-";
    default: return NULL;
    }
}

/* One character, small already, between those before and after it. */
static int take(struct cutter *c, int32_t before, int32_t at, int32_t after)
{
    unsigned char bytes[4];
    bool number = is_digit(before) && is_digit(after);
    if (mot_is_space(at) || (at < 0x80 && strchr("\"`;!?", at)) || ((at == ',' || at == ':') && !number) ||
        (at == '-' && (before == '-' || after == '-')) || (at == '.' && (before == '.' || after == '.')) ||
        (at == '\'' && (before == '\'' || after == '\'')))
        return end_word(c);
    bool alone = at < 0x80 && strchr("$%&#*+=~^|\\", at);
    if (!alone && !bracket(at))
        return mot_bytes_append(&c->word, bytes, (size_t)mot_utf8_put(bytes, at));
    int rc = end_word(c);
    char own = (char)at;
    if (!rc)
        rc = alone ? put(c, &own, 1) : put(c, bracket(at), 5);
    return rc;
}

static int cut(struct cutter *c, const unsigned char *p, size_t n)
{
    int32_t before = ' ', at = ' ', after, small[3];
    int rc = MOT_OK, size = 1;
    for (size_t i = 0; !rc && i <= n; i += (size_t)size) {
        after = i < n ? plain_form(mot_utf8_get(p + i, &size)) : ' ';
        rc = take(c, before, at, after);
        before = at;
        at = mot_lower(after, small) == 1 ? small[0] : after;
    }
    c->last = true;
    return rc ? rc : end_word(c);
}

static int cut_plain(struct cutter *c, const unsigned char *p, size_t n)
{
    int rc = MOT_OK, size;
    size_t begin = 0, i = 0;
    for (; !rc && i < n; i += (size_t)size)
        if (mot_is_space(mot_utf8_get(p + i, &size))) {
            rc = put(c, p + begin, i - begin);
            begin = i + (size_t)size;
        }
    return rc ? rc : put(c, p + begin, n - begin);
}

int mot_words(const void *text, size_t n, bool plain, struct mot_bytes *out, int64_t *words)
{
    struct mot_bytes whole = {0};
    struct cutter c = {.out = out};
    int rc = mot_utf8_lossy(text, n, &whole);
    for (size_t i = 0; i < whole.n; i++) /* words are ended by zeros */
        if (whole.data[i] == 0)
            whole.data[i] = ' ';
    if (!rc)
        rc = plain ? cut_plain(&c, whole.data, whole.n) : cut(&c, whole.data, whole.n);
    *words = c.words;
    mot_bytes_free(&whole);
    mot_bytes_free(&c.word);
    return rc;
}
