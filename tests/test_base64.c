/* test_base64.c - the examples of RFC 4648, section 10, and what is not base64. */
#include "testing.h"

#include "data/base64.h"

static void check(const char *text, const char *expected)
{
    size_t size;
    char *bytes = base64_decode(text, strlen(text), &size);
    assert_non_null(bytes);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(bytes, expected, size);
    free(bytes);
}

static void test_base64__decodes(void **state)
{
    (void)state;
    check("", "");
    check("Zg==", "f");
    check("Zm8=", "fo");
    check("Zm9v", "foo");
    check("Zm9vYg==", "foob");
    check("Zm9vYmE=", "fooba");
    check("Zm9vYmFy", "foobar");
    check("Zm9v\r\nYmFy\n", "foobar");
    check("Zm9vYg", "foob");
    check("+/+/", "\xfb\xff\xbf");
}

static void test_base64__says_where_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at;
    } bad[] = {{"Zm9v!mFy", 4}, {"Zg==Zg==", 4}, {"Zg===", 4}, {"Z", 1}, {"Zm9v-_", 4}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t at = 99;
        assert_null(base64_decode(bad[i].text, strlen(bad[i].text), &at));
        assert_int_equal(at, bad[i].at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64__decodes),
        cmocka_unit_test(test_base64__says_where_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
