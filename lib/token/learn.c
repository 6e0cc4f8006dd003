/* SPDX-License-Identifier: MIT
 *
 * learn.c - a tokenizer folder learned from data: text by byte-pair encoding, pictures and sounds
 * by their codecs, and vocab.json, which ties them together and is written last: its digest covers
 * the other files, so a folder whose learning was broken off does not open as something else than
 * what it was.
 */
#include <omp.h>
#include <unistd.h>

#include "../base/device.h"
#include "patches.h"
#include "token.h"
#include "vae.h"
#include "vqgan.h"

enum { BYTES = 256, MAX_TEXT = 1 << 24 };

struct mot_learner {
    struct mot_learn_options o;
    struct mot_bpe_learner *text;
    struct mot_image_learner *image;
    struct mot_speech_learner *speech;
    const char *special[6];
    int n_special;
};

static bool has_image(const struct mot_learner *l)
{
    return l->o.image > 0 || l->o.image_net || l->o.pixels || l->o.vae;
}

static bool has_speech(const struct mot_learner *l)
{
    return l->o.speech > 0 || l->o.speech_net;
}

/* The delimiters of the modalities wanted, in the order of their ids. */
static void choose_special(struct mot_learner *l)
{
    l->special[l->n_special++] = "<|bos|>";
    l->special[l->n_special++] = "<|eos|>";
    if (has_image(l)) {
        l->special[l->n_special++] = "<|boi|>";
        l->special[l->n_special++] = "<|eoi|>";
    }
    if (has_speech(l)) {
        l->special[l->n_special++] = "<|bos_speech|>";
        l->special[l->n_special++] = "<|eos_speech|>";
    }
}

static int begin_learners(struct mot_learner *l)
{
    struct mot_learn_options *o = &l->o;
    if (o->text < 0 || o->image < 0 || o->speech < 0 || (!o->text && !o->text_from && !has_image(l) && !has_speech(l)))
        return mot_fail(MOT_EARG, "nothing to learn: give a size for text, image or speech");
    if (o->image && o->image_net)
        return mot_fail(MOT_EARG, "image=%d: the codebook of %s has its own size", o->image, o->image_net);
    if ((o->pixels || o->vae) && (o->image || o->image_net))
        return mot_fail(MOT_EARG, "pictures are either codes or vectors");
    if ((o->pixels || o->vae) && o->patch_size)
        return mot_fail(MOT_EARG, "patches of %d pixels: pictures of vectors have patches of their own", o->patch_size);
    if (o->speech && o->speech_centres)
        return mot_fail(MOT_EARG, "speech=%d: %s has so many units as it has", o->speech, o->speech_centres);
    if (!o->speech && o->speech_net && !o->speech_centres)
        return mot_fail(MOT_EARG, "%s: give speech=N for so many units to learn, or a file of centres", o->speech_net);
    if (o->patch_size && o->image_net)
        return mot_fail(MOT_EARG, "%s has patches of its own", o->image_net);
    choose_special(l);
    int32_t least = BYTES + l->n_special;
    if (o->text == 0 || o->text_from)
        o->text = least; /* delimiters are text: bytes and they alone */
    if (o->text < least || o->text > MAX_TEXT)
        return mot_fail(MOT_EARG,
                        "text=%d: a vocabulary has %d ids (256 bytes, %d special tokens) to %d",
                        o->text, least, l->n_special, MAX_TEXT);
    if (!o->image_net && !o->vae) {
        o->image_size = o->image_size ? o->image_size : 64;
        o->patch_size = o->pixels ? o->pixels : o->patch_size ? o->patch_size : 8;
    }
    if (o->pixels && mot_pixels_check(o->image_size, o->pixels))
        return MOT_EARG;
    l->text = mot_bpe_learner_new(0);
    if (!l->text)
        return MOT_ENOMEM;
    if (o->image &&
        !(l->image = mot_image_learner_new(o->image, o->image_size, o->patch_size, o->seed)))
        return MOT_EARG;
    const struct mot_kernels *k = o->device ? mot_device_find(o->device, "f32") : NULL;
    if (o->device && !k)
        return MOT_EDEVICE;
    if (o->speech_net)
        l->speech = mot_speech_learner_net(o->speech_net, o->speech_config, o->speech_layer, o->speech_centres, o->speech,
                                           o->merge_repeats, o->seed, k);
    else if (o->speech)
        l->speech = mot_speech_learner_new(o->speech, o->merge_repeats, o->seed);
    return has_speech(l) && !l->speech ? MOT_EARG : MOT_OK;
}

struct mot_learner *mot_learner_new(const struct mot_learn_options *o)
{
    struct mot_learner *l = mot_alloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->o = *o;
    if (begin_learners(l) == MOT_OK)
        return l;
    mot_learner_free(l);
    return NULL;
}

int mot_learner_text(struct mot_learner *l, const void *text, size_t n)
{
    return mot_bpe_learner_add(l->text, text, n);
}

int mot_learner_image(struct mot_learner *l, const struct mot_image *im)
{
    return l->image ? mot_image_learner_add(l->image, im)
                    : mot_fail(MOT_EARG, "a picture, but no size for image was given");
}

int mot_learner_speech(struct mot_learner *l, const struct mot_audio *a)
{
    return l->speech ? mot_speech_learner_add(l->speech, a)
                     : mot_fail(MOT_EARG, "a sound, but no size for speech was given");
}

/* ---- the folder ---- */

/* width, patch: of vectors, or 0. */
static void add_range(struct mot_vocab *v, const char *name, int32_t n, int32_t width, int32_t patch)
{
    int m = v->n_modalities++;
    memcpy(v->modality[m].name, name, strlen(name) + 1);
    v->modality[m].first = v->size;
    v->modality[m].n = n;
    v->modality[m].width = width;
    v->modality[m].patch = patch;
    v->size += n;
}

/* The codec's file, and how many codes it has, or one that stands for vectors. */
static int learn_image(struct mot_learner *l, const char *folder, int32_t *codes, int32_t *width, int32_t *patch)
{
    char *path = mot_path(folder, "image.safetensors");
    const struct mot_vae_options vae = {l->o.vae_config, l->o.image_size, l->o.vae_patch, l->o.vae_scale, l->o.vae_shift};
    int rc = !path ? MOT_ENOMEM
             : l->o.image_net ? mot_vqgan_import(l->o.image_net, l->o.image_config, l->o.image_size, path)
             : l->o.pixels    ? mot_pixels_save(l->o.image_size, l->o.pixels, path)
             : l->o.vae       ? mot_vae_import(l->o.vae, &vae, path)
                              : mot_image_learner_save(l->image, path, l->o.progress, l->o.context);
    struct mot_image_codec *c = rc ? NULL : mot_image_codec_load(path);
    mot_free(path);
    if (!rc && !c)
        rc = MOT_ECORRUPT;
    struct mot_grid g = {0};
    if (c) {
        mot_image_codec_grid(c, &g);
        *width = g.width;
        *patch = mot_image_codec_cut(c);
        *codes = mot_image_codec_size(c);
        l->o.image_size = mot_image_codec_side(c);
    }
    mot_image_codec_free(c);
    return rc;
}

static int learn_speech(struct mot_learner *l, const char *folder, int32_t *units)
{
    char *path = mot_path(folder, "speech.safetensors");
    int rc =
        path ? mot_speech_learner_save(l->speech, path, l->o.progress, l->o.context) : MOT_ENOMEM;
    struct mot_speech_codec *c = rc ? NULL : mot_speech_codec_load(path);
    mot_free(path);
    if (!rc && !c)
        rc = MOT_ECORRUPT;
    if (c)
        *units = mot_speech_codec_size(c);
    mot_speech_codec_free(c);
    return rc;
}

/* tokenizer.json, and for the sake of `transformers` the file that names its special tokens. */
static int learn_text(struct mot_learner *l, const char *folder, int32_t *n)
{
    static const char config[] = "{\n"
                                 "  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                                 "  \"bos_token\": \"<|bos|>\",\n"
                                 "  \"eos_token\": \"<|eos|>\",\n"
                                 "  \"clean_up_tokenization_spaces\": false\n"
                                 "}\n";
    struct mot_bpe_merges merges;
    int rc = mot_bpe_learn(l->text, l->special, l->n_special, l->o.text, l->o.progress,
                           l->o.context, &merges);
    char *path = mot_path(folder, "tokenizer.json"),
         *beside = mot_path(folder, "tokenizer_config.json");
    if (!rc && !(path && beside))
        rc = MOT_ENOMEM;
    if (!rc)
        rc = mot_bpe_merges_save(&merges, path);
    if (!rc)
        rc = mot_write_file(beside, config, sizeof config - 1);
    *n = merges.n;
    mot_bpe_merges_free(&merges);
    mot_free(path);
    mot_free(beside);
    return rc;
}

static void name_special(const struct mot_learner *l, struct mot_vocab *v)
{
    bool image = has_image(l), speech = has_speech(l);
    v->bos = 0;
    v->eos = 1;
    v->boi = image ? 2 : -1;
    v->eoi = image ? 3 : -1;
    v->bos_speech = !speech ? -1 : image ? 4 : 2;
    v->eos_speech = !speech ? -1 : image ? 5 : 3;
}

/* For the reader's eye: what counts stands in the codecs' own files. */
static int add_settings(const struct mot_learner *l, json_t *j)
{
    if (!has_image(l) && !has_speech(l))
        return MOT_OK;
    json_t *codecs = json_object();
    int failed = 0;
    if (l->o.image_net || l->o.vae)
        failed |= json_object_set_new(codecs, "image", json_pack("{s:s, s:i}", "kind", l->o.vae ? "vae" : "vqgan", "image_size",
                                                                 l->o.image_size));
    else if (l->o.pixels)
        failed |= json_object_set_new(codecs, "image", json_pack("{s:s, s:i, s:i}", "kind", "pixels", "image_size",
                                                                 l->o.image_size, "patch_size", l->o.pixels));
    else if (l->o.image)
        failed |= json_object_set_new(
            codecs, "image",
            json_pack("{s:i, s:i}", "image_size", l->o.image_size, "patch_size", l->o.patch_size));
    if (l->o.speech_net)
        failed |= json_object_set_new(codecs, "speech", json_pack("{s:s, s:b}", "kind", "hubert", "merge_repeats",
                                                                  l->o.merge_repeats));
    else if (l->o.speech)
        failed |= json_object_set_new(codecs, "speech",
                                      json_pack("{s:b}", "merge_repeats", l->o.merge_repeats));
    failed |= json_object_set_new(j, "codecs", codecs);
    return failed ? mot_fail(MOT_ENOMEM, "out of memory writing a vocabulary") : MOT_OK;
}

/* vocab.json: the vocabulary as in a shard's header, indented, and the codecs' settings. */
static int save_vocab(const struct mot_learner *l, struct mot_vocab *v, const char *folder)
{
    struct mot_bytes text = {0};
    char *path = mot_path(folder, "vocab.json");
    int rc = path ? mot_vocab_seal(v, folder) : MOT_ENOMEM;
    if (!rc)
        rc = mot_vocab_save_json(v, &text);
    json_t *j = rc ? NULL : mot_json_parse(path, text.data, text.n);
    if (!rc)
        rc = j ? add_settings(l, j) : MOT_ENOMEM;
    if (!rc)
        rc = mot_json_save(path, j);
    json_decref(j);
    mot_bytes_free(&text);
    mot_free(path);
    return rc;
}

/* The text range of *v, and its special ids. */
static int make_text(struct mot_learner *l, const char *folder, struct mot_vocab *v)
{
    if (!l->o.text_from) {
        int32_t text = 0;
        int rc = learn_text(l, folder, &text);
        add_range(v, "text", text, 0, 0);
        name_special(l, v);
        return rc;
    }
    int32_t id[4], n = 0; /* <|bos|> and <|eos|> are the tokenizer's own, or there are none */
    int rc = mot_adopt_text(l->o.text_from, folder, l->special + 2, l->n_special - 2, v, id);
    v->boi = has_image(l) ? id[n++] : -1;
    v->eoi = has_image(l) ? id[n++] : -1;
    v->bos_speech = has_speech(l) ? id[n++] : -1;
    v->eos_speech = has_speech(l) ? id[n] : -1;
    return rc;
}

static int learn_all(struct mot_learner *l, const char *folder)
{
    struct mot_vocab v = {0};
    int32_t image = 0, speech = 0, width = 0, patch = 0;
    int rc = mot_make_folder(folder);
    if (!rc && l->o.text_from)
        rc = mot_adopt_check(l->o.text_from, folder);
    if (!rc && has_image(l))
        rc = learn_image(l, folder, &image, &width, &patch);
    if (!rc && has_speech(l))
        rc = learn_speech(l, folder, &speech);
    if (!rc)
        rc = make_text(l, folder, &v);
    if (rc)
        return rc;
    if (image)
        add_range(&v, "image", image, width, patch);
    if (speech)
        add_range(&v, "speech", speech, 0, 0);
    return save_vocab(l, &v, folder);
}

int mot_learner_finish(struct mot_learner *l, const char *folder)
{
    int before = omp_get_max_threads();
    if (l->o.threads > 0)
        omp_set_num_threads(l->o.threads);
    int rc = learn_all(l, folder);
    if (rc)
        (void)rmdir(folder); /* if nothing came into it */
    omp_set_num_threads(before);
    return rc;
}

void mot_learner_free(struct mot_learner *l)
{
    if (!l)
        return;
    mot_bpe_learner_free(l->text);
    mot_image_learner_free(l->image);
    mot_speech_learner_free(l->speech);
    mot_free(l);
}
