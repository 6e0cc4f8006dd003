/* SPDX-License-Identifier: MIT
 *
 * tokenize_quality.c - mot-tokenize --info --quality: how well the codecs of tokenizer folders do on data.
 */
#include <math.h>

#include "tokenize.h"

static void row_text(const char *folder, const struct mot_survey_row *r)
{
    tool_tsv_string(stdout, folder);
    printf("\t%s\t%s\t%lld\t%lld", r->modality, r->codec, (long long)r->items, (long long)r->tokens);
    if (r->codes)
        printf("\t%d\t%d", (int)r->codes, (int)r->used);
    else
        fputs("\t-\t-", stdout);
    const double x[] = {r->perplexity, r->psnr, r->psnr_least, r->ssim, r->distance};
    static const int digits[] = {1, 2, 2, 4, 2};
    for (int i = 0; i < 5; i++)
        if (isnan(x[i]))
            fputs("\t-", stdout);
        else
            printf("\t%.*f", digits[i], x[i]);
    putchar('\n');
}

static void row_json(const char *folder, const struct mot_survey_row *r)
{
    fputs("{\"tokenizer\":", stdout);
    tool_json_string(stdout, folder);
    printf(",\"modality\":\"%s\",\"codec\":\"%s\",\"items\":%lld,\"tokens\":%lld,\"seconds\":%.3f,", r->modality, r->codec,
           (long long)r->items, (long long)r->tokens, r->seconds);
    if (r->codes)
        printf("\"codes\":%d,\"used\":%d", (int)r->codes, (int)r->used);
    else
        fputs("\"codes\":null,\"used\":null", stdout);
    const double x[] = {r->perplexity, r->psnr, r->psnr_least, r->ssim, r->distance};
    static const char *const names[] = {"perplexity", "psnr", "psnr_least", "ssim", "log_spectral_distance"};
    for (int i = 0; i < 5; i++)
        if (isnan(x[i]))
            printf(",\"%s\":null", names[i]);
        else
            printf(",\"%s\":%.6g", names[i], x[i]);
    puts("}");
}

static void survey_item(struct mot_survey *s, const char *name, const struct mot_item *item)
{
    int rc = item->kind == MOT_KIND_IMAGE    ? mot_survey_image(s, &item->image)
             : item->kind == MOT_KIND_SPEECH ? mot_survey_speech(s, &item->speech)
                                             : MOT_OK;
    if (rc)
        die_lib("%s", name);
}

static void survey_all(const struct tokenize_options *o, struct mot_survey **survey)
{
    struct tokenize_skips skips = {0};
    struct mot_source *s = tokenize_open_source(o, NULL, &skips);
    struct tool_progress p = tool_progress_start("there and back", "MB", 0);
    for (const struct mot_record *r; (r = tokenize_next_record(s));) {
        for (int i = 0; i < r->n_items; i++)
            for (int k = 0; k < o->n_tokenizers; k++)
                survey_item(survey[k], r->name, &r->item[i]);
        tokenize_show_progress(&p, s);
    }
    mot_source_close(s);
    tool_progress_end(&p);
    if (skips.n)
        warn("%lld records were skipped", (long long)skips.n);
}

void tokenize_quality(const struct tokenize_options *o)
{
    struct mot_tokenizer *t[TOKENIZE_MOST_TOKENIZERS];
    struct mot_survey *survey[TOKENIZE_MOST_TOKENIZERS];
    for (int k = 0; k < o->n_tokenizers; k++) {
        t[k] = tokenize_open(o, o->tokenizers[k]);
        survey[k] = t[k] ? mot_survey_new(t[k]) : NULL;
        if (!survey[k])
            die_lib(NULL);
    }
    survey_all(o, survey);
    if (!o->json)
        puts("tokenizer\tmodality\tcodec\titems\ttokens\tcodes\tused\tperplexity\tpsnr\tpsnr_least\tssim\t"
             "log_spectral_distance");
    for (int k = 0; k < o->n_tokenizers; k++) {
        struct mot_survey_row r;
        int rows = 0;
        for (int i = 0; i < 2; i++)
            if (mot_survey_row(survey[k], i, &r)) {
                rows++;
                (o->json ? row_json : row_text)(o->tokenizers[k], &r);
            }
        if (rows == 0)
            warn("%s: it has no codec of pictures or sounds", o->tokenizers[k]);
        mot_survey_free(survey[k]);
        mot_tokenizer_close(t[k]);
    }
}
