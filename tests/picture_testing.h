/* picture_testing.h - the pictures that tests/fixtures/picture.py makes, and its way to write down
 * what the reference makes of them. */
#ifndef PICTURE_TESTING_H
#define PICTURE_TESTING_H

#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "media/image.h"

#define PICTURES "tests/data/picture/"

/* pattern(w, h) of tests/fixtures/picture.py. */
static inline void pattern_make(struct image *im, int width, int height)
{
    memset(im, 0, sizeof *im);
    im->width = width;
    im->height = height;
    im->pixels = xmalloc((size_t)width * (size_t)height * 3);
    uint8_t *out = im->pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *out++ =
                    (uint8_t)((x * x * 13 + y * y * 7 + x * y * 5 + c * 91 + (x ^ (y * 3)) * 11) >>
                              3);
}

static inline char *picture_file(const char *folder, const char *name, size_t *size)
{
    struct err e = {0};
    char *path = xasprintf(PICTURES "%s/%s", folder, name);
    char *bytes = file_read(path, 1 << 24, size, &e);
    assert_ok(e);
    free(path);
    return bytes;
}

static inline void picture_open(struct image *im, const char *name)
{
    struct err e = {0};
    size_t size;
    char *bytes = picture_file("files", name, &size);
    int failed = image_decode(im, bytes, size, &e);
    if (failed)
        print_error("%s\n", name);
    assert_ok(e);
    assert_int_equal(failed, 0);
    free(bytes);
}

/* `found` [n] agrees with the case's "sum", "step" and "levels"; returns how many differ at all. */
static inline int check_levels(const json_t *c, const uint8_t *found, size_t n, int tolerance)
{
    struct err e = {0};
    int64_t sum = json_need_int(c, "sum", &e), found_sum = 0;
    size_t step = (size_t)json_need_int(c, "step", &e);
    const char *digits = json_need_str(c, "levels", &e);
    assert_ok(e);
    assert_int_equal(strlen(digits) / 2, (n + step - 1) / step);
    int differ = 0;
    for (size_t i = 0; i < n; i++) {
        found_sum += found[i];
        if (i % step)
            continue;
        unsigned level;
        assert_int_equal(sscanf(digits + i / step * 2, "%2x", &level), 1);
        assert_near(found[i], level, tolerance);
        differ += found[i] != level;
    }
    assert_near(found_sum, sum, (double)n * 0.002 * tolerance);
    return differ;
}

#endif
