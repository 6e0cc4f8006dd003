/* SPDX-License-Identifier: MIT
 *
 * tokenizer_json.h - what the two files that read tokenizer.json share.
 */
#ifndef MOT_TOKENIZER_JSON_H
#define MOT_TOKENIZER_JSON_H

#include "token.h"

const char *mot_part_type(const json_t *part);
/* Fail, naming the file and what in it is not known, or not there. */
int mot_part_unknown(const struct mot_text *t, const char *what, const char *type) MOT_CHECKED;
int mot_part_missing(const struct mot_text *t, const json_t *part, const char *key) MOT_CHECKED;
/* "type": "Sequence": each member of the array under key in turn. */
typedef int mot_read_part(struct mot_text *t, const json_t *part, int depth);
int mot_part_sequence(struct mot_text *t, const json_t *part, const char *key, int depth,
                      mot_read_part *read) MOT_CHECKED;

mot_read_part mot_read_normalizer, mot_read_splitter, mot_read_decoder;
/* After normalizer and pre-tokenizer: ByteLevel as the one and last step is left to the model, which then reads bytes;
 * before other steps it makes letters for them to see. */
void mot_settle_letters(struct mot_text *t, bool byte_fallback);

#endif
