/* SPDX-License-Identifier: MIT
 *
 * source.h - what the parts of a source share: kinds of files by suffix, a record being built, a
 * tar being read.
 */
#ifndef MOT_SOURCE_H
#define MOT_SOURCE_H

#include "../base/base.h"

/* One file, member, line or record may be this large. */
#define MOT_RECORD_LIMIT ((size_t)1 << 30)

enum mot_file {
    MOT_FILE_UNKNOWN,
    MOT_FILE_TEXT,  /* .txt .md */
    MOT_FILE_JSON,  /* .json: one object with "text" or "caption" */
    MOT_FILE_IMAGE, /* .png .jpg .jpeg */
    MOT_FILE_SOUND, /* .wav .flac .ogg .oga .opus .mp3 */
    MOT_FILE_JSONL, /* .jsonl .ndjson */
    MOT_FILE_TAR    /* .tar, perhaps packed */
};
/* By the name's suffix, upper or lower case. */
enum mot_file mot_file_kind(const char *name);

/* A record being built (record.c). */
struct mot_building {
    struct mot_record r;
    int64_t capacity;
    size_t bytes; /* of decoded items, limited */
};
void mot_building_clear(struct mot_building *b); /* empties it, keeps the array */
void mot_building_free(struct mot_building *b);
/* Append what the bytes of a file of that kind hold; name is for messages. */
int mot_building_add(struct mot_building *b, enum mot_file kind, const void *data, size_t n,
                     const char *name) MOT_CHECKED;
/* Append a file. */
int mot_building_add_file(struct mot_building *b, enum mot_file kind, const char *path) MOT_CHECKED;
/* Append what a line of JSON says; name is its file and line, paths in it are relative to folder
 * (NULL: the working one). */
int mot_building_add_json(struct mot_building *b, const char *name, const char *folder,
                          const void *text, size_t n) MOT_CHECKED;
/* Texts first, then pictures, then sounds, each in the order they came. */
void mot_building_sort(struct mot_building *b);

/* WebDataset tars (tar.c). */
struct mot_tar;
struct mot_tar *mot_tar_open(const char *path) MOT_CHECKED; /* "-": standard input */
/* The next sample into b, *end = true when there is none.  A damaged sample is an error after which
 * reading goes on with the next one; a damaged archive is an error too, and then the next call
 * finds the end. */
int mot_tar_next(struct mot_tar *t, struct mot_building *b, bool *end) MOT_CHECKED;
int64_t mot_tar_bytes(const struct mot_tar *t); /* consumed */
void mot_tar_close(struct mot_tar *t);

#endif
