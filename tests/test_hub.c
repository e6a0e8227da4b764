/* A saved model folder: all tensors, the config's dtype, the files beside, never half of it. */
#include "net.h"

#include <errno.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "export/hub.h"

static char *source, *dir;

static void put(const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(source, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

/* A model folder with one tensor more than the net has. */
static void make_source(struct net *n)
{
    struct err e = {0};
    struct safetensors_item items[8];
    char *base = testing_folder(), *path;
    int count = 0;

    source = path_join(base, "source");
    dir = path_join(base, "saved");
    free(base);
    assert_int_equal(dir_make(source, &e), 0);
    put("config.json",
        "{\"b\":1,\"dtype\":\"float32\",\"text_config\":{\"torch_dtype\":\"float32\"},"
        "\"a\":[1.5]}");
    put("tokenizer.json", "{}");
    put("secret.txt", "no");
    net_open(n);
    for (int i = 0; i < n->params.count; i++)
        items[count++] =
            (struct safetensors_item){n->params.at[i].name, n->params.at[i].slot, MX_FLOAT32};
    items[count++] = (struct safetensors_item){"vision.x", mx_full(3, MX_FLOAT32, 2), MX_FLOAT32};
    path = path_join(source, "model.safetensors");
    assert_int_equal(safetensors_write(path, items, count, NULL, 0, NULL, &e), 0);
    free(path);
}

static void remove_source(struct net *n)
{
    struct err e = {0};
    char *base = path_dir(dir);
    assert_int_equal(dir_remove(base, &e), 0);
    free(base);
    free(source);
    free(dir);
    net_close(n);
}

static bool saved(const char *name)
{
    char *path = path_join(dir, name);
    bool is = file_exists(path);
    free(path);
    return is;
}

static void test_hub__saves_a_whole_folder(void **state)
{
    (void)state;
    struct net n, m = {0};
    struct err e = {0};
    make_source(&n);
    struct hub_options o = {.source = source, .dtype = MX_BFLOAT16};
    struct nn_lora_config lora = {.rank = 1, .alpha = 1};
    assert_int_equal(nn_lora_attach(&n.params, &lora, &e), 0);
    if (hub_save(&n.params, dir, &o, &e) || hub_save(&n.params, dir, &o, &e))
        fail_msg("%s", e.text);

    struct safetensors *s = safetensors_open(dir, &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(s), 7);
    assert_int_equal(safetensors_find(s, "model.layers.0.q_proj.weight")->dtype, MX_BFLOAT16);
    assert_int_equal(safetensors_find(s, "vision.x")->dtype, MX_FLOAT32);
    struct err left = {0};
    assert_int_equal(net_bind(&m, s, 6, 8, &left), -1);
    assert_err(left, ERR_INTEGRITY, "1 left over: vision.x");
    expect_near(net_forward(&m, ref("lora.x")), net_forward(&n, ref("lora.x")), 3e-2);
    safetensors_close(s);

    char *path = path_join(dir, "config.json");
    json_t *c = json_read_file(path, 1 << 20, &e);
    assert_string_equal(json_need_str(c, "dtype", &e), "bfloat16");
    assert_string_equal(json_need_str(json_object_get(c, "text_config"), "torch_dtype", &e),
                        "bfloat16");
    json_decref(c);
    free(path);
    assert_true(saved("tokenizer.json") && !saved("secret.txt") && !saved("../saved.tmp") &&
                !saved("../saved.old"));
    net_close(&m);
    remove_source(&n);
}

static int countdown;

static int fail_later(const char *call)
{
    (void)call;
    return --countdown == 0 ? ENOSPC : 0;
}

/* Whatever call fails, the folder is there whole (or, between two renames, beside its place). */
static void test_hub__a_fault_leaves_a_whole_folder(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    make_source(&n);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT32};
    char *old = xasprintf("%s.old", dir);
    assert_int_equal(hub_save(&n.params, dir, &o, &e), 0);
    for (int i = 1;; i++) {
        struct err f = {0}, g = {0};
        countdown = i;
        file_fault = fail_later;
        int rc = hub_save(&n.params, dir, &o, &f);
        file_fault = NULL;
        assert_int_equal(rc != 0, f.kind != 0);
        struct safetensors *s = safetensors_open(file_is_dir(dir) ? dir : old, &g);
        assert_ok(g);
        assert_int_equal(safetensors_count(s), 7);
        safetensors_close(s);
        assert_int_equal(hub_save(&n.params, dir, &o, &g), 0);
        if (countdown > 0)
            break;
    }
    free(old);
    remove_source(&n);
}

static void test_hub__source_without_config(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    make_source(&n);
    char *path = path_join(source, "config.json");
    assert_int_equal(file_remove(path, &e), 0);
    free(path);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT32};
    assert_int_equal(hub_save(&n.params, dir, &o, &e), -1);
    assert_non_null(strstr(e.text, "config.json"));
    assert_false(file_exists(dir));
    assert_false(saved("../saved.tmp"));
    remove_source(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_hub__saves_a_whole_folder),
        nn_test(test_hub__a_fault_leaves_a_whole_folder),
        nn_test(test_hub__source_without_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
