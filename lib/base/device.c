/* SPDX-License-Identifier: MIT
 *
 * device.c - backends by name.
 */
#include <stdlib.h>

#include "device.h"

static const struct mot_kernels *cpu(const char *dtype)
{
    const char *set = getenv("MOT_CPU");
    char err[200];
    const struct mot_kernels *k = mot_kernels_cpu(set, dtype, err, sizeof err);
    if (!k)
        mot_fail(MOT_EDEVICE, "%s%s", set ? "MOT_CPU: " : "", err);
    return k;
}

static const struct mot_kernels *cuda(const char *dtype)
{
    char err[256];
    const struct mot_kernels *k = mot_kernels_cuda(dtype, err, sizeof err);
    if (!k)
        mot_fail(MOT_EDEVICE, "device \"cuda\": %s", err);
    return k;
}

const struct mot_kernels *mot_device_find(const char *device, const char *dtype)
{
    if (!device || strcmp(device, "cpu") == 0)
        return cpu(dtype);
    if (strcmp(device, "cuda") == 0)
        return cuda(dtype);
    mot_fail(MOT_EDEVICE, "there is no device \"%s\", only \"cpu\" and \"cuda\"", device);
    return NULL;
}
