/* adapters_fixture.h - for tests against tests/data/adapters. */
#ifndef ADAPTERS_FIXTURE_H
#define ADAPTERS_FIXTURE_H

#include "nn_testing.h"

#define ADAPTERS "tests/data/adapters/"

static inline int adapters_before(void **state)
{
    struct err e = {0};
    before(state);
    safetensors_close(reference);
    reference = safetensors_open(ADAPTERS "ref.safetensors", &e);
    assert_ok(e);
    return 0;
}

/* A reference tensor by a formatted name. */
static inline mx_array ref_of(const char *fmt, const char *a, const char *b)
{
    char name[200];
    snprintf(name, sizeof name, fmt, a, b);
    return ref(name);
}

#define adapters_test(f) cmocka_unit_test_setup_teardown(f, adapters_before, after)

#endif
