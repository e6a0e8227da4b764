/* The list of parameters: what is trained, prefixes, towers. */
#include "net.h"

static struct nn_params params;
static struct nn_linear linears[14], table;
static mx_array scalar;

/* Layers 0 to 11 of one tower and one of another, in bfloat16. */
static void bind(void)
{
    struct err e = {0};
    struct nn_binder b;
    nn_binder_init(&b, &params, NULL, MX_BFLOAT16);
    for (int i = 0; i < 12; i++) {
        nn_under(&b, "m.layers.%d.", i);
        nn_bind_linear(&b, "q", &linears[i], 2, 2);
    }
    b.tower = "audio";
    nn_under(&b, "m.");
    nn_bind_linear(&b, "p", &linears[12], 2, 2);
    nn_bind_table(&b, "table", &table, 2, 3);
    nn_bind_scalar(&b, "s", &scalar);
    assert_int_equal(nn_bind_end(&b, &e), 0);
}

static char audio[] = "audio", vision[] = "vision";

static void test_params__prefixes(void **state)
{
    (void)state;
    struct err e = {0};
    int n;
    bind();
    assert_int_equal(nn_trainable(&params, "").n, 0);
    assert_int_equal(nn_params_train(&params, NULL, 0, &e), 0);
    assert_int_equal(nn_trainable(&params, "").n, 14);
    assert_int_equal(nn_trainable(&params, "m.layers.1.").n, 1);
    assert_int_equal(nn_trainable(&params, "m.layers.1").n, 3);
    assert_int_equal(nn_trainable(&params, "m.layers.").n, 12);
    assert_int_equal(nn_trainable(&params, "n").n, 0);
    assert_int_equal(nn_trainable(&params, "a").n, 0);
    struct nn_param *const *p = nn_trainable_params(&params, "m.layers.11.", &n);
    assert_int_equal(n, 1);
    assert_string_equal(p[0]->name, "m.layers.11.q.weight");
    assert_int_equal(p[0]->slot.id, nn_trainable(&params, "m.layers.11.").at[0].id);
    nn_params_release(&params);
}

/* Masters are float32; buffers are not trained; layers know whether they are. */
static void test_params__training_a_tower(void **state)
{
    (void)state;
    struct err e = {0};
    bind();
    assert_int_equal(nn_params_train(&params, (char *[]){audio}, 1, &e), 0);
    assert_int_equal(nn_trainable(&params, "").n, 2);
    assert_true(table.trained && linears[12].trained && !linears[0].trained);
    assert_int_equal(mx_dtype(table.weight), MX_FLOAT32);
    assert_int_equal(mx_dtype(linears[0].weight), MX_BFLOAT16);
    assert_int_equal(nn_params_find(&params, "m.table.weight")->stored, MX_BFLOAT16);
    nn_params_freeze(&params);
    assert_false(table.trained);
    assert_int_equal(nn_trainable(&params, "").n, 0);
    nn_params_release(&params);
    assert_int_equal(params.count, 0);
}

static void test_params__unknown_tower(void **state)
{
    (void)state;
    struct err e = {0};
    bind();
    assert_int_equal(nn_params_train(&params, (char *[]){audio, vision}, 2, &e), -1);
    assert_err(e, ERR_USAGE, "the model has no tower vision (it has language, audio)");
    nn_params_release(&params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_params__prefixes),
        nn_test(test_params__training_a_tower),
        nn_test(test_params__unknown_tower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
