/* test_stop.c - signals that are asked for, not died of. */
#include "train/stop.h"

#include "testing.h"

#include <sys/wait.h>

static void test_stop__remembers_the_signal(void **state)
{
    (void)state;
    struct stop_handlers old;
    struct sigaction before, now;
    sigaction(SIGINT, NULL, &before);
    stop_catch(&old);
    assert_int_equal(stop_signal(), 0);
    raise(SIGTERM);
    assert_int_equal(stop_signal(), SIGTERM);
    stop_restore(&old);
    stop_catch(&old);
    assert_int_equal(stop_signal(), 0);
    stop_restore(&old);
    /* A shell may have it ignored. */
    sigaction(SIGINT, NULL, &now);
    assert_true(now.sa_handler == before.sa_handler);
}

static void test_stop__the_second_one_ends_the_process(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct stop_handlers old;
        stop_catch(&old);
        raise(SIGINT);
        raise(SIGINT);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop__remembers_the_signal),
        cmocka_unit_test(test_stop__the_second_one_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
