/* Sorting, quantised and gathered products: against the plain product, whichever way they are
 * computed on this device. */
#include "mx_testing.h"

#include <math.h>
#include <stdlib.h>

#define SHAPE(...) ((int[]){__VA_ARGS__}), MX_COUNT(__VA_ARGS__)

static mx_array normal(uint64_t seed, const int *shape, int n)
{
    return mx_random_normal_(mx_random_key(seed), 1, shape, n);
}

static void expect_near(mx_array found, mx_array expected, double tolerance)
{
    assert_int_equal(mx_ndim(found), mx_ndim(expected));
    for (int i = 0; i < mx_ndim(found); i++)
        assert_int_equal(mx_dim(found, i), mx_dim(expected, i));
    mx_array far = mx_max(mx_reshape(mx_abs(mx_subtract(found, expected)), -1), 0, false);
    assert_near(item(far), 0, tolerance);
}

static void test_mx_quant__sorting(void **state)
{
    (void)state;
    mx_array x = mx_from((float[]){3, 1, 2, 0, 9, 5}, MX_FLOAT32, SHAPE(2, 3));
    mx_array sorted = mx_from((float[]){1, 2, 3, 0, 5, 9}, MX_FLOAT32, SHAPE(2, 3));
    mx_array order = mx_from((float[]){1, 2, 0, 0, 2, 1}, MX_FLOAT32, SHAPE(2, 3));
    expect_near(mx_sort(x, -1), sorted, 0);
    expect_near(mx_astype(mx_argsort(x, -1), MX_FLOAT32), order, 0);
    mx_array last = mx_slice(mx_argpartition(x, -2, 1), 1, 1, 3);
    mx_array two = mx_sort(mx_take_along_axis(x, last, 1), 1);
    expect_near(two, mx_slice(sorted, 1, 1, 3), 0);
    expect_near(mx_sort(mx_topk(x, 2, 1), 1), mx_slice(sorted, 1, 1, 3), 0);
    mx_array most = mx_from((float[]){3, 3, 3, 0, 9, 9}, MX_FLOAT32, SHAPE(2, 3));
    expect_near(mx_cummax(x, 1), most, 0);
}

static void test_mx_quant__bits(void **state)
{
    (void)state;
    mx_array a = mx_int(13), b = mx_int(6);
    assert_near(item(mx_bitwise_and(a, b)), 4, 0);
    assert_near(item(mx_bitwise_or(a, b)), 15, 0);
    assert_near(item(mx_left_shift(a, mx_int(2))), 52, 0);
    assert_near(item(mx_right_shift(a, mx_int(2))), 3, 0);
    assert_near(item(mx_floor_divide(a, b)), 2, 0);
    assert_near(item(mx_remainder(a, b)), 1, 0);
    assert_near(item(mx_any(mx_equal(a, b))), 0, 0);
    assert_near(item(mx_any(mx_less(b, a))), 1, 0);
}

/* Of all numbers of bits, more rows than are dequantised at a time, transposed or not. */
static void test_mx_quant__matmul(void **state)
{
    static const int BITS[] = {2, 3, 4, 5, 6, 8};
    (void)state;
    for (int k = 0; k < 6; k++) {
        mx_array q, s, b, w = normal(1, SHAPE(300, 96));
        mx_quantize(w, 32, BITS[k], &q, &s, &b);
        mx_array dense = mx_dequantize(q, s, b, 32, BITS[k], MX_FLOAT32);
        expect_near(dense, w, 8 / pow(2, BITS[k]));
        mx_array x = normal(2, SHAPE(2, 5, 96)), y = normal(3, SHAPE(7, 300));
        expect_near(mx_quantized_matmul(x, q, s, b, true, 32, BITS[k]),
                    mx_matmul(x, mx_swapaxes(dense, 0, 1)), 1e-4);
        expect_near(mx_quantized_matmul(y, q, s, b, false, 32, BITS[k]), mx_matmul(y, dense), 1e-4);
    }
}

/* Row i by matrix ids[i], with a plain product for each. */
static mx_array row_by_row(mx_array x, mx_array w, const int *ids, int n)
{
    mx_array rows[16];
    for (int i = 0; i < n; i++)
        rows[i] = mx_matmul(mx_index(x, 0, i), mx_index(w, 0, ids[i]));
    return mx_stack(rows, n, 0);
}

static void test_mx_quant__gather(void **state)
{
    enum { N = 9 };
    static const int IDS[N] = {0, 0, 2, 2, 2, 3, 3, 3, 3};
    (void)state;
    mx_array ids = mx_from(IDS, MX_INT32, SHAPE(N)), x = normal(1, SHAPE(N, 1, 64));
    mx_array w = normal(2, SHAPE(5, 64, 160)), t = normal(3, SHAPE(5, 160, 64));
    mx_array turned = mx_swapaxes(t, 1, 2),
             odd = mx_slice_step(normal(4, SHAPE(5, 64, 80)), 2, 0, 80, 2);
    expect_near(mx_gather_mm(x, w, MX_NONE, ids, true), row_by_row(x, w, IDS, N), 1e-4);
    expect_near(mx_gather_mm(x, turned, MX_NONE, ids, true), row_by_row(x, turned, IDS, N), 1e-4);
    expect_near(mx_gather_mm(x, odd, MX_NONE, ids, true), row_by_row(x, odd, IDS, N), 1e-4);
    expect_near(mx_gather_mm(x, w, MX_NONE, ids, false), row_by_row(x, w, IDS, N), 1e-4);
    for (int bits = 4; bits <= 8; bits += 4) {
        mx_array q, s, b;
        mx_quantize(t, 32, bits, &q, &s, &b);
        mx_array dense = mx_dequantize(q, s, b, 32, bits, MX_FLOAT32);
        mx_array y = mx_gather_qmm(x, q, s, b, MX_NONE, ids, true, 32, bits, true);
        expect_near(y, row_by_row(x, mx_swapaxes(dense, 1, 2), IDS, N), 1e-4);
        if (mx_device() == MX_CPU) {
            y = mx_gather_qmm(y, q, s, b, MX_NONE, ids, false, 32, bits, true);
            mx_array z = row_by_row(x, mx_swapaxes(dense, 1, 2), IDS, N);
            expect_near(mx_scale(y, 1e-2), mx_scale(row_by_row(z, dense, IDS, N), 1e-2), 1e-4);
        }
    }
}

struct product {
    mx_array x, w, ids, q, s, b;
};

static void gather(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct product *p = arg;
    (void)in, (void)n_in, (void)n_out;
    mx_array y = mx_gather_mm(p->x, p->w, MX_NONE, p->ids, true);
    out[0] = mx_sum_all(mx_square(y));
}

static void plain(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct product *p = arg;
    (void)in, (void)n_in, (void)n_out;
    out[0] = mx_sum_all(mx_square(row_by_row(p->x, p->w, (const int[]){0, 1, 1}, 3)));
}

static void quantised(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct product *p = arg;
    (void)in, (void)n_in, (void)n_out;
    out[0] = mx_sum_all(mx_square(mx_quantized_matmul(p->x, p->q, p->s, p->b, true, 32, 4)));
}

/* The gradients of the operators themselves. */
static void test_mx_quant__gradients(void **state)
{
    (void)state;
    struct product p = {.x = mx_slot(normal(1, SHAPE(3, 1, 32))),
                        .w = mx_slot(normal(2, SHAPE(2, 32, 8))),
                        .ids = mx_from((int[]){0, 1, 1}, MX_INT32, SHAPE(3))};
    mx_array wrt[] = {p.x, p.w}, loss, found[2], expected[2];
    struct mx_arrays none = {0};
    mx_value_and_grad(gather, &p, none, (struct mx_arrays){wrt, 2}, &loss, 1, found);
    mx_value_and_grad(plain, &p, none, (struct mx_arrays){wrt, 2}, &loss, 1, expected);
    expect_near(found[0], expected[0], 1e-3);
    expect_near(found[1], expected[1], 1e-3);

    mx_quantize(normal(3, SHAPE(8, 32)), 32, 4, &p.q, &p.s, &p.b);
    mx_array dense = mx_dequantize(p.q, p.s, p.b, 32, 4, MX_FLOAT32);
    mx_value_and_grad(quantised, &p, none, (struct mx_arrays){wrt, 1}, &loss, 1, found);
    mx_array y = mx_matmul(p.x, mx_swapaxes(dense, 0, 1));
    expect_near(found[0], mx_matmul(mx_scale(y, 2), dense), 1e-3);
    mx_slot_free(p.x);
    mx_slot_free(p.w);
}

/* segmented_mm: a product for each segment of the inner axis, empty ones included. */
static void test_mx_quant__segmented(void **state)
{
    (void)state;
    mx_array a = normal(1, SHAPE(6, 9)), b = normal(2, SHAPE(9, 5));
    mx_array segments = mx_from((uint32_t[]){0, 4, 4, 4, 4, 9}, MX_UINT32, SHAPE(3, 2));
    mx_array y = mx_segmented_mm(a, b, segments);
    expect_near(mx_index(y, 0, 0), mx_matmul(mx_slice(a, 1, 0, 4), mx_slice(b, 0, 0, 4)), 1e-5);
    expect_near(mx_index(y, 0, 1), mx_zeros(MX_FLOAT32, 6, 5), 0);
    expect_near(mx_index(y, 0, 2), mx_matmul(mx_slice(a, 1, 4, 9), mx_slice(b, 0, 4, 9)), 1e-5);
}

static int done;

static void count_done(void *arg)
{
    (void)arg;
    done++;
}

/* Memory that is wrapped for later is not touched, has its shape, and is let go of either way. */
static void test_mx_quant__wrap_later(void **state)
{
    (void)state;
    static float data[] = {1, 2, 3, 4};
    struct err e = {0};
    size_t there = mx_memory_active();
    done = 0;
    mx_enter();
    mx_array x = mx_wrap_later(data, MX_FLOAT32, SHAPE(2, 2), count_done, NULL);
    mx_array y = mx_wrap_later(data, MX_FLOAT32, SHAPE(4), count_done, NULL);
    assert_int_equal(mx_dim(x, 1), 2);
    assert_int_equal(mx_memory_active(), there);
    data[0] = 7;
    assert_near(item(mx_sum_all(x)), 16, 0);
    assert_int_equal(mx_size(y), 4);
    mx_leave(MX_NONE);
    assert_int_equal(done, 2);
    assert_int_equal(mx_check(&e), 0);
}

static void test_mx_quant__misfits_are_errors(void **state)
{
    (void)state;
    mx_array q, s, b;
    mx_quantize(normal(1, SHAPE(4, 33)), 32, 4, &q, &s, &b);
    assert_true(mx_is_none(q) && mx_is_none(s) && mx_is_none(b));
    expect_error("quantize");
    mx_quantize(normal(1, SHAPE(4, 32)), 32, 4, &q, &s, &b);
    mx_quantized_matmul(normal(2, SHAPE(3, 31)), q, s, b, true, 32, 4);
    expect_error("quantized_matmul");
    mx_dequantize(q, s, b, 32, 8, MX_FLOAT32);
    expect_error("dequantize");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mx_quant__sorting, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__bits, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__matmul, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__gather, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__gradients, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__segmented, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__wrap_later, before, after),
        cmocka_unit_test_setup_teardown(test_mx_quant__misfits_are_errors, before, after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
