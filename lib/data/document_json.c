/* SPDX-License-Identifier: MIT
 *
 * document_json.c - documents as lines of JSON, and back: ids as whole numbers, vectors in decimals that give back the same
 * values of binary16.
 */
#include "../base/json.h"
#include "../base/safetensors.h"

static int put_ids(struct mot_bytes *out, const int32_t *id, int64_t n)
{
    enum { PIECE = 1024, DIGITS = 11 };
    for (int64_t i = 0; i < n;) {
        char text[PIECE * (DIGITS + 1)];
        size_t used = 0;
        for (int64_t end = n - i < PIECE ? n : i + PIECE; i < end; i++) {
            char digit[DIGITS];
            int k = DIGITS;
            for (uint32_t x = (uint32_t)id[i]; k == DIGITS || x; x /= 10)
                digit[--k] = (char)('0' + x % 10);
            if (i)
                text[used++] = ',';
            memcpy(text + used, digit + k, (size_t)(DIGITS - k));
            used += (size_t)(DIGITS - k);
        }
        int rc = mot_bytes_append(out, text, used);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

/* "rows":2,"columns":3,"vectors":[[..],..]: five digits tell all values of binary16 apart. */
static int put_numbers(struct mot_bytes *out, const struct mot_span *s, int32_t width, const uint16_t *value)
{
    int rc = mot_bytes_format(out, "\"rows\":%d,\"columns\":%d,\"vectors\":[", s->rows, s->columns);
    for (int64_t i = 0; !rc && i < s->n; i++)
        for (int32_t k = 0; !rc && k < width; k++) {
            char text[32];
            uint16_t x = *value++;
            /* JSON's -0 is a whole number, which has no sign. */
            int n = snprintf(text, sizeof text, x == 0x8000 ? "%s%.1f" : "%s%.5g", k ? "," : i ? "],[" : "[",
                             (double)mot_from_f16(x));
            rc = mot_bytes_append(out, text, (size_t)n);
        }
    return rc ? rc : mot_bytes_append(out, "]]}", 3);
}

int mot_doc_format(const struct mot_vocab *v, const struct mot_doc *d, struct mot_bytes *out)
{
    const uint16_t *value = d->latent;
    int rc = mot_bytes_format(out, "{\"segments\":[");
    for (int i = 0; !rc && i < d->n_spans; i++) {
        const struct mot_span *s = &d->span[i];
        int32_t width = v->modality[s->modality].width;
        rc = mot_bytes_format(out, "%s{\"modality\":\"%s\",", i ? "," : "", v->modality[s->modality].name);
        if (!rc && width) {
            rc = put_numbers(out, s, width, value);
            value += s->n * width;
            continue;
        }
        if (!rc)
            rc = mot_bytes_append(out, "\"ids\":[", 7);
        if (!rc)
            rc = put_ids(out, d->id + s->begin, s->n);
        if (!rc)
            rc = mot_bytes_append(out, "]}", 2);
    }
    return rc ? rc : mot_bytes_format(out, "],\"bytes\":%lld}\n", (long long)d->text_bytes);
}

static int parse_vector(const char *name, size_t i, const json_t *a, int32_t width, uint16_t *value)
{
    if (!json_is_array(a) || json_array_size(a) != (size_t)width)
        return mot_fail(MOT_EFORMAT, "%s: vector %zu of a segment: expected an array of %d numbers", name, i, width);
    for (int32_t k = 0; k < width; k++) {
        const json_t *x = json_array_get(a, (size_t)k);
        value[k] = mot_f16((float)json_number_value(x));
        if (!json_is_number(x) || (value[k] & 0x7c00) == 0x7c00)
            return mot_fail(MOT_EFORMAT, "%s: vector %zu of a segment: value %d: expected a number from -65504 to 65504", name,
                            i, k);
    }
    return MOT_OK;
}

/* A picture of vectors of modality m. */
static int parse_vectors(const struct mot_vocab *v, const char *name, const json_t *o, int m, struct mot_ids *out,
                         struct mot_latents *latents)
{
    const json_t *vectors = json_object_get(o, "vectors");
    int64_t rows = 0, columns = 0, n = (int64_t)json_array_size(vectors);
    int32_t width = v->modality[m].width;
    int rc = mot_json_int(o, name, "rows", 1, INT32_MAX, &rows);
    if (!rc)
        rc = mot_json_int(o, name, "columns", 1, INT32_MAX, &columns);
    if (!rc && (!json_is_array(vectors) || n == 0 || rows * columns != n))
        rc = mot_fail(MOT_EFORMAT, "%s: expected \"rows\", \"columns\" and \"vectors\": an array of rows x columns", name);
    uint16_t *value = rc ? NULL : mot_alloc((size_t)n * (size_t)width, sizeof *value);
    if (!rc && !value)
        rc = MOT_ENOMEM;
    for (int64_t i = 0; !rc && i < n; i++)
        rc = parse_vector(name, (size_t)i, json_array_get(vectors, (size_t)i), width, value + i * width);
    if (!rc)
        rc = mot_latents_append(latents, &(struct mot_grid){(int32_t)rows, (int32_t)columns, width}, value);
    for (int64_t i = 0; !rc && i < n; i++)
        rc = mot_ids_append(out, &v->modality[m].first, 1);
    mot_free(value);
    return rc;
}

static int parse_segment(const struct mot_vocab *v, const char *name, const json_t *o, struct mot_ids *out,
                         struct mot_latents *latents)
{
    const char *modality = NULL;
    if (!json_is_object(o))
        return mot_fail(MOT_EFORMAT, "%s: a segment is not an object", name);
    int rc = mot_json_string(o, name, "modality", &modality);
    if (rc)
        return rc;
    int m = modality ? mot_vocab_find(v, modality) : -1;
    if (m < 0)
        return mot_fail(MOT_EFORMAT, "%s: modality \"%.40s\" is not in the vocabulary", name, modality ? modality : "");
    if (v->modality[m].width)
        return parse_vectors(v, name, o, m, out, latents);
    const json_t *ids = json_object_get(o, "ids");
    if (!json_is_array(ids))
        return mot_fail(MOT_EFORMAT, "%s: expected \"ids\": an array", name);
    int64_t first = v->modality[m].first, last = first + v->modality[m].n - 1;
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *x = json_array_get(ids, i);
        if (!json_is_integer(x) || json_integer_value(x) < first || json_integer_value(x) > last)
            return mot_fail(MOT_EFORMAT, "%s: id %zu of a segment: expected a whole number from %lld to %lld, those of %s",
                            name, i, (long long)first, (long long)last, modality);
        int32_t id = (int32_t)json_integer_value(x);
        rc = mot_ids_append(out, &id, 1);
        if (rc)
            return rc;
    }
    return MOT_OK;
}

int mot_doc_parse(const struct mot_vocab *v, const char *name, const void *line, size_t n, struct mot_ids *out,
                  struct mot_latents *latents, int64_t *text_bytes)
{
    json_t *o = mot_json_parse(name, line, n);
    if (!o)
        return MOT_EFORMAT;
    int64_t before = out->n, values = latents->n, grids = latents->n_grids, bytes = 0;
    const json_t *segments = json_object_get(o, "segments");
    int rc = json_is_array(segments) ? mot_json_int(o, name, "bytes", 0, INT64_MAX, &bytes)
                                     : mot_fail(MOT_EFORMAT, "%s: expected an object with \"segments\": an array", name);
    for (size_t i = 0; !rc && i < json_array_size(segments); i++)
        rc = parse_segment(v, name, json_array_get(segments, i), out, latents);
    json_decref(o);
    if (rc)
        out->n = before, latents->n = values, latents->n_grids = grids;
    else
        *text_bytes = bytes;
    return rc;
}
