/* test_session.c - a checkpoint opened whole, and what is said of bad ones. */
#include "train/session.h"

#include "score_fixture.h"

#include "base/dir.h"
#include "base/mem.h"
#include "data/collate.h"
#include "mx/mx.h"
#include "nn/safetensors.h"

static void test_session__knows_what_ends_a_turn(void **state)
{
    (void)state;
    struct session s;
    fixture_open(&s, NULL);
    int32_t turn_end = tokenizer_id(s.tokenizer, "<turn|>");
    bool has_turn_end = false, has_eos = false;
    for (int i = 0; i < s.stop_count; i++) {
        has_turn_end |= s.stop_ids[i] == turn_end;
        has_eos |= s.stop_ids[i] == 1;
        for (int k = 0; k < i; k++)
            assert_int_not_equal(s.stop_ids[k], s.stop_ids[i]);
    }
    assert_true(has_turn_end && has_eos);
    assert_int_equal(s.format.max_tokens, 512);          /* max_position_embeddings */
    assert_non_null(s.format.mel);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

static char *text_of(const struct session *s, const char *text)
{
    struct err e = {0};
    struct ids ids = IDS_INIT;
    assert_int_equal(tokenizer_encode(s->tokenizer, text, strlen(text), &ids, &e), 0);
    char *out = session_text(s, &ids, &e);
    assert_ok(e);
    ids_release(&ids);
    return out;
}

static void expect_text(const struct session *s, const char *text, const char *expected)
{
    char *found = text_of(s, text);
    assert_string_equal(found, expected);
    free(found);
}

static void test_session__text_is_the_answer_alone(void **state)
{
    (void)state;
    struct session s;
    fixture_open(&s, NULL);
    expect_text(&s, "", "");
    expect_text(&s, " good morning\n", "good morning");
    expect_text(&s, "good<eos> morning", "good morning");
    expect_text(&s, "<|channel>thought\nlet me see<channel|>half past seven", "half past seven");
    expect_text(&s, "a  b", "a  b");
    session_close(&s);
}

static void test_session__input_has_the_first_row(void **state)
{
    (void)state;
    int32_t tokens[2 * 64] = {0}, lengths[2] = {64, 64}, ids[3] = {5, 6, 7};
    int32_t rows[3] = {40, 64 + 37, 0};
    float weights[3] = {1, 1, 0};
    struct batch b = {.rows = 2,
                      .len = 64,
                      .tokens = tokens,
                      .lengths = lengths,
                      .targets = 3,
                      .target_rows = rows,
                      .target_ids = ids,
                      .target_weights = weights};
    struct model_input in;
    mx_enter();
    session_input(&in, &b);
    assert_int_equal(in.first_row, 32);                  /* 37, down to a multiple of 16 */
    assert_int_equal(mx_dim(in.tokens, 1), 64);
    assert_true(mx_is_none(in.mel));
    weights[0] = weights[1] = 0;
    session_input(&in, &b);
    assert_int_equal(in.first_row, 0);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

static void expect_failure(const char *model, const char *adapter, enum err_kind kind,
                           const char *text)
{
    struct session s;
    struct err e = {0};
    struct session_options o = {.model = model, .adapter = adapter, .device = DEVICE_CPU};
    assert_int_equal(session_open(&s, &o, &e), -1);
    assert_err(e, kind, text);
    assert_true(*e.hint != 0);
    session_close(&s);                                   /* closed already; harmless */
    assert_int_equal(mx_live(), 0);
}

static void test_session__says_what_is_wrong_with_a_folder(void **state)
{
    (void)state;
    expect_failure("tests/data/nowhere", NULL, ERR_USAGE, "tests/data/nowhere: no such folder");
    expect_failure(SCORE "adapter", NULL, ERR_USAGE, "config.json");
    expect_failure(SCORE "model", SCORE "nowhere", ERR_USAGE, SCORE "nowhere");
    expect_failure(SCORE "model", SCORE "model", ERR_USAGE, "adapter_config.json");
}

static void open_manifest(struct manifest *m, char *path)
{
    struct err e = {0};
    assert_int_equal(
        manifest_open(m, &(struct manifest_options){.patterns = &path, .pattern_count = 1}, &e), 0);
}

/* Log-probabilities of the first record of the file, with the towers that fit it. */
static float *score_first(const char *file, const char *adapter, bool *hears, size_t *count)
{
    struct err e = {0};
    struct manifest m;
    struct sample sample;
    struct session s;
    struct batch b;
    struct model_input in;
    char *path = (char *)(uintptr_t)file;
    const struct record_ref first = {0};
    struct session_options o = {.model = SCORE "model", .adapter = adapter, .device = DEVICE_CPU};
    open_manifest(&m, path);
    if (hears)
        session_fit(&o, &m, 1);
    if (session_open(&s, &o, &e) ||
        sample_load(&sample, &s.format, &m, &first, NULL, NULL, SAMPLE_TRAIN, &e))
        fail_msg("%s", e.text);
    if (hears)
        *hears = s.mel != NULL;
    collate(&b, &s.format, &sample, 1);
    float *p = xcalloc((size_t)b.targets, sizeof *p);
    *count = (size_t)b.supervised;
    mx_enter();
    session_input(&in, &b);
    assert_int_equal(
        mx_read(model_logprobs(s.model, &in), MX_FLOAT32, p, (size_t)b.targets * sizeof *p, &e), 0);
    mx_leave(MX_NONE);
    batch_release(&b);
    sample_release(&sample);
    session_close(&s);
    manifest_release(&m);
    return p;
}

static void write_audio_adapter(const char *dir)
{
    struct err e = {0};
    char *path = path_join(dir, "adapter_model.safetensors");
    mx_enter();
    struct safetensors_item item = {"base_model.model.model.audio_tower.x.lora_A.weight",
                                    mx_full(1, MX_FLOAT32, 2, 2), MX_FLOAT32};
    assert_int_equal(safetensors_write(path, &item, 1, NULL, 0, NULL, &e), 0);
    mx_leave(MX_NONE);
    free(path);
}

static void test_session__without_sound_there_is_no_audio_tower(void **state)
{
    (void)state;
    char *folder = testing_folder(), *path = path_join(folder, "text.jsonl");
    static const char line[] = "{\"prompt\": \"say audio\", \"completion\": \"it is audio\"}\n";
    struct err e = {0};
    bool hears;
    size_t n, m;
    assert_int_equal(file_write(path, line, sizeof line - 1, &e), 0);
    float *without = score_first(path, NULL, &hears, &n);
    assert_false(hears);
    float *with = score_first(path, NULL, NULL, &m);
    assert_int_equal(n, m);
    assert_memory_equal(with, without, n * sizeof *with);
    free(with);
    free(without);
    free(score_first(path, SCORE "adapter", &hears, &n));
    assert_false(hears);
    /* An adapter may have a part in the tower, a record a clip. */
    write_audio_adapter(folder);
    assert_true(session_adapter_hears(folder));
    assert_false(session_adapter_hears(SCORE "nowhere"));
    struct manifest records;
    struct session_options o = {.model = SCORE "model"};
    char *file = (char *)(uintptr_t)SCORE "records.jsonl";
    open_manifest(&records, file);
    session_fit(&o, &records, 0);
    assert_false(o.without_audio);
    manifest_release(&records);
    assert_int_equal(mx_live(), 0);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(path);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__knows_what_ends_a_turn),
        cmocka_unit_test(test_session__text_is_the_answer_alone),
        cmocka_unit_test(test_session__input_has_the_first_row),
        cmocka_unit_test(test_session__says_what_is_wrong_with_a_folder),
        cmocka_unit_test(test_session__without_sound_there_is_no_audio_tower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
