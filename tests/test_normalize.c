/* test_normalize.c - transcripts before they are compared. */
#include "testing.h"

#include "base/buf.h"
#include "base/file.h"
#include "text/normalize.h"

static void expect_with(const struct normalizer_words *words, enum normalizer n, const char *text,
                        const char *expected)
{
    struct err e = {0};
    struct buf b;

    buf_init(&b, 4000);
    assert_int_equal(normalize_text(n, words, text, &b, &e), 0);
    if (strcmp(b.data, expected) != 0)
        print_error("%s of '%s'\n", normalizer_name(n), text);
    assert_string_equal(b.data, expected);
    buf_release(&b);
}

static void expect(enum normalizer n, const char *text, const char *expected)
{
    expect_with(NULL, n, text, expected);
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
        assert_int_equal(normalize_text(NORMALIZE_BASIC, NULL, text, &once, &e), 0);
        assert_int_equal(normalize_text(NORMALIZE_BASIC, NULL, once.data, &twice, &e), 0);
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
    assert_string_equal(normalizer_name(NORMALIZE_WHISPER_BASIC), "whisper_basic");
    assert_string_equal(normalizer_name(NORMALIZE_WHISPER_ENGLISH), "whisper_english");
}

static void test_normalize__limit(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;

    buf_init(&b, 5);
    assert_int_equal(normalize_text(NORMALIZE_BASIC, NULL, "longer than five", &b, &e), -1);
    assert_true(e.kind != ERR_NONE);
    buf_release(&b);
}

/* ---------------------------------------------------------------- Whisper's -- */

static const char *text_at(const json_t *list, size_t i)
{
    const char *s = json_string_value(json_array_get(list, i));
    assert_non_null(s);
    return s;
}

/* What transformers makes of more than a thousand texts (tests/fixtures/normalize.py). */
static void test_normalize__whisper_equals_transformers(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *all = json_read_file("tests/data/text/normalize.json", 1 << 20, &e);
    assert_ok(e);
    struct normalizer_words words = {.table = json_object_get(all, "words")};
    const json_t *cases = json_object_get(all, "cases"), *unspelt = json_object_get(all, "unspelt");

    assert_true(json_array_size(cases) > 1000);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        expect_with(&words, NORMALIZE_WHISPER_BASIC, text_at(c, 0), text_at(c, 1));
        expect_with(&words, NORMALIZE_WHISPER_ENGLISH, text_at(c, 0), text_at(c, 2));
    }
    assert_true(json_array_size(unspelt) > 3);
    for (size_t i = 0; i < json_array_size(unspelt); i++) {
        const json_t *c = json_array_get(unspelt, i);
        expect(NORMALIZE_WHISPER_ENGLISH, text_at(c, 0), text_at(c, 1));
    }
    json_decref(all);
}

/* Some of them to be read here, by people. */
static void test_normalize__whisper_english(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {"Mr. Smith won't, um, pay $20 million!", "mister smith will not pay $20000000"},
        {"two and a half percent", "2.5%"},
        {"the nineteen eighties, nineteen eighty four", "the 1980s 1984"},
        {"double oh seven [music] (laughs)", "007"},
        {"twenty one dollars and five cents", "$21.05"},
        {"one of the ones", "one of the ones"},
        {"a hundred and first, a hundred and one", "a 101st a 101"},
        {"three point one four", "3.14"},
        {"minus five, plus six", "-5 +6"},
        {"x\xff y", "x y"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(NORMALIZE_WHISPER_ENGLISH, cases[i].text, cases[i].expected);
}

/* Numbers of any length are counted exactly; what a machine's integers hold is no limit. */
static void test_normalize__whisper_counts_without_limit(void **state)
{
    (void)state;
    /* 99...9,000 and 999 times 1000: a carry through all digits. */
    char text[300], expected[300];
    memset(text, '9', 240);
    snprintf(text + 240, sizeof text - 240, " thousand");
    memset(expected, '0', 240);
    expected[0] = '1';
    snprintf(expected + 235, sizeof expected - 235, "998000");
    expect(NORMALIZE_WHISPER_ENGLISH, text, expected);
    expect(NORMALIZE_WHISPER_ENGLISH, "two decillion and one",
           "2000000000000000000000000000000001");
}

static char *write_words(const char *folder, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, "normalizer.json");
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    return path;
}

static void test_normalize__words_of_a_checkpoint(void **state)
{
    (void)state;
    struct err e = {0};
    struct normalizer_words words;
    char *folder = testing_folder();

    assert_int_equal(normalizer_words_open(&words, folder, &e), 0);
    assert_null(words.table);
    expect_with(&words, NORMALIZE_WHISPER_ENGLISH, "My Colour", "my colour");
    char *path = write_words(folder, "{\"colour\": \"color\"}");
    assert_int_equal(normalizer_words_open(&words, folder, &e), 0);
    expect_with(&words, NORMALIZE_WHISPER_ENGLISH, "My Colour", "my color");
    expect_with(&words, NORMALIZE_WHISPER_BASIC, "My Colour", "my colour");
    normalizer_words_release(&words);

    free(path);
    path = write_words(folder, "{\"colour\": 1}");
    assert_int_equal(normalizer_words_open(&words, folder, &e), -1);
    assert_err(e, ERR_DATA, "normalizer.json: 'colour': found an integer, expected a string");
    assert_null(words.table);
    free(path);
    path = write_words(folder, "[]");
    e = (struct err){0};
    assert_int_equal(normalizer_words_open(&words, folder, &e), -1);
    assert_err(e, ERR_DATA, "expected an object");
    unlink(path);
    rmdir(folder);
    free(path);
    free(folder);
}

static void test_normalize__whisper_limit(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;
    char *text = malloc(NORMALIZE_BYTES_MAX + 2);

    assert_non_null(text);
    memset(text, 'a', NORMALIZE_BYTES_MAX + 1);
    text[NORMALIZE_BYTES_MAX + 1] = 0;
    buf_init(&b, 2 * NORMALIZE_BYTES_MAX);
    assert_int_equal(normalize_text(NORMALIZE_WHISPER_BASIC, NULL, text, &b, &e), -1);
    assert_err(e, ERR_DATA, "1048577 bytes");
    text[NORMALIZE_BYTES_MAX] = 0;
    e = (struct err){0};
    assert_int_equal(normalize_text(NORMALIZE_WHISPER_ENGLISH, NULL, text, &b, &e), 0);
    assert_int_equal(b.size, NORMALIZE_BYTES_MAX);
    buf_release(&b);
    buf_init(&b, 5);
    assert_int_equal(normalize_text(NORMALIZE_WHISPER_BASIC, NULL, "longer than", &b, &e), -1);
    buf_release(&b);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalize__basic),
        cmocka_unit_test(test_normalize__is_stable),
        cmocka_unit_test(test_normalize__none),
        cmocka_unit_test(test_normalize__names),
        cmocka_unit_test(test_normalize__limit),
        cmocka_unit_test(test_normalize__whisper_equals_transformers),
        cmocka_unit_test(test_normalize__whisper_english),
        cmocka_unit_test(test_normalize__whisper_counts_without_limit),
        cmocka_unit_test(test_normalize__words_of_a_checkpoint),
        cmocka_unit_test(test_normalize__whisper_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
