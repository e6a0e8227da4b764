/* test_mem.c - copies, formats, growth, and the end when there is no memory. */
#include "base/mem.h"
#include "testing.h"

#include <sys/wait.h>

static void test_mem__copies_and_formats(void **state)
{
    (void)state;
    char *s = xstrndup("abcdef", 3), *t = xasprintf("%s-%05d", s, 42), *u = xstrdup("");
    void *z = xmalloc(0), *c = xcalloc(3, 2);
    assert_string_equal(s, "abc");
    assert_string_equal(t, "abc-00042");
    assert_string_equal(u, "");
    assert_memory_equal(c, "\0\0\0\0\0\0", 6);
    free(s);
    free(t);
    free(u);
    free(z);
    free(c);
    s = xstrndup("ab", 10);
    assert_string_equal(s, "ab");
    free(s);
}

static void test_mem__grow(void **state)
{
    (void)state;
    int *items = NULL;
    size_t capacity = 0;
    for (int n = 0; n < 1000; n++) {
        if ((size_t)n == capacity)
            items = mem_grow(items, &capacity, sizeof *items);
        items[n] = n;
    }
    for (int n = 0; n < 1000; n++)
        assert_int_equal(items[n], n);
    assert_int_equal(capacity, 1024);
    free(items);
}

/* A product that wraps around must not become a small allocation. */
static void test_mem__overflow_ends_the_program(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        int status;
        pid_t child = fork();
        if (!child) {
            assert_non_null(freopen("/dev/null", "w", stderr));
            volatile size_t count = SIZE_MAX / 4 + 2;
            void *p = i ? xcalloc(count, 4) : xreallocarray(NULL, count, 4);
            _exit(p ? 0 : 1);
        }
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem__copies_and_formats),
        cmocka_unit_test(test_mem__grow),
        cmocka_unit_test(test_mem__overflow_ends_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
