/* experts.c - a mixture of experts on tokens sorted by expert. */
#include "nn/experts.h"

#include <stddef.h>

/* Up to so many rows, GPUs multiply by quantised matrices as they are. */
enum { FEW_ROWS = 64 };

/* ---------------------------------------------------------------- sorting -- */

/* in: x [N,D], token of each sorted row [M], place of each row among the sorted [M]. */
static void spread_forward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)arg, (void)n_in, (void)n_out;
    out[0] = mx_take(in[0], in[1], 0);
}

/* A token's gradient is the sum of its rows'. */
static void spread_backward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    int N = mx_dim(in[0], 0), D = mx_dim(in[0], 1), M = mx_dim(in[1], 0);
    mx_array rows = mx_take(in[4], in[2], 0);

    (void)arg, (void)n_in;
    out[0] = mx_sum(mx_reshape(rows, N, N > 0 ? M / N : 0, D), 1, false);
    for (int i = 1; i < n_out; i++)
        out[i] = MX_NONE;
}

/* in: rows [M,D], a permutation of them, its inverse. */
static void permute_forward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)arg, (void)n_in, (void)n_out;
    out[0] = mx_take(in[0], in[1], 0);
}

static void permute_backward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)arg, (void)n_in;
    out[0] = mx_take(in[4], in[2], 0);
    for (int i = 1; i < n_out; i++)
        out[i] = MX_NONE;
}

static mx_array gathered(mx_fn forward, mx_fn backward, mx_array x, mx_array to, mx_array from)
{
    mx_array in[] = {x, to, from}, y;
    mx_custom_vjp(forward, backward, NULL, 0, (struct mx_arrays){in, 3}, &y, 1);
    return y;
}

/* --------------------------------------------------------------- products -- */

/* The frozen weight of a product, when it is quantised, and the number of experts. */
struct product {
    mx_array weight;
    struct nn_quant quant;
    int count;
    bool direct;                        /* by the quantised matrices as they are */
};

/* rows [M,in] times the matrices [X,in,out] that `ids` [M], in order, choose: [M,out].  MLX's CPU
 * does that in float32 only. */
static mx_array chosen(mx_array rows, mx_array matrices, mx_array ids)
{
    enum mx_dtype d = mx_dtype(rows);
    if (mx_device() == MX_CPU) {
        rows = mx_astype(rows, MX_FLOAT32);
        matrices = mx_astype(matrices, MX_FLOAT32);
    }
    mx_array y = mx_gather_mm(mx_expand_dims(rows, 1), matrices, MX_NONE, ids, true);
    return mx_astype(mx_squeeze(y, 1), d);
}

/* The weight [X,out,in] in the dtype of `rows`; in[2] when it is dense. */
static mx_array weight_of(const struct product *p, const mx_array *in, mx_array rows)
{
    enum mx_dtype d = mx_dtype(rows);
    return p->quant.bits ? nn_dequantize(p->weight, &p->quant, d) : mx_astype(in[2], d);
}

/* The same by quantised matrices [X,out,in], transposed or not. */
static mx_array chosen_direct(const struct product *p, mx_array rows, mx_array ids, bool transpose)
{
    const struct nn_quant *q = &p->quant;
    enum mx_dtype d = mx_dtype(rows);
    mx_array y =
        mx_gather_qmm(mx_expand_dims(rows, 1), p->weight, mx_astype(q->scales, d),
                      mx_astype(q->biases, d), MX_NONE, ids, transpose, q->group, q->bits, true);
    return mx_squeeze(y, 1);
}

/* in: rows [M,in], ids [M], and the dense weight [X,out,in]. */
static void product_forward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct product *p = arg;

    (void)n_in, (void)n_out;
    if (p->direct)
        out[0] = chosen_direct(p, in[0], in[1], true);
    else
        out[0] = chosen(in[0], mx_swapaxes(weight_of(p, in, in[0]), 1, 2), in[1]);
}

/* dW of each expert is a product over its own rows: [X,2] says from which to which. */
static mx_array segments(mx_array ids, int count)
{
    mx_array expert = mx_arange(0, count, 1, MX_INT32);                         /* [X] */
    mx_array is_before =
        mx_less(mx_expand_dims(mx_astype(ids, MX_INT32), 0), mx_expand_dims(expert, 1)); /* [X,M] */
    mx_array first = mx_sum(mx_astype(is_before, MX_INT32), 1, false);
    mx_array end = mx_full(mx_dim(ids, 0), MX_INT32, 1);
    mx_array both[] = {mx_slice(first, 0, 1, count), end};
    mx_array pair[] = {first, mx_concatenate(both, 2, 0)};
    return mx_astype(mx_stack(pair, 2, 1), MX_UINT32);
}

/* in: product_forward's inputs, y, dy.  As in quant.c, the dequantised weight is another one than
 * the forward pass's. */
static void product_backward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct product p = *(const struct product *)arg;
    mx_array dy = in[n_in - 1];

    if (p.quant.bits)
        p.weight = mx_depends(p.weight, dy);
    out[0] = p.direct && mx_device() == MX_CPU ? chosen_direct(&p, dy, in[1], false)
                                               : chosen(dy, weight_of(&p, in, dy), in[1]);
    out[1] = MX_NONE;
    if (n_out < 3)
        return;
    mx_array dw = mx_segmented_mm(mx_swapaxes(dy, 0, 1), in[0], segments(in[1], p.count));
    out[2] = mx_astype(dw, mx_dtype(in[2]));
}

static mx_array product(const struct nn_experts *m, mx_array weight, const struct nn_quant *q,
                        mx_array rows, mx_array ids)
{
    bool direct = q->bits > 0 && nn_quant_is_direct(mx_dim(rows, 0) <= FEW_ROWS, rows, q);
    struct product p = {weight, *q, m->count, direct};
    mx_array in[] = {rows, ids, weight}, y;

    mx_custom_vjp(product_forward, product_backward, &p, sizeof p,
                  (struct mx_arrays){in, q->bits ? 2 : 3}, &y, 1);
    return y;
}

/* ---------------------------------------------------------------- experts -- */

mx_array nn_experts(const struct nn_experts *m, mx_array x, mx_array expert, mx_array weight)
{
    int N = mx_dim(x, 0), K = mx_dim(expert, 1), D = m->in, F = m->inner;

    mx_array flat = mx_stop_gradient(mx_astype(mx_reshape(expert, N * K), MX_INT32));
    mx_array order = mx_argsort(flat, 0);                                       /* [M] */
    mx_array place = mx_argsort(order, 0);
    mx_array ids = mx_astype(mx_take(flat, order, 0), MX_UINT32);
    mx_array token = mx_floor_divide(order, mx_full(K, MX_UINT32, 1));

    mx_array rows = gathered(spread_forward, spread_backward, x, token, place); /* [M,D] */
    mx_array both = product(m, m->gate_up, &m->gate_up_quant, rows, ids);       /* [M,2F] */
    mx_array gate = mx_gelu_approx(mx_slice(both, 1, 0, F));
    mx_array inner = mx_multiply(gate, mx_slice(both, 1, F, 2 * F));
    mx_array y = product(m, m->down, &m->down_quant, inner, ids);               /* [M,D] */
    y = gathered(permute_forward, permute_backward, y, place, order);
    y = mx_multiply(mx_reshape(y, N, K, D), mx_expand_dims(weight, 2));
    return mx_astype(mx_sum(y, 1, false), mx_dtype(x));
}
