/* SPDX-License-Identifier: MIT
 *
 * test_latents.c - pictures of vectors on their way: in shards and in JSON, where every value comes back as it was, in files
 * that lie, and in batches, whose packing is compared with a plain one done here.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/safetensors.h"
#include "tests/test.h"

enum { BOI = 2, EOI = 3, WIDTH = 3, MOST = 400 };
static char folder[] = "/tmp/mot-test-XXXXXX", file[64], other[64];

static const char vocab_json[] =
    "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":50},"
    "{\"name\":\"image\",\"first\":50,\"size\":1,\"width\":3},{\"name\":\"speech\",\"first\":51,\"size\":20}],"
    "\"special\":{\"bos\":0,\"eos\":1,\"boi\":2,\"eoi\":3},\"digest\":\"0123456789abcdef\"}";

static struct mot_vocab vocab(void)
{
    struct mot_vocab v;
    CHECK_INT(mot_vocab_parse_json(&v, "test", vocab_json, strlen(vocab_json)), 0);
    return v;
}

struct document {
    struct mot_ids ids;
    struct mot_latents latents;
};

static void free_document(struct document *d)
{
    mot_ids_free(&d->ids);
    mot_latents_free(&d->latents);
}

static void put(struct document *d, int32_t id)
{
    CHECK_INT(mot_ids_append(&d->ids, &id, 1), 0);
}

/* Numbers that are functions of (k, i). */
static int draw(int k, int i, int n)
{
    return (int)mot_random_below(5, (uint64_t)k, (uint64_t)i, (uint64_t)n);
}

static void put_picture(struct document *d, int k, int i, int32_t rows, int32_t columns)
{
    const struct mot_grid g = {rows, columns, WIDTH};
    uint16_t value[MOST * WIDTH];
    for (int64_t j = 0; j < mot_grid_values(&g); j++) { /* any finite value */
        value[j] = (uint16_t)draw(k + 1000, (int)(i * 10000 + j), 65536);
        value[j] ^= (value[j] & 0x7c00) == 0x7c00 ? 0x400 : 0;
    }
    CHECK_INT(mot_latents_append(&d->latents, &g, value), 0);
    for (int64_t j = 0; j < mot_grid_tokens(&g); j++)
        put(d, 50);
}

/* Document k: texts, sounds, and pictures of up to 5 x 5, most of them between delimiters. */
static void make(struct document *d, int k)
{
    *d = (struct document){0};
    if (draw(k, 0, 4))
        put(d, 0);
    for (int i = 1, n = draw(k, 1, 8); i < n; i++) {
        int kind = draw(k, i * 10, 4), length = 1 + draw(k, i * 10 + 1, 9);
        bool bare = draw(k, i * 10 + 2, 4) == 0;
        for (int j = 0; kind < 2 && j < length; j++)
            put(d, kind ? 51 + draw(k, i * 100 + j, 20) : 4 + draw(k, i * 100 + j, 46));
        if (kind < 2)
            continue;
        if (!bare)
            put(d, BOI);
        put_picture(d, k, i, 1 + draw(k, i * 10 + 3, 5), 1 + draw(k, i * 10 + 4, 5));
        if (!bare)
            put(d, EOI);
    }
    if (draw(k, 2, 3))
        put(d, 1);
}

static void write_docs(const char *path, int n, bool compress)
{
    struct mot_vocab v = vocab();
    struct mot_shard_writer *w = mot_shard_create(path, &v);
    CHECK(w);
    mot_shard_compress(w, compress);
    for (int k = 0; k < n; k++) {
        struct document d;
        make(&d, k);
        int64_t most = mot_shard_size_with(w, d.ids.id, d.ids.n, &d.latents);
        CHECK_INT(mot_shard_add_latents(w, d.ids.id, d.ids.n, &d.latents, k), 0);
        CHECK(most > 0);
        free_document(&d);
    }
    CHECK_INT(mot_shard_commit(w), 0);
}

/* Is it document k, its spans maximal but for pictures, which are those of its grids? */
static bool is_doc(const struct mot_doc *x, int k)
{
    struct document d;
    struct mot_vocab v = vocab();
    make(&d, k);
    bool same = x->n == d.ids.n && x->text_bytes == k && x->n_latent == d.latents.n &&
                (x->n == 0 || memcmp(x->id, d.ids.id, (size_t)x->n * 4) == 0) &&
                (x->n_latent == 0 || memcmp(x->latent, d.latents.value, (size_t)x->n_latent * 2) == 0);
    int64_t at = 0, grid = 0;
    for (int i = 0; same && i < x->n_spans; i++) {
        const struct mot_span *s = &x->span[i];
        const struct mot_grid *g = &d.latents.grid[grid];
        same = s->begin == at && s->n > 0 && s->modality == mot_vocab_modality(&v, x->id[at]) &&
               (i == 0 || s->modality != s[-1].modality || s->rows);
        if (s->modality == 1) {
            same &= grid < d.latents.n_grids && s->rows == g->rows && s->columns == g->columns && s->n == mot_grid_tokens(g);
            grid++;
        } else {
            same &= s->rows == 0 && s->columns == 0;
        }
        at += s->n;
    }
    same &= at == x->n && grid == d.latents.n_grids;
    free_document(&d);
    return same;
}

static void test_round_trip(void)
{
    struct mot_vocab v = vocab();
    for (int compress = 0; compress < 2; compress++) {
        const struct mot_doc *d;
        write_docs(file, 500, compress);
        struct mot_shard *s = mot_shard_open(file, &v, false);
        CHECK(s);
        int k = 0, rc = 0;
        while (s && !(rc = mot_shard_next(s, &d)) && d)
            CHECK(is_doc(d, k++));
        CHECK_INT(rc, 0);
        CHECK_INT(k, 500);
        mot_shard_close(s);
    }
}

/* The bound that numbered shards rely on. */
static void test_size(void)
{
    struct mot_vocab v = vocab();
    for (int k = 0; k < 60; k++) {
        struct document d;
        struct mot_bytes b = {0};
        make(&d, k);
        struct mot_shard_writer *w = mot_shard_create(file, &v);
        int64_t most = mot_shard_size_with(w, d.ids.id, d.ids.n, &d.latents);
        CHECK_INT(mot_shard_add_latents(w, d.ids.id, d.ids.n, &d.latents, 0), 0);
        CHECK_INT(mot_shard_commit(w), 0);
        CHECK_INT(mot_read_file(file, 1 << 20, &b), 0);
        CHECK((int64_t)b.n <= most && (int64_t)b.n > most - 100);
        mot_bytes_free(&b);
        free_document(&d);
    }
}

static void test_refused_additions(void)
{
    struct mot_vocab v = vocab();
    struct mot_shard_writer *w = mot_shard_create(file, &v);
    int32_t id[] = {0, 50, 50, 50, 50, 1, 50};
    uint16_t value[WIDTH * 4] = {0x3c00}, infinite[WIDTH * 4] = {0, 0, 0, 0, 0xfc00}, nan[WIDTH * 4] = {0x7c01};
    struct mot_grid g[] = {{2, 2, WIDTH}, {1, 4, WIDTH}, {2, 2, WIDTH + 1}, {1, 2, WIDTH}, {4, 2, WIDTH}, {0, 4, WIDTH}};
    CHECK_INT(mot_shard_add(w, id, 6, 0), MOT_EARG); /* tokens without vectors */
    struct mot_latents l = {.grid = g, .n_grids = 1, .value = value, .n = WIDTH * 4};
    CHECK_INT(mot_shard_add_latents(w, id, 5, &l, 0), 0);
    CHECK_INT(mot_shard_add_latents(w, id, 4, &l, 0), MOT_EARG); /* fewer tokens */
    CHECK_INT(mot_shard_add_latents(w, id, 1, &l, 0), MOT_EARG); /* none */
    CHECK_INT(mot_shard_add_latents(w, id + 2, 5, &l, 0), MOT_EARG); /* something between them */
    CHECK_INT(mot_shard_add_latents(w, id, 7, &l, 0), MOT_EARG); /* one more */
    for (int i = 1; i < MOT_COUNT(g); i++) {
        l.grid = g + i;
        l.n = mot_grid_values(g + i);
        CHECK_INT(mot_shard_add_latents(w, id, 5, &l, 0), i == 1 ? 0 : MOT_EARG);
    }
    l = (struct mot_latents){.grid = g, .n_grids = 1, .value = infinite, .n = WIDTH * 4};
    CHECK_INT(mot_shard_add_latents(w, id, 5, &l, 0), MOT_EARG);
    l.value = nan;
    CHECK_INT(mot_shard_add_latents(w, id, 5, &l, 0), MOT_EARG);
    CHECK_INT(mot_shard_commit(w), 0);
    struct mot_shard_counts c; /* what was refused is not there */
    CHECK_INT(mot_shard_count(file, &v, &c), 0);
    CHECK_INT(c.documents, 2);
    CHECK_INT(c.by_modality[1], 8);
}

static void test_vocabulary(void)
{
    static const struct {
        const char *image, *says;
    } bad[] = {{"\"size\":2,\"width\":3", "\"size\" is 1"}, {"\"size\":1,\"width\":0", "width"},
               {"\"size\":1,\"width\":-1", "width"},       {"\"size\":1,\"width\":65537", "width"},
               {"\"size\":1,\"width\":\"3\"", "width"},    {"\"size\":1,\"width\":3.5", "width"}};
    struct mot_vocab v = vocab(), back;
    char text[400];
    for (int i = 0; i < MOT_COUNT(bad); i++) {
        snprintf(text, sizeof text,
                 "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":50},{\"name\":\"image\",\"first\":50,%s}],"
                 "\"digest\":\"0123456789abcdef\"}", bad[i].image);
        CHECK_INT(mot_vocab_parse_json(&back, "test", text, strlen(text)), MOT_EFORMAT);
        CHECK(strstr(mot_error(), bad[i].says));
    }
    const char *texts = "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":1,\"width\":3}],"
                        "\"digest\":\"0123456789abcdef\"}";
    CHECK_INT(mot_vocab_parse_json(&back, "test", texts, strlen(texts)), MOT_EFORMAT);
    struct mot_bytes out = {0};
    CHECK_INT(mot_vocab_save_json(&v, &out), 0);
    CHECK_INT(mot_vocab_parse_json(&back, "test", out.data, out.n), 0);
    CHECK_INT(back.modality[1].width, 3);
    CHECK_INT(back.modality[0].width + back.modality[2].width, 0);
    mot_bytes_free(&out);
}

/* ---- files of an enemy ---- */

static int append_frame(struct mot_bytes *b, const char *tag, uint32_t number, const void *payload, size_t n)
{
    unsigned char head[32];
    memcpy(head, tag, 8);
    mot_put32(head + 8, 1);
    mot_put32(head + 12, number);
    mot_put32(head + 16, (uint32_t)n);
    mot_put32(head + 20, (uint32_t)n);
    mot_put32(head + 24, mot_crc32(0, payload, n));
    mot_put32(head + 28, mot_crc32(0, head, 28));
    int rc = mot_bytes_append(b, head, 32);
    return rc ? rc : mot_bytes_append(b, payload, n);
}

/* The status of reading a stream with one document frame. */
static int status_of(const unsigned char *payload, size_t n, uint64_t tokens)
{
    struct mot_bytes b = {0};
    struct mot_shard_counts c;
    unsigned char end[40] = {1};
    mot_put64(end + 24, tokens);
    CHECK_INT(append_frame(&b, "MOTSHRD\n", 0, vocab_json, sizeof vocab_json - 1), 0);
    CHECK_INT(append_frame(&b, "MOTDOCS\n", 1, payload, n), 0);
    CHECK_INT(append_frame(&b, "MOTDONE\n", 2, end, sizeof end), 0);
    CHECK_INT(mot_write_file(file, b.data, b.n), 0);
    mot_bytes_free(&b);
    return mot_shard_count(file, NULL, &c);
}

static void test_malice(void)
{
    /* one document without text: a segment of 32 bytes: vectors, image, 2 of 3 values, 2 rows, 1 column */
    static const unsigned char doc[48] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0, 0, 2, 0, 1, 0, 2, 0, 0, 0,
                                          3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 60, 1, 0, 0, 188, 255, 123, 9, 9, 8, 8};
    CHECK_INT(status_of(doc, 48, 2), 0);
    for (size_t n = 1; n < 48; n++)
        CHECK_INT(status_of(doc, n, 2), MOT_ECORRUPT);
    static const struct {
        int at, value, code;
    } change[] = {{16, 1, MOT_ECORRUPT},   {16, 0, MOT_ECORRUPT},   {16, 3, MOT_EVERSION},   {18, 0, MOT_ECORRUPT},
                  {18, 2, MOT_ECORRUPT},   {20, 1, MOT_ECORRUPT},   {20, 0, MOT_ECORRUPT},   {20, 3, MOT_ECORRUPT},
                  {23, 255, MOT_ECORRUPT}, {24, 2, MOT_ECORRUPT},   {24, 0, MOT_ECORRUPT},   {27, 255, MOT_ECORRUPT},
                  {28, 1, MOT_ECORRUPT},   {28, 0, MOT_ECORRUPT},   {31, 255, MOT_ECORRUPT}, {32, 2, MOT_ECORRUPT},
                  {32, 0, MOT_ECORRUPT},   {35, 255, MOT_ECORRUPT}, {37, 124, MOT_ECORRUPT}, {37, 252, MOT_ECORRUPT},
                  {43, 124, MOT_ECORRUPT}, {43, 127, MOT_ECORRUPT}, {12, 31, MOT_ECORRUPT}};
    for (int i = 0; i < MOT_COUNT(change); i++) {
        unsigned char bad[48];
        memcpy(bad, doc, 48);
        bad[change[i].at] = (unsigned char)change[i].value;
        CHECK_INT(status_of(bad, 48, 2), change[i].code);
    }
    /* Products that overflow: 2^31 - 1 rows and columns, 2^16 x 2^16. */
    static const uint32_t large[][3] = {{1, 0x7fffffff, 0x7fffffff}, {0, 65536, 65536}, {0xfffffffe, 2, 0x7fffffff},
                                        {2, 0x80000001, 2}};
    for (int i = 0; i < MOT_COUNT(large); i++) {
        unsigned char bad[48];
        memcpy(bad, doc, 48);
        mot_put32(bad + 20, large[i][0]);
        mot_put32(bad + 28, large[i][1]);
        mot_put32(bad + 32, large[i][2]);
        CHECK_INT(status_of(bad, 48, 2), MOT_ECORRUPT);
    }
}

/* ---- JSON ---- */

/* All finite values of binary16, through a line of JSON. */
static void test_json_values(void)
{
    enum { N = 63488, COLUMNS = 62, ROWS = N / COLUMNS };
    struct mot_vocab v = vocab();
    v.modality[1].width = 1;
    static uint16_t value[N];
    static int32_t id[N];
    int n = 0;
    for (int i = 0; i < 65536; i++)
        if ((i & 0x7c00) != 0x7c00)
            id[n] = 50, value[n++] = (uint16_t)i;
    CHECK_INT(n, N);
    struct mot_span span = {1, 0, N, ROWS, COLUMNS};
    struct mot_doc d = {.n = N, .id = id, .n_spans = 1, .span = &span, .n_latent = N, .latent = value, .text_bytes = 7};
    struct mot_bytes line = {0};
    struct mot_ids ids = {0};
    struct mot_latents l = {0};
    int64_t bytes = 0;
    CHECK_INT(mot_doc_format(&v, &d, &line), 0);
    CHECK_INT(mot_doc_parse(&v, "test", line.data, line.n, &ids, &l, &bytes), 0);
    CHECK_INT(bytes, 7);
    CHECK(ids.n == N && memcmp(ids.id, id, sizeof id) == 0);
    CHECK(l.n == N && memcmp(l.value, value, sizeof value) == 0);
    CHECK(l.n_grids == 1 && l.grid[0].rows == ROWS && l.grid[0].columns == COLUMNS);
    mot_bytes_free(&line);
    mot_ids_free(&ids);
    mot_latents_free(&l);
}

static void test_json(void)
{
    struct mot_vocab v = vocab();
    uint16_t value[] = {mot_f16(1), mot_f16(-0.5f), 0x8000, mot_f16(0.1f), 0, mot_f16(65504)};
    int32_t id[] = {2, 50, 50, 3};
    struct mot_span span[] = {{0, 0, 1, 0, 0}, {1, 1, 2, 1, 2}, {0, 3, 1, 0, 0}};
    struct mot_doc d = {.n = 4, .id = id, .n_spans = 3, .span = span, .n_latent = 6, .latent = value};
    struct mot_bytes line = {0};
    CHECK_INT(mot_doc_format(&v, &d, &line), 0);
    CHECK_INT(mot_bytes_append(&line, "", 1), 0);
    CHECK_STR((char *)line.data, "{\"segments\":[{\"modality\":\"text\",\"ids\":[2]},{\"modality\":\"image\",\"rows\":1,\"columns\":2,"
                                 "\"vectors\":[[1,-0.5,-0.0],[0.099976,0,65504]]},{\"modality\":\"text\",\"ids\":[3]}],\"bytes\":0}\n");
    mot_bytes_free(&line);
    static const struct {
        const char *segment, *says;
    } bad[] = {
        {"\"ids\":[50,50]", "rows"},
        {"\"rows\":1,\"columns\":2", "vectors"},
        {"\"rows\":1,\"columns\":2,\"vectors\":3", "vectors"},
        {"\"rows\":1,\"columns\":2,\"vectors\":[[1,2,3]]", "rows x columns"},
        {"\"rows\":0,\"columns\":2,\"vectors\":[]", "rows"},
        {"\"columns\":1,\"vectors\":[[1,2,3]]", "rows"},
        {"\"rows\":2147483647,\"columns\":2147483647,\"vectors\":[[1,2,3]]", "rows x columns"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[[1,2]]", "3 numbers"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[[1,2,3,4]]", "3 numbers"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[7]", "3 numbers"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[[1,2,\"3\"]]", "a number from"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[[1,2,65520]]", "a number from"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[[1,2,-1e300]]", "a number from"},
        {"\"rows\":1,\"columns\":1,\"vectors\":[[1,null,2]]", "a number from"},
    };
    for (int i = 0; i < MOT_COUNT(bad); i++) {
        char text[400];
        struct mot_ids ids = {0};
        struct mot_latents l = {0};
        int64_t bytes;
        snprintf(text, sizeof text, "{\"segments\":[{\"modality\":\"image\",\"rows\":1,\"columns\":1,\"vectors\":[[1,2,3]]},"
                                    "{\"modality\":\"image\",%s}]}", bad[i].segment);
        CHECK_INT(mot_doc_parse(&v, "file:3", text, strlen(text), &ids, &l, &bytes), MOT_EFORMAT);
        if (!strstr(mot_error(), bad[i].says))
            fprintf(stderr, "%s: %s\n", text, mot_error());
        CHECK(strstr(mot_error(), bad[i].says));
        CHECK(ids.n == 0 && l.n == 0 && l.n_grids == 0); /* as it was */
        mot_ids_free(&ids);
        mot_latents_free(&l);
    }
}

/* ---- batches ---- */

/* Where the row of token i of document d may not be separated from the one before: within a picture, and behind its <|boi|>. */
static bool joined(const struct document *d, int64_t i)
{
    int64_t at = 0;
    for (int64_t g = 0; g < d->latents.n_grids; g++) {
        while (d->ids.id[at] != 50)
            at++;
        int64_t n = mot_grid_tokens(&d->latents.grid[g]);
        if ((i > at && i < at + n) || (i == at && i > 0 && d->ids.id[i - 1] == BOI))
            return true;
        at += n;
    }
    return false;
}

static int64_t rows_of(const struct document *d)
{
    return d->ids.n ? d->ids.n - (d->ids.id[d->ids.n - 1] != 50) : 0;
}

/* The next piece's rows: as many as fit, up to a place where the document may be cut. */
static int64_t plain_piece(const struct document *d, int64_t from, int64_t room)
{
    int64_t rows = rows_of(d), n = rows - from < room ? rows - from : room;
    while (n > 0 && from + n < rows && joined(d, from + n))
        n--;
    return n;
}

/* The value of picture p of the batch is that of the document's picture which begins at its token `at`. */
static bool same_picture(const struct mot_batch *b, const struct mot_picture *p, const struct document *d, int64_t at)
{
    int64_t value = 0, token = 0;
    for (int64_t g = 0; g < d->latents.n_grids; g++, token += mot_grid_tokens(&d->latents.grid[g - 1])) {
        const struct mot_grid *grid = &d->latents.grid[g];
        while (d->ids.id[token] != 50)
            token++;
        if (token == at)
            return p->rows == grid->rows && p->columns == grid->columns && p->n == mot_grid_tokens(grid) &&
                   memcmp(b->latent + p->latent, d->latents.value + value, (size_t)mot_grid_values(grid) * 2) == 0;
        value += mot_grid_values(grid);
    }
    return false;
}

/* The documents in the file's order, packed here and there. */
static void compare_packing(int documents, int64_t batch, int64_t seq)
{
    struct mot_vocab v = vocab();
    const char *paths[] = {file};
    struct mot_loader *l = mot_loader_open(paths, 1, &v, &(struct mot_loader_options){.batch = batch, .seq = seq});
    struct mot_batch b = {0};
    struct document d;
    int64_t sequence = 0, room = 0, piece = 0, picture = 0, row = 0;
    CHECK_INT(mot_loader_next(l, &b), 0);
    for (int k = 0; k < documents; k++, free_document(&d)) {
        make(&d, k);
        for (int64_t from = 0, n; from < rows_of(&d); from += n, room -= n) {
            n = room > 0 ? plain_piece(&d, from, room) : 0;
            if (n == 0) { /* the next sequence, perhaps of the next batch */
                if (sequence++ == batch) {
                    CHECK(b.n == row && b.n_pieces == piece && b.n_pictures == picture);
                    CHECK_INT(mot_loader_next(l, &b), 0);
                    sequence = 1, row = piece = picture = 0;
                }
                room = seq;
                continue;
            }
            CHECK(piece < b.n_pieces && b.piece[piece] == row && b.piece[piece + 1] == row + n);
            for (int64_t i = 0; i < n && row + i < b.n; i++) {
                int64_t next = from + i + 1 < d.ids.n ? from + i + 1 : d.ids.n - 1;
                CHECK(b.id[row + i] == d.ids.id[from + i] && b.target[row + i] == d.ids.id[next]);
                if (picture < b.n_pictures && b.picture[picture].begin == row + i)
                    CHECK(same_picture(&b, &b.picture[picture++], &d, from + i));
            }
            row += n;
            piece++;
        }
    }
    CHECK(b.n == row && b.n_pieces == piece && b.n_pictures == picture);
    CHECK_INT(mot_loader_next(l, &b), 0);
    CHECK_INT(b.n, 0);
    mot_batch_free(&b);
    mot_loader_close(l);
}

static void test_packing(void)
{
    write_docs(file, 300, false);
    compare_packing(300, 1, 26); /* the largest picture with its delimiter */
    compare_packing(300, 4, 27);
    compare_packing(300, 3, 40);
    compare_packing(300, 2, 1000);
}

static bool same_batches(const struct mot_batch *x, const struct mot_batch *y)
{
    return x->n == y->n && x->n_pieces == y->n_pieces && x->n_pictures == y->n_pictures && x->n_latent == y->n_latent &&
           memcmp(x->id, y->id, (size_t)x->n * 4) == 0 && memcmp(x->target, y->target, (size_t)x->n * 4) == 0 &&
           memcmp(x->piece, y->piece, (size_t)(x->n_pieces + 1) * sizeof *x->piece) == 0 &&
           (x->n_pictures == 0 || memcmp(x->latent, y->latent, (size_t)x->n_latent * 2) == 0);
}

/* From a stored position the rest is the same, shuffled and over several passes. */
static void test_seek(void)
{
    struct mot_vocab v = vocab();
    const char *paths[] = {file, other};
    const struct mot_loader_options o = {.batch = 2, .seq = 30, .shuffle = 600, .seed = 4, .repeat = true};
    write_docs(file, 100, false);
    write_docs(other, 60, true);
    struct mot_loader *a = mot_loader_open(paths, 2, &v, &o);
    struct mot_batch x = {0}, y = {0};
    for (int stop = 1; stop < 300; stop += 37) {
        struct mot_loader *b = mot_loader_open(paths, 2, &v, &o);
        CHECK_INT(mot_loader_seek(a, (struct mot_position){0}), 0);
        for (int i = 0; i < stop; i++)
            CHECK_INT(mot_loader_next(a, &x), 0);
        CHECK_INT(mot_loader_seek(b, mot_loader_position(a)), 0);
        for (int i = 0; i < 20; i++) {
            CHECK_INT(mot_loader_next(a, &x) | mot_loader_next(b, &y), 0);
            CHECK(same_batches(&x, &y));
        }
        mot_loader_close(b);
    }
    CHECK(mot_loader_position(a).epoch > 0);
    mot_batch_free(&x), mot_batch_free(&y);
    mot_loader_close(a);
}

static void test_too_short(void)
{
    struct mot_vocab v = vocab();
    const char *paths[] = {file};
    struct mot_shard_writer *w = mot_shard_create(file, &v);
    struct document d = {0};
    put(&d, 0), put(&d, BOI);
    put_picture(&d, 1, 1, 4, 4);
    put(&d, EOI);
    CHECK_INT(mot_shard_add_latents(w, d.ids.id, d.ids.n, &d.latents, 0), 0);
    CHECK_INT(mot_shard_commit(w), 0);
    free_document(&d);
    struct mot_batch b = {0};
    for (int64_t seq = 15; seq < 18; seq++) {
        struct mot_loader *l = mot_loader_open(paths, 1, &v, &(struct mot_loader_options){.batch = 3, .seq = seq});
        CHECK_INT(mot_loader_next(l, &b), seq < 17 ? MOT_EARG : 0);
        if (seq < 17)
            CHECK(strstr(mot_error(), "--seq 17"));
        else
            CHECK(b.n == 18 && b.n_pieces == 2 && b.piece[1] == 1 && b.n_pictures == 1 && b.picture[0].begin == 2);
        mot_loader_close(l);
    }
    mot_batch_free(&b);
}

/* Captions before, behind and on both sides of pictures. */
static void test_leads(void)
{
    static const struct {
        int32_t id[8];
        int n;
        bool leads[2];
    } x[] = {{{0, 2, 50, 3, 9, 1}, 6, {true}},     {{0, 9, 2, 50, 3, 1}, 6, {false}}, {{0, 2, 50, 3, 1}, 5, {false}},
             {{0, 9, 2, 50, 3, 8, 1}, 7, {false}}, {{50, 9}, 2, {true}},              {{50}, 1, {false}},
             {{2, 50, 3, 2, 50, 3, 9}, 7, {true, true}}, {{2, 50, 3, 9, 2, 50, 3, 1}, 8, {true, false}}};
    struct mot_vocab v = vocab();
    const char *paths[] = {file};
    for (int i = 0; i < MOT_COUNT(x); i++) {
        struct mot_shard_writer *w = mot_shard_create(file, &v);
        struct mot_latents l = {0};
        for (int k = 0; k < x[i].n; k++)
            if (x[i].id[k] == 50)
                CHECK_INT(mot_latents_append(&l, &(struct mot_grid){1, 1, WIDTH}, (uint16_t[WIDTH]){0}), 0);
        CHECK_INT(mot_shard_add_latents(w, x[i].id, x[i].n, &l, 0), 0);
        CHECK_INT(mot_shard_commit(w), 0);
        struct mot_loader *loader = mot_loader_open(paths, 1, &v, &(struct mot_loader_options){.batch = 1, .seq = 20});
        struct mot_batch b = {0};
        CHECK_INT(mot_loader_next(loader, &b), 0);
        CHECK_INT(b.n, x[i].n - (x[i].id[x[i].n - 1] != 50));
        CHECK_INT(b.n_pictures, l.n_grids);
        for (int64_t k = 0; k < b.n_pictures; k++)
            CHECK_INT(b.picture[k].leads, x[i].leads[k]);
        mot_batch_free(&b);
        mot_latents_free(&l);
        mot_loader_close(loader);
    }
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(file, sizeof file, "%s/a.mot", folder);
    snprintf(other, sizeof other, "%s/b.mot", folder);
    RUN(test_vocabulary);
    RUN(test_round_trip);
    RUN(test_size);
    RUN(test_refused_additions);
    RUN(test_malice);
    RUN(test_json_values);
    RUN(test_json);
    RUN(test_packing);
    RUN(test_seek);
    RUN(test_too_short);
    RUN(test_leads);
    unlink(file);
    unlink(other);
    rmdir(folder);
    return test_end();
}
