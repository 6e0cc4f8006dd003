/* SPDX-License-Identifier: MIT
 *
 * quick.c - the commonest matches of the best-known splitting patterns, told without the pattern: a word of ASCII
 * letters, perhaps after a space or another sign, that something else of ASCII ends.
 *
 * Each function answers only where the pattern's alternatives leave no doubt, and 0 elsewhere; so it makes matching
 * faster and never other.  The patterns are known by their whole text.
 */
#include "token.h"

static bool is_lower(unsigned char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_letter(unsigned char c)
{
    return is_lower(c | 32);
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* The end of the run of letters at i, 0 if something beyond ASCII may go on with it. */
static size_t letters_end(const unsigned char *text, size_t n, size_t i)
{
    while (i < n && is_letter(text[i]))
        i++;
    return i < n && text[i] >= 0x80 ? 0 : i;
}

/* GPT-2: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+|..." */
static size_t after_space(const unsigned char *text, size_t n, size_t from)
{
    size_t i = from + (text[from] == ' ');
    return i < n && is_letter(text[i]) ? letters_end(text, n, i) : 0;
}

/* A sign that may stand before a word: [^\r\n\p{L}\p{N}], of ASCII; the apostrophe may begin something else. */
static bool is_sign(unsigned char c)
{
    return c < 0x80 && c != '\r' && c != '\n' && c != '\'' && !is_letter(c) && !is_digit(c);
}

/* Llama 3, Qwen: "(?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|..." */
static size_t after_sign(const unsigned char *text, size_t n, size_t from)
{
    size_t i = from + is_sign(text[from]);
    return i < n && is_letter(text[i]) ? letters_end(text, n, i) : 0;
}

/* GPT-4o, tekken: "[^\r\n\p{L}\p{N}]?[\p{Lu}..]*[\p{Ll}..]+(?i:'s|...)?|..." */
static size_t capitals_first(const unsigned char *text, size_t n, size_t from)
{
    size_t i = from + is_sign(text[from]), small;
    while (i < n && is_letter(text[i]) && !is_lower(text[i]))
        i++;
    for (small = i; i < n && is_lower(text[i]);)
        i++;
    return i == small || (i < n && (text[i] >= 0x80 || text[i] == '\'')) ? 0 : i;
}

#define REST(digits) "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define REST_SLASH(digits) "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS(ending)                                                                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" ending            \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" ending

mot_quick *mot_quick_for(const char *pattern, size_t n)
{
    static const struct {
        const char *pattern;
        mot_quick *quick;
    } known[] = {
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", after_space},
        {ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+" REST("\\p{N}{1,3}"), after_sign},
        {ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+" REST("\\p{N}"), after_sign},
        {WORDS(ENDINGS "?") REST_SLASH("\\p{N}{1,3}"), capitals_first},
        {WORDS("") REST_SLASH("\\p{N}"), capitals_first},
    };
    for (int i = 0; i < MOT_COUNT(known); i++)
        if (strlen(known[i].pattern) == n && memcmp(known[i].pattern, pattern, n) == 0)
            return known[i].quick;
    return NULL;
}
