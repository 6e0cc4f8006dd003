/* SPDX-License-Identifier: MIT
 *
 * device.c - backends by name.
 */
#include <stdlib.h>

#include "train.h"

const struct mot_kernels *mot_device_find(const char *device, const char *dtype)
{
    if (device && strcmp(device, "cpu") != 0) {
        mot_fail(MOT_EDEVICE, "device \"%s\" is not built into this program, only \"cpu\" is", device);
        return NULL;
    }
    if (dtype && strcmp(dtype, "f32") != 0) {
        mot_fail(MOT_EDEVICE, "dtype \"%s\" is not built into this program's cpu device, only \"f32\" is", dtype);
        return NULL;
    }
    char err[200];
    const struct mot_kernels *k = mot_kernels_cpu(getenv("MOT_CPU"), err, sizeof err);
    if (!k)
        mot_fail(MOT_EDEVICE, "MOT_CPU: %s", err);
    return k;
}
