/* SPDX-License-Identifier: MIT
 *
 * test_clip.c - a small CLIP of made-up weights against what transformers' gave (tests/golden/clip.py), and what is said of
 * wrong nets.  With --write FOLDER: the net as a folder, for tests/cli/metrics.sh.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/eval/eval.h"
#include "tests/test.h"
#include "tests/nets.h"

enum { WIDTH = 20, ROWS = 6 };
static char folder[200] = "/tmp/mot-test-clip-XXXXXX";

static const char *scratch(const char *name)
{
    static char path[4][300];
    static int turn;
    snprintf(path[turn = (turn + 1) % 4], sizeof path[0], "%s/%s", folder, name);
    return path[turn];
}

/* In this net all embeddings have numbers of size 1, that of patches among them, as the twin's have. */
static bool write_clip(spoiler *spoil)
{
    static struct tensors t;
    if (!read_names(&t, "tests/golden/clip/tensors.txt"))
        return false;
    write_net(&t, scratch("model.safetensors"), spoil);
    return mot_copy_file("tests/golden/clip/config.json", scratch("config.json")) == 0 &&
           mot_copy_file("tests/golden/clip/tokenizer.json", scratch("tokenizer.json")) == 0;
}

/* The twin's picture, 30 x 40. */
static void draw(unsigned char *p)
{
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 30; x++, p += 3) {
            bool inside = x >= 10 && x < 20 && y >= 10 && y < 20;
            p[0] = (unsigned char)(inside ? 200 : x * 255 / 40);
            p[1] = (unsigned char)(inside ? 30 : y * 255 / 40);
            p[2] = (unsigned char)(inside ? 60 : (x + y) * 255 / 80);
        }
}

static const char *const texts[] = {"A red disc on a pale ground.", "", "it's   THE dog's 2 caf\xc3\xa9s!", "a <|endoftext|> b"};

static void check_row(const float *x, FILE *golden)
{
    double square = 0, expected;
    for (int i = 0; i < WIDTH; i++) {
        CHECK_INT(fscanf(golden, "%lf", &expected), 1);
        CHECK_NEAR(x[i], expected, 1e-5, 0);
        square += (double)x[i] * (double)x[i];
    }
    CHECK_NEAR(square, 1, 1e-6, 0);
}

static void test_twin(void)
{
    unsigned char rgb[40 * 30 * 3];
    const struct mot_image im = {30, 40, rgb};
    float x[WIDTH], again[WIDTH];
    char text[200] = "";
    draw(rgb);
    for (int i = 0; i < 30; i++)
        strcat(text, "words ");
    FILE *golden = fopen("tests/golden/clip/golden.txt", "r");
    struct mot_clip *c = write_clip(NULL) ? mot_clip_open(folder, 1) : NULL;
    CHECK(golden && c && mot_clip_width(c) == WIDTH);
    if (golden && c && mot_clip_width(c) == WIDTH) {
        CHECK_INT(mot_clip_picture(c, &im, x), 0);
        check_row(x, golden);
        for (int i = 0; i < MOT_COUNT(texts); i++) {
            CHECK_INT(mot_clip_text(c, texts[i], strlen(texts[i]), x), 0);
            check_row(x, golden);
        }
        CHECK_INT(mot_clip_text(c, text, strlen(text), x), 0); /* cut to what it takes */
        check_row(x, golden);
        CHECK_INT(mot_clip_picture(c, &(struct mot_image){0, 0, rgb}, x), MOT_EARG);
    }
    mot_clip_close(c);
    c = mot_clip_open(scratch("model.safetensors"), 2); /* by the file's own name */
    CHECK(c);
    if (c) {
        CHECK_INT(mot_clip_text(c, text, strlen(text), again), 0);
        CHECK(memcmp(x, again, sizeof x) == 0);
    }
    mot_clip_close(c);
    if (golden)
        fclose(golden);
}

/* -- nets that are wrong -- */

static void refused(const char *expected)
{
    struct mot_clip *c = mot_clip_open(folder, 1);
    CHECK(!c);
    if (!c && !strstr(mot_error(), expected))
        CHECK_STR(mot_error(), expected);
    mot_clip_close(c);
}

static void not_a_number(struct mot_st_decl *d, float *x)
{
    if (strcmp(d->name, "vision_model.encoder.layers.1.mlp.fc1.bias") == 0)
        x[3] = NAN;
}

static void renamed(struct mot_st_decl *d, float *x)
{
    (void)x;
    if (strcmp(d->name, "text_model.final_layer_norm.weight") == 0)
        d->name = "other";
}

/* The tensor by which layers are counted, of the last one. */
static void shorter(struct mot_st_decl *d, float *x)
{
    (void)x;
    if (strcmp(d->name, "vision_model.encoder.layers.1.layer_norm1.weight") == 0)
        d->name = "other";
}

static void change_config(const char *from, const char *to)
{
    char text[2000];
    FILE *f = fopen("tests/golden/clip/config.json", "r");
    size_t n = f ? fread(text, 1, sizeof text - 100, f) : 0;
    CHECK(f && n);
    text[n] = 0;
    if (f)
        fclose(f);
    char *at = strstr(text, from), changed[2100];
    CHECK(at);
    if (!at)
        return;
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    CHECK_INT(mot_write_file(scratch("config.json"), changed, strlen(changed)), 0);
}

static void test_refused(void)
{
    CHECK(write_clip(not_a_number));
    refused("vision_model.encoder.layers.1.mlp.fc1.bias: 1 of its values are NaN");
    CHECK(write_clip(renamed));
    refused("text_model.final_layer_norm.weight is missing");
    CHECK(write_clip(shorter));
    refused("vision_model.encoder.layers.1.");
    CHECK(write_clip(NULL));
    change_config("\"num_attention_heads\": 3", "\"num_attention_heads\": 5");
    refused("5 heads");
    change_config("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"");
    refused("\"relu\"");
    CHECK_INT(mot_write_file(scratch("config.json"), "{}", 2), 0);
    refused("32 channels, 12 heads"); /* which are usual */
    remove(scratch("config.json"));
    struct mot_clip *c = mot_clip_open(scratch("model.safetensors"), 1);
    CHECK(!c && strstr(mot_error(), "config.json"));
    mot_clip_close(c);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        snprintf(folder, sizeof folder, "%s", argv[2]);
        return !write_clip(NULL);
    }
    if (!mkdtemp(folder))
        return 1;
    RUN(test_twin);
    RUN(test_refused);
    remove(scratch("config.json"));
    remove(scratch("tokenizer.json"));
    remove(scratch("model.safetensors"));
    rmdir(folder);
    return test_end();
}
