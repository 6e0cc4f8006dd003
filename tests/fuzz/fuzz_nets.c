/* SPDX-License-Identifier: MIT
 *
 * fuzz_nets.c - any bytes as a VQGAN's or a VAE's configuration, as a net, and as a codec: refused with a reason, or taken.
 */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "lib/token/codec.h"
#include "lib/token/hubert.h"
#include "lib/token/vae.h"
#include "lib/token/vqgan.h"

static void as_configuration(const char *path)
{
    struct mot_vqgan_config c;
    if (mot_vqgan_config_read(&c, path) == MOT_OK)
        for (int i = 0; i < c.n_ch_mult; i++)
            (void)!(c.ch_mult[i] > 0);
}

static void as_net(const char *path)
{
    struct mot_hubert *h = mot_hubert_open(path, path, 1);
    mot_hubert_free(h);
    (void)!mot_vqgan_import(path, NULL, 32, "/dev/full");
    (void)!mot_vqgan_import(path, path, 32, "/dev/full");
    (void)!mot_vae_import(path, &(struct mot_vae_options){path, 32, 1, NAN, NAN}, "/dev/full");
    (void)!mot_vae_import(path, &(struct mot_vae_options){NULL, 32, 1, 1, 0}, "/dev/full");
}

static void as_codec(const char *path)
{
    struct mot_image_codec *image = mot_image_codec_load(path);
    mot_image_codec_free(image);
    struct mot_speech_codec *speech = mot_speech_codec_load(path);
    mot_speech_codec_free(speech);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[32];
    int fd = fuzz_file(data, n, path);
    if (fd < 0)
        return 0;
    as_configuration(path);
    as_net(path);
    as_codec(path);
    close(fd);
    return 0;
}
