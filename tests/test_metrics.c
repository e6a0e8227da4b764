/* The lines of metrics.jsonl, and how they are cut when a run is resumed. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "train/metrics.h"

static char *folder, *path;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    path = path_join(folder, "metrics.jsonl");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    free(path);
    return 0;
}

static void expect_file(const char *want)
{
    struct err e = {0};
    char *text = file_read(path, 1 << 20, NULL, &e);
    assert_ok(e);
    assert_string_equal(text, want);
    free(text);
}

static void put(const char *text)
{
    struct err e = {0};
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
}

static void test_metrics__step_and_evaluation(void **state)
{
    (void)state;
    struct err e = {0};
    struct step_metrics m = {.step = 3,
                             .loss = 1.5,
                             .lr = 0.25,
                             .grad_norm = 2,
                             .supervised = 7,
                             .total = 9,
                             .seconds = 0.5,
                             .padding = 0.25,
                             .memory = 1000,
                             .ok = true};
    assert_int_equal(metrics_add_step(path, &m, &e), 0);
    m.step = 4;
    m.ok = false;
    m.loss = NAN;
    m.bad = 2;
    m.uses_net = true;
    m.fetched = 3000000;
    m.retries = 4;
    m.hedges = 1;
    m.windows = 6;
    assert_int_equal(metrics_add_step(path, &m, &e), 0);
    struct evaluation v = {
        .loss = 2, .perplexity = 7.5, .records = 5, .supervised = 40, .seconds = 1};
    assert_int_equal(metrics_add_evaluation(path, 4, &v, &e), 0);
    expect_file("{\"step\":3,\"loss\":1.5,\"lr\":0.25,\"grad_norm\":2.0,\"supervised_tokens\":7,"
                "\"tokens\":9,\"audio_s\":0.0,\"seconds\":0.5,\"data_wait\":0.0,\"padding\":0.25,"
                "\"memory\":1000}\n"
                "{\"step\":4,\"loss\":null,\"lr\":0.25,\"grad_norm\":2.0,\"supervised_tokens\":7,"
                "\"tokens\":9,\"audio_s\":0.0,\"seconds\":0.5,\"data_wait\":0.0,\"padding\":0.25,"
                "\"fetched_bytes\":3000000,\"mb_s\":6.0,\"retries\":4,\"hedges\":1,\"windows\":6,"
                "\"memory\":1000,"
                "\"bad_records\":2,\"skipped\":true}\n"
                "{\"step\":4,\"eval_loss\":2.0,\"eval_perplexity\":7.5,\"eval_records\":5,"
                "\"eval_supervised_tokens\":40,\"seconds\":1.0}\n");
}

static void test_metrics__cut_keeps_steps_of_the_checkpoint(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(metrics_cut(path, 3, &e), 0);              /* no file: nothing to do */
    put("{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"eval_loss\":1}\n{\"step\":3}\n{\"ste");
    assert_int_equal(metrics_cut(path, 2, &e), 0);
    expect_file("{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"eval_loss\":1}\n");
    assert_int_equal(metrics_cut(path, 2, &e), 0);
    expect_file("{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"eval_loss\":1}\n");
    put("nonsense\n{\"step\":1}\n{\"other\":5}\n\n{\"step\":2}");
    assert_int_equal(metrics_cut(path, 9, &e), 0);
    expect_file("{\"step\":1}\n");
    assert_int_equal(metrics_cut(path, 0, &e), 0);
    expect_file("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_metrics__step_and_evaluation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metrics__cut_keeps_steps_of_the_checkpoint, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
