/* SPDX-License-Identifier: MIT
 *
 * json.c - strict JSON through jansson, with messages that name file and key.
 */
#include <math.h>

#include "json.h"

json_t *mot_json_parse(const char *name, const void *text, size_t n)
{
    json_error_t e;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_t *j = json_loadb(text, n, flags, &e);
    /* Many a tokenizer_config.json has "model_max_length": 1000000000000000019884624838656.  With integers as real
     * numbers such a file can be read; mot_json_int takes whole ones. */
    if (!j && json_error_code(&e) == json_error_numeric_overflow)
        j = json_loadb(text, n, flags | JSON_DECODE_INT_AS_REAL, &e);
    if (!j && memchr(text, '\n', n))
        mot_fail(MOT_EFORMAT, "%s: line %d: not valid JSON: %s", name, e.line, e.text);
    else if (!j) /* a line of JSON Lines: name tells which */
        mot_fail(MOT_EFORMAT, "%s: column %d: not valid JSON: %s", name, e.column, e.text);
    return j;
}

json_t *mot_json_load(const char *path, size_t limit)
{
    struct mot_bytes b = {0};
    json_t *j = mot_read_file(path, limit, &b) ? NULL : mot_json_parse(path, b.data, b.n);
    mot_bytes_free(&b);
    return j;
}

int mot_json_save(const char *path, const json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (!text)
        return mot_fail(MOT_ENOMEM, "%s: out of memory writing JSON", path);
    struct mot_bytes b = {0};
    int rc = mot_bytes_format(&b, "%s\n", text);
    free(text); /* jansson's, from its allocator: libc's */
    if (!rc)
        rc = mot_write_file(path, b.data, b.n);
    mot_bytes_free(&b);
    return rc;
}

static int wrong(const char *name, const char *key, const char *expected, const json_t *v)
{
    static const char *const kind[] = {"an object", "an array", "a string", "an integer",
                                       "a number",  "true",     "false",    "null"};
    return mot_fail(MOT_EFORMAT, "%s: key \"%s\": expected %s, found %s", name, key, expected,
                    kind[json_typeof(v)]);
}

int mot_json_int(const json_t *o, const char *name, const char *key, int64_t lo, int64_t hi, int64_t *out)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return MOT_OK;
    double real = json_real_value(v); /* 0 if it is none */
    bool whole = json_is_real(v) && fabs(real) <= 0x1p53 && real == floor(real);
    if (!json_is_integer(v) && !whole)
        return wrong(name, key, "an integer", v);
    int64_t x = whole ? (int64_t)real : json_integer_value(v);
    if (x < lo || x > hi)
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": %lld is not in %lld..%lld", name, key, (long long)x,
                        (long long)lo, (long long)hi);
    *out = x;
    return MOT_OK;
}

int mot_json_real(const json_t *o, const char *name, const char *key, double lo, double hi, double *out)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return MOT_OK;
    if (!json_is_number(v))
        return wrong(name, key, "a number", v);
    double x = json_number_value(v);
    if (!(x >= lo && x <= hi))
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": %g is not in %g..%g", name, key, x, lo, hi);
    *out = x;
    return MOT_OK;
}

int mot_json_bool(const json_t *o, const char *name, const char *key, bool *out)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return MOT_OK;
    if (!json_is_boolean(v))
        return wrong(name, key, "true or false", v);
    *out = json_is_true(v);
    return MOT_OK;
}

int mot_json_string(const json_t *o, const char *name, const char *key, const char **out)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return MOT_OK;
    if (!json_is_string(v))
        return wrong(name, key, "a string", v);
    if (strlen(json_string_value(v)) != json_string_length(v))
        return mot_fail(MOT_EFORMAT, "%s: key \"%s\": a zero byte in a name", name, key);
    *out = json_string_value(v);
    return MOT_OK;
}
