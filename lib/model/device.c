/* SPDX-License-Identifier: MIT
 *
 * device.c - backends by name.
 */
#include <stdlib.h>

#include "model.h"

const struct mot_kernels *mot_device_find(const char *device, const char *dtype)
{
    if (device && strcmp(device, "cpu") != 0) {
        mot_fail(MOT_EDEVICE, "device \"%s\" is not built into this program, only \"cpu\" is", device);
        return NULL;
    }
    const char *set = getenv("MOT_CPU");
    char err[200];
    const struct mot_kernels *k = mot_kernels_cpu(set, dtype, err, sizeof err);
    if (!k)
        mot_fail(MOT_EDEVICE, "%s%s", set ? "MOT_CPU: " : "", err);
    return k;
}
