/* SPDX-License-Identifier: MIT
 *
 * test_bpe.c - text to ids and back: against what Hugging Face's library makes of the same files
 * (tests/golden/tokenizer), against the definition of byte-pair encoding applied naively, and on
 * bytes that are no text at all.  Learning: against the golden merges, and against the textbook's
 * loop.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/token/token.h"
#include "tests/test.h"

static const char *const families[] = {"gpt2",     "ours",   "llama3",    "qwen", "o200k",
                                       "deepseek", "llama2", "metaspace", "unknown", "gemma",
                                       "falcon",   "bloom",  "chameleon", "kimi",    "deepseek3", "flags",
                                       "clip",     "prefix"};

static struct mot_text *load(const char *path)
{
    json_t *j = mot_json_load(path, MOT_TOKENIZER_LIMIT);
    struct mot_text *t = j ? mot_text_load(path, j) : NULL;
    if (!t)
        fprintf(stderr, "%s\n", mot_error());
    json_decref(j);
    return t;
}

static struct mot_text *load_family(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "tests/golden/tokenizer/%s.json", name);
    return load(path);
}

static bool same_ids(const json_t *expected, const struct mot_ids *found)
{
    bool same = json_array_size(expected) == (size_t)found->n;
    for (int64_t i = 0; same && i < found->n; i++)
        same = json_integer_value(json_array_get(expected, (size_t)i)) == found->id[i];
    return same;
}

/* One line of golden results; false if anything differs. */
static bool agrees(const struct mot_text *t, struct mot_text_state *s, const json_t *line)
{
    const json_t *text = json_object_get(line, "text"), *decoded = json_object_get(line, "decoded");
    struct mot_ids ids = {0}, special = {0};
    struct mot_bytes back = {0};
    bool same = !mot_text_encode(t, s, json_string_value(text), json_string_length(text), &ids) &&
                same_ids(json_object_get(line, "ids"), &ids);
    same = same && !mot_ids_append(&special, t->before.id, t->before.n) &&
           !mot_ids_append(&special, ids.id, ids.n) &&
           !mot_ids_append(&special, t->after.id, t->after.n) &&
           same_ids(json_object_get(line, "special"), &special);
    same = same && !mot_text_decode(t, s, ids.id, ids.n, false, &back);
    if (decoded)
        same = same && back.n == json_string_length(decoded) &&
               (back.n == 0 || memcmp(back.data, json_string_value(decoded), back.n) == 0);
    mot_ids_free(&ids);
    mot_ids_free(&special);
    mot_bytes_free(&back);
    return same;
}

static void test_golden(void)
{
    for (int f = 0; f < MOT_COUNT(families); f++) {
        char path[100];
        snprintf(path, sizeof path, "tests/golden/tokenizer/%s.jsonl", families[f]);
        struct mot_text *t = load_family(families[f]);
        struct mot_text_state s;
        FILE *file = fopen(path, "r");
        CHECK(t && file && mot_text_state_init(&s) == 0);
        if (!t || !file)
            return;
        char *line = NULL;
        size_t capacity = 0;
        int n = 0;
        for (ssize_t length; (length = getline(&line, &capacity, file)) > 0; n++) {
            json_t *j = mot_json_parse(path, line, (size_t)length);
            if (!agrees(t, &s, j)) {
                fprintf(stderr, "%s:%d: differs\n", path, n + 1);
                CHECK(!"golden ids, special ids and decoded text are equal");
            }
            json_decref(j);
        }
        CHECK(n > 50);
        free(line);
        fclose(file);
        mot_text_state_free(&s);
        mot_text_free(t);
    }
}

/* Bytes of every kind: random, text with a byte broken, text cut anywhere. */
static size_t hard_bytes(uint64_t k, unsigned char *p, size_t max)
{
    static const char text[] =
        "caf\xc3\xa9 \xe5\xbf\xab\xe9\x80\x9f don't 12345 \xf0\x9f\x99\x82\r\n\r\n  x \xe2\x96\x81<|bos|><|eoi|>\xef\xbf\xbd";
    size_t n = (size_t)mot_random_below(3, 1, k, max);
    for (size_t i = 0; i < n; i++)
        p[i] = k % 3 ? (unsigned char)text[(i + k) % (sizeof text - 1)]
                     : (unsigned char)mot_random_u64(3, 2, k * 1000 + i);
    if (k % 3 == 2 && n)
        p[mot_random_below(3, 3, k, n)] = (unsigned char)mot_random_u64(3, 4, k);
    return n;
}

static void test_any_bytes_come_back(void)
{
    /* The byte-level files that neither normalize nor strip give back any bytes at all. */
    static const char *const exact[] = {"gpt2", "ours", "llama3", "o200k", "deepseek"};
    for (int f = 0; f < MOT_COUNT(exact); f++) {
        struct mot_text *t = load_family(exact[f]);
        struct mot_text_state s;
        CHECK(t && mot_text_state_init(&s) == 0);
        if (!t)
            return;
        int wrong = 0;
        for (uint64_t k = 0; k < 600; k++) {
            unsigned char p[200];
            size_t n = hard_bytes(k, p, sizeof p);
            struct mot_ids ids = {0};
            struct mot_bytes back = {0};
            CHECK_INT(mot_text_encode(t, &s, p, n, &ids), 0);
            CHECK_INT(mot_text_decode(t, &s, ids.id, ids.n, false, &back), 0);
            wrong += back.n != n || (n && memcmp(back.data, p, n) != 0);
            mot_ids_free(&ids);
            mot_bytes_free(&back);
        }
        CHECK_INT(wrong, 0);
        mot_text_state_free(&s);
        mot_text_free(t);
    }
}

/* Byte fallback: a run of byte tokens that is not UTF-8 decodes to one U+FFFD a byte, as in `tokenizers`. */
static void test_fallback_bytes(void)
{
#define BAD "\xef\xbf\xbd"
    struct mot_text *t = load_family("llama2");
    struct mot_text_state s;
    static const char *const cases[][2] = {
        {"\xff", BAD},
        {" \xff", " " BAD},
        {"\xff ab", BAD " ab"},
        {"ab\xff cd", "ab" BAD " cd"},
        {"a\xe5\xbf", "a" BAD BAD},
        {"a\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80"},
        {"\xf0\x9f\x98\x80\xe5 x", BAD BAD BAD BAD BAD " x"},
        {"\x80\x80 \xc3", BAD BAD " " BAD},
    };
    CHECK(t && mot_text_state_init(&s) == 0);
    for (int i = 0; t && i < MOT_COUNT(cases); i++) {
        struct mot_ids ids = {0};
        struct mot_bytes back = {0};
        CHECK_INT(mot_text_encode(t, &s, cases[i][0], strlen(cases[i][0]), &ids), 0);
        CHECK_INT(mot_text_decode(t, &s, ids.id, ids.n, false, &back), 0);
        CHECK_INT(mot_bytes_append(&back, "", 1), 0);
        CHECK_STR((const char *)back.data, cases[i][1]);
        mot_ids_free(&ids);
        mot_bytes_free(&back);
    }
    mot_text_state_free(&s);
    mot_text_free(t);
}

/* U+FFFD for each start of a character that breaks off, and for each byte that starts none. */
static void test_lossy(void)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"abc\xc3\xa9", "abc\xc3\xa9"},
        {"a\xff\xfe" "b", "a" BAD BAD "b"},
        {"\xe5\xbf" "x\xe5", BAD "x" BAD},
        {"\xf0\x9f\x98", BAD},
        {"\xf0\x9f\x98\xf0\x9f", BAD BAD},
        {"\xe0\x80\x80", BAD BAD BAD},
        {"\xed\xa0\x80", BAD BAD BAD},
        {"\xf4\x90\x80\x80", BAD BAD BAD BAD},
        {"\xc0\xaf", BAD BAD},
        {"\xc3(", BAD "("},
    };
    for (int i = 0; i < MOT_COUNT(cases); i++) {
        struct mot_bytes out = {0};
        CHECK_INT(mot_utf8_lossy(cases[i][0], strlen(cases[i][0]), &out), 0);
        CHECK_INT(mot_bytes_append(&out, "", 1), 0);
        CHECK_STR((const char *)out.data, cases[i][1]);
        mot_bytes_free(&out);
    }
#undef BAD
}

/* GPT-2's table by its own words: printable Latin-1 as it is, the rest from U+0100 on in order. */
static void test_byte_letters(void)
{
    int32_t next = 0x100;
    for (int b = 0; b < 256; b++) {
        bool keep = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        int32_t letter = keep ? b : next++;
        CHECK_INT(mot_byte_letter(b), letter);
        CHECK_INT(mot_letter_byte(letter), b);
    }
    CHECK_INT(mot_letter_byte(next), -1);
    CHECK_INT(mot_letter_byte(' '), -1);
}

/* ---- merging, by definition ---- */

/* A vocabulary over a, b, c with random merges, byte-level. */
static void random_model(struct mot_bpe *b, uint64_t seed, int merges)
{
    char text[64][40] = {"a", "b", "c"};
    int n = 3;
    struct {
        int left, right, id;
    } rule[64];
    for (int i = 0; i < merges; i++) {
        int left = (int)mot_random_below(seed, 1, (uint64_t)i, (uint64_t)n);
        int right = (int)mot_random_below(seed, 2, (uint64_t)i, (uint64_t)n), id = -1;
        char both[80];
        snprintf(both, sizeof both, "%s%s", text[left], text[right]);
        for (int k = 0; k < n; k++)
            id = strcmp(text[k], both) == 0 ? k : id;
        if (strlen(both) < 40 && id < 0)
            memcpy(text[id = n++], both, strlen(both) + 1);
        rule[i].left = left, rule[i].right = right, rule[i].id = id;
    }
    *b = (struct mot_bpe){.bytes = true};
    CHECK_INT(mot_bpe_begin(b, n, merges), 0);
    for (int k = 0; k < n; k++)
        CHECK_INT(mot_bpe_token(b, k, text[k], strlen(text[k])), 0);
    CHECK_INT(mot_bpe_make_index(b), 0);
    for (int i = 0; i < merges; i++)
        if (rule[i].id >= 0)
            mot_bpe_add_merge(b, rule[i].left, rule[i].right, i, rule[i].id);
    CHECK_INT(mot_bpe_finish(b), 0);
}

/* The lowest rank anywhere, leftmost first, until nothing can be merged: looked up by going through
 * the whole table. */
static int64_t naive(const struct mot_bpe *b, int32_t *symbol, int64_t n)
{
    for (;;) {
        int64_t at = -1;
        int32_t rank = INT32_MAX, id = 0;
        for (int64_t i = 0; i + 1 < n; i++)
            for (uint64_t k = 0; k <= b->merge_mask; k++)
                if (b->merge[k].pair == ((uint64_t)symbol[i] << 32 | (uint64_t)symbol[i + 1]) &&
                    b->merge[k].rank < rank)
                    at = i, rank = b->merge[k].rank, id = b->merge[k].id;
        if (at < 0)
            return n;
        symbol[at] = id;
        memmove(symbol + at + 1, symbol + at + 2, (size_t)(n - at - 2) * sizeof *symbol);
        n--;
    }
}

static void test_merging_by_definition(void)
{
    int wrong = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct mot_bpe b;
        struct mot_bpe_state s = {0};
        random_model(&b, seed, 20);
        CHECK_INT(mot_bpe_state_init(&s), 0);
        for (uint64_t k = 0; k < 20; k++) { /* short ones by scanning, long ones by the heap */
            unsigned char p[160];
            int32_t symbol[160];
            size_t n = 1 + (size_t)mot_random_below(seed, 3, k, k % 2 ? 159 : 40);
            for (size_t i = 0; i < n; i++) {
                int32_t c = (int32_t)mot_random_below(seed, 4, k * 200 + i, seed % 2 ? 2 : 3);
                p[i] = (unsigned char)('a' + c);
                symbol[i] = c;
            }
            struct mot_ids ids = {0};
            CHECK_INT(mot_bpe_encode(&b, &s, p, n, true, &ids), 0);
            int64_t expected = naive(&b, symbol, (int64_t)n);
            wrong +=
                ids.n != expected || memcmp(ids.id, symbol, (size_t)expected * sizeof *symbol) != 0;
            mot_ids_free(&ids);
        }
        mot_bpe_state_free(&s);
        mot_bpe_free(&b);
    }
    CHECK_INT(wrong, 0);
}

/* Hundreds of kilobytes without a boundary: quadratic work would not end within the patience of a
 * test. */
static void test_hostile_length(void)
{
    enum { N = 400000 };
    unsigned char *p = malloc(N);
    for (int kind = 0; kind < 9; kind++) {
        for (int i = 0; i < N; i++)
            p[i] = kind == 0   ? 'a'
                   : kind == 1 ? ' '
                   : kind == 2 ? (unsigned char)('a' + mot_random_below(1, 1, (uint64_t)i, 26))
                   : kind == 3 ? (unsigned char)(i % 2 ? i % 4 == 1 ? 0x81 : 0xa3
                                                       : 0xcc) /* combining marks out of order */
                   : kind == 4 ? '\n'
                   : kind == 5 ? '0'
                   : kind == 6 ? (unsigned char)"<|bos"[i % 5] /* what a special token begins with */
                   : kind == 7 ? (unsigned char)(i + 1 < N ? 'A' : '1') /* capitals that no small letter follows */
                               : 0x80;
        for (int f = 0; f < MOT_COUNT(families); f++) {
            struct mot_text *t = load_family(families[f]);
            struct mot_text_state s;
            struct mot_ids ids = {0};
            CHECK(t && mot_text_state_init(&s) == 0);
            if (!t)
                return;
            CHECK_INT(mot_text_encode(t, &s, p, N, &ids), 0);
            CHECK(ids.n > 0 || kind > 0); /* some drop spaces, marks, what is unknown */
            mot_ids_free(&ids);
            mot_text_state_free(&s);
            mot_text_free(t);
        }
    }
    free(p);
}

/* ---- what is refused ---- */

static void test_patterns_refused(void)
{
    static const char *const cases[][2] = {
        {"a\\R", "\\R"},
        {"[\\b]", "\\b"},
        {"[&&b]", "&& after"},
        {"[a&&]", "&& before"},
        {"[a[:alpha:]]", "POSIX"},
        {"[[[[[[[[[a]]]]]]]]]", "8 deep"},
        {"(a)\\1", "\\1"},
        {"\\p{Klingon}", "Klingon"},
        {"a(?i)b", "group"},
        {"(?<>a)", "group"},
        {"(?<x", "group"},
        {"[[a]", "class without"},
        {"a{2}?", "{n}?"},
        {"[abc", "class without"},
        {"a)", "parenthesis"},
        {"(a", "not valid"},
        {"\\x{110000}", "number"},
        {"\\", "backslash"},
        {"(?(1)a|b)", "group"},
    };
    for (int i = 0; i < MOT_COUNT(cases); i++) {
        struct mot_regex r;
        CHECK_INT(mot_regex_compile(&r, "file", cases[i][0], strlen(cases[i][0])), MOT_EFORMAT);
        if (!strstr(mot_error(), cases[i][1]))
            CHECK_STR(mot_error(), cases[i][1]);
        mot_regex_free(&r);
    }
}

/* Does the pattern match all of the text? */
static bool matches(const char *pattern, const char *text)
{
    struct mot_regex r;
    struct mot_matcher m;
    size_t begin = 0, end = 0;
    CHECK_INT(mot_regex_compile(&r, "test", pattern, strlen(pattern)), 0);
    CHECK_INT(mot_matcher_init(&m), 0);
    CHECK_INT(mot_regex_find(&r, &m, (const unsigned char *)text, strlen(text), 0, &begin, &end),
              0);
    mot_matcher_free(&m);
    mot_regex_free(&r);
    return begin == 0 && end == strlen(text);
}

/* Where Oniguruma and PCRE2 differ. */
static void test_patterns_mean_oniguruma(void)
{
    CHECK(!matches("\\s", "\xe1\xa0\x8e")); /* U+180E is no space */
    CHECK(matches("[\\s]", "\xe3\x80\x80"));
    CHECK(matches("[^\\S\\n]", "\xc2\x85"));
    CHECK(matches("\\w", "\xcc\x80"));                  /* a mark is a word character */
    CHECK(!matches("\\w", "\xe2\x82\x80"));             /* subscript zero is none */
    CHECK(matches("\\h", "F") && !matches("\\h", " ")); /* a hexadecimal digit */
    CHECK(matches("\\v", "\v") && !matches("\\v", "\n"));
    CHECK(matches("\\p{L}", "\xf0\xb1\x8d\x90")); /* U+31350, Unicode 15 */
    CHECK(matches("\\p{^L}", "1") && !matches("\\P{^Lu}", "a"));
    CHECK(!matches("\\p{Han}", "\xe3\x80\x81")); /* used with Han, but not of it */
    CHECK(matches("a{,2}", "aa"));
    CHECK(matches("(?i:'s)", "'\xc5\xbf")); /* long s */
    CHECK(matches("a$\\n^b", "a\nb"));
    CHECK(matches("a{", "a{") && matches("[]]", "]"));
    CHECK(matches("\\w", "\xc2\xbd") && !matches("[\\w]", "\xc2\xbd")); /* one half, by Oniguruma's own table */
    CHECK(matches("(a|ab){1,2}+c", "aababac") && !matches("a{2}+", "aaa")); /* + repeats the interval */
    CHECK(matches("\xc3\xa9{1,2}+", "\xc3\xa9\xc3\xa9\xc3\xa9"));
    CHECK(matches("a\\b-", "a-") && !matches("a\\Bb\\b.", "abc") && matches("\\Ba|\\b-", "") == false);
    CHECK(matches("(?<x>a)+", "aa"));
    CHECK(matches("(?m:a.b)", "a\nb") && !matches("(?:a.b)", "a\nb"));
}

/* What quick.c tells is what the pattern tells: the same pattern in a group is not one it knows. */
static void test_quick_matches(void)
{
    static const char *const from[] = {"gpt2", "ours", "qwen", "o200k"};
    static const char pool[] = "aaeesstTdDmlLvrXYZ'' \n\r12-.<\xc3\xa9\xcc\x81";
    for (int f = 0; f < MOT_COUNT(from); f++) {
        char path[100], grouped[1000];
        snprintf(path, sizeof path, "tests/golden/tokenizer/%s.json", from[f]);
        json_t *j = mot_json_load(path, MOT_TOKENIZER_LIMIT);
        const json_t *list = json_object_get(json_object_get(j, "pre_tokenizer"), "pretokenizers"),
                     *first = json_object_get(json_array_get(list, 0), "pattern");
        const char *pattern = json_string_value(json_object_get(first, "Regex"));
        if (!pattern)
            pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
        snprintf(grouped, sizeof grouped, "(?:%s)", pattern);
        struct mot_regex quick, plain;
        struct mot_matcher m;
        CHECK_INT(mot_regex_compile(&quick, "quick", pattern, strlen(pattern)), 0);
        CHECK_INT(mot_regex_compile(&plain, "plain", grouped, strlen(grouped)), 0);
        CHECK_INT(mot_matcher_init(&m), 0);
        CHECK(quick.quick && !plain.quick);
        int wrong = 0;
        for (uint64_t k = 0; k < 20000; k++) {
            unsigned char text[16];
            size_t n = 0, begin[2], end[2];
            while (n < 12) {
                size_t at = (size_t)mot_random_below(5, 1, k * 16 + n, sizeof pool - 1);
                unsigned char c = (unsigned char)pool[at];
                if (c >= 0x80)
                    memcpy(text + n, pool + (at - (c < 0xc0)), 2), n += 2;
                else
                    text[n++] = c;
            }
            CHECK_INT(mot_regex_find(&quick, &m, text, n, 0, &begin[0], &end[0]), 0);
            CHECK_INT(mot_regex_find(&plain, &m, text, n, 0, &begin[1], &end[1]), 0);
            wrong += begin[0] != begin[1] || end[0] != end[1];
        }
        CHECK_INT(wrong, 0);
        mot_matcher_free(&m);
        mot_regex_free(&quick);
        mot_regex_free(&plain);
        json_decref(j);
    }
}

/* Classes inside classes, negations inside them, intersections. */
static void test_classes_of_classes(void)
{
    static const struct {
        const char *pattern, *in, *out; /* characters that it matches, and that it does not */
    } cases[] = {
        {"[a[bc]d]", "abcd", "e[]"},
        {"[^a[bc]]", "de[]", "abc"},
        {"[^(\\s|[.,!?])]", "ax[]", "( |).,!?"},
        {"[a-z&&[^aeiou]]", "bcz", "aeA1"},
        {"[^a-z&&[^aeiou]]", "aeA1", "bcz"},
        {"[a-e&&c-h&&[^d]]", "ce", "abdfgh"},
        {"[1[^a-z]]", "1A2", "az"},
        {"[^\\P{L}x]", "aB", "x1."},
        {"[\\P{L}x]", "x1.", "aB"},
        {"[\\D5]", "a5", "14"},
        {"[\\W_]", "_.", "a1"},
        {"[\\p{^L}&&\\P{N}]", ".-", "a1"},
        {"[[:digit:]a]", "1a", "b:dt"},
        {"[[[a]]b]", "ab", "["},
    };
    for (int i = 0; i < MOT_COUNT(cases); i++)
        for (int side = 0; side < 2; side++)
            for (const char *p = side ? cases[i].out : cases[i].in; *p; p++)
                if (matches(cases[i].pattern, (char[]){*p, 0}) == side) {
                    fprintf(stderr, "%s and %c\n", cases[i].pattern, *p);
                    CHECK(!"the class holds what it should");
                }
}

/* A token without text decodes to nothing. */
static void test_empty_token(void)
{
    static const char file[] = "{\"model\":{\"vocab\":{\"\":0},\"merges\":[]},\"decoder\":{\"type\":\"Fuse\"}}";
    json_t *j = mot_json_parse("file", file, strlen(file));
    struct mot_text *t = j ? mot_text_load("file", j) : NULL;
    struct mot_text_state s;
    struct mot_bytes out = {0};
    CHECK(t && mot_text_state_init(&s) == 0);
    CHECK_INT(mot_text_decode(t, &s, (int32_t[]){0, 0}, 2, false, &out), 0);
    CHECK_INT(mot_text_decode(t, &s, NULL, 0, false, &out), 0);
    CHECK_INT(out.n, 0);
    mot_bytes_free(&out);
    mot_text_state_free(&s);
    mot_text_free(t);
    json_decref(j);
}

/* The ids of a text by a tokenizer.json. */
static void check_ids(const char *file, const char *text, const int32_t *expected, int64_t n)
{
    json_t *j = mot_json_parse("file", file, strlen(file));
    struct mot_text *t = j ? mot_text_load("file", j) : NULL;
    struct mot_text_state s;
    struct mot_ids ids = {0};
    CHECK(t && mot_text_state_init(&s) == 0);
    CHECK_INT(mot_text_encode(t, &s, text, strlen(text), &ids), 0);
    CHECK(ids.n == n && memcmp(ids.id, expected, (size_t)n * sizeof *expected) == 0);
    mot_ids_free(&ids);
    mot_text_state_free(&s);
    mot_text_free(t);
    json_decref(j);
}

/* Where nothing stands for what is not in the vocabulary, its neighbours merge over its place. */
static void test_unknown_vanishes(void)
{
    check_ids("{\"model\":{\"vocab\":{\"\u2581\":0,\"a\":1,\"\u2581\u2581\":2,\"a\u2581\":3},"
              "\"merges\":[\"\u2581 \u2581\",\"a \u2581\"]}}",
              "a\u2581\u00e9\u2581a\u00e9\u2581\u00e9", (const int32_t[]){1, 2, 3}, 3);
}

/* White space that the token before has taken is no token of its own, if that takes white space before it. */
static void test_space_is_taken_once(void)
{
    static const char file[] = "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":["
                               "{\"id\":1,\"content\":\"\\n\\n\",\"lstrip\":true,\"rstrip\":true},"
                               "{\"id\":2,\"content\":\"  \",\"lstrip\":true},"
                               "{\"id\":3,\"content\":\"b\",\"rstrip\":true},{\"id\":4,\"content\":\"\\t\"}]}";
    check_ids(file, "a\n\n\n\na", (const int32_t[]){0, 1, 0}, 3);
    check_ids(file, "b  a  a", (const int32_t[]){3, 0, 2, 0}, 4);
    check_ids(file, "b\ta", (const int32_t[]){3, 4, 0}, 3);
}

static void test_files_refused(void)
{
    static const char model[] =
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}";
    static const char *const cases[][2] = {
        {"{}", "model"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "Unigram"},
        {"{\"normalizer\":{\"type\":\"Precompiled\"},MODEL}", "Precompiled"},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},MODEL}", "UnicodeScripts"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Odd\"},MODEL}",
         "Odd"},
        {"{\"decoder\":{\"type\":\"WordPiece\"},MODEL}", "WordPiece"},
        {"{\"decoder\":{\"type\":\"Strip\",\"content\":\"ab\",\"start\":1,\"stop\":0},MODEL}",
         "one character"},
        {"{\"post_processor\":{\"type\":\"Odd\"},MODEL}", "Odd"},
        {"{\"truncation\":{\"max_length\":5},MODEL}", "truncation"},
        {"{\"padding\":{\"strategy\":{\"Fixed\":5}},MODEL}", "padding"},
        {"{\"added_tokens\":[{\"id\":7,\"content\":\"<x>\"}],MODEL}", "<x>"},
        {"{\"added_tokens\":[{\"id\":-1,\"content\":\"<x>\"}],MODEL}", "<x>"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "id 0"},
        {"{\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}", "id below"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "merge 0: \"a\" + \"b\""},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[7]}}", "merge 0"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", "dropout"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"],\"continuing_subword_prefix\":\"##\"}}",
         "continuing_subword_prefix"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}", "unk_token"},
    };
    for (int i = 0; i < MOT_COUNT(cases); i++) {
        char text[600];
        const char *at = strstr(cases[i][0], "MODEL");
        if (at)
            snprintf(text, sizeof text, "%.*s%s%s", (int)(at - cases[i][0]), cases[i][0], model,
                     at + 5);
        else
            snprintf(text, sizeof text, "%s", cases[i][0]);
        json_t *j = mot_json_parse("file", text, strlen(text));
        CHECK(j);
        struct mot_text *t = mot_text_load("file", j);
        CHECK(!t);
        if (!t && !strstr(mot_error(), cases[i][1]))
            CHECK_STR(mot_error(), cases[i][1]);
        mot_text_free(t);
        json_decref(j);
    }
}

/* ---- learning ---- */

static int read_corpus(struct mot_bytes *b)
{
    return mot_read_file("tests/golden/tokenizer/corpus.txt", 1 << 20, b);
}

/* The same text, pattern and size as `tokenizers` learned from: the very same vocabulary must come
 * out. */
static void test_learns_as_tokenizers(void)
{
    static const char *const special[] = {"<|bos|>", "<|eos|>", "<|boi|>", "<|eoi|>"};
    char path[] = "/tmp/mot-test-XXXXXX";
    int fd = mkstemp(path);
    struct mot_bytes corpus = {0};
    struct mot_bpe_merges m = {0};
    struct mot_bpe_learner *l = mot_bpe_learner_new(0);
    CHECK(fd >= 0 && l && read_corpus(&corpus) == 0);
    for (size_t i = 0; i < corpus.n;) { /* a line at a time, as make.py did */
        const unsigned char *end = memchr(corpus.data + i, '\n', corpus.n - i);
        size_t n = end ? (size_t)(end - corpus.data) + 1 - i : corpus.n - i;
        CHECK_INT(mot_bpe_learner_add(l, corpus.data + i, n), 0);
        i += n;
    }
    CHECK_INT(mot_bpe_learn(l, special, 4, 420, NULL, NULL, &m), 0);
    CHECK_INT(mot_bpe_merges_save(&m, path), 0);
    json_t *ours = mot_json_load(path, 1 << 20),
           *theirs = mot_json_load("tests/golden/tokenizer/ours.json", 1 << 20);
    const json_t *a = json_object_get(ours, "model"), *b = json_object_get(theirs, "model");
    CHECK(a && b && json_equal(json_object_get(a, "vocab"), json_object_get(b, "vocab")));
    const json_t *mine = json_object_get(a, "merges"), *other = json_object_get(b, "merges");
    CHECK_INT(json_array_size(mine), json_array_size(other));
    for (size_t i = 0; i < json_array_size(mine);
         i++) { /* "left right" here, [left, right] there */
        const json_t *pair = json_array_get(other, i);
        char both[200];
        snprintf(both, sizeof both, "%s %s", json_string_value(json_array_get(pair, 0)),
                 json_string_value(json_array_get(pair, 1)));
        CHECK_STR(json_string_value(json_array_get(mine, i)), both);
    }
    CHECK(
        json_equal(json_object_get(ours, "added_tokens"), json_object_get(theirs, "added_tokens")));
    CHECK(json_array_size(mine) > 100);
    json_decref(ours);
    json_decref(theirs);
    mot_bpe_merges_free(&m);
    mot_bpe_learner_free(l);
    mot_bytes_free(&corpus);
    close(fd);
    unlink(path);
}

/* The textbook: count all pairs of all words anew for each merge. Words of a, b, c; returns the
 * merges. */
static int64_t textbook(int words, int32_t (*word)[24], int *length, int64_t *count, int32_t first,
                        struct mot_learned_merge *out)
{
    for (int64_t made = 0;; made++) {
        int64_t best = 1;
        int32_t left = 0, right = 0;
        for (int32_t a = 0; a < first + made; a++)
            for (int32_t b = 0; b < first + made; b++) {
                int64_t n = 0;
                for (int w = 0; w < words; w++)
                    for (int i = 0; i + 1 < length[w]; i++)
                        n += word[w][i] == a && word[w][i + 1] == b ? count[w] : 0;
                if (n > best)
                    best = n, left = a, right = b;
            }
        if (best < 2 || made == 30)
            return made;
        out[made] = (struct mot_learned_merge){left, right};
        for (int w = 0; w < words; w++) {
            int to = 0;
            for (int i = 0; i < length[w]; i++, to++) {
                bool pair = word[w][i] == left && i + 1 < length[w] && word[w][i + 1] == right;
                word[w][to] = pair ? first + (int32_t)made : word[w][i];
                i += pair;
            }
            length[w] = to;
        }
    }
}

static void test_learns_as_the_textbook(void)
{
    enum { WORDS = 12 };
    int32_t word[WORDS][24], first = 256;
    int length[WORDS];
    int64_t count[WORDS];
    struct mot_bpe_learner *l = mot_bpe_learner_new(0);
    for (int w = 0; w < WORDS;
         w++) { /* words of unlike letters: no two merges give the same string */
        char text[32];
        length[w] = 3 + (int)mot_random_below(5, 1, (uint64_t)w, 8);
        count[w] = 1 + (int64_t)mot_random_below(5, 2, (uint64_t)w, 9);
        for (int i = 0; i < length[w]; i++) {
            text[i] = (char)('a' + mot_random_below(5, 3, (uint64_t)(w * 100 + i), 12));
            word[w][i] = text[i] - '!'; /* '!' is the first letter of the alphabet */
        }
        for (int64_t k = 0; k < count[w]; k++)
            CHECK_INT(mot_bpe_learner_add(l, text, (size_t)length[w]), 0);
    }
    struct mot_bpe_merges m;
    struct mot_learned_merge expected[32];
    int64_t n = textbook(WORDS, word, length, count, first, expected);
    CHECK(n > 10);
    CHECK_INT(mot_bpe_learn(l, NULL, 0, first + (int32_t)n, NULL, NULL, &m), 0);
    CHECK_INT(m.n_merges, n);
    for (int64_t i = 0; i < n && i < m.n_merges; i++) {
        CHECK_INT(m.merge[i].left, expected[i].left);
        CHECK_INT(m.merge[i].right, expected[i].right);
    }
    mot_bpe_merges_free(&m);
    mot_bpe_learner_free(l);
}

/* More different words than are kept: the frequent ones survive, and the same text gives the same
 * result. */
static void test_learning_is_bounded(void)
{
    struct mot_bpe_merges m[2];
    for (int run = 0; run < 2; run++) {
        struct mot_bpe_learner *l = mot_bpe_learner_new(500);
        for (int i = 0; i < 20000; i++) {
            char text[64];
            int n = snprintf(text, sizeof text, " word%c%c%c%c\n mixture", 'a' + i % 26,
                             'a' + i / 26 % 26, 'a' + i / 676 % 26, 'a' + i / 17576);
            CHECK_INT(mot_bpe_learner_add(l, text, (size_t)n), 0);
        }
        CHECK_INT(mot_bpe_learn(l, NULL, 0, 300, NULL, NULL, &m[run]), 0);
        mot_bpe_learner_free(l);
    }
    bool found = false;
    for (int32_t i = 0; i < m[0].n; i++)
        found |= m[0].string[i].n == 8 &&
                 memcmp(m[0].blob.data + m[0].string[i].begin, " mixture", 8) == 0;
    CHECK(found);
    CHECK(m[0].n == m[1].n && m[0].blob.n == m[1].blob.n &&
          memcmp(m[0].blob.data, m[1].blob.data, m[0].blob.n) == 0);
    mot_bpe_merges_free(&m[0]);
    mot_bpe_merges_free(&m[1]);
}

/* Nothing to learn from, or only what is no text: the bytes alone, and they encode anything. */
static void test_learning_from_nothing(void)
{
    static const char *const special[] = {"<|bos|>", "<|eos|>"};
    for (int run = 0; run < 2; run++) {
        struct mot_bpe_learner *l = mot_bpe_learner_new(0);
        struct mot_bpe_merges m;
        if (run)
            CHECK_INT(mot_bpe_learner_add(l, "\xff\xfe\xff\xfe\xc3", 5), 0);
        CHECK_INT(mot_bpe_learn(l, special, 2, 1000, NULL, NULL, &m), 0);
        CHECK_INT(m.n, 258);
        CHECK_INT(m.n_merges, 0);
        mot_bpe_merges_free(&m);
        mot_bpe_learner_free(l);
    }
}

int main(void)
{
    RUN(test_golden);
    RUN(test_any_bytes_come_back);
    RUN(test_fallback_bytes);
    RUN(test_lossy);
    RUN(test_byte_letters);
    RUN(test_merging_by_definition);
    RUN(test_hostile_length);
    RUN(test_patterns_refused);
    RUN(test_patterns_mean_oniguruma);
    RUN(test_quick_matches);
    RUN(test_classes_of_classes);
    RUN(test_empty_token);
    RUN(test_unknown_vanishes);
    RUN(test_space_is_taken_once);
    RUN(test_files_refused);
    RUN(test_learns_as_tokenizers);
    RUN(test_learns_as_the_textbook);
    RUN(test_learning_is_bounded);
    RUN(test_learning_from_nothing);
    return test_end();
}
