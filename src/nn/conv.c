/* conv.c - convolutions over channels-last arrays with weights as PyTorch stores them. */
#include "nn/conv.h"

static mx_array add_bias(const struct nn_conv *c, mx_array y)
{
    return mx_is_none(c->bias) ? y : mx_add(y, mx_astype(c->bias, mx_dtype(y)));
}

/* One weight a channel and tap: y[t] = Σ_k x[t + k] w[k].  A handful of products; the general
 * convolution is slow for so thin a one. */
static mx_array depthwise(mx_array x, mx_array w)                /* [N,T,C], [C,1,K] */
{
    int size = mx_dim(w, 2), count = mx_dim(x, 1) - size + 1;
    mx_array y = MX_NONE;

    for (int k = 0; k < size; k++) {
        mx_array tap = mx_squeeze(mx_slice(w, 2, k, k + 1), 2);  /* [C,1] */
        tap = mx_reshape(tap, 1, 1, -1);
        mx_array part = mx_multiply(mx_slice(x, 1, k, k + count), tap);
        y = k == 0 ? part : mx_add(y, part);
    }
    return y;
}

mx_array nn_conv1d(const struct nn_conv *c, mx_array x, int stride, int before, int after)
{
    mx_array w = mx_astype(c->weight, mx_dtype(x));

    if (before > 0 || after > 0)
        x = mx_pad(x, 1, before, after, 0);
    if (stride == 1 && c->groups > 1 && mx_dim(w, 1) == 1 && c->groups == mx_dim(w, 0))
        return add_bias(c, depthwise(x, w));
    return add_bias(c, mx_conv1d(x, mx_swapaxes(w, 1, 2), stride, 0, 1, c->groups));
}

mx_array nn_conv2d(const struct nn_conv *c, mx_array x, int stride, int padding)
{
    mx_array w = mx_transpose(mx_astype(c->weight, mx_dtype(x)), 0, 2, 3, 1);   /* OIHW to OHWI */
    return add_bias(c, mx_conv2d(x, w, stride, padding, c->groups));
}
