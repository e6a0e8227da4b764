/* test_cmd_score.c - `attune score` against transformers (tests/fixtures/score.py). */
#include "cli/cmd.h"

#include "score_fixture.h"

#include "base/dir.h"
#include "mx/mx.h"

#define MEDIA "tests/data/score_media/"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_score__equals_transformers),
        cmocka_unit_test(test_cmd_score__equals_peft_with_an_adapter),
        cmocka_unit_test(test_cmd_score__sees_and_hears_as_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
