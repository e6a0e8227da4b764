/* bpe.h - byte pair encoding: a vocabulary of pieces, and merges that build them.
 *
 * A text starts as its characters.  Of all neighbours that have a merge, the pair with the lowest
 * rank, the leftmost of equals, becomes one piece, until no pair has a merge.  A character that
 * is no piece becomes its UTF-8 bytes ("<0xE2>", byte fallback) or the unknown piece.
 *
 * Gemma's text is not split into words first: one merge loop runs over all of it.  Here it is cut
 * wherever no piece that a merge makes holds the two characters at the cut side by side, since no
 * merge can reach across such a place; what is left is mostly words.  A word that is a piece,
 * and that the merge loop is known to turn into that piece, costs one look-up.
 */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "text/tokenizer.h"

struct bpe;

struct bpe_options {
    size_t piece_count;        /* how many pieces will be added */
    size_t merge_count;        /* how many merges, at most */
    size_t text_size;          /* bytes of all pieces together */
    int vocab_size;            /* one more than the highest id */
    bool has_byte_fallback, fuses_unknown, ignores_merges;
};

/* An empty vocabulary for pieces and merges as promised.  Add all pieces, then all merges, then
 * call bpe_finish. */
struct bpe *bpe_new(const struct bpe_options *o);
void bpe_free(struct bpe *b);

/* Add a piece.  The first error of a vocabulary: the id is taken, or the piece is there. */
int bpe_add_piece(struct bpe *b, const char *text, size_t size, int32_t id,
                  struct err *e) MUST_CHECK;

/* Say that `left` and `right`, in this order, become their concatenation; the next merge has the
 * next rank.  Of two merges of one pair the later counts.  All three must be pieces. */
int bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                  size_t right_size, struct err *e) MUST_CHECK;

/* What a character becomes that is no piece; `unknown` NULL: nothing. */
int bpe_finish(struct bpe *b, const char *unknown, struct err *e) MUST_CHECK;

/* The id of a piece, -1 when there is none. */
int32_t bpe_find(const struct bpe *b, const char *text, size_t size);

/* The piece of an id and its size; NULL when there is none. */
const char *bpe_piece(const struct bpe *b, int32_t id, size_t *size);

/* Append the ids of `size` bytes of valid UTF-8, and to `ends`, unless it is NULL, the offset in
 * `text` behind each. */
int bpe_encode(const struct bpe *b, const char *text, size_t size, struct ids *out,
               struct ids *ends, struct err *e) MUST_CHECK;

#endif
