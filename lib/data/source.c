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
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

enum format { TEXT, LINES, JSONL, TAR };
enum { PIECE = 1 << 16, MAX_DEPTH = 100 };

struct input {
    char *path;   /* of a file, or up to its last suffix when several make a record; "-" */
    char *suffix; /* several: ".png\0.txt\0\0"; NULL: one */
    enum format format;
    enum mot_file kind; /* of a single file */
    int64_t size;
};

struct mot_source {
    struct input *input;
    int64_t n, capacity, at;
    bool has_format, strict;
    enum format format;
    void (*report)(void *, const char *);
    void *context;
    int64_t skipped, done, total;
    bool unknown_size; /* there is a pipe among the inputs */
    struct mot_building record;
    /* the open input */
    struct mot_tar *tar;
    int fd; /* of a stream of lines, or -1 */
    struct mot_bytes lines;
    size_t line_begin;          /* what is before has been served */
    int64_t line_number, bytes; /* read so far */
    char *folder;               /* of a JSONL file */
    bool finished;              /* it has no more */
};

/* ---- the list of inputs ---- */

static int add_input(struct mot_source *s, const char *path, enum format format, enum mot_file kind,
                     int64_t size)
{
    int rc = mot_grow((void **)&s->input, s->n, &s->capacity, sizeof *s->input);
    if (rc)
        return rc;
    s->input[s->n] = (struct input){mot_strdup(path), NULL, format, kind, size};
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
    enum format format = kind == MOT_FILE_TAR ? TAR : kind == MOT_FILE_JSONL ? JSONL : TEXT;
    if (kind == MOT_FILE_UNKNOWN && !s->has_format)
        return mot_fail(MOT_EARG, "%s: no known suffix: say -f text, lines, jsonl or tar", path);
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

/* names[0 .. n) have one stem: one record of several files.  JSON is a caption only where there is
 * no text file. */
static int add_group(struct mot_source *s, const char *folder, char *const *names, int64_t n)
{
    struct mot_bytes suffixes = {0};
    bool has_text = false;
    int64_t size = 0;
    int rc = MOT_OK;
    for (int64_t i = 0; i < n; i++)
        has_text |= mot_file_kind(names[i]) == MOT_FILE_TEXT;
    for (int64_t i = 0; !rc && i < n; i++) {
        if (has_text && mot_file_kind(names[i]) == MOT_FILE_JSON)
            continue;
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
    else if (mot_file_kind(name) != MOT_FILE_UNKNOWN && stat(path, &st) == 0 && S_ISREG(st.st_mode))
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
    if (!S_ISDIR(st.st_mode)) {
        s->unknown_size |= !S_ISREG(st.st_mode);
        return add_file(s, path, S_ISREG(st.st_mode) ? st.st_size : 0);
    }
    int64_t before = s->n;
    int rc = walk(s, path, 0);
    if (!rc && s->n == before)
        rc = mot_fail(MOT_EARG, "%s: no file of a known kind in this folder", path);
    return rc;
}

static int set_format(struct mot_source *s, const char *format)
{
    static const char *const names[] = {"text", "lines", "jsonl", "tar"};
    s->has_format = format != NULL;
    if (!format)
        return MOT_OK;
    for (int i = 0; i < MOT_COUNT(names); i++)
        if (strcmp(format, names[i]) == 0) {
            s->format = (enum format)i;
            return MOT_OK;
        }
    return mot_fail(MOT_EARG, "format \"%s\": expected text, lines, jsonl or tar", format);
}

struct mot_source *mot_source_open(const char *const *paths, int n,
                                   const struct mot_source_options *o)
{
    struct mot_source *s = mot_alloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->fd = -1;
    s->strict = o->strict;
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

/* The next line, without its newline; *line = NULL at the end.  Valid until the next call. */
static int next_line(struct mot_source *s, const char *name, const unsigned char **line, size_t *n)
{
    struct mot_bytes *b = &s->lines;
    size_t looked = s->line_begin; /* up to here there is no newline */
    *line = NULL;
    for (;;) {
        const unsigned char *newline =
            b->n > looked ? memchr(b->data + looked, '\n', b->n - looked) : NULL;
        if (newline) {
            *line = b->data + s->line_begin;
            *n = (size_t)(newline - *line);
            s->line_begin += *n + 1;
            s->line_number++;
            return MOT_OK;
        }
        /* Keep the beginning of the line, then read more. */
        if (s->line_begin) {
            memmove(b->data, b->data + s->line_begin, b->n - s->line_begin);
            b->n -= s->line_begin;
            s->line_begin = 0;
        }
        looked = b->n;
        if (b->n > MOT_RECORD_LIMIT)
            return mot_fail(MOT_EFORMAT, "%s:%lld: a line of more than %zu MB", name,
                            (long long)s->line_number + 1, MOT_RECORD_LIMIT >> 20);
        int rc = mot_bytes_reserve(b, PIECE);
        if (rc)
            return rc;
        ssize_t r;
        do
            r = read(s->fd, b->data + b->n, PIECE);
        while (r < 0 && errno == EINTR);
        if (r < 0)
            return mot_fail(MOT_EIO, "%s: cannot read: %s", name, strerror(errno));
        b->n += (size_t)r;
        s->bytes += r;
        if (r == 0)
            break;
    }
    if (b->n == 0)
        return MOT_OK;
    *line = b->data; /* the last line has no newline */
    *n = b->n;
    s->line_begin = b->n;
    s->line_number++;
    return MOT_OK;
}

static bool is_blank(const unsigned char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", line[i]) || !line[i])
            return false;
    return true;
}

/* The next record of a stream of lines.  Lines of nothing are no records. */
static int lines_next(struct mot_source *s, const struct input *in)
{
    const char *name = strcmp(in->path, "-") == 0 ? "standard input" : in->path;
    const unsigned char *line;
    size_t n = 0;
    do {
        int rc = next_line(s, name, &line, &n);
        s->finished = rc || !line;
        if (s->finished)
            return rc;
    } while (in->format == JSONL ? is_blank(line, n) : n == 0);
    struct mot_building *b = &s->record;
    b->r.name = mot_format("%s:%lld", name, (long long)s->line_number);
    if (!b->r.name)
        return MOT_ENOMEM;
    return in->format == JSONL ? mot_building_add_json(b, b->r.name, s->folder, line, n)
                               : mot_building_add(b, MOT_FILE_TEXT, line, n, b->r.name);
}

/* ---- one input after the other ---- */

static int open_lines(struct mot_source *s, const struct input *in)
{
    bool is_stdin = strcmp(in->path, "-") == 0;
    const char *slash = strrchr(in->path, '/');
    s->fd = is_stdin ? STDIN_FILENO : open(in->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", in->path, strerror(errno));
    if (slash && !(s->folder = mot_strndup(in->path, (size_t)(slash - in->path) + 1)))
        return MOT_ENOMEM;
    return MOT_OK;
}

static void close_input(struct mot_source *s)
{
    mot_tar_close(s->tar);
    s->tar = NULL;
    if (s->fd > STDERR_FILENO)
        close(s->fd);
    s->fd = -1;
    mot_free(s->folder);
    s->folder = NULL;
    s->lines.n = s->line_begin = 0;
    s->line_number = s->bytes = 0;
    s->finished = false;
}

/* Bytes consumed of the open input. */
static int64_t consumed(const struct mot_source *s)
{
    return s->tar ? mot_tar_bytes(s->tar) : s->bytes;
}

/* The files of one record. */
static int read_files(struct mot_source *s, const struct input *in)
{
    struct mot_building *b = &s->record;
    b->r.name = mot_strdup(strcmp(in->path, "-") == 0 ? "standard input" : in->path);
    int rc = b->r.name ? MOT_OK : MOT_ENOMEM;
    if (!rc && !in->suffix)
        rc = mot_building_add_file(b, in->kind, in->path);
    for (const char *p = in->suffix; !rc && p && *p; p += strlen(p) + 1) {
        char *path = mot_format("%s%s", in->path, p);
        rc = path ? mot_building_add_file(b, mot_file_kind(path), path) : MOT_ENOMEM;
        mot_free(path);
    }
    if (!rc && b->r.n_items == 0)
        rc = mot_fail(MOT_EFORMAT, "%s: no text in it: expected a key \"text\" or \"caption\"",
                      in->path);
    mot_building_sort(b);
    return rc;
}

/* The next record of the input at hand; one without items, and s->finished, when it has no more. */
static int input_next(struct mot_source *s, const struct input *in)
{
    int rc = MOT_OK;
    bool end = false;
    switch (in->format) {
    case TEXT:
        s->finished = true;
        return read_files(s, in);
    case TAR:
        if (!s->tar && !(s->tar = mot_tar_open(in->path)))
            rc = MOT_EFORMAT;
        else
            rc = mot_tar_next(s->tar, &s->record, &end);
        s->finished = end || !s->tar;
        return rc;
    default:
        if (s->fd < 0)
            rc = open_lines(s, in);
        s->finished = rc != MOT_OK;
        return rc ? rc : lines_next(s, in);
    }
}

int mot_source_next(struct mot_source *s, const struct mot_record **r)
{
    *r = NULL;
    while (s->at < s->n) {
        const struct input *in = &s->input[s->at];
        mot_building_clear(&s->record);
        if (s->finished) {
            s->done += in->size ? in->size : consumed(s);
            s->at++;
            close_input(s);
            continue;
        }
        int rc = input_next(s, in);
        bool pipe_failed = rc == MOT_EIO && s->finished && strcmp(in->path, "-") == 0;
        if (rc && (s->strict || rc == MOT_ENOMEM || pipe_failed))
            return rc;
        if (rc) {
            s->skipped++;
            if (s->report)
                s->report(s->context, mot_error());
        } else if (s->record.r.n_items) {
            *r = &s->record.r;
            return MOT_OK;
        }
    }
    mot_building_clear(&s->record);
    return MOT_OK;
}

int64_t mot_source_skipped(const struct mot_source *s)
{
    return s->skipped;
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
    mot_bytes_free(&s->lines);
    mot_free(s);
}
