/* SPDX-License-Identifier: MIT
 *
 * test_media.c - pictures and sounds whose bytes are made here by the formats' rules (not by the
 * code under test): every odd kind is converted, every damaged kind refused with its name; resizing
 * and resampling against what they must do to simple signals.
 */
#include <sndfile.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/base/base.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX", file[64];

static bool same_pixels(const struct mot_image *im, int w, int h, const unsigned char *rgb)
{
    return im->width == w && im->height == h &&
           memcmp(im->rgb, rgb, 3 * (size_t)w * (size_t)h) == 0;
}

/* ---- PNG by hand ---- */

static void put_big(unsigned char *p, uint32_t x)
{
    p[0] = (unsigned char)(x >> 24), p[1] = (unsigned char)(x >> 16),
    p[2] = (unsigned char)(x >> 8), p[3] = (unsigned char)x;
}

static void chunk(struct mot_bytes *b, const char *type, const void *data, size_t n)
{
    unsigned char head[8], crc[4];
    put_big(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    put_big(crc, (uint32_t)crc32(crc32(0, head + 4, 4), n ? data : head, (uInt)n));
    CHECK_INT(mot_bytes_append(b, head, 8), 0);
    CHECK_INT(mot_bytes_append(b, data, n), 0);
    CHECK_INT(mot_bytes_append(b, crc, 4), 0);
}

/* raw: rows, each with its filter byte */
static struct mot_bytes png(uint32_t w, uint32_t h, int depth, int color, const void *palette,
                            size_t n_palette, const void *alpha, size_t n_alpha, const void *raw,
                            size_t n)
{
    struct mot_bytes b = {0};
    unsigned char head[13] = {0};
    put_big(head, w);
    put_big(head + 4, h);
    head[8] = (unsigned char)depth;
    head[9] = (unsigned char)color;
    CHECK_INT(mot_bytes_append(&b, "\x89PNG\r\n\x1a\n", 8), 0);
    chunk(&b, "IHDR", head, 13);
    if (n_palette)
        chunk(&b, "PLTE", palette, n_palette);
    if (n_alpha)
        chunk(&b, "tRNS", alpha, n_alpha);
    uLongf size = compressBound(n);
    unsigned char *z = malloc(size);
    CHECK_INT(compress(z, &size, raw, n), Z_OK);
    chunk(&b, "IDAT", z, size);
    chunk(&b, "IEND", NULL, 0);
    free(z);
    return b;
}

static void test_png_kinds(void)
{
    struct mot_image im;
    static const struct {
        const char *name;
        int depth, color;
        const char *palette, *alpha, *raw;
        size_t n_palette, n_alpha, n_raw;
        unsigned char rgb[6]; /* two pixels */
    } kind[] = {
        {"grey", 8, 0, "", "", "\0\x10\xf0", 0, 0, 3, {0x10, 0x10, 0x10, 0xf0, 0xf0, 0xf0}},
        {"grey 1 bit", 1, 0, "", "", "\0\x40", 0, 0, 2, {0, 0, 0, 255, 255, 255}},
        {"grey 16 bit",
         16,
         0,
         "",
         "",
         "\0\x12\x34\xff\xff",
         0,
         0,
         5,
         {0x12, 0x12, 0x12, 255, 255, 255}},
        {"rgb", 8, 2, "", "", "\0\1\2\3\4\5\6", 0, 0, 7, {1, 2, 3, 4, 5, 6}},
        {"rgb, left filter", 8, 2, "", "", "\1\1\2\3\4\5\6", 0, 0, 7, {1, 2, 3, 5, 7, 9}},
        {"rgb with a transparent colour",
         8,
         2,
         "",
         "\0\4\0\5\0\6",
         "\0\1\2\3\4\5\6",
         0,
         6,
         7,
         {1, 2, 3, 255, 255, 255}},
        {"rgb 16 bit",
         16,
         2,
         "",
         "",
         "\0\1\xff\2\xff\3\xff\4\0\5\0\6\0",
         0,
         0,
         13,
         {1, 2, 3, 4, 5, 6}},
        {"palette", 8, 3, "\1\2\3\4\5\6", "", "\0\1\0", 6, 0, 3, {4, 5, 6, 1, 2, 3}},
        {"palette with alpha",
         8,
         3,
         "\1\2\3\4\5\6",
         "\0",
         "\0\1\0",
         6,
         1,
         3,
         {4, 5, 6, 255, 255, 255}},
        {"grey and alpha",
         8,
         4,
         "",
         "",
         "\0\0\x80\x64\xff",
         0,
         0,
         5,
         {127, 127, 127, 100, 100, 100}},
        {"rgba", 8, 6, "", "", "\0\1\2\3\0\1\2\3\xff", 0, 0, 9, {255, 255, 255, 1, 2, 3}},
    };
    for (int i = 0; i < MOT_COUNT(kind); i++) {
        struct mot_bytes b =
            png(2, 1, kind[i].depth, kind[i].color, kind[i].palette, kind[i].n_palette,
                kind[i].alpha, kind[i].n_alpha, kind[i].raw, kind[i].n_raw);
        int rc = mot_image_load(&im, b.data, b.n, kind[i].name);
        if (rc || !same_pixels(&im, 2, 1, kind[i].rgb)) {
            fprintf(stderr, "%s: %s\n", kind[i].name, rc ? mot_error() : "wrong pixels");
            CHECK(false);
        }
        mot_image_free(&im);
        mot_bytes_free(&b);
    }
}

static void test_png_damage(void)
{
    struct mot_image im;
    unsigned char raw[9 * 25] = {0};
    for (int i = 0; i < 9 * 25; i++)
        raw[i] = i % 25 ? (unsigned char)(i * 37) : 0;
    struct mot_bytes b = png(8, 9, 8, 2, NULL, 0, NULL, 0, raw, sizeof raw);
    CHECK_INT(mot_image_load(&im, b.data, b.n, "x"), 0);
    mot_image_free(&im);
    for (size_t n = 0; n < b.n; n++) /* cut anywhere but within the last chunk's CRC */
        CHECK(mot_image_load(&im, b.data, n, "x.png") != 0 && !im.rgb &&
              strncmp(mot_error(), "x.png: ", 7) == 0);
    for (size_t i = 0; i < 8 * b.n; i++) {
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
        CHECK(mot_image_load(&im, b.data, b.n, "x.png") != 0);
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    mot_bytes_free(&b);
    static const uint32_t size[][2] = {
        {0, 1}, {1, 0}, {50000, 50000}, {0xffffffff, 0xffffffff}, {0x80000000, 2}};
    for (int i = 0; i < MOT_COUNT(size); i++) {
        b = png(size[i][0], size[i][1], 8, 2, NULL, 0, NULL, 0, raw, sizeof raw);
        CHECK_INT(mot_image_load(&im, b.data, b.n, "x"), MOT_EFORMAT);
        CHECK(strstr(mot_error(), "picture of"));
        mot_bytes_free(&b);
    }
    /* One pixel that unpacks to 64 MB: refused, and cheaply. */
    unsigned char *zeros = calloc(64, 1 << 20);
    b = png(1, 1, 8, 2, NULL, 0, NULL, 0, zeros, 64 << 20);
    free(zeros);
    CHECK(mot_image_load(&im, b.data, b.n, "x") != 0);
    mot_bytes_free(&b);
    CHECK_INT(mot_image_load(&im, "GIF89a..........", 16, "x"), MOT_EFORMAT);
    CHECK_INT(mot_image_load(&im, "", 0, "x"), MOT_EFORMAT);
}

/* An 8 x 8 grey JPEG of one flat block, as jpegtran -optimize leaves it: tables of one code each.
 */
static const unsigned char
    jpeg[] = {0xff, 0xd8, 0xff, 0xdb, 0,    67, 0, /* every quantiser 8 */
              8,    8,    8,    8,    8,    8,  8, 8,    8,  8,    8,    8, 8,  8,    8,    8, 8,
              8,    8,    8,    8,    8,    8,  8, 8,    8,  8,    8,    8, 8,  8,    8,    8, 8,
              8,    8,    8,    8,    8,    8,  8, 8,    8,  8,    8,    8, 8,  8,    8,    8, 8,
              8,    8,    8,    8,    8,    8,  8, 8,    8,  8,    8,    8, 8,  0xff, 0xc0, 0, 11,
              8,    0,    8,    0,    8,    1,  1, 0x11, 0,  0xff, 0xc4, 0, 20, 0,    1,    0, 0,
              0,    0,    0,    0,    0,    0,  0, 0,    0,  0,    0,    0, 0,  6, /* DC: code 0 = 6
                                                                                      bits follow */
              0xff, 0xc4, 0,    20,   0x10, 1,  0, 0,    0,  0,    0,    0, 0,  0,    0,    0, 0,
              0,    0,    0,    0,    0, /* AC: code 0 = end of block */
              0xff, 0xda, 0,    8,    1,    1,  0, 0,    63, 0,    0x50, /* 0, 101000 = 40: 40 * 8 /
                                                                            8 above the middle 128;
                                                                            0; padding */
              0xff, 0xd9};

static void test_jpeg(void)
{
    struct mot_image im;
    unsigned char b[sizeof jpeg];
    memcpy(b, jpeg, sizeof b);
    CHECK_INT(mot_image_load(&im, b, sizeof b, "x"), 0);
    CHECK(im.width == 8 && im.height == 8);
    for (int i = 0; im.rgb && i < 192; i++)
        CHECK_INT(im.rgb[i], 168);
    mot_image_free(&im);
    for (size_t n = 0; n < sizeof b; n++)
        CHECK(mot_image_load(&im, b, n, "x.jpg") != 0 && strncmp(mot_error(), "x.jpg: ", 7) == 0);
    for (size_t i = 0; i < 8 * sizeof b;
         i++) { /* a JPEG has no checksum: no harm is all that can be asked */
        b[i / 8] ^= (unsigned char)(1 << i % 8);
        (void)!mot_image_load(&im, b, sizeof b, "x.jpg");
        mot_image_free(&im);
        b[i / 8] ^= (unsigned char)(1 << i % 8);
    }
}

/* What is not of the usual kinds is told by its kind, not called damaged. */
static void test_jpeg_kinds(void)
{
    static const struct {
        unsigned char marker, bits;
        const char *told;
    } kinds[] = {{0xc3, 8, "rare kind"}, {0xc9, 8, "rare kind"}, {0xc0, 12, "12 bits"}, {0xc1, 16, "16 bits"}};
    unsigned char b[sizeof jpeg];
    size_t at = 0;
    memcpy(b, jpeg, sizeof b);
    while (b[at] != 0xff || b[at + 1] != 0xc0)
        at++;
    for (int i = 0; i < MOT_COUNT(kinds); i++) {
        struct mot_image im;
        b[at + 1] = kinds[i].marker, b[at + 4] = kinds[i].bits;
        CHECK_INT(mot_image_load(&im, b, sizeof b, "x.jpg"), MOT_EFORMAT);
        CHECK(strstr(mot_error(), kinds[i].told));
    }
}

static void test_png_save(void)
{
    struct mot_image im = {31, 17, malloc(31 * 17 * 3)}, back;
    for (int i = 0; i < 31 * 17 * 3; i++)
        im.rgb[i] = (unsigned char)mot_random_u64(3, 1, (uint64_t)i);
    CHECK_INT(mot_image_save_png(&im, file), 0);
    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(file, 1 << 20, &b), 0);
    CHECK_INT(mot_image_load(&back, b.data, b.n, file), 0);
    CHECK(same_pixels(&back, 31, 17, im.rgb));
    mot_bytes_free(&b);
    mot_image_free(&back);
    CHECK(mot_image_save_png(&im, "/nonexistent/x.png") != 0);
    im.width = 0;
    CHECK_INT(mot_image_save_png(&im, file), MOT_EARG);
    free(im.rgb);
}

static void test_resize(void)
{
    struct mot_image im = {6, 4, malloc(6 * 4 * 3)}, out;
    for (int i = 0; i < 72; i++)
        im.rgb[i] = (unsigned char)(i / 3 % 6 * 40);
    /* The same size is the same picture; one pixel is the mean; a constant stays one at any size.
     */
    CHECK_INT(mot_image_resize(&im, 6, 4, &out), 0);
    CHECK(same_pixels(&out, 6, 4, im.rgb));
    mot_image_free(&out);
    CHECK_INT(mot_image_resize(&im, 1, 1, &out), 0);
    CHECK_INT(out.rgb[0], 100);
    mot_image_free(&out);
    /* Twice as wide: between two neighbours the quarters (40 k + 10, 40 k + 30). */
    CHECK_INT(mot_image_resize(&im, 12, 4, &out), 0);
    for (int x = 0; x < 12; x++)
        CHECK_INT(out.rgb[3 * x], x == 0 ? 0 : x == 11 ? 200 : 20 * x - 10);
    mot_image_free(&out);
    memset(im.rgb, 255, 72);
    static const int size[][2] = {{1, 50}, {50, 1}, {7, 3}, {5, 9}, {64, 64}};
    for (int i = 0; i < MOT_COUNT(size); i++) {
        CHECK_INT(mot_image_resize(&im, size[i][0], size[i][1], &out), 0);
        for (int k = 0; k < 3 * size[i][0] * size[i][1]; k++)
            CHECK_INT(out.rgb[k], 255);
        mot_image_free(&out);
    }
    CHECK_INT(mot_image_resize(&im, 0, 4, &out), MOT_EARG);
    CHECK_INT(mot_image_resize(&im, 1 << 30, 1 << 30, &out), MOT_EARG);
    free(im.rgb);
}

/* ---- WAV by hand ---- */

static struct mot_bytes wav(int format, int channels, uint32_t rate, int bits, const void *data,
                            uint32_t n, uint32_t promised)
{
    struct mot_bytes b = {0};
    unsigned char h[44] = "RIFF....WAVEfmt ";
    int frame = channels * bits / 8;
    mot_put32(h + 4, 36 + n);
    mot_put32(h + 16, 16);
    mot_put16(h + 20, (uint32_t)format);
    mot_put16(h + 22, (uint32_t)channels);
    mot_put32(h + 24, rate);
    mot_put32(h + 28, rate * (uint32_t)frame);
    mot_put16(h + 32, (uint32_t)frame);
    mot_put16(h + 34, (uint32_t)bits);
    memcpy(h + 36, "data", 4);
    mot_put32(h + 40, promised);
    CHECK_INT(mot_bytes_append(&b, h, 44), 0);
    CHECK_INT(mot_bytes_append(&b, data, n), 0);
    return b;
}

static void test_wav_kinds(void)
{
    static const float odd[] = {NAN, 0.5f, INFINITY, -INFINITY, 5, -5, -0.25f};
    unsigned char *eight =
        calloc(8 * 192000, 2); /* 8 channels at 192 kHz: one loud, seven silent */
    for (int i = 0; i < 192000; i++)
        mot_put16(eight + 16 * i, 0x4000);
    const struct {
        const char *name;
        int format, channels, bits;
        uint32_t rate, n, promised;
        const void *data;
        int64_t samples;
        float x[7];
    } kind[] = {
        {"16 bit", 1, 1, 16, 16000, 4, 4, "\0\x40\0\x80", 2, {0.5f, -1}},
        {"8 bit", 1, 1, 8, 8000, 2, 2, "\xc0\0", 2, {0.5f, -1}},
        {"24 bit", 1, 1, 24, 8000, 6, 6, "\0\0\x40\0\0\x80", 2, {0.5f, -1}},
        {"silent left", 1, 2, 16, 44100, 8, 8, "\0\0\0\x40\0\0\0\x80", 2, {0.25f, -0.5f}},
        {"float", 3, 1, 32, 16000, sizeof odd, sizeof odd, odd, 7, {0, 0.5f, 0, 0, 1, -1, -0.25f}},
        {"8 channels", 1, 8, 16, 192000, 16 * 192000, 16 * 192000, eight, 192000, {0.0625f}},
        {"from a pipe", 1, 1, 16, 16000, 4, 0xffffffff, "\0\x40\0\x80", 2, {0.5f, -1}},
    };
    for (int i = 0; i < MOT_COUNT(kind); i++) {
        struct mot_audio a;
        struct mot_bytes b = wav(kind[i].format, kind[i].channels, kind[i].rate, kind[i].bits,
                                 kind[i].data, kind[i].n, kind[i].promised);
        int rc = mot_audio_load(&a, b.data, b.n, kind[i].name);
        if (rc || a.n != kind[i].samples || a.rate != (int)kind[i].rate) {
            fprintf(stderr, "%s: %s, %lld samples\n", kind[i].name, rc ? mot_error() : "read",
                    (long long)a.n);
            CHECK(false);
        }
        for (int k = 0; !rc && k < 7 && k < a.n && kind[i].x[k] != 0; k++)
            CHECK_NEAR(a.sample[k], kind[i].x[k], 1e-6, 0);
        mot_audio_free(&a);
        mot_bytes_free(&b);
    }
    free(eight);
    struct mot_audio a;
    struct mot_bytes b = wav(3, 1, 16000, 32, odd, sizeof odd, sizeof odd);
    CHECK_INT(mot_audio_load(&a, b.data, b.n, "odd"), 0);
    CHECK(a.sample[0] == 0 && a.sample[2] == 0 && a.sample[3] == 0);
    mot_audio_free(&a);
    mot_bytes_free(&b);
}

static void test_wav_damage(void)
{
    const struct {
        int channels;
        uint32_t rate, n, promised;
    } bad[] = {{1, 16000, 0, 0}, {1, 16000, 8, 5000}, {0, 16000, 8, 8},
               {1, 0, 8, 8},     {1, 1, 8, 8},        {1, 0x7fffffff, 8, 8}};
    struct mot_audio a;
    for (int i = 0; i < MOT_COUNT(bad); i++) {
        struct mot_bytes b =
            wav(1, bad[i].channels, bad[i].rate, 16, "12345678", bad[i].n, bad[i].promised);
        CHECK(mot_audio_load(&a, b.data, b.n, "x.wav") != 0);
        CHECK(strncmp(mot_error(), "x.wav: ", 7) == 0 && !a.sample);
        mot_bytes_free(&b);
    }
    struct mot_bytes b = wav(1, 1, 16000, 16, "12345678", 8, 8);
    for (size_t n = 0; n < b.n; n++)
        CHECK(mot_audio_load(&a, b.data, n, "x.wav") != 0);
    for (size_t i = 0; i < 8 * b.n; i++) {
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
        (void)!mot_audio_load(&a, b.data, b.n, "x.wav");
        mot_audio_free(&a);
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    mot_bytes_free(&b);
    CHECK(mot_audio_load(&a, "hello", 5, "x") != 0);
}

/* Four seconds of noise are an Ogg of several pages: a decoder that resynchronises would take any part for the whole. */
static void test_ogg_damage(void)
{
    static float noise[4 * 16000];
    for (int i = 0; i < MOT_COUNT(noise); i++)
        noise[i] = (float)mot_random_uniform(1, 2, (uint64_t)i) * 0.4f - 0.2f;
    SF_INFO info = {.samplerate = 16000, .channels = 1, .format = SF_FORMAT_OGG | SF_FORMAT_VORBIS};
    SNDFILE *f = sf_open(file, SFM_WRITE, &info);
    CHECK(f && sf_write_float(f, noise, MOT_COUNT(noise)) == MOT_COUNT(noise));
    sf_close(f);
    struct mot_audio a;
    struct mot_bytes b = {0};
    CHECK_INT(mot_read_file(file, 1 << 20, &b), 0);
    CHECK(b.n > 3 * 4500); /* two pages of head, and of sound more than one */
    CHECK_INT(mot_audio_load(&a, b.data, b.n, "x.ogg"), 0);
    CHECK_INT(a.n, MOT_COUNT(noise));
    mot_audio_free(&a);
    for (size_t n = 1; n < b.n; n += 97) {
        CHECK(mot_audio_load(&a, b.data, n, "x.ogg") != 0);
        CHECK(strncmp(mot_error(), "x.ogg: ", 7) == 0 && !a.sample);
    }
    for (size_t i = 0; i < b.n; i += 61) {
        b.data[i] ^= (unsigned char)(1 << i % 8);
        CHECK(mot_audio_load(&a, b.data, b.n, "x.ogg") != 0);
        mot_audio_free(&a);
        b.data[i] ^= (unsigned char)(1 << i % 8);
    }
    CHECK_INT(mot_bytes_append(&b, "TAG and what else players put behind", 36), 0);
    CHECK_INT(mot_audio_load(&a, b.data, b.n, "x.ogg"), 0);
    mot_audio_free(&a);
    mot_bytes_free(&b);
}

/* A stream's recording has no page that is marked as the last; cut within a page it is damaged all the same. */
/* Recordings one after the other in one file are one sound. */
static void test_ogg_chain(void)
{
    struct mot_bytes b = {0};
    struct mot_audio one = {0}, a = {0};
    CHECK_INT(mot_read_file("tests/files/good-tone-ogg.ogg", 1 << 20, &b), 0);
    CHECK_INT(mot_audio_load(&one, b.data, b.n, "x.ogg"), 0);
    size_t n = b.n;
    CHECK_INT(mot_bytes_reserve(&b, 2 * n), 0);
    memcpy(b.data + n, b.data, n);
    memcpy(b.data + 2 * n, b.data, n);
    CHECK_INT(mot_audio_load(&a, b.data, 3 * n, "x.ogg"), 0);
    CHECK_INT(a.n, 3 * one.n);
    CHECK_INT(a.rate, one.rate);
    CHECK(a.n == 3 * one.n && memcmp(a.sample + 2 * one.n, one.sample, (size_t)one.n * sizeof *one.sample) == 0);
    mot_audio_free(&a);
    CHECK_INT(mot_audio_load(&a, b.data, 2 * n - 100, "x.ogg"), MOT_ECORRUPT);
    mot_audio_free(&one);
    mot_bytes_free(&b);
}

/* An MP3 is cut if its last frame is, or if it has fewer than its first frame tells; without such a frame, what a decoder
 * guesses of a variable rate says nothing. */
static void test_mp3_length(void)
{
    enum { FIRST = 288 };
    struct mot_bytes b = {0};
    struct mot_audio a = {0};
    CHECK_INT(mot_read_file("tests/files/good-rising-mp3.mp3", 1 << 20, &b), 0);
    CHECK_INT(mot_audio_load(&a, b.data, b.n, "x.mp3"), 0);
    CHECK_INT(a.n, 12000);
    mot_audio_free(&a);
    CHECK_INT(mot_audio_load(&a, b.data, b.n - 1, "x.mp3"), MOT_ECORRUPT);
    CHECK_INT(mot_audio_load(&a, b.data, b.n * 9 / 10, "x.mp3"), MOT_ECORRUPT);
    CHECK_INT(mot_audio_load(&a, b.data + FIRST, b.n - FIRST, "x.mp3"), 0);
    mot_audio_free(&a);
    CHECK_INT(mot_audio_load(&a, b.data + FIRST, b.n - FIRST - 1, "x.mp3"), MOT_ECORRUPT);
    mot_bytes_free(&b);
}

static void test_ogg_without_end(void)
{
    struct mot_bytes b = {0};
    struct mot_audio a;
    CHECK_INT(mot_read_file("tests/files/good-tone-ogg.ogg", 1 << 20, &b), 0);
    CHECK_INT(mot_audio_load(&a, b.data, b.n, "x.ogg"), 0);
    int64_t whole = a.n;
    mot_audio_free(&a);
    size_t at = 0, last = 0, size = 0;
    for (; at < b.n; last = at, at += size) {
        size = 27 + (size_t)b.data[at + 26];
        for (size_t i = 0; i < b.data[at + 26]; i++)
            size += b.data[at + 27 + i];
    }
    CHECK(last > 0 && b.data[last + 5] & 4);
    b.data[last + 5] &= (unsigned char)~4; /* then the checksum, by its definition */
    uint32_t crc = 0;
    memset(b.data + last + 22, 0, 4);
    for (size_t i = last; i < b.n; i++) {
        crc ^= (uint32_t)b.data[i] << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x80000000 ? crc << 1 ^ 0x04c11db7 : crc << 1;
    }
    mot_put32(b.data + last + 22, crc);
    CHECK_INT(mot_audio_load(&a, b.data, b.n, "x.ogg"), 0);
    CHECK(a.n > whole / 2);
    mot_audio_free(&a);
    CHECK_INT(mot_audio_load(&a, b.data, b.n - 1, "x.ogg"), MOT_ECORRUPT);
    CHECK(strstr(mot_error(), "truncated") != NULL);
    mot_bytes_free(&b);
}

/* ---- pictures by others: a gradient of 24 x 16, red 10 x, green 15 y, blue 200 right of x = 12 ---- */

static struct mot_image load(const char *path)
{
    struct mot_bytes b = {0};
    struct mot_image im = {0};
    CHECK_INT(mot_read_file(path, 1 << 20, &b), 0);
    CHECK_INT(mot_image_load(&im, b.data, b.n, path), 0);
    mot_bytes_free(&b);
    return im;
}

/* The largest difference from the gradient at the places that a turned picture shows; blue only away from its edge. */
static int off(const struct mot_image *im, bool turned)
{
    int worst = im->width == (turned ? 16 : 24) && im->height == (turned ? 24 : 16) ? 0 : 999;
    for (int y = 0; worst < 999 && y < im->height; y++)
        for (int x = 0; x < im->width; x++) {
            int column = turned ? y : x, row = turned ? 15 - x : y;
            const unsigned char *p = im->rgb + 3 * (y * im->width + x);
            int r = abs(p[0] - 10 * column), g = abs(p[1] - 15 * row);
            if (column > 9 && column < 16) /* chroma is halved */
                continue;
            worst = r > worst ? r : worst;
            worst = g > worst ? g : worst;
        }
    return worst;
}

static void test_pictures_of_others(void)
{
    static const struct {
        const char *path;
        bool turned;
        int off;
    } kinds[] = {{"tests/files/good-cmyk.jpg", false, 40},
                 {"tests/files/good-turned.jpg", true, 40},
                 {"tests/files/good-lossy.webp", true, 40}};
    for (int i = 0; i < 3; i++) {
        struct mot_image im = load(kinds[i].path);
        int found = off(&im, kinds[i].turned);
        if (found > kinds[i].off)
            fprintf(stderr, "%s: off by %d\n", kinds[i].path, found);
        CHECK(found <= kinds[i].off);
        mot_image_free(&im);
    }
    /* Alpha 16 y, on white, rounded down. */
    struct mot_image im = load("tests/files/good-lossless.webp");
    CHECK(im.width == 24 && im.height == 16);
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 24; x++) {
            double a = 16 * y / 255.0;
            int want = (int)((1 - a) * 255 + a * (10 * x));
            CHECK_INT(im.rgb[3 * (24 * y + x)], want);
        }
    mot_image_free(&im);
    im = load("tests/files/good-16bit.png");
    for (int x = 0; x < 24; x++)
        CHECK_INT(im.rgb[3 * x], 2500 * x / 256);
    mot_image_free(&im);
}

/* All eight ways to hold a camera, told in a PNG, in both orders of bytes. */
static void test_orientations(void)
{
    static const unsigned char raw[] = {0, 1, 2, 3, 0, 4, 5, 6}; /* 3 x 2, grey */
    static const unsigned char want[9][6] = {{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1},
                                             {4, 5, 6, 1, 2, 3}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1},
                                             {3, 6, 2, 5, 1, 4}};
    for (int o = 0; o <= 9; o++)
        for (int big = 0; big < 2; big++) {
            unsigned char exif[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, (unsigned char)o, 0, 0, 0};
            unsigned char other[] = {'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (unsigned char)o, 0, 0};
            struct mot_bytes b = png(3, 2, 8, 0, NULL, 0, NULL, 0, raw, sizeof raw), with = {0};
            CHECK_INT(mot_bytes_append(&with, b.data, 33), 0); /* up to and with IHDR */
            chunk(&with, "eXIf", big ? other : exif, sizeof exif);
            CHECK_INT(mot_bytes_append(&with, b.data + 33, b.n - 33), 0);
            struct mot_image im;
            CHECK_INT(mot_image_load(&im, with.data, with.n, "x.png"), 0);
            bool swapped = o >= 5 && o <= 8;
            CHECK(im.width == (swapped ? 2 : 3) && im.height == (swapped ? 3 : 2));
            for (int i = 0; i < 6; i++)
                CHECK_INT(im.rgb[3 * i], want[o > 8 ? 0 : o][i]);
            mot_image_free(&im);
            mot_bytes_free(&b);
            mot_bytes_free(&with);
        }
}

static void test_webp_damage(void)
{
    static const char *const files[] = {"tests/files/good-lossy.webp", "tests/files/good-lossless.webp"};
    for (int i = 0; i < 2; i++) {
        struct mot_bytes b = {0};
        struct mot_image im;
        CHECK_INT(mot_read_file(files[i], 1 << 20, &b), 0);
        for (size_t n = 12; n < b.n; n++) {
            CHECK(mot_image_load(&im, b.data, n, "x.webp") != 0);
            CHECK(strncmp(mot_error(), "x.webp: ", 8) == 0 && !im.rgb);
        }
        mot_bytes_free(&b);
    }
}

static void test_wav_save(void)
{
    float x[] = {0, 0.5f, -0.5f, 1, -1, 2, -2, NAN, 1.0f / 32768};
    static const float want[] = {0,  0.5f, -0.5f,       32767 / 32768.0f, -1, 32767 / 32768.0f,
                                 -1, 0,    1.0f / 32768};
    struct mot_audio a = {22050, 9, x}, back;
    CHECK_INT(mot_audio_save_wav(&a, file), 0);
    struct mot_bytes b = {0}, made;
    CHECK_INT(mot_read_file(file, 1 << 20, &b), 0);
    CHECK_INT(b.n, 44 + 18);
    made = wav(1, 1, 22050, 16, b.data + 44, 18, 18);
    CHECK(memcmp(b.data, made.data, 44) == 0);
    CHECK_INT(mot_audio_load(&back, b.data, b.n, file), 0);
    for (int i = 0; i < 9; i++)
        CHECK_NEAR(back.sample[i], want[i], 0, 0);
    mot_audio_free(&back);
    mot_bytes_free(&b);
    mot_bytes_free(&made);
}

/* A tone within both bands comes through as it is, one above the new band not at all; lengths round
 * up. */
static void test_resample(void)
{
    static const struct {
        int from, to;
        double tone;
        bool passes;
    } kind[] = {
        {48000, 16000, 1000, true},   {44100, 16000, 7000, true},    {44100, 16000, 8100, false},
        {44100, 16000, 15000, false}, {8000, 16000, 3500, true},     {16000, 44100, 5000, true},
        {16000, 8000, 4100, false},   {192000, 16000, 20000, false}, {22050, 16000, 3000, true},
        {16000, 16000, 440, true},    {16001, 15999, 440, true}};
    for (int i = 0; i < MOT_COUNT(kind); i++) {
        int n = kind[i].from / 4;
        struct mot_audio a = {kind[i].from, n, malloc((size_t)n * sizeof(float))}, out;
        for (int k = 0; k < n; k++)
            a.sample[k] = (float)(0.5 * sin(2 * M_PI * kind[i].tone * k / kind[i].from));
        CHECK_INT(mot_audio_resample(&a, kind[i].to, &out), 0);
        CHECK_INT(out.rate, kind[i].to);
        CHECK_INT(out.n, ((int64_t)n * kind[i].to + kind[i].from - 1) / kind[i].from);
        double worst = 0; /* away from the ends */
        for (int64_t k = out.n / 4; k < out.n * 3 / 4; k++) {
            double want =
                kind[i].passes ? 0.5 * sin(2 * M_PI * kind[i].tone * (double)k / kind[i].to) : 0;
            worst = fmax(worst, fabs(out.sample[k] - want));
        }
        if (worst > 1e-4) {
            fprintf(stderr, "%d -> %d, %g Hz: off by %g\n", kind[i].from, kind[i].to, kind[i].tone,
                    worst);
            CHECK(false);
        }
        free(a.sample);
        mot_audio_free(&out);
    }
    float one = 1;
    struct mot_audio a = {8000, 1, &one}, out;
    CHECK_INT(mot_audio_resample(&a, 44100, &out), 0);
    CHECK_INT(out.n, 6);
    mot_audio_free(&out);
    a.n = 0;
    CHECK_INT(mot_audio_resample(&a, 44100, &out), 0);
    CHECK_INT(out.n, 0);
    mot_audio_free(&out);
    CHECK_INT(mot_audio_resample(&a, 0, &out), MOT_EARG);
    a.n = INT64_MAX / 4;
    CHECK_INT(mot_audio_resample(&a, 1000000, &out), MOT_EARG);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(file, sizeof file, "%s/x", folder);
    RUN(test_png_kinds);
    RUN(test_png_damage);
    RUN(test_jpeg);
    RUN(test_jpeg_kinds);
    RUN(test_png_save);
    RUN(test_resize);
    RUN(test_wav_kinds);
    RUN(test_wav_damage);
    RUN(test_ogg_damage);
    RUN(test_ogg_chain);
    RUN(test_mp3_length);
    RUN(test_ogg_without_end);
    RUN(test_pictures_of_others);
    RUN(test_orientations);
    RUN(test_webp_damage);
    RUN(test_wav_save);
    RUN(test_resample);
    unlink(file);
    rmdir(folder);
    return test_end();
}
