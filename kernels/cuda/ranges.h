/* SPDX-License-Identifier: MIT
 *
 * ranges.h - named ranges on the host's timeline, which Nsight Systems shows over the kernels that are
 * launched in them.  (ranges.c; on the host, where the test suite counts them, tests/shim)
 */
#ifndef MOT_CUDA_RANGES_H
#define MOT_CUDA_RANGES_H

#ifdef __cplusplus
extern "C" {
#endif

/* Does anyone listen?  Else a range is not worth its name. */
int mot_ranges_wanted(void);
void mot_range_push(const char *name);
void mot_range_pop(void);

#ifdef __cplusplus
}
#endif
#endif
