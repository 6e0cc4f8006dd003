/* SPDX-License-Identifier: MIT
 *
 * about.cu - which GPU this is, and how fast its clocks run now, as its driver's management library tells:
 * that one is loaded when it is asked for, and where it is missing clocks are not known.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "cuda.h"

namespace mot_cuda
{

enum { SM_CLOCK = 1, MEMORY_CLOCK = 2 }; /* nvmlClockType_t */

struct nvml {
    int (*init)();
    int (*shutdown)();
    int (*find)(const char *bus, void **device);
    int (*clock)(void *device, int type, unsigned *mhz);
};

static bool load(nvml *n, void *library)
{
    n->init = (int (*)())dlsym(library, "nvmlInit_v2");
    n->shutdown = (int (*)())dlsym(library, "nvmlShutdown");
    n->find = (int (*)(const char *, void **))dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2");
    n->clock = (int (*)(void *, int, unsigned *))dlsym(library, "nvmlDeviceGetClockInfo");
    return n->init && n->shutdown && n->find && n->clock;
}

static double clock_of(const nvml *n, void *device, int type)
{
    unsigned mhz = 0;
    return n->clock(device, type, &mhz) == 0 ? 1e6 * (double)mhz : 0;
}

static void read_clocks(mot_about *a)
{
    nvml n;
    void *device = NULL;
    char bus[32];
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    if (load(&n, library) && cudaDeviceGetPCIBusId(bus, (int)sizeof bus, 0) == cudaSuccess &&
        n.init() == 0) {
        if (n.find(bus, &device) == 0) {
            a->clock = clock_of(&n, device, SM_CLOCK);
            a->memory_clock = clock_of(&n, device, MEMORY_CLOCK);
        }
        n.shutdown();
    }
    cudaGetLastError(); /* clocks may stay unknown, and the next launch is not to be blamed */
    dlclose(library);
}

void about(mot_device *d, mot_about *a)
{
    cudaDeviceProp p;
    *a = {};
    if (!check(d, cudaGetDeviceProperties(&p, 0), "GPU"))
        return;
    snprintf(a->name, sizeof a->name, "%.127s", p.name);
    a->memory = (double)p.totalGlobalMem;
    read_clocks(a);
}

} // namespace mot_cuda
