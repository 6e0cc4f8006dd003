/* SPDX-License-Identifier: MIT
 *
 * tar.c - WebDataset tars: members that stand together and have the same key are one sample.
 *
 * The key is the member's name up to the first dot of its last part, folders included; the suffix
 * says what it is.  Members of no known kind are passed over.  The archive is read forwards once,
 * so a pipe will do; packing is found by content. A sample may have a caption twice, as .txt and in
 * .json: the .txt counts.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "source.h"

enum { BLOCK = 1 << 16, MAX_MEMBERS = 4096, END_MARK = 1024 };

struct mot_tar {
    char *path; /* for messages */
    struct archive *archive;
    int fd;
    size_t zeros;          /* bytes of zero just read: a tar ends with 1024 or more */
    struct mot_bytes data; /* of a member */
    struct mot_bytes json; /* a sample's .json */
    char *member;          /* read ahead: the first of the next sample, or NULL */
    char *link;            /* what the member is a link to, or NULL */
    bool has_text, ended;
    unsigned char block[BLOCK];
};

static la_ssize_t on_read(struct archive *a, void *context, const void **data)
{
    struct mot_tar *t = context;
    ssize_t r;
    do
        r = read(t->fd, t->block, BLOCK);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        archive_set_error(a, errno, "%s", strerror(errno));
    ssize_t n = r;
    while (n > 0 && t->block[n - 1] == 0)
        n--;
    if (r > 0)
        t->zeros = (size_t)(r - n) + (n == 0 ? t->zeros : 0);
    *data = t->block;
    return r;
}

struct mot_tar *mot_tar_open(const char *path)
{
    struct mot_tar *t = mot_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->fd = -1;
    bool is_stdin = strcmp(path, "-") == 0;
    t->path = mot_strdup(is_stdin ? "standard input" : path);
    t->archive = archive_read_new();
    if (!t->path || !t->archive) {
        mot_fail(MOT_ENOMEM, "out of memory opening an archive");
        goto fail;
    }
    /* Not all filters: some of them run programs. */
    archive_read_support_filter_gzip(t->archive);
    archive_read_support_filter_bzip2(t->archive);
    archive_read_support_filter_xz(t->archive);
    archive_read_support_filter_zstd(t->archive);
    archive_read_support_format_tar(t->archive);
    (void)archive_read_set_options(t->archive, "read_concatenated_archives"); /* cat a.tar b.tar */
    t->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (t->fd < 0)
        mot_fail(MOT_EIO, "%s: cannot open: %s", t->path, strerror(errno));
    else if (archive_read_open(t->archive, t, NULL, on_read, NULL) == ARCHIVE_OK)
        return t;
    else
        mot_fail(MOT_EFORMAT, "%s: not a tar that can be read: %s", t->path,
                 archive_error_string(t->archive));
fail:
    mot_tar_close(t);
    return NULL;
}

void mot_tar_close(struct mot_tar *t)
{
    if (!t)
        return;
    if (t->archive)
        archive_read_free(t->archive);
    if (t->fd > STDERR_FILENO)
        close(t->fd);
    mot_bytes_free(&t->data);
    mot_bytes_free(&t->json);
    mot_free(t->member);
    mot_free(t->link);
    mot_free(t->path);
    mot_free(t);
}

int64_t mot_tar_bytes(const struct mot_tar *t)
{
    return archive_filter_bytes(t->archive, -1);
}

/* The archive cannot be read any further. */
static int broken(struct mot_tar *t, const char *why)
{
    t->ended = true;
    return mot_fail(MOT_ECORRUPT, "%s: damaged or truncated archive near byte %lld%s%s: %s",
                    t->path, (long long)mot_tar_bytes(t), t->member ? ", in member " : "",
                    t->member ? t->member : "", why ? why : "unknown error");
}

static const char *base_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static size_t key_length(const char *name)
{
    const char *base = base_of(name);
    return (size_t)(base - name) + strcspn(base, ".");
}

/* What a member is a link to, which has the content in its place; NULL: it is none, or one to its own name (tar writes
 * that for a file that it is given twice). */
static const char *link_target(struct archive_entry *e, const char *name)
{
    const char *hard = archive_entry_hardlink(e), *soft = archive_entry_symlink(e);
    return hard && strcmp(hard, name) != 0 ? hard : soft;
}

/* Go to the next member of a known kind; its name to t->member, NULL at the end. */
static int next_member(struct mot_tar *t)
{
    while (!t->member) {
        struct archive_entry *e;
        int r = archive_read_next_header(t->archive, &e);
        if (r == ARCHIVE_EOF && archive_filter_code(t->archive, 0) == ARCHIVE_FILTER_NONE &&
            t->zeros < END_MARK)
            return broken(t, "there is no end mark"); /* packed ones have checks of their own */
        if (r == ARCHIVE_EOF) {
            t->ended = true;
            return MOT_OK;
        }
        if (r == ARCHIVE_RETRY)
            continue;
        if (r < ARCHIVE_WARN)
            return broken(t, archive_error_string(t->archive));
        const char *name = archive_entry_pathname(e);
        enum mot_file kind = name ? mot_file_kind(name) : MOT_FILE_UNKNOWN;
        if (kind == MOT_FILE_UNKNOWN || kind >= MOT_FILE_JSONL || base_of(name)[0] == '.') /* hidden files have no key */
            continue;
        const char *target = link_target(e, name);
        if (!target && archive_entry_filetype(e) != AE_IFREG)
            continue;
        mot_free(t->link);
        t->link = target ? mot_strdup(target) : NULL;
        t->member = mot_strdup(name);
        if (!t->member || (target && !t->link))
            return MOT_ENOMEM;
    }
    return MOT_OK;
}

/* The present member's bytes into t->data. */
static int read_member(struct mot_tar *t, const char *label)
{
    t->data.n = 0;
    for (;;) {
        int rc = mot_bytes_reserve(&t->data, BLOCK);
        if (rc)
            return rc;
        la_ssize_t r =
            archive_read_data(t->archive, t->data.data + t->data.n, t->data.capacity - t->data.n);
        if (r == 0)
            return MOT_OK;
        if (r == ARCHIVE_RETRY)
            continue;
        if (r < 0)
            return broken(t, archive_error_string(t->archive));
        t->data.n += (size_t)r;
        if (t->data.n > MOT_RECORD_LIMIT)
            return mot_fail(MOT_EFORMAT, "%s: a member of more than %zu MB", label,
                            MOT_RECORD_LIMIT >> 20);
    }
}

/* Read the present member and decode it into the record; JSON is kept until it is known whether it
 * is needed. */
static int add_member(struct mot_tar *t, struct mot_building *b)
{
    char *label = mot_format("%s: %s", t->path, t->member);
    if (!label)
        return MOT_ENOMEM;
    enum mot_file kind = mot_file_kind(t->member);
    int rc = t->link ? mot_fail(MOT_EFORMAT, "%s: a link to %s: tar -h --hard-dereference stores files in place of links", label,
                                t->link)
                     : read_member(t, label);
    if (!rc && b->r.n_items >= MAX_MEMBERS)
        rc = mot_fail(MOT_EFORMAT, "%s: a sample of more than %d members", label, MAX_MEMBERS);
    if (!rc && kind == MOT_FILE_JSON) {
        struct mot_bytes swap = t->json;
        t->json = t->data;
        t->data = swap;
    } else if (!rc) {
        rc = mot_building_add(b, kind, t->data.data, t->data.n, label);
    }
    t->has_text |= kind == MOT_FILE_TEXT;
    mot_free(label);
    return rc;
}

/* Members of one key, up to the first of another.  After a failure the rest of the sample is passed
 * over; when the archive breaks on the way, that is what is told. */
static int read_sample(struct mot_tar *t, struct mot_building *b, const char *key)
{
    size_t n = strlen(key);
    int rc = MOT_OK;
    t->has_text = false;
    t->json.n = 0;
    while (t->member && key_length(t->member) == n && memcmp(t->member, key, n) == 0) {
        if (!rc)
            rc = add_member(t, b);
        mot_free(t->member);
        t->member = NULL;
        int r = t->ended ? MOT_OK : next_member(t);
        if (r)
            rc = r;
    }
    if (!rc && !t->has_text && t->json.n) {
        char *label = mot_format("%s: %s.json", t->path, key);
        rc =
            label ? mot_building_add(b, MOT_FILE_JSON, t->json.data, t->json.n, label) : MOT_ENOMEM;
        mot_free(label);
    }
    if (!rc && b->r.n_items == 0)
        rc = mot_fail(MOT_EFORMAT, "%s: no text in it: expected a key \"text\" or \"caption\"", b->r.name);
    mot_building_sort(b);
    return rc;
}

int mot_tar_next(struct mot_tar *t, struct mot_building *b, bool *end)
{
    int rc = t->ended ? MOT_OK : next_member(t);
    *end = !rc && !t->member;
    if (rc || *end)
        return rc;
    char *key = mot_strndup(t->member, key_length(t->member));
    b->r.name = key ? mot_format("%s: %s", t->path, key) : NULL;
    rc = b->r.name ? read_sample(t, b, key) : MOT_ENOMEM;
    mot_free(key);
    return rc;
}
