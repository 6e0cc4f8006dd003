/* SPDX-License-Identifier: MIT
 *
 * unicode.c - UTF-8, the few character classes that added tokens need, and the normal forms.
 *
 * utf8proc knows decompositions and compositions; the order of combining marks is set here, because its own
 * sort takes quadratic time on a long run of marks, which hostile text can have.
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
        /* The second byte's range excludes overlong forms, surrogates and what is beyond U+10FFFF. */
        size_t more = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
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

bool mot_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool mot_is_word(int32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
    if (c == 0x200c || c == 0x200d) /* the joiners */
        return true;
    utf8proc_category_t k = utf8proc_category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_ND) || k == UTF8PROC_CATEGORY_NL ||
           k == UTF8PROC_CATEGORY_PC;
}

/* ---- normal forms ---- */

/* Characters that no normal form changes and that never combine with what stands before them: ASCII, and for the
 * composed form the letters and signs of the common scripts (checked against the Unicode data). */
static bool inert(enum mot_normal_form form, int32_t c)
{
    static const int32_t composed[][2] = {
        {0x0, 0x2ff},       {0x388, 0x482},     {0x48a, 0x590},     {0x5d0, 0x5ea},     {0x620, 0x64a},
        {0x660, 0x66f},     {0x671, 0x6d5},     {0xe01, 0xe30},     {0x2010, 0x2027},   {0x2030, 0x205e},
        {0x3001, 0x3029},   {0x3041, 0x3096},   {0x30a1, 0x30fa},   {0x4e00, 0x9fff},   {0xac00, 0xd7a3},
        {0xff01, 0xff60},   {0x1f300, 0x1faff},
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

/* The length of the start of s that is inert; the last inert character may combine with what follows, so it is
 * left to the slow way. */
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
        if (utf8proc_get_property(c[i])->combining_class == 0)
            continue;
        size_t end = i + 1;
        bool sorted = true;
        while (end < n && utf8proc_get_property(c[end])->combining_class != 0) {
            sorted = sorted && utf8proc_get_property(c[end - 1])->combining_class <=
                                   utf8proc_get_property(c[end])->combining_class;
            end++;
        }
        if (!sorted) {
            struct mark *mark = mot_alloc(end - i, sizeof *mark);
            if (!mark)
                return MOT_ENOMEM;
            for (size_t k = i; k < end; k++)
                mark[k - i] = (struct mark){c[k], utf8proc_get_property(c[k])->combining_class, k};
            qsort(mark, end - i, sizeof *mark, by_class);
            for (size_t k = i; k < end; k++)
                c[k] = mark[k - i].c;
            mot_free(mark);
        }
        i = end - 1;
    }
    return MOT_OK;
}

int mot_normal_form(enum mot_normal_form form, const unsigned char *s, size_t n, struct mot_bytes *out)
{
    size_t easy = inert_prefix(form, s, n);
    int rc = mot_bytes_append(out, s, easy);
    if (rc || easy == n)
        return rc;
    s += easy;
    n -= easy;
    bool compose = form == MOT_NFC || form == MOT_NFKC;
    utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (form == MOT_NFKC || form == MOT_NFKD)
        how |= UTF8PROC_COMPAT;
    struct mot_bytes wide = {0}; /* of int32_t */
    size_t count = 0;
    for (size_t i = 0; !rc && i < n;) {
        enum { LONGEST = 64 }; /* no decomposition is longer than 18 characters */
        int size;
        int32_t c = mot_utf8_get(s + i, &size);
        rc = mot_bytes_reserve(&wide, LONGEST * sizeof(int32_t));
        if (rc)
            break;
        int boundary = 0;
        utf8proc_ssize_t more = utf8proc_decompose_char(c, (int32_t *)(void *)wide.data + count, LONGEST, how,
                                                        &boundary);
        if (more < 0 || more > LONGEST)
            rc = mot_fail(MOT_EARG, "cannot normalize U+%04X", (unsigned)c);
        else
            wide.n = (count += (size_t)more) * sizeof(int32_t);
        i += (size_t)size;
    }
    int32_t *code = (int32_t *)(void *)wide.data;
    if (!rc)
        rc = order_marks(code, count);
    if (!rc && compose) {
        utf8proc_ssize_t left = utf8proc_normalize_utf32(code, (utf8proc_ssize_t)count,
                                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (left < 0)
            rc = mot_fail(MOT_EARG, "cannot normalize the text: %s", utf8proc_errmsg(left));
        else
            count = (size_t)left;
    }
    for (size_t i = 0; !rc && i < count; i++) {
        unsigned char utf8[4];
        rc = mot_bytes_append(out, utf8, (size_t)mot_utf8_put(utf8, code[i]));
    }
    mot_bytes_free(&wide);
    return rc;
}
