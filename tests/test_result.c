/* A run's result, written and read again. */
#include "testing.h"

#include "train/result.h"

static void test_result__is_read_as_it_was_written(void **state)
{
    (void)state;
    struct err e = {0};
    struct train_result r = result_empty();
    struct evaluation v = {
        .loss = 1.25,
        .wer = {.hits = 3, .substitutions = 1, .reference = 4},
        .cer = {.hits = 9, .deletions = 1, .reference = 10},
        .transcript_count = 4,
        .exact = 1,
    };
    r.steps = 200;
    r.loss = 0.5;
    r.seconds = 12;
    snprintf(r.sha256, sizeof r.sha256, "0123");
    json_t *o = result_to_json(&r);
    assert_null(json_object_get(o, "eval_loss"));
    assert_null(json_object_get(o, "memory"));
    assert_null(json_object_get(o, "tower_cache"));
    assert_null(json_object_get(o, "windows_per_s"));
    struct train_result back = result_of_json(o, &e);
    assert_ok(e);
    assert_false(back.has_evaluation);
    json_decref(o);
    result_evaluation(&r, &v);
    r.has_memory = r.has_cache = true;
    r.memory = (struct memory_plan){.weights = 5, .total = 9, .mapped = 2};
    r.memory_peak = 8;
    r.windows_per_s = 25.5;
    r.cache = (struct tower_cache_stats){.hits = 7, .misses = 3, .bytes = 100};
    o = result_to_json(&r);
    const json_t *memory = json_need_object(o, "memory", &e);
    assert_int_equal(json_need_int(memory, "total", &e), 9);
    assert_int_equal(json_need_int(memory, "peak", &e), 10);
    assert_int_equal(json_need_int(json_need_object(o, "tower_cache", &e), "hits", &e), 7);
    assert_near(json_need_double(o, "windows_per_s", &e), 25.5, 0);
    back = result_of_json(o, &e);
    assert_ok(e);
    assert_int_equal(back.steps, 200);
    assert_near(back.loss, 0.5, 0);
    assert_string_equal(back.sha256, "0123");
    assert_true(back.has_evaluation);
    assert_near(back.eval_loss, 1.25, 0);
    assert_near(back.wer, 0.25, 1e-12);
    assert_near(back.cer, 0.1, 1e-12);
    assert_near(back.exact, 0.25, 1e-12);
    json_decref(o);
}

static void test_result__without_transcripts_there_are_no_rates(void **state)
{
    (void)state;
    struct err e = {0};
    struct train_result r = result_empty();
    struct evaluation v = {.loss = 2};
    result_evaluation(&r, &v);
    json_t *o = result_to_json(&r);
    struct train_result back = result_of_json(o, &e);
    assert_ok(e);
    assert_true(back.has_evaluation);
    assert_true(isnan(back.wer) && isnan(back.cer) && isnan(back.exact) && isnan(back.loss));
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result__is_read_as_it_was_written),
        cmocka_unit_test(test_result__without_transcripts_there_are_no_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
