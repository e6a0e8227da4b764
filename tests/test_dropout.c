/* Dropout: how often, what is left, and that key and site alone decide. */
#include "nn/dropout.h"
#include "nn_testing.h"

static mx_array ones(void)
{
    return mx_full(1, MX_FLOAT32, 100, 200);
}

static void test_dropout__drops_at_its_rate(void **state)
{
    (void)state;
    for (int k = 1; k < 4; k++) {
        double rate = 0.2 * k, n = 20000, dropped = 0;
        float *x = read_floats(nn_dropout(ones(), mx_random_key(5), 1, rate));
        for (int i = 0; i < 20000; i++) {
            if (x[i] != 0)
                assert_near(x[i], 1 / (1 - rate), 1e-6);
            dropped += x[i] == 0;
        }
        assert_near(dropped / n, rate, 4 * sqrt(rate * (1 - rate) / n));
        free(x);
    }
}

static void test_dropout__key_and_site_decide(void **state)
{
    (void)state;
    mx_array key = mx_random_key(5), x = nn_dropout(ones(), key, 1, 0.5);
    expect_near(nn_dropout(ones(), mx_random_key(5), 1, 0.5), x, 0);

    mx_array others[] = {nn_dropout(ones(), key, 2, 0.5),
                         nn_dropout(ones(), mx_random_key(6), 1, 0.5)};
    for (int i = 0; i < 2; i++) {       /* as often alike as two coins are */
        mx_array same = mx_astype(mx_equal(others[i], x), MX_FLOAT32);
        float *share = read_floats(mx_mean(mx_flatten(same, 0, 1), 0, false));
        assert_near(*share, 0.5, 4 * sqrt(0.25 / 20000));
        free(share);
    }
}

static void test_dropout__without_key_or_rate_is_nothing(void **state)
{
    (void)state;
    mx_array x = ones();
    assert_int_equal(nn_dropout(x, MX_NONE, 1, 0.5).id, x.id);
    assert_int_equal(nn_dropout(x, mx_random_key(1), 1, 0).id, x.id);
    x = mx_astype(x, MX_BFLOAT16);
    assert_int_equal(mx_dtype(nn_dropout(x, mx_random_key(1), 1, 0.5)), MX_BFLOAT16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_dropout__drops_at_its_rate),
        nn_test(test_dropout__key_and_site_decide),
        nn_test(test_dropout__without_key_or_rate_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
