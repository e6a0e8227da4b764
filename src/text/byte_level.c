/* byte_level.c - see byte_level.h. */
#include "text/byte_level.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>

void byte_level_init(struct byte_level *b)
{
    uint32_t next = 0x100;

    memset(b->bytes, -1, sizeof b->bytes);
    for (int i = 0; i < 256; i++) {
        bool is_printable = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        uint32_t point = is_printable ? (uint32_t)i : next++;
        char text[4] = "";
        int size = utf8_encode(point, text);
        memcpy(b->chars[i], text, BYTE_LEVEL_SIZE_MAX);
        b->sizes[i] = (unsigned char)size;
        b->bytes[point] = (int16_t)i;
    }
}

size_t byte_level_encode(const struct byte_level *b, const char *text, size_t size, char *out)
{
    char *at = out;

    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        memcpy(at, b->chars[byte], BYTE_LEVEL_SIZE_MAX);
        at += b->sizes[byte];
    }
    return (size_t)(at - out);
}

void byte_level_decode(const struct byte_level *b, const char *piece, size_t size, struct buf *out)
{
    size_t before = out->size;

    for (size_t pos = 0; pos < size;) {
        uint32_t point = 0;
        int n = utf8_decode(piece + pos, size - pos, &point);
        if (n < 1 || point >= sizeof b->bytes / sizeof *b->bytes || b->bytes[point] < 0) {
            buf_truncate(out, before);
            buf_add(out, piece, size);
            return;
        }
        buf_add_char(out, (char)b->bytes[point]);
        pos += (size_t)n;
    }
}

/* How many bytes begin a character that does not go on; at least 1. */
static size_t broken_size(const unsigned char *s, size_t size)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t wanted = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                    : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                    : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                   : 1;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    size_t n = 1;
    while (n < wanted && n < size && s[n] >= low && s[n] <= high) {
        n++;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

void byte_level_repair(const char *bytes, size_t size, struct buf *out)
{
    size_t good = 0, pos = 0;            /* bytes[good .. pos) is UTF-8 */

    while (pos < size) {
        uint32_t point;
        int n = utf8_decode(bytes + pos, size - pos, &point);
        if (n > 0) {
            pos += (size_t)n;
            continue;
        }
        buf_add(out, bytes + good, pos - good);
        buf_add_str(out, "\xef\xbf\xbd");
        pos += broken_size((const unsigned char *)bytes + pos, size - pos);
        good = pos;
    }
    buf_add(out, bytes + good, pos - good);
}
