/* test_spec_augment.c - what is hidden: how much, where, and by whose key. */
#include "testing.h"

#include "media/spec_augment.h"

enum { FRAMES = 300, BINS = 100 };

static float *ones(int frames, int bins)
{
    float *x = malloc((size_t)frames * (size_t)bins * sizeof *x);
    for (int i = 0; i < frames * bins; i++)
        x[i] = 1;
    return x;
}

/* Which frames (of bin 0) or bins (of frame 0) are hidden; all of each must agree. */
static void hidden_frames(const float *mel, int frames, int bins, bool *out)
{
    for (int i = 0; i < frames; i++) {
        out[i] = mel[i * bins] == 0;
        for (int k = 0; k < bins; k++)
            assert_true(mel[i * bins + k] == (out[i] ? 0.0f : 1.0f));
    }
}

static void hidden_bins(const float *mel, int frames, int bins, bool *out)
{
    for (int k = 0; k < bins; k++) {
        out[k] = mel[k] == 0;
        for (int i = 0; i < frames; i++)
            assert_true(mel[i * bins + k] == (out[k] ? 0.0f : 1.0f));
    }
}

/* One axis of transformers' SpecAugment, by tests/fixtures/spec_augment.py: the mean fraction
 * hidden, and that of the first and the middle position. */
struct known {
    int n;
    double probability;
    int length, least;
    double mean, first, middle;
};
static const struct known reference[] = {
    {300, 0.05, 10, 2, 0.06563, 0.00691, 0.06803},
    {80, 0.1, 27, 0, 0.10013, 0.00549, 0.14812},
    {100, 0.3, 7, 0, 0.26993, 0.04623, 0.28665},
    {12, 0.9, 5, 0, 0.65462, 0.24878, 0.89268},
};

static void check_statistics(const struct known *r, bool is_time)
{
    enum { DRAWS = 20000 };
    int frames = is_time ? r->n : 1, bins = is_time ? 1 : r->n;
    struct spec_augment a = {.time_length = 1, .feature_length = 1};
    *(is_time ? &a.time_prob : &a.feature_prob) = r->probability;
    *(is_time ? &a.time_length : &a.feature_length) = r->length;
    *(is_time ? &a.time_spans : &a.feature_spans) = r->least;
    double sum = 0, first = 0, middle = 0;
    for (uint64_t key = 0; key < DRAWS; key++) {
        float *x = ones(frames, bins);
        spec_augment(&a, key * 77 + 5, x, frames, bins);
        for (int i = 0; i < r->n; i++)
            sum += x[i] == 0;
        first += x[0] == 0;
        middle += x[r->n / 2] == 0;
        free(x);
    }
    /* Five deviations of a fraction over so many draws; the mean's is smaller. */
    assert_near(sum / r->n / DRAWS, r->mean, 5 * 0.5 / sqrt(DRAWS) / 3);
    assert_near(first / DRAWS, r->first, 5 * sqrt(r->first * (1 - r->first) / DRAWS) + 1e-4);
    assert_near(middle / DRAWS, r->middle, 5 * sqrt(r->middle * (1 - r->middle) / DRAWS) + 1e-4);
}

static void test_spec_augment__hides_as_much_as_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reference / sizeof *reference; i++) {
        check_statistics(&reference[i], true);
        check_statistics(&reference[i], false);
    }
}

static void test_spec_augment__hides_whole_frames_and_bins(void **state)
{
    (void)state;
    const struct spec_augment time = {.time_prob = 0.1, .time_length = 7, .feature_length = 1};
    const struct spec_augment feature = {
        .feature_prob = 0.2, .feature_length = 5, .time_length = 1};
    bool is_hidden[FRAMES];
    for (uint64_t key = 0; key < 50; key++) {
        float *x = ones(FRAMES, BINS), *y = ones(FRAMES, BINS);
        spec_augment(&time, key, x, FRAMES, BINS);
        hidden_frames(x, FRAMES, BINS, is_hidden);
        int run = 0, hidden = 0;
        for (int i = 0; i <= FRAMES; i++) {
            if (i < FRAMES && is_hidden[i]) {
                run++;
                hidden++;
                continue;
            }
            assert_true(run == 0 || run >= 7);
            run = 0;
        }
        assert_true(hidden >= 7 && hidden <= 5 * 7);
        spec_augment(&feature, key, y, FRAMES, BINS);
        hidden_bins(y, FRAMES, BINS, is_hidden);
        free(x);
        free(y);
    }
}

static void test_spec_augment__is_a_function_of_its_key(void **state)
{
    (void)state;
    const struct spec_augment a = {.time_prob = 0.1,
                                   .time_length = 10,
                                   .feature_prob = 0.1,
                                   .feature_length = 10,
                                   .time_spans = 2};
    size_t size = (size_t)FRAMES * BINS * sizeof(float);
    int different = 0;
    for (uint64_t key = 0; key < 20; key++) {
        float *x = ones(FRAMES, BINS), *y = ones(FRAMES, BINS), *z = ones(FRAMES, BINS);
        spec_augment(&a, key, x, FRAMES, BINS);
        spec_augment(&a, key, y, FRAMES, BINS);
        spec_augment(&a, key + 1, z, FRAMES, BINS);
        assert_memory_equal(x, y, size);
        different += memcmp(x, z, size) != 0;
        free(x);
        free(y);
        free(z);
    }
    assert_int_equal(different, 20);
}

static void test_spec_augment__does_nothing_unasked(void **state)
{
    (void)state;
    struct spec_augment a = {
        .time_length = 10, .feature_length = 10, .time_spans = 2, .feature_spans = 2};
    float *x = ones(FRAMES, BINS);
    assert_false(spec_augment_is_on(&a));
    spec_augment(&a, 1, x, FRAMES, BINS);
    bool is_hidden[FRAMES];
    hidden_frames(x, FRAMES, BINS, is_hidden);
    for (int i = 0; i < FRAMES; i++)
        assert_false(is_hidden[i]);
    /* A clip shorter than a span keeps its sound; one as long as a span can lose it. */
    a.time_prob = 1;
    assert_true(spec_augment_is_on(&a));
    spec_augment(&a, 1, x, 9, BINS);
    hidden_frames(x, 9, BINS, is_hidden);
    assert_false(is_hidden[0] || is_hidden[8]);
    spec_augment(&a, 1, x, 10, BINS);
    hidden_frames(x, 10, BINS, is_hidden);
    assert_true(is_hidden[0] && is_hidden[9]);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_augment__hides_as_much_as_the_reference),
        cmocka_unit_test(test_spec_augment__hides_whole_frames_and_bins),
        cmocka_unit_test(test_spec_augment__is_a_function_of_its_key),
        cmocka_unit_test(test_spec_augment__does_nothing_unasked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
