/* test_sample.c - records with sound as tokens and features; every kind of bad record. */
#include "data_testing.h"

static int make(struct sample *s, const struct data_format *f, const char *line,
                enum sample_purpose purpose, struct err *e)
{
    struct record r;
    struct record_place place = {.where = "a.jsonl:3", .dir = kit.folder, .prompt = f->prompt};
    if (record_parse(&r, line, strlen(line), &place, e)) {
        memset(s, 0, sizeof *s);
        return -1;
    }
    int failed = sample_make(s, f, &r, purpose, e);
    record_release(&r);
    return failed;
}

static void check_bad(const struct data_format *f, const char *line, const char *part)
{
    struct err e = {0};
    struct sample s;
    assert_int_equal(make(&s, f, line, SAMPLE_TRAIN, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_null(s.tokens);
    assert_null(s.clips);
}

static int count_of(const struct sample *s, int32_t id)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += s->tokens[i] == id;
    return n;
}

static void test_sample__of_a_transcript(void **state)
{
    (void)state;
    struct err e = {0};
    struct sample s;
    kit_write_tone(&kit, "a.wav", 12345, 0.3, 0);
    int failed = make(&s, &kit.format, "{\"audio\": \"a.wav\", \"text\": \"hello\", \"id\": \"x\"}",
                      SAMPLE_TRAIN, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_string_equal(s.id, "x");
    assert_true(s.has_id);
    assert_int_equal(s.record, -1);
    assert_null(s.reference);
    assert_int_equal(s.clip_count, 1);
    /* (12345 - 161) / 160 + 1 frames are real; a soft token takes four. */
    assert_int_equal(s.clips[0].frames, 77);
    assert_int_equal(s.clips[0].soft_tokens, 20);
    assert_near(s.clips[0].audio_s, 12345 / 16000.0, 1e-9);
    assert_int_equal(count_of(&s, kit.chat.audio), 20);
    assert_int_equal(s.span_count, 1);
    assert_int_equal(s.spans[0].count, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(s.tokens[s.spans[0].start + i], kit.chat.audio);
    assert_int_equal(s.tokens[0], kit.chat.bos);
    /* Supervised are the reply and the token that ends it, nothing before. */
    int first = -1, supervised = 0;
    for (int i = 0; i < s.count; i++) {
        supervised += s.supervised[i];
        first = first < 0 && s.supervised[i] ? i : first;
    }
    assert_true(first > s.spans[0].start + 20);
    assert_true(supervised >= 2);
    assert_int_equal(s.tokens[first + supervised - 1], kit.chat.turn_end);
    sample_release(&s);
    sample_release(&s);
}

static void test_sample__for_generation(void **state)
{
    (void)state;
    struct err e = {0};
    struct sample s, unlabelled;
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    struct data_format f = kit.format;
    f.prompt = "Transcribe.";
    assert_int_equal(
        make(&s, &f, "{\"audio\": \"a.wav\", \"text\": \" hello \"}", SAMPLE_GENERATE, &e), 0);
    assert_string_equal(s.reference, " hello ");
    assert_false(s.has_id);
    assert_string_equal(s.id, "a.jsonl:3");
    assert_int_equal(make(&unlabelled, &f, "{\"audio\": \"a.wav\"}", SAMPLE_GENERATE, &e), 0);
    assert_null(unlabelled.reference);
    assert_int_equal(s.count, unlabelled.count);
    assert_memory_equal(s.tokens, unlabelled.tokens, (size_t)s.count * sizeof *s.tokens);
    /* The prompt ends with the beginning of the assistant's turn. */
    assert_int_equal(count_of(&s, tokenizer_id(kit.tokenizer, "<|turn>")), 2);
    assert_int_equal(count_of(&s, kit.chat.turn_end), 1);

    /* The same from samples in memory. */
    struct audio_of_tone {
        float x[5000];
    } *tone = xcalloc(1, sizeof *tone);
    for (int i = 0; i < 5000; i++)
        tone->x[i] = (float)lrint(32767 * 0.3 * sin(2 * M_PI * 200 * i / 16000)) / 32768;
    struct sample piece;
    assert_int_equal(sample_of_audio(&piece, &f, tone->x, 5000, NULL, &e), 0);
    assert_int_equal(piece.count, s.count);
    assert_memory_equal(piece.tokens, s.tokens, (size_t)s.count * sizeof *s.tokens);
    assert_int_equal(piece.clips[0].frames, s.clips[0].frames);
    assert_memory_equal(piece.clips[0].mel, s.clips[0].mel,
                        (size_t)s.clips[0].frames * 128 * sizeof(float));
    sample_release(&piece);
    assert_int_equal(sample_of_audio(&piece, &f, tone->x, 100, NULL, &e), -1);
    assert_err(e, ERR_DATA, "too short");
    free(tone);
    sample_release(&s);
    sample_release(&unlabelled);
}

static void test_sample__of_text(void **state)
{
    (void)state;
    struct err e = {0};
    struct sample s;
    assert_int_equal(make(&s, &kit.format, "{\"text\": \"hello there\"}", SAMPLE_TRAIN, &e), 0);
    assert_int_equal(s.tokens[0], kit.chat.bos);
    assert_int_equal(s.supervised[0], 0);
    for (int i = 1; i < s.count; i++)
        assert_int_equal(s.supervised[i], 1);
    sample_release(&s);
}

static void test_sample__names_bad_clips(void **state)
{
    (void)state;
    kit_write_tone(&kit, "quiet.wav", 8000, 0.0009, 0);
    kit_write_tone(&kit, "short.wav", 160, 0.5, 0);
    kit_write_tone(&kit, "none.wav", 0, 0.5, 0);
    kit_write_tone(&kit, "long.wav", 480001, 0.5, 0);
    kit_write_tone(&kit, "most.wav", 480000, 0.5, 0);
    free(kit_write(&kit, "empty.wav", "", 0));
    free(kit_write(&kit, "page.wav", "<html></html>", 13));
    const struct data_format *f = &kit.format;
#define LINE(file) "{\"audio\": \"" file "\", \"text\": \"a\"}"
    check_bad(f, LINE("missing.wav"), "missing.wav: No such file");
    check_bad(f, LINE("empty.wav"), "empty.wav: an empty file");
    check_bad(f, LINE("page.wav"), "page.wav: not a sound file: 13 bytes that begin with \"<html>");
    check_bad(f, LINE("none.wav"), "none.wav: ");
    check_bad(f, LINE("quiet.wav"), "quiet.wav: the clip is silent");
    check_bad(f, LINE("short.wav"), "short.wav: 0.0100 s are too short");
    check_bad(f, LINE("long.wav"), "long.wav: 30.0 s long, at most 30.0 s");
    check_bad(f, LINE("gs://bucket/a.wav"), "cannot read \"gs://\"");

    struct err e = {0};
    struct sample s;
    struct data_format lenient = *f;
    lenient.allows_silence = true;
    lenient.max_tokens = 0;
    assert_int_equal(make(&s, &lenient, LINE("quiet.wav"), SAMPLE_TRAIN, &e), 0);
    sample_release(&s);
    assert_int_equal(make(&s, &lenient, LINE("most.wav"), SAMPLE_TRAIN, &e), 0);
    assert_int_equal(s.clips[0].soft_tokens, 750);
    sample_release(&s);
}

static void test_sample__names_bad_records(void **state)
{
    (void)state;
    const struct data_format *f = &kit.format;
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    check_bad(f, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
              "no supervised token");
    check_bad(f, "{\"text\": \"\"}", "no supervised token");
    check_bad(f, LINE("a.wav") "x", "a.jsonl:3:");
    check_bad(f, "{\"text\": \"<|audio|>\"}", "audio");
    check_bad(f, "{\"prompt\": \"a\", \"completion\": \"<|turn>\"}", "<|turn>");
    struct data_format small = *f, deaf = *f;
    small.max_tokens = 10;
    check_bad(&small, "{\"prompt\": \"one two three four\", \"completion\": \"five six seven\"}",
              "max_tokens is 10");
    deaf.mel = NULL;
    check_bad(&deaf, LINE("a.wav"), "a.wav: the model has no audio tower");
}

/* Files that no clip can need so large are refused before they are read. */
static void test_sample__refuses_files_that_are_too_large(void **state)
{
    (void)state;
    char *path = path_join(kit.folder, "huge.wav");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)1 << 30), 0);
    assert_int_equal(fclose(file), 0);
    check_bad(&kit.format, LINE("huge.wav"), "huge.wav: 1073741824 bytes, at most 201097216 are");
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    struct data_format small = kit.format;
    small.media_bytes_max = 10043;
    check_bad(&small, LINE("a.wav"), "a.wav: 10044 bytes, at most 10043 are");
    free(path);
}

static int read_file(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    return source_read(arg, offset, out, size, e);
}

/* A sample of a shard is the same as one whose files lie loose. */
static void test_sample__of_a_shard(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    unsigned char *wav = tone(9000, 0.3, 50, &size);
    free(kit_write(&kit, "loose.wav", wav, size));
    free(kit_write(&kit, "loose.jsonl", "{\"audio\": \"loose.wav\", \"text\": \"hello\"}\n", 41));
    struct buf tar;
    buf_init(&tar, 1 << 20);
    tar_add(&tar, "a/loose.txt", "hello");
    tar_add_bytes(&tar, "a/loose.wav", '0', wav, size);
    tar_end(&tar);
    char *paths[] = {kit_write(&kit, "one.tar", tar.data, tar.size),
                     path_join(kit.folder, "loose.jsonl")};
    struct manifest m = open_files(paths, 2, NULL);
    struct shard shard;
    assert_int_equal(shard_index(&shard, paths[0], paths[0], NULL, 0, &e), 0);
    struct source *source = source_open(NULL, paths[0], &e);
    struct record_ref in_shard = {.shard = &shard, .file = 0}, loose = {.file = 1};
    struct sample a, b;
    struct data_format f = kit.format;
    assert_int_equal(sample_load(&a, &f, &m, &in_shard, read_file, source, SAMPLE_TRAIN, &e), 0);
    assert_int_equal(sample_load(&b, &f, &m, &loose, NULL, NULL, SAMPLE_TRAIN, &e), 0);
    assert_string_equal(a.id, "a/loose");
    assert_non_null(strstr(b.id, "loose.jsonl:1"));
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.tokens, b.tokens, (size_t)a.count * sizeof *a.tokens);
    assert_memory_equal(a.clips[0].mel, b.clips[0].mel, (size_t)a.clips[0].frames * 128 * 4);
    sample_release(&a);
    sample_release(&b);
    f.media_bytes_max = 100;
    assert_int_equal(sample_load(&a, &f, &m, &in_shard, read_file, source, SAMPLE_TRAIN, &e), -1);
    assert_err(e, ERR_DATA, "loose.wav: 18044 bytes, at most 100 are allowed");
    assert_non_null(strstr(e.text, "one.tar:"));
    source_close(source);
    shard_release(&shard);
    manifest_release(&m);
    buf_release(&tar);
    free(paths[0]);
    free(paths[1]);
    free(wav);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample__of_a_transcript),
        cmocka_unit_test(test_sample__for_generation),
        cmocka_unit_test(test_sample__of_text),
        cmocka_unit_test(test_sample__names_bad_clips),
        cmocka_unit_test(test_sample__names_bad_records),
        cmocka_unit_test(test_sample__refuses_files_that_are_too_large),
        cmocka_unit_test(test_sample__of_a_shard),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
