/* Ten steps of a tiny Gemma 4 against torch's AdamW: plain, compiled, checkpointed, accumulated. */
#include "step_testing.h"

static const struct config defaults = {
    .beta1 = 0.9,
    .beta2 = 0.999,
    .epsilon = 1e-8,
    .clip = 1,
    .drop_rows = true,
};

/* ---------------------------------------------------------------- packing -- */

/* How many tokens of a row are real. */
static int length_of(const struct fixture *f, int row)
{
    int32_t *lengths = read_as(f->lengths, MX_INT32);
    int n = lengths[row];
    free(lengths);
    return n;
}

/* Put row `row` of `from` behind what is in row `to` of `b` already, as segment `segment`. */
static void put_behind(struct batch *b, int to, int segment, int start, const struct batch *from,
                       int row, int length)
{
    for (int t = 0; t < length; t++) {
        int at = to * b->len + start + t;
        b->tokens[at] = from->tokens[row * from->len + t];
        b->segment[at] = segment;
        b->position[at] = t;
        if (b->soft)
            b->soft[at] = from->soft[row * from->len + t];
    }
    for (int i = 0; i < from->targets; i++) {
        if (from->target_rows[i] / from->len != row || from->target_weights[i] <= 0)
            continue;
        int k = b->targets++;
        b->target_rows[k] = to * b->len + start + from->target_rows[i] % from->len;
        b->target_ids[k] = from->target_ids[i];
        b->target_weights[k] = from->target_weights[i];
        b->supervised++;
    }
}

/* The rows of a batch in two: the first and the third behind each other, and the others. */
static struct batch packed(const struct fixture *f, const struct batch *from)
{
    int n[4] = {0}, most = 0;
    for (int i = 0; i < from->rows; i++)
        n[i] = length_of(f, i);
    most = n[0] + n[2] > n[1] + n[3] ? n[0] + n[2] : n[1] + n[3];
    size_t cells = 2 * (size_t)(most + 5), targets = (size_t)from->targets;
    struct batch b = *from;
    b.rows = 2;
    b.len = most + 5;
    b.targets = 0;
    b.supervised = 0;
    b.segments = 2;
    b.tokens = xcalloc(cells, sizeof *b.tokens);
    b.segment = xcalloc(cells, sizeof *b.segment);
    b.position = xcalloc(cells, sizeof *b.position);
    b.target_rows = xcalloc(targets, sizeof *b.target_rows);
    b.target_ids = xcalloc(targets, sizeof *b.target_ids);
    b.target_weights = xcalloc(targets, sizeof *b.target_weights);
    b.soft = from->soft ? xcalloc(cells, sizeof *b.soft) : NULL;
    for (size_t i = 0; i < cells; i++) {
        b.segment[i] = 2;                /* the padding, a segment of its own */
        if (b.soft)
            b.soft[i] = -1;
    }
    for (int i = 0; i < from->rows; i++)
        put_behind(&b, i % 2, i / 2, i < 2 ? 0 : n[i - 2], from, i, n[i]);
    return b;
}

/* The media stay with `from`. */
static void packed_release(struct batch *b)
{
    free(b->tokens);
    free(b->segment);
    free(b->position);
    free(b->target_rows);
    free(b->target_ids);
    free(b->target_weights);
    free(b->soft);
}

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
    train_step_init(&s, f.model, c, NULL);
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

static const struct part whole_batch[] = {{0, 2, 0, 3, 0, 0}};
static const struct part two_parts[] = {{0, 0, 0, 1, 0, 0}, {1, 2, 1, 2, 0, 0}};
static const struct part three_parts[] = {
    {0, 0, 0, 1, 0, 0}, {1, 1, 1, 2, 0, 0}, {2, 2, 3, 0, 0, 0}};

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

/* How the first step is taken. */
struct way {
    const char *dir;
    const struct part *parts;
    int count;
    bool is_packed, keeps_rows, checkpoints, compiles;
};

static struct numbers run_first(struct fixture *f, const struct step_data *d,
                                const struct config *c)
{
    struct err e = {0};
    struct train_step s;
    struct step_result r;
    struct numbers n;
    train_step_init(&s, f->model, c, NULL);
    mx_enter();
    if (train_step_run(&s, d, 1, 1e-3, &r, &e) || mx_item(r.loss, &n.loss, &e) ||
        mx_item(r.grad_norm, &n.norm, &e))
        fail_msg("%s", e.text);
    mx_leave(MX_NONE);
    train_step_release(&s);
    return n;
}

/* Loss and gradient norm of the first step. */
static struct numbers first_step(const struct way *w)
{
    struct fixture f;
    struct batch plain[4], micros[4];
    struct config c = defaults;
    struct step_data d = {micros, w->count, 0};
    c.drop_rows = !w->keeps_rows;
    c.checkpointing = w->checkpoints;
    c.compile = w->compiles;
    fixture_open(&f, w->dir);
    fixture_adapt(&f);
    for (int i = 0; i < w->count; i++) {
        struct part all = everything(&f);
        plain[i] = take(&f, w->parts ? &w->parts[i] : &all);
        micros[i] = w->is_packed ? packed(&f, &plain[i]) : plain[i];
        d.supervised += micros[i].supervised;
    }
    struct numbers n = run_first(&f, &d, &c);
    for (int i = 0; i < w->count; i++) {
        if (w->is_packed)
            packed_release(&micros[i]);
        batch_release(&plain[i]);
    }
    fixture_close(&f);
    return n;
}

static void expect_equal(const struct way *a, const struct way *b)
{
    const struct numbers x = first_step(a), y = first_step(b);
    assert_near(x.loss, y.loss, 1e-5 * y.loss);
    assert_near(x.norm, y.norm, 1e-5 * y.norm);
}

static void test_step__parts_add_up_to_the_whole(void **state)
{
    (void)state;
    const struct way whole = {.dir = AUDIO_MODEL, .parts = whole_batch, .count = 1};
    struct way two = whole, three = whole;
    two.parts = two_parts;
    two.count = 2;
    three.parts = three_parts;
    three.count = 3;
    expect_equal(&two, &whole);
    expect_equal(&three, &whole);
}

static const char *const dirs[] = {TEXT_MODEL, AUDIO_MODEL, E_MODEL,
                                   MOE_MODEL,  DENSE_MODEL, UNIFIED_MODEL};
enum { DIRS = sizeof dirs / sizeof *dirs };

static void test_step__rows_without_loss_change_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < DIRS; i++) {
        const struct way dropped = {.dir = dirs[i], .count = 1};
        struct way other = dropped;
        other.keeps_rows = true;
        expect_equal(&dropped, &other);
        other.keeps_rows = false;
        other.checkpoints = true;
        expect_equal(&other, &dropped);
    }
}

static void test_step__packed_equals_unpacked(void **state)
{
    (void)state;
    for (int i = 0; i < DIRS; i++) {
        const struct way plain = {.dir = dirs[i], .count = 1};
        struct way other = plain;
        other.is_packed = true;
        expect_equal(&other, &plain);
        other.keeps_rows = true;
        other.checkpoints = true;
        expect_equal(&other, &plain);
        other.keeps_rows = false;
        other.compiles = i == 2;          /* on a CPU that takes seconds */
        expect_equal(&other, &plain);
    }
}

/* Parts with pictures and clips of their own. */
static void test_step__parts_with_media_add_up(void **state)
{
    (void)state;
    static const struct part parts[] = {{0, 1, 0, 0, 0, 3}, {2, 2, 0, 1, 3, 2}, {3, 3, 1, 1, 5, 1}};
    const char *const seeing[] = {E_MODEL, UNIFIED_MODEL};
    for (int i = 0; i < 2; i++) {
        const struct way whole = {.dir = seeing[i], .count = 1};
        struct way three = whole;
        three.parts = parts;
        three.count = 3;
        expect_equal(&three, &whole);
    }
}

/* Two copies of the batch, packed, one after the other: the sums of one step are exact. */
static void test_step__packed_parts_add_up(void **state)
{
    (void)state;
    const struct part twice[] = {{0, 2, 0, 3, 0, 0}, {0, 2, 0, 3, 0, 0}};
    const struct way plain = {.dir = AUDIO_MODEL, .parts = whole_batch, .count = 1};
    struct way both = plain;
    both.parts = twice;
    both.count = 2;
    both.is_packed = true;
    expect_equal(&both, &plain);
}

/* Parameters after the first step, with rates of their own for two towers. */
static void test_step__towers_have_rates_of_their_own(void **state)
{
    (void)state;
    struct err e = {0};
    float *after[2][512] = {{0}};
    size_t n[512] = {0};
    bool is_audio[512] = {false}, is_language[512] = {false};
    int count = 0;
    for (int round = 0; round < 2; round++) {
        struct fixture f;
        struct train_step s;
        struct step_result r;
        fixture_open(&f, AUDIO_MODEL);
        fixture_adapt(&f);
        const struct nn_params *p = &f.model->params;
        count = p->trainable_count;
        assert_true(count > 0 && count <= 512);
        double factors[512];
        for (int i = 0; i < count; i++) {
            is_audio[i] = !strcmp(p->trainable[i]->tower, "audio");
            is_language[i] = !strcmp(p->trainable[i]->tower, "language");
            factors[i] = is_audio[i] ? 2 : is_language[i] ? 1 : 0;
        }
        struct batch b = take(&f, whole_batch);
        struct step_data d = {&b, 1, b.supervised};
        float *before[512];
        for (int i = 0; i < count; i++)
            before[i] = read_floats(p->trainable_slots[i], &n[i]);
        train_step_init(&s, f.model, &defaults, round ? factors : NULL);
        assert_int_equal(train_step_run(&s, &d, 1, 1e-3, &r, &e), 0);
        for (int i = 0; i < count; i++) {
            after[round][i] = read_floats(p->trainable_slots[i], &n[i]);
            for (size_t k = 0; k < n[i]; k++)
                after[round][i][k] -= before[i][k];
            free(before[i]);
        }
        batch_release(&b);
        train_step_release(&s);
        fixture_close(&f);
    }
    bool has_moved = false;
    for (int i = 0; i < count; i++) {
        double factor = is_audio[i] ? 2 : is_language[i] ? 1 : 0;
        for (size_t k = 0; k < n[i]; k++) {
            assert_near(after[1][i][k], factor * (double)after[0][i][k], 2e-6);
            has_moved |= is_audio[i] && fabs((double)after[1][i][k]) > 1e-3;
        }
        free(after[0][i]);
        free(after[1][i]);
    }
    assert_true(has_moved);
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
        train_step_init(&s, f.model, &defaults, NULL);
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
        cmocka_unit_test(test_step__rows_without_loss_change_nothing),
        cmocka_unit_test(test_step__packed_equals_unpacked),
        cmocka_unit_test(test_step__parts_with_media_add_up),
        cmocka_unit_test(test_step__packed_parts_add_up),
        cmocka_unit_test(test_step__towers_have_rates_of_their_own),
        cmocka_unit_test(test_step__compiled_steps_equal_torch),
        cmocka_unit_test(test_step__compiled_accumulated_steps_equal_torch),
        cmocka_unit_test(test_step__non_finite_step_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
