/* SPDX-License-Identifier: MIT
 *
 * regex.c - the patterns of tokenizer.json, matched by PCRE2 as Oniguruma would.
 *
 * Hugging Face's `tokenizers` reads patterns in Oniguruma's Ruby syntax with Unicode 16.  PCRE2
 * means other things by some of the same letters, and Debian's knows an older Unicode, so a pattern
 * is rewritten before it is compiled: \s, \w, \d, \h and \p{..} become explicit classes, with the
 * characters that newer Unicode versions added; scripts are matched without their extensions; ^ and
 * $ are line anchors.  What has no faithful rewriting (set intersection, back references, \b,
 * conditionals) is refused by name: a pattern that silently splits text in other places would give
 * a model ids it has never seen.
 */
#include "token.h"

/* White_Space: tab to carriage return, space, next line, no-break space, the typographic spaces. */
#define SPACE                                                                                      \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"       \
    "\\x{3000}"
#define NOT_SPACE                                                                                  \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"                   \
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"                 \
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

/* What Unicode 15 and 16 added, by general category and by script. */
static const struct newer {
    char name[12];
    int32_t lo, hi;
} newer[] = {
    {"Lu", 0x1C89, 0x1C89}, {"Lu", 0xA7CB, 0xA7CC}, {"Lu", 0xA7DA, 0xA7DA}, {"Lu", 0xA7DC, 0xA7DC},
    {"Lu", 0x10D50, 0x10D65}, {"Ll", 0x1C8A, 0x1C8A}, {"Ll", 0xA7CD, 0xA7CD},
    {"Ll", 0xA7DB, 0xA7DB}, {"Ll", 0x10D70, 0x10D85}, {"Ll", 0x1DF25, 0x1DF2A},
    {"Lm", 0x10D4E, 0x10D4E}, {"Lm", 0x10D6F, 0x10D6F}, {"Lm", 0x16D40, 0x16D42},
    {"Lm", 0x16D6B, 0x16D6C}, {"Lm", 0x1E030, 0x1E06D}, {"Lm", 0x1E4EB, 0x1E4EB},
    {"Lo", 0x105C0, 0x105F3}, {"Lo", 0x10D4A, 0x10D4D}, {"Lo", 0x10D4F, 0x10D4F},
    {"Lo", 0x10EC2, 0x10EC4}, {"Lo", 0x1123F, 0x11240}, {"Lo", 0x11380, 0x11389},
    {"Lo", 0x1138B, 0x1138B}, {"Lo", 0x1138E, 0x1138E}, {"Lo", 0x11390, 0x113B5},
    {"Lo", 0x113B7, 0x113B7}, {"Lo", 0x113D1, 0x113D1}, {"Lo", 0x113D3, 0x113D3},
    {"Lo", 0x11BC0, 0x11BE0}, {"Lo", 0x11F02, 0x11F02}, {"Lo", 0x11F04, 0x11F10},
    {"Lo", 0x11F12, 0x11F33}, {"Lo", 0x1342F, 0x1342F}, {"Lo", 0x13441, 0x13446},
    {"Lo", 0x13460, 0x143FA}, {"Lo", 0x16100, 0x1611D}, {"Lo", 0x16D43, 0x16D6A},
    {"Lo", 0x18CFF, 0x18CFF}, {"Lo", 0x1B132, 0x1B132}, {"Lo", 0x1B155, 0x1B155},
    {"Lo", 0x1E4D0, 0x1E4EA}, {"Lo", 0x1E5D0, 0x1E5ED}, {"Lo", 0x1E5F0, 0x1E5F0},
    {"Lo", 0x2B739, 0x2B739}, {"Lo", 0x2EBF0, 0x2EE5D}, {"Lo", 0x31350, 0x323AF},
    {"Mn", 0x897, 0x897}, {"Mn", 0xECE, 0xECE}, {"Mn", 0x10D69, 0x10D6D}, {"Mn", 0x10EFC, 0x10EFF},
    {"Mn", 0x11241, 0x11241}, {"Mn", 0x113BB, 0x113C0}, {"Mn", 0x113CE, 0x113CE},
    {"Mn", 0x113D0, 0x113D0}, {"Mn", 0x113D2, 0x113D2}, {"Mn", 0x113E1, 0x113E2},
    {"Mn", 0x11F00, 0x11F01}, {"Mn", 0x11F36, 0x11F3A}, {"Mn", 0x11F40, 0x11F40},
    {"Mn", 0x11F42, 0x11F42}, {"Mn", 0x11F5A, 0x11F5A}, {"Mn", 0x13440, 0x13440},
    {"Mn", 0x13447, 0x13455}, {"Mn", 0x1611E, 0x16129}, {"Mn", 0x1612D, 0x1612F},
    {"Mn", 0x1E08F, 0x1E08F}, {"Mn", 0x1E4EC, 0x1E4EF}, {"Mn", 0x1E5EE, 0x1E5EF},
    {"Mc", 0xCF3, 0xCF3}, {"Mc", 0x113B8, 0x113BA}, {"Mc", 0x113C2, 0x113C2},
    {"Mc", 0x113C5, 0x113C5}, {"Mc", 0x113C7, 0x113CA}, {"Mc", 0x113CC, 0x113CD},
    {"Mc", 0x113CF, 0x113CF}, {"Mc", 0x1171E, 0x1171E}, {"Mc", 0x11F03, 0x11F03},
    {"Mc", 0x11F34, 0x11F35}, {"Mc", 0x11F3E, 0x11F3F}, {"Mc", 0x11F41, 0x11F41},
    {"Mc", 0x1612A, 0x1612C}, {"Nd", 0x10D40, 0x10D49}, {"Nd", 0x116D0, 0x116E3},
    {"Nd", 0x11BF0, 0x11BF9}, {"Nd", 0x11F50, 0x11F59}, {"Nd", 0x16130, 0x16139},
    {"Nd", 0x16D70, 0x16D79}, {"Nd", 0x1CCF0, 0x1CCF9}, {"Nd", 0x1E4F0, 0x1E4F9},
    {"Nd", 0x1E5F1, 0x1E5FA}, {"No", 0x1D2C0, 0x1D2D3}, {"Pd", 0x10D6E, 0x10D6E},
    {"Po", 0x1B4E, 0x1B4F}, {"Po", 0x1B7F, 0x1B7F}, {"Po", 0x113D4, 0x113D5},
    {"Po", 0x113D7, 0x113D8}, {"Po", 0x11B00, 0x11B09}, {"Po", 0x11BE1, 0x11BE1},
    {"Po", 0x11F43, 0x11F4F}, {"Po", 0x16D6D, 0x16D6F}, {"Po", 0x1E5FF, 0x1E5FF},
    {"Sm", 0x10D8E, 0x10D8F}, {"So", 0x2427, 0x2429}, {"So", 0x2FFC, 0x2FFF},
    {"So", 0x31E4, 0x31E5}, {"So", 0x31EF, 0x31EF}, {"So", 0x1CC00, 0x1CCEF},
    {"So", 0x1CD00, 0x1CEB3}, {"So", 0x1F6DC, 0x1F6DC}, {"So", 0x1F774, 0x1F776},
    {"So", 0x1F77B, 0x1F77F}, {"So", 0x1F7D9, 0x1F7D9}, {"So", 0x1F8B2, 0x1F8BB},
    {"So", 0x1F8C0, 0x1F8C1}, {"So", 0x1FA75, 0x1FA77}, {"So", 0x1FA87, 0x1FA89},
    {"So", 0x1FA8F, 0x1FA8F}, {"So", 0x1FAAD, 0x1FAAF}, {"So", 0x1FABB, 0x1FABF},
    {"So", 0x1FAC6, 0x1FAC6}, {"So", 0x1FACE, 0x1FACF}, {"So", 0x1FADA, 0x1FADC},
    {"So", 0x1FADF, 0x1FADF}, {"So", 0x1FAE8, 0x1FAE9}, {"So", 0x1FAF7, 0x1FAF8},
    {"So", 0x1FBCB, 0x1FBEF}, {"Cf", 0x13439, 0x1343F}, {"Latin", 0xA7CB, 0xA7CD},
    {"Latin", 0xA7DA, 0xA7DC}, {"Latin", 0x1DF25, 0x1DF2A}, {"Cyrillic", 0x1C89, 0x1C8A},
    {"Cyrillic", 0x1E030, 0x1E06D}, {"Cyrillic", 0x1E08F, 0x1E08F}, {"Arabic", 0x897, 0x897},
    {"Arabic", 0x10EC2, 0x10EC4}, {"Arabic", 0x10EFC, 0x10EFF}, {"Devanagari", 0x11B00, 0x11B09},
    {"Kannada", 0xCF3, 0xCF3}, {"Lao", 0xECE, 0xECE}, {"Myanmar", 0x116D0, 0x116E3},
    {"Hiragana", 0x1B132, 0x1B132}, {"Katakana", 0x1B155, 0x1B155}, {"Han", 0x2B739, 0x2B739},
    {"Han", 0x2EBF0, 0x2EE5D}, {"Han", 0x31350, 0x323AF},
};

static const char *const scripts[] = {
    "Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Devanagari", "Bengali",
    "Gurmukhi", "Gujarati", "Tamil", "Telugu", "Kannada", "Malayalam", "Thai", "Lao", "Tibetan",
    "Georgian", "Ethiopic", "Khmer", "Mongolian", "Myanmar", "Sinhala", "Hangul", "Hiragana",
    "Katakana", "Bopomofo", "Han",
};
static const char *const categories[] = {
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "Cc",
};
static const char *const long_names[][2] = {
    {"Letter", "L"},      {"Mark", "M"},   {"Number", "N"},
    {"Punctuation", "P"}, {"Symbol", "S"}, {"Separator", "Z"},
};

struct translator {
    const char *name;             /* of the file, for messages */
    const unsigned char *p, *end; /* what is still to read */
    struct mot_bytes out;
    size_t atom; /* where in out the last atom began, for quantifiers */
    int depth;   /* of groups */
};

static int refuse(const struct translator *t, const char *what)
{
    return mot_fail(MOT_EFORMAT, "%s: the pattern uses %s, which this program does not know",
                    t->name, what);
}

static int put(struct translator *t, const char *s)
{
    return mot_bytes_append(&t->out, s, strlen(s));
}

static int put_newer(struct translator *t, const char *name)
{
    size_t n = strlen(name);
    int rc = MOT_OK;
    for (int i = 0; !rc && i < MOT_COUNT(newer); i++) {
        bool same = n == 1 ? newer[i].name[0] == name[0] && newer[i].name[2] == 0
                           : !strcmp(newer[i].name, name);
        if (same)
            rc = mot_bytes_format(&t->out, "\\x{%x}-\\x{%x}", (unsigned)newer[i].lo,
                                  (unsigned)newer[i].hi);
    }
    return rc;
}

/* The members of a category or script, to stand in a class. */
static int put_members(struct translator *t, const char *name)
{
    for (int i = 0; i < MOT_COUNT(long_names); i++)
        if (strcmp(name, long_names[i][0]) == 0)
            name = long_names[i][1];
    const char *form = NULL;
    for (int i = 0; i < MOT_COUNT(categories); i++)
        if (strcmp(name, categories[i]) == 0)
            form = "\\p{%s}";
    for (int i = 0; i < MOT_COUNT(scripts); i++)
        if (strcmp(name, scripts[i]) == 0)
            form = "\\p{sc:%s}";
    if (!form)
        return mot_fail(MOT_EFORMAT,
                        "%s: the pattern uses \\p{%.40s}, which this program does not know",
                        t->name, name);
    int rc = mot_bytes_format(&t->out, form[3] == 's' ? "\\p{sc:%s}" : "\\p{%s}", name);
    return rc ? rc : put_newer(t, name);
}

static int put_word(struct translator *t)
{
    /* Oniguruma's word characters beyond letters, marks, digits and connectors: circled letters,
     * and by an old quirk of its Latin-1 table superscripts and fractions. */
    static const char *const parts[] = {"L", "M", "Nd", "Nl", "Pc"};
    int rc = put(t, "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"
                    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}");
    for (int i = 0; !rc && i < MOT_COUNT(parts); i++)
        rc = put_members(t, parts[i]);
    return rc;
}

/* \p{Name}, \p{^Name}, \P{Name}: after the p or P.  In a class a negation cannot be written. */
static int property(struct translator *t, bool negative, bool in_class)
{
    char name[40];
    size_t n = 0;
    if (t->p == t->end || *t->p != '{')
        return refuse(t, "\\p without a name in braces");
    t->p++;
    if (t->p < t->end && *t->p == '^')
        negative = !negative, t->p++;
    while (t->p < t->end && *t->p != '}' && n + 1 < sizeof name)
        name[n++] = (char)*t->p++;
    name[n] = 0;
    if (t->p == t->end || *t->p != '}')
        return refuse(t, "\\p{ without an end");
    t->p++;
    if (in_class)
        return negative ? refuse(t, "a negated \\p inside a class") : put_members(t, name);
    int rc = put(t, negative ? "[^" : "[");
    if (!rc)
        rc = put_members(t, name);
    return rc ? rc : put(t, "]");
}

static int number_escape(struct translator *t, int kind)
{
    /* \xHH, \x{H...}, \uHHHH */
    bool braces = kind == 'x' && t->p < t->end && *t->p == '{';
    size_t most = braces ? 8 : kind == 'x' ? 2 : 4, n = 0;
    uint32_t code = 0;
    t->p += braces;
    for (; t->p < t->end && n < most; n++, t->p++) {
        unsigned char c = *t->p;
        if (c >= '0' && c <= '9')
            code = code * 16 + c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            code = code * 16 + (uint32_t)(c | 32) - 'a' + 10;
        else
            break;
    }
    if (n == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || (kind == 'u' && n != 4) ||
        (kind == 'x' && !braces && code > 0x7f))
        return refuse(t, "a character number that is none");
    if (braces && (t->p == t->end || *t->p++ != '}'))
        return refuse(t, "\\x{ without an end");
    return mot_bytes_format(&t->out, "\\x{%x}", code);
}

/* One escape, after the backslash. */
static int escape(struct translator *t, bool in_class)
{
    if (t->p == t->end)
        return refuse(t, "a backslash at its end");
    unsigned char c = *t->p++;
    const char *open = in_class               ? ""
                       : c >= 'A' && c <= 'Z' ? "[^"
                                              : "[",
               *close = in_class ? "" : "]";
    int rc;
    switch (c) {
    case 'p':
    case 'P':
        return property(t, c == 'P', in_class);
    case 'x':
    case 'u':
        return number_escape(t, c);
    case 's':
    case 'S':
        if (in_class)
            return put(t, c == 's' ? SPACE : NOT_SPACE);
        return put(t, c == 's' ? "[" SPACE "]" : "[^" SPACE "]");
    case 'd':
    case 'D':
    case 'w':
    case 'W':
    case 'h':
    case 'H':
        if (in_class && c >= 'A' && c <= 'Z')
            return refuse(t, "\\D, \\W or \\H inside a class");
        rc = put(t, open);
        if (!rc)
            rc = (c | 32) == 'd'   ? put_members(t, "Nd")
                 : (c | 32) == 'w' ? put_word(t)
                                   : put(t, "0-9a-fA-F");
        return rc ? rc : put(t, close);
    case 'v':
        return put(t, "\\x{b}");
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e':
        return mot_bytes_format(&t->out, "\\%c", c);
    case 'A':
    case 'z':
        if (!in_class)
            return mot_bytes_format(&t->out, "\\%c", c);
        break;
    default:
        if (c < 0x80 && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z'))
            return mot_bytes_format(&t->out, "\\x{%x}", c);
        if (c >= 0x80) {
            t->p--;
            return MOT_OK; /* an escaped letter beyond ASCII is itself, and comes next */
        }
    }
    char what[24];
    snprintf(what, sizeof what, "\\%c", c);
    return refuse(t, what);
}

/* A class, after its opening bracket.  Nested sets and intersections are Oniguruma's alone. */
static int class(struct translator *t)
{
    int rc = put(t, "[");
    if (!rc && t->p < t->end && *t->p == '^') {
        t->p++;
        rc = put(t, "^");
    }
    for (bool first = true; !rc; first = false) {
        if (t->p == t->end)
            return refuse(t, "a class without an end");
        unsigned char c = *t->p++;
        if (c == ']' && !first)
            return put(t, "]");
        if (c == '[')
            return refuse(t, "a class inside a class");
        if (c == '&' && t->p < t->end && *t->p == '&')
            return refuse(t, "an intersection of classes (&&)");
        if (c == '\\')
            rc = escape(t, true);
        else if (c == ']')
            rc = put(t, "\\]");
        else
            rc = mot_bytes_append(&t->out, &c, 1);
    }
    return rc;
}

/* A group's opening, after its parenthesis: captures are dropped, nobody reads them. */
static int group(struct translator *t)
{
    static const char *const known[] = {"?:", "?=", "?!", "?>", "?<=", "?<!", "?i:", "?-i:"};
    t->depth++;
    if (t->p == t->end || *t->p != '?')
        return put(t, "(?:");
    for (int i = 0; i < MOT_COUNT(known); i++) {
        size_t n = strlen(known[i]);
        if ((size_t)(t->end - t->p) >= n && memcmp(t->p, known[i], n) == 0) {
            t->p += n;
            return mot_bytes_format(&t->out, "(%s", known[i]);
        }
    }
    /* At the very start (?i) means the same to both; further on it does not. */
    if (t->out.n == 0 && t->end - t->p >= 3 && memcmp(t->p, "?i)", 3) == 0) {
        t->p += 3;
        t->depth--;
        return put(t, "(?i)");
    }
    return refuse(t, "a kind of group");
}

/* {n}, {n,}, {n,m}, {,m}, after the brace; anything else is a literal brace. */
static int interval(struct translator *t)
{
    const unsigned char *p = t->p;
    unsigned lo = 0, hi = 0;
    bool low = false, high = false, comma = false;
    for (; p < t->end && *p >= '0' && *p <= '9' && lo < 100000; p++)
        lo = lo * 10 + *p - '0', low = true;
    if (p < t->end && *p == ',')
        comma = true, p++;
    for (; comma && p < t->end && *p >= '0' && *p <= '9' && hi < 100000; p++)
        hi = hi * 10 + *p - '0', high = true;
    if (p == t->end || *p != '}' || !(low || high))
        return put(t, "\\{");
    t->p = p + 1;
    if (t->p < t->end && (*t->p == '+' || *t->p == '?'))
        return refuse(t, "{n,m}+ or {n,m}?");
    if (!comma)
        return mot_bytes_format(&t->out, "{%u}", lo);
    return high ? mot_bytes_format(&t->out, "{%u,%u}", lo, hi)
                : mot_bytes_format(&t->out, "{%u,}", lo);
}

static int translate(struct translator *t)
{
    int rc = MOT_OK;
    while (!rc && t->p < t->end) {
        unsigned char c = *t->p++;
        switch (c) {
        case '\\':
            rc = escape(t, false);
            break;
        case '[':
            rc = class(t);
            break;
        case '(':
            rc = group(t);
            break;
        case ')':
            if (t->depth-- == 0)
                return refuse(t, "a closing parenthesis too many");
            rc = put(t, ")");
            break;
        case '{':
            rc = interval(t);
            break;
        default:
            rc = mot_bytes_append(&t->out, &c, 1);
        }
    }
    return rc;
}

int mot_regex_compile(struct mot_regex *r, const char *name, const char *pattern, size_t n)
{
    *r = (struct mot_regex){0};
    const unsigned char *p = (const unsigned char *)pattern;
    struct translator t = {.name = name, .p = p, .end = p + n};
    int rc = translate(&t);
    pcre2_compile_context *context = rc ? NULL : pcre2_compile_context_create(NULL);
    if (!rc && !context)
        rc = mot_fail(MOT_ENOMEM, "%s: out of memory compiling a pattern", name);
    if (!rc) {
        int code;
        PCRE2_SIZE at;
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        r->code = pcre2_compile(t.out.data, t.out.n,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, context);
        if (!r->code) {
            PCRE2_UCHAR why[200];
            pcre2_get_error_message(code, why, sizeof why);
            rc = mot_fail(MOT_EFORMAT, "%s: the pattern is not valid: %s", name, (const char *)why);
        } else {
            /* Without a compiler for this processor the interpreter does it, slower. */
            r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
        }
    }
    pcre2_compile_context_free(context);
    mot_bytes_free(&t.out);
    return rc;
}

int mot_regex_literal(struct mot_regex *r, const char *text, size_t n)
{
    *r = (struct mot_regex){.literal = mot_strndup(text, n), .literal_n = n};
    return r->literal ? MOT_OK : MOT_ENOMEM;
}

void mot_regex_free(struct mot_regex *r)
{
    pcre2_code_free(r->code);
    mot_free(r->literal);
    *r = (struct mot_regex){0};
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
