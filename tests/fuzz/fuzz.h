/* SPDX-License-Identifier: MIT
 *
 * fuzz.h - what a fuzz target defines, and bytes as a file that needs no disk.
 */
#ifndef MOT_FUZZ_H
#define MOT_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A file in memory with these bytes; its path goes to `path` (32 bytes).  Close the descriptor when
 * done. */
static inline int fuzz_file(const uint8_t *data, size_t n, char *path)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (n && write(fd, data, n) != (ssize_t)n))
        return -1;
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
