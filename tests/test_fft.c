/* test_fft.c - against the definition of the discrete Fourier transform. */
#include "testing.h"

#include "media/fft.h"

static void check(int n)
{
    double *x = calloc((size_t)n, sizeof *x), *work = calloc(2 * (size_t)n, sizeof *work);
    double *found = calloc((size_t)n, sizeof *found), *powers = calloc((size_t)n, sizeof *powers);
    for (int i = 0; i < n; i++)
        x[i] = sin(i * 1.3) + (i * 7919 % 101) / 101.0;
    struct fft *f = fft_new(n);
    fft_magnitudes(f, x, found, work);
    fft_powers(f, x, powers, work);
    for (int k = 0; k <= n / 2; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < n; i++) {
            re += x[i] * cos(2 * M_PI * ((double)i * k / n));
            im -= x[i] * sin(2 * M_PI * ((double)i * k / n));
        }
        assert_near(found[k], sqrt(re * re + im * im), 1e-9 * n);
        assert_near(powers[k], re * re + im * im, 1e-9 * n * n);
    }
    fft_free(f);
    free(x);
    free(work);
    free(found);
    free(powers);
}

static void test_fft__equals_the_definition(void **state)
{
    (void)state;
    for (int n = 4; n <= 1024; n *= 2)
        check(n);
    /* Factors of three and five: alone, squared, and all together. */
    static const int mixed[] = {6, 10, 12, 18, 20, 30, 50, 90, 250, 360, 400, 480, 486, 1250};
    for (size_t i = 0; i < sizeof mixed / sizeof *mixed; i++)
        check(mixed[i]);
}

static void test_fft__knows_its_sizes(void **state)
{
    (void)state;
    assert_true(fft_is_size(4) && fft_is_size(400) && fft_is_size(512) && fft_is_size(FFT_MAX));
    assert_false(fft_is_size(2) || fft_is_size(0) || fft_is_size(-4) || fft_is_size(2 * FFT_MAX));
    assert_false(fft_is_size(25) || fft_is_size(14) || fft_is_size(22) || fft_is_size(3998));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fft__equals_the_definition),
        cmocka_unit_test(test_fft__knows_its_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
