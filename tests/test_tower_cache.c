/* Training beside frozen towers, with and without their outputs kept. */
#include "step_testing.h"

#include "train/tower_cache.h"

enum { STEPS = 6, MICROS = 3 };

/* Only the decoder and the projector learn. */
static void adapt(struct fixture *f, bool with_vision)
{
    struct err e = {0};
    char language[] = "language", projector[] = "projector", vision[] = "vision", any[] = "*";
    char *towers[] = {language, projector, vision}, *targets[] = {any};
    struct nn_lora_config c = {.rank = 2,
                               .alpha = 4,
                               .towers = towers,
                               .tower_count = with_vision ? 3 : 2,
                               .targets = targets,
                               .target_count = 1};
    assert_int_equal(nn_lora_attach(&f->model->params, &c, &e), 0);
    assert_ok(e);
    for (int i = 0; i < f->model->params.trainable_count; i++) {
        char name[600];
        struct nn_param *p = f->model->params.trainable[i];
        fixture_name(name, sizeof name, "lora", p->name);
        mx_set(p->slot, mx_contiguous(fixture_array(f, name, MX_FLOAT32)));
    }
}

/* The same batch with clips padded to more frames: the cache must not care. */
static void widen(struct batch *b, int frames)
{
    size_t N = (size_t)b->clips, F = (size_t)b->frames, M = (size_t)b->bins;
    float *mel = xcalloc(N * (size_t)frames * M, sizeof *mel);
    uint8_t *valid = xcalloc(N * (size_t)frames, 1);
    for (size_t n = 0; n < N; n++) {
        memcpy(mel + n * (size_t)frames * M, b->mel + n * F * M, F * M * sizeof *mel);
        memcpy(valid + n * (size_t)frames, b->frame_valid + n * F, F);
    }
    free(b->mel);
    free(b->frame_valid);
    b->mel = mel;
    b->frame_valid = valid;
    b->frames = frames;
    int slots = (frames + 3) / 4;
    for (int i = 0; i < b->rows * b->len; i++) {
        int soft = b->soft[i];
        if (soft >= b->clips * b->slots)
            b->soft[i] = soft + b->clips * (slots - b->slots);
        else if (soft >= 0)
            b->soft[i] = soft / b->slots * slots + soft % b->slots;
    }
    b->slots = slots;
}

/* Three batches in which the same clips and pictures come in other company. */
static void make_batches(const struct fixture *f, struct batch *out)
{
    static const struct part parts[MICROS] = {
        {0, 1, 0, 0, 0, 3}, {2, 3, 0, 2, 3, 3}, {0, 3, 0, 2, 0, 6}};
    for (int i = 0; i < MICROS; i++) {
        struct batch *b = &out[i];
        *b = take(f, &parts[i]);
        if (i == 2)
            widen(b, 41);
        b->clip_keys = xcalloc((size_t)b->clips + 1, sizeof *b->clip_keys);
        b->picture_keys = xcalloc((size_t)b->pictures + 1, sizeof *b->picture_keys);
        for (int k = 0; k < b->clips; k++)
            b->clip_keys[k] = 1000 + (uint64_t)(parts[i].first_clip + k);
        for (int k = 0; k < b->pictures; k++)
            b->picture_keys[k] = 1000 + (uint64_t)(parts[i].first_picture + k);
    }
}

/* How a run went. */
struct outcome {
    float *adapters;                   /* all numbers, in name order */
    size_t count;
    struct tower_cache_stats stats;
};

/* Train with a cache of so many bytes; 0: none. */
static struct outcome train_with(int64_t budget, bool compiles)
{
    struct err e = {0};
    struct fixture f;
    struct batch batches[MICROS];
    struct train_step s;
    struct outcome o = {0};
    const struct config c = {.beta1 = 0.9,
                             .beta2 = 0.999,
                             .epsilon = 1e-8,
                             .clip = 1,
                             .drop_rows = true,
                             .compile = compiles};
    fixture_open(&f, E_MODEL);
    adapt(&f, false);
    make_batches(&f, batches);
    train_step_init(&s, f.model, &c, NULL);
    struct tower_cache *cache = tower_cache_new(f.model, budget);
    assert_true((cache != NULL) == (budget > 0));
    s.cache = cache;
    for (int t = 1; t <= STEPS; t++) {
        const struct batch *b = &batches[(t - 1) % MICROS];
        struct step_result r;
        double loss;
        mx_enter();
        if (train_step_run(&s, &(struct step_data){b, 1, b->supervised}, t, 1e-3, &r, &e) ||
            mx_item(r.loss, &loss, &e))
            fail_msg("%s", e.text);
        mx_leave(MX_NONE);
        assert_true(isfinite(loss));
    }
    struct mx_arrays all = nn_trainable(&f.model->params, "");
    for (int i = 0; i < all.n; i++)
        o.count += mx_size(all.at[i]);
    o.adapters = xcalloc(o.count, sizeof *o.adapters);
    for (int i = 0, at = 0; i < all.n; at += (int)mx_size(all.at[i]), i++)
        assert_int_equal(
            mx_read(all.at[i], MX_FLOAT32, o.adapters + at, mx_size(all.at[i]) * sizeof(float), &e),
            0);
    if (cache)
        o.stats = tower_cache_stats(cache);
    tower_cache_free(cache);
    train_step_release(&s);
    for (int i = 0; i < MICROS; i++)
        batch_release(&batches[i]);
    fixture_close(&f);
    return o;
}

static void test_tower_cache__results_do_not_depend_on_what_is_kept(void **state)
{
    (void)state;
    const struct outcome large = train_with(1 << 20, false), small = train_with(2000, false);
    const struct outcome least = train_with(1, false), none = train_with(0, false);
    assert_true(large.count > 0);
    assert_memory_equal(large.adapters, small.adapters, large.count * sizeof(float));
    assert_memory_equal(large.adapters, least.adapters, large.count * sizeof(float));
    for (size_t i = 0; i < large.count; i++)
        assert_near(large.adapters[i], none.adapters[i], 1e-5);
    /* Two clips and six pictures; each comes four times in all. */
    assert_int_equal(large.stats.misses, 8);
    assert_int_equal(large.stats.hits, 3 * 8);
    assert_true(large.stats.bytes > 8 * 5 * 16 * 4 && large.stats.bytes <= 1 << 20);
    assert_true(small.stats.hits > 0 && small.stats.hits < large.stats.hits);
    assert_int_equal(small.stats.hits + small.stats.misses, 4 * 8);
    assert_true(small.stats.bytes <= 2000);
    assert_int_equal(least.stats.hits, 0);
    assert_int_equal(least.stats.bytes, 0);
    free(large.adapters);
    free(small.adapters);
    free(least.adapters);
    free(none.adapters);
}

static void test_tower_cache__compiled_steps_take_it(void **state)
{
    (void)state;
    const struct outcome plain = train_with(1 << 20, false), compiled = train_with(1 << 20, true);
    assert_int_equal(compiled.stats.hits, plain.stats.hits);
    for (size_t i = 0; i < plain.count; i++)
        assert_near(compiled.adapters[i], plain.adapters[i], 1e-4);
    free(plain.adapters);
    free(compiled.adapters);
}

/* A tower that learns makes something else each time. */
static void test_tower_cache__only_frozen_towers_are_kept(void **state)
{
    (void)state;
    struct err e = {0};
    struct fixture f;
    struct batch batches[MICROS];
    struct model_input in;
    fixture_open(&f, E_MODEL);
    adapt(&f, true);
    make_batches(&f, batches);
    struct tower_cache *cache = tower_cache_new(f.model, 1 << 20);
    assert_non_null(cache);
    mx_enter();
    in = (struct model_input){.mel = mx_float(1), .pixels = mx_float(1)};
    assert_int_equal(tower_cache_input(cache, &in, &batches[1], &e), 0);
    assert_true(mx_is_none(in.mel) && !mx_is_none(in.heard));
    assert_true(!mx_is_none(in.pixels) && mx_is_none(in.seen));
    assert_int_equal(mx_dim(in.heard, 0), 2);
    assert_int_equal(mx_dim(in.heard, 1), batches[1].slots);
    mx_leave(MX_NONE);
    tower_cache_free(cache);
    assert_null(tower_cache_new(f.model, 0));
    for (int i = 0; i < MICROS; i++)
        batch_release(&batches[i]);
    fixture_close(&f);
    fixture_open(&f, UNIFIED_MODEL);
    assert_null(tower_cache_new(f.model, 1 << 20));     /* it has no towers */
    fixture_close(&f);
}

/* Without a key nothing is kept, and the result is the same. */
static void test_tower_cache__items_without_a_key(void **state)
{
    (void)state;
    struct err e = {0};
    struct fixture f;
    struct batch batches[MICROS];
    struct model_input in[2] = {0};
    fixture_open(&f, E_MODEL);
    adapt(&f, false);
    make_batches(&f, batches);
    struct tower_cache *cache = tower_cache_new(f.model, 1 << 20);
    struct batch *b = &batches[1];
    mx_enter();
    assert_int_equal(tower_cache_input(cache, &in[0], b, &e), 0);
    memset(b->clip_keys, 0, (size_t)b->clips * sizeof *b->clip_keys);
    memset(b->picture_keys, 0, (size_t)b->pictures * sizeof *b->picture_keys);
    assert_int_equal(tower_cache_input(cache, &in[1], b, &e), 0);
    size_t n, m;
    float *x = read_floats(in[0].heard, &n), *y = read_floats(in[1].heard, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof *x);
    free(x), free(y);
    x = read_floats(in[0].seen, &n), y = read_floats(in[1].seen, &m);
    assert_memory_equal(x, y, n * sizeof *x);
    free(x), free(y);
    mx_leave(MX_NONE);
    assert_int_equal(tower_cache_stats(cache).hits, 0);
    assert_int_equal(tower_cache_stats(cache).misses, 2 * (b->clips + b->pictures));
    tower_cache_free(cache);
    for (int i = 0; i < MICROS; i++)
        batch_release(&batches[i]);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tower_cache__results_do_not_depend_on_what_is_kept),
        cmocka_unit_test(test_tower_cache__compiled_steps_take_it),
        cmocka_unit_test(test_tower_cache__only_frozen_towers_are_kept),
        cmocka_unit_test(test_tower_cache__items_without_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
