/* SPDX-License-Identifier: MIT
 *
 * numbered.c - names of output files that are numbered.
 *
 * OUT.mot becomes OUT-00000.mot, OUT-00001.mot, ...; a name with %d or %05d in it has the number there.  The twin for
 * validation is OUT.val.mot, OUT.val-00000.mot, so that OUT-*.mot does not match it.
 */
#include "numbered.h"

/* %d or %0Nd in a name: where it begins; its length and digits. */
static const char *find_number(const char *path, size_t *n, int *digits)
{
    for (const char *p = path; (p = strchr(p, '%')); p++) {
        size_t k = 1;
        if (p[k] == '0' && p[k + 1] >= '1' && p[k + 1] <= '9')
            k += 2;
        if (p[k] != 'd')
            continue;
        *digits = k == 3 ? p[2] - '0' : 1;
        *n = k + 1;
        return p;
    }
    return NULL;
}

/* What comes before the number, so changed that it says "val". */
static char *twin_of(const char *before, size_t n)
{
    bool mark = n && strchr("-_.", before[n - 1]), bare = n == 0 || before[n - 1] == '/';
    if (bare)
        return mot_format("%.*sval-", (int)n, before);
    return mark ? mot_format("%.*s.val%c", (int)(n - 1), before, before[n - 1]) : mot_format("%.*s.val", (int)n, before);
}

int mot_numbered_init(struct mot_numbered *a, const char *path, const char *suffix, bool numbered, bool twin)
{
    *a = (struct mot_numbered){0};
    size_t n = strlen(path), length = 0, k = strlen(suffix);
    const char *number = numbered ? find_number(path, &length, &a->digits) : NULL;
    bool known = n > k && strcmp(path + n - k, suffix) == 0;
    const char *end = number ? number : path + n - (known ? k : 0);
    char *before = twin ? twin_of(path, (size_t)(end - path)) : mot_strndup(path, (size_t)(end - path));
    bool dash = numbered && !number;
    a->before = before ? mot_format("%s%s", before, dash ? "-" : "") : NULL;
    a->after = mot_strdup(number ? number + length : known || dash ? suffix : "");
    a->digits = dash ? 5 : a->digits;
    mot_free(before);
    return a->before && a->after ? MOT_OK : MOT_ENOMEM;
}

const char *mot_numbered_name(struct mot_numbered *a, int64_t number)
{
    mot_free(a->name);
    a->name = a->digits ? mot_format("%s%0*lld%s", a->before, a->digits, (long long)number, a->after)
                        : mot_format("%s%s", a->before, a->after);
    return a->name;
}

void mot_numbered_free(struct mot_numbered *a)
{
    mot_free(a->before);
    mot_free(a->after);
    mot_free(a->name);
    *a = (struct mot_numbered){0};
}
