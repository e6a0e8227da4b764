/* test_speech.c - recordings of any length against transformers (fixtures/whisper_generate.py). */
#include "train/speech.h"

#include "testing.h"

#include "base/json.h"
#include "base/mem.h"
#include "media/audio.h"
#include "mx/mx.h"

#define WHISPER "tests/data/whisper/"

enum { RECORDINGS_MAX = 4 };

/* Reference and program round differently: log-probabilities of tokens, not their choice. */
static const double TOLERANCE = 1e-4;

/* ---------------------------------------------------------------- opening -- */

static void open_session(struct session *s, const char *name)
{
    struct err e = {0};
    char *dir = xasprintf(WHISPER "%s", name);
    struct session_options o = {.model = dir, .device = DEVICE_CPU, .dtype = DTYPE_F32};
    int rc = session_open(s, &o, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    free(dir);
}

static json_t *read_cases(void)
{
    struct err e = {0};
    json_t *cases = json_read_file(WHISPER "generate.json", 1 << 20, &e);
    assert_ok(e);
    return cases;
}

/* A recording out of its parts [clip, from, count, gain]. */
static struct speech_audio read_recording(const json_t *parts)
{
    struct speech_audio a = {0};
    float *samples = NULL;
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part)
    {
        struct err e = {0};
        const char *name = json_string_value(json_array_get(part, 0));
        size_t from = (size_t)json_integer_value(json_array_get(part, 1));
        size_t count = (size_t)json_integer_value(json_array_get(part, 2));
        float gain = (float)json_number_value(json_array_get(part, 3));
        struct audio clip = {0};
        char *path = xasprintf(WHISPER "clips/%s.wav", name);
        if (*name && audio_read(&clip, path, NULL, &e))
            fail_msg("%s", e.text);
        assert_true(!*name || from + count <= (size_t)clip.count);
        samples = xreallocarray(samples, (size_t)a.count + count, sizeof *samples);
        for (size_t k = 0; k < count; k++)
            samples[(size_t)a.count + k] = *name ? clip.samples[from + k] * gain : 0;
        a.count += (int64_t)count;
        audio_release(&clip);
        free(path);
    }
    a.samples = samples;
    return a;
}

static struct speech_options read_options(const json_t *o)
{
    const char *task = json_string_value(json_object_get(o, "task"));
    const json_t *logprob = json_object_get(o, "logprob");
    const json_t *seed = json_object_get(o, "seed"), *t = json_object_get(o, "temperatures");
    struct speech_options out = {
        .language = json_string_value(json_object_get(o, "language")),
        .task = task && strcmp(task, "translate") == 0 ? WHISPER_TRANSLATE : WHISPER_TRANSCRIBE,
        .has_timestamps = json_is_true(json_object_get(o, "timestamps")),
        .prompt = json_string_value(json_object_get(o, "prompt")),
        .compression_ratio = json_number_value(json_object_get(o, "compression_ratio")),
        .logprob = logprob ? json_number_value(logprob) : -INFINITY,
        .no_speech = json_number_value(json_object_get(o, "no_speech")),
        .condition = json_is_true(json_object_get(o, "condition")),
        .max_new_tokens = (int)json_integer_value(json_object_get(o, "max_new_tokens")),
        .seed = (uint64_t)json_integer_value(seed),
    };
    for (size_t i = 0; i < json_array_size(t); i++)
        out.temperatures[out.temperature_count++] = json_number_value(json_array_get(t, i));
    return out;
}

/* -------------------------------------------------------------- reference -- */

static void expect_segment(const struct speech_segment *found, const json_t *expected)
{
    const json_t *ids = json_object_get(expected, "ids");
    assert_int_equal(found->ids.count, json_array_size(ids));
    for (int i = 0; i < found->ids.count; i++)
        assert_int_equal(found->ids.at[i], json_integer_value(json_array_get(ids, (size_t)i)));
    assert_near(found->start, json_number_value(json_object_get(expected, "start")), 1e-4);
    assert_near(found->end, json_number_value(json_object_get(expected, "end")), 1e-4);
}

/* What was decided of a segment's window: [first frame, try, left out, logprob, compression ratio,
 * no_speech], null where the reference was not asked. */
static void expect_window(const struct speech_segment *found, const json_t *windows,
                          const struct speech_options *o)
{
    const json_t *w = json_array_get(windows, (size_t)found->window);
    const json_t *logprob = json_array_get(w, 3), *no_speech = json_array_get(w, 5);
    int try = (int)json_integer_value(json_array_get(w, 1));
    assert_near(found->temperature, o->temperatures[try], 0);
    if (json_is_number(logprob))
        assert_near(found->logprob, json_number_value(logprob), TOLERANCE);
    assert_near(found->compression_ratio, json_number_value(json_array_get(w, 4)), 1e-5);
    if (json_is_number(no_speech))
        assert_near(found->no_speech, json_number_value(no_speech), 1e-6);
}

static void expect_speech(const struct speech *found, const json_t *expected,
                          const struct speech_options *o)
{
    const json_t *segments = json_object_get(expected, "segments");
    const json_t *windows = json_object_get(expected, "windows");
    int left_out = 0;
    for (size_t i = 0; i < json_array_size(windows); i++)
        left_out += json_integer_value(json_array_get(json_array_get(windows, i), 2)) == 1;
    assert_string_equal(found->language, json_string_value(json_object_get(expected, "language")));
    assert_int_equal(found->windows, json_array_size(windows));
    assert_int_equal(found->left_out, left_out);
    assert_int_equal(found->count, json_array_size(segments));
    for (int i = 0; i < found->count; i++) {
        expect_segment(&found->segments[i], json_array_get(segments, (size_t)i));
        expect_window(&found->segments[i], windows, o);
    }
}

/* Decode the recordings of a case, all at once or (`batch` 1) one after the other. */
static void run_case(const struct session *s, const json_t *c, int batch)
{
    struct err e = {0};
    struct speech out[RECORDINGS_MAX];
    struct speech_audio audio[RECORDINGS_MAX];
    struct speech_options o = read_options(json_object_get(c, "options"));
    const json_t *recordings = json_object_get(c, "recordings");
    const json_t *expected = json_object_get(c, "expected");
    int n = (int)json_array_size(recordings);
    assert_true(n <= RECORDINGS_MAX);
    o.batch = batch;
    for (int i = 0; i < n; i++)
        audio[i] = read_recording(json_array_get(recordings, (size_t)i));
    int rc = speech_decode(out, s, audio, n, &o, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    for (int i = 0; i < n; i++) {
        expect_speech(&out[i], json_array_get(expected, (size_t)i), &o);
        speech_release(&out[i]);
        free((float *)(uintptr_t)audio[i].samples);
    }
}

static void run_cases(const char *model)
{
    struct session s;
    open_session(&s, model);
    int live = mx_live(), count = 0;
    json_t *cases = read_cases(), *c;
    size_t i;
    json_array_foreach(cases, i, c)
    {
        if (strcmp(json_string_value(json_object_get(c, "model")), model) != 0)
            continue;
        print_message("case %zu\n", i);
        run_case(&s, c, 0);
        if (json_array_size(json_object_get(c, "recordings")) > 1)
            run_case(&s, c, 1);
        assert_int_equal(mx_live(), live);
        count++;
    }
    assert_true(count > 5);
    json_decref(cases);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

static void test_speech__equals_transformers_v2(void **state)
{
    (void)state;
    run_cases("v2");
}

static void test_speech__equals_transformers_v3(void **state)
{
    (void)state;
    run_cases("v3");
}

static void test_speech__equals_transformers_english_only(void **state)
{
    (void)state;
    run_cases("en");
}

/* ------------------------------------------------------------ what else is -- */

/* v3, the clip voice and what is told of it. */
struct scene {
    struct session s;
    struct audio clip;
    struct speech_audio audio[3];      /* the clip, its first half, nothing */
};

static int open_scene(void **state)
{
    struct err e = {0};
    struct scene *x = xcalloc(1, sizeof *x);
    open_session(&x->s, "v3");
    assert_int_equal(audio_read(&x->clip, WHISPER "clips/long.wav", NULL, &e), 0);
    x->audio[0] = (struct speech_audio){x->clip.samples, x->clip.count};
    x->audio[1] = (struct speech_audio){x->clip.samples, x->clip.count / 2};
    x->audio[2] = (struct speech_audio){x->clip.samples, 0};
    *state = x;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *x = *state;
    audio_release(&x->clip);
    session_close(&x->s);
    free(x);
    return 0;
}

static void expect_same(const struct speech *a, const struct speech *b)
{
    assert_string_equal(a->text, b->text);
    assert_string_equal(a->language, b->language);
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        const struct speech_segment *x = &a->segments[i], *y = &b->segments[i];
        assert_int_equal(x->ids.count, y->ids.count);
        assert_memory_equal(x->ids.at, y->ids.at, (size_t)x->ids.count * sizeof *x->ids.at);
        assert_string_equal(x->text, y->text);
        assert_near(x->start, y->start, 0);
        assert_near(x->temperature, y->temperature, 0);
    }
}

/* Company changes nothing, tries at several temperatures included. */
static void test_speech__does_not_depend_on_the_batch(void **state)
{
    struct scene *x = *state;
    struct err e = {0};
    struct speech together[3], alone;
    struct speech_options o = {
        .temperatures = {0, 0.5, 1},
        .temperature_count = 3,
        .compression_ratio = 1.4,
        .logprob = -2,
        .no_speech = 1e-4,
        .condition = true,
        .max_new_tokens = 25,
        .seed = 4,
    };
    double hottest = 0;
    assert_int_equal(speech_decode(together, &x->s, x->audio, 3, &o, &e), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(speech_decode(&alone, &x->s, &x->audio[i], 1, &o, &e), 0);
        expect_same(&together[i], &alone);
        for (int k = 0; k < alone.count; k++)
            hottest = fmax(hottest, alone.segments[k].temperature);
        speech_release(&alone);
        speech_release(&together[i]);
    }
    assert_true(hottest > 0);
}

static void test_speech__text_is_without_times_and_trimmed(void **state)
{
    struct scene *x = *state;
    struct err e = {0};
    struct speech out;
    struct speech_options o = {.logprob = -INFINITY, .max_new_tokens = 12};
    assert_int_equal(speech_decode(&out, &x->s, x->audio, 1, &o, &e), 0);
    assert_true(out.count > 1);
    assert_near(out.seconds, (double)x->clip.count / AUDIO_RATE, 1e-9);
    char *rest = out.text;
    for (int i = 0; i < out.count; i++) {
        const char *t = out.segments[i].text;
        assert_null(strstr(t, "<|"));
        assert_true(out.segments[i].start <= out.segments[i].end);
        assert_true(out.segments[i].end <= out.seconds);
        while (*t == ' ' && i == 0)
            t++;
        if (i < out.count - 1) {
            assert_memory_equal(rest, t, strlen(t));
            rest += strlen(t);
        }
    }
    assert_true(*out.text && *out.text != ' ' && out.text[strlen(out.text) - 1] != ' ');
    speech_release(&out);
}

static void test_speech__nothing_has_no_segments(void **state)
{
    struct scene *x = *state;
    struct err e = {0};
    struct speech out;
    struct speech_options o = {.logprob = -INFINITY};
    assert_int_equal(speech_decode(&out, &x->s, &x->audio[2], 1, &o, &e), 0);
    assert_int_equal(out.count, 0);
    assert_int_equal(out.windows, 0);
    assert_string_equal(out.text, "");
    speech_release(&out);
    assert_int_equal(speech_decode(&out, &x->s, x->audio, 0, &o, &e), 0);
}

static void test_speech__detects_the_languages_that_rows_ask_for(void **state)
{
    struct scene *x = *state;
    struct err e = {0};
    json_t *all = json_read_file(WHISPER "generate_languages.json", 1 << 16, &e);
    const json_t *expected = json_object_get(json_object_get(all, "v3"), "voice");
    const struct mel *mel = x->s.senses.mel;
    const struct mel_config *c = mel_settings(mel);
    struct audio voice = {0};
    enum { F = 200, T = 3 };
    int32_t tokens[3 * T], language_at[] = {1, -1, 2};
    uint8_t valid[3 * F];
    double p[3];
    assert_int_equal(audio_read(&voice, WHISPER "clips/voice.wav", NULL, &e), 0);
    size_t cells = (size_t)F * (size_t)c->bins;
    float *features = xcalloc(3 * cells, sizeof *features);
    for (size_t i = 0; i < 3; i++)
        mel_compute(mel, voice.samples, voice.count, F, features + i * cells);
    memset(valid, 1, sizeof valid);
    for (int i = 0; i < 3 * T; i++)
        tokens[i] = 7;
    struct batch b = {.rows = 3,
                      .len = T,
                      .tokens = tokens,
                      .clips = 3,
                      .frames = F,
                      .bins = c->bins,
                      .mel = features,
                      .frame_valid = valid,
                      .language_at = language_at};
    assert_int_equal(speech_detect(&x->s, &b, p, &e), 0);
    int32_t id =
        whisper_language_id(&x->s.chat.whisper, json_string_value(json_array_get(expected, 0)), &e);
    const int32_t want[3 * T] = {7, id, 7, 7, 7, 7, 7, 7, id};
    assert_memory_equal(tokens, want, sizeof want);
    assert_near(p[0], json_number_value(json_array_get(expected, 1)), 1e-5);
    assert_near(p[1], 1, 0);
    assert_near(p[2], p[0], 1e-6);
    b.language_at = NULL;
    assert_int_equal(speech_detect(&x->s, &b, NULL, &e), 0);
    free(features);
    audio_release(&voice);
    json_decref(all);
}

/* ------------------------------------------------------------------ errors -- */

static bool stop_second(void *count)
{
    return ++*(int *)count > 1;
}

static void note_progress(void *count, double done, double all)
{
    (void)count;
    assert_true(done > 0 && done <= all);
}

static void expect_failure(const struct session *s, const struct speech_audio *a,
                           const struct speech_options *o, enum err_kind kind, const char *says)
{
    struct err e = {0};
    struct speech out;
    assert_int_equal(speech_decode(&out, s, a, 1, o, &e), -1);
    assert_err(e, kind, says);
    assert_null(out.segments);
    assert_null(out.text);
}

static void test_speech__stops_between_windows(void **state)
{
    struct scene *x = *state;
    int count = 0;
    struct speech_options o = {.logprob = -INFINITY,
                               .max_new_tokens = 5,
                               .is_stopped = stop_second,
                               .on_progress = note_progress,
                               .arg = &count};
    expect_failure(&x->s, x->audio, &o, ERR_STOPPED, "stopped");
    assert_int_equal(count, 2);
}

static void test_speech__refuses_what_the_model_cannot(void **state)
{
    struct scene *x = *state;
    struct session english;
    expect_failure(&x->s, x->audio, &(struct speech_options){.language = "klingon"}, ERR_DATA,
                   "klingon");
    open_session(&english, "en");
    expect_failure(&english, x->audio, &(struct speech_options){.language = "de"}, ERR_USAGE,
                   "English only, found language de");
    expect_failure(&english, x->audio, &(struct speech_options){.task = WHISPER_TRANSLATE},
                   ERR_USAGE, "found task translate");
    session_close(&english);
}

static void test_speech__options_of_a_configuration(void **state)
{
    (void)state;
    char *temperatures[] = {(char[]){"0"}, (char[]){"0.25"}};
    struct config c = {
        .language = (char[]){"de"},
        .task = WHISPER_TRANSLATE,
        .timestamps = true,
        .prompt = (char[]){"p"},
        .max_new_tokens = 100,
        .seed = 3,
        .decoding = {.temperatures = {temperatures, 2},
                     .compression_ratio = 2,
                     .logprob = -1,
                     .no_speech = 0.5,
                     .condition = true},
    };
    struct speech_options o = speech_options_of(&c);
    assert_string_equal(o.language, "de");
    assert_string_equal(o.prompt, "p");
    assert_int_equal(o.task, WHISPER_TRANSLATE);
    assert_true(o.has_timestamps && o.condition);
    assert_int_equal(o.temperature_count, 2);
    assert_near(o.temperatures[1], 0.25, 0);
    assert_near(o.compression_ratio, 2, 0);
    assert_near(o.logprob, -1, 0);
    assert_near(o.no_speech, 0.5, 0);
    assert_int_equal(o.max_new_tokens, 100);
    assert_int_equal(o.seed, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speech__equals_transformers_v2),
        cmocka_unit_test(test_speech__equals_transformers_v3),
        cmocka_unit_test(test_speech__equals_transformers_english_only),
        cmocka_unit_test(test_speech__options_of_a_configuration),
    };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_speech__does_not_depend_on_the_batch),
        cmocka_unit_test(test_speech__text_is_without_times_and_trimmed),
        cmocka_unit_test(test_speech__nothing_has_no_segments),
        cmocka_unit_test(test_speech__detects_the_languages_that_rows_ask_for),
        cmocka_unit_test(test_speech__stops_between_windows),
        cmocka_unit_test(test_speech__refuses_what_the_model_cannot),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + cmocka_run_group_tests(more, open_scene, close_scene);
}
