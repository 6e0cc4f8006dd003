/* SPDX-License-Identifier: MIT
 *
 * ranges.c - ranges by NVTX, where CUDA's headers have it.
 *
 * The header brings a library along, whose weak names every object that includes it hands on.  Here, the only
 * place, they are static: the header's words for what is linked once are said anew before it uses them.
 */
#include "ranges.h"

#if defined __has_include
#if __has_include(<nvtx3/nvtxDetail/nvtxLinkOnce.h>)
#define NVTX_AS_SYSTEM_HEADER                   /* most of it is not used, and nobody is to be told so */
#define NVTX_SUPPORT_STATIC_INJECTION_LIBRARY 0 /* one more weak name */
#include <nvtx3/nvtxDetail/nvtxLinkOnce.h>
#undef NVTX_LINKONCE_DEFINE_GLOBAL
#undef NVTX_LINKONCE_DEFINE_FUNCTION
#undef NVTX_LINKONCE_FWDDECL_GLOBAL
#define NVTX_LINKONCE_DEFINE_GLOBAL static
#define NVTX_LINKONCE_DEFINE_FUNCTION static
#define NVTX_LINKONCE_FWDDECL_GLOBAL static
#include <nvtx3/nvToolsExt.h>
#define HAS_NVTX
#endif
#endif

#ifdef HAS_NVTX

/* What is pushed where nobody listens has no depth. */
int mot_ranges_wanted(void)
{
    int depth = nvtxRangePushA("mot");
    nvtxRangePop();
    return depth >= 0;
}

void mot_range_push(const char *name)
{
    nvtxRangePushA(name);
}

void mot_range_pop(void)
{
    nvtxRangePop();
}

#else

int mot_ranges_wanted(void)
{
    return 0;
}

void mot_range_push(const char *name)
{
    (void)name;
}

void mot_range_pop(void)
{
}

#endif
