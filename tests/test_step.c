/* Ten steps of a tiny Gemma 4 against torch's AdamW: plain, compiled, checkpointed, accumulated. */
#include "gemma4_fixture.h"

#include "train/step.h"

/* The rows first..last of the reference's batch; `clips` of them, from `first_clip` on. */
struct part {
    int first, last, first_clip, clips;
};

static void *read_as(mx_array x, enum mx_dtype d)
{
    struct err e = {0};
    size_t bytes = mx_size(x) * mx_dtype_size(d);
    void *p = xmalloc(bytes);
    assert_int_equal(mx_read(x, d, p, bytes, &e), 0);
    return p;
}

static void take_targets(struct batch *b, const struct fixture *f, const struct part *p)
{
    int32_t *rows = read_as(f->in.target_rows, MX_INT32);
    int32_t *ids = read_as(f->in.target_ids, MX_INT32);
    float *weights = read_as(f->in.target_weights, MX_FLOAT32);
    b->target_rows = xcalloc((size_t)f->R, sizeof *rows);
    b->target_ids = xcalloc((size_t)f->R, sizeof *ids);
    b->target_weights = xcalloc((size_t)f->R, sizeof *weights);
    for (int i = 0; i < f->R; i++) {
        int row = rows[i] / f->T;
        if (row < p->first || row > p->last)
            continue;
        int k = b->targets++;
        b->target_rows[k] = rows[i] - p->first * f->T;
        b->target_ids[k] = ids[i];
        b->target_weights[k] = weights[i];
        b->supervised += weights[i] > 0;
    }
    free(rows);
    free(ids);
    free(weights);
}

static struct batch take(const struct fixture *f, const struct part *p)
{
    struct batch b = {.rows = p->last - p->first + 1, .len = f->T};
    mx_array tokens = mx_slice(f->in.tokens, 0, p->first, p->last + 1);
    b.tokens = read_as(tokens, MX_INT32);
    take_targets(&b, f, p);
    if (mx_is_none(f->in.mel) || p->clips == 0)
        return b;
    int last_clip = p->first_clip + p->clips;
    b.clips = p->clips;
    b.frames = mx_dim(f->in.mel, 1);
    b.bins = mx_dim(f->in.mel, 2);
    b.slots = (b.frames + 3) / 4;
    b.mel = read_as(mx_slice(f->in.mel, 0, p->first_clip, last_clip), MX_FLOAT32);
    b.frame_valid = read_as(mx_slice(f->in.frame_valid, 0, p->first_clip, last_clip), MX_BOOL);
    b.soft = read_as(mx_slice(f->in.soft, 0, p->first, p->last + 1), MX_INT32);
    for (int i = 0; i < b.rows * b.len; i++)
        if (b.soft[i] >= 0)
            b.soft[i] -= p->first_clip * b.slots;
    return b;
}

static const struct config defaults = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1};

/* Ten steps with this configuration, in these parts, equal torch's ten steps. */
static void check_ten_steps(const char *dir, const struct config *c, const struct part *parts,
                            int count)
{
    struct err e = {0};
    struct fixture f;
    struct train_step s;
    struct batch micros[4];
    size_t n;
    fixture_open(&f, dir);
    fixture_adapt(&f);
    float *want = fixture_floats(&f, "lora_losses", &n);
    int64_t supervised = 0;
    for (int i = 0; i < count; i++) {
        micros[i] = take(&f, &parts[i]);
        supervised += micros[i].supervised;
    }
    train_step_init(&s, f.model, c);
    int live = 0;
    for (int t = 1; t < (int)n; t++) {
        struct step_result r;
        double loss, norm, ok;
        mx_enter();
        struct step_data d = {micros, count, supervised};
        if (train_step_run(&s, &d, t, 1e-3, &r, &e) || mx_item(r.loss, &loss, &e) ||
            mx_item(r.grad_norm, &norm, &e) || mx_item(r.ok, &ok, &e))
            fail_msg("%s", e.text);
        mx_leave(MX_NONE);
        assert_near(loss, want[t - 1], 1e-4 * (double)want[t - 1]);
        assert_true(isfinite(norm) && ok == 1.0);
        if (t == 2)
            live = mx_live();
    }
    assert_int_equal(mx_live(), live);
    for (int i = 0; i < f.model->params.trainable_count; i++) {
        char name[600];
        fixture_name(name, sizeof name, "lora_final", f.model->params.trainable[i]->name);
        assert_same(&f, f.model->params.trainable[i]->slot, name, 1e-4);
    }
    train_step_release(&s);
    for (int i = 0; i < count; i++)
        batch_release(&micros[i]);
    free(want);
    fixture_close(&f);
}

static const struct part whole_batch[] = {{0, 2, 0, 3}};
static const struct part two_parts[] = {{0, 0, 0, 1}, {1, 2, 1, 2}};
static const struct part three_parts[] = {{0, 0, 0, 1}, {1, 1, 1, 2}, {2, 2, 3, 0}};

static void test_step__ten_steps_equal_torch(void **state)
{
    (void)state;
    check_ten_steps(TEXT_MODEL, &defaults, whole_batch, 1);
    check_ten_steps(AUDIO_MODEL, &defaults, whole_batch, 1);
}

static void test_step__checkpointed_steps_equal_torch(void **state)
{
    (void)state;
    struct config c = defaults;
    c.checkpointing = true;
    check_ten_steps(AUDIO_MODEL, &c, whole_batch, 1);
}

static void test_step__accumulated_steps_equal_the_whole_batch(void **state)
{
    (void)state;
    check_ten_steps(TEXT_MODEL, &defaults, two_parts, 2);
    check_ten_steps(AUDIO_MODEL, &defaults, three_parts, 3);
}

struct numbers {
    double loss, norm;
};

/* Loss and gradient norm of the first step, worked off in these parts. */
static struct numbers first_step(const char *dir, const struct part *parts, int count)
{
    struct err e = {0};
    struct fixture f;
    struct train_step s;
    struct batch micros[4];
    struct step_result r;
    struct numbers n;
    struct step_data d = {micros, count, 0};
    fixture_open(&f, dir);
    fixture_adapt(&f);
    for (int i = 0; i < count; i++) {
        micros[i] = take(&f, &parts[i]);
        d.supervised += micros[i].supervised;
    }
    train_step_init(&s, f.model, &defaults);
    mx_enter();
    if (train_step_run(&s, &d, 1, 1e-3, &r, &e) || mx_item(r.loss, &n.loss, &e) ||
        mx_item(r.grad_norm, &n.norm, &e))
        fail_msg("%s", e.text);
    mx_leave(MX_NONE);
    train_step_release(&s);
    for (int i = 0; i < count; i++)
        batch_release(&micros[i]);
    fixture_close(&f);
    return n;
}

static void test_step__parts_add_up_to_the_whole(void **state)
{
    (void)state;
    const struct numbers whole = first_step(AUDIO_MODEL, whole_batch, 1);
    const struct numbers two = first_step(AUDIO_MODEL, two_parts, 2);
    const struct numbers three = first_step(AUDIO_MODEL, three_parts, 3);
    assert_near(two.loss, whole.loss, 1e-5 * whole.loss);
    assert_near(three.loss, whole.loss, 1e-5 * whole.loss);
    assert_near(two.norm, whole.norm, 1e-5 * whole.norm);
    assert_near(three.norm, whole.norm, 1e-5 * whole.norm);
}

static void test_step__compiled_steps_equal_torch(void **state)
{
    (void)state;
    struct config c = defaults;
    c.compile = true;
    c.checkpointing = true;
    check_ten_steps(TEXT_MODEL, &c, whole_batch, 1);
    check_ten_steps(AUDIO_MODEL, &c, whole_batch, 1);
}

static void test_step__compiled_accumulated_steps_equal_torch(void **state)
{
    (void)state;
    struct config c = defaults;
    c.compile = true;
    check_ten_steps(AUDIO_MODEL, &c, three_parts, 3);
}

/* A batch whose loss is not a number leaves weights, moments and sums as they were. */
static void test_step__non_finite_step_changes_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    for (int count = 1; count <= 2; count++) {
        struct fixture f;
        struct train_step s;
        struct batch micros[2], bad[2];
        const struct part *parts = count == 1 ? whole_batch : two_parts;
        fixture_open(&f, TEXT_MODEL);
        fixture_adapt(&f);
        train_step_init(&s, f.model, &defaults);
        for (int i = 0; i < count; i++) {
            micros[i] = take(&f, &parts[i]);
            bad[i] = take(&f, &parts[i]);
        }
        bad[0].target_weights[1] = INFINITY;
        struct step_result r;
        double ok = 1, loss, after;
        struct step_data good = {micros, count, 14}, spoiled = {bad, count, 14};
        assert_int_equal(train_step_run(&s, &good, 1, 1e-3, &r, &e), 0);
        size_t n, m;
        float *w = read_floats(s.adamw.params[0], &n), *v = read_floats(s.adamw.state[3], &m);
        assert_int_equal(train_step_run(&s, &spoiled, 2, 1e-3, &r, &e), 0);
        assert_int_equal(mx_item(r.ok, &ok, &e), 0);
        assert_true(ok == 0.0);
        size_t n2, m2;
        float *w2 = read_floats(s.adamw.params[0], &n2), *v2 = read_floats(s.adamw.state[3], &m2);
        assert_memory_equal(w, w2, n * sizeof *w);
        assert_memory_equal(v, v2, m * sizeof *v);
        assert_int_equal(train_step_run(&s, &good, 3, 1e-3, &r, &e), 0);
        assert_int_equal(mx_item(r.loss, &loss, &e), 0);
        assert_int_equal(train_step_run(&s, &good, 4, 1e-3, &r, &e), 0);
        assert_int_equal(mx_item(r.loss, &after, &e), 0);
        assert_true(isfinite(loss) && after < loss);
        free(w), free(v), free(w2), free(v2);
        for (int i = 0; i < count; i++) {
            batch_release(&micros[i]);
            batch_release(&bad[i]);
        }
        train_step_release(&s);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step__ten_steps_equal_torch),
        cmocka_unit_test(test_step__checkpointed_steps_equal_torch),
        cmocka_unit_test(test_step__accumulated_steps_equal_the_whole_batch),
        cmocka_unit_test(test_step__parts_add_up_to_the_whole),
        cmocka_unit_test(test_step__compiled_steps_equal_torch),
        cmocka_unit_test(test_step__compiled_accumulated_steps_equal_torch),
        cmocka_unit_test(test_step__non_finite_step_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
