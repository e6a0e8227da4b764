/* test_spool_space.c - disk space: reserved, evicted, given to the first. */
#include "spool_testing.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"

static void test_spool_space__stays_within_its_space(void **state)
{
    (void)state;
    struct object a = put("a", bytes, 4 * MIB), b = put("b", bytes + 1, 4 * MIB);
    struct object c = put("c", bytes + 2, 4 * MIB), d = put("d", bytes + 3, 4 * MIB);
    struct object huge = put("huge", bytes, 11 * MIB);
    struct spool *s = open_spool(10 * MIB, false);
    spool_want(s, &a);
    spool_want(s, &b);
    spool_want(s, &c);
    take(s, &a, bytes, 4 * MIB);
    take(s, &b, bytes + 1, 4 * MIB);
    clock_sleep(0.2);
    assert_false(spool_has(s, &c));               /* there is no room for it */
    spool_give(s, &a);
    take(s, &c, bytes + 2, 4 * MIB);
    assert_false(spool_has(s, &a));
    assert_true(spool_has(s, &b));
    /* Two holders: the first to give back changes nothing. */
    spool_want(s, &b);
    spool_give(s, &b);
    spool_want(s, &d);
    clock_sleep(0.2);
    assert_false(spool_has(s, &d));
    assert_true(spool_has(s, &b));
    /* The least recently used goes first. */
    spool_give(s, &c);
    take(s, &d, bytes + 3, 4 * MIB);
    assert_false(spool_has(s, &c));
    spool_give(s, &b);
    spool_give(s, &d);
    spool_want(s, &b);                            /* now d is the one not used for longer */
    take(s, &b, bytes + 1, 4 * MIB);
    spool_give(s, &b);
    spool_want(s, &a);
    take(s, &a, bytes, 4 * MIB);
    assert_true(spool_has(s, &b));
    assert_false(spool_has(s, &d));
    assert_int_equal(stats_of(s).evicted, 3);
    assert_in_range(stats_of(s).disk_peak, 8 * MIB, 10 * MIB);
    spool_want(s, &huge);
    take_fails(s, &huge, ERR_SPACE,
               "gs://bucket/huge: needs 11534336 bytes of disk, `disk` allows");
    close_spool(s);
    object_release(&a);
    object_release(&b);
    object_release(&c);
    object_release(&d);
    object_release(&huge);
}

static void test_spool_space__makes_what_was_left_fit(void **state)
{
    (void)state;
    struct object a = put("a", bytes, 3 * MIB), b = put("b", bytes, 2 * MIB);
    struct spool *s = open_spool(0, true);
    spool_want(s, &a);
    spool_want(s, &b);
    char *old = take_path(s, &a, bytes, 3 * MIB);
    take(s, &b, bytes, 2 * MIB);
    spool_give(s, &a);
    close_spool(s);
    struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, old, long_ago, 0), 0);
    s = open_spool(4 * MIB, true);
    spool_want(s, &b);
    take(s, &b, bytes, 2 * MIB);
    assert_false(file_exists(old));
    assert_int_equal(stats_of(s).reused, 1);
    assert_true(stats_of(s).disk_peak <= 4 * MIB);
    close_spool(s);
    free(old);
    object_release(&a);
    object_release(&b);
}

/* The first object turns out to need far more space than was thought, and what is wanted after
 * it has come already: that goes, or both would wait for ever. */
static void test_spool_space__gives_way_to_the_first(void **state)
{
    (void)state;
    enum { SIZE = 30 * MIB };
    char *text = new_buffer(SIZE), *gz = new_buffer(10 * MIB);
    for (size_t i = 0; i < SIZE; i += 40)
        text[i] = bytes[i % BIG];
    size_t gz_size = gzip(text, SIZE, gz, 10 * MIB);
    assert_in_range(gz_size, SIZE / 190, SIZE / 12);
    struct object first = put("first.gz", gz, gz_size), after = put("after", bytes, 12 * MIB);
    struct spool *s = open_spool(SIZE + (int64_t)gz_size + MIB, false);
    spool_want(s, &first);
    spool_want(s, &after);
    take(s, &first, text, SIZE);
    spool_give(s, &first);
    take(s, &after, bytes, 12 * MIB);
    assert_true(stats_of(s).disk_peak <= SIZE + (int64_t)gz_size + MIB);
    close_spool(s);
    object_release(&first);
    object_release(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(spool_space, stays_within_its_space),
        SPOOL_TEST(spool_space, makes_what_was_left_fit),
        SPOOL_TEST(spool_space, gives_way_to_the_first),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    return failed;
}
