/* normalize.h - what is taken out of transcripts before they are compared.
 *
 * Word error rates mean something only together with the normaliser: reports state its name.
 *
 *     none             nothing; words are what stands between white space
 *     basic            Unicode simple case folding, punctuation and symbols become spaces (an
 *                      apostrophe or a full stop or comma inside a word or number stays: "don't",
 *                      "3.5"), white space collapsed to single spaces, none at the ends
 *     whisper_basic    the one of Whisper's paper for every language but English (Radford et al.
 *                      2022, appendix C): lower case, nothing in brackets, NFKC; marks,
 *                      punctuation and symbols become spaces
 *     whisper_english  the one for English: also no "uh" and "um", contractions and titles written
 *                      out, no diacritics, numbers as digits ("twenty one dollars" is "$21"), and
 *                      American spellings
 *
 * The last two are transformers' BasicTextNormalizer() and EnglishTextNormalizer(words), exactly:
 * with what these get wrong, and with the white space they leave at the ends.
 */
#ifndef TEXT_NORMALIZE_H
#define TEXT_NORMALIZE_H

#include "base/err.h"
#include "base/json.h"

struct buf;

enum normalizer {
    NORMALIZE_NONE,
    NORMALIZE_BASIC,
    NORMALIZE_WHISPER_BASIC,
    NORMALIZE_WHISPER_ENGLISH
};

enum { NORMALIZE_BYTES_MAX = 1 << 20 };   /* of a text for Whisper's normalisers */

/* The name of a normaliser, for reports and configurations: "none", "whisper_basic". */
const char *normalizer_name(enum normalizer n);

/* British spellings and the American ones for them, for whisper_english.  Zeroed: none. */
struct normalizer_words {
    json_t *table;                        /* {"colour": "color", ...}; owned */
};

/* Read normalizer.json of a checkpoint's folder.  A folder without one has no words, and that is no
 * error; a file that is no object of words is ERR_DATA. */
int normalizer_words_open(struct normalizer_words *w, const char *dir, struct err *e) MUST_CHECK;
void normalizer_words_release(struct normalizer_words *w);

/* Append the normalised text to `out`, which the caller initialised with a maximum.  Bytes that
 * are not UTF-8 become U+FFFD first.  `words` may be NULL: spellings stay. */
int normalize_text(enum normalizer n, const struct normalizer_words *words, const char *text,
                   struct buf *out, struct err *e) MUST_CHECK;

#endif
