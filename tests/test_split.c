/* test_split.c - cuts lie in the quietest place, pieces are never too long, nothing is lost. */
#include "testing.h"

#include "media/split.h"

enum { RATE = 1000 };

/* Noise of level 1, and of `level` in [first, last). */
static void fill(float *x, int64_t count, int64_t first, int64_t last, double level)
{
    uint32_t r = 1;
    for (int64_t i = 0; i < count; i++) {
        r = r * 1664525u + 1013904223u;
        double noise = (double)(r >> 8) / (1 << 23) - 1;
        x[i] = (float)(noise * (i >= first && i < last ? level : 1));
    }
}

static void test_split__leaves_what_fits(void **state)
{
    (void)state;
    float x[100] = {0};
    int64_t cuts[3] = {7, 7, 7};
    assert_int_equal(audio_split(x, 100, RATE, 100, cuts, 1), 1);
    assert_int_equal(cuts[0], 0);
    assert_int_equal(cuts[1], 100);
    assert_int_equal(audio_split(x, 0, RATE, 100, cuts, 2), 0);
    assert_int_equal(cuts[0], 0);
}

static void test_split__cuts_at_the_quietest_place(void **state)
{
    (void)state;
    enum { COUNT = 30000, LONGEST = 20000 };
    float *x = calloc(COUNT, sizeof *x);
    int64_t cuts[4];
    /* Silent from 17.3 to 17.4 s: inside the last five seconds before 20 s. */
    fill(x, COUNT, 17300, 17400, 0.01);
    assert_int_equal(audio_split(x, COUNT, RATE, LONGEST, cuts, 3), 2);
    assert_int_equal(cuts[1], 17350);
    assert_int_equal(cuts[2], COUNT);
    /* What is quieter but earlier does not count. */
    fill(x, COUNT, 14000, 14800, 0);
    assert_int_equal(audio_split(x, COUNT, RATE, LONGEST, cuts, 3), 2);
    assert_true(cuts[1] >= 15050 && cuts[1] <= LONGEST);
    /* Silence all over: as late as possible. */
    fill(x, COUNT, 0, COUNT, 0);
    assert_int_equal(audio_split(x, COUNT, RATE, LONGEST, cuts, 3), 2);
    assert_int_equal(cuts[1], 19950);
    free(x);
}

/* Short pieces: the last half of each is searched. */
static void test_split__short_pieces(void **state)
{
    (void)state;
    enum { COUNT = 5000, LONGEST = 1000 };
    float *x = calloc(COUNT, sizeof *x);
    int64_t cuts[12];
    fill(x, COUNT, 600, 700, 0.01);
    int n = audio_split(x, COUNT, RATE, LONGEST, cuts, 11);
    assert_true(n >= 5 && n <= 10);
    assert_int_equal(cuts[1], 650);
    for (int i = 0; i < n; i++) {
        int64_t length = cuts[i + 1] - cuts[i];
        assert_true(length > 0 && length <= LONGEST);
        assert_true(i == n - 1 || length >= LONGEST / 2);
    }
    assert_int_equal(cuts[n], COUNT);
    free(x);
}

static void test_split__says_when_there_are_too_many(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    float *x = calloc(COUNT, sizeof *x);
    int64_t cuts[5];
    assert_int_equal(audio_split(x, COUNT, RATE, 1000, cuts, 4), -1);
    assert_int_equal(audio_split(x, COUNT, RATE, 0, cuts, 4), -1);
    /* Even where a window does not fit, pieces have samples. */
    assert_int_equal(audio_split(x, 3, RATE, 1, cuts, 4), 3);
    assert_int_equal(cuts[3], 3);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split__leaves_what_fits),
        cmocka_unit_test(test_split__cuts_at_the_quietest_place),
        cmocka_unit_test(test_split__short_pieces),
        cmocka_unit_test(test_split__says_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
