/* Binding: values, dtypes and names from a file; all problems in one error; random starts. */
#include "net.h"

#include "base/dir.h"
#include "base/mem.h"
#include "nn/table.h"

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

/* Biases beside the weights of norms and convolutions; in float16, as some checkpoints are. */
static void test_bind__norms_and_convolutions_with_bias(void **state)
{
    (void)state;
    struct err e = {0};
    mx_array w = mx_reshape(mx_arange(0, 12, 1, MX_FLOAT32), 2, 3, 2);
    struct safetensors_item items[] = {
        {"norm.weight", mx_full(2, MX_FLOAT32, 3), MX_FLOAT16},
        {"norm.bias", mx_full(-0.5, MX_FLOAT32, 3), MX_FLOAT16},
        {"conv.weight", w, MX_FLOAT16},
        {"conv.bias", mx_full(7, MX_FLOAT32, 2), MX_FLOAT16},
    };
    struct safetensors *s = checkpoint(items, 4);

    for (int is_random = 0; is_random < 2; is_random++) {
        struct nn_norm norm;
        struct nn_conv conv;
        struct nn_binder b;

        nn_binder_init(&b, &params, is_random ? NULL : s, MX_FLOAT32);
        b.eps = 1e-5;
        nn_bind_layer_norm(&b, "norm", &norm, 3);
        nn_bind_conv1d_bias(&b, "conv", &conv, 3, 2, 2);
        if (nn_bind_end(&b, &e))
            fail_msg("%s", e.text);
        assert_near(norm.eps, 1e-5, 0);
        assert_int_equal(conv.groups, 1);
        assert_int_equal(params.count, 4);
        assert_int_equal(params.at[1].role, NN_WEIGHT);
        if (is_random) {
            expect_near(norm.weight, mx_full(1, MX_FLOAT32, 3), 0);
            expect_near(norm.bias, mx_zeros(MX_FLOAT32, 3), 0);
            expect_near(conv.bias, mx_zeros(MX_FLOAT32, 2), 0);
        } else {
            assert_int_equal(params.at[1].stored, MX_FLOAT16);
            assert_int_equal(mx_dtype(norm.bias), MX_FLOAT32);
            expect_near(norm.weight, mx_full(2, MX_FLOAT32, 3), 0);
            expect_near(norm.bias, mx_full(-0.5, MX_FLOAT32, 3), 0);
            expect_near(conv.weight, w, 0);
            expect_near(conv.bias, mx_full(7, MX_FLOAT32, 2), 0);
        }
        nn_params_release(&params);
    }
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

/* ------------------------------------------------------------- quantised -- */

static mx_array normal(uint64_t seed, const int *shape, int n)
{
    return mx_random_normal_(mx_random_key(seed), 1, shape, n);
}

/* On load: the linear layers and experts of blocks, not embeddings, norms, routers, projections
 * outside, nor rows that are no multiple of the group; from the stored dtype. */
static void test_bind__quantises_on_load(void **state)
{
    (void)state;
    struct err e = {0};
    struct safetensors_item items[] = {
        {"m.layers.0.q_proj.weight", normal(1, SHAPE(8, 64)), MX_BFLOAT16},
        {"m.layers.0.odd.weight", normal(2, SHAPE(8, 48)), MX_BFLOAT16},
        {"m.layers.0.router.proj.weight", normal(3, SHAPE(4, 64)), MX_BFLOAT16},
        {"m.layers.0.experts.gate_up_proj", normal(4, SHAPE(4, 64, 64)), MX_BFLOAT16},
        {"m.layers.0.experts.down_proj", normal(5, SHAPE(4, 64, 32)), MX_BFLOAT16},
        {"m.layers.0.norm.weight", normal(6, SHAPE(64)), MX_BFLOAT16},
        {"m.embed.weight", normal(7, SHAPE(8, 64)), MX_BFLOAT16},
        {"m.proj.weight", normal(8, SHAPE(8, 64)), MX_BFLOAT16},
    };
    struct safetensors *s = checkpoint(items, 8);
    struct nn_linear q, odd, router, embed, proj;
    struct nn_experts x;
    struct nn_norm norm;
    struct nn_binder b;

    nn_binder_init(&b, &params, s, MX_FLOAT32);
    b.quantize_bits = 4;
    b.quantize_group = 32;
    nn_root(&b, "m.");
    nn_bind_embedding(&b, "embed", &embed, 64, 8);
    nn_bind_linear(&b, "proj", &proj, 64, 8);
    nn_under(&b, "layers.%d.", 0);
    nn_bind_linear(&b, "q_proj", &q, 64, 8);
    nn_bind_linear(&b, "odd", &odd, 48, 8);
    nn_bind_linear(&b, "router.proj", &router, 64, 4);
    nn_bind_experts(&b, "experts", &x, 4, 64, 32);
    nn_bind_norm(&b, "norm", &norm, 64);
    if (nn_bind_end(&b, &e))
        fail_msg("%s", e.text);
    assert_int_equal(q.quant.bits, 4);
    assert_int_equal(x.gate_up_quant.bits, 4);
    assert_int_equal(x.down_quant.group, 32);
    assert_true(embed.quant.bits + proj.quant.bits + odd.quant.bits + router.quant.bits == 0);
    assert_int_equal(mx_dtype(q.weight), MX_UINT32);
    assert_int_equal(mx_dtype(q.quant.scales), MX_BFLOAT16);
    mx_array words, scales, biases, stored = mx_astype(items[0].array, MX_BFLOAT16);
    mx_quantize(stored, 32, 4, &words, &scales, &biases);
    expect_near(nn_linear_weight(&q, MX_FLOAT32),
                mx_dequantize(words, mx_astype(scales, MX_FLOAT32), mx_astype(biases, MX_FLOAT32),
                              32, 4, MX_FLOAT32),
                1e-6);
    expect_near(nn_dequantize(x.down, &x.down_quant, MX_FLOAT32), items[4].array, 0.3);

    const struct nn_param *p = nn_params_find(&params, "m.layers.0.experts.gate_up_proj");
    assert_true(p->quant == &x.gate_up_quant && p->n == 3 && p->shape[2] == 64);
    assert_int_equal(p->stored, MX_BFLOAT16);
    p = nn_params_find(&params, "m.layers.0.q_proj.weight.scales");
    assert_int_equal(p->role, NN_PART);
    assert_int_equal(nn_params_train(&params, NULL, 0, &e), -1);
    assert_err(e, ERR_USAGE, "m.layers.0.q_proj.weight is quantised and cannot be trained in full");
    done(s);
}

enum { MLX_TENSORS = 19, MLX_QUANTISED = 6 };

static const struct {
    const char *name;
    int shape[3], n, bits, group;
} MLX_WEIGHTS[MLX_QUANTISED] = {
    {"language_model.model.embed_tokens", {12, 64}, 2, 4, 64},
    {"language_model.model.table", {12, 128}, 2, 4, 32},
    {"language_model.model.layers.0.q_proj", {8, 64}, 2, 6, 32},
    {"language_model.model.layers.0.experts.switch_glu.gate_proj", {3, 32, 64}, 3, 4, 64},
    {"language_model.model.layers.0.experts.switch_glu.up_proj", {3, 32, 64}, 3, 4, 64},
    {"language_model.model.layers.0.experts.switch_glu.down_proj", {3, 64, 32}, 3, 8, 32},
};

/* Those, and a convolution [out,in,height,width] with its channels last; `dense` is what the
 * quantised ones stand for. */
static struct safetensors *checkpoint_of_mlx(mx_array dense[MLX_QUANTISED], mx_array conv)
{
    static const char *const ENDS[] = {"weight", "scales", "biases"};
    struct err e = {0};
    struct safetensors_item items[MLX_TENSORS];
    struct safetensors_pair format = {"format", "mlx"};
    char *names[MLX_TENSORS];
    int count = 0;

    for (int i = 0; i < MLX_QUANTISED; i++) {
        int bits = MLX_WEIGHTS[i].bits, group = MLX_WEIGHTS[i].group;
        mx_array part[3], w = normal(20 + (uint64_t)i, MLX_WEIGHTS[i].shape, MLX_WEIGHTS[i].n);
        mx_quantize(w, group, bits, &part[0], &part[1], &part[2]);
        dense[i] = mx_dequantize(part[0], part[1], part[2], group, bits, MX_FLOAT32);
        for (int k = 0; k < 3; k++, count++) {
            names[count] = xasprintf("%s.%s", MLX_WEIGHTS[i].name, ENDS[k]);
            items[count] =
                (struct safetensors_item){names[count], part[k], k == 0 ? MX_UINT32 : MX_FLOAT32};
        }
    }
    names[count] = xstrdup("audio_tower.conv.weight");
    items[count] =
        (struct safetensors_item){names[count], mx_transpose(conv, 0, 2, 3, 1), MX_FLOAT32};
    dir = testing_folder();
    char *path = path_join(dir, "model.safetensors");
    if (safetensors_write(path, items, MLX_TENSORS, &format, 1, NULL, &e))
        fail_msg("%s", e.text);
    struct safetensors *s = safetensors_open(dir, &e);
    assert_ok(e);
    free(path);
    for (int i = 0; i < MLX_TENSORS; i++)
        free(names[i]);
    return s;
}

/* A checkpoint as MLX's tools write it: their names, quantised layers of different bits, the
 * experts' gate and up apart, quantised embeddings, convolutions with channels last. */
static void test_bind__checkpoint_of_mlx(void **state)
{
    (void)state;
    struct err e = {0};
    mx_array dense[MLX_QUANTISED], conv = normal(30, SHAPE(4, 2, 3, 5));
    struct safetensors *s = checkpoint_of_mlx(dense, conv);
    struct nn_linear embed, table, q;
    struct nn_experts x;
    struct nn_conv c;
    struct nn_binder b;

    nn_binder_init(&b, &params, s, MX_FLOAT32);
    nn_root(&b, "model.language_model.");
    assert_true(nn_has(&b, "embed_tokens.weight"));
    nn_bind_embedding(&b, "embed_tokens", &embed, 64, 12);
    nn_bind_table(&b, "table", &table, 128, 12);
    nn_under(&b, "layers.%d.", 0);
    nn_bind_linear(&b, "q_proj", &q, 64, 8);
    nn_bind_experts(&b, "experts", &x, 3, 64, 32);
    nn_root(&b, "model.audio_tower.");
    nn_bind_conv2d(&b, "conv", &c, 2, 4, 3, 5);
    if (nn_bind_end(&b, &e))
        fail_msg("%s", e.text);
    assert_int_equal(q.quant.bits, 6);
    assert_int_equal(x.down_quant.bits, 8);
    expect_near(nn_linear_weight(&embed, MX_FLOAT32), dense[0], 1e-6);
    expect_near(nn_linear_weight(&q, MX_FLOAT32), dense[2], 1e-6);
    mx_array both[] = {dense[3], dense[4]};
    expect_near(nn_dequantize(x.gate_up, &x.gate_up_quant, MX_FLOAT32), mx_concatenate(both, 2, 1),
                1e-6);
    expect_near(nn_dequantize(x.down, &x.down_quant, MX_FLOAT32), dense[5], 1e-6);
    expect_near(c.weight, conv, 0);
    const int32_t ids[] = {11, 0, 3};
    mx_array rows = mx_take(dense[1], mx_from(ids, MX_INT32, SHAPE(3)), 0);
    expect_near(nn_embedding_host(&table, ids, 3), rows, 1e-6);
    done(s);
}

static void test_bind__refuses_unknown_quantisation(void **state)
{
    (void)state;
    struct err e = {0};
    mx_array part[3];
    mx_quantize(normal(1, SHAPE(8, 64)), 32, 4, &part[0], &part[1], &part[2]);
    struct safetensors_item items[] = {
        {"a.weight", part[0], MX_UINT32},   {"a.scales", part[1], MX_UINT8},
        {"b.weight", part[0], MX_UINT32},   {"b.scales", part[1], MX_FLOAT32},
        {"c.weight", part[0], MX_UINT32},   {"c.scales", part[1], MX_FLOAT32},
        {"c.biases", part[2], MX_BFLOAT16},
    };
    struct safetensors *s = checkpoint(items, 7);
    struct nn_linear l[3];
    struct nn_binder b;
    nn_binder_init(&b, &params, s, MX_FLOAT32);
    nn_bind_linear(&b, "a", &l[0], 64, 8);
    nn_bind_linear(&b, "b", &l[1], 64, 8);
    nn_bind_linear(&b, "c", &l[2], 64, 8);
    assert_int_equal(nn_bind_end(&b, &e), -1);
    assert_non_null(strstr(e.text,
                           "3 of a dtype that is not for weights: a.weight is quantised in a "
                           "way that is not known"));
    done(s);
}

/* A table's rows come from the file, and the device has nothing of it. */
static void test_bind__table_stays_with_the_host(void **state)
{
    (void)state;
    enum { ROWS = 4096, WIDE = 256 };
    struct err e = {0};
    mx_array w = normal(1, SHAPE(ROWS, WIDE));
    struct safetensors_item items[] = {{"table.weight", w, MX_BFLOAT16}};
    struct safetensors *s = checkpoint(items, 1);
    struct nn_linear t, random;
    struct nn_binder b;
    const int32_t ids[] = {4095, 7, 0, 7}, wrong[] = {0, ROWS};
    size_t there = mx_memory_active();

    nn_binder_init(&b, &params, s, MX_FLOAT32);
    nn_bind_table(&b, "table", &t, WIDE, ROWS);
    assert_int_equal(nn_bind_end(&b, &e), 0);
    nn_binder_init(&b, &params, NULL, MX_FLOAT32);
    b.seed = 4;
    nn_bind_table(&b, "random", &random, WIDE, ROWS);
    assert_int_equal(nn_bind_end(&b, &e), 0);
    safetensors_close(s);
    assert_true(t.table && random.table);

    mx_array index = mx_from(ids, MX_INT32, SHAPE(4));
    mx_array rows = nn_embedding_host(&t, ids, 4), more = nn_embedding_host(&random, ids, 4);
    assert_int_equal(mx_dtype(rows), MX_FLOAT32);
    assert_int_equal(mx_eval(&rows, 1, &e), 0);
    assert_int_equal(mx_eval(&more, 1, &e), 0);
    assert_true(mx_memory_active() < there + (size_t)ROWS * WIDE);
    expect_near(rows, mx_take(mx_astype(w, MX_BFLOAT16), index, 0), 0);
    expect_near(nn_embedding(&t, index), rows, 0);
    expect_near(nn_embedding(&random, index), more, 0);
    assert_near(deviation(random.weight), 1 / sqrt(WIDE), 1e-3);
    assert_int_equal(mx_dtype(random.weight), MX_BFLOAT16);

    nn_embedding_host(&t, wrong, 2);
    assert_int_equal(mx_check(&e), -1);
    assert_non_null(strstr(e.text, "token 4096 is not in a table of 4096 rows"));
    /* Trained, it is an ordinary weight. */
    e = (struct err){0};
    assert_int_equal(nn_params_train(&params, NULL, 0, &e), 0);
    mx_set(t.weight, mx_scale(t.weight, 2));
    expect_near(nn_embedding_host(&t, ids, 4), mx_scale(rows, 2), 0);
    done(NULL);
}

static void test_bind__buffers_and_names_of_modules(void **state)
{
    (void)state;
    struct err e = {0};
    struct nn_linear l;
    mx_array x;
    struct nn_binder b;
    nn_binder_init(&b, &params, NULL, MX_FLOAT32);
    nn_root(&b, "model.");
    nn_bind_buffer(&b, "std_scale", &x, SHAPE(3), 2);
    nn_bind_linear(&b, "a.dense", &l, 4, 4);
    nn_module_name(&b, "model.b.dense");
    assert_int_equal(nn_bind_end(&b, &e), 0);
    expect_near(x, mx_full(2, MX_FLOAT32, 3), 0);
    assert_int_equal(nn_params_find(&params, "model.std_scale")->role, NN_BUFFER);
    assert_string_equal(params.modules[0].name, "model.b.dense");
    assert_non_null(nn_params_find(&params, "model.a.dense.weight"));
    done(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_bind__values_names_and_dtypes),
        nn_test(test_bind__norms_and_convolutions_with_bias),
        nn_test(test_bind__lists_all_problems),
        nn_test(test_bind__random_starts),
        nn_test(test_bind__random_depends_on_seed_and_name_only),
        nn_test(test_bind__quantises_on_load),
        nn_test(test_bind__checkpoint_of_mlx),
        nn_test(test_bind__refuses_unknown_quantisation),
        nn_test(test_bind__table_stays_with_the_host),
        nn_test(test_bind__buffers_and_names_of_modules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
