/* SPDX-License-Identifier: MIT
 *
 * hopper.h - what only sm_90a has: tensor maps and the copies by them, barriers that count bytes, and
 * products of a warpgroup (four warps, the first one's number divisible by 4).
 *
 * tests/shim/hopper.h has the same names for the host.  A kernel calls them where MOT_HOPPER is 1 and is
 * empty elsewhere, in what is compiled for other GPUs.  Names of sections in comments are those of the PTX
 * ISA.
 */
#ifndef MOT_HOPPER_H
#define MOT_HOPPER_H

#include <cuda.h>

#include "gpu.h"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define MOT_HOPPER 1
#else
#define MOT_HOPPER 0
#endif

#define GRID_CONSTANT const __grid_constant__

/* -- tensor maps ----------------------------------------------------------------------------------- */

typedef CUtensorMap tensor_map;

/* A function of the driver, as CUDA 12.0 has it; NULL: there is none. */
static inline void *driver_entry(const char *name)
{
    void *found = NULL;
    cudaDriverEntryPointQueryResult how = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    cudaError_t e = cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &how);
#else
    cudaError_t e = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &how);
#endif
    return e == cudaSuccess && how == cudaDriverEntryPointSuccess ? found : NULL;
}

/* Of an array (heads,rows,columns) of bf16, in boxes of 64 columns and `box` rows of one head; what of a
 * box lies outside is read as 0.  A box's rows lie 128 bytes apart in shared memory, aligned to 1024, and of
 * the address of each 16 bytes the bits 4 to 6 are those there xor bits 7 to 9 ("Swizzling Modes").
 * The array is aligned to 16 bytes, and columns % 8 == 0.  The driver only fills in *map: nothing waits. */
static inline bool describe(tensor_map *map, const void *array, int64_t columns, int64_t rows,
                            int64_t heads, int box)
{
    static decltype(&cuTensorMapEncodeTiled) encode; /* the program does not link with the driver */
    if (!encode)
        encode = (decltype(encode))driver_entry("cuTensorMapEncodeTiled");
    if (!encode)
        return false;
    const cuuint64_t size[3] = {(cuuint64_t)columns, (cuuint64_t)rows, (cuuint64_t)heads},
                     bytes[2] = {2 * size[0], 2 * size[0] * size[1]};
    const cuuint32_t part[3] = {64, (cuuint32_t)box, 1}, step[3] = {1, 1, 1};
    return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, (void *)array, size, bytes, part, step,
                  CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

/* -- barriers in shared memory ("mbarrier") ---------------------------------------------------------- */

/* A phase ends when `count` have arrived and all bytes that were announced have; then the next one begins. */
typedef uint64_t barrier;

DEVICE uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

DEVICE void barrier_init(barrier *b, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(count)
                 : "memory");
}

/* After all of a thread's barrier_init, before __syncthreads: copies see the barriers. */
DEVICE void barriers_ready()
{
    asm volatile("fence.mbarrier_init.release.cluster;\n"
                 "fence.proxy.async.shared::cta;" ::
                     : "memory");
}

DEVICE void barrier_arrive(barrier *b)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}

/* Arrive, and announce bytes of copies. */
DEVICE void barrier_expect(barrier *b, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
                 "r"(bytes)
                 : "memory");
}

/* Until the phase of this parity has ended: phase 0, 1, 2 ... have parity 0, 1, 0 ...  Of a new barrier
 * the phase before the first, of parity 1, has. */
DEVICE void barrier_wait(barrier *b, int parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}" ::"r"(shared_address(b)),
                 "r"(parity)
                 : "memory");
}

/* -- copies ----------------------------------------------------------------------------------------- */

DEVICE void prefetch_map(const tensor_map *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* One box, from (column, row, head) on, to `to`; all of its bytes, also those outside, count for b. */
DEVICE void copy_box(void *to, const tensor_map *map, barrier *b, int column, int row, int head)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(to)),
                 "l"(map), "r"(shared_address(b)), "r"(column), "r"(row), "r"(head)
                 : "memory");
}

/* -- warpgroups ------------------------------------------------------------------------------------- */

/* x, the same in all of the warp, in a way that tells the compiler so: it has products under way only where
 * no branch that it sees may part the warpgroup. */
DEVICE int uniform(int x)
{
    return __shfl_sync(0xffffffffu, x, 0);
}

/* Registers of each of the warpgroup's threads from here on, a multiple of 8. */
template <int n> DEVICE void fewer_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
}

template <int n> DEVICE void more_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
}

/* Barrier 1 to 15 for `threads` threads in all, of those that wait and those that only arrive. */
DEVICE void named_wait(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

DEVICE void named_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* -- products ("Asynchronous Warpgroup Level Matrix Multiply-Accumulate") ----------------------------- */

/* A matrix in boxes as copy_box leaves them.  `stride`: bytes from 8 rows of a box to the next 8, always 1024
 * here; `leading`: from one box to the next where columns beyond 64 belong to the product, which is so in
 * multiply_rows only ("Matrix Descriptor Format", "Strides"; base offset 0, for boxes begin at 1024 n). */
DEVICE uint64_t matrix_at(const void *p, int leading)
{
    return (uint64_t)(shared_address(p) & 0x3ffff) >> 4 | (uint64_t)(leading >> 4) << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* The same `bytes` further on. */
DEVICE uint64_t matrix_after(uint64_t matrix, int bytes)
{
    return matrix + (uint64_t)(bytes >> 4);
}

/* Before the first product, and where registers were written that the next ones read. */
DEVICE void products_begin()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* The products since the last one are a batch. */
DEVICE void products_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Wait for the batches but the last n; hold() what they wrote before it is used. */
template <int n> DEVICE void products_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory");
}

/* The compiler must not move uses of c from after this place to before it, nor back. */
template <int J> DEVICE void hold(float (&c)[J][4])
{
#pragma unroll
    for (int j = 0; j < J; j++)
        asm volatile("" : "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])::"memory");
}

/* Operands of asm: 4, 16 and 64 registers from c[j] on, and their numbers. */
#define C4(how, j) how(c[j][0]), how(c[j][1]), how(c[j][2]), how(c[j][3])
#define C16(how, j) C4(how, j), C4(how, j + 1), C4(how, j + 2), C4(how, j + 3)
#define C64(how, j) C16(how, j), C16(how, j + 4), C16(how, j + 8), C16(how, j + 12)
#define N16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define N32 N16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define N48 N32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define N64                                                                                        \
    N48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define N128                                                                                       \
    N64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"                         \
        ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"                         \
        ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"             \
        ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

#define PRODUCT(n, numbers, operands, add)                                                         \
    "{\n"                                                                                          \
    ".reg .pred p;\n"                                                                              \
    "setp.ne.b32 p, " #add ", 0;\n"                                                                \
    "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" numbers "}, " operands ";\n"     \
    "}"

/* Both in shared memory; the first of a sum has c as a result only, so that nothing has to be in it before. */
#define MULTIPLY(how, add)                                                                         \
    if constexpr (J == 4)                                                                          \
        asm volatile(PRODUCT(32, N16, "%16, %17, p, 1, 1, 0, 0", add)                              \
                     : C16(how, 0)                                                                 \
                     : "l"(a), "l"(b));                                                            \
    else if constexpr (J == 8)                                                                     \
        asm volatile(PRODUCT(64, N32, "%32, %33, p, 1, 1, 0, 0", add)                              \
                     : C16(how, 0), C16(how, 4)                                                    \
                     : "l"(a), "l"(b));                                                            \
    else if constexpr (J == 12)                                                                    \
        asm volatile(PRODUCT(96, N48, "%48, %49, p, 1, 1, 0, 0", add)                              \
                     : C16(how, 0), C16(how, 4), C16(how, 8)                                       \
                     : "l"(a), "l"(b));                                                            \
    else                                                                                           \
        asm volatile(PRODUCT(128, N64, "%64, %65, p, 1, 1, 0, 0", add)                             \
                     : C64(how, 0)                                                                 \
                     : "l"(a), "l"(b))

/* c (64,8 J) = or += a (64,16) times the transpose of b (8 J,16), both in shared memory; a thread has of c what it
 * would of mma.sync's c, warp w rows 16 w to 16 w + 15 ("Register Fragments"). */
template <bool ADD, int J> DEVICE void multiply(float (&c)[J][4], uint64_t a, uint64_t b)
{
    static_assert(J == 4 || J == 8 || J == 12 || J == 16, "other sizes have no instruction here");
    if constexpr (ADD) {
        MULTIPLY("+f", 1);
    } else {
        MULTIPLY("=f", 0);
    }
}

/* c (64,8 J) += a (64,16), in registers as mma.sync's a, times b (16,8 J) in shared memory. */
template <int J> DEVICE void multiply_rows(float (&c)[J][4], const uint32_t (&a)[4], uint64_t b)
{
    static_assert(J == 8 || J == 16 || J == 32, "other sizes have no instruction here");
    if constexpr (J == 8)
        asm volatile(PRODUCT(64, N32, "{%32,%33,%34,%35}, %36, p, 1, 1, 1", 1)
                     : C16("+f", 0), C16("+f", 4)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (J == 16)
        asm volatile(PRODUCT(128, N64, "{%64,%65,%66,%67}, %68, p, 1, 1, 1", 1)
                     : C64("+f", 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else
        asm volatile(PRODUCT(256, N128, "{%128,%129,%130,%131}, %132, p, 1, 1, 1", 1)
                     : C64("+f", 0), C64("+f", 16)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#undef C4
#undef C16
#undef C64
#undef N16
#undef N32
#undef N48
#undef N64
#undef N128
#undef PRODUCT
#undef MULTIPLY

#endif
