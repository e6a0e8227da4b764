/* linear.h - linear layers that know their adapter, and embeddings.
 *
 *     y = x Wᵀ + b + s · (dropout(x) Aᵀ) Bᵀ                W [out,in]   A [r,in]   B [out,r]
 *
 * With a magnitude m [out] (DoRA, Liu et al. 2024) the rows of V = W + s B A are as long as m says:
 *
 *     y = x Wᵀ + b + (c - 1) ⊙ d Wᵀ + c ⊙ s · (d Aᵀ) Bᵀ        d = dropout(x)   c = m / ‖V‖
 *
 * as PEFT computes it: ‖V‖ counts as a constant, and without dropout this is c ⊙ x Vᵀ + b.
 *
 * The adapter (LoRA, Hu et al. 2021) is there after nn_lora_attach; models never mention it.  The
 * weight may be quantised (nn/quant.h).
 * Weights of another dtype than x are cast in the graph, so that A, B and, in full fine-tuning, W
 * can be float32 masters under bfloat16 activations.
 */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "mx/mx.h"
#include "nn/dropout.h"
#include "nn/quant.h"

struct nn_table;

struct nn_lora {
    mx_array a, b;                      /* slots, float32: [r,in], [out,r] */
    mx_array magnitude;                 /* slot [out] float32 of DoRA, or none */
    mx_array squares;                   /* of DoRA: slot [out], the sum of squares of W's rows */
    int rank;                           /* 0: no adapter */
    double scale;                       /* alpha / r, or alpha / sqrt(r) (rsLoRA) */
    uint32_t site;                      /* of dropout: from the module's name */
    const struct nn_dropout *dropout;
};

struct nn_linear {
    mx_array weight;                    /* [out,in]; quantised: [out,in·bits/32] uint32 */
    struct nn_quant quant;              /* none: bits is 0 */
    mx_array bias;                      /* [out], or none */
    int in, out;
    enum mx_dtype dtype;                /* of activations: what nn_embedding returns */
    bool trained;                       /* is the weight trainable?  Kept by nn_params_sort. */
    struct nn_lora lora;
    const struct nn_table *table;       /* rows that the host can gather (nn/table.h), or NULL */
};

/* A linear layer between two clamps (the bounds are numbers of the checkpoint, or none). */
struct nn_clip_linear {
    struct nn_linear linear;
    mx_array input_min, input_max, output_min, output_max;
};

/* [out,in], dequantised where need be, without adapter. */
mx_array nn_linear_weight(const struct nn_linear *l, enum mx_dtype dtype);
/* [out,in] with the adapter in it: W + s B A, with a magnitude m / ‖V‖ ⊙ V.  No gradient. */
mx_array nn_linear_merged(const struct nn_linear *l, enum mx_dtype dtype);
/* The sum of squares of each row of W [out], float32. */
mx_array nn_linear_squares(const struct nn_linear *l);
mx_array nn_linear(const struct nn_linear *l, mx_array x);              /* [...,in] -> [...,out] */
mx_array nn_clip_linear(const struct nn_clip_linear *l, mx_array x);    /* [...,in] -> [...,out] */
mx_array nn_embedding(const struct nn_linear *l, mx_array ids);         /* [...] -> [...,in] */

#endif
