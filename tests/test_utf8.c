/* test_utf8.c - every code point there and back, and the forms that are not allowed. */
#include "base/utf8.h"
#include "testing.h"

static void test_utf8__every_code_point_survives(void **state)
{
    (void)state;
    for (uint32_t p = 0; p <= 0x110000; p++) {
        char out[4];
        uint32_t back = 0;
        int n = utf8_encode(p, out);
        if (p > 0x10ffff || (p >= 0xd800 && p <= 0xdfff)) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_int_equal(n, p < 0x80 ? 1 : p < 0x800 ? 2 : p < 0x10000 ? 3 : 4);
        assert_int_equal(utf8_decode(out, (size_t)n, &back), n);
        assert_int_equal(back, p);
        if (n > 1)
            assert_int_equal(utf8_decode(out, (size_t)n - 1, &back), -1);
    }
}

static void test_utf8__knows_the_bytes_of_known_characters(void **state)
{
    (void)state;
    uint32_t p;
    char out[4];
    assert_int_equal(utf8_decode("\xc3\xa9", 2, &p), 2);
    assert_int_equal(p, 0xe9);
    assert_int_equal(utf8_decode("\xe2\x82\xac", 3, &p), 3);
    assert_int_equal(p, 0x20ac);
    assert_int_equal(utf8_decode("\xf0\x9f\x98\x80", 4, &p), 4);
    assert_int_equal(p, 0x1f600);
    assert_int_equal(utf8_encode(0x1f600, out), 4);
    assert_memory_equal(out, "\xf0\x9f\x98\x80", 4);
    assert_int_equal(utf8_decode("", 0, &p), 0);
}

static void test_utf8__refuses_what_is_not_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",     "\xc1\xbf",         "\xe0\x80\x80",     "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "\xe2\x28\xa1", "\xc3\x28",         "\xf0\x9f\x28\x80", "\xe2\x82",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t p;
        assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &p), -1);
        assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
    }
    assert_true(utf8_is_valid("a\xc3\xa9\0b", 5));
    assert_true(utf8_is_valid("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8__every_code_point_survives),
        cmocka_unit_test(test_utf8__knows_the_bytes_of_known_characters),
        cmocka_unit_test(test_utf8__refuses_what_is_not_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
