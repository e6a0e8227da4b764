/* test_cmd_score.c - `attune score` against transformers (tests/fixtures/score.py). */
#include "cli/cmd.h"

#include "score_fixture.h"

#include "base/dir.h"
#include "mx/mx.h"
#include "text/language.h"

#define MEDIA "tests/data/score_media/"
#define WHISPER "tests/data/whisper/"

/* Run a command with stdout going to a file; returns what the command returned. */
static int run(const char *out, const char **argv, int argc, struct err *e)
{
    struct options o;
    if (options_parse(&o, VERB_SCORE, argc, argv, e))
        return -1;
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_non_null(freopen(out, "w", stdout));
    int rc = cmd_score(&o, e);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    options_release(&o);
    return rc;
}

static void compare_numbers(const json_t *found, const json_t *expected, const char *key,
                            double tolerance)
{
    const json_t *f = json_object_get(found, key), *x = json_object_get(expected, key);
    assert_int_equal(json_array_size(f), json_array_size(x));
    for (size_t i = 0; i < json_array_size(x); i++)
        assert_near(json_number_value(json_array_get(f, i)),
                    json_number_value(json_array_get(x, i)), tolerance);
}

static void compare_model(const char *model, const char *records, const char *expected_path,
                          const char *adapter)
{
    char *folder = testing_folder(), out[300];
    snprintf(out, sizeof out, "%s/out.jsonl", folder);
    const char *argv[] = {"--model",  model, "--data",    records, "--ids",
                          "--device", "cpu", "--adapter", adapter};
    struct err e = {0};
    int rc = run(out, argv, adapter ? 9 : 7, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    json_t *found = fixture_lines(out), *expected = fixture_lines(expected_path);
    assert_int_equal(json_array_size(found), json_array_size(expected));
    for (size_t i = 0; i < json_array_size(expected); i++) {
        const json_t *f = json_array_get(found, i), *x = json_array_get(expected, i);
        assert_string_equal(json_string_value(json_object_get(f, "id")),
                            json_string_value(json_object_get(x, "id")));
        compare_numbers(f, x, "input_ids", 0);
        compare_numbers(f, x, "logprobs", 1e-4);
        assert_int_equal(json_integer_value(json_object_get(f, "input_tokens")),
                         json_integer_value(json_object_get(x, "input_tokens")));
        assert_int_equal(json_integer_value(json_object_get(f, "supervised_tokens")),
                         json_integer_value(json_object_get(x, "supervised_tokens")));
        assert_near(json_number_value(json_object_get(f, "loss")),
                    json_number_value(json_object_get(x, "loss")), 1e-4);
    }
    json_decref(found);
    json_decref(expected);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    assert_int_equal(mx_live(), 0);
}

static void compare(const char *expected_path, const char *adapter)
{
    compare_model(SCORE "model", SCORE "records.jsonl", expected_path, adapter);
}

static void test_cmd_score__equals_transformers(void **state)
{
    (void)state;
    compare(SCORE "expected.jsonl", NULL);
}

static void test_cmd_score__equals_peft_with_an_adapter(void **state)
{
    (void)state;
    compare(SCORE "expected_adapter.jsonl", SCORE "adapter");
}

/* From PNG, JPEG, video and sound files to log-probabilities (tests/fixtures/score_media.py). */
static void test_cmd_score__sees_and_hears_as_transformers(void **state)
{
    (void)state;
    compare_model(MEDIA "towers", MEDIA "records.jsonl", MEDIA "towers.jsonl", NULL);
    compare_model(MEDIA "unified", MEDIA "records.jsonl", MEDIA "unified.jsonl", NULL);
}

/* Languages, tasks, prompts and times (tests/fixtures/whisper_score.py). */
static void test_cmd_score__whisper_equals_transformers(void **state)
{
    (void)state;
    static const char *const folders[] = {"v2", "v3", "en"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char model[100], records[100], expected[100];
        snprintf(model, sizeof model, WHISPER "%s", folders[i]);
        snprintf(records, sizeof records, WHISPER "score/%s.records.jsonl", folders[i]);
        snprintf(expected, sizeof expected, WHISPER "score/%s.jsonl", folders[i]);
        compare_model(model, records, expected, NULL);
    }
}

/* Lines of what a command printed about some records of clips/. */
static json_t *score_whisper(const char *text, const char *const *more, int more_count,
                             enum err_kind kind, const char *part)
{
    char *folder = testing_folder(), records[300], out[300];
    const char *argv[20] = {"--model", WHISPER "v2", "--data", records, "--device", "cpu"};
    struct err e = {0}, ignored = {0};
    snprintf(records, sizeof records, "%s/records.jsonl", folder);
    snprintf(out, sizeof out, "%s/out.jsonl", folder);
    assert_int_equal(file_write(records, text, strlen(text), &e), 0);
    for (int i = 0; i < more_count; i++)
        argv[6 + i] = more[i];
    int rc = run(out, argv, 6 + more_count, &e);
    if (e.kind != kind || (part && !strstr(e.text, part)))
        fail_msg("found kind %d: %s", e.kind, e.text);
    assert_int_equal(rc, kind ? -1 : 0);
    json_t *found = file_exists(out) ? fixture_lines(out) : json_array();
    assert_int_equal(dir_remove(folder, &ignored), 0);
    free(folder);
    return found;
}

static char *clip(const char *name)
{
    static char path[2][2200];
    static int next;
    char cwd[2000];
    assert_non_null(getcwd(cwd, sizeof cwd));
    next = !next;
    snprintf(path[next], sizeof path[next], "%s/" WHISPER "clips/%s", cwd, name);
    return path[next];
}

/* A clip longer than the window, with segments, has a line for each window. */
static void test_cmd_score__whisper_windows_have_lines(void **state)
{
    (void)state;
    char text[3000];
    snprintf(text, sizeof text,
             "{\"id\":\"x\",\"audio\":\"%s\",\"language\":\"en\",\"segments\":["
             "{\"start\":0.2,\"end\":1.4,\"text\":\" one\"},"
             "{\"start\":2.4,\"end\":3.6,\"text\":\" two and\"},"
             "{\"start\":4.1,\"end\":5.2,\"text\":\" three\"}]}\n",
             clip("long.wav"));
    static const char *const more[] = {"--long-audio", "split", "--timestamps"};
    json_t *found = score_whisper(text, more, 3, ERR_NONE, NULL);
    assert_true(json_array_size(found) >= 2);
    int64_t supervised = 0;
    for (size_t i = 0; i < json_array_size(found); i++) {
        const json_t *v = json_array_get(found, i);
        assert_int_equal(json_integer_value(json_object_get(v, "window")), (int)i);
        supervised += json_integer_value(json_object_get(v, "supervised_tokens"));
    }
    /* Three texts of a few tokens, six times, and the ends. */
    assert_true(supervised >= 3 + 6 + (int64_t)json_array_size(found));
    json_decref(found);
}

/* The language is looked for where the record leaves it open; ids and numbers are those of the
 * language that is found. */
static void test_cmd_score__whisper_detects_languages(void **state)
{
    (void)state;
    char text[3000], second[6000];
    static const char *const more[] = {"--ids"};
    snprintf(text, sizeof text, "{\"audio\":\"%s\",\"language\":\"detect\",\"text\":\" hello\"}\n",
             clip("voice.wav"));
    json_t *found = score_whisper(text, more, 1, ERR_NONE, NULL);
    const json_t *v = json_array_get(found, 0);
    json_int_t id = json_integer_value(json_array_get(json_object_get(v, "input_ids"), 1));
    assert_true(id >= 396 && id < 396 + 99);
    snprintf(second, sizeof second, "{\"audio\":\"%s\",\"language\":\"%s\",\"text\":\" hello\"}\n",
             clip("voice.wav"), language_code((int)id - 396));
    json_t *said = score_whisper(second, more, 1, ERR_NONE, NULL);
    assert_near(json_number_value(json_object_get(v, "loss")),
                json_number_value(json_object_get(json_array_get(said, 0), "loss")), 1e-5);
    json_decref(found);
    json_decref(said);
}

static void test_cmd_score__whisper_bad_input(void **state)
{
    (void)state;
    char text[6000];
    json_decref(score_whisper("{\"text\":\"a\"}\n", NULL, 0, ERR_USAGE, "no record has a clip"));
    snprintf(text, sizeof text,
             "{\"audio\":\"%s\",\"text\":\"a\"}\n"
             "{\"audio\":\"%s\",\"text\":\"b\",\"language\":\"de\"}\n",
             clip("voice.wav"), clip("sweep.wav"));
    json_t *found = score_whisper(text, NULL, 0, ERR_DATA, "1 of 2 records are bad");
    assert_int_equal(json_array_size(found), 1);
    json_decref(found);
    static const char *const wrong[] = {"--language", "germn"};
    json_decref(score_whisper(text, wrong, 2, ERR_USAGE, "language: "));
    static const char *const right[] = {"--language", "german"};
    found = score_whisper(text, right, 2, ERR_NONE, NULL);
    assert_int_equal(json_array_size(found), 2);
    json_decref(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_score__equals_transformers),
        cmocka_unit_test(test_cmd_score__equals_peft_with_an_adapter),
        cmocka_unit_test(test_cmd_score__sees_and_hears_as_transformers),
        cmocka_unit_test(test_cmd_score__whisper_equals_transformers),
        cmocka_unit_test(test_cmd_score__whisper_windows_have_lines),
        cmocka_unit_test(test_cmd_score__whisper_detects_languages),
        cmocka_unit_test(test_cmd_score__whisper_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
