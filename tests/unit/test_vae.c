/* SPDX-License-Identifier: MIT
 *
 * test_vae.c - variational autoencoders against what their PyTorch twins gave (tests/golden/vae.py), under both ways of naming
 * tensors, and what is said of wrong ones.  With --write FOLDER: the nets as files, for tests/cli/tokenize_latents.sh.
 */
#include <stdlib.h>
#include <unistd.h>

#include <omp.h>

#include "lib/base/base.h"
#include "lib/token/codec.h"
#include "lib/token/vae.h"
#include "tests/test.h"
#include "tests/nets.h"

enum { SIDE = 32 };
static char folder[200] = "/tmp/mot-test-vae-XXXXXX";

static const char *scratch(const char *name)
{
    static char path[8][300];
    static int turn;
    snprintf(path[turn = (turn + 1) % 8], sizeof path[0], "%s/%s", folder, name);
    return path[turn];
}

static void write_text(const char *path, const char *text)
{
    CHECK_INT(mot_write_file(path, text, strlen(text)), 0);
}

/* The twin's picture. */
static void draw(unsigned char *p)
{
    static const unsigned char red[3] = {200, 30, 60};
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, p += 3) {
            bool inside = x >= SIDE / 4 && x < SIDE / 2 && y >= SIDE / 4 && y < SIDE / 2;
            p[0] = (unsigned char)(inside ? red[0] : x * 255 / SIDE);
            p[1] = (unsigned char)(inside ? red[1] : y * 255 / SIDE);
            p[2] = (unsigned char)(inside ? red[2] : (x + y) * 255 / (2 * SIDE));
        }
}

static const struct mot_vae_options plain = {NULL, SIDE, 0, NAN, NAN};

static bool write_vae(const char *name, const char *to, spoiler *spoil)
{
    static struct tensors t;
    char path[100];
    snprintf(path, sizeof path, "tests/golden/vae/%s.txt", name);
    if (!read_names(&t, path))
        return false;
    write_net(&t, to, spoil);
    return true;
}

static float float_at(const struct mot_st_tensor *t, int64_t i)
{
    float x;
    memcpy(&x, t->data + 4 * i, sizeof x);
    return x;
}

/* Latents within 1e-4 of the largest, as vectors of 2 x 2 latent pixels in the order row, column, channel; and back. */
static void check_twin(const char *name, int channels, const struct mot_kernels *k)
{
    struct mot_st golden;
    unsigned char rgb[SIDE * SIDE * 3];
    struct mot_image im = {SIDE, SIDE, rgb}, back = {0};
    struct mot_latents l = {0};
    char path[100];
    draw(rgb);
    snprintf(path, sizeof path, "tests/golden/vae/%s.safetensors", name);
    if (!write_vae(name, scratch("net.safetensors"), NULL) || mot_st_open(&golden, path)) {
        CHECK(0);
        return;
    }
    CHECK_INT(mot_vae_import(scratch("net.safetensors"), &plain, scratch("image.safetensors")), 0);
    struct mot_vae *v = mot_vae_load(scratch("image.safetensors"));
    const struct mot_st_tensor *latents = mot_st_find(&golden, "latents"), *picture = mot_st_find(&golden, "picture");
    int side = (int)latents->shape[0];
    CHECK(v && (!k || mot_vae_send(v, k) == 0));
    for (int threads = 1; v && threads <= (k ? 1 : 3); threads += 2) {
        struct mot_grid g;
        float *z = calloc((size_t)latents->count, sizeof *z), largest = 0, worst = 0;
        omp_set_num_threads(threads);
        mot_vae_grid(v, &g);
        CHECK(g.rows == side / 2 && g.columns == side / 2 && g.width == 4 * channels);
        CHECK_INT(mot_grid_values(&g), latents->count);
        CHECK_INT(mot_vae_latent(v, &im, z), 0);
        for (int64_t i = 0; i < latents->count; i++) {
            float want = float_at(latents, i);
            largest = fmaxf(largest, fabsf(want));
            worst = fmaxf(worst, fabsf(z[i] - want));
        }
        CHECK_NEAR(worst / largest, 0, 1e-4, 0);
        l.n = l.n_grids = 0;
        CHECK_INT(mot_vae_encode(v, &im, &l), 0);
        for (int64_t i = 0; i < l.n; i++) {
            int64_t token = i / g.width, row = token / g.columns * 2 + i % g.width / (2 * channels),
                    column = token % g.columns * 2 + i / channels % 2;
            CHECK(l.value[i] == mot_f16(z[(row * side + column) * channels + i % channels]));
        }
        CHECK_INT(mot_vae_decode(v, l.value, &back), 0);
        double square = 0;
        for (int64_t i = 0; i < picture->count; i++)
            square += (double)(back.rgb[i] - picture->data[i]) * (back.rgb[i] - picture->data[i]);
        CHECK(square / (double)picture->count < 255.0 * 255 * 1e-6); /* 60 dB */
        mot_image_free(&back);
        free(z);
    }
    mot_vae_free(v);
    mot_latents_free(&l);
    mot_st_close(&golden);
}

/* On the CPU, and by the cuda backend, unless there is no GPU and no shim. */
static void test_twins(void)
{
    char err[256];
    const struct mot_kernels *cuda = mot_kernels_cuda("f32", err, sizeof err);
    check_twin("sd", 4, NULL);
    check_twin("flux", 16, NULL);
    if (cuda) {
        check_twin("sd", 4, cuda);
        check_twin("flux", 16, cuda);
    }
}

/* -- scale and shift: of the options, of the configuration, of nets of so many channels -- */

static void check_scale(const char *config, double scale, double shift, const char *scale_is, const char *shift_is)
{
    struct mot_st s;
    struct mot_vae_options o = {NULL, SIDE, 1, scale, shift};
    if (config)
        write_text(scratch("config.json"), config);
    CHECK_INT(mot_vae_import(scratch("net.safetensors"), &o, scratch("image.safetensors")), 0);
    CHECK_INT(mot_st_open(&s, scratch("image.safetensors")), 0);
    CHECK_STR(mot_st_metadata(&s, "scaling_factor"), scale_is);
    CHECK_STR(mot_st_metadata(&s, "shift_factor"), shift_is);
    mot_st_close(&s);
    unlink(scratch("config.json"));
}

static void test_scales(void)
{
    if (!write_vae("sd", scratch("net.safetensors"), NULL))
        return;
    check_scale(NULL, NAN, NAN, "0.18215", "0");
    check_scale("{\"_class_name\": \"AutoencoderKL\", \"scaling_factor\": 0.5, \"shift_factor\": 0.25}", NAN, NAN, "0.5", "0.25");
    check_scale("{\"scaling_factor\": 0.5, \"shift_factor\": null}", NAN, NAN, "0.5", "0");
    check_scale("{\"scaling_factor\": 0.5, \"shift_factor\": 0.25}", 2, NAN, "2", "0.25");
    check_scale("{\"_class_name\": \"Transformer\", \"scaling_factor\": 0.5}", NAN, 3, "0.18215", "3");
    check_scale("not JSON", 7, 3, "7", "3");
    if (!write_vae("flux", scratch("net.safetensors"), NULL))
        return;
    check_scale(NULL, NAN, NAN, "0.3611", "0.1159");
    check_scale(NULL, 1.5305, 0.0609, "1.5305", "0.0609");
}

/* -- wrong nets -- */

static void spoil_some(struct mot_st_decl *d, float *x)
{
    if (strcmp(d->name, "decoder.up_blocks.1.resnets.1.conv2.bias") == 0)
        x[5] = INFINITY;
    if (strcmp(d->name, "encoder.mid_block.attentions.0.to_v.weight") == 0)
        d->name = "elsewhere";
    if (strcmp(d->name, "quant_conv.weight") == 0)
        d->shape[1] /= 2;
}

static void spoil_attention(struct mot_st_decl *d, float *x)
{
    (void)x;
    if (strcmp(d->name, "decoder.mid_block.attentions.0.to_q.weight") == 0)
        d->name = "elsewhere";
}

static int import_with(const char *config, int side, int patch)
{
    write_text(scratch("c.json"), config);
    return mot_vae_import(scratch("net.safetensors"), &(struct mot_vae_options){scratch("c.json"), side, patch, NAN, NAN},
                          scratch("none.safetensors"));
}

static void test_wrong(void)
{
    char net[300], none[300];
    snprintf(net, sizeof net, "%s", scratch("net.safetensors"));
    snprintf(none, sizeof none, "%s", scratch("none.safetensors"));
    if (!write_vae("sd", net, spoil_some))
        return;
    CHECK_INT(mot_vae_import(net, &plain, none), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "decoder.up_blocks.1.resnets.1.conv2.bias: 1 of its values"));
    CHECK(strstr(mot_error(), "encoder.mid_block.attentions.0.to_v.weight is missing"));
    CHECK(strstr(mot_error(), "quant_conv.weight is [8,4,1,1], expected [8,8,1,1]"));
    CHECK(write_vae("sd", net, spoil_attention));
    CHECK_INT(mot_vae_import(net, &plain, none), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "decoder.mid_block.attentions.0.to_k.weight fits nowhere"));
    CHECK(write_vae("sd", net, NULL));
    CHECK_INT(import_with("{\"scaling_factor\": 1}", 33, 2), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "33 pixels cannot be halved"));
    CHECK_INT(import_with("{\"scaling_factor\": 1}", 32, 3), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "16 x 16 cannot be cut into patches of 3"));
    CHECK_INT(import_with("{\"scaling_factor\": 1, \"block_out_channels\": [32, 48, 64], \"latent_channels\": 16, "
                          "\"norm_num_groups\": 16, \"layers_per_block\": 2, \"act_fn\": \"relu\"}", SIDE, 2), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "levels of block_out_channels = 3") && strstr(mot_error(), "block_out_channels[1] = 48"));
    CHECK(strstr(mot_error(), "latent_channels = 16, its tensors 4") && strstr(mot_error(), "norm_num_groups = 16"));
    CHECK(strstr(mot_error(), "layers_per_block = 2, its tensors 1") && strstr(mot_error(), "act_fn = relu"));
    CHECK_INT(import_with("{\"scaling_factor\": 0}", SIDE, 2), MOT_EARG);
    CHECK_INT(import_with("{\"scaling_factor\": \"x\"}", SIDE, 2), MOT_EFORMAT);
    CHECK_INT(import_with("{\"hidden_size\": 3}", SIDE, 2), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "c.json: not the configuration"));
    CHECK(access(none, F_OK) != 0);
    CHECK(mot_vae_load(net) == NULL); /* a net, not a codec: no metadata */
}

/* Without its decoder it still encodes, and says what it lacks; values too large for binary16 are refused. */
static void spoil_decoder(struct mot_st_decl *d, float *x)
{
    (void)x;
    static char name[MOST][100];
    static int n;
    if (strncmp(d->name, "decoder.", 8) == 0 && n < MOST) {
        snprintf(name[n], sizeof name[n], "unknown.%s", d->name);
        d->name = name[n++];
    }
}

static void test_encoder_alone(void)
{
    unsigned char rgb[SIDE * SIDE * 3];
    struct mot_image im = {SIDE, SIDE, rgb}, back;
    struct mot_latents l = {0};
    draw(rgb);
    if (!write_vae("flux", scratch("net.safetensors"), spoil_decoder))
        return;
    CHECK_INT(mot_vae_import(scratch("net.safetensors"), &plain, scratch("image.safetensors")), 0);
    struct mot_image_codec *c = mot_image_codec_load(scratch("image.safetensors"));
    CHECK(c && !mot_image_codec_decodes(c));
    CHECK_INT(mot_image_codec_encode_latent(c, &im, &l), 0);
    CHECK_INT(mot_image_codec_decode_latent(c, l.grid, l.value, &back), MOT_EARG);
    CHECK(strstr(mot_error(), "no decoder"));
    mot_image_codec_free(c);
    CHECK(write_vae("flux", scratch("net.safetensors"), NULL));
    const struct mot_vae_options large = {NULL, SIDE, 0, 1e6, NAN};
    CHECK_INT(mot_vae_import(scratch("net.safetensors"), &large, scratch("image.safetensors")), 0);
    c = mot_image_codec_load(scratch("image.safetensors"));
    CHECK_INT(mot_image_codec_encode_latent(c, &im, &l), MOT_EARG);
    CHECK(strstr(mot_error(), "too large for binary16"));
    CHECK_INT(l.n_grids, 1);
    struct mot_grid g = l.grid[0];
    g.rows--;
    CHECK_INT(mot_image_codec_decode_latent(c, &g, l.value, &back), MOT_EARG); /* of another grid */
    mot_image_codec_free(c);
    mot_latents_free(&l);
}

static int write_files(const char *to)
{
    snprintf(folder, sizeof folder, "%s", to);
    bool good = write_vae("sd", scratch("sd.safetensors"), NULL) && write_vae("flux", scratch("flux.safetensors"), NULL);
    return !good || test_failures;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_files(argv[2]);
    if (!mkdtemp(folder))
        return 1;
    RUN(test_twins);
    RUN(test_scales);
    RUN(test_wrong);
    RUN(test_encoder_alone);
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || test_end();
}
