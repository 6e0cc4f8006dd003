/* SPDX-License-Identifier: MIT
 *
 * shard.h - the format of mot-shard(5), as shard_write.c writes it and shard.c reads it.
 *
 * A shard is a sequence of frames: a header with the vocabulary, frames of whole documents, an end
 * frame with counts.  All of it is written and read forwards only, so a pipe is as good as a file,
 * and streams may follow each other (cat).
 *
 *   frame   8 tag, 2 version, 2 flags, 4 number, 4 stored bytes, 4 bytes unpacked,
 *           4 CRC of what is stored, 4 CRC of the 28 bytes before; then what is stored
 *
 * Ids are plain u16 or u32, whichever a segment needs: nothing decodes faster, and u16 (every
 * vocabulary up to 65536) takes about half the room of the text.  A picture of vectors is a segment
 * of its own: its grid, then its values as binary16.
 */
#ifndef MOT_SHARD_H
#define MOT_SHARD_H

#include "../base/base.h"

enum { VERSION = 1, HEAD = 32, TAG = 8, FLAG_ZLIB = 1 };
enum { KIND_U32 = 0, KIND_U16 = 1, KIND_F16 = 2 }; /* segments: ids as u32, ids as u16, vectors of binary16 */
enum { DOC_HEAD = 16, SEGMENT_HEAD = 8, GRID = 12 }; /* a segment of vectors has its grid behind the head */
#define FRAME_LIMIT ((size_t)1 << 30)

static const char tag_header[] = "MOTSHRD\n", tag_docs[] = "MOTDOCS\n", tag_end[] = "MOTDONE\n";

/* What the end frame counts. */
struct mot_shard_sums {
    int64_t documents, text_bytes, tokens[MOT_MAX_MODALITIES];
};

static inline bool mot_any_not_finite(const uint16_t *value, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++)
        bad |= (value[i] & 0x7c00u) == 0x7c00;
    return bad;
}

#endif
