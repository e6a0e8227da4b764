/* Binding: values, dtypes and names from a file; all problems in one error; random starts. */
#include "net.h"

#include "base/dir.h"

static struct nn_params params;
static char *dir;

/* Write a checkpoint of a few odd tensors and open it. */
static struct safetensors *checkpoint(const struct safetensors_item *items, int count)
{
    struct err e = {0};
    dir = testing_folder();
    char *path = path_join(dir, "model.safetensors");
    if (safetensors_write(path, items, count, NULL, 0, NULL, &e))
        fail_msg("%s", e.text);
    struct safetensors *s = safetensors_open(dir, &e);
    assert_ok(e);
    free(path);
    return s;
}

static void done(struct safetensors *s)
{
    struct err e = {0};
    nn_params_release(&params);
    safetensors_close(s);
    if (dir)
        assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
    dir = NULL;
}

static void test_bind__values_names_and_dtypes(void **state)
{
    (void)state;
    struct err e = {0};
    mx_array table = mx_reshape(mx_arange(0, 6, 1, MX_FLOAT32), 3, 2);
    struct safetensors_item items[] = {
        {"m.table.weight", table, MX_BFLOAT16},
        {"m.embed.weight", table, MX_BFLOAT16},
        {"m.layers.3.norm.weight", mx_full(2, MX_FLOAT32, 4), MX_BFLOAT16},
        {"m.layers.3.scale", mx_full(5, MX_FLOAT32, 1), MX_FLOAT32},
        {"m.layers.3.point", mx_float(7), MX_FLOAT32},
        {"m.layers.3.q.linear.weight", mx_full(1, MX_FLOAT32, 2, 2), MX_FLOAT32},
        {"m.layers.3.q.input_min", mx_float(-1), MX_FLOAT32},
        {"m.layers.3.q.input_max", mx_float(1), MX_FLOAT32},
        {"m.layers.3.q.output_min", mx_float(-9), MX_FLOAT32},
        {"m.layers.3.q.output_max", mx_float(9), MX_FLOAT32},
    };
    struct safetensors *s = checkpoint(items, 10);
    struct nn_linear t, embed;
    struct nn_clip_linear q;
    struct nn_norm norm;
    mx_array scale, point;
    struct nn_binder b;

    nn_binder_init(&b, &params, s, MX_FLOAT32);
    b.tower = "audio";
    b.eps = 1e-5;
    nn_root(&b, "m.");
    nn_bind_table(&b, "table", &t, 2, 3);
    nn_bind_embedding(&b, "embed", &embed, 2, 3);
    nn_under(&b, "layers.%d.", 3);
    assert_true(nn_has(&b, "scale") && !nn_has(&b, "bias"));
    nn_bind_norm(&b, "norm", &norm, 4);
    nn_bind_scalar(&b, "scale", &scale);
    nn_bind_scalar(&b, "point", &point);
    nn_bind_clip_linear(&b, "q", &q, 2, 2, true);
    if (nn_bind_end(&b, &e))
        fail_msg("%s", e.text);

    assert_int_equal(mx_dtype(t.weight), MX_BFLOAT16);
    assert_int_equal(mx_dtype(embed.weight), MX_FLOAT32);
    expect_near(nn_embedding(&t, mx_from((int32_t[]){2}, MX_INT32, SHAPE(1))),
                mx_from((float[]){4, 5}, MX_FLOAT32, SHAPE(1, 2)), 0);
    assert_near(norm.eps, 1e-5, 0);
    expect_near(norm.weight, mx_full(2, MX_FLOAT32, 4), 0);
    expect_near(scale, mx_full(5, MX_FLOAT32, 1), 0);
    expect_near(point, mx_full(7, MX_FLOAT32, 1), 0);
    expect_near(q.output_min, mx_float(-9), 0);

    const struct nn_param *p = nn_params_find(&params, "m.layers.3.point");
    assert_int_equal(p->n, 0);
    assert_int_equal(p->role, NN_BUFFER);
    assert_string_equal(p->tower, "audio");
    p = nn_params_find(&params, "m.layers.3.norm.weight");
    assert_int_equal(p->stored, MX_BFLOAT16);
    assert_int_equal(p->role, NN_WEIGHT);
    assert_int_equal(params.module_count, 1);
    assert_string_equal(params.modules[0].name, "m.layers.3.q.linear");
    assert_null(nn_params_find(&params, "m.layers.3.other"));
    done(s);
}

static void test_bind__lists_all_problems(void **state)
{
    (void)state;
    struct err e = {0};
    struct safetensors_item items[] = {
        {"a.weight", mx_full(1, MX_FLOAT32, 3, 2), MX_FLOAT32},
        {"b.weight", mx_full(1, MX_FLOAT32, 2), MX_INT32},
        {"c.weight", mx_full(1, MX_FLOAT32, 2), MX_FLOAT32},
        {"extra", mx_float(1), MX_FLOAT32},
        {"vision.x", mx_float(1), MX_FLOAT32},
    };
    struct safetensors *s = checkpoint(items, 5);
    struct nn_linear l[8];
    struct nn_norm n[3];
    struct nn_binder b;

    nn_binder_init(&b, &params, s, MX_FLOAT32);
    nn_ignore(&b, "vision.*");
    nn_bind_linear(&b, "a", &l[0], 3, 2);
    nn_bind_norm(&b, "b", &n[0], 2);
    nn_bind_norm(&b, "c", &n[1], 2);
    for (int i = 0; i < 6; i++) {
        nn_under(&b, "layers.%d.", i);
        nn_bind_linear(&b, "q", &l[1 + i], 2, 2);
    }
    assert_int_equal(nn_bind_end(&b, &e), -1);
    assert_err(e, ERR_INTEGRITY, "9 tensors do not fit the config: ");
    assert_non_null(strstr(e.text, "6 missing: layers.0.q.weight, layers.1.q.weight, "
                                   "layers.2.q.weight, layers.3.q.weight and 2 more"));
    assert_non_null(strstr(e.text, "1 of another shape: a.weight has (3,2), expected (2,3)"));
    assert_non_null(strstr(e.text, "1 of a dtype that is not for weights: b.weight is int32"));
    assert_non_null(strstr(e.text, "1 left over: extra"));
    assert_null(strstr(e.text, "vision"));
    done(s);
}

static double deviation(mx_array x)
{
    float *v = read_floats(x);
    double sum = 0;
    for (size_t i = 0; i < mx_size(x); i++)
        sum += (double)v[i] * (double)v[i];
    free(v);
    return sqrt(sum / (double)mx_size(x));
}

static void test_bind__random_starts(void **state)
{
    (void)state;
    struct err e = {0};
    struct nn_linear a, c, embed;
    struct nn_conv conv;
    struct nn_norm norm, q_norm;
    struct nn_clip_linear clip;
    mx_array scalar, tensor;
    struct nn_binder b;

    nn_binder_init(&b, &params, NULL, MX_FLOAT32);
    b.seed = 3;
    nn_bind_linear_bias(&b, "a", &a, 100, 200);
    b.init_std = 0.02;
    nn_bind_embedding(&b, "embed", &embed, 50, 300);
    b.init_std = 0;
    nn_bind_conv2d(&b, "conv", &conv, 8, 64, 3, 3);
    nn_bind_norm(&b, "norm", &norm, 8);
    nn_init_next(&b, NN_INIT_CONSTANT, 0.5);
    nn_bind_norm(&b, "q_norm", &q_norm, 8);
    nn_bind_clip_linear(&b, "clip", &clip, 4, 4, true);
    nn_bind_scalar(&b, "scalar", &scalar);
    nn_bind_tensor(&b, "tensor", &tensor, SHAPE(5), (struct nn_init){NN_INIT_CONSTANT, 0});
    nn_init_next(&b, NN_INIT_NORMAL, 3);
    nn_bind_linear(&b, "c", &c, 100, 100);
    assert_int_equal(nn_bind_end(&b, &e), 0);

    assert_near(deviation(a.weight), 0.1, 0.002);
    assert_near(deviation(a.bias), 0, 0);
    assert_near(deviation(embed.weight), 0.02, 0.0005);
    assert_near(deviation(conv.weight), 1 / sqrt(72), 0.003);
    expect_near(norm.weight, mx_full(1, MX_FLOAT32, 8), 0);
    expect_near(q_norm.weight, mx_full(0.5, MX_FLOAT32, 8), 0);
    expect_near(scalar, mx_full(1, MX_FLOAT32, 1), 0);
    expect_near(tensor, mx_full(0, MX_FLOAT32, 5), 0);
    assert_near(deviation(c.weight), 3, 0.1);
    mx_array x = mx_full(1e30, MX_FLOAT32, 1, 4);
    assert_near(deviation(nn_clip_linear(&clip, x)), deviation(nn_linear(&clip.linear, x)), 0);
    done(NULL);
}

/* The same seed and name give the same numbers, whatever else is bound. */
static void test_bind__random_depends_on_seed_and_name_only(void **state)
{
    (void)state;
    struct err e = {0};
    float *found[4];
    const uint64_t seeds[4] = {3, 3, 4, 3};
    for (int i = 0; i < 4; i++) {
        struct nn_params p = {0};
        struct nn_linear a, x;
        struct nn_binder b;
        nn_binder_init(&b, &p, NULL, MX_FLOAT32);
        b.seed = seeds[i];
        if (i == 1)
            nn_bind_linear(&b, "x", &x, 5, 5);
        nn_bind_linear(&b, i == 3 ? "b" : "a", &a, 8, 8);
        assert_int_equal(nn_bind_end(&b, &e), 0);
        found[i] = read_floats(a.weight);
        nn_params_release(&p);
    }
    assert_int_equal(memcmp(found[0], found[1], 256), 0);
    assert_int_not_equal(memcmp(found[0], found[2], 256), 0);
    assert_int_not_equal(memcmp(found[0], found[3], 256), 0);
    for (int i = 0; i < 4; i++)
        free(found[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_bind__values_names_and_dtypes),
        nn_test(test_bind__lists_all_problems),
        nn_test(test_bind__random_starts),
        nn_test(test_bind__random_depends_on_seed_and_name_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
