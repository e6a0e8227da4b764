/* test_tar.c - members of archives in every dialect, and everything that can be wrong with one. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "data/tar.h"
#include "tar_testing.h"

static char *folder, *path;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    path = path_join(folder, "t.tar");
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(dir_remove(folder, &e), 0);
    free(path);
    free(folder);
    return 0;
}

/* Go through an archive to its end: how many members there are, -1 on error. */
static int count_members(const char *bytes, size_t size, struct err *e)
{
    struct tar t;
    struct tar_entry entry;
    int got, count = 0;
    memset(e, 0, sizeof *e);
    assert_int_equal(file_write(path, bytes, size, e), 0);
    assert_int_equal(tar_open(&t, path, e), 0);
    while ((got = tar_next(&t, &entry, e)) == 1) {
        assert_true(entry.offset + entry.size <= (int64_t)size);
        count++;
    }
    tar_close(&t);
    assert_int_equal(got < 0, e->kind != 0);
    return got < 0 ? -1 : count;
}

static void check_bad(const struct buf *b, const char *part)
{
    struct err e;
    assert_int_equal(count_members(b->data, b->size, &e), -1);
    assert_err(e, ERR_DATA, part);
}

/* The one entry of an archive. */
static void check_entry(struct buf *b, const char *name, enum tar_type type, int64_t offset,
                        int64_t size)
{
    struct err e = {0};
    struct tar t;
    struct tar_entry entry;
    tar_end(b);
    assert_int_equal(file_write(path, b->data, b->size, &e), 0);
    assert_int_equal(tar_open(&t, path, &e), 0);
    assert_int_equal(tar_next(&t, &entry, &e), 1);
    assert_string_equal(entry.name, name);
    assert_int_equal(entry.type, type);
    assert_int_equal(entry.header, 0);
    assert_int_equal(entry.offset, offset);
    assert_int_equal(entry.size, size);
    if (type == TAR_FILE || type == TAR_FOLDER)
        assert_int_equal(tar_next(&t, &entry, &e), 0);
    assert_ok(e);
    tar_close(&t);
    buf_clear(b);
}

static struct buf new_buf(void)
{
    struct buf b;
    buf_init(&b, 1 << 24);
    return b;
}

/* ------------------------------------------------------------------ dialects -- */

static void test_tar__reads_forms_of_numbers_and_names(void **state)
{
    (void)state;
    struct buf b = new_buf();
    tar_add(&b, "a", "hello");
    memcpy(b.data + 124, "         5 \0", 12);
    tar_sum(b.data);
    check_entry(&b, "a", TAR_FILE, 512, 5);

    tar_add(&b, "a", "hello");
    memcpy(b.data + 124, "\x80\0\0\0\0\0\0\0\0\0\0\5", 12);
    tar_sum(b.data);
    check_entry(&b, "a", TAR_FILE, 512, 5);

    /* A checksum of signed bytes. */
    tar_add(&b, "\xc3\xa9", "hello");
    int sum = 0;
    memset(b.data + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (signed char)b.data[i];
    snprintf(b.data + 148, 8, "%06o", (unsigned)sum);
    check_entry(&b, "\xc3\xa9", TAR_FILE, 512, 5);

    /* Before POSIX: neither magic nor type. */
    tar_add(&b, "a/b.txt", "hello");
    memset(b.data + 257, 0, 8);
    b.data[156] = 0;
    tar_sum(b.data);
    check_entry(&b, "a/b.txt", TAR_FILE, 512, 5);
    tar_header(&b, "a/", 0, 0);
    check_entry(&b, "a/", TAR_FOLDER, 512, 0);

    /* All 100 bytes of the name, and all 155 of the prefix. */
    char name[101];
    memset(name, 'n', 100);
    name[100] = 0;
    tar_add(&b, name, "hello");
    check_entry(&b, name, TAR_FILE, 512, 5);
    tar_add(&b, name, "hello");
    memset(b.data + 345, 'p', 155);
    tar_sum(b.data);
    char whole[257];
    memset(whole, 'p', 155);
    snprintf(whole + 155, sizeof whole - 155, "/%s", name);
    check_entry(&b, whole, TAR_FILE, 512, 5);
    buf_release(&b);
}

static void test_tar__tells_types_apart(void **state)
{
    (void)state;
    static const struct {
        char type;
        enum tar_type expected;
    } types[] = {{'0', TAR_FILE},   {0, TAR_FILE},     {'7', TAR_FILE},   {'5', TAR_FOLDER},
                 {'1', TAR_LINK},   {'2', TAR_LINK},   {'3', TAR_DEVICE}, {'4', TAR_DEVICE},
                 {'6', TAR_DEVICE}, {'S', TAR_SPARSE}, {'D', TAR_OTHER},  {'M', TAR_OTHER}};
    struct buf b = new_buf();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tar_header(&b, "a", types[i].type, 0);
        check_entry(&b, "a", types[i].expected, 512, 0);
    }
    tar_add_bytes(&b, "x", 'x', "22 GNU.sparse.major=1\n", 22);
    tar_header(&b, "a", '0', 0);
    check_entry(&b, "a", TAR_SPARSE, 1536, 0);
    buf_release(&b);
}

static void test_tar__reads_extended_headers(void **state)
{
    (void)state;
    struct buf b = new_buf();
    const char pax[] = "11 path=b\n\n9 size=3\n17 comment=a=b c\n";
    tar_add_bytes(&b, "x", 'x', pax, strlen(pax));
    tar_add(&b, "a", "abc");
    memcpy(b.data + 1024 + 124, "00000000000", 11);
    tar_sum(b.data + 1024);
    check_entry(&b, "b\n", TAR_FILE, 1536, 3);

    tar_add_bytes(&b, "g", 'g', "15 comment=abc\n", 15);
    tar_add_bytes(&b, "L", 'L', "long name", 10);
    tar_add_bytes(&b, "K", 'K', "long link", 10);
    tar_add(&b, "a", "abc");
    check_entry(&b, "long name", TAR_FILE, 3 * 1024 + 512, 3);
    buf_release(&b);
}

static void test_tar__refuses_bad_extended_headers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"6 path\n", "byte 0: damaged: a pax header"},
        {"10 path=b\n\n", "byte 0: damaged: a pax header"},
        {"99 path=b\n", "byte 0: damaged: a pax header"},
        {"99999999999999999999999 path=b\n", "byte 0: damaged: a pax header"},
        {"path=b\n", "byte 0: damaged: a pax header"},
        {"10 size=-1\n", "byte 0: damaged: a pax header"},
        {"11 size=-1\n", "byte 0: damaged: a size that is no number"},
        {"9 size=\n", "byte 0: damaged: a"},
        {"28 size=9223372036854775808\n", "byte 0: damaged: a size that is no number"},
        {"8 path=\n", "byte 0: a member without a name"},
    };
    struct buf b = new_buf();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tar_add_bytes(&b, "x", 'x', bad[i].text, strlen(bad[i].text));
        tar_add(&b, "a", "abc");
        tar_end(&b);
        check_bad(&b, bad[i].part);
        buf_clear(&b);
    }
    tar_add_bytes(&b, "x", 'x', "12 path=a\0b\n", 12);
    tar_end(&b);
    check_bad(&b, "byte 0: a zero byte in a name");
    buf_clear(&b);
    tar_add_bytes(&b, "g", 'g', "10 path=b\n", 10);
    tar_end(&b);
    check_bad(&b, "byte 0: a global header with a name or a size");
    buf_clear(&b);
    tar_add_bytes(&b, "x", 'x', "10 path=b\n", 10);
    tar_end(&b);
    check_bad(&b, "byte 1024: an extended header that no member follows");
    buf_clear(&b);
    char *text = calloc(1, TAR_EXTENDED_MAX + 1);
    memset(text, 'n', TAR_EXTENDED_MAX);
    tar_add_bytes(&b, "L", 'L', text, TAR_EXTENDED_MAX + 1);
    tar_end(&b);
    check_bad(&b, "byte 0: a header of 1048577 bytes, at most 1048576");
    buf_clear(&b);
    tar_add_bytes(&b, "L", 'L', text, TAR_NAME_MAX + 1);
    tar_end(&b);
    check_bad(&b, "byte 0: a name of 4097 bytes, at most 4096");
    free(text);
    buf_release(&b);
}

/* -------------------------------------------------------------------- damage -- */

static void test_tar__a_cut_archive_is_an_error_wherever_it_is_cut(void **state)
{
    (void)state;
    struct buf b = new_buf();
    struct err e;
    tar_add(&b, "a", "hello");
    tar_add_bytes(&b, "x", 'x', "10 path=c\n", 10);
    tar_add(&b, "b", "world");
    size_t members = b.size;
    tar_end(&b);
    assert_int_equal(count_members(b.data, b.size, &e), 2);
    for (size_t size = 0; size < b.size; size++) {
        char at[80];
        assert_int_equal(count_members(b.data, size, &e), -1);
        snprintf(at, sizeof at, "byte %zu: the file ends here", size);
        assert_err(e, ERR_DATA, size < 512 ? "byte 0: not a tar archive" : at);
        assert_non_null(strstr(e.hint, "copy it again"));
    }
    assert_int_equal(count_members(b.data, members, &e), -1);
    assert_err(e, ERR_DATA, "before the archive's end mark");
    assert_int_equal(count_members(b.data, 514, &e), -1);
    assert_err(e, ERR_DATA, "byte 514: the file ends here, within a (5 bytes from byte 512)");
    buf_release(&b);
}

static void test_tar__only_zeros_follow_the_end(void **state)
{
    (void)state;
    struct buf b = new_buf();
    struct err e;
    tar_add(&b, "a", "hello");
    tar_end(&b);
    size_t end = b.size;
    memset(buf_extend(&b, 9000), 0, 9000);
    assert_int_equal(count_members(b.data, b.size, &e), 1);
    b.data[end + 8999] = 1;
    check_bad(&b, "byte 10752: bytes that are not zero behind the archive's end mark");
    b.data[end + 8999] = 0;
    /* One block of zeros is no end mark. */
    b.data[end - 1] = 1;
    check_bad(&b, "byte 1536: bytes that are not zero");
    buf_release(&b);
}

static void test_tar__damaged_headers_are_errors(void **state)
{
    (void)state;
    struct buf b = new_buf();
    tar_add(&b, "a", "hello");
    tar_add(&b, "b", "world");
    tar_end(&b);
    b.data[1024] ^= 1;
    check_bad(&b, "byte 1024: damaged: a header with a wrong checksum");
    b.data[1024] ^= 1;
    b.data[0] ^= 1;
    check_bad(&b, "byte 0: not a tar archive");
    b.data[0] ^= 1;
    memcpy(b.data + 124, "0000000000x", 12);
    tar_sum(b.data);
    check_bad(&b, "byte 0: damaged: a size that is no number");
    memcpy(b.data + 124, "77777777777", 12);
    tar_sum(b.data);
    check_bad(&b, "byte 3072: the file ends here, within a (8589934591 bytes from byte 512)");
    memset(b.data + 124, 0xff, 12);
    tar_sum(b.data);
    check_bad(&b, "byte 0: damaged: a size that is no number");
    memset(b.data, 0, 100);
    tar_sum(b.data);
    check_bad(&b, "byte 0: a");
    buf_release(&b);
}

static void test_tar__reads_only_inside_the_file(void **state)
{
    (void)state;
    struct buf b = new_buf();
    struct err e = {0};
    struct tar t;
    char out[16];
    tar_add(&b, "a", "hello");
    tar_end(&b);
    assert_int_equal(file_write(path, b.data, b.size, &e), 0);
    assert_int_equal(tar_open(&t, path, &e), 0);
    assert_int_equal(tar_read(&t, 512, out, 5, &e), 0);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(tar_read(&t, (int64_t)b.size, out, 0, &e), 0);
    assert_int_equal(tar_read(&t, (int64_t)b.size - 4, out, 5, &e), -1);
    assert_err(e, ERR_DATA, "byte 2044: the file ends at byte 2048");
    e = (struct err){0};
    assert_int_equal(tar_read(&t, -1, out, 5, &e), -1);
    tar_close(&t);
    e = (struct err){0};
    assert_int_equal(tar_open(&t, "/nothing/here.tar", &e), -1);
    assert_err(e, ERR_DATA, "/nothing/here.tar: No such file");
    tar_close(&t);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tar__reads_forms_of_numbers_and_names),
        cmocka_unit_test(test_tar__tells_types_apart),
        cmocka_unit_test(test_tar__reads_extended_headers),
        cmocka_unit_test(test_tar__refuses_bad_extended_headers),
        cmocka_unit_test(test_tar__a_cut_archive_is_an_error_wherever_it_is_cut),
        cmocka_unit_test(test_tar__only_zeros_follow_the_end),
        cmocka_unit_test(test_tar__damaged_headers_are_errors),
        cmocka_unit_test(test_tar__reads_only_inside_the_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
