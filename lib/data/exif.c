/* SPDX-License-Identifier: MIT
 *
 * exif.c - how a camera was held: the orientation that the Exif block of a picture file tells, and turning pictures upright.
 * An Exif block is a TIFF file in small; only its first folder is looked into, and what makes no sense there is passed over,
 * as all other readers do.
 */
#include "source.h"

static uint32_t get(const unsigned char *p, int bytes, bool big)
{
    uint32_t x = 0;
    for (int i = 0; i < bytes; i++)
        x |= (uint32_t)p[i] << 8 * (big ? bytes - 1 - i : i);
    return x;
}

int mot_exif_orientation(const unsigned char *p, size_t n)
{
    enum { ENTRY = 12, ORIENTATION = 0x112, SHORT = 3 };
    if (n >= 6 && memcmp(p, "Exif\0\0", 6) == 0)
        p += 6, n -= 6;
    if (n < 8 || (memcmp(p, "MM\0*", 4) != 0 && memcmp(p, "II*\0", 4) != 0))
        return 1;
    bool big = *p == 'M';
    size_t at = get(p + 4, 4, big);
    if (at > n - 2 || at < 8)
        return 1;
    size_t entries = get(p + at, 2, big);
    for (at += 2; entries > 0 && n - at >= ENTRY; at += ENTRY, entries--) {
        if (get(p + at, 2, big) != ORIENTATION)
            continue;
        uint32_t value = get(p + at + 8, 2, big);
        bool good = get(p + at + 2, 2, big) == SHORT && get(p + at + 4, 4, big) == 1 && value >= 1 && value <= 8;
        return good ? (int)value : 1;
    }
    return 1;
}

int mot_image_turn(struct mot_image *im, int orientation)
{
    /* Where the pixel at the upper left of what is to be seen lies: at the right, at the bottom; then whether rows are columns. */
    static const struct {
        bool right, bottom, swapped;
    } how[9] = {{0}, {0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {0, 1, 0}, {0, 0, 1}, {0, 1, 1}, {1, 1, 1}, {1, 0, 1}};
    if (orientation < 2 || orientation > 8)
        return MOT_OK;
    size_t w = (size_t)im->width, h = (size_t)im->height;
    bool swapped = how[orientation].swapped;
    size_t width = swapped ? h : w, height = swapped ? w : h;
    unsigned char *rgb = mot_alloc(w * h, 3);
    if (!rgb)
        return MOT_ENOMEM;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            size_t column = swapped ? y : x, row = swapped ? x : y;
            column = how[orientation].right ? w - 1 - column : column;
            row = how[orientation].bottom ? h - 1 - row : row;
            memcpy(rgb + 3 * (y * width + x), im->rgb + 3 * (row * w + column), 3);
        }
    mot_image_free(im);
    *im = (struct mot_image){(int)width, (int)height, rgb};
    return MOT_OK;
}
