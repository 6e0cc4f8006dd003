/* SPDX-License-Identifier: MIT
 *
 * test_document.c - documents taken apart and written as JSON: delimiters at every place and content that looks like them,
 * lines that are exact, and lines that are refused.  (Records to ids: tests/cli/tokenize_media.sh.)
 */
#include "lib/base/base.h"
#include "tests/test.h"

/* Text 0..9 with bos 0, eos 1, boi 2, eoi 3, bos_speech 4, eos_speech 5; image 10..13, speech 14..16. */
static struct mot_vocab vocabulary(void)
{
    return (struct mot_vocab){.n_modalities = 3,
                              .modality = {{"text", 0, 10}, {"image", 10, 4}, {"speech", 14, 3}},
                              .size = 17, .bos = 0, .eos = 1, .boi = 2, .eoi = 3, .bos_speech = 4, .eos_speech = 5,
                              .digest = "0123456789abcdef"};
}

/* A document of ids, its spans found by the plainest means. */
struct document {
    struct mot_doc d;
    struct mot_span span[32];
};

static void make(struct document *x, int32_t *id, int64_t n)
{
    struct mot_vocab v = vocabulary();
    *x = (struct document){.d = {.n = n, .id = id}};
    x->d.span = x->span;
    for (int64_t i = 0; i < n; i++) {
        int m = mot_vocab_modality(&v, id[i]);
        if (i == 0 || m != mot_vocab_modality(&v, id[i - 1]))
            x->span[x->d.n_spans++] = (struct mot_span){m, i, 0, 0, 0};
        x->span[x->d.n_spans - 1].n++;
    }
}

/* The parts as text: t[ids], i[ids], s[ids]. */
static const char *parts(int32_t *id, int64_t n, bool raw)
{
    static char out[512];
    struct mot_vocab v = vocabulary();
    struct document x;
    make(&x, id, n);
    out[0] = 0;
    for (int i = 0; i < x.d.n_spans; i++) {
        struct mot_span s = mot_doc_part(&v, &x.d, i, raw);
        snprintf(out + strlen(out), sizeof out - strlen(out), "%c[", "tis"[s.modality]);
        for (int64_t k = 0; k < s.n; k++)
            snprintf(out + strlen(out), sizeof out - strlen(out), "%s%d", k ? " " : "", (int)id[s.begin + k]);
        strcat(out, "]");
    }
    return out;
}

#define PARTS(raw, expected, ...)                                                  \
    do {                                                                           \
        int32_t id_[] = {__VA_ARGS__};                                             \
        CHECK_STR(parts(id_, (int64_t)(sizeof id_ / sizeof *id_), raw), expected); \
    } while (0)

static void test_parts(void)
{
    PARTS(false, "t[7 8]", 0, 7, 8, 1);
    PARTS(true, "t[0 7 8 1]", 0, 7, 8, 1);
    PARTS(false, "t[7]i[10 11]t[8]", 0, 7, 2, 10, 11, 3, 8, 1);
    PARTS(false, "t[]i[10]t[]s[14]t[]", 0, 2, 10, 3, 4, 14, 5, 1);
    PARTS(false, "t[]i[10]t[]i[11]t[]", 0, 2, 10, 3, 2, 11, 3, 1);
    /* Only one id a place is a delimiter: the rest was written by the author. */
    PARTS(false, "t[0 7 1]", 0, 0, 7, 1, 1);
    PARTS(false, "t[2]i[10]t[3]", 0, 2, 2, 10, 3, 3, 1);
    PARTS(false, "t[2 3 4 5]", 0, 2, 3, 4, 5, 1);
    PARTS(false, "t[0]", 0, 0, 1);
    /* What is cut off or never had them. */
    PARTS(false, "t[]", 0);
    PARTS(false, "t[]", 1);
    PARTS(false, "i[10]", 10);
    PARTS(false, "t[7]i[10]t[8]", 7, 10, 8);
    PARTS(false, "t[4]i[10]t[5]", 4, 10, 5); /* a sound's delimiters around a picture are none */
    PARTS(true, "t[0]i[10]t[1]", 0, 2, 10, 3, 1);
}

static void test_format(void)
{
    struct mot_vocab v = vocabulary();
    struct document x;
    struct mot_bytes out = {0};
    int32_t id[] = {0, 9, 10, 13, 16, 1};
    make(&x, id, 6);
    x.d.text_bytes = 12345678901;
    CHECK_INT(mot_doc_format(&v, &x.d, &out), MOT_OK);
    CHECK_INT(mot_bytes_append(&out, "", 1), MOT_OK);
    CHECK_STR((char *)out.data, "{\"segments\":[{\"modality\":\"text\",\"ids\":[0,9]},{\"modality\":\"image\",\"ids\":[10,13]},"
                                "{\"modality\":\"speech\",\"ids\":[16]},{\"modality\":\"text\",\"ids\":[1]}],"
                                "\"bytes\":12345678901}\n");
    make(&x, id, 0);
    out.n = 0;
    CHECK_INT(mot_doc_format(&v, &x.d, &out), MOT_OK);
    CHECK_INT(mot_bytes_append(&out, "", 1), MOT_OK);
    CHECK_STR((char *)out.data, "{\"segments\":[],\"bytes\":0}\n");
    mot_bytes_free(&out);
}

/* Ids of every length of digits, in numbers around the size of the pieces they are written in. */
static void test_round_trip(void)
{
    enum { MOST = 3000 };
    struct mot_vocab v = {.n_modalities = 1, .modality = {{"text", 0, INT32_MAX}}, .size = INT32_MAX};
    static int32_t id[MOST];
    for (int i = 0; i < MOST; i++)
        id[i] = i % 32 == 31 ? INT32_MAX - 1 : (int32_t)(((uint32_t)i * 2654435761u) >> (i % 32)) & 0x3fffffff;
    for (int n = 0; n <= MOST; n += n < 2 || (n > 1022 && n < 1026) ? 1 : 511) {
        struct mot_span span = {0, 0, n, 0, 0};
        struct mot_doc d = {.n = n, .id = id, .n_spans = n > 0, .span = &span, .text_bytes = n};
        struct mot_bytes line = {0};
        struct mot_ids back = {0};
        int64_t bytes = -1;
        CHECK_INT(mot_doc_format(&v, &d, &line), MOT_OK);
        CHECK_INT(mot_doc_parse(&v, "test", line.data, line.n, &back, &(struct mot_latents){0}, &bytes), MOT_OK);
        CHECK_INT(back.n, n);
        CHECK_INT(bytes, n);
        CHECK(back.n == n && (n == 0 || memcmp(back.id, id, (size_t)n * sizeof *id) == 0));
        mot_bytes_free(&line);
        mot_ids_free(&back);
    }
}

static void test_parse_refuses(void)
{
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"", "JSON"},
        {"[]", "segments"},
        {"{}", "segments"},
        {"{\"segments\":3}", "segments"},
        {"{\"segments\":[3]}", "not an object"},
        {"{\"segments\":[{\"ids\":[0]}]}", "modality"},
        {"{\"segments\":[{\"modality\":7,\"ids\":[0]}]}", "modality"},
        {"{\"segments\":[{\"modality\":\"taste\",\"ids\":[0]}]}", "taste"},
        {"{\"segments\":[{\"modality\":\"image\"}]}", "ids"},
        {"{\"segments\":[{\"modality\":\"image\",\"ids\":[9]}]}", "10 to 13"},
        {"{\"segments\":[{\"modality\":\"image\",\"ids\":[14]}]}", "10 to 13"},
        {"{\"segments\":[{\"modality\":\"image\",\"ids\":[10.0]}]}", "10 to 13"},
        {"{\"segments\":[{\"modality\":\"image\",\"ids\":[4294967306]}]}", "10 to 13"},
        {"{\"segments\":[{\"modality\":\"image\",\"ids\":[1e99]}]}", "10 to 13"},
        {"{\"segments\":[],\"bytes\":-1}", "bytes"},
        {"{\"segments\":[],\"bytes\":\"1\"}", "bytes"},
        {"{\"segments\":[],\"segments\":[]}", "JSON"},
        {"{\"segments\":[]} x", "JSON"},
    };
    struct mot_vocab v = vocabulary();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t before = 3;
        struct mot_ids ids = {0};
        int64_t bytes = 77;
        CHECK_INT(mot_ids_append(&ids, &before, 1), MOT_OK);
        int rc = mot_doc_parse(&v, "file:3", bad[i].line, strlen(bad[i].line), &ids, &(struct mot_latents){0}, &bytes);
        CHECK_INT(rc, MOT_EFORMAT);
        CHECK(strncmp(mot_error(), "file:3: ", 8) == 0);
        if (!strstr(mot_error(), bad[i].says))
            fprintf(stderr, "%s: %s\n", bad[i].line, mot_error());
        CHECK(strstr(mot_error(), bad[i].says));
        CHECK_INT(ids.n, 1); /* as it was */
        CHECK_INT(bytes, 77);
        mot_ids_free(&ids);
    }
}

int main(void)
{
    RUN(test_parts);
    RUN(test_format);
    RUN(test_round_trip);
    RUN(test_parse_refuses);
    return test_end();
}
