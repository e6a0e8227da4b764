/* word_split.h - a text cut into words by a regular expression, as the `tokenizers` library does
 * before byte-level BPE.
 *
 *     struct word_split *s = word_split_new(WORD_SPLIT_GPT2, e);
 *     struct word_scratch *scratch = word_scratch_new();
 *     struct word_walk w = {.split = s, .scratch = scratch, .text = text, .size = size};
 *     int more;
 *     while ((more = word_next(&w, e)) > 0)
 *         use(text + w.start, w.end - w.start);
 *
 * What a match covers is a word, and so is what lies between two matches: nothing is lost.
 *
 * The library's expressions are written for Oniguruma; here PCRE2 runs them.  Where the two differ
 * (which characters are white space, what newer versions of Unicode call a letter or a digit) the
 * expression is rewritten so that Oniguruma's answer comes out; what is not known to mean the same
 * is refused.  Finer properties than \p{L} and \p{N} are those of PCRE2's version of Unicode.
 */
#ifndef TEXT_WORD_SPLIT_H
#define TEXT_WORD_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { WORD_PATTERN_MAX = 4096 };        /* bytes of an expression */

/* GPT-2's words: an ending behind an apostrophe; letters, digits or other characters, each with the
 * space in front; white space. */
#define WORD_SPLIT_GPT2                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* A compiled expression, which any number of threads may use. */
struct word_split;

/* NULL on failure: an expression that is damaged (ERR_DATA) or not known (ERR_USAGE). */
struct word_split *word_split_new(const char *pattern, struct err *e) MUST_CHECK;
void word_split_free(struct word_split *s);

/* What matching needs; for one thread at a time, and one walk after the other or inside it. */
struct word_scratch;
struct word_scratch *word_scratch_new(void);
void word_scratch_free(struct word_scratch *s);

/* A walk over a text.  Start with all zero but the first four. */
struct word_walk {
    const struct word_split *split;
    struct word_scratch *scratch;
    const char *text;                    /* UTF-8 */
    size_t size;
    size_t start, end;                   /* the word: text[start .. end) */
    size_t match_end;                    /* of the match that is still to come, ... */
    bool has_match;                      /* ... which begins at `end` */
    size_t from;                         /* the next match is looked for here, ... */
    bool is_behind_match;                /* ... where the last one ended */
};

/* The next word, never empty: 1; at the end 0.  Fails (-1) when the expression needs more steps or
 * memory for this text than a limit. */
int word_next(struct word_walk *w, struct err *e) MUST_CHECK;

#endif
