/* SPDX-License-Identifier: MIT
 *
 * test_sources.c - files, folders, JSON Lines and tars (written by libarchive) as records: what
 * comes, in which order, and what is told about what does not come.
 */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "tests/test.h"

static char folder[] = "/tmp/mot-test-XXXXXX";
static struct mot_bytes picture, sound; /* a PNG of 3 x 2, a WAV of 5 samples */

static void put(const char *name, const void *data, size_t n)
{
    char *path = mot_path(folder, name), *slash = strrchr(path, '/');
    *slash = 0;
    CHECK_INT(mot_make_folder(path), 0);
    *slash = '/';
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
    mot_free(path);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void make_media(void)
{
    unsigned char rgb[18] = {0};
    float x[5] = {0};
    struct mot_image im = {3, 2, rgb};
    struct mot_audio a = {16000, 5, x};
    char *path = mot_path(folder, "made");
    CHECK_INT(mot_image_save_png(&im, path), 0);
    CHECK_INT(mot_read_file(path, 1000, &picture), 0);
    CHECK_INT(mot_audio_save_wav(&a, path), 0);
    CHECK_INT(mot_read_file(path, 1000, &sound), 0);
    unlink(path);
    mot_free(path);
}

static void on_skip(void *context, const char *sentence)
{
    struct mot_bytes *b = context;
    CHECK_INT(mot_bytes_format(b, "skip %s\n", sentence), 0);
}

/* All records of the paths (relative to the folder, "-" apart) as text: "NAME: T5 I3x2 S5@16000\n",
 * the folder's name left out, then an error's code. */
static char *list(const char *const *names, int n, const char *format, bool strict)
{
    struct mot_bytes out = {0};
    char *paths[8];
    for (int i = 0; i < n; i++)
        paths[i] = strcmp(names[i], "-") == 0 ? mot_strdup("-") : mot_path(folder, names[i]);
    struct mot_source_options o = {.format = format, .strict = strict, .skipped = on_skip, .context = &out};
    struct mot_source *s = mot_source_open((const char *const *)paths, n, &o);
    const struct mot_record *r;
    int rc = s ? MOT_OK : -1;
    while (!rc && !(rc = mot_source_next(s, &r)) && r) {
        CHECK_INT(mot_bytes_format(&out, "%s:", r->name), 0);
        for (int i = 0; i < r->n_items; i++) {
            const struct mot_item *t = &r->item[i];
            if (t->kind == MOT_KIND_TEXT)
                CHECK_INT(mot_bytes_format(&out, " T\"%.*s\"", (int)t->text.n,
                                           (const char *)t->text.data),
                          0);
            else if (t->kind == MOT_KIND_IMAGE)
                CHECK_INT(mot_bytes_format(&out, " I%dx%d", t->image.width, t->image.height), 0);
            else
                CHECK_INT(
                    mot_bytes_format(&out, " S%lld@%d", (long long)t->speech.n, t->speech.rate), 0);
        }
        CHECK_INT(mot_bytes_append(&out, "\n", 1), 0);
    }
    if (rc)
        CHECK_INT(mot_bytes_format(&out, "error %d: %s\n", rc, mot_error()), 0);
    else {
        int64_t done, total;
        mot_source_progress(s, &done, &total);
        CHECK(total == 0 || done == total);
    }
    mot_source_close(s);
    for (int i = 0; i < n; i++)
        mot_free(paths[i]);
    CHECK_INT(mot_bytes_append(&out, "", 1), 0);
    char *text = (char *)out.data, *at;
    while ((at = strstr(text, folder)))
        memmove(at, at + strlen(folder) + 1, strlen(at + strlen(folder) + 1) + 1);
    return text;
}

static void check_list(int line, const char *name, const char *format, bool strict,
                       const char *expected)
{
    char *found = list(&name, 1, format, strict);
    if (strcmp(found, expected) != 0) {
        fprintf(stderr, "line %d: found\n%sexpected\n%s", line, found, expected);
        CHECK(false);
    }
    mot_free(found);
}
#define LIST(name, format, expected) check_list(__LINE__, name, format, false, expected)
#define LIST_STRICT(name, format, expected) check_list(__LINE__, name, format, true, expected)

static void test_text(void)
{
    put_text("a.txt", "one\n\ntwo");
    put_text("b.MD", "# b");
    put_text("c.txt", "");
    put_text("d.unknown", "x\ny\r\n");
    LIST("a.txt", NULL, "a.txt: T\"one\n\ntwo\"\n");
    LIST("b.MD", NULL, "b.MD: T\"# b\"\n");
    LIST("c.txt", NULL, "c.txt: T\"\"\n");
    LIST("a.txt", "lines", "a.txt:1: T\"one\"\na.txt:3: T\"two\"\n");
    LIST("c.txt", "lines", "");
    LIST("d.unknown", NULL,
         "error -1: d.unknown: no known suffix: say -f text, lines, jsonl, tar or tokens\n");
    LIST("d.unknown", "lines", "d.unknown:1: T\"x\"\nd.unknown:2: T\"y\r\"\n");
    LIST("absent.txt", NULL, "error -1: absent.txt: cannot open: No such file or directory\n");
    LIST("a.txt", "csv", "error -1: format \"csv\": expected text, lines, jsonl, tar or tokens\n");
}

/* Any bytes are a text, and long lines are one. */
static void test_bytes(void)
{
    size_t n = 300000;
    unsigned char *b = malloc(n);
    for (size_t i = 0; i < n; i++)
        b[i] = (unsigned char)mot_random_u64(1, 1, i);
    put("bytes.txt", b, n);
    char *path = mot_path(folder, "bytes.txt");
    const char *paths[] = {path};
    const struct mot_record *r;
    struct mot_source_options o = {0};
    struct mot_source *s = mot_source_open(paths, 1, &o);
    CHECK_INT(mot_source_next(s, &r), 0);
    CHECK(r && r->item[0].text.n == n && memcmp(r->item[0].text.data, b, n) == 0);
    mot_source_close(s);
    /* The lines, put together with their newlines, are the file. */
    o.format = "lines";
    s = mot_source_open(paths, 1, &o);
    size_t at = 0;
    while (mot_source_next(s, &r) == 0 && r) {
        while (at < n && b[at] == '\n') /* empty lines */
            at++;
        size_t k = r->item[0].text.n;
        CHECK(at + k <= n && memcmp(r->item[0].text.data, b + at, k) == 0);
        at += k;
        CHECK(at == n || b[at] == '\n');
        at++;
    }
    CHECK(at >= n);
    mot_source_close(s);
    for (size_t i = 0; i < n; i++)
        b[i] = i % 100000 == 99999 ? '\n' : 'x';
    put("bytes.txt", b, n);
    s = mot_source_open(paths, 1, &o);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(mot_source_next(s, &r), 0);
        CHECK(r && r->item[0].text.n == 99999);
    }
    mot_source_close(s);
    mot_free(path);
    free(b);
}

static void test_jsonl(void)
{
    put("media/p.png", picture.data, picture.n);
    put("media/s.wav", sound.data, sound.n);
    put_text("j/a.jsonl",
             "{\"text\":\"a\\u0041\",\"id\":7}\n"
             " \t\r\n"
             "{\"segments\":[{\"speech\":\"../media/s.wav\"},{\"text\":\"x\"},{\"image\":\"../"
             "media/p.png\"},{\"text\":\"\"}]}\r\n"
             "{\"text\":\"broken\n"
             "{\"text\":7}\n"
             "{\"other\":7}\n"
             "[1]\n"
             "{\"segments\":[{\"text\":\"x\"},{\"image\":\"absent.png\"}]}\n"
             "{\"segments\":[{\"text\":\"x\"},{\"image\":\"../media/s.wav\"}]}\n"
             "{\"segments\":[{\"text\":\"x\"},7]}\n"
             "{\"segments\":{}}\n"
             "{\"text\":\"\xff\"}\n"
             "{\"speech\":\"../media/s.wav\",\"image\":\"../media/p.png\",\"text\":\"t\"}");
    LIST("j/a.jsonl", NULL,
         "j/a.jsonl:1: T\"aA\"\n"
         "j/a.jsonl:3: S5@16000 T\"x\" I3x2 T\"\"\n"
         "skip j/a.jsonl:4: column 15: not valid JSON: premature end of input near '\"broken'\n"
         "skip j/a.jsonl:5: key \"text\": expected a string\n"
         "skip j/a.jsonl:6: expected a key \"text\", \"image\", \"speech\" or \"segments\"\n"
         "skip j/a.jsonl:7: expected a JSON object\n"
         "skip j/a.jsonl:8: j/absent.png: cannot open: No such file or directory\n"
         "skip j/a.jsonl:9: j/../media/s.wav: neither PNG, JPEG nor WebP\n"
         "skip j/a.jsonl:10: segment 1: expected an object\n"
         "skip j/a.jsonl:11: key \"segments\": expected an array\n"
         "skip j/a.jsonl:12: column 9: not valid JSON: unable to decode byte 0xff near '\"'\n"
         "j/a.jsonl:13: T\"t\" I3x2 S5@16000\n");
    LIST_STRICT("j/a.jsonl", NULL,
                "j/a.jsonl:1: T\"aA\"\n"
                "j/a.jsonl:3: S5@16000 T\"x\" I3x2 T\"\"\n"
                "error 3: j/a.jsonl:4: column 15: not valid JSON: premature end of input near "
                "'\"broken'\n");
}

static void test_folder(void)
{
    put_text("f/b/x.txt", "x text");
    put("f/b/x.wav", sound.data, sound.n);
    put("f/b/x.png", picture.data, picture.n);
    put_text("f/b/x.json", "not JSON, not needed");
    put_text("f/b/y.json", "{\"caption\":\"y text\"}");
    put("f/b/y.JPG", picture.data, picture.n); /* by content, whatever the suffix */
    put_text("f/a.txt", "a");
    put_text("f/ignored.svg", "a");
    put_text("f/b/x.svg", "a");
    put_text("f/b/x.jsonl", "{\"text\":\"line\"}");
    put_text("f/.hidden.txt", "a");
    put_text("f/.git/x.txt", "a");
    put_text("f/c.v1.txt", "c1");
    put_text("f/c.v2.txt", "c2");
    put_text("f/c/z.md", "z");
    put_text("f/z.png", "not a picture");
    put_text("f/z.txt", "of it");
    LIST("f", NULL,
         "f/a.txt: T\"a\"\n"
         "f/b/x: T\"x text\" I3x2 S5@16000\n"
         "f/b/x.jsonl:1: T\"line\"\n"
         "f/b/y: T\"y text\" I3x2\n"
         "f/c/z.md: T\"z\"\n"
         "f/c.v1.txt: T\"c1\"\n"
         "f/c.v2.txt: T\"c2\"\n"
         "skip f/z.png: neither PNG, JPEG nor WebP\n");
    put_text("e/x.svg", "a");
    LIST("e", NULL, "error -1: e: no file of a known kind in this folder\n");
    static const char *const two[] = {"f/c", "f/a.txt"};
    char *found = list(two, 2, NULL, false);
    CHECK_STR(found, "f/c/z.md: T\"z\"\nf/a.txt: T\"a\"\n");
    mot_free(found);
}

struct member {
    const char *name, *text; /* text: "P" the picture, "S" the sound */
};

static void put_tar(const char *name, const struct member *m, int n,
                    void (*filter)(struct archive *))
{
    char *path = mot_path(folder, name);
    struct archive *a = archive_write_new();
    archive_write_set_format_pax_restricted(a);
    if (filter)
        filter(a);
    CHECK_INT(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (int i = 0; i < n; i++) {
        const void *data = m[i].text;
        size_t size = strlen(m[i].text);
        if (strcmp(m[i].text, "P") == 0)
            data = picture.data, size = picture.n;
        if (strcmp(m[i].text, "S") == 0)
            data = sound.data, size = sound.n;
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, m[i].name);
        archive_entry_set_size(e, (la_int64_t)size);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_perm(e, 0644);
        CHECK_INT(archive_write_header(a, e), ARCHIVE_OK);
        CHECK_INT(archive_write_data(a, data, size), size);
        archive_entry_free(e);
    }
    CHECK_INT(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    mot_free(path);
}

static void gzip_filter(struct archive *a)
{
    archive_write_add_filter_gzip(a);
}

static void zstd_filter(struct archive *a)
{
    archive_write_add_filter_zstd(a);
}

static const struct member members[] = {
    {"d/0.wav", "S"},
    {"d/0.txt", "zero"},
    {"d/0.png", "P"}, /* one sample, in the fixed order */
    {"d/1.left.png", "P"},
    {"d/1.right.png", "P"},
    {"d/1.cls", "7"}, /* the key ends at the first dot */
    {"d/2.png", "P"},
    {"d/2.json", "{\"caption\":\"two\"}"},
    {"d/3.json", "{\"text\":NaN}"},
    {"d/3.txt", "three"}, /* JSON that is not needed need not be good */
    {"e/3.txt", "other folder"},
    {"e/.hidden.txt", "x"},
    {"e/4.json", "{\"width\":7}"},
    {"e/5.png", "broken"},
    {"e/5.txt", "of a broken picture"},
    {"e/6.txt", "six"},
};
static const char tar_list[] = "%1$s: d/0: T\"zero\" I3x2 S5@16000\n"
                               "%1$s: d/1: I3x2 I3x2\n"
                               "%1$s: d/2: T\"two\" I3x2\n"
                               "%1$s: d/3: T\"three\"\n"
                               "%1$s: e/3: T\"other folder\"\n"
                               "skip %1$s: e/4: no text in it: expected a key \"text\" or \"caption\"\n"
                               "skip %1$s: e/5.png: neither PNG, JPEG nor WebP\n"
                               "%1$s: e/6: T\"six\"\n";

static void test_tar(void)
{
    static const char *const names[] = {"x.tar", "x.tar.gz", "x.tar.zst"};
    static void (*const filters[])(struct archive *) = {NULL, gzip_filter, zstd_filter};
    char expected[2000];
    for (int i = 0; i < 3; i++) {
        put_tar(names[i], members, MOT_COUNT(members), filters[i]);
        snprintf(expected, sizeof expected, tar_list, names[i]);
        LIST(names[i], NULL, expected);
    }
    put_text("t.tar", "this is no archive, whatever its name says");
    char *found = list((const char *const[]){"t.tar"}, 1, NULL, false);
    CHECK(strncmp(found, "skip t.tar: ", 12) == 0);
    mot_free(found);
}

/* A tar cut anywhere is told of, and gives nothing of the samples that the cut may have touched.
 * Only a plain tar cut within the zeros at its end is still whole. */
static void test_tar_cut(void)
{
    static const struct member two[] = {
        {"0.txt", "zero"}, {"0.wav", "S"}, {"1.png", "P"}, {"1.txt", "one"}};
    put_tar("x.tar", two, 4, NULL);
    put_tar("y.tar.gz", two, 4, gzip_filter);
    static const char *const names[] = {"x.tar", "y.tar.gz"};
    for (int i = 0; i < 2; i++) {
        char *path = mot_path(folder, names[i]), zero[64], one[64];
        snprintf(zero, sizeof zero, "%s: 0: T\"zero\" S5@16000\n", names[i]);
        snprintf(one, sizeof one, "%s: 1: T\"one\" I3x2\n", names[i]);
        struct mot_bytes b = {0};
        CHECK_INT(mot_read_file(path, 1 << 20, &b), 0);
        size_t used = b.n;
        while (used > 0 && b.data[used - 1] == 0)
            used--;
        used = i == 0 ? (used + 511) / 512 * 512 + 1024 : b.n;
        for (size_t n = b.n - 1; n > 0;
             n -= n > 64 ? 64 : 1) { /* member boundaries, 512, among them */
            n = n < b.n - 64 && n % 64 && n > 64 ? n / 64 * 64 : n;
            CHECK_INT(truncate(path, (off_t)n), 0);
            char *found = list(&names[i], 1, NULL, false), *rest = found;
            bool told = strstr(found, "skip ") != NULL;
            CHECK(told == (n < used));
            if (strncmp(rest, zero, strlen(zero)) == 0)
                rest += strlen(zero);
            if (n >= used && strncmp(rest, one, strlen(one)) == 0)
                rest += strlen(one);
            CHECK(told ? strncmp(rest, "skip ", 5) == 0
                       : *rest == 0 && rest > found + strlen(zero));
            mot_free(found);
        }
        mot_bytes_free(&b);
        mot_free(path);
    }
}

/* Standard input: each format, and no second time. */
static void test_stdin(void)
{
    put_text("in", "{\"text\":\"a\"}\n{\"image\":\"x\"}\n");
    put_tar("in.tar", members, MOT_COUNT(members), NULL);
    static const struct {
        const char *file, *format, *expected;
    } kind[] = {
        {"in", NULL, "standard input: T\"{\"text\":\"a\"}\n{\"image\":\"x\"}\n\"\n"},
        {"in", "lines",
         "standard input:1: T\"{\"text\":\"a\"}\"\nstandard input:2: T\"{\"image\":\"x\"}\"\n"},
        {"in", "jsonl",
         "standard input:1: T\"a\"\nskip standard input:2: x: cannot open: No such file or "
         "directory\n"},
        {"in.tar", "tar", NULL},
    };
    char expected[2000];
    int saved = dup(STDIN_FILENO);
    for (int i = 0; i < MOT_COUNT(kind); i++) {
        char *path = mot_path(folder, kind[i].file);
        int fd = open(path, O_RDONLY);
        dup2(fd, STDIN_FILENO);
        close(fd);
        snprintf(expected, sizeof expected, tar_list, "standard input");
        LIST("-", kind[i].format, kind[i].expected ? kind[i].expected : expected);
        mot_free(path);
    }
    char *found = list((const char *const[]){"-", "-"}, 2, NULL, false);
    CHECK_STR(found, "error -1: standard input: named twice\n");
    mot_free(found);
    if (saved >= 0)
        dup2(saved, STDIN_FILENO);
    close(saved);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    make_media();
    RUN(test_text);
    RUN(test_bytes);
    RUN(test_jsonl);
    RUN(test_folder);
    RUN(test_tar);
    RUN(test_tar_cut);
    RUN(test_stdin);
    mot_bytes_free(&picture);
    mot_bytes_free(&sound);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || test_end();
}
