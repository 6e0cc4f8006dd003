/* SPDX-License-Identifier: MIT
 *
 * optim.cu - norm of the gradients, its clipping, and AdamW (Loshchilov & Hutter 2019), which also
 * renews the weights' copy: each array passes once.
 */
#include <math.h>

#include "cuda.h"

namespace mot_cuda
{

enum { THREADS = 256, MOST_PARTS = 1024 };

size_t optim_need()
{
    return MOST_PARTS * sizeof(double);
}

/* -- sum of squares ------------------------------------------------------------------------------ */

template <int W> static __global__ void square_parts(double *part, const float *x, int64_t n)
{
    double *space = (double *)shared_memory(), sum = 0;
    int64_t step = (int64_t)gridDim.x * THREADS * W;
    for (int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W; i < n; i += step) {
        float v[W];
        load<W>(v, x + i);
        for (int j = 0; j < W; j++)
            sum += (double)v[j] * (double)v[j];
    }
    sum = block_sum(sum, space);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

static __global__ void sum_parts(double *out, const double *part, int n)
{
    double *space = (double *)shared_memory(), sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += THREADS)
        sum += part[i];
    sum = block_sum(sum, space);
    if (threadIdx.x == 0)
        out[0] = sum;
}

void sumsq(mot_device *d, double *out, const float *x, int64_t n)
{
    watched w(d);
    double *part = workspace_of<double>(d, MOST_PARTS);
    if (!part)
        return;
    bool fast = aligned<float>(n, x);
    int64_t parts =
        at_most(ceil_div(n, THREADS * (fast ? 4 : 1)), at_most(8 * d->units, MOST_PARTS));
    run(d, "sumsq", fast ? square_parts<4> : square_parts<1>, dim3((unsigned)parts), THREADS,
        32 * sizeof(double), part, x, n);
    run(d, "sumsq, parts", sum_parts, 1, THREADS, 32 * sizeof(double), out, part, (int)parts);
}

/* -- clipping ------------------------------------------------------------------------------------ */

static __global__ void clip_kernel(float *scale, const double *sums, int n, float max_norm)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += sums[i];
    double s = max_norm > 0 ? (double)max_norm / (sqrt(sum) + 1e-6) : 1;
    scale[0] = s < 1 ? (float)s : 1;
}

void clip(mot_device *d, float *scale, const double *sums, int n, float max_norm)
{
    watched w(d);
    run(d, "clip", clip_kernel, 1, 1, 0, scale, sums, n, max_norm);
}

/* -- AdamW --------------------------------------------------------------------------------------- */

/* A step's constants.  Both corrections are drawn out of the loop:
 *   lr (m / c1) / (sqrt(v / c2) + eps) = (lr sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)) */
struct rates {
    float rate, keep, b1, a1, b2, a2, eps;
};

template <int W>
static __global__ void adamw_kernel(float *w, float *m, float *v, float *grad, bf16 *shadow,
                                    int64_t n, const float *scale, rates c)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n)
        return;
    float wi[W], mi[W], vi[W], g[W], s = scale[0];
    load<W>(wi, w + i);
    load<W>(mi, m + i);
    load<W>(vi, v + i);
    load<W>(g, grad + i);
    for (int j = 0; j < W; j++) {
        float gj = g[j] * s;
        mi[j] = c.b1 * mi[j] + c.a1 * gj;
        vi[j] = c.b2 * vi[j] + c.a2 * (gj * gj);
        wi[j] = c.keep * wi[j] - c.rate * mi[j] / (sqrtf(vi[j]) + c.eps);
        g[j] = 0;
    }
    store<W>(w + i, wi);
    store<W>(m + i, mi);
    store<W>(v + i, vi);
    store<W>(grad + i, g);
    if (shadow)
        store<W>(shadow + i, wi);
}

void adamw(mot_device *d, float *w, float *m, float *v, float *grad, int64_t n, const float *scale,
           float lr, float b1, float b2, float eps, float decay, int64_t step)
{
    watched watch(d);
    double c1 = 1 - pow((double)b1, (double)step), c2 = 1 - pow((double)b2, (double)step);
    rates c = {
        .rate = (float)((double)lr * sqrt(c2) / c1),
        .keep = (float)(1 - (double)lr * (double)decay),
        .b1 = b1,
        .a1 = 1 - b1,
        .b2 = b2,
        .a2 = 1 - b2,
        .eps = (float)((double)eps * sqrt(c2)),
    };
    bool ours = d->shadow && w >= d->params && w < d->params + d->values;
    bf16 *shadow = ours ? d->shadow + (w - d->params) : NULL;
    bool fast = aligned<bf16>(n, w, m, v, grad, shadow);
    run(d, "adamw", fast ? adamw_kernel<8> : adamw_kernel<1>,
        dim3((unsigned)ceil_div(n, THREADS * (fast ? 8 : 1))), THREADS, 0, w, m, v, grad, shadow, n,
        scale, c);
}

} // namespace mot_cuda
