/* SPDX-License-Identifier: MIT
 *
 * test_jobs.c - what is drawn or decided for a record: the order of its parts, variations, the side of a split, where speech
 * and text change; and the names of numbered output.
 */
#include <stdlib.h>

#include "lib/data/numbered.h"
#include "lib/data/source.h"
#include "tests/test.h"

/* ---- orders ---- */

static const char *order(const char *s)
{
    static char out[64];
    struct mot_doc_options o = {0};
    if (mot_doc_order(&o, s))
        return mot_error();
    snprintf(out, sizeof out, "%g", o.media_first);
    for (int i = 0; i < o.n_order; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), " %d", (int)o.order[i]);
    return out;
}

static void test_orders(void)
{
    CHECK_STR(order("image,text"), "0.5 1 0");
    CHECK_STR(order("text,image"), "0.5 0 1");
    CHECK_STR(order("speech,text"), "0.5 2 0");
    CHECK_STR(order("speech,image,text"), "0.5 2 1 0");
    CHECK_STR(order("image"), "0.5 1");
    CHECK_STR(order("text-first"), "0.5 0 1 2");
    CHECK_STR(order("media-first"), "0.5 1 2 0");
    CHECK_STR(order("random"), "0.5");
    CHECK_STR(order("random=0.25"), "0.25");
    CHECK_STR(order("random=2"), "\"random=2\": expected a share from 0 to 1");
    CHECK_STR(order("image,image"), "\"image,image\": image is there twice");
    static const char *const bad[] = {"smell", "text,", ",text", "text image", "Text"};
    for (int i = 0; i < MOT_COUNT(bad); i++)
        CHECK(strstr(order(bad[i]), "expected text, image and speech") != NULL);
    CHECK_STR(order(""), "an empty order");
}

/* ---- records made here ---- */

static struct mot_item text_item(const char *s)
{
    struct mot_item item = {.kind = MOT_KIND_TEXT};
    CHECK_INT(mot_bytes_append(&item.text, s, strlen(s)), 0);
    return item;
}

/* Red grows to the right, green downwards. */
static struct mot_item image_item(int w, int h)
{
    struct mot_item item = {.kind = MOT_KIND_IMAGE, .image = {w, h, mot_alloc((size_t)(w * h), 3)}};
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            item.image.rgb[3 * (y * w + x)] = (unsigned char)(255 * x / w);
            item.image.rgb[3 * (y * w + x) + 1] = (unsigned char)(255 * y / h);
        }
    return item;
}

static struct mot_item sound_item(int rate, int64_t n)
{
    struct mot_item item = {.kind = MOT_KIND_SPEECH, .speech = {rate, n, mot_alloc((size_t)n, sizeof(float))}};
    for (int64_t i = 0; i < n; i++)
        item.speech.sample[i] = (float)(0.25 * sin(2 * M_PI * 200 * (double)i / rate));
    return item;
}

static void add_item(struct mot_building *b, struct mot_item item)
{
    CHECK_INT(mot_grow((void **)&b->r.item, b->r.n_items, &b->capacity, sizeof item), 0);
    b->r.item[b->r.n_items++] = item;
}

/* ---- variations ---- */

/* Is red higher at the left than at the right? */
static bool is_mirrored(const struct mot_image *im)
{
    const unsigned char *row = im->rgb + 3 * im->width * (im->height / 2);
    return row[0] > row[3 * (im->width - 1)];
}

static int mirrored_of(const char *caption, int variations)
{
    struct mot_building b = {0}, v = {0};
    int n = 0;
    b.r.name = mot_strdup("x");
    add_item(&b, text_item(caption));
    add_item(&b, image_item(90, 60));
    for (int i = 1; i <= variations; i++) {
        CHECK_INT(mot_augment(&b.r, 7, 3, i, &v), 0);
        const struct mot_image *im = &v.r.item[1].image;
        CHECK(v.r.item[0].text.n == strlen(caption));
        CHECK(im->width <= 90 && im->width >= 60 && abs(2 * im->width - 3 * im->height) <= 4); /* proportions kept */
        n += is_mirrored(im);
        const unsigned char *mid = im->rgb + 3 * (im->width * (im->height / 2)); /* it is a part: never the whole range */
        int range = abs(mid[0] - mid[3 * (im->width - 1)]);
        CHECK(range >= 255 / 2 && range <= 255);
    }
    mot_building_free(&b);
    mot_building_free(&v);
    return n;
}

static void test_pictures(void)
{
    int n = mirrored_of("a cat and a bird", 200);
    CHECK(n > 60 && n < 140);
    CHECK_INT(mirrored_of("the cat on the Left of it", 50), 0);
    CHECK_INT(mirrored_of("a RIGHT-hand glove", 50), 0);
    CHECK_INT(mirrored_of("leftmost", 50), 0);
    CHECK(mirrored_of("a bright light left_over, upright", 1) >= 0);
    CHECK(mirrored_of("bright leftovers, upright", 200) > 60);
}

static void test_sounds(void)
{
    struct mot_building b = {0}, v = {0}, again = {0};
    double shortest = 9, longest = 0, quietest = 9, loudest = 0;
    b.r.name = mot_strdup("x");
    add_item(&b, sound_item(16000, 32000));
    struct mot_item *item = &b.r.item[0];
    item->aligned = mot_alloc(2, sizeof *item->aligned);
    item->n_aligned = 2;
    item->aligned[0] = (struct mot_aligned){0.5, 1, 0, 0};
    item->aligned[1] = (struct mot_aligned){1, 2, 0, 0};
    for (int i = 1; i <= 100; i++) {
        CHECK_INT(mot_augment(&b.r, 7, 3, i, &v), 0);
        CHECK_INT(mot_augment(&b.r, 7, 3, i, &again), 0);
        const struct mot_audio *a = &v.r.item[0].speech, *c = &again.r.item[0].speech;
        CHECK(a->n == c->n && memcmp(a->sample, c->sample, (size_t)a->n * sizeof(float)) == 0); /* drawn by numbers alone */
        double length = (double)a->n / a->rate, peak = 0;
        for (int64_t k = 0; k < a->n; k++)
            peak = fmax(peak, fabsf(a->sample[k]));
        shortest = fmin(shortest, length), longest = fmax(longest, length);
        quietest = fmin(quietest, peak), loudest = fmax(loudest, peak);
        const struct mot_aligned *s = v.r.item[0].aligned;
        CHECK(s[0].start >= 0 && s[0].end <= s[1].start + 1e-9 && s[1].end <= length + 1e-9);
        CHECK_NEAR((s[1].end - s[0].start) / 1.5, length / 2, 0.12, 0);
        CHECK_INT(a->rate, 16000);
    }
    CHECK(shortest > 1.7 && shortest < 1.9 && longest > 2.1 && longest < 2.35);
    CHECK(quietest > 0.12 && quietest < 0.16 && loudest > 0.4 && loudest < 0.51);
    mot_building_free(&b);
    mot_building_free(&v);
    mot_building_free(&again);
}

/* ---- splits ---- */

static bool side(const char *caption, const char *key, bool by_caption, uint64_t seed)
{
    struct mot_building b = {0};
    struct mot_raw raw = {.key = (char *)(uintptr_t)key};
    b.r.name = mot_strdup("x");
    if (caption)
        add_item(&b, text_item(caption));
    bool is = mot_split(&raw, &b, by_caption, 0.5, seed);
    mot_building_free(&b);
    return is;
}

static void test_splits(void)
{
    static const char *const same[][2] = {
        {"A red  disc.", "a RED disc"}, {" stra\xc3\x9f" "e!", "STRASSE"}, {"caf\xc3\xa9", "cafe\xcc\x81"},
        {"\xef\xbc\xa1\xef\xbc\x91", "a1"}, {"two\nlines", "two lines"}, {"don't", "don\xe2\x80\x99t"},
    };
    for (int i = 0; i < MOT_COUNT(same); i++)
        for (uint64_t seed = 0; seed < 40; seed++)
            CHECK(side(same[i][0], "a", true, seed) == side(same[i][1], "b", true, seed));
    int differ = 0, n = 0, by_file = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        n += side("a red disc", "a", true, seed);
        differ += side("a red disc", "a", true, seed) != side("a blue disc", "a", true, seed);
        by_file += side("a red disc", "a", false, seed) != side("a red disc", "b", false, seed);
        CHECK(side("a red disc", "a", false, seed) == side("a blue disc", "a", false, seed));
        CHECK(side("...", "a", true, seed) == side(NULL, "a", false, seed)); /* no word in it: by its file */
    }
    CHECK(n > 150 && n < 250 && differ > 150 && differ < 250 && by_file > 150 && by_file < 250);
}

/* ---- speech and text in turn ---- */

static void test_interleaving(void)
{
    struct mot_item item = {.n_aligned = 10};
    bool change[10];
    int begins = 0, changes = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        mot_interleave(&item, 0.3, 1, i, change);
        int n = 0;
        begins += change[0];
        for (int k = 1; k < 10; k++)
            n += change[k];
        CHECK(n > 0); /* it does change */
        changes += n;
    }
    CHECK(begins > 400 && begins < 600);
    CHECK(changes > 2500 && changes < 2950); /* 9 x 0.3, and 1 where there would be none */
    mot_interleave(&item, 0, 1, 5, change);
    int n = 0;
    for (int k = 1; k < 10; k++)
        n += change[k];
    CHECK_INT(n, 1);
    mot_interleave(&item, 1, 1, 5, change);
    for (int k = 1; k < 10; k++)
        CHECK(change[k]);
}

static const char *words(const char *const *span, int n)
{
    static char out[64];
    struct mot_item item = {0};
    struct mot_aligned aligned[4];
    struct mot_bytes text = {0};
    for (int i = 0; i < n; i++) {
        aligned[i] = (struct mot_aligned){.begin = item.text.n, .n = strlen(span[i])};
        CHECK_INT(mot_bytes_append(&item.text, span[i], strlen(span[i])), 0);
    }
    item.aligned = aligned;
    item.n_aligned = n;
    CHECK_INT(mot_item_words(&item, 0, n, &text), 0);
    snprintf(out, sizeof out, "%.*s", (int)text.n, (const char *)text.data);
    mot_bytes_free(&text);
    mot_bytes_free(&item.text);
    return out;
}

static void test_words(void)
{
    CHECK_STR(words((const char *const[]){"the", "cat", "sat"}, 3), "the cat sat");
    CHECK_STR(words((const char *const[]){"the", " cat", ",", " sat"}, 4), "the cat, sat"); /* they bring their spaces */
    CHECK_STR(words((const char *const[]){"one"}, 1), "one");
}

/* ---- names ---- */

static const char *name(const char *path, bool numbered, bool twin, int64_t number)
{
    static char out[64];
    struct mot_numbered a;
    CHECK_INT(mot_numbered_init(&a, path, ".mot", numbered, twin), 0);
    snprintf(out, sizeof out, "%s", mot_numbered_name(&a, number));
    mot_numbered_free(&a);
    return out;
}

static void test_names(void)
{
    CHECK_STR(name("d/x.mot", false, false, 3), "d/x.mot");
    CHECK_STR(name("d/x.mot", false, true, 3), "d/x.val.mot");
    CHECK_STR(name("x", false, true, 3), "x.val");
    CHECK_STR(name("d.mot/x.mot", true, false, 3), "d.mot/x-00003.mot");
    CHECK_STR(name("x.mot", true, true, 123456), "x.val-123456.mot");
    CHECK_STR(name("x", true, false, 0), "x-00000.mot");
    CHECK_STR(name("d/x_%03d.bin", true, false, 7), "d/x_007.bin");
    CHECK_STR(name("d/x_%03d.bin", true, true, 7), "d/x.val_007.bin");
    CHECK_STR(name("d/%d", true, false, 7), "d/7");
    CHECK_STR(name("d/%05d.mot", true, true, 7), "d/val-00007.mot");
    CHECK_STR(name("100%.mot", true, false, 7), "100%-00007.mot");
    CHECK_STR(name("x%s%5d.mot", true, false, 7), "x%s%5d-00007.mot"); /* no number that we know */
    CHECK_STR(name("x-%05d.mot", false, false, 7), "x-%05d.mot");
}

int main(void)
{
    RUN(test_orders);
    RUN(test_pictures);
    RUN(test_sounds);
    RUN(test_splits);
    RUN(test_interleaving);
    RUN(test_words);
    RUN(test_names);
    return test_end();
}
