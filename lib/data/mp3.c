/* SPDX-License-Identifier: MIT
 *
 * mp3.c - how long an MP3 says it is, and whether it is cut.
 *
 * A stream of frames of layer III, perhaps behind an ID3v2 tag and before other tags.  The first frame may be none of sound, but
 * tell how many there are (Xing, Info, VBRI); where none does, a decoder's number of samples is a guess from the first frames'
 * sizes.
 */
#include "source.h"

/* Bytes of the frame whose four bytes of head are at p, 0 if that is none of layer III with a known size. */
static size_t frame_size(const unsigned char *p)
{
    static const unsigned char kbits[2][16] = {{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0},
                                               {0, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 0}}; /* the latter by 8 */
    static const unsigned short rates[4][3] = {{11025, 12000, 8000}, {0}, {22050, 24000, 16000}, {44100, 48000, 32000}};
    int version = p[1] >> 3 & 3, rate = p[2] >> 2 & 3, first = version == 3; /* MPEG 1 */
    if (p[0] != 0xff || (p[1] & 0xe6) != 0xe2 || rate == 3 || version == 1)
        return 0;
    size_t bits = kbits[first][p[2] >> 4] * (first ? 8000u : 1000u);
    return bits ? (first ? 144 : 72) * bits / rates[version][rate] + (p[2] >> 1 & 1) : 0;
}

/* Where the frames begin: behind ID3v2, whose size is in 4 times 7 bits. */
static size_t skip_tag(const unsigned char *p, size_t n)
{
    if (n < 10 || memcmp(p, "ID3", 3) != 0)
        return 0;
    size_t size = (size_t)(p[6] & 127) << 21 | (size_t)(p[7] & 127) << 14 | (size_t)(p[8] & 127) << 7 | (size_t)(p[9] & 127);
    return size <= n - 10 ? 10 + size : n;
}

/* Does a first frame of this size tell how many there are? */
static bool tells(const unsigned char *p, size_t size)
{
    bool first = (p[1] >> 3 & 3) == 3, mono = p[3] >> 6 == 3;
    size_t xing = 4 + (first ? mono ? 17 : 32 : mono ? 9 : 17), vbri = 4 + 32;
    if (size >= xing + 8 && (memcmp(p + xing, "Xing", 4) == 0 || memcmp(p + xing, "Info", 4) == 0))
        return p[xing + 7] & 1;
    return size >= vbri + 4 && memcmp(p + vbri, "VBRI", 4) == 0;
}

void mot_mp3_look(const unsigned char *p, size_t n, bool *counted, bool *cut)
{
    size_t begin = skip_tag(p, n), at = begin, size;
    *counted = *cut = false;
    while (n - at >= 4 && (size = frame_size(p + at)) != 0) {
        if (size > n - at) {
            *cut = true;
            return;
        }
        if (at == begin)
            *counted = tells(p + at, size);
        at += size;
    }
}
