/* SPDX-License-Identifier: MIT
 *
 * fuzz_shard.c - any bytes as a shard: as they are, and, since checksums would keep a fuzzer out,
 * with each frame's sums put right.  What is served must make sense.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "lib/base/base.h"

enum { HEAD = 32 };

static void put_sums_right(uint8_t *p, size_t n)
{
    while (n >= HEAD) {
        size_t stored = mot_get32(p + 16);
        if (stored > n - HEAD)
            stored = n - HEAD;
        mot_put32(p + 24, mot_crc32(0, p + HEAD, stored));
        mot_put32(p + 28, mot_crc32(0, p, 28));
        p += HEAD + stored;
        n -= HEAD + stored;
    }
}

static void check(const struct mot_vocab *v, const struct mot_doc *d)
{
    int64_t at = 0, values = 0;
    for (int i = 0; i < d->n_spans; i++) {
        const struct mot_span *s = &d->span[i];
        int32_t width = v->modality[s->modality].width;
        if (s->begin != at || s->n <= 0 || (i && s->modality == s[-1].modality && !width))
            abort();
        if (width ? (int64_t)s->rows * s->columns != s->n : s->rows || s->columns)
            abort();
        values += s->n * width;
        for (; at < s->begin + s->n; at++)
            if (d->id[at] < 0 || d->id[at] >= v->size ||
                mot_vocab_modality(v, d->id[at]) != s->modality)
                abort();
    }
    if (at != d->n || values != d->n_latent || d->text_bytes < 0)
        abort();
    for (int64_t i = 0; i < values; i++)
        if ((d->latent[i] & 0x7c00) == 0x7c00)
            abort();
}

static void read_all(const uint8_t *data, size_t n, bool keep_going)
{
    char path[32];
    int fd = fuzz_file(data, n, path);
    struct mot_shard *s = fd >= 0 ? mot_shard_open(path, NULL, keep_going) : NULL;
    const struct mot_doc *d;
    while (s && mot_shard_next(s, &d) == 0 && d)
        check(mot_shard_vocab(s), d);
    mot_shard_close(s);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    read_all(copy, n, false);
    put_sums_right(copy, n);
    read_all(copy, n, true);
    free(copy);
    return 0;
}
