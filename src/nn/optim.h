/* optim.h - AdamW (Loshchilov & Hutter 2019) with global norm clipping, as one graph.
 *
 *     g = s · grad · min(1, clip / (‖s · grad‖ + 1e-6))           as clip_grad_norm_
 *     m = β₁ m + (1 - β₁) g            v = β₂ v + (1 - β₂) g²
 *     p = p (1 - lr λ) - lr · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)
 *
 * lr is the step's rate times the parameter's own factor.  Everything is float32.  The learning
 * rate and the step are arrays, so that a compiled step is traced once.  When the loss or a
 * gradient is not finite, parameters and state stay as they were.
 */
#ifndef NN_OPTIM_H
#define NN_OPTIM_H

#include "mx/mx.h"

struct nn_adamw_config {
    double beta1, beta2, epsilon;       /* 0.9, 0.999, 1e-8 */
    double weight_decay;                /* λ, of parameters with two or more axes; 0 */
    double clip;                        /* largest global norm; 0: no clipping */
};

struct nn_adamw {
    struct nn_adamw_config config;
    int count;
    mx_array *params;                   /* the trained slots, not owned */
    mx_array *state;                    /* slots, owned: m of each parameter, then v of each */
    double *rate_factors;               /* of each parameter; lr is multiplied by it */
};

struct nn_adamw_result {
    mx_array grad_norm;                 /* before clipping, 0-d float32 */
    mx_array ok;                        /* 0-d bool: loss and all gradients were finite */
};

/* State starts at zero.  `params` and `rate_factors` (one for each; NULL: all 1) are copied; the
 * slots must outlive the optimizer. */
void nn_adamw_init(struct nn_adamw *o, struct mx_arrays params, const double *rate_factors,
                   const struct nn_adamw_config *config);
void nn_adamw_release(struct nn_adamw *o);

/* Give parameters and state their new values.  `grads` belong to `params` one by one; `scale`
 * (MX_NONE: 1) multiplies them first, say 1 / supervised tokens.  `loss`, `lr` and `step` are 0-d;
 * `step` counts from 1.  Nothing is evaluated. */
struct nn_adamw_result nn_adamw_step(struct nn_adamw *o, const mx_array *grads, mx_array scale,
                                     mx_array loss, mx_array lr, mx_array step);

/* The state's slots, in the order of nn_adamw.state: 2 · count of them. */
struct mx_arrays nn_adamw_state(const struct nn_adamw *o);

#endif
