/* SPDX-License-Identifier: MIT
 *
 * fuzz_safetensors.c - any bytes as a safetensors file: what opens must be readable in full.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "lib/base/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[32];
    struct mot_st s;
    int fd = fuzz_file(data, n, path);
    if (fd >= 0 && mot_st_open(&s, path) == 0) {
        for (int64_t i = 0; i < s.n; i++) {
            const struct mot_st_tensor *t = &s.tensor[i];
            uint64_t h = mot_hash(MOT_HASH_START, t->data, t->bytes);
            float *x = malloc((size_t)(t->count < 1 << 20 ? t->count : 0) * sizeof *x + 1);
            if (x && t->count < 1 << 20)
                (void)!mot_st_read_f32(&s, t, x);
            free(x);
            if (mot_st_find(&s, t->name) != t || h == 1)
                abort();
        }
        mot_st_close(&s);
    }
    close(fd);
    return 0;
}
