/* SPDX-License-Identifier: MIT
 *
 * image.c - pictures: PNG, JPEG and WebP in, PNG out, resizing.
 *
 * Decoding is stb_image's.  It checks neither PNG's checksums nor that a JPEG has an end, and would
 * show half a picture without a word, so the file's frame is walked here first.  Bombs are met
 * twice: by the size in the file's head, and by a ceiling on each single allocation that follows
 * from that size (a 1 x 1 picture may unpack to gigabytes otherwise).
 */
#include <limits.h>
#include <math.h>

#include "source.h"

enum { MAX_PIXELS = 100 * 1000 * 1000, MAX_SCANS = 1000 };

static _Thread_local size_t allocation_limit;
static _Thread_local bool allocation_failed; /* below the limit: then nothing is known about the picture */

/* Zeroed: stb_image 2.27 uses tables that a JPEG does not define. */
static void *limited_alloc(size_t n)
{
    void *p = n <= allocation_limit ? mot_alloc(n, 1) : NULL;
    allocation_failed |= !p && n <= allocation_limit;
    return p;
}

static void *limited_realloc(void *p, size_t n)
{
    void *q = n <= allocation_limit ? mot_realloc(p, n, 1) : NULL;
    allocation_failed |= !q && n <= allocation_limit;
    return q;
}

/* Both are compiled into this file, private to it; they declare more than we switch on. */
#pragma GCC diagnostic ignored "-Wunused-function"
#define STBI_MALLOC(n) limited_alloc(n)
#define STBI_REALLOC(p, n) limited_realloc(p, n)
#define STBI_FREE(p) mot_free(p)
#define STBI_ASSERT(x) ((void)(x))
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#define STBIW_MALLOC(n) mot_realloc(NULL, n, 1)
#define STBIW_REALLOC(p, n) mot_realloc(p, n, 1)
#define STBIW_FREE(p) mot_free(p)
#define STBIW_ASSERT(x) ((void)(x))
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

/* ---- loading ---- */

static uint32_t get32_big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_png(const unsigned char *p, size_t n)
{
    return n >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0;
}

/* Chunks up to IEND, each with a good CRC; the size stands in the first, the orientation perhaps in eXIf. */
static int check_png(const unsigned char *p, size_t n, const char *name, uint32_t *width,
                     uint32_t *height, int *orientation)
{
    for (size_t at = 8; at < n;) {
        if (n - at < 12 || get32_big(p + at) > n - at - 12)
            break;
        size_t length = get32_big(p + at);
        if (mot_crc32(0, p + at + 4, length + 4) != get32_big(p + at + 8 + length))
            return mot_fail(MOT_ECORRUPT,
                            "%s: damaged PNG: wrong checksum of the chunk at byte %zu", name, at);
        if (at == 8 && length >= 8) {
            *width = get32_big(p + at + 8);
            *height = get32_big(p + at + 12);
        }
        if (memcmp(p + at + 4, "eXIf", 4) == 0)
            *orientation = mot_exif_orientation(p + at + 8, length);
        if (memcmp(p + at + 4, "IEND", 4) == 0)
            return MOT_OK;
        at += 12 + length;
    }
    return mot_fail(MOT_ECORRUPT, "%s: truncated PNG: %zu bytes and no end", name, n);
}

/* The tables of a DHT segment: class, 16 counts, as many values as the counts say.  stb_image 2.27
 * writes them into arrays of 257 and 256 and shifts by them without looking whether they make
 * sense. */
static bool good_tables(const unsigned char *p, size_t n)
{
    while (n > 0) {
        size_t values = 0;
        if (n < 17)
            return false;
        for (int i = 1; i <= 16; i++)
            values += p[i];
        if (values > 256 || n < 17 + values)
            return false;
        for (size_t i = 0; i < values; i++) /* class 0: how many bits of a DC difference follow */
            if (p[0] < 16 && p[17 + i] > 15)
                return false;
        p += 17 + values;
        n -= 17 + values;
    }
    return true;
}

/* Segments and scans up to the end marker; the size stands in the frame header, C0 ... CF but for
 * the tables among them.  Each scan costs a pass over all pixels, hence the limit. */
static int check_jpeg(const unsigned char *p, size_t n, const char *name, uint32_t *width,
                      uint32_t *height, int *orientation)
{
    int scans = 0;
    for (size_t at = 2; at + 1 < n;) {
        int marker = p[at + 1];
        if (p[at] != 0xff || marker == 0 || marker == 0xff || (marker >= 0xd0 && marker <= 0xd7)) {
            at++; /* data of a scan, a stuffed or fill byte, a restart marker */
            continue;
        }
        if (marker == 0xd9)
            return MOT_OK;
        if (marker == 0xda && ++scans > MAX_SCANS)
            return mot_fail(MOT_ECORRUPT, "%s: JPEG of more than %d scans", name, MAX_SCANS);
        if (n - at < 9)
            break;
        if (*width == 0 && marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
            marker != 0xcc) {
            if (marker > 0xc2)
                return mot_fail(MOT_EFORMAT, "%s: a JPEG of a rare kind (lossless, hierarchical or arithmetic), expected a usual one",
                                name);
            if (p[at + 4] != 8)
                return mot_fail(MOT_EFORMAT, "%s: a JPEG of %d bits a channel, expected 8", name, p[at + 4]);
            *height = (uint32_t)p[at + 5] << 8 | p[at + 6];
            *width = (uint32_t)p[at + 7] << 8 | p[at + 8];
        }
        size_t length = (size_t)p[at + 2] << 8 | p[at + 3];
        if (length < 2 || length > n - at - 2)
            break;
        if (marker == 0xe1 && *orientation == 1 && length > 8 && memcmp(p + at + 4, "Exif", 4) == 0)
            *orientation = mot_exif_orientation(p + at + 4, length - 2);
        if (marker == 0xc4 && !good_tables(p + at + 4, length - 2))
            return mot_fail(MOT_ECORRUPT, "%s: damaged JPEG: impossible tables at byte %zu", name,
                            at);
        at += 2 + length;
    }
    return mot_fail(MOT_ECORRUPT, "%s: truncated JPEG: %zu bytes and no end", name, n);
}

/* RGBA over white, in place, to RGB; in the arithmetic of Chameleon's, whose codec may be the one that sees it. */
static void flatten(unsigned char *p, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        double a = p[4 * i + 3] / 255.0;
        for (size_t c = 0; c < 3; c++)
            p[3 * i + c] = (unsigned char)((1 - a) * 255 + a * p[4 * i + c]);
    }
}

/* PNG and JPEG: RGBA or RGB, by the frame's walk and then stb_image. */
static int load_stb(const unsigned char *p, size_t n, const char *name, bool png, unsigned char **pixels, int *width,
                    int *height, int *orientation)
{
    uint32_t w = 0, h = 0;
    int rc = png ? check_png(p, n, name, &w, &h, orientation) : check_jpeg(p, n, name, &w, &h, orientation);
    if (rc)
        return rc;
    if (w == 0 || h == 0 || (uint64_t)w * h > MAX_PIXELS)
        return mot_fail(MOT_EFORMAT, "%s: picture of %u x %u, expected 1 to %d pixels", name, w, h,
                        MAX_PIXELS);
    /* The largest honest allocation: 16-bit RGBA with a filter byte a row, doubled by growing;
     * JPEG's coefficients, whose blocks may be padded to 32 x 32 pixels. */
    allocation_limit = ((size_t)w + 64) * ((size_t)h + 64) * 16 + (1 << 20);
    allocation_failed = false;
    int channels;
    *pixels = stbi_load_from_memory(p, (int)n, width, height, &channels, png ? 4 : 3);
    if (allocation_failed) { /* the decoder may have gone on as if something else were wrong */
        mot_free(*pixels);
        *pixels = NULL;
        return MOT_ENOMEM;
    }
    if (!*pixels && strcmp(stbi_failure_reason(), "outofmem") == 0)
        return mot_fail(MOT_ECORRUPT, "%s: damaged picture: more in it than %u x %u pixels", name, w, h);
    return *pixels ? MOT_OK : mot_fail(MOT_ECORRUPT, "%s: damaged picture: %s", name, stbi_failure_reason());
}

int mot_image_load(struct mot_image *im, const void *data, size_t n, const char *name)
{
    *im = (struct mot_image){0};
    const unsigned char *p = data;
    bool png = is_png(p, n), jpeg = n >= 3 && memcmp(p, "\xff\xd8\xff", 3) == 0, webp = mot_is_webp(p, n);
    if (!png && !jpeg && !webp)
        return mot_fail(MOT_EFORMAT, "%s: neither PNG, JPEG nor WebP", name);
    if (n > INT_MAX)
        return mot_fail(MOT_EFORMAT, "%s: picture file of %zu bytes, at most 2 GiB", name, n);
    int width = 0, height = 0, orientation = 1;
    unsigned char *pixels = NULL;
    int rc = webp ? mot_webp_load(p, n, MAX_PIXELS, name, &pixels, &width, &height, &orientation)
                  : load_stb(p, n, name, png, &pixels, &width, &height, &orientation);
    if (rc)
        return rc;
    if (!jpeg)
        flatten(pixels, (size_t)width * (size_t)height);
    *im = (struct mot_image){width, height, pixels};
    rc = mot_image_turn(im, orientation);
    if (rc)
        mot_image_free(im);
    return rc;
}

/* ---- saving ---- */

int mot_image_save_png(const struct mot_image *im, const char *path)
{
    if (im->width <= 0 || im->height <= 0 || (int64_t)im->width * im->height > MAX_PIXELS)
        return mot_fail(MOT_EARG, "%s: a picture of %d x %d cannot be saved", path, im->width,
                        im->height);
    int n = 0;
    unsigned char *png =
        stbi_write_png_to_mem(im->rgb, 3 * im->width, im->width, im->height, 3, &n);
    if (!png)
        return mot_fail(MOT_ENOMEM, "%s: out of memory writing a picture", path);
    int rc = mot_write_file(path, png, (size_t)n);
    mot_free(png);
    return rc;
}

/* ---- resizing ---- */

/* One axis: output i is the weighted mean of inputs [begin[i], begin[i] + n[i]).  The weights are a
 * triangle's around the output's centre: between neighbours when enlarging (bilinear), widened to
 * the step when shrinking, so that every input counts (antialiased). */
struct axis {
    int *begin, *n;
    float *weight; /* taps an output */
    int taps;
};

static void free_axis(struct axis *a)
{
    mot_free(a->begin);
    mot_free(a->n);
    mot_free(a->weight);
}

static int make_axis(struct axis *a, int in, int out)
{
    double step = (double)in / out, support = step > 1 ? step : 1;
    a->taps = (int)ceil(support) * 2 + 1;
    a->begin = mot_alloc((size_t)out, sizeof *a->begin);
    a->n = mot_alloc((size_t)out, sizeof *a->n);
    size_t weights;
    if (!mot_mul((size_t)out, (size_t)a->taps, &weights))
        return mot_fail(MOT_ENOMEM, "out of memory resizing a picture");
    a->weight = mot_alloc(weights, sizeof *a->weight);
    if (!a->begin || !a->n || !a->weight)
        return MOT_ENOMEM;
    for (int i = 0; i < out; i++) {
        double centre = (i + 0.5) * step, sum = 0;
        int lo = (int)(centre - support + 0.5), hi = (int)(centre + support + 0.5);
        lo = lo < 0 ? 0 : lo;
        hi = hi > in ? in : hi;
        float *w = a->weight + (size_t)i * (size_t)a->taps;
        for (int k = lo; k < hi; k++) {
            double x = 1 - fabs(k + 0.5 - centre) / support;
            w[k - lo] = x > 0 ? (float)x : 0;
            sum += w[k - lo];
        }
        for (int k = lo; k < hi; k++)
            w[k - lo] = (float)(w[k - lo] / sum);
        a->begin[i] = lo;
        a->n[i] = hi - lo;
    }
    return MOT_OK;
}

/* Row y of the input, resized to the output's width. */
static void resize_row(const struct axis *a, const unsigned char *row, float *out, int width)
{
    for (int i = 0; i < width; i++) {
        const float *w = a->weight + (size_t)i * (size_t)a->taps;
        const unsigned char *p = row + 3 * (size_t)a->begin[i];
        float r = 0, g = 0, b = 0;
        for (int k = 0; k < a->n[i]; k++, p += 3) {
            r += w[k] * p[0];
            g += w[k] * p[1];
            b += w[k] * p[2];
        }
        out[3 * i] = r, out[3 * i + 1] = g, out[3 * i + 2] = b;
    }
}

int mot_image_resize(const struct mot_image *im, int width, int height, struct mot_image *out)
{
    *out = (struct mot_image){0};
    if (im->width <= 0 || im->height <= 0 || width <= 0 || height <= 0 ||
        (int64_t)width * height > MAX_PIXELS)
        return mot_fail(MOT_EARG, "a picture of %d x %d cannot become %d x %d", im->width,
                        im->height, width, height);
    size_t line = 3 * (size_t)width;
    struct axis across = {0}, down = {0};
    /* Rows resized across, kept as long as some output row needs them: a ring of `down.taps`. */
    float *ring = NULL, *sum = mot_alloc(line, sizeof *sum);
    unsigned char *rgb = mot_alloc((size_t)height, line);
    int rc = sum && rgb ? make_axis(&across, im->width, width) : MOT_ENOMEM;
    if (!rc)
        rc = make_axis(&down, im->height, height);
    if (!rc && !(ring = mot_alloc((size_t)down.taps, line * sizeof *ring)))
        rc = MOT_ENOMEM;
    for (int y = 0, ready = 0; !rc && y < height; y++) {
        for (int end = down.begin[y] + down.n[y]; ready < end; ready++)
            resize_row(&across, im->rgb + 3 * (size_t)im->width * (size_t)ready,
                       ring + line * (size_t)(ready % down.taps), width);
        memset(sum, 0, line * sizeof *sum);
        for (int k = 0; k < down.n[y]; k++) {
            const float *row = ring + line * (size_t)((down.begin[y] + k) % down.taps);
            float w = down.weight[(size_t)y * (size_t)down.taps + (size_t)k];
            for (size_t i = 0; i < line; i++)
                sum[i] += w * row[i];
        }
        /* Weights are positive and sum to 1: no clamping but for rounding. */
        for (size_t i = 0; i < line; i++)
            rgb[(size_t)y * line + i] = (unsigned char)(sum[i] < 255 ? sum[i] + 0.5f : 255);
    }
    free_axis(&across);
    free_axis(&down);
    mot_free(ring);
    mot_free(sum);
    if (rc) {
        mot_free(rgb);
        return rc;
    }
    *out = (struct mot_image){width, height, rgb};
    return MOT_OK;
}
