/* SPDX-License-Identifier: MIT
 *
 * lanczos.c - resizing by Lanczos' filter with three lobes, in the very arithmetic of Pillow, for codecs whose nets were
 * trained on pictures that Pillow had resized.
 *
 * As there: rows first, then columns, with bytes between; weights are made in double, divided by their sum and rounded to
 * 22 bits behind the point; a pass that changes no size is left out.  Only what the window shows is computed.
 */
#include <limits.h>
#include <math.h>

#include "../base/base.h"

enum { BITS = 22, LOBES = 3 };

/* One axis: output i, counted from the window's begin, is the weighted sum of inputs [begin[i], begin[i] + n[i]). */
struct axis {
    int64_t *begin;
    int *n, *weight; /* taps an output */
    int taps;
};

static void free_axis(struct axis *a)
{
    mot_free(a->begin);
    mot_free(a->n);
    mot_free(a->weight);
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(x * M_PI) / (x * M_PI);
}

static double lanczos(double x)
{
    return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

/* The weights of output i of the whole axis; w (taps) is scratch. */
static void weigh(struct axis *a, int64_t at, int64_t i, int64_t in, double step, double *w)
{
    double stretch = step > 1 ? step : 1, support = LOBES * stretch, centre = ((double)i + 0.5) * step, sum = 0;
    int64_t lo = (int64_t)(centre - support + 0.5), hi = (int64_t)(centre + support + 0.5);
    lo = lo < 0 ? 0 : lo;
    hi = hi > in ? in : hi;
    int n = (int)(hi - lo), *fixed = a->weight + at * a->taps;
    for (int k = 0; k < n; k++) {
        w[k] = lanczos(((double)(k + lo) - centre + 0.5) * (1 / stretch));
        sum += w[k];
    }
    for (int k = 0; k < n; k++) {
        double scaled = (sum != 0 ? w[k] / sum : w[k]) * (1 << BITS);
        fixed[k] = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    }
    a->begin[at] = lo;
    a->n[at] = n;
}

/* Outputs [first, first + n) of an axis that turns `in` into `out`. */
static int make_axis(struct axis *a, int64_t in, int64_t out, int64_t first, int n)
{
    double step = (double)in / (double)out, support = LOBES * (step > 1 ? step : 1);
    if (support > INT_MAX / 4)
        return mot_fail(MOT_EARG, "a picture of %lld pixels in a line cannot become %lld", (long long)in, (long long)out);
    a->taps = (int)ceil(support) * 2 + 1;
    size_t weights;
    if (!mot_mul((size_t)n, (size_t)a->taps, &weights))
        return mot_fail(MOT_ENOMEM, "out of memory resizing a picture");
    a->begin = mot_alloc((size_t)n, sizeof *a->begin);
    a->n = mot_alloc((size_t)n, sizeof *a->n);
    a->weight = mot_alloc(weights, sizeof *a->weight);
    double *w = mot_alloc((size_t)a->taps, sizeof *w);
    int rc = a->begin && a->n && a->weight && w ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; !rc && i < n; i++)
        weigh(a, i, first + i, in, step, w);
    mot_free(w);
    return rc;
}

static unsigned char to_byte(int sum)
{
    sum >>= BITS;
    return (unsigned char)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void across(const struct axis *a, const unsigned char *row, unsigned char *to, int width)
{
    for (int i = 0; i < width; i++) {
        const int *w = a->weight + (int64_t)i * a->taps;
        const unsigned char *p = row + 3 * a->begin[i];
        int sum[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int k = 0; k < a->n[i]; k++, p += 3)
            for (int c = 0; c < 3; c++)
                sum[c] += w[k] * p[c];
        for (int c = 0; c < 3; c++)
            *to++ = to_byte(sum[c]);
    }
}

/* Output row i of `line` bytes; sum (line) is scratch, rows[0] the input row `first`. */
static void down(const struct axis *a, int i, const unsigned char *rows, int64_t first, size_t line, int *sum,
                 unsigned char *to)
{
    const int *w = a->weight + (int64_t)i * a->taps;
    for (size_t x = 0; x < line; x++)
        sum[x] = 1 << (BITS - 1);
    for (int k = 0; k < a->n[i]; k++) {
        const unsigned char *row = rows + (size_t)(a->begin[i] + k - first) * line;
        for (size_t x = 0; x < line; x++)
            sum[x] += w[k] * row[x];
    }
    for (size_t x = 0; x < line; x++)
        to[x] = to_byte(sum[x]);
}

/* Rows [first, first + n) of the input, the window's columns of them, as wide as they will be. */
static int resize_rows(const struct mot_image *im, int64_t width, const struct mot_window *w, int64_t first, int64_t n,
                       unsigned char *out)
{
    struct axis a = {0};
    size_t line = 3 * (size_t)w->width;
    int rc = width == im->width ? MOT_OK : make_axis(&a, im->width, width, w->x0, w->width);
    for (int64_t y = 0; !rc && y < n; y++) {
        const unsigned char *row = im->rgb + 3 * (size_t)im->width * (size_t)(first + y);
        if (width == im->width)
            memcpy(out + (size_t)y * line, row + 3 * w->x0, line);
        else
            across(&a, row, out + (size_t)y * line, w->width);
    }
    free_axis(&a);
    return rc;
}

int mot_image_lanczos(const struct mot_image *im, int64_t width, int64_t height, const struct mot_window *w,
                      struct mot_image *out)
{
    *out = (struct mot_image){0};
    if (im->width < 1 || im->height < 1 || w->width < 1 || w->height < 1 || w->x0 < 0 || w->y0 < 0 ||
        width - w->x0 < w->width || height - w->y0 < w->height)
        return mot_fail(MOT_EARG, "a window of %d x %d does not lie in a picture of %lld x %lld", w->width, w->height,
                        (long long)width, (long long)height);
    struct axis a = {0};
    size_t line = 3 * (size_t)w->width;
    bool same = height == im->height;
    int rc = same ? MOT_OK : make_axis(&a, im->height, height, w->y0, w->height);
    int64_t first = w->y0, end = w->y0 + w->height;
    if (!rc && !same) {
        first = a.begin[0];
        end = a.begin[w->height - 1] + a.n[w->height - 1];
    }
    unsigned char *rows = rc ? NULL : mot_alloc((size_t)(end - first), line);
    unsigned char *rgb = rc || same ? NULL : mot_alloc((size_t)w->height, line);
    int *sum = mot_alloc(line, sizeof *sum);
    if (!rc && (!rows || !sum || !(rgb || same)))
        rc = MOT_ENOMEM;
    if (!rc)
        rc = resize_rows(im, width, w, first, end - first, rows);
    for (int i = 0; !rc && !same && i < w->height; i++)
        down(&a, i, rows, first, line, sum, rgb + (size_t)i * line);
    free_axis(&a);
    mot_free(sum);
    if (!rc)
        *out = (struct mot_image){w->width, w->height, same ? rows : rgb};
    if (rc || !same)
        mot_free(rows);
    if (rc)
        mot_free(rgb);
    return rc;
}
