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
bool shim_coin(int which)
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
    return 1024 + (shim_coin(WINDOW) ? 16 : 0);
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
size_t shim_swizzled(uint32_t address)
{
    size_t bytes, at = (address ^ (address >> 7 & 7) << 4) - window();
    shim_shared(&bytes);
    if (address < window() || at + 2 > bytes)
        shim_die("a copy or product beyond shared memory");
    return at;
}

/* What copies brought, all that products may see: kernels have no fence.proxy.async after ordinary stores, for none of
 * them stores what is multiplied. */
static unsigned char *view;
static size_t view_size;
static bool viewed; /* in this block */

const unsigned char *shim_view()
{
    size_t bytes;
    shim_shared(&bytes);
    if (bytes > view_size) {
        view = (unsigned char *)realloc(view, view_size = bytes);
        if (!view)
            shim_die("no memory");
    }
    if (!viewed)
        memset(view, 0xff, bytes);
    viewed = true;
    return view;
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
    shim_view();
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
            size_t at = shim_swizzled(to + (uint32_t)(128 * r + 2 * c));
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

/* In any order. */
static bool copy_late()
{
    if (n_boxes == 0)
        return false;
    int i = shim_coin(LAST_COPY) ? n_boxes - 1 : 0;
    struct box x = boxes[i];
    boxes[i] = boxes[--n_boxes];
    bring(&x);
    return true;
}

bool shim_hopper_deliver()
{
    return shim_coin(PRODUCTS_FIRST) ? shim_multiply_late() || copy_late() : copy_late() || shim_multiply_late();
}

/* -- a block's life ------------------------------------------------------------------------------------ */

void shim_hopper_begin()
{
    viewed = false;
    n_barriers = 0;
    for (unsigned i = 0; i < shim_threads(); i++)
        registers[i] = 0;
    shim_products_begin();
    for (int i = 0; i < 16; i++)
        named[i] = meeting{0, 0, 0};
}

void shim_hopper_end()
{
    int64_t had = (int64_t)registers_at_start() * (int64_t)shim_threads(), has = 0;
    for (unsigned i = 0; i < shim_threads(); i++)
        has += registers[i] ? registers[i] : registers_at_start();
    shim_products_end();
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
