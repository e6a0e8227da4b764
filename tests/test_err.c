/* test_err.c - the first error wins, context goes in front, texts stay one line. */
#include "base/err.h"
#include "testing.h"

static void test_err__first_wins_and_context_goes_in_front(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_DATA, "found %d, expected %d", 97, 96), -1);
    assert_int_equal(err_set(&e, ERR_BUG, "later"), -1);
    assert_int_equal(err_in(&e, "%s:%d", "train.jsonl", 3), -1);
    assert_string_equal(e.text, "train.jsonl:3: found 97, expected 96");
    assert_int_equal(e.kind, ERR_DATA);
    assert_int_equal(err_hint(&e, "check line %d", 3), -1);
    err_hint(&e, "another hint");
    assert_string_equal(e.hint, "check line 3");
}

static void test_err__control_bytes_do_not_reach_the_terminal(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, ERR_DATA, "a\nb\x1b[31mc\x7f");
    err_hint(&e, "x\ry");
    assert_string_equal(e.text, "a?b?[31mc?");
    assert_string_equal(e.hint, "x?y");
}

static void test_err__long_texts_are_cut(void **state)
{
    (void)state;
    struct err e = {0};
    char name[2000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    err_set(&e, ERR_DATA, "%s", name);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    err_in(&e, "front");
    assert_memory_equal(e.text, "front: nnn", 10);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    err_in(&e, "%s", name);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void test_err__a_line_has_text_and_hint(void **state)
{
    (void)state;
    struct err e = {0};
    char line[ERR_LINE_SIZE];
    (void)err_set(&e, ERR_DATA, "a clip of 40 s");
    err_line(&e, line);
    assert_string_equal(line, "a clip of 40 s");
    (void)err_hint(&e, "cut it");
    err_line(&e, line);
    assert_string_equal(line, "a clip of 40 s (cut it)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__first_wins_and_context_goes_in_front),
        cmocka_unit_test(test_err__control_bytes_do_not_reach_the_terminal),
        cmocka_unit_test(test_err__long_texts_are_cut),
        cmocka_unit_test(test_err__a_line_has_text_and_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
