/* attention.h - attention and its masks.  In masks, true means "may be seen".
 *
 * Rows of a batch are padded on the right, so causal masks need no notion of padding: a real token
 * never sees what comes after it.
 */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include "mx/mx.h"

/* q [B,H,T,C], k and v [B,K,S,C] with K dividing H -> [B,H,T,C].  Without a mask: causal, the last
 * query seeing the last key.  `scale` multiplies the scores. */
mx_array nn_attention(mx_array q, mx_array k, mx_array v, double scale, mx_array mask);

/* [T,T]: position t sees (t - window, t].  MX_NONE (plain causal) when window >= T or is 0. */
mx_array nn_window_mask(int T, int window);
/* [B,1,1,S] for one new token a row: row b at position at[b] (int32) sees the keys of positions
 * (at[b] - window, at[b]] of S; window 0: all of them. */
mx_array nn_decode_mask(mx_array at, int S, int window);

#endif
