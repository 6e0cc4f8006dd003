/* SPDX-License-Identifier: MIT
 *
 * fuzz_media.c - any bytes as a picture and as a sound.  PNG's checksums would keep a fuzzer out:
 * they are put right first.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "lib/base/base.h"

static void put_sums_right(uint8_t *p, size_t n)
{
    for (size_t at = 8; at < n && n - at >= 12;) {
        size_t length =
            (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 | (size_t)p[at + 2] << 8 | p[at + 3];
        if (length > n - at - 12)
            return;
        uint32_t crc = mot_crc32(0, p + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            p[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct mot_image im, small;
    struct mot_audio a, half;
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    if (n > 8 && data[0] == 0x89)
        put_sums_right(copy, n);
    if (mot_image_load(&im, copy, n, "fuzz") == 0) {
        if (im.width < 1 || im.height < 1)
            abort();
        if (mot_image_resize(&im, 16, 16, &small) == 0)
            mot_image_free(&small);
        mot_image_free(&im);
    } else if (mot_audio_load(&a, copy, n, "fuzz") == 0) {
        for (int64_t i = 0; i < a.n; i++)
            if (!(a.sample[i] >= -1 && a.sample[i] <= 1))
                abort();
        if (a.n < 100000 && mot_audio_resample(&a, 16000, &half) == 0)
            mot_audio_free(&half);
        mot_audio_free(&a);
    }
    free(copy);
    return 0;
}
