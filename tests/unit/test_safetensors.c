/* SPDX-License-Identifier: MIT
 *
 * test_safetensors.c - files written by hand, byte by byte, against the reader; the writer against
 * a golden file that the reference library wrote (its bytes are below); the conversions against
 * their definitions.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/safetensors.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX", file[64];

/* Write header length, header and `data` zero bytes; the length is the text's unless given. */
static void put(const char *header, size_t data, int64_t length)
{
    struct mot_bytes b = {0};
    unsigned char n[8], zero[256] = {0};
    mot_put64(n, length < 0 ? strlen(header) : (uint64_t)length);
    CHECK_INT(mot_bytes_append(&b, n, 8), 0);
    CHECK_INT(mot_bytes_append(&b, header, strlen(header)), 0);
    CHECK_INT(mot_bytes_append(&b, zero, data), 0);
    CHECK_INT(mot_write_file(file, b.data, b.n), 0);
    mot_bytes_free(&b);
}

static void test_refused(void)
{
#define T(shape, a, b) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #a "," #b "]}"
    static const struct {
        const char *header, *text;
        size_t data;
        int64_t length;
        int code;
    } bad[] = {
        {"", "not valid JSON", 0, -1, MOT_EFORMAT},
        {"{}", "truncated: header of 3", 0, 3, MOT_ECORRUPT},
        {"{}", "at most 100000000", 0, 100000001, MOT_EFORMAT},
        {"{}", "at most 100000000", 0, INT64_MAX, MOT_EFORMAT},
        {"{}", "1 bytes after the last tensor", 1, -1, MOT_ECORRUPT},
        {"[]", "expected a JSON object", 0, -1, MOT_EFORMAT},
        {"{} x", "not valid JSON", 0, -1, MOT_EFORMAT},
        {"{\"a\":" T("[1]", 0, 4) ",\"a\":" T("[1]", 0, 4) "}", "duplicate", 4, -1, MOT_EFORMAT},
        {"{\"a\":" T("[1]", 0, 4) "}", "truncated: tensor \"a\" needs 4 bytes", 3, -1,
         MOT_ECORRUPT},
        {"{\"a\":" T("[1]", 0, 4) "}", "1 bytes after", 5, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[1]", 4, 8) "}", "hole or an overlap", 8, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[2]", 0, 8) ",\"b\":" T("[1]", 4, 8) "}", "hole or an overlap", 8, -1,
         MOT_ECORRUPT},
        {"{\"a\":" T("[1]", 0, 4) ",\"b\":" T("[1]", 0, 4) "}", "hole or an overlap", 4, -1,
         MOT_ECORRUPT},
        {"{\"a\":" T("[1]", 0, 4) ",\"b\":" T("[1]", 5, 9) "}", "hole or an overlap", 9, -1,
         MOT_ECORRUPT},
        {"{\"a\":" T("[2]", 0, 4) "}", "its shape needs 8", 4, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[1]", 4, 0) "}", "make no sense", 4, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[1]", -4, 0) "}", "make no sense", 4, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[-1]", 0, 4) "}", "dimension 0 is no count", 4, -1, MOT_EFORMAT},
        {"{\"a\":" T("[1.5]", 0, 4) "}", "dimension 0 is no count", 4, -1, MOT_EFORMAT},
        {"{\"a\":" T("[4294967296,4294967296]", 0, 0) "}", "no possible size", 0, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[4611686018427387904]", 0, 0) "}", "no possible size", 0, -1, MOT_ECORRUPT},
        {"{\"a\":" T("[1,1,1,1,1,1,1,1,1]", 0, 4) "}", "at most 8", 4, -1, MOT_EFORMAT},
        {"{\"a\":" T("4", 0, 4) "}", "expected \"shape\"", 4, -1, MOT_EFORMAT},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", "\"F33\" is unknown",
         4, -1, MOT_EFORMAT},
        {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", "expected \"dtype\"", 4, -1,
         MOT_EFORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", "data_offsets", 4, -1,
         MOT_EFORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "data_offsets", 4, -1, MOT_EFORMAT},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", "no possible size", 1,
         -1, MOT_ECORRUPT},
        {"{\"a\":7}", "expected an object", 0, -1, MOT_EFORMAT},
        {"{\"__metadata__\":{\"a\":7}}", "expected a string", 0, -1, MOT_EFORMAT},
        {"{\"__metadata__\":[]}", "__metadata__", 0, -1, MOT_EFORMAT},
        {"{\"\xff\":" T("[1]", 0, 4) "}", "not valid JSON", 4, -1, MOT_EFORMAT},
        {"{\"a\":" T("[99999999999999999999]", 0, 4) "}", "dimension 0 is no count", 4, -1,
         MOT_EFORMAT},
    };
    for (int i = 0; i < MOT_COUNT(bad); i++) {
        struct mot_st s;
        put(bad[i].header, bad[i].data, bad[i].length);
        CHECK_INT(mot_st_open(&s, file), bad[i].code);
        const char *text = bad[i].text;
        if (!strstr(mot_error(), text) || strncmp(mot_error(), file, strlen(file)) != 0) {
            fprintf(stderr, "file %d: found \"%s\", expected \"%s\"\n", i, mot_error(), text);
            CHECK(false);
        }
    }
    struct mot_st s;
    CHECK_INT(mot_write_file(file, "\2\0\0\0\0\0\0", 7), 0);
    CHECK_INT(mot_st_open(&s, file), MOT_EFORMAT);
    CHECK_INT(mot_write_file(file, "", 0), 0);
    CHECK_INT(mot_st_open(&s, file), MOT_EFORMAT);
    CHECK_INT(mot_st_open(&s, "/nonexistent"), MOT_EIO);
    CHECK_INT(mot_st_open(&s, folder), MOT_EFORMAT);
}

static void test_accepted(void)
{
    struct mot_st s;
    put("{}", 0, -1);
    CHECK_INT(mot_st_open(&s, file), 0);
    CHECK_INT(s.n, 0);
    CHECK(!mot_st_find(&s, "a"));
    mot_st_close(&s);
    /* Space on both sides, a scalar, empty tensors between others, an unknown key, half bytes. */
    put(" \n{\"b\":" T("[]", 0, 4) ",\"e\":" T("[0,7]", 4, 4) ",\"f\":" T("[2]", 4, 12) ",\"g\":" T(
            "[0]", 13,
            13) ",\"q\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[12,13],\"more\":[]},"
                "\"__metadata__\":{\"format\":\"pt\",\"\":\"x\"}} \t\r\n ",
        13, -1);
    CHECK_INT(mot_st_open(&s, file), 0);
    CHECK_INT(s.n, 5);
    const struct mot_st_tensor *b = mot_st_find(&s, "b"), *e = mot_st_find(&s, "e"),
                               *q = mot_st_find(&s, "q");
    CHECK(b && b->rank == 0 && b->count == 1 && b->bytes == 4 &&
          b->data + 13 == s.map.data + s.map.n);
    CHECK(e && e->rank == 2 && e->count == 0 && e->shape[1] == 7);
    CHECK(q && q->bytes == 1 && q->count == 2 && q->dtype == MOT_F4);
    CHECK(mot_st_find(&s, "f") && mot_st_find(&s, "g") && !mot_st_find(&s, "c") &&
          !mot_st_find(&s, "z"));
    CHECK_STR(mot_st_metadata(&s, "format"), "pt");
    CHECK_STR(mot_st_metadata(&s, ""), "x");
    CHECK(!mot_st_metadata(&s, "pt"));
    float x[2] = {1, 1};
    CHECK_INT(mot_st_read_f32(&s, q, x), MOT_EFORMAT);
    CHECK_INT(mot_st_read_f32(&s, e, x), 0);
    CHECK_INT(mot_st_read_f32(&s, b, x), 0);
    CHECK_NEAR(x[0], 0, 0, 0);
    mot_st_close(&s);
}

/* save_file({"w": f32 [2,1] {1,-2}, "v": f32 [1] {3}, "h": bf16 [3] {1,2,-0.5}, "i": i64 [1] {7}},
 * metadata={"format":"pt"}) of the Python package safetensors 0.8.0 (torch): order, spelling and
 * padding are its. */
static const char golden_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":"
    "[0,8]},"
    "\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
    "\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[12,20]},"
    "\"h\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[20,26]}}";

static void test_writer(void)
{
    static const struct mot_st_decl decl[] = {{"w", MOT_F32, 2, {2, 1}},
                                              {"h", MOT_BF16, 1, {3}},
                                              {"i", MOT_I64, 1, {1}},
                                              {"v", MOT_F32, 1, {1}}};
    static const char *const metadata[] = {"format", "pt"};
    const float w[] = {1, -2}, v = 3;
    const uint16_t h[] = {mot_bf16(1), mot_bf16(2), mot_bf16(-0.5f)};
    const int64_t i = 7;
    const void *data[] = {w, h, &i, &v};
    const size_t bytes[] = {8, 6, 8, 4};
    int64_t order[4] = {0};
    struct mot_st_writer *out = mot_st_writer_begin(file, decl, 4, metadata, 1, order);
    CHECK(out);
    for (int k = 0; k < 4; k++)
        CHECK_INT(mot_st_writer_data(out, data[order[k]], bytes[order[k]]), 0);
    CHECK_INT(mot_st_writer_data(out, w, 1), MOT_EARG);
    CHECK_INT(mot_st_writer_commit(out), 0);

    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(file, 1000, &b), 0);
    size_t n = strlen(golden_header), padded = (n + 7) / 8 * 8;
    CHECK_INT(b.n, 8 + padded + 26);
    CHECK_INT(mot_get64(b.data), padded);
    CHECK(memcmp(b.data + 8, golden_header, n) == 0);
    for (size_t k = n; k < padded; k++)
        CHECK_INT(b.data[8 + k], ' ');
    mot_bytes_free(&b);

    struct mot_st s;
    CHECK_INT(mot_st_open(&s, file), 0);
    float x[3];
    CHECK_INT(mot_st_read_f32(&s, mot_st_find(&s, "h"), x), 0);
    CHECK(x[0] == 1 && x[1] == 2 && x[2] == -0.5f);
    CHECK_INT(mot_st_read_f32(&s, mot_st_find(&s, "w"), x), 0);
    CHECK(x[0] == 1 && x[1] == -2);
    mot_st_close(&s);
}

static void test_writer_refuses(void)
{
    unlink(file);
    static const struct mot_st_decl unsorted[] = {{"b", MOT_F32, 1, {1}}, {"a", MOT_F32, 1, {1}}};
    static const struct mot_st_decl twice[] = {{"a", MOT_F32, 1, {1}}, {"a", MOT_F32, 1, {1}}};
    static const struct mot_st_decl huge[] = {{"a", MOT_F32, 2, {INT64_MAX, 2}}};
    static const struct mot_st_decl name[] = {{"\xff", MOT_F32, 1, {1}}};
    int64_t order[2];
    CHECK(!mot_st_writer_begin(file, unsorted, 2, NULL, 0, NULL));
    CHECK(!mot_st_writer_begin(file, twice, 2, NULL, 0, order));
    CHECK(!mot_st_writer_begin(file, huge, 1, NULL, 0, order));
    CHECK(!mot_st_writer_begin(file, name, 1, NULL, 0, order));
    CHECK(!mot_st_writer_begin("/nonexistent/x", unsorted, 2, NULL, 0, order));
    struct mot_st_writer *w = mot_st_writer_begin(file, unsorted, 2, NULL, 0, order);
    CHECK(w);
    CHECK_INT(mot_st_writer_data(w, "1234", 4), 0);
    CHECK_INT(mot_st_writer_commit(w), MOT_EARG); /* half of the data is missing */
    CHECK(!mot_file_exists(file));
    mot_st_writer_abort(mot_st_writer_begin(file, unsorted, 2, NULL, 0, order));
    CHECK(!mot_file_exists(file));
}

/* Nearest, ties to even, seen from the other side: no other bfloat16 may be closer. */
static void test_bf16(void)
{
    for (uint32_t k = 0; k < 200000; k++) {
        uint32_t u = (uint32_t)mot_random_u64(1, 2, k);
        float x;
        memcpy(&x, &u, 4);
        uint16_t h = mot_bf16(x);
        if (isnan(x)) {
            CHECK(isnan(mot_from_bf16(h)));
            continue;
        }
        if ((u & 0x7fff0000) >= 0x7f7f0000) /* may round to infinity */
            continue;
        double d = fabs((double)mot_from_bf16(h) - x),
               up = fabs((double)mot_from_bf16((uint16_t)(h + 1)) - x),
               down = h & 0x7fff ? fabs((double)mot_from_bf16((uint16_t)(h - 1)) - x) : INFINITY;
        CHECK(d <= up && d <= down);
        CHECK((d < up && d < down) || h % 2 == 0);
    }
    CHECK_INT(mot_bf16(1.00390625f), 0x3f80);   /* halfway above 1: to the even 1 */
    CHECK_INT(mot_bf16(1.01171875f), 0x3f82);   /* halfway, the lower one odd */
    CHECK_INT(mot_bf16(3.4028235e38f), 0x7f80); /* the largest float is beyond */
    CHECK_INT(mot_bf16(-INFINITY), 0xff80);
    CHECK_INT(mot_bf16(-0.0f), 0x8000);
}

static void test_f16(void)
{
    for (uint32_t h = 0; h < 65536; h++) { /* against the definition */
        int e = h >> 10 & 31, m = h & 0x3ff;
        double x = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        float y = mot_from_f16((uint16_t)h);
        if (e == 31)
            CHECK(m ? isnan(y) : isinf(y) && !!signbit(y) == (h >= 32768));
        else
            CHECK((double)y == (h & 0x8000 ? -x : x) && !!signbit(y) == (h >= 32768));
    }
}

/* The way back from every half, and nearest, ties to even, for what lies between. */
static void test_to_f16(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float x = mot_from_f16((uint16_t)h), up = mot_from_f16((uint16_t)(h + 1));
        if (isnan(x)) {
            CHECK(isnan(mot_from_f16(mot_f16(x))));
            continue;
        }
        CHECK_INT(mot_f16(x), h);
        if ((h & 0x7fff) >= 0x7bff) /* the next one is infinity, or this one is */
            continue;
        float middle = (x + up) / 2; /* exact: one more bit */
        CHECK_INT(mot_f16(middle), h + h % 2);
        CHECK_INT(mot_f16(nextafterf(middle, x)), h);
        CHECK_INT(mot_f16(nextafterf(middle, up)), h + 1);
    }
    CHECK_INT(mot_f16(65519.996f), 0x7bff);
    CHECK_INT(mot_f16(65520.0f), 0x7c00);
    CHECK_INT(mot_f16(-1e30f), 0xfc00);
    CHECK_INT(mot_f16(1e-30f), 0);
}

/* Any change of any bit either is found or leaves a file that reads without harm. */
static void test_flips(void)
{
    put("{\"a\":" T("[2]", 0, 8) ",\"__metadata__\":{\"k\":\"v\"}}", 8, -1);
    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(file, 1000, &b), 0);
    for (size_t i = 0; i < 8 * b.n; i++) {
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
        CHECK_INT(mot_write_file(file, b.data, b.n), 0);
        struct mot_st s;
        float x[2];
        if (mot_st_open(&s, file) == 0 && s.n == 1 && s.tensor[0].count <= 2)
            (void)!mot_st_read_f32(&s, s.tensor, x);
        mot_st_close(&s);
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    for (size_t n = 0; n < b.n; n++) {
        struct mot_st s;
        CHECK_INT(mot_write_file(file, b.data, n), 0);
        CHECK(mot_st_open(&s, file) != 0);
    }
    mot_bytes_free(&b);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(file, sizeof file, "%s/x.safetensors", folder);
    RUN(test_refused);
    RUN(test_accepted);
    RUN(test_writer);
    RUN(test_writer_refuses);
    RUN(test_bf16);
    RUN(test_f16);
    RUN(test_to_f16);
    RUN(test_flips);
    unlink(file);
    rmdir(folder);
    return test_end();
}
