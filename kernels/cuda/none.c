/* SPDX-License-Identifier: MIT
 *
 * none.c - in place of the cuda backend where the program is built without it.
 */
#include <stdio.h>

#include "../kernels.h"

const struct mot_kernels *mot_kernels_cuda(const char *dtype, char *err, size_t err_size)
{
    (void)dtype;
    snprintf(err, err_size, "this program was built without CUDA; make finds nvcc in PATH or CUDA_HOME");
    return NULL;
}
