/* test_fft.c - against the definition of the discrete Fourier transform. */
#include "testing.h"

#include "media/fft.h"

static void check(int n)
{
    double *x = calloc((size_t)n, sizeof *x), *work = calloc(2 * (size_t)n, sizeof *work);
    double *found = calloc((size_t)n, sizeof *found);
    for (int i = 0; i < n; i++)
        x[i] = sin(i * 1.3) + (i * 7919 % 101) / 101.0;
    struct fft *f = fft_new(n);
    fft_magnitudes(f, x, found, work);
    for (int k = 0; k <= n / 2; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < n; i++) {
            re += x[i] * cos(2 * M_PI * ((double)i * k / n));
            im -= x[i] * sin(2 * M_PI * ((double)i * k / n));
        }
        assert_near(found[k], sqrt(re * re + im * im), 1e-9 * n);
    }
    fft_free(f);
    free(x);
    free(work);
    free(found);
}

static void test_fft__equals_the_definition(void **state)
{
    (void)state;
    for (int n = 4; n <= 1024; n *= 2)
        check(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fft__equals_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
