/* resize.c - see resize.h.
 *
 * The rule is that of PyTorch's interpolate on 8-bit pictures (and of Pillow, where it comes from):
 * weights are integers with as many fractional bits as let the largest fit into 16 bits; columns
 * first, rounded to 8 bits, then rows.  The sums are integers, so their order is free.
 */
#include "media/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    RGB = 3,
    STRIP = 16,                    /* rows that are resized together */
    LANES = STRIP * RGB,           /* numbers of a column of a strip */
    RUN = 32,                      /* numbers of a row that are summed together */
    FRACTION_BITS_MAX = 22,
};

/* Which pixels of a side make pixel i of the new side: first[i] ... first[i] + count[i] - 1, by
 * weights[i * stride ...] / 2^bits. */
struct taps {
    int *first, *count;
    int16_t *weights;
    int stride, bits;
};

/* ---------------------------------------------------------------- weights -- */

/* Keys' cubic with a = -1/2. */
static double cubic(double x)
{
    double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

/* The weights of pixel i, which add up to 1, at out[0 .. stride); the rest is left as it is. */
static void weigh(struct taps *t, int i, int from, double scale, double *out)
{
    double widen = scale > 1 ? scale : 1, support = 2 * widen;
    double center = scale * (i + 0.5), sum = 0;

    int first = (int)(center - support + 0.5);
    if (first < 0)
        first = 0;
    int end = (int)(center + support + 0.5);
    if (end > from)
        end = from;
    int count = end - first < t->stride ? end - first : t->stride;

    for (int j = 0; j < count; j++) {
        out[j] = cubic((j + first - center + 0.5) * (1 / widen));
        sum += out[j];
    }
    for (int j = 0; j < count; j++)
        out[j] /= sum;
    t->first[i] = first;
    t->count[i] = count;
}

static int fraction_bits(const double *weights, size_t n)
{
    double max = 0;
    for (size_t i = 0; i < n; i++)
        if (weights[i] > max)
            max = weights[i];
    int bits = 0;
    while (bits < FRACTION_BITS_MAX && (int)(0.5 + max * (1 << (bits + 1))) < 1 << 15)
        bits++;
    return bits;
}

static void taps_init(struct taps *t, int from, int to)
{
    double scale = (double)from / to, support = 2 * (scale > 1 ? scale : 1);
    t->stride = 2 * (int)ceil(support) + 1;
    size_t n = (size_t)to * (size_t)t->stride;
    double *exact = xcalloc(n, sizeof *exact);

    t->first = xcalloc((size_t)to, sizeof *t->first);
    t->count = xcalloc((size_t)to, sizeof *t->count);
    t->weights = xcalloc(n, sizeof *t->weights);
    for (int i = 0; i < to; i++)
        weigh(t, i, from, scale, exact + (size_t)i * (size_t)t->stride);
    t->bits = fraction_bits(exact, n);
    for (size_t i = 0; i < n; i++)
        t->weights[i] = (int16_t)(exact[i] * (1 << t->bits) + (exact[i] < 0 ? -0.5 : 0.5));
    free(exact);
}

static void taps_release(struct taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weights);
}

/* ------------------------------------------------------------------- sums -- */

static inline uint8_t level_of(int32_t sum, int bits)
{
    sum >>= bits;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* With n a constant, these loops become vector instructions. */
static inline void add_weighted(int32_t *sum, const uint8_t *x, int16_t weight, int n)
{
    for (int k = 0; k < n; k++)
        sum[k] += (int16_t)x[k] * weight;
}

static inline void start(int32_t *sum, int bits, int n)
{
    for (int k = 0; k < n; k++)
        sum[k] = (int32_t)(1u << bits >> 1);
}

/* ---------------------------------------------------------------- columns -- */

/* Rows y ... y + rows - 1 as columns [width, STRIP, RGB]; rows that are not there stay as they
 * are, and what becomes of them is not used. */
static void turn_strip(uint8_t *columns, const struct image *from, int y, int rows)
{
    size_t row_size = (size_t)from->width * RGB;
    for (int r = 0; r < rows; r++) {
        const uint8_t *in = from->pixels + (size_t)(y + r) * row_size;
        uint8_t *out = columns + r * RGB;
        for (int x = 0; x < from->width; x++, in += RGB, out += LANES) {
            out[0] = in[0];
            out[1] = in[1];
            out[2] = in[2];
        }
    }
}

/* `to` has the height of `from` and another width. */
static void resize_columns(struct image *to, const struct image *from)
{
    struct taps t;
    taps_init(&t, from->width, to->width);
    uint8_t *columns = xcalloc((size_t)from->width, LANES);
    size_t row_size = (size_t)to->width * RGB;

    for (int y = 0; y < from->height; y += STRIP) {
        int rows = from->height - y < STRIP ? from->height - y : STRIP;
        turn_strip(columns, from, y, rows);
        uint8_t *out = to->pixels + (size_t)y * row_size;
        for (int x = 0; x < to->width; x++, out += RGB) {
            const uint8_t *in = columns + (size_t)t.first[x] * LANES;
            const int16_t *weights = t.weights + (size_t)x * (size_t)t.stride;
            int32_t sum[LANES];
            start(sum, t.bits, LANES);
            for (int j = 0; j < t.count[x]; j++, in += LANES)
                add_weighted(sum, in, weights[j], LANES);
            for (int r = 0; r < rows; r++)
                for (int k = 0; k < RGB; k++)
                    out[(size_t)r * row_size + (size_t)k] = level_of(sum[r * RGB + k], t.bits);
        }
    }
    free(columns);
    taps_release(&t);
}

/* ------------------------------------------------------------------- rows -- */

/* One row of the result: `in` is the first of the rows that make it. */
static void mix_rows(uint8_t *out, const uint8_t *in, size_t row_size, const int16_t *weights,
                     int count, int bits)
{
    int32_t sum[RUN];
    size_t x = 0;
    for (; x + RUN <= row_size; x += RUN) {
        start(sum, bits, RUN);
        for (int j = 0; j < count; j++)
            add_weighted(sum, in + (size_t)j * row_size + x, weights[j], RUN);
        for (int k = 0; k < RUN; k++)
            out[x + (size_t)k] = level_of(sum[k], bits);
    }
    int rest = (int)(row_size - x);
    start(sum, bits, rest);
    for (int j = 0; j < count; j++)
        add_weighted(sum, in + (size_t)j * row_size + x, weights[j], rest);
    for (int k = 0; k < rest; k++)
        out[x + (size_t)k] = level_of(sum[k], bits);
}

/* `to` has the width of `from` and another height. */
static void resize_rows(struct image *to, const struct image *from)
{
    struct taps t;
    taps_init(&t, from->height, to->height);
    size_t row_size = (size_t)to->width * RGB;
    for (int y = 0; y < to->height; y++)
        mix_rows(to->pixels + (size_t)y * row_size, from->pixels + (size_t)t.first[y] * row_size,
                 row_size, t.weights + (size_t)y * (size_t)t.stride, t.count[y], t.bits);
    taps_release(&t);
}

/* ------------------------------------------------------------------ whole -- */

static void allocate(struct image *im, const struct image *like, int width, int height)
{
    memset(im, 0, sizeof *im);
    memcpy(im->format, like->format, sizeof im->format);
    im->width = width;
    im->height = height;
    im->pixels = xmalloc((size_t)width * (size_t)height * RGB);
}

void image_resize(struct image *to, const struct image *from, int width, int height)
{
    struct image narrow = *from;
    if (width != from->width) {
        allocate(&narrow, from, width, from->height);
        resize_columns(&narrow, from);
    }
    if (height == from->height && narrow.pixels != from->pixels) {
        *to = narrow;
        return;
    }
    allocate(to, from, width, height);
    if (height == from->height)
        memcpy(to->pixels, narrow.pixels, (size_t)width * (size_t)height * RGB);
    else
        resize_rows(to, &narrow);
    if (narrow.pixels != from->pixels)
        image_release(&narrow);
}
