/* SPDX-License-Identifier: MIT
 *
 * tokens.c - files of tokens that other programs wrote, as records of ids.
 *
 *   llm.c     NAME.bin: 256 words of 4 bytes, of which the first three are magic, version and number of tokens, then the
 *             tokens: 2 bytes each (magic 20240520, version 1) or 4 (20240801, version 7).  Documents follow each other,
 *             each begun by a separator; the first may lack it, as files are cut anywhere.
 *   Megatron  NAME.idx: "MMIDIDX\0\0", version 1 (8 bytes), type of tokens (1 byte), numbers of sequences and of document
 *             marks (8 each); for each sequence its length (4), then its place in NAME.bin (8); the marks (8): the first
 *             sequence of each document, and the end; perhaps a byte a sequence.  NAME.bin: the tokens.
 *
 * All is little-endian.  Every number is checked against the files' sizes before it is used.  The files are read by pieces,
 * nothing is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

enum { LLMC_HEAD = 1024, LLMC_U16 = 20240520, LLMC_U32 = 20240801, LLMC_EVAL = 20240522 };
enum { MEGATRON_HEAD = 34, WINDOW = 1 << 16 };
enum { LENGTHS, PLACES, MARKS, IDX_PARTS };
static const int64_t most_ids = (int64_t)(MOT_RECORD_LIMIT / sizeof(int32_t)); /* of a document */

/* A file through a window that moves along it. */
struct window {
    char *path;
    int fd;
    int64_t size, begin, n;
    unsigned char data[WINDOW];
};

struct mot_tokens {
    const struct mot_vocab *vocab;
    struct window bin, idx[IDX_PARTS]; /* one for each part of the index that is read along */
    int width;            /* bytes of a token */
    bool is_signed;
    int64_t at, documents; /* llm.c: the next token; Megatron: the next document; documents served or failed */
    int32_t separator;
    int64_t tokens; /* llm.c: in the file */
    int64_t sequences, marks;
};

static int open_window(struct window *w, char *path)
{
    struct stat st;
    w->path = path;
    w->fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (!path)
        return MOT_ENOMEM;
    if (w->fd < 0 || fstat(w->fd, &st) != 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return mot_fail(MOT_EIO, "%s: files of tokens are read from disk, not from a pipe", path);
    w->size = st.st_size;
    return MOT_OK;
}

/* n bytes, at most 8, at an offset below the size; NULL after a failure. */
static const unsigned char *look(struct window *w, int64_t at, int64_t n)
{
    if (at >= w->begin && at + n <= w->begin + w->n)
        return w->data + (at - w->begin);
    ssize_t r = 0;
    for (w->begin = at, w->n = 0; w->n < n; w->n += r) {
        r = pread(w->fd, w->data + w->n, (size_t)(WINDOW - w->n), at + w->n);
        if (r < 0 && errno == EINTR)
            r = 0;
        else if (r <= 0) {
            mot_fail(MOT_EIO, "%s: cannot read: %s", w->path, r ? strerror(errno) : "it has become shorter");
            return NULL;
        }
    }
    return w->data;
}

/* ---- llm.c ---- */

/* The id that begins documents: GPT-2's end of text, Llama 3's begin of text. */
static int choose_separator(struct mot_tokens *t, int32_t asked)
{
    const struct mot_vocab *v = t->vocab;
    int32_t first = t->width == 2 ? v->eos : v->bos, second = t->width == 2 ? v->bos : v->eos;
    t->separator = asked >= 0 ? asked : first >= 0 ? first : second;
    if (t->separator < 0 || t->separator >= v->size)
        return mot_fail(MOT_EARG, "%s: which id begins its documents? The tokenizer does not say: give --separator ID, below %d",
                        t->bin.path, v->size);
    return MOT_OK;
}

static int open_llmc(struct mot_tokens *t, int32_t separator)
{
    const char *path = t->bin.path;
    const unsigned char *p = t->bin.size >= LLMC_HEAD ? look(&t->bin, 0, 12) : NULL;
    if (!p)
        return mot_fail(MOT_EFORMAT, "%s: %lld bytes: neither a file of llm.c nor, without its .idx, one of Megatron", path,
                        (long long)t->bin.size);
    uint32_t magic = mot_get32(p), version = mot_get32(p + 4), tokens = mot_get32(p + 8);
    if (magic == LLMC_EVAL)
        return mot_fail(MOT_EFORMAT, "%s: an evaluation file of llm.c (questions with answers), which holds no documents", path);
    if (magic != LLMC_U16 && magic != LLMC_U32)
        return mot_fail(MOT_EFORMAT,
                        "%s: magic %u: neither a file of llm.c (%d, %d) nor, without its .idx, one of Megatron", path, magic,
                        LLMC_U16, LLMC_U32);
    if (version != (magic == LLMC_U16 ? 1 : 7))
        return mot_fail(MOT_EVERSION, "%s: a file of llm.c of version %u, expected %d", path, version, magic == LLMC_U16 ? 1 : 7);
    t->width = magic == LLMC_U16 ? 2 : 4;
    t->tokens = tokens;
    int64_t there = t->bin.size - LLMC_HEAD, expected = t->tokens * t->width;
    if (there != expected)
        return mot_fail(MOT_ECORRUPT, "%s: %s: its header says %u tokens of %d bytes, it has %lld bytes of them", path,
                        there < expected ? "truncated" : "damaged", tokens, t->width, (long long)there);
    return choose_separator(t, separator);
}

/* ---- Megatron ---- */

static int open_megatron(struct mot_tokens *t)
{
    static const struct {
        int width; /* 0: not ids */
        bool is_signed;
    } types[] = {{0, 0}, {1, 0}, {1, 1}, {2, 1}, {4, 1}, {8, 1}, {0, 0}, {0, 0}, {2, 0}};
    const char *path = t->idx[0].path;
    unsigned char head[MEGATRON_HEAD] = {0};
    for (int i = 0; i < MEGATRON_HEAD && i < t->idx[0].size; i++) {
        const unsigned char *p = look(&t->idx[LENGTHS], i, 1);
        if (!p)
            return MOT_EIO;
        head[i] = *p;
    }
    if (memcmp(head, "TNTIDX\0\0", 8) == 0)
        return mot_fail(MOT_EVERSION, "%s: an index of fairseq's older kind (TNTIDX); Megatron's tools make new ones (MMIDIDX)", path);
    if (t->idx[0].size < MEGATRON_HEAD || memcmp(head, "MMIDIDX\0\0", 9) != 0)
        return mot_fail(MOT_EFORMAT, "%s: not an index of Megatron: it does not begin with MMIDIDX", path);
    if (mot_get64(head + 9) != 1)
        return mot_fail(MOT_EVERSION, "%s: an index of Megatron of version %llu, expected 1", path,
                        (unsigned long long)mot_get64(head + 9));
    int code = head[17];
    if (code >= MOT_COUNT(types) || types[code].width == 0)
        return mot_fail(MOT_EFORMAT, "%s: its tokens are of type %d, which is none of whole numbers", path, code);
    t->width = types[code].width;
    t->is_signed = types[code].is_signed;
    uint64_t sequences = mot_get64(head + 18), marks = mot_get64(head + 26), size = (uint64_t)t->idx[0].size - MEGATRON_HEAD;
    if (sequences > size / 12 || marks > size / 8 || 12 * sequences + 8 * marks > size ||
        (12 * sequences + 8 * marks != size && 13 * sequences + 8 * marks != size))
        return mot_fail(MOT_ECORRUPT, "%s: truncated or damaged: %llu sequences and %llu marks of documents in %llu bytes", path,
                        (unsigned long long)sequences, (unsigned long long)marks, (unsigned long long)t->idx[0].size);
    t->sequences = (int64_t)sequences;
    t->marks = (int64_t)marks;
    return MOT_OK;
}

/* ---- both ---- */

static char *with_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path);
    bool known = n > 4 && (strcasecmp(path + n - 4, ".bin") == 0 || strcasecmp(path + n - 4, ".idx") == 0);
    return mot_format("%.*s%s", (int)(known ? n - 4 : n), path, suffix);
}

struct mot_tokens *mot_tokens_open(const char *path, const struct mot_vocab *v, int32_t separator)
{
    struct mot_tokens *t = mot_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->vocab = v;
    t->bin.fd = t->idx[0].fd = -1;
    int rc = v ? MOT_OK : mot_fail(MOT_EARG, "%s: tokens already, which have their meaning from a tokenizer", path);
    if (!rc && strcmp(path, "-") == 0)
        rc = mot_fail(MOT_EARG, "standard input: files of tokens are read from disk, not from a pipe");
    char *index = rc ? NULL : with_suffix(path, ".idx");
    bool megatron = index && mot_file_exists(index);
    if (!rc && !index)
        rc = MOT_ENOMEM;
    if (!rc)
        rc = open_window(&t->bin, megatron ? with_suffix(path, ".bin") : mot_strdup(path));
    if (!rc && megatron) {
        rc = open_window(&t->idx[0], index);
        index = NULL;
        t->idx[PLACES] = t->idx[MARKS] = t->idx[LENGTHS];
    }
    mot_free(index);
    if (!rc)
        rc = megatron ? open_megatron(t) : open_llmc(t, separator);
    if (!rc)
        return t;
    mot_tokens_close(t);
    return NULL;
}

static int read_token(struct mot_tokens *t, int64_t place, int64_t *x)
{
    const unsigned char *p = look(&t->bin, place, t->width);
    if (!p)
        return MOT_EIO;
    switch (t->width) {
    case 1: *x = t->is_signed ? (int8_t)*p : *p; break;
    case 2: *x = t->is_signed ? (int16_t)mot_get16(p) : (int64_t)mot_get16(p); break;
    case 4: *x = t->is_signed ? (int32_t)mot_get32(p) : (int64_t)mot_get32(p); break;
    default: *x = (int64_t)mot_get64(p);
    }
    return MOT_OK;
}

static int keep_token(const struct mot_tokens *t, struct mot_bytes *ids, int64_t place, int64_t x)
{
    if (x < 0 || x >= t->vocab->size)
        return mot_fail(MOT_EARG, "%s: document %lld: id %lld at byte %lld, the vocabulary has 0..%d: of another tokenizer?",
                        t->bin.path, (long long)t->documents, (long long)x, (long long)place, t->vocab->size - 1);
    int32_t id = (int32_t)x;
    return mot_bytes_append(ids, &id, sizeof id);
}

static int too_long(const struct mot_tokens *t)
{
    return mot_fail(MOT_EFORMAT, "%s: document %lld: more than %lld tokens", t->bin.path, (long long)t->documents,
                    (long long)most_ids);
}

/* From one separator to the next; several in a row are one.  After a failure the rest of the document is passed over. */
static int next_llmc(struct mot_tokens *t, struct mot_bytes *ids)
{
    int rc = MOT_OK;
    for (; t->at < t->tokens; t->at++) {
        int64_t place = LLMC_HEAD + t->at * t->width, x;
        if (read_token(t, place, &x))
            return MOT_EIO;
        if (x == t->separator && (ids->n || rc))
            break;
        if (x == t->separator || rc)
            continue;
        rc = keep_token(t, ids, place, x);
        if (!rc && (int64_t)(ids->n / sizeof(int32_t)) > most_ids)
            rc = too_long(t);
        if (rc == MOT_ENOMEM)
            return rc;
    }
    return rc;
}

/* The sequences between two marks; they may lie anywhere in the .bin. */
static int next_megatron(struct mot_tokens *t, struct mot_bytes *ids)
{
    int64_t marks = MEGATRON_HEAD + 12 * t->sequences, range[2];
    for (int i = 0; i < 2; i++) {
        const unsigned char *p = look(&t->idx[MARKS], marks + 8 * (t->at + i), 8);
        if (!p)
            return MOT_EIO;
        range[i] = (int64_t)mot_get64(p);
    }
    t->at++;
    if (range[0] < 0 || range[1] < range[0] || range[1] > t->sequences)
        return mot_fail(MOT_ECORRUPT, "%s: damaged: document %lld is of the sequences from %lld to %lld, there are %lld",
                        t->idx[0].path, (long long)t->documents, (long long)range[0], (long long)range[1], (long long)t->sequences);
    for (int64_t s = range[0]; s < range[1]; s++) {
        const unsigned char *p = look(&t->idx[LENGTHS], MEGATRON_HEAD + 4 * s, 4);
        int64_t n = p ? (int32_t)mot_get32(p) : 0, place;
        if (!p || !(p = look(&t->idx[PLACES], MEGATRON_HEAD + 4 * t->sequences + 8 * s, 8)))
            return MOT_EIO;
        place = (int64_t)mot_get64(p);
        if (n < 0 || place < 0 || place > t->bin.size || n > (t->bin.size - place) / t->width)
            return mot_fail(MOT_ECORRUPT, "%s: damaged, or of another .bin: sequence %lld is %lld tokens at byte %lld of %lld",
                            t->idx[0].path, (long long)s, (long long)n, (long long)place, (long long)t->bin.size);
        if ((int64_t)(ids->n / sizeof(int32_t)) + n > most_ids)
            return too_long(t);
        for (int64_t i = 0, x; i < n; i++) {
            int rc = read_token(t, place + i * t->width, &x);
            if (!rc)
                rc = keep_token(t, ids, place + i * t->width, x);
            if (rc)
                return rc;
        }
    }
    return MOT_OK;
}

int mot_tokens_next(struct mot_tokens *t, struct mot_raw **r)
{
    struct mot_bytes ids = {0};
    bool megatron = t->idx[0].fd >= 0;
    int rc = MOT_OK;
    *r = NULL;
    while (!rc && ids.n == 0 && (megatron ? t->at + 1 < t->marks : t->at < t->tokens)) {
        rc = megatron ? next_megatron(t, &ids) : next_llmc(t, &ids);
        t->documents++;
    }
    if (!rc && ids.n == 0)
        return MOT_OK;
    *r = mot_raw_new(mot_format("%s: document %lld", t->bin.path, (long long)t->documents - 1), NULL);
    if (!*r || rc) {
        mot_bytes_free(&ids);
        return !*r ? MOT_ENOMEM : rc == MOT_EIO || rc == MOT_ENOMEM ? rc : mot_raw_fail(*r, rc);
    }
    return mot_raw_add(*r, MOT_FILE_IDS, mot_strdup((*r)->name), &ids);
}

int64_t mot_tokens_bytes(const struct mot_tokens *t)
{
    return t->bin.begin;
}

void mot_tokens_close(struct mot_tokens *t)
{
    if (!t)
        return;
    for (int i = 0; i < 2; i++) { /* the parts of the index share a file */
        struct window *w = i ? &t->idx[0] : &t->bin;
        if (w->fd >= 0)
            close(w->fd);
        mot_free(w->path);
    }
    mot_free(t);
}
