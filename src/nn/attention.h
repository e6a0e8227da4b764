/* attention.h - attention and its masks.  In masks, true means "may be seen".
 *
 *     token t sees token s            s ≤ t, and t - s < window          (in its own segment)
 *     with blocks also                s of the same block: the tokens of one image, say
 *
 * Rows of a batch are padded on the right, so causal masks need no notion of padding: a real token
 * never sees what comes after it.
 */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "mx/mx.h"

/* q [B,H,T,C], k and v [B,K,S,C] with K dividing H -> [B,H,T,C].  Without a mask: causal, the last
 * query seeing the last key.  `scale` multiplies the scores. */
mx_array nn_attention(mx_array q, mx_array k, mx_array v, double scale, mx_array mask);

/* The same where each query sees all keys. */
mx_array nn_attention_all(mx_array q, mx_array k, mx_array v, double scale);
/* With dropout of the probabilities (nn/dropout.h), for which the scores [B,H,T,S] are made.  K is
 * H; without a mask causal, or all. */
mx_array nn_attention_dropout(mx_array q, mx_array k, mx_array v, double scale, bool is_causal,
                              mx_array mask, mx_array key, uint32_t site, double rate);

/* The places `kept` [B,Q] of x [B,T,...] -> [B,Q,...]. */
mx_array nn_rows_at(mx_array x, mx_array kept);

/* What decides whom tokens see. */
struct nn_sight {
    mx_array place;                     /* [T] or [B,T] int32: where they stand in their row */
    mx_array segment;                   /* [B,T] int32; none: a row is one segment */
    mx_array block;                     /* [B,T] int32, -1: of no block; none: there are none */
};

/* The tokens at places `kept` [B,Q] of the row. */
struct nn_sight nn_sight_at(const struct nn_sight *all, mx_array kept);

/* The mask of T queries over S keys: [T,S], or [B,1,T,S] where rows differ.  `window`: how many
 * places are seen, its own included; 0: all.  With `is_far` a block is seen at any distance, else
 * inside the window.  MX_NONE when nothing but order matters and queries are the keys' own tokens
 * (the same arrays): plain causal attention. */
mx_array nn_mask(const struct nn_sight *query, const struct nn_sight *key, int window, bool is_far);

/* Causal attention over a sliding window in rows that are much longer: queries in chunks of
 * `window`, each over its own keys and the chunk before.  Equal to nn_attention with nn_mask, at
 * T·2W scores in place of T².  Not for blocks, which may reach further. */
bool nn_band_pays(int T, int window);
/* The mask of all chunks, for nn_band_attention; `B` rows. */
mx_array nn_band_mask(const struct nn_sight *all, int B, int window);
/* As nn_attention, q of the same places as k and v. */
mx_array nn_band_attention(mx_array q, mx_array k, mx_array v, double scale, mx_array mask,
                           int window);

/* Blocks: the runs of neighbouring members of each row, 0, 1, ...; other tokens have -1.  (Segments
 * part a run that crosses their border.)  `member` [B,T] bool -> [B,T] int32. */
mx_array nn_runs(mx_array member);

#endif
