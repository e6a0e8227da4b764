/* test_normalize.c - transcripts before they are compared. */
#include "testing.h"

#include "base/buf.h"
#include "text/normalize.h"

static void expect(enum normalizer n, const char *text, const char *expected)
{
    struct err e = {0};
    struct buf b;

    buf_init(&b, 1000);
    assert_int_equal(normalize_text(n, text, &b, &e), 0);
    assert_string_equal(b.data, expected);
    buf_release(&b);
}

static void test_normalize__basic(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {"  Hello,   World!  ", "hello world"},
        {"Don't \xe2\x80\x9cstop\xe2\x80\x9d, it\xe2\x80\x99s 3.5 or 1,000.", /* curly quotes */
         "don't stop it's 3.5 or 1,000"},
        {"'quoted' dogs' 5. a.b x-y", "quoted dogs 5 a b x y"},
        {"\xc3\x89T\xc3\x89 \xce\xa3\xce\x91\xce\xa3 \xd0\x9f\xd0\xa0\xd0\x98", /* Ete, Sas, Pri */
         "\xc3\xa9t\xc3\xa9 \xcf\x83\xce\xb1\xcf\x83 \xd0\xbf\xd1\x80\xd0\xb8"},
        {"\xe3\x80\x8c\xe6\xbc\xa2\xe3\x80\x8d\xe3\x80\x82", "\xe6\xbc\xa2"},
        {"soft\xc2\xadhyphen zero\xe2\x80\x8bwidth", "softhyphen zerowidth"},
        {"a\tb\r\nc\xc2\xa0"
         "d\xe3\x80\x80"
         "e",
         "a b c d e"},
        {"50% $5 a+b <tag>", "50 5 a b tag"},
        {"e\xcc\x81 caf\xc3\xa9", "e\xcc\x81 caf\xc3\xa9"},
        {"x\xffy", "x y"},                              /* U+FFFD is a symbol */
        {"\x01"
         "a\x7f"
         "b",
         "a b"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(NORMALIZE_BASIC, cases[i].text, cases[i].expected);
}

/* What is normalised stays as it is when normalised again. */
static void test_normalize__is_stable(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf once, twice;
    uint32_t seed = 1;

    buf_init(&once, 1000);
    buf_init(&twice, 1000);
    for (int i = 0; i < 5000; i++) {
        char text[40];
        for (size_t k = 0; k + 1 < sizeof text; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[k] = (char)(seed >> 24 ? seed >> 24 : ' ');
        }
        text[sizeof text - 1] = 0;
        buf_clear(&once);
        buf_clear(&twice);
        assert_int_equal(normalize_text(NORMALIZE_BASIC, text, &once, &e), 0);
        assert_int_equal(normalize_text(NORMALIZE_BASIC, once.data, &twice, &e), 0);
        assert_string_equal(once.data, twice.data);
    }
    buf_release(&once);
    buf_release(&twice);
}

static void test_normalize__none(void **state)
{
    (void)state;
    expect(NORMALIZE_NONE, " As It  is. ", " As It  is. ");
    expect(NORMALIZE_NONE, "a\xe2", "a\xef\xbf\xbd");
}

static void test_normalize__names(void **state)
{
    (void)state;
    assert_string_equal(normalizer_name(NORMALIZE_BASIC), "basic");
    assert_string_equal(normalizer_name(NORMALIZE_NONE), "none");
}

static void test_normalize__limit(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;

    buf_init(&b, 5);
    assert_int_equal(normalize_text(NORMALIZE_BASIC, "longer than five", &b, &e), -1);
    assert_true(e.kind != ERR_NONE);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalize__basic), cmocka_unit_test(test_normalize__is_stable),
        cmocka_unit_test(test_normalize__none),  cmocka_unit_test(test_normalize__names),
        cmocka_unit_test(test_normalize__limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
