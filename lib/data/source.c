/* SPDX-License-Identifier: MIT
 *
 * source.c - files, folders and pipes as one stream of records.
 *
 * Opening makes the list of inputs: folders are walked, and files in one folder whose names differ
 * only in the last suffix (cat.png, cat.txt, cat.wav) become one input, as they would be one sample
 * of a tar.  Reading goes through the list with one input open at a time: a tar, a stream of lines,
 * or files read whole.  Memory is bounded by the largest record, apart from the list.
 *
 * What fails is told and passed over, unless the options say strict; only short memory and a pipe
 * that fails stop always.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

enum format { TEXT, LINES, JSONL, TAR, TOKENS };
static const char *const format_names[] = {"text", "lines", "jsonl", "tar", "tokens"};
enum { MAX_DEPTH = 100, SUFFIXES = 32, SUFFIX_BYTES = 16 };

struct input {
    char *path;   /* of a file, or up to its last suffix when several make a record; "-" */
    char *suffix; /* several: ".png\0.txt\0\0"; NULL: one */
    enum format format;
    enum mot_file kind; /* of a single file */
    int64_t size;
    size_t operand; /* the path up to here is the folder that was named */
};

struct mot_source {
    struct input *input;
    int64_t n, capacity, at;
    size_t operand; /* of the folder being walked */
    bool has_format, strict;
    enum format format;
    void (*report)(void *, const char *);
    void *context;
    int64_t skipped, done, total;
    bool unknown_size; /* there is a pipe among the inputs */
    const struct mot_vocab *vocab;
    int32_t separator;
    struct mot_building record; /* of mot_source_next */
    struct {
        char suffix[SUFFIX_BYTES];
        int64_t n;
    } passed[SUFFIXES]; /* files that are none of ours */
    int n_passed;
    /* the open input */
    struct mot_tar *tar;
    struct mot_tokens *tokens;
    struct mot_lines lines;
    char *folder; /* of a JSONL file */
    bool finished;              /* it has no more */
};

/* A file or member that is none of ours: counted by its suffix. */
static void pass(void *context, const char *name)
{
    struct mot_source *s = context;
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
    char suffix[SUFFIX_BYTES];
    snprintf(suffix, sizeof suffix, "%.15s", dot ? dot : "without suffix");
    int i = 0;
    while (i < s->n_passed && strcmp(s->passed[i].suffix, suffix) != 0)
        i++;
    if (i == SUFFIXES) /* the last place is for all there is no place for */
        memcpy(s->passed[--i].suffix, "others", 7);
    else if (i == s->n_passed)
        memcpy(s->passed[s->n_passed++].suffix, suffix, sizeof suffix);
    s->passed[i].n++;
}

/* ---- the list of inputs ---- */

static int add_input(struct mot_source *s, const char *path, enum format format, enum mot_file kind,
                     int64_t size)
{
    int rc = mot_grow((void **)&s->input, s->n, &s->capacity, sizeof *s->input);
    if (rc)
        return rc;
    s->input[s->n] = (struct input){mot_strdup(path), NULL, format, kind, size, s->operand};
    if (!s->input[s->n].path)
        return MOT_ENOMEM;
    s->total += size;
    s->n++;
    return MOT_OK;
}

/* A file that is a record, or a stream of them, alone. */
static int add_file(struct mot_source *s, const char *path, int64_t size)
{
    enum mot_file kind = mot_file_kind(path);
    enum format format = kind == MOT_FILE_TAR      ? TAR
                         : kind == MOT_FILE_JSONL  ? JSONL
                         : kind == MOT_FILE_TOKENS ? TOKENS
                                                   : TEXT;
    if (kind == MOT_FILE_UNKNOWN && !s->has_format)
        return mot_fail(MOT_EARG, "%s: no known suffix: say -f text, lines, jsonl, tar or tokens", path);
    if (kind == MOT_FILE_UNKNOWN || kind == MOT_FILE_TEXT) {
        kind = MOT_FILE_TEXT;
        format = s->has_format ? s->format : TEXT;
    }
    return add_input(s, path, format, kind, size);
}

static size_t stem(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool is_part(const char *name)
{
    enum mot_file kind = mot_file_kind(name);
    return kind == MOT_FILE_TEXT || kind == MOT_FILE_JSON || kind == MOT_FILE_IMAGE ||
           kind == MOT_FILE_SOUND;
}

/* In byte order of the stems; of one stem those that make a record together, then the others. */
static int compare_names(const void *a, const void *b)
{
    const char *s = *(char *const *)a, *t = *(char *const *)b;
    size_t n = stem(s), m = stem(t), k = n < m ? n : m;
    int c = memcmp(s, t, k);
    if (c || n != m)
        return c ? c : n < m ? -1 : 1;
    return is_part(s) != is_part(t) ? (is_part(s) ? -1 : 1) : strcmp(s, t);
}

/* The names in a folder, without hidden ones, sorted. */
static int list_folder(const char *path, char ***names, int64_t *n)
{
    DIR *d = opendir(path);
    if (!d)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", path, strerror(errno));
    int64_t capacity = 0;
    int rc = MOT_OK;
    for (const struct dirent *e; !rc && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        rc = mot_grow((void **)names, *n, &capacity, sizeof **names);
        if (!rc && !((*names)[*n] = mot_strdup(e->d_name)))
            rc = MOT_ENOMEM;
        *n += !rc;
    }
    closedir(d);
    if (!rc && *n)
        qsort(*names, (size_t)*n, sizeof **names, compare_names);
    return rc;
}

static int walk(struct mot_source *s, const char *path, int depth);

/* names[0 .. n) have one stem: one record of several files. */
static int add_group(struct mot_source *s, const char *folder, char *const *names, int64_t n)
{
    struct mot_bytes suffixes = {0};
    int64_t size = 0;
    int rc = MOT_OK;
    for (int64_t i = 0; !rc && i < n; i++) {
        char *file = mot_path(folder, names[i]);
        struct stat st;
        if (file && stat(file, &st) == 0)
            size += st.st_size;
        const char *suffix = names[i] + stem(names[i]);
        rc = file ? mot_bytes_append(&suffixes, suffix, strlen(suffix) + 1) : MOT_ENOMEM;
        mot_free(file);
    }
    char *path = mot_path(folder, names[0]);
    if (!rc)
        rc = path ? mot_bytes_append(&suffixes, "", 1) : MOT_ENOMEM;
    if (!rc) {
        path[stem(path)] = 0;
        rc = add_input(s, path, TEXT, MOT_FILE_UNKNOWN, size);
    }
    if (rc)
        mot_bytes_free(&suffixes);
    else
        s->input[s->n - 1].suffix = (char *)suffixes.data;
    mot_free(path);
    return rc;
}

/* Megatron's .idx stands beside its .bin, by which it is read. */
static bool is_index(const char *path)
{
    size_t n = strlen(path);
    if (n < 4 || strcasecmp(path + n - 4, ".idx") != 0)
        return false;
    char *bin = mot_format("%.*s.bin", (int)(n - 4), path);
    bool is = bin && mot_file_exists(bin);
    mot_free(bin);
    return is;
}

/* One name of a folder: a folder within (links are not followed), a file of a known kind, or
 * nothing to us. */
static int add_name(struct mot_source *s, const char *folder, const char *name, int depth)
{
    char *path = mot_path(folder, name);
    if (!path)
        return MOT_ENOMEM;
    struct stat link, st;
    int rc = MOT_OK;
    if (lstat(path, &link) == 0 && S_ISDIR(link.st_mode))
        rc = walk(s, path, depth + 1);
    else if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || is_index(path))
        ;
    else if (mot_file_kind(name) == MOT_FILE_UNKNOWN)
        pass(s, name);
    else
        rc = add_file(s, path, st.st_size);
    mot_free(path);
    return rc;
}

static bool is_folder(const char *folder, const char *name)
{
    char *path = mot_path(folder, name);
    struct stat st;
    bool is = path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    mot_free(path);
    return is;
}

static bool same_record(const char *folder, const char *a, const char *b)
{
    return is_part(a) && is_part(b) && stem(a) == stem(b) && memcmp(a, b, stem(a)) == 0 &&
           !is_folder(folder, a) && !is_folder(folder, b);
}

static int walk(struct mot_source *s, const char *path, int depth)
{
    if (depth > MAX_DEPTH)
        return mot_fail(MOT_EARG, "%s: folders nested more than %d deep", path, MAX_DEPTH);
    char **names = NULL;
    int64_t n = 0;
    int rc = list_folder(path, &names, &n);
    for (int64_t i = 0, end; !rc && i < n; i = end) {
        for (end = i + 1; end < n && same_record(path, names[i], names[end]); end++)
            ;
        rc = end == i + 1 ? add_name(s, path, names[i], depth)
                          : add_group(s, path, names + i, end - i);
    }
    for (int64_t i = 0; i < n; i++)
        mot_free(names[i]);
    mot_free(names);
    return rc;
}

static int add_path(struct mot_source *s, const char *path)
{
    struct stat st;
    if (strcmp(path, "-") == 0) {
        for (int64_t i = 0; i < s->n; i++)
            if (strcmp(s->input[i].path, "-") == 0)
                return mot_fail(MOT_EARG, "standard input: named twice");
        s->unknown_size |= fstat(STDIN_FILENO, &st) != 0 || !S_ISREG(st.st_mode);
        return add_input(s, path, s->has_format ? s->format : TEXT, MOT_FILE_TEXT,
                         s->unknown_size ? 0 : st.st_size);
    }
    if (stat(path, &st) != 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", path, strerror(errno));
    for (int64_t i = 0; i < s->n && is_index(path); i++) /* NAME.* names both files */
        if (s->input[i].kind == MOT_FILE_TOKENS && strlen(s->input[i].path) == strlen(path) &&
            memcmp(s->input[i].path, path, strlen(path) - 4) == 0)
            return MOT_OK;
    if (!S_ISDIR(st.st_mode)) {
        s->unknown_size |= !S_ISREG(st.st_mode);
        return add_file(s, path, S_ISREG(st.st_mode) ? st.st_size : 0);
    }
    int64_t before = s->n;
    s->operand = strlen(path) + 1;
    int rc = walk(s, path, 0);
    s->operand = 0;
    if (!rc && s->n == before)
        rc = mot_fail(MOT_EARG, "%s: no file of a known kind in this folder", path);
    return rc;
}

static int set_format(struct mot_source *s, const char *format)
{
    s->has_format = format != NULL;
    if (!format)
        return MOT_OK;
    for (int i = 0; i < MOT_COUNT(format_names); i++)
        if (strcmp(format, format_names[i]) == 0) {
            s->format = (enum format)i;
            return MOT_OK;
        }
    return mot_fail(MOT_EARG, "format \"%s\": expected text, lines, jsonl, tar or tokens", format);
}

struct mot_source *mot_source_open(const char *const *paths, int n,
                                   const struct mot_source_options *o)
{
    struct mot_source *s = mot_alloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->lines.fd = -1;
    s->strict = o->strict;
    s->vocab = o->vocab;
    s->separator = o->has_separator ? o->separator : -1;
    s->report = o->skipped;
    s->context = o->context;
    int rc = set_format(s, o->format);
    for (int i = 0; !rc && i < n; i++)
        rc = add_path(s, paths[i]);
    if (rc) {
        mot_source_close(s);
        return NULL;
    }
    return s;
}

/* ---- lines ---- */

static bool is_blank(const unsigned char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", line[i]) || !line[i])
            return false;
    return true;
}

/* The next record of a stream of lines.  Lines of nothing are no records. */
static int lines_next(struct mot_source *s, const struct input *in, struct mot_raw **raw)
{
    const char *name = strcmp(in->path, "-") == 0 ? "standard input" : in->path;
    const unsigned char *line;
    size_t n = 0;
    do {
        int rc = mot_lines_next(&s->lines, name, &line, &n);
        s->finished = rc || !line;
        if (s->finished)
            return rc;
    } while (n <= MOT_RECORD_LIMIT && (in->format == JSONL ? is_blank(line, n) : n == 0));
    bool too_long = n > MOT_RECORD_LIMIT;
    struct mot_raw *r = *raw = mot_raw_line(name, s->lines.number, in->format == JSONL ? MOT_FILE_JSONL : MOT_FILE_TEXT, line,
                                            too_long ? 0 : n);
    if (!r || (s->folder && in->format == JSONL && !(r->folder = mot_strdup(s->folder))))
        return MOT_ENOMEM;
    return too_long ? mot_fail(MOT_EFORMAT, "%s: a line of more than %zu MB", r->name, MOT_RECORD_LIMIT >> 20) : MOT_OK;
}

/* ---- one input after the other ---- */

static int open_lines(struct mot_source *s, const struct input *in)
{
    const char *slash = strrchr(in->path, '/');
    if (slash && !(s->folder = mot_strndup(in->path, (size_t)(slash - in->path) + 1)))
        return MOT_ENOMEM;
    return mot_lines_open(&s->lines, in->path);
}

static void close_input(struct mot_source *s)
{
    mot_tar_close(s->tar);
    s->tar = NULL;
    mot_tokens_close(s->tokens);
    s->tokens = NULL;
    mot_lines_close(&s->lines);
    mot_free(s->folder);
    s->folder = NULL;
    s->finished = false;
}

/* Bytes consumed of the open input. */
static int64_t consumed(const struct mot_source *s)
{
    return s->tar ? mot_tar_bytes(s->tar) : s->tokens ? mot_tokens_bytes(s->tokens) : s->lines.bytes;
}

/* The files of one record. */
static int read_files(const struct input *in, struct mot_raw **raw)
{
    bool is_stdin = strcmp(in->path, "-") == 0;
    const char *slash = strrchr(in->path, '/'), *key = in->operand ? in->path + in->operand : slash ? slash + 1 : in->path;
    struct mot_raw *r = *raw = mot_raw_new(mot_strdup(is_stdin ? "standard input" : in->path), is_stdin ? NULL : mot_strdup(key));
    int rc = r ? MOT_OK : MOT_ENOMEM;
    if (!rc && !in->suffix)
        rc = mot_raw_add_file(r, in->kind, in->path);
    for (const char *p = in->suffix; !rc && p && *p; p += strlen(p) + 1) {
        char *path = mot_format("%s%s", in->path, p);
        rc = path ? mot_check_regular(path) : MOT_ENOMEM;
        if (!rc)
            rc = mot_raw_add_file(r, mot_file_kind(path), path);
        mot_free(path);
    }
    return rc;
}

/* The next record of the input at hand, NULL when it has no more.  After a failure *raw is the record that has failed, or NULL
 * where it is the input. */
static int input_next(struct mot_source *s, const struct input *in, struct mot_raw **raw)
{
    int rc = MOT_OK;
    switch (in->format) {
    case TEXT:
        s->finished = true;
        return read_files(in, raw);
    case TAR:
        if (!s->tar && !(s->tar = mot_tar_open(in->path)))
            rc = MOT_EFORMAT;
        else
            rc = mot_tar_next(s->tar, raw, pass, s);
        s->finished = rc || !*raw;
        return rc;
    case TOKENS:
        if (!s->tokens && !(s->tokens = mot_tokens_open(in->path, s->vocab, s->separator)))
            rc = MOT_EFORMAT;
        else
            rc = mot_tokens_next(s->tokens, raw);
        s->finished = rc || !*raw;
        return rc;
    default:
        if (s->lines.fd < 0)
            rc = open_lines(s, in);
        s->finished = rc != MOT_OK;
        return rc ? rc : lines_next(s, in, raw);
    }
}

int mot_source_take(struct mot_source *s, struct mot_raw **raw)
{
    *raw = NULL;
    while (s->at < s->n) {
        const struct input *in = &s->input[s->at];
        if (s->finished) {
            s->done += in->size ? in->size : consumed(s);
            s->at++;
            close_input(s);
            continue;
        }
        int rc = input_next(s, in, raw);
        bool pipe_failed = rc == MOT_EIO && s->finished && strcmp(in->path, "-") == 0;
        if (rc && !*raw && rc != MOT_ENOMEM && !pipe_failed && !(*raw = mot_raw_new(mot_strdup(in->path), NULL)))
            rc = MOT_ENOMEM;
        if (rc == MOT_ENOMEM && in->format != TEXT)
            mot_fail(rc, "%s: %s", strcmp(in->path, "-") == 0 ? "standard input" : in->path, mot_error());
        if (rc == MOT_ENOMEM || pipe_failed || (rc && mot_raw_fail(*raw, rc))) {
            mot_raw_free(*raw);
            *raw = NULL;
            return pipe_failed ? rc : MOT_ENOMEM;
        }
        if (*raw)
            return MOT_OK;
    }
    return MOT_OK;
}

int mot_source_next(struct mot_source *s, const struct mot_record **r)
{
    *r = NULL;
    for (;;) {
        struct mot_raw *raw;
        int rc = mot_source_take(s, &raw);
        if (rc || !raw) {
            mot_building_clear(&s->record);
            return rc;
        }
        rc = mot_raw_decode(raw, &s->record);
        mot_raw_free(raw);
        if (rc && (s->strict || rc == MOT_ENOMEM))
            return rc;
        if (!rc) {
            *r = &s->record.r;
            return MOT_OK;
        }
        s->skipped++;
        if (s->report)
            s->report(s->context, mot_error());
    }
}

int64_t mot_source_skipped(const struct mot_source *s)
{
    return s->skipped;
}

const char *mot_source_passed(const struct mot_source *s, int i, int64_t *n)
{
    if (i >= s->n_passed)
        return NULL;
    *n = s->passed[i].n;
    return s->passed[i].suffix;
}

void mot_source_progress(const struct mot_source *s, int64_t *done, int64_t *total)
{
    *done = s->done + consumed(s);
    *total = s->unknown_size ? 0 : s->total;
}

void mot_source_close(struct mot_source *s)
{
    if (!s)
        return;
    close_input(s);
    for (int64_t i = 0; i < s->n; i++) {
        mot_free(s->input[i].path);
        mot_free(s->input[i].suffix);
    }
    mot_free(s->input);
    mot_building_free(&s->record);
    mot_bytes_free(&s->lines.buffer);
    mot_free(s);
}
