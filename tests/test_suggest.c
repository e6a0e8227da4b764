/* test_suggest.c - the nearest word. */
#include "base/suggest.h"

#include "testing.h"

static void test_suggest__counts_edits(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("", ""), 0);
    assert_int_equal(suggest_distance("", "abc"), 3);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    assert_int_equal(suggest_distance("learing_rate", "learning_rate"), 1);
    assert_int_equal(suggest_distance("tarin", "train"), 1);     /* neighbours swapped */
    assert_int_equal(suggest_distance("abcd", "dcba"), 3);
}

static void test_suggest__finds_the_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"train", "eval", "score", "transcribe", "learning_rate"};
    assert_string_equal(suggest_nearest("trian", words, 5), "train");
    assert_string_equal(suggest_nearest("scroe", words, 5), "score");
    assert_string_equal(suggest_nearest("learning", words, 5), "learning_rate");
    assert_string_equal(suggest_nearest("trans", words, 5), "transcribe");
    assert_null(suggest_nearest("zebra", words, 5));
    assert_null(suggest_nearest("x", words, 5));
    assert_null(suggest_nearest("", words, 5));
}

static void test_suggest__leaves_long_words_alone(void **state)
{
    (void)state;
    char word[200];
    memset(word, 'a', sizeof word);
    word[sizeof word - 1] = 0;
    static const char *const words[] = {"aaa"};
    assert_null(suggest_nearest(word, words, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggest__counts_edits),
        cmocka_unit_test(test_suggest__finds_the_nearest),
        cmocka_unit_test(test_suggest__leaves_long_words_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
