/* The learning rate against values worked out by hand. */
#include "testing.h"

#include "train/schedule.h"

static void test_schedule__warms_up_to_the_rate(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_CONSTANT, 0.4, 100, 4, 0};
    assert_near(schedule_rate(&s, 1), 0.1, 1e-12);
    assert_near(schedule_rate(&s, 3), 0.3, 1e-12);
    assert_near(schedule_rate(&s, 4), 0.4, 1e-12);
    assert_near(schedule_rate(&s, 5), 0.4, 1e-12);
    assert_near(schedule_rate(&s, 1000), 0.4, 1e-12);
}

static void test_schedule__linear_falls_evenly(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_LINEAR, 1, 10, 0, 0};
    assert_near(schedule_rate(&s, 1), 1, 1e-12);
    assert_near(schedule_rate(&s, 6), 0.5, 1e-12);
    assert_near(schedule_rate(&s, 10), 0.1, 1e-12);
    assert_near(schedule_rate(&s, 11), 0, 1e-12);
    assert_near(schedule_rate(&s, 99), 0, 1e-12);
    s.warmup_steps = 2;
    assert_near(schedule_rate(&s, 2), 1, 1e-12);
    assert_near(schedule_rate(&s, 3), 1, 1e-12);
    assert_near(schedule_rate(&s, 7), 0.5, 1e-12);
    s.min_ratio = 0.2;
    assert_near(schedule_rate(&s, 7), 0.6, 1e-12);
    assert_near(schedule_rate(&s, 11), 0.2, 1e-12);
}

static void test_schedule__cosine(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_COSINE, 2, 12, 0, 0.1};
    assert_near(schedule_rate(&s, 1), 2, 1e-12);
    assert_near(schedule_rate(&s, 5), 2 * (0.1 + 0.9 * 0.75), 1e-12);     /* cos 60° */
    assert_near(schedule_rate(&s, 7), 2 * (0.1 + 0.9 * 0.5), 1e-12);
    assert_near(schedule_rate(&s, 13), 0.2, 1e-12);
}

static void test_schedule__warm_up_that_fills_the_run(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_LINEAR, 1, 4, 4, 0};
    assert_near(schedule_rate(&s, 4), 1, 1e-12);
    assert_near(schedule_rate(&s, 5), 1, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule__warms_up_to_the_rate),
        cmocka_unit_test(test_schedule__linear_falls_evenly),
        cmocka_unit_test(test_schedule__cosine),
        cmocka_unit_test(test_schedule__warm_up_that_fills_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
