/* SPDX-License-Identifier: MIT
 *
 * shard.c - reading streams of documents.  (shard.h)
 *
 * Nothing is served that both CRCs, the frame's number and the rules of documents do not vouch for.
 * The CRC of the frame's head makes its lengths trustworthy before they are used; against malice,
 * which can compute CRCs, lengths are limited and buffers grow only with the bytes that arrive.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include "shard.h"

enum { INPUT = 1 << 17 };

struct head {
    const char *tag; /* one of the three above */
    bool zlib;
    uint32_t number, stored, size, crc;
};

struct mot_shard {
    char *name;
    int fd;
    bool keep_going, ended;
    int status;   /* the first failure, repeated by later calls */
    char *damage; /* its sentence */
    struct mot_vocab vocab;
    int64_t offset;       /* bytes taken */
    int64_t frame_offset; /* where the present frame begins */
    uint32_t number;      /* of the next frame of this stream */
    bool in_stream;       /* a header has been read, its end frame not yet */
    struct mot_bytes stored, unpacked;
    const struct mot_bytes *payload; /* of the present document frame: one of these */
    size_t at;                       /* the next document in it */
    struct mot_shard_sums stream;            /* served since the header */
    struct mot_bytes note;           /* of the last end frame, with a zero byte */
    int64_t documents, tokens;       /* served in all, for messages */
    struct mot_doc doc;
    struct mot_ids ids;
    int64_t span_capacity, latent_capacity;
    size_t input_at, input_n; /* what of the input buffer has not been taken yet */
    unsigned char input[INPUT];
};

/* Read up to n bytes to the end of s->stored, less only at the end of the file. */
static int read_some(struct mot_shard *s, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        if (s->input_at == s->input_n) {
            ssize_t r = read(s->fd, s->input, INPUT);
            if (r < 0 && errno == EINTR)
                continue;
            if (r < 0)
                return mot_fail(MOT_EIO, "%s: cannot read: %s", s->name, strerror(errno));
            if (r == 0)
                break;
            s->input_at = 0;
            s->input_n = (size_t)r;
        }
        size_t left = s->input_n - s->input_at, piece = n - *got < left ? n - *got : left;
        int rc = mot_bytes_append(&s->stored, s->input + s->input_at, piece);
        if (rc)
            return rc;
        s->input_at += piece;
        s->offset += (int64_t)piece;
        *got += piece;
    }
    return MOT_OK;
}

/* Damage: what is wrong with the present frame, where, and what was whole. */
static int damaged(const struct mot_shard *s, int code, const char *what)
{
    return mot_fail(
        code, "%s: %s at byte %lld; the %lld documents (%lld tokens) before it are whole%s",
        s->name, what, (long long)s->frame_offset, (long long)s->documents, (long long)s->tokens,
        s->documents && !s->keep_going ? ": mot-tokenize --dump --keep-going has them" : "");
}

/* The very first bytes are not ours. */
static int foreign(const struct mot_shard *s, const unsigned char *p, size_t n)
{
    char text[4 * TAG + 1] = "";
    for (size_t i = 0; i < n && i < TAG; i++)
        if (p[i] >= 0x20 && p[i] < 0x7f)
            snprintf(text + strlen(text), 5, "%c", p[i]);
        else
            snprintf(text + strlen(text), 5, "\\x%02x", p[i]);
    if (n == 0)
        return mot_fail(MOT_EFORMAT, "%s: empty, expected a shard of tokens", s->name);
    return mot_fail(MOT_EFORMAT, "%s: not a shard: begins with \"%s\", expected \"MOTSHRD\"",
                    s->name, text);
}

/* Read and check a frame's head; *end at the clean end of the file. */
static int read_head(struct mot_shard *s, struct head *h, bool *end)
{
    size_t n;
    bool first = s->offset == 0;
    s->frame_offset = s->offset;
    s->stored.n = 0;
    int rc = read_some(s, HEAD, &n);
    if (rc)
        return rc;
    const unsigned char *p = s->stored.data;
    if (first && (n < TAG || memcmp(p, tag_header, TAG) != 0))
        return foreign(s, p, n);
    *end = n == 0 && !s->in_stream;
    if (*end)
        return MOT_OK;
    if (n == 0)
        return damaged(s, MOT_ECORRUPT, "truncated: there is no end frame");
    if (n < HEAD)
        return damaged(s, MOT_ECORRUPT, "truncated in the frame");
    if (mot_get32(p + 28) != mot_crc32(0, p, 28))
        return damaged(s, MOT_ECORRUPT, "damaged: no valid frame");
    if (mot_get16(p + 8) != VERSION)
        return mot_fail(MOT_EVERSION, "%s: shard format version %u, this program reads %d", s->name,
                        mot_get16(p + 8), VERSION);
    static const char *const tags[] = {tag_header, tag_docs, tag_end};
    *h = (struct head){.zlib = mot_get16(p + 10) & FLAG_ZLIB,
                       .number = mot_get32(p + 12),
                       .stored = mot_get32(p + 16),
                       .size = mot_get32(p + 20),
                       .crc = mot_get32(p + 24)};
    for (int i = 0; i < MOT_COUNT(tags); i++)
        if (memcmp(p, tags[i], TAG) == 0)
            h->tag = tags[i];
    if (!h->tag || mot_get16(p + 10) & ~(uint32_t)FLAG_ZLIB)
        return damaged(s, MOT_EVERSION, "unknown kind of frame, perhaps of a newer program,");
    /* zlib packs at most 1032 to 1: a larger promise is a lie. */
    if (h->stored > FRAME_LIMIT || h->size > FRAME_LIMIT || (!h->zlib && h->size != h->stored) ||
        (h->zlib && h->size / 1040 > h->stored))
        return damaged(s, MOT_ECORRUPT, "impossible size in the frame");
    if (h->number != s->number || (h->tag == tag_header) == s->in_stream)
        return damaged(s, MOT_ECORRUPT,
                       s->in_stream && h->tag == tag_header
                           ? "truncated: there is no end frame before the next header"
                           : "a frame is missing or out of order");
    s->number++;
    return MOT_OK;
}

static int unpack(struct mot_shard *s, const struct head *h)
{
    s->payload = &s->stored;
    if (!h->zlib)
        return MOT_OK;
    s->unpacked.n = 0;
    int rc = mot_bytes_reserve(&s->unpacked, h->size);
    if (rc)
        return rc;
    uLongf n = h->size;
    uLong used = s->stored.n;
    if (uncompress2(s->unpacked.data, &n, s->stored.data, &used) != Z_OK || n != h->size ||
        used != s->stored.n)
        return damaged(s, MOT_ECORRUPT, "cannot unpack the frame");
    s->unpacked.n = n;
    s->payload = &s->unpacked;
    return MOT_OK;
}

static int read_frame(struct mot_shard *s, struct head *h, bool *end)
{
    size_t n;
    int rc = read_head(s, h, end);
    if (rc || *end)
        return rc;
    s->stored.n = 0;
    rc = read_some(s, h->stored, &n);
    if (rc)
        return rc;
    if (n < h->stored)
        return damaged(s, MOT_ECORRUPT, "truncated in the frame");
    if (mot_crc32(0, s->stored.data, n) != h->crc)
        return damaged(s, MOT_ECORRUPT, "damaged: wrong checksum of the frame");
    return unpack(s, h);
}

static bool same_ids(const struct mot_vocab *a, const struct mot_vocab *b)
{
    bool same = a->n_modalities == b->n_modalities && a->size == b->size;
    for (int m = 0; same && m < a->n_modalities; m++)
        same = strcmp(a->modality[m].name, b->modality[m].name) == 0 &&
               a->modality[m].first == b->modality[m].first && a->modality[m].n == b->modality[m].n &&
               a->modality[m].width == b->modality[m].width && a->modality[m].patch == b->modality[m].patch;
    return same;
}

/* Take the vocabulary from the payload of a header frame; it must be the expected one, if any. */
static int read_vocab(struct mot_shard *s, const struct mot_vocab *expect)
{
    struct mot_vocab v;
    char *name = mot_format("%s: vocabulary at byte %lld", s->name, (long long)s->frame_offset);
    if (!name)
        return MOT_ENOMEM;
    int rc = mot_vocab_parse_json(&v, name, s->payload->data, s->payload->n);
    mot_free(name);
    if (rc)
        return rc;
    if (expect && strcmp(v.digest, expect->digest) == 0 && !same_ids(&v, expect))
        return mot_fail(MOT_EARG, "%s: its modalities are not those of the vocabulary that has the same digest, %s: that "
                                  "vocab.json was changed since it was made", s->name, v.digest);
    if (expect && strcmp(v.digest, expect->digest) != 0)
        return mot_fail(
            MOT_EARG,
            "%s: its vocabulary is %s, expected %s: tokenise again with the folder of the "
            "expected one, or use the folder that made this shard",
            s->name, v.digest, expect->digest);
    s->vocab = v;
    s->in_stream = true;
    s->stream = (struct mot_shard_sums){0};
    return MOT_OK;
}

static int read_end(struct mot_shard *s)
{
    const unsigned char *p = s->payload->data;
    struct mot_shard_sums c = {0};
    size_t counts = 16 + 8 * (size_t)s->vocab.n_modalities;
    if (s->payload->n < counts)
        return damaged(s, MOT_ECORRUPT, "end frame of a wrong size");
    c.documents = (int64_t)mot_get64(p);
    c.text_bytes = (int64_t)mot_get64(p + 8);
    for (int m = 0; m < s->vocab.n_modalities; m++)
        c.tokens[m] = (int64_t)mot_get64(p + 16 + 8 * m);
    if (memcmp(&c, &s->stream, sizeof c) != 0)
        return damaged(s, MOT_ECORRUPT,
                       "the counts of the end frame are not those of the documents");
    s->note.n = 0;
    int rc = mot_bytes_append(&s->note, p + counts, s->payload->n - counts);
    if (!rc)
        rc = mot_bytes_append(&s->note, "", 1);
    s->in_stream = false;
    s->number = 0;
    return rc;
}

static int bad_document(const struct mot_shard *s, int code, const char *what)
{
    char text[128];
    snprintf(text, sizeof text, "document %lld: %s, in the frame", (long long)s->documents, what);
    return damaged(s, code, text);
}

/* Room for n more ids. */
static int reserve_ids(struct mot_ids *a, int64_t n)
{
    if (n > a->capacity - a->n) {
        int64_t capacity = a->n + n > 2 * a->capacity ? a->n + n : 2 * a->capacity;
        int32_t *id = mot_realloc(a->id, (size_t)capacity, sizeof *id);
        if (!id)
            return MOT_ENOMEM;
        a->id = id;
        a->capacity = capacity;
    }
    return MOT_OK;
}

/* Ids of a segment to the end of s->ids, each within its modality's range. */
static int read_ids(struct mot_shard *s, const unsigned char *p, uint32_t kind, int m, int64_t n)
{
    struct mot_ids *a = &s->ids;
    int rc = reserve_ids(a, n);
    if (rc)
        return rc;
    int32_t *id = a->id + a->n;
    if (kind == KIND_U16)
        for (int64_t i = 0; i < n; i++)
            id[i] = (int32_t)mot_get16(p + 2 * i);
    else
        for (int64_t i = 0; i < n; i++)
            id[i] = (int32_t)mot_get32(p + 4 * i);
    uint32_t first = (uint32_t)s->vocab.modality[m].first, outside = 0;
    uint32_t size = (uint32_t)s->vocab.modality[m].n;
    for (int64_t i = 0; i < n; i++)
        outside |= (uint32_t)id[i] - first >= size;
    if (outside)
        return bad_document(s, MOT_ECORRUPT, "an id outside its modality");
    a->n += n;
    return MOT_OK;
}

/* The last n ids; g: of a picture of vectors, or no such: all zero. */
static int add_span(struct mot_shard *s, int m, int64_t n, const struct mot_grid *g)
{
    struct mot_doc *d = &s->doc;
    struct mot_span *last = d->n_spans ? &d->span[d->n_spans - 1] : NULL;
    if (last && last->modality == m && !g->rows) { /* runs are maximal, however they were written */
        last->n += n;
        return MOT_OK;
    }
    int rc = mot_grow((void **)&d->span, d->n_spans, &s->span_capacity, sizeof *d->span);
    if (!rc)
        d->span[d->n_spans++] = (struct mot_span){m, s->ids.n - n, n, g->rows, g->columns};
    return rc;
}

/* The vectors of a picture, of which there are as many in the payload as its head says: to the end of the document's, and
 * the token of each to the end of s->ids. */
static int read_vectors(struct mot_shard *s, const unsigned char *p, int m, const struct mot_grid *g)
{
    struct mot_doc *d = &s->doc;
    int64_t n = mot_grid_values(g), tokens = mot_grid_tokens(g), begin = d->n_latent;
    int rc = mot_values_append(&d->latent, &d->n_latent, &s->latent_capacity, NULL, n);
    if (!rc)
        rc = reserve_ids(&s->ids, tokens);
    if (rc)
        return rc;
    for (int64_t i = 0; i < n; i++)
        d->latent[begin + i] = (uint16_t)mot_get16(p + 2 * i);
    for (int64_t i = 0; i < tokens; i++)
        s->ids.id[s->ids.n++] = s->vocab.modality[m].first;
    if (mot_any_not_finite(d->latent + begin, n))
        return bad_document(s, MOT_ECORRUPT, "a picture with values that are no finite numbers");
    return add_span(s, m, tokens, g);
}

/* A segment's n tokens as ids, or as vectors; *bytes: how many they take behind p, of `left` that are there. */
static int read_tokens(struct mot_shard *s, const unsigned char *p, size_t left, uint32_t kind, int m, uint32_t n, size_t *bytes)
{
    int32_t width = s->vocab.modality[m].width;
    if ((kind == KIND_F16) != (width > 0))
        return bad_document(s, MOT_ECORRUPT, width ? "ids where vectors belong" : "vectors where ids belong");
    if (kind != KIND_F16) {
        *bytes = (size_t)n * (kind == KIND_U16 ? 2 : 4);
        if (*bytes > left)
            return bad_document(s, MOT_ECORRUPT, "its segments do not fit it");
        int rc = read_ids(s, p, kind, m, n);
        return rc ? rc : add_span(s, m, n, &(struct mot_grid){0});
    }
    if (left < GRID)
        return bad_document(s, MOT_ECORRUPT, "its segments do not fit it");
    uint32_t rows = mot_get32(p + 4), columns = mot_get32(p + 8);
    if (mot_get32(p) != (uint32_t)width)
        return bad_document(s, MOT_ECORRUPT, "vectors of another width than the vocabulary's");
    if (rows == 0 || rows > INT32_MAX || columns == 0 || columns > INT32_MAX || (uint64_t)rows * columns != n)
        return bad_document(s, MOT_ECORRUPT, "a picture whose rows and columns are not its tokens");
    if (n > (left - GRID) / 2 / (size_t)width)
        return bad_document(s, MOT_ECORRUPT, "its segments do not fit it");
    const struct mot_grid g = {(int32_t)rows, (int32_t)columns, width};
    *bytes = GRID + 2 * (size_t)mot_grid_values(&g);
    return read_vectors(s, p + GRID, m, &g);
}

/* The segments in [p, p + size) fill it exactly. */
static int read_segments(struct mot_shard *s, const unsigned char *p, size_t size,
                         uint32_t segments)
{
    const unsigned char *end = p + size;
    for (uint32_t i = 0; i < segments; i++) {
        if (end - p < SEGMENT_HEAD)
            return bad_document(s, MOT_ECORRUPT, "its segments do not fit it");
        uint32_t kind = mot_get16(p), m = mot_get16(p + 2), n = mot_get32(p + 4);
        p += SEGMENT_HEAD;
        if (kind > KIND_F16)
            return bad_document(s, MOT_EVERSION, "a kind of segment that only newer programs know");
        if (n == 0 || m >= (uint32_t)s->vocab.n_modalities)
            return bad_document(s, MOT_ECORRUPT, "its segments do not fit it");
        size_t bytes = 0;
        int rc = read_tokens(s, p, (size_t)(end - p), kind, (int)m, n, &bytes);
        if (rc)
            return rc;
        p += bytes;
    }
    return p == end ? MOT_OK : bad_document(s, MOT_ECORRUPT, "its segments do not fill it");
}

static int read_document(struct mot_shard *s)
{
    const unsigned char *p = s->payload->data + s->at;
    size_t left = s->payload->n - s->at;
    if (left < DOC_HEAD || mot_get32(p + 12) > left - DOC_HEAD)
        return bad_document(s, MOT_ECORRUPT, "it ends beyond its frame");
    uint64_t text_bytes = mot_get64(p);
    if (text_bytes > (uint64_t)(INT64_MAX - s->stream.text_bytes))
        return bad_document(s, MOT_ECORRUPT, "impossible bytes of text");
    struct mot_doc *d = &s->doc;
    s->ids.n = 0;
    d->n_spans = 0;
    d->n_latent = 0;
    int rc = read_segments(s, p + DOC_HEAD, mot_get32(p + 12), mot_get32(p + 8));
    if (rc)
        return rc;
    s->at += DOC_HEAD + mot_get32(p + 12);
    d->text_bytes = (int64_t)text_bytes;
    d->id = s->ids.id;
    d->n = s->ids.n;
    for (int i = 0; i < d->n_spans; i++)
        s->stream.tokens[d->span[i].modality] += d->span[i].n;
    s->stream.text_bytes += d->text_bytes;
    s->stream.documents++;
    s->documents++;
    s->tokens += d->n;
    return MOT_OK;
}

/* Read frames until there is a document in s->payload; *end when there are no more. */
static int read_to_document(struct mot_shard *s, bool *end)
{
    *end = false;
    while (!s->payload || s->at >= s->payload->n) {
        struct head h;
        s->payload = NULL;
        int rc = read_frame(s, &h, end);
        if (rc || *end)
            return rc;
        s->at = 0;
        if (h.tag == tag_docs)
            continue;
        const struct mot_vocab expect = s->vocab;
        rc = h.tag == tag_end ? read_end(s) : read_vocab(s, &expect);
        if (rc)
            return rc;
        s->payload = NULL;
    }
    return MOT_OK;
}

int mot_shard_next(struct mot_shard *s, const struct mot_doc **d)
{
    *d = NULL;
    if (s->status)
        return mot_fail(s->status, "%s", s->damage ? s->damage : s->name);
    bool end = s->ended;
    int rc = end ? MOT_OK : read_to_document(s, &end);
    if (!rc && !end)
        rc = read_document(s);
    if (rc) {
        s->damage = mot_strdup(mot_error());
        if (!s->keep_going || (rc != MOT_ECORRUPT && rc != MOT_EVERSION))
            return s->status = rc;
        end = true;
    }
    s->ended = end;
    if (!end)
        *d = &s->doc;
    return MOT_OK;
}

struct mot_shard *mot_shard_open(const char *path, const struct mot_vocab *expect, bool keep_going)
{
    struct mot_shard *s = mot_alloc(1, sizeof *s);
    if (!s)
        return NULL;
    bool is_stdin = strcmp(path, "-") == 0, end = false;
    struct head h;
    s->keep_going = keep_going;
    s->fd = is_stdin ? STDIN_FILENO : -1;
    s->name = mot_strdup(is_stdin ? "standard input" : path);
    if (!s->name)
        goto fail;
    if (!is_stdin)
        s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) {
        mot_fail(MOT_EIO, "%s: cannot open: %s", path, strerror(errno));
        goto fail;
    }
    if (read_frame(s, &h, &end) || read_vocab(s, expect))
        goto fail;
    s->payload = NULL;
    return s;
fail:
    mot_shard_close(s);
    return NULL;
}

const struct mot_vocab *mot_shard_vocab(const struct mot_shard *s)
{
    return &s->vocab;
}

const char *mot_shard_note(const struct mot_shard *s)
{
    return s->note.n ? (const char *)s->note.data : "";
}

const char *mot_shard_damage(const struct mot_shard *s)
{
    return s->keep_going ? s->damage : NULL;
}

void mot_shard_close(struct mot_shard *s)
{
    if (!s)
        return;
    if (s->fd > STDERR_FILENO)
        close(s->fd);
    mot_bytes_free(&s->stored);
    mot_bytes_free(&s->unpacked);
    mot_bytes_free(&s->note);
    mot_ids_free(&s->ids);
    mot_free(s->doc.span);
    mot_free(s->doc.latent);
    mot_free(s->damage);
    mot_free(s->name);
    mot_free(s);
}

int mot_shard_count(const char *path, const struct mot_vocab *expect, struct mot_shard_counts *c)
{
    *c = (struct mot_shard_counts){0};
    struct mot_shard *s = mot_shard_open(path, expect, false);
    if (!s)
        return MOT_EFORMAT;
    const struct mot_doc *d;
    int rc;
    while (!(rc = mot_shard_next(s, &d)) && d) {
        c->documents++;
        c->tokens += d->n;
        c->text_bytes += d->text_bytes;
        for (int i = 0; i < d->n_spans; i++)
            c->by_modality[d->span[i].modality] += d->span[i].n;
    }
    mot_shard_close(s);
    return rc;
}
