/* mx_ops.cpp - the operators: each is MLX's own, between handles.
 *
 * The three tables at the top are most of them; what follows adds defaults, axis arguments and the
 * few that MLX does not have as such (index, windows, random_fold).
 */
#include "mx/mx_cpu.hpp"
#include "mx/mx_state.hpp"

#include <cmath>

using namespace mxb;

#define UNARY(name)                                                                                \
    mx_array mx_##name(mx_array x)                                                                 \
    {                                                                                              \
        return attempt(#name, [&] { return core::name(in(x)); });                                  \
    }

/* Those that MLX computes slowly on a processor. */
#define FAST_UNARY(name)                                                                           \
    mx_array mx_##name(mx_array x)                                                                 \
    {                                                                                              \
        return attempt(#name, [&] {                                                                \
            const core::array &a = in(x);                                                          \
            return is_fast(a) ? fast_##name(a) : core::name(a);                                    \
        });                                                                                        \
    }

#define BINARY(name)                                                                               \
    mx_array mx_##name(mx_array a, mx_array b)                                                     \
    {                                                                                              \
        return attempt(#name, [&] { return core::name(in(a), in(b)); });                           \
    }

#define REDUCTION(name)                                                                            \
    mx_array mx_##name(mx_array x, int axis, bool keepdims)                                        \
    {                                                                                              \
        return attempt(#name, [&] { return core::name(in(x), axis, keepdims); });                  \
    }

UNARY(negative)
UNARY(abs)
FAST_UNARY(exp)
UNARY(log)
UNARY(log1p)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(square)
UNARY(sin)
UNARY(cos)
FAST_UNARY(tanh)
FAST_UNARY(sigmoid)
UNARY(erf)
UNARY(floor)
UNARY(isfinite)
UNARY(logical_not)
UNARY(zeros_like)
UNARY(contiguous)

BINARY(add)
BINARY(subtract)
BINARY(multiply)
BINARY(divide)
BINARY(maximum)
BINARY(minimum)
BINARY(power)
BINARY(equal)
BINARY(not_equal)
BINARY(less)
BINARY(less_equal)
BINARY(greater)
BINARY(greater_equal)
BINARY(logical_and)
BINARY(logical_or)
BINARY(bitwise_and)
BINARY(bitwise_or)
BINARY(left_shift)
BINARY(right_shift)
BINARY(floor_divide)
BINARY(remainder)
BINARY(matmul)

REDUCTION(sum)
REDUCTION(mean)
REDUCTION(max)
REDUCTION(min)
REDUCTION(argmax)

/* -------------------------------------------------------------- creation -- */

mx_array mx_zeros_(enum mx_dtype d, const int *shape, int n)
{
    return attempt("zeros", [&] { return core::zeros(to_shape(shape, n), to_dtype(d)); });
}

mx_array mx_full_(double v, enum mx_dtype d, const int *shape, int n)
{
    return attempt("full", [&] {
        return core::full(to_shape(shape, n), core::array(v, to_dtype(d)), to_dtype(d));
    });
}

mx_array mx_arange(double start, double stop, double step, enum mx_dtype d)
{
    return attempt("arange", [&] { return core::arange(start, stop, step, to_dtype(d)); });
}

mx_array mx_astype(mx_array x, enum mx_dtype d)
{
    return attempt("astype", [&] { return core::astype(in(x), to_dtype(d)); });
}

mx_array mx_stop_gradient(mx_array x)
{
    return attempt("stop_gradient", [&] {
        core::array y = core::stop_gradient(in(x));
        g.gathered = false;
        return y;
    });
}

mx_array mx_depends(mx_array x, mx_array on)
{
    return attempt("depends", [&] { return core::depends({in(x)}, {in(on)})[0]; });
}

/* ------------------------------------------------------------ arithmetic -- */

/* A scalar in the dtype of `x`: MLX's own promotion would turn bfloat16 into float32. */
static core::array scalar_like(const core::array &x, const char *op, double s)
{
    if (!core::issubdtype(x.dtype(), core::floating) && s != std::floor(s))
        fail(op, "an array of integers and the number %g", s);
    return core::array(s, x.dtype());
}

mx_array mx_scale(mx_array x, double s)
{
    return attempt("scale", [&] {
        const core::array a = in(x);
        return core::multiply(a, scalar_like(a, "scale", s));
    });
}

mx_array mx_shift(mx_array x, double s)
{
    return attempt("shift", [&] {
        const core::array a = in(x);
        return core::add(a, scalar_like(a, "shift", s));
    });
}

mx_array mx_clip(mx_array x, mx_array lo, mx_array hi)
{
    return attempt("clip", [&] { return core::clip(in(x), optional_in(lo), optional_in(hi)); });
}

mx_array mx_where(mx_array condition, mx_array a, mx_array b)
{
    return attempt("where", [&] { return core::where(in(condition), in(a), in(b)); });
}

mx_array mx_sum_all(mx_array x)
{
    return attempt("sum", [&] { return core::sum(in(x), false); });
}

mx_array mx_all(mx_array x)
{
    return attempt("all", [&] { return core::all(in(x), false); });
}

mx_array mx_any(mx_array x)
{
    return attempt("any", [&] { return core::any(in(x), false); });
}

static bool is_last(const core::array &x, int axis)
{
    return axis == -1 || axis == static_cast<int>(x.ndim()) - 1;
}

mx_array mx_softmax(mx_array x, int axis)
{
    return attempt("softmax", [&] {
        const core::array &a = in(x);
        return is_fast(a) && is_last(a, axis) ? fast_softmax(a) : core::softmax(a, axis, true);
    });
}

mx_array mx_logsumexp(mx_array x, int axis, bool keepdims)
{
    return attempt("logsumexp", [&] {
        const core::array &a = in(x);
        if (!is_fast(a))
            return core::logsumexp(a, axis, keepdims);
        core::array most = core::stop_gradient(core::max(a, axis, true));
        core::array sum = core::sum(fast_exp(core::subtract(a, most)), axis, true);
        core::array y = core::add(core::log(sum), most);
        return keepdims ? y : core::squeeze(y, axis);
    });
}

mx_array mx_silu(mx_array x)
{
    return attempt("silu", [&] {
        const core::array &a = in(x);
        return is_fast(a) ? fast_silu(a) : core::multiply(a, core::sigmoid(a));
    });
}

mx_array mx_gelu_approx(mx_array x)
{
    return attempt("gelu_approx", [&] {
        const core::array &a = in(x);
        if (is_fast(a))
            return fast_gelu_approx(a);
        auto number = [&](double v) { return core::array(static_cast<float>(v), a.dtype()); };
        core::array cube = core::multiply(a, core::square(a));
        core::array u = core::add(a, core::multiply(cube, number(0.044715)));
        core::array t = core::tanh(core::multiply(u, number(0.79788456080286536)));
        return core::multiply(core::multiply(a, number(0.5)), core::add(t, number(1)));
    });
}

/* Φ of the normal distribution, in float32: 1 + erf of few bits would lose the tail. */
static core::array normal_cdf(const core::array &x)
{
    core::array half(0.5f), root(0.70710678118654752f);
    return core::add(half, core::multiply(half, core::erf(core::multiply(x, root))));
}

/* The gradient is computed from x alone, so that nothing else is kept for it. */
static core::array plain_gelu(const core::array &x)
{
    using arrays = std::vector<core::array>;
    auto forward = [](const arrays &in) {
        core::array a = core::astype(in[0], core::float32);
        return arrays{core::astype(core::multiply(a, normal_cdf(a)), in[0].dtype())};
    };
    auto backward = [](const arrays &in, const arrays &dy, const arrays &) {
        core::array a = core::astype(in[0], core::float32);
        core::array e = core::exp(core::multiply(core::square(a), core::array(-0.5f)));
        core::array density = core::multiply(e, core::array(0.39894228040143268f));
        core::array slope = core::add(normal_cdf(a), core::multiply(a, density));
        core::array dx = core::multiply(core::astype(dy[0], core::float32), slope);
        return arrays{core::astype(dx, in[0].dtype())};
    };
    return core::custom_vjp(forward, backward)({x})[0];
}

mx_array mx_gelu(mx_array x)
{
    return attempt("gelu", [&] {
        const core::array &a = in(x);
        return is_fast(a) ? fast_gelu(a) : plain_gelu(a);
    });
}

mx_array mx_cumsum(mx_array x, int axis)
{
    return attempt("cumsum", [&] { return core::cumsum(in(x), axis, false, true); });
}

mx_array mx_cummax(mx_array x, int axis)
{
    return attempt("cummax", [&] { return core::cummax(in(x), axis, false, true); });
}

mx_array mx_sort(mx_array x, int axis)
{
    return attempt("sort", [&] { return core::sort(in(x), axis); });
}

mx_array mx_argsort(mx_array x, int axis)
{
    return attempt("argsort", [&] { return core::argsort(in(x), axis); });
}

mx_array mx_argpartition(mx_array x, int kth, int axis)
{
    return attempt("argpartition", [&] { return core::argpartition(in(x), kth, axis); });
}

mx_array mx_topk(mx_array x, int k, int axis)
{
    return attempt("topk", [&] { return core::topk(in(x), k, axis); });
}

/* ----------------------------------------------------------------- shape -- */

mx_array mx_reshape_(mx_array x, const int *shape, int n)
{
    return attempt("reshape", [&] { return core::reshape(in(x), to_shape(shape, n)); });
}

mx_array mx_transpose_(mx_array x, const int *axes, int n)
{
    return attempt("transpose",
                   [&] { return core::transpose(in(x), std::vector<int>(axes, axes + n)); });
}

mx_array mx_broadcast_to_(mx_array x, const int *shape, int n)
{
    return attempt("broadcast_to", [&] { return core::broadcast_to(in(x), to_shape(shape, n)); });
}

mx_array mx_swapaxes(mx_array x, int a, int b)
{
    return attempt("swapaxes", [&] { return core::swapaxes(in(x), a, b); });
}

mx_array mx_flatten(mx_array x, int first, int last)
{
    return attempt("flatten", [&] { return core::flatten(in(x), first, last); });
}

mx_array mx_expand_dims(mx_array x, int axis)
{
    return attempt("expand_dims", [&] { return core::expand_dims(in(x), axis); });
}

mx_array mx_squeeze(mx_array x, int axis)
{
    return attempt("squeeze", [&] { return core::squeeze(in(x), axis); });
}

/* `axis` counted from the front; fails when there is no such axis. */
static int front_axis(const core::array &a, const char *op, int axis)
{
    int n = static_cast<int>(a.ndim());
    if (axis < -n || axis >= n)
        fail(op, "axis %d of an array of shape %s", axis, shape_text(a.shape()).c_str());
    return axis < 0 ? axis + n : axis;
}

/* x[..., start:stop:step, ...] along `axis`; negative bounds count from the end. */
static core::array slice_axis(const core::array &a, const char *op, int axis, int start, int stop,
                              int step)
{
    axis = front_axis(a, op, axis);
    core::Shape from(a.ndim(), 0), to = a.shape(), by(a.ndim(), 1);
    from[axis] = start;
    to[axis] = stop;
    by[axis] = step;
    return core::slice(a, from, to, by);
}

mx_array mx_index(mx_array x, int axis, int i)
{
    return attempt("index", [&] {
        const core::array a = in(x);
        int k = front_axis(a, "index", axis), n = a.shape(k);
        if (i < -n || i >= n)
            fail("index", "index %d of an axis of %d", i, n);
        int at = i < 0 ? i + n : i;
        return core::squeeze(slice_axis(a, "index", k, at, at + 1, 1), k);
    });
}

mx_array mx_slice(mx_array x, int axis, int start, int stop)
{
    return attempt("slice", [&] { return slice_axis(in(x), "slice", axis, start, stop, 1); });
}

mx_array mx_slice_step(mx_array x, int axis, int start, int stop, int step)
{
    return attempt("slice", [&] { return slice_axis(in(x), "slice", axis, start, stop, step); });
}

mx_array mx_slice_update(mx_array x, mx_array update, int axis, int start)
{
    return attempt("slice_update", [&] {
        const core::array a = in(x), u = in(update);
        int k = front_axis(a, "slice_update", axis);
        if (u.ndim() != a.ndim() || start < 0 || u.shape(k) > a.shape(k) - start)
            fail("slice_update", "an update of shape %s at %d of %s", shape_text(u.shape()).c_str(),
                 start, shape_text(a.shape()).c_str());
        core::Shape from(a.ndim(), 0), to = a.shape();
        from[k] = start;
        to[k] = start + u.shape(k);
        return core::slice_update(a, u, from, to);
    });
}

mx_array mx_pad(mx_array x, int axis, int before, int after, double value)
{
    return attempt("pad", [&] {
        const core::array a = in(x);
        int k = front_axis(a, "pad", axis);
        return core::pad(a, std::vector<int>{k}, core::Shape{before}, core::Shape{after},
                         core::array(value, a.dtype()));
    });
}

mx_array mx_concatenate(const mx_array *x, int n, int axis)
{
    return attempt("concatenate", [&] { return core::concatenate(in_n(x, n), axis); });
}

mx_array mx_stack(const mx_array *x, int n, int axis)
{
    return attempt("stack", [&] { return core::stack(in_n(x, n), axis); });
}

mx_array mx_repeat(mx_array x, int count, int axis)
{
    return attempt("repeat", [&] { return core::repeat(in(x), count, axis); });
}

mx_array mx_take(mx_array x, mx_array indices, int axis)
{
    return attempt("take", [&] { return core::take(in(x), in(indices), axis); });
}

mx_array mx_take_along_axis(mx_array x, mx_array indices, int axis)
{
    return attempt("take_along_axis",
                   [&] { return core::take_along_axis(in(x), in(indices), axis); });
}

mx_array mx_put_along_axis(mx_array x, mx_array indices, mx_array values, int axis)
{
    return attempt("put_along_axis",
                   [&] { return core::put_along_axis(in(x), in(indices), in(values), axis); });
}

/* Blocks of `step` laid side by side: window i is blocks i, i+1, ... cut to `size`.  Slices, not
 * MLX's as_strided: their gradient is additions, as_strided's a scatter over the whole array. */
static core::array windows(const core::array &a, int axis, int size, int step)
{
    int k = front_axis(a, "windows", axis), len = a.shape(k);
    if (size < 1 || step < 1 || len < size)
        fail("windows", "windows of %d every %d of an axis of %d", size, step, len);
    int count = (len - size) / step + 1;
    int blocks = (size + step - 1) / step;
    int need = (count - 1 + blocks) * step;
    core::array x = need <= len ? slice_axis(a, "windows", k, 0, need, 1)
                                : core::pad(a, std::vector<int>{k}, core::Shape{0},
                                            core::Shape{need - len}, core::array(0.0, a.dtype()));
    x = core::unflatten(x, k, core::Shape{count - 1 + blocks, step});
    std::vector<core::array> parts;
    for (int i = 0; i < blocks; i++)
        parts.push_back(slice_axis(x, "windows", k, i, i + count, 1));
    core::array y = blocks == 1 ? parts[0] : core::concatenate(parts, k + 1);
    return blocks * step == size ? y : slice_axis(y, "windows", k + 1, 0, size, 1);
}

mx_array mx_windows(mx_array x, int axis, int size, int step)
{
    return attempt("windows", [&] { return windows(in(x), axis, size, step); });
}

/* ---------------------------------------------------------- larger things -- */

mx_array mx_addmm(mx_array c, mx_array a, mx_array b, double alpha, double beta)
{
    return attempt("addmm", [&] {
        return core::addmm(in(c), in(a), in(b), static_cast<float>(alpha),
                           static_cast<float>(beta));
    });
}

mx_array mx_conv1d(mx_array x, mx_array w, int stride, int padding, int dilation, int groups)
{
    return attempt("conv1d",
                   [&] { return core::conv1d(in(x), in(w), stride, padding, dilation, groups); });
}

mx_array mx_conv2d(mx_array x, mx_array w, int stride, int padding, int groups)
{
    return attempt("conv2d", [&] {
        return core::conv2d(in(x), in(w), {stride, stride}, {padding, padding}, {1, 1}, groups);
    });
}

static bool fits_last_axis(const core::array &x, const std::optional<core::array> &w)
{
    return !w || (w->dtype() == core::float32 && w->ndim() == 1 && w->shape(0) == x.shape(-1));
}

mx_array mx_rms_norm(mx_array x, mx_array weight, double eps)
{
    return attempt("rms_norm", [&] {
        const core::array a = in(x);
        const std::optional<core::array> w = optional_in(weight);
        const float e = static_cast<float>(eps);
        return is_fast(a) && fits_last_axis(a, w) ? fast_rms_norm(a, w, e)
                                                  : core::fast::rms_norm(a, w, e);
    });
}

mx_array mx_layer_norm(mx_array x, mx_array weight, mx_array bias, double eps)
{
    return attempt("layer_norm", [&] {
        const core::array a = in(x);
        const std::optional<core::array> w = optional_in(weight), b = optional_in(bias);
        const float e = static_cast<float>(eps);
        if (!is_fast(a) || !fits_last_axis(a, w) || !fits_last_axis(a, b))
            return core::fast::layer_norm(a, w, b, e);
        core::array y = fast_layer_norm(a, w, e);
        return b ? core::add(y, *b) : y;
    });
}

mx_array mx_rope(mx_array x, int dims, double base, mx_array offset, mx_array freqs)
{
    return attempt("rope", [&] {
        std::optional<float> b;
        if (freqs.id == 0)
            b = static_cast<float>(base);
        core::array at = offset.id == 0 ? core::array(0) : in(offset);
        return core::fast::rope(in(x), dims, false, b, 1.0f, at, optional_in(freqs));
    });
}

/* Shapes that do not fit are left to MLX, which says what is wrong with them. */
static bool fits_fast_attention(const core::array &q, const core::array &k, const core::array &v,
                                const std::optional<core::array> &m)
{
    return q.ndim() == 4 && k.ndim() == 4 && v.ndim() == 4 && k.dtype() == core::float32 &&
           v.dtype() == core::float32 && q.shape(0) == k.shape(0) && q.shape(3) == k.shape(3) &&
           q.shape(0) == v.shape(0) && k.shape(1) == v.shape(1) && k.shape(2) == v.shape(2) &&
           q.shape(1) % k.shape(1) == 0 && (!m || m->ndim() == 2 || m->ndim() == 4);
}

mx_array mx_scaled_dot_product_attention(mx_array q, mx_array k, mx_array v, double scale,
                                         bool causal, mx_array mask)
{
    return attempt("scaled_dot_product_attention", [&] {
        if (causal && mask.id != 0)
            fail("scaled_dot_product_attention", "causal and a mask exclude each other");
        const core::array queries = in(q);
        std::optional<core::array> m = optional_in(mask);
        if (m && m->dtype() != core::bool_)
            m = core::astype(*m, queries.dtype());
        const core::array keys = in(k), values = in(v);
        if (is_fast(queries) && fits_fast_attention(queries, keys, values, m))
            return fast_attention(queries, keys, values, static_cast<float>(scale), causal, m);
        return core::fast::scaled_dot_product_attention(
            queries, keys, values, static_cast<float>(scale), causal ? "causal" : "", m);
    });
}

/* ---------------------------------------------------------------- random -- */

mx_array mx_random_key(uint64_t seed)
{
    return attempt("random_key", [&] { return core::random::key(seed); });
}

mx_array mx_random_fold(mx_array key, uint32_t with)
{
    return attempt("random_fold", [&] {
        core::array k = core::bitwise_xor(in(key), core::array({0x9e3779b9u, with}, core::uint32));
        return core::random::bits({2}, 4, k);
    });
}

mx_array mx_random_uniform_(mx_array key, double lo, double hi, const int *shape, int n)
{
    return attempt("random_uniform", [&] {
        return core::random::uniform(static_cast<float>(lo), static_cast<float>(hi),
                                     to_shape(shape, n), core::float32, in(key));
    });
}

mx_array mx_random_normal_(mx_array key, double std, const int *shape, int n)
{
    return attempt("random_normal", [&] {
        return core::random::normal(to_shape(shape, n), core::float32, 0.0f,
                                    static_cast<float>(std), in(key));
    });
}

mx_array mx_random_categorical(mx_array key, mx_array logits)
{
    return attempt("random_categorical",
                   [&] { return core::random::categorical(in(logits), -1, in(key)); });
}

mx_array mx_random_bernoulli_(mx_array key, double p, const int *shape, int n)
{
    return attempt("random_bernoulli", [&] {
        return core::random::bernoulli(static_cast<float>(p), to_shape(shape, n), in(key));
    });
}
