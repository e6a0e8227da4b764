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

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_rope__default),
        nn_test(test_rope__proportional),
        nn_test(test_rope__each_row_at_its_own_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
