/* test_evaluate.c - loss and error rates of the fixture, against its reference values. */
#include "train/evaluate.h"

#include "score_fixture.h"

#include "base/mem.h"
#include "train/breakdown.h"
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

/* ---------------------------------------------------------------- Whisper -- */

#define WHISPER "tests/data/whisper/"

static void open_whisper(struct session *s, struct manifest *m, const char *name)
{
    struct err e = {0};
    char *records = xasprintf(WHISPER "evaluate/%s.records.jsonl", name);
    char *model = xasprintf(WHISPER "%s", name);
    struct session_options o = {
        .model = model,
        .device = DEVICE_CPU,
        .dtype = DTYPE_F32,
        .senses.crossing = {.language = "detect", .has_whole_window = true},
    };
    int rc = session_open(s, &o, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    rc = manifest_open(m, &(struct manifest_options){.patterns = &records, .pattern_count = 1}, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    free(records);
    free(model);
}

/* A folder whose normalizer.json has the table of tests/fixtures/whisper_evaluate.py. */
static char *open_spellings(void)
{
    static const char table[] = "{\"colour\": \"color\"}";
    struct err e = {0};
    char *folder = testing_folder(), *path = path_join(folder, "normalizer.json");
    assert_int_equal(file_write(path, table, sizeof table - 1, &e), 0);
    free(path);
    return folder;
}

static void close_spellings(char *folder)
{
    char *path = path_join(folder, "normalizer.json");
    unlink(path);
    rmdir(folder);
    free(path);
    free(folder);
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static void check_rates(const struct error_count *wer, const struct error_count *cer,
                        const json_t *expected)
{
    assert_int_equal(wer->reference, (int64_t)number(expected, "words"));
    assert_near(error_rate(wer), number(expected, "wer"), 1e-9);
    assert_near(error_rate(cer), number(expected, "cer"), 1e-9);
}

static void check_transcripts(const struct evaluation *v, const json_t *expected)
{
    const json_t *texts = json_object_get(expected, "texts");
    const json_t *languages = json_object_get(expected, "languages");
    const json_t *rates = json_object_get(expected, normalizer_name(v->normalizer));
    assert_int_equal(v->transcript_count, json_array_size(texts));
    for (int64_t i = 0; i < v->transcript_count; i++) {
        assert_string_equal(v->transcripts[i].hypothesis,
                            json_string_value(json_array_get(texts, (size_t)i)));
        assert_string_equal(v->transcripts[i].language,
                            json_string_value(json_array_get(languages, (size_t)i)));
    }
    assert_near(v->transcripts[0].seconds, 1.6, 1e-3);
    assert_near(v->transcripts[1].seconds, 0.9, 1e-3);
    check_rates(&v->wer, &v->cer, rates);

    struct breakdown b;
    const json_t *groups = json_object_get(rates, "by_language");
    breakdown_by_language(v, &b);
    assert_int_equal(b.count, json_object_size(groups));
    for (int i = 0; i < b.count; i++)
        check_rates(&b.at[i].wer, &b.at[i].cer, json_object_get(groups, b.at[i].name));
    breakdown_release(&b);
}

/* Loss, transcripts, detected languages and error rates are those of transformers and jiwer. */
static void check_whisper(const char *name, int batch, enum normalizer n)
{
    struct err e = {0};
    struct session s;
    struct manifest m;
    struct evaluation v;
    char *path = xasprintf(WHISPER "evaluate/%s.json", name), *folder = open_spellings();
    json_t *expected = json_read_file(path, 1 << 20, &e);
    assert_ok(e);
    open_whisper(&s, &m, name);
    struct evaluate_options o = {
        .batch = batch,
        .generates = true,
        .max_new_tokens = (int)number(expected, "new_tokens"),
        .normalizer = n,
        .checkpoint = folder,
    };
    int rc = evaluate(&v, &s, &m, &o, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    assert_int_equal(v.bad, 0);
    assert_int_equal(v.records, 7);
    assert_int_equal(v.supervised, (int64_t)number(expected, "supervised"));
    assert_near(v.loss, number(expected, "loss"), 1e-4);
    assert_int_equal(v.has_spellings, n == NORMALIZE_WHISPER_ENGLISH);
    check_transcripts(&v, expected);
    evaluation_release(&v);
    manifest_release(&m);
    session_close(&s);
    close_spellings(folder);
    json_decref(expected);
    free(path);
    assert_int_equal(mx_live(), 0);
}

static void test_evaluate__whisper_equals_the_references(void **state)
{
    (void)state;
    check_whisper("v2", 3, NORMALIZE_WHISPER_ENGLISH);
    check_whisper("v3", 1, NORMALIZE_WHISPER_BASIC);
    check_whisper("v3", 4, NORMALIZE_WHISPER_ENGLISH);
}

/* With silence in the place of the sound everybody says the same. */
static void test_evaluate__whisper_without_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct session s;
    struct manifest m;
    struct evaluation whole, without;
    open_whisper(&s, &m, "v3");
    struct evaluate_options o = {.batch = 4, .generates = true, .max_new_tokens = 8};
    assert_int_equal(evaluate(&whole, &s, &m, &o, &e), 0);
    o.ablation = SAMPLE_WITHOUT_AUDIO;
    assert_int_equal(evaluate(&without, &s, &m, &o, &e), 0);
    assert_ok(e);
    assert_true(fabs(without.loss - whole.loss) > 1e-3);
    assert_int_equal(without.supervised, whole.supervised);
    assert_string_not_equal(whole.transcripts[0].hypothesis, whole.transcripts[6].hypothesis);
    assert_string_equal(without.transcripts[0].hypothesis, without.transcripts[6].hypothesis);
    assert_int_equal(whole.has_spellings, false);
    evaluation_release(&whole);
    evaluation_release(&without);
    manifest_release(&m);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

/* A recording longer than the window, cut by its segments: one record, one transcript. */
static void test_evaluate__whisper_windows_are_one_record(void **state)
{
    (void)state;
    struct err e = {0};
    struct session s;
    struct manifest m, other;
    struct evaluation v;
    char *folder = testing_folder(), *path = path_join(folder, "data.jsonl");
    char *here = realpath(WHISPER "clips", NULL);
    assert_non_null(here);
    char *text = xasprintf("{\"id\": \"long\", \"audio\": \"%s/long.wav\", \"language\": \"en\", "
                           "\"segments\": [{\"start\": 0, \"end\": 1.5, \"text\": \" One.\"}, "
                           "{\"start\": 1.8, \"end\": 3.4, \"text\": \" Two and three.\"}, "
                           "{\"start\": 3.5, \"end\": 5.4, \"text\": \" Four.\"}]}\n"
                           "{\"audio\": \"%s/sweep.wav\", \"language\": \"en\", \"text\": \"x\"}\n",
                           here, here);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    open_whisper(&s, &m, "v3");
    assert_int_equal(
        manifest_open(&other, &(struct manifest_options){.patterns = &path, .pattern_count = 1},
                      &e),
        0);
    struct evaluate_options o = {.batch = 2, .generates = true, .max_new_tokens = 8};
    assert_int_equal(evaluate(&v, &s, &other, &o, &e), 0);
    assert_int_equal(v.bad, 0);
    assert_int_equal(v.records, 2);
    assert_int_equal(v.transcript_count, 2);
    assert_string_equal(v.transcripts[0].reference, " One. Two and three. Four.");
    assert_int_equal(v.transcripts[0].wer.reference, 5);
    assert_near(v.transcripts[0].seconds, 1.5 + 1.6 + 1.9, 1e-2);
    evaluation_release(&v);
    manifest_release(&m);
    manifest_release(&other);
    session_close(&s);
    unlink(path);
    rmdir(folder);
    free(folder);
    free(path);
    free(here);
    free(text);
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
        cmocka_unit_test(test_evaluate__whisper_equals_the_references),
        cmocka_unit_test(test_evaluate__whisper_without_sound),
        cmocka_unit_test(test_evaluate__whisper_windows_are_one_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
