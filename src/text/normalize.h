/* normalize.h - what is taken out of transcripts before they are compared.
 *
 * Word error rates mean something only together with the normaliser: reports state its name.
 *
 *     none     nothing; words are what stands between white space
 *     basic    Unicode simple case folding, punctuation and symbols become spaces (an apostrophe
 *              or a full stop or comma inside a word or number stays: "don't", "3.5"), white space
 *              collapsed to single spaces, none at the ends
 */
#ifndef TEXT_NORMALIZE_H
#define TEXT_NORMALIZE_H

#include "base/err.h"

struct buf;

enum normalizer { NORMALIZE_NONE, NORMALIZE_BASIC };

/* The name of a normaliser, for reports: "none", "basic". */
const char *normalizer_name(enum normalizer n);

/* Append the normalised text to `out`, which the caller initialised with a maximum.  Bytes that
 * are not UTF-8 become U+FFFD first. */
int normalize_text(enum normalizer n, const char *text, struct buf *out, struct err *e) MUST_CHECK;

#endif
