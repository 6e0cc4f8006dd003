/* SPDX-License-Identifier: MIT
 *
 * hopper.cpp - the asynchronous instructions of sm_90a on the host, as the PTX ISA describes them.
 *
 * What a GPU would punish by wrong results or by standing still ends the program here with a message:
 * descriptors and copies that are not aligned, accumulators and operands in registers that are touched
 * while a product is under way, products without wgmma.fence before them, matrices that ordinary stores
 * wrote without fence.proxy.async, barriers that are not initialised or get an arrival too many, bytes
 * that are announced and never come, registers that the block does not have.
 * By the launch copies arrive at once or when nothing else can go on (shim.cpp), the first or the last one first, and
 * products are made at once or, when they are waited for, as late: so tiles that are given back too early are written
 * over.
 */
#include <stdio.h>

#include "hopper.h"
#include "inside.h"

/* Heads or tails, by the launch (splitmix64, Steele et al. 2014). */
enum { WINDOW, LATE_PRODUCTS, LAST_COPY, PRODUCTS_FIRST, COINS };

static bool coin(int which)
{
    uint64_t z = ((uint64_t)shim_launches() * COINS + (uint64_t)which + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z >> 63;
}

/* -- addresses ------------------------------------------------------------------------------------- */

/* Where shared memory that is aligned to 16 bytes, and no more, may begin. */
static uint32_t window()
{
    return 1024 + (coin(WINDOW) ? 16 : 0);
}

uint32_t shared_address(const void *p)
{
    size_t bytes;
    unsigned char *shared = shim_shared(&bytes);
    if ((const unsigned char *)p < shared || (const unsigned char *)p >= shared + bytes)
        shim_die("an address that is not in shared memory");
    return window() + (uint32_t)((const unsigned char *)p - shared);
}

/* "Swizzling Modes", 128 bytes: the 16-byte pieces of a row of 128 change places by the row. */
static size_t place_of(uint32_t address)
{
    size_t bytes, at = (address ^ (address >> 7 & 7) << 4) - window();
    shim_shared(&bytes);
    if (address < window() || at + 2 > bytes)
        shim_die("a copy or product beyond shared memory");
    return at;
}

/* Shared memory as copies and products see it: other than it is where stores were not shown. */
static unsigned char *view;
static size_t view_size;
static bool viewed; /* in this block */
static int showed[MOST_THREADS / LANES];

static void make_view(bool anew)
{
    size_t bytes;
    unsigned char *shared = shim_shared(&bytes);
    if (bytes > view_size) {
        view = (unsigned char *)realloc(view, view_size = bytes);
        if (!view)
            shim_die("no memory");
    }
    if (anew)
        memcpy(view, shared, bytes);
    else if (!viewed)
        memset(view, 0xff, bytes);
    viewed = true;
}

/* A warp's stores are seen when its last lane has shown them. */
void show_stores()
{
    make_view(false);
    if (++showed[shim_thread() / LANES] % LANES == 0)
        make_view(true);
}

/* -- barriers ---------------------------------------------------------------------------------------- */

static struct barrier_of {
    barrier *at;
    int count, pending;
    int64_t bytes;
    unsigned phase;
    bool ready;
} barriers[64];
static int n_barriers;

static struct barrier_of *find(const barrier *at)
{
    for (int i = 0; i < n_barriers; i++)
        if (barriers[i].at == at)
            return &barriers[i];
    shim_die("a barrier that was not initialised");
}

void barrier_init(barrier *b, int count)
{
    if (shared_address(b) % 8 != 0 || count < 1 || count >= 1 << 20 || n_barriers == 64)
        shim_die("a barrier that cannot be");
    for (int i = 0; i < n_barriers; i++)
        if (barriers[i].at == b)
            shim_die("a barrier that is initialised twice");
    barriers[n_barriers++] = barrier_of{b, count, count, 0, 0, false};
}

void barriers_ready()
{
    for (int i = 0; i < n_barriers; i++)
        barriers[i].ready = true;
}

/* "Phase Completion of the mbarrier object" */
static void advance(struct barrier_of *b)
{
    if (b->pending > 0 || b->bytes != 0)
        return;
    b->phase++;
    b->pending = b->count;
}

static void arrive(struct barrier_of *b, int64_t bytes)
{
    if (b->pending == 0)
        shim_die("an arrival more than a barrier counts");
    b->bytes += bytes;
    b->pending--;
    advance(b);
}

void barrier_arrive(barrier *b)
{
    arrive(find(b), 0);
}

void barrier_expect(barrier *b, int bytes)
{
    if (bytes < 0 || bytes >= 1 << 20)
        shim_die("more bytes than a barrier counts");
    arrive(find(b), bytes);
}

struct awaited {
    const struct barrier_of *b;
    unsigned parity;
};

static bool has_ended(const void *of)
{
    const struct awaited *a = (const struct awaited *)of;
    return (a->b->phase & 1) != a->parity;
}

void barrier_wait(barrier *b, int parity)
{
    if (parity != 0 && parity != 1)
        shim_die("a parity that is none");
    struct awaited a = {find(b), (unsigned)parity};
    shim_wait_until(has_ended, &a);
}

/* -- copies ------------------------------------------------------------------------------------------ */

static struct box {
    void *to;
    tensor_map map;
    struct barrier_of *b;
    int column, row, head;
} boxes[64];
static int n_boxes;

bool describe(tensor_map *map, const void *array, int64_t columns, int64_t rows, int64_t heads, int box)
{
    const int64_t most = (int64_t)1 << 32;
    *map = tensor_map{array, columns, rows, heads, box};
    return (uintptr_t)array % 16 == 0 && columns % 8 == 0 && columns > 0 && rows > 0 && heads > 0 &&
           columns < most && rows < most && heads < most && 2 * columns * rows < (int64_t)1 << 40 && box > 0 &&
           box <= 256;
}

static void bring(const struct box *x)
{
    make_view(false);
    size_t size;
    unsigned char *shared = shim_shared(&size);
    uint32_t to = shared_address(x->to);
    for (int r = 0; r < x->map.box; r++)
        for (int c = 0; c < 64; c++) {
            int64_t row = (int64_t)x->row + r, column = (int64_t)x->column + c, head = x->head;
            bool there = row >= 0 && row < x->map.rows && column >= 0 && column < x->map.columns && head >= 0 &&
                         head < x->map.heads;
            uint16_t value = 0;
            if (there)
                memcpy(&value, (const uint16_t *)x->map.array + (head * x->map.rows + row) * x->map.columns + column, 2);
            size_t at = place_of(to + (uint32_t)(128 * r + 2 * c));
            memcpy(shared + at, &value, 2);
            memcpy(view + at, &value, 2);
        }
    x->b->bytes -= 128 * x->map.box;
    advance(x->b);
}

void copy_box(void *to, const tensor_map *map, barrier *b, int column, int row, int head)
{
    if (shared_address(to) % 128 != 0 || (uintptr_t)map % 64 != 0)
        shim_die("a box that is not aligned");
    struct box x = {to, *map, find(b), column, row, head};
    if (!x.b->ready)
        shim_die("a copy may not see its barrier yet");
    if (n_boxes == 64)
        shim_die("more copies of boxes than this keeps");
    if (shim_late())
        boxes[n_boxes++] = x;
    else
        bring(&x);
}

/* -- registers, named barriers ------------------------------------------------------------------------- */

int uniform(int x)
{
    int of[2] = {x, 0};
    memcpy(&of[1], shim_exchange(&x, sizeof x), sizeof x);
    if (of[0] != of[1])
        shim_die("a number that is not the same in all of a warp");
    return x;
}

static int registers[MOST_THREADS]; /* 0: as at the start */
static struct meeting named[16];

/* What each thread of a block has that fills a multiprocessor: __launch_bounds__(threads, 1). */
static int registers_at_start()
{
    return (int)(65536 / shim_threads() / 8 * 8);
}

void shim_registers(int n, bool more)
{
    int start = registers_at_start();
    if (n < 24 || n > 256 || n % 8 != 0 || (more ? n < start : n > start))
        shim_die("a number of registers that setmaxnreg does not take");
    registers[shim_thread()] = n;
}

static struct meeting *named_barrier(int id, int threads)
{
    if (id < 0 || id > 15 || threads % LANES != 0 || threads < LANES)
        shim_die("a named barrier that cannot be");
    struct meeting *m = &named[id];
    if (m->here > 0 && m->members != threads)
        shim_die("a named barrier for two numbers of threads");
    m->members = threads;
    return m;
}

void named_wait(int id, int threads)
{
    shim_meet(named_barrier(id, threads));
}

void named_arrive(int id, int threads)
{
    shim_arrive(named_barrier(id, threads));
}

/* -- products ------------------------------------------------------------------------------------------ */

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

static float value_at(uint32_t address)
{
    size_t bytes, at = place_of(address);
    unsigned char *shared = shim_shared(&bytes);
    uint16_t half;
    memcpy(&half, shared + at, 2);
    if (memcmp(view + at, &half, 2) != 0)
        shim_die("a product reads what was stored without a fence to its proxy");
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
    make_view(false);
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
    if (++p->here == WARPGROUP && !coin(LATE_PRODUCTS))
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
static bool multiply_late()
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

/* In any order, but products of a warpgroup in theirs. */
static bool copy_late()
{
    if (n_boxes == 0)
        return false;
    int i = coin(LAST_COPY) ? n_boxes - 1 : 0;
    struct box x = boxes[i];
    boxes[i] = boxes[--n_boxes];
    bring(&x);
    return true;
}

bool shim_hopper_deliver()
{
    return coin(PRODUCTS_FIRST) ? multiply_late() || copy_late() : copy_late() || multiply_late();
}

/* -- a block's life ------------------------------------------------------------------------------------ */

uint64_t matrix_at(const void *p, int leading)
{
    if (shared_address(p) % 16 != 0 || leading % 16 != 0 || leading >= 1 << 18)
        shim_die("a matrix that is not aligned");
    return (uint64_t)shared_address(p) >> 4 | (uint64_t)(leading >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 |
           (uint64_t)1 << 62;
}

void shim_hopper_begin()
{
    viewed = false;
    n_barriers = 0;
    for (unsigned i = 0; i < shim_threads(); i++)
        registers[i] = 0;
    for (unsigned i = 0; i < (shim_threads() + WARPGROUP - 1) / WARPGROUP; i++) {
        struct group *g = &groups[i];
        g->all = meeting{WARPGROUP, 0, 0};
        g->wanted = 0;
        for (int t = 0; t < WARPGROUP; t++)
            g->issuer[t] = issuer{};
        for (int p = 0; p < MOST_PRODUCTS; p++)
            g->products[p].here = 0;
    }
    for (int i = 0; i < 16; i++)
        named[i] = meeting{0, 0, 0};
}

void shim_hopper_end()
{
    int64_t had = (int64_t)registers_at_start() * (int64_t)shim_threads(), has = 0;
    for (unsigned i = 0; i < shim_threads(); i++) {
        const struct issuer *x = &groups[i / WARPGROUP].issuer[i % WARPGROUP];
        has += registers[i] ? registers[i] : registers_at_start();
        if (x->issued != x->retired)
            shim_die("a thread ended with products that it did not wait for");
    }
    if (has > had)
        shim_die("more registers than the block has: setmaxnreg would wait for ever");
    if (n_boxes > 0)
        shim_die("a block ended with copies that it did not wait for");
    for (int i = 0; i < 16; i++)
        if (named[i].here > 0)
            shim_die("a block ended with arrivals at a named barrier that nobody waited for");
}

void shim_hopper_explain()
{
    size_t bytes;
    unsigned char *shared = shim_shared(&bytes);
    for (int i = 0; i < n_barriers; i++)
        fprintf(stderr, "shim: barrier at %zu: phase %u, %d of %d arrivals and %lld bytes to come\n",
                (size_t)((unsigned char *)barriers[i].at - shared), barriers[i].phase, barriers[i].pending,
                barriers[i].count, (long long)barriers[i].bytes);
    for (int i = 0; i < 16; i++)
        if (named[i].here > 0)
            fprintf(stderr, "shim: named barrier %d: %d of %d are there\n", i, named[i].here, named[i].members);
}
