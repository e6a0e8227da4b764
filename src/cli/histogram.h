/* histogram.h - the shape of many numbers, drawn with characters. */
#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

/* Sort `values` and draw them under a heading: least, middle, most, and a bar for each of some
 * equal steps up to where 99 % of them lie; what is above has a bar of its own. */
void histogram_draw(FILE *f, const char *heading, const char *unit, float *values, int64_t count);

/* The value below which this part (0 to 1) of the sorted values lies; 0 for none. */
double histogram_quantile(const float *sorted, int64_t count, double part);

/* Sort ascending. */
void histogram_sort(float *values, int64_t count);

#endif
