/* SPDX-License-Identifier: MIT
 *
 * tokenize.h - the parts of mot-tokenize, a file each, and what they share.
 */
#ifndef MOT_TOOL_TOKENIZE_H
#define MOT_TOOL_TOKENIZE_H

#include "mot.h"
#include "tool.h"

enum tokenize_mode { ENCODE, LEARN, DECODE, DUMP, PACK, INFO, CHECK, EXPORT };

enum { TOKENIZE_MOST_TOKENIZERS = 16 };
struct tokenize_options {
    enum tokenize_mode mode;
    const char *tokenizer; /* the last -t */
    const char *tokenizers[TOKENIZE_MOST_TOKENIZERS]; /* all of them, for --quality */
    int n_tokenizers;
    bool quality;
    const char *output, *format, *report, *export, *device;
    bool strict, compress, keep_going, json, resume, skip_special;
    int64_t shard_size;
    int32_t separator; /* -1: as the vocabulary says */
    struct mot_encode_options encode;
    struct mot_learn_options learn;
    const char *const *input;
    int n_inputs;
};

/* What there is to do; each ends the program on failure. */
void tokenize_learn(struct tokenize_options *o);
void tokenize_encode(const struct tokenize_options *o);
void tokenize_pack(const struct tokenize_options *o);
void tokenize_dump(const struct tokenize_options *o);
void tokenize_info(const struct tokenize_options *o);
void tokenize_quality(const struct tokenize_options *o);
void tokenize_check(const struct tokenize_options *o);
void tokenize_export(const struct tokenize_options *o);
void tokenize_decode(const struct tokenize_options *o);

/* ---- reading sources (tokenize_input.c) ---- */

enum { TOKENIZE_REASONS = 32, TOKENIZE_REASON_BYTES = 160 };
struct tokenize_skips {
    int64_t n; /* records, those of an earlier part of a resumed job among them */
    int n_reasons;
    struct {
        char text[TOKENIZE_REASON_BYTES];
        int64_t n;
    } reason[TOKENIZE_REASONS]; /* what the sentences have in common, and how many */
};
/* A record is skipped; a few are told one by one, so that a folder of another kind of files does not flood the terminal. */
void tokenize_skip(void *skips, const char *sentence);
/* A tokenizer folder, its nets where --device says; NULL: it cannot be used. */
struct mot_tokenizer *tokenize_open(const struct tokenize_options *o, const char *folder);
/* What separates documents in files of llm.c: as asked for, or -1: the vocabulary says it; a tokenizer.json alone names no begin
 * and end, then it is the usual token. */
int32_t tokenize_separator(const struct tokenize_options *o, struct mot_tokenizer *t);
/* t may be NULL: no files of tokens then. */
struct mot_source *tokenize_open_source(const struct tokenize_options *o, struct mot_tokenizer *t, struct tokenize_skips *s);
const struct mot_record *tokenize_next_record(struct mot_source *s); /* NULL: there are no more */
void tokenize_show_progress(struct tool_progress *p, const struct mot_source *s);

/* ---- what was done (tokenize_report.c) ---- */

/* A stream of documents, in words; label may be NULL. */
void tokenize_report(const char *label, const struct mot_mark *m, const struct mot_vocab *v, int64_t skipped);
void tokenize_report_skips(const struct tokenize_skips *s, const struct mot_source *source);
/* All of it as JSON; validation may be NULL. */
void tokenize_report_json(const char *path, const struct mot_mark *train, const struct mot_mark *validation,
                          const struct mot_vocab *v, const struct tokenize_skips *s, const struct mot_source *source);

/* ---- reading shards (tokenize_shards.c) ---- */

typedef void tokenize_document(void *context, const struct mot_vocab *v, const struct mot_doc *d);
/* Hand over each document.  A shard that fails ends the program: what was written may not pass for the whole.  *v, unless
 * NULL, becomes its vocabulary.  False: it could not be opened, and --keep-going goes on with the next. */
bool tokenize_read_shard(const struct tokenize_options *o, const char *path, const struct mot_vocab *expect,
                         tokenize_document *handle, void *context, struct mot_vocab *v);
/* The vocabulary that shards must have: that of -t, or any. */
const struct mot_vocab *tokenize_expected(const struct tokenize_options *o);
void tokenize_put(const void *data, size_t n); /* to standard output */
const char *tokenize_spoken(const char *path); /* "-" is standard input */

#endif
