/* net.h - the toy network of tests/data/nn/net and adapter: two blocks x + o(tanh(q(x))). */
#ifndef NET_H
#define NET_H

#include "nn_testing.h"

#include "nn/bind.h"
#include "nn/lora.h"

struct net {
    struct nn_params params;
    struct {
        struct nn_linear q_proj, o_proj;
    } layers[2];
};

/* Bind with dimensions `in` -> `mid`; 6 and 8 are right for the shipped file.  `bits`: quantised in
 * groups of 32. */
static inline int net_bind_in(struct net *n, struct safetensors *source, int in, int mid, int bits,
                              struct err *e)
{
    struct nn_binder b;
    nn_binder_init(&b, &n->params, source, MX_FLOAT32);
    b.seed = 5;
    b.quantize_bits = bits;
    b.quantize_group = 32;
    nn_root(&b, "model.");
    for (int i = 0; i < 2; i++) {
        nn_under(&b, "layers.%d.", i);
        nn_bind_linear(&b, "q_proj", &n->layers[i].q_proj, in, mid);
        nn_bind_linear_bias(&b, "o_proj", &n->layers[i].o_proj, mid, in);
    }
    return nn_bind_end(&b, e);
}

static inline int net_bind(struct net *n, struct safetensors *source, int in, int mid,
                           struct err *e)
{
    return net_bind_in(n, source, in, mid, 0, e);
}

static inline void net_open_from(struct net *n, const char *dir, int in, int mid, int bits)
{
    struct err e = {0};
    struct safetensors *s = safetensors_open(dir, &e);
    assert_ok(e);
    *n = (struct net){0};
    if (net_bind_in(n, s, in, mid, bits, &e))
        fail_msg("%s", e.text);
    safetensors_close(s);
}

static inline void net_open(struct net *n)
{
    net_open_from(n, NN_DATA "net", 6, 8, 0);
}

static inline void net_close(struct net *n)
{
    nn_params_release(&n->params);
}

static inline mx_array net_forward(const struct net *n, mx_array x)
{
    for (int i = 0; i < 2; i++) {
        mx_array y = mx_tanh(nn_linear(&n->layers[i].q_proj, x));
        x = mx_add(x, nn_linear(&n->layers[i].o_proj, y));
    }
    return x;
}

static inline void net_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)n_in;
    (void)n_out;
    out[0] = mx_sum_all(mx_square(net_forward(arg, in[0])));
}

#endif
