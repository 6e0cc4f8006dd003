/* SPDX-License-Identifier: MIT
 *
 * products.cpp - wgmma on the host, for hopper.cpp, whose head says what is checked.
 *
 * Each thread of a warpgroup hands in its registers; when all have, the product can be made into sums that
 * belong to the warpgroup, and a thread gets its part of them back when it has waited.  Until then its
 * accumulators are NaNs of one kind, which nobody may have written over.
 */
#include "hopper.h"
#include "inside.h"

enum { GROUPS = MOST_THREADS / WARPGROUP, MOST_PRODUCTS = 64, SUMS = 4, MOST_J = 32, STILL = 0x7fc0dead };

struct product {
    int J, sum, here; /* which sums it adds to; threads that have issued it */
    bool add, by_rows, done;
    uint64_t a, b;
    unsigned batch;
    const uint32_t *rows[WARPGROUP];
    uint32_t rows_then[WARPGROUP][4];
};

/* What a thread has under way. */
struct issuer {
    unsigned issued, retired, batch;
    bool fenced;
    float (*c[SUMS])[4]; /* NULL: a free place */
    int J[SUMS];
    unsigned last[SUMS]; /* batch that adds to it last */
};

static struct group {
    struct meeting all;
    unsigned wanted; /* batches below this one are waited for */
    struct product products[MOST_PRODUCTS];
    struct issuer issuer[WARPGROUP];
    float sum[SUMS][64][8 * MOST_J];
} groups[GROUPS];

/* "Register Fragments for wgmma.mma_async.m64nNk16": the element of D that thread t has in register i of the j-th four. */
static float *element(struct group *g, int sum, int t, int j, int i)
{
    return &g->sum[sum][16 * (t / LANES) + t % LANES / 4 + 8 * (i / 2)][8 * j + t % 4 * 2 + i % 2];
}

/* "Matrix Descriptor Format", swizzled by 128 bytes, the only kind here. */
struct matrix {
    uint32_t start, leading, stride;
};

uint64_t matrix_at(const void *p, int leading)
{
    if (shared_address(p) % 16 != 0 || leading % 16 != 0 || leading >= 1 << 18)
        shim_die("a matrix that is not aligned");
    return (uint64_t)shared_address(p) >> 4 | (uint64_t)(leading >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 |
           (uint64_t)1 << 62;
}

static struct matrix decode(uint64_t descriptor)
{
    struct matrix m = {(uint32_t)(descriptor & 0x3fff) << 4, (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
                       (uint32_t)(descriptor >> 32 & 0x3fff) << 4};
    if (descriptor >> 62 != 1 || (descriptor & 0x3fffc000c000c000) != 0)
        shim_die("a descriptor that is no 128-byte swizzled matrix with base offset 0");
    if (m.stride != 1024)
        shim_die("a descriptor whose groups of 8 rows do not lie one behind the other");
    return m;
}

static const unsigned char *view; /* what copies brought */

static float value_at(uint32_t address)
{
    size_t bytes, at = shim_swizzled(address);
    unsigned char *shared = shim_shared(&bytes);
    uint16_t half;
    memcpy(&half, shared + at, 2);
    if (memcmp(view + at, &half, 2) != 0)
        shim_die("a product reads what no copy brought: ordinary stores need a fence to its proxy");
    return bits_to_float((uint32_t)half << 16);
}

/* "Strides": K-major, rows of 128 bytes, 8 of them `stride` from the next 8; both 8-value pieces along k lie in one row. */
static float k_major(struct matrix m, int row, int k)
{
    if (m.start % 128 + 32 > 128 || (m.start - m.start % 128) % 1024 != 0)
        shim_die("a K-major matrix that does not begin at a row of 8, or crosses its end");
    return value_at(m.start + (uint32_t)(row / 8) * m.stride + (uint32_t)(row % 8 * 128 + 2 * k));
}

/* MN-major: 64 values along n, `leading` from the next 64; 8 rows of k `stride` from the next 8. */
static float n_major(struct matrix m, int n, int k, int N)
{
    if (m.start % 1024 != 0 || (N > 64 && m.leading % 1024 != 0) || (N > 64 && m.leading == 0))
        shim_die("an MN-major matrix that is not aligned");
    return value_at(m.start + (uint32_t)(n / 64) * m.leading + (uint32_t)(n % 64 * 2 + k / 8 * 1024 + k % 8 * 128));
}

static float half_of(uint32_t pair, int which)
{
    return bits_to_float(which ? pair & 0xffff0000u : pair << 16);
}

static void compute(struct group *g, struct product *p)
{
    static float a[64][16], b[16][8 * MOST_J];
    int N = 8 * p->J;
    view = shim_view();
    struct matrix left = p->by_rows ? matrix{} : decode(p->a), right = decode(p->b);
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < N; n++)
            b[k][n] = p->by_rows ? n_major(right, n, k, N) : k_major(right, n, k);
    for (int row = 0; row < 64; row++)
        for (int k = 0; k < 16; k++) {
            int t = row / 16 * LANES + row % 8 * 4 + k % 8 / 2; /* who has it, in register row % 16 / 8 + 2 (k / 8) */
            a[row][k] = p->by_rows ? half_of(p->rows_then[t][row % 16 / 8 + k / 8 * 2], k % 2) : k_major(left, row, k);
        }
    for (int row = 0; row < 64; row++) {
        float *sum = g->sum[p->sum][row];
        for (int n = 0; n < N && !p->add; n++)
            sum[n] = 0;
        for (int k = 0; k < 16; k++)
            for (int n = 0; n < N; n++)
                sum[n] += a[row][k] * b[k][n];
    }
    p->done = true;
}

/* The place of c among the thread's accumulators; those that come in are taken out of the registers. */
static int sum_of(struct group *g, struct issuer *x, int t, float (*c)[4], int J, bool add)
{
    int place = -1;
    for (int i = SUMS - 1; i >= 0; i--) {
        if (x->c[i] == c && x->J[i] == J)
            return i;
        if (!x->c[i])
            place = i;
    }
    if (place < 0)
        shim_die("more accumulators under way than this keeps");
    if (!x->fenced)
        shim_die("a product of registers that were free to be written, without a fence before it");
    x->c[place] = c;
    x->J[place] = J;
    uint32_t still = STILL;
    for (int j = 0; j < J; j++)
        for (int i = 0; i < 4; i++) {
            if (add)
                *element(g, place, t, j, i) = c[j][i];
            memcpy(&c[j][i], &still, sizeof still);
        }
    return place;
}

void shim_multiply(float (*c)[4], int J, const uint32_t *rows, uint64_t a, uint64_t b, bool add)
{
    int t = (int)(shim_thread() % WARPGROUP);
    struct group *g = &groups[shim_thread() / WARPGROUP];
    struct issuer *x = &g->issuer[t];
    if (x->issued - x->retired == MOST_PRODUCTS)
        shim_die("more products under way than this keeps");
    struct product *p = &g->products[x->issued++ % MOST_PRODUCTS];
    int sum = sum_of(g, x, t, c, J, add);
    if (p->here == 0 || p->here == WARPGROUP)
        *p = product{J, sum, 0, add, rows != NULL, false, a, b, x->batch, {}, {}};
    if (p->J != J || p->sum != sum || p->add != add || p->by_rows != (rows != NULL) || p->a != a || p->b != b ||
        p->batch != x->batch)
        shim_die("the threads of a warpgroup do not multiply the same");
    if (rows) {
        p->rows[t] = rows;
        memcpy(p->rows_then[t], rows, sizeof p->rows_then[t]);
    }
    x->last[sum] = x->batch;
    if (++p->here == WARPGROUP && !shim_coin(LATE_PRODUCTS))
        compute(g, p);
}

void products_begin()
{
    groups[shim_thread() / WARPGROUP].issuer[shim_thread() % WARPGROUP].fenced = true;
}

void products_commit()
{
    groups[shim_thread() / WARPGROUP].issuer[shim_thread() % WARPGROUP].batch++;
}

static void give_back(struct group *g, struct issuer *x, int t, int place)
{
    for (int j = 0; j < x->J[place]; j++)
        for (int i = 0; i < 4; i++) {
            uint32_t bits;
            memcpy(&bits, &x->c[place][j][i], sizeof bits);
            if (bits != STILL)
                shim_die("an accumulator was written while a product was under way");
            x->c[place][j][i] = *element(g, place, t, j, i);
        }
    x->c[place] = NULL;
}

static bool is_done(const void *of)
{
    return ((const struct product *)of)->done;
}

void shim_products_wait(int n)
{
    int t = (int)(shim_thread() % WARPGROUP);
    struct group *g = &groups[shim_thread() / WARPGROUP];
    struct issuer *x = &g->issuer[t];
    unsigned before = x->batch > (unsigned)n ? x->batch - (unsigned)n : 0;
    shim_meet(&g->all); /* all have issued what is waited for */
    g->wanted = before;
    for (; x->retired < x->issued && g->products[x->retired % MOST_PRODUCTS].batch < before; x->retired++) {
        struct product *p = &g->products[x->retired % MOST_PRODUCTS];
        shim_wait_until(is_done, p);
        if (p->by_rows && memcmp(p->rows[t], p->rows_then[t], sizeof p->rows_then[t]) != 0)
            shim_die("an operand in registers was written while a product was under way");
    }
    shim_meet(&g->all); /* products are computed into places that nobody uses anew before */
    for (int i = 0; i < SUMS; i++)
        if (x->c[i] && x->last[i] < before)
            give_back(g, x, t, i);
    x->fenced = false;
}

/* The products of one warpgroup that it waits for, and that are not made at once. */
bool shim_multiply_late()
{
    for (unsigned i = 0; i < shim_threads() / WARPGROUP; i++) {
        struct group *g = &groups[i];
        bool any = false;
        for (unsigned n = g->issuer[0].retired; n < g->issuer[0].issued; n++) {
            struct product *p = &g->products[n % MOST_PRODUCTS];
            if (p->done || p->here < WARPGROUP || p->batch >= g->wanted)
                continue;
            compute(g, p);
            any = true;
        }
        if (any)
            return true;
    }
    return false;
}

void shim_products_begin()
{
    for (unsigned i = 0; i < (shim_threads() + WARPGROUP - 1) / WARPGROUP; i++) {
        struct group *g = &groups[i];
        g->all = meeting{WARPGROUP, 0, 0};
        g->wanted = 0;
        for (int t = 0; t < WARPGROUP; t++)
            g->issuer[t] = issuer{};
        for (int p = 0; p < MOST_PRODUCTS; p++)
            g->products[p].here = 0;
    }
}

void shim_products_end()
{
    for (unsigned i = 0; i < shim_threads(); i++) {
        const struct issuer *x = &groups[i / WARPGROUP].issuer[i % WARPGROUP];
        if (x->issued != x->retired)
            shim_die("a thread ended with products that it did not wait for");
    }
}
