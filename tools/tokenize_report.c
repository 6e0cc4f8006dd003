/* SPDX-License-Identifier: MIT
 *
 * tokenize_report.c - what mot-tokenize has made of its input: in words, and as JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenize.h"

static int64_t tokens_of(const struct mot_mark *m, const struct mot_vocab *v)
{
    int64_t n = 0;
    for (int k = 0; k < v->n_modalities; k++)
        n += m->tally[k].tokens;
    return n;
}

static const char *things(const char *modality)
{
    return strcmp(modality, "image") == 0 ? "pictures" : strcmp(modality, "speech") == 0 ? "sounds" : "texts";
}

static void report_modality(const char *prefix, const char *name, const struct mot_tally *t)
{
    char seconds[48] = "", rate[64] = "";
    if (strcmp(name, "speech") == 0)
        snprintf(seconds, sizeof seconds, ", %.1f seconds", t->seconds);
    if (t->bytes)
        snprintf(rate, sizeof rate, ", %.4g tokens per byte", (double)t->tokens / (double)t->bytes);
    note("%s%s: %lld documents, %lld tokens, %lld %s%s, %lld bytes%s", prefix, name, (long long)t->documents,
         (long long)t->tokens, (long long)t->items, things(name), seconds, (long long)t->bytes, rate);
}

void tokenize_report(const char *label, const struct mot_mark *m, const struct mot_vocab *v, int64_t skipped)
{
    char text[MOT_MAX_MODALITIES * (MOT_NAME_BYTES + 24)] = "", prefix[32] = "";
    if (label)
        snprintf(prefix, sizeof prefix, "%s: ", label);
    for (int k = 0; k < v->n_modalities; k++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s %lld", k ? ", " : "", v->modality[k].name, (long long)m->tally[k].tokens);
    }
    note("%s%lld documents, %lld tokens (%s), %lld bytes of text, %lld records skipped", prefix, (long long)m->documents,
         (long long)tokens_of(m, v), text, (long long)m->tally[0].bytes, (long long)skipped);
    for (int k = 0; k < v->n_modalities; k++)
        if (m->tally[k].items)
            report_modality(prefix, v->modality[k].name, &m->tally[k]);
}

void tokenize_report_skips(const struct tokenize_skips *s, const struct mot_source *source)
{
    for (int i = 0; i < s->n_reasons; i++)
        note("skipped for this reason: %lld: %s", (long long)s->reason[i].n, s->reason[i].text);
    int64_t n;
    const char *suffix;
    for (int i = 0; (suffix = mot_source_passed(source, i, &n)); i++)
        note("files of a kind that says nothing here: %lld %s", (long long)n, suffix);
}

/* ---- JSON ---- */

static void json_tally(FILE *f, const char *name, const struct mot_tally *t)
{
    tool_json_string(f, name);
    fprintf(f, ":{\"documents\":%lld,\"tokens\":%lld,\"%s\":%lld,", (long long)t->documents, (long long)t->tokens,
            things(name), (long long)t->items);
    if (strcmp(name, "speech") == 0)
        fprintf(f, "\"seconds\":%.6f,", t->seconds);
    fprintf(f, "\"bytes\":%lld,\"tokens_per_byte\":", (long long)t->bytes);
    if (t->bytes)
        fprintf(f, "%.6g}", (double)t->tokens / (double)t->bytes);
    else
        fputs("null}", f);
}

static void json_mark(FILE *f, const struct mot_mark *m, const struct mot_vocab *v)
{
    fprintf(f, "\"documents\":%lld,\"tokens\":%lld,\"modalities\":{", (long long)m->documents, (long long)tokens_of(m, v));
    for (int k = 0; k < v->n_modalities; k++) {
        fputs(k ? "," : "", f);
        json_tally(f, v->modality[k].name, &m->tally[k]);
    }
    fputc('}', f);
}

static void json_rest(FILE *f, const struct tokenize_skips *s, const struct mot_source *source)
{
    fprintf(f, ",\"skipped\":%lld,\"reasons\":{", (long long)s->n);
    for (int i = 0; i < s->n_reasons; i++) {
        fputs(i ? "," : "", f);
        tool_json_string(f, s->reason[i].text);
        fprintf(f, ":%lld", (long long)s->reason[i].n);
    }
    fputs("},\"passed_over\":{", f);
    int64_t n;
    const char *suffix;
    for (int i = 0; (suffix = mot_source_passed(source, i, &n)); i++) {
        fputs(i ? "," : "", f);
        tool_json_string(f, suffix);
        fprintf(f, ":%lld", (long long)n);
    }
    fputs("}}\n", f);
}

void tokenize_report_json(const char *path, const struct mot_mark *train, const struct mot_mark *validation,
                          const struct mot_vocab *v, const struct tokenize_skips *s, const struct mot_source *source)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        die("%s: out of memory", path);
    fputc('{', f);
    json_mark(f, train, v);
    if (validation) {
        fputs(",\"validation\":{", f);
        json_mark(f, validation, v);
        fputc('}', f);
    }
    json_rest(f, s, source);
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad)
        die("%s: out of memory", path);
    if (mot_write_file(path, text, n))
        die_lib(NULL);
    free(text);
}
