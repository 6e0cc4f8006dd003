/* SPDX-License-Identifier: MIT
 *
 * lanczos.c - resizing by Lanczos' filter with three lobes, or by cubic curves, in the very arithmetic of Pillow, for nets that
 * were trained on pictures that Pillow had resized.
 *
 * As there: one direction, then the other, with bytes between; weights are made in double, divided by their sum and rounded
 * to 22 bits behind the point; a pass that changes no size is left out.  Rows are resized first, unless the picture becomes
 * lower by more than twice what it becomes narrower (Pillow from 13 on; earlier ones differ there by a few values where
 * overshoot is cut off).  Only what the window shows is computed.
 */
#include <limits.h>
#include <math.h>

#include "../base/base.h"

enum { BITS = 22, LOBES = 3 };

struct filter {
    double support; /* it is 0 from there on */
    double (*at)(double x);
};

/* One axis: output i, counted from the window's begin, is the weighted sum of inputs [begin[i], begin[i] + n[i]). */
struct axis {
    int64_t *begin;
    int *n, *weight;    /* taps an output */
    int taps, size;     /* outputs */
    bool same;          /* there is nothing to do but to take [first, end) */
    int64_t first, end; /* inputs that count */
};

/* A part of a picture, which begins at (x0, y0) of the whole. */
struct plane {
    unsigned char *rgb, *own; /* own: what is to be freed */
    int64_t x0, y0, width, height;
    size_t stride; /* bytes */
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

/* Keys' cubic with a = -1/2. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static const struct filter lanczos_filter = {LOBES, lanczos}, cubic_filter = {2, cubic};

/* The weights of output i of the whole axis; w (taps) is scratch. */
static void weigh(struct axis *a, const struct filter *f, int64_t at, int64_t i, int64_t in, double step, double *w)
{
    double stretch = step > 1 ? step : 1, support = f->support * stretch, centre = ((double)i + 0.5) * step, sum = 0;
    int64_t lo = (int64_t)(centre - support + 0.5), hi = (int64_t)(centre + support + 0.5);
    lo = lo < 0 ? 0 : lo;
    hi = hi > in ? in : hi;
    int n = (int)(hi - lo), *fixed = a->weight + at * a->taps;
    for (int k = 0; k < n; k++) {
        w[k] = f->at(((double)(k + lo) - centre + 0.5) * (1 / stretch));
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
static int make_axis(struct axis *a, const struct filter *f, int64_t in, int64_t out, int64_t first, int n)
{
    double step = (double)in / (double)out, support = f->support * (step > 1 ? step : 1);
    *a = (struct axis){.size = n, .same = in == out, .first = first, .end = first + n};
    if (a->same)
        return MOT_OK;
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
        weigh(a, f, i, first + i, in, step, w);
    mot_free(w);
    if (!rc) {
        a->first = a->begin[0];
        a->end = a->begin[n - 1] + a->n[n - 1];
    }
    return rc;
}

static unsigned char to_byte(int sum)
{
    sum >>= BITS;
    return (unsigned char)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* -- passes: from a part of the picture to the part that the window needs; *to may look into `from` -- */

static struct plane view(const struct plane *from, int64_t x0, int64_t y0, int64_t width, int64_t height)
{
    size_t at = (size_t)(y0 - from->y0) * from->stride + 3 * (size_t)(x0 - from->x0);
    return (struct plane){from->rgb + at, NULL, x0, y0, width, height, from->stride};
}

static int new_plane(struct plane *p, int64_t x0, int64_t y0, int64_t width, int64_t height)
{
    *p = (struct plane){.x0 = x0, .y0 = y0, .width = width, .height = height, .stride = 3 * (size_t)width};
    p->rgb = p->own = mot_alloc((size_t)height, p->stride);
    return p->rgb ? MOT_OK : MOT_ENOMEM;
}

/* row begins at column x0 of the whole. */
static void resize_row(const struct axis *a, const unsigned char *row, int64_t x0, unsigned char *to)
{
    for (int i = 0; i < a->size; i++) {
        const int *w = a->weight + (int64_t)i * a->taps;
        const unsigned char *p = row + 3 * (a->begin[i] - x0);
        int sum[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int k = 0; k < a->n[i]; k++, p += 3)
            for (int c = 0; c < 3; c++)
                sum[c] += w[k] * p[c];
        for (int c = 0; c < 3; c++)
            *to++ = to_byte(sum[c]);
    }
}

static int across(const struct axis *a, int64_t x0, const struct plane *from, struct plane *to)
{
    if (a->same) {
        *to = view(from, a->first, from->y0, a->size, from->height);
        return MOT_OK;
    }
    int rc = new_plane(to, x0, from->y0, a->size, from->height);
    for (int64_t y = 0; !rc && y < from->height; y++)
        resize_row(a, from->rgb + (size_t)y * from->stride, from->x0, to->rgb + (size_t)y * to->stride);
    return rc;
}

/* Output row i; sum (3 width) is scratch. */
static void sum_rows(const struct axis *a, int i, const struct plane *from, int *sum, unsigned char *to)
{
    const int *w = a->weight + (int64_t)i * a->taps;
    size_t line = 3 * (size_t)from->width;
    for (size_t x = 0; x < line; x++)
        sum[x] = 1 << (BITS - 1);
    for (int k = 0; k < a->n[i]; k++) {
        const unsigned char *row = from->rgb + (size_t)(a->begin[i] + k - from->y0) * from->stride;
        for (size_t x = 0; x < line; x++)
            sum[x] += w[k] * row[x];
    }
    for (size_t x = 0; x < line; x++)
        to[x] = to_byte(sum[x]);
}

static int down(const struct axis *a, int64_t y0, const struct plane *from, struct plane *to)
{
    if (a->same) {
        *to = view(from, from->x0, a->first, from->width, a->size);
        return MOT_OK;
    }
    int *sum = mot_alloc((size_t)from->width, 3 * sizeof *sum);
    int rc = sum ? new_plane(to, from->x0, y0, from->width, a->size) : MOT_ENOMEM;
    for (int i = 0; !rc && i < a->size; i++)
        sum_rows(a, i, from, sum, to->rgb + (size_t)i * to->stride);
    mot_free(sum);
    return rc;
}

static int resample(const struct mot_image *im, const struct filter *f, int64_t width, int64_t height,
                    const struct mot_window *w, struct mot_image *out)
{
    *out = (struct mot_image){0};
    if (im->width < 1 || im->height < 1 || w->width < 1 || w->height < 1 || w->x0 < 0 || w->y0 < 0 ||
        width - w->x0 < w->width || height - w->y0 < w->height)
        return mot_fail(MOT_EARG, "a window of %d x %d does not lie in a picture of %lld x %lld", w->width, w->height,
                        (long long)width, (long long)height);
    int64_t lower = im->height - height, narrower = im->width - width;
    bool down_first = lower > 0 && lower > 2 * narrower;
    struct axis x = {0}, y = {0};
    struct plane all = {im->rgb, NULL, 0, 0, im->width, im->height, 3 * (size_t)im->width}, between = {0}, last = {0};
    int rc = make_axis(&x, f, im->width, width, w->x0, w->width);
    if (!rc)
        rc = make_axis(&y, f, im->height, height, w->y0, w->height);
    if (!rc) {
        all = view(&all, x.first, y.first, x.end - x.first, y.end - y.first);
        rc = down_first ? down(&y, w->y0, &all, &between) : across(&x, w->x0, &all, &between);
    }
    if (!rc)
        rc = down_first ? across(&x, w->x0, &between, &last) : down(&y, w->y0, &between, &last);
    size_t line = 3 * (size_t)w->width;
    if (!rc)
        *out = (struct mot_image){w->width, w->height, mot_alloc((size_t)w->height, line)};
    if (!rc && !out->rgb)
        rc = MOT_ENOMEM;
    for (size_t i = 0; !rc && i < (size_t)w->height; i++)
        memcpy(out->rgb + i * line, last.rgb + i * last.stride, line);
    mot_free(between.own);
    mot_free(last.own);
    free_axis(&x);
    free_axis(&y);
    return rc;
}

int mot_image_lanczos(const struct mot_image *im, int64_t width, int64_t height, const struct mot_window *w,
                      struct mot_image *out)
{
    return resample(im, &lanczos_filter, width, height, w, out);
}

int mot_image_bicubic(const struct mot_image *im, int64_t width, int64_t height, const struct mot_window *w,
                      struct mot_image *out)
{
    return resample(im, &cubic_filter, width, height, w, out);
}
