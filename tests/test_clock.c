/* test_clock.c - time goes forward, and UTC looks like UTC. */
#include "base/clock.h"
#include "testing.h"

#include <time.h>

static void test_clock__seconds_pass(void **state)
{
    (void)state;
    double start = clock_seconds();
    clock_sleep(0.03);
    double took = clock_seconds() - start;
    assert_true(took >= 0.03 && took < 5);
}

static void test_clock__now_is_utc(void **state)
{
    (void)state;
    char text[24];
    struct tm tm = {0};
    clock_now(text);
    assert_int_equal(strlen(text), 20);
    int n = sscanf(text, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                   &tm.tm_min, &tm.tm_sec);
    assert_int_equal(n, 6);
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    assert_int_equal(tm.tm_year, utc.tm_year + 1900);
    assert_true(tm.tm_hour == utc.tm_hour || tm.tm_hour == (utc.tm_hour + 23) % 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock__seconds_pass),
        cmocka_unit_test(test_clock__now_is_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
