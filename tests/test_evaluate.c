/* test_evaluate.c - loss and error rates of the fixture, against its reference values. */
#include "train/evaluate.h"

#include "score_fixture.h"

#include "base/mem.h"
#include "mx/mx.h"

static void open_records(struct manifest *m)
{
    struct err e = {0};
    char *patterns[] = {(char[]){SCORE "records.jsonl"}};
    assert_int_equal(
        manifest_open(m, &(struct manifest_options){.patterns = patterns, .pattern_count = 1}, &e),
        0);
}

static void run_without(struct evaluation *v, int batch, int64_t max, bool generates,
                        enum sample_ablation ablation)
{
    struct session s;
    struct manifest m;
    struct err e = {0};
    fixture_open(&s, NULL);
    open_records(&m);
    int rc = evaluate(v, &s, &m,
                      &(struct evaluate_options){
                          .batch = batch,
                          .max_records = max,
                          .generates = generates,
                          .max_new_tokens = 12,
                          .normalizer = NORMALIZE_NONE,
                          .ablation = ablation,
                      },
                      &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    manifest_release(&m);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

static void run(struct evaluation *v, int batch, int64_t max, bool generates)
{
    run_without(v, batch, max, generates, SAMPLE_WHOLE);
}

/* The mean over all supervised tokens of the expected log-probabilities. */
static double expected_loss(int64_t records, int64_t *tokens)
{
    json_t *lines = fixture_lines(SCORE "expected.jsonl");
    double sum = 0;
    *tokens = 0;
    for (int64_t i = 0; i < records; i++) {
        const json_t *p = json_object_get(json_array_get(lines, (size_t)i), "logprobs");
        for (size_t k = 0; k < json_array_size(p); k++, ++*tokens)
            sum -= json_number_value(json_array_get(p, k));
    }
    json_decref(lines);
    return sum / (double)*tokens;
}

static void test_evaluate__loss_is_the_mean_over_tokens(void **state)
{
    (void)state;
    struct evaluation v;
    int64_t tokens;
    double loss = expected_loss(6, &tokens);
    for (int batch = 1; batch <= 6; batch += 2) {
        run(&v, batch, 0, false);
        assert_int_equal(v.records, 6);
        assert_int_equal(v.supervised, tokens);
        assert_near(v.loss, loss, 1e-4);
        assert_near(v.perplexity, exp(loss), 1e-4 * exp(loss));
        assert_int_equal(v.transcript_count, 0);
        evaluation_release(&v);
    }
    loss = expected_loss(2, &tokens);
    run(&v, 4, 2, false);
    assert_int_equal(v.records, 2);
    assert_near(v.loss, loss, 1e-4);
    evaluation_release(&v);
}

static void test_evaluate__transcripts_are_the_references(void **state)
{
    (void)state;
    struct evaluation v;
    run(&v, 4, 0, true);
    json_t *lines = fixture_lines(SCORE "generated.jsonl");
    assert_int_equal(v.transcript_count, 5);             /* plain text is not answered */
    assert_string_equal(v.transcripts[1].id, "clip");
    assert_string_equal(v.transcripts[1].reference, "good morning");
    for (int64_t i = 0; i < v.transcript_count; i++) {
        const char *want =
            json_string_value(json_object_get(json_array_get(lines, (size_t)i), "text"));
        want += strspn(want, " \n\t");
        assert_string_equal(v.transcripts[i].hypothesis, want);
    }
    int64_t errors = v.wer.substitutions + v.wer.deletions + v.wer.insertions;
    assert_int_equal(v.wer.reference, 1 + 2 + 5 + 2 + 3);
    assert_true(errors >= 13 - v.wer.hits);
    assert_int_equal(v.cut, 5);
    assert_int_equal(v.exact, 0);
    assert_near(evaluation_exact(&v), 0, 0);
    int64_t worst[2];
    assert_int_equal(evaluation_worst(&v, worst, 2), 2);
    assert_int_equal(worst[0], 2);                       /* five words, all wrong */
    json_decref(lines);
    evaluation_release(&v);
}

static void test_evaluate__bad_records_are_counted_and_capped(void **state)
{
    (void)state;
    char *folder = testing_folder(), path[300];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    const char *text = "{\"text\": \"hello there\"}\n"
                       "{\"audio\": \"missing.wav\", \"text\": \"x\"}\n";
    struct err e = {0};
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    struct session s;
    struct manifest m;
    struct evaluation v;
    fixture_open(&s, NULL);
    char *patterns[] = {path};
    assert_int_equal(
        manifest_open(&m, &(struct manifest_options){.patterns = patterns, .pattern_count = 1}, &e),
        0);
    struct evaluate_options o = {.batch = 2, .bad_min = 1, .bad_fraction = 0.001};
    int rc = evaluate(&v, &s, &m, &o, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    assert_int_equal(v.bad, 1);
    assert_non_null(strstr(v.bad_texts[0], "data.jsonl:2"));
    assert_non_null(strstr(v.bad_texts[0], "missing.wav"));
    assert_int_equal(v.records, 1);
    evaluation_release(&v);
    o.bad_min = 0;
    assert_int_equal(evaluate(&v, &s, &m, &o, &e), -1);
    assert_err(e, ERR_DATA, "data.jsonl:2");
    manifest_release(&m);
    session_close(&s);
    unlink(path);
    rmdir(folder);
    free(folder);
}

/* Answers that are what the model says, but for white space and, with a normaliser, for case. */
static void test_evaluate__exact_replies_are_counted(void **state)
{
    (void)state;
    struct err e = {0};
    struct session s;
    struct manifest m;
    struct evaluation v;
    json_t *lines = fixture_lines(SCORE "generated.jsonl");
    const char *said = json_string_value(json_object_get(json_array_get(lines, 4), "text"));
    char *folder = testing_folder(), *path = path_join(folder, "data.jsonl");
    struct buf b;
    buf_init(&b, 1 << 16);
    for (int i = 0; i < 2; i++) {
        json_t *o = json_object();
        json_put_str(o, "prompt", "turn on");
        json_put_str(o, "completion", i ? "another thing" : said);
        json_write_compact(o, &b);
        buf_add_char(&b, '\n');
        json_decref(o);
    }
    assert_int_equal(file_write(path, b.data, b.size, &e), 0);
    buf_release(&b);
    fixture_open(&s, NULL);
    assert_int_equal(
        manifest_open(&m, &(struct manifest_options){.patterns = &path, .pattern_count = 1}, &e),
        0);
    struct evaluate_options o = {.batch = 2, .generates = true, .max_new_tokens = 12};
    assert_int_equal(evaluate(&v, &s, &m, &o, &e), 0);
    assert_int_equal(v.transcript_count, 2);
    assert_true(v.transcripts[0].is_exact && !v.transcripts[1].is_exact);
    assert_int_equal(v.exact, 1);
    assert_near(evaluation_exact(&v), 0.5, 0);
    evaluation_release(&v);
    manifest_release(&m);
    session_close(&s);
    json_decref(lines);
    unlink(path);
    rmdir(folder);
    free(path);
    free(folder);
}

/* Silence in the place of the clips: the answers to them become others, and only those. */
static void test_evaluate__without_sound(void **state)
{
    (void)state;
    struct evaluation whole, without;
    run(&whole, 4, 0, true);
    run_without(&without, 4, 0, true, SAMPLE_WITHOUT_AUDIO);
    assert_int_equal(without.records, whole.records);
    assert_int_equal(without.supervised, whole.supervised);
    assert_true(fabs(without.loss - whole.loss) > 1e-4);
    assert_near(without.audio_s, whole.audio_s, 1e-9);
    for (int64_t i = 0; i < whole.transcript_count; i++) {
        bool hears = i >= 1 && i <= 3;
        if (!hears)
            assert_string_equal(without.transcripts[i].hypothesis, whole.transcripts[i].hypothesis);
    }
    evaluation_release(&without);
    /* There are no pictures to take away. */
    run_without(&without, 4, 0, false, SAMPLE_WITHOUT_IMAGE);
    assert_near(without.loss, whole.loss, 1e-9);
    evaluation_release(&without);
    evaluation_release(&whole);
}

/* Grey in the place of pictures, on a model that hears and sees. */
static void test_evaluate__without_pictures(void **state)
{
    (void)state;
    struct err e = {0};
    struct session s;
    struct manifest m;
    char path[] = "tests/data/score_media/records.jsonl", *patterns[] = {path};
    double loss[3];
    int rc = session_open(&s,
                          &(struct session_options){
                              .model = "tests/data/score_media/towers",
                              .device = DEVICE_CPU,
                              .dtype = DTYPE_F32,
                          },
                          &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    assert_int_equal(
        manifest_open(&m, &(struct manifest_options){.patterns = patterns, .pattern_count = 1}, &e),
        0);
    for (int i = 0; i < 3; i++) {
        struct evaluation v;
        struct evaluate_options o = {
            .batch = 2, .generates = i == 2, .max_new_tokens = 3, .ablation = i};
        if (evaluate(&v, &s, &m, &o, &e))
            fail_msg("%s", e.text);
        loss[i] = v.loss;
        assert_int_equal(v.bad, 0);
        evaluation_release(&v);
    }
    assert_true(fabs(loss[SAMPLE_WITHOUT_AUDIO] - loss[SAMPLE_WHOLE]) > 1e-5);
    assert_true(fabs(loss[SAMPLE_WITHOUT_IMAGE] - loss[SAMPLE_WHOLE]) > 1e-5);
    assert_true(fabs(loss[SAMPLE_WITHOUT_IMAGE] - loss[SAMPLE_WITHOUT_AUDIO]) > 1e-6);
    manifest_release(&m);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

static void test_evaluate__worst_first(void **state)
{
    (void)state;
    struct evaluated t[5] = {0};
    const int errors[] = {1, 4, 0, 4, 2};
    for (int i = 0; i < 5; i++)
        t[i].wer.substitutions = errors[i];
    struct evaluation v = {.transcripts = t, .transcript_count = 5};
    int64_t worst[5];
    assert_int_equal(evaluation_worst(&v, worst, 3), 3);
    assert_int_equal(worst[0], 1);
    assert_int_equal(worst[1], 3);
    assert_int_equal(worst[2], 4);
    assert_int_equal(evaluation_worst(&v, worst, 5), 5);
    assert_int_equal(worst[4], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate__loss_is_the_mean_over_tokens),
        cmocka_unit_test(test_evaluate__transcripts_are_the_references),
        cmocka_unit_test(test_evaluate__bad_records_are_counted_and_capped),
        cmocka_unit_test(test_evaluate__exact_replies_are_counted),
        cmocka_unit_test(test_evaluate__without_sound),
        cmocka_unit_test(test_evaluate__without_pictures),
        cmocka_unit_test(test_evaluate__worst_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
