/* test_survey.c - what is in data, counted: sound, text, languages, duplicates, and what is
 * wrong. */
#include "speech_testing.h"

#include "data/survey.h"

enum { RATE = 16000 };

static char *write_text(const char *name, const char *text)
{
    return kit_write(&kit, name, text, strlen(text));
}

static void take(struct survey *s, const struct manifest *m, bool decodes, bool has_model)
{
    struct err e = {0};
    struct data_format none = {.prompt = NULL};
    struct survey_options o = {
        .manifest = m, .format = has_model ? &kit.format : &none, .decodes = decodes, .threads = 3};
    int failed = survey(s, &o, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
}

static char *write_set(void)
{
    kit_write_tone(&kit, "a.wav", RATE, 0.3, 1);
    kit_write_tone(&kit, "b.wav", 2 * RATE, 0.3, 2);
    kit_write_tone(&kit, "same.wav", RATE, 0.3, 1);
    kit_write_tone(&kit, "silent.wav", RATE, 0, 0);
    free(write_text("broken.wav", "no sound at all"));
    return write_text(
        "set.jsonl",
        "{\"id\": \"1\", \"audio\": \"a.wav\", \"text\": \"one\", \"language\": \"de\"}\n"
        "{\"id\": \"2\", \"audio\": \"b.wav\", \"text\": \"zw\xc3\xb6lf\", \"language\": \"de\", "
        "\"duration\": 2}\n"
        "{\"id\": \"1\", \"audio\": \"same.wav\", \"text\": \"three\", \"duration\": 9}\n"
        "{\"id\": \"4\", \"audio\": \"silent.wav\", \"text\": \"four\"}\n"
        "{\"id\": \"5\", \"audio\": \"broken.wav\", \"text\": \"five\"}\n"
        "{\"id\": \"6\", \"audio\": \"missing.wav\", \"text\": \"six\"}\n"
        "{\"id\": \"7\", \"text\": \"\"}\n"
        "{\"id\": \"8\", \"audio\": \"a.wav\"}\n"
        "{\"id\": \"9\", \n"
        "{\"id\": \"10\", \"prompt\": \"p\", \"completion\": \"ten\", \"language\": \"en\"}\n");
}

static void assert_bad(const struct survey *s, int i, const char *id, const char *why)
{
    assert_true(i < s->bad_count);
    if (id)
        assert_string_equal(s->bad[i].id, id);
    else
        assert_null(s->bad[i].id);
    if (!strstr(s->bad[i].why, why))
        print_error("found: %s\n", s->bad[i].why);
    assert_non_null(strstr(s->bad[i].why, why));
}

static void test_survey__all_that_is_wrong(void **state)
{
    (void)state;
    char *path = write_set();
    struct manifest m = open_files(&path, 1, NULL);
    /* The same with a model, which words some of it in another way, and without. */
    for (int has_model = 0; has_model < 2; has_model++) {
        struct survey s;
        take(&s, &m, true, has_model);
        assert_int_equal(s.records, 10);
        assert_int_equal(s.clips, 3);
        assert_near(s.seconds, 4, 1e-6);
        assert_int_equal(s.unknown, 0);
        assert_int_equal(s.misstated, 1);
        assert_int_equal(s.characters, 3 + 5 + 5 + 3);
        assert_int_equal(s.bad_records, 6);
        assert_int_equal(s.lost_shards, 0);
        assert_bad(&s, 0, "4", "silent");
        assert_bad(&s, 1, "5", "broken.wav");
        assert_bad(&s, 2, "6", "missing.wav");
        assert_bad(&s, 3, "7", "text");
        assert_bad(&s, 4, "8", "nothing that the assistant says");
        assert_bad(&s, 5, NULL, "column ");
        assert_int_equal(s.same_id_count, 1);
        assert_non_null(strstr(s.same_ids[0].first, "set.jsonl:1"));
        assert_non_null(strstr(s.same_ids[0].second, "set.jsonl:3"));
        assert_int_equal(s.same_clip_count, 1);
        assert_non_null(strstr(s.same_clips[0].second, "set.jsonl:3"));
        assert_int_equal(s.tokens > 0, has_model);
        assert_int_equal(s.lengths.count, has_model ? 4 : 0);
        assert_int_equal(s.language_count, 3);
        assert_string_equal(s.languages[0].name, "de");
        assert_int_equal(s.languages[0].records, 2);
        assert_near(s.languages[0].seconds, 3, 1e-6);
        survey_release(&s);
    }
    manifest_release(&m);
    free(path);
}

static void test_survey__without_opening_clips(void **state)
{
    (void)state;
    char *path = write_set();
    struct manifest m = open_files(&path, 1, NULL);
    struct survey s;
    take(&s, &m, false, false);
    assert_int_equal(s.records, 10);
    assert_int_equal(s.clips, 6);
    assert_near(s.seconds, 11, 1e-6);
    assert_int_equal(s.unknown, 4);
    assert_int_equal(s.durations.count, 2);
    assert_int_equal(s.bad_records, 3);
    assert_int_equal(s.same_clip_count, 0);
    survey_release(&s);
    manifest_release(&m);
    free(path);
}

/* Pictures and videos are opened, too, and the sound of videos. */
static void test_survey__pictures_and_videos(void **state)
{
    (void)state;
    kit_write_picture(&kit, "a.png", 60, 40, 1);
    kit_write_picture(&kit, "same.png", 60, 40, 1);
    kit_copy(&kit, "film.mp4", "tests/data/audio/film.mp4");
    kit_copy(&kit, "silent.mp4", "tests/data/audio/silent_film.mp4");
    free(write_text("broken.png", "\x89PNG no picture"));
    char *path = write_text("pictures.jsonl",
                            "{\"image\": [\"a.png\", \"a.png\"], \"text\": \"one\"}\n"
                            "{\"image\": \"same.png\", \"text\": \"two\", \"duration\": 9}\n"
                            "{\"video\": \"film.mp4\", \"sound\": true, \"text\": \"three\"}\n"
                            "{\"image\": \"broken.png\", \"text\": \"four\"}\n"
                            "{\"video\": \"silent.mp4\", \"sound\": true, \"text\": \"five\"}\n"
                            "{\"video\": \"broken.png\", \"text\": \"six\"}\n"
                            "{\"image\": \"missing.png\", \"text\": \"seven\"}\n");
    struct manifest m = open_files(&path, 1, NULL);
    for (int has_model = 0; has_model < 2; has_model++) {
        struct survey s;
        take(&s, &m, true, has_model);
        assert_int_equal(s.records, 7);
        assert_int_equal(s.images, 3);
        assert_int_equal(s.videos, 1);
        assert_int_equal(s.clips, 1);
        assert_int_equal(s.misstated, 0);
        assert_true(s.seconds > 0.3 && s.seconds < 0.6);
        assert_int_equal(s.same_clip_count, 1);
        assert_int_equal(s.bad_records, 4);
        assert_bad(&s, 0, NULL, "broken.png");
        assert_bad(&s, 1, NULL, "silent.mp4: no audio stream");
        assert_bad(&s, 2, NULL, "broken.png");
        assert_bad(&s, 3, NULL, "missing.png");
        survey_release(&s);
    }
    struct survey quick;
    take(&quick, &m, false, false);
    assert_int_equal(quick.images, 5);
    assert_int_equal(quick.videos, 3);
    assert_int_equal(quick.clips, 2);
    assert_int_equal(quick.unknown, 2);
    assert_near(quick.seconds, 0, 0);
    survey_release(&quick);
    manifest_release(&m);
    free(path);
}

static void test_survey__shards(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    char *paths[3];
    for (int i = 0; i < 3; i++) {
        char name[20];
        snprintf(name, sizeof name, "s%d.tar", i);
        paths[i] = write_shard(kit.folder, name, 5 * i, 5, RATE);
    }
    char *bytes = file_read(paths[0], 64 << 20, &size, &e);
    assert_int_equal(file_write(paths[0], bytes, size - 5000, &e), 0);
    free(bytes);
    struct manifest m = open_files(paths, 3, NULL);
    struct survey s, quick;
    take(&s, &m, true, false);
    assert_int_equal(s.records, 10);
    assert_int_equal(s.clips, 10);
    assert_int_equal(s.bad_records, 0);
    assert_int_equal(s.lost_shards, 1);
    assert_int_equal(s.bad_count, 1);
    assert_true(s.bad[0].is_shard);
    assert_non_null(strstr(s.bad[0].where, "s0.tar"));
    assert_null(strstr(s.bad[0].why, "s0.tar"));
    /* The headers of the clips tell the same. */
    take(&quick, &m, false, false);
    assert_near(quick.seconds, s.seconds, 1e-3);
    assert_int_equal(quick.unknown, 0);
    survey_release(&quick);
    survey_release(&s);
    manifest_release(&m);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

static void test_survey__more_duplicates_than_are_kept(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < SURVEY_PAIRS_MAX + 5; i++)
        buf_add_str(&b, "{\"id\": 7, \"text\": \"x\"}\n");
    char *path = write_text("many.jsonl", b.data);
    struct manifest m = open_files(&path, 1, NULL);
    struct survey s;
    take(&s, &m, false, false);
    assert_int_equal(s.same_id_count, SURVEY_PAIRS_MAX + 4);
    assert_non_null(strstr(s.same_ids[SURVEY_PAIRS_MAX - 1].first, "many.jsonl:1"));
    survey_release(&s);
    manifest_release(&m);
    buf_release(&b);
    free(path);
}

/* What records say of their speech, with Whisper and without a model. */
static void test_survey__speech(void **state)
{
    (void)state;
    struct err e = {0};
    struct speech_kit k;
    speech_kit_open(&k, "v2");
    k.format.crossing.language = NULL;
    kit_write_tone(&kit, "one.wav", RATE, 0.3, 1);
    kit_write_tone(&kit, "five.wav", 5 * RATE, 0.3, 2);
    char *path = write_text(
        "speech.jsonl",
        "{\"audio\": \"one.wav\", \"text\": \"a\", \"language\": \"de\","
        " \"task\": \"translate\"}\n"
        "{\"audio\": \"five.wav\", \"language\": \"de\", \"duration\": 5, \"segments\": ["
        "{\"start\": 0.5, \"end\": 1.5, \"text\": \"a\"}, {\"start\": 4, \"end\": 5,"
        " \"text\": \"b\"}]}\n"
        "{\"audio\": \"one.wav\", \"text\": \"\", \"language\": \"de\","
        " \"task\": \"transcribe\"}\n"
        "{\"audio\": \"one.wav\", \"language\": \"de\", \"segments\": ["
        "{\"start\": 0.5, \"end\": 1.5, \"text\": \"a\"}]}\n"
        "{\"audio\": \"one.wav\", \"language\": \"de\", \"segments\": ["
        "{\"start\": 0.5, \"end\": 0.6, \"text\": \"a\"}, {\"start\": 0.1, \"end\": 0.2,"
        " \"text\": \"b\"}]}\n"
        "{\"audio\": \"one.wav\", \"text\": \"a\", \"language\": \"dd\"}\n"
        "{\"audio\": \"one.wav\", \"text\": \"a\"}\n"
        "{\"audio\": \"five.wav\", \"text\": \"a\", \"language\": \"de\"}\n"
        "{\"audio\": \"one.wav\", \"text\": \"a\", \"task\": \"talk\"}\n");
    struct manifest m = open_files(&path, 1, NULL);
    struct survey s;
    struct survey_options o = {.manifest = &m, .format = &k.format, .decodes = true, .threads = 3};
    assert_int_equal(survey(&s, &o, &e), 0);
    assert_int_equal(s.records, 9);
    assert_int_equal(s.bad_records, 6);
    assert_bad(&s, 0, NULL, "segments[0]: ends at 1.50 s, the clip at 1.00 s");
    assert_bad(&s, 1, NULL, "segments[1]: starts at 0.10 s, before 0.60 s");
    assert_bad(&s, 2, NULL, "dd");
    assert_bad(&s, 3, NULL, "no language");
    assert_bad(&s, 4, NULL, "five.wav: 5.0 s long, at most 2.0 s");
    assert_bad(&s, 5, NULL, "\"task\": unknown \"talk\"");
    assert_int_equal(s.tasks[WHISPER_TRANSCRIBE], 1);
    assert_int_equal(s.tasks[WHISPER_TRANSLATE], 1);
    assert_int_equal(s.segmented, 1);
    assert_int_equal(s.segments, 2);
    assert_int_equal(s.windows, 4);
    assert_near(s.seconds, 4, 1e-3);
    assert_int_equal(s.misstated, 0);
    survey_release(&s);
    /* Nobody knows here which languages there are, or how long clips may be. */
    struct data_format none = {.prompt = NULL};
    o.format = &none;
    assert_int_equal(survey(&s, &o, &e), 0);
    assert_int_equal(s.bad_records, 4);
    assert_bad(&s, 0, NULL, "no text to learn");
    assert_bad(&s, 1, NULL, "segments[0]: ends at 1.50 s, the clip at 1.00 s");
    assert_bad(&s, 2, NULL, "segments[1]: starts at 0.10 s");
    assert_bad(&s, 3, NULL, "\"task\"");
    assert_int_equal(s.windows, 0);
    survey_release(&s);
    manifest_release(&m);
    free(path);
    speech_kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survey__speech),
        cmocka_unit_test(test_survey__all_that_is_wrong),
        cmocka_unit_test(test_survey__without_opening_clips),
        cmocka_unit_test(test_survey__pictures_and_videos),
        cmocka_unit_test(test_survey__shards),
        cmocka_unit_test(test_survey__more_duplicates_than_are_kept),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
