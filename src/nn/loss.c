/* loss.c - the head and cross entropy over supervised rows, in chunks, with its own gradient. */
#include "nn/loss.h"

#include <stdlib.h>

#include "base/mem.h"
#include "nn/act.h"

static mx_array capped(const struct nn_head *h, mx_array z)
{
    return nn_softcap(mx_astype(z, MX_FLOAT32), h->softcap);
}

/* The weight [V,D] in x's dtype.  A quantised one is made for x, and not before. */
static mx_array weight_for(const struct nn_head *h, mx_array x)
{
    if (h->quant.bits == 0)
        return mx_astype(h->weight, mx_dtype(x));
    return nn_dequantize(mx_depends(h->weight, x), &h->quant, mx_dtype(x));
}

mx_array nn_logits(const struct nn_head *h, mx_array x)
{
    if (h->quant.bits > 0)
        return capped(h, nn_quant_matmul(x, h->weight, &h->quant));
    return capped(h, mx_matmul(x, mx_swapaxes(weight_for(h, x), 0, 1)));        /* [...,V] */
}

static mx_array pick(mx_array x, mx_array ids)                   /* [R,V], [R] -> [R,1] */
{
    return mx_take_along_axis(x, mx_expand_dims(ids, 1), 1);
}

static int chunk_rows(const struct nn_head *h)
{
    return h->chunk > 0 ? h->chunk : NN_HEAD_CHUNK;
}

/* ------------------------------------------------------------------- loss -- */

/* What one chunk of rows adds: loss, and the gradients by its rows and by the weight. */
struct part {
    mx_array loss, rows, weight;
};

/* Σ target · l over a row: `at_id` [R,1] is l of the id itself. */
static mx_array aim(const struct nn_head *h, mx_array l, mx_array at_id)
{
    if (h->smoothing == 0)
        return at_id;
    mx_array mean = mx_scale(mx_mean(l, 1, true), h->smoothing);
    return mx_add(mx_scale(at_id, 1 - h->smoothing), mean);                     /* [R,1] */
}

static struct part chunk(const struct nn_head *h, mx_array x, mx_array ids, mx_array weights)
{
    struct part p;

    mx_array matrix = weight_for(h, x);                                         /* [V,D] */
    mx_array l = capped(h, mx_matmul(x, mx_swapaxes(matrix, 0, 1)));            /* [R,V] */
    mx_array lse = mx_logsumexp(l, 1, true);                                    /* [R,1] */
    mx_array w = mx_expand_dims(weights, 1);
    p.loss = mx_sum_all(mx_multiply(w, mx_subtract(lse, aim(h, l, pick(l, ids)))));

    mx_array d = mx_exp(mx_subtract(l, lse));                    /* softmax */
    mx_array at_id = mx_shift(pick(d, ids), h->smoothing - 1);
    d = mx_put_along_axis(d, mx_expand_dims(ids, 1), at_id, 1);
    if (h->smoothing != 0)
        d = mx_shift(d, -h->smoothing / mx_dim(l, 1));
    d = mx_multiply(d, w);
    if (h->softcap != 0) {
        mx_array t = mx_scale(l, 1 / h->softcap);
        d = mx_multiply(d, mx_shift(mx_negative(mx_square(t)), 1));
    }
    d = mx_astype(d, mx_dtype(x));
    p.rows = mx_matmul(d, matrix);                                              /* [R,D] */
    p.weight = MX_NONE;
    if (h->trained)
        p.weight = mx_astype(mx_matmul(mx_swapaxes(d, 0, 1), x), MX_FLOAT32);   /* [V,D] */
    return p;
}

/* in: rows, ids, weights, and the head's weight when it is trained.
 * out: loss, gradient by rows, gradient by weight when it is trained. */
static void forward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct nn_head h = *(const struct nn_head *)arg;
    int R = mx_dim(in[0], 0), step = chunk_rows(&h), count = (R + step - 1) / step;
    mx_array *grads = xcalloc((size_t)count + 1, sizeof *grads);
    struct part total = {.loss = mx_float(0)};

    if (h.trained)
        h.weight = in[n_in - 1];
    for (int i = 0; i < count; i++) {
        int first = i * step, last = R - first > step ? first + step : R;
        mx_array x = mx_slice(in[0], 0, first, last);
        if (i > 0) {
            /* On all results: one that were left for later would keep its chunk's logits. */
            x = mx_depends(x, total.loss);
            x = mx_depends(x, grads[i - 1]);
            x = h.trained ? mx_depends(x, total.weight) : x;
        }
        struct part p =
            chunk(&h, x, mx_slice(in[1], 0, first, last), mx_slice(in[2], 0, first, last));
        total.loss = mx_add(total.loss, p.loss);
        grads[i] = p.rows;
        if (h.trained)
            total.weight = i == 0 ? p.weight : mx_add(total.weight, p.weight);
    }
    out[0] = total.loss;
    out[1] = mx_concatenate(grads, count, 0);
    if (n_out > 2)
        out[2] = total.weight;
    free(grads);
}

/* in: forward's inputs, its outputs, and the cotangents of these; only that of the loss counts. */
static void backward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct nn_head *h = arg;
    int outputs = h->trained ? 3 : 2;
    mx_array dloss = in[n_in - outputs];

    for (int i = 0; i < n_out; i++)
        out[i] = MX_NONE;
    out[0] = mx_multiply(in[n_out + 1], mx_astype(dloss, mx_dtype(in[0])));
    if (h->trained)
        out[3] = mx_astype(mx_multiply(in[n_out + 2], dloss), mx_dtype(in[3]));
}

mx_array nn_loss_sum(const struct nn_head *h, mx_array rows, mx_array ids, mx_array weights)
{
    mx_array in[] = {rows, ids, weights, h->weight}, out[3];

    if (mx_dim(rows, 0) == 0)
        return mx_float(0);
    mx_custom_vjp(forward, backward, h, sizeof *h, (struct mx_arrays){in, h->trained ? 4 : 3}, out,
                  h->trained ? 3 : 2);
    return out[0];
}

/* ---------------------------------------------------------------- scoring -- */

mx_array nn_logprobs(const struct nn_head *h, mx_array rows, mx_array ids)
{
    int R = mx_dim(rows, 0), step = chunk_rows(h), count = (R + step - 1) / step;
    mx_array *parts = xcalloc((size_t)count + 1, sizeof *parts);

    rows = mx_stop_gradient(rows);
    for (int i = 0; i < count; i++) {
        int first = i * step, last = R - first > step ? first + step : R;
        mx_array x = mx_slice(rows, 0, first, last);
        if (i > 0)
            x = mx_depends(x, parts[i - 1]);
        mx_array l = nn_logits(h, x);
        mx_array p = pick(l, mx_slice(ids, 0, first, last));
        parts[i] = mx_squeeze(mx_subtract(p, mx_logsumexp(l, 1, true)), 1);
    }
    mx_array all = count > 0 ? mx_concatenate(parts, count, 0) : mx_zeros(MX_FLOAT32, 0);
    free(parts);
    return all;
}
