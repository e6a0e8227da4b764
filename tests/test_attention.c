/* Attention and its masks against torch, with two query heads a key head and scale 1. */
#include "nn/attention.h"
#include "nn/dropout.h"
#include "nn_testing.h"

static mx_array ints(const int32_t *v, int rows, int n)
{
    return mx_from(v, MX_INT32, (int[]){rows, n}, 2);
}

static struct nn_sight places(int T)
{
    return (struct nn_sight){.place = mx_arange(0, T, 1, MX_INT32)};
}

static void test_attention__causal(void **state)
{
    (void)state;
    mx_array y = nn_attention(ref("attn.q"), ref("attn.k"), ref("attn.v"), 1, MX_NONE);
    expect_ref(y, "attn.causal", 2e-6);
    struct nn_sight all = places(9);
    assert_true(mx_is_none(nn_mask(&all, &all, 0, false)));
}

static void test_attention__window(void **state)
{
    (void)state;
    struct nn_sight all = places(9);
    mx_array mask = nn_mask(&all, &all, 3, false);
    assert_int_equal(mx_ndim(mask), 2);
    expect_ref(nn_attention(ref("attn.q"), ref("attn.k"), ref("attn.v"), 1, mask), "attn.window",
               2e-6);
}

/* A window of W sees W positions, its own included. */
static void test_attention__window_counts_its_own_position(void **state)
{
    (void)state;
    struct nn_sight all = places(4);
    float *m = read_floats(nn_mask(&all, &all, 2, false));
    const float want[] = {1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1};
    for (int i = 0; i < 16; i++)
        assert_near(m[i], want[i], 0);
    free(m);
}

static void test_attention__one_token_a_row(void **state)
{
    (void)state;
    struct nn_sight all = places(9), one = {.place = ints((int32_t[]){4, 8}, 2, 1)};
    mx_array q = mx_slice(ref("attn.q"), 2, 0, 1);
    mx_array y = nn_attention(q, ref("attn.k"), ref("attn.v"), 1, nn_mask(&one, &all, 3, false));
    expect_ref(y, "attn.decode", 2e-6);

    float *m = read_floats(nn_mask(&one, &all, 0, false));
    for (int s = 0; s < 9; s++) {
        assert_near(m[s], s <= 4, 0);
        assert_near(m[9 + s], 1, 0);
    }
    free(m);
}

static void test_attention__all_keys(void **state)
{
    (void)state;
    mx_array y = nn_attention_all(ref("across.q"), ref("across.k"), ref("across.v"), 0.35);
    expect_ref(y, "across.y", 2e-6);
}

/* ---------------------------------------------------------------- dropout -- */

static void test_attention__without_key_nothing_is_dropped(void **state)
{
    (void)state;
    mx_array q = ref("across.q"), k = ref("across.k"), v = ref("across.v");
    mx_array y = nn_attention_dropout(q, k, v, 0.35, false, MX_NONE, MX_NONE, 0, 0.5);
    expect_ref(y, "across.y", 2e-6);

    y = nn_attention_dropout(q, k, v, 0.35, true, MX_NONE, MX_NONE, 0, 0.5);
    expect_near(y, nn_attention(q, k, v, 0.35, MX_NONE), 2e-6);
    struct nn_sight all = places(9), some = {.place = ints((int32_t[]){1, 3, 3, 5, 8}, 1, 5)};
    mx_array mask = nn_mask(&some, &all, 0, false);
    y = nn_attention_dropout(q, k, v, 0.35, true, mask, MX_NONE, 0, 0.5);
    expect_near(y, nn_attention(q, k, v, 0.35, mask), 2e-6);
}

/* Probabilities are dropped, by key and site, and the others scaled up. */
static void test_attention__drops_probabilities(void **state)
{
    (void)state;
    mx_array q = ref("across.q"), k = ref("across.k"), v = ref("across.v");
    mx_array key = mx_random_key(3);
    mx_array s = mx_matmul(mx_scale(q, 0.35), mx_swapaxes(k, 2, 3));
    mx_array p = mx_softmax(s, -1);
    mx_array kept = nn_dropout(mx_full(1, MX_FLOAT32, 2, 4, 5, 9), key, 7, 0.4);
    mx_array y = nn_attention_dropout(q, k, v, 0.35, false, MX_NONE, key, 7, 0.4);
    expect_near(y, mx_matmul(mx_multiply(p, kept), v), 2e-6);
}

/* ------------------------------------------------- segments, images, kept rows -- */

enum { B = 2, T = 8, Q = 3 };
static const int32_t SEGMENT[B * T] = {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1};
static const int32_t MEMBER[B * T] = {0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0};
static const int32_t RUN[B * T] = {-1, 0, 0, 0, 0, 0, -1, 1, 0, 0, -1, -1, 1, 1, -1, -1};
static const int32_t KEPT[B * Q] = {1, 4, 4, 0, 3, 7};

static void expect_ints(mx_array found, const int32_t *want, int n)
{
    float *v = read_floats(found);
    for (int i = 0; i < n; i++)
        assert_near(v[i], want[i], 0);
    free(v);
}

static void test_attention__runs(void **state)
{
    (void)state;
    mx_array member = mx_astype(ints(MEMBER, B, T), MX_BOOL);
    expect_ints(nn_runs(member), RUN, B * T);
    expect_ints(nn_runs(mx_slice(member, 1, 1, 2)), (int32_t[]){0, 0}, 2);
}

/* The rule, word by word. */
static bool sees(int b, int t, int s, int window, bool has_segments, bool is_far)
{
    int i = b * T + t, j = b * T + s;
    bool same = RUN[i] >= 0 && RUN[i] == RUN[j];
    bool near = window == 0 || s > t - window;

    if (has_segments && SEGMENT[i] != SEGMENT[j])
        return false;
    return is_far ? (s <= t && near) || same : (s <= t || same) && near;
}

static void check_rule(int window, bool has_segments, bool is_far)
{
    struct nn_sight all = places(T);
    all.block = ints(RUN, B, T);
    if (has_segments)
        all.segment = ints(SEGMENT, B, T);
    struct nn_sight kept = nn_sight_at(&all, ints(KEPT, B, Q));
    mx_array whole = nn_mask(&all, &all, window, is_far);
    mx_array part = nn_mask(&kept, &all, window, is_far);
    assert_int_equal(mx_ndim(whole), 4);
    assert_int_equal(mx_dim(part, 2), Q);
    float *w = read_floats(whole), *p = read_floats(part);
    for (int b = 0; b < B; b++)
        for (int s = 0; s < T; s++) {
            for (int t = 0; t < T; t++)
                assert_near(w[(b * T + t) * T + s], sees(b, t, s, window, has_segments, is_far), 0);
            for (int i = 0; i < Q; i++)
                assert_near(p[(b * Q + i) * T + s],
                            sees(b, KEPT[b * Q + i], s, window, has_segments, is_far), 0);
        }
    free(w);
    free(p);
}

static void test_attention__segments_and_blocks(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        check_rule(i & 1 ? 2 : 0, i & 2, i & 4);
}

/* ------------------------------------------------------------------- bands -- */

static void band_sum(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct nn_sight *all = arg;
    mx_array q = ref("attn.q"), k = ref("attn.k"), v = in[0];
    bool is_band = n_in == 2;
    assert_int_equal(n_out, 1);
    mx_array y = is_band ? nn_band_attention(q, k, v, 1, nn_band_mask(all, 2, 2), 2)
                         : nn_attention(q, k, v, 1, nn_mask(all, all, 2, false));
    out[0] = mx_sum_all(mx_multiply(y, q));
}

static void check_band(const struct nn_sight *all, int window)
{
    mx_array q = ref("attn.q"), k = ref("attn.k"), v = ref("attn.v");
    mx_array want = nn_attention(q, k, v, 1, nn_mask(all, all, window, false));
    mx_array mask = nn_band_mask(all, 2, window);
    expect_near(nn_band_attention(q, k, v, 1, mask, window), want, 2e-6);
}

static void test_attention__bands_equal_the_whole(void **state)
{
    (void)state;
    static const int32_t segment[18] = {0, 0, 0, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1};
    struct nn_sight all = places(9), packed = {all.place, ints(segment, 2, 9), MX_NONE};
    for (int window = 1; window <= 9; window++) {
        check_band(&all, window);
        check_band(&packed, window);
    }
}

/* The last of them by its gradient, too. */
static void test_attention__bands_have_the_same_gradient(void **state)
{
    (void)state;
    struct nn_sight all = places(9);
    mx_array slot = mx_slot(ref("attn.v")), in[2] = {slot, slot}, y, one, other;
    mx_value_and_grad(band_sum, &all, (struct mx_arrays){in, 1}, (struct mx_arrays){&slot, 1}, &y,
                      1, &one);
    mx_value_and_grad(band_sum, &all, (struct mx_arrays){in, 2}, (struct mx_arrays){&slot, 1}, &y,
                      1, &other);
    expect_near(other, one, 2e-6);
    mx_slot_free(slot);
}

static void test_attention__bands_pay_in_long_rows(void **state)
{
    (void)state;
    assert_false(nn_band_pays(1024, 512));
    assert_false(nn_band_pays(1100, 512));
    assert_true(nn_band_pays(1536, 512));
    assert_true(nn_band_pays(8192, 1024));
    assert_false(nn_band_pays(8192, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_attention__causal),
        nn_test(test_attention__window),
        nn_test(test_attention__window_counts_its_own_position),
        nn_test(test_attention__one_token_a_row),
        nn_test(test_attention__all_keys),
        nn_test(test_attention__without_key_nothing_is_dropped),
        nn_test(test_attention__drops_probabilities),
        nn_test(test_attention__runs),
        nn_test(test_attention__segments_and_blocks),
        nn_test(test_attention__bands_equal_the_whole),
        nn_test(test_attention__bands_have_the_same_gradient),
        nn_test(test_attention__bands_pay_in_long_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
