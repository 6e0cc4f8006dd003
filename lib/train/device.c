/* SPDX-License-Identifier: MIT
 *
 * device.c - backends by name.
 */
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
    return &mot_kernels_cpu;
}
