/* SPDX-License-Identifier: MIT
 *
 * rng.c - counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011), and hashes.
 *
 * A number depends on (seed, stream, index) alone; nothing is stored, so a run that stops and resumes, or
 * that splits its work over more threads, draws the same numbers.
 */
#include <math.h>

#include <zlib.h>

#include "base.h"

struct mot_u32x4 mot_philox(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t c[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    uint32_t k[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9u; /* golden ratio and sqrt(3) - 1, the paper's Weyl constants */
        k[1] += 0xBB67AE85u;
    }
    return (struct mot_u32x4){{c[0], c[1], c[2], c[3]}};
}

uint64_t mot_random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    struct mot_u32x4 r = mot_philox(seed, stream, index);
    return (uint64_t)r.v[1] << 32 | r.v[0];
}

uint64_t mot_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)((wide)mot_random_u64(seed, stream, index) * n >> 64);
}

double mot_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(mot_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

double mot_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    /* Box-Muller on two halves of one block; the first uniform is kept away from 0. */
    struct mot_u32x4 r = mot_philox(seed, stream, index);
    double u = ((double)(((uint64_t)r.v[1] << 32 | r.v[0]) >> 11) + 0.5) * 0x1p-53;
    double w = (double)(((uint64_t)r.v[3] << 32 | r.v[2]) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * w);
}

uint64_t mot_stream(const char *name)
{
    return mot_hash(MOT_HASH_START, name, strlen(name));
}

uint64_t mot_hash(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

uint32_t mot_crc32(uint32_t crc, const void *data, size_t n)
{
    return (uint32_t)crc32_z(crc, data, n);
}
