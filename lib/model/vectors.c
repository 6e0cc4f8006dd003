/* SPDX-License-Identifier: MIT
 *
 * vectors.c - the keys of config.json about pictures whose tokens are vectors.
 *
 *   "latent_sizes": {"image": 192}                  values of a token's vector
 *   "diffusion": {"objective": "ddpm", "steps": 1000, "schedule": "cosine"}
 *   "diffusion": {"objective": "flow", "shift": 1}
 *   "unet": {"channels": 64, "blocks": 2, "patch_size": 4}
 */
#include <errno.h>
#include <stdlib.h>

#include "model.h"

static const char *const objective_names[] = {"ddpm", "flow"};

int mot_vectors_of(const struct mot_config *c)
{
    for (int m = 0; m < c->n_modalities; m++)
        if (c->latent_size[m] > 0)
            return m;
    return -1;
}

const char *mot_objective_name(enum mot_objective o)
{
    return objective_names[o];
}

int mot_objective_find(enum mot_objective *o, const char *name)
{
    for (int i = 0; i < MOT_COUNT(objective_names); i++)
        if (strcmp(name, objective_names[i]) == 0) {
            *o = (enum mot_objective)i;
            return MOT_OK;
        }
    return mot_fail(MOT_EARG, "objective \"%.40s\": expected ddpm or flow", name);
}

static int read_sizes(struct mot_config *c, const json_t *j, const char *name)
{
    const json_t *o = json_object_get(j, "latent_sizes");
    if (!o || json_is_null(o))
        return MOT_OK;
    if (!json_is_object(o) || !c->n_modalities)
        return mot_fail(MOT_EFORMAT, "%s: key \"latent_sizes\": expected an object, and \"modalities\" beside it", name);
    size_t found = 0;
    for (int m = 0; m < c->n_modalities; m++) {
        found += json_object_get(o, c->modality[m]) != NULL;
        int rc = mot_json_int(o, name, c->modality[m], 0, MOT_MAX_VECTOR, &c->latent_size[m]);
        if (rc)
            return rc;
    }
    if (found != json_object_size(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"latent_sizes\": names a modality that \"modalities\" does not", name);
    c->latent_sizes_given = true;
    return MOT_OK;
}

static int read_unet(struct mot_config *c, const json_t *j, const char *name)
{
    const json_t *o = json_object_get(j, "unet");
    if (!o || json_is_null(o))
        return MOT_OK;
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"unet\": expected an object", name);
    int rc = mot_json_int(o, name, "channels", 0, MOT_MAX_CHANNELS, &c->unet.channels);
    if (!rc)
        rc = mot_json_int(o, name, "blocks", 1, MOT_MAX_UNET, &c->unet.blocks);
    if (!rc)
        rc = mot_json_int(o, name, "patch_size", 1, MOT_MAX_VECTOR, &c->unet.patch);
    return rc;
}

int mot_vectors_read(struct mot_config *c, const json_t *j, const char *name)
{
    int rc = read_sizes(c, j, name);
    if (!rc)
        rc = read_unet(c, j, name);
    const json_t *o = json_object_get(j, "diffusion");
    if (rc || !o || json_is_null(o))
        return rc;
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: key \"diffusion\": expected an object", name);
    const char *objective = "ddpm", *schedule = "cosine";
    rc = mot_json_string(o, name, "objective", &objective);
    if (!rc)
        rc = mot_json_string(o, name, "schedule", &schedule);
    if (!rc && mot_objective_find(&c->diffusion.objective, objective))
        rc = mot_fail(MOT_EFORMAT, "%s: key \"diffusion.objective\": expected \"ddpm\" or \"flow\", found \"%.40s\"", name, objective);
    if (!rc && strcmp(schedule, "cosine") != 0)
        rc = mot_fail(MOT_EFORMAT, "%s: key \"diffusion.schedule\": only \"cosine\" is supported, not \"%.40s\"", name, schedule);
    if (!rc)
        rc = mot_json_int(o, name, "steps", 2, 100000, &c->diffusion.steps);
    if (!rc)
        rc = mot_json_real(o, name, "shift", 1e-3, 1e3, &c->diffusion.shift);
    return rc;
}

/* Of vectors Transfusion's lambda (arXiv 2408.11039), and BAGEL's equal shares. */
double mot_usual_weight(const struct mot_config *c, int modality)
{
    return c->latent_size[modality] > 0 && c->diffusion.objective == MOT_DDPM ? 5 : 1;
}

int64_t mot_patch_values(const struct mot_config *c)
{
    return mot_has_unet(c) ? c->unet.patch * c->unet.patch * c->unet.channels : c->latent_size[mot_vectors_of(c)];
}

int mot_unet_find(struct mot_unet *u, const char *text)
{
    char *end;
    errno = 0;
    long long channels = strtoll(text, &end, 10), blocks = MOT_UNET_BLOCKS;
    bool good = end != text;
    if (*end == ',') {
        const char *at = end + 1;
        blocks = strtoll(at, &end, 10);
        good &= end != at;
    }
    if (!good || *end || errno || channels < 0 || channels > MOT_MAX_CHANNELS || blocks < 1 || blocks > MOT_MAX_UNET)
        return mot_fail(MOT_EARG, "\"%.40s\": expected the U-Net's CHANNELS, 0 to %d, or CHANNELS,BLOCKS with 1 to %d blocks", text,
                        MOT_MAX_CHANNELS, MOT_MAX_UNET);
    u->channels = channels, u->blocks = blocks;
    return MOT_OK;
}

int mot_unet_settle(struct mot_config *c, const char *name, const struct mot_vocab *v)
{
    struct mot_unet *u = &c->unet;
    int k = mot_vectors_of(c);
    if (k < 0 || u->channels == 0) {
        *u = (struct mot_unet){0};
        return MOT_OK;
    }
    int64_t said = v ? v->modality[k].patch : 0;
    if (u->patch && said && u->patch != said)
        return mot_fail(MOT_EARG, "%s: unet.patch_size says patches of %lld pixels a side, the tokenizer %lld", name,
                        (long long)u->patch, (long long)said);
    if (said)
        u->patch = said;
    if (u->blocks == 0)
        u->blocks = MOT_UNET_BLOCKS;
    if (u->patch == 0 && !v)
        u->patch = 2; /* of the presets */
    if (u->patch == 0)
        return mot_fail(MOT_EARG, "%s: a U-Net needs \"patch_size\" in \"unet\", which the vocabulary does not tell", name);
    if (u->patch > 256 || c->latent_size[k] % (u->patch * u->patch) != 0)
        return mot_fail(MOT_EARG, "%s: a vector of %lld values is no patch of %lld x %lld pixels", name,
                        (long long)c->latent_size[k], (long long)u->patch, (long long)u->patch);
    return MOT_OK;
}

int mot_vectors_settle(struct mot_config *c, const char *name, const struct mot_vocab *v)
{
    int first = -1;
    for (int m = 0; m < c->n_modalities; m++) {
        if (v && c->latent_sizes_given && c->latent_size[m] != v->modality[m].width)
            return mot_fail(MOT_EARG, "%s: latent_sizes says %lld values for a token of %s, the tokenizer %d", name,
                            (long long)c->latent_size[m], c->modality[m], (int)v->modality[m].width);
        if (v)
            c->latent_size[m] = v->modality[m].width;
        if (c->latent_size[m] > 0 && first >= 0)
            return mot_fail(MOT_EARG, "%s: both %s and %s have tokens that are vectors; only one modality may", name,
                            c->modality[first], c->modality[m]);
        if (c->latent_size[m] > 0)
            first = m;
    }
    if (first == 0)
        return mot_fail(MOT_EARG, "%s: the first modality's tokens are words; they cannot be vectors", name);
    if (first > 0 && !c->loss_weights_given)
        c->loss_weight[first] = mot_usual_weight(c, first);
    return mot_unet_settle(c, name, v);
}

void mot_vectors_write(const struct mot_config *c, json_t *j)
{
    int k = mot_vectors_of(c);
    if (k < 0)
        return;
    json_object_set_new(j, "latent_sizes", json_pack("{s:I}", c->modality[k], (json_int_t)c->latent_size[k]));
    const char *objective = mot_objective_name(c->diffusion.objective);
    json_object_set_new(j, "diffusion",
                        c->diffusion.objective == MOT_DDPM
                            ? json_pack("{s:s, s:I, s:s}", "objective", objective, "steps",
                                        (json_int_t)c->diffusion.steps, "schedule", "cosine")
                            : json_pack("{s:s, s:f}", "objective", objective, "shift", c->diffusion.shift));
    if (mot_has_unet(c))
        json_object_set_new(j, "unet", json_pack("{s:I, s:I, s:I}", "channels", (json_int_t)c->unet.channels, "blocks",
                                                 (json_int_t)c->unet.blocks, "patch_size", (json_int_t)c->unet.patch));
}
