/* fastmath.h - exp and its relatives over whole arrays of float32, for processors.
 *
 * Written so that compilers turn the loops into vector code.  Each result is within two units in
 * the last place.  Output and input may be the same array, but must not overlap otherwise.
 */
#ifndef MX_FASTMATH_H
#define MX_FASTMATH_H

#include <stddef.h>
#include <stdint.h>

void fastmath_exp(float *y, const float *x, size_t n);
void fastmath_tanh(float *y, const float *x, size_t n);
void fastmath_sigmoid(float *y, const float *x, size_t n);
void fastmath_silu(float *y, const float *x, size_t n);         /* x sigmoid(x) */
/* x/2 (1 + tanh(u)), u = √(2/π) (x + 0.044715 x³) */
void fastmath_gelu_approx(float *y, const float *x, size_t n);
void fastmath_gelu(float *y, const float *x, size_t n);         /* x Φ(x) */

/* Cotangents: dx from x and dy. */
void fastmath_silu_grad(float *dx, const float *x, const float *dy, size_t n);
void fastmath_gelu_approx_grad(float *dx, const float *x, const float *dy, size_t n);
void fastmath_gelu_grad(float *dx, const float *x, const float *dy, size_t n);

/* Over each of `rows` rows of n numbers. */
void fastmath_softmax(float *y, const float *x, size_t rows, size_t n);
void fastmath_softmax_grad(float *dx, const float *y, const float *dy, size_t rows, size_t n);

/* x / √(mean(x²) + eps) · w over each row; w [n], or NULL for ones. */
void fastmath_rms_norm(float *y, const float *x, const float *w, float eps, size_t rows, size_t n);
void fastmath_rms_norm_grad(float *dx, const float *x, const float *w, const float *dy, float eps,
                            size_t rows, size_t n);
/* (x - mean) / √(var + eps) · w over each row. */
void fastmath_layer_norm(float *y, const float *x, const float *w, float eps, size_t rows,
                         size_t n);
void fastmath_layer_norm_grad(float *dx, const float *x, const float *w, const float *dy, float eps,
                              size_t rows, size_t n);

/* y = scale q + bias for `groups` groups of `group` numbers, which are in words of 32 bits, the
 * first one in the lowest; bits is 4 or 8. */
void fastmath_dequantize(float *y, const uint32_t *words, const float *scales, const float *biases,
                         size_t groups, size_t group, int bits);

#endif
