/* AdamW with clipping against torch.optim.AdamW and clip_grad_norm_, and its guard. */
#include "nn/optim.h"
#include "nn_testing.h"

static const struct nn_adamw_config CONFIG = {
    .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1, .clip = 1};

struct run {
    struct nn_adamw adamw;
    mx_array params[2];
};

static void start(struct run *r, const struct nn_adamw_config *config)
{
    r->params[0] = mx_slot(ref("adamw.a0"));
    r->params[1] = mx_slot(ref("adamw.b0"));
    nn_adamw_init(&r->adamw, (struct mx_arrays){r->params, 2}, NULL, config);
}

static void stop(struct run *r)
{
    nn_adamw_release(&r->adamw);
    mx_slot_free(r->params[0]);
    mx_slot_free(r->params[1]);
}

/* in: two gradients, loss, lr, step.  out: norm, ok. */
static int traces;
static void step(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct run *r = arg;
    (void)n_in;
    (void)n_out;
    traces++;
    struct nn_adamw_result result =
        nn_adamw_step(&r->adamw, in, mx_float(0.25), in[2], in[3], in[4]);
    out[0] = result.grad_norm;
    out[1] = result.ok;
}

static struct mx_arrays inputs(mx_array in[5], int t, double loss)
{
    /* The step scales by 1/4, so the gradients are given four times too large. */
    in[0] = mx_scale(mx_index(ref("adamw.ga"), 0, t), 4);
    in[1] = mx_scale(mx_index(ref("adamw.gb"), 0, t), 4);
    in[2] = mx_float(loss);
    in[3] = mx_float(1e-2 * (1 - t / 20.0));
    in[4] = mx_int(t + 1);
    return (struct mx_arrays){in, 5};
}

static void check_end(struct run *r)
{
    expect_ref(r->params[0], "adamw.a10", 1e-6);
    expect_ref(r->params[1], "adamw.b10", 1e-6);
    assert_int_equal(nn_adamw_state(&r->adamw).n, 4);
}

static void test_optim__ten_steps_equal_torch(void **state)
{
    (void)state;
    struct run r;
    start(&r, &CONFIG);
    for (int t = 0; t < 10; t++) {
        mx_array in[5], out[2];
        struct mx_arrays all = inputs(in, t, 1);
        step(&r, all.at, all.n, out, 2);
        expect_near(out[0], mx_index(ref("adamw.norms"), 0, t), 1e-6);
    }
    check_end(&r);
    stop(&r);
}

/* The same under mx_compile: learning rate and step are inputs, so there is one trace. */
static void test_optim__compiled_step_is_traced_once(void **state)
{
    (void)state;
    struct run r;
    start(&r, &CONFIG);
    mx_array slots[6] = {r.params[0], r.params[1]};
    memcpy(slots + 2, nn_adamw_state(&r.adamw).at, 4 * sizeof *slots);
    struct mx_compiled *c = mx_compile(step, &r, (struct mx_arrays){slots, 6});
    traces = 0;
    for (int t = 0; t < 10; t++) {
        mx_array in[5], out[2];
        mx_call(c, inputs(in, t, 1), out, 2);
    }
    check_end(&r);
    assert_int_equal(traces, 1);
    mx_compiled_free(c);
    stop(&r);
}

/* A step that is not finite leaves no trace: the next one goes on as if it had not been. */
static void test_optim__guard_keeps_the_state(void **state)
{
    (void)state;
    struct run r;
    start(&r, &CONFIG);
    for (int t = 0; t < 10; t++) {
        mx_array in[5], out[2];
        struct mx_arrays bad = inputs(in, t, t == 3 ? NAN : 1);
        if (t == 5)
            in[1] = mx_scale(in[1], INFINITY);
        if (t == 3 || t == 5) {
            step(&r, bad.at, bad.n, out, 2);
            expect_near(mx_astype(out[1], MX_FLOAT32), mx_float(0), 0);
        }
        struct mx_arrays good = inputs(in, t, 1);
        step(&r, good.at, good.n, out, 2);
        expect_near(mx_astype(out[1], MX_FLOAT32), mx_float(1), 0);
    }
    check_end(&r);
    stop(&r);
}

static void test_optim__without_clipping(void **state)
{
    (void)state;
    struct run r;
    struct nn_adamw_config c = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    mx_array grads[2], out;

    start(&r, &c);
    grads[0] = mx_full(-100, MX_FLOAT32, 3, 4);
    grads[1] = mx_full(1e-3, MX_FLOAT32, 5);
    out = nn_adamw_step(&r.adamw, grads, MX_NONE, mx_float(1), mx_float(0.5), mx_int(1)).grad_norm;
    expect_near(out, mx_float(100 * sqrt(12)), 1e-6);
    /* The first step moves each number by lr, against the sign of its gradient. */
    expect_near(r.params[0], mx_shift(ref("adamw.a0"), 0.5), 1e-6);
    expect_near(r.params[1], mx_shift(ref("adamw.b0"), -0.5), 1e-5);
    stop(&r);
}

/* A parameter's own factor is a rate of its own, weight decay's included. */
static void test_optim__rate_factors(void **state)
{
    (void)state;
    struct run r, half;
    const double factors[] = {0.25, 1};
    mx_array in[5];

    start(&r, &CONFIG);
    start(&half, &CONFIG);
    nn_adamw_release(&r.adamw);
    nn_adamw_init(&r.adamw, (struct mx_arrays){r.params, 2}, factors, &CONFIG);
    for (int t = 0; t < 10; t++) {
        inputs(in, t, 1);
        nn_adamw_step(&r.adamw, in, mx_float(0.25), in[2], in[3], in[4]);
        nn_adamw_step(&half.adamw, in, mx_float(0.25), in[2], mx_scale(in[3], 0.25), in[4]);
    }
    expect_near(r.params[0], half.params[0], 1e-7);
    expect_ref(r.params[1], "adamw.b10", 1e-6);
    stop(&r);
    stop(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_optim__ten_steps_equal_torch),
        nn_test(test_optim__compiled_step_is_traced_once),
        nn_test(test_optim__guard_keeps_the_state),
        nn_test(test_optim__without_clipping),
        nn_test(test_optim__rate_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
