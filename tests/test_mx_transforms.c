/* The transforms of the binding: gradients, checkpoints, custom gradients, compilation. */
#include "mx_testing.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define SHAPE(...) ((int[]){__VA_ARGS__}), MX_COUNT(__VA_ARGS__)
#define LIST(...)                                                                                  \
    ((struct mx_arrays){(mx_array[]){__VA_ARGS__},                                                 \
                        (int)(sizeof((mx_array[]){__VA_ARGS__}) / sizeof(mx_array))})
#define NOTHING ((struct mx_arrays){NULL, 0})

/* A small network: loss = mean((tanh(x W1 + b) W2)^2) + 0.1 sum(W2^2). */
struct net {
    mx_array w1, b, w2;
    bool checkpointed;
    int forwards;
};

static mx_array random_slot(uint32_t with, const int *shape, int n)
{
    return mx_slot(mx_random_normal_(mx_random_fold(mx_random_key(3), with), 0.7, shape, n));
}

static void net_init(struct net *m)
{
    *m = (struct net){.w1 = random_slot(1, SHAPE(3, 4)),
                      .b = random_slot(2, SHAPE(4)),
                      .w2 = random_slot(3, SHAPE(4, 2))};
}

static void net_release(struct net *m)
{
    mx_slot_free(m->w1);
    mx_slot_free(m->b);
    mx_slot_free(m->w2);
}

static void block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *m = *(struct net **)arg;
    assert_int_equal(n_in, 1);
    assert_int_equal(n_out, 2);
    m->forwards++;
    mx_at("block");
    out[0] = mx_matmul(mx_tanh(mx_add(mx_matmul(in[0], m->w1), m->b)), m->w2);
    out[1] = mx_sum_all(mx_square(m->w2));
}

static void net_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *m = arg;
    mx_array y[2], x = mx_scale(mx_index(in[0], 0, 0), 1.5);
    assert_int_equal(n_in, 1);
    if (m->checkpointed)
        mx_checkpoint(block, &m, sizeof m, LIST(x), LIST(m->w1, m->b, m->w2), y, 2);
    else
        block(&m, &x, 1, y, 2);
    mx_array mean = mx_mean(mx_flatten(mx_square(y[0]), 0, -1), 0, false);
    out[0] = mx_add(mean, mx_scale(y[1], 0.1));
    if (n_out > 1)
        out[1] = y[1];
}

static mx_array input(void)
{
    return mx_random_normal_(mx_random_key(11), 1, SHAPE(1, 5, 3));
}

static double loss_of(struct net *m, mx_array x)
{
    mx_array out;
    net_loss(m, &x, 1, &out, 1);
    return item(out);
}

/* Central difference of the loss by element `i` of a slot. */
static double difference(struct net *m, mx_array x, mx_array slot, int i)
{
    struct err e = {0};
    float v[64], keep;
    int shape[2] = {mx_dim(slot, 0), mx_ndim(slot) > 1 ? mx_dim(slot, 1) : 1};
    int n = mx_ndim(slot);
    assert_int_equal(mx_read(slot, MX_FLOAT32, v, mx_nbytes(slot), &e), 0);
    keep = v[i];
    double h = 1e-2, loss[2];
    for (int s = 0; s < 2; s++) {
        v[i] = keep + (float)(s ? h : -h);
        mx_set(slot, mx_from(v, MX_FLOAT32, shape, n));
        loss[s] = loss_of(m, x);
    }
    v[i] = keep;
    mx_set(slot, mx_from(v, MX_FLOAT32, shape, n));
    return (loss[1] - loss[0]) / (2 * h);
}

static void check_gradients(struct net *m)
{
    struct err e = {0};
    mx_array x = input(), out[2], grads[3];
    struct mx_arrays wrt = LIST(m->w1, m->b, m->w2);
    mx_value_and_grad(net_loss, m, LIST(x), wrt, out, 2, grads);
    assert_int_equal(mx_eval(grads, 3, &e), 0);
    assert_float_equal((float)item(out[0]), (float)loss_of(m, x), 1e-6f);
    for (int p = 0; p < 3; p++) {
        float g[64];
        int n = (int)mx_size(wrt.at[p]);
        assert_int_equal(mx_read(grads[p], MX_FLOAT32, g, (size_t)n * sizeof *g, &e), 0);
        for (int i = 0; i < n; i++)
            assert_float_equal(g[i], (float)difference(m, x, wrt.at[p], i), 1e-3f);
    }
}

static void test_mx__gradients_match_finite_differences(void **state)
{
    (void)state;
    struct net m;
    net_init(&m);
    check_gradients(&m);
    net_release(&m);
}

static void test_mx__gradients_through_checkpoint(void **state)
{
    (void)state;
    struct net m;
    net_init(&m);
    m.checkpointed = true;
    check_gradients(&m);
    net_release(&m);
}

static void test_mx__checkpoint_runs_the_block_twice(void **state)
{
    (void)state;
    struct net m;
    net_init(&m);
    m.checkpointed = true;
    mx_array out, grads[3];
    mx_value_and_grad(net_loss, &m, LIST(input()), LIST(m.w1, m.b, m.w2), &out, 1, grads);
    assert_int_equal(m.forwards, 2);
    net_release(&m);
}

/* ---- several inputs and outputs, arrays of the caller's that carry no gradient */

struct chain {
    mx_array w[6], mask;
    int layers, width;
    bool checkpointed, hidden_operand;
    int depth;
};

struct chain_block {
    const struct chain *c;
    int i;
    mx_array mask;
};

static void chain_step(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct chain_block *b = arg;
    assert_true(n_in == 2 && n_out == 2);
    mx_array h = mx_tanh(mx_matmul(in[0], b->c->w[b->i]));
    for (int k = 0; k < b->c->depth; k++)
        h = mx_tanh(mx_shift(mx_scale(h, 1.5), 0.1));
    out[0] = mx_multiply(mx_add(h, in[1]), b->mask);
    out[1] = mx_scale(mx_add(h, in[1]), 0.5);
}

static void chain_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct chain *c = arg;
    (void)n_in;
    (void)n_out;
    mx_array h[2] = {in[0], mx_scale(in[0], 0.3)};
    /* Made inside the differentiated function, read by the blocks when they run again. */
    mx_array mask = mx_greater(mx_astype(c->mask, MX_FLOAT32), mx_float(0));
    for (int i = 0; i < c->layers; i++) {
        mx_at("layers.%d", i);
        struct chain_block b = {c, i, mx_astype(mask, MX_FLOAT32)};
        if (c->hidden_operand)
            b.mask = h[0];
        mx_array y[2];
        if (c->checkpointed)
            mx_checkpoint(chain_step, &b, sizeof b, LIST(h[0], h[1]), LIST(c->w[i]), y, 2);
        else
            chain_step(&b, h, 2, y, 2);
        h[0] = y[0];
        h[1] = y[1];
        b.c = NULL;                             /* the copy is what runs again */
    }
    out[0] = mx_sum_all(mx_square(mx_add(h[0], h[1])));
}

static void chain_init(struct chain *c, int width, int layers, int depth)
{
    *c = (struct chain){.layers = layers, .width = width, .depth = depth};
    for (int i = 0; i < layers; i++)
        c->w[i] = mx_slot(mx_random_normal_(mx_random_key((uint64_t)i), 0.3, SHAPE(width, width)));
    c->mask = mx_slot(mx_random_bernoulli_(mx_random_key(9), 0.5, SHAPE(1, width)));
}

static void chain_release(struct chain *c)
{
    for (int i = 0; i < c->layers; i++)
        mx_slot_free(c->w[i]);
    mx_slot_free(c->mask);
}

static void test_mx__checkpoint_equals_plain(void **state)
{
    (void)state;
    struct err e = {0};
    struct chain c;
    chain_init(&c, 8, 5, 1);
    mx_array x = mx_random_normal_(mx_random_key(5), 1, SHAPE(4, 8)), out[2], grads[2][5];
    struct mx_arrays wrt = {c.w, 5};
    mx_value_and_grad(chain_loss, &c, LIST(x), wrt, &out[0], 1, grads[0]);
    c.checkpointed = true;
    mx_value_and_grad(chain_loss, &c, LIST(x), wrt, &out[1], 1, grads[1]);
    assert_int_equal(mx_check(&e), 0);
    assert_float_equal((float)item(out[0]), (float)item(out[1]), 1e-6f);
    for (int i = 0; i < 5; i++) {
        double d = item(mx_sum_all(mx_abs(mx_subtract(grads[0][i], grads[1][i]))));
        double s = item(mx_sum_all(mx_abs(grads[0][i])));
        assert_true(s > 1e-3 && d < 1e-5 * s);
    }
    chain_release(&c);
}

static void test_mx__checkpoint_refuses_a_hidden_operand(void **state)
{
    (void)state;
    struct chain c;
    chain_init(&c, 8, 3, 1);
    c.checkpointed = c.hidden_operand = true;
    mx_array out, grads[3];
    mx_array x = mx_random_normal_(mx_random_key(5), 1, SHAPE(4, 8));
    int live = mx_live();
    mx_value_and_grad(chain_loss, &c, LIST(x), (struct mx_arrays){c.w, 3}, &out, 1, grads);
    assert_true(mx_is_none(out) && mx_is_none(grads[0]));
    expect_error("layers.1: multiply: a checkpointed function reads an array from outside that a "
                 "gradient flows through");
    assert_int_equal(mx_live(), live);
    chain_release(&c);
    mx_at("%s", "");
}

static void unlisted(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *m = arg;
    (void)n_in;
    mx_checkpoint(block, &m, sizeof m, LIST(in[0]), LIST(m->w1, m->w2), out, 2);
    out[0] = mx_sum_all(out[0]);
    (void)n_out;
}

static void test_mx__checkpoint_refuses_an_unlisted_parameter(void **state)
{
    (void)state;
    struct net m;
    net_init(&m);
    mx_array out[2], grads[3];
    mx_array x = mx_index(input(), 0, 0);
    mx_value_and_grad(unlisted, &m, LIST(x), LIST(m.w1, m.b, m.w2), out, 2, grads);
    expect_error("block: add: a checkpointed function reads a parameter that a gradient flows "
                 "through and that is not among its params");
    /* Frozen, it need not be listed. */
    mx_value_and_grad(unlisted, &m, LIST(x), LIST(m.w1, m.w2), out, 2, grads);
    assert_true(isfinite(item(mx_sum_all(grads[1]))));
    net_release(&m);
    mx_at("%s", "");
}

static size_t peak_of(struct chain *c, bool checkpointed)
{
    struct err e = {0};
    c->checkpointed = checkpointed;
    mx_enter();
    mx_array out, grads[6];
    mx_array x = mx_random_normal_(mx_random_key(5), 1, SHAPE(512, c->width));
    assert_int_equal(mx_eval(&x, 1, &e), 0);
    mx_memory_peak_reset();
    size_t base = mx_memory_active();
    mx_value_and_grad(chain_loss, c, LIST(x), (struct mx_arrays){c->w, c->layers}, &out, 1, grads);
    assert_int_equal(mx_eval(grads, c->layers, &e), 0);
    size_t peak = mx_memory_peak() - base;
    mx_leave(MX_NONE);
    return peak;
}

static void test_mx__checkpoint_saves_memory(void **state)
{
    (void)state;
    struct chain c;
    chain_init(&c, 128, 6, 8);
    struct err e = {0};
    assert_int_equal(mx_eval(c.w, 6, &e), 0);
    size_t plain = peak_of(&c, false), checkpointed = peak_of(&c, true);
    if (checkpointed * 5 > plain * 3)
        fail_msg("peak %zu KiB checkpointed, %zu KiB plain", checkpointed >> 10, plain >> 10);
    chain_release(&c);
}

/* ---- many small parameters, as adapters are, whose gradients need what the block made */

enum { SIDE_BLOCKS = 10, SIDE_STEPS = 8, SIDE_WIDTH = 128, SIDE_ROWS = 512 };

struct side {
    mx_array a[SIDE_BLOCKS][SIDE_STEPS];        /* slots [128,4] */
    int i;
};

static void side_block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct side *s = arg;
    assert_true(n_in == 1 && n_out == 1);
    mx_array h = in[0];
    for (int k = 0; k < SIDE_STEPS; k++) {
        mx_array low = mx_matmul(h, s->a[s->i][k]);
        h = mx_tanh(mx_add(h, mx_matmul(low, mx_transpose(s->a[s->i][k], 1, 0))));
    }
    out[0] = h;
}

static void side_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct side s = *(struct side *)arg;
    mx_array h = in[0];
    assert_true(n_in == 1 && n_out == 1);
    for (s.i = 0; s.i < SIDE_BLOCKS; s.i++) {
        mx_array x = h;
        mx_checkpoint(side_block, &s, sizeof s, LIST(x), (struct mx_arrays){s.a[s.i], SIDE_STEPS},
                      &h, 1);
    }
    out[0] = mx_sum_all(mx_square(h));
}

/* One block's activations at a time, beside what goes from block to block. */
static void test_mx__checkpointed_blocks_run_again_one_by_one(void **state)
{
    struct err e = {0};
    struct side s = {.i = 0};
    mx_array *a = s.a[0], grads[SIDE_BLOCKS * SIDE_STEPS], out;
    int n = SIDE_BLOCKS * SIDE_STEPS;
    (void)state;
    for (int i = 0; i < n; i++)
        a[i] = random_slot((uint32_t)i, SHAPE(SIDE_WIDTH, 4));
    mx_array x = mx_random_normal_(mx_random_key(5), 1, SHAPE(SIDE_ROWS, SIDE_WIDTH));
    assert_int_equal(mx_eval(a, n, &e), 0);
    assert_int_equal(mx_eval(&x, 1, &e), 0);
    mx_memory_peak_reset();
    size_t base = mx_memory_active(), one = SIDE_ROWS * SIDE_WIDTH * sizeof(float);
    mx_value_and_grad(side_loss, &s, LIST(x), (struct mx_arrays){a, n}, &out, 1, grads);
    assert_int_equal(mx_eval(grads, n, &e), 0);
    size_t peak = mx_memory_peak() - base;
    if (peak > (SIDE_BLOCKS + 4 * SIDE_STEPS) * one)
        fail_msg("peak %zu KiB, %.1f times a block's input", peak >> 10,
                 (double)peak / (double)one);
    for (int i = 0; i < n; i++)
        mx_slot_free(a[i]);
}

/* ------------------------------------------------------------ custom vjp -- */

static void cube(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    assert_true(n_in == 2 && n_out == 1 && *(int *)arg == 42);
    out[0] = mx_multiply(mx_power(in[0], mx_float(3)), mx_astype(in[1], MX_FLOAT32));
}

/* Seven times the true gradient, to show that it is ours. */
static void cube_vjp(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    assert_true(n_in == 4 && n_out == 2 && *(int *)arg == 42);
    mx_array x = in[0], scale = in[1], y = in[2], dy = in[3];
    (void)scale;
    out[0] = mx_multiply(dy, mx_scale(mx_divide(y, x), 3 * 7));
}

static void cube_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    int magic = 42;
    mx_array y;
    (void)in;
    (void)n_in;
    (void)n_out;
    mx_custom_vjp(cube, cube_vjp, &magic, sizeof magic, LIST(*(mx_array *)arg, mx_int(2)), &y, 1);
    magic = 0;
    out[0] = mx_sum_all(mx_scale(y, 0.5));
}

static void test_mx__custom_vjp(void **state)
{
    (void)state;
    float v[] = {1, 2, -3};
    mx_array s = mx_slot(mx_from(v, MX_FLOAT32, SHAPE(3))), out, grad;
    mx_value_and_grad(cube_loss, &s, NOTHING, LIST(s), &out, 1, &grad);
    assert_float_equal((float)item(out), -18, 1e-5f);          /* 1 + 8 - 27 */
    for (int i = 0; i < 3; i++)
        assert_float_equal((float)item(mx_index(grad, 0, i)), 7 * 3 * v[i] * v[i], 1e-3f);
    cube_loss(&s, NULL, 0, &out, 1);                           /* no gradient: the same value */
    assert_float_equal((float)item(out), -18, 1e-5f);
    mx_slot_free(s);
}

/* --------------------------------------------------------------- compile -- */

struct trainer {
    struct net net;
    mx_array momentum[3], steps;
    int traced;
    bool fails, sets_foreign_slot, leaves_none;
    mx_array foreign;
};

/* One step of descent with momentum: everything that changes is state. */
static void train_step(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct trainer *t = arg;
    struct mx_arrays wrt = LIST(t->net.w1, t->net.b, t->net.w2);
    mx_array grads[3];
    assert_true(n_in == 1 && n_out == 1);
    t->traced++;
    mx_value_and_grad(net_loss, &t->net, LIST(in[0]), wrt, out, 1, grads);
    if (t->fails) {
        mx_at("step");
        mx_reshape(in[0], 7, 7, 7);
    }
    for (int i = 0; i < 3; i++) {
        mx_set(t->momentum[i], mx_add(mx_scale(t->momentum[i], 0.9), grads[i]));
        mx_set(wrt.at[i], mx_subtract(wrt.at[i], mx_scale(t->momentum[i], 0.05)));
    }
    mx_set(t->steps, mx_shift(t->steps, 1));
    if (t->sets_foreign_slot)
        mx_set(t->foreign, in[0]);
    if (t->leaves_none)
        out[0] = MX_NONE;
}

static void trainer_init(struct trainer *t, bool checkpointed)
{
    memset(t, 0, sizeof *t);
    net_init(&t->net);
    t->net.checkpointed = checkpointed;
    mx_array w[] = {t->net.w1, t->net.b, t->net.w2};
    for (int i = 0; i < 3; i++)
        t->momentum[i] = mx_slot(mx_zeros_like(w[i]));
    t->steps = mx_slot(mx_float(0));
    t->foreign = mx_slot(mx_float(77));
}

static void trainer_release(struct trainer *t)
{
    net_release(&t->net);
    for (int i = 0; i < 3; i++)
        mx_slot_free(t->momentum[i]);
    mx_slot_free(t->steps);
    mx_slot_free(t->foreign);
}

#define STATE(t)                                                                                   \
    LIST((t)->net.w1, (t)->net.b, (t)->net.w2, (t)->momentum[0], (t)->momentum[1],                 \
         (t)->momentum[2], (t)->steps)

static void test_mx__compiled_steps_equal_plain_ones(void **state)
{
    (void)state;
    struct err e = {0};
    struct trainer plain, compiled;
    trainer_init(&plain, false);
    trainer_init(&compiled, true);
    struct mx_compiled *c = mx_compile(train_step, &compiled, STATE(&compiled));
    mx_array x = input(), longer = mx_random_normal_(mx_random_key(12), 1, SHAPE(1, 9, 3));
    for (int i = 0; i < 6; i++) {
        mx_enter();
        mx_array in = i % 3 == 2 ? longer : x, a, b;
        train_step(&plain, &in, 1, &a, 1);
        mx_call(c, LIST(in), &b, 1);
        assert_int_equal(mx_check(&e), 0);
        double la = item(a), lb = item(b);
        assert_true(fabs(la - lb) < 1e-5 * (1 + la));
        mx_leave(MX_NONE);
    }
    assert_int_equal(compiled.traced, 2);       /* once a shape */
    assert_true(item(compiled.steps) == 6.0);
    assert_true(item(mx_sum_all(mx_abs(mx_subtract(plain.net.w1, compiled.net.w1)))) < 1e-5);
    mx_compiled_free(c);
    trainer_release(&plain);
    trainer_release(&compiled);
}

static void test_mx__failure_in_a_compiled_function_changes_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct trainer t;
    trainer_init(&t, true);
    mx_array x = input(), out;
    double w = item(mx_sum_all(t.net.w1));
    struct mx_compiled *c = mx_compile(train_step, &t, STATE(&t));
    int live = mx_live();
    t.fails = true;
    mx_call(c, LIST(x), &out, 1);
    assert_true(mx_is_none(out));
    expect_error("step: reshape: [reshape] Cannot reshape");
    assert_int_equal(mx_live(), live);
    t.fails = false;
    t.sets_foreign_slot = true;
    mx_call(c, LIST(x), &out, 1);
    expect_error("set: a compiled function sets a slot that is not among its state");
    t.sets_foreign_slot = false;
    t.leaves_none = true;
    mx_call(c, LIST(x), &out, 1);
    expect_error("compile: the function left its output 0 of 1 none");
    t.leaves_none = false;
    assert_int_equal(mx_live(), live);
    assert_true(item(t.foreign) == 77.0);
    assert_true(item(t.steps) == 0.0);
    assert_true(item(mx_sum_all(t.net.w1)) == w);
    /* And the next call traces afresh and works. */
    mx_call(c, LIST(x), &out, 1);
    assert_int_equal(mx_check(&e), 0);
    assert_true(isfinite(item(out)));
    assert_true(item(t.steps) == 1.0);
    mx_call(c, LIST(x, x), &out, 1);
    expect_error("call: found 2 inputs and 1 outputs, expected 1 and 1 as in the first call");
    mx_compiled_free(c);
    trainer_release(&t);
    mx_at("%s", "");
}

static void doubler(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    (void)n_in;
    (void)n_out;
    out[0] = mx_add(in[0], *(mx_array *)arg);
}

static void test_mx__compiled_constants_are_shared(void **state)
{
    (void)state;
    struct err e = {0};
    mx_array big = mx_slot(mx_zeros(MX_FLOAT32, 1024, 1024)), out;
    assert_int_equal(mx_eval(&big, 1, &e), 0);
    struct mx_compiled *c = mx_compile(doubler, &big, NOTHING);
    mx_cache_clear();
    size_t base = mx_memory_active();
    for (int i = 0; i < 3; i++) {
        mx_enter();
        mx_call(c, LIST(mx_float(2)), &out, 1);
        assert_true(item(mx_index(mx_index(out, 0, 5), 0, 6)) == 2.0);
        mx_leave(MX_NONE);
    }
    assert_true(mx_memory_active() < base + (1 << 20));
    mx_compiled_free(c);
    mx_slot_free(big);
}

/* ------------------------------------------------------ failures, leaks -- */

static void bad_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *m = arg;
    (void)n_in;
    (void)n_out;
    mx_enter();
    mx_at("layers.3.mlp");
    mx_array y = mx_matmul(m->w1, m->w1);
    mx_leave(y);
    out[0] = mx_sum_all(mx_add(y, in[0]));
}

static void setting_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *m = arg;
    (void)n_in;
    (void)n_out;
    mx_set(m->b, in[0]);
    out[0] = mx_float(0);
}

static void vector_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct net *m = arg;
    (void)in;
    (void)n_in;
    (void)n_out;
    out[0] = mx_scale(m->b, 2);
}

static void test_mx__failure_in_a_traced_function_changes_nothing(void **state)
{
    (void)state;
    struct net m;
    net_init(&m);
    mx_array x = input(), out, grads[3];
    double w = item(mx_sum_all(m.w1)), b = item(mx_sum_all(m.b));
    struct mx_arrays wrt = LIST(m.w1, m.b, m.w2);
    mx_at("before");
    int live = mx_live();
    mx_value_and_grad(bad_loss, &m, LIST(x), wrt, &out, 1, grads);
    assert_int_equal(mx_live(), live);
    assert_true(mx_is_none(out) && mx_is_none(grads[2]));
    expect_error("layers.3.mlp: matmul: [matmul] Last dimension of first input");
    mx_value_and_grad(setting_loss, &m, LIST(x), wrt, &out, 1, grads);
    expect_error("set: a slot is set inside a differentiated function");
    mx_value_and_grad(vector_loss, &m, LIST(x), wrt, &out, 1, grads);
    expect_error("value_and_grad: ");
    mx_value_and_grad(net_loss, &m, LIST(x), LIST(m.w1, x), &out, 1, grads);
    expect_error("value_and_grad: the array 1 of 2 is not a slot");
    assert_int_equal(mx_live(), live);
    assert_true(item(mx_sum_all(m.w1)) == w && item(mx_sum_all(m.b)) == b);
    check_gradients(&m);
    net_release(&m);
    mx_at("%s", "");
}

/* Resident memory, or 0 where it is not known or, as under a sanitizer that keeps what was freed,
 * says nothing. */
static size_t resident_kib(void)
{
#ifdef __SANITIZE_ADDRESS__
    return 0;
#endif
    size_t pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%zu %zu", &pages, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * 4;
}

static void one_step(struct trainer *t)
{
    struct err e = {0};
    mx_enter();
    mx_array x = input(), loss;
    train_step(t, &x, 1, &loss, 1);
    loss = mx_leave(loss);
    mx_array all[] = {t->net.w1,      t->net.b,       t->net.w2, t->momentum[0],
                      t->momentum[1], t->momentum[2], t->steps,  loss};
    if (mx_eval(all, COUNT(all), &e))
        fail_msg("%s", e.text);
}

static void test_mx__thousand_steps_do_not_leak(void **state)
{
    (void)state;
    struct trainer t;
    trainer_init(&t, true);
    for (int i = 0; i < 50; i++) {
        mx_enter();
        one_step(&t);
        mx_leave(MX_NONE);
    }
    int live = mx_live();
    size_t active = mx_memory_active(), resident = resident_kib();
    for (int i = 0; i < 1000; i++) {
        mx_enter();
        one_step(&t);
        mx_leave(MX_NONE);
        assert_int_equal(mx_live(), live);
    }
    assert_int_equal(mx_memory_active(), active);
    if (resident_kib() > resident + 1024)
        fail_msg("resident memory grew from %zu to %zu KiB", resident, resident_kib());
    assert_true(item(t.steps) == 1050.0);
    trainer_release(&t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, before, after)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mx__gradients_match_finite_differences),
        TEST(test_mx__gradients_through_checkpoint),
        TEST(test_mx__checkpoint_runs_the_block_twice),
        TEST(test_mx__checkpoint_equals_plain),
        TEST(test_mx__checkpoint_refuses_a_hidden_operand),
        TEST(test_mx__checkpoint_refuses_an_unlisted_parameter),
        TEST(test_mx__checkpoint_saves_memory),
        TEST(test_mx__checkpointed_blocks_run_again_one_by_one),
        TEST(test_mx__custom_vjp),
        TEST(test_mx__compiled_steps_equal_plain_ones),
        TEST(test_mx__failure_in_a_compiled_function_changes_nothing),
        TEST(test_mx__compiled_constants_are_shared),
        TEST(test_mx__failure_in_a_traced_function_changes_nothing),
        TEST(test_mx__thousand_steps_do_not_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
