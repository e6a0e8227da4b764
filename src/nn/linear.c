/* linear.c - linear layers that know their adapter, and embeddings. */
#include "nn/linear.h"

/* x Wᵀ with W [out,in]. */
static mx_array times(mx_array x, mx_array w)
{
    return mx_matmul(x, mx_swapaxes(mx_astype(w, mx_dtype(x)), 0, 1));
}

/* Zero each number with the probability `rate`, and scale up the others. */
static mx_array dropout(const struct nn_lora *l, mx_array x)
{
    const struct nn_dropout *d = l->dropout;
    int shape[MX_DIMS_MAX], n = mx_ndim(x);

    if (!d || d->rate == 0 || mx_is_none(d->key))
        return x;
    for (int i = 0; i < n; i++)
        shape[i] = mx_dim(x, i);
    mx_array key = mx_random_fold(d->key, l->site);
    mx_array kept = mx_random_bernoulli_(key, 1 - d->rate, shape, n);
    return mx_where(kept, mx_scale(x, 1 / (1 - d->rate)), mx_zeros_like(x));
}

mx_array nn_linear(const struct nn_linear *l, mx_array x)
{
    mx_array y = times(x, l->weight);

    if (!mx_is_none(l->bias))
        y = mx_add(y, mx_astype(l->bias, mx_dtype(y)));
    if (l->lora.rank > 0) {
        mx_array low = times(dropout(&l->lora, x), l->lora.a);   /* [...,r] */
        y = mx_add(y, times(mx_scale(low, l->lora.scale), l->lora.b));
    }
    return y;
}

static mx_array bound(mx_array x, mx_array lo, mx_array hi)
{
    if (mx_is_none(lo))
        return x;
    return mx_clip(x, mx_astype(lo, mx_dtype(x)), mx_astype(hi, mx_dtype(x)));
}

mx_array nn_clip_linear(const struct nn_clip_linear *l, mx_array x)
{
    mx_array y = nn_linear(&l->linear, bound(x, l->input_min, l->input_max));
    return bound(y, l->output_min, l->output_max);
}

mx_array nn_embedding(const struct nn_linear *l, mx_array ids)
{
    return mx_astype(mx_take(l->weight, ids, 0), l->dtype);
}
