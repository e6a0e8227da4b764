/* conv.c - convolutions over channels-last arrays with weights as PyTorch stores them. */
#include "nn/conv.h"

enum { TAPS_MAX = 16 };

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

/* All taps of an output side by side, and one product: MLX has its quick way on a processor for the
 * convolution itself, but a slow one for both of its gradients. */
static mx_array unfolded(mx_array x, mx_array w, int stride)     /* [N,T,I], [O,I,K] */
{
    mx_array taps[TAPS_MAX];
    int N = mx_dim(x, 0), I = mx_dim(x, 2), O = mx_dim(w, 0), K = mx_dim(w, 2);
    int count = (mx_dim(x, 1) - K) / stride + 1;

    for (int k = 0; k < K; k++)
        taps[k] = mx_slice_step(x, 1, k, k + stride * (count - 1) + 1, stride);
    mx_array rows = mx_reshape(mx_concatenate(taps, K, 2), N * count, K * I);
    w = mx_reshape(mx_swapaxes(w, 1, 2), O, K * I);
    return mx_reshape(mx_matmul(rows, mx_swapaxes(w, 0, 1)), N, count, O);
}

mx_array nn_conv1d(const struct nn_conv *c, mx_array x, int stride, int before, int after)
{
    mx_array w = mx_astype(c->weight, mx_dtype(x));

    if (before > 0 || after > 0)
        x = mx_pad(x, 1, before, after, 0);
    if (stride == 1 && c->groups > 1 && mx_dim(w, 1) == 1 && c->groups == mx_dim(w, 0))
        return add_bias(c, depthwise(x, w));
    if (mx_device() == MX_CPU && c->groups == 1 && mx_dim(w, 2) <= TAPS_MAX)
        return add_bias(c, unfolded(x, w, stride));
    return add_bias(c, mx_conv1d(x, mx_swapaxes(w, 1, 2), stride, 0, 1, c->groups));
}

mx_array nn_conv2d(const struct nn_conv *c, mx_array x, int stride, int padding)
{
    mx_array w = mx_transpose(mx_astype(c->weight, mx_dtype(x)), 0, 2, 3, 1);   /* OIHW to OHWI */
    return add_bias(c, mx_conv2d(x, w, stride, padding, c->groups));
}
