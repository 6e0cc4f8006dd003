/* SPDX-License-Identifier: MIT
 *
 * tokenizer.c - a tokenizer folder, opened: text, pictures and sounds to ids of one vocabulary and
 * back.
 *
 * The vocabulary's digest is computed anew when the folder is opened: a file that was exchanged or
 * damaged since the folder was made would give ids another meaning without any sign.
 */
#include "../base/device.h"
#include "token.h"

struct mot_tokenizer {
    char *folder;
    struct mot_vocab vocab;
    struct mot_text *text;
    struct mot_text_state state;
    struct mot_image_codec *image;
    struct mot_speech_codec *speech;
    int image_at, speech_at; /* modality indices, -1: none */
    bool shared; /* another handle owns all but the state */
};

static int check_digest(const struct mot_tokenizer *t)
{
    struct mot_vocab now = t->vocab;
    int rc = mot_vocab_seal(&now, t->folder);
    if (!rc && strcmp(now.digest, t->vocab.digest) != 0)
        rc = mot_fail(
            MOT_ECORRUPT,
            "%s/vocab.json: digest %s, but the folder's files give %s: a file was changed or removed after "
            "the folder was made",
            t->folder, t->vocab.digest, now.digest);
    return rc;
}

static int open_text(struct mot_tokenizer *t)
{
    char *path = mot_path(t->folder, "tokenizer.json");
    int rc = path ? MOT_OK : MOT_ENOMEM;
    json_t *j = NULL, *own = NULL;
    if (!rc && !mot_file_exists(path))
        rc = mot_fail(MOT_EIO, "%s: no tokenizer.json there: not a tokenizer folder", t->folder);
    if (!rc && !(j = mot_json_load(path, MOT_TOKENIZER_LIMIT)))
        rc = MOT_EFORMAT;
    if (!rc)
        rc = mot_vocab_own(t->folder, &own);
    if (!rc && own)
        rc = (rc = mot_vocab_read(&t->vocab, t->folder, own)) ? rc : check_digest(t);
    if (!rc && !(t->text = mot_text_load(path, j)))
        rc = MOT_EFORMAT;
    if (!rc && !own) /* after the text, which says what in the file is of a kind that is not known */
        rc = mot_vocab_foreign(&t->vocab, t->folder, j);
    if (!rc && t->text->n_ids > t->vocab.modality[0].n)
        rc = mot_fail(MOT_EARG, "%s: it has ids up to %d, vocab.json gives text %d ids", path,
                      t->text->n_ids - 1, t->vocab.modality[0].n);
    json_decref(j);
    json_decref(own);
    mot_free(path);
    return rc ? rc : mot_text_state_init(&t->state);
}

static int check_size(const struct mot_tokenizer *t, int modality, int codes)
{
    if (codes == t->vocab.modality[modality].n)
        return MOT_OK;
    return mot_fail(MOT_EARG, "%s: the %s codec has %d codes, vocab.json gives it %d ids",
                    t->folder, t->vocab.modality[modality].name, codes,
                    t->vocab.modality[modality].n);
}

/* Vectors of a picture codec, or ids, as vocab.json has them. */
static int check_width(const struct mot_tokenizer *t)
{
    struct mot_grid g = {0};
    mot_image_codec_grid(t->image, &g);
    int32_t width = t->vocab.modality[t->image_at].width;
    if (width == g.width)
        return check_size(t, t->image_at, mot_image_codec_size(t->image));
    return mot_fail(MOT_EARG, "%s: the image codec has vectors of %d values, vocab.json says %d", t->folder, g.width, width);
}

/* Where a modality's codec is, if it has one: ids may have been reserved for a codec elsewhere. */
static char *codec_path(const struct mot_tokenizer *t, const char *modality, int *at, int *rc)
{
    char file[MOT_NAME_BYTES + 16];
    *at = mot_vocab_find(&t->vocab, modality);
    snprintf(file, sizeof file, "%s.safetensors", modality);
    char *path = *at < 0 ? NULL : mot_path(t->folder, file);
    if (*at >= 0 && !path)
        *rc = MOT_ENOMEM;
    if (path && mot_file_exists(path))
        return path;
    mot_free(path);
    return NULL;
}

static int open_codecs(struct mot_tokenizer *t)
{
    int rc = MOT_OK;
    char *image = codec_path(t, "image", &t->image_at, &rc), *speech = codec_path(t, "speech", &t->speech_at, &rc);
    if (!rc && image) {
        t->image = mot_image_codec_load(image);
        rc = t->image ? check_width(t) : MOT_EFORMAT;
    }
    if (!rc && speech) {
        t->speech = mot_speech_codec_load(speech);
        rc = t->speech ? check_size(t, t->speech_at, mot_speech_codec_size(t->speech)) : MOT_EFORMAT;
    }
    mot_free(image);
    mot_free(speech);
    return rc;
}

struct mot_tokenizer *mot_tokenizer_open(const char *folder)
{
    struct mot_tokenizer *t = mot_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->folder = mot_strdup(folder);
    if (t->folder && open_text(t) == MOT_OK && open_codecs(t) == MOT_OK)
        return t;
    mot_tokenizer_close(t);
    return NULL;
}

int mot_tokenizer_device(struct mot_tokenizer *t, const char *device)
{
    if (!device || strcmp(device, "cpu") == 0)
        return MOT_OK;
    const struct mot_kernels *k = mot_device_find(device, "f32");
    int rc = k ? MOT_OK : MOT_EDEVICE;
    if (!rc && t->image)
        rc = mot_image_codec_send(t->image, k);
    if (!rc && t->speech)
        rc = mot_speech_codec_send(t->speech, k);
    return rc;
}

struct mot_tokenizer *mot_tokenizer_share(struct mot_tokenizer *t)
{
    struct mot_tokenizer *u = mot_alloc(1, sizeof *u);
    if (!u)
        return NULL;
    *u = *t;
    u->shared = true;
    u->state = (struct mot_text_state){0};
    if (mot_text_state_init(&u->state) == MOT_OK)
        return u;
    mot_tokenizer_close(u);
    return NULL;
}

void mot_tokenizer_close(struct mot_tokenizer *t)
{
    if (!t)
        return;
    mot_text_state_free(&t->state);
    if (t->shared) {
        mot_free(t);
        return;
    }
    mot_text_free(t->text);
    mot_image_codec_free(t->image);
    mot_speech_codec_free(t->speech);
    mot_free(t->folder);
    mot_free(t);
}

const struct mot_vocab *mot_tokenizer_vocab(const struct mot_tokenizer *t)
{
    return &t->vocab;
}

/* ---- text ---- */

int mot_encode_text(struct mot_tokenizer *t, const void *text, size_t n, struct mot_ids *out)
{
    return mot_text_encode(t->text, &t->state, text, n, out);
}

int mot_decode_text(struct mot_tokenizer *t, const int32_t *id, int64_t n, bool skip_special,
                    struct mot_bytes *out)
{
    for (int64_t i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= t->vocab.modality[0].n)
            return mot_fail(MOT_EARG, "id %d is not a text id: those are below %d", id[i],
                            t->vocab.modality[0].n);
    return mot_text_decode(t->text, &t->state, id, n, skip_special, out);
}

int mot_special_around(struct mot_tokenizer *t, struct mot_ids *before, struct mot_ids *after)
{
    int rc = mot_ids_append(before, t->text->before.id, t->text->before.n);
    return rc ? rc : mot_ids_append(after, t->text->after.id, t->text->after.n);
}

/* ---- pictures and sounds: the codecs count from 0, ids from the range's first ---- */

static int no_codec(const struct mot_tokenizer *t, const char *what)
{
    return mot_fail(MOT_EARG,
                    "%s: it has no codec for %s; learn one with mot-tokenize --learn %s=SIZE",
                    t->folder, what, what);
}

static void shift(struct mot_ids *ids, int64_t from, int32_t by)
{
    for (int64_t i = from; i < ids->n; i++)
        ids->id[i] += by;
}

/* Codes of n ids of a modality, in a new array. */
static int32_t *codes_of(const struct mot_tokenizer *t, int modality, const int32_t *id, int64_t n)
{
    int32_t first = t->vocab.modality[modality].first, size = t->vocab.modality[modality].n;
    int32_t *code = n < 0 ? NULL : mot_alloc((size_t)n, sizeof *code);
    for (int64_t i = 0; code && i < n; i++) {
        if (id[i] < first || id[i] >= first + size) {
            mot_fail(MOT_EARG, "id %d is not of modality %s, whose ids are %d..%d", id[i],
                     t->vocab.modality[modality].name, first, first + size - 1);
            mot_free(code);
            return NULL;
        }
        code[i] = id[i] - first;
    }
    return code;
}

bool mot_tokenizer_describe(const struct mot_tokenizer *t, int modality, char *text, size_t n)
{
    if (modality == t->image_at && t->image)
        mot_image_codec_describe(t->image, text, n);
    else if (modality == t->speech_at && t->speech)
        mot_speech_codec_describe(t->speech, text, n);
    else
        return false;
    return true;
}

bool mot_tokenizer_decodes(const struct mot_tokenizer *t, int modality)
{
    if (modality == t->image_at)
        return t->image && mot_image_codec_decodes(t->image);
    return modality == t->speech_at && t->speech && mot_speech_codec_decodes(t->speech);
}

int mot_tokenizer_patch(const struct mot_tokenizer *t)
{
    if (t->image)
        return mot_image_codec_patch(t->image);
    (void)no_codec(t, "image");
    return 0;
}

int mot_encode_image(struct mot_tokenizer *t, const struct mot_image *im, struct mot_ids *out)
{
    if (!t->image)
        return no_codec(t, "image");
    int64_t from = out->n;
    int rc = mot_image_codec_encode(t->image, im, out);
    if (!rc)
        shift(out, from, t->vocab.modality[t->image_at].first);
    return rc;
}

int mot_encode_latent(struct mot_tokenizer *t, const struct mot_image *im, struct mot_latents *out)
{
    return t->image ? mot_image_codec_encode_latent(t->image, im, out) : no_codec(t, "image");
}

int mot_decode_latent(struct mot_tokenizer *t, const struct mot_grid *g, const uint16_t *value, struct mot_image *out)
{
    return t->image ? mot_image_codec_decode_latent(t->image, g, value, out) : no_codec(t, "image");
}

bool mot_tokenizer_grid(const struct mot_tokenizer *t, struct mot_grid *g)
{
    return t->image && mot_image_codec_grid(t->image, g);
}

double mot_tokenizer_range(const struct mot_tokenizer *t)
{
    return t->image ? mot_image_codec_range(t->image) : 0;
}

int mot_tokenizer_prepare_image(struct mot_tokenizer *t, const struct mot_image *im,
                                struct mot_image *out)
{
    return t->image ? mot_image_codec_prepare(t->image, im, out) : no_codec(t, "image");
}

int mot_decode_image(struct mot_tokenizer *t, const int32_t *id, int64_t n, struct mot_image *out)
{
    if (!t->image)
        return no_codec(t, "image");
    int32_t *code = codes_of(t, t->image_at, id, n);
    if (!code)
        return MOT_EARG;
    int rc = mot_image_codec_decode(t->image, code, n, out);
    mot_free(code);
    return rc;
}

int mot_encode_speech(struct mot_tokenizer *t, const struct mot_audio *a, struct mot_ids *out)
{
    if (!t->speech)
        return no_codec(t, "speech");
    int64_t from = out->n;
    int rc = mot_speech_codec_encode(t->speech, a, out);
    if (!rc)
        shift(out, from, t->vocab.modality[t->speech_at].first);
    return rc;
}

int mot_decode_speech(struct mot_tokenizer *t, const int32_t *id, int64_t n, struct mot_audio *out)
{
    if (!t->speech)
        return no_codec(t, "speech");
    int32_t *code = codes_of(t, t->speech_at, id, n);
    if (!code)
        return MOT_EARG;
    int rc = mot_speech_codec_decode(t->speech, code, n, out);
    mot_free(code);
    return rc;
}
