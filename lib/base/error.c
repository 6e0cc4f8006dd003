/* SPDX-License-Identifier: MIT
 *
 * error.c - the last failure's sentence, one a thread.
 *
 * The sentence is made where the fact is known and travels no further than this buffer; codes travel
 * by return value.  Newlines and control bytes (they may come from a file) become '?', so that a
 * tool can always print one line.
 */
#include <stdarg.h>

#include "base.h"

static _Thread_local char last[4096] = "no error";

const char *mot_error(void)
{
    return last;
}

int mot_fail(int code, const char *format, ...)
{
    /* The arguments may contain the old sentence: format elsewhere first. */
    char next[sizeof last];
    va_list ap;
    va_start(ap, format);
    vsnprintf(next, sizeof next, format, ap);
    va_end(ap);
    for (char *p = next; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    memcpy(last, next, sizeof last);
    return code;
}
