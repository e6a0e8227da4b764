/* rope.c - rotary position embedding: the wavelengths, as the reference rounds them. */
#include "nn/rope.h"

#include <assert.h>
#include <math.h>

struct nn_rope nn_rope_make(int head_dim, double fraction, double base)
{
    struct nn_rope r = {.dims = head_dim};
    int pairs = head_dim / 2, turning = (int)(fraction * head_dim / 2);

    assert(head_dim > 0 && pairs <= NN_ROPE_PAIRS_MAX && "checked by the model's config reader");
    for (int i = 0; i < pairs; i++) {
        /* The reference computes in float32: exponent rounded, then power rounded.  Powers by
         * powf are off by some units in the last place, which ten layers amplify to 1e-4. */
        float exponent = (float)(2 * i) / (float)head_dim;
        r.wavelengths[i] = i < turning ? (float)pow(base, (double)exponent) : INFINITY;
    }
    return r;
}

mx_array nn_rope_at(const struct nn_rope *r, mx_array x, mx_array offset)
{
    mx_array freqs = mx_from(r->wavelengths, MX_FLOAT32, (int[]){r->dims / 2}, 1);
    return mx_rope(x, r->dims, 0, offset, freqs);
}

mx_array nn_rope(const struct nn_rope *r, mx_array x)
{
    return nn_rope_at(r, x, mx_int(0));
}

/* Rows of tokens become rows of one token, each at its own first position. */
mx_array nn_rope_each(const struct nn_rope *r, mx_array x, mx_array position)
{
    int B = mx_dim(x, 0), heads = mx_dim(x, 1), T = mx_dim(x, 2), C = mx_dim(x, 3);

    x = mx_reshape(mx_transpose(x, 0, 2, 1, 3), B * T, heads, 1, C);
    x = nn_rope_at(r, x, mx_flatten(position, 0, -1));
    return mx_transpose(mx_reshape(x, B, T, heads, C), 0, 2, 1, 3);             /* [B,heads,T,C] */
}
