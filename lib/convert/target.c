/* SPDX-License-Identifier: MIT
 *
 * target.c - what a conversion is to make: modalities and their ids, towers and who uses them, rows of the vocabulary.
 *
 * One rule says where a tower's weights come from.  A tower of the target serves some modality; if the source knows that
 * modality, they are those that serve it there; if not, those that serve the modality of --copy, or random ones.
 */
#include <stdlib.h>

#include "convert.h"

/* The next of "a=1,b": its name, and its number (-1: none).  *at moves on; false at the end. */
static bool next_item(const char **at, char name[MOT_NAME_BYTES], int64_t *number, int *rc)
{
    if (!*at || !**at)
        return false;
    size_t n = strcspn(*at, ",="), rest = strcspn(*at, ",");
    char *end = NULL;
    *number = (*at)[n] == '=' ? strtoll(*at + n + 1, &end, 10) : -1;
    bool good = mot_is_name(*at, n) && (!end || (end == *at + rest && end > *at + n + 1 && *number > 0));
    if (!good) {
        *rc = mot_fail(MOT_EARG, "\"%.*s\": expected NAME or NAME=COUNT", (int)rest, *at);
        return false;
    }
    memcpy(name, *at, n);
    name[n] = 0;
    *at += rest + ((*at)[rest] == ',');
    return true;
}

static bool listed(const char *list, const char *name)
{
    char item[MOT_NAME_BYTES];
    int64_t number;
    int rc = MOT_OK;
    while (next_item(&list, item, &number, &rc))
        if (strcmp(item, name) == 0)
            return true;
    return false;
}

/* Every name in an option's list must mean something. */
static int check_list(const char *option, const char *list, const struct mot_converter *c, bool dropped)
{
    char name[MOT_NAME_BYTES];
    int64_t number;
    int rc = MOT_OK;
    while (!rc && next_item(&list, name, &number, &rc)) {
        int m = mot_config_modality(dropped ? &c->from.config : &c->to.config, name);
        if (number >= 0)
            rc = mot_fail(MOT_EARG, "%s %s=%lld: expected names alone", option, name, (long long)number);
        else if (m < 0 && !(dropped && mot_vocab_find(&c->from.vocab, name) >= 0))
            rc = mot_fail(MOT_EARG, "%s %s: %s has no such modality", option, name, dropped ? c->o.from : "the target");
        else if (dropped && strcmp(name, "text") == 0)
            rc = mot_fail(MOT_EARG, "%s: text cannot be left out", option);
        else if (!dropped && !c->fresh[m])
            rc = mot_fail(MOT_EARG, "%s %s: it has a tower in %s, which is taken", option, name, c->o.from);
    }
    return rc;
}

/* ---- ids ---- */

/* width, patch: of vectors, or 0. */
static int append_range(struct mot_vocab *v, const char *name, int64_t n, int32_t width, int32_t patch)
{
    if (mot_vocab_find(v, name) >= 0)
        return mot_fail(MOT_EARG, "modality \"%s\" has ids already: %d of them", name, v->modality[mot_vocab_find(v, name)].n);
    if (v->n_modalities == MOT_MAX_MODALITIES || n > INT32_MAX - v->size)
        return mot_fail(MOT_EARG, "modality \"%s\": too many modalities or ids", name);
    int m = v->n_modalities++;
    memset(v->modality[m].name, 0, sizeof v->modality[m].name);
    strcpy(v->modality[m].name, name);
    v->modality[m].first = v->size;
    v->modality[m].n = (int32_t)n;
    v->modality[m].width = width;
    v->modality[m].patch = patch;
    v->size += (int32_t)n;
    return MOT_OK;
}

/* A delimiter that is the tokenizer's last token goes with its modality, and its row if that is the last of text. */
static void drop_delimiter(struct mot_converter *c, struct mot_vocab *v, int64_t *largest, int32_t *id)
{
    if (*id >= 0 && *id == *largest) {
        c->dropped_from = *id;
        --*largest;
        if (*id == v->modality[0].n - 1)
            v->modality[0].n = *id;
    }
    *id = -1;
}

static void drop_ranges(struct mot_converter *c, struct mot_vocab *v, int64_t largest)
{
    const char *list = c->o.drop_vocab;
    if (listed(list, "speech"))
        drop_delimiter(c, v, &largest, &v->eos_speech), drop_delimiter(c, v, &largest, &v->bos_speech);
    if (listed(list, "image"))
        drop_delimiter(c, v, &largest, &v->eoi), drop_delimiter(c, v, &largest, &v->boi);
    int kept = 0;
    for (int m = 0; m < v->n_modalities; m++)
        if (m == 0 || !listed(list, v->modality[m].name))
            v->modality[kept++] = v->modality[m];
    v->n_modalities = kept;
}

/* Ranges added by --add-vocab and by the tokenizer folder with the codecs. */
static int add_ranges(struct mot_converter *c, struct mot_vocab *v)
{
    struct mot_vocab codecs = {0};
    int rc = c->o.tokenizer ? mot_vocab_load(&codecs, c->o.tokenizer) : MOT_OK;
    const char *at = c->o.add_vocab;
    char name[MOT_NAME_BYTES];
    int64_t n;
    while (!rc && next_item(&at, name, &n, &rc)) {
        int m = mot_vocab_find(&codecs, name);
        if (m >= 0 && n >= 0 && n != codecs.modality[m].n)
            rc = mot_fail(MOT_EARG, "--add-vocab %s=%lld: the codec in %s has %d codes", name, (long long)n, c->o.tokenizer,
                          codecs.modality[m].n);
        else if (m < 0 && n < 0)
            rc = mot_fail(MOT_EARG, "--add-vocab %s: say how many ids, as in %s=1024", name, name);
        else
            rc = append_range(v, name, n < 0 ? codecs.modality[m].n : n, m < 0 ? 0 : codecs.modality[m].width,
                              m < 0 ? 0 : codecs.modality[m].patch);
    }
    for (int m = 1; !rc && m < codecs.n_modalities; m++)
        if (mot_vocab_find(v, codecs.modality[m].name) < 0 && !c->o.add_vocab)
            rc = append_range(v, codecs.modality[m].name, codecs.modality[m].n, codecs.modality[m].width,
                              codecs.modality[m].patch);
    return rc;
}

/* Delimiters' ids: those that tokenizer.json has; the others follow its last token, as the format numbers added ones, where
 * the model's padding may have rows for them; else they are new text ids. */
static int place_delimiters(struct mot_converter *c, struct mot_vocab *v, const json_t *tokenizer, int64_t largest)
{
    const struct {
        const char *modality, *token;
        int32_t *id;
    } all[] = {
        {"image", "<|boi|>", &v->boi},
        {"image", "<|eoi|>", &v->eoi},
        {"speech", "<|bos_speech|>", &v->bos_speech},
        {"speech", "<|eos_speech|>", &v->eos_speech},
    };
    int32_t *id[MOT_COUNT(all)];
    for (int i = 0; i < MOT_COUNT(all); i++)
        if (*all[i].id < 0 && mot_vocab_find(v, all[i].modality) >= 0 &&
            (!tokenizer || (*all[i].id = mot_vocab_id(tokenizer, all[i].token)) < 0)) {
            c->delimiter[c->n_delimiters].text = all[i].token;
            id[c->n_delimiters++] = all[i].id;
        }
    if (largest + c->n_delimiters >= INT32_MAX)
        return mot_fail(MOT_EARG, "%s: no ids are left for delimiters", c->o.from);
    for (int i = 0; i < c->n_delimiters; i++)
        *id[i] = c->delimiter[i].id = (int32_t)++largest;
    if (largest >= v->modality[0].n)
        v->modality[0].n = (int32_t)largest + 1;
    return MOT_OK;
}

/* The order of --modalities; exactly those that have ids. */
static int order_ranges(const struct mot_convert_options *o, struct mot_vocab *v)
{
    if (!o->modalities)
        return MOT_OK;
    struct mot_vocab in = *v;
    const char *at = o->modalities;
    char name[MOT_NAME_BYTES];
    int64_t number;
    int rc = MOT_OK, n = 0;
    while (!rc && next_item(&at, name, &number, &rc)) {
        int m = mot_vocab_find(&in, name);
        bool twice = false;
        for (int i = 0; i < n; i++)
            twice |= strcmp(v->modality[i].name, name) == 0;
        if (twice || (n == 0) != (strcmp(name, "text") == 0))
            rc = mot_fail(MOT_EARG, "--modalities %s: text comes first, each modality once", o->modalities);
        else if (m < 0)
            rc = mot_fail(MOT_EARG, "--modalities: \"%s\" has no ids: give --add-vocab %s=COUNT, or -t TOK with a codec for it",
                          name, name);
        else
            v->modality[n++] = in.modality[m];
    }
    if (!rc && n != in.n_modalities)
        rc = mot_fail(MOT_EARG, "--modalities %s: names %d modalities, ids there are for %d; --drop-vocab leaves some out",
                      o->modalities, n, in.n_modalities);
    return rc;
}

static void number_ids(struct mot_vocab *v)
{
    v->size = 0;
    for (int m = 0; m < v->n_modalities; m++) {
        v->modality[m].first = v->size;
        v->size += v->modality[m].n;
    }
}

static int make_vocab(struct mot_converter *c)
{
    struct mot_vocab *v = &c->to.vocab;
    *v = c->from.vocab;
    v->folder[0] = 0;
    c->dropped_from = INT32_MAX;
    json_t *tokenizer = NULL;
    int64_t largest = v->modality[0].n - 1;
    int rc = check_list("--drop-vocab", c->o.drop_vocab, c, true);
    if (!rc)
        rc = mot_tokenizer_json(c->o.from, &tokenizer);
    if (!rc && tokenizer)
        rc = mot_vocab_largest(tokenizer, c->o.from, &largest);
    if (!rc) {
        drop_ranges(c, v, largest);
        rc = add_ranges(c, v);
    }
    if (!rc && (c->o.add_vocab || c->o.tokenizer))
        rc = place_delimiters(c, v, tokenizer, largest);
    json_decref(tokenizer);
    if (!rc)
        rc = order_ranges(&c->o, v);
    if (!rc)
        number_ids(v);
    return rc;
}

/* Rows of the target's embedding: of each modality those the source has, then new ones. */
static void make_runs(struct mot_converter *c)
{
    const struct mot_vocab *from = &c->from.vocab, *to = &c->to.vocab;
    for (int m = 0; m < to->n_modalities; m++) {
        int s = mot_vocab_find(from, to->modality[m].name);
        int64_t all = to->modality[m].n, old = s < 0 ? 0 : from->modality[s].n < all ? from->modality[s].n : all;
        struct mot_run *last = c->n_runs ? &c->run[c->n_runs - 1] : NULL;
        if (old > 0 && last && last->from >= 0 && last->from + last->n == from->modality[s].first)
            last->n += old;
        else if (old > 0)
            c->run[c->n_runs++] = (struct mot_run){from->modality[s].first, old};
        if (all > old)
            c->run[c->n_runs++] = (struct mot_run){-1, all - old};
    }
}

/* ---- towers ---- */

static int untied(const char *list, bool out[MOT_COMPONENTS])
{
    static const struct {
        const char *name;
        enum mot_component of[4];
        int n;
    } groups[] = {
        {"attn", {MOT_ATTN_QKV, MOT_ATTN_O}, 2},
        {"norm", {MOT_ATTN_NORM, MOT_QK_NORM, MOT_FFN_NORM, MOT_FINAL_NORM}, 4},
    };
    char name[MOT_NAME_BYTES];
    int64_t number;
    int rc = MOT_OK;
    for (int k = 0; k < MOT_COMPONENTS; k++)
        out[k] = !list;
    while (next_item(&list, name, &number, &rc)) {
        bool known = false;
        for (int k = 0; k < MOT_COMPONENTS; k++)
            if (strcmp(name, mot_component_names[k]) == 0)
                known = out[k] = true;
        for (int g = 0; g < MOT_COUNT(groups); g++)
            for (int i = 0; i < groups[g].n && strcmp(name, groups[g].name) == 0; i++)
                known = out[groups[g].of[i]] = true;
        if (!known)
            return mot_fail(MOT_EARG, "--untie: \"%s\" is no component: ffn, attn, norm, attn_qkv, attn_o, attn_norm, qk_norm, "
                                      "ffn_norm or final_norm",
                            name);
    }
    return rc;
}

/* Which modality of the source a modality of the target is like. */
static int find_sources(struct mot_converter *c)
{
    const struct mot_config *from = &c->from.config;
    const char *copy = c->o.copy ? c->o.copy : "text";
    int like = mot_config_modality(from, copy);
    if (like < 0)
        return mot_fail(MOT_EARG, "--copy %s: %s has no such modality", copy, c->o.from);
    bool dense = from->n_towers == 1 && c->o.form;
    for (int m = 0; m < c->to.config.n_modalities; m++) {
        const char *name = c->to.config.modality[m];
        int s = mot_config_modality(from, name);
        c->source[m] = s < 0 ? like : s;
        c->to.config.loss_weight[m] = s >= 0 ? from->loss_weight[s] : mot_usual_weight(&c->to.config, m);
        c->fresh[m] = s < 0 || (dense && m > 0);
        c->random[m] = c->fresh[m] && c->o.random && (strcmp(c->o.random, "all") == 0 || listed(c->o.random, name));
    }
    return c->o.random && strcmp(c->o.random, "all") != 0 ? check_list("--init random", c->o.random, c, false) : MOT_OK;
}

/* A tower must not get lost because its modality has no ids here, as BAGEL's for pictures. */
static int check_all_kept(const struct mot_converter *c)
{
    for (int m = 0; m < c->from.config.n_modalities; m++) {
        const char *name = c->from.config.modality[m];
        if (mot_config_modality(&c->to.config, name) < 0 && !listed(c->o.drop_vocab, name) && !c->o.only_model)
            return mot_fail(MOT_EARG, "%s: modality \"%s\" has weights, but no ids: give --add-vocab %s=COUNT, or leave its "
                                      "weights out by --drop-vocab %s",
                            c->o.from, name, name, name);
    }
    return MOT_OK;
}

/* Options that would be passed over in silence. */
static int check_options(const struct mot_convert_options *o, const struct mot_family *to)
{
    if (o->tower && strcmp(to->name, "hf") != 0)
        return mot_fail(MOT_EARG, "--tower %s: the form %s has them all; --to hf takes one", o->tower, to->name);
    if ((o->copy || o->random || o->untie) && strcmp(to->name, "mot") != 0)
        return mot_fail(MOT_EARG, "--%s: only a MoT gets new towers (--to mot), not the form %s",
                        o->copy     ? "copy"
                        : o->random ? "init"
                                    : "untie",
                        to->name);
    if (o->unet && strcmp(to->name, "mot") != 0)
        return mot_fail(MOT_EARG, "--unet: only a MoT has pictures whose tokens are vectors (--to mot), not the form %s", to->name);
    return MOT_OK;
}

static void set_modalities(struct mot_config *c, const struct mot_vocab *v)
{
    memset(c->modality, 0, sizeof c->modality);
    for (int m = 0; m < v->n_modalities; m++)
        strcpy(c->modality[m], v->modality[m].name), c->latent_size[m] = v->modality[m].width;
    c->n_modalities = v->n_modalities;
}

/* A dense source that is to become a MoT: a tower a modality.  Else its own towers, and one for each modality that is new. */
static void set_towers(struct mot_converter *c, const bool untie[MOT_COMPONENTS])
{
    const struct mot_config *from = &c->from.config;
    struct mot_config *to = &c->to.config;
    bool dense = from->n_towers == 1 && c->o.form;
    to->n_towers = dense ? 0 : from->n_towers;
    for (int m = 0; m < to->n_modalities; m++) {
        int own = -1;
        if (c->fresh[m] || (dense && m == 0)) {
            own = to->n_towers++;
            memcpy(to->tower[own], to->modality[m], MOT_NAME_BYTES);
        }
        for (int k = 0; k < MOT_COMPONENTS; k++) {
            int shared = dense ? 0 : from->tower_of[k][c->source[m]];
            to->tower_of[k][m] = own >= 0 && untie[k] ? own : shared;
        }
    }
}

/* Every modality its own tower, as foreign MoTs have it; what the source shares is stored for each. */
static int set_all_towers(struct mot_converter *c)
{
    const struct mot_config *from = &c->from.config;
    struct mot_config *to = &c->to.config;
    to->n_towers = to->n_modalities;
    memcpy(to->tower, to->modality, sizeof to->tower);
    bool one_final_norm = c->to.family->label == MOT_LABEL_INDEX;
    for (int k = 0; k < MOT_COMPONENTS; k++)
        for (int m = 0; m < to->n_modalities; m++)
            to->tower_of[k][m] = k == MOT_FINAL_NORM && one_final_norm ? 0 : m;
    for (int m = 1; m < to->n_modalities && one_final_norm; m++)
        if (from->tower_of[MOT_FINAL_NORM][c->source[m]] != from->tower_of[MOT_FINAL_NORM][c->source[0]])
            return mot_fail(MOT_EARG, "%s cannot take the form %s: it has one final norm for all modalities", c->o.from,
                            c->to.family->name);
    to->tie_word_embeddings = false;
    if (c->to.family->label == MOT_LABEL_MOE_GEN)
        to->attention_bias = true; /* its code always has them */
    return MOT_OK;
}

/* The towers that serve one modality, as a dense model. */
static int set_one_tower(struct mot_converter *c)
{
    const char *name = c->o.tower ? c->o.tower : "text";
    struct mot_config *to = &c->to.config;
    int m = mot_config_modality(&c->from.config, name);
    if (m < 0)
        return mot_fail(MOT_EARG, "--tower %s: %s has no such modality", name, c->o.from);
    c->source[0] = m;
    to->n_modalities = to->n_towers = 1;
    memset(to->latent_size, 0, sizeof to->latent_size);
    strcpy(to->modality[0], "text");
    strcpy(to->tower[0], "text");
    memset(to->tower_of, 0, sizeof to->tower_of);
    return MOT_OK;
}

/* The modalities that have towers, where ids do not matter: those with ids, or the source's, if those are more. */
static void set_foreign_modalities(struct mot_converter *c)
{
    if (c->from.config.n_modalities <= c->to.vocab.n_modalities)
        set_modalities(&c->to.config, &c->to.vocab);
}

/* The form that a folder has already: Hugging Face's, unless its config.json speaks of modalities. */
static const struct mot_family *form_of(const struct mot_side *s)
{
    bool plain = s->family->label == MOT_LABEL_SUFFIX && !json_object_get(s->json, "modalities");
    return plain ? mot_family_find("hf") : s->family;
}

int mot_target_make(struct mot_converter *c)
{
    struct mot_side *to = &c->to;
    to->folder = c->o.to;
    to->config = c->from.config;
    to->family = c->o.form ? mot_family_find(c->o.form) : form_of(&c->from);
    if (!to->family)
        return MOT_EARG;
    bool untie[MOT_COMPONENTS];
    int rc = check_options(&c->o, to->family);
    if (!rc)
        rc = untied(c->o.untie, untie);
    if (!rc)
        rc = make_vocab(c);
    if (rc)
        return rc;
    make_runs(c);
    to->config.vocab_size = to->vocab.size;
    if (to->family->label != MOT_LABEL_SUFFIX)
        set_foreign_modalities(c);
    else if (strcmp(to->family->name, "mot") == 0)
        set_modalities(&to->config, &to->vocab);
    if (strcmp(to->family->name, "hf") == 0)
        rc = set_one_tower(c);
    else
        rc = find_sources(c);
    if (!rc && strcmp(to->family->name, "mot") == 0 && !(rc = check_all_kept(c)))
        set_towers(c, untie);
    if (!rc && to->family->label != MOT_LABEL_SUFFIX)
        rc = set_all_towers(c);
    if (!rc && c->o.unet)
        rc = mot_unet_find(&to->config.unet, c->o.unet);
    if (!rc)
        rc = mot_unet_settle(&to->config, c->o.to, &to->vocab);
    if (rc)
        return rc;
    const char *reason = mot_vectors_of(&to->config) >= 0 && strcmp(to->family->name, "mot") != 0
                             ? "that form has no pictures whose tokens are vectors"
                             : to->family->refuses(&to->config);
    if (reason)
        return mot_fail(MOT_EARG, "%s cannot take the form %s: %s", c->o.from, to->family->name, reason);
    return mot_table_build(&to->table, &to->config);
}
