/* test_speech_rules.c - tokens that are not written, and times in their order.  That whole
 * transcripts are those of transformers' processors shows test_speech.c. */
#include "train/speech_rules.h"

#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"

#define V2 "tests/data/whisper/v2"

/* ---------------------------------------------------------------- reading -- */

static void put(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static void test_speech_rules__reads_generation_config(void **state)
{
    (void)state;
    struct err e = {0};
    struct speech_rules r;
    assert_int_equal(speech_rules_open(&r, V2, &e), 0);
    assert_int_equal(r.never_count, 25);
    assert_int_equal(r.never[0], 1);
    assert_int_equal(r.never[24], 499);
    assert_int_equal(r.never_first_count, 2);
    assert_int_equal(r.never_first[0], 220);
    assert_int_equal(r.never_first[1], 394);
    assert_int_equal(r.first_times, 51);
    speech_rules_release(&r);
}

static void test_speech_rules__older_files_have_them_in_config(void **state)
{
    (void)state;
    struct err e = {0};
    struct speech_rules r;
    char *dir = testing_folder();
    assert_int_equal(speech_rules_open(&r, dir, &e), 0);      /* no file, no rule */
    assert_int_equal(r.never_count + r.never_first_count + r.first_times, 0);
    put(dir, "config.json",
        "{\"vocab_size\": 10, \"suppress_tokens\": [3, -1, 9], \"begin_suppress_tokens\": null}");
    assert_int_equal(speech_rules_open(&r, dir, &e), 0);
    assert_int_equal(r.never_count, 2);
    assert_int_equal(r.never[1], 9);
    assert_int_equal(r.never_first_count, 0);
    speech_rules_release(&r);
    /* The newer file alone counts where it is. */
    put(dir, "generation_config.json",
        "{\"begin_suppress_tokens\": [7], \"max_initial_timestamp_index\": 0}");
    assert_int_equal(speech_rules_open(&r, dir, &e), 0);
    assert_int_equal(r.never_count, 0);
    assert_int_equal(r.never_first[0], 7);
    assert_int_equal(r.first_times, 1);
    speech_rules_release(&r);
    struct err ignored = {0};
    assert_int_equal(dir_remove(dir, &ignored), 0);
    free(dir);
}

static void test_speech_rules__refuses_ids_beyond_the_vocabulary(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"suppress_tokens\": [1, 10]}", "suppress_tokens[1] is 10"},
        {"{\"suppress_tokens\": [-2]}", "suppress_tokens[0] is -2"},
        {"{\"begin_suppress_tokens\": [\"a\"]}", "begin_suppress_tokens[0] is a string"},
        {"{\"begin_suppress_tokens\": 5}", "begin_suppress_tokens"},
        {"{\"max_initial_timestamp_index\": \"x\"}", "max_initial_timestamp_index"},
        {"[]", "expected an object"},
    };
    char *dir = testing_folder();
    put(dir, "config.json", "{\"vocab_size\": 10}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        struct speech_rules r;
        put(dir, "generation_config.json", bad[i].text);
        assert_int_equal(speech_rules_open(&r, dir, &e), -1);
        assert_non_null(strstr(e.text, bad[i].says));
        assert_non_null(strstr(e.text, "generation_config.json"));
        assert_null(r.never);
    }
    struct err ignored = {0};
    assert_int_equal(dir_remove(dir, &ignored), 0);
    free(dir);
}

/* ------------------------------------------------------------------ rules -- */

/* Words 0 .. 9, <|endoftext|> 10, <|notimestamps|> 11, times 12 .. 21. */
enum { END = 10, NO_TIMES = 11, TIME = 12, V = 22 };

static const struct whisper_format FORMAT = {
    .end = END, .no_timestamps = NO_TIMES, .first_time = TIME, .time_count = V - TIME};

static bool is_left(const float *logits, int id)
{
    return logits[id] > -INFINITY;
}

/* The logits after the rules when `count` ids have been written: words at `words`, times at 0. */
static void apply(const struct speech_rules *r, const int32_t *ids, int count, float words,
                  float *logits)
{
    struct ids in = {.at = (int32_t *)(uintptr_t)ids, .count = count};
    struct speech_times times = {r, &FORMAT};
    for (int i = 0; i < V; i++)
        logits[i] = i < TIME ? words : 0;
    speech_rules_apply_times(&times, 0, &in, logits, V);
}

static int count_left(const float *logits, int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++)
        n += is_left(logits, i);
    return n;
}

static void test_speech_rules__some_tokens_are_never_written(void **state)
{
    (void)state;
    int32_t never[] = {3, 100}, first[] = {4};
    struct speech_rules r = {
        .never = never, .never_first = first, .never_count = 2, .never_first_count = 1};
    float logits[V] = {0};
    speech_rules_apply(&r, 0, &(struct ids){0}, logits, V);
    assert_false(is_left(logits, 3));
    assert_false(is_left(logits, 4));
    assert_int_equal(count_left(logits, 0, V), V - 2);
    memset(logits, 0, sizeof logits);
    speech_rules_apply(&r, 0, &(struct ids){.at = never, .count = 1}, logits, V);
    assert_int_equal(count_left(logits, 0, V), V - 1);
}

static void test_speech_rules__begins_with_an_early_time(void **state)
{
    (void)state;
    struct speech_rules r = {.first_times = 3};
    float logits[V];
    apply(&r, NULL, 0, 9, logits);
    assert_int_equal(count_left(logits, 0, TIME), 0);
    assert_int_equal(count_left(logits, TIME, TIME + 3), 3);
    assert_int_equal(count_left(logits, TIME + 3, V), 0);
    r.first_times = 0;
    apply(&r, NULL, 0, 9, logits);
    assert_int_equal(count_left(logits, TIME, V), V - TIME);
}

static void test_speech_rules__times_come_in_pairs_and_do_not_go_back(void **state)
{
    (void)state;
    struct speech_rules r = {0};
    float logits[V];
    const int32_t ids[] = {TIME + 2, 5, TIME + 4, TIME + 4, 6};
    /* Behind the first time: text. */
    apply(&r, ids, 1, 9, logits);
    assert_int_equal(count_left(logits, TIME, V), 0);
    assert_int_equal(count_left(logits, 0, END + 1), END + 1);
    assert_false(is_left(logits, NO_TIMES));
    /* Behind text: text, or a later time. */
    apply(&r, ids, 2, 9, logits);
    assert_int_equal(count_left(logits, 0, NO_TIMES), NO_TIMES);
    assert_false(is_left(logits, TIME + 2));
    assert_int_equal(count_left(logits, TIME + 3, V), V - TIME - 3);
    /* Behind a segment's end: the end, or where the next begins, the same time too. */
    apply(&r, ids, 3, 9, logits);
    assert_int_equal(count_left(logits, 0, END), 0);
    assert_true(is_left(logits, END));
    assert_false(is_left(logits, TIME + 3));
    assert_int_equal(count_left(logits, TIME + 4, V), V - TIME - 4);
    /* Behind two times: text. */
    apply(&r, ids, 4, 9, logits);
    assert_int_equal(count_left(logits, TIME, V), 0);
    /* Behind the second segment's text: no time that was written already. */
    apply(&r, ids, 5, 9, logits);
    assert_false(is_left(logits, TIME + 4));
    assert_true(is_left(logits, TIME + 5));
}

/* log(7 times e^0) is 1.9459: the times behind TIME + 2 together against one word. */
static void test_speech_rules__a_time_where_all_together_are_likelier(void **state)
{
    (void)state;
    struct speech_rules r = {0};
    float logits[V];
    const int32_t ids[] = {TIME + 2, 5};
    apply(&r, ids, 2, 1.945f, logits);
    assert_int_equal(count_left(logits, 0, TIME), 0);
    apply(&r, ids, 2, 1.947f, logits);
    assert_int_equal(count_left(logits, 0, NO_TIMES), NO_TIMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speech_rules__reads_generation_config),
        cmocka_unit_test(test_speech_rules__older_files_have_them_in_config),
        cmocka_unit_test(test_speech_rules__refuses_ids_beyond_the_vocabulary),
        cmocka_unit_test(test_speech_rules__some_tokens_are_never_written),
        cmocka_unit_test(test_speech_rules__begins_with_an_early_time),
        cmocka_unit_test(test_speech_rules__times_come_in_pairs_and_do_not_go_back),
        cmocka_unit_test(test_speech_rules__a_time_where_all_together_are_likelier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
