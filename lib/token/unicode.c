/* SPDX-License-Identifier: MIT
 *
 * unicode.c - UTF-8 and the normal forms.
 *
 * utf8proc knows decompositions and compositions; the order of combining marks is set here, because
 * its own sort takes quadratic time on a long run of marks, which hostile text can have.
 */
#include <stdlib.h>
#include <utf8proc.h>

#include "token.h"

size_t mot_utf8_valid(const unsigned char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        while (i + 8 <= n && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080u) == 0))
            i += 8;
        if (i == n)
            break;
        unsigned char c = s[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        /* The second byte's range excludes overlong forms, surrogates and what is beyond U+10FFFF.
         */
        size_t more = c >= 0xc2 && c <= 0xdf   ? 1
                      : (c & 0xf0) == 0xe0     ? 2
                      : c >= 0xf0 && c <= 0xf4 ? 3
                                               : 0;
        unsigned lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (more == 0 || n - i <= more || s[i + 1] < lo || s[i + 1] > hi)
            return i;
        for (size_t k = 2; k <= more; k++)
            if ((s[i + k] & 0xc0) != 0x80)
                return i;
        i += more + 1;
    }
    return i;
}

/* How many bytes at s, which are not a character, begin one; at least 1. */
static size_t broken(const unsigned char *s, size_t n)
{
    size_t whole = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 1;
    size_t i = 1;
    for (; i < whole && i < n; i++) {
        unsigned lo = i > 1 ? 0x80 : s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
        unsigned hi = i > 1 ? 0xbf : s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
        if (s[i] < lo || s[i] > hi)
            break;
    }
    return i;
}

int mot_utf8_lossy(const void *text, size_t n, struct mot_bytes *out)
{
    const unsigned char *s = text;
    int rc = MOT_OK;
    while (!rc && n > 0) {
        size_t valid = mot_utf8_valid(s, n);
        rc = mot_bytes_append(out, s, valid);
        s += valid, n -= valid;
        if (rc || n == 0)
            break;
        rc = mot_bytes_append(out, "\xef\xbf\xbd", 3);
        size_t bad = broken(s, n);
        s += bad, n -= bad;
    }
    return rc;
}

int32_t mot_utf8_get(const unsigned char *s, int *size)
{
    if (s[0] < 0x80) {
        *size = 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *size = 2;
        return (s[0] & 31) << 6 | (s[1] & 63);
    }
    if (s[0] < 0xf0) {
        *size = 3;
        return (s[0] & 15) << 12 | (s[1] & 63) << 6 | (s[2] & 63);
    }
    *size = 4;
    return (s[0] & 7) << 18 | (s[1] & 63) << 12 | (s[2] & 63) << 6 | (s[3] & 63);
}

int mot_utf8_put(unsigned char out[4], int32_t c)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xc0 | c >> 6);
        out[1] = (unsigned char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xe0 | c >> 12);
        out[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        out[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | c >> 18);
    out[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    out[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    out[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

/* ---- normal forms ---- */

/* What later versions than Unicode 9 say of a character: `tokenizers` normalizes by the data of
 * version 9, in which these have no decomposition and no combining class. */
static bool younger(int32_t c)
{
    static const int32_t range[][2] = {
        {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
        {0xc3c, 0xc3c},     {0xcf3, 0xcf3},     {0xd3b, 0xd3c},     {0xeba, 0xeba},
        {0xece, 0xece},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
        {0x32ff, 0x32ff},   {0xa7f1, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},
        {0x105c0, 0x105f3}, {0x10781, 0x107ba}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d},
        {0x10eab, 0x10eac}, {0x10efc, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
        {0x11070, 0x11070}, {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x11380, 0x113ca},
        {0x113cc, 0x113d0}, {0x113d2, 0x113d2}, {0x113e1, 0x113e2}, {0x1145e, 0x1145e},
        {0x11839, 0x1183a}, {0x11930, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943},
        {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
        {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f00, 0x11f01},
        {0x11f03, 0x11f03}, {0x11f34, 0x11f3a}, {0x11f3e, 0x11f42}, {0x11f5a, 0x11f5a},
        {0x13440, 0x13440}, {0x13447, 0x13455}, {0x1611e, 0x1612f}, {0x16d63, 0x16d6a},
        {0x16ff0, 0x16ff1}, {0x1ccd6, 0x1ccf9}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f},
        {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
        {0x1e5ee, 0x1e5ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
    };
    int lo = 0, hi = MOT_COUNT(range);
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (range[middle][1] < c)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo < MOT_COUNT(range) && c >= range[lo][0];
}

static int class_of(int32_t c)
{
    return younger(c) ? 0 : utf8proc_get_property(c)->combining_class;
}

/* Characters that no normal form changes and that never combine with what stands before them:
 * ASCII, and for the composed form the letters and signs of the common scripts (checked against the
 * Unicode data). */
static bool inert(enum mot_normal_form form, int32_t c)
{
    static const int32_t composed[][2] = {
        {0x0, 0x2ff},     {0x388, 0x482},     {0x48a, 0x590},   {0x5d0, 0x5ea},   {0x620, 0x64a},
        {0x660, 0x66f},   {0x671, 0x6d5},     {0xe01, 0xe30},   {0x2010, 0x2027}, {0x2030, 0x205e},
        {0x3001, 0x3029}, {0x3041, 0x3096},   {0x30a1, 0x30fa}, {0x4e00, 0x9fff}, {0xac00, 0xd7a3},
        {0xff01, 0xff60}, {0x1f300, 0x1faff},
    };
    if (c < 0x80)
        return true;
    if (form != MOT_NFC)
        return form == MOT_NFKC && c >= 0x4e00 && c <= 0x9fff;
    for (int i = 0; i < MOT_COUNT(composed) && c >= composed[i][0]; i++)
        if (c <= composed[i][1])
            return true;
    return false;
}

/* The length of the start of s that is inert; the last inert character may combine with what
 * follows, so it is left to the slow way. */
static size_t inert_prefix(enum mot_normal_form form, const unsigned char *s, size_t n)
{
    size_t i = 0, last = 0;
    while (i < n) {
        int size;
        int32_t c = mot_utf8_get(s + i, &size);
        if (!inert(form, c))
            return last;
        last = i;
        i += (size_t)size;
    }
    return n;
}

struct mark {
    int32_t c;
    int class;
    size_t place;
};

static int by_class(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* Runs of characters with a combining class are put in the order of their classes, stably. */
static int order_marks(int32_t *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int class = class_of(c[i]), next;
        if (class == 0)
            continue;
        size_t end = i + 1;
        bool sorted = true;
        for (; end < n && (next = class_of(c[end])) != 0; class = next, end++)
            sorted = sorted && class <= next;
        if (!sorted) {
            struct mark *mark = mot_alloc(end - i, sizeof *mark);
            if (!mark)
                return MOT_ENOMEM;
            for (size_t k = i; k < end; k++)
                mark[k - i] = (struct mark){c[k], class_of(c[k]), k};
            qsort(mark, end - i, sizeof *mark, by_class);
            for (size_t k = i; k < end; k++)
                c[k] = mark[k - i].c;
            mot_free(mark);
        }
        i = end - 1;
    }
    return MOT_OK;
}

/* Compose between the characters that version 9 did not know; returns how many are left. */
static size_t compose(int32_t *c, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n;) {
        if (younger(c[i])) {
            c[left++] = c[i++];
            continue;
        }
        size_t end = i;
        while (end < n && !younger(c[end]))
            end++;
        utf8proc_ssize_t more = utf8proc_normalize_utf32(c + i, (utf8proc_ssize_t)(end - i),
                                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        memmove(c + left, c + i, (size_t)more * sizeof *c);
        left += (size_t)more;
        i = end;
    }
    return left;
}

/* The characters of valid UTF-8, decomposed, as an array of int32_t. */
static int decompose(enum mot_normal_form form, const unsigned char *s, size_t n,
                     struct mot_bytes *wide)
{
    enum { LONGEST = 64 }; /* no decomposition is longer than 18 characters */
    utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (form == MOT_NFKC || form == MOT_NFKD)
        how |= UTF8PROC_COMPAT;
    for (size_t i = 0; i < n;) {
        int size, boundary = 0;
        int32_t c = mot_utf8_get(s + i, &size);
        int rc = mot_bytes_reserve(wide, LONGEST * sizeof c);
        if (rc)
            return rc;
        int32_t *out = (int32_t *)(void *)(wide->data + wide->n);
        utf8proc_ssize_t more = 1;
        if (younger(c))
            *out = c;
        else
            more = utf8proc_decompose_char(c, out, LONGEST, how, &boundary);
        if (more < 0 || more > LONGEST)
            return mot_fail(MOT_EARG, "cannot normalize U+%04X", (unsigned)c);
        wide->n += (size_t)more * sizeof c;
        i += (size_t)size;
    }
    return MOT_OK;
}

int mot_normal_form(enum mot_normal_form form, const unsigned char *s, size_t n,
                    struct mot_bytes *out)
{
    size_t easy = inert_prefix(form, s, n);
    int rc = mot_bytes_append(out, s, easy);
    if (rc || easy == n)
        return rc;
    struct mot_bytes wide = {0};
    rc = decompose(form, s + easy, n - easy, &wide);
    int32_t *c = (int32_t *)(void *)wide.data;
    size_t count = wide.n / sizeof *c;
    if (!rc)
        rc = order_marks(c, count);
    if (!rc && (form == MOT_NFC || form == MOT_NFKC))
        count = compose(c, count);
    for (size_t i = 0; !rc && i < count; i++) {
        unsigned char utf8[4];
        rc = mot_bytes_append(out, utf8, (size_t)mot_utf8_put(utf8, c[i]));
    }
    mot_bytes_free(&wide);
    return rc;
}
