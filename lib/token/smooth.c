/* SPDX-License-Identifier: MIT
 *
 * smooth.c - learned filters over decoded pictures.
 *
 * Few codes can give a flat colour only on the average: it comes back mottled.  So each decoded pixel
 * is replaced by a weighted sum of the pixels around it, in all three colours, with weights that bring
 * it nearest to the original in the mean (Wiener's filter), and other weights for flat, busy and very
 * busy places (after the adaptive loop filter of H.266: Karczewicz et al. 2021).  What counts as busy
 * is the sum of second differences of the luminance around the pixel.
 *
 * Weights follow from sums over pixels, made in a fixed number of parts that are added in order, so
 * the number of threads does not show.
 */
#include <math.h>
#include <stdlib.h>

#include <omp.h>

#include "smooth.h"

enum {
    TAPS = MOT_SMOOTH_TAPS,
    CLASSES = MOT_SMOOTH_CLASSES,
    REACH = MOT_SMOOTH_REACH,
    WIDTH = 2 * REACH + 1,
    CENTRE = (WIDTH * WIDTH / 2) * 3,
    PARTS = 16,
    PIXELS = 1 << 20 /* learned from, about */
};
/* So many pixels of no change are put in with a class's own. */
static const double CAUTION = 1000;
static const float SCALE = 64; /* of the constant tap: as large as the others are */

struct sums {
    double a[CLASSES][TAPS][TAPS]; /* of products of taps, the upper half */
    double b[CLASSES][3][TAPS];    /* of taps and what is missing from the pixel */
    int64_t n[CLASSES];
};

static int64_t inside(int64_t i, int size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

static float luma(const float *p)
{
    return 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
}

/* Second differences of the luminance at each pixel, and then their sum over 5 x 5. */
static void activities(const float *x, int size, float *second, float *activity)
{
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++) {
            float here = 2 * luma(x + (i * size + j) * 3);
            float up = luma(x + (inside(i - 1, size) * size + j) * 3);
            float down = luma(x + (inside(i + 1, size) * size + j) * 3);
            float left = luma(x + (i * size + inside(j - 1, size)) * 3);
            float right = luma(x + (i * size + inside(j + 1, size)) * 3);
            second[i * size + j] = fabsf(here - up - down) + fabsf(here - left - right);
        }
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++) {
            float sum = 0;
            for (int64_t v = -REACH; v <= REACH; v++)
                for (int64_t u = -REACH; u <= REACH; u++)
                    sum += second[inside(i + v, size) * size + inside(j + u, size)];
            activity[i * size + j] = sum;
        }
}

static int class_of(const struct mot_smooth *s, float activity)
{
    int k = 0;
    while (k < CLASSES - 1 && activity > s->level[k])
        k++;
    return k;
}

static void gather(const float *x, int size, int64_t i, int64_t j, float *tap)
{
    for (int64_t v = -REACH; v <= REACH; v++)
        for (int64_t u = -REACH; u <= REACH; u++, tap += 3)
            memcpy(tap, x + (inside(i + v, size) * size + inside(j + u, size)) * 3, 3 * sizeof *tap);
    *tap = SCALE;
}

/* ---- learning ---- */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Levels that part the pixels into classes of one size. */
static int set_levels(struct mot_smooth *s, float *const *decoded, int64_t n, int size)
{
    int64_t pixels = (int64_t)size * size, count = 0, step = n * pixels / 100000 + 1;
    float *second = mot_alloc((size_t)pixels, 2 * sizeof *second), *activity = second ? second + pixels : NULL;
    float *some = mot_alloc((size_t)(n * pixels / step + 1), sizeof *some);
    int rc = second && some ? MOT_OK : MOT_ENOMEM;
    int64_t at = 0;
    for (int64_t k = 0; !rc && k < n; k++) {
        activities(decoded[k], size, second, activity);
        for (; at < (k + 1) * pixels; at += step)
            some[count++] = activity[at - k * pixels];
    }
    if (!rc)
        qsort(some, (size_t)count, sizeof *some, by_value);
    for (int k = 0; !rc && k < CLASSES - 1; k++)
        s->level[k] = some[(k + 1) * count / CLASSES];
    mot_free(second);
    mot_free(some);
    return rc;
}

static void add_pixel(struct sums *s, int class, const float *tap, const float *decoded, const float *original)
{
    for (int i = 0; i < TAPS; i++) {
        double *row = s->a[class][i], t = (double)tap[i];
        for (int j = i; j < TAPS; j++)
            row[j] += t * (double)tap[j];
    }
    for (int c = 0; c < 3; c++) {
        double missing = (double)(original[c] - decoded[c]);
        for (int i = 0; i < TAPS; i++)
            s->b[class][c][i] += missing * (double)tap[i];
    }
    s->n[class]++;
}

/* Pictures of one part; work (2, pixels) is the thread's. */
static void add_pictures(const struct mot_smooth *s, struct sums *sums, float *const *decoded, float *const *original,
                         int64_t n, int size, int part, float *work)
{
    int64_t pixels = (int64_t)size * size, step = n * pixels / PIXELS + 1;
    float tap[TAPS];
    for (int64_t k = part; k < n; k += PARTS) {
        activities(decoded[k], size, work, work + pixels);
        for (int64_t i = k % step; i < pixels; i += step) {
            gather(decoded[k], size, i / size, i % size, tap);
            add_pixel(sums, class_of(s, work[pixels + i]), tap, decoded[k] + 3 * i, original[k] + 3 * i);
        }
    }
}

static void add_sums(struct sums *to, const struct sums *from)
{
    for (int k = 0; k < CLASSES; k++) {
        for (int i = 0; i < TAPS; i++)
            for (int j = i; j < TAPS; j++)
                to->a[k][i][j] += from->a[k][i][j];
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < TAPS; i++)
                to->b[k][c][i] += from->b[k][c][i];
        to->n[k] += from->n[k];
    }
}

/* a x = b for a symmetric positive a, whose upper half is given and is lost; three b at once. (Cholesky) */
static void solve(double a[TAPS][TAPS], double b[3][TAPS])
{
    for (int i = 0; i < TAPS; i++) {
        double d = sqrt(a[i][i]);
        for (int j = i; j < TAPS; j++)
            a[i][j] /= d;
        for (int k = i + 1; k < TAPS; k++)
            for (int j = k; j < TAPS; j++)
                a[k][j] -= a[i][k] * a[i][j];
    }
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < TAPS; i++) {
            for (int k = 0; k < i; k++)
                b[c][i] -= a[k][i] * b[c][k];
            b[c][i] /= a[i][i];
        }
        for (int i = TAPS - 1; i >= 0; i--) {
            for (int k = i + 1; k < TAPS; k++)
                b[c][i] -= a[i][k] * b[c][k];
            b[c][i] /= a[i][i];
        }
    }
}

/* The weights of a class: what is missing is told by the taps, less boldly where pixels are few. */
static void set_weights(struct mot_smooth *s, struct sums *all, int class)
{
    double mean = 0, n = (double)(all->n[class] > 0 ? all->n[class] : 1);
    for (int i = 0; i < TAPS; i++)
        mean += all->a[class][i][i] / n / TAPS;
    for (int i = 0; i < TAPS; i++)
        all->a[class][i][i] += CAUTION * (mean / TAPS + 1);
    solve(all->a[class], all->b[class]);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < TAPS; i++)
            s->weight[(class * 3 + c) * TAPS + i] = (float)all->b[class][c][i] + (i == CENTRE + c);
}

int mot_smooth_learn(struct mot_smooth *s, float *const *decoded, float *const *original, int64_t n, int size)
{
    *s = (struct mot_smooth){0};
    int threads = omp_get_max_threads(), rc = set_levels(s, decoded, n, size);
    size_t pixels = (size_t)size * (size_t)size;
    struct sums *sums = mot_alloc(PARTS, sizeof *sums);
    float *work = mot_alloc((size_t)threads * 2, pixels * sizeof *work);
    if (!rc && (!sums || !work))
        rc = MOT_ENOMEM;
    if (!rc) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
        for (int part = 0; part < PARTS; part++)
            add_pictures(s, &sums[part], decoded, original, n, size, part,
                         work + (size_t)omp_get_thread_num() * 2 * pixels);
        for (int part = 1; part < PARTS; part++)
            add_sums(&sums[0], &sums[part]);
        for (int k = 0; k < CLASSES; k++)
            set_weights(s, &sums[0], k);
    }
    mot_free(sums);
    mot_free(work);
    return rc;
}

/* ---- use ---- */

int mot_smooth_apply(const struct mot_smooth *s, const float *x, int size, float *out)
{
    int64_t pixels = (int64_t)size * size;
    float *second = mot_alloc((size_t)pixels, 2 * sizeof *second), tap[TAPS];
    if (!second)
        return MOT_ENOMEM;
    activities(x, size, second, second + pixels);
    for (int64_t i = 0; i < pixels; i++) {
        const float *w = s->weight + (ptrdiff_t)class_of(s, second[pixels + i]) * 3 * TAPS;
        gather(x, size, i / size, i % size, tap);
        for (int c = 0; c < 3; c++, w += TAPS) {
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < TAPS; k++)
                sum += w[k] * tap[k];
            out[3 * i + c] = sum;
        }
    }
    mot_free(second);
    return MOT_OK;
}
