/* test_whisper.c - transcripts as transformers' WhisperTokenizer writes them, for three generations
 * of checkpoints (tests/fixtures/whisper_tokens.py), and what bad ones say. */
#include "testing.h"

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/chat.h"
#include "text/language.h"
#include "text/whisper.h"

#define DATA "tests/data/text/"

static const char *const kinds[] = {"v2", "v3", "en"};
enum { KINDS = 3, SEGMENTS_MAX = 8 };

/* ---------------------------------------------------------------- helpers -- */

/* A checkpoint folder of the fixture, opened. */
struct checkpoint {
    struct tokenizer *t;
    struct chat_format chat;
    const struct whisper_format *f;
};

static struct checkpoint *open_checkpoint(const char *kind)
{
    struct checkpoint *c = xcalloc(1, sizeof *c);
    struct err e = {0};
    char path[200];

    snprintf(path, sizeof path, DATA "whisper_%s", kind);
    c->t = tokenizer_open(path, &e);
    assert_ok(e);
    assert_int_equal(chat_format_open(&c->chat, path, c->t, &e), 0);
    assert_ok(e);
    assert_int_equal(c->chat.family, CHAT_WHISPER);
    c->f = &c->chat.whisper;
    return c;
}

static void close_checkpoint(struct checkpoint *c)
{
    tokenizer_free(c->t);
    free(c);
}

static json_t *load_fixture(void)
{
    struct err e = {0};
    json_t *all = json_read_file(DATA "whisper.json", 1 << 22, &e);
    assert_ok(e);
    return all;
}

static const char *str(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* Render one clip; `prompt` and `text` NULL: none, and then a reply is asked for. */
static int render(const struct checkpoint *c, const struct whisper_speech *s, const char *prompt,
                  const char *text, struct chat_rendered *out, struct err *e)
{
    struct chat_part user[] = {{CHAT_AUDIO, NULL, 0}, {CHAT_TEXT, prompt, 0}};
    struct chat_part reply[] = {{CHAT_TEXT, text, 0}};
    struct chat_message m[] = {
        {.role = CHAT_USER, .parts = user, .part_count = prompt ? 2 : 1},
        {.role = CHAT_ASSISTANT, .parts = reply, .part_count = 1},
    };
    struct chat_media media = {0};
    return chat_render(&c->chat,
                       &(struct chat_request){.messages = m,
                                              .message_count = text ? 2 : 1,
                                              .media = &media,
                                              .media_count = 1,
                                              .has_generation_prompt = !text,
                                              .speech = s},
                       out, e);
}

static void expect_ids(const struct ids *found, const json_t *expected, size_t count,
                       const char *what)
{
    for (size_t i = 0; i < count && i < (size_t)found->count; i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(expected, i));
        if (found->at[i] != id)
            fail_msg("%s: id %zu is %d, expected %d", what, i, found->at[i], id);
    }
    assert_int_equal(found->count, count);
}

/* -------------------------------------------------------- control tokens -- */

static void test_whisper__finds_control_tokens(void **state)
{
    (void)state;
    json_t *all = load_fixture();

    for (int k = 0; k < KINDS; k++) {
        struct checkpoint *c = open_checkpoint(kinds[k]);
        const json_t *ids = json_object_get(json_object_get(all, kinds[k]), "ids");
        const struct whisper_format *f = c->f;
        const struct {
            const char *piece;
            int32_t id;
        } found[] = {
            {"<|startoftranscript|>", f->start},
            {"<|endoftext|>", f->end},
            {"<|startofprev|>", f->prev},
            {"<|transcribe|>", f->transcribe},
            {"<|translate|>", f->translate},
            {"<|notimestamps|>", f->no_timestamps},
            {k == 1 ? "<|nospeech|>" : "<|nocaptions|>", f->no_speech},
        };
        for (size_t i = 0; i < sizeof found / sizeof *found; i++)
            assert_int_equal(found[i].id, json_integer_value(json_object_get(ids, found[i].piece)));
        assert_int_equal(f->is_multilingual, k != 2);
        assert_int_equal(f->language_count, k == 1 ? 100 : 99);
        assert_int_equal(f->time_count, k == 1 ? 151 : 1501);
        assert_int_equal(f->first_time, f->no_timestamps + 1);
        assert_int_equal(f->positions, 448);
        int32_t stop[4];
        assert_int_equal(chat_stop_ids(&c->chat, stop, 4), 1);
        assert_int_equal(stop[0], f->end);
        close_checkpoint(c);
    }
    json_decref(all);
}

static void test_whisper__knows_the_languages_of_the_reference(void **state)
{
    (void)state;
    json_t *all = load_fixture(), *names = json_object_get(all, "names"), *id;
    const char *code;

    for (int k = 0; k < KINDS; k++) {
        struct checkpoint *c = open_checkpoint(kinds[k]);
        json_t *languages = json_object_get(json_object_get(all, kinds[k]), "languages");
        struct err e = {0};
        json_object_foreach(languages, code, id)
        {
            int32_t found = whisper_language_id(c->f, code, &e);
            assert_int_equal(found, json_integer_value(id));
            assert_string_equal(whisper_language_code(c->f, found), code);
        }
        assert_ok(e);
        assert_int_equal(json_object_size(languages), c->f->language_count);
        assert_null(whisper_language_code(c->f, c->f->start));
        assert_null(whisper_language_code(c->f, c->f->first_language + c->f->language_count));
        assert_int_equal(whisper_language_id(c->f, "germn", &e), -1);
        assert_err(e, ERR_DATA, "no language 'germn'");
        assert_non_null(strstr(e.hint, "'german'"));
        close_checkpoint(c);
    }
    assert_true(json_array_size(names) > 110);
    for (size_t i = 0; i < json_array_size(names); i++) {
        json_t *pair = json_array_get(names, i);
        struct err e = {0};
        int index = language_find(json_string_value(json_array_get(pair, 0)), LANGUAGES_COUNT, &e);
        assert_ok(e);
        assert_string_equal(language_code(index), json_string_value(json_array_get(pair, 1)));
    }
    json_decref(all);
}

/* ------------------------------------------------------ against the reference -- */

static void read_speech(struct whisper_speech *s, struct whisper_segment *segments, const json_t *c)
{
    const json_t *list = json_object_get(c, "segments");
    const char *task = str(c, "task");

    *s = (struct whisper_speech){.language = str(c, "language"),
                                 .task = !task         ? WHISPER_TASK_UNKNOWN
                                         : task[5] == 'l' ? WHISPER_TRANSLATE
                                                          : WHISPER_TRANSCRIBE,
                                 .timestamps = list ? 1 : -1,
                                 .segments = segments,
                                 .segment_count = (int)json_array_size(list)};
    assert_true(s->segment_count <= SEGMENTS_MAX);
    for (int i = 0; i < s->segment_count; i++) {
        json_t *g = json_array_get(list, (size_t)i);
        segments[i] = (struct whisper_segment){json_number_value(json_array_get(g, 0)),
                                               json_number_value(json_array_get(g, 1)),
                                               json_string_value(json_array_get(g, 2))};
    }
}

static void check_case(const struct checkpoint *c, const json_t *given)
{
    struct whisper_segment segments[SEGMENTS_MAX];
    struct whisper_speech s;
    struct chat_rendered out;
    struct err e = {0};
    const json_t *ids = json_object_get(given, "ids");
    int prefix = (int)json_integer_value(json_object_get(given, "prefix"));
    const char *text = str(given, "text");

    read_speech(&s, segments, given);
    int rc = render(c, &s, str(given, "prompt"), text, &out, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    expect_ids(&out.ids, ids, json_array_size(ids), text);
    assert_int_equal(out.language_at, -1);
    assert_int_equal(out.span_count, 0);
    for (int i = 0; i < out.ids.count; i++)
        assert_int_equal(out.supervised[i], i >= prefix);

    /* What is generated is decoded without times and control tokens. */
    struct buf decoded;
    buf_init(&decoded, 1 << 16);
    assert_int_equal(tokenizer_decode(c->t, out.ids.at + prefix, (size_t)(out.ids.count - prefix),
                                      true, &decoded, &e),
                     0);
    assert_string_equal(decoded.data, str(given, "decoded"));
    buf_release(&decoded);
    chat_rendered_release(&out);

    assert_int_equal(render(c, &s, str(given, "prompt"), NULL, &out, &e), 0);
    expect_ids(&out.ids, ids, (size_t)prefix, text);
    for (int i = 0; i < out.ids.count; i++)
        assert_int_equal(out.supervised[i], 0);
    chat_rendered_release(&out);
}

static void test_whisper__equals_reference(void **state)
{
    (void)state;
    json_t *all = load_fixture();

    for (int k = 0; k < KINDS; k++) {
        struct checkpoint *c = open_checkpoint(kinds[k]);
        json_t *cases = json_object_get(json_object_get(all, kinds[k]), "cases");
        assert_true(json_array_size(cases) > 40);
        for (size_t i = 0; i < json_array_size(cases); i++)
            check_case(c, json_array_get(cases, i));
        close_checkpoint(c);
    }
    json_decref(all);
}

/* -------------------------------------------------------------- by example -- */

static void test_whisper__asks_for_the_language(void **state)
{
    (void)state;
    struct whisper_speech nothing = {.task = WHISPER_TASK_UNKNOWN, .timestamps = -1};
    struct whisper_speech detect = {.language = "detect", .task = WHISPER_TASK_UNKNOWN};
    struct checkpoint *c = open_checkpoint("v3"), *en = open_checkpoint("en");
    struct chat_rendered out;
    struct err e = {0};

    assert_int_equal(render(c, &nothing, " before ", NULL, &out, &e), 0);
    assert_int_equal(out.ids.at[out.language_at - 1], c->f->start);
    assert_int_equal(out.ids.at[out.language_at], c->f->first_language);
    assert_int_equal(out.ids.at[out.language_at + 1], c->f->transcribe);
    assert_int_equal(out.language_at, out.ids.count - 3);
    chat_rendered_release(&out);
    assert_int_equal(render(c, &detect, NULL, "text", &out, &e), 0);
    assert_int_equal(out.language_at, 1);
    chat_rendered_release(&out);
    /* Of training data somebody must say it. */
    assert_int_equal(render(c, &nothing, NULL, "text", &out, &e), -1);
    assert_err(e, ERR_DATA, "says no language");
    assert_int_equal(out.language_at, -1);

    e = (struct err){0};
    assert_int_equal(render(en, &detect, NULL, "text", &out, &e), 0);
    assert_int_equal(out.language_at, -1);
    assert_int_equal(out.ids.at[1], en->f->no_timestamps);
    chat_rendered_release(&out);
    assert_int_equal(render(en, NULL, NULL, NULL, &out, &e), 0);
    assert_int_equal(out.ids.count, 2);
    chat_rendered_release(&out);
    close_checkpoint(c);
    close_checkpoint(en);
}

static void test_whisper__writes_times(void **state)
{
    (void)state;
    struct checkpoint *c = open_checkpoint("v2");
    struct whisper_segment segments[] = {{0, 1, "a"}, {0.9995, 1.004, "b"}};
    struct whisper_speech s = {.segments = segments, .segment_count = 2, .seconds = 1};
    struct ids ids = IDS_INIT, text = IDS_INIT;
    struct err e = {0};
    int32_t zero = c->f->first_time;

    assert_int_equal(whisper_time_id(c->f, 29.99, &e), zero + 1500);
    assert_int_equal(whisper_time_id(c->f, 30.009, &e), zero + 1500);
    assert_int_equal(whisper_time_id(c->f, 1.229, &e), zero + 61);
    assert_near(whisper_time_of(c->f, zero + 61), 1.22, 1e-12);
    assert_int_equal(whisper_time_of(c->f, zero - 1), -1);
    assert_int_equal(whisper_time_of(c->f, zero + 1501), -1);

    /* A segment's text between its times, 20 s into a window; no time goes back. */
    assert_int_equal(whisper_text(c->f, &s, "ignored", true, 20, &ids, &e), 0);
    assert_int_equal(ids.count, 6);
    assert_int_equal(ids.at[0], zero + 1000);
    assert_int_equal(ids.at[2], zero + 1050);
    assert_int_equal(ids.at[3], zero + 1050);
    assert_int_equal(ids.at[5], zero + 1050);

    /* One text is one segment. */
    s.segment_count = 0;
    ids_clear(&ids);
    assert_int_equal(whisper_text(c->f, &s, " good morning", true, 0, &ids, &e), 0);
    assert_int_equal(tokenizer_encode(c->t, " good morning", 13, &text, &e), 0);
    assert_int_equal(ids.count, text.count + 2);
    assert_int_equal(ids.at[ids.count - 1], zero + 50);
    assert_memory_equal(ids.at + 1, text.at, (size_t)text.count * sizeof *text.at);
    s.seconds = 0;
    assert_int_equal(whisper_text(c->f, &s, "x", true, 0, &ids, &e), -1);
    assert_err(e, ERR_DATA, "neither segments nor the clip's length");
    ids_release(&ids);
    ids_release(&text);
    close_checkpoint(c);
}

/* ----------------------------------------------------------------- errors -- */

static void test_whisper__refuses_bad_segments(void **state)
{
    (void)state;
    struct checkpoint *c = open_checkpoint("v2");
    static const struct {
        struct whisper_segment segments[2];
        double seconds;
        const char *text;
    } cases[] = {
        {{{0, 1, "a"}, {0.5, 2, "b"}},
         0,
         "segments[1]: starts at 0.50 s, before 1.00 s, the end of the one before"},
        {{{-0.1, 1, "a"}, {1, 2, "b"}}, 0, "segments[0]: starts at -0.10 s, before the clip"},
        {{{0, 1, "a"}, {2, 1.5, "b"}}, 0, "segments[1]: ends at 1.50 s, starts at 2.00 s"},
        {{{0, 0, "a"}, {2, 3, "b"}}, 0, "segments[0]: ends at 0.00 s"},
        {{{NAN, 1, "a"}, {2, 3, "b"}}, 0, "segments[0]: starts at"},
        {{{0, NAN, "a"}, {2, 3, "b"}}, 0, "segments[0]: ends at"},
        {{{0, 1, "a"}, {2, 9, "b"}}, 8, "segments[1]: ends at 9.00 s, the clip at 8.00 s"},
        {{{0, 1, "a"}, {29, 31, "b"}}, 40, "segments[1]: 31.00 s is outside the window of 30.00 s"},
        {{{0, 1, "a"}, {2, 3, "b<|en|>"}}, 0, "segments[1]: the text contains the control token"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct whisper_segment segments[2] = {cases[i].segments[0], cases[i].segments[1]};
        struct whisper_speech s = {.language = "de",
                                   .timestamps = 1,
                                   .segments = segments,
                                   .segment_count = 2,
                                   .seconds = cases[i].seconds};
        struct chat_rendered out;
        struct err e = {0};
        assert_int_equal(render(c, &s, NULL, "", &out, &e), -1);
        assert_err(e, ERR_DATA, cases[i].text);
        assert_null(out.ids.at);
    }
    struct err e = {0};
    assert_int_equal(whisper_time_id(c->f, -1e-9, &e), c->f->first_time);
    assert_int_equal(whisper_time_id(c->f, -0.002, &e), -1);
    assert_err(e, ERR_DATA, "outside the window");
    e = (struct err){0};
    assert_int_equal(whisper_time_id(c->f, INFINITY, &e), -1);
    assert_err(e, ERR_DATA, "outside the window");
    close_checkpoint(c);
}

static void test_whisper__refuses_forged_tokens(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<|endoftext|>", "<|en|>",       "<|startofprev|>",
                                         "<|notimestamps|>", "<|0.00|>",  "<|29.98|>",
                                         "<|transcribe|>",   "<|123.4|>"};
    struct whisper_speech s = {.language = "en"};

    for (int k = 0; k < KINDS; k++) {
        struct checkpoint *c = open_checkpoint(kinds[k]);
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
            struct chat_rendered out;
            char text[100];
            struct err e = {0};
            snprintf(text, sizeof text, "<|<|9 |> nice%sone", tokens[i]);
            assert_int_equal(render(c, &s, NULL, text, &out, &e), -1);
            assert_err(e, ERR_DATA, tokens[i]);
            assert_non_null(strstr(e.text, "message 2 of 2"));
            e = (struct err){0};
            assert_int_equal(render(c, &s, text, "ok", &out, &e), -1);
            assert_err(e, ERR_DATA, tokens[i]);
            assert_non_null(strstr(e.text, "prompt"));
        }
        close_checkpoint(c);
    }
}

static void test_whisper__refuses_what_the_model_cannot(void **state)
{
    (void)state;
    struct checkpoint *c = open_checkpoint("v2"), *en = open_checkpoint("en");
    static const struct {
        struct whisper_speech s;
        const char *english, *multilingual;        /* NULL: fine */
    } cases[] = {
        {{.language = "de"}, "language: the record says 'de', the model knows English only", NULL},
        {{.language = "english"}, NULL, NULL},
        {{.language = "en-GB"}, NULL, NULL},
        {{.language = "xx"},
         "language: the model has no language 'xx'",
         "language: the model has no language 'xx'"},
        {{.language = "yue"}, "knows English only", "language: the model has no language 'yue'"},
        {{.language = "en", .task = WHISPER_TRANSLATE}, "task: the model knows English only", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 2; k++) {
            const char *text = k ? cases[i].multilingual : cases[i].english;
            struct chat_rendered out;
            struct err e = {0};
            assert_int_equal(render(k ? c : en, &cases[i].s, NULL, "a", &out, &e), text ? -1 : 0);
            if (text)
                assert_err(e, ERR_DATA, text);
            chat_rendered_release(&out);
        }
    close_checkpoint(c);
    close_checkpoint(en);
}

/* -------------------------------------------------------------- checkpoints -- */

static void put(const char *folder, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

#define SIZES "\"vocab_size\":3000,\"max_target_positions\":20,\"max_source_positions\":1500"

static void test_whisper__tells_multilingual_checkpoints(void **state)
{
    (void)state;
    struct checkpoint *v2 = open_checkpoint("v2"), *en = open_checkpoint("en");
    char *folder = testing_folder(), language[300], none[300];
    struct err e = {0};

    snprintf(language, sizeof language, "{" SIZES ",\"forced_decoder_ids\":[[1,%d],[2,%d]]}",
             en->f->first_language + 3, en->f->transcribe);
    snprintf(none, sizeof none, "{" SIZES ",\"forced_decoder_ids\":[[1,%d]]}",
             en->f->no_timestamps);
    const struct {
        const char *config, *generation;
        bool is_multilingual;
    } cases[] = {
        {"{" SIZES "}", "{\"is_multilingual\":true}", true},
        {"{" SIZES "}", "{\"is_multilingual\":false,\"lang_to_id\":{}}", false},
        {"{" SIZES "}", "{\"lang_to_id\":{}}", true},
        {language, "{}", true},
        {none, "{}", false},
        {none, "{\"forced_decoder_ids\":[[1,null],[2,9]]}", true},
        {"{" SIZES "}", "{}", true},
        {"{\"vocab_size\":51864,\"max_target_positions\":2,\"max_source_positions\":3}", "{}",
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct whisper_format f;
        put(folder, "config.json", cases[i].config);
        put(folder, "generation_config.json", cases[i].generation);
        assert_int_equal(whisper_format_open(&f, folder, en->t, &e), 0);
        assert_ok(e);
        if (f.is_multilingual != cases[i].is_multilingual)
            fail_msg("%s %s: %d", cases[i].config, cases[i].generation, f.is_multilingual);
    }
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    close_checkpoint(v2);
    close_checkpoint(en);
}

static void test_whisper__refuses_bad_folders(void **state)
{
    (void)state;
    struct checkpoint *c = open_checkpoint("v2");
    char *folder = testing_folder();
    struct whisper_format f;
    struct chat_format chat;
    struct err e = {0};

    put(folder, "config.json", "{\"vocab_size\":51865,\"max_target_positions\":448}");
    assert_int_equal(whisper_format_open(&f, folder, c->t, &e), -1);
    assert_err(e, ERR_DATA, "config.json: \"max_source_positions\" is missing");
    put(folder, "config.json",
        "{\"vocab_size\":0,\"max_target_positions\":448,"
        "\"max_source_positions\":1500}");
    e = (struct err){0};
    assert_int_equal(whisper_format_open(&f, folder, c->t, &e), -1);
    assert_err(e, ERR_DATA, "vocab_size is 0, expected 1 to");

    /* Few timestamps, or none, in a small vocabulary. */
    e = (struct err){0};
    assert_int_equal(whisper_format_init(&f, c->t, c->f->first_time + 5, 448, &e), 0);
    assert_int_equal(f.time_count, 5);
    assert_int_equal(whisper_format_init(&f, c->t, c->f->first_time, 448, &e), 0);
    assert_int_equal(whisper_time_id(&f, 0, &e), -1);
    assert_err(e, ERR_DATA, "has no timestamps");

    e = (struct err){0};
    struct tokenizer *gemma = tokenizer_open(DATA "gemma.json", &e);
    assert_ok(e);
    assert_int_equal(chat_format_init(&chat, "whisper", NULL, gemma, &e), -1);
    assert_err(e, ERR_USAGE, "the tokenizer has no token <|startoftranscript|>");
    e = (struct err){0};
    assert_int_equal(chat_format_init(&chat, "whisper", NULL, c->t, &e), 0);
    assert_int_equal(chat.whisper.start, c->f->start);
    tokenizer_free(gemma);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    close_checkpoint(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whisper__finds_control_tokens),
        cmocka_unit_test(test_whisper__knows_the_languages_of_the_reference),
        cmocka_unit_test(test_whisper__equals_reference),
        cmocka_unit_test(test_whisper__asks_for_the_language),
        cmocka_unit_test(test_whisper__writes_times),
        cmocka_unit_test(test_whisper__refuses_bad_segments),
        cmocka_unit_test(test_whisper__refuses_forged_tokens),
        cmocka_unit_test(test_whisper__refuses_what_the_model_cannot),
        cmocka_unit_test(test_whisper__tells_multilingual_checkpoints),
        cmocka_unit_test(test_whisper__refuses_bad_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
