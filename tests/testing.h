/* testing.h - what every test includes: cmocka, and a folder of its own for files. */
#ifndef TESTING_H
#define TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The error `e` holds this kind, and its text contains `part`. */
#define assert_err(e, want_kind, part)                                                             \
    do {                                                                                           \
        if ((e).kind != (want_kind) || !strstr((e).text, (part)))                                  \
            print_error("found error %d: %s\n", (int)(e).kind, (e).text);                          \
        assert_int_equal((e).kind, (want_kind));                                                   \
        assert_non_null(strstr((e).text, (part)));                                                 \
    } while (0)

/* There is no error; prints the one that is there. */
#define assert_ok(e)                                                                               \
    do {                                                                                           \
        if ((e).kind)                                                                              \
            print_error("error %d: %s\n", (int)(e).kind, (e).text);                                \
        assert_int_equal((e).kind, 0);                                                             \
    } while (0)

/* |found - expected| <= tolerance; false for numbers that are not finite. */
#define assert_near(found, expected, tolerance)                                                    \
    do {                                                                                           \
        double near_f = (double)(found), near_e = (double)(expected);                              \
        if (!(fabs(near_f - near_e) <= (double)(tolerance))) {                                     \
            print_error("%s: found %.9g, expected %.9g\n", #found, near_f, near_e);                \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* A new empty folder under $TMPDIR (or /tmp).  The caller removes it and frees the name. */
static inline char *testing_folder(void)
{
    const char *base = getenv("TMPDIR");
    size_t size = strlen(base ? base : "/tmp") + sizeof "/attune-test-XXXXXX";
    char *path = malloc(size);
    assert_non_null(path);
    snprintf(path, size, "%s/attune-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

#endif
