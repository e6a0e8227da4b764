/* Vector loops against the C library in double precision. */
#include "testing.h"

#include "mx/fastmath.h"

enum { COUNT = 4099 };                  /* no multiple of any vector's length */

static float input(size_t i)
{
    return -30.0f + 60.0f * (float)i / (float)COUNT;
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static double exact_gelu(double x)
{
    return 0.5 * x * erfc(-x * sqrt(0.5));
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double silu(double x)
{
    return x * sigmoid(x);
}

/* Relative to the result, or absolute where that is below `floor`. */
static void check(void (*loop)(float *, const float *, size_t), double (*f)(double), double floor)
{
    float x[COUNT], y[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        x[i] = y[i] = input(i);
    loop(y, y, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_near(y[i], f((double)x[i]), 3e-7 * fmax(fabs(f((double)x[i])), floor));
}

static void test_fastmath__functions_equal_the_library(void **state)
{
    (void)state;
    check(fastmath_exp, exp, 0);
    check(fastmath_tanh, tanh, 0);
    check(fastmath_sigmoid, sigmoid, 0);
    check(fastmath_silu, silu, 0);
    check(fastmath_gelu_approx, gelu, 1);
    check(fastmath_gelu, exact_gelu, 1);
}

static void test_fastmath__ends_of_the_range(void **state)
{
    float x[] = {INFINITY, -INFINITY, NAN, 0, 89, -120, 88.5f, -100}, y[8];
    (void)state;
    fastmath_exp(y, x, 8);
    assert_true(isinf(y[0]) && y[1] == 0 && isnan(y[2]) && y[3] == 1 && isinf(y[4]));
    assert_true(y[5] == 0);
    assert_near(y[6] / 2.7230873e38f, 1, 1e-5);
    assert_true(y[7] > 0 && y[7] < 1e-43f);
    fastmath_tanh(y, x, 4);
    assert_true(y[0] == 1 && y[1] == -1 && isnan(y[2]) && y[3] == 0);
    fastmath_sigmoid(y, x, 4);
    assert_true(y[0] == 1 && y[1] == 0 && isnan(y[2]) && y[3] == 0.5f);
}

static void test_fastmath__softmax_sums_to_one(void **state)
{
    enum { ROWS = 3, N = 37 };
    float x[ROWS * N], y[ROWS * N];
    (void)state;
    for (size_t i = 0; i < ROWS * N; i++)
        x[i] = (float)((i * 7919) % 101) / 10.0f;
    x[5] = -INFINITY;
    fastmath_softmax(y, x, ROWS, N);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, all = 0;
        for (size_t i = 0; i < N; i++)
            all += exp((double)x[r * N + i]);
        for (size_t i = 0; i < N; i++) {
            sum += (double)y[r * N + i];
            assert_near(y[r * N + i], exp((double)x[r * N + i]) / all, 1e-6);
        }
        assert_near(sum, 1, 1e-5);
    }
    assert_true(y[5] == 0);
}

/* Central differences of Σ dy_i f(x)_i, computed by the loop itself. */
static void test_fastmath__gradients_equal_differences(void **state)
{
    enum { N = 19 };
    float x[N], w[N], dy[N], y[N], dx[N];
    (void)state;
    for (size_t i = 0; i < N; i++) {
        x[i] = (float)((i * 31) % 17) / 5.0f - 1.6f;
        w[i] = 0.5f + (float)(i % 5) / 4.0f;
        dy[i] = (float)((i * 13) % 7) / 3.0f - 1.0f;
    }
    for (int kind = 0; kind < 7; kind++) {
        const float *weight = kind % 2 ? w : NULL;
        for (int at = -1; at < N; at++) {
            double total[2] = {0, 0};
            for (int side = 0; side < 2; side++) {
                float saved = x[at < 0 ? 0 : at];
                if (at >= 0)
                    x[at] += side ? 5e-3f : -5e-3f;
                switch (kind) {
                case 0: fastmath_silu(y, x, N); break;
                case 1: fastmath_gelu_approx(y, x, N); break;
                case 2: fastmath_softmax(y, x, 1, N); break;
                case 3:
                case 4: fastmath_rms_norm(y, x, weight, 1e-3f, 1, N); break;
                default: fastmath_layer_norm(y, x, weight, 1e-3f, 1, N); break;
                }
                for (size_t i = 0; i < N; i++)
                    total[side] += (double)dy[i] * (double)y[i];
                x[at < 0 ? 0 : at] = saved;
            }
            if (at < 0) {               /* y is at the middle: the gradient once */
                switch (kind) {
                case 0: fastmath_silu_grad(dx, x, dy, N); break;
                case 1: fastmath_gelu_approx_grad(dx, x, dy, N); break;
                case 2: fastmath_softmax_grad(dx, y, dy, 1, N); break;
                case 3:
                case 4: fastmath_rms_norm_grad(dx, x, weight, dy, 1e-3f, 1, N); break;
                default: fastmath_layer_norm_grad(dx, x, weight, dy, 1e-3f, 1, N); break;
                }
            } else {
                assert_near(dx[at], (total[1] - total[0]) / 1e-2, 2e-3);
            }
        }
    }
}

static void test_fastmath__gelu_s_slope(void **state)
{
    float x[COUNT], dy[COUNT], dx[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = input(i) / 3;
        dy[i] = (float)(i % 5) - 2.0f;
    }
    fastmath_gelu_grad(dx, x, dy, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double v = x[i], phi = exp(-v * v / 2) / sqrt(2 * acos(-1));
        assert_near(dx[i], dy[i] * (0.5 * erfc(-v * sqrt(0.5)) + v * phi), 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fastmath__functions_equal_the_library),
        cmocka_unit_test(test_fastmath__ends_of_the_range),
        cmocka_unit_test(test_fastmath__softmax_sums_to_one),
        cmocka_unit_test(test_fastmath__gradients_equal_differences),
        cmocka_unit_test(test_fastmath__gelu_s_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
