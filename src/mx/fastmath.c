/* fastmath.c - exp and its relatives over whole arrays of float32.
 *
 *     e^x = 2^n · e^r        n = round(x / ln 2)        r = x - n ln 2, |r| <= ln 2 / 2
 *
 * with the polynomials of Cephes (Moshier) for e^r and for small tanh.  MLX on a processor computes
 * these one number at a time, 20 ns each; as vector code it is about 1 ns.
 */
#include "mx/fastmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Compile each loop for new processors, too, and choose when the program starts. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3", "no-trapping-math", "no-math-errno")
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LOOP __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef LOOP
#define LOOP
#endif

/* Number i of the output depends on number i of the input alone, even where both are one array. */
#if defined(__clang__)
#define SAME_PLACE _Pragma("clang loop vectorize(assume_safety)")
#else
#define SAME_PLACE _Pragma("GCC ivdep")
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE float as_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE uint32_t as_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

INLINE float exp_of(float x)
{
    const float magic = 12582912.0f; /* 1.5 · 2²³: adding it rounds to integers */

    x = x < -104.0f ? -104.0f : x; /* both ends are 0 and infinity below */
    x = x > 89.0f ? 89.0f : x;
    float t = x * 1.44269504088896341f + magic;
    float n = t - magic;
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = p * r * r + r + 1.0f;
    /* 2^n in two factors, since n may lie outside the exponents there are. */
    uint32_t k = as_bits(t) - as_bits(magic) + 512;     /* n + 512, not negative */
    uint32_t half = k >> 1;
    return y * as_float((half - 256 + 127) << 23) * as_float((k - half - 256 + 127) << 23);
}

INLINE float tanh_of(float x)
{
    float a = x < 0 ? -x : x;
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * x + x;
    float large = 1.0f - 2.0f / (exp_of(2.0f * a) + 1.0f);
    large = x < 0 ? -large : large;
    return a < 0.625f ? small : large;
}

INLINE float sigmoid_of(float x)
{
    return 1.0f / (1.0f + exp_of(-x));
}

static const float GELU_ROOT = 0.79788456080286536f;    /* √(2/π) */
static const float GELU_CUBE = 0.044715f;

INLINE float gelu_tanh_of(float x)
{
    return tanh_of(GELU_ROOT * (x + GELU_CUBE * x * x * x));
}

/* Φ of the normal distribution, from e = exp(-x²/2):
 *
 *     Φ(-√2 z) = e/2 · t P(t)        t = 1 / (1 + 0.4 z), z >= 0
 *
 * with a polynomial fitted to exp(z²) erfc(z) / t: seven units in the ninth place. */
INLINE float normal_of(float x, float e)
{
    float z = (x < 0 ? -x : x) * 0.70710678118654752f;
    float t = 1.0f / (1.0f + 0.4f * z);
    float p = -3.05970386e-2f;
    p = p * t + 2.03484058e-1f;
    p = p * t - 5.11743069e-1f;
    p = p * t + 5.64781785e-1f;
    p = p * t - 2.98889041e-1f;
    p = p * t + 2.79919475e-1f;
    p = p * t + 1.26941890e-1f;
    p = p * t + 2.15511322e-1f;
    p = p * t + 2.24879995e-1f;
    p = p * t + 2.25710660e-1f;
    float tail = 0.5f * e * t * p;
    return x < 0 ? tail : 1.0f - tail;
}

LOOP void fastmath_exp(float *y, const float *x, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++)
        y[i] = exp_of(x[i]);
}

LOOP void fastmath_tanh(float *y, const float *x, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++)
        y[i] = tanh_of(x[i]);
}

LOOP void fastmath_sigmoid(float *y, const float *x, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++)
        y[i] = sigmoid_of(x[i]);
}

LOOP void fastmath_silu(float *y, const float *x, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * sigmoid_of(x[i]);
}

LOOP void fastmath_gelu_approx(float *y, const float *x, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++)
        y[i] = 0.5f * x[i] * (1.0f + gelu_tanh_of(x[i]));
}

LOOP void fastmath_gelu(float *y, const float *x, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * normal_of(x[i], exp_of(-0.5f * x[i] * x[i]));
}

LOOP void fastmath_gelu_grad(float *dx, const float *x, const float *dy, size_t n)
{
    const float density = 0.39894228040143268f;         /* 1 / √(2π) */
    SAME_PLACE
    for (size_t i = 0; i < n; i++) {
        float v = x[i], e = exp_of(-0.5f * v * v);
        dx[i] = dy[i] * (normal_of(v, e) + v * density * e);
    }
}

LOOP void fastmath_silu_grad(float *dx, const float *x, const float *dy, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++) {
        float s = sigmoid_of(x[i]);
        dx[i] = dy[i] * s * (1.0f + x[i] * (1.0f - s));
    }
}

LOOP void fastmath_gelu_approx_grad(float *dx, const float *x, const float *dy, size_t n)
{
    SAME_PLACE
    for (size_t i = 0; i < n; i++) {
        float v = x[i], t = gelu_tanh_of(v);
        float du = GELU_ROOT * (1.0f + 3.0f * GELU_CUBE * v * v);
        dx[i] = dy[i] * 0.5f * (1.0f + t + v * (1.0f - t * t) * du);
    }
}

/* Sums go in 16 lanes, in an order that does not depend on the processor. */
enum { LANES = 16 };

/* Σ a_i b_i c_i; `b` and `c` may be NULL, for ones. */
INLINE float sum_of(const float *a, const float *b, const float *c, size_t n)
{
    float lanes[LANES] = {0}, sum = 0;
    size_t whole = n - n % LANES;

    for (size_t i = 0; i < whole; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += a[i + k] * (b ? b[i + k] : 1.0f) * (c ? c[i + k] : 1.0f);
    for (size_t i = whole; i < n; i++)
        sum += a[i] * (b ? b[i] : 1.0f) * (c ? c[i] : 1.0f);
    for (size_t k = 0; k < LANES; k++)
        sum += lanes[k];
    return sum;
}

LOOP void fastmath_softmax(float *y, const float *x, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        float most = x[0];
        for (size_t i = 1; i < n; i++)
            most = x[i] > most ? x[i] : most;
        SAME_PLACE
        for (size_t i = 0; i < n; i++)
            y[i] = exp_of(x[i] - most);
        float scale = 1.0f / sum_of(y, NULL, NULL, n);
        for (size_t i = 0; i < n; i++)
            y[i] *= scale;
    }
}

LOOP void fastmath_softmax_grad(float *dx, const float *y, const float *dy, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, y += n, dy += n, dx += n) {
        float sum = sum_of(y, dy, NULL, n);
        SAME_PLACE
        for (size_t i = 0; i < n; i++)
            dx[i] = y[i] * (dy[i] - sum);
    }
}

LOOP void fastmath_rms_norm(float *y, const float *x, const float *w, float eps, size_t rows,
                            size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        float scale = 1.0f / sqrtf(sum_of(x, x, NULL, n) / (float)n + eps);
        SAME_PLACE
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * scale * (w ? w[i] : 1.0f);
    }
}

/* With s = 1 / √(mean(x²) + eps):   dx = s (dy w - x s² mean(dy w x)) */
LOOP void fastmath_rms_norm_grad(float *dx, const float *x, const float *w, const float *dy,
                                 float eps, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, dy += n, dx += n) {
        float s = 1.0f / sqrtf(sum_of(x, x, NULL, n) / (float)n + eps);
        float along = sum_of(x, dy, w, n) / (float)n * s * s;
        SAME_PLACE
        for (size_t i = 0; i < n; i++)
            dx[i] = s * (dy[i] * (w ? w[i] : 1.0f) - x[i] * along);
    }
}

/* Mean of a row, and 1 / √(var + eps) into `scale`. */
INLINE float centre_of(const float *x, float eps, size_t n, float *scale)
{
    float lanes[LANES] = {0}, sum = 0, mean = sum_of(x, NULL, NULL, n) / (float)n;
    size_t whole = n - n % LANES;

    for (size_t i = 0; i < whole; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += (x[i + k] - mean) * (x[i + k] - mean);
    for (size_t i = whole; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    for (size_t k = 0; k < LANES; k++)
        sum += lanes[k];
    *scale = 1.0f / sqrtf(sum / (float)n + eps);
    return mean;
}

LOOP void fastmath_layer_norm(float *y, const float *x, const float *w, float eps, size_t rows,
                              size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        float scale, mean = centre_of(x, eps, n, &scale);
        SAME_PLACE
        for (size_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * scale * (w ? w[i] : 1.0f);
    }
}

/* With z = (x - mean) s:   dx = s (dy w - mean(dy w) - z mean(dy w z)) */
LOOP void fastmath_layer_norm_grad(float *dx, const float *x, const float *w, const float *dy,
                                   float eps, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, dy += n, dx += n) {
        float s, mean = centre_of(x, eps, n, &s);
        float flat = sum_of(dy, w, NULL, n) / (float)n;
        float along = (sum_of(x, dy, w, n) / (float)n - mean * flat) * s * s;
        SAME_PLACE
        for (size_t i = 0; i < n; i++)
            dx[i] = s * (dy[i] * (w ? w[i] : 1.0f) - flat - (x[i] - mean) * along);
    }
}

/* ---------------------------------------------------------------- few bits -- */

LOOP static void dequantize_4(float *y, const uint32_t *words, float scale, float bias, size_t n)
{
    for (size_t i = 0; i < n / 8; i++) {
        SAME_PLACE
        for (unsigned k = 0; k < 8; k++)
            y[8 * i + k] = scale * (float)(int)(words[i] >> 4 * k & 15) + bias;
    }
}

LOOP static void dequantize_8(float *y, const uint32_t *words, float scale, float bias, size_t n)
{
    for (size_t i = 0; i < n / 4; i++) {
        SAME_PLACE
        for (unsigned k = 0; k < 4; k++)
            y[4 * i + k] = scale * (float)(int)(words[i] >> 8 * k & 255) + bias;
    }
}

void fastmath_dequantize(float *y, const uint32_t *words, const float *scales, const float *biases,
                         size_t groups, size_t group, int bits)
{
    size_t step = group * (size_t)bits / 32;
    for (size_t i = 0; i < groups; i++) {
        if (bits == 4)
            dequantize_4(y + i * group, words + i * step, scales[i], biases[i], group);
        else
            dequantize_8(y + i * group, words + i * step, scales[i], biases[i], group);
    }
}
