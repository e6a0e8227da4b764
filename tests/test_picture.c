/* test_picture.c - patches against those of transformers (tests/fixtures/picture.py), settings. */
#include "picture_testing.h"

#include "media/picture.h"

static void open_case(struct image *im, const json_t *c)
{
    struct err e = {0};
    const char *file = json_get_str(c, "file", NULL, &e);
    const json_t *from = json_get_array(c, "from", &e);
    if (file)
        picture_open(im, file);
    else
        pattern_make(im, (int)json_integer_value(json_array_get(from, 0)),
                     (int)json_integer_value(json_array_get(from, 1)));
}

static void check_case(const json_t *c, size_t i)
{
    struct err e = {0};
    struct image im;
    struct picture p;
    struct picture_config config;
    picture_config_gemma4(&config, json_get_bool(c, "merged", false, &e));
    open_case(&im, c);
    int failed = picture_make(&p, &config, (int)json_need_int(c, "budget", &e), &im, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_int_equal(p.across, json_need_int(c, "across", &e));
    assert_int_equal(p.down, json_need_int(c, "down", &e));
    assert_int_equal(p.soft_tokens, json_need_int(c, "soft_tokens", &e));
    assert_int_equal(picture_patches(&config, p.soft_tokens), p.across * p.down);
    size_t n = (size_t)(p.across * p.down * picture_patch_numbers(&config));
    int differ = check_levels(c, p.patches, n, 1);
    if (differ)
        print_message("case %zu: %d levels differ by one\n", i, differ);
    picture_release(&p);
    image_release(&im);
}

static void test_picture__equals_transformers(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *cases = json_read_file(PICTURES "patches.json", 1 << 24, &e), *c;
    assert_ok(e);
    size_t i;
    json_array_foreach(cases, i, c) check_case(c, i);
    assert_true(i > 50);
    json_decref(cases);
}

static void test_picture__goes_back_to_an_image(void **state)
{
    (void)state;
    for (int merged = 0; merged < 2; merged++) {
        struct err e = {0};
        struct image im, again;
        struct picture p;
        struct picture_config c;
        picture_config_gemma4(&c, merged);
        pattern_make(&im, 10 * 48, 7 * 48);             /* fits 70 tokens as it is */
        assert_int_equal(picture_make(&p, &c, 70, &im, &e), 0);
        assert_int_equal(p.soft_tokens, 70);
        picture_to_image(&again, &p, &c);
        assert_int_equal(again.width, im.width);
        assert_int_equal(again.height, im.height);
        assert_memory_equal(again.pixels, im.pixels, (size_t)(im.width * im.height * 3));
        image_release(&again);
        image_release(&im);
        picture_release(&p);
    }
}

static void test_picture__sizes_keep_to_the_budget(void **state)
{
    (void)state;
    struct picture_config c;
    picture_config_gemma4(&c, false);
    for (int i = 0; i < PICTURE_BUDGETS; i++) {
        for (int k = 1; k < 4000; k += 13) {
            struct err e = {0};
            int w, h, budget = picture_budgets[i];
            assert_int_equal(picture_size(&c, budget, k, 4001 - k, &w, &h, &e), 0);
            assert_true(w % 48 == 0 && h % 48 == 0 && w > 0 && h > 0);
            assert_true(w / 48 * (h / 48) <= budget);
        }
        struct err e = {0};
        int w, h;
        assert_int_equal(picture_size(&c, picture_budgets[i], IMAGE_SIDE_MAX, 1, &w, &h, &e), 0);
        assert_int_equal(w, picture_budgets[i] * 48);
        assert_int_equal(h, 48);
    }
    struct err e = {0}, none = {0};
    int w, h;
    assert_int_equal(picture_size(&c, 0, 10, 10, &w, &h, &e), -1);
    assert_err(e, ERR_DATA, "10 x 10 pixels do not fit into 0 soft tokens of 48 x 48 pixels");
    assert_int_equal(picture_size(&c, 70, 0, 10, &w, &h, &none), -1);
    assert_err(none, ERR_DATA, "found 0 x 10 pixels");
}

/* --------------------------------------------------------------- settings -- */

static void read_config(struct picture_config *c, const char *name, bool is_merged)
{
    struct err e = {0};
    char *dir = xasprintf(PICTURES "config/%s", name);
    int failed = picture_config_read(c, dir, is_merged, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_int_equal(c->is_merged, is_merged);
    free(dir);
}

static void test_picture__reads_settings(void **state)
{
    (void)state;
    struct picture_config c;
    read_config(&c, "split", false);
    assert_int_equal(c.tokens_max, 560);
    assert_int_equal(c.frame_tokens_max, 140);
    assert_int_equal(c.frames_max, 16);
    assert_int_equal(picture_patch_numbers(&c), 768);
    read_config(&c, "unified", true);
    assert_int_equal(c.tokens_max, 280);
    assert_int_equal(c.frame_tokens_max, 70);
    assert_int_equal(c.frames_max, 32);
    assert_int_equal(picture_patch_numbers(&c), 6912);
    assert_int_equal(picture_patches(&c, 70), 70);
    read_config(&c, "one", false);
    assert_int_equal(c.tokens_max, 1120);
    assert_int_equal(c.frame_tokens_max, 70);
    assert_int_equal(c.frames_max, 8);
    assert_int_equal(picture_patches(&c, 70), 630);
    read_config(&c, "none", false);
    assert_int_equal(c.patch, 16);
    assert_int_equal(c.pool, 3);
    assert_int_equal(c.tokens_max, 280);
}

static void check_bad(const char *folder, const char *images, const char *videos, const char *text)
{
    struct err e = {0}, w = {0};
    struct picture_config c;
    char *path = path_join(folder, "processor_config.json");
    char *json =
        xasprintf("{\"image_processor\": {%s}, \"video_processor\": {%s}}", images, videos);
    assert_int_equal(file_write(path, json, strlen(json), &w), 0);
    assert_int_equal(picture_config_read(&c, folder, false, &e), *text ? -1 : 0);
    assert_err(e, *text ? ERR_USAGE : ERR_NONE, text);
    if (*text)
        assert_non_null(strstr(e.text, "processor_config.json: "));
    free(json);
    free(path);
}

static void test_picture__refuses_other_settings(void **state)
{
    (void)state;
    struct err e = {0};
    char *f = testing_folder();
    check_bad(f, "", "", "");
    check_bad(f, "\"do_normalize\": false, \"image_mean\": [0.5, 0.5, 0.5]", "", "");
    check_bad(f, "\"do_normalize\": true, \"image_mean\": 0, \"image_std\": [1, 1, 1]", "", "");
    check_bad(f, "\"do_normalize\": true, \"image_mean\": [0, 0, 0.5]", "",
              "image_processor: image_mean: found 0.5, only 0 is supported");
    check_bad(f, "\"do_normalize\": true, \"image_std\": 0.5", "", "image_std: found 0.5");
    check_bad(f, "\"do_normalize\": true, \"image_std\": [\"1\"]", "", "image_std: found a string");
    check_bad(f, "\"max_soft_tokens\": 256", "",
              "max_soft_tokens: found 256, expected 70, 140, 280, 560 or 1120");
    check_bad(f, "", "\"max_soft_tokens\": 71", "video_processor: max_soft_tokens: found 71");
    check_bad(f, "\"do_resize\": false", "", "do_resize: only true is supported");
    check_bad(f, "\"do_rescale\": false", "", "do_rescale: only true is supported");
    check_bad(f, "\"rescale_factor\": 0.0078125", "", "rescale_factor: found 0.0078125");
    check_bad(f, "\"resample\": 2", "", "resample: found 2, only 3 (bicubic) is supported");
    check_bad(f, "\"patch_size\": 0", "", "patch_size: found 0, allowed are 1 to 256");
    check_bad(f, "\"pooling_kernel_size\": 17", "", "pooling_kernel_size: found 17");
    check_bad(f, "", "\"patch_size\": 14", "found 14 and 3 for videos, 16 and 3 for images");
    check_bad(f, "", "\"do_sample_frames\": false", "do_sample_frames: only true is supported");
    check_bad(f, "", "\"fps\": 2", "fps: frames are chosen by num_frames");
    check_bad(f, "", "\"fps\": null, \"num_frames\": 0", "num_frames: found 0, allowed are 1 to");
    check_bad(f, "\"image_processor_type\": \"SiglipImageProcessor\"", "",
              "image_processor_type: \"SiglipImageProcessor\" is not supported");
    check_bad(f, "", "\"video_processor_type\": \"Gemma4ImageProcessor\"",
              "video_processor_type: \"Gemma4ImageProcessor\" is not supported");
    assert_int_equal(dir_remove(f, &e), 0);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture__equals_transformers),
        cmocka_unit_test(test_picture__goes_back_to_an_image),
        cmocka_unit_test(test_picture__sizes_keep_to_the_budget),
        cmocka_unit_test(test_picture__reads_settings),
        cmocka_unit_test(test_picture__refuses_other_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
