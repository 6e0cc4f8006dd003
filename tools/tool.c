/* SPDX-License-Identifier: MIT
 *
 * tool.c - messages, options, progress and signals of all programs.
 */
#include "tool.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

bool tool_quiet, tool_verbose;
static const char *program = "mot";
static bool failed, closed; /* closed: stdout is */
static struct tool_progress *on_screen; /* to be erased before other words */

/* libgomp's threads wait for each other by spinning, some milliseconds before they sleep.  On a machine that is busy with
 * other things they burn the very time that the thread needs which they wait for: small nets trained 5 to 50 times slower so.
 * A tenth of a millisecond is enough for the way from one operation to the next.  libgomp reads the variable before main, so
 * the program starts anew with it set; whoever has set it, or OMP_WAIT_POLICY, is left alone. */
static void wait_briefly(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || setenv("GOMP_SPINCOUNT", "10000", 1) != 0)
        return;
    execv("/proc/self/exe", argv); /* returns where there is no /proc: then it goes on as it is */
}

/* Where address space is limited (ulimit -v), libc's habit of reserving 64 MB of it for each thread would use it up. */
static void share_memory(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        (void)mallopt(M_ARENA_MAX, 1);
}

void tool_start(const char *name, char **argv)
{
    program = name;
    wait_briefly(argv);
    share_memory();
    signal(SIGXFSZ, SIG_IGN); /* a write beyond ulimit -f fails like one on a full disk, and is cleaned up after */
}

int tool_finish(void)
{
    bool bad = fflush(stdout) != 0 || ferror(stdout);
    closed = true;
    /* Some file systems tell of a full disk only now. A stdout that was never open matters only to who writes. */
    if (bad || (fclose(stdout) != 0 && errno != EBADF))
        die("standard output: cannot write: %s", strerror(errno));
    return failed;
}

static void erase(void)
{
    if (on_screen && on_screen->drawn && isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
        on_screen->drawn = false;
    }
}

static void say(const char *format, va_list ap, const char *reason)
{
    if (!closed)
        fflush(stdout);
    erase();
    fprintf(stderr, "%s: ", program);
    if (format)
        vfprintf(stderr, format, ap);
    if (reason)
        fprintf(stderr, "%s%s", format ? ": " : "", reason);
    fputc('\n', stderr);
}

#define SAY(reason)                  \
    do {                             \
        va_list ap_;                 \
        va_start(ap_, format);       \
        say(format, ap_, (reason));  \
        va_end(ap_);                 \
    } while (0)

void die(const char *format, ...)
{
    SAY(NULL);
    exit(1);
}

void die_lib(const char *format, ...)
{
    SAY(mot_error());
    exit(1);
}

void die_usage(const char *format, ...)
{
    SAY(NULL);
    fprintf(stderr, "%s: --help lists the options\n", program);
    exit(2);
}

void note(const char *format, ...)
{
    if (!tool_quiet)
        SAY(NULL);
}

void warn(const char *format, ...)
{
    SAY(NULL);
}

void fail(const char *format, ...)
{
    SAY(NULL);
    failed = true;
}

void fail_lib(const char *format, ...)
{
    SAY(mot_error());
    failed = true;
}

/* ---- options ---- */

static void version(void)
{
    printf("%s (mot) %s\n", program, MOT_VERSION);
    printf("built with %s; the processor's best set of instructions is chosen at run time, see MOT_CPU in mot(7)\n", __VERSION__);
}

void tool_option(int c, void (*usage)(FILE *))
{
    switch (c) {
    case 'q': tool_quiet = true; return;
    case 'v': tool_verbose = true; return;
    case 'h': usage(stdout); exit(tool_finish());
    case 'V': version(); exit(tool_finish());
    default: fprintf(stderr, "%s: --help lists the options\n", program); exit(2);
    }
}

/* getopt_long names the program by argv[0]; its message stands above ours. */

int64_t opt_int(const char *option, const char *s, int64_t lo, int64_t hi)
{
    char *end;
    errno = 0;
    long long x = strtoll(s, &end, 10);
    if (errno || end == s || *end || x < lo || x > hi)
        die_usage("%s %s: expected a whole number from %lld to %lld", option, s, (long long)lo, (long long)hi);
    return x;
}

int64_t opt_size(const char *option, const char *s, int64_t lo, int64_t hi)
{
    static const char suffix[] = "KMG";
    char *end;
    errno = 0;
    long long x = strtoll(s, &end, 10);
    const char *k = *end ? strchr(suffix, *end >= 'a' && *end <= 'z' ? *end - 32 : *end) : NULL;
    int shift = k ? 10 * (int)(k - suffix + 1) : 0;
    if (errno || end == s || (*end && (!k || end[1])) || x < 0 || x > (INT64_MAX >> shift) || (x << shift) < lo ||
        (x << shift) > hi)
        die_usage("%s %s: expected a number from %lld to %lld, K, M or G may follow", option, s, (long long)lo,
                  (long long)hi);
    return x << shift;
}

double opt_real(const char *option, const char *s, double lo, double hi)
{
    char *end;
    double x = strtod(s, &end);
    if (end == s || *end || !(x >= lo && x <= hi))
        die_usage("%s %s: expected a number from %.9g to %.9g", option, s, lo, hi);
    return x;
}

void tool_refuse_terminal(const char *path, const char *remedy)
{
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO))
        die_usage("standard output is a terminal, and a shard is no text: %s", remedy);
}

/* ---- progress ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct tool_progress tool_progress_start(const char *what, const char *unit, double first)
{
    double t = now();
    return (struct tool_progress){.what = what, .unit = unit, .begun = t, .shown = t, .first = first};
}

static void show_time(double s)
{
    if (s >= 3600)
        fprintf(stderr, ", %.0f h %02.0f min left", floor(s / 3600), floor(fmod(s, 3600) / 60));
    else if (s >= 60)
        fprintf(stderr, ", %.0f min %02.0f s left", floor(s / 60), floor(fmod(s, 60)));
    else
        fprintf(stderr, ", %.0f s left", s);
}

void tool_progress_show(struct tool_progress *p, double done, double total, const char *format, ...)
{
    /* A terminal is redrawn ten times a second, a log file gets a line every ten seconds; the system is not asked which it
     * is more often than that. */
    double t = tool_quiet ? 0 : now();
    if (tool_quiet || t - p->shown < 0.1)
        return;
    bool terminal = isatty(STDERR_FILENO);
    if ((!terminal && !tool_verbose) || t - p->shown < (terminal ? 0.1 : 10))
        return;
    p->shown = t;
    on_screen = p;
    erase();
    double rate = (done - p->first) / (t - p->begun);
    if (total > 0) {
        enum { WIDTH = 20 };
        int full = (int)(WIDTH * (done < total ? done / total : 1));
        fprintf(stderr, "%s [%.*s%.*s] %.0f/%.0f %s, %.3g/s", p->what, full, "####################", WIDTH - full,
                "....................", done, total, p->unit, rate);
        if (rate > 0)
            show_time((total - done) / rate);
    } else {
        fprintf(stderr, "%s: %.0f %s, %.3g/s", p->what, done, p->unit, rate);
    }
    if (format) {
        fputs(", ", stderr);
        va_list ap;
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
    }
    if (!terminal)
        fputc('\n', stderr);
    fflush(stderr);
    p->drawn = terminal;
}

void tool_progress_end(struct tool_progress *p)
{
    on_screen = p;
    erase();
    on_screen = NULL;
}

/* ---- signals ---- */

static volatile sig_atomic_t interrupted;

static void remove_unfinished(int signal_number)
{
    mot_out_remove_all();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void remember(int signal_number)
{
    interrupted = signal_number;
    signal(signal_number, remove_unfinished);
}

/* Unless it is ignored: nohup, background jobs. */
static void handle(int signal_number, void (*handler)(int))
{
    if (signal(signal_number, handler) == SIG_IGN)
        signal(signal_number, SIG_IGN);
}

void tool_catch_interrupt(void)
{
    signal(SIGINT, remember); /* also in the background: it loses nothing */
    signal(SIGTERM, remember);
    handle(SIGHUP, remember);
}

int tool_interrupted(void)
{
    return interrupted;
}

void tool_remove_on_signal(void)
{
    handle(SIGINT, remove_unfinished);
    handle(SIGTERM, remove_unfinished);
    handle(SIGHUP, remove_unfinished);
}

/* ---- TSV, JSON ---- */

void tool_tsv_string(FILE *f, const char *s)
{
    static const char special[] = "\t\n\r\\", letter[] = "tnr\\";
    for (; *s; s++) {
        const char *k = strchr(special, *s);
        if (k)
            fprintf(f, "\\%c", letter[k - special]);
        else
            fputc(*s, f);
    }
}

/* Bytes of the UTF-8 character at s, 0 if it is none. */
static int character(const unsigned char *s)
{
    static const unsigned char lead[4][2] = {{0x80, 0x00}, {0xe0, 0xc0}, {0xf0, 0xe0}, {0xf8, 0xf0}};
    for (int n = 1; n <= 4; n++) {
        if ((s[0] & lead[n - 1][0]) != lead[n - 1][1])
            continue;
        for (int i = 1; i < n; i++)
            if ((s[i] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

void tool_json_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        int n = character(p);
        if (n == 0)
            fputs("\\ufffd", f), n = 1;
        else if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if (*p < 0x20)
            fprintf(f, "\\u%04x", *p);
        else
            fwrite(p, 1, (size_t)n, f);
        p += n;
    }
    fputc('"', f);
}
