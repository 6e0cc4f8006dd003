/* SPDX-License-Identifier: MIT
 *
 * inside.h - what shim.cpp, which runs the threads, and hopper.cpp and products.cpp, which have the
 * asynchronous instructions of sm_90a, ask of each other.
 */
#ifndef MOT_SHIM_INSIDE_H
#define MOT_SHIM_INSIDE_H

#include "gpu.h"

enum {
    MOST_THREADS = 1024,
    LANES = 32,
    MOST_WARPS = MOST_THREADS / LANES,
    SLOT = 32, /* bytes of an exchange */
    WARPGROUP = 128,
};

[[noreturn]] void shim_die(const char *what);

/* Threads wait for a count of arrivals; when all have come the round moves on. */
struct meeting {
    int members, here;
    unsigned round;
};

void shim_arrive(struct meeting *m); /* without waiting */
void shim_meet(struct meeting *m);
/* Others run until good(of). */
void shim_wait_until(bool (*good)(const void *), const void *of);

unsigned shim_thread();   /* the number of the one that runs, in its block */
unsigned shim_threads();  /* of a block */
unsigned shim_launches(); /* the number of the launch */
bool shim_late();         /* copies of this launch arrive as late as they may, else at once */
unsigned char *shim_shared(size_t *bytes);

/* hopper.cpp's part in a block's life */
void shim_hopper_begin();
bool shim_hopper_deliver(); /* something that is under way is done; false: nothing is */
void shim_hopper_end();
void shim_hopper_explain(); /* barriers, to stderr */

/* hopper.cpp for products.cpp */
enum { WINDOW, LATE_PRODUCTS, LAST_COPY, PRODUCTS_FIRST, COINS };
bool shim_coin(int which);              /* heads or tails, by the launch */
size_t shim_swizzled(uint32_t address); /* its place in shared memory */
const unsigned char *shim_view();       /* all of shared memory as products may see it */

/* products.cpp for hopper.cpp */
void shim_products_begin();
bool shim_multiply_late(); /* products that are waited for are made; false: there are none */
void shim_products_end();

#endif
