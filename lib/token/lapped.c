/* SPDX-License-Identifier: MIT
 *
 * lapped.c - lapped vector quantisation.
 *
 * With plain vector quantisation every patch is chosen alone and shows its edges.  Here a stamp is
 * larger than its patch, so that each point is a sum of the stamps around it (after lapped
 * transforms: Malvar and Staelin, IEEE ASSP 1989), and codes are chosen together.
 *
 *   encode  begin with the nearest stamps to the tapered windows; then, patch by patch, take the
 *           stamp out of the sum and put in the one that leaves the least error (iterated
 *           conditional modes: Besag 1986).  No step can raise the error.  Patches whose stamps do
 *           not touch form a colour and are done together.
 *   learn   k-means of the patches gives codes; a stamp begins as the tapered mean of its windows;
 *           then, alternately, stamps follow the mean error that is left under them, and codes are
 *           chosen again: Lloyd's two steps, with overlap.
 *
 * On clip art of 64 x 64 in 64 patches this is 1.5 dB better than plain quantisation with as many
 * codes (21.9 and 20.4 dB on pictures not learned from), and to the eye far more.
 */
#include <math.h>

#include <omp.h>

#include "lapped.h"

enum {
    ENCODE_SWEEPS = 2, /* one loses 0.1 dB, three gain 0.02 */
    MEANS_STEPS = 8,   /* Lloyd steps at most: the rounds below go on from there */
    LEARN_ROUNDS = 3,  /* six gain 0.02 dB */
    STAMP_STEPS = 8,   /* error-following steps a round */
    BLOCK = 48,        /* windows searched at once */
    TOP = 1,           /* the edges that a patch lies at, as bits: */
    BOTTOM = 2,
    LEFT = 4,
    RIGHT = 8,
    CUTS = 16
};
/* Where four windows overlap and have one code the error falls by step times 4, and no more at the
 * field's edges, where gains stand for the windows that are missing; so under 2 / 4 it cannot
 * overshoot. */
static const float STEP = .45f;
/* Weight of "no change" against a code's members, so that stamps of rare codes do not learn their
 * few members by heart. */
static const double CAUTION = 16;

/* Two windows that overlap by twice the margin; the sine's square makes their weights there add up
 * to 1. */
static double edge(double inside, int margin)
{
    if (inside >= margin)
        return 1;
    double s = sin(M_PI / 4 * (1 + inside / margin));
    return s * s;
}

/* The weight of line i of a window, and its gain where the begin or the end of the field is at the
 * window's patch: nothing outside, and inside what the missing neighbour would have added.  Both
 * dimensions alike: theirs multiply. */
static double line_taper(int i, int patch, int margin)
{
    double inside = i - margin + .5;
    return edge(fmin(inside, patch - inside), margin);
}

static double line_gain(int i, int patch, int margin, bool at_begin, bool at_end)
{
    int from_begin = i - margin, from_end = patch + margin - 1 - i;
    if ((at_begin && from_begin < 0) || (at_end && from_end < 0))
        return 0;
    if ((at_begin && from_begin < margin) || (at_end && from_end < margin))
        return 1 / line_taper(i, patch, margin);
    return 1;
}

static void make_weights(struct mot_lapped *q)
{
    float *taper = q->taper, *gain = q->gain;
    for (int i = 0; i < q->dim; i++) {
        int y = i / (q->window_w * q->channels), x = i / q->channels % q->window_w;
        *taper++ = (float)(line_taper(y, q->patch_h, q->margin_h)
                           * line_taper(x, q->patch_w, q->margin_w));
    }
    for (int cut = 0; cut < CUTS; cut++)
        for (int i = 0; i < q->dim; i++) {
            int y = i / (q->window_w * q->channels), x = i / q->channels % q->window_w;
            *gain++ = (float)(line_gain(y, q->patch_h, q->margin_h, cut & TOP, cut & BOTTOM)
                              * line_gain(x, q->patch_w, q->margin_w, cut & LEFT, cut & RIGHT));
        }
}

int mot_lapped_init(struct mot_lapped *q, int codes, int channels, const int patch[2],
                    const int margin[2])
{
    *q = (struct mot_lapped){.codes = codes,
                             .channels = channels,
                             .patch_h = patch[0],
                             .patch_w = patch[1],
                             .margin_h = margin[0],
                             .margin_w = margin[1]};
    q->window_h = q->patch_h + 2 * q->margin_h;
    q->window_w = q->patch_w + 2 * q->margin_w;
    q->dim = q->window_h * q->window_w * channels;
    q->stamp = mot_alloc((size_t)codes * (size_t)q->dim, sizeof *q->stamp);
    q->taper = mot_alloc((size_t)q->dim, sizeof *q->taper);
    q->gain = mot_alloc((size_t)q->dim * CUTS, sizeof *q->gain);
    q->norm = mot_alloc((size_t)codes * CUTS, sizeof *q->norm);
    if (!q->stamp || !q->taper || !q->gain || !q->norm) {
        mot_lapped_free(q);
        return MOT_ENOMEM;
    }
    make_weights(q);
    return MOT_OK;
}

void mot_lapped_free(struct mot_lapped *q)
{
    mot_free(q->stamp);
    mot_free(q->taper);
    mot_free(q->gain);
    mot_free(q->norm);
    mot_codebook_free(&q->search);
    *q = (struct mot_lapped){0};
}

int mot_lapped_ready(struct mot_lapped *q)
{
    mot_codebook_free(&q->search);
    int rc = mot_codebook_init(&q->search, q->stamp, q->codes, q->dim);
    for (int k = 0; !rc && k < q->codes; k++)
        for (int cut = 0; cut < CUTS; cut++) {
            const float *stamp = q->stamp + (size_t)k * (size_t)q->dim;
            const float *gain = q->gain + (size_t)cut * (size_t)q->dim;
            double sum = 0;
            for (int d = 0; d < q->dim; d++)
                sum += (double)(stamp[d] * gain[d]) * (double)(stamp[d] * gain[d]);
            q->norm[(size_t)cut * (size_t)q->codes + (size_t)k] = (float)sum;
        }
    return rc;
}

/* The part of the window of patch (row, col) that lies inside the field. */
struct span {
    int x0, x1, y0, y1; /* in the window */
    int64_t at;         /* of the window's (0, 0) in f->x, perhaps before its begin */
    int64_t stride;     /* of the field's lines */
    const float *gain;  /* (dim); NULL: 1 everywhere */
    int cut;
};
static struct span clip(const struct mot_lapped *q, const struct mot_field *f, int row, int col)
{
    struct span s = {.x1 = q->window_w, .y1 = q->window_h};
    s.cut = (row == 0 ? TOP : 0) | (row == f->rows - 1 ? BOTTOM : 0) | (col == 0 ? LEFT : 0)
          | (col == f->cols - 1 ? RIGHT : 0);
    s.y0 = s.cut & TOP ? q->margin_h : 0;
    s.x0 = s.cut & LEFT ? q->margin_w : 0;
    s.y1 -= s.cut & BOTTOM ? q->margin_h : 0;
    s.x1 -= s.cut & RIGHT ? q->margin_w : 0;
    s.stride = (int64_t)f->cols * q->patch_w * q->channels;
    s.at = ((int64_t)row * q->patch_h - q->margin_h) * s.stride
         + ((int64_t)col * q->patch_w - q->margin_w) * q->channels;
    s.gain = s.cut ? q->gain + (size_t)s.cut * (size_t)q->dim : NULL;
    return s;
}

/* f += scale * stamp at patch (row, col). */
static void add_stamp(const struct mot_lapped *q, struct mot_field *f, int row, int col,
                      const float *stamp, float scale)
{
    struct span s = clip(q, f, row, col);
    int begin = s.x0 * q->channels, end = s.x1 * q->channels, line = q->window_w * q->channels;
    for (int y = s.y0; y < s.y1; y++) {
        float *to = f->x + (s.at + y * s.stride + begin);
        const float *from = stamp + y * line + begin;
        const float *gain = s.gain ? s.gain + y * line + begin : NULL;
        for (int i = 0; i < end - begin; i++)
            to[i] += gain ? scale * gain[i] * from[i] : scale * from[i];
    }
}

/* The window of patch (row, col); zero outside the field. */
static void cut_window(const struct mot_lapped *q, const struct mot_field *f, int row, int col,
                       float *window)
{
    struct span s = clip(q, f, row, col);
    int begin = s.x0 * q->channels, end = s.x1 * q->channels, line = q->window_w * q->channels;
    if (s.x0 || s.y0 || s.x1 < q->window_w || s.y1 < q->window_h)
        memset(window, 0, (size_t)q->dim * sizeof *window);
    for (int y = s.y0; y < s.y1; y++)
        memcpy(window + y * line + begin, f->x + (s.at + y * s.stride + begin),
               (size_t)(end - begin) * sizeof *window);
}

/* The window times the taper; outside the field the nearest point inside counts. */
static void cut_tapered(const struct mot_lapped *q, const struct mot_field *f, int row, int col,
                        float *window)
{
    struct span s = clip(q, f, row, col);
    for (int y = 0; y < q->window_h; y++)
        for (int x = 0; x < q->window_w; x++) {
            int cy = y < s.y0 ? s.y0 : y >= s.y1 ? s.y1 - 1 : y;
            int cx = x < s.x0 ? s.x0 : x >= s.x1 ? s.x1 - 1 : x;
            const float *from = f->x + (s.at + cy * s.stride + (int64_t)cx * q->channels);
            int to = (y * q->window_w + x) * q->channels;
            for (int c = 0; c < q->channels; c++)
                window[to + c] = q->taper[to + c] * from[c];
        }
}

static const float *stamp_of(const struct mot_lapped *q, int32_t code)
{
    return q->stamp + (size_t)code * (size_t)q->dim;
}

static size_t field_size(const struct mot_lapped *q, const struct mot_field *f)
{
    return (size_t)f->rows * (size_t)q->patch_h * (size_t)f->cols * (size_t)q->patch_w
         * (size_t)q->channels;
}

static int64_t field_patches(const struct mot_field *f)
{
    return (int64_t)f->rows * f->cols;
}

/* f += scale * what the codes decode to. */
static void add_stamps(const struct mot_lapped *q, const int32_t *code, struct mot_field *f,
                       float scale)
{
    for (int row = 0; row < f->rows; row++)
        for (int col = 0; col < f->cols; col++, code++)
            if (*code >= 0)
                add_stamp(q, f, row, col, stamp_of(q, *code), scale);
}

void mot_lapped_decode(const struct mot_lapped *q, const int32_t *code, struct mot_field *f)
{
    memset(f->x, 0, field_size(q, f) * sizeof *f->x);
    add_stamps(q, code, f, 1);
}

/* -- encoding -- */

/* What one thread needs to choose codes. */
struct scratch {
    float *window;            /* (BLOCK, dim) */
    const float *norm[BLOCK]; /* of each window */
    int32_t best[BLOCK];
    int row[BLOCK], col[BLOCK];
};

static void first_codes(const struct mot_lapped *q, const struct mot_field *f, struct scratch *s,
                        int32_t *code)
{
    int64_t n = field_patches(f);
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t count = n - i < BLOCK ? n - i : BLOCK;
        for (int64_t j = 0; j < count; j++)
            cut_tapered(q, f, (int)((i + j) / f->cols), (int)((i + j) % f->cols),
                        s->window + j * q->dim);
        mot_codebook_search(&q->search, s->window, count, NULL, code + i);
    }
}

/* Choose again for the n patches in s, whose stamps do not touch each other.  error = field - what
 * code decodes to. */
static void choose(const struct mot_lapped *q, struct mot_field *error, struct scratch *s, int n,
                   int32_t *code)
{
    for (int j = 0; j < n; j++) {
        float *w = s->window + (size_t)j * (size_t)q->dim;
        int32_t now = code[(int64_t)s->row[j] * error->cols + s->col[j]];
        add_stamp(q, error, s->row[j], s->col[j], stamp_of(q, now), 1);
        cut_window(q, error, s->row[j], s->col[j], w);
        struct span at = clip(q, error, s->row[j], s->col[j]);
        for (int d = 0; at.gain && d < q->dim; d++)
            w[d] *= at.gain[d]; /* window . (gain stamp) = (gain window) . stamp */
        s->norm[j] = q->norm + (size_t)at.cut * (size_t)q->codes;
    }
    mot_codebook_search(&q->search, s->window, n, s->norm, s->best);
    for (int j = 0; j < n; j++) {
        code[(int64_t)s->row[j] * error->cols + s->col[j]] = s->best[j];
        add_stamp(q, error, s->row[j], s->col[j], stamp_of(q, s->best[j]), -1);
    }
}

static void sweep(const struct mot_lapped *q, struct mot_field *error, struct scratch *s,
                  int32_t *code)
{
    /* Margins are at most half a patch: stamps reach the next patch and no further. */
    int down = q->margin_h ? 2 : 1, across = q->margin_w ? 2 : 1;
    for (int colour = 0; colour < down * across; colour++) {
        int n = 0;
        for (int row = colour / across; row < error->rows; row += down)
            for (int col = colour % across; col < error->cols; col += across) {
                s->row[n] = row, s->col[n] = col;
                if (++n == BLOCK)
                    choose(q, error, s, n, code), n = 0;
            }
        choose(q, error, s, n, code);
    }
}

int mot_lapped_encode(const struct mot_lapped *q, const struct mot_field *f, int32_t *code)
{
    struct mot_field error = *f;
    struct scratch s = {.window = mot_alloc((size_t)BLOCK * (size_t)q->dim, sizeof *s.window)};
    error.x = mot_alloc(field_size(q, f), sizeof *error.x);
    int rc = s.window && error.x ? MOT_OK : MOT_ENOMEM;
    if (!rc) {
        first_codes(q, f, &s, code);
        memcpy(error.x, f->x, field_size(q, f) * sizeof *f->x);
        add_stamps(q, code, &error, -1);
        for (int t = 0; t < ENCODE_SWEEPS; t++)
            sweep(q, &error, &s, code);
    }
    mot_free(s.window);
    mot_free(error.x);
    return rc;
}

/* -- learning -- */

struct lesson {
    const struct mot_field *field;
    struct mot_field *error;
    int64_t n, patches;
    int64_t *first;         /* (n + 1) the first patch of each field */
    int64_t *home;          /* (patches) the field of each */
    int32_t *code;          /* (patches) */
    int64_t *begin, *order; /* patches by code */
    double *sum;            /* (codes, dim) */
    int threads;
    struct scratch *scratch; /* (threads) */
    float *window;           /* (threads, BLOCK, dim), theirs */
};

static void close_lesson(struct lesson *l)
{
    for (int64_t i = 0; l->error && i < l->n; i++)
        mot_free(l->error[i].x);
    mot_free(l->error);
    mot_free(l->first);
    mot_free(l->home);
    mot_free(l->code);
    mot_free(l->begin);
    mot_free(l->order);
    mot_free(l->sum);
    mot_free(l->scratch);
    mot_free(l->window);
}

static int open_lesson(struct lesson *l, const struct mot_lapped *q, const struct mot_field *field,
                       int64_t n)
{
    *l = (struct lesson){.field = field, .n = n, .threads = omp_get_max_threads()};
    l->error = mot_alloc((size_t)n, sizeof *l->error);
    l->first = mot_alloc((size_t)n + 1, sizeof *l->first);
    if (!l->error || !l->first)
        return MOT_ENOMEM;
    for (int64_t i = 0; i < n; i++) {
        l->error[i] = (struct mot_field){field[i].rows, field[i].cols,
                                         mot_alloc(field_size(q, &field[i]), sizeof(float))};
        if (!l->error[i].x)
            return MOT_ENOMEM;
        l->first[i + 1] = l->first[i] + field_patches(&field[i]);
    }
    l->patches = l->first[n];
    l->home = mot_alloc((size_t)l->patches, sizeof *l->home);
    l->code = mot_alloc((size_t)l->patches, sizeof *l->code);
    l->begin = mot_alloc((size_t)q->codes + 1, sizeof *l->begin);
    l->order = mot_alloc((size_t)l->patches, sizeof *l->order);
    l->sum = mot_alloc((size_t)q->codes * (size_t)q->dim, sizeof *l->sum);
    l->scratch = mot_alloc((size_t)l->threads, sizeof *l->scratch);
    l->window = mot_alloc((size_t)l->threads * BLOCK * (size_t)q->dim, sizeof *l->window);
    if (!l->home || !l->code || !l->begin || !l->order || !l->sum || !l->scratch || !l->window)
        return MOT_ENOMEM;
    for (int t = 0; t < l->threads; t++)
        l->scratch[t].window = l->window + (size_t)t * BLOCK * (size_t)q->dim;
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = l->first[i]; p < l->first[i + 1]; p++)
            l->home[p] = i;
    return MOT_OK;
}

/* The codes of the patches alone, by k-means. */
static int cluster(struct lesson *l, const struct mot_lapped *q, uint64_t seed,
                   const struct mot_report *r)
{
    int line = q->patch_w * q->channels, dim = q->patch_h * line;
    float *patch = mot_alloc((size_t)l->patches * (size_t)dim, sizeof *patch);
    float *centre = mot_alloc((size_t)q->codes * (size_t)dim, sizeof *centre);
    int rc = patch && centre ? MOT_OK : MOT_ENOMEM;
    float *to = patch;
    for (int64_t i = 0; !rc && i < l->n; i++) {
        const struct mot_field *f = &l->field[i];
        for (int row = 0; row < f->rows; row++)
            for (int col = 0; col < f->cols; col++)
                for (int y = 0; y < q->patch_h; y++, to += line)
                    memcpy(to, f->x + (((int64_t)row * q->patch_h + y) * f->cols + col) * line,
                           (size_t)line * sizeof *to);
    }
    if (!rc)
        rc = mot_kmeans(patch, l->patches, dim, q->codes, MEANS_STEPS, seed, r, centre, l->code);
    mot_free(patch);
    mot_free(centre);
    return rc;
}

/* sum[k] = the sum over k's patches of their windows, tapered ones of the field or plain ones of
 * the error. */
static void sum_windows(struct lesson *l, const struct mot_lapped *q, bool tapered)
{
    mot_sort_by_code(l->code, l->patches, q->codes, l->begin, l->order);
#pragma omp parallel for schedule(dynamic, 4) num_threads(l->threads)
    for (int k = 0; k < q->codes; k++) {
        float *w = l->scratch[omp_get_thread_num()].window;
        double *sum = l->sum + (size_t)k * (size_t)q->dim;
        memset(sum, 0, (size_t)q->dim * sizeof *sum);
        for (int64_t i = l->begin[k]; i < l->begin[k + 1]; i++) {
            int64_t home = l->home[l->order[i]], at = l->order[i] - l->first[home];
            const struct mot_field *f = &l->field[home];
            int row = (int)(at / f->cols), col = (int)(at % f->cols);
            if (tapered)
                cut_tapered(q, f, row, col, w);
            else
                cut_window(q, &l->error[home], row, col, w);
            for (int d = 0; d < q->dim; d++)
                sum[d] += (double)w[d];
        }
    }
}

static void find_errors(struct lesson *l, const struct mot_lapped *q)
{
#pragma omp parallel for schedule(dynamic) num_threads(l->threads)
    for (int64_t i = 0; i < l->n; i++) {
        memcpy(l->error[i].x, l->field[i].x, field_size(q, &l->field[i]) * sizeof(float));
        add_stamps(q, l->code + l->first[i], &l->error[i], -1);
    }
}

/* Lower the error with the codes as they are: stamps go along the mean error in their windows. */
static void follow_errors(struct lesson *l, struct mot_lapped *q)
{
    for (int t = 0; t < STAMP_STEPS; t++) {
        find_errors(l, q);
        sum_windows(l, q, false);
        for (int k = 0; k < q->codes; k++) {
            float *stamp = q->stamp + (size_t)k * (size_t)q->dim;
            const double *sum = l->sum + (size_t)k * (size_t)q->dim;
            double share = (double)STEP / ((double)(l->begin[k + 1] - l->begin[k]) + CAUTION);
            for (int d = 0; d < q->dim; d++)
                stamp[d] += (float)(share * sum[d]);
        }
    }
    find_errors(l, q);
}

int mot_lapped_learn(struct mot_lapped *q, const struct mot_field *field, int64_t n, uint64_t seed,
                     const struct mot_report *r)
{
    struct lesson l;
    struct mot_report clustering = r ? *r : (struct mot_report){0};
    clustering.to = clustering.from + .4 * (clustering.to - clustering.from);
    int rc = open_lesson(&l, q, field, n);
    if (!rc)
        rc = cluster(&l, q, seed, &clustering);
    if (!rc)
        sum_windows(&l, q, true);
    for (int k = 0; !rc && k < q->codes; k++) {
        int64_t members = l.begin[k + 1] - l.begin[k];
        for (size_t d = (size_t)k * (size_t)q->dim; members && d < ((size_t)k + 1) * (size_t)q->dim;
             d++)
            q->stamp[d] = (float)(l.sum[d] / (double)members);
    }
    for (int t = 0; !rc && t < LEARN_ROUNDS; t++) {
        follow_errors(&l, q);
        rc = mot_lapped_ready(q);
        if (rc || t == LEARN_ROUNDS - 1)
            break; /* the stamps learn last: they must fit the codes, not the codes them */
#pragma omp parallel for schedule(dynamic) num_threads(l.threads)
        for (int64_t i = 0; i < n; i++)
            sweep(q, &l.error[i], &l.scratch[omp_get_thread_num()], l.code + l.first[i]);
        mot_report(r, .4 + .6 * (t + 1) / LEARN_ROUNDS);
    }
    close_lesson(&l);
    mot_report(r, 1);
    return rc;
}
