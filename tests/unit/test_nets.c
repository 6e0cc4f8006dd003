/* SPDX-License-Identifier: MIT
 *
 * test_nets.c - codecs that are foreign nets, against what their PyTorch twins gave (tests/golden/vqgan.py, hubert.py) and
 * against Pillow's resizing (lanczos.py).  Weights are made here as the twins make them: from names and numbers.
 */
#include <stdlib.h>
#include <unistd.h>

#include <omp.h>

#include "../../lib/base/safetensors.h"
#include "../../lib/token/hubert.h"
#include "../../lib/token/vqgan.h"
#include "../test.h"
#include "../nets.h"

static char folder[200] = "/tmp/mot-test-nets-XXXXXX";

static const char *scratch(const char *name)
{
    static char path[8][300];
    static int turn;
    snprintf(path[turn = (turn + 1) % 8], sizeof path[0], "%s/%s", folder, name);
    return path[turn];
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0);
    if (f)
        fclose(f);
}

/* -- the VQGAN -- */

enum { SIDE = 32, TOKENS = 256 };

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

/* k NULL: where a net runs that was not sent anywhere. */
static void check_vqgan(const struct mot_kernels *k)
{
    static struct tensors t;
    struct mot_st golden;
    unsigned char rgb[SIDE * SIDE * 3];
    struct mot_image im = {SIDE, SIDE, rgb}, back = {0};
    draw(rgb);
    if (!read_names(&t, "tests/golden/vqgan/tensors.txt"))
        return;
    write_net(&t, scratch("net.safetensors"), NULL);
    CHECK_INT(mot_vqgan_import(scratch("net.safetensors"), NULL, SIDE, scratch("image.safetensors")), 0);
    struct mot_vqgan *v = mot_vqgan_load(scratch("image.safetensors"));
    CHECK(v != NULL);
    CHECK(!k || mot_vqgan_send(v, k) == 0);
    CHECK_INT(mot_st_open(&golden, "tests/golden/vqgan/golden.safetensors"), 0);
    const struct mot_st_tensor *codes = mot_st_find(&golden, "codes"), *picture = mot_st_find(&golden, "picture");
    for (int threads = 1; v && threads <= (k ? 1 : 3); threads++) {
        int32_t found[TOKENS], expected[TOKENS];
        omp_set_num_threads(threads);
        CHECK_INT(mot_vqgan_tokens(v), TOKENS);
        CHECK_INT(mot_vqgan_encode(v, &im, found), 0);
        memcpy(expected, codes->data, sizeof expected);
        for (int i = 0; i < TOKENS; i++)
            CHECK_INT(found[i], expected[i]);
        CHECK_INT(mot_vqgan_decode(v, found, &back), 0);
        int worst = 0, wrong = 0;
        for (int i = 0; i < SIDE * SIDE * 3; i++) {
            int d = abs(back.rgb[i] - picture->data[i]);
            worst = d > worst ? d : worst, wrong += d > 0;
        }
        CHECK(worst <= 1 && wrong <= 20); /* numbers that lie at a step */
        mot_image_free(&back);
    }
    mot_vqgan_free(v);
    mot_st_close(&golden);
}

/* The cuda backend, unless there is no GPU and no shim. */
static const struct mot_kernels *cuda(void)
{
    char err[256];
    return mot_kernels_cuda("f32", err, sizeof err);
}

static void test_vqgan(void)
{
    check_vqgan(NULL);
    if (cuda())
        check_vqgan(cuda());
}

/* What is wrong with a net is named, all of it. */
static void spoil_some(struct mot_st_decl *d, float *x)
{
    if (strcmp(d->name, "encoder.down.1.block.0.conv2.bias") == 0)
        x[5] = NAN;
    if (strcmp(d->name, "decoder.up.1.block.1.norm2.weight") == 0)
        d->shape[0] /= 2;
    if (strcmp(d->name, "quant_conv.bias") == 0)
        d->name = "other.bias";
}

static void spoil_attention(struct mot_st_decl *d, float *x)
{
    (void)x;
    if (strcmp(d->name, "encoder.mid.attn_1.q.weight") == 0)
        d->name = "elsewhere";
}

static void spoil_level(struct mot_st_decl *d, float *x)
{
    (void)x;
    if (strcmp(d->name, "decoder.up.0.block.0.conv1.weight") == 0)
        d->name = "elsewhere";
}

static void test_vqgan_wrong(void)
{
    static struct tensors t;
    if (!read_names(&t, "tests/golden/vqgan/tensors.txt"))
        return;
    write_net(&t, scratch("bad.safetensors"), spoil_some);
    CHECK_INT(mot_vqgan_import(scratch("bad.safetensors"), NULL, SIDE, scratch("none.safetensors")), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "encoder.down.1.block.0.conv2.bias") && strstr(mot_error(), "NaN"));
    CHECK(strstr(mot_error(), "decoder.up.1.block.1.norm2.weight is [32], expected [64]"));
    CHECK(strstr(mot_error(), "quant_conv.bias is missing"));
    write_net(&t, scratch("bad.safetensors"), spoil_attention);
    CHECK_INT(mot_vqgan_import(scratch("bad.safetensors"), NULL, SIDE, scratch("none.safetensors")), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "encoder.mid.attn_1.k.weight"));
    write_net(&t, scratch("bad.safetensors"), spoil_level);
    CHECK_INT(mot_vqgan_import(scratch("bad.safetensors"), NULL, SIDE, scratch("none.safetensors")), MOT_EFORMAT);
    write_net(&t, scratch("good.safetensors"), NULL);
    CHECK_INT(mot_vqgan_import(scratch("good.safetensors"), NULL, 33, scratch("none.safetensors")), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "33"));
    write_text(scratch("c.yaml"),
               "ddconfig:\n  ch: 64\n  resolution: 32\n  ch_mult:\n  - 1\n  - 2\n  - 4\n  attn_resolutions: []\nn_embed: 64\n");
    CHECK_INT(mot_vqgan_import(scratch("good.safetensors"), scratch("c.yaml"), 0, scratch("none.safetensors")), MOT_EFORMAT);
    CHECK(strstr(mot_error(), "ch = 64") && strstr(mot_error(), "levels of ch_mult = 3") && strstr(mot_error(), "resolution 16"));
    CHECK(access(scratch("none.safetensors"), F_OK) != 0);
    CHECK(mot_vqgan_load(scratch("good.safetensors")) == NULL); /* a net, not a codec: no metadata */
}

/* -- HuBERT -- */

static const char group_config[] = "{\"num_attention_heads\": 4, \"num_conv_pos_embedding_groups\": 4}";
static const char layer_config[] =
    "{\"num_attention_heads\": 4, \"num_conv_pos_embedding_groups\": 4, \"do_stable_layer_norm\": true}";

static bool write_hubert(const char *name, const char *config, spoiler *spoil)
{
    static struct tensors t;
    char path[100];
    snprintf(path, sizeof path, "tests/golden/hubert/%s.txt", name);
    if (!read_names(&t, path))
        return false;
    write_net(&t, scratch("hubert.safetensors"), spoil);
    write_text(scratch("config.json"), config);
    return true;
}

/* Features and units of the twin's sound, and the same from the codec that was saved. */
static void check_hubert(const char *name, const char *config, int layer, const struct mot_kernels *k)
{
    struct mot_st golden;
    char path[100];
    snprintf(path, sizeof path, "tests/golden/hubert/%s.safetensors", name);
    if (!write_hubert(name, config, NULL) || mot_st_open(&golden, path)) {
        CHECK(0);
        return;
    }
    const struct mot_st_tensor *units = mot_st_find(&golden, "units"), *rows = mot_st_find(&golden, "features"),
                               *pcm = mot_st_find(&golden, "pcm"), *centres = mot_st_find(&golden, "centres");
    struct mot_audio a = {.rate = 16000, .n = pcm->count, .sample = calloc((size_t)pcm->count, sizeof(float))};
    for (int64_t i = 0; i < pcm->count; i++) {
        int16_t x;
        memcpy(&x, pcm->data + 2 * i, sizeof x);
        a.sample[i] = (float)x / 32768;
    }
    struct mot_hubert *h = mot_hubert_open(scratch("hubert.safetensors"), NULL, layer);
    CHECK(h != NULL);
    CHECK(!k || mot_hubert_send(h, k) == 0);
    float *x = NULL, *centre = calloc((size_t)centres->count, sizeof *centre);
    int64_t n = 0;
    memcpy(centre, centres->data, centres->bytes);
    CHECK(h && mot_hubert_features(h, &a, &x, &n) == 0);
    CHECK_INT(n, rows->shape[0]);
    for (int64_t i = 0; x && i < rows->count && n == rows->shape[0]; i++) {
        float e;
        memcpy(&e, rows->data + 4 * i, sizeof e);
        CHECK_NEAR(x[i], e, 2e-4, 1e-4);
    }
    CHECK(h && mot_hubert_set_centres(h, centre, (int)centres->shape[0]) == 0);
    CHECK(h && mot_hubert_save(h, false, scratch("speech.safetensors")) == 0);
    mot_hubert_free(h);
    h = mot_hubert_load(scratch("speech.safetensors"));
    CHECK(!k || mot_hubert_send(h, k) == 0);
    struct mot_ids ids = {0};
    CHECK(h && mot_hubert_encode(h, &a, &ids) == 0);
    CHECK_INT(ids.n, units->count);
    for (int64_t i = 0; i < ids.n && i < units->count; i++) {
        int32_t e;
        memcpy(&e, units->data + 4 * i, sizeof e);
        CHECK_INT(ids.id[i], e);
    }
    a.n = 5, ids.n = 0; /* too short for a row: silence follows */
    CHECK(h && mot_hubert_encode(h, &a, &ids) == 0);
    CHECK_INT(ids.n, 1);
    a.n = 0, ids.n = 0;
    CHECK(h && mot_hubert_encode(h, &a, &ids) == 0);
    CHECK_INT(ids.n, 0);
    mot_hubert_free(h);
    mot_ids_free(&ids);
    mot_free(x);
    free(centre);
    free(a.sample);
    mot_st_close(&golden);
}

static void test_hubert(void)
{
    check_hubert("group", group_config, 2, NULL);
    check_hubert("layer", layer_config, -1, NULL);
    if (cuda()) {
        check_hubert("group", group_config, 2, cuda());
        check_hubert("layer", layer_config, -1, cuda());
    }
}

static void spoil_hubert(struct mot_st_decl *d, float *x)
{
    if (strcmp(d->name, "encoder.layers.1.attention.k_proj.bias") == 0)
        d->name = "elsewhere";
    if (strcmp(d->name, "encoder.pos_conv_embed.conv.weight_g") == 0)
        x[1] = INFINITY;
    if (strcmp(d->name, "feature_projection.projection.weight") == 0)
        d->shape[1] /= 2;
}

static void test_hubert_wrong(void)
{
    if (!write_hubert("group", group_config, spoil_hubert))
        return;
    const char *net = scratch("hubert.safetensors");
    CHECK(mot_hubert_open(net, NULL, 2) == NULL);
    CHECK(strstr(mot_error(), "encoder.layers.1.attention.k_proj.bias is missing"));
    CHECK(strstr(mot_error(), "encoder.pos_conv_embed.conv.weight_g: 1 of its values"));
    CHECK(strstr(mot_error(), "feature_projection.projection.weight is [32,12], expected [32,24]"));
    if (!write_hubert("group", group_config, NULL))
        return;
    net = scratch("hubert.safetensors");
    CHECK(mot_hubert_open(net, NULL, 9) == NULL && strstr(mot_error(), "layer 9"));
    write_text(scratch("c.json"), "{\"num_attention_heads\": 5, \"conv_stride\": [5, 2]}");
    CHECK(mot_hubert_open(net, scratch("c.json"), 2) == NULL);
    CHECK(strstr(mot_error(), "32 channels for 5 heads") && strstr(mot_error(), "7 convolutions, \"conv_stride\" 2 numbers"));
    write_text(scratch("c.json"), "{\"hidden_act\": \"relu\"}");
    CHECK(mot_hubert_open(net, scratch("c.json"), 2) == NULL && strstr(mot_error(), "relu"));
    CHECK(mot_hubert_open(net, scratch("none.json"), 2) == NULL && strstr(mot_error(), "none.json"));
    struct mot_hubert *h = mot_hubert_open(net, NULL, 2);
    CHECK(h && mot_hubert_read_centres(h, net) == MOT_EFORMAT && strstr(mot_error(), "[units, 32]"));
    mot_hubert_free(h);
    CHECK(mot_hubert_load(net) == NULL); /* a net, not a codec */
}

/* -- Pillow's resizing -- */

static unsigned char *picture_of(int w, int h)
{
    size_t n = (size_t)w * (size_t)h * 3;
    unsigned char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i / 97 % 3 == 0 ? i * 2654435761u >> 7 & 255 : i * 255 / (n > 1 ? n - 1 : 1));
    return p;
}

static void test_lanczos(void)
{
    FILE *f = fopen("tests/golden/vqgan/lanczos.txt", "r");
    int w, h, width, height, lines = 0;
    struct mot_window at;
    unsigned crc;
    while (f && fscanf(f, "%d %d %d %d %ld %ld %d %d %x", &w, &h, &width, &height, &at.x0, &at.y0, &at.width, &at.height,
                       &crc) == 9) {
        struct mot_image im = {w, h, picture_of(w, h)}, out;
        CHECK_INT(mot_image_lanczos(&im, width, height, &at, &out), 0);
        CHECK_INT(mot_crc32(0, out.rgb, (size_t)out.width * (size_t)out.height * 3), crc);
        CHECK(out.width == at.width && out.height == at.height);
        mot_image_free(&out);
        free(im.rgb);
        lines++;
    }
    CHECK(lines > 60);
    if (f)
        fclose(f);
    struct mot_image im = {4, 4, picture_of(4, 4)}, out;
    at = (struct mot_window){5, 0, 4, 4};
    CHECK_INT(mot_image_lanczos(&im, 8, 8, &at, &out), MOT_EARG);
    free(im.rgb);
}

/* For tests/cli/tokenize_nets.sh: a VQGAN, the same without its decoder, and a HuBERT with centres, as files. */
static void spoil_decoder(struct mot_st_decl *d, float *x)
{
    static char name[MOST][100];
    static int n;
    (void)x;
    snprintf(name[n], sizeof name[n], strncmp(d->name, "decoder.", 8) == 0 ? "unknown.%s" : "model.vqmodel.%s", d->name);
    d->name = name[n++];
}

static int write_files(const char *to)
{
    static struct tensors t;
    struct mot_st golden;
    snprintf(folder, sizeof folder, "%s", to);
    if (!read_names(&t, "tests/golden/vqgan/tensors.txt"))
        return 1;
    write_net(&t, scratch("vqgan.safetensors"), NULL);
    write_net(&t, scratch("encoder.safetensors"), spoil_decoder);
    if (!write_hubert("group", group_config, NULL) || mot_st_open(&golden, "tests/golden/hubert/group.safetensors"))
        return 1;
    const struct mot_st_tensor *centres = mot_st_find(&golden, "centres");
    const struct mot_st_decl d = {"k", MOT_F32, 2, {centres->shape[0], centres->shape[1]}};
    struct mot_st_writer *w = mot_st_writer_begin(scratch("centres.safetensors"), &d, 1, NULL, 0, NULL);
    int rc = !w || mot_st_writer_data(w, centres->data, centres->bytes) || mot_st_writer_commit(w);
    mot_st_close(&golden);
    return rc || test_failures;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_files(argv[2]);
    if (!mkdtemp(folder))
        return 1;
    RUN(test_vqgan);
    RUN(test_vqgan_wrong);
    RUN(test_hubert);
    RUN(test_hubert_wrong);
    RUN(test_lanczos);
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || test_end();
}
