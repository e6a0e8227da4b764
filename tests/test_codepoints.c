/* test_codepoints.c - lower case, normal forms and classes, as Python's str and re have them. */
#include "text/codepoints.h"

#include "base/buf.h"
#include "testing.h"

static void expect(const struct codepoints *t, const char *text)
{
    struct buf b;
    buf_init(&b, 1000);
    codepoints_write(t->at, t->count, &b);
    assert_string_equal(b.data, text);
    buf_release(&b);
}

static void fill(struct codepoints *t, const char *text)
{
    *t = (struct codepoints){0};
    codepoints_add_utf8(t, text, strlen(text));
}

static void test_codepoints__lower(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ABC", "abc"},
        {"\xc4\xb0", "i\xcc\x87"},                       /* I with dot: i and a dot */
        {"\xce\x91\xce\xa3", "\xce\xb1\xcf\x82"},        /* alpha, sigma at the end */
        {"\xce\x91\xce\xa3\xce\x91", "\xce\xb1\xcf\x83\xce\xb1"},
        {"\xce\xa3", "\xcf\x83"},                        /* alone: no word to end */
        {"A\xce\xa3'", "a\xcf\x82'"},
        {"A\xce\xa3'A", "a\xcf\x83'a"},
        {"A.\xce\xa3-A", "a.\xcf\x82-a"},
        {"\xe2\x85\xa0\xce\xa3", "\xe2\x85\xb0\xcf\x82"},   /* a Roman numeral is cased */
        {"1\xce\xa3", "1\xcf\x83"},
        {"\xe1\xba\x9e", "\xc3\x9f"},                    /* capital sharp s */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct codepoints t, out = {0};
        fill(&t, cases[i][0]);
        codepoints_lower(&t, &out);
        expect(&out, cases[i][1]);
        codepoints_release(&t);
        codepoints_release(&out);
    }
}

static void test_codepoints__normal_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *composed, *decomposed;
    } cases[] = {
        {"", "", ""},
        {"e\xcc\x81", "\xc3\xa9", "e\xcc\x81"},
        {"\xef\xac\x81 \xc2\xbd",
         "fi 1\xe2\x81\x84"
         "2",
         "fi 1\xe2\x81\x84"
         "2"},
        {"\xef\xbc\xa1", "A", "A"},
        {"\xe1\xb9\xa9", "\xe1\xb9\xa9", "s\xcc\xa3\xcc\x87"},
        {"s\xcc\x87\xcc\xa3", "\xe1\xb9\xa9", "s\xcc\xa3\xcc\x87"},   /* marks in their order */
        {"\xea\xb0\x80", "\xea\xb0\x80", "\xe1\x84\x80\xe1\x85\xa1"}, /* a Hangul syllable */
    };
    struct err e = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct codepoints t, c = {0}, d = {0};
        fill(&t, cases[i].text);
        assert_int_equal(codepoints_normal_form(&t, true, &c, &e), 0);
        assert_int_equal(codepoints_normal_form(&t, false, &d, &e), 0);
        expect(&c, cases[i].composed);
        expect(&d, cases[i].decomposed);
        codepoints_release(&t);
        codepoints_release(&c);
        codepoints_release(&d);
    }
}

static void test_codepoints__classes(void **state)
{
    (void)state;
    assert_true(codepoint_is_word('a') && codepoint_is_word('_') && codepoint_is_word(0xbd));
    assert_true(codepoint_is_word(0x65e5) && codepoint_is_word(0x2163));
    assert_false(codepoint_is_word(0x301) || codepoint_is_word('\'') || codepoint_is_word(' '));
    assert_true(codepoint_is_digit('7') && codepoint_is_digit(0x663));
    assert_false(codepoint_is_digit(0xb2) || codepoint_is_digit('x'));
    assert_int_equal(codepoint_digit('0'), 0);
    assert_int_equal(codepoint_digit('9'), 9);
    assert_int_equal(codepoint_digit(0x663), 3);         /* Arabic-Indic */
    assert_int_equal(codepoint_digit(0x1d7e9), 7);       /* the third run of digits on end */
    assert_true(codepoint_is_nonspacing(0x301) && !codepoint_is_nonspacing(0x903));
    assert_true(codepoint_is_symbol(0x903) && codepoint_is_symbol('$') && codepoint_is_symbol('_'));
    assert_false(codepoint_is_symbol('a') || codepoint_is_symbol(' ') || codepoint_is_symbol(0xad));
}

static void test_codepoints__places(void **state)
{
    (void)state;
    struct codepoints t;
    fill(&t, "it's\xff");
    expect(&t, "it's\xef\xbf\xbd");
    assert_true(codepoints_boundary(t.at, t.count, 0));
    assert_false(codepoints_boundary(t.at, t.count, 1));
    assert_true(codepoints_boundary(t.at, t.count, 2));
    assert_true(codepoints_boundary(t.at, t.count, 3));
    assert_false(codepoints_boundary(t.at, t.count, 5));
    assert_true(codepoints_begin(t.at, t.count, "it") && codepoints_begin(t.at, 0, ""));
    assert_false(codepoints_begin(t.at, 1, "it") || codepoints_are(t.at, t.count, "it"));
    assert_true(codepoints_are(t.at, 4, "it's"));
    codepoints_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codepoints__lower),
        cmocka_unit_test(test_codepoints__normal_forms),
        cmocka_unit_test(test_codepoints__classes),
        cmocka_unit_test(test_codepoints__places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
