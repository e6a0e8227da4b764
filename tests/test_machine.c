/* What the machine has. */
#include "testing.h"

#include "base/machine.h"

static void test_machine__has_memory(void **state)
{
    (void)state;
    int64_t all = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    assert_true(machine_memory() > 64 << 20);
    assert_true(machine_memory() <= all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_machine__has_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
