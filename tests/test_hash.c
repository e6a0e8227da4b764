/* test_hash.c - SHA-256 against the examples of FIPS 180. */
#include "base/hash.h"
#include "testing.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MILLION "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void test_hash__gives_the_published_digests(void **state)
{
    (void)state;
    char hex[HASH_HEX_SIZE];
    hash_bytes("abc", 3, hex);
    assert_string_equal(hex, ABC);
    hash_bytes("", 0, hex);
    assert_string_equal(hex, EMPTY);
}

static void test_hash__in_pieces_is_the_same_and_starts_over(void **state)
{
    (void)state;
    unsigned char digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    struct hash *h = hash_new();
    for (int i = 0; i < 1000000 / 50; i++)
        hash_add(h, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50);
    hash_end(h, digest);
    hash_hex(digest, hex);
    assert_string_equal(hex, MILLION);
    hash_end(h, digest);
    hash_hex(digest, hex);
    assert_string_equal(hex, EMPTY);
    hash_free(h);
    hash_free(NULL);
}

static void test_hash__file(void **state)
{
    (void)state;
    char name[] = "/tmp/attune-hash-XXXXXX", hex[HASH_HEX_SIZE];
    struct err e = {0};
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    assert_int_equal(hash_file(name, hex, &e), 0);
    assert_string_equal(hex, ABC);
    unlink(name);
    assert_int_equal(hash_file(name, hex, &e), -1);
    assert_err(e, ERR_FAILED, "No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash__gives_the_published_digests),
        cmocka_unit_test(test_hash__in_pieces_is_the_same_and_starts_over),
        cmocka_unit_test(test_hash__file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
