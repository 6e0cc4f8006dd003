/* SPDX-License-Identifier: MIT
 *
 * lines.c - a file or pipe, line by line.  The last line may lack its newline.  A line may be as long as a record; of a longer
 * one nothing is kept but its length, and reading goes on behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "source.h"

enum { PIECE = 1 << 16 };

int mot_lines_open(struct mot_lines *l, const char *path)
{
    l->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    return l->fd >= 0 ? MOT_OK : mot_fail(MOT_EIO, "%s: cannot open: %s", path, strerror(errno));
}

void mot_lines_close(struct mot_lines *l)
{
    if (l->fd > STDERR_FILENO)
        close(l->fd);
    l->fd = -1;
    l->buffer.n = l->begin = 0;
    l->number = l->bytes = 0;
}

/* Drop what of the buffer has been served, and read a piece more; *end at the end of the file. */
static int read_piece(struct mot_lines *l, const char *name, bool *end)
{
    struct mot_bytes *b = &l->buffer;
    if (l->begin) {
        memmove(b->data, b->data + l->begin, b->n - l->begin);
        b->n -= l->begin;
        l->begin = 0;
    }
    int rc = mot_bytes_reserve(b, PIECE);
    if (rc)
        return rc;
    ssize_t r;
    do
        r = read(l->fd, b->data + b->n, PIECE);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return mot_fail(MOT_EIO, "%s: cannot read: %s", name, strerror(errno));
    b->n += (size_t)r;
    l->bytes += r;
    *end = r == 0;
    return MOT_OK;
}

int mot_lines_next(struct mot_lines *l, const char *name, const unsigned char **line, size_t *n)
{
    struct mot_bytes *b = &l->buffer;
    size_t looked = l->begin, dropped = 0; /* up to here there is no newline; bytes of the line, when it is too long */
    bool end = false;
    *line = NULL;
    for (;;) {
        const unsigned char *newline = b->n > looked ? memchr(b->data + looked, '\n', b->n - looked) : NULL;
        if (newline || end) {
            *line = b->data + l->begin;
            *n = (newline ? (size_t)(newline - b->data) : b->n) - l->begin;
            l->begin += *n + (newline != NULL);
            *n += dropped;
            if (!newline && *n == 0)
                *line = NULL;
            l->number += *line != NULL;
            return MOT_OK;
        }
        if (dropped || b->n - l->begin > MOT_RECORD_LIMIT) {
            dropped += b->n - l->begin;
            l->begin = b->n;
        }
        looked = b->n - l->begin;
        int rc = read_piece(l, name, &end);
        if (rc)
            return rc;
    }
}
