/* Norms against transformers and torch. */
#include "nn/norm.h"
#include "nn_testing.h"

static void test_norm__rms_equals_transformers(void **state)
{
    (void)state;
    struct nn_norm n = {.weight = ref("norm.weight"), .eps = 1e-6};
    expect_ref(nn_rms_norm(&n, ref("norm.x")), "norm.rms", 1e-6);
}

static void test_norm__layer_equals_torch(void **state)
{
    (void)state;
    struct nn_norm n = {.weight = ref("norm.weight"), .bias = ref("norm.bias"), .eps = 1e-5};
    expect_ref(nn_layer_norm(&n, ref("norm.x")), "norm.layer", 1e-6);
}

static void test_norm__float_weight_keeps_bfloat16(void **state)
{
    (void)state;
    struct nn_norm n = {.weight = ref("norm.weight"), .eps = 1e-6};
    mx_array x = mx_astype(ref("norm.x"), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_rms_norm(&n, x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_layer_norm(&n, x)), MX_BFLOAT16);
    expect_ref(nn_rms_norm(&n, x), "norm.rms", 2e-2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_norm__rms_equals_transformers),
        nn_test(test_norm__layer_equals_torch),
        nn_test(test_norm__float_weight_keeps_bfloat16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
