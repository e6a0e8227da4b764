/* unicode.h - the few properties of characters that tokenizers and normalisers need, and walking
 * over text that may not be UTF-8. */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stands for a byte that is not UTF-8. */
#define UTF8_BAD 0xFFFDu

/* The code point at text[*pos], and *pos moves behind it.  A byte that begins no valid sequence
 * gives UTF8_BAD and is one byte long.  *pos < size. */
uint32_t utf8_next(const char *text, size_t size, size_t *pos);

/* The offset of the first byte that is not UTF-8 (overlong forms, surrogates and what is above
 * U+10FFFF are not), `size` when all is well. */
size_t utf8_bad_at(const char *text, size_t size);

/* White space: Unicode's property White_Space. */
bool unicode_is_space(uint32_t c);

/* White space as Python's str.strip takes it off: Unicode's, and U+001C to U+001F. */
bool unicode_is_strippable(uint32_t c);

/* Word characters, \w of regular expressions. */
bool unicode_is_word(uint32_t c);

/* Punctuation or symbol, categories P and S. */
bool unicode_is_mark(uint32_t c);

/* Invisible formatting, category Cf. */
bool unicode_is_format(uint32_t c);

/* Simple case folding (CaseFolding.txt, statuses C and S). */
uint32_t unicode_fold(uint32_t c);

/* Take white space off both ends, as Python's str.strip does: *text moves, *size shrinks. */
void utf8_trim(const char **text, size_t *size);

#endif
