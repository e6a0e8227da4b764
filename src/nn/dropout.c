/* dropout.c - dropout: each number is zeroed with a probability, and the others are scaled up. */
#include "nn/dropout.h"

mx_array nn_dropout(mx_array x, mx_array key, uint32_t site, double rate)
{
    int shape[MX_DIMS_MAX], n = mx_ndim(x);

    if (rate == 0 || mx_is_none(key))
        return x;
    for (int i = 0; i < n; i++)
        shape[i] = mx_dim(x, i);
    mx_array kept = mx_random_bernoulli_(mx_random_fold(key, site), 1 - rate, shape, n);
    return mx_where(kept, mx_scale(x, 1 / (1 - rate)), mx_zeros_like(x));
}
