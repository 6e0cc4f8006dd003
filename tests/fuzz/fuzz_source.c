/* SPDX-License-Identifier: MIT
 *
 * fuzz_source.c - any bytes as input for the tokeniser: as text, lines, JSON Lines and a tar.
 */
#include "fuzz.h"
#include "lib/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const format[] = {"text", "lines", "jsonl", "tar"};
    for (int i = 0; i < 4; i++) {
        char path[32];
        const char *paths[] = {path};
        int fd = fuzz_file(data, n, path);
        struct mot_source_options o = {.format = format[i]};
        struct mot_source *s = fd >= 0 ? mot_source_open(paths, 1, &o) : NULL;
        const struct mot_record *r;
        while (s && mot_source_next(s, &r) == 0 && r)
            ;
        mot_source_close(s);
        close(fd);
    }
    return 0;
}
