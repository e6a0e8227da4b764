/* test_unpack.c - .gz and .zst files: whole, in several parts, cut, damaged, too large. */
#include "testing.h"

#include <zlib.h>
#include <zstd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/unpack.h"

static char *folder, *packed, *plain;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    packed = path_join(folder, "packed");
    plain = path_join(folder, "plain");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    free(packed);
    free(plain);
    return 0;
}

/* Bytes that pack, but not to nothing. */
static char *some_text(size_t size)
{
    char *text = xmalloc(size + 1);
    uint32_t x = 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525 + 1013904223;
        text[i] = (char)('a' + (x >> 28));
    }
    return text;
}

static size_t pack_gzip(const char *text, size_t size, char *out, size_t room)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)size;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static size_t pack(enum unpack_kind kind, const char *text, size_t size, char *out, size_t room)
{
    if (kind == UNPACK_GZIP)
        return pack_gzip(text, size, out, room);
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(z, out, room, text, size);
    assert_false(ZSTD_isError(n));
    ZSTD_freeCCtx(z);
    return n;
}

/* 0 when unpacking these bytes gives `text`, else the error's kind, which is also in *e. */
static int try_unpack(enum unpack_kind kind, const char *data, size_t size, const char *text,
                      size_t text_size, struct err *e)
{
    struct unpack_result r;
    struct unpack_job job = {.kind = kind, .name = "gs://b/x.gz", .from = packed, .to = plain};
    *e = (struct err){0};
    assert_int_equal(file_write(packed, data, size, e), 0);
    if (unpack_file(&job, &r, e))
        return (int)e->kind;
    size_t found_size;
    char *found = file_read(plain, 1 << 30, &found_size, e);
    assert_int_equal(found_size, text_size);
    assert_int_equal(r.size, text_size);
    assert_memory_equal(found, text, text_size);
    assert_int_equal(r.crc32c, crc32c(0, text, text_size));
    free(found);
    return 0;
}

static void check_kind(enum unpack_kind kind)
{
    enum { SIZE = 1 << 20, ROOM = 3 << 20 };
    struct err e;
    char *text = some_text(2 * SIZE), *data = xmalloc(ROOM);
    size_t n = pack(kind, text, SIZE, data, ROOM);
    assert_int_equal(try_unpack(kind, data, n, text, SIZE, &e), 0);
    assert_int_equal(unpack_kind_of_file(packed), kind);
    /* Two members; the second's size is such that a piece of output ends just with it. */
    size_t m = pack(kind, text + SIZE, SIZE, data + n, ROOM - n);
    assert_int_equal(try_unpack(kind, data, n + m, text, 2 * SIZE, &e), 0);
    /* Cut at any place, and between the members not. */
    static const size_t cuts[] = {1, 5, 100, 100000};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(try_unpack(kind, data, n + m - cuts[i], NULL, 0, &e), ERR_DATA);
        assert_err(e, ERR_DATA, "gs://b/x.gz: ends too early");
        assert_int_equal(try_unpack(kind, data, cuts[i], NULL, 0, &e), ERR_DATA);
        assert_err(e, ERR_DATA, "ends too early");
    }
    assert_int_equal(try_unpack(kind, data, 0, NULL, 0, &e), ERR_DATA);
    data[n / 2] ^= 8;
    assert_int_equal(try_unpack(kind, data, n, NULL, 0, &e), ERR_DATA);
    assert_non_null(strstr(e.text, "gs://b/x.gz: "));
    data[n / 2] ^= 8;
    memcpy(data + n, "hello", 5);
    assert_int_equal(try_unpack(kind, data, n + 5, NULL, 0, &e), ERR_DATA);
    assert_int_equal(try_unpack(kind, "no such format", 14, NULL, 0, &e), ERR_DATA);
    assert_err(e, ERR_DATA, "gs://b/x.gz: cannot be unpacked");
    n = pack(kind, text, 0, data, ROOM);
    assert_int_equal(try_unpack(kind, data, n, "", 0, &e), 0);
    free(text);
    free(data);
}

static void test_unpack__reads_gzip(void **state)
{
    (void)state;
    check_kind(UNPACK_GZIP);
    /* Zeros behind the last member are padding. */
    struct err e;
    char data[1000] = "";
    size_t n = pack_gzip("hello", 5, data, sizeof data);
    assert_int_equal(try_unpack(UNPACK_GZIP, data, n + 500, "hello", 5, &e), 0);
    memset(data + n, 0, 500);
    data[n + 400] = 1;
    assert_int_equal(try_unpack(UNPACK_GZIP, data, n + 500, "hello", 5, &e), ERR_DATA);
    assert_err(e, ERR_DATA, "other bytes behind its end");
}

static void test_unpack__reads_zstd(void **state)
{
    (void)state;
    check_kind(UNPACK_ZSTD);
}

/* The output of gzip(1) and zstd(1) for "hi\n". */
static void test_unpack__reads_what_others_wrote(void **state)
{
    (void)state;
    static const char gz[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xc8\xe4\x02\x00\x7a\x7a"
                             "\x6f\xed\x03\x00\x00\x00";
    static const char zst[] = "\x28\xb5\x2f\xfd\x04\x58\x19\x00\x00\x68\x69\x0a\x34\x3d\x50\x92";
    struct err e;
    assert_int_equal(try_unpack(UNPACK_GZIP, gz, sizeof gz - 1, "hi\n", 3, &e), 0);
    assert_int_equal(try_unpack(UNPACK_ZSTD, zst, sizeof zst - 1, "hi\n", 3, &e), 0);
}

static void test_unpack__refuses_bombs(void **state)
{
    (void)state;
    enum { SIZE = 200 << 20 };
    struct err e;
    char *zeros = xcalloc(1, SIZE), *data = xmalloc(1 << 20);
    size_t n = pack(UNPACK_GZIP, zeros, SIZE, data, 1 << 20);
    assert_int_equal(try_unpack(UNPACK_GZIP, data, n, NULL, 0, &e), ERR_DATA);
    assert_err(e, ERR_DATA, "gs://b/x.gz: grows to more than 200 times its size");
    n = pack(UNPACK_ZSTD, zeros, SIZE, data, 1 << 20);
    assert_int_equal(try_unpack(UNPACK_ZSTD, data, n, NULL, 0, &e), ERR_DATA);
    assert_err(e, ERR_DATA, "grows to more than 200 times its size");
    free(zeros);
    free(data);
}

static int room_for_100(void *arg, int64_t bytes, struct err *e)
{
    int *asked = arg;
    ++*asked;
    if (bytes <= 100)
        return 0;
    return err_set(e, ERR_SPACE, "no room for %d", (int)bytes);
}

static void test_unpack__asks_for_room(void **state)
{
    (void)state;
    struct err e = {0};
    char data[500], text[200];
    int asked = 0;
    memset(text, 'x', sizeof text);
    struct unpack_job job = {.kind = UNPACK_GZIP,
                             .name = "x",
                             .from = packed,
                             .to = plain,
                             .room = room_for_100,
                             .arg = &asked};
    struct unpack_result r;
    size_t n = pack_gzip(text, 100, data, sizeof data);
    assert_int_equal(file_write(packed, data, n, &e), 0);
    assert_int_equal(unpack_file(&job, &r, &e), 0);
    assert_true(asked > 0);
    n = pack_gzip(text, 101, data, sizeof data);
    assert_int_equal(file_write(packed, data, n, &e), 0);
    assert_int_equal(unpack_file(&job, &r, &e), -1);
    assert_err(e, ERR_SPACE, "no room for 101");
}

static void test_unpack__knows_names(void **state)
{
    (void)state;
    assert_int_equal(unpack_kind("gs://b/x.tar.gz"), UNPACK_GZIP);
    assert_int_equal(unpack_kind("x.tar.zst"), UNPACK_ZSTD);
    assert_int_equal(unpack_kind("x.tar"), UNPACK_NONE);
    assert_int_equal(unpack_kind(".gz"), UNPACK_NONE);
    assert_int_equal(unpack_kind("https://h/x.gz?sig=1"), UNPACK_GZIP);
    assert_int_equal(unpack_kind("https://h/x?y=.gz"), UNPACK_NONE);
    assert_int_equal(unpack_kind("gs://h/x?y=.gz"), UNPACK_GZIP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack__reads_gzip),
        cmocka_unit_test(test_unpack__reads_zstd),
        cmocka_unit_test(test_unpack__reads_what_others_wrote),
        cmocka_unit_test(test_unpack__refuses_bombs),
        cmocka_unit_test(test_unpack__asks_for_room),
        cmocka_unit_test(test_unpack__knows_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
