/* act.h - activations, elementwise. */
#ifndef NN_ACT_H
#define NN_ACT_H

#include "mx/mx.h"

mx_array nn_gelu_approx(mx_array x);            /* x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))) */
mx_array nn_gelu(mx_array x);                   /* x Φ(x), Φ of the normal distribution */
mx_array nn_silu(mx_array x);                   /* x sigmoid(x) */
mx_array nn_relu(mx_array x);
mx_array nn_softplus(mx_array x);               /* log(1 + exp(x)), without overflow */
mx_array nn_glu(mx_array x);                    /* a sigmoid(b); a, b: halves of the last axis */
mx_array nn_softcap(mx_array x, double cap);    /* cap tanh(x / cap); cap 0: x */
mx_array nn_clamp(mx_array x, double limit);    /* to [-limit, limit], or what the dtype holds */

#endif
