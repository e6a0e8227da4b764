/* test_log.c - what reaches stderr and the log file.  Each case runs in a child whose stderr is
 * a file. */
#include "base/file.h"
#include "base/log.h"
#include "testing.h"

#include <fcntl.h>
#include <sys/wait.h>

/* The stderr of `body`; the caller frees. */
static char *stderr_of(void (*body)(const char *folder), const char *folder)
{
    struct err e = {0};
    int status;
    char *path = path_join(folder, "stderr");
    pid_t child = fork();
    if (!child) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
            _exit(1);
        body(folder);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    char *text = file_read(path, 10000, NULL, &e);
    assert_ok(e);
    free(path);
    return text;
}

static void plain(const char *folder)
{
    char *path = path_join(folder, "log");
    unsetenv("CLICOLOR_FORCE");
    log_set_file(path);
    log_info("hello %d", 1);
    log_warn("a\x1b[2Jb\nc");
    log_error("bad");
    log_debug("not shown");
    log_status("step 1");          /* not a terminal: nothing */
    log_status_end();
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("shown");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("not shown");
    log_set_file(NULL);
    log_error("last");
    free(path);
}

static void test_log__levels_labels_and_control_bytes(void **state)
{
    (void)state;
    struct err e = {0};
    char *folder = testing_folder(), *path = path_join(folder, "log");
    char *text = stderr_of(plain, folder);
    assert_string_equal(text, "hello 1\nwarning: a?[2Jb?c\nerror: bad\ndebug: shown\n"
                              "error: last\n");
    free(text);
    text = file_read(path, 10000, NULL, &e);
    assert_ok(e);
    assert_non_null(strstr(text, "Z hello 1\n"));
    assert_non_null(strstr(text, "Z debug: shown\n"));
    assert_null(strstr(text, "last"));
    assert_null(strstr(text, "not shown"));
    free(text);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(path);
    free(folder);
}

static void colors(const char *folder)
{
    (void)folder;
    unsetenv("NO_COLOR");
    setenv("CLICOLOR_FORCE", "1", 1);
    log_error("red");
    setenv("NO_COLOR", "1", 1);
    log_error("not red");
    log_set_file("/nowhere/log");
}

static void test_log__colors_follow_the_environment(void **state)
{
    (void)state;
    struct err e = {0};
    char *folder = testing_folder();
    char *text = stderr_of(colors, folder);
    assert_string_equal(text, "\033[1;31merror: \033[0mred\nerror: not red\n"
                              "warning: /nowhere/log: could not open this log file\n");
    free(text);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__levels_labels_and_control_bytes),
        cmocka_unit_test(test_log__colors_follow_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
