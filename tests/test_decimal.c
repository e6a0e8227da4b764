/* test_decimal.c - numbers of any size, and texts of digits. */
#include "text/decimal.h"

#include "base/buf.h"
#include "testing.h"

static void expect(const struct decimal *d, const char *digits)
{
    struct buf b;
    buf_init(&b, 1000);
    codepoints_write(d->digits.at, d->digits.count, &b);
    assert_string_equal(b.data, digits);
    buf_release(&b);
}

static void test_decimal__numbers(void **state)
{
    (void)state;
    struct decimal d = {0};

    decimal_set(&d, 0);
    assert_true(decimal_is_zero(&d) && decimal_has_zeros(&d, 2));
    decimal_fill(&d, 2, 40);
    expect(&d, "40");
    assert_true(decimal_has_zeros(&d, 1) && !decimal_has_zeros(&d, 2));
    decimal_fill(&d, 1, 7);
    expect(&d, "47");
    decimal_multiply_rest(&d, 3);
    expect(&d, "47000");
    decimal_fill(&d, 2, 12);
    expect(&d, "47012");
    decimal_multiply_rest(&d, 2);                        /* 47000 + 12 * 100 */
    expect(&d, "48200");
    decimal_set(&d, 5);
    decimal_multiply_rest(&d, 33);
    expect(&d, "5000000000000000000000000000000000");
    decimal_fill(&d, 1, 9);
    decimal_multiply_rest(&d, 33);
    expect(&d, "14000000000000000000000000000000000");
    decimal_release(&d);
}

static void test_decimal__texts(void **state)
{
    (void)state;
    struct decimal d = {0};

    decimal_append_ascii(&d, "00");
    decimal_append_int(&d, 17);
    decimal_append(&d, (uint32_t[]){'.', 0x663}, 2);
    assert_true(d.is_set && d.is_text && !decimal_is_zero(&d));
    expect(&d, "0017.\xd9\xa3");
    decimal_clear(&d);
    assert_false(d.is_set);
    expect(&d, "");
    decimal_release(&d);
}

static void test_decimal__scaled_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int zeros;
        const char *product;                             /* NULL: none */
    } cases[] = {
        {"2.5", 6, "2500000"},
        {"2.5", 0, NULL},
        {"2.50", 1, "25"},
        {"2.00", 0, "2"},
        {"007", 2, "700"},
        {"5.", 3, "5000"},
        {".5", 1, "5"},
        {".", 3, NULL},
        {"", 3, NULL},
        {"1.2.3", 9, NULL},
        {"0.0", 6, "0"},
        {"1$", 2, NULL},
        {".0", 0, "0"},
        {"\xd9\xa3\xd9\xa1", 2, "3100"},
        {"123456789012345678901234567890.5", 1, "1234567890123456789012345678905"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct codepoints t = {0};
        struct decimal d = {0};
        codepoints_add_utf8(&t, cases[i].text, strlen(cases[i].text));
        decimal_append_ascii(&d, "kept");
        bool is_whole = decimal_scale_text(t.at, t.count, cases[i].zeros, &d);
        assert_int_equal(is_whole, cases[i].product != NULL);
        expect(&d, is_whole ? cases[i].product : "kept");
        codepoints_release(&t);
        decimal_release(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimal__numbers),
        cmocka_unit_test(test_decimal__texts),
        cmocka_unit_test(test_decimal__scaled_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
