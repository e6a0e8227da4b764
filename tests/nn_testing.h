/* nn_testing.h - for the tests of src/nn: reference values, comparison, no array left alive. */
#ifndef NN_TESTING_H
#define NN_TESTING_H

#include "testing.h"

#include "nn/safetensors.h"

#define NN_DATA "tests/data/nn/"
#define SHAPE(...) ((int[]){__VA_ARGS__}), MX_COUNT(__VA_ARGS__)

static struct safetensors *reference;           /* tests/data/nn/ref.safetensors */

static inline int before(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(mx_live(), 0);
    reference = safetensors_open(NN_DATA "ref.safetensors", &e);
    assert_ok(e);
    mx_enter();
    return 0;
}

static inline int after(void **state)
{
    struct err e = {0};
    (void)state;
    int failed = mx_check(&e);
    assert_ok(e);
    mx_leave(MX_NONE);
    safetensors_close(reference);
    assert_int_equal(mx_live(), 0);
    return failed;
}

/* A reference tensor as an array of the current scope. */
static inline mx_array ref(const char *name)
{
    const struct safetensors_tensor *t = safetensors_find(reference, name);
    if (!t)
        fail_msg("no reference %s", name);
    return safetensors_array(reference, t);
}

static inline float *read_floats(mx_array x)
{
    struct err e = {0};
    size_t bytes = mx_size(x) * sizeof(float);
    float *v = malloc(bytes + 1);
    assert_non_null(v);
    if (mx_read(x, MX_FLOAT32, v, bytes, &e))
        fail_msg("%s", e.text);
    return v;
}

/* Same shape, and |found - expected| <= tolerance · max(1, |expected|) everywhere. */
static inline void expect_near(mx_array found, mx_array expected, double tolerance)
{
    assert_int_equal(mx_ndim(found), mx_ndim(expected));
    for (int i = 0; i < mx_ndim(found); i++)
        assert_int_equal(mx_dim(found, i), mx_dim(expected, i));
    float *f = read_floats(found), *x = read_floats(expected);
    double worst = 0;
    for (size_t i = 0; i < mx_size(found); i++) {
        double d = fabs((double)f[i] - (double)x[i]) / fmax(1, fabs((double)x[i]));
        if (!(d <= tolerance))
            fail_msg("at %zu: found %.9g, expected %.9g", i, (double)f[i], (double)x[i]);
        worst = fmax(worst, d);
    }
    if (getenv("NN_TESTING_VERBOSE"))
        print_message("    worst difference %.3g of %.3g\n", worst, tolerance);
    free(f);
    free(x);
}

static inline void expect_ref(mx_array found, const char *name, double tolerance)
{
    if (getenv("NN_TESTING_VERBOSE"))
        print_message("    %s\n", name);
    expect_near(found, ref(name), tolerance);
}

#define nn_test(f) cmocka_unit_test_setup_teardown(f, before, after)

#endif
