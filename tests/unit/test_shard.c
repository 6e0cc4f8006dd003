/* SPDX-License-Identifier: MIT
 *
 * test_shard.c - shards there and back, glued together, through a pipe, and damaged in every way
 * that a test can afford: each bit flipped, each length cut.  The rule under test: a reader may
 * fail, but never serves a document that was not written.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX", file[64], other[64];

static const char vocab_json[] =
    "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":100},"
    "{\"name\":\"image\",\"first\":100,\"size\":50},{\"name\":\"speech\",\"first\":150,\"size\":"
    "70000}],"
    "\"special\":{\"bos\":0,\"eos\":1},\"digest\":\"0123456789abcdef\"}";

static struct mot_vocab vocab(void)
{
    struct mot_vocab v;
    CHECK_INT(mot_vocab_parse_json(&v, "test", vocab_json, strlen(vocab_json)), 0);
    return v;
}

/* Document k of a stream: its length and ids are functions of k. */
static int64_t make_doc(int k, int32_t *id, int64_t max)
{
    int64_t n = (int64_t)mot_random_below(7, 1, (uint64_t)k, (uint64_t)max);
    for (int64_t i = 0; i < n; i++) {
        static const int32_t first[] = {0, 100, 150}, size[] = {100, 50, 70000};
        int m = (int)mot_random_below(7, 2, (uint64_t)(k * 131 + i / 5), 3);
        id[i] =
            first[m] + (int32_t)mot_random_below(7, 3, (uint64_t)(k * 1000 + i), (uint64_t)size[m]);
    }
    return n;
}

static void write_docs(const char *path, int first, int n, int64_t max, bool compress)
{
    struct mot_vocab v = vocab();
    struct mot_shard_writer *w = mot_shard_create(path, &v);
    CHECK(w);
    mot_shard_compress(w, compress);
    int32_t *id = malloc((size_t)max * sizeof *id);
    for (int k = first; k < first + n; k++)
        CHECK_INT(mot_shard_add(w, id, make_doc(k, id, max), 10 * k), 0);
    free(id);
    CHECK_INT(mot_shard_commit(w), 0);
}

/* Is d document k? */
static bool is_doc(const struct mot_doc *d, int k, int64_t max)
{
    int32_t *id = malloc((size_t)max * sizeof *id);
    int64_t n = make_doc(k, id, max), at = 0;
    bool same =
        d->n == n && d->text_bytes == 10 * k && (n == 0 || memcmp(id, d->id, (size_t)n * 4) == 0);
    struct mot_vocab v = vocab();
    for (int i = 0; same && i < d->n_spans; i++) { /* spans cover the document and are maximal */
        const struct mot_span *s = &d->span[i];
        same = s->begin == at && s->n > 0 && (i == 0 || s->modality != s[-1].modality);
        for (int64_t j = at; same && j < at + s->n; j++)
            same = mot_vocab_modality(&v, id[j]) == s->modality;
        at += s->n;
    }
    free(id);
    return same && at == n;
}

/* Read a file: every document served must be the next of first.. ; returns how many, *rc the
 * status. */
static int read_docs(const char *path, bool keep_going, int first, int64_t max, int *rc)
{
    struct mot_vocab v = vocab();
    struct mot_shard *s = mot_shard_open(path, &v, keep_going);
    const struct mot_doc *d;
    int n = 0;
    if (!s) {
        *rc = MOT_EFORMAT;
        return 0;
    }
    while (!(*rc = mot_shard_next(s, &d)) && d)
        CHECK(is_doc(d, first + n++, max));
    if (!*rc && mot_shard_damage(s))
        *rc = -1;
    mot_shard_close(s);
    return n;
}

static void test_roundtrip(void)
{
    int rc;
    for (int compress = 0; compress < 2; compress++) {
        write_docs(file, 0, 2000, 300, compress); /* several frames */
        CHECK_INT(read_docs(file, false, 0, 300, &rc), 2000);
        CHECK_INT(rc, 0);
        write_docs(file, 0, 0, 300, compress);
        CHECK_INT(read_docs(file, false, 0, 300, &rc), 0);
        CHECK_INT(rc, 0);
        write_docs(file, 5, 3, 1000000, compress); /* larger than a frame */
        CHECK_INT(read_docs(file, false, 5, 1000000, &rc), 3);
        CHECK_INT(rc, 0);
    }
}

static void test_count(void)
{
    write_docs(file, 0, 500, 300, false);
    struct mot_shard_counts c, want = {.documents = 500};
    struct mot_vocab v = vocab();
    for (int k = 0; k < 500; k++) {
        int32_t id[300];
        int64_t n = make_doc(k, id, 300);
        want.tokens += n;
        want.text_bytes += 10 * k;
        for (int64_t i = 0; i < n; i++)
            want.by_modality[mot_vocab_modality(&v, id[i])]++;
    }
    CHECK_INT(mot_shard_count(file, &v, &c), 0);
    CHECK(memcmp(&c, &want, sizeof c) == 0);
    CHECK(want.by_modality[0] && want.by_modality[1] && want.by_modality[2]);
}

static void glue(const char *a, const char *b, const char *to)
{
    struct mot_bytes t = {0};
    CHECK_INT(mot_read_file(a, 1 << 28, &t), 0);
    CHECK_INT(mot_read_file(b, 1 << 28, &t), 0);
    CHECK_INT(mot_write_file(to, t.data, t.n), 0);
    mot_bytes_free(&t);
}

static void test_cat(void)
{
    int rc;
    write_docs(file, 0, 10, 50, false);
    write_docs(other, 10, 7, 50, true);
    glue(file, other, file);
    write_docs(other, 17, 0, 50, true);
    glue(file, other, file);
    CHECK_INT(read_docs(file, false, 0, 50, &rc), 17);
    CHECK_INT(rc, 0);

    /* A stream with another vocabulary may not follow. */
    struct mot_vocab v = vocab();
    memcpy(v.digest, "fedcba9876543210", 17);
    struct mot_shard_writer *w = mot_shard_create(other, &v);
    CHECK_INT(mot_shard_commit(w), 0);
    glue(file, other, file);
    CHECK_INT(read_docs(file, false, 0, 50, &rc), 17);
    CHECK_INT(rc, MOT_EARG);
    CHECK(strstr(mot_error(), "fedcba9876543210") && strstr(mot_error(), "0123456789abcdef"));
    /* Nor be taken for the expected one; alone and without expectation it is fine. */
    CHECK_INT(read_docs(other, false, 0, 50, &rc), 0);
    CHECK_INT(rc, MOT_EFORMAT);
    CHECK(strstr(mot_error(), "fedcba9876543210") && strstr(mot_error(), "0123456789abcdef"));
    struct mot_shard_counts c;
    CHECK_INT(mot_shard_count(other, NULL, &c), 0);
}

static void test_pipe(void)
{
    int fd[2], rc;
    write_docs(file, 0, 300, 300, false);
    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(file, 1 << 28, &b), 0);
    CHECK_INT(pipe(fd), 0);
    if (fork() == 0) { /* in odd pieces, so that reads come short */
        close(fd[0]);
        for (size_t i = 0; i < b.n; i += 777)
            if (write(fd[1], b.data + i, b.n - i < 777 ? b.n - i : 777) < 0)
                _exit(1);
        _exit(0);
    }
    close(fd[1]);
    int saved = dup(STDIN_FILENO);
    dup2(fd[0], STDIN_FILENO);
    close(fd[0]);
    CHECK_INT(read_docs("-", false, 0, 300, &rc), 300);
    CHECK_INT(rc, 0);
    if (saved >= 0)
        dup2(saved, STDIN_FILENO);
    close(saved);
    mot_bytes_free(&b);
}

static void test_bad_ids(void)
{
    struct mot_vocab v = vocab();
    struct mot_shard_writer *w = mot_shard_create(file, &v);
    int32_t id[] = {1, 2, 70150};
    CHECK_INT(mot_shard_add(w, id, 3, 0), MOT_EARG);
    CHECK(strstr(mot_error(), "token 2"));
    id[2] = -1;
    CHECK_INT(mot_shard_add(w, id, 3, 0), MOT_EARG);
    CHECK_INT(mot_shard_add(w, id, 2, -1), MOT_EARG);
    CHECK_INT(mot_shard_add(w, id, 2, 0), 0);
    CHECK_INT(mot_shard_commit(w), 0); /* the refused ones left no trace */
    struct mot_shard_counts c;
    CHECK_INT(mot_shard_count(file, &v, &c), 0);
    CHECK_INT(c.tokens, 2);
    mot_shard_abort(mot_shard_create(other, &v));
    CHECK(!mot_shard_create("/nonexistent/a.mot", &v));
}

/* The example of mot-shard(5), byte for byte: version 1 must read and write like this for ever. */
static const char example_vocab[] =
    "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":256},"
    "{\"name\":\"image\",\"first\":256,\"size\":70000}],\"special\":{\"bos\":0,\"eos\":1},"
    "\"digest\":\"0123456789abcdef\"}\n";
static const unsigned char example_head[] = {
    0x4d, 0x4f, 0x54, 0x53, 0x48, 0x52, 0x44, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xa4, 0x00, 0x00, 0x00, 0xa4, 0x00, 0x00, 0x00, 0xc4, 0x32, 0x64, 0x8c, 0x72, 0x0c, 0x14, 0x86,
};
static const unsigned char example_rest[] = {
    0x4d, 0x4f, 0x54, 0x44, 0x4f, 0x43, 0x53, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
    0x00, 0x54, 0x00, 0x00, 0x00, 0x54, 0x00, 0x00, 0x00, 0xe2, 0x97, 0x2e, 0xcf, 0x59, 0x4b,
    0x43, 0xdd, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x28,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0x00,
    0x69, 0x00, 0x00, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x6f,
    0x12, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x01,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x4d, 0x4f, 0x54, 0x44,
    0x4f, 0x4e, 0x45, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00,
    0x00, 0x20, 0x00, 0x00, 0x00, 0x2e, 0xfa, 0x40, 0xe9, 0xf3, 0x08, 0xaa, 0xee, 0x02, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static void test_example(void)
{
    struct mot_bytes want = {0}, found = {0};
    CHECK_INT(mot_bytes_append(&want, example_head, sizeof example_head), 0);
    CHECK_INT(mot_bytes_append(&want, example_vocab, sizeof example_vocab - 1), 0);
    CHECK_INT(mot_bytes_append(&want, example_rest, sizeof example_rest), 0);

    static const int32_t id[] = {0, 72, 105, 256, 70255, 1, 0, 1};
    struct mot_vocab v;
    CHECK_INT(mot_vocab_parse_json(&v, "example", example_vocab, sizeof example_vocab - 1), 0);
    struct mot_shard_writer *w = mot_shard_create(file, &v);
    CHECK_INT(mot_shard_add(w, id, 6, 2), 0);
    CHECK_INT(mot_shard_add(w, id + 6, 2, 0), 0);
    CHECK_INT(mot_shard_commit(w), 0);
    CHECK_INT(mot_read_file(file, 10000, &found), 0);
    CHECK(found.n == want.n && memcmp(found.data, want.data, want.n) == 0);

    CHECK_INT(mot_write_file(file, want.data, want.n), 0);
    const struct mot_doc *d;
    struct mot_shard *s = mot_shard_open(file, &v, false);
    CHECK(s && mot_shard_next(s, &d) == 0 && d);
    CHECK(d && d->n == 6 && memcmp(d->id, id, 24) == 0 && d->n_spans == 3 && d->text_bytes == 2);
    CHECK(mot_shard_next(s, &d) == 0 && d && d->n == 2 && d->id[1] == 1 && d->n_spans == 1 &&
          d->text_bytes == 0);
    CHECK(mot_shard_next(s, &d) == 0 && !d);
    mot_shard_close(s);
    mot_bytes_free(&want);
    mot_bytes_free(&found);
}

static void test_foreign(void)
{
    static const char *const text[] = {"", "x", "MOTSHRD", "MOTSHRD\r\n and more",
                                       "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n"};
    for (int i = 0; i < MOT_COUNT(text); i++) {
        CHECK_INT(mot_write_file(file, text[i], strlen(text[i])), 0);
        CHECK(!mot_shard_open(file, NULL, i % 2));
        CHECK(strstr(mot_error(), i ? "not a shard" : "empty"));
        CHECK(strncmp(mot_error(), file, strlen(file)) == 0);
    }
    CHECK(!mot_shard_open("/nonexistent", NULL, false));
    CHECK(!mot_shard_open(folder, NULL, false));
}

/* Every bit, raw and packed: an error, and before it only documents that were written. */
static void test_flips(void)
{
    for (int compress = 0; compress < 2; compress++) {
        write_docs(file, 1, 6, 20, compress);
        write_docs(other, 7, 4, 20, compress);
        glue(file, other, file);
        struct mot_bytes b = {0};
        CHECK_INT(mot_read_file(file, 1 << 20, &b), 0);
        int fd = open(file, O_WRONLY);
        for (size_t i = 0; i < 8 * b.n; i++) {
            int rc, kept;
            unsigned char flipped = b.data[i / 8] ^ (unsigned char)(1 << i % 8);
            CHECK_INT(pwrite(fd, &flipped, 1, (off_t)(i / 8)), 1);
            int n = read_docs(file, false, 1, 20, &rc);
            CHECK(rc > 0);
            CHECK(strstr(mot_error(), file));
            kept = read_docs(file, true, 1, 20, &rc);
            CHECK(rc != 0);
            CHECK_INT(kept, n);
            CHECK_INT(pwrite(fd, b.data + i / 8, 1, (off_t)(i / 8)), 1);
        }
        close(fd);
        int rc;
        CHECK_INT(read_docs(file, false, 1, 20, &rc), 10);
        CHECK_INT(rc, 0);
        mot_bytes_free(&b);
    }
}

static void test_truncation(void)
{
    write_docs(file, 1, 6, 20, false);
    write_docs(other, 7, 4, 20, true);
    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(file, 1 << 20, &b), 0);
    size_t whole = b.n; /* cutting exactly between the two streams leaves a valid shard */
    CHECK_INT(mot_read_file(other, 1 << 20, &b), 0);
    CHECK_INT(mot_write_file(other, b.data, b.n), 0);
    for (size_t n = b.n; n-- > 0;) {
        int rc, found;
        CHECK_INT(truncate(other, (off_t)n), 0);
        found = read_docs(other, false, 1, 20, &rc);
        CHECK((rc == 0) == (n == whole));
        if (n > 8 && n != whole)
            CHECK(strstr(mot_error(), "truncated"));
        CHECK_INT(read_docs(other, true, 1, 20, &rc), found);
        CHECK((rc == 0) == (n == whole));
    }
    CHECK_INT(mot_bytes_append(&b, "x", 1), 0);
    CHECK_INT(mot_write_file(other, b.data, b.n), 0);
    int rc;
    CHECK_INT(read_docs(other, false, 1, 20, &rc), 10);
    CHECK_INT(rc, MOT_ECORRUPT);
    mot_bytes_free(&b);
}

/* -- files of an enemy who knows how to compute CRCs -- */

static int append_frame(struct mot_bytes *b, const char *tag, uint32_t flags, uint32_t number,
                        const void *payload, uint32_t stored, uint32_t size, size_t given)
{
    unsigned char head[32];
    memcpy(head, tag, 8);
    mot_put16(head + 8, 1);
    mot_put16(head + 10, flags);
    mot_put32(head + 12, number);
    mot_put32(head + 16, stored);
    mot_put32(head + 20, size);
    mot_put32(head + 24, mot_crc32(0, payload, given));
    mot_put32(head + 28, mot_crc32(0, head, 28));
    int rc = mot_bytes_append(b, head, 32);
    return rc ? rc : mot_bytes_append(b, payload, given);
}

/* A stream whose only document frame holds the payload; the status of reading it to its end. */
static int status_of(const unsigned char *payload, size_t n, uint64_t documents,
                     uint64_t text_bytes, uint64_t text)
{
    struct mot_bytes b = {0};
    unsigned char end[40] = {0};
    mot_put64(end, documents);
    mot_put64(end + 8, text_bytes);
    mot_put64(end + 16, text);
    CHECK_INT(append_frame(&b, "MOTSHRD\n", 0, 0, vocab_json, sizeof vocab_json - 1,
                           sizeof vocab_json - 1, sizeof vocab_json - 1),
              0);
    CHECK_INT(append_frame(&b, "MOTDOCS\n", 0, 1, payload, (uint32_t)n, (uint32_t)n, n), 0);
    CHECK_INT(append_frame(&b, "MOTDONE\n", 0, 2, end, 40, 40, 40), 0);
    CHECK_INT(mot_write_file(file, b.data, b.n), 0);
    mot_bytes_free(&b);
    struct mot_shard_counts c;
    return mot_shard_count(file, NULL, &c);
}

static void test_malice(void)
{
    /* one document: 5 bytes of text, one segment, 12 bytes: u16, text, 2 ids */
    unsigned char doc[28] = {5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12, 0,
                             0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7, 0, 8,  0};
    CHECK_INT(status_of(doc, 28, 1, 5, 2), 0);
    CHECK_INT(status_of(doc, 28, 2, 5, 2), MOT_ECORRUPT); /* wrong counts */
    CHECK_INT(status_of(doc, 28, 1, 6, 2), MOT_ECORRUPT);
    CHECK_INT(status_of(doc, 28, 1, 5, 3), MOT_ECORRUPT);
    for (size_t n = 0; n < 28; n++) /* documents cut short */
        CHECK(status_of(doc, n, 1, 5, 2) != 0);
    static const struct {
        int at, value, code;
    } change[] = {{8, 0, MOT_ECORRUPT},    {8, 2, MOT_ECORRUPT},    {11, 255, MOT_ECORRUPT},
                  {12, 11, MOT_ECORRUPT},  {15, 255, MOT_ECORRUPT}, {16, 9, MOT_EVERSION},
                  {16, 0, MOT_ECORRUPT},   {18, 1, MOT_ECORRUPT},   {18, 3, MOT_ECORRUPT},
                  {19, 1, MOT_ECORRUPT},   {20, 1, MOT_ECORRUPT},   {20, 0, MOT_ECORRUPT},
                  {23, 255, MOT_ECORRUPT}, {24, 100, MOT_ECORRUPT}, {25, 255, MOT_ECORRUPT},
                  {7, 255, MOT_ECORRUPT}};
    for (int i = 0; i < MOT_COUNT(change); i++) {
        unsigned char bad[28];
        memcpy(bad, doc, 28);
        bad[change[i].at] = (unsigned char)change[i].value;
        CHECK_INT(status_of(bad, 28, 1, 5, 2), change[i].code);
    }
}

/* Lengths that promise a gigabyte cost nothing before the bytes are there. */
static void test_bombs(void)
{
    static const struct {
        uint32_t flags, stored, size;
        const char *text;
    } bomb[] = {
        {0, 1u << 30, 1u << 30, "truncated"}, {0, 0xffffffff, 0xffffffff, "impossible size"},
        {0, 8, 9, "impossible size"},         {1, 8, 1u << 30, "impossible size"},
        {1, 8, 8000, "cannot unpack"},        {2, 8, 8, "unknown kind of frame"}};
#ifndef __SANITIZE_ADDRESS__ /* whose own memory knows no measure */
    struct rlimit old, low;
    getrlimit(RLIMIT_DATA, &old);
    low = old;
    low.rlim_cur = 512 << 20;
    setrlimit(RLIMIT_DATA, &low);
#endif
    for (int i = 0; i < MOT_COUNT(bomb); i++) {
        struct mot_bytes b = {0};
        struct mot_shard_counts c;
        CHECK_INT(append_frame(&b, "MOTSHRD\n", bomb[i].flags, 0, "12345678", bomb[i].stored,
                               bomb[i].size, 8),
                  0);
        CHECK_INT(mot_write_file(file, b.data, b.n), 0);
        CHECK(mot_shard_count(file, NULL, &c) != 0);
        if (!strstr(mot_error(), bomb[i].text)) {
            fprintf(stderr, "bomb %d: %s\n", i, mot_error());
            CHECK(false);
        }
        mot_bytes_free(&b);
    }
#ifndef __SANITIZE_ADDRESS__
    setrlimit(RLIMIT_DATA, &old);
#endif
}

/* Frames left out, doubled or swapped are found though each is whole. */
static void test_order(void)
{
    struct mot_bytes b = {0};
    write_docs(file, 0, 3, 1000000, false); /* header, three large documents, end */
    CHECK_INT(mot_read_file(file, 1 << 28, &b), 0);
    size_t begin[6] = {0};
    for (int k = 0; k < 5; k++)
        begin[k + 1] = begin[k] + 32 + mot_get32(b.data + begin[k] + 16);
    CHECK_INT(begin[5], b.n);
    static const int orders[][6] = {{0, 2, 3, 4, -1}, {0, 1, 1, 2, 3, 4}, {0, 2, 1, 3, 4, -1},
                                    {0, 1, 2, 4, -1}, {0, 1, 2, 3, -1},   {0, 0, 1, 2, 3, 4},
                                    {1, 2, 3, 4, -1}, {0, 1, 2, 3, 4, 4}};
    for (int i = 0; i < MOT_COUNT(orders); i++) {
        struct mot_bytes t = {0};
        for (int k = 0; k < 6 && orders[i][k] >= 0; k++)
            CHECK_INT(mot_bytes_append(&t, b.data + begin[orders[i][k]],
                                       begin[orders[i][k] + 1] - begin[orders[i][k]]),
                      0);
        CHECK_INT(mot_write_file(file, t.data, t.n), 0);
        struct mot_shard_counts c;
        CHECK(mot_shard_count(file, NULL, &c) != 0);
        mot_bytes_free(&t);
    }
    mot_bytes_free(&b);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(file, sizeof file, "%s/a.mot", folder);
    snprintf(other, sizeof other, "%s/b.mot", folder);
    RUN(test_roundtrip);
    RUN(test_count);
    RUN(test_cat);
    RUN(test_pipe);
    RUN(test_bad_ids);
    RUN(test_example);
    RUN(test_foreign);
    RUN(test_flips);
    RUN(test_truncation);
    RUN(test_malice);
    RUN(test_bombs);
    RUN(test_order);
    unlink(file);
    unlink(other);
    rmdir(folder);
    return test_end();
}
