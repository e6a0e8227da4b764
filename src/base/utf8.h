/* utf8.h - code points out of bytes and back, strictly: no surrogates, no overlong forms, nothing
 * above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at the front of `s`; returns how many bytes it takes (1 to 4), 0 when `size` is
 * 0, and -1 when the first byte begins no valid character. */
int utf8_decode(const char *s, size_t size, uint32_t *point);

/* The bytes of a code point; returns how many, 0 when it has none. */
int utf8_encode(uint32_t point, char out[4]);

bool utf8_is_valid(const char *s, size_t size);

#endif
