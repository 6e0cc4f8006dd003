/* SPDX-License-Identifier: MIT
 *
 * profile_ceiling.c - this machine's best rates, measured now or remembered from an earlier time.
 *
 * They are remembered in $XDG_CACHE_HOME/mot/ceilings.tsv (~/.cache where that is not set), a line a machine, processor,
 * device, dtype and number of threads.  Only --cache reads or writes that file.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mot.h"
#include "profile.h"
#include "tool.h"

enum { LINE = 1024 };

static void cache_path(char *folder, char *path, size_t n)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = cache && *cache ? snprintf(folder, n, "%s/mot", cache) : snprintf(folder, n, "%s/.cache/mot", home ? home : "");
    if ((!home && !(cache && *cache)) || length + 16 >= (int)n)
        die("--cache: neither XDG_CACHE_HOME nor HOME names a folder");
    snprintf(path, n + 16, "%s/ceilings.tsv", folder);
}

/* What the measurement depends on, without tabs. */
static void key_of(char *key, const char *device, const char *dtype, int threads)
{
    char host[128] = "", line[256], processor[200] = "";
    gethostname(host, sizeof host - 1);
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !processor[0] && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':'))
            snprintf(processor, sizeof processor, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\t\n"), strchr(line, ':') + 2);
    if (f)
        fclose(f);
    snprintf(key, LINE, "%s, %s, %s, %s, %d threads, mot %s", host, processor, device ? device : "cpu", dtype ? dtype : "f32",
             threads, MOT_VERSION);
}

static bool recall(const char *path, const char *key, struct mot_ceiling *c)
{
    char line[LINE + 128];
    bool found = false;
    FILE *f = fopen(path, "r");
    size_t n = strlen(key);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == '\t' &&
            sscanf(line + n + 1, "%lf\t%lf", &c->gemm, &c->bandwidth) == 2 && c->gemm > 0 && c->bandwidth > 0)
            found = true; /* the last one counts */
    if (f)
        fclose(f);
    return found;
}

static void remember(const char *folder, const char *path, const char *key, const struct mot_ceiling *c)
{
    struct mot_bytes all = {0};
    char line[LINE + 128];
    FILE *f = fopen(path, "r");
    int rc = MOT_OK;
    while (f && !rc && fgets(line, sizeof line, f))
        rc = mot_bytes_append(&all, line, strlen(line));
    if (f)
        fclose(f);
    if (!rc)
        rc = mot_bytes_format(&all, "%s\t%.6g\t%.6g\n", key, c->gemm, c->bandwidth);
    if (!rc)
        rc = mot_make_folder(folder);
    if (!rc)
        rc = mot_write_file(path, all.data, all.n);
    if (rc)
        fail_lib("--cache");
    mot_bytes_free(&all);
}

struct mot_ceiling profile_ceiling(const char *device, const char *dtype, int threads, bool cache)
{
    struct mot_ceiling c;
    char folder[4096], path[4096 + 16], key[LINE];
    if (cache) {
        cache_path(folder, path, sizeof folder);
        key_of(key, device, dtype, threads);
        if (recall(path, key, &c))
            return c;
    }
    if (mot_ceiling_measure(device, dtype, threads, &c))
        die_lib(NULL);
    if (cache)
        remember(folder, path, key, &c);
    return c;
}
