/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer.c - the vocabulary's JSON, read strictly, and tokenizer folders: learned, opened,
 * tampered with, and other people's.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/token/token.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX";

static char *in_folder(const char *name)
{
    static char path[2][200];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* ---- vocab.json ---- */

static const char good[] =
    "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":300},"
    "{\"name\":\"image\",\"first\":300,\"size\":64},{\"name\":\"speech\",\"first\":364,\"size\":10}],"
    "\"special\":{\"bos\":0,\"eos\":1,\"boi\":2,\"eoi\":3},\"digest\":\"0123456789abcdef\"}";

static void test_vocab_there_and_back(void)
{
    struct mot_vocab v;
    struct mot_bytes text = {0};
    CHECK_INT(mot_vocab_parse_json(&v, "good", good, strlen(good)), 0);
    CHECK_INT(v.n_modalities, 3);
    CHECK_INT(v.size, 374);
    CHECK_INT(v.eos, 1);
    CHECK_INT(v.bos_speech, -1);
    static const int ids[][2] = {{0, 0}, {299, 0}, {300, 1}, {363, 1}, {364, 2}, {373, 2}};
    for (int i = 0; i < MOT_COUNT(ids); i++)
        CHECK_INT(mot_vocab_modality(&v, ids[i][0]), ids[i][1]);
    CHECK_INT(mot_vocab_find(&v, "speech"), 2);
    CHECK_INT(mot_vocab_find(&v, "music"), -1);
    CHECK_INT(mot_vocab_save_json(&v, &text), 0);
    CHECK(text.n == strlen(good) && memcmp(text.data, good, text.n) == 0);
    mot_bytes_free(&text);
}

/* Replace the first `from` in the good text by `to`; reading must fail with `code` and say `word`.
 */
static void refused(const char *from, const char *to, int code, const char *word)
{
    char text[sizeof good + 200];
    const char *at = strstr(good, from);
    struct mot_vocab v;
    CHECK(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    CHECK_INT(mot_vocab_parse_json(&v, "v.json", text, strlen(text)), code);
    if (!strstr(mot_error(), word))
        CHECK_STR(mot_error(), word);
}

static void test_vocab_is_strict(void)
{
    refused("\"version\":1", "\"version\":2", MOT_EVERSION, "version 2");
    refused("\"version\":1,", "", MOT_EFORMAT, "version");
    refused("\"first\":300", "\"first\":301", MOT_EFORMAT, "starts at id 301, expected 300");
    refused("\"first\":364", "\"first\":300", MOT_EFORMAT, "expected 364");
    refused("\"size\":64", "\"size\":0", MOT_EFORMAT, "size");
    refused("\"size\":64", "\"size\":2147483647", MOT_EFORMAT, "2^31");
    refused("\"size\":64", "\"size\":\"64\"", MOT_EFORMAT, "size");
    refused("\"image\"", "\"text\"", MOT_EFORMAT, "twice");
    refused("\"image\"", "\"Im age\"", MOT_EFORMAT, "no name");
    refused("\"image\"", "\"an_awfully_long_name_of_a_modality\"", MOT_EFORMAT, "no name");
    refused("\"text\"", "\"image\"", MOT_EFORMAT, "expected \"text\"");
    refused("\"bos\":0", "\"bos\":300", MOT_EFORMAT, "bos");
    refused("0123456789abcdef", "0123456789ABCDEF", MOT_EFORMAT, "digest");
    refused("0123456789abcdef", "0123", MOT_EFORMAT, "digest");
    refused("[{\"name\":\"text\"", "[7,{\"name\":\"text\"", MOT_EFORMAT, "not an object");
    refused("\"modalities\"", "\"kinds\"", MOT_EFORMAT, "modalities");
    refused("{\"version\"", "[\"version\"", MOT_EFORMAT, "JSON");
}

/* ---- a folder of our own ---- */

static void draw(struct mot_image *im, uint64_t k)
{
    im->width = im->height = 64;
    im->rgb = mot_alloc(64 * 64 * 3, 1);
    for (int i = 0; i < 64 * 64 * 3; i++) {
        int x = i / 3 % 64, y = i / 192;
        im->rgb[i] = (unsigned char)(x * (int)(k % 5) + y * (int)(k % 3) + i % 3 * 40 +
                                     (int)mot_random_below(1, 1, k * 99999 + (uint64_t)i, 20));
    }
}

static void sing(struct mot_audio *a, uint64_t k)
{
    a->rate = 16000;
    a->n = 8000;
    a->sample = mot_alloc((size_t)a->n, sizeof *a->sample);
    for (int64_t i = 0; i < a->n; i++)
        a->sample[i] =
            (float)(0.5 * sin((double)(i * (i / 2000 + 1)) * 0.05 * (1 + (double)(k % 7))));
}

static void learn(bool all)
{
    struct mot_learn_options o = {
        .text = 300, .image = all ? 32 : 0, .speech = all ? 16 : 0, .seed = 1, .threads = 1};
    struct mot_learner *l = mot_learner_new(&o);
    CHECK(l);
    for (uint64_t k = 0; l && k < 20; k++) {
        CHECK_INT(mot_learner_text(l, "the word that the words of the world", 36), 0);
        if (!all)
            continue;
        struct mot_image im;
        struct mot_audio a;
        draw(&im, k);
        sing(&a, k);
        CHECK_INT(mot_learner_image(l, &im), 0);
        CHECK_INT(mot_learner_speech(l, &a), 0);
        mot_image_free(&im);
        mot_audio_free(&a);
    }
    if (!all && l) {
        struct mot_image im = {1, 1, (unsigned char[]){0, 0, 0}};
        CHECK_INT(mot_learner_image(l, &im), MOT_EARG);
    }
    if (!l || mot_learner_finish(l, folder))
        CHECK_STR(mot_error(), "");
    mot_learner_free(l);
}

static void clear_folder(void)
{
    static const char *const names[] = {"tokenizer.json",    "tokenizer_config.json",
                                        "config.json",       "vocab.json",
                                        "image.safetensors", "speech.safetensors"};
    for (int i = 0; i < MOT_COUNT(names); i++)
        unlink(in_folder(names[i]));
}

static void test_all_modalities(void)
{
    learn(true);
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    CHECK(t);
    if (!t) {
        fprintf(stderr, "%s\n", mot_error());
        return;
    }
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    CHECK_INT(v->n_modalities, 3);
    CHECK(v->modality[1].n <= 32 && v->modality[2].n <= 16);
    CHECK_INT(v->bos_speech, 4);
    struct mot_image im, square = {0};
    struct mot_audio a, sound = {0};
    struct mot_ids ids = {0}, text = {0}, units = {0};
    struct mot_bytes back = {0};
    draw(&im, 3);
    sing(&a, 3);
    CHECK_INT(mot_encode_image(t, &im, &ids), 0);
    CHECK_INT(ids.n, 64);
    for (int64_t i = 0; i < ids.n; i++)
        CHECK_INT(mot_vocab_modality(v, ids.id[i]), 1);
    CHECK_INT(mot_decode_image(t, ids.id, ids.n, &square), 0);
    CHECK_INT(square.width, 64);
    CHECK_INT(mot_encode_speech(t, &a, &units), 0);
    CHECK(units.n > 10);
    for (int64_t i = 0; i < units.n; i++)
        CHECK_INT(mot_vocab_modality(v, units.id[i]), 2);
    CHECK_INT(mot_decode_speech(t, units.id, units.n, &sound), 0);
    CHECK(sound.n > 4000);
    CHECK_INT(mot_encode_text(t, "the <|boi|>\xff", 12, &text), 0);
    CHECK(text.n > 2 &&
          text.id[text.n - 2] == v->boi); /* a delimiter's text is that token, as in `tokenizers` */
    CHECK_INT(mot_decode_text(t, text.id, text.n, false, &back), 0);
    CHECK(back.n == 12 && memcmp(back.data, "the <|boi|>\xff", 12) == 0);
    back.n = 0;
    CHECK_INT(mot_decode_text(t, text.id, text.n, true, &back), 0);
    CHECK(back.n == 5 && memcmp(back.data, "the \xff", 5) == 0);
    /* Ids of another modality are refused, not taken for something. */
    CHECK_INT(mot_decode_text(t, ids.id, 1, false, &back), MOT_EARG);
    CHECK_INT(mot_decode_image(t, units.id, 1, &square), MOT_EARG);
    CHECK_INT(mot_decode_speech(t, (int32_t[]){-1}, 1, &sound), MOT_EARG);
    mot_image_free(&im);
    mot_image_free(&square);
    mot_audio_free(&a);
    mot_audio_free(&sound);
    mot_ids_free(&ids);
    mot_ids_free(&text);
    mot_ids_free(&units);
    mot_bytes_free(&back);
    mot_tokenizer_close(t);
}

/* Each file of the folder, changed in one byte or gone, is noticed. */
static void test_tampering_is_noticed(void)
{
    static const char *const names[] = {"tokenizer.json", "image.safetensors", "speech.safetensors",
                                        "vocab.json"};
    for (int i = 0; i < MOT_COUNT(names); i++) {
        struct mot_bytes whole = {0};
        char path[200];
        snprintf(path, sizeof path, "%s", in_folder(names[i]));
        CHECK_INT(mot_read_file(path, 1 << 28, &whole), 0);
        for (int k = 0; k < 3; k++) {
            struct mot_bytes b = {0};
            size_t n = k == 2 ? whole.n / 2 : whole.n; /* cut, at last */
            CHECK_INT(mot_bytes_append(&b, whole.data, n), 0);
            if (k < 2)
                b.data[k == 0 ? b.n / 2 : b.n - 6] ^= 1;
            CHECK_INT(mot_write_file(path, b.data, b.n), 0);
            struct mot_tokenizer *t = mot_tokenizer_open(folder);
            CHECK(!t);
            CHECK(t || strstr(mot_error(), folder));
            mot_tokenizer_close(t);
            mot_bytes_free(&b);
        }
        CHECK_INT(mot_write_file(path, whole.data, whole.n), 0);
        mot_bytes_free(&whole);
    }
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    CHECK(t); /* all as it was */
    mot_tokenizer_close(t);
    unlink(in_folder("image.safetensors"));
    CHECK(!mot_tokenizer_open(folder));
    CHECK(strstr(mot_error(), "removed"));
    clear_folder();
}

/* Learning twice from the same data gives the same digest; text alone has neither pictures nor
 * their delimiters. */
static void test_text_alone(void)
{
    struct mot_vocab first, second;
    learn(false);
    CHECK_INT(mot_vocab_load(&first, folder), 0);
    learn(false);
    CHECK_INT(mot_vocab_load(&second, folder), 0);
    CHECK_STR(first.digest, second.digest);
    CHECK_INT(first.n_modalities, 1);
    CHECK_INT(first.boi, -1);
    CHECK(first.size > 258 && first.size <= 300);
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    struct mot_ids ids = {0};
    struct mot_image im = {1, 1, (unsigned char[]){0, 0, 0}};
    CHECK(t && mot_encode_image(t, &im, &ids) == MOT_EARG);
    CHECK(strstr(mot_error(), "image"));
    mot_tokenizer_close(t);
    clear_folder();
}

static void test_sizes_that_make_no_sense(void)
{
    static const struct mot_learn_options wrong[] = {{0},
                                                     {.text = 100},
                                                     {.text = 261, .image = 8, .speech = 8},
                                                     {.text = -1},
                                                     {.text = 300, .image = -5},
                                                     {.image = 1}};
    for (int i = 0; i < MOT_COUNT(wrong); i++) {
        struct mot_learner *l = mot_learner_new(&wrong[i]);
        CHECK(!l);
        mot_learner_free(l);
    }
}

/* ---- other people's folders ---- */

static void put(const char *name, const char *text)
{
    CHECK_INT(mot_write_file(in_folder(name), text, strlen(text)), 0);
}

static void test_foreign_folder(void)
{
    struct mot_vocab v;
    CHECK_INT(mot_vocab_load(&v, folder), MOT_EIO);
    CHECK(strstr(mot_error(), "not a tokenizer folder"));
    CHECK(!mot_tokenizer_open(folder));
    CHECK_INT(mot_copy_file("tests/golden/tokenizer/llama2.json", in_folder("tokenizer.json")), 0);
    CHECK_INT(mot_vocab_load(&v, folder), 0);
    int32_t plain = v.size;
    CHECK_INT(v.n_modalities, 1);
    CHECK_INT(v.bos, -1); /* only tokenizer_config.json can say */
    put("tokenizer_config.json",
        "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\",\"lstrip\":false}}");
    CHECK_INT(mot_vocab_load(&v, folder), 0);
    CHECK_INT(v.bos, 1);
    CHECK_INT(v.eos, 2);
    put("config.json", "{\"vocab_size\":100}");
    CHECK_INT(mot_vocab_load(&v, folder), 0);
    CHECK_INT(v.size, plain);
    put("config.json", "{\"vocab_size\":5000}");
    CHECK_INT(mot_vocab_load(&v, folder), 0);
    CHECK_INT(v.size, 5000); /* padded embeddings */
    struct mot_tokenizer *t = mot_tokenizer_open(folder);
    CHECK(t);
    if (t) {
        struct mot_ids before = {0}, after = {0};
        struct mot_bytes text = {0};
        CHECK_STR(mot_tokenizer_vocab(t)->digest, v.digest);
        CHECK_INT(mot_special_around(t, &before, &after), 0);
        CHECK(before.n == 1 && before.id[0] == 1 && after.n == 0);
        CHECK_INT(mot_decode_text(t, (int32_t[]){4999}, 1, false, &text),
                  0); /* a padded id has no text */
        CHECK_INT(text.n, 0);
        mot_ids_free(&before);
        mot_ids_free(&after);
        mot_bytes_free(&text);
    }
    mot_tokenizer_close(t);
    put("config.json", "[]");
    CHECK_INT(mot_vocab_load(&v, folder), MOT_EFORMAT);
    put("tokenizer.json", "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0.0],[\"a\",-1.5]]}}");
    CHECK(!mot_tokenizer_open(folder));
    CHECK(strstr(mot_error(), "Unigram"));
    clear_folder();
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_vocab_there_and_back);
    RUN(test_vocab_is_strict);
    RUN(test_all_modalities);
    RUN(test_tampering_is_noticed);
    RUN(test_text_alone);
    RUN(test_sizes_that_make_no_sense);
    RUN(test_foreign_folder);
    clear_folder();
    rmdir(folder);
    return test_end();
}
