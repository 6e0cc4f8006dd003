/* SPDX-License-Identifier: MIT
 *
 * tar.c - WebDataset tars: members that stand together and have the same key are one sample.
 *
 * The key is the member's name up to the first dot of its last part, folders included; the suffix
 * says what it is.  Members of no known kind are passed over.  The archive is read forwards once,
 * so a pipe will do; packing is found by content.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include "source.h"

enum { BLOCK = 1 << 16, MAX_MEMBERS = 4096, END_MARK = 1024 };

struct mot_tar {
    char *path; /* for messages */
    struct archive *archive;
    int fd;
    size_t zeros;          /* bytes of zero just read: a tar ends with 1024 or more */
    struct mot_bytes data; /* of a member */
    char *member;          /* read ahead: the first of the next sample, or NULL */
    char *link;            /* what the member is a link to, or NULL */
    int64_t size;          /* of the member, as the archive says */
    bool ended;
    mot_passed *passed; /* told of members of no known kind */
    void *context;
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
    if (archive_errno(t->archive) == ENOMEM)
        return mot_fail(MOT_ENOMEM, "out of memory reading an archive");
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
        const char *target = name ? link_target(e, name) : NULL;
        if (!name || base_of(name)[0] == '.' || (!target && archive_entry_filetype(e) != AE_IFREG))
            continue; /* hidden files have no key */
        if (kind == MOT_FILE_UNKNOWN || kind >= MOT_FILE_JSONL) {
            t->passed(t->context, name);
            continue;
        }
        mot_free(t->link);
        t->link = target ? mot_strdup(target) : NULL;
        t->member = mot_strdup(name);
        t->size = archive_entry_size_is_set(e) ? archive_entry_size(e) : 0;
        if (!t->member || (target && !t->link))
            return MOT_ENOMEM;
    }
    return MOT_OK;
}

static int too_large(const char *label)
{
    return mot_fail(MOT_EFORMAT, "%s: a member of more than %zu MB", label, MOT_RECORD_LIMIT >> 20);
}

/* The present member's bytes into t->data. */
static int read_member(struct mot_tar *t, const char *label)
{
    t->data.n = 0;
    if (t->size > (int64_t)MOT_RECORD_LIMIT)
        return too_large(label);
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
            return too_large(label);
    }
}

/* WebDataset takes two members of one name in a sample for an error, as it is not said which counts. */
static bool is_twice(const struct mot_raw *r, const char *label)
{
    for (int i = 0; i < r->n_parts; i++)
        if (strcasecmp(r->part[i].name, label) == 0)
            return true;
    return false;
}

/* Read the present member to the end of the record. */
static int add_member(struct mot_tar *t, struct mot_raw *r)
{
    char *label = mot_format("%s: %s", t->path, t->member);
    if (!label)
        return MOT_ENOMEM;
    int rc = MOT_OK;
    if (t->link)
        rc = mot_fail(MOT_EFORMAT, "%s: a link to %s: tar -h --hard-dereference stores files in place of links", label, t->link);
    else if (is_twice(r, label))
        rc = mot_fail(MOT_EFORMAT, "%s: a member that is there twice", label);
    else if (r->n_parts >= MAX_MEMBERS)
        rc = mot_fail(MOT_EFORMAT, "%s: a sample of more than %d members", label, MAX_MEMBERS);
    else
        rc = read_member(t, label);
    if (!rc && r->bytes + t->data.n > MOT_RECORD_LIMIT)
        rc = mot_fail(MOT_EFORMAT, "%s: a sample of more than %zu MB", label, MOT_RECORD_LIMIT >> 20);
    if (!rc)
        return mot_raw_add(r, mot_file_kind(t->member), label, &t->data);
    mot_free(label);
    return rc;
}

/* Members of one key, up to the first of another.  After a failure the rest of the sample is passed
 * over; when the archive breaks on the way, that is what is told. */
static int read_sample(struct mot_tar *t, struct mot_raw *r)
{
    const char *key = r->key;
    size_t n = strlen(key);
    int rc = MOT_OK;
    while (t->member && key_length(t->member) == n && memcmp(t->member, key, n) == 0) {
        if (!rc)
            rc = add_member(t, r);
        mot_free(t->member);
        t->member = NULL;
        int next = t->ended ? MOT_OK : next_member(t);
        if (next)
            rc = next;
    }
    return rc;
}

int mot_tar_next(struct mot_tar *t, struct mot_raw **r, mot_passed *passed, void *context)
{
    t->passed = passed;
    t->context = context;
    int rc = t->ended ? MOT_OK : next_member(t);
    *r = NULL;
    if (!rc && !t->member)
        return MOT_OK;
    char *key = t->member ? mot_strndup(t->member, key_length(t->member)) : NULL;
    *r = mot_raw_new(key ? mot_format("%s: %s", t->path, key) : mot_strdup(t->path), key);
    if (!*r)
        return MOT_ENOMEM;
    if (!rc)
        rc = read_sample(t, *r);
    return rc && rc != MOT_ENOMEM ? mot_raw_fail(*r, rc) : rc;
}
