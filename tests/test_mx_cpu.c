/* Fast operators of the processor against the same mathematics out of plain ones. */
#include "testing.h"

#include "mx/mx.h"

static mx_array random_of(uint64_t seed, const int *shape, int n)
{
    return mx_random_normal_(mx_random_key(seed), 1.0, shape, n);
}

static void assert_equal_arrays(mx_array a, mx_array b, double tolerance)
{
    struct err e = {0};
    double worst;
    assert_int_equal(mx_size(a), mx_size(b));
    mx_array d = mx_max(mx_abs(mx_flatten(mx_subtract(a, b), 0, -1)), 0, false);
    assert_int_equal(mx_item(d, &worst, &e), 0);
    assert_ok(e);
    assert_near(worst, 0, tolerance);
}

/* ------------------------------------------------------------- attention -- */

struct attention {
    mx_array q, k, v, mask, along;
    bool causal, plain;
};

/* One head after the other, with sums and exponentials written out. */
static mx_array plain_attention(const struct attention *a)
{
    int H = mx_dim(a->q, 1), K = mx_dim(a->k, 1), T = mx_dim(a->q, 2), S = mx_dim(a->k, 2);
    mx_array heads[8], mask = a->mask;

    if (a->causal)
        mask = mx_less_equal(mx_arange(0, S, 1, MX_INT32),
                             mx_expand_dims(mx_arange(S - T, S, 1, MX_INT32), 1));
    for (int h = 0; h < H; h++) {
        int g = h / (H / K);
        mx_array q = mx_index(a->q, 1, h), k = mx_index(a->k, 1, g), v = mx_index(a->v, 1, g);
        mx_array s = mx_scale(mx_matmul(q, mx_swapaxes(k, 1, 2)), 0.5);
        if (!mx_is_none(mask)) {
            mx_array m = mx_ndim(mask) == 4 ? mx_index(mask, 1, 0) : mask;
            s = mx_where(m, s, mx_float(-1e30));
        }
        s = mx_power(mx_float(exp(1)), mx_subtract(s, mx_max(s, -1, true)));
        heads[h] = mx_matmul(mx_divide(s, mx_sum(s, -1, true)), v);
    }
    return mx_stack(heads, H, 1);
}

static void attend(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct attention *a = arg;
    mx_array y = a->plain
                     ? plain_attention(a)
                     : mx_scaled_dot_product_attention(a->q, a->k, a->v, 0.5, a->causal, a->mask);
    (void)in;
    assert_int_equal(n_in, 0);
    assert_int_equal(n_out, 2);
    out[0] = mx_sum_all(mx_multiply(y, a->along));
    out[1] = y;
}

static void check_attention(int H, int K, int T, int S, bool causal, mx_array mask)
{
    struct attention a = {.causal = causal, .mask = mask};
    mx_array found[2][2], grads[2][3];

    a.q = mx_slot(random_of(1, (int[]){2, H, T, 8}, 4));
    a.k = mx_slot(random_of(2, (int[]){2, K, S, 8}, 4));
    a.v = mx_slot(random_of(3, (int[]){2, K, S, 8}, 4));
    a.along = random_of(4, (int[]){2, H, T, 8}, 4);
    for (int i = 0; i < 2; i++) {
        mx_array wrt[] = {a.q, a.k, a.v};
        a.plain = i == 0;
        mx_value_and_grad(attend, &a, (struct mx_arrays){NULL, 0}, (struct mx_arrays){wrt, 3},
                          found[i], 2, grads[i]);
    }
    assert_equal_arrays(found[0][1], found[1][1], 1e-5);
    for (int i = 0; i < 3; i++)
        assert_equal_arrays(grads[0][i], grads[1][i], 2e-5);
    mx_slot_free(a.q);
    mx_slot_free(a.k);
    mx_slot_free(a.v);
}

static void test_mx_cpu__attention_equals_plain(void **state)
{
    (void)state;
    mx_enter();
    mx_array query = mx_expand_dims(mx_arange(0, 7, 1, MX_INT32), 1);
    mx_array key = mx_arange(0, 7, 1, MX_INT32);
    mx_array band = mx_logical_and(mx_less_equal(key, query), mx_greater(key, mx_shift(query, -3)));
    int lengths[] = {4, 7};
    mx_array ends = mx_from(lengths, MX_INT32, (int[]){2, 1, 1, 1}, 4);
    check_attention(4, 4, 7, 7, true, MX_NONE);
    check_attention(4, 2, 7, 7, true, MX_NONE);
    check_attention(4, 1, 3, 7, true, MX_NONE);
    check_attention(4, 2, 1, 7, true, MX_NONE);
    check_attention(4, 2, 7, 7, false, band);
    check_attention(4, 2, 1, 7, false, mx_less(key, ends));
    check_attention(4, 2, 5, 7, false, MX_NONE);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

static void test_mx_cpu__attention_names_shapes_that_do_not_fit(void **state)
{
    struct err e = {0};
    (void)state;
    mx_enter();
    mx_array q = random_of(1, (int[]){1, 4, 3, 8}, 4), k = random_of(2, (int[]){1, 3, 3, 8}, 4);
    mx_array y = mx_scaled_dot_product_attention(q, k, k, 1, true, MX_NONE);
    assert_int_equal(mx_eval(&y, 1, &e), -1);
    assert_non_null(strstr(e.text, "scaled_dot_product_attention"));
    mx_leave(MX_NONE);
}

/* ----------------------------------------------------- functions and norms -- */

struct pair {
    mx_array x, w, along;
    int what;
    bool plain;
};

static mx_array plain_norm(mx_array x, mx_array w, bool centred)
{
    if (centred)
        x = mx_subtract(x, mx_mean(x, -1, true));
    mx_array r = mx_rsqrt(mx_shift(mx_mean(mx_square(x), -1, true), 1e-5));
    return mx_multiply(mx_multiply(x, r), w);
}

static mx_array power_of_e(mx_array x)
{
    return mx_power(mx_float(exp(1)), x);
}

static mx_array plain_value(int what, mx_array x, mx_array w)
{
    mx_array up = power_of_e(x), down = power_of_e(mx_negative(x)), one = mx_float(1);
    mx_array s = mx_divide(one, mx_add(one, down));
    mx_array cube = mx_multiply(x, mx_square(x));
    mx_array u = mx_scale(mx_add(x, mx_scale(cube, 0.044715)), sqrt(2 / acos(-1)));
    mx_array t = mx_shift(mx_divide(mx_float(2), mx_shift(power_of_e(mx_scale(u, -2)), 1)), -1);
    switch (what) {
    case 0: return up;
    case 1: return mx_divide(mx_subtract(up, down), mx_add(up, down));
    case 2: return s;
    case 3: return mx_multiply(x, s);
    case 4: return mx_multiply(mx_scale(x, 0.5), mx_shift(t, 1));
    case 5: return mx_divide(up, mx_sum(up, -1, true));
    case 6: return mx_log(mx_sum(up, -1, true));
    case 7: return plain_norm(x, w, false);
    case 8: return plain_norm(x, w, true);
    default: return mx_multiply(mx_scale(x, 0.5), mx_shift(mx_erf(mx_scale(x, sqrt(0.5))), 1));
    }
}

static mx_array fast_value(int what, mx_array x, mx_array w)
{
    switch (what) {
    case 0: return mx_exp(x);
    case 1: return mx_tanh(x);
    case 2: return mx_sigmoid(x);
    case 3: return mx_silu(x);
    case 4: return mx_gelu_approx(x);
    case 5: return mx_softmax(x, -1);
    case 6: return mx_logsumexp(x, -1, true);
    case 7: return mx_rms_norm(x, w, 1e-5);
    case 8: return mx_layer_norm(x, w, MX_NONE, 1e-5);
    default: return mx_gelu(x);
    }
}

static void value(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct pair *p = arg;
    /* A transposed input: the loops want rows one after the other. */
    mx_array x = mx_swapaxes(p->x, 0, 1);
    mx_array y = p->plain ? plain_value(p->what, x, p->w) : fast_value(p->what, x, p->w);
    (void)in;
    assert_int_equal(n_in, 0);
    assert_int_equal(n_out, 2);
    out[0] = mx_sum_all(mx_multiply(y, p->along));
    out[1] = y;
}

static void test_mx_cpu__functions_and_gradients_equal_plain(void **state)
{
    (void)state;
    mx_enter();
    for (int what = 0; what < 10; what++) {
        struct pair p = {.what = what};
        mx_array found[2][2], grads[2][2];
        p.x = mx_slot(random_of(5, (int[]){37, 11}, 2));
        p.w = mx_slot(random_of(6, (int[]){37}, 1));
        p.along = random_of(7, (int[]){11, 37}, 2);
        for (int i = 0; i < 2; i++) {
            mx_array wrt[] = {p.x, p.w};
            p.plain = i == 0;
            mx_value_and_grad(value, &p, (struct mx_arrays){NULL, 0}, (struct mx_arrays){wrt, 2},
                              found[i], 2, grads[i]);
        }
        assert_equal_arrays(found[0][1], found[1][1], 2e-5);
        assert_equal_arrays(grads[0][0], grads[1][0], 5e-5);
        assert_equal_arrays(grads[0][1], grads[1][1], 5e-5);
        mx_slot_free(p.x);
        mx_slot_free(p.w);
    }
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

/* A temporary's memory is taken over; an array that somebody holds stays as it is. */
static void test_mx_cpu__held_inputs_are_not_overwritten(void **state)
{
    (void)state;
    mx_enter();
    mx_array x = random_of(8, (int[]){5, 9}, 2), copy = mx_shift(x, 0.0);
    struct err e = {0};
    assert_int_equal(mx_eval((mx_array[]){x, copy}, 2, &e), 0);
    mx_array y = mx_exp(mx_tanh(mx_softmax(x, -1)));
    assert_int_equal(mx_eval(&y, 1, &e), 0);
    assert_equal_arrays(x, copy, 0);
    mx_leave(MX_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mx_cpu__attention_equals_plain),
        cmocka_unit_test(test_mx_cpu__attention_names_shapes_that_do_not_fit),
        cmocka_unit_test(test_mx_cpu__functions_and_gradients_equal_plain),
        cmocka_unit_test(test_mx_cpu__held_inputs_are_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
