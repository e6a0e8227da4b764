/* mx_cpu.hpp - operators that MLX computes slowly on a processor, by our own loops (fastmath.h).
 *
 * Each has a gradient.  They take float32 arrays on the CPU; `is_fast` says whether one may be.
 */
#ifndef MX_MX_CPU_HPP
#define MX_MX_CPU_HPP

#include <optional>

#include <mlx/mlx.h>

namespace mxb
{

bool is_fast(const mlx::core::array &x);

mlx::core::array fast_exp(const mlx::core::array &x);
mlx::core::array fast_tanh(const mlx::core::array &x);
mlx::core::array fast_sigmoid(const mlx::core::array &x);
mlx::core::array fast_silu(const mlx::core::array &x);
mlx::core::array fast_gelu_approx(const mlx::core::array &x);
mlx::core::array fast_gelu(const mlx::core::array &x);
mlx::core::array fast_softmax(const mlx::core::array &x);       /* over the last axis */

/* Norms over the last axis; the weight, if any, is as long. */
mlx::core::array fast_rms_norm(const mlx::core::array &x,
                               const std::optional<mlx::core::array> &weight, float eps);
mlx::core::array fast_layer_norm(const mlx::core::array &x,
                                 const std::optional<mlx::core::array> &weight, float eps);

/* As mlx::core::fast::scaled_dot_product_attention. */
mlx::core::array fast_attention(const mlx::core::array &q, const mlx::core::array &k,
                                const mlx::core::array &v, float scale, bool causal,
                                const std::optional<mlx::core::array> &mask);

/* As mx_dequantize, mx_quantized_matmul (of one matrix) and mx_gather_qmm (x [M,1,..], ids [M],
 * equal ones neighbours), with 4 or 8 bits. */
bool can_dequantize_fast(const mlx::core::array &w, const mlx::core::array &scales,
                         const mlx::core::array &biases, int group, int bits);
mlx::core::array fast_dequantize(const mlx::core::array &w, const mlx::core::array &scales,
                                 const mlx::core::array &biases, int group, int bits);
bool can_multiply_fast(const mlx::core::array &x, const mlx::core::array &w,
                       const mlx::core::array &scales, const mlx::core::array &biases,
                       bool transpose, int group, int bits);
mlx::core::array fast_quantized_matmul(const mlx::core::array &x, const mlx::core::array &w,
                                       const mlx::core::array &scales,
                                       const mlx::core::array &biases, bool transpose, int group,
                                       int bits);
mlx::core::array fast_gather_qmm(const mlx::core::array &x, const mlx::core::array &w,
                                 const mlx::core::array &scales, const mlx::core::array &biases,
                                 const mlx::core::array &ids, bool transpose, int group, int bits);

/* Rows a [M,1,K] by matrices b [X,K,N], row i by matrix ids[i]; equal ids are neighbours. */
bool can_gather_fast(const mlx::core::array &a, const mlx::core::array &b,
                     const mlx::core::array &ids);
mlx::core::array fast_gather_mm(const mlx::core::array &a, const mlx::core::array &b,
                                const mlx::core::array &ids);

}

#endif
