/* SPDX-License-Identifier: MIT
 *
 * survey.c - how well a folder's codecs do on data: how near pictures and sounds come back, how many of the codes are in
 * use and how evenly.
 */
#include <math.h>

#include "token.h"

struct tally {
    bool there;
    int64_t *uses; /* of each code; vectors have none */
    int64_t returned;
    struct mot_survey_row row;
};

struct mot_survey {
    struct mot_tokenizer *t;
    int image_at, speech_at;
    struct tally tally[2]; /* pictures, sounds */
    struct mot_ids ids;
    struct mot_latents latents;
};

static int begin_tally(struct mot_survey *s, struct tally *y, int modality)
{
    const struct mot_vocab *v = mot_tokenizer_vocab(s->t);
    y->row = (struct mot_survey_row){.psnr = NAN, .psnr_least = NAN, .ssim = NAN, .distance = NAN, .perplexity = NAN};
    if (modality < 0 || !mot_tokenizer_describe(s->t, modality, y->row.codec, sizeof y->row.codec))
        return MOT_OK;
    memcpy(y->row.modality, v->modality[modality].name, sizeof y->row.modality);
    y->there = true;
    y->row.codes = v->modality[modality].width ? 0 : v->modality[modality].n;
    y->uses = mot_alloc((size_t)y->row.codes, sizeof *y->uses);
    return y->uses ? MOT_OK : MOT_ENOMEM;
}

struct mot_survey *mot_survey_new(struct mot_tokenizer *t)
{
    struct mot_survey *s = mot_alloc(1, sizeof *s);
    if (!s)
        return NULL;
    const struct mot_vocab *v = mot_tokenizer_vocab(t);
    *s = (struct mot_survey){.t = t, .image_at = mot_vocab_find(v, "image"), .speech_at = mot_vocab_find(v, "speech")};
    if (begin_tally(s, &s->tally[0], s->image_at) == MOT_OK && begin_tally(s, &s->tally[1], s->speech_at) == MOT_OK)
        return s;
    mot_survey_free(s);
    return NULL;
}

void mot_survey_free(struct mot_survey *s)
{
    if (!s)
        return;
    mot_free(s->tally[0].uses);
    mot_free(s->tally[1].uses);
    mot_ids_free(&s->ids);
    mot_latents_free(&s->latents);
    mot_free(s);
}

static void count_ids(struct mot_survey *s, struct tally *y, int modality)
{
    int32_t first = mot_tokenizer_vocab(s->t)->modality[modality].first;
    for (int64_t i = 0; i < s->ids.n; i++)
        y->uses[s->ids.id[i] - first]++;
    y->row.items++;
    y->row.tokens += s->ids.n;
}

/* The mean of what there is so far and x. */
static void mean_in(double *mean, int64_t n, double x)
{
    *mean = n == 0 ? x : *mean + (x - *mean) / (double)(n + 1);
}

/* Equal pictures have no finite PSNR: they count as what an error of one in one value of a thousand would give. */
static double limited(double psnr)
{
    return fmin(psnr, 78);
}

/* The picture to s->ids, or to s->latents, and counted. */
static int encode_image(struct mot_survey *s, struct tally *y, const struct mot_image *im)
{
    s->ids.n = s->latents.n = s->latents.n_grids = 0;
    int rc = y->row.codes ? mot_encode_image(s->t, im, &s->ids) : mot_encode_latent(s->t, im, &s->latents);
    if (rc)
        return rc;
    count_ids(s, y, s->image_at);
    y->row.tokens += y->row.codes ? 0 : mot_grid_tokens(s->latents.grid);
    return MOT_OK;
}

int mot_survey_image(struct mot_survey *s, const struct mot_image *im)
{
    struct tally *y = &s->tally[0];
    struct mot_image square = {0}, back = {0};
    if (!y->there)
        return MOT_OK;
    int rc = encode_image(s, y, im);
    if (rc)
        return rc;
    if (!mot_tokenizer_decodes(s->t, s->image_at))
        return MOT_OK;
    rc = mot_tokenizer_prepare_image(s->t, im, &square);
    if (!rc)
        rc = y->row.codes ? mot_decode_image(s->t, s->ids.id, s->ids.n, &back)
                          : mot_decode_latent(s->t, s->latents.grid, s->latents.value, &back);
    if (!rc) {
        double psnr = limited(mot_image_psnr(&square, &back));
        mean_in(&y->row.psnr, y->returned, psnr);
        mean_in(&y->row.ssim, y->returned, mot_image_ssim(&square, &back));
        y->row.psnr_least = y->returned == 0 ? psnr : fmin(psnr, y->row.psnr_least);
        y->returned++;
    }
    mot_image_free(&square);
    mot_image_free(&back);
    return rc;
}

int mot_survey_speech(struct mot_survey *s, const struct mot_audio *a)
{
    struct tally *y = &s->tally[1];
    struct mot_audio back = {0};
    double distance;
    s->ids.n = 0;
    if (!y->there)
        return MOT_OK;
    int rc = mot_encode_speech(s->t, a, &s->ids);
    if (rc)
        return rc;
    count_ids(s, y, s->speech_at);
    y->row.seconds += a->rate > 0 ? (double)a->n / a->rate : 0;
    if (!mot_tokenizer_decodes(s->t, s->speech_at) || a->n == 0)
        return MOT_OK;
    rc = mot_decode_speech(s->t, s->ids.id, s->ids.n, &back);
    if (!rc)
        rc = mot_speech_distance(a, &back, &distance);
    if (!rc)
        mean_in(&y->row.distance, y->returned++, distance);
    mot_audio_free(&back);
    return rc;
}

bool mot_survey_row(const struct mot_survey *s, int i, struct mot_survey_row *row)
{
    const struct tally *y = &s->tally[i];
    *row = y->row;
    if (!y->there)
        return false;
    double entropy = 0;
    for (int32_t k = 0; k < row->codes; k++) {
        double share = row->tokens ? (double)y->uses[k] / (double)row->tokens : 0;
        row->used += y->uses[k] > 0;
        entropy -= share > 0 ? share * log(share) : 0;
    }
    row->perplexity = row->tokens && row->codes ? exp(entropy) : NAN;
    return true;
}
