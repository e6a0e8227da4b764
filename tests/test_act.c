/* Activations against torch. */
#include "nn/act.h"
#include "nn_testing.h"

static void test_act__equal_torch(void **state)
{
    (void)state;
    mx_array x = ref("act.x");
    expect_ref(nn_gelu_approx(x), "act.gelu_approx", 1e-6);
    expect_ref(nn_silu(x), "act.silu", 1e-6);
    expect_ref(nn_relu(x), "act.relu", 0);
    expect_ref(nn_softplus(x), "act.softplus", 1e-6);
    expect_ref(nn_glu(x), "act.glu", 1e-6);
    expect_ref(nn_softcap(x, 30), "act.softcap", 1e-6);
    expect_ref(nn_softcap(x, 0), "act.x", 0);
    expect_ref(nn_clamp(x, 2.5), "act.clamp", 0);
}

static void weighted_gelu(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)in;
    (void)n_in;
    (void)n_out;
    mx_array y = nn_gelu(*(const mx_array *)arg);
    out[0] = mx_sum_all(mx_multiply(mx_astype(y, MX_FLOAT32), ref("gelu.dy")));
}

static void test_act__gelu_and_its_gradient_equal_torch(void **state)
{
    (void)state;
    mx_array x = mx_slot(ref("act.x")), out, dx;
    expect_ref(nn_gelu(x), "gelu.y", 1e-6);
    mx_value_and_grad(weighted_gelu, &x, (struct mx_arrays){0}, (struct mx_arrays){&x, 1}, &out, 1,
                      &dx);
    expect_ref(dx, "gelu.dx", 1e-6);

    /* In bfloat16 the tail keeps its digits: 1 + erf would round them away. */
    mx_set(x, mx_full(-4, MX_BFLOAT16, 2));
    float *y = read_floats(nn_gelu(x));
    assert_near(y[0], -4 * 3.167124e-5, 1e-6);
    free(y);
    mx_slot_free(x);
}

static void test_act__keeps_the_dtype(void **state)
{
    (void)state;
    mx_array x = mx_astype(ref("act.x"), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_gelu_approx(x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_gelu(x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_silu(x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_relu(x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_softplus(x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_glu(x)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_softcap(x, 30)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_clamp(x, 1e10)), MX_BFLOAT16);
}

/* A limit above float16's largest number must not become infinity. */
static void test_act__clamp_stays_in_the_dtype(void **state)
{
    (void)state;
    mx_array x = mx_full(INFINITY, MX_FLOAT16, 1);
    float *v = read_floats(nn_clamp(x, 1e10));
    assert_near(v[0], 65504, 0);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_act__equal_torch),
        nn_test(test_act__gelu_and_its_gradient_equal_torch),
        nn_test(test_act__keeps_the_dtype),
        nn_test(test_act__clamp_stays_in_the_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
