/* SPDX-License-Identifier: MIT
 *
 * regex.c - finding where a text is to be cut or changed: by a pattern, which PCRE2 matches (pattern.c says what it is
 * made of), by a plain string, or by a class of characters.
 */
#include "token.h"

int mot_regex_compile(struct mot_regex *r, const char *name, const char *pattern, size_t n)
{
    *r = (struct mot_regex){0};
    struct mot_bytes own = {0};
    int rc = mot_pattern_translate(name, pattern, n, &own);
    pcre2_compile_context *context = rc ? NULL : pcre2_compile_context_create(NULL);
    if (!rc && !context)
        rc = mot_fail(MOT_ENOMEM, "%s: out of memory compiling a pattern", name);
    if (!rc) {
        int code;
        PCRE2_SIZE at;
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        r->code = pcre2_compile(own.n ? own.data : (const unsigned char *)"", own.n,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, context);
        if (!r->code) {
            PCRE2_UCHAR why[200];
            pcre2_get_error_message(code, why, sizeof why);
            rc = mot_fail(MOT_EFORMAT, "%s: the pattern is not valid: %s", name, (const char *)why);
        } else {
            /* Without a compiler for this processor the interpreter does it, slower. */
            r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
            r->quick = mot_quick_for(pattern, n);
        }
    }
    pcre2_compile_context_free(context);
    mot_bytes_free(&own);
    return rc;
}

void mot_regex_hand(struct mot_regex *r, mot_find *find)
{
    *r = (struct mot_regex){.find = find};
}

int mot_regex_literal(struct mot_regex *r, const char *text, size_t n)
{
    if (n == 0) /* matches everywhere */
        return mot_regex_compile(r, "a pattern", text, n);
    *r = (struct mot_regex){.literal = mot_strndup(text, n), .literal_n = n};
    return r->literal ? MOT_OK : MOT_ENOMEM;
}

void mot_regex_free(struct mot_regex *r)
{
    pcre2_code_free(r->code);
    mot_free(r->literal);
    *r = (struct mot_regex){0};
}

/* ---- matching by hand ---- */

/* The next character for which is() holds. */
static void find_member(const unsigned char *text, size_t n, size_t from, bool (*is)(int32_t), size_t *begin,
                        size_t *end)
{
    int size;
    for (size_t i = from; i < n; i += (size_t)size)
        if (is(mot_utf8_get(text + i, &size))) {
            *begin = i;
            *end = i + (size_t)size;
            return;
        }
}

void mot_find_numeric(const unsigned char *text, size_t n, size_t from, size_t *begin, size_t *end)
{
    find_member(text, n, from, mot_is_numeric, begin, end);
}

void mot_find_punctuation(const unsigned char *text, size_t n, size_t from, size_t *begin, size_t *end)
{
    find_member(text, n, from, mot_is_punctuation, begin, end);
}

void mot_find_space(const unsigned char *text, size_t n, size_t from, size_t *begin, size_t *end)
{
    find_member(text, n, from, mot_is_space, begin, end);
}

void mot_find_word(const unsigned char *text, size_t n, size_t from, size_t *begin, size_t *end)
{
    int size;
    size_t i = from;
    while (i < n && mot_is_space(mot_utf8_get(text + i, &size)))
        i += (size_t)size;
    if (i == n)
        return;
    *begin = i;
    bool word = mot_is_word(mot_utf8_get(text + i, &size)), space = false;
    for (; i < n; i += (size_t)size) {
        int32_t c = mot_utf8_get(text + i, &size);
        space = mot_is_space(c);
        if (space || mot_is_word(c) != word)
            break;
    }
    *end = i;
}

/* ---- matching ---- */

/* The stack of compiled code, in bytes: at first, and at most. What needs more is interpreted on
 * the heap. */
enum { JIT_STACK = 32 << 10, JIT_STACK_MAX = 8 << 20 };
/* Beyond this many steps a pattern is pathological; an honest one takes about one a character. */
enum { MATCH_STEPS = 1000000000 };

int mot_matcher_init(struct mot_matcher *m)
{
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(JIT_STACK, JIT_STACK_MAX, NULL);
    if (!m->data || !m->context || !m->stack)
        return mot_fail(MOT_ENOMEM, "out of memory for matching patterns");
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    pcre2_set_match_limit(m->context, MATCH_STEPS);
    return MOT_OK;
}

void mot_matcher_free(struct mot_matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    *m = (struct mot_matcher){0};
}

int mot_regex_find(const struct mot_regex *r, struct mot_matcher *m, const unsigned char *text,
                   size_t n, size_t from, size_t *begin, size_t *end)
{
    *begin = *end = SIZE_MAX;
    if (r->find) {
        r->find(text, n, from, begin, end);
        return MOT_OK;
    }
    size_t quick = r->quick && from < n ? r->quick(text, n, from) : 0;
    if (quick) {
        *begin = from;
        *end = quick;
        return MOT_OK;
    }
    if (r->literal) {
        const unsigned char *p =
            r->literal_n ? memmem(text + from, n - from, r->literal, r->literal_n) : NULL;
        if (p)
            *begin = (size_t)(p - text), *end = *begin + r->literal_n;
        return MOT_OK;
    }
    int rc = r->jit
                 ? pcre2_jit_match(r->code, text, n, from, PCRE2_NO_UTF_CHECK, m->data, m->context)
                 : PCRE2_ERROR_JIT_STACKLIMIT;
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(r->code, text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data,
                         m->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return MOT_OK;
    if (rc < 0) {
        PCRE2_UCHAR why[200];
        pcre2_get_error_message(rc, why, sizeof why);
        return mot_fail(rc == PCRE2_ERROR_NOMEMORY ? MOT_ENOMEM : MOT_EARG,
                        "the tokenizer's pattern fails on this text: %s", (const char *)why);
    }
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(m->data);
    *begin = o[0];
    *end = o[1];
    return MOT_OK;
}
