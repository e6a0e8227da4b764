/* test_session.c - a checkpoint opened whole, and what is said of bad ones. */
#include "train/session.h"

#include "score_fixture.h"

#include "base/dir.h"
#include "base/mem.h"
#include "data/collate.h"
#include "mx/mx.h"
#include "nn/safetensors.h"

#define WHISPER "tests/data/whisper/"

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
    assert_ptr_equal(s.format.mel, s.senses.mel);
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

/* Two rows of 64 tokens with three targets and a padded one. */
struct little {
    int32_t tokens[2 * 64], lengths[2], ids[4], rows[4];
    float weights[4];
    struct batch b;
};

static void make_little(struct little *l)
{
    *l = (struct little){
        .lengths = {64, 64},
        .ids = {5, 6, 7, 0},
        .rows = {40, 64 + 37, 64 + 50, 0},
        .weights = {1, 1, 1, 0},
    };
    l->b = (struct batch){.rows = 2,
                          .len = 64,
                          .tokens = l->tokens,
                          .lengths = l->lengths,
                          .targets = 4,
                          .target_rows = l->rows,
                          .target_ids = l->ids,
                          .target_weights = l->weights,
                          .supervised = 3};
}

static void expect_ints(mx_array x, const int32_t *expected, int count)
{
    struct err e = {0};
    int32_t found[64];
    assert_true(count <= 64 && mx_size(x) == (size_t)count);
    assert_int_equal(mx_read(x, MX_INT32, found, (size_t)count * sizeof *found, &e), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(found[i], expected[i]);
}

static void test_session__input_keeps_the_rows_with_loss(void **state)
{
    (void)state;
    struct session s;
    struct model_input in;
    struct little l;
    fixture_open(&s, NULL);
    make_little(&l);
    mx_enter();
    session_input(&in, s.model, &l.b, &(struct session_rows){4});
    expect_ints(in.kept, (int32_t[]){40, 40, 40, 40, 37, 50, 50, 50}, 8);
    expect_ints(in.target_rows, (int32_t[]){0, 4, 5, 0}, 4);
    assert_int_equal(mx_dim(in.tokens, 1), 64);
    assert_true(mx_is_none(in.mel) && mx_is_none(in.soft) && mx_is_none(in.pixels));
    assert_true(mx_is_none(in.segment) && mx_is_none(in.position));
    /* Not asked for; nothing would be saved; there is nothing to keep. */
    session_input(&in, s.model, &l.b, &(struct session_rows){0});
    assert_true(mx_is_none(in.kept));
    expect_ints(in.target_rows, l.rows, 4);
    session_input(&in, s.model, &l.b, &(struct session_rows){64});
    assert_true(mx_is_none(in.kept));
    expect_ints(in.target_rows, l.rows, 4);
    memset(l.weights, 0, sizeof l.weights);
    session_input(&in, s.model, &l.b, &(struct session_rows){4});
    assert_true(mx_is_none(in.kept));
    mx_leave(MX_NONE);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

static void test_session__input_has_pictures_and_segments(void **state)
{
    (void)state;
    struct session s;
    struct model_input in;
    struct little l;
    uint8_t pixels[2 * 3 * 5];
    int32_t patch_at[2 * 3 * 2], soft[128], segment[128], position[128];
    fixture_open(&s, NULL);
    make_little(&l);
    for (int i = 0; i < 30; i++)
        pixels[i] = (uint8_t)(8 * i);
    for (int i = 0; i < 12; i++)
        patch_at[i] = i - 1;
    for (int i = 0; i < 128; i++) {
        soft[i] = -1;
        segment[i] = i % 64 / 32;
        position[i] = i % 32;
    }
    l.b.pictures = 2;
    l.b.patches = 3;
    l.b.patch_numbers = 5;
    l.b.pixels = pixels;
    l.b.patch_at = patch_at;
    l.b.soft = soft;
    l.b.segments = 2;
    l.b.segment = segment;
    l.b.position = position;
    mx_enter();
    session_input(&in, s.model, &l.b, &(struct session_rows){0});
    mx_expect(in.pixels, 2, 3, 5);
    assert_int_equal(mx_dtype(in.pixels), MX_UINT8);
    expect_ints(mx_flatten(mx_index(in.pixels, 0, 0), 0, 1),
                (int32_t[]){0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112}, 15);
    expect_ints(mx_flatten(in.patch_at, 0, 2), patch_at, 12);
    expect_ints(mx_index(in.segment, 0, 1), segment + 64, 64);
    expect_ints(mx_index(in.position, 0, 1), position + 64, 64);
    assert_false(mx_is_none(in.soft));
    mx_leave(MX_NONE);
    session_close(&s);
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
        *hears = s.senses.mel != NULL;
    collate(&b, &s.format, &sample, 1);
    float *p = xcalloc((size_t)b.targets, sizeof *p);
    *count = (size_t)b.supervised;
    mx_enter();
    session_input(&in, s.model, &b, &(struct session_rows){0});
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
    assert_true(session_adapter_has(folder, "audio"));
    assert_false(session_adapter_has(folder, "vision"));
    assert_false(session_adapter_has(SCORE "nowhere", "audio"));
    struct manifest records;
    struct session_options o = {.model = SCORE "model"};
    char *file = (char *)(uintptr_t)SCORE "records.jsonl";
    open_manifest(&records, file);
    session_fit(&o, &records, 0);
    assert_false(o.without_audio);
    assert_true(o.without_vision);
    manifest_release(&records);
    assert_int_equal(mx_live(), 0);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(path);
    free(folder);
}

static void whisper_open(struct session *s, const char *dir)
{
    struct err e = {0};
    int rc = session_open(
        s, &(struct session_options){.model = dir, .device = DEVICE_CPU, .max_tokens = 2048}, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
}

static void test_session__whisper(void **state)
{
    (void)state;
    struct err e = {0};
    struct session s;
    whisper_open(&s, WHISPER "v2");
    assert_int_equal(s.chat.family, CHAT_WHISPER);
    assert_int_equal(s.format.max_tokens, 96);
    assert_true(s.format.crossing.is_used);
    assert_int_equal(s.stop_count, 1);
    assert_int_equal(s.stop_ids[0], 394);
    assert_true(s.rules.never_count > 0 && s.rules.never_first_count > 0);
    /* Special tokens and times are no text. */
    struct ids ids = IDS_INIT;
    static const int32_t begin[] = {395, 396, 496, 500, 501, 526}, end[] = {558, 394};
    for (int i = 0; i < 6; i++)
        assert_int_equal(ids_push(&ids, begin[i], &e), 0);
    assert_int_equal(tokenizer_encode(s.tokenizer, " Das Boot <channel|> da ", 24, &ids, &e), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ids_push(&ids, end[i], &e), 0);
    char *text = session_text(&s, &ids, &e);
    assert_ok(e);
    assert_string_equal(text, "Das Boot <channel|> da");
    free(text);
    ids_release(&ids);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

/* Whatever is said of towers, an encoder-decoder has its encoder. */
static void test_session__whisper_needs_its_ears(void **state)
{
    (void)state;
    struct err e = {0};
    struct session s;
    struct session_options o = {.model = WHISPER "v3", .device = DEVICE_CPU, .without_audio = true};
    assert_true(session_is_crossing(WHISPER "v3"));
    assert_false(session_is_crossing(SCORE "model"));
    assert_false(session_is_crossing("tests/data/nowhere"));
    assert_int_equal(session_senses(WHISPER "v3"), SESSION_SOUND);
    assert_int_equal(session_open(&s, &o, &e), 0);
    assert_non_null(nn_params_find(&s.model->params, "model.encoder.conv1.weight"));
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__knows_what_ends_a_turn),
        cmocka_unit_test(test_session__text_is_the_answer_alone),
        cmocka_unit_test(test_session__input_keeps_the_rows_with_loss),
        cmocka_unit_test(test_session__input_has_pictures_and_segments),
        cmocka_unit_test(test_session__says_what_is_wrong_with_a_folder),
        cmocka_unit_test(test_session__without_sound_there_is_no_audio_tower),
        cmocka_unit_test(test_session__whisper),
        cmocka_unit_test(test_session__whisper_needs_its_ears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
