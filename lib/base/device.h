/* SPDX-License-Identifier: MIT
 *
 * device.h - backends by name. (device.c)
 */
#ifndef MOT_DEVICE_H
#define MOT_DEVICE_H

#include "../../kernels/kernels.h"
#include "base.h"

/* "cpu" (NULL: that) or "cuda", and "f32" or "bf16"; NULL after mot_fail: not built in, or a dtype it cannot compute in. */
const struct mot_kernels *mot_device_find(const char *device, const char *dtype) MOT_CHECKED;

#endif
