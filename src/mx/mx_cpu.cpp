/* mx_cpu.cpp - operators of MLX's graph that run our own loops on a processor. */
#include "mx/mx_cpu.hpp"

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include <mlx/backend/cpu/encoder.h>
#include <mlx/primitives.h>

extern "C" {
#include "mx/fastmath.h"
}

namespace mxb
{

namespace core = mlx::core;
using arrays = std::vector<core::array>;

namespace
{

enum class kind {
    exp,
    tanh,
    sigmoid,
    silu,
    gelu_approx,
    gelu,
    softmax,
    rms_norm,
    layer_norm,
    silu_grad,
    gelu_approx_grad,
    gelu_grad,
    softmax_grad,
    rms_norm_grad,
    layer_norm_grad,
};

/* What one loop works on: n numbers, in rows of `last`.  Norms have their weight second, or none,
 * and gradients have the cotangent last. */
struct work {
    kind what;
    float *out;
    const float *a, *b, *c;
    size_t n, last;
    float eps;
};

void compute(const work &w)
{
    size_t rows = w.n / w.last;
    const float *weight = w.c ? w.b : nullptr, *dy = w.c ? w.c : w.b;
    switch (w.what) {
    case kind::exp: return fastmath_exp(w.out, w.a, w.n);
    case kind::tanh: return fastmath_tanh(w.out, w.a, w.n);
    case kind::sigmoid: return fastmath_sigmoid(w.out, w.a, w.n);
    case kind::silu: return fastmath_silu(w.out, w.a, w.n);
    case kind::gelu_approx: return fastmath_gelu_approx(w.out, w.a, w.n);
    case kind::gelu: return fastmath_gelu(w.out, w.a, w.n);
    case kind::softmax: return fastmath_softmax(w.out, w.a, rows, w.last);
    case kind::rms_norm: return fastmath_rms_norm(w.out, w.a, w.b, w.eps, rows, w.last);
    case kind::layer_norm: return fastmath_layer_norm(w.out, w.a, w.b, w.eps, rows, w.last);
    case kind::silu_grad: return fastmath_silu_grad(w.out, w.a, dy, w.n);
    case kind::gelu_approx_grad: return fastmath_gelu_approx_grad(w.out, w.a, dy, w.n);
    case kind::gelu_grad: return fastmath_gelu_grad(w.out, w.a, dy, w.n);
    case kind::softmax_grad: return fastmath_softmax_grad(w.out, w.a, dy, rows, w.last);
    case kind::rms_norm_grad:
        return fastmath_rms_norm_grad(w.out, w.a, weight, dy, w.eps, rows, w.last);
    case kind::layer_norm_grad:
        return fastmath_layer_norm_grad(w.out, w.a, weight, dy, w.eps, rows, w.last);
    }
}

core::array make(kind k, arrays inputs, float eps = 0);

/* One number of the output from the numbers in its place, or one row from the rows. */
class loop : public core::UnaryPrimitive
{
  public:
    loop(core::Stream s, kind k, float eps) : UnaryPrimitive(s), kind_(k), eps_(eps)
    {
    }

    void eval_cpu(const arrays &in, core::array &out) override;

    void eval_gpu(const arrays &, core::array &) override
    {
        throw std::runtime_error("an operator of the CPU was put on a GPU");
    }

    arrays vjp(const arrays &primals, const arrays &cotangents, const std::vector<int> &argnums,
               const arrays &outputs) override;

    bool is_equivalent(const core::Primitive &other) const override
    {
        const loop &o = static_cast<const loop &>(other);
        return o.kind_ == kind_ && o.eps_ == eps_;
    }

    const char *name() const override
    {
        return "Fast";
    }

  private:
    core::array by_first(const arrays &in, const core::array &y, const core::array &dy) const;
    core::array by_weight(const core::array &x, const core::array &dy) const;

    kind kind_;
    float eps_;
};

void loop::eval_cpu(const arrays &in, core::array &out)
{
    bool reused = false;
    for (const core::array &x : in) {
        if (!reused && x.is_donatable() && x.nbytes() == out.nbytes()) {
            out.copy_shared_buffer(x);
            reused = true;
        }
    }
    if (!reused)
        out.set_data(core::allocator::malloc(out.nbytes()));
    core::cpu::CommandEncoder &encoder = core::cpu::get_command_encoder(stream());
    for (const core::array &x : in)
        encoder.set_input_array(x);
    encoder.set_output_array(out);
    const float *at[3] = {nullptr, nullptr, nullptr};
    for (size_t i = 0; i < in.size(); i++)
        at[i] = in[i].data<float>();
    work w = {kind_,
              out.data<float>(),
              at[0],
              at[1],
              at[2],
              out.size(),
              static_cast<size_t>(out.shape(-1)),
              eps_};
    encoder.dispatch([w] { compute(w); });
}

arrays loop::vjp(const arrays &primals, const arrays &cotangents, const std::vector<int> &argnums,
                 const arrays &outputs)
{
    arrays result;
    for (int i : argnums)
        result.push_back(i == 0 ? by_first(primals, outputs[0], cotangents[0])
                                : by_weight(primals[0], cotangents[0]));
    return result;
}

core::array loop::by_first(const arrays &in, const core::array &y, const core::array &dy) const
{
    core::array one(1.0f);
    arrays with = in;
    with.push_back(dy);
    switch (kind_) {
    case kind::exp: return core::multiply(dy, y);
    case kind::tanh: return core::multiply(dy, core::subtract(one, core::square(y)));
    case kind::sigmoid: return core::multiply(dy, core::multiply(y, core::subtract(one, y)));
    case kind::silu: return make(kind::silu_grad, with);
    case kind::gelu_approx: return make(kind::gelu_approx_grad, with);
    case kind::gelu: return make(kind::gelu_grad, with);
    case kind::softmax: return make(kind::softmax_grad, {y, dy});
    case kind::rms_norm: return make(kind::rms_norm_grad, with, eps_);
    case kind::layer_norm: return make(kind::layer_norm_grad, with, eps_);
    default: throw std::runtime_error("no second derivative");
    }
}

/* Of a norm: what its output is without the weight, times dy, summed over all rows. */
core::array loop::by_weight(const core::array &x, const core::array &dy) const
{
    core::array product = core::multiply(make(kind_, {x}, eps_), dy);
    return core::sum(core::reshape(product, {-1, x.shape(-1)}), 0);
}

core::array make(kind k, arrays inputs, float eps)
{
    core::Stream s = core::default_stream(core::Device::cpu);
    for (core::array &x : inputs)
        x = core::contiguous(x, false, s);
    core::Shape shape = inputs[0].shape();
    return core::array(shape, core::float32, std::make_shared<loop>(s, k, eps), std::move(inputs));
}

}

bool is_fast(const core::array &x)
{
    return x.dtype() == core::float32 && x.size() > 0 && x.ndim() > 0 &&
           core::default_device() == core::Device::cpu;
}

core::array fast_exp(const core::array &x)
{
    return make(kind::exp, {x});
}

core::array fast_tanh(const core::array &x)
{
    return make(kind::tanh, {x});
}

core::array fast_sigmoid(const core::array &x)
{
    return make(kind::sigmoid, {x});
}

core::array fast_silu(const core::array &x)
{
    return make(kind::silu, {x});
}

core::array fast_gelu_approx(const core::array &x)
{
    return make(kind::gelu_approx, {x});
}

core::array fast_gelu(const core::array &x)
{
    return make(kind::gelu, {x});
}

core::array fast_softmax(const core::array &x)
{
    return make(kind::softmax, {x});
}

static core::array fast_norm(kind k, const core::array &x, const std::optional<core::array> &weight,
                             float eps)
{
    arrays in = {x};
    if (weight)
        in.push_back(*weight);
    return make(k, in, eps);
}

core::array fast_rms_norm(const core::array &x, const std::optional<core::array> &weight, float eps)
{
    return fast_norm(kind::rms_norm, x, weight, eps);
}

core::array fast_layer_norm(const core::array &x, const std::optional<core::array> &weight,
                            float eps)
{
    return fast_norm(kind::layer_norm, x, weight, eps);
}

/* [T,S]: the last query sees the last key. */
static core::array causal_mask(int T, int S)
{
    core::array query = core::expand_dims(core::arange(S - T, S, core::int32), 1);
    return core::less_equal(core::arange(S, core::int32), query);
}

core::array fast_attention(const core::array &q, const core::array &k, const core::array &v,
                           float scale, bool causal, const std::optional<core::array> &mask)
{
    int B = q.shape(0), H = q.shape(1), T = q.shape(2), C = q.shape(3);
    int K = k.shape(1), S = k.shape(2), G = H / K;

    /* The G query heads that share a key head are rows of one product. */
    core::array x = core::reshape(q, {B, K, G * T, C});
    if (scale != 1.0f)
        x = core::multiply(x, core::array(scale));
    core::array s = core::matmul(x, core::swapaxes(k, 2, 3));
    std::optional<core::array> seen = mask;
    if (causal)
        seen = causal_mask(T, S);
    if (seen && !(causal && T == 1)) {
        s = core::reshape(s, {B, K, G, T, S});
        core::array m = *seen;
        if (m.ndim() == 4)              /* [B|1, H|1, T|1, S] */
            m = m.shape(1) == 1 ? core::expand_dims(m, 2) : core::unflatten(m, 1, {K, G});
        s = m.dtype() == core::bool_
                ? core::where(m, s, core::array(-std::numeric_limits<float>::infinity()))
                : core::add(s, m);
    }
    s = core::reshape(fast_softmax(s), {B, K, G * T, S});
    return core::reshape(core::matmul(s, v), {B, H, T, v.shape(3)});
}

}
