/* A saved model folder: all tensors, the config's dtype, the files beside, never half of it. */
#include "adapters_fixture.h"
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

/* A folder with a config beside nothing else. */
static void make_bare_source(const char *config)
{
    struct err e = {0};
    char *base = testing_folder();
    source = path_join(base, "source");
    dir = path_join(base, "saved");
    free(base);
    assert_int_equal(dir_make(source, &e), 0);
    put("config.json", config);
}

/* The merged model computes what PEFT's adapter does; of a quantised base it is dense. */
static void expect_merged(const char *kind, bool quantised)
{
    struct net n, m;
    struct err e = {0};
    char path[200];
    make_bare_source("{\"dtype\":\"float32\",\"quantization\":{\"bits\":4},"
                     "\"quantization_config\":{\"bits\":4}}");
    snprintf(path, sizeof path, ADAPTERS "net_%s", kind);
    net_open_from(&n, path, 64, 32, quantised ? 4 : 0);
    snprintf(path, sizeof path, ADAPTERS "%s", kind);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT32, .merge = true};
    if (nn_lora_load(&n.params, path, NULL, &e) || hub_save(&n.params, dir, &o, &e))
        fail_msg("%s", e.text);
    net_open_from(&m, dir, 64, 32, 0);
    assert_int_equal(m.params.module_count, 4);
    expect_near(net_forward(&m, ref_of("%s.x%s", kind, "")), ref_of("%s.y%s", kind, ""), 1e-5);
    char *config = path_join(dir, "config.json");
    json_t *c = json_read_file(config, 1 << 20, &e);
    assert_true(c && !json_object_get(c, "quantization") &&
                !json_object_get(c, "quantization_config"));
    json_decref(c);
    free(config);
    net_close(&m);
    remove_source(&n);
}

static void test_hub__merges_adapters(void **state)
{
    (void)state;
    expect_merged("dora", false);
    expect_merged("patterns", false);
    expect_merged("quantised", true);
}

/* Weights beyond the limit lie in several files with an index; each tensor is in one. */
static void test_hub__shards(void **state)
{
    (void)state;
    struct net n, m = {0};
    struct err e = {0};
    make_source(&n);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT32, .shard_bytes = 400};
    if (hub_save(&n.params, dir, &o, &e))
        fail_msg("%s", e.text);
    assert_false(saved("model.safetensors"));
    assert_true(saved("model-00001-of-00003.safetensors") &&
                saved("model-00003-of-00003.safetensors"));
    char *path = path_join(dir, "model.safetensors.index.json");
    json_t *index = json_read_file(path, 1 << 20, &e);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")),
        4 * (4 * 48 + 2 * 6 + 2));
    assert_int_equal(json_object_size(json_object_get(index, "weight_map")), 7);
    json_decref(index);
    free(path);
    struct safetensors *s = safetensors_open(dir, &e);
    assert_ok(e);
    struct err left = {0};
    assert_int_equal(net_bind(&m, s, 6, 8, &left), -1);
    assert_err(left, ERR_INTEGRITY, "1 left over: vision.x");
    expect_near(net_forward(&m, ref("lora.x")), net_forward(&n, ref("lora.x")), 0);
    safetensors_close(s);
    net_close(&m);
    remove_source(&n);
}

/* Towers of an MLX checkpoint that were not loaded are not copied as if they were transformers'. */
static void test_hub__part_of_an_mlx_checkpoint(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    struct safetensors_pair format = {"format", "mlx"};
    make_bare_source("{}");
    net_open(&n);
    struct safetensors_item items[] = {
        {"model.layers.0.q_proj.weight", mx_zeros(MX_FLOAT32, 8, 6), MX_FLOAT32},
        {"vision_tower.conv.weight", mx_zeros(MX_FLOAT32, 2), MX_FLOAT32}};
    char *path = path_join(source, "model.safetensors");
    assert_int_equal(safetensors_write(path, items, 2, &format, 1, NULL, &e), 0);
    free(path);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT32};
    assert_int_equal(hub_save(&n.params, dir, &o, &e), -1);
    assert_err(e, ERR_USAGE, "vision_tower.conv.weight is in the layout of MLX and was not loaded");
    remove_source(&n);
}

/* A head that is tied would be stale: loaders make it from the embeddings. */
static void test_hub__leaves_a_tied_head_out(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    make_bare_source("{\"model_type\":\"x\"}");
    net_open(&n);
    struct safetensors_item items[] = {{"lm_head.weight", mx_zeros(MX_FLOAT32, 8, 6), MX_FLOAT32},
                                       {"proj_out.weight", mx_zeros(MX_FLOAT32, 8, 6), MX_FLOAT32},
                                       {"other.weight", mx_zeros(MX_FLOAT32, 2), MX_FLOAT32}};
    char *path = path_join(source, "model.safetensors");
    assert_int_equal(safetensors_write(path, items, 3, NULL, 0, NULL, &e), 0);
    free(path);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT32};
    assert_int_equal(hub_save(&n.params, dir, &o, &e), 0);
    struct safetensors *w = safetensors_open(dir, &e);
    assert_ok(e);
    assert_null(safetensors_find(w, "lm_head.weight"));
    assert_null(safetensors_find(w, "proj_out.weight"));
    assert_non_null(safetensors_find(w, "other.weight"));
    safetensors_close(w);
    remove_source(&n);
}

/* config.json names the dtype even if the source's did not, and a path may end with a slash. */
static void test_hub__half_precision(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    enum mx_dtype dtype;
    make_bare_source("{\"model_type\":\"x\"}");
    net_open(&n);
    struct hub_options o = {.source = source, .dtype = MX_FLOAT16};
    char *slashed = xasprintf("%s//", dir);
    assert_int_equal(hub_save(&n.params, slashed, &o, &e), 0);
    free(slashed);
    assert_int_equal(hub_dtype(dir, &dtype, &e), 0);
    assert_int_equal(dtype, MX_FLOAT16);
    char *path = path_join(dir, "config.json");
    json_t *c = json_read_file(path, 1 << 20, &e);
    assert_string_equal(json_need_str(c, "torch_dtype", &e), "float16");
    json_decref(c);
    free(path);

    struct nn_param *q = nn_params_find(&n.params, "model.layers.0.q_proj.weight");
    mx_set(q->slot, mx_scale(mx_astype(q->slot, MX_FLOAT32), 1e6));
    assert_int_equal(hub_save(&n.params, dir, &o, &e), -1);
    assert_err(e, ERR_USAGE, "model.layers.0.q_proj.weight: holds ");
    assert_non_null(strstr(e.text, "and float16 ends at 65520"));
    remove_source(&n);
}

static void refuses(const char *place, const char *from, const char *part)
{
    struct err e = {0};
    assert_int_equal(hub_check_place(place, from, "us", &e), -1);
    assert_err(e, ERR_USAGE, part);
}

static void allows(const char *place)
{
    struct err e = {0};
    if (hub_check_place(place, source, "us", &e))
        fail_msg("%s", e.text);
}

/* Nothing that somebody else put there is replaced. */
static void test_hub__place(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    struct hub_options o = {.source = NULL, .dtype = MX_FLOAT32, .written_by = "us"};
    make_bare_source("{}");
    o.source = source;
    net_open(&n);
    allows(dir);
    assert_int_equal(dir_make(dir, &e), 0);
    allows(dir);
    refuses(source, source, "this is the folder that the model is read from");
    refuses(".", source, "this is the folder that the command was started in");
    char *file = path_join(source, "config.json");
    refuses(file, source, "this is a file, expected a folder or nothing");
    free(file);

    assert_int_equal(hub_save(&n.params, dir, &o, &e), 0);
    allows(dir);
    o.shard_bytes = 400;
    assert_int_equal(hub_save(&n.params, dir, &o, &e), 0);
    allows(dir);
    file = path_join(dir, "ggml-model.bin");
    assert_int_equal(file_write(file, "x", 1, &e), 0);
    refuses(dir, source, "there is ggml-model.bin, which is not of an earlier export");
    assert_int_equal(file_remove(file, &e), 0);
    free(file);
    o.written_by = "others";
    assert_int_equal(hub_save(&n.params, dir, &o, &e), 0);
    refuses(dir, source, "there is config.json, which is not of an earlier export");
    o.written_by = NULL;
    assert_int_equal(hub_save(&n.params, dir, &o, &e), 0);
    refuses(dir, source, "there is config.json, which is not of an earlier export");
    remove_source(&n);
}

static void test_hub__dtype_of_a_folder(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    enum mx_dtype dtype;
    make_bare_source("{}");
    net_open(&n);
    struct safetensors_item items[] = {{"a", mx_zeros(MX_UINT32, 100), MX_UINT32},
                                       {"b", mx_zeros(MX_FLOAT32, 10), MX_BFLOAT16},
                                       {"c", mx_zeros(MX_FLOAT32, 4), MX_FLOAT32}};
    char *path = path_join(source, "model.safetensors");
    assert_int_equal(safetensors_write(path, items, 3, NULL, 0, NULL, &e), 0);
    assert_int_equal(hub_dtype(source, &dtype, &e), 0);
    assert_int_equal(dtype, MX_BFLOAT16);
    assert_int_equal(file_write(path, "short", 5, &e), 0);
    assert_int_equal(hub_dtype(source, &dtype, &e), -1);
    assert_err(e, ERR_INTEGRITY, "model.safetensors");
    free(path);
    remove_source(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_hub__saves_a_whole_folder),
        nn_test(test_hub__leaves_a_tied_head_out),
        nn_test(test_hub__half_precision),
        nn_test(test_hub__place),
        nn_test(test_hub__dtype_of_a_folder),
        nn_test(test_hub__a_fault_leaves_a_whole_folder),
        nn_test(test_hub__source_without_config),
        adapters_test(test_hub__merges_adapters),
        nn_test(test_hub__shards),
        nn_test(test_hub__part_of_an_mlx_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
