/* SPDX-License-Identifier: MIT
 *
 * fuzz_runlog.c - any bytes as a training's log: what opens must give curves that match themselves.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "lib/base/base.h"

static void match(const struct mot_runlog *l, int modality)
{
    struct mot_curve c;
    struct mot_match m;
    if (mot_curve_make(l, modality, 0.2, &c))
        return;
    if (mot_match_curves(&c, &c, 0.9, 1, &m) == 0) {
        for (int64_t i = 0; i < m.n; i++)
            if (m.point[i].dense[MOT_STEPS] != m.point[i].dense[MOT_STEPS]) /* a step is a number */
                abort();
        mot_match_free(&m);
    }
    mot_curve_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (int validation = 0; validation < 2; validation++) {
        char path[32];
        int fd = fuzz_file(data, n, path);
        struct mot_runlog *l = fd >= 0 ? mot_runlog_open(path, validation) : NULL;
        for (int m = 0; l && m < mot_runlog_modalities(l); m++)
            match(l, m);
        while (l && mot_runlog_notice(l))
            ;
        mot_runlog_close(l);
        close(fd);
    }
    return 0;
}
