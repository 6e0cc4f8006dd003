/* SPDX-License-Identifier: MIT
 *
 * demo-compare TOK FOLDER: what became of a picture and a sound that went through tokens and back:
 * FOLDER/image-before.png and image-after.png, speech-before.ogg and speech-after.wav.
 * Prints "SIDE <tab> PSNR in dB <tab> SECONDS <tab> LOG-SPECTRAL DISTANCE in dB".  Pictures are compared
 * as the tokenizer sees them, as squares of SIDE pixels; FOLDER/image-square.png is that view.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mot.h"

static const char *folder;

static void check(int status)
{
    if (status == MOT_OK)
        return;
    fprintf(stderr, "demo-compare: %s\n", mot_error());
    exit(1);
}

static const char *in_folder(const char *name)
{
    static char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        check(mot_fail(MOT_EARG, "%s: the name is too long", folder));
    return path;
}

static struct mot_bytes content(const char *path)
{
    struct mot_bytes b = {0};
    char block[65536];
    FILE *f = fopen(path, "rb");
    if (!f)
        check(mot_fail(MOT_EIO, "%s: cannot be read", path));
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        check(mot_bytes_append(&b, block, n));
    fclose(f);
    return b;
}

static struct mot_image picture(const char *name)
{
    const char *path = in_folder(name);
    struct mot_bytes b = content(path);
    struct mot_image im;
    check(mot_image_load(&im, b.data, b.n, path));
    mot_bytes_free(&b);
    return im;
}

static struct mot_audio sound(const char *name)
{
    const char *path = in_folder(name);
    struct mot_bytes b = content(path);
    struct mot_audio a;
    check(mot_audio_load(&a, b.data, b.n, path));
    mot_bytes_free(&b);
    return a;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: demo-compare TOK FOLDER\n", stderr);
        return 2;
    }
    struct mot_tokenizer *t = mot_tokenizer_open(argv[1]);
    if (!t)
        check(MOT_EFORMAT);
    folder = argv[2];

    struct mot_image before = picture("image-before.png"), after = picture("image-after.png"), square;
    check(mot_tokenizer_prepare_image(t, &before, &square));
    check(mot_image_save_png(&square, in_folder("image-square.png")));
    struct mot_audio said = sound("speech-before.ogg"), heard = sound("speech-after.wav");
    double distance;
    check(mot_speech_distance(&said, &heard, &distance));
    printf("%d\t%.1f\t%.1f\t%.1f\n", square.width, mot_image_psnr(&square, &after),
           (double)said.n / said.rate, distance);

    mot_image_free(&before);
    mot_image_free(&after);
    mot_image_free(&square);
    mot_audio_free(&said);
    mot_audio_free(&heard);
    mot_tokenizer_close(t);
    return 0;
}
