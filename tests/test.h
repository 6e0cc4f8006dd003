/* SPDX-License-Identifier: MIT
 *
 * test.h - the whole test framework: CHECK counts failures and says where, RUN names a test.
 *
 *   static void test_sum(void) { CHECK_INT(1 + 1, 2); }
 *   int main(void) { RUN(test_sum); return test_end(); }
 *
 * Each RUN prints one line, "ok NAME" or "FAILED NAME"; tests/run.sh adds them up.  Tests that run again under other
 * conditions say which in test_note.
 */
#ifndef MOT_TEST_H
#define MOT_TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int test_failures, test_failed_runs;
static const char *test_note = ""; /* printed after the names of tests */

#define CHECK(condition)                                                                               \
    do {                                                                                               \
        if (!(condition)) {                                                                            \
            test_failures++;                                                                           \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                  \
        }                                                                                              \
    } while (0)

#define CHECK_INT(found, expected)                                                                     \
    do {                                                                                               \
        long long f_ = (long long)(found), e_ = (long long)(expected);                                 \
        if (f_ != e_) {                                                                                \
            test_failures++;                                                                           \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #found, f_, e_); \
        }                                                                                              \
    } while (0)

#define CHECK_STR(found, expected)                                                                     \
    do {                                                                                               \
        const char *f_ = (found), *e_ = (expected);                                                    \
        if (strcmp(f_, e_) != 0) {                                                                     \
            test_failures++;                                                                           \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #found, f_,  \
                    e_);                                                                               \
        }                                                                                              \
    } while (0)

/* |found - expected| <= absolute + relative |expected|; NaN never passes. */
#define CHECK_NEAR(found, expected, absolute, relative)                                                \
    do {                                                                                               \
        double f_ = (double)(found), e_ = (double)(expected);                                          \
        if (!(fabs(f_ - e_) <= (absolute) + (relative)*fabs(e_))) {                                    \
            test_failures++;                                                                           \
            fprintf(stderr, "%s:%d: %s is %.9g, expected %.9g\n", __FILE__, __LINE__, #found, f_, e_); \
        }                                                                                              \
    } while (0)

#define RUN(test)                                                                                      \
    do {                                                                                               \
        int before_ = test_failures;                                                                   \
        test();                                                                                        \
        printf("%s %s%s%s\n", test_failures == before_ ? "ok" : "FAILED", #test,                       \
               *test_note ? " on " : "", test_note);                                                   \
        fflush(stdout);                                                                                \
        test_failed_runs += test_failures != before_;                                                  \
    } while (0)

static inline int test_end(void)
{
    return test_failed_runs != 0;
}

#endif
