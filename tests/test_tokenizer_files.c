/* test_tokenizer_files.c - the older files give the ids of the tokenizer.json that they were made
 * with (tests/fixtures/tokenizer.py, which compares them with transformers); what bad ones say. */
#include "testing.h"

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/tokenizer.h"

#define DATA "tests/data/text/"

static struct tokenizer *open_at(const char *path)
{
    struct err e = {0};
    struct tokenizer *t = tokenizer_open(path, &e);
    assert_ok(e);
    return t;
}

static void test_tokenizer_files__equal_tokenizer_json(void **state)
{
    (void)state;
    json_error_t at;
    json_t *all = json_load_file(DATA "byte_strings.json", JSON_ALLOW_NUL, &at);
    json_t *list = json_object_get(all, "strings");
    struct tokenizer *t = open_at(DATA "bytes.json"), *old = open_at(DATA "bytes_old");
    struct ids ids = IDS_INIT, old_ids = IDS_INIT;
    struct err e = {0};

    assert_true(json_array_size(list) > 2000);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const char *text = json_string_value(v);
        ids_clear(&ids);
        ids_clear(&old_ids);
        assert_int_equal(tokenizer_encode(t, text, json_string_length(v), &ids, &e), 0);
        assert_int_equal(tokenizer_encode(old, text, json_string_length(v), &old_ids, &e), 0);
        assert_int_equal(ids.count, old_ids.count);
        if (ids.count > 0)
            assert_memory_equal(ids.at, old_ids.at, (size_t)ids.count * sizeof *ids.at);
    }
    assert_int_equal(tokenizer_vocab_size(t), tokenizer_vocab_size(old));
    for (int32_t id = 0; id < tokenizer_vocab_size(t); id++) {
        assert_string_equal(tokenizer_piece(t, id), tokenizer_piece(old, id));
        assert_int_equal(tokenizer_is_special(t, id), tokenizer_is_special(old, id));
    }
    ids_release(&ids);
    ids_release(&old_ids);
    tokenizer_free(t);
    tokenizer_free(old);
    json_decref(all);
}

/* ------------------------------------------------------------ by hand -- */

static void put(const char *folder, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static void expect_ids(const struct tokenizer *t, const char *text, const int32_t *expected,
                       int count)
{
    struct ids ids = IDS_INIT;
    struct err e = {0};

    assert_int_equal(tokenizer_encode(t, text, strlen(text), &ids, &e), 0);
    assert_int_equal(ids.count, count);
    assert_memory_equal(ids.at, expected, (size_t)count * sizeof *expected);
    ids_release(&ids);
}

/* Lines of merges end as Windows ends them, too; tokenizer_config.json may list the tokens. */
static void test_tokenizer_files__read_what_is_there(void **state)
{
    (void)state;
    char *folder = testing_folder();
    struct err e = {0};

    put(folder, "vocab.json",
        "{\"a\":0,\"b\":1,\"\xc4\xa0\":2,\"ab\":3,\"\xc4\xa0"
        "ab\":4,\"<e>\":5}");
    put(folder, "merges.txt", "#version: 0.2\r\na b\r\n\xc4\xa0 ab\r\n\r\n");
    struct tokenizer *t = open_at(folder);
    expect_ids(t, "ab ab", (const int32_t[]){3, 4}, 2);
    assert_false(tokenizer_is_special(t, 5));
    tokenizer_free(t);

    put(folder, "added_tokens.json", "{\"<y>\":7,\"<x>\":6}");
    put(folder, "special_tokens_map.json",
        "{\"eos_token\":{\"content\":\"<e>\"},\"additional_special_tokens\":[\"<x>\"]}");
    t = open_at(folder);
    expect_ids(t, "a<x>b<y><e>", (const int32_t[]){0, 6, 1, 7, 5}, 5);
    assert_true(tokenizer_is_special(t, 5) && tokenizer_is_special(t, 6));
    assert_false(tokenizer_is_special(t, 7));
    tokenizer_free(t);

    put(folder, "tokenizer_config.json",
        "{\"add_prefix_space\":true,\"added_tokens_decoder\":{\"6\":{\"content\":\"<z>\","
        "\"lstrip\":true,\"normalized\":false,\"rstrip\":false,\"single_word\":false,"
        "\"special\":true}}}");
    t = open_at(folder);
    expect_ids(t, "ab <z>", (const int32_t[]){4, 6}, 2);
    assert_int_equal(tokenizer_id(t, "<x>"), -1);
    tokenizer_free(t);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
}

static void test_tokenizer_files__refuse_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content, *text;
    } cases[] = {
        {"vocab.json", "[]", "vocab.json: expected an object, found an array"},
        {"vocab.json", "{", "vocab.json:1:"},
        {"merges.txt", "a c\n", "merge 0 needs the piece 'c'"},
        {"merges.txt", "a b c\n", "merge 0 is 'a b c'"},
        {"merges.txt", "a b\n\xff x\n", "merges.txt: not UTF-8 behind merge 1"},
        {"added_tokens.json", "{\"<x>\":\"3\"}",
         "added_tokens.json: the id of '<x>' is no integer"},
        {"added_tokens.json", "{\"<x>\":9}", "the added token '<x>' has the id 9, expected 3"},
        {"tokenizer_config.json", "{\"add_prefix_space\":3}", "tokenizer_config.json: \"add_pref"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}", "'x' is no id"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"3\":\"<x>\"}}", "'3' is no id"},
        {"special_tokens_map.json", "7", "special_tokens_map.json"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = testing_folder();
        struct err e = {0};
        put(folder, "vocab.json", "{\"a\":0,\"b\":1,\"ab\":2}");
        put(folder, "merges.txt", "a b\n");
        put(folder, cases[i].name, cases[i].content);
        assert_null(tokenizer_open(folder, &e));
        assert_err(e, ERR_DATA, cases[i].text);
        assert_non_null(strstr(e.text, folder));
        e = (struct err){0};
        assert_int_equal(dir_remove(folder, &e), 0);
        free(folder);
    }
    /* Half of the files is not enough. */
    char *folder = testing_folder();
    struct err e = {0};
    put(folder, "vocab.json", "{}");
    assert_null(tokenizer_open(folder, &e));
    assert_non_null(strstr(e.text, "merges.txt"));
    e = (struct err){0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_files__equal_tokenizer_json),
        cmocka_unit_test(test_tokenizer_files__read_what_is_there),
        cmocka_unit_test(test_tokenizer_files__refuse_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
