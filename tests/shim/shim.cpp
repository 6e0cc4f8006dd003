/* SPDX-License-Identifier: MIT
 *
 * shim.cpp - runs kernels on the host, a block at a time, its threads as coroutines.
 *
 * A thread runs until it meets a barrier or an exchange of its warp that others have not reached, or
 * its end; then the next one that can run does.  By the number of the launch the order of threads
 * and of blocks is forward, backward or shuffled; threads take turns, or a warp goes on as far as it
 * can; asynchronous copies arrive at once or as late as they may.  What depends on something that
 * nothing guarantees gives different results in tests that run everything twice.  A barrier that
 * not all threads reach is an error here, whatever a GPU would make of it.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "../../kernels/cuda/ranges.h"
#include "inside.h"
#include "switch.h"

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK = 512 << 10 };
#define BEFORE_SWITCH(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define AFTER_SWITCH(save, bottom, size) __sanitizer_finish_switch_fiber(save, bottom, size)
#else
enum { STACK = 128 << 10 };
#define BEFORE_SWITCH(save, bottom, size) ((void)(bottom), (void)(size))
#define AFTER_SWITCH(save, bottom, size) ((void)0)
#endif

enum { MOST_COPIES = 512 };

void shim_die(const char *what)
{
    fprintf(stderr, "shim: %s\n", what);
    abort();
}

/* -- coroutines ---------------------------------------------------------------------------------- */

struct coroutine {
    void *at; /* where it goes on */
    char *stack;
    void *fake; /* the sanitizer's */
    int next_idle;
};

struct copy_of {
    void *to;
    const void *from;
    bool there;
    int batch;
};

struct thread {
    struct shim_place place;
    int coroutine; /* -1: not begun, or done */
    bool done;
    struct meeting *waits_for;
    unsigned round;
    bool (*until)(const void *); /* NULL, or what it waits for */
    const void *until_of;
    unsigned exchanges;
    int batches, n_copies;
    struct copy_of copy[MOST_COPIES];
};

static struct coroutine coroutines[MOST_THREADS], scheduler;
static int n_coroutines, idle = -1;
static const void *main_stack;
static size_t main_stack_size;

static struct thread threads[MOST_THREADS], *self;
static struct meeting block_meeting, warp_meeting[MOST_WARPS];
static unsigned char slots[2][MOST_WARPS][LANES * SLOT];
static unsigned char *shared;
static size_t shared_bytes;
static unsigned n_threads, launch_number;
static void (*body)(void *);
static void *context;
static bool copies_at_once, warps_go_on;
struct shim_place *shim_here;

static void jump(struct coroutine *from, struct coroutine *to)
{
    bool home = to == &scheduler;
    BEFORE_SWITCH(&from->fake, home ? main_stack : to->stack, home ? main_stack_size : (size_t)STACK);
    shim_switch(&from->at, to->at);
    AFTER_SWITCH(from->fake, from == &scheduler ? NULL : &main_stack,
                 from == &scheduler ? NULL : &main_stack_size);
}

/* The whole life of a coroutine: one thread after the other. */
static void live()
{
    AFTER_SWITCH(NULL, &main_stack, &main_stack_size);
    for (;;) {
        body(context);
        if (self->n_copies > 0)
            shim_die("a thread ended with copies that it did not wait for");
        self->done = true;
        jump(&coroutines[self->coroutine], &scheduler);
    }
}

static int take_coroutine()
{
    if (idle >= 0) {
        int c = idle;
        idle = coroutines[c].next_idle;
        return c;
    }
    struct coroutine *c = &coroutines[n_coroutines];
    c->stack = (char *)mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->stack == MAP_FAILED)
        shim_die("no memory for a thread");
    c->at = prepare_stack(c->stack, STACK, live);
    return n_coroutines++;
}

static void resume(struct thread *t)
{
    if (t->coroutine < 0)
        t->coroutine = take_coroutine();
    self = t;
    shim_here = &t->place;
    jump(&scheduler, &coroutines[t->coroutine]);
    if (t->done) {
        coroutines[t->coroutine].next_idle = idle;
        idle = t->coroutine;
    }
}

/* -- meetings ------------------------------------------------------------------------------------ */

void shim_arrive(struct meeting *m)
{
    if (++m->here < m->members)
        return;
    m->here = 0;
    m->round++;
}

void shim_meet(struct meeting *m)
{
    struct thread *t = self;
    t->round = m->round;
    shim_arrive(m);
    if (m->round != t->round)
        return;
    t->waits_for = m;
    jump(&coroutines[t->coroutine], &scheduler);
    t->waits_for = NULL;
}

void shim_wait_until(bool (*good)(const void *), const void *of)
{
    if (good(of))
        return;
    self->until = good;
    self->until_of = of;
    jump(&coroutines[self->coroutine], &scheduler);
    self->until = NULL;
}

static unsigned index_of(const struct thread *t)
{
    return (unsigned)(t - threads) % MOST_THREADS;
}

int shim_lane()
{
    return (int)(index_of(self) % LANES);
}

void __syncthreads()
{
    shim_meet(&block_meeting);
}

void __syncwarp()
{
    shim_meet(&warp_meeting[index_of(self) / LANES]);
}

const unsigned char *shim_exchange(const void *mine, size_t bytes)
{
    /* Two sets of slots in turn: nobody writes one before all have read it, for they met in between. */
    unsigned warp = index_of(self) / LANES;
    unsigned char *all = slots[self->exchanges++ % 2][warp];
    memcpy(all + SLOT * shim_lane(), mine, bytes);
    shim_meet(&warp_meeting[warp]);
    return all;
}

unsigned char *shared_memory()
{
    return shared;
}

unsigned char *shim_shared(size_t *bytes)
{
    *bytes = shared_bytes;
    return shared;
}

unsigned shim_thread()
{
    return index_of(self);
}

unsigned shim_threads()
{
    return n_threads;
}

bool shim_late()
{
    return !copies_at_once;
}

unsigned shim_launches()
{
    return launch_number;
}

/* -- launches ------------------------------------------------------------------------------------ */

/* The i-th of n in a launch's order: forward, backward, or steps of a number that has no divisor in common with n. */
static unsigned turn(unsigned i, unsigned n, unsigned order)
{
    static const unsigned steps[] = {7919, 104729, 1299709};
    if (order % 3 == 0)
        return i;
    if (order % 3 == 1)
        return n - 1 - i;
    unsigned step = steps[order / 3 % 3];
    return n % step == 0 ? i : (unsigned)(((uint64_t)i * step + order) % n);
}

static bool runnable(const struct thread *t)
{
    return !t->done && (!t->waits_for || t->waits_for->round != t->round) && (!t->until || t->until(t->until_of));
}

/* Each of the n threads from first on that can run, once. Returns how many could. */
static unsigned run_round(unsigned first, unsigned n, unsigned order, unsigned *left)
{
    unsigned ran = 0;
    for (unsigned i = 0; i < n; i++) {
        struct thread *t = &threads[first + turn(i, n, order)];
        if (!runnable(t))
            continue;
        resume(t);
        *left -= t->done;
        ran++;
    }
    return ran;
}

static void run_block(unsigned n, unsigned order)
{
    unsigned each = warps_go_on ? (unsigned)LANES : n, parts = (n + each - 1) / each;
    for (unsigned left = n; left > 0;) {
        unsigned ran = 0;
        for (unsigned i = 0; i < parts; i++) {
            unsigned first = turn(i, parts, order) * each, count = n - first < each ? n - first : each, now;
            do
                ran += now = run_round(first, count, order, &left);
            while (warps_go_on && now > 0);
        }
        if (ran == 0 && !shim_hopper_deliver()) {
            shim_hopper_explain();
            shim_die("threads wait at a barrier or exchange that others never reach");
        }
    }
}

static void begin_block(dim3 grid, dim3 block, uint3 at, unsigned n, size_t bytes)
{
    block_meeting = meeting{(int)n, 0, 0};
    for (unsigned w = 0; w * LANES < n; w++)
        warp_meeting[w] = meeting{(int)(n < (w + 1) * LANES ? n - w * LANES : (unsigned)LANES), 0, 0};
    for (unsigned i = 0; i < n; i++) {
        struct thread *t = &threads[i];
        t->place = shim_place{uint3{i % block.x, i / block.x % block.y, i / block.x / block.y}, at, block, grid};
        t->coroutine = -1;
        t->done = false;
        t->waits_for = NULL;
        t->until = NULL;
        t->exchanges = 0;
        t->batches = t->n_copies = 0;
    }
    memset(shared, 0xff, bytes);
    shim_hopper_begin();
}

void shim_launch(dim3 grid, dim3 block, size_t bytes, void (*f)(void *), void *c)
{
    static unsigned launches;
    unsigned n = block.x * block.y * block.z, order = launches++;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    if (n == 0 || n > MOST_THREADS || blocks == 0 || blocks > UINT32_MAX || bytes > 227 << 10 ||
        grid.y > 65535 || grid.z > 65535)
        shim_die("a launch that no GPU would take");
    body = f;
    context = c;
    copies_at_once = order / 3 % 2;
    warps_go_on = order / 6 % 2;
    launch_number = order;
    n_threads = n;
    shared_bytes = bytes;
    shared = (unsigned char *)aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!shared)
        shim_die("no memory");
#if defined __SANITIZE_ADDRESS__
    ASAN_POISON_MEMORY_REGION(shared + bytes, (bytes + 64) / 64 * 64 - bytes);
#endif
    for (unsigned i = 0; i < (unsigned)blocks; i++) {
        unsigned b = turn(i, (unsigned)blocks, order);
        uint3 at = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        begin_block(grid, block, at, n, bytes);
        run_block(n, order);
        shim_hopper_end();
    }
#if defined __SANITIZE_ADDRESS__
    ASAN_UNPOISON_MEMORY_REGION(shared, (bytes + 64) / 64 * 64);
#endif
    free(shared);
    shared = NULL;
}

/* -- asynchronous copies -------------------------------------------------------------------------- */

static void arrive(struct copy_of c)
{
    if (c.there)
        memcpy(c.to, c.from, 16);
    else
        memset(c.to, 0, 16);
}

void copy_async(void *to, const void *from, bool there)
{
    if ((uintptr_t)to % 16 != 0 || (there && (uintptr_t)from % 16 != 0))
        shim_die("an asynchronous copy that is not aligned");
    if (self->n_copies == MOST_COPIES)
        shim_die("more asynchronous copies than this keeps");
    struct copy_of c = {to, from, there, self->batches};
    if (copies_at_once)
        arrive(c);
    else
        self->copy[self->n_copies++] = c;
}

void copy_commit()
{
    self->batches++;
}

void shim_copy_wait(int n)
{
    int kept = 0;
    for (int i = 0; i < self->n_copies; i++) {
        struct copy_of c = self->copy[i];
        if (c.batch >= self->batches - n)
            self->copy[kept++] = c;
        else
            arrive(c);
    }
    self->n_copies = kept;
}

/* -- tensor cores --------------------------------------------------------------------------------- */

static uint16_t half_of(const void *row, int i)
{
    uint16_t x;
    memcpy(&x, (const char *)row + 2 * i, sizeof x);
    return x;
}

static const void *row_of(const unsigned char *all, int lane)
{
    const void *p;
    memcpy(&p, all + SLOT * lane, sizeof p);
    if ((uintptr_t)p % 16 != 0)
        shim_die("a row of a matrix that is not aligned");
    return p;
}

void load_matrix(uint32_t (&r)[4], const void *row)
{
    const unsigned char *all = shim_exchange(&row, sizeof row);
    int lane = shim_lane();
    for (int m = 0; m < 4; m++) {
        const void *from = row_of(all, 8 * m + lane / 4);
        r[m] = half_of(from, 2 * (lane % 4)) | (uint32_t)half_of(from, 2 * (lane % 4) + 1) << 16;
    }
}

void load_transposed(uint32_t (&r)[4], const void *row)
{
    const unsigned char *all = shim_exchange(&row, sizeof row);
    int lane = shim_lane();
    for (int m = 0; m < 4; m++)
        r[m] = half_of(row_of(all, 8 * m + 2 * (lane % 4)), lane / 4) |
               (uint32_t)half_of(row_of(all, 8 * m + 2 * (lane % 4) + 1), lane / 4) << 16;
}

static float low(uint32_t pair)
{
    return bits_to_float(pair << 16);
}

static float high(uint32_t pair)
{
    return bits_to_float(pair & 0xffff0000u);
}

void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1}, of[6];
    const unsigned char *all = shim_exchange(mine, sizeof mine);
    int group = shim_lane() / 4, pair = shim_lane() % 4;
    uint32_t rows[2][8], columns[2][8]; /* pairs along k: rows group and group + 8, columns 2 pair and one more */
    for (int i = 0; i < 4; i++) {
        memcpy(of, all + SLOT * (4 * group + i), sizeof of);
        rows[0][i] = of[0], rows[1][i] = of[1], rows[0][i + 4] = of[2], rows[1][i + 4] = of[3];
        for (int n = 0; n < 2; n++) {
            memcpy(of, all + SLOT * (4 * (2 * pair + n) + i), sizeof of);
            columns[n][i] = of[4], columns[n][i + 4] = of[5];
        }
    }
    for (int m = 0; m < 2; m++)
        for (int n = 0; n < 2; n++)
            for (int i = 0; i < 8; i++)
                c[2 * m + n] += low(rows[m][i]) * low(columns[n][i]) + high(rows[m][i]) * high(columns[n][i]);
}

static uint32_t round_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

uint32_t pack_bf16(float low_half, float high_half)
{
    return round_bf16(low_half) | round_bf16(high_half) << 16;
}

/* -- graphs -------------------------------------------------------------------------------------- */

struct kept {
    void (*f)(void *);
    void *context;
};

struct shim_graph {
    int n, capacity;
    struct kept *kept;
};

static struct shim_graph *captured; /* NULL: nothing is being captured */
extern "C" long shim_replays, shim_refuse_graphs;
long shim_replays, shim_refuse_graphs; /* the second: the next so many captures fail at their end */

bool shim_capturing()
{
    return captured != NULL;
}

void shim_keep(void (*f)(void *), const void *c, size_t bytes)
{
    struct shim_graph *g = captured;
    if (g->n == g->capacity) {
        g->capacity = g->capacity ? 2 * g->capacity : 64;
        g->kept = (struct kept *)realloc(g->kept, (size_t)g->capacity * sizeof *g->kept);
        if (!g->kept)
            shim_die("no memory for a graph");
    }
    void *mine = malloc(bytes);
    if (!mine)
        shim_die("no memory for a graph");
    memcpy(mine, c, bytes);
    g->kept[g->n++] = kept{f, mine};
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    captured = (struct shim_graph *)calloc(1, sizeof *captured);
    return captured ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
    *graph = captured;
    captured = NULL;
    if (shim_refuse_graphs <= 0)
        return cudaSuccess;
    shim_refuse_graphs--;
    cudaGraphDestroy(*graph);
    *graph = NULL;
    return cudaErrorStreamCaptureUnsupported;
}

/* The graph itself is what is run: it has to outlive cudaGraphDestroy. */
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *g, cudaGraph_t graph, unsigned long long)
{
    *g = (struct shim_graph *)malloc(sizeof **g);
    if (!*g)
        return cudaErrorMemoryAllocation;
    **g = *graph;
    *graph = shim_graph{};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t)
{
    shim_replays++;
    for (int i = 0; i < g->n; i++)
        g->kept[i].f(g->kept[i].context);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    for (int i = 0; i < graph->n; i++)
        free(graph->kept[i].context);
    free(graph->kept);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g)
{
    return cudaGraphDestroy(g);
}

/* How often anything was waited for. */
extern "C" long shim_waits;
long shim_waits;

/* -- ranges ---------------------------------------------------------------------------------------- */

/* Whether anyone listens; how many are open; and the names of all that were, each with a newline behind. */
extern "C" int shim_listens, shim_ranges_open;
extern "C" char shim_ranges[1 << 16];
int shim_listens, shim_ranges_open;
char shim_ranges[1 << 16];

int mot_ranges_wanted(void)
{
    return shim_listens;
}

void mot_range_push(const char *name)
{
    size_t n = strlen(shim_ranges);
    shim_ranges_open++;
    snprintf(shim_ranges + n, sizeof shim_ranges - n, "%s\n", name);
}

void mot_range_pop(void)
{
    shim_ranges_open--;
}

/* -- events ---------------------------------------------------------------------------------------- */

struct shim_event {
    double time;
    long waits; /* when it was recorded: it may be read after the next wait */
};

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    *e = (cudaEvent_t)calloc(1, sizeof **e);
    return *e ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    free(e);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    *e = shim_event{(double)t.tv_sec + 1e-9 * (double)t.tv_nsec, shim_waits};
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    if (to->waits == shim_waits)
        return cudaErrorNotReady;
    *ms = (float)(1e3 * (to->time - from->time));
    return cudaSuccess;
}

/* -- the runtime ---------------------------------------------------------------------------------- */

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess ? "no error" : "out of memory";
}

cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

extern "C" int shim_shared_most, shim_major;
int shim_shared_most = 227 << 10, shim_major = 9;

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr a, int)
{
    *value = a == cudaDevAttrMultiProcessorCount            ? 3
             : a == cudaDevAttrComputeCapabilityMajor       ? shim_major
             : a == cudaDevAttrMaxSharedMemoryPerBlockOptin ? shim_shared_most
                                                            : 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    *p = cudaDeviceProp{"Shim H100 80GB HBM3", (size_t)80 << 30};
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *bus, int n, int)
{
    snprintf(bus, (size_t)n, "0000:00:00.0");
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    static char any;
    *s = (cudaStream_t)&any;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t)
{
    return cudaSuccess;
}

/* Copies between host and device under way.  What goes to the host arrives when it is waited for; what comes from it
 * has to lie still until then. */
static struct transfer {
    cudaMemcpyKind kind;
    void *to;
    const void *from;
    size_t n;
    void *seen;
} transfers[256];
static int n_transfers;

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    if (shim_capturing())
        shim_die("a wait while work is captured");
    shim_waits++;
    for (int i = 0; i < n_transfers; i++) {
        struct transfer *t = &transfers[i];
        if (t->kind == cudaMemcpyDeviceToHost)
            memcpy(t->to, t->seen, t->n);
        else if (memcmp(t->from, t->seen, t->n) != 0)
            shim_die("what was being copied to the device was written over");
        free(t->seen);
    }
    n_transfers = 0;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    *p = bytes > SIZE_MAX / 2 || posix_memalign(p, 256, bytes) != 0 ? NULL : *p;
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

/* All bytes of the device that were ever asked for. */
extern "C" size_t shim_taken;
size_t shim_taken;

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    cudaError_t e = cudaMallocHost(p, bytes);
    shim_taken += e == cudaSuccess ? bytes : 0;
    return e;
}

cudaError_t cudaFree(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind, cudaStream_t)
{
    if (kind == cudaMemcpyDeviceToDevice) {
        shim_enqueue([=]() { memcpy(to, from, n); });
        return cudaSuccess;
    }
    if (shim_capturing())
        shim_die("the host's memory in work that is captured");
    void *seen = malloc(n);
    if (!seen || n_transfers == sizeof transfers / sizeof transfers[0])
        shim_die("too many copies that nobody waits for");
    memcpy(seen, from, n);
    if (kind == cudaMemcpyHostToDevice)
        memcpy(to, from, n);
    transfers[n_transfers++] = transfer{kind, to, from, n, seen};
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t n, cudaStream_t)
{
    shim_enqueue([=]() { memset(to, value, n); });
    return cudaSuccess;
}
