/* optim.c - AdamW with global norm clipping and a guard against non-finite steps. */
#include "nn/optim.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void nn_adamw_init(struct nn_adamw *o, struct mx_arrays params, const double *rate_factors,
                   const struct nn_adamw_config *config)
{
    size_t n = (size_t)params.n;

    *o = (struct nn_adamw){.config = *config, .count = params.n};
    o->params = xcalloc(n + 1, sizeof *o->params);
    o->state = xcalloc(2 * n + 1, sizeof *o->state);
    o->rate_factors = xcalloc(n + 1, sizeof *o->rate_factors);
    for (size_t i = 0; i < n; i++) {
        int shape[MX_DIMS_MAX], dims = mx_ndim(params.at[i]);
        for (int d = 0; d < dims; d++)
            shape[d] = mx_dim(params.at[i], d);
        o->params[i] = params.at[i];
        o->rate_factors[i] = rate_factors ? rate_factors[i] : 1;
        o->state[i] = mx_slot(mx_zeros_(MX_FLOAT32, shape, dims));
        o->state[n + i] = mx_slot(mx_zeros_(MX_FLOAT32, shape, dims));
    }
}

void nn_adamw_release(struct nn_adamw *o)
{
    for (int i = 0; i < 2 * o->count; i++)
        mx_slot_free(o->state[i]);
    free(o->params);
    free(o->state);
    free(o->rate_factors);
    *o = (struct nn_adamw){0};
}

struct mx_arrays nn_adamw_state(const struct nn_adamw *o)
{
    return (struct mx_arrays){o->state, 2 * o->count};
}

/* 1 - βᵗ.  Written with tanh, which is exact near zero: 1 - exp(t ln β) would lose, for β = 0.999
 * and t = 1, three of seven digits.  exp(-y) = (1 - T) / (1 + T) with T = tanh(y/2). */
static mx_array bias_correction(double beta, mx_array step)
{
    if (beta <= 0)
        return mx_float(1);
    mx_array t = mx_tanh(mx_scale(step, -log(beta) / 2));
    return mx_divide(mx_scale(t, 2), mx_shift(t, 1));
}

static mx_array norm(const mx_array *grads, int n)
{
    mx_array sum = mx_float(0);
    for (int i = 0; i < n; i++)
        sum = mx_add(sum, mx_sum_all(mx_square(mx_astype(grads[i], MX_FLOAT32))));
    return mx_sqrt(sum);
}

/* What the parameters of one step share. */
struct step {
    mx_array factor;                    /* of gradients: scale and clipping */
    mx_array lr;
    mx_array bias1, bias2_root;
    mx_array ok;
};

static void update(struct nn_adamw *o, int i, mx_array grad, const struct step *s)
{
    const struct nn_adamw_config *c = &o->config;
    mx_array *m_slot = &o->state[i], *v_slot = &o->state[o->count + i];
    mx_array old = mx_astype(o->params[i], MX_FLOAT32), p = old, m = *m_slot, v = *v_slot;

    mx_array g = mx_multiply(mx_astype(grad, MX_FLOAT32), s->factor);
    m = mx_add(m, mx_scale(mx_subtract(g, m), 1 - c->beta1));
    v = mx_add(mx_scale(v, c->beta2), mx_scale(mx_square(g), 1 - c->beta2));
    mx_array root = mx_shift(mx_divide(mx_sqrt(v), s->bias2_root), c->epsilon);
    mx_array lr = o->rate_factors[i] == 1 ? s->lr : mx_scale(s->lr, o->rate_factors[i]);
    if (c->weight_decay > 0 && mx_ndim(p) >= 2)
        p = mx_multiply(p, mx_shift(mx_scale(lr, -c->weight_decay), 1));
    p = mx_subtract(p, mx_multiply(mx_divide(lr, s->bias1), mx_divide(m, root)));

    mx_set(o->params[i], mx_astype(mx_where(s->ok, p, old), mx_dtype(o->params[i])));
    mx_set(*m_slot, mx_where(s->ok, m, *m_slot));
    mx_set(*v_slot, mx_where(s->ok, v, *v_slot));
}

struct nn_adamw_result nn_adamw_step(struct nn_adamw *o, const mx_array *grads, mx_array scale,
                                     mx_array loss, mx_array lr, mx_array step)
{
    struct nn_adamw_result r;
    mx_array t = mx_astype(step, MX_FLOAT32);
    struct step s = {.factor = mx_float(1), .lr = mx_astype(lr, MX_FLOAT32)};

    r.grad_norm = norm(grads, o->count);
    if (!mx_is_none(scale)) {
        s.factor = mx_astype(scale, MX_FLOAT32);
        r.grad_norm = mx_multiply(r.grad_norm, mx_abs(s.factor));
    }
    r.ok = mx_logical_and(mx_isfinite(loss), mx_isfinite(r.grad_norm));
    if (o->config.clip > 0) {
        mx_array room = mx_divide(mx_float(o->config.clip), mx_shift(r.grad_norm, 1e-6));
        s.factor = mx_multiply(s.factor, mx_minimum(room, mx_float(1)));
    }
    s.bias1 = bias_correction(o->config.beta1, t);
    s.bias2_root = mx_sqrt(bias_correction(o->config.beta2, t));
    s.ok = r.ok;
    for (int i = 0; i < o->count; i++)
        update(o, i, grads[i], &s);
    return r;
}
