/* test_crc32c.c - against the vectors of RFC 3720, B.4, and against the definition, bit by bit. */
#include "base/crc32c.h"
#include "base/rng.h"
#include "testing.h"

/* The definition: divide by the polynomial (Castagnoli, 1EDC6F41), one bit after the other. */
static uint32_t slow_crc32c(const unsigned char *p, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            uint32_t top = (crc ^ (uint32_t)p[i] >> bit) & 1;
            crc >>= 1;
            if (top)
                crc ^= 0x82f63b78;
        }
    return crc ^ 0xffffffff;
}

static void test_crc32c__vectors_of_rfc_3720(void **state)
{
    (void)state;
    unsigned char bytes[32];
    static const unsigned char read_pdu[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0,    0, 0x14, 0, 0, 0, 0, 0, 4, 0,
        0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5c);
    assert_int_equal(crc32c(0, read_pdu, 48), 0xd9963a56);
}

static void test_crc32c__known_texts(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "a", 1), 0xc1d04330);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "The quick brown fox jumps over the lazy dog", 43), 0x22620404);
}

static void test_crc32c__every_length_and_alignment(void **state)
{
    (void)state;
    unsigned char bytes[300];
    for (int i = 0; i < 300; i++)
        bytes[i] = (unsigned char)rng_u64(1, 0, (uint64_t)i);
    for (size_t from = 0; from < 9; from++)
        for (size_t size = 0; size < 290; size++)
            assert_int_equal(crc32c(0, bytes + from, size), slow_crc32c(bytes + from, size));
}

static void test_crc32c__pieces_make_the_whole(void **state)
{
    (void)state;
    unsigned char bytes[5000];
    for (int i = 0; i < 5000; i++)
        bytes[i] = (unsigned char)rng_u64(2, 0, (uint64_t)i);
    uint32_t whole = slow_crc32c(bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 97) {
        uint32_t a = crc32c(0, bytes, cut), b = crc32c(0, bytes + cut, sizeof bytes - cut);
        assert_int_equal(crc32c(a, bytes + cut, sizeof bytes - cut), whole);
        assert_int_equal(crc32c_combine(a, b, sizeof bytes - cut), whole);
    }
    uint32_t all = 0;
    for (size_t at = 0; at < sizeof bytes; at += 7)
        all = crc32c_combine(all, crc32c(0, bytes + at, at + 7 <= 5000 ? 7 : 5000 - at),
                             at + 7 <= 5000 ? 7 : 5000 - at);
    assert_int_equal(all, whole);
}

/* Sizes that need more than 32 bits. */
static void test_crc32c__combines_above_4_gib(void **state)
{
    (void)state;
    unsigned char zero[4096] = {0};
    uint32_t crc = crc32c(0, zero, sizeof zero);
    for (uint64_t size = sizeof zero; size < (uint64_t)1 << 33; size *= 2)
        crc = crc32c_combine(crc, crc, size);
    uint32_t tail = crc32c(0, "abc", 3);
    /* 8 GiB of zeros at once, or in two steps. */
    uint32_t half = crc32c(0, zero, sizeof zero);
    for (uint64_t size = sizeof zero; size < (uint64_t)1 << 32; size *= 2)
        half = crc32c_combine(half, half, size);
    uint32_t a =
        crc32c_combine(crc32c_combine(tail, half, (uint64_t)1 << 32), half, (uint64_t)1 << 32);
    assert_int_equal(crc32c_combine(tail, crc, (uint64_t)1 << 33), a);
    /* The polynomial is (x + 1) times a primitive one of degree 31: x has the order 2^31 - 1, so
     * that many bytes shift by nothing. */
    uint32_t zeros = crc32c_combine(0, 0, 5);
    assert_int_equal(zeros, 0);
    assert_int_equal(crc32c_combine(tail, 0, ((uint64_t)1 << 31) - 1), tail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c__vectors_of_rfc_3720),
        cmocka_unit_test(test_crc32c__known_texts),
        cmocka_unit_test(test_crc32c__every_length_and_alignment),
        cmocka_unit_test(test_crc32c__pieces_make_the_whole),
        cmocka_unit_test(test_crc32c__combines_above_4_gib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
