/* SPDX-License-Identifier: MIT
 *
 * tool.h - what all programs share: one-line messages and exit codes, numbers in options, the common options,
 * progress on a terminal, interrupts.  Data go to stdout, words to stderr.
 * Exit: 0 good, 1 failed, 2 wrong command line.
 */
#ifndef MOT_TOOL_H
#define MOT_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdnoreturn.h>

#include "mot.h"

/* First and last thing of every main. The first may start the program anew, once; see wait_briefly in tool.c. */
void tool_start(const char *name, char **argv);
int tool_finish(void); /* flush stdout; 1 if anything was warned about as a failure or stdout failed */

/* "NAME: sentence" on stderr. The _lib forms append mot_error(); their format may be NULL. */
noreturn void die(const char *format, ...) MOT_PRINTF(1, 2);       /* exit 1 */
noreturn void die_lib(const char *format, ...) MOT_PRINTF(1, 2);   /* exit 1 */
noreturn void die_usage(const char *format, ...) MOT_PRINTF(1, 2); /* exit 2 */
void note(const char *format, ...) MOT_PRINTF(1, 2);     /* worth saying unless -q; not a failure */
void warn(const char *format, ...) MOT_PRINTF(1, 2);     /* worth saying even with -q; not a failure */
void fail(const char *format, ...) MOT_PRINTF(1, 2);     /* a failure the program goes on after; exit status 1 */
void fail_lib(const char *format, ...) MOT_PRINTF(1, 2);

/* Options of all programs: put TOOL_OPTIONS into the table, TOOL_SHORT into the letters, TOOL_HELP at the end of the usage,
 * and call tool_option(c, usage) in the default case.  Own long-only options count from OPT_LONG. */
enum { OPT_THREADS = 256, OPT_LONG };
#define TOOL_SHORT "hVqv"
#define TOOL_OPTIONS                                                                                    \
    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'},                              \
    {"quiet", no_argument, NULL, 'q'}, {"verbose", no_argument, NULL, 'v'}
#define TOOL_THREADS_OPTION {"threads", required_argument, NULL, OPT_THREADS}
#define TOOL_HELP_THREADS "      --threads N         threads; 0: one a core (0)\n"
#define TOOL_HELP                                                                                       \
    "  -q, --quiet             say less on stderr\n"                                                    \
    "  -v, --verbose           say more on stderr, progress even without a terminal\n"                  \
    "  -h, --help              this list\n"                                                             \
    "  -V, --version           version and build\n"
void tool_option(int c, void (*usage)(FILE *));
extern bool tool_quiet, tool_verbose;

/* A whole number, size (K, M, G: powers of 1024) or real number; the whole string must parse and lie in [lo, hi]. */
int64_t opt_int(const char *option, const char *s, int64_t lo, int64_t hi);
int64_t opt_size(const char *option, const char *s, int64_t lo, int64_t hi);
double opt_real(const char *option, const char *s, double lo, double hi);

/* Progress: one line that is rewritten, with rate and time left; on a terminal only (or with -v, then line by line). */
struct tool_progress {
    const char *what, *unit;
    double begun, shown, first; /* seconds; the count at the start */
    bool drawn;
};
struct tool_progress tool_progress_start(const char *what, const char *unit, double first);
/* total 0: unknown.  format may be NULL: nothing more to say. */
void tool_progress_show(struct tool_progress *p, double done, double total, const char *format, ...) MOT_PRINTF(4, 5);
void tool_progress_end(struct tool_progress *p);

/* After tool_catch_interrupt a first SIGINT, SIGTERM or SIGHUP is only remembered; a second one kills. */
void tool_catch_interrupt(void);
int tool_interrupted(void); /* the signal's number, 0: none yet */

/* SIGINT, SIGTERM and SIGHUP remove unfinished files, then kill as ever. */
void tool_remove_on_signal(void);

/* Wrong command line, unless something other than a terminal takes the binary output. */
void tool_refuse_terminal(const char *path, const char *remedy);

/* A string as a column of TSV: tabs, newlines and backslashes become \t, \n, \r and \\. */
void tool_tsv_string(FILE *f, const char *s);

/* A string with JSON's quotes and escapes; bytes that are no UTF-8 become U+FFFD. */
void tool_json_string(FILE *f, const char *s);

#endif
