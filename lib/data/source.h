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
    MOT_FILE_TEXT,   /* .txt .md */
    MOT_FILE_JSON,   /* .json: one object with "text", "caption" or "alignment" */
    MOT_FILE_IMAGE,  /* .png .jpg .jpeg .webp */
    MOT_FILE_SOUND,  /* .wav .flac .ogg .oga .opus .mp3 */
    MOT_FILE_JSONL,  /* .jsonl .ndjson */
    MOT_FILE_TAR,    /* .tar, perhaps packed */
    MOT_FILE_TOKENS, /* .bin .idx: llm.c's and Megatron's */
    MOT_FILE_IDS     /* no file: ids read from one, int32_t of this machine */
};
/* By the name's suffix, upper or lower case. */
enum mot_file mot_file_kind(const char *name);

/* ---- a record as it was read, nothing decoded (record.c) ---- */

struct mot_part {
    enum mot_file kind; /* TEXT, JSON, IMAGE, SOUND, IDS; JSONL: a line of it, alone in its record */
    char *name;         /* for messages */
    struct mot_bytes data;
};
struct mot_raw {
    char *name; /* where it came from */
    char *key;  /* the item of the source that it is, to split by; NULL: its content */
    char *folder; /* paths in a line of JSON are relative to it; NULL: the working one */
    int n_parts;
    int64_t capacity;
    struct mot_part *part;
    size_t bytes; /* of all parts */
    int status;   /* not MOT_OK: it could not be read, as `failure` says */
    char *failure;
    struct mot_part only; /* a line: names and bytes lie behind the structure */
};
/* What helps where a record is too large: words to end a sentence with, nothing where they do not apply. */
const char *mot_raw_advice(const struct mot_raw *r);
/* Takes over name and key. */
struct mot_raw *mot_raw_new(char *name, char *key) MOT_CHECKED;
/* A line of an input: a part alone in its record, copied, in one piece of memory. */
struct mot_raw *mot_raw_line(const char *input, int64_t number, enum mot_file kind, const void *line, size_t n) MOT_CHECKED;
/* Append a part; name and data are taken over in any case. */
int mot_raw_add(struct mot_raw *r, enum mot_file kind, char *name, struct mot_bytes *data) MOT_CHECKED;
int mot_raw_add_file(struct mot_raw *r, enum mot_file kind, const char *path) MOT_CHECKED;
/* Files that data name or that were found must be files: who opens a pipe waits for whoever may write into it. */
int mot_check_regular(const char *path) MOT_CHECKED;
/* It could not be read, as mot_error() says. */
int mot_raw_fail(struct mot_raw *r, int status) MOT_CHECKED;
void mot_raw_free(struct mot_raw *r);

/* The next record of a source, owned by the caller; *r = NULL at the end.  One that cannot be read is a record that has
 * failed; what is returned ends the reading. */
int mot_source_take(struct mot_source *s, struct mot_raw **r) MOT_CHECKED;

/* ---- lines (lines.c) ---- */

struct mot_lines {
    int fd; /* -1: none open */
    struct mot_bytes buffer;
    size_t begin;          /* what is before has been served */
    int64_t number, bytes; /* lines served, bytes read */
};
int mot_lines_open(struct mot_lines *l, const char *path) MOT_CHECKED; /* "-": standard input */
/* The next line, without its newline, valid until the next call; *line = NULL at the end.  One of more than MOT_RECORD_LIMIT
 * bytes has its length in *n, and nothing to look at. */
int mot_lines_next(struct mot_lines *l, const char *name, const unsigned char **line, size_t *n) MOT_CHECKED;
void mot_lines_close(struct mot_lines *l); /* the buffer stays, for the next file */

/* ---- a record being built (record.c) ---- */

struct mot_building {
    struct mot_record r;
    int64_t capacity;
    size_t bytes; /* of decoded items, limited */
    char *key;    /* the first file that a line of JSON names, NULL: none */
};
void mot_building_clear(struct mot_building *b); /* empties it, keeps the array */
void mot_building_free(struct mot_building *b);
/* Decode; what b held is dropped. */
int mot_raw_decode(const struct mot_raw *r, struct mot_building *b) MOT_CHECKED;
/* Texts first, then pictures, then sounds, each in the order they came. */
void mot_building_sort(struct mot_building *b);
void mot_item_free(struct mot_item *item); /* what it holds */

/* ---- pictures (exif.c, webp.c) ---- */

/* 1 to 8 as Exif counts, 1 (upright) where the block does not say. */
int mot_exif_orientation(const unsigned char *p, size_t n);
/* Turn a picture so that it is upright. */
int mot_image_turn(struct mot_image *im, int orientation) MOT_CHECKED;
bool mot_is_webp(const unsigned char *p, size_t n);
int mot_webp_load(const unsigned char *p, size_t n, int64_t max_pixels, const char *name, unsigned char **rgba, int *width,
                  int *height, int *orientation) MOT_CHECKED;

/* ---- sounds (mp3.c) ---- */

/* Does an MP3 say how long it is; is its last frame cut off? */
void mot_mp3_look(const unsigned char *p, size_t n, bool *counted, bool *cut);

/* ---- sounds with aligned words (alignment.c) ---- */

typedef struct json_t json_t;
/* Spans from the array "alignment" of a JSON object; name is for messages. */
int mot_alignment_read(struct mot_item *sound, const char *name, const json_t *spans) MOT_CHECKED;
/* Append the text of spans [begin, end). */
int mot_item_words(const struct mot_item *sound, int64_t begin, int64_t end, struct mot_bytes *out) MOT_CHECKED;
/* Where the modality changes: fills `change` (n_aligned flags; the first says whether it begins with speech). */
void mot_interleave(const struct mot_item *sound, double changes, uint64_t seed, uint64_t index, bool *change);

/* ---- variations (augment.c) ---- */

/* The variation-th, from 1 on, of the index-th record. */
int mot_augment(const struct mot_record *r, uint64_t seed, int64_t index, int variation, struct mot_building *out) MOT_CHECKED;

/* ---- which side of a split (split.c) ---- */

/* Does the record go to validation?  The share of them that does not is `train`; equal keys go to one side. */
bool mot_split(const struct mot_raw *raw, const struct mot_building *b, bool by_caption, double train, uint64_t seed);

/* ---- WebDataset tars (tar.c) ---- */

struct mot_tar;
struct mot_tar *mot_tar_open(const char *path) MOT_CHECKED; /* "-": standard input */
/* The next sample, *r = NULL when there is none.  A damaged sample is one that has failed, after which reading goes on with the
 * next one; so is a damaged archive, and then the next call finds the end.  `passed` is told the names of members of no known
 * kind. */
typedef void mot_passed(void *context, const char *name);
int mot_tar_next(struct mot_tar *t, struct mot_raw **r, mot_passed *passed, void *context) MOT_CHECKED;
int64_t mot_tar_bytes(const struct mot_tar *t); /* consumed */
void mot_tar_close(struct mot_tar *t);

/* ---- token files of other programs (tokens.c) ---- */

struct mot_tokens;
/* llm.c's .bin, or Megatron's .bin and .idx, named by either. */
struct mot_tokens *mot_tokens_open(const char *path, const struct mot_vocab *v, int32_t separator) MOT_CHECKED;
int mot_tokens_next(struct mot_tokens *t, struct mot_raw **r) MOT_CHECKED; /* *r = NULL: no more */
int64_t mot_tokens_bytes(const struct mot_tokens *t); /* consumed */
void mot_tokens_close(struct mot_tokens *t);

#endif
