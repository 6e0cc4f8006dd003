/* SPDX-License-Identifier: MIT
 *
 * tokenize_shards.c - mot-tokenize looking into shards: --dump, --info, --check.
 */
#include <errno.h>
#include <string.h>

#include "tokenize.h"

void tokenize_put(const void *data, size_t n)
{
    if (fwrite(data, 1, n, stdout) != n)
        die("standard output: cannot write: %s", strerror(errno));
}

const char *tokenize_spoken(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

const struct mot_vocab *tokenize_expected(const struct tokenize_options *o)
{
    static struct mot_vocab v;
    if (!o->tokenizer)
        return NULL;
    if (mot_vocab_load(&v, o->tokenizer))
        die_lib(NULL);
    return &v;
}

bool tokenize_read_shard(const struct tokenize_options *o, const char *path, const struct mot_vocab *expect,
                         tokenize_document *handle, void *context, struct mot_vocab *v)
{
    struct mot_shard *s = mot_shard_open(path, expect, o->keep_going);
    if (!s && o->keep_going) {
        fail_lib(NULL);
        return false;
    }
    if (!s)
        die_lib(NULL);
    if (v)
        *v = *mot_shard_vocab(s);
    const struct mot_doc *d = NULL;
    int rc;
    while (!(rc = mot_shard_next(s, &d)) && d)
        handle(context, mot_shard_vocab(s), d);
    if (rc)
        die_lib(NULL);
    if (mot_shard_damage(s))
        warn("%s", mot_shard_damage(s));
    mot_shard_close(s);
    return true;
}

static void dump_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct mot_bytes *line = context;
    line->n = 0;
    if (mot_doc_format(v, d, line))
        die_lib(NULL);
    tokenize_put(line->data, line->n);
}

void tokenize_dump(const struct tokenize_options *o)
{
    struct mot_bytes line = {0};
    const struct mot_vocab *expect = tokenize_expected(o);
    for (int i = 0; i < o->n_inputs; i++)
        tokenize_read_shard(o, o->input[i], expect, dump_document, &line, NULL);
    mot_bytes_free(&line);
}

/* ---- --info, --check ---- */

struct info {
    struct mot_vocab v;
    int64_t documents, tokens, text_bytes, longest;
    struct {
        int64_t documents, segments, tokens;
    } modality[MOT_MAX_MODALITIES];
};

static void count_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct info *f = context;
    (void)v;
    bool has[MOT_MAX_MODALITIES] = {0};
    f->documents++;
    f->tokens += d->n;
    f->text_bytes += d->text_bytes;
    f->longest = d->n > f->longest ? d->n : f->longest;
    for (int i = 0; i < d->n_spans; i++) {
        int m = d->span[i].modality;
        f->modality[m].documents += !has[m];
        f->modality[m].segments++;
        f->modality[m].tokens += d->span[i].n;
        has[m] = true;
    }
}

static void info_json(const struct info *f, const char *path)
{
    fputs("{\"shard\":", stdout);
    tool_json_string(stdout, path);
    printf(",\"digest\":\"%s\",\"vocab_size\":%d,\"tokenizer\":", f->v.digest, (int)f->v.size);
    if (f->v.folder[0])
        tool_json_string(stdout, f->v.folder);
    else
        fputs("null", stdout);
    printf(",\"documents\":%lld,\"tokens\":%lld,\"bytes\":%lld,\"longest\":%lld,\"modalities\":[", (long long)f->documents,
           (long long)f->tokens, (long long)f->text_bytes, (long long)f->longest);
    for (int m = 0; m < f->v.n_modalities; m++) {
        printf("%s{\"name\":\"%s\",\"first\":%d,\"size\":%d,", m ? "," : "", f->v.modality[m].name,
               (int)f->v.modality[m].first, (int)f->v.modality[m].n);
        if (f->v.modality[m].width)
            printf("\"width\":%d,", (int)f->v.modality[m].width);
        if (f->v.modality[m].patch)
            printf("\"patch\":%d,", (int)f->v.modality[m].patch);
        printf("\"documents\":%lld,\"segments\":%lld,\"tokens\":%lld}", (long long)f->modality[m].documents,
               (long long)f->modality[m].segments, (long long)f->modality[m].tokens);
    }
    puts("]}");
}

static void info_row(const char *path, const char *name, int64_t documents, int64_t segments, int64_t tokens, int64_t bytes)
{
    tool_tsv_string(stdout, path);
    printf("\t%s\t%lld\t%lld\t%lld\t", name, (long long)documents, (long long)segments, (long long)tokens);
    if (bytes)
        printf("%lld\t%.4f\n", (long long)bytes, (double)tokens / (double)bytes);
    else
        puts("-\t-");
}

void tokenize_info(const struct tokenize_options *o)
{
    const struct mot_vocab *expect = tokenize_expected(o);
    if (!o->json)
        puts("shard\tmodality\tdocuments\tsegments\ttokens\tbytes\ttokens_per_byte");
    for (int i = 0; i < o->n_inputs; i++) {
        struct info f = {0};
        int64_t segments = 0;
        if (!tokenize_read_shard(o, o->input[i], expect, count_document, &f, &f.v))
            continue;
        if (o->json) {
            info_json(&f, o->input[i]);
            continue;
        }
        for (int m = 0; m < f.v.n_modalities; m++) {
            info_row(o->input[i], f.v.modality[m].name, f.modality[m].documents, f.modality[m].segments,
                     f.modality[m].tokens, m == 0 ? f.text_bytes : 0);
            segments += f.modality[m].segments;
        }
        info_row(o->input[i], "all", f.documents, segments, f.tokens, 0);
    }
}

void tokenize_check(const struct tokenize_options *o)
{
    const struct mot_vocab *expect = tokenize_expected(o);
    for (int i = 0; i < o->n_inputs; i++) {
        struct mot_shard_counts c;
        if (mot_shard_count(o->input[i], expect, &c))
            fail_lib(NULL);
        else if (!tool_quiet)
            printf("%s: good: %lld documents, %lld tokens\n", tokenize_spoken(o->input[i]), (long long)c.documents,
                   (long long)c.tokens);
    }
}
