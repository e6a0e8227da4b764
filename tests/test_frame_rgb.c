/* test_frame_rgb.c - the eight ways a picture can lie, against the formula of ISO 14496-12; colours
 * are tested with whole videos (test_video.c). */
#include "testing.h"

#include "media/frame_rgb.h"

enum { WIDTH = 3, HEIGHT = 2, ONE = 1 << 16 };

/* Where the matrix puts the pixel (x, y), moved so that all places are 0 or more. */
static void place(const int32_t *m, int x, int y, int *to_x, int *to_y)
{
    int a = m[0] / ONE, b = m[1] / ONE, c = m[3] / ONE, d = m[4] / ONE;
    *to_x = a * x + c * y + (a < 0 ? WIDTH - 1 : 0) + (c < 0 ? HEIGHT - 1 : 0);
    *to_y = b * x + d * y + (b < 0 ? WIDTH - 1 : 0) + (d < 0 ? HEIGHT - 1 : 0);
}

static void test_frame_rgb__turns_as_the_matrix_says(void **state)
{
    (void)state;
    static const int ways[8][4] = {{1, 0, 0, 1},  {0, 1, -1, 0}, {-1, 0, 0, -1}, {0, -1, 1, 0},
                                   {-1, 0, 0, 1}, {1, 0, 0, -1}, {0, 1, 1, 0},   {0, -1, -1, 0}};
    enum { STRIDE = 3 * WIDTH + 5 };
    uint8_t rgb[HEIGHT * STRIDE] = {0};
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++)
                rgb[y * STRIDE + 3 * x + c] = (uint8_t)(100 * c + 10 * y + x + 1);
    for (int i = 0; i < 8; i++) {
        int32_t m[9] = {ways[i][0] * ONE,
                        ways[i][1] * ONE,
                        0,
                        ways[i][2] * ONE,
                        ways[i][3] * ONE,
                        0,
                        123 * ONE,
                        7,
                        1 << 30};
        struct image im;
        turn_picture(&im, rgb, STRIDE, WIDTH, HEIGHT, turn_of(m));
        bool is_upright = ways[i][0] != 0;
        assert_int_equal(im.width, is_upright ? WIDTH : HEIGHT);
        assert_int_equal(im.height, is_upright ? HEIGHT : WIDTH);
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                int to_x, to_y;
                place(m, x, y, &to_x, &to_y);
                assert_memory_equal(im.pixels + 3 * (to_y * im.width + to_x),
                                    rgb + y * STRIDE + 3 * x, 3);
            }
        image_release(&im);
    }
}

static void test_frame_rgb__takes_the_nearest_right_angle(void **state)
{
    (void)state;
    struct turn t = turn_of(NULL);
    assert_false(t.swaps_sides || t.mirrors_x || t.mirrors_y);
    static const int32_t nothing[9] = {0};
    t = turn_of(nothing);
    assert_false(t.swaps_sides || t.mirrors_x || t.mirrors_y);
    /* 80 degrees clockwise. */
    static const int32_t tilted[9] = {11380, 64540, 0, -64540, 11380, 0, 0, 0, 1 << 30};
    t = turn_of(tilted);
    assert_true(t.swaps_sides && t.mirrors_x && !t.mirrors_y);
    static const int32_t extreme[9] = {INT32_MIN, INT32_MIN, 0, INT32_MIN, INT32_MAX};
    t = turn_of(extreme);
    assert_true(t.swaps_sides && t.mirrors_x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_rgb__turns_as_the_matrix_says),
        cmocka_unit_test(test_frame_rgb__takes_the_nearest_right_angle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
