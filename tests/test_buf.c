/* test_buf.c - growing buffers: content, limits, and what is left after an overflow. */
#include "base/buf.h"
#include "testing.h"

#include <stdlib.h>
#include <string.h>

static void test_buf__adds_bytes_strings_and_formats(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_string_equal(b.data, "");
    buf_add(&b, "a\0b", 3);
    buf_add_char(&b, '-');
    buf_add_str(&b, "cd");
    buf_printf(&b, "%d %s", 7, "x");
    assert_int_equal(b.size, 9);
    assert_memory_equal(b.data, "a\0b-cd7 x", 10);
    buf_truncate(&b, 2);
    assert_int_equal(b.size, 2);
    buf_release(&b);
    assert_string_equal(b.data, "");
}

static void test_buf__grows_to_exactly_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    struct err e = {0};
    buf_init(&b, 100);
    for (int i = 0; i < 100; i++)
        buf_add_char(&b, 'x');
    assert_int_equal(buf_check(&b, "line", &e), 0);
    assert_int_equal(strlen(b.data), 100);
    buf_add_char(&b, 'x');
    assert_int_equal(buf_check(&b, "line", &e), -1);
    assert_string_equal(e.text, "line is larger than the limit of 100 bytes");
    buf_release(&b);
}

static void test_buf__is_empty_and_stays_so_after_an_overflow(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_add_str(&b, "12345");
    buf_add_str(&b, "1234567");
    buf_add_str(&b, "1");
    buf_printf(&b, "%d", 1);
    assert_int_equal(b.size, 0);
    assert_string_equal(b.data, "");
    assert_null(buf_extend(&b, 1));
    buf_clear(&b);
    buf_add_str(&b, "again");
    assert_string_equal(b.data, "again");
    buf_release(&b);
}

static void test_buf__does_not_wrap_at_huge_sizes(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_add_str(&b, "abc");
    assert_null(buf_extend(&b, (size_t)-2));
    assert_true(b.overflowed);
    buf_release(&b);
}

static void test_buf__take_hands_over_the_bytes(void **state)
{
    (void)state;
    struct buf b;
    size_t size = 9;
    buf_init(&b, 1000);
    char *s = buf_take(&b, &size);
    assert_string_equal(s, "");
    assert_int_equal(size, 0);
    free(s);
    buf_add_str(&b, "abc");
    s = buf_take(&b, &size);
    assert_string_equal(s, "abc");
    assert_int_equal(size, 3);
    assert_int_equal(b.size, 0);
    free(s);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf__adds_bytes_strings_and_formats),
        cmocka_unit_test(test_buf__grows_to_exactly_its_maximum),
        cmocka_unit_test(test_buf__is_empty_and_stays_so_after_an_overflow),
        cmocka_unit_test(test_buf__does_not_wrap_at_huge_sizes),
        cmocka_unit_test(test_buf__take_hands_over_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
