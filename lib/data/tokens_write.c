/* SPDX-License-Identifier: MIT
 *
 * tokens_write.c - documents as files of llm.c, whose form tokens.c tells: each document behind a separator, without what the
 * shard has around it.
 */
#include "numbered.h"

enum { HEAD = 1024, U16 = 20240520, U32 = 20240801, BUFFER = 1 << 14 };

struct mot_tokens_writer {
    struct mot_vocab vocab;
    struct mot_numbered names;
    int64_t number, size; /* of the open file; bytes it may have, 0: as many as the format has */
    bool wide;
    int32_t separator;
    struct mot_out *out;
    int64_t tokens;
    int64_t ambiguous; /* documents with the separator in them */
};

struct mot_tokens_writer *mot_tokens_create(const struct mot_vocab *v, const struct mot_tokens_options *o)
{
    struct mot_tokens_writer *w = mot_alloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->vocab = *v;
    w->size = o->size;
    w->wide = o->wide;
    int32_t first = o->wide ? v->bos : v->eos, second = o->wide ? v->eos : v->bos;
    w->separator = o->has_separator ? o->separator : first >= 0 ? first : second;
    int rc = mot_numbered_init(&w->names, o->path, ".bin", o->size > 0, false);
    if (!rc && (w->separator < 0 || w->separator >= v->size))
        rc = mot_fail(MOT_EARG, "%s: what separates documents? The vocabulary has no such token: give --separator ID, below %d",
                      o->path, v->size);
    if (!rc)
        return w;
    mot_tokens_abort(w);
    return NULL;
}

static int open_file(struct mot_tokens_writer *w)
{
    unsigned char head[HEAD] = {0};
    const char *name = mot_numbered_name(&w->names, w->number);
    w->out = name ? mot_out_open(name) : NULL;
    w->tokens = 0;
    return w->out ? mot_out_write(w->out, head, HEAD) : MOT_EIO;
}

static int end_file(struct mot_tokens_writer *w)
{
    unsigned char head[12];
    struct mot_out *out = w->out;
    mot_put32(head, w->wide ? U32 : U16);
    mot_put32(head + 4, w->wide ? 7 : 1);
    mot_put32(head + 8, (uint32_t)w->tokens);
    int rc = mot_out_patch(out, 0, head, sizeof head);
    w->out = NULL;
    w->number++;
    if (!rc)
        return mot_out_commit(out);
    mot_out_abort(out);
    return rc;
}

static int put_ids(struct mot_tokens_writer *w, const int32_t *id, int64_t n)
{
    unsigned char piece[BUFFER];
    int64_t width = w->wide ? 4 : 2, most = BUFFER / width;
    int rc = MOT_OK;
    for (int64_t i = 0, k; !rc && i < n; i += k) {
        k = n - i < most ? n - i : most;
        for (int64_t a = 0; a < k; a++) {
            if (!w->wide && id[i + a] > 0xffff)
                return mot_fail(MOT_EARG, "id %d does not fit 2 bytes: export as llmc-u32", id[i + a]);
            if (w->wide)
                mot_put32(piece + 4 * a, (uint32_t)id[i + a]);
            else
                mot_put16(piece + 2 * a, (uint32_t)id[i + a]);
        }
        rc = mot_out_write(w->out, piece, (size_t)(k * width));
    }
    w->tokens += n;
    return rc;
}

int mot_tokens_add(struct mot_tokens_writer *w, const struct mot_doc *d)
{
    if (d->n_latent)
        return mot_fail(MOT_EARG, "a picture of vectors is in it, and files of llm.c hold ids alone: pictures must be codes "
                                  "(mot-tokenize --learn image=N)");
    int64_t begin = 0, end = d->n, width = w->wide ? 4 : 2;
    if (begin < end && w->vocab.bos >= 0 && d->id[begin] == w->vocab.bos)
        begin++;
    if (begin < end && w->vocab.eos >= 0 && d->id[end - 1] == w->vocab.eos)
        end--;
    int64_t n = end - begin + 1, i = begin;
    int rc = MOT_OK;
    while (i < end && d->id[i] != w->separator)
        i++;
    w->ambiguous += i < end;
    if (w->out && w->size && w->tokens && HEAD + (w->tokens + n) * width > w->size)
        rc = end_file(w);
    if (!rc && !w->out)
        rc = open_file(w);
    if (!rc && w->tokens + n > INT32_MAX)
        rc = mot_fail(MOT_EARG, "%s: more tokens than a file of llm.c can have, 2147483647: give --shard-size", w->names.name);
    if (!rc)
        rc = put_ids(w, &w->separator, 1);
    return rc ? rc : put_ids(w, d->id + begin, end - begin);
}

int64_t mot_tokens_ambiguous(const struct mot_tokens_writer *w)
{
    return w->ambiguous;
}

int mot_tokens_commit(struct mot_tokens_writer *w)
{
    int rc = !w->out && w->number == 0 ? open_file(w) : MOT_OK;
    if (!rc && w->out)
        rc = end_file(w);
    mot_tokens_abort(w);
    return rc;
}

void mot_tokens_abort(struct mot_tokens_writer *w)
{
    if (!w)
        return;
    mot_out_abort(w->out);
    mot_numbered_free(&w->names);
    mot_free(w);
}
