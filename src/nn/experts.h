/* experts.h - a mixture of experts: each token passes through the few that its router chose.
 *
 *     y_t = Σ_k p_tk · W_down[e_tk] (gelu(W_gate[e_tk] x_t) ⊙ W_up[e_tk] x_t)
 *
 * Tokens are sorted by expert once, so that each expert's are one matrix product; the backward pass
 * gathers by the same order and never scatters.  Weights that are quantised are dequantised for the
 * product and again in the backward pass (nn/quant.h).
 *
 *     N tokens   K experts a token   X experts   D model   F inner   M = N·K rows
 */
#ifndef NN_EXPERTS_H
#define NN_EXPERTS_H

#include "mx/mx.h"
#include "nn/quant.h"

struct nn_experts {
    mx_array gate_up;                   /* slot [X,2F,D]: the gate's rows first */
    mx_array down;                      /* slot [X,D,F] */
    struct nn_quant gate_up_quant, down_quant;
    int count, in, inner;               /* X, D, F */
};

/* x [N,D], expert [N,K] of whole numbers below X, weight [N,K] of any float dtype -> [N,D] in x's
 * dtype.  Gradients flow to x, to `weight` and to weights that are trained. */
mx_array nn_experts(const struct nn_experts *m, mx_array x, mx_array expert, mx_array weight);

#endif
