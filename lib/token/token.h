/* SPDX-License-Identifier: MIT
 *
 * token.h - what the files of lib/token share: the parts of a text tokenizer, in the order in which text
 * passes through them, and the checks of a tokenizer folder.
 *
 * A text tokenizer is an immutable struct mot_text (any number of threads may use one) and, for each
 * thread, a struct mot_text_state with its caches and scratch memory.
 */
#ifndef MOT_TOKEN_H
#define MOT_TOKEN_H

#include "../base/base.h"
#include "../base/json.h"

/* -- the folder's vocabulary (vocab.c) -- */
/* No vocabulary file is near this size. */
enum { MOT_VOCAB_LIMIT = 1 << 20, MOT_TOKENIZER_LIMIT = 1 << 28 };

/* Fill v->digest from v's ranges and special ids and from the folder's files that its modalities name. */
int mot_vocab_seal(struct mot_vocab *v, const char *folder) MOT_CHECKED;
/* The text-only vocabulary of a folder without vocab.json, whose tokenizer.json has been read as `tokenizer`. */
int mot_vocab_foreign(struct mot_vocab *v, const char *folder, const json_t *tokenizer) MOT_CHECKED;

#endif
