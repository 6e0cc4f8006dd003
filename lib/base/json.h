/* SPDX-License-Identifier: MIT
 *
 * json.h - strict JSON through jansson: duplicate keys are errors, and every complaint names the file and
 * the key.  Objects are jansson's json_t; whoever gets a new one calls json_decref.
 */
#ifndef MOT_JSON_H
#define MOT_JSON_H

#include <jansson.h>

#include "base.h"

/* Parse n bytes; name is the file's name for messages. New reference, NULL on failure. */
json_t *mot_json_parse(const char *name, const void *text, size_t n) MOT_CHECKED;
json_t *mot_json_load(const char *path, size_t limit) MOT_CHECKED; /* a whole file; at most limit bytes */
/* Write atomically, indented, keys in insertion order, with a final newline. */
int mot_json_save(const char *path, const json_t *j) MOT_CHECKED;

/* Read a key of an object.  Absent or null: *out untouched, MOT_OK.  Wrong type or out of [lo, hi]: MOT_EFORMAT. */
int mot_json_int(const json_t *o, const char *name, const char *key, int64_t lo, int64_t hi, int64_t *out) MOT_CHECKED;
int mot_json_real(const json_t *o, const char *name, const char *key, double lo, double hi, double *out) MOT_CHECKED;
int mot_json_bool(const json_t *o, const char *name, const char *key, bool *out) MOT_CHECKED;
int mot_json_string(const json_t *o, const char *name, const char *key, const char **out) MOT_CHECKED; /* borrowed */

#endif
