/* SPDX-License-Identifier: MIT
 *
 * webp.c - pictures in WebP, by libwebp, which refuses truncated ones itself.
 */
#include <webp/decode.h>

#include "source.h"

/* The Exif block of an extended file, *n = 0 if there is none. */
static const unsigned char *find_exif(const unsigned char *p, size_t size, size_t *n)
{
    *n = 0;
    for (size_t at = 12; at < size && size - at >= 8;) {
        size_t length = mot_get32(p + at + 4), left = size - at - 8;
        if (length > left)
            break;
        if (memcmp(p + at, "EXIF", 4) == 0) {
            *n = length;
            return p + at + 8;
        }
        at += 8 + length + (length & 1);
    }
    return NULL;
}

bool mot_is_webp(const unsigned char *p, size_t n)
{
    return n >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0;
}

int mot_webp_load(const unsigned char *p, size_t n, int64_t max_pixels, const char *name, unsigned char **rgba, int *width,
                  int *height, int *orientation)
{
    WebPDecoderConfig how;
    if (!WebPInitDecoderConfig(&how))
        return mot_fail(MOT_EFORMAT, "%s: WebP: libwebp is of another version than it was built for", name);
    VP8StatusCode status = WebPGetFeatures(p, n, &how.input);
    WebPBitstreamFeatures f = how.input;
    if (status == VP8_STATUS_NOT_ENOUGH_DATA || (status == VP8_STATUS_OK && mot_get32(p + 4) > n - 8))
        return mot_fail(MOT_ECORRUPT, "%s: truncated WebP: %zu bytes and no end", name, n);
    if (status != VP8_STATUS_OK)
        return mot_fail(MOT_ECORRUPT, "%s: damaged WebP", name);
    if (f.has_animation)
        return mot_fail(MOT_EFORMAT, "%s: a WebP that moves, expected a still picture", name);
    if (f.width < 1 || f.height < 1 || (int64_t)f.width * f.height > max_pixels)
        return mot_fail(MOT_EFORMAT, "%s: picture of %d x %d, expected 1 to %lld pixels", name, f.width, f.height,
                        (long long)max_pixels);
    size_t exif, size = 4 * (size_t)f.width * (size_t)f.height;
    const unsigned char *block = find_exif(p, n, &exif);
    *orientation = mot_exif_orientation(block, exif);
    *rgba = mot_alloc(size, 1);
    if (!*rgba)
        return MOT_ENOMEM;
    how.output.colorspace = MODE_RGBA;
    how.output.u.RGBA = (WebPRGBABuffer){*rgba, 4 * f.width, size};
    how.output.is_external_memory = 1;
    status = WebPDecode(p, n, &how);
    if (status != VP8_STATUS_OK) {
        mot_free(*rgba);
        *rgba = NULL;
        return status == VP8_STATUS_OUT_OF_MEMORY
                   ? mot_fail(MOT_ENOMEM, "out of memory decoding a WebP of %d x %d pixels", f.width, f.height)
                   : mot_fail(MOT_ECORRUPT, "%s: damaged WebP: its picture cannot be decoded", name);
    }
    *width = f.width;
    *height = f.height;
    return MOT_OK;
}
