/* SPDX-License-Identifier: MIT
 *
 * gemm.h - matrix products, the one thing that the backend takes from a library: cuBLASLt in
 * cublas.cu, and the test suite's own plain loops where the kernels run on the host.
 */
#ifndef MOT_CUDA_GEMM_H
#define MOT_CUDA_GEMM_H

#include "cuda.h"

namespace mot_cuda
{

/* C (m,n) = A (m,k) B (k,n), or added to C; all row-major with rows `ld` values apart.  Sums are float. */
struct product {
    int64_t m, n, k;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc;
    bool ta, tb;       /* a is stored as (k,m), b as (n,k) */
    bool half, c_half; /* bf16 in a and b, in c; else float */
    bool add;
    const void *bias; /* (n) of c's type, added to each row, or NULL */
};

/* NULL, with the reason in err, where the library is missing. */
mot_gemm *gemm_open(char *err, size_t err_size);
void gemm_close(mot_gemm *g);
/* Bytes of workspace that a product may use. */
size_t gemm_need();
/* m, n and k are at least 1.  `work`: gemm_need() bytes.  Faults are the device's. */
void multiply(mot_device *d, const product &p, void *work);

} // namespace mot_cuda

#endif
