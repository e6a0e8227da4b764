/* test_resample.c - pieces, limits, and a tone that must stay itself.  Equality with the soxr
 * package is tested with whole files in test_audio.c. */
#include "testing.h"

#include "media/resample.h"

static void test_resample__does_not_depend_on_the_cuts(void **state)
{
    (void)state;
    struct err e = {0};
    enum { N = 30000 };
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = sinf((float)i * (float)i * 1e-5f);
    static const int pieces[] = {N, 1, 17, 4096};
    struct samples out[4];
    for (int p = 0; p < 4; p++) {
        out[p] = (struct samples){.count_max = N};
        struct resampler *r = resampler_open(44100, 16000, &e);
        assert_non_null(r);
        for (int at = 0; at < N; at += pieces[p]) {
            int n = N - at < pieces[p] ? N - at : pieces[p];
            assert_int_equal(resampler_push(r, x + at, n, &out[p], &e), 0);
        }
        assert_int_equal(resampler_push(r, NULL, 0, &out[p], &e), 0);
        resampler_close(r);
        assert_int_equal(out[p].count, out[0].count);
        assert_memory_equal(out[p].at, out[0].at, (size_t)out[0].count * sizeof(float));
    }
    assert_int_equal(out[0].count, 10884);
    for (int p = 0; p < 4; p++)
        samples_release(&out[p]);
    free(x);
}

static void test_resample__limits_what_comes_out(void **state)
{
    (void)state;
    struct err e = {0};
    float x[1000] = {0};
    struct samples out = {.count_max = 900};
    struct resampler *r = resampler_open(16000, 16000, &e);
    assert_int_equal(resampler_push(r, x, 600, &out, &e), 0);
    assert_int_equal(resampler_push(r, x, 600, &out, &e), -1);
    assert_err(e, ERR_DATA, "more than 900 samples");
    resampler_close(r);
    samples_release(&out);
}

static void test_resample__keeps_a_tone(void **state)
{
    (void)state;
    struct err e = {0};
    enum { N = 48000 };
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = (float)sin(2 * M_PI * 440 * i / 48000);
    struct samples out = {.count_max = N};
    struct resampler *r = resampler_open(48000, 16000, &e);
    assert_int_equal(resampler_push(r, x, N, &out, &e), 0);
    assert_int_equal(resampler_push(r, NULL, 0, &out, &e), 0);
    assert_int_equal(out.count, 16000);
    for (int i = 500; i < 15500; i++)
        assert_near(out.at[i], sin(2 * M_PI * 440 * i / 16000), 1e-4);
    resampler_close(r);
    samples_release(&out);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resample__does_not_depend_on_the_cuts),
        cmocka_unit_test(test_resample__limits_what_comes_out),
        cmocka_unit_test(test_resample__keeps_a_tone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
