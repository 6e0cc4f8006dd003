/* SPDX-License-Identifier: MIT
 *
 * patch.c - pictures whose tokens are vectors, by the formulas in kernels.h, in double precision.
 */
#include <math.h>

#include "ref.h"

void mot_ref_cast(struct mot_device *d, mot_real *y, const mot_real *x, int64_t row, int64_t rows, int64_t C)
{
    (void)d;
    for (int64_t k = row * C; k < (row + rows) * C; k++)
        y[k] = x[k];
}

void mot_ref_uncast(struct mot_device *d, mot_real *y, const mot_real *x, int64_t row, int64_t rows, int64_t C)
{
    mot_ref_cast(d, y, x, row, rows, C);
}

void mot_ref_spread(struct mot_device *d, mot_real *y, const mot_real *e, const int32_t *of, int64_t row,
                    int64_t rows, int64_t C)
{
    (void)d;
    for (int64_t i = row; i < row + rows; i++)
        for (int64_t c = 0; c < C; c++)
            y[i * C + c] += e[of[i] * C + c];
}

void mot_ref_spread_back(struct mot_device *d, mot_real *de, const mot_real *dy, const int32_t *of,
                         int64_t row, int64_t rows, int64_t M, int64_t C)
{
    (void)d;
    for (int64_t m = 0; m < M; m++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t i = row; i < row + rows; i++)
                sum += of[i] == m ? (double)dy[i * C + c] : 0;
            de[m * C + c] = (mot_real)sum;
        }
}

void mot_ref_unfold(struct mot_device *d, mot_real *y, const mot_real *x, const int32_t *near, int64_t N, int64_t C)
{
    (void)d;
    for (int64_t k = 0; k < 9 * N; k++)
        for (int64_t c = 0; c < C; c++)
            y[k * C + c] = near[k] < 0 ? 0 : x[near[k] * C + c];
}

void mot_ref_unfold_back(struct mot_device *d, mot_real *dx, const mot_real *dy, const int32_t *near, int64_t N, int64_t C)
{
    (void)d;
    for (int64_t j = 0; j < N; j++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t t = 0; t < 9; t++) {
                int64_t i = near[9 * j + 8 - t];
                sum += i < 0 ? 0 : (double)dy[(9 * i + t) * C + c];
            }
            dx[j * C + c] = (mot_real)sum;
        }
}

void mot_ref_squared_error(struct mot_device *d, mot_real *loss, mot_real *dx, const mot_real *x,
                           const mot_real *target, const mot_real *weight, int64_t row, int64_t rows,
                           int64_t C)
{
    (void)d;
    for (int64_t i = row; i < row + rows; i++) {
        double sum = 0;
        for (int64_t c = 0; c < C; c++) {
            double off = (double)x[i * C + c] - (double)target[i * C + c];
            sum += off * off;
            if (dx)
                dx[i * C + c] = (mot_real)(2 * (double)weight[i] * off / (double)C);
        }
        loss[i] = (mot_real)(sum / (double)C);
    }
}

void mot_ref_silu(struct mot_device *d, mot_real *y, const mot_real *x, int64_t n)
{
    (void)d;
    for (int64_t i = 0; i < n; i++)
        y[i] = (mot_real)((double)x[i] / (1 + exp(-(double)x[i])));
}

void mot_ref_silu_back(struct mot_device *d, mot_real *dx, const mot_real *dy, const mot_real *x, int64_t n)
{
    (void)d;
    for (int64_t i = 0; i < n; i++) {
        double a = 1 / (1 + exp(-(double)x[i]));
        dx[i] = (mot_real)((double)dy[i] * a * (1 + (double)x[i] * (1 - a)));
    }
}
