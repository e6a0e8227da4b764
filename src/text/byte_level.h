/* byte_level.h - bytes written as printable characters, as GPT-2's vocabulary does.
 *
 * Each of the 256 bytes is one character: those that are printable in Latin-1 are themselves, the
 * others U+0100, U+0101, ... in their order (a space is U+0120).
 */
#ifndef TEXT_BYTE_LEVEL_H
#define TEXT_BYTE_LEVEL_H

#include <stddef.h>
#include <stdint.h>

struct buf;

enum { BYTE_LEVEL_SIZE_MAX = 2 };        /* bytes of UTF-8 that one byte becomes, at most */

/* The characters of all bytes.  Made once, then read by any number of threads. */
struct byte_level {
    unsigned char chars[256][BYTE_LEVEL_SIZE_MAX];
    unsigned char sizes[256];            /* 1 or 2 */
    int16_t bytes[0x180];                /* the byte of a character; -1: none */
};

void byte_level_init(struct byte_level *b);

/* Write the characters of `size` bytes to `out`, which has room for BYTE_LEVEL_SIZE_MAX times as
 * much; returns how many bytes of UTF-8 they are. */
size_t byte_level_encode(const struct byte_level *b, const char *text, size_t size, char *out);

/* Append the bytes of a piece; one that holds any other character is appended as it is. */
void byte_level_decode(const struct byte_level *b, const char *piece, size_t size, struct buf *out);

/* Append `size` bytes as UTF-8: what is none becomes U+FFFD, one for the longest beginning of a
 * character (Unicode's recommendation, and what Rust's from_utf8_lossy does). */
void byte_level_repair(const char *bytes, size_t size, struct buf *out);

#endif
