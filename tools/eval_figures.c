/* SPDX-License-Identifier: MIT
 *
 * eval_figures.c - figures of mot-eval in their columns, and their intervals.
 */
#include <math.h>

#include "eval.h"

void eval_print(const struct eval_options *o, const char *name, double x, int digits)
{
    if (!o->json && isnan(x))
        fputs("\t-", stdout);
    else if (!o->json)
        printf(digits == 6 ? "\t%.6f" : "\t%.6g", x);
    else if (isnan(x))
        printf(",\"%s\":null", name);
    else
        printf(",\"%s\":%.9g", name, x);
}

void eval_print_interval(const struct eval_options *o, const char *name, double x, struct mot_interval i)
{
    char key[64];
    eval_print(o, name, x, 6);
    if (o->confidence == 0)
        return;
    snprintf(key, sizeof key, "%s_lo", name);
    eval_print(o, key, i.lo, 6);
    snprintf(key, sizeof key, "%s_hi", name);
    eval_print(o, key, i.hi, 6);
}

void eval_print_metric_head(const struct eval_options *o)
{
    if (!o->json)
        puts(o->confidence > 0 ? "metric\titems\tvalue\tvalue_lo\tvalue_hi" : "metric\titems\tvalue");
}

void eval_print_metric(const struct eval_options *o, const char *name, int64_t items, double x, struct mot_interval i)
{
    printf(o->json ? "{\"metric\":\"%s\",\"items\":%lld" : "%s\t%lld", name, (long long)items);
    eval_print_interval(o, "value", x, i);
    puts(o->json ? "}" : "");
}

struct mot_interval eval_interval(const struct eval_options *o, double value, mot_figure *figure, const void *context, int64_t n,
                                  int64_t first)
{
    struct mot_interval i = {(double)NAN, (double)NAN};
    const struct mot_bootstrap b = {.n = n, .first = first, .figure = figure, .context = context, .resamples = o->inception ? EVAL_RESAMPLES_OF_NETS : EVAL_RESAMPLES,
                                    .confidence = o->confidence, .seed = o->seed, .threads = o->threads};
    if (o->confidence > 0 && mot_bootstrap(&b, value, &i))
        die_lib(NULL);
    return i;
}
