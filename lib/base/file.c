/* SPDX-License-Identifier: MIT
 *
 * file.c - files that appear whole or not at all, and reading with limits.
 *
 * Output goes to PATH.tmp-PID in the same folder, is synced, and takes its name by rename(2); the folder
 * is synced too, so that after a power cut there is either the old file or the new one.  A killed program
 * leaves at most a .tmp- file, which mot_out_sweep removes; none if it calls mot_out_remove_all on its way out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

enum { PAGE = MOT_COPY_PAGE, BUFFER = 1 << 16, LISTED = 16 };

/* The temporary files there are now, for signal handlers, which may do little but unlink.  Programs have one or two open;
 * of more than LISTED some would stay behind a signal. */
static char *_Atomic listed[LISTED];

struct mot_out {
    char *path, *tmp; /* tmp: NULL for standard output and for what is not a regular file */
    int fd;
    int status; /* the first failure */
    size_t n;
    unsigned char buffer[BUFFER];
};

static void list(char *tmp)
{
    for (int i = 0; i < LISTED; i++) {
        char *none = NULL;
        if (atomic_compare_exchange_strong(&listed[i], &none, tmp))
            return;
    }
}

static void unlist(char *tmp)
{
    for (int i = 0; tmp && i < LISTED; i++) {
        char *it = tmp;
        if (atomic_compare_exchange_strong(&listed[i], &it, NULL))
            return;
    }
}

void mot_out_remove_all(void)
{
    for (int i = 0; i < LISTED; i++) {
        const char *tmp = atomic_load(&listed[i]);
        if (tmp)
            unlink(tmp);
    }
}

static void out_free(struct mot_out *o)
{
    if (o->fd > STDERR_FILENO)
        close(o->fd);
    unlist(o->tmp);
    mot_free(o->path);
    mot_free(o->tmp);
    mot_free(o);
}

struct mot_out *mot_out_open(const char *path)
{
    struct mot_out *o = mot_alloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->fd = -1;
    o->path = mot_strdup(path);
    if (!o->path)
        goto fail;
    if (strcmp(path, "-") == 0) {
        o->fd = STDOUT_FILENO;
        return o;
    }
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!*path || (there && S_ISDIR(st.st_mode))) { /* told now: rename would tell after all the work */
        mot_fail(MOT_EIO, "%s: cannot create: %s", path, *path ? "it is a folder" : "a file needs a name");
        goto fail;
    }
    if (there && !S_ISREG(st.st_mode)) {
        /* A device or pipe (/dev/null, /dev/full, a fifo) is written in place: renaming a file over it would replace it. */
        o->fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        o->tmp = mot_format("%s.tmp-%ld", path, (long)getpid());
        if (!o->tmp)
            goto fail;
        list(o->tmp);
        o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (o->fd < 0) {
        mot_fail(MOT_EIO, "%s: cannot create: %s", path, strerror(errno));
        goto fail;
    }
    return o;
fail:
    out_free(o);
    return NULL;
}

static int write_all(struct mot_out *o, const unsigned char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(o->fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return mot_fail(MOT_EIO, "%s: cannot write: %s",
                            strcmp(o->path, "-") == 0 ? "standard output" : o->path, strerror(errno));
        p += w;
        n -= (size_t)w;
    }
    return MOT_OK;
}

int mot_out_flush(struct mot_out *o)
{
    if (!o->status && o->n)
        o->status = write_all(o, o->buffer, o->n);
    o->n = 0;
    return o->status;
}

int mot_out_write(struct mot_out *o, const void *data, size_t n)
{
    if (n > BUFFER - o->n && mot_out_flush(o))
        return o->status;
    if (n >= BUFFER)
        return o->status ? o->status : (o->status = write_all(o, data, n));
    if (n)
        memcpy(o->buffer + o->n, data, n);
    o->n += n;
    return o->status;
}

int mot_out_patch(struct mot_out *o, size_t at, const void *data, size_t n)
{
    if (mot_out_flush(o))
        return o->status;
    ssize_t w;
    do
        w = pwrite(o->fd, data, n, (off_t)at);
    while (w < 0 && errno == EINTR);
    if (w != (ssize_t)n)
        o->status = mot_fail(MOT_EIO, "%s: cannot write its beginning: %s", strcmp(o->path, "-") == 0 ? "standard output" : o->path,
                             w < 0 ? strerror(errno) : "the disk is full");
    return o->status;
}

/* Within the system, where the bytes lie alike in their pages: only then is it faster than reading and writing (or no
 * copy at all, on disks that share blocks).  What is left is for the caller. */
static size_t copy_within(struct mot_out *o, int fd, off_t at, size_t n)
{
    off_t to = lseek(o->fd, 0, SEEK_CUR);
    while (n > 0 && to >= 0 && at % PAGE == to % PAGE) {
        ssize_t r = copy_file_range(fd, &at, o->fd, NULL, n, 0);
        if (r <= 0)
            break; /* whatever is wrong, reading will tell */
        to += r;
        n -= (size_t)r;
    }
    return n;
}

static int copy_range(struct mot_out *o, int fd, const char *from, off_t at, size_t n)
{
    int rc = mot_out_flush(o);
    size_t left = rc ? 0 : copy_within(o, fd, at, n);
    at += (off_t)(n - left);
    off_t to = lseek(o->fd, 0, SEEK_CUR);
    while (!rc && left > 0) {
        unsigned char piece[2 * BUFFER]; /* fits a processor's second cache */
        size_t room = sizeof piece - (to > 0 ? (size_t)(to % PAGE) : 0); /* later pieces end with a page */
        ssize_t r = pread(fd, piece, left < room ? left : room, at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return mot_fail(MOT_EIO, "%s: cannot read: %s", from, r ? strerror(errno) : "it has become shorter");
        rc = o->status = write_all(o, piece, (size_t)r);
        at += r;
        to += r;
        left -= (size_t)r;
    }
    return rc;
}

int mot_out_copy(struct mot_out *o, const char *from, size_t begin, size_t n)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", from, strerror(errno));
    int rc = copy_range(o, fd, from, (off_t)begin, n);
    close(fd);
    off_t end = lseek(o->fd, 0, SEEK_CUR);
    if (!rc && end >= (off_t)n) /* let the disk begin: the sync at the end then waits for less */
        (void)sync_file_range(o->fd, end - (off_t)n, (off_t)n, SYNC_FILE_RANGE_WRITE);
    return rc;
}

/* Best effort: some file systems refuse to sync folders, and the rename itself is already done. */
static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mot_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mot_strdup(".");
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    mot_free(dir);
}

int mot_out_commit(struct mot_out *o)
{
    int rc = mot_out_flush(o);
    if (o->tmp) {
        if (!rc && fsync(o->fd) != 0 && errno != EINVAL)
            rc = mot_fail(MOT_EIO, "%s: cannot write: %s", o->path, strerror(errno));
        int closed = close(o->fd);
        o->fd = -1;
        if (!rc && closed != 0)
            rc = mot_fail(MOT_EIO, "%s: cannot write: %s", o->path, strerror(errno));
        if (!rc && rename(o->tmp, o->path) != 0)
            rc = mot_fail(MOT_EIO, "%s: cannot put in place: %s", o->path, strerror(errno));
        if (!rc)
            sync_folder_of(o->path);
        else
            unlink(o->tmp);
    }
    out_free(o);
    return rc;
}

void mot_out_abort(struct mot_out *o)
{
    if (!o)
        return;
    if (o->tmp)
        unlink(o->tmp);
    out_free(o);
}

static bool is_number(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

void mot_out_sweep(const char *folder, const char *name)
{
    DIR *dir = opendir(folder);
    size_t n = strlen(name);
    for (const struct dirent *e; dir && (e = readdir(dir));)
        if (strncmp(e->d_name, name, n) == 0 && strncmp(e->d_name + n, ".tmp-", 5) == 0 && is_number(e->d_name + n + 5))
            (void)!unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

int mot_write_file(const char *path, const void *data, size_t n)
{
    struct mot_out *o = mot_out_open(path);
    if (!o)
        return MOT_EIO;
    int rc = mot_out_write(o, data, n);
    if (rc) {
        mot_out_abort(o);
        return rc;
    }
    return mot_out_commit(o);
}

int mot_make_folder(const char *path)
{
    char *p = mot_strdup(path);
    if (!p)
        return MOT_ENOMEM;
    int rc = MOT_OK;
    for (char *s = p + 1; !rc; s++) {
        if (*s != '/' && *s != 0)
            continue;
        char c = *s;
        *s = 0;
        struct stat st;
        if (mkdir(p, 0777) != 0 && !(errno == EEXIST && stat(p, &st) == 0 && S_ISDIR(st.st_mode)))
            rc = mot_fail(MOT_EIO, "%s: cannot make folder: %s", p, strerror(errno));
        *s = c;
        if (!c)
            break;
    }
    mot_free(p);
    return rc;
}

bool mot_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int mot_read_file(const char *path, size_t limit, struct mot_bytes *b)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", name, strerror(errno));
    int rc = MOT_OK;
    while (!(rc = mot_bytes_reserve(b, BUFFER + 1))) {
        ssize_t r = read(fd, b->data + b->n, b->capacity - b->n - 1);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            rc = mot_fail(MOT_EIO, "%s: cannot read: %s", name, strerror(errno));
        if (r <= 0)
            break;
        b->n += (size_t)r;
        if (b->n > limit) {
            rc = mot_fail(MOT_EFORMAT, "%s: larger than %zu bytes, the limit for this kind of file", name,
                          limit);
            break;
        }
    }
    if (!is_stdin)
        close(fd);
    if (!rc)
        b->data[b->n] = 0;
    return rc;
}

int mot_copy_file(const char *from, const char *to)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", from, strerror(errno));
    struct mot_out *o = mot_out_open(to);
    int rc = o ? MOT_OK : MOT_EIO;
    unsigned char piece[4096];
    for (ssize_t r = 1; !rc && r > 0;) {
        r = read(fd, piece, sizeof piece);
        if (r < 0 && errno == EINTR)
            r = 1;
        else if (r < 0)
            rc = mot_fail(MOT_EIO, "%s: cannot read: %s", from, strerror(errno));
        else
            rc = mot_out_write(o, piece, (size_t)r);
    }
    close(fd);
    if (!rc)
        return mot_out_commit(o);
    mot_out_abort(o);
    return rc;
}

int mot_copy_if_there(const char *from, const char *to, const char *file)
{
    char *a = mot_path(from, file), *b = mot_path(to, file);
    int rc = !a || !b ? MOT_ENOMEM : mot_file_exists(a) ? mot_copy_file(a, b) : MOT_OK;
    mot_free(a);
    mot_free(b);
    return rc;
}

int mot_map_open(struct mot_map *m, const char *path)
{
    *m = (struct mot_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo without a writer is refused below, not waited for */
    if (fd < 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", path, strerror(errno));
    struct stat st;
    int rc = MOT_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = mot_fail(MOT_EFORMAT, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = mot_fail(MOT_EIO, "%s: cannot map: %s", path, strerror(errno));
        else
            *m = (struct mot_map){p, (size_t)st.st_size};
    }
    close(fd);
    return rc;
}

void mot_map_close(struct mot_map *m)
{
    if (m->n)
        munmap((void *)(uintptr_t)m->data, m->n);
    *m = (struct mot_map){0};
}

void mot_map_release(const struct mot_map *m, size_t begin, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = begin / page * page;
    if (n > 0)
        (void)!madvise((void *)(uintptr_t)(m->data + first), begin + n - first, MADV_DONTNEED);
}

char *mot_path(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return mot_format("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

/* The system lets go of the lock when the process ends, however it ends. */
int mot_lock(const char *folder, int *lock)
{
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return mot_fail(MOT_EIO, "%s: cannot open: %s", folder, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return MOT_OK; /* a file system without locks has none to respect */
    close(*lock);
    *lock = -1;
    return mot_fail(MOT_EIO, "%s: another program is writing to it", folder);
}

void mot_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
