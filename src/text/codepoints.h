/* codepoints.h - a text as an array of code points, and what Python's str does with one: lower
 * case, normal forms, the classes of its regular expressions. */
#ifndef TEXT_CODEPOINTS_H
#define TEXT_CODEPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf;

/* All zero is an empty one. */
struct codepoints {
    uint32_t *at;                         /* [count]; owned */
    size_t count, room;
};

void codepoints_release(struct codepoints *t);
void codepoints_add(struct codepoints *t, uint32_t c);
void codepoints_add_all(struct codepoints *t, const uint32_t *at, size_t count);
void codepoints_add_ascii(struct codepoints *t, const char *s);
/* Bytes that are not UTF-8 become U+FFFD. */
void codepoints_add_utf8(struct codepoints *t, const char *text, size_t size);

/* Append as UTF-8. */
void codepoints_write(const uint32_t *at, size_t count, struct buf *out);

/* Do these begin with the ASCII text? */
bool codepoints_begin(const uint32_t *at, size_t count, const char *ascii);
/* Are they it? */
bool codepoints_are(const uint32_t *at, size_t count, const char *ascii);

/* str.lower(): simple mappings, but U+0130 becomes two and a capital sigma knows whether it ends a
 * word. */
void codepoints_lower(const struct codepoints *t, struct codepoints *out);

/* Append the normal form NFKC (`composes`) or NFKD. */
int codepoints_normal_form(const struct codepoints *t, bool composes, struct codepoints *out,
                           struct err *e) MUST_CHECK;

/* The classes of Python's `re`: \w (letters, numbers, underscore: no marks), \d (category Nd), and
 * the word boundary \b in front of at[i], 0 <= i <= count. */
bool codepoint_is_word(uint32_t c);
bool codepoint_is_digit(uint32_t c);
bool codepoints_boundary(const uint32_t *at, size_t count, size_t i);

/* 0 to 9 for a \d of any script. */
int codepoint_digit(uint32_t c);

/* Category Mn; a category M, S or P. */
bool codepoint_is_nonspacing(uint32_t c);
bool codepoint_is_symbol(uint32_t c);

#endif
