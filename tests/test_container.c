/* test_container.c - whole files are whole at every length they may state, cut ones are cut. */
#include "testing.h"

#include "base/file.h"
#include "media/container.h"

#define DATA "tests/data/audio/"

static char *read_bytes(const char *name, size_t *size)
{
    struct err e = {0};
    char path[200];
    snprintf(path, sizeof path, DATA "%s", name);
    char *bytes = file_read(path, 1 << 24, size, &e);
    assert_ok(e);
    return bytes;
}

static void test_container__tells_cut_files(void **state)
{
    (void)state;
    static const char *const names[] = {"mono.wav", "chunk.wav", "clip.aiff", "clip.ogg",
                                        "clip.opus"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        char *bytes = read_bytes(names[i], &size);
        assert_false(container_is_cut(bytes, size));
        size_t whole = 0;
        for (size_t n = 28; n < size; n++)
            whole += !container_is_cut(bytes, n);
        /* An Ogg file may be cut between two pages; no chunk file may be cut anywhere, but for
         * what follows the samples. */
        assert_true(whole <= 12);
        free(bytes);
    }
}

static void test_container__knows_streams_of_unknown_length(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 0x7fffffff, 0xffffffff, 0xffffffd3};
    size_t size;
    char *bytes = read_bytes("mono.wav", &size);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memcpy(bytes + 40, &sizes[i], 4);
        assert_false(container_is_cut(bytes, size));
    }
    uint32_t more = (uint32_t)size;
    memcpy(bytes + 40, &more, 4);
    assert_true(container_is_cut(bytes, size));
    free(bytes);
}

/* How many ways of cutting the file look whole. */
static size_t whole_cuts(const char *bytes, size_t size)
{
    size_t whole = 0;
    for (size_t n = 12; n < size; n++)
        whole += !container_is_cut(bytes, n);
    return whole;
}

static void test_container__tells_cut_videos(void **state)
{
    (void)state;
    /* Cut between two boxes, or so near that no box has a name, a file looks whole. */
    static const struct {
        const char *name;
        size_t boxes;
    } files[] = {{"film.mp4", 4}, {"clip.m4a", 4}, {"../video/pieces.mp4", 20},
                 {"clip.webm", 1}, {"../video/vp8.webm", 1}, {"../video/open.mkv", 1}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        char *bytes = read_bytes(files[i].name, &size);
        assert_false(container_is_cut(bytes, size));
        size_t whole = whole_cuts(bytes, size);
        if (whole > 8 * files[i].boxes)
            print_error("%s: %zu cuts look whole\n", files[i].name, whole);
        assert_true(whole <= 8 * files[i].boxes);
        free(bytes);
    }
}

/* What is recorded live does not know its length; the parts in it do. */
static void test_container__looks_into_live_webm(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_bytes("../video/vp8.webm", &size);
    size_t at = 0;
    while (memcmp(bytes + at, "\x18\x53\x80\x67\x01", 5) != 0)
        assert_true(++at < 100);
    memset(bytes + at + 5, 0xff, 7);
    assert_false(container_is_cut(bytes, size));
    assert_true(container_is_cut(bytes, size - 1));
    assert_true(container_is_cut(bytes, size / 2));
    assert_true(whole_cuts(bytes, size) <= 80);
    free(bytes);
}

/* Boxes of 64-bit and of open length, and what somebody has appended. */
static void test_container__reads_sizes_of_boxes(void **state)
{
    (void)state;
    unsigned char file[64] = "\0\0\0\020ftypisom....\0\0\0\1mdat\0\0\0\0\0\0\0\040";
    assert_false(container_is_cut(file, 48));
    assert_true(container_is_cut(file, 47));
    assert_true(container_is_cut(file, 28));
    memcpy(file + 48, "TAG!TAG!TAG!", 12);
    assert_false(container_is_cut(file, 60));
    memcpy(file + 16, "\0\0\0\0mdat", 8);
    assert_false(container_is_cut(file, 30));
    memcpy(file + 16, "\0\0\0\3mdat", 8);
    assert_false(container_is_cut(file, 30));
}

static void test_container__leaves_others_alone(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_bytes("mono.flac", &size);
    assert_false(container_is_cut(bytes, size / 2));
    assert_false(container_is_cut(bytes, 3));
    assert_false(container_is_cut(bytes, 0));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_container__tells_cut_files),
        cmocka_unit_test(test_container__knows_streams_of_unknown_length),
        cmocka_unit_test(test_container__tells_cut_videos),
        cmocka_unit_test(test_container__looks_into_live_webm),
        cmocka_unit_test(test_container__reads_sizes_of_boxes),
        cmocka_unit_test(test_container__leaves_others_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
