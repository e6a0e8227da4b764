/* norm.h - normalisation layers. */
#ifndef NN_NORM_H
#define NN_NORM_H

#include "mx/mx.h"

struct nn_norm {
    mx_array weight;                    /* [D] */
    mx_array bias;                      /* [D], or none */
    double eps;
};

/* x / sqrt(mean(x²) + eps) · weight, over the last axis.  (Not 1 + weight.) */
mx_array nn_rms_norm(const struct nn_norm *n, mx_array x);
/* (x - mean) / sqrt(var + eps) · weight + bias, over the last axis. */
mx_array nn_layer_norm(const struct nn_norm *n, mx_array x);

#endif
