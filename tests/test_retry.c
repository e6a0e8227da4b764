/* test_retry.c - waits between tries, and what servers say about them. */
#include "base/rng.h"
#include "net/retry.h"
#include "testing.h"

static const struct retry_policy usual = {.first_s = 0.5, .cap_s = 30, .budget_s = 900};

static void test_retry__statuses(void **state)
{
    (void)state;
    static const int again[] = {408, 429, 500, 502, 503, 504, 507, 520, 599};
    static const int final[] = {0,   100, 200, 206, 301, 308, 400, 401,
                                403, 404, 412, 416, 501, 505, 600};
    for (size_t i = 0; i < sizeof again / sizeof *again; i++)
        assert_true(retry_status(again[i]));
    for (size_t i = 0; i < sizeof final / sizeof *final; i++)
        assert_false(retry_status(final[i]));
}

static void test_retry__delays_have_bounds(void **state)
{
    (void)state;
    static const double most[] = {0.5, 1, 2, 4, 8, 16, 30, 30, 30};
    for (int k = 0; k < 9; k++) {
        assert_near(retry_delay(&usual, k, 0, 0), 0, 0);
        assert_near(retry_delay(&usual, k, 0.5, 0), most[k] / 2, 1e-12);
        assert_near(retry_delay(&usual, k, 1 - 1e-15, 0), most[k], 1e-9);
        assert_near(retry_delay(&usual, k, 0.5, 7), 7 + most[k] / 2, 1e-12);
    }
    assert_near(retry_delay(&usual, 2000000000, 0.5, 0), 15, 0);
}

/* Full jitter is uniform: mean half, variance a twelfth, and an even spread over ten parts. */
static void test_retry__jitter_is_uniform(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    int parts[10] = {0};
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double d = retry_delay(&usual, 3, rng_uniform(1, 2, i), 0) / 4;
        sum += d;
        squares += (d - 0.5) * (d - 0.5);
        parts[(int)(10 * d)]++;
    }
    assert_near(sum / COUNT, 0.5, 0.01);
    assert_near(squares / COUNT, 1.0 / 12, 0.002);
    for (int i = 0; i < 10; i++)
        assert_near(parts[i], COUNT / 10, 150);
}

static void test_retry__the_budget_ends(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct retry t = {.policy = usual};
        double slept = 0;
        for (int k = 0; k < 2000; k++) {
            retry_spend(&t, 0.25);
            double wait = retry_next(&t, rng_uniform(seed, 0, (uint64_t)k), 0);
            if (wait < 0)
                break;
            assert_true(wait <= 30);
            assert_true(t.used_s + wait <= 900 + 1e-9);
            slept += wait;
            retry_spend(&t, wait);
        }
        /* All of it is used, but for waits that were too short to count. */
        assert_near(t.used_s, 900, 0.5);
        assert_near(slept + 0.25 * t.failures, 900, 0.5);
        assert_true(t.failures > 40 && t.failures < 110);
    }
}

static void test_retry__wishes_beyond_the_budget_are_not_waited_for(void **state)
{
    (void)state;
    struct retry t = {.policy = usual};
    assert_true(retry_next(&t, 0.5, 899) >= 899);
    retry_spend(&t, 100);
    assert_true(retry_next(&t, 0.5, 801) < 0);
    /* The last wait is cut. */
    t = (struct retry){.policy = usual, .used_s = 895, .failures = 10};
    assert_near(retry_next(&t, 0.9, 0), 5, 1e-9);
    /* A budget below one try: no second one. */
    t = (struct retry){.policy = {.first_s = 0.5, .cap_s = 30, .budget_s = RETRY_TRY_MIN_S}};
    retry_spend(&t, 0);
    assert_true(retry_next(&t, 0.5, 0) < 0);
}

static void test_retry__a_night_is_not_held_against_anyone(void **state)
{
    (void)state;
    struct retry t = {.policy = usual};
    retry_spend(&t, 8 * 3600);
    assert_near(t.used_s, RETRY_TRY_MAX_S, 0);
    assert_true(retry_next(&t, 0.5, 0) >= 0);
}

/* The three examples of RFC 9110, 5.6.7, are one moment. */
static void test_retry__dates(void **state)
{
    (void)state;
    assert_int_equal(retry_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    assert_int_equal(retry_date("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
    assert_int_equal(retry_date("Sun Nov  6 08:49:37 1994"), 784111777);
    assert_int_equal(retry_date("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    assert_int_equal(retry_date("Thu, 29 Feb 2024 12:00:00 GMT"), 1709208000);
    assert_int_equal(retry_date("Tue, 19 Jan 2038 03:14:08 GMT"), 2147483648);
    static const char *const bad[] = {"",
                                      "7",
                                      "now",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "Sun, 06 Nov 1994 08:49:37 PST",
                                      "Sun, 06 Nox 1994 08:49:37 GMT",
                                      "Sun, 32 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 25:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 GMT x",
                                      "Sun, 06 ovD 1994 08:49:37 GMT",
                                      "Sun, -6 Nov 1994 08:49:37 GMT"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(retry_date(bad[i]), -1);
}

static void test_retry__after(void **state)
{
    (void)state;
    const int64_t now = 784111777;
    assert_near(retry_after("120", now), 120, 0);
    assert_near(retry_after("  3 ", now), 3, 0);
    assert_near(retry_after("1.5", now), 1, 0);
    assert_near(retry_after("99999999999999999999999999", now), RETRY_AFTER_MAX_S, 0);
    assert_near(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), 10, 0);
    assert_near(retry_after("Sun, 06 Nov 1994 08:49:27 GMT", now), 0, 0);
    assert_near(retry_after("Sun, 06 Nov 9994 08:49:27 GMT", now), RETRY_AFTER_MAX_S, 0);
    static const char *const bad[] = {"", "-5", "soon", "5 minutes", "nan", "inf", "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_near(retry_after(bad[i], now), 0, 0);
}

static void test_retry__rate_limits(void **state)
{
    (void)state;
    assert_near(retry_rate_limit("\"api\";r=0;t=55"), 55, 0);
    assert_near(retry_rate_limit("\"resolvers\"; r=0; t=241"), 241, 0);
    assert_near(retry_rate_limit("\"api\";r=12;t=55"), 0, 0);
    assert_near(retry_rate_limit("\"api\";t=55"), 0, 0);
    assert_near(retry_rate_limit(""), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry__statuses),
        cmocka_unit_test(test_retry__delays_have_bounds),
        cmocka_unit_test(test_retry__jitter_is_uniform),
        cmocka_unit_test(test_retry__the_budget_ends),
        cmocka_unit_test(test_retry__wishes_beyond_the_budget_are_not_waited_for),
        cmocka_unit_test(test_retry__a_night_is_not_held_against_anyone),
        cmocka_unit_test(test_retry__dates),
        cmocka_unit_test(test_retry__after),
        cmocka_unit_test(test_retry__rate_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
