/* quant.c - products with weights in few bits. */
#include "nn/quant.h"

#include <stddef.h>

/* From so many rows on, GPUs multiply faster by a weight that is dequantised first. */
enum { FEW_ROWS = 32 };

mx_array nn_dequantize(mx_array weight, const struct nn_quant *q, enum mx_dtype dtype)
{
    return mx_dequantize(weight, mx_astype(q->scales, dtype), mx_astype(q->biases, dtype), q->group,
                         q->bits, dtype);
}

bool nn_quant_is_direct(bool few_rows, mx_array x, const struct nn_quant *q)
{
    if (mx_device() == MX_GPU)
        return few_rows;
    return mx_dtype(x) == MX_FLOAT32 && (q->bits == 4 || q->bits == 8);
}

/* What the product's function and its backward pass need besides x. */
struct product {
    mx_array weight;
    struct nn_quant quant;
    bool as_is;                         /* multiply by the quantised weight */
};

static mx_array by_quantised(mx_array x, const struct product *p, bool transpose)
{
    enum mx_dtype d = mx_dtype(x);
    return mx_quantized_matmul(x, p->weight, mx_astype(p->quant.scales, d),
                               mx_astype(p->quant.biases, d), transpose, p->quant.group,
                               p->quant.bits);
}

static void forward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct product *p = arg;

    (void)n_in, (void)n_out;
    if (p->as_is) {
        out[0] = by_quantised(in[0], p, true);
    } else {
        mx_array w = nn_dequantize(p->weight, &p->quant, mx_dtype(in[0]));
        out[0] = mx_matmul(in[0], mx_swapaxes(w, 0, 1));
    }
}

/* in: x, y, dy.  On GPUs the weight is dequantised whatever the rows: not all of them multiply by a
 * quantised one that is not transposed.  It is made to depend on dy: mx_compile would take the two
 * dequantised weights for one otherwise, and keep it from the forward pass to this one. */
static void backward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct product p = *(const struct product *)arg;

    (void)n_in, (void)n_out;
    if (p.as_is && mx_device() == MX_CPU) {
        out[0] = by_quantised(in[2], &p, false);
    } else {
        mx_array later = mx_depends(p.weight, in[2]);
        mx_array w = nn_dequantize(later, &p.quant, mx_dtype(in[2]));
        out[0] = mx_matmul(in[2], w);
    }
}

mx_array nn_quant_matmul(mx_array x, mx_array weight, const struct nn_quant *q)
{
    size_t last = (size_t)mx_dim(x, -1), rows = mx_size(x) / (last ? last : 1);
    struct product p = {weight, *q, nn_quant_is_direct(rows < FEW_ROWS, x, q)};
    mx_array y;

    mx_custom_vjp(forward, backward, &p, sizeof p, (struct mx_arrays){&x, 1}, &y, 1);
    return y;
}
