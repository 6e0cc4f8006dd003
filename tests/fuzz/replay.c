/* SPDX-License-Identifier: MIT
 *
 * replay.c - give files to a fuzz target one after the other: a corpus as a test, without any fuzzer.
 *
 *   bin/fuzz_shard FILE...                                            replay
 *   clang -fsanitize=fuzzer,address,undefined ... fuzz_shard.c ...    fuzz (without this file; tests/fuzz/README.md)
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        uint8_t *data = NULL;
        size_t n = 0, got = 1;
        while (got > 0) {
            uint8_t *more = realloc(data, n + 65536);
            if (!more)
                return 1;
            data = more;
            got = fread(data + n, 1, 65536, f);
            n += got;
        }
        fclose(f);
        /* A copy of the exact size, so that the sanitiser sees a read beyond the end. */
        uint8_t *exact = malloc(n ? n : 1);
        if (!exact)
            return 1;
        for (size_t k = 0; k < n; k++)
            exact[k] = data[k];
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
        free(data);
    }
    printf("ok %d files\n", argc - 1);
    return 0;
}
