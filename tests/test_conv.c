/* Convolutions against torch, with torch's layout of the weights. */
#include "nn/conv.h"
#include "nn_testing.h"

static void test_conv__causal_depthwise(void **state)
{
    (void)state;
    struct nn_conv c = {.weight = ref("conv.depthwise"), .groups = 6};
    expect_ref(nn_conv1d(&c, ref("conv.x1"), 1, 4, 0), "conv.causal", 1e-6);
}

static void test_conv__strided_with_bias(void **state)
{
    (void)state;
    struct nn_conv c = {.weight = ref("conv.full"), .bias = ref("conv.bias"), .groups = 1};
    expect_ref(nn_conv1d(&c, ref("conv.x1"), 2, 1, 1), "conv.strided", 1e-6);
}

static void test_conv__two_axes(void **state)
{
    (void)state;
    struct nn_conv c = {.weight = ref("conv.square"), .groups = 1};
    expect_ref(nn_conv2d(&c, ref("conv.x2"), 2, 1), "conv.two", 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_conv__causal_depthwise),
        nn_test(test_conv__strided_with_bias),
        nn_test(test_conv__two_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
