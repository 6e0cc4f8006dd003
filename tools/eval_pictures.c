/* SPDX-License-Identifier: MIT
 *
 * eval_pictures.c - sets of pictures, as files or decoded from shards, and how far apart two are.
 */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "eval.h"

/* Is it a shard?  Files begin with the tag of mot-shard(5); what is neither file nor folder (a pipe) is taken for one. */
static bool is_shard(const char *path)
{
    static const char tag[] = "MOTSHRD\n";
    char head[sizeof tag - 1];
    struct stat st;
    if (strcmp(path, "-") == 0)
        return true;
    if (stat(path, &st) || S_ISDIR(st.st_mode))
        return false;
    if (!S_ISREG(st.st_mode))
        return true;
    FILE *f = fopen(path, "rb");
    bool same = f && fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, tag, sizeof head) == 0;
    if (f)
        fclose(f);
    return same;
}

void eval_pictures_open(struct eval_pictures *p, const struct eval_options *o, const char *path)
{
    *p = (struct eval_pictures){.o = o, .path = path};
    if (is_shard(path) && !(p->shard = mot_shard_open(path, NULL, o->keep_going)))
        die_lib(NULL);
}

/* The tokenizer of a shard is the one given, or where the shard's header says, if that is still the same one. */
struct mot_tokenizer *eval_pictures_tokenizer(struct eval_pictures *p, struct mot_tokenizer *given)
{
    const struct mot_vocab *v = p->shard ? mot_shard_vocab(p->shard) : NULL;
    if (!v || (given && strcmp(mot_tokenizer_vocab(given)->digest, v->digest) == 0))
        return p->decoder = given;
    if (!v->folder[0])
        die("%s: its header does not say where its tokenizer is: give -t TOK", p->path);
    p->decoder = p->own = mot_tokenizer_open(v->folder);
    if (!p->own || mot_tokenizer_device(p->own, p->o->device ? p->o->device : "cpu"))
        die_lib("%s: its tokenizer is not where it was, give -t TOK", p->path);
    if (strcmp(mot_tokenizer_vocab(p->own)->digest, v->digest) != 0)
        die("%s: made with %s, whose vocabulary was %s then and is %s now: give -t TOK", p->path, v->folder, v->digest,
            mot_tokenizer_vocab(p->own)->digest);
    return p->own;
}

/* What cannot be read is missing in the figure, so it is told even with -q; a few are, one by one. */
static void skipped(void *context, const char *sentence)
{
    enum { TOLD = 5 };
    struct eval_pictures *p = context;
    if (p->skipped++ < TOLD)
        warn("skipped: %s", sentence);
}

static void add_line(struct mot_bytes *text, const void *data, size_t n)
{
    if ((text->n && n && mot_bytes_append(text, "\n", 1)) || mot_bytes_append(text, data, n))
        die_lib(NULL);
}

static void texts_of_record(struct eval_pictures *p, const struct mot_record *r)
{
    p->text.n = 0;
    for (int i = 0; i < r->n_items; i++)
        if (r->item[i].kind == MOT_KIND_TEXT)
            add_line(&p->text, r->item[i].text.data, r->item[i].text.n);
}

static void texts_of_document(struct eval_pictures *p, const struct mot_vocab *v, const struct mot_doc *d)
{
    struct mot_bytes part = {0};
    p->text.n = 0;
    for (int i = 0; i < d->n_spans; i++) {
        struct mot_span s = mot_doc_part(v, d, i, false);
        part.n = 0;
        if (s.modality == 0 && mot_decode_text(p->decoder, d->id + s.begin, s.n, true, &part))
            die_lib("%s: document %lld", p->path, (long long)p->records);
        add_line(&p->text, part.data, part.n);
    }
    mot_bytes_free(&part);
}

static void of_source(struct eval_pictures *p, eval_picture *take, void *context)
{
    const struct mot_source_options options = {.format = "text", .skipped = skipped, .context = p};
    struct mot_source *s = mot_source_open(&p->path, 1, &options);
    const struct mot_record *r = NULL;
    int rc = s ? 0 : MOT_EIO;
    struct tool_progress progress = tool_progress_start(p->path, "records", 0);
    while (!rc && !(rc = mot_source_next(s, &r)) && r) {
        texts_of_record(p, r);
        for (int i = 0; i < r->n_items; i++)
            if (r->item[i].kind == MOT_KIND_IMAGE)
                take(context, &r->item[i].image, &p->text);
        tool_progress_show(&progress, (double)++p->records, 0, NULL);
    }
    tool_progress_end(&progress);
    if (rc)
        die_lib(NULL);
    if (p->skipped)
        warn("%s: %lld records skipped", p->path, (long long)p->skipped);
    mot_source_close(s);
}

static void of_shard(struct eval_pictures *p, eval_picture *take, void *context)
{
    const struct mot_vocab *v = mot_shard_vocab(p->shard);
    const struct mot_doc *d = NULL;
    int image = mot_vocab_find(v, "image"), rc;
    struct tool_progress progress = tool_progress_start(p->path, "documents", 0);
    for (; !(rc = mot_shard_next(p->shard, &d)) && d; p->records++) {
        if (p->o->clip)
            texts_of_document(p, v, d);
        for (int i = 0; i < d->n_spans; i++) {
            const struct mot_span *s = &d->span[i];
            struct mot_image im = {0};
            if (s->modality != image)
                continue;
            struct mot_grid g = {s->rows, s->columns, v->modality[image].width};
            if (g.width ? mot_decode_latent(p->decoder, &g, mot_doc_vectors(v, d, i), &im)
                        : mot_decode_image(p->decoder, d->id + s->begin, s->n, &im))
                die_lib("%s: document %lld", p->path, (long long)p->records);
            take(context, &im, &p->text);
            mot_image_free(&im);
        }
        tool_progress_show(&progress, (double)p->records, 0, NULL);
    }
    tool_progress_end(&progress);
    if (rc)
        die_lib(NULL);
    if (mot_shard_damage(p->shard))
        warn("%s", mot_shard_damage(p->shard));
}

void eval_pictures_read(struct eval_pictures *p, eval_picture *take, void *context)
{
    if (p->shard)
        of_shard(p, take, context);
    else
        of_source(p, take, context);
}

void eval_pictures_close(struct eval_pictures *p)
{
    mot_shard_close(p->shard);
    mot_tokenizer_close(p->own);
    mot_bytes_free(&p->text);
}

/* ---- Frechet distance ---- */

struct seeing {
    struct mot_gallery gallery;
    struct mot_eye *eye;
    const char *path;
};

static void see(void *context, const struct mot_image *im, const struct mot_bytes *text)
{
    struct seeing *s = context;
    (void)text;
    if (mot_gallery_add(&s->gallery, s->eye, im))
        die_lib("%s", s->path);
}

struct pair {
    const struct mot_gallery *a, *b;
};

static double figure(const void *context, const int64_t *pick, int64_t n)
{
    const struct pair *p = context;
    double x;
    (void)n;
    return mot_frechet(p->a, p->b, pick, &x) ? (double)NAN : x;
}

static void print_distance(const struct eval_options *o, const struct mot_gallery *a, const struct mot_gallery *b)
{
    struct pair pair = {a, b};
    double x;
    if (mot_frechet(a, b, NULL, &x))
        die_lib("%s and %s", o->input[0], o->input[1]);
    struct mot_interval i = eval_interval(o, x, figure, &pair, a->n + b->n, a->n);
    i.lo = i.lo < 0 ? 0 : i.lo;
    if (!o->json)
        puts(o->confidence > 0 ? "metric\titems\treferences\tvalue\tvalue_lo\tvalue_hi" : "metric\titems\treferences\tvalue");
    printf(o->json ? "{\"metric\":\"%s\",\"items\":%lld,\"references\":%lld" : "%s\t%lld\t%lld", o->inception ? "fid" : "frechet",
           (long long)a->n, (long long)b->n);
    eval_print_interval(o, "value", x, i);
    puts(o->json ? "}" : "");
}

void eval_frechet(const struct eval_options *o)
{
    struct eval_pictures set[2];
    struct seeing seeing[2] = {{.path = o->input[0]}, {.path = o->input[1]}};
    struct mot_tokenizer *given = o->tokenizer ? mot_tokenizer_open(o->tokenizer) : NULL, *t = given;
    if (o->tokenizer && (!given || mot_tokenizer_device(given, o->device ? o->device : "cpu")))
        die_lib(NULL);
    for (int i = 0; i < 2; i++)
        eval_pictures_open(&set[i], o, o->input[i]);
    for (int i = 0; i < 2; i++) {
        struct mot_tokenizer *own = eval_pictures_tokenizer(&set[i], given);
        t = t ? t : own;
    }
    if (!t && !o->inception)
        die_usage("-t TOK is missing: the codec whose square and patches the pictures are compared in");
    struct mot_eye *eye = mot_eye_open(t, o->inception, o->threads);
    if (!eye)
        die_lib(NULL);
    for (int i = 0; i < 2; i++) {
        seeing[i].eye = eye;
        eval_pictures_read(&set[i], see, &seeing[i]);
        if (seeing[i].gallery.n < 2)
            die("%s: %s picture in it: a distance needs two or more", o->input[i], seeing[i].gallery.n ? "one" : "no");
    }
    print_distance(o, &seeing[0].gallery, &seeing[1].gallery);
    mot_eye_close(eye);
    for (int i = 0; i < 2; i++) {
        mot_gallery_free(&seeing[i].gallery);
        eval_pictures_close(&set[i]);
    }
    mot_tokenizer_close(given);
}
