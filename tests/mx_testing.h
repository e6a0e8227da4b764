/* mx_testing.h - for the tests of src/mx: a scope around each test, and no array left alive. */
#ifndef MX_TESTING_H
#define MX_TESTING_H

#include "testing.h"

#include "mx/mx.h"

static inline int before(void **state)
{
    (void)state;
    assert_int_equal(mx_live(), 0);
    mx_enter();
    return 0;
}

static inline int after(void **state)
{
    (void)state;
    struct err e = {0};
    if (mx_check(&e))
        fail_msg("left over: %s", e.text);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
    return 0;
}

/* The value of a one-element array. */
static inline double item(mx_array x)
{
    struct err e = {0};
    double v = NAN;
    if (mx_item(x, &v, &e))
        fail_msg("%s", e.text);
    return v;
}

/* A failure sticks whose text contains this; it is taken away. */
static inline void expect_error(const char *text)
{
    struct err e = {0};
    assert_int_equal(mx_check(&e), -1);
    if (!strstr(e.text, text))
        fail_msg("found: %s\nexpected: %s", e.text, text);
    assert_int_equal(mx_check(&(struct err){0}), 0);
}

#endif
