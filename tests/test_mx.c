/* The operators of the binding against numbers worked out by hand. */
#include "mx_testing.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

#define SHAPE(...) ((int[]){__VA_ARGS__}), MX_COUNT(__VA_ARGS__)
#define FLOATS(...) ((float[]){__VA_ARGS__})

static mx_array floats(const float *v, const int *shape, int n)
{
    return mx_from(v, MX_FLOAT32, shape, n);
}

static mx_array ints(const int32_t *v, const int *shape, int n)
{
    return mx_from(v, MX_INT32, shape, n);
}

/* x has this shape and these values, within 1e-5 relative. */
static void expect(mx_array x, const float *want, const int *shape, int n)
{
    struct err e = {0};
    float got[256];
    size_t count = mx_size(x);
    assert_true(count <= COUNT(got));
    if (mx_read(x, MX_FLOAT32, got, count * sizeof *got, &e))
        fail_msg("%s", e.text);
    assert_int_equal(mx_ndim(x), n);
    for (int i = 0; i < n; i++)
        assert_int_equal(mx_dim(x, i), shape[i]);
    for (size_t i = 0; i < count; i++)
        if (got[i] != want[i])
            assert_float_equal(got[i], want[i], 1e-5f * (1 + fabsf(want[i])));
}

static mx_array matrix(void)                                    /* ((1,2,3),(4,5,6)) */
{
    return floats(FLOATS(1, 2, 3, 4, 5, 6), SHAPE(2, 3));
}

static void test_mx__arithmetic(void **state)
{
    (void)state;
    mx_array a = floats(FLOATS(1, -2, 4), SHAPE(3)), b = floats(FLOATS(2, 4, 8), SHAPE(3));
    expect(mx_add(a, b), FLOATS(3, 2, 12), SHAPE(3));
    expect(mx_subtract(a, b), FLOATS(-1, -6, -4), SHAPE(3));
    expect(mx_multiply(a, b), FLOATS(2, -8, 32), SHAPE(3));
    expect(mx_divide(a, b), FLOATS(0.5f, -0.5f, 0.5f), SHAPE(3));
    expect(mx_maximum(a, b), FLOATS(2, 4, 8), SHAPE(3));
    expect(mx_minimum(a, b), FLOATS(1, -2, 4), SHAPE(3));
    expect(mx_power(b, mx_float(2)), FLOATS(4, 16, 64), SHAPE(3));
    expect(mx_scale(a, 2.5), FLOATS(2.5f, -5, 10), SHAPE(3));
    expect(mx_shift(a, 0.5), FLOATS(1.5f, -1.5f, 4.5f), SHAPE(3));
    expect(mx_negative(a), FLOATS(-1, 2, -4), SHAPE(3));
    expect(mx_abs(a), FLOATS(1, 2, 4), SHAPE(3));
    expect(mx_square(a), FLOATS(1, 4, 16), SHAPE(3));
    expect(mx_floor(mx_scale(a, 0.3)), FLOATS(0, -1, 1), SHAPE(3));
    expect(mx_clip(a, mx_float(-1), mx_float(2)), FLOATS(1, -1, 2), SHAPE(3));
    expect(mx_clip(a, MX_NONE, mx_float(2)), FLOATS(1, -2, 2), SHAPE(3));
    expect(mx_clip(a, mx_float(0), MX_NONE), FLOATS(1, 0, 4), SHAPE(3));
}

static void test_mx__functions(void **state)
{
    (void)state;
    mx_array a = floats(FLOATS(0.25f, 1, 4), SHAPE(3));
    expect(mx_exp(a), FLOATS(1.2840254f, 2.7182818f, 54.598150f), SHAPE(3));
    expect(mx_log(a), FLOATS(-1.3862944f, 0, 1.3862944f), SHAPE(3));
    expect(mx_log1p(a), FLOATS(0.22314355f, 0.69314718f, 1.6094379f), SHAPE(3));
    expect(mx_sqrt(a), FLOATS(0.5f, 1, 2), SHAPE(3));
    expect(mx_rsqrt(a), FLOATS(2, 1, 0.5f), SHAPE(3));
    expect(mx_sin(a), FLOATS(0.24740396f, 0.84147098f, -0.75680250f), SHAPE(3));
    expect(mx_cos(a), FLOATS(0.96891242f, 0.54030231f, -0.65364362f), SHAPE(3));
    expect(mx_tanh(a), FLOATS(0.24491866f, 0.76159416f, 0.99932930f), SHAPE(3));
    expect(mx_sigmoid(a), FLOATS(0.56217650f, 0.73105858f, 0.98201379f), SHAPE(3));
    expect(mx_erf(a), FLOATS(0.27632639f, 0.84270079f, 1), SHAPE(3));
}

static void test_mx__logic(void **state)
{
    (void)state;
    mx_array a = floats(FLOATS(1, 2, 3), SHAPE(3)), b = floats(FLOATS(3, 2, 1), SHAPE(3));
    expect(mx_equal(a, b), FLOATS(0, 1, 0), SHAPE(3));
    expect(mx_not_equal(a, b), FLOATS(1, 0, 1), SHAPE(3));
    expect(mx_less(a, b), FLOATS(1, 0, 0), SHAPE(3));
    expect(mx_less_equal(a, b), FLOATS(1, 1, 0), SHAPE(3));
    expect(mx_greater(a, b), FLOATS(0, 0, 1), SHAPE(3));
    expect(mx_greater_equal(a, b), FLOATS(0, 1, 1), SHAPE(3));
    mx_array l = mx_less(a, b), m = mx_less_equal(a, b);
    expect(mx_logical_and(l, m), FLOATS(1, 0, 0), SHAPE(3));
    expect(mx_logical_or(l, m), FLOATS(1, 1, 0), SHAPE(3));
    expect(mx_logical_not(l), FLOATS(0, 1, 1), SHAPE(3));
    expect(mx_where(l, a, mx_scale(b, 10)), FLOATS(1, 20, 10), SHAPE(3));
    expect(mx_isfinite(floats(FLOATS(1, INFINITY, NAN), SHAPE(3))), FLOATS(1, 0, 0), SHAPE(3));
    double v = 2;
    struct err e = {0};
    assert_int_equal(mx_item(mx_all(m), &v, &e), 0);
    assert_true(v == 0.0);
    assert_int_equal(mx_item(mx_all(mx_logical_or(m, mx_greater(a, b))), &v, &e), 0);
    assert_true(v == 1.0);
}

static void test_mx__reductions(void **state)
{
    (void)state;
    mx_array x = matrix();
    expect(mx_sum(x, 1, false), FLOATS(6, 15), SHAPE(2));
    expect(mx_sum(x, 0, true), FLOATS(5, 7, 9), SHAPE(1, 3));
    expect(mx_mean(x, -1, false), FLOATS(2, 5), SHAPE(2));
    expect(mx_max(x, 0, false), FLOATS(4, 5, 6), SHAPE(3));
    expect(mx_min(x, 1, true), FLOATS(1, 4), SHAPE(2, 1));
    expect(mx_sum_all(x), FLOATS(21), (int[]){0}, 0);
    expect(mx_argmax(mx_negative(x), 1, false), FLOATS(0, 0), SHAPE(2));
    expect(mx_argmax(x, 1, false), FLOATS(2, 2), SHAPE(2));
    expect(mx_logsumexp(x, 1, false), FLOATS(3.4076059f, 6.4076059f), SHAPE(2));
    expect(mx_softmax(mx_slice(x, 0, 0, 1), 1), FLOATS(0.09003057f, 0.24472847f, 0.66524096f),
           SHAPE(1, 3));
    expect(mx_cumsum(x, 1), FLOATS(1, 3, 6, 4, 9, 15), SHAPE(2, 3));
}

static void test_mx__softmax_of_large_values_is_finite(void **state)
{
    (void)state;
    expect(mx_softmax(floats(FLOATS(1000, 1000, -1000), SHAPE(3)), 0), FLOATS(0.5f, 0.5f, 0),
           SHAPE(3));
}

static void test_mx__dtypes(void **state)
{
    (void)state;
    mx_array x = mx_astype(matrix(), MX_BFLOAT16);
    assert_int_equal(mx_dtype(x), MX_BFLOAT16);
    assert_int_equal(mx_dtype(mx_scale(x, 0.1)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(mx_shift(x, 0.1)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(mx_softmax(x, 1)), MX_BFLOAT16);
    assert_int_equal(mx_nbytes(x), 12);
    assert_int_equal(mx_dtype_size(MX_BFLOAT16), 2);
    assert_string_equal(mx_dtype_name(MX_FLOAT16), "float16");
    expect(mx_astype(floats(FLOATS(1.9f, -1.9f), SHAPE(2)), MX_INT32), FLOATS(1, -1), SHAPE(2));
    uint8_t b[3] = {1, 0, 1};
    expect(mx_from(b, MX_BOOL, SHAPE(3)), FLOATS(1, 0, 1), SHAPE(3));
    double d[2] = {1.5, -2.5};
    int64_t big = -5;
    expect(mx_from(&big, MX_INT64, SHAPE(1)), FLOATS(-5), SHAPE(1));
    expect(mx_from(d, MX_FLOAT64, SHAPE(2)), FLOATS(1.5f, -2.5f), SHAPE(2));
}

static void test_mx__creation(void **state)
{
    (void)state;
    expect(mx_zeros(MX_FLOAT32, 2, 1), FLOATS(0, 0), SHAPE(2, 1));
    expect(mx_full(2.5, MX_FLOAT32, 3), FLOATS(2.5f, 2.5f, 2.5f), SHAPE(3));
    expect(mx_zeros_like(matrix()), FLOATS(0, 0, 0, 0, 0, 0), SHAPE(2, 3));
    expect(mx_arange(1, 7, 2, MX_INT32), FLOATS(1, 3, 5), SHAPE(3));
    expect(mx_int(-7), FLOATS(-7), (int[]){0}, 0);
    assert_int_equal(mx_dtype(mx_int(1)), MX_INT32);
    assert_int_equal(mx_dtype(mx_float(1)), MX_FLOAT32);
}

static void test_mx__shapes(void **state)
{
    (void)state;
    mx_array x = matrix();
    expect(mx_reshape(x, 3, -1), FLOATS(1, 2, 3, 4, 5, 6), SHAPE(3, 2));
    expect(mx_transpose(x, 1, 0), FLOATS(1, 4, 2, 5, 3, 6), SHAPE(3, 2));
    expect(mx_contiguous(mx_swapaxes(x, 0, 1)), FLOATS(1, 4, 2, 5, 3, 6), SHAPE(3, 2));
    expect(mx_broadcast_to(mx_float(3), 2, 2), FLOATS(3, 3, 3, 3), SHAPE(2, 2));
    expect(mx_flatten(x, 0, -1), FLOATS(1, 2, 3, 4, 5, 6), SHAPE(6));
    expect(mx_expand_dims(x, 1), FLOATS(1, 2, 3, 4, 5, 6), SHAPE(2, 1, 3));
    expect(mx_squeeze(mx_expand_dims(x, 0), 0), FLOATS(1, 2, 3, 4, 5, 6), SHAPE(2, 3));
    expect(mx_index(x, 1, 2), FLOATS(3, 6), SHAPE(2));
    expect(mx_index(x, 0, -1), FLOATS(4, 5, 6), SHAPE(3));
    expect(mx_slice(x, 1, 1, 3), FLOATS(2, 3, 5, 6), SHAPE(2, 2));
    expect(mx_slice(x, 1, -1, 3), FLOATS(3, 6), SHAPE(2, 1));
    expect(mx_slice_step(x, 1, 0, 3, 2), FLOATS(1, 3, 4, 6), SHAPE(2, 2));
    expect(mx_slice_update(x, mx_zeros(MX_FLOAT32, 2, 1), 1, 1), FLOATS(1, 0, 3, 4, 0, 6),
           SHAPE(2, 3));
    expect(mx_pad(x, 1, 1, 0, 9), FLOATS(9, 1, 2, 3, 9, 4, 5, 6), SHAPE(2, 4));
    expect(mx_repeat(x, 2, 0), FLOATS(1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6), SHAPE(4, 3));
    mx_array two[] = {x, mx_scale(x, 10)};
    expect(mx_concatenate(two, 2, 1), FLOATS(1, 2, 3, 10, 20, 30, 4, 5, 6, 40, 50, 60),
           SHAPE(2, 6));
    expect(mx_stack(two, 2, 1), FLOATS(1, 2, 3, 10, 20, 30, 4, 5, 6, 40, 50, 60), SHAPE(2, 2, 3));
    assert_int_equal(mx_dim(x, -1), 3);
    assert_int_equal(mx_size(x), 6);
}

static void test_mx__gather_and_scatter(void **state)
{
    (void)state;
    mx_array x = matrix();
    expect(mx_take(x, ints((int32_t[]){2, 0}, SHAPE(2)), 1), FLOATS(3, 1, 6, 4), SHAPE(2, 2));
    mx_array i = ints((int32_t[]){2, 1}, SHAPE(2, 1));
    expect(mx_take_along_axis(x, i, 1), FLOATS(3, 5), SHAPE(2, 1));
    expect(mx_put_along_axis(x, i, mx_zeros(MX_FLOAT32, 2, 1), 1), FLOATS(1, 2, 0, 4, 0, 6),
           SHAPE(2, 3));
}

static void test_mx__windows(void **state)
{
    (void)state;
    mx_array x = floats(FLOATS(0, 1, 2, 3, 4, 5, 6), SHAPE(7));
    expect(mx_windows(x, 0, 2, 2), FLOATS(0, 1, 2, 3, 4, 5), SHAPE(3, 2));
    expect(mx_windows(x, 0, 4, 1), FLOATS(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6),
           SHAPE(4, 4));
    expect(mx_windows(x, 0, 3, 2), FLOATS(0, 1, 2, 2, 3, 4, 4, 5, 6), SHAPE(3, 3));
    expect(mx_windows(x, 0, 2, 3), FLOATS(0, 1, 3, 4), SHAPE(2, 2));
    expect(mx_windows(x, 0, 7, 4), FLOATS(0, 1, 2, 3, 4, 5, 6), SHAPE(1, 7));
    mx_array y = mx_stack((mx_array[]){x, mx_scale(x, 10)}, 2, 1);           /* [7,2] */
    expect(mx_windows(y, 0, 2, 5), FLOATS(0, 0, 1, 10, 5, 50, 6, 60), SHAPE(2, 2, 2));
}

static void test_mx__products(void **state)
{
    (void)state;
    mx_array x = matrix(), y = mx_transpose(x, 1, 0);
    expect(mx_matmul(x, y), FLOATS(14, 32, 32, 77), SHAPE(2, 2));
    expect(mx_addmm(mx_float(1), x, y, 2, 10), FLOATS(38, 74, 74, 164), SHAPE(2, 2));
    /* One channel: a correlation of (1,2,3,4) with (1,10), stride 1 and 2, then padded. */
    mx_array s = floats(FLOATS(1, 2, 3, 4), SHAPE(1, 4, 1));
    mx_array w = floats(FLOATS(1, 10), SHAPE(1, 2, 1));
    expect(mx_conv1d(s, w, 1, 0, 1, 1), FLOATS(21, 32, 43), SHAPE(1, 3, 1));
    expect(mx_conv1d(s, w, 2, 0, 1, 1), FLOATS(21, 43), SHAPE(1, 2, 1));
    expect(mx_conv1d(s, w, 1, 1, 1, 1), FLOATS(10, 21, 32, 43, 4), SHAPE(1, 5, 1));
    expect(mx_conv1d(s, w, 1, 0, 2, 1), FLOATS(31, 42), SHAPE(1, 2, 1));
    mx_array image = floats(FLOATS(1, 2, 3, 4), SHAPE(1, 2, 2, 1));
    mx_array k = floats(FLOATS(1, 10, 100, 1000), SHAPE(1, 2, 2, 1));
    expect(mx_conv2d(image, k, 1, 0, 1), FLOATS(4321), SHAPE(1, 1, 1, 1));
}

static void test_mx__norms(void **state)
{
    (void)state;
    mx_array x = floats(FLOATS(3, 4, 0, 0), SHAPE(1, 4));           /* mean square 6.25 */
    expect(mx_rms_norm(x, MX_NONE, 0), FLOATS(1.2f, 1.6f, 0, 0), SHAPE(1, 4));
    mx_array w = floats(FLOATS(1, 2, 3, 4), SHAPE(4));
    expect(mx_rms_norm(x, w, 0), FLOATS(1.2f, 3.2f, 0, 0), SHAPE(1, 4));
    mx_array y = floats(FLOATS(1, 3), SHAPE(1, 2)), b = floats(FLOATS(10, 20), SHAPE(2));
    expect(mx_layer_norm(y, MX_NONE, MX_NONE, 0), FLOATS(-1, 1), SHAPE(1, 2));
    expect(mx_layer_norm(y, mx_full(2, MX_FLOAT32, 2), b, 0), FLOATS(8, 22), SHAPE(1, 2));
}

static void test_mx__rope(void **state)
{
    (void)state;
    /* Halves are pairs: (x0,x2) turn by the position, (x1,x3) by position / 100^(1/2) = /10. */
    mx_array x = floats(FLOATS(1, 1, 0, 0, 1, 1, 0, 0), SHAPE(1, 1, 2, 4));
    float c1 = 0.54030231f, s1 = 0.84147098f, c2 = 0.99500417f, s2 = 0.09983342f;
    float want[] = {1, 1, 0, 0, c1, c2, s1, s2};
    expect(mx_rope(x, 4, 100, MX_NONE, MX_NONE), want, SHAPE(1, 1, 2, 4));
    mx_array freqs = floats(FLOATS(1, 10), SHAPE(2));
    expect(mx_rope(x, 4, 0, mx_int(0), freqs), want, SHAPE(1, 1, 2, 4));
    /* Infinite wavelength: no rotation.  And offset 1: the first row turns as the second did. */
    freqs = floats(FLOATS(1, INFINITY), SHAPE(2));
    mx_array y = mx_slice(mx_rope(x, 4, 0, mx_int(1), freqs), 2, 0, 1);
    expect(y, FLOATS(c1, 1, s1, 0), SHAPE(1, 1, 1, 4));
    /* An offset for each item of the batch. */
    mx_array two = mx_repeat(x, 2, 0);
    y = mx_rope(two, 4, 0, ints((int32_t[]){0, 1}, SHAPE(2)), freqs);
    expect(mx_slice(mx_slice(y, 2, 0, 1), 0, 1, 2), FLOATS(c1, 1, s1, 0), SHAPE(1, 1, 1, 4));
}

static void test_mx__attention(void **state)
{
    (void)state;
    /* One head, scores 0: the average of the visible values. */
    mx_array q = mx_zeros(MX_FLOAT32, 1, 1, 2, 2), k = q;
    mx_array v = floats(FLOATS(1, 2, 3, 4), SHAPE(1, 1, 2, 2));
    expect(mx_scaled_dot_product_attention(q, k, v, 1, false, MX_NONE), FLOATS(2, 3, 2, 3),
           SHAPE(1, 1, 2, 2));
    expect(mx_scaled_dot_product_attention(q, k, v, 1, true, MX_NONE), FLOATS(1, 2, 2, 3),
           SHAPE(1, 1, 2, 2));
    uint8_t see[] = {0, 1, 1, 0};
    mx_array mask = mx_from(see, MX_BOOL, SHAPE(2, 2));
    expect(mx_scaled_dot_product_attention(q, k, v, 1, false, mask), FLOATS(3, 4, 1, 2),
           SHAPE(1, 1, 2, 2));
    mask = floats(FLOATS(0, -1e9f, 0, 0), SHAPE(2, 2));
    expect(mx_scaled_dot_product_attention(q, k, v, 1, false, mask), FLOATS(1, 2, 2, 3),
           SHAPE(1, 1, 2, 2));
    /* Scores are scaled: q.k = 2 and 0, scale 0.5 gives weights e/(e+1), 1/(e+1). */
    q = floats(FLOATS(1, 1), SHAPE(1, 1, 1, 2));
    k = floats(FLOATS(1, 1, 0, 0), SHAPE(1, 1, 2, 2));
    expect(mx_scaled_dot_product_attention(q, k, v, 0.5, false, MX_NONE),
           FLOATS(1.5378828f, 2.5378828f), SHAPE(1, 1, 1, 2));
}

static void test_mx__random_is_a_function_of_the_key(void **state)
{
    (void)state;
    struct err e = {0};
    float a[100], b[100];
    mx_array k1 = mx_random_fold(mx_random_key(1), 7), k2 = mx_random_fold(mx_random_key(1), 8);
    assert_int_equal(mx_read(mx_random_normal_(k1, 2, SHAPE(100)), MX_FLOAT32, a, sizeof a, &e), 0);
    assert_int_equal(mx_read(mx_random_normal_(k1, 2, SHAPE(100)), MX_FLOAT32, b, sizeof b, &e), 0);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(mx_read(mx_random_normal_(k2, 2, SHAPE(100)), MX_FLOAT32, b, sizeof b, &e), 0);
    assert_memory_not_equal(a, b, sizeof a);
    double square = 0;
    for (int i = 0; i < 100; i++)
        square += (double)a[i] * (double)a[i] / 100;
    assert_true(square > 2 && square < 7);                      /* expected 4 */
    assert_int_equal(mx_read(mx_random_uniform_(k1, 3, 4, SHAPE(100)), MX_FLOAT32, a, sizeof a, &e),
                     0);
    for (int i = 0; i < 100; i++)
        assert_true(a[i] >= 3 && a[i] < 4);
    mx_array bits = mx_random_bernoulli_(k1, 0.25, SHAPE(100));
    assert_int_equal(mx_read(bits, MX_FLOAT32, a, sizeof a, &e), 0);
    int ones = 0;
    for (int i = 0; i < 100; i++)
        ones += a[i] != 0.0f;
    assert_true(ones > 8 && ones < 45);
    expect(mx_random_categorical(k1, floats(FLOATS(-1e9f, 0, -1e9f), SHAPE(1, 3))), FLOATS(1),
           SHAPE(1));
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void test_mx__wrap_calls_done_once(void **state)
{
    (void)state;
    int calls = 0;
    _Alignas(16384) static float data[4096] = {1, 2, 3};
    mx_enter();
    mx_array x = mx_wrap(data, MX_FLOAT32, SHAPE(4096), count_call, &calls);
    expect(mx_slice(x, 0, 0, 3), FLOATS(1, 2, 3), SHAPE(3));
    mx_leave(MX_NONE);
    assert_int_equal(calls, 1);
}

static void test_mx__depends_gives_the_value(void **state)
{
    (void)state;
    expect(mx_depends(mx_float(2), mx_float(3)), FLOATS(2), (int[]){0}, 0);
    expect(mx_stop_gradient(mx_float(2)), FLOATS(2), (int[]){0}, 0);
}

static void test_mx__names_device_and_version(void **state)
{
    (void)state;
    assert_string_equal(mx_version(), "0.32.4");
    bool on_cpu = strcmp(mx_device_name(), "cpu") == 0;
    assert_int_equal(on_cpu, mx_device() == MX_CPU);
    assert_true(on_cpu || mx_has_gpu());
    assert_true(mx_thread_count() >= 1);
}

/* The wheel's own BLAS does 5 GFLOP/s; OpenBLAS, linked ahead of it, 20 times that. */
static void test_mx__matmul_uses_the_fast_blas(void **state)
{
    (void)state;
    if (mx_device() != MX_CPU)
        skip();
#ifdef __linux__
    extern int openblas_get_num_threads(void) __attribute__((weak));
    assert_true(openblas_get_num_threads != NULL);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mx__arithmetic, before, after),
        cmocka_unit_test_setup_teardown(test_mx__functions, before, after),
        cmocka_unit_test_setup_teardown(test_mx__logic, before, after),
        cmocka_unit_test_setup_teardown(test_mx__reductions, before, after),
        cmocka_unit_test_setup_teardown(test_mx__softmax_of_large_values_is_finite, before, after),
        cmocka_unit_test_setup_teardown(test_mx__dtypes, before, after),
        cmocka_unit_test_setup_teardown(test_mx__creation, before, after),
        cmocka_unit_test_setup_teardown(test_mx__shapes, before, after),
        cmocka_unit_test_setup_teardown(test_mx__gather_and_scatter, before, after),
        cmocka_unit_test_setup_teardown(test_mx__windows, before, after),
        cmocka_unit_test_setup_teardown(test_mx__products, before, after),
        cmocka_unit_test_setup_teardown(test_mx__norms, before, after),
        cmocka_unit_test_setup_teardown(test_mx__rope, before, after),
        cmocka_unit_test_setup_teardown(test_mx__attention, before, after),
        cmocka_unit_test_setup_teardown(test_mx__random_is_a_function_of_the_key, before, after),
        cmocka_unit_test_setup_teardown(test_mx__wrap_calls_done_once, before, after),
        cmocka_unit_test_setup_teardown(test_mx__depends_gives_the_value, before, after),
        cmocka_unit_test_setup_teardown(test_mx__names_device_and_version, before, after),
        cmocka_unit_test_setup_teardown(test_mx__matmul_uses_the_fast_blas, before, after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
