/* act.c - activations, elementwise. */
#include "nn/act.h"

mx_array nn_gelu_approx(mx_array x)
{
    return mx_gelu_approx(x);
}

mx_array nn_gelu(mx_array x)
{
    return mx_gelu(x);
}

mx_array nn_silu(mx_array x)
{
    return mx_silu(x);
}

mx_array nn_relu(mx_array x)
{
    return mx_maximum(x, mx_zeros_like(x));
}

mx_array nn_softplus(mx_array x)
{
    /* Not max(x, 0) + log1p(exp(-|x|)), whose derivative at 0, where weights start, would be 0. */
    mx_array both[2] = {x, mx_zeros_like(x)};
    return mx_logsumexp(mx_stack(both, 2, 0), 0, false);
}

mx_array nn_glu(mx_array x)
{
    int axis = mx_ndim(x) - 1, half = mx_dim(x, -1) / 2;
    mx_array a = mx_slice(x, axis, 0, half), b = mx_slice(x, axis, half, 2 * half);
    return mx_multiply(a, mx_sigmoid(b));
}

mx_array nn_softcap(mx_array x, double cap)
{
    return cap == 0 ? x : mx_scale(mx_tanh(mx_scale(x, 1 / cap)), cap);
}

mx_array nn_clamp(mx_array x, double limit)
{
    enum mx_dtype d = mx_dtype(x);
    if (d == MX_FLOAT16 && limit > 65504)
        limit = 65504;
    return mx_clip(x, mx_astype(mx_float(-limit), d), mx_astype(mx_float(limit), d));
}
