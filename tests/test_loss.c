/* Head and cross entropy against torch: sums, log-probabilities, gradients, memory. */
#include "nn/loss.h"
#include "nn_testing.h"

struct setting {
    struct nn_head head;
    mx_array rows, ids, weights;
    bool naive;
};

/* 2.5 times the loss, as the gradients of the reference are of that. */
static void scaled_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct setting *s = arg;
    (void)in;
    (void)n_in;
    (void)n_out;
    out[0] = mx_scale(nn_loss_sum(&s->head, s->rows, s->ids, s->weights), 2.5);
}

static mx_array ref_in(const char *group, const char *name)
{
    char full[100];
    snprintf(full, sizeof full, "loss.%s.%s", group, name);
    return ref(full);
}

static struct setting setting(const char *group, double softcap, int chunk)
{
    struct setting s = {
        .head = {.weight = mx_slot(ref_in(group, "w")), .softcap = softcap, .chunk = chunk},
        .rows = mx_slot(ref_in(group, "h")),
        .ids = ref_in(group, "ids"),
        .weights = ref_in(group, "weights"),
    };
    return s;
}

static void release(struct setting *s)
{
    mx_slot_free(s->head.weight);
    mx_slot_free(s->rows);
}

static void check_loss(const char *group, double softcap, int chunk, double smoothing)
{
    struct setting s = setting(group, softcap, chunk);
    s.head.smoothing = smoothing;
    mx_array sum = nn_loss_sum(&s.head, s.rows, s.ids, s.weights), grads[2], out;

    expect_near(sum, ref_in(group, "sum"), 1e-6);
    expect_near(nn_logprobs(&s.head, s.rows, s.ids), ref_in(group, "logp"), 1e-6);

    mx_value_and_grad(scaled_loss, &s, (struct mx_arrays){0}, (struct mx_arrays){&s.rows, 1}, &out,
                      1, grads);
    expect_near(out, mx_scale(ref_in(group, "sum"), 2.5), 1e-6);
    expect_near(grads[0], ref_in(group, "dh"), 2e-6);

    mx_array both[] = {s.rows, s.head.weight};
    s.head.trained = true;
    mx_value_and_grad(scaled_loss, &s, (struct mx_arrays){0}, (struct mx_arrays){both, 2}, &out, 1,
                      grads);
    expect_near(grads[0], ref_in(group, "dh"), 2e-6);
    expect_near(grads[1], ref_in(group, "dw"), 2e-6);
    release(&s);
}

static void test_loss__equals_torch(void **state)
{
    (void)state;
    check_loss("plain", 0, 0, 0);
    check_loss("plain", 0, 4, 0);
    check_loss("capped", 3, 0, 0);
    check_loss("capped", 3, 4, 0);
    check_loss("capped", 3, 1, 0);
}

/* Labels that are smoothed; scores stay those of the labels. */
static void test_loss__smoothed_equals_torch(void **state)
{
    (void)state;
    check_loss("smooth", 0, 0, 0.15);
    check_loss("smooth", 0, 4, 0.15);
    check_loss("smooth_capped", 3, 0, 0.15);
    check_loss("smooth_capped", 3, 3, 0.15);
}

static void test_loss__logits(void **state)
{
    (void)state;
    struct setting s = setting("capped", 3, 0);
    mx_array x = mx_reshape(mx_slice(s.rows, 0, 0, 10), 2, 5, 8);
    mx_array l = nn_logits(&s.head, mx_astype(x, MX_BFLOAT16));
    assert_int_equal(mx_dtype(l), MX_FLOAT32);
    assert_int_equal(mx_dim(l, 2), 29);
    mx_array z = mx_matmul(mx_slice(s.rows, 0, 0, 10), mx_swapaxes(s.head.weight, 0, 1));
    z = mx_scale(mx_tanh(mx_scale(z, 1.0 / 3)), 3);
    expect_near(nn_logits(&s.head, x), mx_reshape(z, 2, 5, 29), 1e-6);
    release(&s);
}

/* A trained head that is not said to be trained must not lose its gradient in silence. */
static void test_loss__forgotten_training_is_an_error(void **state)
{
    (void)state;
    struct setting s = setting("plain", 0, 4);
    struct err e = {0};
    mx_array both[] = {s.rows, s.head.weight}, out, grads[2];
    mx_value_and_grad(scaled_loss, &s, (struct mx_arrays){0}, (struct mx_arrays){both, 2}, &out, 1,
                      grads);
    assert_int_equal(mx_check(&e), -1);
    assert_err(e, ERR_FAILED, "parameter that a gradient flows through");
    release(&s);
}

static void test_loss__no_rows(void **state)
{
    (void)state;
    struct setting s = setting("plain", 0, 4);
    mx_array none = mx_slice(s.rows, 0, 0, 0), ids = mx_slice(s.ids, 0, 0, 0);
    expect_near(nn_loss_sum(&s.head, none, ids, mx_slice(s.weights, 0, 0, 0)), mx_float(0), 0);
    assert_int_equal(mx_dim(nn_logprobs(&s.head, none, ids), 0), 0);
    release(&s);
}

/* ------------------------------------------------------------------- memory -- */

enum { R = 512, D = 16, V = 4096, CHUNK = 32 };

static void naive_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct setting *s = arg;
    (void)in;
    (void)n_in;
    (void)n_out;
    mx_array l = nn_logits(&s->head, s->rows);
    mx_array p = mx_take_along_axis(l, mx_expand_dims(s->ids, 1), 1);
    p = mx_subtract(mx_logsumexp(l, 1, true), p);
    out[0] = mx_sum_all(mx_multiply(p, mx_expand_dims(s->weights, 1)));
}

/* Bytes that loss and gradients take at most, above what was there. */
static size_t peak_of(mx_fn fn, struct setting *s, mx_array *grads)
{
    mx_array both[] = {s->rows, s->head.weight}, all[3];
    struct err e = {0};

    mx_cache_clear();
    size_t base = mx_memory_active();
    mx_memory_peak_reset();
    mx_value_and_grad(fn, s, (struct mx_arrays){0},
                      (struct mx_arrays){both, s->head.trained ? 2 : 1}, &all[0], 1, grads);
    all[1] = grads[0];
    all[2] = grads[1];
    if (mx_eval(all, s->head.trained ? 3 : 2, &e))
        fail_msg("%s", e.text);
    return mx_memory_peak() - base;
}

static struct setting big_setting(int rows)
{
    mx_array ready[4];
    struct err e = {0};
    struct setting s = {.head = {.softcap = 30, .chunk = CHUNK}};

    ready[0] = mx_random_normal_(mx_random_key(1), 1, (int[]){rows, D}, 2);
    ready[1] = mx_random_normal_(mx_random_key(2), 1, (int[]){V, D}, 2);
    ready[2] = mx_arange(0, rows, 1, MX_INT32);
    ready[3] = mx_full(1, MX_FLOAT32, rows);
    if (mx_eval(ready, 4, &e))
        fail_msg("%s", e.text);
    s.rows = mx_slot(ready[0]);
    s.head.weight = mx_slot(ready[1]);
    s.ids = ready[2];
    s.weights = ready[3];
    return s;
}

/* MLX runs some operators ahead of what is computed, so a few chunks' worth is in flight; but it
 * does not grow with the number of rows. */
static void test_loss__never_holds_all_logits(void **state)
{
    (void)state;
    size_t peak[2][2];
    for (int trained = 0; trained < 2; trained++) {
        for (int k = 0; k < 2; k++) {
            mx_array whole[2], parts[2];
            struct setting s = big_setting(k ? 4 * R : R);
            s.head.trained = trained;
            peak[trained][k] = peak_of(scaled_loss, &s, parts);
            if (k == 0) {
                size_t naive = peak_of(naive_loss, &s, whole);
                assert_true(naive > (size_t)4 * 4 * R * V);
                for (int i = 0; i <= trained; i++)
                    expect_near(parts[i], mx_scale(whole[i], 2.5), 1e-5);
            }
            release(&s);
        }
        if (getenv("NN_TESTING_VERBOSE"))
            print_message("    peak %.1f and %.1f MB; all logits are %.1f and %.1f MB\n",
                          (double)peak[trained][0] / 1e6, (double)peak[trained][1] / 1e6,
                          4e-6 * R * V, 16e-6 * R * V);
        assert_true(peak[trained][1] < peak[trained][0] + (size_t)4 * R * V / 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_loss__equals_torch), nn_test(test_loss__smoothed_equals_torch),
        nn_test(test_loss__logits),       nn_test(test_loss__forgotten_training_is_an_error),
        nn_test(test_loss__no_rows),      nn_test(test_loss__never_holds_all_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
