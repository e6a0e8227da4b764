/* test_spool_files.c - the folder: kept files, damaged ones, foreign ones, two processes. */
#include "spool_testing.h"

#include <errno.h>
#include <fcntl.h>

static int refuse_folders(const char *call)
{
    return strcmp(call, "open") == 0 || strcmp(call, "mkdir") == 0 ? EACCES : 0;
}

static void test_spool_files__says_that_the_folder_cannot_be_used(void **state)
{
    (void)state;
    struct object a = put("a", bytes, 100);
    struct spool *s = open_spool(0, true);
    file_fault = refuse_folders;
    spool_want(s, &a);
    take_fails(s, &a, ERR_FAILED, "cache: could not");
    file_fault = NULL;
    close_spool(s);
    object_release(&a);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(dir_make(dir, &e), 0);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static void flip_byte(const char *path)
{
    int fd = open(path, O_RDWR);
    char c;
    assert_int_equal(pread(fd, &c, 1, 50), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, 50), 1);
    close(fd);
}

static void test_spool_files__keeps_files_for_later(void **state)
{
    (void)state;
    static const char key[] = "0123456789abcdef0123456789abcdef";
    char name[100];
    struct object a = put("a", bytes, 100), b = put("b", bytes, 200), c = put("c", bytes, 300);
    struct spool *s = open_spool(0, true);
    spool_want(s, &a);
    spool_want(s, &b);
    spool_want(s, &c);
    take(s, &a, bytes, 100);
    char *damaged = take_path(s, &b, bytes, 200), *cut = take_path(s, &c, bytes, 300);
    close_spool(s);
    assert_int_equal(count_names(cache, ""), 3);
    flip_byte(damaged);
    assert_int_equal(truncate(cut, 299), 0);
    /* What others put there, and what a process that died left. */
    write_text(cache, "mine.txt", "mine");
    write_text(cache, "attune-notes.data", "mine");
    write_text(cache, "attune-spool-x", "mine");
    snprintf(name, sizeof name, "attune-%s.part", key);
    write_text(cache, name, "dead");
    char *dead = path_join(cache, "attune-spool-3");
    write_text(dead, name, "dead");
    write_text(dead, "foreign", "mine");
    free(dead);
    dead = path_join(cache, "attune-spool-4");
    write_text(dead, name, "dead");
    snprintf(name, sizeof name, "attune-%s-00000000.data", key);
    write_text(dead, name, "dead");
    write_text(cache, "attune-spool-4.lock", "");
    s = open_spool(0, true);
    spool_want(s, &a);
    spool_want(s, &b);
    spool_want(s, &c);
    take(s, &a, bytes, 100);
    take(s, &b, bytes, 200);
    take(s, &c, bytes, 300);
    assert_int_equal(stats_of(s).reused, 1);
    assert_int_equal(stats_of(s).disk_bytes, 600);
    assert_int_equal(stats_of(s).fetched, 2);
    /* Another process of the same folder. */
    struct spool *other = open_spool(0, true);
    spool_want(other, &a);
    char *path = take_path(other, &a, bytes, 100);
    assert_non_null(strstr(path, "/attune-spool-0/"));
    assert_int_equal(stats_of(other).fetched, 1);
    close_spool(other);
    close_spool(s);
    assert_false(file_exists(path));
    assert_int_equal(count_names(cache, ".part"), 0);
    assert_int_equal(count_names(cache, ".lock"), 0);
    assert_false(file_exists(dead));
    assert_int_equal(count_names(cache, "mine.txt") + count_names(cache, "foreign") +
                         count_names(cache, "attune-notes.data") +
                         count_names(cache, "attune-spool-x"),
                     4);
    assert_int_equal(count_names(cache, ""), 3 + 4 + 1);
    free(damaged);
    free(cut);
    free(dead);
    free(path);
    object_release(&a);
    object_release(&b);
    object_release(&c);
}

static void test_spool_files__notices_files_that_are_gone(void **state)
{
    (void)state;
    struct object a = put("a", bytes, 1000);
    struct spool *s = open_spool(0, true);
    spool_want(s, &a);
    char *path = take_path(s, &a, bytes, 1000);
    spool_give(s, &a);
    unlink(path);
    free(path);
    spool_want(s, &a);
    path = take_path(s, &a, bytes, 1000);
    unlink(path);
    free(path);
    take_fails(s, &a, ERR_INTEGRITY, "No such file");  /* it may be open elsewhere */
    close_spool(s);
    object_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(spool_files, says_that_the_folder_cannot_be_used),
        SPOOL_TEST(spool_files, keeps_files_for_later),
        SPOOL_TEST(spool_files, notices_files_that_are_gone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    return failed;
}
