/* test_image.c - decoding against Pillow (tests/fixtures/picture.py), damage, limits. */
#include "picture_testing.h"

#include "media/image.h"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* A binary PPM file: "P6", width, height, 255, one white space, pixels. */
static uint8_t *read_ppm(const char *name, int *width, int *height, char **bytes)
{
    size_t size;
    char *ppm = xasprintf("%s.ppm", name);
    *bytes = picture_file("files", ppm, &size);
    free(ppm);
    int end = 0;
    assert_int_equal(sscanf(*bytes, "P6 %d %d 255%n", width, height, &end), 2);
    assert_int_equal(size - (size_t)end - 1, *width * *height * 3);
    return (uint8_t *)*bytes + end + 1;
}

/* Lossy decoders may round otherwise in another version. */
static int tolerance_of(const char *name)
{
    return ends_with(name, ".jpg") || strstr(name, "lossy") || strstr(name, "moving.webp") ||
           strstr(name, "long.webp");
}

static int check_picture(const char *name)
{
    struct image im;
    int width, height, differ = 0, tolerance = tolerance_of(name);
    char *bytes;
    uint8_t *expected = read_ppm(name, &width, &height, &bytes);
    picture_open(&im, name);
    if (im.width != width || im.height != height)
        print_error("%s\n", name);
    assert_int_equal(im.width, width);
    assert_int_equal(im.height, height);
    assert_string_equal(im.format, ends_with(name, ".jpg")   ? "jpeg"
                                   : ends_with(name, ".png") ? "png"
                                                             : "webp");
    for (int i = 0; i < width * height * 3; i++) {
        if (abs(im.pixels[i] - expected[i]) > tolerance)
            print_error("%s, number %d\n", name, i);
        assert_near(im.pixels[i], expected[i], tolerance);
        differ += im.pixels[i] != expected[i];
    }
    image_release(&im);
    free(bytes);
    return differ;
}

typedef void file_fn(const char *name, uint8_t *bytes, size_t size);

/* Call `fn` with a copy of each file. */
static int each_file(const char *folder, file_fn *fn)
{
    struct err e = {0};
    struct dir_list l;
    int count = 0;
    char *path = xasprintf(PICTURES "%s", folder);
    assert_int_equal(dir_list_read(&l, path, &e), 0);
    for (size_t i = 0; i < l.count; i++) {
        if (ends_with(l.names[i], ".ppm"))
            continue;
        size_t size;
        char *bytes = picture_file(folder, l.names[i], &size);
        fn(l.names[i], (uint8_t *)bytes, size);
        free(bytes);
        count++;
    }
    dir_list_release(&l);
    free(path);
    return count;
}

static void compare(const char *name, uint8_t *bytes, size_t size)
{
    assert_true(image_is_known(bytes, size));
    int differ = check_picture(name);
    if (differ)
        print_message("%s: %d levels differ by one\n", name, differ);
}

static void test_image__equals_pillow(void **state)
{
    (void)state;
    assert_true(each_file("files", compare) > 80);
}

/* ----------------------------------------------------------------- damage -- */

/* What may follow from any bytes. */
static int decode_any(const char *name, const uint8_t *bytes, size_t size)
{
    struct err e = {0};
    struct image im;
    int failed = image_decode_within(&im, 1 << 22, bytes, size, &e);
    if ((failed != 0) != (e.kind == ERR_DATA))
        print_error("%s\n", name);
    assert_int_equal(failed != 0, e.kind == ERR_DATA);
    assert_true((im.pixels != NULL) == !failed);
    image_release(&im);
    return failed;
}

static void cut(const char *name, uint8_t *bytes, size_t size)
{
    size_t whole = ends_with(name, "rubbish_behind.jpg") ? size - 21 : size;
    for (size_t n = 0; n < whole; n++) {
        uint8_t *copy = xmemdup(bytes, n);
        if (!decode_any(name, copy, n)) {
            print_error("%s: the first %zu of %zu bytes are a picture\n", name, n, size);
            fail();
        }
        free(copy);
    }
}

static void test_image__every_prefix_is_an_error(void **state)
{
    (void)state;
    each_file("files", cut);
}

static void flip(const char *name, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t old = bytes[i];
        bytes[i] ^= (uint8_t)(1 << i % 8);
        decode_any(name, bytes, size);
        bytes[i] = (uint8_t)~old;
        decode_any(name, bytes, size);
        bytes[i] = old;
    }
}

static void test_image__any_byte_may_be_wrong(void **state)
{
    (void)state;
    each_file("files", flip);
}

/* ---------------------------------------------------------------- refusal -- */

static void check_refused(const char *name, const char *text, const char *hint)
{
    struct err e = {0};
    struct image im;
    size_t size;
    char *bytes = picture_file("refused", name, &size);
    assert_int_equal(image_decode(&im, bytes, size, &e), -1);
    assert_err(e, ERR_DATA, text);
    if (!strstr(e.hint, hint))
        print_error("%s: hint: %s\n", name, e.hint);
    assert_non_null(strstr(e.hint, hint));
    assert_null(im.pixels);
    free(bytes);
}

static void test_image__refuses_by_name(void **state)
{
    (void)state;
    const char *convert = "convert the picture to JPEG, PNG or WebP";
    check_refused("small.gif", "found GIF, expected a JPEG, PNG or WebP picture", convert);
    check_refused("small.bmp", "found BMP", convert);
    check_refused("small.tiff", "found TIFF", convert);
    check_refused("small.avif", "found AVIF", convert);
    check_refused("small.heic", "found HEIC", convert);
    check_refused("small.ico", "found icon", convert);
    check_refused("page.html", "found HTML", "");
    check_refused("pointer.jpg", "Git LFS pointer", "git lfs pull");
    check_refused("text.txt", "found no picture", convert);
    check_refused("empty.png", "the picture is empty (0 bytes)", "");
}

static void test_image__refuses_unusual_jpeg(void **state)
{
    (void)state;
    check_refused("arithmetic.jpg", "arithmetic coding", "save it again");
    check_refused("bits12.jpg", "JPEG", "save it again");
    check_refused("lossless.jpg", "JPEG", "");
    check_refused("two_colours.jpg", "JPEG with 2 colours, expected 1, 3 or 4", "save it again");
}

static void test_image__limits_name_the_sizes(void **state)
{
    (void)state;
    const char *hint = "make the picture smaller";
    check_refused("bomb.jpg", "found 60000 x 60000 pixels, allowed are 178956970 in all", hint);
    check_refused("bomb.png", "found 50000 x 40000 pixels, allowed are 178956970 in all", hint);
    check_refused("bomb.webp", "found 16001 x 16001 pixels, allowed are 178956970 in all", hint);

    static const struct {
        const char *name, *sizes;
    } cases[] = {
        {"444.jpg", "21 x 14"},
        {"png_2_8.png", "21 x 14"},
        {"lossy.webp", "21 x 14"},
        {"moving_corner_lossy.webp", "31 x 20"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0}, fine = {0};
        struct image im;
        size_t size;
        char *bytes = picture_file("files", cases[i].name, &size);
        assert_int_equal(image_decode_within(&im, 100, bytes, size, &e), -1);
        assert_err(e, ERR_DATA, cases[i].sizes);
        assert_non_null(strstr(e.text, "allowed are 100 in all"));
        assert_int_equal(image_decode_within(&im, 31 * 20, bytes, size, &fine), 0);
        image_release(&im);
        free(bytes);
    }
}

static void test_image__names_a_truncated_file(void **state)
{
    (void)state;
    static const char *const names[] = {"progressive.jpg", "png_2_8.png", "lossy.webp"};
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        struct image im;
        size_t size;
        char *bytes = picture_file("files", names[i], &size);
        assert_int_equal(image_decode(&im, bytes, size - 9, &e), -1);
        assert_err(e, ERR_DATA, "truncated: the ");
        free(bytes);
    }
}

static void test_image__knows_its_kinds(void **state)
{
    (void)state;
    assert_false(image_is_known("", 0));
    assert_false(image_is_known("GIF89a", 6));
    assert_false(image_is_known("RIFF\0\0\0\0WAVE", 12));
    assert_false(image_is_known("\xff\xd8", 2));
    assert_true(image_is_known("\xff\xd8\xff", 3));
    assert_true(image_is_known("RIFF\0\0\0\0WEBP", 12));
}

/* ---------------------------------------------------------------- writing -- */

static void test_image__writes_png(void **state)
{
    (void)state;
    struct err e = {0};
    struct image im, again;
    char *folder = testing_folder(), *path = path_join(folder, "a.png");
    pattern_make(&im, 37, 23);
    assert_int_equal(image_write_png(&im, path, &e), 0);
    size_t size;
    char *bytes = file_read(path, 1 << 20, &size, &e);
    assert_int_equal(image_decode(&again, bytes, size, &e), 0);
    assert_ok(e);
    assert_int_equal(again.width, 37);
    assert_int_equal(again.height, 23);
    assert_memory_equal(again.pixels, im.pixels, 37 * 23 * 3);
    free(bytes);
    image_release(&again);

    char *nowhere = path_join(folder, "none/a.png");
    assert_int_equal(image_write_png(&im, nowhere, &e), -1);
    assert_non_null(strstr(e.text, "none/a.png"));
    image_release(&im);
    struct err removed = {0};
    assert_int_equal(dir_remove(folder, &removed), 0);
    free(nowhere);
    free(path);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image__equals_pillow),
        cmocka_unit_test(test_image__every_prefix_is_an_error),
        cmocka_unit_test(test_image__any_byte_may_be_wrong),
        cmocka_unit_test(test_image__refuses_by_name),
        cmocka_unit_test(test_image__refuses_unusual_jpeg),
        cmocka_unit_test(test_image__limits_name_the_sizes),
        cmocka_unit_test(test_image__names_a_truncated_file),
        cmocka_unit_test(test_image__knows_its_kinds),
        cmocka_unit_test(test_image__writes_png),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
