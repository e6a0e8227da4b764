/* Scopes, slots, sticky errors and places of the binding. */
#include "mx_testing.h"

#define SHAPE(...) ((int[]){__VA_ARGS__}), MX_COUNT(__VA_ARGS__)

static void test_mx__scopes_release_and_keep(void **state)
{
    (void)state;
    int base = mx_live();
    mx_enter();
    mx_array x = mx_float(3);
    mx_enter();
    mx_array y = mx_leave(mx_scale(mx_shift(x, 1), 2));
    assert_int_equal(mx_live(), base + 2);
    assert_true(item(y) == 8.0);
    mx_array two[] = {x, y};
    mx_leave_n(two, 2);
    assert_int_equal(mx_live(), base + 2);
    assert_true(item(mx_add(x, y)) == 11.0);
}

static void test_mx__stale_handle_gives_a_message(void **state)
{
    (void)state;
    mx_enter();
    mx_array x = mx_float(3);
    mx_leave(MX_NONE);
    mx_float(4);                                /* takes the place of x in the table */
    mx_at("layers.%d.mlp", 7);
    assert_true(mx_is_none(mx_scale(x, 2)));
    expect_error("layers.7.mlp: scale: an array is used after its scope was left");
    mx_at("%s", "");
}

static void test_mx__first_failure_sticks_with_its_place(void **state)
{
    (void)state;
    mx_array x = mx_zeros(MX_FLOAT32, 2, 3);
    mx_at("layers.0.self_attn");
    mx_array y = mx_reshape(x, 4, 4);
    assert_true(mx_is_none(y));
    mx_at("layers.1.self_attn");
    assert_true(mx_is_none(mx_add(x, mx_matmul(y, x))));
    assert_int_equal(mx_dim(y, 0), 1);
    struct err e = {0};
    assert_int_equal(mx_eval(&x, 1, &e), -1);
    assert_string_equal(e.text, "layers.0.self_attn: reshape: [reshape] Cannot reshape array of "
                                "size 6 into shape (4,4).");
    e = (struct err){0};
    assert_int_equal(mx_eval(&x, 1, &e), 0);
    mx_at("%s", "");
}

static void test_mx__messages(void **state)
{
    (void)state;
    mx_array x = mx_zeros(MX_FLOAT32, 96, 64);
    assert_true(mx_is_none(mx_expect(x, 97, 64)));
    expect_error("has shape (96,64), expected (97,64)");
    assert_int_equal(mx_expect(x, -1, 64).id, x.id);
    mx_fail("the window is %d", 0);
    expect_error("the window is 0");
    mx_add(x, MX_NONE);
    expect_error("add: an operand is none");
    mx_dim(x, 2);
    expect_error("axis 2 of an array of 2 dimensions");
    mx_index(x, 0, 96);
    expect_error("index 96 of an axis of 96");
    mx_scale(mx_int(1), 0.5);
    expect_error("scale: an array of integers and the number 0.5");
    mx_slice_update(x, mx_zeros(MX_FLOAT32, 2, 64), 0, 95);
    expect_error("slice_update: an update of shape (2,64) at 95 of (96,64)");
    mx_windows(x, 0, 97, 1);
    expect_error("windows: windows of 97 every 1 of an axis of 96");
    mx_scaled_dot_product_attention(x, x, x, 1, true, x);
    expect_error("causal and a mask exclude each other");
    float f[3];
    struct err e = {0};
    assert_int_equal(mx_read(x, MX_FLOAT32, f, sizeof f, &e), -1);
    assert_string_equal(e.text, "read: the array has 24576 bytes, the buffer 12");
}

static void test_mx__slots_hold_values_beyond_scopes(void **state)
{
    (void)state;
    mx_array s = mx_slot(MX_NONE);
    mx_scale(s, 2);
    expect_error("a slot is read before it has a value");
    mx_enter();
    mx_set(s, mx_float(5));
    mx_leave(s);
    assert_true(item(s) == 5.0);
    mx_set(s, mx_scale(s, 2));
    assert_true(item(s) == 10.0);
    mx_set(mx_float(1), s);
    expect_error("set: not a slot");
    mx_slot_free(s);
    mx_scale(s, 2);
    expect_error("an array is used after its scope was left");
    mx_slot_free(s);                            /* a second time: nothing happens */
}

struct seen {
    char text[300];
};

static void watcher(void *arg, const char *place, mx_array last)
{
    struct seen *s = arg;
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "%s=%g ", place, item(mx_sum_all(last)));
}

static void test_mx__watch_sees_the_last_array_of_each_place(void **state)
{
    (void)state;
    struct seen s = {0};
    mx_watch(watcher, &s);
    mx_at("a");
    mx_array x = mx_shift(mx_float(1), 1);
    mx_at("b");
    mx_scale(x, 2);
    mx_scale(x, 5);
    mx_at("empty");
    mx_at("c");
    x = mx_scale(x, 7);
    struct err e = {0};
    assert_int_equal(mx_eval(&x, 1, &e), 0);
    mx_watch(NULL, NULL);
    mx_at("%s", "");
    assert_string_equal(s.text, "a=2 b=10 c=14 ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, before, after)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mx__scopes_release_and_keep),
        TEST(test_mx__stale_handle_gives_a_message),
        TEST(test_mx__first_failure_sticks_with_its_place),
        TEST(test_mx__messages),
        TEST(test_mx__slots_hold_values_beyond_scopes),
        TEST(test_mx__watch_sees_the_last_array_of_each_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
