/* loss.h - the head and cross entropy over supervised rows, in chunks.
 *
 *     logits = cap · tanh(h Wᵀ / cap)        R rows   D model   V vocabulary
 *     loss   = Σ_r w_r (logsumexp(logits_r) - logits_r[id_r])
 *
 * Each chunk waits for the one before it, so [R,V] never exists: at most one [chunk,V] does.
 * Everything after the matrix product is float32.
 *
 * The loss computes its gradient on the way forward, while a chunk's logits are there, and keeps
 * only that, [R,D] (and [V,D] when the head is trained): nothing is computed twice.
 *
 *     dlogits = w (softmax(logits) - onehot(id)) · (1 - (logits/cap)²)
 *
 * With smoothed labels (Szegedy et al. 2016, as torch's cross_entropy has them) the target is
 * (1 - s) onehot + s / V in place of onehot.
 *
 *     dh = dlogits W                      dW = dlogitsᵀ h
 */
#ifndef NN_LOSS_H
#define NN_LOSS_H

#include <stdbool.h>

#include "mx/mx.h"
#include "nn/quant.h"

struct nn_head {
    mx_array weight;                    /* [V,D]; a slot, tied or not */
    struct nn_quant quant;              /* of a quantised weight: dequantised for each chunk */
    bool trained;                       /* is it trainable (nn_linear.trained)?  A trained weight
                                           without this is an error of the binding, not silence */
    double softcap;                     /* 0: none */
    double smoothing;                   /* of labels, s; 0: none.  nn_loss_sum only */
    int chunk;                          /* rows; 0: NN_HEAD_CHUNK */
};
enum { NN_HEAD_CHUNK = 1024 };

mx_array nn_logits(const struct nn_head *h, mx_array x);        /* [...,D] -> [...,V] float32 */
/* Sum of weights · -log p(ids), 0-d float32; rows [R,D], ids [R] int32, weights [R] float32.  For
 * training: without a need for gradients, nn_logprobs does half the work. */
mx_array nn_loss_sum(const struct nn_head *h, mx_array rows, mx_array ids, mx_array weights);
/* log p(ids) of each row: [R] float32.  No gradient flows through it. */
mx_array nn_logprobs(const struct nn_head *h, mx_array rows, mx_array ids);

#endif
