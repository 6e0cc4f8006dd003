/* SPDX-License-Identifier: MIT
 *
 * mot.h - the public interface of libmot, the Mixture-of-Transformers toolkit.
 *
 * Sections stand in the order in which data flows; each names its source files.
 *
 *   1 errors, files        lib/base/
 *   2 vocabulary, tokens   lib/token/
 *   3 sources, shards      lib/data/
 *   4 the model            lib/model/
 *   5 training, scoring    lib/train/
 *
 * Rules.  A function that can fail returns int (MOT_OK = 0, else an enum mot_status) or a pointer
 * (NULL = failed); mot_error() then tells in one line what, where and what to do about it.  Nothing prints
 * and nothing exits.  free and close take NULL.  Strings and paths are UTF-8 and borrowed unless said
 * otherwise; "owned by X" means valid until X is freed.  A handle belongs to one thread at a time.
 */
#ifndef MOT_H
#define MOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOT_VERSION "0.1.0"

#if defined(__GNUC__)
#define MOT_CHECKED __attribute__((warn_unused_result))
#define MOT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define MOT_CHECKED
#define MOT_PRINTF(f, a)
#endif

/* ==== 1 errors and files (lib/base/error.c, lib/base/file.c) ==================================== */

enum mot_status {
    MOT_OK = 0,
    MOT_ENOMEM,   /* memory is short */
    MOT_EIO,      /* the system refused: missing file, full disk, closed pipe */
    MOT_EFORMAT,  /* not the kind of file or text it should be */
    MOT_EVERSION, /* a newer format than this library reads */
    MOT_ECORRUPT, /* the right kind of file, but truncated or damaged */
    MOT_EARG,     /* a request that makes no sense, or two inputs that do not belong together */
    MOT_EDEVICE   /* the compute device failed or is not there */
};

/* The last failure's sentence on this thread: lower case, no period, no newline. Never NULL. */
const char *mot_error(void);
/* Set it and return code: for callers that add to the library's own failures. */
int mot_fail(int code, const char *format, ...) MOT_PRINTF(2, 3);

/* An output file that appears whole or not at all: written as PATH.tmp-PID beside its place, then synced
 * and renamed by commit.  PATH "-" is standard output, written directly.  abort (or a failed commit)
 * removes the temporary file.  Errors stick: after a failed write, commit fails with the first reason. */
struct mot_out;
struct mot_out *mot_out_open(const char *path) MOT_CHECKED;
int mot_out_write(struct mot_out *o, const void *data, size_t n) MOT_CHECKED;
int mot_out_flush(struct mot_out *o) MOT_CHECKED; /* hand what is buffered to the system */
int mot_out_commit(struct mot_out *o) MOT_CHECKED; /* frees o in either case */
void mot_out_abort(struct mot_out *o);
/* The three steps at once. */
int mot_write_file(const char *path, const void *data, size_t n) MOT_CHECKED;
/* Make a folder and its parents; an existing folder is fine. */
int mot_make_folder(const char *path) MOT_CHECKED;
bool mot_file_exists(const char *path);
/* Copy a file atomically. */
int mot_copy_file(const char *from, const char *to) MOT_CHECKED;

/* ==== 2 vocabulary and tokens (lib/token/) ======================================================= */

enum { MOT_MAX_MODALITIES = 16, MOT_NAME_BYTES = 32 };

/* One id space: text ids first (special tokens among them), then a contiguous range a modality. */
struct mot_vocab {
    int n_modalities;
    struct {
        char name[MOT_NAME_BYTES]; /* "text", "image", "speech", ... in id order, text first */
        int32_t first, n;          /* ids [first, first + n) */
    } modality[MOT_MAX_MODALITIES];
    int32_t size; /* all ids; the last range's end */
    /* Special text ids, -1 where the vocabulary has none. */
    int32_t bos, eos, boi, eoi, bos_speech, eos_speech;
    char digest[17]; /* 16 hex digits over everything that gives ids their meaning */
};
/* The modality of an id in [0, size). */
int mot_vocab_modality(const struct mot_vocab *v, int32_t id);
/* The modality's index by name, or -1. */
int mot_vocab_find(const struct mot_vocab *v, const char *name);
/* Read a folder's vocab.json; where there is only tokenizer.json, a text-only vocabulary. (vocab.c) */
int mot_vocab_load(struct mot_vocab *v, const char *folder) MOT_CHECKED;

/* A growing array of ids.  Zero-initialise; free with mot_ids_free. */
struct mot_ids {
    int32_t *id;
    int64_t n, capacity;
};
int mot_ids_append(struct mot_ids *a, const int32_t *id, int64_t n) MOT_CHECKED;
void mot_ids_free(struct mot_ids *a);

/* A growing array of bytes.  Zero-initialise; free with mot_bytes_free. */
struct mot_bytes {
    unsigned char *data;
    size_t n, capacity;
};
int mot_bytes_append(struct mot_bytes *b, const void *data, size_t n) MOT_CHECKED;
int mot_bytes_format(struct mot_bytes *b, const char *format, ...) MOT_PRINTF(2, 3) MOT_CHECKED;
void mot_bytes_free(struct mot_bytes *b);

/* A picture: width * height * 3 bytes, RGB, rows from the top.  Alpha is already flattened on white. */
struct mot_image {
    int width, height;
    unsigned char *rgb;
};
void mot_image_free(struct mot_image *im);
/* A sound: n samples in [-1, 1], one channel. */
struct mot_audio {
    int rate; /* samples a second */
    int64_t n;
    float *sample;
};
void mot_audio_free(struct mot_audio *a);

/* A tokenizer folder: tokenizer.json, image.safetensors, speech.safetensors, vocab.json (tokenizer.c).
 * The codecs are what the vocabulary names; a folder with tokenizer.json alone is text-only. */
struct mot_tokenizer;
struct mot_tokenizer *mot_tokenizer_open(const char *folder) MOT_CHECKED;
void mot_tokenizer_close(struct mot_tokenizer *t);
const struct mot_vocab *mot_tokenizer_vocab(const struct mot_tokenizer *t); /* owned by t */
/* Each encode appends ids of its modality, without delimiters; each decode takes such ids. Any bytes encode, and
 * decode(encode(bytes)) == bytes.  decode_text renders special tokens as their text unless skip_special. */
int mot_encode_text(struct mot_tokenizer *t, const void *text, size_t n, struct mot_ids *out) MOT_CHECKED;
int mot_decode_text(struct mot_tokenizer *t, const int32_t *id, int64_t n, bool skip_special,
                    struct mot_bytes *out) MOT_CHECKED;
int mot_encode_image(struct mot_tokenizer *t, const struct mot_image *im, struct mot_ids *out) MOT_CHECKED;
int mot_decode_image(struct mot_tokenizer *t, const int32_t *id, int64_t n, struct mot_image *out) MOT_CHECKED;
int mot_encode_speech(struct mot_tokenizer *t, const struct mot_audio *a, struct mot_ids *out) MOT_CHECKED;
int mot_decode_speech(struct mot_tokenizer *t, const int32_t *id, int64_t n, struct mot_audio *out) MOT_CHECKED;
/* What the post-processor of tokenizer.json puts around a text (--add-special): ids before and after. */
int mot_special_around(struct mot_tokenizer *t, struct mot_ids *before, struct mot_ids *after) MOT_CHECKED;

/* Learning a folder from data (learn.c): begin with the sizes wanted (0 = no such modality), hand over every
 * sample once, then finish, which learns, and writes the folder atomically file by file, vocab.json last.
 * Memory is bounded: text is counted as words; images and sounds are sampled to a fixed number of patches
 * and frames, seeded.  progress, where not NULL, is called with what is being done and the share done. */
struct mot_learn_options {
    int32_t text, image, speech; /* vocabulary sizes: text includes special tokens */
    int image_size, patch_size;  /* pictures become image_size squares of patch_size patches; 0: 64, 8 */
    bool merge_repeats;          /* merge runs of equal speech units */
    int threads;                 /* 0: all cores */
    uint64_t seed;
    void (*progress)(void *context, const char *what, double share);
    void *context;
};
struct mot_learner;
struct mot_learner *mot_learner_new(const struct mot_learn_options *o) MOT_CHECKED;
int mot_learner_text(struct mot_learner *l, const void *text, size_t n) MOT_CHECKED;
int mot_learner_image(struct mot_learner *l, const struct mot_image *im) MOT_CHECKED;
int mot_learner_speech(struct mot_learner *l, const struct mot_audio *a) MOT_CHECKED;
int mot_learner_finish(struct mot_learner *l, const char *folder) MOT_CHECKED;
void mot_learner_free(struct mot_learner *l);

/* ==== 3 sources and shards (lib/data/) ============================================================ */

/* -- sources: files, folders, tars and pipes as a stream of records (source.c, media.c) -- */
enum mot_kind { MOT_KIND_TEXT, MOT_KIND_IMAGE, MOT_KIND_SPEECH };
struct mot_item {
    enum mot_kind kind;
    struct mot_bytes text;   /* kind TEXT */
    struct mot_image image;  /* kind IMAGE */
    struct mot_audio speech; /* kind SPEECH */
};
struct mot_record {
    char *name; /* where it came from: "dir/a.tar: key 000123", "x.jsonl:17" */
    int n_items;
    struct mot_item *item;
};
struct mot_source_options {
    const char *format; /* of standard input and of files without a known suffix: "text" (one record a
                           file), "lines" (one a line), "jsonl", "tar"; NULL: by suffix, "text" for "-" */
    bool strict;        /* a damaged record is an error; else it is skipped, counted and reported */
    void (*skipped)(void *context, const char *sentence); /* called for each skipped record, may be NULL */
    void *context;
};
struct mot_source;
/* The named files, folders (walked in sorted order) and "-", in the order given.  paths are copied. */
struct mot_source *mot_source_open(const char *const *paths, int n, const struct mot_source_options *o) MOT_CHECKED;
/* The next record, owned by the source until the next call: MOT_OK with *r, or *r = NULL at the end. */
int mot_source_next(struct mot_source *s, const struct mot_record **r) MOT_CHECKED;
int64_t mot_source_skipped(const struct mot_source *s);
/* Bytes consumed and bytes in all (0 when unknown: a pipe), for progress. */
void mot_source_progress(const struct mot_source *s, int64_t *done, int64_t *total);
void mot_source_close(struct mot_source *s);

/* Media files by content (media.c). */
int mot_image_load(struct mot_image *im, const void *data, size_t n, const char *name) MOT_CHECKED;
int mot_audio_load(struct mot_audio *a, const void *data, size_t n, const char *name) MOT_CHECKED;
int mot_image_save_png(const struct mot_image *im, const char *path) MOT_CHECKED; /* atomic */
int mot_audio_save_wav(const struct mot_audio *a, const char *path) MOT_CHECKED;  /* 16 bit, atomic */
/* Band-limited resampling; out->rate = rate. */
int mot_audio_resample(const struct mot_audio *a, int rate, struct mot_audio *out) MOT_CHECKED;
/* Area-averaging / bilinear resize to exactly width x height. */
int mot_image_resize(const struct mot_image *im, int width, int height, struct mot_image *out) MOT_CHECKED;

/* -- shards: streams of documents (shard.c); format in mot-shard(5) -- */
struct mot_span {
    int modality;
    int64_t begin, n; /* ids [begin, begin + n) of the document */
};
struct mot_doc {
    int64_t n;
    int32_t *id;
    int n_spans; /* maximal runs of one modality, covering [0, n) */
    struct mot_span *span;
    int64_t text_bytes; /* bytes of the text its text ids stand for, for bits per byte */
};
struct mot_shard_writer;
/* path "-" is standard output.  The vocabulary is written into the header frame. */
struct mot_shard_writer *mot_shard_create(const char *path, const struct mot_vocab *v) MOT_CHECKED;
/* Modalities follow from the ids.  An id outside the vocabulary is an error. */
int mot_shard_add(struct mot_shard_writer *w, const int32_t *id, int64_t n, int64_t text_bytes) MOT_CHECKED;
int mot_shard_commit(struct mot_shard_writer *w) MOT_CHECKED; /* end frame, commit; frees w in either case */
void mot_shard_abort(struct mot_shard_writer *w);

struct mot_shard; /* a reader */
/* path "-" is standard input.  expect, where not NULL, must have the same digest.  keep_going: damage ends
 * the stream after the last whole document instead of failing (mot_shard_damage then tells). */
struct mot_shard *mot_shard_open(const char *path, const struct mot_vocab *expect, bool keep_going) MOT_CHECKED;
const struct mot_vocab *mot_shard_vocab(const struct mot_shard *s); /* owned by s */
/* The next document, owned by s until the next call; *d = NULL at the end. */
int mot_shard_next(struct mot_shard *s, const struct mot_doc **d) MOT_CHECKED;
/* The sentence about damage passed over with keep_going, or NULL. */
const char *mot_shard_damage(const struct mot_shard *s);
void mot_shard_close(struct mot_shard *s);
/* Read a whole file's frames without keeping documents: documents and tokens by modality; all checks made. */
struct mot_shard_counts {
    int64_t documents, tokens, text_bytes, by_modality[MOT_MAX_MODALITIES];
};
int mot_shard_count(const char *path, const struct mot_vocab *expect, struct mot_shard_counts *c) MOT_CHECKED;

#ifdef __cplusplus
}
#endif
#endif
