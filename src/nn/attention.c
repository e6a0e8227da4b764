/* attention.c - attention and its masks. */
#include "nn/attention.h"

mx_array nn_attention(mx_array q, mx_array k, mx_array v, double scale, mx_array mask)
{
    return mx_scaled_dot_product_attention(q, k, v, scale, mx_is_none(mask), mask);
}

mx_array nn_window_mask(int T, int window)
{
    if (window == 0 || window >= T)
        return MX_NONE;
    mx_array key = mx_arange(0, T, 1, MX_INT32);                                /* [T] */
    mx_array query = mx_expand_dims(key, 1);                                    /* [T,1] */
    mx_array seen = mx_less_equal(key, query);
    return mx_logical_and(seen, mx_greater(key, mx_shift(query, -window)));     /* [T,T] */
}

mx_array nn_decode_mask(mx_array at, int S, int window)
{
    mx_array key = mx_arange(0, S, 1, MX_INT32);                                /* [S] */
    mx_array query = mx_reshape(at, -1, 1, 1, 1);                               /* [B,1,1,1] */
    mx_array seen = mx_less_equal(key, query);
    if (window > 0)
        seen = mx_logical_and(seen, mx_greater(key, mx_shift(query, -window)));
    return seen;                                                                /* [B,1,1,S] */
}
