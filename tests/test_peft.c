/* The saved adapter: names, config, faults.  That PEFT loads it is shown by
 * tests/fixtures/check_export.py, run by hand. */
#include "net.h"

#include <errno.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "export/peft.h"

static const struct peft_options OPTIONS = {.base_model = "a/b", .dtype = MX_BFLOAT16};
static char q[] = "layers.1.q_proj";

static void attach(struct net *n)
{
    struct err e = {0};
    char *targets[] = {q};
    struct nn_lora_config c = {
        .rank = 2, .alpha = 3, .dropout = 0.1, .targets = targets, .target_count = 1};
    net_open(n);
    if (nn_lora_attach(&n->params, &c, &e))
        fail_msg("%s", e.text);
}

static void test_peft__names_and_config(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    char *dir = testing_folder(), *inner = path_join(dir, "new/adapter");

    attach(&n);
    if (peft_save(&n.params, inner, &OPTIONS, NULL, &e))
        fail_msg("%s", e.text);
    char *path = path_join(inner, "adapter_model.safetensors");
    struct safetensors *s = safetensors_open(path, &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(s), 2);
    const struct safetensors_tensor *t =
        safetensors_find(s, "base_model.model.model.layers.1.q_proj.lora_B.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, MX_BFLOAT16);
    assert_int_equal(t->shape[0], 8);
    assert_int_equal(t->shape[1], 2);
    assert_string_equal(safetensors_metadata(s, "format"), "pt");
    safetensors_close(s);
    free(path);

    path = path_join(inner, "adapter_config.json");
    json_t *c = json_read_file(path, 1 << 20, &e);
    assert_ok(e);
    assert_string_equal(json_need_str(c, "peft_type", &e), "LORA");
    assert_string_equal(json_need_str(c, "base_model_name_or_path", &e), "a/b");
    assert_int_equal(json_need_int(c, "r", &e), 2);
    assert_near(json_need_double(c, "lora_alpha", &e), 3, 1e-12);
    assert_near(json_need_double(c, "lora_dropout", &e), 0.1, 1e-12);
    json_t *modules = json_need_array(c, "target_modules", &e);
    assert_ok(e);
    assert_int_equal(json_array_size(modules), 1);
    assert_string_equal(json_string_value(json_array_get(modules, 0)), "model.layers.1.q_proj");
    json_decref(c);
    free(path);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(inner);
    free(dir);
    net_close(&n);
}

static void test_peft__nothing_to_save(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    net_open(&n);
    assert_int_equal(peft_save(&n.params, "/nonexistent", &OPTIONS, NULL, &e), -1);
    assert_err(e, ERR_BUG, "there is no adapter to save");
    net_close(&n);
}

static int countdown;

static int fail_later(const char *call)
{
    (void)call;
    return --countdown == 0 ? EIO : 0;
}

/* Whatever call fails, what is in the folder loads. */
static void test_peft__a_fault_leaves_an_adapter(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    char *dir = testing_folder();

    attach(&n);
    assert_int_equal(peft_save(&n.params, dir, &OPTIONS, NULL, &e), 0);
    for (int i = 1;; i++) {
        struct net m;
        struct err f = {0}, g = {0};
        countdown = i;
        file_fault = fail_later;
        int rc = peft_save(&n.params, dir, &OPTIONS, NULL, &f);
        file_fault = NULL;
        assert_int_equal(rc != 0, f.kind != 0);
        net_open(&m);
        if (nn_lora_load(&m.params, dir, NULL, &g))
            fail_msg("%s", g.text);
        net_close(&m);
        if (countdown > 0)
            break;
    }
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_peft__names_and_config),
        nn_test(test_peft__nothing_to_save),
        nn_test(test_peft__a_fault_leaves_an_adapter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
