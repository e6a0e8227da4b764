/* Adapters of PEFT: equal outputs and gradients, and errors for those that do not fit. */
#include "adapters_fixture.h"
#include "net.h"

#include "base/dir.h"
#include "base/file.h"
#include "export/peft.h"
#include "nn/optim.h"

static void test_lora_load__equals_peft(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    struct nn_lora_config c;
    mx_array x = ref("lora.x"), loss, grads[8];

    net_open(&n);
    if (nn_lora_load(&n.params, NN_DATA "adapter", &c, &e))
        fail_msg("%s", e.text);
    assert_int_equal(c.rank, 3);
    assert_near(c.alpha, 5, 0);
    assert_near(c.dropout, 0.25, 0);
    assert_true(c.rslora);
    expect_near(net_forward(&n, x), ref("lora.y"), 2e-6);

    struct mx_arrays wrt = nn_trainable(&n.params, "");
    assert_int_equal(wrt.n, 8);
    mx_value_and_grad(net_loss, &n, (struct mx_arrays){&x, 1}, wrt, &loss, 1, grads);
    for (int i = 0; i < 8; i++) {
        char name[100];
        snprintf(name, sizeof name, "lora.grad.%s", n.params.trainable[i]->name);
        expect_ref(grads[i], name, 2e-5);
    }
    net_close(&n);
}

static void open_kind(struct net *n, const char *kind, struct nn_lora_config *c)
{
    struct err e = {0};
    char path[200];
    snprintf(path, sizeof path, ADAPTERS "net_%s", kind);
    net_open_from(n, path, 64, 32, strcmp(kind, "quantised") == 0 ? 4 : 0);
    snprintf(path, sizeof path, ADAPTERS "%s", kind);
    if (nn_lora_load(&n->params, path, c, &e))
        fail_msg("%s: %s", kind, e.text);
}

/* Ten steps of AdamW: the loss of each, and all parameters afterwards. */
static void expect_ten_steps(struct net *n, const char *kind, struct mx_arrays wrt)
{
    struct nn_adamw_config config = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    struct nn_adamw o;
    struct err e = {0};
    float *losses = read_floats(ref_of("%s.losses%s", kind, ""));
    mx_array x = ref_of("%s.x%s", kind, ""), loss, grads[12];

    nn_adamw_init(&o, wrt, NULL, &config);
    for (int t = 1; t <= 10; t++) {
        double found = 0;
        mx_enter();
        mx_value_and_grad(net_loss, n, (struct mx_arrays){&x, 1}, wrt, &loss, 1, grads);
        nn_adamw_step(&o, grads, MX_NONE, loss, mx_float(1e-2), mx_int(t));
        if (mx_item(loss, &found, &e))
            fail_msg("%s", e.text);
        mx_leave(MX_NONE);
        assert_near(found, (double)losses[t - 1], 1e-5 * (double)losses[t - 1]);
    }
    for (int i = 0; i < wrt.n; i++) {
        char name[200];
        snprintf(name, sizeof name, "%s.after.%s", kind, n->params.trainable[i]->name);
        expect_ref(wrt.at[i], name, 5e-5);
    }
    nn_adamw_release(&o);
    free(losses);
}

static void expect_kind(const char *kind)
{
    struct net n;
    struct nn_lora_config c;
    char name[200];
    mx_array x = ref_of("%s.x%s", kind, ""), loss, grads[12];

    open_kind(&n, kind, &c);
    expect_near(net_forward(&n, x), ref_of("%s.y%s", kind, ""), 1e-5);
    struct mx_arrays wrt = nn_trainable(&n.params, "");
    assert_int_equal(wrt.n, c.dora ? 12 : 8);
    mx_value_and_grad(net_loss, &n, (struct mx_arrays){&x, 1}, wrt, &loss, 1, grads);
    for (int i = 0; i < wrt.n; i++) {
        snprintf(name, sizeof name, "%s.grad.%s", kind, n.params.trainable[i]->name);
        expect_ref(grads[i], name, 5e-5);
    }
    expect_ten_steps(&n, kind, wrt);
    for (int i = 0; i < n.params.module_count; i++) {
        const struct nn_module *m = &n.params.modules[i];
        snprintf(name, sizeof name, "%s.merged.%s.weight", kind, m->name);
        expect_ref(nn_linear_merged(m->linear, MX_FLOAT32), name, 5e-5);
    }
    net_close(&n);
}

/* DoRA, rsLoRA, both, ranks and alphas by pattern, and DoRA on a quantised base: outputs,
 * gradients, ten steps and merged weights as PEFT has them. */
static void test_lora_load__every_kind_equals_peft(void **state)
{
    (void)state;
    expect_kind("dora");
    expect_kind("rslora");
    expect_kind("both");
    expect_kind("patterns");
    expect_kind("quantised");
}

static void test_lora_load__patterns(void **state)
{
    (void)state;
    struct net n;
    struct nn_lora_config c;
    open_kind(&n, "patterns", &c);
    assert_int_equal(c.rank, 3);
    assert_int_equal(n.layers[0].q_proj.lora.rank, 3);
    assert_int_equal(n.layers[1].q_proj.lora.rank, 4);
    assert_int_equal(n.layers[1].o_proj.lora.rank, 2);
    assert_near(n.layers[0].o_proj.lora.scale, 7.5 / 2, 1e-12);
    assert_near(n.layers[1].q_proj.lora.scale, 5.0 / 4, 1e-12);
    net_close(&n);
}

/* Copy of the shipped adapter with one text of its config replaced. */
static char *altered(const char *from, const char *to)
{
    struct err e = {0};
    char *dir = testing_folder();
    size_t size;
    char *text = file_read(NN_DATA "adapter/adapter_config.json", 1 << 20, &size, &e);
    assert_ok(e);
    char *at = strstr(text, from);
    assert_non_null(at);
    char path[500], *changed = malloc(size + 200);
    assert_non_null(changed);
    snprintf(changed, size + 200, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    assert_int_equal(file_write(path, changed, strlen(changed), &e), 0);
    free(text);
    free(changed);
    text = file_read(NN_DATA "adapter/adapter_model.safetensors", 1 << 20, &size, &e);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    assert_int_equal(file_write(path, text, size, &e), 0);
    free(text);
    return dir;
}

static void expect_refused(const char *from, const char *to, const char *text)
{
    struct net n;
    struct err e = {0}, ignored = {0};
    char *dir = altered(from, to);
    net_open(&n);
    assert_int_equal(nn_lora_load(&n.params, dir, NULL, &e), -1);
    assert_err(e, ERR_USAGE, text);
    assert_false(nn_lora_attached(&n.params));
    assert_int_equal(dir_remove(dir, &ignored), 0);
    free(dir);
    net_close(&n);
}

static void test_lora_load__refuses_other_kinds(void **state)
{
    (void)state;
    expect_refused("\"use_dora\": false", "\"use_dora\": true", "magnitude_vector beside it");
    expect_refused("\"target_parameters\": null", "\"target_parameters\": [\"experts\"]",
                   "target_parameters is set");
    expect_refused("\"LORA\"", "\"LOHA\"", "peft_type is LOHA, expected LORA");
    expect_refused("\"bias\": \"none\"", "\"bias\": \"all\"", "bias is all");
    expect_refused("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]",
                   "modules_to_save is set");
    expect_refused("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 2}",
                   "shape (3,6), the model and the rank need (2,6)");
    expect_refused("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 2.5}",
                   "expected a rank");
    expect_refused("\"rank_pattern\": {}", "\"rank_pattern\": 3", "rank_pattern is no object");
    expect_refused("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"(q\": 1}",
                   "(q is not a regular expression");
    expect_refused("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"q_proj\": \"x\"}",
                   "expected a number above 0");
    expect_refused("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "pissa");
    expect_refused("\"r\": 3", "\"r\": 0", "r is 0");
    expect_refused("\"r\": 3", "\"r\": 4",
                   "q_proj.lora_A.weight has shape (3,6), the model and "
                   "the rank need (4,6)");
}

static void test_lora_load__adapter_of_another_model(void **state)
{
    (void)state;
    struct net n = {0};
    struct err e = {0};
    assert_int_equal(net_bind(&n, NULL, 6, 9, &e), 0);
    assert_int_equal(nn_lora_load(&n.params, NN_DATA "adapter", NULL, &e), -1);
    assert_err(e, ERR_USAGE,
               "base_model.model.model.layers.0.q_proj.lora_B.weight has shape (8,3), the model "
               "and the rank need (9,3)");
    assert_false(nn_lora_attached(&n.params));
    net_close(&n);

    struct nn_linear other;
    struct nn_params p = {0};
    struct nn_binder b;
    struct err f = {0};
    nn_binder_init(&b, &p, NULL, MX_FLOAT32);
    nn_bind_linear(&b, "model.layers.0.k_proj", &other, 4, 4);
    assert_int_equal(nn_bind_end(&b, &f), 0);
    assert_int_equal(nn_lora_load(&p, NN_DATA "adapter", NULL, &f), -1);
    assert_err(f, ERR_USAGE, "the model has no linear layer of that name");
    nn_params_release(&p);
}

static void test_lora_load__missing_folder(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    net_open(&n);
    assert_int_equal(nn_lora_load(&n.params, "/nonexistent", NULL, &e), -1);
    assert_non_null(strstr(e.text, "/nonexistent/adapter_config.json"));
    net_close(&n);
}

/* Save, load into a fresh model, same outputs and same training state. */
/* DoRA, and ranks and alphas that differ, come back as they were; PEFT reads them, too (see
 * tests/fixtures/check_export.py). */
static void expect_saved(const char *kind)
{
    struct net n, m;
    struct nn_lora_config c;
    struct err e = {0};
    char *dir = testing_folder(), path[200];
    struct peft_options o = {.base_model = "tests/net", .dtype = MX_FLOAT32};

    open_kind(&n, kind, &c);
    snprintf(path, sizeof path, ADAPTERS "net_%s", kind);
    net_open_from(&m, path, 64, 32, strcmp(kind, "quantised") == 0 ? 4 : 0);
    if (peft_save(&n.params, dir, &o, NULL, &e) || nn_lora_load(&m.params, dir, &c, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < 4; i++) {
        const struct nn_lora *a = &n.params.modules[i].linear->lora;
        const struct nn_lora *b = &m.params.modules[i].linear->lora;
        assert_int_equal(a->rank, b->rank);
        assert_near(a->scale, b->scale, 1e-7);
    }
    expect_near(net_forward(&m, ref_of("%s.x%s", kind, "")), ref_of("%s.y%s", kind, ""), 1e-5);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
    net_close(&n);
    net_close(&m);
}

static void test_lora_load__every_kind_is_saved(void **state)
{
    (void)state;
    expect_saved("dora");
    expect_saved("patterns");
    expect_saved("both");
    expect_saved("quantised");
}

static void test_lora_load__what_peft_save_wrote(void **state)
{
    (void)state;
    struct net n, m;
    struct err e = {0};
    char *dir = testing_folder(), hash[65];
    struct peft_options o = {.base_model = "tests/net", .dtype = MX_FLOAT32};
    struct nn_lora_config c;

    net_open(&n);
    net_open(&m);
    if (nn_lora_load(&n.params, NN_DATA "adapter", NULL, &e) ||
        peft_save(&n.params, dir, &o, hash, &e) || nn_lora_load(&m.params, dir, &c, &e))
        fail_msg("%s", e.text);
    assert_int_equal(strlen(hash), 64);
    assert_near(c.alpha / c.rank, 5 / sqrt(3), 1e-8);
    assert_near(c.dropout, 0.25, 0);
    expect_near(net_forward(&m, ref("lora.x")), ref("lora.y"), 2e-6);
    assert_int_equal(nn_trainable(&m.params, "").n, 8);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
    net_close(&n);
    net_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        adapters_test(test_lora_load__every_kind_equals_peft),
        adapters_test(test_lora_load__patterns),
        adapters_test(test_lora_load__every_kind_is_saved),
        nn_test(test_lora_load__equals_peft),
        nn_test(test_lora_load__refuses_other_kinds),
        nn_test(test_lora_load__adapter_of_another_model),
        nn_test(test_lora_load__missing_folder),
        nn_test(test_lora_load__what_peft_save_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
