/* test_sample.c - records with media of every kind as tokens, features and patches; every kind of
 * bad record. */
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

static void check_hint(const struct data_format *f, const char *line, const char *part,
                       const char *hint)
{
    struct err e = {0};
    struct sample s;
    assert_int_equal(make(&s, f, line, SAMPLE_TRAIN, &e), -1);
    assert_err(e, ERR_DATA, part);
    if (!strstr(e.hint, hint))
        print_error("found hint: %s\n", e.hint);
    assert_non_null(strstr(e.hint, hint));
    assert_null(s.tokens);
    assert_null(s.clips);
    assert_null(s.pictures);
}

static void check_bad(const struct data_format *f, const char *line, const char *part)
{
    check_hint(f, line, part, "");
}

static struct sample make_good(const struct data_format *f, const char *line)
{
    struct err e = {0};
    struct sample s;
    int failed = make(&s, f, line, SAMPLE_TRAIN, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return s;
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
    check_hint(&deaf, LINE("a.wav"), "a.wav: the model hears nothing", "a checkpoint that hears");
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

/* ---------------------------------------------------------------- pictures -- */

#define SEEN(file) "{\"image\": \"" file "\", \"text\": \"a\"}"

static void test_sample__of_an_image(void **state)
{
    (void)state;
    kit_write_picture(&kit, "red.png", 96, 48, 0xc80a20);
    struct sample s = make_good(&kit.format, SEEN("red.png"));
    /* 20 tokens of 48 x 48 pixels: enlarged by the square root of 20 * 48 * 48 / (96 * 48) = 3.16,
     * and down to whole tokens. */
    assert_int_equal(s.clip_count, 0);
    assert_int_equal(s.picture_count, 1);
    assert_int_equal(s.pictures[0].picture.across, 18);
    assert_int_equal(s.pictures[0].picture.down, 9);
    assert_int_equal(s.pictures[0].picture.soft_tokens, 18);
    assert_true(s.pictures[0].key != 0);
    for (int i = 0; i < 18 * 9 * 16 * 16; i++) {
        assert_int_equal(s.pictures[0].picture.patches[3 * i], 0xc8);
        assert_int_equal(s.pictures[0].picture.patches[3 * i + 1], 0x0a);
        assert_int_equal(s.pictures[0].picture.patches[3 * i + 2], 0x20);
    }
    assert_int_equal(s.span_count, 1);
    assert_true(s.blocks[0].is_picture);
    assert_int_equal(s.blocks[0].index, 0);
    assert_int_equal(s.spans[0].count, 18);
    assert_int_equal(count_of(&s, kit.chat.image), 18);
    struct data_format keyless = kit.format;
    keyless.has_keys = false;
    struct sample plain = make_good(&keyless, SEEN("red.png"));
    assert_int_equal(plain.pictures[0].key, 0);
    sample_release(&plain);
    int at = s.spans[0].start;
    assert_int_equal(s.tokens[at - 1], tokenizer_id(kit.tokenizer, "<|image>"));
    assert_int_equal(s.tokens[at + 18], tokenizer_id(kit.tokenizer, "<image|>"));
    sample_release(&s);
}

/* Media in any turn, each in its own place. */
static void test_sample__of_many_media(void **state)
{
    (void)state;
    kit_write_picture(&kit, "red.png", 96, 48, 0xc80a20);
    kit_write_picture(&kit, "blue.png", 48, 96, 0x0a20c8);
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    static const char LINE_OF_MANY[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": ["
        "{\"type\": \"image\", \"image\": \"red.png\"}, {\"type\": \"text\", \"text\": \"and\"},"
        "{\"type\": \"audio\", \"audio\": \"a.wav\"}, {\"type\": \"image\", \"image\": "
        "\"blue.png\"}]},"
        "{\"role\": \"assistant\", \"content\": \"seen\"},"
        "{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"image\": \"red.png\"}]},"
        "{\"role\": \"assistant\", \"content\": \"again\"}]}";
    static const struct sample_block blocks[] = {{true, 0}, {false, 0}, {true, 1}, {true, 2}};
    struct sample s = make_good(&kit.format, LINE_OF_MANY);
    assert_int_equal(s.picture_count, 3);
    assert_int_equal(s.clip_count, 1);
    assert_int_equal(s.span_count, 4);
    for (int i = 0; i < 4; i++) {
        const struct sample_block *b = &s.blocks[i];
        assert_int_equal(b->is_picture, blocks[i].is_picture);
        assert_int_equal(b->index, blocks[i].index);
        assert_int_equal(s.spans[i].count, b->is_picture ? s.pictures[b->index].picture.soft_tokens
                                                         : s.clips[b->index].soft_tokens);
        for (int k = 0; k < s.spans[i].count; k++)
            assert_int_equal(s.tokens[s.spans[i].start + k],
                             b->is_picture ? kit.chat.image : kit.chat.audio);
        assert_true(i == 0 || s.spans[i].start > s.spans[i - 1].start + s.spans[i - 1].count);
    }
    /* Keys say which are the same. */
    assert_int_equal(s.pictures[0].picture.across, 18);
    assert_int_equal(s.pictures[1].picture.across, 9);
    assert_true(s.pictures[0].key == s.pictures[2].key);
    assert_true(s.pictures[0].key != s.pictures[1].key);
    assert_true(s.clips[0].key != 0);
    sample_release(&s);
}

/* What the assistant shows last is left out with its turn. */
static void test_sample__for_generation_with_pictures(void **state)
{
    (void)state;
    struct err e = {0};
    struct sample s;
    kit_write_picture(&kit, "red.png", 96, 48, 0xc80a20);
    kit_write_picture(&kit, "blue.png", 48, 96, 0x0a20c8);
    int failed = make(&s, &kit.format,
                      "{\"messages\": [{\"role\": \"user\", \"content\": ["
                      "{\"type\": \"image\", \"image\": \"red.png\"}]},"
                      "{\"role\": \"assistant\", \"content\": ["
                      "{\"type\": \"image\", \"image\": \"blue.png\"},"
                      "{\"type\": \"text\", \"text\": \"blue\"}]}]}",
                      SAMPLE_GENERATE, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_string_equal(s.reference, "blue");
    assert_int_equal(s.picture_count, 1);
    assert_int_equal(s.pictures[0].picture.across, 18);
    assert_int_equal(s.span_count, 1);
    sample_release(&s);
}

static void test_sample__names_bad_pictures(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    kit_write_picture(&kit, "red.png", 96, 48, 0xc80a20);
    char *path = path_join(kit.folder, "red.png");
    char *png = file_read(path, 1 << 20, &size, &e);
    free(kit_write(&kit, "cut.png", png, size - 20));
    free(kit_write(&kit, "empty.png", "", 0));
    free(kit_write(&kit, "page.png", "<html></html>", 13));
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    const struct data_format *f = &kit.format;
    check_bad(f, SEEN("missing.png"), "missing.png: No such file");
    check_bad(f, SEEN("empty.png"), "empty.png: the picture is empty");
    check_bad(f, SEEN("page.png"), "page.png: found HTML, expected a JPEG, PNG or WebP");
    check_bad(f, SEEN("cut.png"), "cut.png: truncated: ");
    check_bad(f, SEEN("a.wav"), "a.wav: found no picture");
    check_bad(f, LINE("red.png"), "red.png: not a sound file: ");

    struct data_format other = *f;
    other.media_bytes_max = 60;
    check_bad(&other, SEEN("red.png"), "bytes, at most 60 are");
    other = *f;
    other.picture = NULL;
    check_hint(&other, SEEN("red.png"), "red.png: the model sees nothing", "checkpoint that sees");
    check_hint(&other, "{\"video\": \"a.mp4\", \"text\": \"a\"}", "a.mp4: the model sees nothing",
               "");
    other = *f;
    other.picture_side = 17;
    check_hint(&other, SEEN("red.png"),
               "red.png: 18 x 9 patches, the model takes at most 17 a side", "image_tokens");
    other.picture_side = 18;
    struct sample s = make_good(&other, SEEN("red.png"));
    sample_release(&s);
    free(png);
    free(path);
}

/* More tokens of media than a record may have: the error names a setting that fits. */
static void test_sample__names_the_setting_that_fits(void **state)
{
    (void)state;
    struct picture_config large = kit.picture;
    struct data_format f = kit.format;
    static const char TWO[] = "{\"image\": [\"grey.png\", \"grey.png\"], \"text\": \"a\"}";
    kit_write_picture(&kit, "grey.png", 64, 64, 0x777777);
    large.tokens_max = 280;
    f.picture = &large;
    f.max_tokens = 0;
    struct sample s = make_good(&f, TWO);
    /* 16 x 16 tokens each, and a few of text. */
    char text[100];
    assert_int_equal(s.pictures[1].picture.soft_tokens, 256);
    assert_true(s.count > 512 && s.count < 540);
    snprintf(text, sizeof text, "too long: %d tokens (512 of images), max_tokens is 320", s.count);
    sample_release(&s);
    f.max_tokens = 320;
    check_hint(&f, TWO, text, "image_tokens: 140 would fit, or max_tokens: 5");
    large.tokens_max = 140;
    s = make_good(&f, TWO);
    sample_release(&s);
    f.max_tokens = 10;
    check_hint(&f, TWO, "(242 of images), max_tokens is 10",
               "would fit, or fewer and shorter media in the record");

    /* A video: what is named is the most that fits. */
    static const char FILM[] = "{\"video\": \"film.mp4\", \"text\": \"a\"}";
    kit_copy(&kit, "film.mp4", "tests/data/video/h264.mp4");
    struct picture_config small = kit.picture;
    f.picture = &small;
    small.frames_max = 8;
    f.max_tokens = 0;
    s = make_good(&f, FILM);
    assert_int_equal(s.picture_count, 8);
    int whole = s.count;
    sample_release(&s);
    f.max_tokens = whole - 1;
    check_hint(&f, FILM, " of video), max_tokens is ",
               "video_frames: 7 would fit, or max_tokens: ");
    small.frames_max = 7;
    s = make_good(&f, FILM);
    f.max_tokens = s.count - 1;
    sample_release(&s);
    check_hint(&f, FILM, " of video), max_tokens is ",
               "video_frames: 6 would fit, or max_tokens: ");

    /* More than any model takes, whatever max_tokens says. */
    struct picture_config fine = {.patch = 1, .pool = 1, .tokens_max = 300000};
    f.picture = &fine;
    f.max_tokens = 0;
    check_hint(&f, SEEN("grey.png"), "grey.png: more than 262144 tokens of media", "image_tokens");

    /* Sound. */
    kit_write_tone(&kit, "long.wav", 400000, 0.3, 0);
    f.max_tokens = 100;
    check_hint(&f, LINE("long.wav"), " tokens (625 of sound), max_tokens is 100", "max_tokens: 6");
}

/* ------------------------------------------------------------------ videos -- */

static void test_sample__of_a_video(void **state)
{
    (void)state;
    struct data_format f = kit.format;
    kit_copy(&kit, "film.mp4", "tests/data/video/h264.mp4");
    struct sample s = make_good(&f, "{\"video\": \"film.mp4\", \"text\": \"a\"}");
    /* Four of 75 frames of 64 x 48 pixels, at most 6 tokens each: 2 x 2. */
    assert_int_equal(s.clip_count, 0);
    assert_int_equal(s.picture_count, 4);
    assert_int_equal(s.span_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_true(s.blocks[i].is_picture);
        assert_int_equal(s.blocks[i].index, i);
        assert_int_equal(s.spans[i].media, 0);
        assert_int_equal(s.spans[i].block, i);
        assert_int_equal(s.spans[i].count, 4);
        assert_int_equal(s.pictures[i].picture.across, 6);
        assert_int_equal(s.tokens[s.spans[i].start], kit.chat.video);
        assert_true(i == 0 || s.pictures[i].key != s.pictures[i - 1].key);
    }
    /* Frames 0, 18, 37, 56 at 25 a second: their times stand in front of them. */
    static const char *const times[] = {"00:00", "00:00", "00:01", "00:02"};
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        int begin = i ? s.spans[i - 1].start + s.spans[i - 1].count + 1 : s.spans[0].start - 8;
        begin = begin < 0 ? 0 : begin;
        struct buf text;
        buf_init(&text, 1000);
        int failed = tokenizer_decode(kit.tokenizer, s.tokens + begin,
                                      (size_t)(s.spans[i].start - begin), true, &text, &e);
        assert_ok(e);
        assert_int_equal(failed, 0);
        assert_non_null(strstr(text.data, times[i]));
        buf_release(&text);
    }
    sample_release(&s);
}

/* Frames and sound out of one file, which is there once, and out of two. */
static void test_sample__of_a_video_with_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct data_format f = kit.format;
    kit_copy(&kit, "film.mp4", "tests/data/video/h264.mp4");
    static const char LINE_OF_BOTH[] =
        "{\"video\": \"film.mp4\", \"sound\": true, \"text\": \"a\"}";
    struct sample s = make_good(&f, LINE_OF_BOTH), fetched;
    assert_int_equal(s.picture_count, 4);
    assert_int_equal(s.clip_count, 1);
    assert_int_equal(s.span_count, 5);
    assert_false(s.blocks[4].is_picture);
    assert_near(s.clips[0].audio_s, 3, 0.1);
    assert_int_equal(s.spans[4].count, s.clips[0].soft_tokens);

    struct record r;
    struct record_place place = {.where = "a.jsonl:3", .dir = kit.folder};
    assert_int_equal(record_parse(&r, LINE_OF_BOTH, strlen(LINE_OF_BOTH), &place, &e), 0);
    assert_int_equal(r.media_count, 2);
    assert_int_equal(sample_fetch(&f, &r, NULL, NULL, &e), 0);
    assert_non_null(r.media[0].bytes);
    assert_null(r.media[1].bytes);
    assert_int_equal(sample_make(&fetched, &f, &r, SAMPLE_TRAIN, &e), 0);
    assert_int_equal(fetched.count, s.count);
    assert_memory_equal(fetched.tokens, s.tokens, (size_t)s.count * sizeof *s.tokens);
    assert_true(fetched.clips[0].key == s.clips[0].key);
    assert_true(fetched.pictures[3].key == s.pictures[3].key);
    sample_release(&fetched);
    record_release(&r);

    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    struct sample two =
        make_good(&f, "{\"video\": \"film.mp4\", \"audio\": \"a.wav\", \"text\": \"a\"}");
    assert_int_equal(two.picture_count, 4);
    assert_int_equal(two.clip_count, 1);
    assert_near(two.clips[0].audio_s, 5000 / 16000.0, 1e-9);
    sample_release(&two);
    sample_release(&s);

    /* The stream that was asked for is not there. */
    kit_copy(&kit, "mute.mp4", "tests/data/audio/silent_film.mp4");
    check_bad(&f, "{\"video\": \"mute.mp4\", \"sound\": true, \"text\": \"a\"}",
              "mute.mp4: no audio stream");
    check_bad(&f, "{\"video\": \"a.wav\", \"text\": \"a\"}", "a.wav: not a video file");
    check_bad(&f, "{\"video\": \"gone.mp4\", \"text\": \"a\"}", "gone.mp4: No such file");
    size_t size;
    char *bytes = file_read("tests/data/video/h264.mp4", 1 << 20, &size, &e);
    free(kit_write(&kit, "cut.mp4", bytes, size / 2));
    check_bad(&f, "{\"video\": \"cut.mp4\", \"text\": \"a\"}", "cut.mp4: truncated: ");
    f.media_bytes_max = (int64_t)size - 1;
    check_bad(&f, "{\"video\": \"film.mp4\", \"text\": \"a\"}", "bytes, at most ");
    free(bytes);
}

/* --------------------------------------------------------------- long sound -- */

/* Mel features of a model that takes two seconds at once. */
static struct mel *short_mel(void)
{
    struct err e = {0};
    struct mel_config c;
    mel_config_gemma4(&c);
    c.samples_max = 32000;
    struct mel *mel = mel_new(&c, &e);
    assert_ok(e);
    return mel;
}

enum { LONG = 70000, HOLE = 22000, HOLE_END = 25200 };

/* 4.4 s of sound with a fifth of a second of silence in it. */
static void write_long(const char *name)
{
    size_t size;
    unsigned char *wav = tone(LONG, 0.3, 30, &size);
    memset(wav + 44 + 2 * HOLE, 0, 2 * (HOLE_END - HOLE));
    free(kit_write(&kit, name, wav, size));
    free(wav);
}

static void test_sample__cuts_long_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct mel *mel = short_mel();
    struct data_format f = kit.format;
    f.mel = mel;
    write_long("long.wav");
    kit_write_tone(&kit, "fits.wav", 32000, 0.3, 30);
    check_hint(&f, LINE("long.wav"), "long.wav: 4.4 s long, at most 2.0 s",
               "`long_audio: split` cuts longer recordings");
    f.splits_long_audio = true;
    struct sample s = make_good(&f, LINE("long.wav"));
    assert_int_equal(s.split_count, 1);
    assert_true(s.clip_count >= 3);
    assert_int_equal(s.span_count, s.clip_count);
    /* The first cut lies in the silence, and no piece is too long; nothing is lost. */
    double first = s.clips[0].audio_s * 16000, sum = 0;
    assert_true(first >= HOLE && first <= HOLE_END);
    for (int i = 0; i < s.clip_count; i++) {
        sum += s.clips[i].audio_s;
        assert_true(s.clips[i].audio_s <= 2);
        assert_int_equal(s.spans[i].media, 0);
        assert_int_equal(s.spans[i].block, i);
        assert_false(s.blocks[i].is_picture);
        assert_int_equal(s.blocks[i].index, i);
        assert_int_equal(s.spans[i].count, s.clips[i].soft_tokens);
        /* One block behind the other: nothing between them but an end and a beginning. */
        if (i > 0)
            assert_int_equal(s.spans[i].start, s.spans[i - 1].start + s.spans[i - 1].count + 2);
    }
    assert_near(sum * 16000, LONG, 1e-6);

    /* A piece's features are those of its samples alone. */
    float *x = xcalloc(LONG, sizeof *x);
    for (int i = 0; i < LONG; i++)
        x[i] = i >= HOLE && i < HOLE_END
                   ? 0
                   : (float)lrint(32767 * 0.3 * sin(2 * M_PI * 230 * i / 16000)) / 32768;
    struct sample piece;
    int64_t at = (int64_t)lrint(first), count = (int64_t)lrint(s.clips[1].audio_s * 16000);
    assert_int_equal(sample_of_audio(&piece, &f, x + at, count, NULL, &e), 0);
    assert_int_equal(piece.clips[0].frames, s.clips[1].frames);
    assert_memory_equal(piece.clips[0].mel, s.clips[1].mel,
                        (size_t)s.clips[1].frames * 128 * sizeof(float));
    assert_true(piece.clips[0].key == s.clips[1].key);
    sample_release(&piece);
    /* Of samples in memory, too. */
    assert_int_equal(sample_of_audio(&piece, &f, x, LONG, NULL, &e), 0);
    assert_int_equal(piece.clip_count, s.clip_count);
    sample_release(&piece);
    free(x);
    sample_release(&s);

    s = make_good(&f, LINE("fits.wav"));
    assert_int_equal(s.split_count, 0);
    assert_int_equal(s.clip_count, 1);
    sample_release(&s);
    /* What no record has room for is refused before it is decoded to its end. */
    f.max_tokens = 75;
    check_hint(&f, LINE("long.wav"), "long.wav: 4.4 s long, at most 3.0 s are allowed",
               "max_tokens: 75 has room for 3.0 s of sound");
    mel_free(mel);
}

/* ----------------------------------------------------------------- ablation -- */

static void check_same_tokens(const struct sample *a, const struct sample *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->tokens, b->tokens, (size_t)a->count * sizeof *a->tokens);
    assert_memory_equal(a->supervised, b->supervised, (size_t)a->count);
    assert_int_equal(a->span_count, b->span_count);
    assert_memory_equal(a->spans, b->spans, (size_t)a->span_count * sizeof *a->spans);
    assert_int_equal(a->clip_count, b->clip_count);
    assert_int_equal(a->picture_count, b->picture_count);
}

static void test_sample__without_sound_or_sight(void **state)
{
    (void)state;
    struct mel *mel = short_mel();
    struct data_format f = kit.format;
    f.mel = mel;
    f.splits_long_audio = true;
    write_long("long.wav");
    kit_write_picture(&kit, "red.png", 96, 48, 0xc80a20);
    kit_copy(&kit, "film.mp4", "tests/data/video/h264.mp4");
    static const char ALL[] = "{\"image\": \"red.png\", \"video\": \"film.mp4\", \"audio\": "
                              "\"long.wav\", \"text\": \"a\"}";
    struct sample whole = make_good(&f, ALL);
    assert_true(whole.clip_count >= 3);
    assert_int_equal(whole.picture_count, 5);
    f.ablation = SAMPLE_WITHOUT_AUDIO;
    struct sample deaf = make_good(&f, ALL);
    f.ablation = SAMPLE_WITHOUT_IMAGE;
    struct sample blind = make_good(&f, ALL);
    check_same_tokens(&deaf, &whole);
    check_same_tokens(&blind, &whole);
    float *zeros = xcalloc(LONG, sizeof *zeros), *features = xcalloc(1000 * 128, sizeof *features);
    for (int i = 0; i < whole.clip_count; i++) {
        const struct sample_clip *c = &deaf.clips[i];
        assert_int_equal(c->frames, whole.clips[i].frames);
        assert_true(c->key != whole.clips[i].key);
        mel_compute(mel, zeros, lrint(c->audio_s * 16000), c->frames, features);
        assert_memory_equal(c->mel, features, (size_t)c->frames * 128 * sizeof(float));
        assert_true(blind.clips[i].key == whole.clips[i].key);
    }
    for (int i = 0; i < whole.picture_count; i++) {
        const struct picture *p = &blind.pictures[i].picture;
        assert_int_equal(p->across, whole.pictures[i].picture.across);
        for (int k = 0; k < p->across * p->down * 16 * 16 * 3; k++)
            assert_int_equal(p->patches[k], 128);
        assert_true(deaf.pictures[i].key == whole.pictures[i].key);
        assert_true(blind.pictures[i].key != whole.pictures[i].key);
    }
    /* The frames of the video are all alike now. */
    assert_true(blind.pictures[1].key == blind.pictures[4].key);
    assert_true(blind.pictures[1].key != blind.pictures[0].key);
    free(zeros);
    free(features);
    sample_release(&whole);
    sample_release(&deaf);
    sample_release(&blind);

    /* What is bad stays bad: the same records are compared. */
    kit_write_tone(&kit, "quiet.wav", 8000, 0.0009, 0);
    f.ablation = SAMPLE_WITHOUT_AUDIO;
    check_bad(&f, LINE("quiet.wav"), "quiet.wav: the clip is silent");
    mel_free(mel);
}

/* ------------------------------------------------------------------ shards -- */

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
        cmocka_unit_test(test_sample__of_an_image),
        cmocka_unit_test(test_sample__of_many_media),
        cmocka_unit_test(test_sample__for_generation_with_pictures),
        cmocka_unit_test(test_sample__names_bad_pictures),
        cmocka_unit_test(test_sample__names_the_setting_that_fits),
        cmocka_unit_test(test_sample__of_a_video),
        cmocka_unit_test(test_sample__of_a_video_with_sound),
        cmocka_unit_test(test_sample__cuts_long_sound),
        cmocka_unit_test(test_sample__without_sound_or_sight),
        cmocka_unit_test(test_sample__of_a_shard),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
