/* histogram.c - see histogram.h. */
#include "cli/histogram.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BARS = 12, BAR_CELLS = 40 };

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

void histogram_sort(float *values, int64_t count)
{
    if (count)
        qsort(values, (size_t)count, sizeof *values, compare);
}

double histogram_quantile(const float *sorted, int64_t count, double part)
{
    if (!count)
        return 0;
    int64_t i = (int64_t)(part * (double)(count - 1) + 0.5);
    return (double)sorted[i];
}

/* The next of 1, 2, 5, 10, ... at or above `x`; whole numbers have no part of 1. */
static double round_step(double x, bool is_whole)
{
    static const double steps[] = {1, 2, 5, 10};
    double unit = pow(10, floor(log10(x)));
    if (is_whole && x < 1)
        return 1;
    for (int i = 0; i < 4; i++)
        if (steps[i] * unit >= x * 0.999999)
            return steps[i] * unit;
    return 10 * unit;
}

static bool are_whole(const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (floorf(values[i]) < values[i])
            return false;
    return true;
}

/* A bar of eighths of a cell, so that small differences show. */
static void draw_bar(FILE *f, double cells)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int whole = (int)cells;
    for (int i = 0; i < whole; i++)
        fputs("█", f);
    int rest = (int)((cells - whole) * 8);
    /* Something must not look like nothing. */
    if (whole == 0 && rest == 0 && cells > 0)
        rest = 1;
    fputs(eighths[rest], f);
}

static void draw_row(FILE *f, double low, double high, int64_t n, int64_t most, int digits)
{
    char range[64];
    if (isfinite(high))
        snprintf(range, sizeof range, "%.*f - %.*f", digits, low, digits, high);
    else
        snprintf(range, sizeof range, "from %.*f", digits, low);
    fprintf(f, "  %17s %9lld%s", range, (long long)n, n ? "  " : "");
    draw_bar(f, most ? (double)n * BAR_CELLS / (double)most : 0);
    fputc('\n', f);
}

void histogram_draw(FILE *f, const char *heading, const char *unit, float *values, int64_t count)
{
    if (!count)
        return;
    histogram_sort(values, count);
    double least = (double)values[0], most = (double)values[count - 1];
    fprintf(f, "\n%s (%s)   least %.4g, half below %.4g, 95 %% below %.4g, most %.4g\n", heading,
            unit, least, histogram_quantile(values, count, 0.5),
            histogram_quantile(values, count, 0.95), most);
    double span = histogram_quantile(values, count, 0.99) - least;
    if (span <= 0)
        span = most - least;
    if (span <= 0) {
        draw_row(f, least, most, count, count, least < 10 ? 1 : 0);
        return;
    }
    double step = round_step(span / BARS, are_whole(values, count));
    double low = floor(least / step) * step;
    int digits = step < 0.999 ? (int)ceil(-log10(step) - 1e-9) : 0;
    int64_t counts[BARS + 2] = {0}, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        int at = (int)(((double)values[i] - low) / step);
        counts[at > BARS + 1 ? BARS + 1 : at]++;
    }
    int last = BARS + 1;
    while (last > 0 && !counts[last])
        last--;
    for (int i = 0; i <= last; i++)
        largest = counts[i] > largest ? counts[i] : largest;
    for (int i = 0; i <= last; i++)
        draw_row(f, low + i * step, i > BARS ? INFINITY : low + (i + 1) * step, counts[i], largest,
                 digits);
}
