/* test_video.c - chosen frames, their times and pixels against transformers and FFmpeg's own
 * program (tests/fixtures/video.py), and every kind of file that is not what it should be. */
#include "testing.h"

#include <pthread.h>

#include "base/file.h"
#include "base/json.h"
#include "media/video.h"

#define DATA "tests/data/video/"
enum { FRAMES = 32, LEVELS = 2 };

static unsigned char *read_bytes(const char *name, size_t *size)
{
    struct err e = {0};
    char path[200];
    snprintf(path, sizeof path, "%s%s", strchr(name, '/') ? "tests/data/" : DATA, name);
    unsigned char *x = (unsigned char *)file_read(path, 1 << 24, size, &e);
    assert_ok(e);
    return x;
}

static json_t *cases(const char *key)
{
    struct err e = {0};
    json_t *file = json_read_file(DATA "cases.json", 1 << 20, &e);
    assert_ok(e);
    json_t *list = json_incref(json_need_array(file, key, &e));
    assert_ok(e);
    json_decref(file);
    return list;
}

static int number_at(const json_t *list, size_t i)
{
    return (int)json_integer_value(json_array_get(list, i));
}

/* The largest difference of a frame's pixels from the expected ones. */
static int worst_level(const struct image *im, const json_t *at, const json_t *pixels)
{
    int worst = 0;
    for (size_t i = 0; i < json_array_size(at); i++) {
        const json_t *place = json_array_get(at, i), *pixel = json_array_get(pixels, i);
        int x = number_at(place, 0), y = number_at(place, 1);
        for (size_t c = 0; c < 3; c++) {
            size_t byte = ((size_t)y * (size_t)im->width + (size_t)x) * 3 + c;
            int off = abs(im->pixels[byte] - number_at(pixel, c));
            worst = off > worst ? off : worst;
        }
    }
    return worst;
}

static void check_case(const json_t *c)
{
    struct err e = {0};
    const char *name = json_need_str(c, "file", &e);
    size_t size;
    unsigned char *bytes = read_bytes(name, &size);
    struct video v;
    int failed = video_read(&v, bytes, size, FRAMES, &e);
    if (failed)
        print_error("%s:\n", name);
    assert_ok(e);
    assert_int_equal(failed, 0);
    free(bytes);
    const json_t *numbers = json_need_array(c, "numbers", &e);
    const json_t *times = json_need_array(c, "times", &e), *at = json_need_array(c, "at", &e);
    const json_t *pixels = json_need_array(c, "pixels", &e);
    assert_string_equal(v.codec, json_need_str(c, "codec", &e));
    assert_int_equal(v.source_frames, json_need_int(c, "source_frames", &e));
    assert_near(v.fps, json_need_double(c, "fps", &e), 1e-6);
    assert_int_equal(v.count, json_array_size(numbers));
    for (int i = 0; i < v.count; i++) {
        size_t k = (size_t)i;
        int64_t number = video_frame_number(v.source_frames, v.count, i);
        assert_int_equal(number, number_at(numbers, k));
        assert_near(v.times[i], json_number_value(json_array_get(times, k)), 1e-6);
        assert_int_equal(v.frames[i].width, json_need_int(c, "width", &e));
        assert_int_equal(v.frames[i].height, json_need_int(c, "height", &e));
        int worst = worst_level(&v.frames[i], at, json_array_get(pixels, k));
        if (worst > LEVELS)
            print_error("%s: frame %d is off by %d levels\n", name, (int)number, worst);
        assert_true(worst <= LEVELS);
    }
    assert_ok(e);
    video_release(&v);
}

static void test_video__equals_the_reference(void **state)
{
    (void)state;
    json_t *list = cases("videos"), *c;
    assert_true(json_array_size(list) >= 18);
    size_t i;
    json_array_foreach(list, i, c) check_case(c);
    json_decref(list);
}

static void test_video__chooses_frames_as_the_reference(void **state)
{
    (void)state;
    json_t *list = cases("numbers"), *c;
    size_t i;
    json_array_foreach(list, i, c)
    {
        int64_t count = json_integer_value(json_array_get(c, 0));
        int wanted = number_at(c, 1);
        const json_t *numbers = json_array_get(c, 2);
        assert_int_equal(json_array_size(numbers), wanted);
        for (int k = 0; k < wanted; k++)
            assert_int_equal(video_frame_number(count, wanted, k), number_at(numbers, (size_t)k));
    }
    assert_true(i >= 15);
    json_decref(list);
}

struct seen {
    int count, end;
    double last;
    uint8_t *kept;
};

static int look(void *arg, struct image *im, double time, struct err *e)
{
    struct seen *s = arg;
    assert_true(s->count == 0 || time > s->last);
    s->last = time;
    if (s->count == 0) {
        s->kept = im->pixels;
        im->pixels = NULL;
    }
    if (++s->count == s->end)
        return err_set(e, ERR_FAILED, "enough");
    return 0;
}

/* One at a time; a frame can be taken; an error of the caller's own ends it. */
static void test_video__hands_out_frames(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    unsigned char *bytes = read_bytes("h264.mp4", &size);
    struct seen all = {0}, few = {.end = 3};
    struct video facts;
    assert_int_equal(video_decode(bytes, size, 10, look, &all, &facts, &e), 0);
    assert_ok(e);
    assert_int_equal(all.count, 10);
    assert_int_equal(facts.count, 10);
    assert_int_equal(facts.source_frames, 75);
    assert_near(facts.seconds, 3, 1e-6);
    assert_null(facts.frames);
    free(all.kept);
    assert_int_equal(video_decode(bytes, size, 10, look, &few, NULL, &e), -1);
    assert_err(e, ERR_FAILED, "enough");
    assert_int_equal(few.count, 3);
    free(few.kept);
    free(bytes);
}

/* Whatever the number of frames asked for, the same frame has the same pixels: jumping from key
 * frame to key frame and decoding all agree. */
static void test_video__jumps_exactly(void **state)
{
    (void)state;
    static const char *const names[] = {"h264.mp4", "open.mkv", "refresh.mp4", "hevc.mp4",
                                        "vp8.webm", "vp9.webm", "av1.mp4",     "edited.mp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err e = {0};
        size_t size;
        unsigned char *bytes = read_bytes(names[i], &size);
        struct video all, few;
        assert_int_equal(video_read(&all, bytes, size, VIDEO_FRAMES_MAX, &e), 0);
        assert_int_equal(all.count, all.source_frames);
        for (int n = 1; n < 6; n++) {
            assert_int_equal(video_read(&few, bytes, size, n, &e), 0);
            for (int k = 0; k < n; k++) {
                const struct image *a = &few.frames[k];
                const struct image *b = &all.frames[video_frame_number(all.count, n, k)];
                assert_memory_equal(a->pixels, b->pixels, 3 * (size_t)a->width * (size_t)a->height);
            }
            video_release(&few);
        }
        video_release(&all);
        free(bytes);
    }
}

struct job {
    const unsigned char *bytes;
    size_t size;
    struct video video;
    struct err err;
    int failed;
};

static void *decode(void *arg)
{
    struct job *j = arg;
    j->failed = video_read(&j->video, j->bytes, j->size, 8, &j->err);
    return NULL;
}

/* Calls on several threads do not disturb each other. */
static void test_video__runs_on_threads(void **state)
{
    (void)state;
    static const char *const names[] = {"h264.mp4", "vp9.webm", "av1.mp4", "h264.mp4"};
    enum { THREADS = sizeof names / sizeof *names };
    pthread_t threads[THREADS];
    struct job alone = {0}, jobs[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        jobs[i].bytes = read_bytes(names[i], &jobs[i].size);
        assert_int_equal(pthread_create(&threads[i], NULL, decode, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(jobs[i].failed, 0);
        alone = (struct job){.bytes = jobs[i].bytes, .size = jobs[i].size};
        decode(&alone);
        for (int k = 0; k < 8; k++) {
            const struct image *a = &alone.video.frames[k], *b = &jobs[i].video.frames[k];
            assert_memory_equal(a->pixels, b->pixels, 3 * (size_t)a->width * (size_t)a->height);
        }
        video_release(&alone.video);
        video_release(&jobs[i].video);
        free((void *)(uintptr_t)jobs[i].bytes);
    }
}

static void check_bad(const void *bytes, size_t size, const char *part)
{
    struct err e = {0};
    struct video v;
    assert_int_equal(video_read(&v, bytes, size, FRAMES, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_null(v.frames);
    assert_int_equal(v.count, 0);
}

static void check_bad_file(const char *name, const char *part)
{
    size_t size;
    unsigned char *bytes = read_bytes(name, &size);
    check_bad(bytes, size, part);
    free(bytes);
}

static void test_video__names_what_is_not_a_video(void **state)
{
    (void)state;
    const char *html = "<!DOCTYPE html>\n<html><body>404 not found</body></html>\n";
    check_bad("", 0, "an empty file");
    check_bad(html, strlen(html), "not a video file: 56 bytes that begin with \"<!DOCTYPE html>");
    const char *list = "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n";
    check_bad(list, strlen(list), "not a video file");
    check_bad_file("audio/clip.m4a", "no video stream; it has audio (aac)");
    check_bad_file("audio/clip.webm", "no video stream; it has audio (opus)");
    check_bad_file("audio/mono.wav", "not a video file");
    check_bad_file("cover.m4a", "no video stream; it has audio (aac), a cover picture (mjpeg)");
}

static void test_video__refuses_impossible_requests(void **state)
{
    (void)state;
    struct err e = {0};
    struct video v;
    assert_int_equal(video_read(&v, "x", 1, 0, &e), -1);
    assert_err(e, ERR_USAGE, "0 frames of a video are asked for");
    e = (struct err){0};
    assert_int_equal(video_read(&v, "x", 1, VIDEO_FRAMES_MAX + 1, &e), -1);
    assert_err(e, ERR_USAGE, "allowed are 1 to 1024");
}

/* However a file is cut, it is no shorter video. */
static void test_video__finds_truncation(void **state)
{
    (void)state;
    static const char *const names[] = {"h264.mp4", "mpeg4.mp4",  "mjpeg.mov", "open.mkv",
                                        "vp8.webm", "pieces.mp4", "av1.mp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        unsigned char *bytes = read_bytes(names[i], &size);
        for (size_t left = 8; left < size; left += size / 61 + 1) {
            struct err e = {0};
            struct video v;
            int failed = video_read(&v, bytes, left, FRAMES, &e);
            if (!failed)
                print_error("%s cut to %zu of %zu bytes\n", names[i], left, size);
            assert_int_equal(failed, -1);
            assert_int_equal(e.kind, ERR_DATA);
        }
        check_bad(bytes, size - 100, "truncated");
        free(bytes);
    }
}

/* Find four bytes; the place behind them. */
static unsigned char *behind(unsigned char *bytes, size_t size, const char *four)
{
    for (size_t i = 0; i + 4 < size; i++)
        if (!memcmp(bytes + i, four, 4))
            return bytes + i + 4;
    fail();
    return NULL;
}

static void test_video__finds_damage(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_bytes("h264.mp4", &size);
    unsigned char *media = behind(bytes, size, "mdat");
    for (int i = 900; i < 2400; i++)
        media[i] = (unsigned char)(media[i] ^ (i * 37));
    check_bad(bytes, size, "damaged h264 data");
    free(bytes);
    bytes = read_bytes("mpeg4.mp4", &size);
    memset(behind(bytes, size, "mdat") + 200, 0xff, 600);
    check_bad(bytes, size, "damaged mpeg4 data");
    free(bytes);
}

/* What lies between two chosen frames and a key frame is not decoded. */
static void test_video__jumps_over_what_it_does_not_need(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    unsigned char *bytes = read_bytes("h264.mp4", &size);
    struct video whole, damaged;
    assert_int_equal(video_read(&whole, bytes, size, 2, &e), 0);
    /* Of frames 12 to 35; taken are 0 and 37, and frame 36 is a key. */
    for (size_t i = size * 25 / 100; i < size * 30 / 100; i++)
        bytes[i] ^= 0x5a;
    assert_int_equal(video_read(&damaged, bytes, size, 2, &e), 0);
    assert_ok(e);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(whole.frames[i].pixels, damaged.frames[i].pixels, 64 * 48 * 3);
    check_bad(bytes, size, "damaged h264 data after");
    video_release(&whole);
    video_release(&damaged);
    free(bytes);
}

/* A header that asks for more pixels than is sensible ends it before anything is decoded. */
static void test_video__refuses_huge_frames(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_bytes("mjpeg.mov", &size);
    unsigned char *entry = behind(bytes, size, "stsd");
    assert_memory_equal(entry + 12, "jpeg", 4);
    memcpy(entry + 40, (unsigned char[]){0x7f, 0xff, 0x7f, 0xff}, 4);
    check_bad(bytes, size, "frames of 32767x32767 pixels, allowed are 37748736 pixels");
    free(bytes);
}

/* A codec that is not on the list is named. */
static void test_video__names_a_codec_it_does_not_decode(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_bytes("mjpeg.mov", &size);
    unsigned char *entry = behind(bytes, size, "stsd");
    memcpy(entry + 12, "SVQ3", 4);
    check_bad(bytes, size, "video is coded as svq3, which is not supported");
    free(bytes);
}

/* Where the list of key frames is wrong, all is decoded instead. */
static void test_video__does_not_trust_marks_of_key_frames(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    unsigned char *bytes = read_bytes("mpeg4.mp4", &size);
    struct video right, v;
    assert_int_equal(video_read(&right, bytes, size, 5, &e), 0);
    /* "stss" flags count sample...: the second key frame is said to be one later. */
    unsigned char *table = behind(bytes, size, "stss");
    assert_true(table[7] >= 2);
    table[15]++;
    assert_int_equal(video_read(&v, bytes, size, 5, &e), 0);
    assert_ok(e);
    for (int i = 0; i < v.count; i++)
        assert_memory_equal(v.frames[i].pixels, right.frames[i].pixels, (size_t)48 * 32 * 3);
    video_release(&v);
    video_release(&right);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_video__equals_the_reference),
        cmocka_unit_test(test_video__chooses_frames_as_the_reference),
        cmocka_unit_test(test_video__hands_out_frames),
        cmocka_unit_test(test_video__jumps_exactly),
        cmocka_unit_test(test_video__runs_on_threads),
        cmocka_unit_test(test_video__names_what_is_not_a_video),
        cmocka_unit_test(test_video__refuses_impossible_requests),
        cmocka_unit_test(test_video__finds_truncation),
        cmocka_unit_test(test_video__finds_damage),
        cmocka_unit_test(test_video__jumps_over_what_it_does_not_need),
        cmocka_unit_test(test_video__refuses_huge_frames),
        cmocka_unit_test(test_video__names_a_codec_it_does_not_decode),
        cmocka_unit_test(test_video__does_not_trust_marks_of_key_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
