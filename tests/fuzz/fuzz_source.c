/* SPDX-License-Identifier: MIT
 *
 * fuzz_source.c - any bytes as input for the tokeniser.  The first byte says as what: text, lines, JSON Lines, a tar.
 */
#include "fuzz.h"
#include "lib/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const format[] = {"text", "lines", "jsonl", "tar"};
    char path[32];
    const char *paths[] = {path};
    if (n == 0)
        return 0;
    int fd = fuzz_file(data + 1, n - 1, path);
    struct mot_source_options o = {.format = format[data[0] & 3], .strict = data[0] & 4};
    struct mot_source *s = fd >= 0 ? mot_source_open(paths, 1, &o) : NULL;
    const struct mot_record *r;
    while (s && mot_source_next(s, &r) == 0 && r)
        ;
    mot_source_close(s);
    close(fd);
    return 0;
}
