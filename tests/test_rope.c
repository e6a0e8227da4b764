/* Rotary embedding against transformers' tables and rotation. */
#include "nn/rope.h"
#include "nn_testing.h"

static void check_table(const struct nn_rope *r, const char *name)
{
    float *want = read_floats(ref(name));
    for (int i = 0; i < r->dims / 2; i++)
        assert_near(1 / (double)r->wavelengths[i], want[i], 1.2e-7 * (double)want[i]);
    free(want);
}

static void test_rope__default(void **state)
{
    (void)state;
    struct nn_rope r = nn_rope_make(64, 1, 1e4);
    check_table(&r, "rope.default.inv_freq");
    expect_ref(nn_rope(&r, ref("rope.default.x")), "rope.default.y", 1e-6);
}

/* A quarter of the pairs turns, over the whole head, not over its first quarter. */
static void test_rope__proportional(void **state)
{
    (void)state;
    struct nn_rope r = nn_rope_make(128, 0.25, 1e6);
    check_table(&r, "rope.proportional.inv_freq");
    assert_true(isinf(r.wavelengths[16]) && !isinf(r.wavelengths[15]));
    expect_ref(nn_rope(&r, ref("rope.proportional.x")), "rope.proportional.y", 1e-6);
}

static void test_rope__each_row_at_its_own_position(void **state)
{
    (void)state;
    mx_array at = mx_from((int32_t[]){11, 200}, MX_INT32, SHAPE(2));
    struct nn_rope a = nn_rope_make(64, 1, 1e4), b = nn_rope_make(128, 0.25, 1e6);
    expect_ref(nn_rope_at(&a, ref("rope.default.q"), at), "rope.default.q_at", 1e-6);
    expect_ref(nn_rope_at(&b, ref("rope.proportional.q"), at), "rope.proportional.q_at", 1e-6);
}

/* Tokens of a packed row turn as they would alone. */
static void test_rope__each_token_at_its_own_position(void **state)
{
    (void)state;
    struct nn_rope r = nn_rope_make(128, 0.25, 1e6);
    mx_array x = ref("rope.proportional.x");                                    /* [B,H,T,C] */
    int B = mx_dim(x, 0), T = mx_dim(x, 2);
    int32_t *order = calloc((size_t)(B * T), sizeof *order);
    assert_non_null(order);
    for (int i = 0; i < B * T; i++)
        order[i] = (i / T * 3 + i % T * 7) % T;
    mx_array at = mx_from(order, MX_INT32, SHAPE(B, T));
    mx_array index = mx_broadcast_to(mx_reshape(at, B, 1, T, 1), B, mx_dim(x, 1), T, 128);
    mx_array want = mx_take_along_axis(ref("rope.proportional.y"), index, 2);
    expect_near(nn_rope_each(&r, mx_take_along_axis(x, index, 2), at), want, 1e-6);
    free(order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_rope__default),
        nn_test(test_rope__proportional),
        nn_test(test_rope__each_row_at_its_own_position),
        nn_test(test_rope__each_token_at_its_own_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
