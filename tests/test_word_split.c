/* test_word_split.c - words as Oniguruma finds them inside the `tokenizers` library
 * (tests/fixtures/tokenizer.py), and expressions that are refused. */
#include "testing.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/word_split.h"

#define DATA "tests/data/text/"

static json_t *load(const char *path)
{
    json_error_t at;
    json_t *v = json_load_file(path, JSON_ALLOW_NUL, &at);
    if (!v)
        print_error("%s: %s\n", path, at.text);
    assert_non_null(v);
    return v;
}

static struct word_split *open_split(const char *pattern)
{
    struct err e = {0};
    struct word_split *s = word_split_new(pattern, &e);
    assert_ok(e);
    assert_non_null(s);
    return s;
}

/* FNV-1a over the ends of the words, four bytes each; its upper half. */
static uint32_t hash_words(const struct word_split *s, struct word_scratch *scratch,
                           const char *text, size_t size)
{
    struct word_walk w = {.split = s, .scratch = scratch, .text = text, .size = size};
    struct err e = {0};
    uint64_t h = 0xcbf29ce484222325u;
    size_t last = 0;
    int more;

    while ((more = word_next(&w, &e)) > 0) {
        assert_int_equal(w.start, last);
        assert_true(w.end > w.start && w.end <= size);
        last = w.end;
        for (int k = 0; k < 4; k++)
            h = (h ^ (unsigned char)(w.end >> 8 * k)) * 0x100000001b3u;
    }
    assert_ok(e);
    assert_int_equal(more, 0);
    assert_int_equal(last, size);
    return (uint32_t)(h >> 32);
}

static uint32_t hash_at(const json_t *hashes, size_t i)
{
    char digits[9] = "";
    assert_true(json_string_length(hashes) >= 8 * (i + 1));
    memcpy(digits, json_string_value(hashes) + 8 * i, 8);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* ---------------------------------------------------- against the reference -- */

static void check_strings(const struct word_split *s, const char *pattern, const json_t *hashes,
                          const json_t *all)
{
    struct word_scratch *scratch = word_scratch_new();
    const json_t *list = json_object_get(all, "strings"), *runs = json_object_get(all, "runs");
    size_t plain = json_array_size(list);

    for (size_t i = 0; i < plain; i++) {
        const json_t *v = json_array_get(list, i);
        const char *text = json_string_value(v);
        if (hash_words(s, scratch, text, json_string_length(v)) != hash_at(hashes, i))
            fail_msg("%s: string %zu: '%s'", pattern, i, text);
    }
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        struct buf text;
        buf_init(&text, 1 << 20);
        for (json_int_t k = json_integer_value(json_array_get(run, 1)); k > 0; k--)
            buf_add_str(&text, json_string_value(json_array_get(run, 0)));
        if (hash_words(s, scratch, text.data, text.size) != hash_at(hashes, plain + i))
            fail_msg("%s: run %zu", pattern, i);
        buf_release(&text);
    }
    word_scratch_free(scratch);
}

static void test_word_split__finds_the_words_of_the_reference(void **state)
{
    (void)state;
    json_t *strings = load(DATA "byte_strings.json"), *words = load(DATA "words.json");
    json_t *patterns = json_object_get(words, "patterns");

    assert_string_equal(json_string_value(json_array_get(json_array_get(patterns, 0), 0)),
                        WORD_SPLIT_GPT2);
    assert_true(json_array_size(patterns) >= 9);
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        json_t *pair = json_array_get(patterns, i);
        const char *pattern = json_string_value(json_array_get(pair, 0));
        struct word_split *s = open_split(pattern);
        check_strings(s, pattern, json_array_get(pair, 1), strings);
        word_split_free(s);
    }
    json_decref(strings);
    json_decref(words);
}

/* Around each character: is it a letter, a digit, white space?  The fixture lists the characters in
 * blocks of a thousand. */
static void check_characters(const struct word_split *s, const char *pattern, const json_t *hashes,
                             const json_t *ranges)
{
    struct word_scratch *scratch = word_scratch_new();
    size_t block = 0, count = 0;
    struct buf text;

    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < json_array_size(ranges); i++) {
        const json_t *range = json_array_get(ranges, i);
        json_int_t end = json_integer_value(json_array_get(range, 1));
        for (json_int_t c = json_integer_value(json_array_get(range, 0)); c <= end; c++) {
            static const char between[] = "a1! ";
            for (int k = 0; k < 4; k++) {
                char bytes[4];
                buf_add_char(&text, between[k]);
                buf_add(&text, bytes, (size_t)utf8_encode((uint32_t)c, bytes));
            }
            bool is_last = c == end && i + 1 == json_array_size(ranges);
            if (++count % 1000 != 0 && !is_last)
                continue;
            if (hash_words(s, scratch, text.data, text.size) != hash_at(hashes, block++))
                fail_msg("%s: in the thousand characters that end with U+%04X", pattern,
                         (unsigned)c);
            buf_clear(&text);
        }
    }
    assert_true(count > 280000);
    buf_release(&text);
    word_scratch_free(scratch);
}

static void test_word_split__knows_the_characters_of_the_reference(void **state)
{
    (void)state;
    json_t *words = load(DATA "words.json"), *around = json_object_get(words, "around");

    assert_int_equal(json_array_size(around), 4);
    for (size_t i = 0; i < json_array_size(around); i++) {
        json_t *pair = json_array_get(around, i);
        const char *pattern = json_string_value(json_array_get(pair, 0));
        struct word_split *s = open_split(pattern);
        check_characters(s, pattern, json_array_get(pair, 1), json_object_get(words, "ranges"));
        word_split_free(s);
    }
    json_decref(words);
}

/* ------------------------------------------------------------------ limits -- */

/* A long word, a long run of spaces and an expression that tries every split of a text must not
 * take the stack or the afternoon. */
static void test_word_split__is_bounded(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    char *text = xmalloc(SIZE);
    struct word_split *gpt2 = open_split(WORD_SPLIT_GPT2), *bad = open_split("(?:a|aa)+[bc]");
    struct word_scratch *scratch = word_scratch_new();
    struct err e = {0};

    memset(text, 'a', SIZE);
    struct word_walk w = {.split = gpt2, .scratch = scratch, .text = text, .size = SIZE};
    assert_int_equal(word_next(&w, &e), 1);
    assert_int_equal(w.end, SIZE);
    assert_int_equal(word_next(&w, &e), 0);
    memset(text, ' ', SIZE - 1);
    w = (struct word_walk){.split = gpt2, .scratch = scratch, .text = text, .size = SIZE};
    assert_int_equal(word_next(&w, &e), 1);
    assert_int_equal(w.end, SIZE - 2);
    assert_int_equal(word_next(&w, &e), 1);
    assert_int_equal(w.end, SIZE);

    memset(text, 'a', SIZE);
    w = (struct word_walk){.split = bad, .scratch = scratch, .text = text, .size = SIZE};
    assert_int_equal(word_next(&w, &e), -1);
    assert_err(e, ERR_DATA, "cannot split this text into words");
    word_scratch_free(scratch);
    word_split_free(gpt2);
    word_split_free(bad);
    free(text);
}

static void test_word_split__refuses_what_oniguruma_reads_otherwise(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        enum err_kind kind;
        const char *text;
    } cases[] = {
        {"^a", ERR_USAGE, "'^' in a regular expression is not known"},
        {"a$", ERR_USAGE, "'$'"},
        {"\\w+", ERR_USAGE, "'\\w'"},
        {"\\h", ERR_USAGE, "'\\h'"},
        {"a\\b", ERR_USAGE, "'\\b'"},
        {"(a)\\1", ERR_USAGE, "'\\1'"},
        {"[a[b]]", ERR_USAGE, "'['"},
        {"[a&&b]", ERR_USAGE, "'&&'"},
        {"[\\S]", ERR_USAGE, "'\\S'"},
        {"[\\P{L}]", ERR_USAGE, "'\\P{L}'"},
        {"[]a]", ERR_USAGE, "'[]'"},
        {"\\pL", ERR_USAGE, "'\\p'"},
        {"\\p{^L}", ERR_USAGE, "'\\p{^L}'"},
        {"(?<name>a)", ERR_USAGE, "'(?<'"},
        {"(?m:a)", ERR_USAGE, "'(?m'"},
        {"(*UTF)a", ERR_USAGE, "'(*U'"},
        {"a{1,2}+", ERR_USAGE, "'}+'"},
        {"a\\", ERR_USAGE, "'\\"},
        {"(a", ERR_DATA, "a regular expression is damaged"},
        {"[a", ERR_DATA, "a regular expression is damaged"},
        {"a**?", ERR_DATA, "a regular expression is damaged"},
        {"\\p{Nonsense}", ERR_DATA, "a regular expression is damaged"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        assert_null(word_split_new(cases[i].pattern, &e));
        assert_err(e, cases[i].kind, cases[i].text);
    }
    char *big = xcalloc(WORD_PATTERN_MAX + 2, 1);
    struct err e = {0};
    memset(big, 'a', WORD_PATTERN_MAX + 1);
    assert_null(word_split_new(big, &e));
    assert_err(e, ERR_DATA, "above the limit of");
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_word_split__finds_the_words_of_the_reference),
        cmocka_unit_test(test_word_split__knows_the_characters_of_the_reference),
        cmocka_unit_test(test_word_split__is_bounded),
        cmocka_unit_test(test_word_split__refuses_what_oniguruma_reads_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
