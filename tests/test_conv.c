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

/* With weights and input as what is differentiated: the sum of the output times `along`. */
struct pair {
    mx_array x, w, along;
    int stride;
    bool is_plain;
};

static void value(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct pair *p = arg;
    struct nn_conv c = {.weight = p->w, .groups = 1};
    (void)in;
    assert_int_equal(n_in, 0);
    assert_int_equal(n_out, 1);
    mx_array y = p->is_plain ? mx_conv1d(mx_pad(p->x, 1, 1, 1, 0), mx_swapaxes(p->w, 1, 2),
                                         p->stride, 0, 1, 1)
                             : nn_conv1d(&c, p->x, p->stride, 1, 1);
    out[0] = mx_sum_all(mx_multiply(y, p->along));
}

static mx_array random_of(uint64_t seed, const int *shape, int n)
{
    return mx_random_normal_(mx_random_key(seed), 1, shape, n);
}

/* The way of processors, and its gradients, against MLX's own. */
static void test_conv__gradients_equal_mlx(void **state)
{
    (void)state;
    for (int stride = 1; stride <= 2; stride++) {
        for (int T = 11; T <= 12; T++) {
            struct pair p = {.stride = stride};
            mx_array found[2], grads[2][2];
            p.x = mx_slot(random_of(1, (int[]){2, T, 5}, 3));
            p.w = mx_slot(random_of(2, (int[]){7, 5, 3}, 3));
            p.along = random_of(3, (int[]){2, (T - 1) / stride + 1, 7}, 3);
            for (int i = 0; i < 2; i++) {
                mx_array wrt[] = {p.x, p.w};
                p.is_plain = i == 0;
                mx_value_and_grad(value, &p, (struct mx_arrays){NULL, 0},
                                  (struct mx_arrays){wrt, 2}, &found[i], 1, grads[i]);
            }
            expect_near(found[0], found[1], 2e-5);
            expect_near(grads[0][0], grads[1][0], 2e-5);
            expect_near(grads[0][1], grads[1][1], 2e-5);
            mx_slot_free(p.x);
            mx_slot_free(p.w);
        }
    }
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
        nn_test(test_conv__gradients_equal_mlx),
        nn_test(test_conv__two_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
