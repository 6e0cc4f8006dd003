/* SPDX-License-Identifier: MIT
 *
 * shard_write.c - writing streams of documents.  (shard.h)
 *
 * Documents share small frames, so that damage to one costs little.
 */
#include <zlib.h>

#include "shard.h"

/* Damage costs the documents of its frame, so frames are small: 2 KiB, a percent or two of heads.
 * Packed ones are larger, or zlib would find nothing. */
enum { FRAME_RAW = 1 << 11, FRAME_PACKED = 1 << 18 };

struct mot_shard_writer {
    struct mot_out *out;
    struct mot_vocab vocab;
    struct mot_bytes payload, packed;
    struct mot_shard_sums counts;
    uint32_t number; /* of the next frame */
    int64_t written; /* bytes of frames */
    bool compress;
    char *name;
    char *note; /* NULL: none */
};

/* The payload as zlib where that is asked for and smaller; NULL: store as it is. */
static const struct mot_bytes *pack(struct mot_shard_writer *w)
{
    uLongf n = compressBound(w->payload.n);
    w->packed.n = 0;
    if (!w->compress || mot_bytes_reserve(&w->packed, n) ||
        compress2(w->packed.data, &n, w->payload.data, w->payload.n, 6) != Z_OK ||
        n >= w->payload.n)
        return NULL;
    w->packed.n = n;
    return &w->packed;
}

static int write_frame(struct mot_shard_writer *w, const char *tag)
{
    const struct mot_bytes *packed = pack(w), *stored = packed ? packed : &w->payload;
    unsigned char head[HEAD];
    memcpy(head, tag, TAG);
    mot_put16(head + 8, VERSION);
    mot_put16(head + 10, packed ? FLAG_ZLIB : 0);
    mot_put32(head + 12, w->number++);
    mot_put32(head + 16, (uint32_t)stored->n);
    mot_put32(head + 20, (uint32_t)w->payload.n);
    mot_put32(head + 24, mot_crc32(0, stored->data, stored->n));
    mot_put32(head + 28, mot_crc32(0, head, 28));
    int rc = mot_out_write(w->out, head, HEAD);
    if (!rc)
        rc = mot_out_write(w->out, stored->data, stored->n);
    w->written += HEAD + (int64_t)stored->n;
    w->payload.n = 0;
    return rc;
}

struct mot_shard_writer *mot_shard_create(const char *path, const struct mot_vocab *v)
{
    struct mot_shard_writer *w = mot_alloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->vocab = *v;
    w->name = mot_strdup(strcmp(path, "-") == 0 ? "standard output" : path);
    w->out = w->name ? mot_out_open(path) : NULL;
    if (!w->out || mot_vocab_save_json(v, &w->payload) || mot_bytes_append(&w->payload, "\n", 1) ||
        write_frame(w, tag_header)) {
        mot_shard_abort(w);
        return NULL;
    }
    return w;
}

void mot_shard_compress(struct mot_shard_writer *w, bool on)
{
    w->compress = on;
}

static int append_u32(struct mot_bytes *b, uint32_t x)
{
    unsigned char p[4];
    mot_put32(p, x);
    return mot_bytes_append(b, p, sizeof p);
}

static int append_u64(struct mot_bytes *b, uint64_t x)
{
    unsigned char p[8];
    mot_put64(p, x);
    return mot_bytes_append(b, p, sizeof p);
}

/* One run of ids of modality m; the caller has checked them. */
static int put_segment(struct mot_bytes *b, int m, const int32_t *id, int64_t n)
{
    int32_t largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = id[i] > largest ? id[i] : largest;
    uint32_t kind = largest < 65536 ? KIND_U16 : KIND_U32;
    size_t width = kind == KIND_U16 ? 2 : 4;
    int rc = append_u32(b, kind | (uint32_t)m << 16);
    if (!rc)
        rc = append_u32(b, (uint32_t)n);
    if (!rc)
        rc = mot_bytes_reserve(b, (size_t)n * width);
    if (rc)
        return rc;
    unsigned char *p = b->data + b->n;
    if (kind == KIND_U16)
        for (int64_t i = 0; i < n; i++)
            mot_put16(p + 2 * i, (uint32_t)id[i]);
    else
        for (int64_t i = 0; i < n; i++)
            mot_put32(p + 4 * i, (uint32_t)id[i]);
    b->n += (size_t)n * width;
    return MOT_OK;
}

/* A picture of vectors of modality m. */
static int put_picture(struct mot_bytes *b, int m, const struct mot_grid *g, const uint16_t *value)
{
    size_t n = (size_t)mot_grid_values(g);
    const uint32_t head[] = {KIND_F16 | (uint32_t)m << 16, (uint32_t)mot_grid_tokens(g), (uint32_t)g->width, (uint32_t)g->rows,
                             (uint32_t)g->columns};
    int rc = mot_bytes_reserve(b, sizeof head + 2 * n);
    if (rc)
        return rc;
    unsigned char *p = b->data + b->n;
    for (int i = 0; i < MOT_COUNT(head); i++, p += 4)
        mot_put32(p, head[i]);
    for (size_t i = 0; i < n; i++)
        mot_put16(p + 2 * i, value[i]);
    b->n += sizeof head + 2 * n;
    return MOT_OK;
}

/* Are the pictures of l those that the document's tokens stand for? */
static int check_pictures(const struct mot_shard_writer *w, const int32_t *id, int64_t n, const struct mot_latents *l)
{
    int64_t grid = 0, value = 0;
    bool any = l->n_grids > 0;
    for (int m = 0; m < w->vocab.n_modalities; m++)
        any |= w->vocab.modality[m].width > 0;
    for (int64_t i = 0, end; any && i < n; i = end) {
        int m = mot_vocab_modality(&w->vocab, id[i]);
        int32_t width = w->vocab.modality[m].width;
        end = i + 1;
        if (!width)
            continue;
        const struct mot_grid *g = grid < l->n_grids ? &l->grid[grid++] : NULL;
        if (!g || !mot_grid_fits(g) || g->width != width || mot_grid_tokens(g) > n - i || mot_grid_values(g) > l->n - value)
            return mot_fail(MOT_EARG, "%s: token %lld of a document stands for a vector of %d values: there is no such picture",
                            w->name, (long long)i, width);
        for (end = i + mot_grid_tokens(g); i < end; i++)
            if (id[i] != w->vocab.modality[m].first)
                return mot_fail(MOT_EARG, "%s: token %lld of a document should belong to a picture of %d x %d vectors", w->name,
                                (long long)i, g->rows, g->columns);
        if (mot_any_not_finite(l->value + value, mot_grid_values(g)))
            return mot_fail(MOT_EARG, "%s: a picture's vectors have values that are no finite numbers", w->name);
        value += mot_grid_values(g);
    }
    if (grid < l->n_grids || value != l->n)
        return mot_fail(MOT_EARG, "%s: a document with %lld pictures of vectors has tokens for %lld", w->name,
                        (long long)l->n_grids, (long long)grid);
    return MOT_OK;
}

/* Append the document to the payload; *counts is brought up to date. */
static int put_document(struct mot_shard_writer *w, const int32_t *id, int64_t n, const struct mot_latents *l,
                        int64_t text_bytes, struct mot_shard_sums *counts)
{
    const struct mot_grid *grid = l->grid;
    const uint16_t *value = l->value;
    struct mot_bytes *b = &w->payload;
    size_t begin = b->n;
    uint32_t segments = 0;
    int rc = append_u64(b, (uint64_t)text_bytes);
    if (!rc)
        rc = append_u64(b, 0); /* segments and size, known below */
    for (int64_t i = 0, end; !rc && i < n; i = end) {
        int m = mot_vocab_modality(&w->vocab, id[i]);
        int32_t first = w->vocab.modality[m].first, last = first + (w->vocab.modality[m].n - 1);
        if (w->vocab.modality[m].width) {
            rc = put_picture(b, m, grid, value);
            end = i + mot_grid_tokens(grid);
            value += mot_grid_values(grid++);
        } else {
            for (end = i + 1; end < n && id[end] >= first && id[end] <= last; end++)
                ;
            rc = put_segment(b, m, id + i, end - i);
        }
        counts->tokens[m] += end - i;
        segments++;
    }
    if (rc)
        return rc;
    size_t size = b->n - begin - DOC_HEAD;
    if (size > FRAME_LIMIT - DOC_HEAD)
        return mot_fail(MOT_EARG, "%s: document of %lld tokens: a document takes at most 1 GiB",
                        w->name, (long long)n);
    mot_put32(b->data + begin + 8, segments);
    mot_put32(b->data + begin + 12, (uint32_t)size);
    counts->documents++;
    counts->text_bytes += text_bytes;
    return MOT_OK;
}

static size_t frame_target(const struct mot_shard_writer *w)
{
    return w->compress ? FRAME_PACKED : FRAME_RAW;
}

int mot_shard_add(struct mot_shard_writer *w, const int32_t *id, int64_t n, int64_t text_bytes)
{
    return mot_shard_add_latents(w, id, n, &(struct mot_latents){0}, text_bytes);
}

int mot_shard_add_latents(struct mot_shard_writer *w, const int32_t *id, int64_t n, const struct mot_latents *l,
                          int64_t text_bytes)
{
    if (n < 0 || text_bytes < 0 || text_bytes > INT64_MAX - w->counts.text_bytes)
        return mot_fail(MOT_EARG, "%s: a document of %lld tokens and %lld bytes makes no sense",
                        w->name, (long long)n, (long long)text_bytes);
    if ((uint64_t)n > FRAME_LIMIT / 2 || (uint64_t)l->n > FRAME_LIMIT / 2)
        return mot_fail(MOT_EARG, "%s: document of %lld tokens: a document takes at most 1 GiB",
                        w->name, (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= w->vocab.size)
            return mot_fail(MOT_EARG,
                            "%s: token %lld of a document is id %d, the vocabulary has 0..%d",
                            w->name, (long long)i, id[i], w->vocab.size - 1);
    int rc = check_pictures(w, id, n, l);
    /* A large document gets a frame of its own, so that only its own size limits it. */
    if (!rc && w->payload.n && (size_t)(n + 2 * l->n) >= frame_target(w))
        rc = write_frame(w, tag_docs);
    if (rc)
        return rc;
    size_t before = w->payload.n;
    struct mot_shard_sums counts = w->counts;
    rc = put_document(w, id, n, l, text_bytes, &counts);
    if (rc) {
        w->payload.n = before;
        return rc == MOT_ENOMEM ? mot_fail(rc, "%s: document of %lld tokens: %s", w->name, (long long)n, mot_error()) : rc;
    }
    w->counts = counts;
    return w->payload.n >= frame_target(w) ? write_frame(w, tag_docs) : MOT_OK;
}

/* Bytes of a document's segments. */
static int64_t size_of(const struct mot_vocab *v, const int32_t *id, int64_t n, const struct mot_latents *l)
{
    int64_t size = l->n_grids * (SEGMENT_HEAD + GRID) + 2 * l->n;
    for (int64_t i = 0, end; i < n; i = end) {
        int m = mot_vocab_modality(v, id[i]);
        int32_t largest = 0;
        for (end = i; end < n && mot_vocab_modality(v, id[end]) == m; end++)
            largest = id[end] > largest ? id[end] : largest;
        if (!v->modality[m].width)
            size += SEGMENT_HEAD + (end - i) * (largest < 65536 ? 2 : 4);
    }
    return size;
}

bool mot_shard_fits(const struct mot_vocab *v, const int32_t *id, int64_t n, const struct mot_latents *l)
{
    const int64_t limit = (int64_t)FRAME_LIMIT - DOC_HEAD;
    return (l->n == 0 && n <= limit / (SEGMENT_HEAD + 4)) || size_of(v, id, n, l) <= limit;
}

int64_t mot_shard_size_with(const struct mot_shard_writer *w, const int32_t *id, int64_t n, const struct mot_latents *l)
{
    int64_t size = w->written + (int64_t)w->payload.n + DOC_HEAD + 3 * HEAD + 16 + 8 * w->vocab.n_modalities;
    return size + size_of(&w->vocab, id, n, l) + (w->note ? (int64_t)strlen(w->note) : 0);
}

int mot_shard_set_note(struct mot_shard_writer *w, const char *note)
{
    mot_free(w->note);
    w->note = mot_strdup(note);
    return w->note ? MOT_OK : MOT_ENOMEM;
}

int mot_shard_commit(struct mot_shard_writer *w)
{
    int rc = w->payload.n ? write_frame(w, tag_docs) : MOT_OK;
    if (!rc)
        rc = append_u64(&w->payload, (uint64_t)w->counts.documents);
    if (!rc)
        rc = append_u64(&w->payload, (uint64_t)w->counts.text_bytes);
    for (int m = 0; !rc && m < w->vocab.n_modalities; m++)
        rc = append_u64(&w->payload, (uint64_t)w->counts.tokens[m]);
    if (!rc && w->note)
        rc = mot_bytes_append(&w->payload, w->note, strlen(w->note));
    if (!rc)
        rc = write_frame(w, tag_end);
    if (!rc) {
        rc = mot_out_commit(w->out);
        w->out = NULL;
    }
    mot_shard_abort(w);
    return rc;
}

void mot_shard_abort(struct mot_shard_writer *w)
{
    if (!w)
        return;
    mot_out_abort(w->out);
    mot_bytes_free(&w->payload);
    mot_bytes_free(&w->packed);
    mot_free(w->name);
    mot_free(w->note);
    mot_free(w);
}
