/* dropout.h - dropout: each number is zeroed with a probability, and the others are scaled up.
 *
 * What is dropped is a function of the key and the site alone: each place in a model that drops has
 * a site of its own, and a forward pass that is computed again (checkpoints) drops the same.
 */
#ifndef NN_DROPOUT_H
#define NN_DROPOUT_H

#include <stdint.h>

#include "mx/mx.h"

/* Dropout of adapters.  `key` is derived from seed, step and micro-step by the trainer (see
 * nn_dropout_key); each layer folds its own site into it.  No key: no dropout. */
struct nn_dropout {
    mx_array key;
    double rate;
};

/* x with the numbers of this site dropped; x itself without key or at rate 0. */
mx_array nn_dropout(mx_array x, mx_array key, uint32_t site, double rate);

#endif
