/* Weights in few bits: MLX's layout, products and their gradients, and no dense weight kept. */
#include "adapters_fixture.h"

#include "nn/quant.h"

static void expect_same_bytes(mx_array found, mx_array expected, enum mx_dtype d, const char *what)
{
    struct err e = {0};
    size_t bytes = mx_size(expected) * mx_dtype_size(d);
    assert_int_equal(mx_size(found), mx_size(expected));
    unsigned char *f = malloc(bytes), *x = malloc(bytes);
    assert_true(f && x);
    if (mx_read(found, d, f, bytes, &e) || mx_read(expected, d, x, bytes, &e))
        fail_msg("%s", e.text);
    if (memcmp(f, x, bytes) != 0)
        fail_msg("%s differs", what);
    free(f);
    free(x);
}

/* Words, scales and biases bit by bit as mlx.core.quantize makes them, of both dtypes. */
static void test_quant__layout_is_mlx_s(void **state)
{
    static const int GROUPS[] = {32, 64, 128};
    (void)state;
    for (int k = 0; k < 12; k++) {
        const char *dtype = k % 2 ? "bf16" : "f32";
        int bits = k / 2 % 2 ? 8 : 4, group = GROUPS[k / 4];
        char key[100];
        snprintf(key, sizeof key, "quantize.%s.%d.%d", dtype, bits, group);
        mx_array w = ref_of("quantize.%s.w%s", dtype, "");
        struct nn_quant q = {.bits = bits, .group = group};
        mx_array words;
        mx_quantize(w, group, bits, &words, &q.scales, &q.biases);
        expect_same_bytes(words, ref_of("%s%s.q", key, ""), MX_INT32, key);
        assert_int_equal(mx_dtype(q.scales), mx_dtype(w));
        expect_same_bytes(q.scales, ref_of("%s%s.scales", key, ""), mx_dtype(w), key);
        expect_same_bytes(q.biases, ref_of("%s%s.biases", key, ""), mx_dtype(w), key);
        expect_near(nn_dequantize(words, &q, MX_FLOAT32), ref_of("%s%s.dense", key, ""), 1e-6);
        assert_int_equal(mx_dtype(nn_dequantize(words, &q, MX_BFLOAT16)), MX_BFLOAT16);
        expect_near(nn_dequantize(words, &q, MX_BFLOAT16), ref_of("%s%s.dense", key, ""), 4e-2);
    }
}

struct layers {
    mx_array weight, scales, biases, x, dy;
    struct nn_quant quant;
    int count;
    bool keep;                          /* with MLX's own gradient, which keeps the dense weights */
};

static void product(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct layers *l = arg;
    mx_array x = l->x;
    (void)in, (void)n_in, (void)n_out;
    for (int i = 0; i < l->count; i++) {
        if (l->keep) {
            mx_array w = nn_dequantize(l->weight, &l->quant, MX_FLOAT32);
            x = mx_matmul(x, mx_swapaxes(w, 0, 1));
        } else {
            x = nn_quant_matmul(x, l->weight, &l->quant);
        }
    }
    out[0] = mx_sum_all(mx_multiply(x, l->dy));
}

static void test_quant__matmul_and_gradient(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        const char *name = bits == 4 ? "quantize.f32.4.64" : "quantize.f32.8.64";
        struct layers l = {.count = 1, .quant = {.bits = bits, .group = 64}};
        struct err e = {0};
        mx_array loss, grad, dense = ref_of("%s%s.dense", name, "");
        mx_quantize(ref("quantize.f32.w"), 64, bits, &l.weight, &l.quant.scales, &l.quant.biases);
        l.x = mx_slot(mx_random_normal_(mx_random_key(1), 1, (int[]){2, 3, 256}, 3));
        l.dy = mx_random_normal_(mx_random_key(2), 1, (int[]){2, 3, 6}, 3);
        expect_near(nn_quant_matmul(l.x, l.weight, &l.quant),
                    mx_matmul(l.x, mx_swapaxes(dense, 0, 1)), 1e-5);
        mx_value_and_grad(product, &l, (struct mx_arrays){0}, (struct mx_arrays){&l.x, 1}, &loss, 1,
                          &grad);
        expect_near(grad, mx_matmul(l.dy, dense), 1e-5);
        assert_int_equal(mx_check(&e), 0);
        mx_slot_free(l.x);
    }
}

/* Peak bytes of a forward and backward pass above what was there. */
static size_t peak_of(struct layers *l, bool compiled);

static void gradient(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct layers *l = arg;
    (void)in, (void)n_in, (void)n_out;
    mx_value_and_grad(product, l, (struct mx_arrays){0}, (struct mx_arrays){&l->x, 1}, &out[0], 1,
                      &out[1]);
}

static size_t peak_of(struct layers *l, bool compiled)
{
    struct err e = {0};
    mx_array out[2];
    mx_enter();
    mx_cache_clear();
    size_t there = mx_memory_active();
    mx_memory_peak_reset();
    struct mx_compiled *c = mx_compile(gradient, l, (struct mx_arrays){&l->x, 1});
    if (compiled)
        mx_call(c, (struct mx_arrays){0}, out, 2);
    else
        gradient(l, NULL, 0, out, 2);
    if (mx_eval(out, 2, &e))
        fail_msg("%s", e.text);
    mx_compiled_free(c);
    mx_leave(MX_NONE);
    return mx_memory_peak() - there;
}

/* Through twelve layers no dense weight is kept from the forward to the backward pass, in a
 * compiled function either, which might take the two for one. */
static void test_quant__no_dense_weight_is_kept(void **state)
{
    (void)state;
    enum { D = 512, DENSE = D * D * 4 };
    struct err e = {0};
    struct layers l = {.count = 12, .quant = {.bits = 4, .group = 64}};
    mx_array w = mx_random_normal_(mx_random_key(3), 0.04, (int[]){D, D}, 2);
    mx_quantize(w, 64, 4, &l.weight, &l.quant.scales, &l.quant.biases);
    l.x = mx_slot(mx_full(1, MX_FLOAT32, 4, D));
    l.dy = mx_full(1, MX_FLOAT32, 4, D);
    mx_array all[] = {l.weight, l.quant.scales, l.quant.biases, l.x, l.dy};
    assert_int_equal(mx_eval(all, 5, &e), 0);
    assert_true(peak_of(&l, false) < 3 * DENSE);
    assert_true(peak_of(&l, true) < 3 * DENSE);
    l.keep = true;
    assert_true(peak_of(&l, false) > 10 * DENSE);
    mx_slot_free(l.x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        adapters_test(test_quant__layout_is_mlx_s),
        adapters_test(test_quant__matmul_and_gradient),
        adapters_test(test_quant__no_dense_weight_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
