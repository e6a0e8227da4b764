/* test_byte_level.c - bytes as characters, and U+FFFD for bytes that are none. */
#include "testing.h"

#include "base/buf.h"
#include "text/byte_level.h"

static void test_byte_level__writes_bytes_as_gpt2(void **state)
{
    (void)state;
    static const struct {
        unsigned char byte;
        const char *written;
    } cases[] = {
        {0x00, "\xc4\x80"}, {' ', "\xc4\xa0"},  {'\n', "\xc4\x8a"}, {'!', "!"},
        {'~', "~"},         {0x7f, "\xc4\xa1"}, {0xa0, "\xc5\x82"}, {0xa1, "\xc2\xa1"},
        {0xad, "\xc5\x83"}, {0xae, "\xc2\xae"}, {0xff, "\xc3\xbf"},
    };
    struct byte_level b;
    char out[BYTE_LEVEL_SIZE_MAX];

    byte_level_init(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = byte_level_encode(&b, (const char *)&cases[i].byte, 1, out);
        assert_int_equal(size, strlen(cases[i].written));
        assert_memory_equal(out, cases[i].written, size);
    }
}

static void test_byte_level__comes_back(void **state)
{
    (void)state;
    struct byte_level b;
    char all[256], chars[512];
    struct buf out;

    byte_level_init(&b);
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    size_t size = byte_level_encode(&b, all, sizeof all, chars);
    buf_init(&out, 1000);
    byte_level_decode(&b, chars, size, &out);
    assert_int_equal(out.size, 256);
    assert_memory_equal(out.data, all, 256);

    /* A piece with any other character is text: U+0144 stands for no byte. */
    static const char *const texts[] = {"a b", "\xc4\xa0x\xc5\x84", "\xc4\xa0\xe6\xbc\xa2", "a\x80",
                                        ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buf_clear(&out);
        byte_level_decode(&b, texts[i], strlen(texts[i]), &out);
        assert_string_equal(out.data, texts[i]);
    }
    buf_release(&out);
}

#define BAD "\xef\xbf\xbd"

/* As Rust's String::from_utf8_lossy. */
static void test_byte_level__repairs(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"a\xc3\xa9z", "a\xc3\xa9z"},
        {"\xff", BAD},
        {"\x80\x80", BAD BAD},
        {"\xc3", BAD},
        {"\xc3(", BAD "("},
        {"\xc0\x80", BAD BAD},
        {"\xe2\x82", BAD},
        {"\xe2\x82z", BAD "z"},
        {"\xe2(\x82", BAD "(" BAD},
        {"\xe0\x80\x80", BAD BAD BAD},
        {"\xed\xa0\x80", BAD BAD BAD},
        {"\xf0\x9f\x98", BAD},
        {"\xf0\x9f\x98\xf0\x9f\x98\x80", BAD "\xf0\x9f\x98\x80"},
        {"\xf0\x80\x80\x80", BAD BAD BAD BAD},
        {"\xf4\x90\x80\x80", BAD BAD BAD BAD},
        {"\xf5\x80", BAD BAD},
        {"x\xe2\x82\xe2\x82\xacy", "x" BAD "\xe2\x82\xacy"},
    };
    struct buf out;

    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&out);
        byte_level_repair(cases[i][0], strlen(cases[i][0]), &out);
        assert_string_equal(out.data, cases[i][1]);
    }
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level__writes_bytes_as_gpt2),
        cmocka_unit_test(test_byte_level__comes_back),
        cmocka_unit_test(test_byte_level__repairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
