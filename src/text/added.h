/* added.h - added tokens: strings that are cut out of a text before it is encoded.
 *
 * A set finds the leftmost token, the longest of those that begin there, then goes on behind it.
 * Two sets make a tokenizer: one for the raw text, one for the text after normalising.
 */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added_token {
    char *content;             /* as written in tokenizer.json; owned by the tokenizer */
    int32_t id;
    bool is_special;           /* a control token */
    bool is_single_word;       /* only where no word character touches it */
    bool strips_left;          /* takes the white space in front with it */
    bool strips_right;         /* takes the white space behind with it */
    bool is_normalized;        /* looked for after normalising, its content normalised as well */
};

struct added_set;

struct added_set *added_set_new(void);
void added_set_free(struct added_set *s);

/* Look for `pattern` (not empty), which stands for `token`; both are borrowed.  Of two tokens with
 * one pattern the first counts. */
void added_set_add(struct added_set *s, const char *pattern, size_t size,
                   const struct added_token *token);

/* A walk over a text.  Start with all zero but `text` and `size`. */
struct added_walk {
    const char *text;
    size_t size;
    bool skips_special;        /* special tokens are plain text */
    size_t from;               /* search goes on here */
    size_t done;               /* the end of the last token, with the space it took */
    size_t start, end;         /* the token found: text[start .. end) */
};

/* The next token, NULL when there are no more.  After each call text[w->done .. w->start) is what
 * lies between it (or the end of the text) and the token before; where a token took the space of
 * the next, w->start may be less than w->done, and nothing lies between. */
const struct added_token *added_next(const struct added_set *s, struct added_walk *w);

#endif
