/* test_dir.c - folders, and the parts of names. */
#include "base/dir.h"
#include "base/file.h"
#include "testing.h"

#include <errno.h>

static void touch(const char *dir, const char *name)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(file_append(path, "x", 1, &e), 0);
    free(path);
}

static void test_dir__makes_lists_and_removes(void **state)
{
    (void)state;
    struct err e = {0};
    struct dir_list l;
    char *top = testing_folder(), *deep = path_join(top, "a/b//c/"), *kept = testing_folder();
    assert_int_equal(dir_make(deep, &e), 0);
    assert_int_equal(dir_make(deep, &e), 0);
    assert_true(file_is_dir(deep));
    touch(deep, "two");
    touch(deep, "one");
    touch(deep, ".hidden");
    assert_int_equal(dir_list_read(&l, deep, &e), 0);
    assert_int_equal(l.count, 3);
    assert_string_equal(l.names[0], ".hidden");
    assert_string_equal(l.names[1], "one");
    assert_string_equal(l.names[2], "two");
    dir_list_release(&l);

    /* A link out of the tree is removed, what it points to is not. */
    touch(kept, "safe");
    char *link = path_join(deep, "link"), *safe = path_join(kept, "safe");
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(dir_remove(top, &e), 0);
    assert_false(file_exists(top));
    assert_true(file_exists(safe));
    assert_int_equal(dir_remove(top, &e), 0);
    assert_int_equal(dir_remove(kept, &e), 0);
    free(link);
    free(safe);
    free(deep);
    free(top);
    free(kept);
}

static void test_dir__a_file_in_the_way_is_an_error(void **state)
{
    (void)state;
    struct err e = {0};
    struct dir_list l;
    char *top = testing_folder(), *below = path_join(top, "file/x");
    touch(top, "file");
    assert_int_equal(dir_make(below, &e), -1);
    assert_err(e, ERR_FAILED, "/file: could not make this folder: File exists");
    e = (struct err){0};
    assert_int_equal(dir_list_read(&l, below, &e), -1);
    assert_err(e, ERR_FAILED, "could not read this folder: Not a directory");
    e = (struct err){0};
    assert_int_equal(dir_remove(top, &e), 0);
    free(below);
    free(top);
}

static int no_space(const char *call)
{
    return strcmp(call, "mkdir") ? 0 : ENOSPC;
}

static void test_dir__full_disk(void **state)
{
    (void)state;
    struct err e = {0};
    char *top = testing_folder(), *below = path_join(top, "x");
    file_fault = no_space;
    assert_int_equal(dir_make(below, &e), -1);
    file_fault = NULL;
    assert_err(e, ERR_SPACE, "No space left");
    e = (struct err){0};
    assert_int_equal(dir_remove(top, &e), 0);
    free(below);
    free(top);
}

static void test_dir__free_bytes(void **state)
{
    (void)state;
    struct err e = {0};
    uint64_t bytes = 0;
    assert_int_equal(dir_free_bytes("/", &bytes, &e), 0);
    assert_true(bytes > 0);
    assert_int_equal(dir_free_bytes("/nowhere", &bytes, &e), -1);
    assert_err(e, ERR_FAILED, "/nowhere: ");
}

static void expect(char *found, const char *expected)
{
    assert_string_equal(found, expected);
    free(found);
}

static void test_dir__parts_of_names(void **state)
{
    (void)state;
    expect(path_join("a", "b"), "a/b");
    expect(path_join("a/", "b"), "a/b");
    expect(path_join("", "b"), "b");
    expect(path_join("a", "/b"), "/b");
    expect(path_dir("a/b/c"), "a/b");
    expect(path_dir("c"), ".");
    expect(path_dir("/c"), "/");
    assert_string_equal(path_base("a/b"), "b");
    assert_string_equal(path_base("b"), "b");
    assert_string_equal(path_extension("a.b/c.tar.gz"), "gz");
    assert_string_equal(path_extension("a.b/c"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dir__makes_lists_and_removes),
        cmocka_unit_test(test_dir__a_file_in_the_way_is_an_error),
        cmocka_unit_test(test_dir__full_disk),
        cmocka_unit_test(test_dir__free_bytes),
        cmocka_unit_test(test_dir__parts_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
