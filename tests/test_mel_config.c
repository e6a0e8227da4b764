/* test_mel_config.c - the settings of features, out of the files of checkpoints. */
#include "testing.h"

#include "base/file.h"
#include "media/mel.h"

#define DATA "tests/data/mel/"

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

static void test_mel_config__refuses_what_it_cannot_honour(void **state)
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
    check_config_error("{\"feature_extractor_type\": \"ClapFeatureExtractor\"}", "Clap");
#define RAW "\"feature_extractor_type\": \"Gemma4UnifiedAudioFeatureExtractor\", "
    check_config_error("{" RAW "\"sampling_rate\": 8000}", "sampling_rate: found 8000");
    check_config_error("{" RAW "\"audio_samples_per_token\": 0}",
                       "audio_samples_per_token: found 0");
    check_config_error("{" RAW "\"audio_samples_per_token\": 9999}", "allowed are 1 to 1024");
    check_config_error("{" RAW "\"audio_seq_length\": 0}", "audio_seq_length: found 0");
}

static void test_mel_config__refuses_what_whisper_cannot_honour(void **state)
{
    (void)state;
#define WINDOW "\"feature_extractor_type\": \"WhisperFeatureExtractor\", "
    check_config_error("{" WINDOW "\"dither\": 0.1}", "dither");
    check_config_error("{" WINDOW "\"sampling_rate\": 8000}", "sampling_rate: found 8000");
    check_config_error("{" WINDOW "\"feature_size\": 0}", "feature_size: found 0");
    check_config_error("{" WINDOW "\"feature_size\": 99999999999}", "feature_size: found 0");
    check_config_error("{" WINDOW "\"n_fft\": 398}", "n_fft: found 398");
    check_config_error("{" WINDOW "\"n_fft\": 0}", "n_fft: found 0");
    check_config_error("{" WINDOW "\"hop_length\": 0}", "hop_length: found 0");
    check_config_error("{" WINDOW "\"hop_length\": 7000}", "hop_length: found 7000");
    check_config_error("{" WINDOW "\"chunk_length\": 0}", "chunk_length: found 0");
    check_config_error("{" WINDOW "\"chunk_length\": 3601}", "chunk_length: found 3601");
    check_config_error("{" WINDOW "\"padding_value\": -1}", "padding_value");
    check_config_error("{" WINDOW "\"padding_side\": \"left\"}", "padding_side: found \"left\"");
    check_config_error("{" WINDOW "\"do_normalize\": true}", "do_normalize");
}

static void write_json(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

/* What the encoder-free model hears, from its own files and from none but the model's. */
static void test_mel_config__knows_models_without_encoder(void **state)
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

/* Whisper's window follows from the model, from the extractor's file, or must fit both. */
static void test_mel_config__knows_whisper(void **state)
{
    (void)state;
    struct err e = {0};
    struct mel_config c;
    char *dir = testing_folder();
    write_json(dir, "config.json",
               "{\"model_type\": \"whisper\", \"num_mel_bins\": 128, "
               "\"max_source_positions\": 200}");
    assert_int_equal(mel_config_read(&c, dir, &e), 0);
    assert_true(c.is_window && c.bins == 128 && c.subsample == 2);
    assert_int_equal(c.samples_max, 64000);
    write_json(dir, "preprocessor_config.json", "{" WINDOW "\"chunk_length\": 4}");
    assert_int_equal(mel_config_read(&c, dir, &e), 0);
    assert_true(c.is_window && c.bins == 80);
    assert_int_equal(c.samples_max, 64000);
    write_json(dir, "preprocessor_config.json", "{" WINDOW "\"chunk_length\": 30}");
    assert_int_equal(mel_config_read(&c, dir, &e), -1);
    assert_err(e, ERR_USAGE, "found 3000 frames, expected 400");
    e = (struct err){0};
    write_json(dir, "preprocessor_config.json",
               "{\"feature_extractor_type\": \"Gemma4AudioFeatureExtractor\"}");
    assert_int_equal(mel_config_read(&c, dir, &e), -1);
    assert_err(e, ERR_USAGE, "the model needs \"WhisperFeatureExtractor\"");
    e = (struct err){0};
    write_json(dir, "config.json", "{\"model_type\": \"whisper\", \"num_mel_bins\": 0}");
    assert_int_equal(mel_config_read(&c, dir, &e), -1);
    assert_err(e, ERR_USAGE, "config.json: num_mel_bins: found 0");
    e = (struct err){0};
    write_json(dir, "config.json", "{\"model_type\": \"whisper\", \"max_source_positions\": 0}");
    assert_int_equal(mel_config_read(&c, dir, &e), -1);
    assert_err(e, ERR_USAGE, "config.json: max_source_positions: found 0");
    e = (struct err){0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

/* Files of the extractor alone, as transformers writes them in either form. */
static void test_mel_config__reads_whisper_files(void **state)
{
    (void)state;
    struct err e = {0};
    struct mel_config c, whisper;
    mel_config_whisper(&whisper);
    assert_int_equal(mel_config_read(&c, "tests/data/mel_whisper/v2", &e), 0);
    assert_memory_equal(&c, &whisper, sizeof c);
    assert_int_equal(mel_config_read(&c, "tests/data/mel_whisper/v3", &e), 0);
    assert_true(c.is_window && c.bins == 128);
    assert_int_equal(c.samples_max, 480000);
    assert_int_equal(mel_config_read(&c, "tests/data/mel_whisper/other", &e), 0);
    assert_true(c.bins == 33 && c.fft == 360 && c.frame == 360 && c.hop == 100);
    assert_int_equal(c.samples_max, 16000);
    assert_ok(e);
}

static void test_mel_config__folder_without_settings_gives_the_defaults(void **state)
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
        cmocka_unit_test(test_mel_config__refuses_what_it_cannot_honour),
        cmocka_unit_test(test_mel_config__refuses_what_whisper_cannot_honour),
        cmocka_unit_test(test_mel_config__knows_models_without_encoder),
        cmocka_unit_test(test_mel_config__knows_whisper),
        cmocka_unit_test(test_mel_config__reads_whisper_files),
        cmocka_unit_test(test_mel_config__folder_without_settings_gives_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
