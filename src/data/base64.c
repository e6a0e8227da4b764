/* base64.c - see base64.h. */
#include "data/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

void *base64_decode(const char *text, size_t size, size_t *size_out)
{
    uint8_t *out = xmalloc(size / 4 * 3 + 3);
    size_t made = 0, at = 0;
    uint32_t bits = 0;
    int count = 0, padding = 0;
    for (; at < size; at++) {
        char c = text[at];
        int v = value_of(c);
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
            continue;
        if (c == '=' && ++padding <= 2)
            continue;
        if (v < 0 || padding)
            break;
        bits = bits << 6 | (uint32_t)v;
        if (++count == 4) {
            out[made++] = (uint8_t)(bits >> 16);
            out[made++] = (uint8_t)(bits >> 8);
            out[made++] = (uint8_t)bits;
            bits = 0;
            count = 0;
        }
    }
    /* A rest of two characters holds one byte, one of three two; one alone holds none. */
    if (at < size || count == 1) {
        free(out);
        *size_out = at;
        return NULL;
    }
    if (count >= 2)
        out[made++] = (uint8_t)(count == 2 ? bits >> 4 : bits >> 10);
    if (count == 3)
        out[made++] = (uint8_t)(bits >> 2);
    *size_out = made;
    return out;
}
