/* SPDX-License-Identifier: MIT
 *
 * token.h - what the files of lib/token share: the parts of a text tokenizer, in the order in which
 * text passes through them, and the checks of a tokenizer folder.
 *
 * A text tokenizer is an immutable struct mot_text (any number of threads may use one) and, for
 * each thread, a struct mot_text_state with its cache and scratch memory.
 */
#ifndef MOT_TOKEN_H
#define MOT_TOKEN_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "../base/base.h"
#include "../base/json.h"
#include "codec.h"

/* -- the folder's vocabulary (vocab.c) -- */
/* No such file comes near these sizes. */
enum { MOT_TOKENIZER_LIMIT = 1 << 28 };

/* A folder's vocab.json, read; *j = NULL where there is none, or only a foreign one of that name. */
int mot_vocab_own(const char *folder, json_t **j) MOT_CHECKED;
int mot_vocab_read(struct mot_vocab *v, const char *folder, const json_t *own) MOT_CHECKED;
/* Fill v->digest from v's ranges and special ids and from the files that its modalities name. */
int mot_vocab_seal(struct mot_vocab *v, const char *folder) MOT_CHECKED;
/* The text-only vocabulary of a folder without vocab.json; tokenizer is its tokenizer.json, read. */
int mot_vocab_foreign(struct mot_vocab *v, const char *folder, const json_t *tokenizer) MOT_CHECKED;
/* The largest id that tokenizer.json gives, and the id of a token by its text (-1: none). */
int mot_vocab_largest(const json_t *tokenizer, const char *folder, int64_t *largest) MOT_CHECKED;
int32_t mot_vocab_id(const json_t *tokenizer, const char *text);

/* Copy what other programs keep beside tokenizer.json, as far as it is there. */
int mot_copy_companions(const char *from, const char *to) MOT_CHECKED;

/* The tokenizer.json of folder `from` to folder `to`, with the delimiters as tokens; *v becomes its text-only vocabulary,
 * id (n) the delimiters'.  (adopt.c) */
int mot_adopt_check(const char *from, const char *to) MOT_CHECKED; /* before anything is written */
int mot_adopt_text(const char *from, const char *to, const char *const *delimiter, int n, struct mot_vocab *v,
                   int32_t *id) MOT_CHECKED;

/* -- a folder's codecs (tokenizer.c) -- */
/* What a modality's codec is, in words; false: it has none. */
bool mot_tokenizer_describe(const struct mot_tokenizer *t, int modality, char *text, size_t n);
bool mot_tokenizer_decodes(const struct mot_tokenizer *t, int modality);
int mot_tokenizer_patch(const struct mot_tokenizer *t) MOT_CHECKED; /* pixels across a picture's patch; 0 after mot_fail */

/* -- UTF-8 and Unicode (unicode.c) -- */
/* How many of the n bytes are valid UTF-8, from the start. */
size_t mot_utf8_valid(const unsigned char *s, size_t n);
/* The character at s, which is valid UTF-8; *size is its bytes. */
int32_t mot_utf8_get(const unsigned char *s, int *size);
int mot_utf8_put(unsigned char out[4], int32_t c); /* returns the bytes */
enum mot_normal_form { MOT_NFC, MOT_NFD, MOT_NFKC, MOT_NFKD };
/* Append the normal form of valid UTF-8. */
int mot_normal_form(enum mot_normal_form form, const unsigned char *s, size_t n,
                    struct mot_bytes *out) MOT_CHECKED;

/* -- classes of characters (classes.c) -- */
struct mot_newer {
    char name[12]; /* of a general category or a script */
    int32_t lo, hi;
};
extern const struct mot_newer mot_newer[]; /* ends with an empty name */
bool mot_is_space(int32_t c);              /* White_Space */
bool mot_is_word(int32_t c);               /* letter, mark, digit, connector */
bool mot_is_numeric(int32_t c);
bool mot_is_punctuation(int32_t c);    /* ASCII's symbols too */
bool mot_is_mark(int32_t c);           /* combining */
bool mot_is_nonspacing(int32_t c);     /* combining, and takes no room */
bool mot_is_control(int32_t c);        /* control, format and private characters, but tab and the ends of lines */
int mot_lower(int32_t c, int32_t out[3]); /* its small form; returns how many characters that is */

/* -- patterns (regex.c) -- */
/* The first match at or after from; leaves *begin and *end where there is none. */
typedef void mot_find(const unsigned char *text, size_t n, size_t from, size_t *begin, size_t *end);
/* The end of the match at from where that is quickly told, 0 where it is not: then the pattern tells it. */
typedef size_t mot_quick(const unsigned char *text, size_t n, size_t from);
struct mot_regex {
    pcre2_code *code;
    bool jit;
    mot_quick *quick; /* for some well-known patterns, else NULL */
    char *literal; /* where not NULL, a plain string instead */
    size_t literal_n;
    mot_find *find; /* where not NULL, a function instead */
};
/* What matching needs beside the pattern; one a thread. */
struct mot_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};
/* Append the pattern in PCRE2's language; what cannot be said in it is an error. (pattern.c) */
int mot_pattern_translate(const char *name, const char *pattern, size_t n, struct mot_bytes *out) MOT_CHECKED;
/* name is the file's, for messages. */
int mot_regex_compile(struct mot_regex *r, const char *name, const char *pattern,
                      size_t n) MOT_CHECKED;
int mot_regex_literal(struct mot_regex *r, const char *text, size_t n) MOT_CHECKED;
void mot_regex_hand(struct mot_regex *r, mot_find *find);
/* What is quick for a pattern, or NULL. (quick.c) */
mot_quick *mot_quick_for(const char *pattern, size_t n);
/* One character of a class, and a run of word characters or of neither those nor spaces. */
mot_find mot_find_numeric, mot_find_punctuation, mot_find_space, mot_find_word;
void mot_regex_free(struct mot_regex *r);
int mot_matcher_init(struct mot_matcher *m) MOT_CHECKED;
void mot_matcher_free(struct mot_matcher *m);
/* The first match at or after `from` in valid UTF-8; *begin = SIZE_MAX: there is none. */
int mot_regex_find(const struct mot_regex *r, struct mot_matcher *m, const unsigned char *text,
                   size_t n, size_t from, size_t *begin, size_t *end) MOT_CHECKED;

/* -- byte-pair encoding (bpe.c) -- */
/* Ids from strings: open addressing; a slot holds id + 1, 0 is empty. */
struct mot_bpe_index {
    uint32_t *slot;
    uint32_t mask;
};
struct mot_bpe_string {
    uint32_t begin, n; /* in the blob */
};
struct mot_bpe_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty */
    int32_t rank, id;
};
struct mot_bpe {
    bool bytes;         /* byte-level: each letter stands for a byte; else symbols are characters */
    bool byte_fallback; /* characters without an id become <0xHH> tokens, where those exist */
    bool fuse_unknown, ignore_merges;
    /* "", or what characters but the first, and the last one of a piece, have in a token's text; owned elsewhere. */
    const char *prefix, *suffix;
    int32_t unknown; /* id for a character without one, -1: such a character is dropped */

    int32_t n; /* ids are in [0, n); some may be unused */
    struct mot_bytes blob;
    struct mot_bpe_string *text; /* (n) as in the file; begin = UINT32_MAX: unused id */
    struct mot_bpe_string *raw;  /* (n) the bytes it stands for; same as text unless byte-level */
    struct mot_bpe_index by_text, by_raw;
    struct mot_bpe_merge *merge; /* open addressing by pair */
    uint64_t merge_mask;
    int64_t n_merges;
    uint64_t *maybe; /* a bit for each of many hash values of pairs, 0: none has a merge; it fits a processor's cache */
    int maybe_shift;

    int32_t byte[256];   /* byte-level: id of each byte, fallback: id of <0xHH>; -1: none */
    uint32_t *character; /* id + 1 of each character (0x110000), NULL when byte-level */
    uint64_t *no_cut;    /* a bit a character: 1 where it stands before U+2581 in a token; bpe.c */
};
/* Scratch and cache of one thread. */
struct mot_bpe_state {
    int64_t capacity; /* of the arrays below */
    int32_t *symbol, *rank, *next, *before;
    uint64_t *heap;
    struct mot_bpe_cached *cache;
    unsigned char *cache_bytes;
    int32_t *cache_ids;
    uint32_t n_cached, n_cache_bytes, n_cache_ids;
    struct mot_bytes key; /* a token's text */
};
/* Build: begin with the number of ids, then tokens, index, merges in order of rank, finish. */
int mot_bpe_begin(struct mot_bpe *b, int32_t n, int64_t merges) MOT_CHECKED;
int mot_bpe_token(struct mot_bpe *b, int32_t id, const char *text, size_t n) MOT_CHECKED;
int mot_bpe_make_index(struct mot_bpe *b) MOT_CHECKED;
/* A pair given twice keeps the later rank, as `tokenizers` does. */
void mot_bpe_add_merge(struct mot_bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id);
int mot_bpe_finish(struct mot_bpe *b) MOT_CHECKED;
void mot_bpe_free(struct mot_bpe *b);
int32_t mot_bpe_find(const struct mot_bpe *b, const char *text, size_t n); /* by text; -1: none */
/* A token's string, and the bytes it stands for; NULL: the id is not used. */
const unsigned char *mot_bpe_text(const struct mot_bpe *b, int32_t id, size_t *n);
const unsigned char *mot_bpe_raw(const struct mot_bpe *b, int32_t id, size_t *n);

int mot_bpe_state_init(struct mot_bpe_state *s) MOT_CHECKED;
void mot_bpe_state_free(struct mot_bpe_state *s);
/* Append the ids of one piece; valid says whether it is UTF-8. */
int mot_bpe_encode(const struct mot_bpe *b, struct mot_bpe_state *s, const unsigned char *p,
                   size_t n, bool valid, struct mot_ids *out) MOT_CHECKED;

/* -- byte-level letters (letters.c) -- */
/* The character that stands for a byte, and the byte of a character or -1. */
int32_t mot_byte_letter(int byte);
int mot_letter_byte(int32_t c);
int mot_letters_of_bytes(const unsigned char *p, size_t n, struct mot_bytes *out) MOT_CHECKED; /* appends */
/* Append the bytes a byte-level string stands for; with other letters in it, it stands for itself. */
int mot_bytes_of_letters(const unsigned char *s, size_t n, struct mot_bytes *out,
                         bool *all) MOT_CHECKED;

/* -- the whole way of text, as tokenizer.json describes it: text.c to ids, decode.c back -- */
enum mot_text_step_kind {
    MOT_STEP_FORM,      /* normalizer: Unicode normal form `form` */
    MOT_STEP_PREPEND,   /* normalizer: `with` before a text that is not empty */
    MOT_STEP_REPLACE,   /* normalizer, decoder: each match becomes `with` */
    MOT_STEP_STRIP,     /* normalizer: white space off the `left` and `right` end */
    MOT_STEP_MAP,       /* normalizer: each character by `map` */
    MOT_STEP_SPLIT,     /* pre-tokenizer: cut at matches */
    MOT_STEP_SPACE,     /* pre-tokenizer: a space before a piece that has none */
    MOT_STEP_METASPACE, /* pre-tokenizer: spaces become `with`, one may come first; decoder: back */
    MOT_STEP_LETTERS,   /* normalizer, pre-tokenizer: bytes become byte-level letters */
    MOT_STEP_BYTES,     /* decoder: byte-level letters to bytes */
    MOT_STEP_SUFFIX,    /* decoder: `with` becomes a space, in the last string nothing */
    MOT_STEP_FALLBACK,  /* decoder: <0xHH> to bytes */
    MOT_STEP_FUSE,      /* decoder: all strings become one */
    MOT_STEP_TRIM,      /* decoder: up to `left` and `right` times `with` off each string's ends */
};
enum mot_behavior { MOT_REMOVED, MOT_ISOLATED, MOT_WITH_PREVIOUS, MOT_WITH_NEXT, MOT_CONTIGUOUS };
enum mot_prepend { MOT_NEVER, MOT_FIRST, MOT_ALWAYS };
/* What a character becomes; returns how many characters that is, 0 to 3. */
typedef int mot_map(int32_t c, int32_t out[3]);
struct mot_text_step {
    enum mot_text_step_kind kind;
    mot_map *map;
    enum mot_normal_form form;
    struct mot_regex regex;
    enum mot_behavior behavior;
    bool invert;
    enum mot_prepend prepend;
    char *with;
    size_t with_n;
    int64_t left, right;
};
enum { MOT_MAX_STEPS = 32 };

struct mot_added {
    char *text;
    size_t n;
    struct mot_bytes normal; /* what the normalizers make of it, where it is `normalized` */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};
/* Added tokens by their text, for the longest match at a place; a node's children are a list. */
struct mot_trie {
    struct mot_trie_node {
        unsigned char byte;
        int32_t child, sibling, token; /* token: index in added; -1: none */
    } * node;                          /* node 0 is the root */
    int64_t n, capacity;
    bool starts[256];
    int only; /* the one byte that all tokens start with, -1: there are several */
};
struct mot_text {
    char *name; /* the file's, for messages */
    bool letters; /* the model sees byte-level letters, not bytes: steps come between */
    char *prefix, *suffix;
    struct mot_bpe bpe;
    int n_normal, n_split, n_decode; /* steps */
    struct mot_text_step normal[MOT_MAX_STEPS], split[MOT_MAX_STEPS], decode[MOT_MAX_STEPS];
    bool joined;   /* decoding without a decoder: tokens with spaces between */
    int32_t n_ids; /* ids of the model and of added tokens are below */
    int32_t n_added;
    struct mot_added *added;
    int32_t *added_of;                 /* (n_ids) index in added, -1: none */
    struct mot_trie plain, normalized; /* tokens to find before normalizing, and after */
    struct mot_ids before, after;      /* what the post-processor puts around a text */
};
struct mot_text_state {
    struct mot_bpe_state bpe;
    struct mot_matcher matcher;
    struct mot_bytes normal[2]; /* normalizers write to one and the other in turn; so do decoders */
    struct mot_bytes piece[MOT_MAX_STEPS];
    struct mot_pieces {
        struct mot_piece {
            size_t begin, end;
            bool match;
        } * piece;
        int64_t n, capacity;
    } pieces[MOT_MAX_STEPS];
};
/* tokenizer_json.c; name is the file's, for messages. */
struct mot_text *mot_text_load(const char *name, const json_t *tokenizer) MOT_CHECKED;
void mot_text_free(struct mot_text *t);
/* After all fields are read: makes added_of and the tries. (added.c) */
int mot_text_prepare(struct mot_text *t) MOT_CHECKED;
int mot_text_state_init(struct mot_text_state *s) MOT_CHECKED;
void mot_text_state_free(struct mot_text_state *s);
/* Any bytes. */
int mot_text_encode(const struct mot_text *t, struct mot_text_state *s, const void *text, size_t n,
                    struct mot_ids *out) MOT_CHECKED;
/* Ids outside the vocabulary stand for nothing. */
int mot_text_decode(const struct mot_text *t, struct mot_text_state *s, const int32_t *id,
                    int64_t n, bool skip_special, struct mot_bytes *out) MOT_CHECKED;
/* The leftmost, then longest token in p at or after from: its index; -1: none. (added.c) */
int32_t mot_trie_find(const struct mot_trie *t, const unsigned char *p, size_t n, size_t from, size_t *begin,
                      size_t *end);
/* *p and *n become the normalized text, in one of the state's two buffers; continued: nothing is put before; *first is
 * cleared where the text's start is gone. (normalize.c) */
int mot_text_normalize(const struct mot_text *t, struct mot_text_state *s, bool continued, const unsigned char **p,
                       size_t *n, bool *first) MOT_CHECKED;
/* Every match of the step's pattern in valid UTF-8 becomes step->with. */
int mot_text_replace(const struct mot_text_step *step, struct mot_matcher *m,
                     const unsigned char *p, size_t n, struct mot_bytes *out) MOT_CHECKED;
/* The pieces that `split` makes of valid UTF-8, handed over one by one; first: the text starts. */
typedef int mot_piece_sink(void *context, const unsigned char *p, size_t n);
int mot_text_pieces(const struct mot_text_step *split, int n_split, struct mot_text_state *s,
                    const unsigned char *p, size_t n, bool first, mot_piece_sink *sink,
                    void *context) MOT_CHECKED;

/* -- learning (bpe_learn.c) -- */
/* The pattern our own tokenizers split with: Llama 3's. */
extern const char *const mot_split_pattern;
struct mot_bpe_learner;
/* max_words: how many different words to keep, rare ones are forgotten first; 0: two million. */
struct mot_bpe_learner *mot_bpe_learner_new(int64_t max_words) MOT_CHECKED;
int mot_bpe_learner_add(struct mot_bpe_learner *l, const void *text, size_t n) MOT_CHECKED;
void mot_bpe_learner_free(struct mot_bpe_learner *l);
/* What was learned: ids are the special tokens, the 256 bytes, then the merged tokens. */
struct mot_bpe_merges {
    int32_t n, n_special;
    struct mot_bytes blob;
    struct mot_bpe_string *string; /* (n) raw bytes, but special tokens as they are */
    int64_t n_merges, merge_capacity;
    struct mot_learned_merge {
        int32_t left, right; /* left = -1: replaced by a later one */
    } * merge;
    uint32_t *slot; /* private: ids by string */
    uint64_t mask;
};
/* Learn up to size ids, special tokens and bytes included; fewer when no pair occurs twice. */
int mot_bpe_learn(const struct mot_bpe_learner *l, const char *const *special, int n_special,
                  int32_t size, mot_progress *progress, void *context,
                  struct mot_bpe_merges *out) MOT_CHECKED;
void mot_bpe_merges_free(struct mot_bpe_merges *m);
/* Write it as Hugging Face's tokenizer.json (tokenizer_write.c). */
int mot_bpe_merges_save(const struct mot_bpe_merges *m, const char *path) MOT_CHECKED;

#endif
