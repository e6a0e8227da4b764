/* crc32c.c - see crc32c.h.
 *
 * Bits are reflected: bit 31 of a word is the coefficient of x^0.  Eight bytes at a time by eight
 * tables (Kounavis and Berry: "A systematic approach to building high performance software-based
 * CRC generators", ISCC 2005).
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u     /* x^32 + x^28 + x^27 + ... + 1, without x^32, reflected */

enum { SLICES = 8 };

/* table[k][b]: what byte b adds when k more bytes have passed. */
static uint32_t table[SLICES][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? POLYNOMIAL : 0);
        table[0][b] = c;
    }
    for (int k = 1; k < SLICES; k++)
        for (int b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

static uint32_t little_endian(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *p = data;
    pthread_once(&table_once, make_table);
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t a = crc ^ little_endian(p), b = little_endian(p + 4);
        crc = table[7][a & 255] ^ table[6][a >> 8 & 255] ^ table[5][a >> 16 & 255] ^
              table[4][a >> 24] ^ table[3][b & 255] ^ table[2][b >> 8 & 255] ^
              table[1][b >> 16 & 255] ^ table[0][b >> 24];
    }
    while (size--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return ~crc;
}

/* a * b modulo the polynomial. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b >> 1 ^ (b & 1 ? POLYNOMIAL : 0);
    }
    return product;
}

/* Bytes that follow multiply the checksum of what was before by x^8 each.  The inversions before
 * and after cancel out: both pieces have them. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b)
{
    uint32_t power = 0x00800000u, shift = 0x80000000u;      /* x^8 and 1 */
    for (; size_b; size_b >>= 1) {
        if (size_b & 1)
            shift = multiply(shift, power);
        power = multiply(power, power);
    }
    return multiply(shift, crc_a) ^ crc_b;
}
