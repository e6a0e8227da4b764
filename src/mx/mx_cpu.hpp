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

}

#endif
