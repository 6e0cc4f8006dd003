/* SPDX-License-Identifier: MIT
 *
 * stops.c - the tokens beside eos that end a document, as a checkpoint's folder names them: models of chats end their turns with
 * tokens of their own.  "eos_token_id" is a number or a list, in generation_config.json or, without that, in config.json, as
 * transformers has it.
 */
#include "../base/json.h"
#include "generate.h"

enum { LIMIT = 1 << 24 };

/* Ids beyond the vocabulary's text are of no token that can be drawn there. */
static void add(struct mot_grammar *g, const json_t *id)
{
    const struct mot_vocab *v = g->vocab;
    json_int_t k = json_is_integer(id) ? json_integer_value(id) : -1;
    if (k >= 0 && k < v->size && k != v->eos && mot_vocab_modality(v, (int32_t)k) == 0 && g->n_stops < MOT_STOPS)
        g->stop[g->n_stops++] = (int32_t)k;
}

int mot_grammar_stops(struct mot_grammar *g, const char *folder)
{
    char *path = mot_path(folder, "generation_config.json");
    if (path && !mot_file_exists(path)) {
        mot_free(path);
        path = mot_path(folder, "config.json");
    }
    int rc = path ? MOT_OK : MOT_ENOMEM;
    json_t *j = rc ? NULL : mot_json_load(path, LIMIT);
    mot_free(path);
    if (!j)
        return rc ? rc : MOT_EFORMAT;
    const json_t *ids = json_object_get(j, "eos_token_id");
    add(g, ids);
    for (size_t i = 0; i < json_array_size(ids); i++)
        add(g, json_array_get(ids, i));
    json_decref(j);
    return MOT_OK;
}
