/* SPDX-License-Identifier: MIT
 *
 * cublas.cu - matrix products by cuBLASLt, which is loaded when a device is opened: the program starts
 * without it.
 *
 * Which of its kernels multiplies a shape is asked once and kept.  Group sizes differ from batch to
 * batch, so sizes are rounded up to an eighth of their power of two before they are asked for; the
 * answer depends on that shape alone and not on what was multiplied before, or a run that is resumed
 * would not continue bit for bit.
 */
#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gemm.h"

/* What is used of the library: each function under its own name. */
#define FUNCTIONS(X)                   \
    X(cublasLtCreate)                  \
    X(cublasLtDestroy)                 \
    X(cublasLtMatmul)                  \
    X(cublasLtMatmulAlgoGetHeuristic)  \
    X(cublasLtMatmulDescCreate)        \
    X(cublasLtMatmulDescDestroy)       \
    X(cublasLtMatmulDescSetAttribute)  \
    X(cublasLtMatrixLayoutCreate)      \
    X(cublasLtMatrixLayoutDestroy)     \
    X(cublasLtMatmulPreferenceCreate)  \
    X(cublasLtMatmulPreferenceDestroy) \
    X(cublasLtMatmulPreferenceSetAttribute)

struct functions {
#define X(name) decltype(&::name) name;
    FUNCTIONS(X)
#undef X
};

/* What an answer depends on. */
struct shape {
    int64_t m, n, k, lda, ldb, ldc;
    int32_t align_a, align_b, align_c, flags; /* ta, tb, half, c_half, add, bias */
};

struct answer {
    bool known;
    struct shape of;
    cublasLtMatmulAlgo_t algo;
};

enum { ANSWERS = 1024 };

struct mot_gemm {
    void *library;
    struct functions f;
    cublasLtHandle_t handle;
    struct answer answer[ANSWERS]; /* by hash; a newer one takes the place of another */
};

namespace mot_cuda
{

enum { WORKSPACE = 32 << 20 };

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define LIBRARY "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)

static bool find_all(mot_gemm *g)
{
    bool all = true;
#define X(name) all = (g->f.name = (decltype(g->f.name))dlsym(g->library, #name)) && all;
    FUNCTIONS(X)
#undef X
    return all;
}

mot_gemm *gemm_open(char *err, size_t err_size)
{
    mot_gemm *g = (mot_gemm *)calloc(1, sizeof *g);
    if (!g) {
        snprintf(err, err_size, "out of memory");
        return NULL;
    }
    g->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!g->library)
        g->library = dlopen("/usr/local/cuda/lib64/" LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!g->library)
        snprintf(err, err_size, "cuBLASLt is missing: %s", dlerror());
    else if (!find_all(g))
        snprintf(err, err_size, "%s lacks functions that this program uses", LIBRARY);
    else if (g->f.cublasLtCreate(&g->handle) != CUBLAS_STATUS_SUCCESS)
        snprintf(err, err_size, "cuBLASLt does not start on this GPU");
    else
        return g;
    gemm_close(g);
    return NULL;
}

void gemm_close(mot_gemm *g)
{
    if (!g)
        return;
    if (g->handle)
        g->f.cublasLtDestroy(g->handle);
    if (g->library)
        dlclose(g->library);
    free(g);
}

size_t gemm_need()
{
    return WORKSPACE;
}

/* -- shapes -------------------------------------------------------------------------------------- */

static int64_t rounded(int64_t n)
{
    int64_t step = 1;
    while (n > 16 * step)
        step *= 2;
    return n <= 256 ? n : ceil_div(n, step) * step;
}

/* The power of two, at most 256, that an address is a multiple of. */
static int32_t alignment(const void *p)
{
    uintptr_t x = (uintptr_t)p | 256;
    return (int32_t)(x & (~x + 1));
}

/* Rows of the batch are m, or k where a is transposed; the other sizes are the model's. */
static shape shape_of(const product &p)
{
    shape s;
    memset(&s, 0, sizeof s); /* it is hashed and compared with its padding */
    s.m = p.ta ? p.m : rounded(p.m), s.n = p.n, s.k = p.ta ? rounded(p.k) : p.k;
    s.lda = p.lda, s.ldb = p.ldb, s.ldc = p.ldc;
    s.align_a = alignment(p.a), s.align_b = alignment(p.b), s.align_c = alignment(p.c);
    s.flags = p.ta | p.tb << 1 | p.half << 2 | p.c_half << 3 | p.add << 4 | (p.bias != NULL) << 5;
    return s;
}

static uint32_t hash_of(const shape &s)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < sizeof s; i++)
        h = (h ^ ((const unsigned char *)&s)[i]) * 16777619u;
    return h % ANSWERS;
}

/* -- descriptions -------------------------------------------------------------------------------- */

/* Column-major, as the library has it, a row-major matrix is its transpose: so C' = B' A' is asked for, with b as
 * the library's A and a as its B. */
struct description {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
};

static void discard(mot_gemm *g, description &s)
{
    if (s.product)
        g->f.cublasLtMatmulDescDestroy(s.product);
    for (cublasLtMatrixLayout_t l : {s.a, s.b, s.c})
        if (l)
            g->f.cublasLtMatrixLayoutDestroy(l);
}

static cublasStatus_t describe(mot_gemm *g, const product &p, int64_t m, int64_t n, int64_t k,
                               description &s)
{
    cudaDataType_t in = p.half ? CUDA_R_16BF : CUDA_R_32F,
                   out = p.c_half ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t of_a = p.tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                      of_b = p.ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    cublasStatus_t e = g->f.cublasLtMatmulDescCreate(&s.product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    auto set = [&](cublasLtMatmulDescAttributes_t what, const void *value, size_t bytes) {
        if (e == CUBLAS_STATUS_SUCCESS)
            e = g->f.cublasLtMatmulDescSetAttribute(s.product, what, value, bytes);
    };
    auto lay = [&](cublasLtMatrixLayout_t *l, cudaDataType_t type, int64_t rows, int64_t columns,
                   int64_t ld) {
        if (e == CUBLAS_STATUS_SUCCESS)
            e = g->f.cublasLtMatrixLayoutCreate(l, type, (uint64_t)rows, (uint64_t)columns, ld);
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, &of_a, sizeof of_a);
    set(CUBLASLT_MATMUL_DESC_TRANSB, &of_b, sizeof of_b);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (p.bias)
        set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof p.bias);
    lay(&s.a, in, p.tb ? k : n, p.tb ? n : k, p.ldb);
    lay(&s.b, in, p.ta ? m : k, p.ta ? k : m, p.lda);
    lay(&s.c, out, n, m, p.ldc);
    return e;
}

/* The library's choice for m, n and k of the alignment that p's operands have. */
static cublasStatus_t ask(mot_gemm *g, const product &p, int64_t m, int64_t n, int64_t k,
                          cublasLtMatmulAlgo_t *algo)
{
    description s = {};
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found;
    size_t bytes = WORKSPACE;
    uint32_t align_a = (uint32_t)alignment(p.b), align_b = (uint32_t)alignment(p.a),
             align_c = (uint32_t)alignment(p.c);
    int count = 0;
    cublasStatus_t e = describe(g, p, m, n, k, s);
    auto set = [&](cublasLtMatmulPreferenceAttributes_t what, const void *value, size_t size) {
        if (e == CUBLAS_STATUS_SUCCESS)
            e = g->f.cublasLtMatmulPreferenceSetAttribute(wish, what, value, size);
    };
    if (e == CUBLAS_STATUS_SUCCESS)
        e = g->f.cublasLtMatmulPreferenceCreate(&wish);
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align_a, sizeof align_a);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align_b, sizeof align_b);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align_c, sizeof align_c);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align_c, sizeof align_c);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = g->f.cublasLtMatmulAlgoGetHeuristic(g->handle, s.product, s.a, s.b, s.c, s.c, wish, 1,
                                                &found, &count);
    if (e == CUBLAS_STATUS_SUCCESS && count > 0)
        *algo = found.algo;
    else if (e == CUBLAS_STATUS_SUCCESS)
        e = CUBLAS_STATUS_NOT_SUPPORTED;
    if (wish)
        g->f.cublasLtMatmulPreferenceDestroy(wish);
    discard(g, s);
    return e;
}

/* -- products ------------------------------------------------------------------------------------- */

static cublasStatus_t run_with(mot_device *d, const product &p, const cublasLtMatmulAlgo_t *algo,
                               void *work)
{
    mot_gemm *g = d->gemm;
    description s = {};
    float one = 1, before = p.add ? 1 : 0;
    cublasStatus_t e = describe(g, p, p.m, p.n, p.k, s);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = g->f.cublasLtMatmul(g->handle, s.product, &one, p.b, s.a, p.a, s.b, &before, p.c, s.c,
                                p.c, s.c, algo, work, WORKSPACE, d->stream);
    discard(g, s);
    return e;
}

void multiply(mot_device *d, const product &p, void *work)
{
    if (*d->error || !p.a || !p.b || !p.c)
        return;
    mot_gemm *g = d->gemm;
    shape key = shape_of(p);
    answer *a = &g->answer[hash_of(key)];
    cublasStatus_t e = CUBLAS_STATUS_SUCCESS;
    if (!a->known || memcmp(&a->of, &key, sizeof key) != 0) {
        e = ask(g, p, key.m, key.n, key.k, &a->algo);
        a->known = e == CUBLAS_STATUS_SUCCESS;
        a->of = key;
    }
    if (e == CUBLAS_STATUS_SUCCESS)
        e = run_with(d, p, &a->algo, work);
    if (e == CUBLAS_STATUS_NOT_SUPPORTED ||
        e == CUBLAS_STATUS_INVALID_VALUE) { /* good for the rounded shape alone */
        cublasLtMatmulAlgo_t own;
        e = ask(g, p, p.m, p.n, p.k, &own);
        if (e == CUBLAS_STATUS_SUCCESS)
            e = run_with(d, p, &own, work);
    }
    if (e != CUBLAS_STATUS_SUCCESS)
        fault(d, "cuBLASLt: status %d for a product of %lld x %lld x %lld", (int)e, (long long)p.m,
              (long long)p.n, (long long)p.k);
}

} // namespace mot_cuda
