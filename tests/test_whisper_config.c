/* Whisper's config.json: what is read, and what is refused by name. */
#include "gemma4_fixture.h"

#include "base/dir.h"
#include "base/file.h"

/* A folder with v2's config.json, changed by `text`: JSON that is merged into it. */
static char *folder_with(const char *text)
{
    struct err e = {0};
    struct buf out;
    char *dir = testing_folder(), *path = path_join(dir, "config.json");
    json_t *c = json_read_file(WHISPER_V2 "/config.json", 1 << 20, &e);
    json_t *more = json_read_text("more", text, strlen(text), &e);

    assert_ok(e);
    json_object_update(c, more);
    buf_init(&out, 1 << 20);
    json_write_pretty(c, &out);
    assert_int_equal(file_write(path, out.data, out.size, &e), 0);
    buf_release(&out);
    json_decref(c);
    json_decref(more);
    free(path);
    return dir;
}

static void remove_folder(char *dir)
{
    struct err e = {0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

static void test_whisper_config__what_the_data_side_must_know(void **state)
{
    struct err e = {0};
    struct model_facts f;
    (void)state;
    assert_int_equal(model_facts_read(WHISPER_V3, &f, &e), 0);
    assert_ok(e);
    assert_true(f.is_crossing && f.has_audio_tower && !f.has_vision_tower);
    assert_int_equal(f.vocab, 603);
    assert_int_equal(f.pad_id, 394);
    assert_int_equal(f.eos_ids[0], 394);
    assert_int_equal(f.eos_count, 1);
    assert_int_equal(f.audio_id, 0);
    assert_int_equal(f.image_id, -1);
    assert_int_equal(f.mel_bins, 128);
    assert_int_equal(f.positions_max, 80);
    assert_int_equal(f.audio_positions, 100);
    assert_near(f.dropout, 0, 0);
    assert_int_equal(mx_live(), 0);
}

static void check_refused(const char *text, const char *part)
{
    struct err e = {0};
    struct model_facts f;
    char *dir = folder_with(text);
    assert_int_equal(model_facts_read(dir, &f, &e), -1);
    assert_err(e, ERR_FAILED, part);
    remove_folder(dir);
}

static void test_whisper_config__unknown_mathematics_is_refused(void **state)
{
    (void)state;
    check_refused("{\"activation_function\": \"relu\"}", "activation_function: 'relu'");
    check_refused("{\"use_weighted_layer_sum\": true}", "use_weighted_layer_sum");
    check_refused("{\"tie_word_embeddings\": false}", "no separate head");
    check_refused("{\"is_encoder_decoder\": false}", "is_encoder_decoder");
    check_refused("{\"architectures\": [\"WhisperForAudioClassification\"]}",
                  "'WhisperForAudioClassification'");
    check_refused("{\"decoder_attention_heads\": 5}", "5 does not divide d_model, which is 24");
    check_refused("{\"dropout\": 1.0}", "dropout: 1 is not in 0..1");
    check_refused("{\"encoder_layerdrop\": -0.1}", "encoder_layerdrop: -0.1");
    check_refused("{\"pad_token_id\": 99999}", "pad_token_id: 99999");
    check_refused("{\"encoder_layers\": 1000}", "encoder_layers: 1000, at most");
    check_refused("{\"d_model\": 0}", "d_model: 0");
}

static void test_whisper_config__rates_of_dropout(void **state)
{
    struct err e = {0};
    struct model_facts f;
    char *dir = folder_with("{\"dropout\": 0.1, \"decoder_layerdrop\": 0.3,"
                            " \"scale_embedding\": true}");
    (void)state;
    assert_int_equal(model_facts_read(dir, &f, &e), 0);
    assert_ok(e);
    assert_near(f.dropout, 0.3, 0);
    remove_folder(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whisper_config__what_the_data_side_must_know),
        cmocka_unit_test(test_whisper_config__unknown_mathematics_is_refused),
        cmocka_unit_test(test_whisper_config__rates_of_dropout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
