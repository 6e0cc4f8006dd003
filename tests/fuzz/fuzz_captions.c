/* SPDX-License-Identifier: MIT
 *
 * fuzz_captions.c - any bytes as captions, compared with themselves: what opens has figures in their ranges.
 */
#include <math.h>
#include <stdlib.h>

#include "fuzz.h"
#include "lib/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (int plain = 0; plain < 2; plain++) {
        char path[32], again[32];
        int fd = fuzz_file(data, n, path), other = fuzz_file(data, n, again);
        const char *references[] = {again};
        struct mot_captions *c = fd >= 0 && other >= 0 ? mot_captions_open(path, references, 1, plain) : NULL;
        for (int m = 0; c && m < MOT_CAPTION_METRICS; m++) {
            double x = mot_captions_figure(c, (enum mot_caption_metric)m, NULL, 0);
            if (!(x >= 0 && x <= (m == MOT_CIDER ? 10 : 1) + 1e-9) && !(m == MOT_CIDER && isnan(x)))
                abort();
        }
        mot_captions_close(c);
        close(fd);
        close(other);
    }
    return 0;
}
