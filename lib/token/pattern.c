/* SPDX-License-Identifier: MIT
 *
 * pattern.c - the patterns of tokenizer.json, rewritten for PCRE2 to mean what Oniguruma means.
 *
 * Hugging Face's `tokenizers` reads patterns in Oniguruma's Ruby syntax with Unicode 16.  PCRE2
 * means other things by some of the same letters, and Debian's knows an older Unicode, so a pattern
 * is rewritten before it is compiled: \s, \w, \d, \h and \p{..} become explicit classes, with the
 * characters that newer Unicode versions added; scripts are matched without their extensions; ^ and
 * $ are line anchors; classes inside classes and their intersections become alternatives and
 * lookaheads of one character.  What has no faithful rewriting (back references, conditionals) is
 * refused by name: a pattern that silently splits text in other places would give a model ids it
 * has never seen.
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

enum { MAX_GROUPS = 64 };
struct translator {
    const char *name;             /* of the file, for messages */
    const unsigned char *p, *end; /* what is still to read */
    struct mot_bytes out;
    struct mot_bytes *others; /* of the class at hand: "|" and an expression for each member that no class can hold */
    int depth, nested;        /* of groups, of classes */
    size_t atom;              /* where in out what a quantifier here would apply to begins */
    size_t opened[MAX_GROUPS]; /* where in out each open group begins */
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
    for (const struct mot_newer *x = mot_newer; !rc && x->name[0]; x++) {
        bool same = n == 1 ? x->name[0] == name[0] && x->name[2] == 0 : !strcmp(x->name, name);
        if (same)
            rc = mot_bytes_format(&t->out, "\\x{%x}-\\x{%x}", (unsigned)x->lo, (unsigned)x->hi);
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

static int put_word(struct translator *t, bool in_class)
{
    /* Oniguruma's word characters beyond letters, marks, digits and connectors: circled letters,
     * and, outside of classes, by an old quirk of its Latin-1 table superscripts and fractions. */
    static const char *const parts[] = {"L", "M", "Nd", "Nl", "Pc"};
    int rc = in_class ? MOT_OK : put(t, "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}");
    if (!rc)
        rc = put(t, "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}");
    for (int i = 0; !rc && i < MOT_COUNT(parts); i++)
        rc = put_members(t, parts[i]);
    return rc;
}

/* Where the translation goes meanwhile; returns what was written so far. */
static struct mot_bytes redirect(struct translator *t, struct mot_bytes out)
{
    struct mot_bytes before = t->out;
    t->out = out;
    return before;
}

/* \p{Name}, \p{^Name}, \P{Name}: after the p or P.  In a class a negation goes to t->others. */
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
    if (in_class && !negative)
        return put_members(t, name);
    struct mot_bytes kept = in_class ? redirect(t, *t->others) : t->out;
    int rc = put(t, negative ? in_class ? "|[^" : "[^" : "[");
    if (!rc)
        rc = put_members(t, name);
    if (!rc)
        rc = put(t, "]");
    if (in_class)
        *t->others = redirect(t, kept);
    return rc;
}

/* \d, \w, \h and their opposites, which in a class go to t->others. */
static int class_escape(struct translator *t, unsigned char c, bool in_class)
{
    bool negative = c >= 'A' && c <= 'Z', aside = negative && in_class;
    struct mot_bytes kept = aside ? redirect(t, *t->others) : t->out;
    int rc = in_class && !negative ? MOT_OK : put(t, !negative ? "[" : in_class ? "|[^" : "[^");
    if (!rc)
        rc = (c | 32) == 'd'   ? put_members(t, "Nd")
             : (c | 32) == 'w' ? put_word(t, in_class)
                               : put(t, "0-9a-fA-F");
    if (!rc && !(in_class && !negative))
        rc = put(t, "]");
    if (aside)
        *t->others = redirect(t, kept);
    return rc;
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

/* Between a word character and what is none, or not. */
static int boundary(struct translator *t, bool negative)
{
    static const char *const around[] = {"(?:(?<=[", "])(?![", "])|(?<![", "])(?=[", "]))"};
    static const char *const within[] = {"(?:(?<=[", "])(?=[", "])|(?<![", "])(?![", "]))"};
    int rc = MOT_OK;
    for (int i = 0; !rc && i < MOT_COUNT(around); i++) {
        rc = put(t, negative ? within[i] : around[i]);
        if (!rc && i + 1 < MOT_COUNT(around))
            rc = put_word(t, false);
    }
    return rc;
}

/* One escape, after the backslash. */
static int escape(struct translator *t, bool in_class)
{
    if (t->p == t->end)
        return refuse(t, "a backslash at its end");
    unsigned char c = *t->p++;
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
        return class_escape(t, c, in_class);
    case 'v':
        return put(t, "\\x{b}");
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e':
        return mot_bytes_format(&t->out, "\\%c", c);
    case 'b':
    case 'B':
        if (!in_class)
            return boundary(t, c == 'B');
        break;
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

/* A class is read into operands, which && parts; an operand is the inside of PCRE2's class and the
 * alternatives beside it. */
struct class {
    bool negative, several; /* operands */
    struct mot_bytes operands, members, others;
};

static int append(struct mot_bytes *out, const struct mot_bytes *more)
{
    return mot_bytes_append(out, more->data, more->n);
}

static int put_members_of(struct mot_bytes *out, const struct class *c, bool negative)
{
    int rc = mot_bytes_append(out, "[^", negative ? 2 : 1);
    if (!rc)
        rc = append(out, &c->members);
    return rc ? rc : mot_bytes_append(out, "]", 1);
}

/* The operand at hand as an expression that matches one character; sign: what makes it another's
 * lookahead. */
static int put_operand(struct mot_bytes *out, const struct class *c, const char *sign)
{
    bool alone = c->others.n == 0 && !*sign;
    int rc = mot_bytes_append(out, alone ? "" : "(", !alone);
    if (!rc && !alone)
        rc = mot_bytes_append(out, *sign ? sign : "?:", strlen(*sign ? sign : "?:"));
    if (!rc && c->members.n > 0)
        rc = put_members_of(out, c, false);
    if (!rc && c->others.n > 0) /* without members its first bar has nothing before it */
        rc = mot_bytes_append(out, c->others.data + (c->members.n == 0), c->others.n - (c->members.n == 0));
    return rc || alone ? rc : mot_bytes_append(out, ")", 1);
}

/* The whole class as such an expression. */
static int put_class(struct mot_bytes *out, const struct class *c)
{
    static const char any[] = "[\\x{0}-\\x{10ffff}])";
    if (!c->several && c->others.n == 0) {
        return put_members_of(out, c, c->negative);
    }
    int rc = mot_bytes_append(out, c->negative ? "(?:(?!" : "(?:", c->negative ? 6 : 3);
    if (!rc)
        rc = append(out, &c->operands);
    if (!rc)
        rc = put_operand(out, c, "");
    if (!rc)
        rc = mot_bytes_append(out, ")", 1);
    return rc || !c->negative ? rc : mot_bytes_append(out, any, sizeof any - 1);
}

static int read_class(struct translator *t, struct class *c);

/* A class inside another: members join those of the outer one where that says the same. */
static int nested_class(struct translator *t, struct class *outer)
{
    struct class inner = {0};
    static const char *const posix[] = {":digit:]", ":xdigit:]", ":word:]", ":space:]"};
    for (int i = 0; i < MOT_COUNT(posix); i++) {
        size_t n = strlen(posix[i]);
        if ((size_t)(t->end - t->p) < n || memcmp(t->p, posix[i], n) != 0)
            continue;
        t->p += n;
        return i == 3 ? put(t, SPACE) : class_escape(t, (unsigned char)"dhw"[i], true);
    }
    if (t->p < t->end && *t->p == ':')
        return refuse(t, "a class of POSIX");
    if (t->nested == 8)
        return refuse(t, "classes nested more than 8 deep");
    struct mot_bytes kept = redirect(t, (struct mot_bytes){0}), *others = t->others;
    int rc = read_class(t, &inner);
    t->out = kept;
    t->others = others;
    if (!rc && !inner.negative && !inner.several) {
        rc = append(&t->out, &inner.members);
        if (!rc)
            rc = append(&outer->others, &inner.others);
    } else if (!rc) {
        rc = mot_bytes_append(&outer->others, "|", 1);
        if (!rc)
            rc = put_class(&outer->others, &inner);
    }
    mot_bytes_free(&inner.operands);
    mot_bytes_free(&inner.members);
    mot_bytes_free(&inner.others);
    return rc;
}

/* One thing in a class, its first character read. */
static int class_member(struct translator *t, struct class *c, unsigned char first)
{
    if (first == '[')
        return nested_class(t, c);
    if (first == '\\')
        return escape(t, true);
    if (first == ']')
        return put(t, "\\]");
    if (first != '&' || t->p == t->end || *t->p != '&')
        return mot_bytes_append(&t->out, &first, 1);
    t->p++; /* && */
    c->members = t->out;
    int rc = c->members.n + c->others.n ? put_operand(&c->operands, c, "?=") : refuse(t, "&& after nothing");
    c->members = redirect(t, (struct mot_bytes){0});
    mot_bytes_free(&c->members);
    c->others.n = 0;
    c->several = true;
    return rc;
}

/* A class, after its opening bracket; its members go to t->out first. */
static int read_class(struct translator *t, struct class *c)
{
    int rc = MOT_OK;
    t->others = &c->others;
    t->nested++;
    if (t->p < t->end && *t->p == '^')
        t->p++, c->negative = true;
    for (bool first = true; !rc; first = false) {
        if (t->p == t->end) {
            rc = refuse(t, "a class without an end");
            break;
        }
        unsigned char next = *t->p++;
        if (next == ']' && !first)
            break;
        rc = class_member(t, c, next);
    }
    t->nested--;
    c->members = redirect(t, (struct mot_bytes){0});
    if (!rc && c->several && c->members.n + c->others.n == 0)
        rc = refuse(t, "&& before nothing");
    return rc;
}

static int class(struct translator *t)
{
    struct class c = {0};
    struct mot_bytes kept = redirect(t, (struct mot_bytes){0});
    int rc = read_class(t, &c);
    t->out = kept;
    if (!rc)
        rc = put_class(&t->out, &c);
    mot_bytes_free(&c.operands);
    mot_bytes_free(&c.members);
    mot_bytes_free(&c.others);
    return rc;
}

/* A group's opening, after its parenthesis. */
static int group(struct translator *t)
{
    static const char *const known[] = {"?:", "?=", "?!", "?>", "?<=", "?<!", "?i:", "?-i:"};
    static const char across_lines[] = "?m:"; /* Ruby's name of what is (?s: to others */
    if (t->depth == MAX_GROUPS)
        return refuse(t, "groups nested more than 64 deep");
    t->opened[t->depth++] = t->out.n;
    if (t->p == t->end || *t->p != '?')
        return put(t, "(?:");
    for (int i = 0; i < MOT_COUNT(known); i++) {
        size_t n = strlen(known[i]);
        if ((size_t)(t->end - t->p) >= n && memcmp(t->p, known[i], n) == 0) {
            t->p += n;
            return mot_bytes_format(&t->out, "(%s", known[i]);
        }
    }
    const unsigned char *name = t->p + 2; /* (?<name>: captures are dropped, nobody reads them */
    while (t->p + 1 < t->end && t->p[1] == '<' && name < t->end && ((*name | 32) >= 'a' && (*name | 32) <= 'z'))
        name++;
    if (name > t->p + 2 && name < t->end && *name == '>') {
        t->p = name + 1;
        return put(t, "(?:");
    }
    if (t->end - t->p >= 3 && memcmp(t->p, across_lines, 3) == 0) {
        t->p += 3;
        return put(t, "(?s:");
    }
    /* At the very start (?i) means the same to both; further on it does not. */
    if (t->out.n == 0 && t->end - t->p >= 3 && memcmp(t->p, "?i)", 3) == 0) {
        t->p += 3;
        t->depth--;
        return put(t, "(?i)");
    }
    return refuse(t, "a kind of group");
}

/* The + after an interval repeats all of it; it does not make it possessive, as PCRE2 would have it. */
static int repeat_interval(struct translator *t, const char *interval)
{
    static const char open[] = "(?:";
    size_t n = sizeof open - 1, rest = t->out.n - t->atom;
    int rc = put(t, open);
    if (rc)
        return rc;
    memmove(t->out.data + t->atom + n, t->out.data + t->atom, rest);
    memcpy(t->out.data + t->atom, open, n);
    t->p++;
    return mot_bytes_format(&t->out, "%s)+", interval);
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
    if (t->p < t->end && *t->p == '?' && !comma)
        return refuse(t, "{n}?");
    char text[40];
    if (!comma)
        snprintf(text, sizeof text, "{%u}", lo);
    else if (high)
        snprintf(text, sizeof text, "{%u,%u}", lo, hi);
    else
        snprintf(text, sizeof text, "{%u,}", lo);
    return t->p < t->end && *t->p == '+' ? repeat_interval(t, text) : put(t, text);
}

static int translate(struct translator *t)
{
    int rc = MOT_OK;
    while (!rc && t->p < t->end) {
        unsigned char c = *t->p++;
        if (!strchr("?*+{)", c) && (c & 0xc0) != 0x80)
            t->atom = t->out.n;
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
            if (t->depth == 0)
                return refuse(t, "a closing parenthesis too many");
            t->atom = t->opened[--t->depth];
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

int mot_pattern_translate(const char *name, const char *pattern, size_t n, struct mot_bytes *out)
{
    const unsigned char *p = (const unsigned char *)pattern;
    struct translator t = {.name = name, .p = p, .end = p + n, .out = *out};
    int rc = translate(&t);
    *out = t.out;
    return rc;
}
