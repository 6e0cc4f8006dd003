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
 *   6 profiling            lib/profile/
 *   7 conversion           lib/convert/
 *   8 generation           lib/generate/
 *   9 metrics              lib/eval/
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
/* Write over bytes [at, at + n), which have been written before; not in a pipe. */
int mot_out_patch(struct mot_out *o, size_t at, const void *data, size_t n) MOT_CHECKED;
int mot_out_commit(struct mot_out *o) MOT_CHECKED; /* frees o in either case */
void mot_out_abort(struct mot_out *o);
/* Remove the temporary files of all that is open; a signal handler may call it.  What comes after can only end. */
void mot_out_remove_all(void);
/* The three steps at once. */
int mot_write_file(const char *path, const void *data, size_t n) MOT_CHECKED;
/* Make a folder and its parents; an existing folder is fine. */
int mot_make_folder(const char *path) MOT_CHECKED;
bool mot_file_exists(const char *path);
/* Copy a file atomically. */
int mot_copy_file(const char *from, const char *to) MOT_CHECKED;

struct mot_bytes; /* a growing array of bytes, section 2 */

/* ==== 2 vocabulary and tokens (lib/token/) ======================================================= */

enum { MOT_MAX_MODALITIES = 16, MOT_NAME_BYTES = 32, MOT_MAX_WIDTH = 65536 };

/* One id space: text ids first (special tokens among them), then a contiguous range a modality. */
struct mot_vocab {
    int n_modalities;
    struct {
        char name[MOT_NAME_BYTES]; /* "text", "image", "speech", ... in id order, text first */
        int32_t first, n;          /* ids [first, first + n) */
        int32_t width; /* values of the vector that a token stands for, n being 1 then; 0: tokens are ids alone */
        int32_t patch; /* such a vector is of patch x patch pixels, row by row; 0: not known */
    } modality[MOT_MAX_MODALITIES];
    int32_t size; /* all ids; the last range's end */
    /* Special text ids, -1 where the vocabulary has none. */
    int32_t bos, eos, boi, eoi, bos_speech, eos_speech;
    char digest[17]; /* 16 hex digits over everything that gives ids their meaning */
    char folder[1024]; /* where its tokenizer was when this was read or written, absolute; "": not known. Not in the digest */
};
/* The modality of an id in [0, size). */
int mot_vocab_modality(const struct mot_vocab *v, int32_t id);
/* The modality's index by name, or -1. */
int mot_vocab_find(const struct mot_vocab *v, const char *name);
/* Read a folder's vocab.json; where there is only tokenizer.json, a text-only vocabulary. (vocab.c) */
int mot_vocab_load(struct mot_vocab *v, const char *folder) MOT_CHECKED;
/* The one JSON text of a vocabulary, appended to out, and its strict reader; name is the file's for messages. */
int mot_vocab_save_json(const struct mot_vocab *v, struct mot_bytes *out) MOT_CHECKED;
int mot_vocab_parse_json(struct mot_vocab *v, const char *name, const void *text, size_t n) MOT_CHECKED;

/* A growing array of ids.  Zero-initialise; free with mot_ids_free. */
struct mot_ids {
    int32_t *id;
    int64_t n, capacity;
};
int mot_ids_append(struct mot_ids *a, const int32_t *id, int64_t n) MOT_CHECKED;
void mot_ids_free(struct mot_ids *a);

/* A growing array of pictures of vectors, beside the ids of their tokens.  Zero-initialise; free with mot_latents_free. */
struct mot_grid {
    int32_t rows, columns, width; /* a vector of `width` values for each of rows * columns tokens */
};
struct mot_latents {
    struct mot_grid *grid;
    int64_t n_grids, grid_capacity;
    uint16_t *value; /* of all pictures, each row by row; values of binary16 */
    int64_t n, capacity;
};
int64_t mot_grid_tokens(const struct mot_grid *g);
int64_t mot_grid_values(const struct mot_grid *g);
int mot_latents_append(struct mot_latents *l, const struct mot_grid *g, const uint16_t *value) MOT_CHECKED;
void mot_latents_free(struct mot_latents *l);

/* A growing array of bytes.  Zero-initialise; free with mot_bytes_free. */
struct mot_bytes {
    unsigned char *data;
    size_t n, capacity;
};
int mot_bytes_append(struct mot_bytes *b, const void *data, size_t n) MOT_CHECKED;
int mot_bytes_format(struct mot_bytes *b, const char *format, ...) MOT_PRINTF(2, 3) MOT_CHECKED;
void mot_bytes_free(struct mot_bytes *b);
/* Append the text with U+FFFD in the place of what is not UTF-8, one for each beginning of a character that is cut off and
 * for each byte that begins none, as the Unicode standard recommends and Python and Rust do. (unicode.c) */
int mot_utf8_lossy(const void *text, size_t n, struct mot_bytes *out) MOT_CHECKED;

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
/* Where the folder's nets run, a VQGAN, VAE or HuBERT: "cpu" or "cuda"; once, before anything else is asked of t. */
int mot_tokenizer_device(struct mot_tokenizer *t, const char *device) MOT_CHECKED;
/* A second handle on the same tokenizer, for another thread; t is closed after it. */
struct mot_tokenizer *mot_tokenizer_share(struct mot_tokenizer *t) MOT_CHECKED;
const struct mot_vocab *mot_tokenizer_vocab(const struct mot_tokenizer *t); /* owned by t */
/* Each encode appends ids of its modality, without delimiters; each decode takes such ids.  Any bytes encode, and with a
 * byte-level vocabulary that changes nothing, decode(encode(bytes)) == bytes.  decode_text renders special tokens as their
 * text unless skip_special. */
int mot_encode_text(struct mot_tokenizer *t, const void *text, size_t n, struct mot_ids *out) MOT_CHECKED;
int mot_decode_text(struct mot_tokenizer *t, const int32_t *id, int64_t n, bool skip_special,
                    struct mot_bytes *out) MOT_CHECKED;
int mot_encode_image(struct mot_tokenizer *t, const struct mot_image *im, struct mot_ids *out) MOT_CHECKED;
int mot_decode_image(struct mot_tokenizer *t, const int32_t *id, int64_t n, struct mot_image *out) MOT_CHECKED;
/* Where the pictures' tokens stand for vectors: appends one picture; and the picture of a grid's values. */
int mot_encode_latent(struct mot_tokenizer *t, const struct mot_image *im, struct mot_latents *out) MOT_CHECKED;
int mot_decode_latent(struct mot_tokenizer *t, const struct mot_grid *g, const uint16_t *value, struct mot_image *out) MOT_CHECKED;
/* The grid of every picture; false: the folder has no codec whose tokens stand for vectors. */
bool mot_tokenizer_grid(const struct mot_tokenizer *t, struct mot_grid *g);
/* The size that none of its values goes beyond; 0: there is none. */
double mot_tokenizer_range(const struct mot_tokenizer *t);
int mot_encode_speech(struct mot_tokenizer *t, const struct mot_audio *a, struct mot_ids *out) MOT_CHECKED;
int mot_decode_speech(struct mot_tokenizer *t, const int32_t *id, int64_t n, struct mot_audio *out) MOT_CHECKED;
/* What the post-processor of tokenizer.json puts around a text (--add-special): ids before and after. */
int mot_special_around(struct mot_tokenizer *t, struct mot_ids *before, struct mot_ids *after) MOT_CHECKED;

/* What becomes of pictures and sounds on the way through tokens (quality.c).  The square that encode sees, to compare with: */
int mot_tokenizer_prepare_image(struct mot_tokenizer *t, const struct mot_image *im, struct mot_image *out) MOT_CHECKED;
/* Peak signal-to-noise ratio in dB over all bytes; equal pictures: INFINITY; sizes that differ: NaN. */
double mot_image_psnr(const struct mot_image *a, const struct mot_image *b);
/* Structural similarity of the luminances, 1 = equal (Gaussian windows of 11 x 11, those that fit); sizes that differ: NaN. */
double mot_image_ssim(const struct mot_image *a, const struct mot_image *b);
/* Log-spectral distance in dB, 0 = equal spectrograms: root mean square difference of 80 mel bands' levels, mean over 10 ms
 * frames, after both sounds were brought to one level (floor 60 dB below it); the shorter one is taken to end in silence. */
int mot_speech_distance(const struct mot_audio *a, const struct mot_audio *b, double *db) MOT_CHECKED;

/* How well a folder's codecs do on data (survey.c): hand over pictures and sounds, then take row 0, pictures, and row 1,
 * sounds.  NaN where there is nothing to tell, as where a codec cannot decode. */
struct mot_survey_row {
    char modality[MOT_NAME_BYTES], codec[64]; /* "image", "vq image_size=64 patch_size=8" */
    int64_t items, tokens;
    double seconds; /* of sounds */
    int32_t codes, used;           /* 0 where tokens stand for vectors */
    double perplexity;             /* of the codes: how many there would be, used equally often, for the same entropy */
    double psnr, psnr_least, ssim; /* means over pictures, and the worst; equal pictures count as 78 dB */
    double distance;               /* mot_speech_distance, the mean over sounds */
};
struct mot_survey;
struct mot_survey *mot_survey_new(struct mot_tokenizer *t) MOT_CHECKED; /* t is borrowed */
int mot_survey_image(struct mot_survey *s, const struct mot_image *im) MOT_CHECKED;
int mot_survey_speech(struct mot_survey *s, const struct mot_audio *a) MOT_CHECKED;
bool mot_survey_row(const struct mot_survey *s, int i, struct mot_survey_row *row); /* false: there is no such codec */
void mot_survey_free(struct mot_survey *s);

/* Learning a folder from data (learn.c): begin with the sizes wanted (0 = no such modality), hand over every
 * sample once, then finish, which learns, and writes the folder atomically file by file, vocab.json last.
 * Memory is bounded: text is counted as words; images and sounds are sampled to a fixed number of patches
 * and frames, seeded.  progress, where not NULL, is called with what is being done and the share done. */
struct mot_learn_options {
    int32_t text, image, speech; /* vocabulary sizes: text includes special tokens */
    int image_size, patch_size;  /* pictures become image_size squares of patch_size patches; 0: 64, 8 */
    bool merge_repeats;          /* merge runs of equal speech units */
    const char *text_from;       /* a folder whose tokenizer.json is taken, with text = 0; NULL: text is learned */
    /* Nets instead of the embedded codecs; NULL: none.  With a picture net, image = 0 and its codebook's size counts. */
    const char *image_net, *image_config; /* VQGAN: .safetensors or .index.json; .yaml or .json, may be NULL */
    const char *speech_net, *speech_config, *speech_centres; /* HuBERT: the same; config.json beside it if NULL; with a file
                                                                of centres speech = 0, without one they are learned */
    int speech_layer;            /* whose output; < 0: the encoder's */
    const char *device;          /* where nets run; NULL: "cpu" */
    /* Pictures whose tokens stand for vectors, image = 0 then: patches of so many of their own pixels, 0: no; or an
     * AutoencoderKL: the net's file as above, its config.json, NULL: beside it if it is there; its own patches, 0: 2; and how
     * its latents are shifted and scaled, NaN: as the configuration says or as those of Stable Diffusion and FLUX. */
    int pixels;
    const char *vae, *vae_config;
    int vae_patch;
    double vae_scale, vae_shift;
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

/* -- sources: files, folders, tars and pipes as a stream of records (source.c, record.c, tar.c, tokens.c) -- */
enum mot_kind { MOT_KIND_TEXT, MOT_KIND_IMAGE, MOT_KIND_SPEECH, MOT_KIND_IDS };
/* Words that a sound says from start to end, in seconds: n bytes of the item's text. */
struct mot_aligned {
    double start, end;
    size_t begin, n;
};
struct mot_item {
    enum mot_kind kind;
    struct mot_bytes text;   /* kind TEXT; of a sound: the words of its alignment */
    struct mot_image image;  /* kind IMAGE */
    struct mot_audio speech; /* kind SPEECH */
    struct mot_ids ids;      /* kind IDS: a document that is tokens already, without what stands around it */
    int64_t bytes;           /* of the file or text that it came from */
    int64_t n_aligned, aligned_capacity;
    struct mot_aligned *aligned; /* kind SPEECH: spans in order of time; NULL: not known */
};
struct mot_record {
    char *name; /* where it came from: "dir/a.tar: key 000123", "x.jsonl:17" */
    int n_items;
    struct mot_item *item;
    bool ordered; /* the input says in which order the items go; else they stand as text, image, speech */
};
struct mot_source_options {
    const char *format; /* of standard input, of .txt and .md files and of files without a known suffix: "text" (one
                           record a file), "lines" (one a line, empty ones passed over), "jsonl", "tar", "tokens";
                           NULL: by suffix, "text" for "-" */
    const struct mot_vocab *vocab; /* gives the ids of token files their meaning, borrowed; NULL: such files are refused */
    bool has_separator; /* the id that begins documents in llm.c's files is `separator`; else as vocab says */
    int32_t separator;
    bool strict;        /* a damaged record is an error; else it is skipped, counted and reported */
    void (*skipped)(void *context, const char *sentence); /* called for each skipped record, may be NULL */
    void *context;
};
struct mot_source;
/* The named files, folders (walked in sorted order; files that differ in suffix alone, a.png a.txt a.wav, are one record) and
 * "-", in the order given.  paths are copied.  Items of a record stand in the order text, image, speech; those of JSONL's
 * "segments" as written. */
struct mot_source *mot_source_open(const char *const *paths, int n, const struct mot_source_options *o) MOT_CHECKED;
/* The next record, owned by the source until the next call: MOT_OK with *r, or *r = NULL at the end. */
int mot_source_next(struct mot_source *s, const struct mot_record **r) MOT_CHECKED;
int64_t mot_source_skipped(const struct mot_source *s);
/* Files and members passed over, as their suffix is none of ours: the i-th suffix and how many, NULL past the last. */
const char *mot_source_passed(const struct mot_source *s, int i, int64_t *n);
/* Bytes consumed and bytes in all (0 when unknown: a pipe), for progress. */
void mot_source_progress(const struct mot_source *s, int64_t *done, int64_t *total);
void mot_source_close(struct mot_source *s);

/* Media files by content (image.c: PNG, JPEG and WebP; audio.c: whatever libsndfile reads).  name is for messages. */
int mot_image_load(struct mot_image *im, const void *data, size_t n, const char *name) MOT_CHECKED;
int mot_audio_load(struct mot_audio *a, const void *data, size_t n, const char *name) MOT_CHECKED;
int mot_image_save_png(const struct mot_image *im, const char *path) MOT_CHECKED; /* atomic */
int mot_audio_save_wav(const struct mot_audio *a, const char *path) MOT_CHECKED;  /* 16 bit, atomic */
/* Band-limited resampling; out->rate = rate. */
int mot_audio_resample(const struct mot_audio *a, int rate, struct mot_audio *out) MOT_CHECKED;
/* Area-averaging / bilinear resize to exactly width x height. */
int mot_image_resize(const struct mot_image *im, int width, int height, struct mot_image *out) MOT_CHECKED;

/* The window of `size` at (x0, y0) of a picture resized to width x height by Lanczos' filter, bit for bit as Pillow's
 * Image.resize and crop make it; width and height may be far larger than the window. (lanczos.c) */
struct mot_window {
    int64_t x0, y0; /* in the resized picture */
    int width, height;
};
int mot_image_lanczos(const struct mot_image *im, int64_t width, int64_t height, const struct mot_window *w,
                      struct mot_image *out) MOT_CHECKED;
/* The same by Pillow's BICUBIC. */
int mot_image_bicubic(const struct mot_image *im, int64_t width, int64_t height, const struct mot_window *w,
                      struct mot_image *out) MOT_CHECKED;

/* -- shards: streams of documents (shard_write.c, shard.c); format in mot-shard(5) -- */
struct mot_span {
    int modality;
    int64_t begin, n; /* ids [begin, begin + n) of the document */
    int32_t rows, columns; /* of a picture whose tokens are vectors: n of them, row by row; else 0 */
};
struct mot_doc {
    int64_t n;
    int32_t *id;
    int n_spans; /* maximal runs of one modality, covering [0, n); a picture of vectors is one by itself */
    struct mot_span *span;
    int64_t n_latent; /* values */
    uint16_t *latent; /* the vectors of its tokens that stand for such, in their order; values of binary16 */
    int64_t text_bytes; /* bytes of the text its text ids stand for, for bits per byte */
};
struct mot_shard_writer;
/* path "-" is standard output.  The vocabulary is written into the header frame. */
struct mot_shard_writer *mot_shard_create(const char *path, const struct mot_vocab *v) MOT_CHECKED;
/* Modalities follow from the ids.  An id outside the vocabulary is an error. */
int mot_shard_add(struct mot_shard_writer *w, const int32_t *id, int64_t n, int64_t text_bytes) MOT_CHECKED;
/* The same, where ids of modalities with a width are the tokens of the pictures in l, each in turn; others are an error. */
int mot_shard_add_latents(struct mot_shard_writer *w, const int32_t *id, int64_t n, const struct mot_latents *l,
                          int64_t text_bytes) MOT_CHECKED;
/* Pack later frames with zlib: about half the size for text, and slower to read. Off at first. */
void mot_shard_compress(struct mot_shard_writer *w, bool on);
/* Is a document of these ids, which are the vocabulary's, and pictures small enough for a shard?  It takes at most 1 GiB. */
bool mot_shard_fits(const struct mot_vocab *v, const int32_t *id, int64_t n, const struct mot_latents *l);
/* Bytes that the file would have at most, were this document added and then no more. */
int64_t mot_shard_size_with(const struct mot_shard_writer *w, const int32_t *id, int64_t n, const struct mot_latents *l);
/* Words of the writer's own, kept in the end frame. */
int mot_shard_set_note(struct mot_shard_writer *w, const char *note) MOT_CHECKED;
int mot_shard_commit(struct mot_shard_writer *w) MOT_CHECKED; /* end frame, commit; frees w in either case */
void mot_shard_abort(struct mot_shard_writer *w);

struct mot_shard; /* a reader */
/* path "-" is standard input.  expect, where not NULL, must have the same digest.  keep_going: damage ends
 * the stream after the last whole document instead of failing (mot_shard_damage then tells). */
struct mot_shard *mot_shard_open(const char *path, const struct mot_vocab *expect, bool keep_going) MOT_CHECKED;
const struct mot_vocab *mot_shard_vocab(const struct mot_shard *s); /* owned by s */
/* The next document, owned by s until the next call; *d = NULL at the end. */
int mot_shard_next(struct mot_shard *s, const struct mot_doc **d) MOT_CHECKED;
/* The note of the last stream that has ended, "" if it has none; owned by s until the next call. */
const char *mot_shard_note(const struct mot_shard *s);
/* The sentence about damage passed over with keep_going, or NULL. */
const char *mot_shard_damage(const struct mot_shard *s);
void mot_shard_close(struct mot_shard *s);
/* Read a whole file's frames without keeping documents: documents and tokens by modality; all checks made. */
struct mot_shard_counts {
    int64_t documents, tokens, text_bytes, by_modality[MOT_MAX_MODALITIES];
};
int mot_shard_count(const char *path, const struct mot_vocab *expect, struct mot_shard_counts *c) MOT_CHECKED;

/* -- documents: records to ids, ids to parts (document.c) and to JSON (document_json.c) -- */
struct mot_doc_options {
    bool raw;           /* put nothing around the document ... */
    bool add_special;   /* ... or what tokenizer.json's post-processor says; neither: bos and eos */
    bool utf8;          /* texts go through mot_utf8_lossy first; else all of their bytes become ids */
    double media_first; /* share of records, drawn by seed, whose pictures and sounds come before their texts; < 0: as given */
    int n_order;        /* not 0: kinds in the order that all records get instead; those not named come last */
    enum mot_kind order[3];
    double interleave; /* share of the records with an aligned sound, drawn by seed, that become speech and text in turn ... */
    double changes;    /* ... which changes at a span with this probability, and somewhere in any case */
    uint64_t seed;
};
/* Set the order from "image,text", "random" or "random=SHARE". */
int mot_doc_order(struct mot_doc_options *o, const char *s) MOT_CHECKED;
/* Append the ids of a record, the index-th of its stream, to out, its pictures of vectors to latents, and set *text_bytes.
 * Pictures and sounds stand between their delimiters in any case.  A record without anything in it, or with what t cannot encode, is an error. */
int mot_doc_encode(struct mot_tokenizer *t, const struct mot_doc_options *o, const struct mot_record *r, int64_t index,
                   struct mot_ids *out, struct mot_latents *latents, int64_t *text_bytes) MOT_CHECKED;
/* The documents of a whole source, by several threads, in the source's order (encoder.c). */
struct mot_encode_options {
    struct mot_doc_options doc;
    int threads; /* 0: all cores */
    int augment; /* documents that a record with a picture or sound gives: itself, and variations of it (augment.c); 0: 1 */
    bool split, by_caption; /* a share of the records is for training, the others for validation, by file or caption (split.c) */
    double train;
    int64_t first; /* records before this one are passed over */
    bool digest;   /* keep a checksum of what was read */
};
struct mot_encoded {
    char *skipped; /* why the record gives no document, else NULL */
    int64_t record; /* its number in the source, from 0 */
    int variation;  /* of the record's documents */
    bool validation;
    const int32_t *id;
    int64_t n, text_bytes;
    struct mot_latents latents; /* borrowed */
    int64_t id_at, grid_at, value_at; /* private */
    int64_t items[MOT_KIND_IDS], bytes[MOT_KIND_IDS]; /* texts, pictures, sounds, and bytes of their files */
    double seconds; /* of sounds */
    uint32_t digest; /* of the source up to and with this record */
};
struct mot_encoder;
/* t and s are borrowed; s must be new.  The source's own handling of bad records is not used. */
struct mot_encoder *mot_encoder_new(struct mot_tokenizer *t, struct mot_source *s, const struct mot_encode_options *o) MOT_CHECKED;
/* The next document or skipped record, valid until the next call; *d = NULL at the end. */
int mot_encoder_next(struct mot_encoder *e, const struct mot_encoded **d) MOT_CHECKED;
void mot_encoder_free(struct mot_encoder *e);

/* A job's output: one shard, or numbered ones of limited size; how far it got, and going on from there (series.c). */
struct mot_mark {
    int64_t record, variations; /* the last record with a document in it, -1: none; how many of its documents */
    uint32_t digest;            /* of the source up to and with that record */
    int64_t documents, skipped; /* in all; records skipped before that one */
    struct mot_tally {
        int64_t documents, tokens, items, bytes;
        double seconds;
    } tally[MOT_MAX_MODALITIES]; /* documents with the modality; texts, pictures, sounds; bytes of text and of files */
};
void mot_mark_count(struct mot_mark *m, const struct mot_vocab *v, const struct mot_encoded *d);
struct mot_series_options {
    const char *path; /* OUT.mot; numbered: OUT-00000.mot, or %d or %05d in it is the number */
    int64_t size;     /* not 0: numbered, and a shard of more than one document has at most so many bytes */
    bool twin;        /* the validation twin: OUT.val.mot, OUT.val-00000.mot */
    bool compress, resume;
    const char *job; /* what must be equal for a job to be resumed, in words */
};
struct mot_series;
/* resume: whole numbered shards that are there, from number 0 on, are kept, and the mark is theirs. */
struct mot_series *mot_series_open(const struct mot_vocab *v, const struct mot_series_options *o) MOT_CHECKED;
const struct mot_mark *mot_series_mark(const struct mot_series *s); /* owned by s */
int64_t mot_series_shards(const struct mot_series *s);              /* whole ones */
const char *mot_series_name(struct mot_series *s, int64_t number); /* of a shard; owned by s until the next call */
/* Open the first shard, unless there are any. */
int mot_series_begin(struct mot_series *s) MOT_CHECKED;
/* Documents come in order; those that are there already are passed over. skipped: records skipped so far. */
int mot_series_add(struct mot_series *s, const struct mot_encoded *d, int64_t skipped) MOT_CHECKED;
int mot_series_commit(struct mot_series *s) MOT_CHECKED;
void mot_series_close(struct mot_series *s); /* drops the open shard; whole ones stay */

/* Documents as files of llm.c (tokens_write.c): each behind a separator, without bos and eos. */
struct mot_tokens_options {
    const char *path;   /* OUT.bin; numbered: OUT-00000.bin, or %d or %05d in it is the number */
    int64_t size;       /* not 0: numbered, and a file of more than one document has at most so many bytes */
    bool wide;          /* ids of 4 bytes, as for Llama 3; else of 2, as for GPT-2 */
    bool has_separator; /* else eos for 2 bytes and bos for 4, or the other where there is but one */
    int32_t separator;
};
struct mot_tokens_writer;
struct mot_tokens_writer *mot_tokens_create(const struct mot_vocab *v, const struct mot_tokens_options *o) MOT_CHECKED;
int mot_tokens_add(struct mot_tokens_writer *w, const struct mot_doc *d) MOT_CHECKED;
/* Documents with the separator among their ids, which will be taken for several. */
int64_t mot_tokens_ambiguous(const struct mot_tokens_writer *w);
int mot_tokens_commit(struct mot_tokens_writer *w) MOT_CHECKED; /* frees w in either case */
void mot_tokens_abort(struct mot_tokens_writer *w);

/* Span i of d without the delimiters at its ends that mot_doc_encode put there; n may become 0. */
struct mot_span mot_doc_part(const struct mot_vocab *v, const struct mot_doc *d, int i, bool raw);
/* Append {"segments":[{"modality":"text","ids":[..]},..],"bytes":n} and a newline; a picture of vectors is
 * {"modality":"image","rows":2,"columns":3,"vectors":[[..],..]}, in decimals that give back the same values. */
int mot_doc_format(const struct mot_vocab *v, const struct mot_doc *d, struct mot_bytes *out) MOT_CHECKED;
/* The inverse: append the ids of such a line to out, each checked to be of its modality, and its pictures of vectors, rounded
 * to binary16, to latents; name is for messages. */
int mot_doc_parse(const struct mot_vocab *v, const char *name, const void *line, size_t n, struct mot_ids *out,
                  struct mot_latents *latents, int64_t *text_bytes) MOT_CHECKED;
/* The values of span i's vectors; where its tokens are ids alone, they are none. */
const uint16_t *mot_doc_vectors(const struct mot_vocab *v, const struct mot_doc *d, int i);
/* Has token i of a document a loss: it is a patch, or it is predicted from the token before it, which is none? */
bool mot_has_loss(const struct mot_vocab *v, const int32_t *id, int64_t i);
/* Does the picture of span i stand before its caption: text, beyond special tokens, follows it and none comes before? */
bool mot_doc_leads(const struct mot_vocab *v, const struct mot_doc *d, int i);

/* -- batches: documents packed into sequences (loader.c) -- */
/* Rows in sequence order: row i holds token id[i], whose successor in its document is target[i].  Pieces are runs of rows
 * that see each other; a document longer than `seq` is cut into pieces, but neither within a picture of vectors nor between it
 * and its <|boi|>: the piece then ends before, and its sequence with it.  Nothing is padded.  A document's last token has no
 * row, as it predicts nothing, unless it stands for a vector: then it is its own target. */
struct mot_picture { /* of vectors: rows [begin, begin + n) */
    int64_t begin, n;
    int32_t rows, columns;
    int64_t latent; /* where its values begin among the batch's */
    bool leads; /* text, beyond special tokens, follows it in its document and none comes before: it stands before its caption */
};
struct mot_batch {
    int64_t n, capacity;
    int32_t *id, *target;
    int64_t n_pieces, piece_capacity;
    int64_t *piece; /* begin of each piece; piece[n_pieces] == n */
    int64_t n_pictures, picture_capacity;
    struct mot_picture *picture; /* in order */
    int64_t n_latent, latent_capacity; /* values */
    uint16_t *latent; /* of all pictures; values of binary16 */
};
void mot_batch_free(struct mot_batch *b);
void mot_batch_clear(struct mot_batch *b); /* nothing in it, memory kept */
struct mot_rows {
    int64_t n, patches, pictures; /* patches of pictures of vectors are rows too, which the head does not see */
    double pairs;
};
/* What a model has to do for it: rows, patches, and pairs of query and key, where pictures of vectors see all of themselves. */
struct mot_rows mot_batch_rows(const struct mot_batch *b);
/* Append one piece: n rows with ids id[0..n) and targets id[1..n]. */
int mot_batch_add(struct mot_batch *b, const int32_t *id, int64_t n) MOT_CHECKED;
/* Append a picture, whose rows are or will be there; p->latent is set by this: the n values are copied. */
int mot_batch_add_picture(struct mot_batch *b, const struct mot_picture *p, const uint16_t *value, int64_t n) MOT_CHECKED;

struct mot_loader_options {
    int64_t batch, seq;       /* a batch has batch * seq rows: `batch` sequences of seq rows; fewer where pictures of vectors
                                 did not fit what was left of a sequence */
    int64_t shuffle;          /* tokens in the shuffling buffer; 0: documents in file order */
    uint64_t seed;
    bool repeat;              /* start over at the end; each pass in another order */
    bool keep_going;
};
/* Where a loader stands; what a checkpoint stores. */
struct mot_position {
    int64_t epoch, documents, offset; /* documents drawn in this pass; rows used of the last one drawn */
};
struct mot_loader;
/* Shards ("-": standard input, which cannot repeat) with the vocabulary v; ids of another are an error. */
struct mot_loader *mot_loader_open(const char *const *paths, int n, const struct mot_vocab *v,
                                   const struct mot_loader_options *o) MOT_CHECKED;
/* Refill b; b->n == 0 at the end of data that does not repeat (the last batch may be short). */
int mot_loader_next(struct mot_loader *l, struct mot_batch *b) MOT_CHECKED;
struct mot_position mot_loader_position(const struct mot_loader *l);
/* Go to a position that the same files gave: reads and passes over what comes before it in its pass. */
int mot_loader_seek(struct mot_loader *l, struct mot_position p) MOT_CHECKED;
void mot_loader_close(struct mot_loader *l);

/* ==== 4 the model (lib/model/) =================================================================== */

/* What can have a tower of its own; the order is the order of `tower_of` in mot-model(5). */
enum mot_component {
    MOT_ATTN_QKV,   /* q_proj, k_proj, v_proj */
    MOT_ATTN_O,     /* o_proj */
    MOT_ATTN_NORM,  /* input_layernorm */
    MOT_QK_NORM,    /* q_norm, k_norm */
    MOT_FFN,        /* gate_proj, up_proj, down_proj */
    MOT_FFN_NORM,   /* post_attention_layernorm */
    MOT_FINAL_NORM, /* model.norm */
    MOT_COMPONENTS
};
extern const char *const mot_component_names[MOT_COMPONENTS];

/* How RoPE's frequencies are stretched for longer sequences than a model was trained on first. */
enum mot_rope { MOT_ROPE_DEFAULT, MOT_ROPE_LINEAR, MOT_ROPE_LLAMA3 };
struct mot_rope_scaling {
    enum mot_rope type;
    double factor;                            /* linear, llama3 */
    double low_freq_factor, high_freq_factor; /* llama3 */
    int64_t original;                         /* llama3: original_max_position_embeddings */
};

/* The norm of q and k before RoPE: none; RMSNorm over head_dim with one weight for all heads (Qwen3); LayerNorm over head_dim
 * with a weight and a bias of its own for each head (Chameleon). */
enum mot_qk_norm { MOT_QK_NONE, MOT_QK_RMS, MOT_QK_LAYER };

/* What a model learns about pictures whose tokens are vectors (diffusion.c): each is shown with noise of some level. */
enum mot_objective {
    MOT_DDPM, /* to tell the noise (Ho et al. 2020), which grows by the cosine schedule (Nichol & Dhariwal 2021): Transfusion's */
    MOT_FLOW  /* rectified flow (Liu et al. 2022): to tell noise - picture; BAGEL's */
};
struct mot_diffusion {
    enum mot_objective objective;
    int64_t steps; /* DDPM: levels of noise */
    double shift;  /* FLOW: levels t are drawn as shift t / (1 + (shift - 1) t), t the logistic of a normal number */
};

/* The blocks of convolutions that pictures of vectors pass on their way in and out (unet.c). */
enum { MOT_MAX_UNET = 8 };
struct mot_unet {
    int64_t channels; /* of its blocks; 0: there is none, patches are projected as they are */
    int64_t blocks;   /* on either way, MOT_MAX_UNET at most */
    int64_t patch;    /* pixels (or latents) on a side of a patch; 0: as the vocabulary says */
};
/* "CHANNELS" or "CHANNELS,BLOCKS" (2); u->patch is left alone. */
int mot_unet_find(struct mot_unet *u, const char *text) MOT_CHECKED;

/* config.json (config.c): Hugging Face's keys and ours.  See mot-model(5). */
struct mot_config {
    int64_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim;
    int64_t vocab_size; /* 0: not given yet */
    int64_t max_position_embeddings;
    double rope_theta, rms_norm_eps, initializer_range, z_loss;
    struct mot_rope_scaling rope_scaling;
    bool tie_word_embeddings, attention_bias, attention_out_bias;
    enum mot_qk_norm qk_norm;
    bool norm_post; /* norm_placement "post": Algorithm 1 of the MoT paper */
    bool bf16;      /* torch_dtype of the weights' file */
    int n_modalities; /* 0: not given yet */
    char modality[MOT_MAX_MODALITIES][MOT_NAME_BYTES];
    int n_towers; /* 0: one a modality */
    char tower[MOT_MAX_MODALITIES][MOT_NAME_BYTES];
    int tower_of[MOT_COMPONENTS][MOT_MAX_MODALITIES];
    bool tower_of_given[MOT_COMPONENTS];
    double loss_weight[MOT_MAX_MODALITIES];
    bool loss_weights_given;
    int64_t latent_size[MOT_MAX_MODALITIES]; /* values of a token's vector; 0: tokens are ids. One modality at most has vectors */
    bool latent_sizes_given;
    struct mot_diffusion diffusion; /* of no meaning without vectors */
    struct mot_unet unet;           /* likewise */
};
/* A preset's name, a config.json or a folder that holds one. */
int mot_config_load(struct mot_config *c, const char *preset_or_path) MOT_CHECKED;
int mot_config_load_folder(struct mot_config *c, const char *folder) MOT_CHECKED; /* even one that is named like a preset */
/* The names of the presets, ended by NULL. */
const char *const *mot_preset_names(void);
/* Settle modalities and vocab_size from the vocabulary (v may be NULL), towers from arch ("dense", "mot" or NULL: as the
 * config says), and check everything; present and different is an error.  name is for messages. */
int mot_config_settle(struct mot_config *c, const char *name, const struct mot_vocab *v, const char *arch) MOT_CHECKED;
/* Write FOLDER/config.json.  like: a model folder whose keys of no meaning for what it computes (bos_token_id, ...) travel
 * along; NULL: none. */
int mot_config_save(const struct mot_config *c, const char *folder, const char *like) MOT_CHECKED;

/* Sizes of a settled config, without allocating it (table.c, size.c). */
struct mot_size {
    int64_t params_total, params_embedding; /* embedding: embed_tokens and lm_head */
    int64_t params_matrices;                /* without norms and biases, as the paper counts */
    int64_t params_active;                  /* used by one token, of any modality: what a dense model would have */
    int64_t params_tower[MOT_MAX_MODALITIES];
};
int mot_config_size(const struct mot_config *c, struct mot_size *s) MOT_CHECKED;
/* Floating-point operations of one forward pass: 2 a multiply-add, over the matrices actually multiplied by the rows (head
 * included, embedding look-up not) and attention over pairs of query and key.  Training takes three times as many. */
double mot_forward_flops(const struct mot_config *c, const struct mot_rows *rows);
/* What a training step does not keep for its backward pass and makes again there, to the last bit; the output of SwiGLU
 * always is.  LIGHT: the norms too; BLOCK: each layer but the last, from what enters it. */
enum mot_recompute { MOT_RECOMPUTE_NONE, MOT_RECOMPUTE_LIGHT, MOT_RECOMPUTE_BLOCK };
/* "none", "light" or "block". */
int mot_recompute_find(const char *name, enum mot_recompute *level) MOT_CHECKED;
/* The operations that this costs a step, counted as the forward pass is; in no other figure. */
double mot_recompute_flops(const struct mot_config *c, const struct mot_rows *rows, enum mot_recompute level);
/* Bytes that a model takes, by kind. */
struct mot_memory {
    size_t weights, gradients, optimizer, activations, workspace;
    size_t context; /* what a GPU's driver and libraries take, about; 0 on the CPU */
};
size_t mot_memory_total(const struct mot_memory *m);

/* ==== 5 training and scoring (lib/train/) ======================================================== */

/* -- scoring (score.c) -- */
struct mot_scorer;
/* A model folder, ready to score with its own vocabulary, or with v where the folder has none.  context: longest window, 0:
 * max_position_embeddings; stride: new targets a window when a document is longer, 0: half the context.  device: "cpu"
 * (NULL) or "cuda"; dtype: of the operands of matrix products, "f32" (NULL) or "bf16". */
struct mot_scorer *mot_scorer_open(const char *folder, const struct mot_vocab *v, int64_t context, int64_t stride,
                                   const char *device, const char *dtype, int threads) MOT_CHECKED;
const struct mot_vocab *mot_scorer_vocab(const struct mot_scorer *s);
/* At how many levels of noise each picture of vectors is scored, evenly spaced; at first 5. */
void mot_scorer_levels(struct mot_scorer *s, int levels);
/* The natural-log loss of each token given those before it in its document; of a token that stands for a vector, the mean squared
 * error of what is told about it, over the levels of noise.  NaN where there is none (mot_has_loss).  Texts see clean pictures.
 * Calls collect documents into batches; done(context, ids, nll, n) is called for each document, in order, at the latest by
 * flush. */
typedef void mot_scored(void *context, const int32_t *id, const float *nll, int64_t n);
int mot_scorer_add(struct mot_scorer *s, const struct mot_doc *d, mot_scored *done, void *context) MOT_CHECKED;
int mot_scorer_flush(struct mot_scorer *s) MOT_CHECKED;
void mot_scorer_close(struct mot_scorer *s);

/* -- training (trainer.c, checkpoint.c, schedule.c) -- */
enum mot_schedule { MOT_COSINE, MOT_LINEAR, MOT_CONSTANT };
struct mot_pattern { /* tensors by name: a shell pattern as of fnmatch(3) */
    const char *glob;
    double value; /* learning-rate factor; 0 freezes: no update, no decay, not counted in grad_norm */
};
#define MOT_NOISE_LIMIT 0.5
#define MOT_DROP 0.1
struct mot_train_options {
    const char *config;    /* preset, file or folder; NULL with resume: the run's own */
    const char *arch;      /* "dense", "mot" or NULL */
    const char *tokenizer; /* TOK; NULL with resume: the run's own */
    const char *run;       /* the folder to write */
    const char *init;      /* a model folder to start from, or NULL: random */
    const char *const *shards;
    int n_shards;
    const char *validation; /* a shard, or NULL */
    int64_t steps;          /* -1: one pass over the shards */
    int64_t batch, seq, accumulate, warmup, shuffle;
    double lr, min_lr, weight_decay, beta1, beta2, eps, clip;
    /* Of pictures of vectors: those before their captions stay below this level of noise of [0, 1], so that captions have
     * something to go by; and the share that is shown without what comes before, for guidance. */
    double noise_limit, drop; /* usually MOT_NOISE_LIMIT and MOT_DROP */
    const char *objective; /* "ddpm" or "flow", of a new run; NULL: as the config says */
    const char *unet;      /* as mot_unet_find reads it, of a new run; NULL: as the config says */
    enum mot_schedule schedule;
    const struct mot_pattern *patterns;
    int n_patterns;
    bool resume;
    const char *device, *dtype;
    enum mot_recompute recompute;
    int threads;
    uint64_t seed;
};
/* One step's figures.  Totals count from the run's first step, over resumes. */
struct mot_step {
    int64_t step, tokens;
    double flops, seconds;
    double lr, grad_norm, grad_norm_tower[MOT_MAX_MODALITIES], grad_norm_shared;
    double loss, z_loss; /* what was minimised is loss + z_loss */
    double loss_modality[MOT_MAX_MODALITIES]; /* mean over targets of that modality; NaN: there were none */
    int64_t targets[MOT_MAX_MODALITIES];
};
/* Losses over a whole shard, as mot-eval computes them. */
struct mot_losses {
    double all, modality[MOT_MAX_MODALITIES]; /* NaN: no tokens */
    int64_t tokens, targets[MOT_MAX_MODALITIES];
};
struct mot_trainer;
struct mot_trainer *mot_trainer_open(const struct mot_train_options *o) MOT_CHECKED;
/* What a run would take, without allocating it; of the FLOPs of a step those of recomputation apart. */
int mot_trainer_plan(const struct mot_train_options *o, struct mot_config *c, struct mot_size *size,
                     struct mot_memory *memory, double *flops_a_step, double *recomputed) MOT_CHECKED;
const struct mot_config *mot_trainer_config(const struct mot_trainer *t);
int64_t mot_trainer_steps(const struct mot_trainer *t);   /* to do in all */
int64_t mot_trainer_current(const struct mot_trainer *t); /* done */
/* What resume changed or found, one sentence a call, NULL when there is no more. */
const char *mot_trainer_notice(struct mot_trainer *t);
/* One step.  *done = true, and nothing else happened, when the data have ended.  A loss that is not finite is an error, found
 * before any weight has changed. */
int mot_trainer_step(struct mot_trainer *t, struct mot_step *s, bool *done) MOT_CHECKED;
int mot_trainer_validate(struct mot_trainer *t, struct mot_losses *l) MOT_CHECKED;
/* Append a line to RUN/log.jsonl. */
int mot_trainer_log(struct mot_trainer *t, const char *line) MOT_CHECKED;
/* Save weights, optimizer and position, each file atomically: RUN is a model folder at every moment. */
int mot_trainer_save(struct mot_trainer *t) MOT_CHECKED;
void mot_trainer_close(struct mot_trainer *t);

/* ==== 6 profiling (lib/profile/) ================================================================== */

/* -- what a config costs, without running it (cost.c; its head says what counts) -- */
struct mot_workload {
    int64_t batch, seq; /* sequences a step, tokens a sequence; 0: 8; max_position_embeddings, at most 4096 */
    int64_t document;   /* tokens of a document: sequences are cut into such, which do not see each other; 0: seq */
    double mix[MOT_MAX_MODALITIES]; /* share of each modality in the tokens; all 0: equal shares */
    enum mot_recompute recompute;   /* of training steps */
};
enum mot_cost_part {
    MOT_COST_EMBED, MOT_COST_ATTN_NORM, MOT_COST_QKV, MOT_COST_QK_NORM, MOT_COST_ATTENTION, MOT_COST_O,
    MOT_COST_FFN_NORM, MOT_COST_FFN, MOT_COST_FINAL_NORM, MOT_COST_HEAD, MOT_COST_PATCHES, MOT_COSTS
};
extern const char *const mot_cost_names[MOT_COSTS];
struct mot_cost {
    struct mot_size size;
    int64_t params[MOT_COSTS], params_active[MOT_COSTS]; /* of all towers; of those that one token passes */
    double forward[MOT_COSTS]; /* FLOPs of one token in the forward pass; the backward pass takes twice as many */
    double attention_full;     /* what forward[MOT_COST_ATTENTION] would be with every key seen by every query */
    double forward_tower[MOT_MAX_MODALITIES], forward_shared; /* the same by tower, over the mix; in all: forward_per_token */
    double forward_per_token, train_per_token;
};
/* Settles w (fills in what is 0, makes the mix sum to 1), then counts. */
int mot_cost_of(const struct mot_config *c, struct mot_workload *w, struct mot_cost *cost) MOT_CHECKED;
/* Bytes for a settled workload, by kind, with nothing allocated. */
int mot_cost_memory(const struct mot_config *c, const struct mot_workload *w, const char *device, const char *dtype,
                    int threads, bool train, struct mot_memory *memory) MOT_CHECKED;
/* How others count: the i-th convention, NULL past the last; and the training FLOPs of a token by its name. */
struct mot_convention {
    const char *name, *formula;
};
const struct mot_convention *mot_flops_convention(int i);
int mot_flops_by_convention(const char *name, const struct mot_config *c, const struct mot_workload *w,
                            const struct mot_cost *cost, double *train_per_token) MOT_CHECKED;

/* -- measuring (profiler.c, probe.c, trace.c, ceiling.c) -- */
/* The best rates of a device: matrix products in FLOP/s, and moving memory in bytes read plus bytes written a second. */
struct mot_ceiling {
    double gemm, bandwidth;
};
/* Takes a few seconds and 300 MB, or 3 GB of a GPU. */
int mot_ceiling_measure(const char *device, const char *dtype, int threads, struct mot_ceiling *c) MOT_CHECKED;

struct mot_profiler_options {
    struct mot_workload work;
    const char *device, *dtype;
    int threads;
    bool forward_only; /* scoring; else whole training steps */
    bool trace;        /* keep every operation for mot_profiler_trace */
    uint64_t seed;
};
struct mot_profiler;
/* A settled config with random weights on made-up tokens; v NULL: id ranges are made up too. */
struct mot_profiler *mot_profiler_open(const struct mot_config *c, const struct mot_vocab *v,
                                       const struct mot_profiler_options *o) MOT_CHECKED;
const struct mot_workload *mot_profiler_workload(const struct mot_profiler *p); /* settled; owned by p */
const struct mot_memory *mot_profiler_memory(const struct mot_profiler *p);     /* planned; owned by p */
int mot_profiler_threads(const struct mot_profiler *p);
double mot_profiler_flops(const struct mot_profiler *p); /* of one step, analytic */
double mot_profiler_recomputed(const struct mot_profiler *p); /* beside these */
/* The GPU that it runs on. */
struct mot_gpu {
    char name[128];             /* empty: none, the CPU */
    double memory;              /* bytes */
    double clock, memory_clock; /* Hz, now; 0: not known */
    double peak;                /* FLOP/s of its products of the dtype, by its data sheet; 0: not known */
};
void mot_profiler_gpu(struct mot_profiler *p, struct mot_gpu *g);
/* One step and the seconds it took; with record its operations are added to the rows. */
int mot_profiler_step(struct mot_profiler *p, bool record, double *seconds) MOT_CHECKED;
void mot_profiler_reset(struct mot_profiler *p); /* forget what was recorded */
/* Sums over the recorded steps. The last row, "(between)", is the time in no operation. */
struct mot_profile_row {
    const char *op, *direction;
    int64_t layer; /* -1: none */
    int tower;     /* -1: shared by all */
    int64_t calls;       /* each group of rows counts */
    double seconds;      /* of the clock; of an operation over several towers each one's share, by its workers' time */
    double busy;         /* of all workers together */
    double flops, bytes; /* counted from the calls; bytes if every array moved once */
};
int mot_profiler_rows(struct mot_profiler *p, const struct mot_profile_row **rows, int64_t *n) MOT_CHECKED; /* owned by p */
/* The recorded steps as a timeline for chrome://tracing or Perfetto. */
int mot_profiler_trace(const struct mot_profiler *p, const char *path) MOT_CHECKED;
void mot_profiler_close(struct mot_profiler *p);

/* -- step matching (match.c); logs of trainings (runlog.c) -- */
enum { MOT_STEPS, MOT_FLOPS, MOT_SECONDS, MOT_MEASURES }; /* what a training spends */
struct mot_runlog;
/* A log of mot-train, or of anything that writes such JSON Lines: a file, a run's folder, or "-": standard input.
 * validation: the losses val_loss and val_loss_NAME instead of loss and loss_NAME. */
struct mot_runlog *mot_runlog_open(const char *path, bool validation) MOT_CHECKED;
/* What was passed over or is missing, one sentence a call, NULL when there is no more. */
const char *mot_runlog_notice(struct mot_runlog *l);
/* The modalities that have losses; the loss over all tokens is "all", and last. */
int mot_runlog_modalities(const struct mot_runlog *l);
const char *mot_runlog_modality(const struct mot_runlog *l, int i); /* owned by l */
int mot_runlog_find(const struct mot_runlog *l, const char *modality); /* index, or -1 */
void mot_runlog_close(struct mot_runlog *l);

/* The loss of one modality along a training. */
struct mot_curve {
    int64_t n;
    double *raw, *loss;          /* as logged, and smoothed */
    double *spent[MOT_MEASURES]; /* when it was measured; NULL: the log does not tell; steps ascend */
    double share;                /* of the smoothing */
};
/* The curve, smoothed: at step t the mean over the steps in (t (1 - share), t]; share 0: as it is. */
int mot_curve_make(const struct mot_runlog *l, int modality, double share, struct mot_curve *c) MOT_CHECKED;
void mot_curve_free(struct mot_curve *c);

/* A loss that dense has for the first time, and what either run had spent when it first had it; NaN: never, or not known. */
struct mot_match_point {
    double loss, dense[MOT_MEASURES], other[MOT_MEASURES];
};
/* Slope of other's against dense's through the origin, and a confidence interval; NaN: there is none. */
struct mot_ratio {
    double slope, lo, hi;
};
struct mot_match {
    int64_t n, n_reached;
    struct mot_match_point *point;       /* losses fall; the other reached the first n_reached */
    struct mot_ratio ratio[MOT_MEASURES]; /* over these */
    double final;                         /* steps / dense's steps at dense's lowest loss; NaN: not reached */
    double reached;                       /* share of dense's steps whose losses the other reached */
    double dense_loss, other_loss;        /* the lowest of either */
};
/* Intervals come from a bootstrap of the noise in both curves, drawn by seed; from 5 points on. */
int mot_match_curves(const struct mot_curve *dense, const struct mot_curve *other, double confidence, uint64_t seed,
                     struct mot_match *r) MOT_CHECKED;
void mot_match_free(struct mot_match *r);

/* -- planning (scale.c; its head states the formulas) -- */
enum mot_sharding { MOT_REPLICATED, MOT_SHARD_OPTIMIZER, MOT_SHARD_GRADIENTS, MOT_SHARD_WEIGHTS }; /* each shards more */
struct mot_cluster {
    int64_t devices;
    double gemm, memory, link; /* of one device: FLOP/s in matrix products; bytes/s of its memory; bytes/s it sends */
    double latency;            /* seconds a message */
    double overlap;            /* share of the communication that can go on under the computation */
    bool bf16;                 /* weights and gradients in bf16, with an f32 master copy; else f32 */
    enum mot_sharding sharding;
};
/* Seconds and bytes of one rank. */
struct mot_forecast {
    double step, gemm, passes, communication, hidden; /* step = gemm + passes + communication - hidden */
    double sent;
    double weights, gradients, optimizer, activations, workspace, gathered, memory; /* memory: their sum */
    double tokens_per_second; /* of all devices */
    double utilization;       /* MFU against the rate `gemm` */
};
/* Settles w, a device's batch. */
int mot_scale(const struct mot_config *c, struct mot_workload *w, const struct mot_cluster *k,
              struct mot_forecast *f) MOT_CHECKED;

/* ==== 7 conversion (lib/convert/) ================================================================= */

enum mot_new_rows { MOT_ROWS_MEAN, MOT_ROWS_ZERO, MOT_ROWS_NORMAL };
struct mot_convert_options {
    const char *from, *to;   /* folders; `to` must not be there yet; NULL: only to be checked */
    const char *form;        /* what to write: "mot", "hf", "bagel", "kempner", "official" (family.c); NULL: as it is */
    const char *from_form;   /* what `from` is, or NULL: told by its tensors' names */
    const char *config;      /* config.json of `from`, or NULL: in it */
    const char *tokenizer;   /* codecs and their modalities come from this tokenizer folder; may be NULL */
    const char *modalities;  /* "text,image": the target's; NULL: the source's, then those added */
    const char *add_vocab;   /* "image=1024,speech=500": ids for modalities that have none; may be NULL */
    const char *drop_vocab;  /* "image": modalities whose ids and rows are left out; may be NULL */
    const char *copy;        /* a new tower starts as that of this modality; NULL: "text" */
    const char *random;      /* "image,speech" or "all": new towers that start at random instead; may be NULL */
    const char *untie;       /* "ffn,attn,norm" or components: what gets towers; NULL: everything */
    const char *unet;        /* as mot_unet_find reads it: a new U-Net around pictures of vectors, or "0"; NULL: as it is */
    const char *tower;       /* form "hf": the modality whose tower is taken; NULL: "text" */
    const char *dtype;       /* "f32", "f16" or "bf16"; NULL: as it is */
    enum mot_new_rows new_rows;
    int64_t shard_size;      /* bytes a file of weights may have; 0: one file */
    const char *const *allow_extra; /* shell patterns: tensors and config keys that may be left out */
    int n_allow_extra;
    const char *const *keep_extra; /* shell patterns: tensors that are no part of the model and travel along as they are */
    int n_keep_extra;
    bool only_model; /* tensors that are no part of the model are passed over: nothing is going to be written */
    uint64_t seed;
};
/* Called now and then with the bytes written and those to write; false stops the conversion. */
typedef bool mot_convert_progress(void *context, int64_t done, int64_t total);

struct mot_converter;
/* Read and check everything, write nothing. */
struct mot_converter *mot_converter_open(const struct mot_convert_options *o) MOT_CHECKED;
/* What stands against the conversion, and what is worth saying: a sentence a call, NULL when there is no more. */
const char *mot_converter_complaint(struct mot_converter *c);
const char *mot_converter_notice(struct mot_converter *c);
/* Write the folder: beside its place, then moved there whole; nothing is left after a failure.  Complaints: MOT_EFORMAT. */
int mot_converter_run(struct mot_converter *c, mot_convert_progress *progress, void *context) MOT_CHECKED;
void mot_converter_close(struct mot_converter *c);

/* A tensor of a file or folder. */
struct mot_tensor_info {
    const char *file, *name, *dtype, *tower; /* tower: NULL: shared, or no weight of a model described beside it */
    int rank;
    int64_t shape[8];
    size_t offset, bytes; /* in the file */
};
typedef void mot_tensor_sink(void *context, const struct mot_tensor_info *t);
int mot_list_tensors(const char *path, mot_tensor_sink *sink, void *context) MOT_CHECKED;
/* Read all there is: every rule of the format, every value finite, of a folder also names and shapes.  What is wrong is
 * handed over sentence by sentence. */
typedef void mot_sentence_sink(void *context, const char *sentence);
struct mot_check {
    int64_t files, tensors, values, wrong;
};
int mot_check_tensors(const char *path, mot_sentence_sink *sink, mot_convert_progress *progress, void *context,
                      struct mot_check *out) MOT_CHECKED;

/* Two model folders of any form on the same random ids, of those that both have; and, where both have pictures of vectors of one
 * size, on a picture of noise.  One is in memory at a time. */
struct mot_difference {
    int64_t tokens, ids, text_ids; /* rows compared, and the ids whose logits were */
    double logit, nll;             /* largest absolute difference; nll among the ids compared */
    double largest;                /* the largest absolute logit, to compare with */
    int64_t patches;               /* of the picture; 0: none, for not both have such */
    double told, largest_told;     /* the largest absolute difference of what is told about it, and what is told */
};
int mot_compare_models(const char *a, const char *b, int64_t tokens, uint64_t seed, int threads,
                       struct mot_difference *d) MOT_CHECKED;

/* ==== 8 generation (lib/generate/) ============================================================== */

/* How the tokens of a modality are drawn. */
struct mot_sampling {
    double temperature; /* 0: the most probable one */
    int64_t top_k;      /* only among that many of the most probable; 0: all */
    double top_p;       /* only among the most probable ones that make up this share; 1: all */
    double min_p;       /* only among those at least so many times as probable as the first; 0: all */
};
/* How a picture of vectors is made of noise: `steps` levels of it are passed. */
enum mot_sample {
    MOT_SAMPLE_USUAL,     /* DDIM or Euler, as the model was trained for DDPM or flow */
    MOT_SAMPLE_ANCESTRAL, /* DDPM's, with noise of its own at each step; only for DDPM */
    MOT_SAMPLE_DDIM,      /* only for DDPM */
    MOT_SAMPLE_EULER,     /* only for flow */
    MOT_SAMPLE_MIDPOINT   /* only for flow; two evaluations a step */
};
struct mot_painting {
    enum mot_sample sampler;
    int steps;
    double guidance; /* how far what is told goes from what would be told without all that came before; 1: as it is */
    double clip;     /* a picture's values have no larger size; 0: they may, < 0: as the codec says */
};
/* A document, n tokens of which the first `prompt` were given, and its pictures of vectors. */
typedef void mot_generated(void *context, int64_t document, int sample, const int32_t *id, int64_t n,
                           const struct mot_latents *pictures, int64_t prompt);
struct mot_generate_options {
    int64_t max_tokens;   /* new ones a document; a picture that would not fit does not begin */
    int batch, samples;   /* sequences at a time; documents for each prompt */
    double guidance;      /* of pictures: how far the logits go from those without all that came before; 1: as they are */
    const char *force;    /* "text", "image", "speech": the kind of segment to begin with, behind what the prompt ends in; NULL: any */
    int64_t image_tokens; /* a picture has; 0: as the folder's codec says */
    struct mot_painting painting; /* of pictures of vectors; its guidance is the one above */
    const char *device, *dtype; /* NULL: "cpu", "f32" */
    int threads;
    uint64_t seed;
    mot_generated *done;  /* a document is complete; in the order of the prompts */
    mot_generated *token; /* it has one more token, or a whole picture of vectors with its end; may be NULL */
    void *context;
};
struct mot_generator;
/* A model folder.  expect: the vocabulary of the prompts, which must be the folder's; may be NULL.  Strings of o are borrowed.
 * What is generated depends on weights, prompts, seed and sampling, not on batch or threads. */
struct mot_generator *mot_generator_open(const char *folder, const struct mot_vocab *expect,
                                         const struct mot_generate_options *o) MOT_CHECKED;
/* To be set before the first prompt; at first temperature 1 and all tokens.  NULL: there is no such modality. */
struct mot_sampling *mot_generator_sampling(struct mot_generator *g, const char *modality);
const struct mot_vocab *mot_generator_vocab(const struct mot_generator *g);
/* A prompt: a document, whose end is left off; without tokens: what begins one. */
int mot_generator_add(struct mot_generator *g, const struct mot_doc *d) MOT_CHECKED;
int mot_generator_flush(struct mot_generator *g) MOT_CHECKED; /* finish all */
int64_t mot_generator_tokens(const struct mot_generator *g);  /* generated so far */
void mot_generator_close(struct mot_generator *g);

/* ==== 9 metrics (lib/eval/) ======================================================================= */

/* -- one modality given all else (condition.c) -- */
/* A document whose parts of one modality come after all others, each part between the delimiters that it had, bos and eos
 * where they were.  Zero-initialise; free with mot_conditional_free. */
struct mot_conditional {
    struct mot_doc doc; /* n = 0: it has not both, that modality and another one */
    int64_t begin, end; /* its parts, and what stands around them; of their own tokens mot_vocab_modality tells */
    struct mot_ids ids; /* what doc is made of; private */
    struct mot_latents latents;
    struct mot_span *span;
    int64_t span_capacity;
};
/* What out held is dropped. */
int mot_doc_condition(const struct mot_vocab *v, const struct mot_doc *d, int modality, struct mot_conditional *out) MOT_CHECKED;
void mot_conditional_free(struct mot_conditional *c);

/* -- confidence intervals (bootstrap.c) -- */
/* A figure of n units; pick[i] is which unit stands in the i-th place, some stand in several.  NaN: there is none.  Several
 * threads may call it at once. */
typedef double mot_figure(const void *context, const int64_t *pick, int64_t n);
struct mot_bootstrap {
    int64_t n;
    int64_t first; /* units [0, first) are one sample and [first, n) another one; 0: all are one */
    mot_figure *figure;
    const void *context;
    int resamples;
    double confidence; /* 0.95 */
    uint64_t seed;
    int threads; /* 0: all cores; the result does not depend on it */
};
struct mot_interval {
    double lo, hi; /* NaN: nothing to tell, as of a single unit */
};
/* value: the figure of the units as they are. */
int mot_bootstrap(const struct mot_bootstrap *b, double value, struct mot_interval *out) MOT_CHECKED;

/* -- captions against reference texts (captions.c, whose head states the formulas; words.c: what words are) -- */
enum mot_caption_metric { MOT_BLEU_1, MOT_BLEU_2, MOT_BLEU_3, MOT_BLEU_4, MOT_CIDER, MOT_CAPTION_METRICS };
struct mot_captions;
/* Files of lines {"id":"..","text":".."} (a number as id, and COCO's "image_id" and "caption", will do too) or ID<TAB>TEXT; "-" is
 * standard input.  Each candidate needs references of its id, and has an id of its own.  plain: texts are words with spaces
 * between them already. */
struct mot_captions *mot_captions_open(const char *candidates, const char *const *references, int n, bool plain) MOT_CHECKED;
int64_t mot_captions_count(const struct mot_captions *c);  /* candidates */
int64_t mot_captions_unused(const struct mot_captions *c); /* ids that only references have; they count for nothing */
/* Over the candidates picked, or, where pick is NULL, over all.  BLEU of 0 to 1; CIDEr-D of 0 to 10, NaN of a single candidate:
 * it weighs words by how few pictures have them. */
double mot_captions_figure(const struct mot_captions *c, enum mot_caption_metric metric, const int64_t *pick, int64_t n);
void mot_captions_close(struct mot_captions *c);

/* -- sets of pictures, by features of each (eye.c, whose head says which), and how far apart two are (frechet.c) -- */
struct mot_eye;
/* What sees statistics of the patches of t's codec, t being borrowed; or, where `inception` names a file, the features of that
 * InceptionV3 (inception.c), on the CPU, and t may be NULL. */
struct mot_eye *mot_eye_open(struct mot_tokenizer *t, const char *inception, int threads) MOT_CHECKED;
void mot_eye_close(struct mot_eye *e);
/* A growing set of pictures, all seen by one eye.  Zero-initialise; free with mot_gallery_free. */
struct mot_gallery {
    int64_t n, capacity;
    int d;          /* features of a picture */
    float *feature; /* (n, d) */
};
int mot_gallery_add(struct mot_gallery *g, struct mot_eye *e, const struct mot_image *im) MOT_CHECKED;
void mot_gallery_free(struct mot_gallery *g);
/* The Frechet distance (squared, as FID is) of two sets of two pictures or more, or, where pick is not NULL, of a->n and then
 * b->n pictures picked, b's counted from a->n on. */
int mot_frechet(const struct mot_gallery *a, const struct mot_gallery *b, const int64_t *pick, double *out) MOT_CHECKED;

/* -- pictures against captions (clip.c) -- */
struct mot_clip;
/* A CLIPModel of transformers: its .safetensors file (or .index.json), in a folder with config.json and tokenizer.json; or that
 * folder.  On the CPU. */
struct mot_clip *mot_clip_open(const char *path, int threads) MOT_CHECKED;
int mot_clip_width(const struct mot_clip *c);
/* What it makes of a picture, and of a text: vectors of length 1, whose product is the cosine.  A text of more tokens than it takes
 * is cut. */
int mot_clip_picture(struct mot_clip *c, const struct mot_image *im, float *out) MOT_CHECKED;
int mot_clip_text(struct mot_clip *c, const void *text, size_t n, float *out) MOT_CHECKED;
void mot_clip_close(struct mot_clip *c);

#ifdef __cplusplus
}
#endif
#endif
