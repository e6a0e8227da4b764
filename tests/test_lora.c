/* Adapters: patterns, fresh ones, errors, the table. */
#include "net.h"

#include "nn/optim.h"

static char q[] = "q_proj", glob[] = "*.1.?_proj", wrong[] = "k_prj", part[] = "proj";
static char language[] = "language", audio[] = "audio";

static int attach(struct net *n, char **targets, int count, struct err *e)
{
    struct nn_lora_config c = {
        .rank = 2, .alpha = 4, .seed = 9, .targets = targets, .target_count = count};
    return nn_lora_attach(&n->params, &c, e);
}

static void test_lora__suffix(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    net_open(&n);
    assert_int_equal(attach(&n, (char *[]){q}, 1, &e), 0);
    assert_int_equal(n.layers[0].q_proj.lora.rank, 2);
    assert_int_equal(n.layers[0].o_proj.lora.rank, 0);
    assert_near(n.layers[0].q_proj.lora.scale, 2, 0);
    assert_int_equal(nn_trainable(&n.params, "").n, 4);
    struct mx_arrays first = nn_trainable(&n.params, "model.layers.0.");
    assert_int_equal(first.n, 2);
    assert_int_equal(mx_dim(first.at[0], 0), 2);
    assert_int_equal(mx_dim(first.at[1], 0), 8);
    assert_int_equal(nn_trainable(&n.params, "model.layers.2.").n, 0);
    net_close(&n);
}

static void test_lora__glob_and_default(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    net_open(&n);
    assert_int_equal(attach(&n, (char *[]){glob}, 1, &e), 0);
    assert_int_equal(nn_trainable(&n.params, "model.layers.0.").n, 0);
    assert_int_equal(nn_trainable(&n.params, "model.layers.1.").n, 4);
    net_close(&n);
    net_open(&n);
    assert_int_equal(attach(&n, NULL, 0, &e), 0);
    assert_int_equal(nn_trainable(&n.params, "").n, 8);
    net_close(&n);
}

/* Fresh adapters change nothing; A stays in its bound, and depends on seed and name alone. */
static void test_lora__starts_as_nothing(void **state)
{
    (void)state;
    struct net n, m;
    struct err e = {0};
    net_open(&n);
    net_open(&m);
    mx_array before_it = net_forward(&n, ref("lora.x"));
    assert_int_equal(attach(&n, NULL, 0, &e), 0);
    assert_int_equal(attach(&m, (char *[]){glob}, 1, &e), 0);
    expect_near(net_forward(&n, ref("lora.x")), before_it, 0);
    expect_near(m.layers[1].q_proj.lora.a, n.layers[1].q_proj.lora.a, 0);
    float *a = read_floats(n.layers[1].o_proj.lora.a), largest = 0;
    for (int i = 0; i < 16; i++)
        largest = fmaxf(largest, fabsf(a[i]));
    assert_true(largest <= 1 / sqrtf(8) && largest > 0.5f / sqrtf(8));
    free(a);
    net_close(&n);
    net_close(&m);
}

static void expect_refused(struct nn_lora_config c, const char *text, const char *hint)
{
    struct net n;
    struct err e = {0};
    net_open(&n);
    assert_int_equal(nn_lora_attach(&n.params, &c, &e), -1);
    assert_err(e, ERR_USAGE, text);
    if (!strstr(e.hint, hint))
        fail_msg("hint is: %s", e.hint);
    assert_false(nn_lora_attached(&n.params));
    net_close(&n);
}

static void test_lora__refuses(void **state)
{
    (void)state;
    struct nn_lora_config good = {.rank = 2, .alpha = 4}, c;

    c = good, c.rank = 0;
    expect_refused(c, "rank is 0", "");
    c = good, c.alpha = NAN;
    expect_refused(c, "alpha is nan", "");
    c = good, c.dropout = 1;
    expect_refused(c, "dropout is 1", "");
    c = good, c.targets = (char *[]){q, wrong}, c.target_count = 2;
    expect_refused(c, "k_prj matches no linear layer", "nearest: q_proj, o_proj");
    c = good, c.targets = (char *[]){part}, c.target_count = 1;
    expect_refused(c, "target proj matches no", "nearest");
    c = good, c.towers = (char *[]){language, audio}, c.tower_count = 2;
    expect_refused(c, "no tower audio (it has language)", "");
}

/* A projector is no stack of blocks; its layers are meant when nothing else is said. */
static void test_lora__tower_without_blocks(void **state)
{
    (void)state;
    char projector[] = "projector";
    struct nn_lora_config c = {
        .rank = 2, .alpha = 4, .towers = (char *[]){language, projector}, .tower_count = 2};
    struct net n = {0};
    struct nn_binder b;
    struct err e = {0};
    nn_binder_init(&b, &n.params, NULL, MX_FLOAT32);
    b.tower = "language";
    nn_under(&b, "layers.%d.", 0);
    nn_bind_linear(&b, "q_proj", &n.layers[0].q_proj, 6, 8);
    b.tower = "projector";
    nn_under(&b, "%s", "embed_audio.");
    nn_bind_linear(&b, "embedding_projection", &n.layers[1].q_proj, 6, 8);
    assert_int_equal(nn_bind_end(&b, &e), 0);
    c.targets = (char *[]){q}, c.target_count = 1;
    assert_int_equal(nn_lora_attach(&n.params, &c, &e), -1);
    assert_err(e, ERR_USAGE, "no adapter on the tower projector: no target is in it");
    c.target_count = 0;
    e = (struct err){0};
    assert_int_equal(nn_lora_attach(&n.params, &c, &e), 0);
    assert_int_equal(n.layers[1].q_proj.lora.rank, 2);
    assert_int_equal(nn_trainable(&n.params, "").n, 4);
    net_close(&n);
}

static void test_lora__table(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    struct nn_trained *rows;
    net_open(&n);
    assert_int_equal(attach(&n, NULL, 0, &e), 0);
    assert_int_equal(nn_trained_table(&n.params, &rows), 2);
    assert_string_equal(rows[0].name, "model.layers.*.q_proj");
    assert_string_equal(rows[0].tower, "language");
    assert_int_equal(rows[0].count, 2);
    assert_int_equal(rows[0].parameters, 2 * 2 * (6 + 8));
    assert_int_equal(rows[0].rank, 2);
    free(rows);

    assert_int_equal(nn_params_train(&n.params, NULL, 0, &e), 0);
    assert_int_equal(nn_trained_table(&n.params, &rows), 3);
    assert_string_equal(rows[2].name, "model.layers.*.o_proj.bias");
    assert_int_equal(rows[2].parameters, 2 * 6);
    assert_int_equal(rows[2].rank, 0);
    free(rows);
    net_close(&n);
}

/* A fresh DoRA adapter changes nothing either: its magnitudes are the lengths of the rows. */
static void test_lora__dora_starts_as_nothing(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    struct nn_trained *rows;
    struct nn_lora_config c = {.rank = 2, .alpha = 4, .seed = 9, .dora = true};
    net_open(&n);
    mx_array before_it = net_forward(&n, ref("lora.x"));
    assert_int_equal(nn_lora_attach(&n.params, &c, &e), 0);
    expect_near(net_forward(&n, ref("lora.x")), before_it, 1e-6);
    assert_int_equal(nn_trainable(&n.params, "").n, 12);
    assert_int_equal(nn_trained_table(&n.params, &rows), 2);
    assert_int_equal(rows[0].count, 2);
    assert_int_equal(rows[0].rank, 2);
    assert_int_equal(rows[0].parameters, 2 * (2 * (6 + 8) + 8));
    free(rows);
    net_close(&n);
}

struct towers {
    struct nn_params params;
    struct nn_linear q, router, heard;
    struct nn_experts experts;
};

static void open_towers(struct towers *m)
{
    struct err e = {0};
    struct nn_binder b;
    *m = (struct towers){0};
    nn_binder_init(&b, &m->params, NULL, MX_FLOAT32);
    nn_root(&b, "model.");
    nn_under(&b, "layers.%d.", 0);
    nn_bind_linear(&b, "q_proj", &m->q, 6, 8);
    nn_bind_linear(&b, "router.proj", &m->router, 6, 3);
    nn_bind_experts(&b, "experts", &m->experts, 3, 6, 4);
    b.tower = "audio";
    nn_under(&b, "audio_tower.layers.%d.", 0);
    nn_bind_linear(&b, "q_proj", &m->heard, 6, 8);
    assert_int_equal(nn_bind_end(&b, &e), 0);
}

/* A tower may have a rank of its own; routers get an adapter when a target says so. */
static void test_lora__towers_routers_and_experts(void **state)
{
    (void)state;
    static char router[] = "router.proj", gate[] = "experts.gate_up_proj";
    struct towers m;
    struct err e = {0};
    struct nn_lora_config c = {.rank = 4,
                               .alpha = 8,
                               .towers = (char *[]){language, audio},
                               .tower_count = 2,
                               .others = {{"audio", 2, 3}},
                               .other_count = 1};
    open_towers(&m);
    assert_int_equal(nn_lora_attach(&m.params, &c, &e), 0);
    assert_int_equal(m.q.lora.rank, 4);
    assert_near(m.q.lora.scale, 2, 0);
    assert_int_equal(m.heard.lora.rank, 2);
    assert_near(m.heard.lora.scale, 1.5, 0);
    assert_int_equal(m.router.lora.rank, 0);
    nn_params_release(&m.params);

    open_towers(&m);
    c.targets = (char *[]){router, q}, c.target_count = 2;
    assert_int_equal(nn_lora_attach(&m.params, &c, &e), 0);
    assert_int_equal(m.router.lora.rank, 4);
    nn_params_release(&m.params);

    open_towers(&m);
    c.targets = (char *[]){q, gate};
    assert_int_equal(nn_lora_attach(&m.params, &c, &e), -1);
    assert_err(e, ERR_USAGE,
               "lora target experts.gate_up_proj means experts, which get no adapter");
    c.target_count = 0;
    c.tower_count = 1;
    e = (struct err){0};
    assert_int_equal(nn_lora_attach(&m.params, &c, &e), -1);
    assert_err(e, ERR_USAGE, "rank for the tower audio, which gets no adapter");
    c.tower_count = 2;
    c.others[0].rank = 0;
    e = (struct err){0};
    assert_int_equal(nn_lora_attach(&m.params, &c, &e), -1);
    assert_err(e, ERR_USAGE, "lora rank of audio is 0");
    nn_params_release(&m.params);
}

/* Training moves the adapters and lowers the loss; the base weights stay. */
static void test_lora__learns(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    struct nn_adamw o;
    struct nn_adamw_config config = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1};
    double first = 0, last = 0;

    net_open(&n);
    mx_array base = mx_shift(n.layers[0].q_proj.weight, 0), x = ref("lora.x");
    assert_int_equal(attach(&n, NULL, 0, &e), 0);
    struct mx_arrays wrt = nn_trainable(&n.params, "");
    nn_adamw_init(&o, wrt, NULL, &config);
    for (int t = 1; t <= 50; t++) {
        mx_array loss, grads[8];
        mx_enter();
        mx_value_and_grad(net_loss, &n, (struct mx_arrays){&x, 1}, wrt, &loss, 1, grads);
        nn_adamw_step(&o, grads, MX_NONE, loss, mx_float(0.02), mx_int(t));
        if (mx_item(loss, &last, &e))
            fail_msg("%s", e.text);
        mx_leave(MX_NONE);
        first = t == 1 ? last : first;
    }
    assert_true(last < 0.2 * first);
    expect_near(n.layers[0].q_proj.weight, base, 0);
    nn_adamw_release(&o);
    net_close(&n);
}

/* A block whose inside is computed again in the backward pass drops the same numbers again. */
static void block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)n_in;
    (void)n_out;
    out[0] = net_forward(*(struct net *const *)arg, in[0]);
}

static void checkpointed_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *n = arg;
    mx_array y;
    (void)n_out;
    mx_checkpoint(block, &n, sizeof n, (struct mx_arrays){in, n_in},
                  nn_trainable(&n->params, "model."), &y, 1);
    out[0] = mx_sum_all(mx_square(y));
}

static void test_lora__dropout_under_checkpointing(void **state)
{
    (void)state;
    struct net n;
    struct err e = {0};
    mx_array x = ref("lora.x"), loss[3], grads[3][8];

    net_open(&n);
    if (nn_lora_load(&n.params, NN_DATA "adapter", NULL, &e))
        fail_msg("%s", e.text);
    struct mx_arrays wrt = nn_trainable(&n.params, ""), in = {&x, 1};
    mx_value_and_grad(net_loss, &n, in, wrt, &loss[0], 1, grads[0]);
    nn_dropout_key(&n.params, mx_random_key(4));
    mx_value_and_grad(net_loss, &n, in, wrt, &loss[1], 1, grads[1]);
    mx_value_and_grad(checkpointed_loss, &n, in, wrt, &loss[2], 1, grads[2]);
    expect_near(loss[2], loss[1], 1e-6);
    for (int i = 0; i < 8; i++)
        expect_near(grads[2][i], grads[1][i], 1e-6);
    float *plain = read_floats(loss[0]), *dropped = read_floats(loss[1]);
    assert_true(fabsf(*plain - *dropped) > 1e-2f);
    free(plain);
    free(dropped);
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_lora__suffix),
        nn_test(test_lora__glob_and_default),
        nn_test(test_lora__starts_as_nothing),
        nn_test(test_lora__refuses),
        nn_test(test_lora__tower_without_blocks),
        nn_test(test_lora__table),
        nn_test(test_lora__dora_starts_as_nothing),
        nn_test(test_lora__towers_routers_and_experts),
        nn_test(test_lora__learns),
        nn_test(test_lora__dropout_under_checkpointing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
