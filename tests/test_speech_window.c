/* test_speech_window.c - tokens of a window cut into segments. */
#include "train/speech_window.h"

#include "testing.h"

enum { TIME = 1000, FRAMES = 200, PIECES = 16 };      /* <|0.00|>; a window of 2 s */

/* Cut `count` ids; the first piece goes to out[0]. */
static int cut(const int32_t *ids, int count, struct speech_piece *out, int *advance)
{
    struct ids in = {.at = (int32_t *)(uintptr_t)ids, .count = count};
    assert_true(count < PIECES);
    return speech_cut(&in, TIME, FRAMES, out, advance);
}

static void expect(const struct speech_piece *p, int from, int to, int start, int end)
{
    assert_int_equal(p->from, from);
    assert_int_equal(p->to, to);
    assert_int_equal(p->start, start);
    assert_int_equal(p->end, end);
}

static void test_speech_window__single_time_at_the_end(void **state)
{
    (void)state;
    struct speech_piece p[PIECES];
    int advance;
    const int32_t ids[] = {TIME, 1, TIME + 20, TIME + 22, 2, 3, TIME + 70};
    assert_int_equal(cut(ids, 7, p, &advance), 2);
    expect(&p[0], 0, 3, 0, 20);
    expect(&p[1], 3, 7, 22, 70);
    assert_int_equal(advance, FRAMES);
}

static void test_speech_window__unfinished_segment_is_for_the_next(void **state)
{
    (void)state;
    struct speech_piece p[PIECES];
    int advance;
    const int32_t ids[] = {TIME + 1, 1, TIME + 20, TIME + 20, 2, 3};
    assert_int_equal(cut(ids, 6, p, &advance), 1);
    expect(&p[0], 0, 4, 1, 20);
    assert_int_equal(advance, 40);
    /* Likewise when the window ends with two times. */
    assert_int_equal(cut(ids, 4, p, &advance), 1);
    expect(&p[0], 0, 4, 1, 20);
    assert_int_equal(advance, 40);
}

static void test_speech_window__without_pairs_it_is_one_segment(void **state)
{
    (void)state;
    struct speech_piece p[PIECES];
    int advance;
    const int32_t ids[] = {TIME, 1, TIME + 30, 2};
    assert_int_equal(cut(ids, 4, p, &advance), 1);
    expect(&p[0], 0, 4, 0, 30);
    assert_int_equal(advance, FRAMES);
    assert_int_equal(cut(ids, 2, p, &advance), 1);      /* <|0.00|> alone says no end */
    expect(&p[0], 0, 2, 0, FRAMES / 2);
    assert_int_equal(cut(ids + 1, 1, p, &advance), 1);
    expect(&p[0], 0, 1, 0, FRAMES / 2);
    assert_int_equal(cut(ids, 0, p, &advance), 1);
    expect(&p[0], 0, 0, 0, FRAMES / 2);
    assert_int_equal(advance, FRAMES);
}

/* A model that was not asked for times may write any; the recording must come to its end. */
static void test_speech_window__always_advances(void **state)
{
    (void)state;
    struct speech_piece p[PIECES];
    int advance;
    const int32_t ids[] = {TIME, TIME, 5, TIME, TIME};
    assert_int_equal(cut(ids, 5, p, &advance), 2);
    assert_int_equal(advance, FRAMES);
    const int32_t text_first[] = {5, TIME + 9, TIME + 9, 6, TIME + 11};
    assert_int_equal(cut(text_first, 5, p, &advance), 2);
    expect(&p[0], 0, 2, 0, 9);
    expect(&p[1], 2, 5, 9, 11);
}

/* Expected are transformers' numbers (_retrieve_compression_ratio). */
static void test_speech_window__compression_is_that_of_transformers(void **state)
{
    (void)state;
    int32_t ids[300];
    struct ids in = {.at = ids, .count = 40};
    for (int i = 0; i < 40; i++)
        ids[i] = 7;
    assert_near(speech_compression(&in, 601, 602), 82.0 / 15, 1e-12);
    in.count = 60;
    for (int i = 0; i < 60; i++)
        ids[i] = (i * i * 31 + 7) % 51865;
    assert_near(speech_compression(&in, -1, 51865), 120.0 / 131, 1e-12);
    in.count = 300;
    for (int i = 0; i < 300; i++)
        ids[i] = 5;
    assert_near(speech_compression(&in, -1, 70000), 900.0 / 19, 1e-12);
    in.count = 2;
    ids[0] = 3;
    ids[1] = 1;
    assert_near(speech_compression(&in, 2, 200), 3.0 / 11, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speech_window__single_time_at_the_end),
        cmocka_unit_test(test_speech_window__unfinished_segment_is_for_the_next),
        cmocka_unit_test(test_speech_window__without_pairs_it_is_one_segment),
        cmocka_unit_test(test_speech_window__always_advances),
        cmocka_unit_test(test_speech_window__compression_is_that_of_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
