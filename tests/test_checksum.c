/* Checksums as stores write them. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "net/checksum.h"

static void test_checksum__reads_base64(void **state)
{
    (void)state;
    uint32_t crc = 0;
    char text[CHECKSUM_CRC32C_SIZE], hex[HASH_HEX_SIZE];
    /* "123456789": CRC-32C e3069283 (RFC 3720, B.4), MD5 of RFC 1321. */
    assert_true(checksum_crc32c_read("4waSgw==", 8, &crc));
    assert_int_equal(crc, 0xe3069283);
    checksum_crc32c_write(0xe3069283, text);
    assert_string_equal(text, "4waSgw==");
    checksum_crc32c_write(0, text);
    assert_string_equal(text, "AAAAAA==");
    assert_true(checksum_md5_read("JfnnlDI7RTiF9RgfG2JNCw==", 24, hex));
    assert_string_equal(hex, "25f9e794323b453885f5181f1b624d0b");

    static const char *const bad[] = {"",         "4waSgw=",   "4waSgw", "4waSgwA=", "=waSgw==",
                                      "4waS!w==", "4waSgw==\n", "4waS=w==", "4waSgw==-3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(checksum_crc32c_read(bad[i], strlen(bad[i]), &crc));
    assert_false(checksum_md5_read("4waSgw==", 8, hex));
}

static void test_checksum__compares(void **state)
{
    (void)state;
    struct err e = {0};
    char found[HASH_HEX_SIZE], *dir = testing_folder(), *path = path_join(dir, "f");
    const char *md5 = "900150983cd24fb0d6963f7d28e17f72";          /* RFC 1321: "abc" */
    const char *sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    bool fits = false;
    assert_true(checksum_fits(md5, "abc", 3, found));
    assert_false(checksum_fits(md5, "abd", 3, found));
    assert_true(strcmp(found, md5) != 0);
    assert_true(checksum_fits(sha, "abc", 3, found));
    assert_string_equal(found, sha);
    assert_int_equal(file_write(path, "abc", 3, &e), 0);
    assert_int_equal(checksum_of_file(sha, path, &fits, found, &e), 0);
    assert_true(fits);
    assert_int_equal(checksum_of_file("x", path, &fits, found, &e), 0);
    assert_false(fits);
    assert_int_equal(checksum_of_file(md5, dir, &fits, found, &e), -1);
    e = (struct err){0};
    assert_int_equal(checksum_of_file(md5, "/nonexistent/f", &fits, found, &e), -1);
    assert_true(strstr(e.text, "/nonexistent/f") != NULL);
    e = (struct err){0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(path);
    free(dir);
    assert_true(checksum_is_hex(md5, 32));
    assert_false(checksum_is_hex(md5, 64));
    assert_false(checksum_is_hex("900150983CD24FB0D6963F7D28E17F72", 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum__reads_base64),
        cmocka_unit_test(test_checksum__compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
