/* SPDX-License-Identifier: MIT
 *
 * tokenize_decode.c - mot-tokenize --decode: shards back to texts, pictures and sounds.
 */
#include <string.h>

#include "tokenize.h"

struct decoding {
    const struct tokenize_options *o;
    const char *path; /* of the shard */
    struct mot_tokenizer *t;
    int64_t document, passed_over; /* in all shards: documents seen, pictures and sounds not written */
    struct tool_progress p;
    struct mot_bytes text;
};

/* The tokenizer of a shard without -t is where its header says, if that is still the same one. */
static void find_tokenizer(struct decoding *c, const struct mot_vocab *v)
{
    if (c->t && strcmp(mot_tokenizer_vocab(c->t)->digest, v->digest) == 0)
        return;
    if (!v->folder[0])
        die("%s: its header does not say where its tokenizer is: give -t TOK", c->path);
    mot_tokenizer_close(c->t);
    c->t = tokenize_open(c->o, v->folder);
    if (!c->t)
        die_lib("%s: its tokenizer is not where it was, give -t TOK", c->path);
    if (strcmp(mot_tokenizer_vocab(c->t)->digest, v->digest) != 0)
        die("%s: made with %s, whose vocabulary was %s then and is %s now: give -t TOK", c->path, v->folder, v->digest,
            mot_tokenizer_vocab(c->t)->digest);
}

static int write_image(struct mot_tokenizer *t, const int32_t *id, int64_t n, const char *path)
{
    struct mot_image im = {0};
    int rc = mot_decode_image(t, id, n, &im);
    if (!rc)
        rc = mot_image_save_png(&im, path);
    mot_image_free(&im);
    return rc;
}

static int write_vectors(struct mot_tokenizer *t, const struct mot_span *s, int32_t width, const uint16_t *value, const char *path)
{
    struct mot_image im = {0};
    int rc = mot_decode_latent(t, &(struct mot_grid){s->rows, s->columns, width}, value, &im);
    if (!rc)
        rc = mot_image_save_png(&im, path);
    mot_image_free(&im);
    return rc;
}

static int write_speech(struct mot_tokenizer *t, const int32_t *id, int64_t n, const char *path)
{
    struct mot_audio a = {0};
    int rc = mot_decode_speech(t, id, n, &a);
    if (!rc)
        rc = mot_audio_save_wav(&a, path);
    mot_audio_free(&a);
    return rc;
}

/* Span i of the document, of which s is what is to be written: DIR/NNNNNN.SUFFIX, or DIR/NNNNNN.K.SUFFIX for the K-th of its
 * kind in the document. */
static void write_part(struct decoding *c, const struct mot_vocab *v, const struct mot_doc *d, int span, const struct mot_span *s,
                       int k)
{
    const char *modality = v->modality[s->modality].name;
    const int32_t *id = d->id + s->begin;
    static const struct {
        const char *modality, *suffix;
    } kinds[] = {{"text", "txt"}, {"image", "png"}, {"speech", "wav"}};
    char path[4096], nth[16] = "";
    int i = 0;
    while (i < 3 && strcmp(kinds[i].modality, modality) != 0)
        i++;
    if (k > 1)
        snprintf(nth, sizeof nth, ".%d", k);
    int length = i < 3 ? snprintf(path, sizeof path, "%s/%06lld%s.%s", c->o->output, (long long)c->document, nth,
                                  kinds[i].suffix) : 0;
    if (length >= (int)sizeof path)
        die("%s: the name is too long", c->o->output);
    int rc;
    if (i == 0)
        rc = mot_write_file(path, c->text.data, c->text.n);
    else if (i == 1)
        rc = s->rows ? write_vectors(c->t, s, v->modality[s->modality].width, mot_doc_vectors(v, d, span), path)
                     : write_image(c->t, id, s->n, path);
    else if (i == 2)
        rc = write_speech(c->t, id, s->n, path);
    else
        rc = mot_fail(MOT_EARG, "nothing here decodes %s", modality);
    if (rc == MOT_EIO || rc == MOT_ENOMEM)
        die_lib(NULL);
    if (rc)
        fail_lib("document %lld", (long long)c->document);
}

static void put_text(const struct mot_bytes *text, bool *line_open)
{
    tokenize_put(text->data, text->n);
    if (text->n)
        *line_open = text->data[text->n - 1] != '\n';
}

static int decode_text(struct decoding *c, const int32_t *id, int64_t n)
{
    if (!c->o->encode.doc.utf8)
        return mot_decode_text(c->t, id, n, c->o->skip_special, &c->text);
    struct mot_bytes bytes = {0};
    int rc = mot_decode_text(c->t, id, n, c->o->skip_special, &bytes);
    if (!rc)
        rc = mot_utf8_lossy(bytes.data, bytes.n, &c->text);
    mot_bytes_free(&bytes);
    return rc;
}

static void decode_document(void *context, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct decoding *c = context;
    int seen[MOT_MAX_MODALITIES] = {0};
    bool line_open = true;
    find_tokenizer(c, v);
    for (int i = 0; i < d->n_spans; i++) {
        struct mot_span s = mot_doc_part(v, d, i, c->o->encode.doc.raw);
        if (s.n == 0)
            continue;
        c->text.n = 0;
        if (s.modality == 0 && decode_text(c, d->id + s.begin, s.n))
            die_lib("document %lld", (long long)c->document);
        if (c->o->output)
            write_part(c, v, d, i, &s, ++seen[s.modality]);
        else if (s.modality == 0)
            put_text(&c->text, &line_open);
        else
            c->passed_over++;
    }
    if (!c->o->output && line_open && c->o->format && strcmp(c->o->format, "lines") == 0)
        tokenize_put("\n", 1);
    c->document++;
    tool_progress_show(&c->p, (double)c->document, 0, NULL);
}

void tokenize_decode(const struct tokenize_options *o)
{
    struct decoding c = {.o = o, .p = tool_progress_start("decoding", "documents", 0)};
    const struct mot_vocab *expect = tokenize_expected(o);
    if (o->tokenizer && !(c.t = tokenize_open(o, o->tokenizer)))
        die_lib(NULL);
    if (o->output && mot_make_folder(o->output))
        die_lib(NULL);
    for (int i = 0; i < o->n_inputs; i++) {
        c.path = tokenize_spoken(o->input[i]);
        tokenize_read_shard(o, o->input[i], expect, decode_document, &c, NULL);
    }
    tool_progress_end(&c.p);
    if (c.passed_over)
        note("%lld pictures and sounds were passed over; -o DIR writes them", (long long)c.passed_over);
    mot_bytes_free(&c.text);
    mot_tokenizer_close(c.t);
}
