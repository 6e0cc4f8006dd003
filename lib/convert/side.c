/* SPDX-License-Identifier: MIT
 *
 * side.c - a folder as one side of a conversion: its family, config, vocabulary and tensor table; and the sentences that
 * a conversion collects about it.
 */
#include <fnmatch.h>
#include <stdarg.h>

#include "convert.h"

int mot_say(struct mot_sentences *s, const char *format, ...)
{
    char sentence[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(sentence, sizeof sentence, format, ap);
    va_end(ap);
    for (char *p = sentence; *p; p++) /* names come from files */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    s->n++;
    return mot_bytes_append(&s->text, sentence, strlen(sentence) + 1);
}

const char *mot_next_sentence(struct mot_sentences *s)
{
    if (s->at >= s->text.n)
        return NULL;
    const char *sentence = (const char *)s->text.data + s->at;
    s->at += strlen(sentence) + 1;
    return sentence;
}

bool mot_matches(const char *const *glob, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (fnmatch(glob[i], name, 0) == 0)
            return true;
    return false;
}

int mot_config_modality(const struct mot_config *c, const char *name)
{
    for (int m = 0; m < c->n_modalities; m++)
        if (strcmp(c->modality[m], name) == 0)
            return m;
    return -1;
}

static char *config_path(const struct mot_side *s, const char *asked)
{
    if (asked)
        return mot_strdup(asked);
    char *own = mot_path(s->folder, s->family->config);
    if (!own || mot_file_exists(own))
        return own;
    mot_free(own);
    return mot_path(s->folder, "config.json");
}

/* A foreign folder's ids are all text; without a tokenizer, config.json knows how many there are. */
static int find_vocab(struct mot_side *s)
{
    json_t *own = NULL, *tokenizer = NULL;
    struct mot_vocab *v = &s->vocab;
    int rc = mot_vocab_own(s->folder, &own);
    if (!rc && !own)
        rc = mot_tokenizer_json(s->folder, &tokenizer);
    if (!rc && own) {
        rc = mot_vocab_read(v, s->folder, own);
    } else if (!rc) {
        *v = (struct mot_vocab){.n_modalities = 1, .bos = -1, .eos = -1, .boi = -1, .eoi = -1, .bos_speech = -1, .eos_speech = -1};
        strcpy(v->modality[0].name, "text");
        if (tokenizer)
            rc = mot_vocab_foreign(v, s->folder, tokenizer);
        if (!rc && s->config.vocab_size && s->config.vocab_size < v->size)
            rc = mot_fail(MOT_EFORMAT, "%s: tokenizer.json has %d ids, the model rows for %lld (vocab_size): take the added tokens "
                                       "beyond that out of tokenizer.json",
                          s->folder, (int)v->size, (long long)s->config.vocab_size);
        if (!rc && s->config.vocab_size > v->size)
            v->size = v->modality[0].n = (int32_t)s->config.vocab_size;
        if (!rc && v->size == 0)
            rc = mot_fail(MOT_EFORMAT, "%s: neither a tokenizer nor key \"vocab_size\" says how many ids there are", s->folder);
    }
    json_decref(own);
    json_decref(tokenizer);
    return rc;
}

/* What BAGEL's code sets, whatever llm_config.json says: norms of q and k, a head of its own.  Its second tower is for
 * pictures, which are no tokens there. */
static void complete_bagel(struct mot_side *s, const struct mot_weights *w)
{
    const struct mot_st *file;
    bool two = mot_weights_find(w, "language_model.model.layers.0.mlp_moe_gen.gate_proj.weight", &file) != NULL;
    if (mot_weights_find(w, "language_model.model.layers.0.self_attn.q_norm.weight", &file))
        s->config.qk_norm = MOT_QK_RMS;
    if (mot_weights_find(w, "language_model.lm_head.weight", &file))
        s->config.tie_word_embeddings = false;
    strcpy(s->config.modality[0], "text");
    strcpy(s->config.modality[1], "image");
    s->config.n_modalities = two ? 2 : 1;
}

int mot_side_open(struct mot_side *s, const char *folder, const struct mot_weights *w, const char *form, const char *config)
{
    *s = (struct mot_side){.folder = folder};
    int rc = MOT_OK;
    if (form)
        rc = (s->family = mot_family_find(form)) ? MOT_OK : MOT_EARG;
    else
        rc = mot_family_detect(&s->family, w, folder);
    char *path = rc ? NULL : config_path(s, config);
    if (!rc)
        rc = path ? mot_config_load(&s->config, path) : MOT_ENOMEM;
    if (!rc)
        rc = (s->json = mot_json_load(path, MOT_CONFIG_LIMIT)) ? find_vocab(s) : MOT_EFORMAT;
    bool by_ids = !rc && s->family->label == MOT_LABEL_SUFFIX; /* elsewhere modalities need no ids */
    if (!rc && s->family->label == MOT_LABEL_MOE_GEN)
        complete_bagel(s, w);
    if (!rc && s->family->label == MOT_LABEL_INDEX)
        s->config.tower_of_given[MOT_FINAL_NORM] = true; /* tower 0 for all: there is one final norm */
    if (!rc && !s->config.vocab_size)
        s->config.vocab_size = s->vocab.size;
    if (!rc)
        rc = mot_config_settle(&s->config, path, by_ids ? &s->vocab : NULL, NULL);
    if (!rc)
        rc = mot_table_build(&s->table, &s->config);
    mot_free(path);
    return rc;
}

void mot_side_close(struct mot_side *s)
{
    json_decref(s->json);
    mot_table_free(&s->table);
    *s = (struct mot_side){0};
}
