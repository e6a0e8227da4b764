/* quant.h - weights in few bits, as MLX stores them (mx.quantize, mode affine).
 *
 *     w = scale · q + bias           q of 4 or 8 bits; one scale and one bias for each group of
 *                                    32, 64 or 128 numbers of a row
 *
 * A checkpoint of mlx-lm or mlx-vlm has `name.weight` [out, in·bits/32] uint32, `name.scales` and
 * `name.biases` [out, in/group], and says `quantization: {bits, group_size}` in config.json.
 *
 * The matrix product of QLoRA (Dettmers et al. 2023): the weight is dequantised for the product and
 * again in the backward pass, so that no dense weight is kept between the two:
 *
 *     y = x Wᵀ                       dx = dy W                 no gradient for W
 */
#ifndef NN_QUANT_H
#define NN_QUANT_H

#include <stdbool.h>

#include "mx/mx.h"

struct nn_quant {
    mx_array scales, biases;            /* slots [out,in/group]; none: the weight is dense */
    int bits, group;
};

/* The dense weight [out,in] (or [experts,out,in]) in `dtype`. */
mx_array nn_dequantize(mx_array weight, const struct nn_quant *q, enum mx_dtype dtype);

/* x Wᵀ as above; x [...,in] -> [...,out].  `weight` is a slot. */
mx_array nn_quant_matmul(mx_array x, mx_array weight, const struct nn_quant *q);

/* Does the device multiply x by a quantised weight without dequantising it as a whole, and no
 * slower?  GPUs do with few rows, and the CPU does it a few rows of the weight at a time. */
bool nn_quant_is_direct(bool few_rows, mx_array x, const struct nn_quant *q);

#endif
