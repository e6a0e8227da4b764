/* normalize_parts.h - between normalize.c and the files of Whisper's normalisers. */
#ifndef TEXT_NORMALIZE_PARTS_H
#define TEXT_NORMALIZE_PARTS_H

#include "text/codepoints.h"
#include "text/normalize.h"

/* Whisper's normalisers of a whole text; what comes out is appended. */
int whisper_basic(const struct codepoints *text, struct codepoints *out, struct err *e) MUST_CHECK;
int whisper_english(const struct normalizer_words *words, const struct codepoints *text,
                    struct codepoints *out, struct err *e) MUST_CHECK;

/* Numbers in words as digits: EnglishNumberNormalizer.  Lower case goes in; words are separated by
 * single spaces in what comes out. */
void english_numbers(const struct codepoints *text, struct codepoints *out);

/* The next word (str.split()) from *at on: its first code point, its size; false: there is none.
 * *at moves behind it. */
bool next_word(const struct codepoints *text, size_t *at, size_t *start, size_t *size);

#endif
