/* test_mel.c - features against transformers' extractor (tests/fixtures/mel.py). */
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

static struct mel *open_mel(const char *config)
{
    struct err e = {0};
    struct mel_config c;
    char dir[200];
    snprintf(dir, sizeof dir, DATA "%s", config);
    int failed = mel_config_read(&c, dir, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    struct mel *m = mel_new(&c, &e);
    assert_ok(e);
    return m;
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

static void check_config_error(const char *text, const char *part)
{
    struct err e = {0};
    char *dir = testing_folder(), *path = path_join(dir, "preprocessor_config.json");
    struct mel_config c;
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    assert_int_equal(mel_config_read(&c, dir, &e), -1);
    assert_err(e, ERR_USAGE, part);
    assert_non_null(strstr(e.text, "preprocessor_config.json"));
    e = (struct err){0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(path);
    free(dir);
}

static void test_mel__refuses_what_it_cannot_honour(void **state)
{
    (void)state;
#define TYPE "\"feature_extractor_type\": \"Gemma4AudioFeatureExtractor\", "
    check_config_error("{" TYPE "\"dither\": 0.1}", "dither");
    check_config_error("{" TYPE "\"sampling_rate\": 8000}", "sampling_rate: found 8000");
    check_config_error("{" TYPE "\"feature_size\": 0}", "feature_size: found 0");
    check_config_error("{" TYPE "\"mel_floor\": 0}", "mel_floor");
    check_config_error("{" TYPE "\"hop_length_ms\": 0}", "hop_length_ms");
    check_config_error("{" TYPE "\"frame_length_ms\": 1e9}", "frame_length_ms");
    check_config_error("{" TYPE "\"per_bin_mean\": [1, 2]}", "per_bin_mean: found 2 numbers");
    check_config_error("{" TYPE "\"min_frequency\": 9000}", "min_frequency");
    check_config_error("{\"feature_extractor_type\": \"WhisperFeatureExtractor\"}", "Whisper");
#define RAW "\"feature_extractor_type\": \"Gemma4UnifiedAudioFeatureExtractor\", "
    check_config_error("{" RAW "\"sampling_rate\": 8000}", "sampling_rate: found 8000");
    check_config_error("{" RAW "\"audio_samples_per_token\": 0}",
                       "audio_samples_per_token: found 0");
    check_config_error("{" RAW "\"audio_samples_per_token\": 9999}", "allowed are 1 to 1024");
    check_config_error("{" RAW "\"audio_seq_length\": 0}", "audio_seq_length: found 0");
}

static void write_json(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

/* What the encoder-free model hears, from its own files and from none but the model's. */
static void test_mel__knows_models_without_encoder(void **state)
{
    (void)state;
    struct err e = {0};
    struct mel_config c;
    assert_int_equal(mel_config_read(&c, DATA "raw", &e), 0);
    assert_true(c.is_raw && c.bins == 40 && c.hop == 40 && c.subsample == 1);
    assert_int_equal(c.samples_max, 12 * 40);
    assert_int_equal(c.rate, 16000);
    assert_int_equal(mel_config_read(&c, DATA "raw_model", &e), 0);
    assert_true(c.is_raw && c.bins == 40);
    assert_int_equal(c.samples_max, 750 * 40);
    char *dir = testing_folder();
    write_json(dir, "config.json", "{\"model_type\": \"gemma4_unified\"}");
    assert_int_equal(mel_config_read(&c, dir, &e), 0);
    assert_true(c.is_raw && c.bins == 640);
    assert_int_equal(c.samples_max, 480000);
    write_json(dir, "config.json", "{\"model_type\": \"gemma4\"}");
    assert_int_equal(mel_config_read(&c, dir, &e), 0);
    assert_false(c.is_raw);
    write_json(dir, "config.json",
               "{\"model_type\": \"gemma4_unified\", \"audio_config\": {\"audio_embed_dim\": 0}}");
    assert_int_equal(mel_config_read(&c, dir, &e), -1);
    assert_err(e, ERR_USAGE, "config.json: audio_config.audio_embed_dim: found 0");
    e = (struct err){0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
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

static void test_mel__folder_without_settings_gives_the_defaults(void **state)
{
    (void)state;
    struct err e = {0};
    struct mel_config c, defaults;
    char *dir = testing_folder();
    assert_int_equal(mel_config_read(&c, dir, &e), 0);
    mel_config_gemma4(&defaults);
    assert_memory_equal(&c, &defaults, sizeof c);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mel__equals_the_reference),
        cmocka_unit_test(test_mel__counts_frames_and_tokens),
        cmocka_unit_test(test_mel__refuses_what_it_cannot_honour),
        cmocka_unit_test(test_mel__knows_models_without_encoder),
        cmocka_unit_test(test_mel__counts_frames_of_samples),
        cmocka_unit_test(test_mel__folder_without_settings_gives_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
