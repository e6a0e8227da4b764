/* Gemma 4's vision tower: soft tokens as transformers makes them, whatever shares the batch. */
#include "gemma4_fixture.h"

#include "model/gemma4_towers_config.h"

static const char *const MODELS[] = {E_MODEL, MOE_MODEL, DENSE_MODEL};
enum { MODEL_COUNT = 3 };

static int pool_of(const struct fixture *f)
{
    return f->model->facts.pool * f->model->facts.pool;
}

/* Patches of picture i that are real. */
static int patches_of(const struct fixture *f, int i)
{
    int J = mx_dim(f->in.patch_at, 1), n = 0;
    const int32_t *at = fixture_find(f, "patch_at")->data;
    while (n < J && at[(i * J + n) * 2] >= 0)
        n++;
    return n;
}

/* [I,S,1]: 1 for the soft tokens that pictures have. */
static mx_array real_tokens(const struct fixture *f)
{
    int I = mx_dim(f->in.pixels, 0), S = mx_dim(f->in.pixels, 1) / pool_of(f);
    float *keep = xcalloc((size_t)(I * S), sizeof *keep);
    for (int i = 0; i < I; i++)
        for (int k = 0; k < patches_of(f, i) / pool_of(f); k++)
            keep[i * S + k] = 1;
    mx_array x = mx_from(keep, MX_FLOAT32, (int[]){I, S, 1}, 3);
    free(keep);
    return x;
}

static void test_gemma4_vision__soft_tokens_equal(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct fixture f;
        fixture_open(&f, MODELS[i]);
        mx_array seen = model_see(f.model, &f.in);
        assert_same(&f, mx_multiply(seen, real_tokens(&f)), "seen", 1e-5);
        fixture_close(&f);
    }
}

/* The pictures of the batch differ in size, so some are padded: alone they are not. */
static void test_gemma4_vision__padded_pictures_equal_each_alone(void **state)
{
    (void)state;
    for (int m = 0; m < MODEL_COUNT; m++) {
        struct fixture f;
        int padded = 0;
        fixture_open(&f, MODELS[m]);
        mx_array all = fixture_array(&f, "seen", MX_FLOAT32);
        for (int i = 0; i < mx_dim(f.in.pixels, 0); i++) {
            int J = patches_of(&f, i);
            struct model_input one = {
                .pixels = mx_slice(mx_slice(f.in.pixels, 0, i, i + 1), 1, 0, J),
                .patch_at = mx_slice(mx_slice(f.in.patch_at, 0, i, i + 1), 1, 0, J)};
            size_t n, k;
            float *got = read_floats(model_see(f.model, &one), &n);
            mx_array want = mx_slice(mx_slice(all, 0, i, i + 1), 1, 0, J / pool_of(&f));
            float *batch = read_floats(want, &k);
            assert_int_equal(n, k);
            assert_true(relative_error(got, batch, n) < 1e-5);
            padded += J < mx_dim(f.in.pixels, 1);
            free(got);
            free(batch);
        }
        assert_true(padded > 0);
        fixture_close(&f);
    }
}

static mx_array reversed(mx_array x)
{
    int J = mx_dim(x, 1);
    return mx_take(x, mx_subtract(mx_int(J - 1), mx_arange(0, J, 1, MX_INT32)), 1);
}

/* Where a patch belongs is said by its position, not by its place in the list. */
static void test_gemma4_vision__order_of_patches_is_nothing(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, DENSE_MODEL);
    struct model_input in = {.pixels = reversed(f.in.pixels), .patch_at = reversed(f.in.patch_at)};
    mx_array seen = model_see(f.model, &in);
    assert_same(&f, mx_multiply(seen, real_tokens(&f)), "seen", 1e-5);
    fixture_close(&f);
}

/* Two more tokens' worth of padding behind every picture, and a picture that is padding alone. */
static void pad_pictures(struct fixture *f)
{
    int slots = mx_dim(f->in.pixels, 1) / pool_of(f), wide = slots + 2, more = 2 * pool_of(f);
    int clips = mx_is_none(f->in.mel) ? 0 : mx_dim(f->in.mel, 0), n = f->B * f->T;
    int clip_slots = clips ? (mx_dim(f->in.mel, 1) + 3) / 4 : 0, base = clips * clip_slots;
    const int32_t *soft = fixture_find(f, "soft")->data;
    int32_t *moved = xcalloc((size_t)n, sizeof *moved);

    f->in.pixels = mx_pad(mx_pad(f->in.pixels, 1, 0, more, 77), 0, 0, 1, 3);
    f->in.patch_at = mx_pad(mx_pad(f->in.patch_at, 1, 0, more, -1), 0, 0, 1, -1);
    for (int i = 0; i < n; i++) {
        int k = soft[i] - base;
        moved[i] = k < 0 ? soft[i] : base + k / slots * wide + k % slots;
    }
    f->in.soft = mx_from(moved, MX_INT32, (int[]){f->B, f->T}, 2);
    free(moved);
}

static void test_gemma4_vision__padding_changes_nothing_and_is_never_nan(void **state)
{
    struct err e = {0};
    (void)state;
    for (int m = 0; m < MODEL_COUNT; m++) {
        struct fixture f;
        fixture_open(&f, MODELS[m]);
        pad_pictures(&f);
        mx_array seen = model_see(f.model, &f.in), finite = mx_all(mx_isfinite(seen));
        double ok = 0;
        assert_int_equal(mx_item(finite, &ok, &e), 0);
        assert_true(ok == 1);
        assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);

        char *towers[] = {"vision"};
        assert_int_equal(nn_params_train(&f.model->params, towers, 1, &e), 0);
        const struct nn_params *p = &f.model->params;
        mx_array *grads = xcalloc((size_t)p->trainable_count, sizeof *grads);
        fixture_gradients(&f, grads);
        assert_true(p->trainable_count > 20);
        for (int i = 0; i < p->trainable_count; i++) {
            char name[600];
            fixture_name(name, sizeof name, "grad", p->trainable[i]->name);
            assert_same(&f, grads[i], name, 1e-4);
        }
        free(grads);
        fixture_close(&f);
    }
}

/* No gradient flows through what is computed before the step. */
static void test_gemma4_vision__seen_before_is_the_same(void **state)
{
    struct err e = {0};
    struct fixture f;
    char *towers[] = {"projector"};
    (void)state;
    fixture_open(&f, MOE_MODEL);
    f.in.seen = model_see(f.model, &f.in);
    f.in.pixels = f.in.patch_at = MX_NONE;
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
    assert_int_equal(nn_params_train(&f.model->params, towers, 1, &e), 0);
    mx_array grad;
    assert_int_equal(f.model->params.trainable_count, 1);
    fixture_gradients(&f, &grad);
    assert_same(&f, grad, "grad.model.embed_vision.embedding_projection.weight", 1e-4);
    fixture_close(&f);
}

/* ----------------------------------------------------------------- config -- */

static void refuse(const char *text, const char *message)
{
    struct err e = {0};
    struct gemma4_vision v = {0};
    json_t *c = json_read_text("config", text, strlen(text), &e);
    assert_ok(e);
    assert_int_equal(gemma4_vision_configure(&v, c, &e), -1);
    assert_err(e, ERR_FAILED, message);
    gemma4_vision_release(&v);
    json_decref(c);
}

static void test_gemma4_vision__config_values_that_are_not_known_are_errors(void **state)
{
    (void)state;
    refuse("{\"hidden_activation\": \"gelu\"}", "hidden_activation: 'gelu'");
    refuse("{\"attention_bias\": true}", "attention_bias: true");
    refuse("{\"rope_parameters\": {\"rope_type\": \"yarn\"}}", "rope_type 'yarn'");
    refuse("{\"rope_parameters\": {\"factor\": 2.0}}", "rope_parameters: 'factor'");
    refuse("{\"rope_parameters\": {\"rope_theta\": 0}}", "rope_theta 0");
    refuse("{\"head_dim\": 6}", "head_dim: 6");
    refuse("{\"num_key_value_heads\": 5}", "5 key heads");
    refuse("{\"pooling_kernel_size\": 0}", "pooling_kernel_size: 0");
    refuse("{\"position_embedding_size\": 0}", "position_embedding_size: 0");
    refuse("{\"attention_dropout\": 0.1}", "attention_dropout: 0.1");
}

static void test_gemma4_vision__missing_keys_have_the_defaults(void **state)
{
    struct err e = {0};
    struct gemma4_vision v = {0};
    json_t *c = json_object();
    (void)state;
    assert_int_equal(gemma4_vision_configure(&v, c, &e), 0);
    assert_int_equal(v.D, 768);
    assert_int_equal(v.L, 16);
    assert_int_equal(v.C, 64);
    assert_int_equal(v.patch, 16);
    assert_int_equal(v.pool, 3);
    assert_int_equal(v.positions, 10240);
    assert_false(v.clipped);
    assert_false(v.standardize);
    assert_near(v.rope.wavelengths[8], 10, 1e-5);      /* 100^(16/32) */
    gemma4_vision_release(&v);
    json_decref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma4_vision__soft_tokens_equal),
        cmocka_unit_test(test_gemma4_vision__padded_pictures_equal_each_alone),
        cmocka_unit_test(test_gemma4_vision__order_of_patches_is_nothing),
        cmocka_unit_test(test_gemma4_vision__padding_changes_nothing_and_is_never_nan),
        cmocka_unit_test(test_gemma4_vision__seen_before_is_the_same),
        cmocka_unit_test(test_gemma4_vision__config_values_that_are_not_known_are_errors),
        cmocka_unit_test(test_gemma4_vision__missing_keys_have_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
