/* rope.h - rotary position embedding (Su et al. 2021), in the half-split layout of transformers.
 *
 *     pair i of a head is (x_i, x_{i + C/2}); at position t it turns by t / λ_i
 *     default:       λ_i = base^(2i/C)                                   i < C/2
 *     proportional:  the same for i < f · C/2; the other pairs do not turn
 */
#ifndef NN_ROPE_H
#define NN_ROPE_H

#include "mx/mx.h"

enum { NN_ROPE_PAIRS_MAX = 1024 };

struct nn_rope {
    int dims;                           /* C */
    float wavelengths[NN_ROPE_PAIRS_MAX];       /* λ; INFINITY: does not turn */
};

/* `fraction` of the pairs turn: 1 for the default kind. */
struct nn_rope nn_rope_make(int head_dim, double fraction, double base);
/* x [B,heads,T,C] at positions 0 .. T-1. */
mx_array nn_rope(const struct nn_rope *r, mx_array x);
/* The first position is `offset`: a 0-d int32, or [B] with one for each row. */
mx_array nn_rope_at(const struct nn_rope *r, mx_array x, mx_array offset);
/* Positions one by one: `position` [B,T] int32. */
mx_array nn_rope_each(const struct nn_rope *r, mx_array x, mx_array position);

#endif
