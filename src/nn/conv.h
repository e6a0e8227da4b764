/* conv.h - convolutions over channels-last arrays with weights as PyTorch stores them. */
#ifndef NN_CONV_H
#define NN_CONV_H

#include "mx/mx.h"

struct nn_conv {
    mx_array weight;                    /* [O,I/groups,K] or [O,I/groups,H,W] */
    mx_array bias;                      /* [O], or none */
    int groups;                         /* 1 after binding; set by the model */
};

/* x [N,T,I] -> [N,T',O]; `before` and `after` zeros are put around T, so a causal convolution of
 * stride 1 has before = K - 1 and after = 0. */
mx_array nn_conv1d(const struct nn_conv *c, mx_array x, int stride, int before, int after);
/* x [N,H,W,I] -> [N,H',W',O], the same stride and padding on both axes. */
mx_array nn_conv2d(const struct nn_conv *c, mx_array x, int stride, int padding);

#endif
