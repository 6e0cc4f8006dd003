/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokens.c - any bytes as a file of llm.c, as an index of Megatron, and as both of its files.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "lib/base/base.h"

static char folder[] = "/tmp/mot-fuzz-XXXXXX", bin[64], idx[64];

static void remove_files(void)
{
    unlink(bin);
    unlink(idx);
    rmdir(folder);
}

static void put(const char *path, const uint8_t *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        abort();
}

static void read_all(int32_t size)
{
    struct mot_vocab v = {.n_modalities = 1, .modality = {{"text", 0, size}}, .size = size, .bos = 1, .eos = 1};
    struct mot_source_options o = {.vocab = &v};
    const char *paths[] = {bin};
    struct mot_source *s = mot_source_open(paths, 1, &o);
    const struct mot_record *r;
    while (s && mot_source_next(s, &r) == 0 && r)
        for (int64_t i = 0; i < r->item[0].ids.n; i++)
            if (r->item[0].ids.id[i] < 0 || r->item[0].ids.id[i] >= size)
                abort();
    mot_source_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!bin[0]) {
        if (!mkdtemp(folder))
            abort();
        snprintf(bin, sizeof bin, "%s/x.bin", folder);
        snprintf(idx, sizeof idx, "%s/x.idx", folder);
        atexit(remove_files);
    }
    unlink(idx);
    put(bin, data, n);
    read_all(50000);
    put(idx, data, n);
    read_all(200);
    return 0;
}
