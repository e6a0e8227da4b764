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
        cmocka_unit_test(test_container__leaves_others_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
