/* test_resize.c - resizing against torchvision (tests/fixtures/picture.py). */
#include "picture_testing.h"

#include "media/resize.h"

static int pair(const json_t *c, const char *key, int i)
{
    struct err e = {0};
    return (int)json_integer_value(json_array_get(json_need_array(c, key, &e), (size_t)i));
}

static void test_resize__equals_torchvision(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *cases = json_read_file(PICTURES "resize.json", 1 << 24, &e), *c;
    assert_ok(e);
    size_t i;
    json_array_foreach(cases, i, c)
    {
        struct image from, to;
        int width = pair(c, "to", 0), height = pair(c, "to", 1);
        pattern_make(&from, pair(c, "from", 0), pair(c, "from", 1));
        image_resize(&to, &from, width, height);
        assert_int_equal(to.width, width);
        assert_int_equal(to.height, height);
        int differ = check_levels(c, to.pixels, (size_t)width * (size_t)height * 3, 1);
        if (differ)
            print_message("case %zu: %d levels differ by one\n", i, differ);
        image_release(&from);
        image_release(&to);
    }
    assert_true(i >= 13);
    json_decref(cases);
}

/* What is even stays even, whatever the sizes. */
static void test_resize__keeps_flat_colours(void **state)
{
    (void)state;
    static const int sides[] = {1, 2, 3, 7, 8, 9, 31, 100};
    enum { N = sizeof sides / sizeof *sides };
    static const uint8_t color[] = {0, 255, 77};
    for (int k = 0; k < N * N; k++) {
        struct image from, to;
        pattern_make(&from, sides[k / N], sides[k % N]);
        for (int i = 0; i < from.width * from.height * 3; i++)
            from.pixels[i] = color[i % 3];
        image_resize(&to, &from, sides[(k + 3) % N], sides[(k * 5 + 1) % N]);
        for (int i = 0; i < to.width * to.height * 3; i++)
            assert_int_equal(to.pixels[i], color[i % 3]);
        image_release(&from);
        image_release(&to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize__equals_torchvision),
        cmocka_unit_test(test_resize__keeps_flat_colours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
