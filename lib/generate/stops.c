/* SPDX-License-Identifier: MIT
 *
 * stops.c - what a checkpoint's folder says of text that is not to be gone on from, or not to be drawn, as transformers has it:
 * "eos_token_id", a number or a list, in generation_config.json or without that in config.json, names the tokens that end a
 * document, as models of chats end their turns with tokens of their own; "vocabulary_map" in config.json those that stand for
 * Chameleon's picture codes.
 */
#include "../base/json.h"
#include "generate.h"

enum { LIMIT = 1 << 24 };

/* Ids beyond the vocabulary's text are of no token that can be drawn there. */
static int32_t text_id(const struct mot_grammar *g, const json_t *id)
{
    json_int_t k = json_is_integer(id) ? json_integer_value(id) : -1;
    return k >= 0 && k < g->vocab->size && mot_vocab_modality(g->vocab, (int32_t)k) == 0 ? (int32_t)k : -1;
}

static void add_stop(struct mot_grammar *g, const json_t *id)
{
    int32_t k = text_id(g, id);
    if (k >= 0 && k != g->vocab->eos && g->n_stops < MOT_STOPS)
        g->stop[g->n_stops++] = k;
}

static void find_stops(struct mot_grammar *g, const json_t *config)
{
    const json_t *ids = json_object_get(config, "eos_token_id");
    add_stop(g, ids);
    for (size_t i = 0; i < json_array_size(ids); i++)
        add_stop(g, json_array_get(ids, i));
}

/* They lie together; where they do not, nobody knows what stands among them, and all may be drawn. */
static void find_codes(struct mot_grammar *g, const json_t *config)
{
    json_t *map = json_object_get(config, "vocabulary_map"), *id;
    const char *name;
    int32_t least = INT32_MAX, largest = -1, n = 0;
    json_object_foreach(map, name, id)
        if (strncmp(name, "IMGIMG", 6) == 0 && text_id(g, id) >= 0) {
            int32_t k = text_id(g, id);
            least = k < least ? k : least;
            largest = k > largest ? k : largest;
            n++;
        }
    if (n > 0 && largest - least + 1 == n)
        g->code_from = least, g->code_to = largest + 1;
}

static int load(const char *folder, const char *name, json_t **j)
{
    char *path = mot_path(folder, name);
    int rc = path ? MOT_OK : MOT_ENOMEM;
    if (!rc && mot_file_exists(path) && !(*j = mot_json_load(path, LIMIT)))
        rc = MOT_EFORMAT;
    mot_free(path);
    return rc;
}

int mot_grammar_stops(struct mot_grammar *g, const char *folder)
{
    json_t *config = NULL, *generation = NULL;
    int rc = load(folder, "config.json", &config);
    if (!rc)
        rc = load(folder, "generation_config.json", &generation);
    if (!rc) {
        find_stops(g, generation ? generation : config);
        find_codes(g, config);
    }
    json_decref(config);
    json_decref(generation);
    return rc;
}
