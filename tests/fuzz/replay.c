/* SPDX-License-Identifier: MIT
 *
 * replay.c - give files to a fuzz target one after the other, and N damaged versions of each: a
 * test without any fuzzer.
 *
 *   bin/fuzz_shard [-N] FILE...
 *
 * With clang the same targets, linked without this file, are fuzzers:
 *
 *   clang -g -O1 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_shard.c
 * SOURCES... LIBRARIES...
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static uint64_t state = 88172645463325252u; /* xorshift64: the same damage every time */

static size_t below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % n);
}

/* Change a few bits, bytes or the end. */
static size_t damage(uint8_t *p, size_t n)
{
    for (size_t k = below(4) + 1; k > 0 && n > 0; k--) {
        size_t at = below(n);
        switch (below(4)) {
        case 0:
            p[at] ^= (uint8_t)(1 << below(8));
            break;
        case 1:
            p[at] = (uint8_t)below(256);
            break;
        case 2: /* the values at the edges: 0, ff... */
            memset(p + at, below(2) ? 0xff : 0, n - at < 4 ? n - at : 4);
            break;
        default:
            n = below(8) ? n : at;
        }
    }
    return n;
}

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    *n = 0;
    for (size_t got = 1; f && got > 0; *n += got) {
        uint8_t *more = realloc(data, *n + 65536);
        if (!more)
            exit(1);
        data = more;
        got = fread(data + *n, 1, 65536, f);
    }
    if (!f) {
        perror(path);
        exit(1);
    }
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    int first = argc > 1 && argv[1][0] == '-' ? 2 : 1,
        versions = first == 2 ? atoi(argv[1] + 1) : 0;
    for (int i = first; i < argc; i++) {
        size_t n;
        uint8_t *data = read_file(argv[i], &n);
        for (int k = 0; k <= versions; k++) {
            uint8_t *copy = malloc(n + 1);
            if (!copy)
                return 1;
            memcpy(copy, data, n);
            size_t m = k == 0 ? n : damage(copy, n);
            uint8_t *exact =
                malloc(m ? m : 1); /* so that the sanitiser sees a read beyond the end */
            if (!exact)
                return 1;
            memcpy(exact, copy, m);
            LLVMFuzzerTestOneInput(exact, m);
            free(exact);
            free(copy);
        }
        free(data);
    }
    printf("ok %d files\n", argc - first);
    return 0;
}
