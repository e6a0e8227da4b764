/* test_import_names.c - which column is for what. */
#include "testing.h"

#include "data/import_names.h"

static void test_import_names__knows_usual_names(void **state)
{
    (void)state;
    char *export[] = {"note_id",
                      "audio_url",
                      "analysis_verbatim_transcript",
                      "text_perfect",
                      "analysis_primary_language",
                      "backend_audio_length_seconds"};
    struct import_names n;
    import_names_find(&n, export, 6, NULL, 0);
    assert_string_equal(n.of[ROLE_ID], "note_id");
    assert_string_equal(n.of[ROLE_AUDIO], "audio_url");
    assert_string_equal(n.of[ROLE_TEXT], "text_perfect");      /* before the verbatim one */
    assert_string_equal(n.of[ROLE_LANGUAGE], "analysis_primary_language");
    assert_string_equal(n.of[ROLE_DURATION], "backend_audio_length_seconds");
    assert_null(n.of[ROLE_PROMPT]);

    char *columns[] = {"text=analysis_verbatim_transcript", "id=nowhere"};
    import_names_find(&n, export, 6, columns, 2);
    assert_string_equal(n.of[ROLE_TEXT], "analysis_verbatim_transcript");
    assert_null(n.of[ROLE_ID]);                     /* the user's word counts alone */

    struct err e = {0};
    static const char line[] =
        "{\"audio_filepath\": \"a.wav\", \"answer\": \"yes\", \"duration\": 2,"
        " \"source_lang\": \"de\", \"taskname\": \"asr\", "
        "\"dataset_source\": \"ytc\", \"utt_id\": 7}";
    json_t *o = json_read_text("line", line, strlen(line), &e);
    import_names_of(&n, o, NULL, 0);
    assert_string_equal(n.of[ROLE_AUDIO], "audio_filepath");
    assert_string_equal(n.of[ROLE_TEXT], "answer");
    assert_string_equal(n.of[ROLE_CORPUS], "dataset_source");
    assert_string_equal(n.of[ROLE_TASK], "taskname");
    json_decref(o);
}

static void test_import_names__refuses_what_cannot_be(void **state)
{
    (void)state;
    char *names[] = {"id", "text_perfect"};
    static const struct {
        char *column;
        const char *error, *hint;
    } bad[] = {{"text", "expected ours=theirs, found \"text\"", ""},
               {"text=", "expected ours=theirs", ""},
               {"langauge=x", "a record has no \"langauge\"", "did you mean \"language\"?"},
               {"text=text_perfct", "there is no column \"text_perfct\"",
                "did you mean \"text_perfect\"?"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        char *columns[] = {bad[i].column};
        assert_int_equal(import_names_check(columns, 1, names, 2, &e), -1);
        assert_err(e, ERR_USAGE, bad[i].error);
        assert_string_equal(e.hint, bad[i].hint);
    }
    struct err e = {0};
    char *good[] = {"text=text_perfect", "completion=text_perfect", "image=id"};
    assert_int_equal(import_names_check(good, 3, names, 2, &e), 0);
}

static void test_import_names__reads_values(void **state)
{
    (void)state;
    struct err e = {0};
    static const char line[] =
        "{\"s\": \"x\", \"i\": 12, \"r\": 0.5, \"b\": true, \"n\": null, \"p\": {\"path\": "
        "\"a.wav\", "
        "\"bytes\": null}, \"t\": \"2.5\", \"w\": \"2.5s\", \"m\": -1, \"e\": \"\", \"l\": [1]}";
    json_t *o = json_read_text("line", line, strlen(line), &e);
    assert_ok(e);
    static const char *const texts[][2] = {
        {"s", "x"}, {"i", "12"}, {"r", "0.5"}, {"b", "true"}, {"p", "a.wav"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *text = import_text(o, texts[i][0]);
        assert_string_equal(text, texts[i][1]);
        free(text);
    }
    assert_null(import_text(o, "n"));
    assert_null(import_text(o, "l"));
    assert_null(import_text(o, NULL));
    assert_near(import_seconds(o, "i"), 12, 0);
    assert_near(import_seconds(o, "t"), 2.5, 0);
    assert_near(import_seconds(o, "n"), -1, 0);
    assert_near(import_seconds(o, "e"), -1, 0);
    assert_near(import_seconds(o, "w"), -2, 0);
    assert_near(import_seconds(o, "m"), -2, 0);
    assert_near(import_seconds(o, "l"), -2, 0);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_names__knows_usual_names),
        cmocka_unit_test(test_import_names__refuses_what_cannot_be),
        cmocka_unit_test(test_import_names__reads_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
