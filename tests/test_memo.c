/* A small map that forgets the oldest. */
#include "testing.h"

#include "net/memo.h"

static void test_memo__remembers_and_forgets(void **state)
{
    (void)state;
    struct memo *m = memo_new();
    assert_null(memo_get(m, "a"));
    memo_put(m, "a", "1");
    memo_put(m, "b", "2");
    memo_put(m, "a", "3");
    char *value = memo_get(m, "a");
    assert_string_equal(value, "3");
    free(value);
    memo_drop(m, "a", "1");       /* somebody else knows better already */
    value = memo_get(m, "a");
    assert_string_equal(value, "3");
    free(value);
    memo_drop(m, "a", "3");
    assert_null(memo_get(m, "a"));
    memo_drop(m, "a", "3");
    value = memo_get(m, "b");
    assert_string_equal(value, "2");
    free(value);
    memo_free(m);
    memo_free(NULL);
}

static void test_memo__is_bounded(void **state)
{
    (void)state;
    struct memo *m = memo_new();
    char key[20];
    for (int i = 0; i <= MEMO_ENTRIES; i++) {
        snprintf(key, sizeof key, "%d", i);
        memo_put(m, key, key);
    }
    assert_null(memo_get(m, "0"));
    for (int i = 1; i <= MEMO_ENTRIES; i++) {
        snprintf(key, sizeof key, "%d", i);
        char *value = memo_get(m, key);
        assert_string_equal(value, key);
        free(value);
    }
    memo_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memo__remembers_and_forgets),
        cmocka_unit_test(test_memo__is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
