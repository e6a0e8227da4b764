/* The files beside the weights, and the older tables of a byte-level BPE. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "export/hub_files.h"

static char *base, *source, *dir;

static int setup(void **state)
{
    (void)state;
    struct err e = {0};
    base = testing_folder();
    source = path_join(base, "source");
    dir = path_join(base, "saved");
    return dir_make(source, &e) || dir_make(dir, &e);
}

static int teardown(void **state)
{
    (void)state;
    struct err e = {0};
    int rc = dir_remove(base, &e);
    free(base);
    free(source);
    free(dir);
    return rc;
}

static void put(const char *folder, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static void expect_file(const char *name, const char *want)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    if (!want) {
        assert_false(file_exists(path));
    } else {
        char *text = file_read(path, 1 << 20, NULL, &e);
        assert_ok(e);
        assert_string_equal(text, want);
        free(text);
    }
    free(path);
}

#define BPE(merges)                                                                                \
    "{\"added_tokens\":[{\"id\":3,\"content\":\"<|endoftext|>\"},{\"id\":2,\"content\":\"ab\"}],"  \
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","                            \
    "\"vocab\":{\"b\":1,\"a\":0,\"ab\":2,\"\xc4\xa0\":4},\"merges\":" merges "}}"

static void test_hub_files__copies_what_is_there(void **state)
{
    (void)state;
    struct err e = {0};
    put(source, "tokenizer.json", "{}");
    put(source, "normalizer.json", "{\"a\":1}");
    put(source, "secret.txt", "no");
    assert_int_equal(hub_files_copy(source, dir, &e), 0);
    expect_file("tokenizer.json", "{}");
    expect_file("normalizer.json", "{\"a\":1}");
    expect_file("secret.txt", NULL);
    expect_file("vocab.json", NULL);
    assert_true(hub_files_has("preprocessor_config.json") && hub_files_has("vocab.json"));
    assert_false(hub_files_has("secret.txt") || hub_files_has("model.safetensors"));
}

static void test_hub_files__makes_the_older_tables(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const tokenizers[] = {BPE("[\"a b\",\"ab \xc4\xa0\"]"),
                                      BPE("[[\"a\",\"b\"],[\"ab\",\"\xc4\xa0\"]]")};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(dir, "vocab.json");
        assert_int_equal(file_remove(path, &e), 0);
        free(path);
        put(dir, "tokenizer.json", tokenizers[i]);
        if (hub_files_tables(dir, &e))
            fail_msg("%s", e.text);
        expect_file("vocab.json", "{\"b\":1,\"a\":0,\"ab\":2,\"\xc4\xa0\":4}");
        expect_file("merges.txt", "#version: 0.2\na b\nab \xc4\xa0\n");
        expect_file("added_tokens.json", "{\n  \"<|endoftext|>\": 3\n}\n");
    }
}

/* What is there is not written again. */
static void test_hub_files__keeps_tables(void **state)
{
    (void)state;
    struct err e = {0};
    put(dir, "tokenizer.json", BPE("[]"));
    put(dir, "vocab.json", "theirs");
    assert_int_equal(hub_files_tables(dir, &e), 0);
    expect_file("vocab.json", "theirs");
    expect_file("merges.txt", "#version: 0.2\n");
}

static void test_hub_files__other_tokenizers(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(hub_files_tables(dir, &e), 0);
    put(dir, "tokenizer.json",
        "{\"decoder\":{\"type\":\"Sequence\"},\"model\":{\"type\":\"BPE\"}}");
    assert_int_equal(hub_files_tables(dir, &e), 0);
    put(dir, "tokenizer.json", "{}");
    assert_int_equal(hub_files_tables(dir, &e), 0);
    expect_file("vocab.json", NULL);
}

static void test_hub_files__damaged(void **state)
{
    (void)state;
    const char *const bad[] = {"{", BPE("[1]"), BPE("[[\"a\"]]"), BPE("3"),
                               "{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
                               "\"merges\":[]}}"};
    const char *const says[] = {"tokenizer.json:", "model.merges[0]: found an integer, expected",
                                "model.merges[0]: found an array, expected a pair", "merges",
                                "vocab"};
    for (int i = 0; i < 5; i++) {
        struct err e = {0};
        put(dir, "tokenizer.json", bad[i]);
        assert_int_equal(hub_files_tables(dir, &e), -1);
        assert_non_null(strstr(e.text, says[i]));
        assert_non_null(strstr(e.text, "tokenizer.json"));
        expect_file("vocab.json", NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hub_files__copies_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hub_files__makes_the_older_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hub_files__keeps_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hub_files__other_tokenizers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hub_files__damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
