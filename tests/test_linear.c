/* Linear layers, adapters and embeddings. */
#include "net.h"

static void test_linear__clipped_equals_transformers(void **state)
{
    (void)state;
    struct nn_clip_linear l = {.linear = {.weight = ref("clip.q_proj.linear.weight")}};
    expect_near(nn_clip_linear(&l, ref("clip.x")),
                mx_matmul(ref("clip.x"), mx_swapaxes(l.linear.weight, 0, 1)), 1e-6);
    l.input_min = ref("clip.q_proj.input_min");
    l.input_max = ref("clip.q_proj.input_max");
    l.output_min = ref("clip.q_proj.output_min");
    l.output_max = ref("clip.q_proj.output_max");
    expect_ref(nn_clip_linear(&l, ref("clip.x")), "clip.y", 1e-6);
}

/* y = x Wᵀ + b + s (x Aᵀ) Bᵀ with numbers that can be followed by hand. */
static void test_linear__adapter(void **state)
{
    (void)state;
    mx_array x = mx_from((float[]){1, 2}, MX_FLOAT32, SHAPE(1, 2));
    struct nn_linear l = {
        .weight = mx_from((float[]){1, 0, 0, 1, 1, 1}, MX_FLOAT32, SHAPE(3, 2)),
        .bias = mx_from((float[]){10, 20, 30}, MX_FLOAT32, SHAPE(3)),
        .lora = {.a = mx_from((float[]){1, 1}, MX_FLOAT32, SHAPE(1, 2)),
                 .b = mx_from((float[]){1, 2, 3}, MX_FLOAT32, SHAPE(3, 1)),
                 .rank = 1,
                 .scale = 0.5},
    };
    mx_array want = mx_from((float[]){12.5f, 25, 37.5f}, MX_FLOAT32, SHAPE(1, 3));
    expect_near(nn_linear(&l, x), want, 1e-6);
    assert_int_equal(mx_dtype(nn_linear(&l, mx_astype(x, MX_BFLOAT16))), MX_BFLOAT16);
}

/* Keeps the mean, zeroes the right share, depends on key and site only; off without a key. */
static void test_linear__dropout(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct nn_dropout d = {.rate = 0.25};
    mx_array one = mx_full(1, MX_FLOAT32, 1, 1), ones = mx_full(1, MX_FLOAT32, N, 1);
    struct nn_linear l = {
        .weight = mx_full(0, MX_FLOAT32, 1, 1),
        .lora = {.a = one, .b = one, .rank = 1, .scale = 1, .site = 3, .dropout = &d},
    };
    expect_near(nn_linear(&l, ones), ones, 0);
    d.key = mx_random_key(1);
    float *a = read_floats(nn_linear(&l, ones)), *again = read_floats(nn_linear(&l, ones));
    l.lora.site = 4;
    float *other = read_floats(nn_linear(&l, ones));
    int zeros = 0, differ = 0;
    for (int i = 0; i < N; i++) {
        assert_true(a[i] == 0 || fabs((double)a[i] - 1 / 0.75) < 1e-6);
        assert_true(a[i] == again[i]);
        zeros += a[i] == 0;
        differ += a[i] != other[i];
    }
    assert_near(zeros / (double)N, 0.25, 0.02);
    assert_near(differ / (double)N, 2 * 0.25 * 0.75, 0.02);
    free(a);
    free(again);
    free(other);
}

/* DoRA under dropout is PEFT's: y = x Wᵀ + b + (c - 1) d Wᵀ + c s (d Aᵀ) Bᵀ, d = dropout(x). */
static void test_linear__magnitude_and_dropout(void **state)
{
    (void)state;
    struct nn_dropout drop = {.rate = 0.5, .key = mx_random_key(8)};
    mx_array x = mx_random_normal_(mx_random_key(1), 1, SHAPE(7, 4));
    mx_array eye =
        mx_from((float[]){1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, MX_FLOAT32, SHAPE(4, 4));
    struct nn_linear only = {
        .weight = mx_zeros(MX_FLOAT32, 4, 4),
        .lora = {.a = eye, .b = eye, .rank = 4, .scale = 1, .site = 5, .dropout = &drop},
    };
    mx_array d = nn_linear(&only, x);
    struct nn_linear l = {
        .weight = mx_random_normal_(mx_random_key(2), 1, SHAPE(3, 4)),
        .bias = mx_random_normal_(mx_random_key(3), 1, SHAPE(3)),
        .lora = {.a = mx_random_normal_(mx_random_key(4), 1, SHAPE(2, 4)),
                 .b = mx_random_normal_(mx_random_key(5), 1, SHAPE(3, 2)),
                 .magnitude = mx_random_uniform_(mx_random_key(6), 1, 3, SHAPE(3)),
                 .rank = 2,
                 .scale = 1.5,
                 .site = 5,
                 .dropout = &drop},
    };
    l.lora.squares = nn_linear_squares(&l);
    mx_array ba = mx_scale(mx_matmul(l.lora.b, l.lora.a), 1.5), v = mx_add(l.weight, ba);
    mx_array c = mx_divide(l.lora.magnitude, mx_sqrt(mx_sum(mx_square(v), 1, false)));
    mx_array y = mx_add(mx_matmul(x, mx_swapaxes(l.weight, 0, 1)), l.bias);
    mx_array base = mx_matmul(d, mx_swapaxes(l.weight, 0, 1));
    y = mx_add(y, mx_multiply(mx_shift(c, -1), base));
    y = mx_add(y, mx_multiply(c, mx_matmul(d, mx_swapaxes(ba, 0, 1))));
    expect_near(nn_linear(&l, x), y, 1e-5);
    drop.key = MX_NONE;
    mx_array merged = nn_linear_merged(&l, MX_FLOAT32);
    expect_near(nn_linear(&l, x), mx_add(mx_matmul(x, mx_swapaxes(merged, 0, 1)), l.bias), 1e-5);
    expect_near(merged, mx_multiply(mx_expand_dims(c, 1), v), 1e-6);
}

/* Rows of a quantised table, and the clamp around a quantised layer. */
static void test_linear__quantised(void **state)
{
    (void)state;
    mx_array w = mx_random_normal_(mx_random_key(2), 1, SHAPE(5, 64));
    struct nn_clip_linear c = {.linear = {.quant = {.bits = 4, .group = 32}, .dtype = MX_FLOAT32}};
    struct nn_linear *l = &c.linear;
    mx_quantize(w, 32, 4, &l->weight, &l->quant.scales, &l->quant.biases);
    mx_array dense = nn_linear_weight(l, MX_FLOAT32);
    expect_near(dense, w, 0.3);
    mx_array ids = mx_from((int32_t[]){4, 0, 4, 2}, MX_INT32, SHAPE(2, 2));
    expect_near(nn_embedding(l, ids), mx_take(dense, ids, 0), 1e-6);
    c.input_min = mx_float(-0.5), c.input_max = mx_float(0.25);
    c.output_min = mx_float(-2), c.output_max = mx_float(1.5);
    mx_array x = mx_random_normal_(mx_random_key(9), 1, SHAPE(3, 64));
    mx_array y = mx_matmul(mx_clip(x, c.input_min, c.input_max), mx_swapaxes(dense, 0, 1));
    expect_near(nn_clip_linear(&c, x), mx_clip(y, c.output_min, c.output_max), 1e-5);
}

static void test_linear__embedding_casts_rows(void **state)
{
    (void)state;
    struct nn_linear l = {
        .weight = mx_from((float[]){1, 2, 3, 4, 5, 6}, MX_FLOAT32, SHAPE(3, 2)),
        .dtype = MX_BFLOAT16,
    };
    mx_array ids = mx_from((int32_t[]){2, 0, 2, 1}, MX_INT32, SHAPE(2, 2));
    mx_array y = nn_embedding(&l, ids);
    assert_int_equal(mx_dtype(y), MX_BFLOAT16);
    mx_array want = mx_from((float[]){5, 6, 1, 2, 5, 6, 3, 4}, MX_FLOAT32, SHAPE(2, 2, 2));
    expect_near(y, want, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_linear__clipped_equals_transformers),
        nn_test(test_linear__adapter),
        nn_test(test_linear__dropout),
        nn_test(test_linear__magnitude_and_dropout),
        nn_test(test_linear__quantised),
        nn_test(test_linear__embedding_casts_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
