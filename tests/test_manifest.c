/* test_manifest.c - where records begin, in files of every kind. */
#include "testing.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/manifest.h"

static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

static char *write_bytes(const char *name, const void *bytes, size_t size)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, bytes, size, &e), 0);
    return path;
}

static char *write_text(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

static void check_line(const struct manifest *m, int64_t i, const char *text, int line)
{
    struct err e = {0};
    size_t size;
    char *found = manifest_read(m, i, &size, &e);
    assert_ok(e);
    assert_string_equal(found, text);
    assert_int_equal(size, strlen(text));
    char *where = manifest_where(m, i), number[20];
    snprintf(number, sizeof number, ":%d", line);
    assert_string_equal(strrchr(where, ':'), number);
    free(where);
    free(found);
}

static void test_manifest__finds_lines(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    char *paths[] = {
        write_text("a.jsonl", "\xef\xbb\xbf{\"a\": 1}\n\n  \t\r\n{\"b\": 2}\r\n{\"c\": 3}"),
        write_text("b.jsonl", "{\"d\": 4}\n\n\n"),
    };
    assert_int_equal(manifest_open(&m, paths, 2, &e), 0);
    assert_ok(e);
    assert_int_equal(m.count, 4);
    check_line(&m, 0, "{\"a\": 1}", 1);
    check_line(&m, 1, "{\"b\": 2}", 4);
    check_line(&m, 2, "{\"c\": 3}", 5);
    check_line(&m, 3, "{\"d\": 4}", 1);
    assert_string_equal(manifest_dir(&m, 3), folder);
    assert_int_equal(strlen(m.hash), 64);
    manifest_release(&m);
    manifest_release(&m);
    free(paths[0]);
    free(paths[1]);
}

static void test_manifest__hash_tells_changes(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    char hash[3][HASH_HEX_SIZE];
    static const char *const texts[] = {"{\"a\": 1}\n", "{\"a\": 2}\n", "{\"a\": 1}\n"};
    for (int i = 0; i < 3; i++) {
        char *path = write_text("h.jsonl", texts[i]);
        assert_int_equal(manifest_open(&m, &path, 1, &e), 0);
        memcpy(hash[i], m.hash, HASH_HEX_SIZE);
        manifest_release(&m);
        free(path);
    }
    assert_string_not_equal(hash[0], hash[1]);
    assert_string_equal(hash[0], hash[2]);
}

static void check_refused(const char *name, const void *bytes, size_t size, const char *part)
{
    struct err e = {0};
    struct manifest m;
    char *path = write_bytes(name, bytes, size);
    assert_int_equal(manifest_open(&m, &path, 1, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_non_null(strstr(e.text, name));
    assert_null(m.files);
    free(path);
}

static void test_manifest__refuses_other_files(void **state)
{
    (void)state;
    check_refused("empty.jsonl", "", 0, "holds no record");
    check_refused("blank.jsonl", "\n \n", 3, "holds no record");
    check_refused("utf16.jsonl", "\xff\xfe{\0", 4, "is UTF-16");
    check_refused("a.jsonl.gz", "\x1f\x8b\x08\0", 4, "is compressed");
    check_refused("a.parquet", "PAR1....", 8, "is not text");
    struct err e = {0};
    struct manifest m;
    char *missing = path_join(folder, "missing.jsonl");
    assert_int_equal(manifest_open(&m, &missing, 1, &e), -1);
    assert_err(e, ERR_DATA, "missing.jsonl: No such file");
    free(missing);
    e = (struct err){0};
    char *path = write_text("twice.jsonl", "{}\n"), *both[] = {path, path};
    assert_int_equal(manifest_open(&m, both, 2, &e), -1);
    assert_err(e, ERR_DATA, "twice.jsonl: given twice");
    free(path);
}

static void test_manifest__limits_a_line(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    size_t size = MANIFEST_LINE_MAX + 3;
    char *text = xmalloc(size);
    memset(text, 'x', size);
    text[MANIFEST_LINE_MAX + 1] = '\n';
    char *path = write_bytes("long.jsonl", text, size);
    assert_int_equal(manifest_open(&m, &path, 1, &e), 0);
    assert_int_equal(m.count, 2);
    assert_null(manifest_read(&m, 0, &size, &e));
    assert_err(e, ERR_DATA, "longer than the 16777216 bytes");
    check_line(&m, 1, "x", 2);
    manifest_release(&m);
    free(text);
    free(path);
}

static void test_manifest__is_fast(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    enum { COUNT = 300000 };
    static const char line[] =
        "{\"audio\": \"clips/0001.flac\", \"text\": \"good morning to all\"}\n";
    char *text = xmalloc(COUNT * (sizeof line - 1));
    for (int i = 0; i < COUNT; i++)
        memcpy(text + (size_t)i * (sizeof line - 1), line, sizeof line - 1);
    char *path = write_bytes("many.jsonl", text, COUNT * (sizeof line - 1));
    double begin = clock_seconds();
    assert_int_equal(manifest_open(&m, &path, 1, &e), 0);
    assert_int_equal(m.count, COUNT);
    assert_true(clock_seconds() - begin < 5);
    manifest_release(&m);
    free(text);
    free(path);
}

static void test_manifest__measures_records(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    char *clip = write_bytes("clip.wav", "x", 1);
    free(clip);
    char *big = xcalloc(1, 128000);
    clip = write_bytes("big.wav", big, 128000);
    char *path = write_text("l.jsonl", "{\"text\": \"short\"}\n"
                                       "{\"audio\": \"clip.wav\", \"text\": \"a\"}\n"
                                       "{\"audio\": \"big.wav\", \"text\": \"a\"}\n"
                                       "{\"audio\": \"x.wav\", \"text\": \"a\", \"duration\": 8}\n"
                                       "broken\n");
    assert_int_equal(manifest_open(&m, &path, 1, &e), 0);
    uint32_t *lengths = manifest_lengths(&m);
    assert_true(lengths[0] < 10);
    assert_true(lengths[1] < 20);
    assert_true(lengths[2] >= 100 && lengths[2] < 120);
    assert_true(lengths[3] >= 200 && lengths[3] < 230);
    assert_true(lengths[4] < 10);
    free(lengths);
    manifest_release(&m);
    free(big);
    free(clip);
    free(path);
}

/* Writes one record, and asks for sound among `count` records of the file. */
static bool has_sound(const char *text, int64_t count)
{
    struct err e = {0};
    struct manifest m;
    char *path = write_text("s.jsonl", text);
    assert_int_equal(manifest_open(&m, &path, 1, &e), 0);
    bool found = manifest_has_sound(&m, count);
    manifest_release(&m);
    free(path);
    return found;
}

static void test_manifest__finds_sound(void **state)
{
    (void)state;
    assert_false(has_sound("{\"text\": \"audio\"}\n{\"prompt\": \"a\", \"completion\": "
                           "\"\\\"audio\\\"\"}\n",
                           0));
    assert_true(has_sound("{\"text\": \"a\"}\n{\"audio\": \"a.wav\", \"text\": \"a\"}\n", 0));
    assert_false(has_sound("{\"text\": \"a\"}\n{\"audio\": \"a.wav\", \"text\": \"a\"}\n", 1));
    assert_true(has_sound("{\"\\u0061udio\": \"a.wav\", \"text\": \"a\"}\n", 0));
    assert_true(has_sound("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
                          "\"input_audio\", \"input_audio\": {\"data\": \"UklGRg==\", "
                          "\"format\": \"wav\"}}]}]}\n",
                          0));
    assert_false(has_sound("{\"audio\": broken\n", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest__finds_lines),
        cmocka_unit_test(test_manifest__hash_tells_changes),
        cmocka_unit_test(test_manifest__refuses_other_files),
        cmocka_unit_test(test_manifest__limits_a_line),
        cmocka_unit_test(test_manifest__is_fast),
        cmocka_unit_test(test_manifest__measures_records),
        cmocka_unit_test(test_manifest__finds_sound),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
