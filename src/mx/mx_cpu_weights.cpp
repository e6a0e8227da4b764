/* mx_cpu_weights.cpp - weights in few bits, and matrices chosen by an index, on a processor.
 *
 * MLX dequantises with a chain of operators over whole arrays, and multiplies by chosen matrices
 * one row at a time.  Here a weight is dequantised a few rows at a time, on their way into a
 * product, so that no dense weight ever exists; and the rows that chose the same matrix are one
 * product.
 */
#include "mx/mx_cpu.hpp"

#include <memory>
#include <stdexcept>
#include <vector>

#include <dlfcn.h>

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

/* cblas_sgemm of the BLAS that libmlx uses; null when it is not to be found by name. */
using sgemm_fn = void (*)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                          const float *a, int lda, const float *b, int ldb, float beta, float *c,
                          int ldc);
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

sgemm_fn find_sgemm()
{
    static const sgemm_fn fn = reinterpret_cast<sgemm_fn>(dlsym(RTLD_DEFAULT, "cblas_sgemm"));
    return fn;
}

/* -------------------------------------------------------- quantised products -- */

enum { TILE_ROWS = 128 };

/* A matrix [rows,columns] in few bits. */
struct few_bits {
    const uint32_t *words;
    const float *scales, *biases;
    int rows, columns, group, bits;

    few_bits at(size_t i) const
    {
        size_t size = static_cast<size_t>(rows) * static_cast<size_t>(columns) * i;
        few_bits m = *this;
        m.words += size * static_cast<size_t>(bits) / 32;
        m.scales += size / static_cast<size_t>(group);
        m.biases += size / static_cast<size_t>(group);
        return m;
    }
};

/* y [M,rows] = x [M,columns] Wᵀ, or, not transposed, y [M,columns] = x [M,rows] W. */
void multiply(float *y, const float *x, int M, const few_bits &w, bool transpose,
              std::vector<float> &room)
{
    size_t columns = static_cast<size_t>(w.columns), group = static_cast<size_t>(w.group);
    size_t groups = columns / group, words = columns * static_cast<size_t>(w.bits) / 32;

    room.resize(TILE_ROWS * columns);
    for (int first = 0; first < w.rows; first += TILE_ROWS) {
        int n = w.rows - first < TILE_ROWS ? w.rows - first : TILE_ROWS;
        size_t at = static_cast<size_t>(first);
        fastmath_dequantize(room.data(), w.words + at * words, w.scales + at * groups,
                            w.biases + at * groups, static_cast<size_t>(n) * groups, group, w.bits);
        if (transpose)
            find_sgemm()(ROW_MAJOR, NO_TRANS, TRANS, M, n, w.columns, 1, x, w.columns, room.data(),
                         w.columns, 0, y + first, w.rows);
        else
            find_sgemm()(ROW_MAJOR, NO_TRANS, NO_TRANS, M, w.columns, n, 1, x + first, w.rows,
                         room.data(), w.columns, first > 0, y, w.columns);
    }
}

/* Equal ids are neighbours: call f(first, last, id) for each run of rows. */
template <typename F> void each_run(const uint32_t *ids, int M, int X, F f)
{
    for (int first = 0, last; first < M; first = last) {
        for (last = first + 1; last < M && ids[last] == ids[first]; last++)
            ;
        if (ids[first] < static_cast<uint32_t>(X))
            f(first, last, ids[first]);
    }
}

/* in: x [M,..], words, scales, biases, and, with matrices to choose from, ids [M]. */
class quantised_product : public core::UnaryPrimitive
{
  public:
    quantised_product(core::Stream s, bool transpose, int group, int bits)
        : UnaryPrimitive(s), transpose_(transpose), group_(group), bits_(bits)
    {
    }

    void eval_cpu(const arrays &in, core::array &out) override
    {
        const core::array &scales = in[2];
        out.set_data(core::allocator::malloc(out.nbytes()));
        core::cpu::CommandEncoder &encoder = core::cpu::get_command_encoder(stream());
        for (const core::array &x : in)
            encoder.set_input_array(x);
        encoder.set_output_array(out);
        few_bits w = {in[1].data<uint32_t>(),
                      scales.data<float>(),
                      in[3].data<float>(),
                      scales.shape(-2),
                      scales.shape(-1) * group_,
                      group_,
                      bits_};
        int columns = in[0].shape(-1), M = static_cast<int>(in[0].size()) / columns;
        int N = out.shape(-1), X = scales.ndim() == 3 ? scales.shape(0) : 1;
        const uint32_t *ids = in.size() > 4 ? in[4].data<uint32_t>() : nullptr;
        encoder.dispatch([y = out.data<float>(), x = in[0].data<float>(), M, w, columns, N, X, ids,
                          transpose = transpose_] {
            std::vector<float> room;
            if (!ids)
                multiply(y, x, M, w, transpose, room);
            else
                each_run(ids, M, X, [&](int first, int last, uint32_t id) {
                    multiply(y + static_cast<int64_t>(first) * N,
                             x + static_cast<int64_t>(first) * columns, last - first, w.at(id),
                             transpose, room);
                });
        });
    }

    void eval_gpu(const arrays &, core::array &) override
    {
        throw std::runtime_error("an operator of the CPU was put on a GPU");
    }

    arrays vjp(const arrays &primals, const arrays &cotangents, const std::vector<int> &argnums,
               const arrays &) override;

    bool is_equivalent(const core::Primitive &other) const override
    {
        const quantised_product &o = static_cast<const quantised_product &>(other);
        return o.transpose_ == transpose_ && o.group_ == group_ && o.bits_ == bits_;
    }

    const char *name() const override
    {
        return "FastQuantizedMatmul";
    }

  private:
    bool transpose_;
    int group_, bits_;
};

core::array make_product(const core::array &x, arrays weight, bool transpose, int group, int bits)
{
    core::Stream s = core::default_stream(core::Device::cpu);
    const core::array &scales = weight[1];
    core::Shape shape = x.shape();
    shape.back() = transpose ? scales.shape(-2) : scales.shape(-1) * group;
    arrays in = {core::contiguous(x, false, s)};
    for (const core::array &part : weight)
        in.push_back(core::contiguous(part, false, s));
    return core::array(shape, core::float32,
                       std::make_shared<quantised_product>(s, transpose, group, bits),
                       std::move(in));
}

arrays quantised_product::vjp(const arrays &primals, const arrays &cotangents,
                              const std::vector<int> &argnums, const arrays &)
{
    if (argnums.size() != 1 || argnums[0] != 0)
        throw std::runtime_error("a quantised weight has no gradient");
    arrays weight(primals.begin() + 1, primals.end());
    return {make_product(cotangents[0], weight, !transpose_, group_, bits_)};
}

/* ---------------------------------------------------------- dequantising -- */

class dequantizing : public core::UnaryPrimitive
{
  public:
    dequantizing(core::Stream s, int group, int bits)
        : UnaryPrimitive(s), group_(group), bits_(bits)
    {
    }

    void eval_cpu(const arrays &in, core::array &out) override
    {
        out.set_data(core::allocator::malloc(out.nbytes()));
        core::cpu::CommandEncoder &encoder = core::cpu::get_command_encoder(stream());
        for (const core::array &x : in)
            encoder.set_input_array(x);
        encoder.set_output_array(out);
        encoder.dispatch(
            [y = out.data<float>(), w = in[0].data<uint32_t>(), scales = in[1].data<float>(),
             biases = in[2].data<float>(), groups = in[1].size(),
             group = static_cast<size_t>(group_),
             bits = bits_] { fastmath_dequantize(y, w, scales, biases, groups, group, bits); });
    }

    void eval_gpu(const arrays &, core::array &) override
    {
        throw std::runtime_error("an operator of the CPU was put on a GPU");
    }

    bool is_equivalent(const core::Primitive &other) const override
    {
        const dequantizing &o = static_cast<const dequantizing &>(other);
        return o.group_ == group_ && o.bits_ == bits_;
    }

    const char *name() const override
    {
        return "FastDequantize";
    }

  private:
    int group_, bits_;
};

/* -------------------------------------------------------- chosen matrices -- */

/* Rows a [M,K] by matrices b [X,K,N] (in any layout), row i by matrix ids[i]. */
struct chosen {
    float *y;
    const float *a, *b;
    int K, N;
    int64_t step, row, column; /* strides of b */
};

void multiply_run(const chosen &c, int first, int last, uint32_t id, std::vector<float> &room)
{
    const float *b = c.b + static_cast<int64_t>(id) * c.step;
    bool is_transposed = c.column != 1 && c.row == 1;
    int64_t ld = is_transposed ? c.column : c.row;

    if (c.column != 1 && c.row != 1) {
        room.resize(static_cast<size_t>(c.K) * static_cast<size_t>(c.N));
        for (int64_t k = 0; k < c.K; k++)
            for (int64_t n = 0; n < c.N; n++)
                room[static_cast<size_t>(k * c.N + n)] = b[k * c.row + n * c.column];
        b = room.data();
        ld = c.N;
    }
    const float *a = c.a + static_cast<int64_t>(first) * c.K;
    float *y = c.y + static_cast<int64_t>(first) * c.N;
    find_sgemm()(ROW_MAJOR, NO_TRANS, is_transposed ? TRANS : NO_TRANS, last - first, c.N, c.K, 1,
                 a, c.K, b, static_cast<int>(ld), 0, y, c.N);
}

class choosing : public core::UnaryPrimitive
{
  public:
    explicit choosing(core::Stream s) : UnaryPrimitive(s)
    {
    }

    void eval_cpu(const arrays &in, core::array &out) override
    {
        const core::array &a = in[0], &b = in[1], &ids = in[2];
        out.set_data(core::allocator::malloc(out.nbytes()));
        core::cpu::CommandEncoder &encoder = core::cpu::get_command_encoder(stream());
        for (const core::array &x : in)
            encoder.set_input_array(x);
        encoder.set_output_array(out);
        chosen c = {out.data<float>(), a.data<float>(), b.data<float>(), a.shape(-1),
                    out.shape(-1),     b.strides(0),    b.strides(1),    b.strides(2)};
        encoder.dispatch([c, M = a.shape(0), X = b.shape(0), ids = ids.data<uint32_t>()] {
            std::vector<float> room;
            each_run(ids, M, X, [&](int first, int last, uint32_t id) {
                multiply_run(c, first, last, id, room);
            });
        });
    }

    void eval_gpu(const arrays &, core::array &) override
    {
        throw std::runtime_error("an operator of the CPU was put on a GPU");
    }

    /* As MLX does it. */
    arrays vjp(const arrays &primals, const arrays &cotangents, const std::vector<int> &argnums,
               const arrays &) override
    {
        const core::array ids = primals[2];
        auto product = [ids](const arrays &x) {
            return arrays{core::gather_mm(x[0], x[1], std::nullopt, ids, true)};
        };
        arrays all = core::vjp(product, {primals[0], primals[1]}, cotangents).second, result;
        for (int i : argnums)
            result.push_back(all[static_cast<size_t>(i)]);
        return result;
    }

    bool is_equivalent(const core::Primitive &) const override
    {
        return true;
    }

    const char *name() const override
    {
        return "FastGatherMM";
    }
};

}

static bool are_few_bits(const core::array &w, const core::array &scales, const core::array &biases,
                         int group, int bits)
{
    return (bits == 4 || bits == 8) && w.dtype() == core::uint32 && is_fast(scales) &&
           biases.dtype() == core::float32 && biases.shape() == scales.shape() &&
           w.ndim() == scales.ndim() && w.ndim() >= 2 &&
           w.size() * 32 == scales.size() * static_cast<size_t>(group * bits);
}

bool can_dequantize_fast(const core::array &w, const core::array &scales, const core::array &biases,
                         int group, int bits)
{
    return are_few_bits(w, scales, biases, group, bits);
}

core::array fast_dequantize(const core::array &w, const core::array &scales,
                            const core::array &biases, int group, int bits)
{
    core::Stream s = core::default_stream(core::Device::cpu);
    core::Shape shape = scales.shape();
    shape.back() *= group;
    arrays in = {core::contiguous(w, false, s), core::contiguous(scales, false, s),
                 core::contiguous(biases, false, s)};
    return core::array(shape, core::float32, std::make_shared<dequantizing>(s, group, bits),
                       std::move(in));
}

bool can_multiply_fast(const core::array &x, const core::array &w, const core::array &scales,
                       const core::array &biases, bool transpose, int group, int bits)
{
    return are_few_bits(w, scales, biases, group, bits) && is_fast(x) &&
           x.shape(-1) == (transpose ? scales.shape(-1) * group : scales.shape(-2)) && find_sgemm();
}

core::array fast_quantized_matmul(const core::array &x, const core::array &w,
                                  const core::array &scales, const core::array &biases,
                                  bool transpose, int group, int bits)
{
    return make_product(x, {w, scales, biases}, transpose, group, bits);
}

core::array fast_gather_qmm(const core::array &x, const core::array &w, const core::array &scales,
                            const core::array &biases, const core::array &ids, bool transpose,
                            int group, int bits)
{
    core::Stream s = core::default_stream(core::Device::cpu);
    return make_product(x, {w, scales, biases, core::astype(ids, core::uint32, s)}, transpose,
                        group, bits);
}

bool can_gather_fast(const core::array &a, const core::array &b, const core::array &ids)
{
    return is_fast(a) && is_fast(b) && a.ndim() == 3 && a.shape(1) == 1 && b.ndim() == 3 &&
           ids.ndim() == 1 && ids.shape(0) == a.shape(0) && a.shape(2) == b.shape(1) &&
           find_sgemm();
}

core::array fast_gather_mm(const core::array &a, const core::array &b, const core::array &ids)
{
    core::Stream s = core::default_stream(core::Device::cpu);
    arrays in = {core::contiguous(a, false, s), b,
                 core::contiguous(core::astype(ids, core::uint32, s), false, s)};
    return core::array({a.shape(0), 1, b.shape(2)}, core::float32, std::make_shared<choosing>(s),
                       std::move(in));
}

}
