/* test_drift.c - which files of the data are not what they were. */
#include "train/drift.h"

#include "testing.h"

#include "base/dir.h"
#include "base/file.h"

static char *folder, *path;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    path = path_join(folder, "data.jsonl");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    free(path);
    return 0;
}

static struct manifest_file shard(const char *uri, int64_t size, const char *version, uint32_t crc)
{
    struct manifest_file f = {.kind = MANIFEST_TAR};
    f.object = (struct object){.uri = (char *)(uintptr_t)uri, .size = size, .has_crc32c = crc != 0};
    f.object.crc32c = crc;
    snprintf(f.object.version, sizeof f.object.version, "%s", version);
    return f;
}

static void write_list(struct manifest_file *files, int64_t count)
{
    struct err e = {0};
    struct manifest m = {.files = files, .file_count = count};
    assert_int_equal(drift_write(path, &m, &e), 0);
}

static void expect(struct manifest_file *files, int64_t count, const char *want)
{
    struct manifest m = {.files = files, .file_count = count};
    struct buf out;
    buf_init(&out, 10000);
    drift_describe(path, &m, &out);
    assert_string_equal(out.data, want);
    buf_release(&out);
}

static void test_drift__writes_one_line_a_file(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest_file files[] = {shard("gs://b/\"x\".tar", 10, "17", 0xabc),
                                    shard("a.jsonl", 5, "", 0)};
    write_list(files, 2);
    char *text = file_read(path, 1000, NULL, &e);
    assert_ok(e);
    assert_string_equal(text, "{\"uri\":\"gs://b/\\\"x\\\".tar\",\"size\":10,\"version\":\"17\","
                              "\"crc32c\":\"00000abc\"}\n"
                              "{\"uri\":\"a.jsonl\",\"size\":5}\n");
    free(text);
}

static void test_drift__names_what_differs(void **state)
{
    (void)state;
    struct manifest_file was[] = {shard("b.tar", 10, "1", 7), shard("a.tar", 10, "1", 7),
                                  shard("c.tar", 10, "1", 7), shard("d.tar", 10, "1", 7)};
    write_list(was, 4);
    expect(was, 4, "");
    struct manifest_file order[] = {was[3], was[1], was[0], was[2]};
    expect(order, 4, "");
    expect(was, 3, "d.tar is gone");
    struct manifest_file more[] = {was[0], was[1], was[2], was[3], shard("bb.tar", 1, "", 0)};
    expect(more, 5, "bb.tar is new");
    struct manifest_file version[] = {was[0], was[1], shard("c.tar", 10, "2", 7), was[3]};
    expect(version, 4, "c.tar is another version (2, was 1)");
    struct manifest_file size[] = {was[0], was[1], shard("c.tar", 11, "1", 7), was[3]};
    expect(size, 4, "c.tar is another version (11 bytes, was 10)");
    struct manifest_file crc[] = {was[0], was[1], shard("c.tar", 10, "1", 8), was[3]};
    expect(crc, 4, "c.tar has other bytes (CRC-32C 00000008, was 00000007)");
}

static void test_drift__names_the_first_few(void **state)
{
    (void)state;
    struct manifest_file was[] = {shard("a", 1, "", 0), shard("b", 1, "", 0), shard("c", 1, "", 0),
                                  shard("d", 1, "", 0), shard("e", 1, "", 0)};
    write_list(was, 5);
    expect(was, 0, "a is gone, b is gone, c is gone, and 2 more");
}

static void test_drift__a_damaged_list_is_no_error(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest_file one[] = {shard("a", 1, "", 0)};
    expect(one, 1, "");                                /* there is none */
    const char *text = "{\"uri\":\"a\",\"size\":1}\n{\"uri\":\n[]\n{\"uri\":\"b\",\"si";
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    expect(one, 1, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_drift__writes_one_line_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drift__names_what_differs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drift__names_the_first_few, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drift__a_damaged_list_is_no_error, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
