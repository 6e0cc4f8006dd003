/* SPDX-License-Identifier: MIT
 *
 * hopper.h - the host's twin of kernels/cuda/gpu/hopper.h: the same names, the same meaning (hopper.cpp).
 */
#ifndef MOT_HOPPER_H
#define MOT_HOPPER_H

#include "gpu.h"

#define MOT_HOPPER 1
#define GRID_CONSTANT const
#define __grid_constant__

/* -- tensor maps ----------------------------------------------------------------------------------- */

struct alignas(128) tensor_map {
    const void *array;
    int64_t columns, rows, heads;
    int box;
};

bool describe(tensor_map *map, const void *array, int64_t columns, int64_t rows, int64_t heads, int box);

/* -- barriers in shared memory ----------------------------------------------------------------------- */

typedef uint64_t barrier;

uint32_t shared_address(const void *p);
void barrier_init(barrier *b, int count);
void barriers_ready();
void barrier_arrive(barrier *b);
void barrier_expect(barrier *b, int bytes);
void barrier_wait(barrier *b, int parity);

/* -- copies ----------------------------------------------------------------------------------------- */

DEVICE void prefetch_map(const tensor_map *)
{
}

void copy_box(void *to, const tensor_map *map, barrier *b, int column, int row, int head);

/* -- warpgroups ------------------------------------------------------------------------------------- */

int uniform(int x);
void shim_registers(int n, bool more);

template <int n> DEVICE void fewer_registers()
{
    shim_registers(n, false);
}

template <int n> DEVICE void more_registers()
{
    shim_registers(n, true);
}

void named_wait(int id, int threads);
void named_arrive(int id, int threads);

/* -- products --------------------------------------------------------------------------------------- */

uint64_t matrix_at(const void *p, int leading);

DEVICE uint64_t matrix_after(uint64_t matrix, int bytes)
{
    return matrix + (uint64_t)(bytes >> 4);
}

void products_begin();
void products_commit();
void shim_products_wait(int n);

template <int n> DEVICE void products_wait()
{
    shim_products_wait(n);
}

/* Nothing to do: c is read and written by functions that the compiler does not see into. */
template <int J> DEVICE void hold(float (&)[J][4])
{
}

/* A from a descriptor where `rows` is NULL; then B's descriptor is K-major, else it is MN-major. */
void shim_multiply(float (*c)[4], int J, const uint32_t *rows, uint64_t a, uint64_t b, bool add);

template <bool ADD, int J> DEVICE void multiply(float (&c)[J][4], uint64_t a, uint64_t b)
{
    static_assert(J == 4 || J == 8 || J == 12 || J == 16, "other sizes have no instruction here");
    shim_multiply(c, J, NULL, a, b, ADD);
}

template <int J> DEVICE void multiply_rows(float (&c)[J][4], const uint32_t (&a)[4], uint64_t b)
{
    static_assert(J == 8 || J == 16 || J == 32, "other sizes have no instruction here");
    shim_multiply(c, J, a, 0, b, true);
}

#endif
