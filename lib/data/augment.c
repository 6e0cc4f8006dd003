/* SPDX-License-Identifier: MIT
 *
 * augment.c - variations of a record's pictures and sounds, drawn by (seed, record, variation, item) alone.
 *
 *   picture  a crop of 60 to 100 % of its area, its sides' ratio up to 4:3 away from the picture's and stretched back to it;
 *            mirrored half of the time, unless a text of the record tells left from right
 *   sound    speed 0.9 to 1.1 (the pitch goes along), level -6 to +6 dB, begun up to 0.1 s later (silence) or earlier (cut,
 *            at most a twentieth of it); an alignment follows
 */
#include <ctype.h>
#include <math.h>
#include <strings.h>

#include "source.h"

/* Numbers for one item of one variation. */
struct draws {
    uint64_t seed, stream, next;
};

static double draw(struct draws *d, double lo, double hi)
{
    return lo + (hi - lo) * mot_random_uniform(d->seed, d->stream, d->next++);
}

/* ---- pictures ---- */

/* Mirrored, "the cat on the left" would be on the right. */
static bool tells_sides(const struct mot_bytes *text)
{
    static const char *const words[] = {"left", "right", "leftmost", "rightmost", "leftward", "rightward", "leftwards",
                                        "rightwards", "lefthand", "righthand"};
    const char *p = (const char *)text->data;
    for (size_t i = 0, n; i < text->n; i += n + 1) {
        for (n = 0; i + n < text->n && isalpha((unsigned char)p[i + n]); n++)
            ;
        for (int k = 0; k < MOT_COUNT(words); k++)
            if (strlen(words[k]) == n && strncasecmp(p + i, words[k], n) == 0)
                return true;
    }
    return false;
}

static void mirror(struct mot_image *im)
{
    for (int y = 0; y < im->height; y++) {
        unsigned char *row = im->rgb + 3 * (size_t)im->width * (size_t)y;
        for (int a = 0, b = im->width - 1; a < b; a++, b--)
            for (int c = 0; c < 3; c++) {
                unsigned char t = row[3 * a + c];
                row[3 * a + c] = row[3 * b + c];
                row[3 * b + c] = t;
            }
    }
}

/* The sides of a crop, of a share of the area and with sides whose ratio is changed; it fits the picture. */
static void crop_size(const struct mot_image *im, struct draws *d, int *w, int *h)
{
    double share = sqrt(draw(d, 0.6, 1)), ratio = exp(draw(d, -1, 1) * 0.5 * log(4. / 3)), fit;
    double x = im->width * share * ratio, y = im->height * share / ratio;
    fit = fmin(1, fmin(im->width / x, im->height / y));
    *w = (int)fmax(1, floor(x * fit + 0.5));
    *h = (int)fmax(1, floor(y * fit + 0.5));
    *w = *w < im->width ? *w : im->width;
    *h = *h < im->height ? *h : im->height;
}

static int vary_image(const struct mot_image *im, struct draws *d, bool may_mirror, struct mot_image *out)
{
    int w, h;
    crop_size(im, d, &w, &h);
    int left = (int)draw(d, 0, im->width - w + 1), top = (int)draw(d, 0, im->height - h + 1);
    struct mot_image crop = {w, h, mot_alloc((size_t)w * (size_t)h, 3)};
    if (!crop.rgb)
        return MOT_ENOMEM;
    for (int y = 0; y < h; y++)
        memcpy(crop.rgb + 3 * (size_t)w * (size_t)y,
               im->rgb + 3 * ((size_t)im->width * (size_t)(top + y) + (size_t)left), 3 * (size_t)w);
    bool turned = draw(d, 0, 1) < 0.5 && may_mirror;
    if (turned)
        mirror(&crop);
    double scale = sqrt((double)w * h / ((double)im->width * im->height));
    int width = (int)fmax(1, im->width * scale + 0.5), height = (int)fmax(1, im->height * scale + 0.5);
    int rc = mot_image_resize(&crop, width, height, out);
    mot_image_free(&crop);
    return rc;
}

/* ---- sounds ---- */

static void scale_times(struct mot_item *item, double factor, double shift)
{
    double length = (double)item->speech.n / item->speech.rate;
    for (int64_t i = 0; i < item->n_aligned; i++) {
        item->aligned[i].start = fmin(length, fmax(0, item->aligned[i].start * factor + shift));
        item->aligned[i].end = fmin(length, fmax(0, item->aligned[i].end * factor + shift));
    }
}

/* item->aligned is a copy already. */
static int vary_sound(const struct mot_audio *a, struct draws *d, struct mot_item *item)
{
    /* Whole percents: ratios of odd numbers would take a filter of their own for every sample. */
    int percent = 90 + (int)draw(d, 0, 21);
    float gain = (float)pow(10, draw(d, -6, 6) / 20);
    double seconds = draw(d, -0.1, 0.1);
    struct mot_audio source = {percent, a->n, a->sample}, fast = {0};
    int rc = mot_audio_resample(&source, 100, &fast);
    if (rc)
        return rc;
    int64_t shift = (int64_t)(seconds * a->rate), n = fast.n, cut = shift < 0 ? -shift : 0;
    cut = cut < n / 20 ? cut : n / 20;
    int64_t silence = shift > 0 ? shift : 0;
    struct mot_audio *out = &item->speech;
    *out = (struct mot_audio){a->rate, n - cut + silence, mot_alloc((size_t)(n - cut + silence), sizeof *out->sample)};
    for (int64_t i = 0; out->sample && i < n - cut; i++)
        out->sample[silence + i] = fmaxf(-1, fminf(1, gain * fast.sample[cut + i]));
    mot_audio_free(&fast);
    if (!out->sample)
        return MOT_ENOMEM;
    scale_times(item, 100. / percent, (double)(silence - cut) / a->rate);
    return MOT_OK;
}

/* ---- records ---- */

static int vary_item(const struct mot_item *from, struct draws *d, bool may_mirror, struct mot_item *to)
{
    *to = (struct mot_item){.kind = from->kind, .bytes = from->bytes};
    int rc = mot_bytes_append(&to->text, from->text.data, from->text.n);
    if (!rc && from->n_aligned) {
        to->aligned = mot_alloc((size_t)from->n_aligned, sizeof *to->aligned);
        rc = to->aligned ? MOT_OK : MOT_ENOMEM;
    }
    if (!rc && from->n_aligned) {
        memcpy(to->aligned, from->aligned, (size_t)from->n_aligned * sizeof *to->aligned);
        to->n_aligned = from->n_aligned;
    }
    if (!rc && from->kind == MOT_KIND_IDS)
        rc = mot_ids_append(&to->ids, from->ids.id, from->ids.n);
    if (!rc && from->kind == MOT_KIND_IMAGE)
        rc = vary_image(&from->image, d, may_mirror, &to->image);
    if (!rc && from->kind == MOT_KIND_SPEECH)
        rc = vary_sound(&from->speech, d, to);
    if (rc)
        mot_item_free(to);
    return rc;
}

int mot_augment(const struct mot_record *r, uint64_t seed, int64_t index, int variation, struct mot_building *out)
{
    bool may_mirror = true;
    mot_building_clear(out);
    for (int i = 0; i < r->n_items; i++)
        may_mirror &= !tells_sides(&r->item[i].text);
    out->r.ordered = r->ordered;
    out->r.name = mot_strdup(r->name);
    int rc = out->r.name ? MOT_OK : MOT_ENOMEM;
    for (int i = 0; !rc && i < r->n_items; i++) {
        struct draws d = {seed, mot_stream("augment") + (uint64_t)index, (uint64_t)variation << 40 | (uint64_t)i << 8};
        rc = mot_grow((void **)&out->r.item, out->r.n_items, &out->capacity, sizeof *out->r.item);
        if (!rc)
            rc = vary_item(&r->item[i], &d, may_mirror, &out->r.item[out->r.n_items]);
        out->r.n_items += !rc;
    }
    return rc;
}
