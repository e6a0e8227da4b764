/* Attention and its masks against torch, with two query heads a key head and scale 1. */
#include "nn/attention.h"
#include "nn_testing.h"

static void test_attention__causal(void **state)
{
    (void)state;
    mx_array y = nn_attention(ref("attn.q"), ref("attn.k"), ref("attn.v"), 1, MX_NONE);
    expect_ref(y, "attn.causal", 2e-6);
}

static void test_attention__window(void **state)
{
    (void)state;
    mx_array mask = nn_window_mask(9, 3);
    expect_ref(nn_attention(ref("attn.q"), ref("attn.k"), ref("attn.v"), 1, mask), "attn.window",
               2e-6);
    assert_true(mx_is_none(nn_window_mask(9, 9)));
    assert_true(mx_is_none(nn_window_mask(9, 0)));
    assert_false(mx_is_none(nn_window_mask(9, 8)));
}

/* A window of W sees W positions, its own included. */
static void test_attention__window_counts_its_own_position(void **state)
{
    (void)state;
    float *m = read_floats(nn_window_mask(4, 2));
    const float want[] = {1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1};
    for (int i = 0; i < 16; i++)
        assert_near(m[i], want[i], 0);
    free(m);
}

static void test_attention__one_token_a_row(void **state)
{
    (void)state;
    mx_array at = mx_from((int32_t[]){4, 8}, MX_INT32, SHAPE(2));
    mx_array q = mx_slice(ref("attn.q"), 2, 0, 1);
    mx_array y = nn_attention(q, ref("attn.k"), ref("attn.v"), 1, nn_decode_mask(at, 9, 3));
    expect_ref(y, "attn.decode", 2e-6);

    float *m = read_floats(nn_decode_mask(at, 9, 0));
    for (int s = 0; s < 9; s++) {
        assert_near(m[s], s <= 4, 0);
        assert_near(m[9 + s], 1, 0);
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_attention__causal),
        nn_test(test_attention__window),
        nn_test(test_attention__window_counts_its_own_position),
        nn_test(test_attention__one_token_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
