/* test_audio.c - decoded clips against soundfile, ffmpeg and soxr (tests/fixtures/audio.py), and
 * every kind of file that is not what it should be. */
#include "testing.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/json.h"
#include "media/audio.h"

#define DATA "tests/data/audio/"

static unsigned char *read_bytes(const char *name, size_t *size)
{
    struct err e = {0};
    char path[200];
    snprintf(path, sizeof path, DATA "%s", name);
    unsigned char *x = (unsigned char *)file_read(path, 1 << 24, size, &e);
    assert_ok(e);
    return x;
}

static void check_case(const json_t *c)
{
    struct err e = {0};
    const char *name = json_need_str(c, "file", &e);
    double tolerance = json_need_double(c, "tolerance", &e);
    char path[200];
    snprintf(path, sizeof path, DATA "%s", name);
    struct audio a;
    int failed = audio_read(&a, path, NULL, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    size_t size;
    float *expected = (float *)read_bytes(json_need_str(c, "expected", &e), &size);
    if (a.count != (int64_t)(size / sizeof(float)))
        print_error("%s: found %lld samples\n", name, (long long)a.count);
    assert_int_equal(a.count, size / sizeof(float));
    assert_int_equal(a.source_rate, json_need_int(c, "rate", &e));
    assert_int_equal(a.source_channels, json_need_int(c, "channels", &e));
    assert_string_equal(a.codec, json_need_str(c, "codec", &e));
    assert_ok(e);
    double worst = 0;
    for (int64_t i = 0; i < a.count; i++)
        worst = fmax(worst, fabs((double)a.samples[i] - (double)expected[i]));
    if (worst > tolerance)
        print_error("%s: off by %g\n", name, worst);
    assert_true(worst <= tolerance);
    assert_true(audio_peak(&a) > 0.05f);
    free(expected);
    audio_release(&a);
}

static void test_audio__equals_the_references(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *cases = json_read_file(DATA "cases.json", 1 << 20, &e), *c;
    assert_ok(e);
    assert_true(json_array_size(cases) >= 15);
    size_t i;
    json_array_foreach(cases, i, c) check_case(c);
    json_decref(cases);
}

/* Decoding must fail with ERR_DATA and this text. */
static void check_bad(const void *bytes, size_t size, const struct audio_options *o,
                      const char *part)
{
    struct err e = {0};
    struct audio a;
    assert_int_equal(audio_decode(&a, bytes, size, o, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_null(a.samples);
    assert_int_equal(a.count, 0);
}

static void test_audio__names_what_is_not_audio(void **state)
{
    (void)state;
    const char *html = "<!DOCTYPE html>\n<html><body>404 not found</body></html>\n";
    check_bad("", 0, NULL, "an empty file");
    check_bad(html, strlen(html), NULL, "begin with \"<!DOCTYPE html>.<html><b\"");
    check_bad("RIFF", 4, NULL, "not a sound file");
    const char *list = "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n";
    check_bad(list, strlen(list), NULL, "not a sound file");
    const char *concat = "ffconcat version 1.0\nfile /etc/passwd\n";
    check_bad(concat, strlen(concat), NULL, "not a sound file");
    unsigned char *zeros = calloc(1, 100000);
    check_bad(zeros, 100000, NULL, "not a sound file");
    free(zeros);
    size_t size;
    unsigned char *film = read_bytes("silent_film.mp4", &size);
    check_bad(film, size, NULL, "no audio stream; it has video (mpeg4)");
    free(film);
}

static void test_audio__names_a_missing_file(void **state)
{
    (void)state;
    struct err e = {0};
    struct audio a;
    assert_int_equal(audio_read(&a, DATA "nowhere.wav", NULL, &e), -1);
    assert_err(e, ERR_DATA, "nowhere.wav");
    e = (struct err){0};
    assert_int_equal(audio_read(&a, DATA, NULL, &e), -1);
    assert_err(e, ERR_DATA, "data/audio");
}

/* The sound of a video: 440 Hz at an eighth of the full level (tests/fixtures/video.py). */
static void check_sound_of_video(const char *path, double seconds, const char *codec)
{
    struct err e = {0};
    struct audio a;
    int failed = audio_read(&a, path, NULL, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_string_equal(a.codec, codec);
    assert_near((double)a.count / AUDIO_RATE, seconds, 0.1);
    /* In the middle, away from what coders add at the ends. */
    int64_t first = a.count / 4, count = a.count / 2;
    double sine = 0, cosine = 0, energy = 0;
    for (int64_t i = first; i < first + count; i++) {
        double x = (double)a.samples[i], phase = 2 * M_PI * 440 * (double)i / AUDIO_RATE;
        sine += x * sin(phase);
        cosine += x * cos(phase);
        energy += x * x;
    }
    double level = 2 * sqrt(sine * sine + cosine * cosine) / (double)count;
    assert_near(level, 0.125, 0.01);
    assert_near(energy / (double)count, 0.125 * 0.125 / 2, 0.001);
    audio_release(&a);
}

static void test_audio__reads_the_sound_of_videos(void **state)
{
    (void)state;
    check_sound_of_video("tests/data/video/h264.mp4", 3, "aac");
    check_sound_of_video("tests/data/video/vp8.webm", 2, "opus");
    check_sound_of_video("tests/data/video/vp9.webm", 2, "opus");
    static const struct {
        const char *path, *part;
    } silent[] = {
        {"tests/data/video/upright.mp4", "no audio stream; it has video (h264)"},
        {"tests/data/video/open.mkv", "no audio stream; it has video (h264)"},
        {"tests/data/video/mjpeg.mov", "no audio stream; it has video (mjpeg)"},
    };
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        struct err e = {0};
        struct audio a;
        assert_int_equal(audio_read(&a, silent[i].path, NULL, &e), -1);
        assert_err(e, ERR_DATA, silent[i].part);
        assert_non_null(strstr(e.text, silent[i].path));
    }
}

/* Whatever the format, a file that was cut is not taken for a shorter clip. */
static void test_audio__finds_truncation(void **state)
{
    (void)state;
    static const char *const names[] = {
        "mono.wav", "three.wav",         "mono.flac",        "stereo.flac", "clip.aiff",
        "clip.ogg", "clip.opus",         "apple.m4a",        "clip.m4a",    "clip.webm",
        "film.mp4", "../video/vp8.webm", "../video/h264.mp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        unsigned char *bytes = read_bytes(names[i], &size);
        for (size_t percent = 20; percent < 100; percent += 15) {
            struct err e = {0};
            struct audio a;
            int failed = audio_decode(&a, bytes, size * percent / 100, NULL, &e);
            if (!failed)
                print_error("%s cut to %zu %%: %lld samples\n", names[i], percent,
                            (long long)a.count);
            assert_int_equal(failed, -1);
            assert_int_equal(e.kind, ERR_DATA);
        }
        free(bytes);
    }
    size_t size;
    unsigned char *bytes = read_bytes("mono.wav", &size);
    check_bad(bytes, size - 2000, NULL, "truncated: the file ends after 0.15 s");
    check_bad(bytes, 44, NULL, "empty");
    free(bytes);
}

static void test_audio__finds_damage(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_bytes("stereo.flac", &size);
    bytes[size / 2] ^= 0x10;
    check_bad(bytes, size, NULL, "damaged flac data after");
    free(bytes);
    bytes = read_bytes("clip.ogg", &size);
    bytes[size / 2] ^= 0x10;
    struct err e = {0};
    struct audio a;
    assert_int_equal(audio_decode(&a, bytes, size, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_DATA);
    free(bytes);
}

/* Players put tags behind the sound. */
static void test_audio__passes_over_tags_at_the_end(void **state)
{
    (void)state;
    static const char *const names[] = {"mono.flac", "mono.wav", "clip.mp3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err e = {0};
        struct audio plain, tagged;
        size_t size;
        unsigned char *bytes = read_bytes(names[i], &size);
        assert_int_equal(audio_decode(&plain, bytes, size, NULL, &e), 0);
        bytes = realloc(bytes, size + 128);
        assert_non_null(bytes);
        memset(bytes + size, 'x', 128);
        memcpy(bytes + size, "TAG", 3);
        int failed = audio_decode(&tagged, bytes, size + 128, NULL, &e);
        assert_ok(e);
        assert_int_equal(failed, 0);
        assert_int_equal(tagged.count, plain.count);
        audio_release(&plain);
        audio_release(&tagged);
        free(bytes);
    }
}

static void test_audio__finds_samples_that_are_no_numbers(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_bytes("float.wav", &size);
    uint32_t nan = 0x7fc00000, inf = 0xff800000;
    memcpy(bytes + size - 8000, &nan, 4);
    check_bad(bytes, size, NULL, "s is not a finite number");
    memcpy(bytes + size - 8000, &inf, 4);
    check_bad(bytes, size, NULL, "s is not a finite number");
    free(bytes);
}

static void test_audio__keeps_to_the_limit_of_length(void **state)
{
    (void)state;
    struct err e = {0};
    struct audio a;
    size_t size;
    unsigned char *bytes = read_bytes("mono.flac", &size);
    struct audio_options exact = {.seconds_max = 0.2}, shorter = {.seconds_max = 0.19};
    assert_int_equal(audio_decode(&a, bytes, size, &exact, &e), 0);
    assert_int_equal(a.count, 3200);
    audio_release(&a);
    check_bad(bytes, size, &shorter, "0.2 s long, at most 0.2 s");
    free(bytes);
    bytes = read_bytes("clip.mp3", &size);
    check_bad(bytes, size, &shorter, "s");
    free(bytes);
}

static void test_audio__other_rates(void **state)
{
    (void)state;
    struct err e = {0};
    struct audio a;
    size_t size;
    unsigned char *bytes = read_bytes("mono.wav", &size);
    assert_int_equal(audio_decode(&a, bytes, size, &(struct audio_options){.rate = 22050}, &e), 0);
    assert_int_equal(a.count, 4410);
    audio_release(&a);
    free(bytes);
}

/* FFmpeg's own messages must not reach the user's terminal. */
static void test_audio__is_quiet(void **state)
{
    (void)state;
    char *dir = testing_folder(), *path = path_join(dir, "stderr");
    int saved = dup(2), file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(saved >= 0 && file >= 0 && dup2(file, 2) == 2);
    size_t size;
    unsigned char *bytes = read_bytes("clip.mp3", &size);
    for (size_t i = 400; i < size; i += 3)
        bytes[i] ^= 0x55;
    struct err e = {0};
    struct audio a;
    if (!audio_decode(&a, bytes, size, NULL, &e))
        audio_release(&a);
    free(bytes);
    dup2(saved, 2);
    close(saved);
    close(file);
    uint64_t written;
    e = (struct err){0};
    assert_int_equal(file_size(path, &written, &e), 0);
    assert_int_equal(written, 0);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(path);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audio__equals_the_references),
        cmocka_unit_test(test_audio__names_what_is_not_audio),
        cmocka_unit_test(test_audio__names_a_missing_file),
        cmocka_unit_test(test_audio__reads_the_sound_of_videos),
        cmocka_unit_test(test_audio__finds_truncation),
        cmocka_unit_test(test_audio__finds_damage),
        cmocka_unit_test(test_audio__passes_over_tags_at_the_end),
        cmocka_unit_test(test_audio__finds_samples_that_are_no_numbers),
        cmocka_unit_test(test_audio__keeps_to_the_limit_of_length),
        cmocka_unit_test(test_audio__other_rates),
        cmocka_unit_test(test_audio__is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
