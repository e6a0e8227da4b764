/* test_source.c - local files as sources, and patterns of names. */
#include "testing.h"

#include "base/file.h"
#include "data/source.h"

static char *folder;

static void write_file(const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    struct err e = {0};
    char *sub = path_join(folder, "sub");
    assert_int_equal(dir_make(sub, &e), 0);
    free(sub);
    write_file("a-0008.jsonl", "8");
    write_file("a-0009.jsonl", "9");
    write_file("a-0010.jsonl", "10");
    write_file("b.jsonl", "0123456789");
    write_file("odd{name}.jsonl", "x");
    write_file("sub/c.jsonl", "c");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

static void test_source__reads_ranges(void **state)
{
    (void)state;
    struct err e = {0};
    char *path = path_join(folder, "b.jsonl"), out[11] = "";
    struct source *s = source_open(path, &e);
    assert_non_null(s);
    assert_int_equal(source_size(s), 10);
    assert_int_equal(source_read(s, 3, out, 4, &e), 0);
    assert_string_equal(out, "3456");
    assert_int_equal(source_read(s, 8, out, 4, &e), -1);
    assert_err(e, ERR_DATA, "ends at byte 10, expected 12");
    e = (struct err){0};
    write_file("b.jsonl", "shorter");
    assert_int_equal(source_read(s, 0, out, 4, &e), -1);
    assert_err(e, ERR_INTEGRITY, "changed while in use, had 10 bytes, now 7");
    write_file("b.jsonl", "0123456789");
    source_close(s);
    free(path);
}

static void test_source__names_what_it_cannot_open(void **state)
{
    (void)state;
    struct err e = {0};
    char *missing = path_join(folder, "missing.wav");
    size_t size;
    assert_null(source_load(missing, 100, &size, &e));
    assert_err(e, ERR_DATA, "missing.wav: No such file");
    e = (struct err){0};
    assert_null(source_load(folder, 100, &size, &e));
    assert_err(e, ERR_DATA, "is a folder");
    e = (struct err){0};
    assert_null(source_load("gs://bucket/a.wav", 100, &size, &e));
    assert_err(e, ERR_DATA, "cannot read \"gs://\"");
    e = (struct err){0};
    char *big = path_join(folder, "b.jsonl");
    assert_null(source_load(big, 9, &size, &e));
    assert_err(e, ERR_DATA, "10 bytes, at most 9");
    free(missing);
    free(big);
}

/* The names that a pattern gives, without the folder, joined by spaces. */
static void check_match(const char *pattern, const char *expected)
{
    struct err e = {0};
    struct source_list l = {0};
    char *path = path_join(folder, pattern), found[500] = "";
    int failed = source_match(&l, path, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    for (int64_t i = 0; i < l.count; i++) {
        strcat(found, i ? " " : "");
        strcat(found, l.names[i] + strlen(folder) + 1);
    }
    assert_string_equal(found, expected);
    source_list_release(&l);
    free(path);
}

static void test_source__matches_patterns(void **state)
{
    (void)state;
    check_match("b.jsonl", "b.jsonl");
    check_match("nowhere.jsonl", "nowhere.jsonl");
    check_match("a-*.jsonl", "a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("a-000?.jsonl", "a-0008.jsonl a-0009.jsonl");
    check_match("a-{0008..0010}.jsonl", "a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("x-{8..10}.jsonl", "x-8.jsonl x-9.jsonl x-10.jsonl");
    check_match("x{08..10}", "x08 x09 x10");
    check_match("{b,sub/c}.jsonl", "b.jsonl sub/c.jsonl");
    check_match("{b,a-*}.jsonl", "b.jsonl a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("{x,y}{1..2}", "x1 x2 y1 y2");
    check_match("odd{name}.jsonl", "odd{name}.jsonl");
    check_match("x{}", "x{}");
    check_match("x{1..", "x{1..");
}

static void test_source__refuses_patterns_without_files(void **state)
{
    (void)state;
    struct err e = {0};
    struct source_list l = {0};
    char *path = path_join(folder, "q-*.jsonl");
    assert_int_equal(source_match(&l, path, &e), -1);
    assert_err(e, ERR_DATA, "q-*.jsonl: no such file");
    e = (struct err){0};
    assert_int_equal(source_match(&l, "x{1..99999999}", &e), -1);
    assert_err(e, ERR_DATA, "more than 1000000 files");
    source_list_release(&l);
    free(path);
}

static void test_source__resolves_names(void **state)
{
    (void)state;
    char *a = source_resolve("data", "x/a.wav"), *b = source_resolve("data", "/x/a.wav");
    char *c = source_resolve("data", "gs://b/a.wav");
    assert_string_equal(a, "data/x/a.wav");
    assert_string_equal(b, "/x/a.wav");
    assert_string_equal(c, "gs://b/a.wav");
    free(a);
    free(b);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source__reads_ranges),
        cmocka_unit_test(test_source__names_what_it_cannot_open),
        cmocka_unit_test(test_source__matches_patterns),
        cmocka_unit_test(test_source__refuses_patterns_without_files),
        cmocka_unit_test(test_source__resolves_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
