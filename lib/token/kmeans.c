/* SPDX-License-Identifier: MIT
 *
 * kmeans.c - k-means (Lloyd) with k-means++ seeding (Arthur and Vassilvitskii, SODA 2007).
 *
 * The search for the nearest centre is nearly all of the work: |x|^2 - 2 x.c + |c|^2, where |x|^2
 * does not matter and x.c is a matrix product.  It is done here and not by a BLAS so that a code
 * never depends on the library, the thread count or what else is in the batch: each product is one
 * sum in coordinate order. Centres are sums over their members in order, so learning too gives the
 * same bits for any thread count.
 */
#include <math.h>

#include "kmeans.h"

enum {
    LANES = 16,       /* codes in a panel: one AVX-512 register, two of AVX2 */
    ROWS = 6,         /* vectors at a time: 6 x 16 sums stay in registers */
    SEED_SAMPLE = 16, /* seeding looks at this many vectors a centre, and */
    SEED_LEAST = 8192 /* at least so many: sampling from all would cost more than Lloyd's steps */
};

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

/* Hot functions are compiled for several sets of instructions, and glibc binds the best that the
 * processor has.  They give the same bits: lanes are independent of each other, and the Makefile
 * forbids this file to fuse a product with a sum. */
#if defined __x86_64__ && defined __GLIBC__
#define EVERY_SET __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVERY_SET
#endif

int mot_codebook_init(struct mot_codebook *b, const float *code, int codes, int dim)
{
    int panels = (codes + LANES - 1) / LANES;
    *b = (struct mot_codebook){.codes = codes, .dim = dim};
    b->panel = mot_alloc((size_t)panels * (size_t)dim, LANES * sizeof(float));
    b->norm = mot_alloc((size_t)codes, sizeof(float));
    if (!b->panel || !b->norm) {
        mot_codebook_free(b);
        return MOT_ENOMEM;
    }
    for (int k = 0; k < codes; k++) {
        const float *c = code + (size_t)k * (size_t)dim;
        float *p = b->panel + (size_t)(k / LANES) * (size_t)dim * LANES + k % LANES;
        double norm = 0;
        for (int d = 0; d < dim; d++) {
            p[(size_t)d * LANES] = c[d];
            norm += (double)c[d] * (double)c[d];
        }
        b->norm[k] = (float)norm;
    }
    return MOT_OK;
}

void mot_codebook_free(struct mot_codebook *b)
{
    mot_free(b->panel);
    mot_free(b->norm);
    *b = (struct mot_codebook){0};
}

/* The products of ROWS vectors with one panel. */
static inline void multiply(const float *const x[ROWS], const float *panel, int dim,
                            lanes sum[ROWS])
{
    lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, s4 = {0}, s5 = {0};
    for (int d = 0; d < dim; d++) {
        lanes c = *(const lanes *)(panel + (size_t)d * LANES);
        s0 += x[0][d] * c, s1 += x[1][d] * c, s2 += x[2][d] * c;
        s3 += x[3][d] * c, s4 += x[4][d] * c, s5 += x[5][d] * c;
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3, sum[4] = s4, sum[5] = s5;
}

EVERY_SET void mot_codebook_search(const struct mot_codebook *b, const float *x, int64_t n,
                         const float *const *norms, int32_t *best)
{
    for (int64_t i = 0; i < n; i += ROWS) {
        int rows = n - i < ROWS ? (int)(n - i) : ROWS;
        const float *row[ROWS], *norm[ROWS];
        float least[ROWS];
        int32_t found[ROWS] = {0};
        for (int r = 0; r < ROWS; r++) {
            int64_t at = i + (r < rows ? r : 0); /* a short block repeats its first row */
            row[r] = x + at * b->dim;
            norm[r] = norms ? norms[at] : b->norm;
            least[r] = INFINITY;
        }
        for (int k = 0; k < b->codes; k += LANES) {
            lanes sum[ROWS];
            multiply(row, b->panel + (size_t)k * (size_t)b->dim, b->dim, sum);
            int count = b->codes - k < LANES ? b->codes - k : LANES;
            for (int r = 0; r < rows; r++)
                for (int l = 0; l < count; l++) {
                    float score = norm[r][k + l] - 2 * sum[r][l];
                    if (score < least[r])
                        least[r] = score, found[r] = k + l;
                }
        }
        memcpy(best + i, found, (size_t)rows * sizeof *best);
    }
}

void mot_report(const struct mot_report *r, double share)
{
    if (r && r->progress)
        r->progress(r->context, r->what, r->from + share * (r->to - r->from));
}

int64_t mot_sample_place(uint64_t seed, uint64_t stream, int64_t seen, int64_t capacity)
{
    if (seen < capacity)
        return seen;
    int64_t at = (int64_t)mot_random_below(seed, stream, (uint64_t)seen, (uint64_t)seen + 1);
    return at < capacity ? at : -1;
}

void mot_sort_by_code(const int32_t *code, int64_t n, int k, int64_t *begin, int64_t *order)
{
    memset(begin, 0, ((size_t)k + 1) * sizeof *begin);
    for (int64_t i = 0; i < n; i++)
        begin[code[i] + 1]++;
    for (int j = 0; j < k; j++)
        begin[j + 1] += begin[j];
    for (int64_t i = 0; i < n; i++)
        order[begin[code[i]]++] = i;
    for (int j = k; j > 0; j--)
        begin[j] = begin[j - 1];
    begin[0] = 0;
}

EVERY_SET static float distance(const float *a, const float *b, int dim)
{
    lanes sums = {0};
    int d = 0;
    for (; d + LANES <= dim; d += LANES) {
        lanes apart = *(const lanes *)(a + d) - *(const lanes *)(b + d);
        sums += apart * apart;
    }
    float sum = 0;
    for (; d < dim; d++)
        sum += (a[d] - b[d]) * (a[d] - b[d]);
    for (int l = 0; l < LANES; l++)
        sum += sums[l];
    return sum;
}

/* The first centres: each is drawn from a sample of x with probability in proportion to its squared
 * distance from the nearest centre so far.  When all distances are 0 there are fewer different
 * vectors than centres: copies follow, which the search, preferring low numbers, never returns. */
static int seed_centres(const float *x, int64_t n, int dim, int k, uint64_t seed,
                        const struct mot_report *r, float *centre)
{
    uint64_t pick_stream = mot_stream("kmeans sample"), stream = mot_stream("kmeans seeding");
    int64_t m = (int64_t)SEED_SAMPLE * k;
    m = m < SEED_LEAST ? SEED_LEAST : m;
    m = m > n ? n : m;
    int64_t *pick = mot_alloc((size_t)m, sizeof *pick);
    float *near = mot_alloc((size_t)m, sizeof *near);
    int rc = pick && near ? MOT_OK : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++) {
        int64_t at = mot_sample_place(seed, pick_stream, i, m);
        if (at >= 0)
            pick[at] = i, near[at] = INFINITY;
    }
    int64_t chosen = (int64_t)mot_random_below(seed, stream, 0, (uint64_t)m);
    for (int j = 0; !rc && j < k; j++) {
        const float *c = x + pick[chosen] * dim;
        memcpy(centre + (size_t)j * (size_t)dim, c, (size_t)dim * sizeof *c);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < m; i++) {
            float d = distance(x + pick[i] * dim, c, dim);
            near[i] = d < near[i] ? d : near[i];
        }
        double total = 0;
        for (int64_t i = 0; i < m; i++)
            total += (double)near[i];
        double left = total * mot_random_uniform(seed, stream, (uint64_t)j + 1);
        for (chosen = 0; chosen < m - 1 && (left -= (double)near[chosen]) >= 0; chosen++)
            ;
        if (j % 64 == 0)
            mot_report(r, .3 * j / k);
    }
    mot_free(pick);
    mot_free(near);
    return rc;
}

/* Each centre becomes the mean of its members. */
static void move_centres(const float *x, int dim, int k, const int64_t *begin, const int64_t *order,
                         double *sums, float *centre)
{
#pragma omp parallel for schedule(dynamic, 16)
    for (int j = 0; j < k; j++) {
        int64_t members = begin[j + 1] - begin[j];
        double *sum = sums + (size_t)j * (size_t)dim;
        memset(sum, 0, (size_t)dim * sizeof *sum);
        for (int64_t i = begin[j]; i < begin[j + 1]; i++)
            for (int d = 0; d < dim; d++)
                sum[d] += (double)x[order[i] * dim + d];
        for (int d = 0; members && d < dim; d++)
            centre[(size_t)j * (size_t)dim + (size_t)d] = (float)(sum[d] / (double)members);
    }
}

/* Centres without members go to the vectors that are worst served, one each. */
static void revive(const float *x, int64_t n, int dim, int k, const int64_t *begin,
                   const int32_t *best, float *far, float *centre)
{
    int dead = 0;
    for (int j = 0; j < k; j++)
        dead += begin[j] == begin[j + 1];
    if (!dead)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        far[i] = distance(x + i * dim, centre + (size_t)best[i] * (size_t)dim, dim);
    for (int j = 0; j < k; j++) {
        if (begin[j] != begin[j + 1])
            continue;
        int64_t worst = 0;
        for (int64_t i = 1; i < n; i++)
            if (far[i] > far[worst])
                worst = i;
        if (!(far[worst] > 0))
            return; /* every vector has its own centre already */
        memcpy(centre + (size_t)j * (size_t)dim, x + worst * dim, (size_t)dim * sizeof *x);
        far[worst] = 0;
    }
}

static int assign(const float *x, int64_t n, int dim, int k, const float *centre, int32_t *best,
                  int64_t *changed)
{
    enum { BLOCK = 8 * ROWS };
    struct mot_codebook b;
    int rc = mot_codebook_init(&b, centre, k, dim);
    if (rc)
        return rc;
    int64_t moved = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : moved)
    for (int64_t i = 0; i < n; i += BLOCK) {
        int32_t found[BLOCK];
        int64_t count = n - i < BLOCK ? n - i : BLOCK;
        mot_codebook_search(&b, x + i * dim, count, NULL, found);
        for (int64_t j = 0; j < count; j++)
            moved += best[i + j] != found[j];
        memcpy(best + i, found, (size_t)count * sizeof *found);
    }
    *changed = moved;
    mot_codebook_free(&b);
    return MOT_OK;
}

int mot_kmeans(const float *x, int64_t n, int dim, int k, int iterations, uint64_t seed,
               const struct mot_report *r, float *centre, int32_t *best)
{
    int64_t *begin = mot_alloc((size_t)k + 1, sizeof *begin);
    int64_t *order = mot_alloc((size_t)n, sizeof *order);
    float *far = mot_alloc((size_t)n, sizeof *far);
    double *sums = mot_alloc((size_t)k * (size_t)dim, sizeof *sums);
    int rc =
        begin && order && far && sums ? seed_centres(x, n, dim, k, seed, r, centre) : MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++)
        best[i] = -1;
    /* Stop early when fewer than one vector in a thousand moves: more steps change the mean
     * distance by less than that. */
    int64_t changed = n;
    for (int t = 0; !rc && t <= iterations && changed > n / 1000; t++) {
        rc = assign(x, n, dim, k, centre, best, &changed);
        if (rc || t == iterations || changed <= n / 1000)
            break;
        mot_sort_by_code(best, n, k, begin, order);
        move_centres(x, dim, k, begin, order, sums, centre);
        revive(x, n, dim, k, begin, best, far, centre);
        mot_report(r, .3 + .7 * (t + 1) / iterations);
    }
    mot_free(begin);
    mot_free(order);
    mot_free(far);
    mot_free(sums);
    return rc;
}
