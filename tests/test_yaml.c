/* test_yaml.c - the tree, the places in it, and every error with its place. */
#include "base/yaml.h"
#include "testing.h"

#include <stdbool.h>

static struct yaml *parse(const char *text, struct err *e)
{
    return yaml_read_text("a.yaml", text, strlen(text), e);
}

static void test_yaml__reads_maps_lists_and_scalars(void **state)
{
    (void)state;
    struct err e = {0};
    struct yaml *y = parse("model: google/x   # comment\n"
                           "lora: {rank: 16, towers: [language, audio]}\n"
                           "data:\n"
                           "  - a.jsonl\n"
                           "  - 'b c'\n"
                           "lr: 1e-4\n"
                           "none: ~\n"
                           "empty:\n"
                           "text: |\n"
                           "  two\n"
                           "  lines\n",
                           &e);
    assert_ok(e);
    assert_int_equal(y->kind, YAML_MAP);
    assert_int_equal(y->count, 7);
    assert_string_equal(yaml_get(y, "model")->text, "google/x");
    const struct yaml *lora = yaml_get(y, "lora"), *towers = yaml_get(lora, "towers");
    assert_string_equal(yaml_get(lora, "rank")->text, "16");
    assert_int_equal(towers->kind, YAML_LIST);
    assert_int_equal(towers->count, 2);
    assert_string_equal(towers->values[1]->text, "audio");
    assert_int_equal(towers->values[1]->line, 2);
    assert_int_equal(towers->values[1]->column, 37);
    assert_string_equal(yaml_get(y, "data")->values[1]->text, "b c");
    assert_true(yaml_get(y, "data")->values[1]->is_quoted);
    assert_int_equal(y->keys[2]->line, 3);
    assert_true(yaml_is_null(yaml_get(y, "none")));
    assert_true(yaml_is_null(yaml_get(y, "empty")));
    assert_false(yaml_is_null(yaml_get(y, "lr")));
    assert_string_equal(yaml_get(y, "text")->text, "two\nlines\n");
    assert_null(yaml_get(y, "lr2"));
    yaml_root_free(y);
}

static void test_yaml__empty_text_is_an_empty_map(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# nothing\n", "---\n...\n"};
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        struct yaml *y = parse(texts[i], &e);
        assert_ok(e);
        assert_int_equal(y->kind, YAML_MAP);
        assert_int_equal(y->count, 0);
        yaml_root_free(y);
    }
}

static void test_yaml__errors_name_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"a: 1\na: 2\n", "a.yaml:2:1: key \"a\" is here twice, first in line 1"},
        {"a: &x 1\n", "a.yaml:1:4: anchors"},
        {"a: *x\n", "a.yaml:1:4: aliases"},
        {"a: !!int 1\n", "a.yaml:1:4: tags"},
        {"a: !python/object 1\n", "a.yaml:1:4: tags"},
        {"a: [1, 2\nb: 3\n", "a.yaml:2:"},
        {"a: 1\n\tb: 2\n", "a.yaml:2:"},
        {"[1]: 2\n", "a.yaml:1:1: a key must be plain text, found a list"},
        {"a: 1\n---\nb: 2\n", "a.yaml:2:1: a second document"},
        {"a: \"x\\0y\"\n", "a.yaml:1:4: a value contains a zero byte"},
        {"a: \"unfinished\n", "a.yaml:"},
        {"a: b: c\n", "a.yaml:1:5: "},
        {"a: \x01\n", "a.yaml: byte 3: "},
        {"a: \xff\n", "a.yaml: byte 3: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(parse(bad[i].text, &e));
        assert_err(e, ERR_USAGE, bad[i].error);
    }
}

static void test_yaml__limits(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size = YAML_SIZE_MAX + 1;
    char *text = malloc(size + 1);
    memset(text, '#', size);
    assert_null(yaml_read_text("a.yaml", text, size, &e));
    assert_err(e, ERR_USAGE, "the limit is 1048576");

    e = (struct err){0};
    memset(text, '[', 500);
    assert_null(yaml_read_text("a.yaml", text, 500, &e));
    assert_err(e, ERR_USAGE, "a.yaml:1:33: lists and maps lie too deep");

    e = (struct err){0};
    text[0] = '[';
    for (size_t i = 1; i < 300001; i += 2)
        memcpy(text + i, "1,", 2);
    assert_null(yaml_read_text("a.yaml", text, 300001, &e));
    assert_err(e, ERR_USAGE, "too many keys and values");
    free(text);
}

static void test_yaml__file_and_error_helper(void **state)
{
    (void)state;
    struct err e = {0};
    assert_null(yaml_read_file("/nowhere/x.yaml", &e));
    assert_err(e, ERR_USAGE, "/nowhere/x.yaml: could not read: No such file");

    e = (struct err){0};
    struct yaml *y = parse("a:\n  bb: 1\n", &e);
    assert_ok(e);
    yaml_err(yaml_get(y, "a")->keys[0], &e, "unknown key \"%s\"", "bb");
    assert_err(e, ERR_USAGE, "a.yaml:2:3: unknown key \"bb\"");
    assert_string_equal(yaml_kind_name(y), "a map");
    yaml_root_free(y);
    yaml_root_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml__reads_maps_lists_and_scalars),
        cmocka_unit_test(test_yaml__empty_text_is_an_empty_map),
        cmocka_unit_test(test_yaml__errors_name_line_and_column),
        cmocka_unit_test(test_yaml__limits),
        cmocka_unit_test(test_yaml__file_and_error_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
