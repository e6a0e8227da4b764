/* test_generate.c - greedy answers against transformers, batched and alone; sampling. */
#include "train/generate.h"

#include "score_fixture.h"

#include "data/collate.h"
#include "data/manifest.h"
#include "mx/mx.h"

enum { NEW_TOKENS = 12, ROWS = 5 };

/* The prompts of the first ROWS records. */
static void load(struct sample *samples, const struct session *s)
{
    struct err e = {0};
    struct manifest m;
    char *patterns[] = {(char[]){SCORE "records.jsonl"}};
    struct manifest_options o = {.patterns = patterns, .pattern_count = 1};
    assert_int_equal(manifest_open(&m, &o, &e), 0);
    for (int i = 0; i < ROWS; i++) {
        struct record_ref ref = {.index = i};
        assert_int_equal(
            sample_load(&samples[i], &s->format, &m, &ref, NULL, NULL, SAMPLE_GENERATE, &e), 0);
    }
    assert_ok(e);
    manifest_release(&m);
}

static void run(const struct session *s, const struct sample *samples, int n,
                const struct generate_options *more, struct ids *out)
{
    struct generate_options o = *more;
    o.max_new_tokens = NEW_TOKENS;
    o.stop_ids = s->stop_ids;
    o.stop_count = s->stop_count;
    struct batch b;
    collate(&b, &s->format, samples, n);
    struct err e = {0};
    int rc = generate(s->model, &b, &o, out, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    batch_release(&b);
}

static void expect_ids(const struct ids *found, const json_t *expected)
{
    const json_t *ids = json_object_get(expected, "new_ids");
    assert_int_equal(found->count, json_array_size(ids));
    for (int i = 0; i < found->count; i++)
        assert_int_equal(found->at[i], json_integer_value(json_array_get(ids, (size_t)i)));
}

/* Nothing of the fixture's answers reaches the end by itself, so the stop is tested apart. */
static void test_generate__equals_transformers_in_batches_and_alone(void **state)
{
    (void)state;
    struct session s;
    struct sample samples[ROWS];
    struct ids out[ROWS], alone;
    fixture_open(&s, NULL);
    load(samples, &s);
    json_t *expected = fixture_lines(SCORE "generated.jsonl");
    assert_int_equal(json_array_size(expected), ROWS);
    run(&s, samples, ROWS, &(struct generate_options){0}, out);
    for (int i = 0; i < ROWS; i++) {
        const json_t *x = json_array_get(expected, (size_t)i);
        expect_ids(&out[i], x);
        run(&s, &samples[i], 1, &(struct generate_options){0}, &alone);
        expect_ids(&alone, x);
        ids_release(&alone);
        ids_release(&out[i]);
        sample_release(&samples[i]);
    }
    json_decref(expected);
    session_close(&s);
    assert_int_equal(mx_live(), 0);
}

static void test_generate__stops_each_row_at_its_own_stop(void **state)
{
    (void)state;
    struct session s;
    struct sample samples[ROWS];
    struct ids out[ROWS];
    fixture_open(&s, NULL);
    load(samples, &s);
    json_t *expected = fixture_lines(SCORE "generated.jsonl");
    /* A token of the first row becomes a stop; the second row never writes it. */
    const json_t *first = json_object_get(json_array_get(expected, 0), "new_ids");
    json_int_t stop = json_integer_value(json_array_get(first, 4));
    int before = 0;
    while (json_integer_value(json_array_get(first, (size_t)before)) != stop)
        before++;
    s.stop_ids[s.stop_count++] = (int32_t)stop;
    run(&s, samples, 2, &(struct generate_options){0}, out);
    assert_true(before > 0);
    assert_int_equal(out[0].count, before);
    expect_ids(&out[1], json_array_get(expected, 1));
    for (int i = 0; i < 2; i++)
        ids_release(&out[i]);
    for (int i = 0; i < ROWS; i++)
        sample_release(&samples[i]);
    json_decref(expected);
    session_close(&s);
}

static void test_generate__sampling_follows_the_seed(void **state)
{
    (void)state;
    struct session s;
    struct sample samples[ROWS];
    struct ids a, b, c, likeliest, greedy;
    fixture_open(&s, NULL);
    load(samples, &s);
    run(&s, samples, 1, &(struct generate_options){.temperature = 3, .seed = 1}, &a);
    run(&s, samples, 1, &(struct generate_options){.temperature = 3, .seed = 1}, &b);
    run(&s, samples, 1, &(struct generate_options){.temperature = 3, .seed = 2}, &c);
    run(&s, samples, 1, &(struct generate_options){.temperature = 3, .top_p = 1e-9}, &likeliest);
    run(&s, samples, 1, &(struct generate_options){0}, &greedy);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.at, b.at, (size_t)a.count * sizeof *a.at);
    assert_true(a.count != c.count || memcmp(a.at, c.at, (size_t)a.count * sizeof *a.at) != 0);
    assert_int_equal(likeliest.count, greedy.count);
    assert_memory_equal(likeliest.at, greedy.at, (size_t)greedy.count * sizeof *greedy.at);
    ids_release(&a);
    ids_release(&b);
    ids_release(&c);
    ids_release(&likeliest);
    ids_release(&greedy);
    for (int i = 0; i < ROWS; i++)
        sample_release(&samples[i]);
    session_close(&s);
}

/* Two rows with one prompt: what they draw follows from their keys. */
static void test_generate__sampling_follows_the_keys(void **state)
{
    (void)state;
    struct session s;
    struct sample samples[ROWS];
    struct ids out[2], again[2];
    fixture_open(&s, NULL);
    load(samples, &s);
    struct sample twice[] = {samples[0], samples[0]};
    struct generate_options o = {.temperature = 3, .keys = (uint32_t[]){9, 9}};
    run(&s, twice, 2, &o, out);
    o.keys = (uint32_t[]){0x80000001, 9};
    run(&s, twice, 2, &o, again);
    assert_int_equal(out[0].count, out[1].count);
    assert_memory_equal(out[0].at, out[1].at, (size_t)out[0].count * sizeof *out[0].at);
    assert_int_equal(out[0].count, again[1].count);
    assert_memory_equal(out[0].at, again[1].at, (size_t)out[0].count * sizeof *out[0].at);
    assert_true(out[0].count != again[0].count ||
                memcmp(out[0].at, again[0].at, (size_t)out[0].count * sizeof *out[0].at) != 0);
    for (int i = 0; i < 2; i++) {
        ids_release(&out[i]);
        ids_release(&again[i]);
    }
    for (int i = 0; i < ROWS; i++)
        sample_release(&samples[i]);
    session_close(&s);
}

struct ban {
    int32_t id;                        /* not written by row 1 ... */
    int from;                          /* ... from this token on */
    int calls;
};

static void apply_ban(void *arg, int row, const struct ids *ids, float *logits, int V)
{
    struct ban *ban = arg;
    assert_true(ban->id < V);
    ban->calls++;
    if (row == 1 && ids->count >= ban->from)
        logits[ban->id] = -INFINITY;
}

/* The log-probability of `ids` behind the sample's prompt, read at once and without a cache. */
static double reread(const struct session *s, const struct sample *sample, const struct ids *ids)
{
    struct err e = {0};
    struct batch b;
    float logprobs[NEW_TOKENS];
    int32_t rows[NEW_TOKENS], T = sample->count + ids->count;
    double sum = 0;
    collate(&b, &s->format, sample, 1);
    int32_t *tokens = calloc((size_t)T, sizeof *tokens);
    memcpy(tokens, sample->tokens, (size_t)sample->count * sizeof *tokens);
    memcpy(tokens + sample->count, ids->at, (size_t)ids->count * sizeof *tokens);
    for (int i = 0; i < ids->count; i++)
        rows[i] = sample->count - 1 + i;
    b.len = T;
    free(b.tokens);
    free(b.soft);
    b.tokens = tokens;
    b.soft = NULL;
    mx_enter();
    struct model_input in;
    session_input(&in, s->model, &b, &(struct session_rows){0});
    in.target_rows = mx_from(rows, MX_INT32, (int[]){ids->count}, 1);
    in.target_ids = mx_from(ids->at, MX_INT32, (int[]){ids->count}, 1);
    int rc = mx_read(model_logprobs(s->model, &in), MX_FLOAT32, logprobs,
                     (size_t)ids->count * sizeof *logprobs, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    mx_leave(MX_NONE);
    for (int i = 0; i < ids->count; i++)
        sum += (double)logprobs[i];
    batch_release(&b);
    return sum;
}

static void test_generate__rules_and_logprobs(void **state)
{
    (void)state;
    struct session s;
    struct sample samples[ROWS];
    struct ids out[ROWS];
    double sums[ROWS];
    fixture_open(&s, NULL);
    load(samples, &s);
    json_t *expected = fixture_lines(SCORE "generated.jsonl");
    /* The logits come to the host: the same tokens. */
    run(&s, samples, ROWS, &(struct generate_options){.logprobs = sums}, out);
    const int32_t second = out[1].at[2];
    for (int i = 0; i < ROWS; i++) {
        expect_ids(&out[i], json_array_get(expected, (size_t)i));
        if (!samples[i].clip_count && !samples[i].picture_count)
            assert_near(sums[i], reread(&s, &samples[i], &out[i]), 1e-3);
        assert_true(sums[i] < 0);
        ids_release(&out[i]);
    }
    /* One row may not write what it would, from a place on. */
    struct ban ban = {.id = second, .from = 2};
    run(&s, samples, ROWS, &(struct generate_options){.rules = apply_ban, .rules_arg = &ban}, out);
    assert_int_equal(ban.calls, ROWS * NEW_TOKENS);
    for (int i = 0; i < ROWS; i++) {
        if (i != 1)
            expect_ids(&out[i], json_array_get(expected, (size_t)i));
        for (int k = 2; i == 1 && k < out[i].count; k++)
            assert_int_not_equal(out[i].at[k], second);
        ids_release(&out[i]);
        sample_release(&samples[i]);
    }
    json_decref(expected);
    session_close(&s);
}

static void test_generate__refuses_what_cannot_be_held(void **state)
{
    (void)state;
    struct session s;
    struct sample samples[ROWS];
    struct ids out = IDS_INIT;
    struct err e = {0};
    struct batch b;
    fixture_open(&s, NULL);
    load(samples, &s);
    collate(&b, &s.format, samples, 1);
    struct generate_options o = {.max_new_tokens = 1 << 20};
    assert_int_equal(generate(s.model, &b, &o, &out, &e), -1);
    assert_err(e, ERR_USAGE, "max_new_tokens 1048576");
    batch_release(&b);
    for (int i = 0; i < ROWS; i++)
        sample_release(&samples[i]);
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate__equals_transformers_in_batches_and_alone),
        cmocka_unit_test(test_generate__stops_each_row_at_its_own_stop),
        cmocka_unit_test(test_generate__sampling_follows_the_seed),
        cmocka_unit_test(test_generate__sampling_follows_the_keys),
        cmocka_unit_test(test_generate__rules_and_logprobs),
        cmocka_unit_test(test_generate__refuses_what_cannot_be_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
