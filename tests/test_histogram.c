/* test_histogram.c - bars drawn with characters: every value in one of them. */
#include "testing.h"

#include "cli/histogram.h"

/* What is drawn for these values; the caller frees. */
static char *draw(float *values, int64_t count)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    histogram_draw(f, "things", "units", values, count);
    fclose(f);
    return text;
}

/* The numbers behind the ranges, added up. */
static long long add_counts(const char *text)
{
    long long sum = 0;
    int lines = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        long long n;
        double low, high;
        if (sscanf(line, " %lf - %lf %lld", &low, &high, &n) == 3 ||
            sscanf(line, " from %lf %lld", &low, &n) == 2) {
            sum += n;
            lines++;
        }
        if (!strchr(line, '\n'))
            break;
    }
    assert_true(lines <= 14);
    return sum;
}

static void test_histogram__every_value_is_in_a_bar(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 3000; n = n * 3 + 1) {
        float *values = calloc((size_t)n, sizeof *values);
        assert_non_null(values);
        for (int scale = -3; scale < 6; scale++) {
            for (int64_t i = 0; i < n; i++)
                values[i] = (float)((double)((i * 7919) % 1009 + 1) * pow(10, scale));
            char *text = draw(values, n);
            assert_int_equal(add_counts(text), n);
            free(text);
        }
        free(values);
    }
}

static void test_histogram__edges(void **state)
{
    (void)state;
    float equal[] = {4, 4, 4}, zeros[] = {0, 0}, two[] = {0, 1}, far[101];
    char *text = draw(equal, 3);
    assert_non_null(strstr(text, "things (units)   least 4, half below 4, 95 % below 4, most 4"));
    assert_int_equal(add_counts(text), 3);
    free(text);
    text = draw(zeros, 2);
    assert_int_equal(add_counts(text), 2);
    free(text);
    text = draw(two, 2);
    assert_int_equal(add_counts(text), 2);
    /* Whole numbers are not cut into parts of 1. */
    assert_null(strstr(text, "0.5"));
    free(text);
    text = draw(NULL, 0);
    assert_string_equal(text, "");
    free(text);
    /* One value that is far out does not press the others into one bar. */
    for (int i = 0; i < 101; i++)
        far[i] = (float)(i % 50);
    far[100] = 1e6f;
    text = draw(far, 101);
    assert_non_null(strstr(text, "from "));
    assert_int_equal(add_counts(text), 101);
    assert_non_null(strstr(text, "0 - 5 "));
    free(text);
}

static void test_histogram__quantiles(void **state)
{
    (void)state;
    float values[] = {5, 1, 4, 2, 3};
    histogram_sort(values, 5);
    for (int i = 0; i < 5; i++)
        assert_near(values[i], i + 1, 0);
    assert_near(histogram_quantile(values, 5, 0), 1, 0);
    assert_near(histogram_quantile(values, 5, 0.5), 3, 0);
    assert_near(histogram_quantile(values, 5, 1), 5, 0);
    assert_near(histogram_quantile(values, 0, 0.5), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram__every_value_is_in_a_bar),
        cmocka_unit_test(test_histogram__edges),
        cmocka_unit_test(test_histogram__quantiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
