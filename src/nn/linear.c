/* linear.c - linear layers that know their adapter, and embeddings. */
#include "nn/linear.h"

/* x Wᵀ with W [out,in]. */
static mx_array times(mx_array x, mx_array w)
{
    return mx_matmul(x, mx_swapaxes(mx_astype(w, mx_dtype(x)), 0, 1));
}

static mx_array dropout(const struct nn_lora *l, mx_array x)
{
    const struct nn_dropout *d = l->dropout;
    return d ? nn_dropout(x, d->key, l->site, d->rate) : x;
}

/* x Wᵀ without bias and adapter. */
static mx_array times_base(const struct nn_linear *l, mx_array x)
{
    return l->quant.bits ? nn_quant_matmul(x, l->weight, &l->quant) : times(x, l->weight);
}

mx_array nn_linear_weight(const struct nn_linear *l, enum mx_dtype dtype)
{
    return l->quant.bits ? nn_dequantize(l->weight, &l->quant, dtype) : mx_astype(l->weight, dtype);
}

mx_array nn_linear_squares(const struct nn_linear *l)
{
    return mx_sum(mx_square(nn_linear_weight(l, MX_FLOAT32)), 1, false);
}

/* m / ‖V‖ [out], float32, without V itself:
 *
 *     ‖V‖² = ‖W‖² + 2 s Σ B ⊙ (W Aᵀ) + s² Σ (B A Aᵀ) ⊙ B          sums over the rank
 */
static mx_array magnitude_factor(const struct nn_linear *l, enum mx_dtype dtype)
{
    const struct nn_lora *r = &l->lora;
    mx_array a = mx_stop_gradient(r->a), b = mx_stop_gradient(r->b);

    mx_array cross = mx_swapaxes(times_base(l, mx_astype(a, dtype)), 0, 1);     /* [out,r] */
    mx_array sum = mx_scale(mx_astype(cross, MX_FLOAT32), 2 * r->scale);
    mx_array low = mx_matmul(b, mx_matmul(a, mx_swapaxes(a, 0, 1)));            /* [out,r] */
    sum = mx_add(sum, mx_scale(low, r->scale * r->scale));
    mx_array norm = mx_sqrt(mx_add(r->squares, mx_sum(mx_multiply(b, sum), 1, false)));
    return mx_divide(r->magnitude, mx_stop_gradient(norm));
}

/* What the adapter adds to y = x Wᵀ. */
static mx_array with_adapter(const struct nn_linear *l, mx_array x, mx_array y)
{
    const struct nn_lora *r = &l->lora;
    mx_array d = dropout(r, x);
    mx_array low = mx_scale(times(d, r->a), r->scale);                          /* [...,r] */
    mx_array delta = times(low, r->b);

    if (mx_is_none(r->magnitude))
        return mx_add(y, delta);
    /* c is near 1: bfloat16 would round its changes away. */
    mx_array c = magnitude_factor(l, mx_dtype(x));
    mx_array scaled = mx_multiply(delta, c);
    if (d.id == x.id)
        scaled = mx_add(scaled, mx_multiply(y, c));
    else
        scaled = mx_add(scaled, mx_add(y, mx_multiply(times_base(l, d), mx_shift(c, -1))));
    return mx_astype(scaled, mx_dtype(y));
}

mx_array nn_linear(const struct nn_linear *l, mx_array x)
{
    mx_array y = times_base(l, x);

    if (l->lora.rank > 0)
        y = with_adapter(l, x, y);
    if (!mx_is_none(l->bias))
        y = mx_add(y, mx_astype(l->bias, mx_dtype(y)));
    return y;
}

mx_array nn_linear_merged(const struct nn_linear *l, enum mx_dtype dtype)
{
    const struct nn_lora *r = &l->lora;
    mx_array v = nn_linear_weight(l, MX_FLOAT32);

    if (r->rank > 0)
        v = mx_add(v, mx_matmul(mx_scale(r->b, r->scale), r->a));
    if (r->rank > 0 && !mx_is_none(r->magnitude)) {
        mx_array norm = mx_sqrt(mx_sum(mx_square(v), 1, true));                 /* [out,1] */
        v = mx_multiply(v, mx_divide(mx_expand_dims(r->magnitude, 1), norm));
    }
    return mx_stop_gradient(mx_astype(v, dtype));
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
    struct nn_quant q = l->quant;

    if (q.bits == 0)
        return mx_astype(mx_take(l->weight, ids, 0), l->dtype);
    q.scales = mx_take(q.scales, ids, 0);
    q.biases = mx_take(q.biases, ids, 0);
    return nn_dequantize(mx_take(l->weight, ids, 0), &q, l->dtype);
}
