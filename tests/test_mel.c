/* test_mel.c - features against transformers' extractors (tests/fixtures/mel.py,
 * mel_whisper.py). */
#include "testing.h"

#include "base/file.h"
#include "base/json.h"
#include "media/mel.h"

#define DATA "tests/data/mel/"

static float *read_floats(const char *path, int64_t *count)
{
    struct err e = {0};
    size_t size;
    float *x = (float *)file_read(path, 1 << 24, &size, &e);
    assert_ok(e);
    *count = (int64_t)(size / sizeof(float));
    return x;
}

static struct mel *open_mel_at(const char *data, const char *config)
{
    struct err e = {0};
    struct mel_config c;
    char dir[200];
    snprintf(dir, sizeof dir, "%s%s", data, config);
    int failed = mel_config_read(&c, dir, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    struct mel *m = mel_new(&c, &e);
    assert_ok(e);
    return m;
}

static struct mel *open_mel(const char *config)
{
    return open_mel_at(DATA, config);
}

static void check_case(const json_t *c)
{
    struct err e = {0};
    const char *name = json_need_str(c, "name", &e);
    int frames = (int)json_need_int(c, "frames", &e), valid = (int)json_need_int(c, "valid", &e);
    struct mel *m = open_mel(json_need_str(c, "config", &e));
    char path[200];
    int64_t samples, expected_count;
    snprintf(path, sizeof path, DATA "%s.samples.f32", name);
    float *x = read_floats(path, &samples);
    snprintf(path, sizeof path, DATA "%s.mel.f32", name);
    float *expected = read_floats(path, &expected_count);
    int bins = mel_settings(m)->bins;

    assert_int_equal(expected_count, frames * bins);
    assert_int_equal(mel_frames(m, samples), frames);
    assert_int_equal(mel_frames_valid(m, samples), valid);
    assert_int_equal(mel_soft_tokens(m, valid), json_need_int(c, "tokens", &e));
    assert_ok(e);
    float *found = malloc((size_t)((frames + 3) * bins) * sizeof *found);
    mel_compute(m, x, samples, frames + 3, found);
    for (int i = 0; i < frames * bins; i++)
        assert_near(found[i], expected[i], 1e-5);
    for (int i = frames * bins; i < (frames + 3) * bins; i++)
        assert_true(found[i] == 0);
    free(found);
    free(expected);
    free(x);
    mel_free(m);
}

static void test_mel__equals_the_reference(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *file = json_read_file(DATA "cases.json", 1 << 20, &e);
    assert_ok(e);
    json_t *cases = json_need_array(file, "cases", &e), *c;
    assert_true(json_array_size(cases) >= 10);
    size_t i;
    json_array_foreach(cases, i, c) check_case(c);
    json_decref(file);
}

static void test_mel__counts_frames_and_tokens(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *file = json_read_file(DATA "cases.json", 1 << 20, &e);
    assert_ok(e);
    struct mel *m = open_mel("default");
    json_t *counts = json_need_array(file, "counts", &e), *c;
    size_t i;
    json_array_foreach(counts, i, c)
    {
        int64_t n[4];
        for (size_t k = 0; k < 4; k++)
            n[k] = json_integer_value(json_array_get(c, k));
        assert_int_equal(mel_frames(m, n[0]), n[1]);
        assert_int_equal(mel_frames_valid(m, n[0]), n[2]);
        assert_int_equal(mel_soft_tokens(m, (int)n[2]), n[3]);
    }
    assert_int_equal(i, json_array_size(counts));
    assert_int_equal(mel_frames_valid(m, 0), 0);
    assert_int_equal(mel_frames_valid(m, 160), 0);
    assert_int_equal(mel_frames_valid(m, 161), 1);
    mel_free(m);
    json_decref(file);
}

static void test_mel__counts_frames_of_samples(void **state)
{
    (void)state;
    struct mel *m = open_mel("raw");
    assert_int_equal(mel_frames(m, 0), 0);
    assert_int_equal(mel_frames_valid(m, 0), 0);
    assert_int_equal(mel_frames_valid(m, 480), 12);
    assert_int_equal(mel_frames_valid(m, 481), 13);
    assert_int_equal(mel_soft_tokens(m, 13), 13);
    mel_free(m);
}

/* ---------------------------------------------------------------- Whisper -- */

#define WHISPER "tests/data/mel_whisper/"

static struct mel *open_whisper(const char *config)
{
    return open_mel_at(WHISPER, config);
}

static float *read_clip(const char *name, int64_t *count)
{
    struct err e = {0};
    char path[200];
    size_t size;
    snprintf(path, sizeof path, WHISPER "%s.samples.i16", name);
    int16_t *x = (int16_t *)file_read(path, 1 << 24, &size, &e);
    assert_ok(e);
    *count = (int64_t)(size / sizeof *x);
    float *out = malloc((size_t)*count * sizeof *out);
    for (int64_t i = 0; i < *count; i++)
        out[i] = (float)x[i] / 32768;
    free(x);
    return out;
}

/* The rows that the fixture keeps.  Most agree to 2e-6; between the tones of a clip the reference's
 * float32 transform itself is off by 1.7e-5. */
static void check_rows(const json_t *c, const float *found, int bins)
{
    struct err e = {0};
    char path[200];
    int64_t count;
    snprintf(path, sizeof path, WHISPER "%s.mel.f32", json_need_str(c, "name", &e));
    float *expected = read_floats(path, &count);
    json_t *rows = json_need_array(c, "rows", &e), *row;
    assert_ok(e);
    assert_int_equal(count, (int64_t)json_array_size(rows) * bins);
    size_t r;
    json_array_foreach(rows, r, row)
    {
        const float *x = found + json_integer_value(row) * bins;
        for (int k = 0; k < bins; k++)
            assert_near(x[k], expected[(int)r * bins + k], 2e-5);
    }
    free(expected);
}

static void check_whisper_case(const json_t *c)
{
    struct err e = {0};
    struct mel *m = open_whisper(json_need_str(c, "config", &e));
    const struct mel_config *s = mel_settings(m);
    int64_t samples;
    float *x = read_clip(json_need_str(c, "clip", &e), &samples);
    int frames = (int)json_need_int(c, "frames", &e);
    assert_ok(e);
    /* The reference cuts what is longer than the window; here that is the caller's. */
    if (!json_is_true(json_object_get(c, "is_recording")) && samples > s->samples_max)
        samples = s->samples_max;
    float *found = malloc((size_t)frames * (size_t)s->bins * sizeof *found);
    mel_compute(m, x, samples, frames, found);
    check_rows(c, found, s->bins);
    free(found);
    free(x);
    mel_free(m);
}

static void test_mel__equals_whisper(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *file = json_read_file(WHISPER "cases.json", 1 << 20, &e);
    assert_ok(e);
    json_t *cases = json_need_array(file, "cases", &e), *c;
    assert_true(json_array_size(cases) >= 19);
    size_t i;
    json_array_foreach(cases, i, c) check_whisper_case(c);
    json_decref(file);
}

static void test_mel__counts_frames_of_windows(void **state)
{
    (void)state;
    struct mel *m = open_whisper("second");
    assert_int_equal(mel_frames(m, 0), 0);
    assert_int_equal(mel_frames(m, 1), 1);
    assert_int_equal(mel_frames(m, 160), 1);
    assert_int_equal(mel_frames(m, 161), 2);
    assert_int_equal(mel_frames(m, 16000), 100);
    assert_int_equal(mel_frames(m, 99999), 100);
    assert_int_equal(mel_frames_valid(m, 0), 0);
    assert_int_equal(mel_frames_valid(m, 1), 100);
    assert_int_equal(mel_frames_valid(m, 99999), 100);
    assert_int_equal(mel_soft_tokens(m, 100), 50);
    assert_int_equal(mel_soft_tokens(m, 37), 19);
    mel_free(m);
}

/* What mel.h says of windows cut short: the last two frames differ, no others. */
static void test_mel__cut_windows_begin_like_whole_ones(void **state)
{
    (void)state;
    struct mel *m = open_whisper("second");
    int64_t samples;
    float *x = read_clip("odd", &samples);
    float whole[100 * 80], cut[32 * 80];
    int frames = mel_frames(m, samples);
    assert_int_equal(frames, 32);
    mel_compute(m, x, samples, 100, whole);
    mel_compute(m, x, samples, frames, cut);
    for (int i = 0; i < (frames - 2) * 80; i++)
        assert_near(cut[i], whole[i], 1e-7);
    /* One frame is shorter than what is mirrored: still numbers. */
    mel_compute(m, x, samples > 100 ? 100 : samples, 1, cut);
    for (int i = 0; i < 80; i++)
        assert_true(isfinite(cut[i]));
    free(x);
    mel_free(m);
}

/* The frames of silence are known without a transform, and are what it would give. */
static void test_mel__silence_is_one_value(void **state)
{
    (void)state;
    struct mel *m = open_whisper("second");
    float x[16000] = {0}, out[100 * 80];
    mel_compute(m, x, 16000, 100, out);
    for (int i = 0; i < 100 * 80; i++)
        assert_near(out[i], -1.5, 1e-6);
    x[8000] = 1;
    mel_compute(m, x, 16000, 100, out);
    float greatest = out[50 * 80];
    for (int i = 0; i < 100 * 80; i++)
        greatest = fmaxf(greatest, out[i]);
    for (int i = 0; i < 48 * 80; i++)
        assert_near(out[i], greatest - 2, 1e-6);
    mel_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mel__equals_the_reference),
        cmocka_unit_test(test_mel__counts_frames_and_tokens),
        cmocka_unit_test(test_mel__counts_frames_of_samples),
        cmocka_unit_test(test_mel__equals_whisper),
        cmocka_unit_test(test_mel__counts_frames_of_windows),
        cmocka_unit_test(test_mel__cut_windows_begin_like_whole_ones),
        cmocka_unit_test(test_mel__silence_is_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
