/* SPDX-License-Identifier: MIT
 *
 * test_tokens.c - files of tokens of llm.c and Megatron, made here by their definitions: what documents they give, what is
 * refused and why, and that what is written reads back.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX";

static struct mot_vocab vocabulary(int32_t bos, int32_t eos)
{
    return (struct mot_vocab){.n_modalities = 1, .modality = {{"text", 0, 100000}}, .size = 100000, .bos = bos, .eos = eos,
                              .boi = -1, .eoi = -1, .bos_speech = -1, .eos_speech = -1, .digest = "0123456789abcdef"};
}

static void put(const char *name, const void *data, size_t n)
{
    char *path = mot_path(folder, name);
    CHECK_INT(mot_write_file(path, data, n), 0);
    mot_free(path);
}

/* What a file gives: "1 2|3|", and the sentences about what it does not give. */
static const char *list(const char *name, const struct mot_vocab *v, int32_t separator)
{
    static char out[2000];
    char *path = mot_path(folder, name), *at;
    const char *paths[] = {path};
    struct mot_source_options o = {.vocab = v, .has_separator = separator >= 0, .separator = separator, .strict = true};
    struct mot_source *s = mot_source_open(paths, 1, &o);
    const struct mot_record *r;
    int rc;
    out[0] = 0;
    while (!(rc = mot_source_next(s, &r)) && r) {
        CHECK(r->n_items == 1 && r->item[0].kind == MOT_KIND_IDS);
        for (int64_t i = 0; i < r->item[0].ids.n; i++)
            snprintf(out + strlen(out), sizeof out - strlen(out), "%s%d", i ? " " : "", r->item[0].ids.id[i]);
        strcat(out, "|");
    }
    if (rc)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s", mot_error());
    mot_source_close(s);
    mot_free(path);
    while ((at = strstr(out, folder)))
        memmove(at, at + strlen(folder) + 1, strlen(at + strlen(folder) + 1) + 1);
    return out;
}

/* ---- llm.c ---- */

static void put_llmc(const char *name, uint32_t magic, uint32_t version, uint32_t n, const uint32_t *id, int there, int width)
{
    unsigned char b[1024 + 4 * 64] = {0};
    mot_put32(b, magic);
    mot_put32(b + 4, version);
    mot_put32(b + 8, n);
    for (int i = 0; i < there; i++)
        width == 2 ? mot_put16(b + 1024 + 2 * i, id[i]) : mot_put32(b + 1024 + 4 * i, id[i]);
    put(name, b, 1024 + (size_t)(there * width));
}

static void test_llmc(void)
{
    static const uint32_t id[] = {5, 9, 1, 2, 9, 9, 3, 9};
    struct mot_vocab v = vocabulary(8, 9), swapped = vocabulary(9, 8), none = vocabulary(-1, -1);
    put_llmc("a.bin", 20240520, 1, 8, id, 8, 2);
    put_llmc("b.bin", 20240801, 7, 8, id, 8, 4);
    CHECK_STR(list("a.bin", &v, -1), "5|1 2|3|"); /* 2 bytes: behind the end of text */
    CHECK_STR(list("b.bin", &swapped, -1), "5|1 2|3|"); /* 4 bytes: behind the begin of text */
    CHECK_STR(list("a.bin", &none, 9), "5|1 2|3|");
    CHECK_STR(list("a.bin", &none, 2), "5 9 1|9 9 3 9|");
    CHECK_STR(list("a.bin", &none, 77), "5 9 1 2 9 9 3 9|");
    CHECK_STR(list("a.bin", &none, -1),
              "a.bin: which id begins its documents? The tokenizer does not say: give --separator ID, below 100000");
    put_llmc("c.bin", 20240520, 1, 0, id, 0, 2);
    CHECK_STR(list("c.bin", &v, -1), "");
}

static void test_llmc_damage(void)
{
    static const uint32_t id[] = {9, 1, 100000, 9, 2};
    struct mot_vocab v = vocabulary(9, 9);
    put_llmc("a.bin", 20240520, 1, 3, id, 2, 2);
    CHECK_STR(list("a.bin", &v, -1), "a.bin: truncated: its header says 3 tokens of 2 bytes, it has 4 bytes of them");
    put_llmc("a.bin", 20240520, 1, 1, id, 2, 2);
    CHECK_STR(list("a.bin", &v, -1), "a.bin: damaged: its header says 1 tokens of 2 bytes, it has 4 bytes of them");
    put_llmc("a.bin", 20240801, 7, 0xffffffff, id, 2, 4);
    CHECK_STR(list("a.bin", &v, -1), "a.bin: truncated: its header says 4294967295 tokens of 4 bytes, it has 8 bytes of them");
    put_llmc("a.bin", 20240520, 7, 2, id, 2, 2);
    CHECK_STR(list("a.bin", &v, -1), "a.bin: a file of llm.c of version 7, expected 1");
    put_llmc("a.bin", 20240522, 1, 2, id, 2, 2);
    CHECK_STR(list("a.bin", &v, -1), "a.bin: an evaluation file of llm.c (questions with answers), which holds no documents");
    put_llmc("a.bin", 7, 1, 2, id, 2, 2);
    CHECK_STR(list("a.bin", &v, -1),
              "a.bin: magic 7: neither a file of llm.c (20240520, 20240801) nor, without its .idx, one of Megatron");
    put("a.bin", "short", 5);
    CHECK_STR(list("a.bin", &v, -1), "a.bin: 5 bytes: neither a file of llm.c nor, without its .idx, one of Megatron");
    put_llmc("a.bin", 20240801, 7, 5, id, 5, 4);
    CHECK_STR(list("a.bin", &v, -1),
              "a.bin: document 0: id 100000 at byte 1032, the vocabulary has 0..99999: of another tokenizer?");
    CHECK_STR(list("a.bin", NULL, -1), "a.bin: tokens already, which have their meaning from a tokenizer");
}

/* ---- Megatron ---- */

/* Sequences [1 2] [3] [4 5 6], the last one first in the file; documents of the first two, of none, of the third. */
static size_t make_index(unsigned char *b, int code, int width)
{
    static const uint32_t length[] = {2, 1, 3}, place[] = {3, 5, 0}, mark[] = {0, 2, 2, 3};
    memcpy(b, "MMIDIDX\0\0", 9);
    mot_put64(b + 9, 1);
    b[17] = (unsigned char)code;
    mot_put64(b + 18, 3);
    mot_put64(b + 26, 4);
    unsigned char *p = b + 34;
    for (int i = 0; i < 3; i++, p += 4)
        mot_put32(p, length[i]);
    for (int i = 0; i < 3; i++, p += 8)
        mot_put64(p, place[i] * (uint32_t)width);
    for (int i = 0; i < 4; i++, p += 8)
        mot_put64(p, mark[i]);
    return (size_t)(p - b);
}

static void put_ids(const char *name, int width)
{
    static const unsigned char id[] = {4, 5, 6, 1, 2, 3};
    unsigned char b[48] = {0};
    for (int i = 0; i < 6; i++)
        b[i * width] = id[i];
    put(name, b, 6 * (size_t)width);
}

static void test_megatron(void)
{
    static const int width[] = {0, 1, 1, 2, 4, 8, 0, 0, 2};
    struct mot_vocab v = vocabulary(-1, -1);
    unsigned char b[256] = {0};
    for (int code = 1; code <= 8; code++) {
        size_t n = make_index(b, code, width[code]);
        put("m.idx", b, n);
        put_ids("m.bin", width[code] ? width[code] : 4);
        CHECK_STR(list("m.bin", &v, -1), width[code] ? "1 2 3|4 5 6|"
                                         : code == 6 ? "m.idx: its tokens are of type 6, which is none of whole numbers"
                                                     : "m.idx: its tokens are of type 7, which is none of whole numbers");
        put("m.idx", b, n + 3); /* a mode for each sequence */
        if (width[code])
            CHECK_STR(list("m.idx", &v, -1), "1 2 3|4 5 6|");
    }
}

static void test_megatron_damage(void)
{
    struct mot_vocab v = vocabulary(-1, -1);
    unsigned char b[256] = {0}, c[256];
    size_t n = make_index(b, 8, 2);
    put_ids("m.bin", 2);
    for (size_t k = 0; k < n; k++) { /* cut anywhere */
        put("m.idx", b, k);
        CHECK(strncmp(list("m.bin", &v, -1), "m.idx: ", 7) == 0);
    }
    static const struct {
        size_t at;
        unsigned char to;
        const char *said;
    } kinds[] = {
        {0, 'T', "m.idx: not an index of Megatron: it does not begin with MMIDIDX"},
        {9, 2, "m.idx: an index of Megatron of version 2, expected 1"},
        {17, 0, "m.idx: its tokens are of type 0, which is none of whole numbers"},
        {17, 200, "m.idx: its tokens are of type 200, which is none of whole numbers"},
        {37, 0x80, "m.idx: damaged, or of another .bin: sequence 0 is -2147483646 tokens at byte 6 of 12"},
        {34, 9, "m.idx: damaged, or of another .bin: sequence 0 is 9 tokens at byte 6 of 12"},
        {46, 11, "m.idx: damaged, or of another .bin: sequence 0 is 2 tokens at byte 11 of 12"},
        {53, 0x80, "m.idx: damaged, or of another .bin: sequence 0 is 2 tokens at byte -9223372036854775802 of 12"},
        {78, 9, "m.idx: damaged: document 0 is of the sequences from 0 to 9, there are 3"},
        {70, 3, "m.idx: damaged: document 0 is of the sequences from 3 to 2, there are 3"},
        {18, 200, "m.idx: truncated or damaged: 200 sequences and 4 marks of documents in 102 bytes"},
        {25, 0x80, "m.idx: truncated or damaged: 9223372036854775811 sequences and 4 marks of documents in 102 bytes"},
    };
    for (int i = 0; i < MOT_COUNT(kinds); i++) {
        memcpy(c, b, n);
        c[kinds[i].at] = kinds[i].to;
        put("m.idx", c, n);
        CHECK_STR(list("m.bin", &v, -1), kinds[i].said);
    }
    memcpy(c, "TNTIDX\0\0", 8);
    put("m.idx", c, n);
    CHECK_STR(list("m.bin", &v, -1),
              "m.idx: an index of fairseq's older kind (TNTIDX); Megatron's tools make new ones (MMIDIDX)");
}

/* ---- writing ---- */

static void add(struct mot_tokens_writer *w, int32_t *id, int64_t n)
{
    struct mot_doc d = {.n = n, .id = id};
    CHECK_INT(mot_tokens_add(w, &d), 0);
}

static void test_write(void)
{
    struct mot_vocab v = vocabulary(8, 9);
    for (int wide = 0; wide < 2; wide++) {
        char *path = mot_path(folder, "w.bin");
        struct mot_tokens_options o = {.path = path, .wide = wide};
        struct mot_tokens_writer *w = mot_tokens_create(&v, &o);
        add(w, (int32_t[]){8, 1, 2, 9}, 4); /* begin and end are left out */
        add(w, (int32_t[]){3}, 1);
        add(w, (int32_t[]){8, 9}, 2); /* nothing in it: it does not come back */
        add(w, (int32_t[]){8, 9, 8, 4, 9}, 5); /* nor do separators within */
        CHECK_INT(mot_tokens_commit(w), 0);
        CHECK_STR(list("w.bin", &v, -1), wide ? "1 2|3|9|4|" : "1 2|3|8 4|");
        struct mot_bytes b = {0};
        CHECK_INT(mot_read_file(path, 10000, &b), 0);
        CHECK_INT(b.n, 1024 + 10 * (wide ? 4 : 2));
        CHECK_INT(mot_get32(b.data), wide ? 20240801 : 20240520);
        CHECK_INT(mot_get32(b.data + 4), wide ? 7 : 1);
        CHECK_INT(mot_get32(b.data + 8), 10);
        mot_bytes_free(&b);
        w = mot_tokens_create(&v, &o);
        struct mot_doc large = {.n = 1, .id = (int32_t[]){70000}};
        CHECK_INT(mot_tokens_add(w, &large), wide ? 0 : MOT_EARG);
        mot_tokens_abort(w);
        mot_free(path);
    }
    /* By size: each file of one document, as two do not fit. */
    char *path = mot_path(folder, "n-%03d.bin");
    struct mot_tokens_options o = {.path = path, .size = 1024 + 10};
    struct mot_tokens_writer *w = mot_tokens_create(&v, &o);
    add(w, (int32_t[]){1, 2, 3}, 3);
    add(w, (int32_t[]){4, 5, 6}, 3);
    CHECK_INT(mot_tokens_commit(w), 0);
    CHECK_STR(list("n-000.bin", &v, -1), "1 2 3|");
    CHECK_STR(list("n-001.bin", &v, -1), "4 5 6|");
    mot_free(path);
    struct mot_vocab none = vocabulary(-1, -1);
    o.path = "x.bin";
    CHECK(!mot_tokens_create(&none, &o));
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_llmc);
    RUN(test_llmc_damage);
    RUN(test_megatron);
    RUN(test_megatron_damage);
    RUN(test_write);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || test_end();
}
