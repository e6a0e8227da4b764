/* test_language.c - codes and names; the whole table is compared with transformers' in
 * test_whisper.c. */
#include "testing.h"

#include "text/language.h"

static void expect(const char *word, const char *code)
{
    struct err e = {0};
    int index = language_find(word, LANGUAGES_COUNT, &e);
    assert_ok(e);
    assert_string_equal(language_code(index), code);
}

static void test_language__finds_codes_and_names(void **state)
{
    (void)state;
    expect("de", "de");
    expect("DE", "de");
    expect("German", "de");
    expect("haw", "haw");
    expect("yue", "yue");
    expect("Cantonese", "yue");
    expect("haitian creole", "ht");
    expect("Haitian", "ht");
    expect("castilian", "es");
    expect("jv", "jw");
    expect("nb", "no");
}

/* A region or a script says nothing that the model knows. */
static void test_language__takes_regions(void **state)
{
    (void)state;
    expect("pt-BR", "pt");
    expect("en_US", "en");
    expect("zh-Hant-TW", "zh");
    expect("fil-PH", "tl");
    struct err e = {0};
    assert_int_equal(language_find("german-x", LANGUAGES_COUNT, &e), -1);
    e = (struct err){0};
    assert_int_equal(language_find("-de", LANGUAGES_COUNT, &e), -1);
}

static void test_language__names_the_nearest(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"germn", "did you mean 'german'?"},
        {"castilan", "did you mean 'castilian'?"},
        {"dee", "did you mean 'de'?"},
        {"klingon", "give a code"},
        {"", "give a code"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        assert_int_equal(language_find(cases[i][0], LANGUAGES_COUNT, &e), -1);
        assert_err(e, ERR_DATA, "the model has no language '");
        assert_non_null(strstr(e.text, cases[i][0]));
        if (!strstr(e.hint, cases[i][1]))
            fail_msg("'%s': %s", cases[i][0], e.hint);
    }
    char word[300];
    memset(word, 'e', sizeof word - 1);
    word[sizeof word - 1] = 0;
    struct err e = {0};
    assert_int_equal(language_find(word, LANGUAGES_COUNT, &e), -1);
    assert_err(e, ERR_DATA, "the model has no language 'eeee");
}

/* A checkpoint of 99 languages has no Cantonese, under none of its names. */
static void test_language__keeps_to_the_checkpoint(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(language_find("yue", 99, &e), -1);
    assert_err(e, ERR_DATA, "'yue'");
    e = (struct err){0};
    assert_int_equal(language_find("cantonese", 99, &e), -1);
    assert_null(strstr(e.hint, "cantonese"));
    e = (struct err){0};
    assert_int_equal(language_find("de", 2, &e), -1);
    assert_err(e, ERR_DATA, "'de'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language__finds_codes_and_names),
        cmocka_unit_test(test_language__takes_regions),
        cmocka_unit_test(test_language__names_the_nearest),
        cmocka_unit_test(test_language__keeps_to_the_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
