/* norm.c - normalisation layers. */
#include "nn/norm.h"

/* Weights are cast so that float32 masters leave bfloat16 activations what they are. */
static mx_array cast(mx_array weight, mx_array x)
{
    return mx_is_none(weight) ? MX_NONE : mx_astype(weight, mx_dtype(x));
}

mx_array nn_rms_norm(const struct nn_norm *n, mx_array x)
{
    return mx_rms_norm(x, cast(n->weight, x), n->eps);
}

mx_array nn_layer_norm(const struct nn_norm *n, mx_array x)
{
    return mx_layer_norm(x, cast(n->weight, x), cast(n->bias, x), n->eps);
}
