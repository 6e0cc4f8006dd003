/* SPDX-License-Identifier: MIT
 *
 * attention.h - what attention in bf16 (attention.cu) and in float (attention_f32.cu) share.
 *
 * Queries and keys are cut into tiles without regard to segments; four numbers a position say which keys
 * a query sees, [begin, until), and which queries see a key, [since, end).  None of them descends from a
 * position to the next.  Backward, one kernel goes through the keys of each query for dq and one through the
 * queries of each key for dk and dv, so that every sum has one owner.
 */
#ifndef MOT_CUDA_ATTENTION_H
#define MOT_CUDA_ATTENTION_H

#include <math.h>

#include "cuda.h"

namespace mot_cuda
{

/* What all of attention's kernels are given.  Arrays as in kernels.h; sizes fit 32 bits but for products. */
template <class A> struct call {
    A *o, *dq, *dk, *dv;
    const A *q, *k, *v, *dO;
    float *lse;        /* forward's result, backward's input */
    const float *mean; /* (H,N): dO . o of each query */
    A *ordered;        /* (H,N,D): dO in sequence order, where sm90_takes(), else NULL */
    const int32_t *row, *begin, *until, *since, *end;
    int N, H, K, D;
    float scale;
};

/* begin (N), until (N), since (N) and end (N). */
const int32_t *spans(mot_device *d, const mot_segment *segments, int64_t n_segments,
                     const int32_t *until, int64_t N);

/* The call of an operation; spans and, backward, mean are made. False: a fault. */
template <class A>
bool begin_call(mot_device *d, call<A> *c, const float *q, const float *k, const float *v,
                const float *lse, const int32_t *row, const int32_t *until,
                const mot_segment *segments, int64_t n_segments, int64_t N, int64_t H, int64_t K, int64_t D, float scale);
template <class A>
bool begin_back(mot_device *d, call<A> *c, float *dq, float *dk, float *dv, const float *dO,
                const float *o);

/* The kernels for compute capability 9.0 have tiles for such heads, which boxes of 16 bytes make up: of 32 values or
 * fewer a tile's half or more would be empty. */
static inline bool sm90_takes(const mot_device *d, int64_t D)
{
    return d->hopper && D > 32 && D <= 256 && D % 8 == 0;
}

/* attention_sm90.cu, attention_sm90_back.cu: false, and nothing done, where the device or the shape is not for them. */
bool attention_sm90(mot_device *d, const call<bf16> &c);
bool attention_back_sm90(mot_device *d, const call<bf16> &c);

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

} // namespace mot_cuda

#endif
