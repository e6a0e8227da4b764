/* Experts: equal to transformers in output and gradients, dense and quantised. */
#include "adapters_fixture.h"

#include "nn/experts.h"

static const char *name;                /* of the case */

static mx_array get(const char *part)
{
    return ref_of("experts.%s.%s", name, part);
}

struct run {
    struct nn_experts m;
    mx_array wrt[4];                    /* slots: x, weight, gate_up, down */
    bool checkpoint;
};

static void quantise(mx_array w, int bits, mx_array *weight, struct nn_quant *q)
{
    *q = (struct nn_quant){.bits = bits, .group = 32};
    mx_quantize(w, 32, bits, weight, &q->scales, &q->biases);
}

static void open_run(struct run *r, const char *of, int bits)
{
    *r = (struct run){0};
    name = of;
    r->m = (struct nn_experts){.count = 6, .in = bits ? 64 : 24, .inner = bits ? 32 : 16};
    mx_array gate_up = get("gate_up_proj"), down = get("down_proj");
    if (bits) {
        quantise(gate_up, bits, &gate_up, &r->m.gate_up_quant);
        quantise(down, bits, &down, &r->m.down_quant);
    }
    r->wrt[0] = mx_slot(get("x"));
    r->wrt[1] = mx_slot(get("weight"));
    r->wrt[2] = r->m.gate_up = mx_slot(gate_up);
    r->wrt[3] = r->m.down = mx_slot(down);
}

static void close_run(struct run *r)
{
    for (int i = 0; i < 4; i++)
        mx_slot_free(r->wrt[i]);
}

static void block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct run *r = arg;
    (void)n_in, (void)n_out;
    out[0] = nn_experts(&r->m, in[0], get("chosen"), in[1]);
}

static void loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct run *r = arg;
    mx_array y, operands[] = {r->wrt[0], r->wrt[1]};
    (void)in, (void)n_in, (void)n_out;
    if (r->checkpoint)
        mx_checkpoint(block, r, sizeof *r, (struct mx_arrays){operands, 2},
                      (struct mx_arrays){r->wrt + 2, r->m.gate_up_quant.bits ? 0 : 2}, &y, 1);
    else
        block(arg, operands, 2, &y, 1);
    out[0] = mx_sum_all(mx_multiply(y, get("dy")));
}

static void expect_case(const char *of, int bits)
{
    struct run r;
    mx_array total, grads[4];

    open_run(&r, of, bits);
    mx_array y = nn_experts(&r.m, r.wrt[0], get("chosen"), r.wrt[1]);
    expect_near(y, get("y"), 1e-5);
    for (int k = 0; k < 2; k++) {
        r.checkpoint = k == 1;
        mx_value_and_grad(loss, &r, (struct mx_arrays){0}, (struct mx_arrays){r.wrt, bits ? 2 : 4},
                          &total, 1, grads);
        expect_near(grads[0], get("dx"), 1e-5);
        expect_near(grads[1], get("dweight"), 1e-5);
        if (bits)
            continue;
        expect_near(grads[2], get("dgate_up"), 1e-5);
        expect_near(grads[3], get("ddown"), 1e-5);
    }
    close_run(&r);
}

static void test_experts__equal_transformers(void **state)
{
    (void)state;
    expect_case("dense", 0);
}

static void test_experts__quantised(void **state)
{
    (void)state;
    expect_case("q4", 4);
    expect_case("q8", 8);
}

/* Output in x's dtype; the weights of the router may be float32. */
static void test_experts__bfloat16(void **state)
{
    (void)state;
    struct run r;
    open_run(&r, "dense", 0);
    mx_array x = mx_astype(r.wrt[0], MX_BFLOAT16);
    /* MLX gathers matrices in float32 only on a processor. */
    if (mx_device() == MX_GPU) {
        mx_array y = nn_experts(&r.m, x, get("chosen"), r.wrt[1]);
        assert_int_equal(mx_dtype(y), MX_BFLOAT16);
        expect_near(y, get("y"), 3e-2);
    }
    close_run(&r);
}

/* One token, one expert a token, and no token at all. */
static void test_experts__few_tokens(void **state)
{
    (void)state;
    struct run r;
    open_run(&r, "dense", 0);
    mx_array x = mx_slice(r.wrt[0], 0, 4, 5), chosen = mx_slice(get("chosen"), 0, 4, 5);
    mx_array y = nn_experts(&r.m, x, chosen, mx_slice(r.wrt[1], 0, 4, 5));
    expect_near(y, mx_slice(get("y"), 0, 4, 5), 1e-5);
    mx_array none = nn_experts(&r.m, mx_slice(x, 0, 0, 0), mx_slice(chosen, 0, 0, 0),
                               mx_zeros(MX_FLOAT32, 0, 3));
    assert_int_equal(mx_dim(none, 0), 0);
    assert_int_equal(mx_dim(none, 1), 24);
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        adapters_test(test_experts__equal_transformers),
        adapters_test(test_experts__quantised),
        adapters_test(test_experts__bfloat16),
        adapters_test(test_experts__few_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
