/* test_collate_windows.c - batches of an encoder-decoder model: a window and its transcript a row,
 * clips apart or joined. */
#include "speech_testing.h"

#include "base/rng.h"
#include "data/collate.h"
#include "media/audio.h"

static struct speech_kit v2;

/* Clips of 0.3, 0.5, 0.9, 1.1 and 2.0 s and a bit: not at a step of the timestamps. */
static const int samples_of[] = {4801, 8001, 14401, 17601, 32000};

static int set_up(void **state)
{
    kit_set_up(state);
    speech_kit_open(&v2, "v2");
    for (int i = 0; i < 5; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d.wav", i);
        kit_write_tone(&kit, name, samples_of[i], 0.3, 40 * i);
    }
    kit_write_tone(&kit, "long.wav", 80000, 0.3, 7);
    return 0;
}

static int tear_down(void **state)
{
    speech_kit_close(&v2);
    return kit_tear_down(state);
}

static struct audio sound(const char *name)
{
    struct err e = {0};
    struct audio a;
    char *path = path_join(kit.folder, name);
    assert_int_equal(audio_read(&a, path, NULL, &e), 0);
    free(path);
    return a;
}

static void release_all(struct sample *s, int count)
{
    for (int i = 0; i < count; i++)
        sample_release(&s[i]);
}

/* The frames of a row are the first ones of this window's. */
static void check_mel(const struct batch *b, int row, const float *x, int64_t count)
{
    size_t bins = (size_t)b->bins;
    float *whole = xcalloc(WINDOW_FRAMES * bins, sizeof *whole);
    mel_compute(v2.mel, x, count, WINDOW_FRAMES, whole);
    assert_memory_equal(b->mel + (size_t)row * (size_t)b->frames * bins, whole,
                        (size_t)b->frames * bins * sizeof *whole);
    free(whole);
}

static void check_row(const struct batch *b, int row, const char *expected)
{
    const int32_t *ids = b->tokens + row * b->len;
    check_spelt(&v2, ids, b->lengths[row], expected);
    for (int t = b->lengths[row]; t < b->len; t++)
        assert_int_equal(ids[t], v2.format.pad_id);
}

/* Targets are all tokens behind the prefix of so many, row by row, and know whose they are. */
static void check_targets(const struct batch *b, int prefix)
{
    int r = 0;
    for (int row = 0; row < b->rows; row++) {
        for (int t = prefix; t < b->lengths[row]; t++, r++) {
            assert_int_equal(b->target_rows[r], row * b->len + t - 1);
            assert_int_equal(b->target_ids[r], b->tokens[row * b->len + t]);
            assert_near(b->target_weights[r], 1, 0);
            int of = b->record_of_target[r];
            assert_int_equal(b->record_rows[of], row);
            assert_true(t >= b->record_starts[of]);
            assert_true(t < b->record_starts[of] + b->record_lengths[of]);
        }
    }
    assert_int_equal(b->supervised, r);
    assert_int_equal(b->targets % 64, 0);
    for (; r < b->targets; r++)
        assert_near(b->target_weights[r], 0, 0);
}

#define PREFIX "<|startoftranscript|><|en|><|transcribe|>"
#define PLAIN PREFIX "<|notimestamps|>"

static void test_collate_windows__clips_apart(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    struct sample s[] = {
        speech_good(&f, "{\"audio\": \"2.wav\", \"text\": \" one two\", \"id\": \"x\"}"),
        speech_good(&f, "{\"audio\": \"4.wav\", \"text\": \" three\", \"language\": \"en\"}"),
    };
    s[0].record = 17;
    f.pad_id = v2.format.pad_id;
    struct batch b;
    collate(&b, &f, s, 2);
    assert_int_equal(b.rows, 2);
    assert_int_equal(b.clips, 2);
    assert_int_equal(b.frames, WINDOW_FRAMES);
    assert_int_equal(b.bins, 80);
    assert_int_equal(b.slots, WINDOW_FRAMES / 2);
    assert_int_equal(b.len % SAMPLE_TOKENS, 0);
    assert_null(b.soft);
    assert_null(b.segment);
    assert_null(b.position);
    assert_null(b.language_at);
    assert_int_equal(b.segments, 1);
    assert_int_equal(b.records_count, 2);
    for (int i = 0; i < 2 * WINDOW_FRAMES; i++)
        assert_int_equal(b.frame_valid[i], 1);
    check_row(&b, 0, PLAIN " one two<|endoftext|>");
    check_row(&b, 1, PLAIN " three<|endoftext|>");
    check_targets(&b, 4);
    assert_string_equal(b.ids[0], "x");
    assert_int_equal(b.has_ids[0], 1);
    assert_int_equal(b.records[0], 17);
    assert_null(b.languages[0]);
    assert_string_equal(b.languages[1], "en");
    assert_near(b.seconds[0], 14401 / 16000.0, 1e-9);
    assert_near(b.audio_s, (14401 + 32000) / 16000.0, 1e-9);
    assert_int_equal(b.total, b.lengths[0] + b.lengths[1]);
    for (int i = 0; i < 2; i++) {
        struct audio a = sound(i ? "4.wav" : "2.wav");
        check_mel(&b, i, a.samples, a.count);
        assert_true(b.clip_keys[i] == s[i].clips[0].key && b.clip_keys[i] != 0);
        audio_release(&a);
    }
    batch_release(&b);
    release_all(s, 2);
}

/* Without whole windows there are as many frames as the longest clip has, and a bit. */
static void test_collate_windows__as_long_as_the_clips(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    f.crossing.has_whole_window = false;
    struct sample s[] = {speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"a\"}"),
                         speech_good(&f, "{\"audio\": \"2.wav\", \"text\": \"b\"}"),
                         speech_good(&f, "{\"audio\": \"4.wav\", \"text\": \"c\"}")};
    struct batch b, other;
    collate(&b, &f, s, 2);
    /* 91 frames of sound, in steps of 32. */
    assert_int_equal(b.frames, 96);
    assert_int_equal(b.slots, 48);
    for (int i = 0; i < 2; i++) {
        struct audio a = sound(i ? "2.wav" : "0.wav");
        check_mel(&b, i, a.samples, a.count);
        audio_release(&a);
    }
    /* The encoder hears the silence behind a clip, so its output is another one. */
    collate(&other, &f, s, 1);
    assert_int_equal(other.frames, 32);
    assert_true(other.clip_keys[0] != b.clip_keys[0] && other.clip_keys[0] && b.clip_keys[0]);
    batch_release(&other);
    collate(&other, &f, s, 3);
    assert_int_equal(other.frames, WINDOW_FRAMES);
    assert_true(other.clip_keys[0] == s[0].clips[0].key);
    batch_release(&other);
    f.frames_multiple = 31;
    collate(&other, &f, s, 1);
    assert_int_equal(other.frames % 2, 0);
    batch_release(&other);
    batch_release(&b);
    release_all(s, 3);
}

static void test_collate_windows__windows_of_one_recording(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    f.crossing.has_timestamps = true;
    struct sample s = speech_good(
        &f, "{\"audio\": \"long.wav\", \"id\": 5, \"language\": \"en\", \"segments\": ["
            "{\"start\": 0.5, \"end\": 2.0, \"text\": \" a\"}, {\"start\": 2.2, \"end\": 3.0,"
            " \"text\": \" b\"}, {\"start\": 3.0, \"end\": 4.0, \"text\": \" c\"}]}");
    s.record = 3;
    struct batch b;
    collate(&b, &f, &s, 1);
    assert_int_equal(b.rows, 2);
    assert_int_equal(b.clips, 2);
    assert_int_equal(b.records_count, 2);
    check_row(&b, 0, PREFIX "<|0.00|> a<|1.50|><|endoftext|>");
    check_row(&b, 1, PREFIX "<|0.00|> b<|0.80|><|0.80|> c<|1.80|><|endoftext|>");
    check_targets(&b, 3);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(b.ids[i], "5");
        assert_int_equal(b.records[i], 3);
        assert_int_equal(b.record_rows[i], i);
        assert_int_equal(b.record_starts[i], 0);
        assert_int_equal(b.record_lengths[i], b.lengths[i]);
        assert_string_equal(b.languages[i], "en");
    }
    assert_near(b.seconds[0], 1.5, 1e-3);
    assert_near(b.seconds[1], 1.8, 1e-3);
    struct audio a = sound("long.wav");
    check_mel(&b, 1, a.samples + 35200, 28801);
    audio_release(&a);
    batch_release(&b);
    sample_release(&s);
}

static void test_collate_windows__for_generation(void **state)
{
    (void)state;
    struct err e = {0};
    struct data_format f = v2.format;
    struct sample s[2];
    struct batch b;
    assert_int_equal(speech_make(&s[0], &f, kit.folder,
                                 "{\"audio\": \"1.wav\", \"text\": \" a\", \"language\": \"de\"}",
                                 SAMPLE_GENERATE, &e),
                     0);
    f.crossing.language = "detect";
    assert_int_equal(
        speech_make(&s[1], &f, kit.folder, "{\"audio\": \"2.wav\"}", SAMPLE_GENERATE, &e), 0);
    collate(&b, &f, s, 2);
    assert_int_equal(b.lengths[0], 4);
    assert_int_equal(b.supervised, 0);
    assert_string_equal(b.references[0], " a");
    assert_null(b.references[1]);
    assert_int_equal(b.language_at[0], -1);
    assert_int_equal(b.language_at[1], 1);
    batch_release(&b);
    struct sample cut;
    assert_int_equal(
        speech_make(&cut, &v2.format, kit.folder,
                    "{\"audio\": \"long.wav\", \"segments\": [{\"start\": 0, \"end\":"
                    " 1.5, \"text\": \"a\"}, {\"start\": 3, \"end\": 4, \"text\": \"b\"}]}",
                    SAMPLE_GENERATE, &e),
        0);
    collate(&b, &f, &cut, 1);
    assert_int_equal(b.rows, 2);
    assert_string_equal(b.references[0], "a");
    assert_string_equal(b.references[1], "b");
    batch_release(&b);
    sample_release(&cut);
    collate(&b, &f, s, 0);
    assert_int_equal(b.rows, 0);
    assert_int_equal(b.clips, 0);
    batch_release(&b);
    release_all(s, 2);
}

/* Rows are not longer than the decoder has positions. */
static void test_collate_windows__padding_ends_with_the_positions(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    struct sample s = speech_good(&f, "{\"audio\": \"1.wav\", \"text\": \" a a a\"}");
    struct batch b;
    f.tokens_multiple = 64;
    collate(&b, &f, &s, 1);
    assert_int_equal(b.len, 64);
    batch_release(&b);
    f.tokens_multiple = 100;
    collate(&b, &f, &s, 1);
    assert_int_equal(b.len, 96);
    batch_release(&b);
    sample_release(&s);
}

/* ------------------------------------------------------------------- joined -- */

/* Clips of 0.3, 1.1, 0.5, 0.9 s: the longest first, each where there is room. */
static void make_four(struct sample s[4], const struct data_format *f)
{
    static const char *const lines[] = {"{\"audio\": \"0.wav\", \"text\": \" it's  one\"}",
                                        "{\"audio\": \"3.wav\", \"text\": \"The harbour. \"}",
                                        "{\"audio\": \"1.wav\", \"text\": \"three\"}",
                                        "{\"audio\": \"2.wav\", \"text\": \"four 4\"}"};
    for (int i = 0; i < 4; i++) {
        s[i] = speech_good(f, lines[i]);
        s[i].record = i;
    }
}

/* The window of these clips, each from a step of the timestamps on; the caller frees. */
static float *join(const char *const *names, int count, int64_t *samples)
{
    float *x = xcalloc(WINDOW_SAMPLES, sizeof *x);
    *samples = 0;
    for (int i = 0; i < count; i++) {
        struct audio a = sound(names[i]);
        *samples = (*samples + 319) / 320 * 320;
        memcpy(x + *samples, a.samples, (size_t)a.count * sizeof *x);
        *samples += a.count;
        audio_release(&a);
    }
    return x;
}

static void check_joined_sound(const struct batch *b)
{
    static const char *const names[] = {"3.wav", "1.wav", "0.wav"};
    int64_t samples;
    float *x = join(names, 3, &samples);
    check_mel(b, 0, x, samples);
    free(x);
    struct audio a = sound("2.wav");
    check_mel(b, 1, a.samples, a.count);
    audio_release(&a);
}

static void check_places(const struct batch *b)
{
    static const int rows[] = {0, 0, 0, 1}, clips[] = {0, 3, 1, 2};
    assert_int_equal(b->rows, 2);
    assert_int_equal(b->clips, 2);
    assert_int_equal(b->records_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(b->records[i], i);
        assert_int_equal(b->record_rows[i], rows[i]);
        assert_near(b->seconds[i], samples_of[clips[i]] / 16000.0, 1e-9);
    }
    /* 1, then 2, then 0. */
    assert_int_equal(b->record_starts[1], 0);
    assert_int_equal(b->record_starts[2], b->record_lengths[1]);
    assert_int_equal(b->record_starts[0], b->record_starts[2] + b->record_lengths[2]);
    assert_int_equal(b->record_starts[0] + b->record_lengths[0], b->lengths[0]);
    assert_int_equal(b->record_starts[3], 0);
    assert_int_equal(b->record_lengths[3], b->lengths[1]);
}

static void test_collate_windows__joined_plainly(void **state)
{
    (void)state;
    struct err e = {0};
    struct data_format f = v2.format;
    struct sample s[4];
    struct batch b;
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    make_four(s, &f);
    collate(&b, &f, s, 4);
    check_places(&b);
    check_row(&b, 0, PLAIN "The harbour. three it's  one<|endoftext|>");
    check_row(&b, 1, PLAIN "four 4<|endoftext|>");
    check_targets(&b, 4);
    check_joined_sound(&b);
    /* The tokens are those of the joined text. */
    struct ids ids = IDS_INIT;
    const char *text = "The harbour. three it's  one";
    assert_int_equal(tokenizer_encode(v2.tokenizer, text, strlen(text), &ids, &e), 0);
    assert_int_equal(ids.count, b.lengths[0] - 5);
    assert_memory_equal(ids.at, b.tokens + 4, (size_t)ids.count * sizeof *ids.at);
    ids_release(&ids);
    batch_release(&b);
    release_all(s, 4);
}

static void test_collate_windows__joined_with_times(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    struct sample s[4];
    struct batch b;
    f.crossing.joining = SAMPLE_JOIN_TIMESTAMPS;
    make_four(s, &f);
    sample_release(&s[2]);
    s[2] = speech_good(&f, "{\"audio\": \"1.wav\", \"segments\": [{\"start\": 0.1, \"end\": 0.2,"
                           " \"text\": \"thr\"}, {\"start\": 0.3, \"end\": 0.5,"
                           " \"text\": \"ee\"}]}");
    s[2].record = 2;
    collate(&b, &f, s, 4);
    check_places(&b);
    /* The second clip begins at 1.12 s, the next step behind 17601 samples; the third at 1.64 s. */
    check_row(&b, 0,
              PREFIX "<|0.00|>The harbour. <|1.10|><|1.22|>thr<|1.32|><|1.42|>ee<|1.62|>"
                     "<|1.64|> it's  one<|1.94|><|endoftext|>");
    check_row(&b, 1, PREFIX "<|0.00|>four 4<|0.90|><|endoftext|>");
    check_targets(&b, 3);
    check_joined_sound(&b);
    batch_release(&b);
    release_all(s, 4);
}

/* Only what belongs together shares a window. */
static void test_collate_windows__joins_what_is_alike(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    struct sample s[] = {
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"a\"}"),
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"b\", \"language\": \"de\"}"),
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"c\", \"task\": \"translate\"}"),
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"d\", \"prompt\": \"x\"}"),
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"e\", \"timestamps\": true}"),
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"f\", \"language\": \"english\"}"),
        speech_good(&f, "{\"audio\": \"0.wav\", \"text\": \"g\", \"language\": \"detect\"}"),
    };
    struct batch b;
    collate(&b, &f, s, 7);
    assert_int_equal(b.rows, 6);
    check_row(&b, b.record_rows[0], PLAIN "a f<|endoftext|>");
    assert_int_equal(b.record_rows[5], b.record_rows[0]);
    assert_int_equal(b.language_at[b.record_rows[6]], 1);
    assert_int_equal(b.language_at[b.record_rows[0]], -1);
    batch_release(&b);
    release_all(s, 7);
}

/* Many short clips with long texts: the decoder's positions end a row before its window does. */
static void test_collate_windows__joins_within_the_positions(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    struct sample s[4];
    struct batch b;
    char line[400] = "{\"audio\": \"0.wav\", \"text\": \"";
    for (int i = 0; i < 30; i++)
        strcat(line, " a");
    strcat(line, "\"}");
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    for (int i = 0; i < 4; i++)
        s[i] = speech_good(&f, line);
    collate(&b, &f, s, 4);
    assert_int_equal(b.rows, 2);
    /* 4 + 30 + 30 + 30 + 1 of 96; the first word is written without its space. */
    assert_true(b.lengths[0] <= 96 && b.lengths[0] >= 95);
    assert_true(b.lengths[1] >= 35);
    assert_true(b.len <= 96);
    check_targets(&b, 4);
    batch_release(&b);
    release_all(s, 4);
}

/* ---------------------------------------------------------------- augmented -- */

static void test_collate_windows__augments_finished_windows(void **state)
{
    (void)state;
    struct data_format f = v2.format;
    struct sample s[4];
    struct batch plain, b, again;
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    make_four(s, &f);
    for (int i = 0; i < 4; i++)
        s[i].augment_key = 100 + (uint64_t)i;
    collate(&plain, &f, s, 4);
    f.crossing.augment = (struct spec_augment){
        .time_prob = 0.2, .time_length = 10, .feature_prob = 0.1, .feature_length = 4};
    collate(&b, &f, s, 4);
    size_t numbers = (size_t)WINDOW_FRAMES * 80;
    for (int row = 0; row < 2; row++) {
        /* Keyed by the record that begins the window. */
        const struct sample *first = &s[row == 0 ? 1 : 3];
        float *mel = plain.mel + (size_t)row * numbers;
        assert_memory_not_equal(mel, b.mel + (size_t)row * numbers, numbers * sizeof *mel);
        spec_augment(&f.crossing.augment, rng_u64(first->augment_key, 0, 0), mel, WINDOW_FRAMES,
                     80);
        assert_memory_equal(mel, b.mel + (size_t)row * numbers, numbers * sizeof *mel);
        assert_true(plain.clip_keys[row] != 0);
        assert_true(b.clip_keys[row] == 0);
    }
    s[1].augment_key++;
    collate(&again, &f, s, 4);
    assert_memory_not_equal(b.mel, again.mel, numbers * sizeof *b.mel);
    assert_memory_equal(b.mel + numbers, again.mel + numbers, numbers * sizeof *b.mel);
    batch_release(&again);
    batch_release(&plain);
    batch_release(&b);
    release_all(s, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collate_windows__clips_apart),
        cmocka_unit_test(test_collate_windows__as_long_as_the_clips),
        cmocka_unit_test(test_collate_windows__windows_of_one_recording),
        cmocka_unit_test(test_collate_windows__for_generation),
        cmocka_unit_test(test_collate_windows__padding_ends_with_the_positions),
        cmocka_unit_test(test_collate_windows__joined_plainly),
        cmocka_unit_test(test_collate_windows__joined_with_times),
        cmocka_unit_test(test_collate_windows__joins_what_is_alike),
        cmocka_unit_test(test_collate_windows__joins_within_the_positions),
        cmocka_unit_test(test_collate_windows__augments_finished_windows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
