/* test_watch.c - what is said of waiting, and that a wish to stop ends it. */
#include "train/watch.h"

#include "testing.h"

#include <stdatomic.h>

#include "base/clock.h"

static atomic_bool wants_to_stop;

static bool is_stopped(void *arg)
{
    (void)arg;
    return atomic_load(&wants_to_stop);
}

static void test_watch__says_what_is_waited_for(void **state)
{
    (void)state;
    char text[200];
    struct net_stats s = {.last_failure = "503 x 4"};
    watch_text(12.4, &s, "shards 3 of 32", text, sizeof text);
    assert_string_equal(text, "waiting for data 12 s: 503 x 4; shards 3 of 32");
    watch_text(12.4, &s, "", text, sizeof text);
    assert_string_equal(text, "waiting for data 12 s: 503 x 4");
    s.last_failure[0] = 0;
    watch_text(12.4, &s, "shards 3 of 32", text, sizeof text);
    assert_string_equal(text, "waiting for data 12 s: shards 3 of 32");
    watch_text(12.4, &s, "", text, sizeof text);
    assert_string_equal(text, "waiting for data 12 s");
}

static void test_watch__stops_the_network(void **state)
{
    (void)state;
    struct net *net = net_open(&(struct net_options){0});
    struct watch *w = watch_new(net, is_stopped, NULL);
    assert_non_null(w);
    watch_begin(w, NULL);
    watch_end(w);
    assert_false(net_is_stopped(net));
    atomic_store(&wants_to_stop, true);
    double begun = clock_seconds();
    while (!net_is_stopped(net) && clock_seconds() - begun < 60)
        clock_sleep(0.01);
    assert_true(net_is_stopped(net));
    watch_free(w);
    net_close(net);
}

static void test_watch__may_be_none(void **state)
{
    (void)state;
    watch_begin(NULL, NULL);
    watch_end(NULL);
    watch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch__says_what_is_waited_for),
        cmocka_unit_test(test_watch__stops_the_network),
        cmocka_unit_test(test_watch__may_be_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
