/* utf8.c - see utf8.h. */
#include "base/utf8.h"

/* The bounds of the second byte hold back overlong forms (E0, F0), surrogates (ED) and what lies
 * above U+10FFFF (F4): Unicode, table 3-7. */
int utf8_decode(const char *s, size_t size, uint32_t *point)
{
    const unsigned char *b = (const unsigned char *)s;
    if (!size)
        return 0;
    if (b[0] < 0x80) {
        *point = b[0];
        return 1;
    }
    int n = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4 || size < (size_t)n)
        return -1;
    unsigned low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    if (b[1] < low || b[1] > high)
        return -1;
    uint32_t p = b[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return -1;
        p = p << 6 | (b[i] & 0x3fu);
    }
    *point = p;
    return n;
}

int utf8_encode(uint32_t point, char out[4])
{
    if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return 0;
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    int n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (char)((0xf00u >> n & 0xff) | point);
    return n;
}

bool utf8_is_valid(const char *s, size_t size)
{
    uint32_t point;
    int n;
    while ((n = utf8_decode(s, size, &point)) > 0) {
        s += n;
        size -= (size_t)n;
    }
    return n == 0;
}
