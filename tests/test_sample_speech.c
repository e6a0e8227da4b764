/* test_sample_speech.c - transcripts of clips as tokens and features of an encoder-decoder model,
 * and what is wrong with those that cannot be. */
#include "speech_testing.h"

#include "base/json.h"
#include "media/audio.h"

static struct speech_kit v2, v3, en;

static int set_up(void **state)
{
    kit_set_up(state);
    speech_kit_open(&v2, "v2");
    speech_kit_open(&v3, "v3");
    speech_kit_open(&en, "en");
    kit_write_tone(&kit, "short.wav", 16000, 0.3, 0);      /* 1 s */
    kit_write_tone(&kit, "window.wav", 32000, 0.3, 50);    /* 2 s */
    kit_write_tone(&kit, "long.wav", 80000, 0.3, 90);      /* 5 s */
    kit_write_tone(&kit, "silent.wav", 16000, 0.0005, 0);
    return 0;
}

static int tear_down(void **state)
{
    speech_kit_close(&v2);
    speech_kit_close(&v3);
    speech_kit_close(&en);
    return kit_tear_down(state);
}

static void check_hint(const struct data_format *f, const char *line, enum sample_purpose purpose,
                       const char *part, const char *hint)
{
    struct err e = {0};
    struct sample s;
    assert_int_equal(speech_make(&s, f, kit.folder, line, purpose, &e), -1);
    assert_err(e, ERR_DATA, part);
    if (!strstr(e.hint, hint))
        print_error("found hint: %s\n", e.hint);
    assert_non_null(strstr(e.hint, hint));
    assert_null(s.tokens);
    assert_null(s.clips);
    assert_null(s.starts);
}

static void check_bad(const struct data_format *f, const char *line, const char *part)
{
    check_hint(f, line, SAMPLE_TRAIN, part, "");
}

/* ---------------------------------------------------------- the reference -- */

static void check_reference(const struct speech_kit *k, const char *record, const json_t *expected)
{
    struct err e = {0};
    struct sample s;
    int failed = speech_make(&s, &k->format, "tests/data/whisper/score", record, SAMPLE_TRAIN, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    json_t *ids = json_need_array(expected, "input_ids", &e);
    assert_int_equal(s.count, json_array_size(ids));
    int supervised = 0;
    for (int i = 0; i < s.count; i++) {
        assert_int_equal(s.tokens[i], json_integer_value(json_array_get(ids, (size_t)i)));
        supervised += s.supervised[i];
    }
    assert_int_equal(supervised, json_need_int(expected, "supervised_tokens", &e));
    assert_true(s.supervised[s.count - 1] && !s.supervised[s.count - supervised - 1]);
    assert_int_equal(s.clip_count, 1);
    assert_int_equal(s.starts[0], 0);
    assert_int_equal(s.starts[1], s.count);
    assert_int_equal(s.clips[0].language_at, -1);
    assert_null(s.spans);
    sample_release(&s);
}

/* The records that the reference has scored have its tokens. */
static void test_sample_speech__tokens_of_the_reference(void **state)
{
    (void)state;
    const struct speech_kit *kits[] = {&v2, &v3, &en};
    static const char *const names[] = {"v2", "v3", "en"};
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        char paths[2][80], *text[2], *at[2];
        int count = 0;
        snprintf(paths[0], sizeof paths[0], "tests/data/whisper/score/%s.records.jsonl", names[i]);
        snprintf(paths[1], sizeof paths[1], "tests/data/whisper/score/%s.jsonl", names[i]);
        for (int k = 0; k < 2; k++) {
            text[k] = at[k] = file_read(paths[k], 1 << 20, NULL, &e);
            assert_ok(e);
        }
        while (*at[0] && *at[1]) {
            char *lines[2];
            for (int k = 0; k < 2; k++) {
                size_t size = strcspn(at[k], "\n");
                lines[k] = xstrndup(at[k], size);
                at[k] += size + (at[k][size] != 0);
            }
            json_t *expected = json_loads(lines[1], 0, NULL);
            check_reference(kits[i], lines[0], expected);
            json_decref(expected);
            free(lines[0]);
            free(lines[1]);
            count++;
        }
        assert_true(count >= 4);
        free(text[0]);
        free(text[1]);
    }
}

/* ---------------------------------------------------------- what is not said -- */

static void check_prefix(const struct speech_kit *k, const struct data_format *f, const char *line,
                         const char *expected)
{
    struct sample s = speech_good(f, line);
    int prefix = 0;
    while (!s.supervised[prefix])
        prefix++;
    check_spelt(k, s.tokens, prefix, expected);
    sample_release(&s);
}

static void test_sample_speech__language_and_task(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    const char *bare = "{\"audio\": \"short.wav\", \"text\": \"a\"}";
    check_prefix(&v2, &f, bare, "<|startoftranscript|><|en|><|transcribe|><|notimestamps|>");
    f.crossing.language = "german";
    f.crossing.task = WHISPER_TRANSLATE;
    check_prefix(&v2, &f, bare, "<|startoftranscript|><|de|><|translate|><|notimestamps|>");
    /* The record's own come first. */
    check_prefix(&v2, &f,
                 "{\"audio\": \"short.wav\", \"text\": \"a\", \"language\": \"fr\","
                 " \"task\": \"transcribe\"}",
                 "<|startoftranscript|><|fr|><|transcribe|><|notimestamps|>");
    f.crossing.language = NULL;
    check_hint(&f, bare, SAMPLE_TRAIN, "no language: the record does not say", "`language: en`");
    check_bad(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"language\": \"xx\"}", "xx");
    check_bad(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"language\": \"engilsh\"}",
              "engilsh");

    /* Models for English need none and know no other. */
    f = en.format;
    f.crossing.language = NULL;
    check_prefix(&en, &f, bare, "<|startoftranscript|><|notimestamps|>");
    check_bad(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"language\": \"de\"}",
              "English only");
    check_bad(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"task\": \"translate\"}",
              "English only");
}

static void test_sample_speech__language_to_be_detected(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    f.crossing.language = "detect";
    struct sample s = speech_good(&f, "{\"audio\": \"short.wav\", \"text\": \"a\"}");
    assert_int_equal(s.clips[0].language_at, 1);
    assert_int_equal(s.tokens[0], v2.chat.whisper.start);
    assert_null(s.language);
    sample_release(&s);
    s = speech_good(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"prompt\": \"b\"}");
    assert_int_equal(s.tokens[s.clips[0].language_at - 1], v2.chat.whisper.start);
    assert_true(s.clips[0].language_at > 2);
    sample_release(&s);
    s = speech_good(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"language\": \"de\"}");
    assert_int_equal(s.clips[0].language_at, -1);
    assert_string_equal(s.language, "de");
    sample_release(&s);
}

static void test_sample_speech__a_chat_is_a_transcript_too(void **state)
{
    (void)state;
    struct sample a = speech_good(
        &v2.format, "{\"audio\": \"short.wav\", \"prompt\": \"Well. \", \"text\": \" one two\"}");
    struct sample b = speech_good(
        &v2.format, "{\"messages\": [{\"role\": \"user\", \"content\": [{\"audio\": \"short.wav\"},"
                    " \"Well. \"]}, {\"role\": \"assistant\", \"content\": \" one two\"}]}");
    check_spelt(&v2, a.tokens, a.count,
                "<|startofprev|> Well.<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"
                " one two<|endoftext|>");
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.tokens, b.tokens, (size_t)a.count * sizeof *a.tokens);
    sample_release(&a);
    sample_release(&b);
}

/* ---------------------------------------------------------------- timestamps -- */

#define SEGMENTS                                                                                   \
    "\"segments\": [{\"start\": 0.1, \"end\": 0.5, \"text\": \" one\"},"                           \
    " {\"start\": 0.52, \"end\": 0.93, \"text\": \" two\"}]"
#define PREFIX "<|startoftranscript|><|en|><|transcribe|>"

static void check_text(const struct data_format *f, const char *line, const char *expected)
{
    struct sample s = speech_good(f, line);
    check_spelt(&v2, s.tokens, s.count, expected);
    sample_release(&s);
}

static void test_sample_speech__timestamps_where_they_are_wanted(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    const char *timed = PREFIX "<|0.10|> one<|0.50|><|0.52|> two<|0.94|><|endoftext|>";
    const char *plain = PREFIX "<|notimestamps|>whole<|endoftext|>";
    const char *both = "{\"audio\": \"short.wav\", \"text\": \"whole\", " SEGMENTS "}";
    check_text(&f, both, plain);
    check_text(&f, "{\"audio\": \"short.wav\", " SEGMENTS "}",
               PREFIX "<|notimestamps|> one two<|endoftext|>");
    check_text(&f, "{\"audio\": \"short.wav\", \"timestamps\": true, " SEGMENTS "}", timed);
    check_text(&f, "{\"audio\": \"short.wav\", \"timestamps\": true, \"text\": \"whole\"}",
               PREFIX "<|0.00|>whole<|1.00|><|endoftext|>");
    f.crossing.has_timestamps = true;
    check_text(&f, both, timed);
    check_text(&f, "{\"audio\": \"short.wav\", \"text\": \"whole\"}", plain);
    check_text(
        &f, "{\"audio\": \"short.wav\", \"timestamps\": false, \"text\": \"whole\", " SEGMENTS "}",
        plain);
}

static void test_sample_speech__segments_out_of_place(void **state)
{
    (void)state;
#define TIMES(a, b, c, d)                                                                          \
    "{\"audio\": \"short.wav\", \"segments\": [{\"start\": " #a ", \"end\": " #b                   \
    ", \"text\": \"a\"}, {\"start\": " #c ", \"end\": " #d ", \"text\": \"b\"}]}"
    check_bad(&v2.format, TIMES(0.0, 0.6, 0.5, 0.9), "segments[1]: starts at 0.50 s, before 0.60");
    check_bad(&v2.format, TIMES(0.5, 0.9, 0.0, 0.4), "segments[1]: starts at 0.00 s, before 0.90");
    check_bad(&v2.format, TIMES(0.5, 0.4, 0.6, 0.9), "segments[0]: ends at 0.40 s, starts at 0.50");
    check_bad(&v2.format, TIMES(0.0, 0.4, 0.6, 1.2),
              "segments[1]: ends at 1.20 s, the clip at 1.00 s");
    check_bad(&v2.format, "{\"audio\": \"short.wav\", \"text\": \"look <|0.20|>\"}", "<|0.20|>");
}

/* ------------------------------------------------------------------ features -- */

/* The frames of a sample, and silence behind them, are those of its whole window. */
static void check_window(const struct speech_kit *k, const struct sample_clip *c, const float *x,
                         int64_t count)
{
    size_t bins = (size_t)mel_settings(k->mel)->bins;
    float *whole = xcalloc(WINDOW_FRAMES * bins, sizeof *whole);
    mel_compute(k->mel, x, count, WINDOW_FRAMES, whole);
    for (int i = 0; i < WINDOW_FRAMES; i++) {
        int from = i < c->frames ? i : c->frames - 1;
        assert_memory_equal(whole + (size_t)i * bins, c->mel + (size_t)from * bins,
                            bins * sizeof *whole);
    }
    free(whole);
}

static void test_sample_speech__features_end_with_the_sound(void **state)
{
    (void)state;
    static const struct {
        const char *line, *path;
        int frames;
    } clips[] = {{"{\"audio\": \"short.wav\", \"text\": \"a\"}", "short.wav", 103},
                 {"{\"audio\": \"window.wav\", \"text\": \"a\"}", "window.wav", WINDOW_FRAMES}};
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        struct audio a;
        char *path = path_join(kit.folder, clips[i].path);
        assert_int_equal(audio_read(&a, path, NULL, &e), 0);
        struct sample s = speech_good(&v3.format, clips[i].line);
        assert_int_equal(s.clips[0].frames, clips[i].frames);
        assert_int_equal(s.clips[0].sample_count, a.count);
        assert_true(s.clips[0].key != 0);
        assert_null(s.clips[0].samples);
        assert_near(s.audio_s, (double)a.count / 16000, 1e-9);
        check_window(&v3, &s.clips[0], a.samples, a.count);
        sample_release(&s);
        audio_release(&a);
        free(path);
    }
}

static void test_sample_speech__without_the_sound(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    const char *line = "{\"audio\": \"short.wav\", \"text\": \"a\"}";
    struct sample with = speech_good(&f, line);
    f.ablation = SAMPLE_WITHOUT_AUDIO;
    struct sample without = speech_good(&f, line);
    assert_int_equal(without.count, with.count);
    assert_int_equal(without.clips[0].frames, with.clips[0].frames);
    for (int i = 1; i < without.clips[0].frames * 80; i++)
        assert_true(without.clips[0].mel[i] == without.clips[0].mel[0]);
    sample_release(&with);
    sample_release(&without);
}

/* ------------------------------------------------------------------- windows -- */

static void check_piece(const struct sample *s, int k, const char *expected, double seconds)
{
    check_spelt(&v2, s->tokens + s->starts[k], s->starts[k + 1] - s->starts[k], expected);
    assert_near(s->clips[k].audio_s, seconds, 1.0 / 16000 + 1e-9);
}

/* Segments of a clip of 5 s: as many as fit into 2 s, from the first one's start. */
#define LONG                                                                                       \
    "\"segments\": [{\"start\": 0.3, \"end\": 0.9, \"text\": \" a\"},"                             \
    "{\"start\": 1.0, \"end\": 2.3, \"text\": \" b\"},"                                            \
    "{\"start\": 2.3, \"end\": 2.5, \"text\": \" c\"},"                                            \
    "{\"start\": 4.1, \"end\": 5.0, \"text\": \" d\"}]"

static void test_sample_speech__long_recordings_are_cut_at_segments(void **state)
{
    (void)state;
    struct err e = {0};
    struct data_format f = v2.format;
    f.crossing.has_timestamps = true;
    struct sample s = speech_good(&f, "{\"audio\": \"long.wav\", " LONG "}");
    assert_int_equal(s.clip_count, 3);
    assert_int_equal(s.split_count, 1);
    check_piece(&s, 0, PREFIX "<|0.00|> a<|0.60|><|0.70|> b<|2.00|><|endoftext|>", 2.0);
    check_piece(&s, 1, PREFIX "<|0.00|> c<|0.20|><|endoftext|>", 0.2);
    check_piece(&s, 2, PREFIX "<|0.00|> d<|0.90|><|endoftext|>", 0.9);
    assert_near(s.audio_s, 3.1, 1e-3);
    assert_int_equal(s.starts[3], s.count);
    /* Each is the sound from its first segment's start on. */
    struct audio a;
    char *path = path_join(kit.folder, "long.wav");
    assert_int_equal(audio_read(&a, path, NULL, &e), 0);
    check_window(&v2, &s.clips[0], a.samples + 4800, 32000);
    check_window(&v2, &s.clips[2], a.samples + 65600, 80000 - 65600);
    for (int k = 0, i = 0; k < 3; k++)
        for (int n = 0; i < s.starts[k + 1]; i++, n++)
            assert_int_equal(s.supervised[i], n >= 3);
    audio_release(&a);
    free(path);
    sample_release(&s);

    s = speech_good(&v2.format, "{\"audio\": \"long.wav\", \"text\": \"not used\", " LONG "}");
    assert_int_equal(s.clip_count, 3);
    check_piece(&s, 0, PREFIX "<|notimestamps|> a b<|endoftext|>", 2.0);
    check_piece(&s, 2, PREFIX "<|notimestamps|> d<|endoftext|>", 0.9);
    sample_release(&s);
}

static void test_sample_speech__windows_follow_each_others_text(void **state)
{
    (void)state;
    struct sample s =
        speech_good(&v2.format, "{\"audio\": \"long.wav\", \"prompt\": \"Once\", " LONG "}");
    check_piece(&s, 0, "<|startofprev|> Once" PREFIX "<|notimestamps|> a b<|endoftext|>", 2.0);
    check_piece(&s, 1, "<|startofprev|> a b" PREFIX "<|notimestamps|> c<|endoftext|>", 0.2);
    check_piece(&s, 2, "<|startofprev|> c" PREFIX "<|notimestamps|> d<|endoftext|>", 0.9);
    sample_release(&s);
}

static void test_sample_speech__too_long(void **state)
{
    (void)state;
    check_hint(&v2.format, "{\"audio\": \"long.wav\", \"text\": \"a\"}", SAMPLE_TRAIN,
               "long.wav: 5.0 s long, at most 2.0 s", "\"segments\"");
    struct data_format f = v2.format;
    f.splits_long_audio = true;
    check_hint(&f, "{\"audio\": \"long.wav\", \"text\": \"a\"}", SAMPLE_TRAIN,
               "long.wav: 5.0 s long, at most 2.0 s", "nothing else says which words belong where");
    check_hint(&v2.format, "{\"audio\": \"long.wav\", \"text\": \"a\"}", SAMPLE_GENERATE,
               "long.wav: 5.0 s long, at most 2.0 s", "`attune transcribe`");
    check_hint(
        &v2.format,
        "{\"audio\": \"long.wav\", \"segments\": [{\"start\": 0, \"end\": 1, \"text\": \"a\"},"
        " {\"start\": 1.5, \"end\": 4, \"text\": \"b\"}]}",
        SAMPLE_TRAIN, "segments[1]: 2.5 s long, the model takes at most 2.0 s", "divide");
    assert_int_equal(v2.chat.whisper.positions, 96);
}

/* A line whose text is `words` times " a", whole or in segments of `part` words. */
static char *wordy(const char *clip, int words, int part)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_printf(&b, "{\"audio\": \"%s\", ", clip);
    if (part == 0)
        buf_add_str(&b, "\"text\": \"");
    else
        buf_add_str(&b, "\"segments\": [");
    for (int i = 0; i < words; i++) {
        if (part && i % part == 0)
            buf_printf(&b, "%s{\"start\": %.2f, \"end\": %.2f, \"text\": \"", i ? "\"}, " : "",
                       0.02 * (i / part), 0.02 * (i / part + 1));
        buf_add_str(&b, " a");
    }
    buf_add_str(&b, part ? "\"}]}" : "\"}");
    char *line = xstrdup(b.data);
    buf_release(&b);
    return line;
}

static void test_sample_speech__more_tokens_than_the_decoder_has(void **state)
{
    (void)state;
    char *most = wordy("short.wav", 91, 0), *more = wordy("short.wav", 92, 0);
    char *parts = wordy("short.wav", 100, 10), *large = wordy("short.wav", 100, 95);
    struct sample s = speech_good(&v2.format, most);
    assert_int_equal(s.count, 96);
    sample_release(&s);
    check_hint(&v2.format, more, SAMPLE_TRAIN, "too long: 97 tokens, the decoder has 96",
               "\"segments\"");
    check_hint(&v2.format, large, SAMPLE_TRAIN,
               "segments[0]: too long: 100 tokens, the decoder "
               "has 96",
               "shorten");
    /* Segments make two rows of it. */
    s = speech_good(&v2.format, parts);
    assert_int_equal(s.clip_count, 2);
    assert_int_equal(s.starts[1], 95);
    assert_int_equal(s.starts[2], 95 + 15);
    assert_int_equal(s.split_count, 1);
    assert_near(s.clips[0].audio_s, 0.18, 1e-3);
    assert_near(s.clips[1].audio_s, 0.02, 1e-3);
    sample_release(&s);
    struct data_format f = v2.format;
    f.max_tokens = 50;
    check_hint(&f, most, SAMPLE_TRAIN, "too long: 96 tokens, max_tokens is 50", "max_tokens: 96");
    free(most);
    free(more);
    free(parts);
    free(large);
}

/* --------------------------------------------------------------- bad records -- */

static void test_sample_speech__no_transcript(void **state)
{
    (void)state;
    const struct data_format *f = &v2.format;
    kit_write_picture(&kit, "a.png", 20, 20, 0xff0000);
    check_bad(f, "{\"text\": \"a\"}", "plain text: the model transcribes sound");
    check_bad(f, "{\"prompt\": \"a\", \"completion\": \"b\"}", "0 clips");
    check_bad(f, "{\"audio\": [\"short.wav\", \"window.wav\"], \"text\": \"a\"}", "2 clips");
    check_bad(f, "{\"audio\": \"short.wav\", \"image\": \"a.png\", \"text\": \"a\"}",
              "the model sees nothing");
    check_hint(f, "{\"audio\": \"short.wav\"}", SAMPLE_TRAIN, "no text", "\"text\"");
    check_bad(f,
              "{\"messages\": [{\"role\": \"system\", \"content\": \"x\"}, {\"role\": \"user\","
              " \"content\": [{\"audio\": \"short.wav\"}]}]}",
              "2 messages that are no transcript");
    check_bad(f,
              "{\"messages\": [{\"role\": \"user\", \"content\": [{\"audio\": \"short.wav\"}]},"
              " {\"role\": \"assistant\", \"content\": \"a\", \"reasoning\": \"b\"}]}",
              "reasoning");
    check_bad(f, "{\"audio\": \"short.wav\", \"text\": \"a <|endoftext|>\"}", "<|endoftext|>");
    check_bad(f, "{\"audio\": \"none.wav\", \"text\": \"a\"}", "none.wav");
}

static void test_sample_speech__silence(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    check_bad(&f, "{\"audio\": \"silent.wav\", \"text\": \"a\"}",
              "silent.wav: the clip is silent (1.0 s, all below -60 dB)");
    f.allows_silence = true;
    /* Nobody speaks: the model learns to say nothing. */
    struct sample s = speech_good(&f, "{\"audio\": \"silent.wav\", \"text\": \"\"}");
    check_spelt(&v2, s.tokens, s.count, PREFIX "<|notimestamps|><|endoftext|>");
    sample_release(&s);
}

/* ---------------------------------------------------------------- generation -- */

static void test_sample_speech__for_generation(void **state)
{
    (void)state;
    struct err e = {0};
    struct data_format f = v2.format;
    struct sample s, piece;
    const char *line = "{\"audio\": \"short.wav\", \"text\": \" one two\", \"language\": \"de\"}";
    assert_int_equal(speech_make(&s, &f, kit.folder, line, SAMPLE_GENERATE, &e), 0);
    check_spelt(&v2, s.tokens, s.count,
                "<|startoftranscript|><|de|><|transcribe|><|notimestamps|>");
    assert_string_equal(s.reference, " one two");
    assert_string_equal(s.language, "de");
    for (int i = 0; i < s.count; i++)
        assert_int_equal(s.supervised[i], 0);
    assert_int_equal(s.starts[1], s.count);

    struct audio a;
    char *path = path_join(kit.folder, "short.wav");
    assert_int_equal(audio_read(&a, path, NULL, &e), 0);
    f.crossing.language = NULL;
    assert_int_equal(sample_of_audio(&piece, &f, a.samples, a.count, NULL, &e), 0);
    assert_int_equal(piece.clips[0].language_at, 1);
    assert_int_equal(piece.count, 4);
    assert_int_equal(piece.clips[0].frames, s.clips[0].frames);
    assert_memory_equal(piece.clips[0].mel, s.clips[0].mel,
                        (size_t)s.clips[0].frames * 80 * sizeof(float));
    sample_release(&piece);
    f.crossing.has_timestamps = true;
    f.crossing.language = "fr";
    f.crossing.task = WHISPER_TRANSLATE;
    assert_int_equal(sample_of_audio(&piece, &f, a.samples, a.count, "Once", &e), 0);
    check_spelt(&v2, piece.tokens, piece.count,
                "<|startofprev|> Once<|startoftranscript|><|fr|><|translate|>");
    sample_release(&piece);
    float *many = xcalloc(WINDOW_SAMPLES + 1, sizeof *many);
    assert_int_equal(sample_of_audio(&piece, &f, many, WINDOW_SAMPLES + 1, NULL, &e), -1);
    assert_err(e, ERR_DATA, "2.0 s long, the model takes at most 2.0 s");
    free(many);
    audio_release(&a);
    free(path);
    sample_release(&s);
}

/* Windows of a recording that is transcribed in parts, each with its own words to compare with. */
static void test_sample_speech__windows_for_generation(void **state)
{
    (void)state;
    struct err e = {0};
    struct sample s;
    const char *line =
        "{\"audio\": \"long.wav\", \"text\": \"all\", \"prompt\": \"Once\", " LONG "}";
    int failed = speech_make(&s, &v2.format, kit.folder, line, SAMPLE_GENERATE, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_int_equal(s.clip_count, 3);
    check_piece(&s, 0, "<|startofprev|> Once" PREFIX "<|notimestamps|>", 2.0);
    check_piece(&s, 1, PREFIX "<|notimestamps|>", 0.2);
    check_piece(&s, 2, PREFIX "<|notimestamps|>", 0.9);
    assert_string_equal(s.reference, "all");
    assert_string_equal(s.clips[0].reference, " a b");
    assert_string_equal(s.clips[1].reference, " c");
    assert_string_equal(s.clips[2].reference, " d");
    sample_release(&s);
}

/* --------------------------------------------------------------- joined clips -- */

static void test_sample_speech__waits_for_company(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    struct sample s = speech_good(&f, "{\"audio\": \"short.wav\", \"text\": \" one two \"}");
    assert_true(s.clips[0].can_join);
    assert_null(s.clips[0].mel);
    assert_non_null(s.clips[0].samples);
    check_spelt(&v2, s.tokens, s.count, PREFIX "<|notimestamps|>one two<|endoftext|>");
    check_spelt(&v2, s.clips[0].behind, s.clips[0].behind_count, " one two");
    sample_release(&s);
    /* Not those with a prompt, with times, or in a language that nobody knows yet. */
    static const char *const alone[] = {
        "{\"audio\": \"short.wav\", \"text\": \"a\", \"prompt\": \"b\"}",
        "{\"audio\": \"short.wav\", \"text\": \"a\", \"timestamps\": true}",
        "{\"audio\": \"short.wav\", \"text\": \"a\", \"language\": \"detect\"}"};
    for (int i = 0; i < 3; i++) {
        s = speech_good(&f, alone[i]);
        assert_false(s.clips[0].can_join);
        sample_release(&s);
    }
    f.crossing.joining = SAMPLE_JOIN_TIMESTAMPS;
    s = speech_good(&f, "{\"audio\": \"short.wav\", \"text\": \" one \"}");
    assert_true(s.clips[0].can_join);
    assert_null(s.clips[0].behind);
    check_spelt(&v2, s.tokens, s.count, PREFIX "<|0.00|> one <|1.00|><|endoftext|>");
    sample_release(&s);
    s = speech_good(&f, "{\"audio\": \"short.wav\", \"text\": \"a\", \"timestamps\": false}");
    assert_false(s.clips[0].can_join);
    check_spelt(&v2, s.tokens, s.count, PREFIX "<|notimestamps|>a<|endoftext|>");
    sample_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_speech__tokens_of_the_reference),
        cmocka_unit_test(test_sample_speech__language_and_task),
        cmocka_unit_test(test_sample_speech__language_to_be_detected),
        cmocka_unit_test(test_sample_speech__a_chat_is_a_transcript_too),
        cmocka_unit_test(test_sample_speech__timestamps_where_they_are_wanted),
        cmocka_unit_test(test_sample_speech__segments_out_of_place),
        cmocka_unit_test(test_sample_speech__features_end_with_the_sound),
        cmocka_unit_test(test_sample_speech__without_the_sound),
        cmocka_unit_test(test_sample_speech__long_recordings_are_cut_at_segments),
        cmocka_unit_test(test_sample_speech__windows_follow_each_others_text),
        cmocka_unit_test(test_sample_speech__too_long),
        cmocka_unit_test(test_sample_speech__more_tokens_than_the_decoder_has),
        cmocka_unit_test(test_sample_speech__no_transcript),
        cmocka_unit_test(test_sample_speech__silence),
        cmocka_unit_test(test_sample_speech__for_generation),
        cmocka_unit_test(test_sample_speech__windows_for_generation),
        cmocka_unit_test(test_sample_speech__waits_for_company),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
